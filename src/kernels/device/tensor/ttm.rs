//! Tensor times matrix on a device.
//!
//! `out[…, j, …] = Σ_i M[j, i] · x[…, i, …]`: rows of the product are all places but the mode's, in the order they lie, so that X is neither
//! turned nor copied; columns are j. A chain keeps its intermediates on the device and takes modes in the order of least arithmetic.

use super::super::args::TensorArgs;
use super::super::plan::{Bindings, DeviceError, Element, Executor, Plan, fits, narrow};
use super::{Product, Shape};
use crate::kernels::ttm::order;

/// A plan, and the places of its buffers.
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    pub x: Option<usize>,
    pub m: Option<usize>,
    pub out: Option<usize>,
}

/// Same for the gradients; `None` for what is not wanted.
#[derive(Clone, Debug)]
pub struct Backward {
    pub plan: Plan,
    pub x: Option<usize>,
    pub m: Option<usize>,
    pub dout: Option<usize>,
    pub dx: Option<usize>,
    pub dm: Option<usize>,
}

/// Same for a chain of products.
#[derive(Clone, Debug)]
pub struct Chain {
    pub plan: Plan,
    pub x: Option<usize>,
    /// Of each mode; `None` for one that is left out.
    pub matrices: Vec<Option<usize>>,
    pub out: Option<usize>,
    /// Of the result.
    pub shape: Vec<usize>,
}

/// X (I_L, I, I_T) times a matrix (J, I), or its transpose if `turned`: (I, J).
fn add(
    plan: &mut Plan,
    [l, i, t]: [usize; 3],
    j: usize,
    turned: bool,
    [x, m, out]: [Option<usize>; 3],
) -> Result<(), DeviceError> {
    let (depth_step, column_step) = if turned { (j, 1) } else { (1, i) };
    let lies = TensorArgs {
        depth_step: narrow("a matrix", depth_step)?,
        column_step: narrow("a matrix", column_step)?,
        out_inner: narrow("numbers of a run", t)?,
        ..TensorArgs::default()
    };
    let (stem, lies) = if t == 1 {
        ("ttm_rows", TensorArgs { outer: narrow("numbers of a row", i)?, ..lies })
    } else {
        let run = narrow("numbers of a run", t)?;
        ("ttm_columns", TensorArgs { inner: run, outer: narrow("numbers of a fold", i * t)?, step: run, ..lies })
    };
    Product { stem, sizes: [l * t, j, i], lies, buffers: &[x, m] }.to(plan, out)
}

/// The gradient of the matrix, (J, I): `dM[j, i] = Σ_{l, t} dout[l, j, t] · x[l, i, t]`.
fn add_cross(plan: &mut Plan, [l, i, t]: [usize; 3], j: usize, [x, dout, dm]: [Option<usize>; 3]) -> Result<(), DeviceError> {
    // The result is written turned: its rows, which are many, are the mode's indices.
    let lies = TensorArgs { out_inner: narrow("indices", i)?, ..TensorArgs::default() };
    let (stem, lies) = if t == 1 {
        let (rows, columns) = (narrow("indices", i)?, narrow("rows of a matrix", j)?);
        let right = TensorArgs { depth_step: columns, column_step: 1, ..lies };
        ("cross_columns", TensorArgs { inner: rows.max(1), step: rows, ..right })
    } else {
        ("cross_rows", TensorArgs { inner: narrow("numbers of a run", t)?.max(1), ..lies })
    };
    Product { stem, sizes: [i, j, l * t], lies, buffers: &[x, dout] }.to(plan, dm)
}

/// Launches of `out = x ×_mode m`, m (rows, I_mode) in rows.
pub fn plan(shape: &[usize], rows: usize, mode: usize) -> Result<Forward, DeviceError> {
    let shape = Shape::new(shape)?;
    let [l, i, t] = shape.around(mode)?;
    let mut plan = Plan::default();
    let x = plan.input("x", shape.elements, Element::F32);
    let m = plan.input("matrix", rows * i, Element::F32);
    let out = plan.output("result", l * rows * t, Element::F32);
    add(&mut plan, [l, i, t], rows, false, [x, m, out])?;
    Ok(Forward { plan: plan.checked()?, x, m, out })
}

