//! The selective scan of Mamba (S6): a diagonal recurrence whose step and couplings depend on the input.
//!
//! For channel c of group g and state n, with Δ = softplus(δ + bias):
//!
//! * h_t\[c,n\] = exp(Δ_t\[c\]·A\[c,n\])·h_{t−1}\[c,n\] + Δ_t\[c\]·B_t\[g,n\]·u_t\[c\]
//! * y_t\[c\] = Σ_n C_t\[g,n\]·h_t\[c,n\] + D\[c\]·u_t\[c\], out = y·silu(z).
//!
//! # How
//! Sixteen f32 channels at a time lie in the lanes of a vector, so that nothing is summed across lanes forward and one exponential serves
//! sixteen channels. Time is cut into tiles that stay in the first-level cache; states at the starts of tiles are kept for the
//! backward pass, which replays a tile and walks it back, one or two states at a time. See `diagonal` for what happens in a tile.
//!
//! # Cost
//! rows · channels · states exponentials forward and as many backward; of 14 operations forward and some 30 backward for a state and a step
//! they are 10. Memory: one read of u, δ, z and one write of out, plus rows / 64 · channels · states for the starts.
//!
//! # Source
//! Gu & Dao, Mamba, 2023 (arXiv 2312.00752). As in all published code, B is discretised by Euler's rule (ΔB), not by zero-order hold.
//! Different: the states before the first step and after the last are inputs and outputs with gradients; sequences may be packed.

mod backward;
#[cfg(test)]
pub(in crate::kernels) mod case;
mod forward;
pub mod reference;
#[cfg(test)]
mod tests;

use super::Sequences;
use super::columns::Block;
use super::diagonal::forward::Constants;
use crate::kernels::rows::{add_parts, for_each};
use crate::kernels::simd::Real;
use std::ops::Range;

/// Steps of a tile. Kernels of devices keep the same states.
pub(crate) const TILE: usize = super::diagonal::TILE;
/// Tasks that work is cut into, about: enough for a few dozen threads.
const TASKS: usize = 32;
/// Channels of a task at most, a multiple of all vector widths.
const CHANNELS: usize = 128;

const OP: &str = "selective scan";

/// The parameters that do not depend on the step. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct SelectiveScan<'a, T> {
    pub sequences: Sequences<'a>,
    pub channels: usize,
    pub states: usize,
    /// Channel c uses B and C of group c / (channels / groups).
    pub groups: usize,
    /// (channels, states), below 0 for a stable recurrence.
    pub a: &'a [T],
    /// D, (channels).
    pub skip: Option<&'a [T]>,
    /// Added to δ, (channels).
    pub delta_bias: Option<&'a [T]>,
    /// Whether Δ is softplus of that sum, or the sum itself.
    pub softplus: bool,
}

/// What changes with the step: u, δ and z are (rows, channels), B and C (rows, groups, states).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    pub u: &'a [T],
    pub delta: &'a [T],
    pub b: &'a [T],
    pub c: &'a [T],
    pub z: Option<&'a [T]>,
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// What belongs to the rows may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub u: Option<&'a mut [S]>,
    pub delta: Option<&'a mut [S]>,
    pub b: Option<&'a mut [S]>,
    pub c: Option<&'a mut [S]>,
    pub z: Option<&'a mut [S]>,
    pub a: Option<&'a mut [T]>,
    pub skip: Option<&'a mut [T]>,
    pub delta_bias: Option<&'a mut [T]>,
    /// Of the states before the first steps.
    pub initial: Option<&'a mut [T]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { u: None, delta: None, b: None, c: None, z: None, a: None, skip: None, delta_bias: None, initial: None }
    }
}

/// How the work is cut: some sequences by some channels. Depends on the sizes alone.
struct Cut {
    sequences: Vec<Range<usize>>,
    /// Rows of those sequences.
    rows: Vec<Range<usize>>,
    channels: Vec<Range<usize>>,
}

