//! Sums and sizes of clusters, in an order that depends on the problem alone.

use super::BLOCK;
use super::exact::{wide, wide_rest};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// Pieces at most: enough for a few dozen threads.
const PIECES: usize = 64;
/// Points of a piece at least.
const LEAST: usize = 4 * BLOCK;
/// Numbers of the partial sums of all pieces together at most (128 MiB).
const PARTIALS: usize = 1 << 24;

/// How `n` points are cut: whole blocks, the same for any number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    n: usize,
    rows: usize,
}

impl Pieces {
    pub fn new(n: usize) -> Self {
        Self { n, rows: n.div_ceil(PIECES).max(LEAST).next_multiple_of(BLOCK) }
    }

    /// Points of a piece (the last may have fewer).
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn count(&self) -> usize {
        self.n.div_ceil(self.rows)
    }

    pub fn range(&self, piece: usize) -> Range<usize> {
        piece * self.rows..self.n.min((piece + 1) * self.rows)
    }

    /// Cuts `data`, `width` numbers a point.
    pub fn cut<'a, T>(&self, mut data: &'a mut [T], width: usize) -> Vec<&'a mut [T]> {
        assert_eq!(data.len(), self.n * width, "pieces of another number of points");
        (0..self.count()).map(|i| data.split_off_mut(..self.range(i).len() * width).unwrap_or_default()).collect()
    }
}

/// Sums (f64) and sizes of `k` clusters of `n` points of `d` coordinates.
///
/// Rows are added in order within each piece and pieces in order; with so many clusters that the partial sums of all pieces would not fit
/// memory (`PARTIALS`), the rows of each cluster are added in order. Which of the two depends on n, k and d alone.
#[derive(Debug, Clone)]
pub struct ClusterSums {
    k: usize,
    d: usize,
    pieces: Pieces,
    by_piece: bool,
    /// (k, d).
    pub sums: Vec<f64>,
    pub sizes: Vec<usize>,
    /// Of each piece: sums (k, d), then sizes (k).
    partial: Vec<f64>,
    /// Whether the partial sums of each piece are those of the labels that the last call left.
    known: Vec<bool>,
}

/// When rows are added to the sums of their piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// After each block, while its rows are in the cache.
    Block,
    /// After the whole piece, and not at all where no label has changed: for methods that look at few of the rows.
    Piece,
}

impl ClusterSums {
    pub fn new(n: usize, k: usize, d: usize) -> Self {
        let pieces = Pieces::new(n);
        let by_piece = pieces.count() * k * (d + 1) <= PARTIALS;
        let partial = if by_piece { vec![0.0; pieces.count() * k * (d + 1)] } else { Vec::new() };
        Self { k, d, pieces, by_piece, sums: vec![0.0; k * d], sizes: vec![0; k], partial, known: vec![false; pieces.count()] }
    }

    pub fn pieces(&self) -> Pieces {
        self.pieces
    }

    /// Gives `label` each block of points in turn (their range, their labels, the state of their piece), and computes the sums of `points`
    /// (n × d) by the labels that it leaves. `label` returns how many of the labels it changed. Returns the number of all of them.
    ///
    /// Pieces run on all threads. `states`: one per piece.
    pub fn assign<T: Real, S: Send>(
        &mut self,
        points: &[T],
        labels: &mut [u32],
        states: Vec<S>,
        order: Order,
        label: impl Fn(Range<usize>, &mut [u32], &mut S) -> usize + Sync,
    ) -> usize {
        let (k, d, pieces) = (self.k, self.d, self.pieces);
        assert!(points.len() == labels.len() * d && states.len() == pieces.count(), "cluster sums: one state per piece");
        let parts: Vec<&mut [f64]> = if self.by_piece {
            self.partial.chunks_exact_mut(k * (d + 1)).collect()
        } else {
            (0..pieces.count()).map(|_| &mut [][..]).collect()
        };
        let work: Vec<_> = pieces.cut(labels, 1).into_iter().zip(states).zip(parts).zip(&mut self.known).enumerate().collect();
        let changed: Vec<usize> = work
            .into_par_iter()
            .with_max_len(1)
            .map(|(i, (((labels, mut state), partial), known))| {
                let all = pieces.range(i);
                let add = |at: usize, labels: &[u32], partial: &mut [f64]| {
                    let (sums, sizes) = partial.split_at_mut(k * d);
                    let points = &points[(all.start + at) * d..(all.start + at + labels.len()) * d];
                    dispatch(Add { points, d, labels, sums, sizes });
                };
                let fused = !partial.is_empty() && order == Order::Block;
                if fused {
                    partial.fill(0.0);
                }
                let mut changed = 0;
                for (b, labels) in labels.chunks_mut(BLOCK).enumerate() {
                    let start = all.start + b * BLOCK;
                    changed += label(start..start + labels.len(), labels, &mut state);
                    if fused {
                        add(b * BLOCK, labels, partial);
                    }
                }
                if !partial.is_empty() && !fused && (changed > 0 || !*known) {
                    partial.fill(0.0);
                    add(0, labels, partial);
                }
                *known = true;
                changed
            })
            .collect();
        if self.by_piece {
            self.combine()
        } else {
            self.by_cluster(points, labels)
        }
        changed.iter().sum()
    }

