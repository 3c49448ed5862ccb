//! Cells of a model, computed block by block: residuals, fills and reconstructions never hold more than a block per task.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use crate::tensor::model::Matrix;

/// Cells of a block at most: half a MiB of f64, within a second-level cache.
const BLOCK: usize = 1 << 16;
/// Largest number of trailing cells whose Khatri-Rao rows are kept for all blocks.
const KEPT: usize = 1 << 13;

/// The model of a shape, ready to give any run of cells in C order.
///
/// The modes are split in two; a block is (rows of the leading Khatri-Rao product) · (rows of the trailing one)ᵀ, one matrix product.
/// Cost: 2R operations a cell; memory: the factors, at most 8192 R numbers, and a block of 65536 numbers for every thread.
pub struct Cells<T> {
    shape: Vec<usize>,
    rank: usize,
    split: usize,
    /// Product of the sizes behind the split.
    trailing: usize,
    /// Factors in rows; the weights are in the first.
    factors: Vec<Vec<T>>,
    kept: Option<Vec<T>>,
}

/// Rows `range` of the Khatri-Rao product of `factors` (C order, last mode fastest).
fn khatri_rao<T: Real>(factors: &[Vec<T>], sizes: &[usize], rank: usize, range: Range<usize>, out: &mut Vec<T>) {
    out.clear();
    out.reserve(range.len() * rank);
    let mut at = vec![0usize; sizes.len()];
    let mut rest = range.start;
    for (a, &n) in at.iter_mut().zip(sizes).rev() {
        (*a, rest) = (rest % n, rest / n);
    }
    // `prefix` holds the product over all modes but the last, renewed when one of them moves.
    let last = sizes.len() - 1;
    let mut prefix = vec![T::ONE; rank];
    let mut renew = true;
    for _ in range {
        if renew {
            prefix.fill(T::ONE);
            for (m, f) in factors[..last].iter().enumerate() {
                prefix.iter_mut().zip(&f[at[m] * rank..][..rank]).for_each(|(p, &x)| *p = *p * x);
            }
            renew = false;
        }
        out.extend(prefix.iter().zip(&factors[last][at[last] * rank..][..rank]).map(|(&p, &x)| p * x));
        for m in (0..=last).rev() {
            at[m] += 1;
            if at[m] < sizes[m] {
                break;
            }
            at[m] = 0;
            renew = true;
        }
    }
}

impl<T: Real> Cells<T> {
    /// The model `weights`, `factors`. Needs two modes or more.
    pub fn new(weights: &[f64], factors: &[Matrix]) -> Self {
        let rank = weights.len();
        let shape: Vec<usize> = factors.iter().map(|f| f.rows).collect();
        let mut own: Vec<Vec<T>> = Vec::with_capacity(factors.len());
        for (mode, f) in factors.iter().enumerate() {
            own.push(if mode == 0 {
                f.values.iter().enumerate().map(|(k, &x)| T::from_f64(x * weights[k % rank])).collect()
            } else {
                f.values.iter().map(|&x| T::from_f64(x)).collect()
            });
        }
        // Sides of like size, and the trailing one the smaller among equals, as its rows are kept.
        let trailing = |s: usize| shape[s..].iter().product::<usize>();
        let sides = |s: usize| (shape[..s].iter().product::<usize>().max(trailing(s)), trailing(s));
        let split = (1..shape.len()).min_by_key(|&s| sides(s)).expect("two modes or more");
        let trailing = shape[split..].iter().product();
        let mut cells = Self { shape, rank, split, trailing, factors: own, kept: None };
        if trailing <= KEPT {
            let mut rows = Vec::new();
            cells.right(0..trailing, &mut rows);
            cells.kept = Some(rows);
        }
        cells
    }

    fn right(&self, range: Range<usize>, out: &mut Vec<T>) {
        khatri_rao(&self.factors[self.split..], &self.shape[self.split..], self.rank, range, out);
    }

    /// How the cells, in C order, are cut into blocks.
    pub fn blocks(&self) -> Vec<Range<usize>> {
        let total: usize = self.shape.iter().product();
        if self.trailing > BLOCK {
            // A block stays within one row of the leading product.
            return (0..total)
                .step_by(self.trailing)
                .flat_map(|row| (row..row + self.trailing).step_by(BLOCK).map(move |a| (a, row)))
                .map(|(a, row)| a..(a + BLOCK).min(row + self.trailing))
                .collect();
        }
        let step = BLOCK / self.trailing * self.trailing;
        (0..total).step_by(step).map(|a| a..(a + step).min(total)).collect()
    }

