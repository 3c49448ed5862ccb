//! causal-conv1d.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, exchange, from_halves, from_single, halves, narrow, needed,
    optional, sequences, single, wave, wide,
};
use crate::kernels::device::{self, DeviceError, Executor};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::causal_conv::{CausalConv, Gradients, MOST_TAPS, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "causal-conv1d",
    about: "causal depthwise convolution over time, then SiLU",
    source: "Gu & Dao 2023, Mamba",
    inputs: &[
        needed("x", "b d l"),
        needed("weight", "d k"),
        optional("bias", "d"),
        optional("initial_state", "b d k-1"),
        optional("cu_seqlens", "sequences+1"),
    ],
    outputs: &[needed("y", "b d l"), needed("final_state", "b d k-1")],
    upstream: &[needed("dy", "b d l"), optional("dfinal_state", "b d k-1")],
    activation: true,
    chunked: false,
    on_device: [Some(forward_on), Some(backward_on)],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 1), ("d", 1536), ("l", 2048), ("k", 4)],
    timing,
    bf16: Some(timing_bf16),
};

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let (shape, x) = request.get::<T>("x")?;
    let [b, d, l] = axes("x", &shape, "batch, channels, steps")?;
    let (shape, weight) = request.get::<T>("weight")?;
    let [width, k] = axes("weight", &shape, "channels, taps")?;
    if width != d || !(1..=MOST_TAPS).contains(&k) || d == 0 {
        return Err(format!("array \"weight\" has shape {shape:?}, expected ({d}, 1 to {MOST_TAPS})"));
    }
    let bias = request.shaped::<T>("bias", &[d])?;
    let bounds = request.bounds(b, b * l)?;
    let sequences = sequences(&bounds, b, l);
    let count = sequences.count();
    let state = [count, d, k - 1];
    let rows = exchange(&x, d, l);
    let before = request.shaped::<T>("initial_state", &state)?.map(|s| exchange(&s, d, (k - 1).max(1)));
    let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: bias.as_deref(), silu: !request.linear };
    let mut out = Arrays::default();
    let (mut y, mut after) = (vec![T::ZERO; x.len()], vec![T::ZERO; conv.carried_len()]);
    match request.engine {
        Engine::Scan => conv.forward(&rows, before.as_deref(), &mut y, Some(&mut after)),
        Engine::Step => {
            if let Some(before) = &before {
                after.copy_from_slice(before);
            }
            steps(&conv, (&rows, &mut after, &mut y), |x, state, y| conv.step(x, state, y));
        }
        Engine::Device => {
            let (weight, bias, x) = (single(&weight), bias.as_deref().map(single), single(&rows));
            let conv = conv_of(&conv, &weight, bias.as_deref());
            let (mut to, mut carried) = (vec![0f32; y.len()], vec![0f32; after.len()]);
            let before = before.as_deref().map(single);
            request
                .on_device(|device| device::conv::forward(device, &conv, &x, before.as_deref(), &mut to, Some(&mut carried)))?;
            (y, after) = (from_single(to), from_single(carried));
        }
        Engine::Half => {
            let (weight, bias) = (single(&weight), bias.as_deref().map(single));
            let conv = conv_of(&conv, &weight, bias.as_deref());
            let (mut to, mut carried) = (vec![0; y.len()], vec![0f32; after.len()]);
            let before = before.as_deref().map(single);
            conv.forward_bf16(&halves(&rows), before.as_deref(), &mut to, Some(&mut carried));
            (y, after) = (from_halves(to), from_single(carried));
        }
        Engine::HalfStep => {
            let (weight, bias) = (single(&weight), bias.as_deref().map(single));
            let one = conv_of(&conv, &weight, bias.as_deref());
            let (mut to, mut carried) = (vec![0; y.len()], single(before.as_ref().unwrap_or(&after)));
            steps(&one, (&halves(&rows), &mut carried, &mut to), |x, state, y| one.step_bf16(x, state, y));
            (y, after) = (from_halves(to), from_single(carried));
        }
        Engine::Reference => {
            let (exact, carried) =
                with_doubles(&conv, |conv| reference::forward(conv, &wide(&rows), before.as_deref().map(wide).as_deref()));
            (y, after) = (narrow(exact), narrow(carried));
        }
    }
    out.push("y", array(&[b, d, l], exchange(&y, l, d)));
    out.push("final_state", array(&state, exchange(&after, (k - 1).max(1), d)));
    if !request.gradients {
        return Ok(out);
    }
    let dy = exchange(&request.exactly::<T>("dy", &[b, d, l])?, d, l);
    let dafter = request.shaped::<T>("dfinal_state", &state)?.map(|s| exchange(&s, d, (k - 1).max(1)));
    let zeros = |len: usize| vec![T::ZERO; len];
    let (mut dx, mut dw, mut db, mut dbefore) = (zeros(x.len()), zeros(weight.len()), zeros(d), zeros(after.len()));
    if request.engine == Engine::Reference {
        let [x, w, b, first] = with_doubles(&conv, |conv| {
            reference::backward(
                conv,
                &wide(&rows),
                before.as_deref().map(wide).as_deref(),
                &wide(&dy),
                dafter.as_deref().map(wide).as_deref(),
            )
        });
        (dx, dw, db, dbefore) = (narrow(x), narrow(w), narrow(b), narrow(first));
    } else if request.engine == Engine::Device {
        let (weight, bias, x) = (single(&weight), bias.as_deref().map(single), single(&rows));
        let conv = conv_of(&conv, &weight, bias.as_deref());
        let mut parts = [dx.len(), dw.len(), db.len(), dbefore.len()].map(|len| vec![0f32; len]);
        let (before, dafter, dy) = (before.as_deref().map(single), dafter.as_deref().map(single), single(&dy));
        {
            let [x_to, weight_to, bias_to, before_to] = &mut parts;
            let to = Gradients {
                x: Some(x_to),
                weight: Some(weight_to),
                bias: bias.is_some().then_some(&mut bias_to[..]),
                before: Some(before_to),
            };
            request
                .on_device(|device| device::conv::backward(device, &conv, &x, before.as_deref(), &dy, dafter.as_deref(), to))?;
        }
        [dx, dw, db, dbefore] = parts.map(from_single);
    } else if request.engine.is_half() {
        let (weight, bias) = (single(&weight), bias.as_deref().map(single));
        let conv = conv_of(&conv, &weight, bias.as_deref());
        let (before, dafter) = (before.as_deref().map(single), dafter.as_deref().map(single));
        let mut bits = vec![0; dx.len()];
        let mut parts = [dw.len(), db.len(), dbefore.len()].map(|len| vec![0f32; len]);
        let [weight_to, bias_to, before_to] = &mut parts;
        let to =
            Gradients { x: Some(&mut bits[..]), weight: Some(&mut weight_to[..]), bias: Some(bias_to), before: Some(before_to) };
        conv.backward_bf16(&halves(&rows), before.as_deref(), &halves(&dy), dafter.as_deref(), to);
        dx = from_halves(bits);
        [dw, db, dbefore] = parts.map(from_single);
    } else {
        let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db), before: Some(&mut dbefore) };
        conv.backward(&rows, before.as_deref(), &dy, dafter.as_deref(), to);
    }
    out.push("g_x", array(&[b, d, l], exchange(&dx, l, d)));
    out.push("g_weight", array(&[d, k], dw));
    if bias.is_some() {
        out.push("g_bias", array(&[d], db));
    }
    out.push("g_initial_state", array(&state, exchange(&dbefore, (k - 1).max(1), d)));
    Ok(out)
}

