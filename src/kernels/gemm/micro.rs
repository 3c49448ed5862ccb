//! The register tile: up to 12 rows by up to two virtual vectors of C, kept in registers over the whole of k.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Where the sums of a tile start.
#[derive(Clone, Copy)]
pub(super) enum Init<T> {
    Zero,
    /// What C holds.
    Current,
    /// One number per column of C.
    Row(*const T),
    /// One number per row of C.
    Column(*const T),
}

/// C (rows × cols, row stride `ldc`, unit column stride) = start + A·B in raw parts.
///
/// B is a row of panels, each `T::LANES` columns wide: element (p, j) lies at
/// `b + (j / LANES) · b_panel + p · b_row + j % LANES`. A row-major matrix is the case `b_panel = LANES`.
#[derive(Clone, Copy)]
pub(super) struct Job<T> {
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
    pub a: *const T,
    pub a_row: usize,
    pub a_col: usize,
    /// A lies in blocks of so many rows (as many as there are rows, when it is no packed A), each tile inside one of them.
    pub a_block: usize,
    /// Distance of the blocks.
    pub a_step: usize,
    pub b: *const T,
    pub b_row: usize,
    pub b_panel: usize,
    /// The last panel is padded to full width, so that it can be read whole.
    pub b_padded: bool,
    pub init: Init<T>,
    pub c: *mut T,
    pub ldc: usize,
}

// SAFETY: a job is plain addresses; whoever builds it vouches for their use (see `run`).
unsafe impl<T: Sync> Send for Job<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Job<T> {}

impl<T: Real> Job<T> {
    /// Rows `is` and columns `js` of C; they must start at a block of A and at a panel of B.
    pub(super) fn part(&self, is: std::ops::Range<usize>, js: std::ops::Range<usize>) -> Self {
        let block = self.a_block.max(1);
        debug_assert!(is.start.is_multiple_of(block) || self.a_step == 0);
        debug_assert!(js.start.is_multiple_of(T::LANES));
        let a = if self.a_step == 0 { is.start * self.a_row } else { is.start / block * self.a_step };
        Self {
            rows: is.len(),
            cols: js.len(),
            a: self.a.wrapping_add(a),
            a_block: if self.a_step == 0 { is.len() } else { self.a_block },
            b: self.b.wrapping_add(js.start / T::LANES * self.b_panel),
            init: match self.init {
                Init::Row(x) => Init::Row(x.wrapping_add(js.start)),
                Init::Column(x) => Init::Column(x.wrapping_add(is.start)),
                other => other,
            },
            c: self.c.wrapping_add(is.start * self.ldc + js.start),
            ..*self
        }
    }
}

/// Rows of A whose numbers are walked while a panel of B stays in the first-level cache: about half of the second-level cache.
const A_BLOCK_BYTES: usize = 192 << 10;
/// Rows of a panel of B: a panel takes at most 24 KiB of the first-level cache.
const DEPTH: usize = 256;

/// `count` split into parts of at most `max`, as even as can be: the size of part `i` of `parts`.
#[inline(always)]
pub(super) fn even(count: usize, parts: usize, i: usize) -> std::ops::Range<usize> {
    count * i / parts..count * (i + 1) / parts
}

struct Run<T>(Job<T>);

impl<T: Real> Kernel<T> for Run<T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        // SAFETY: `run` below passes the caller's promise on.
        unsafe {
            match const { shape(V::REGISTERS, V::REGISTER_FILE) } {
                (12, 2) => blocks::<T, V, 12, 2>(&self.0),
                (6, 1) => blocks::<T, V, 6, 1>(&self.0),
                _ => blocks::<T, V, 2, 1>(&self.0),
            }
        }
    }
}

/// Rows of a tile with an instruction set of these registers, and vectors in each.
const fn shape(registers: usize, file: usize) -> (usize, usize) {
    // Sums, the vectors of B and one broadcast must fit the register file.
    if registers * 27 <= file {
        (12, 2)
    } else if registers * 8 <= file {
        (6, 1)
    } else {
        (2, 1)
    }
}

struct Rows;

impl<T: Real> Kernel<T> for Rows {
    type Output = usize;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> usize {
        shape(V::REGISTERS, V::REGISTER_FILE).0
    }
}

/// Rows of a tile with the active instruction set: the right height for blocks of a packed A.
pub(super) fn tile_rows<T: Real>() -> usize {
    dispatch::<T, _>(Rows)
}

/// Computes the job on this thread with the active instruction set.
///
/// Calling this inside another kernel costs one more dispatch (a few nanoseconds) and keeps one copy of the tile code per
/// instruction set instead of one per caller.
///
/// # Safety
/// A and B must be readable over the job's shape, C writable and apart from both, the start vector readable.
pub(super) unsafe fn run<T: Real>(job: Job<T>) {
    dispatch::<T, _>(Run(job));
}

