//! `shoal cluster graph`.

use super::choices::choice;
use super::failure;
use super::input::edge_file;
use super::score::score_values;
use crate::cli::args::{CheckArgs, HeaderArg, OutputArgs, positive, refuse_unused};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::refuse_same_file;
use crate::cli::report;
use crate::cli::session::Session;
use crate::cluster::graph_methods::label_prop::{LabelPropOptions, label_propagation};
use crate::cluster::graph_methods::leiden::{LeidenOptions, Quality, leiden};
use crate::cluster::graph_tools::{View, combine};
use crate::cluster::labels::count;
use crate::cluster::modularity::modularity;
use crate::cluster::score::{Contingency, Noise, Scores};
use crate::cluster::spectral::{Clusters, Embedding, SpectralOptions, spectral_graph};
use crate::plot::{PictureFormat, render};
use crate::run::check::MetricRow;
use crate::table::graph::{EdgeList, GraphOptions, Mirrored, Network, Repeats, read_graph};
use crate::table::points::{LabelOptions, code_labels, read_labels};
use crate::table::{Format, Table, Values, write_table};
use clap::{Args, ValueEnum, ValueHint};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal cluster graph edges.csv -m leiden --plot communities.svg
  shoal cluster graph edges.csv -m spectral -k 12 --embedding njw --truth labels.csv
  shoal cluster graph papers.csv:paper,author follows.csv:from,to,weight --view-weights 1,0.5

Edge lists have a row for each edge: source, target and perhaps weight, under any names. The result has a row for each node: node and label.";

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphMethodArg {
    /// connected communities of high modularity
    Leiden,
    /// k-means on eigenvectors of the normalised Laplacian
    Spectral,
    /// every node takes the label that weighs most among its neighbours
    LabelProp,
}

impl GraphMethodArg {
    fn name(self) -> &'static str {
        match self {
            Self::Leiden => "leiden",
            Self::Spectral => "spectral",
            Self::LabelProp => "label-prop",
        }
    }
}

/// Arguments of `shoal cluster graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Edge lists, each a view of the same nodes: FILE, FILE:SOURCE,TARGET or FILE:SOURCE,TARGET,WEIGHT. "-" is stdin.
    #[arg(value_name = "EDGES", required = true, value_hint = ValueHint::FilePath, help_heading = "Input")]
    edges: Vec<String>,
    /// An edge goes one way only.
    #[arg(long, help_heading = "Input")]
    directed: bool,
    /// What an edge is that comes in several rows.
    #[arg(long, value_parser = choice::<Repeats>(), default_value = "max", value_name = "HOW", help_heading = "Input")]
    repeats: Repeats,
    /// What an undirected edge weighs that is listed from both ends.
    #[arg(long, value_parser = choice::<Mirrored>(), default_value = "max", value_name = "HOW", help_heading = "Input")]
    mirrored: Mirrored,
    /// Leave edges from a node to itself out.
    #[arg(long, help_heading = "Input")]
    drop_loops: bool,
    /// How much each view counts [default: 1 each]
    #[arg(long, value_name = "W,W", value_delimiter = ',', help_heading = "Input")]
    view_weights: Vec<f64>,
    /// Known classes of the nodes: columns node (or id) and label.
    #[arg(long, value_name = "LABELS", value_hint = ValueHint::FilePath, help_heading = "Input")]
    truth: Option<String>,
    /// Whether delimited text starts with a row of names.
    #[arg(long, value_enum, default_value_t, value_name = "WHETHER", help_heading = "Input")]
    header: HeaderArg,

    /// How nodes are clustered.
    #[arg(short, long, value_enum, default_value = "leiden", value_name = "METHOD", help_heading = "Method")]
    method: GraphMethodArg,
    /// spectral: clusters; auto: by the largest eigengap within --k-range.
    #[arg(short, long, value_name = "K|auto", help_heading = "Method")]
    k: Option<String>,
    /// spectral with -k auto: smallest and largest number [default: 2:10]
    #[arg(long, value_name = "MIN:MAX", help_heading = "Method")]
    k_range: Option<String>,
    /// spectral: eigenvectors scaled by degrees (sm) or rows scaled to length 1 (njw) [default: sm]
    #[arg(long, value_parser = choice::<Embedding>(), value_name = "ROWS", help_heading = "Method")]
    embedding: Option<Embedding>,
    /// leiden: what is made large [default: modularity]
    #[arg(long, value_parser = choice::<Quality>(), value_name = "QUALITY", help_heading = "Method")]
    quality: Option<Quality>,
    /// leiden: more means more and smaller communities; for cpm a density [default: 1]
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Method")]
    resolution: Option<f64>,
    /// leiden: how freely parts are merged when communities are refined [default: 0.01]
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Method")]
    randomness: Option<f64>,
    /// leiden, spectral: starts of which the best is kept [default: 10]
    #[arg(long, value_name = "N", help_heading = "Method")]
    restarts: Option<usize>,
    /// leiden, label-prop: passes at most [default: 100]
    #[arg(long, value_name = "N", help_heading = "Method")]
    max_iter: Option<usize>,
    /// Exit 4 when it has not converged.
    #[arg(long, help_heading = "Output")]
    strict: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

