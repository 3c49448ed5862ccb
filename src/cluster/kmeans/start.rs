//! First centroids.

use super::Start;
use super::data::Data;
use crate::kernels::distance::Trials;
use crate::kernels::simd::Real;
use crate::run::observer::Observer;
use crate::run::seed::{Rng, Streams};
use rand::RngExt;
use std::collections::HashSet;

/// The first centroids (k, d) of restart `index`, in the frame. `None`: cancelled.
pub(crate) fn centroids<T: Real>(
    data: &Data<T>,
    k: usize,
    start: &Start,
    seed: u64,
    index: u64,
    observer: &dyn Observer,
) -> Option<Vec<T>> {
    let streams = Streams::new(seed);
    match start {
        Start::PlusPlus => plus_plus(data, k, &mut streams.stream("kmeans++", index), observer),
        Start::Random => Some(random(data, k, &mut streams.stream("kmeans random rows", index))),
        Start::Given(rows) => Some(data.frame.enter(rows)),
    }
}

/// `k` different rows of all, by Floyd's draws without replacement, in the order of the draws.
fn random<T: Real>(data: &Data<T>, k: usize, rng: &mut Rng) -> Vec<T> {
    let n = data.n;
    let mut taken = HashSet::new();
    let mut centroids = Vec::with_capacity(k * data.d);
    for last in n - k..n {
        let row = rng.random_range(0..=last);
        let row = if taken.insert(row) { row } else { last };
        taken.insert(row);
        centroids.extend_from_slice(data.row(row));
    }
    centroids
}

fn plus_plus<T: Real>(data: &Data<T>, k: usize, rng: &mut Rng, observer: &dyn Observer) -> Option<Vec<T>> {
    let d = data.d;
    let tries = 2 + (k as f64).ln() as usize;
    let mut trials = Trials::new(data.n);
    let mut centroids = data.row(rng.random_range(0..data.n)).to_vec();
    trials.evaluate(&data.values, d, &centroids);
    trials.accept(0);
    let mut candidates = Vec::with_capacity(tries * d);
    while centroids.len() < k * d {
        if observer.cancelled() {
            return None;
        }
        let total = trials.total();
        candidates.clear();
        for _ in 0..tries {
            // Without any distance left every row stands on a centroid; the run will say so.
            let row = trials.pick(rng.random::<f64>() * total).unwrap_or(0);
            candidates.extend_from_slice(data.row(row));
        }
        let left = trials.evaluate(&data.values, d, &candidates);
        let best = (0..tries).fold(0, |best, c| if left[c] < left[best] { c } else { best });
        trials.accept(best);
        centroids.extend_from_slice(&candidates[best * d..(best + 1) * d]);
    }
    Some(centroids)
}
