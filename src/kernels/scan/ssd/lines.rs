//! Passes over the rows of a chunk, between its products.
//!
//! Matrices in a task's own memory have rows of `lead` numbers, an odd number of vectors: lines of a column are then spread over
//! all sets of the first-level cache, and whole vectors can be written.

use super::Block;
use crate::kernels::rows::{each_vector, get, put, put_over};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose;
use std::ops::Range;

/// Row stride for rows of `len` numbers.
pub(super) fn lead<T: Real>(len: usize) -> usize {
    (len.div_ceil(T::LANES) | 1) * T::LANES
}

/// A matrix whose row r is `data[r * stride..][..width]`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
    pub rows: usize,
    pub width: usize,
}

impl<'a, T> Strided<'a, T> {
    #[inline(always)]
    fn row(&self, r: usize) -> &'a [T] {
        &self.data[r * self.stride..][..self.width]
    }
}

/// Writes the transpose of `from`, its rows `lead` apart.
pub(super) fn turn<T: Real>(from: Strided<'_, T>, to: &mut [T], lead: usize) {
    transpose((from.data, from.stride), (from.rows, from.width), (to, lead));
}

/// Rows times their factors, twice: `once[r] = first[r]·from[r]` (or a copy), `twice[r] = second[r]·once[r]`.
pub(super) struct Spread<'a, T> {
    pub from: Strided<'a, T>,
    pub first: Option<&'a [T]>,
    pub second: &'a [T],
    pub lead: usize,
    pub once: &'a mut [T],
    pub twice: &'a mut [T],
}

impl<T: Real> Kernel<T> for Spread<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { from, first, second, lead, once, twice } = self;
        for r in 0..from.rows {
            let row = from.row(r);
            let (f, s) = (V::splat(first.map_or(T::ONE, |f| f[r])), V::splat(second[r]));
            let (once, twice) = (&mut once[r * lead..][..lead], &mut twice[r * lead..][..lead]);
            each_vector!(V, from.width, |at, count| {
                let x = get::<T, V>(row, at, count).mul(f);
                put_over(x, once, at, count);
                put_over(x.mul(s), twice, at, count);
            });
        }
    }
}

struct ScaleRows<'a, T> {
    x: &'a mut [T],
    lead: usize,
    width: usize,
    factors: &'a [T],
}

impl<T: Real> Kernel<T> for ScaleRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        for (row, &f) in self.x.chunks_exact_mut(self.lead).zip(self.factors) {
            let f = V::splat(f);
            each_vector!(V, self.width, |at, count| {
                put_over(get::<T, V>(row, at, count).mul(f), row, at, count);
            });
        }
    }
}

/// `x[r] *= factors[r]`.
pub(super) fn scale_rows<T: Real>(x: &mut [T], lead: usize, width: usize, factors: &[T]) {
    dispatch(ScaleRows { x, lead, width, factors });
}

/// `to = factor · from`, or in place. Whole vectors.
pub(super) struct Scale<'a, T> {
    pub factor: T,
    pub from: Option<&'a [T]>,
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { factor, from, to } = self;
        let f = V::splat(factor);
        match from {
            Some(from) => {
                for (to, from) in to.chunks_exact_mut(V::N).zip(from.chunks_exact(V::N)) {
                    V::load(from).mul(f).store(to);
                }
            }
            None => to.chunks_exact_mut(V::N).for_each(|to| V::load(to).mul(f).store(to)),
        }
    }
}

/// `Σ x·y`, and `x *= factor`. Whole vectors.
pub(super) struct DotScale<'a, T> {
    pub x: &'a mut [T],
    pub y: &'a [T],
    pub factor: T,
}

impl<T: Real> Kernel<T> for DotScale<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> T {
        let Self { x, y, factor } = self;
        let f = V::splat(factor);
        let mut sums = [V::splat(T::ZERO); 4];
        for (k, (x, y)) in x.chunks_exact_mut(V::N).zip(y.chunks_exact(V::N)).enumerate() {
            let v = V::load(x);
            sums[k % 4] = v.fma(V::load(y), sums[k % 4]);
            v.mul(f).store(x);
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
    }
}

/// The rows of a chunk of y: `to[r] = rows[r] + skip·x[r]`.
pub(super) struct Finish<'a, 'b, T> {
    pub rows: &'a [T],
    pub lead: usize,
    pub x: Strided<'a, T>,
    pub skip: Option<&'a [T]>,
    pub to: &'a mut Block<'b, T>,
    pub first: usize,
    pub columns: Range<usize>,
}

