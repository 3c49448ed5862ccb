//! Reading and writing a long table of a million rows (1,000 series): MB/s of the file as stored.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal::table::{Format, ReadOptions, Source, Table, TimeKind, Values, read_panel, write_table};
use std::hint::black_box;
use std::sync::Arc;

const SERIES: usize = 1000;
const LENGTH: usize = 1000;
const DAY: i64 = 86_400_000_000;

fn table() -> Table {
    let ids: Vec<Arc<str>> = (0..SERIES).map(|s| Arc::from(format!("series_{s}"))).collect();
    let rows = (0..SERIES).flat_map(|s| (0..LENGTH).map(move |t| (s, t)));
    let value = |s: usize, t: usize| 100.0 + s as f64 * 0.37 + ((t * (s + 3)) % 997) as f64 * 0.013;
    Table::new()
        .with("unique_id", Values::Text(rows.clone().map(|(s, _)| ids[s].clone()).collect()))
        .with(
            "ds",
            Values::Time { values: rows.clone().map(|(_, t)| 10_957 * DAY + t as i64 * DAY).collect(), kind: TimeKind::Date },
        )
        .with("y", Values::Number(rows.map(|(s, t)| value(s, t)).collect()))
}

fn million_rows(c: &mut Criterion) {
    let table = table();
    let mut group = c.benchmark_group("million rows");
    group.sample_size(10);
    for (name, format) in [("csv", Format::Csv), ("parquet", Format::Parquet)] {
        let mut bytes = Vec::new();
        write_table(&table, format, &mut bytes).expect("writing to memory");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("read {name}"), |b| {
            b.iter(|| {
                let source = Source::from_bytes("rows", black_box(bytes.clone())).expect("a table");
                read_panel(&[source], &ReadOptions::default()).expect("a panel")
            })
        });
        group.bench_function(format!("write {name}"), |b| {
            b.iter(|| {
                let mut out = Vec::with_capacity(bytes.len());
                write_table(black_box(&table), format, &mut out).expect("writing to memory");
                out
            })
        });
    }
    group.finish();
}

criterion_group!(benches, million_rows);
criterion_main!(benches);
