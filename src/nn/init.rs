//! Seeded initialisation of weights: the schemes layers ask for, drawn from our own streams.
//!
//! Values are drawn in row-major order in f64 and rounded once to f32, so a weight does not depend on the device it ends up on.

use crate::run::seed::Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};

/// An initialisation scheme. `fan_in`/`fan_out`: inputs and outputs of the layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All entries equal.
    Constant(f64),
    /// U(−bound, bound).
    Uniform { bound: f64 },
    /// N(0, std²).
    Normal { std: f64 },
    /// U(±1/√fan_in): PyTorch's default for a linear layer's weight and bias.
    FanInUniform { fan_in: usize },
    /// U(±gain √(3/fan_in)) (He et al. 2015).
    KaimingUniform { fan_in: usize, gain: f64 },
    /// N(0, gain²/fan_in) (He et al. 2015).
    KaimingNormal { fan_in: usize, gain: f64 },
    /// U(±√(6/(fan_in + fan_out))) (Glorot & Bengio 2010).
    XavierUniform { fan_in: usize, fan_out: usize },
    /// U(ln low, ln high): logarithms of step sizes.
    LogUniform { low: f64, high: f64 },
    /// ln U(low, high): logarithms of decay rates.
    LogOfUniform { low: f64, high: f64 },
    /// ln(1), ln(2), … ln(period), again and again: rates of S4D-Real.
    LogCounting { period: usize },
    /// Numbers whose softplus is exp(U(ln low, ln high)), `floor` at least: biases of step sizes.
    StepBias { low: f64, high: f64, floor: f64 },
}

impl Init {
    /// Draws `count` values.
    pub fn draw(self, count: usize, rng: &mut Rng) -> Vec<f32> {
        let root = |x: f64| if x.is_finite() { x.sqrt() } else { 0.0 };
        match self {
            Self::Constant(c) => vec![c as f32; count],
            Self::Uniform { bound } => uniform(bound, count, rng),
            Self::Normal { std } => normal(std, count, rng),
            Self::FanInUniform { fan_in } => uniform(root(1.0 / fan_in as f64), count, rng),
            Self::KaimingUniform { fan_in, gain } => uniform(gain * root(3.0 / fan_in as f64), count, rng),
            Self::KaimingNormal { fan_in, gain } => normal(gain * root(1.0 / fan_in as f64), count, rng),
            Self::XavierUniform { fan_in, fan_out } => uniform(root(6.0 / (fan_in + fan_out) as f64), count, rng),
            Self::LogUniform { low, high } => between(low.ln(), high.ln(), count, rng, |x| x),
            Self::LogOfUniform { low, high } => between(low, high, count, rng, f64::ln),
            Self::LogCounting { period } => (0..count).map(|i| ((i % period.max(1) + 1) as f64).ln() as f32).collect(),
            Self::StepBias { low, high, floor } => between(low.ln(), high.ln(), count, rng, |log| {
                let step = log.exp().max(floor);
                step + (-(-step).exp_m1()).ln()
            }),
        }
    }
}

fn uniform(bound: f64, count: usize, rng: &mut Rng) -> Vec<f32> {
    match Uniform::new_inclusive(-bound.abs(), bound.abs()) {
        Ok(d) => (0..count).map(|_| d.sample(rng) as f32).collect(),
        Err(_) => vec![0.0; count],
    }
}

/// `f` of U(low, high).
fn between(low: f64, high: f64, count: usize, rng: &mut Rng, f: impl Fn(f64) -> f64) -> Vec<f32> {
    match Uniform::new_inclusive(low, high) {
        Ok(d) => (0..count).map(|_| f(d.sample(rng)) as f32).collect(),
        Err(_) => vec![f(low) as f32; count],
    }
}

fn normal(std: f64, count: usize, rng: &mut Rng) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let z: f64 = StandardNormal.sample(rng);
            (std * z) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::seed::Streams;

    fn moments(v: &[f32]) -> (f64, f64, f64) {
        let n = v.len() as f64;
        let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let var = v.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        (mean, var.sqrt(), v.iter().fold(0.0, |m, x| m.max(f64::from(x.abs()))))
    }

    #[test]
    fn moments_and_bounds_are_those_of_the_scheme() {
        let n = 40_000;
        let cases = [
            (Init::FanInUniform { fan_in: 16 }, 0.25 / 3f64.sqrt(), 0.25),
            (Init::KaimingUniform { fan_in: 12, gain: 2f64.sqrt() }, (2.0f64 / 12.0).sqrt(), (6.0f64 / 12.0).sqrt()),
            (Init::XavierUniform { fan_in: 10, fan_out: 14 }, 0.5 / 3f64.sqrt(), 0.5),
            (Init::Normal { std: 0.02 }, 0.02, 0.02 * 6.0),
            (Init::KaimingNormal { fan_in: 25, gain: 1.0 }, 0.2, 0.2 * 6.0),
        ];
        for (i, (init, std, bound)) in cases.into_iter().enumerate() {
            let v = init.draw(n, &mut Streams::new(7).stream("test", i as u64));
            let (mean, got, largest) = moments(&v);
            // Five standard errors: of the mean std/√n, of the standard deviation at most std/√(2n) (normal).
            assert!(mean.abs() < 5.0 * std / (n as f64).sqrt(), "{init:?} mean {mean}");
            assert!((got / std - 1.0).abs() < 5.0 / (2.0 * n as f64).sqrt(), "{init:?} std {got}");
            assert!(largest <= bound * (1.0 + 1e-7), "{init:?} reaches {largest}");
        }
    }

    #[test]
    fn step_biases_and_log_rates_lie_where_they_should() {
        let mut rng = Streams::new(1).stream("test", 0);
        let steps = Init::StepBias { low: 1e-3, high: 1e-1, floor: 1e-4 }.draw(4000, &mut rng);
        let sizes: Vec<f64> = steps.iter().map(|x| f64::from(*x).exp().ln_1p()).collect();
        assert!(sizes.iter().all(|s| (0.999e-3..=1.001e-1).contains(s)));
        // The median of a log-uniform draw is the geometric mean, 0.01; half of 4000 draws, within five standard errors.
        assert!((sizes.iter().filter(|s| **s < 1e-2).count() as f64 - 2000.0).abs() < 160.0);
        assert!(Init::LogOfUniform { low: 1.0, high: 16.0 }.draw(100, &mut rng).iter().all(|a| (0.0..=16f32.ln()).contains(a)));
        assert_eq!(Init::LogCounting { period: 2 }.draw(3, &mut rng), [0.0, 2f32.ln(), 0.0]);
    }

    #[test]
    fn same_stream_same_values() {
        let draw = || Init::Normal { std: 1.0 }.draw(5, &mut Streams::new(3).stream("w", 0));
        assert_eq!(draw(), draw());
        assert_eq!(Init::Constant(0.5).draw(2, &mut Streams::new(3).stream("w", 0)), [0.5, 0.5]);
    }
}
