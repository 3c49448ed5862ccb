use super::super::time::{HOUR, Pattern, TimeReader};
use super::super::{Anchor, Format, Table, Values, write_table};
use super::*;
use proptest::prelude::*;

fn source(name: &str, text: &str) -> Source {
    Source::from_bytes(name, text.as_bytes().to_vec()).unwrap()
}

fn panel_with(text: &str, options: &ReadOptions) -> Result<Panel, BadInput> {
    read_panel(&[source("t.csv", text)], options)
}

fn panel(text: &str) -> Panel {
    panel_with(text, &ReadOptions::default()).unwrap()
}

fn refused_with(text: &str, options: &ReadOptions) -> String {
    panel_with(text, options).unwrap_err().to_string()
}

fn refused(text: &str) -> String {
    refused_with(text, &ReadOptions::default())
}

fn ids(p: &Panel) -> Vec<&str> {
    p.series.iter().map(|s| s.id.as_str()).collect()
}

fn stamps(p: &Panel, s: usize) -> Vec<String> {
    p.series[s].times.iter().map(|t| format_time(*t, p.kind)).collect()
}

fn classic(file: &str) -> Panel {
    let path = format!("{}/testdata/classic/{file}", env!("CARGO_MANIFEST_DIR"));
    read_panel(&[Source::open(&path).unwrap()], &ReadOptions::default()).unwrap()
}

#[test]
fn the_classic_series() {
    let p = classic("air_passengers.csv");
    assert_eq!((p.layout, p.kind, p.freq), (Layout::Long, TimeKind::Date, Freq::Months(1, Anchor::End)));
    assert_eq!((ids(&p), p.series[0].y.len(), p.series[0].y[143]), (vec!["1.0"], 144, 432.0));
    assert_eq!((p.id_name.as_str(), p.time_name.as_str(), p.target_name.as_str()), ("unique_id", "ds", "y"));
    let p = classic("elec_equip.csv");
    assert_eq!((p.layout, p.freq, p.series[0].y.len()), (Layout::Wide, Freq::Months(1, Anchor::Start), 257));
    assert_eq!(stamps(&p, 0)[..2], ["1995-01-01", "1995-02-01"]);
    for (file, first, n) in [("nile.csv", 1871, 100), ("sunspots.csv", 1700, 309)] {
        let p = classic(file);
        assert_eq!((p.kind, p.freq, p.series[0].times[0], p.series[0].y.len()), (TimeKind::Integer, Freq::Integer(1), first, n));
    }
    // Weekly, 59 weeks without a value.
    let path = format!("{}/testdata/classic/co2.csv", env!("CARGO_MANIFEST_DIR"));
    let source = [Source::open(&path).unwrap()];
    let e = read_panel(&source, &ReadOptions::default()).unwrap_err().to_string();
    assert!(e.contains("row 8, column \"co2\": found a missing value (and 58 more in this series), expected a number"), "{e}");
    let p = read_panel(&source, &ReadOptions { impute: Some(Impute::Linear), ..ReadOptions::default() }).unwrap();
    assert_eq!((p.freq.to_string().as_str(), p.series[0].y.len(), p.series[0].imputed), ("w", 2284, 59));
}

#[test]
fn wide_takes_every_column_of_numbers() {
    let p = panel("date,note,a,b\n1990/1/1 0:00,x,1,2\n1990/1/2 0:00,y,3,4\n");
    assert_eq!((ids(&p), p.layout, p.kind), (vec!["a", "b"], Layout::Wide, TimeKind::DateTime));
    assert_eq!(p.series[1].y, [2.0, 4.0]);
    assert!(Arc::ptr_eq(&p.series[0].times, &p.series[1].times));
    assert!(p.warnings[0].contains("left out because they hold no numbers: \"note\""));
    let chosen = ReadOptions { target_cols: vec!["b".into(), "a".into()], ..ReadOptions::default() };
    assert_eq!(ids(&panel_with("date,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n", &chosen).unwrap()), ["b", "a"]);
}