const METRICS: [&str; 16] = [
    "nodes",
    "edges",
    "k",
    "modularity",
    "quality",
    "inertia",
    "iterations",
    "converged",
    "components",
    "ari",
    "nmi",
    "ami",
    "acc",
    "macro_f1",
    "homophily",
    "fowlkes_mallows",
];

/// What a method found.
struct Found {
    labels: Vec<i32>,
    metrics: Vec<(&'static str, f64)>,
    converged: bool,
    warnings: Vec<String>,
    details: Value,
    options: Value,
}

/// Reads, clusters, measures, writes.
pub fn run(args: GraphArgs, mut session: Session) -> Outcome {
    check(&args)?;
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    refuse_same_file(&[("-o", args.output.output.as_deref()), ("--plot", args.output.plot.as_deref())])?;
    let mut output = session.open_outputs(&args.output)?;
    let network = read(&args, &mut session)?;
    let weights = if args.view_weights.is_empty() { vec![1.0; network.views.len()] } else { args.view_weights.clone() };
    if weights.len() != network.views.len() {
        return Err(Failure::usage(format!(
            "--view-weights has {} numbers for {} edge lists",
            weights.len(),
            network.views.len()
        )));
    }
    let views: Vec<View> = network.views.iter().zip(&weights).map(|(v, &weight)| View { graph: &v.graph, weight }).collect();
    let truth = match &args.truth {
        None => None,
        Some(path) => {
            let source = session.open_input(path)?;
            let file = read_labels(&source, &LabelOptions { header: args.header.into(), ..LabelOptions::default() })?;
            Some(code_labels(&file.label_column, file.align(&network.ids, &[])?.into_iter()).codes)
        }
    };
    let started = Instant::now();
    let found = fit(&args, &views, &session)?;
    let seconds = started.elapsed().as_secs_f64();
    found.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    let whole = combine(&views).map_err(failure)?;
    let mut values = found.metrics.clone();
    values.extend([
        ("nodes", network.ids.len() as f64),
        ("edges", network.views.iter().map(|v| v.counts.edges as f64).sum()),
        ("k", count(&found.labels) as f64),
        ("converged", f64::from(u8::from(found.converged))),
    ]);
    // Modularity is not defined for negative weights.
    let q = modularity(&whole, &found.labels, 1.0).ok();
    values.extend(q.map(|q| ("modularity", q)));
    if let Some(truth) = &truth {
        values.extend(score_values(&Scores::of(&Contingency::new(truth, &found.labels, Noise::Group))));
        values.extend(homophily(&whole, truth).map(|h| ("homophily", h)));
    }
    let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).filter(|v| v.is_finite());
    let rows = [MetricRow {
        keys: vec![("method".into(), args.method.name().into())],
        metrics: METRICS.iter().map(|name| (name.to_string(), value(name))).collect(),
    }];
    let configuration = json!({
        "method": args.method.name(), "options": found.options, "directed": args.directed, "repeats": args.repeats, "mirrored": args.mirrored,
        "drop_loops": args.drop_loops, "view_weights": weights,
    });
    let table = Table::new()
        .with("node", Values::Text(network.ids.clone()))
        .with("label", Values::Integer(found.labels.iter().map(|&l| i64::from(l)).collect()));
    let draw = || super::pictures::graph(&network, &whole, &found.labels, session.seed);
    if output.wants_picture() {
        output.picture(&draw()?)?;
    }
    if session.keeps_run() {
        if let Some(mut file) = session.run_file("labels.csv")? {
            write_table(&table, Format::Csv, &mut file)?;
            file.commit()?;
        }
        if let (Ok(picture), Some(mut file)) = (draw(), session.run_file("graph.svg")?) {
            file.write_all(&render(&picture, PictureFormat::Svg)?)?;
            file.commit()?;
        }
    }
    let mut object = report::json(&rows)[0].clone();
    if let Value::Object(object) = &mut object {
        if let Value::Object(details) = &found.details {
            object.extend(details.clone());
        }
        object.insert("views".into(), network.views.iter().map(|v| json!({ "name": v.name, "counts": v.counts })).collect());
        object.insert("seconds".into(), json!(seconds));
        object.insert("nodes_by_name".into(), network.ids.iter().map(|id| Value::from(&**id)).collect());
        object.insert("labels".into(), found.labels.iter().map(|l| Value::from(*l)).collect());
        object.insert("configuration".into(), configuration.clone());
    }
    let written = output.result(&table, || Ok(object));
    let quality = q.map_or(String::new(), |q| format!(", modularity {q:.4}"));
    session.say(format!("{}: {} communities{quality}, {seconds:.2} s", args.method.name(), count(&found.labels)));
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&configuration)?;
        report::check(&session, &args.check, &rows)?;
        match found.converged {
            false if args.strict => {
                Err(Failure::Numbers(vec!["not converged: raise --max-iter, or leave --strict out".to_string()]))
            }
            _ => Ok(()),
        }
    })
}

