//! The walk through blocks of time: rows are made f32, a scan runs on them with the states carried, results are rounded.

use super::blocks::Chain;
use super::convert::{Narrow, Widen};
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::dispatch;
use crate::kernels::sums::add;
use std::ops::Range;

/// A scan in f32, of `S` arrays over the rows and `N` arrays of states. Arrays are packed: (rows, columns) and (sequences, …).
pub(super) trait Scan<const S: usize, const N: usize>: Sync {
    /// Numbers that the way back needs of the way there, if it needs any instead of the states before a block.
    fn kept(&self, _: &Sequences<'_>) -> Option<usize> {
        None
    }

    /// Numbers of the gradients of all parameters.
    fn parameters(&self) -> usize;

    /// The results unless only states are wanted, the states behind the rows, and what is kept.
    fn forward(&self, sequences: Sequences<'_>, x: [&[f32]; S], first: [&[f32]; N], to: To<'_, N>);

    /// Everything is written, not added to.
    fn backward(&self, sequences: Sequences<'_>, x: [&[f32]; S], from: From<'_, N>, to: Back<'_, S, N>);
}

/// Where a block's results go.
pub(super) struct To<'a, const N: usize> {
    pub out: Option<&'a mut [f32]>,
    pub last: [&'a mut [f32]; N],
    pub kept: Option<&'a mut [f32]>,
}

/// What comes back to a block.
pub(super) struct From<'a, const N: usize> {
    /// The states before it; unspecified when something was kept.
    pub first: [&'a [f32]; N],
    pub kept: &'a [f32],
    pub dout: &'a [f32],
    pub dlast: [&'a [f32]; N],
}

/// Where a block's gradients go.
pub(super) struct Back<'a, const S: usize, const N: usize> {
    pub x: [&'a mut [f32]; S],
    pub first: [&'a mut [f32]; N],
    pub parameters: &'a mut [f32],
}

/// Some columns of an array over the rows. One that is not there has none.
#[derive(Clone)]
pub(super) struct Stream<'a> {
    pub data: &'a [u16],
    pub stride: usize,
    pub columns: Range<usize>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(data: &'a [u16], stride: usize, columns: Range<usize>) -> Self {
        Self { data, stride, columns }
    }

    fn load(&self, rows: &Range<usize>, to: &mut [f32]) {
        let Self { data: from, stride, columns } = self.clone();
        if !columns.is_empty() && !rows.is_empty() {
            dispatch(Widen { from, stride, rows: rows.clone(), columns, to: &mut to[..rows.len() * self.columns.len()] });
        }
    }
}

/// How states lie: for each sequence a line of `stride` numbers, of which some columns are meant.
#[derive(Clone)]
pub(super) struct Layout {
    pub stride: usize,
    pub columns: Range<usize>,
}

impl Layout {
    pub(super) fn whole(stride: usize) -> Self {
        Self { stride, columns: 0..stride }
    }

    /// Numbers of some sequences.
    fn len(&self, sequences: usize) -> usize {
        sequences * self.columns.len()
    }

    /// Takes the lines out, or zeros.
    fn load(&self, from: Option<&[f32]>, lines: Range<usize>, to: &mut [f32]) {
        let Some(from) = from else {
            to.fill(0.0);
            return;
        };
        for (line, to) in lines.zip(to.chunks_exact_mut(self.columns.len().max(1))) {
            to.copy_from_slice(&from[line * self.stride..][self.columns.clone()]);
        }
    }

    fn store(&self, from: &[f32], lines: Range<usize>, to: &mut Option<Block<'_, f32>>) {
        let Some(to) = to else { return };
        for (line, from) in lines.zip(from.chunks_exact(self.columns.len().max(1))) {
            to.line(line, self.columns.clone()).copy_from_slice(from);
        }
    }
}

/// What a task works on.
#[derive(Clone)]
pub(super) struct View<'a, const S: usize, const N: usize> {
    pub sequences: Sequences<'a>,
    pub chains: &'a [Chain],
    pub streams: [Stream<'a>; S],
    pub states: [Layout; N],
    /// The states before the first rows, zeros without.
    pub first: Option<[&'a [f32]; N]>,
    /// Lines of what is kept, and how many there are before the first chain.
    pub kept: (Layout, usize),
}

impl<const S: usize, const N: usize> View<'_, S, N> {
    /// Rows, sequences and blocks of a chain at most.
    fn most(&self) -> [usize; 3] {
        let most = |of: fn(&Chain) -> usize| self.chains.iter().map(of).max().unwrap_or(0);
        [most(|c| c.rows.len().min(c.most)), most(|c| c.sequences.len()), most(|c| c.blocks().count())]
    }

    /// The most that a block keeps.
    fn most_kept(&self, scan: &impl Scan<S, N>) -> usize {
        let mut bounds = Vec::new();
        let mut of = |chain: &Chain, block: Range<usize>| {
            chain.bounds(&self.sequences, &block, &mut bounds);
            scan.kept(&Sequences::Packed(&bounds)).unwrap_or(0)
        };
        self.chains.iter().flat_map(|c| c.blocks().map(move |b| (c, b))).map(|(c, b)| of(c, b)).max().unwrap_or(0)
    }

    fn load(&self, rows: &Range<usize>, to: &mut [&mut [f32]; S]) {
        self.streams.iter().zip(to).for_each(|(stream, to)| stream.load(rows, to));
    }

    /// The states before every block of a chain. Rows are loaded to `x`.
    fn starts(&self, scan: &impl Scan<S, N>, chain: &Chain, x: &mut [&mut [f32]; S], starts: &mut [f32], sizes: [usize; N]) {
        let lens: [usize; N] = self.states.each_ref().map(|s| s.len(chain.sequences.len()));
        let state = sizes.iter().sum::<usize>();
        let (first, _) = starts.split_at_mut(state);
        for ((layout, to), (i, len)) in self.states.iter().zip(split(first, sizes)).zip(lens.into_iter().enumerate()) {
            layout.load(self.first.map(|f| f[i]), chain.sequences.clone(), &mut to[..len]);
        }
        let mut bounds = Vec::new();
        for (k, block) in chain.blocks().skip(1).zip(chain.blocks()).map(|(_, block)| block).enumerate() {
            self.load(&block, x);
            chain.bounds(&self.sequences, &block, &mut bounds);
            let (before, after) = starts[k * state..].split_at_mut(state);
            let (before, mut after) = (split(before, sizes), split(&mut after[..state], sizes));
            let to = To { out: None, last: cut_mut(&mut after, lens), kept: None };
            scan.forward(Sequences::Packed(&bounds), self.part(block.len(), x), cut(&before, lens), to);
        }
    }

    /// The numbers of a block in the buffers of whole blocks.
    fn part<'b>(&self, rows: usize, of: &'b [&mut [f32]; S]) -> [&'b [f32]; S] {
        std::array::from_fn(|i| &of[i][..rows * self.streams[i].columns.len()])
    }
}

fn cut<'b, const N: usize>(of: &'b [&mut [f32]; N], len: [usize; N]) -> [&'b [f32]; N] {
    std::array::from_fn(|i| &of[i][..len[i]])
}

