//! Nonzeros of a mode as a sorted list of places into the coordinates.

use std::ops::Range;

use super::super::tasks::Shared;
use super::Factor;
use super::walk::{ask, put, row};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, prefetch};

/// Nonzeros that a record is asked for ahead, and the rows it names.
const RECORDS_AHEAD: usize = 32;
const ROWS_AHEAD: usize = 8;

/// The coordinates, the indices of a nonzero side by side.
#[derive(Debug)]
pub(super) struct Records<T> {
    order: usize,
    indices: Vec<u32>,
    values: Vec<T>,
}

impl<T: Real> Records<T> {
    pub fn new(indices: &[&[u32]], values: &[T]) -> Self {
        let order = indices.len();
        let mut side_by_side = vec![0; order * values.len()];
        for (mode, own) in indices.iter().enumerate() {
            let to = side_by_side.iter_mut().skip(mode).step_by(order);
            to.zip(*own).for_each(|(to, &i)| *to = i);
        }
        Self { order, indices: side_by_side, values: values.to_vec() }
    }

    pub fn held(&self) -> usize {
        self.indices.len() * size_of::<u32>() + self.values.len() * size_of::<T>()
    }
}

#[derive(Debug)]
pub(super) struct Listed {
    places: Vec<u32>,
}

impl Listed {
    /// `places`: sorted by the mode's index.
    pub fn new(places: Vec<u32>) -> Self {
        Self { places }
    }

    pub fn held(&self) -> usize {
        self.places.len() * size_of::<u32>()
    }

    /// As [`walk`](super::walk::walk).
    #[allow(clippy::too_many_arguments)]
    pub fn walk<T: Real>(
        &self,
        records: &Records<T>,
        mode: usize,
        factors: &[Factor<'_, T>],
        rank: usize,
        own: Range<usize>,
        out: &Shared<T>,
        head: &mut [T],
    ) -> Option<u32> {
        if own.is_empty() {
            return None;
        }
        let row_of = |k: usize| records.indices[self.places[k] as usize * records.order + mode];
        let row = row_of(own.start);
        let begun = own.start > 0 && row_of(own.start - 1) == row;
        for col in (0..rank).step_by(2 * T::LANES) {
            let cols = (rank - col).min(2 * T::LANES);
            dispatch(Walk { places: &self.places, records, mode, factors, rank, col, cols, own: own.clone(), begun, out, head });
        }
        begun.then_some(row)
    }
}

struct Walk<'a, T> {
    places: &'a [u32],
    records: &'a Records<T>,
    mode: usize,
    factors: &'a [Factor<'a, T>],
    rank: usize,
    col: usize,
    cols: usize,
    own: Range<usize>,
    begun: bool,
    out: &'a Shared<T>,
    head: &'a mut [T],
}

impl<T: Real> Kernel<T> for Walk<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        match (self.cols.div_ceil(V::N), self.cols.is_multiple_of(V::N)) {
            (1, true) => self.vectors::<V, 1, true>(),
            (1, false) => self.vectors::<V, 1, false>(),
            (_, true) => self.vectors::<V, 2, true>(),
            (_, false) => self.vectors::<V, 2, false>(),
        }
    }
}

impl<T: Real> Walk<'_, T> {
    #[inline(always)]
    fn vectors<V: Lanes<T>, const NV: usize, const WHOLE: bool>(self) {
        let Self { places, records, mode, factors, rank, col, cols, own, mut begun, out, head } = self;
        let order = records.order;
        let record = |k: usize| &records.indices[places[k] as usize * order..][..order];
        let mut sum = [V::splat(T::ZERO); NV];
        for k in own.clone() {
            if let Some(&place) = places.get(k + RECORDS_AHEAD) {
                prefetch(&records.indices, place as usize * order);
                prefetch(&records.values, place as usize);
            }
            if k + ROWS_AHEAD < places.len() {
                let next = record(k + ROWS_AHEAD);
                for m in (0..order).filter(|&m| m != mode) {
                    ask::<T, V, NV>(factors[m], next[m], (col, cols));
                }
            }
            let index = record(k);
            let mut product = [V::splat(records.values[places[k] as usize]); NV];
            for m in (0..order).filter(|&m| m != mode) {
                // SAFETY: indices are below the sizes of the shape, as checked when the plan was made, and factors are as large, as checked
                // on entry.
                let by: [V; NV] = unsafe { row::<T, V, NV, WHOLE>(factors[m], index[m], (col, cols)) };
                for v in 0..NV {
                    product[v] = product[v].mul(by[v]);
                }
            }
            for v in 0..NV {
                sum[v] = sum[v].add(product[v]);
            }
            if k + 1 == own.end || record(k + 1)[mode] != index[mode] {
                if begun {
                    put::<T, V, NV, WHOLE>(sum, &mut head[col..col + cols]);
                    begun = false;
                } else {
                    let start = index[mode] as usize * rank + col;
                    // SAFETY: the row begins in this stretch, so no other writes it.
                    put::<T, V, NV, WHOLE>(sum, unsafe { out.part(start, cols) });
                }
                sum = [V::splat(T::ZERO); NV];
            }
        }
    }
}
