//! Products of whole matrices: orientation, blocking for the caches, and threads.

use rayon::prelude::*;

use super::micro::{self, Init, Job, even};
use super::pack::{pack_panel, with_scratch};
use super::{MatMut, MatRef, Start};
use crate::kernels::simd::Real;

/// Multiply-adds below which one thread does the work: waking a pool costs about as much.
const SERIAL: usize = 1 << 19;
/// Multiply-adds of a task when a product is cut for threads.
const TASK: usize = 1 << 20;
/// Most tasks of one cut.
const TASKS: usize = 64;
/// Bytes of a packed B that stay in a second-level cache beside the rows of A and C that stream by.
const SMALL_B: usize = 256 << 10;
/// Rows of A from which on a B that could be read in place is packed all the same.
const PACKING_PAYS: usize = 128;
/// Blocks of the large product: depth (a panel of B takes half of a first-level cache), rows and columns of a task, and rows and
/// columns packed at a time.
const DEPTH: usize = 256;
const TASK_ROWS: usize = 96;
const TASK_COLS: usize = 256;
const PACKED_ROWS: usize = 4096;
const PACKED_COLS: usize = 4096;

/// C (m × n) = A (m × k) · B (k × n), or C += A·B when `accumulate`, on the threads of the current rayon pool.
///
/// Any strides and orientations. Each element is a chain of fused multiply-adds over k in order, as in [`tile`](super::tile), with
/// one exception: when C has at most 128² elements and k is at least 2048 (a weight gradient over many rows), k is cut into parts
/// whose number depends on (m, n, k) alone; each part is summed in order from zero, and the parts are added in order to the start
/// value. So the bits depend neither on the number of threads nor on the instruction set.
///
/// Cost: 2·m·n·k operations; packed copies of at most 4096 × 256 of each of A and B at a time, kept by the thread for the next call.
/// Panics when the shapes do not agree.
pub fn matmul<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: MatMut<'_, T>, accumulate: bool) {
    matmul_from(if accumulate { Start::Current } else { Start::Zero }, a, b, c);
}

/// [`matmul`] with any start: C = start + A·B, for the bias of a linear layer.
pub fn matmul_from<T: Real>(start: Start<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, c: MatMut<'_, T>) {
    product(start, a, b, c, true);
}

/// The product with or without threads; the bits are the same.
pub(super) fn product<T: Real>(start: Start<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, mut c: MatMut<'_, T>, parallel: bool) {
    let (m, n, k) = (c.rows(), c.cols(), a.cols());
    assert!(
        a.rows() == m && b.rows() == k && b.cols() == n,
        "matmul: ({}x{k}) * ({}x{}) is not {m}x{n}",
        a.rows(),
        b.rows(),
        b.cols()
    );
    let init = match start {
        Start::Zero => Init::Zero,
        Start::Current => Init::Current,
        Start::Row(bias) => {
            assert_eq!(bias.len(), n, "matmul: one bias per column of C");
            Init::Row(bias.as_ptr())
        }
        Start::Column(bias) => {
            assert_eq!(bias.len(), m, "matmul: one bias per row of C");
            Init::Column(bias.as_ptr())
        }
    };
    if m == 0 || n == 0 {
        return;
    }
    let plan = Plan { a, b, init, parallel: parallel && m * n * k >= SERIAL };
    // The tile writes rows of unit stride.
    let (row, col) = (c.row_stride(), c.col_stride());
    if col == 1 || n == 1 {
        plan.rows(c.ptr(), row);
    } else if row == 1 || m == 1 {
        plan.transposed().rows(c.ptr(), col);
    } else {
        with_scratch(m * n, |own| {
            if matches!(init, Init::Current) {
                for (i, to) in own.chunks_exact_mut(n).enumerate() {
                    for (j, x) in to.iter_mut().enumerate() {
                        *x = c.as_ref().get(i, j);
                    }
                }
            }
            plan.rows(own.as_mut_ptr(), n);
            for (i, from) in own.chunks_exact(n).enumerate() {
                for (j, &x) in from.iter().enumerate() {
                    c.set(i, j, x);
                }
            }
        });
    }
}

/// Parts into which the depth of a small C is cut: tasks of one size, few enough that their sums take a quarter of a million numbers.
pub(super) fn parts_of_depth(m: usize, n: usize, k: usize) -> usize {
    (m * n * k / (4 * TASK)).clamp(1, TASKS.min((1 << 18) / (m * n)).max(1))
}

