//! The scan of Mamba-2 on a device: products of matrices inside chunks of at most 64 steps, states handed from chunk to chunk.
//!
//! Launches forward: C·Bᵀ of every chunk and group; what every chunk adds to the state of each head; the states handed on (one thread for
//! an element of a state, chunks in order); y of every chunk and head. With Q steps of a chunk, n states, width p, and h heads of g groups:
//! multiply-adds for each row 2·Q·n·g (half of it is thrown away), 2·n·p·h, and h·(n·p + Q·p); about Q/2 exponentials for each row and
//! head. At Q = n = p = 64 and 24 heads of one group that is 0.3 M multiply-adds for each row against 25 KB moved (x, y, dt, B, C, and the
//! states of chunks written twice and read twice): 24 flops for each byte, so plain f32 multiply-adds bound it on an H100 (67 TFLOP/s
//! against 3.35 TB/s: 20), and matrix units are what a native form would gain from.
//!
//! Backward: the states again, the gradients of states in the same way from the end, then one block for each chunk and head: 4 products of
//! matrices, h·(2·n·p + 2·Q·p) for each row; the gradients of C·Bᵀ are kept for each head (Q numbers for each row and head), summed in
//! order, and one block for 64 states of a chunk and group goes through the heads in order: 2·h·n·p. No atomics anywhere.

use super::args::SsdArgs;
use super::chunks::{Chunks, DECAY_FLOATS, SIDE, TILE_BLOCK, TILE_FLOATS};
use super::plan::{Bindings, DeviceError, Element, Executor, Plan, fits, narrow};
use crate::kernels::scan::ssd::{Gradients, Inputs, Skip, Ssd};

/// Threads of a block that walks chunks.
const BLOCK: usize = 128;
/// Bytes of shared memory: of products, and of the way back of a chunk, as in shared/ssd.h.
const SHARED: usize = 4 * (TILE_FLOATS + DECAY_FLOATS + 2 * 64);
const BACK_SHARED: usize = 4 * (TILE_FLOATS + DECAY_FLOATS + 64 + 64 * 65 + 4 * 64 + 16);

/// Places of x, dt, B, C, A, D.
#[derive(Clone, Copy, Debug)]
pub struct Places(pub [Option<usize>; 6]);

/// A plan, and the places of its buffers; `None` for what is not given.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub inputs: Places,
    pub initial: Option<usize>,
    pub y: Option<usize>,
    pub last: Option<usize>,
}

/// Same for the way back.
#[derive(Clone, Debug)]
pub struct Backward {
    pub plan: Plan,
    pub inputs: Places,
    pub initial: Option<usize>,
    pub dy: Option<usize>,
    pub dlast: Option<usize>,
    /// x, dt, B, C, A, D, first states.
    pub gradients: [Option<usize>; 7],
}

/// What both ways begin with.
struct Begun {
    plan: Plan,
    args: SsdArgs,
    inputs: Places,
    initial: Option<usize>,
    chunks: Option<usize>,
    bounds: Option<usize>,
    /// C·Bᵀ of chunks and groups, states before chunks, decays of chunks.
    squares: Option<usize>,
    states: Option<usize>,
    decays: Option<usize>,
    last: Option<usize>,
    count: usize,
    across: usize,
    down: usize,
}

