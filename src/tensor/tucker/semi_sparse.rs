//! Sparse tensors, and what they become when modes are multiplied by a matrix: coordinates for the modes that are still open, a dense
//! line of numbers for those that are closed. Nothing of the size of the dense tensor is ever formed.

use std::ops::Range;

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::operand::{Operand, Scan, View, Widen, around, fold_triangle, with_size};
use super::reconstruct::blocks;
use crate::kernels::gemm::MatRef;
use crate::run::seed::Streams;
use crate::tensor::data::{Dense, Sparse};
use crate::tensor::model::{Matrix, Tucker};

/// Cells up to which the error of a model of a sparse tensor is computed cell by cell.
const CELLS: f64 = (1u64 << 28) as f64;
/// Entries of a task, and most partial sums of a product.
const TASK: usize = 1 << 10;
const SUMS: usize = 16;

/// Entries with coordinates in the open modes, each a line of numbers over the closed modes (in C order).
#[derive(Debug, Clone, PartialEq)]
pub struct SemiSparse {
    shape: Vec<usize>,
    /// The open modes, in order, and an index per entry for each.
    open: Vec<usize>,
    indices: Vec<Vec<u32>>,
    entries: usize,
    /// (entries, sizes of the closed modes in order)
    values: Vec<f64>,
}

/// Entries that agree in all open modes but one.
struct Groups {
    /// Entries, group by group.
    order: Vec<u32>,
    /// Where each group starts, and the end.
    starts: Vec<usize>,
}

impl Groups {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }
    fn of(&self, group: usize) -> &[u32] {
        &self.order[self.starts[group]..self.starts[group + 1]]
    }
}

impl SemiSparse {
    /// All modes open.
    pub fn new<T: Widen>(x: &Sparse<T>) -> Self {
        Self {
            shape: x.shape().to_vec(),
            open: (0..x.order()).collect(),
            indices: (0..x.order()).map(|m| x.indices(m).to_vec()).collect(),
            entries: x.len(),
            values: x.values().iter().map(|v| v.to_f64()).collect(),
        }
    }

    fn closed(&self) -> Vec<usize> {
        (0..self.shape.len()).filter(|m| !self.open.contains(m)).collect()
    }

    /// Numbers of a line.
    fn width(&self) -> usize {
        self.closed().iter().map(|&m| self.shape[m]).product()
    }

    /// Numbers of a line before and behind a mode, open or closed.
    fn beside(&self, mode: usize) -> (usize, usize) {
        let part = |modes: Range<usize>| modes.filter(|m| !self.open.contains(m)).map(|m| self.shape[m]).product();
        (part(0..mode), part(mode + 1..self.shape.len()))
    }

    fn line(&self, entry: u32, width: usize) -> &[f64] {
        &self.values[entry as usize * width..][..width]
    }

    /// The dense tensor (entries, closed modes), and which of its axes a closed mode is.
    fn lines(&self, mode: usize) -> (View<'_, f64>, usize) {
        let closed = self.closed();
        let mut shape = vec![self.entries];
        shape.extend(closed.iter().map(|&m| self.shape[m]));
        (View::new(shape, &self.values), 1 + closed.iter().position(|&m| m == mode).expect("a closed mode"))
    }

    /// Groups along an open mode, in lexicographic order of the other open modes.
    fn groups(&self, mode: usize) -> Groups {
        let at = self.slot(mode);
        let keys: Vec<&[u32]> = self.indices.iter().enumerate().filter(|&(k, _)| k != at).map(|(_, i)| &i[..]).collect();
        let compare =
            |a: usize, b: usize| keys.iter().map(|k| k[a].cmp(&k[b])).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal);
        let mut order: Vec<u32> = (0..self.entries as u32).collect();
        // No two entries share all coordinates: the order is one only.
        let own = &self.indices[at];
        order.par_sort_unstable_by(|&a, &b| compare(a as usize, b as usize).then(own[a as usize].cmp(&own[b as usize])));
        let mut starts = vec![0];
        starts.extend((1..order.len()).filter(|&k| compare(order[k - 1] as usize, order[k] as usize).is_ne()));
        if !order.is_empty() {
            starts.push(order.len());
        }
        Groups { order, starts }
    }

    /// The place of an open mode among the open ones.
    fn slot(&self, mode: usize) -> usize {
        self.open.iter().position(|&m| m == mode).expect("an open mode")
    }

    /// With a mode closed at size `l`, an entry per group, lines yet to be written.
    fn close(&self, mode: usize, l: usize, groups: &Groups) -> Self {
        let at = self.slot(mode);
        let keep = |k: &usize| *k != at;
        let firsts = |k: usize| (0..groups.len()).map(|g| self.indices[k][groups.of(g)[0] as usize]).collect();
        let mut out = Self {
            shape: with_size(&self.shape, mode, l),
            open: (0..self.open.len()).filter(keep).map(|k| self.open[k]).collect(),
            indices: (0..self.open.len()).filter(keep).map(firsts).collect(),
            entries: groups.len(),
            values: Vec::new(),
        };
        out.values = vec![0.0; out.entries * out.width()];
        out
    }
}

