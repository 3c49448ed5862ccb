//! Scans over the steps of a batch: (batch, steps, channels).

use crate::by_float;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::causal_conv::{self, CausalConv};
use crate::kernels::scan::selective::{Gradients, Inputs, SelectiveScan};
use crate::kernels::scan::ssd::{self, Skip, Ssd};
use crate::kernels::simd::Real;
use crate::nn::storage::{Element, Numbers, numbers, output, tensor};
use crate::nn::tape::{Value, record_many};
use candle_core::{Result, Tensor, bail};

/// (batch, steps, width) of a tensor.
fn steps_of(op: &str, x: &Value) -> Result<[usize; 3]> {
    match *x.dims() {
        [b, l, d] if d > 0 => Ok([b, l, d]),
        _ => bail!("{op}: takes (batch, steps, channels), got shape {:?}", x.dims()),
    }
}

/// Checks the shape of an input.
fn expect(op: &str, name: &str, x: &Value, shape: &[usize]) -> Result<()> {
    if x.dims() != shape {
        bail!("{op}: {name} has shape {:?}, expected {shape:?}", x.dims());
    }
    Ok(())
}

fn same_type(op: &str, inputs: &[&Value]) -> Result<()> {
    let dtype = inputs[0].tensor().dtype();
    match inputs.iter().find(|v| v.tensor().dtype() != dtype) {
        Some(other) => bail!("{op}: inputs hold {dtype:?} and {:?} numbers", other.tensor().dtype()),
        None => Ok(()),
    }
}

/// The first of two outputs, and the second.
fn pair(op: &str, outputs: Vec<Value>) -> Result<(Value, Value)> {
    let mut outputs = outputs.into_iter();
    match (outputs.next(), outputs.next()) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => bail!("{op}: two outputs expected"),
    }
}

/// A gradient that may not have come: zeros like `shape`.
fn or_zeros(g: Option<Tensor>, like: &Tensor) -> Result<Tensor> {
    match g {
        Some(g) => g.contiguous(),
        None => like.zeros_like(),
    }
}

/// A from ln(−A).
fn negative_exp<T: Element>(log: T) -> T {
    <T as Real>::from_f64(-Real::to_f64(log).exp())
}

/// Room for a gradient, when somebody wants it.
fn room<T: Element>(wanted: bool, len: usize) -> Option<Vec<T>> {
    wanted.then(|| output(len))
}

