//! iLA-SDP: groups of different shapes without estimating centroids (Zhuang, Chen & Yang 2023, "Likelihood adjusted semidefinite programs
//! for clustering heterogeneous data").
//!
//! - `lifted`: LA-SDP, the relaxation for known covariances
//! - `outer`: the loop that alternates it with covariance estimates
//! - `gaussian`: group estimates, densities, the hard likelihood; `reduce`: principal components and discriminant directions
//! - `model`: new rows, and files

mod gaussian;
mod lifted;
mod model;
mod outer;
mod reduce;
#[cfg(test)]
mod tests;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::sdp::admm::Limits;
use super::sdp::frame::{self, Frame};
use super::{ClusterError, Points, labels};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use gaussian::Gaussian;
use lifted::Lifted;
use reduce::Map;

/// Rows from which on a sketch is solved when none is asked for, and its size. Each group takes six n × n arrays.
const DIRECT: usize = 2000;
const SKETCH: usize = 1000;
/// Rows that are accepted at most.
const LIMIT: usize = 5000;

/// The shape of the groups' covariances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Covariance {
    /// One matrix for each group.
    #[default]
    Full,
    /// One matrix for all. The groups' relaxed matrices then cannot be told apart: each step is the Peng–Wei programme on whitened rows,
    /// rounded as there.
    Tied,
    /// One diagonal for each group.
    Diag,
}

impl Covariance {
    pub const ALL: &[Self] = &[Self::Full, Self::Tied, Self::Diag];

    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Tied => "tied",
            Self::Diag => "diag",
        }
    }
}

/// Where the loop starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start<'a> {
    /// Labels (n) of k groups, of any numbers: for example of Ward's method.
    Labels(&'a [i32]),
    /// k-means.
    Kmeans,
    /// The Peng–Wei relaxation ([`super::sdp`]).
    Sdp,
    /// Covariances (k, d, d) in squared units of the points; without `lda` and with all columns kept.
    Covariances(&'a [f64]),
}

/// Settings of [`ila_sdp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IlaSdpOptions {
    /// Groups.
    pub k: usize,
    pub covariance: Covariance,
    /// Outer iterations at most.
    pub outer: usize,
    /// Principal components to keep before the loop: `None` keeps all unless there are more than n/(5k), or the covariance of the rows has a
    /// condition number above 1e8; the number of columns keeps all in any case.
    pub pca: Option<usize>,
    /// Work on the k − 1 discriminant directions of the current labels, found anew before each outer iteration.
    pub lda: bool,
    /// Run the loop on about this many rows and assign all by density; `None` does so with 1000 from 2000 rows on.
    pub sketch: Option<usize>,
    /// Added to the diagonal of every covariance, in squared units of the points (with `lda`: in units of the total variance);
    /// `None` is 1e-6 of the mean variance of the columns.
    pub ridge: Option<f64>,
    /// ADMM iterations of each programme at most, and the residual where it stops.
    pub max_iterations: usize,
    pub tolerance: f64,
    /// Starts of k-means where one is run.
    pub restarts: usize,
    pub seed: u64,
}

impl Default for IlaSdpOptions {
    fn default() -> Self {
        Self {
            k: 8,
            covariance: Covariance::Full,
            outer: 20,
            pca: None,
            lda: false,
            sketch: None,
            ridge: None,
            max_iterations: 1000,
            tolerance: 1e-5,
            restarts: 10,
            seed: 0,
        }
    }
}

