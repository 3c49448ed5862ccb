//! Coordinates on their way to a tensor: cells that come twice, cells that are absent, and whether the tensor is held dense.

use super::{Absent, Duplicates, Masked, Missing, ReadOptions, Storage, TensorData};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use crate::table::frame::RowMap;
use crate::tensor::data::{Dense, Sparse};
use rayon::prelude::*;

/// Coordinates as they were read: entry `k` is at `(indices[0][k], …)`, cells may come twice.
pub struct Coo<T> {
    pub shape: Vec<usize>,
    pub indices: Vec<Vec<u32>>,
    pub values: Vec<T>,
    /// From entries to rows of the file.
    pub rows: RowMap,
    /// Entries that said NaN and were left out.
    pub nan: usize,
}

/// What became of the coordinates.
pub struct Finished<T> {
    pub data: TensorData<T>,
    /// Entries that were merged into an earlier one of the same cell.
    pub merged: usize,
}

impl<T: Real> Coo<T> {
    /// The tensor. `default` is what absent cells are when the options do not say: `None` makes an incomplete tensor an error.
    ///
    /// Errors: no entries, a cell that comes twice (unless the options say what to do), absent cells without a meaning, a dense tensor
    /// that was asked for and is too large. Cost: O(n) when the entries are sorted, else O(n log n) with 8 bytes an entry (16
    /// where a cell has more than 64 bits), and 24 for each that comes twice.
    pub fn finish(mut self, file: &str, options: &ReadOptions, default: Option<Missing>) -> Result<Finished<T>, BadInput> {
        if self.values.is_empty() {
            let what = if self.nan > 0 { "every entry is missing" } else { "holds no entries" };
            return Err(BadInput::new(file, what).remedy("expected at least one cell with a value"));
        }
        let merged = self.resolve_duplicates(file, options.duplicates)?;
        let cells = self.shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
        let full = cells == Some(self.values.len());
        let absent = match options.missing.or(default) {
            _ if full => Absent::Zero,
            Some(Missing::Zero) => Absent::Zero,
            Some(Missing::Absent) => Absent::Unobserved,
            None => {
                let total = cells.map_or("more than 2^64".to_owned(), |c| c.to_string());
                let what = format!("holds {} of the {total} cells of shape {:?}", self.values.len(), self.shape);
                return Err(BadInput::new(file, what)
                    .remedy("say what the others are: --missing absent (not observed) or --missing zero"));
            }
        };
        let dense = match options.storage {
            Storage::Sparse => false,
            Storage::Dense => true,
            Storage::Auto => dense_is_smaller::<T>(&self.shape, self.values.len(), absent == Absent::Unobserved),
        };
        let data = match (dense, absent) {
            (false, _) => TensorData::Sparse(Sparse::new(self.shape, self.indices, self.values), absent),
            (true, Absent::Zero) => TensorData::Dense(self.dense(file)?),
            (true, Absent::Unobserved) => {
                let mut observed = vec![false; self.dense_len(file)?];
                let strides = strides(&self.shape);
                for k in 0..self.values.len() {
                    observed[offset(&self.indices, &strides, k)] = true;
                }
                TensorData::Masked(Masked { tensor: self.dense(file)?, observed })
            }
        };
        Ok(Finished { data, merged })
    }

    /// The number of cells, if an array of them can be allocated.
    fn dense_len(&self, file: &str) -> Result<usize, BadInput> {
        let cells = self.shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
        let fits = cells.filter(|c| c.checked_mul(size_of::<T>()).is_some_and(|b| b <= isize::MAX as usize));
        let room = fits.filter(|c| Vec::<T>::new().try_reserve_exact(*c).is_ok());
        room.ok_or_else(|| {
            BadInput::new(file, format!("a dense tensor of shape {:?} does not fit in memory", self.shape))
                .remedy("keep it sparse: --storage sparse")
        })
    }

    fn dense(&self, file: &str) -> Result<Dense<T>, BadInput> {
        let mut values = vec![T::ZERO; self.dense_len(file)?];
        let strides = strides(&self.shape);
        for (k, v) in self.values.iter().enumerate() {
            values[offset(&self.indices, &strides, k)] = *v;
        }
        Ok(Dense::new(self.shape.clone(), values))
    }

