//! The selective scan on a device.
//!
//! # Which form
//! Two were counted, in cycles of an SM of an H100 for 32 steps, channels or states (a warp instruction of f32 takes 1/4, an
//! exponential 2, a shuffle 1, a read of shared memory 1):
//!
//! * A block per channel that scans time by warp shuffles over pairs (a, b), 8 steps a thread: exponential 2, about 9 multiply-adds 2.3,
//!   two shuffles for each of 5 levels and 8 steps 1.3, and, channels being last in memory, a turn through shared memory.
//! * A thread per channel and 4 states, in registers, walking time: exponential 2, 4 multiply-adds 1 (and about as many instructions for
//!   the exponential's range), shared memory 1.3 (B and C 16 bytes at once, the same for all lanes; steps and inputs once for 4 states).
//!   Lanes are channels: every access is whole lines.
//!
//! The second does less, and is bound by exponentials: rows · channels · states of them forward, 16 a cycle and SM (b = 8, d = 5120,
//! l = 2048, n = 16: 1.3e9, 0.38 ms), beside 4 · rows · channels numbers moved (1.3 GB in f32, 0.40 ms at 3.35 TB/s). What it lacks is
//! blocks when there are few channels: then time is cut into spans, with a pass over them before, which doubles the exponentials.
//!
//! Backward: every tile of 64 steps is run forward from its kept state, the states before each 8 steps go to shared memory, and 8 steps at
//! a time are walked back with states and decays in registers: 2 · rows · channels · states exponentials (3 with spans) and about 20
//! multiply-adds each; the sums over channels for dB and dC take 9 exchanges for 8 numbers. Memory: 4 reads and 3 writes of
//! rows · channels, the kept states, and shares of dB and dC, 2 · rows · states for each 32 channels, written and read once.

use super::args::SelectiveArgs;
use super::plan::{Bindings, DeviceError, Element, Executor, Host, Plan, fits, narrow};
use crate::kernels::scan::selective::{Gradients, Inputs, SelectiveScan};

/// Steps between states that are kept, as in the CPU's scan: what one keeps the other can use.
pub const TILE: usize = crate::kernels::scan::selective::TILE;
const _: () = assert!(TILE == 64, "as in shared/selective.h");
/// Channels and threads of a block, states of a round.
const LANES: usize = 32;
const BLOCK: usize = 128;
const ROUND: usize = 16;
/// Blocks that are worth cutting time for: eight for each of 132 multiprocessors.
const WANTED: usize = 1056;
/// Tiles of a span at least, so that joining them is little work.
const LEAST: usize = 4;

/// Floats of shared memory forward, as in shared/selective.h.
fn forward_shared(rounds: usize) -> usize {
    4 * (2 * 16 * LANES + 2 * 16 * ROUND + 4 * 16 * LANES + rounds * ROUND * LANES)
}

const BACK_SHARED: usize = 4 * (8 * ROUND * LANES + 3 * 4 * 8 * LANES + 3 * 8 * LANES + 2 * 8 * ROUND);

/// What is given; arrays are those of [`SelectiveScan`] and [`Inputs`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of u, delta, B, C, z, out and their gradients. Parameters and states are f32.
    pub element: Element,
    pub z: bool,
    pub initial: bool,
    pub dlast: bool,
    /// Tiles of a span; `None`: by the sizes.
    pub span: Option<usize>,
}

/// A plan, and the places of its buffers; `None` for what is not given.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub inputs: Places,
    pub initial: Option<usize>,
    pub out: Option<usize>,
    pub last: Option<usize>,
    pub starts: Option<usize>,
}

/// Same for the way back.
#[derive(Clone, Debug)]
pub struct Backward {
    pub plan: Plan,
    pub inputs: Places,
    pub starts: Option<usize>,
    pub dout: Option<usize>,
    pub dlast: Option<usize>,
    /// u, delta, B, C, z, A, D, bias, first states.
    pub gradients: [Option<usize>; 9],
}

/// Places of u, delta, B, C, z, A, D, bias.
#[derive(Clone, Copy, Debug)]
pub struct Places(pub [Option<usize>; 8]);

