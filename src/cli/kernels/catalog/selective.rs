//! selective-scan.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, exchange, from_halves, from_single, half, halves, narrow, needed,
    optional, sequences, single, wave, wide,
};
use crate::kernels::device::selective::OnDevice;
use crate::kernels::device::{DeviceError, Executor};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::selective::{Gradients, Inputs, SelectiveScan, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "selective-scan",
    about: "Mamba's scan with softplus steps, gated by SiLU of z",
    source: "Gu & Dao 2023, Mamba",
    inputs: &[
        needed("u", "b d l"),
        needed("delta", "b d l"),
        needed("A", "d n"),
        needed("B", "b g n l"),
        needed("C", "b g n l"),
        optional("D", "d"),
        optional("z", "b d l"),
        optional("delta_bias", "d"),
        optional("h0", "b d n"),
        optional("cu_seqlens", "sequences+1"),
    ],
    outputs: &[needed("out", "b d l"), needed("last_state", "b d n")],
    upstream: &[needed("dout", "b d l"), optional("dlast_state", "b d n")],
    activation: false,
    chunked: false,
    on_device: [Some(forward_on), Some(backward_on)],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 1), ("d", 1536), ("l", 2048), ("n", 16), ("g", 1)],
    timing,
    bf16: Some(timing_bf16),
};

/// The inputs in the kernel's order of axes.
struct Owned<T> {
    u: Vec<T>,
    delta: Vec<T>,
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    skip: Option<Vec<T>>,
    z: Option<Vec<T>>,
    bias: Option<Vec<T>>,
    first: Option<Vec<T>>,
}

impl<T> Owned<T> {
    fn inputs(&self) -> Inputs<'_, T> {
        Inputs { u: &self.u, delta: &self.delta, b: &self.b, c: &self.c, z: self.z.as_deref() }
    }

    /// All numbers in another form.
    fn map<U>(&self, of: impl Fn(&T) -> U) -> Owned<U> {
        let all = |x: &Vec<T>| -> Vec<U> { x.iter().map(&of).collect() };
        Owned {
            u: all(&self.u),
            delta: all(&self.delta),
            a: all(&self.a),
            b: all(&self.b),
            c: all(&self.c),
            skip: self.skip.as_ref().map(all),
            z: self.z.as_ref().map(all),
            bias: self.bias.as_ref().map(all),
            first: self.first.as_ref().map(all),
        }
    }
}

impl<T: Real> Owned<T> {
    fn scan<'a>(&'a self, sequences: Sequences<'a>, [d, n, g]: [usize; 3]) -> SelectiveScan<'a, T> {
        SelectiveScan {
            sequences,
            channels: d,
            states: n,
            groups: g,
            a: &self.a,
            skip: self.skip.as_deref(),
            delta_bias: self.bias.as_deref(),
            softplus: true,
        }
    }