impl Begun {
    /// The states before all chunks.
    fn new<T>(ssd: &Ssd<'_, T>, initial: bool, dlast: bool) -> Result<Self, DeviceError> {
        let Ssd { heads: h, width: p, groups: g, states: n, .. } = *ssd;
        fits(h > 0 && p > 0 && n > 0, || format!("ssd: {h} heads of {p} x {n} states"))?;
        fits(g > 0 && h.is_multiple_of(g), || format!("ssd: {h} heads do not make {g} groups"))?;
        fits(ssd.chunk > 0, || "ssd: chunks of no steps".to_string())?;
        let (rows, sequences, steps) = (ssd.sequences.rows(), ssd.sequences.count(), ssd.chunk.min(SIDE));
        let of = Chunks::new(&ssd.sequences, steps)?;
        let skip = match ssd.skip {
            None => (0, 0),
            Some(Skip::Head(_)) => (1, h),
            Some(Skip::Channel(_)) => (2, h * p),
        };
        let args = SsdArgs {
            rows: narrow("rows", rows)?,
            heads: narrow("heads", h)?,
            width: narrow("width", p)?,
            groups: narrow("groups", g)?,
            states: narrow("states", n)?,
            per_group: narrow("heads", h / g)?,
            chunk: narrow("steps", steps)?,
            chunks: narrow("chunks", of.count)?,
            sequences: narrow("sequences", sequences)?,
            skip: skip.0,
            has_initial: initial.into(),
            has_dlast: dlast.into(),
        };
        let mut plan = Plan::default();
        let (count, state) = (of.count, h * p * n);
        let chunks = plan.table("chunks", of.table);
        let bounds = plan.table("chunks of sequences", of.bounds);
        let inputs = Places([
            plan.input("x", rows * h * p, Element::F32),
            plan.input("dt", rows * h, Element::F32),
            plan.input("B", rows * g * n, Element::F32),
            plan.input("C", rows * g * n, Element::F32),
            plan.input("A", h, Element::F32),
            plan.input_if(skip.0 > 0, "D", skip.1, Element::F32),
        ]);
        let [x, dt, b, c, a, _] = inputs.0;
        let initial = plan.input_if(initial, "first states", sequences * state, Element::F32);
        let last = plan.output("last states", sequences * state, Element::F32);
        let squares = plan.scratch("products of C and B", count * g * steps * steps);
        let states = plan.scratch("states of chunks", count * state);
        let decays = plan.scratch("decays of chunks", count * h);
        let (across, down) = (n.div_ceil(SIDE), p.div_ceil(SIDE));
        plan.launch("shoal_ssd_couplings", [count * g, TILE_BLOCK, SHARED], &args, &[chunks, b, c, squares])?;
        let tiles = [count * h * across * down, TILE_BLOCK, SHARED];
        plan.launch("shoal_ssd_chunk_states", tiles, &args, &[chunks, x, dt, b, a, states, decays])?;
        let pass = [(sequences * state).div_ceil(BLOCK), BLOCK, 0];
        plan.launch("shoal_ssd_pass", pass, &args, &[bounds, decays, initial, states, last])?;
        Ok(Self { plan, args, inputs, initial, chunks, bounds, squares, states, decays, last, count, across, down })
    }
}

impl Places {
    fn bind<'a>(&self, ssd: &Ssd<'a, f32>, x: &Inputs<'a, f32>) -> Bindings<'a> {
        let [px, dt, b, c, a, d] = self.0;
        let skip = ssd.skip.map(|skip| match skip {
            Skip::Head(d) | Skip::Channel(d) => d,
        });
        Bindings::default().read(px, x.x).read(dt, x.dt).read(b, x.b).read(c, x.c).read(a, ssd.a).read(d, skip)
    }
}

/// Launches of the forward pass.
pub fn plan_forward<T>(ssd: &Ssd<'_, T>, initial: bool) -> Result<Forward, DeviceError> {
    let mut s = Begun::new(ssd, initial, false)?;
    let [x, dt, _, c, a, d] = s.inputs.0;
    let y = s.plan.output("y", ssd.sequences.rows() * ssd.heads * ssd.width, Element::F32);
    let tiles = [s.count * ssd.heads * s.down, TILE_BLOCK, SHARED];
    s.plan.launch("shoal_ssd_chunk_scan", tiles, &s.args, &[s.chunks, x, dt, c, a, d, s.squares, s.states, y])?;
    Ok(Forward { plan: s.plan.checked()?, inputs: s.inputs, initial: s.initial, y, last: s.last })
}

