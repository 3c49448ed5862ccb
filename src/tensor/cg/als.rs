//! The CP form of a small sparse tensor of order 3 by proximal alternating least squares.
//!
//! Tensors of Clebsch–Gordan coefficients are where plain least squares gets stuck: below the exact rank the best approximation may not
//! exist (at L = 1 and R = 7 errors fall as long as weights grow), and sweeps crawl through swamps. A proximal term
//! μ ‖A − A_before‖² keeps every step small at first and fades out, so early sweeps cannot run away and late ones are plain least squares.
//!
//! One sweep, for every mode: A ← (X_(1) (C ⊙ B) + μ A) ((BᵀB) ∘ (CᵀC) + μ I)⁻¹. μ falls geometrically over all sweeps.
//!
//! The tensors have a few hundred entries: products and solves are vector loops of their own here, as a call of the large kernels costs more
//! than the work.

use super::CgError;
use super::blocks::CgTensor;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use crate::tensor::data::Sparse;
use crate::tensor::model::{Kruskal, Matrix};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpConfig {
    /// Sweeps of a start at most.
    pub max_iter: usize,
    /// Random starts at most; no more are made once one is good enough.
    pub starts: usize,
    /// μ of the first and the last sweep.
    pub mu: (f64, f64),
    /// ‖X − X̂‖/‖X‖ that ends a start and the search; it is looked at every 50 sweeps.
    pub enough: f64,
    pub seed: u64,
}

impl CpConfig {
    /// 3000 sweeps, μ from 3e-2 to 1e-10, as many starts as the size allows (20 at L = 1, 12 at L = 2, 4 at L = 3, 1 above), until one is
    /// exact to 1e-13.
    pub fn at(lmax: usize, seed: u64) -> Self {
        let starts = [20, 20, 12, 4].get(lmax).copied().unwrap_or(1);
        Self { max_iter: 3000, starts, mu: (3e-2, 1e-10), enough: 1e-13, seed }
    }

    fn check(&self) -> Result<(), CgError> {
        let positive = |what, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(CgError::Setting { what, found: value.to_string(), expected: "a number above 0".into() }),
        };
        let whole = |what, value: usize| match value {
            0 => Err(CgError::Setting { what, found: "0".into(), expected: "at least 1".into() }),
            _ => Ok(()),
        };
        whole("the number of sweeps", self.max_iter)?;
        whole("the number of starts", self.starts)?;
        positive("the first μ", self.mu.0)?;
        positive("the last μ", self.mu.1)?;
        positive("the error that is enough", self.enough)
    }
}

/// One start as it ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub rel_error: f64,
    pub iterations: usize,
}

/// The best of all starts.
#[derive(Debug, Clone, PartialEq)]
pub struct CpFit {
    /// A, B, C, one of (I_n, R) each; the columns of a term have the same norm in all three. Terms in the order of falling weight,
    /// the largest entry of a column positive in A and B.
    pub factors: [Matrix; 3],
    /// ‖X − X̂‖/‖X‖, from the residual itself.
    pub rel_error: f64,
    /// Which start it was.
    pub best: usize,
    /// All of them.
    pub starts: Vec<Start>,
}

impl CpFit {
    pub fn rank(&self) -> usize {
        self.factors[0].cols
    }

    /// The same with columns of norm 1 and weights.
    pub fn kruskal(&self) -> Kruskal {
        let mut factors = self.factors.clone();
        let mut weights = vec![1.0; self.rank()];
        for f in &mut factors {
            for (c, weight) in weights.iter_mut().enumerate() {
                let norm = column_norm(f, c);
                if norm > 0.0 {
                    (0..f.rows).for_each(|i| f.values[i * f.cols + c] /= norm);
                }
                *weight *= norm;
            }
        }
        Kruskal { weights, factors: factors.into() }
    }

    /// X̂, (I_1, I_2, I_3) in C order.
    pub fn dense(&self) -> Vec<f64> {
        let [a, b, c] = &self.factors;
        let mut out = vec![0.0; a.rows * b.rows * c.rows];
        reconstruct(&[&a.values, &b.values, &c.values], [a.rows, b.rows, c.rows], a.cols, &mut out);
        out
    }
}

/// The CP form of M at a rank.
///
/// # Errors
/// Those of [`decompose`].
pub fn decompose_cg(m: &CgTensor, rank: usize, config: &CpConfig, observer: &dyn Observer) -> Result<CpFit, CgError> {
    decompose(&m.sparse(), rank, config, observer)
}

