//! Products of tensors with factors, and decompositions; every benchmark says the error it reached where there is one.

use criterion::{Criterion, criterion_group, criterion_main};
use rand_distr::{Distribution, StandardNormal};
use shoal::kernels::mttkrp::Sweep;
use shoal::kernels::mttkrp::sparse::SparsePlan;
use shoal::run::observer::Silent;
use shoal::run::seed::Streams;
use shoal::tensor::cp::{Input, Options, Run, als};
use shoal::tensor::data::Dense;
use shoal::tensor::tucker::Size;
use shoal::tensor::tucker::hooi::{HooiConfig, hooi};
use std::hint::black_box;

fn normal(len: usize, index: u64) -> Vec<f64> {
    let mut rng = Streams::new(1).stream("bench", index);
    (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn factors(shape: &[usize], rank: usize) -> Vec<Vec<f64>> {
    shape.iter().enumerate().map(|(m, n)| normal(n * rank, 10 + m as u64)).collect()
}

fn sweeps(c: &mut Criterion) {
    for (name, shape, rank) in [("300^3 R=16", vec![300; 3], 16), ("60^4 R=10", vec![60; 4], 10)] {
        let x = normal(shape.iter().product(), 0);
        let own = factors(&shape, rank);
        let views: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
        let mut sweep = Sweep::new(&shape, rank);
        let mut outs: Vec<Vec<f64>> = shape.iter().map(|n| vec![0.0; n * rank]).collect();
        c.bench_function(&format!("mttkrp sweep {name}"), |b| {
            b.iter(|| outs.iter_mut().enumerate().for_each(|(m, out)| sweep.mode(&x, &views, m, out)));
        });
    }
}

fn sparse(c: &mut Criterion) {
    let (shape, entries, rank) = ([100_000usize, 50_000, 20_000], 1_000_000, 16);
    // Places by a power law: few slices hold most.
    let places = |m: usize| -> Vec<u32> {
        let size = shape[m] as f64;
        normal(entries, 20 + m as u64).iter().map(|z| ((z.abs() / 6.0).powi(3).min(0.999_999) * size) as u32).collect()
    };
    let plan = SparsePlan::new(&shape, (0..3).map(places).collect(), normal(entries, 30));
    let own = factors(&shape, rank);
    let views: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
    let mut outs: Vec<Vec<f64>> = shape.iter().map(|n| vec![0.0; n * rank]).collect();
    c.bench_function("sparse mttkrp, 1e6 entries, R=16, three modes", |b| {
        b.iter(|| outs.iter_mut().enumerate().for_each(|(m, out)| plan.mttkrp(&views, rank, m, out)));
    });
}

fn decompositions(c: &mut Criterion) {
    let x = Dense::new(vec![100; 3], normal(1_000_000, 0));
    let options = Options { max_iter: 5, tol: 0.0, ..Options::new(8) };
    let fit = als(Input::Dense(&x), &options, &Run::default()).map(|f| f.fit);
    c.bench_function(&format!("cp 100^3 R=8, 5 sweeps (fit {fit:.4?})"), |b| {
        b.iter(|| black_box(als(Input::Dense(&x), &options, &Run::default()).is_ok()));
    });
    let config = HooiConfig { max_iter: 5, tol: 0.0, ..HooiConfig::new(Size::Ranks(vec![10; 3])) };
    let error = hooi(&x, &config, &Silent).map(|f| f.rel_error);
    c.bench_function(&format!("hooi 100^3 ranks 10, 5 sweeps (error {error:.4?})"), |b| {
        b.iter(|| black_box(hooi(&x, &config, &Silent).is_ok()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = sweeps, sparse, decompositions
}
criterion_main!(benches);