/// One outer iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OuterIteration {
    /// Σ_k ⟨W_k, Z_k⟩ of the relaxed solution, and a lower bound on it for every partition (given the covariances it was solved with).
    pub objective: f64,
    pub bound: f64,
    /// Hard −2 log-likelihood, without its constant, of the labels at their own estimates; `None` when a group is too small for that.
    pub hard: Option<f64>,
    /// Labels that changed.
    pub moved: usize,
    /// Largest change of an entry of a covariance, over the mean variance of the columns.
    pub change: f64,
    /// ADMM iterations, and whether they converged.
    pub iterations: usize,
    pub converged: bool,
    /// Groups too light for a covariance of their own, which took the pooled one.
    pub pooled: usize,
    /// Whether labels were rounded from Σ_k Z_k, because the covariances are tied or the groups' own matrices left a group too small.
    pub rounded: bool,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// Labels the same and covariances within 1e-4.
    Converged,
    /// A partition came back after others.
    Cycle,
    /// `outer` iterations were made.
    Limit,
}

impl Stop {
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Cycle => "cycle",
            Self::Limit => "limit",
        }
    }
}

/// Groups with their covariances.
#[derive(Debug, Clone, PartialEq)]
pub struct IlaSdp {
    /// (n), canonical: for each row the group of highest density under `means` and `covariances`.
    pub labels: Vec<i32>,
    /// Hard −2 log-likelihood (without its constant) of the best iterate, at its own estimates, which are `means` and `covariances`. With `lda`
    /// in the space of the directions, scaled to unit total variance.
    pub objective: f64,
    /// Which outer iteration that was; 0 is the start.
    pub best: usize,
    /// Rows of the best iterate that the density rule put elsewhere.
    pub reassigned: usize,
    pub outer: Vec<OuterIteration>,
    pub stop: Stop,
    pub k: usize,
    /// Coordinates x' = (x − centre) · directions, with centre (d) and directions (d, p), in which `means` (k, p) and `covariances` (k, p, p)
    /// are given. With all columns kept these are the columns themselves: centre 0, directions the identity.
    pub centre: Vec<f64>,
    pub directions: Vec<f64>,
    pub p: usize,
    pub means: Vec<f64>,
    pub covariances: Vec<f64>,
    /// (n, k): Z_k 1 of the best iterate, rows adding up to one; `None` with a sketch, and 0 or 1 where labels were rounded.
    pub membership: Option<Vec<f64>>,
    /// Rows the loop ran on, where that was a sketch.
    pub sketched: Option<usize>,
    /// Whether the coordinates are discriminant directions.
    pub lda: bool,
    frame: Frame,
    map: Map,
    groups: Vec<Gaussian>,
}

impl IlaSdp {
    /// Whether the loop ended by itself.
    pub fn converged(&self) -> bool {
        self.stop == Stop::Converged
    }
}

