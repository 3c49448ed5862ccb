//! The state recursions of every form, without derivatives: [`Smoothing`], [`State`] and the filter.
//!
//! With the deseasonalised surprise d_t the states move, whatever the error kind, by
//!
//! ```text
//! q_t = l + φ b            (trend none: l; multiplicative: l·b^φ)
//! μ_t = q_t  |  q_t + s  |  q_t·s                      s: the seasonal state of this position
//! d_t = y - q  |  y - q - s  |  y/s - q
//! l'  = q + α d        b' = φ b + β d   (multiplicative: b^φ + β d / l)
//! s'  = s + γ d        (multiplicative season: s + γ (y/q - s))
//! ```
//!
//! The two error kinds differ in the likelihood only, because μ ε of a multiplicative error *is* y - μ.
//! Source: Hyndman, Koehler, Ord & Snyder, *Forecasting with Exponential Smoothing* (2008), tables 2.2 and 2.3, rewritten as above.

use super::form::{Form, SeasonKind, Trend};

/// Smoothing parameters; those that a form lacks are 0 (φ: 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Smoothing {
    /// Of the level.
    pub alpha: f64,
    /// Of the slope.
    pub beta: f64,
    /// Of the season.
    pub gamma: f64,
    /// Damping.
    pub phi: f64,
}

/// The state after some observation: level, slope and, by position in the cycle of the first observation, the season (m).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// l.
    pub level: f64,
    /// b; 0 where the form has no trend.
    pub slope: f64,
    /// s; empty where the form has no season.
    pub season: Vec<f64>,
}

/// The trend's arithmetic as a compile-time number: 0 none, 1 additive, 2 multiplicative.
pub(super) const fn trend_code(trend: Trend) -> u8 {
    match trend {
        Trend::None => 0,
        Trend::Additive | Trend::AdditiveDamped => 1,
        Trend::Multiplicative | Trend::MultiplicativeDamped => 2,
    }
}

/// The season's arithmetic as a compile-time number: 0 none, 1 additive, 2 multiplicative.
pub(super) const fn season_code(season: SeasonKind) -> u8 {
    match season {
        SeasonKind::None => 0,
        SeasonKind::Additive => 1,
        SeasonKind::Multiplicative => 2,
    }
}

/// Calls `$f::<T, S>($args)` for the trend and season of `$form`.
macro_rules! by_kind {
    ($form:expr, $f:ident, $($arg:expr),*) => {{
        let form: $crate::forecast::ets::form::Form = $form;
        match ($crate::forecast::ets::recursion::trend_code(form.trend), $crate::forecast::ets::recursion::season_code(form.season)) {
            (0, 0) => $f::<0, 0>($($arg),*),
            (0, 1) => $f::<0, 1>($($arg),*),
            (0, _) => $f::<0, 2>($($arg),*),
            (1, 0) => $f::<1, 0>($($arg),*),
            (1, 1) => $f::<1, 1>($($arg),*),
            (1, _) => $f::<1, 2>($($arg),*),
            (_, 0) => $f::<2, 0>($($arg),*),
            (_, 1) => $f::<2, 1>($($arg),*),
            (_, _) => $f::<2, 2>($($arg),*),
        }
    }};
}
pub(super) use by_kind;

/// b^φ, without the power function where φ is 1.
pub(super) fn damped_power(b: f64, phi: f64) -> f64 {
    if phi == 1.0 { b } else { b.powf(phi) }
}

/// Runs the recursion over `y` from `state` (left at the last observation), starting at position `start` of the cycle, and hands
/// (t, μ_t) to `visit`. Stops and returns false when `visit` does or when a multiplicative part meets a state that is not positive.
#[inline(always)]
pub(super) fn filter<const T: u8, const S: u8>(
    y: &[f64],
    p: Smoothing,
    state: &mut State,
    start: usize,
    mut visit: impl FnMut(usize, f64) -> bool,
) -> bool {
    let (mut l, mut b) = (state.level, state.slope);
    let mut i = start;
    let mut fine = true;
    for (t, &yt) in y.iter().enumerate() {
        let growth = if T == 2 { damped_power(b, p.phi) } else { p.phi * b };
        let q = match T {
            0 => l,
            1 => l + growth,
            _ => l * growth,
        };
        if T == 2 && !(l > 0.0 && b > 0.0) {
            fine = false;
            break;
        }
        let (mu, surprise) = match S {
            0 => (q, yt - q),
            1 => {
                let mu = q + state.season[i];
                (mu, yt - mu)
            }
            _ => {
                let s = state.season[i];
                if !(q > 0.0 && s > 0.0) {
                    fine = false;
                    break;
                }
                (q * s, yt / s - q)
            }
        };
        if !visit(t, mu) {
            fine = false;
            break;
        }
        if T == 1 {
            b = growth + p.beta * surprise;
        } else if T == 2 {
            b = growth + p.beta * surprise / l;
        }
        l = q + p.alpha * surprise;
        if S != 0 {
            let s = &mut state.season[i];
            *s += p.gamma * if S == 1 { surprise } else { yt / q - *s };
            i = if i + 1 == state.season.len() { 0 } else { i + 1 };
        }
    }
    state.level = l;
    state.slope = b;
    fine
}

