//! A lower bound per point and centroid.

use super::data::Data;
use super::hamerly::{down, up};
use super::iterate::{Assign, Drift, slack};
use crate::kernels::distance::{Centroids, ClusterSums, Order, exact, squared_distance, squared_distances_from};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// Elkan, Using the triangle inequality to accelerate k-means, 2003. Beside the bounds of each point, the distances between centroids tell
/// which centroids cannot be nearer than the own one.
///
/// Ours: lower bounds are kept in f32, rounded down; all bounds are certain (see [`Hamerly`](super::hamerly::Hamerly)).
pub(super) struct Elkan {
    k: usize,
    /// At least the distance to the own centroid.
    upper: Vec<f64>,
    /// (n, k): at most the distance to each other centroid. The place of the own one holds the largest number.
    lower: Vec<f32>,
}

impl Elkan {
    pub fn new(n: usize, k: usize) -> Self {
        Self { k, upper: vec![f64::INFINITY; n], lower: vec![0.0; n * k] }
    }
}

/// To f32, not above.
fn below(x: f64) -> f32 {
    let y = x as f32;
    if y as f64 > x { y.next_down() } else { y }
}

/// To f32, not below.
fn above(x: f64) -> f32 {
    let y = x as f32;
    if (y as f64) < x { y.next_up() } else { y }
}

/// Takes the drift off the bounds of a point and returns the smallest.
struct Loosen<'a> {
    lower: &'a mut [f32],
    drift: &'a [f32],
}

impl Kernel<f32> for Loosen<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) -> f32 {
        // Two roundings of half an ulp each, and a place below which results may be subnormal.
        let (shrink, tiny, zero) = (V::splat(1.0 - 2.0 * f32::EPSILON), V::splat(1e-30), V::splat(0.0));
        let mut least = V::splat(f32::MAX);
        let whole = self.lower.len() / V::N * V::N;
        for at in (0..whole).step_by(V::N) {
            let x = V::load(&self.lower[at..]).sub(V::load(&self.drift[at..])).mul(shrink);
            let x = V::select(tiny.lt(x), x, zero);
            x.store(&mut self.lower[at..]);
            least = least.min(x);
        }
        let mut least = -least.neg().max_lane();
        for at in whole..self.lower.len() {
            let x = (self.lower[at] - self.drift[at]) * (1.0 - 2.0 * f32::EPSILON);
            let x = if x > 1e-30 { x } else { 0.0 };
            self.lower[at] = x;
            least = least.min(x);
        }
        least
    }
}

/// The nearest centroid of a point among those that its bounds do not rule out. Tightens the bounds.
struct Refine<'a, T> {
    x: &'a [T],
    centroids: &'a [T],
    /// (k, k).
    halves: &'a [f64],
    lower: &'a mut [f32],
    /// The centroid so far and the squared distance to it.
    own: usize,
    distance: f64,
    slack: f64,
}

impl<T: Real> Kernel<f64> for Refine<'_, T> {
    type Output = (usize, f64);
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> (usize, f64) {
        let Self { x, centroids, halves, lower, mut own, mut distance, slack } = self;
        let (d, k) = (x.len(), lower.len());
        let reach = |distance: f64| up(distance.sqrt() * (1.0 + slack)) * (1.0 + slack);
        let mut limit = reach(distance);
        for c in 0..k {
            if c == own || limit < lower[c] as f64 || limit < halves[own * k + c] {
                continue;
            }
            let there = exact::distance::<T, V>(x, &centroids[c * d..(c + 1) * d]);
            if there < distance || (there == distance && c < own) {
                // What was nearest is an other one now.
                lower[own] = below(down(distance.sqrt() * (1.0 - slack)));
                (own, distance) = (c, there);
                limit = reach(distance);
                lower[c] = f32::MAX;
            } else {
                lower[c] = below(down(there.sqrt() * (1.0 - slack)));
            }
        }
        (own, distance)
    }
}

struct State<'a> {
    upper: &'a mut [f64],
    lower: &'a mut [f32],
    at: usize,
    distances: Vec<f64>,
}

impl<T: Real> Assign<T> for Elkan {
    fn assign(
        &mut self,
        data: &Data<T>,
        centroids: &Centroids<T>,
        drift: Option<&Drift>,
        labels: &mut [u32],
        sums: &mut ClusterSums,
    ) -> usize {
        let (d, k, values) = (data.d, self.k, &data.values);
        let slack = slack(d);
        // Half distances between centroids, rounded down, and the smallest of each row.
        let mut halves = vec![0.0; if drift.is_some() { k * k } else { 0 }];
        let mut gaps = vec![f64::INFINITY; k];
        halves.par_chunks_exact_mut(k).zip(&mut gaps).enumerate().for_each(|(c, (row, gap))| {
            squared_distances_from(centroids.row(c), centroids.rows(), row);
            for (other, half) in row.iter_mut().enumerate() {
                *half = down(0.5 * half.sqrt() * (1.0 - slack));
                if other != c {
                    *gap = gap.min(*half);
                }
            }
        });
        let loose: Vec<f32> = drift.map_or(Vec::new(), |drift| drift.each.iter().map(|&m| above(m)).collect());
        let pieces = sums.pieces();
        let states = pieces.cut(&mut self.upper, 1).into_iter().zip(pieces.cut(&mut self.lower, k));
        let states: Vec<State> = states.map(|(upper, lower)| State { upper, lower, at: 0, distances: vec![0.0; k] }).collect();
        sums.assign(values, labels, states, Order::Piece, |range, labels, state| {
            let mut changed = 0;
            for (row, label) in range.zip(labels) {
                let i = state.at;
                state.at += 1;
                let x = &values[row * d..(row + 1) * d];
                let (upper, lower) = (&mut state.upper[i], &mut state.lower[i * k..(i + 1) * k]);
                let before = *label;
                let Some(drift) = drift else {
                    squared_distances_from(x, centroids.rows(), &mut state.distances);
                    let mut own = 0;
                    for (c, (&distance, lower)) in state.distances.iter().zip(&mut *lower).enumerate() {
                        own = if distance < state.distances[own] { c } else { own };
                        *lower = below(down(distance.sqrt() * (1.0 - slack)));
                    }
                    *upper = up(state.distances[own].sqrt() * (1.0 + slack));
                    lower[own] = f32::MAX;
                    *label = own as u32;
                    changed += (*label != before) as usize;
                    continue;
                };
                let mut own = before as usize;
                *upper = up(*upper + drift.each[own]);
                let least = dispatch(Loosen { lower: &mut *lower, drift: &loose }) as f64;
                lower[own] = f32::MAX;
                if *upper * (1.0 + slack) < least.max(gaps[own]) {
                    continue;
                }
                let mut distance = squared_distance(x, centroids.row(own));
                *upper = up(distance.sqrt() * (1.0 + slack));
                let reach = *upper * (1.0 + slack);
                if reach < least.max(gaps[own]) {
                    continue;
                }
                (own, distance) =
                    dispatch(Refine { x, centroids: centroids.rows(), halves: &halves, lower, own, distance, slack });
                *upper = up(distance.sqrt() * (1.0 + slack));
                *label = own as u32;
                changed += (*label != before) as usize;
            }
            changed
        })
    }

    fn forget(&mut self, i: usize) {
        self.upper[i] = f64::INFINITY;
        self.lower[i * self.k..(i + 1) * self.k].fill(0.0);
    }
}
