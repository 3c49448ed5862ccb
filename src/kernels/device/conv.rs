//! Causal convolution on a device.
//!
//! One thread has a channel of [`ROWS`] rows and slides over them with its window in registers; neighbouring threads have neighbouring
//! channels, so every access is whole lines. Bytes per element: forward one read and one write (and `W - 1` rows in [`ROWS`] read twice),
//! backward two reads and a write; k multiply-adds and an exponential forward, about three times that backward. So it is bound by memory.

use super::args::ConvArgs;
use super::plan::{Bindings, DeviceError, Element, Executor, Host, Plan, fits, narrow};
use crate::kernels::scan::causal_conv::{CausalConv, Gradients, MOST_TAPS};

/// Rows of a piece: one thread goes over them.
pub const ROWS: usize = 64;
/// Threads of a block.
const BLOCK: usize = 128;

/// A plan, and the places of its buffers; `None` for what is not given.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub x: Option<usize>,
    pub weight: Option<usize>,
    pub bias: Option<usize>,
    pub before: Option<usize>,
    pub y: Option<usize>,
    pub after: Option<usize>,
}

/// Same for the way back.
#[derive(Clone, Debug)]
pub struct Backward {
    pub plan: Plan,
    pub x: Option<usize>,
    pub weight: Option<usize>,
    pub bias: Option<usize>,
    pub before: Option<usize>,
    pub dy: Option<usize>,
    pub dafter: Option<usize>,
    pub dx: Option<usize>,
    pub dbefore: Option<usize>,
    pub dweight: Option<usize>,
    pub dbias: Option<usize>,
}

/// What is the same for both ways.
struct Sizes {
    args: ConvArgs,
    pieces: Vec<u32>,
    rows: usize,
    carried: usize,
    blocks: usize,
    suffix: &'static str,
}

fn sizes<T>(conv: &CausalConv<'_, T>, element: Element, before: bool, dafter: bool) -> Result<Sizes, DeviceError> {
    let (d, k) = (conv.channels, conv.taps);
    fits((1..=MOST_TAPS).contains(&k) && d > 0, || format!("causal convolution: {k} taps over {d} channels"))?;
    let rows = conv.sequences.rows();
    fits(i32::try_from(rows).is_ok(), || format!("causal convolution: {rows} rows"))?;
    let mut pieces = Vec::new();
    for (i, whole) in conv.sequences.iter().enumerate() {
        // A sequence without rows still hands on what it was given.
        for start in (whole.clone()).step_by(ROWS).chain(whole.is_empty().then_some(whole.start)) {
            let end = whole.end.min(start + ROWS);
            for x in [i, whole.start, whole.end, start, end] {
                pieces.push(narrow("rows", x)?);
            }
        }
    }
    let count = pieces.len() / 5;
    let args = ConvArgs {
        channels: narrow("channels", d)?,
        taps: narrow("taps", k)?,
        pieces: narrow("pieces", count)?,
        silu: conv.silu.into(),
        has_bias: conv.bias.is_some().into(),
        has_before: before.into(),
        has_dafter: dafter.into(),
    };
    let suffix = match (k <= 4, element) {
        (true, Element::Bf16) => "w4_bf16",
        (false, Element::Bf16) => "w16_bf16",
        (true, _) => "w4_f32",
        (false, _) => "w16_f32",
    };
    let carried = conv.sequences.count() * (k - 1) * d;
    Ok(Sizes { args, pieces, rows, carried, blocks: d.div_ceil(BLOCK) * count, suffix })
}

/// `element`: of x, y and the rows carried; the filter is f32.
pub fn plan_forward<T>(conv: &CausalConv<'_, T>, element: Element, before: bool) -> Result<Forward, DeviceError> {
    let s = sizes(conv, element, before, false)?;
    let (d, k) = (conv.channels, conv.taps);
    let mut plan = Plan::default();
    let pieces = plan.table("pieces", s.pieces);
    let x = plan.input("x", s.rows * d, element);
    let weight = plan.input("weight", d * k, Element::F32);
    let bias = plan.input_if(conv.bias.is_some(), "bias", d, Element::F32);
    let before = plan.input_if(before, "rows carried in", s.carried, element);
    let y = plan.output("y", s.rows * d, element);
    let after = plan.output("rows carried on", s.carried, element);
    let entry = format!("shoal_conv_forward_{}", s.suffix);
    plan.launch(entry, [s.blocks, BLOCK, 0], &s.args, &[pieces, x, weight, bias, before, y, after])?;
    Ok(Forward { plan: plan.checked()?, x, weight, bias, before, y, after })
}

