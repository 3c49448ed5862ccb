//! mamba3.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, exchange, from_halves, from_single, halves, narrow, needed,
    optional, sequences, single, wave, wide,
};
use crate::kernels::device::{self, DeviceError, Executor};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::mamba3::{Gradients, HeadNorm, Inputs, Mamba3, Rotation, States, StatesMut, chunk_for, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "mamba3",
    about: "Mamba-3's trapezoidal scan with rotated states; SISO (r = 1, pairs side by side) or MIMO (pairs half the states apart)",
    source: "Mamba-3 2026",
    inputs: &[
        needed("Q", "b l r g n"),
        needed("K", "b l r g n"),
        needed("V", "b l h p"),
        needed("ADT", "b h l"),
        needed("DT", "b h l"),
        needed("trap", "b h l"),
        needed("qb", "h r n"),
        needed("kb", "h r n"),
        needed("ang", "b l h s or b l s"),
        optional("D", "h"),
        optional("Z", "b l h p"),
        optional("mx", "h r p"),
        optional("mz", "h r p"),
        optional("mo", "h r p"),
        optional("norm_w", "h p"),
        optional("angle0", "b h s"),
        optional("S0", "b h p n"),
        optional("K0", "b r h n"),
        optional("V0", "b h p"),
        optional("cu_seqlens", "sequences+1"),
    ],
    outputs: &[
        needed("out", "b l h p"),
        needed("angle", "b h s"),
        needed("S", "b h p n"),
        needed("K_rot", "b r h n"),
        needed("V_last", "b h p"),
    ],
    upstream: &[
        needed("dout", "b l h p"),
        optional("dangle", "b h s"),
        optional("dS", "b h p n"),
        optional("dK_rot", "b r h n"),
        optional("dV_last", "b h p"),
    ],
    activation: false,
    chunked: true,
    on_device: [Some(forward_on), None],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 1), ("l", 2048), ("h", 24), ("p", 64), ("g", 1), ("n", 128), ("r", 1), ("s", 32)],
    timing,
    bf16: Some(timing_bf16),
};

/// Under which name each input and its gradient go, and whether its last two axes are turned.
const NAMES: [(&str, bool); 15] = [
    ("Q", false),
    ("K", false),
    ("V", false),
    ("Z", false),
    ("ADT", true),
    ("DT", true),
    ("trap", true),
    ("ang", false),
    ("qb", false),
    ("kb", false),
    ("D", false),
    ("mx", false),
    ("mz", false),
    ("mo", false),
    ("norm_w", false),
];
const STATES: [&str; 4] = ["angle", "S", "K_rot", "V_last"];
const FIRST: [&str; 4] = ["angle0", "S0", "K0", "V0"];
/// Added to the mean square of the norm.
const EPS: f64 = 1e-5;

/// The sizes that are no lengths of arrays.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    width: usize,
    groups: usize,
    states: usize,
    rank: usize,
    angles: usize,
    shared_angles: bool,
    chunk: usize,
}

/// The inputs in the order of [`NAMES`]; what is not there is `None`.
type All<T> = [Option<Vec<T>>; 15];

fn views<'a, T>(all: &'a All<T>, sequences: Sequences<'a>, shape: Shape) -> (Mamba3<'a, T>, Inputs<'a, T>) {
    let of = |i: usize| all[i].as_deref();
    let there = |i: usize| of(i).unwrap_or_default();
    let Shape { heads, width, groups, states, rank, angles, shared_angles, chunk } = shape;
    let rotation = if rank == 1 { Rotation::Pairwise } else { Rotation::Halves };
    let norm = of(14).map(|weight| HeadNorm { weight, eps: EPS });
    let scan = Mamba3 {
        sequences,
        heads,
        width,
        groups,
        states,
        rank,
        angles,
        shared_angles,
        rotation,
        chunk,
        q_bias: there(8),
        k_bias: there(9),
        skip: of(10),
        mix_x: of(11),
        mix_z: of(12),
        mix_out: of(13),
        norm,
    };
    let x = Inputs {
        q: there(0),
        k: there(1),
        x: there(2),
        z: of(3),
        log_decay: there(4),
        dt: there(5),
        trap: there(6),
        angles: there(7),
    };
    (scan, x)
}

fn states<T>(of: &[Vec<T>; 4]) -> States<'_, T> {
    let [angle, state, key, value] = of;
    States { angle, state, key, value }
}

