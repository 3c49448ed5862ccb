//! How many clusters: a fit for every k of a range, and what each criterion makes of them.

use std::ops::RangeInclusive;

use super::criteria::gap::{self, Gap};
use super::criteria::{Dispersion, eigengap, silhouette, silhouette_sample};
use super::score::Noise;
use super::{ClusterError, Points};
use crate::run::observer::Observer;

/// What one fit says.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// (n).
    pub labels: Vec<i32>,
    /// What the method minimises or maximises.
    pub objective: f64,
    /// Of a method with a likelihood: its value, BIC and AIC (for k-means see [`spherical`](super::criteria::spherical)).
    pub log_likelihood: Option<f64>,
    pub bic: Option<f64>,
    pub aic: Option<f64>,
}

/// How k is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Largest mean silhouette.
    #[default]
    Silhouette,
    /// Largest Calinski-Harabasz index.
    Ch,
    /// Smallest Davies-Bouldin index.
    Db,
    /// Smallest BIC.
    Bic,
    /// Smallest AIC.
    Aic,
    /// Smallest k whose gap reaches that of k + 1 less its standard error.
    Gap,
    /// Largest gap of the Laplacian's spectrum behind eigenvalue k.
    Eigengap,
}

impl Criterion {
    pub const ALL: &[Self] = &[Self::Silhouette, Self::Ch, Self::Db, Self::Bic, Self::Aic, Self::Gap, Self::Eigengap];

    pub fn name(self) -> &'static str {
        match self {
            Self::Silhouette => "silhouette",
            Self::Ch => "ch",
            Self::Db => "db",
            Self::Bic => "bic",
            Self::Aic => "aic",
            Self::Gap => "gap",
            Self::Eigengap => "eigengap",
        }
    }
}

/// What is scanned and how.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KScanOptions {
    /// Smallest and largest k, at least 1. Default 2 to 10.
    pub k_min: usize,
    pub k_max: usize,
    /// Default silhouette.
    pub criterion: Criterion,
    /// References of the gap statistic; every one is clustered for every k. 0 leaves the gap out. Default 20.
    pub references: usize,
    /// Points that silhouettes are measured at (against all points); `None`, the default, is all of them.
    pub silhouette_sample: Option<usize>,
    /// Of references and samples. Default 0.
    pub seed: u64,
}

impl Default for KScanOptions {
    fn default() -> Self {
        Self { k_min: 2, k_max: 10, criterion: Criterion::default(), references: 20, silhouette_sample: None, seed: 0 }
    }
}

/// One k. What a k or a method does not have is `None`: silhouette, CH and DB need 2 clusters at least.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    pub k: usize,
    /// Clusters that the fit has members of; fewer than k when some are empty.
    pub clusters: usize,
    pub objective: f64,
    pub silhouette: Option<f64>,
    /// 0 when every point was measured.
    pub silhouette_se: Option<f64>,
    pub ch: Option<f64>,
    pub db: Option<f64>,
    pub log_likelihood: Option<f64>,
    pub bic: Option<f64>,
    pub aic: Option<f64>,
    pub gap: Option<f64>,
    pub gap_se: Option<f64>,
    /// λ_{k+1} − λ_k.
    pub eigengap: Option<f64>,
}

/// The k that one criterion takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    pub criterion: Criterion,
    pub k: usize,
}

/// A scan: the table, what every criterion takes, and the fits with whatever the method keeps of them (`M`).
#[derive(Debug, Clone, PartialEq)]
pub struct KScan<M> {
    /// By increasing k.
    pub rows: Vec<Row>,
    /// Of all criteria that have values.
    pub choices: Vec<Choice>,
    /// The criterion that decided, and its k.
    pub chosen: Choice,
    /// Beside `rows`.
    pub fits: Vec<(Fit, M)>,
    /// The k from which on the points did not suffice for the method, and its words.
    pub ended: Option<(usize, String)>,
}