    /// Merges or refuses entries of the same cell; returns how many went.
    fn resolve_duplicates(&mut self, file: &str, policy: Duplicates) -> Result<usize, BadInput> {
        // Sorted files are common, in the order of the modes or in reverse; then one look is enough.
        let n = self.indices.len();
        if ascends(&self.indices, (0..n).collect()) || ascends(&self.indices, (0..n).rev().collect()) {
            return Ok(0);
        }
        let bits: Vec<u32> = self.shape.iter().map(|n| usize::BITS - n.saturating_sub(1).leading_zeros()).collect();
        let groups = match bits.iter().sum::<u32>() {
            0..=64 => groups(self.values.len(), |k| pack(&self.indices, &bits, k) as u64),
            65..=128 => groups(self.values.len(), |k| pack(&self.indices, &bits, k)),
            _ => groups(self.values.len(), |k| self.indices.iter().map(|column| column[k]).collect::<Vec<u32>>()),
        };
        if groups.is_empty() {
            return Ok(0);
        }
        if policy == Duplicates::Error {
            // The pair whose second entry comes first in the file.
            let pair = groups.iter().map(|g| (g[1], g[0])).min().unwrap_or_default();
            let cell: Vec<u32> = self.indices.iter().map(|column| column[pair.1]).collect();
            let what = format!("both hold the cell {cell:?} (counted from 0)");
            return Err(BadInput::new(file, what)
                .row(self.rows.file_row(pair.1))
                .row(self.rows.file_row(pair.0))
                .remedy("say what to do with --duplicates sum, mean or last"));
        }
        let mut dropped = vec![false; self.values.len()];
        let mut merged = 0;
        for group in &groups {
            let sum = || group.iter().map(|k| self.values[*k].to_f64()).sum::<f64>();
            let value = match policy {
                Duplicates::Sum => T::from_f64(sum()),
                Duplicates::Mean => T::from_f64(sum() / group.len() as f64),
                Duplicates::Last | Duplicates::Error => self.values[group[group.len() - 1]],
            };
            if !value.is_finite() {
                let what = format!("{} entries of one cell add up to more than a number can hold", group.len());
                return Err(BadInput::new(file, what).row(self.rows.file_row(group[0])));
            }
            self.values[group[0]] = value;
            for k in &group[1..] {
                dropped[*k] = true;
                merged += 1;
            }
        }
        let keep = |column: &mut Vec<u32>| {
            let mut k = 0;
            column.retain(|_| {
                k += 1;
                !dropped[k - 1]
            });
        };
        self.indices.iter_mut().for_each(keep);
        let mut k = 0;
        self.values.retain(|_| {
            k += 1;
            !dropped[k - 1]
        });
        Ok(merged)
    }
}

/// Whether a dense tensor takes no more memory than the coordinates: `cells · size` (and a byte a cell for a mask) against
/// `entries · (4 · order + size)`. Then nothing is lost: the memory does not grow, and dense kernels do several times more cells a second
/// than sparse ones do entries. For three modes in f64 it is so from 40 % of the cells (45 % with a mask).
pub fn dense_is_smaller<T>(shape: &[usize], entries: usize, mask: bool) -> bool {
    let cell = size_of::<T>() + usize::from(mask);
    let dense = shape.iter().try_fold(cell, |all, n| all.checked_mul(*n));
    dense.is_some_and(|d| d <= entries.saturating_mul(4 * shape.len() + size_of::<T>()))
}

/// Steps between neighbours along every mode in C order. The product of the shape fits.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for n in (1..shape.len()).rev() {
        strides[n - 1] = strides[n] * shape[n];
    }
    strides
}

fn offset(indices: &[Vec<u32>], strides: &[usize], k: usize) -> usize {
    indices.iter().zip(strides).map(|(column, stride)| column[k] as usize * stride).sum()
}

/// Whether the entries are in strictly ascending order, `modes[0]` counting first: then no cell comes twice.
fn ascends(indices: &[Vec<u32>], modes: Vec<usize>) -> bool {
    let n = indices.first().map_or(0, Vec::len);
    let before = |k: usize| {
        for m in &modes {
            let (a, b) = (indices[*m][k], indices[*m][k + 1]);
            if a != b {
                return a < b;
            }
        }
        false
    };
    (0..n.saturating_sub(1)).all(before)
}

