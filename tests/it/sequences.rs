//! `shoal forecast seqtask` and `classify`.

use crate::support::{num, ok, rows, run, shared, temp, testdata, write};

/// A state that can be rotated counts; one that can only decay does not.
#[test]
fn mamba3_learns_parity_and_without_its_angles_does_not() {
    let line = "forecast seqtask --kind parity -m mamba3 --steps 200 --stages 10,20,40 --lr 1e-2 --d-state 16 --test-len 40 -q";
    let accuracy = |more: &str| num(&rows(&ok(&format!("{line} {more}")))[0], "accuracy");
    assert_eq!(accuracy(""), 1.0);
    let without = accuracy("--rope-fraction 0");
    assert!((0.3..=0.7).contains(&without), "{without}");
}

#[test]
fn sequences_are_generated_and_read_back_with_their_labels() {
    let dir = temp();
    for kind in ["parity", "modarith", "modarith-brackets", "listops"] {
        let made = ok(&format!("forecast seqtask --kind {kind} --generate 20 --min-len 5 --max-len 30 --seed 3"));
        assert_eq!(made, ok(&format!("forecast seqtask --kind {kind} --generate 20 --min-len 5 --max-len 30 --seed 3")));
        let file = write(&dir, &format!("{kind}.csv"), &made);
        let short = "--steps 2 --stages 8 --batch-size 4 --d-model 8 --d-state 4 --head-width 4 -q";
        let table = rows(&ok(&format!("forecast seqtask --kind {kind} --test {file} {short}")));
        assert_eq!((num(&table[0], "n"), table.len()), (20.0, 1));
    }
    let wrong = write(&dir, "wrong.csv", "sequence,label\n011,1\n");
    let (code, _, err) = run(&format!("forecast seqtask --kind parity --test {wrong}"));
    assert!(code == 2 && err.contains("line 2") && err.contains("label \"1\""), "{err}");
    let bad = write(&dir, "bad.csv", "sequence,label\n01x,1\n");
    let (code, _, err) = run(&format!("forecast seqtask --kind parity --test {bad}"));
    assert!(code == 2 && err.contains("\"x\""), "{err}");
    let (code, _, err) = run("forecast seqtask --kind parity --ops +");
    assert!(code == 2 && err.contains("--ops"), "{err}");
    for (more, why) in [
        ("-m mamba --rope-fraction 0", "--rope-fraction means nothing for mamba"),
        ("-m mamba2 --a-activation softplus", "--a-activation means nothing for mamba2"),
        ("--generate 3 --steps 5", "--steps"),
        ("--max-len 5", "--generate"),
        (&format!("--test {} --test-count 5", testdata("seqtasks/parity_L40.csv")), "--test-len"),
    ] {
        let (code, _, err) = run(&format!("forecast seqtask --kind parity {more}"));
        assert!(code == 2 && err.contains(why), "{more}: {err}");
    }
    let (code, _, err) = run("forecast seqtask --kind parity --stages 2");
    assert!(code == 2 && err.contains("--min-len"), "{err}");
    let given = testdata("seqtasks/parity_L40.csv");
    let table = rows(&ok(&format!("forecast seqtask --kind parity --test {given} --steps 1 --stages 5 --batch-size 2 -q")));
    assert_eq!(num(&table[0], "length"), 40.0);
}

/// Slow waves and fast waves, from any phase.
fn waves(count: usize, seed: usize) -> String {
    let mut text = String::from("label");
    (0..40).for_each(|t| text += &format!(",t{t}"));
    for i in 0..count {
        let (name, speed) = if i % 2 == 0 { ("slow", 0.2) } else { ("fast", 0.5) };
        text += &format!("\n{name}");
        let phase = (i * 7 + seed) as f64;
        (0..40).for_each(|t| text += &format!(",{:.4}", (speed * t as f64 + phase).sin()));
    }
    text + "\n"
}