/// Launches of the way back.
pub fn plan_backward<T>(ssd: &Ssd<'_, T>, initial: bool, dlast: bool) -> Result<Backward, DeviceError> {
    let Begun { mut plan, args, inputs, initial, chunks, bounds, squares, states, decays, count, across, down, .. } =
        Begun::new(ssd, initial, dlast)?;
    let Ssd { heads: h, width: p, groups: g, states: n, .. } = *ssd;
    let (rows, sequences, state, square) =
        (ssd.sequences.rows(), ssd.sequences.count(), h * p * n, (args.chunk * args.chunk) as usize);
    let [x, dt, b, c, a, d] = inputs.0;
    let dy = plan.input("gradient of y", rows * h * p, Element::F32);
    let dlast = plan.input_if(dlast, "gradient of the last states", sequences * state, Element::F32);
    let skips = match args.skip {
        0 => 0,
        1 => h,
        _ => h * p,
    };
    let gradients = [
        plan.output("gradient of x", rows * h * p, Element::F32),
        plan.output("gradient of dt", rows * h, Element::F32),
        plan.output("gradient of B", rows * g * n, Element::F32),
        plan.output("gradient of C", rows * g * n, Element::F32),
        plan.output("gradient of A", h, Element::F32),
        plan.output("gradient of D", skips, Element::F32),
        plan.output("gradient of the first states", sequences * state, Element::F32),
    ];
    let [dx, ddt, db, dc, da, dd, dinitial] = gradients;
    let dstates = plan.scratch("gradients of the states of chunks", count * state);
    let dsquares = plan.scratch("gradients of products of C and B, by heads", count * h * square);
    let sums = plan.scratch("gradients of products of C and B", count * g * square);
    let drates = plan.scratch("shares of the gradient of A", count * h);
    let dskip = plan.scratch("shares of the gradient of D", count * h * p);
    let tiles = [count * h * across * down, TILE_BLOCK, SHARED];
    plan.launch("shoal_ssd_chunk_gradients", tiles, &args, &[chunks, dy, dt, c, a, dstates])?;
    let pass = [(sequences * state).div_ceil(BLOCK), BLOCK, 0];
    plan.launch("shoal_ssd_pass_back", pass, &args, &[bounds, decays, dlast, dstates, dinitial])?;
    let buffers = [chunks, x, dt, b, c, a, d, dy, squares, states, dstates, dx, ddt, dsquares, drates, dskip];
    plan.launch("shoal_ssd_back_chunk", [count * h, TILE_BLOCK, BACK_SHARED], &args, &buffers)?;
    let shape = [(count * g * square).div_ceil(BLOCK), BLOCK, 0];
    plan.launch("shoal_ssd_sum_heads", shape, &args, &[chunks, dsquares, sums])?;
    let buffers = [chunks, x, dt, b, c, a, dy, sums, states, dstates, db, dc];
    plan.launch("shoal_ssd_back_couplings", [count * g * across * 2, TILE_BLOCK, SHARED], &args, &buffers)?;
    plan.launch("shoal_ssd_sum_chunks", [(h + skips).div_ceil(BLOCK), BLOCK, 0], &args, &[drates, dskip, da, dd])?;
    Ok(Backward { plan: plan.checked()?, inputs, initial, dy, dlast, gradients })
}

/// [`Ssd::forward`] on a device.
pub fn forward(
    device: &mut dyn Executor,
    ssd: &Ssd<'_, f32>,
    x: &Inputs<'_, f32>,
    initial: Option<&[f32]>,
    y: &mut [f32],
    last: Option<&mut [f32]>,
) -> Result<(), DeviceError> {
    let p = plan_forward(ssd, initial.is_some())?;
    let all = p.inputs.bind(ssd, x).read(p.initial, initial).write(p.y, Some(y)).write(p.last, last);
    device.execute(&p.plan, all.0)
}

/// [`Ssd::backward`] on a device.
pub fn backward(
    device: &mut dyn Executor,
    ssd: &Ssd<'_, f32>,
    x: &Inputs<'_, f32>,
    initial: Option<&[f32]>,
    dy: &[f32],
    dlast: Option<&[f32]>,
    to: Gradients<'_, f32>,
) -> Result<(), DeviceError> {
    let p = plan_backward(ssd, initial.is_some(), dlast.is_some())?;
    let mut all = p.inputs.bind(ssd, x).read(p.initial, initial).read(p.dy, dy).read(p.dlast, dlast);
    for (place, to) in p.gradients.into_iter().zip([to.x, to.dt, to.b, to.c, to.a, to.skip, to.initial]) {
        all = all.write(place, to);
    }
    device.execute(&p.plan, all.0)
}