impl<M> KScan<M> {
    /// Whether criteria take different k.
    pub fn disagree(&self) -> bool {
        self.choices.iter().any(|c| c.k != self.chosen.k)
    }

    /// The fit of the chosen k.
    pub fn into_chosen(mut self) -> (Fit, M) {
        let at = self.rows.iter().position(|r| r.k == self.chosen.k).expect("the chosen k has a row");
        self.fits.swap_remove(at)
    }
}

/// Hands on whether to stop, and nothing else.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Fits every k of the range and picks one.
///
/// `fit(points, k)` clusters the given points: first `points` themselves for every k, then, for the gap statistic, every reference for
/// every k; it should draw the same starts each time. `eigenvalues`: the smallest ones of the Laplacian, increasing, for methods on
/// graphs. Criteria: [`Criterion`]; of equal values the smaller k. The inertias of the gap are those of the labels, whatever the method.
///
/// Errors: a range without numbers or from 0; a criterion that has no value for any k (the text lists those that have); what `fit` says,
/// though points that do not suffice for a k (`Clusters`, `Distinct`) only end the range when a smaller k was possible.
/// Cost: the fits, silhouettes of all k (n² d each), and `references` times the fits.
pub fn k_scan<M>(
    points: Points,
    options: &KScanOptions,
    eigenvalues: Option<&[f64]>,
    mut fit: impl FnMut(Points, usize) -> Result<(Fit, M), ClusterError>,
    observer: &dyn Observer,
) -> Result<KScan<M>, ClusterError> {
    let range = options.k_min..=options.k_max;
    check(options, &range)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut fits = Vec::new();
    let mut ended = None;
    let mut inertias = Vec::new();
    observer.start("clusterings", range.clone().count() * (1 + options.references));
    for k in range {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let (found, model) = match fit(points, k) {
            Ok(found) => found,
            Err(why @ (ClusterError::Clusters { .. } | ClusterError::Distinct { .. })) if !rows.is_empty() => {
                ended = Some((k, why.to_string()));
                break;
            }
            Err(why) => return Err(why),
        };
        let (row, inertia) = row(points, k, &found, eigenvalues, options, observer)?;
        rows.push(row);
        inertias.push(inertia);
        fits.push((found, model));
        observer.advance(1);
    }
    if options.references > 0 {
        let gaps = gaps(points, &rows, &inertias, options, fit, observer)?;
        for (row, gap) in rows.iter_mut().zip(gaps) {
            (row.gap, row.gap_se) = (gap.map(|g| g.gap), gap.map(|g| g.se));
        }
    }
    observer.finish();
    let choices: Vec<Choice> =
        Criterion::ALL.iter().filter_map(|&criterion| Some(Choice { criterion, k: take(&rows, criterion)? })).collect();
    let chosen = choices.iter().find(|c| c.criterion == options.criterion).copied().ok_or_else(|| {
        let known: Vec<&str> = choices.iter().map(|c| c.criterion.name()).collect();
        ClusterError::Setting {
            what: "the criterion for k",
            value: format!("{}, which has no value for any k here", options.criterion.name()),
            expected: if known.is_empty() {
                "a range of k with 2 or more".into()
            } else {
                format!("one of {}", known.join(", "))
            },
        }
    })?;
    Ok(KScan { rows, choices, chosen, fits, ended })
}

fn check(options: &KScanOptions, range: &RangeInclusive<usize>) -> Result<(), ClusterError> {
    if options.k_min == 0 || range.is_empty() {
        return Err(ClusterError::Setting {
            what: "the range of k",
            value: format!("{} to {}", options.k_min, options.k_max),
            expected: "a range that starts at 1 or more and does not end before it starts".into(),
        });
    }
    Ok(())
}