/// Launches of the gradients that are wanted, of x and of the matrix.
pub fn plan_backward(
    shape: &[usize],
    rows: usize,
    mode: usize,
    [x_wanted, m_wanted]: [bool; 2],
) -> Result<Backward, DeviceError> {
    let shape = Shape::new(shape)?;
    let [l, i, t] = shape.around(mode)?;
    let mut plan = Plan::default();
    let x = plan.input_if(m_wanted, "x", shape.elements, Element::F32);
    let m = plan.input_if(x_wanted, "matrix", rows * i, Element::F32);
    let dout = plan.input("gradient of the result", l * rows * t, Element::F32);
    let (mut dx, mut dm) = (None, None);
    if x_wanted {
        dx = plan.output("gradient of x", shape.elements, Element::F32);
        add(&mut plan, [l, rows, t], i, true, [dout, m, dx])?;
    }
    if m_wanted {
        dm = plan.output("gradient of the matrix", rows * i, Element::F32);
        add_cross(&mut plan, [l, i, t], rows, [x, dout, dm])?;
    }
    Ok(Backward { plan: plan.checked()?, x, m, dout, dx, dm })
}

/// Launches of `x ×_m matrix_m` for all modes m but `skip`, the matrix of mode m being (`rows[m]`, I_m).
pub fn plan_chain(shape: &[usize], rows: &[usize], skip: Option<usize>) -> Result<Chain, DeviceError> {
    let whole = Shape::new(shape)?;
    let count = shape.len();
    fits(rows.len() == count, || format!("{} matrices for {count} modes", rows.len()))?;
    if let Some(mode) = skip {
        whole.around(mode)?;
    }
    let modes = order(shape, rows, skip);
    fits(!modes.is_empty(), || "a chain without products".to_string())?;
    let mut plan = Plan::default();
    let x = plan.input("x", whole.elements, Element::F32);
    let mut matrices = vec![None; count];
    let (mut held, mut sizes) = (x, shape.to_vec());
    for (k, &mode) in modes.iter().enumerate() {
        let around = Shape::new(&sizes)?.around(mode)?;
        matrices[mode] = plan.input("matrix", rows[mode] * shape[mode], Element::F32);
        sizes[mode] = rows[mode];
        let numbers = Shape::new(&sizes)?.elements;
        let out = if k + 1 == modes.len() {
            plan.output("result", numbers, Element::F32)
        } else {
            plan.scratch("an intermediate tensor", numbers)
        };
        add(&mut plan, around, rows[mode], false, [held, matrices[mode], out])?;
        held = out;
    }
    Ok(Chain { plan: plan.checked()?, x, matrices, out: held, shape: sizes })
}

/// [`ttm`](crate::kernels::ttm::ttm) on a device; `m` is (rows, I_mode) in rows.
pub fn forward(
    device: &mut dyn Executor,
    x: &[f32],
    shape: &[usize],
    (m, rows): (&[f32], usize),
    mode: usize,
    out: &mut [f32],
) -> Result<(), DeviceError> {
    let p = plan(shape, rows, mode)?;
    device.execute(&p.plan, Bindings::default().read(p.x, x).read(p.m, m).write(p.out, Some(out)).0)
}

/// [`ttm_backward`](crate::kernels::ttm::ttm_backward) on a device.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    device: &mut dyn Executor,
    x: &[f32],
    shape: &[usize],
    (m, rows): (&[f32], usize),
    mode: usize,
    dout: &[f32],
    dx: Option<&mut [f32]>,
    dm: Option<&mut [f32]>,
) -> Result<(), DeviceError> {
    let p = plan_backward(shape, rows, mode, [dx.is_some(), dm.is_some()])?;
    let all = Bindings::default().read(p.x, x).read(p.m, m).read(p.dout, dout).write(p.dx, dx).write(p.dm, dm);
    device.execute(&p.plan, all.0)
}

/// [`ttmc`](crate::kernels::ttm::ttmc), or [`ttm_all`](crate::kernels::ttm::ttm_all) without `skip`, on a device: `matrices[m]` is (J_m, I_m)
/// in rows and J_m. Gives the result and its shape.
pub fn chain(
    device: &mut dyn Executor,
    x: &[f32],
    shape: &[usize],
    matrices: &[(&[f32], usize)],
    skip: Option<usize>,
) -> Result<(Vec<f32>, Vec<usize>), DeviceError> {
    let rows: Vec<usize> = matrices.iter().map(|m| m.1).collect();
    let p = plan_chain(shape, &rows, skip)?;
    let mut out = vec![0.0; p.shape.iter().product()];
    let mut all = Bindings::default().read(p.x, x);
    for (place, (m, _)) in p.matrices.iter().zip(matrices) {
        all = all.read(*place, *m);
    }
    device.execute(&p.plan, all.write(p.out, Some(&mut out)).0)?;
    Ok((out, p.shape))
}
