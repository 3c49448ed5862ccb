//! The result of k-means, and what it says of other points.

use super::frame::Frame;
use super::options::Algorithm;
use crate::cluster::saved::{Array, Numbers, Saved};
use crate::cluster::{ClusterError, Points};
use crate::kernels::distance::{Centroids, nearest};
use crate::kernels::simd::Real;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Points that are assigned at a time.
const CHUNK: usize = 1 << 16;

/// How one restart ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    pub inertia: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// What moves of single points brought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Polish {
    /// Inertia before and after.
    pub before: f64,
    pub after: f64,
    /// Points moved, and rounds of moves and iterations.
    pub moves: usize,
    pub rounds: usize,
}

/// Points in k clusters around their means.
#[derive(Debug, Clone, PartialEq)]
pub struct Kmeans {
    /// (n), canonical.
    pub labels: Vec<i32>,
    /// (k, d), row c belongs to label c.
    pub centroids: Vec<f64>,
    /// Points with each label.
    pub sizes: Vec<usize>,
    /// Σ over the points of the squared distance to the nearest centroid.
    pub inertia: f64,
    /// Of the best restart (without those of the polish).
    pub iterations: usize,
    pub converged: bool,
    /// What was used: never [`Algorithm::Auto`].
    pub algorithm: Algorithm,
    /// Every restart in order, and which of them was kept.
    pub restarts: Vec<Restart>,
    pub best: usize,
    pub polished: Option<Polish>,
    pub(crate) local: Local,
}

/// Centroids as they were computed with, so that new points meet the same numbers as those of the fit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Local {
    pub frame: Frame,
    /// (k, d), in the frame; numbers of f32 when `single`.
    pub centroids: Vec<f64>,
    /// (k) the number that each centroid had while it was computed: of equally near ones the lowest gets the point, and labels are numbered
    /// otherwise.
    pub numbers: Vec<i32>,
    pub single: bool,
}

impl Local {
    /// The nearest centroid of every point.
    pub fn nearest<U: Real>(&self, points: Points<U>) -> Result<Vec<i32>, ClusterError> {
        let d = self.frame.centre.len();
        if points.d() != d {
            return Err(ClusterError::Data(format!("the points have {} columns, the model has {d}", points.d())));
        }
        Ok(if self.single { self.with::<U, f32>(points) } else { self.with::<U, f64>(points) })
    }

    fn with<U: Real, W: Real>(&self, points: Points<U>) -> Vec<i32> {
        let d = points.d();
        let mut label_of = vec![0; self.numbers.len()];
        self.numbers.iter().enumerate().for_each(|(label, &number)| label_of[number as usize] = label);
        let row = |label: &usize| self.centroids[label * d..(label + 1) * d].iter().map(|&c| W::from_f64(c));
        let rows: Vec<W> = label_of.iter().flat_map(row).collect();
        let centroids = Centroids::new(&rows, d);
        let mut labels = Vec::with_capacity(points.n());
        let mut found = vec![0u32; CHUNK];
        for chunk in points.values().chunks(CHUNK * d) {
            let found = &mut found[..chunk.len() / d];
            nearest(&self.frame.enter::<U, W>(chunk), &centroids, found);
            labels.extend(found.iter().map(|&number| label_of[number as usize] as i32));
        }
        labels
    }

    /// Arrays of a saved model.
    pub fn arrays(&self) -> Vec<Array> {
        let d = self.frame.centre.len();
        let k = self.centroids.len() / d;
        vec![
            Array { name: "frame_centroids".into(), shape: vec![k, d], values: Numbers::F64(self.centroids.clone()) },
            Array { name: "frame_centre".into(), shape: vec![d], values: Numbers::F64(self.frame.centre.clone()) },
            Array { name: "frame_numbers".into(), shape: vec![k], values: Numbers::I32(self.numbers.clone()) },
        ]
    }

    /// From the arrays of a saved model and its header.
    pub fn read(saved: &Saved, method: &'static str) -> Result<Self, ClusterError> {
        let wrong = |why: String| ClusterError::Model { method, why };
        if saved.method != method {
            return Err(wrong(format!("its method is {:?}", saved.method)));
        }
        let (shape, centroids) = saved.f64(method, "frame_centroids")?;
        let (_, centre) = saved.f64(method, "frame_centre")?;
        if shape.len() != 2
            || shape[0] == 0
            || shape[1] == 0
            || centroids.len() != shape[0] * shape[1]
            || centre.len() != shape[1]
        {
            let text = format!(
                "its centroids have the shape {shape:?} ({} numbers) and its centre has {}",
                centroids.len(),
                centre.len()
            );
            return Err(wrong(format!("{text}; expected (k, d), and d")));
        }
        if shape[0] >= 1 << 24 || centroids.iter().chain(centre).any(|x| !x.is_finite()) {
            return Err(wrong("its centroids are not finite numbers, or more than 2^24".into()));
        }
        let (_, numbers) = saved.i32(method, "frame_numbers")?;
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        if sorted.len() != shape[0] || sorted.iter().enumerate().any(|(i, &number)| number != i as i32) {
            return Err(wrong(format!("its frame_numbers are not the numbers 0 to {}, each once", shape[0] - 1)));
        }
        let exponent = saved.header["exponent"].as_i64().filter(|e| (-1100..=1100).contains(e));
        let exponent = exponent
            .ok_or_else(|| wrong(format!("its exponent is {}; expected -1100 to 1100", saved.header["exponent"])))?
            as i32;
        let single = match saved.header["precision"].as_str() {
            Some("f32") => true,
            Some("f64") => false,
            _ => return Err(wrong(format!("its precision is {}; expected \"f32\" or \"f64\"", saved.header["precision"]))),
        };
        let frame = Frame { exponent, centre: centre.to_vec() };
        Ok(Self { frame, centroids: centroids.to_vec(), numbers: numbers.to_vec(), single })
    }

