//! Instance norm where the numbers of a series are neighbours: (batch, channels, time).

use super::instance::{Centre, InstanceMoments, InstanceNorm, Map};
use crate::kernels::rows::{each_vector, for_each, get, put_over, row_squares, row_sum, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

pub(super) fn forward<T: Real>(norm: &InstanceNorm<T>, time: usize, x: &[T], y: &mut [T], moments: &mut InstanceMoments<T>) {
    let per_chunk = rows_per_chunk(time, 1);
    let tasks = (x.chunks(per_chunk * time).zip(y.chunks_mut(per_chunk * time)).enumerate())
        .zip(moments.centre.chunks_mut(per_chunk).zip(moments.std.chunks_mut(per_chunk)))
        .map(|((k, (x, y)), (centre, std))| Forward { norm, time, first: k * per_chunk, x, y, centre, std })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Forward<'a, T> {
    norm: &'a InstanceNorm<'a, T>,
    time: usize,
    first: usize,
    x: &'a [T],
    y: &'a mut [T],
    centre: &'a mut [T],
    std: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let time = self.time;
        let share = T::ONE / T::from_f64(time as f64);
        for r in 0..self.std.len() {
            let c = (self.first + r) % self.norm.channels;
            let x = &self.x[r * time..][..time];
            let mean = row_sum::<T, V>(x) * share;
            let std = row_squares::<T, V>(x, mean).fma(share, T::from_f64(self.norm.eps)).sqrt();
            let centre = if self.norm.centre == Centre::Last { x[time - 1] } else { mean };
            self.std[r] = std;
            self.centre[r] = centre;
            line::<T, V>(x, &mut self.y[r * time..], [centre, self.norm.gamma(c) / std, self.norm.beta(c)]);
        }
    }
}

/// `y = (x − pre) · factor + post` on a row; `y` may go on behind it, see [`put_over`].
#[inline(always)]
fn line<T: Real, V: Lanes<T>>(x: &[T], y: &mut [T], [pre, factor, post]: [T; 3]) {
    let (pre, factor, post) = (V::splat(pre), V::splat(factor), V::splat(post));
    each_vector!(V, x.len(), |at, count| {
        put_over(get::<T, V>(x, at, count).sub(pre).fma(factor, post), y, at, count);
    });
}

pub(super) fn apply<T: Real>(time: usize, x: &[T], y: &mut [T], map: &Map<T>) {
    let per_chunk = rows_per_chunk(time, 1);
    let tasks = (x.chunks(per_chunk * time).zip(y.chunks_mut(per_chunk * time)).enumerate())
        .map(|(k, (x, y))| Apply { time, first: k * per_chunk, x, y, map })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Apply<'a, T> {
    time: usize,
    first: usize,
    x: &'a [T],
    y: &'a mut [T],
    map: &'a Map<T>,
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        for (r, x) in self.x.chunks_exact(self.time).enumerate() {
            let s = self.first + r;
            line::<T, V>(x, &mut self.y[r * self.time..], [self.map.pre[s], self.map.factor[s], self.map.post[s]]);
        }
    }
}

pub(super) fn sums<T: Real>(time: usize, a: &[T], b: &[T], from: &[T], products: &mut [T], sums: &mut [T]) {
    let per_chunk = rows_per_chunk(time, 1);
    let tasks = (a.chunks(per_chunk * time).zip(b.chunks(per_chunk * time)).zip(from.chunks(per_chunk)))
        .zip(products.chunks_mut(per_chunk).zip(sums.chunks_mut(per_chunk)))
        .map(|(((a, b), from), (products, sums))| Sums { time, a, b, from, products, sums })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Sums<'a, T> {
    time: usize,
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
        let rows = self.a.chunks_exact(self.time).zip(self.b.chunks_exact(self.time));
        for (r, (a, b)) in rows.enumerate() {
            let from = V::splat(self.from[r]);
            let (mut products, mut sums) = (V::splat(T::ZERO), V::splat(T::ZERO));
            each_vector!(V, self.time, |at, count| {
                // Lanes beyond the row hold zeros in `a`.
                let v = get::<T, V>(a, at, count);
                products = v.fma(get::<T, V>(b, at, count).sub(from), products);
                sums = sums.add(v);
            });
            self.products[r] = products.sum();
            self.sums[r] = sums.sum();
        }
    }
}
