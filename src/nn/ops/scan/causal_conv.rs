//! The causal convolution on the tape.

use super::{expect, gradient, or_zeros, pair, room, same_type, steps_of};
use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::causal_conv::{self, CausalConv};
use crate::nn::storage::{Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record_many};
use candle_core::{Result, Tensor, bail};

/// Causal depthwise convolution over the steps, with SiLU if wanted; gives the result and the rows to carry on.
///
/// Shapes: `x` and result (batch, steps, channels), `weight` (channels, taps) with the step's own tap last, `bias` (channels), `before`
/// and the rows carried on (batch, taps − 1, channels), oldest first. Cost and source: see [`CausalConv`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn causal_conv(
    x: &Value,
    weight: &Value,
    bias: Option<&Value>,
    before: Option<&Value>,
    silu: bool,
) -> Result<(Value, Value)> {
    const OP: &str = "causal_conv";
    let [b, l, d] = steps_of(OP, x)?;
    let taps = match *weight.dims() {
        [c, k] if c == d && (1..=causal_conv::MOST_TAPS).contains(&k) => k,
        _ => bail!("{OP}: the weight has shape {:?}, expected ({d}, 1 to {})", weight.dims(), causal_conv::MOST_TAPS),
    };
    let carried = [b, taps - 1, d];
    bias.map_or(Ok(()), |v| expect(OP, "the bias", v, &[d]))?;
    before.map_or(Ok(()), |v| expect(OP, "what is carried in", v, &carried))?;
    let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).chain(before).collect();
    same_type(OP, &inputs)?;
    let (has_bias, has_before) = (bias.is_some(), before.is_some());
    let saved: Vec<Tensor> = inputs.iter().map(|v| v.tensor().contiguous()).collect::<Result<_>>()?;
    let sequences = Sequences::Equal { count: b, len: l };
    by_float!(OP, saved[0], T => {
        let (mut y, mut after) = (output::<T>(b * l * d), output::<T>(carried.iter().product()));
        {
            let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers(OP, t)).collect::<Result<_>>()?;
            let bias = has_bias.then(|| &held[2][..]);
            let before = has_before.then(|| &held[2 + usize::from(has_bias)][..]);
            let conv = CausalConv { sequences, channels: d, taps, weight: &held[1], bias, silu };
            conv.forward(&held[0], before, &mut y, Some(&mut after));
        }
        let (y, after) = (tensor(y, &[b, l, d])?, tensor(after, &carried)?);
        let like = y.clone();
        pair(OP, record_many(&inputs, vec![y, after], |wanted| move |gradients: Vec<Option<Tensor>>| {
            let mut gradients = gradients.into_iter();
            let dy = or_zeros(gradients.next().flatten(), &like)?;
            let dafter = gradients.next().flatten().map(|g| g.contiguous()).transpose()?;
            let mut rooms: Vec<Option<Vec<T>>> =
                saved.iter().enumerate().map(|(i, t)| room(wanted.wanted(i), t.elem_count())).collect();
            {
                let held: Vec<Numbers<'_, T>> = saved.iter().map(|t| numbers(OP, t)).collect::<Result<_>>()?;
                let bias = has_bias.then(|| &held[2][..]);
                let before = has_before.then(|| &held[2 + usize::from(has_bias)][..]);
                let conv = CausalConv { sequences, channels: d, taps, weight: &held[1], bias, silu };
                let dafter = dafter.as_ref().map(|g| numbers::<T>(OP, g)).transpose()?;
                let mut rooms = rooms.iter_mut().map(Option::as_deref_mut);
                let mut next = || rooms.next().flatten();
                let to = causal_conv::Gradients {
                    x: next(),
                    weight: next(),
                    bias: if has_bias { next() } else { None },
                    before: if has_before { next() } else { None },
                };
                conv.backward(&held[0], before, &numbers::<T>(OP, &dy)?, dafter.as_deref(), to);
            }
            rooms.into_iter().zip(&saved).map(|(r, t)| gradient(r, t)).collect()
        }))
    })
}
