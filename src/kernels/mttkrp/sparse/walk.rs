//! MTTKRP of a stretch of a tree.

use std::ops::Range;

use super::super::tasks::Shared;
use super::Factor;
use super::tree::Tree;
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, prefetch};

/// Nonzeros that a row of the leaf factor is asked for ahead, and fibers.
const AHEAD: usize = 16;
const FIBERS_AHEAD: usize = 4;
/// Virtual vectors of the rank that are walked at a time.
const VECTORS: usize = 4;

/// Nonzeros `own` of the tree. Rows of the result that begin there are written to `out` (I, rank); what belongs to a row that began before
/// is added to `head` (rank), and that row is returned.
pub(super) fn walk<T: Real>(
    tree: &Tree<'_, T>,
    factors: &[Factor<'_, T>],
    rank: usize,
    own: Range<usize>,
    out: &Shared<T>,
    head: &mut [T],
) -> Option<u32> {
    if own.is_empty() {
        return None;
    }
    // The node of every level that holds the first nonzero, and whether the row begins with it.
    let depth = tree.levels.len();
    let mut nodes = vec![0usize; depth];
    let mut at = own.start;
    for level in (0..depth).rev() {
        at = tree.levels[level].first.partition_point(|&f| f as usize <= at) - 1;
        nodes[level] = at;
    }
    let begin = tree.levels.iter().fold(nodes[0], |node, level| level.first[node] as usize);
    let begun = begin < own.start;
    let row = tree.levels[0].ids[nodes[0]];
    with_scratch(depth * VECTORS * T::LANES, |sums: &mut [T]| {
        let mut scratch_nodes = nodes.clone();
        let mut col = 0;
        while col < rank {
            let cols = (rank - col).min(VECTORS * T::LANES);
            scratch_nodes.copy_from_slice(&nodes);
            let nodes = &mut scratch_nodes[..];
            dispatch(Walk { tree, factors, rank, col, cols, own: own.clone(), begun, nodes, sums, out, head });
            col += cols;
        }
    });
    begun.then_some(row)
}

struct Walk<'a, T: Clone> {
    tree: &'a Tree<'a, T>,
    factors: &'a [Factor<'a, T>],
    rank: usize,
    /// Columns of the rank.
    col: usize,
    cols: usize,
    own: Range<usize>,
    begun: bool,
    nodes: &'a mut [usize],
    /// Sums of every level, `VECTORS` vectors each.
    sums: &'a mut [T],
    out: &'a Shared<T>,
    head: &'a mut [T],
}

impl<T: Real> Kernel<T> for Walk<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let whole = self.cols.is_multiple_of(V::N);
        match (self.cols.div_ceil(V::N), whole) {
            (1, true) => self.vectors::<V, 1, true>(),
            (1, false) => self.vectors::<V, 1, false>(),
            (2, true) => self.vectors::<V, 2, true>(),
            (2, false) => self.vectors::<V, 2, false>(),
            (3, true) => self.vectors::<V, 3, true>(),
            (3, false) => self.vectors::<V, 3, false>(),
            (_, true) => self.vectors::<V, 4, true>(),
            (_, false) => self.vectors::<V, 4, false>(),
        }
    }
}

/// `NV` vectors of a row of a factor from `at` on; the last one short when not `WHOLE`.
///
/// # Safety
/// The row must lie inside.
#[inline(always)]
pub(super) unsafe fn row<T: Real, V: Lanes<T>, const NV: usize, const WHOLE: bool>(
    factor: Factor<'_, T>,
    row: u32,
    (col, cols): (usize, usize),
) -> [V; NV] {
    let (of, at) = (factor.of, row as usize * factor.step + col);
    debug_assert!(at + cols <= of.len());
    // SAFETY: the caller's promise.
    std::array::from_fn(|v| unsafe {
        let from = of.as_ptr().add(at + v * V::N);
        if WHOLE || v + 1 < NV { V::load_ptr(from) } else { V::load_ptr_partial(from, cols - v * V::N) }
    })
}