    fn to<U: Real>(&self) -> Owned<U> {
        self.map(|v| U::from_f64(v.to_f64()))
    }
}

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let (shape, u) = request.get::<T>("u")?;
    let [b, d, l] = axes("u", &shape, "batch, channels, steps")?;
    let (shape, a) = request.get::<T>("A")?;
    let [channels, n] = axes("A", &shape, "channels, states")?;
    if channels != d || d == 0 || n == 0 {
        return Err(format!("array \"A\" has shape {shape:?}, expected ({d}, states)"));
    }
    let [_, g, ..] = axes::<4>("B", request.shape("B")?, "batch, groups, states, steps")?;
    if g == 0 || !d.is_multiple_of(g) {
        return Err(format!("array \"B\" has {g} groups, which do not divide {d} channels"));
    }
    let bounds = request.bounds(b, b * l)?;
    let sequences = sequences(&bounds, b, l);
    let state = [sequences.count(), d, n];
    let rows = |x: Vec<T>| exchange(&x, d, l);
    let couplings = |name: &str| Ok::<_, String>(exchange(&request.exactly::<T>(name, &[b, g, n, l])?, g * n, l));
    let owned = Owned {
        u: rows(u),
        delta: rows(request.exactly("delta", &[b, d, l])?),
        a,
        b: couplings("B")?,
        c: couplings("C")?,
        skip: request.shaped("D", &[d])?,
        z: request.shaped("z", &[b, d, l])?.map(rows),
        bias: request.shaped("delta_bias", &[d])?,
        first: request.shaped("h0", &state)?,
    };
    let scan = owned.scan(sequences, [d, n, g]);
    let x = owned.inputs();
    let zeros = |len: usize| vec![T::ZERO; len];
    let (mut out, mut last) = (zeros(b * d * l), zeros(scan.state_len()));
    let mut starts = zeros(if request.gradients { scan.starts_len() } else { 0 });
    let exactly = owned.to::<f64>();
    match request.engine {
        Engine::Scan => {
            scan.forward(&x, owned.first.as_deref(), &mut out, Some(&mut last), request.gradients.then_some(&mut starts))
        }
        Engine::Step => {
            if let Some(first) = &owned.first {
                last.copy_from_slice(first);
            }
            steps(&scan, (&x, &mut last, &mut out), |x, state, out| scan.step(x, state, out));
        }
        Engine::HalfStep => {
            let (one, rows) = (owned.to::<f32>(), owned.map(half));
            let scan = one.scan(sequences, [d, n, g]);
            let mut bits = vec![0; out.len()];
            let mut states = one.first.clone().unwrap_or_else(|| vec![0.0; last.len()]);
            steps(&scan, (&rows.inputs(), &mut states, &mut bits), |x, state, out| scan.step_bf16(x, state, out));
            (out, last) = (from_halves(bits), from_single(states));
        }
        Engine::Device => {
            let single = owned.to::<f32>();
            let mut parts = [out.len(), last.len(), starts.len()].map(|len| vec![0f32; len]);
            {
                let [out, last, starts] = &mut parts;
                let (scan, x) = (single.scan(sequences, [d, n, g]), single.inputs());
                let starts = request.gradients.then_some(&mut starts[..]);
                request.on_device(|device| {
                    OnDevice::new(device).forward(&scan, &x, single.first.as_deref(), out, Some(last), starts)
                })?;
            }
            [out, last, starts] = parts.map(from_single);
        }
        Engine::Half => {
            let (one, rows) = (owned.to::<f32>(), owned.map(half));
            let mut bits = vec![0; out.len()];
            let mut parts = [last.len(), starts.len()].map(|len| vec![0f32; len]);
            {
                let [last, starts] = &mut parts;
                let starts = request.gradients.then_some(&mut starts[..]);
                let scan = one.scan(sequences, [d, n, g]);
                scan.forward_bf16(&rows.inputs(), one.first.as_deref(), &mut bits, Some(last), starts);
            }
            out = from_halves(bits);
            [last, starts] = parts.map(from_single);
        }
        Engine::Reference => {
            let exact = reference::forward(&exactly.scan(sequences, [d, n, g]), &exactly.inputs(), exactly.first.as_deref());
            (out, last) = (narrow(exact.out), narrow(exact.last));
        }
    }
    let mut to = Arrays::default();
    to.push("out", array(&[b, d, l], exchange(&out, l, d)));
    to.push("last_state", array(&state, last));
    if !request.gradients {
        return Ok(to);
    }
    let dout = rows(request.exactly("dout", &[b, d, l])?);
    let dlast = request.shaped::<T>("dlast_state", &state)?;
    let (mut du, mut ddelta, mut dz) = (zeros(out.len()), zeros(out.len()), zeros(owned.z.as_ref().map_or(0, Vec::len)));
    let (mut db, mut dc, mut da) = (zeros(owned.b.len()), zeros(owned.c.len()), zeros(d * n));
    let (mut dskip, mut dbias) = (zeros(owned.skip.as_ref().map_or(0, Vec::len)), zeros(owned.bias.as_ref().map_or(0, Vec::len)));
    let mut dfirst = zeros(scan.state_len());
    if request.engine == Engine::Reference {
        let all = reference::backward(
            &exactly.scan(sequences, [d, n, g]),
            &exactly.inputs(),
            exactly.first.as_deref(),
            &wide(&dout),
            dlast.as_deref().map(wide).as_deref(),
        );
        (du, ddelta, dz, db, dc) = (narrow(all.u), narrow(all.delta), narrow(all.z), narrow(all.b), narrow(all.c));
        (da, dskip, dbias, dfirst) = (narrow(all.a), narrow(all.skip), narrow(all.delta_bias), narrow(all.initial));
    } else if request.engine == Engine::Device {
        let one = owned.to::<f32>();
        let all = [&du, &ddelta, &db, &dc, &dz, &da, &dskip, &dbias, &dfirst];
        let mut parts = all.map(|v| vec![0f32; v.len()]);
        {
            let [u, delta, b, c, z, a, skip, bias, first] = &mut parts;
            let gradients = Gradients {
                u: Some(u),
                delta: Some(delta),
                b: Some(b),
                c: Some(c),
                z: one.z.is_some().then_some(&mut z[..]),
                a: Some(a),
                skip: one.skip.is_some().then_some(&mut skip[..]),
                delta_bias: one.bias.is_some().then_some(&mut bias[..]),
                initial: Some(first),
            };
            let (scan, x) = (one.scan(sequences, [d, n, g]), one.inputs());
            let (starts, dout, dlast) = (single(&starts), single(&dout), dlast.as_deref().map(single));
            request.on_device(|device| OnDevice::new(device).backward(&scan, &x, &starts, &dout, dlast.as_deref(), gradients))?;
        }
        [du, ddelta, db, dc, dz, da, dskip, dbias, dfirst] = parts.map(from_single);
    } else if request.engine.is_half() {
        let (one, rows) = (owned.to::<f32>(), owned.map(half));
        let mut bits = [&du, &ddelta, &db, &dc, &dz].map(|v| vec![0; v.len()]);
        let mut parts = [&da, &dskip, &dbias, &dfirst].map(|v| vec![0f32; v.len()]);
        {
            let ([u, delta, b, c, z], [a, skip, bias, first]) = (&mut bits, &mut parts);
            let gradients = Gradients {
                u: Some(&mut u[..]),
                delta: Some(delta),
                b: Some(b),
                c: Some(c),
                z: one.z.is_some().then_some(&mut z[..]),
                a: Some(&mut a[..]),
                skip: one.skip.is_some().then_some(&mut skip[..]),
                delta_bias: one.bias.is_some().then_some(&mut bias[..]),
                initial: Some(first),
            };
            let (mut starts, dlast) = (single(&starts), dlast.as_deref().map(single));
            let scan = one.scan(sequences, [d, n, g]);
            if request.engine == Engine::HalfStep {
                scan.forward_bf16(&rows.inputs(), one.first.as_deref(), &mut vec![0; out.len()], None, Some(&mut starts));
            }
            scan.backward_bf16(&rows.inputs(), &starts, &halves(&dout), dlast.as_deref(), gradients);
        }
        [du, ddelta, db, dc, dz] = bits.map(from_halves);
        [da, dskip, dbias, dfirst] = parts.map(from_single);
    } else {
        if request.engine == Engine::Step {
            scan.forward(&x, owned.first.as_deref(), &mut out, None, Some(&mut starts));
        }
        let gradients = Gradients {
            u: Some(&mut du),
            delta: Some(&mut ddelta),
            b: Some(&mut db),
            c: Some(&mut dc),
            z: owned.z.is_some().then_some(&mut dz),
            a: Some(&mut da),
            skip: owned.skip.is_some().then_some(&mut dskip),
            delta_bias: owned.bias.is_some().then_some(&mut dbias),
            initial: Some(&mut dfirst),
        };
        scan.backward(&x, &starts, &dout, dlast.as_deref(), gradients);
    }
    to.push("g_u", array(&[b, d, l], exchange(&du, l, d)));
    to.push("g_delta", array(&[b, d, l], exchange(&ddelta, l, d)));
    to.push("g_A", array(&[d, n], da));
    to.push("g_B", array(&[b, g, n, l], exchange(&db, l, g * n)));
    to.push("g_C", array(&[b, g, n, l], exchange(&dc, l, g * n)));
    if owned.skip.is_some() {
        to.push("g_D", array(&[d], dskip));
    }
    if owned.z.is_some() {
        to.push("g_z", array(&[b, d, l], exchange(&dz, l, d)));
    }
    if owned.bias.is_some() {
        to.push("g_delta_bias", array(&[d], dbias));
    }
    to.push("g_h0", array(&state, dfirst));
    Ok(to)
}

