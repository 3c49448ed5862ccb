//! Certified k-means: the semidefinite relaxation of Peng and Wei.
//!
//! - `admm`: solver for n up to a few thousand, one or more blocks (iLA-SDP uses it too); `psd`: its eigenproblems
//! - `bound`: lower bounds from the ADMM's multipliers; `certificate`: one from a partition alone, for any n
//! - `burer_monteiro`: low-rank solver for large n
//! - `rounding`, `polish`: labels, then Lloyd and Hartigan
//! - `frame`: centred and scaled points; `dense`: symmetric eigenproblems

pub(in crate::cluster) mod admm;
pub(in crate::cluster) mod bound;
mod burer_monteiro;
mod certificate;
pub(in crate::cluster) mod dense;
pub(in crate::cluster) mod frame;
mod model;
pub(in crate::cluster) mod polish;
mod psd;
pub(in crate::cluster) mod rounding;
#[cfg(test)]
pub(in crate::cluster) mod tests;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::kmeans::{KmeansOptions, kmeans};
use super::{ClusterError, Points};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use admm::{Admm, Limits, Problem};
use frame::Frame;

/// Rows up to which `Auto` takes ADMM, and up to which ADMM accepts (five n × n arrays: 4 GB at 10 000).
const DENSE: usize = 2000;
const DENSE_LIMIT: usize = 10_000;
/// Rows from which on `Auto` solves a sketch, and how many rows it then keeps on average.
const SKETCH_FROM: usize = 100_000;
const SKETCH: usize = 10_000;
/// Relative gap up to which a clustering counts as proved optimal.
pub const TIGHT: f64 = 1e-6;

/// How the programme is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// The closed-form certificate of a k-means clustering if it is tight; else ADMM up to 2000 rows, Burer–Monteiro beyond, on a sketch
    /// of about 10 000 rows from 100 000 rows on.
    #[default]
    Auto,
    /// Two-block ADMM: solves the programme and gives a lower bound close to its optimum. O(n²) memory.
    Admm,
    /// Non-negative low-rank factorisation: O(n) memory; the lower bound is that of the certificate alone.
    BurerMonteiro,
}

impl Solver {
    pub const ALL: &[Self] = &[Self::Auto, Self::Admm, Self::BurerMonteiro];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Admm => "admm",
            Self::BurerMonteiro => "burer-monteiro",
        }
    }
}

/// What found the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solved {
    /// k-means, and the closed-form certificate proved it optimal; no programme was solved.
    Certificate,
    Admm,
    BurerMonteiro,
    /// One cluster, or as many as rows: nothing to choose.
    Trivial,
}

impl Solved {
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Admm => "admm",
            Self::BurerMonteiro => "burer-monteiro",
            Self::Trivial => "trivial",
        }
    }
}

/// Settings of [`sdp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SdpOptions {
    /// Clusters.
    pub k: usize,
    pub solver: Solver,
    /// Solve on about this many rows (each is kept with probability `sketch`/n), then assign all. The bound is still one for all rows.
    pub sketch: Option<usize>,
    /// Iterations of the solver at most. When it runs out, labels and bound are valid all the same.
    pub max_iterations: usize,
    /// Where the solver stops: residuals of ADMM (default 1e-7), change and infeasibility of Burer–Monteiro (default 1e-6).
    pub tolerance: Option<f64>,
    /// Columns of the Burer–Monteiro factor; default 2k.
    pub rank: Option<usize>,
    /// k-means starts when rounding.
    pub restarts: usize,
    pub seed: u64,
    /// Whether to return the relaxed membership matrix Z, (n, n).
    pub membership: bool,
}

impl Default for SdpOptions {
    fn default() -> Self {
        Self {
            k: 8,
            solver: Solver::Auto,
            sketch: None,
            max_iterations: 5000,
            tolerance: None,
            rank: None,
            restarts: 10,
            seed: 0,
            membership: false,
        }
    }
}

