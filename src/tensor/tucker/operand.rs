//! What the methods ask of a tensor, and the answers of dense tensors.
//!
//! A method is written once for dense tensors of `f32` and `f64` and for sparse ones: it asks an [`Operand`] for Gram matrices, for
//! products along a mode and the like. The first product gives an [`Operand::Next`], which is `f64` and mostly much smaller.

use std::ops::Range;

use faer::Mat;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::reconstruct::blocks;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use crate::kernels::ttm::{mode_gram, ttm};
use crate::run::seed::Streams;
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// Numbers that a slab of widened numbers holds, about: 4 MiB of `f64`.
const SLAB: usize = 1 << 19;
/// Numbers of a piece of a sum or of a random tensor.
const PIECE: usize = 1 << 16;

/// What one pass over a tensor finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scan {
    /// The sum of squares.
    pub squares: f64,
    /// The largest magnitude.
    pub largest: f64,
    /// Where, in the order of storage, the first number lies that is NaN or infinite.
    pub bad: Option<(usize, f64)>,
}

impl Scan {
    /// Sums in `f64`, in pieces of a fixed size.
    pub fn of<T: Real>(values: &[T]) -> Self {
        let parts: Vec<(f64, f64)> = values
            .par_chunks(PIECE)
            .map(|piece| {
                let (mut sums, mut largest) = ([0.0; 8], [0.0f64; 8]);
                for of in piece.chunks(8) {
                    for (k, x) in of.iter().enumerate() {
                        let x = x.to_f64();
                        sums[k] += x * x;
                        largest[k] = largest[k].max(x.abs());
                    }
                }
                (sums.iter().sum(), largest.into_iter().fold(0.0, f64::max))
            })
            .collect();
        let squares: f64 = parts.iter().map(|p| p.0).sum();
        // A NaN or an infinity makes the sum NaN or infinite, so one test of the sum does for all numbers.
        let bad = if squares.is_finite() { None } else { values.iter().position(|x| !x.is_finite()) };
        Self { squares, largest: parts.iter().map(|p| p.1).fold(0.0, f64::max), bad: bad.map(|at| (at, values[at].to_f64())) }
    }
}

/// A tensor as the Tucker methods see it. X_(n) is the unfolding along mode n: a row for every index of the mode.
pub trait Operand: Sync {
    /// What is left after a product along a mode.
    type Next: Operand<Next = Self::Next> + Send;

    fn shape(&self) -> &[usize];
    /// One pass over all numbers.
    fn scan(&self) -> Scan;
    /// The place in the tensor of the number at `at` in the order of storage.
    fn place(&self, at: usize) -> Vec<usize>;
    /// X_(n) X_(n)ᵀ (I_n, I_n), summed in `f64`.
    fn gram(&self, mode: usize) -> Matrix;
    /// R (k, I_n) with RᵀR = X_(n) X_(n)ᵀ, k <= I_n, by orthogonal transformations: nothing is squared.
    fn triangle(&self, mode: usize) -> Matrix;
    /// X ×_n M for M (J, I_n).
    fn ttm(&self, m: MatRef<'_, f64>, mode: usize) -> Self::Next;
    /// X_(n) Z_(n)ᵀ (I_n, l) for a Z that is `self.ttm(…, mode)` or `self.random(mode, …)`.
    fn cross(&self, z: &Self::Next, mode: usize) -> Matrix;
    /// Standard normal numbers of the shape of X with l at the mode, where X_(n) has columns. Stream `index` of "range-finder".
    fn random(&self, mode: usize, l: usize, streams: &Streams, index: u64) -> Self::Next;
    /// Rows of X_(n), each of all other modes in order; `None` when the tensor is not dense.
    fn rows(&self, mode: usize, rows: Range<usize>) -> Option<Vec<f64>>;
    /// ‖X − model‖², cell by cell; `None` when that would visit too many cells that are not stored.
    fn residual(&self, model: &Tucker) -> Option<f64>;
    /// All cells.
    fn into_dense(self) -> Dense<f64>
    where
        Self: Sized;
    /// The same numbers as a [`Next`](Self::Next).
    fn to_next(&self) -> Self::Next;
}

/// A dense float: how it becomes `f64`.
pub trait Widen: Real {
    /// Whether it is `f64` already.
    const WIDE: bool;
    /// The numbers as `f64`: as they lie, or written to `buffer`.
    fn widen<'a>(x: &'a [Self], buffer: &'a mut Vec<f64>) -> &'a [f64];
    fn into_wide(x: Vec<Self>) -> Vec<f64>;
}

impl Widen for f64 {
    const WIDE: bool = true;
    fn widen<'a>(x: &'a [f64], _: &'a mut Vec<f64>) -> &'a [f64] {
        x
    }
    fn into_wide(x: Vec<f64>) -> Vec<f64> {
        x
    }
}

impl Widen for f32 {
    const WIDE: bool = false;
    fn widen<'a>(x: &'a [f32], buffer: &'a mut Vec<f64>) -> &'a [f64] {
        buffer.clear();
        buffer.extend(x.iter().map(|&x| f64::from(x)));
        buffer
    }
    fn into_wide(x: Vec<f32>) -> Vec<f64> {
        x.into_iter().map(f64::from).collect()
    }
}

/// A dense tensor that lies elsewhere, in C order.
#[derive(Debug, Clone)]
pub struct View<'a, T> {
    shape: Vec<usize>,
    values: &'a [T],
}