/// Asks for a row.
#[inline(always)]
pub(super) fn ask<T: Real, V: Lanes<T>, const NV: usize>(factor: Factor<'_, T>, row: u32, (col, cols): (usize, usize)) {
    let (of, at) = (factor.of, row as usize * factor.step + col);
    for v in 0..NV {
        prefetch(of, at + v * V::N);
    }
    // A row may begin inside a cache line, and end in one more.
    prefetch(of, at + cols - 1);
}

impl<T: Real> Walk<'_, T> {
    #[inline(always)]
    fn vectors<V: Lanes<T>, const NV: usize, const WHOLE: bool>(self) {
        let Self { tree, factors, rank, col, cols, own, mut begun, nodes, sums, out, head } = self;
        let depth = tree.levels.len();
        let last = &tree.levels[depth - 1];
        let width = NV * V::N;
        let zero = [V::splat(T::ZERO); NV];
        sums[..depth * width].fill(T::ZERO);
        let mut at = own.start;
        while at < own.end {
            let fiber = nodes[depth - 1];
            let end = (last.first[fiber + 1] as usize).min(own.end);
            if depth > 1
                && let Some(&id) = last.ids.get(fiber + FIBERS_AHEAD)
            {
                ask::<T, V, NV>(factors[tree.path[depth - 1]], id, (col, cols));
            }
            // SAFETY: indices are below the sizes of the shape, as checked when the plan was made, and factors are as large, as checked on
            // entry.
            let mut sum = unsafe {
                match &tree.leaf[..] {
                    [] => {
                        let total = tree.values[at..end].iter().fold(T::ZERO, |a, &b| a + b);
                        [V::splat(total); NV]
                    }
                    [ids] => leaf::<T, V, NV, WHOLE>(ids, factors[tree.path[depth]], &tree.values, at..end, (col, cols)),
                    [a, b] => {
                        let of = [factors[tree.path[depth]], factors[tree.path[depth + 1]]];
                        pairs::<T, V, NV, WHOLE>([a, b], of, &tree.values, at..end, (col, cols))
                    }
                    _ => listed::<T, V, NV, WHOLE>(tree, factors, at..end, (col, cols)),
                }
            };
            at = end;
            // Upwards: a node's sum times its row goes to its parent; a node that is finished, or cut by the end of the stretch, is closed.
            let mut level = depth - 1;
            loop {
                let node = nodes[level];
                let children_end = tree.levels[level].first[node + 1] as usize;
                let done = if level + 1 == depth { at == children_end } else { nodes[level + 1] == children_end };
                if level + 1 < depth && !done && at < own.end {
                    break;
                }
                if level + 1 < depth {
                    let place = &mut sums[level * width..][..width];
                    for v in 0..NV {
                        sum[v] = V::load(&place[v * V::N..]);
                        zero[v].store(&mut place[v * V::N..]);
                    }
                }
                if level == 0 {
                    if begun {
                        put::<T, V, NV, WHOLE>(sum, &mut head[col..col + cols]);
                        begun = false;
                    } else {
                        let start = tree.levels[0].ids[node] as usize * rank + col;
                        // SAFETY: the row begins in this stretch, so no other writes it.
                        put::<T, V, NV, WHOLE>(sum, unsafe { out.part(start, cols) });
                    }
                } else {
                    let id = tree.levels[level].ids[node];
                    // SAFETY: as above.
                    let by: [V; NV] = unsafe { row::<T, V, NV, WHOLE>(factors[tree.path[level]], id, (col, cols)) };
                    let place = &mut sums[(level - 1) * width..][..width];
                    for v in 0..NV {
                        by[v].fma(sum[v], V::load(&place[v * V::N..])).store(&mut place[v * V::N..]);
                    }
                }
                if done {
                    nodes[level] += 1;
                }
                if level == 0 {
                    break;
                }
                level -= 1;
            }
        }
    }
}

