//! `shoal forecast train`, saved models, and networks in the other verbs.

use crate::support::{air, num, ok, ok_with, rows, run, run_with, shared, temp, write};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Three channels of waves, hourly, as a wide table.
fn waves(rows: usize) -> String {
    let mut text = String::from("date,a,b,c\n");
    for t in 0..rows {
        let (day, hour) = (t / 24, t % 24);
        let x = t as f64;
        let noise = ((t * 7919 + 13) % 101) as f64 / 101.0 - 0.5;
        let a = 10.0 + 3.0 * (x * std::f64::consts::TAU / 24.0).sin() + noise;
        let b = -5.0 + (x * std::f64::consts::TAU / 12.0).cos() + 0.3 * noise;
        let c = 100.0 + 0.01 * x + 2.0 * noise;
        let _ = writeln!(text, "2024-{:02}-{:02} {hour:02}:00:00,{a},{b},{c}", 1 + day / 28, 1 + day % 28);
    }
    text
}

/// February and March 2024 start after gaps in [`waves`], so rows are taken as consecutive.
const READ: &str = "--layout wide --allow-gaps --freq h";
/// A network that trains in a moment.
const SMALL: &str =
    "-m timemixer -L 24 -H 6 --scales 2 --d-model 4 --d-ff 8 --layers 1 --epochs 3 --batch-size 16 --time-features on";

fn model(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).expect("a saved model")
}

#[test]
fn a_saved_network_forecasts_like_the_one_that_was_trained() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(400));
    let save = dir.path().join("m");
    let out = ok(&format!("forecast train {data} {READ} {SMALL} --save {}", save.display()));
    let epochs = rows(&out);
    assert_eq!(epochs.len(), 3);
    assert!(epochs.iter().all(|r| num(r, "train_loss").is_finite() && num(r, "validation").is_finite()));
    assert!(epochs.iter().any(|r| r["best"] == "true"));
    let forecasts = rows(&ok(&format!("forecast predict --load {} {data} {READ}", save.display())));
    assert_eq!(forecasts.len(), 18);
    assert!(forecasts.iter().all(|r| r["model"] == "timemixer" && num(r, "mean").is_finite()));
    // Fewer steps are the first of them.
    let fewer = rows(&ok(&format!("forecast predict --load {} {data} {READ} -H 2", save.display())));
    assert_eq!(fewer.len(), 6);
    assert_eq!(fewer[0], forecasts[0]);
    // Trained on the spot with the same seed: the same network.
    let at_once = rows(&ok(&format!("forecast predict {data} {READ} {SMALL}")));
    assert_eq!(at_once, forecasts);
    // The channel's level is forecast, whatever the scale of the others.
    for r in &forecasts {
        let level = match &r["unique_id"][..] {
            "a" => 10.0,
            "b" => -5.0,
            _ => 104.0,
        };
        assert!((num(r, "mean") - level).abs() < 6.0, "{r:?}");
    }
}

#[test]
fn threads_change_nothing() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(300));
    for kind in
        ["timemixer --scales 2 --d-model 4 --d-ff 8", "patchtst --d-model 8 --heads 2 --d-ff 16 --patch 8 --stride 4", "nlinear"]
    {
        let train = |threads: usize, name: &str| {
            let save = dir.path().join(format!("{}-{name}", kind.split(' ').next().unwrap_or("")));
            let line = format!(
                "forecast train {data} {READ} -m {kind} -L 24 -H 6 --epochs 2 --batch-size 32 --threads {threads} --save {}",
                save.display()
            );
            (ok(&line), model(&save))
        };
        assert!(train(1, "one") == train(2, "two"), "{kind}");
        assert!(train(1, "again") == train(3, "three"), "{kind}");
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(900));
    let options = format!("forecast train {data} {READ} {} --epochs 12 --patience 20", SMALL.replace("--epochs 3", ""));
    let whole = dir.path().join("whole");
    let expected = ok(&format!("{options} --save {}", whole.display()));
    let cut = dir.path().join("cut");
    let line = format!("{options} --checkpoint-minutes 0.0001 --save {}", cut.display());
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("shoal"))
        .args(line.split_whitespace())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    // As soon as there is a checkpoint, without warning. A fast machine may be done by then; resuming must still work.
    let state = cut.join("checkpoint/state.safetensors");
    let patience = Instant::now();
    while !state.exists() && patience.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("the run can be killed");
    child.wait().expect("the run ends");
    let resumed = ok(&format!("{options} --save {0} --resume {0}", cut.display()));
    assert_eq!(resumed, expected);
    assert!(model(&cut) == model(&whole));
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_state() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(900));
    let save = dir.path().join("m");
    let options = format!("forecast train {data} {READ} {} --epochs 12 --patience 20", SMALL.replace("--epochs 3", ""));
    let line = format!("{options} --checkpoint-minutes 0.0001 --save {}", save.display());
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("shoal"))
        .args(line.split_whitespace())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let state = save.join("checkpoint/state.safetensors");
    let patience = Instant::now();
    while !state.exists() && patience.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let out = child.wait_with_output().expect("the run ends");
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    // It may have been done before the signal came.
    if out.status.code() == Some(130) {
        assert!(stderr.contains("--resume"), "{stderr}");
        assert!(!save.join("model.safetensors").exists());
    } else {
        assert_eq!(out.status.code(), Some(0), "{stderr}");
    }
    let whole = dir.path().join("whole");
    let expected = ok(&format!("{options} --save {}", whole.display()));
    assert_eq!(ok(&format!("{options} --save {0} --resume {0}", save.display())), expected);
    assert!(model(&save) == model(&whole));
}

