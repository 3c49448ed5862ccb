//! Products of features that are coupled by a fixed tensor M (d, d, d), with weights: z = M(x ⊗ y) with channels, in five connection modes, three
//! forms and with gradients. Made for M of Clebsch-Gordan coefficients and equivariant features, d = (L + 1)².
//!
//! | mode | weights | output |
//! |---|---|---|
//! | uvu | (u, v) | `out[k, u] = Σ_v w[u, v] M(x_u ⊗ y_v)` |
//! | uvw | (u, v, w) | `out[k, w] = Σ_uv w[u, v, w] M(x_u ⊗ y_v)` |
//! | uuu | (u) | `out[k, u] = w[u] M(x_u ⊗ y_u)` |
//! | uuw | (u, w) | `out[k, w] = Σ_u w[u, w] M(x_u ⊗ y_u)` |
//! | uvv | (u, v) | `out[k, v] = Σ_u w[u, v] M(x_u ⊗ y_v)` |
//!
//! Every item of a batch (an edge) has weights of its own; one weight serves all paths (path-weight sharing). Features are (batch, d,
//! channels), channels fastest.
//!
//! | form | file | work with one y per edge | equivariant |
//! |---|---|---|---|
//! | exact | `sparse` | entries of M, channel by channel: 2 nnz u | exactly |
//! | per edge | `sparse` | the matrix N(y) = Σ_j y_j M[:, j, :], then N x: 2 nnz + 2 d² u | exactly |
//! | CP | `factors` | C((Aᵀx) ∘ (Bᵀy)): 4 R d u, or folded to a matrix per edge: 2 R d² + 2 d² u | as far as the factors are |
//!
//! With one weight for all paths, the exact forms take fewer operations than R = 7 L² factors in every mode up to L = 13 (3 nnz against
//! 6 R d a channel, nnz = 16, 137, 611, 2052, … 294 514 at L = 12), and with one y for many channels the per-edge matrix beats both once
//! d < 2 R. What factors gain is dense arithmetic, which runs up to three times as fast as sums over entries. The published speed-ups are
//! against products with a weight for every path: most of them come from sharing the weight.

pub mod counts;
mod factors;
mod lines;
mod modes;
pub mod reference;
mod sparse;

use crate::kernels::pieces::Plan;
use crate::kernels::simd::Real;
use factors::Factors;
use serde::{Deserialize, Serialize};
use sparse::Entries;
use std::str::FromStr;

/// How channels are connected; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Uvu,
    Uvw,
    Uuu,
    Uuw,
    Uvv,
}

/// All of them.
pub const MODES: [Mode; 5] = [Mode::Uvu, Mode::Uvw, Mode::Uuu, Mode::Uuw, Mode::Uvv];

/// What can be wrong with a mode or its channels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelsError {
    #[error("\"{0}\" is no connection mode, expected one of uvu, uvw, uuu, uuw, uvv")]
    UnknownMode(String),
    #[error("{0} is 0, expected at least 1")]
    Zero(&'static str),
    #[error("the number of channels of y is {v}, expected that of x, {u}, in mode {mode}")]
    Unequal { mode: Mode, u: usize, v: usize },
}

impl FromStr for Mode {
    type Err = ChannelsError;

    fn from_str(text: &str) -> Result<Self, ChannelsError> {
        MODES.into_iter().find(|m| m.to_string() == text).ok_or_else(|| ChannelsError::UnknownMode(text.to_string()))
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uvu => "uvu",
            Self::Uvw => "uvw",
            Self::Uuu => "uuu",
            Self::Uuw => "uuw",
            Self::Uvv => "uvv",
        })
    }
}

/// A mode with its numbers of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    pub mode: Mode,
    /// Of x.
    pub u: usize,
    /// Of y.
    pub v: usize,
    /// Of the output.
    pub out: usize,
}

