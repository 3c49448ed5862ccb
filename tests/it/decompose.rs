//! `shoal decompose-tensor`: published fits through the binary, what is kept and read back, mistakes.

use crate::support::{num, ok, ok_with, rows, run, shared, temp, testdata, write};
use serde_json::Value;

fn json(line: &str) -> Value {
    serde_json::from_str(&ok(line)).expect("JSON")
}

fn number(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {v}"))
}

fn refused(line: &str, why: &str) {
    let (code, out, err) = run(line);
    assert!(code == 2 && out.is_empty() && err.contains(why), "shoal {line}: {code}\n{out}\n{err}");
}

#[test]
fn missing_cells_give_the_published_fits_either_way() {
    let input = testdata("tensors/il2_response.npy");
    // 1e-8: what the fit may still gain when a sweep gains less than 1e-12.
    for (rank, fit) in [(1, 0.59739110), (2, 0.68175475)] {
        for fill in ["em", "weighted"] {
            let line = format!(
                "decompose-tensor cp {input} --missing absent --rank {rank} --restarts 3 --tol 1e-12 --max-iter 5000 --fill {fill} --json -q"
            );
            let found = json(&line);
            assert!((number(&found, "fit") - fit).abs() < 1e-8, "{rank} {fill}: {}", found["fit"]);
            assert_eq!(number(&found, "observed"), 4800.0);
            assert!((number(&found, "norm") - 18.436781202632684).abs() < 1e-12);
            assert_eq!(found["restarts"].as_array().expect("a list").len(), 3);
        }
    }
}

#[test]
fn amino_acids_have_three_components() {
    let Some(input) = shared("aminoacid/aminoacid.tns") else { return };
    let found = rows(&ok(&format!("decompose-tensor cp {input} --rank-scan 1..4 --restarts 3 --tol 1e-10 --max-iter 3000 -q")));
    for (row, fit) in found.iter().zip([0.40325883, 0.63631742, 0.97495148]) {
        assert!((num(row, "fit") - fit).abs() < 1e-7, "{row:?}");
        assert!(num(row, "corcondia") > 99.8 && num(row, "split_half") > 0.999, "{row:?}");
    }
    assert!(num(&found[3], "fit") > 0.976 && num(&found[3], "corcondia") < 0.0, "{:?}", found[3]);
    for (method, error) in [("hosvd", 0.02446655), ("sthosvd --mode-order 0,1,2", 0.02446376), ("hooi", 0.02446289)] {
        let found = json(&format!("decompose-tensor tucker {input} --ranks 3,3,3 --method {method} --json -q"));
        assert!((number(&found, "rel_error") - error).abs() < 1e-8, "{method}: {}", found["rel_error"]);
    }
    let found = json(&format!("decompose-tensor tucker {input} --eps 1e-2 --mode-order 0,1,2 --json -q"));
    assert_eq!(found["ranks"], "5,48,18");
    assert_eq!(json(&format!("decompose-tensor tt {input} --eps .01 --json -q"))["ranks"], "5,21");
    ok(&format!("decompose-tensor cp {input} --method hals --rank 3 --tol 1e-11 --max-iter 3000 --assert fit>=0.97485887 -q"));
}

