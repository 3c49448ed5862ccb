//! The optimum of the likelihood of one form: Levenberg–Marquardt in a box, from several starts.
//!
//! Smoothing parameters and initial states are estimated together. The criterion is a least-squares problem in disguise (see
//! `likelihood`), so each step solves (H + λD) p = -g with the Gauss–Newton matrix H and its diagonal D, the variables that meet a
//! bound being fixed there and the rest solved again. λ follows the ratio of actual to predicted descent. The errors of a forecast are
//! not small, so H alone converges slowly: a secant correction learns what H leaves out, and is used while it predicts better.
//! Source: Moré, *The Levenberg–Marquardt algorithm* (1978) for the scaling by D; Dennis, Gay & Welsch, *An adaptive nonlinear
//! least-squares algorithm* (1981) for the correction and its sizing.

use super::likelihood::{Model, Problem, Workspace};

/// A point and how it was reached.
#[derive(Debug, Clone)]
pub(super) struct Optimum {
    /// The vector (see `likelihood::Layout`).
    pub x: Vec<f64>,
    /// L there.
    pub value: f64,
    /// Whether the stopping test held.
    pub converged: bool,
    /// The quadratic model there.
    model: Model,
}

impl Optimum {
    /// Whether a descent that has come to `x`, where L is `value`, is about to end here: the quadratic model puts `x` within one unit
    /// of L and is right about it.
    fn attracts(&self, x: &[f64], value: f64, step: &mut [f64]) -> bool {
        for ((s, a), b) in step.iter_mut().zip(x).zip(&self.x) {
            *s = a - b;
        }
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (i, &s) in step.iter().enumerate() {
            slope += self.model.gradient[i] * s;
            curvature += s * self.model.row_times(i, step);
        }
        let rise = slope + 0.5 * curvature;
        rise < 1.0 && value > self.value - ENOUGH && (value - self.value - rise).abs() <= 0.25 * rise + 1e-6
    }
}

/// Stop when the quadratic model promises less than this: far below what moves a criterion's printed digits.
const ENOUGH: f64 = 1e-10;
/// More sweeps than any well-behaved series needs.
const MAX_SWEEPS: usize = 300;

/// Descends from `x0`. `None` where the start is infeasible or the way leads to one of the `known` optima.
pub(super) fn descend(problem: &Problem, x0: &[f64], known: &[Optimum], ws: &mut Workspace) -> Option<Optimum> {
    let d = problem.layout.d;
    let (lo, hi) = problem.layout.bounds(problem.form);
    let mut x: Vec<f64> = (0..d).map(|i| x0[i].clamp(lo[i], hi[i])).collect();
    let (mut here, mut there) = (Model::default(), Model::default());
    if !problem.model(&x, ws, &mut here) {
        return None;
    }
    let mut solver = BoxedStep::new(d);
    let mut secant = Secant::new(d, here.stride);
    let mut lambda = 1e-3;
    let mut trial = vec![0.0; d];
    let mut converged = false;
    let mut sweeps = 0;
    let mut resets = 0;
    let mut away = vec![0.0; d];
    while sweeps < MAX_SWEEPS {
        if known.iter().any(|o| o.attracts(&x, here.value, &mut away)) {
            return None;
        }
        sweeps += 1;
        let extra = secant.on.then_some(&secant.a[..]);
        let predicted = match solver.step(&here, extra, &x, &lo, &hi, lambda, &mut trial) {
            Some(p) => p,
            None if secant.on => {
                // The corrected matrix is not positive definite here.
                secant.on = false;
                continue;
            }
            None => f64::NAN,
        };
        if predicted <= ENOUGH {
            // A heavily damped step promises little anywhere: look again with little damping, but not for ever.
            if lambda > 1e-2 && resets < 3 {
                resets += 1;
                lambda = 1e-4;
                continue;
            }
            // Variables stopped at bounds can make the promise of the whole step small or negative while one alone could still descend.
            if here.best_single(extra, &x, &lo, &hi) <= ENOUGH {
                converged = true;
                break;
            }
            if lambda > 1e14 {
                break;
            }
            lambda = (lambda * 8.0).max(1e-6);
            continue;
        }
        let value = problem.value(&trial, ws);
        let actual = here.value - value;
        if actual > 1e-4 * predicted && problem.model(&trial, ws, &mut there) {
            secant.learn(&here, &there, &solver.step, actual);
            std::mem::swap(&mut here, &mut there);
            std::mem::swap(&mut x, &mut trial);
            let ratio = actual / predicted;
            if ratio > 0.75 {
                lambda = (lambda * 0.1).max(1e-9);
            } else if ratio < 0.25 {
                lambda *= 4.0;
            }
        } else {
            // Rounding hides any descent below 1e-12 of L.
            if predicted < 1e-12 * here.value.abs() {
                converged = true;
                break;
            }
            if secant.on {
                secant.on = false;
                continue;
            }
            lambda = (lambda * 8.0).max(1e-6);
            if lambda > 1e14 {
                break;
            }
        }
    }
    Some(Optimum { x, value: here.value, converged, model: here })
}

