//! A few rows through the block and back, in buffers that stay in the cache.

use super::channel::{self, Packs};
use super::{Mix, Pdm, average};
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::linear::{Affine, act};
use crate::kernels::pieces::split;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::sums;
use crate::kernels::transpose::transpose;
use std::ops::Range;

/// Buffers of a group. The unit of the first few is (steps, lanes) with lanes = rows · width.
pub(super) struct Workspace<'a, T> {
    /// h, later dy and dh.
    h: &'a mut [T],
    season: &'a mut [T],
    trend: &'a mut [T],
    /// S + R, later its gradient and that of the season.
    mixed: &'a mut [T],
    trend_gradient: &'a mut [T],
    /// gelu of the hidden layers along time, (all hidden steps, lanes), and its slope.
    value: &'a mut [T],
    slope: &'a mut [T],
    /// (longest layer, lanes).
    inner: &'a mut [T],
    turned: &'a mut [T],
    /// Hidden features of a tile, twice.
    features: [&'a mut [T]; 2],
    average: &'a mut [T],
    packs: &'a Packs<T>,
}

impl<T: Real> Workspace<'_, T> {
    /// Runs `work` with buffers for groups of at most `rows` rows, whose contents are unspecified.
    pub(super) fn with(
        block: &Pdm<'_, T>,
        packs: &Packs<T>,
        rows: usize,
        backward: bool,
        work: impl FnOnce(&mut Workspace<'_, T>),
    ) {
        let lanes = rows * block.width;
        let mixes = || block.season.iter().chain(block.trend);
        let hidden: usize = mixes().map(|m| m.first.outputs).sum();
        let longest = mixes().map(|m| m.first.outputs.max(m.second.outputs).max(m.first.inputs)).max().unwrap_or(0);
        let steps = block.steps();
        let features = channel::TILE * block.channel.first.outputs;
        let also = |n: usize| if backward { n } else { 0 };
        let average = average::room::<T>(block.lengths.iter().copied().max().unwrap_or(0), block.window);
        let along_time =
            [steps, steps, steps, steps, also(steps), hidden, also(hidden), also(longest), also(longest)].map(|n| n * lanes);
        let others = [features, also(features), average];
        let all: usize = along_time.iter().chain(&others).sum();
        with_scratch(all, |buffer| {
            let (first, second) = buffer.split_at_mut(along_time.iter().sum());
            let [h, season, trend, mixed, trend_gradient, value, slope, inner, turned] = split(first, along_time);
            let [f1, f2, average] = split(second, others);
            let features = [f1, f2];
            work(&mut Workspace {
                h,
                season,
                trend,
                mixed,
                trend_gradient,
                value,
                slope,
                inner,
                turned,
                features,
                average,
                packs,
            });
        });
    }

    /// Season, trend, and their sum in `mixed`.
    fn mix(&mut self, block: &Pdm<'_, T>, rows: usize, h: &[T], backward: bool) {
        let lanes = rows * block.width;
        let all = block.steps() * lanes;
        reorder(h, rows, block.steps(), block.width, &mut self.h[..all]);
        for i in 0..block.lengths.len() {
            let part = at(block.scale(i), lanes);
            let (season, trend) = (&mut self.season[part.clone()], &mut self.trend[part.clone()]);
            average::decompose(&self.h[part], lanes, block.window, self.average, season, trend);
        }
        let mut layer = 0;
        for step in steps(block) {
            let x = if step.season { &mut *self.season } else { &mut *self.trend };
            let (from, to) = pair(x, at(step.from, lanes), at(step.to, lanes));
            let Mix { first, second } = step.mix;
            let part = at(layer..layer + first.outputs, lanes);
            layer += first.outputs;
            let value = &mut self.value[part.clone()];
            let x = MatRef::new(from, first.inputs, lanes);
            tile(first.column_start(), first.matrix(), x, MatMut::new(value, first.outputs, lanes));
            if backward {
                act::split(Activation::Gelu, value, &mut self.slope[part]);
            } else {
                act::apply(Activation::Gelu, value);
            }
            if let Some(bias) = second.bias {
                sums::add_to_rows(to, bias);
            }
            let x = MatRef::new(value, second.inputs, lanes);
            tile(Start::Current, second.matrix(), x, MatMut::new(to, second.outputs, lanes));
        }
        self.mixed[..all].copy_from_slice(&self.season[..all]);
        sums::add(&mut self.mixed[..all], &self.trend[..all]);
    }

    /// `h` and `y`: (rows, steps, width).
    pub(super) fn forward(&mut self, block: &Pdm<'_, T>, rows: usize, h: &[T], y: &mut [T]) {
        let all = block.steps() * rows * block.width;
        self.mix(block, rows, h, false);
        let added = &mut self.season[..all];
        channel::forward(&block.channel, self.packs, &self.mixed[..all], self.features[0], added);
        sums::add(added, &self.h[..all]);
        reorder(added, block.steps(), rows, block.width, y);
    }

    /// `h`, `dy` and `dh`: (rows, steps, width). Adds to `sums`, the gradients of all weights; those of matrices along time with more
    /// columns than rows are transposed, see [`settle`].
    pub(super) fn backward(
        &mut self,
        block: &Pdm<'_, T>,
        rows: usize,
        h: &[T],
        dy: &[T],
        dh: Option<&mut [T]>,
        sums: Option<&mut [T]>,
    ) {
        let lanes = rows * block.width;
        let all = block.steps() * lanes;
        self.mix(block, rows, h, true);
        reorder(dy, rows, block.steps(), block.width, &mut self.h[..all]);
        let mixes = || block.season.iter().chain(block.trend);
        let mut place: usize = mixes().flat_map(Mix::sizes).sum();
        let mut layer: usize = mixes().map(|m| m.first.outputs).sum();
        let (mut time_sums, channel_sums) = match sums {
            Some(sums) => {
                let (a, b) = sums.split_at_mut(place);
                (Some(a), Some(b))
            }
            None => (None, None),
        };
        let [hidden, inner] = &mut self.features;
        channel::backward(&block.channel, self.packs, &mut self.mixed[..all], &self.h[..all], [hidden, inner], channel_sums);
        self.trend_gradient[..all].copy_from_slice(&self.mixed[..all]);
        let steps: Vec<Step<'_, T>> = steps(block).collect();
        for step in steps.into_iter().rev() {
            let Mix { first, second } = step.mix;
            layer -= first.outputs;
            let part = at(layer..layer + first.outputs, lanes);
            let (x, g) = if step.season { (&*self.season, &mut *self.mixed) } else { (&*self.trend, &mut *self.trend_gradient) };
            let x = &x[at(step.from.clone(), lanes)];
            let (dx, dy) = pair(g, at(step.from, lanes), at(step.to, lanes));
            let inner = &mut self.inner[..part.len()];
            let value = &self.value[part.clone()];
            let sizes = step.mix.sizes();
            place -= sizes.iter().sum::<usize>();
            let mut sums = time_sums.as_deref_mut().map(|s| split(&mut s[place..], sizes));
            if let Some([_, _, dw2, db2]) = &mut sums {
                outer(dy, value, lanes, self.turned, dw2);
                sums::add_rows(dy, db2);
            }
            let g = MatRef::new(dy, second.outputs, lanes);
            tile(Start::Zero, second.matrix().t(), g, MatMut::new(inner, second.inputs, lanes));
            sums::mul(inner, &self.slope[part]);
            if let Some([dw1, db1, _, _]) = &mut sums {
                outer(inner, x, lanes, self.turned, dw1);
                sums::add_rows(inner, db1);
            }
            let g = MatRef::new(inner, first.outputs, lanes);
            tile(Start::Current, first.matrix().t(), g, MatMut::new(dx, first.inputs, lanes));
        }
        if let Some(dh) = dh {
            for i in 0..block.lengths.len() {
                let part = at(block.scale(i), lanes);
                let (season, trend) = (&self.mixed[part.clone()], &mut self.trend_gradient[part.clone()]);
                average::backward(&mut self.h[part], lanes, block.window, self.average, season, trend);
            }
            reorder(&self.h[..all], block.steps(), rows, block.width, dh);
        }
    }
}