#[test]
fn a_model_is_kept_evaluated_aligned_and_reconstructed() {
    let dir = temp();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let table = "user,item,rating\nann,tea,4\nann,milk,2\nbob,tea,2\nbob,milk,1\ncid,tea,6\ncid,milk,3\n";
    let input = write(&dir, "ratings.csv", table);
    let (model, run_dir) = (at("m.safetensors"), at("run"));
    let plots = [at("f.svg"), at("e.png")];
    let out = ok(&format!(
        "decompose-tensor cp {input} --coords user,item --rank 1 --save {model} --run-dir {run_dir} --plot {} --assert fit>=0.999999 -q",
        plots[0]
    ));
    let found = rows(&out);
    assert_eq!(found.iter().map(|r| r["label"].as_str()).collect::<Vec<_>>(), ["ann", "bob", "cid", "tea", "milk"]);
    for (i, c) in [4.0f64, 2.0, 6.0].iter().enumerate() {
        assert!((num(&found[i], "c0") - c / 56f64.sqrt()).abs() < 1e-12, "{:?}", found[i]);
    }
    for name in
        ["model.safetensors", "factor_0.parquet", "weights.parquet", "trace.csv", "metrics.json", "manifest.json", "factors.svg"]
    {
        assert!(dir.path().join("run").join(name).exists(), "{name}");
    }
    assert!(std::fs::read_to_string(&plots[0]).expect("a picture").contains("</svg>"));
    let eval = rows(&ok(&format!("decompose-tensor eval {model} {input} --coords user,item -q")));
    assert!(num(&eval[0], "fit") > 1.0 - 1e-12 && num(&eval[0], "corcondia") > 99.999, "{eval:?}");
    ok(&format!("decompose-tensor align {model} {model} --assert fms>=0.999999999 -q"));
    let cells = ok_with(&format!("decompose-tensor reconstruct {model} --at -"), "item,user\nmilk,cid\ntea,bob\n");
    let cells = rows(&cells);
    assert!((num(&cells[0], "value") - 3.0).abs() < 1e-12 && (num(&cells[1], "value") - 2.0).abs() < 1e-12, "{cells:?}");
    let (code, _, err) =
        crate::support::run_with(&format!("decompose-tensor reconstruct {model} --at -"), "item,user\nbeer,cid\n");
    assert!(code == 2 && err.contains("row 2, column \"item\"") && err.contains("labels of mode item"), "{err}");
    // All cells, read back as a tensor, are the model.
    let whole = at("whole.npy");
    ok(&format!("decompose-tensor reconstruct {model} -o {whole}"));
    ok(&format!("decompose-tensor eval {model} {whole} --assert rel_error<=1e-12 -q"));
    // A start from a model is there at once, others take their sweeps.
    let fit = |init: &str, more: &str| {
        let il2 = testdata("tensors/il2_response.npy");
        json(&format!("decompose-tensor cp {il2} --missing absent --rank 2 --seed 1 --init {init} --tol 1e-8 --json -q {more}"))
    };
    let il2_model = at("il2.safetensors");
    let (random, again) = (fit("random", &format!("--save {il2_model}")), fit(&il2_model, ""));
    assert!(number(&random, "iterations") > 10.0 && number(&again, "iterations") <= 3.0, "{random} {again}");
    for (verb, options) in [("tucker", "--ranks 1,1"), ("tt", "--ranks 1")] {
        let other = at(&format!("{verb}.safetensors"));
        ok(&format!("decompose-tensor {verb} {input} --coords user,item {options} --save {other} --assert rel_error<=1e-10 -q"));
        ok(&format!("decompose-tensor eval {other} {input} --coords user,item --assert rel_error<=1e-10 -q"));
        let cells = rows(&ok_with(&format!("decompose-tensor reconstruct {other} --at -"), "item,user\nmilk,cid\n"));
        assert!((num(&cells[0], "value") - 3.0).abs() < 1e-10, "{verb}: {cells:?}");
        refused(&format!("decompose-tensor align {model} {other}"), "align compares cp models");
    }
    ok(&format!("decompose-tensor tucker {whole} --ranks 1,1 --plot {} --picture core -o {} -q", plots[1], at("t.csv")));
}

#[test]
fn the_same_bytes_at_any_number_of_threads() {
    let input = testdata("tensors/il2_response.npy");
    for what in [
        "cp --missing absent --rank 3 --restarts 2 --max-iter 20",
        "cp --missing absent --rank 3 --fill weighted --max-iter 5",
        "cp --missing zero --rank 3 --method rand",
        "cp --missing absent --method bayes --rank 4 --max-iter 20",
        "cp --missing zero --storage sparse --rank 3 --max-iter 20",
        "tt --missing zero --ranks 3,4,3",
        "cp --missing zero --rank 3 --method hals --max-iter 20",
        "tucker --missing zero --ranks 3,2,3,2 --method hooi",
        "tucker --missing zero --ranks 3,2,3,2 --method rand",
    ] {
        let (verb, options) = what.split_once(' ').expect("a verb");
        let at = |threads: u32| ok(&format!("decompose-tensor {verb} {input} {options} --threads {threads} -q"));
        assert_eq!(at(1), at(2), "{what}");
    }
}

