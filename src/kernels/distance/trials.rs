//! What further centroids would bring: the step of k-means++.

use super::{BLOCK, Pieces, panels};
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// Squared distances of `n` points to the nearest centroid so far, and to candidates for the next.
///
/// Distances here are Σ(x − c)² in `T`: zero for equal points, so that a point that is a centroid already has no weight.
#[derive(Debug, Clone)]
pub struct Trials<T> {
    pieces: Pieces,
    near: Vec<T>,
    /// Sums of `near` over each piece.
    totals: Vec<f64>,
    /// For each candidate: min(near, distance) of all points.
    tried: Vec<Vec<T>>,
    /// For each candidate the sums of that over each piece.
    sums: Vec<Vec<f64>>,
}

impl<T: Real> Trials<T> {
    /// Without centroids all points are infinitely far.
    pub fn new(n: usize) -> Self {
        let pieces = Pieces::new(n);
        Self {
            pieces,
            near: vec![T::from_f64(f64::INFINITY); n],
            totals: vec![f64::INFINITY; pieces.count()],
            tried: vec![],
            sums: vec![],
        }
    }

    /// Σ over all points of their squared distance to the nearest centroid.
    pub fn total(&self) -> f64 {
        self.totals.iter().sum()
    }

    /// Squared distance of each point to the nearest centroid.
    pub fn near(&self) -> &[T] {
        &self.near
    }

    /// The point at which the running sum of the distances passes `at` (of [`total`](Self::total)); the last with any distance when rounding
    /// leaves none, `None` when all distances are zero.
    pub fn pick(&self, mut at: f64) -> Option<usize> {
        let (mut piece, mut passed) = (None, false);
        for (i, &total) in self.totals.iter().enumerate().filter(|(_, total)| **total > 0.0) {
            piece = Some(i);
            passed = at < total;
            if passed {
                break;
            }
            at -= total;
        }
        if !passed {
            at = f64::INFINITY;
        }
        let range = self.pieces.range(piece?);
        let mut found = None;
        for (i, near) in range.clone().zip(&self.near[range]) {
            let near = near.to_f64();
            if near > 0.0 {
                found = Some(i);
                if at < near {
                    break;
                }
                at -= near;
            }
        }
        found
    }

    /// Tries `candidates` (rows of d): for each, the total that it would leave. On all threads, 2·n·d operations for each.
    pub fn evaluate(&mut self, points: &[T], d: usize, candidates: &[T]) -> Vec<f64> {
        let (n, count) = (self.near.len(), candidates.len() / d);
        assert!(points.len() == n * d && candidates.len() == count * d, "trials: {n} points of {d}");
        self.tried.resize_with(count, || vec![T::ZERO; n]);
        self.sums.resize_with(count, || vec![0.0; self.pieces.count()]);
        // The candidates' places of every piece, candidate by candidate.
        let mut places: Vec<Vec<(&mut [T], &mut f64)>> = (0..self.pieces.count()).map(|_| Vec::with_capacity(count)).collect();
        for (tried, sums) in self.tried.iter_mut().zip(&mut self.sums) {
            for ((place, tried), sum) in places.iter_mut().zip(self.pieces.cut(tried, 1)).zip(sums) {
                place.push((tried, sum));
            }
        }
        let (pieces, near) = (self.pieces, &self.near);
        places.into_par_iter().with_max_len(1).enumerate().for_each(|(i, mut places)| {
            places.iter_mut().for_each(|(_, sum)| **sum = 0.0);
            let rows: Vec<u32> = (0..BLOCK as u32).collect();
            let range = pieces.range(i);
            for at in (0..range.len()).step_by(BLOCK) {
                let block = at..range.len().min(at + BLOCK);
                let from = range.start + at;
                let (points, near) = (&points[from * d..(from + block.len()) * d], &near[from..from + block.len()]);
                with_scratch(panels::room::<T>(block.len(), d), |packed: &mut [T]| {
                    panels::pack(points, d, &rows[..block.len()], packed);
                    dispatch(Try { packed, d, candidates, near, block, places: &mut places });
                });
            }
        });
        self.sums.iter().map(|s| s.iter().sum()).collect()
    }

    /// Makes the candidate of the last [`evaluate`](Self::evaluate) with this number a centroid.
    pub fn accept(&mut self, candidate: usize) {
        std::mem::swap(&mut self.near, &mut self.tried[candidate]);
        std::mem::swap(&mut self.totals, &mut self.sums[candidate]);
    }
}

struct Try<'a, 'b, T> {
    packed: &'a [T],
    d: usize,
    candidates: &'a [T],
    near: &'a [T],
    block: std::ops::Range<usize>,
    places: &'a mut [(&'b mut [T], &'b mut f64)],
}

impl<T: Real> Kernel<T> for Try<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let count = self.places.len();
        let mut first = 0;
        while first < count {
            first += match count - first {
                1 => tried::<T, V, 1>(&mut self, first),
                2 | 3 => tried::<T, V, 2>(&mut self, first),
                _ => tried::<T, V, 4>(&mut self, first),
            };
        }
    }
}

/// `ROWS` candidates from `first` on, for all points of the block.
#[inline(always)]
fn tried<T: Real, V: Lanes<T>, const ROWS: usize>(job: &mut Try<'_, '_, T>, first: usize) -> usize {
    let (d, near) = (job.d, job.near);
    let mut totals = [V::splat(T::ZERO); ROWS];
    for at in (0..near.len()).step_by(V::N) {
        let panel = &job.packed[at * d..(at + V::N) * d];
        let mut sums = [V::splat(T::ZERO); ROWS];
        for j in 0..d {
            let x = V::load(&panel[j * V::N..]);
            for r in 0..ROWS {
                let e = x.sub(V::splat(job.candidates[(first + r) * d + j]));
                sums[r] = e.fma(e, sums[r]);
            }
        }
        let here = near.len().min(at + V::N);
        let before = V::load_partial(&near[at..here]);
        for r in 0..ROWS {
            // The lanes behind the last point are zero in `before`.
            let least = sums[r].min(before);
            totals[r] = totals[r].add(least);
            least.store_partial(&mut job.places[first + r].0[job.block.start + at..job.block.start + here]);
        }
    }
    for r in 0..ROWS {
        *job.places[first + r].1 += totals[r].sum().to_f64();
    }
    ROWS
}
