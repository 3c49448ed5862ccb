//! E and M sums over a block of rows.
//!
//! A block is a few dozen to a few hundred rows, so that what is made of it stays in the first or second cache: differences to a mean,
//! their product with a triangular factor, log-probabilities and responsibilities are never written to memory for all points.
//! Every number of a row depends on that row and the model alone, not on the block it is in, so fit and predict agree to the bit.

use super::factor::Factors;
use super::{Covariance, GmmModel};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile};
use crate::kernels::simd::{Kernel, Lanes, dispatch, math};

/// Columns of a triangular product that are made at once; rows of the factor below them are zero and left out.
const PANEL: usize = 16;

/// What the E step needs of a model.
pub struct Densities<'a> {
    covariance: Covariance,
    k: usize,
    d: usize,
    means: &'a [f64],
    roots: &'a [f64],
    /// (k): ln w + ln det P − d/2 · ln 2π.
    constants: Vec<f64>,
    /// Tied covariance: a point in the middle of the means, and the means from there, times P: (k, d).
    origin: Vec<f64>,
    turned: Vec<f64>,
    ones: Vec<f64>,
    /// Diag and spherical: (k, d) of 1/σ.
    scales: Vec<f64>,
}

/// Rows of a block for points of `d` columns: about 16 KiB of differences, within bounds that keep calls cheap and panels in the cache.
pub fn rows_of_block(d: usize) -> usize {
    (2048 / d / 8 * 8).clamp(64, 256)
}

/// Work space of a thread.
#[derive(Default)]
pub struct Scratch {
    /// (rows, d) each: differences, differences times a weight or a factor.
    difference: Vec<f64>,
    product: Vec<f64>,
    /// (k, rows): log-probabilities, then responsibilities.
    pub shares: Vec<f64>,
    /// (rows): log-densities.
    pub densities: Vec<f64>,
}

/// Sums of the M step over some rows.
#[derive(Debug, Clone)]
pub struct Sums {
    /// Σ log-density.
    pub log_likelihood: f64,
    /// (k): Σ r.
    pub counts: Vec<f64>,
    /// (k, d): Σ r (x − c), c being the component's mean that the sums were taken about.
    pub first: Vec<f64>,
    /// Full: (k, d, d) Σ r (x − c)(x − c)ᵀ, correct from the diagonal to the right. Diag and spherical: (k, d) Σ r (x − c)². Tied: none.
    pub second: Vec<f64>,
}

impl Sums {
    pub fn zero(covariance: Covariance, k: usize, d: usize) -> Self {
        Self {
            log_likelihood: 0.0,
            counts: vec![0.0; k],
            first: vec![0.0; k * d],
            second: vec![0.0; Self::second_len(covariance, k, d)],
        }
    }

