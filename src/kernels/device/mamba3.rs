//! The scan of Mamba-3 on a device, forward, SISO and MIMO.
//!
//! Launches: weights of steps; what each chunk turns each angle by, and the turns handed on (chunks in order); queries and keys with their
//! biases rotated, kept for each head; what every chunk adds to the state, the states handed on, and o, as for Mamba-2 (see
//! [`super::ssd`]) with m = steps · rank rows a chunk, at most 64; norm, gate and the sum over ranks; what sequences carry on.
//!
//! Angles are counted in turns, in two floats that together hold 48 bits: there is no f64 on Metal, and an f32 alone would drift by a
//! rounding a step.
//!
//! For each row, rank and head with n states, width p: multiply-adds m·(n + p) + 2·n·p; exponentials m/2; and for each angle two tanh, a
//! sine and a cosine. Memory beside inputs and output: rotated queries and keys, 2·n, and o, p, written and read once for each row, rank
//! and head, and the states of chunks. A native form would rotate while it loads, and apply the gate to o in registers.

use super::args::Mamba3Args;
use super::chunks::{Chunks, DECAY_FLOATS, SIDE, TILE_BLOCK, TILE_FLOATS};
use super::plan::{Bindings, DeviceError, Element, Executor, Plan, fits, narrow};
use crate::kernels::scan::mamba3::{Inputs, Mamba3, Rotation, States, StatesMut};

/// Threads of a block that walks chunks, rotates, or gates.
const BLOCK: usize = 128;
/// Bytes of shared memory, as in shared/mamba3.h.
const STATE_SHARED: usize = 4 * (TILE_FLOATS + DECAY_FLOATS + 64);
const SCAN_SHARED: usize = 4 * (TILE_FLOATS + DECAY_FLOATS + 128 + 64 * 65);
const GATE_SHARED: usize = 4 * 64 * BLOCK / 32;

/// A plan, and the places of its buffers; `None` for what is not given.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    /// q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, D, mx, mz, mo, norm.
    pub inputs: [Option<usize>; 15],
    /// Angle, state, key, value.
    pub initial: [Option<usize>; 4],
    pub last: [Option<usize>; 4],
    pub out: Option<usize>,
}

fn arguments<T>(scan: &Mamba3<'_, T>, chunks: &Chunks, steps: usize, z: bool, initial: bool) -> Result<Mamba3Args, DeviceError> {
    let Mamba3 { heads: h, width: p, groups: g, states: n, rank, angles, .. } = *scan;
    Ok(Mamba3Args {
        rows: narrow("rows", scan.sequences.rows())?,
        heads: narrow("heads", h)?,
        width: narrow("width", p)?,
        groups: narrow("groups", g)?,
        states: narrow("states", n)?,
        per_group: narrow("heads", h / g)?,
        rank: narrow("rank", rank)?,
        angles: narrow("angles", angles)?,
        chunk: narrow("steps", steps)?,
        chunks: narrow("chunks", chunks.count)?,
        sequences: narrow("sequences", scan.sequences.count())?,
        halves: (scan.rotation == Rotation::Halves).into(),
        shared_angles: scan.shared_angles.into(),
        has_initial: initial.into(),
        has_z: z.into(),
        has_skip: scan.skip.is_some().into(),
        has_mix_x: scan.mix_x.is_some().into(),
        has_mix_z: scan.mix_z.is_some().into(),
        has_mix_out: scan.mix_out.is_some().into(),
        has_norm: scan.norm.is_some().into(),
        eps: scan.norm.as_ref().map_or(0.0, |norm| norm.eps as f32),
    })
}

fn check<T>(scan: &Mamba3<'_, T>, z: bool) -> Result<(), DeviceError> {
    let Mamba3 { heads: h, width: p, groups: g, states: n, rank, angles: s, .. } = *scan;
    fits(h > 0 && p > 0 && n > 0 && rank > 0, || format!("mamba3: {h} heads of {p} x {n} states with rank {rank}"))?;
    fits(rank <= SIDE, || format!("mamba3: rank {rank}, at most {SIDE} on a device"))?;
    fits(g > 0 && h.is_multiple_of(g), || format!("mamba3: {h} heads do not make {g} groups"))?;
    fits(2 * s <= n, || format!("mamba3: {s} pairs of {n} states"))?;
    fits(scan.rotation == Rotation::Pairwise || n.is_multiple_of(2), || format!("mamba3: {n} states have no halves"))?;
    fits(scan.chunk > 0, || "mamba3: chunks of no steps".to_string())?;
    fits(scan.mix_z.is_none() || z, || "mamba3: a mix of a gate that is not there".to_string())
}

