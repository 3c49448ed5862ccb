//! mttkrp and sparse-mttkrp.

use super::{
    Engine, Operation, Request, Shaped, SizeOf, Timing, array, from_single, narrow, needed, optional, single, wave, wide,
};
use crate::kernels::device::tensor::{mttkrp as on_device, sparse};
use crate::kernels::device::{DeviceError, Executor};
use crate::kernels::mttkrp::sparse::SparsePlan;
use crate::kernels::mttkrp::{mttkrp, mttkrp_backward, mttkrp_values_backward, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

/// The mode of a timing run, of three.
const TIMED: usize = 1;

pub const DENSE: Operation = Operation {
    name: "mttkrp",
    about: "a tensor times the Khatri-Rao product of all factors but one: W[i, r] = Σ x·Π U_m[i_m, r] over slice i of a mode",
    source: "Kolda & Bader 2009",
    inputs: &[
        needed("x", "i0 i1 … (any order)"),
        needed("mode", "one number, from 0"),
        needed("U0", "i0 r"),
        needed("U1", "i1 r"),
        optional("U2", "i2 r; U3, … for further modes; that of the mode may be left out"),
    ],
    outputs: &[needed("W", "i_mode r")],
    upstream: &[needed("dW", "i_mode r")],
    activation: false,
    chunked: false,
    on_device: [Some(forward_on), Some(backward_on)],
    single: dense::<f32>,
    double: dense::<f64>,
    sizes: &[("i", 200), ("j", 200), ("k", 200), ("r", 16)],
    timing,
    bf16: None,
};

pub const SPARSE: Operation = Operation {
    name: "sparse-mttkrp",
    about: "the same of a tensor given by coordinates; equal ones add up",
    source: "Smith et al. 2015, SPLATT",
    inputs: &[
        needed("values", "nnz"),
        needed("indices", "nnz n, from 0"),
        needed("shape", "n"),
        needed("mode", "one number, from 0"),
        needed("U0", "i0 r"),
        needed("U1", "i1 r"),
        optional("U2", "i2 r; U3, … for further modes; that of the mode may be left out"),
    ],
    outputs: &[needed("W", "i_mode r")],
    upstream: &[needed("dW", "i_mode r")],
    activation: false,
    chunked: false,
    on_device: [Some(sparse_forward_on), Some(sparse_backward_on)],
    single: by_coordinates::<f32>,
    double: by_coordinates::<f64>,
    sizes: &[("i", 1000), ("j", 2000), ("k", 3000), ("nnz", 1_000_000), ("r", 16)],
    timing: sparse_timing,
    bf16: None,
};

/// Numbers of a result at most, as kernels for devices count.
const MOST: usize = u32::MAX as usize - 1;

/// What both operations take beside the tensor.
struct Factors<T> {
    mode: usize,
    rank: usize,
    /// Empty for the mode's own, which has no part in the result.
    all: Vec<Vec<T>>,
}

impl<T: Real> Factors<T> {
    fn new(request: &Request<'_>, shape: &[usize]) -> Result<Self, String> {
        let order = shape.len();
        if order < 2 {
            return Err(format!("a tensor of shape {shape:?}, expected two modes or more"));
        }
        let mode = request.mode(order)?;
        let mut rank = None;
        let mut all = Vec::with_capacity(order);
        for (m, &size) in shape.iter().enumerate() {
            let name = format!("U{m}");
            let found: Option<Shaped<T>> = request.find(&name)?;
            let Some((found, values)) = found else {
                if m == mode {
                    all.push(Vec::new());
                    continue;
                }
                return Err(format!("there is no array \"{name}\": it is needed, of shape [{size}, rank]"));
            };
            let expected = rank.map_or("rank".to_string(), |r: usize| r.to_string());
            match found[..] {
                [rows, r] if rows == size && rank.is_none_or(|rank| rank == r) && r > 0 => rank = Some(r),
                _ => return Err(format!("array \"{name}\" has shape {found:?}, expected [{size}, {expected}]")),
            }
            all.push(if m == mode { Vec::new() } else { values });
        }
        let rank = rank.unwrap_or(1);
        if shape[mode].checked_mul(rank).is_none_or(|numbers| numbers > MOST) {
            return Err(format!("a result of {} x {rank}, expected at most {MOST} numbers", shape[mode]));
        }
        if let Some((name, _)) = request.arrays.iter().find(|(name, _)| *name == format!("U{order}")) {
            return Err(format!("array \"{name}\": the tensor has {order} modes, U0 to U{}", order - 1));
        }
        Ok(Self { mode, rank, all })
    }

    fn slices(&self) -> Vec<&[T]> {
        self.all.iter().map(Vec::as_slice).collect()
    }

    fn single(&self) -> Factors<f32> {
        Factors { mode: self.mode, rank: self.rank, all: self.all.iter().map(|u| single(u)).collect() }
    }

    fn wide(&self) -> Factors<f64> {
        Factors { mode: self.mode, rank: self.rank, all: self.all.iter().map(|u| wide(u)).collect() }
    }

    /// Gradients of all factors but the mode's, which `of` writes.
    fn gradients(&self, mut of: impl FnMut(&mut [Option<&mut [T]>]) -> Result<(), String>) -> Result<Vec<Vec<T>>, String> {
        let mut du: Vec<Vec<T>> = self.all.iter().map(|u| vec![T::ZERO; u.len()]).collect();
        let mut to: Vec<Option<&mut [T]>> = du.iter_mut().map(|d| Some(&mut d[..])).collect();
        to[self.mode] = None;
        of(&mut to)?;
        Ok(du)
    }

    fn push(&self, to: &mut Arrays, shape: &[usize], du: Vec<Vec<T>>) {
        for (m, du) in du.into_iter().enumerate().filter(|(m, _)| *m != self.mode) {
            to.push(format!("g_U{m}"), array(&[shape[m], self.rank], du));
        }
    }
}

/// Numbers of a reference.
fn firsts<T: Real>(x: Vec<(f64, f64)>) -> Vec<T> {
    narrow(x.into_iter().map(|v| v.0).collect())
}

fn dense<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.scan_reference_or_device(DENSE.name)?;
    let (shape, x) = request.get::<T>("x")?;
    let of = Factors::<T>::new(request, &shape)?;
    let (mode, rank) = (of.mode, of.rank);
    let result = [shape[mode], rank];
    let mut w = vec![T::ZERO; shape[mode] * rank];
    match request.engine {
        Engine::Device => {
            let (x, of) = (single(&x), of.single());
            let mut out = vec![0f32; w.len()];
            request.on_device(|d| on_device::forward(d, &x, &shape, &of.slices(), rank, mode, &mut out))?;
            w = from_single(out);
        }
        Engine::Reference => w = firsts(reference::mttkrp(&x, &shape, &of.slices(), rank, mode)),
        _ => mttkrp(&x, &shape, &of.slices(), rank, mode, &mut w),
    }
    let mut to = Arrays::default();
    to.push("W", array(&result, w));
    if !request.gradients {
        return Ok(to);
    }
    let dw = request.exactly::<T>("dW", &result)?;
    let mut dx = vec![T::ZERO; x.len()];
    let du = match request.engine {
        Engine::Device => {
            let (x, one, dw) = (single(&x), of.single(), single(&dw));
            let mut dx_to = vec![0f32; dx.len()];
            let du = one.gradients(|to| {
                request.on_device(|d| on_device::backward(d, &x, &shape, &one.slices(), rank, mode, &dw, Some(&mut dx_to), to))
            })?;
            dx = from_single(dx_to);
            du.into_iter().map(from_single).collect()
        }
        Engine::Reference => {
            let mut with = of.wide();
            with.all[mode] = wide(&dw);
            dx = firsts(reference::kruskal(&shape, None, &with.slices(), rank));
            (0..shape.len()).map(|m| firsts(reference::mttkrp(&wide(&x), &shape, &with.slices(), rank, m))).collect()
        }
        _ => of.gradients(|to| {
            mttkrp_backward(&x, &shape, &of.slices(), rank, mode, &dw, Some(&mut dx), to);
            Ok(())
        })?,
    };
    to.push("g_x", array(&shape, dx));
    of.push(&mut to, &shape, du);
    Ok(to)
}