/// Goes through the rows one by one: inputs, states, results.
fn steps<T: Real, S>(
    scan: &SelectiveScan<'_, T>,
    (x, states, out): (&Inputs<'_, S>, &mut [T], &mut [S]),
    step: impl Fn(&Inputs<'_, S>, &mut [T], &mut [S]),
) {
    let (d, shared, each) = (scan.channels, scan.groups * scan.states, scan.channels * scan.states);
    for (i, range) in scan.sequences.iter().enumerate() {
        for row in range {
            let (line, couplings) = (row * d..(row + 1) * d, row * shared..(row + 1) * shared);
            let one = Inputs {
                u: &x.u[line.clone()],
                delta: &x.delta[line.clone()],
                b: &x.b[couplings.clone()],
                c: &x.c[couplings],
                z: x.z.map(|z| &z[line.clone()]),
            };
            step(&one, &mut states[i * each..(i + 1) * each], &mut out[line]);
        }
    }
}

/// Made-up inputs: batch, channels, steps, states, groups.
fn made_up([b, d, l, n, g]: [usize; 5]) -> Owned<f32> {
    Owned {
        u: wave(b * l * d, 1.0, 0.0),
        delta: wave(b * l * d, 1.0, 0.0),
        a: (0..d * n).map(|i| -1.3 - (i % n) as f32).collect(),
        b: wave(b * l * g * n, 1.0, 0.0),
        c: wave(b * l * g * n, 1.0, 0.0),
        skip: Some(wave(d, 1.0, 0.0)),
        z: Some(wave(b * l * d, 1.0, 0.0)),
        bias: Some(wave(d, 0.5, -1.0)),
        first: None,
    }
}

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let sizes = ["b", "d", "l", "n", "g"].map(size);
    let [b, d, l, n, g] = sizes;
    let owned = made_up(sizes);
    let scan = owned.scan(Sequences::Equal { count: b, len: l }, [d, n, g]);
    OnDevice::new(device).forward(&scan, &owned.inputs(), None, &mut vec![0.0; owned.u.len()], None, None)
}

fn backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let sizes = ["b", "d", "l", "n", "g"].map(size);
    let [b, d, l, n, g] = sizes;
    let owned = made_up(sizes);
    let scan = owned.scan(Sequences::Equal { count: b, len: l }, [d, n, g]);
    let mut starts = vec![0f32; scan.starts_len()];
    scan.forward(&owned.inputs(), None, &mut vec![0.0; owned.u.len()], None, Some(&mut starts));
    let Owned { mut u, mut delta, mut a, mut b, mut c, z, skip, bias, .. } = made_up(sizes);
    let (mut z, mut skip, mut bias) = (z.unwrap_or_default(), skip.unwrap_or_default(), bias.unwrap_or_default());
    let gradients = Gradients {
        u: Some(&mut u),
        delta: Some(&mut delta),
        b: Some(&mut b),
        c: Some(&mut c),
        z: Some(&mut z),
        a: Some(&mut a),
        skip: Some(&mut skip),
        delta_bias: Some(&mut bias),
        initial: None,
    };
    OnDevice::new(device).backward(&scan, &owned.inputs(), &starts, &owned.u, None, gradients)
}