#[test]
fn indices_from_zero_and_from_one_are_the_same_tensor() {
    let at = |name: &str| json(&format!("decompose-tensor info {} --json -q", testdata(&format!("tensors/{name}.tns"))));
    let (one, zero) = (at("small4"), at("small4_zeroidx"));
    assert_eq!(one, zero);
    assert_eq!(one["shape"], serde_json::json!([2, 2, 3, 3]));
    assert!((number(&one, "norm") - 97f64.sqrt()).abs() < 1e-14 && one["nnz"] == 8);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = temp();
    let il2 = testdata("tensors/il2_response.npy");
    let cp = |name: &str, content: &[u8], more: &str| {
        let to = dir.path().display();
        let outputs = format!("-o {to}/out.csv --save {to}/m.safetensors --plot {to}/p.svg");
        format!("decompose-tensor cp {} --rank 1 {more} {outputs}", write(&dir, name, content))
    };
    let npy = std::fs::read(&il2).expect("a file");
    let wide: Vec<u8> = String::from_utf8_lossy(&npy[..80]).replace("<f8", "<c8").into_bytes();
    for (line, why) in [
        (cp("ragged.tns", b"1 1 1 2\n1 2 3\n", ""), "row 2: found 3 fields"),
        (cp("negative.tns", b"1 -1 1 2\n", ""), "never negative"),
        (cp("twice.tns", b"1 1 1 2\n1 1 1 3\n", ""), "rows 1 and 2"),
        (cp("beyond.tns", b"3 1 1 2\n1 1 1 3\n", "--shape 2,2,2"), "the mode has size 2"),
        (cp("empty.tns", b"", ""), "the file is empty"),
        (cp("short.npy", &npy[..1000], ""), "cut off"),
        (cp("complex.npy", &wide, ""), "complex.npy"),
        (cp("nan.tns", b"1 1 nan\n2 2 1\n", ""), "--missing"),
        (format!("decompose-tensor cp {il2} --rank 1"), "found NaN"),
        (format!("decompose-tensor cp {il2} --rank 0 --missing zero"), "no rank"),
        (format!("decompose-tensor cp {il2} --missing zero"), "--rank"),
        (format!("decompose-tensor cp {il2} --missing zero --method hals"), "needs --rank"),
        (format!("decompose-tensor cp {il2} --missing zero --rank-scan 3..1"), "no range of ranks"),
        (format!("decompose-tensor cp {il2} --missing zero --rank 2 --nonneg 0,9"), "modes from 0 to 3"),
        (format!("decompose-tensor cp {il2} --missing zero --rank 2 --samples 50"), "--samples means nothing for als"),
        (format!("decompose-tensor cp {il2} --missing zero --rank 4000000000"), "ask for a lower rank"),
        (format!("decompose-tensor cp {il2} --missing zero --rank 2 --method rand --samples 4294967295"), "fewer samples"),
        (
            format!("decompose-tensor cp {il2} --missing zero --rank 2 --nonneg-solver active-set"),
            "--nonneg-solver means nothing",
        ),
        (format!("decompose-tensor cp {il2} --missing zero --rank 2 --picture fit"), "--plot"),
        (
            format!("decompose-tensor cp {il2} --missing zero --rank 2 --plot x.svg --picture core"),
            "--picture core means nothing",
        ),
        (format!("decompose-tensor tucker {il2} --missing zero --ranks 1,1,1,1 --tol 1e-8"), "--tol means nothing for sthosvd"),
        ("decompose-tensor cg --lmax 12 --rank full".to_string(), "the rank is 28561"),
        ("decompose-tensor cg --lmax 2 --rank 7 --starts 1 --max-iter 1 --bench --edges 10000000".to_string(), "fewer edges"),
        ("decompose-tensor cg train --generate 9 --save-data x.csv -o x.csv".to_string(), "same file"),
        ("decompose-tensor align a b --save x.csv -o x.csv".to_string(), "same file"),
        (format!("decompose-tensor cp {il2} --missing absent --rank 2 --method rand"), "missing cells"),
        (format!("decompose-tensor tucker {il2} --missing zero --ranks 99,1,1,1"), "between 1 and the number of indices"),
        (format!("decompose-tensor tucker {il2} --missing zero --ranks 1,1"), "one rank for every mode"),
        (format!("decompose-tensor tucker {il2} --missing absent --ranks 1,1,1,1"), "needs all"),
        (format!("decompose-tensor tucker {il2} --missing zero --ranks 1,1,1,1 --mode-order 0,0,1,2"), "mode order"),
        (format!("decompose-tensor tt {il2} --missing zero --ranks 9,9"), "ranks for a train"),
        (format!("decompose-tensor eval {il2} {il2}"), "il2_response.npy"),
        (format!("decompose-tensor reconstruct {il2} -o x.csv"), ".npy"),
        ("decompose-tensor cp no-such.tns --rank 1".to_string(), "no-such.tns"),
    ] {
        refused(&line, why);
    }
    // Nothing of a run that was refused is left.
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").filter_map(|f| f.ok()).map(|f| f.file_name()).collect();
    assert_eq!(left.len(), 8, "{left:?}");
}

