//! MTTKRPs of all modes of one ALS sweep, by a dimension tree.

use std::ops::Range;

use super::check;
use super::direct::mttkrp;
use super::khatri_rao::KhatriRao;
use super::left::left;
use super::node::{keep_left, keep_right};
use super::right::right;
use crate::kernels::simd::Real;
use crate::kernels::transpose::transpose;

/// Intermediates take at most one in so many of the numbers of X …
const SHARE: usize = 4;
/// … or so many numbers, where X is small.
const SMALL: usize = 1 << 16;

/// The MTTKRPs of one sweep over all modes, sharing their products: X is read twice a sweep instead of N times.
///
/// ```
/// use shoal::kernels::mttkrp::Sweep;
/// let (shape, x) = ([2, 2, 2], [1., 2., 3., 4., 5., 6., 7., 8.]);
/// let mut factors = vec![vec![1.0, 0.5]; 3];
/// let mut sweep = Sweep::new(&shape, 1);
/// for mode in 0..3 {
///     let mut out = vec![0.0; 2];
///     sweep.mode(&x, &factors.iter().map(Vec::as_slice).collect::<Vec<_>>(), mode, &mut out);
///     factors[mode] = out; // what ALS makes of it
/// }
/// ```
///
/// # How
/// The modes are split into A = 0..s and B = s..N. `Y_A = X · KR_B` (ΠI_A × R) is made once and serves every mode of A; then `Y_B = Xᵀ ·
/// KR_A`, with the factors of A as they are by then, serves the modes of B. Each is split again in the same way. Modes are updated in the
/// usual order with the usual factors, so that the result is that of standard ALS up to rounding.
///
/// # When no tree is used
/// The intermediates of a side take R·ΠI_A numbers. A side where they (with those of its inner nodes) would take more than a quarter of X
/// (or 2^16 numbers) is not used: its modes are computed one by one by [`mttkrp`], X read once for each. Among all s, the one with the
/// least arithmetic is taken. This depends on shape and rank alone.
///
/// # Cost
/// With both sides 4·R·ΠI operations a sweep (2·N·R·ΠI without), and 2·R·ΠI_A for each node below. X is read twice. Memory:
/// [`Sweep::numbers`], and for a node its sibling's product of factors.
#[derive(Debug)]
pub struct Sweep<T> {
    shape: Vec<usize>,
    rank: usize,
    split: usize,
    /// The trees of modes below and from `split`; `None` where modes are computed one by one.
    sides: [Option<Node>; 2],
    /// What the tree in use holds.
    data: Vec<T>,
    next: usize,
}

/// A contiguous range of modes, whose data (R, ΠI) lies at `at`.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    modes: Range<usize>,
    at: Range<usize>,
    children: Option<Box<[Node; 2]>>,
}

/// Operations (multiply-adds) and numbers of a tree over `modes`, with its own node.
fn cost(shape: &[usize], rank: usize, modes: &Range<usize>) -> (usize, usize) {
    let own = rank * shape[modes.clone()].iter().product::<usize>();
    if modes.len() == 1 {
        return (0, own);
    }
    let (left, right) = halves(shape, modes);
    let (l, r) = (cost(shape, rank, &left), cost(shape, rank, &right));
    // The two are not alive at once.
    (2 * own + l.0 + r.0, own + l.1.max(r.1))
}

/// Where a node is split: the smallest children.
fn halves(shape: &[usize], modes: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let size = |s: usize| shape[modes.start..s].iter().product::<usize>() + shape[s..modes.end].iter().product::<usize>();
    let middle = |s: usize| (2 * s).abs_diff(modes.start + modes.end);
    let split = (modes.start + 1..modes.end).min_by_key(|&s| (size(s), middle(s))).expect("two modes at least");
    (modes.start..split, split..modes.end)
}

impl Node {
    fn new(shape: &[usize], rank: usize, modes: Range<usize>, start: usize) -> Self {
        let end = start + rank * shape[modes.clone()].iter().product::<usize>();
        let children = (modes.len() > 1).then(|| {
            let (left, right) = halves(shape, &modes);
            Box::new([left, right].map(|modes| Node::new(shape, rank, modes, end)))
        });
        Self { modes, at: start..end, children }
    }

