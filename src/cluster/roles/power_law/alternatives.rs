//! Other laws on the tail of a power law, and likelihood ratio tests against them.

use statrs::function::erf::erfc;

use super::{Counts, PowerLaw};
use crate::cluster::ClusterError;
use crate::cluster::roles::special::{chi_squared_p, hurwitz_zeta, two_sided_p};

/// A law to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// x is a log-normal number rounded to the next integer: p(x) ∝ Φ((ln(x + ½) − µ)/σ) − Φ((ln(x − ½) − µ)/σ).
    Lognormal,
    /// p(x) ∝ e^−λx.
    Exponential,
    /// A power law with exponential cut-off: p(x) ∝ x^−α e^−λx, λ ≥ 0. The power law is its case λ = 0.
    TruncatedPowerLaw,
}

impl Law {
    pub const ALL: &[Self] = &[Self::Lognormal, Self::Exponential, Self::TruncatedPowerLaw];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lognormal => "lognormal",
            Self::Exponential => "exponential",
            Self::TruncatedPowerLaw => "truncated-power-law",
        }
    }
}

/// A power law against another law.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    pub law: Law,
    /// (µ, σ), (λ, 0) or (α, λ).
    pub parameters: [f64; 2],
    /// Log-likelihood of the other law.
    pub log_likelihood: f64,
    /// Log-likelihood of the power law less that of the other: positive speaks for the power law.
    pub ratio: f64,
    /// Chance of a ratio this far from 0 if both laws were equally far from the truth (Vuong 1989); for the truncated power law, which
    /// contains the power law, by χ² with one degree of freedom.
    pub p: f64,
}

/// Log-likelihoods of single values of the tail under the power law.
fn of_power_law(law: &PowerLaw, values: &[u64]) -> Vec<f64> {
    let zeta = hurwitz_zeta(law.alpha, law.xmin as f64).0.ln();
    values.iter().map(|&x| -law.alpha * (x as f64).ln() - zeta).collect()
}

/// Fits another law to the tail of a fitted power law by maximum likelihood and tests one against the other.
///
/// The log-normal is searched over µ and σ from several starts with σ at least 10⁻³; on a true power law its likelihood may have no
/// largest value (µ → −∞ with σ → ∞ gives a power law), and µ is then held at −50 σ² of the logarithms. Errors: a likelihood that cannot
/// be computed. Source: Clauset et al. 2009, section 5 and appendix C; Vuong 1989.
pub fn compare(counts: &Counts, law: &PowerLaw, other: Law) -> Result<Comparison, ClusterError> {
    let (values, times) = counts.tail(law.xmin);
    let (parameters, theirs) = match other {
        Law::Exponential => exponential(values, times, law.xmin),
        Law::Lognormal => lognormal(values, times, law.xmin),
        Law::TruncatedPowerLaw => truncated(values, times, law),
    };
    let ours = of_power_law(law, values);
    let n = law.tail as f64;
    let sum = |f: &dyn Fn(usize) -> f64| (0..values.len()).map(|i| times[i] as f64 * f(i)).sum::<f64>();
    let ratio = sum(&|i| ours[i] - theirs[i]);
    let variance = sum(&|i| (ours[i] - theirs[i] - ratio / n).powi(2)) / n;
    let p = match other {
        Law::TruncatedPowerLaw => chi_squared_p(2.0 * ratio.abs(), 1.0),
        _ if variance > 0.0 => two_sided_p(ratio / (n * variance).sqrt()),
        _ => 1.0,
    };
    let log_likelihood = sum(&|i| theirs[i]);
    if !(ratio + p + log_likelihood).is_finite() {
        return Err(ClusterError::Numbers(format!("the likelihood of the {} law is {log_likelihood}", other.name())));
    }
    Ok(Comparison { law: other, parameters, log_likelihood, ratio, p })
}

/// p(x) = (1 − e^−λ) e^−λ(x − xmin); λ = ln(1 + 1 / (mean − xmin)) has the greatest likelihood.
fn exponential(values: &[u64], times: &[u64], xmin: u64) -> ([f64; 2], Vec<f64>) {
    let n: u64 = times.iter().sum();
    let above: f64 = values.iter().zip(times).map(|(&x, &t)| (x - xmin) as f64 * t as f64).sum::<f64>() / n as f64;
    let lambda = (1.0 / above).ln_1p();
    let first = (-(-lambda).exp()).ln_1p();
    ([lambda, 0.0], values.iter().map(|&x| first - lambda * (x - xmin) as f64).collect())
}

/// ln of ½ erfc(x), also where erfc has no digits left.
fn ln_tail(x: f64) -> f64 {
    if x < 20.0 {
        (0.5 * erfc(x)).ln()
    } else {
        // erfc(x) = e^−x² / (x √π) (1 − 1/2x² + 3/4x⁴ − …).
        let y = 1.0 / (2.0 * x * x);
        -x * x - (2.0 * x * std::f64::consts::PI.sqrt()).ln() + (-y + 3.0 * y * y - 15.0 * y * y * y).ln_1p()
    }
}

