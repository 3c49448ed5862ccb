//! Distances of a block of points to another, summed by cluster as they come.

use std::borrow::Cow;
use std::ops::Range;

use super::Groups;
use crate::cluster::Points;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile, with_scratch};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Points of a block of columns.
pub(super) const BLOCK: usize = 256;
/// Rows whose distances to a block lie in the second-level cache at a time; a multiple of the heights of register tiles.
const STRIP: usize = 24;
/// Coordinates of one matrix product, so that a packed panel stays in the first-level cache.
const DEPTH: usize = 256;
/// A squared distance below this share of ‖x‖² + ‖y‖² is computed from the coordinates: the sum of products has an error of about
/// d eps (‖x‖² + ‖y‖²), so of others at least 2⁻³² / d of the digits are good.
const CLOSE: f64 = 1.0 / (1 << 20) as f64;

/// Columns of a block that are of one group.
#[derive(Debug, Clone)]
struct Segment {
    group: usize,
    columns: Range<usize>,
}

/// The points in the order of their groups, centred and scaled by a power of 2 to about 1 (silhouettes do not change), in blocks.
pub(super) struct Sorted {
    d: usize,
    groups: usize,
    group_of: Vec<u32>,
    /// (n, d): −2 x.
    minus_twice: Vec<f64>,
    /// ‖x‖².
    norms: Vec<f64>,
    /// For every block, xᵀ in parts of `DEPTH` coordinates.
    packed: Vec<Vec<Packed<f64>>>,
    segments: Vec<Vec<Segment>>,
}

/// Points whose distances to all others are asked for.
pub(super) struct Queries<'a> {
    minus_twice: Cow<'a, [f64]>,
    norms: Cow<'a, [f64]>,
    group_of: Cow<'a, [u32]>,
}

impl Queries<'_> {
    pub fn len(&self) -> usize {
        self.norms.len()
    }

    pub fn group(&self, q: usize) -> usize {
        self.group_of[q] as usize
    }
}

impl Sorted {
    pub fn new<T: Real>(points: Points<T>, groups: &Groups) -> Self {
        let (n, d) = (groups.n(), points.d());
        let order = groups.order();
        let largest = points.values().iter().fold(0.0f64, |m, v| m.max(v.to_f64().abs()));
        // By a power of 2, so that no square overflows and nothing is rounded (numbers 2⁵⁰⁰ below the largest aside).
        let scale = if largest > 0.0 { (-largest.log2().floor().clamp(-1000.0, 1000.0)).exp2() } else { 1.0 };
        let mut x: Vec<f64> = order.iter().flat_map(|&i| points.row(i).iter().map(|v| v.to_f64() * scale)).collect();
        let mut centre = vec![0.0; d];
        x.chunks_exact(d).for_each(|row| centre.iter_mut().zip(row).for_each(|(c, v)| *c += v));
        centre.iter_mut().for_each(|c| *c /= n as f64);
        x.chunks_exact_mut(d).for_each(|row| row.iter_mut().zip(&centre).for_each(|(v, c)| *v -= c));
        let norms = x.chunks_exact(d).map(|row| row.iter().map(|v| v * v).sum()).collect();
        let group_of = groups.of_places();
        let (mut packed, mut segments) = (Vec::new(), Vec::new());
        for start in (0..n).step_by(BLOCK) {
            let places = start..n.min(start + BLOCK);
            let block = MatRef::new(&x[start * d..places.end * d], places.len(), d).t();
            packed.push((0..d).step_by(DEPTH).map(|at| Packed::new(block.row_range(at..d.min(at + DEPTH)))).collect());
            let (mut list, mut at) = (Vec::new(), 0);
            for same in group_of[places].chunk_by(|a, b| a == b) {
                list.push(Segment { group: same[0] as usize, columns: at..at + same.len() });
                at += same.len();
            }
            segments.push(list);
        }
        x.iter_mut().for_each(|v| *v *= -2.0);
        Self { d, groups: groups.count(), group_of, minus_twice: x, norms, packed, segments }
    }

    pub fn blocks(&self) -> usize {
        self.packed.len()
    }

    /// The points of a block.
    pub fn places(&self, block: usize) -> Range<usize> {
        block * BLOCK..self.norms.len().min((block + 1) * BLOCK)
    }

    /// For every point its group.
    pub fn group_of(&self) -> &[u32] {
        &self.group_of
    }

