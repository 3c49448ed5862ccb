//! `shoal cluster points`.

use super::failure;
use super::input::{PointInputArgs, Scaled, ScalingArgs};
use super::keep::{Done, KeepArgs, Opened, finish};
use super::method::{Beside, Found, KArg, MethodArg, MethodArgs, on};
use super::pictures::PictureArg;
use super::scan::{ScanArgs, Scanned, scan};
use crate::cli::args::{CheckArgs, OutputArgs, refuse_unused};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::cluster::criteria::{Dispersion, silhouette, silhouette_sample};
use crate::cluster::score::{Contingency, Noise, Scores};
use crate::cluster::stability::{Stability, StabilityOptions, bootstrap, gather};
use crate::cluster::{NOISE, Points};
use crate::run::check::MetricRow;
use crate::table::points::PointTable;
use crate::table::{Table, Values};
use clap::Args;
use serde_json::{Value, json};
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal cluster points iris.csv -m kmeans -k 3
  shoal cluster points wine.csv -m gmm --cov tied -k 3 --standardize zscore --save wine.safetensors
  shoal cluster points moons.csv -m hdbscan --min-cluster-size 20 --plot moons.svg
  shoal cluster points iris.csv -m sdp -k 3 --json | jq '.objective, .bound'
  shoal cluster points iris.csv -m kmeans -k auto --k-range 2:8 --k-table scan.csv

The result has a row for each row of the input: id, label (numbered by first appearance, -1 is noise), and confidence where the method has one.
Metrics go to --json, --run-dir, --assert and --check.";

/// Arguments of `shoal cluster points`.
#[derive(Debug, Args)]
pub struct PointsArgs {
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    scan: ScanArgs,
    /// How the mean silhouette is found: exact (n² distances), of a sample of N rows, or none; auto: exact up to 20,000 rows, then none.
    #[arg(long, value_parser = silhouette_of, default_value = "auto", value_name = "auto|exact|none|N", help_heading = "Diagnostics")]
    silhouette: SilhouetteArg,
    /// Cluster so many bootstrap samples too: how stable labels are.
    #[arg(long, value_name = "N", help_heading = "Diagnostics")]
    stability: Option<usize>,
    #[command(flatten)]
    input: PointInputArgs,
    #[command(flatten)]
    scaling: ScalingArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// How the mean silhouette is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilhouetteArg {
    Auto,
    Exact,
    None,
    Sample(usize),
}

/// Rows up to which `auto` takes all distances.
const EXACT: usize = 20_000;

/// As typed.
pub fn silhouette_of(text: &str) -> Result<SilhouetteArg, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(SilhouetteArg::Auto),
        ("exact", _) => Ok(SilhouetteArg::Exact),
        ("none", _) => Ok(SilhouetteArg::None),
        (_, Ok(n)) if n >= 2 => Ok(SilhouetteArg::Sample(n)),
        _ => Err("expected auto, exact, none or a number of rows, at least 2".into()),
    }
}

/// Metrics of every clustering; those that a method or a partition does not have are missing.
const METRICS: [&str; 33] = [
    "n",
    "k",
    "noise",
    "objective",
    "converged",
    "iterations",
    "log_likelihood",
    "bic",
    "aic",
    "smallest_component",
    "inertia_before_polish",
    "moves",
    "core_rows",
    "height",
    "relaxed",
    "rounded",
    "bound",
    "gap",
    "relative_gap",
    "tight",
    "reassigned",
    "silhouette",
    "silhouette_without_largest",
    "calinski_harabasz",
    "davies_bouldin",
    "stability_ari",
    "ari",
    "nmi",
    "ami",
    "acc",
    "macro_f1",
    "fowlkes_mallows",
    "purity",
];