fn cut_mut<'b, const N: usize>(of: &'b mut [&mut [f32]; N], len: [usize; N]) -> [&'b mut [f32]; N] {
    let mut len = len.into_iter();
    of.each_mut().map(|of| &mut of[..len.next().unwrap_or(0)])
}

/// Where an array over the rows is written, and which of its columns.
pub(super) enum Place<'a> {
    Nowhere,
    Half(Block<'a, u16>, Range<usize>),
    /// For a sum that is rounded when it is complete.
    Single(Block<'a, f32>, Range<usize>),
}

impl<'a> Place<'a> {
    pub(super) fn half(block: Option<Block<'a, u16>>, columns: Range<usize>) -> Self {
        block.map_or(Self::Nowhere, |block| Self::Half(block, columns))
    }

    pub(super) fn single(block: Option<Block<'a, f32>>, columns: Range<usize>) -> Self {
        block.map_or(Self::Nowhere, |block| Self::Single(block, columns))
    }

    fn store(&mut self, rows: Range<usize>, from: &[f32]) {
        match self {
            Self::Nowhere => (),
            Self::Half(_, columns) | Self::Single(_, columns) if columns.start == columns.end => (),
            Self::Half(to, columns) => dispatch(Narrow { from, to, rows, columns: columns.clone() }),
            Self::Single(to, columns) => {
                for (row, from) in rows.zip(from.chunks_exact(columns.len())) {
                    to.line(row, columns.clone()).copy_from_slice(from);
                }
            }
        }
    }
}

/// The way there.
pub(super) struct Forward<'a, I, const S: usize, const N: usize> {
    pub scan: I,
    pub view: View<'a, S, N>,
    pub out: Place<'a>,
    /// Columns of the result.
    pub width: usize,
    pub last: [Option<Block<'a, f32>>; N],
    pub kept: Option<Block<'a, f32>>,
}

impl<I: Scan<S, N>, const S: usize, const N: usize> Forward<'_, I, S, N> {
    pub(super) fn run(self) {
        let Self { scan, view, mut out, width, mut last, mut kept } = self;
        let [rows, count, _] = view.most();
        let sizes: [usize; S] = view.streams.each_ref().map(|s| rows * s.columns.len());
        let state_sizes: [usize; N] = view.states.each_ref().map(|s| s.len(count));
        let keeps = if kept.is_some() { view.most_kept(&scan) } else { 0 };
        let parts = [sizes.iter().sum(), state_sizes.iter().sum(), state_sizes.iter().sum(), rows * width, keeps];
        let mut bounds = Vec::new();
        let mut kept_line = view.kept.1;
        with_scratch(parts.iter().sum(), |buffer: &mut [f32]| {
            let [x, before, after, result, keep] = split(buffer, parts);
            let mut x = split(x, sizes);
            let (mut before, mut after) = (split(before, state_sizes), split(after, state_sizes));
            for chain in view.chains {
                let lens: [usize; N] = view.states.each_ref().map(|s| s.len(chain.sequences.len()));
                for (i, layout) in view.states.iter().enumerate() {
                    layout.load(view.first.map(|f| f[i]), chain.sequences.clone(), &mut before[i][..lens[i]]);
                }
                for block in chain.blocks() {
                    view.load(&block, &mut x);
                    chain.bounds(&view.sequences, &block, &mut bounds);
                    let sequences = Sequences::Packed(&bounds);
                    let keep = &mut keep[..if kept.is_some() { scan.kept(&sequences).unwrap_or(0) } else { 0 }];
                    let result = &mut result[..block.len() * width];
                    let to = To {
                        out: Some(&mut *result),
                        last: cut_mut(&mut after, lens),
                        kept: kept.is_some().then_some(&mut *keep),
                    };
                    scan.forward(sequences, view.part(block.len(), &x), cut(&before, lens), to);
                    out.store(block, result);
                    let lines = keep.len() / view.kept.0.columns.len().max(1);
                    view.kept.0.store(keep, kept_line..kept_line + lines, &mut kept);
                    kept_line += lines;
                    std::mem::swap(&mut before, &mut after);
                }
                for (i, layout) in view.states.iter().enumerate() {
                    layout.store(&before[i][..lens[i]], chain.sequences.clone(), &mut last[i]);
                }
            }
        });
    }
}