    /// The node's data is there; gives the MTTKRP of `mode`, one of its modes, all earlier ones having been asked for.
    fn mode<T: Real>(&self, sweep: Shape<'_>, data: &mut [T], factors: &[&[T]], mode: usize, out: &mut [T]) {
        let Some(children) = &self.children else {
            let size = sweep.shape[mode];
            return transpose((&data[self.at.clone()], size), (sweep.rank, size), (out, sweep.rank));
        };
        let [left, right] = &**children;
        let sizes = [left, right].map(|n| sweep.shape[n.modes.clone()].iter().product::<usize>());
        let kr = |n: &Node| KhatriRao::new(&factors[n.modes.clone()], &sweep.shape[n.modes.clone()], sweep.rank);
        let to = usize::from(mode >= right.modes.start);
        let child = &children[to];
        if mode == child.modes.start {
            let (own, below) = data.split_at_mut(self.at.end);
            let to_child = &mut below[..child.at.len()];
            match to {
                0 => keep_left(&own[self.at.clone()], sizes, &kr(right), to_child),
                _ => keep_right(&own[self.at.clone()], sizes, &kr(left), to_child),
            }
        }
        child.mode(sweep, data, factors, mode, out);
    }
}

#[derive(Clone, Copy)]
struct Shape<'a> {
    shape: &'a [usize],
    rank: usize,
}

impl<T: Real> Sweep<T> {
    /// Chooses the tree. Memory is taken when it is first needed.
    pub fn new(shape: &[usize], rank: usize) -> Self {
        let total: usize = shape.iter().product();
        let limit = (total / SHARE).max(SMALL);
        let side = |modes: Range<usize>| {
            let (work, numbers) = cost(shape, rank, &modes);
            let alone = modes.len() * rank * total;
            (modes.len() > 1 && numbers <= limit).then_some(rank * total + work).filter(|&w| w < alone).ok_or(alone)
        };
        let work = |s: usize| [side(0..s), side(s..shape.len())].map(|w| w.unwrap_or_else(|w| w)).iter().sum::<usize>();
        let middle = |s: usize| (2 * s).abs_diff(shape.len());
        let split = (1..shape.len()).min_by_key(|&s| (work(s), middle(s))).unwrap_or(shape.len());
        let node = |modes: Range<usize>| side(modes.clone()).is_ok().then(|| Node::new(shape, rank, modes, 0));
        let sides = [node(0..split), node(split..shape.len())];
        Self { shape: shape.to_vec(), rank, split, sides, data: Vec::new(), next: 0 }
    }

    /// Numbers that the intermediates take at most: a quarter of X, or 2^16.
    pub fn numbers(&self) -> usize {
        self.sides.iter().flatten().map(|n| cost(&self.shape, self.rank, &n.modes).1).max().unwrap_or(0)
    }

    /// Times that X is read in a sweep.
    pub fn passes(&self) -> usize {
        let sizes = [self.split, self.shape.len() - self.split];
        self.sides.iter().zip(sizes).map(|(side, modes)| if side.is_some() { 1 } else { modes }).sum()
    }

    /// As [`mttkrp`], up to rounding. Ask for modes 0, 1, …, N − 1 in this order, with the same X, and change between the calls none but
    /// the factor of the mode last asked for. A new sweep starts with mode 0, at any time.
    ///
    /// # Panics
    /// When a slice has not the size that shape and rank ask for, and on another order.
    pub fn mode(&mut self, x: &[T], factors: &[&[T]], mode: usize, out: &mut [T]) {
        check(x, &self.shape, factors, self.rank, Some(mode));
        assert!(mode < self.shape.len(), "sweep: mode {mode} of a tensor of {} modes", self.shape.len());
        assert!(mode == 0 || mode == self.next, "sweep: mode {mode} was asked for where mode {} is next", self.next);
        assert_eq!(out.len(), self.shape[mode] * self.rank, "sweep: a result of {} x {}", self.shape[mode], self.rank);
        self.next = mode + 1;
        let side = usize::from(mode >= self.split);
        let Some(node) = self.sides[side].as_ref().filter(|_| !x.is_empty() && self.rank > 0) else {
            return mttkrp(x, &self.shape, factors, self.rank, mode, out);
        };
        if self.data.is_empty() {
            self.data = vec![T::ZERO; self.numbers()];
        }
        if mode == node.modes.start {
            let others = if side == 0 { self.split..self.shape.len() } else { 0..self.split };
            let sizes = [&node.modes, &others].map(|m| self.shape[m.clone()].iter().product::<usize>());
            let kr = KhatriRao::new(&factors[others.clone()], &self.shape[others.clone()], self.rank);
            let data = &mut self.data[node.at.clone()];
            match side {
                0 => right(x, [1, sizes[0], sizes[1]], None, &kr, data),
                _ => left(x, [sizes[1], sizes[0], 1], &kr, None, data),
            }
        }
        node.mode(Shape { shape: &self.shape, rank: self.rank }, &mut self.data, factors, mode, out);
    }
}
