//! Dense MTTKRP on a device.
//!
//! As on the CPU, X is seen as (I_L, I_n, I_T) and the longer side is contracted first: a product of X with that side's Khatri-Rao product,
//! whose rows are multiplied from the factors where a tile needs them (an index is taken apart once for all columns, then N_side loads and
//! products for each of 16 × 64 numbers, against 64 × 16 × 64 multiply-adds). The partial tensor, R·ΠI/max(I_L, I_T) numbers, is read once
//! by the row dot with the Khatri-Rao product of the shorter side.

use super::super::args::{TensorArgs, TensorDotArgs};
use super::super::plan::{Bindings, DeviceError, Element, Executor, Plan, fits, narrow};
use super::{BLOCK, DEPTH, Product, Shape, TILE_BLOCK, check_factors, joined, lanes, places};

/// A plan, and the places of its buffers.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub x: Option<usize>,
    /// The factors of all modes but the one asked for, one after the other.
    pub factors: Option<usize>,
    pub out: Option<usize>,
}

/// Same for the gradients; `None` for what is not wanted.
#[derive(Clone, Debug)]
pub struct Backward {
    pub plan: Plan,
    pub x: Option<usize>,
    /// All factors one after the other, the gradient of the result in the place of the mode's own.
    pub factors: Option<usize>,
    pub dx: Option<usize>,
    pub dfactors: Vec<Option<usize>>,
}

/// Launches of `out = MTTKRP_mode(x, factors)`, x of `shape`, factors (I_m, rank), out (I_mode, rank).
pub fn plan(shape: &[usize], rank: usize, mode: usize) -> Result<Forward, DeviceError> {
    let shape = Shape::new(shape)?;
    shape.around(mode)?;
    let (begin, numbers) = places(shape.sizes, rank, Some(mode))?;
    let mut plan = Plan::default();
    let x = plan.input("x", shape.elements, Element::F32);
    let factors = plan.input("factors", numbers, Element::F32);
    let out = plan.output("result", shape.sizes[mode] * rank, Element::F32);
    add(&mut plan, &shape, rank, mode, &begin, [x, factors, out])?;
    Ok(Forward { plan: plan.checked()?, x, factors, out })
}

/// Launches of the gradients of x and of the factors that are `wanted`; that of `mode` has none.
pub fn plan_backward(
    shape: &[usize],
    rank: usize,
    mode: usize,
    x_wanted: bool,
    wanted: &[bool],
) -> Result<Backward, DeviceError> {
    let shape = Shape::new(shape)?;
    shape.around(mode)?;
    let order = shape.sizes.len();
    fits(wanted.len() == order, || format!("gradients of {} factors, there are {order}", wanted.len()))?;
    fits(!wanted[mode], || format!("MTTKRP of mode {mode} does not depend on factor {mode}"))?;
    let (begin, numbers) = places(shape.sizes, rank, None)?;
    let mut plan = Plan::default();
    let some = wanted.contains(&true);
    let x = plan.input_if(some, "x", shape.elements, Element::F32);
    let factors = plan.input("factors", numbers, Element::F32);
    let mut dx = None;
    if x_wanted {
        dx = plan.output("gradient of x", shape.elements, Element::F32);
        add_model(&mut plan, &shape, rank, &begin, factors, dx)?;
    }
    let mut dfactors = vec![None; order];
    for m in (0..order).filter(|&m| wanted[m]) {
        dfactors[m] = plan.output("gradient of a factor", shape.sizes[m] * rank, Element::F32);
        add(&mut plan, &shape, rank, m, &begin, [x, factors, dfactors[m]])?;
    }
    Ok(Backward { plan: plan.checked()?, x, factors, dx, dfactors })
}

/// For every mode, its size and where its factor begins.
fn table(plan: &mut Plan, sizes: &[usize], begin: &[usize]) -> Result<Option<usize>, DeviceError> {
    let mut table = Vec::with_capacity(2 * sizes.len());
    for (&size, &begin) in sizes.iter().zip(begin) {
        table.extend([narrow("indices", size)?, narrow("factors", begin)?]);
    }
    Ok(plan.table("modes", table))
}