/// C = start + the parts of the sums in their order; each part is a C, or a Cᵀ when `flipped`.
///
/// # Safety
/// The start vectors must be readable over the shape of C.
unsafe fn add_parts<T: Real>(init: Init<T>, sums: &mut [T], flipped: bool, mut c: MatMut<'_, T>) {
    let (m, n) = (c.rows(), c.cols());
    let at = |i: usize, j: usize| if flipped { j * m + i } else { i * n + j };
    let (total, rest) = sums.split_at_mut(m * n);
    // The start value comes first, so the first part is added to it and not the other way round: the same bits, for a sum of two.
    match init {
        Init::Zero => {}
        _ => {
            for i in 0..m {
                for j in 0..n {
                    // SAFETY: inside the vectors.
                    total[at(i, j)] += match init {
                        Init::Zero => T::ZERO,
                        Init::Current => c.as_ref().get(i, j),
                        Init::Row(x) => unsafe { *x.add(j) },
                        Init::Column(x) => unsafe { *x.add(i) },
                    };
                }
            }
        }
    }
    for part in rest.chunks_exact(m * n) {
        total.iter_mut().zip(part).for_each(|(sum, &x)| *sum += x);
    }
    for i in 0..m {
        for j in 0..n {
            c.set(i, j, total[at(i, j)]);
        }
    }
}

/// A product whose C has rows of unit stride.
#[derive(Clone, Copy)]
struct Plan<'a, T> {
    a: MatRef<'a, T>,
    b: MatRef<'a, T>,
    init: Init<T>,
    parallel: bool,
}

