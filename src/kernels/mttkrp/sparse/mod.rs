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
use tree::Tree;

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
/// the coordinates over. Three modes fit with a tree for each (in f32 when there are six nonzeros to a row or more). Where a tree would
/// not fit, as with many modes and few shared prefixes, the mode is served by a list of places into one copy of the coordinates, which is
/// slower ([`SparsePlan::listed`]).
///
/// # Source
/// The compressed sparse fibers of Smith and Karypis, Tensor-matrix products with a compressed sparse tensor, 2015, with every mode at the
/// root of a tree. Ours: stretches of nonzeros instead of rows, levels by what they save, and the bound on memory.
#[derive(Debug)]
pub struct SparsePlan<T> {
    shape: Vec<usize>,
    nonzeros: usize,
    modes: Vec<Mode<T>>,
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
enum Mode<T> {
    Tree(Tree<T>),
    Listed(Listed),
}

impl<T: Real> SparsePlan<T> {
    /// Arranges nonzeros `values[k]` at `(indices[0][k], indices[1][k], …)`. Equal coordinates add up.
    ///
    /// Cost: a radix sort by all modes, and one by its own index for each further mode. Panics when lengths disagree, an index is outside
    /// of the shape, or there are 2^32 nonzeros or more.
    pub fn new(shape: &[usize], indices: Vec<Vec<u32>>, values: Vec<T>) -> Self {
        let (order, nonzeros) = (shape.len(), values.len());
        assert!(order > 0 && indices.len() == order, "sparse: {} lists of indices for a shape {shape:?}", indices.len());
        assert!(u32::try_from(nonzeros).is_ok(), "sparse: {nonzeros} nonzeros, at most 2^32 - 1 are possible");
        for (mode, (index, &size)) in indices.iter().zip(shape).enumerate() {
            assert_eq!(index.len(), nonzeros, "sparse: indices of mode {mode}");
            assert!(index.par_iter().all(|&i| (i as usize) < size), "sparse: an index of mode {mode} is not below {size}");
        }
        let list = nonzeros * size_of::<u32>();
        let own = order * list + nonzeros * size_of::<T>();
        let flat = |mode: usize| tree::bytes::<T>(&[shape[mode].min(nonzeros)], nonzeros, order);
        let mut by_size: Vec<usize> = (0..order).collect();
        by_size.sort_by_key(|&m| shape[m]);

        // The first tree takes the coordinates over: its leaves, with the indices it does not list, are the coordinates of all others.
        let mut modes: Vec<Option<Mode<T>>> = (0..order).map(|_| None).collect();
        let path_of_first = path(shape, by_size[0]);
        let places = sort::sorted(&slices(&indices), shape, &path_of_first);
        let mut indices = indices;
        let sorted = path_of_first.iter().map(|&m| tree::gather(&std::mem::take(&mut indices[m]), &places)).collect::<Vec<_>>();
        let nodes = tree::nodes(&sorted);
        let (mut first, extra) = Tree::new(&path_of_first, sorted, &nodes);
        first.values = tree::gather(&values, &places);
        drop((values, places));
        let mut coordinates: Vec<&[u32]> = vec![&[]; order];
        for (list, &mode) in extra.iter().chain(&first.leaf).zip(&path_of_first) {
            coordinates[mode] = list;
        }
        let mut held = first.held() + extra.len() * list;
        let mut lists = 0;
        for (done, &mode) in by_size.iter().enumerate().skip(1) {
            let path = path(shape, mode);
            // By the other modes they are sorted.
            let places = sort::sorted(&coordinates, shape, &path[..1]);
            let sorted = tree::arranged(&coordinates, &path, &places);
            let nodes = tree::nodes(&sorted);
            let bytes = tree::bytes::<T>(&nodes, nonzeros, order);
            // What the modes to come need: a tree each, or a list each and the records.
            let to_come = &by_size[done + 1..];
            let listed = to_come.len() * list + if lists == 0 && !to_come.is_empty() { own } else { 0 };
            let ahead = to_come.iter().map(|&m| flat(m)).sum::<usize>().min(listed);
            if held + bytes + ahead + list <= SHARE * own {
                held += bytes;
                let (mut tree, _) = Tree::new(&path, sorted, &nodes);
                tree.values = tree::gather(&first.values, &places);
                modes[mode] = Some(Mode::Tree(tree));
            } else {
                held += list + if lists == 0 { own } else { 0 };
                lists += 1;
                modes[mode] = Some(Mode::Listed(Listed::new(places)));
            }
        }
        let records = (lists > 0).then(|| Records::new(&coordinates, &first.values));
        modes[by_size[0]] = Some(Mode::Tree(first));
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

    /// Bytes held.
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

/// The order of levels for a mode at the root: itself, then the others, shortest first.
fn path(shape: &[usize], mode: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..shape.len()).filter(|&m| m != mode).collect();
    others.sort_by_key(|&m| shape[m]);
    std::iter::once(mode).chain(others).collect()
}