impl Channels {
    /// `u` channels of x, `v` of y; `w` of the output for uvw and uuw, not read otherwise.
    ///
    /// # Errors
    /// A number of 0; `v` other than `u` where y has the channels of x.
    pub fn new(mode: Mode, u: usize, v: usize, w: usize) -> Result<Self, ChannelsError> {
        let out = match mode {
            Mode::Uvu | Mode::Uuu => u,
            Mode::Uvw | Mode::Uuw => w,
            Mode::Uvv => v,
        };
        for (what, n) in [("the number of channels of x", u), ("the number of channels of y", v), ("the number of outputs", out)]
        {
            if n == 0 {
                return Err(ChannelsError::Zero(what));
            }
        }
        if matches!(mode, Mode::Uuu | Mode::Uuw) && u != v {
            return Err(ChannelsError::Unequal { mode, u, v });
        }
        Ok(Self { mode, u, v, out })
    }

    /// Weights of one item.
    pub fn weights(&self) -> usize {
        match self.mode {
            Mode::Uvu | Mode::Uvv => self.u * self.v,
            Mode::Uvw => self.u * self.v * self.out,
            Mode::Uuu => self.u,
            Mode::Uuw => self.u * self.out,
        }
    }
}

/// What is multiplied: x (batch, d, u), y (batch, d, v), w (batch, weights).
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a, T> {
    pub x: &'a [T],
    pub y: &'a [T],
    pub w: &'a [T],
}

/// Where gradients go, each of the shape of its operand; `None` where none is wanted. They are written, not added to.
#[derive(Debug, Default)]
pub struct Gradients<'a, T> {
    pub x: Option<&'a mut [T]>,
    pub y: Option<&'a mut [T]>,
    pub w: Option<&'a mut [T]>,
    /// A, B, C of the CP form, (d, R) each; not touched by the exact forms, which have none.
    pub factors: [Option<&'a mut [T]>; 3],
}

/// A number of M that is not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub i: u32,
    pub j: u32,
    pub k: u32,
    pub value: f64,
}

/// How M is held.
enum Core<T> {
    Exact(Entries<T>),
    PerEdge(Entries<T>),
    Cp(Factors<T>),
}

/// Which of the three forms a product has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    Exact,
    PerEdge,
    Cp,
}

/// A product of features in one of the forms.
pub struct TensorProduct<T> {
    core: Core<T>,
    d: usize,
    entries: usize,
    rank: usize,
}

impl<T: Real> TensorProduct<T> {
    /// By the entries of M, (d, d, d). Panics when an index is not below d.
    pub fn exact(d: usize, entries: &[Entry]) -> Self {
        Self { core: Core::Exact(Entries::new(d, entries)), d, entries: entries.len(), rank: 0 }
    }

    /// By one matrix for every y. Where y has as many channels as the output a matrix would be used once: the entries are summed
    /// directly there, as in the exact form. Panics as [`exact`](Self::exact).
    pub fn per_edge(d: usize, entries: &[Entry]) -> Self {
        Self { core: Core::PerEdge(Entries::new(d, entries)), d, entries: entries.len(), rank: 0 }
    }