/// Same for the gradients.
pub fn plan_backward<T>(conv: &CausalConv<'_, T>, element: Element, before: bool, dafter: bool) -> Result<Backward, DeviceError> {
    let s = sizes(conv, element, before, dafter)?;
    let (d, k) = (conv.channels, conv.taps);
    let mut plan = Plan::default();
    let pieces = plan.table("pieces", s.pieces);
    let x = plan.input("x", s.rows * d, element);
    let weight = plan.input("weight", d * k, Element::F32);
    let bias = plan.input_if(conv.bias.is_some(), "bias", d, Element::F32);
    let before = plan.input_if(before, "rows carried in", s.carried, element);
    let dy = plan.input("gradient of y", s.rows * d, element);
    let dafter = plan.input_if(dafter, "gradient of the rows carried on", s.carried, element);
    let dx = plan.output("gradient of x", s.rows * d, element);
    let dbefore = plan.output("gradient of the rows carried in", s.carried, element);
    let sums = plan.scratch("sums of pieces", s.args.pieces as usize * (k + 1) * d);
    let dweight = plan.output("gradient of the weight", d * k, Element::F32);
    let dbias = plan.output("gradient of the bias", d, Element::F32);
    let buffers = [pieces, x, weight, bias, before, dy, dafter, dx, dbefore, sums];
    plan.launch(format!("shoal_conv_backward_{}", s.suffix), [s.blocks, BLOCK, 0], &s.args, &buffers)?;
    plan.launch("shoal_conv_sums", [((k + 1) * d).div_ceil(BLOCK), BLOCK, 0], &s.args, &[sums, dweight, dbias])?;
    Ok(Backward { plan: plan.checked()?, x, weight, bias, before, dy, dafter, dx, dbefore, dweight, dbias })
}

/// [`CausalConv::forward`] on a device.
pub fn forward(
    device: &mut dyn Executor,
    conv: &CausalConv<'_, f32>,
    x: &[f32],
    before: Option<&[f32]>,
    y: &mut [f32],
    after: Option<&mut [f32]>,
) -> Result<(), DeviceError> {
    let p = plan_forward(conv, Element::F32, before.is_some())?;
    let bindings = Bindings::default().read(p.x, x).read(p.weight, conv.weight).read(p.bias, conv.bias).read(p.before, before);
    device.execute(&p.plan, bindings.write(p.y, Some(y)).write(p.after, after).0)
}

/// [`CausalConv::backward`] on a device.
pub fn backward(
    device: &mut dyn Executor,
    conv: &CausalConv<'_, f32>,
    x: &[f32],
    before: Option<&[f32]>,
    dy: &[f32],
    dafter: Option<&[f32]>,
    to: Gradients<'_, f32>,
) -> Result<(), DeviceError> {
    let p = plan_backward(conv, Element::F32, before.is_some(), dafter.is_some())?;
    let inputs = Bindings::default().read(p.x, x).read(p.weight, conv.weight).read(p.bias, conv.bias);
    let inputs = inputs.read(p.before, before).read(p.dy, dy).read(p.dafter, dafter);
    let all = inputs.write(p.dx, to.x).write(p.dbefore, to.before).write(p.dweight, to.weight).write(p.dbias, to.bias);
    device.execute(&p.plan, all.0)
}

/// The same with x and y in bf16, as bits.
pub fn forward_bf16(device: &mut dyn Executor, conv: &CausalConv<'_, f32>, x: &[u16], y: &mut [u16]) -> Result<(), DeviceError> {
    let p = plan_forward(conv, Element::Bf16, false)?;
    let mut bindings = Bindings::default().read(p.weight, conv.weight).read(p.bias, conv.bias).0;
    bindings.extend(p.x.map(|at| (at, Host::ReadBf16(x))));
    bindings.extend(p.y.map(|at| (at, Host::WriteBf16(y))));
    device.execute(&p.plan, bindings)
}
