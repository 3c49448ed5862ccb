//! Metric rows: as a table, as JSON, and held against claims and remembered values.

use super::args::CheckArgs;
use super::failure::{Failure, Outcome};
use super::messages::tell;
use super::session::{Session, read_json, write_json};
use crate::run::check::{Baseline, MetricRow, compare};
use crate::table::{AtomicFile, Table, Values, write_table};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Refuses claims about metrics or models that this run does not have, before anything is computed.
pub fn validate_claims(check: &CheckArgs, metrics: &[String], models: &[String]) -> Outcome {
    for claim in &check.assert {
        claim.validate(metrics, models).map_err(Failure::Usage)?;
    }
    if let Some(path) = &check.check
        && !check.update_check
    {
        if !path.exists() {
            return Err(Failure::usage(format!("--check {}: no such file (write it first with --update-check)", path.display())));
        }
        read_baseline(path)?;
    }
    Ok(())
}

/// Keys that stay text even where they look like numbers.
const TEXT_KEYS: [&str; 2] = ["unique_id", "dataset"];

fn read_baseline(path: &Path) -> Outcome<Baseline> {
    read_json(path, "a file of metrics written by --update-check or --run-dir")
}

/// Metric rows as a table: keys as text (whole numbers as numbers), metrics as numbers, undefined values empty.
pub fn table(rows: &[MetricRow]) -> Table {
    let mut out = Table::new();
    let Some(first) = rows.first() else { return out };
    for (i, (name, _)) in first.keys.iter().enumerate() {
        let texts: Vec<&str> = rows.iter().map(|r| r.keys.get(i).map_or("", |(_, v)| v.as_str())).collect();
        let whole: Option<Vec<i64>> = texts.iter().map(|t| t.parse().ok()).collect();
        let values = match whole {
            Some(numbers) if !TEXT_KEYS.contains(&name.as_str()) => Values::Integer(numbers),
            _ => Values::Text(texts.iter().map(|t| Arc::from(*t)).collect()),
        };
        out = out.with(name.clone(), values);
    }
    for (name, _) in &first.metrics {
        let value = |r: &MetricRow| r.metrics.iter().find(|(n, _)| n == name).and_then(|(_, v)| *v);
        let values = rows.iter().map(|r| value(r).unwrap_or(f64::NAN)).collect();
        out = out.with(name.clone(), Values::Number(values));
    }
    out
}

/// Metric rows as JSON objects.
pub fn json(rows: &[MetricRow]) -> Value {
    let object = |r: &MetricRow| {
        let mut map = Map::new();
        for (k, v) in &r.keys {
            let whole = if TEXT_KEYS.contains(&k.as_str()) { None } else { v.parse::<i64>().ok() };
            map.insert(k.clone(), whole.map_or_else(|| Value::from(v.clone()), Value::from));
        }
        for (k, v) in &r.metrics {
            map.insert(k.clone(), v.map_or(Value::Null, Value::from));
        }
        Value::Object(map)
    };
    Value::Array(rows.iter().map(object).collect())
}

/// Writes metrics.json and metrics.csv into the run directory.
pub fn keep(session: &Session, rows: &[MetricRow]) -> Outcome {
    session.run_json("metrics.json", &session.baseline(rows))?;
    if let Some(mut file) = session.run_file("metrics.csv")? {
        write_table(&table(rows), crate::table::Format::Csv, &mut file)?;
        file.commit()?;
    }
    Ok(())
}

/// Holds the rows against `--check` and `--assert`. Call last: results are written even when a claim fails.
pub fn check(session: &Session, args: &CheckArgs, rows: &[MetricRow]) -> Outcome {
    let mut broken = Vec::new();
    if let Some(path) = &args.check {
        if args.update_check {
            let mut file = AtomicFile::create(path)?;
            write_json(&mut file, &session.baseline(rows))?;
            file.commit()?;
            session.say(format!("remembered {} rows in {}", rows.len(), path.display()));
        } else {
            let baseline = read_baseline(path)?;
            let changes = compare(&baseline.cases, rows, args.tolerance);
            let bad = changes.iter().filter(|c| !c.ok).count();
            let exact = |v: Option<f64>| v.map_or("-".to_string(), |v| format!("{v}"));
            let text = |f: &dyn Fn(&crate::run::check::Change) -> String| {
                Values::Text(changes.iter().map(|c| Arc::from(f(c))).collect())
            };
            let shown = Table::new()
                .with("case", text(&|c| c.case.clone()))
                .with("metric", text(&|c| c.metric.clone()))
                .with("old", text(&|c| exact(c.old)))
                .with("new", text(&|c| exact(c.new)))
                .with("delta", text(&|c| c.new.zip(c.old).map_or("-".into(), |(n, o)| format!("{:.3e}", n - o))))
                .with("ok", text(&|c| if c.ok { "yes".into() } else { "NO".into() }));
            if !session.quiet || bad > 0 {
                let mut lines = Vec::new();
                write_table(&shown, crate::table::Format::Table, &mut lines)?;
                tell(String::from_utf8_lossy(&lines).trim_end());
            }
            if bad > 0 {
                broken.push(format!(
                    "{bad} of {} metrics differ from {} by more than {}",
                    changes.len(),
                    path.display(),
                    args.tolerance
                ));
            }
        }
    }
    broken.extend(args.assert.iter().flat_map(|claim| claim.failures(rows)));
    if broken.is_empty() { Ok(()) } else { Err(Failure::Claims(broken)) }
}
