//! The distance that decides.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Eight numbers from place `at` on as f64.
#[inline(always)]
pub(super) fn wide<T: Real, V: Lanes<f64>>(from: &[T], at: usize) -> V {
    let from = &from[at..at + 8];
    let mut eight = [0.0; 8];
    for i in 0..8 {
        eight[i] = from[i].to_f64();
    }
    V::load(&eight)
}

/// The last numbers (fewer than eight) as f64, zeros behind them.
#[inline(always)]
pub(super) fn wide_rest<T: Real, V: Lanes<f64>>(from: &[T]) -> V {
    let mut eight = [0.0; 8];
    for (to, x) in eight.iter_mut().zip(from) {
        *to = x.to_f64();
    }
    V::load(&eight)
}

/// [`squared_distance`] for use inside of kernels. Σ (x − c)² in a fixed order: two chains of eight lanes, added in a fixed tree.
#[inline(always)]
pub fn distance<T: Real, V: Lanes<f64>>(x: &[T], c: &[T]) -> f64 {
    let mut sums = [V::splat(0.0); 2];
    let d = x.len();
    let mut at = 0;
    while at + 16 <= d {
        for half in 0..2 {
            let e = wide::<T, V>(x, at + 8 * half).sub(wide::<T, V>(c, at + 8 * half));
            sums[half] = e.fma(e, sums[half]);
        }
        at += 16;
    }
    if at + 8 <= d {
        let e = wide::<T, V>(x, at).sub(wide::<T, V>(c, at));
        sums[0] = e.fma(e, sums[0]);
        at += 8;
    }
    if at < d {
        let e = wide_rest::<T, V>(&x[at..]).sub(wide_rest::<T, V>(&c[at..]));
        sums[1] = e.fma(e, sums[1]);
    }
    sums[0].add(sums[1]).sum()
}

struct One<'a, T>(&'a [T], &'a [T]);

impl<T: Real> Kernel<f64> for One<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> f64 {
        distance::<T, V>(self.0, self.1)
    }
}

/// ‖x − c‖² in f64, whatever the type of the points: relative error at most (d + 3)·2⁻⁵³, zero for equal points, the same bits when x and
/// c are exchanged. Panics when the lengths differ.
pub fn squared_distance<T: Real>(x: &[T], c: &[T]) -> f64 {
    assert_eq!(x.len(), c.len(), "a distance needs two points of equal width");
    dispatch(One(x, c))
}

struct Own<'a, T> {
    points: &'a [T],
    rows: Option<&'a [u32]>,
    centroids: &'a [T],
    d: usize,
    labels: &'a [u32],
    out: &'a mut [f64],
}

impl<T: Real> Kernel<f64> for Own<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.d;
        for i in 0..self.out.len() {
            let x = self.rows.map_or(i, |rows| rows[i] as usize) * d;
            let c = self.labels[i] as usize * d;
            self.out[i] = distance::<T, V>(&self.points[x..x + d], &self.centroids[c..c + d]);
        }
    }
}

/// `out[i]` = [`squared_distance`] of point i (n × d) to the centroid (k × d) that `labels[i]` names. On the calling thread, n·d operations.
pub fn own_distances<T: Real>(points: &[T], d: usize, labels: &[u32], centroids: &[T], out: &mut [f64]) {
    assert!(points.len() == out.len() * d && labels.len() == out.len(), "own_distances: one label and one distance per point");
    dispatch(Own { points, rows: None, centroids, d, labels, out });
}

/// The same for the points at `rows` of `points`, whose labels are `labels`.
pub fn own_distances_of<T: Real>(points: &[T], d: usize, rows: &[u32], labels: &[u32], centroids: &[T], out: &mut [f64]) {
    assert!(rows.len() == out.len() && labels.len() == out.len(), "own_distances_of: one label and one distance per row");
    dispatch(Own { points, rows: Some(rows), centroids, d, labels, out });
}

struct From<'a, T> {
    x: &'a [T],
    others: &'a [T],
    out: &'a mut [f64],
}

impl<T: Real> Kernel<f64> for From<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.x.len();
        for i in 0..self.out.len() {
            self.out[i] = distance::<T, V>(self.x, &self.others[i * d..(i + 1) * d]);
        }
    }
}

/// `out[c]` = [`squared_distance`] of one point (d) to row c of `others` (m × d). On the calling thread.
pub fn squared_distances_from<T: Real>(x: &[T], others: &[T], out: &mut [f64]) {
    assert_eq!(others.len(), out.len() * x.len(), "squared_distances_from: one distance per row");
    dispatch(From { x, others, out });
}
