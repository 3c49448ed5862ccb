//! Instance norm where the channels of a time step are neighbours: (batch, time, channels).

use super::instance::{Centre, InstanceMoments, InstanceNorm, Map};
use crate::kernels::rows::{each_vector, for_each, get, put, put_over, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

pub(super) fn forward<T: Real>(norm: &InstanceNorm<T>, time: usize, x: &[T], y: &mut [T], moments: &mut InstanceMoments<T>) {
    let channels = norm.channels;
    let per_chunk = rows_per_chunk(time * channels, 1);
    let tasks = (x.chunks(per_chunk * time * channels).zip(y.chunks_mut(per_chunk * time * channels)))
        .zip(moments.centre.chunks_mut(per_chunk * channels).zip(moments.std.chunks_mut(per_chunk * channels)))
        .map(|((x, y), (centre, std))| Forward { norm, time, x, y, centre, std })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

/// A few batch elements.
struct Forward<'a, T> {
    norm: &'a InstanceNorm<'a, T>,
    time: usize,
    x: &'a [T],
    y: &'a mut [T],
    centre: &'a mut [T],
    std: &'a mut [T],
}

/// Σ over time of what `$v` makes of the vector of each step: four steps at a time, their values added in a tree.
macro_rules! over_time {
    ($V:ty, $time:expr, |$t:ident| $value:expr) => {{
        let time: usize = $time;
        let mut sum = <$V>::splat(T::ZERO);
        let mut at = 0;
        while at + 4 <= time {
            let mut v = [<$V>::splat(T::ZERO); 4];
            for (k, v) in v.iter_mut().enumerate() {
                let $t = at + k;
                *v = $value;
            }
            sum = sum.add(v[0].add(v[1]).add(v[2].add(v[3])));
            at += 4;
        }
        while at < time {
            let $t = at;
            sum = sum.add($value);
            at += 1;
        }
        sum
    }};
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { norm, time, .. } = self;
        let channels = norm.channels;
        let share = V::splat(T::ONE / T::from_f64(time as f64));
        let eps = V::splat(T::from_f64(norm.eps));
        let (ones, zeros) = (vec![T::ONE; channels], vec![T::ZERO; channels]);
        let (gamma, beta) = norm.affine.map_or((&ones[..], &zeros[..]), |affine| (affine.gamma, affine.beta));
        let mut factors = vec![T::ZERO; channels];
        for (b, x) in self.x.chunks_exact(time * channels).enumerate() {
            let y = &mut self.y[b * time * channels..][..time * channels];
            let centres = &mut self.centre[b * channels..][..channels];
            let stds = &mut self.std[b * channels..][..channels];
            each_vector!(V, channels, |at, count| {
                let mean = over_time!(V, time, |t| get::<T, V>(x, t * channels + at, count)).mul(share);
                let squares = over_time!(V, time, |t| {
                    let d = get::<T, V>(x, t * channels + at, count).sub(mean);
                    d.mul(d)
                });
                let std = squares.fma(share, eps).sqrt();
                put(std, stds, at, count);
                put(get::<T, V>(gamma, at, count).div(std), &mut factors, at, count);
                let centre = if norm.centre == Centre::Last { get(x, (time - 1) * channels + at, count) } else { mean };
                put(centre, centres, at, count);
            });
            for t in 0..time {
                each_vector!(V, channels, |at, count| {
                    let d = get::<T, V>(x, t * channels + at, count).sub(get(centres, at, count));
                    put_over(d.fma(get(&factors, at, count), get(beta, at, count)), y, t * channels + at, count);
                });
            }
        }
    }
}

pub(super) fn apply<T: Real>(time: usize, channels: usize, x: &[T], y: &mut [T], map: &Map<T>) {
    let per_chunk = rows_per_chunk(time * channels, 1);
    let tasks = (x.chunks(per_chunk * time * channels).zip(y.chunks_mut(per_chunk * time * channels)).enumerate())
        .map(|(k, (x, y))| Apply { time, channels, first: k * per_chunk * channels, x, y, map })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Apply<'a, T> {
    time: usize,
    channels: usize,
    first: usize,
    x: &'a [T],
    y: &'a mut [T],
    map: &'a Map<T>,
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let channels = self.channels;
        for (b, x) in self.x.chunks_exact(self.time * channels).enumerate() {
            let y = &mut self.y[b * self.time * channels..];
            let s = self.first + b * channels;
            let (pre, factor, post) = (&self.map.pre[s..], &self.map.factor[s..], &self.map.post[s..]);
            for t in 0..self.time {
                each_vector!(V, channels, |at, count| {
                    let d = get::<T, V>(x, t * channels + at, count).sub(get(pre, at, count));
                    put_over(d.fma(get(factor, at, count), get(post, at, count)), y, t * channels + at, count);
                });
            }
        }
    }
}

pub(super) fn sums<T: Real>(time: usize, channels: usize, a: &[T], b: &[T], from: &[T], products: &mut [T], sums: &mut [T]) {
    let per_chunk = rows_per_chunk(time * channels, 1);
    let step = per_chunk * channels;
    let tasks = (a.chunks(step * time).zip(b.chunks(step * time)).zip(from.chunks(step)))
        .zip(products.chunks_mut(step).zip(sums.chunks_mut(step)))
        .map(|(((a, b), from), (products, sums))| Sums { time, channels, a, b, from, products, sums })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Sums<'a, T> {
    time: usize,
    channels: usize,
    a: &'a [T],
    b: &'a [T],
    from: &'a [T],
    products: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { time, channels, .. } = self;
        let elements = self.a.chunks_exact(time * channels).zip(self.b.chunks_exact(time * channels));
        for (k, (a, b)) in elements.enumerate() {
            each_vector!(V, channels, |at, count| {
                let from = get::<T, V>(self.from, k * channels + at, count);
                let sum = over_time!(V, time, |t| get::<T, V>(a, t * channels + at, count));
                let product = over_time!(V, time, |t| {
                    let d = get::<T, V>(b, t * channels + at, count).sub(from);
                    get::<T, V>(a, t * channels + at, count).mul(d)
                });
                put(sum, self.sums, k * channels + at, count);
                put(product, self.products, k * channels + at, count);
            });
        }
    }
}