/// An address that tasks share; each touches its own part.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: the tasks of one cut write disjoint parts.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}
impl<T> Shared<T> {
    fn at(self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// Runs the tasks, on the pool or in order.
fn each(parallel: bool, tasks: usize, work: impl Fn(usize) + Sync + Send) {
    if parallel && tasks > 1 {
        (0..tasks).into_par_iter().with_max_len(1).for_each(work);
    } else {
        (0..tasks).for_each(work);
    }
}

impl<'a, T: Real> Plan<'a, T> {
    /// Cᵀ = Bᵀ·Aᵀ.
    fn transposed(self) -> Self {
        let init = match self.init {
            Init::Row(x) => Init::Column(x),
            Init::Column(x) => Init::Row(x),
            other => other,
        };
        Self { a: self.b.t(), b: self.a.t(), init, ..self }
    }

    fn rows(self, c: *mut T, ldc: usize) {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        if k >= 2048 && m * n <= 128 * 128 {
            self.deep(c, ldc);
        } else if k * n.next_multiple_of(T::LANES) * size_of::<T>() <= SMALL_B {
            self.small_b(c, ldc);
        } else if m <= 64 {
            self.few_rows(c, ldc);
        } else {
            self.large(c, ldc);
        }
    }

    fn plain_b(&self) -> bool {
        self.b.col_stride() == 1 || self.b.cols() == 1
    }

    /// A job over A and B in place; the caller narrows it.
    fn job(&self, c: *mut T, ldc: usize) -> Job<T> {
        Job {
            rows: self.a.rows(),
            cols: self.b.cols(),
            depth: self.a.cols(),
            a: self.a.ptr(),
            a_row: self.a.row_stride(),
            a_col: self.a.col_stride(),
            a_block: self.a.rows(),
            a_step: 0,
            b: self.b.ptr(),
            b_row: self.b.row_stride(),
            b_panel: T::LANES,
            b_padded: false,
            init: self.init,
            c,
            ldc,
        }
    }

    /// Packs columns of B (any strides) into panels.
    fn pack_b(parallel: bool, b: MatRef<'_, T>, to: &mut [T]) {
        let size = b.rows() * T::LANES;
        let panels = b.cols().div_ceil(T::LANES);
        // A few panels to a task: packing is copying.
        let group = (1usize << 16).div_ceil(size.max(1));
        let to = Shared(to.as_mut_ptr());
        each(parallel && panels * size > 1 << 16, panels.div_ceil(group), |g| {
            for p in g * group..panels.min((g + 1) * group) {
                let columns = p * T::LANES..b.cols().min((p + 1) * T::LANES);
                // SAFETY: panel p is inside the buffer and belongs to this task.
                let panel = unsafe { std::slice::from_raw_parts_mut(to.at(p * size), size) };
                pack_panel(b.col_range(columns), panel, T::LANES);
            }
        });
    }

    /// B is packed once and stays in the caches; tasks take rows of A as they lie.
    fn small_b(self, c: *mut T, ldc: usize) {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        let panels = n.div_ceil(T::LANES);
        let tasks = if self.parallel { (m * n * k / TASK).clamp(1, TASKS) } else { 1 };
        let row_parts = tasks.min(m.div_ceil(24));
        let col_parts = tasks.div_ceil(row_parts).min(panels);
        let in_place = self.plain_b() && m < PACKING_PAYS;
        let size = if in_place { 0 } else { panels * k * T::LANES };
        with_scratch(size, |packed| {
            let mut job = self.job(c, ldc);
            if !in_place {
                Self::pack_b(self.parallel, self.b, packed);
                job = Job { b: packed.as_ptr(), b_row: T::LANES, b_panel: k * T::LANES, b_padded: true, ..job };
            }
            let job = &job;
            each(self.parallel, row_parts * col_parts, |t| {
                let is = even(m, row_parts, t / col_parts);
                let ps = even(panels, col_parts, t % col_parts);
                // SAFETY: the parts are inside the shapes, and apart in C.
                unsafe { micro::run(job.part(is, ps.start * T::LANES..n.min(ps.end * T::LANES))) }
            });
        });
    }

    /// Few rows of A, many columns of B: tasks take panels of B, packed one at a time where that pays.
    fn few_rows(self, c: *mut T, ldc: usize) {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        let panels = n.div_ceil(T::LANES);
        let tasks = if self.parallel { (m * n * k / TASK).clamp(1, TASKS).min(panels) } else { 1 };
        let in_place = self.plain_b() && m <= 12;
        let job = &self.job(c, ldc);
        each(self.parallel, tasks, |t| {
            let ps = even(panels, tasks, t);
            if in_place {
                // SAFETY: the parts are inside the shapes, and apart in C.
                unsafe { micro::run(job.part(0..m, ps.start * T::LANES..n.min(ps.end * T::LANES))) };
                return;
            }
            with_scratch(DEPTH * T::LANES, |panel| {
                for p in ps {
                    let columns = p * T::LANES..n.min((p + 1) * T::LANES);
                    let parts = k.div_ceil(DEPTH).max(1);
                    for d in 0..parts {
                        let ks = even(k, parts, d);
                        pack_panel(self.b.row_range(ks.clone()).col_range(columns.clone()), panel, T::LANES);
                        let part = job.part(0..m, columns.clone());
                        // SAFETY: as above.
                        unsafe {
                            micro::run(Job {
                                depth: ks.len(),
                                a: job.a.add(ks.start * job.a_col),
                                b: panel.as_ptr(),
                                b_row: T::LANES,
                                b_padded: true,
                                init: if d == 0 { part.init } else { Init::Current },
                                ..part
                            });
                        }
                    }
                }
            });
        });
    }

    /// A small C over a long k: parts of k side by side, added in order.
    fn deep(self, c: *mut T, ldc: usize) {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        // Vectors run along the columns of B. Taking Cᵀ may waste fewer lanes, or spare packing.
        let cost = |rows: usize, cols: usize, plain: bool| {
            let tile = rows.max(4 * rows.div_ceil(6)) * cols.next_multiple_of(T::LANES);
            tile + if plain { 0 } else { 64 * cols }
        };
        let as_is = cost(m, n, self.plain_b());
        let flipped = cost(n, m, self.a.row_stride() == 1 || m == 1);
        let (plan, flip) = if flipped < as_is { (self.transposed(), true) } else { (self, false) };
        let cols = if flip { m } else { n };
        let parts = parts_of_depth(m, n, k);
        with_scratch(parts * m * n, |sums| {
            let shared = Shared(sums.as_mut_ptr());
            each(self.parallel, parts, |t| {
                let ks = even(k, parts, t);
                let part = Plan { a: plan.a.col_range(ks.clone()), b: plan.b.row_range(ks), init: Init::Zero, parallel: false };
                let to = shared.at(t * m * n);
                if part.plain_b() {
                    // SAFETY: part t of the sums belongs to this task; A and B are read inside their shapes.
                    unsafe { micro::run(part.job(to, cols)) }
                } else {
                    part.blocks_of_depth(to, cols);
                }
            });
            // SAFETY: C and the start vectors hold m by n elements; the sums are whole.
            unsafe { add_parts(self.init, sums, flip, MatMut::from_raw(c, m, n, ldc, 1)) };
        });
    }

    /// One thread, B packed in blocks of rows that stay in the caches.
    fn blocks_of_depth(self, c: *mut T, ldc: usize) {
        let (n, k) = (self.b.cols(), self.a.cols());
        let panels = n.div_ceil(T::LANES);
        let parts = k.div_ceil(DEPTH).max(1);
        with_scratch(panels * DEPTH * T::LANES, |packed| {
            for d in 0..parts {
                let ks = even(k, parts, d);
                Self::pack_b(false, self.b.row_range(ks.clone()), packed);
                let job = Plan { a: self.a.col_range(ks.clone()), init: if d == 0 { self.init } else { Init::Current }, ..self }
                    .job(c, ldc);
                // SAFETY: the packed block holds all columns of these rows of B.
                unsafe {
                    micro::run(Job { b: packed.as_ptr(), b_row: T::LANES, b_panel: ks.len() * T::LANES, b_padded: true, ..job });
                }
            }
        });
    }

    /// Both matrices packed block by block; tasks take rectangles of C.
    fn large(self, c: *mut T, ldc: usize) {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        let height = micro::tile_rows::<T>();
        let (row_blocks, col_blocks, depth_blocks) = (m.div_ceil(PACKED_ROWS), n.div_ceil(PACKED_COLS), k.div_ceil(DEPTH).max(1));
        let most_rows = m.div_ceil(row_blocks).next_multiple_of(height);
        let most_cols = n.div_ceil(col_blocks).next_multiple_of(T::LANES);
        let depth = k.div_ceil(depth_blocks);
        let whole = self.job(c, ldc);
        with_scratch(depth * most_rows, |packed_a: &mut [T]| {
            with_scratch(depth * most_cols, |packed_b: &mut [T]| {
                for block in 0..row_blocks * col_blocks * depth_blocks {
                    // Depth runs fastest, so that each element of C takes its terms in order.
                    let ks = even(k, depth_blocks, block % depth_blocks);
                    let js = even(n, col_blocks, block / depth_blocks % col_blocks);
                    let is = even(m, row_blocks, block / depth_blocks / col_blocks);
                    let b = self.b.row_range(ks.clone()).col_range(js.clone());
                    let a = self.a.col_range(ks.clone()).row_range(is.clone());
                    Self::pack_b(self.parallel, b, packed_b);
                    self.pack_a(a, packed_a, height);
                    let tiles = is.len().div_ceil(height);
                    let panels = js.len().div_ceil(T::LANES);
                    let row_parts = is.len().div_ceil(TASK_ROWS).min(tiles);
                    let col_parts = js.len().div_ceil(TASK_COLS);
                    let part = whole.part(is.clone(), js.clone());
                    let job = &Job {
                        depth: ks.len(),
                        a: packed_a.as_ptr(),
                        a_row: 1,
                        a_col: height,
                        a_block: height,
                        a_step: height * ks.len(),
                        b: packed_b.as_ptr(),
                        b_row: T::LANES,
                        b_panel: T::LANES * ks.len(),
                        b_padded: true,
                        init: if ks.start == 0 { part.init } else { Init::Current },
                        ..part
                    };
                    each(self.parallel, row_parts * col_parts, |t| {
                        let ts = even(tiles, row_parts, t / col_parts);
                        let ps = even(panels, col_parts, t % col_parts);
                        let rows = ts.start * height..is.len().min(ts.end * height);
                        // SAFETY: the rectangles are inside the block, and apart.
                        unsafe { micro::run(job.part(rows, ps.start * T::LANES..js.len().min(ps.end * T::LANES))) }
                    });
                }
            });
        });
    }

    /// Packs A into blocks of `height` rows, each column of a block after the other.
    fn pack_a(&self, a: MatRef<'_, T>, to: &mut [T], height: usize) {
        let (m, k) = (a.rows(), a.cols());
        let blocks = m.div_ceil(height);
        let group = (1usize << 16).div_ceil(height * k.max(1));
        let to = Shared(to.as_mut_ptr());
        each(self.parallel && m * k > 1 << 16, blocks.div_ceil(group), |g| {
            for p in g * group..blocks.min((g + 1) * group) {
                let rows = p * height..m.min((p + 1) * height);
                // SAFETY: block p is inside the buffer and belongs to this task.
                let block = unsafe { std::slice::from_raw_parts_mut(to.at(p * height * k), height * k) };
                pack_panel(a.row_range(rows).t(), block, height);
            }
        });
    }
}
