//! One past-decomposable-mixing block of TimeMixer, fused: channel-independent form, moving-average decomposition.
//!
//! A hidden state is (rows, steps, width): for each row the scales one after the other, finest first, `steps` = Σ T_i, features last.
//! For each row and feature, with the moving average M_i over the steps of scale i:
//!
//! * trend_i = M_i h_i, season_i = h_i − trend_i;
//! * season, fine to coarse: S_0 = season_0, S_{i+1} = season_{i+1} + W₂·gelu(W₁·S_i + b₁) + b₂;
//! * trend, coarse to fine: R_M = trend_M, R_i = trend_i + V₂·gelu(V₁·R_{i+1} + c₁) + c₂;
//! * over the features of each step: y = h + C₂·gelu(C₁·(S + R) + e₁) + e₂.
//!
//! # How
//! A few rows at a time are laid out as (steps, rows · width): then a map along time is a product W·X with X read in place, a map
//! over features is a product of the same numbers seen as (steps · rows, width), and the moving average adds vectors. All that
//! belongs to such a group stays in the second-level cache; memory sees one read of h and one write of y forward, and one read of h
//! and dy and one write of dh backward. The backward pass saves nothing and computes the forward pass of a group again.
//!
//! # Cost
//! Multiply-adds per row forward: width · Σ (T_a T_b + T_b²) over the 2M steps between scales, plus 2 · width · hidden · steps;
//! backward three times the first (again, dx, dW) and five halves of the second.
//!
//! # Source
//! Wang et al., TimeMixer, ICLR 2024 (arXiv 2405.14616), equations 4 to 6.

mod average;
mod channel;
mod embed;
mod group;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use super::linear::Affine;
use super::pieces::{Plan, split};
use crate::kernels::simd::Real;
use channel::Packs;
pub use embed::Embed;
use group::Workspace;
use std::ops::Range;

/// Two affine maps with a GELU between them.
#[derive(Clone, Copy, Debug)]
pub struct Mix<'a, T> {
    pub first: Affine<'a, T>,
    pub second: Affine<'a, T>,
}

/// A block; see the module's description.
#[derive(Clone, Copy, Debug)]
pub struct Pdm<'a, T> {
    /// Steps of every scale, finest first; none is 0.
    pub lengths: &'a [usize],
    /// Features of a step.
    pub width: usize,
    /// Steps of the moving average, odd.
    pub window: usize,
    /// From scale i to i + 1.
    pub season: &'a [Mix<'a, T>],
    /// In the order they are applied: from scale M − i to M − i − 1.
    pub trend: &'a [Mix<'a, T>],
    /// Over the features.
    pub channel: Mix<'a, T>,
}

/// Lanes of a group, about.
const GROUP_LANES: usize = 80;
/// Chunks at most: their gradients are larger than those of a single layer.
const CHUNKS: usize = 32;

const OP: &str = "pdm";

impl<T: Real> Mix<'_, T> {
    fn check(&self, inputs: usize, outputs: usize) {
        self.first.check(OP);
        self.second.check(OP);
        assert!(self.first.inputs == inputs && self.second.outputs == outputs, "{OP}: a step from {inputs} to {outputs} numbers");
        assert_eq!(self.first.outputs, self.second.inputs, "{OP}: the hidden widths differ");
    }

    /// Numbers of its gradients: W₁, b₁, W₂, b₂.
    fn sizes(&self) -> [usize; 4] {
        [self.first.weight.len(), self.first.outputs, self.second.weight.len(), self.second.outputs]
    }

    /// Multiply-adds for one column.
    fn work(&self) -> usize {
        self.first.weight.len() + self.second.weight.len()
    }
}