/// From one scale to the next, in the order of the computation.
struct Step<'a, T> {
    mix: &'a Mix<'a, T>,
    season: bool,
    from: Range<usize>,
    to: Range<usize>,
}

fn steps<'a, T: Real>(block: &'a Pdm<'_, T>) -> impl Iterator<Item = Step<'a, T>> {
    let last = block.season.len();
    let season = block.season.iter().enumerate().map(|(i, mix)| (mix, true, i, i + 1));
    let trend = block.trend.iter().enumerate().map(move |(i, mix)| (mix, false, last - i, last - i - 1));
    season.chain(trend).map(|(mix, season, from, to)| Step { mix, season, from: block.scale(from), to: block.scale(to) })
}

/// The numbers of some steps.
fn at(steps: Range<usize>, lanes: usize) -> Range<usize> {
    steps.start * lanes..steps.end * lanes
}

/// Two parts that do not overlap.
fn pair<T>(x: &mut [T], a: Range<usize>, b: Range<usize>) -> (&mut [T], &mut [T]) {
    let [a, b] = x.get_disjoint_mut([a, b]).expect("different scales");
    (a, b)
}

/// Lines of `width` numbers from one order to another: line (a, b) of `to` is line (b, a) of `from`, which has `outer` lines b.
struct Reorder<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
    outer: usize,
    inner: usize,
    width: usize,
}

