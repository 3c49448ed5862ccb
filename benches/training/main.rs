//! Whole training steps and single operations, for `make peers-training`: prints JSON objects with losses and times.
//!
//! `training mixer` is the MLP mixer of docs/benchmarks.md on made-up data; `training timemixer FILE` one epoch of the TimeMixer that
//! the authors' script trains on ETTh1 (batch 128, horizon 96); `training ops` every operation by itself. Weights follow the rule of scripts/peers/torch_common.py: element k of
//! parameter i is sin(1.7 k + 0.3 i + 0.5) / √fan_in, gains 1, shifts 0.

mod ops;

use candle_core::{DType, Device, Result, Tensor};
use shoal::forecast::engine::standard_scale;
use shoal::forecast::neural::learner::Loss;
use shoal::forecast::neural::{Block, Network, WindowSet};
use shoal::forecast::time_features::{Sampling, time_features};
use shoal::forecast::timemixer::{TimeMixer, TimeMixerConfig};
use shoal::kernels::elementwise::Activation;
use shoal::nn::init::Init;
use shoal::nn::optimizer::{Optimizer, OptimizerConfig};
use shoal::nn::schedule::Schedule;
use shoal::nn::{ParamId, Params, Pass, Value, ops as nn};
use shoal::run::seed::Streams;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// (rows, steps, width).
const SHAPE: (usize, usize, usize) = (896, 96, 16);
const BLOCKS: usize = 4;
/// Steps left out of the times.
const WARM_UP: usize = 2;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    if let Some(n) = option("--threads") {
        rayon::ThreadPoolBuilder::new().num_threads(n.parse()?).build_global()?;
    }
    let steps = option("--steps").map_or(Ok(20), |s| s.parse())?;
    match args.first().map(String::as_str) {
        Some("mixer") => mixer(steps)?,
        Some("ops") => ops::run(steps)?,
        Some("timemixer") => {
            let file = args.get(1).ok_or_else(|| anyhow::anyhow!("training timemixer FILE"))?;
            let dropout = option("--dropout").map_or(Ok(0.1), |s| s.parse())?;
            timemixer(file, dropout, option("--steps").map(|s| s.parse()).transpose()?)?;
        }
        // `cargo bench` runs every bench without arguments.
        _ => println!(
            "usage: training mixer [--steps N] | training timemixer ETTh1.csv [--steps N] [--dropout SHARE] | training ops [--steps N]; --threads N"
        ),
    }
    Ok(())
}