#[test]
fn a_loss_that_is_no_number_ends_with_code_4() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(300));
    let save = dir.path().join("m");
    let line = format!(
        "forecast train {data} {READ} -m linear -L 24 -H 6 --epochs 5 --batch-size 8 --optimizer sgd --schedule constant --lr 1e30 --save {}",
        save.display()
    );
    let (code, _, stderr) = run(&line);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("lower the learning rate"), "{stderr}");
    assert!(!save.join("model.safetensors").exists());
}

#[test]
fn a_pooled_network_serves_series_it_has_not_seen() {
    let dir = temp();
    let data = write(&dir, "air.csv", air(144));
    let save = dir.path().join("m");
    ok(&format!(
        "forecast train {data} -m timemixer -L 24 -H 6 --scales 1 --d-model 4 --d-ff 8 --layers 1 --epochs 2 --save {}",
        save.display()
    ));
    let other = air(132).replace("1.0,", "another,");
    let out = rows(&ok_with(&format!("forecast predict --load {} --level 80", save.display()), other));
    assert_eq!(out.len(), 6);
    assert!(out.iter().all(|r| r["unique_id"] == "another"));
    assert!(out.iter().all(|r| num(r, "lo-80") < num(r, "mean") && num(r, "mean") < num(r, "hi-80")));
}

#[test]
fn quantile_networks_never_cross() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(300));
    let save = dir.path().join("m");
    ok(&format!("forecast train {data} {READ} {SMALL} --quantiles 0.1,0.5,0.9 --save {}", save.display()));
    let out = rows(&ok(&format!("forecast predict --load {} {data} {READ}", save.display())));
    assert!(out.iter().all(|r| num(r, "q0.1") <= num(r, "q0.5") && num(r, "q0.5") <= num(r, "q0.9")));
    assert!(out.iter().all(|r| num(r, "q0.5") == num(r, "mean")));
    // An 80 % interval is what those quantiles bound; other levels come from the stored calibration.
    let out = rows(&ok(&format!("forecast predict --load {} {data} {READ} --level 80", save.display())));
    assert!(out.iter().all(|r| num(r, "lo-80") <= num(r, "mean")));
    let (code, _, stderr) =
        run(&format!("forecast predict --load {} {data} {READ} --level 95 --intervals model", save.display()));
    assert_eq!(code, 2);
    assert!(stderr.contains("0.1, 0.5, 0.9"), "{stderr}");
}

