//! What can be said of a tensor before it is decomposed.

use super::{Absent, TensorData, TensorInput};
use crate::kernels::simd::Real;
use crate::table::{Table, Values};
use rayon::prelude::*;
use std::collections::HashMap;

/// Numbers of a piece that is summed by one task; fixed, so that sums do not depend on threads.
const PIECE: usize = 1 << 16;

/// Numbers about a tensor. Sums run in f64; over observed cells where some are not observed, over all cells else.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Sizes of the modes.
    pub shape: Vec<usize>,
    /// The number of all cells, as a float: it may be beyond integers.
    pub cells: f64,
    /// Cells held: all of a dense tensor, the observed ones, or the entries.
    pub held: usize,
    /// Cells that are held and not zero.
    pub nnz: usize,
    /// Cells that are known not to be observed (beyond 2^64 the largest number).
    pub unobserved: u64,
    /// `nnz / cells`.
    pub density: f64,
    /// Square root of the sum of squares.
    pub norm: f64,
    /// Sum.
    pub sum: f64,
    /// Smallest number; zero counts where cells that are not held are zero.
    pub min: f64,
    /// Largest number, likewise.
    pub max: f64,
    /// One a mode.
    pub modes: Vec<ModeStatistics>,
    /// Entries that were merged into others of the same cell.
    pub merged: usize,
    /// Cells that said NaN.
    pub nan: usize,
}

/// Numbers about the slices of a mode. A slice is empty when no cell of it is held and not zero (held, where absent cells are not observed).
#[derive(Debug, Clone, PartialEq)]
pub struct ModeStatistics {
    /// Name of the mode.
    pub name: String,
    /// Number of slices.
    pub size: usize,
    /// Empty slices.
    pub empty: usize,
    /// Cells that count, in the fullest slice.
    pub most: usize,
    /// In the emptiest slice that is not empty.
    pub fewest: usize,
    /// Per slice that is not empty.
    pub mean: f64,
    /// The slice of the largest norm, the first of equals.
    pub largest: usize,
    /// Its norm.
    pub largest_norm: f64,
    /// The smallest norm of a slice that is not empty.
    pub smallest_norm: f64,
}

/// Count and sum of squares of a slice.
#[derive(Clone, Copy, Default)]
struct Slice {
    count: usize,
    squares: f64,
}

