//! `shoal kernels bench`.

use super::catalog::{self, Operation};
use super::run::DeviceArg;
use crate::cli::args::OutputArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::kernels::device::stopwatch::Stopwatch;
use crate::kernels::device::{self, Executor, Target};
use crate::kernels::machine::{copy_bandwidth, multiply_peak};
use crate::table::{Table, Values};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal kernels bench
  shoal kernels bench selective-scan --size b=8,l=512 --rounds 20
  shoal kernels bench ssd --device cuda

Times are medians on all threads. Bytes and operations are those an operation needs at least (shoal's own docs count them), and the
shares are of what a plain copy and independent multiply-adds reach on this machine right now. selective-scan and ssd with l=1 are timed as
one step of decoding, the state carried in and on. --device times the kernels alone, by the GPU's own clock, without copies.";

/// Arguments of `shoal kernels bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Operations [default: all]
    #[arg(value_name = "OP")]
    op: Vec<String>,
    /// Sizes by the letters of the axes, such as b=8,l=512 [default: those of a 130M model, and tensors of 200 x 200 x 200]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = size)]
    size: Vec<(String, usize)>,
    /// Numbers of arrays over the steps (cells, tokens); all else is f32.
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: NumberArg,
    /// Where to compute: the CPU, or a GPU in builds with that feature, for the operations that have kernels for it.
    #[arg(long, value_enum, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceArg,
    /// Timed runs of each.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// See [`BenchArgs::dtype`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NumberArg {
    F32,
    Bf16,
}

fn size(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, n)| Some((name.to_string(), n.parse().ok().filter(|n| *n > 0)?)));
    parsed.ok_or_else(|| format!("\"{text}\" is no size, expected for example l=2048"))
}

struct Row {
    op: &'static str,
    pass: &'static str,
    sizes: String,
    median_ms: f64,
    gb: f64,
    gflop: f64,
}

fn median(rounds: u32, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..=rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of the kernels of a pass on a device.
fn on_device(
    device: &mut dyn Executor,
    rounds: u32,
    work: impl FnOnce(&mut dyn Executor) -> Result<(), device::DeviceError>,
) -> Outcome<f64> {
    let mut watch = Stopwatch::new(device, rounds as usize);
    work(&mut watch).map_err(|e| Failure::Run(anyhow::anyhow!(e)))?;
    Ok(watch.take())
}

/// Times the operations.
pub fn run(args: BenchArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("kernels bench draws no picture: leave --plot out"));
    }
    let half = args.dtype == NumberArg::Bf16;
    let target = args.device.target();
    if target.is_some() && half {
        return Err(Failure::usage("--device other than cpu is timed in f32: leave --dtype out"));
    }
    if target == Some(Target::Emulator) {
        return Err(Failure::usage("--device cuda-emu: how long the emulator takes says nothing of a GPU"));
    }
    let ops: Vec<&Operation> = if args.op.is_empty() {
        let wanted = |op: &&Operation| (!half || op.bf16.is_some()) && (target.is_none() || op.on_device[0].is_some());
        catalog::ALL.iter().copied().filter(wanted).collect()
    } else {
        let find = |name: &String| {
            catalog::find(name)
                .ok_or_else(|| Failure::usage(format!("unknown operation \"{name}\", expected {}", catalog::names())))
        };
        args.op.iter().map(find).collect::<Outcome<_>>()?
    };
    if let Some(op) = ops.iter().find(|op| half && op.bf16.is_none()) {
        return Err(Failure::usage(format!("--dtype bf16: {} has no bf16, {} have it", op.name, catalog::names_in_bf16())));
    }
    if let Some(op) = ops.iter().find(|op| target.is_some() && op.on_device[0].is_none()) {
        return Err(Failure::usage(format!("--device: {} has no kernels for devices yet", op.name)));
    }
    for (letter, _) in &args.size {
        if !ops.iter().any(|op| op.sizes.iter().any(|(l, _)| l == letter)) {
            return Err(Failure::usage(format!("--size {letter}=...: none of the operations has such an axis")));
        }
    }
    let mut device = match target {
        Some(target) => Some(device::open(target).map_err(|e| Failure::usage(format!("--device: {e}")))?),
        None => None,
    };
    let output = session.open_outputs(&args.output)?;
    let (bandwidth, peak) = (copy_bandwidth(), multiply_peak());
    let mut rows = Vec::new();
    session.observer().start("timing", 2 * ops.len());
    for op in &ops {
        let of = |letter: &str| {
            let given = args.size.iter().rev().find(|(l, _)| l == letter).map(|(_, n)| *n);
            given.or_else(|| op.sizes.iter().find(|(l, _)| *l == letter).map(|(_, n)| *n)).unwrap_or(1)
        };
        let mut timing = op.bf16.filter(|_| half).unwrap_or(op.timing)(&of);
        let sizes = op.sizes.iter().map(|(l, _)| format!("{l}={}", of(l))).collect::<Vec<_>>().join(" ");
        for (i, pass) in ["forward", "backward"].into_iter().enumerate() {
            if session.observer().cancelled() {
                return Err(Failure::Interrupted);
            }
            let seconds = match (&mut device, op.on_device[i]) {
                (None, _) => median(args.rounds, if i == 0 { &mut *timing.forward } else { &mut *timing.backward }),
                (Some(device), Some(work)) => on_device(&mut **device, args.rounds, |d| work(&of, d))?,
                (Some(_), None) => continue,
            };
            let (gb, gflop) = (timing.bytes[i] / seconds / 1e9, timing.flops[i] / seconds / 1e9);
            rows.push(Row { op: op.name, pass, sizes: sizes.clone(), median_ms: seconds * 1e3, gb, gflop });
            session.observer().advance(1);
        }
    }
    session.observer().finish();
    session.say(format!(
        "this machine: copies {bandwidth:.1} GB/s, multiplies {peak:.0} GFLOP/s (f32, {} threads)",
        rayon::current_num_threads()
    ));
    let texts = |of: &dyn Fn(&Row) -> String| Values::Text(rows.iter().map(|r| of(r).into()).collect());
    let numbers = |of: &dyn Fn(&Row) -> f64| Values::Number(rows.iter().map(of).collect());
    let mut table = Table::new()
        .with("op", texts(&|r| r.op.into()))
        .with("pass", texts(&|r| r.pass.into()))
        .with("sizes", texts(&|r| r.sizes.clone()))
        .with("median_ms", numbers(&|r| r.median_ms))
        .with("gb_per_s", numbers(&|r| r.gb))
        .with("gflop_per_s", numbers(&|r| r.gflop));
    if device.is_none() {
        // The limits are those of the CPU.
        table =
            table.with("share_of_bandwidth", numbers(&|r| r.gb / bandwidth)).with("share_of_peak", numbers(&|r| r.gflop / peak));
    }
    output.result(&table, || {
        let row = |r: &Row| {
            json!({ "op": r.op, "pass": r.pass, "sizes": r.sizes, "median_ms": r.median_ms, "gb_per_s": r.gb, "gflop_per_s": r.gflop })
        };
        Ok(json!({
            "copy_gb_per_s": bandwidth, "multiply_gflop_per_s": peak, "threads": rayon::current_num_threads(), "rounds": args.rounds,
            "timings": rows.iter().map(row).collect::<Vec<_>>(),
        }))
    })?;
    let dtype = if half { "bf16" } else { "f32" };
    let at = args.device.to_possible_value().map(|v| v.get_name().to_string());
    session.finish(&json!({ "rounds": args.rounds, "size": args.size, "dtype": dtype, "device": at }))
}