/// What the Gauss–Newton matrix leaves out, learnt from gradient differences.
struct Secant {
    /// The correction (d, stride), symmetric.
    a: Vec<f64>,
    stride: usize,
    /// Whether the corrected model predicted the last step better than the plain one.
    on: bool,
    residual: Vec<f64>,
    y: Vec<f64>,
}

impl Secant {
    fn new(d: usize, stride: usize) -> Self {
        Secant { a: vec![0.0; d * stride], stride, on: false, residual: vec![0.0; d], y: vec![0.0; d] }
    }

    /// Updates the correction from a step that lowered L by `actual`.
    fn learn(&mut self, before: &Model, after: &Model, step: &[f64], actual: f64) {
        let d = step.len();
        let stride = self.stride;
        let (mut slope, mut plain, mut corrected) = (0.0, 0.0, 0.0);
        for i in 0..d {
            slope += before.gradient[i] * step[i];
            plain += step[i] * before.row_times(i, step);
            corrected += step[i] * dot(&self.a[i * stride..i * stride + d], step);
        }
        let miss = |curvature: f64| (actual + slope + 0.5 * curvature).abs();
        self.on = miss(plain + corrected) <= miss(plain);
        // The new correction must map the step to what the new Gauss-Newton matrix does not explain.
        let (mut sy, mut unexplained) = (0.0, 0.0);
        for i in 0..d {
            self.y[i] = after.gradient[i] - before.gradient[i];
            self.residual[i] = self.y[i] - after.row_times(i, step);
            sy += self.y[i] * step[i];
            unexplained += self.residual[i] * step[i];
        }
        if sy <= 1e-8 * plain {
            return;
        }
        // Sizing: a correction learnt far away shrinks as the residuals do.
        if corrected != 0.0 {
            let size = (unexplained / corrected).abs().min(1.0);
            self.a.iter_mut().for_each(|v| *v *= size);
        }
        let mut along = 0.0;
        for i in 0..d {
            self.residual[i] -= dot(&self.a[i * stride..i * stride + d], step);
            along += self.residual[i] * step[i];
        }
        for i in 0..d {
            for j in 0..d {
                let (yi, yj) = (self.y[i] / sy, self.y[j] / sy);
                self.a[i * stride + j] += self.residual[i] * yj + yi * self.residual[j] - along * yi * yj;
            }
        }
    }
}

/// Sum of products in a fixed order: four interleaved sums, which need not wait for each other.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut s = [0.0; 4];
    for (x, y) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for i in 0..4 {
            s[i] += x[i] * y[i];
        }
    }
    let done = n & !3;
    let tail: f64 = a[done..].iter().zip(&b[done..]).map(|(x, y)| x * y).sum();
    (s[0] + s[1]) + (s[2] + s[3]) + tail
}

/// Solves the damped quadratic model within the box.
struct BoxedStep {
    d: usize,
    factor: Vec<f64>,
    free: Vec<usize>,
    rhs: Vec<f64>,
    step: Vec<f64>,
}

impl BoxedStep {
    fn new(d: usize) -> Self {
        BoxedStep { d, factor: vec![0.0; d * d], free: Vec::with_capacity(d), rhs: vec![0.0; d], step: vec![0.0; d] }
    }