fn check(args: &GraphArgs) -> Outcome {
    use GraphMethodArg::{LabelProp, Leiden, Spectral};
    let m = args.method;
    refuse_unused(
        &format!("--method {}", m.name()),
        &[
            ("-k", args.k.is_some(), m == Spectral),
            ("--k-range", args.k_range.is_some(), m == Spectral && args.k.as_deref() == Some("auto")),
            ("--embedding", args.embedding.is_some(), m == Spectral),
            ("--quality", args.quality.is_some(), m == Leiden),
            ("--resolution", args.resolution.is_some(), m == Leiden),
            ("--randomness", args.randomness.is_some(), m == Leiden),
            ("--restarts", args.restarts.is_some(), m != LabelProp),
            ("--max-iter", args.max_iter.is_some(), m != Spectral),
        ],
    )?;
    if m == Spectral && args.k.is_none() {
        return Err(Failure::usage("--method spectral needs the number of clusters: -k N, or -k auto"));
    }
    Ok(())
}

fn read(args: &GraphArgs, session: &mut Session) -> Outcome<Network> {
    let files = args.edges.iter().map(|e| edge_file(e)).collect::<Outcome<Vec<_>>>()?;
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    let sources = session.open_inputs(&paths)?;
    let lists: Vec<EdgeList> = sources.iter().zip(files).map(|(source, (_, columns))| EdgeList { source, columns }).collect();
    let options = GraphOptions {
        directed: args.directed,
        repeats: args.repeats,
        mirrored: args.mirrored,
        drop_loops: args.drop_loops,
        negative: args.method == GraphMethodArg::LabelProp || args.quality == Some(Quality::Cpm),
        header: args.header.into(),
        ..GraphOptions::default()
    };
    let network = read_graph(&lists, &options)?;
    network.notes.iter().for_each(|note| tracing::warn!("{note}"));
    for view in &network.views {
        let c = &view.counts;
        let mut text = format!("{}: {} nodes, {} edges", view.name, network.ids.len(), c.edges);
        for (n, what) in [(c.loops, "loops"), (c.repeated, "repeated rows"), (c.isolated, "nodes without neighbours")] {
            if n > 0 {
                text.push_str(&format!(", {n} {what}"));
            }
        }
        session.say(text);
    }
    Ok(network)
}

