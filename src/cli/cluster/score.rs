//! `shoal cluster score`.

use super::failure;
use super::input::{PointInputArgs, Scaled, ScalingArgs};
use crate::cli::args::{CheckArgs, OutputArgs, refuse_unused};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::report;
use crate::cli::session::Session;
use crate::cluster::NOISE;
use crate::cluster::criteria::{Dispersion, silhouette};
use crate::cluster::score::{Confusion, Contingency, Matched, Noise, Scores};
use crate::run::check::MetricRow;
use crate::table::points::{LabelColumn, LabelFile, LabelOptions, cluster_labels, code_labels, read_labels};
use crate::table::{Table, Values};
use clap::{Args, ValueHint};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal cluster score --truth classes.csv --pred labels.csv
  shoal cluster score --truth classes.csv --pred labels.csv --confusion
  shoal cluster score --pred labels.csv points.csv --standardize zscore --assert 'silhouette>=0.5'

Files of labels have the columns id and label; rows are matched by id. With points, silhouette, Calinski-Harabasz and Davies-Bouldin are measured
too.";

/// Arguments of `shoal cluster score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The labels to be judged: columns id and label.
    #[arg(long, value_name = "LABELS", value_hint = ValueHint::FilePath)]
    pred: String,
    /// Known classes: columns id and label.
    #[arg(long, value_name = "LABELS", value_hint = ValueHint::FilePath)]
    truth: Option<String>,
    /// Column of labels in --truth [default: label]
    #[arg(long, value_name = "NAME", requires = "truth")]
    truth_col: Option<String>,
    /// Column of labels in --pred [default: label]
    #[arg(long, value_name = "NAME")]
    pred_col: Option<String>,
    /// Leave rows of noise (-1 in --pred) out instead of taking them as a group.
    #[arg(long)]
    ignore_noise: bool,
    /// The result is the table of classes and clusters, in the order of the best map, instead of scores.
    #[arg(long, requires = "truth")]
    confusion: bool,
    #[command(flatten)]
    input: PointInputArgs,
    #[command(flatten)]
    scaling: ScalingArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

const METRICS: [&str; 22] = [
    "n",
    "classes",
    "clusters",
    "noise",
    "ari",
    "nmi",
    "nmi_geometric",
    "nmi_min",
    "nmi_max",
    "ami",
    "homogeneity",
    "completeness",
    "v_measure",
    "fowlkes_mallows",
    "acc",
    "mis_clustering_error",
    "macro_f1",
    "purity",
    "inertia",
    "silhouette",
    "calinski_harabasz",
    "davies_bouldin",
];