fn states_mut<T>(of: &mut [Vec<T>; 4]) -> StatesMut<'_, T> {
    let [angle, state, key, value] = of;
    StatesMut { angle, state, key, value }
}

/// How many of [`NAMES`] belong to the steps; they come first.
const OF_STEPS: usize = 8;

/// Same, those of the steps as bits of bf16.
fn gradients_bf16<'a>(
    steps: &'a mut All<u16>,
    others: &'a mut All<f32>,
    initial: Option<StatesMut<'a, f32>>,
) -> Gradients<'a, f32, u16> {
    let Gradients { q, k, x, z, log_decay, dt, trap, angles, .. } = gradients(steps, None);
    let Gradients { q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, initial, .. } = gradients(others, initial);
    Gradients { q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, initial }
}

/// Where the gradients go that are there, in the order of [`NAMES`].
fn gradients<'a, T>(of: &'a mut All<T>, initial: Option<StatesMut<'a, T>>) -> Gradients<'a, T> {
    let mut parts = of.iter_mut().map(Option::as_deref_mut);
    let mut next = || parts.next().flatten();
    Gradients {
        q: next(),
        k: next(),
        x: next(),
        z: next(),
        log_decay: next(),
        dt: next(),
        trap: next(),
        angles: next(),
        q_bias: next(),
        k_bias: next(),
        skip: next(),
        mix_x: next(),
        mix_z: next(),
        mix_out: next(),
        norm: next(),
        initial,
    }
}