impl<T: Real> Kernel<T> for Reorder<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { from, to, outer, inner, width } = self;
        for b in 0..outer {
            let from = &from[b * inner * width..(b + 1) * inner * width];
            if width == V::N {
                for (a, line) in from.chunks_exact(V::N).enumerate() {
                    V::load(line).store(&mut to[(a * outer + b) * V::N..]);
                }
            } else {
                for (a, line) in from.chunks_exact(width).enumerate() {
                    to[(a * outer + b) * width..][..width].copy_from_slice(line);
                }
            }
        }
    }
}

/// (rows, steps, width) → (steps, rows, width), or the other way with `rows` and `steps` exchanged.
fn reorder<T: Real>(from: &[T], rows: usize, steps: usize, width: usize, to: &mut [T]) {
    assert!(from.len() == rows * steps * width && to.len() == from.len());
    dispatch(Reorder { from, to, outer: rows, inner: steps, width });
}

/// `dw += dy·xᵀ` for dy (m, lanes) and x (n, lanes). The register tile needs one of them transposed, which is done to the smaller one;
/// when that is dy, the transpose of dw is what is summed.
fn outer<T: Real>(dy: &[T], x: &[T], lanes: usize, turned: &mut [T], dw: &mut [T]) {
    let (m, n) = (dy.len() / lanes, x.len() / lanes);
    let (small, big) = if m < n { (dy, x) } else { (x, dy) };
    let (narrow, tall) = (m.min(n), m.max(n));
    let turned = &mut turned[..small.len()];
    transpose((small, lanes), (narrow, lanes), (turned, narrow));
    tile(Start::Current, MatRef::new(big, tall, lanes), MatRef::new(turned, lanes, narrow), MatMut::new(dw, tall, narrow));
}

/// Puts the gradient of a weight summed by [`outer`] the right way round.
pub(super) fn settle<T: Real>(affine: &Affine<'_, T>, dw: &mut [T]) {
    if affine.outputs < affine.inputs {
        let sum = dw.to_vec();
        transpose((&sum, affine.outputs), (affine.inputs, affine.outputs), (dw, affine.inputs));
    }
}
