//! `shoal cluster`: tables and graphs in, partitions and what is known of them out.

mod choices;
mod graph;
mod input;
mod keep;
mod method;
mod pictures;
mod points;
mod predict;
mod scan;
mod score;

use super::failure::{Failure, Outcome};
use super::session::Session;
use crate::cluster::ClusterError;
use clap::{Args, Subcommand};

/// Arguments of `shoal cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Rows of a table: k-means, mixtures, spectral, density, hierarchies, and semidefinite programmes with certificates.
    #[command(after_help = points::EXAMPLES)]
    Points(Box<points::PointsArgs>),
    /// Nodes of one graph or of several on the same nodes: spectral, Leiden, label propagation.
    #[command(after_help = graph::EXAMPLES)]
    Graph(Box<graph::GraphArgs>),
    /// Labels of new rows by a saved model.
    #[command(after_help = predict::EXAMPLES)]
    Predict(Box<predict::PredictArgs>),
    /// How far two labellings agree, and how good one is.
    #[command(after_help = score::EXAMPLES)]
    Score(Box<score::ScoreArgs>),
}

/// Runs the verb.
pub fn run(args: ClusterArgs, session: Session) -> Outcome {
    match args.verb {
        Verb::Points(a) => points::run(*a, session),
        Verb::Graph(a) => graph::run(*a, session),
        Verb::Predict(a) => predict::run(*a, session),
        Verb::Score(a) => score::run(*a, session),
    }
}

fn failure(e: ClusterError) -> Failure {
    match e {
        ClusterError::Cancelled => Failure::Interrupted,
        ClusterError::Numbers(text) => Failure::Numbers(vec![text]),
        other => Failure::usage(other.to_string()),
    }
}
