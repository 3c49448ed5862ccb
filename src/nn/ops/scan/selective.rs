//! Mamba's scan on the tape.

use super::{expect, gradient, negative_exp, or_zeros, pair, room, same_type, steps_of};
use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::selective::{Gradients, Inputs, SelectiveScan};
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record_many};
use candle_core::{Result, Tensor, bail};

/// The inputs of [`selective_scan`].
#[derive(Clone, Copy)]
pub struct SelectiveInputs<'a> {
    /// (batch, steps, channels).
    pub u: &'a Value,
    /// δ before its bias and softplus, as `u`.
    pub delta: &'a Value,
    /// ln(−A), (channels, states).
    pub a_log: &'a Value,
    /// (batch, steps, groups, states).
    pub b: &'a Value,
    /// As `b`.
    pub c: &'a Value,
    /// D, (channels).
    pub skip: Option<&'a Value>,
    /// The gate, as `u`.
    pub z: Option<&'a Value>,
    /// (channels).
    pub delta_bias: Option<&'a Value>,
    /// The states before the first step, (batch, channels, states).
    pub initial: Option<&'a Value>,
}

/// Which of the optional inputs there are.
#[derive(Clone, Copy)]
struct Given {
    skip: bool,
    z: bool,
    delta_bias: bool,
    initial: bool,
}

/// Calls `work` with the scan on the saved inputs, in the order of [`SelectiveInputs`]; `a` is A itself.
fn with_selective<T: Element, R>(
    saved: &[Tensor],
    a: &[T],
    given: Given,
    work: impl FnOnce(&SelectiveScan<'_, T>, &Inputs<'_, T>, Option<&[T]>) -> R,
) -> Result<R> {
    let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers("selective_scan", t)).collect::<Result<_>>()?;
    let (batch, steps, channels) = saved[0].dims3()?;
    let (_, _, groups, states) = saved[3].dims4()?;
    let mut rest = held[5..].iter();
    let mut next = |there: bool| if there { rest.next().map(|v| &v[..]) } else { None };
    let (skip, z, delta_bias, initial) = (next(given.skip), next(given.z), next(given.delta_bias), next(given.initial));
    let sequences = Sequences::Equal { count: batch, len: steps };
    let scan = SelectiveScan { sequences, channels, states, groups, a, skip, delta_bias, softplus: true };
    Ok(work(&scan, &Inputs { u: &held[0], delta: &held[1], b: &held[3], c: &held[4], z }, initial))
}

/// Mamba's scan with A = −exp(`a_log`); gives the gated result (batch, steps, channels) and the states after the last step (batch,
/// channels, states).
///
/// Saves the inputs (free) and the states at every 64th step. Cost and source: see [`SelectiveScan`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn selective_scan(x: &SelectiveInputs<'_>) -> Result<(Value, Value)> {
    const OP: &str = "selective_scan";
    let [b, l, d] = steps_of(OP, x.u)?;
    let [g, n] = match *x.b.dims() {
        [batch, steps, g, n] if (batch, steps) == (b, l) && g > 0 && n > 0 && d.is_multiple_of(g) => [g, n],
        _ => bail!("{OP}: B has shape {:?}, expected ({b}, {l}, a divisor of {d} channels, states)", x.b.dims()),
    };
    let state = [b, d, n];
    expect(OP, "delta", x.delta, &[b, l, d])?;
    expect(OP, "a_log", x.a_log, &[d, n])?;
    expect(OP, "C", x.c, &[b, l, g, n])?;
    x.skip.map_or(Ok(()), |v| expect(OP, "D", v, &[d]))?;
    x.z.map_or(Ok(()), |v| expect(OP, "z", v, &[b, l, d]))?;
    x.delta_bias.map_or(Ok(()), |v| expect(OP, "the bias of delta", v, &[d]))?;
    x.initial.map_or(Ok(()), |v| expect(OP, "the first state", v, &state))?;
    let given =
        Given { skip: x.skip.is_some(), z: x.z.is_some(), delta_bias: x.delta_bias.is_some(), initial: x.initial.is_some() };
    let optional = [x.skip, x.z, x.delta_bias, x.initial].into_iter().flatten();
    let inputs: Vec<&Value> = [x.u, x.delta, x.a_log, x.b, x.c].into_iter().chain(optional).collect();
    same_type(OP, &inputs)?;
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    let recorded = inputs.iter().any(|v| v.recorded());
    by_float!(OP, saved[0], T => {
        let a: Vec<T> = numbers::<T>(OP, &saved[2])?.iter().map(|v| negative_exp(*v)).collect();
        let (mut out, mut last) = (output::<T>(b * l * d), output::<T>(b * d * n));
        let starts = with_selective(&saved, &a, given, |scan, inputs, initial| {
            let mut starts = if recorded { output::<T>(scan.starts_len()) } else { Vec::new() };
            scan.forward(inputs, initial, &mut out, Some(&mut last), recorded.then_some(&mut starts));
            starts
        })?;
        let (out, last) = (tensor(out, &[b, l, d])?, tensor(last, &state)?);
        let like = out.clone();
        pair(OP, record_many(&inputs, vec![out, last], |wanted| move |gradients: Vec<Option<Tensor>>| {
            let mut gradients = gradients.into_iter();
            let dout = or_zeros(gradients.next().flatten(), &like)?;
            let dlast = gradients.next().flatten().map(|g| g.contiguous()).transpose()?;
            let mut rooms: Vec<Option<Vec<T>>> =
                saved.iter().enumerate().map(|(i, t)| room(wanted.wanted(i), t.elem_count())).collect();
            {
                let dout = numbers::<T>(OP, &dout)?;
                let dlast = dlast.as_ref().map(|g| numbers::<T>(OP, g)).transpose()?;
                with_selective(&saved, &a, given, |scan, inputs, _| {
                    let mut rooms = rooms.iter_mut().map(Option::as_deref_mut);
                    let mut next = |there: bool| if there { rooms.next().flatten() } else { None };
                    let (u, delta, a, b, c) = (next(true), next(true), next(true), next(true), next(true));
                    let (skip, z) = (next(given.skip), next(given.z));
                    let (delta_bias, initial) = (next(given.delta_bias), next(given.initial));
                    let to = Gradients { u, delta, b, c, z, a, skip, delta_bias, initial };
                    scan.backward(inputs, &starts, &dout, dlast.as_deref(), to);
                })?;
            }
            // dA/da_log = A.
            if let Some(da) = &mut rooms[2] {
                da.iter_mut().zip(&a).for_each(|(g, &a)| *g *= a);
            }
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(r, t)).collect()
        }))
    })
}
