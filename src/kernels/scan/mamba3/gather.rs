//! The backward pass as a whole: tasks, and the sums of what they share.

use super::backward::{Out, Task, parameter_sizes};
use super::chunk::Source;
use super::cut::{Cut, times};
use super::forward::StateBlocks;
use super::pairs::Pairs;
use super::{Gradients, Inputs, Mamba3, States};
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::rows::for_each;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;
use rayon::prelude::*;

/// Numbers that one thread adds at a time.
const PIECE: usize = 1 << 14;

impl<T: Real> Mamba3<'_, T> {
    /// From what [`forward`](Self::forward) was given and the gradients of the result and (zeros without) of the last states: the
    /// gradients that are wanted. Those of the initial states may also be had where there were none, at zero. All gradients are
    /// computed, whether wanted or not, which costs little beside the products. Panics when sizes do not fit.
    pub fn backward(
        &self,
        x: &Inputs<'_, T>,
        initial: Option<States<'_, T>>,
        dout: &[T],
        dlast: Option<States<'_, T>>,
        gradients: Gradients<'_, T>,
    ) {
        self.check(self.sequences.rows(), x, dout.len());
        self.check_states(initial);
        self.check_states(dlast);
        self.check_gradients(x, &gradients);
        let Gradients {
            q,
            k,
            x: dx,
            z,
            log_decay,
            dt,
            trap,
            angles,
            q_bias,
            k_bias,
            skip,
            mix_x,
            mix_z,
            mix_out,
            norm,
            initial: dinitial,
        } = gradients;
        let mut parameters = [q_bias, k_bias, mix_x, mix_z, mix_out, norm, skip];
        if self.sequences.count() == 0 {
            parameters.into_iter().flatten().for_each(|d| d.fill(T::ZERO));
            return;
        }
        let cut = Cut::new(self, true);
        let (h, s, rows) = (self.heads, self.angles, self.sequences.rows());
        let each: usize = parameter_sizes(self).iter().sum();
        let parts: Vec<_> = (0..cut.sequences.len()).map(|i| i..i + 1).collect();
        let (shared, single) = if self.shared_angles { (angles, None) } else { (None, angles) };
        let row = self.rank * self.states;
        let widths = [q.is_some(), k.is_some(), shared.is_some()];
        let widths = [row, row, s]
            .map(|w| w * rows * cut.heads.len())
            .into_iter()
            .zip(widths)
            .map(|(n, wanted)| if wanted { n } else { 0 });
        let sizes: Vec<usize> = widths.chain([parts.len() * h * each]).collect();
        with_scratch(sizes.iter().sum(), |buffer| {
            let [dq, dk, dangles, sums] = split(buffer, [sizes[0], sizes[1], sizes[2], sizes[3]]);
            Source::with(self, x, |source| {
                let wide =
                    |data, width: usize| Block::cut_some(data, h * width, &cut.rows, &times(&cut.heads, width)).into_iter();
                let mut dx = wide(dx, self.width);
                let mut dz = wide(z, self.width);
                let mut single = wide(single.filter(|_| s > 0), s);
                let (mut log_decay, mut dt, mut trap) = (wide(log_decay, 1), wide(dt, 1), wide(trap, 1));
                let mut sums = Block::cut(sums, h * each, &parts, &times(&cut.heads, each)).into_iter();
                let mut dinitial = StateBlocks::cut(dinitial, self, &cut).into_iter();
                let (mut dq, mut dk) = (pieces(dq, row, &cut).into_iter(), pieces(dk, row, &cut).into_iter());
                let mut dangles = pieces(dangles, s, &cut).into_iter();
                let mut tasks = Vec::new();
                for (part, sequences) in cut.sequences.iter().enumerate() {
                    for heads in &cut.heads {
                        let Some(parameters) = sums.next() else { continue };
                        let out = Out {
                            q: dq.next().flatten(),
                            k: dk.next().flatten(),
                            shared_angles: dangles.next().flatten(),
                            angles: single.next().flatten(),
                            x: dx.next().flatten(),
                            z: dz.next().flatten(),
                            log_decay: log_decay.next().flatten(),
                            dt: dt.next().flatten(),
                            trap: trap.next().flatten(),
                            parameters,
                            initial: dinitial.next().flatten(),
                        };
                        let (sequences, heads, first) = (sequences.clone(), heads.clone(), cut.rows[part].start);
                        tasks.push(Task { source, initial, dout, dlast, part, sequences, first, heads, out });
                    }
                }
                for_each(tasks, Task::run);
            });
            for (to, from) in [(q, &*dq), (k, &*dk)] {
                if let Some(to) = to {
                    merge(to, from, self.groups, cut.blocks, self.states, Some(self.pairs()));
                }
            }
            if let Some(to) = shared {
                merge(to, dangles, 1, cut.heads.len(), s, None);
            }
            self.parameters(sums, &mut parameters);
        });
    }

    /// Adds the gradients of parameters of all parts, in order, and puts them in their places.
    fn parameters(&self, sums: &mut [T], to: &mut [Option<&mut [T]>; 7]) {
        let (sizes, each) = (parameter_sizes(self), parameter_sizes(self).iter().sum::<usize>());
        let (first, rest) = sums.split_at_mut(self.heads * each);
        rest.chunks_exact(first.len()).for_each(|part| add(first, part));
        let pairs = self.pairs();
        for (head, from) in first.chunks_exact_mut(each).enumerate() {
            for ((k, from), to) in split(from, sizes).into_iter().enumerate().zip(to.iter_mut()) {
                let Some(to) = to else { continue };
                let to = &mut to[head * from.len()..][..from.len()];
                if k < 2 { pairs.leave(from, to) } else { to.copy_from_slice(from) }
            }
        }
    }
}

/// Buffers (blocks of heads, rows, width) cut for the tasks, parts of the sequences slowest; none when there is nothing to cut.
fn pieces<'a, T>(data: &'a mut [T], width: usize, cut: &Cut) -> Vec<Option<&'a mut [T]>> {
    let (parts, blocks) = (cut.rows.len(), cut.heads.len());
    let mut pieces: Vec<Option<&'a mut [T]>> = (0..parts * blocks).map(|_| None).collect();
    if data.is_empty() {
        return pieces;
    }
    let mut rest = data;
    for block in 0..blocks {
        for (part, rows) in cut.rows.iter().enumerate() {
            let (piece, tail) = rest.split_at_mut(rows.len() * width);
            pieces[part * blocks + block] = Some(piece);
            rest = tail;
        }
    }
    pieces
}

/// `to` (rows, rank, groups, width) = the sums over the blocks of each group, in order, of `from` (groups · blocks, rows, rank,
/// width), whose places are inside if there are pairs.
fn merge<T: Real>(to: &mut [T], from: &[T], groups: usize, blocks: usize, width: usize, pairs: Option<Pairs>) {
    if to.is_empty() || width == 0 {
        return;
    }
    let line = groups * width;
    let (lines, len) = ((PIECE / line).max(1), to.len() / groups);
    to.par_chunks_mut(lines * line).enumerate().for_each(|(i, to)| {
        let mut sum = vec![T::ZERO; width];
        for (j, to) in to.chunks_exact_mut(line).enumerate() {
            for (g, to) in to.chunks_exact_mut(width).enumerate() {
                let of = |b: usize| &from[(g * blocks + b) * len + (i * lines + j) * width..][..width];
                sum.copy_from_slice(of(0));
                (1..blocks).for_each(|b| add(&mut sum, of(b)));
                match pairs {
                    Some(pairs) => pairs.leave(&sum, to),
                    None => to.copy_from_slice(&sum),
                }
            }
        }
    });
}