#[test]
fn mistakes_are_explained() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(200));
    let save = dir.path().join("m");
    let s = save.display();
    let refused = |line: &str, why: &str| {
        let (code, stdout, stderr) = run(line);
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stdout.is_empty());
        assert!(stderr.contains(why), "{line}: {stderr}");
    };
    refused(&format!("forecast train {data} {READ} -m auto-ets -H 6 --save {s}"), "is not trained");
    refused(&format!("forecast train {data} {READ} -m nlinear --solver ols -H 6 --save {s}"), "solves it exactly");
    refused(&format!("forecast train {data} {READ} -m nlinear -H 6 --scales 2 --save {s}"), "--scales means nothing");
    refused(&format!("forecast train {data} {READ} -m timemixer -L 24 -H 190 --save {s}"), "no training window");
    refused(&format!("forecast train {data} {READ} -m timemixer -L 24 -H 6 --moving-average 4 --save {s}"), "odd");
    refused(&format!("forecast train {data} {READ} -m timemixer -L 4 --scales 5 -H 6 --save {s}"), "too short");
    refused(
        &format!("forecast train {data} {READ} -m timemixer -L 24 -H 6 --future-features --save {s}"),
        "needs --time-features on",
    );
    refused(
        &format!("forecast eval {data} {READ} --preset custom -m timemixer -L 24 -H 6 --compat mark-order"),
        "needs --time-features on",
    );
    refused(&format!("forecast predict {data} {READ} -m naive -H 3 --epochs 4"), "--epochs belongs to networks");
    refused(&format!("forecast eval {data} {READ} -m naive -L 24 -H 6 --d-model 4"), "--d-model belongs to networks");
    refused(&format!("forecast backtest {data} {READ} -m timemixer -H 6"), "does not train networks");
    refused(&format!("forecast predict --load {s}/nothing {data}"), "cannot be read");
    ok(&format!("forecast train {data} {READ} {SMALL} --epochs 1 --save {s}").replace("--epochs 3 ", ""));
    refused(&format!("forecast train {data} {READ} {SMALL} --save {s}"), "--force");
    refused(&format!("forecast train {data} {READ} {SMALL} --lr 0.5 --save {s} --resume {s}"), "must repeat them");
    // Dropout is part of the network, not of the training settings; so is the data.
    let resume = format!("{READ} {} --epochs 1 --save {s} --resume {s}", SMALL.replace("--epochs 3 ", ""));
    refused(&format!("forecast train {data} {resume} --dropout 0.5"), "architecture was");
    let changed = write(&dir, "c.csv", waves(200).replace("00:00:00,1", "00:00:00,2"));
    refused(&format!("forecast train {changed} {resume}"), "data was");
    refused(&format!("forecast train {data} {READ} -m timemixer --solver adam -L 24 -H 6 --save {s}"), "--solver belongs");
    refused(&format!("forecast predict {data} {READ} -m naive -H 3 --solver adam"), "--solver belongs");
    refused(&format!("forecast train {data} {READ} {SMALL} --preset custom --validation 0.3 --save {s}"), "cannot be used with");
    // Rows numbered from 1 have no calendar.
    let bare = write(
        &dir,
        "n.csv",
        waves(200).lines().map(|l| format!("{}\n", l.split_once(',').map_or("", |x| x.1))).collect::<String>(),
    );
    refused(&format!("forecast predict --load {s} {bare} --layout wide"), "calendar features");
    refused(&format!("forecast predict --load {s} {data} {READ} -H 7"), "train it with -H 7");
    let renamed = write(&dir, "r.csv", waves(200).replace("date,a,b,c", "date,a,b,d"));
    refused(&format!("forecast predict --load {s} {renamed} {READ}"), "channel \"c\"");
    let short = write(&dir, "s.csv", waves(20));
    refused(&format!("forecast predict --load {s} {short} {READ}"), "looks back over 24");
    let broken = write(&dir, "model.safetensors", "not a model");
    refused(&format!("forecast predict --load {broken} {data} {READ}"), "no forecaster saved by this program");
}

#[test]
fn foreign_weights_must_have_the_canonical_names() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(200));
    let first = dir.path().join("first");
    ok(&format!("forecast train {data} {READ} -m dlinear -L 24 -H 6 --epochs 1 --save {}", first.display()));
    // A saved model's own file has the names and one tensor more: the calibration.
    let weights = first.join("model.safetensors");
    let line = format!(
        "forecast train {data} {READ} -m dlinear -L 24 -H 6 --epochs 0 --weights {} --save {}",
        weights.display(),
        dir.path().join("second").display()
    );
    ok(&line);
    let predict = |name: &str| ok(&format!("forecast predict --load {} {data} {READ}", dir.path().join(name).display()));
    assert_eq!(predict("first"), predict("second"));
    let (code, _, stderr) = run(&line.replace("-m dlinear", "-m nlinear").replace("second", "third"));
    assert_eq!(code, 2);
    assert!(stderr.contains("\"linear.weight\" is missing"), "{stderr}");
}

#[test]
fn gradient_descent_finds_the_exact_dlinear() {
    let Some(data) = shared("ett-small/ETTh1.csv") else { return };
    let line = format!(
        "forecast eval {data} --preset etth1 -m dlinear -H 96 --solver adam --dtype f64 --lr 0.003 --schedule cosine --epochs 12 \
         --patience 12 --batch-size 64"
    );
    let trained = rows(&ok(&line));
    // The exact optimum of the training windows scores 0.381480; the best validation epoch of descent to it lies within a
    // hundredth of that.
    assert!((num(&trained[0], "mse") - 0.381480).abs() < 0.004, "{trained:?}");
}

#[test]
fn evaluation_trains_networks_beside_the_linear_baseline() {
    let dir = temp();
    let data = write(&dir, "w.csv", waves(600));
    let line = format!(
        "forecast eval {data} {READ} -m timemixer,linear -L 24 -H 6 --scales 2 --d-model 4 --d-ff 8 --layers 1 --epochs 2 --json"
    );
    let json: serde_json::Value = serde_json::from_str(&ok(&line)).expect("JSON");
    let networks = json["config"]["networks"].as_array().expect("networks");
    assert_eq!(networks.len(), 1);
    assert_eq!(networks[0]["network"]["training"]["epochs"], 2);
    assert_eq!(json["cases"].as_array().expect("cases").len(), 2);
    // Another seed, another network; the same seed, the same bytes.
    assert_eq!(ok(&line), ok(&line));
    assert_ne!(ok(&line), ok(&format!("{line} --seed 1")));
    let (code, _, _) = run_with(&format!("{line} --assert timemixer.mse<0"), "");
    assert_eq!(code, 3);
}