/// The statistics of a tensor. Cost: one pass, and one more a mode; memory is the slices, or the entries where there are fewer.
pub fn statistics<T: Real>(input: &TensorInput<T>) -> Statistics {
    let shape = input.data.shape().to_vec();
    let (values, observed): (&[T], Option<&[bool]>) = match &input.data {
        TensorData::Dense(d) => (d.values(), None),
        TensorData::Masked(m) => (m.tensor.values(), Some(&m.observed)),
        TensorData::Sparse(s, _) => (s.values(), None),
    };
    let unobserved_count = matches!(&input.data, TensorData::Masked(_) | TensorData::Sparse(_, Absent::Unobserved));
    // Where absent cells are zero, a zero that is listed is nothing more than an absent one.
    let counts = |k: usize| match observed {
        Some(seen) => seen[k],
        None => unobserved_count || values[k] != T::ZERO,
    };
    let unit = unit(values, observed);
    let total = total(values, observed, unit);
    let cells: f64 = shape.iter().map(|n| *n as f64).product();
    let exact = shape.iter().try_fold(1u64, |all, n| all.checked_mul(*n as u64)).unwrap_or(u64::MAX);
    let implied_zero = matches!(&input.data, TensorData::Sparse(_, Absent::Zero)) && (total.held as f64) < cells;
    let slices = |mode: usize| -> (usize, Vec<(usize, Slice)>) {
        match &input.data {
            TensorData::Sparse(s, _) => sparse_slices(s.indices(mode), (values, unit), shape[mode], &counts),
            _ => (shape[mode], dense_slices(&shape, mode, (values, unit), &counts)),
        }
    };
    let modes = (0..shape.len())
        .map(|mode| {
            let (size, slices) = slices(mode);
            let full: Vec<&(usize, Slice)> = slices.iter().filter(|(_, s)| s.count > 0).collect();
            let counted: usize = full.iter().map(|(_, s)| s.count).sum();
            let largest = full.iter().fold(None::<&(usize, Slice)>, |best, next| match best {
                Some(b) if b.1.squares >= next.1.squares => Some(b),
                _ => Some(next),
            });
            ModeStatistics {
                name: input.modes.get(mode).map_or_else(|| format!("mode_{mode}"), |m| m.name.clone()),
                size,
                empty: size - full.len(),
                most: full.iter().map(|(_, s)| s.count).max().unwrap_or(0),
                fewest: full.iter().map(|(_, s)| s.count).min().unwrap_or(0),
                mean: if full.is_empty() { 0.0 } else { counted as f64 / full.len() as f64 },
                largest: largest.map_or(0, |l| l.0),
                largest_norm: largest.map_or(0.0, |l| unit * l.1.squares.sqrt()),
                smallest_norm: unit * full.iter().map(|(_, s)| s.squares).fold(f64::INFINITY, f64::min).sqrt(),
            }
        })
        .map(|m| if m.smallest_norm.is_finite() { m } else { ModeStatistics { smallest_norm: 0.0, ..m } })
        .collect();
    Statistics {
        cells,
        held: total.held,
        nnz: total.nnz,
        unobserved: if unobserved_count { exact.saturating_sub(total.held as u64) } else { 0 },
        density: total.nnz as f64 / cells,
        norm: unit * total.squares.sqrt(),
        sum: unit * total.sum,
        min: if implied_zero { total.min.min(0.0) } else { total.min },
        max: if implied_zero { total.max.max(0.0) } else { total.max },
        modes,
        merged: input.merged,
        nan: input.nan,
        shape,
    }
}

impl Statistics {
    /// A row a mode.
    pub fn modes_table(&self) -> Table {
        let whole = |of: fn(&ModeStatistics) -> usize| Values::Integer(self.modes.iter().map(|m| of(m) as i64).collect());
        let real = |of: fn(&ModeStatistics) -> f64| Values::Number(self.modes.iter().map(of).collect());
        Table::new()
            .with("mode", Values::Integer((0..self.modes.len() as i64).collect()))
            .with("name", Values::Text(self.modes.iter().map(|m| m.name.as_str().into()).collect()))
            .with("size", whole(|m| m.size))
            .with("empty", whole(|m| m.empty))
            .with("fewest", whole(|m| m.fewest))
            .with("mean", real(|m| m.mean))
            .with("most", whole(|m| m.most))
            .with("smallest_norm", real(|m| m.smallest_norm))
            .with("largest_norm", real(|m| m.largest_norm))
            .with("largest", whole(|m| m.largest))
    }
}

struct Total {
    held: usize,
    nnz: usize,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
}

/// A power of two near the largest number where squares of the numbers would overflow or vanish, else 1: sums are made in this unit.
fn unit<T: Real>(values: &[T], observed: Option<&[bool]>) -> f64 {
    let largest = |(i, part): (usize, &[T])| {
        let seen = part.iter().enumerate().filter(|(k, _)| observed.is_none_or(|seen| seen[i * PIECE + k]));
        seen.fold(0.0f64, |m, (_, v)| m.max(v.to_f64().abs()))
    };
    let largest = values.par_chunks(PIECE).enumerate().map(largest).reduce(|| 0.0, f64::max);
    // Between these, 1e40 squares and their sum are far from the ends of f64.
    if largest == 0.0 || (1e-130..1e130).contains(&largest) { 1.0 } else { 2f64.powi(largest.log2() as i32) }
}