/// A CP form of a tensor of order 3, the best of several random starts.
///
/// Start k draws its factors from the stream ("cg-cp", k), entries N(0, 1/I_n), so results do not depend on how many starts follow or on
/// threads. Cost per sweep: 9 nnz R + R³ + 6 (I_1 + I_2 + I_3) R² operations. Starts run in parallel, four at a time.
///
/// Source: the proximal step is that of Attouch et al. (2010) and of "P-ALS" (Navasca et al. 2008); the fading μ is ours, see the module.
///
/// # Errors
/// A rank of 0, settings out of range, a tensor of another order or without any number that is not zero; [`CgError::Interrupted`].
pub fn decompose(x: &Sparse<f64>, rank: usize, config: &CpConfig, observer: &dyn Observer) -> Result<CpFit, CgError> {
    /// Starts made at once, whatever the number of threads.
    const WAVE: usize = 4;
    config.check()?;
    if rank == 0 {
        return Err(CgError::RankZero);
    }
    // Each of the starts at work holds some systems of (R, R).
    const LARGEST_RANK: usize = 1 << 13;
    if rank > LARGEST_RANK {
        let expected = format!("at most {LARGEST_RANK}: a start holds several matrices of that size squared");
        return Err(CgError::Setting { what: "the rank", found: rank.to_string(), expected });
    }
    let problem = Problem::new(x, rank)?;
    observer.start("starts", config.starts);
    let mut starts: Vec<Start> = Vec::new();
    let mut best: Option<(usize, [Vec<f64>; 3])> = None;
    while starts.len() < config.starts && best.as_ref().is_none_or(|(k, _)| starts[*k].rel_error > config.enough) {
        let wave: Vec<usize> = (starts.len()..config.starts.min(starts.len() + WAVE)).collect();
        let done: Vec<_> = wave.into_par_iter().with_max_len(1).map(|k| problem.run(config, k, observer)).collect();
        for run in done {
            let (factors, start) = run.ok_or(CgError::Interrupted)?;
            if best.as_ref().is_none_or(|(k, _)| start.rel_error < starts[*k].rel_error) {
                best = Some((starts.len(), factors));
            }
            starts.push(start);
            observer.advance(1);
        }
    }
    observer.finish();
    let (best, factors) = best.expect("at least one start");
    let factors = problem.tidy(factors);
    Ok(CpFit { factors, rel_error: starts[best].rel_error, best, starts })
}

/// The tensor as the sweeps read it.
struct Problem {
    shape: [usize; 3],
    rank: usize,
    /// Columns of a factor in memory: the rank, rounded up to whole vectors.
    stride: usize,
    /// For every mode: index along it, along the two others (increasing), value; sorted by the first.
    entries: [Vec<([u32; 3], f64)>; 3],
    dense: Vec<f64>,
    norm: f64,
}

impl Problem {
    fn new(x: &Sparse<f64>, rank: usize) -> Result<Self, CgError> {
        let &[i, j, k] = x.shape() else {
            let found = format!("{}", x.order());
            return Err(CgError::Setting { what: "the order of the tensor", found, expected: "3".into() });
        };
        let mut dense = vec![0.0; i * j * k];
        let at = |n: usize| [0, 1, 2].map(|mode| x.indices(mode)[n]);
        for (n, v) in x.values().iter().enumerate() {
            let [a, b, c] = at(n).map(|i| i as usize);
            dense[(a * j + b) * k + c] = *v;
        }
        let norm = x.values().iter().map(|v| v * v).sum::<f64>().sqrt();
        if !(norm > 0.0 && norm.is_finite()) {
            let expected = "a positive number".to_string();
            return Err(CgError::Setting { what: "the norm of the tensor", found: norm.to_string(), expected });
        }
        let entries = [[0, 1, 2], [1, 0, 2], [2, 0, 1]].map(|order: [usize; 3]| {
            let mut list: Vec<([u32; 3], f64)> = (0..x.len()).map(|n| (order.map(|o| at(n)[o]), x.values()[n])).collect();
            list.sort_by_key(|e| e.0);
            list
        });
        Ok(Self { shape: [i, j, k], rank, stride: rank.next_multiple_of(f64::LANES), entries, dense, norm })
    }