/// Clusters `points` (n, d) into k Gaussian groups of their own covariances.
///
/// From covariances of the start, each outer iteration solves LA-SDP, takes w_k = Z_k 1 as weights and estimates covariances anew. The iterate
/// with the lowest hard −2 log-likelihood at its own estimates is kept (the start included), as the loop may cycle. Labels are those of
/// highest density under its estimates, so that [`IlaSdp::predict`] gives the same for the same rows.
///
/// Errors: k of 0, above n or above the number of distinct rows; settings out of range; a start that does not fit; every iterate with a group too
/// small for its covariance; numbers out of range.
/// Cost: for each inner iteration k times that of [`super::sdp::sdp`]'s ADMM; 6k arrays of n².
pub fn ila_sdp(points: Points, start: Start, options: &IlaSdpOptions, observer: &dyn Observer) -> Result<IlaSdp, ClusterError> {
    let (n, d, k) = (points.n(), points.d(), options.k);
    check(options, start, n, d)?;
    let distinct = frame::distinct(points, k);
    if distinct < k {
        return Err(ClusterError::Distinct { k, distinct });
    }
    let frame = Frame::of(points);
    let rows = frame.apply(points)?;
    let sketch = options.sketch.filter(|&m| m < n).or((n > DIRECT).then_some(SKETCH));
    let kept: Option<Vec<usize>> = sketch.map(|m| {
        let mut rng = Streams::new(options.seed).stream("ila-sdp-sketch", 0);
        let share = m as f64 / n as f64;
        (0..n).filter(|_| rng.random::<f64>() < share).collect()
    });
    let part: Vec<f64> = match &kept {
        Some(kept) => kept.iter().flat_map(|&i| rows[i * d..][..d].iter().copied()).collect(),
        None => rows.clone(),
    };
    let m = part.len() / d;
    if m <= k || m > LIMIT {
        let expected = format!("enough for more than k = {k} rows, and at most {LIMIT}; choose another sketch");
        return Err(ClusterError::Setting { what: "the number of rows of the loop", value: m.to_string(), expected });
    }
    let base = reduce::principal(&part, d, k, options.pca)?;
    if matches!(start, Start::Covariances(_)) && base.p < d {
        let expected = format!("pca = {d}: starting covariances are for all columns");
        return Err(ClusterError::Setting { what: "pca", value: base.p.to_string(), expected });
    }
    let inner = outer::Inner::new(base.apply(&part), base.p, options, &frame)?;
    let start = inner.start(start, kept.as_deref(), &frame, observer)?;
    let found = inner.run(start, observer)?;
    let map = found.map.as_ref().map_or(base.clone(), |last| base.then(last));
    let mut groups = found.groups;
    let all = map.apply(&rows);
    let mut assigned = gaussian::densest(&all, &groups);
    let mut weights = found.weights;
    let reassigned = match &kept {
        Some(kept) => kept.iter().zip(&found.labels).filter(|(i, l)| assigned[**i] != **l).count(),
        None => assigned.iter().zip(&found.labels).filter(|(a, b)| a != b).count(),
    };
    // Groups in the order in which their labels appear; a tie that the new order turns is followed.
    for _ in 0..3 {
        let mut order: Vec<usize> = labels::canonical(&mut assigned).iter().map(|&l| l as usize).collect();
        order.extend((0..k).filter(|g| !order.contains(g)).collect::<Vec<_>>());
        groups = order.iter().map(|&g| groups[g].clone()).collect();
        weights = weights.chunks_exact(k).flat_map(|row| order.iter().map(|&g| row[g])).collect();
        assigned = gaussian::densest(&all, &groups);
        if order.iter().enumerate().all(|(i, &g)| i == g) {
            break;
        }
    }
    let out = export(&frame, &map, &groups, options.lda);
    Ok(IlaSdp {
        labels: assigned,
        objective: found.objective,
        best: found.best,
        reassigned,
        outer: found.outer,
        stop: found.stop,
        k,
        p: map.p,
        centre: out.centre,
        directions: out.directions,
        means: out.means,
        covariances: out.covariances,
        membership: kept.is_none().then_some(weights),
        sketched: kept.map(|kept| kept.len()),
        lda: options.lda,
        frame,
        map,
        groups,
    })
}

/// The model in units of the points.
struct Exported {
    centre: Vec<f64>,
    directions: Vec<f64>,
    means: Vec<f64>,
    covariances: Vec<f64>,
}

fn export(frame: &Frame, map: &Map, groups: &[Gaussian], lda: bool) -> Exported {
    let (d, p, scale) = (map.centre.len(), map.p, frame.scale);
    let means = groups.iter().flat_map(|g| g.mean.iter().copied());
    let covariances = groups.iter().flat_map(|g| g.covariance.iter().copied());
    if lda {
        // Free of units: the scale goes into the directions.
        return Exported {
            centre: frame.back(&map.centre).collect(),
            directions: map.matrix.iter().map(|a| a / scale).collect(),
            means: means.collect(),
            covariances: covariances.collect(),
        };
    }
    let covariances = covariances.map(|c| c * scale * scale).collect();
    if *map == Map::identity(d) {
        let means = groups.iter().flat_map(|g| frame.back(&g.mean).collect::<Vec<_>>()).collect();
        return Exported { centre: vec![0.0; d], directions: map.matrix.clone(), means, covariances };
    }
    debug_assert!(p < d || lda);
    Exported {
        centre: frame.back(&map.centre).collect(),
        directions: map.matrix.clone(),
        means: means.map(|m| m * scale).collect(),
        covariances,
    }
}

