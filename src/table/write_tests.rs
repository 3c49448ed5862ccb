use super::super::{Data, FrameOptions, Source, Want, plain_plan, read_frame};
use super::*;
use crate::table::time::Pattern;
use proptest::prelude::*;

fn texts(cells: &[&str]) -> Values {
    Values::Text(cells.iter().map(|c| Arc::from(*c)).collect())
}

fn sample() -> Table {
    Table::new()
        .with("unique_id", texts(&["a", "b,\"c\"", ""]))
        .with("ds", Values::Time { values: vec![0, 31 * DAY, MISSING], kind: TimeKind::Date })
        .with("mean", Values::Number(vec![1.5, f64::NAN, -0.0]))
        .with("n", Values::Integer(vec![1, -2, 3]))
        .with("ok", Values::Bool(vec![true, false, true]))
}

fn written(table: &Table, format: Format) -> String {
    let mut out = Vec::new();
    write_table(table, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn text_formats() {
    assert_eq!(
        written(&sample(), Format::Csv),
        "unique_id,ds,mean,n,ok\na,1970-01-01,1.5,1,true\n\"b,\"\"c\"\"\",1970-02-01,,-2,false\n,,0,3,true\n"
    );
    assert_eq!(written(&sample(), Format::Tsv).lines().nth(1), Some("a\t1970-01-01\t1.5\t1\ttrue"));
    assert_eq!(
        written(&sample(), Format::Jsonl).lines().nth(1),
        Some(r#"{"unique_id":"b,\"c\"","ds":"1970-02-01","mean":null,"n":-2,"ok":false}"#)
    );
    let json: serde_json::Value = serde_json::from_str(&written(&sample(), Format::Json)).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(3));
    assert_eq!(json[2]["ds"], serde_json::Value::Null);
}

#[test]
fn a_table_to_read() {
    assert_eq!(
        written(&sample(), Format::Table),
        "unique_id  ds          mean   n  ok\n\
         a          1970-01-01   1.5   1  true\n\
         b,\"c\"      1970-02-01        -2  false\n\
         \x20                       0.0   3  true\n"
    );
    let long = Table::new().with("i", Values::Integer((0..1000).collect()));
    let text = written(&long, Format::Table);
    assert_eq!(text.lines().count(), 1 + TEXT_ROWS + 1);
    assert!(text.contains("... 940 more rows ..."));
    let mut all = Vec::new();
    write_text(&long, None, &mut all).unwrap();
    assert_eq!(all.iter().filter(|b| **b == b'\n').count(), 1001);
}

#[test]
fn numbers_in_columns_share_their_point() {
    assert_eq!(aligned_numbers(&[1390.8432, 2.5, 100.0]), ["1390.84", "2.50", "100.00"]);
    assert_eq!(aligned_numbers(&[1.0, 2.0]), ["1", "2"]);
    assert_eq!(aligned_numbers(&[0.512_225_4, 0.433_303]), ["0.512225", "0.433303"]);
    assert_eq!(aligned_numbers(&[1234567.8, f64::NAN]), ["1234568", ""]);
    assert_eq!(aligned_numbers(&[1e300, 5.0]), ["1.00000e300", "5"]);
    assert_eq!(aligned_numbers(&[1e-9, 1.0]), ["1.00000e-9", "1"]);
    assert_eq!(aligned_numbers(&[]), Vec::<String>::new());
}

#[test]
fn numbers_are_short_and_exact() {
    let text = |x: f64| {
        let mut s = String::new();
        write_number(&mut s, x);
        s
    };
    assert_eq!(text(0.1), "0.1");
    assert_eq!(text(112.0), "112");
    assert_eq!(text(1e16), "1e16");
    assert_eq!(text(123_456_789_012_345.0), "123456789012345");
    assert_eq!(text(1.25e-7), "1.25e-7");
    assert_eq!(text(f64::INFINITY), "");
}

#[test]
fn formats_by_name() {
    for f in [Format::Csv, Format::Tsv, Format::Parquet, Format::Json, Format::Jsonl, Format::Table] {
        assert_eq!(f.to_string().parse(), Ok(f));
    }
    assert_eq!(Format::of_path(Path::new("a/b.PARQUET")), Some(Format::Parquet));
    assert_eq!(Format::of_path(Path::new("b.xyz")), None);
    assert!("xml".parse::<Format>().unwrap_err().contains("expected one of csv"));
}

#[test]
fn a_file_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    assert!(!path.exists());
    drop(file);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    for text in ["one", "two"] {
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn unwritable_outputs_are_told_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let e = AtomicFile::create(folder.path()).unwrap_err().to_string();
    assert!(e.contains("cannot write it: it is a directory"), "{e}");
    let e = AtomicFile::create(folder.path().join("no/such/out.csv")).unwrap_err().to_string();
    assert!(e.ends_with("out.csv: cannot write it: no such file or directory (check the path)"), "{e}");
}

#[cfg(unix)]
#[test]
fn permissions_links_and_devices() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("out.csv"), folder.path().join("link.csv"));
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut file = AtomicFile::create(&link).unwrap();
    file.write_all(b"new").unwrap();
    file.commit().unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut file = AtomicFile::create("/dev/null").unwrap();
    file.write_all(b"gone").unwrap();
    file.commit().unwrap();
}

