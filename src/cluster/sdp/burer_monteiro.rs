//! Non-negative low-rank factorisation of the Peng–Wei programme (Burer–Monteiro), without an n × n matrix.
//!
//! Z = UUᵀ with U (n, r) ≥ 0, ‖U‖²_F = k, and an augmented Lagrangian for U(Uᵀ1) = 1:
//! L(U) = −‖XᵀU‖² + ⟨y, c⟩ + β/2 ‖c‖², c = U(Uᵀ1) − 1 (Zhuang, Chen, Yang & Zhang 2024, "Statistically optimal k-means clustering via
//! nonnegative low-rank semidefinite programming"). What we changed: X has unit spectral norm, so that settings do not depend on the units
//! of the data; β is in units of 1/n, as a constraint per row meets an objective of order one; the step is found by backtracking, so that
//! each step descends; β doubles where the constraint lags behind.
//!
//! The projection onto {U ≥ 0, ‖U‖²_F = k} is max(U, 0) scaled to its norm.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::dense;
use crate::cluster::ClusterError;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// Relative change of U below which the multipliers are updated.
const INNER: f64 = 1e-3;
/// Most inner steps between two updates of the multipliers.
const PATIENCE: usize = 200;
/// Penalty, times n, at first and at most.
const BETA: (f64, f64) = (10.0, 1e4);
/// Rows of a piece.
const PIECE: usize = 512;
const NOTE: usize = 500;

/// A factor and how it was reached.
pub(super) struct Factor {
    /// (n, r).
    pub u: Vec<f64>,
    pub r: usize,
    pub iterations: usize,
    pub converged: bool,
    /// ‖U(Uᵀ1) − 1‖ / ‖1‖.
    pub infeasible: f64,
}

pub(super) struct Settings {
    pub k: usize,
    pub rank: usize,
    pub iterations: usize,
    pub tolerance: f64,
    pub seed: u64,
}

/// What L and its gradient at U are made of.
struct Point {
    u: Vec<f64>,
    /// Xᵀ U, (d, r).
    p: Vec<f64>,
    /// Uᵀ 1.
    sums: Vec<f64>,
    /// U(Uᵀ1) − 1.
    c: Vec<f64>,
    objective: f64,
}

struct Problem<'a> {
    x: &'a [f64],
    n: usize,
    d: usize,
    r: usize,
    k: f64,
}