impl<T: Real> Pdm<'_, T> {
    /// All steps of a row.
    pub fn steps(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The places of a scale among the steps.
    fn scale(&self, i: usize) -> Range<usize> {
        let start: usize = self.lengths[..i].iter().sum();
        start..start + self.lengths[i]
    }

    /// Panics when sizes do not fit; gives the rows.
    fn check(&self, h: usize) -> usize {
        let row = self.steps() * self.width;
        assert!(self.window % 2 == 1, "{OP}: the moving average takes {} steps, expected an odd number", self.window);
        assert!(!self.lengths.contains(&0), "{OP}: a scale without steps");
        let coarser = self.lengths.len().saturating_sub(1);
        assert!(self.season.len() == coarser && self.trend.len() == coarser, "{OP}: {coarser} steps between scales");
        for (i, t) in self.lengths.windows(2).enumerate() {
            self.season[i].check(t[0], t[1]);
            self.trend[coarser - 1 - i].check(t[1], t[0]);
        }
        self.channel.check(self.width, self.width);
        let rows = h.checked_div(row).unwrap_or(0);
        assert_eq!(rows * row, h, "{OP}: rows of {row} numbers");
        rows
    }

    fn mixes(&self) -> impl Iterator<Item = &Mix<'_, T>> {
        self.season.iter().chain(self.trend).chain([&self.channel])
    }

    /// Lengths of the gradients in the order they are laid out in: W₁, b₁, W₂, b₂ of each season step, each trend step, the map over
    /// features.
    pub fn gradient_sizes(&self) -> Vec<usize> {
        self.mixes().flat_map(Mix::sizes).collect()
    }

    fn plan(&self, rows: usize, partial: usize) -> Plan {
        let along_time: usize = self.season.iter().chain(self.trend).map(Mix::work).sum();
        let work = 2 * (self.width * along_time + self.steps() * self.channel.work());
        // An odd number of rows: lines of memory an odd number of vectors apart share few sets of the cache.
        let group = (GROUP_LANES / self.width.max(1)).max(1);
        Plan::of_tiles(rows, group, work, partial, CHUNKS)
    }

    /// Writes y, as long as h. Panics when sizes do not fit.
    pub fn forward(&self, h: &[T], y: &mut [T]) {
        let rows = self.check(h.len());
        assert_eq!(h.len(), y.len(), "{OP}: the result is as long as the input");
        let plan = self.plan(rows, 0);
        let row = self.steps() * self.width;
        let packs = Packs::new(&self.channel);
        plan.write(y, row, |c, y| {
            let h = &h[plan.rows_of(c).start * row..];
            Workspace::with(self, &packs, plan.tile, false, |space| {
                for rows in plan.tiles(c) {
                    let range = rows.start * row..rows.end * row;
                    space.forward(self, rows.len(), &h[range.clone()], &mut y[range]);
                }
            });
        });
    }

    /// From h and dy: writes dh if wanted, and the gradients of all weights and biases if wanted, one after the other as
    /// [`gradient_sizes`](Self::gradient_sizes) says. Panics when sizes do not fit.
    pub fn backward(&self, h: &[T], dy: &[T], dh: Option<&mut [T]>, gradients: Option<&mut [T]>) {
        let rows = self.check(h.len());
        assert_eq!(h.len(), dy.len(), "{OP}: the gradient is as long as the input");
        let total: usize = self.gradient_sizes().iter().sum();
        assert!(gradients.as_ref().is_none_or(|g| g.len() == total), "{OP}: {total} numbers of gradients");
        let wanted = gradients.is_some();
        let plan = self.plan(rows, if wanted { total } else { 0 });
        let row = self.steps() * self.width;
        let packs = Packs::new(&self.channel);
        let mut places = [gradients];
        plan.gather([dh.map(|dh| (dh, row))], &mut places, |c, [mut dh], sums| {
            let start = plan.rows_of(c).start * row;
            let (h, dy) = (&h[start..], &dy[start..]);
            Workspace::with(self, &packs, plan.tile, true, |space| {
                for rows in plan.tiles(c) {
                    let range = rows.start * row..rows.end * row;
                    let dh = dh.as_deref_mut().map(|dh| &mut dh[range.clone()]);
                    space.backward(self, rows.len(), &h[range.clone()], &dy[range.clone()], dh, wanted.then_some(&mut *sums));
                }
            });
        });
        if let [Some(gradients)] = places {
            let mut rest = &mut gradients[..];
            for mix in self.season.iter().chain(self.trend) {
                let sizes = mix.sizes();
                let (part, tail) = rest.split_at_mut(sizes.iter().sum());
                rest = tail;
                let [w1, _, w2, _] = split(part, sizes);
                group::settle(&mix.first, w1);
                group::settle(&mix.second, w2);
            }
        }
    }
}