    /// By factors A, B, C of (d, R) each, R at least 1. Panics on other lengths.
    pub fn cp(d: usize, rank: usize, factors: [&[f64]; 3]) -> Self {
        assert!(rank > 0 && factors.iter().all(|f| f.len() == d * rank), "tensor product: factors of {d} x {rank}");
        Self { core: Core::Cp(Factors::new(d, rank, factors)), d, entries: 0, rank }
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// Terms of the CP form, 0 of the others.
    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn form(&self) -> Form {
        match self.core {
            Core::Exact(_) => Form::Exact,
            Core::PerEdge(_) => Form::PerEdge,
            Core::Cp(_) => Form::Cp,
        }
    }

    /// Other factors of the same shape, (d, R) in rows, for training them. Panics on other lengths or on an exact form.
    pub fn set_factors(&mut self, factors: [&[T]; 3]) {
        match &mut self.core {
            Core::Cp(own) => own.set(factors),
            _ => panic!("set_factors: the exact forms have none"),
        }
    }

    /// Floating-point operations of one item, forward.
    pub fn operations(&self, channels: &Channels) -> u64 {
        counts::forward(self.form(), channels, self.d, self.entries, self.rank)
    }

    /// The number of items. Panics on lengths that do not fit.
    fn batch(&self, c: &Channels, from: &Operands<'_, T>, out: usize) -> usize {
        let width = self.d * c.out;
        let batch = out / width;
        assert!(
            out == batch * width
                && from.x.len() == batch * self.d * c.u
                && from.y.len() == batch * self.d * c.v
                && from.w.len() == batch * c.weights(),
            "tensor product {}: {} x, {} y, {} w and {out} outputs do not fit d = {}, u = {}, v = {}, out = {}",
            c.mode,
            from.x.len(),
            from.y.len(),
            from.w.len(),
            self.d,
            c.u,
            c.v,
            c.out
        );
        batch
    }

    /// out (batch, d, outputs). Items are spread over the threads of the pool; an item's bits depend on nothing but itself.
    ///
    /// Panics on lengths that do not fit. Cost: [`operations`](Self::operations) per item; operands are read and the output is written
    /// once.
    pub fn forward(&self, channels: &Channels, from: Operands<'_, T>, out: &mut [T]) {
        let batch = self.batch(channels, &from, out.len());
        let plan = Plan::of_matrices(batch, self.operations(channels) as usize / 2, 0);
        plan.write(out, self.d * channels.out, |chunk, out| {
            for (item, out) in plan.rows_of(chunk).zip(out.chunks_exact_mut(self.d * channels.out)) {
                modes::forward(&self.core, self.d, channels, self.item(channels, &from, item), out);
            }
        });
    }

    /// Gradients from that of the output, (batch, d, outputs). What the forward pass had in between is computed again.
    ///
    /// Factor gradients are summed over items within chunks whose size depends on the problem alone, then over chunks in order: the same
    /// bits at any number of threads. Panics on lengths that do not fit. Cost: about three times the forward pass.
    pub fn backward(&self, channels: &Channels, from: Operands<'_, T>, gradient: &[T], to: Gradients<'_, T>) {
        let batch = self.batch(channels, &from, gradient.len());
        let (d, c) = (self.d, channels);
        let mut places = match self.core {
            Core::Cp(_) => to.factors,
            _ => [None, None, None],
        };
        let wanted = places.each_ref().map(Option::is_some);
        let size = if wanted.contains(&true) { 3 * d * self.rank } else { 0 };
        let plan = Plan::of_matrices(batch, 3 * self.operations(c) as usize / 2, size);
        let outs = [to.x.map(|x| (x, d * c.u)), to.y.map(|y| (y, d * c.v)), to.w.map(|w| (w, c.weights()))];
        plan.gather(outs, &mut places, |chunk, [mut dx, mut dy, mut dw], sums| {
            let mut rest = sums;
            let mut sums = wanted.map(|wanted| {
                let len = if wanted { d * self.rank } else { 0 };
                wanted.then(|| rest.split_off_mut(..len).expect("room for all factors"))
            });
            for (n, item) in plan.rows_of(chunk).enumerate() {
                let (x, y, w) = (part(&mut dx, n, d * c.u), part(&mut dy, n, d * c.v), part(&mut dw, n, c.weights()));
                let to = Gradients { x, y, w, factors: sums.each_mut().map(|s| s.as_deref_mut()) };
                modes::backward(&self.core, d, c, self.item(c, &from, item), &gradient[item * d * c.out..][..d * c.out], to);
            }
        });
    }

    fn item<'a>(&self, c: &Channels, from: &Operands<'a, T>, item: usize) -> Operands<'a, T> {
        let (x, y, w) = (self.d * c.u, self.d * c.v, c.weights());
        Operands { x: &from.x[item * x..][..x], y: &from.y[item * y..][..y], w: &from.w[item * w..][..w] }
    }
}

/// Part `n` of slices of `width` numbers.
fn part<'a, T>(of: &'a mut Option<&mut [T]>, n: usize, width: usize) -> Option<&'a mut [T]> {
    of.as_deref_mut().map(|of| &mut of[n * width..][..width])
}
