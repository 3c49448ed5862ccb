//! Mamba-3's scan on the tape.

use super::{expect, gradient, or_zeros, room, same_type};
use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::mamba3::{Gradients, HeadNorm, Inputs, Mamba3, Rotation, States, StatesMut, chunk_for};
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record_many};
use candle_core::{Result, Tensor, bail};

const OP: &str = "mamba3";

/// What a sequence carries on; see [`States`].
#[derive(Clone)]
pub struct Mamba3States {
    /// θ, (batch, heads, angles).
    pub angle: Value,
    /// S, (batch, heads, width, states).
    pub state: Value,
    /// k, rotated, (batch, rank, heads, states).
    pub key: Value,
    /// x before its mix, (batch, heads, width).
    pub value: Value,
}

impl Mamba3States {
    fn all(&self) -> [&Value; 4] {
        [&self.angle, &self.state, &self.key, &self.value]
    }
}

/// The inputs of [`mamba3_scan`].
#[derive(Clone, Copy)]
pub struct Mamba3Inputs<'a> {
    /// Q after its norm, (batch, steps, rank, groups, states).
    pub q: &'a Value,
    /// As `q`.
    pub k: &'a Value,
    /// V, (batch, steps, heads, width).
    pub x: &'a Value,
    /// A·Δ, (batch, steps, heads).
    pub log_decay: &'a Value,
    /// Δ, (batch, steps, heads).
    pub dt: &'a Value,
    /// λ before its sigmoid, (batch, steps, heads).
    pub trap: &'a Value,
    /// φ for all heads, (batch, steps, angles).
    pub angles: &'a Value,
    /// (heads, rank, states).
    pub q_bias: &'a Value,
    /// (heads, rank, states).
    pub k_bias: &'a Value,
    /// The gate, as `x`.
    pub z: Option<&'a Value>,
    /// D, (heads).
    pub skip: Option<&'a Value>,
    /// mx, mz, mo, (heads, rank, width): all three, or none.
    pub mixes: Option<[&'a Value; 3]>,
    /// Weight of the norm before the gate, (heads · width), and what is added to the mean square.
    pub norm: Option<(&'a Value, f64)>,
    pub rotation: Rotation,
    /// Before the first step.
    pub initial: Option<&'a Mamba3States>,
}

/// Sizes, and which of the optional inputs there are.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    steps: usize,
    heads: usize,
    width: usize,
    groups: usize,
    states: usize,
    rank: usize,
    angles: usize,
    rotation: Rotation,
    z: bool,
    skip: bool,
    mixes: bool,
    norm: Option<f64>,
    initial: bool,
}

/// Needed inputs, which come first.
const NEEDED: usize = 9;

impl Shape {
    fn of(x: &Mamba3Inputs<'_>) -> Result<Self> {
        let [batch, steps, heads, width] = match *x.x.dims() {
            [b, l, h, p] if h > 0 && p > 0 => [b, l, h, p],
            _ => bail!("{OP}: takes (batch, steps, heads, width), got shape {:?}", x.x.dims()),
        };
        let [rank, groups, states] = match *x.q.dims() {
            [b, l, r, g, n] if (b, l) == (batch, steps) && r * g * n > 0 && heads.is_multiple_of(g) => [r, g, n],
            _ => bail!("{OP}: Q has shape {:?}, expected ({batch}, {steps}, rank, a divisor of {heads}, states)", x.q.dims()),
        };
        let angles = match *x.angles.dims() {
            [b, l, s] if (b, l) == (batch, steps) && 2 * s <= states => s,
            _ => bail!("{OP}: angles have shape {:?}, expected ({batch}, {steps}, {} at most)", x.angles.dims(), states / 2),
        };
        if x.rotation == Rotation::Halves && !states.is_multiple_of(2) {
            bail!("{OP}: {states} states have no halves to rotate");
        }
        let this = Self {
            batch,
            steps,
            heads,
            width,
            groups,
            states,
            rank,
            angles,
            rotation: x.rotation,
            z: x.z.is_some(),
            skip: x.skip.is_some(),
            mixes: x.mixes.is_some(),
            norm: x.norm.map(|(_, eps)| eps),
            initial: x.initial.is_some(),
        };
        expect(OP, "K", x.k, x.q.dims())?;
        for (name, v) in [("log_decay", x.log_decay), ("dt", x.dt), ("trap", x.trap)] {
            expect(OP, name, v, &[batch, steps, heads])?;
        }
        for (name, v) in [("the bias of Q", x.q_bias), ("the bias of K", x.k_bias)] {
            expect(OP, name, v, &[heads, rank, states])?;
        }
        x.z.map_or(Ok(()), |v| expect(OP, "z", v, x.x.dims()))?;
        x.skip.map_or(Ok(()), |v| expect(OP, "D", v, &[heads]))?;
        for mix in x.mixes.into_iter().flatten() {
            expect(OP, "a mix of ranks", mix, &[heads, rank, width])?;
        }
        if this.mixes && !this.z {
            bail!("{OP}: a mix of a gate that is not there");
        }
        x.norm.map_or(Ok(()), |(v, _)| expect(OP, "the weight of the norm", v, &[heads * width]))?;
        if let Some(initial) = x.initial {
            for (v, dims) in initial.all().into_iter().zip(this.carried()) {
                expect(OP, "a state before the first step", v, &dims)?;
            }
        }
        Ok(this)
    }