/// The one-step forecasts μ_1..μ_n of `y`; `state` ends at the last observation. `None` where the form is undefined on the way:
/// a state of a multiplicative part or, with multiplicative errors (`positive`), a forecast that is not positive.
pub(super) fn one_step(form: Form, y: &[f64], p: Smoothing, state: &mut State, positive: bool) -> Option<Vec<f64>> {
    fn run<const T: u8, const S: u8>(y: &[f64], p: Smoothing, state: &mut State, positive: bool) -> Option<Vec<f64>> {
        let mut mu = Vec::with_capacity(y.len());
        let fine = filter::<T, S>(y, p, state, 0, |_, m| {
            mu.push(m);
            m.is_finite() && (!positive || m > 0.0)
        });
        fine.then_some(mu)
    }
    by_kind!(form, run, y, p, state, positive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoothing(alpha: f64, beta: f64, gamma: f64, phi: f64) -> Smoothing {
        Smoothing { alpha, beta, gamma, phi }
    }

    #[test]
    fn simple_smoothing_of_the_textbook() {
        // [3,5,4,6,7,6,8,9], α = 0.5, l0 = y1 -> level 8.0 (halves only: exact in binary).
        let y = [3.0, 5.0, 4.0, 6.0, 7.0, 6.0, 8.0, 9.0];
        let mut state = State { level: 3.0, slope: 0.0, season: vec![] };
        let mu = one_step(Form::SES, &y, smoothing(0.5, 0.0, 0.0, 1.0), &mut state, false).unwrap();
        assert_eq!(mu[..3], [3.0, 3.0, 4.0]);
        assert_eq!(state.level, 8.0);
    }

    #[test]
    fn both_error_kinds_share_the_recursion_of_the_error_correction_form() {
        // MAdM written as in table 2.3: l = (l + φb)(1 + αε), b = φb + β(l + φb)ε, s = s(1 + γε).
        let y = [10.0, 13.0, 9.0, 12.0, 15.0, 10.5, 13.0];
        let p = smoothing(0.4, 0.1, 0.2, 0.9);
        let mut state = State { level: 10.0, slope: 0.5, season: vec![0.9, 1.2, 0.9] };
        let (mut l, mut b, mut s) = (state.level, state.slope, state.season.clone());
        let form: Form = "MAdM".parse().unwrap();
        let mu = one_step(form, &y, p, &mut state, true).unwrap();
        for (t, &yt) in y.iter().enumerate() {
            let q = l + p.phi * b;
            assert!((mu[t] - q * s[t % 3]).abs() < 1e-12);
            let e = yt / (q * s[t % 3]) - 1.0;
            (l, b) = (q * (1.0 + p.alpha * e), p.phi * b + p.beta * q * e);
            s[t % 3] *= 1.0 + p.gamma * e;
        }
        assert!((state.level - l).abs() < 1e-12 && (state.slope - b).abs() < 1e-12);
        assert!(state.season.iter().zip(&s).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_multiplicative_trend_follows_its_own_table() {
        // MMdA: q = l b^φ, μ = q + s, l = q + αμε, b = b^φ + βμε/l, s = s + γμε.
        let y = [10.0, 13.0, 9.0, 12.0, 15.0];
        let p = smoothing(0.4, 0.1, 0.2, 0.9);
        let mut state = State { level: 10.0, slope: 1.05, season: vec![-1.0, 1.0] };
        let (mut l, mut b, mut s) = (state.level, state.slope, state.season.clone());
        let mu = one_step("MMdA".parse().unwrap(), &y, p, &mut state, true).unwrap();
        for (t, &yt) in y.iter().enumerate() {
            let q = l * b.powf(p.phi);
            let m = q + s[t % 2];
            assert!((mu[t] - m).abs() < 1e-12);
            (l, b) = (q + p.alpha * (yt - m), b.powf(p.phi) + p.beta * (yt - m) / l);
            s[t % 2] += p.gamma * (yt - m);
        }
        assert!((state.level - l).abs() < 1e-12 && (state.slope - b).abs() < 1e-12);
    }

    #[test]
    fn states_that_leave_the_positive_side_end_the_run() {
        let mut state = State { level: 1.0, slope: -2.0, season: vec![1.0, 1.0] };
        assert!(one_step("MAM".parse().unwrap(), &[1.0, 1.0], smoothing(0.1, 0.0, 0.0, 1.0), &mut state, true).is_none());
    }
}