#[test]
fn classes_of_series_are_learnt_and_told_with_probabilities() {
    let dir = temp();
    let (train, test) = (write(&dir, "train.csv", waves(40, 0)), write(&dir, "test.csv", waves(30, 3)));
    let line = format!("forecast classify --train {train} --test {test} --epochs 30 --d-model 16 -q");
    for method in ["s4d", "s4 --init fout", "mamba", "mamba2", "mamba3", "s4d --bidirectional --disc bilinear --init s4d-inv"] {
        let heads = if ["mamba2", "mamba3"].contains(&method) { "--head-width 8" } else { "" };
        let out = ok(&format!("{line} -m {method} --d-state 8 {heads}"));
        let table = rows(&out);
        let right = table.iter().filter(|r| r["label"] == r["pred"]).count();
        assert!(right >= 28, "{method}: {right} of 30");
        for row in &table {
            assert!((num(row, "p_fast") + num(row, "p_slow") - 1.0).abs() < 1e-9);
        }
    }
    // The same bytes again, on any number of threads.
    let first = ok(&format!("{line} --threads 1"));
    assert_eq!(first, ok(&format!("{line} --threads 2")));
    let (code, _, err) = run(&format!("{line} --assert accuracy<0.5"));
    assert!(code == 3 && err.contains("accuracy"), "{err}");
    let other = write(&dir, "other.csv", waves(4, 0).replace("slow", "slower"));
    let (code, _, err) = run(&format!("forecast classify --train {train} --test {other} -q"));
    assert!(code == 2 && err.contains("\"slower\""), "{err}");
    let (code, _, err) = run(&format!("{line} -m mamba --init s4d-lin"));
    assert!(code == 2 && err.contains("--init"), "{err}");
    for (more, why) in [
        ("-m mamba --head-width 8", "--head-width means nothing for mamba"),
        ("-m s4 --disc zoh", "--disc means nothing for s4"),
        ("-m s4d --init legs", "--init legs belongs to the other kind"),
        ("-m s4d --d-state 7", "7 is odd"),
        ("--dt-min 1 --dt-max 0.5", "the smaller first"),
        ("--time-col t0", "--time-col belongs to tables with a row for each step"),
        ("--dropout 1", "below 1"),
    ] {
        let (code, _, err) = run(&format!("{line} {more}"));
        assert!(code == 2 && err.contains(why), "{more}: {err}");
    }
    let one = write(&dir, "one.csv", "label,a,b\nx,1,2\nx,2,3\n");
    let (code, _, err) = run(&format!("forecast classify --train {one} --test {one} -q"));
    assert!(code == 2 && err.contains("nothing to tell apart"), "{err}");
}

#[test]
fn gunpoint_is_told_apart() {
    let (Some(train), Some(test)) = (shared("ucr/GunPoint_train.csv"), shared("ucr/GunPoint_test.csv")) else { return };
    let how = "--batch-size 8 --epochs 60 --seed 1 -q";
    let table = rows(&ok(&format!("forecast classify --train {train} --test {test} {how}")));
    let right = table.iter().filter(|r| r["label"] == r["pred"]).count();
    // Nearest neighbours reach 0.913.
    assert!(right as f64 >= 0.93 * 150.0, "{right} of 150");
}

#[test]
fn state_space_networks_train_forecast_and_come_back() {
    let dir = temp();
    let file = testdata("classic/air_passengers.csv");
    for model in ["karma --decomposition moving-average --moving-average 3", "s4d", "s4", "mamba", "mamba2", "mamba3"] {
        let folder = dir.path().join(model.split(' ').next().unwrap_or("m")).display().to_string();
        let sizes = "--epochs 2 --d-model 8 --layers 1 --d-state 4";
        let heads = if ["mamba2", "mamba3"].contains(&model) { "--head-width 4" } else { "" };
        ok(&format!("forecast train {file} -m {model} -L 24 -H 6 {sizes} {heads} --save {folder} -q"));
        let table = rows(&ok(&format!("forecast predict --load {folder} {file} -q")));
        assert_eq!(table.len(), 6, "{model}");
        assert!(table.iter().all(|r| num(r, "mean").is_finite()));
    }
    let (code, _, err) = run(&format!("forecast train {file} -m karma --d-model 7 -L 24 -H 6 --save {}", dir.path().display()));
    assert!(code == 2 && err.contains("even"), "{err}");
    let (code, _, err) = run(&format!("forecast predict {file} -m mamba --patch 3 -H 6"));
    assert!(code == 2 && err.contains("--patch means nothing for mamba"), "{err}");
}
