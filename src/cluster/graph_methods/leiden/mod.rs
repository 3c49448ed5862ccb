//! Communities by the Leiden algorithm.
//!
//! * [`network`]: the graph as the algorithm sees it: merged views, what moves gain, aggregation.
//! * [`moving`]: local moving with a queue.
//! * [`refine`]: randomised merging inside of communities.
//! * This file: settings, passes until nothing changes, several starts, the result.

pub mod moving;
pub mod network;
pub mod refine;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::network::Network;
use crate::cluster::graph_tools::{View, check_views, check_weights, split_disconnected};
use crate::cluster::modularity::{check_resolution, constant_potts, modularity};
use crate::cluster::{ClusterError, Graph, labels};
use crate::run::observer::Observer;
use crate::run::seed::{Rng, Streams};

/// What is maximised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// [`modularity`]. Resolution 1 is the usual one.
    #[default]
    Modularity,
    /// [`constant_potts`]: communities denser inside than the resolution and sparser
    /// between than it, so the resolution is a density in units of edge weight, and small in a sparse graph.
    Cpm,
}

impl Quality {
    pub const ALL: &[Self] = &[Self::Modularity, Self::Cpm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Modularity => "modularity",
            Self::Cpm => "cpm",
        }
    }

    fn of(self, graph: &Graph, labels: &[i32], resolution: f64) -> Result<f64, ClusterError> {
        match self {
            Self::Modularity => modularity(graph, labels, resolution),
            Self::Cpm => constant_potts(graph, labels, resolution),
        }
    }
}

/// Settings of [`leiden`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LeidenOptions {
    pub quality: Quality,
    /// γ: more means more and smaller communities.
    pub resolution: f64,
    /// θ of the refinement: a merge that gains g is drawn with probability in proportion to exp(g / θ), g in units of the mean edge
    /// weight. Small is greedy.
    pub randomness: f64,
    /// Starts from single nodes; the highest quality wins.
    pub restarts: usize,
    /// Passes of each start at most; one stops after a pass that gains nothing.
    pub max_iterations: usize,
    pub seed: u64,
}

impl Default for LeidenOptions {
    fn default() -> Self {
        Self { quality: Quality::Modularity, resolution: 1.0, randomness: 0.01, restarts: 10, max_iterations: 100, seed: 0 }
    }
}

/// What Leiden found.
#[derive(Debug, Clone, PartialEq)]
pub struct Leiden {
    /// (n), canonical; every community is connected, a node without edges is one by itself.
    pub labels: Vec<i32>,
    /// The quality of the labels: the sum over views of weight times quality.
    pub quality: f64,
    /// The qualities of all starts.
    pub qualities: Vec<f64>,
    /// Passes of the start that won.
    pub iterations: usize,
    /// Whether its last pass gained nothing.
    pub converged: bool,
}

