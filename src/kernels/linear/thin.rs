//! y = x·Wᵀ for a few rows: the weight is read once, as it lies, by all threads together.
//!
//! What decoding one token takes. Packing the weight, which pays for many rows, would be most of the time.

use super::Affine;
use crate::kernels::rows::{for_each, get};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Rows up to which this form is taken.
pub(super) const ROWS: usize = 8;
/// Numbers of a weight from which on it is taken: below, everything is in the first-level cache anyway.
pub(super) const WEIGHT: usize = 1 << 12;
/// Numbers of the weight in a task.
const TASK: usize = 1 << 16;
/// Outputs and rows that are summed up together, for one row and for more.
const ONE: usize = 4;
const SEVERAL: usize = 2;

/// Some outputs of all rows.
struct Task<'a, T> {
    /// (outputs, inputs).
    weight: &'a [T],
    /// (rows, inputs).
    x: &'a [T],
    inputs: usize,
    /// (outputs, rows).
    to: &'a mut [T],
}

/// Dot products of `O` outputs with `R` rows, over the inputs in vectors and a fixed tree at the end.
#[inline(always)]
fn dots<T: Real, V: Lanes<T>, const O: usize, const R: usize>(weights: [&[T]; O], rows: [&[T]; R]) -> [[T; R]; O] {
    let inputs = rows[0].len();
    let mut sums = [[V::splat(T::ZERO); R]; O];
    let whole = inputs / V::N * V::N;
    for at in (0..whole).step_by(V::N) {
        let x: [V; R] = std::array::from_fn(|r| V::load(&rows[r][at..]));
        for o in 0..O {
            let w = V::load(&weights[o][at..]);
            for r in 0..R {
                sums[o][r] = w.fma(x[r], sums[o][r]);
            }
        }
    }
    if whole < inputs {
        for o in 0..O {
            let w = get::<T, V>(weights[o], whole, inputs - whole);
            for r in 0..R {
                sums[o][r] = w.fma(get(rows[r], whole, inputs - whole), sums[o][r]);
            }
        }
    }
    let mut out = [[T::ZERO; R]; O];
    for o in 0..O {
        for r in 0..R {
            out[o][r] = sums[o][r].sum();
        }
    }
    out
}

impl<T: Real> Kernel<T> for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { weight, x, inputs, to } = self;
        let rows = x.len() / inputs;
        let outputs = to.len() / rows;
        let line = |o: usize| &weight[o * inputs..(o + 1) * inputs];
        let row = |r: usize| &x[r * inputs..(r + 1) * inputs];
        if rows == 1 {
            let mut o = 0;
            while o + ONE <= outputs {
                let sums = dots::<T, V, ONE, 1>([line(o), line(o + 1), line(o + 2), line(o + 3)], [row(0)]);
                for k in 0..ONE {
                    to[o + k] = sums[k][0];
                }
                o += ONE;
            }
            for o in o..outputs {
                to[o] = dots::<T, V, 1, 1>([line(o)], [row(0)])[0][0];
            }
            return;
        }
        for o in (0..outputs).step_by(SEVERAL) {
            // A last output by itself is computed twice.
            let pair = [o, (o + 1).min(outputs - 1)];
            for r in (0..rows).step_by(SEVERAL) {
                let both = [r, (r + 1).min(rows - 1)];
                let sums = dots::<T, V, SEVERAL, SEVERAL>([line(pair[0]), line(pair[1])], [row(both[0]), row(both[1])]);
                for k in 0..SEVERAL {
                    for i in 0..SEVERAL {
                        to[pair[k] * rows + both[i]] = sums[k][i];
                    }
                }
            }
        }
    }
}

/// Whether this form is the faster one.
pub(super) fn pays<T>(affine: &Affine<'_, T>, rows: usize) -> bool {
    (1..=ROWS).contains(&rows) && affine.inputs > 0 && affine.weight.len() >= WEIGHT
}

/// Writes y (rows, outputs), with the bias. Lengths fit.
pub(super) fn forward<T: Real>(affine: &Affine<'_, T>, x: &[T], y: &mut [T]) {
    let (i, o) = (affine.inputs, affine.outputs);
    let rows = x.len() / i;
    let each = (TASK / i).max(ONE).next_multiple_of(ONE);
    let run = |to: &mut [T]| {
        let tasks: Vec<Task<'_, T>> = affine
            .weight
            .chunks(each * i)
            .zip(to.chunks_mut(each * rows))
            .map(|(weight, to)| Task { weight, x, inputs: i, to })
            .collect();
        for_each(tasks, dispatch);
    };
    if rows == 1 {
        run(y);
    } else {
        let mut turned = vec![T::ZERO; y.len()];
        run(&mut turned);
        for (r, y) in y.chunks_exact_mut(o).enumerate() {
            for (j, y) in y.iter_mut().enumerate() {
                *y = turned[j * rows + r];
            }
        }
    }
    if let Some(bias) = affine.bias {
        for y in y.chunks_exact_mut(o) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += *b);
        }
    }
}
