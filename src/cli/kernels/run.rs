//! `shoal kernels run`.

use super::catalog::{self, Engine, Request};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::kernels::device::{self, Target};
use crate::table::arrays::{ArrayFormat, ArrayType, read_arrays, write_arrays};
use crate::table::{AtomicFile, BadInput};
use clap::{Args, ValueEnum, ValueHint};
use std::cell::RefCell;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

pub const EXAMPLES: &str = "Examples:
  shoal kernels run selective-scan in.json
  shoal kernels run selective-scan in.npz --grad --dtype f64 -o out.npz
  shoal kernels run causal-conv1d in.safetensors --engine step -o out.safetensors

Arrays are found by name (shoal kernels list OP names them); with --grad the gradients of the results are read too and the gradients
of the inputs are written as g_NAME. An array cu_seqlens packs sequences of several lengths into one batch element.";

/// Arguments of `shoal kernels run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Operation.
    #[arg(value_name = "OP")]
    op: String,
    /// Arrays by name: .json (nested lists), .npz or .safetensors, told by content; "-" is stdin.
    #[arg(value_name = "INPUT", value_hint = ValueHint::FilePath, default_value = "-")]
    input: String,
    /// Write the results here instead of JSON to stdout: .json, .npz or .safetensors; complete or not at all.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Compute gradients too.
    #[arg(long)]
    grad: bool,
    /// Numbers to compute and write with. bf16: arrays over the steps (cells, tokens) are rounded to bf16 and so are results of that length,
    /// all else, states too, is f32 (scans); files hold them as f32.
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: NumberArg,
    /// How to compute; all must agree up to rounding.
    #[arg(long, value_enum, default_value = "scan", value_name = "HOW")]
    engine: Engine,
    /// Where to compute. cuda and metal: a GPU, in builds with that feature; cuda-emu: the kernels for GPUs, thread by thread on the host,
    /// with every access checked. All of them in f32.
    #[arg(long, value_enum, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceArg,
    /// Leave out the activation of operations that have one (causal-conv1d: SiLU).
    #[arg(long)]
    linear: bool,
    /// Steps of a chunk, for operations that work in chunks (ssd: 64); changes nothing beyond rounding.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    chunk: Option<u32>,
}

/// See [`RunArgs::dtype`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NumberArg {
    F32,
    F64,
    Bf16,
}

/// What models compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    F32,
    F64,
}

/// See [`RunArgs::device`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    Cpu,
    Cuda,
    Metal,
    CudaEmu,
}

impl DeviceArg {
    /// None is the CPU.
    pub fn target(self) -> Option<Target> {
        match self {
            Self::Cpu => None,
            Self::Cuda => Some(Target::Cuda),
            Self::Metal => Some(Target::Metal),
            Self::CudaEmu => Some(Target::Emulator),
        }
    }
}

/// Reads, computes, writes.
pub fn run(args: RunArgs, mut session: Session) -> Outcome {
    let op = catalog::find(&args.op)
        .ok_or_else(|| Failure::usage(format!("unknown operation \"{}\", expected {}", args.op, catalog::names())))?;
    if args.linear && !op.activation {
        return Err(Failure::usage(format!("--linear: {} has no activation to leave out", op.name)));
    }
    if args.chunk.is_some() && !(op.chunked && args.engine == Engine::Scan) {
        return Err(Failure::usage(format!("--chunk: {} does not work in chunks this way", op.name)));
    }
    let (double, half) = (args.dtype == NumberArg::F64, args.dtype == NumberArg::Bf16);
    if half && op.bf16.is_none() {
        return Err(Failure::usage(format!("--dtype bf16: {} has no bf16, {} have it", op.name, catalog::names_in_bf16())));
    }
    if half && (args.engine == Engine::Reference || args.device != DeviceArg::Cpu) {
        let why = "the reference computes in f64, and devices in f32: leave --engine reference and --device out";
        return Err(Failure::usage(format!("--dtype bf16: {why}")));
    }
    let (engine, device) = match args.device.target() {
        None if half && args.engine == Engine::Step => (Engine::HalfStep, None),
        None if half => (Engine::Half, None),
        None => (args.engine, None),
        Some(target) => {
            if double || args.engine != Engine::Scan {
                return Err(Failure::usage("--device other than cpu computes scans in f32: leave --dtype and --engine out"));
            }
            if op.on_device[usize::from(args.grad)].is_none() {
                let what = if args.grad && op.on_device[0].is_some() { "gradients" } else { "kernels" };
                return Err(Failure::usage(format!("{} has no {what} for devices yet", op.name)));
            }
            let device = device::open(target).map_err(|e| Failure::usage(format!("--device: {e}")))?;
            (Engine::Device, Some(RefCell::new(device)))
        }
    };
    if args.engine == Engine::Reference && !double {
        return Err(Failure::usage("--engine reference computes in f64: add --dtype f64"));
    }
    let format = match &args.output {
        Some(path) => ArrayFormat::of_path(path).ok_or_else(|| {
            Failure::usage(format!("-o {}: expected a name that ends in .json, .npz or .safetensors", path.display()))
        })?,
        None => ArrayFormat::Json,
    };
    let file = args.output.as_ref().map(AtomicFile::create).transpose()?;
    let bytes = if args.input == "-" {
        if std::io::stdin().is_terminal() {
            return Err(Failure::usage("no input: name a file of arrays, or pipe one in"));
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        session.open_raw(&args.input)?
    };
    let name = if args.input == "-" { "stdin" } else { &args.input };
    let arrays = read_arrays(name, &bytes)?;
    if let Some(why) = op.misspelt(&arrays) {
        return Err(BadInput::new(name, format!("{}: {why}", op.name)).into());
    }
    let chunk = args.chunk.map(|c| c as usize);
    let request = Request { arrays: &arrays, engine, gradients: args.grad, linear: args.linear, chunk, device };
    let results = if double { (op.double)(&request) } else { (op.single)(&request) };
    let results = results.map_err(|why| Failure::from(BadInput::new(name, format!("{}: {why}", op.name))))?;
    for (array, values) in results.iter().map(|(n, a)| (n, &a.values)) {
        if let Some(place) = values.iter().position(|v| !v.is_finite()) {
            return Err(Failure::Numbers(vec![format!(
                "{}: \"{array}\" is {} at place {place}: the inputs drive the recurrence beyond the numbers of this type",
                op.name, values[place]
            )]));
        }
    }
    let dtype = if double { ArrayType::F64 } else { ArrayType::F32 };
    let bytes = write_arrays(&results, format, dtype).map_err(|why| Failure::Run(anyhow::anyhow!(why)))?;
    match file {
        Some(mut file) => {
            file.write_all(&bytes)?;
            Ok(file.commit()?)
        }
        None => Ok(std::io::stdout().write_all(&bytes)?),
    }
}