    /// The sums of `points` (n × d) by `labels`, as [`assign`](Self::assign) leaves them.
    pub fn fill<T: Real>(&mut self, points: &[T], labels: &[u32]) {
        self.known.fill(false);
        let mut labels = labels.to_vec();
        self.assign(points, &mut labels, vec![(); self.pieces.count()], Order::Piece, |_, _, _| 0);
    }

    fn combine(&mut self) {
        let (k, d) = (self.k, self.d);
        self.sums.fill(0.0);
        let mut sizes = vec![0.0; k];
        for partial in self.partial.chunks_exact(k * (d + 1)) {
            self.sums.iter_mut().zip(&partial[..k * d]).for_each(|(a, b)| *a += b);
            sizes.iter_mut().zip(&partial[k * d..]).for_each(|(a, b)| *a += b);
        }
        self.sizes.iter_mut().zip(sizes).for_each(|(to, size)| *to = size as usize);
    }

    fn by_cluster<T: Real>(&mut self, points: &[T], labels: &[u32]) {
        let d = self.d;
        self.sizes.fill(0);
        labels.iter().for_each(|&l| self.sizes[l as usize] += 1);
        let mut at: Vec<usize> = self.sizes.iter().scan(0, |end, size| Some(std::mem::replace(end, *end + size))).collect();
        let starts = at.clone();
        let mut members = vec![0u32; labels.len()];
        for (i, &l) in labels.iter().enumerate() {
            members[at[l as usize]] = i as u32;
            at[l as usize] += 1;
        }
        self.sums.par_chunks_exact_mut(d).enumerate().for_each(|(c, sums)| {
            sums.fill(0.0);
            dispatch(AddMembers { points, members: &members[starts[c]..at[c]], sums });
        });
    }
}

/// `sums += row`, coordinate by coordinate.
#[inline(always)]
fn add_row<T: Real, V: Lanes<f64>>(row: &[T], sums: &mut [f64]) {
    let d = row.len();
    let whole = d / 8 * 8;
    for j in (0..whole).step_by(8) {
        V::load(&sums[j..]).add(wide::<T, V>(row, j)).store(&mut sums[j..]);
    }
    if whole < d {
        if d - whole < 4 {
            // Few numbers are added sooner one by one than by a masked store.
            for j in whole..d {
                sums[j] += row[j].to_f64();
            }
        } else {
            let sum = V::load_partial(&sums[whole..]).add(wide_rest::<T, V>(&row[whole..]));
            sum.store_partial(&mut sums[whole..]);
        }
    }
}

struct Add<'a, T> {
    points: &'a [T],
    d: usize,
    labels: &'a [u32],
    sums: &'a mut [f64],
    sizes: &'a mut [f64],
}

impl<T: Real> Kernel<f64> for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.d;
        for i in 0..self.labels.len() {
            let c = self.labels[i] as usize;
            add_row::<T, V>(&self.points[i * d..(i + 1) * d], &mut self.sums[c * d..(c + 1) * d]);
            self.sizes[c] += 1.0;
        }
    }
}

struct AddMembers<'a, T> {
    points: &'a [T],
    members: &'a [u32],
    sums: &'a mut [f64],
}

impl<T: Real> Kernel<f64> for AddMembers<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.sums.len();
        for &i in self.members {
            add_row::<T, V>(&self.points[i as usize * d..][..d], self.sums);
        }
    }
}
