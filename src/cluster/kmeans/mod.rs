//! k-means: points in k clusters around their means.
//!
//! | file | what |
//! |---|---|
//! | `options` | [`KmeansOptions`], [`Algorithm`], [`Start`] |
//! | `model` | [`Kmeans`]: the result, prediction, keeping |
//! | `frame`, `data` | points scaled by a power of two and centred, which all of this computes in |
//! | `start` | first centroids: greedy k-means++, random rows |
//! | `iterate` | what all algorithms share: averages, empty clusters, when to stop |
//! | `lloyd`, `hamerly`, `elkan` | how nearest centroids are found |
//! | `hartigan` | [`hartigan()`]: moves of single points |

pub(crate) mod data;
mod elkan;
pub(crate) mod frame;
mod hamerly;
mod hartigan;
mod iterate;
mod lloyd;
pub(crate) mod model;
mod options;
pub(crate) mod start;
#[cfg(test)]
mod tests;

pub use hartigan::hartigan;
pub use model::{Kmeans, Polish, Restart};
pub use options::{Algorithm, KmeansOptions, Start};

use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::Real;
use crate::run::observer::Observer;
use data::Data;
use iterate::{Best, iterate};
use rayon::prelude::*;

/// Up to this many coordinates (n·d) restarts run side by side, each on one thread at a time; beyond it one after another, each on all threads.
const SIDE_BY_SIDE: usize = 1 << 16;
/// Rounds of moves and iterations at most. Each lowers the inertia, so this only bounds time.
const POLISH_ROUNDS: usize = 100;

/// k clusters of `points` (n × d) that make the inertia Σ min_c ‖x − c‖² small: the best of several starts, each iterated from its start until
/// no label changes or centroids hardly move.
///
/// Points are centred and scaled by a power of two first. With `Points<f32>` everything is computed in f32, but for sums, the distances that
/// decide between centroids closer than rounding, and the inertia, which are f64.
///
/// All algorithms give the same labels and the same bytes, and so does any number of threads: the label of a point is the nearest centroid by a
/// fixed definition of the distance, the lowest index among equals, and an algorithm skips a point only where it can prove the same label with
/// all rounding accounted for (see [`kernels::distance`](crate::kernels::distance)). A cluster that loses all its points gets the point that is
/// farthest from its own centroid.
///
/// Errors: k is 0, above n, or above the number of different points; settings out of range; an inertia beyond the range of f64; cancelled.
///
/// Cost: each iteration 2·n·k·d operations with Lloyd, as few as n·d with the others; memory one copy of the points, and what
/// [`Algorithm`] says. A greedy start costs about as much as 4 + 2·ln k iterations of Lloyd.
///
/// Source: Lloyd 1982; Arthur and Vassilvitskii 2007; Hamerly 2010; Elkan 2003; tolerance and iteration count as in scikit-learn.
pub fn kmeans<T: Real>(points: Points<T>, options: &KmeansOptions, observer: &dyn Observer) -> Result<Kmeans, ClusterError> {
    let (n, d, k) = (points.n(), points.d(), options.k);
    options.check(n, d)?;
    let data = Data::<T>::new(points);
    data.check_distinct(k)?;
    let algorithm = options.algorithm.chosen(d, k);
    let tolerance = options.tolerance * data.variance;
    let restarts = if matches!(options.start, Start::Given(_)) { 1 } else { options.restarts };
    observer.start("k-means", restarts);
    let run = |restart: usize| -> Result<Best<T>, ClusterError> {
        let start = start::centroids(&data, k, &options.start, options.seed, restart as u64, observer);
        let start = start.ok_or(ClusterError::Cancelled)?;
        let found = iterate(&data, &start, algorithm, tolerance, options.max_iterations, observer)?;
        observer.advance(1);
        Ok(found)
    };
    let side_by_side = n * d <= SIDE_BY_SIDE;
    let together: Vec<_> = if side_by_side { (0..restarts).into_par_iter().map(run).collect() } else { Vec::new() };
    let mut together = together.into_iter();
    let (mut table, mut best) = (Vec::with_capacity(restarts), None);
    for restart in 0..restarts {
        let found = match together.next() {
            Some(found) => found?,
            None => run(restart)?,
        };
        let inertia = data.frame.squares(found.inertia)?;
        table.push(Restart { inertia, iterations: found.iterations, converged: found.converged });
        if best.as_ref().is_none_or(|(_, b): &(usize, Best<T>)| found.inertia < b.inertia) {
            best = Some((restart, found));
        }
    }
    observer.finish();
    let Some((restart, mut best)) = best else {
        return Err(ClusterError::Setting { what: "restarts", value: "0".into(), expected: "at least 1".into() });
    };
    let Restart { iterations, mut converged, .. } = table[restart];
    let mut polished = None;
    if options.polish {
        let before = data.frame.squares(best.inertia)?;
        let (moves, rounds) = polish(&data, &mut best, algorithm, options.max_iterations, observer)?;
        converged = best.converged;
        polished = Some(Polish { before, after: data.frame.squares(best.inertia)?, moves, rounds });
    }
    let rows: Vec<f64> = best.centroids.iter().map(|c| c.to_f64()).collect();
    let (labels, rows, numbers) = model::renumber(&best.labels, &rows, d);
    let inertia = data.frame.squares(best.inertia)?;
    let local = model::Local { frame: data.frame, centroids: rows, numbers, single: T::LANES == f32::LANES };
    Ok(Kmeans {
        sizes: model::sizes(&labels, k),
        labels,
        centroids: local.outside(),
        inertia,
        iterations,
        converged,
        algorithm,
        restarts: table,
        best: restart,
        polished,
        local,
    })
}

/// Iterates to a fixed point and moves single points, in turn, until neither changes anything. Returns moves and rounds.
fn polish<T: Real>(
    data: &Data<T>,
    best: &mut Best<T>,
    algorithm: Algorithm,
    most: usize,
    observer: &dyn Observer,
) -> Result<(usize, usize), ClusterError> {
    let (d, k) = (data.d, best.centroids.len() / data.d);
    let (mut moves, mut rounds) = (0, 0);
    let mut next = iterate(data, &best.centroids, algorithm, 0.0, most, observer)?;
    loop {
        if next.inertia <= best.inertia {
            *best = next;
        } else {
            // Rounding, or a fixed point not reached within the iterations allowed: what was there is no worse.
            return Ok((moves, rounds));
        }
        let mut labels = best.labels.clone();
        let (_, made) = hartigan::moves(data, &mut labels, k);
        if made == 0 || rounds == POLISH_ROUNDS {
            return Ok((moves, rounds));
        }
        (moves, rounds) = (moves + made, rounds + 1);
        let mut sums = crate::kernels::distance::ClusterSums::new(data.n, k, d);
        sums.fill(&data.values, &labels);
        let means: Vec<T> =
            sums.sums.iter().enumerate().map(|(at, s)| T::from_f64(s / sums.sizes[at / d].max(1) as f64)).collect();
        next = iterate(data, &means, algorithm, 0.0, most, observer)?;
    }
}
