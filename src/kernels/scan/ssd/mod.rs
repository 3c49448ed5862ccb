//! The scan of Mamba-2 (state-space duality): one decay for all states of a head, so that chunks are matrix products.
//!
//! For head j of group g, with x_t (width), B_t and C_t (states) of the group, and a step size Δ_t (final: softplus and limits
//! are behind it):
//!
//! * S_t = exp(Δ_t·A\[j\])·S_{t−1} + Δ_t·x_t·B_tᵀ, (width, states)
//! * y_t = S_t·C_t + D\[j\]·x_t.
//!
//! # How
//! Time is cut into chunks of Q steps. With a = Δ·A, X̄ = Δ∘X, e_i = exp(Σ_{k<=i} a_k) and r_j = exp(Σ_{k>j} a_k) over a chunk:
//!
//! * Y = ((C·Bᵀ)∘L)·X̄ + e∘(C·Sᵀ), with L_ij = exp(Σ_{j<k<=i} a_k) for i >= j and 0 above,
//! * S' = e_last·S + X̄ᵀ·(r∘B).
//!
//! C·Bᵀ is computed once for the heads of a task. The matrices lie transposed, L as (j, i) and S as (states, width): every
//! right-hand matrix then has unit column stride, and sums over rows stay in the lanes. A decay inside a block of one vector
//! comes from its own sum of steps, one between blocks is the product of two such exponentials. So an exponential serves several
//! elements of L, and every exponent is a sum of steps, at most 0 for A < 0.
//!
//! The backward pass saves nothing. It runs the states forward again, keeps those before the chunks of a segment of 64 chunks
//! (earlier segments are run twice), and walks the chunks back. The gradient of a_k is the sum over all pairs i >= k > j of the
//! chunk, taken as such: the usual form, row sums less column sums added up from the end, cancels.
//!
//! # Cost
//! Operations for each row and head, with n states and width p: forward Q·p + 4·n·p, and Q·n for the heads of a task together;
//! backward 2·Q·p + 10·n·p (states again, dC, dB, dX, dS), and 3·Q·n together. Halves of Q × Q matrices that are 0 are left out,
//! in strips of 16 rows. (Papers count 2·Q·(n + p) + 4·n·p + 2·n·p/Q forward.) About
//! Q/32 + 20 exponentials in f32 each way.
//!
//! Memory: x and Δ are read and y is written once, B and C are read once for each block of heads. Backward the same with dy and
//! the gradients, and two (rows, groups, states) for each block of heads but the first; a task holds the states of 64 chunks and
//! its heads.
//!
//! # Source
//! Dao & Gu, Transformers are SSMs, 2024 (arXiv 2405.21060), section 6. Different: states before the first and after the last
//! step have gradients; sequences may be packed; no matrix of all chunks is held; sums of steps instead of differences of
//! cumulative sums.

mod backward;
#[cfg(test)]
pub(in crate::kernels) mod case;
mod chunk;
mod decay;
mod forward;
mod lines;
pub mod reference;
mod step;
#[cfg(test)]
mod tests;

use super::Sequences;
use super::columns::Block;
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;
use rayon::prelude::*;
use std::ops::Range;

/// Chunks whose states the backward pass holds at a time.
pub(crate) const SEGMENT: usize = 64;
/// Height of the strips in which products with half a matrix are done. A multiple of all vector lengths.
pub(crate) const ROWS: usize = 16;
/// Tasks that work is cut into, about, while each has [`HEADS`] heads.
const TASKS: usize = 16;
/// Heads of a task: the fewest that are worth the product C·Bᵀ they share, the most whose states stay in the second-level cache.
const HEADS: [usize; 2] = [3, 8];
/// Parts that the sequences are cut into at most.
const PARTS: usize = 64;

const OP: &str = "ssd";

/// D, the direct path from x to y.
#[derive(Clone, Copy, Debug)]
pub enum Skip<'a, T> {
    /// One number per head.
    Head(&'a [T]),
    /// (heads, width).
    Channel(&'a [T]),
}

/// Sizes and parameters that do not depend on the step. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Ssd<'a, T> {
    pub sequences: Sequences<'a>,
    pub heads: usize,
    /// Channels of a head, p.
    pub width: usize,
    /// Head j uses B and C of group j / (heads / groups).
    pub groups: usize,
    /// n.
    pub states: usize,
    /// Steps of a chunk, Q; [`Ssd::CHUNK`] is a good choice. Changes results by rounding alone.
    pub chunk: usize,
    /// A, (heads), below 0.
    pub a: &'a [T],
    pub skip: Option<Skip<'a, T>>,
}

