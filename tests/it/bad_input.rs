//! Whatever is wrong with the input or the command, the answer is exit 2, one sentence that says where, and no output.

use super::support::{run, run_with, temp, write};

const PREDICT: &str = "forecast predict -m naive -H 2";

/// Exit 2, nothing on stdout, and every needle in the message.
fn refused(line: &str, stdin: impl Into<Vec<u8>>, needles: &[&str]) {
    let (code, out, err) = run_with(line, stdin);
    assert!(code == 2 && out.is_empty(), "shoal {line}: code {code}\n{out}\n{err}");
    for needle in needles {
        assert!(err.contains(needle), "shoal {line}: no {needle:?} in\n{err}");
    }
    assert!(!err.contains("panicked") && !err.contains("does not know"), "{err}");
}

#[test]
fn tables() {
    let long = |rows: &str| format!("unique_id,ds,y\n{rows}");
    refused(&format!("{PREDICT} --target-col z"), long("a,2024-01-01,1\n"), &["\"z\""]);
    refused(&format!("{PREDICT} --time-col when"), long("a,2024-01-01,1\n"), &["\"when\""]);
    refused(PREDICT, long("a,2024-01-01,1\na,2024-01-02,n/a\na,2024-01-03,2\n"), &["row 3", "\"y\"", "\"n/a\"", "--na"]);
    refused(PREDICT, long("a,2024-01-01,1\na,soon,2\n"), &["row 3", "\"ds\"", "\"soon\""]);
    refused(PREDICT, long("a,2024-01-02,1\na,2024-01-01,2\n"), &["row", "--sort"]);
    refused(PREDICT, long("a,2024-01-01,1\na,2024-01-01,2\na,2024-01-02,2\n"), &["row", "2", "3"]);
    refused(PREDICT, long("a,2024-01-01,1\na,2024-01-02,1\na,2024-01-03,1\na,2024-01-07,2\n"), &["--impute"]);
    refused(PREDICT, long("a,2024-01-01,1,9\n"), &["row 2"]);
    refused(PREDICT, "", &["empty"]);
    refused(PREDICT, "unique_id,ds,y\n", &["no rows"]);
    refused(PREDICT, b"unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,\xff\xfe\n".to_vec(), &["UTF-8", "row 3"]);
    refused(PREDICT, "ds,ds,y\n1,1,1\n", &["\"ds\""]);
    refused(PREDICT, b"PAR1 and then nothing".to_vec(), &["Parquet"]);
    refused(PREDICT, b"\x1f\x8b\x08 no gzip".to_vec(), &["gzip"]);
    refused(PREDICT, "{\"ds\": 1, \"y\": 2}\n{\"ds\": 2, \"y\": \n", &["2"]);
}

#[test]
fn a_truncated_parquet_file() {
    let dir = temp();
    let whole = dir.path().join("whole.parquet");
    let rows: String = (0..200).map(|t| format!("a,{t},{t}\n")).collect();
    let (code, _, err) =
        run_with(&format!("forecast predict -m naive -H 100 -o {} -q", whole.display()), format!("unique_id,ds,y\n{rows}"));
    assert_eq!(code, 0, "{err}");
    let bytes = std::fs::read(&whole).unwrap();
    for keep in [4, 10, bytes.len() / 2, bytes.len() - 1] {
        let cut = write(&dir, "cut.parquet", &bytes[..keep]);
        refused(&format!("{PREDICT} {cut}"), "", &["cut.parquet"]);
    }
    // Damage in the middle, footer intact.
    let mut broken = bytes.clone();
    let middle = bytes.len() / 3;
    broken[4..middle].fill(0xA5);
    let broken = write(&dir, "broken.parquet", broken);
    refused(&format!("{PREDICT} {broken}"), "", &["broken.parquet"]);
}

#[test]
fn options() {
    let csv = "ds,y\n1,1\n2,2\n3,3\n4,4\n";
    refused("forecast predict -m naive -H 0", csv, &["0"]);
    refused("forecast predict -m naive", csv, &["-H"]);
    refused("forecast predict -m naive -H two", csv, &["two"]);
    refused("forecast predict -m naive -H 2 --season 9", csv, &["--season 9", "4 observations"]);
    refused("forecast predict -m auto-etts -H 2", csv, &["did you mean \"auto-ets\""]);
    refused("forecast predict -m naive,naive -H 2", csv, &["twice"]);
    refused("forecast predict -m ets:QQQ -H 2", csv, &["ets:QQQ"]);
    refused("forecast predict -m arima:1,1 -H 2", csv, &["arima:1,1"]);
    refused("forecast predict -m naive -H 2 --level 80,120", csv, &["--level", "120"]);
    refused("forecast predict -m naive -H 2 --level nan", csv, &["--level"]);
    refused("forecast predict -m naive -H 2 --quantiles 0,0.5", csv, &["--quantiles"]);
    refused("forecast predict -m naive -H 2 --level 80 --intervals none", csv, &["contradicts"]);
    refused("forecast predict -m croston -H 2 --level 80", csv, &["conformal"]);
    refused("forecast predict -m naive -H 2 --freq fortnight", csv, &["fortnight"]);
    refused("forecast predict -m linear -H 2 -L 10", csv, &["lookback 10"]);
    refused("forecast predict -m naive -H 2 --threads 0", csv, &["0"]);
    refused("forecast predict -m naive -H 2 --json --format csv", csv, &["--json"]);
    refused("forecast predict no/such/file.csv -m naive -H 2", "", &["no/such/file.csv"]);
    refused("forecast predict -m naive -H 2 -o /no/such/dir/out.csv", csv, &["/no/such/dir"]);
    refused("forecast predict -m naive -H 2 --plot /no/such/dir/p.svg", csv, &["/no/such/dir"]);
    refused("forecast predict - - -m naive -H 2", csv, &["stdin"]);
    refused("forecast predict -m naive -H -3", csv, &["-3"]);
    refused("forecast predict -m naive -H 2 --threads 60000", csv, &["60000"]);
    refused("forecast predict -m naive -m naive -H 2", csv, &["twice"]);
    refused("forecast predict -m naive -H 2 --conformal split --intervals model --level 80", csv, &["--intervals conformal"]);
    refused("forecast predict -m naive -H 2 -o x.csv.gz", csv, &[".gz"]);
    refused("forecast predict -m naive -H 2 --fits -", csv, &["stdout"]);
    refused("forecast predict -m naive -H 2 -o same.csv --fits same.csv", csv, &["same file"]);
    refused("forecast forecats", "", &["forecats"]);
}

#[test]
fn a_refused_run_leaves_nothing_behind() {
    let dir = temp();
    let (out, picture) = (dir.path().join("out.csv"), dir.path().join("p.svg"));
    let line = format!("forecast predict -m naive -H 2 -o {} --plot {}", out.display(), picture.display());
    refused(&line, "ds,y\n1,1\n2,x\n", &["row 3"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // An existing result survives a run that fails.
    std::fs::write(&out, "before").unwrap();
    refused(&line, "ds,y\n1,1\n2,x\n", &["row 3"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
}

#[test]
fn help_and_version_are_no_errors() {
    for line in
        ["--help", "--version", "forecast --help", "forecast predict --help", "forecast predict -h", "forecast eval --help"]
    {
        let (code, out, err) = run(line);
        assert!(code == 0 && !out.is_empty() && err.is_empty(), "{line}: {err}");
    }
}