/// A clustering, and what is proved about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sdp {
    /// (n), canonical; each row's nearest centroid.
    pub labels: Vec<i32>,
    /// (k, d), means of the clusters.
    pub centroids: Vec<f64>,
    pub k: usize,
    /// Inertia Σ‖x − c‖² of the labels.
    pub objective: f64,
    /// Inertia of the rounded labels, before Lloyd and Hartigan moves, and the number of those moves.
    pub rounded: f64,
    pub moves: usize,
    /// ⟨D, Z⟩ of the relaxed solution, on the sketch where there is one. Approximate: not a bound.
    pub relaxed: Option<f64>,
    /// A lower bound on the inertia of every clustering of these rows into k groups, never negative; `None` where none could be computed
    /// (large d + k(k−1) without ADMM).
    pub bound: Option<f64>,
    /// objective − bound, and that over the objective (0 when the objective is 0).
    pub gap: Option<f64>,
    pub relative_gap: Option<f64>,
    /// Whether the relative gap is at most 1e-6: the labels are then optimal up to that.
    pub tight: bool,
    pub solved: Solved,
    /// Rows that were solved on, where that was a sketch.
    pub sketched: Option<usize>,
    pub iterations: usize,
    pub converged: bool,
    /// The relaxed membership matrix, (n, n), rows adding up to one; if asked for.
    pub membership: Option<Vec<f64>>,
    frame: Frame,
    /// Centroids in the frame, by which rows are assigned.
    inner: Vec<f64>,
}

/// A relaxed solution on some rows.
struct Relaxed {
    /// (n, k), leading eigenvectors of Z.
    embedding: Vec<f64>,
    relaxed: f64,
    bound: Option<f64>,
    iterations: usize,
    converged: bool,
    solved: Solved,
    membership: Option<Vec<f64>>,
}

/// Clusters `points` (n, d) by the relaxation min ⟨D, Z⟩, D_ij = ‖x_i − x_j‖²/2, over Z ⪰ 0, Z ≥ 0, Z1 = 1, tr Z = k (Peng & Wei 2007):
/// its optimum is at most the inertia of any clustering into k groups, so a clustering that meets it is optimal.
///
/// Labels are rounded from the leading eigenvectors of Z and improved by Lloyd and single-point moves; `auto` also takes k-means into
/// account. `bound` is valid whether or not the solver converged.
///
/// Errors: k of 0, above n or above the number of distinct rows; settings out of range; squared distances beyond the range of f64.
/// Cost: ADMM O(n²) memory, O(n² r) an iteration with the rank r of the positive part (an n³ eigenproblem now and then);
/// Burer–Monteiro O(n (d + r) r) a step.
pub fn sdp(points: Points, options: &SdpOptions, observer: &dyn Observer) -> Result<Sdp, ClusterError> {
    let (n, d, k) = (points.n(), points.d(), options.k);
    check(options, n)?;
    let distinct = frame::distinct(points, k);
    if distinct < k {
        return Err(ClusterError::Distinct { k, distinct });
    }
    let frame = Frame::of(points);
    let rows = frame.apply(points)?;
    if k == 1 || k == n {
        return trivial(&rows, n, d, k, frame, options.membership);
    }
    let (mut start, mut certified) = (None, None);
    if options.solver == Solver::Auto {
        let inside = Points::new(&rows, n, d)?;
        let settings = KmeansOptions { k, restarts: options.restarts, seed: options.seed, ..KmeansOptions::default() };
        let found = polish::polish(&rows, kmeans(inside, &settings, observer)?.labels, k, d);
        let bound = certificate::bound(&rows, &found.labels, &found.centroids, k, d)?.map(|bound| bound.max(0.0));
        if bound.is_some_and(|bound| found.inertia - bound <= TIGHT * found.inertia) {
            let membership = options.membership.then(|| partition_matrix(&found.labels));
            let relaxed = Relaxed {
                embedding: Vec::new(),
                relaxed: found.inertia,
                bound,
                iterations: 0,
                converged: true,
                solved: Solved::Certificate,
                membership,
            };
            let rounded = found.inertia;
            return finish(found, rounded, bound, relaxed, None, frame, k);
        }
        (start, certified) = (Some(found), bound);
    }
    let sketch = options.sketch.filter(|&m| m < n).or((options.solver == Solver::Auto && n >= SKETCH_FROM).then_some(SKETCH));
    let (relaxed, mut labels, sketched) = match sketch {
        None => {
            let relaxed = relax(&rows, n, d, options, observer)?;
            let labels = rounding::labels(&relaxed.embedding, n, k, options.restarts, options.seed, observer)?;
            (relaxed, labels, None)
        }
        Some(expected) => {
            let kept = keep(n, expected, k, &rows, d, options.seed)?;
            let mut part: Vec<f64> = kept.iter().flat_map(|&i| rows[i * d..][..d].iter().copied()).collect();
            let (mean, _) = polish::means(&part, &mut vec![0; kept.len()], 1, d);
            part.chunks_exact_mut(d).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m));
            let mut relaxed = relax(&part, kept.len(), d, options, observer)?;
            // One for the rows of the sketch only.
            relaxed.bound = None;
            let mut labels = rounding::labels(&relaxed.embedding, kept.len(), k, options.restarts, options.seed, observer)?;
            let (mut centroids, _) = polish::means(&part, &mut labels, k, d);
            centroids.chunks_exact_mut(d).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x += m));
            (relaxed, polish::nearest(&rows, &centroids, d), Some(kept.len()))
        }
    };
    let (centroids, _) = polish::means(&rows, &mut labels, k, d);
    let rounded = polish::inertia(&rows, &labels, &centroids, d);
    let mut found = polish::polish(&rows, labels, k, d);
    if let Some(start) = start.filter(|start| start.inertia < found.inertia) {
        found = polish::Polished { moves: found.moves, ..start };
    }
    let own = certificate::bound(&rows, &found.labels, &found.centroids, k, d)?;
    let bound = [relaxed.bound, certified, own].into_iter().flatten().reduce(f64::max);
    finish(found, rounded, bound, relaxed, sketched, frame, k)
}

