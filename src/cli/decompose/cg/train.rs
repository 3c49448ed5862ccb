//! `shoal decompose-tensor cg train`.

use super::schedule;
use crate::cli::args::{CheckArgs, OutputArgs, not_negative, positive, share};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{refuse_same_file, to_json};
use crate::cli::report;
use crate::cli::session::Session;
use crate::nn::schedule::Schedule;
use crate::nn::tdn::equivariance::{Equivariance, equivariance};
use crate::nn::tdn::train::statistics;
use crate::nn::tdn::{Fit, FitConfig, Forces, ProductKind, Structure, Tdn, TdnConfig, TdnError, fit, potential};
use crate::nn::train::TrainError;
use crate::run::check::MetricRow;
use crate::table::{AtomicFile, BadInput, xyz};
use crate::tensor::cg::{CgError, RankSchedule};
use candle_core::DType;
use clap::{Args, ValueEnum, ValueHint};
use rand::seq::SliceRandom;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor cg train --generate 160 --rank 8
  shoal decompose-tensor cg train --generate 200 --save-data morse.xyz --forces direct
  shoal decompose-tensor cg train water.xyz --lmax 2 --rank 28 --no-twin --assert 'force_ratio>=10'

Structures are extended XYZ with energy and forces, or clusters of two kinds of atoms drawn under a Morse potential. One row for each network:
product (cp, exact), errors on the part that was kept aside, force_ratio (error of predicting zero over that of the network), how far
energies and forces are from equivariance, seconds.";

/// Arguments of `shoal decompose-tensor cg train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Structures: extended XYZ with energy and forces.
    #[arg(value_name = "DATA.xyz", value_hint = ValueHint::FilePath, required_unless_present = "generate", conflicts_with = "generate")]
    input: Option<String>,
    /// Draw so many clusters under a Morse potential instead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    generate: Option<u32>,
    /// --generate: atoms of a cluster [default: 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200), requires = "generate")]
    atoms: Option<u32>,
    /// --generate: keep the structures as extended XYZ.
    #[arg(long, value_name = "FILE.xyz", value_hint = ValueHint::FilePath, requires = "generate")]
    save_data: Option<PathBuf>,
    /// Share of the structures that is kept aside, at least one.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = some)]
    validation: f64,
    /// Terms of the product: a number, linear, quadratic, log or full.
    #[arg(short, long, value_name = "R|SCHEDULE", default_value = "8", value_parser = schedule)]
    rank: RankSchedule,
    /// Leave out the network with the exact tensor.
    #[arg(long)]
    no_twin: bool,
    /// What predicts forces.
    #[arg(long, value_enum, default_value = "conservative", value_name = "HOW")]
    forces: ForcesArg,
    /// Largest degree L of the features.
    #[arg(long, value_name = "L", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=6))]
    lmax: u32,
    /// Blocks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    layers: u32,
    /// Channels of the features.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    channels: u32,
    /// Heads of attention.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    heads: u32,
    /// Gaussians of the distance.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    radial_basis: u32,
    /// Neighbours are closer than this, in the unit of the positions.
    #[arg(long, value_name = "DISTANCE", default_value_t = 4.5, value_parser = positive)]
    cutoff: f64,
    /// Passes over the structures.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Structures of a step.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Learning rate at the start; it falls along half a cosine.
    #[arg(long, value_name = "RATE", default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
    /// Weight of the energies in the loss; that of the forces is 1.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = not_negative)]
    energy_weight: f64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ForcesArg {
    /// the gradient of the energy, exactly
    Conservative,
    /// a head of their own, as published: faster, and no energy has them
    Direct,
}

/// A share above 0.
fn some(text: &str) -> Result<f64, String> {
    share(text).and_then(|s| if s > 0.0 { Ok(s) } else { Err("expected a share above 0 and below 1".into()) })
}

const METRICS: [&str; 7] =
    ["force_rmse", "force_ratio", "energy_mae_per_atom", "equivariance_energy", "equivariance_forces", "seconds", "params"];
/// Structures and rotations that equivariance is measured on.
const TURNED: usize = 5;

fn failure(e: TdnError) -> Failure {
    match e {
        TdnError::Cg(CgError::Interrupted) | TdnError::Train(TrainError::Interrupted { .. }) => Failure::Interrupted,
        TdnError::Train(other) => Failure::Numbers(vec![other.to_string()]),
        TdnError::Tensor(e) => Failure::Run(anyhow::anyhow!(e.to_string())),
        other => Failure::usage(other.to_string()),
    }
}