    /// One start; `None` when interrupted.
    fn run(&self, config: &CpConfig, start: usize, observer: &dyn Observer) -> Option<([Vec<f64>; 3], Start)> {
        /// Sweeps between two looks at the error.
        const LOOK: usize = 50;
        let (rank, stride) = (self.rank, self.stride);
        let mut rng = Streams::new(config.seed).stream("cg-cp", start as u64);
        let mut factors = self.shape.map(|n| {
            let scale = (n as f64).sqrt().recip();
            let mut f = vec![0.0; n * stride];
            for row in f.chunks_exact_mut(stride) {
                row[..rank]
                    .iter_mut()
                    .for_each(|v| *v = scale * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng));
            }
            f
        });
        let mut grams = [0, 1, 2].map(|mode| self.gram(&factors[mode], mode));
        let mut system = vec![0.0; rank * stride];
        let mut residual = vec![0.0; self.dense.len()];
        let mut lost = f64::INFINITY;
        let mut iterations = 0;
        while iterations < config.max_iter {
            if observer.cancelled() {
                return None;
            }
            let mu = config.mu.0 * (config.mu.1 / config.mu.0).powf(iterations as f64 / config.max_iter as f64);
            for mode in 0..3 {
                let (p, q) = [(1, 2), (0, 2), (0, 1)][mode];
                let mut own = std::mem::take(&mut factors[mode]);
                dispatch(Mttkrp { entries: &self.entries[mode], a: &factors[p], b: &factors[q], mu, stride, out: &mut own });
                for ((to, a), b) in
                    system.chunks_exact_mut(stride).zip(grams[p].chunks_exact(rank)).zip(grams[q].chunks_exact(rank))
                {
                    to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = a * b);
                }
                (0..rank).for_each(|r| system[r * stride + r] += mu);
                dispatch(Solve { system: &mut system, rows: &mut own, rank, stride, floor: mu });
                grams[mode] = self.gram(&own, mode);
                factors[mode] = own;
            }
            iterations += 1;
            if iterations.is_multiple_of(LOOK) || iterations == config.max_iter {
                lost = self.error(&factors, &mut residual);
                if lost <= config.enough {
                    break;
                }
            }
        }
        Some((factors, Start { rel_error: lost, iterations }))
    }

    fn gram(&self, f: &[f64], mode: usize) -> Vec<f64> {
        let (n, rank) = (self.shape[mode], self.rank);
        let view = MatRef::with_strides(f, n, rank, self.stride, 1);
        let mut out = vec![0.0; rank * rank];
        matmul(view.t(), view, MatMut::new(&mut out, rank, rank), false);
        out
    }

    fn error(&self, factors: &[Vec<f64>; 3], room: &mut [f64]) -> f64 {
        reconstruct(&[&factors[0], &factors[1], &factors[2]], self.shape, self.stride, room);
        let square: f64 = room.iter().zip(&self.dense).map(|(a, b)| (a - b) * (a - b)).sum();
        // A start that ran away counts as having found nothing.
        if square.is_finite() { square.sqrt() / self.norm } else { f64::MAX }
    }

    /// Equal norms in all modes, falling weights, signs.
    fn tidy(&self, factors: [Vec<f64>; 3]) -> [Matrix; 3] {
        let rank = self.rank;
        let mut out = [0, 1, 2].map(|m| {
            let rows = factors[m].chunks_exact(self.stride).flat_map(|row| row[..rank].to_vec()).collect();
            Matrix::new(self.shape[m], rank, rows)
        });
        let mut weights = Vec::with_capacity(rank);
        for c in 0..rank {
            let norms = [0, 1, 2].map(|m| column_norm(&out[m], c));
            let weight: f64 = norms.iter().product();
            weights.push(weight);
            let mut sign = 1.0;
            for m in 0..3 {
                let f = &mut out[m];
                let largest = (0..f.rows).map(|i| f.at(i, c)).fold(0.0f64, |top, v| if v.abs() > top.abs() { v } else { top });
                let own = if m == 2 { sign } else { 1f64.copysign(largest) };
                sign *= own;
                let scale = if norms[m] > 0.0 { own * weight.cbrt() / norms[m] } else { 0.0 };
                (0..f.rows).for_each(|i| f.values[i * rank + c] *= scale);
            }
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        out.map(|f| {
            let rows = (0..f.rows).flat_map(|i| order.iter().map(move |c| (i, *c))).map(|(i, c)| f.at(i, c)).collect();
            Matrix::new(f.rows, rank, rows)
        })
    }
}

