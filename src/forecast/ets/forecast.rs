//! Forecast means and variances of every form.
//!
//! The mean is the recursion run on without errors, as in the literature. The variances, with c_k the effect of an error on the level
//! k steps later (α + β(φ + ... + φ^k), plus γ when k is a multiple of m):
//!
//! | forms | variance |
//! |---|---|
//! | additive error, linear (class 1) | exact: σ²(1 + Σ c_k²) |
//! | multiplicative error, linear (class 2) | exact: θ_h(1+σ²) - μ_h², θ_h = μ_h² + σ² Σ c_k² θ_{h-k} |
//! | multiplicative error and season (class 3) | exact second moments, see `Moments` |
//! | multiplicative error and trend, season none or multiplicative (class 4) | exact product of independent factors, see `Origin::product` |
//! | the rest: additive error with multiplicative parts, `MMA` (class 5) | first order in the errors |
//!
//! Source: Hyndman, Koehler, Ord & Snyder, *Forecasting with Exponential Smoothing* (2008), chapter 6. Changed: class 3 is theirs as
//! approximation (E q²·E s², a factor (1+γ²σ²)^k); here the joint moments of level, slope and season are carried, so that the
//! correlation between them is not dropped. Classes 4 and 5 are simulated there. Class 3 and 4 assume normal errors for ε⁴.

use super::form::{ErrorKind, Form, SeasonKind, Trend};
use super::recursion::{Smoothing, State, damped_power};

/// A form with its parameters at the forecast origin; `position` is the place of the first forecast in the cycle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub form: Form,
    pub smoothing: Smoothing,
    pub state: &'a State,
    pub position: usize,
}

/// One step of the error-free path.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Level and slope before the step.
    level: f64,
    slope: f64,
    /// Deseasonalised mean, seasonal state, mean.
    q: f64,
    season: f64,
    mu: f64,
}

