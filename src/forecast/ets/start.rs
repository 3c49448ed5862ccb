//! Where the search for an optimum starts: least-squares states on a coarse grid of smoothing parameters, carried over to
//! multiplicative forms, warm starts from related forms, and a flat start that is always feasible.

use super::affine::{Concentrated, GridPoint, grid};
use super::form::{ErrorKind, Form, SeasonKind, Trend};
use super::likelihood::{Problem, Workspace};
use super::recursion::{Smoothing, State, one_step};

/// Starts of one series, shared by its forms: the grids are computed once per trend, season and view of the data.
#[derive(Debug)]
pub(super) struct Starts<'a> {
    /// The data less `centre`.
    y: &'a [f64],
    centre: f64,
    logs: Vec<f64>,
    m: usize,
    work: Concentrated,
    known: Vec<(Key, Vec<GridPoint>, usize)>,
}

/// How a grid sees the data.
#[derive(Debug, Clone, Copy, PartialEq)]
enum View {
    /// As they are.
    Plain,
    /// With weights that make the errors relative.
    Relative,
    /// By their logarithms.
    Logs,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    trend: Trend,
    seasonal: bool,
    view: View,
}

/// A start and the criterion there.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub value: f64,
    pub x: Vec<f64>,
}

/// How many starts a grid contributes at most.
const KEEP: usize = 6;

impl<'a> Starts<'a> {
    /// Prepares starts for the data `y + centre` with season length `m`.
    pub fn new(y: &'a [f64], centre: f64, m: usize) -> Self {
        Starts { y, centre, logs: Vec::new(), m, work: Concentrated::default(), known: Vec::new() }
    }

    /// Feasible starting points for `problem`. `origin` is what the data of the problem are below those of the series.
    pub fn of(&mut self, problem: &Problem, origin: f64, ws: &mut Workspace) -> Vec<Start> {
        let form = problem.form;
        let mut starts = Vec::new();
        if form.linear() {
            // Both views where the second costs next to nothing.
            let views: &[View] = match (form.error, form.seasonal()) {
                (ErrorKind::Additive, _) => &[View::Plain],
                (ErrorKind::Multiplicative, true) => &[View::Relative],
                (ErrorKind::Multiplicative, false) => &[View::Relative, View::Plain],
            };
            for &view in views {
                let (points, minima) = self.points(form, view);
                take(points, minima, problem, ws, &mut starts, |p| Some((p.smoothing, lowered(p.state.clone(), origin))));
            }
        } else {
            if form.season != SeasonKind::Additive {
                let (points, minima) = self.points(form, View::Logs);
                take(points, minima, problem, ws, &mut starts, |p| from_logs(form, p.smoothing, &p.state));
            }
            if form.season == SeasonKind::Additive || starts.is_empty() {
                let (points, minima) = self.points(form, View::Plain);
                take(points, minima, problem, ws, &mut starts, |p| from_additive(form, p.smoothing, &p.state));
            }
        }
        if starts.is_empty() {
            let (p, state) = self.flat(form);
            let x = problem.layout.pack(form, p, &lowered(state, origin));
            starts.push(Start { value: problem.value(&x, ws), x });
        }
        starts
    }

    /// The grid of the additive form with the same components, and its number of minima.
    fn points(&mut self, form: Form, view: View) -> (&[GridPoint], usize) {
        let trend = match form.trend {
            Trend::Multiplicative => Trend::Additive,
            Trend::MultiplicativeDamped => Trend::AdditiveDamped,
            other => other,
        };
        let key = Key { trend, seasonal: form.seasonal(), view };
        let at = match self.known.iter().position(|(k, ..)| *k == key) {
            Some(at) => at,
            None => {
                let (points, minima) = self.compute(form, key);
                self.known.push((key, points, minima));
                self.known.len() - 1
            }
        };
        let (_, points, minima) = &self.known[at];
        (points, *minima)
    }