impl<T: Real> SelectiveScan<'_, T> {
    pub(super) fn check<S>(&self, x: &Inputs<'_, S>) {
        self.sequences.check(OP);
        let (rows, d, n, g) = (self.sequences.rows(), self.channels, self.states, self.groups);
        assert!(d > 0 && n > 0, "{OP}: {d} channels of {n} states");
        assert!(g > 0 && d.is_multiple_of(g), "{OP}: {d} channels do not make {g} groups");
        assert_eq!(self.a.len(), d * n, "{OP}: A is {d} x {n}");
        for (name, len) in [("D", self.skip.map(<[T]>::len)), ("the bias of delta", self.delta_bias.map(<[T]>::len))] {
            assert!(len.is_none_or(|len| len == d), "{OP}: {name} has one number per channel");
        }
        assert!(x.u.len() == rows * d && x.delta.len() == rows * d, "{OP}: u and delta are {rows} x {d}");
        assert!(x.z.is_none_or(|z| z.len() == rows * d), "{OP}: z is {rows} x {d}");
        assert!(x.b.len() == rows * g * n && x.c.len() == rows * g * n, "{OP}: B and C are {rows} x {g} x {n}");
    }

    /// Panics when what comes back does not fit.
    pub(super) fn check_gradients<S>(
        &self,
        x: &Inputs<'_, S>,
        starts: &[T],
        dout: usize,
        dlast: Option<&[T]>,
        to: &Gradients<'_, T, S>,
    ) {
        let (d, n) = (self.channels, self.states);
        assert_eq!(dout, x.u.len(), "{OP}: the gradient is as long as u");
        assert_eq!(starts.len(), self.starts_len(), "{OP}: states at the starts of tiles");
        assert!(dlast.is_none_or(|h| h.len() == self.state_len()), "{OP}: states are {} x {d} x {n}", self.sequences.count());
        let len = |v: &Option<&mut [S]>| v.as_ref().map(|v| v.len());
        let len_of = |v: &Option<&mut [T]>| v.as_ref().map(|v| v.len());
        for (name, found, len) in [
            ("u", len(&to.u), x.u.len()),
            ("delta", len(&to.delta), x.delta.len()),
            ("B", len(&to.b), x.b.len()),
            ("C", len(&to.c), x.c.len()),
            ("z", len(&to.z), x.z.map_or(0, <[S]>::len)),
            ("A", len_of(&to.a), d * n),
            ("D", len_of(&to.skip), self.skip.map_or(0, <[T]>::len)),
            ("the bias of delta", len_of(&to.delta_bias), self.delta_bias.map_or(0, <[T]>::len)),
            ("the first states", len_of(&to.initial), self.state_len()),
        ] {
            assert!(found.is_none_or(|found| found == len), "{OP}: the gradient of {name} has {len} numbers");
        }
    }

    /// Numbers of the states of all sequences, (sequences, channels, states).
    pub fn state_len(&self) -> usize {
        self.sequences.count() * self.channels * self.states
    }

    /// Numbers that [`forward`](Self::forward) keeps for [`backward`](Self::backward).
    pub fn starts_len(&self) -> usize {
        self.first_tile(self.sequences.count()) * self.channels * self.states
    }

    /// Tiles before sequence `i`.
    pub(super) fn first_tile(&self, i: usize) -> usize {
        match self.sequences {
            Sequences::Equal { len, .. } => i * len.div_ceil(TILE),
            Sequences::Packed(_) => (0..i).map(|k| self.sequences.range(k).len().div_ceil(TILE)).sum(),
        }
    }

    /// What does not depend on the step.
    fn constants(&self) -> Constants<'_, T> {
        Constants { a: self.a, skip: self.skip, delta_bias: self.delta_bias }
    }

    /// Where B and C of the steps from row `first` on lie, those of channels of a group.
    #[inline(always)]
    fn places(&self, first: usize, group: usize) -> [usize; TILE] {
        let (mut places, stride) = ([0; TILE], self.groups * self.states);
        for (t, place) in places.iter_mut().enumerate() {
            *place = (first + t) * stride + group * self.states;
        }
        places
    }

    /// In about so many tasks.
    fn cut(&self, tasks: usize) -> Cut {
        let per_group = self.channels / self.groups.max(1);
        let vectors = per_group.div_ceil(T::LANES);
        let count = self.sequences.count();
        let all = vectors * self.groups * count;
        let block = (all / tasks).clamp(1, CHANNELS / T::LANES) * T::LANES;
        let mut channels = Vec::new();
        for g in 0..self.groups {
            let mut at = 0;
            while at < per_group {
                let end = (at + block).min(per_group);
                channels.push(g * per_group + at..g * per_group + end);
                at = end;
            }
        }
        let parts = (tasks / channels.len().max(1)).clamp(1, count.max(1));
        let sequences: Vec<Range<usize>> =
            (0..parts).map(|p| count * p / parts..count * (p + 1) / parts).filter(|r| !r.is_empty()).collect();
        let rows = sequences.iter().map(|s| self.sequences.range(s.start).start..self.sequences.range(s.end - 1).end).collect();
        Cut { sequences, rows, channels }
    }

    /// Writes `out` (rows, channels), and if wanted the states after the last steps and the states at the starts of tiles
    /// ([`starts_len`](Self::starts_len)). `initial`: the states before the first steps, zeros without. States are (sequences, channels,
    /// states). Panics when sizes do not fit.
    pub fn forward(
        &self,
        x: &Inputs<'_, T>,
        initial: Option<&[T]>,
        out: &mut [T],
        last: Option<&mut [T]>,
        starts: Option<&mut [T]>,
    ) {
        self.forward_in(TASKS, x, initial, out, last, starts);
    }

    /// [`forward`](Self::forward) in about so many tasks.
    pub(super) fn forward_in(
        &self,
        tasks: usize,
        x: &Inputs<'_, T>,
        initial: Option<&[T]>,
        out: &mut [T],
        last: Option<&mut [T]>,
        starts: Option<&mut [T]>,
    ) {
        self.check(x);
        let (d, n) = (self.channels, self.states);
        assert_eq!(out.len(), x.u.len(), "{OP}: the result is as long as u");
        assert!(initial.is_none_or(|h| h.len() == self.state_len()), "{OP}: states are {} x {d} x {n}", self.sequences.count());
        assert!(
            last.as_ref().is_none_or(|h| h.len() == self.state_len()),
            "{OP}: states are {} x {d} x {n}",
            self.sequences.count()
        );
        assert!(starts.as_ref().is_none_or(|s| s.len() == self.starts_len()), "{OP}: states at the starts of tiles");
        let cut = self.cut(tasks);
        let state_columns: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start * n..c.end * n).collect();
        let tiles: Vec<Range<usize>> = cut.sequences.iter().map(|s| self.first_tile(s.start)..self.first_tile(s.end)).collect();
        let mut out = Block::cut(out, d, &cut.rows, &cut.channels).into_iter();
        let mut last = Block::cut_some(last, d * n, &cut.sequences, &state_columns).into_iter();
        let mut starts = Block::cut_some(starts, d * n, &tiles, &state_columns).into_iter();
        let mut tasks = Vec::new();
        for sequences in &cut.sequences {
            for channels in &cut.channels {
                let (Some(out), Some(last), Some(starts)) = (out.next(), last.next(), starts.next()) else { continue };
                let (sequences, channels) = (sequences.clone(), channels.clone());
                tasks.push(forward::Task { scan: self, x, initial, sequences, channels, out, last, starts });
            }
        }
        for_each(tasks, forward::Task::run);
    }

    /// From what [`forward`](Self::forward) was given, the `starts` it kept, and the gradients of `out` and (zeros without) of the last
    /// states: the gradients that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, x: &Inputs<'_, T>, starts: &[T], dout: &[T], dlast: Option<&[T]>, gradients: Gradients<'_, T>) {
        self.backward_in(TASKS, x, starts, dout, dlast, gradients);
    }

    /// [`backward`](Self::backward) in about so many tasks.
    pub(super) fn backward_in(
        &self,
        tasks: usize,
        x: &Inputs<'_, T>,
        starts: &[T],
        dout: &[T],
        dlast: Option<&[T]>,
        mut gradients: Gradients<'_, T>,
    ) {
        self.check(x);
        self.check_gradients(x, starts, dout.len(), dlast, &gradients);
        let (d, n, g) = (self.channels, self.states, self.groups);
        let rows = self.sequences.rows();
        let cut = self.cut(tasks);
        // Sums over sequences of what belongs to a channel, per part of the sequences: A, D, bias.
        let per_channel = n + 2;
        let mut sums = vec![T::ZERO; cut.sequences.len().max(1) * d * per_channel];
        let sum_rows: Vec<Range<usize>> = (0..cut.sequences.len()).map(|i| i..i + 1).collect();
        let sum_columns: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start * per_channel..c.end * per_channel).collect();
        // Sums over channels of what belongs to a step, per block of channels: B and C, (blocks of a group, rows, states) twice.
        let of_group = cut.channels.len() / g;
        let wanted = gradients.b.is_some() || gradients.c.is_some();
        let mut couplings: Vec<T> = if wanted { vec![T::ZERO; cut.channels.len() * rows * 2 * n] } else { Vec::new() };
        let state_columns: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start * n..c.end * n).collect();
        let mut du = Block::cut_some(gradients.u.as_deref_mut(), d, &cut.rows, &cut.channels).into_iter();
        let mut ddelta = Block::cut_some(gradients.delta.as_deref_mut(), d, &cut.rows, &cut.channels).into_iter();
        let mut dz = Block::cut_some(gradients.z.as_deref_mut(), d, &cut.rows, &cut.channels).into_iter();
        let mut initial = Block::cut_some(gradients.initial.as_deref_mut(), d * n, &cut.sequences, &state_columns).into_iter();
        let mut sum_blocks = Block::cut(&mut sums, d * per_channel, &sum_rows, &sum_columns).into_iter();
        // A row of `couplings` is a row of the data within a block of channels; columns are the blocks one after the other.
        let mut coupling_parts: Vec<&mut [T]> = Vec::new();
        if wanted {
            let mut rest = &mut couplings[..];
            for part in &cut.rows {
                for _ in &cut.channels {
                    let (head, tail) = rest.split_at_mut(part.len() * 2 * n);
                    coupling_parts.push(head);
                    rest = tail;
                }
            }
        }
        let mut coupling_parts = coupling_parts.into_iter();
        let mut tasks = Vec::new();
        for (part, sequences) in cut.sequences.iter().enumerate() {
            for channels in &cut.channels {
                let (Some(du), Some(ddelta), Some(dz), Some(initial)) = (du.next(), ddelta.next(), dz.next(), initial.next())
                else {
                    continue;
                };
                let Some(sums) = sum_blocks.next() else { continue };
                tasks.push(backward::Task {
                    scan: self,
                    x,
                    starts,
                    dout,
                    dlast,
                    part,
                    sequences: sequences.clone(),
                    channels: channels.clone(),
                    du,
                    ddelta,
                    dz,
                    initial,
                    sums,
                    couplings: coupling_parts.next().unwrap_or_default(),
                });
            }
        }
        for_each(tasks, backward::Task::run);
        // Without a sequence the one part is zeros.
        add_parts(&mut sums, d * per_channel);
        for (c, sums) in sums.chunks_exact(per_channel).take(d).enumerate() {
            if let Some(da) = &mut gradients.a {
                da[c * n..(c + 1) * n].copy_from_slice(&sums[..n]);
            }
            if let Some(skip) = &mut gradients.skip {
                skip[c] = sums[n];
            }
            if let Some(bias) = &mut gradients.delta_bias {
                bias[c] = sums[n + 1];
            }
        }
        if wanted {
            self.add_couplings(&cut, &couplings, of_group, [gradients.b, gradients.c]);
        }
    }

    /// Adds the blocks of a group in order. `couplings`: (parts of the sequences, blocks of channels, rows of the part, B then C of all
    /// states).
    fn add_couplings(&self, cut: &Cut, couplings: &[T], of_group: usize, mut to: [Option<&mut [T]>; 2]) {
        let (n, g) = (self.states, self.groups);
        let mut from = couplings;
        for part in &cut.rows {
            let len = part.len() * 2 * n;
            for (k, block) in from[..len * cut.channels.len()].chunks_exact(len.max(1)).enumerate() {
                let (group, first) = (k / of_group, k.is_multiple_of(of_group));
                for (row, sums) in part.clone().zip(block.chunks_exact((2 * n).max(1))) {
                    for (to, sums) in to.iter_mut().zip(sums.chunks_exact(n.max(1))) {
                        let Some(to) = to else { continue };
                        let to = &mut to[(row * g + group) * n..][..n];
                        if first {
                            to.copy_from_slice(sums);
                        } else {
                            to.iter_mut().zip(sums).for_each(|(a, &b)| *a += b);
                        }
                    }
                }
            }
            from = &from[len * cut.channels.len()..];
        }
    }

    /// One step: `x` holds one row per sequence, `states` is taken on. The scan's own sequences are not used.
    pub fn step(&self, x: &Inputs<'_, T>, states: &mut [T], out: &mut [T]) {
        let count = x.u.len().checked_div(self.channels).unwrap_or(0);
        let one = Self { sequences: Sequences::Equal { count, len: 1 }, ..*self };
        let before = states.to_vec();
        one.forward(x, Some(&before), out, Some(states), None);
    }
}
