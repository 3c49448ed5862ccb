//! Projected BFGS for likelihoods: a smooth function of a few variables in a box.
//!
//! Deterministic, allocates once per call and never evaluates outside the box. A function value that is not finite counts as
//! "worse than anything": the line search backs away from it, so a likelihood may return infinity where it is undefined.
//!
//! Source: Nocedal & Wright 2006, *Numerical Optimization*, chapters 3 and 6; bounds by holding the variables whose gradient points outward.

/// Where a minimiser stopped.
#[derive(Debug, Clone)]
pub struct Minimum {
    /// The point, inside the box.
    pub x: Vec<f64>,
    /// The function value there.
    pub f: f64,
    /// Whether a stopping test held (as opposed to running out of iterations or of descent).
    pub converged: bool,
    /// Iterations done.
    pub iterations: usize,
}

/// Stopping rules.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Largest number of iterations.
    pub max_iter: usize,
    /// Stop when the projected gradient's largest entry is below `grad_tol * max(1, |f|)`.
    pub grad_tol: f64,
    /// Stop when two successive iterations lower `f` by less than `f_tol * max(1, |f|)`.
    pub f_tol: f64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { max_iter: 200, grad_tol: 1e-7, f_tol: 1e-12 }
    }
}

/// Minimises a smooth function over the box `lo <= x <= hi` by BFGS on the variables that are not held at a bound.
///
/// `fg(x, g)` returns the value and writes the gradient. Cost: one `fg` per trial point (usually one or two an iteration) plus
/// O(d²) for the update. A variable is held while it sits on a bound and its gradient points outward; the metric is kept
/// across changes of the held set, which keeps it positive definite on the free variables.
pub fn bfgs(mut fg: impl FnMut(&[f64], &mut [f64]) -> f64, x0: &[f64], lo: &[f64], hi: &[f64], stop: Stop) -> Minimum {
    let d = x0.len();
    let mut x: Vec<f64> = x0.iter().zip(lo.iter().zip(hi)).map(|(&v, (&l, &h))| v.clamp(l, h)).collect();
    let mut g = vec![0.0; d];
    let mut f = fg(&x, &mut g);
    if d == 0 || !f.is_finite() {
        return Minimum { x, f, converged: d == 0, iterations: 0 };
    }
    // h: (d, d), the inverse Hessian estimate, row-major.
    let mut h = identity(d);
    let mut scaled = false;
    let (mut dir, mut trial, mut g_trial) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
    let (mut s, mut y, mut hy) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
    let mut free = vec![true; d];
    let mut small_steps = 0;
    let mut fresh = true;
    for iteration in 0..stop.max_iter {
        let mut pg = 0.0f64;
        for i in 0..d {
            free[i] = !((x[i] <= lo[i] && g[i] > 0.0) || (x[i] >= hi[i] && g[i] < 0.0));
            if free[i] {
                // The gradient as seen by the box: no further than the bound is away.
                let step = (x[i] - g[i]).clamp(lo[i], hi[i]) - x[i];
                pg = pg.max(step.abs().min(g[i].abs()));
            }
        }
        if pg <= stop.grad_tol * f.abs().max(1.0) {
            return Minimum { x, f, converged: true, iterations: iteration };
        }
        let mut slope = 0.0;
        for i in 0..d {
            dir[i] = 0.0;
            if free[i] {
                let row = &h[i * d..(i + 1) * d];
                dir[i] = -(0..d).filter(|&j| free[j]).map(|j| row[j] * g[j]).sum::<f64>();
                slope += dir[i] * g[i];
            }
        }
        if slope.is_nan() || slope >= 0.0 {
            h = identity(d);
            fresh = true;
            scaled = false;
            slope = 0.0;
            for i in 0..d {
                dir[i] = if free[i] { -g[i] } else { 0.0 };
                slope -= dir[i] * dir[i];
            }
        }
        // The first step has no curvature to go by: move at most 0.1 in any variable.
        let longest = dir.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let mut t = if scaled { 1.0 } else { (0.1 / longest).min(1.0) };
        let mut accepted = false;
        let mut f_new = f;
        for _ in 0..40 {
            let mut moved = 0.0;
            for i in 0..d {
                trial[i] = (x[i] + t * dir[i]).clamp(lo[i], hi[i]);
                moved += g[i] * (trial[i] - x[i]);
            }
            f_new = fg(&trial, &mut g_trial);
            if f_new.is_finite() && g_trial.iter().all(|v| v.is_finite()) && f_new <= f + 1e-4 * moved {
                accepted = true;
                break;
            }
            // Quadratic interpolation, kept inside [0.1, 0.5] of the step.
            let denom = 2.0 * (f_new - f - t * slope);
            let q = if f_new.is_finite() && denom > 0.0 { -slope * t * t / denom } else { 0.0 };
            t = q.clamp(0.1 * t, 0.5 * t);
        }
        if !accepted {
            if fresh {
                // Steepest descent finds nothing lower: as low as the arithmetic allows.
                return Minimum { x, f, converged: pg <= 1e-3 * f.abs().max(1.0), iterations: iteration };
            }
            h = identity(d);
            fresh = true;
            scaled = false;
            continue;
        }
        let mut sy = 0.0;
        let (mut ss, mut yy) = (0.0, 0.0);
        for i in 0..d {
            s[i] = trial[i] - x[i];
            y[i] = g_trial[i] - g[i];
            sy += s[i] * y[i];
            ss += s[i] * s[i];
            yy += y[i] * y[i];
        }
        if sy > 1e-10 * (ss * yy).sqrt() {
            if !scaled {
                let scale = sy / yy;
                for i in 0..d {
                    h[i * d + i] = scale;
                }
                scaled = true;
            }
            let mut yhy = 0.0;
            for i in 0..d {
                hy[i] = (0..d).map(|j| h[i * d + j] * y[j]).sum();
                yhy += y[i] * hy[i];
            }
            let c = (1.0 + yhy / sy) / sy;
            for i in 0..d {
                for j in 0..d {
                    h[i * d + j] += c * s[i] * s[j] - (hy[i] * s[j] + s[i] * hy[j]) / sy;
                }
            }
            fresh = false;
        }
        let drop = f - f_new;
        std::mem::swap(&mut x, &mut trial);
        std::mem::swap(&mut g, &mut g_trial);
        f = f_new;
        small_steps = if drop <= stop.f_tol * f.abs().max(1.0) { small_steps + 1 } else { 0 };
        if small_steps >= 2 {
            return Minimum { x, f, converged: true, iterations: iteration + 1 };
        }
    }
    Minimum { x, f, converged: false, iterations: stop.max_iter }
}

