//! What the forward and the backward pass of attention share: blocks of logits with queries side by side in the lanes.

use super::Attention;
use crate::kernels::gemm::{MatRef, Right};
use crate::kernels::simd::{Lanes, Real, math};
use crate::kernels::transpose::transpose_inside;

/// Queries in a block: the lanes of a block of logits.
pub(super) const QUERY_BLOCK: usize = 64;
/// Keys in a block: a block of `f32` logits takes 32 KiB at most.
pub(super) const KEY_BLOCK: usize = 128;

/// `n` rounded up to whole vectors.
pub(super) fn padded<T: Real>(n: usize) -> usize {
    n.next_multiple_of(T::LANES)
}

/// An output that several tasks write, each its own columns.
#[derive(Clone, Copy)]
pub(super) struct Output<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: only `store_rows` writes, and its caller promises that no two tasks share a place.
unsafe impl<T: Send> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Output<T> {}

impl<T: Real> Output<T> {
    pub(super) fn new(slice: &mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len() }
    }

    /// Writes the first `width` numbers of each row of `from` (row stride `lead`), times `factors[row]`, to rows of stride `stride`
    /// that start at place `at`.
    ///
    /// # Safety
    /// The slice must still be borrowed for this output, and nobody else may touch those places meanwhile.
    #[inline(always)]
    pub(super) unsafe fn store_rows(self, at: usize, stride: usize, from: &[T], lead: usize, width: usize, factors: &[T]) {
        let rows = factors.len();
        if rows == 0 || width == 0 {
            return;
        }
        assert!(at + (rows - 1) * stride + width <= self.len && width <= lead);
        assert!(from.len() >= (rows - 1) * lead + width);
        for (r, &factor) in factors.iter().enumerate() {
            // SAFETY: inside both slices by the assertions (checked for the last row), apart from other writers by the caller's promise.
            unsafe {
                let (from, to) = (from.as_ptr().add(r * lead), self.start.add(at + r * stride));
                let mut c = 0;
                while c + 8 <= width {
                    let eight = from.add(c).cast::<[T; 8]>().read();
                    to.add(c).cast::<[T; 8]>().write(eight.map(|x| x * factor));
                    c += 8;
                }
                while c < width {
                    *to.add(c) = *from.add(c) * factor;
                    c += 1;
                }
            }
        }
    }
}

/// The rows and columns of one head in an operand.
#[derive(Clone, Copy)]
pub(super) struct Head<'a, T> {
    data: &'a [T],
    start: usize,
    stride: usize,
    width: usize,
}

impl<'a, T: Real> Head<'a, T> {
    /// Head `head` of element `element` of an operand with `rows` rows in each element.
    pub(super) fn new(shape: &Attention<T>, data: &'a [T], rows: usize, [element, head]: [usize; 2]) -> Self {
        let stride = shape.heads * shape.width;
        Self { data, start: element * rows * stride + head * shape.width, stride, width: shape.width }
    }

    /// Where row `r` lies in the operand, and in an output of the same shape.
    pub(super) fn place(&self, r: usize) -> usize {
        self.start + r * self.stride
    }

    /// Rows `first .. first + count` as a left-hand matrix.
    pub(super) fn rows(&self, first: usize, count: usize) -> MatRef<'a, T> {
        MatRef::with_strides(&self.data[self.place(first)..], count, self.width, self.stride, 1)
    }

    /// The same rows as a right-hand matrix of `padded(width)` columns where memory goes on that far, so that no vector is cut. What
    /// the other columns hold is of no interest: they make columns of the product that nobody reads.
    pub(super) fn right(&self, first: usize, count: usize) -> Right<'a, T> {
        let from = self.place(first);
        Right::Plain(MatRef::with_strides(&self.data[from..], count, self.cols(first, count), self.stride, 1))
    }

    /// The columns of [`Head::right`].
    pub(super) fn cols(&self, first: usize, count: usize) -> usize {
        let last = self.place(first + count.saturating_sub(1));
        if last + padded::<T>(self.width) <= self.data.len() { padded::<T>(self.width) } else { self.width }
    }

    /// One row.
    pub(super) fn row(&self, r: usize) -> &'a [T] {
        &self.data[self.place(r)..][..self.width]
    }

    /// Writes rows `first .. first + count`, transposed, to (width × lead); zeros from `count` on.
    #[inline(always)]
    pub(super) fn transpose(&self, first: usize, count: usize, lead: usize, to: &mut [T]) {
        if count == 0 || self.width == 0 {
            return;
        }
        let from = &self.data[self.place(first)..];
        assert!(count <= lead && to.len() >= self.width * lead && from.len() >= (count - 1) * self.stride + self.width);
        transpose_inside((from, self.stride), (count, self.width), (to, lead));
        to.chunks_exact_mut(lead).take(self.width).for_each(|line| line[count..].fill(T::ZERO));
    }
}