impl Problem<'_> {
    fn at(&self, u: Vec<f64>, y: &[f64], beta: f64) -> Point {
        let (n, d, r) = (self.n, self.d, self.r);
        let mut p = vec![0.0; d * r];
        matmul(MatRef::new(self.x, n, d).t(), MatRef::new(&u, n, r), MatMut::new(&mut p, d, r), false);
        let sums = column_sums(&u, None, r);
        let c: Vec<f64> = u.par_chunks(PIECE * r).flat_map_iter(|u| u.chunks_exact(r).map(|u| dot(u, &sums) - 1.0)).collect();
        let mut point = Point { u, p, sums, c, objective: 0.0 };
        point.value(y, beta);
        point
    }

    /// −2X(XᵀU) + w(1ᵀU) + 1(wᵀU), w = y + βc.
    fn gradient(&self, point: &Point, y: &[f64], beta: f64) -> Vec<f64> {
        let (n, d, r) = (self.n, self.d, self.r);
        let w: Vec<f64> = y.iter().zip(&point.c).map(|(y, c)| y + beta * c).collect();
        let mixed = column_sums(&point.u, Some(&w), r);
        let doubled: Vec<f64> = point.p.iter().map(|v| -2.0 * v).collect();
        let mut g = vec![0.0; n * r];
        matmul(MatRef::new(self.x, n, d), MatRef::new(&doubled, d, r), MatMut::new(&mut g, n, r), false);
        g.par_chunks_mut(PIECE * r).zip(w.par_chunks(PIECE)).for_each(|(g, w)| {
            for (g, w) in g.chunks_exact_mut(r).zip(w) {
                g.iter_mut().zip(&point.sums).zip(&mixed).for_each(|((g, s), m)| *g += w * s + m);
            }
        });
        g
    }

    /// max(U − αG, 0) scaled to ‖·‖²_F = k, ⟨G, U⁺ − U⟩ and ‖U⁺ − U‖²; `None` when nothing positive is left.
    fn step(&self, u: &[f64], g: &[f64], alpha: f64) -> Option<(Vec<f64>, f64, f64)> {
        let len = PIECE * self.r;
        let squares: Vec<f64> = u
            .par_chunks(len)
            .zip(g.par_chunks(len))
            .map(|(u, g)| u.iter().zip(g).map(|(u, g)| (u - alpha * g).max(0.0).powi(2)).sum())
            .collect();
        let square: f64 = squares.iter().sum();
        if !(square.is_finite() && square > 0.0) {
            return None;
        }
        let scale = (self.k / square).sqrt();
        let mut new = vec![0.0; u.len()];
        let sums: Vec<(f64, f64)> = new
            .par_chunks_mut(len)
            .zip(u.par_chunks(len))
            .zip(g.par_chunks(len))
            .map(|((new, u), g)| {
                let (mut slope, mut moved) = (0.0, 0.0);
                for ((new, u), g) in new.iter_mut().zip(u).zip(g) {
                    *new = scale * (u - alpha * g).max(0.0);
                    let change = *new - u;
                    slope += g * change;
                    moved += change * change;
                }
                (slope, moved)
            })
            .collect();
        let (slope, moved) = sums.iter().fold((0.0, 0.0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
        Some((new, slope, moved))
    }
}

impl Point {
    fn value(&mut self, y: &[f64], beta: f64) {
        let gain: f64 = self.p.iter().map(|v| v * v).sum();
        let penalty: f64 = y.iter().zip(&self.c).map(|(y, c)| c * (y + 0.5 * beta * c)).sum();
        self.objective = penalty - gain;
    }

    fn infeasible(&self) -> f64 {
        (self.c.iter().map(|c| c * c).sum::<f64>() / self.c.len() as f64).sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Column sums of U (n, r), rows weighted by `w` if given; by pieces of rows, added in order.
fn column_sums(u: &[f64], w: Option<&[f64]>, r: usize) -> Vec<f64> {
    let pieces: Vec<Vec<f64>> = u
        .par_chunks(PIECE * r)
        .enumerate()
        .map(|(piece, u)| {
            let mut sums = vec![0.0; r];
            for (i, u) in u.chunks_exact(r).enumerate() {
                let weight = w.map_or(1.0, |w| w[piece * PIECE + i]);
                sums.iter_mut().zip(u).for_each(|(s, u)| *s += weight * u);
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; r];
    pieces.iter().for_each(|piece| sums.iter_mut().zip(piece).for_each(|(s, v)| *s += v));
    sums
}

/// The largest singular value of X (n, d), by the smaller of its Gram matrices.
fn spectral_norm(x: &[f64], n: usize, d: usize) -> Result<f64, ClusterError> {
    let order = n.min(d);
    let view = MatRef::new(x, n, d);
    let mut gram = vec![0.0; order * order];
    let (a, b) = if d <= n { (view.t(), view) } else { (view, view.t()) };
    matmul(a, b, MatMut::new(&mut gram, order, order), false);
    Ok(dense::eigenvalues(&gram, order)?[order - 1].max(0.0).sqrt())
}

/// Solves for the rows `x` (n, d), which are centred and not all equal.
///
/// Cost of a step: 4 n d r + O(n r), times the few trials of backtracking. Memory: six arrays of n r and a copy of x.
pub(super) fn solve(x: &[f64], n: usize, d: usize, settings: &Settings, observer: &dyn Observer) -> Result<Factor, ClusterError> {
    let (k, r) = (settings.k as f64, settings.rank);
    let norm = spectral_norm(x, n, d)?;
    let scaled: Vec<f64> = x.iter().map(|v| v / norm).collect();
    let problem = Problem { x: &scaled, n, d, r, k };
    let mut rng = Streams::new(settings.seed).stream("sdp-start", 0);
    let start: Vec<f64> = (0..n * r).map(|_| f64::abs(StandardNormal.sample(&mut rng))).collect();
    let square: f64 = start.iter().map(|v| v * v).sum();
    let start: Vec<f64> = start.iter().map(|v| v * (k / square).sqrt()).collect();
    let (mut beta, mut y) = (BETA.0 / n as f64, vec![0.0; n]);
    let mut now = problem.at(start, &y, beta);
    let mut alpha = 0.1;
    let mut factor = Factor { u: Vec::new(), r, iterations: 0, converged: false, infeasible: now.infeasible() };
    let (mut inner, mut before) = (0, f64::INFINITY);
    while factor.iterations < settings.iterations && !factor.converged {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        factor.iterations += 1;
        observer.advance(1);
        let g = problem.gradient(&now, &y, beta);
        let mut moved = 0.0;
        let mut next = None;
        // The quadratic model with curvature 1/α must lie above L at the new point.
        for _ in 0..60 {
            let Some((u, slope, square)) = problem.step(&now.u, &g, alpha) else {
                alpha *= 0.5;
                continue;
            };
            let point = problem.at(u, &y, beta);
            let rounding = 1e-14 * (1.0 + now.objective.abs());
            if point.objective <= now.objective + slope + square / (2.0 * alpha) + rounding {
                moved = square.sqrt();
                next = Some(point);
                break;
            }
            alpha *= 0.5;
        }
        let change = moved / k.sqrt();
        if let Some(point) = next {
            now = point;
            alpha *= 1.25;
        }
        if !now.objective.is_finite() {
            return Err(ClusterError::Numbers(
                "the Burer-Monteiro iteration diverged; look for extreme values among the points".into(),
            ));
        }
        inner += 1;
        factor.infeasible = now.infeasible();
        if change < INNER || inner >= PATIENCE {
            if change.max(factor.infeasible) < settings.tolerance {
                factor.converged = true;
            } else {
                y.iter_mut().zip(&now.c).for_each(|(y, c)| *y += beta * c);
                if factor.infeasible > 0.9 * before && beta * (n as f64) < BETA.1 {
                    beta *= 2.0;
                }
                before = factor.infeasible;
                now.value(&y, beta);
            }
            inner = 0;
        }
        if factor.iterations.is_multiple_of(NOTE) {
            observer.note(&format!("step {}: change {change:.1e}, row sums off by {:.1e}", factor.iterations, factor.infeasible));
        }
    }
    factor.u = now.u;
    Ok(factor)
}