fn by_coordinates<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.scan_reference_or_device(SPARSE.name)?;
    let (found, values) = request.get::<T>("values")?;
    let count = values.len();
    if found != [count] {
        return Err(format!("array \"values\" has shape {found:?}, expected one axis"));
    }
    let shape = request.counts("shape", 0..=MOST)?.ok_or("there is no array \"shape\": it is needed, the size of each mode")?;
    let order = shape.len();
    let (found, flat) = request.get::<f64>("indices")?;
    if found != [count, order] {
        return Err(format!("array \"indices\" has shape {found:?}, expected [{count}, {order}]"));
    }
    let mut indices = vec![vec![0u32; count]; order];
    for (place, &value) in flat.iter().enumerate() {
        let (k, m) = (place / order, place % order);
        if value.fract() != 0.0 || value < 0.0 || value >= shape[m] as f64 {
            return Err(format!(
                "array \"indices\" holds {value} in row {k} for mode {m}, expected a whole number from 0, below {}",
                shape[m]
            ));
        }
        indices[m][k] = value as u32;
    }
    let lists: Vec<&[u32]> = indices.iter().map(Vec::as_slice).collect();
    let of = Factors::<T>::new(request, &shape)?;
    let (mode, rank) = (of.mode, of.rank);
    let result = [shape[mode], rank];
    let mut w = vec![T::ZERO; shape[mode] * rank];
    let device = |with: &Factors<f32>, m: usize| -> Result<Vec<f32>, String> {
        let mut out = vec![0f32; shape[m] * rank];
        request.on_device(|d| {
            sparse::forward(d, &sparse::Sorted::new(&shape, &lists, m)?, &single(&values), &with.slices(), rank, &mut out)
        })?;
        Ok(out)
    };
    let plan = (request.engine == Engine::Scan).then(|| SparsePlan::new(&shape, indices.clone(), values.clone()));
    match &plan {
        Some(plan) => plan.mttkrp(&of.slices(), rank, mode, &mut w),
        None if request.engine == Engine::Device => w = from_single(device(&of.single(), mode)?),
        None => w = firsts(reference::sparse((&shape, &indices, &values), &of.slices(), rank, mode)),
    }
    let mut to = Arrays::default();
    to.push("W", array(&result, w));
    if !request.gradients {
        return Ok(to);
    }
    let dw = request.exactly::<T>("dW", &result)?;
    let mut with = of.slices();
    with[mode] = &dw;
    let mut dvalues = vec![T::ZERO; count];
    let du: Vec<Vec<T>> = match &plan {
        Some(plan) => {
            mttkrp_values_backward(&shape, &lists, &of.slices(), rank, mode, &dw, &mut dvalues);
            of.gradients(|to| {
                to.iter_mut().enumerate().for_each(|(m, to)| to.iter_mut().for_each(|to| plan.mttkrp(&with, rank, m, to)));
                Ok(())
            })?
        }
        None if request.engine == Engine::Device => {
            let (mut one, dw) = (of.single(), single(&dw));
            let mut values_to = vec![0f32; count];
            request.on_device(|d| sparse::values_backward(d, &shape, &lists, &one.slices(), rank, mode, &dw, &mut values_to))?;
            dvalues = from_single(values_to);
            one.all[mode] = dw;
            let of_mode = |m: usize| if m == mode { Ok(Vec::new()) } else { device(&one, m).map(from_single) };
            (0..order).map(of_mode).collect::<Result<_, String>>()?
        }
        None => {
            let at = |k: usize, m: usize, r: usize| with[m][indices[m][k] as usize * rank + r].to_f64();
            let value = |k: usize| (0..rank).map(|r| (0..order).map(|m| at(k, m, r)).product::<f64>()).sum();
            dvalues = narrow((0..count).map(value).collect());
            (0..order).map(|m| firsts(reference::sparse((&shape, &indices, &values), &with, rank, m))).collect()
        }
    };
    to.push("g_values", array(&[count], dvalues));
    of.push(&mut to, &shape, du);
    Ok(to)
}

