//! The backward pass of a product along a mode.

use super::super::mttkrp::around;
use super::super::mttkrp::tasks::{Shared, each, even};
use super::mode_gram::{DEPTH, gather};
use super::product::ttm;
use crate::kernels::gemm::{MatMut, MatRef, Start, matmul, tile, with_scratch};
use crate::kernels::simd::Real;
use crate::kernels::sums::add;

/// Below so many numbers of the matrix, each task has its own sums.
const WHOLE: usize = 128 * 128;
/// Multiply-adds of a task, and tasks at most.
const TASK: usize = 1 << 21;
const TASKS: usize = 32;

/// Gradients of a loss whose derivative by `Y = ttm(x, shape, m, mode)` is `dy`: `dX = dY ×_mode Mᵀ`, and `dM = dY_(mode) · X_(mode)ᵀ`, (J,
/// I_mode) in rows. Those that are wanted are written.
///
/// 2·J·ΠI operations each. Columns of both unfoldings are gathered 256 at a time for dM (in place for the last mode); small matrices are
/// summed apart in parts and added in order, large ones by threaded products of a block. The same bytes at any number of threads.
///
/// # Panics
/// When a slice or `m` has not the size that `shape` asks for.
pub fn ttm_backward<T: Real>(
    x: &[T],
    shape: &[usize],
    m: MatRef<'_, T>,
    mode: usize,
    dy: &[T],
    dx: Option<&mut [T]>,
    dm: Option<&mut [T]>,
) {
    let [l, i, t] = around(shape, mode);
    let j = m.rows();
    assert!(x.len() == l * i * t && m.cols() == i, "ttm_backward: a matrix of {j} x {} for shape {shape:?}", m.cols());
    assert_eq!(dy.len(), l * j * t, "ttm_backward: a gradient of {l} x {j} x {t}");
    if let Some(dx) = dx {
        let mut from = shape.to_vec();
        from[mode] = j;
        ttm(dy, &from, m.t(), mode, dx);
    }
    if let Some(dm) = dm {
        assert_eq!(dm.len(), j * i, "ttm_backward: a matrix of {j} x {i}");
        of_matrix(x, dy, [l, i, t], j, dm);
    }
}

fn of_matrix<T: Real>(x: &[T], dy: &[T], [l, i, t]: [usize; 3], j: usize, dm: &mut [T]) {
    dm.fill(T::ZERO);
    if x.is_empty() || j == 0 {
        return;
    }
    let total = l * t;
    let with_blocks = |own: std::ops::Range<usize>, parallel: bool, work: &mut dyn FnMut(MatRef<'_, T>, MatRef<'_, T>)| {
        with_scratch(DEPTH * j, |a: &mut [T]| {
            with_scratch(DEPTH * i, |b: &mut [T]| {
                for start in own.clone().step_by(DEPTH) {
                    let columns = start..(start + DEPTH).min(own.end);
                    let a = gather(dy, [l, j, t], columns.clone(), a, parallel);
                    work(a, gather(x, [l, i, t], columns, b, parallel));
                }
            });
        });
    };
    if i * j > WHOLE {
        with_blocks(0..total, true, &mut |a, b| matmul(a.t(), b, MatMut::new(dm, j, i), true));
        return;
    }
    let parts = (total * i * j / TASK).clamp(1, TASKS);
    with_scratch((parts - 1) * i * j, |others: &mut [T]| {
        others.fill(T::ZERO);
        let (first, rest) = (Shared::new(dm), Shared::new(others));
        each(parts, |p| {
            // SAFETY: part p of the sums belongs to this task.
            let to = unsafe { if p == 0 { first.part(0, i * j) } else { rest.part((p - 1) * i * j, i * j) } };
            with_blocks(even(total, 1, parts, p), false, &mut |a, b| tile(Start::Current, a.t(), b, MatMut::new(to, j, i)));
        });
        others.chunks_exact(i * j).for_each(|part| add(dm, part));
    });
}
