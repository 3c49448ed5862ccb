//! The exact forms: sums over the entries of M.

use super::Entry;
use super::lines::pair_dots;
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// One term of a row: value times number `p` of one operand times number `q` of the other.
#[derive(Clone, Copy)]
struct Term<T> {
    p: u32,
    q: u32,
    value: T,
}

/// Entries sorted by the index of what they are summed into.
struct Rows<T> {
    /// Where each row begins, and the end.
    starts: Vec<usize>,
    terms: Vec<Term<T>>,
}

impl<T: Real> Rows<T> {
    fn new(d: usize, entries: &[Entry], roles: impl Fn([u32; 3]) -> [u32; 3]) -> Self {
        let mut all: Vec<([u32; 3], f64)> = entries.iter().map(|e| (roles([e.i, e.j, e.k]), e.value)).collect();
        all.sort_by_key(|e| e.0);
        let starts = (0..=d as u32).map(|row| all.partition_point(|e| e.0[0] < row)).collect();
        Self { starts, terms: all.into_iter().map(|([_, p, q], v)| Term { p, q, value: T::from_f64(v) }).collect() }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[Term<T>] {
        &self.terms[self.starts[row]..self.starts[row + 1]]
    }
}

/// M by its entries, in the three orders that a product and its gradients take.
pub struct Entries<T> {
    d: usize,
    /// k from (i, j).
    out: Rows<T>,
    /// i from (j, k).
    first: Rows<T>,
    /// j from (i, k).
    second: Rows<T>,
}

impl<T: Real> Entries<T> {
    pub fn new(d: usize, entries: &[Entry]) -> Self {
        assert!(
            entries.iter().all(|e| [e.i, e.j, e.k].iter().all(|&i| (i as usize) < d)),
            "tensor product: entries of a tensor of {d}"
        );
        Self {
            d,
            out: Rows::new(d, entries, |[i, j, k]| [k, i, j]),
            first: Rows::new(d, entries, |[i, j, k]| [i, j, k]),
            second: Rows::new(d, entries, |[i, j, k]| [j, i, k]),
        }
    }

    /// `out[k, c] = Σ M[i, j, k] x[i, c] z[j, c]`.
    pub fn pair(&self, x: &[T], z: &[T], c: usize, out: &mut [T]) {
        dispatch(Trilinear { rows: &self.out, a: x, b: z, c, out });
    }

    /// Gradients of [`pair`](Self::pair).
    pub fn pair_gradients(&self, [x, z, g]: [&[T]; 3], c: usize, dx: Option<&mut [T]>, dz: Option<&mut [T]>) {
        if let Some(out) = dx {
            dispatch(Trilinear { rows: &self.first, a: z, b: g, c, out });
        }
        if let Some(out) = dz {
            dispatch(Trilinear { rows: &self.second, a: x, b: g, c, out });
        }
    }

    /// `out[k, c] = Σ M[i, j, k] y[j] x[i, c]`, entry by entry.
    pub fn single(&self, x: &[T], y: &[T], c: usize, out: &mut [T]) {
        dispatch(Scaled { rows: &self.out, scalars: y, vectors: x, scalar_is_p: false, c, out });
    }

    /// The same by N(y).
    pub fn single_folded(&self, x: &[T], y: &[T], c: usize, out: &mut [T]) {
        self.with_matrix(y, |n| {
            tile(Start::Zero, MatRef::new(n, self.d, self.d), MatRef::new(x, self.d, c), MatMut::new(out, self.d, c));
        });
    }

    /// Lends N(y) as (k, i).
    fn with_matrix(&self, y: &[T], work: impl FnOnce(&[T])) {
        let d = self.d;
        with_scratch(d * d, |n: &mut [T]| {
            n.fill(T::ZERO);
            for (k, row) in n.chunks_exact_mut(d).enumerate() {
                for t in self.out.row(k) {
                    row[t.p as usize] += t.value * y[t.q as usize];
                }
            }
            work(n);
        });
    }

    /// The gradient of both forms of `single` with respect to x.
    pub fn single_dx(&self, y: &[T], g: &[T], c: usize, dx: &mut [T]) {
        dispatch(Scaled { rows: &self.first, scalars: y, vectors: g, scalar_is_p: true, c, out: dx });
    }

    /// The same by N(y).
    pub fn single_dx_folded(&self, y: &[T], g: &[T], c: usize, dx: &mut [T]) {
        self.with_matrix(y, |n| {
            tile(Start::Zero, MatRef::new(n, self.d, self.d).t(), MatRef::new(g, self.d, c), MatMut::new(dx, self.d, c));
        });
    }

    /// With respect to y, d numbers.
    pub fn single_dy(&self, x: &[T], g: &[T], c: usize, dy: &mut [T]) {
        let d = self.d;
        with_scratch(d * d, |dots: &mut [T]| {
            pair_dots(x, g, c, dots);
            for (j, dy) in dy.iter_mut().enumerate() {
                *dy = self.second.row(j).iter().fold(T::ZERO, |sum, t| sum + t.value * dots[t.p as usize * d + t.q as usize]);
            }
        });
    }
}

/// `out[r, :] = Σ value · a[p, :] ∘ b[q, :]` over the terms of row r.
struct Trilinear<'a, T> {
    rows: &'a Rows<T>,
    a: &'a [T],
    b: &'a [T],
    c: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Trilinear<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, a, b, c, out } = self;
        // A vector of channels at a time: all rows of a and b stay in the first-level cache for it. Two sums hide half of the latency.
        each_vector!(V, c, |at, count| {
            for (r, to) in out.chunks_exact_mut(c).enumerate() {
                let mut sums = [V::splat(T::ZERO); 2];
                let mut pairs = rows.row(r).chunks_exact(2);
                for pair in &mut pairs {
                    for s in 0..2 {
                        let t = pair[s];
                        let product = get::<T, V>(&a[t.p as usize * c..], at, count).mul(get(&b[t.q as usize * c..], at, count));
                        sums[s] = product.fma(V::splat(t.value), sums[s]);
                    }
                }
                for t in pairs.remainder() {
                    let product = get::<T, V>(&a[t.p as usize * c..], at, count).mul(get(&b[t.q as usize * c..], at, count));
                    sums[0] = product.fma(V::splat(t.value), sums[0]);
                }
                put(sums[0].add(sums[1]), to, at, count);
            }
        });
    }
}

/// `out[r, :] = Σ value · scalar · vector[:]` over the terms of row r; `p` counts the scalars or the vectors, `q` the others.
struct Scaled<'a, T> {
    rows: &'a Rows<T>,
    scalars: &'a [T],
    vectors: &'a [T],
    scalar_is_p: bool,
    c: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Scaled<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, scalars, vectors, scalar_is_p, c, out } = self;
        for (r, to) in out.chunks_exact_mut(c).enumerate() {
            to.fill(T::ZERO);
            for t in rows.row(r) {
                let (s, v) = if scalar_is_p { (t.p, t.q) } else { (t.q, t.p) };
                let (by, from) = (V::splat(t.value * scalars[s as usize]), &vectors[v as usize * c..][..c]);
                each_vector!(V, c, |at, count| {
                    put(get::<T, V>(from, at, count).fma(by, get(to, at, count)), to, at, count);
                });
            }
        }
    }
}