/// Made-up factors of three modes.
fn made_up(shape: [usize; 3], rank: usize) -> Vec<Vec<f32>> {
    shape.iter().map(|&size| wave(size * rank, 1.0, 0.0)).collect()
}

fn slices(lists: &[Vec<f32>]) -> Vec<&[f32]> {
    lists.iter().map(Vec::as_slice).collect()
}

/// Room for the gradients of all factors but the mode's.
fn places(du: &mut [Vec<f32>]) -> Vec<Option<&mut [f32]>> {
    du.iter_mut().enumerate().map(|(m, d)| (m != TIMED).then_some(&mut d[..])).collect()
}

fn of_three(size: SizeOf<'_>) -> ([usize; 3], usize) {
    (["i", "j", "k"].map(size), size("r"))
}

fn forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (shape, rank) = of_three(size);
    let (x, u) = (wave(shape.iter().product(), 1.0, 0.0), made_up(shape, rank));
    on_device::forward(device, &x, &shape, &slices(&u), rank, TIMED, &mut vec![0.0; shape[TIMED] * rank])
}

fn backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let (shape, rank) = of_three(size);
    let (x, u) = (wave(shape.iter().product(), 1.0, 0.0), made_up(shape, rank));
    let (mut dx, mut du) = (x.clone(), u.clone());
    on_device::backward(device, &x, &shape, &slices(&u), rank, TIMED, &u[TIMED], Some(&mut dx), &mut places(&mut du))
}

