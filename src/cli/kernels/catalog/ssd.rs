//! ssd.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, from_halves, from_single, half, halves, narrow, needed, optional,
    sequences, single, wave, wide,
};
use crate::kernels::device::{self, DeviceError, Executor};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::ssd::{Gradients, Inputs, Skip, Ssd, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "ssd",
    about: "Mamba-2's scan in chunks; dt is final (softplus and limits applied)",
    source: "Dao & Gu 2024, Mamba-2",
    inputs: &[
        needed("X", "b l h p"),
        needed("dt", "b l h"),
        needed("A", "h"),
        needed("B", "b l g n"),
        needed("C", "b l g n"),
        optional("D", "h or h p"),
        optional("h0", "b h p n"),
        optional("cu_seqlens", "sequences+1"),
    ],
    outputs: &[needed("Y", "b l h p"), needed("final_state", "b h p n")],
    upstream: &[needed("dY", "b l h p"), optional("dfinal_state", "b h p n")],
    activation: false,
    chunked: true,
    on_device: [Some(forward_on), Some(backward_on)],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 1), ("l", 2048), ("h", 24), ("p", 64), ("g", 1), ("n", 128)],
    timing,
    bf16: Some(timing_bf16),
};

/// The inputs. D is per head or per head and channel.
struct Owned<T> {
    x: Vec<T>,
    dt: Vec<T>,
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    skip: Option<(bool, Vec<T>)>,
    first: Option<Vec<T>>,
}

/// Heads, their width, groups, states, chunk.
type Sizes = [usize; 5];

impl<T> Owned<T> {
    fn inputs(&self) -> Inputs<'_, T> {
        Inputs { x: &self.x, dt: &self.dt, b: &self.b, c: &self.c }
    }

    /// All numbers in another form.
    fn map<U>(&self, of: impl Fn(&T) -> U) -> Owned<U> {
        let all = |x: &Vec<T>| -> Vec<U> { x.iter().map(&of).collect() };
        Owned {
            x: all(&self.x),
            dt: all(&self.dt),
            a: all(&self.a),
            b: all(&self.b),
            c: all(&self.c),
            skip: self.skip.as_ref().map(|(wide, d)| (*wide, all(d))),
            first: self.first.as_ref().map(all),
        }
    }
}

impl<T: Real> Owned<T> {
    fn scan<'a>(&'a self, sequences: Sequences<'a>, [heads, width, groups, states, chunk]: Sizes) -> Ssd<'a, T> {
        let skip = self.skip.as_ref().map(|(wide, d)| if *wide { Skip::Channel(&d[..]) } else { Skip::Head(&d[..]) });
        Ssd { sequences, heads, width, groups, states, chunk, a: &self.a, skip }
    }

    fn to<U: Real>(&self) -> Owned<U> {
        self.map(|v| U::from_f64(v.to_f64()))
    }
}

const ONE_ROW: Sequences<'static> = Sequences::Equal { count: 1, len: 1 };

