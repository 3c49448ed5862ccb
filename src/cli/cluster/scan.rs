//! `--k auto`: all numbers of clusters of a range, and what the criteria make of them.

use super::choices::choice;
use super::failure;
use super::input::Scaled;
use super::method::{Beside, Found, MethodArg, MethodArgs, fit};
use crate::cli::args::refuse_unused;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::cluster::criteria::Dispersion;
use crate::cluster::criteria::spherical::spherical;
use crate::cluster::k_scan::{Choice, Criterion, Fit, KScanOptions, Row, k_scan};
use crate::cluster::score::Noise;
use crate::cluster::{ClusterError, Points};
use crate::table::{Table, Values};
use clap::{Args, ValueHint};
use serde_json::{Value, json};
use std::path::PathBuf;

/// How the number of clusters is found.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Number of clusters (--k auto)")]
pub struct ScanArgs {
    /// Smallest and largest number that is tried [default: 2:10]
    #[arg(long, value_name = "MIN:MAX", value_parser = range)]
    pub k_range: Option<(usize, usize)>,
    /// What picks [default: silhouette; spectral: eigengap]
    #[arg(long, value_parser = choice::<Criterion>(), value_name = "CRITERION")]
    pub k_criterion: Option<Criterion>,
    /// Uniform references of the gap statistic, each clustered for every k; 0 leaves it out [default: 20 with --k-criterion gap, else 0]
    #[arg(long, value_name = "N")]
    pub gap_references: Option<usize>,
    /// Rows that silhouettes are measured at [default: all up to 20,000 rows, else 2,000]
    #[arg(long, value_name = "N")]
    pub silhouette_sample: Option<usize>,
    /// Write the table of the scan here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub k_table: Option<PathBuf>,
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.filter(|(a, b)| *a >= 1 && a <= b).ok_or_else(|| "expected two numbers as 2:10, the first at least 1".into())
}

impl ScanArgs {
    /// Refuses options without `--k auto`, and `--k auto` for methods without a k to pick.
    pub fn check(&self, auto: bool, method: MethodArg) -> Outcome {
        refuse_unused(
            "a given number of clusters (it is for --k auto)",
            &[
                ("--k-range", self.k_range.is_some(), auto),
                ("--k-criterion", self.k_criterion.is_some(), auto),
                ("--gap-references", self.gap_references.is_some(), auto),
                ("--silhouette-sample", self.silhouette_sample.is_some(), auto),
                ("--k-table", self.k_table.is_some(), auto),
            ],
        )?;
        if auto && self.k_criterion == Some(Criterion::Eigengap) && method != MethodArg::Spectral {
            return Err(Failure::usage("--k-criterion eigengap is for --method spectral, whose graph has a spectrum"));
        }
        Ok(())
    }
}

/// What was tried.
pub struct Scanned {
    pub rows: Vec<Row>,
    pub choices: Vec<Choice>,
    pub chosen: Choice,
    pub options: Value,
}

impl Scanned {
    /// A row for each number of clusters.
    pub fn table(&self) -> Table {
        let number =
            |of: &dyn Fn(&Row) -> Option<f64>| Values::Number(self.rows.iter().map(|r| of(r).unwrap_or(f64::NAN)).collect());
        Table::new()
            .with("k", Values::Integer(self.rows.iter().map(|r| r.k as i64).collect()))
            .with("clusters", Values::Integer(self.rows.iter().map(|r| r.clusters as i64).collect()))
            .with("objective", number(&|r| Some(r.objective)))
            .with("silhouette", number(&|r| r.silhouette))
            .with("silhouette_se", number(&|r| r.silhouette_se))
            .with("calinski_harabasz", number(&|r| r.ch))
            .with("davies_bouldin", number(&|r| r.db))
            .with("log_likelihood", number(&|r| r.log_likelihood))
            .with("bic", number(&|r| r.bic))
            .with("aic", number(&|r| r.aic))
            .with("gap", number(&|r| r.gap))
            .with("gap_se", number(&|r| r.gap_se))
            .with("eigengap", number(&|r| r.eigengap))
    }
}

/// Rows up to which all silhouettes are taken, and how many beyond.
const EXACT: usize = 20_000;
const SAMPLE: usize = 2_000;

/// Tries the range and picks.
pub fn scan(
    args: &ScanArgs,
    method: &MethodArgs,
    scaled: &Scaled,
    session: &Session,
    beside: &Beside,
) -> Outcome<(Scanned, Found)> {
    if beside.starts() {
        return Err(Failure::usage("--init FILE has one number of labels: say --k N"));
    }
    let points = scaled.points()?;
    let (k_min, k_max) = args.k_range.unwrap_or((2, 10));
    let spectral = method.method == MethodArg::Spectral;
    let criterion = args.k_criterion.unwrap_or(if spectral { Criterion::Eigengap } else { Criterion::Silhouette });
    let options = KScanOptions {
        k_min,
        k_max,
        criterion,
        references: args.gap_references.unwrap_or(if criterion == Criterion::Gap { 20 } else { 0 }),
        silhouette_sample: args.silhouette_sample.or((points.n() > EXACT).then_some(SAMPLE)),
        seed: session.seed,
    };
    let once = |points: Points, k: usize| -> Result<(Fit, Found), ClusterError> {
        let found = fit(method, points, k, session.seed, beside, &crate::run::observer::Silent)?;
        let mut fit = Fit {
            labels: found.labels.clone(),
            objective: found.objective.unwrap_or(f64::NAN),
            log_likelihood: found.log_likelihood,
            bic: found.bic,
            aic: found.aic,
        };
        if matches!(method.method, MethodArg::Kmeans | MethodArg::MinibatchKmeans | MethodArg::Sdp) {
            let sphere = spherical(&Dispersion::of(points, &found.labels, Noise::Group)?);
            (fit.log_likelihood, fit.bic, fit.aic) =
                (sphere.map(|s| s.log_likelihood), sphere.map(|s| s.bic), sphere.map(|s| s.aic));
        }
        Ok((fit, found))
    };
    let spectrum = if spectral { Some(super::method::spectrum(method, points, (k_min, k_max), session)?) } else { None };
    let found = k_scan(points, &options, spectrum.as_deref(), once, session.observer()).map_err(failure)?;
    if let Some((k, why)) = &found.ended {
        tracing::warn!("the scan ends before k = {k}: {why}");
    }
    let scanned =
        Scanned { rows: found.rows.clone(), choices: found.choices.clone(), chosen: found.chosen, options: json!(options) };
    session.say(format!("k = {} by {}", found.chosen.k, found.chosen.criterion.name()));
    if found.disagree() {
        let others: Vec<String> = found
            .choices
            .iter()
            .filter(|c| c.k != found.chosen.k)
            .map(|c| format!("{} takes {}", c.criterion.name(), c.k))
            .collect();
        tracing::warn!(
            "the criteria disagree on the number of clusters: {} takes {}, {}",
            found.chosen.criterion.name(),
            found.chosen.k,
            others.join(", ")
        );
    }
    Ok((scanned, found.into_chosen().1))
}
