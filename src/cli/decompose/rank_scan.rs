//! `shoal decompose-tensor cp --rank-scan`.

use super::cp::{failure, stop_name};
use super::input::{TensorArgs, cp_input};
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::report;
use crate::cli::session::Session;
use crate::kernels::simd::Real;
use crate::plot::decomposition::{RankPoint, rank_scan_chart};
use crate::run::check::MetricRow;
use crate::tensor::cp::{NonnegSolver, Options, Run, StopReason};
use crate::tensor::rank_scan::{RankRow, RankScan, rank_scan};
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::time::Instant;

/// What is asked for.
pub struct Plan {
    pub ranks: RangeInclusive<usize>,
    pub options: Options,
    /// Whether some factors must not be negative.
    pub nonneg: bool,
    pub solver: NonnegSolver,
}

const METRICS: [&str; 8] = ["fit", "rel_error", "corcondia", "bic", "split_half", "iterations", "converged", "lowest_cosine"];

/// Fits all ranks, one row each.
pub fn run<T: Real>(
    tensor: &TensorArgs,
    output: &OutputArgs,
    check: &CheckArgs,
    plan: Plan,
    modes: impl Fn(usize) -> Outcome<Option<Vec<bool>>>,
    mut session: Session,
) -> Outcome {
    report::validate_claims(check, &METRICS.map(String::from), &[])?;
    let mut opened = session.open_outputs(output)?;
    let read = tensor.read_arranged::<T>(&mut session)?;
    let nonneg = if plan.nonneg { modes(read.data.shape().len())? } else { None };
    let scan = RankScan { options: plan.options, nonneg, solver: plan.solver, ..RankScan::new(plan.ranks) };
    let started = Instant::now();
    let clock = || started.elapsed().as_secs_f64();
    let run = Run { observer: session.observer(), clock: Some(&clock) };
    let found = rank_scan(cp_input(&read.data), &scan, &run).map_err(failure)?;
    if session.observer().cancelled() {
        return Err(Failure::Interrupted);
    }
    let rows: Vec<MetricRow> = found.iter().map(row).collect();
    if opened.wants_picture() || session.keeps_run() {
        let points: Vec<RankPoint> = (found.iter())
            .map(|r| RankPoint { rank: r.rank, fit: r.cp.fit, corcondia: r.corcondia.unwrap_or(f64::NAN) })
            .collect();
        let picture = rank_scan_chart(&points, None, &format!("{}: CP by rank", super::model::short(&read.name)))?;
        opened.picture(&picture)?;
        if let Some(mut file) = session.run_file("ranks.svg")? {
            use std::io::Write;
            file.write_all(&crate::plot::render(&picture, crate::plot::PictureFormat::Svg)?)?;
            file.commit()?;
        }
    }
    for r in &found {
        r.cp.warnings.iter().for_each(|w| tracing::warn!("rank {}: {w}", r.rank));
    }
    let configuration = json!({
        "ranks": [scan.ranks.start(), scan.ranks.end()], "restarts": scan.options.restarts, "tol": scan.options.tol,
        "max_iter": scan.options.max_iter, "stop_window": scan.options.stop_window, "line_search": scan.options.line_search,
        "l2": scan.options.l2, "prox": scan.options.prox, "nonneg": scan.nonneg, "dtype": session.dtype, "seed": session.seed,
    });
    let details = |r: &RankRow| json!({ "rank": r.rank, "weights": r.cp.model.weights, "stop_reason": stop_name(r.cp.stop), "largest_cosine": r.cp.degeneracy.largest_cosine });
    let written = opened.result(&report::table(&rows), || {
        let all: Vec<Value> = found.iter().map(details).collect();
        Ok(json!({ "ranks": report::json(&rows), "models": all, "shape": read.data.shape(), "configuration": configuration }))
    });
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&configuration)?;
        report::check(&session, check, &rows)
    })
}

fn row(r: &RankRow) -> MetricRow {
    let values = [
        Some(r.cp.fit),
        Some(r.cp.rel_error),
        r.corcondia,
        r.bic,
        r.split_half,
        Some(r.cp.iterations as f64),
        Some(f64::from(u8::from(r.cp.stop == StopReason::Converged))),
        Some(r.cp.degeneracy.lowest_cosine),
    ];
    MetricRow {
        keys: vec![("rank".into(), r.rank.to_string())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), v)).collect(),
    }
}