/// The way back.
pub(super) struct Backward<'a, I, const S: usize, const N: usize> {
    pub scan: I,
    pub view: View<'a, S, N>,
    pub kept: Option<&'a [f32]>,
    pub dout: Stream<'a>,
    /// Zeros without.
    pub dlast: Option<[&'a [f32]; N]>,
    pub x: [Place<'a>; S],
    pub first: [Option<Block<'a, f32>>; N],
    /// Of the parameters, summed over the rows of the task.
    pub sums: &'a mut [f32],
}

impl<I: Scan<S, N>, const S: usize, const N: usize> Backward<'_, I, S, N> {
    pub(super) fn run(self) {
        let Self { scan, view, kept, dout, dlast, x: mut dx, mut first, sums } = self;
        let [rows, count, blocks] = view.most();
        let sizes: [usize; S] = view.streams.each_ref().map(|s| rows * s.columns.len());
        let state_sizes: [usize; N] = view.states.each_ref().map(|s| s.len(count));
        let (inputs, state) = (sizes.iter().sum::<usize>(), state_sizes.iter().sum::<usize>());
        let keeps = if kept.is_some() { view.most_kept(&scan) } else { 0 };
        let slots = if kept.is_some() { 1 } else { blocks.max(1) };
        let parts =
            [inputs, inputs, rows * dout.columns.len(), slots * state, state, state, keeps, scan.parameters(), scan.parameters()];
        let mut bounds = Vec::new();
        with_scratch(parts.iter().sum(), |buffer: &mut [f32]| {
            let [x, dx_room, g, starts, after, before, keep, fresh, total] = split(buffer, parts);
            let (mut x, mut dx_room) = (split(x, sizes), split(dx_room, sizes));
            let (mut after, mut before) = (split(after, state_sizes), split(before, state_sizes));
            total.fill(0.0);
            let mut kept_line = view.kept.1;
            for chain in view.chains {
                let lens: [usize; N] = view.states.each_ref().map(|s| s.len(chain.sequences.len()));
                if kept.is_none() {
                    view.starts(&scan, chain, &mut x, starts, state_sizes);
                }
                for (i, layout) in view.states.iter().enumerate() {
                    layout.load(dlast.map(|f| f[i]), chain.sequences.clone(), &mut after[i][..lens[i]]);
                }
                let mut lines_of = |block: &Range<usize>| {
                    chain.bounds(&view.sequences, block, &mut bounds);
                    scan.kept(&Sequences::Packed(&bounds)).unwrap_or(0) / view.kept.0.columns.len().max(1)
                };
                let mut work: Vec<_> = Vec::new();
                for (k, block) in chain.blocks().enumerate() {
                    let lines = kept_line..kept_line + lines_of(&block);
                    kept_line = lines.end;
                    work.push((k, block, lines));
                }
                for (k, block, lines) in work.into_iter().rev() {
                    view.load(&block, &mut x);
                    dout.load(&block, g);
                    let keep = &mut keep[..if kept.is_some() { view.kept.0.columns.len() * lines.len() } else { 0 }];
                    view.kept.0.load(kept, lines, keep);
                    let start = split(&mut starts[if kept.is_some() { 0 } else { k * state }..][..state], state_sizes);
                    let from = From {
                        first: cut(&start, lens),
                        kept: keep,
                        dout: &g[..block.len() * dout.columns.len()],
                        dlast: cut(&after, lens),
                    };
                    let lens_x: [usize; S] = view.streams.each_ref().map(|s| block.len() * s.columns.len());
                    let to =
                        Back { x: cut_mut(&mut dx_room, lens_x), first: cut_mut(&mut before, lens), parameters: &mut *fresh };
                    chain.bounds(&view.sequences, &block, &mut bounds);
                    scan.backward(Sequences::Packed(&bounds), view.part(block.len(), &x), from, to);
                    add(total, fresh);
                    for ((place, from), len) in dx.iter_mut().zip(&dx_room).zip(lens_x) {
                        place.store(block.clone(), &from[..len]);
                    }
                    std::mem::swap(&mut before, &mut after);
                }
                for (i, layout) in view.states.iter().enumerate() {
                    layout.store(&after[i][..lens[i]], chain.sequences.clone(), &mut first[i]);
                }
            }
            sums.copy_from_slice(total);
        });
    }
}