/// The row of a fit without its gap, and the inertia of its labels.
fn row(
    points: Points,
    k: usize,
    fit: &Fit,
    eigenvalues: Option<&[f64]>,
    options: &KScanOptions,
    observer: &dyn Observer,
) -> Result<(Row, f64), ClusterError> {
    let quiet = Quiet(observer);
    let dispersion = Dispersion::of(points, &fit.labels, Noise::Group)?;
    let clusters = dispersion.sizes.len();
    let comparable = clusters >= 2 && clusters < points.n();
    let measured = match (comparable, options.silhouette_sample) {
        (false, _) => None,
        (true, None) => Some((silhouette(points, &fit.labels, Noise::Group, &quiet)?.mean, 0.0)),
        (true, Some(size)) => {
            let sample = silhouette_sample(points, &fit.labels, Noise::Group, size, options.seed, &quiet)?;
            Some((sample.mean, sample.se))
        }
    };
    let row = Row {
        k,
        clusters,
        objective: fit.objective,
        silhouette: measured.map(|m| m.0),
        silhouette_se: measured.map(|m| m.1),
        ch: if comparable { Some(dispersion.calinski_harabasz()?) } else { None },
        db: if comparable { Some(dispersion.davies_bouldin()?) } else { None },
        log_likelihood: fit.log_likelihood,
        bic: fit.bic,
        aic: fit.aic,
        gap: None,
        gap_se: None,
        eigengap: eigenvalues.and_then(|e| eigengap::gaps(e).get(k - 1).copied()),
    };
    Ok((row, dispersion.inertia()))
}

/// The gaps of all rows.
fn gaps<M>(
    points: Points,
    rows: &[Row],
    inertias: &[f64],
    options: &KScanOptions,
    mut fit: impl FnMut(Points, usize) -> Result<(Fit, M), ClusterError>,
    observer: &dyn Observer,
) -> Result<Vec<Option<Gap>>, ClusterError> {
    let hull = gap::ReferenceBox::new(points);
    // By row, the inertias of all references.
    let mut references = vec![Vec::with_capacity(options.references); rows.len()];
    for index in 0..options.references {
        let values = hull.draw(options.seed, index);
        let reference = Points::new(&values, points.n(), points.d())?;
        for (row, inertias) in rows.iter().zip(&mut references) {
            if observer.cancelled() {
                return Err(ClusterError::Cancelled);
            }
            // Columns without any spread give references with fewer distinct points than k: no gap then.
            let inertia = match fit(reference, row.k) {
                Ok((found, _)) => Dispersion::of(reference, &found.labels, Noise::Group)?.inertia(),
                Err(ClusterError::Distinct { .. }) => 0.0,
                Err(why) => return Err(why),
            };
            inertias.push(inertia);
            observer.advance(1);
        }
    }
    Ok(inertias.iter().zip(&references).map(|(&inertia, references)| Gap::of(inertia, references)).collect())
}

/// The k that a criterion takes.
fn take(rows: &[Row], criterion: Criterion) -> Option<usize> {
    let largest = |value: &dyn Fn(&Row) -> Option<f64>| {
        let known = rows.iter().filter_map(|r| Some((r.k, value(r)?)));
        // A fold with a strict comparison: of equal values the first stays.
        known
            .fold(None, |best: Option<(usize, f64)>, next| if best.is_none_or(|b| next.1 > b.1) { Some(next) } else { best })
            .map(|b| b.0)
    };
    match criterion {
        Criterion::Silhouette => largest(&|r| r.silhouette),
        Criterion::Ch => largest(&|r| r.ch),
        Criterion::Db => largest(&|r| r.db.map(|v| -v)),
        Criterion::Bic => largest(&|r| r.bic.map(|v| -v)),
        Criterion::Aic => largest(&|r| r.aic.map(|v| -v)),
        Criterion::Eigengap => largest(&|r| r.eigengap),
        Criterion::Gap => {
            // The rule compares neighbours: up to the first k without a gap.
            let known: Vec<(usize, Gap)> = rows.iter().map_while(|r| Some((r.k, Gap { gap: r.gap?, se: r.gap_se? }))).collect();
            gap::one_standard_error(&known)
        }
    }
}

#[cfg(test)]
mod tests;