impl Operand for SemiSparse {
    type Next = Self;

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn scan(&self) -> Scan {
        Scan::of(&self.values)
    }

    fn place(&self, at: usize) -> Vec<usize> {
        let width = self.width();
        let closed: Vec<usize> = self.closed().iter().map(|&m| self.shape[m]).collect();
        let mut of_line = super::operand::unravel(&closed, at % width).into_iter();
        (0..self.shape.len())
            .map(|m| match self.open.iter().position(|&o| o == m) {
                Some(k) => self.indices[k][at / width] as usize,
                None => of_line.next().expect("an index for every closed mode"),
            })
            .collect()
    }

    /// Costs, for an open mode, the squares of the lengths of the fibres along it times the width of a line.
    fn gram(&self, mode: usize) -> Matrix {
        let size = self.shape[mode];
        if self.entries == 0 {
            return Matrix::zeros(size, size);
        }
        if !self.open.contains(&mode) {
            let (lines, axis) = self.lines(mode);
            return lines.gram(axis);
        }
        let (groups, width, own) = (self.groups(mode), self.width(), &self.indices[self.slot(mode)]);
        let mut gram = Matrix::zeros(size, size);
        // A task takes some rows of the matrix and walks all groups: every sum is in the order of the groups.
        let rows = size.div_ceil(SUMS).max(16);
        gram.values.par_chunks_mut(rows * size).enumerate().for_each(|(task, out)| {
            let mine = task * rows..(task + 1) * rows;
            for g in 0..groups.len() {
                let group = groups.of(g);
                for &a in group.iter().filter(|&&a| mine.contains(&(own[a as usize] as usize))) {
                    let row = &mut out[(own[a as usize] as usize - mine.start) * size..][..size];
                    for &b in group {
                        row[own[b as usize] as usize] +=
                            self.line(a, width).iter().zip(self.line(b, width)).map(|(a, b)| a * b).sum::<f64>();
                    }
                }
            }
        });
        gram
    }

    fn triangle(&self, mode: usize) -> Matrix {
        let size = self.shape[mode];
        if self.entries == 0 {
            return Matrix::zeros(1, size);
        }
        if !self.open.contains(&mode) {
            let (lines, axis) = self.lines(mode);
            return lines.triangle(axis);
        }
        let (groups, width, own) = (self.groups(mode), self.width(), &self.indices[self.slot(mode)]);
        fold_triangle(groups.len() * width, size, |first, to, at, count| {
            for row in first..first + count {
                for &entry in groups.of(row / width) {
                    to[(at + row - first, own[entry as usize] as usize)] = self.line(entry, width)[row % width];
                }
            }
        })
    }

    fn ttm(&self, m: MatRef<'_, f64>, mode: usize) -> Self {
        if !self.open.contains(&mode) {
            let shape = with_size(&self.shape, mode, m.rows());
            let values = if self.entries == 0 {
                Vec::new()
            } else {
                let (lines, axis) = self.lines(mode);
                lines.ttm(m, axis).into_values()
            };
            return Self { shape, values, open: self.open.clone(), indices: self.indices.clone(), entries: self.entries };
        }
        let (groups, width, own) = (self.groups(mode), self.width(), &self.indices[self.slot(mode)]);
        let mut out = self.close(mode, m.rows(), &groups);
        let (l, (_, behind)) = (m.rows(), self.beside(mode));
        out.values.par_chunks_mut(TASK * width * l).enumerate().for_each(|(task, out)| {
            for (g, out) in out.chunks_exact_mut(width * l).enumerate() {
                for &entry in groups.of(task * TASK + g) {
                    let i = own[entry as usize] as usize;
                    // line: (before, behind), out: (before, l, behind)
                    for (out, line) in out.chunks_exact_mut(l * behind).zip(self.line(entry, width).chunks_exact(behind)) {
                        for (j, out) in out.chunks_exact_mut(behind).enumerate() {
                            let u = m.get(j, i);
                            out.iter_mut().zip(line).for_each(|(o, x)| *o += u * x);
                        }
                    }
                }
            }
        });
        out
    }

