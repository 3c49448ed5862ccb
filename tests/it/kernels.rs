//! `shoal kernels`: goldens through the binary, formats, mistakes.

use crate::support::{ok, run, run_with, temp, write};
use serde_json::Value;

fn golden(name: &str) -> (String, Value) {
    let path = format!("{}/testdata/ssm/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a golden file");
    (path, serde_json::from_str(&text).expect("JSON"))
}

fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        v => vec![v.as_f64().expect("a number")],
    }
}

fn close(found: &Value, expected: &Value, relative: f64, what: &str) {
    let (found, expected) = (flat(found), flat(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (f, e) in found.iter().zip(&expected) {
        assert!((f - e).abs() <= relative * size, "{what}: {f}, not {e}");
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(&ok(line)).expect("JSON")
}

#[test]
fn the_selective_scan_is_the_golden_in_every_way() {
    let (path, g) = golden("selective_scan");
    for (engine, dtype, outputs, gradients) in [
        ("scan", "f64", 1e-10, 1e-10),
        ("step", "f64", 1e-10, 1e-10),
        ("reference", "f64", 1e-13, 1e-13),
        ("scan", "f32", 1e-5, 1e-4),
        ("step", "f32", 1e-5, 1e-4),
    ] {
        let found = json(&format!("kernels run selective-scan {path} --grad --engine {engine} --dtype {dtype}"));
        close(&found["out"], &g["out"], outputs, engine);
        close(&found["last_state"], &g["last_state"], outputs, engine);
        for (name, expected) in g["grads"].as_object().expect("gradients") {
            close(&found[&format!("g_{name}")], expected, gradients, &format!("{name} {engine} {dtype}"));
        }
    }
}

#[test]
fn ssd_is_the_golden_in_every_way_and_chunk() {
    let (path, g) = golden("ssd");
    for (how, outputs, gradients) in [
        ("--dtype f64", 1e-10, 1e-10),
        ("--dtype f64 --chunk 3", 1e-10, 1e-10),
        ("--dtype f64 --engine step", 1e-10, 1e-10),
        ("--dtype f64 --engine reference", 1e-13, 1e-13),
        ("--dtype f32 --chunk 1", 1e-5, 1e-4),
    ] {
        let found = json(&format!("kernels run ssd {path} --grad {how}"));
        close(&found["Y"], &g["Y"], outputs, how);
        close(&found["final_state"], &g["final_state"], outputs, how);
        for (name, expected) in g["grads"].as_object().expect("gradients") {
            close(&found[&format!("g_{name}")], expected, gradients, &format!("{name} {how}"));
        }
    }
}

#[test]
fn mamba3_is_the_goldens_in_every_way() {
    for (name, value) in [("mamba3_siso", "V"), ("mamba3_mimo", "V_up")] {
        let (path, g) = golden(name);
        for (how, outputs, gradients) in [
            ("--dtype f64", 1e-10, 1e-10),
            ("--dtype f64 --chunk 2", 1e-10, 1e-10),
            ("--dtype f64 --engine step", 1e-10, 1e-10),
            ("--dtype f64 --engine reference", 1e-12, 1e-12),
            ("--dtype f32", 1e-5, 1e-4),
        ] {
            let found = json(&format!("kernels run mamba3 {path} --grad {how}"));
            let what = format!("{name} {how}");
            close(&found["out"], &g["out"], outputs, &what);
            close(&found["S"], &g["final"]["S"], outputs, &what);
            // The golden has heads before ranks, the carried keys ranks before heads (the original's cache).
            let keys = &g["final"]["K_rot"][0];
            let turned: Vec<_> = (0..keys[0].as_array().expect("ranks").len())
                .map(|r| keys.as_array().expect("heads").iter().map(|h| h[r].clone()).collect::<Vec<_>>())
                .collect();
            close(&found["K_rot"], &serde_json::json!([turned]), outputs, &what);
            close(&found["angle"], &g["final"]["angle_mod_2pi"], outputs, &what);
            if value == "V" {
                close(&found["V_last"], &g["final"]["V"], outputs, &what);
            }
            for (input, expected) in g["grads"].as_object().expect("gradients") {
                close(&found[&format!("g_{input}")], expected, gradients, &format!("{input} {what}"));
            }
        }
    }
}

#[test]
fn the_convolution_is_the_golden_with_and_without_its_activation() {
    let (_, g) = golden("causal_conv1d");
    let dir = temp();
    let state = g["init_state_last3"].clone();
    let input = |with: bool| {
        let mut arrays = serde_json::json!({ "x": g["x"], "weight": g["weight"], "bias": g["bias"] });
        if with {
            arrays["initial_state"] = state.clone();
        }
        arrays.to_string()
    };
    let (plain, carried) = (write(&dir, "plain.json", input(false)), write(&dir, "carried.json", input(true)));
    for engine in ["scan", "step", "reference"] {
        let run =
            |file: &str, more: &str| json(&format!("kernels run causal-conv1d {file} --dtype f64 --engine {engine} {more}"));
        close(&run(&plain, "")["y"], &g["y_silu"], 1e-14, engine);
        close(&run(&plain, "--linear")["y"], &g["y_linear"], 1e-14, engine);
        close(&run(&carried, "")["y"], &g["y_silu_with_state"], 1e-14, engine);
    }
}

#[test]
fn formats_carry_the_same_numbers() {
    let (path, _) = golden("selective_scan");
    let dir = temp();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let by_json = ok(&format!("kernels run selective-scan {path} --dtype f64"));
    for name in ["out.npz", "out.safetensors", "out.json"] {
        ok(&format!("kernels run selective-scan {path} --dtype f64 -o {}", at(name)));
    }
    assert_eq!(std::fs::read_to_string(at("out.json")).expect("a file"), by_json);
    // What was written is read: the results of one run as inputs of another are refused by name, not as files.
    for name in ["out.npz", "out.safetensors"] {
        let (code, _, stderr) = run_with(&format!("kernels run selective-scan {}", at(name)), "");
        assert_eq!(code, 2);
        assert!(stderr.contains("no array \"u\""), "{stderr}");
    }
    let piped = run_with("kernels run selective-scan --dtype f64", std::fs::read_to_string(&path).expect("a file"));
    assert_eq!((piped.0, piped.1), (0, by_json));
}

#[test]
fn packed_sequences_are_separate_ones() {
    let dir = temp();
    let line = |from: i32, len: i32| (from..from + len).map(|i| f64::from(i * 7 % 11) / 8.0).collect::<Vec<_>>();
    let make = |from: i32, len: i32, bounds: Option<[i32; 3]>| {
        let mut v = serde_json::json!({
            "u": [[line(from, len)]], "delta": [[line(from + 3, len)]], "A": [[-0.5]], "B": [[[line(from + 5, len)]]], "C": [[[line(from + 2, len)]]],
        });
        if let Some(bounds) = bounds {
            v["cu_seqlens"] = serde_json::json!(bounds);
        }
        v.to_string()
    };
    let run = |name: &str, text: String| {
        flat(&json(&format!("kernels run selective-scan {} --dtype f64", write(&dir, name, text)))["out"])
    };
    let both = run("both.json", make(0, 9, Some([0, 4, 9])));
    let apart = [run("a.json", make(0, 4, None)), run("b.json", make(4, 5, None))].concat();
    assert_eq!(both, apart);
}

#[test]
fn operations_are_listed_and_timed() {
    let list = json("kernels list --json");
    let names: Vec<_> =
        list["operations"].as_array().expect("operations").iter().map(|o| o["op"].as_str().expect("a name")).collect();
    assert!(names.contains(&"selective-scan") && names.contains(&"causal-conv1d"));
    let arrays = crate::support::rows(&ok("kernels list ssd"));
    assert_eq!((arrays[0]["array"].as_str(), arrays[0]["axes"].as_str(), arrays[0]["needed"].as_str()), ("X", "b l h p", "yes"));
    assert_eq!(run_with("kernels list sdd", "").0, 2);
    let rows = json("kernels bench causal-conv1d --size d=8,l=64 --rounds 1 --json");
    let timings = rows["timings"].as_array().expect("timings");
    assert_eq!(timings.len(), 2);
    assert!(timings.iter().all(|t| t["median_ms"].as_f64().is_some_and(|v| v > 0.0)));
    assert_eq!(timings[0]["sizes"], "b=1 d=8 l=64 k=4");
}

fn refused(line: &str, why: &str) {
    let (code, stdout, stderr) = run_with(line, "");
    assert_eq!(code, 2, "{line}: {stderr}");
    assert!(stdout.is_empty() && stderr.contains(why), "{line}: {stderr}");
}

#[test]
fn mistakes_are_explained() {
    let (path, g) = golden("selective_scan");
    let dir = temp();
    refused(&format!("kernels run selectiv-scan {path}"), "expected causal-conv1d, selective-scan, ssd, mamba3");
    refused(&format!("kernels run selective-scan {path} --linear"), "no activation");
    refused(&format!("kernels run selective-scan {path} --chunk 8"), "does not work in chunks");
    refused(&format!("kernels run selective-scan {path} --engine reference"), "--dtype f64");
    refused(&format!("kernels run selective-scan {path} -o out.csv"), ".safetensors");
    refused("kernels run selective-scan nothing.json", "cannot be read");
    #[cfg(not(feature = "cuda"))]
    refused(&format!("kernels run selective-scan {path} --device cuda"), "build with the feature \"cuda\"");
    #[cfg(not(feature = "metal"))]
    refused(&format!("kernels run selective-scan {path} --device metal"), "build with the feature \"metal\"");
    refused("kernels bench selective-scan --size q=3", "has such an axis");
    let change = |name: &str, value: Value| {
        let mut v = g.clone();
        v[name] = value;
        write(&dir, "changed.json", v.to_string())
    };
    let with = |name: &str, value: Value, why: &str| refused(&format!("kernels run selective-scan {}", change(name, value)), why);
    let mut bare = g.clone();
    let bias = bare.as_object_mut().expect("an object").remove("delta_bias").expect("a bias");
    bare["delta_bais"] = bias;
    refused(
        &format!("kernels run selective-scan {}", write(&dir, "bare.json", bare.to_string())),
        "did you mean \"delta_bias\"?",
    );
    with("D", serde_json::json!([1.0]), "array \"D\" has shape [1], expected [2]");
    with("u", serde_json::json!([[[1.0, "x"]]]), "expected a number");
    with("A", serde_json::json!([[1.0, 2.0]]), "expected (2, states)");
    with("cu_seqlens", serde_json::json!([0, 3]), "end with the 5 steps");
    refused(&format!("kernels run selective-scan {}", write(&dir, "text.json", "hello")), "holds no arrays");
    // States that grow beyond the numbers of f32.
    let (code, stdout, stderr) =
        run_with(&format!("kernels run selective-scan {}", change("A", serde_json::json!([[900.0, 900.0], [900.0, 900.0]]))), "");
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    assert!(stderr.contains("beyond the numbers"), "{stderr}");
}

#[test]
fn s4d_is_the_golden_in_every_way() {
    let (_, g) = golden("s4d");
    let dir = temp();
    let input = serde_json::json!({
        "log_dt": g["log_dt"], "log_A_real": g["log_A_real"], "A_imag": g["A_imag"], "C_re": g["C"]["re"], "C_im": g["C"]["im"],
        "D": g["D"], "u": [g["u"]], "dK": g["dK"],
    });
    let file = write(&dir, "in.json", input.to_string());
    for (how, tolerance) in
        [("--dtype f64", 1e-10), ("--dtype f64 --engine step", 1e-10), ("--dtype f64 --engine reference", 1e-13), ("", 1e-5)]
    {
        let found = json(&format!("kernels run s4d {file} {how}"));
        for name in ["K", "y"] {
            close(&found[name], &g["zoh"][name], tolerance, &format!("{name} {how}"));
        }
    }
}

#[test]
fn maps_become_sequences_and_come_back_four_times() {
    let dir = temp();
    let x: Vec<f64> = (0..24).map(f64::from).collect();
    let nested: Vec<Vec<Vec<Vec<f64>>>> = vec![x.chunks(12).map(|c| c.chunks(4).map(<[f64]>::to_vec).collect()).collect()];
    let file = write(&dir, "x.json", serde_json::json!({ "x": nested }).to_string());
    let xs = json(&format!("kernels run cross-scan {file}"));
    let back = write(&dir, "xs.json", serde_json::json!({ "ys": xs["xs"], "grid": [3, 4] }).to_string());
    let y = json(&format!("kernels run cross-merge {back}"));
    assert_eq!(flat(&y["y"]), x.iter().map(|v| 4.0 * v).collect::<Vec<_>>());
    assert_eq!(run(&format!("kernels run cross-scan {file} --engine step")).0, 2);
}

#[test]
fn emulated_gpu_kernels_give_the_goldens() {
    for (op, file, outputs, names) in [
        ("selective-scan", "selective_scan", "out", vec!["u", "delta", "A", "B", "C", "D", "z", "delta_bias", "h0"]),
        ("ssd", "ssd", "Y", vec![]),
    ] {
        let (path, g) = golden(file);
        let found = json(&format!("kernels run {op} {path} --grad --device cuda-emu"));
        let plain = json(&format!("kernels run {op} {path} --grad --dtype f64"));
        close(&found[outputs], &g[outputs], 1e-5, op);
        for (name, expected) in plain.as_object().expect("arrays") {
            close(&found[name], expected, 1e-4, &format!("{op} {name}"));
        }
        assert!(names.iter().all(|n| found.get(format!("g_{n}")).is_some()));
    }
    let (path, g) = golden("mamba3_siso");
    let found = json(&format!("kernels run mamba3 {path} --device cuda-emu"));
    close(&found["out"], &g["out"], 1e-5, "mamba3");
    let (code, _, err) = run(&format!("kernels run mamba3 {path} --device cuda-emu --grad"));
    assert!(code == 2 && err.contains("no gradients for devices"), "{err}");
    let (code, _, err) = run(&format!("kernels run mamba3 {path} --device cuda-emu --dtype f64"));
    assert!(code == 2 && err.contains("f32"), "{err}");
}

fn waves(shape: &[usize], seed: f64) -> Value {
    match shape {
        [] => seed.sin().into(),
        [first, rest @ ..] => (0..*first).map(|i| waves(rest, 1.7 * seed + i as f64 + 0.3)).collect(),
    }
}

#[test]
fn products_of_tensors_agree_in_every_way_and_on_emulated_devices() {
    let dir = temp();
    let shape = [4usize, 3, 5];
    let indices = [[0, 2, 4], [3, 0, 1], [3, 1, 1], [0, 2, 4], [1, 1, 0]];
    for mode in 0..3 {
        let mut matrices = shape;
        matrices[mode] = 2;
        let mut dense = serde_json::json!({
            "x": waves(&shape, 1.0), "mode": mode, "m": waves(&[2, shape[mode]], 2.0), "dy": waves(&matrices, 3.0),
            "dW": waves(&[shape[mode], 6], 4.0), "values": waves(&[5], 5.0), "indices": indices, "shape": shape,
        });
        // The mode's own factor has no part in the result.
        for m in (0..3).filter(|&m| m != mode || m == 1) {
            dense[format!("U{m}")] = waves(&[shape[m], 6], 6.0 + m as f64);
        }
        let file = write(&dir, "in.json", dense.to_string());
        for (op, count) in [("mttkrp", 4), ("sparse-mttkrp", 4), ("ttm", 3)] {
            let exact = json(&format!("kernels run {op} {file} --grad --dtype f64 --engine reference"));
            assert_eq!(exact.as_object().expect("arrays").len(), count, "{op}");
            // Sums of a few dozen products.
            for (how, tolerance) in [("--dtype f64", 1e-14), ("", 1e-5), ("--device cuda-emu", 1e-5)] {
                let found = json(&format!("kernels run {op} {file} --grad {how}"));
                for (name, expected) in exact.as_object().expect("arrays") {
                    close(&found[name], expected, tolerance, &format!("{name} of {op}, mode {mode} {how}"));
                }
            }
        }
    }
    // specs: splatt's small tensor, U[i, r] = (2 i + r + 1) / 10.
    let u = |n: usize| -> Value { (0..n).map(|i| vec![(2 * i + 1) as f64 / 10.0, (2 * i + 2) as f64 / 10.0]).collect() };
    let small = serde_json::json!({
        "shape": [2, 2, 3, 3], "mode": 1, "U0": u(2), "U2": u(3), "U3": u(3), "values": [2.0], "indices": [[1, 1, 2, 0]],
    });
    let found = json(&format!("kernels run sparse-mttkrp {} --dtype f64", write(&dir, "small.json", small.to_string())));
    // 2 · .3 · .5 · .1 and 2 · .4 · .6 · .2 in row 1.
    close(&found["W"], &serde_json::json!([[0.0, 0.0], [0.03, 0.096]]), 1e-15, "one nonzero");
    let with = |op: &str, name: &str, value: Value, why: &str| {
        let mut v = small.clone();
        v["x"] = waves(&[2, 2, 3, 3], 1.0);
        v[name] = value;
        refused(&format!("kernels run {op} {}", write(&dir, "changed.json", v.to_string())), why);
    };
    with("sparse-mttkrp", "indices", serde_json::json!([[1, 1, 3, 0]]), "holds 3 in row 0 for mode 2");
    with("sparse-mttkrp", "indices", serde_json::json!([[1, 1]]), "expected [1, 4]");
    with("sparse-mttkrp", "mode", serde_json::json!(4), "whole numbers from 0 to 3");
    with("mttkrp", "U2", serde_json::json!([[1.0, 2.0]]), "expected [3, 2]");
    with("mttkrp", "U4", serde_json::json!([[1.0, 2.0]]), "the tensor has 4 modes");
    with("mttkrp", "mode", serde_json::json!(0), "no array \"U1\"");
    with("ttm", "m", serde_json::json!([[1.0, 2.0, 3.0]]), "expected (rows, 2)");
    refused(&format!("kernels run ttm {} --engine step", dir.path().join("small.json").display()), "has no steps");
    let rows = json("kernels bench mttkrp sparse-mttkrp ttm --size i=9,j=8,k=7,nnz=50,r=3 --rounds 1 --json");
    assert!(rows["timings"].as_array().is_some_and(|t| t.len() == 6));
}

#[test]
fn language_models_run_whole_in_chunks_and_step_by_step() {
    let dir = temp();
    for (model, nll) in [("tiny-mamba1", 12.880063), ("tiny-mamba2", 11.056030), ("tiny-mamba3", 6.246807)] {
        let folder = format!("{}/testdata/ssm/{model}", env!("CARGO_MANIFEST_DIR"));
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{folder}/expected.json")).expect("a file")).expect("JSON");
        let ids: Vec<String> = expected["tokens"].as_array().expect("tokens").iter().map(Value::to_string).collect();
        let tokens = write(&dir, &format!("{model}.txt"), ids.join(" "));
        for how in ["--mode scan", "--mode chunk --chunk 5", "--mode step"] {
            let found = json(&format!("kernels apply {folder} {tokens} {how} --mask-pad --dtype f64 --json -q"));
            assert!((found["nll"].as_f64().expect("a number") - nll).abs() < 1e-6, "{model} {how}: {found}");
        }
        // Two halves with the state handed over are the whole; only the loss of the second half's first token is not known.
        let (first, second) = (write(&dir, "a.txt", ids[..20].join("\n")), write(&dir, "b.txt", ids[20..].join(",")));
        let state = dir.path().join("state.safetensors").display().to_string();
        let logits = dir.path().join("logits.json").display().to_string();
        ok(&format!("kernels apply {folder} {first} --dtype f64 --state-out {state} -q"));
        ok(&format!("kernels apply {folder} {second} --dtype f64 --state-in {state} --logits {logits} -q"));
        let found: Value = serde_json::from_str(&std::fs::read_to_string(&logits).expect("a file")).expect("JSON");
        let rows = found["logits"].as_array().expect("rows");
        close(&rows[rows.len() - 1], &expected["logits_last"], 1e-10, model);
    }
    let folder = format!("{}/testdata/ssm/tiny-mamba1", env!("CARGO_MANIFEST_DIR"));
    let bad = write(&dir, "bad.txt", "1 2\n3 99\n");
    let (code, out, err) = run(&format!("kernels apply {folder} {bad}"));
    assert!(code == 2 && err.contains("line 2") && err.contains("99"), "{out} {err}");
    for (more, why) in [
        ("--mode step --chunk 4", "--chunk belongs to --mode chunk"),
        ("--hf-norm", "--hf-norm belongs to Mamba-2"),
        ("--a-activation softplus", "--a-activation belongs to Mamba-3"),
    ] {
        let (code, _, err) = run(&format!("kernels apply {folder} {bad} {more}"));
        assert!(code == 2 && err.contains(why), "{more}: {err}");
    }
    let (code, _, err) = run(&format!("kernels apply {} {bad}", dir.path().display()));
    assert!(code == 2 && err.contains("config.json"), "{err}");
}

#[test]
fn bf16_rounds_what_belongs_to_the_steps() {
    let (path, mut g) = golden("selective_scan");
    let nearest = |v: f64| {
        let bits = (v as f32).to_bits();
        f64::from(f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000))
    };
    fn round(v: &mut Value, nearest: &impl Fn(f64) -> f64) {
        match v {
            Value::Array(items) => items.iter_mut().for_each(|v| round(v, nearest)),
            other => *other = nearest(other.as_f64().expect("a number")).into(),
        }
    }
    let found = json(&format!("kernels run selective-scan {path} --grad --dtype bf16"));
    for name in ["u", "delta", "B", "C", "z", "dout"] {
        round(&mut g[name], &nearest);
    }
    let dir = temp();
    let plain = json(&format!("kernels run selective-scan {} --grad", write(&dir, "rounded.json", g.to_string())));
    let rounded = |name: &str| -> Vec<f64> { flat(&plain[name]).into_iter().map(nearest).collect() };
    // Files have the shortest text that reads back as the f32.
    let singles = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    assert_eq!(singles(&flat(&found["out"])), singles(&rounded("out")));
    assert_eq!(flat(&found["last_state"]), flat(&plain["last_state"]));
    for name in ["g_u", "g_delta", "g_B", "g_C", "g_z", "g_A", "g_D"] {
        let (found, plain) = (flat(&found[name]), flat(&plain[name]));
        let size = plain.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        // Rounded once, to 8 bits; and the noise of f32 that the goldens allow for gradients.
        let near = |f: f64, p: f64| (f - p).abs() <= p.abs() / 256.0 + 1e-4 * size;
        assert!(found.iter().zip(&plain).all(|(f, p)| near(*f, *p)), "{name}");
    }
    refused(&format!("kernels run selective-scan {path} --dtype bf16 --engine reference"), "the reference computes in f64");
    refused(&format!("kernels run selective-scan {path} --dtype bf16 --device cuda-emu"), "devices in f32");
    refused("kernels bench ssd --device cuda-emu", "says nothing of a GPU");
    refused("kernels bench s4d --device cuda", "has no kernels for devices");
    refused("kernels bench ssd --device cuda --dtype bf16", "leave --dtype out");
    // All of them.
    let rows = json("kernels bench --size b=1,d=8,l=64,h=8,c=4,w=9 --rounds 1 --dtype bf16 --json");
    assert!(rows["timings"].as_array().is_some_and(|t| t.len() == 20), "{rows}");
}

/// Numbers that bf16 has, so that nothing is lost on the way in: multiples of 1/8.
fn eighths(seed: usize, shape: &[usize]) -> Value {
    fn nested(shape: &[usize], next: &mut impl FnMut() -> f64) -> Value {
        match shape {
            [] => next().into(),
            [len, rest @ ..] => (0..*len).map(|_| nested(rest, next)).collect(),
        }
    }
    let mut state = 7919 * (seed + 1);
    nested(shape, &mut || {
        state = state * 48271 % 2147483647;
        (state % 17) as f64 / 8.0 - 1.0
    })
}

/// Every operation in every way it has: results of the length of the inputs are those in f32 rounded, the others those in f32.
#[test]
fn bf16_is_f32_rounded_for_every_operation() {
    let dir = temp();
    // Name, arrays and their shapes, the results that are rounded, whether there are steps.
    type Line<'a> = (&'a str, &'a [(&'a str, &'a [usize])], &'a [&'a str], bool);
    let lines: [Line<'_>; 6] = [
        (
            "s4d",
            &[
                ("log_dt", &[3]),
                ("log_A_real", &[3, 2]),
                ("A_imag", &[3, 2]),
                ("C_re", &[3, 2]),
                ("C_im", &[3, 2]),
                ("D", &[3]),
                ("u", &[2, 3, 9]),
                ("initial_state_re", &[2, 3, 2]),
                ("initial_state_im", &[2, 3, 2]),
                ("dy", &[2, 3, 9]),
            ],
            &["K", "y", "g_u"],
            true,
        ),
        ("s4-dplr", &[("C_real_basis", &[4]), ("dK", &[11])], &["K"], true),
        ("cross-scan", &[("x", &[2, 3, 4, 5]), ("dxs", &[2, 4, 3, 20])], &["xs", "g_x"], false),
        ("cross-merge", &[("ys", &[2, 4, 3, 20]), ("dy", &[2, 3, 4, 5])], &["y", "g_ys"], false),
        (
            "state-fusion",
            &[
                ("h", &[2, 3, 4, 5]),
                ("k_d1", &[3, 3, 3]),
                ("k_d3", &[3, 3, 3]),
                ("k_d5", &[3, 3, 3]),
                ("alpha", &[3]),
                ("dout", &[2, 3, 4, 5]),
            ],
            &["out", "g_h"],
            false,
        ),
        ("softsort", &[("scores", &[2, 7]), ("dP_hat", &[2, 7, 7])], &["P_hat", "g_scores"], false),
    ];
    for (op, arrays, rounded, steps) in lines {
        let mut all = serde_json::Map::new();
        for (i, (name, shape)) in arrays.iter().enumerate() {
            all.insert(name.to_string(), eighths(i, shape));
        }
        for (name, value) in [("N", 4.into()), ("L", 11.into()), ("dt", 0.125.into()), ("grid", serde_json::json!([4, 5]))] {
            all.insert(name.into(), value);
        }
        let path = write(&dir, "in.json", Value::Object(all).to_string());
        let engines: &[&str] = if steps { &["scan", "step"] } else { &["scan"] };
        for engine in engines {
            let line = format!("kernels run {op} {path} --grad --engine {engine}");
            let (plain, half) = (json(&line), json(&format!("{line} --dtype bf16")));
            let names: Vec<&String> = plain.as_object().expect("arrays").keys().collect();
            assert_eq!(names, half.as_object().expect("arrays").keys().collect::<Vec<_>>(), "{op}");
            for name in names {
                let (found, expected) = (flat(&half[name]), flat(&plain[name]));
                let nearest = |v: f64| {
                    let bits = (v as f32).to_bits();
                    f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
                };
                let expected = expected.iter().map(|&v| if rounded.contains(&name.as_str()) { nearest(v) } else { v as f32 });
                assert!(found.iter().map(|&v| v as f32).eq(expected), "{name} of {op} by {engine}");
            }
        }
        if !steps {
            refused(&format!("kernels run {op} {path} --dtype bf16 --engine step"), "has no steps");
        }
    }
    // The same for those in blocks, whose inputs the goldens hold: outputs of a step are those of f32 on rounded numbers.
    for (op, name, result, state) in [
        ("causal-conv1d", "causal_conv1d", "y", "final_state"),
        ("selective-scan", "selective_scan", "out", "last_state"),
        ("ssd", "ssd", "Y", "final_state"),
    ] {
        let (path, _) = golden(name);
        let [scan, step] =
            ["scan", "step"].map(|engine| json(&format!("kernels run {op} {path} --engine {engine} --dtype bf16")));
        // One rounding apart at most, and f32 noise in the states.
        close(&step[result], &scan[result], 1.0 / 128.0, op);
        close(&step[state], &scan[state], 1e-5, op);
    }
}
