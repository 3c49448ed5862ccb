//! The selective scan over maps (SS2D): one scan for each direction, and the sum of their results.
//!
//! For direction k, whose steps walk the cells of a map in its own order, channel c and state n, with Δ = softplus(δ + bias):
//!
//! * h\[c,n\] ← exp(Δ\[k,c\]·A\[k,c,n\])·h\[c,n\] + Δ\[k,c\]·B\[k,n\]·u\[c\] at each cell in turn, from h = 0
//! * y\[c\] = Σ_k (Σ_n C\[k,n\]·h_k\[c,n\] + D\[k,c\]·u\[c\]) at each cell, added in the order of the directions.
//!
//! # How
//! Everything lies in the order of the cells, also δ, B and C: they are maps of the cell alone, so a layer computes them for all
//! directions by one product, and the scan finds its steps by their cells. No sequence is ever written. Otherwise as the
//! [selective scan](super::selective): channels in lanes, tiles of steps in the first-level cache, states kept at the starts of tiles.
//!
//! # Cost
//! cells · directions · channels · states exponentials forward and as many backward; a read of δ, B and C, and for each direction one of
//! u and one (read and write) of y.
//!
//! # Source
//! Liu et al., VMamba, 2024 (arXiv 2401.10166); one direction: Shaker et al., GroupMamba, 2024 (arXiv 2407.13772), whose published
//! code has wrong input gradients by columns where height and width differ; here they are exact.

mod backward;
mod forward;
pub mod reference;
#[cfg(test)]
mod tests;

use super::columns::Block;
use super::diagonal::forward::Constants;
use super::{Direction, Grid};
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{add_parts, for_each, rows_per_chunk};
use crate::kernels::simd::Real;
use std::ops::Range;

/// Steps of a tile.
const TILE: usize = super::diagonal::TILE;
/// Tasks that work is cut into, about. Fewer than elsewhere, and two vectors each at least: cells may lie far apart in memory, so the
/// more channels of one are taken together the better.
const TASKS: usize = 16;
/// Channels of a task at most, a multiple of all vector widths.
const CHANNELS: usize = 128;

/// Of bf16, where sums over the directions are kept for all cells of a map: they stay in a second-level cache, and the channels of a
/// cell fill a cache line.
const CHANNELS_BF16: usize = 32;
/// States whose shares are added up together.
const AT_ONCE: usize = 16;

const OP: &str = "SS2D";

/// The parameters that do not depend on the cell. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Ss2d<'a, T> {
    pub batch: usize,
    pub grid: Grid,
    /// [`Direction::ALL`], or the one of a GroupMamba quarter.
    pub directions: &'a [Direction],
    pub channels: usize,
    pub states: usize,
    /// (directions, channels, states), below 0 for a stable recurrence: −exp of what checkpoints call `A_logs`.
    pub a: &'a [T],
    /// D, (directions, channels).
    pub skip: Option<&'a [T]>,
    /// Added to δ, (directions, channels).
    pub delta_bias: Option<&'a [T]>,
    /// Whether Δ is softplus of that sum, or the sum itself.
    pub softplus: bool,
}

/// What changes with the cell: u is (batch, cells, channels), δ (batch, cells, directions, channels), B and C (batch, cells, directions,
/// states).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    pub u: &'a [T],
    pub delta: &'a [T],
    pub b: &'a [T],
    pub c: &'a [T],
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// What belongs to the cells may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub u: Option<&'a mut [S]>,
    pub delta: Option<&'a mut [S]>,
    pub b: Option<&'a mut [S]>,
    pub c: Option<&'a mut [S]>,
    pub a: Option<&'a mut [T]>,
    pub skip: Option<&'a mut [T]>,
    pub delta_bias: Option<&'a mut [T]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { u: None, delta: None, b: None, c: None, a: None, skip: None, delta_bias: None }
    }
}