fn check(options: &SdpOptions, n: usize) -> Result<(), ClusterError> {
    let k = options.k;
    if k == 0 || k > n {
        return Err(ClusterError::Clusters { k, n, things: "points" });
    }
    let wrong = |what, value: String, expected: String| Err(ClusterError::Setting { what, value, expected });
    if options.max_iterations == 0 {
        return wrong("max_iterations", "0".into(), "at least 1".into());
    }
    if options.restarts == 0 {
        return wrong("restarts", "0".into(), "at least 1".into());
    }
    if let Some(t) = options.tolerance.filter(|t| !(t.is_finite() && *t > 0.0)) {
        return wrong("tolerance", t.to_string(), "a number above 0".into());
    }
    if let Some(r) = options.rank.filter(|&r| r < k || r > n) {
        return wrong("rank", r.to_string(), format!("k = {k} to the {n} points"));
    }
    if let Some(m) = options.sketch.filter(|&m| m < 2 * k) {
        return wrong("sketch", m.to_string(), format!("at least 2k = {} rows", 2 * k));
    }
    let solved_on = options.sketch.map_or(n, |m| m.min(n));
    if options.solver == Solver::Admm && solved_on > DENSE_LIMIT {
        let expected = format!("at most {DENSE_LIMIT} rows for ADMM: choose burer-monteiro, or a sketch");
        return wrong("the number of points", n.to_string(), expected);
    }
    if options.membership && n > DENSE_LIMIT {
        return wrong(
            "the number of points",
            n.to_string(),
            format!("at most {DENSE_LIMIT} to write the n x n membership matrix"),
        );
    }
    if options.membership && options.sketch.is_some_and(|m| m < n) {
        return wrong("membership", "true".into(), "false with a sketch: Z is known for the rows of the sketch only".into());
    }
    Ok(())
}