/// Goes through the rows one by one: inputs, states, results.
fn steps<T, S>(
    sequences: Sequences<'_>,
    (x, carried, out): (&Inputs<'_, S>, &mut [Vec<T>; 4], &mut [S]),
    step: impl Fn(&Inputs<'_, S>, StatesMut<'_, T>, &mut [S]),
) {
    let (count, rows) = (sequences.count(), sequences.rows());
    for (i, range) in sequences.iter().enumerate() {
        for row in range {
            let of = |v: &[S]| -> std::ops::Range<usize> { v.len() / rows * row..v.len() / rows * (row + 1) };
            let part = Inputs {
                q: &x.q[of(x.q)],
                k: &x.k[of(x.k)],
                x: &x.x[of(x.x)],
                z: x.z.map(|z| &z[of(z)]),
                log_decay: &x.log_decay[of(x.log_decay)],
                dt: &x.dt[of(x.dt)],
                trap: &x.trap[of(x.trap)],
                angles: &x.angles[of(x.angles)],
            };
            let [angle, state, key, value] = carried.each_mut().map(|v| {
                let each = v.len() / count;
                &mut v[i * each..(i + 1) * each]
            });
            let line = of(out);
            step(&part, StatesMut { angle, state, key, value }, &mut out[line]);
        }
    }
}

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    let q_shape = request.shape("Q")?;
    let [b, l, r, g, n] = axes("Q", q_shape, "batch, steps, rank, groups, states")?;
    let v_shape = request.shape("V")?;
    let [.., h, p] = axes::<4>("V", v_shape, "batch, steps, heads, width")?;
    if [h, p, g, n, r].contains(&0) || !h.is_multiple_of(g) || v_shape[..2] != [b, l] {
        return Err(format!("array \"V\" has shape {v_shape:?}, expected ({b}, {l}, a multiple of {g} groups, width)"));
    }
    let a_shape = request.shape("ang")?;
    let (shared_angles, s) = match a_shape[..] {
        [batch, steps, s] if (batch, steps) == (b, l) => (true, s),
        [batch, steps, heads, s] if (batch, steps, heads) == (b, l, h) => (false, s),
        _ => return Err(format!("array \"ang\" has shape {a_shape:?}, expected ({b}, {l}, {h}, s) or ({b}, {l}, s)")),
    };
    if 2 * s > n || (r > 1 && !n.is_multiple_of(2)) {
        return Err(format!("array \"ang\" turns {s} pairs of {n} states, expected at most half of an even number"));
    }
    let step = [b, h, l];
    let of_rank = [h, r, p];
    let shapes: [&[usize]; 15] = [
        q_shape,
        q_shape,
        v_shape,
        v_shape,
        &step,
        &step,
        &step,
        a_shape,
        &[h, r, n],
        &[h, r, n],
        &[h],
        &of_rank,
        &of_rank,
        &of_rank,
        &[h, p],
    ];
    let mut all: All<T> = Default::default();
    for (i, ((name, turned), shape)) in NAMES.iter().zip(shapes).enumerate() {
        let required = OPERATION.inputs.iter().any(|f| f.name == *name && !f.optional);
        let values = if required { Some(request.exactly::<T>(name, shape)?) } else { request.shaped::<T>(name, shape)? };
        all[i] = values.map(|v| if *turned { exchange(&v, h, l) } else { v });
    }
    if all[12].is_some() && all[3].is_none() {
        return Err("array \"mz\" mixes the gate \"Z\", which is not there".into());
    }
    let bounds = request.bounds(b, b * l)?;
    let sequences = sequences(&bounds, b, l);
    let count = sequences.count();
    let chunk = request.chunk.unwrap_or_else(|| chunk_for(r));
    let shape = Shape { heads: h, width: p, groups: g, states: n, rank: r, angles: s, shared_angles, chunk };
    let state_shapes: [&[usize]; 4] = [&[count, h, s], &[count, h, p, n], &[count, r, h, n], &[count, h, p]];
    // Some of a group of states may be given; the others are zeros.
    let group = |names: [&str; 4]| -> Result<Option<[Vec<T>; 4]>, String> {
        let mut found: [Vec<T>; 4] = Default::default();
        let mut any = false;
        for ((name, shape), to) in names.iter().zip(state_shapes).zip(&mut found) {
            let given = request.shaped::<T>(name, shape)?;
            any |= given.is_some();
            *to = given.unwrap_or_else(|| vec![T::ZERO; shape.iter().product()]);
        }
        Ok(any.then_some(found))
    };
    let first = group(FIRST)?;
    let (scan, x) = views(&all, sequences, shape);
    let zeros = || state_shapes.map(|s| vec![T::ZERO; s.iter().product()]);
    let doubles: All<f64> = std::array::from_fn(|i| all[i].as_deref().map(wide));
    let first_doubles = first.as_ref().map(|f| {
        let [angle, state, key, value] = [0, 1, 2, 3].map(|i| wide(&f[i]));
        reference::Carried { angle, state, key, value }
    });
    let mut out = vec![T::ZERO; x.x.len()];
    let mut last = zeros();
    match request.engine {
        Engine::Scan => scan.forward(&x, first.as_ref().map(states), &mut out, Some(states_mut(&mut last))),
        Engine::Step => {
            let (one, _) = views(&all, Sequences::Equal { count: 1, len: 1 }, shape);
            last = first.clone().unwrap_or(last);
            steps(sequences, (&x, &mut last, &mut out), |x, states, out| one.step(x, states, out));
        }
        Engine::HalfStep => {
            let (bits, ones): (All<u16>, All<f32>) =
                (all.each_ref().map(|v| v.as_deref().map(halves)), all.each_ref().map(|v| v.as_deref().map(single)));
            let (one, _) = views(&ones, Sequences::Equal { count: 1, len: 1 }, shape);
            let (_, x) = views(&bits, sequences, shape);
            let mut to = vec![0; out.len()];
            let mut carried: [Vec<f32>; 4] = first.as_ref().unwrap_or(&last).each_ref().map(|v| single(v));
            steps(sequences, (&x, &mut carried, &mut to), |x, states, out| one.step_bf16(x, states, out));
            (out, last) = (from_halves(to), carried.map(from_single));
        }
        Engine::Device => {
            let ones: All<f32> = std::array::from_fn(|i| all[i].as_deref().map(single));
            let first: Option<[Vec<f32>; 4]> = first.as_ref().map(|f| std::array::from_fn(|i| single(&f[i])));
            let (scan, x) = views(&ones, sequences, shape);
            let mut to = vec![0f32; out.len()];
            let mut carried: [Vec<f32>; 4] = std::array::from_fn(|i| vec![0f32; last[i].len()]);
            request.on_device(|device| {
                device::mamba3::forward(device, &scan, &x, first.as_ref().map(states), &mut to, Some(states_mut(&mut carried)))
            })?;
            (out, last) = (from_single(to), carried.map(from_single));
        }
        Engine::Half => {
            let (bits, ones): (All<u16>, All<f32>) =
                (all.each_ref().map(|v| v.as_deref().map(halves)), all.each_ref().map(|v| v.as_deref().map(single)));
            let first: Option<[Vec<f32>; 4]> = first.as_ref().map(|f| f.each_ref().map(|v| single(v)));
            let ((scan, _), (_, x)) = (views(&ones, sequences, shape), views(&bits, sequences, shape));
            let mut to = vec![0; out.len()];
            let mut carried: [Vec<f32>; 4] = last.each_ref().map(|v| vec![0f32; v.len()]);
            scan.forward_bf16(&x, first.as_ref().map(states), &mut to, Some(states_mut(&mut carried)));
            (out, last) = (from_halves(to), carried.map(from_single));
        }
        Engine::Reference => {
            let (scan, x) = views(&doubles, sequences, shape);
            let (exact, carried) = reference::forward(&scan, &x, first_doubles.as_ref());
            out = narrow(exact);
            last = [carried.angle, carried.state, carried.key, carried.value].map(narrow);
        }
    }
    let mut to = Arrays::default();
    to.push("out", array(v_shape, out));
    for ((name, shape), values) in STATES.iter().zip(state_shapes).zip(last) {
        to.push(*name, array(shape, values));
    }
    if !request.gradients {
        return Ok(to);
    }
    let dout = request.exactly::<T>("dout", v_shape)?;
    let dlast = group(["dangle", "dS", "dK_rot", "dV_last"])?;
    let mut gradients: All<T> = std::array::from_fn(|i| all[i].as_ref().map(|v| vec![T::ZERO; v.len()]));
    let mut dfirst = zeros();
    if request.engine == Engine::Reference {
        let (scan, x) = views(&doubles, sequences, shape);
        let dlast = dlast.as_ref().map(|d| {
            let [angle, state, key, value] = [0, 1, 2, 3].map(|i| wide(&d[i]));
            reference::Carried { angle, state, key, value }
        });
        let g = reference::backward(&scan, &x, first_doubles.as_ref(), &wide(&dout), dlast.as_ref());
        let found = [
            g.q,
            g.k,
            g.x,
            g.z,
            g.log_decay,
            g.dt,
            g.trap,
            g.angles,
            g.q_bias,
            g.k_bias,
            g.skip,
            g.mix_x,
            g.mix_z,
            g.mix_out,
            g.norm,
        ];
        for (to, found) in gradients.iter_mut().zip(found) {
            *to = to.is_some().then(|| narrow(found));
        }
        let first = g.initial;
        dfirst = [first.angle, first.state, first.key, first.value].map(narrow);
    } else if request.engine.is_half() {
        let (bits, ones): (All<u16>, All<f32>) =
            (all.each_ref().map(|v| v.as_deref().map(halves)), all.each_ref().map(|v| v.as_deref().map(single)));
        let [first, dlast] = [&first, &dlast].map(|s| s.as_ref().map(|s| s.each_ref().map(|v| single(v))));
        let ((scan, _), (_, x)) = (views(&ones, sequences, shape), views(&bits, sequences, shape));
        let (mut of_steps, mut others) = (bits.clone(), ones.clone());
        let mut found: [Vec<f32>; 4] = dfirst.each_ref().map(|v| vec![0f32; v.len()]);
        let to = gradients_bf16(&mut of_steps, &mut others, Some(states_mut(&mut found)));
        scan.backward_bf16(&x, first.as_ref().map(states), &halves(&dout), dlast.as_ref().map(states), to);
        for (i, ((to, bits), one)) in gradients.iter_mut().zip(of_steps).zip(others).enumerate() {
            *to = if i < OF_STEPS { bits.map(from_halves) } else { one.map(from_single) };
        }
        dfirst = found.map(from_single);
    } else {
        let to = self::gradients(&mut gradients, Some(states_mut(&mut dfirst)));
        scan.backward(&x, first.as_ref().map(states), &dout, dlast.as_ref().map(states), to);
    }
    for (((name, turned), shape), values) in NAMES.iter().zip(shapes).zip(gradients) {
        if let Some(values) = values {
            to.push(format!("g_{name}"), array(shape, if *turned { exchange(&values, l, h) } else { values }));
        }
    }
    for ((name, shape), values) in FIRST.iter().zip(state_shapes).zip(dfirst) {
        to.push(format!("g_{name}"), array(shape, values));
    }
    Ok(to)
}

