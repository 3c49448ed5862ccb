//! Sparse MTTKRP on a device: nonzeros sorted by the mode's index, segmented sums without atomics.
//!
//! Stretches of S nonzeros, S between 16 and 256 by their number alone, whatever the rows: a long row is cut into many stretches, a short
//! one lies inside one. Lanes have the columns of the rank, as many groups of 1, 2, … 32 lanes as fit a warp. A stretch writes the rows that
//! begin in it, and one more sum for a row that began before: its head. Heads of one row are neighbours, so the next launch takes them for
//! nonzeros of one number for each column, and so on: ⌈log_S⌉ of the nonzeros launches, all sums in one order.

use super::super::args::TensorSparseArgs;
use super::super::plan::{Bindings, DeviceError, Element, Executor, Plan, fits, narrow};
use super::{BLOCK, Shape, check_factors, joined, lanes, places};

/// Items of a stretch of heads.
const HEADS: usize = 32;

/// Coordinates of a sparse tensor, sorted for the MTTKRP of one mode.
#[derive(Clone, Debug)]
pub struct Sorted {
    shape: Vec<usize>,
    mode: usize,
    /// The mode's index of each nonzero, never falling.
    rows: Vec<u32>,
    /// The other modes' indices, (N − 1, nonzeros).
    indices: Vec<u32>,
    /// Where each nonzero was.
    from: Vec<u32>,
}

impl Sorted {
    /// Coordinates `indices[m][k]` of nonzero k. Equal rows keep their order.
    ///
    /// # Errors
    /// [`DeviceError::Sizes`] when lists disagree, or an index is not below the size of its mode.
    pub fn new(shape: &[usize], indices: &[&[u32]], mode: usize) -> Result<Self, DeviceError> {
        Shape::new(shape)?.around(mode)?;
        check_indices(shape, indices)?;
        let count = indices[mode].len();
        let mut from: Vec<u32> = (0..narrow("nonzeros", count)?).collect();
        from.sort_by_key(|&k| indices[mode][k as usize]);
        let gather = |m: usize| from.iter().map(move |&k| indices[m][k as usize]);
        let rows = gather(mode).collect();
        let others = (0..shape.len()).filter(|&m| m != mode).flat_map(gather).collect();
        Ok(Self { shape: shape.to_vec(), mode, rows, indices: others, from })
    }

    /// Values in the order of the nonzeros, sorted like them.
    pub fn values(&self, values: &[f32]) -> Vec<f32> {
        self.from.iter().map(|&k| values[k as usize]).collect()
    }

    /// Nonzeros.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn check_indices(shape: &[usize], indices: &[&[u32]]) -> Result<(), DeviceError> {
    fits(indices.len() == shape.len(), || format!("{} lists of indices for {} modes", indices.len(), shape.len()))?;
    for (m, (list, &size)) in indices.iter().zip(shape).enumerate() {
        fits(list.len() == indices[0].len(), || {
            format!("{} indices of mode {m}, {} of mode 0: expected as many", list.len(), indices[0].len())
        })?;
        let outside = list.iter().find(|&&i| i as usize >= size);
        fits(outside.is_none(), || format!("index {} of mode {m}, expected below {size}", outside.copied().unwrap_or(0)))?;
    }
    Ok(())
}

/// A plan, and the places of its buffers.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub rows: Option<usize>,
    pub indices: Option<usize>,
    /// Sorted: [`Sorted::values`].
    pub values: Option<usize>,
    /// The factors of all modes but the one asked for, one after the other.
    pub factors: Option<usize>,
    pub out: Option<usize>,
}

/// What one launch leaves for the next: rows of the heads, in order.
struct Level {
    /// Heads before each stretch.
    slots: Vec<u32>,
    rows: Vec<u32>,
}

impl Level {
    /// `rows`: of the items of this level.
    fn new(rows: &[u32], stretch: usize) -> Self {
        let mut level = Self { slots: Vec::new(), rows: Vec::new() };
        for start in (0..rows.len()).step_by(stretch) {
            level.slots.push(level.rows.len() as u32);
            if start > 0 && rows[start - 1] == rows[start] {
                level.rows.push(rows[start]);
            }
        }
        level
    }
}

/// Nonzeros of a stretch.
fn stretch(nonzeros: usize) -> usize {
    (nonzeros >> 16).next_power_of_two().clamp(16, 256)
}