/// Goes through the rows one by one: x, what is carried, y.
fn steps<T, S>(conv: &CausalConv<'_, T>, (x, carried, y): (&[S], &mut [T], &mut [S]), step: impl Fn(&[S], &mut [T], &mut [S])) {
    let (d, each) = (conv.channels, (conv.taps - 1) * conv.channels);
    for (i, range) in conv.sequences.iter().enumerate() {
        for row in range {
            let place = row * d..(row + 1) * d;
            step(&x[place.clone()], &mut carried[i * each..(i + 1) * each], &mut y[place]);
        }
    }
}

/// The same convolution with other numbers.
fn conv_of<'a, T: Real, U>(of: &CausalConv<'a, T>, weight: &'a [U], bias: Option<&'a [U]>) -> CausalConv<'a, U> {
    let CausalConv { sequences, channels, taps, silu, .. } = *of;
    CausalConv { sequences, channels, taps, weight, bias, silu }
}

fn with_doubles<T: Real, R>(conv: &CausalConv<'_, T>, work: impl FnOnce(&CausalConv<'_, f64>) -> R) -> R {
    let (weight, bias) = (wide(conv.weight), conv.bias.map(wide));
    let CausalConv { sequences, channels, taps, silu, .. } = *conv;
    work(&CausalConv { sequences, channels, taps, weight: &weight, bias: bias.as_deref(), silu })
}