impl Origin<'_> {
    /// Means of steps 1..=h. Cost: O(h).
    pub fn means(&self, h: usize) -> Vec<f64> {
        self.path(h).iter().map(|s| s.mu).collect()
    }

    /// Variances of steps 1..=h for one-step variance `sigma2` (of relative errors where the error is multiplicative).
    /// Cost: O(h) for class 1 and 4, O(h²) for class 2 and 5, O(h m) for class 3.
    pub fn variances(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let multiplicative = self.form.error == ErrorKind::Multiplicative;
        match (multiplicative, self.form.trend.multiplicative(), self.form.season) {
            (false, false, SeasonKind::None | SeasonKind::Additive) => self.additive(h, sigma2),
            (true, false, SeasonKind::None | SeasonKind::Additive) => self.relative(h, sigma2),
            (true, false, SeasonKind::Multiplicative) => self.seasonal_moments(h, sigma2),
            (true, true, SeasonKind::None | SeasonKind::Multiplicative) => self.product(h, sigma2),
            _ => self.first_order(h, sigma2),
        }
    }

    fn path(&self, h: usize) -> Vec<Step> {
        let Smoothing { phi, .. } = self.smoothing;
        let (mut level, mut slope) = (self.state.level, self.state.slope);
        let m = self.state.season.len();
        (0..h)
            .map(|k| {
                let (q, next) = match self.form.trend {
                    Trend::None => (level, slope),
                    t if t.multiplicative() => {
                        let growth = damped_power(slope, phi);
                        (level * growth, growth)
                    }
                    _ => (level + phi * slope, phi * slope),
                };
                let season = if m == 0 { 0.0 } else { self.state.season[(self.position + k) % m] };
                let mu = match self.form.season {
                    SeasonKind::None => q,
                    SeasonKind::Additive => q + season,
                    SeasonKind::Multiplicative => q * season,
                };
                let step = Step { level, slope, q, season, mu };
                (level, slope) = (q, next);
                step
            })
            .collect()
    }

    /// φ + ... + φ^k for k = 0..h.
    fn damped_counts(&self, h: usize) -> Vec<f64> {
        let (mut sum, mut power) = (0.0, 1.0);
        (0..h)
            .map(|_| {
                let now = sum;
                power *= self.smoothing.phi;
                sum += power;
                now
            })
            .collect()
    }

    /// c_1..c_{h-1}, preceded by an unused 0.
    fn effects(&self, h: usize) -> Vec<f64> {
        let p = self.smoothing;
        let m = self.state.season.len();
        let slope = if self.form.trend == Trend::None { 0.0 } else { p.beta };
        let mut c: Vec<f64> = self.damped_counts(h).iter().map(|count| p.alpha + slope * count).collect();
        if m > 0 {
            c.iter_mut().step_by(m).for_each(|c| *c += p.gamma);
        }
        if let Some(first) = c.first_mut() {
            *first = 0.0;
        }
        c
    }

    fn additive(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let mut sum = 1.0;
        self.effects(h)
            .iter()
            .map(|c| {
                sum += c * c;
                sigma2 * sum
            })
            .collect()
    }

    fn relative(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let c = self.effects(h);
        let mut theta = Vec::with_capacity(h);
        let mut out = Vec::with_capacity(h);
        for (i, mu) in self.means(h).into_iter().enumerate() {
            // The excess of θ over μ² is kept apart: subtracting μ² at the end would cancel digits.
            let excess = sigma2 * (1..=i).map(|k| c[k] * c[k] * theta[i - k]).sum::<f64>();
            theta.push(mu * mu + excess);
            out.push(excess + sigma2 * theta[i]);
        }
        out
    }

    fn seasonal_moments(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let m = self.state.season.len().max(1);
        let slope = if self.form.trend == Trend::None { 0.0 } else { self.state.slope };
        let p = Smoothing { phi: if self.form.trend == Trend::None { 0.0 } else { self.smoothing.phi }, ..self.smoothing };
        let mut all: Vec<Moments> = self.state.season.iter().map(|&s| Moments::certain(self.state.level, slope, s)).collect();
        (0..h)
            .map(|k| {
                let now = (self.position + k) % m;
                let variance = all.get(now).map_or(0.0, |a| a.observation_variance(p.phi, sigma2));
                for (i, moments) in all.iter_mut().enumerate() {
                    moments.advance(p, sigma2, i == now);
                }
                variance
            })
            .collect()
    }

    /// y_h = μ̃_h Π (1+αε)(1+βε)^{φ+...+φ^k}(1+γε)^[m | k] (1+ε_h), the product over the h - 1 independent past errors at lag k: the
    /// moments are products of one-dimensional integrals, taken by the trapezoidal rule (error below 1e-9 for a normal density).
    fn product(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let p = self.smoothing;
        let m = self.state.season.len();
        let sigma = sigma2.sqrt();
        let nodes: Vec<(f64, f64)> = (-24i32..=24).map(|i| f64::from(i) * 0.25).map(|z| (z, (-0.5 * z * z).exp())).collect();
        let total: f64 = nodes.iter().map(|(_, w)| w).sum();
        let counts = self.damped_counts(h);
        let (mut first, mut second) = (1.0, 1.0);
        let mut out = Vec::with_capacity(h);
        for (k, mu) in self.means(h).into_iter().enumerate() {
            if k > 0 {
                let (mut e1, mut e2) = (0.0, 0.0);
                for &(z, w) in &nodes {
                    // A state cannot turn negative: beyond -1 the factor is 0.
                    let part = |c: f64| (1.0 + c * sigma * z).max(0.0);
                    let seasonal = if m > 0 && k % m == 0 { part(p.gamma) } else { 1.0 };
                    let factor = part(p.alpha) * part(p.beta).powf(counts[k]) * seasonal;
                    e1 += w * factor;
                    e2 += w * factor * factor;
                }
                first *= e1 / total;
                second *= e2 / total;
            }
            out.push((mu * mu * (second * (1.0 + sigma2) - first * first)).max(0.0));
        }
        out
    }

    /// Every error moves level, slope and its season by their gains; the move is followed along the error-free path.
    fn first_order(&self, h: usize, sigma2: f64) -> Vec<f64> {
        let Smoothing { alpha, beta, gamma, phi } = self.smoothing;
        let path = self.path(h);
        let m = self.state.season.len();
        let seasonal = self.form.season == SeasonKind::Multiplicative;
        let relative = self.form.error == ErrorKind::Multiplicative;
        let mut spread = vec![0.0; h];
        for (j, at) in path.iter().enumerate() {
            let size = if relative { at.mu } else { 1.0 };
            let by_level = if seasonal { size / at.season } else { size };
            let mut dl = alpha * by_level;
            let mut db = match self.form.trend {
                Trend::None => 0.0,
                t if t.multiplicative() => beta * by_level / at.level,
                _ => beta * by_level,
            };
            let ds = gamma * if seasonal { size / at.q } else { size };
            for (i, step) in path.iter().enumerate().skip(j + 1) {
                let dq = match self.form.trend {
                    Trend::None => dl,
                    t if t.multiplicative() => {
                        let growth = damped_power(step.slope, phi);
                        let dg = phi * growth / step.slope * db;
                        db = dg;
                        growth * dl + step.level * dg
                    }
                    _ => {
                        db *= phi;
                        dl + db
                    }
                };
                let own = if m > 0 && (i - j) % m == 0 { ds } else { 0.0 };
                let dmu = if seasonal { step.season * dq + step.q * own } else { dq + own };
                spread[i] += sigma2 * dmu * dmu;
                dl = dq;
            }
        }
        let one_step = |mu: f64| if relative { mu * mu } else { 1.0 };
        path.iter().zip(spread).map(|(step, v)| v + sigma2 * if relative { one_step(step.mu) + v } else { 1.0 }).collect()
    }
}

