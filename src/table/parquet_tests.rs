use super::super::{Data, FrameOptions, ReadOptions, plain_plan, read_frame, read_panel};
use super::*;
use polars::prelude::{Categories, IntoSeries, NamedFrom, ParquetCompression, ParquetWriter};

/// A Parquet file of these columns.
fn file(columns: Vec<Series>) -> Vec<u8> {
    file_in(columns, None, ParquetCompression::Zstd(None))
}

fn file_in(columns: Vec<Series>, group: Option<usize>, compression: ParquetCompression) -> Vec<u8> {
    let rows = columns[0].len();
    let mut frame = DataFrame::new(rows, columns.into_iter().map(Into::into).collect()).unwrap();
    let mut out = Vec::new();
    ParquetWriter::new(&mut out).with_row_group_size(group).with_compression(compression).finish(&mut frame).unwrap();
    out
}

fn source(bytes: Vec<u8>) -> Source {
    Source::from_bytes("t.parquet", bytes).unwrap()
}

fn read_all(columns: Vec<Series>) -> Frame {
    read_frame(&source(file(columns)), &FrameOptions::default(), &plain_plan).unwrap()
}

/// 2020-01-01 in seconds.
const START: i64 = 1_577_836_800;

fn ids() -> Series {
    Series::new("unique_id".into(), ["a", "a", "b"])
}

fn stamps(unit: TimeUnit, zone: Option<&str>) -> Series {
    let per_second = match unit {
        TimeUnit::Nanoseconds => 1_000_000_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Milliseconds => 1000,
    };
    let zone = polars::prelude::TimeZone::opt_try_new(zone).unwrap();
    let counts = Series::new("ds".into(), [START, START + 3600, START].map(|s| s * per_second));
    counts.i64().unwrap().clone().into_datetime(unit, zone).into_series()
}

#[test]
fn every_timestamp_unit_and_zone() {
    for unit in [TimeUnit::Nanoseconds, TimeUnit::Microseconds, TimeUnit::Milliseconds] {
        for zone in [None, Some("UTC"), Some("Europe/Berlin")] {
            let y = Series::new("y".into(), [1.0, 2.0, 3.0]);
            let p = read_panel(&[source(file(vec![ids(), stamps(unit, zone), y]))], &ReadOptions::default()).unwrap();
            assert_eq!((p.freq.to_string().as_str(), p.kind), ("h", TimeKind::DateTime));
            assert_eq!(p.series[0].times[..], [START * 1_000_000, (START + 3600) * 1_000_000]);
            assert_eq!(p.warnings.len(), usize::from(zone == Some("Europe/Berlin")), "{:?}", p.warnings);
        }
    }
}

#[test]
fn dates_categories_and_integers() {
    let days = Series::new("ds".into(), [18262i32, 18263, 18262]).cast(&DataType::Date).unwrap();
    let cats = ids().cast(&DataType::from_categories(Categories::global())).unwrap();
    let y = Series::new("y".into(), [Some(1i64), Some(2), Some(3)]);
    let p = read_panel(&[source(file(vec![cats, days, y]))], &ReadOptions::default()).unwrap();
    assert_eq!((p.series[0].id.as_str(), p.series[1].id.as_str(), p.kind), ("a", "b", TimeKind::Date));
    assert_eq!(p.series[0].times[0], START * 1_000_000);
    // Integer ids, 32-bit floats, and years as time.
    let numbers = Series::new("unique_id".into(), [7u64, 7, u64::from(u32::MAX)]);
    let years = Series::new("ds".into(), [1999i32, 2000, 1999]);
    let y = Series::new("y".into(), [1.5f32, 2.5, 3.5]);
    let p = read_panel(&[source(file(vec![numbers, years, y]))], &ReadOptions::default()).unwrap();
    assert_eq!((p.series[1].id.as_str(), p.kind, p.series[0].y.as_slice()), ("4294967295", TimeKind::Integer, &[1.5, 2.5][..]));
}

