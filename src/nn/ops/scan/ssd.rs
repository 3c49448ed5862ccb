//! Mamba-2's scan on the tape.

use super::{expect, gradient, negative_exp, or_zeros, pair, room, same_type};
use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::ssd::{self, Skip, Ssd};
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record_many};
use candle_core::{Result, Tensor, bail};

/// The inputs of [`ssd`](ssd_scan).
#[derive(Clone, Copy)]
pub struct SsdInputs<'a> {
    /// (batch, steps, heads, width).
    pub x: &'a Value,
    /// Step sizes, final, (batch, steps, heads).
    pub dt: &'a Value,
    /// ln(−A), (heads).
    pub a_log: &'a Value,
    /// (batch, steps, groups, states).
    pub b: &'a Value,
    /// As `b`.
    pub c: &'a Value,
    /// D, (heads) or (heads, width).
    pub skip: Option<&'a Value>,
    /// The states before the first step, (batch, heads, width, states).
    pub initial: Option<&'a Value>,
}

/// Calls `work` with the scan on the saved inputs, in the order of [`SsdInputs`]; `a` is A itself.
fn with_ssd<T: Element, R>(
    saved: &[Tensor],
    a: &[T],
    (skip, initial): (bool, bool),
    work: impl FnOnce(&Ssd<'_, T>, &ssd::Inputs<'_, T>, Option<&[T]>) -> R,
) -> Result<R> {
    let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers("ssd", t)).collect::<Result<_>>()?;
    let (batch, steps, heads, width) = saved[0].dims4()?;
    let (_, _, groups, states) = saved[3].dims4()?;
    let per_channel = skip && saved[5].rank() == 2;
    let skip_of = skip.then(|| if per_channel { Skip::Channel(&held[5][..]) } else { Skip::Head(&held[5][..]) });
    let initial = initial.then(|| &held[5 + usize::from(skip)][..]);
    let sequences = Sequences::Equal { count: batch, len: steps };
    let scan = Ssd { sequences, heads, width, groups, states, chunk: Ssd::<T>::CHUNK, a, skip: skip_of };
    Ok(work(&scan, &ssd::Inputs { x: &held[0], dt: &held[1], b: &held[3], c: &held[4] }, initial))
}

/// Mamba-2's scan with A = −exp(`a_log`); gives the result (batch, steps, heads, width) and the states after the last step (batch, heads,
/// width, states).
///
/// Saves the inputs (free). Cost and source: see [`Ssd`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn ssd_scan(x: &SsdInputs<'_>) -> Result<(Value, Value)> {
    const OP: &str = "ssd";
    let [b, l, h, p] = match *x.x.dims() {
        [b, l, h, p] if h > 0 && p > 0 => [b, l, h, p],
        _ => bail!("{OP}: takes (batch, steps, heads, width), got shape {:?}", x.x.dims()),
    };
    let [g, n] = match *x.b.dims() {
        [batch, steps, g, n] if (batch, steps) == (b, l) && g > 0 && n > 0 && h.is_multiple_of(g) => [g, n],
        _ => bail!("{OP}: B has shape {:?}, expected ({b}, {l}, a divisor of {h} heads, states)", x.b.dims()),
    };
    let state = [b, h, p, n];
    expect(OP, "dt", x.dt, &[b, l, h])?;
    expect(OP, "a_log", x.a_log, &[h])?;
    expect(OP, "C", x.c, &[b, l, g, n])?;
    if let Some(skip) = x.skip
        && skip.dims() != [h]
        && skip.dims() != [h, p]
    {
        bail!("{OP}: D has shape {:?}, expected [{h}] or [{h}, {p}]", skip.dims());
    }
    x.initial.map_or(Ok(()), |v| expect(OP, "the first state", v, &state))?;
    let inputs: Vec<&Value> = [x.x, x.dt, x.a_log, x.b, x.c].into_iter().chain(x.skip).chain(x.initial).collect();
    same_type(OP, &inputs)?;
    let given = (x.skip.is_some(), x.initial.is_some());
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    by_float!(OP, saved[0], T => {
        let a: Vec<T> = numbers::<T>(OP, &saved[2])?.iter().map(|v| negative_exp(*v)).collect();
        let (mut y, mut last) = (output::<T>(b * l * h * p), output::<T>(state.iter().product()));
        with_ssd(&saved, &a, given, |scan, inputs, initial| scan.forward(inputs, initial, &mut y, Some(&mut last)))?;
        let (y, last) = (tensor(y, &[b, l, h, p])?, tensor(last, &state)?);
        let like = y.clone();
        pair(OP, record_many(&inputs, vec![y, last], |wanted| move |gradients: Vec<Option<Tensor>>| {
            let mut gradients = gradients.into_iter();
            let dy = or_zeros(gradients.next().flatten(), &like)?;
            let dlast = gradients.next().flatten().map(|g| g.contiguous()).transpose()?;
            let mut rooms: Vec<Option<Vec<T>>> =
                saved.iter().enumerate().map(|(i, t)| room(wanted.wanted(i), t.elem_count())).collect();
            {
                let dy = numbers::<T>(OP, &dy)?;
                let dlast = dlast.as_ref().map(|g| numbers::<T>(OP, g)).transpose()?;
                with_ssd(&saved, &a, given, |scan, inputs, first| {
                    let mut rooms = rooms.iter_mut().map(Option::as_deref_mut);
                    let mut next = |there: bool| if there { rooms.next().flatten() } else { None };
                    let (x, dt, a, b, c) = (next(true), next(true), next(true), next(true), next(true));
                    let (skip, initial) = (next(given.0), next(given.1));
                    scan.backward(inputs, first, &dy, dlast.as_deref(), ssd::Gradients { x, dt, b, c, a, skip, initial });
                })?;
            }
            if let Some(da) = &mut rooms[2] {
                da.iter_mut().zip(&a).for_each(|(g, &a)| *g *= a);
            }
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(r, t)).collect()
        }))
    })
}