    fn compute(&mut self, form: Form, key: Key) -> (Vec<GridPoint>, usize) {
        if key.view == View::Plain {
            let (mut points, minima) = grid(self.y, None, key.trend, key.seasonal, self.m, &mut self.work);
            points.iter_mut().for_each(|p| p.state.level += self.centre);
            return (points, minima);
        }
        if self.logs.is_empty() {
            self.logs = self.y.iter().map(|v| (v + self.centre).ln()).collect();
        }
        if key.view == View::Logs {
            return grid(&self.logs, None, key.trend, key.seasonal, self.m, &mut self.work);
        }
        // Relative errors: weights 1/μ², μ from the best model of the logarithms.
        let weights: Vec<f64> = {
            let (points, _) = self.points(form, View::Logs);
            let best = points.first().map(|p| (p.smoothing, p.state.clone()));
            let linear = Form { error: ErrorKind::Additive, ..form };
            let mu = best.and_then(|(p, mut state)| one_step(linear, &self.logs, p, &mut state, false));
            mu.unwrap_or_else(|| self.logs.clone()).iter().map(|l| (-2.0 * l).exp()).collect()
        };
        let (mut points, minima) = grid(self.y, Some(&weights), key.trend, key.seasonal, self.m, &mut self.work);
        points.iter_mut().for_each(|p| p.state.level += self.centre);
        (points, minima)
    }

    /// Constant level, no slope, no season: with β = γ = 0 every forecast is a mean of the data, hence positive for positive data.
    fn flat(&self, form: Form) -> (Smoothing, State) {
        let level = self.centre;
        let slope = if form.trend.multiplicative() { 1.0 } else { 0.0 };
        let neutral = if form.season == SeasonKind::Multiplicative { 1.0 } else { 0.0 };
        let season = if form.seasonal() { vec![neutral; self.m] } else { Vec::new() };
        let phi = if form.trend.damped() { 0.95 } else { 1.0 };
        (Smoothing { alpha: 0.2, beta: 0.0, gamma: 0.0, phi }, State { level, slope, season })
    }
}

fn lowered(mut state: State, by: f64) -> State {
    state.level -= by;
    state
}

/// Adds the feasible ones among the first `minima` grid points, carried over by `convert`; if there is none, the first feasible point.
fn take(
    points: &[GridPoint],
    minima: usize,
    problem: &Problem,
    ws: &mut Workspace,
    out: &mut Vec<Start>,
    convert: impl Fn(&GridPoint) -> Option<(Smoothing, State)>,
) {
    let mut taken = 0;
    for (i, p) in points.iter().enumerate() {
        if taken == KEEP || (i >= minima && taken > 0) {
            break;
        }
        let Some((smoothing, state)) = convert(p) else { continue };
        let x = problem.layout.pack(problem.form, smoothing, &state);
        let value = problem.value(&x, ws);
        if value.is_finite() {
            out.push(Start { value, x });
            taken += 1;
        }
    }
}

/// States of a form with multiplicative parts from those of the additive form of the logarithms: exponentials.
fn from_logs(form: Form, p: Smoothing, logs: &State) -> Option<(Smoothing, State)> {
    if form.season == SeasonKind::Additive {
        return None;
    }
    let level = logs.level.exp();
    let growth = logs.slope.exp();
    let slope = match form.trend {
        Trend::None => 0.0,
        t if t.multiplicative() => growth,
        _ => level * (growth - 1.0),
    };
    let season = logs.season.iter().map(|s| s.exp()).collect();
    Some((p, State { level, slope, season }))
}

/// States of a form with multiplicative parts from those of the additive form of the data: ratios to the mean level.
fn from_additive(form: Form, p: Smoothing, add: &State) -> Option<(Smoothing, State)> {
    let mean = add.season.iter().sum::<f64>() / add.season.len().max(1) as f64;
    let level = add.level + mean;
    if level.is_nan() || level <= 0.0 {
        return None;
    }
    let slope = if form.trend.multiplicative() { (1.0 + add.slope / level).max(0.5) } else { add.slope };
    let season = add.season.iter().map(|s| match form.season {
        // A season that reaches below zero has no ratio: keep it small and positive.
        SeasonKind::Multiplicative => ((s - mean + level) / level).max(0.05),
        _ => s - mean,
    });
    Some((p, State { level, slope, season: season.collect() }))
}