fn gradient<T: Element>(data: Option<Vec<T>>, like: &Tensor) -> Result<Option<Tensor>> {
    data.map(|data| tensor(data, like.dims())).transpose()
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::tape::Tape;
    use candle_core::Device;

    fn data(dims: &[usize], phase: f64) -> Tensor {
        let values: Vec<f64> = (0..dims.iter().product()).map(|i| ((i as f64) * 1.7 + phase).sin() * 0.8).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Gradients of Σ wave·output over all outputs of `op`, against central differences.
    fn check(inputs: &[Tensor], op: impl Fn(&[Value]) -> Result<(Value, Value)>) {
        let loss = |values: &[Tensor]| -> f64 {
            let constants: Vec<Value> = values.iter().map(Value::constant).collect();
            let (a, b) = op(&constants).unwrap();
            let sum = |t: &Value, phase: f64| -> f64 {
                flat(t.tensor()).iter().zip(flat(&data(t.dims(), phase))).map(|(a, w)| a * w).sum()
            };
            sum(&a, 0.3) + sum(&b, 0.9)
        };
        let tape = Tape::new();
        let leaves: Vec<Value> = inputs.iter().map(|t| tape.leaf(t)).collect();
        let (a, b) = op(&leaves).unwrap();
        let weigh = |v: &Value, phase: f64| {
            crate::nn::ops::sum_all(&crate::nn::ops::mul(v, &Value::constant(&data(v.dims(), phase))).unwrap()).unwrap()
        };
        let total = crate::nn::ops::add(&weigh(&a, 0.3), &weigh(&b, 0.9)).unwrap();
        let gradients = tape.backward(&total).unwrap();
        for (i, leaf) in leaves.iter().enumerate() {
            let found = flat(gradients.of(leaf).unwrap());
            for k in (0..found.len()).step_by(5) {
                let at = |by: f64| {
                    let mut values = flat(&inputs[i]);
                    values[k] += by;
                    let mut all = inputs.to_vec();
                    all[i] = Tensor::from_vec(values, inputs[i].dims(), &Device::Cpu).unwrap();
                    loss(&all)
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                // Truncation 1e-10 times third derivatives of some tens; rounding 1e-14 over the step.
                assert!(
                    (numeric - found[k]).abs() <= 2e-8 * (1.0 + numeric.abs()),
                    "input {i}, element {k}: {}, not {numeric}",
                    found[k]
                );
            }
        }
    }

    #[test]
    fn gradients_of_the_convolution() {
        let inputs = [data(&[2, 5, 3], 0.0), data(&[3, 4], 1.0), data(&[3], 2.0), data(&[2, 3, 3], 3.0)];
        check(&inputs, |v| causal_conv(&v[0], &v[1], Some(&v[2]), Some(&v[3]), true));
        check(&inputs[..2], |v| causal_conv(&v[0], &v[1], None, None, false));
    }

    #[test]
    fn gradients_of_the_selective_scan() {
        let (b, l, d, g, n) = (2, 4, 4, 2, 3);
        let inputs = [
            data(&[b, l, d], 0.0),
            data(&[b, l, d], 1.0),
            data(&[d, n], 2.0),
            data(&[b, l, g, n], 3.0),
            data(&[b, l, g, n], 4.0),
            data(&[d], 5.0),
            data(&[b, l, d], 6.0),
            data(&[d], 7.0),
            data(&[b, d, n], 8.0),
        ];
        let all = |v: &[Value]| {
            let [u, delta, a_log, b, c] = [0, 1, 2, 3, 4].map(|i| v[i].clone());
            let rest = v.get(5..9);
            let at = |i: usize| rest.map(|r| &r[i]);
            selective_scan(&SelectiveInputs {
                u: &u,
                delta: &delta,
                a_log: &a_log,
                b: &b,
                c: &c,
                skip: at(0),
                z: at(1),
                delta_bias: at(2),
                initial: at(3),
            })
        };
        check(&inputs, all);
        check(&inputs[..5], all);
    }

    #[test]
    fn gradients_of_ssd() {
        let (b, l, h, p, g, n) = (2, 5, 4, 3, 2, 2);
        let steps = (data(&[b, l, h], 1.0) + 1.0).unwrap();
        for skip in [vec![h], vec![h, p]] {
            let inputs = [
                data(&[b, l, h, p], 0.0),
                steps.clone(),
                data(&[h], 2.0),
                data(&[b, l, g, n], 3.0),
                data(&[b, l, g, n], 4.0),
                data(&skip, 5.0),
                data(&[b, h, p, n], 6.0),
            ];
            check(&inputs, |v| {
                let (skip, initial) = (Some(&v[5]), Some(&v[6]));
                ssd_scan(&SsdInputs { x: &v[0], dt: &v[1], a_log: &v[2], b: &v[3], c: &v[4], skip, initial })
            });
        }
    }

    #[test]
    fn misfits_are_errors_with_both_shapes() {
        let v = |dims: &[usize]| Value::constant(&data(dims, 0.0));
        let e = causal_conv(&v(&[2, 5, 3]), &v(&[4, 4]), None, None, true).err().unwrap().to_string();
        assert!(e.contains("[4, 4]"), "{e}");
        let (x, c) = (v(&[2, 5, 4]), v(&[2, 5, 1, 3]));
        let bare = SelectiveInputs {
            u: &x,
            delta: &x,
            a_log: &v(&[4, 3]),
            b: &c,
            c: &c,
            skip: None,
            z: None,
            delta_bias: None,
            initial: None,
        };
        assert!(selective_scan(&bare).is_ok());
        assert!(selective_scan(&SelectiveInputs { a_log: &v(&[4, 2]), ..bare }).is_err());
        assert!(selective_scan(&SelectiveInputs { initial: Some(&v(&[2, 4, 2])), ..bare }).is_err());
    }
}