/// Log-likelihoods of single values under a rounded log-normal from `xmin` on.
fn of_lognormal(values: &[u64], xmin: u64, mu: f64, sigma: f64) -> Vec<f64> {
    let tail = |x: f64| ln_tail((x.ln() - mu) / (sigma * std::f64::consts::SQRT_2));
    let whole = tail(xmin as f64 - 0.5);
    let one = |&x: &u64| {
        let (above, beyond) = (tail(x as f64 - 0.5), tail(x as f64 + 0.5));
        // ln(e^above − e^beyond).
        above + (-(beyond - above).exp()).ln_1p() - whole
    };
    values.iter().map(one).collect()
}

fn lognormal(values: &[u64], times: &[u64], xmin: u64) -> ([f64; 2], Vec<f64>) {
    let n: u64 = times.iter().sum();
    let mean = values.iter().zip(times).map(|(&x, &t)| (x as f64).ln() * t as f64).sum::<f64>() / n as f64;
    let variance = values.iter().zip(times).map(|(&x, &t)| ((x as f64).ln() - mean).powi(2) * t as f64).sum::<f64>() / n as f64;
    let floor = mean - 50.0 * variance.max(1.0);
    let minus = |at: [f64; 2]| {
        let (mu, sigma) = (at[0], at[1].exp());
        if mu < floor || !(1e-3..=1e3).contains(&sigma) {
            return f64::INFINITY;
        }
        let sum: f64 = of_lognormal(values, xmin, mu, sigma).iter().zip(times).map(|(l, &t)| l * t as f64).sum();
        if sum.is_finite() { -sum } else { f64::INFINITY }
    };
    let ln_sd = 0.5 * variance.ln();
    let starts = [[mean, ln_sd], [mean - variance.sqrt(), ln_sd + 0.5], [mean - 4.0 * variance, ln_sd + 1.0]];
    let best = starts.iter().map(|&s| simplex(&minus, s, [0.5 * variance.sqrt(), 0.3])).min_by(|a, b| a.1.total_cmp(&b.1));
    let (at, _) = best.expect("there are starts");
    ([at[0], at[1].exp()], of_lognormal(values, xmin, at[0], at[1].exp()))
}

