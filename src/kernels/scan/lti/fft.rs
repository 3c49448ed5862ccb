//! Fourier transforms of powers of two, a vector of channels at a time.
//!
//! Index k of a transform is a pair of vectors, real and imaginary parts, so that no number crosses lanes. The forward transform takes
//! its input in order and leaves the frequencies in the order of its stages; the inverse takes them so: between the two, products of
//! spectra need no order. Stages of radix 4, depth first: below [`GROUP`] points everything happens in the first-level cache.
//!
//! Cost: 28 operations for four points and stage, 7·M·log₂(M)/2 for each lane.

use super::complex::Pair;
use super::modes::root_of_unity;
use crate::kernels::simd::{Lanes, Real};

/// Points that are transformed in one go.
const GROUP: usize = 128;

/// Sizes and factors of the stages.
#[derive(Debug, Clone)]
pub(super) struct Plan<T> {
    size: usize,
    stages: Vec<Stage<T>>,
    /// The first stage that stays inside a group.
    inner: usize,
}

#[derive(Debug, Clone)]
struct Stage<T> {
    /// Points of its blocks.
    points: usize,
    /// For every place j of a quarter: e^(−2πij/points), its square and its cube. Empty for the last stage of radix 2.
    factors: Vec<[T; 6]>,
}

/// Multiply-adds, or the time of as many, of a transform of `size` points, in each lane.
pub(super) fn cost(size: usize) -> f64 {
    // Beyond the second-level cache.
    let slower = if size > 4096 { 1.5 } else { 1.0 };
    4.5 * slower * size as f64 * (size.max(2) as f64).log2()
}

impl<T: Real> Plan<T> {
    /// For `size` points, a power of two.
    pub(super) fn new(size: usize) -> Self {
        debug_assert!(size.is_power_of_two());
        let mut stages = Vec::new();
        let mut points = size;
        while points > 1 {
            let quarter = if points == 2 { 0 } else { points / 4 };
            let factor = |j: usize| {
                let mut f = [T::ZERO; 6];
                for k in 0..3 {
                    let (cos, sin) = root_of_unity(j * (k + 1), points);
                    (f[2 * k], f[2 * k + 1]) = (T::from_f64(cos), T::from_f64(-sin));
                }
                f
            };
            stages.push(Stage { points, factors: (0..quarter).map(factor).collect() });
            points /= if points == 2 { 2 } else { 4 };
        }
        let inner = stages.iter().position(|s| s.points <= GROUP).unwrap_or(stages.len());
        Self { size, stages, inner }
    }