impl<'a, T: Widen> View<'a, T> {
    /// Panics when the shape and the number of values disagree.
    pub fn new(shape: Vec<usize>, values: &'a [T]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a view of shape {shape:?}");
        Self { shape, values }
    }

    /// Calls `work` with (axis, indices of the axis, shape, numbers) of slabs that together are the tensor. The axis is not `mode`
    /// unless that is the only one; `f64` comes as one slab, without a copy.
    fn slabs(&self, mode: usize, mut work: impl FnMut(usize, Range<usize>, &[usize], &[f64])) {
        let axis = if mode != 0 || self.shape.len() == 1 { 0 } else { 1 };
        let length = self.shape[axis];
        let mut wide = Vec::new();
        if T::WIDE || self.shape.len() == 1 {
            work(axis, 0..length, &self.shape, T::widen(self.values, &mut wide));
            return;
        }
        let step = (SLAB / (self.values.len() / length).max(1)).clamp(1, length);
        let behind: usize = self.shape[axis + 1..].iter().product();
        let mut narrow: Vec<T> = Vec::new();
        let mut shape = self.shape.clone();
        for start in (0..length).step_by(step) {
            let range = start..length.min(start + step);
            shape[axis] = range.len();
            let part = range.start * behind..range.end * behind;
            let numbers = if axis == 0 {
                &self.values[part]
            } else {
                narrow.clear();
                self.values.chunks_exact(length * behind).for_each(|line| narrow.extend_from_slice(&line[part.clone()]));
                &narrow
            };
            work(axis, range, &shape, T::widen(numbers, &mut wide));
        }
    }
}

/// The shape with another size at one mode.
pub fn with_size(shape: &[usize], mode: usize, size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[mode] = size;
    shape
}

/// Sizes before, at and behind a mode.
pub fn around(shape: &[usize], mode: usize) -> (usize, usize, usize) {
    (shape[..mode].iter().product(), shape[mode], shape[mode + 1..].iter().product())
}

/// The index of every mode of the cell at `at` in C order.
pub fn unravel(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        (*i, at) = (at % size, at / size);
    }
    index
}

/// X_(n) Z_(n)ᵀ added to `out` (I_n, l).
fn add_cross(x: &[f64], z: &[f64], shape: &[usize], l: usize, mode: usize, out: &mut [f64]) {
    // x: (before, size, behind), z: (before, l, behind)
    let (before, size, behind) = around(shape, mode);
    if behind == 1 {
        matmul(MatRef::new(x, before, size).t(), MatRef::new(z, before, l), MatMut::new(out, size, l), true);
        return;
    }
    // Several planes to a piece, sums of pieces added in order.
    let planes = (8 * PIECE).div_ceil(size * behind).max(before.div_ceil(64));
    let sums: Vec<Vec<f64>> = (0..before.div_ceil(planes))
        .into_par_iter()
        .map(|piece| {
            let mut sum = vec![0.0; size * l];
            for p in piece * planes..before.min((piece + 1) * planes) {
                let x = MatRef::new(&x[p * size * behind..], size, behind);
                let z = MatRef::new(&z[p * l * behind..], l, behind);
                matmul(x, z.t(), MatMut::new(&mut sum, size, l), true);
            }
            sum
        })
        .collect();
    for sum in sums {
        out.iter_mut().zip(&sum).for_each(|(o, s)| *o += s);
    }
}

/// The triangle of a QR factorization of `a`, (min(rows, cols), cols) in rows.
pub fn upper_triangle(a: &Mat<f64>) -> Matrix {
    // faer is built without its own threads: the same bits at any number of ours.
    let qr = a.qr();
    let r = qr.R();
    let k = a.nrows().min(a.ncols());
    Matrix::new(
        k,
        a.ncols(),
        (0..k * a.ncols()).map(|e| (e / a.ncols(), e % a.ncols())).map(|(i, j)| if j < i { 0.0 } else { r[(i, j)] }).collect(),
    )
}

