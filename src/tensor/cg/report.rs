//! How far a CP form is from M, and how much of that breaks equivariance.

use super::CgError;
use super::blocks::CgTensor;
use super::harmonics::{Harmonics, Normalization};
use super::rotation::{Rotation, WignerD};
use crate::run::seed::Streams;
use crate::tensor::model::Matrix;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The part of a path in the average of M̂ over all rotations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathShare {
    pub l: [usize; 3],
    /// ⟨M̂, block⟩: 1 where the path is there as it should be.
    pub coefficient: f64,
}

/// What [`report`] measures. Averages are over the samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    pub lmax: usize,
    pub rank: usize,
    pub samples: usize,
    /// ‖M − M̂‖, ‖M‖ and their quotient.
    pub distance: f64,
    pub norm: f64,
    pub rel_error: f64,
    /// ‖M̂ − M̂_sym‖: what no rotation keeps. M̂_sym = Σ ⟨M̂, block⟩ block is the average of M̂ over all rotations.
    pub non_equivariant: f64,
    /// ‖M − M̂_sym‖: paths that are too strong or too weak. Squares of the two sum to that of `distance`.
    pub equivariant: f64,
    /// Share of the squared distance that breaks equivariance.
    pub non_equivariant_share: f64,
    pub paths: Vec<PathShare>,
    /// Mean of ‖M(x⊗y) − M̂(x⊗y)‖/‖M(x⊗y)‖, x and y of independent N(0, 1) numbers.
    pub approximation: f64,
    /// √(Σ‖M(x⊗y) − M̂(x⊗y)‖² / Σ‖M(x⊗y)‖²) with y the component-normalised harmonics of a random direction times N(0, 1): the loss
    /// the paper trains on. Its expectation is `rel_error`.
    pub sampled_loss: f64,
    /// ε = ‖D M̂(x⊗y) − M̂(Dx⊗Dy)‖ over random rotations, x and y of N(0, 1) numbers.
    pub equivariance_mean: f64,
    pub equivariance_rms: f64,
    pub equivariance_max: f64,
    /// What the mean square of ε tends to: √2 ‖M̂ − M̂_sym‖.
    pub equivariance_expected_rms: f64,
    /// Mean of ε over the mean of ‖M̂(x⊗y)‖.
    pub equivariance_relative: f64,
    /// Largest ε/(2 ‖x‖ ‖y‖ ‖M − M̂‖); the bound says at most 1. 0 for an exact form, whose ε is rounding.
    pub bound_used: f64,
    /// Bound on ‖M − M̂‖ of the best form of this rank: √(Σ over modes of the squared singular values beyond the ⌊R^⅓⌋-th).
    pub rank_bound: f64,
    /// Whether both bounds hold. The second is about the best form: a fit that stopped early may miss it.
    pub bound_holds: bool,
    pub rank_bound_holds: bool,
}

/// Distances below this share of ‖M‖ are rounding.
const ROUNDING: f64 = 1e-12;

/// Compares factors A, B, C of (d, R) with M on `samples` random inputs and rotations.
///
/// Sample s draws from the stream ("cg-report", s). Cost: d³ R for the exact parts, samples · (nnz + 3 d R + L⁴) for the others.
///
/// # Errors
/// Factors that are not (d, R) each, or no samples.
pub fn report(m: &CgTensor, factors: &[Matrix; 3], samples: usize, seed: u64) -> Result<ErrorReport, CgError> {
    let (d, rank) = (m.dim(), factors[0].cols);
    for f in factors {
        if f.rows != d || f.cols != rank || rank == 0 {
            let (found, expected) = (format!("{} x {}", f.rows, f.cols), format!("{d} x R with one R above 0"));
            return Err(CgError::Setting { what: "the shape of a factor", found, expected });
        }
    }
    if samples == 0 {
        return Err(CgError::Setting { what: "the number of samples", found: "0".into(), expected: "at least 1".into() });
    }
    let exact = Parts::new(m, factors);
    let all: Vec<Sample> = (0..samples).into_par_iter().map(|s| sample(m, factors, seed, s as u64)).collect();
    let n = samples as f64;
    let mean = |f: &dyn Fn(&Sample) -> f64| all.iter().map(f).sum::<f64>() / n;
    let exactly = exact.distance <= ROUNDING * exact.norm;
    let used = |s: &Sample| s.broken / (2.0 * s.size * exact.distance);
    let bound_used = if exactly { 0.0 } else { all.iter().map(used).fold(0.0, f64::max) };
    let kept = (1..).take_while(|r: &usize| r.pow(3) <= rank).last().unwrap_or(0);
    let rank_bound = (3.0 * m.squared_singular_values().iter().skip(kept).sum::<f64>()).sqrt();
    Ok(ErrorReport {
        lmax: m.lmax(),
        rank,
        samples,
        distance: exact.distance,
        norm: exact.norm,
        rel_error: exact.distance / exact.norm,
        non_equivariant: exact.broken,
        equivariant: exact.kept,
        non_equivariant_share: if exact.distance > 0.0 { (exact.broken / exact.distance).powi(2) } else { 0.0 },
        paths: m.paths().iter().zip(&exact.coefficients).map(|(p, c)| PathShare { l: p.l, coefficient: *c }).collect(),
        approximation: mean(&|s| s.relative),
        sampled_loss: (mean(&|s| s.loss) / mean(&|s| s.loss_scale)).sqrt(),
        equivariance_mean: mean(&|s| s.broken),
        equivariance_rms: mean(&|s| s.broken * s.broken).sqrt(),
        equivariance_max: all.iter().map(|s| s.broken).fold(0.0, f64::max),
        equivariance_expected_rms: std::f64::consts::SQRT_2 * exact.broken,
        equivariance_relative: mean(&|s| s.broken) / mean(&|s| s.output).max(f64::MIN_POSITIVE),
        bound_used,
        rank_bound,
        bound_holds: bound_used <= 1.0,
        rank_bound_holds: exact.distance <= rank_bound.max(ROUNDING * exact.norm),
    })
}