    /// Writes the trial point and returns the descent that the undamped model promises for it; `None` if the matrix, `extra` added,
    /// is not positive definite.
    #[allow(clippy::too_many_arguments)]
    fn step(
        &mut self,
        model: &Model,
        extra: Option<&[f64]>,
        x: &[f64],
        lo: &[f64],
        hi: &[f64],
        lambda: f64,
        trial: &mut [f64],
    ) -> Option<f64> {
        let (d, g, stride) = (self.d, &model.gradient, model.stride);
        let h = |i: usize, j: usize| {
            let at = if i <= j { i * stride + j } else { j * stride + i };
            model.hessian[at] + extra.map_or(0.0, |a| a[at])
        };
        self.step.fill(0.0);
        self.free.clear();
        self.free.extend((0..d).filter(|&i| !((x[i] <= lo[i] && g[i] > 0.0) || (x[i] >= hi[i] && g[i] < 0.0))));
        // Each pass fixes at least one more variable at its bound, so at most d passes (in practice one or two).
        for _ in 0..=d {
            let u = self.free.len();
            // Fixed variables contribute their step (free ones are 0 here).
            let moved: Vec<usize> = (0..d).filter(|&j| self.step[j] != 0.0).collect();
            for (a, &i) in self.free.iter().enumerate() {
                self.rhs[a] = -g[i] - moved.iter().map(|&j| h(i, j) * self.step[j]).sum::<f64>();
                for (b, &j) in self.free[..=a].iter().enumerate() {
                    self.factor[a * d + b] = h(i, j);
                }
                self.factor[a * d + a] += lambda * model.hessian[i * stride + i];
            }
            if !cholesky_solve(&mut self.factor, d, u, &mut self.rhs, extra.is_some()) {
                return None;
            }
            let mut clipped = false;
            for (a, &i) in self.free.iter().enumerate() {
                let target = x[i] + self.rhs[a];
                self.step[i] = target.clamp(lo[i], hi[i]) - x[i];
                clipped |= target < lo[i] || target > hi[i];
            }
            if !clipped {
                break;
            }
            let rhs = &self.rhs;
            let mut a = 0;
            self.free.retain(|&i| {
                let target = x[i] + rhs[a];
                a += 1;
                target >= lo[i] && target <= hi[i]
            });
            for &i in &self.free {
                self.step[i] = 0.0;
            }
        }
        let mut promised = 0.0;
        for i in 0..d {
            let mut row = g[i];
            for j in 0..d {
                row += 0.5 * h(i, j) * self.step[j];
            }
            promised -= row * self.step[i];
            trial[i] = (x[i] + self.step[i]).clamp(lo[i], hi[i]);
            self.step[i] = trial[i] - x[i];
        }
        Some(promised)
    }
}

