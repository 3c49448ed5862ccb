//! MTTKRP of sparse tensors, given by coordinates.
//!
//! | file | what |
//! |---|---|
//! | `sort` | the order of the nonzeros for a mode |
//! | `tree` | nonzeros of a mode as a prefix tree |
//! | `walk` | MTTKRP of a stretch of a tree |
//! | `listed` | nonzeros of a mode as a sorted list of places, where trees would take too much memory |

mod listed;
mod sort;
mod tree;
mod walk;

use listed::{Listed, Records};
use rayon::prelude::*;
use std::borrow::Cow;
use tree::{Prefixes, Tree};

use super::tasks::Shared;
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;

/// Nonzeros of a task, and tasks at most.
const TASK: usize = 1 << 14;
const TASKS: usize = 256;
/// Nonzeros to a row of a factor from which on a copy of it pays.
const COPIED: usize = 4;
/// What a plan may take at most, in multiples of the coordinates.
const SHARE: usize = 3;

/// A sparse tensor arranged for MTTKRP of every mode.
///
/// # How
/// For each mode, the nonzeros are sorted by its index, then by the other modes, shortest first, and kept as a tree of shared prefixes: a
/// row of the result is one subtree. Levels are kept where prefixes are shared by two nonzeros or more on average; below, indices
/// are listed. The product of a prefix is applied once for all that share it, so that for three modes a nonzero costs 2·R operations and a
/// fiber 2·R, instead of 3·R a nonzero. Rows of factors are asked for ahead of use.
///
/// Work is cut into stretches of equally many nonzeros, whatever the rows: a long row is cut too. A stretch writes the rows that begin in
/// it; what it adds to a row that began before is kept apart and added afterwards, in the order of the stretches. No atomics: same bytes at
/// any number of threads.
///
/// # Memory
/// At most three times the coordinates (N indices of 4 bytes and a value for each nonzero), also while it is built: the first tree takes
/// the coordinates over, or borrows them from a caller who has them in its order ([`SparsePlan::of`]; then they count). Three modes fit with a tree for each (in f32 when there are six nonzeros to a row or more). Where a tree would
/// not fit, as with many modes and few shared prefixes, the mode is served by a list of places into one copy of the coordinates, which is
/// slower ([`SparsePlan::listed`]).
///
/// # Source
/// The compressed sparse fibers of Smith and Karypis, Tensor-matrix products with a compressed sparse tensor, 2015, with every mode at the
/// root of a tree. Ours: stretches of nonzeros instead of rows, levels by what they save, and the bound on memory.
#[derive(Debug)]
pub struct SparsePlan<'a, T: Clone> {
    shape: Vec<usize>,
    nonzeros: usize,
    modes: Vec<Mode<'a, T>>,
    /// The coordinates, when a mode is listed.
    records: Option<Records<T>>,
}

/// A factor, and the distance of its rows.
#[derive(Clone, Copy)]
struct Factor<'a, T> {
    of: &'a [T],
    step: usize,
}

#[derive(Debug)]
enum Mode<'a, T: Clone> {
    Tree(Tree<'a, T>),
    Listed(Listed),
}

impl<T: Real> SparsePlan<'static, T> {
    /// Arranges nonzeros `values[k]` at `(indices[0][k], indices[1][k], …)`. Equal coordinates add up.
    ///
    /// Cost: a radix sort by all modes, and one by its own index for each further mode. Panics when lengths disagree, an index is outside
    /// of the shape, or there are 2^32 nonzeros or more.
    pub fn new(shape: &[usize], indices: Vec<Vec<u32>>, values: Vec<T>) -> Self {
        check(shape, &slices(&indices), values.len());
        let path = first_path(shape);
        let places = sort::sorted(&slices(&indices), shape, &path);
        let mut indices = indices;
        let sorted = path.iter().map(|&m| Cow::Owned(tree::gather(&std::mem::take(&mut indices[m]), &places))).collect();
        let arranged = tree::gather(&values, &places);
        drop((values, places));
        SparsePlan::grow(shape, sorted, Cow::Owned(arranged), SHARE)
    }
}