/// Reads or draws structures, trains, compares.
pub fn run(args: TrainArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("decompose-tensor cg train draws no picture: leave --plot out"));
    }
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    session.dtype = "f32";
    refuse_same_file(&[("-o", args.output.output.as_deref()), ("--save-data", args.save_data.as_deref())])?;
    let output = session.open_outputs(&args.output)?;
    let data = args.save_data.as_ref().map(AtomicFile::create).transpose()?;
    let mut structures = structures(&args, &mut session, data)?;
    structures.shuffle(&mut session.streams().stream("cg train", 0));
    let kept = ((structures.len() as f64 * args.validation).round() as usize).clamp(1, structures.len().saturating_sub(1).max(1));
    if structures.len() < 2 {
        return Err(Failure::usage("one structure cannot be trained on and kept aside: give at least 2"));
    }
    let (held, train) = structures.split_at(kept);
    let mut kinds: Vec<String> = structures.iter().flat_map(|s| s.symbols.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (mean_neighbours, mean_atoms) = statistics(train, args.cutoff, TdnConfig::default().max_neighbours).map_err(failure)?;
    let direct = args.forces == ForcesArg::Direct;
    let config = |product| TdnConfig {
        lmax: args.lmax as usize,
        layers: args.layers as usize,
        channels: args.channels as usize,
        heads: args.heads as usize,
        radial_basis: args.radial_basis as usize,
        cutoff: args.cutoff,
        forces: if direct { Forces::Direct } else { Forces::Conservative },
        mean_neighbours,
        mean_atoms,
        product,
        ..TdnConfig::small(kinds.len())
    };
    let training = FitConfig {
        epochs: args.epochs as usize,
        batch_size: args.batch_size as usize,
        schedule: Schedule::cosine(args.lr),
        energy_weight: args.energy_weight,
        clip_norm: Some(10.0),
        seed: session.seed,
        ..FitConfig::default()
    };
    let mut products = vec![("cp", ProductKind::Cp { rank: args.rank })];
    if !args.no_twin {
        products.push(("exact", ProductKind::Exact));
    }
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for (name, product) in products {
        let config = config(product);
        let started = Instant::now();
        let mut net = Tdn::new(config.clone(), kinds.clone(), DType::F32, session.seed, session.observer()).map_err(failure)?;
        let told = fit(&mut net, train, held, &training, session.observer()).map_err(failure)?;
        let seconds = started.elapsed().as_secs_f64();
        let turned = equivariance(&net, &held[..held.len().min(TURNED)], TURNED, direct, session.seed).map_err(failure)?;
        let row = row(name, &told, turned, seconds, net.params().trainable_count());
        session.say(format!("{}: {}", name, told_of(&row)));
        rows.push(row);
        details.push(json!({ "product": name, "network": config, "fit": to_json(&told)? }));
    }
    let record = json!({ "training": training, "kinds": kinds, "structures": train.len(), "held_out": held.len() });
    let written = output.result(&report::table(&rows), || {
        Ok(json!({ "results": report::json(&rows), "networks": details, "configuration": record }))
    });
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&record)?;
        report::check(&session, &args.check, &rows)
    })
}

fn structures(args: &TrainArgs, session: &mut Session, data: Option<AtomicFile>) -> Outcome<Vec<Structure>> {
    if let Some(count) = args.generate {
        // Noise of 0.1 spreads atoms around their places of rest.
        let atoms = args.atoms.map_or(6, |n| n as usize);
        let drawn = potential::clusters(count as usize, atoms, 0.1, session.seed).map_err(|e| Failure::usage(e.to_string()))?;
        if let Some(mut file) = data {
            let frame = |s: &Structure| {
                let Structure { symbols, positions, energy, forces } = s.clone();
                xyz::Frame { symbols, positions, energy, forces }
            };
            file.write_all(xyz::write(&drawn.iter().map(frame).collect::<Vec<_>>()).as_bytes())?;
            file.commit()?;
        }
        return Ok(drawn);
    }
    let path = args.input.as_deref().unwrap_or("-");
    let text =
        String::from_utf8(session.open_raw(path)?).map_err(|_| BadInput::new(path, "is not text, expected extended XYZ"))?;
    let frames = xyz::parse(&text).map_err(|e| BadInput::new(path, e.to_string()))?;
    let structure = |f: xyz::Frame| {
        let xyz::Frame { symbols, positions, energy, forces } = f;
        Structure { symbols, positions, energy, forces }
    };
    Ok(frames.into_iter().map(structure).collect())
}

fn row(product: &str, told: &Fit, turned: Equivariance, seconds: f64, params: usize) -> MetricRow {
    let held = told.validation.unwrap_or(told.train);
    let values = [
        held.force_rmse,
        held.zero_rmse / held.force_rmse.max(f64::MIN_POSITIVE),
        held.energy_mae_per_atom,
        turned.energy,
        turned.forces,
        seconds,
        params as f64,
    ];
    MetricRow {
        keys: vec![("product".into(), product.into())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), Some(v))).collect(),
    }
}

fn told_of(row: &MetricRow) -> String {
    row.metrics.iter().map(|(n, v)| format!("{n} {:.4}", v.unwrap_or(f64::NAN))).collect::<Vec<_>>().join(", ")
}
