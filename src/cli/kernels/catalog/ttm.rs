//! ttm.

use super::{Engine, Operation, Request, SizeOf, Timing, array, axes, from_single, narrow, needed, single, wave};
use crate::kernels::device::tensor::ttm as on_device;
use crate::kernels::device::{DeviceError, Executor};
use crate::kernels::gemm::MatRef;
use crate::kernels::simd::Real;
use crate::kernels::ttm::{reference, ttm, ttm_backward};
use crate::table::arrays::Arrays;

/// The mode of a timing run, of three.
const TIMED: usize = 1;

pub const OPERATION: Operation = Operation {
    name: "ttm",
    about: "a tensor times a matrix along a mode: y[…, j, …] = Σ_i m[j, i]·x[…, i, …]",
    source: "Kolda & Bader 2009",
    inputs: &[needed("x", "i0 i1 … (any order)"), needed("m", "j i_mode"), needed("mode", "one number, from 0")],
    outputs: &[needed("y", "as x, j at the mode")],
    upstream: &[needed("dy", "as y")],
    activation: false,
    chunked: false,
    on_device: [Some(forward_on), Some(backward_on)],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("i", 200), ("j", 200), ("k", 200), ("r", 16)],
    timing,
    bf16: None,
};

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.scan_reference_or_device(OPERATION.name)?;
    let (shape, x) = request.get::<T>("x")?;
    let mode = request.mode(shape.len())?;
    let (found, m) = request.get::<T>("m")?;
    let [rows, width] = axes("m", &found, "rows, size of the mode")?;
    if width != shape[mode] {
        return Err(format!("array \"m\" has shape {found:?}, expected (rows, {})", shape[mode]));
    }
    let mut result = shape.clone();
    result[mode] = rows;
    let view = MatRef::new(&m, rows, width);
    let mut y = vec![T::ZERO; result.iter().product()];
    match request.engine {
        Engine::Device => {
            let mut out = vec![0f32; y.len()];
            request.on_device(|d| on_device::forward(d, &single(&x), &shape, (&single(&m), rows), mode, &mut out))?;
            y = from_single(out);
        }
        Engine::Reference => y = firsts(reference::ttm(&x, &shape, &m, rows, mode)),
        _ => ttm(&x, &shape, view, mode, &mut y),
    }
    let mut to = Arrays::default();
    to.push("y", array(&result, y));
    if !request.gradients {
        return Ok(to);
    }
    let dy = request.exactly::<T>("dy", &result)?;
    let (mut dx, mut dm) = (vec![T::ZERO; x.len()], vec![T::ZERO; m.len()]);
    match request.engine {
        Engine::Device => {
            let (mut x_to, mut m_to) = (vec![0f32; dx.len()], vec![0f32; dm.len()]);
            let (x, m, dy) = (single(&x), single(&m), single(&dy));
            request.on_device(|d| on_device::backward(d, &x, &shape, (&m, rows), mode, &dy, Some(&mut x_to), Some(&mut m_to)))?;
            (dx, dm) = (from_single(x_to), from_single(m_to));
        }
        Engine::Reference => [dx, dm] = reference::ttm_backward(&x, &shape, &m, rows, mode, &dy).map(firsts),
        _ => ttm_backward(&x, &shape, view, mode, &dy, Some(&mut dx), Some(&mut dm)),
    }
    to.push("g_x", array(&shape, dx));
    to.push("g_m", array(&[rows, width], dm));
    Ok(to)
}

/// Numbers of a reference.
fn firsts<T: Real>(x: Vec<(f64, f64)>) -> Vec<T> {
    narrow(x.into_iter().map(|v| v.0).collect())
}

/// A tensor, a matrix, and their sizes.
fn made_up(size: SizeOf<'_>) -> ([usize; 3], usize, Vec<f32>, Vec<f32>) {
    let (shape, rows) = (["i", "j", "k"].map(size), size("r"));
    (shape, rows, wave(shape.iter().product(), 1.0, 0.0), wave(rows * shape[TIMED], 1.0, 0.0))
}

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (shape, rows, x, m) = made_up(size);
    let mut y = vec![0.0; x.len() / shape[TIMED] * rows];
    on_device::forward(device, &x, &shape, (&m, rows), TIMED, &mut y)
}

fn backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (shape, rows, x, m) = made_up(size);
    let dy = wave(x.len() / shape[TIMED] * rows, 1.0, 0.0);
    let (mut dx, mut dm) = (x.clone(), m.clone());
    on_device::backward(device, &x, &shape, (&m, rows), TIMED, &dy, Some(&mut dx), Some(&mut dm))
}

fn timing(size: SizeOf<'_>) -> Timing {
    let (shape, rows, x, m) = made_up(size);
    let result = x.len() / shape[TIMED] * rows;
    let (total, product) = (4.0 * (x.len() + result) as f64, 2.0 * (x.len() * rows) as f64);
    let (kept, kept_m, mut y) = (x.clone(), m.clone(), vec![0f32; result]);
    let forward = move || ttm(&kept, &shape, MatRef::new(&kept_m, rows, shape[TIMED]), TIMED, &mut y);
    let (dy, mut dx, mut dm) = (wave(result, 1.0, 0.0), x.clone(), m.clone());
    let backward = move || {
        ttm_backward(&x, &shape, MatRef::new(&m, rows, shape[TIMED]), TIMED, &dy, Some(&mut dx), Some(&mut dm));
    };
    // X and the gradient of the result for the matrix, the latter and the gradient of X.
    Timing {
        forward: Box::new(forward),
        backward: Box::new(backward),
        bytes: [total, 2.0 * total],
        flops: [product, 2.0 * product],
    }
}
