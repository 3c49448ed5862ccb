//! Claims about metrics: `--assert "mse<=0.40"` and comparison with remembered values (`--check`).

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// One row of metrics: the keys that name the case (`model`, `horizon`, …) and the values, `None` where undefined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// (name, value) of the keys, in order; an object in JSON.
    #[serde(with = "as_object")]
    pub keys: Vec<(String, String)>,
    /// (name, value) of the metrics, in order; an object in JSON.
    #[serde(with = "as_object")]
    pub metrics: Vec<(String, Option<f64>)>,
}

/// An ordered list of pairs as a JSON object.
mod as_object {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    pub fn serialize<S: Serializer, T: Serialize>(pairs: &[(String, T)], s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(pairs.iter().map(|(k, v)| (k, v)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Vec<(String, T)>, D::Error> {
        let map = Map::<String, Value>::deserialize(d)?;
        map.into_iter().map(|(k, v)| Ok((k, serde_json::from_value(v).map_err(D::Error::custom)?))).collect()
    }
}

impl MetricRow {
    /// The case as people read it: key values joined by spaces.
    pub fn name(&self) -> String {
        self.keys.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    }

    fn metric(&self, name: &str) -> Option<Option<f64>> {
        self.metrics.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    /// Within this share of the value.
    Within(f64),
}

/// A claim: `[model.]metric OP number` or `[model.]metric within P% of number`.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    text: String,
    model: Option<String>,
    metric: String,
    relation: Relation,
    value: f64,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!(
                "assertion \"{s}\": {why} (write for example \"mse<=0.40\", \"nlinear.mae < 0.5\" or \"mse within 2% of 0.38\")"
            )
        };
        let number = |t: &str| {
            t.trim()
                .parse::<f64>()
                .ok()
                .filter(|v| v.is_finite())
                .ok_or_else(|| bad(&format!("\"{}\" is not a number", t.trim())))
        };
        let (left, relation, value) = if let Some((left, rest)) = s.split_once(" within ") {
            let (share, value) = rest.split_once(" of ").ok_or_else(|| bad("\"of\" is missing"))?;
            let share = share.trim().strip_suffix('%').ok_or_else(|| bad("the tolerance needs a % sign"))?;
            let share = number(share)?;
            if share < 0.0 {
                return Err(bad("a negative tolerance"));
            }
            (left, Relation::Within(share / 100.0), number(value)?)
        } else {
            let ops = [
                ("<=", Relation::LessEqual),
                (">=", Relation::GreaterEqual),
                ("==", Relation::Equal),
                ("<", Relation::Less),
                (">", Relation::Greater),
            ];
            let found =
                ops.iter().filter_map(|(op, r)| s.find(op).map(|at| (at, *op, *r))).min_by_key(|(at, op, _)| (*at, 2 - op.len()));
            let (at, op, relation) = found.ok_or_else(|| bad("no comparison"))?;
            (&s[..at], relation, number(&s[at + op.len()..])?)
        };
        let left = left.trim();
        let (model, metric) = match left.rsplit_once('.') {
            Some((model, metric)) if metric.parse::<f64>().is_err() => (Some(model.trim().to_string()), metric.trim()),
            _ => (None, left),
        };
        if metric.is_empty() {
            return Err(bad("no metric name"));
        }
        Ok(Self { text: s.trim().to_string(), model, metric: metric.to_string(), relation, value })
    }
}

impl Claim {
    /// Whether any of the rows' columns has this metric; a claim about nothing is a mistake, not a success.
    pub fn validate(&self, metrics: &[String], models: &[String]) -> Result<(), String> {
        if !metrics.contains(&self.metric) {
            return Err(format!(
                "assertion \"{self}\": no metric \"{}\" here, expected one of {}",
                self.metric,
                metrics.join(", ")
            ));
        }
        match &self.model {
            Some(m) if !models.contains(m) => {
                Err(format!("assertion \"{self}\": no model \"{m}\" here, expected one of {}", models.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The rows where the claim fails, as sentences. An undefined value fails.
    pub fn failures(&self, rows: &[MetricRow]) -> Vec<String> {
        let concerned = rows.iter().filter(|r| match &self.model {
            Some(m) => r.keys.iter().any(|(k, v)| k == "model" && v == m),
            None => true,
        });
        concerned
            .filter_map(|r| {
                let value = r.metric(&self.metric).flatten();
                let holds = value.is_some_and(|v| match self.relation {
                    Relation::Less => v < self.value,
                    Relation::LessEqual => v <= self.value,
                    Relation::Greater => v > self.value,
                    Relation::GreaterEqual => v >= self.value,
                    Relation::Equal => v == self.value,
                    Relation::Within(share) => (v - self.value).abs() <= share * self.value.abs(),
                });
                let found = value.map_or("undefined".to_string(), |v| v.to_string());
                (!holds).then(|| format!("claim \"{self}\" does not hold for {}: {} is {found}", r.name(), self.metric))
            })
            .collect()
    }
}

/// How far a metric may move from the remembered value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// A share of the remembered value.
    Relative(f64),
    /// A plain difference.
    Absolute(f64),
}

impl FromStr for Tolerance {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (text, relative) = match s.trim().strip_suffix('%') {
            Some(t) => (t, true),
            None => (s.trim(), false),
        };
        match text.trim().parse::<f64>() {
            Ok(v) if v.is_finite() && v >= 0.0 => Ok(if relative { Self::Relative(v / 100.0) } else { Self::Absolute(v) }),
            _ => Err(format!("\"{s}\" is no tolerance, expected a share such as 1% or a difference such as 1e-6")),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(v) => write!(f, "{}%", v * 100.0),
            Self::Absolute(v) => write!(f, "{v}"),
        }
    }
}

/// A file of remembered metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of the program that wrote it.
    pub shoal: String,
    /// The verb, as typed.
    pub command: String,
    /// All rows.
    pub cases: Vec<MetricRow>,
}

/// One metric of one case beside its remembered value.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The case.
    pub case: String,
    /// The metric.
    pub metric: String,
    /// Remembered; `None` = undefined or not in the file.
    pub old: Option<f64>,
    /// Now; `None` = undefined or no longer computed.
    pub new: Option<f64>,
    /// Whether the two agree within the tolerance.
    pub ok: bool,
}

/// The rows by their keys.
fn by_keys(rows: &[MetricRow]) -> HashMap<&[(String, String)], &MetricRow> {
    rows.iter().map(|r| (r.keys.as_slice(), r)).collect()
}

/// Compares all metrics of all cases, in the order of the new rows, then what only the file has.
pub fn compare(old: &[MetricRow], new: &[MetricRow], tolerance: Tolerance) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old_at, new_at) = (by_keys(old), by_keys(new));
    let agree = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => match tolerance {
            Tolerance::Relative(share) => (a - b).abs() <= share * a.abs(),
            Tolerance::Absolute(d) => (a - b).abs() <= d,
        },
        (None, None) => true,
        _ => false,
    };
    for row in new {
        let before = old_at.get(row.keys.as_slice());
        for (metric, value) in &row.metrics {
            let remembered = before.and_then(|o| o.metric(metric));
            let ok = remembered.is_some_and(|o| agree(o, *value));
            changes.push(Change { case: row.name(), metric: metric.clone(), old: remembered.flatten(), new: *value, ok });
        }
    }
    for row in old {
        let now = new_at.get(row.keys.as_slice());
        for (metric, value) in &row.metrics {
            if now.and_then(|n| n.metric(metric)).is_none() {
                changes.push(Change { case: row.name(), metric: metric.clone(), old: *value, new: None, ok: false });
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, mse: Option<f64>) -> MetricRow {
        MetricRow {
            keys: vec![("model".into(), model.into())],
            metrics: vec![("mse".into(), mse), ("coverage-99.5".into(), Some(1.0))],
        }
    }

    #[test]
    fn claims_parse_and_hold_or_fail() {
        let rows = [row("naive", Some(0.5)), row("nlinear", Some(0.38))];
        let fails = |c: &str| c.parse::<Claim>().unwrap().failures(&rows).len();
        assert_eq!(fails("mse<=0.40"), 1);
        assert_eq!(fails("mse <= 0.5"), 0);
        assert_eq!(fails("mse<0.5"), 1);
        assert_eq!(fails("nlinear.mse<0.40"), 0);
        assert_eq!(fails("mse>=0.38"), 0);
        assert_eq!(fails("mse == 0.38"), 1);
        assert_eq!(fails("nlinear.mse within 2% of 0.385"), 0);
        assert_eq!(fails("nlinear.mse within 1% of 0.385"), 1);
        assert_eq!(fails("coverage-99.5>=1"), 0);
        assert_eq!("mse<1".parse::<Claim>().unwrap().failures(&[row("x", None)]).len(), 1, "undefined never passes");
        for bad in ["mse", "mse<=abc", "<=3", "mse within 3 of 1", "mse within -1% of 1", "mse<=NaN"] {
            assert!(bad.parse::<Claim>().is_err(), "{bad}");
        }
        let c: Claim = "mae<1".parse().unwrap();
        assert!(c.validate(&["mse".into()], &[]).unwrap_err().contains("expected one of mse"));
        assert!("ses.mse<1".parse::<Claim>().unwrap().validate(&["mse".into()], &["naive".into()]).is_err());
    }

    #[test]
    fn comparison_sees_changes_losses_and_additions() {
        let old = [row("a", Some(1.0)), row("gone", Some(2.0))];
        let new = [row("a", Some(1.005)), row("new", None)];
        let bad = |t| compare(&old, &new, t).into_iter().filter(|c| !c.ok).map(|c| (c.case, c.metric)).collect::<Vec<_>>();
        let expected: Vec<(String, String)> =
            [("new", "mse"), ("new", "coverage-99.5"), ("gone", "mse"), ("gone", "coverage-99.5")]
                .map(|(c, m)| (format!("model={c}"), m.to_string()))
                .into();
        assert_eq!(bad(Tolerance::Relative(0.01)), expected);
        assert_eq!(bad(Tolerance::Absolute(0.001)).len(), 5);
        assert_eq!("1%".parse(), Ok(Tolerance::Relative(0.01)));
        assert_eq!("1e-6".parse(), Ok(Tolerance::Absolute(1e-6)));
        assert!("-1".parse::<Tolerance>().is_err());
    }
}