fn fit(args: &GraphArgs, views: &[View], session: &Session) -> Outcome<Found> {
    let observer = session.observer();
    match args.method {
        GraphMethodArg::Leiden => {
            let defaults = LeidenOptions::default();
            let options = LeidenOptions {
                quality: args.quality.unwrap_or_default(),
                resolution: args.resolution.unwrap_or(defaults.resolution),
                randomness: args.randomness.unwrap_or(defaults.randomness),
                restarts: args.restarts.unwrap_or(defaults.restarts),
                max_iterations: args.max_iter.unwrap_or(defaults.max_iterations),
                seed: session.seed,
            };
            let found = leiden(views, &options, observer).map_err(failure)?;
            Ok(Found {
                labels: found.labels,
                metrics: vec![("quality", found.quality), ("iterations", found.iterations as f64)],
                converged: found.converged,
                warnings: Vec::new(),
                details: json!({ "qualities": found.qualities }),
                options: json!(options),
            })
        }
        GraphMethodArg::LabelProp => {
            let defaults = LabelPropOptions::default();
            let options =
                LabelPropOptions { max_iterations: args.max_iter.unwrap_or(defaults.max_iterations), seed: session.seed };
            let found = label_propagation(views, &options, observer).map_err(failure)?;
            Ok(Found {
                labels: found.labels,
                metrics: vec![("iterations", found.iterations as f64)],
                converged: found.converged,
                warnings: Vec::new(),
                details: json!({ "split": found.split }),
                options: json!(options),
            })
        }
        GraphMethodArg::Spectral => {
            let defaults = SpectralOptions::default();
            let options = SpectralOptions {
                clusters: clusters(args)?,
                embedding: args.embedding.unwrap_or_default(),
                kmeans_restarts: args.restarts.unwrap_or(defaults.kmeans_restarts),
                seed: session.seed,
                ..defaults
            };
            let found = spectral_graph(views, &options, observer).map_err(failure)?;
            Ok(Found {
                labels: found.labels,
                metrics: vec![("inertia", found.inertia), ("components", found.components as f64)],
                converged: found.converged,
                warnings: found.warnings,
                details: json!({ "eigenvalues": found.eigenvalues }),
                options: json!(options),
            })
        }
    }
}

fn clusters(args: &GraphArgs) -> Outcome<Clusters> {
    let wrong = || Failure::usage("-k: expected a number of clusters, at least 1, or auto");
    match args.k.as_deref() {
        Some("auto") => {
            let text = args.k_range.as_deref().unwrap_or("2:10");
            let range = text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (from, to) = range.ok_or_else(|| Failure::usage(format!("--k-range {text}: expected two numbers as 2:10")))?;
            Ok(Clusters::Auto { from, to })
        }
        Some(k) => k.parse().ok().filter(|&k: &usize| k > 0).map(Clusters::Fixed).ok_or_else(wrong),
        None => Err(wrong()),
    }
}

/// The share of edge weight that joins nodes of one class; loops do not count.
fn homophily(graph: &crate::cluster::Graph, classes: &[i32]) -> Option<f64> {
    let (mut same, mut all) = (0.0, 0.0);
    for i in 0..graph.n() {
        let (targets, weights) = graph.row(i);
        for (&j, &w) in targets.iter().zip(weights).filter(|(j, _)| **j as usize != i) {
            all += w;
            if classes[i] == classes[j as usize] {
                same += w;
            }
        }
    }
    (all > 0.0).then(|| same / all)
}
