//! A fitted mixture and what it says about points.

use rayon::prelude::*;

use super::Covariance;
use super::block::{Densities, Scratch, rows_of_block};
use super::factor::{Factors, factors};
use crate::cluster::saved::{Array, Numbers, Saved};
use crate::cluster::{ClusterError, Points};

/// The name under which models are kept.
const METHOD: &str = "gmm";

/// A mixture of k Gaussians of d columns.
#[derive(Debug, Clone, PartialEq)]
pub struct GmmModel {
    pub(super) covariance: Covariance,
    pub(super) d: usize,
    pub(super) weights: Vec<f64>,
    pub(super) means: Vec<f64>,
    pub(super) covariances: Vec<f64>,
    factors: Factors,
}

/// What a mixture says about each of n points.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// (n): the component of the largest responsibility, the first of equal ones.
    pub labels: Vec<i32>,
    /// (n, k): probability of each component given the point; rows sum to 1.
    pub responsibilities: Vec<f64>,
    /// (n): log-density in nats.
    pub log_densities: Vec<f64>,
}

impl GmmModel {
    /// A mixture of the given parts: `weights` (k) positive, summing to 1; `means` (k, d); `covariances` as [`Covariance::shape`],
    /// symmetric positive definite. Errors: numbers that are not finite, a weight that is not positive, a singular covariance.
    /// Panics when lengths disagree.
    pub fn new(
        covariance: Covariance,
        d: usize,
        weights: Vec<f64>,
        means: Vec<f64>,
        covariances: Vec<f64>,
    ) -> Result<Self, ClusterError> {
        let k = weights.len();
        assert!(k > 0 && d > 0 && means.len() == k * d, "{k} components of {d} columns, {} numbers of means", means.len());
        assert_eq!(covariances.len(), covariance.shape(k, d).iter().product::<usize>(), "numbers of covariances");
        if !means.iter().chain(&covariances).all(|x| x.is_finite()) {
            return Err(ClusterError::Numbers(
                "a mean or covariance is not finite; scale the columns to moderate sizes (standardise them)".into(),
            ));
        }
        if let Some(c) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            return Err(ClusterError::Numbers(format!(
                "component {c} has the weight {}; expected a positive number",
                weights[c]
            )));
        }
        let factors = factors(covariance, &covariances, k, d)?;
        Ok(Self { covariance, d, weights, means, covariances, factors })
    }

    pub fn k(&self) -> usize {
        self.weights.len()
    }

    pub fn d(&self) -> usize {
        self.d
    }

    pub fn covariance(&self) -> Covariance {
        self.covariance
    }

    /// (k).
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// (k, d).
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// As [`Covariance::shape`].
    pub fn covariances(&self) -> &[f64] {
        &self.covariances
    }

    /// The covariance of one component as a matrix (d, d), whatever the type: for ellipses.
    pub fn covariance_matrix(&self, component: usize) -> Vec<f64> {
        let d = self.d;
        let diagonal = |of: &dyn Fn(usize) -> f64| (0..d * d).map(|e| if e / d == e % d { of(e / d) } else { 0.0 }).collect();
        match self.covariance {
            Covariance::Full => self.covariances[component * d * d..(component + 1) * d * d].to_vec(),
            Covariance::Tied => self.covariances.clone(),
            Covariance::Diag => diagonal(&|j| self.covariances[component * d + j]),
            Covariance::Spherical => diagonal(&|_| self.covariances[component]),
        }
    }

    /// Free numbers, see [`Covariance::parameters`].
    pub fn parameters(&self) -> usize {
        self.covariance.parameters(self.k(), self.d)
    }

    pub(super) fn densities(&self) -> Densities<'_> {
        Densities::new(self, &self.factors)
    }

    /// The same mixture with its components in another order: component c of the result was `order[c]`.
    pub(super) fn reordered(&self, order: &[usize]) -> Self {
        let pick = |from: &[f64]| {
            let size = from.len() / self.k();
            order.iter().flat_map(|&c| from[c * size..(c + 1) * size].iter().copied()).collect::<Vec<f64>>()
        };
        let shared = self.covariance == Covariance::Tied;
        Self {
            covariance: self.covariance,
            d: self.d,
            weights: pick(&self.weights),
            means: pick(&self.means),
            covariances: if shared { self.covariances.clone() } else { pick(&self.covariances) },
            factors: Factors {
                roots: if shared { self.factors.roots.clone() } else { pick(&self.factors.roots) },
                log_determinants: pick(&self.factors.log_determinants),
            },
        }
    }

    /// Labels, responsibilities and log-densities of `points`.
    ///
    /// Every row is treated by itself: the same row gets the same bits wherever it stands. Errors: another number of columns than the
    /// model's; a point so far out that its density is 0 in every component even as a logarithm.
    /// Cost: n·k·d² for full covariances, n·d·(d + k) for tied, n·k·d else.
    pub fn assign(&self, points: Points) -> Result<Assignment, ClusterError> {
        let (n, k, d) = (points.n(), self.k(), self.d);
        if points.d() != d {
            return Err(ClusterError::Data(format!("the points have {} columns; the mixture was fitted to {d}", points.d())));
        }
        let mut found = Assignment { labels: vec![0; n], responsibilities: vec![0.0; n * k], log_densities: vec![0.0; n] };
        let densities = self.densities();
        let rows = rows_of_block(d);
        let per_task = rows * 16;
        let tasks = (points.values().par_chunks(per_task * d))
            .zip(found.labels.par_chunks_mut(per_task))
            .zip(found.responsibilities.par_chunks_mut(per_task * k))
            .zip(found.log_densities.par_chunks_mut(per_task));
        tasks.for_each_init(Scratch::default, |scratch, (((x, labels), responsibilities), logs)| {
            let blocks = x
                .chunks(rows * d)
                .zip(labels.chunks_mut(rows))
                .zip(responsibilities.chunks_mut(rows * k))
                .zip(logs.chunks_mut(rows));
            for (((x, labels), responsibilities), logs) in blocks {
                densities.responsibilities(x, scratch);
                logs.copy_from_slice(&scratch.densities);
                let count = labels.len();
                for (i, (label, row)) in labels.iter_mut().zip(responsibilities.chunks_exact_mut(k)).enumerate() {
                    let (mut best, mut most) = (0, f64::NEG_INFINITY);
                    for (c, to) in row.iter_mut().enumerate() {
                        *to = scratch.shares[c * count + i];
                        if *to > most {
                            (best, most) = (c, *to);
                        }
                    }
                    *label = best as i32;
                }
            }
        });
        if let Some(row) = found.log_densities.iter().position(|l| !l.is_finite()) {
            return Err(ClusterError::Numbers(format!(
                "row {row} (from 0) is so far from all components that its density is beyond the range of numbers; scale the columns as those of the fit"
            )));
        }
        Ok(found)
    }

    /// The labels of [`assign`](Self::assign).
    pub fn predict(&self, points: Points) -> Result<Vec<i32>, ClusterError> {
        Ok(self.assign(points)?.labels)
    }

    /// The responsibilities (n, k) of [`assign`](Self::assign).
    pub fn predict_proba(&self, points: Points) -> Result<Vec<f64>, ClusterError> {
        Ok(self.assign(points)?.responsibilities)
    }

    /// What is kept: covariance type in the header; weights, means and covariances as arrays.
    pub fn to_saved(&self) -> Saved {
        let (k, d) = (self.k(), self.d);
        let array = |name: &str, shape: Vec<usize>, values: &[f64]| Array {
            name: name.into(),
            shape,
            values: Numbers::F64(values.to_vec()),
        };
        Saved {
            method: METHOD.into(),
            header: serde_json::json!({ "covariance": self.covariance, "k": k, "d": d }),
            arrays: vec![
                array("weights", vec![k], &self.weights),
                array("means", vec![k, d], &self.means),
                array("covariances", self.covariance.shape(k, d), &self.covariances),
            ],
        }
    }

    /// The mixture that [`to_saved`](Self::to_saved) kept, to the bit. Errors say what does not fit.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        let wrong = |why: String| ClusterError::Model { method: METHOD, why };
        if saved.method != METHOD {
            return Err(wrong(format!("it is one of {}", saved.method)));
        }
        let covariance: Covariance = serde_json::from_value(saved.header["covariance"].clone()).map_err(|_| {
            wrong(format!("its covariance type is {}; expected full, tied, diag or spherical", saved.header["covariance"]))
        })?;
        let (shape, means) = saved.f64(METHOD, "means")?;
        let &[k, d] = shape else {
            return Err(wrong(format!("its means have the shape {shape:?}; expected (components, columns)")));
        };
        if k == 0 || d == 0 || means.len() != k * d {
            return Err(wrong(format!("its means have the shape {shape:?} and {} numbers", means.len())));
        }
        let expect = |name: &str, want: &[usize]| {
            let (shape, values) = saved.f64(METHOD, name)?;
            if shape != want || values.len() != want.iter().product::<usize>() {
                return Err(wrong(format!(
                    "its {name} have the shape {shape:?} and {} numbers; expected {want:?}",
                    values.len()
                )));
            }
            Ok(values.to_vec())
        };
        let weights = expect("weights", &[k])?;
        let covariances = expect("covariances", &covariance.shape(k, d))?;
        Self::new(covariance, d, weights, means.to_vec(), covariances).map_err(|e| wrong(e.to_string()))
    }
}