/// A start for `to` from the optimum of `from`, if the two differ in the error only or `to` adds a trend or damping to `from`.
pub(super) fn warm(from: Form, to: Form, p: Smoothing, state: &State) -> Option<(Smoothing, State)> {
    if from.season != to.season {
        return None;
    }
    if from.trend == to.trend {
        return Some((p, state.clone()));
    }
    if from.error != to.error {
        return None;
    }
    let (mut p, mut state) = (p, state.clone());
    match (from.trend, to.trend) {
        (Trend::None, _) => {
            state.slope = if to.trend.multiplicative() { 1.0 } else { 0.0 };
            p.phi = if to.trend.damped() { 0.9 } else { 1.0 };
        }
        (Trend::Additive, Trend::AdditiveDamped) | (Trend::Multiplicative, Trend::MultiplicativeDamped) => p.phi = 0.98,
        _ => return None,
    }
    Some((p, state))
}

#[cfg(test)]
mod tests {
    use super::super::likelihood::{Floor, Layout};
    use super::super::region::Region;
    use super::*;

    fn with_problem(y: &[f64], form: Form, m: usize, check: impl FnOnce(&Problem, Vec<Start>, &mut Workspace)) {
        let centre = y.iter().sum::<f64>() / y.len() as f64;
        let centred: Vec<f64> = y.iter().map(|v| v - centre).collect();
        let layout = Layout::new(form, m, Region::Usual);
        let p = Problem { y, form, layout, floor: Floor { rms: 1e-12, mean_log: 0.0 }, guarded: false };
        let mut ws = Workspace::default();
        let starts = Starts::new(&centred, centre, m).of(&p, 0.0, &mut ws);
        check(&p, starts, &mut ws);
    }

    #[test]
    fn every_form_has_a_feasible_start_on_positive_data() {
        // Wild but positive: additive states carried over would often be infeasible.
        let y: Vec<f64> = (0..48).map(|t| 10f64.powf(2.0 * ((t * t) as f64).sin()) / 100.0).collect();
        for form in Form::all() {
            with_problem(&y, form, 4, |p, starts, ws| {
                assert!(!starts.is_empty(), "{form}");
                assert!(starts.iter().all(|s| s.value.is_finite() && s.value == p.value(&s.x, ws)), "{form}");
            });
        }
    }

    #[test]
    fn exactly_multiplicative_data_start_at_the_answer() {
        // y = 0.1·1.02^t·season: the logarithms are exactly linear and seasonal, so an exact form starts with relative errors of the
        // ridge's size, 1e-10, at most a few powers more.
        let y: Vec<f64> = (0..40).map(|t| 0.1 * 1.02f64.powi(t) * [1.0, 1.3, 0.8, 0.9][t as usize % 4]).collect();
        with_problem(&y, "MMM".parse().unwrap(), 4, |_, starts, _| {
            let least = starts.iter().map(|s| s.value).fold(f64::INFINITY, f64::min);
            let logs: f64 = y.iter().map(|v| v.ln()).sum();
            let squares = ((least - 2.0 * logs) / 40.0).exp();
            assert!(squares < 1e-14, "{squares}");
        });
    }

    #[test]
    fn warm_starts_repeat_the_simpler_model() {
        let y: Vec<f64> = (0..40).map(|t| 1.0 + 0.1 * ((t * t) as f64).sin()).collect();
        let p = Smoothing { alpha: 0.3, beta: 0.0, gamma: 0.0, phi: 1.0 };
        let state = State { level: 1.0, slope: 0.0, season: vec![] };
        let mu = |name: &str, p: Smoothing, s: &State| one_step(name.parse().unwrap(), &y, p, &mut s.clone(), true).unwrap();
        for richer in ["AAN", "AAdN", "AMN", "AMdN", "MNN"] {
            let (q, s) = warm(Form::SES, richer.parse().unwrap(), p, &state).unwrap();
            assert_eq!(mu("ANN", p, &state), mu(richer, q, &s), "{richer}");
        }
        assert!(warm(Form::SES, Form::HOLT_WINTERS, p, &state).is_none());
        assert!(warm(Form::HOLT, Form::SES, p, &state).is_none());
    }
}
