//! mamba3: blocks of all heads.

use super::blocks::{Chain, chains, groups, rows_of, sequences_of};
use super::walk::{Back, Backward, Forward, From, Layout, Place, Scan, Stream, To, View};
use super::{alone, whole};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::mamba3::{Gradients, Inputs, Mamba3, States, StatesMut};
use crate::kernels::sums::add;
use std::ops::Range;

const OP: &str = "mamba3";

/// A scan, and whether there is a gate.
#[derive(Clone, Copy)]
struct Heads<'a> {
    scan: Mamba3<'a, f32>,
    gated: bool,
}

impl Heads<'_> {
    fn inputs<'b>(&self, [q, k, x, z, log_decay, dt, trap, angles]: [&'b [f32]; 8]) -> Inputs<'b, f32> {
        Inputs { q, k, x, z: self.gated.then_some(z), log_decay, dt, trap, angles }
    }

    /// Numbers of both biases, D, mx, mz, mo and the norm's weight.
    fn sizes(&self) -> [usize; 7] {
        let Mamba3 { q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, .. } = self.scan;
        [Some(q_bias), Some(k_bias), skip, mix_x, mix_z, mix_out, norm.map(|n| n.weight)].map(|p| p.map_or(0, <[f32]>::len))
    }
}

fn states([angle, state, key, value]: [&[f32]; 4]) -> States<'_, f32> {
    States { angle, state, key, value }
}

fn states_mut([angle, state, key, value]: [&mut [f32]; 4]) -> StatesMut<'_, f32> {
    StatesMut { angle, state, key, value }
}

impl Scan<8, 4> for Heads<'_> {
    fn parameters(&self) -> usize {
        self.sizes().iter().sum()
    }

    fn forward(&self, sequences: Sequences<'_>, x: [&[f32]; 8], first: [&[f32]; 4], To { out, last, .. }: To<'_, 4>) {
        let scan = Mamba3 { sequences, ..self.scan };
        scan.scan(&self.inputs(x), Some(states(first)), out, Some(states_mut(last)));
    }

    fn backward(&self, sequences: Sequences<'_>, x: [&[f32]; 8], from: From<'_, 4>, to: Back<'_, 8, 4>) {
        let scan = Mamba3 { sequences, ..self.scan };
        let [q, k, dx, z, log_decay, dt, trap, angles] = to.x;
        let [q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm] = crate::kernels::pieces::split(to.parameters, self.sizes());
        let some = |p: &Option<&[f32]>| p.is_some();
        let gradients = Gradients {
            q: Some(q),
            k: Some(k),
            x: Some(dx),
            z: self.gated.then_some(z),
            log_decay: Some(log_decay),
            dt: Some(dt),
            trap: Some(trap),
            angles: Some(angles),
            q_bias: Some(q_bias),
            k_bias: Some(k_bias),
            skip: some(&scan.skip).then_some(skip),
            mix_x: some(&scan.mix_x).then_some(mix_x),
            mix_z: some(&scan.mix_z).then_some(mix_z),
            mix_out: some(&scan.mix_out).then_some(mix_out),
            norm: scan.norm.is_some().then_some(norm),
            initial: Some(states_mut(to.first)),
        };
        scan.backward(&self.inputs(x), Some(states(from.first)), from.dout, Some(states(from.dlast)), gradients);
    }
}