fn timing(size: SizeOf<'_>) -> Timing {
    let (shape, rank) = of_three(size);
    let total: usize = shape.iter().product();
    let data = move || (wave(total, 1.0, 0.0), made_up(shape, rank));
    let ((x, u), mut w) = (data(), vec![0f32; shape[TIMED] * rank]);
    let forward = move || mttkrp(&x, &shape, &slices(&u), rank, TIMED, &mut w);
    let (x, u) = data();
    let (mut dx, mut du) = (x.clone(), u.clone());
    let backward = move || {
        mttkrp_backward(&x, &shape, &slices(&u), rank, TIMED, &u[TIMED], Some(&mut dx), &mut places(&mut du));
    };
    let (read, product) = (4.0 * total as f64, 2.0 * (total * rank) as f64);
    // X for each of two factors, and its gradient.
    Timing {
        forward: Box::new(forward),
        backward: Box::new(backward),
        bytes: [read, 3.0 * read],
        flops: [product, 3.0 * product],
    }
}

/// Coordinates of no pattern: multiples of large odd numbers.
fn made_up_coordinates(shape: [usize; 3], count: usize) -> Vec<Vec<u32>> {
    let list = |(size, by): (usize, u64)| (0..count as u64).map(|k| (((k * by) >> 11) % size.max(1) as u64) as u32).collect();
    shape.into_iter().zip([0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D]).map(list).collect()
}

fn sparse_forward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let ((shape, rank), count) = (of_three(size), size("nnz"));
    let (indices, u) = (made_up_coordinates(shape, count), made_up(shape, rank));
    let lists: Vec<&[u32]> = indices.iter().map(Vec::as_slice).collect();
    let sorted = sparse::Sorted::new(&shape, &lists, TIMED)?;
    sparse::forward(device, &sorted, &wave(count, 1.0, 0.0), &slices(&u), rank, &mut vec![0.0; shape[TIMED] * rank])
}

fn sparse_backward_on(size: SizeOf<'_>, device: &mut dyn Executor) -> Result<(), DeviceError> {
    let ((shape, rank), count) = (of_three(size), size("nnz"));
    let (indices, u) = (made_up_coordinates(shape, count), made_up(shape, rank));
    let lists: Vec<&[u32]> = indices.iter().map(Vec::as_slice).collect();
    let values = wave(count, 1.0, 0.0);
    sparse::values_backward(device, &shape, &lists, &slices(&u), rank, TIMED, &u[TIMED], &mut vec![0.0; count])?;
    for m in (0..3).filter(|&m| m != TIMED) {
        let sorted = sparse::Sorted::new(&shape, &lists, m)?;
        sparse::forward(device, &sorted, &values, &slices(&u), rank, &mut vec![0.0; shape[m] * rank])?;
    }
    Ok(())
}

fn sparse_timing(size: SizeOf<'_>) -> Timing {
    let ((shape, rank), count) = (of_three(size), size("nnz"));
    let indices = made_up_coordinates(shape, count);
    // Arranged once, as decompositions do.
    let plan = std::rc::Rc::new(SparsePlan::new(&shape, indices.clone(), wave(count, 1.0, 0.0)));
    let (u, mut w) = (made_up(shape, rank), vec![0f32; shape[TIMED] * rank]);
    let arranged = plan.clone();
    let forward = move || arranged.mttkrp(&slices(&u), rank, TIMED, &mut w);
    let u = made_up(shape, rank);
    let (mut dvalues, mut du) = (vec![0f32; count], u.clone());
    let backward = move || {
        let lists: Vec<&[u32]> = indices.iter().map(Vec::as_slice).collect();
        mttkrp_values_backward(&shape, &lists, &slices(&u), rank, TIMED, &u[TIMED], &mut dvalues);
        let with = slices(&u);
        places(&mut du).into_iter().enumerate().for_each(|(m, to)| to.into_iter().for_each(|to| plan.mttkrp(&with, rank, m, to)));
    };
    // Three indices and a value; three products a column. Rows of factors are in the caches, or not: they are not counted.
    let (read, product) = (16.0 * count as f64, 3.0 * (count * rank) as f64);
    Timing {
        forward: Box::new(forward),
        backward: Box::new(backward),
        bytes: [read, 3.0 * read],
        flops: [product, 3.0 * product],
    }
}