/// Solves the leading u-by-u system of the lower triangle `a` (row length `d`) in place. A direction without curvature gets no step, or,
/// if `strict`, makes it return false.
fn cholesky_solve(a: &mut [f64], d: usize, u: usize, rhs: &mut [f64], strict: bool) -> bool {
    for i in 0..u {
        let (above, rest) = a.split_at_mut(i * d);
        let row = &mut rest[..=i];
        let own = row[i];
        for j in 0..i {
            let other = &above[j * d..j * d + j + 1];
            let s = row[j] - dot(&row[..j], &other[..j]);
            row[j] = if other[j] > 0.0 { s / other[j] } else { 0.0 };
        }
        let s = own - dot(&row[..i], &row[..i]);
        if strict && (s.is_nan() || s <= 1e-14 * own.abs()) {
            return false;
        }
        row[i] = if s > 1e-14 * own { s.sqrt() } else { 0.0 };
        let r = rhs[i] - dot(&row[..i], &rhs[..i]);
        rhs[i] = if row[i] > 0.0 { r / row[i] } else { 0.0 };
    }
    for i in (0..u).rev() {
        let pivot = a[i * d + i];
        let s: f64 = rhs[i] - (i + 1..u).map(|j| a[j * d + i] * rhs[j]).sum::<f64>();
        rhs[i] = if pivot > 0.0 { s / pivot } else { 0.0 };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::form::Form;
    use super::super::likelihood::{Floor, Layout};
    use super::super::recursion::{Smoothing, State};
    use super::super::region::Region;
    use super::*;

    fn series() -> Vec<f64> {
        (0..60).map(|t| 0.5 + 0.01 * t as f64 + 0.1 * (t as f64 * 1.57).sin() + 0.04 * ((t * t) as f64).sin()).collect()
    }

    fn problem<'a>(y: &'a [f64], form: Form, m: usize) -> Problem<'a> {
        let layout = Layout::new(form, m, Region::Usual);
        Problem { y, form, layout, floor: Floor { rms: 1e-12, mean_log: 0.0 }, guarded: false }
    }

    fn start(p: &Problem, alpha: f64) -> Vec<f64> {
        let smoothing = Smoothing { alpha, beta: 0.1 * alpha, gamma: 0.2 * (1.0 - alpha), phi: 0.9 };
        let multiplicative = p.form.trend.multiplicative();
        let neutral = if p.form.season == super::super::form::SeasonKind::Multiplicative { 1.0 } else { 0.0 };
        let state = State { level: 0.6, slope: if multiplicative { 1.0 } else { 0.0 }, season: vec![neutral; p.layout.m] };
        p.layout.pack(p.form, smoothing, &state)
    }

    #[test]
    fn nothing_near_an_optimum_is_lower() {
        let y = series();
        let mut ws = Workspace::default();
        for form in Form::all() {
            let p = problem(&y, form, 4);
            let found = descend(&p, &start(&p, 0.3), &[], &mut ws).unwrap();
            assert!(found.converged, "{form}");
            assert!((p.value(&found.x, &mut ws) - found.value).abs() < 1e-9, "{form}");
            let (lo, hi) = p.layout.bounds(form);
            for i in 0..found.x.len() {
                for h in [1e-5, -1e-5, 1e-3, -1e-3] {
                    let mut x = found.x.clone();
                    x[i] = (x[i] + h).clamp(lo[i], hi[i]);
                    // The stopping test allows 1e-10; a residual gradient g adds g·h with g²/H < 2e-10 and H up to 1e6.
                    assert!(p.value(&x, &mut ws) > found.value - 1e-6, "{form} {i} {h}");
                }
            }
        }
    }

    #[test]
    fn a_second_way_to_a_known_optimum_is_cut_short() {
        let y = series();
        let mut ws = Workspace::default();
        let p = problem(&y, Form::SES, 1);
        let found = descend(&p, &start(&p, 0.3), &[], &mut ws).unwrap();
        assert!(descend(&p, &start(&p, 0.4), std::slice::from_ref(&found), &mut ws).is_none());
        assert!(descend(&p, &start(&p, 0.4), &[], &mut ws).is_some_and(|o| (o.value - found.value).abs() < 1e-8));
    }

    #[test]
    fn an_infeasible_start_is_refused() {
        let y = series();
        let p = problem(&y, "MAN".parse().unwrap(), 1);
        let mut x = start(&p, 0.3);
        x[2] = -50.0;
        assert!(descend(&p, &x, &[], &mut Workspace::default()).is_none());
    }

    #[test]
    fn a_step_stops_at_the_bound_and_solves_for_the_rest() {
        // f = (x-3)² + (x-3)(y-1) + (y-1)² with x <= 2: the constrained minimum is x = 2, y = 1.5.
        let model =
            Model { value: 0.0, gradient: vec![-7.0, -5.0], hessian: vec![2.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0], stride: 4 };
        let (lo, hi) = ([-9.0, -9.0], [2.0, 9.0]);
        let mut trial = [0.0; 2];
        let promised = BoxedStep::new(2).step(&model, None, &[0.0, 0.0], &lo, &hi, 0.0, &mut trial).unwrap();
        assert!((trial[0] - 2.0).abs() < 1e-12 && (trial[1] - 1.5).abs() < 1e-12, "{trial:?}");
        // f(0,0) = 13 and f(2, 1.5) = 0.75.
        assert!((promised - 12.25).abs() < 1e-12, "{promised}");
        let indefinite = [-9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert!(BoxedStep::new(2).step(&model, Some(&indefinite), &[0.0, 0.0], &lo, &hi, 0.0, &mut trial).is_none());
    }
}