    /// The cells of one of the [`blocks`](Self::blocks).
    pub fn block(&self, range: &Range<usize>, scratch: &mut Scratch<T>) {
        let first_row = range.start / self.trailing;
        let (rows, first_col, cols) = if range.len() >= self.trailing {
            (range.len() / self.trailing, 0, self.trailing)
        } else {
            (1, range.start % self.trailing, range.len())
        };
        khatri_rao(
            &self.factors[..self.split],
            &self.shape[..self.split],
            self.rank,
            first_row..first_row + rows,
            &mut scratch.left,
        );
        let right = match &self.kept {
            Some(kept) => &kept[first_col * self.rank..(first_col + cols) * self.rank],
            None => {
                self.right(first_col..first_col + cols, &mut scratch.right);
                &scratch.right[..]
            }
        };
        scratch.values.resize(rows * cols, T::ZERO);
        matmul(
            MatRef::new(&scratch.left, rows, self.rank),
            MatRef::new(right, cols, self.rank).t(),
            MatMut::new(&mut scratch.values, rows, cols),
            false,
        );
    }

    /// Runs `work` on every block, on all threads, and gives the answers in the order of the cells.
    pub fn map<R: Send>(&self, work: impl Fn(Range<usize>, &[T]) -> R + Sync + Send) -> Vec<R> {
        self.blocks()
            .into_par_iter()
            .map_init(Scratch::default, |scratch, range| {
                self.block(&range, scratch);
                work(range, &scratch.values)
            })
            .collect()
    }

    /// [`map`](Self::map) with the same run of cells of `data` to write.
    pub fn map_mut<R: Send>(&self, mut data: &mut [T], work: impl Fn(Range<usize>, &[T], &mut [T]) -> R + Sync + Send) -> Vec<R> {
        let pieces: Vec<(Range<usize>, &mut [T])> = self
            .blocks()
            .into_iter()
            .map(|range| {
                let piece = data.split_off_mut(..range.len()).expect("the blocks cover the cells");
                (range, piece)
            })
            .collect();
        pieces
            .into_par_iter()
            .map_init(Scratch::default, |scratch, (range, piece)| {
                self.block(&range, scratch);
                work(range, &scratch.values, piece)
            })
            .collect()
    }
}

/// Buffers of a task.
#[derive(Default)]
pub struct Scratch<T> {
    left: Vec<T>,
    right: Vec<T>,
    pub values: Vec<T>,
}

/// Σ (x · inverse − m)² over two runs of cells, in f64, by eight chains.
pub fn squared_distance<T: Real>(x: &[T], inverse: f64, m: &[T]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (whole, rest) = (x.len() / 8 * 8, x.len() % 8);
    for (a, b) in x[..whole].chunks_exact(8).zip(m[..whole].chunks_exact(8)) {
        for k in 0..8 {
            let d = a[k].to_f64() * inverse - b[k].to_f64();
            sums[k] += d * d;
        }
    }
    for k in 0..rest {
        let d = x[whole + k].to_f64() * inverse - m[whole + k].to_f64();
        sums[k] += d * d;
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_definition() {
        // Shapes that take every path: kept and renewed trailing products, one row cut in parts, sizes of 1.
        for shape in [vec![3usize, 4, 5], vec![2, 70_000], vec![70_000, 2], vec![1, 9_000, 3, 1], vec![2, 3, 2, 2, 3], vec![1, 1]]
        {
            let rank = 2;
            let factors: Vec<Matrix> = shape
                .iter()
                .enumerate()
                .map(|(m, &n)| Matrix::new(n, rank, (0..n * rank).map(|k| ((k * 7 + m * 3) % 11) as f64 - 5.0).collect()))
                .collect();
            let weights = [2.0, -0.5];
            let cells = Cells::<f64>::new(&weights, &factors);
            let got: Vec<f64> = cells.map(|_, v| v.to_vec()).concat();
            assert_eq!(got.len(), shape.iter().product::<usize>());
            for (k, &x) in got.iter().enumerate().step_by(1 + got.len() / 5000) {
                let (mut rest, mut p) = (k, weights);
                for m in (0..shape.len()).rev() {
                    let row = factors[m].row(rest % shape[m]);
                    (p[0], p[1]) = (p[0] * row[0], p[1] * row[1]);
                    rest /= shape[m];
                }
                // Small integers and halves: exact.
                assert_eq!(x, p[0] + p[1], "{shape:?} cell {k}");
            }
            let mut copy = vec![0.0; got.len()];
            cells.map_mut(&mut copy, |_, v, to| to.copy_from_slice(v));
            assert_eq!(copy, got);
        }
    }
}