/// The launches of one mode.
fn add(
    plan: &mut Plan,
    shape: &Shape<'_>,
    rank: usize,
    mode: usize,
    begin: &[usize],
    [x, factors, out]: [Option<usize>; 3],
) -> Result<(), DeviceError> {
    let [l, i, t] = shape.around(mode)?;
    let sizes = shape.sizes;
    let trailing = l <= t;
    let (before, after) = (table(plan, &sizes[..mode], &begin[..mode])?, table(plan, &sizes[mode + 1..], &begin[mode + 1..])?);
    // The side that is contracted first, and the other one.
    let (first, second) = if trailing { (after, before) } else { (before, after) };
    let counts = [mode, sizes.len() - 1 - mode];
    let [modes, others] = if trailing { [counts[1], counts[0]] } else { counts };
    let (stem, dims, lies) = if trailing {
        let lies = TensorArgs { outer: narrow("numbers of a row", t)?, ..TensorArgs::default() };
        ("contract_rows", [l * i, rank, t], lies)
    } else {
        // All rows are one run.
        let run = narrow("numbers of a run", i * t)?;
        ("contract_columns", [i * t, rank, l], TensorArgs { inner: run.max(1), step: run, ..TensorArgs::default() })
    };
    let lies = TensorArgs { out_inner: 1, modes: narrow("modes", modes)?, ..lies };
    let product = Product { stem, sizes: dims, lies, buffers: &[first, x, factors] };
    let terms = l.min(t);
    if others == 0 {
        // Nothing is left to contract: ones times the parts.
        return product.to(plan, out);
    }
    let (partial, cut) = product.launch(plan, None)?;
    let width = lanes(rank);
    let args = TensorDotArgs {
        outputs: narrow("rows", i)?,
        rank: narrow("rank", rank)?,
        terms: narrow("terms", terms)?,
        output_step: narrow("rows", if trailing { 1 } else { t })?,
        term_step: narrow("rows", if trailing { i } else { 1 })?,
        rows: narrow("rows", dims[0])?,
        parts: narrow("parts", cut.parts)?,
        modes: narrow("modes", others)?,
        width: narrow("columns", width)?,
    };
    plan.launch("shoal_tensor_row_dot", [i * rank.div_ceil(width), BLOCK, 4 * BLOCK], &args, &[second, factors, partial, out])
}

/// `out = Σ_r Π_m factors[m][i_m, r]` in C order: a product of two Khatri-Rao products. 64 rows of each side are looked up for a tile.
fn add_model(
    plan: &mut Plan,
    shape: &Shape<'_>,
    rank: usize,
    begin: &[usize],
    factors: Option<usize>,
    out: Option<usize>,
) -> Result<(), DeviceError> {
    let sizes = |s: usize| [shape.sizes[..s].iter().product::<usize>(), shape.sizes[s..].iter().product::<usize>()];
    let split = (0..shape.sizes.len()).min_by_key(|&s| sizes(s).iter().sum::<usize>()).unwrap_or(0);
    let [rows, columns] = sizes(split);
    let table = table(plan, shape.sizes, begin)?;
    let (side, order) = (64, shape.sizes.len());
    let args = TensorArgs {
        rows: narrow("rows", rows)?,
        columns: narrow("columns", columns)?,
        depth: narrow("rank", rank)?,
        part: narrow("rank", rank.next_multiple_of(DEPTH).max(DEPTH))?,
        out_inner: 1,
        left_modes: narrow("modes", split)?,
        modes: narrow("modes", order - split)?,
        ..TensorArgs::default()
    };
    let shared = 4 * (side * (side + 1) + side * order);
    let grid = rows.div_ceil(side) * columns.div_ceil(side);
    plan.launch("shoal_tensor_model", [grid, TILE_BLOCK, shared], &args, &[table, factors, out])
}

/// [`mttkrp`](crate::kernels::mttkrp::mttkrp) on a device.
pub fn forward(
    device: &mut dyn Executor,
    x: &[f32],
    shape: &[usize],
    factors: &[&[f32]],
    rank: usize,
    mode: usize,
    out: &mut [f32],
) -> Result<(), DeviceError> {
    let p = plan(shape, rank, mode)?;
    check_factors(shape, factors, rank, Some(mode))?;
    let factors = joined(factors, Some(mode));
    device.execute(&p.plan, Bindings::default().read(p.x, x).read(p.factors, &factors[..]).write(p.out, Some(out)).0)
}

/// [`mttkrp_backward`](crate::kernels::mttkrp::mttkrp_backward) on a device.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    device: &mut dyn Executor,
    x: &[f32],
    shape: &[usize],
    factors: &[&[f32]],
    rank: usize,
    mode: usize,
    dw: &[f32],
    dx: Option<&mut [f32]>,
    dfactors: &mut [Option<&mut [f32]>],
) -> Result<(), DeviceError> {
    let wanted: Vec<bool> = dfactors.iter().map(Option::is_some).collect();
    let p = plan_backward(shape, rank, mode, dx.is_some(), &wanted)?;
    check_factors(shape, factors, rank, Some(mode))?;
    let mut with = factors.to_vec();
    with[mode] = dw;
    check_factors(shape, &with, rank, None)?;
    let with = joined(&with, None);
    let mut all = Bindings::default().read(p.x, x).read(p.factors, &with[..]).write(p.dx, dx);
    for (place, to) in p.dfactors.iter().zip(dfactors) {
        all = all.write(*place, to.as_deref_mut());
    }
    device.execute(&p.plan, all.0)
}
