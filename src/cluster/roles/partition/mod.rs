//! Roles as clusters of what was measured.

use super::solve::eigen;
use super::special::chi_squared_p;
use crate::cluster::criteria::silhouette;
use crate::cluster::k_scan::{Criterion, Fit, KScan, KScanOptions, k_scan};
use crate::cluster::kmeans::{Kmeans, KmeansOptions, kmeans};
use crate::cluster::score::{Average, Contingency, Noise, information, pairs};
use crate::cluster::stability::{Stability, StabilityOptions, bootstrap, gather};
use crate::cluster::{ClusterError, Points, labels};
use crate::run::observer::{Observer, Silent};

/// Columns whose variance is at most this carry nothing.
const LEAST_VARIANCE: f64 = 1e-10;

/// Columns ready to be clustered.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub n: usize,
    /// Columns kept, and columns that hardly vary.
    pub kept: Vec<String>,
    pub dropped: Vec<String>,
    /// (n, kept): mean 0, population standard deviation 1.
    pub standard: Vec<f64>,
    /// (n, width): what is clustered, the standardised columns or their principal components.
    pub values: Vec<f64>,
    pub width: usize,
    /// Share of the variance of each component, where there were more than `most` columns.
    pub explained: Option<Vec<f64>>,
}

impl Prepared {
    /// Standardises columns, drops those with a variance of at most 1e-10, and projects more than `most` of them on that many principal
    /// components (each with its largest loading positive). `values`: (n, names), row by row.
    ///
    /// Errors: numbers that are not finite, no column that varies. Panics when the lengths do not agree.
    pub fn new(values: &[f64], names: &[&str], most: usize) -> Result<Self, ClusterError> {
        let d = names.len();
        let points = Points::new(values, values.len() / d.max(1), d)?;
        let n = points.n();
        let (mut kept, mut dropped, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (j, name) in names.iter().enumerate() {
            let column: Vec<f64> = points.rows().map(|r| r[j]).collect();
            let mean = column.iter().map(|v| v / n as f64).sum::<f64>();
            let variance = column.iter().map(|v| (v - mean) * (v - mean) / n as f64).sum::<f64>();
            if !variance.is_finite() {
                return Err(ClusterError::Numbers(format!("the variance of {name} overflows; divide it by its largest value")));
            }
            if variance <= LEAST_VARIANCE {
                dropped.push(name.to_string());
                continue;
            }
            kept.push(name.to_string());
            columns.push(column.iter().map(|v| (v - mean) / variance.sqrt()).collect::<Vec<f64>>());
        }
        if kept.is_empty() {
            return Err(ClusterError::Data(format!(
                "none of the columns {} varies; there are no roles in them",
                names.join(", ")
            )));
        }
        let p = kept.len();
        let standard: Vec<f64> = (0..n).flat_map(|i| columns.iter().map(move |c| c[i])).collect();
        if p <= most || most == 0 {
            return Ok(Self { n, kept, dropped, values: standard.clone(), standard, width: p, explained: None });
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n as f64;
        let covariance: Vec<f64> = (0..p * p).map(|k| dot(&columns[k / p], &columns[k % p])).collect();
        let (spectrum, vectors) = eigen(&covariance, p);
        let values = standard
            .chunks_exact(p)
            .flat_map(|row| {
                vectors.chunks_exact(p).take(most).map(|v| row.iter().zip(v).map(|(x, y)| x * y).sum::<f64>()).collect::<Vec<_>>()
            })
            .collect();
        let total: f64 = spectrum.iter().sum();
        let explained = Some(spectrum[..most].iter().map(|v| v / total).collect());
        Ok(Self { n, kept, dropped, standard, values, width: most, explained })
    }

    pub fn points(&self) -> Points<'_> {
        Points::new(&self.values, self.n, self.width).expect("standardised numbers are finite")
    }
}

/// How roles are found.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PartitionOptions {
    /// Range of k. Default 3 to 8.
    pub k_min: usize,
    pub k_max: usize,
    /// Default silhouette.
    pub criterion: Criterion,
    /// k-means starts for every k. Default 100.
    pub restarts: usize,
    /// Bootstrap replicates; 0 for none. Default 100.
    pub replicates: usize,
    /// k-means starts for every replicate. Default 10.
    pub replicate_restarts: usize,
    /// Default 42.
    pub seed: u64,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        let criterion = Criterion::Silhouette;
        Self { k_min: 3, k_max: 8, criterion, restarts: 100, replicates: 100, replicate_restarts: 10, seed: 42 }
    }
}

