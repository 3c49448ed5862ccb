//! What fitted groups are used for: new rows, and files.

use serde_json::json;

use super::gaussian::{Gaussian, densest};
use super::{IlaSdp, Map, OuterIteration, Stop, export};
use crate::cluster::saved::{Array, Numbers, Saved};
use crate::cluster::sdp::frame::Frame;
use crate::cluster::{ClusterError, Points};

const METHOD: &str = "ila-sdp";

impl IlaSdp {
    /// The group of highest density for each row, the first of equals; for the rows that were fitted these are `labels`.
    /// Errors: another number of columns.
    pub fn predict(&self, points: Points) -> Result<Vec<i32>, ClusterError> {
        Ok(densest(&self.map.apply(&self.frame.apply(points)?), &self.groups))
    }

    /// Labels, groups and the outer iterations. The soft membership stays behind.
    pub fn to_saved(&self) -> Saved {
        let (d, p, k) = (self.frame.origin.len(), self.p, self.k);
        let array =
            |name: &str, shape: Vec<usize>, values: Vec<f64>| Array { name: name.into(), shape, values: Numbers::F64(values) };
        let of =
            |part: fn(&Gaussian) -> &Vec<f64>| self.groups.iter().flat_map(|g| part(g).iter().copied()).collect::<Vec<f64>>();
        Saved {
            method: METHOD.into(),
            header: json!({
                "k": k,
                "p": p,
                "objective": self.objective,
                "best": self.best,
                "reassigned": self.reassigned,
                "outer": self.outer,
                "stop": self.stop,
                "sketched": self.sketched,
                "scale": self.frame.scale,
                "lda": self.lda,
            }),
            arrays: vec![
                array("origin", vec![d], self.frame.origin.clone()),
                array("map_centre", vec![d], self.map.centre.clone()),
                array("map", vec![d, p], self.map.matrix.clone()),
                array("inner_means", vec![k, p], of(|g| &g.mean)),
                array("inner_covariances", vec![k, p, p], of(|g| &g.covariance)),
                array("means", vec![k, p], self.means.clone()),
                array("covariances", vec![k, p, p], self.covariances.clone()),
                Array { name: "labels".into(), shape: vec![self.labels.len()], values: Numbers::I32(self.labels.clone()) },
            ],
        }
    }

    /// Reads what [`IlaSdp::to_saved`] wrote. Errors: another method, missing or misshapen parts.
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
        let (k, p, scale) = (count("k")?, count("p")?, number("scale")?);
        let (_, origin) = saved.f64(METHOD, "origin")?;
        let d = origin.len();
        let take = |name: &str, expected: &[usize]| -> Result<Vec<f64>, ClusterError> {
            let (shape, values) = saved.f64(METHOD, name)?;
            if shape != expected || values.len() != expected.iter().product::<usize>() {
                return Err(wrong(format!("{name:?} has the shape {shape:?}; expected {expected:?}")));
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(wrong(format!("{name:?} has numbers that are not finite")));
            }
            Ok(values.to_vec())
        };
        let origin = take("origin", &[d])?;
        if d == 0 || k == 0 || p == 0 || !(scale.is_finite() && scale > 0.0) {
            return Err(wrong(format!("{k} groups, {p} of {d} columns, a scale of {scale}")));
        }
        let map = Map { centre: take("map_centre", &[d])?, matrix: take("map", &[d, p])?, p };
        let (means, covariances) = (take("inner_means", &[k, p])?, take("inner_covariances", &[k, p, p])?);
        let groups =
            means.chunks_exact(p).zip(covariances.chunks_exact(p * p)).map(|(m, c)| Gaussian::new(m.to_vec(), c.to_vec()));
        let groups = groups.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
        let (_, labels) = saved.i32(METHOD, "labels")?;
        if let Some(label) = labels.iter().find(|&&l| l < 0 || l as usize >= k) {
            return Err(wrong(format!("the label {label} of {k} groups")));
        }
        let outer: Vec<OuterIteration> =
            serde_json::from_value(header["outer"].clone()).map_err(|e| wrong(format!("its header's \"outer\": {e}")))?;
        let stop: Stop =
            serde_json::from_value(header["stop"].clone()).map_err(|e| wrong(format!("its header's \"stop\": {e}")))?;
        let lda = header["lda"].as_bool().ok_or_else(|| wrong("its header has no flag \"lda\"".into()))?;
        let frame = Frame { origin, scale };
        let out = export(&frame, &map, &groups, lda);
        Ok(Self {
            labels: labels.to_vec(),
            objective: number("objective")?,
            best: count("best")?,
            reassigned: count("reassigned")?,
            outer,
            stop,
            k,
            centre: out.centre,
            directions: out.directions,
            p,
            means: out.means,
            covariances: out.covariances,
            membership: None,
            sketched: header["sketched"].as_u64().map(|v| v as usize),
            lda,
            frame,
            map,
            groups,
        })
    }
}