fn column_norm(f: &Matrix, c: usize) -> f64 {
    (0..f.rows).map(|i| f.at(i, c).powi(2)).sum::<f64>().sqrt()
}

/// Σ_r a[i, r] b[j, r] c[k, r] for all (i, j, k); rows of the factors are `stride` numbers, those behind the rank zero.
fn reconstruct(factors: &[&[f64]; 3], shape: [usize; 3], stride: usize, out: &mut [f64]) {
    let [a, b, c] = factors;
    let mut scaled = vec![0.0; shape[1] * stride];
    for (row, out) in a.chunks_exact(stride).zip(out.chunks_exact_mut(shape[1] * shape[2])) {
        for (to, from) in scaled.chunks_exact_mut(stride).zip(b.chunks_exact(stride)) {
            to.iter_mut().zip(from.iter().zip(row)).for_each(|(to, (b, a))| *to = a * b);
        }
        let left = MatRef::new(&scaled, shape[1], stride);
        matmul(left, MatRef::new(c, shape[2], stride).t(), MatMut::new(out, shape[1], shape[2]), false);
    }
}

/// out[i, :] ← μ out[i, :] + Σ v · a[j, :] ∘ b[k, :] over the entries (i, j, k, v).
struct Mttkrp<'a> {
    entries: &'a [([u32; 3], f64)],
    a: &'a [f64],
    b: &'a [f64],
    mu: f64,
    stride: usize,
    out: &'a mut [f64],
}

impl Kernel<f64> for Mttkrp<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { entries, a, b, mu, stride, out } = self;
        let m = V::splat(mu);
        for v in out.chunks_exact_mut(V::N) {
            V::load(v).mul(m).store(v);
        }
        for &([i, j, k], v) in entries {
            let v = V::splat(v);
            let [i, j, k] = [i, j, k].map(|n| n as usize * stride);
            let (to, a, b) = (&mut out[i..i + stride], &a[j..j + stride], &b[k..k + stride]);
            for ((to, a), b) in to.chunks_exact_mut(V::N).zip(a.chunks_exact(V::N)).zip(b.chunks_exact(V::N)) {
                V::load(a).mul(v).fma(V::load(b), V::load(to)).store(to);
            }
        }
    }
}

/// rows ← rows · system⁻¹ for a symmetric positive system, by its Cholesky factor, which takes its place (lower triangle).
struct Solve<'a> {
    /// (rank, stride)
    system: &'a mut [f64],
    /// (rows, stride)
    rows: &'a mut [f64],
    rank: usize,
    stride: usize,
    /// Pivots are no smaller: the proximal term bounds them from below, but for rounding.
    floor: f64,
}

impl Kernel<f64> for Solve<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { system, rows, rank, stride, floor } = self;
        for i in 0..rank {
            let (above, own) = system.split_at_mut(i * stride);
            for j in 0..i {
                let row = &above[j * stride..][..stride];
                own[j] = (own[j] - dot::<V>(&own[..j], &row[..j])) / row[j];
            }
            let pivot = own[i] - dot::<V>(&own[..i], &own[..i]);
            own[i] = (if pivot > floor { pivot } else { floor }).sqrt();
        }
        for x in rows.chunks_exact_mut(stride) {
            for j in 0..rank {
                let row = &system[j * stride..][..stride];
                x[j] = (x[j] - dot::<V>(&row[..j], &x[..j])) / row[j];
            }
            for j in (0..rank).rev() {
                let row = &system[j * stride..][..stride];
                x[j] /= row[j];
                let by = V::splat(x[j]);
                let (head, from) = (&mut x[..j], &row[..j]);
                let mut whole = head.chunks_exact_mut(V::N);
                let mut parts = from.chunks_exact(V::N);
                for (to, from) in (&mut whole).zip(&mut parts) {
                    by.neg_fma(V::load(from), V::load(to)).store(to);
                }
                let rest = whole.into_remainder();
                by.neg_fma(V::load_partial(parts.remainder()), V::load_partial(rest)).store_partial(rest);
            }
        }
    }
}

#[inline(always)]
fn dot<V: Lanes<f64>>(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = V::splat(0.0);
    let (mut left, mut right) = (a.chunks_exact(V::N), b.chunks_exact(V::N));
    for (a, b) in (&mut left).zip(&mut right) {
        sum = V::load(a).fma(V::load(b), sum);
    }
    V::load_partial(left.remainder()).fma(V::load_partial(right.remainder()), sum).sum()
}
