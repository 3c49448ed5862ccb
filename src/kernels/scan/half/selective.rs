//! The selective scan: blocks of channels, which share B and C with others.

use super::blocks::{Chain, chains, groups, rows_of, sequences_of};
use super::walk::{Back, Backward, Forward, From, Layout, Place, Scan, Stream, To, View};
use crate::kernels::bf16::to_bf16;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::for_each;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::selective::{Gradients, Inputs, SelectiveScan, TILE};
use crate::kernels::simd::{Kernel, Lanes, dispatch};
use crate::kernels::sums::add;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a block: whole tiles.
pub(super) const ROWS: usize = 2 * TILE;
/// Channels of a block at most.
const CHANNELS: usize = 128;
/// Channels that are done together.
const VECTOR: usize = 16;
/// Tasks that work is cut into, about.
const TASKS: usize = 32;
/// Numbers of B or C that one thread puts together at a time.
const PIECE: usize = 1 << 13;

const OP: &str = "selective scan";

/// A scan of some channels of one group.
struct Channels<'a> {
    scan: SelectiveScan<'a, f32>,
    gated: bool,
}

impl<'a> Channels<'a> {
    fn new(scan: &SelectiveScan<'a, f32>, channels: &Range<usize>, gated: bool) -> Self {
        let of = |x: &'a [f32]| &x[channels.clone()];
        let a = &scan.a[channels.start * scan.states..channels.end * scan.states];
        let (skip, delta_bias) = (scan.skip.map(of), scan.delta_bias.map(of));
        Self { scan: SelectiveScan { channels: channels.len(), groups: 1, a, skip, delta_bias, ..*scan }, gated }
    }

    fn inputs<'b>(&self, [u, delta, b, c, z]: [&'b [f32]; 5]) -> Inputs<'b, f32> {
        Inputs { u, delta, b, c, z: self.gated.then_some(z) }
    }
}

impl Scan<5, 1> for Channels<'_> {
    /// A, D, bias.
    fn parameters(&self) -> usize {
        self.scan.channels * (self.scan.states + 2)
    }

    fn kept(&self, sequences: &Sequences<'_>) -> Option<usize> {
        Some(SelectiveScan { sequences: *sequences, ..self.scan }.starts_len())
    }

    fn forward(&self, sequences: Sequences<'_>, x: [&[f32]; 5], [first]: [&[f32]; 1], To { out, last: [last], kept }: To<'_, 1>) {
        let Some(out) = out else { return };
        let scan = SelectiveScan { sequences, ..self.scan };
        scan.forward_in(1, &self.inputs(x), Some(first), out, Some(last), kept);
    }

    fn backward(&self, sequences: Sequences<'_>, x: [&[f32]; 5], from: From<'_, 1>, to: Back<'_, 5, 1>) {
        let scan = SelectiveScan { sequences, ..self.scan };
        let [u, delta, b, c, z] = to.x;
        let [first] = to.first;
        let (a, rest) = to.parameters.split_at_mut(scan.channels * scan.states);
        let (skip, delta_bias) = rest.split_at_mut(scan.channels);
        // Those of what is not there are not written.
        skip.fill(0.0);
        delta_bias.fill(0.0);
        let gradients = Gradients {
            u: Some(u),
            delta: Some(delta),
            b: Some(b),
            c: Some(c),
            z: self.gated.then_some(z),
            a: Some(a),
            skip: scan.skip.is_some().then_some(skip),
            delta_bias: scan.delta_bias.is_some().then_some(delta_bias),
            initial: Some(first),
        };
        scan.backward_in(1, &self.inputs(x), from.kept, from.dout, Some(from.dlast[0]), gradients);
    }
}

/// Sums of B or C over the blocks of each group, rounded when complete.
struct Merge<'a> {
    /// (rows, groups, blocks of a group, states).
    from: &'a [f32],
    blocks: usize,
    states: usize,
    sum: &'a mut [f32],
    /// (rows, groups, states).
    to: &'a mut [u16],
}

impl Kernel<f32> for Merge<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { from, blocks, states: n, sum, to } = self;
        for (parts, to) in from.chunks_exact(blocks * n).zip(to.chunks_exact_mut(n)) {
            sum.copy_from_slice(&parts[..n]);
            for part in parts[n..].chunks_exact(n) {
                for (sum, &x) in sum.iter_mut().zip(part) {
                    *sum += x;
                }
            }
            for (to, &x) in to.iter_mut().zip(&*sum) {
                *to = to_bf16(x);
            }
        }
    }
}