#[inline(always)]
pub(super) fn put<T: Real, V: Lanes<T>, const NV: usize, const WHOLE: bool>(sum: [V; NV], to: &mut [T]) {
    for v in 0..NV {
        if WHOLE || v + 1 < NV { sum[v].store(&mut to[v * V::N..]) } else { sum[v].store_partial(&mut to[v * V::N..]) }
    }
}

/// Σ value · row over nonzeros with one index each: the rows of the leaf.
///
/// # Safety
/// All indices must lie inside the factor.
#[inline(always)]
unsafe fn leaf<T: Real, V: Lanes<T>, const NV: usize, const WHOLE: bool>(
    ids: &[u32],
    factor: Factor<'_, T>,
    values: &[T],
    own: Range<usize>,
    (col, cols): (usize, usize),
) -> [V; NV] {
    let mut sum = [V::splat(T::ZERO); NV];
    assert!(own.end <= ids.len() && own.end <= values.len());
    let most = ids.len() - 1;
    for k in own {
        // SAFETY: k is below the length, as asserted; the index is the caller's promise.
        unsafe {
            let next = *ids.get_unchecked((k + AHEAD).min(most));
            ask::<T, V, NV>(factor, next, (col, cols));
            let x = V::splat(*values.get_unchecked(k));
            let by: [V; NV] = row::<T, V, NV, WHOLE>(factor, *ids.get_unchecked(k), (col, cols));
            for v in 0..NV {
                sum[v] = x.fma(by[v], sum[v]);
            }
        }
    }
    sum
}

/// The same with two indices each.
///
/// # Safety
/// As [`leaf`].
#[inline(always)]
unsafe fn pairs<T: Real, V: Lanes<T>, const NV: usize, const WHOLE: bool>(
    [a, b]: [&[u32]; 2],
    [of_a, of_b]: [Factor<'_, T>; 2],
    values: &[T],
    own: Range<usize>,
    (col, cols): (usize, usize),
) -> [V; NV] {
    let mut sum = [V::splat(T::ZERO); NV];
    assert!(own.end <= a.len() && own.end <= b.len() && own.end <= values.len());
    let most = a.len().min(b.len()) - 1;
    for k in own {
        let next = (k + AHEAD).min(most);
        // SAFETY: k is below the lengths, as asserted; the indices are the caller's promise.
        unsafe {
            ask::<T, V, NV>(of_a, *a.get_unchecked(next), (col, cols));
            ask::<T, V, NV>(of_b, *b.get_unchecked(next), (col, cols));
            let x = V::splat(*values.get_unchecked(k));
            let u: [V; NV] = row::<T, V, NV, WHOLE>(of_a, *a.get_unchecked(k), (col, cols));
            let v: [V; NV] = row::<T, V, NV, WHOLE>(of_b, *b.get_unchecked(k), (col, cols));
            for n in 0..NV {
                sum[n] = x.mul(u[n]).fma(v[n], sum[n]);
            }
        }
    }
    sum
}

/// The same with several indices each.
///
/// # Safety
/// As [`leaf`].
#[inline(always)]
unsafe fn listed<T: Real, V: Lanes<T>, const NV: usize, const WHOLE: bool>(
    tree: &Tree<'_, T>,
    factors: &[Factor<'_, T>],
    own: Range<usize>,
    (col, cols): (usize, usize),
) -> [V; NV] {
    let modes = &tree.path[tree.levels.len()..];
    let mut sum = [V::splat(T::ZERO); NV];
    for k in own {
        let mut product = [V::splat(tree.values[k]); NV];
        for (ids, &mode) in tree.leaf.iter().zip(modes) {
            let factor = factors[mode];
            if let Some(&next) = ids.get(k + AHEAD) {
                ask::<T, V, NV>(factor, next, (col, cols));
            }
            // SAFETY: the caller's promise.
            let by: [V; NV] = unsafe { row::<T, V, NV, WHOLE>(factor, ids[k], (col, cols)) };
            for v in 0..NV {
                product[v] = product[v].mul(by[v]);
            }
        }
        for v in 0..NV {
            sum[v] = sum[v].add(product[v]);
        }
    }
    sum
}