fn identity(d: usize) -> Vec<f64> {
    let mut h = vec![0.0; d * d];
    for i in 0..d {
        h[i * d + i] = 1.0;
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a central-difference gradient to a function, stepping inward at a bound (one-sided there).
    ///
    /// Step `1e-6 * max(1e-2, |x|)`; error about 1e-9 relative for functions computed to 1e-15. Cost: 2d evaluations.
    fn difference_gradient<'a>(
        mut f: impl FnMut(&[f64]) -> f64 + 'a,
        lo: &'a [f64],
        hi: &'a [f64],
    ) -> impl FnMut(&[f64], &mut [f64]) -> f64 + 'a {
        let mut probe: Vec<f64> = Vec::new();
        move |x, g| {
            let centre = f(x);
            if !centre.is_finite() {
                return centre;
            }
            probe.clear();
            probe.extend_from_slice(x);
            for i in 0..x.len() {
                let step = 1e-6 * x[i].abs().max(1e-2);
                let (up, down) = ((x[i] + step).min(hi[i]), (x[i] - step).max(lo[i]));
                let mut at = |v: f64| {
                    if v == x[i] {
                        return centre;
                    }
                    probe[i] = v;
                    f(&probe)
                };
                let (f_up, f_down) = (at(up), at(down));
                probe[i] = x[i];
                g[i] = match (f_up.is_finite(), f_down.is_finite()) {
                    (true, true) => (f_up - f_down) / (up - down),
                    (true, false) => (f_up - centre) / (up - x[i]),
                    (false, true) => (centre - f_down) / (x[i] - down),
                    (false, false) => 0.0,
                };
                if !g[i].is_finite() {
                    g[i] = 0.0;
                }
            }
            centre
        }
    }

    fn rosenbrock(x: &[f64]) -> f64 {
        (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2)
    }

    #[test]
    fn bfgs_reaches_the_valley_floor_and_respects_the_box() {
        let (lo, hi) = ([-5.0, -5.0], [5.0, 5.0]);
        let m = bfgs(difference_gradient(rosenbrock, &lo, &hi), &[-1.2, 1.0], &lo, &hi, Stop::default());
        assert!(m.converged && (m.x[0] - 1.0).abs() < 1e-5 && (m.x[1] - 1.0).abs() < 1e-5, "{m:?}");
        // With x0 <= 0.5 the constrained minimum is (0.5, 0.25).
        let hi = [0.5, 5.0];
        let m = bfgs(difference_gradient(rosenbrock, &lo, &hi), &[-1.2, 1.0], &lo, &hi, Stop::default());
        assert!(m.x[0] == 0.5 && (m.x[1] - 0.25).abs() < 1e-5, "{m:?}");
    }

    #[test]
    fn an_infinite_region_is_backed_away_from() {
        let f = |x: &[f64]| if x[0] > 0.6 { f64::INFINITY } else { (x[0] - 0.5).powi(2) };
        let m = bfgs(difference_gradient(f, &[0.0], &[1.0]), &[0.01], &[0.0], &[1.0], Stop::default());
        assert!((m.x[0] - 0.5).abs() < 1e-6, "{m:?}");
    }
}