/// Goes through the rows one by one: inputs, states, results.
fn steps<T: Real, S>(
    scan: &Ssd<'_, T>,
    (x, states, y): (&Inputs<'_, S>, &mut [T], &mut [S]),
    step: impl Fn(&Inputs<'_, S>, &mut [T], &mut [S]),
) {
    let (h, wide, shared) = (scan.heads, scan.heads * scan.width, scan.groups * scan.states);
    let each = wide * scan.states;
    for (i, range) in scan.sequences.iter().enumerate() {
        for row in range {
            let (line, couplings) = (row * wide..(row + 1) * wide, row * shared..(row + 1) * shared);
            let one = Inputs {
                x: &x.x[line.clone()],
                dt: &x.dt[row * h..(row + 1) * h],
                b: &x.b[couplings.clone()],
                c: &x.c[couplings],
            };
            step(&one, &mut states[i * each..(i + 1) * each], &mut y[line]);
        }
    }
}

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let (shape, x) = request.get::<T>("X")?;
    let [b, l, h, p] = axes("X", &shape, "batch, steps, heads, width")?;
    let (shape, bs) = request.get::<T>("B")?;
    let [.., g, n] = axes::<4>("B", &shape, "batch, steps, groups, states")?;
    if shape[..2] != [b, l] || g == 0 || n == 0 || p == 0 || h == 0 || !h.is_multiple_of(g) {
        return Err(format!("array \"B\" has shape {shape:?}, expected ({b}, {l}, a divisor of {h} heads, states)"));
    }
    let skip = match request.find::<T>("D")? {
        Some((shape, d)) if shape == [h] => Some((false, d)),
        Some((shape, d)) if shape == [h, p] => Some((true, d)),
        Some((shape, _)) => return Err(format!("array \"D\" has shape {shape:?}, expected [{h}] or [{h}, {p}]")),
        None => None,
    };
    let bounds = request.bounds(b, b * l)?;
    let sequences = sequences(&bounds, b, l);
    let state = [sequences.count(), h, p, n];
    let owned = Owned {
        x,
        dt: request.exactly("dt", &[b, l, h])?,
        a: request.exactly("A", &[h])?,
        b: bs,
        c: request.exactly("C", &[b, l, g, n])?,
        skip,
        first: request.shaped("h0", &state)?,
    };
    let sizes = [h, p, g, n, request.chunk.unwrap_or(Ssd::<T>::CHUNK)];
    let scan = owned.scan(sequences, sizes);
    let inputs = owned.inputs();
    let zeros = |len: usize| vec![T::ZERO; len];
    let exactly = owned.to::<f64>();
    let (mut y, mut last) = (zeros(owned.x.len()), zeros(scan.state_len()));
    match request.engine {
        Engine::Scan => scan.forward(&inputs, owned.first.as_deref(), &mut y, Some(&mut last)),
        Engine::Step => {
            if let Some(first) = &owned.first {
                last.copy_from_slice(first);
            }
            let one = owned.scan(ONE_ROW, sizes);
            steps(&scan, (&inputs, &mut last, &mut y), |x, state, y| one.step(x, state, y));
        }
        Engine::HalfStep => {
            let (single, rows) = (owned.to::<f32>(), owned.map(half));
            let one = single.scan(ONE_ROW, sizes);
            let mut bits = vec![0; y.len()];
            let mut states = single.first.clone().unwrap_or_else(|| vec![0.0; last.len()]);
            let all = single.scan(sequences, sizes);
            steps(&all, (&rows.inputs(), &mut states, &mut bits), |x, state, y| one.step_bf16(x, state, y));
            (y, last) = (from_halves(bits), from_single(states));
        }
        Engine::Device => {
            let one = owned.to::<f32>();
            let (mut to, mut carried) = (vec![0f32; y.len()], vec![0f32; last.len()]);
            let (scan, x) = (one.scan(sequences, sizes), one.inputs());
            request
                .on_device(|device| device::ssd::forward(device, &scan, &x, one.first.as_deref(), &mut to, Some(&mut carried)))?;
            (y, last) = (from_single(to), from_single(carried));
        }
        Engine::Half => {
            let (one, rows) = (owned.to::<f32>(), owned.map(half));
            let (mut bits, mut carried) = (vec![0; y.len()], vec![0f32; last.len()]);
            one.scan(sequences, sizes).forward_bf16(&rows.inputs(), one.first.as_deref(), &mut bits, Some(&mut carried));
            (y, last) = (from_halves(bits), from_single(carried));
        }
        Engine::Reference => {
            let exact = reference::forward(&exactly.scan(sequences, sizes), &exactly.inputs(), exactly.first.as_deref());
            (y, last) = (narrow(exact.y), narrow(exact.last));
        }
    }
    let mut to = Arrays::default();
    to.push("Y", array(&[b, l, h, p], y));
    to.push("final_state", array(&state, last));
    if !request.gradients {
        return Ok(to);
    }
    let dy = request.exactly::<T>("dY", &[b, l, h, p])?;
    let dlast = request.shaped::<T>("dfinal_state", &state)?;
    let (mut dx, mut ddt, mut da) = (zeros(owned.x.len()), zeros(owned.dt.len()), zeros(h));
    let (mut db, mut dc, mut dfirst) = (zeros(owned.b.len()), zeros(owned.c.len()), zeros(scan.state_len()));
    let mut dskip = zeros(owned.skip.as_ref().map_or(0, |(_, d)| d.len()));
    if request.engine == Engine::Reference {
        let all = reference::backward(
            &exactly.scan(sequences, sizes),
            &exactly.inputs(),
            exactly.first.as_deref(),
            &wide(&dy),
            dlast.as_deref().map(wide).as_deref(),
        );
        (dx, ddt, da, db, dc) = (narrow(all.x), narrow(all.dt), narrow(all.a), narrow(all.b), narrow(all.c));
        (dskip, dfirst) = (narrow(all.skip), narrow(all.initial));
    } else if request.engine == Engine::Device {
        let one = owned.to::<f32>();
        let mut parts = [&dx, &ddt, &da, &db, &dc, &dskip, &dfirst].map(|v| vec![0f32; v.len()]);
        {
            let [x_to, dt, a, b, c, skip, first] = &mut parts;
            let gradients = Gradients {
                x: Some(x_to),
                dt: Some(dt),
                b: Some(b),
                c: Some(c),
                a: Some(a),
                skip: one.skip.is_some().then_some(&mut skip[..]),
                initial: Some(first),
            };
            let (scan, x) = (one.scan(sequences, sizes), one.inputs());
            let (dy, dlast) = (single(&dy), dlast.as_deref().map(single));
            request.on_device(|device| {
                device::ssd::backward(device, &scan, &x, one.first.as_deref(), &dy, dlast.as_deref(), gradients)
            })?;
        }
        [dx, ddt, da, db, dc, dskip, dfirst] = parts.map(from_single);
    } else if request.engine.is_half() {
        let (one, rows) = (owned.to::<f32>(), owned.map(half));
        let mut bits = [&dx, &ddt, &db, &dc].map(|v| vec![0; v.len()]);
        let mut parts = [&da, &dskip, &dfirst].map(|v| vec![0f32; v.len()]);
        {
            let ([x_to, dt, b, c], [a, skip, first]) = (&mut bits, &mut parts);
            let gradients = Gradients {
                x: Some(&mut x_to[..]),
                dt: Some(dt),
                b: Some(b),
                c: Some(c),
                a: Some(&mut a[..]),
                skip: one.skip.is_some().then_some(&mut skip[..]),
                initial: Some(first),
            };
            let (scan, dlast) = (one.scan(sequences, sizes), dlast.as_deref().map(single));
            scan.backward_bf16(&rows.inputs(), one.first.as_deref(), &halves(&dy), dlast.as_deref(), gradients);
        }
        [dx, ddt, db, dc] = bits.map(from_halves);
        [da, dskip, dfirst] = parts.map(from_single);
    } else {
        let gradients = Gradients {
            x: Some(&mut dx),
            dt: Some(&mut ddt),
            a: Some(&mut da),
            b: Some(&mut db),
            c: Some(&mut dc),
            skip: owned.skip.is_some().then_some(&mut dskip),
            initial: Some(&mut dfirst),
        };
        scan.backward(&inputs, owned.first.as_deref(), &dy, dlast.as_deref(), gradients);
    }
    to.push("g_X", array(&[b, l, h, p], dx));
    to.push("g_dt", array(&[b, l, h], ddt));
    to.push("g_A", array(&[h], da));
    to.push("g_B", array(&[b, l, g, n], db));
    to.push("g_C", array(&[b, l, g, n], dc));
    if let Some((wide, _)) = &owned.skip {
        to.push("g_D", array(&[h, p][..if *wide { 2 } else { 1 }], dskip));
    }
    to.push("g_h0", array(&state, dfirst));
    Ok(to)
}

/// Made-up inputs: batch, steps, heads, width, groups, states.
fn made_up([b, l, h, p, g, n]: [usize; 6]) -> Owned<f32> {
    Owned {
        x: wave(b * l * h * p, 1.0, 0.0),
        dt: wave(b * l * h, 0.04, 0.05),
        a: (0..h).map(|i| -1.0 - 0.5 * i as f32).collect(),
        b: wave(b * l * g * n, 1.0, 0.0),
        c: wave(b * l * g * n, 1.0, 0.0),
        skip: Some((false, wave(h, 1.0, 0.0))),
        first: None,
    }
}

/// Bytes in f32 and operations, forward and backward, of the same sizes.
fn counts([b, l, h, p, g, n]: [usize; 6]) -> [[f64; 2]; 2] {
    let chunk = Ssd::<f32>::CHUNK;
    let (stream, coupling) = (4.0 * (b * l * h * p) as f64, 4.0 * (b * l * g * n) as f64);
    // Per sequence and head: 2·l·Q·(n + p) + 4·l·n·p + 2·(l / Q)·n·p; two and a half times that to come back.
    let of_head = (2 * l * chunk * (n + p) + 4 * l * n * p + 2 * l.div_ceil(chunk) * n * p) as f64;
    let flops = (b * h) as f64 * of_head;
    [[2.0 * stream + 2.0 * coupling, 3.0 * stream + 4.0 * coupling], [flops, 2.5 * flops]]
}

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let made = ["b", "l", "h", "p", "g", "n"].map(size);
    let [b, l, h, p, g, n] = made;
    let owned = made_up(made);
    let scan = owned.scan(Sequences::Equal { count: b, len: l }, [h, p, g, n, Ssd::<f32>::CHUNK]);
    device::ssd::forward(device, &scan, &owned.inputs(), None, &mut vec![0.0; owned.x.len()], None)
}