    /// All points as queries.
    pub fn all(&self) -> Queries<'_> {
        Queries {
            minus_twice: Cow::Borrowed(&self.minus_twice),
            norms: Cow::Borrowed(&self.norms),
            group_of: Cow::Borrowed(&self.group_of),
        }
    }

    /// Some points as queries.
    pub fn some(&self, places: &[usize]) -> Queries<'_> {
        Queries {
            minus_twice: places.iter().flat_map(|&p| &self.minus_twice[p * self.d..(p + 1) * self.d]).copied().collect(),
            norms: places.iter().map(|&p| self.norms[p]).collect(),
            group_of: places.iter().map(|&p| self.group_of[p]).collect(),
        }
    }

    /// Adds the distances of `rows` of the queries to the points of a block: to `by_row` (rows, groups) by the group of the column, and to
    /// `by_column` (groups, BLOCK) by the group of the row.
    pub fn meet(
        &self,
        queries: &Queries,
        rows: Range<usize>,
        block: usize,
        by_row: &mut [f64],
        mut by_column: Option<&mut [f64]>,
    ) {
        let (d, k) = (self.d, self.groups);
        let places = self.places(block);
        let norms = &self.norms[places.clone()];
        let width = places.len();
        with_scratch(STRIP * BLOCK, |strip| {
            for first in rows.clone().step_by(STRIP) {
                let strip_rows = first..rows.end.min(first + STRIP);
                let height = strip_rows.len();
                let a = MatRef::new(&queries.minus_twice[first * d..strip_rows.end * d], height, d);
                for (part, right) in self.packed[block].iter().enumerate() {
                    let from = part * DEPTH;
                    let start = if part == 0 { Start::Row(norms) } else { Start::Current };
                    let a = a.col_range(from..from + right.rows());
                    tile(start, a, right, MatMut::with_strides(strip, height, width, BLOCK, 1));
                }
                dispatch(Sums {
                    strip,
                    queries,
                    rows: strip_rows.clone(),
                    sorted: self,
                    places: places.clone(),
                    segments: &self.segments[block],
                    by_row: &mut by_row[(first - rows.start) * k..][..height * k],
                    by_column: by_column.as_deref_mut(),
                });
            }
        });
    }

    /// The squared distance of query `q` and point `p` from the coordinates.
    fn square(&self, queries: &Queries, q: usize, p: usize) -> f64 {
        let (a, b) = (&queries.minus_twice[q * self.d..(q + 1) * self.d], &self.minus_twice[p * self.d..(p + 1) * self.d]);
        0.25 * a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    }

    /// Replaces the distances of query `q` that the product is too coarse for. `squares` holds ‖y‖² − 2 x·y for the points from `first` on.
    #[cold]
    #[inline(never)]
    fn measure_close(&self, queries: &Queries, q: usize, first: usize, squares: &[f64], distances: &mut [f64]) {
        let norm = queries.norms[q];
        for (j, (square, distance)) in squares.iter().zip(distances).enumerate() {
            if square + norm < CLOSE * (norm + self.norms[first + j]) {
                *distance = self.square(queries, q, first + j).sqrt();
            }
        }
    }
}

/// From products to sums of distances, for the rows of a strip.
struct Sums<'a, 'q> {
    /// (rows, BLOCK): ‖y‖² − 2 x·y.
    strip: &'a [f64],
    queries: &'a Queries<'q>,
    rows: Range<usize>,
    sorted: &'a Sorted,
    places: Range<usize>,
    segments: &'a [Segment],
    by_row: &'a mut [f64],
    by_column: Option<&'a mut [f64]>,
}

impl Kernel<f64> for Sums<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { strip, queries, rows, sorted, places, segments, by_row, mut by_column } = self;
        let k = sorted.groups;
        let norms = &sorted.norms[places.clone()];
        let width = norms.len();
        let whole = width / V::N * V::N;
        let close = V::splat(CLOSE);
        let mut distances = [0.0f64; BLOCK];
        for (q, (squares, to)) in rows.zip(strip.chunks_exact(BLOCK).zip(by_row.chunks_exact_mut(k))) {
            let squares = &squares[..width];
            let norm = V::splat(queries.norms[q]);
            // The largest of how far a square lies below what can be trusted.
            let mut below = V::splat(0.0);
            for j in (0..whole).step_by(V::N) {
                let square = V::load(&squares[j..]).add(norm);
                square.sqrt().store(&mut distances[j..]);
                below = below.max(norm.add(V::load(&norms[j..])).mul(close).sub(square));
            }
            if whole < width {
                // Lanes beyond the end hold ‖x‖² and are never too close.
                let square = V::load_partial(&squares[whole..]).add(norm);
                square.sqrt().store_partial(&mut distances[whole..width]);
                below = below.max(norm.add(V::load_partial(&norms[whole..])).mul(close).sub(square));
            }
            if below.max_lane() > 0.0 {
                sorted.measure_close(queries, q, places.start, squares, &mut distances[..width]);
            }
            for Segment { group, columns } in segments {
                let of = &distances[columns.clone()];
                to[*group] += if of.len() < V::N {
                    let mut sum = 0.0;
                    for &x in of {
                        sum += x;
                    }
                    sum
                } else {
                    sum::<V>(of)
                };
            }
            if let Some(by_column) = by_column.as_deref_mut() {
                let to = &mut by_column[queries.group_of[q] as usize * BLOCK..][..width];
                for j in (0..whole).step_by(V::N) {
                    V::load(&to[j..]).add(V::load(&distances[j..])).store(&mut to[j..]);
                }
                for j in whole..width {
                    to[j] += distances[j];
                }
            }
        }
    }
}

#[inline(always)]
fn sum<V: Lanes<f64>>(x: &[f64]) -> f64 {
    let mut sums = [V::splat(0.0); 4];
    let whole = x.len() / (4 * V::N) * (4 * V::N);
    for at in (0..whole).step_by(4 * V::N) {
        sums[0] = sums[0].add(V::load(&x[at..]));
        sums[1] = sums[1].add(V::load(&x[at + V::N..]));
        sums[2] = sums[2].add(V::load(&x[at + 2 * V::N..]));
        sums[3] = sums[3].add(V::load(&x[at + 3 * V::N..]));
    }
    let mut at = whole;
    while at < x.len() {
        sums[0] = sums[0].add(V::load_partial(&x[at..]));
        at += V::N;
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}
