//! The loop of `als` and `hals`: sweeps over the modes, fit, extrapolation, stopping, restarts.

use rayon::prelude::*;

use super::data::{Equations, Observed, SweepData};
use super::diagnose::Degeneracy;
use super::hals::NonnegSolver;
use super::options::{CpFit, Options, Restart, Run, StopReason, TraceRow};
use super::solve::Factored;
use super::state::{ColumnNorm, State};
use super::weighted::row_system;
use super::{CpError, nonneg, start};

/// Which modes are non-negative, and how they are solved.
pub struct Signs<'a> {
    pub nonneg: &'a [bool],
    pub solver: NonnegSolver,
}

/// First extrapolated sweep: the even ones after this.
const LINE_AFTER: usize = 5;
/// Failures in a row after which the extrapolation becomes shorter.
const LINE_FAILURES: usize = 4;

struct Descent {
    state: State,
    rel_error: f64,
    stop: StopReason,
    trace: Vec<TraceRow>,
}

/// All starts; the best one is the model.
pub fn fit(data: &mut dyn SweepData, options: &Options, signs: &Signs<'_>, run: &Run<'_>) -> Result<CpFit, CpError> {
    options.check()?;
    let mut best: Option<(usize, Descent)> = None;
    let mut restarts = Vec::with_capacity(options.restarts);
    run.observer.start("sweeps", options.restarts * options.max_iter);
    for k in 0..options.restarts {
        data.restart();
        let state = start::start(data, options, signs.nonneg, k)?;
        let one = descend(data, state, options, signs, run, matches!((&options.init, k), (super::Init::Model(_), 0)))?;
        let (seed, stop) = (options.seed.wrapping_add(k as u64), one.stop);
        restarts.push(Restart { seed, fit: 1.0 - one.rel_error, iterations: one.trace.len(), stop });
        run.observer.advance(options.max_iter - one.trace.len());
        if best.as_ref().is_none_or(|(_, b)| one.rel_error < b.rel_error) {
            best = Some((k, one));
        }
        if stop == StopReason::Cancelled {
            break;
        }
    }
    run.observer.finish();
    let (best, one) = best.expect("there is a start");
    let norm = data.norm_sq().sqrt() * data.scale();
    let model = one.state.into_kruskal(data.scale());
    let degeneracy = Degeneracy::of(&model, norm);
    let mut warnings = Vec::new();
    warnings.extend(degeneracy.warning());
    if one.stop == StopReason::MaxIter {
        warnings.push(format!("The fit still changed by {} or more after {} sweeps.", options.tol, options.max_iter));
    }
    let dead = model.weights.iter().filter(|&&w| w == 0.0).count();
    if dead > 0 && norm > 0.0 {
        warnings.push(format!("{dead} of {} components became zero; a lower rank gives the same fit.", options.rank));
    }
    Ok(CpFit {
        model,
        fit: 1.0 - one.rel_error,
        rel_error: one.rel_error,
        norm,
        observed: data.cells(),
        iterations: one.trace.len(),
        stop: one.stop,
        trace: one.trace,
        restarts,
        best,
        degeneracy,
        warnings,
    })
}

/// ‖X − X̂‖ / ‖X‖ from the squares; 0 of 0 is 0, and anything else of 0 is 1.
pub fn relative(residual_sq: f64, norm_sq: f64) -> f64 {
    if norm_sq > 0.0 {
        (residual_sq.max(0.0) / norm_sq).sqrt()
    } else if residual_sq > 0.0 {
        1.0
    } else {
        0.0
    }
}

/// One start, to its end.
fn descend(
    data: &mut dyn SweepData,
    mut state: State,
    options: &Options,
    signs: &Signs<'_>,
    run: &Run<'_>,
    warm: bool,
) -> Result<Descent, CpError> {
    let norm_sq = data.norm_sq();
    let began = run.clock.map(|clock| clock());
    let (mut trace, mut stop): (Vec<TraceRow>, _) = (Vec::new(), StopReason::MaxIter);
    let (mut power, mut failures, mut quiet) = (2.0, 0, 0);
    let mut rel_error = f64::NAN;
    for k in 1..=options.max_iter {
        if run.observer.cancelled() {
            stop = StopReason::Cancelled;
            break;
        }
        // The first fill of missing cells is the mean, as a random start knows nothing of them.
        if k > 1 || warm {
            data.begin(&state);
        }
        let before = (options.line_search && k > LINE_AFTER && k.is_multiple_of(2)).then(|| state.clone());
        let norm = if k == 1 { ColumnNorm::Two } else { ColumnNorm::Max };
        let mut inner = 0.0;
        for mode in 0..state.factors.len() {
            let (u, with_data) =
                update(data, &state, mode, options, signs).filter_finite().ok_or(CpError::Overflow { sweep: k, mode })?;
            state.set(mode, u, norm);
            inner = with_data;
        }
        // After the last mode its sums hold ⟨X, X̂⟩, so the residual needs no pass over X.
        let mut residual_sq = (norm_sq + state.norm_sq() - 2.0 * inner).max(0.0);
        if !data.trust_sums(residual_sq / norm_sq) {
            residual_sq = data.residual_sq(&state);
        }
        if let Some(before) = before {
            let candidate = extrapolated(&before, &state, (k as f64).powf(1.0 / power), signs.nonneg);
            let residual = data.residual_sq(&candidate);
            if residual < residual_sq {
                (state, residual_sq, failures) = (candidate, residual, 0);
            } else {
                failures += 1;
                if failures == LINE_FAILURES {
                    (power, failures) = (power + 1.0, 0);
                }
            }
        }
        let last = rel_error;
        rel_error = relative(residual_sq, norm_sq);
        let seconds = run.clock.zip(began).map(|(clock, began)| clock() - began);
        trace.push(TraceRow { iter: k, fit: 1.0 - rel_error, rel_error, seconds });
        run.observer.advance(1);
        // NaN at the first sweep: not quiet.
        quiet = if (rel_error - last).abs() < options.tol { quiet + 1 } else { 0 };
        if quiet >= options.stop_window {
            stop = StopReason::Converged;
            break;
        }
    }
    if trace.is_empty() {
        rel_error = relative(data.residual_sq(&state), norm_sq);
    }
    Ok(Descent { state, rel_error, stop, trace })
}