/// What changes with the step.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// (rows, heads, width).
    pub x: &'a [T],
    /// Δ, (rows, heads).
    pub dt: &'a [T],
    /// (rows, groups, states).
    pub b: &'a [T],
    /// (rows, groups, states).
    pub c: &'a [T],
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// What belongs to the rows may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub x: Option<&'a mut [S]>,
    pub dt: Option<&'a mut [S]>,
    pub b: Option<&'a mut [S]>,
    pub c: Option<&'a mut [S]>,
    pub a: Option<&'a mut [T]>,
    /// As long as D.
    pub skip: Option<&'a mut [T]>,
    /// Of the states before the first steps.
    pub initial: Option<&'a mut [T]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { x: None, dt: None, b: None, c: None, a: None, skip: None, initial: None }
    }
}

/// How the work is cut: some sequences by some heads of a group. Depends on the sizes alone.
struct Cut {
    sequences: Vec<Range<usize>>,
    /// Rows of those sequences.
    rows: Vec<Range<usize>>,
    /// Blocks of heads, and how many a group has.
    heads: Vec<Range<usize>>,
    blocks: usize,
}

/// Ranges times a factor: columns of heads as columns of their numbers.
fn times(ranges: &[Range<usize>], by: usize) -> Vec<Range<usize>> {
    ranges.iter().map(|r| r.start * by..r.end * by).collect()
}