struct Sizes {
    args: SelectiveArgs,
    /// Six numbers for each span, and the spans of each sequence.
    spans: Vec<u32>,
    bounds: Vec<u32>,
    tiles: usize,
    count: usize,
    blocks: usize,
}

fn sizes<T>(scan: &SelectiveScan<'_, T>, options: Options) -> Result<Sizes, DeviceError> {
    let (d, n, g) = (scan.channels, scan.states, scan.groups);
    fits(d > 0 && n > 0, || format!("selective scan: {d} channels of {n} states"))?;
    fits(g > 0 && d.is_multiple_of(g), || format!("selective scan: {d} channels do not make {g} groups"))?;
    let (count, rows, per_group) = (scan.sequences.count(), scan.sequences.rows(), d / g);
    let blocks = per_group.div_ceil(LANES);
    let longest = scan.sequences.iter().map(|r| r.len().div_ceil(TILE)).max().unwrap_or(0);
    let wanted = WANTED.div_ceil((count * blocks * g).max(1));
    let span = options.span.unwrap_or_else(|| if wanted <= 2 { longest } else { longest.div_ceil(wanted).max(LEAST) }).max(1);
    let (mut spans, mut bounds, mut tiles) = (Vec::new(), vec![0], 0);
    for (i, range) in scan.sequences.iter().enumerate() {
        let parts = range.len().div_ceil(TILE * span).max(1);
        for part in 0..parts {
            let start = range.start + part * TILE * span;
            let end = range.end.min(start + TILE * span);
            for x in [i, start, end, tiles + part * span, usize::from(part == 0), usize::from(part + 1 == parts)] {
                spans.push(narrow("rows", x)?);
            }
        }
        tiles += range.len().div_ceil(TILE);
        bounds.push(narrow("spans", spans.len() / 6)?);
    }
    let args = SelectiveArgs {
        rows: narrow("rows", rows)?,
        channels: narrow("channels", d)?,
        states: narrow("states", n)?,
        groups: narrow("groups", g)?,
        per_group: narrow("channels", per_group)?,
        blocks: narrow("blocks", blocks)?,
        sequences: narrow("sequences", count)?,
        spans: narrow("spans", spans.len() / 6)?,
        softplus: scan.softplus.into(),
        has_skip: scan.skip.is_some().into(),
        has_bias: scan.delta_bias.is_some().into(),
        has_z: options.z.into(),
        has_initial: options.initial.into(),
        has_dlast: options.dlast.into(),
        carried: (spans.len() / 6 > count).into(),
    };
    Ok(Sizes { args, spans, bounds, tiles, count, blocks: blocks * g })
}

impl Places {
    fn new<T>(plan: &mut Plan, scan: &SelectiveScan<'_, T>, options: Options) -> Self {
        let (d, n, rows, e) = (scan.channels, scan.states, scan.sequences.rows(), options.element);
        let coupling = rows * scan.groups * n;
        Self([
            plan.input("u", rows * d, e),
            plan.input("delta", rows * d, e),
            plan.input("B", coupling, e),
            plan.input("C", coupling, e),
            plan.input_if(options.z, "z", rows * d, e),
            plan.input("A", d * n, Element::F32),
            plan.input_if(scan.skip.is_some(), "D", d, Element::F32),
            plan.input_if(scan.delta_bias.is_some(), "the bias of delta", d, Element::F32),
        ])
    }

    fn bind<'a>(&self, scan: &SelectiveScan<'a, f32>, x: &Inputs<'a, f32>) -> Bindings<'a> {
        let [u, delta, b, c, z, a, skip, bias] = self.0;
        let all = Bindings::default().read(u, x.u).read(delta, x.delta).read(b, x.b).read(c, x.c).read(z, x.z);
        all.read(a, scan.a).read(skip, scan.skip).read(bias, scan.delta_bias)
    }
}

fn suffix(element: Element) -> &'static str {
    if element == Element::Bf16 { "bf16" } else { "f32" }
}

