use super::super::{Data, Want, plain_plan};
use super::*;
use crate::table::time::Pattern;
use proptest::prelude::*;

fn read_text(text: &str, options: &FrameOptions, chunk: Option<usize>) -> Result<Frame, BadInput> {
    let source = Source::from_bytes("t.csv", text.as_bytes().to_vec())?;
    let super::super::Content::Delimited(dialect) = source.content() else { panic!("not delimited") };
    read_chunks(&source, dialect, options, &plain_plan, chunk)
}

fn frame(text: &str) -> Result<Frame, BadInput> {
    let whole = read_text(text, &FrameOptions::default(), None);
    for chunk in [1, 7, 20].map(Some) {
        assert_eq!(show(&whole), show(&read_text(text, &FrameOptions::default(), chunk)), "{text}");
    }
    whole
}

fn refused(text: &str) -> String {
    frame(text).unwrap_err().to_string()
}

/// A frame as text, to compare with NaN equal to NaN.
fn show(frame: &Result<Frame, BadInput>) -> String {
    match frame {
        Err(e) => e.to_string(),
        Ok(f) => format!("{:?} {:?} {:?}", f.columns, f.rows, f.warnings),
    }
}

fn numbers(f: &Frame, name: &str) -> Vec<f64> {
    match &f.column(name).unwrap().data {
        Data::Number(v) => v.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_delimiter_with_bom_and_crlf() {
    for d in [",", ";", "\t", "|"] {
        for (bom, end) in [("", "\n"), ("\u{FEFF}", "\r\n")] {
            let text = format!("{bom}name{d}x{d}y{end}a{d}1{d}2{end}\"b{d}b\"{d}{d}-4e2{end}");
            let f = frame(&text).unwrap();
            assert_eq!(f.columns[0].name, "name");
            let Data::Text(t) = &f.columns[0].data else { panic!() };
            assert_eq!((t.get(0), t.get(1)), (Some("a"), Some(format!("b{d}b").as_str())));
            assert!(numbers(&f, "x")[1].is_nan());
            assert_eq!(numbers(&f, "y"), [2.0, -400.0]);
        }
    }
}

#[test]
fn decimal_comma() {
    let f = frame("a;b\n1,5;x\n-2;y\n").unwrap();
    assert_eq!(numbers(&f, "a"), [1.5, -2.0]);
}

#[test]
fn bad_tables_say_where() {
    for (text, want) in [
        ("a,b\n", "t.csv: found a header and no rows, expected at least one row"),
        ("a,b\n\n\n", "t.csv: found a header and no rows, expected at least one row"),
        ("a,a\n1,2\n", "t.csv, row 1, column \"a\": columns 1 and 2 have the same name (rename one of them)"),
        (
            "a,b\n1,2\n3,4,5\n",
            "t.csv, row 3: found 3 fields, expected 2 fields (the delimiter is \",\"; quote a field that contains it)",
        ),
        (
            "a,b\n1,2\n\n3\n",
            "t.csv, row 4: found 1 field, expected 2 fields (the delimiter is \",\"; quote a field that contains it)",
        ),
        (
            "a,b\n1,2\n\"3,4\n",
            "t.csv, row 3: a quoted field that starts here never ends (close the quote, or double it if it is part of the text)",
        ),
        (
            "a,b\n1,2\n3,n/a\n",
            "t.csv, row 3, column \"b\": found \"n/a\", expected a number (use --na \"n/a\" to read it as missing)",
        ),
        ("a,b\n1,2\n3,inf\n", "t.csv, row 3, column \"b\": found \"inf\", expected a finite number"),
        ("a\r1\r2\r", "t.csv: lines end with a carriage return alone, expected line feeds (convert it with: tr '\\r' '\\n')"),
    ] {
        assert_eq!(refused(text), want);
    }
}

#[test]
fn text_that_is_not_utf8_is_named_by_row_and_byte() {
    let refused = |bytes: &[u8]| {
        let source = Source::from_bytes("t.csv", bytes.to_vec()).unwrap();
        super::super::read_frame(&source, &FrameOptions::default(), &plain_plan).unwrap_err().to_string()
    };
    let e = refused(b"a,b\n1,2\n\xE9,3\n");
    assert!(e.starts_with("t.csv, row 3: found the byte 0xE9 at byte 9 of the file, expected UTF-8 text"), "{e}");
    assert!(refused(b"a,b\n1,2\nx\xE9,3\n").starts_with("t.csv, row 3:"));
    assert!(refused(b"a\xE9,b\n1,2\n").starts_with("t.csv, row 1:"));
}

#[test]
fn a_first_row_of_data_is_no_header() {
    let f = frame("1\n2\n3\n").unwrap();
    assert_eq!((f.columns[0].name.as_str(), numbers(&f, "y"), f.warnings.len()), ("y", vec![1.0, 2.0, 3.0], 1));
    let f = frame("2020-01-01,5\n2020-01-02,6\n").unwrap();
    assert_eq!(numbers(&f, "column_2"), [5.0, 6.0]);
    assert_eq!(f.rows.file_row(0), 1);
    assert_eq!(frame("0,1,2\n5,6,7\n").unwrap().columns[2].name, "2");
    let yes = FrameOptions { header: Header::Yes, ..FrameOptions::default() };
    assert_eq!(read_text("1871\n5\n", &yes, None).unwrap().columns[0].name, "1871");
    let no = FrameOptions { header: Header::No, ..FrameOptions::default() };
    assert_eq!(read_text("x\n5\n", &no, None).unwrap().len(), 2);
}

#[test]
fn blank_lines_are_skipped_but_counted() {
    let f = frame("\na,b\n\n1,2\n\n3,4\n\n").unwrap();
    assert_eq!(numbers(&f, "b"), [2.0, 4.0]);
    assert_eq!([0, 1].map(|i| f.rows.file_row(i)), [4, 6]);
    // In a single column, a blank line between rows is a missing cell.
    let f = frame("y\n1\n\n3\n\n\n").unwrap();
    assert_eq!(f.len(), 3);
    assert!(numbers(&f, "y")[1].is_nan());
}

#[test]
fn unnamed_columns_get_names() {
    let f = frame(",x,\n1,2,\n3,4,\n").unwrap();
    assert_eq!(f.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["column_1", "x", "column_3"]);
}

#[test]
fn a_late_text_makes_an_empty_column_text_only() {
    let text = "a,b\n1,\n2,\n3,late\n";
    assert!(matches!(frame(text).unwrap().columns[1].data, Data::Text(_)));
}

#[test]
fn times_of_a_late_chunk_are_refused_with_their_row() {
    let text = "ds,y\n".to_owned() + &"2020-01-01,1\n".repeat(20) + "soon,1\n";
    let source = Source::from_bytes("t.csv", text.into_bytes()).unwrap();
    let super::super::Content::Delimited(dialect) = source.content() else { panic!() };
    let plan = |_: &[Preview]| Ok(vec![Want::Time(Pattern::Iso), Want::Number]);
    for chunk in [Some(64), None] {
        let e = read_chunks(&source, dialect, &FrameOptions::default(), &plan, chunk).unwrap_err();
        assert!(e.to_string().starts_with("t.csv, row 22, column \"ds\": found \"soon\", expected a time stamp"), "{e}");
    }
}

fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| x.to_string()),
        4 => (-1000i32..1000).prop_map(|x| (f64::from(x) / 8.0).to_string()),
        2 => (-9i64..99).prop_map(|x| x.to_string()),
        1 => Just(String::new()),
        1 => prop::sample::select(vec!["NA", "nan", "NaN", " 7 ", "+1", "1e3", ".5", "5.", "null", "-", "x", "a b", "inf", "1e400", "0x1", "1_0", "é", "-0", "--1", "1-", "\u{FEFF}1", "１", "TRUE"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The same table or the same error, however the file is cut.
    #[test]
    fn cuts_do_not_matter(
        width in 1usize..5,
        cells in prop::collection::vec(any_cell(), 1..80),
        quote in prop::collection::vec(0u8..12, 80),
        delimiter in prop::sample::select(vec![',', ';', '\t', '|']),
        crlf in any::<bool>(), ends in any::<bool>(), damage in 0usize..60, chunk in 1usize..300,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut lines = vec![(0..width).map(|i| format!("c{i}")).collect::<Vec<_>>().join(&delimiter.to_string())];
        for row in cells.chunks_exact(width) {
            let row: Vec<String> = row.iter().enumerate().map(|(i, c)| if quote[i] == 0 { format!("\"{c}\"") } else { c.clone() }).collect();
            lines.push(row.join(&delimiter.to_string()));
        }
        // Now and then a row that is too long, too short, or blank.
        if let Some(line) = lines.get_mut(1 + damage) {
            match damage % 4 {
                0 => line.push(delimiter),
                1 => line.clear(),
                2 => { line.truncate(line.rfind(delimiter).unwrap_or(0)); }
                _ => {}
            }
        }
        let mut text = lines.join(end);
        if ends {
            text.push_str(end);
        }
        prop_assume!(!text.trim().is_empty());
        let options = FrameOptions { missing: Missing(vec!["-".into()]), header: Header::Yes };
        let whole = read_text(&text, &options, None);
        prop_assert_eq!(show(&whole), show(&read_text(&text, &options, Some(chunk))), "{}", text);
        // The csv crate is the judge of where cells begin and end; blank lines it drops are missing cells to us in a single column.
        if let Ok(frame) = &whole && width > 1 {
            let mut judge = csv::ReaderBuilder::new().delimiter(delimiter as u8).from_reader(text.as_bytes());
            let rows: Vec<csv::StringRecord> = judge.records().map(|r| r.unwrap()).collect();
            prop_assert_eq!(rows.len(), frame.len(), "{}", text);
            for (i, column) in frame.columns.iter().enumerate() {
                for (j, row) in rows.iter().enumerate() {
                    let cell = row[i].trim();
                    match &column.data {
                        // A column whose first cells mean "missing" may turn out to be text.
                        Data::Text(t) => prop_assert!(t.get(j).unwrap_or_default() == cell || (t.get(j).is_none() && options.missing.is(cell))),
                        Data::Number(v) if v[j].is_nan() => prop_assert!(["", "NA", "nan", "NaN", "null", "-"].contains(&cell)),
                        Data::Number(v) => prop_assert_eq!(cell.parse::<f64>().unwrap().to_bits(), v[j].to_bits()),
                        Data::Time(_) => prop_assert!(false),
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![
        Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'1'), Just(b' '), Just(b'{'), Just(b'['), any::<u8>()
    ], 0..80)) {
        if let Ok(source) = Source::from_bytes("t", bytes) {
            let _ = super::super::read_frame(&source, &FrameOptions::default(), &plain_plan);
        }
    }
}
