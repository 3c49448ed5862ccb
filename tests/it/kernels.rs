//! `shoal kernels`: goldens through the binary, formats, mistakes.

use crate::support::{ok, run_with, temp, write};
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

#[test]
fn mistakes_are_explained() {
    let (path, g) = golden("selective_scan");
    let dir = temp();
    let refused = |line: &str, why: &str| {
        let (code, stdout, stderr) = run_with(line, "");
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stdout.is_empty() && stderr.contains(why), "{line}: {stderr}");
    };
    refused(&format!("kernels run selectiv-scan {path}"), "expected causal-conv1d, selective-scan, ssd, mamba3");
    refused(&format!("kernels run selective-scan {path} --linear"), "no activation");
    refused(&format!("kernels run selective-scan {path} --chunk 8"), "does not work in chunks");
    refused(&format!("kernels run selective-scan {path} --engine reference"), "--dtype f64");
    refused(&format!("kernels run selective-scan {path} -o out.csv"), ".safetensors");
    refused("kernels run selective-scan nothing.json", "cannot be read");
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