/// Sets all weights by the rule.
fn fill(params: &mut Params) -> Result<()> {
    let all: Vec<(ParamId, String, Vec<usize>)> =
        params.iter().map(|(id, p)| (id, p.name.clone(), p.tensor.dims().to_vec())).collect();
    let fan_in = |layer: &str| {
        let weight = format!("{layer}.weight");
        all.iter().find(|(_, name, _)| *name == weight).map_or(1, |(.., dims)| dims[1..].iter().product::<usize>())
    };
    for (i, (id, name, dims)) in all.iter().enumerate() {
        let count: usize = dims.iter().product();
        let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
        let bound = 1.0 / (fan_in(layer) as f64).sqrt();
        let values: Vec<f64> = if name.starts_with("norm") {
            vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; count]
        } else {
            (0..count).map(|k| bound * (1.7 * k as f64 + 0.3 * i as f64 + 0.5).sin()).collect()
        };
        params.set(*id, &Tensor::from_vec(values, dims.as_slice(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// Times and losses of a run.
#[derive(Default)]
struct Log {
    losses: Vec<f64>,
    forward: Vec<f64>,
    backward: Vec<f64>,
    update: Vec<f64>,
}

impl Log {
    fn print(&self, what: &str) {
        // The first two steps meet cold caches and an empty allocator; the rival leaves them out too.
        let median = |v: &[f64]| {
            let mut v = v[v.len().min(WARM_UP)..].to_vec();
            v.sort_by(f64::total_cmp);
            v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let total: Vec<f64> = (0..self.forward.len()).map(|i| self.forward[i] + self.backward[i] + self.update[i]).collect();
        let object = serde_json::json!({
            "program": what, "steps": total.len(), "median_ms": median(&total),
            "min_ms": total.iter().skip(WARM_UP).copied().fold(f64::INFINITY, f64::min), "seconds": total.iter().sum::<f64>() / 1e3,
            "forward_ms": median(&self.forward), "backward_ms": median(&self.backward), "update_ms": median(&self.update),
            "losses": self.losses[..self.losses.len().min(20)], "peak_rss_mib": peak_rss(), "threads": rayon::current_num_threads(),
            "isa": shoal::kernels::simd::active().name(),
        });
        println!("{object}");
    }
}

/// Largest resident memory so far, in MiB (0 where the system does not say).
fn peak_rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}

/// One step: forward, backward, update, timed apart.
fn step(
    log: &mut Log,
    params: &Params,
    optimizer: &mut Optimizer,
    schedule: &Schedule,
    (step, total): (u64, u64),
    loss: impl FnOnce(&Pass) -> Result<Value>,
) -> Result<()> {
    let start = Instant::now();
    let pass = Pass::training(params, &Streams::new(0), step);
    let loss = loss(&pass)?;
    log.losses.push(loss.tensor().to_dtype(DType::F64)?.to_scalar::<f64>()?);
    log.forward.push(start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let gradients = pass.backward(&loss)?;
    log.backward.push(start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    optimizer.step(params, &gradients, schedule.at(step, total, total), None)?;
    drop((gradients, loss));
    log.update.push(start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Layers as (weight, bias).
struct MixerBlock {
    time: [(ParamId, ParamId); 3],
    channel: [(ParamId, ParamId); 2],
}

fn mixer(steps: usize) -> Result<()> {
    let (rows, time, width) = SHAPE;
    let mut params = Params::new(DType::F32, &Device::Cpu);
    let streams = Streams::new(0);
    let mut layer = |name: String, out: usize, input: usize| -> Result<(ParamId, ParamId)> {
        let weight = params.declare(format!("{name}.weight"), &[out, input], Init::Constant(0.0), &streams)?;
        Ok((weight, params.declare(format!("{name}.bias"), &[out], Init::Constant(0.0), &streams)?))
    };
    let half = time / 2;
    let blocks = (0..BLOCKS)
        .map(|b| {
            Ok(MixerBlock {
                time: [
                    layer(format!("block{b}.time.0"), half, time)?,
                    layer(format!("block{b}.time.2"), half, half)?,
                    layer(format!("block{b}.time.3"), time, half)?,
                ],
                channel: [
                    layer(format!("block{b}.channel.0"), 2 * width, width)?,
                    layer(format!("block{b}.channel.2"), width, 2 * width)?,
                ],
            })
        })
        .collect::<Result<Vec<_>>>()?;
    fill(&mut params)?;
    // Element i of (rows, time, width) is sin(0.1 i), of the target cos(0.07 i); here time comes last.
    let wave = |f: fn(f64) -> f64| -> Result<Tensor> {
        let values: Vec<f32> = (0..rows * time * width).map(|i| f(i as f64) as f32).collect();
        Tensor::from_vec(values, (rows, time, width), &Device::Cpu)?.transpose(1, 2)?.contiguous()
    };
    let (x, target) = (wave(|i| (0.1 * i).sin())?, wave(|i| (0.07 * i).cos())?);
    let mut optimizer = Optimizer::new(OptimizerConfig::adamw().with_weight_decay(0.01), &params)?;
    let schedule = Schedule::constant(1e-3);
    let mut log = Log::default();
    for k in 0..steps {
        step(&mut log, &params, &mut optimizer, &schedule, (k as u64, steps as u64), |pass| {
            let mut h = Value::constant(&x);
            for block in &blocks {
                let [t0, t2, t3] = block.time.map(|(w, b)| (pass.param(w), pass.param(b)));
                let [c0, c2] = block.channel.map(|(w, b)| (pass.param(w), pass.param(b)));
                let u = nn::mlp(&h, &t0.0, Some(&t0.1), Activation::Gelu, &t2.0, Some(&t2.1), None)?;
                h = nn::linear_onto(&u, &t3.0, Some(&t3.1), &h)?;
                h = nn::mlp_mid(&h, &c0.0, Some(&c0.1), Activation::Gelu, &c2.0, Some(&c2.1), Some(&h))?;
            }
            nn::mse(&h, &target)
        })?;
    }
    log.print("mixer");
    Ok(())
}

fn timemixer(file: &str, dropout: f64, steps: Option<usize>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); 7];
    let mut marks = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let stamp = chrono::NaiveDateTime::parse_from_str(cells[0], "%Y-%m-%d %H:%M:%S")?.and_utc().timestamp_micros();
        marks.push(time_features(stamp, Sampling::Hour).unwrap_or_default());
        for (column, cell) in columns.iter_mut().zip(&cells[1..]) {
            column.push(cell.trim().parse()?);
        }
    }
    for column in &mut columns {
        let (mean, deviation) = standard_scale(&column[..8640]);
        column.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
    }
    let windows =
        WindowSet::new(Arc::new(vec![Block::new(&columns).with_marks(&marks)]), std::slice::from_ref(&(0..8640)), 96, 96, 1);
    let config = TimeMixerConfig { features: 4, dropout, ..TimeMixerConfig::new(96, 96, 7) };
    let mut net = TimeMixer::new(config, DType::F32, &Streams::new(0))?;
    fill(net.params_mut())?;
    let mut optimizer = Optimizer::new(OptimizerConfig::adam(), net.params())?;
    let order: Vec<usize> = (0..windows.len()).collect();
    let batches: Vec<&[usize]> = order.chunks_exact(128).collect();
    let total = batches.len() * 10;
    let schedule = Schedule::one_cycle_over(0.01, 0.2, total as u64);
    let mut log = Log::default();
    for (k, batch) in batches.into_iter().take(steps.unwrap_or(usize::MAX)).enumerate() {
        step(&mut log, net.params(), &mut optimizer, &schedule, (k as u64, total as u64), |pass| {
            let (batch, target) = windows.batch(batch, DType::F32)?;
            Loss::Mse.of(&net.forward(pass, &batch)?, &target)
        })?;
    }
    log.print("timemixer");
    Ok(())
}