impl Mamba3<'_, f32> {
    fn widths(&self, gated: bool) -> [usize; 8] {
        let Self { heads: h, width: p, groups, states: n, rank, .. } = *self;
        let row = rank * groups * n;
        [row, row, h * p, if gated { h * p } else { 0 }, h, h, h, self.angle_width()]
    }

    fn layouts(&self) -> [Layout; 4] {
        let Self { heads: h, width: p, states: n, rank, angles: s, .. } = *self;
        [h * s, h * p * n, rank * h * n, h * p].map(Layout::whole)
    }

    fn view<'b>(&'b self, chains: &'b [Chain], x: &Inputs<'b, u16>, initial: Option<States<'b, f32>>) -> View<'b, 8, 4> {
        let streams = [x.q, x.k, x.x, x.z.unwrap_or_default(), x.log_decay, x.dt, x.trap, x.angles];
        View {
            sequences: self.sequences,
            chains,
            streams: whole(streams, self.widths(x.z.is_some())),
            states: self.layouts(),
            first: initial.map(|s| [s.angle, s.state, s.key, s.value]),
            kept: (Layout::whole(0), 0),
        }
    }

    /// The blocks of states that each group of chains writes, in its order.
    fn cut_states<'b>(&self, to: Option<StatesMut<'b, f32>>, groups: &[&[Chain]]) -> Vec<[Option<Block<'b, f32>>; 4]> {
        let sequences: Vec<Range<usize>> = groups.iter().map(|g| sequences_of(g)).collect();
        let Some(to) = to else { return groups.iter().map(|_| [const { None }; 4]).collect() };
        let mut layouts = self.layouts().into_iter();
        let mut blocks = [to.angle, to.state, to.key, to.value].map(|data| {
            let len = layouts.next().map_or(0, |l| l.stride);
            Block::cut_some((len > 0).then_some(data), len, &sequences, &alone(len)).into_iter()
        });
        groups.iter().map(|_| blocks.each_mut().map(|b| b.next().flatten())).collect()
    }

    /// [`forward`](Self::forward) with the inputs and the result as bits of bf16. States are f32. Panics when sizes do not fit.
    pub fn forward_bf16(
        &self,
        x: &Inputs<'_, u16>,
        initial: Option<States<'_, f32>>,
        out: &mut [u16],
        last: Option<StatesMut<'_, f32>>,
    ) {
        self.check(self.sequences.rows(), x, out.len());
        self.check_states(initial);
        self.check_states(last.as_ref().map(StatesMut::as_ref));
        assert!(last.is_none() || self.sequences.count() > 0 || self.state_sizes() == [0; 4], "{OP}: states of no sequences");
        let chains = chains(&self.sequences, super::rows_there(self.chunk));
        let groups = groups(&chains);
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let width = self.heads * self.width;
        let out = Block::cut(out, width, &rows, &alone(width));
        let last = self.cut_states(last, &groups);
        let scan = Heads { scan: *self, gated: x.z.is_some() };
        let tasks = groups.iter().zip(out).zip(last).map(|((group, out), last)| {
            let view = self.view(group, x, initial);
            Forward { scan, view, out: Place::Half(out, 0..width), width, last, kept: None }
        });
        super::run_all(tasks.collect(), Forward::run);
    }

    /// [`backward`](Self::backward) with the arrays over the rows and their gradients as bits of bf16. Panics when sizes do not
    /// fit.
    pub fn backward_bf16(
        &self,
        x: &Inputs<'_, u16>,
        initial: Option<States<'_, f32>>,
        dout: &[u16],
        dlast: Option<States<'_, f32>>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.check(self.sequences.rows(), x, dout.len());
        self.check_states(initial);
        self.check_states(dlast);
        self.check_gradients(x, &to);
        let chains = chains(&self.sequences, super::rows_back(self.chunk));
        let groups = groups(&chains);
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let (widths, width) = (self.widths(x.z.is_some()), self.heads * self.width);
        let gradients = [to.q, to.k, to.x, to.z, to.log_decay, to.dt, to.trap, to.angles];
        let mut places = super::places(gradients, widths, &rows);
        let firsts = self.cut_states(to.initial, &groups);
        let scan = Heads { scan: *self, gated: x.z.is_some() };
        let each = scan.parameters();
        let mut sums = vec![0.0; groups.len().max(1) * each];
        let tasks = groups.iter().zip(sums.chunks_exact_mut(each)).zip(firsts).map(|((group, sums), first)| Backward {
            scan,
            view: self.view(group, x, initial),
            kept: None,
            dout: Stream::new(dout, width, 0..width),
            dlast: dlast.map(|s| [s.angle, s.state, s.key, s.value]),
            x: places.each_mut().map(|p| p.next().unwrap_or(Place::Nowhere)),
            first,
            sums,
        });
        super::run_all(tasks.collect(), Backward::run);
        let (total, others) = sums.split_at_mut(each);
        others.chunks_exact(each).for_each(|part| add(total, part));
        let parameters = [to.q_bias, to.k_bias, to.skip, to.mix_x, to.mix_z, to.mix_out, to.norm];
        for (to, from) in parameters.into_iter().zip(crate::kernels::pieces::split(total, scan.sizes())) {
            if let Some(to) = to {
                to.copy_from_slice(from);
            }
        }
    }
}