/// Rows of a sketch: each with probability `expected`/n, drawn until there are k different ones.
fn keep(n: usize, expected: usize, k: usize, rows: &[f64], d: usize, seed: u64) -> Result<Vec<usize>, ClusterError> {
    for attempt in 0..20 {
        let mut rng = Streams::new(seed).stream("sdp-sketch", attempt);
        let share = expected as f64 / n as f64;
        let kept: Vec<usize> = (0..n).filter(|_| rng.random::<f64>() < share).collect();
        let part: Vec<f64> = kept.iter().flat_map(|&i| rows[i * d..][..d].iter().copied()).collect();
        if kept.len() > k && frame::distinct(Points::new(&part, kept.len(), d)?, k) >= k {
            return Ok(kept);
        }
    }
    Err(ClusterError::Setting {
        what: "sketch",
        value: expected.to_string(),
        expected: format!("more rows: 20 sketches had fewer than k = {k} different ones"),
    })
}

/// Solves for centred rows (n, d).
fn relax(rows: &[f64], n: usize, d: usize, options: &SdpOptions, observer: &dyn Observer) -> Result<Relaxed, ClusterError> {
    let dense = match options.solver {
        Solver::Auto => n <= DENSE,
        Solver::Admm if n > DENSE_LIMIT => {
            // A sketch whose size is drawn may come out a little larger than asked for.
            return Err(ClusterError::Setting {
                what: "sketch",
                value: n.to_string(),
                expected: format!("at most {DENSE_LIMIT} rows for ADMM"),
            });
        }
        Solver::Admm => true,
        Solver::BurerMonteiro => false,
    };
    if dense { by_admm(rows, n, d, options, observer) } else { by_factor(rows, n, d, options, observer) }
}

/// Half squared distances (n, n), exactly symmetric with a zero diagonal.
pub(in crate::cluster) fn half_distances(rows: &[f64], n: usize, d: usize) -> Vec<f64> {
    let squares: Vec<f64> = rows.chunks_exact(d).map(|row| row.iter().map(|x| x * x).sum()).collect();
    let mut out = vec![0.0; n * n];
    let view = MatRef::new(rows, n, d);
    matmul(view, view.t(), MatMut::new(&mut out, n, n), false);
    for i in 0..n {
        out[i * n + i] = 0.0;
        for j in 0..i {
            let value = (0.5 * (squares[i] + squares[j]) - out[i * n + j]).max(0.0);
            (out[i * n + j], out[j * n + i]) = (value, value);
        }
    }
    out
}

fn by_admm(rows: &[f64], n: usize, d: usize, options: &SdpOptions, observer: &dyn Observer) -> Result<Relaxed, ClusterError> {
    let k = options.k;
    let mut cost = half_distances(rows, n, d);
    let size = cost.iter().map(|v| v * v).sum::<f64>().sqrt();
    if size <= 0.0 || !size.is_finite() {
        return Err(ClusterError::Numbers("all distances vanish in rounding; look for extreme values among the points".into()));
    }
    cost.iter_mut().for_each(|v| *v /= size);
    let costs = [cost];
    let problem = Problem { n, costs: &costs, trace: k as f64 };
    let mut state = Admm::new(n, 1);
    observer.start("SDP by ADMM", options.max_iterations);
    let limits = Limits { iterations: options.max_iterations, tolerance: options.tolerance.unwrap_or(1e-7) };
    let outcome = state.solve(&problem, limits, observer)?;
    observer.finish();
    let bound = bound::ky_fan(&state, &problem)?.max(bound::by_multipliers(&state, &problem)?);
    Ok(Relaxed {
        embedding: state.blocks[0].leading(n, k)?,
        relaxed: size * state.objective(&problem),
        bound: Some(size * bound),
        iterations: outcome.iterations,
        converged: outcome.converged,
        solved: Solved::Admm,
        membership: options.membership.then(|| std::mem::take(&mut state.blocks[0].z)),
    })
}

