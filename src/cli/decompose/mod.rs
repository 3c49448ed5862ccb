//! `shoal decompose-tensor`: tables and arrays in, factors and diagnostics out.

mod align;
mod cg;
mod cp;
mod eval;
mod info;
mod input;
mod keep;
mod model;
mod rank_scan;
mod reconstruct;
mod tt;
mod tucker;

use super::failure::Outcome;
use super::session::Session;
use clap::{Args, Subcommand};

/// Arguments of `shoal decompose-tensor`.
#[derive(Debug, Args)]
pub struct DecomposeArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sums of products of one vector a mode (CP, PARAFAC): least squares, non-negative, sampled, with missing cells, or Bayesian.
    #[command(after_help = cp::EXAMPLES)]
    Cp(Box<cp::CpArgs>),
    /// A small core multiplied by a factor along every mode: ST-HOSVD, HOSVD, HOOI, randomised or non-negative.
    #[command(after_help = tucker::EXAMPLES)]
    Tucker(Box<tucker::TuckerArgs>),
    /// A chain of small cores, one a mode (tensor train, TT-SVD).
    #[command(after_help = tt::EXAMPLES)]
    Tt(Box<tt::TtArgs>),
    /// Clebsch-Gordan tensors of SO(3) as sums of products, their errors and speed; `cg train` trains an interatomic potential with them.
    #[command(after_help = cg::EXAMPLES)]
    Cg(Box<cg::CgArgs>),
    /// How well a saved model describes a tensor.
    #[command(after_help = eval::EXAMPLES)]
    Eval(Box<eval::EvalArgs>),
    /// Which components of two CP models belong together, and how alike they are.
    #[command(after_help = align::EXAMPLES)]
    Align(Box<align::AlignArgs>),
    /// Cells of a saved model: those of a table, or all of them.
    #[command(after_help = reconstruct::EXAMPLES)]
    Reconstruct(Box<reconstruct::ReconstructArgs>),
    /// Shape, density, norm and slices of a tensor.
    #[command(after_help = info::EXAMPLES)]
    Info(Box<info::InfoArgs>),
}

/// Runs the verb.
pub fn run(args: DecomposeArgs, session: Session) -> Outcome {
    match args.verb {
        Verb::Cp(a) => cp::run(*a, session),
        Verb::Tucker(a) => tucker::run(*a, session),
        Verb::Tt(a) => tt::run(*a, session),
        Verb::Cg(a) => cg::run(*a, session),
        Verb::Eval(a) => eval::run(*a, session),
        Verb::Align(a) => align::run(*a, session),
        Verb::Reconstruct(a) => reconstruct::run(*a, session),
        Verb::Info(a) => info::run(*a, session),
    }
}
