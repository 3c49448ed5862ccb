//! What every verb shares: formats, run directories, repetition, regression checks, completions.

use super::support::{air, num, ok, ok_with, rows, run, run_with, temp, testdata, write};

#[test]
fn formats_and_compression_are_told_by_content() {
    use std::io::Write;
    let dir = temp();
    let want = ok_with("forecast predict -m theta -H 3 -q", air(144));
    let csv = air(144);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(csv.as_bytes()).unwrap();
    let semicolons = format!("\u{feff}{}", csv.replace(',', ";").replace('\n', "\r\n"));
    let tabs: String =
        csv.lines().map(|l| l.split(',').map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join("\t") + "\n").collect();
    let json: String = rows(&csv)
        .iter()
        .map(|r| format!("{{\"y\": {}, \"unique_id\": \"{}\", \"ds\": \"{}\"}}\n", r["y"], r["unique_id"], r["ds"]))
        .collect();
    let zst = zstd::encode_all(csv.as_bytes(), 3).unwrap();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("a", gz.finish().unwrap()),
        ("b", zst),
        ("c.txt", semicolons.into_bytes()),
        ("d", tabs.into_bytes()),
        ("e", csv.replace(',', "|").into_bytes()),
        ("f.csv", json.into_bytes()),
    ];
    for (name, bytes) in files {
        let path = write(&dir, name, bytes);
        assert_eq!(ok(&format!("forecast predict {path} -m theta -H 3 -q")), want, "{name}");
    }
}

#[test]
fn output_forms() {
    let dir = temp();
    let line = "forecast predict -m naive -H 2 -q";
    let csv = rows(&ok_with(line, air(24)));
    let json: Vec<serde_json::Value> = serde_json::from_str(&ok_with(&format!("{line} --format json"), air(24))).unwrap();
    let lines: Vec<serde_json::Value> =
        ok_with(&format!("{line} --format jsonl"), air(24)).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(json, lines);
    assert_eq!(json[1]["mean"].as_f64(), Some(num(&csv[1], "mean")));
    assert!(ok_with(&format!("{line} --format table"), air(24)).contains("unique_id"));
    assert!(ok_with(&format!("{line} --format tsv"), air(24)).starts_with("unique_id\tds\tmodel\tmean\n"));
    for name in ["o.json", "o.jsonl", "o.tsv", "o.csv", "o.parquet"] {
        let path = dir.path().join(name);
        ok_with(&format!("{line} -o {}", path.display()), air(24));
        assert!(path.metadata().unwrap().len() > 0);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5, "no temporary files stay behind");
}

#[test]
fn a_run_repeats_byte_for_byte_from_its_manifest() {
    let dir = temp();
    let data = write(&dir, "air.csv", air(144));
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    for (verb, files) in [
        ("predict -m auto-ets,naive -H 6 --level 80,95", &["forecast.csv", "fits.csv", "forecast.svg"][..]),
        ("backtest -m theta,naive -H 6 --windows 2", &["metrics.json", "metrics.csv", "forecasts.csv", "backtest.svg"]),
        ("eval -m linear,naive -L 12 -H 6,12", &["metrics.json", "metrics.csv", "eval.svg"]),
    ] {
        let input = if verb.starts_with("eval") { format!("{data} --layout long") } else { data.clone() };
        let out = ok(&format!("forecast {verb} {input} --run-dir {} -q --threads 1 --force", first.display()));
        let verb = verb.split(' ').next().unwrap();
        let again =
            ok(&format!("forecast {verb} --config {}/manifest.json --run-dir {} -q --force", first.display(), second.display()));
        assert_eq!(out, again);
        for f in files {
            assert!(std::fs::read(first.join(f)).unwrap() == std::fs::read(second.join(f)).unwrap(), "{f} differs");
        }
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(first.join("manifest.json")).unwrap()).unwrap();
        for key in ["shoal", "command", "arguments", "config", "seed", "device", "dtype", "threads", "inputs", "started", "ended"]
        {
            assert!(!manifest[key].is_null(), "{key}");
        }
        assert_eq!(manifest["inputs"][0]["sha256"].as_str().map(str::len), Some(64));
    }
    // A changed input is noticed.
    std::fs::write(&data, air(143)).unwrap();
    let (_, _, err) = run(&format!("forecast eval --config {}/manifest.json", first.display()));
    assert!(err.contains("has changed"), "{err}");
    // The wrong verb is refused.
    let (code, _, err) = run(&format!("forecast predict --config {}/manifest.json", first.display()));
    assert!(code == 2 && err.contains("forecast eval"), "{err}");
}