/// Made-up inputs: batch, steps, heads, width, groups, states, rank, angles.
fn made_up([b, l, h, p, g, n, r, s]: [usize; 8]) -> All<f32> {
    let rows = b * l;
    let mix = || (r > 1).then(|| wave(h * r * p, 0.2, 1.0 / r as f32));
    [
        Some(wave(rows * r * g * n, 1.0, 0.0)),
        Some(wave(rows * r * g * n, 1.0, 0.0)),
        Some(wave(rows * h * p, 1.0, 0.0)),
        Some(wave(rows * h * p, 1.0, 0.0)),
        Some(wave(rows * h, 0.04, -0.05)),
        Some(wave(rows * h, 0.04, 0.05)),
        Some(wave(rows * h, 1.0, 0.0)),
        Some(wave(rows * s, 1.0, 0.0)),
        Some(wave(h * r * n, 0.2, 1.0)),
        Some(wave(h * r * n, 0.2, 1.0)),
        Some(wave(h, 1.0, 0.0)),
        mix(),
        mix(),
        mix(),
        None,
    ]
}

fn shape_of([_, _, heads, width, groups, states, rank, angles]: [usize; 8]) -> Shape {
    Shape { heads, width, groups, states, rank, angles, shared_angles: true, chunk: chunk_for(rank) }
}

