//! Sparse tensors whose absent cells are zero, in sweeps.
//!
//! Memory beside the caller's coordinate arrays: what the plan of the MTTKRP holds ([`SparsePlan::of`]: twice the arrays at most when they
//! are [arranged](Sparse::arranged), else three times), and for an SVD start one order of the numbers at a time, which is dropped after it.

use rayon::prelude::*;

use super::CpError;
use super::data::{Equations, Mttkrp, SweepData, cast, peak, sum_over, unit};
use super::state::State;
use crate::kernels::mttkrp::sparse::SparsePlan;
use crate::kernels::simd::Real;
use crate::tensor::data::Sparse;

/// Numbers that one task sums.
const PIECE: usize = 1 << 13;

/// Σ f(value in units, x̂) over the listed cells, in pieces added in order.
pub fn sum_with_model<T: Real>(x: &Sparse<T>, inverse: f64, model: &State, f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
    let rank = model.rank();
    let sums: Vec<f64> = (0..x.len().div_ceil(PIECE))
        .into_par_iter()
        .map_init(
            || vec![0.0f64; rank],
            |p, piece| {
                let mut sum = 0.0;
                for k in piece * PIECE..x.len().min((piece + 1) * PIECE) {
                    p.copy_from_slice(&model.weights);
                    for (mode, factor) in model.factors.iter().enumerate() {
                        p.iter_mut().zip(factor.row(x.indices(mode)[k] as usize)).for_each(|(p, u)| *p *= u);
                    }
                    sum += f(x.values()[k].to_f64() * inverse, p.iter().sum());
                }
                sum
            },
        )
        .collect();
    sums.iter().sum()
}

/// ‖X − X̂‖² when absent cells are zero: over the listed cells, and the model's sum of squares over the others as a difference. That cancels to
/// about 1e-16 of the squared norm, so a fit above 1 - 1e-8 is not told apart from 1.
pub fn sparse_residual_sq<T: Real>(x: &Sparse<T>, inverse: f64, model: &State) -> f64 {
    let listed = sum_with_model(x, inverse, model, |x, m| (x - m) * (x - m));
    let inside = sum_with_model(x, inverse, model, |_, m| m * m);
    listed + (model.norm_sq() - inside).max(0.0)
}

/// The numbers of a sparse tensor in the order of the fibres along one mode.
pub struct Fibres {
    mode: usize,
    order: Vec<u32>,
    /// First number of every fibre, and the end.
    starts: Vec<u32>,
}

impl Fibres {
    fn new<T: Real>(x: &Sparse<T>, mode: usize) -> Self {
        let key = |k: u32| (0..x.order()).filter(move |&m| m != mode).map(move |m| x.indices(m)[k as usize]);
        let mut order: Vec<u32> = (0..x.len() as u32).collect();
        // Ties in the order of the list: nothing depends on the sort.
        order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then(a.cmp(&b)));
        let mut starts = vec![0];
        starts.extend((1..order.len()).filter(|&k| key(order[k - 1]).ne(key(order[k]))).map(|k| k as u32));
        starts.push(order.len() as u32);
        Self { mode, order, starts }
    }

    /// S Sᵀ V for the unfolding S (values minus `shift`, in units), a fibre at a time.
    pub fn gram_product<T: Real>(
        held: &mut Option<Self>,
        x: &Sparse<T>,
        mode: usize,
        value: (f64, f64),
        v: &[f64],
        k: usize,
        out: &mut [f64],
    ) {
        if held.as_ref().is_none_or(|f| f.mode != mode) {
            *held = Some(Self::new(x, mode));
        }
        let Some(fibres) = held else { return };
        let (inverse, shift) = value;
        let index = x.indices(mode);
        let mut y = vec![0.0; k];
        out.fill(0.0);
        for span in fibres.starts.windows(2) {
            let numbers = &fibres.order[span[0] as usize..span[1] as usize];
            y.fill(0.0);
            for &e in numbers {
                let (i, value) = (index[e as usize] as usize, x.values()[e as usize].to_f64() * inverse - shift);
                y.iter_mut().zip(&v[i * k..]).for_each(|(y, v)| *y += value * v);
            }
            for &e in numbers {
                let (i, value) = (index[e as usize] as usize, x.values()[e as usize].to_f64() * inverse - shift);
                out[i * k..(i + 1) * k].iter_mut().zip(&y).for_each(|(o, y)| *o += value * y);
            }
        }
    }
}

/// A sparse tensor, absent cells zero.
pub struct SparseData<'a, T: Real> {
    x: &'a Sparse<T>,
    plan: SparsePlan<'a, T>,
    scale: f64,
    norm_sq: f64,
    out: Vec<T>,
    fibres: Option<Fibres>,
}

impl<'a, T: Real> SparseData<'a, T> {
    pub fn new(x: &'a Sparse<T>) -> Result<Self, CpError> {
        let scale = unit::<T>(peak(x.values(), None)?);
        let norm_sq = sum_over(x.values(), None, 1.0 / scale, |x| x * x);
        let indices: Vec<&[u32]> = (0..x.order()).map(|m| x.indices(m)).collect();
        let plan = SparsePlan::of(x.shape(), &indices, x.values());
        Ok(Self { x, plan, scale, norm_sq, out: Vec::new(), fibres: None })
    }
}

impl<T: Real> SweepData for SparseData<'_, T> {
    fn shape(&self) -> &[usize] {
        self.x.shape()
    }
    fn cells(&self) -> usize {
        self.x.shape().iter().fold(1usize, |p, &n| p.saturating_mul(n))
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
        sparse_residual_sq(self.x, 1.0 / self.scale, model)
    }
    fn trust_sums(&self, relative: f64) -> bool {
        size_of::<T>() == 8 && relative > 1e-12
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        Fibres::gram_product(&mut self.fibres, self.x, mode, (1.0 / self.scale, 0.0), v, k, out);
    }
}

impl<T: Real> Mttkrp for SparseData<'_, T> {
    fn mttkrp(&mut self, model: &State, mode: usize, out: &mut [f64]) {
        let factors = cast::<T>(model);
        let views: Vec<&[T]> = factors.iter().map(|f| &f[..]).collect();
        self.out.resize(out.len(), T::ZERO);
        self.plan.mttkrp(&views, model.rank(), mode, &mut self.out);
        let inverse = 1.0 / self.scale;
        out.iter_mut().zip(&self.out).for_each(|(o, x)| *o = x.to_f64() * inverse);
    }
}