/// The parts of M − M̂.
struct Parts {
    norm: f64,
    distance: f64,
    broken: f64,
    kept: f64,
    coefficients: Vec<f64>,
}

impl Parts {
    fn new(m: &CgTensor, [a, b, c]: &[Matrix; 3]) -> Self {
        let d = m.dim();
        let cp = |i: usize, j: usize, k: usize| (0..a.cols).map(|r| a.at(i, r) * b.at(j, r) * c.at(k, r)).sum::<f64>();
        let of = |p: &super::blocks::Path| {
            let terms = m.entries()[p.entries.clone()].iter();
            terms.map(|e| e.value * cp(e.i as usize, e.j as usize, e.k as usize)).sum::<f64>()
        };
        let coefficients: Vec<f64> = m.paths().par_iter().map(of).collect();
        // Blocks are orthogonal and of norm 1.
        let kept = coefficients.iter().map(|c| (1.0 - c) * (1.0 - c)).sum::<f64>().sqrt();
        // A slice of M̂ at a time; entries of M and of M̂_sym by slice.
        let mut slices: Vec<Vec<(usize, f64, f64)>> = vec![Vec::new(); d];
        for (p, coefficient) in m.paths().iter().zip(&coefficients) {
            for e in &m.entries()[p.entries.clone()] {
                slices[e.i as usize].push((e.j as usize * d + e.k as usize, e.value, e.value * coefficient));
            }
        }
        let distances: Vec<(f64, f64)> = slices
            .par_iter()
            .enumerate()
            .map(|(i, entries)| {
                let mut far: Vec<f64> = (0..d * d).map(|n| cp(i, n / d, n % d)).collect();
                let mut broken = far.clone();
                for &(n, exact, symmetric) in entries {
                    far[n] -= exact;
                    broken[n] -= symmetric;
                }
                let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
                (square(&far), square(&broken))
            })
            .collect();
        let (distance, broken) = distances.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let norm = (m.paths().len() as f64).sqrt();
        Self { norm, distance: distance.sqrt(), broken: broken.sqrt(), kept, coefficients }
    }
}

struct Sample {
    relative: f64,
    loss: f64,
    loss_scale: f64,
    broken: f64,
    output: f64,
    /// ‖x‖ ‖y‖
    size: f64,
}

fn sample(m: &CgTensor, factors: &[Matrix; 3], seed: u64, index: u64) -> Sample {
    let d = m.dim();
    let mut rng = Streams::new(seed).stream("cg-report", index);
    let rotation = WignerD::new(&Rotation::random(&mut rng), m.lmax());
    let mut draw = |n: usize| -> Vec<f64> { (0..n).map(|_| StandardNormal.sample(&mut rng)).collect() };
    let (x, y, direction, scale) = (draw(d), draw(d), draw(3), draw(1));
    let exact = contract(m, &x, &y);
    let approximate = contract_cp(factors, &x, &y);
    let turned = contract_cp(factors, &rotation.apply(&x, 1), &rotation.apply(&y, 1));
    let harmonics = Harmonics::new(m.lmax(), Normalization::Component);
    let mut sh = vec![0.0; d];
    harmonics.eval([direction[0], direction[1], direction[2]], &mut sh, None);
    sh.iter_mut().for_each(|v| *v *= scale[0]);
    let (target, found) = (contract(m, &x, &sh), contract_cp(factors, &x, &sh));
    let largest = norm(&exact);
    Sample {
        relative: if largest > 0.0 { distance(&exact, &approximate) / largest } else { 0.0 },
        loss: distance(&target, &found).powi(2),
        loss_scale: norm(&target).powi(2),
        broken: distance(&rotation.apply(&approximate, 1), &turned),
        output: norm(&approximate),
        size: norm(&x) * norm(&y),
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// M(x ⊗ y), d numbers each.
pub fn contract(m: &CgTensor, x: &[f64], y: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; m.dim()];
    m.entries().iter().for_each(|e| out[e.k as usize] += e.value * x[e.i as usize] * y[e.j as usize]);
    out
}

/// M̂(x ⊗ y) = C((Aᵀx) ∘ (Bᵀy)).
pub fn contract_cp([a, b, c]: &[Matrix; 3], x: &[f64], y: &[f64]) -> Vec<f64> {
    let mix = |f: &Matrix, v: &[f64]| {
        let mut out = vec![0.0; f.cols];
        (0..f.rows).for_each(|i| out.iter_mut().zip(f.row(i)).for_each(|(to, w)| *to += w * v[i]));
        out
    };
    let (p, q) = (mix(a, x), mix(b, y));
    (0..c.rows).map(|k| c.row(k).iter().zip(p.iter().zip(&q)).map(|(c, (p, q))| c * p * q).sum()).collect()
}
