//! One upper and one lower bound per point.

use super::data::Data;
use super::iterate::{Assign, Drift, slack};
use crate::kernels::distance::{BLOCK, Centroids, ClusterSums, Found, Order, Search, own_distances_of, squared_distances_from};
use crate::kernels::simd::Real;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hamerly, Making k-means even faster, 2010. A point keeps an upper bound of the distance to its own centroid and a lower bound of that to
/// all others; both follow the drift of the centroids by the triangle inequality, and while they do not cross the label cannot change.
///
/// Ours: the points whose bounds cross are searched together, by matrix products as in Lloyd's iteration; bounds are rounded outwards, so
/// that a point is skipped only where [`nearest`](crate::kernels::distance::nearest) would give the same label.
pub(super) struct Hamerly {
    /// At least ‖x − own centroid‖.
    upper: Vec<f64>,
    /// At most the distance to any other centroid.
    lower: Vec<f64>,
    /// Points that were searched last time.
    searched: usize,
}

/// Distances below this are taken for zero as lower bounds: their squares may have lost bits (or all) below the normal range.
pub(super) const TINY: f64 = 1e-150;

/// A correctly rounded sum, moved up past its error.
pub(super) fn up(x: f64) -> f64 {
    x * (1.0 + 2.0 * f64::EPSILON) + TINY
}

/// A correctly rounded difference, moved down past its error.
pub(super) fn down(x: f64) -> f64 {
    let x = x * (1.0 - 2.0 * f64::EPSILON);
    // Not a number (a centroid that was infinitely far) is no bound either.
    if x > TINY { x } else { 0.0 }
}

impl Hamerly {
    pub fn new(n: usize) -> Self {
        Self { upper: vec![f64::INFINITY; n], lower: vec![0.0; n], searched: n }
    }
}

/// Half of the distance from each centroid to the nearest other one, rounded down.
pub(super) fn half_gaps<T: Real>(centroids: &Centroids<T>) -> Vec<f64> {
    let (k, d) = (centroids.k(), centroids.d());
    let one = |c: usize| {
        let mut distances = vec![0.0; k];
        squared_distances_from(centroids.row(c), centroids.rows(), &mut distances);
        distances[c] = f64::INFINITY;
        let least = distances.into_iter().fold(f64::INFINITY, f64::min);
        down(0.5 * least.sqrt() * (1.0 - slack(d)))
    };
    (0..k).into_par_iter().map(one).collect()
}

/// The part of a piece.
struct State<'a, T> {
    upper: &'a mut [f64],
    lower: &'a mut [f64],
    /// Points of the piece that are done.
    at: usize,
    search: Search<T>,
    rows: Vec<u32>,
    names: Vec<u32>,
    distances: Vec<f64>,
    found: Vec<Found>,
}

impl<T: Real> Assign<T> for Hamerly {
    fn assign(
        &mut self,
        data: &Data<T>,
        centroids: &Centroids<T>,
        drift: Option<&Drift>,
        labels: &mut [u32],
        sums: &mut ClusterSums,
    ) -> usize {
        let (d, values) = (data.d, &data.values);
        let slack = slack(d);
        // Bounds that are not numbers have crossed.
        let crossed = |upper: f64, lower: f64| {
            let apart = upper * (1.0 + slack) < lower;
            !apart
        };
        let (gaps, none) = (if drift.is_some() { half_gaps(centroids) } else { Vec::new() }, Vec::new());
        let each = drift.map_or(&none, |drift| &drift.each);
        // The largest drift, and the largest of all others: what the nearest other centroid may have come closer by.
        let first = (0..each.len()).fold(0, |best, c| if each[c] > each[best] { c } else { best });
        let second = (0..each.len()).filter(|&c| c != first).fold(0.0f64, |m, c| m.max(each[c]));
        let largest = each.get(first).copied().unwrap_or(0.0);
        let pieces = sums.pieces();
        let states = pieces.cut(&mut self.upper, 1).into_iter().zip(pieces.cut(&mut self.lower, 1));
        let states: Vec<State<T>> = states
            .map(|(upper, lower)| State {
                upper,
                lower,
                at: 0,
                search: Search::new(),
                rows: Vec::with_capacity(BLOCK),
                names: Vec::with_capacity(BLOCK),
                distances: vec![0.0; BLOCK],
                found: vec![Found::default(); BLOCK],
            })
            .collect();
        let searched = AtomicUsize::new(0);
        // Sums do not depend on the order; the cache does.
        let order = if self.searched > data.n / 2 { Order::Block } else { Order::Piece };
        let changed = sums.assign(values, labels, states, order, |range, labels, state| {
            let count = labels.len();
            let upper = &mut state.upper[state.at..state.at + count];
            let lower = &mut state.lower[state.at..state.at + count];
            state.at += count;
            let points = &values[range.start * d..range.end * d];
            state.rows.clear();
            if drift.is_none() {
                state.rows.extend(0..count as u32);
            } else {
                state.names.clear();
                for i in 0..count {
                    let own = labels[i] as usize;
                    upper[i] = up(upper[i] + each[own]);
                    lower[i] = down(lower[i] - if own == first { second } else { largest });
                    if crossed(upper[i], lower[i].max(gaps[own])) {
                        state.rows.push(i as u32);
                        state.names.push(labels[i]);
                    }
                }
                // The upper bound may only have become loose.
                let distances = &mut state.distances[..state.rows.len()];
                own_distances_of(points, d, &state.rows, &state.names, centroids.rows(), distances);
                let mut at = 0;
                state.rows.retain(|&i| {
                    let (i, distance) = (i as usize, state.distances[at]);
                    at += 1;
                    upper[i] = up(distance.sqrt() * (1.0 + slack));
                    crossed(upper[i], lower[i].max(gaps[labels[i] as usize]))
                });
            }
            let found = &mut state.found[..state.rows.len()];
            if found.is_empty() {
                return 0;
            }
            searched.fetch_add(found.len(), Ordering::Relaxed);
            state.search.rows_of(points, &state.rows, centroids, found);
            let mut changed = 0;
            state.names.clear();
            let mut kept = 0;
            for at in 0..found.len() {
                let (i, found) = (state.rows[at], found[at]);
                lower[i as usize] = down(found.others.sqrt());
                if labels[i as usize] != found.label {
                    changed += 1;
                    labels[i as usize] = found.label;
                    state.rows[kept] = i;
                    state.names.push(found.label);
                    kept += 1;
                }
            }
            let distances = &mut state.distances[..kept];
            own_distances_of(points, d, &state.rows[..kept], &state.names, centroids.rows(), distances);
            for (&i, distance) in state.rows.iter().zip(distances) {
                upper[i as usize] = up(distance.sqrt() * (1.0 + slack));
            }
            changed
        });
        self.searched = searched.into_inner();
        changed
    }

    fn forget(&mut self, i: usize) {
        self.upper[i] = f64::INFINITY;
        self.lower[i] = 0.0;
    }
}