fn by_factor(rows: &[f64], n: usize, d: usize, options: &SdpOptions, observer: &dyn Observer) -> Result<Relaxed, ClusterError> {
    let settings = burer_monteiro::Settings {
        k: options.k,
        rank: options.rank.unwrap_or(2 * options.k).min(n),
        iterations: options.max_iterations,
        tolerance: options.tolerance.unwrap_or(1e-6),
        seed: options.seed,
    };
    observer.start("SDP by Burer-Monteiro", options.max_iterations);
    let factor = burer_monteiro::solve(rows, n, d, &settings, observer)?;
    observer.finish();
    let r = factor.r;
    let view = MatRef::new(&factor.u, n, r);
    // ⟨D, UUᵀ⟩ = Σ_i ‖x_i‖² u_i·(Uᵀ1) − ‖XᵀU‖².
    let mut p = vec![0.0; d * r];
    matmul(MatRef::new(rows, n, d).t(), view, MatMut::new(&mut p, d, r), false);
    let mut sums = vec![0.0; r];
    factor.u.chunks_exact(r).for_each(|u| sums.iter_mut().zip(u).for_each(|(s, v)| *s += v));
    let spread =
        |(x, u): (&[f64], &[f64])| x.iter().map(|v| v * v).sum::<f64>() * u.iter().zip(&sums).map(|(u, s)| u * s).sum::<f64>();
    let spread: f64 = rows.chunks_exact(d).zip(factor.u.chunks_exact(r)).map(spread).sum();
    let membership = options.membership.then(|| {
        let mut z = vec![0.0; n * n];
        matmul(view, view.t(), MatMut::new(&mut z, n, n), false);
        z
    });
    Ok(Relaxed {
        embedding: rounding::leading(&factor.u, n, r, options.k)?,
        relaxed: spread - p.iter().map(|v| v * v).sum::<f64>(),
        bound: None,
        iterations: factor.iterations,
        converged: factor.converged,
        solved: Solved::BurerMonteiro,
        membership,
    })
}

fn trivial(rows: &[f64], n: usize, d: usize, k: usize, frame: Frame, membership: bool) -> Result<Sdp, ClusterError> {
    let labels: Vec<i32> = if k == 1 { vec![0; n] } else { (0..n as i32).collect() };
    let found = polish::polish(rows, labels, k, d);
    let relaxed = Relaxed {
        embedding: Vec::new(),
        relaxed: found.inertia,
        bound: Some(found.inertia),
        iterations: 0,
        converged: true,
        solved: Solved::Trivial,
        membership: membership.then(|| partition_matrix(&found.labels)),
    };
    let inertia = found.inertia;
    finish(found, inertia, Some(inertia), relaxed, None, frame, k)
}

/// Z = Σ_k 1_{G_k} 1_{G_k}ᵀ / |G_k| of a partition.
fn partition_matrix(labels: &[i32]) -> Vec<f64> {
    let mut sizes = std::collections::HashMap::new();
    labels.iter().for_each(|l| *sizes.entry(*l).or_insert(0.0) += 1.0);
    labels
        .iter()
        .flat_map(|a| labels.iter().map(move |b| (a, b)))
        .map(|(a, b)| if a == b { 1.0 / sizes[a] } else { 0.0 })
        .collect()
}

fn finish(
    found: polish::Polished,
    rounded: f64,
    bound: Option<f64>,
    relaxed: Relaxed,
    sketched: Option<usize>,
    frame: Frame,
    k: usize,
) -> Result<Sdp, ClusterError> {
    let d = frame.origin.len();
    // A bound above the objective is one that meets it, up to rounding.
    let bound = bound.map(|b| b.clamp(0.0, found.inertia));
    let objective = frame.square(found.inertia)?;
    let bound = bound.map(|b| frame.square(b)).transpose()?;
    let gap = bound.map(|b| objective - b);
    let relative_gap = gap.map(|g| if objective > 0.0 { g / objective } else { 0.0 });
    Ok(Sdp {
        centroids: found.centroids.chunks_exact(d).flat_map(|c| frame.back(c)).collect(),
        labels: found.labels,
        k,
        objective,
        rounded: frame.square(rounded)?,
        moves: found.moves,
        relaxed: Some(frame.square(relaxed.relaxed)?),
        bound,
        gap,
        relative_gap,
        tight: relative_gap.is_some_and(|g| g <= TIGHT),
        solved: relaxed.solved,
        sketched,
        iterations: relaxed.iterations,
        converged: relaxed.converged,
        membership: relaxed.membership,
        frame,
        inner: found.centroids,
    })
}