/// Launches of the forward pass.
pub fn plan_forward<T>(scan: &SelectiveScan<'_, T>, options: Options) -> Result<Forward, DeviceError> {
    let s = sizes(scan, options)?;
    let (d, n, e) = (scan.channels, scan.states, options.element);
    let mut plan = Plan::default();
    let spans = plan.table("spans", s.spans.clone());
    let inputs = Places::new(&mut plan, scan, options);
    let [u, delta, b, c, z, a, skip, bias] = inputs.0;
    let initial = plan.input_if(options.initial, "first states", s.count * d * n, Element::F32);
    let out = plan.output("out", scan.sequences.rows() * d, e);
    let starts = plan.output("states at the starts of tiles", s.tiles * d * n, Element::F32);
    let last = plan.output("last states", s.count * d * n, Element::F32);
    let shared = forward_shared(n.div_ceil(ROUND));
    let all = s.args.spans as usize;
    if s.args.carried != 0 {
        let bounds = plan.table("spans of sequences", s.bounds);
        let ends = plan.scratch("ends of spans", all * d * n);
        let sums = plan.scratch("steps of spans", all * d);
        let local = format!("shoal_selective_local_{}", suffix(e));
        plan.launch(local, [all * s.blocks, BLOCK, shared], &s.args, &[spans, u, delta, b, a, bias, ends, sums])?;
        let join = [spans, bounds, a, initial, ends, sums, starts];
        plan.launch("shoal_selective_join", [(s.count * d * n).div_ceil(BLOCK), BLOCK, 0], &s.args, &join)?;
    }
    let buffers = [spans, u, delta, b, c, z, a, skip, bias, initial, out, starts, last];
    plan.launch(format!("shoal_selective_forward_{}", suffix(e)), [all * s.blocks, BLOCK, shared], &s.args, &buffers)?;
    Ok(Forward { plan: plan.checked()?, inputs, initial, out, last, starts })
}

/// Launches of the way back.
pub fn plan_backward<T>(scan: &SelectiveScan<'_, T>, options: Options) -> Result<Backward, DeviceError> {
    let s = sizes(scan, options)?;
    let (d, n, rows, g, e) = (scan.channels, scan.states, scan.sequences.rows(), scan.groups, options.element);
    let mut plan = Plan::default();
    let spans = plan.table("spans", s.spans.clone());
    let inputs = Places::new(&mut plan, scan, options);
    let [u, delta, b, c, z, a, skip, bias] = inputs.0;
    let starts = plan.input("states at the starts of tiles", s.tiles * d * n, Element::F32);
    let dout = plan.input("gradient of out", rows * d, e);
    let dlast = plan.input_if(options.dlast, "gradient of the last states", s.count * d * n, Element::F32);
    let gradients = [
        plan.output("gradient of u", rows * d, e),
        plan.output("gradient of delta", rows * d, e),
        plan.output("gradient of B", rows * g * n, Element::F32),
        plan.output("gradient of C", rows * g * n, Element::F32),
        if options.z { plan.output("gradient of z", rows * d, e) } else { None },
        plan.output("gradient of A", d * n, Element::F32),
        plan.output("gradient of D", d, Element::F32),
        plan.output("gradient of the bias of delta", d, Element::F32),
        plan.output("gradient of the first states", s.count * d * n, Element::F32),
    ];
    let [du, ddelta, db, dc, dz, da, dskip, dbias, dinitial] = gradients;
    let all = s.args.spans as usize;
    let running = plan.scratch("gradients of states", all * d * n);
    let drates = plan.scratch("shares of the gradient of A", all * d * n);
    let sums = plan.scratch("shares of the gradients of D and the bias", all * d * 2);
    let couplings = plan.scratch("shares of the gradients of B and C", s.blocks * rows * 2 * n);
    let rounds = if n > ROUND { plan.scratch("sums over rounds", 3 * rows * d) } else { None };
    if s.args.carried != 0 {
        let bounds = plan.table("spans of sequences", s.bounds);
        let ends = plan.scratch("starts of spans", all * d * n);
        let steps = plan.scratch("steps of spans", all * d);
        let local = format!("shoal_selective_back_local_{}", suffix(e));
        let shape = [all * s.blocks, BLOCK, forward_shared(n.div_ceil(ROUND))];
        plan.launch(local, shape, &s.args, &[spans, delta, c, z, a, bias, dout, ends, steps])?;
        let join = [bounds, a, dlast, ends, steps, running];
        plan.launch("shoal_selective_back_join", [(s.count * d * n).div_ceil(BLOCK), BLOCK, 0], &s.args, &join)?;
    }
    let buffers = [
        spans, u, delta, b, c, z, a, skip, bias, starts, dout, dlast, du, ddelta, dz, running, drates, sums, couplings, rounds,
        dinitial,
    ];
    plan.launch(format!("shoal_selective_backward_{}", suffix(e)), [all * s.blocks, BLOCK, BACK_SHARED], &s.args, &buffers)?;
    let shape = [(rows * g * n).div_ceil(BLOCK), BLOCK, 0];
    plan.launch("shoal_selective_sum_couplings", shape, &s.args, &[couplings, db, dc])?;
    let shape = [(d * (n + 2)).div_ceil(BLOCK), BLOCK, 0];
    plan.launch("shoal_selective_sum_spans", shape, &s.args, &[drates, sums, da, dskip, dbias])?;
    Ok(Backward { plan: plan.checked()?, inputs, starts, dout, dlast, gradients })
}