/// Reads `bytes` back; the columns are id, time, number.
fn read_back(bytes: Vec<u8>, pattern: &Pattern) -> Vec<Data> {
    let source = Source::from_bytes("t", bytes).unwrap();
    let plan = |_: &[super::super::Preview]| Ok(vec![Want::Text, Want::Time(pattern.clone()), Want::Number]);
    read_frame(&source, &FrameOptions::default(), &plan).unwrap().columns.into_iter().map(|c| c.data).collect()
}

proptest! {
    #[test]
    fn every_format_is_read_back(
        ids in prop::collection::vec("[a-zé]{1,4}([ ,;|\"\t\n'{}]{1,3}[a-z0-9]{1,2})?", 2..30),
        stamps in prop::collection::vec(-60_000_000_000_000_000i64..200_000_000_000_000_000, 30),
        numbers in prop::collection::vec(prop_oneof![any::<f64>(), Just(f64::NAN), (-999i32..999).prop_map(f64::from)], 30),
        kind in prop::sample::select(vec![TimeKind::Date, TimeKind::DateTime, TimeKind::Integer]),
        format in prop::sample::select(vec![Format::Csv, Format::Tsv, Format::Parquet, Format::Json, Format::Jsonl]),
    ) {
        let rows = ids.len();
        let stamps: Vec<i64> = stamps[..rows].iter().map(|t| match kind {
            TimeKind::Date => t.div_euclid(DAY) * DAY,
            TimeKind::DateTime => *t,
            TimeKind::Integer => t / 1_000_000_000,
        }).collect();
        let numbers: Vec<f64> = numbers[..rows].iter().map(|x| if x.is_infinite() { 1.0 } else { *x }).collect();
        let table = Table::new()
            .with("id", texts(&ids.iter().map(String::as_str).collect::<Vec<_>>()))
            .with("ds", Values::Time { values: stamps.clone(), kind })
            .with("y", Values::Number(numbers.clone()));
        let mut out = Vec::new();
        write_table(&table, format, &mut out).unwrap();
        let pattern = if kind == TimeKind::Integer { Pattern::Integer } else { Pattern::Iso };
        let back = read_back(out, &pattern);
        let Data::Text(t) = &back[0] else { panic!() };
        for (i, id) in ids.iter().enumerate() {
            prop_assert_eq!(t.get(i), Some(id.as_str()));
        }
        let Data::Time(t) = &back[1] else { panic!() };
        prop_assert_eq!(&t.values, &stamps);
        prop_assert_eq!(t.kind, kind);
        let Data::Number(y) = &back[2] else { panic!() };
        for (a, b) in y.iter().zip(&numbers) {
            // The sign of zero is not kept in text.
            prop_assert!(a == b || (a.is_nan() && b.is_nan()), "{} {}", a, b);
        }
    }

    #[test]
    fn text_tables_have_one_line_per_row(cells in prop::collection::vec(("\\PC{0,6}|\n", any::<f64>()), 1..20)) {
        let table = Table::new()
            .with("a", Values::Text(cells.iter().map(|c| c.0.as_str().into()).collect()))
            .with("b", Values::Number(cells.iter().map(|c| c.1).collect()));
        prop_assert_eq!(written(&table, Format::Table).lines().count(), 1 + cells.len());
    }

    #[test]
    fn plain_tables_of_one_column_are_read_back(numbers in prop::collection::vec(prop_oneof![Just(f64::NAN), any::<f32>().prop_map(f64::from)], 1..20)) {
        let numbers: Vec<f64> = numbers.into_iter().filter(|x| !x.is_infinite()).chain([1.0]).collect();
        let table = Table::new().with("y", Values::Number(numbers.clone()));
        let source = Source::from_bytes("t", written(&table, Format::Csv).into_bytes()).unwrap();
        let frame = read_frame(&source, &FrameOptions::default(), &plain_plan).unwrap();
        let Data::Number(y) = &frame.columns[0].data else { panic!() };
        prop_assert_eq!(y.len(), numbers.len());
        prop_assert!(y.iter().zip(&numbers).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
    }
}