fn timing(size: SizeOf<'_>) -> Timing {
    let sizes = ["b", "d", "l", "n", "g"].map(size);
    let [b, d, l, n, g] = sizes;
    let data = move || made_up(sizes);
    let sequences = Sequences::Equal { count: b, len: l };
    let owned = data();
    let mut out = vec![0f32; b * l * d];
    let mut starts = vec![0f32; owned.scan(sequences, [d, n, g]).starts_len()];
    let kept = data();
    let mut kept_starts = starts.clone();
    kept.scan(sequences, [d, n, g]).forward(&kept.inputs(), None, &mut out, None, Some(&mut kept_starts));
    let (mut du, mut ddelta, mut dz, dout) = (out.clone(), out.clone(), out.clone(), out.clone());
    let (mut db, mut dc, mut da) = (kept.b.clone(), kept.c.clone(), kept.a.clone());
    let (mut dskip, mut dbias) = (vec![0f32; d], vec![0f32; d]);
    // One step by itself is decoding: nothing is kept for the way back, and the state comes in and goes on.
    let decoding = l == 1;
    let states_in = decoding.then(|| wave(b * d * n, 1.0, 0.0));
    let mut states_on = states_in.clone();
    let forward = move || {
        let starts = if decoding { None } else { Some(&mut starts[..]) };
        let scan = owned.scan(sequences, [d, n, g]);
        scan.forward(&owned.inputs(), states_in.as_deref(), &mut out, states_on.as_deref_mut(), starts);
    };
    let backward = move || {
        let gradients = Gradients {
            u: Some(&mut du),
            delta: Some(&mut ddelta),
            b: Some(&mut db),
            c: Some(&mut dc),
            z: Some(&mut dz),
            a: Some(&mut da),
            skip: Some(&mut dskip),
            delta_bias: Some(&mut dbias),
            initial: None,
        };
        kept.scan(sequences, [d, n, g]).backward(&kept.inputs(), &kept_starts, &dout, None, gradients);
    };
    let (stream, coupling) = (4.0 * (b * d * l) as f64, 4.0 * (b * g * n * l) as f64);
    let states = (b * d * l * n) as f64;
    // A and the states, which are little beside everything else unless there is but one step.
    let carried = if decoding { 4.0 * (d * n + 2 * b * d * n) as f64 } else { 0.0 };
    Timing {
        forward: Box::new(forward),
        backward: Box::new(backward),
        bytes: [4.0 * stream + 2.0 * coupling + carried, 7.0 * stream + 4.0 * coupling],
        flops: [9.0 * states, 24.0 * states],
    }
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let sizes = ["b", "d", "l", "n", "g"].map(size);
    let [b, d, l, n, g] = sizes;
    let sequences = Sequences::Equal { count: b, len: l };
    let (owned, kept) = (made_up(sizes), made_up(sizes));
    let (rows, kept_rows) = (owned.map(half), kept.map(half));
    let mut out = vec![0; b * l * d];
    let mut starts = vec![0f32; owned.scan(sequences, [d, n, g]).starts_len()];
    let mut kept_starts = starts.clone();
    kept.scan(sequences, [d, n, g]).forward_bf16(&kept_rows.inputs(), None, &mut out, None, Some(&mut kept_starts));
    let (mut du, mut ddelta, mut dz, dout) = (out.clone(), out.clone(), out.clone(), out.clone());
    let (mut db, mut dc, mut da) = (rows.b.clone(), rows.c.clone(), kept.a.clone());
    let (mut dskip, mut dbias) = (vec![0f32; d], vec![0f32; d]);
    let forward = move || {
        owned.scan(sequences, [d, n, g]).forward_bf16(&rows.inputs(), None, &mut out, None, Some(&mut starts));
    };
    let backward = move || {
        let gradients = Gradients {
            u: Some(&mut du[..]),
            delta: Some(&mut ddelta),
            b: Some(&mut db),
            c: Some(&mut dc),
            z: Some(&mut dz),
            a: Some(&mut da[..]),
            skip: Some(&mut dskip),
            delta_bias: Some(&mut dbias),
            initial: None,
        };
        kept.scan(sequences, [d, n, g]).backward_bf16(&kept_rows.inputs(), &kept_starts, &dout, None, gradients);
    };
    let (stream, coupling) = (2.0 * (b * d * l) as f64, 2.0 * (b * g * n * l) as f64);
    let states = (b * d * l * n) as f64;
    Timing {
        forward: Box::new(forward),
        backward: Box::new(backward),
        bytes: [4.0 * stream + 2.0 * coupling, 7.0 * stream + 4.0 * coupling],
        flops: [9.0 * states, 24.0 * states],
    }
}