#[test]
fn a_run_directory_is_not_overwritten_by_accident() {
    let dir = temp();
    let run_dir = dir.path().join("run");
    let line = format!("forecast predict -m naive -H 2 --run-dir {}", run_dir.display());
    ok_with(&format!("{line} -q"), air(24));
    let (code, out, err) = run_with(&line, air(24));
    assert!(code == 2 && out.is_empty() && err.contains("--force"), "{err}");
    ok_with(&format!("{line} -q --force"), air(24));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let dir = temp();
    let toml = write(&dir, "c.toml", "method = \"naive,drift\"\nhorizon = 4\nlevel = [80, 95]\nquiet = true\nseason = 1\n");
    let got = rows(&ok_with(&format!("forecast predict --config {toml}"), air(48)));
    assert_eq!((got.len(), got[0].contains_key("lo-95")), (8, true));
    let got = rows(&ok_with(&format!("forecast predict --config {toml} -H 2 -mdrift --level 50"), air(48)));
    assert_eq!((got.len(), got[0].contains_key("lo-95"), got[0].contains_key("lo-50")), (2, false, true));
    for (text, needle) in [
        ("horizn = 3", "did you mean \"horizon\""),
        ("horizon = [", "row 1"),
        ("quiet = 3", "true or false"),
        ("horizon = \"x\"", "x"),
    ] {
        let bad = write(&dir, "bad.toml", text);
        let (code, out, err) = run_with(&format!("forecast predict -m naive --config {bad} -H 1"), air(48));
        // A key that the command line overrides is not even looked at.
        if text == "horizon = \"x\"" {
            assert_eq!(code, 0, "{err}");
        } else {
            assert!(code == 2 && out.is_empty() && err.contains(needle), "{text}: {err}");
        }
    }
}

#[test]
fn assertions_and_remembered_metrics() {
    let dir = temp();
    let line = "forecast backtest -m seasonal-naive --season 12 -H 12 --windows 3 --by model -q";
    assert_eq!(run_with(&format!("{line} --assert mse<=1800"), air(144)).0, 0);
    let (code, out, err) = run_with(&format!("{line} --assert mse<=1700 --assert mae>1"), air(144));
    assert!(code == 3 && !out.is_empty() && err.contains("mse<=1700") && !err.contains("mae>1"), "{err}");
    let file = dir.path().join("base.json");
    let check = format!("{line} --check {}", file.display());
    let (code, _, err) = run_with(&check, air(144));
    assert!(code == 2 && err.contains("--update-check"), "{err}");
    ok_with(&format!("{check} --update-check"), air(144));
    ok_with(&check, air(144));
    let (code, _, err) = run_with(&check, air(143));
    assert!(code == 3 && err.contains("old") && err.contains("delta"), "{err}");
    assert_eq!(run_with(&format!("{check} --tolerance 500%"), air(143)).0, 0);
    let broken = write(&dir, "broken.json", "{\"cases\": 3}");
    assert_eq!(run_with(&format!("{line} --check {broken}"), air(144)).0, 2);
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(ok(&format!("completions {shell}")).contains("forecast"));
    }
    assert!(ok("man").starts_with(".ie"));
    let dir = temp();
    ok(&format!("man --dir {}", dir.path().display()));
    assert!(dir.path().join("shoal-forecast-predict.1").exists());
}

#[test]
fn quiet_means_quiet() {
    let (_, _, err) = run_with("forecast predict -m auto-ets -H 2 -q", air(24));
    assert_eq!(err, "");
    let (_, _, err) = run_with("forecast predict -m auto-ets -H 2", air(144));
    assert!(err.contains("AICc"), "{err}");
}

#[test]
fn several_tables_are_one_panel() {
    let nile = testdata("classic/nile.csv");
    let sunspots = testdata("classic/sunspots.csv");
    let got = rows(&ok(&format!("forecast predict {nile} {sunspots} -m naive -H 1 --season 1 -q")));
    assert_eq!(
        got.iter().map(|r| (r["unique_id"].as_str(), r["ds"].as_str())).collect::<Vec<_>>(),
        [("volume", "1971"), ("SUNACTIVITY", "2009")]
    );
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    let binary = super::support::shoal().get_program().to_string_lossy().into_owned();
    let dir = temp();
    let f = write(&dir, "a.csv", air(144));
    let at = |name: &str| dir.path().join(name).display().to_string();
    // stdout closed by its reader: the claim still fails, the run is kept.
    let line = format!(
        "(sleep 0.3; {binary} forecast backtest {f} -m naive -H 12 --by series,cutoff,step --run-dir {} --assert 'mse<0' -q; echo $? > {}) | true",
        at("run"),
        at("code")
    );
    std::process::Command::new("bash").args(["-c", &line]).status().unwrap();
    assert_eq!(std::fs::read_to_string(at("code")).unwrap().trim(), "3");
    assert!(dir.path().join("run/manifest.json").exists());
    // stderr closed by its reader: no abort.
    let line =
        format!("(sleep 0.3; {binary} forecast predict {f} -m naive -H 1 2>&1 >/dev/null; echo $? > {}) | true", at("code"));
    std::process::Command::new("bash").args(["-c", &line]).status().unwrap();
    assert_eq!(std::fs::read_to_string(at("code")).unwrap().trim(), "0");
}

#[test]
fn a_refused_run_leaves_no_run_directory() {
    let dir = temp();
    let run_dir = dir.path().join("run");
    let (code, _, _) = run_with(&format!("forecast predict -m naive -H 1 --run-dir {}", run_dir.display()), "ds,y\n1,x\n");
    assert!(code == 2 && !run_dir.exists());
}