impl<T: Real> Ss2d<'_, T> {
    fn check<S>(&self, x: &Inputs<'_, S>) {
        let (cells, d, n, k) = (self.batch * self.grid.cells(), self.channels, self.states, self.directions.len());
        assert!(d > 0 && n > 0 && k > 0, "{OP}: {d} channels of {n} states in {k} directions");
        assert_eq!(self.a.len(), k * d * n, "{OP}: A is {k} x {d} x {n}");
        for (name, len) in [("D", self.skip.map(<[T]>::len)), ("the bias of delta", self.delta_bias.map(<[T]>::len))] {
            assert!(len.is_none_or(|len| len == k * d), "{OP}: {name} is {k} x {d}");
        }
        assert_eq!(x.u.len(), cells * d, "{OP}: u is {cells} x {d}");
        assert_eq!(x.delta.len(), cells * k * d, "{OP}: delta is {cells} x {k} x {d}");
        assert!(x.b.len() == cells * k * n && x.c.len() == cells * k * n, "{OP}: B and C are {cells} x {k} x {n}");
    }

    /// Tiles of the cells of one map.
    fn tiles(&self) -> usize {
        self.grid.cells().div_ceil(TILE)
    }

    /// Numbers that [`forward`](Self::forward) keeps for [`backward`](Self::backward).
    pub fn starts_len(&self) -> usize {
        self.batch * self.directions.len() * self.tiles() * self.channels * self.states
    }

    /// What does not depend on the cell, in direction `k`.
    fn constants(&self, k: usize) -> Constants<'_, T> {
        let (d, n) = (self.channels, self.states);
        let channels = k * d..(k + 1) * d;
        Constants {
            a: &self.a[channels.start * n..channels.end * n],
            skip: self.skip.map(|v| &v[channels.clone()]),
            delta_bias: self.delta_bias.map(|v| &v[channels.clone()]),
        }
    }

    /// Blocks of at most `most` channels, a multiple of all vector widths. Depends on the sizes alone.
    fn cut(&self, most: usize) -> Vec<Range<usize>> {
        let all = self.channels.div_ceil(T::LANES) * self.batch;
        let block = (all / TASKS).clamp(2, most / T::LANES) * T::LANES;
        (0..self.channels).step_by(block).map(|at| at..(at + block).min(self.channels)).collect()
    }

    /// Sums over the directions for some channels of one map, if there is more than one to add.
    fn sums_len(&self, channels: &Range<usize>) -> usize {
        if self.directions.len() > 1 { self.grid.cells() * channels.len() } else { 0 }
    }

    /// For each element of the batch `each` rows.
    fn rows(&self, each: usize) -> Vec<Range<usize>> {
        (0..self.batch).map(|b| b * each..(b + 1) * each).collect()
    }

    /// Writes y (batch, cells, channels), and if wanted the states at the starts of tiles ([`starts_len`](Self::starts_len)).
    /// Panics when sizes do not fit.
    pub fn forward(&self, x: &Inputs<'_, T>, y: &mut [T], starts: Option<&mut [T]>) {
        self.forward_stored(x, y, starts, CHANNELS);
    }

    /// [`forward`](Self::forward) with what belongs to the cells as it is held in memory, in blocks of at most `most` channels.
    fn forward_stored<S: Stored<T>>(&self, x: &Inputs<'_, S>, y: &mut [S], starts: Option<&mut [T]>, most: usize) {
        self.check(x);
        let (d, n, l) = (self.channels, self.states, self.grid.cells());
        assert_eq!(y.len(), x.u.len(), "{OP}: the result is as long as u");
        assert!(starts.as_ref().is_none_or(|s| s.len() == self.starts_len()), "{OP}: states at the starts of tiles");
        let channels = self.cut(most);
        let states: Vec<Range<usize>> = channels.iter().map(|c| c.start * n..c.end * n).collect();
        let mut ys = Block::cut(y, d, &self.rows(l), &channels).into_iter();
        let mut starts = Block::cut_some(starts, d * n, &self.rows(self.directions.len() * self.tiles()), &states).into_iter();
        let mut tasks = Vec::new();
        for element in 0..self.batch {
            for channels in &channels {
                let (Some(y), Some(starts)) = (ys.next(), starts.next()) else { continue };
                tasks.push(forward::Task { scan: self, x, element, channels: channels.clone(), y, starts });
            }
        }
        for_each(tasks, forward::Task::run);
    }

    /// From what [`forward`](Self::forward) was given, the `starts` it kept, and the gradient of y: the gradients that are wanted. Panics
    /// when sizes do not fit.
    pub fn backward(&self, x: &Inputs<'_, T>, starts: &[T], dy: &[T], to: Gradients<'_, T>) {
        self.backward_stored(x, starts, dy, to);
    }

    /// [`backward`](Self::backward) with what belongs to the cells as it is held in memory.
    fn backward_stored<S: Stored<T>>(&self, x: &Inputs<'_, S>, starts: &[T], dy: &[S], mut to: Gradients<'_, T, S>) {
        self.check(x);
        let (d, n, l, directions) = (self.channels, self.states, self.grid.cells(), self.directions.len());
        assert_eq!(dy.len(), x.u.len(), "{OP}: the gradient is as long as u");
        assert_eq!(starts.len(), self.starts_len(), "{OP}: states at the starts of tiles");
        for (name, gradient, len) in [
            ("A", &to.a, self.a.len()),
            ("D", &to.skip, self.skip.map_or(0, <[T]>::len)),
            ("the bias of delta", &to.delta_bias, self.delta_bias.map_or(0, <[T]>::len)),
        ] {
            assert!(gradient.as_ref().is_none_or(|v| v.len() == len), "{OP}: the gradient of {name} has {len} numbers");
        }
        for (name, gradient, len) in
            [("u", &to.u, x.u.len()), ("delta", &to.delta, x.delta.len()), ("B", &to.b, x.b.len()), ("C", &to.c, x.c.len())]
        {
            assert!(gradient.as_ref().is_none_or(|v| v.len() == len), "{OP}: the gradient of {name} has {len} numbers");
        }
        let channels = self.cut(CHANNELS);
        // What belongs to a channel of a direction, for each element of the batch: A, D, bias.
        let per_channel = n + 2;
        let width = directions * d * per_channel;
        let mut sums = vec![T::ZERO; self.batch.max(1) * width];
        let sum_columns: Vec<Range<usize>> = channels.iter().map(|c| c.start * per_channel..c.end * per_channel).collect();
        // What belongs to a cell of a direction, for each block of channels: B, then C.
        let wanted = to.b.is_some() || to.c.is_some();
        let each = l * directions * 2 * n;
        let mut couplings = vec![T::ZERO; if wanted { self.batch * channels.len() * each } else { 0 }];
        // A row of δ holds all directions, a task some channels of each.
        let lines = self.rows(l * directions);
        let mut du = Block::cut_some(to.u.as_deref_mut(), d, &self.rows(l), &channels).into_iter();
        let mut ddelta = Block::cut_some(to.delta.as_deref_mut(), d, &lines, &channels).into_iter();
        let mut sum_blocks = Block::cut(&mut sums, d * per_channel, &self.rows(directions), &sum_columns).into_iter();
        let mut shares = couplings.chunks_mut(each.max(1));
        let mut tasks = Vec::new();
        for element in 0..self.batch {
            for channels in &channels {
                let (Some(du), Some(ddelta), Some(sums)) = (du.next(), ddelta.next(), sum_blocks.next()) else { continue };
                let (channels, couplings) = (channels.clone(), shares.next().unwrap_or_default());
                tasks.push(backward::Task { scan: self, x, starts, dy, element, channels, du, ddelta, sums, couplings });
            }
        }
        for_each(tasks, backward::Task::run);
        add_parts(&mut sums, width);
        for (c, sums) in sums.chunks_exact(per_channel).take(directions * d).enumerate() {
            if let Some(da) = &mut to.a {
                da[c * n..(c + 1) * n].copy_from_slice(&sums[..n]);
            }
            if let Some(skip) = &mut to.skip {
                skip[c] = sums[n];
            }
            if let Some(bias) = &mut to.delta_bias {
                bias[c] = sums[n + 1];
            }
        }
        for (gradient, half) in [(to.b, 0), (to.c, 1)] {
            if let Some(gradient) = gradient.filter(|g| !g.is_empty()) {
                self.add_couplings(&couplings, channels.len(), half, gradient);
            }
        }
    }

    /// Adds up the blocks of channels in order. `couplings`: (batch, blocks, cells, directions, B then C, states).
    fn add_couplings<S: Stored<T>>(&self, couplings: &[T], blocks: usize, half: usize, to: &mut [S]) {
        let n = self.states;
        let lines = self.grid.cells() * self.directions.len();
        let per_task = rows_per_chunk(n * blocks, 1);
        let mut tasks = Vec::new();
        for (b, to) in to.chunks_mut(lines * n).enumerate() {
            tasks.extend(to.chunks_mut(per_task * n).enumerate().map(|(p, to)| (b, p * per_task, to)));
        }
        for_each(tasks, |(b, first, to): (usize, usize, &mut [S])| {
            for (line, to) in to.chunks_exact_mut(n).enumerate() {
                for (at, to) in to.chunks_mut(AT_ONCE).enumerate() {
                    let mut sums = [T::ZERO; AT_ONCE];
                    for block in 0..blocks {
                        let from = &couplings[(((b * blocks + block) * lines + first + line) * 2 + half) * n..][..n];
                        let sums = sums.iter_mut().zip(&from[at * AT_ONCE..]);
                        if block == 0 {
                            sums.for_each(|(sum, &x)| *sum = x);
                        } else {
                            sums.for_each(|(sum, &x)| *sum += x);
                        }
                    }
                    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = S::nearest(sum));
                }
            }
        });
    }
}

impl Ss2d<'_, f32> {
    /// [`forward`](Self::forward) with u, δ, B, C and y as bits of bf16. States at the starts of tiles are f32, and so are sums over the
    /// directions. Panics when sizes do not fit.
    pub fn forward_bf16(&self, x: &Inputs<'_, u16>, y: &mut [u16], starts: Option<&mut [f32]>) {
        self.forward_stored(x, y, starts, CHANNELS_BF16);
    }

    /// [`backward`](Self::backward) with what belongs to the cells as bits of bf16, `starts` from
    /// [`forward_bf16`](Self::forward_bf16). Sums over directions and channels are f32, and rounded once. Panics when sizes do not fit.
    pub fn backward_bf16(&self, x: &Inputs<'_, u16>, starts: &[f32], dy: &[u16], to: Gradients<'_, f32, u16>) {
        self.backward_stored(x, starts, dy, to);
    }
}