/// Bytes in f32 and operations, forward and backward, of the same sizes.
fn counts([b, l, h, p, g, n, r, _]: [usize; 8]) -> [[f64; 2]; 2] {
    let rows = b * l;
    let (stream, coupling) = (4.0 * (rows * h * p) as f64, 4.0 * (rows * r * g * n) as f64);
    // As for ssd, with r keys and queries a step and chunks of so many rows in all.
    let chunk = chunk_for(r);
    let steps = chunk * r;
    let of_head = (2 * l * r * steps * (n + p) + 4 * l * r * n * p + 2 * l.div_ceil(chunk) * n * p) as f64;
    let flops = (b * h) as f64 * of_head;
    [[3.0 * stream + 2.0 * coupling, 5.0 * stream + 4.0 * coupling], [flops, 2.5 * flops]]
}

const SIZES: [&str; 8] = ["b", "l", "h", "p", "g", "n", "r", "s"];

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let made = SIZES.map(size);
    let [b, l, h, p, ..] = made;
    let all = made_up(made);
    let (scan, x) = views(&all, Sequences::Equal { count: b, len: l }, shape_of(made));
    device::mamba3::forward(device, &scan, &x, None, &mut vec![0.0; b * l * h * p], None)
}

fn timing(size: SizeOf<'_>) -> Timing {
    let made = SIZES.map(size);
    let [b, l, h, p, ..] = made;
    let rows = b * l;
    let data = move || made_up(made);
    let shape = shape_of(made);
    let sequences = Sequences::Equal { count: b, len: l };
    let (all, kept) = (data(), data());
    let mut out = vec![0f32; rows * h * p];
    let dout = wave(rows * h * p, 1.0, 0.0);
    let mut gradients = data();
    let forward = move || {
        let (scan, x) = views(&all, sequences, shape);
        scan.forward(&x, None, &mut out, None);
    };
    let backward = move || {
        let (scan, x) = views(&kept, sequences, shape);
        scan.backward(&x, None, &dout, None, self::gradients(&mut gradients, None));
    };
    let [bytes, flops] = counts(made);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes, flops }
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let made = SIZES.map(size);
    let [b, l, h, p, ..] = made;
    let shape = shape_of(made);
    let sequences = Sequences::Equal { count: b, len: l };
    let bits = |all: &All<f32>| -> All<u16> { all.each_ref().map(|v| v.as_deref().map(halves)) };
    let (all, kept) = (made_up(made), made_up(made));
    let (rows, kept_rows) = (bits(&all), bits(&kept));
    let mut out = vec![0; b * l * h * p];
    let dout = halves(&wave(out.len(), 1.0, 0.0));
    let (mut of_steps, mut others) = (rows.clone(), all.clone());
    let forward = move || {
        let ((scan, _), (_, x)) = (views(&all, sequences, shape), views(&rows, sequences, shape));
        scan.forward_bf16(&x, None, &mut out, None);
    };
    let backward = move || {
        let ((scan, _), (_, x)) = (views(&kept, sequences, shape), views(&kept_rows, sequences, shape));
        scan.backward_bf16(&x, None, &dout, None, gradients_bf16(&mut of_steps, &mut others, None));
    };
    let [bytes, flops] = counts(made);
    Timing { forward: Box::new(forward), backward: Box::new(backward), bytes: bytes.map(|n| n / 2.0), flops }
}