impl<T: Real> Ssd<'_, T> {
    /// Steps of a chunk that suit most sizes.
    pub const CHUNK: usize = 64;

    /// Numbers of the states of all sequences, (sequences, heads, width, states).
    pub fn state_len(&self) -> usize {
        self.sequences.count() * self.heads * self.width * self.states
    }

    /// Panics when the parameters or the inputs of `rows` rows do not fit.
    pub(super) fn check<S>(&self, rows: usize, x: &Inputs<'_, S>) {
        self.sequences.check(OP);
        let Self { heads: h, width: p, groups: g, states: n, .. } = *self;
        assert!(h > 0 && p > 0 && n > 0, "{OP}: {h} heads of {p} x {n} states");
        assert!(g > 0 && h.is_multiple_of(g), "{OP}: {h} heads do not make {g} groups");
        assert!(self.chunk > 0, "{OP}: chunks of no steps");
        assert_eq!(self.a.len(), h, "{OP}: one A per head");
        assert!(self.skip_len().is_none_or(|(len, each)| len == h * each), "{OP}: D has one number per head or per channel");
        assert_eq!(x.x.len(), rows * h * p, "{OP}: x is {rows} x {h} x {p}");
        assert_eq!(x.dt.len(), rows * h, "{OP}: the step sizes are {rows} x {h}");
        assert!(x.b.len() == rows * g * n && x.c.len() == rows * g * n, "{OP}: B and C are {rows} x {g} x {n}");
    }

    /// Numbers of D, and for each head.
    pub(super) fn skip_len(&self) -> Option<(usize, usize)> {
        self.skip.map(|skip| match skip {
            Skip::Head(d) => (d.len(), 1),
            Skip::Channel(d) => (d.len(), self.width),
        })
    }

    /// D of a channel, 0 without.
    fn skip_at(&self, head: usize, channel: usize) -> T {
        match self.skip {
            None => T::ZERO,
            Some(Skip::Head(d)) => d[head],
            Some(Skip::Channel(d)) => d[head * self.width + channel],
        }
    }

    fn group_of(&self, head: usize) -> usize {
        head / (self.heads / self.groups)
    }

    pub(super) fn check_states(&self, states: Option<&[T]>) {
        let Self { heads: h, width: p, states: n, .. } = *self;
        let count = self.sequences.count();
        assert!(states.is_none_or(|s| s.len() == self.state_len()), "{OP}: states are {count} x {h} x {p} x {n}");
    }

    fn cut(&self) -> Cut {
        let (per_group, count) = (self.heads / self.groups, self.sequences.count());
        let most = (count * self.heads / TASKS).clamp(HEADS[0], HEADS[1]);
        let blocks = per_group.div_ceil(most);
        let block = |g: usize, k: usize| g * per_group + per_group * k / blocks..g * per_group + per_group * (k + 1) / blocks;
        let heads = (0..self.groups).flat_map(|g| (0..blocks).map(move |k| block(g, k))).collect();
        let parts = count.min(PARTS);
        let sequences: Vec<Range<usize>> = (0..parts).map(|p| count * p / parts..count * (p + 1) / parts).collect();
        let rows = sequences.iter().map(|s| self.sequences.range(s.start).start..self.sequences.range(s.end - 1).end).collect();
        Cut { sequences, rows, heads, blocks }
    }

    /// Writes y, as long as x, and if wanted the states after the last steps. `initial`: the states before the first steps, zeros
    /// without. States are (sequences, heads, width, states). Panics when sizes do not fit.
    pub fn forward(&self, x: &Inputs<'_, T>, initial: Option<&[T]>, y: &mut [T], last: Option<&mut [T]>) {
        assert_eq!(y.len(), x.x.len(), "{OP}: the result is as long as x");
        self.pass(x, initial, Some(y), last);
    }

    /// [`forward`](Self::forward), or the last states alone.
    pub(super) fn pass(&self, x: &Inputs<'_, T>, initial: Option<&[T]>, y: Option<&mut [T]>, last: Option<&mut [T]>) {
        self.check(self.sequences.rows(), x);
        self.check_states(initial);
        self.check_states(last.as_deref());
        let cut = self.cut();
        let state = self.width * self.states;
        let mut y = Block::cut_some(y, self.heads * self.width, &cut.rows, &times(&cut.heads, self.width)).into_iter();
        let mut last = Block::cut_some(last, self.heads * state, &cut.sequences, &times(&cut.heads, state)).into_iter();
        let mut tasks = Vec::new();
        for sequences in &cut.sequences {
            for heads in &cut.heads {
                let (Some(y), Some(last)) = (y.next(), last.next()) else { continue };
                let (sequences, heads) = (sequences.clone(), heads.clone());
                tasks.push(forward::Task { ssd: self, x, initial, sequences, heads, y, last });
            }
        }
        run_all(tasks, forward::Task::run);
    }

    /// From what [`forward`](Self::forward) was given and the gradients of y and (zeros without) of the last states: the
    /// gradients that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, x: &Inputs<'_, T>, initial: Option<&[T]>, dy: &[T], dlast: Option<&[T]>, gradients: Gradients<'_, T>) {
        self.check(self.sequences.rows(), x);
        assert_eq!(dy.len(), x.x.len(), "{OP}: the gradient of y is as long as x");
        for states in [initial, dlast, gradients.initial.as_deref()] {
            self.check_states(states);
        }
        self.check_gradients(x, &gradients);
        let Gradients { x: dx, dt: ddt, b: mut db, c: mut dc, a: mut da, skip: mut dskip, initial: dinitial } = gradients;
        let wanted = backward::Wanted {
            x: dx.is_some(),
            steps: ddt.is_some() || da.is_some(),
            b: db.is_some(),
            c: dc.is_some(),
            skip: dskip.is_some(),
        };
        let cut = self.cut();
        let parts: Vec<Range<usize>> = (0..cut.sequences.len()).map(|i| i..i + 1).collect();
        let (h, p, state) = (self.heads, self.width, self.width * self.states);
        let each = self.skip_len().map_or(0, |(_, each)| each);
        let partial = |wanted: bool, len: usize| vec![T::ZERO; if wanted { len } else { 0 }];
        let mut da_parts = partial(da.is_some(), parts.len() * h);
        let mut dskip_parts = partial(dskip.is_some(), parts.len() * h * each);
        // The first block of heads of a group writes to its place, the others beside.
        let shared = x.b.len() * (cut.blocks - 1);
        let shared = [db.is_some(), dc.is_some()].map(|wanted| if wanted { shared } else { 0 });
        with_scratch(shared[0] + shared[1], |buffer| {
            let (db_parts, dc_parts) = buffer.split_at_mut(shared[0]);
            {
                let columns = times(&cut.heads, p);
                let mut dx = Block::cut_some(dx, h * p, &cut.rows, &columns).into_iter();
                let mut ddt = Block::cut_some(ddt, h, &cut.rows, &cut.heads).into_iter();
                let mut da = Block::cut_some(da.is_some().then_some(&mut da_parts[..]), h, &parts, &cut.heads).into_iter();
                let skips = dskip.is_some().then_some(&mut dskip_parts[..]);
                let mut dskip = Block::cut_some(skips, h * each.max(1), &parts, &times(&cut.heads, each)).into_iter();
                let mut dinitial = Block::cut_some(dinitial, h * state, &cut.sequences, &times(&cut.heads, state)).into_iter();
                let mut db = self.cut_shared(&cut, db.as_deref_mut(), db_parts).into_iter();
                let mut dc = self.cut_shared(&cut, dc.as_deref_mut(), dc_parts).into_iter();
                let mut tasks = Vec::new();
                for (part, sequences) in cut.sequences.iter().enumerate() {
                    for heads in &cut.heads {
                        let (sequences, heads) = (sequences.clone(), heads.clone());
                        let out = backward::Out {
                            part,
                            x: dx.next().flatten(),
                            dt: ddt.next().flatten(),
                            b: db.next().flatten(),
                            c: dc.next().flatten(),
                            a: da.next().flatten(),
                            skip: dskip.next().flatten(),
                            initial: dinitial.next().flatten(),
                        };
                        tasks.push(backward::Task { ssd: self, x, initial, dy, dlast, wanted, sequences, heads, out });
                    }
                }
                run_all(tasks, backward::Task::run);
            }
            for (sum, parts) in [(&mut db, &*db_parts), (&mut dc, &*dc_parts)] {
                if let Some(sum) = sum {
                    add_in_order(sum, parts);
                }
            }
        });
        for (sum, parts) in [(&mut da, &da_parts), (&mut dskip, &dskip_parts)] {
            if let Some(sum) = sum {
                sum.fill(T::ZERO);
                parts.chunks_exact(sum.len()).for_each(|part| add(sum, part));
            }
        }
    }

    pub(super) fn check_gradients<S>(&self, x: &Inputs<'_, S>, to: &Gradients<'_, T, S>) {
        let skip = self.skip_len().map_or(0, |(len, _)| len);
        let len = |v: &Option<&mut [S]>| v.as_ref().map(|v| v.len());
        let len_of = |v: &Option<&mut [T]>| v.as_ref().map(|v| v.len());
        for (name, found, len) in [
            ("x", len(&to.x), x.x.len()),
            ("the step sizes", len(&to.dt), x.dt.len()),
            ("B", len(&to.b), x.b.len()),
            ("C", len(&to.c), x.c.len()),
            ("A", len_of(&to.a), self.a.len()),
            ("D", len_of(&to.skip), skip),
        ] {
            assert!(found.is_none_or(|found| found == len), "{OP}: the gradient of {name} has {len} numbers");
        }
        assert!(to.skip.is_none() || self.skip.is_some(), "{OP}: the gradient of D without D");
    }

    /// Where each task puts its gradient of B or C, (rows, groups, states): in the order of the tasks.
    fn cut_shared<'b>(&self, cut: &Cut, sum: Option<&'b mut [T]>, parts: &'b mut [T]) -> Vec<Option<Block<'b, T>>> {
        let line = self.groups * self.states;
        let groups: Vec<Range<usize>> = (0..self.groups).map(|g| g * self.states..(g + 1) * self.states).collect();
        let Some(sum) = sum else { return Vec::new() };
        let len = sum.len();
        let mut places = vec![Block::cut(sum, line, &cut.rows, &groups).into_iter()];
        let mut rest = parts;
        for _ in 1..cut.blocks {
            let (head, tail) = rest.split_at_mut(len);
            places.push(Block::cut(head, line, &cut.rows, &groups).into_iter());
            rest = tail;
        }
        let tasks = cut.sequences.len() * cut.heads.len();
        (0..tasks).map(|i| places[i % cut.blocks].next()).collect()
    }
}

/// Runs every task by itself: there are few, each takes long, and a thread that is done should find one to take.
fn run_all<I: Send>(tasks: Vec<I>, work: impl Fn(I) + Sync + Send) {
    if tasks.len() <= 1 {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(work);
    }
}

/// Adds all of `parts`, each as long as `sum`, in their order.
fn add_in_order<T: Real>(sum: &mut [T], parts: &[T]) {
    const PART: usize = 1 << 13;
    let len = sum.len();
    if parts.is_empty() {
        return;
    }
    sum.par_chunks_mut(PART).enumerate().for_each(|(i, to)| {
        parts.chunks_exact(len).for_each(|part| add(to, &part[i * PART..][..to.len()]));
    });
}