/// Reads, scales, clusters, measures, writes.
pub fn run(args: PointsArgs, mut session: Session) -> Outcome {
    let method = &args.method;
    method.check()?;
    let auto = method.k == Some(KArg::Auto);
    args.scan.check(auto, method.method)?;
    let picture = args.keep.picture(method.method, auto)?;
    refuse_unused(
        &format!("--method {}", method.method.name()),
        &[
            ("--save", args.keep.save.is_some(), !matches!(method.method, MethodArg::Agglomerative | MethodArg::Spectral)),
            ("--proba", args.keep.proba.is_some(), matches!(method.method, MethodArg::Gmm | MethodArg::IlaSdp)),
        ],
    )?;
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let opened = Opened::new(&mut session, &args.output, &args.keep, &args.scan, method.linkage_out.as_deref(), picture)?;
    let table = args.input.read(&mut session, None)?;
    session.say(format!("{}: {} rows, {} coordinates", table.name, table.n, table.d));
    let scaled = Scaled::new(&table, args.scaling.standardize)?;
    let mut beside = Beside::read(method, &table, &mut session)?;
    beside.membership = picture == PictureArg::Membership && args.output.plot.is_some();
    let started = Instant::now();
    let mut scanned = None;
    let found = match method.k {
        Some(KArg::Auto) => {
            let (table, found) = scan(&args.scan, method, &scaled, &session, &beside)?;
            scanned = Some(table);
            found
        }
        Some(KArg::Given(k)) => on(method, &scaled, k, &session, &beside)?,
        None => on(method, &scaled, 0, &session, &beside)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    let points = scaled.points()?;
    let measured = measure(&args, points, &found, &session)?;
    let stability = match args.stability {
        Some(replicates) => Some(stable(&args, &scaled, &found, replicates, &session)?),
        None => None,
    };
    let rows = rows(&args, &table, &found, &measured, stability.as_ref());
    let configuration = json!({
        "method": method.method.name(), "options": found.options, "standardize": args.scaling.standardize,
        "columns": table.columns, "id": table.id_column, "impute": args.input.impute, "init": method.init,
        "scan": scanned.as_ref().map(|s| s.options.clone()),
    });
    let details = details(&table, &found, &measured, stability.as_ref(), scanned.as_ref(), seconds);
    let summary = summary(&args, &found, &measured, seconds);
    let done = Done {
        method: method.method.name(),
        table: &table,
        scaled: &scaled,
        found,
        silhouettes: measured.silhouettes,
        scanned,
        rows,
        details,
        configuration,
        summary,
    };
    finish(&session, opened, &args.check, done)
}

/// What does not depend on the method.
struct Measured {
    silhouette: Option<f64>,
    /// Of a sample.
    silhouette_se: Option<f64>,
    without_largest: Option<f64>,
    silhouettes: Option<Vec<f64>>,
    ch: Option<f64>,
    db: Option<f64>,
}

fn measure(args: &PointsArgs, points: Points, found: &Found, session: &Session) -> Outcome<Measured> {
    let labels = &found.labels;
    let inside = labels.iter().filter(|&&l| l != NOISE).count();
    let k = found.clusters();
    let mut measured =
        Measured { silhouette: None, silhouette_se: None, without_largest: None, silhouettes: None, ch: None, db: None };
    // One cluster, or as many as rows: nothing to compare.
    if k < 2 || k >= inside {
        return Ok(measured);
    }
    let dispersion = Dispersion::of(points, labels, Noise::LeaveOut).map_err(failure)?;
    measured.ch = Some(dispersion.calinski_harabasz().map_err(failure)?);
    measured.db = Some(dispersion.davies_bouldin().map_err(failure)?);
    let exact = match args.silhouette {
        SilhouetteArg::Exact => true,
        SilhouetteArg::Auto => points.n() <= EXACT,
        SilhouetteArg::None | SilhouetteArg::Sample(_) => false,
    };
    if exact {
        let found = silhouette(points, labels, Noise::LeaveOut, session.observer()).map_err(failure)?;
        measured.silhouette = Some(found.mean);
        measured.without_largest = Some(found.mean_without_largest);
        measured.silhouettes = Some(found.samples);
    } else if let SilhouetteArg::Sample(size) = args.silhouette {
        let found =
            silhouette_sample(points, labels, Noise::LeaveOut, size, session.seed, session.observer()).map_err(failure)?;
        measured.silhouette = Some(found.mean);
        measured.silhouette_se = Some(found.se);
    }
    Ok(measured)
}

/// Clusters bootstrap samples the same way.
fn stable(args: &PointsArgs, scaled: &Scaled, found: &Found, replicates: usize, session: &Session) -> Outcome<Stability> {
    let points = scaled.points()?;
    let k = found.clusters().max(1);
    // Starts and edges are of the rows as they are, not of samples.
    let method = MethodArgs { init: None, connectivity: None, ..args.method.clone() };
    let beside = Beside::nothing();
    let again = |drawn: &[usize]| {
        let values = gather(points, drawn);
        let sample = Points::new(&values, drawn.len(), points.d())?;
        super::method::fit(&method, sample, k, session.seed, &beside, &crate::run::observer::Silent).map(|f| f.labels)
    };
    bootstrap(&found.labels, &StabilityOptions { replicates, seed: session.seed }, again, session.observer()).map_err(failure)
}

fn rows(
    args: &PointsArgs,
    table: &PointTable,
    found: &Found,
    measured: &Measured,
    stability: Option<&Stability>,
) -> Vec<MetricRow> {
    let scores: Vec<(Option<&str>, Option<Scores>)> = match &table.labels[..] {
        [] => vec![(None, None)],
        columns => columns
            .iter()
            .map(|c| (Some(c.column.as_str()), Some(Scores::of(&Contingency::new(&c.codes, &found.labels, Noise::Group)))))
            .collect(),
    };
    scores
        .into_iter()
        .map(|(column, scores)| {
            let noise = found.labels.iter().filter(|&&l| l == NOISE).count();
            let mut values: Vec<(&str, Option<f64>)> = vec![
                ("n", Some(table.n as f64)),
                ("k", Some(found.clusters() as f64)),
                ("noise", Some(noise as f64)),
                ("objective", found.objective),
                ("converged", found.converged.map(|c| f64::from(u8::from(c)))),
                ("log_likelihood", found.log_likelihood),
                ("bic", found.bic),
                ("aic", found.aic),
                ("silhouette", measured.silhouette),
                ("silhouette_without_largest", measured.without_largest),
                ("calinski_harabasz", measured.ch),
                ("davies_bouldin", measured.db),
                ("stability_ari", stability.map(|s| s.ari.mean)),
            ];
            values.extend(found.metrics.iter().map(|(name, v)| (*name, Some(*v))));
            if let Some(s) = &scores {
                values.extend([
                    ("ari", Some(s.ari)),
                    ("nmi", Some(s.nmi)),
                    ("ami", Some(s.ami)),
                    ("acc", Some(s.acc)),
                    ("macro_f1", Some(s.macro_f1)),
                    ("fowlkes_mallows", Some(s.fowlkes_mallows)),
                    ("purity", Some(s.purity)),
                ]);
            }
            let metric = |name: &str| values.iter().find(|(n, _)| *n == name).and_then(|(_, v)| *v).filter(|v| v.is_finite());
            let mut keys = vec![("method".to_string(), args.method.method.name().to_string())];
            keys.extend(column.map(|c| ("labels".to_string(), c.to_string())));
            MetricRow { keys, metrics: METRICS.iter().map(|name| (name.to_string(), metric(name))).collect() }
        })
        .collect()
}

fn details(
    table: &PointTable,
    found: &Found,
    measured: &Measured,
    stability: Option<&Stability>,
    scanned: Option<&Scanned>,
    seconds: f64,
) -> Value {
    let k = found.clusters();
    let mut sizes = vec![0usize; k];
    found.labels.iter().filter(|&&l| l != NOISE).for_each(|&l| sizes[l as usize] += 1);
    let centroids = found.shapes.centroids.as_ref().map(|c| c.chunks(table.d).map(<[f64]>::to_vec).collect::<Vec<_>>());
    let mut all = json!({
        "rows": table.name, "columns": table.columns, "sizes": sizes, "seconds": seconds, "dropped_rows": table.dropped.len(),
        "silhouette_se": measured.silhouette_se, "warnings": found.warnings,
        "stability": stability, "scan": scanned.map(|s| &s.rows), "choices": scanned.map(|s| &s.choices),
        "centroids": centroids,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, &found.details) {
        all.extend(more.clone());
        all.retain(|_, v| !v.is_null());
    }
    all
}

fn summary(args: &PointsArgs, found: &Found, measured: &Measured, seconds: f64) -> String {
    let mut parts = vec![format!("{}: {} clusters", args.method.method.name(), found.clusters())];
    let noise = found.labels.iter().filter(|&&l| l == NOISE).count();
    if noise > 0 {
        parts.push(format!("{noise} rows of noise"));
    }
    let metric = |name: &str| found.metrics.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    match (found.log_likelihood, found.objective) {
        (Some(l), _) => parts.push(format!("log-likelihood {l:.6}")),
        (None, Some(o)) if args.method.method == MethodArg::IlaSdp => parts.push(format!("-2 log-likelihood {o:.6}")),
        (None, Some(o)) => parts.push(format!("inertia {o:.6}")),
        _ => {}
    }
    if let (Some(bound), Some(gap)) = (metric("bound"), metric("relative_gap")) {
        let verdict = if metric("tight") == Some(1.0) { "proved optimal" } else { "no clustering is below" };
        parts.push(format!("{verdict} ({bound:.6}; gap {:.4} %)", 100.0 * gap));
    }
    if let Some(s) = measured.silhouette {
        parts.push(format!("silhouette {s:.4}"));
    }
    parts.push(format!("{seconds:.2} s"));
    parts.join(", ")
}

/// The result: a row for each point.
pub fn label_table(table: &PointTable, labels: &[i32], confidence: Option<&[f64]>, outliers: Option<&[f64]>) -> Table {
    let mut out = Table::new()
        .with(table.id_column.as_deref().unwrap_or("id"), Values::Text(table.ids.clone()))
        .with("label", Values::Integer(labels.iter().map(|&l| i64::from(l)).collect()));
    if let Some(values) = confidence {
        out = out.with("confidence", Values::Number(values.to_vec()));
    }
    if let Some(values) = outliers {
        out = out.with("outlier_score", Values::Number(values.to_vec()));
    }
    out
}

/// Refuses a picture that there is nothing for.
pub fn no_picture(what: &str) -> Failure {
    Failure::usage(format!("there is nothing to draw for --picture {what}: choose another one"))
}
