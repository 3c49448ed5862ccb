//! `shoal kernels`: the operations that models are made of, by themselves.

mod apply;
mod bench;
mod catalog;
mod list;
mod model_files;
mod run;

use super::failure::Outcome;
use super::session::Session;
use clap::{Args, Subcommand};

/// Arguments of `shoal kernels`.
#[derive(Debug, Args)]
pub struct KernelsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Name the operations, or the arrays of one.
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArgs),
    /// Run one operation on arrays from a file, with its gradients if wanted.
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Run a state-space language model over tokens: loss and likeliest next token of each, logits, states.
    #[command(after_help = apply::EXAMPLES)]
    Apply(Box<apply::ApplyArgs>),
    /// Time operations, beside what this machine can move and multiply at most.
    ///
    /// Writes one row per operation and direction: op, pass, sizes, median_ms, gb_per_s, gflop_per_s, share_of_bandwidth, share_of_peak.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
}

/// Runs the verb.
pub fn run(args: KernelsArgs, session: Session) -> Outcome {
    match args.verb {
        Verb::List(a) => list::run(a, session),
        Verb::Run(a) => run::run(a, session),
        Verb::Apply(a) => apply::run(*a, session),
        Verb::Bench(a) => bench::run(a, session),
    }
}
