//! Backward: a task has some heads of a group and some sequences, one head and sequence after the other.

use super::chunk::{Room, Source, turn};
use super::decay::{AddScaled, Decay, Dots, Pull, Scale};
use super::forward::StateBlocks;
use super::rotate::Unrotate;
use super::{Mamba3, SEGMENT, States, gate};
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::sums::add;
use std::f64::consts::PI;
use std::ops::Range;

/// Where a task writes. Rows of shared gradients are those of the task, in the order inside, and are added to.
pub(super) struct Out<'a, T> {
    /// (rows, rank, states).
    pub q: Option<&'a mut [T]>,
    pub k: Option<&'a mut [T]>,
    /// (rows, angles), if the heads share them.
    pub shared_angles: Option<&'a mut [T]>,
    pub angles: Option<Block<'a, T>>,
    pub x: Option<Block<'a, T>>,
    pub z: Option<Block<'a, T>>,
    pub log_decay: Option<Block<'a, T>>,
    pub dt: Option<Block<'a, T>>,
    pub trap: Option<Block<'a, T>>,
    /// A line for each part of the sequences: per head the gradients of its parameters, see [`parameter_sizes`].
    pub parameters: Block<'a, T>,
    pub initial: Option<StateBlocks<'a, T>>,
}

/// Numbers of the gradients of the parameters of a head: both biases, mx, mz, mo, the norm's weight, D.
pub(super) fn parameter_sizes<T: Real>(scan: &Mamba3<'_, T>) -> [usize; 7] {
    let (biases, mixes) = (scan.rank * scan.states, scan.rank * scan.width);
    [biases, biases, mixes, mixes, mixes, scan.width, 1]
}

pub(super) struct Task<'a, T> {
    pub source: Source<'a, T>,
    pub initial: Option<States<'a, T>>,
    pub dout: &'a [T],
    pub dlast: Option<States<'a, T>>,
    pub part: usize,
    pub sequences: Range<usize>,
    /// The first row of the part.
    pub first: usize,
    pub heads: Range<usize>,
    pub out: Out<'a, T>,
}

/// Buffers of the way back.
struct Back<'a, T> {
    /// (rows, states).
    dq: &'a mut [T],
    dk: &'a mut [T],
    /// (rows, width).
    dv: &'a mut [T],
    d_o: &'a mut [T],
    /// d_o·start.
    d_o_started: &'a mut [T],
    /// (width, lead).
    v_turned: &'a mut [T],
    /// (steps, width).
    dz: &'a mut [T],
    dout: &'a mut [T],
    /// (rows, lead).
    dscores: &'a mut [T],
    /// (steps, lead).
    decay: &'a mut [T],
    /// (lead).
    sums: &'a mut [T],
    /// A number for each step.
    gamma: &'a mut [T],
    logs: &'a mut [T],
    from_start: &'a mut [T],
    to_end: &'a mut [T],
    /// (steps, angles), then the sum from the end.
    dangles: &'a mut [T],
    from_behind: &'a mut [T],
    /// The gradient of U, (states, width).
    dstate: &'a mut [T],
    /// U at the starts of the chunks of a segment.
    states: &'a mut [T],
    /// θ there.
    thetas: &'a mut [f64],
    packed: Packed<T>,
}

impl<'a, T: Real> Back<'a, T> {
    fn sizes(source: &Source<'_, T>) -> [usize; 19] {
        let Mamba3 { width: p, states: n, angles: s, .. } = *source.scan;
        let (q, m, lead) = (source.sizes.steps, source.sizes.rows, source.sizes.lead);
        let matrices = [m * n, m * n, m * p, m * p, m * p, p * lead, q * p, q * p, m * lead, q * lead];
        let numbers = [lead, q, q, q, q, q * s, s, n * p, SEGMENT * n * p];
        std::array::from_fn(|i| if i < 10 { matrices[i] } else { numbers[i - 10] })
    }