/// `before + jump · (now − before)`, cut at zero where the signs say so.
fn extrapolated(before: &State, now: &State, jump: f64, nonneg: &[bool]) -> State {
    let mix = |a: f64, b: f64| a + jump * (b - a);
    let mut factors = now.factors.clone();
    for ((to, from), &only) in factors.iter_mut().zip(&before.factors).zip(nonneg) {
        for (x, &old) in to.values.iter_mut().zip(&from.values) {
            *x = if only { mix(old, *x).max(0.0) } else { mix(old, *x) };
        }
    }
    let all = nonneg.iter().all(|&only| only);
    let weights =
        before.weights.iter().zip(&now.weights).map(|(&a, &b)| if all { mix(a, b).max(0.0) } else { mix(a, b) }).collect();
    State::with_weights(weights, factors)
}

/// A solved factor, weights in it, and ⟨X, X̂⟩ where all rows share their matrix.
type Solved = (Vec<f64>, f64);

trait Finite: Sized {
    fn filter_finite(self) -> Option<Self>;
}
impl Finite for Solved {
    fn filter_finite(self) -> Option<Self> {
        (self.1.is_finite() && self.0.iter().all(|x| x.is_finite())).then_some(self)
    }
}

/// The least-squares problem of one mode.
fn update(data: &mut dyn SweepData, state: &State, mode: usize, options: &Options, signs: &Signs<'_>) -> Solved {
    let (r, rows) = (state.rank(), state.factors[mode].rows);
    let old = state.weighted(mode);
    let ridge = options.l2 + options.prox;
    let add_ridge = |g: &mut [f64]| (0..r).for_each(|c| g[c * r + c] += ridge);
    match data.equations() {
        Equations::Shared(sums) => {
            let mut w = vec![0.0; rows * r];
            sums.mttkrp(state, mode, &mut w);
            let mut g = state.hadamard(Some(mode));
            add_ridge(&mut g);
            let mut right = w.clone();
            if options.prox > 0.0 {
                right.iter_mut().zip(&old).for_each(|(x, u)| *x += options.prox * u);
            }
            let u = if signs.nonneg[mode] {
                let mut u = old;
                match signs.solver {
                    NonnegSolver::Hals => nonneg::hals(&mut u, &right, &g, r),
                    NonnegSolver::ActiveSet => nonneg::active_set(&mut u, &right, &g, r),
                }
                u
            } else {
                Factored::new(&g, r).rows(r, &mut right);
                right
            };
            let inner = w.iter().zip(&u).map(|(a, b)| a * b).sum();
            (u, inner)
        }
        Equations::Rows(cells) => {
            let mut u = old;
            u.par_chunks_mut(r).enumerate().for_each(|(row, u)| {
                let (mut g, mut w) = row_equations(cells, state, mode, row);
                add_ridge(&mut g);
                if options.prox > 0.0 {
                    w.iter_mut().zip(&*u).for_each(|(x, u)| *x += options.prox * u);
                }
                match (signs.nonneg[mode], signs.solver) {
                    (false, _) => {
                        Factored::new(&g, r).row(r, &mut w);
                        u.copy_from_slice(&w);
                    }
                    // A row without a cell has no equations, and becomes zero as it does without signs.
                    (true, _) if g.iter().all(|&x| x == 0.0) => u.fill(0.0),
                    (true, NonnegSolver::Hals) => nonneg::hals_row(u, &w, &g, r),
                    (true, NonnegSolver::ActiveSet) => nonneg::active_set_row(u, &w, &g, r),
                }
            });
            (u, 0.0)
        }
    }
}

/// G (R, R) and w (R) of one row.
fn row_equations(cells: &dyn Observed, state: &State, mode: usize, row: usize) -> (Vec<f64>, Vec<f64>) {
    let r = state.rank();
    let mut sums = vec![0.0; (r + 1) * (r + 1)];
    row_system(cells, &state.factors, mode, row, &mut sums);
    let g = sums.chunks_exact(r + 1).take(r).flat_map(|s| s[..r].iter().copied()).collect();
    (g, sums[r * (r + 1)..][..r].to_vec())
}