/// The cell of entry `k` as one number.
fn pack(indices: &[Vec<u32>], bits: &[u32], k: usize) -> u128 {
    indices.iter().zip(bits).fold(0, |key, (column, bits)| (key << bits) | u128::from(column[k]))
}

/// Entries of equal key, each group in file order; only groups of two and more. Groups come in the order of their keys.
fn groups<K: Ord + Send + Sync>(n: usize, key: impl Fn(usize) -> K + Sync) -> Vec<Vec<usize>> {
    let mut keys: Vec<K> = (0..n).into_par_iter().map(&key).collect();
    keys.par_sort_unstable();
    // Mostly no cell comes twice, or few do: positions are looked up for those alone and never carried along.
    let mut twice = Vec::new();
    let mut before = None;
    for k in keys {
        match &before {
            Some(b) if *b == k => {
                if twice.last() != Some(&k) {
                    twice.push(k);
                }
            }
            _ => before = Some(k),
        }
    }
    if twice.is_empty() {
        return Vec::new();
    }
    let found = |k: usize| twice.binary_search(&key(k)).ok().map(|group| (group, k));
    let hits: Vec<(usize, usize)> = (0..n).into_par_iter().filter_map(found).collect();
    let mut groups = vec![Vec::new(); twice.len()];
    // In file order, because `collect` keeps it.
    hits.into_iter().for_each(|(group, k)| groups[group].push(k));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coo(shape: &[usize], entries: &[(&[u32], f64)]) -> Coo<f64> {
        Coo {
            shape: shape.to_vec(),
            indices: (0..shape.len()).map(|n| entries.iter().map(|e| e.0[n]).collect()).collect(),
            values: entries.iter().map(|e| e.1).collect(),
            rows: RowMap::default(),
            nan: 0,
        }
    }

    #[test]
    fn duplicates_do_what_they_are_told_at_every_key_width() {
        // 3 bits, 96 bits, and more than 128 bits.
        for (order, size) in [(3, 2usize), (3, 1 << 32), (5, 1 << 32)] {
            let shape = vec![size; order];
            let cell = |i: u32| -> Vec<u32> { (0..order as u32).map(|n| if n == 1 { i } else { 1 }).collect() };
            let (a, b) = (cell(1), cell(0));
            let entries: Vec<(&[u32], f64)> = vec![(&a, 1.0), (&b, 5.0), (&a, 2.0), (&a, 6.0)];
            let run = |duplicates| {
                let options =
                    ReadOptions { duplicates, missing: Some(Missing::Zero), storage: Storage::Sparse, ..Default::default() };
                coo(&shape, &entries).finish("f", &options, None)
            };
            for (policy, value) in [(Duplicates::Sum, 9.0), (Duplicates::Mean, 3.0), (Duplicates::Last, 6.0)] {
                let done = run(policy).unwrap();
                let TensorData::Sparse(s, Absent::Zero) = done.data else { panic!() };
                assert_eq!((s.values(), done.merged), (&[value, 5.0][..], 2));
                assert_eq!(s.indices(1), [1, 0]);
            }
            let e = run(Duplicates::Error).err().unwrap();
            assert_eq!(e.rows(), [1, 3]);
        }
    }

    #[test]
    fn dense_only_when_it_is_not_larger() {
        assert!(dense_is_smaller::<f64>(&[10, 10, 10], 400, false));
        assert!(!dense_is_smaller::<f64>(&[10, 10, 10], 399, false));
        assert!(dense_is_smaller::<f64>(&[10, 10, 10], 450, true));
        assert!(!dense_is_smaller::<f64>(&[10, 10, 10], 449, true));
        assert!(!dense_is_smaller::<f64>(&[usize::MAX, 3], 3, false));
        assert!(dense_is_smaller::<f32>(&[4, 4], 6, false), "64 bytes against 72");
    }

    #[test]
    fn a_dense_tensor_that_cannot_be_is_an_error() {
        let options = ReadOptions { storage: Storage::Dense, missing: Some(Missing::Zero), ..Default::default() };
        for shape in [[1 << 32, 1 << 32, 1 << 32], [1 << 30, 1 << 30, 1]] {
            let e = coo(&shape, &[(&[0, 1, 0], 1.0)]).finish("f", &options, None).err().unwrap().to_string();
            assert!(e.contains("memory") && e.contains("--storage sparse"), "{e}");
        }
    }
}
