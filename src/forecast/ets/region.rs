//! Which smoothing parameters are allowed: [`Region`], and the test for admissibility.

use super::form::{Form, Trend};
use super::recursion::Smoothing;

/// The set that the smoothing parameters are sought in; φ lies in 0.8..0.98 and α in 1e-4..0.9999 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Region {
    /// 0 <= β <= α and 0 <= γ <= 1 - α: every update is a weighted mean of what was and what is seen. The textbook's region.
    #[default]
    Usual,
    /// 0 <= β, γ <= 0.9999 and the model still forgets its past: the errors have a convergent autoregressive form. A superset of
    /// [`Region::Usual`] with sometimes a higher likelihood, at the price of weights that are no longer weights.
    Admissible,
}

/// Whether the one-step forecasts depend on the distant past no more than in the usual region: `p` lies in that region, or no
/// eigenvalue of the recursion without data exceeds 1 in magnitude.
///
/// Source: Hyndman, Akram & Archibald, *The admissible parameter space for exponential smoothing models* (2008): without a season the
/// bounds of [`Region::Admissible`] are inside the admissible space; with one the roots of
/// z^{m+1} + (α+βφ-φ) z^m + (α+βφ-αφ)(z^{m-1} + ... + z²) + (α+βφ-αφ+γ-1) z + φ(1-α-γ) decide. (Theirs has β for our βφ: here the slope
/// moves by β times the error after damping, not before.)
pub(super) fn admissible(form: Form, p: Smoothing, m: usize) -> bool {
    let usual = p.beta <= p.alpha * (1.0 + 1e-12) && p.gamma <= (1.0 - p.alpha) * (1.0 + 1e-12);
    if usual || !form.seasonal() || m < 2 {
        return true;
    }
    let Smoothing { alpha, beta, gamma, phi } = p;
    let phi = if form.trend == Trend::None { 1.0 } else { phi };
    let beta = beta * phi;
    let inner = alpha + beta - alpha * phi;
    let mut c = vec![inner; m + 2];
    c[0] = phi * (1.0 - alpha - gamma);
    c[1] = inner + gamma - 1.0;
    c[m] = alpha + beta - phi;
    c[m + 1] = 1.0;
    largest_root(&c) <= 1.0 + 1e-8
}

/// The largest magnitude among the roots of the monic polynomial with coefficients `c` (ascending), by Aberth's iteration.
fn largest_root(c: &[f64]) -> f64 {
    let degree = c.len() - 1;
    // Starting points on a circle near which the roots of these polynomials lie, turned so that no symmetry is kept.
    let mut z: Vec<(f64, f64)> = (0..degree)
        .map(|i| {
            let angle = std::f64::consts::TAU * i as f64 / degree as f64 + 0.4;
            (0.95 * angle.cos(), 0.95 * angle.sin())
        })
        .collect();
    for _ in 0..200 {
        let mut moved = 0.0f64;
        for i in 0..degree {
            let at = z[i];
            let (mut value, mut slope) = ((1.0, 0.0), (0.0, 0.0));
            for &a in c[..degree].iter().rev() {
                slope = add(times(slope, at), value);
                value = add(times(value, at), (a, 0.0));
            }
            let newton = over(value, slope);
            let mut repulsion = (0.0, 0.0);
            for (j, &other) in z.iter().enumerate() {
                if j != i {
                    repulsion = add(repulsion, over((1.0, 0.0), (at.0 - other.0, at.1 - other.1)));
                }
            }
            let shrink = times(newton, repulsion);
            let step = over(newton, (1.0 - shrink.0, -shrink.1));
            if step.0.is_finite() && step.1.is_finite() {
                z[i] = (at.0 - step.0, at.1 - step.1);
                moved = moved.max(step.0.hypot(step.1));
            }
        }
        if moved < 1e-13 {
            break;
        }
    }
    z.iter().map(|z| z.0.hypot(z.1)).fold(0.0, f64::max)
}

fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

fn times(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn over(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let size = b.0 * b.0 + b.1 * b.1;
    ((a.0 * b.0 + a.1 * b.1) / size, (a.1 * b.0 - a.0 * b.1) / size)
}

#[cfg(test)]
mod tests {
    use super::super::recursion::{State, one_step};
    use super::*;

    #[test]
    fn known_roots_are_found() {
        // (z - 2)(z + 0.5)(z² + 1) and (z - 0.3)^1 (z⁶ - 1).
        assert!((largest_root(&[-1.0, -1.5, 0.0, -1.5, 1.0]) - 2.0).abs() < 1e-10);
        assert!((largest_root(&[0.3, -1.0, 0.0, 0.0, 0.0, 0.0, -0.3, 1.0]) - 1.0).abs() < 1e-10);
    }

    #[test]
    fn the_test_agrees_with_how_the_recursion_forgets() {
        // Without data the forecasts of an admissible model stay bounded whatever the state; else they explode.
        let form: Form = "AAdA".parse().unwrap();
        let m = 4;
        let mut seen = [0, 0];
        for i in 0..60 {
            let part = |k: i32| f64::from((i * k) % 10) / 10.0;
            let p = Smoothing { alpha: 0.05 + 0.9 * part(3), beta: part(7), gamma: part(1) + 0.05, phi: 0.85 };
            let mut state = State { level: 1.0, slope: -1.0, season: vec![1.0, -1.0, 0.5, 0.2] };
            let mu = one_step(form, &[0.0; 4000], p, &mut state, false);
            let last = mu.map_or(f64::INFINITY, |mu| mu[3900..].iter().fold(0.0f64, |a, v| a.max(v.abs())));
            let good = admissible(form, p, m);
            seen[usize::from(good)] += 1;
            // The sum of the seasons never fades, hence bounded rather than vanishing.
            assert_eq!(good, last < 100.0, "{p:?}: {last}");
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }

    #[test]
    fn forms_without_a_season_are_admissible_in_the_whole_box() {
        let form: Form = "AAdN".parse().unwrap();
        for (alpha, beta, phi) in [(1e-4, 0.9999, 0.8), (0.9999, 0.9999, 0.98), (0.3, 0.9, 0.9)] {
            let p = Smoothing { alpha, beta, gamma: 0.0, phi };
            assert!(admissible(form, p, 1));
            let mut state = State { level: 1.0, slope: -1.0, season: vec![] };
            let mu = one_step(form, &[0.0; 400_000], p, &mut state, false).unwrap();
            assert!(mu.last().unwrap().abs() < 1e-2);
        }
    }
}