impl SelectiveScan<'_, f32> {
    /// Blocks of channels in order, as many in each group. Depends on the sizes alone.
    fn blocks_bf16(&self, groups: usize) -> Vec<Range<usize>> {
        let per_group = self.channels / self.groups;
        let vectors = per_group.div_ceil(VECTOR);
        let block = (vectors * self.groups * groups / TASKS).clamp(1, CHANNELS / VECTOR) * VECTOR;
        let of_group = |g: usize| {
            let end = (g + 1) * per_group;
            (g * per_group..end).step_by(block).map(move |at| at..end.min(at + block))
        };
        (0..self.groups).flat_map(of_group).collect()
    }

    fn view<'b>(
        &'b self,
        chains: &'b [Chain],
        channels: &Range<usize>,
        x: &Inputs<'b, u16>,
        initial: Option<&'b [f32]>,
    ) -> View<'b, 5, 1> {
        let Self { channels: d, states: n, groups, .. } = *self;
        let group = channels.start / (d / groups);
        let wide = |data| Stream::new(data, d, channels.clone());
        let shared = |data| Stream::new(data, groups * n, group * n..(group + 1) * n);
        let z = x.z.map_or(Stream::new(&[], 0, 0..0), wide);
        let layout = Layout { stride: d * n, columns: channels.start * n..channels.end * n };
        View {
            sequences: self.sequences,
            chains,
            streams: [wide(x.u), wide(x.delta), shared(x.b), shared(x.c), z],
            states: [layout.clone()],
            first: initial.map(|h| [h]),
            kept: (layout, self.first_tile(sequences_of(chains).start)),
        }
    }

    /// [`forward`](Self::forward) with u, δ, B, C, z and the result as bits of bf16. States, also those at the starts of tiles,
    /// are f32. Panics when sizes do not fit.
    pub fn forward_bf16(
        &self,
        x: &Inputs<'_, u16>,
        initial: Option<&[f32]>,
        out: &mut [u16],
        last: Option<&mut [f32]>,
        starts: Option<&mut [f32]>,
    ) {
        self.check(x);
        let (d, n) = (self.channels, self.states);
        assert_eq!(out.len(), x.u.len(), "{OP}: the result is as long as u");
        let fits = |h: Option<&[f32]>| h.is_none_or(|h| h.len() == self.state_len());
        assert!(fits(initial) && fits(last.as_deref()), "{OP}: states are {} x {d} x {n}", self.sequences.count());
        assert!(starts.as_ref().is_none_or(|s| s.len() == self.starts_len()), "{OP}: states at the starts of tiles");
        let chains = chains(&self.sequences, ROWS);
        let groups = groups(&chains);
        let blocks = self.blocks_bf16(groups.len());
        let columns: Vec<Range<usize>> = blocks.iter().map(|c| c.start * n..c.end * n).collect();
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let sequences: Vec<Range<usize>> = groups.iter().map(|g| sequences_of(g)).collect();
        let tiles: Vec<Range<usize>> = sequences.iter().map(|s| self.first_tile(s.start)..self.first_tile(s.end)).collect();
        let mut out = Block::cut(out, d, &rows, &blocks).into_iter();
        let mut last = Block::cut_some(last, d * n, &sequences, &columns).into_iter();
        let mut starts = Block::cut_some(starts, d * n, &tiles, &columns).into_iter();
        let mut tasks = Vec::new();
        for group in &groups {
            for channels in &blocks {
                let (Some(out), Some(last), Some(kept)) = (out.next(), last.next(), starts.next()) else { continue };
                let scan = Channels::new(self, channels, x.z.is_some());
                let (out, view) = (Place::Half(out, channels.clone()), self.view(group, channels, x, initial));
                tasks.push(Forward { scan, view, out, width: channels.len(), last: [last], kept });
            }
        }
        for_each(tasks, Forward::run);
    }

    /// [`backward`](Self::backward) with the arrays over the rows and their gradients as bits of bf16, `starts` from
    /// [`forward_bf16`](Self::forward_bf16). Gradients of B and C are summed over the channels in f32. Panics when sizes do not
    /// fit.
    pub fn backward_bf16(
        &self,
        x: &Inputs<'_, u16>,
        starts: &[f32],
        dout: &[u16],
        dlast: Option<&[f32]>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.check(x);
        self.check_gradients(x, starts, dout.len(), dlast, &to);
        let (d, n, each) = (self.channels, self.states, self.states + 2);
        let chains = chains(&self.sequences, ROWS);
        let groups = groups(&chains);
        let blocks = self.blocks_bf16(groups.len());
        let columns: Vec<Range<usize>> = blocks.iter().map(|c| c.start * n..c.end * n).collect();
        let parts: Vec<Range<usize>> = (0..blocks.len()).map(|k| k * n..(k + 1) * n).collect();
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let sequences: Vec<Range<usize>> = groups.iter().map(|g| sequences_of(g)).collect();
        let mut sums = vec![0.0; groups.len().max(1) * d * each];
        let partial = self.sequences.rows() * blocks.len() * n;
        let wanted = [to.b.is_some(), to.c.is_some()];
        with_scratch(partial * wanted.iter().filter(|w| **w).count(), |shared: &mut [f32]| {
            let (db, dc) = shared.split_at_mut(if wanted[0] { partial } else { 0 });
            {
                let wide = |data| Block::cut_some(data, d, &rows, &blocks).into_iter();
                let (mut du, mut ddelta, mut dz) = (wide(to.u), wide(to.delta), wide(to.z));
                let part =
                    |data, wanted: bool| Block::cut_some(wanted.then_some(data), blocks.len() * n, &rows, &parts).into_iter();
                let (mut db, mut dc) = (part(&mut *db, wanted[0]), part(&mut *dc, wanted[1]));
                let mut initial = Block::cut_some(to.initial, d * n, &sequences, &columns).into_iter();
                let mut rest = &mut sums[..];
                let mut tasks = Vec::new();
                for group in &groups {
                    for (channels, part) in blocks.iter().zip(&parts) {
                        let scan = Channels::new(self, channels, x.z.is_some());
                        tasks.push(Backward {
                            view: self.view(group, channels, x, None),
                            kept: Some(starts),
                            dout: Stream::new(dout, d, channels.clone()),
                            dlast: dlast.map(|h| [h]),
                            x: [
                                Place::half(du.next().flatten(), channels.clone()),
                                Place::half(ddelta.next().flatten(), channels.clone()),
                                Place::single(db.next().flatten(), part.clone()),
                                Place::single(dc.next().flatten(), part.clone()),
                                Place::half(dz.next().flatten(), channels.clone()),
                            ],
                            first: [initial.next().flatten()],
                            sums: rest.split_off_mut(..scan.parameters()).unwrap_or_default(),
                            scan,
                        });
                    }
                }
                for_each(tasks, Backward::run);
            }
            for (to, from) in [(to.b, &*db), (to.c, &*dc)] {
                if let Some(to) = to {
                    self.merge(blocks.len() / self.groups, from, to);
                }
            }
        });
        let (total, others) = sums.split_at_mut(d * each);
        others.chunks_exact(d * each).for_each(|part| add(total, part));
        let (mut a, mut skip, mut bias) = (to.a, to.skip, to.delta_bias);
        for channels in &blocks {
            let from = &total[channels.start * each..channels.end * each];
            let (of_a, rest) = from.split_at(channels.len() * n);
            let (of_skip, of_bias) = rest.split_at(channels.len());
            if let Some(a) = &mut a {
                a[channels.start * n..channels.end * n].copy_from_slice(of_a);
            }
            if let Some(skip) = &mut skip {
                skip[channels.clone()].copy_from_slice(of_skip);
            }
            if let Some(bias) = &mut bias {
                bias[channels.clone()].copy_from_slice(of_bias);
            }
        }
    }

    /// (rows, groups, blocks of a group, states) to (rows, groups, states).
    fn merge(&self, blocks: usize, from: &[f32], to: &mut [u16]) {
        let n = self.states;
        let lines = (PIECE / n).max(1);
        to.par_chunks_mut(lines * n).zip(from.par_chunks(lines * blocks * n)).for_each(|(to, from)| {
            with_scratch(n, |sum| dispatch(Merge { from, blocks, states: n, sum, to }));
        });
    }
}