#[test]
fn long_with_and_without_ids() {
    let text = "unique_id,ds,y\nb,2020-01-01,1\na,2020-01-01,10\nb,2020-01-02,2\na,2020-01-02,20\nb,2020-01-03,3\n";
    let p = panel(text);
    assert_eq!((ids(&p), p.layout), (vec!["b", "a"], Layout::Long));
    assert_eq!((p.series[0].y.as_slice(), p.series[1].y.as_slice()), (&[1.0, 2.0, 3.0][..], &[10.0, 20.0][..]));
    let p = panel("ds,y,x\n2020-01-01,1,9\n2020-01-02,2,9\n");
    assert_eq!((ids(&p), p.layout, p.series[0].y.as_slice()), (vec!["y"], Layout::Long, &[1.0, 2.0][..]));
    let named = ReadOptions {
        id_col: Some("shop".into()),
        time_col: Some("day".into()),
        target_cols: vec!["sold".into()],
        ..ReadOptions::default()
    };
    let p = panel_with("day,sold,shop\n2020-01-01,1,7\n2020-01-02,2,7\n", &named).unwrap();
    assert_eq!((ids(&p), p.id_name.as_str(), p.time_name.as_str(), p.target_name.as_str()), (vec!["7"], "shop", "day", "sold"));
    // The id column alone makes a table long; time and values are then found.
    let only = ReadOptions { id_col: Some("shop".into()), ..ReadOptions::default() };
    assert_eq!(panel_with("day,sold,shop\n2020-01-01,1,7\n2020-01-02,2,7\n", &only).unwrap().series[0].y, [1.0, 2.0]);
}

#[test]
fn without_a_time_column_rows_are_numbered() {
    let p = panel("a,b\n5,1.5\n2,2.5\n9,3.5\n");
    assert_eq!((ids(&p), p.kind, p.freq), (vec!["a", "b"], TimeKind::Integer, Freq::Integer(1)));
    assert_eq!(p.series[0].times[..], [1, 2, 3]);
    assert_eq!(panel("5\n2\n9\n").series[0].y, [5.0, 2.0, 9.0]);
    assert_eq!(panel("7\n").series[0].y, [7.0]);
    // The index that pandas writes.
    let p = panel(",y\n0,5\n1,2\n2,9\n");
    assert_eq!((ids(&p), p.series[0].times[..].to_vec()), (vec!["y"], vec![0, 1, 2]));
}

#[test]
fn bad_columns() {
    let date = "date,value\n2020-01-01,1\n2020-01-02,2\n";
    let target = ReadOptions { target_cols: vec!["valeu".into()], ..ReadOptions::default() };
    assert_eq!(
        refused_with(date, &target),
        "t.csv: there is no column \"valeu\" (did you mean \"value\"? the columns are date, value)"
    );
    assert!(refused("unique_id,ds,x,z\na,2020-01-01,1,2\n").contains("several columns hold numbers"));
    assert!(refused("unique_id,ds,x\na,2020-01-01,b\n").contains("there is no column \"y\" of values"));
    assert!(refused("date,a\n2020-01-01,x\n").contains("there is no column of numbers beside the time column \"date\""));
    let both = ReadOptions { time_col: Some("date".into()), target_cols: vec!["date".into()], ..ReadOptions::default() };
    assert!(refused_with(date, &both).contains("cannot play two parts"));
    let clash = ReadOptions { id_col: Some("date".into()), layout: Layout::Wide, ..ReadOptions::default() };
    assert!(refused_with(date, &clash).contains("--layout wide"));
    assert!(refused("unique_id,ds,y\n,2020-01-01,1\n").contains("row 2, column \"unique_id\": found no series id"));
}

#[test]
fn text_in_a_number_column_is_named() {
    assert_eq!(
        refused("date,y\n2020-01-01,1\n2020-01-02,n/a\n"),
        "t.csv, row 3, column \"y\": found \"n/a\", expected a number (use --na \"n/a\" to read it as missing)"
    );
    let na = ReadOptions { na: vec!["n/a".into()], impute: Some(Impute::Zero), ..ReadOptions::default() };
    assert_eq!(panel_with("date,y\n2020-01-01,1\n2020-01-02,n/a\n", &na).unwrap().series[0].y, [1.0, 0.0]);
}