/// # Safety
/// As [`run`].
///
/// Blocks over depth (never changes the order of a sum: C carries it), rows and panels.
#[inline(always)]
pub(super) unsafe fn blocks<T: Real, V: Lanes<T>, const ROWS: usize, const VECTORS: usize>(job: &Job<T>) {
    let &Job { rows, cols, depth, .. } = job;
    if rows == 0 || cols == 0 {
        return;
    }
    let depth_parts = depth.div_ceil(DEPTH).max(1);
    for d in 0..depth_parts {
        let ks = even(depth, depth_parts, d);
        let row_bytes = ks.len().max(1) * size_of::<T>();
        let block_rows = (A_BLOCK_BYTES / row_bytes / ROWS).max(1) * ROWS;
        let row_parts = if job.a_block < rows { 1 } else { rows.div_ceil(block_rows) };
        let init = if d == 0 { job.init } else { Init::Current };
        for r in 0..row_parts {
            let is = even(rows, row_parts, r);
            // SAFETY: all offsets stay inside the shapes that the caller vouches for.
            unsafe {
                let part = Job {
                    rows: is.len(),
                    depth: ks.len(),
                    a_block: job.a_block.min(is.len()),
                    a: job.a.add(is.start * job.a_row + ks.start * job.a_col),
                    b: job.b.add(ks.start * job.b_row),
                    init: match init {
                        Init::Column(x) => Init::Column(x.add(is.start)),
                        other => other,
                    },
                    c: job.c.add(is.start * job.ldc),
                    ..*job
                };
                panels::<T, V, ROWS, VECTORS>(&part);
            }
        }
    }
}

/// One block: for each group of panels, all rows in even tiles.
#[inline(always)]
unsafe fn panels<T: Real, V: Lanes<T>, const ROWS: usize, const VECTORS: usize>(job: &Job<T>) {
    let mut j = 0;
    while j < job.cols {
        let left = job.cols - j;
        let vectors = left.div_ceil(V::N).min(VECTORS);
        let whole = left >= vectors * V::N;
        let mut top = 0;
        while top < job.rows {
            let height = job.a_block.min(job.rows - top);
            let parts = height.div_ceil(ROWS);
            for r in 0..parts {
                let is = even(height, parts, r);
                let i = top + is.start;
                // SAFETY: row i and column j are inside the shape; the tile is told how many columns are left.
                unsafe {
                    let part = Job {
                        cols: left,
                        a: job.a.add(top / job.a_block * job.a_step + is.start * job.a_row),
                        b: job.b.add(j / V::N * job.b_panel),
                        init: match job.init {
                            Init::Row(x) => Init::Row(x.add(j)),
                            Init::Column(x) => Init::Column(x.add(i)),
                            other => other,
                        },
                        c: job.c.add(i * job.ldc + j),
                        ..*job
                    };
                    match (vectors, whole) {
                        (1, true) => tiles::<T, V, ROWS, 1, true>(is.len(), &part),
                        (1, false) => tiles::<T, V, ROWS, 1, false>(is.len(), &part),
                        (_, true) => tiles::<T, V, ROWS, VECTORS, true>(is.len(), &part),
                        (_, false) => tiles::<T, V, ROWS, VECTORS, false>(is.len(), &part),
                    }
                }
            }
            top += height;
        }
        j += vectors * V::N;
    }
}

/// Picks the tile for a number of rows. The guards are constants: arms above `MAX` vanish.
#[inline(always)]
unsafe fn tiles<T: Real, V: Lanes<T>, const MAX: usize, const VECTORS: usize, const WHOLE: bool>(rows: usize, job: &Job<T>) {
    // SAFETY: passed on.
    unsafe {
        match rows {
            1 => tile::<T, V, 1, VECTORS, WHOLE>(job),
            2 => tile::<T, V, 2, VECTORS, WHOLE>(job),
            3 if MAX >= 3 => tile::<T, V, 3, VECTORS, WHOLE>(job),
            4 if MAX >= 4 => tile::<T, V, 4, VECTORS, WHOLE>(job),
            5 if MAX >= 5 => tile::<T, V, 5, VECTORS, WHOLE>(job),
            6 if MAX >= 6 => tile::<T, V, 6, VECTORS, WHOLE>(job),
            7 if MAX >= 7 => tile::<T, V, 7, VECTORS, WHOLE>(job),
            8 if MAX >= 8 => tile::<T, V, 8, VECTORS, WHOLE>(job),
            9 if MAX >= 9 => tile::<T, V, 9, VECTORS, WHOLE>(job),
            10 if MAX >= 10 => tile::<T, V, 10, VECTORS, WHOLE>(job),
            11 if MAX >= 11 => tile::<T, V, 11, VECTORS, WHOLE>(job),
            12 if MAX >= 12 => tile::<T, V, 12, VECTORS, WHOLE>(job),
            _ => unreachable!("a tile of {rows} rows"),
        }
    }
}