/// First and second moments of (level, slope) times one seasonal state: E[z s] and E[z z' s²], z = (l, b).
///
/// A step with error ε maps z to A z + g (w'z) ε with A = [1 φ; 0 φ], w = (1, φ), g = (α, β), and the season that it meets to
/// s(1 + γε). Both moments obey a closed linear recursion, given E ε² = σ² and E ε⁴ = 3σ⁴. The second moment is carried as its
/// excess over that of the error-free path, which keeps the variance free of cancellation.
#[derive(Debug, Clone, Copy)]
struct Moments {
    /// Error-free z and s.
    path: [f64; 2],
    season: f64,
    /// E[z s] - path·s.
    first: [f64; 2],
    /// E[z z' s²] - path path'·s²: entries ll, lb, bb.
    second: [f64; 3],
}

impl Moments {
    fn certain(level: f64, slope: f64, season: f64) -> Self {
        Moments { path: [level, slope], season, first: [0.0; 2], second: [0.0; 3] }
    }

    /// var y for an observation of this season.
    fn observation_variance(&self, phi: f64, sigma2: f64) -> f64 {
        let mu = (self.path[0] + phi * self.path[1]) * self.season;
        let shift = self.first[0] + phi * self.first[1];
        let [ll, lb, bb] = self.second;
        let excess = ll + 2.0 * phi * lb + phi * phi * bb;
        // E y² - (E y)² with E y² = (μ² + excess)(1 + σ²), E y = μ + shift.
        (excess + sigma2 * (mu * mu + excess) - shift * (2.0 * mu + shift)).max(0.0)
    }