#[test]
fn bad_time_stamps() {
    assert!(
        refused("date,y\nsoon,1\nlater,2\n")
            .contains("column \"date\": found \"soon\", expected a time stamp such as 2020-01-31")
    );
    assert!(
        refused("date,y\n2020-01-01,1\n2020-13-01,2\n")
            .contains("row 3, column \"date\": found \"2020-13-01\", expected a time stamp")
    );
    assert!(refused("date,y\n2020-01-01,1\n,2\n").contains("row 3, column \"date\": found no time stamp"));
    assert_eq!(
        refused("date,y\n1/2/2020,1\n2/2/2020,2\n"),
        "t.csv, row 2, column \"date\": every date can be read as day/month and as month/day (say which with --time-format, for \
         example %d/%m/%Y or %m/%d/%Y)"
    );
    let format = ReadOptions { time_format: Some("%d/%m/%Y".into()), ..ReadOptions::default() };
    assert_eq!(stamps(&panel_with("date,y\n1/2/2020,1\n2/2/2020,2\n", &format).unwrap(), 0), ["2020-02-01", "2020-02-02"]);
    let format = ReadOptions { time_format: Some("nonsense".into()), ..ReadOptions::default() };
    assert!(refused_with("date,y\n1/2/2020,1\n", &format).starts_with("--time-format: \"nonsense\" has no date field"));
    assert!(refused("date,y\n2020-01-01,1\n").contains("give it with --freq"));
    let freq = ReadOptions { freq: Some(Freq::Step(HOUR)), ..ReadOptions::default() };
    assert_eq!(panel_with("date,y\n2020-01-01,1\n", &freq).unwrap().kind, TimeKind::DateTime);
    assert!(refused_with("y\n1\n2\n", &freq).contains("there is no time column"));
    let years = ReadOptions { freq: Some("y".parse().unwrap()), ..ReadOptions::default() };
    assert_eq!(panel_with("year,v\n1999,1\n2000,2\n", &years).unwrap().freq, Freq::Integer(1));
    assert!(panel("time,v\n1577836800,1\n1577840400,2\n").warnings[0].contains("--time-format epoch-s"));
}

#[test]
fn disorder_is_named_by_rows() {
    let unsorted = "unique_id,ds,y\na,2020-01-01,1\nb,2020-01-03,1\na,2020-01-03,3\na,2020-01-02,2\nb,2020-01-04,2\n";
    assert_eq!(
        refused(unsorted),
        "t.csv, rows 4 and 5, column \"ds\": series \"a\": 2020-01-02 comes after 2020-01-03, expected ascending time stamps (use --sort)"
    );
    let sort = ReadOptions { sort: true, ..ReadOptions::default() };
    let p = panel_with(unsorted, &sort).unwrap();
    assert_eq!(
        (p.series[0].y.as_slice(), stamps(&p, 0)),
        (&[1.0, 2.0, 3.0][..], vec!["2020-01-01".into(), "2020-01-02".into(), "2020-01-03".into()])
    );
    let duplicate = "date,y\n2020-01-01,1\n2020-01-02,2\n2020-01-02,3\n";
    assert_eq!(
        refused(duplicate),
        "t.csv, rows 3 and 4, column \"date\": the time stamp 2020-01-02 is there twice (remove one of them)"
    );
    // After sorting, the rows are still those of the file.
    let far = "date,y\n2020-01-02,1\n2020-01-01,2\n2020-01-02,3\n";
    assert!(refused_with(far, &sort).starts_with("t.csv, rows 2 and 4,"));
    assert!(refused("ds,y\n2020-01-01,1\n2020-01-01,3\n").contains("name their column with --id-col"));
}

