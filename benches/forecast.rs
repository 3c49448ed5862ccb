//! Fits of one monthly series (144 observations, season 12) and the closed-form linear map on data of ETTh1's shape.

use criterion::{Criterion, criterion_group, criterion_main};
use shoal::forecast::linear::{LinearKind, LinearModel};
use shoal::forecast::spec::ModelSpec;
use shoal::forecast::synthetic;
use shoal::run::seed::Streams;
use std::hint::black_box;

fn air_passengers() -> Vec<f64> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/classic/air_passengers.csv");
    let mut reader = csv::Reader::from_path(path).expect("committed data");
    reader.records().map(|r| r.expect("a row")[2].parse().expect("a number")).collect()
}

fn per_series(c: &mut Criterion) {
    let y = air_passengers();
    let mut group = c.benchmark_group("fit air_passengers");
    group.sample_size(20);
    for name in
        ["auto-ets", "ets:MAM", "ets:AAA", "auto-arima", "arima:0,1,1,0,1,1,12", "auto-theta", "theta", "croston", "adida"]
    {
        let spec: ModelSpec = name.parse().expect("a known model");
        group.bench_function(name, |b| b.iter(|| spec.fit(black_box(&y), 12).map(|f| f.predict(12))));
    }
    group.finish();
}

fn linear(c: &mut Criterion) {
    let data = synthetic::etth(&Streams::new(0));
    let train: Vec<&[f64]> = data.iter().map(|(_, y)| &y[..8640]).collect();
    let mut group = c.benchmark_group("linear on 7 x 8640");
    group.sample_size(10);
    for (kind, name) in [(LinearKind::Linear, "linear"), (LinearKind::Nlinear, "nlinear"), (LinearKind::Rlinear, "rlinear")] {
        for (l, h) in [(96, 96), (336, 720)] {
            group.bench_function(format!("{name} L={l} H={h}"), |b| b.iter(|| LinearModel::fit(kind, black_box(&train), l, h)));
        }
    }
    group.finish();
}

criterion_group!(benches, per_series, linear);
criterion_main!(benches);