/// One role.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Role {
    pub label: i32,
    pub size: usize,
    /// Of all nodes.
    pub share: f64,
    pub silhouette: f64,
    /// Mean of each kept column, standardised.
    pub profile: Vec<f64>,
}

/// How unequal the roles are in size.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sizes {
    /// χ² of the sizes against equal ones, with k − 1 degrees of freedom, and its p.
    pub chi_squared: f64,
    pub p: f64,
    /// √(χ² / (n (k − 1))): 0 for equal sizes, 1 for all in one.
    pub cramers_v: f64,
    /// Entropy of the shares over ln k: 1 for equal sizes, 0 for all in one.
    pub evenness: f64,
}

impl Sizes {
    /// Of one or more clusters, at least one of them with members.
    pub fn of(sizes: &[usize]) -> Self {
        let (n, k) = (sizes.iter().sum::<usize>() as f64, sizes.len() as f64);
        let equal = n / k;
        let chi_squared = sizes.iter().map(|&s| (s as f64 - equal).powi(2) / equal).sum::<f64>();
        if sizes.len() < 2 {
            return Self { chi_squared: 0.0, p: 1.0, cramers_v: 0.0, evenness: 1.0 };
        }
        let entropy = -sizes.iter().filter(|&&s| s > 0).map(|&s| s as f64 / n * (s as f64 / n).ln()).sum::<f64>();
        Self {
            chi_squared,
            p: chi_squared_p(chi_squared, k - 1.0),
            cramers_v: (chi_squared / (n * (k - 1.0))).sqrt(),
            evenness: (entropy / k.ln()).max(0.0),
        }
    }
}

/// Roles and how far to trust them.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// (n), canonical.
    pub labels: Vec<i32>,
    pub inertia: f64,
    pub scan: KScan<Kmeans>,
    pub silhouette: f64,
    /// Over the nodes outside of the largest role. A high silhouette beside a low one here is a core and its periphery, not roles.
    pub silhouette_without_largest: f64,
    pub sizes: Sizes,
    pub roles: Vec<Role>,
    pub stability: Option<Stability>,
}

/// Clusters prepared columns by k-means for every k of the range and takes the one that the criterion prefers.
///
/// Errors: those of k-means and of [`k_scan`]. Cost: `restarts` k-means for every k, one silhouette for every k, and `replicates` ·
/// `replicate_restarts` k-means.
pub fn partition(prepared: &Prepared, options: &PartitionOptions, observer: &dyn Observer) -> Result<Partition, ClusterError> {
    let points = prepared.points();
    let by_kmeans = |points: Points, k: usize, restarts: usize| {
        kmeans(points, &KmeansOptions { k, restarts, tolerance: 0.0, seed: options.seed, ..Default::default() }, &Silent)
    };
    let scan_options = KScanOptions {
        k_min: options.k_min,
        k_max: options.k_max,
        criterion: options.criterion,
        references: if options.criterion == Criterion::Gap { KScanOptions::default().references } else { 0 },
        silhouette_sample: None,
        seed: options.seed,
    };
    let fit = |points: Points, k: usize| {
        let found = by_kmeans(points, k, options.restarts)?;
        let fit = Fit { labels: found.labels.clone(), objective: found.inertia, log_likelihood: None, bic: None, aic: None };
        Ok((fit, found))
    };
    let scan = k_scan(points, &scan_options, None, fit, observer)?;
    let at = scan.rows.iter().position(|r| r.k == scan.chosen.k).expect("the chosen k has a row");
    let (labels, inertia) = (scan.fits[at].0.labels.clone(), scan.fits[at].0.objective);
    let measured = silhouette(points, &labels, Noise::Group, observer)?;
    let sizes: Vec<usize> = measured.clusters.iter().map(|c| c.size).collect();
    let p = prepared.kept.len();
    let mut profiles = vec![0.0; sizes.len() * p];
    for (row, &label) in prepared.standard.chunks_exact(p).zip(&labels) {
        let to = &mut profiles[label as usize * p..][..p];
        to.iter_mut().zip(row).for_each(|(sum, v)| *sum += v / sizes[label as usize] as f64);
    }
    let role = |(c, profile): (&crate::cluster::criteria::silhouette::ClusterSilhouette, &[f64])| Role {
        label: c.label,
        size: c.size,
        share: c.size as f64 / prepared.n as f64,
        silhouette: c.mean,
        profile: profile.to_vec(),
    };
    let stability = match options.replicates {
        0 => None,
        replicates => {
            let again = |drawn: &[usize]| {
                let values = gather(points, drawn);
                let k = labels::count(&labels);
                Ok(by_kmeans(Points::new(&values, prepared.n, prepared.width)?, k, options.replicate_restarts)?.labels)
            };
            Some(bootstrap(&labels, &StabilityOptions { replicates, seed: options.seed }, again, observer)?)
        }
    };
    Ok(Partition {
        inertia,
        silhouette: measured.mean,
        silhouette_without_largest: measured.mean_without_largest,
        sizes: Sizes::of(&sizes),
        roles: measured.clusters.iter().zip(profiles.chunks_exact(p)).map(role).collect(),
        stability,
        labels,
        scan,
    })
}

