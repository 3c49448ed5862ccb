//! Nearest centroid of many points.

use super::exact::distance;
use super::panels;
use super::{BLOCK, Centroids, Pieces};
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// What is known about a point after a search.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Found {
    /// The nearest centroid: smallest [`squared_distance`](super::squared_distance), lowest index among equals.
    pub label: u32,
    /// A lower bound of the squared distances (exact, not as computed) to all other centroids; infinite when there are none.
    pub others: f64,
}

/// Room for searches of one thread.
#[derive(Debug, Clone, Default)]
pub struct Search<T> {
    rows: Vec<u32>,
    best: Vec<T>,
    second: Vec<T>,
    index: Vec<T>,
    norms: Vec<T>,
}

/// Bound of the rounding error of a difference of two searched values, as a factor of ‖x‖² + max ‖c‖².
///
/// A value ‖c‖²/2 − x·c is a chain of d multiply-adds from a rounded start: with u = ε/2 its error is at most (d + 2)u(‖c‖²/2 + ‖x‖‖c‖) ≤
/// (d + 2)u(‖x‖² + R²) for R = max ‖c‖, and that of a difference twice that. The distance that decides has itself a relative error of
/// (d + 3)·2⁻⁵³, at most (d + 3)u·2(‖x‖² + R²) of it in half squared distances. The sum of both is below 4(d + 4)u(‖x‖² + R²); the norms
/// and this bound are rounded too, hence 5. (5 against 4 leaves a quarter for errors of (1 + du) each.)
fn error_factor<T: Real>(d: usize) -> f64 {
    let unit = if T::LANES == 16 { f32::EPSILON as f64 } else { f64::EPSILON } / 2.0;
    5.0 * (d + 4) as f64 * unit
}

impl<T: Real> Search<T> {
    pub fn new() -> Self {
        Self::default()
    }

    /// The nearest centroids of all of `points` (rows of d), at most [`BLOCK`] of them, into `found`, on the calling thread.
    pub fn block(&mut self, points: &[T], centroids: &Centroids<T>, found: &mut [Found]) {
        let mut rows = std::mem::take(&mut self.rows);
        if rows.len() < found.len() {
            rows = (0..BLOCK.max(found.len()) as u32).collect();
        }
        self.rows_of(points, &rows[..found.len()], centroids, found);
        self.rows = rows;
    }

    /// The same for the points at `rows` of `points`, at most [`BLOCK`] of them.
    pub fn rows_of(&mut self, points: &[T], rows: &[u32], centroids: &Centroids<T>, found: &mut [Found]) {
        let (count, d) = (rows.len(), centroids.d());
        assert!(count <= BLOCK && found.len() == count, "a search of {count} points into {}", found.len());
        if count == 0 {
            return;
        }
        let padded = count.div_ceil(2 * T::LANES) * 2 * T::LANES;
        for room in [&mut self.best, &mut self.second, &mut self.index, &mut self.norms] {
            room.resize(BLOCK.max(padded), T::ZERO);
        }
        with_scratch(panels::room::<T>(count, d), |packed: &mut [T]| {
            panels::pack(points, d, rows, packed);
            let (best, second) = (&mut self.best[..padded], &mut self.second[..padded]);
            let (index, norms) = (&mut self.index[..padded], &mut self.norms[..padded]);
            dispatch(Scan { packed, centroids, best, second, index, norms });
        });
        let factor = error_factor::<T>(d);
        let (best, second) = (&self.best[..count], &self.second[..count]);
        for i in 0..count {
            let norm = self.norms[i].to_f64();
            let error = factor * (norm + centroids.largest());
            let (best, second) = (best[i].to_f64(), second[i].to_f64());
            // False when anything is not a number.
            found[i] = if second - best > error {
                Found { label: self.index[i].to_f64() as u32, others: (norm + 2.0 * (second - error)).max(0.0) }
            } else {
                let row = rows[i] as usize * d;
                dispatch(Decide { x: &points[row..row + d], centroids: centroids.rows() })
            };
        }
    }
}

/// Values ‖c‖²/2 − x·c of all points and centroids, the two smallest kept.
struct Scan<'a, T> {
    packed: &'a [T],
    centroids: &'a Centroids<T>,
    best: &'a mut [T],
    second: &'a mut [T],
    index: &'a mut [T],
    norms: &'a mut [T],
}

impl<T: Real> Kernel<T> for Scan<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        // Two vectors of points where the registers hold twelve sums of each.
        if const { V::REGISTERS * 27 <= V::REGISTER_FILE } { scan::<T, V, 2>(self) } else { scan::<T, V, 1>(self) }
    }
}

/// Coordinates of the centroids that are walked at a time by all tiles of a block: half of a second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