impl<T: Real> Kernel<T> for Finish<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, lead, x, skip, to, first, columns } = self;
        for r in 0..x.rows {
            let to = to.line(first + r, columns.clone());
            let (from, x) = (&rows[r * lead..][..lead], x.row(r));
            match skip {
                Some(skip) => each_vector!(V, x.len(), |at, count| {
                    let direct = get::<T, V>(x, at, count);
                    let y = direct.fma(get(skip, at, count), get(from, at, count));
                    put(y, to, at, count);
                }),
                None => to.copy_from_slice(&from[..x.len()]),
            }
        }
    }
}

/// From E = S·dY (states, steps): `sum += e∘E`, and `dots[i] = e_i·Σ_n E_ni·C_ni`.
pub(super) struct IntoC<'a, T> {
    pub products: &'a [T],
    pub lead: usize,
    pub states: usize,
    pub e: &'a [T],
    pub c: &'a [T],
    pub sum: &'a mut [T],
    pub dots: &'a mut [T],
}

impl<T: Real> Kernel<T> for IntoC<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { products, lead, states, e, c, sum, dots } = self;
        each_vector!(V, e.len(), |at, count| {
            let factor = get::<T, V>(e, at, count);
            let mut totals = [V::splat(T::ZERO); 2];
            for n in 0..states {
                let line = n * lead..(n + 1) * lead;
                let x = get::<T, V>(&products[line.clone()], at, count);
                totals[n % 2] = x.fma(get(&c[line.clone()], at, count), totals[n % 2]);
                let sum = &mut sum[line];
                put_over(x.fma(factor, get(sum, at, count)), sum, at, count);
            }
            put(totals[0].add(totals[1]).mul(factor), dots, at, count);
        });
    }
}

/// From rows g of B·dS: `dots[r] = Σ rows[r]·weights[r]` with weights r∘X̄, and `rows[r] *= r`.
pub(super) struct FromEnd<'a, T> {
    pub rows: &'a mut [T],
    pub weights: &'a [T],
    pub lead: usize,
    pub width: usize,
    pub factors: &'a [T],
    pub dots: &'a mut [T],
}

impl<T: Real> Kernel<T> for FromEnd<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, weights, lead, width, factors, dots } = self;
        let lines = rows.chunks_exact_mut(lead).zip(weights.chunks_exact(lead));
        for ((row, weights), (&f, dot)) in lines.zip(factors.iter().zip(dots)) {
            let factor = V::splat(f);
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, width, |at, count| {
                let x = get::<T, V>(row, at, count);
                sum = x.fma(get(weights, at, count), sum);
                put_over(x.mul(factor), row, at, count);
            });
            *dot = sum.sum();
        }
    }
}

/// Gradients of x and D, from those of X̄ = Δ∘X: `dx[r] = Δ_r·dX̄[r] + skip·dy[r]`, `dots[r] = Σ dX̄[r]·x[r]`,
/// `dskip += Σ_r dy[r]·x[r]`.
pub(super) struct IntoX<'a, 'b, T> {
    pub rows: &'a [T],
    pub dy: &'a [T],
    pub lead: usize,
    pub x: Strided<'a, T>,
    pub dt: &'a [T],
    pub skip: Option<&'a [T]>,
    pub dots: &'a mut [T],
    pub dskip: Option<&'a mut [T]>,
    pub to: Option<&'a mut Block<'b, T>>,
    pub first: usize,
    pub columns: Range<usize>,
}

impl<T: Real> Kernel<T> for IntoX<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, dy, lead, x: xs, dt, skip, dots, mut dskip, mut to, first, columns } = self;
        for r in 0..xs.rows {
            let (from, dy, x) = (&rows[r * lead..][..lead], &dy[r * lead..][..lead], xs.row(r));
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, x.len(), |at, count| {
                sum = get::<T, V>(x, at, count).fma(get(from, at, count), sum);
            });
            dots[r] = sum.sum();
            if let Some(dskip) = &mut dskip {
                each_vector!(V, x.len(), |at, count| {
                    let total = get::<T, V>(x, at, count).fma(get(dy, at, count), get(dskip, at, count));
                    put(total, dskip, at, count);
                });
            }
            if let Some(to) = &mut to {
                let (to, dt) = (to.line(first + r, columns.clone()), V::splat(dt[r]));
                each_vector!(V, x.len(), |at, count| {
                    let mut dx = get::<T, V>(from, at, count).mul(dt);
                    if let Some(skip) = skip {
                        dx = get::<T, V>(dy, at, count).fma(get(skip, at, count), dx);
                    }
                    put(dx, to, at, count);
                });
            }
        }
    }
}