impl<'a, T: Real> SparsePlan<'a, T> {
    /// As [`SparsePlan::new`] from coordinates that the caller keeps. Where they lie in the order of [`places`], they serve as the first
    /// tree, and plan and coordinates together take three times the coordinates at most; else the plan has a copy of its own.
    pub fn of(shape: &[usize], indices: &[&'a [u32]], values: &'a [T]) -> Self {
        check(shape, indices, values.len());
        let path = first_path(shape);
        if !in_order(indices, &path) {
            return SparsePlan::new(shape, indices.iter().map(|i| i.to_vec()).collect(), values.to_vec());
        }
        let sorted = path.iter().map(|&m| Cow::Borrowed(indices[m])).collect();
        Self::grow(shape, sorted, Cow::Borrowed(values), SHARE - 1)
    }

    /// `sorted`: the indices in the order of the first tree, along its path.
    fn grow(shape: &[usize], sorted: Vec<Cow<'a, [u32]>>, values: Cow<'a, [T]>, share: usize) -> Self {
        let (order, nonzeros) = (shape.len(), values.len());
        let list = nonzeros * size_of::<u32>();
        let own = order * list + nonzeros * size_of::<T>();
        let flat = |mode: usize| tree::bytes::<T>(&[shape[mode].min(nonzeros)], nonzeros, order);
        let by_size = first_path(shape);
        let mut modes: Vec<Option<Mode<'a, T>>> = (0..order).map(|_| None).collect();
        let mut coordinates: Vec<&[u32]> = vec![&[]; order];
        for (list, &mode) in sorted.iter().zip(&by_size) {
            coordinates[mode] = list;
        }
        let mut held: usize = sorted.iter().filter(|list| matches!(list, Cow::Owned(_))).count() * list;
        if let Cow::Owned(own) = &values {
            held += own.len() * size_of::<T>();
        }
        let prefixes = Prefixes::find(order, |depth| Cow::Borrowed(&sorted[depth]));
        held += tree::bytes::<T>(&prefixes.nodes, 0, order);
        let mut lists = 0;
        for (done, &mode) in by_size.iter().enumerate().skip(1) {
            let path = path(shape, mode);
            // By the other modes they are sorted.
            let places = sort::sorted(&coordinates, shape, &path[..1]);
            let list_of = |depth: usize| Cow::Owned(tree::gather(coordinates[path[depth]], &places));
            let prefixes = Prefixes::find(order, list_of);
            let bytes = tree::bytes::<T>(&prefixes.nodes, nonzeros, order);
            // What the modes to come need: a tree each, or a list each and the records.
            let to_come = &by_size[done + 1..];
            let listed = to_come.len() * list + if lists == 0 && !to_come.is_empty() { own } else { 0 };
            let ahead = to_come.iter().map(|&m| flat(m)).sum::<usize>().min(listed);
            if held + bytes + ahead + list <= share * own {
                held += bytes;
                let mut tree = Tree::new(&path, prefixes, list_of);
                tree.values = Cow::Owned(tree::gather(&values, &places));
                modes[mode] = Some(Mode::Tree(tree));
            } else {
                held += list + if lists == 0 { own } else { 0 };
                lists += 1;
                drop(prefixes);
                modes[mode] = Some(Mode::Listed(Listed::new(places)));
            }
        }
        let records = (lists > 0).then(|| Records::new(&coordinates, &values));
        // The first tree takes the lists over.
        let levels = prefixes.levels();
        let leaf = sorted.into_iter().skip(levels.len()).collect();
        let root = by_size[0];
        modes[root] = Some(Mode::Tree(Tree { path: by_size, levels, leaf, values }));
        Self { shape: shape.to_vec(), nonzeros, modes: modes.into_iter().flatten().collect(), records }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.nonzeros
    }

    pub fn is_empty(&self) -> bool {
        self.nonzeros == 0
    }

    /// Bytes held, without the coordinates that are borrowed.
    pub fn bytes(&self) -> usize {
        let modes = self.modes.iter().map(|mode| match mode {
            Mode::Tree(tree) => tree.held(),
            Mode::Listed(listed) => listed.held(),
        });
        modes.sum::<usize>() + self.records.as_ref().map_or(0, Records::held)
    }

    /// Modes that have no tree.
    pub fn listed(&self) -> Vec<usize> {
        (0..self.modes.len()).filter(|&m| matches!(self.modes[m], Mode::Listed(_))).collect()
    }

    /// MTTKRP of a mode: `out[i, r] = Σ over nonzeros of slice i of value · Π_{m≠mode} factors[m][i_m, r]`, as
    /// [`mttkrp`](super::mttkrp) of the dense tensor. Rows of empty slices are 0.
    ///
    /// Per nonzero one row of the leaf factor is read, and a row of each other factor per prefix. Factors whose rows lie across cache
    /// lines are copied first, to rows that begin at one, where there are four nonzeros or more to a row. Panics when a slice has not the
    /// size that the shape and `rank` ask for.
    pub fn mttkrp(&self, factors: &[&[T]], rank: usize, mode: usize, out: &mut [T]) {
        let order = self.shape.len();
        assert!(mode < order, "mttkrp: mode {mode} of a tensor of {order} modes");
        assert_eq!(factors.len(), order, "mttkrp: one factor per mode");
        for (m, (factor, &size)) in factors.iter().zip(&self.shape).enumerate() {
            assert!(
                m == mode || factor.len() == size * rank,
                "mttkrp: factor {m} is {size} x {rank}, not {} numbers",
                factor.len()
            );
        }
        assert_eq!(out.len(), self.shape[mode] * rank, "mttkrp: a result of {} x {rank}", self.shape[mode]);
        out.fill(T::ZERO);
        if self.nonzeros == 0 || rank == 0 {
            return;
        }
        // Rows are read fastest from whole cache lines: where they lie across them, from a copy whose rows begin at lines.
        let line = 64 / size_of::<T>();
        let step = rank.next_multiple_of(line);
        let askew = |m: usize| {
            let lies_well = rank == step && factors[m].as_ptr().addr().is_multiple_of(64);
            m != mode && rank > line / 2 && !lies_well && self.nonzeros >= COPIED * self.shape[m]
        };
        let total = (0..order).filter(|&m| askew(m)).map(|m| self.shape[m] * step).sum();
        with_scratch(total, |space: &mut [T]| {
            let mut with: Vec<Factor<'_, T>> = factors.iter().map(|&of| Factor { of, step: rank }).collect();
            let mut rest = space;
            for m in (0..order).filter(|&m| askew(m)) {
                let (own, tail) = std::mem::take(&mut rest).split_at_mut(self.shape[m] * step);
                own.par_chunks_mut(step << 10).zip(factors[m].par_chunks(rank << 10)).for_each(|(to, from)| {
                    for (to, from) in to.chunks_exact_mut(step).zip(from.chunks_exact(rank)) {
                        to[..rank].copy_from_slice(from);
                    }
                });
                (with[m], rest) = (Factor { of: own, step }, tail);
            }
            self.stretches(&with, rank, mode, out);
        });
    }

    /// All stretches of a mode; `out` is zero.
    fn stretches(&self, factors: &[Factor<'_, T>], rank: usize, mode: usize, out: &mut [T]) {
        let tasks = self.nonzeros.div_ceil(TASK).min(TASKS);
        with_scratch(tasks * rank, |heads: &mut [T]| {
            let (to, shared) = (Shared::new(out), Shared::new(heads));
            // The row that a stretch found begun, if any.
            let begun = |task: usize| {
                let own = self.nonzeros * task / tasks..self.nonzeros * (task + 1) / tasks;
                // SAFETY: head `task` belongs to this task.
                let head = unsafe { shared.part(task * rank, rank) };
                head.fill(T::ZERO);
                match &self.modes[mode] {
                    Mode::Tree(tree) => walk::walk(tree, factors, rank, own, &to, head),
                    Mode::Listed(listed) => {
                        listed.walk(self.records.as_ref().expect("the coordinates"), mode, factors, rank, own, &to, head)
                    }
                }
            };
            let rows: Vec<Option<u32>> =
                if tasks > 1 { (0..tasks).into_par_iter().with_max_len(1).map(begun).collect() } else { vec![begun(0)] };
            for (row, head) in rows.into_iter().zip(heads.chunks_exact(rank)) {
                if let Some(row) = row {
                    add(&mut out[row as usize * rank..][..rank], head);
                }
            }
        });
    }
}

fn slices(lists: &[Vec<u32>]) -> Vec<&[u32]> {
    lists.iter().map(Vec::as_slice).collect()
}

/// Panics unless the coordinates fit each other and the shape.
fn check(shape: &[usize], indices: &[&[u32]], nonzeros: usize) {
    let order = shape.len();
    assert!(order > 0 && indices.len() == order, "sparse: {} lists of indices for a shape {shape:?}", indices.len());
    assert!(u32::try_from(nonzeros).is_ok(), "sparse: {nonzeros} nonzeros, at most 2^32 - 1 are possible");
    for (mode, (index, &size)) in indices.iter().zip(shape).enumerate() {
        assert_eq!(index.len(), nonzeros, "sparse: indices of mode {mode}");
        assert!(index.par_iter().all(|&i| (i as usize) < size), "sparse: an index of mode {mode} is not below {size}");
    }
}

/// The order of the nonzeros that the first tree wants: a place for each.
pub fn places(shape: &[usize], indices: &[&[u32]]) -> Vec<u32> {
    check(shape, indices, indices.first().map_or(0, |i| i.len()));
    sort::sorted(indices, shape, &first_path(shape))
}

/// Numbers in the order of [`places`].
pub fn gather<T: Copy + Send + Sync>(from: &[T], places: &[u32]) -> Vec<T> {
    tree::gather(from, places)
}

/// Whether nonzeros come in the order of the indices along `path`.
fn in_order(indices: &[&[u32]], path: &[usize]) -> bool {
    let rises = |k: usize| {
        path.iter().map(|&m| indices[m][k - 1].cmp(&indices[m][k])).find(|o| o.is_ne()).is_none_or(std::cmp::Ordering::is_lt)
    };
    (1..indices[0].len()).into_par_iter().all(rises)
}

/// The path of the first tree: all modes, shortest first.
fn first_path(shape: &[usize]) -> Vec<usize> {
    let mut modes: Vec<usize> = (0..shape.len()).collect();
    modes.sort_by_key(|&m| shape[m]);
    modes
}

/// The order of levels for a mode at the root: itself, then the others, shortest first.
fn path(shape: &[usize], mode: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..shape.len()).filter(|&m| m != mode).collect();
    others.sort_by_key(|&m| shape[m]);
    std::iter::once(mode).chain(others).collect()
}