/// The mask with queries in the lanes: (keys × lead), zeros in the padding.
pub(super) struct MaskT<T> {
    pub(super) numbers: Vec<T>,
    pub(super) lead: usize,
}

impl<T: Real> MaskT<T> {
    pub(super) fn new(shape: &Attention<T>) -> Option<Self> {
        let mask = shape.mask?;
        let lead = padded::<T>(shape.queries);
        let mut numbers = vec![T::ZERO; shape.keys * lead];
        for i in 0..shape.queries {
            for j in 0..shape.keys {
                numbers[j * lead + i] = mask[i * shape.keys + j];
            }
        }
        Some(Self { numbers, lead })
    }
}

/// Turns dot products into logits, a vector of queries at a time.
#[derive(Clone, Copy)]
pub(super) struct Logits<'a, T, V> {
    scale: V,
    mask: Option<&'a MaskT<T>>,
    /// The number of each query of the vector, when a query must not see later keys.
    causal: Option<V>,
    /// The first query of the vector.
    query: usize,
}

impl<'a, T: Real, V: Lanes<T>> Logits<'a, T, V> {
    #[inline(always)]
    pub(super) fn new(shape: &Attention<T>, mask: Option<&'a MaskT<T>>, query: usize) -> Self {
        let causal = shape.causal.then(|| {
            let mut numbers = [T::ZERO; 16];
            numbers.iter_mut().enumerate().for_each(|(lane, n)| *n = T::from_f64((query + lane) as f64));
            V::load(&numbers)
        });
        Self { scale: V::splat(T::from_f64(shape.scale)), mask, causal, query }
    }

    /// The logits for key `j`.
    #[inline(always)]
    pub(super) fn of(&self, dots: V, j: usize) -> V {
        let mut v = match self.mask {
            Some(mask) => dots.fma(self.scale, V::load(&mask.numbers[j * mask.lead + self.query..])),
            None => dots.mul(self.scale),
        };
        if let Some(queries) = self.causal {
            v = V::select(V::splat(T::from_f64(j as f64)).le(queries), v, V::splat(minus_infinity()));
        }
        v
    }
}

#[inline(always)]
pub(super) fn minus_infinity<T: Real>() -> T {
    T::from_f64(f64::NEG_INFINITY)
}

/// `eˣ` for differences to the largest logit, and 0 where that would not be a normal number: beside the largest weight, which is 1,
/// such a weight is nothing, and arithmetic below the normal range is slow on most machines.
#[inline(always)]
pub(super) fn weight<T: Real, V: Lanes<T>>(x: V) -> V {
    let low = V::splat(T::from_f64(if T::LANES == 16 { -87.0 } else { -708.0 }));
    // In this order NaN stays.
    V::select(x.lt(low), V::splat(T::ZERO), math::exp::<T, V>(low.max(x)))
}

/// Heads in a task: about a million products, by the problem size alone.
pub(super) fn heads_per_task<T>(shape: &Attention<T>) -> usize {
    let products = (shape.queries * shape.keys).saturating_mul(2 * shape.width);
    ((1 << 20) / products.max(1)).clamp(1, 4096)
}