#[test]
fn gaps_are_named_and_filled() {
    let text = "date,y\n2020-01-01,1\n2020-01-02,2\n2020-01-05,5\n2020-01-06,6\n2020-01-08,8\n";
    assert_eq!(
        refused(text),
        "t.csv, rows 3 and 4, column \"date\": 2 steps of d are missing between 2020-01-02 and 2020-01-05; 3 steps are missing in 2 \
         places in all (use --impute ffill, linear or zero to fill them, or --allow-gaps to take the rows as consecutive)"
    );
    for (how, want) in [
        (Impute::Linear, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        (Impute::Ffill, [1.0, 2.0, 2.0, 2.0, 5.0, 6.0, 6.0, 8.0]),
        (Impute::Zero, [1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 8.0]),
    ] {
        let p = panel_with(text, &ReadOptions { impute: Some(how), ..ReadOptions::default() }).unwrap();
        let close = p.series[0].y.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close && p.series[0].imputed == 3 && p.series[0].times.len() == 8, "{:?}", p.series[0]);
    }
    let p = panel_with(text, &ReadOptions { allow_gaps: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((p.series[0].y.len(), p.freq.to_string().as_str()), (5, "d"));
    let irregular = "date,y\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 02:00,3\n2020-01-01 02:30,4\n";
    let e = refused(irregular);
    assert!(e.contains("rows 4 and 5") && e.contains("no whole number of steps of h"), "{e}");
    assert_eq!(panel_with(irregular, &ReadOptions { allow_gaps: true, ..ReadOptions::default() }).unwrap().series[0].y.len(), 4);
    assert!(panel_with(irregular, &ReadOptions { impute: Some(Impute::Zero), ..ReadOptions::default() }).is_err());
    // One wrong year does not fill the memory.
    let wrong = "date,y\n1020-01-01 00:00:00,1\n2020-01-01 00:00:01,2\n2020-01-01 00:00:02,3\n2020-01-01 00:00:03,4\n";
    assert!(refused_with(wrong, &ReadOptions { impute: Some(Impute::Zero), ..ReadOptions::default() }).contains("wrong year"));
}

#[test]
fn missing_values_at_the_start_inside_and_at_the_end() {
    let p = panel("date,a,b\n2020-01-01,1,\n2020-01-02,2,\n2020-01-03,3,5\n2020-01-04,4,6\n");
    assert_eq!((p.series[1].y.as_slice(), stamps(&p, 1)[0].as_str()), (&[5.0, 6.0][..], "2020-01-03"));
    assert!(p.warnings[0].contains("series \"b\" starts with 2 missing values"));
    let e = refused("date,a\n2020-01-01,1\n2020-01-02,\n2020-01-03,3\n");
    assert!(e.starts_with("t.csv, row 3, column \"a\": found a missing value, expected a number (use --impute"), "{e}");
    assert!(refused("date,a\n2020-01-01,1\n2020-01-02,\n").contains("row 3"));
    let p = panel("date,a,b\n2020-01-01,1,\n2020-01-02,2,\n");
    assert_eq!(ids(&p), ["a"]);
    assert!(p.warnings[0].contains("every value is missing: \"b\""));
    assert!(refused("date,a\n2020-01-01,\n2020-01-02,\n").contains("every value is missing"));
    assert!(
        refused("unique_id,ds,y\na,2020-01-01,1\na,2020-01-02,1\nb,2020-01-01,\n")
            .contains("row 4, column \"y\": series \"b\": every value is missing")
    );
}

#[test]
fn several_files() {
    let read = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(n, t)| source(n, t)).collect();
        read_panel(&sources, &ReadOptions::default())
    };
    let one = "unique_id,ds,y\na,2020-01-01,1\nb,2020-01-01,5\n";
    let two = "unique_id,ds,y\nb,2020-01-02,6\na,2020-01-02,2\nc,2020-01-02,9\n";
    let p = read(&[("1.csv", one), ("2.csv", two)]).unwrap();
    assert_eq!(ids(&p), ["a", "b", "c"]);
    assert_eq!((p.series[0].y.as_slice(), p.series[1].y.as_slice()), (&[1.0, 2.0][..], &[5.0, 6.0][..]));
    let e = read(&[("1.csv", one), ("2.csv", one)]).unwrap_err();
    assert_eq!(e.to_string().split(',').next(), Some("2.csv"));
    let p =
        read(&[("x/1.csv", "date,y\n2020-01-01,1\n2020-01-02,2\n"), ("2.csv", "date,y\n2020-01-01,3\n2020-01-02,4\n")]).unwrap();
    assert_eq!(ids(&p), ["1:y", "2:y"]);
    let wide = "date,v\n2020-01-01,1\n";
    assert!(
        read(&[("1.csv", one), ("2.csv", wide)]).unwrap_err().to_string().contains("2.csv: the table is wide, 1.csv is long")
    );
    assert!(read_panel(&[], &ReadOptions::default()).is_err());
}