    pub fn precision(&self) -> &'static str {
        if self.single { "f32" } else { "f64" }
    }

    /// The centroids in the units of the points.
    pub fn outside(&self) -> Vec<f64> {
        self.frame.leave(&self.centroids)
    }
}

/// An integer of a header.
pub(crate) fn whole(saved: &Saved, method: &'static str, name: &str) -> Result<usize, ClusterError> {
    let found = saved.header[name].as_u64();
    found
        .map(|v| v as usize)
        .ok_or_else(|| ClusterError::Model { method, why: format!("its {name} is {}; expected an integer", saved.header[name]) })
}

impl Kmeans {
    /// The label of every point: the nearest centroid, among equals the one that came first in the fit. The rows of the fit get its labels.
    /// 2·n·k·d operations. Error: another number of columns.
    pub fn predict<U: Real>(&self, points: Points<U>) -> Result<Vec<i32>, ClusterError> {
        self.local.nearest(points)
    }

    /// Without the labels, which belong to the rows of the fit.
    pub fn to_saved(&self) -> Saved {
        let d = self.local.frame.centre.len();
        let header = json!({
            "k": self.sizes.len(), "d": d, "precision": self.local.precision(), "exponent": self.local.frame.exponent,
            "inertia": self.inertia, "iterations": self.iterations, "converged": self.converged, "algorithm": self.algorithm,
            "sizes": self.sizes, "restarts": self.restarts, "best": self.best, "polished": self.polished,
        });
        let mut arrays = vec![Array {
            name: "centroids".into(),
            shape: vec![self.sizes.len(), d],
            values: Numbers::F64(self.centroids.clone()),
        }];
        arrays.extend(self.local.arrays());
        Saved { method: "kmeans".into(), header, arrays }
    }

    /// A model that predicts as the one saved; its `labels` are empty. Errors: another method, arrays or settings that do not fit.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        const METHOD: &str = "kmeans";
        let local = Local::read(saved, METHOD)?;
        let wrong = |name: &str, e: serde_json::Error| ClusterError::Model { method: METHOD, why: format!("its {name}: {e}") };
        let header = &saved.header;
        let k = local.centroids.len() / local.frame.centre.len();
        let sizes: Vec<usize> = Deserialize::deserialize(&header["sizes"]).map_err(|e| wrong("sizes", e))?;
        if sizes.len() != k {
            return Err(ClusterError::Model { method: METHOD, why: format!("it has {} sizes and {k} centroids", sizes.len()) });
        }
        Ok(Self {
            labels: Vec::new(),
            centroids: local.outside(),
            sizes,
            inertia: Deserialize::deserialize(&header["inertia"]).map_err(|e| wrong("inertia", e))?,
            iterations: whole(saved, METHOD, "iterations")?,
            converged: Deserialize::deserialize(&header["converged"]).map_err(|e| wrong("converged", e))?,
            algorithm: Deserialize::deserialize(&header["algorithm"]).map_err(|e| wrong("algorithm", e))?,
            restarts: Deserialize::deserialize(&header["restarts"]).map_err(|e| wrong("restarts", e))?,
            best: whole(saved, METHOD, "best")?,
            polished: Deserialize::deserialize(&header["polished"]).map_err(|e| wrong("polished", e))?,
            local,
        })
    }
}

/// Labels renumbered by first appearance, rows of d numbers in the same order, and their old numbers; rows that no label names come last, in
/// their order.
pub(crate) fn renumber(labels: &[u32], rows: &[f64], d: usize) -> (Vec<i32>, Vec<f64>, Vec<i32>) {
    let mut labels: Vec<i32> = labels.iter().map(|&l| l as i32).collect();
    let mut order = crate::cluster::labels::canonical(&mut labels);
    let mut named = vec![false; rows.len() / d];
    order.iter().for_each(|&c| named[c as usize] = true);
    order.extend((0..named.len()).filter(|&c| !named[c]).map(|c| c as i32));
    let rows = order.iter().flat_map(|&c| rows[c as usize * d..(c as usize + 1) * d].iter().copied()).collect();
    (labels, rows, order)
}

/// How many points have each of k labels.
pub(crate) fn sizes(labels: &[i32], k: usize) -> Vec<usize> {
    let mut sizes = vec![0; k];
    labels.iter().for_each(|&l| sizes[l as usize] += 1);
    sizes
}