/// ln Σ_{x ≥ xmin} x^−α e^−λ(x − xmin).
///
/// The first terms are added, the rest is an integral with Euler-Maclaurin corrections at N = xmin + 40, where neighbouring terms are
/// alike to a few percent at most unless λ makes them vanish; the integral is taken by Simpson's rule over u = ln x.
fn ln_cutoff_sum(alpha: f64, lambda: f64, xmin: u64) -> f64 {
    if lambda <= 0.0 {
        return hurwitz_zeta(alpha, xmin as f64).0.ln();
    }
    let start = xmin as f64;
    let f = |x: f64| (-alpha * (x / start).ln() - lambda * (x - start)).exp();
    let end = start + 40.0;
    let mut sum = 0.0;
    let mut x = start;
    while x < end {
        let term = f(x);
        sum += term;
        if term < 1e-18 * sum {
            return sum.ln() - alpha * start.ln();
        }
        x += 1.0;
    }
    // f'(N) = −(α/N + λ) f, and the third derivative of the same shape.
    let rate = alpha / end + lambda;
    let third = rate.powi(3) + 3.0 * rate * alpha / (end * end) + 2.0 * alpha / end.powi(3);
    let last = f(end);
    sum += last * (0.5 + rate / 12.0 - third / 720.0);
    // ∫_N^∞ f dx = ∫ f(e^u) e^u du; below 1e-18 of the first term nothing is left.
    let far = {
        let mut far = (end + 42.0 / lambda).ln();
        if alpha > 1.0 {
            far = far.min(end.ln() + 42.0 / (alpha - 1.0));
        }
        far
    };
    const PIECES: usize = 2000;
    let h = (far - end.ln()) / PIECES as f64;
    let g = |i: usize| {
        let x = (end.ln() + h * i as f64).exp();
        f(x) * x
    };
    let inner: f64 = (1..PIECES).map(|i| g(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    sum += h / 3.0 * (g(0) + inner + g(PIECES));
    sum.ln() - alpha * start.ln()
}

fn truncated(values: &[u64], times: &[u64], law: &PowerLaw) -> ([f64; 2], Vec<f64>) {
    let n: u64 = times.iter().sum();
    let mean = |f: &dyn Fn(f64) -> f64| values.iter().zip(times).map(|(&x, &t)| f(x as f64) * t as f64).sum::<f64>() / n as f64;
    let (logs, above) = (mean(&|x| x.ln()), mean(&|x| x - law.xmin as f64));
    // In α and ln λ; λ = 0, the power law itself, is compared at the end.
    let minus = |at: [f64; 2]| {
        let (alpha, lambda) = (at[0], at[1].exp());
        if !(-5.0..=40.0).contains(&alpha) || !(1e-12..=50.0).contains(&lambda) {
            return f64::INFINITY;
        }
        let value = ln_cutoff_sum(alpha, lambda, law.xmin) + alpha * logs + lambda * above;
        if value.is_finite() { value } else { f64::INFINITY }
    };
    let rate = (1.0 / above.max(1e-9)).ln();
    let starts = [[law.alpha, rate - 4.0], [0.5 * law.alpha, rate - 0.5]];
    let best = starts.iter().map(|&s| simplex(&minus, s, [0.3, 1.0])).min_by(|a, b| a.1.total_cmp(&b.1));
    let (at, value) = best.expect("there are starts");
    let plain = hurwitz_zeta(law.alpha, law.xmin as f64).0.ln() + law.alpha * logs;
    let (alpha, lambda) = if plain <= value { (law.alpha, 0.0) } else { (at[0], at[1].exp()) };
    let whole = ln_cutoff_sum(alpha, lambda, law.xmin);
    let one = |&x: &u64| -alpha * (x as f64).ln() - lambda * (x - law.xmin) as f64 - whole;
    ([alpha, lambda], values.iter().map(one).collect())
}

/// The least value of a function of two variables by the simplex method of Nelder & Mead 1965, restarted twice from where it ends.
fn simplex(f: &dyn Fn([f64; 2]) -> f64, start: [f64; 2], size: [f64; 2]) -> ([f64; 2], f64) {
    let mut at = start;
    let mut value = f(at);
    for round in 0..3 {
        let shrink = 0.3f64.powi(round);
        let mut points = vec![(at, value)];
        for k in 0..2 {
            let mut p = at;
            p[k] += size[k] * shrink;
            points.push((p, f(p)));
        }
        for _ in 0..500 {
            points.sort_by(|a, b| a.1.total_cmp(&b.1));
            let spread = (points[2].1 - points[0].1).abs();
            let reach = (0..2).map(|k| (points[2].0[k] - points[0].0[k]).abs().max((points[1].0[k] - points[0].0[k]).abs()));
            if spread <= 1e-13 * points[0].1.abs() && reach.fold(0.0, f64::max) <= 1e-9 {
                break;
            }
            let middle = [0.5 * (points[0].0[0] + points[1].0[0]), 0.5 * (points[0].0[1] + points[1].0[1])];
            let worst = points[2];
            let along = |t: f64| {
                let p = [middle[0] + t * (worst.0[0] - middle[0]), middle[1] + t * (worst.0[1] - middle[1])];
                (p, f(p))
            };
            let reflected = along(-1.0);
            if reflected.1 < points[0].1 {
                let expanded = along(-2.0);
                points[2] = if expanded.1 < reflected.1 { expanded } else { reflected };
            } else if reflected.1 < points[1].1 {
                points[2] = reflected;
            } else {
                let inside = along(if reflected.1 < worst.1 { -0.5 } else { 0.5 });
                if inside.1 < worst.1.min(reflected.1) {
                    points[2] = inside;
                } else {
                    for i in 1..3 {
                        let p = [0.5 * (points[0].0[0] + points[i].0[0]), 0.5 * (points[0].0[1] + points[i].0[1])];
                        points[i] = (p, f(p));
                    }
                }
            }
        }
        points.sort_by(|a, b| a.1.total_cmp(&b.1));
        (at, value) = points[0];
    }
    (at, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_with_cutoff_is_a_sum() {
        for (alpha, lambda, xmin) in
            [(2.5, 0.01, 5), (1.2, 1e-4, 1), (0.3, 0.05, 20), (3.0, 2.0, 1), (-1.0, 0.1, 3), (2.9, 1e-6, 70)]
        {
            let terms = (xmin..xmin + 4_000_000u64).map(|x| (x as f64).powf(-alpha) * (-lambda * (x - xmin) as f64).exp());
            let sum: f64 = terms.take_while(|t| *t > 1e-300).sum();
            // Up to 4e6 roundings of a sum, and what is left out: below 1e-9 of it.
            let found = ln_cutoff_sum(alpha, lambda, xmin);
            assert!((found - sum.ln()).abs() < 2e-9, "{alpha} {lambda} {xmin}: {found} {}", sum.ln());
        }
        let near = ln_cutoff_sum(2.5, 1e-12, 4);
        assert!((near - hurwitz_zeta(2.5, 4.0).0.ln()).abs() < 1e-7);
    }

    #[test]
    fn laws_sum_to_one() {
        let values: Vec<u64> = (3..200_000).collect();
        for (mu, sigma) in [(1.0, 1.2), (-3.0, 2.0), (4.0, 0.5)] {
            let sum: f64 = of_lognormal(&values, 3, mu, sigma).iter().map(|l| l.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{mu} {sigma}: {sum}");
        }
        // Both sides of where ln_tail changes its form.
        assert!((ln_tail(19.9999999) - ln_tail(20.0000001)).abs() < 1e-5);
    }

    #[test]
    fn the_simplex_finds_the_valley() {
        let f = |p: [f64; 2]| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2);
        let (at, value) = simplex(&f, [-1.2, 1.0], [0.5, 0.5]);
        assert!(value < 1e-15 && (at[0] - 1.0).abs() < 1e-6 && (at[1] - 1.0).abs() < 1e-6, "{at:?} {value}");
    }
}