/// `ROWS` × `VECTORS · N` of C. When not `WHOLE`, the last vector holds fewer columns.
#[inline(always)]
unsafe fn tile<T: Real, V: Lanes<T>, const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(job: &Job<T>) {
    let &Job { depth, a, a_row, a_col, b_row, b_panel, ldc, .. } = job;
    let tail = if WHOLE { V::N } else { job.cols - (VECTORS - 1) * V::N };
    let b_tail = if WHOLE || job.b_padded { V::N } else { tail };
    // SAFETY of all accesses: rows below ROWS, columns below `cols` and depths below `depth` are in the shape; reads and writes of
    // the last vector stop at `tail`, or at full width where B is padded.
    unsafe {
        let mut acc = [[V::splat(T::ZERO); VECTORS]; ROWS];
        match job.init {
            Init::Zero => {}
            Init::Current => {
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        acc[i][v] = load::<T, V, WHOLE>(job.c.add(i * ldc + v * V::N), v + 1 == VECTORS, tail);
                    }
                }
            }
            Init::Row(x) => {
                for v in 0..VECTORS {
                    let bias = load::<T, V, WHOLE>(x.add(v * V::N), v + 1 == VECTORS, tail);
                    for row in &mut acc {
                        row[v] = bias;
                    }
                }
            }
            Init::Column(x) => {
                for i in 0..ROWS {
                    acc[i] = [V::splat(*x.add(i)); VECTORS];
                }
            }
        }
        // Rows are addressed as pointer + offset, and rows from the seventh on from a second pointer, to spare registers. The reads
        // are volatile because the compiler would otherwise see multiples of `a_row` and step from row to row by additions: a chain
        // that takes longer than the arithmetic.
        let offsets: [usize; 6] = std::array::from_fn(|i| i * a_row);
        let offsets: [usize; 6] = std::array::from_fn(|i| if i < ROWS { (&raw const offsets[i]).read_volatile() } else { 0 });
        if depth >= 64 {
            // What this tile will store to and the tile below it start from.
            for i in 0..2 * ROWS {
                prefetch(job.c.wrapping_add(i * ldc));
            }
        }
        let (mut ap, mut bp) = (a, job.b);
        let mut second = if ROWS > 6 { a.add(6 * a_row) } else { a };
        for _ in 0..depth {
            let mut bs = [V::splat(T::ZERO); VECTORS];
            for v in 0..VECTORS {
                bs[v] = load::<T, V, WHOLE>(bp.add(v * b_panel), v + 1 == VECTORS, b_tail);
            }
            for i in 0..ROWS {
                let x = V::splat(if i < 6 { *ap.add(offsets[i]) } else { *second.add(offsets[i - 6]) });
                for v in 0..VECTORS {
                    acc[i][v] = x.fma(bs[v], acc[i][v]);
                }
            }
            // The last step may leave the matrix, without a read.
            ap = ap.wrapping_add(a_col);
            second = second.wrapping_add(a_col);
            bp = bp.wrapping_add(b_row);
        }
        for i in 0..ROWS {
            for v in 0..VECTORS {
                let to = job.c.add(i * ldc + v * V::N);
                if WHOLE || v + 1 < VECTORS {
                    acc[i][v].store_ptr(to);
                } else {
                    store_tail(acc[i][v], to, tail);
                }
            }
        }
    }
}

/// A vector, or the first `tail` lanes when it is the last one of a ragged tile.
#[inline(always)]
unsafe fn load<T: Real, V: Lanes<T>, const WHOLE: bool>(from: *const T, last: bool, tail: usize) -> V {
    // SAFETY: the caller vouches for the lanes that are read.
    unsafe { if WHOLE || !last { V::load_ptr(from) } else { V::load_ptr_partial(from, tail) } }
}

/// Asks for a cache line; any address will do.
#[inline(always)]
fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Writes `count` lanes by way of the stack: masked stores take tens of cycles on several processors.
#[inline(always)]
unsafe fn store_tail<T: Real, V: Lanes<T>>(x: V, to: *mut T, count: usize) {
    let mut lanes = [T::ZERO; 16];
    x.store(&mut lanes);
    let mut at = 0;
    // SAFETY: `at + step <= count <= N <= 16`.
    unsafe {
        for step in [8, 4, 2, 1] {
            if count & step != 0 {
                to.add(at).copy_from_nonoverlapping(lanes.as_ptr().add(at), step);
                at += step;
            }
        }
    }
}