fn check(options: &IlaSdpOptions, start: Start, n: usize, d: usize) -> Result<(), ClusterError> {
    let k = options.k;
    if k == 0 || k > n {
        return Err(ClusterError::Clusters { k, n, things: "points" });
    }
    let wrong = |what, value: String, expected: &str| Err(ClusterError::Setting { what, value, expected: expected.into() });
    for (what, value) in [("outer", options.outer), ("max_iterations", options.max_iterations), ("restarts", options.restarts)] {
        if value == 0 {
            return wrong(what, "0".into(), "at least 1");
        }
    }
    if !(options.tolerance.is_finite() && options.tolerance > 0.0) {
        return wrong("tolerance", options.tolerance.to_string(), "a number above 0");
    }
    if let Some(ridge) = options.ridge.filter(|r| !(r.is_finite() && *r > 0.0)) {
        return wrong("ridge", ridge.to_string(), "a number above 0");
    }
    if let Some(p) = options.pca.filter(|&p| p == 0 || p > d) {
        return wrong("pca", p.to_string(), &format!("1 to the {d} columns"));
    }
    if let Some(m) = options.sketch.filter(|&m| m < 2 * k || m > LIMIT) {
        return wrong("sketch", m.to_string(), &format!("2k = {} to {LIMIT} rows", 2 * k));
    }
    match start {
        Start::Labels(given) if given.len() != n => {
            Err(ClusterError::Data(format!("{} starting labels for {n} points; one for each is expected", given.len())))
        }
        Start::Covariances(_) if options.lda => wrong("lda", "true".into(), "starting labels: directions are found from them"),
        Start::Covariances(given) if given.len() != k * d * d => Err(ClusterError::Data(format!(
            "{} numbers of starting covariances; k = {k} matrices of {d} x {d} are expected",
            given.len()
        ))),
        _ => Ok(()),
    }
}

/// The relaxed solution for known covariances, in the units of the points.
#[derive(Debug, Clone, PartialEq)]
pub struct LaSdp {
    /// Σ_k ⟨W_k, Z_k⟩, at most the hard value of every partition with these covariances.
    pub objective: f64,
    /// A lower bound on that hard value for every partition, valid before convergence too.
    pub bound: f64,
    /// (n, k): Z_k 1.
    pub weights: Vec<f64>,
    pub iterations: usize,
    pub converged: bool,
}

/// Solves LA-SDP for `points` (n, d) and covariances (k, d, d): min Σ_k ⟨W_k, Z_k⟩ over Z_k ⪰ 0, Z_k ≥ 0, tr Z_k = 1, (Σ_k Z_k)1 = 1, with
/// W_k = log|Σ_k| 11ᵀ + half squared Mahalanobis distances.
///
/// Errors: fewer than two points; covariances that are not positive definite; numbers out of range.
pub fn la_sdp(
    points: Points,
    covariances: &[f64],
    max_iterations: usize,
    tolerance: f64,
    observer: &dyn Observer,
) -> Result<LaSdp, ClusterError> {
    let (n, d) = (points.n(), points.d());
    let k = covariances.len() / (d * d);
    if k == 0 || k > n || n < 2 || covariances.len() != k * d * d {
        return Err(ClusterError::Data(format!("{} numbers of covariances for {n} points of {d} columns", covariances.len())));
    }
    let frame = Frame::of(points);
    let rows = frame.apply(points)?;
    let groups = outer::given(covariances, d, frame.scale)?;
    let limits = Limits { iterations: max_iterations, tolerance };
    let found = Lifted::new(n, k).solve(&rows, &groups, false, limits, observer)?;
    let shift = outer::unit_shift(n, d, frame.scale);
    Ok(LaSdp {
        objective: found.objective + shift,
        bound: found.bound + shift,
        weights: found.weights,
        iterations: found.outcome.iterations,
        converged: found.outcome.converged,
    })
}