    /// Shapes of what is carried on.
    fn carried(&self) -> [Vec<usize>; 4] {
        let Self { batch: b, heads: h, width: p, states: n, rank: r, angles: s, .. } = *self;
        [vec![b, h, s], vec![b, h, p, n], vec![b, r, h, n], vec![b, h, p]]
    }

    /// Calls `work` with the scan on the saved inputs.
    fn with<T: Element, R>(
        &self,
        saved: &[Tensor],
        work: impl FnOnce(&Mamba3<'_, T>, &Inputs<'_, T>, Option<States<'_, T>>) -> R,
    ) -> Result<R> {
        let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers(OP, t)).collect::<Result<_>>()?;
        let mut rest = held[NEEDED..].iter();
        let mut next = |there: bool| if there { rest.next().map(|v| &v[..]) } else { None };
        let (z, skip) = (next(self.z), next(self.skip));
        let (mix_x, mix_z, mix_out) = (next(self.mixes), next(self.mixes), next(self.mixes));
        let norm = next(self.norm.is_some()).zip(self.norm).map(|(weight, eps)| HeadNorm { weight, eps });
        let carried: [Option<&[T]>; 4] = std::array::from_fn(|_| next(self.initial));
        let initial = match carried {
            [Some(angle), Some(state), Some(key), Some(value)] => Some(States { angle, state, key, value }),
            _ => None,
        };
        let scan = Mamba3 {
            sequences: Sequences::Equal { count: self.batch, len: self.steps },
            heads: self.heads,
            width: self.width,
            groups: self.groups,
            states: self.states,
            rank: self.rank,
            angles: self.angles,
            shared_angles: true,
            rotation: self.rotation,
            chunk: chunk_for(self.rank),
            q_bias: &held[7],
            k_bias: &held[8],
            skip,
            mix_x,
            mix_z,
            mix_out,
            norm,
        };
        let x = Inputs {
            q: &held[0],
            k: &held[1],
            x: &held[2],
            z,
            log_decay: &held[3],
            dt: &held[4],
            trap: &held[5],
            angles: &held[6],
        };
        Ok(work(&scan, &x, initial))
    }
}