/// Communities of one or several graphs on the same nodes by the Leiden algorithm.
///
/// What: local moving with a queue, refinement by random merges of well-connected parts, aggregation, until each community is one
/// node; such passes follow each other from the partition of the last until one gains nothing; the best of `restarts` starts.
/// Several views: the sum of their qualities times their weights is maximised (as leidenalg's multiplex; a negative weight makes a view
/// one of repulsion; a node joins a community only by links of positive total weight all the same). Directed views: the directed forms of the qualities, see [`modularity`] and [`constant_potts`].
///
/// What we changed: θ counts in mean edge weights, so that a scale of the weights changes nothing; merges need a positive weight between the
/// parts, and what a pass may have left disconnected is cut at its end, so communities are connected whatever the weights; a move must
/// gain more than rounding.
/// Errors: settings out of range, views that do not fit, negative edge weights with modularity. Cost: a few passes of about a dozen reads
/// of the edges each. Starts run in parallel; they share the network (12 bytes an edge entry), and each has aggregates of it and about
/// 80 bytes a node of its own.
/// Source: Traag, Waltman, van Eck 2019, algorithm A.2 and sections "Leiden algorithm" and "Guarantees".
pub fn leiden(views: &[View], options: &LeidenOptions, observer: &dyn Observer) -> Result<Leiden, ClusterError> {
    check_views(views)?;
    check_resolution(options.resolution)?;
    if !(options.randomness > 0.0 && options.randomness.is_finite()) {
        let expected = "a number above 0".into();
        return Err(ClusterError::Setting { what: "the randomness", value: options.randomness.to_string(), expected });
    }
    for (what, value) in [("restarts", options.restarts), ("the most iterations", options.max_iterations)] {
        if value == 0 {
            return Err(ClusterError::Setting { what, value: "0".into(), expected: "at least 1".into() });
        }
    }
    if options.quality == Quality::Modularity {
        views.iter().try_for_each(|view| check_weights(view.graph, "modularity"))?;
    }
    let (network, merged) = Network::new(views, options.quality, options.resolution)?;
    observer.start("starts", options.restarts);
    let starts: Vec<Result<One, ClusterError>> = (0..options.restarts)
        .into_par_iter()
        .map(|start| {
            let found = one_start(views, &network, &merged, options, start, observer);
            observer.advance(1);
            found
        })
        .collect();
    observer.finish();
    let starts = starts.into_iter().collect::<Result<Vec<One>, ClusterError>>()?;
    let qualities: Vec<f64> = starts.iter().map(|s| s.quality).collect();
    let best = (1..starts.len()).fold(0, |best, s| if qualities[s] > qualities[best] { s } else { best });
    let One { labels, quality, iterations, converged } = starts.into_iter().nth(best).expect("at least one start");
    Ok(Leiden { labels, quality, qualities, iterations, converged })
}

struct One {
    labels: Vec<i32>,
    quality: f64,
    iterations: usize,
    converged: bool,
}

/// Passes from single nodes until one gains nothing.
fn one_start(
    views: &[View],
    network: &Network,
    merged: &Graph,
    options: &LeidenOptions,
    start: usize,
    observer: &dyn Observer,
) -> Result<One, ClusterError> {
    let mut rng = Streams::new(options.seed).stream("leiden", start as u64);
    let quality = |labels: &[i32]| -> Result<f64, ClusterError> {
        views.iter().map(|v| Ok(v.weight * options.quality.of(v.graph, labels, options.resolution)?)).sum()
    };
    let mut labels: Vec<i32> = (0..network.n() as i32).collect();
    let mut best = One { quality: quality(&labels)?, labels: labels.clone(), iterations: 0, converged: false };
    while best.iterations < options.max_iterations && !best.converged {
        pass(network, &mut labels, options.randomness, &mut rng, observer)?;
        split_disconnected(merged, &mut labels);
        let now = quality(&labels)?;
        best.iterations += 1;
        // Rounding of sums over many edges is no gain.
        best.converged = now <= best.quality + 1e-12 * best.quality.abs();
        if now > best.quality {
            best.quality = now;
            best.labels.copy_from_slice(&labels);
        }
    }
    Ok(best)
}

/// One pass: moves, refines and aggregates until each community is one node.
fn pass(base: &Network, labels: &mut [i32], theta: f64, rng: &mut Rng, observer: &dyn Observer) -> Result<(), ClusterError> {
    let mut partition: Vec<u32> = labels.iter().map(|&l| l as u32).collect();
    // Where each node of the base is in the aggregate network.
    let mut place: Vec<u32> = (0..base.n() as u32).collect();
    let mut aggregate: Option<Network> = None;
    loop {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let network = aggregate.as_ref().unwrap_or(base);
        let communities = moving::move_nodes(network, &mut partition, rng);
        if communities == network.n() {
            break;
        }
        let (refined, parts) = refine::refine(network, &partition, communities, theta, rng);
        if parts == network.n() {
            break;
        }
        let next = network.aggregate(&refined, parts);
        let mut of_parts = vec![0; parts];
        refined.iter().zip(&partition).for_each(|(&part, &community)| of_parts[part as usize] = community);
        partition = of_parts;
        place.iter_mut().for_each(|p| *p = refined[*p as usize]);
        aggregate = Some(next);
    }
    labels.iter_mut().zip(&place).for_each(|(label, &p)| *label = partition[p as usize] as i32);
    labels::canonical(labels);
    Ok(())
}