    fn advance(&mut self, p: Smoothing, sigma2: f64, met: bool) {
        let (alpha, beta, phi) = (p.alpha, p.beta, p.phi);
        let gamma = if met { p.gamma } else { 0.0 };
        let q = self.path[0] + phi * self.path[1];
        // E[(z' )(1+γε) s] = A v + γσ² g (w'v), v the full first moment.
        let full = [self.path[0] * self.season + self.first[0], self.path[1] * self.season + self.first[1]];
        let wv = full[0] + phi * full[1];
        let lift = gamma * sigma2 * wv;
        let first = [self.first[0] + phi * self.first[1] + alpha * lift, phi * self.first[1] + beta * lift];
        // Full second moment N: E = A N A'(1+γ²σ²) + 2γσ²(A N w g' + g w'N A') + (σ² + 3γ²σ⁴) g (w'N w) g'.
        let s2 = self.season * self.season;
        let [x, y] = self.path;
        let e = self.second;
        let n = [x * x * s2 + e[0], x * y * s2 + e[1], y * y * s2 + e[2]];
        let aea = [e[0] + phi * (2.0 * e[1] + phi * e[2]), phi * (e[1] + phi * e[2]), phi * phi * e[2]];
        let ana = [n[0] + phi * (2.0 * n[1] + phi * n[2]), phi * (n[1] + phi * n[2]), phi * phi * n[2]];
        let anw = [ana[0], ana[1]];
        let wnw = ana[0];
        let own = gamma * gamma * sigma2;
        let cross = 2.0 * gamma * sigma2;
        let outer = sigma2 * (1.0 + 3.0 * own);
        self.second = [
            aea[0] + own * ana[0] + cross * 2.0 * anw[0] * alpha + outer * wnw * alpha * alpha,
            aea[1] + own * ana[1] + cross * (anw[0] * beta + anw[1] * alpha) + outer * wnw * alpha * beta,
            aea[2] + own * ana[2] + cross * 2.0 * anw[1] * beta + outer * wnw * beta * beta,
        ];
        self.first = first;
        self.path = [q, phi * self.path[1]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        // Box-Muller.
        let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn setting(form: Form) -> (Smoothing, State) {
        let trend = form.trend != Trend::None;
        let p = Smoothing {
            alpha: 0.5,
            beta: if trend { 0.15 } else { 0.0 },
            gamma: if form.seasonal() { 0.3 } else { 0.0 },
            phi: if form.trend.damped() { 0.9 } else { 1.0 },
        };
        let slope = match form.trend {
            Trend::None => 0.0,
            t if t.multiplicative() => 1.03,
            _ => 3.0,
        };
        let season = match form.season {
            SeasonKind::None => vec![],
            SeasonKind::Additive => vec![10.0, -15.0, 5.0],
            SeasonKind::Multiplicative => vec![1.1, 0.8, 1.1],
        };
        (p, State { level: 100.0, slope, season })
    }

    /// Variances of `h` steps over seeded sample paths of the model written in error-correction form.
    fn simulate(form: Form, p: Smoothing, origin: &State, position: usize, sigma: f64, h: usize, paths: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (mut sums, mut squares) = (vec![0.0; h], vec![0.0; h]);
        for _ in 0..paths {
            let mut state = origin.clone();
            for k in 0..h {
                let at = Origin { form, smoothing: p, state: &state, position: position + k };
                let mu = at.means(1)[0];
                let e = sigma * normal(&mut rng);
                let y = if form.error == ErrorKind::Multiplicative { mu * (1.0 + e) } else { mu + e };
                sums[k] += y - 100.0;
                squares[k] += (y - 100.0) * (y - 100.0);
                let season = state.season.len();
                let start = if season == 0 { 0 } else { (position + k) % season };
                let mut visit = |_, _| true;
                super::super::recursion::by_kind!(form, step, y, p, &mut state, start, &mut visit);
            }
        }
        let n = paths as f64;
        sums.iter().zip(&squares).map(|(s, q)| q / n - (s / n) * (s / n)).collect()
    }

    fn step<const T: u8, const S: u8>(
        y: f64,
        p: Smoothing,
        state: &mut State,
        start: usize,
        visit: &mut dyn FnMut(usize, f64) -> bool,
    ) {
        super::super::recursion::filter::<T, S>(&[y], p, state, start, visit);
    }

    #[test]
    fn variances_agree_with_simulation_for_every_form() {
        let h = 8;
        for form in Form::all() {
            let (p, state) = setting(form);
            let relative = form.error == ErrorKind::Multiplicative;
            let sigma: f64 = if relative { 0.05 } else { 4.0 };
            let position = 1;
            let got = Origin { form, smoothing: p, state: &state, position }.variances(h, sigma * sigma);
            let seen = simulate(form, p, &state, position, sigma, h, 40_000);
            for k in 0..h {
                // A variance from 40,000 paths has a standard error of sqrt(2/40000) = 0.7 %: four of them. Class 5 neglects terms of
                // order σ², a few per cent here.
                let exact = form.linear() || (relative && !(form.trend.multiplicative() && form.season == SeasonKind::Additive));
                let tolerance = if exact { 0.03 } else { 0.08 };
                assert!((got[k] / seen[k] - 1.0).abs() < tolerance, "{form} step {}: {} against {}", k + 1, got[k], seen[k]);
            }
        }
    }

    #[test]
    fn seasonal_moments_equal_the_product_form_without_a_trend() {
        // MNM is also a product of independent factors: two derivations of one number, apart by the trapezoidal rule's 1e-9.
        let form: Form = "MNM".parse().unwrap();
        let (p, state) = setting(form);
        let origin = Origin { form, smoothing: p, state: &state, position: 2 };
        for (a, b) in origin.seasonal_moments(14, 0.01).iter().zip(origin.product(14, 0.01)) {
            assert!((a / b - 1.0).abs() < 1e-7, "{a} {b}");
        }
    }

    #[test]
    fn the_published_class_three_formula_is_exact_within_one_season() {
        // v = s²[θ_h(1+σ²)(1+γ²σ²)^k - μ̃²] with k = 0 up to h = m; θ from the class 2 recursion of level and trend alone.
        let form: Form = "MAdM".parse().unwrap();
        let (p, state) = setting(form);
        let sigma2 = 0.004;
        let got = Origin { form, smoothing: p, state: &state, position: 0 }.variances(3, sigma2);
        let bare: Form = "MAdN".parse().unwrap();
        let flat = State { season: vec![], ..state.clone() };
        let theta = Origin { form: bare, smoothing: p, state: &flat, position: 0 }.variances(3, sigma2);
        for k in 0..3 {
            let want = theta[k] * state.season[k] * state.season[k];
            assert!((got[k] / want - 1.0).abs() < 1e-12, "{} {want}", got[k]);
        }
    }

    #[test]
    fn one_step_variances_are_those_of_the_error() {
        for form in Form::all() {
            let (p, state) = setting(form);
            let origin = Origin { form, smoothing: p, state: &state, position: 0 };
            let mu = origin.means(1)[0];
            let want = if form.error == ErrorKind::Multiplicative { 0.01 * mu * mu } else { 0.01 };
            assert!((origin.variances(1, 0.01)[0] / want - 1.0).abs() < 1e-9, "{form}");
            assert!(origin.means(0).is_empty() && origin.variances(0, 0.01).is_empty());
        }
    }

    #[test]
    fn class_one_grows_as_the_textbook_says() {
        let (p, state) = setting(Form::SES);
        let v = Origin { form: Form::SES, smoothing: p, state: &state, position: 0 }.variances(4, 2.0);
        assert_eq!(v, [2.0, 2.5, 3.0, 3.5]);
    }
}