#[test]
fn strict_wants_convergence() {
    let input = testdata("tensors/il2_response.npy");
    let line = format!("decompose-tensor cp {input} --missing absent --rank 2 --max-iter 3");
    assert_eq!(run(&line).0, 0);
    let (code, out, err) = run(&format!("{line} --strict"));
    assert!(code == 4 && err.contains("not converged") && !out.is_empty(), "{code} {err}");
}

#[test]
fn clebsch_gordan_tensors_have_their_ranks() {
    for (options, claims) in [
        ("--lmax 1 --rank 8", "--assert rel_error<=1e-12 --assert equivariance_rms<=1e-11"),
        ("--lmax 1 --rank 2", "--assert rel_error<=0.7755 --assert rel_error>=0.7745"),
        ("--lmax 2 --rank 20", "--assert rel_error<=0.1664"),
    ] {
        ok(&format!("decompose-tensor cg {options} --samples 200 {claims} -q"));
    }
    let found = json("decompose-tensor cg --lmax 2 --rank 7 --starts 1 --max-iter 200 --samples 50 --json -q");
    assert_eq!((&found["paths"], &found["nonzeros"], &found["dim"]), (&15.into(), &137.into(), &9.into()));
    let forms = rows(&ok("decompose-tensor cg --lmax 1 --rank 8 --bench --edges 20 --channels 4 -q"));
    assert_eq!(forms.iter().map(|r| r["form"].as_str()).collect::<Vec<_>>(), ["exact", "per-edge", "cp"]);
    assert!(forms.iter().all(|r| num(r, "rel_error") < 1e-5), "{forms:?}");
    refused("decompose-tensor cg --lmax 1 --rank 0", "rank");
    refused("decompose-tensor cg --lmax 1 --rank 17", "at most 16");
    refused("decompose-tensor cg --lmax 1 --rank cubic", "linear, quadratic, log, full");
    refused("decompose-tensor cg --lmax 1 --channels 3", "--bench");
}

#[test]
fn a_potential_is_learned_from_structures() {
    let dir = temp();
    let data = dir.path().join("morse.xyz").to_string_lossy().into_owned();
    let options = "--epochs 12 --rank 8 --json -q";
    let drawn = json(&format!("decompose-tensor cg train --generate 60 --atoms 4 --save-data {data} {options}"));
    let rows = drawn["results"].as_array().expect("rows");
    assert_eq!(rows.iter().map(|r| r["product"].as_str().expect("a name")).collect::<Vec<_>>(), ["cp", "exact"]);
    for r in rows {
        assert!(number(r, "force_ratio") > 2.0 && number(r, "equivariance_forces") < 1e-4, "{r}");
    }
    // The same structures from the file, at another number of threads.
    let read = json(&format!("decompose-tensor cg train {data} {options} --no-twin --threads 1"));
    for key in ["force_rmse", "energy_mae_per_atom", "equivariance_forces"] {
        assert_eq!(read["results"][0][key], rows[0][key], "{key}");
    }
    let text = std::fs::read_to_string(&data).expect("the structures");
    let broken = write(&dir, "broken.xyz", text.replacen("A ", "A x", 1));
    refused(&format!("decompose-tensor cg train {broken}"), "broken.xyz");
    refused("decompose-tensor cg train", "DATA.xyz");
}