/// Launches of the MTTKRP that `sorted` is for: factors (I_m, rank), result (I_mode, rank).
pub fn plan(sorted: &Sorted, rank: usize) -> Result<Forward, DeviceError> {
    let (shape, mode, count) = (&sorted.shape, sorted.mode, sorted.len());
    let (begin, numbers) = places(shape, rank, Some(mode))?;
    let others = shape.len() - 1;
    let mut plan = Plan::default();
    let rows = plan.input("rows of nonzeros", count, Element::U32);
    let indices = plan.input("indices", others * count, Element::U32);
    let values = plan.input("values", count, Element::F32);
    let factors = plan.input("factors", numbers, Element::F32);
    let out = plan.output("result", shape[mode] * rank, Element::F32);
    let mut table = Vec::with_capacity(others);
    for m in (0..shape.len()).filter(|&m| m != mode) {
        table.push(narrow("factors", begin[m])?);
    }
    let table = plan.table("modes", table);

    let results = shape[mode] * rank;
    let args = TensorSparseArgs { items: narrow("results", results)?, ..TensorSparseArgs::default() };
    plan.launch("shoal_tensor_zero", [results.div_ceil(BLOCK), BLOCK, 0], &args, &[out])?;
    let width = lanes(rank);
    let mut below: Option<(Vec<u32>, Option<usize>)> = None;
    loop {
        let items = below.as_ref().map_or(&sorted.rows, |(rows, _)| rows);
        let each = if below.is_none() { stretch(count) } else { HEADS };
        let level = Level::new(items, each);
        let stretches = level.slots.len();
        let args = TensorSparseArgs {
            items: narrow("nonzeros", items.len())?,
            stretch: narrow("nonzeros", each)?,
            stretches: narrow("stretches", stretches)?,
            rank: narrow("rank", rank)?,
            width: narrow("lanes", width)?,
            modes: narrow("modes", others)?,
        };
        let groups = if rank == 0 { 0 } else { stretches * rank.div_ceil(width) };
        let shape = [groups.div_ceil(BLOCK / width), BLOCK, 0];
        let slots = plan.table("heads before stretches", level.slots);
        let heads = plan.scratch("heads", level.rows.len() * rank);
        match &below {
            None => {
                let buffers = [rows, slots, table, indices, values, factors, out, heads];
                plan.launch("shoal_tensor_walk", shape, &args, &buffers)?;
            }
            Some((items, from)) => {
                let items = plan.table("rows of heads", items.clone());
                plan.launch("shoal_tensor_join", shape, &args, &[items, slots, *from, out, heads])?;
            }
        }
        if level.rows.is_empty() {
            break;
        }
        below = Some((level.rows, heads));
    }
    Ok(Forward { plan: plan.checked()?, rows, indices, values, factors, out })
}

/// Launches of the model's values at coordinates, and the places of indices (N, items), all factors, and the values.
pub fn plan_values(shape: &[usize], items: usize, rank: usize) -> Result<(Plan, [Option<usize>; 3]), DeviceError> {
    Shape::new(shape)?;
    let (begin, numbers) = places(shape, rank, None)?;
    let mut plan = Plan::default();
    let indices = plan.input("indices", shape.len() * items, Element::U32);
    let factors = plan.input("factors", numbers, Element::F32);
    let out = plan.output("values", items, Element::F32);
    let begin = begin.into_iter().map(|b| narrow("factors", b)).collect::<Result<Vec<u32>, _>>()?;
    let table = plan.table("modes", begin);
    let width = lanes(rank);
    let args = TensorSparseArgs {
        items: narrow("nonzeros", items)?,
        rank: narrow("rank", rank)?,
        width: narrow("lanes", width)?,
        modes: narrow("modes", shape.len())?,
        ..TensorSparseArgs::default()
    };
    plan.launch("shoal_tensor_values", [items.div_ceil(BLOCK / width), BLOCK, 0], &args, &[table, indices, factors, out])?;
    Ok((plan.checked()?, [indices, factors, out]))
}

/// MTTKRP of sorted coordinates on a device, as [`SparsePlan::mttkrp`](crate::kernels::mttkrp::sparse::SparsePlan::mttkrp); `values` are in
/// the order that the coordinates were given in.
pub fn forward(
    device: &mut dyn Executor,
    sorted: &Sorted,
    values: &[f32],
    factors: &[&[f32]],
    rank: usize,
    out: &mut [f32],
) -> Result<(), DeviceError> {
    let p = plan(sorted, rank)?;
    fits(values.len() == sorted.len(), || format!("{} values for {} nonzeros", values.len(), sorted.len()))?;
    check_factors(&sorted.shape, factors, rank, Some(sorted.mode))?;
    let (values, factors) = (sorted.values(values), joined(factors, Some(sorted.mode)));
    let all = Bindings::default().read_u32(p.rows, &sorted.rows).read_u32(p.indices, &sorted.indices);
    device.execute(&p.plan, all.read(p.values, &values[..]).read(p.factors, &factors[..]).write(p.out, Some(out)).0)
}

/// [`mttkrp_values_backward`](crate::kernels::mttkrp::mttkrp_values_backward) on a device. The gradients of the factors are [`forward`] of the
/// other modes with `dw` in the place of factor `mode`.
#[allow(clippy::too_many_arguments)]
pub fn values_backward(
    device: &mut dyn Executor,
    shape: &[usize],
    indices: &[&[u32]],
    factors: &[&[f32]],
    rank: usize,
    mode: usize,
    dw: &[f32],
    dvalues: &mut [f32],
) -> Result<(), DeviceError> {
    Shape::new(shape)?.around(mode)?;
    check_indices(shape, indices)?;
    fits(dvalues.len() == indices[0].len(), || format!("{} values for {} nonzeros", dvalues.len(), indices[0].len()))?;
    check_factors(shape, factors, rank, Some(mode))?;
    let mut with = factors.to_vec();
    with[mode] = dw;
    check_factors(shape, &with, rank, None)?;
    let (plan, [at, from, out]) = plan_values(shape, dvalues.len(), rank)?;
    let (with, lists) = (joined(&with, None), indices.concat());
    let all = Bindings::default().read_u32(at, &lists).read(from, &with[..]);
    device.execute(&plan, all.write(out, Some(dvalues)).0)
}