    fn cross(&self, z: &Self, mode: usize) -> Matrix {
        let (size, l) = (self.shape[mode], z.shape[mode]);
        let mut out = Matrix::zeros(size, l);
        if self.entries == 0 {
            return out;
        }
        if !self.open.contains(&mode) {
            let (lines, axis) = self.lines(mode);
            let shape = with_size(lines.shape(), axis, l);
            return lines.cross(&Dense::new(shape, z.values.clone()), axis);
        }
        // The entries of z are our groups, in their order.
        let (groups, width, own) = (self.groups(mode), self.width(), &self.indices[self.slot(mode)]);
        let (_, behind) = self.beside(mode);
        let piece = groups.len().div_ceil(SUMS).max(TASK);
        let sums: Vec<Vec<f64>> = (0..groups.len().div_ceil(piece))
            .into_par_iter()
            .map(|p| {
                let mut sum = vec![0.0; size * l];
                for g in p * piece..groups.len().min((p + 1) * piece) {
                    let from = &z.values[g * width * l..][..width * l];
                    for &entry in groups.of(g) {
                        let to = &mut sum[own[entry as usize] as usize * l..][..l];
                        for (from, line) in from.chunks_exact(l * behind).zip(self.line(entry, width).chunks_exact(behind)) {
                            for (to, from) in to.iter_mut().zip(from.chunks_exact(behind)) {
                                *to += from.iter().zip(line).map(|(z, x)| z * x).sum::<f64>();
                            }
                        }
                    }
                }
                sum
            })
            .collect();
        for sum in sums {
            out.values.iter_mut().zip(&sum).for_each(|(o, s)| *o += s);
        }
        out
    }

    fn random(&self, mode: usize, l: usize, streams: &Streams, index: u64) -> Self {
        let mut out = self.close(mode, l, &self.groups(mode));
        out.values.par_chunks_mut(1 << 16).enumerate().for_each(|(piece, to)| {
            let mut rng = streams.stream("range-finder", index << 32 | piece as u64);
            to.iter_mut().for_each(|x| *x = StandardNormal.sample(&mut rng));
        });
        out
    }

    fn rows(&self, _: usize, _: Range<usize>) -> Option<Vec<f64>> {
        None
    }

    fn residual(&self, model: &Tucker) -> Option<f64> {
        let cells = self.shape.iter().map(|&i| i as f64).product::<f64>();
        if cells > CELLS || self.open.len() < self.shape.len() {
            return None;
        }
        let place = |e: usize| self.indices.iter().zip(&self.shape).fold(0, |at, (i, &size)| at * size + i[e] as usize);
        let mut stored: Vec<(usize, f64)> = (0..self.entries).map(|e| (place(e), self.values[e])).collect();
        stored.sort_unstable_by_key(|s| s.0);
        let (mut sum, mut next) = (0.0, 0);
        blocks(model, 1 << 21, |at, cells| {
            let mut part = 0.0;
            let mut from = 0;
            while next < stored.len() && stored[next].0 < at + cells.len() {
                let here = stored[next].0 - at;
                part += cells[from..here].iter().map(|y| y * y).sum::<f64>() + (stored[next].1 - cells[here]).powi(2);
                (from, next) = (here + 1, next + 1);
            }
            sum += part + cells[from..].iter().map(|y| y * y).sum::<f64>();
        });
        Some(sum)
    }

    fn into_dense(self) -> Dense<f64> {
        let mut out = Dense::zeros(&self.shape);
        let stride = |m: usize| around(&self.shape, m).2;
        // Where the numbers of a line go, counted from where the entry is.
        let mut line = vec![0];
        for m in self.closed() {
            line = line.iter().flat_map(|&at| (0..self.shape[m]).map(move |i| at + i * stride(m))).collect();
        }
        for (e, from) in self.values.chunks_exact(line.len()).enumerate() {
            let at: usize = self.open.iter().zip(&self.indices).map(|(&m, i)| i[e] as usize * stride(m)).sum();
            from.iter().zip(&line).for_each(|(&x, &l)| out.values_mut()[at + l] = x);
        }
        out
    }

    fn to_next(&self) -> Self {
        self.clone()
    }
}

/// Every question goes to a [`SemiSparse`] with all modes open, made for it: nnz (N + 2) words.
impl<T: Widen> Operand for Sparse<T> {
    type Next = SemiSparse;

    fn shape(&self) -> &[usize] {
        self.shape()
    }
    fn scan(&self) -> Scan {
        Scan::of(self.values())
    }
    fn place(&self, at: usize) -> Vec<usize> {
        (0..self.order()).map(|m| self.indices(m)[at] as usize).collect()
    }
    fn gram(&self, mode: usize) -> Matrix {
        SemiSparse::new(self).gram(mode)
    }
    fn triangle(&self, mode: usize) -> Matrix {
        SemiSparse::new(self).triangle(mode)
    }
    fn ttm(&self, m: MatRef<'_, f64>, mode: usize) -> SemiSparse {
        SemiSparse::new(self).ttm(m, mode)
    }
    fn cross(&self, z: &SemiSparse, mode: usize) -> Matrix {
        SemiSparse::new(self).cross(z, mode)
    }
    fn random(&self, mode: usize, l: usize, streams: &Streams, index: u64) -> SemiSparse {
        SemiSparse::new(self).random(mode, l, streams, index)
    }
    fn rows(&self, _: usize, _: Range<usize>) -> Option<Vec<f64>> {
        None
    }
    fn residual(&self, model: &Tucker) -> Option<f64> {
        SemiSparse::new(self).residual(model)
    }
    fn into_dense(self) -> Dense<f64> {
        SemiSparse::new(&self).into_dense()
    }
    fn to_next(&self) -> SemiSparse {
        SemiSparse::new(self)
    }
}