#[test]
fn words_and_options_survive_serialisation() {
    assert_eq!("wide".parse(), Ok(Layout::Wide));
    assert_eq!(Impute::Ffill.to_string(), "ffill");
    assert!("x".parse::<Impute>().unwrap_err().contains("ffill, linear, zero"));
    let options = ReadOptions { freq: Some("15min".parse().unwrap()), impute: Some(Impute::Linear), ..ReadOptions::default() };
    let text = serde_json::to_string(&options).unwrap();
    assert!(text.contains("\"freq\":\"15min\""), "{text}");
    assert_eq!(serde_json::from_str::<ReadOptions>(&text).unwrap(), options);
    assert_eq!(serde_json::from_str::<ReadOptions>("{}").unwrap(), ReadOptions::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// A panel written in any layout and format is read back, rows shuffled or not.
    #[test]
    fn panels_are_read_back(
        lengths in prop::collection::vec(2usize..30, 1..8), freq in prop::sample::select(vec!["h", "d", "b", "w", "me", "qs", "15min"]),
        seed in any::<u64>(), format in prop::sample::select(vec![Format::Csv, Format::Parquet, Format::Jsonl]),
    ) {
        let freq: Freq = freq.parse().unwrap();
        let start = TimeReader::new(Pattern::Iso).read("2020-01-01").unwrap();
        let start = freq.advance(start, 1).unwrap();
        let mut rows = Vec::new();
        for (s, n) in lengths.iter().enumerate() {
            for i in 0..*n {
                rows.push((s, freq.advance(start, i as i64).unwrap(), (s * 100 + i) as f64 / 8.0));
            }
        }
        // An order without pattern, from the seed.
        rows.sort_by_key(|(s, t, _)| (*t as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left((*s as u32 * 7) % 64));
        let table = Table::new()
            .with("unique_id", Values::Text(rows.iter().map(|r| format!("s{}", r.0).into()).collect()))
            .with("ds", Values::Time { values: rows.iter().map(|r| r.1).collect(), kind: TimeKind::DateTime })
            .with("y", Values::Number(rows.iter().map(|r| r.2).collect()));
        let mut bytes = Vec::new();
        write_table(&table, format, &mut bytes).unwrap();
        let sources = [Source::from_bytes("t", bytes).unwrap()];
        let p = read_panel(&sources, &ReadOptions { sort: true, freq: Some(freq), ..ReadOptions::default() }).unwrap();
        prop_assert_eq!(p.series.len(), lengths.len());
        let mut first_seen: Vec<usize> = Vec::new();
        for (s, ..) in &rows {
            if !first_seen.contains(s) {
                first_seen.push(*s);
            }
        }
        for (series, s) in p.series.iter().zip(first_seen) {
            prop_assert_eq!(&series.id, &format!("s{s}"));
            let y: Vec<f64> = (0..lengths[s]).map(|i| (s * 100 + i) as f64 / 8.0).collect();
            prop_assert_eq!(&series.y, &y);
            prop_assert_eq!(series.times[0], start);
        }
    }

    #[test]
    fn any_table_is_read_or_refused(text in "(unique_id,ds,y|date,a,b|a|ds,y)\n([a-z0-9-]{0,4}(2020-0[1-3]-[0-3][0-9])?,?[0-9.]{0,3},?\n){0,6}",
        sort in any::<bool>(), gaps in any::<bool>(), fill in any::<bool>()) {
        let options = ReadOptions { sort, allow_gaps: gaps, impute: fill.then_some(Impute::Linear), ..ReadOptions::default() };
        if let Ok(p) = panel_with(&text, &options) {
            for s in &p.series {
                prop_assert!(!s.y.is_empty() && s.y.len() == s.times.len() && s.y.iter().all(|v| v.is_finite()));
                prop_assert!(s.times.windows(2).all(|w| w[0] < w[1]));
            }
        }
    }
}