/// [`SelectiveScan`]'s passes on a device.
pub struct OnDevice<'d> {
    pub device: &'d mut dyn Executor,
    /// Tiles of a span; `None`: by the sizes. Changes rounding alone.
    pub span: Option<usize>,
}

impl<'d> OnDevice<'d> {
    pub fn new(device: &'d mut dyn Executor) -> Self {
        Self { device, span: None }
    }

    /// [`SelectiveScan::forward`] on a device.
    pub fn forward(
        &mut self,
        scan: &SelectiveScan<'_, f32>,
        x: &Inputs<'_, f32>,
        initial: Option<&[f32]>,
        out: &mut [f32],
        last: Option<&mut [f32]>,
        starts: Option<&mut [f32]>,
    ) -> Result<(), DeviceError> {
        let (z, initial_given, span) = (x.z.is_some(), initial.is_some(), self.span);
        let p = plan_forward(scan, Options { element: Element::F32, z, initial: initial_given, dlast: false, span })?;
        let all = p.inputs.bind(scan, x).read(p.initial, initial);
        self.device.execute(&p.plan, all.write(p.out, Some(out)).write(p.last, last).write(p.starts, starts).0)
    }

    /// [`SelectiveScan::backward`] on a device.
    pub fn backward(
        &mut self,
        scan: &SelectiveScan<'_, f32>,
        x: &Inputs<'_, f32>,
        starts: &[f32],
        dout: &[f32],
        dlast: Option<&[f32]>,
        to: Gradients<'_, f32>,
    ) -> Result<(), DeviceError> {
        let (z, dlast_given, span) = (x.z.is_some(), dlast.is_some(), self.span);
        let p = plan_backward(scan, Options { element: Element::F32, z, initial: false, dlast: dlast_given, span })?;
        let mut all = p.inputs.bind(scan, x).read(p.starts, starts).read(p.dout, dout).read(p.dlast, dlast);
        let to = [to.u, to.delta, to.b, to.c, to.z, to.a, to.skip, to.delta_bias, to.initial];
        for (place, to) in p.gradients.into_iter().zip(to) {
            all = all.write(place, to);
        }
        self.device.execute(&p.plan, all.0)
    }
}

/// The forward pass with u, delta, B, C, z and out in bf16, as bits.
pub fn forward_bf16(
    device: &mut dyn Executor,
    scan: &SelectiveScan<'_, f32>,
    [u, delta, b, c, z]: [&[u16]; 5],
    out: &mut [u16],
    span: Option<usize>,
) -> Result<(), DeviceError> {
    let p = plan_forward(scan, Options { element: Element::Bf16, z: true, initial: false, dlast: false, span })?;
    let [.., a, skip, bias] = p.inputs.0;
    let mut all = Bindings::default().read(a, scan.a).read(skip, scan.skip).read(bias, scan.delta_bias).0;
    for (place, data) in p.inputs.0.into_iter().zip([u, delta, b, c, z]) {
        all.extend(place.map(|at| (at, Host::ReadBf16(data))));
    }
    all.extend(p.out.map(|at| (at, Host::WriteBf16(out))));
    device.execute(&p.plan, all)
}