#[inline(always)]
fn scan<T: Real, V: Lanes<T>, const VECTORS: usize>(job: Scan<'_, T>) {
    let Scan { packed, centroids, best, second, index, norms } = job;
    let d = centroids.d();
    let infinite = V::splat(T::from_f64(f64::INFINITY));
    let tiles = best.len() / (VECTORS * V::N);
    for p in 0..best.len() / V::N {
        let at = p * V::N;
        infinite.store(&mut best[at..]);
        infinite.store(&mut second[at..]);
        V::splat(T::ZERO).store(&mut index[at..]);
        let panel = &packed[at * d..(at + V::N) * d];
        let mut norm = V::splat(T::ZERO);
        for j in 0..d {
            let x = V::load(&panel[j * V::N..]);
            norm = x.fma(x, norm);
        }
        norm.store(&mut norms[at..]);
    }
    let rows = (CHUNK_BYTES / (d * size_of::<T>())).max(12);
    let mut from = 0;
    while from < centroids.k() {
        for t in 0..tiles {
            let at = t * VECTORS * V::N;
            let x = &packed[at * d..(at + VECTORS * V::N) * d];
            let mut state =
                State::<V, VECTORS> { best: [infinite; VECTORS], second: [infinite; VECTORS], index: [infinite; VECTORS] };
            for v in 0..VECTORS {
                state.best[v] = V::load(&best[at + v * V::N..]);
                state.second[v] = V::load(&second[at + v * V::N..]);
                state.index[v] = V::load(&index[at + v * V::N..]);
            }
            for (first, height, c, half) in centroids.groups() {
                if first < from || first >= from + rows {
                    continue;
                }
                match height {
                    12 => group::<T, V, 12, VECTORS>(x, d, c, half, first, &mut state),
                    6 => group::<T, V, 6, VECTORS>(x, d, c, half, first, &mut state),
                    4 => group::<T, V, 4, VECTORS>(x, d, c, half, first, &mut state),
                    2 => group::<T, V, 2, VECTORS>(x, d, c, half, first, &mut state),
                    _ => group::<T, V, 1, VECTORS>(x, d, c, half, first, &mut state),
                }
            }
            for v in 0..VECTORS {
                state.best[v].store(&mut best[at + v * V::N..]);
                state.second[v].store(&mut second[at + v * V::N..]);
                state.index[v].store(&mut index[at + v * V::N..]);
            }
        }
        from += rows;
    }
}

/// What is best so far for the points of a tile.
struct State<V, const VECTORS: usize> {
    best: [V; VECTORS],
    second: [V; VECTORS],
    index: [V; VECTORS],
}

/// One group of centroids against one tile of points.
#[inline(always)]
fn group<T: Real, V: Lanes<T>, const ROWS: usize, const VECTORS: usize>(
    x: &[T],
    d: usize,
    c: &[T],
    half: &[T],
    first: usize,
    state: &mut State<V, VECTORS>,
) {
    assert!(x.len() >= VECTORS * V::N * d && c.len() >= ROWS * d && half.len() >= ROWS);
    let mut sums = [[V::splat(T::ZERO); VECTORS]; ROWS];
    for r in 0..ROWS {
        sums[r] = [V::splat(half[r]); VECTORS];
    }
    let (mut xp, mut cp) = (x.as_ptr(), c.as_ptr());
    for _ in 0..d {
        // SAFETY: coordinate j of the vectors is at v·N·d + j·N of `x`, that of the rows at j·ROWS of `c`: inside, as asserted.
        unsafe {
            let mut xs = [V::splat(T::ZERO); VECTORS];
            for v in 0..VECTORS {
                xs[v] = V::load_ptr(xp.add(v * V::N * d));
            }
            for r in 0..ROWS {
                let c = V::splat(*cp.add(r));
                for v in 0..VECTORS {
                    sums[r][v] = c.neg_fma(xs[v], sums[r][v]);
                }
            }
            // The last step may leave the slices, without a read.
            (xp, cp) = (xp.wrapping_add(V::N), cp.wrapping_add(ROWS));
        }
    }
    for r in 0..ROWS {
        let name = V::splat(T::from_f64((first + r) as f64));
        for v in 0..VECTORS {
            let value = sums[r][v];
            let closer = value.lt(state.best[v]);
            state.second[v] = value.max(state.best[v]).min(state.second[v]);
            state.index[v] = V::select(closer, name, state.index[v]);
            state.best[v] = value.min(state.best[v]);
        }
    }
}

/// All distances of one point by the definition.
struct Decide<'a, T> {
    x: &'a [T],
    centroids: &'a [T],
}

impl<T: Real> Kernel<f64> for Decide<'_, T> {
    type Output = Found;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Found {
        let d = self.x.len();
        let (mut label, mut best, mut second) = (0, f64::INFINITY, f64::INFINITY);
        for c in 0..self.centroids.len() / d {
            let there = distance::<T, V>(self.x, &self.centroids[c * d..(c + 1) * d]);
            if there < best {
                second = best;
                (label, best) = (c, there);
            } else if there < second {
                second = there;
            }
        }
        // The second best as computed, less its relative error.
        Found { label: label as u32, others: second * (1.0 - (d + 4) as f64 * f64::EPSILON) }
    }
}

/// `labels[i]` = the centroid nearest to point i (n × d), by [`squared_distance`](super::squared_distance), the lowest index among equals.
///
/// On all threads; 2·n·k·d operations. The same labels for any number of threads and any instruction set. Panics when the lengths do not
/// fit, when there are no centroids, or 2²⁴ of them (indices travel in the lanes of the points).
pub fn nearest<T: Real>(points: &[T], centroids: &Centroids<T>, labels: &mut [u32]) {
    let d = centroids.d();
    assert_eq!(points.len(), labels.len() * d, "nearest: one label per point");
    assert!((1..1 << 24).contains(&centroids.k()), "nearest: {} centroids", centroids.k());
    let rows = Pieces::new(labels.len()).rows();
    labels.par_chunks_mut(rows).zip(points.par_chunks(rows * d)).for_each(|(labels, points)| {
        let mut search = Search::new();
        let mut found = [Found::default(); BLOCK];
        for (labels, points) in labels.chunks_mut(BLOCK).zip(points.chunks(BLOCK * d)) {
            let found = &mut found[..labels.len()];
            search.block(points, centroids, found);
            labels.iter_mut().zip(found).for_each(|(l, f)| *l = f.label);
        }
    });
}