    /// Numbers of `second`.
    pub fn second_len(covariance: Covariance, k: usize, d: usize) -> usize {
        match covariance {
            Covariance::Full => k * d * d,
            Covariance::Tied => 0,
            Covariance::Diag | Covariance::Spherical => k * d,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.log_likelihood += other.log_likelihood;
        for (to, from) in [(&mut self.counts, &other.counts), (&mut self.first, &other.first), (&mut self.second, &other.second)]
        {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}

impl<'a> Densities<'a> {
    pub fn new(model: &'a GmmModel, factors: &'a Factors) -> Self {
        let (k, d) = (model.k(), model.d());
        let constants = (0..k)
            .map(|c| model.weights[c].ln() + factors.log_determinants[c] - 0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln())
            .collect();
        let (mut origin, mut turned, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        match model.covariance {
            Covariance::Full => {}
            Covariance::Tied => {
                origin = vec![0.0; d];
                for mean in model.means.chunks_exact(d) {
                    origin.iter_mut().zip(mean).for_each(|(to, m)| *to += m / k as f64);
                }
                let mut from_origin = vec![0.0; k * d];
                dispatch(Differences { x: &model.means, centre: &origin, out: &mut from_origin });
                turned = vec![0.0; k * d];
                triangular(&from_origin, &factors.roots, k, d, &mut turned);
            }
            Covariance::Diag => scales = factors.roots.clone(),
            Covariance::Spherical => scales = factors.roots.iter().flat_map(|&r| std::iter::repeat_n(r, d)).collect(),
        }
        Self {
            covariance: model.covariance,
            k,
            d,
            means: &model.means,
            roots: &factors.roots,
            constants,
            origin,
            turned,
            ones: vec![1.0; d],
            scales,
        }
    }

    /// Log-probabilities ln w_c + ln N(x; c) of the rows of `x` into `scratch.shares`, (k, rows).
    pub fn log_probabilities(&self, x: &[f64], scratch: &mut Scratch) {
        let (k, d) = (self.k, self.d);
        let rows = x.len() / d;
        scratch.shares.resize(k * rows, 0.0);
        scratch.difference.resize(rows * d, 0.0);
        scratch.product.resize(rows * d, 0.0);
        if self.covariance == Covariance::Tied {
            dispatch(Differences { x, centre: &self.origin, out: &mut scratch.difference });
            triangular(&scratch.difference, self.roots, rows, d, &mut scratch.product);
        }
        for (c, out) in scratch.shares.chunks_exact_mut(rows).enumerate() {
            let mean = &self.means[c * d..(c + 1) * d];
            match self.covariance {
                Covariance::Full => {
                    dispatch(Differences { x, centre: mean, out: &mut scratch.difference });
                    triangular(&scratch.difference, &self.roots[c * d * d..(c + 1) * d * d], rows, d, &mut scratch.product);
                    dispatch(Norms::<false> {
                        x: &scratch.product,
                        centre: &[],
                        scale: &[],
                        width: d,
                        constant: self.constants[c],
                        out,
                    });
                }
                Covariance::Tied => {
                    let centre = &self.turned[c * d..(c + 1) * d];
                    dispatch(Norms::<true> {
                        x: &scratch.product,
                        centre,
                        scale: &self.ones,
                        width: d,
                        constant: self.constants[c],
                        out,
                    });
                }
                Covariance::Diag | Covariance::Spherical => {
                    let scale = &self.scales[c * d..(c + 1) * d];
                    dispatch(Norms::<true> { x, centre: mean, scale, width: d, constant: self.constants[c], out });
                }
            }
        }
    }

    /// Log-densities and responsibilities of the rows of `x` into `scratch.densities` and `scratch.shares`.
    pub fn responsibilities(&self, x: &[f64], scratch: &mut Scratch) {
        self.log_probabilities(x, scratch);
        scratch.densities.resize(x.len() / self.d, 0.0);
        dispatch(Normalise { shares: &mut scratch.shares, out: &mut scratch.densities, k: self.k });
    }
}

/// Adds to `sums` the rows of `x`, which belong to the components by `scratch.shares`, (k, rows). Sums are taken about `centres`, (k, d).
pub fn accumulate(covariance: Covariance, x: &[f64], centres: &[f64], scratch: &mut Scratch, sums: &mut Sums) {
    let d = centres.len() / sums.counts.len();
    let rows = x.len() / d;
    let Scratch { difference, product, shares, .. } = scratch;
    difference.resize(rows * d, 0.0);
    product.resize(rows * d, 0.0);
    for (c, share) in shares.chunks_exact(rows).enumerate() {
        sums.counts[c] += share.iter().sum::<f64>();
        let (centre, first) = (&centres[c * d..(c + 1) * d], &mut sums.first[c * d..(c + 1) * d]);
        match covariance {
            Covariance::Full => {
                dispatch(Weighted { x, centre, share, difference, product, first });
                let second = &mut sums.second[c * d * d..(c + 1) * d * d];
                let (z, rz) = (MatRef::new(difference, rows, d), MatRef::new(product, rows, d));
                for from in (0..d).step_by(PANEL) {
                    let to = d.min(from + PANEL);
                    let out = MatMut::new(second, d, d).row_range(0..to).col_range(from..to);
                    tile(Start::Current, rz.t().row_range(0..to), z.col_range(from..to), out);
                }
            }
            Covariance::Tied => dispatch(Moments { x, centre, share, first, second: None }),
            Covariance::Diag | Covariance::Spherical => {
                let second = Some(&mut sums.second[c * d..(c + 1) * d]);
                dispatch(Moments { x, centre, share, first, second });
            }
        }
    }
}

/// `out` (rows, d) = `x` (rows, d) · `p` (d, d), upper triangular.
fn triangular(x: &[f64], p: &[f64], rows: usize, d: usize, out: &mut [f64]) {
    for from in (0..d).step_by(PANEL) {
        let to = d.min(from + PANEL);
        let panel = MatRef::new(p, d, d).row_range(0..to).col_range(from..to);
        tile(Start::Zero, MatRef::new(x, rows, d).col_range(0..to), panel, MatMut::new(out, rows, d).col_range(from..to));
    }
}

/// `out` = rows of `x` − `centre`.
struct Differences<'a> {
    x: &'a [f64],
    centre: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel<f64> for Differences<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.centre.len();
        for (x, out) in self.x.chunks_exact(d).zip(self.out.chunks_exact_mut(d)) {
            let mut j = 0;
            while j < d {
                let end = d.min(j + V::N);
                V::load_partial(&x[j..end]).sub(V::load_partial(&self.centre[j..end])).store_partial(&mut out[j..end]);
                j = end;
            }
        }
    }
}

/// `out` = `constant` − ½ Σ_j ((x_j − centre_j) · scale_j)² of each row; without centre and scale when not `SHIFTED`.
struct Norms<'a, const SHIFTED: bool> {
    x: &'a [f64],
    centre: &'a [f64],
    scale: &'a [f64],
    width: usize,
    constant: f64,
    out: &'a mut [f64],
}

impl<const SHIFTED: bool> Norms<'_, SHIFTED> {
    #[inline(always)]
    fn row<V: Lanes<f64>>(&self, i: usize) -> V {
        let row = &self.x[i * self.width..(i + 1) * self.width];
        let mut sum = V::splat(0.0);
        let mut j = 0;
        while j < self.width {
            let end = self.width.min(j + V::N);
            let mut z = V::load_partial(&row[j..end]);
            if SHIFTED {
                z = z.sub(V::load_partial(&self.centre[j..end])).mul(V::load_partial(&self.scale[j..end]));
            }
            sum = z.fma(z, sum);
            j = end;
        }
        sum
    }
}