/// One triangle for rows that come in pieces: `fill(first row, matrix, first free row of it, count)` writes rows into the matrix.
/// The pieces depend on the sizes alone; a chain of pieces is folded by one task, chains are merged in order.
pub fn fold_triangle(rows: usize, cols: usize, fill: impl Fn(usize, &mut Mat<f64>, usize, usize) + Sync) -> Matrix {
    let piece = (3 * cols).max(256);
    let pieces = rows.div_ceil(piece);
    let chain = pieces.div_ceil(16).max(4);
    let merge = |above: Option<Matrix>, count: usize, fill: &dyn Fn(&mut Mat<f64>, usize)| {
        let top = above.as_ref().map_or(0, |a| a.rows);
        let mut stacked = Mat::zeros(top + count, cols);
        if let Some(a) = &above {
            for i in 0..a.rows {
                for j in i..cols {
                    stacked[(i, j)] = a.at(i, j);
                }
            }
        }
        fill(&mut stacked, top);
        upper_triangle(&stacked)
    };
    let chains: Vec<Matrix> = (0..pieces.div_ceil(chain))
        .into_par_iter()
        .map(|c| {
            let mut triangle = None;
            for p in c * chain..pieces.min((c + 1) * chain) {
                let (first, count) = (p * piece, piece.min(rows - p * piece));
                triangle = Some(merge(triangle, count, &|to, at| fill(first, to, at, count)));
            }
            triangle.expect("a chain holds at least one piece")
        })
        .collect();
    chains
        .into_iter()
        .reduce(|above, below| {
            merge(Some(above), below.rows, &|to, at| {
                for i in 0..below.rows {
                    for j in i..cols {
                        to[(at + i, j)] = below.at(i, j);
                    }
                }
            })
        })
        .expect("a tensor has numbers")
}

impl<T: Widen> Operand for View<'_, T> {
    type Next = Dense<f64>;

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn scan(&self) -> Scan {
        Scan::of(self.values)
    }

    fn place(&self, at: usize) -> Vec<usize> {
        unravel(&self.shape, at)
    }

    fn gram(&self, mode: usize) -> Matrix {
        let size = self.shape[mode];
        let mut gram = Matrix::zeros(size, size);
        if T::WIDE {
            self.slabs(mode, |_, _, shape, x| mode_gram(x, shape, mode, &mut gram.values));
        } else {
            let mut part = vec![0.0; size * size];
            self.slabs(mode, |_, _, shape, x| {
                mode_gram(x, shape, mode, &mut part);
                gram.values.iter_mut().zip(&part).for_each(|(sum, p)| *sum += p);
            });
        }
        gram
    }

    fn triangle(&self, mode: usize) -> Matrix {
        let size = self.shape[mode];
        let mut all: Option<Matrix> = None;
        self.slabs(mode, |_, _, shape, x| {
            let (before, _, behind) = around(shape, mode);
            // Row (p, t) of X_(n)ᵀ holds x[p, :, t].
            let part = fold_triangle(before * behind, size, |first, to, at, count| {
                for i in 0..size {
                    let mut to = to.col_mut(i).try_as_col_major_mut().expect("columns lie together").as_slice_mut()
                        [at..at + count]
                        .iter_mut();
                    let (mut p, mut t) = (first / behind, first % behind);
                    while to.len() > 0 {
                        let run = (behind - t).min(to.len());
                        let from = &x[(p * size + i) * behind + t..][..run];
                        to.by_ref().take(run).zip(from).for_each(|(to, from)| *to = *from);
                        (p, t) = (p + 1, 0);
                    }
                }
            });
            all = Some(match all.take() {
                None => part,
                Some(above) => {
                    let stacked = Mat::from_fn(above.rows + part.rows, size, |i, j| {
                        if i < above.rows { above.at(i, j) } else { part.at(i - above.rows, j) }
                    });
                    upper_triangle(&stacked)
                }
            });
        });
        all.expect("a tensor has numbers")
    }

    fn ttm(&self, m: MatRef<'_, f64>, mode: usize) -> Dense<f64> {
        let mut out = Dense::zeros(&with_size(&self.shape, mode, m.rows()));
        if T::WIDE || self.shape.len() == 1 {
            self.slabs(mode, |_, _, shape, x| ttm(x, shape, m, mode, out.values_mut()));
            return out;
        }
        let length = out.shape().to_vec();
        let mut part = Vec::new();
        self.slabs(mode, |axis, range, shape, x| {
            let behind: usize = length[axis + 1..].iter().product();
            part.resize(x.len() / shape[mode] * m.rows(), 0.0);
            ttm(x, shape, m, mode, &mut part);
            let whole = length[axis] * behind;
            let lines = out.values_mut().chunks_exact_mut(whole).zip(part.chunks_exact(range.len() * behind));
            lines.for_each(|(to, from)| to[range.start * behind..range.end * behind].copy_from_slice(from));
        });
        out
    }

    fn cross(&self, z: &Dense<f64>, mode: usize) -> Matrix {
        let l = z.shape()[mode];
        let mut out = Matrix::zeros(self.shape[mode], l);
        let mut lines: Vec<f64> = Vec::new();
        self.slabs(mode, |axis, range, shape, x| {
            let behind: usize = z.shape()[axis + 1..].iter().product();
            let part = range.start * behind..range.end * behind;
            // One slab that is the whole tensor, possibly cut along the mode itself when there is no other.
            let z = if x.len() == self.values.len() {
                z.values()
            } else if axis == 0 {
                &z.values()[part]
            } else {
                lines.clear();
                z.values().chunks_exact(z.shape()[axis] * behind).for_each(|line| lines.extend_from_slice(&line[part.clone()]));
                &lines
            };
            add_cross(x, z, shape, l, mode, &mut out.values);
        });
        out
    }

    fn random(&self, mode: usize, l: usize, streams: &Streams, index: u64) -> Dense<f64> {
        let mut out = Dense::zeros(&with_size(&self.shape, mode, l));
        out.values_mut().par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
            // 2^32 pieces of 2^16 numbers: streams of different draws stay apart.
            let mut rng = streams.stream("range-finder", index << 32 | piece as u64);
            to.iter_mut().for_each(|x| *x = StandardNormal.sample(&mut rng));
        });
        out
    }

    fn rows(&self, mode: usize, rows: Range<usize>) -> Option<Vec<f64>> {
        let (before, size, behind) = around(&self.shape, mode);
        let mut out = Vec::with_capacity(rows.len() * before * behind);
        for i in rows {
            for p in 0..before {
                out.extend(self.values[(p * size + i) * behind..][..behind].iter().map(|x| x.to_f64()));
            }
        }
        Some(out)
    }

    fn residual(&self, model: &Tucker) -> Option<f64> {
        let mut sum = 0.0;
        blocks(model, 4 * SLAB, |at, cells| sum += squared_distance(&self.values[at..at + cells.len()], cells));
        Some(sum)
    }

    fn into_dense(self) -> Dense<f64> {
        self.to_next()
    }

    fn to_next(&self) -> Dense<f64> {
        Dense::new(self.shape.clone(), self.values.iter().map(|x| x.to_f64()).collect())
    }
}

