//! cross-scan and cross-merge.

use super::{Engine, Operation, Request, SizeOf, Timing, array, axes, from_halves, halves, narrow, needed, optional, wave, wide};
use crate::kernels::scan::cross_scan::{CrossScan, Layout, reference};
use crate::kernels::scan::{Direction, Grid};
use crate::kernels::simd::Real;
use crate::table::arrays::Arrays;

pub const SCAN: Operation = Operation {
    name: "cross-scan",
    about: "maps as sequences: by rows (0), by columns (1), and both backwards (2, 3), or the directions given",
    source: "Liu et al. 2024, VMamba",
    inputs: &[needed("x", "b c h w"), optional("directions", "k")],
    outputs: &[needed("xs", "b k c h·w")],
    upstream: &[needed("dxs", "b k c h·w")],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: scan::<f32>,
    double: scan::<f64>,
    sizes: &[("b", 8), ("c", 96), ("h", 56), ("w", 56), ("k", 4)],
    timing: |size| timing(size, false),
    bf16: Some(|size| timing_bf16(size, false)),
};

pub const MERGE: Operation = Operation {
    name: "cross-merge",
    about: "the sequences of cross-scan put back on the map, and added",
    source: "Liu et al. 2024, VMamba",
    inputs: &[needed("ys", "b k c h·w"), needed("grid", "2"), optional("directions", "k")],
    outputs: &[needed("y", "b c h w")],
    upstream: &[needed("dy", "b c h w")],
    activation: false,
    chunked: false,
    on_device: [None, None],
    single: merge::<f32>,
    double: merge::<f64>,
    sizes: &[("b", 8), ("c", 96), ("h", 56), ("w", 56), ("k", 4)],
    timing: |size| timing(size, true),
    bf16: Some(|size| timing_bf16(size, true)),
};

/// All four unless others are given.
fn directions(request: &Request<'_>) -> Result<Vec<Direction>, String> {
    let Some(numbers) = request.counts("directions", 0..=3)? else { return Ok(Direction::ALL.to_vec()) };
    if !(1..=4).contains(&numbers.len()) {
        return Err(format!("array \"directions\" has {} numbers, expected 1 to 4", numbers.len()));
    }
    Ok(numbers.into_iter().map(|k| Direction::ALL[k]).collect())
}

/// From maps to sequences; the gradient of a merge too.
fn to_sequences<T: Real>(cross: &CrossScan<'_>, engine: Engine, x: &[T]) -> Vec<T> {
    if engine == Engine::Reference {
        return narrow(reference::scan(cross, &wide(x)));
    }
    if engine == Engine::Half {
        let mut xs = vec![0; cross.sequences_len()];
        cross.scan_bf16(&halves(x), &mut xs);
        return from_halves(xs);
    }
    let mut xs = vec![T::ZERO; cross.sequences_len()];
    cross.scan(x, &mut xs);
    xs
}

/// From sequences to maps; the gradient of a scan too.
fn to_maps<T: Real>(cross: &CrossScan<'_>, engine: Engine, ys: &[T]) -> Vec<T> {
    if engine == Engine::Reference {
        return narrow(reference::merge(cross, &wide(ys)));
    }
    if engine == Engine::Half {
        let mut y = vec![0; cross.map_len()];
        cross.merge_bf16(&halves(ys), &mut y);
        return from_halves(y);
    }
    let mut y = vec![T::ZERO; cross.map_len()];
    cross.merge(ys, &mut y);
    y
}

fn scan<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.without_steps(SCAN.name)?;
    let (shape, x) = request.get::<T>("x")?;
    let [batch, channels, height, width] = axes("x", &shape, "batch, channels, height, width")?;
    let directions = directions(request)?;
    let grid = Grid { height, width };
    let cross = CrossScan { batch, channels, grid, directions: &directions, layout: Layout::ChannelsFirst };
    let sequences = [batch, directions.len(), channels, grid.cells()];
    let mut to = Arrays::default();
    to.push("xs", array(&sequences, to_sequences(&cross, request.engine, &x)));
    if request.gradients {
        let dxs = request.exactly::<T>("dxs", &sequences)?;
        to.push("g_x", array(&shape, to_maps(&cross, request.engine, &dxs)));
    }
    Ok(to)
}

fn merge<T: Real>(request: &Request<'_>) -> Result<Arrays, String> {
    request.without_steps(MERGE.name)?;
    let (shape, ys) = request.get::<T>("ys")?;
    let [batch, count, channels, cells] = axes("ys", &shape, "batch, directions, channels, cells")?;
    let directions = directions(request)?;
    if count != directions.len() {
        return Err(format!("array \"ys\" has {count} directions, expected {}", directions.len()));
    }
    let found = request.counts("grid", 0..=cells.max(1))?.ok_or("there is no array \"grid\": it is needed, (height, width)")?;
    let grid = match found[..] {
        [height, width] if height * width == cells => Grid { height, width },
        _ => return Err(format!("array \"grid\" is {found:?}, expected a height and a width whose product is {cells}")),
    };
    let cross = CrossScan { batch, channels, grid, directions: &directions, layout: Layout::ChannelsFirst };
    let map = [batch, channels, grid.height, grid.width];
    let mut to = Arrays::default();
    to.push("y", array(&map, to_maps(&cross, request.engine, &ys)));
    if request.gradients {
        let dy = request.exactly::<T>("dy", &map)?;
        to.push("g_ys", array(&shape, to_sequences(&cross, request.engine, &dy)));
    }
    Ok(to)
}

fn made_up(size: SizeOf<'_>) -> CrossScan<'static> {
    let [batch, channels, height, width, k] = ["b", "c", "h", "w", "k"].map(size);
    // Beyond four there are no more to time.
    let directions = &Direction::ALL[..k.clamp(1, 4)];
    CrossScan { batch, channels, grid: Grid { height, width }, directions, layout: Layout::ChannelsFirst }
}

fn timing(size: SizeOf<'_>, merge: bool) -> Timing {
    let cross = made_up(size);
    let (x, mut xs) = (wave(cross.map_len(), 1.0, 0.0), vec![0f32; cross.sequences_len()]);
    let (ys, mut y) = (wave(xs.len(), 1.0, 0.0), vec![0f32; x.len()]);
    counted(&cross, merge, 4.0, Box::new(move || cross.scan(&x, &mut xs)), Box::new(move || cross.merge(&ys, &mut y)))
}

fn timing_bf16(size: SizeOf<'_>, merge: bool) -> Timing {
    let cross = made_up(size);
    let (x, mut xs) = (halves(&wave(cross.map_len(), 1.0, 0.0)), vec![0; cross.sequences_len()]);
    let (ys, mut y) = (halves(&wave(xs.len(), 1.0, 0.0)), vec![0; x.len()]);
    counted(&cross, merge, 2.0, Box::new(move || cross.scan_bf16(&x, &mut xs)), Box::new(move || cross.merge_bf16(&ys, &mut y)))
}

/// Each is the other's way back. `each`: bytes of a number.
fn counted(cross: &CrossScan<'_>, merge: bool, each: f64, scan: Box<dyn FnMut()>, back: Box<dyn FnMut()>) -> Timing {
    let bytes = each * (cross.map_len() + cross.sequences_len()) as f64;
    let adds = (cross.sequences_len() - cross.map_len()) as f64;
    let (forward, backward, flops) = if merge { (back, scan, [adds, 0.0]) } else { (scan, back, [0.0, adds]) };
    Timing { forward, backward, bytes: [bytes; 2], flops }
}