fn timing(size: SizeOf<'_>) -> Timing {
    let (b, d, l, k) = (size("b"), size("d"), size("l"), size("k"));
    let data = move || (wave(b * l * d, 1.0, 0.0), wave(d * k, 0.5, 0.0), wave(d, 0.5, 0.0), vec![0f32; b * l * d]);
    let (x, weight, bias, mut y) = data();
    let forward = move || {
        let sequences = Sequences::Equal { count: b, len: l };
        let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
        conv.forward(&x, None, &mut y, None);
    };
    let (x, weight, bias, mut dx) = data();
    let (mut dw, mut db) = (weight.clone(), bias.clone());
    let backward = move || {
        let sequences = Sequences::Equal { count: b, len: l };
        let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
        let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db), before: None };
        conv.backward(&x, None, &x, None, to);
    };
    let [bytes, flops] = counts(b * d * l, k);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes, flops }
}

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (b, d, l, k) = (size("b"), size("d"), size("l"), size("k"));
    let (x, weight, bias) = (wave(b * l * d, 1.0, 0.0), wave(d * k, 0.5, 0.0), wave(d, 0.5, 0.0));
    let sequences = Sequences::Equal { count: b, len: l };
    let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
    device::conv::forward(device, &conv, &x, None, &mut vec![0.0; x.len()], None)
}

fn backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (b, d, l, k) = (size("b"), size("d"), size("l"), size("k"));
    let (x, weight, bias) = (wave(b * l * d, 1.0, 0.0), wave(d * k, 0.5, 0.0), wave(d, 0.5, 0.0));
    let sequences = Sequences::Equal { count: b, len: l };
    let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; d]);
    let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db), before: None };
    device::conv::backward(device, &conv, &x, None, &x, None, to)
}

/// Bytes in f32 and operations, forward and backward.
fn counts(elements: usize, taps: usize) -> [[f64; 2]; 2] {
    let elements = elements as f64;
    // Taps, and a handful for SiLU; backward the same again, dx and dw.
    [[8.0 * elements, 12.0 * elements], [elements * (2 * taps + 4) as f64, elements * (6 * taps + 8) as f64]]
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let (b, d, l, k) = (size("b"), size("d"), size("l"), size("k"));
    let data = move || (halves(&wave(b * l * d, 1.0, 0.0)), wave(d * k, 0.5, 0.0), wave(d, 0.5, 0.0), vec![0u16; b * l * d]);
    let (x, weight, bias, mut y) = data();
    let forward = move || {
        let sequences = Sequences::Equal { count: b, len: l };
        let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
        conv.forward_bf16(&x, None, &mut y, None);
    };
    let (x, weight, bias, mut dx) = data();
    let (mut dw, mut db) = (weight.clone(), bias.clone());
    let backward = move || {
        let sequences = Sequences::Equal { count: b, len: l };
        let conv = CausalConv { sequences, channels: d, taps: k, weight: &weight, bias: Some(&bias), silu: true };
        let to = Gradients { x: Some(&mut dx[..]), weight: Some(&mut dw[..]), bias: Some(&mut db), before: None };
        conv.backward_bf16(&x, None, &x, None, to);
    };
    let [bytes, flops] = counts(b * d * l, k);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes: bytes.map(|n| n / 2.0), flops }
}
