//! state-fusion.

use super::{
    Engine, Operation, Request, SizeOf, Timing, array, axes, exchange, from_halves, from_single, halves, narrow, needed, single,
    wave, wide,
};
use crate::kernels::scan::Grid;
use crate::kernels::scan::state_fusion::{Gradients, StateFusion, reference};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const OPERATION: Operation = Operation {
    name: "state-fusion",
    about: "states of a map mixed with their neighbours: three dilated depthwise convolutions, borders repeated",
    source: "Xiao et al. 2024, Spatial-Mamba",
    inputs: &[
        needed("h", "b d h w"),
        needed("k_d1", "d 3 3"),
        needed("k_d3", "d 3 3"),
        needed("k_d5", "d 3 3"),
        needed("alpha", "3"),
    ],
    outputs: &[needed("out", "b d h w")],
    upstream: &[needed("dout", "b d h w")],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: run::<f32>,
    double: run::<f64>,
    sizes: &[("b", 4), ("d", 128), ("h", 56), ("w", 56)],
    timing,
    bf16: Some(timing_bf16),
};

/// The kernels, by dilation.
const KERNELS: [&str; 3] = ["k_d1", "k_d3", "k_d5"];

fn run<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.without_steps(OPERATION.name)?;
    let (shape, h) = request.get::<T>("h")?;
    let [batch, d, height, width] = axes("h", &shape, "batch, channels, height, width")?;
    let grid = Grid { height, width };
    let mut owned = Vec::new();
    for name in KERNELS {
        owned.push(request.exactly::<T>(name, &[d, 3, 3])?);
    }
    let alpha = request.exactly::<T>("alpha", &[3])?;
    let alpha = [alpha[0], alpha[1], alpha[2]];
    let fusion = StateFusion { batch, grid, channels: d, kernels: [&owned[0], &owned[1], &owned[2]], alpha };
    let exact: Vec<Vec<f64>> = owned.iter().map(|k| wide(k)).collect();
    let exactly =
        StateFusion { batch, grid, channels: d, kernels: [&exact[0], &exact[1], &exact[2]], alpha: alpha.map(T::to_f64) };
    let singles: Vec<Vec<f32>> = owned.iter().map(|k| single(k)).collect();
    let in_single = StateFusion {
        batch,
        grid,
        channels: d,
        kernels: [&singles[0], &singles[1], &singles[2]],
        alpha: alpha.map(|a| a.to_f64() as f32),
    };
    // Channels come last in the kernel.
    let rows = exchange(&h, d, grid.cells());
    let mut out = vec![T::ZERO; h.len()];
    match request.engine {
        Engine::Reference => out = narrow(reference::forward(&exactly, &wide(&rows))),
        Engine::Half => {
            let mut bits = vec![0; out.len()];
            in_single.forward_bf16(&halves(&rows), &mut bits);
            out = from_halves(bits);
        }
        Engine::Scan | Engine::Device | Engine::Step | Engine::HalfStep => fusion.forward(&rows, &mut out),
    }
    let mut to = Arrays::default();
    to.push("out", array(&shape, exchange(&out, grid.cells(), d)));
    if !request.gradients {
        return Ok(to);
    }
    let dout = exchange(&request.exactly::<T>("dout", &shape)?, d, grid.cells());
    let (mut dh, mut dalpha) = (vec![T::ZERO; h.len()], [T::ZERO; 3]);
    let mut dkernels: [Vec<T>; 3] = std::array::from_fn(|_| vec![T::ZERO; 9 * d]);
    if request.engine == Engine::Reference {
        let (h, kernels, alpha) = reference::backward(&exactly, &wide(&rows), &wide(&dout));
        (dh, dkernels, dalpha) = (narrow(h), kernels.map(narrow), alpha.map(T::from_f64));
    } else if request.engine == Engine::Half {
        let (mut bits, mut alpha) = (vec![0; dh.len()], [0f32; 3]);
        let mut kernels: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; 9 * d]);
        let to = kernels.each_mut().map(|k| Some(&mut k[..]));
        let to = Gradients { h: Some(&mut bits[..]), kernels: to, alpha: Some(&mut alpha) };
        in_single.backward_bf16(&halves(&rows), &halves(&dout), to);
        (dh, dkernels) = (from_halves(bits), kernels.map(from_single));
        dalpha = alpha.map(|a| T::from_f64(f64::from(a)));
    } else {
        let kernels = dkernels.each_mut().map(|k| Some(&mut k[..]));
        fusion.backward(&rows, &dout, Gradients { h: Some(&mut dh), kernels, alpha: Some(&mut dalpha) });
    }
    to.push("g_h", array(&shape, exchange(&dh, grid.cells(), d)));
    for (name, gradient) in KERNELS.into_iter().zip(dkernels) {
        to.push(format!("g_{name}"), array(&[d, 3, 3], gradient));
    }
    to.push("g_alpha", array(&[3], dalpha.to_vec()));
    Ok(to)
}