fn backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let made = ["b", "l", "h", "p", "g", "n"].map(size);
    let [b, l, h, p, g, n] = made;
    let owned = made_up(made);
    let scan = owned.scan(Sequences::Equal { count: b, len: l }, [h, p, g, n, Ssd::<f32>::CHUNK]);
    let (mut dx, mut ddt, mut db, mut dc) = (owned.x.clone(), owned.dt.clone(), owned.b.clone(), owned.c.clone());
    let (mut da, mut dskip) = (vec![0f32; h], vec![0f32; h]);
    let gradients = Gradients {
        x: Some(&mut dx),
        dt: Some(&mut ddt),
        a: Some(&mut da),
        b: Some(&mut db),
        c: Some(&mut dc),
        skip: Some(&mut dskip),
        initial: None,
    };
    device::ssd::backward(device, &scan, &owned.inputs(), None, &owned.x, None, gradients)
}

fn timing(size: SizeOf<'_>) -> Timing {
    let made = ["b", "l", "h", "p", "g", "n"].map(size);
    let [b, l, h, p, g, n] = made;
    let data = move || made_up(made);
    let sequences = Sequences::Equal { count: b, len: l };
    let chunk = Ssd::<f32>::CHUNK;
    let sizes = [h, p, g, n, chunk];
    let (owned, kept) = (data(), data());
    let mut y = owned.x.clone();
    let (mut dx, mut ddt, mut db, mut dc) = (kept.x.clone(), kept.dt.clone(), kept.b.clone(), kept.c.clone());
    let (mut da, mut dskip) = (vec![0f32; h], vec![0f32; h]);
    // One step by itself is decoding: the state comes in and goes on.
    let states_in = (l == 1).then(|| wave(b * h * p * n, 1.0, 0.0));
    let mut states_on = states_in.clone();
    let carried = 8.0 * states_in.as_ref().map_or(0, Vec::len) as f64;
    let forward =
        move || owned.scan(sequences, sizes).forward(&owned.inputs(), states_in.as_deref(), &mut y, states_on.as_deref_mut());
    let backward = move || {
        let gradients = Gradients {
            x: Some(&mut dx),
            dt: Some(&mut ddt),
            a: Some(&mut da),
            b: Some(&mut db),
            c: Some(&mut dc),
            skip: Some(&mut dskip),
            initial: None,
        };
        kept.scan(sequences, sizes).backward(&kept.inputs(), None, &kept.x, None, gradients);
    };
    let [bytes, flops] = counts(made);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes: [bytes[0] + carried, bytes[1]], flops }
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let made = ["b", "l", "h", "p", "g", "n"].map(size);
    let [b, l, h, p, g, n] = made;
    let sequences = Sequences::Equal { count: b, len: l };
    let sizes = [h, p, g, n, Ssd::<f32>::CHUNK];
    let (owned, kept) = (made_up(made), made_up(made));
    let (rows, kept_rows) = (owned.map(half), kept.map(half));
    let mut y = rows.x.clone();
    let (mut dx, mut ddt, mut db, mut dc) = (rows.x.clone(), rows.dt.clone(), rows.b.clone(), rows.c.clone());
    let (mut da, mut dskip) = (vec![0f32; h], vec![0f32; h]);
    let forward = move || owned.scan(sequences, sizes).forward_bf16(&rows.inputs(), None, &mut y, None);
    let backward = move || {
        let gradients = Gradients {
            x: Some(&mut dx[..]),
            dt: Some(&mut ddt),
            b: Some(&mut db),
            c: Some(&mut dc),
            a: Some(&mut da[..]),
            skip: Some(&mut dskip),
            initial: None,
        };
        kept.scan(sequences, sizes).backward_bf16(&kept_rows.inputs(), None, &kept_rows.x, None, gradients);
    };
    let [bytes, flops] = counts(made);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes: bytes.map(|n| n / 2.0), flops }
}