fn total<T: Real>(values: &[T], observed: Option<&[bool]>, unit: f64) -> Total {
    let piece = |(i, part): (usize, &[T])| {
        let mut t = Total { held: 0, nnz: 0, sum: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        for (k, v) in part.iter().enumerate() {
            if observed.is_some_and(|seen| !seen[i * PIECE + k]) {
                continue;
            }
            let x = v.to_f64();
            t.held += 1;
            t.nnz += usize::from(x != 0.0);
            let part = x / unit;
            t.sum += part;
            t.squares += part * part;
            t.min = t.min.min(x);
            t.max = t.max.max(x);
        }
        t
    };
    let parts: Vec<Total> = values.par_chunks(PIECE).enumerate().map(piece).collect();
    let start = Total { held: 0, nnz: 0, sum: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
    parts.into_iter().fold(start, |a, b| Total {
        held: a.held + b.held,
        nnz: a.nnz + b.nnz,
        sum: a.sum + b.sum,
        squares: a.squares + b.squares,
        min: a.min.min(b.min),
        max: a.max.max(b.max),
    })
}

/// Slices of an array in C order.
fn dense_slices<T: Real>(
    shape: &[usize],
    mode: usize,
    (values, unit): (&[T], f64),
    counts: &(impl Fn(usize) -> bool + Sync),
) -> Vec<(usize, Slice)> {
    let inner: usize = shape[mode + 1..].iter().product();
    let row = shape[mode] * inner;
    if inner < 64 && row <= 8 * PIECE {
        // Neighbours in memory belong to different slices: pieces of whole rows, each with all slices, added in order.
        let rows = (8 * PIECE / row).max(1);
        let piece = |(p, part): (usize, &[T])| {
            let mut all = vec![Slice::default(); shape[mode]];
            for (k, v) in part.iter().enumerate().filter(|(k, _)| counts(p * rows * row + k)) {
                let (x, s) = (v.to_f64() / unit, &mut all[k / inner % shape[mode]]);
                s.count += 1;
                s.squares += x * x;
            }
            all
        };
        let parts: Vec<Vec<Slice>> = values.par_chunks(rows * row).enumerate().map(piece).collect();
        let mut all = vec![Slice::default(); shape[mode]];
        for part in parts {
            for (s, t) in all.iter_mut().zip(part) {
                s.count += t.count;
                s.squares += t.squares;
            }
        }
        return all.into_iter().enumerate().collect();
    }
    // Each slice is one task: it walks its own rows, in order.
    let slice = |i: usize| {
        let mut s = Slice::default();
        for start in (i * inner..values.len()).step_by(row) {
            for (_, v) in values[start..start + inner].iter().enumerate().filter(|(k, _)| counts(start + k)) {
                let x = v.to_f64() / unit;
                s.count += 1;
                s.squares += x * x;
            }
        }
        (i, s)
    };
    (0..shape[mode]).into_par_iter().map(slice).collect()
}

/// Slices that have entries; a mode may have far more slices than there are entries.
fn sparse_slices<T: Real>(
    indices: &[u32],
    (values, unit): (&[T], f64),
    size: usize,
    counts: &impl Fn(usize) -> bool,
) -> (usize, Vec<(usize, Slice)>) {
    let add = |s: &mut Slice, k: usize| {
        let x = values[k].to_f64() / unit;
        s.count += 1;
        s.squares += x * x;
    };
    let held = (0..values.len()).filter(|k| counts(*k));
    if size <= 4 * values.len() + 1024 {
        let mut all = vec![Slice::default(); size];
        held.for_each(|k| add(&mut all[indices[k] as usize], k));
        return (size, all.into_iter().enumerate().collect());
    }
    let mut all: HashMap<u32, Slice> = HashMap::new();
    held.for_each(|k| add(all.entry(indices[k]).or_default(), k));
    let mut slices: Vec<(usize, Slice)> = all.into_iter().map(|(i, s)| (i as usize, s)).collect();
    slices.sort_unstable_by_key(|s| s.0);
    (size, slices)
}