#[test]
fn nullable_columns() {
    let f = read_all(vec![
        Series::new("i".into(), [Some(1i64), None, Some(3)]),
        Series::new("f".into(), [None, Some(0.5f64), Some(f64::NAN)]),
        Series::new("b".into(), [Some(true), Some(false), None]),
        Series::new("s".into(), [Some("x"), None, Some("")]),
    ]);
    let numbers = |i: usize| match &f.columns[i].data {
        Data::Number(v) => v.iter().map(|x| format!("{x}")).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!([numbers(0), numbers(1), numbers(2)], ["1 NaN 3", "NaN 0.5 NaN", "1 0 NaN"]);
    let Data::Text(s) = &f.columns[3].data else { panic!() };
    assert_eq!([s.get(0), s.get(1), s.get(2)], [Some("x"), None, None]);
}

#[test]
fn faults_name_row_and_column() {
    let refused = |columns: Vec<Series>| read_panel(&[source(file(columns))], &ReadOptions::default()).unwrap_err().to_string();
    let text = Series::new("y".into(), ["1", "2", "x"]);
    assert_eq!(
        refused(vec![ids(), stamps(TimeUnit::Milliseconds, None), text]),
        "t.parquet, row 3, column \"y\": found \"x\", expected a number (use --na \"x\" to read it as missing)"
    );
    let inf = Series::new("y".into(), [1.0, f64::INFINITY, 2.0]);
    assert!(refused(vec![ids(), stamps(TimeUnit::Milliseconds, None), inf]).contains("row 2, column \"y\": found \"inf\""));
    assert!(refused(vec![Series::new("y".into(), Vec::<f64>::new())]).contains("has no rows"));
    let bytes = Series::new("y".into(), [&b"1"[..], b"2", b"3"]);
    assert!(
        refused(vec![ids(), stamps(TimeUnit::Milliseconds, None), bytes])
            .contains("column \"y\": the column holds bytes, expected numbers")
    );
}

#[test]
fn many_rows_in_many_groups() {
    let n = SLICE + 1000;
    let y: Vec<f64> = (0..n).map(|i| i as f64 / 7.0).collect();
    let id: Vec<String> = (0..n).map(|i| format!("series {}", i / 777)).collect();
    for group in [None, Some(10_000), Some(SLICE + 1)] {
        let columns = vec![Series::new("id".into(), &id), Series::new("y".into(), &y)];
        let f = read_frame(&source(file_in(columns, group, ParquetCompression::Snappy)), &FrameOptions::default(), &plain_plan)
            .unwrap();
        assert!(matches!(&f.columns[1].data, Data::Number(v) if *v == y));
        let Data::Text(t) = &f.columns[0].data else { panic!() };
        assert!(id.iter().enumerate().all(|(i, id)| t.get(i) == Some(id)));
    }
}

#[test]
fn cut_off_files_are_refused() {
    let whole = file(vec![ids(), Series::new("y".into(), [1.0, 2.0, 3.0])]);
    for n in [4, 11, whole.len() / 2, whole.len() - 1] {
        let e = Source::from_bytes("t.parquet", whole[..n].to_vec()).unwrap_err().to_string();
        assert!(e.contains("its end is missing"), "{e}");
    }
    // The end is there, the middle is not.
    let mut bytes = whole[..20].to_vec();
    bytes.extend_from_slice(&whole[60..]);
    let e = read_frame(&source(bytes), &FrameOptions::default(), &plain_plan).unwrap_err().to_string();
    assert!(e.contains("cannot be decoded"), "{e}");
}

#[test]
fn damaged_files_are_refused_or_read_but_do_not_panic() {
    let n = 40;
    let columns = || {
        vec![
            Series::new("unique_id".into(), (0..n).map(|i| format!("s{}", i % 3)).collect::<Vec<_>>()),
            Series::new("ds".into(), (0..n).collect::<Vec<i64>>()),
            Series::new("y".into(), (0..n).map(|i| (i % 5 != 0).then_some(i as f64)).collect::<Vec<_>>()),
        ]
    };
    let whole = file_in(columns(), Some(16), ParquetCompression::Zstd(None));
    let mut refused = 0;
    // Every byte of the footer in turn. (A damaged page header can make polars ask for more memory than there is.)
    let footer = u32::from_le_bytes(*whole[..whole.len() - 4].last_chunk().unwrap()) as usize;
    for at in whole.len() - 8 - footer..whole.len() - 4 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        refused += usize::from(Source::from_bytes("t", bytes).and_then(|s| read_panel(&[s], &ReadOptions::default())).is_err());
    }
    assert!(refused > footer / 10, "{refused}");
}
