//! Running the binary, reading its tables, finding data.

use assert_cmd::Command;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The binary under test.
pub fn shoal() -> Command {
    Command::cargo_bin("shoal").expect("the binary is built with the tests")
}

/// Runs `shoal` with the words of `line` (split at spaces) and returns (code, stdout, stderr).
pub fn run(line: &str) -> (i32, String, String) {
    run_with(line, "")
}

/// As [`run`], with text on stdin.
pub fn run_with(line: &str, stdin: impl Into<Vec<u8>>) -> (i32, String, String) {
    let out = shoal().args(line.split_whitespace()).write_stdin(stdin.into()).output().expect("the binary starts");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("output is UTF-8");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

/// Runs a command that must succeed and returns stdout.
pub fn ok(line: &str) -> String {
    ok_with(line, "")
}

/// As [`ok`], with text on stdin.
pub fn ok_with(line: &str, stdin: impl Into<Vec<u8>>) -> String {
    let (code, stdout, stderr) = run_with(line, stdin);
    assert_eq!(code, 0, "shoal {line}\nstdout: {stdout}\nstderr: {stderr}");
    stdout
}

/// A CSV result as rows of column → cell.
pub fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.deserialize().map(|r| r.expect("the result is CSV")).collect()
}

/// One number of a row.
pub fn num(row: &BTreeMap<String, String>, column: &str) -> f64 {
    let cell = row.get(column).unwrap_or_else(|| panic!("no column {column} in {row:?}"));
    cell.parse().unwrap_or_else(|_| panic!("{column} is {cell:?}"))
}

/// A committed data file.
pub fn testdata(name: &str) -> String {
    format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of the data that may not be passed on, kept beside the project; `None`, and a line that says so, where it is not there.
pub fn shared(name: &str) -> Option<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "shared", "data", name].iter().collect();
    if path.exists() {
        return Some(path.to_string_lossy().into_owned());
    }
    eprintln!("skipped: {name} is not at ../shared/data (its licence keeps it out of the project)");
    None
}

/// A directory that goes away with the value.
pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Writes a file into a temporary directory and returns its path.
pub fn write(dir: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, content).expect("a temporary file");
    path.to_string_lossy().into_owned()
}

/// AirPassengers up to a number of months, as CSV.
pub fn air(months: usize) -> String {
    let text = std::fs::read_to_string(testdata("classic/air_passengers.csv")).expect("committed data");
    text.lines().take(months + 1).map(|l| format!("{l}\n")).collect()
}