/// Mamba-3's scan; gives the result (batch, steps, heads, width), summed over the ranks, and what is carried on.
///
/// Saves the inputs (free). One step without gradients takes the step form. Cost and source: see [`Mamba3`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn mamba3_scan(x: &Mamba3Inputs<'_>) -> Result<(Value, Mamba3States)> {
    let shape = Shape::of(x)?;
    let needed = [x.q, x.k, x.x, x.log_decay, x.dt, x.trap, x.angles, x.q_bias, x.k_bias];
    let mut inputs: Vec<&Value> = needed.to_vec();
    inputs.extend(x.z.into_iter().chain(x.skip).chain(x.mixes.into_iter().flatten()).chain(x.norm.map(|(v, _)| v)));
    inputs.extend(x.initial.into_iter().flat_map(Mamba3States::all));
    same_type(OP, &inputs)?;
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    let recorded = inputs.iter().any(|v| v.recorded());
    let dims = [shape.batch, shape.steps, shape.heads, shape.width];
    let carried = shape.carried();
    by_float!(OP, saved[0], T => {
        let mut out = output::<T>(dims.iter().product());
        let mut last: [Vec<T>; 4] = std::array::from_fn(|i| output(carried[i].iter().product()));
        shape.with(&saved, |scan, inputs, initial| {
            if let Some(initial) = initial.filter(|_| shape.steps == 1 && !recorded) {
                last = [initial.angle, initial.state, initial.key, initial.value].map(<[T]>::to_vec);
                scan.step(inputs, states_mut(&mut last), &mut out);
            } else {
                scan.forward(inputs, initial, &mut out, Some(states_mut(&mut last)));
            }
        })?;
        let out = tensor(out, &dims)?;
        let like = out.clone();
        let mut outputs = vec![out];
        for (data, dims) in last.into_iter().zip(&carried) {
            outputs.push(tensor(data, dims)?);
        }
        let values = record_many(&inputs, outputs, |wanted| move |gradients: Vec<Option<Tensor>>| {
            let mut gradients = gradients.into_iter();
            let dout = or_zeros(gradients.next().flatten(), &like)?;
            let dlast: Vec<Option<Tensor>> = gradients.collect();
            let mut rooms: Vec<Option<Vec<T>>> = saved
                .iter()
                .enumerate()
                // States before the first step have their gradients together.
                .map(|(i, t)| room(wanted.wanted(i) || (shape.initial && i + 4 >= saved.len()), t.elem_count()))
                .collect();
            {
                let dout = numbers::<T>(OP, &dout)?;
                let dlast: Option<Vec<Vec<T>>> = dlast.iter().any(Option::is_some).then(|| owned(&dlast, &carried)).transpose()?;
                let dlast = dlast.as_deref().and_then(|d| match d {
                    [angle, state, key, value] => Some(States { angle, state, key, value }),
                    _ => None,
                });
                shape.with(&saved, |scan, inputs, initial| {
                    let mut rooms = rooms.iter_mut().map(Option::as_deref_mut);
                    let mut next = |there: bool| if there { rooms.next().flatten() } else { None };
                    let (q, k, x, log_decay, dt) = (next(true), next(true), next(true), next(true), next(true));
                    let (trap, angles, q_bias, k_bias) = (next(true), next(true), next(true), next(true));
                    let (z, skip) = (next(shape.z), next(shape.skip));
                    let (mix_x, mix_z, mix_out) = (next(shape.mixes), next(shape.mixes), next(shape.mixes));
                    let norm = next(shape.norm.is_some());
                    let first = [next(shape.initial), next(shape.initial), next(shape.initial), next(shape.initial)];
                    let before = match first {
                        [Some(angle), Some(state), Some(key), Some(value)] => Some(StatesMut { angle, state, key, value }),
                        _ => None,
                    };
                    let to = Gradients {
                        q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, initial: before,
                    };
                    scan.backward(inputs, initial, &dout, dlast, to);
                })?;
            }
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(r, t)).collect()
        });
        let mut values = values.into_iter();
        match (values.next(), values.next(), values.next(), values.next(), values.next()) {
            (Some(out), Some(angle), Some(state), Some(key), Some(value)) => {
                Ok((out, Mamba3States { angle, state, key, value }))
            }
            _ => bail!("{OP}: five outputs expected"),
        }
    })
}

fn states_mut<T>(of: &mut [Vec<T>; 4]) -> StatesMut<'_, T> {
    let [angle, state, key, value] = of;
    StatesMut { angle, state, key, value }
}

/// Gradients of the last states, zeros where none came.
fn owned<T: Element>(of: &[Option<Tensor>], dims: &[Vec<usize>; 4]) -> Result<Vec<Vec<T>>> {
    of.iter()
        .zip(dims)
        .map(|(g, dims)| match g {
            Some(g) => Ok(numbers::<T>(OP, &g.contiguous()?)?.to_vec()),
            None => Ok(vec![<T as crate::kernels::simd::Real>::ZERO; dims.iter().product()]),
        })
        .collect()
}