/// Reads, compares, writes.
pub fn run(args: ScoreArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("cluster score draws no picture: leave --plot out"));
    }
    let points = args.input.input.is_some();
    if args.truth.is_none() && !points {
        return Err(Failure::usage(
            "nothing to compare with: name known classes with --truth, or the points themselves, or both",
        ));
    }
    refuse_unused(
        "labels without points",
        &[
            ("--features", !args.input.features.is_empty(), points),
            ("--exclude", !args.input.exclude.is_empty(), points),
            ("--id-col", args.input.id_col.is_some(), points),
            ("--label-col", !args.input.label_col.is_empty(), points),
            ("--standardize", args.scaling.standardize != crate::cluster::scale::Standardize::None, points),
        ],
    )?;
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let output = session.open_outputs(&args.output)?;
    let mut read = |path: &str, label: &Option<String>| -> Outcome<LabelFile> {
        let source = session.open_input(path)?;
        Ok(read_labels(&source, &LabelOptions { id: None, label: label.clone(), header: args.input.header.into() })?)
    };
    let pred = read(&args.pred, &args.pred_col)?;
    let truth = args.truth.as_ref().map(|path| read(path, &args.truth_col)).transpose()?;
    let noise = if args.ignore_noise { Noise::LeaveOut } else { Noise::Group };
    let texts: Vec<&str> = pred.labels.iter().map(|l| &**l).collect();
    let clusters = cluster_labels(&pred.name, &pred.label_column, &texts)?;
    let mut values: Vec<(&str, f64)> = vec![
        ("n", clusters.codes.len() as f64),
        ("noise", clusters.codes.iter().filter(|&&l| l == NOISE).count() as f64),
        ("clusters", clusters.names.len() as f64),
    ];
    let (mut confusion, mut silhouette_seconds) = (None, None);
    if let Some(truth) = &truth {
        let classes = code_labels(&truth.label_column, truth.align(&pred.ids, &[])?.into_iter());
        let (a, b) = compared(&classes, &clusters, args.ignore_noise);
        let table = Contingency::new(&a, &b, Noise::Group);
        values.extend(score_values(&Scores::of(&table)));
        if args.confusion {
            let matched = Matched::of(&table);
            confusion =
                Some(confusion_table(&Confusion::of(&table, &matched).map_err(failure)?, &classes.names, &clusters.names));
        }
    }
    if points {
        let table = args.input.read(&mut session, None)?;
        let dropped: Vec<_> = table.dropped.iter().map(|d| d.id.clone()).collect();
        let texts = pred.align(&table.ids, &dropped)?;
        let labels = cluster_labels(&pred.name, &pred.label_column, &texts)?.codes;
        let scaled = Scaled::new(&table, args.scaling.standardize)?;
        let inside = scaled.points()?;
        let dispersion = Dispersion::of(inside, &labels, noise).map_err(failure)?;
        values.push(("inertia", dispersion.inertia()));
        let (k, n) = (dispersion.sizes.len(), dispersion.n);
        if k >= 2 && k < n {
            let started = Instant::now();
            values.push(("silhouette", silhouette(inside, &labels, noise, session.observer()).map_err(failure)?.mean));
            silhouette_seconds = Some(started.elapsed().as_secs_f64());
            values.push(("calinski_harabasz", dispersion.calinski_harabasz().map_err(failure)?));
            values.push(("davies_bouldin", dispersion.davies_bouldin().map_err(failure)?));
        } else {
            tracing::warn!(
                "{k} clusters of {n} rows: silhouette, Calinski-Harabasz and Davies-Bouldin need at least 2, and fewer than rows"
            );
        }
    }
    let value = |name: &str| values.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| *v).filter(|v| v.is_finite());
    let rows = [MetricRow {
        keys: vec![("pred".into(), pred.name.clone())],
        metrics: METRICS.iter().map(|name| (name.to_string(), value(name))).collect(),
    }];
    let table = confusion.unwrap_or_else(|| report::table(&rows));
    let written = output.result(&table, || {
        let mut object = report::json(&rows)[0].clone();
        object["silhouette_seconds"] = json!(silhouette_seconds);
        Ok(object)
    });
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&json!({ "pred": args.pred, "truth": args.truth, "ignore_noise": args.ignore_noise }))?;
        report::check(&session, &args.check, &rows)
    })
}

/// Both labellings, without rows of noise if so asked.
fn compared(classes: &LabelColumn, clusters: &LabelColumn, ignore_noise: bool) -> (Vec<i32>, Vec<i32>) {
    let kept = classes.codes.iter().zip(&clusters.codes).filter(|(_, c)| !ignore_noise || **c != NOISE);
    kept.map(|(a, b)| (*a, *b)).unzip()
}

/// Scores by the names of the metrics.
pub fn score_values(s: &Scores) -> Vec<(&'static str, f64)> {
    vec![
        ("n", s.n as f64),
        ("classes", s.classes as f64),
        ("ari", s.ari),
        ("nmi", s.nmi),
        ("nmi_geometric", s.nmi_geometric),
        ("nmi_min", s.nmi_min),
        ("nmi_max", s.nmi_max),
        ("ami", s.ami),
        ("homogeneity", s.homogeneity),
        ("completeness", s.completeness),
        ("v_measure", s.v_measure),
        ("fowlkes_mallows", s.fowlkes_mallows),
        ("acc", s.acc),
        ("mis_clustering_error", s.mis_clustering_error),
        ("macro_f1", s.macro_f1),
        ("purity", s.purity),
    ]
}

fn confusion_table(confusion: &Confusion, classes: &[Arc<str>], clusters: &[Arc<str>]) -> Table {
    let name = |names: &[Arc<str>], label: i32| {
        usize::try_from(label).ok().and_then(|l| names.get(l)).map_or_else(|| Arc::from("-1"), Arc::clone)
    };
    let mut table = Table::new().with("class", Values::Text(confusion.classes.iter().map(|&l| name(classes, l)).collect()));
    for (c, &label) in confusion.clusters.iter().enumerate() {
        let counts = confusion.counts.iter().skip(c).step_by(confusion.clusters.len()).map(|&n| n as i64).collect();
        table = table.with(format!("cluster_{}", name(clusters, label)), Values::Integer(counts));
    }
    table
}