    /// Numbers of a transform.
    pub(super) fn len(&self) -> usize {
        2 * self.size * T::LANES
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn group(&self) -> usize {
        self.stages.get(self.inner).map_or(self.size, |s| s.points)
    }

    /// In place. With `half`, the second half of the input is taken as zeros, whatever it holds.
    #[inline(always)]
    pub(super) fn forward<V: Lanes<T>>(&self, data: &mut [T], half: bool) {
        let group = self.group();
        let mut block = 0;
        while block < self.size {
            for (level, stage) in self.stages.iter().enumerate() {
                let half = half && level == 0 && self.size > 2;
                if level < self.inner {
                    if block.is_multiple_of(stage.points) {
                        forward_stage::<T, V>(stage, half, points_mut::<T, V>(data, block, stage.points));
                    }
                } else {
                    for data in points_mut::<T, V>(data, block, group).chunks_exact_mut(2 * stage.points * V::N) {
                        forward_stage::<T, V>(stage, half, data);
                    }
                }
            }
            block += group;
        }
    }

    /// In place; `size` times the inverse. With `half`, the second half of the result is not computed.
    #[inline(always)]
    pub(super) fn inverse<V: Lanes<T>>(&self, data: &mut [T], half: bool) {
        let group = self.group();
        let mut block = 0;
        while block < self.size {
            let end = block + group;
            for (level, stage) in self.stages.iter().enumerate().rev() {
                let half = half && level == 0 && self.size > 2;
                if level < self.inner {
                    if end.is_multiple_of(stage.points) {
                        inverse_stage::<T, V>(stage, half, points_mut::<T, V>(data, end - stage.points, stage.points));
                    }
                } else {
                    for data in points_mut::<T, V>(data, block, group).chunks_exact_mut(2 * stage.points * V::N) {
                        inverse_stage::<T, V>(stage, half, data);
                    }
                }
            }
            block = end;
        }
    }
}

#[inline(always)]
fn points_mut<T: Real, V: Lanes<T>>(data: &mut [T], first: usize, count: usize) -> &mut [T] {
    &mut data[2 * first * V::N..2 * (first + count) * V::N]
}

#[inline(always)]
fn factor<T: Real, V: Lanes<T>>(re: T, im: T) -> Pair<V> {
    Pair::new(V::splat(re), V::splat(im))
}

/// i·z.
#[inline(always)]
fn quarter_turn<T: Real, V: Lanes<T>>(z: Pair<V>) -> Pair<V> {
    Pair::new(z.im.neg(), z.re)
}

#[inline(always)]
fn two<T: Real, V: Lanes<T>>(data: &mut [T]) {
    let (a, b) = data.split_at_mut(2 * V::N);
    let (x, y) = (Pair::<V>::load_pair(a), Pair::<V>::load_pair(b));
    x.add(y).store_pair(a);
    x.sub(y).store_pair(b);
}

#[inline(always)]
fn forward_stage<T: Real, V: Lanes<T>>(stage: &Stage<T>, half: bool, data: &mut [T]) {
    if stage.points == 2 {
        return two::<T, V>(data);
    }
    let width = 2 * V::N;
    let quarter = stage.points / 4 * width;
    let (left, right) = data.split_at_mut(2 * quarter);
    let ((a, b), (c, d)) = (left.split_at_mut(quarter), right.split_at_mut(quarter));
    let places =
        a.chunks_exact_mut(width).zip(b.chunks_exact_mut(width)).zip(c.chunks_exact_mut(width).zip(d.chunks_exact_mut(width)));
    for (((a, b), (c, d)), f) in places.zip(&stage.factors) {
        let (x0, x1) = (Pair::<V>::load_pair(a), Pair::<V>::load_pair(b));
        let (sum, difference, sum1, turned) = if half {
            (x0, x0, x1, quarter_turn(x1))
        } else {
            let (x2, x3) = (Pair::<V>::load_pair(c), Pair::<V>::load_pair(d));
            (x0.add(x2), x0.sub(x2), x1.add(x3), quarter_turn(x1.sub(x3)))
        };
        sum.add(sum1).store_pair(a);
        difference.sub(turned).mul(factor(f[0], f[1])).store_pair(b);
        sum.sub(sum1).mul(factor(f[2], f[3])).store_pair(c);
        difference.add(turned).mul(factor(f[4], f[5])).store_pair(d);
    }
}

#[inline(always)]
fn inverse_stage<T: Real, V: Lanes<T>>(stage: &Stage<T>, half: bool, data: &mut [T]) {
    if stage.points == 2 {
        return two::<T, V>(data);
    }
    let width = 2 * V::N;
    let quarter = stage.points / 4 * width;
    let (left, right) = data.split_at_mut(2 * quarter);
    let ((a, b), (c, d)) = (left.split_at_mut(quarter), right.split_at_mut(quarter));
    let places =
        a.chunks_exact_mut(width).zip(b.chunks_exact_mut(width)).zip(c.chunks_exact_mut(width).zip(d.chunks_exact_mut(width)));
    for (((a, b), (c, d)), f) in places.zip(&stage.factors) {
        let y0 = Pair::<V>::load_pair(a);
        let y1 = Pair::<V>::load_pair(b).mul(factor(f[0], -f[1]));
        let y2 = Pair::<V>::load_pair(c).mul(factor(f[2], -f[3]));
        let y3 = Pair::<V>::load_pair(d).mul(factor(f[4], -f[5]));
        let (sum, difference, sum1, turned) = (y0.add(y2), y0.sub(y2), y1.add(y3), quarter_turn(y1.sub(y3)));
        sum.add(sum1).store_pair(a);
        difference.add(turned).store_pair(b);
        if !half {
            sum.sub(sum1).store_pair(c);
            difference.sub(turned).store_pair(d);
        }
    }
}
