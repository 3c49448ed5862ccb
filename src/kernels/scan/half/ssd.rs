//! ssd: blocks of all heads.

use super::blocks::{Chain, chains, groups, rows_of, sequences_of};
use super::walk::{Back, Backward, Forward, From, Layout, Place, Scan, Stream, To, View};
use super::{alone, whole};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::ssd::{Gradients, Inputs, Ssd};
use crate::kernels::sums::add;
use std::ops::Range;

impl Scan<4, 1> for Ssd<'_, f32> {
    /// A, then D.
    fn parameters(&self) -> usize {
        self.heads + self.skip_len().map_or(0, |(len, _)| len)
    }

    fn forward(&self, sequences: Sequences<'_>, x: [&[f32]; 4], [first]: [&[f32]; 1], To { out, last: [last], .. }: To<'_, 1>) {
        let [x, dt, b, c] = x;
        Ssd { sequences, ..*self }.pass(&Inputs { x, dt, b, c }, Some(first), out, Some(last));
    }

    fn backward(&self, sequences: Sequences<'_>, x: [&[f32]; 4], from: From<'_, 1>, to: Back<'_, 4, 1>) {
        let [x, dt, b, c] = x;
        let ([dx, ddt, db, dc], [first]) = (to.x, to.first);
        let (a, skip) = to.parameters.split_at_mut(self.heads);
        let gradients = Gradients {
            x: Some(dx),
            dt: Some(ddt),
            b: Some(db),
            c: Some(dc),
            a: Some(a),
            skip: self.skip.is_some().then_some(skip),
            initial: Some(first),
        };
        let inputs = Inputs { x, dt, b, c };
        Ssd { sequences, ..*self }.backward(&inputs, Some(from.first[0]), from.dout, Some(from.dlast[0]), gradients);
    }
}

impl Ssd<'_, f32> {
    fn widths(&self) -> [usize; 4] {
        let shared = self.groups * self.states;
        [self.heads * self.width, self.heads, shared, shared]
    }

    fn view<'b>(&'b self, chains: &'b [Chain], x: &Inputs<'b, u16>, initial: Option<&'b [f32]>) -> View<'b, 4, 1> {
        View {
            sequences: self.sequences,
            chains,
            streams: whole([x.x, x.dt, x.b, x.c], self.widths()),
            states: [Layout::whole(self.heads * self.width * self.states)],
            first: initial.map(|s| [s]),
            kept: (Layout::whole(0), 0),
        }
    }

    /// [`forward`](Self::forward) with x, Δ, B, C and the result as bits of bf16. States are f32. Panics when sizes do not fit.
    pub fn forward_bf16(&self, x: &Inputs<'_, u16>, initial: Option<&[f32]>, y: &mut [u16], last: Option<&mut [f32]>) {
        self.check(self.sequences.rows(), x);
        assert_eq!(y.len(), x.x.len(), "ssd: the result is as long as x");
        self.check_states(initial);
        self.check_states(last.as_deref());
        let chains = chains(&self.sequences, super::rows_there(self.chunk));
        let groups = groups(&chains);
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let sequences: Vec<Range<usize>> = groups.iter().map(|g| sequences_of(g)).collect();
        let ([width, ..], state) = (self.widths(), self.heads * self.width * self.states);
        let y = Block::cut(y, width, &rows, &alone(width));
        let last = Block::cut_some(last, state, &sequences, &alone(state));
        let tasks = groups.iter().zip(y).zip(last).map(|((group, y), last)| {
            let view = self.view(group, x, initial);
            Forward { scan: *self, view, out: Place::Half(y, 0..width), width, last: [last], kept: None }
        });
        super::run_all(tasks.collect(), Forward::run);
    }

    /// [`backward`](Self::backward) with the arrays over the rows and their gradients as bits of bf16. Panics when sizes do not
    /// fit.
    pub fn backward_bf16(
        &self,
        x: &Inputs<'_, u16>,
        initial: Option<&[f32]>,
        dy: &[u16],
        dlast: Option<&[f32]>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.check(self.sequences.rows(), x);
        assert_eq!(dy.len(), x.x.len(), "ssd: the gradient of y is as long as x");
        [initial, dlast, to.initial.as_deref()].into_iter().for_each(|states| self.check_states(states));
        self.check_gradients(x, &to);
        let chains = chains(&self.sequences, super::rows_back(self.chunk));
        let groups = groups(&chains);
        let rows: Vec<Range<usize>> = groups.iter().map(|g| rows_of(g)).collect();
        let sequences: Vec<Range<usize>> = groups.iter().map(|g| sequences_of(g)).collect();
        let (widths, state) = (self.widths(), self.heads * self.width * self.states);
        let mut places = super::places([to.x, to.dt, to.b, to.c], widths, &rows);
        let mut initials = Block::cut_some(to.initial, state, &sequences, &alone(state)).into_iter();
        let each = Scan::parameters(self);
        let mut sums = vec![0.0; groups.len().max(1) * each];
        let tasks = groups.iter().zip(sums.chunks_exact_mut(each)).map(|(group, sums)| Backward {
            scan: *self,
            view: self.view(group, x, initial),
            kept: None,
            dout: Stream::new(dy, widths[0], 0..widths[0]),
            dlast: dlast.map(|s| [s]),
            x: places.each_mut().map(|p| p.next().unwrap_or(Place::Nowhere)),
            first: [initials.next().flatten()],
            sums,
        });
        super::run_all(tasks.collect(), Backward::run);
        let (total, others) = sums.split_at_mut(each);
        others.chunks_exact(each).for_each(|part| add(total, part));
        let (of_a, of_skip) = total.split_at(self.heads);
        for (to, from) in [(to.a, of_a), (to.skip, of_skip)] {
            if let Some(to) = to {
                to.copy_from_slice(from);
            }
        }
    }
}