    fn new(source: &Source<'_, T>, buffer: &'a mut [T], thetas: &'a mut [f64]) -> Self {
        let [
            dq,
            dk,
            dv,
            d_o,
            d_o_started,
            v_turned,
            dz,
            dout,
            dscores,
            decay,
            sums,
            gamma,
            logs,
            from_start,
            to_end,
            dangles,
            from_behind,
            dstate,
            states,
        ] = split(buffer, Self::sizes(source));
        Self {
            dq,
            dk,
            dv,
            d_o,
            d_o_started,
            v_turned,
            dz,
            dout,
            dscores,
            decay,
            sums,
            gamma,
            logs,
            from_start,
            to_end,
            dangles,
            from_behind,
            dstate,
            states,
            thetas,
            packed: Packed::empty(),
        }
    }
}

impl<T: Real> Task<'_, T> {
    pub(super) fn run(mut self) {
        let source = self.source;
        let each: usize = parameter_sizes(source.scan).iter().sum();
        let room: usize = Back::sizes(&source).iter().sum();
        [&mut self.out.q, &mut self.out.k, &mut self.out.shared_angles].into_iter().flatten().for_each(|d| d.fill(T::ZERO));
        Room::with(&source, room, SEGMENT * source.scan.angles, |mut room, buffer, thetas| {
            let mut back = Back::new(&source, buffer, thetas);
            with_scratch(each, |parameters| {
                for head in self.heads.clone() {
                    parameters.fill(T::ZERO);
                    for sequence in self.sequences.clone() {
                        self.sequence(&mut room, &mut back, parameters, head, sequence);
                    }
                    self.out.parameters.line(self.part, head * each..(head + 1) * each).copy_from_slice(parameters);
                }
            });
        });
    }

    fn sequence(&mut self, room: &mut Room<'_, T>, back: &mut Back<'_, T>, parameters: &mut [T], head: usize, sequence: usize) {
        let source = self.source;
        let Mamba3 { heads, width: p, states: n, angles: s, .. } = *source.scan;
        let all = source.scan.sequences.range(sequence);
        let at = sequence * heads + head;
        match self.dlast {
            Some(d) => {
                source.scan.pairs().enter_state(&d.state[at * p * n..][..p * n], p, back.dstate);
                back.from_behind.copy_from_slice(&d.angle[at * s..][..s]);
            }
            None => {
                back.dstate.fill(T::ZERO);
                back.from_behind.fill(T::ZERO);
            }
        }
        room.begin(&source, head, sequence, &all, self.initial);
        let chunks: Vec<Range<usize>> = source.chunks(all.clone()).collect();
        let segments = chunks.len().div_ceil(SEGMENT);
        // States at the starts of segments; the first is that of the sequence.
        with_scratch(segments * n * p, |states| {
            with_scratch(segments * s, |thetas: &mut [f64]| {
                for i in 0..segments {
                    states[i * n * p..][..n * p].copy_from_slice(room.state);
                    thetas[i * s..][..s].copy_from_slice(room.theta);
                    if i + 1 < segments {
                        for rows in &chunks[i * SEGMENT..(i + 1) * SEGMENT] {
                            self.pass(room, head, rows, &all);
                        }
                    }
                }
                for i in (0..segments).rev() {
                    room.state.copy_from_slice(&states[i * n * p..][..n * p]);
                    room.theta.copy_from_slice(&thetas[i * s..][..s]);
                    let chunks = &chunks[i * SEGMENT..chunks.len().min((i + 1) * SEGMENT)];
                    for (c, rows) in chunks.iter().enumerate() {
                        back.states[c * n * p..][..n * p].copy_from_slice(room.state);
                        back.thetas[c * s..][..s].copy_from_slice(room.theta);
                        if c + 1 < chunks.len() {
                            self.pass(room, head, rows, &all);
                        }
                    }
                    for (c, rows) in chunks.iter().enumerate().rev() {
                        room.state.copy_from_slice(&back.states[c * n * p..][..n * p]);
                        room.theta.copy_from_slice(&back.thetas[c * s..][..s]);
                        self.chunk(room, back, parameters, (head, sequence), rows.clone(), &all);
                    }
                }
            });
        });
        self.begin(room, back, parameters, (head, sequence), &all);
    }

    /// Takes U and θ through a chunk.
    fn pass(&self, room: &mut Room<'_, T>, head: usize, rows: &Range<usize>, all: &Range<usize>) {
        room.load(&self.source, head, rows.clone(), rows.end < all.end);
        room.advance(&self.source, rows.len());
    }

    /// From the gradients of U behind the chunk to those before it.
    fn chunk(
        &mut self,
        room: &mut Room<'_, T>,
        back: &mut Back<'_, T>,
        parameters: &mut [T],
        (head, sequence): (usize, usize),
        rows: Range<usize>,
        all: &Range<usize>,
    ) {
        let source = self.source;
        let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *source.scan;
        let (steps, m, lead) = (rows.len(), rows.len() * rank, source.sizes.lead);
        let [dq_bias, dk_bias, dmix_x, dmix_z, dmix_out, dnorm, dskip] = split(parameters, parameter_sizes(source.scan));
        source.gather(self.dout, rows.clone(), head, back.dout);
        room.load(&source, head, rows.clone(), rows.end < all.end);
        room.load_queries(&source, head, rows.clone(), Some(&mut back.decay[..steps * lead]));
        let gate = source.gate(head);
        if source.x.z.is_some() || gate.norm.is_some() || gate.mix_out.is_some() {
            room.outputs(&source, steps);
        } else {
            // Nothing depends on o.
            room.score(&source, steps);
            room.o[..m * p].fill(T::ZERO);
        }
        dispatch(gate::Backward {
            gate,
            v: &room.v[..m * p],
            o: &mut room.o[..m * p],
            z: source.x.z.map(|_| &room.z[..steps * p]),
            dout: &back.dout[..steps * p],
            d_o: &mut back.d_o[..m * p],
            dz: &mut back.dz[..steps * p],
            dskip: &mut dskip[0],
            dmix_z,
            dmix_out,
            dnorm,
        });
        write_lines(&mut self.out.z, &rows, head, &back.dz[..steps * p], p);

        turn(&room.v[..m * p], p, back.v_turned, lead);
        let (factors, from) = (&*room.start, &back.d_o[..m * p]);
        dispatch(Scale { rank, width: p, factors, from, to: &mut back.d_o_started[..m * p] });
        back.sums.fill(T::ZERO);
        for strip in source.sizes.strips(steps).rev() {
            let (first, last) = (strip.start * rank, strip.end * rank);
            let columns = Room::<T>::columns(&strip, rank);
            let d_o = MatRef::new(&back.d_o[first * p..], last - first, p);
            let v = MatRef::with_strides(back.v_turned, p, columns, lead, 1);
            let dscores = &mut back.dscores[first * lead..];
            tile(Start::Zero, d_o, v, MatMut::with_strides(dscores, last - first, columns, lead, 1));
            dispatch(Pull {
                rank,
                lead,
                steps: strip,
                columns,
                weight: room.weight,
                weighted: room.weighted,
                decay: back.decay,
                scores: room.scores,
                gradients: back.dscores,
                sums: back.sums,
                gamma: back.gamma,
                logs: back.logs,
            });
        }

        // To the queries, by way of U first: what that gives also belongs to the decays.
        back.packed.assign(MatRef::new(room.state, n, p).t());
        let d_o_started = MatRef::new(&back.d_o_started[..m * p], m, p);
        tile(Start::Zero, d_o_started, &back.packed, MatMut::new(back.dq, m, n));
        dispatch(Dots { rank, width: n, a: &back.dq[..m * n], b: &room.q[..m * n], to: &mut back.from_start[..steps] });
        for strip in source.sizes.strips(steps) {
            let (first, last) = (strip.start * rank, strip.end * rank);
            let dscores = MatRef::with_strides(&back.dscores[first * lead..], last - first, last, lead, 1);
            tile(Start::Current, dscores, MatRef::new(room.k, last, n), MatMut::new(&mut back.dq[first * n..], last - first, n));
        }
        // To keys and values; from U' first.
        let v_carried = MatRef::new(&room.v_carried[..m * p], m, p);
        back.packed.assign(MatRef::new(back.dstate, n, p).t());
        tile(Start::Zero, v_carried, &back.packed, MatMut::new(back.dk, m, n));
        let k = MatRef::new(&room.k[..m * n], m, n);
        tile(Start::Zero, k, MatRef::new(back.dstate, n, p), MatMut::new(room.inner, m, p));
        dispatch(Dots { rank, width: p, a: &room.inner[..m * p], b: &room.v[..m * p], to: &mut back.to_end[..steps] });
        let skip = gate.skip;
        back.dv[..m * p].iter_mut().zip(&back.d_o[..m * p]).for_each(|(to, &d)| *to = skip * d);
        for strip in source.sizes.strips(steps) {
            let (first, last) = (strip.start * rank, strip.end * rank);
            let part = |matrix| MatRef::with_strides(matrix, m - first, last - first, lead, 1).t();
            let q = MatRef::new(&room.q[first * n..], m - first, n);
            let dk = MatMut::new(&mut back.dk[first * n..], last - first, n);
            tile(Start::Current, part(&back.dscores[first * lead + first..]), q, dk);
            let d_o = MatRef::new(&back.d_o[first * p..], m - first, p);
            let dv = MatMut::new(&mut back.dv[first * p..], last - first, p);
            tile(Start::Current, part(&room.mixed[first * lead + first..]), d_o, dv);
        }
        let (factors, from) = (&*room.carried, &room.inner[..m * p]);
        dispatch(AddScaled(Scale { rank, width: p, factors, from, to: &mut back.dv[..m * p] }));
        // To U before the chunk.
        let total = room.start[steps - 1];
        let kept = dispatch(Decay { factor: total, matrix: back.dstate, other: room.state }) * total;
        let q = MatRef::new(&room.q[..m * n], m, n);
        tile(Start::Current, q.t(), d_o_started, MatMut::new(back.dstate, n, p));

        if let (Some(d), true) = (self.dlast, rows.end == all.end) {
            let mut line = vec![T::ZERO; n];
            for r in 0..rank {
                source.scan.pairs().enter(&d.key[((sequence * rank + r) * heads + head) * n..][..n], &mut line);
                add(&mut back.dk[(m - rank + r) * n..][..n], &line);
            }
        }
        self.angles(room, back, [dq_bias, dk_bias], head, &rows);
        self.values(room, back, dmix_x, (head, sequence), &rows, all);
        // The gradients of w, and of the logarithms from what came before the chunk or goes on behind it.
        for j in 0..steps {
            let inside = back.sums[j * rank..(j + 1) * rank].iter().fold(T::ZERO, |sum, &x| sum + x);
            let behind = room.end[j] * back.to_end[j];
            (back.to_end[j], back.sums[j]) = (room.w[j] * behind, inside + behind);
        }
        let mut sum = T::ZERO;
        for j in (0..steps).rev() {
            sum += back.from_start[j];
            back.logs[j] += sum;
        }
        sum = kept;
        for j in 0..steps {
            back.logs[j] += sum;
            sum += back.to_end[j];
        }
        let sigmoid = |l: T| l * (T::ONE - l);
        for (j, row) in rows.clone().enumerate() {
            let gamma = back.gamma[j] + back.sums[j];
            let nu = if j > 0 { back.sums[j - 1] } else { T::ZERO };
            let (dt, lambda) = (room.dt[j], room.lambda[j]);
            let mut ddt = lambda * gamma + (T::ONE - lambda) * nu;
            let turned = room.tanh[j * s..(j + 1) * s].iter().zip(&back.dangles[j * s..]);
            ddt += T::from_f64(PI) * turned.fold(T::ZERO, |sum, (&x, &d)| sum + x * d);
            put_number(&mut self.out.log_decay, row, head, back.logs[j], false);
            put_number(&mut self.out.dt, row, head, ddt, false);
            put_number(&mut self.out.trap, row, head, sigmoid(lambda) * dt * (gamma - nu), false);
        }
        if rows.end < all.end {
            // ν of the next chunk's first step is part of the last w here.
            let (nu, dt, lambda) = (back.sums[steps - 1], room.dt[steps], room.lambda[steps]);
            put_number(&mut self.out.dt, rows.end, head, (T::ONE - lambda) * nu, true);
            put_number(&mut self.out.trap, rows.end, head, -(sigmoid(lambda) * dt * nu), true);
        }
    }

    /// From the gradients of rotated queries and keys to those of Q, K, their biases and the angles. Leaves the sums of the angles'
    /// gradients from each step to the end.
    fn angles(&mut self, room: &Room<'_, T>, back: &mut Back<'_, T>, biases: [&mut [T]; 2], head: usize, rows: &Range<usize>) {
        let scan = self.source.scan;
        let Mamba3 { states: n, rank, angles: s, .. } = *scan;
        let (steps, m) = (rows.len(), rows.len() * rank);
        back.dangles[..steps * s].fill(T::ZERO);
        let at = (rows.start - self.first) * rank * n;
        let ways = [(&*room.q, &*back.dq, &mut self.out.q), (&*room.k, &*back.dk, &mut self.out.k)];
        for ((from, gradients, to), bias) in ways.into_iter().zip(biases) {
            dispatch(Unrotate {
                pairs: scan.pairs(),
                rank,
                rows: &from[..m * n],
                gradients: &gradients[..m * n],
                cosine: room.cosine,
                sine: room.sine,
                angles: &mut back.dangles[..steps * s],
                to: to.as_deref_mut().map(|to| &mut to[at..at + m * n]),
                bias,
            });
        }
        if s == 0 {
            return;
        }
        let mut line = vec![T::ZERO; s];
        for (j, row) in rows.clone().enumerate().rev() {
            let d = &mut back.dangles[j * s..][..s];
            add(back.from_behind, d);
            d.copy_from_slice(back.from_behind);
            let scale = T::from_f64(PI) * room.dt[j];
            for ((to, &x), &d) in line.iter_mut().zip(&room.tanh[j * s..]).zip(&*d) {
                *to = scale * (T::ONE - x * x) * d;
            }
            if let Some(to) = &mut self.out.shared_angles {
                add(&mut to[(row - self.first) * s..][..s], &line);
            } else if let Some(to) = &mut self.out.angles {
                to.line(row, head * s..(head + 1) * s).copy_from_slice(&line);
            }
        }
    }

    /// From the gradients of v to those of x and mx.
    fn values(
        &mut self,
        room: &mut Room<'_, T>,
        back: &Back<'_, T>,
        dmix: &mut [T],
        (head, sequence): (usize, usize),
        rows: &Range<usize>,
        all: &Range<usize>,
    ) {
        let scan = self.source.scan;
        let Mamba3 { heads, width: p, rank, .. } = *scan;
        let (x, stride) = self.source.of(self.source.x.x, rows.start, head);
        let dv = &back.dv[..rows.len() * rank * p];
        let dx = &mut room.inner[..rows.len() * p];
        dispatch(ToValues { rank, width: p, mix: scan.of_head(scan.mix_x, head), dv, x, stride, dx, dmix });
        if let (Some(d), true) = (self.dlast, rows.end == all.end) {
            let last = dx.len() - p;
            add(&mut dx[last..], &d.value[(sequence * heads + head) * p..][..p]);
        }
        write_lines(&mut self.out.x, rows, head, dx, p);
    }

    /// From the gradient of U before the first step to those of what came before.
    fn begin(
        &mut self,
        room: &mut Room<'_, T>,
        back: &mut Back<'_, T>,
        parameters: &mut [T],
        (head, sequence): (usize, usize),
        all: &Range<usize>,
    ) {
        let scan = self.source.scan;
        let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *scan;
        let pairs = scan.pairs();
        if let Some(out) = &mut self.out.initial {
            pairs.leave_state(back.dstate, p, out.state.line(sequence, head * p * n..(head + 1) * p * n));
            if let Some(angle) = &mut out.angle {
                angle.line(sequence, head * s..(head + 1) * s).copy_from_slice(back.from_behind);
            }
            let (key, value) = (&mut out.key, &mut out.value);
            let at = sequence * heads + head;
            // Without rows what came before is what goes on.
            let through = self.dlast.filter(|_| all.is_empty());
            let to = value.line(sequence, head * p..(head + 1) * p);
            copy_or_clear(to, through.map(|d| &d.value[at * p..][..p]));
            for r in 0..rank {
                let (row, line) = (sequence * rank + r, head * n..(head + 1) * n);
                let to = key.line(row, line);
                copy_or_clear(to, through.map(|d| &d.key[(row * heads + head) * n..][..n]));
            }
        }
        let Some(initial) = self.initial.filter(|_| !all.is_empty()) else { return };
        let [_, _, dmix, ..] = split(parameters, parameter_sizes(scan));
        room.scalars(&self.source, head, all.start..all.start + 1, false);
        let (nu, dt, lambda) = (room.nu[0], room.dt[0], room.lambda[0]);
        let value = &initial.value[(sequence * heads + head) * p..][..p];
        let mix = scan.of_head(scan.mix_x, head);
        let mixed = |r: usize, c: usize| mix.map_or(value[c], |m| m[r * p + c] * value[c]);
        let mut dnu = T::ZERO;
        for r in 0..rank {
            let row = sequence * rank + r;
            pairs.enter(&initial.key[(row * heads + head) * n..][..n], &mut room.k[..n]);
            // dU·k, then dUᵀ·v.
            let (k, dstate) = (MatRef::new(room.k, 1, n), MatRef::new(back.dstate, n, p));
            tile(Start::Zero, k, dstate, MatMut::new(room.inner, 1, p));
            room.v[..p].iter_mut().enumerate().for_each(|(c, v)| *v = mixed(r, c));
            dnu += room.inner[..p].iter().zip(&room.v[..p]).fold(T::ZERO, |sum, (&a, &b)| sum + a * b);
            let out = &mut self.out.initial;
            for (c, &d) in room.inner[..p].iter().enumerate() {
                dmix[r * p + c] += nu * d * value[c];
                if let Some(out) = out {
                    out.value.line(sequence, head * p..(head + 1) * p)[c] += nu * d * mix.map_or(T::ONE, |m| m[r * p + c]);
                }
            }
            if let Some(out) = out {
                room.v[..p].iter_mut().for_each(|v| *v = nu * *v);
                tile(Start::Zero, dstate, MatRef::new(room.v, 1, p).t(), MatMut::new(room.q, n, 1));
                pairs.leave(&room.q[..n], out.key.line(row, head * n..(head + 1) * n));
            }
        }
        put_number(&mut self.out.dt, all.start, head, (T::ONE - lambda) * dnu, true);
        put_number(&mut self.out.trap, all.start, head, -(lambda * (T::ONE - lambda) * dt * dnu), true);
    }
}

