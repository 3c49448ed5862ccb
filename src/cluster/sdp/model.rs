//! What a fitted clustering is used for: new rows, and files.

use serde_json::json;

use super::frame::Frame;
use super::{Sdp, Solved, polish};
use crate::cluster::saved::{Array, Numbers, Saved};
use crate::cluster::{ClusterError, Points};

const METHOD: &str = "sdp";

impl Sdp {
    /// The nearest centroid of each row, the first of equals; for the rows that were fitted these are `labels`.
    /// Errors: another number of columns.
    pub fn predict(&self, points: Points) -> Result<Vec<i32>, ClusterError> {
        Ok(polish::nearest(&self.frame.apply(points)?, &self.inner, self.frame.origin.len()))
    }

    /// Centroids, labels, and the numbers of the certificate. The membership matrix stays behind.
    pub fn to_saved(&self) -> Saved {
        let d = self.frame.origin.len();
        let array = |name: &str, shape: Vec<usize>, values: &[f64]| Array {
            name: name.into(),
            shape,
            values: Numbers::F64(values.to_vec()),
        };
        Saved {
            method: METHOD.into(),
            header: json!({
                "k": self.k,
                "objective": self.objective,
                "rounded": self.rounded,
                "moves": self.moves,
                "relaxed": self.relaxed,
                "bound": self.bound,
                "gap": self.gap,
                "relative_gap": self.relative_gap,
                "tight": self.tight,
                "solved": self.solved,
                "sketched": self.sketched,
                "iterations": self.iterations,
                "converged": self.converged,
                "scale": self.frame.scale,
            }),
            arrays: vec![
                array("centroids", vec![self.k, d], &self.centroids),
                array("inner_centroids", vec![self.k, d], &self.inner),
                array("origin", vec![d], &self.frame.origin),
                Array { name: "labels".into(), shape: vec![self.labels.len()], values: Numbers::I32(self.labels.clone()) },
            ],
        }
    }

    /// Reads what [`Sdp::to_saved`] wrote. Errors: another method, missing or misshapen parts.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        let wrong = |why: String| ClusterError::Model { method: METHOD, why };
        if saved.method != METHOD {
            return Err(wrong(format!("its method is {:?}", saved.method)));
        }
        let header = &saved.header;
        let number = |name: &str| header[name].as_f64().ok_or_else(|| wrong(format!("its header has no number {name:?}")));
        let count = |name: &str| {
            header[name].as_u64().map(|v| v as usize).ok_or_else(|| wrong(format!("its header has no count {name:?}")))
        };
        let flag = |name: &str| header[name].as_bool().ok_or_else(|| wrong(format!("its header has no flag {name:?}")));
        let k = count("k")?;
        let (shape, centroids) = saved.f64(METHOD, "centroids")?;
        let (inner_shape, inner) = saved.f64(METHOD, "inner_centroids")?;
        let (origin_shape, origin) = saved.f64(METHOD, "origin")?;
        let (_, labels) = saved.i32(METHOD, "labels")?;
        let d = origin.len();
        let sizes = [shape, inner_shape].iter().all(|s| **s == [k, d]) && origin_shape == [d];
        if !sizes || d == 0 || k == 0 || centroids.len() != k * d || inner.len() != k * d {
            return Err(wrong(format!("centroids of shape {shape:?} and {inner_shape:?} for {k} clusters and {d} columns")));
        }
        if let Some(label) = labels.iter().find(|&&l| l < 0 || l as usize >= k) {
            return Err(wrong(format!("the label {label} of {k} clusters")));
        }
        let scale = number("scale")?;
        if !(scale.is_finite() && scale > 0.0) || [centroids, inner, origin].iter().any(|v| v.iter().any(|x| !x.is_finite())) {
            return Err(wrong("some of its numbers are not finite, or its scale is not above 0".into()));
        }
        let solved: Solved =
            serde_json::from_value(header["solved"].clone()).map_err(|e| wrong(format!("its header's \"solved\": {e}")))?;
        Ok(Self {
            labels: labels.to_vec(),
            centroids: centroids.to_vec(),
            k,
            objective: number("objective")?,
            rounded: number("rounded")?,
            moves: count("moves")?,
            relaxed: header["relaxed"].as_f64(),
            bound: header["bound"].as_f64(),
            gap: header["gap"].as_f64(),
            relative_gap: header["relative_gap"].as_f64(),
            tight: flag("tight")?,
            solved,
            sketched: header["sketched"].as_u64().map(|v| v as usize),
            iterations: count("iterations")?,
            converged: flag("converged")?,
            membership: None,
            frame: Frame { origin: origin.to_vec(), scale },
            inner: inner.to_vec(),
        })
    }
}