impl<const SHIFTED: bool> Kernel<f64> for Norms<'_, SHIFTED> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let rows = self.out.len();
        let (half, constant) = (V::splat(0.5), V::splat(self.constant));
        let mut each = [0.0; 64];
        let mut i = 0;
        while i < rows {
            let end = rows.min(i + V::N);
            for r in i..end {
                self.row::<V>(r).store(&mut each[(r - i) * V::N..]);
            }
            V::sums(&each).neg_fma(half, constant).store_partial(&mut self.out[i..end]);
            i = end;
        }
    }
}

/// Log-probabilities (k, rows) into responsibilities, and their log-sum-exp of each row into `out`.
struct Normalise<'a> {
    shares: &'a mut [f64],
    out: &'a mut [f64],
    k: usize,
}

impl Kernel<f64> for Normalise<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let rows = self.out.len();
        let mut i = 0;
        while i < rows {
            let end = rows.min(i + V::N);
            let mut most = V::load_partial(&self.shares[i..end]);
            for c in 1..self.k {
                most = most.max(V::load_partial(&self.shares[c * rows + i..c * rows + end]));
            }
            let mut total = V::splat(0.0);
            for c in 0..self.k {
                let at = &mut self.shares[c * rows + i..c * rows + end];
                let share = math::exp::<f64, V>(V::load_partial(at).sub(most));
                share.store_partial(at);
                total = total.add(share);
            }
            // At least 1: the largest term is exp(0).
            let inverse = V::splat(1.0).div(total);
            for c in 0..self.k {
                let at = &mut self.shares[c * rows + i..c * rows + end];
                V::load_partial(at).mul(inverse).store_partial(at);
            }
            most.add(math::log::<f64, V>(total)).store_partial(&mut self.out[i..end]);
            i = end;
        }
    }
}

/// Differences to a centre, the same times the shares, and their sum onto `first`.
struct Weighted<'a> {
    x: &'a [f64],
    centre: &'a [f64],
    share: &'a [f64],
    difference: &'a mut [f64],
    product: &'a mut [f64],
    first: &'a mut [f64],
}

impl Kernel<f64> for Weighted<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.centre.len();
        let mut j = 0;
        while j < d {
            let end = d.min(j + V::N);
            let centre = V::load_partial(&self.centre[j..end]);
            let mut sum = V::load_partial(&self.first[j..end]);
            for (i, &share) in self.share.iter().enumerate() {
                let (from, to) = (i * d + j, i * d + end);
                let z = V::load_partial(&self.x[from..to]).sub(centre);
                let rz = z.mul(V::splat(share));
                z.store_partial(&mut self.difference[from..to]);
                rz.store_partial(&mut self.product[from..to]);
                sum = sum.add(rz);
            }
            sum.store_partial(&mut self.first[j..end]);
            j = end;
        }
    }
}

/// Σ r (x − c) and Σ r (x − c)² of each column, onto `first` and `second`.
struct Moments<'a> {
    x: &'a [f64],
    centre: &'a [f64],
    share: &'a [f64],
    first: &'a mut [f64],
    second: Option<&'a mut [f64]>,
}

impl Kernel<f64> for Moments<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(mut self) {
        let d = self.centre.len();
        let mut j = 0;
        while j < d {
            let end = d.min(j + V::N);
            let centre = V::load_partial(&self.centre[j..end]);
            let mut sum = V::load_partial(&self.first[j..end]);
            let mut squares = V::splat(0.0);
            for (i, &share) in self.share.iter().enumerate() {
                let z = V::load_partial(&self.x[i * d + j..i * d + end]).sub(centre);
                let rz = z.mul(V::splat(share));
                sum = sum.add(rz);
                squares = rz.fma(z, squares);
            }
            sum.store_partial(&mut self.first[j..end]);
            if let Some(second) = self.second.as_deref_mut() {
                let at = &mut second[j..end];
                V::load_partial(at).add(squares).store_partial(at);
            }
            j = end;
        }
    }
}