/// dx (steps, width) = Σ_r mx_r ∘ dv_r, and the gradient of mx, added.
struct ToValues<'a, T> {
    rank: usize,
    width: usize,
    mix: Option<&'a [T]>,
    dv: &'a [T],
    x: &'a [T],
    stride: usize,
    dx: &'a mut [T],
    dmix: &'a mut [T],
}

impl<T: Real> Kernel<T> for ToValues<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, width: p, mix, dv, x, stride, dx, dmix } = self;
        for (t, (dv, dx)) in dv.chunks_exact(rank * p).zip(dx.chunks_exact_mut(p)).enumerate() {
            let x = &x[t * stride..][..p];
            each_vector!(V, p, |at, count| {
                let value = get::<T, V>(x, at, count);
                let mut sum = V::splat(T::ZERO);
                for r in 0..rank {
                    let d = get::<T, V>(dv, r * p + at, count);
                    if let Some(mix) = mix {
                        sum = d.fma(get(mix, r * p + at, count), sum);
                        put(d.fma(value, get(dmix, r * p + at, count)), dmix, r * p + at, count);
                    } else {
                        sum = sum.add(d);
                    }
                }
                put(sum, dx, at, count);
            });
        }
    }
}

fn copy_or_clear<T: Real>(to: &mut [T], from: Option<&[T]>) {
    match from {
        Some(from) => to.copy_from_slice(from),
        None => to.fill(T::ZERO),
    }
}

fn write_lines<T: Real>(to: &mut Option<Block<'_, T>>, rows: &Range<usize>, head: usize, from: &[T], width: usize) {
    if let Some(to) = to {
        for (row, from) in rows.clone().zip(from.chunks_exact(width)) {
            to.line(row, head * width..(head + 1) * width).copy_from_slice(from);
        }
    }
}

fn put_number<T: Real>(to: &mut Option<Block<'_, T>>, row: usize, head: usize, x: T, more: bool) {
    if let Some(to) = to {
        let to = &mut to.line(row, head..head + 1)[0];
        *to = if more { *to + x } else { x };
    }
}