/// Launches of the forward pass. `z`, `initial`: whether they are given.
pub fn plan_forward<T>(scan: &Mamba3<'_, T>, z: bool, initial: bool) -> Result<Forward, DeviceError> {
    check(scan, z)?;
    let Mamba3 { heads: h, width: p, groups: g, states: n, rank: r, angles: s, .. } = *scan;
    let steps = scan.chunk.min(SIDE / r).max(1);
    let of = Chunks::new(&scan.sequences, steps)?;
    let args = arguments(scan, &of, steps, z, initial)?;
    let (rows, sequences, chunks_count) = (scan.sequences.rows(), scan.sequences.count(), of.count);
    let mut plan = Plan::default();
    let ends = scan.sequences.iter().map(|rows| rows.start).chain([rows]).map(|x| narrow("rows", x)).collect::<Result<_, _>>()?;
    let chunks = plan.table("chunks", of.table);
    let bounds = plan.table("chunks of sequences", of.bounds);
    let ends = plan.table("rows of sequences", ends);
    let e = Element::F32;
    let of_row = if scan.shared_angles { s } else { h * s };
    let inputs = [
        plan.input("Q", rows * r * g * n, e),
        plan.input("K", rows * r * g * n, e),
        plan.input("x", rows * h * p, e),
        plan.input_if(z, "z", rows * h * p, e),
        plan.input("log_decay", rows * h, e),
        plan.input("dt", rows * h, e),
        plan.input("trap", rows * h, e),
        plan.input("angles", rows * of_row, e),
        plan.input("the bias of Q", h * r * n, e),
        plan.input("the bias of K", h * r * n, e),
        plan.input_if(scan.skip.is_some(), "D", h, e),
        plan.input_if(scan.mix_x.is_some(), "the mix of x", h * r * p, e),
        plan.input_if(scan.mix_z.is_some(), "the mix of z", h * r * p, e),
        plan.input_if(scan.mix_out.is_some(), "the mix of the result", h * r * p, e),
        plan.input_if(scan.norm.is_some(), "the weight of the norm", h * p, e),
    ];
    let [q, k, x, gate, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm] = inputs;
    let sizes = [h * s, h * p * n, r * h * n, h * p].map(|len| len * sequences);
    let names = ["first angles", "first states", "first keys", "first values"];
    let initial: [Option<usize>; 4] = std::array::from_fn(|i| plan.input_if(initial, names[i], sizes[i], e));
    let names = ["last angles", "last states", "last keys", "last values"];
    let last: [Option<usize>; 4] = std::array::from_fn(|i| plan.output(names[i], sizes[i], e));
    let out = plan.output("out", rows * h * p, e);
    let weights = plan.scratch("weights", 2 * rows * h);
    let turns = plan.scratch("turns", 2 * chunks_count * h * s);
    let queries = plan.scratch("rotated queries", rows * h * r * n);
    let keys = plan.scratch("rotated keys", rows * h * r * n);
    let states = plan.scratch("states of chunks", chunks_count * h * p * n);
    let decays = plan.scratch("decays of chunks", chunks_count * h);
    let o = plan.scratch("o", rows * h * r * p);

    let threads = |count: usize| [count.div_ceil(BLOCK), BLOCK, 0];
    let [angle, state, key, value] = initial;
    plan.launch("shoal_mamba3_weights", [chunks_count, BLOCK, 0], &args, &[chunks, ends, dt, trap, weights])?;
    if s > 0 {
        plan.launch("shoal_mamba3_chunk_turns", [chunks_count, BLOCK, 0], &args, &[chunks, angles, dt, turns])?;
        plan.launch("shoal_mamba3_pass_turns", threads(sizes[0]), &args, &[bounds, angle, turns, last[0]])?;
    }
    let buffers = [chunks, q, k, dt, angles, q_bias, k_bias, turns, queries, keys];
    plan.launch("shoal_mamba3_rotate", [chunks_count * h, BLOCK, 0], &args, &buffers)?;
    let (across, down) = (n.div_ceil(SIDE), p.div_ceil(SIDE));
    let buffers = [chunks, x, mix_x, log_decay, weights, keys, states, decays];
    plan.launch("shoal_mamba3_chunk_states", [chunks_count * h * across * down, TILE_BLOCK, STATE_SHARED], &args, &buffers)?;
    let buffers = [bounds, ends, decays, dt, trap, mix_x, state, key, value, states, last[1]];
    plan.launch("shoal_mamba3_pass", threads(sizes[1]), &args, &buffers)?;
    let buffers = [chunks, x, mix_x, log_decay, weights, queries, keys, states, skip, o];
    plan.launch("shoal_mamba3_chunk_scan", [chunks_count * h * down, TILE_BLOCK, SCAN_SHARED], &args, &buffers)?;
    let blocks = (rows * h).div_ceil(BLOCK / 32);
    plan.launch("shoal_mamba3_gate", [blocks, BLOCK, GATE_SHARED], &args, &[o, gate, mix_z, mix_out, norm, out])?;
    let carried = threads(sequences * h * (r * n + p));
    plan.launch("shoal_mamba3_carry", carried, &args, &[ends, keys, x, key, value, last[2], last[3]])?;
    Ok(Forward { plan: plan.checked()?, inputs, initial, last, out })
}

/// [`Mamba3::forward`] on a device.
pub fn forward(
    device: &mut dyn Executor,
    scan: &Mamba3<'_, f32>,
    x: &Inputs<'_, f32>,
    initial: Option<States<'_, f32>>,
    out: &mut [f32],
    last: Option<StatesMut<'_, f32>>,
) -> Result<(), DeviceError> {
    let p = plan_forward(scan, x.z.is_some(), initial.is_some())?;
    let norm = scan.norm.map(|norm| norm.weight);
    let given = [
        Some(x.q),
        Some(x.k),
        Some(x.x),
        x.z,
        Some(x.log_decay),
        Some(x.dt),
        Some(x.trap),
        Some(x.angles),
        Some(scan.q_bias),
        Some(scan.k_bias),
        scan.skip,
        scan.mix_x,
        scan.mix_z,
        scan.mix_out,
        norm,
    ];
    let mut all = Bindings::default();
    for (place, data) in p.inputs.into_iter().zip(given) {
        all = all.read(place, data);
    }
    if let Some(States { angle, state, key, value }) = initial {
        for (place, data) in p.initial.into_iter().zip([angle, state, key, value]) {
            all = all.read(place, data);
        }
    }
    if let Some(StatesMut { angle, state, key, value }) = last {
        for (place, data) in p.last.into_iter().zip([angle, state, key, value]) {
            all = all.write(place, Some(data));
        }
    }
    device.execute(&p.plan, all.write(p.out, Some(out)).0)
}