fn made_up(batch: usize, grid: Grid, channels: usize, kernels: &[Vec<f32>; 3]) -> StateFusion<'_, f32> {
    StateFusion { batch, grid, channels, kernels: [&kernels[0], &kernels[1], &kernels[2]], alpha: [1.0, 0.5, 0.25] }
}

fn timing(size: SizeOf<'_>) -> Timing {
    let [batch, d, height, width] = ["b", "d", "h", "w"].map(size);
    let grid = Grid { height, width };
    let len = batch * grid.cells() * d;
    let data = move || (wave(len, 1.0, 0.0), [0.1, 0.2, 0.3].map(|middle| wave(9 * d, 0.5, middle)));
    let ((h, kernels), mut out) = (data(), vec![0f32; len]);
    let forward = move || made_up(batch, grid, d, &kernels).forward(&h, &mut out);
    let ((h, kernels), mut dh) = (data(), vec![0f32; len]);
    let (mut dkernels, mut alpha) = (kernels.clone(), [0f32; 3]);
    let backward = move || {
        let to = dkernels.each_mut().map(|k| Some(&mut k[..]));
        let to = Gradients { h: Some(&mut dh[..]), kernels: to, alpha: Some(&mut alpha) };
        made_up(batch, grid, d, &kernels).backward(&h, &h, to);
    };
    counted(len, 4.0, Box::new(forward), Box::new(backward))
}

fn timing_bf16(size: SizeOf<'_>) -> Timing {
    let [batch, d, height, width] = ["b", "d", "h", "w"].map(size);
    let grid = Grid { height, width };
    let len = batch * grid.cells() * d;
    let data = move || (halves(&wave(len, 1.0, 0.0)), [0.1, 0.2, 0.3].map(|middle| wave(9 * d, 0.5, middle)));
    let ((h, kernels), mut out) = (data(), vec![0; len]);
    let forward = move || made_up(batch, grid, d, &kernels).forward_bf16(&h, &mut out);
    let ((h, kernels), mut dh) = (data(), vec![0; len]);
    let (mut dkernels, mut alpha) = (kernels.clone(), [0f32; 3]);
    let backward = move || {
        let to = dkernels.each_mut().map(|k| Some(&mut k[..]));
        let to = Gradients { h: Some(&mut dh[..]), kernels: to, alpha: Some(&mut alpha) };
        made_up(batch, grid, d, &kernels).backward_bf16(&h, &h, to);
    };
    counted(len, 2.0, Box::new(forward), Box::new(backward))
}

/// `len` numbers of `each` bytes.
fn counted(len: usize, each: f64, forward: Box<dyn FnMut()>, backward: Box<dyn FnMut()>) -> Timing {
    let (bytes, taps) = (each * len as f64, 50.0 * len as f64);
    Timing { forward, backward, bytes: [2.0 * bytes, 3.0 * bytes], flops: [taps, 2.0 * taps] }
}