/// Agreement of roles with the labels of another method (Ward's, a mixture's).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Agreement {
    pub ari: f64,
    /// By the arithmetic mean.
    pub nmi: f64,
}

/// Panics when the lengths differ.
pub fn agreement(labels: &[i32], other: &[i32]) -> Agreement {
    let table = Contingency::new(labels, other, Noise::Group);
    Agreement { ari: pairs::adjusted_rand(&table), nmi: information::normalised(&table, Average::Arithmetic) }
}

/// The roles of the rule of thumb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleRole {
    Specialist,
    Connector,
    Initiator,
    Synthesizer,
    Generalist,
}

impl RuleRole {
    pub const ALL: &[Self] = &[Self::Specialist, Self::Connector, Self::Initiator, Self::Synthesizer, Self::Generalist];

    pub fn name(self) -> &'static str {
        match self {
            Self::Specialist => "specialist",
            Self::Connector => "connector",
            Self::Initiator => "initiator",
            Self::Synthesizer => "synthesizer",
            Self::Generalist => "generalist",
        }
    }
}

/// What the rules look at, (n) each; a column that is not there leaves its rules out.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuleColumns<'a> {
    /// Entropy of what an agent writes about.
    pub entropy: Option<&'a [f64]>,
    pub betweenness: Option<&'a [f64]>,
    /// Posts over comments.
    pub ratio: Option<&'a [f64]>,
    pub posts: Option<&'a [f64]>,
    pub in_degree: Option<&'a [f64]>,
}

/// Roles by rules on z-scores (population deviation; 0 for columns that do not vary), the first that holds: entropy below −½ specialist;
/// betweenness above ½ connector; ratio above ½ and any posts initiator; ratio below −½ and any in-neighbours synthesizer; else generalist.
/// Posts and in-degrees are taken as they are. Panics when lengths differ.
pub fn rules(columns: RuleColumns, n: usize) -> Vec<RuleRole> {
    let z = |column: Option<&[f64]>| -> Vec<f64> {
        let Some(column) = column else { return vec![0.0; n] };
        assert_eq!(column.len(), n, "a number for every agent");
        let mean = column.iter().map(|v| v / n as f64).sum::<f64>();
        let sd = column.iter().map(|v| (v - mean) * (v - mean) / n as f64).sum::<f64>().sqrt();
        column.iter().map(|v| if sd > 0.0 && sd.is_finite() { (v - mean) / sd } else { 0.0 }).collect()
    };
    let positive = |column: Option<&[f64]>, i: usize| column.is_some_and(|c| c[i] > 0.0);
    let (entropy, betweenness, ratio) = (z(columns.entropy), z(columns.betweenness), z(columns.ratio));
    let one = |i: usize| match () {
        () if entropy[i] < -0.5 => RuleRole::Specialist,
        () if betweenness[i] > 0.5 => RuleRole::Connector,
        () if ratio[i] > 0.5 && positive(columns.posts, i) => RuleRole::Initiator,
        () if ratio[i] < -0.5 && positive(columns.in_degree, i) => RuleRole::Synthesizer,
        () => RuleRole::Generalist,
    };
    (0..n).map(one).collect()
}

#[cfg(test)]
mod tests;
