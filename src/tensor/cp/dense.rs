//! Dense tensors in sweeps.
//!
//! Memory: X is borrowed and never copied. Beside it lie the sweep's intermediate, `max(ΠI_A, ΠI_B) · R` numbers where A and B are the
//! leading and trailing modes (for 300 x 300 x 300 and R = 16: 1.4 M against 27 M), factors, and blocks of 65536 cells a thread: below
//! half of X whenever R is below half of the smaller side.

use super::CpError;
use super::cells::{Cells, squared_distance};
use super::data::{Equations, Mttkrp, SweepData, cast, peak, sum_over, unit};
use super::state::State;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::mttkrp::Sweep;
use crate::kernels::simd::Real;
use crate::tensor::data::Dense;

/// A dense tensor, all cells observed.
pub struct DenseData<'a, T: Real> {
    x: &'a Dense<T>,
    sweep: Sweep<T>,
    scale: f64,
    norm_sq: f64,
    out: Vec<T>,
}

impl<'a, T: Real> DenseData<'a, T> {
    pub fn new(x: &'a Dense<T>, rank: usize) -> Result<Self, CpError> {
        let scale = unit::<T>(peak(x.values(), None)?);
        let norm_sq = sum_over(x.values(), None, 1.0 / scale, |x| x * x);
        Ok(Self { x, sweep: Sweep::new(x.shape(), rank), scale, norm_sq, out: Vec::new() })
    }
}

/// MTTKRP of a dense tensor, in f64 and in units.
pub fn dense_mttkrp<T: Real>(
    sweep: &mut Sweep<T>,
    x: &Dense<T>,
    model: &State,
    mode: usize,
    inverse: f64,
    own: &mut Vec<T>,
    out: &mut [f64],
) {
    let factors = cast::<T>(model);
    let views: Vec<&[T]> = factors.iter().map(|f| &f[..]).collect();
    own.resize(out.len(), T::ZERO);
    sweep.mode(x.values(), &views, mode, own);
    out.iter_mut().zip(own.iter()).for_each(|(o, x)| *o = x.to_f64() * inverse);
}

/// X_(n) X_(n)ᵀ V by slices, X in units: one pass over X, 4 k ΠI operations. With a mask, cells that are not observed count as the value
/// beside it.
pub fn dense_gram_product<T: Real>(
    x: &Dense<T>,
    fill: Option<(&[bool], T)>,
    inverse: f64,
    mode: usize,
    v: &[f64],
    k: usize,
    out: &mut [f64],
) {
    let (shape, n) = (x.shape(), x.shape()[mode]);
    let (left, right) = (shape[..mode].iter().product::<usize>(), shape[mode + 1..].iter().product::<usize>());
    let own: Vec<T> = v.iter().map(|&a| T::from_f64(a)).collect();
    let v = MatRef::new(&own, n, k);
    let unit = T::from_f64(inverse);
    // Slices with many columns each, or (mode last) all rows of X at a time.
    let (slices, columns) = if right == 1 { (1, left) } else { (left, right) };
    let step = (1usize << 20).div_ceil(k.max(if fill.is_some() { n } else { 0 })).clamp(1, columns);
    let mut copy = Vec::new();
    let mut z = vec![T::ZERO; k * step];
    let mut sum = vec![T::ZERO; n * k];
    out.fill(0.0);
    for l in 0..slices {
        let slice = if right == 1 {
            MatRef::with_strides(x.values(), n, left, 1, n)
        } else {
            MatRef::new(&x.values()[l * n * right..], n, right)
        };
        for c in (0..columns).step_by(step) {
            let part = slice.col_range(c..columns.min(c + step));
            let part = match fill {
                None => part,
                Some((observed, value)) => {
                    copy.clear();
                    for i in 0..n {
                        for j in c..columns.min(c + step) {
                            let cell = if right == 1 { j * n + i } else { (l * n + i) * right + j };
                            copy.push(if observed[cell] { x.values()[cell] } else { value });
                        }
                    }
                    MatRef::new(&copy, n, part.cols())
                }
            };
            let z = &mut z[..k * part.cols()];
            matmul(v.t(), part, MatMut::new(z, k, part.cols()), false);
            z.iter_mut().for_each(|x| *x = *x * unit);
            matmul(part, MatRef::new(z, k, part.cols()).t(), MatMut::new(&mut sum, n, k), false);
            out.iter_mut().zip(&sum).for_each(|(o, s)| *o += s.to_f64() * inverse);
        }
    }
}

impl<T: Real> SweepData for DenseData<'_, T> {
    fn shape(&self) -> &[usize] {
        self.x.shape()
    }
    fn cells(&self) -> usize {
        self.x.values().len()
    }
    fn scale(&self) -> f64 {
        self.scale
    }
    fn norm_sq(&self) -> f64 {
        self.norm_sq
    }
    fn equations(&mut self) -> Equations<'_> {
        Equations::Shared(self)
    }
    fn residual_sq(&mut self, model: &State) -> f64 {
        let inverse = 1.0 / self.scale;
        let x = self.x.values();
        let cells = Cells::<T>::new(&model.weights, &model.factors);
        cells.map(|range, m| squared_distance(&x[range], inverse, m)).iter().sum()
    }
    fn trust_sums(&self, relative: f64) -> bool {
        // The sums cancel to about eps of the norm squared. In f64 that is 1e-16, seen once the relative error nears 1e-6 (fit > 1 - 1e-6);
        // in f32 it would show at every fit, as the sums themselves are in f32.
        size_of::<T>() == 8 && relative > 1e-12
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        dense_gram_product(self.x, None, 1.0 / self.scale, mode, v, k, out);
    }
}

impl<T: Real> Mttkrp for DenseData<'_, T> {
    fn mttkrp(&mut self, model: &State, mode: usize, out: &mut [f64]) {
        dense_mttkrp(&mut self.sweep, self.x, model, mode, 1.0 / self.scale, &mut self.out, out);
    }
}