/// Σ (x − y)², in pieces of a fixed size.
pub fn squared_distance<T: Real>(x: &[T], y: &[f64]) -> f64 {
    let parts: Vec<f64> = x
        .par_chunks(PIECE)
        .zip(y.par_chunks(PIECE))
        .map(|(x, y)| x.iter().zip(y).map(|(x, y)| (x.to_f64() - y).powi(2)).sum())
        .collect();
    parts.iter().sum()
}

impl<T: Widen> Operand for Dense<T> {
    type Next = Dense<f64>;

    fn shape(&self) -> &[usize] {
        self.shape()
    }
    fn scan(&self) -> Scan {
        view(self).scan()
    }
    fn place(&self, at: usize) -> Vec<usize> {
        unravel(self.shape(), at)
    }
    fn gram(&self, mode: usize) -> Matrix {
        view(self).gram(mode)
    }
    fn triangle(&self, mode: usize) -> Matrix {
        view(self).triangle(mode)
    }
    fn ttm(&self, m: MatRef<'_, f64>, mode: usize) -> Dense<f64> {
        view(self).ttm(m, mode)
    }
    fn cross(&self, z: &Dense<f64>, mode: usize) -> Matrix {
        view(self).cross(z, mode)
    }
    fn random(&self, mode: usize, l: usize, streams: &Streams, index: u64) -> Dense<f64> {
        view(self).random(mode, l, streams, index)
    }
    fn rows(&self, mode: usize, rows: Range<usize>) -> Option<Vec<f64>> {
        view(self).rows(mode, rows)
    }
    fn residual(&self, model: &Tucker) -> Option<f64> {
        view(self).residual(model)
    }
    fn into_dense(self) -> Dense<f64> {
        let shape = self.shape().to_vec();
        Dense::new(shape, T::into_wide(self.into_values()))
    }
    fn to_next(&self) -> Dense<f64> {
        view(self).to_next()
    }
}

fn view<T: Widen>(x: &Dense<T>) -> View<'_, T> {
    View::new(x.shape().to_vec(), x.values())
}
