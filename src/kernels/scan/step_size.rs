//! Step sizes and decays of heads from what a projection gives.
//!
//! * Δ = softplus(raw + bias), kept inside a range;
//! * A·Δ with A = −max(f(raw), floor), f(x) = softplus(x), or the heavy tail 1 + x for x >= 0 and 1/(1 − x) below.
//!
//! Cost: one pass over memory. Source: Mamba-2 (arXiv 2405.21060) for Δ, Mamba-3 (arXiv 2603.15569) and state-spaces/mamba for A.

use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// Rows of a task.
const ROWS: usize = 512;

/// Softplus with a bias for each column, kept inside a range. Rows of `bias.len()` numbers.
#[derive(Clone, Copy, Debug)]
pub struct StepSizes<'a, T> {
    pub bias: &'a [T],
    /// Smallest and largest Δ; outside of it the gradient is 0.
    pub range: [f64; 2],
}

struct Forward<'a, T>(StepSizes<'a, T>, &'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(StepSizes { bias, range }, raw, out) = self;
        let width = bias.len();
        let [low, high] = range.map(|v| V::splat(T::from_f64(v)));
        for (raw, out) in raw.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            each_vector!(V, width, |at, count| {
                let x = get::<T, V>(raw, at, count).add(get(bias, at, count));
                put(math::softplus::<T, V>(x).max(low).min(high), out, at, count);
            });
        }
    }
}

struct Backward<'a, T>(StepSizes<'a, T>, &'a [T], &'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(StepSizes { bias, range }, raw, dout, draw) = self;
        let width = bias.len();
        let [low, high] = range.map(|v| V::splat(T::from_f64(v)));
        let zero = V::splat(T::ZERO);
        for ((raw, dout), draw) in raw.chunks_exact(width).zip(dout.chunks_exact(width)).zip(draw.chunks_exact_mut(width)) {
            each_vector!(V, width, |at, count| {
                let x = get::<T, V>(raw, at, count).add(get(bias, at, count));
                let (size, slope) = math::softplus_and_derivative::<T, V>(x);
                let g = get::<T, V>(dout, at, count).mul(slope);
                let g = V::select(size.lt(low), zero, V::select(high.lt(size), zero, g));
                put(g, draw, at, count);
            });
        }
    }
}

impl<T: Real> StepSizes<'_, T> {
    fn check(&self, raw: usize, other: usize) {
        assert!(!self.bias.is_empty() && raw.is_multiple_of(self.bias.len()), "step sizes: rows of {} numbers", self.bias.len());
        assert_eq!(raw, other, "step sizes: as many as there are raw ones");
    }

    /// Writes Δ. Panics when sizes do not fit.
    pub fn forward(&self, raw: &[T], out: &mut [T]) {
        self.check(raw.len(), out.len());
        let size = ROWS * self.bias.len();
        let tasks: Vec<_> = raw.chunks(size).zip(out.chunks_mut(size)).collect();
        crate::kernels::rows::for_each(tasks, |(raw, out)| dispatch(Forward(*self, raw, out)));
    }

    /// Writes the gradient of the raw numbers; that of the bias is its sum over the rows. Panics when sizes do not fit.
    pub fn backward(&self, raw: &[T], dout: &[T], draw: &mut [T]) {
        self.check(raw.len(), dout.len());
        self.check(raw.len(), draw.len());
        let size = ROWS * self.bias.len();
        let tasks: Vec<_> = raw.chunks(size).zip(dout.chunks(size)).zip(draw.chunks_mut(size)).collect();
        crate::kernels::rows::for_each(tasks, |((raw, dout), draw)| dispatch(Backward(*self, raw, dout, draw)));
    }

    /// Adds rows to `sums`, in order.
    pub fn bias_gradient(&self, draw: &[T], sums: &mut [T]) {
        assert_eq!(sums.len(), self.bias.len(), "step sizes: one bias per column");
        crate::kernels::sums::add_columns(draw, sums);
    }
}

/// How A comes from the projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// 1 + x for x >= 0, 1/(1 − x) below: linear one way, slow the other.
    HeavyTail,
    Softplus,
}

/// A·Δ from the raw rate and Δ.
#[derive(Clone, Copy, Debug)]
pub struct Decay {
    pub rate: Rate,
    /// Least −A; below it the gradient of the raw rate is 0.
    pub floor: f64,
}

/// −A before the floor, and its slope.
#[inline(always)]
fn rate_of<T: Real, V: Lanes<T>>(rate: Rate, x: V) -> (V, V) {
    match rate {
        Rate::Softplus => math::softplus_and_derivative::<T, V>(x),
        Rate::HeavyTail => {
            let (zero, one) = (V::splat(T::ZERO), V::splat(T::ONE));
            let below = one.div(one.sub(x.min(zero)));
            (V::select(x.lt(zero), below, one.add(x)), below.mul(below))
        }
    }
}

struct DecayForward<'a, T>(Decay, &'a [T], &'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for DecayForward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(decay, raw, dt, out) = self;
        let floor = V::splat(T::from_f64(decay.floor));
        each_vector!(V, out.len(), |at, count| {
            let (rate, _) = rate_of::<T, V>(decay.rate, get(raw, at, count));
            let y = V::splat(T::ZERO).sub(rate.max(floor)).mul(get(dt, at, count));
            put(y, out, at, count);
        });
    }
}

struct DecayBackward<'a, T> {
    decay: Decay,
    raw: &'a [T],
    dt: &'a [T],
    dout: &'a [T],
    draw: &'a mut [T],
    ddt: &'a mut [T],
}

impl<T: Real> Kernel<T> for DecayBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { decay, raw, dt, dout, draw, ddt } = self;
        let (floor, zero) = (V::splat(T::from_f64(decay.floor)), V::splat(T::ZERO));
        each_vector!(V, dout.len(), |at, count| {
            let (rate, slope) = rate_of::<T, V>(decay.rate, get(raw, at, count));
            let g = zero.sub(get::<T, V>(dout, at, count));
            let d = V::select(rate.lt(floor), zero, g.mul(slope).mul(get(dt, at, count)));
            put(d, draw, at, count);
            put(g.mul(rate.max(floor)), ddt, at, count);
        });
    }
}

impl Decay {
    /// Writes A·Δ. Panics when lengths differ.
    pub fn forward<T: Real>(&self, raw: &[T], dt: &[T], out: &mut [T]) {
        assert!(raw.len() == out.len() && dt.len() == out.len(), "decays: one per raw rate and step size");
        dispatch(DecayForward(*self, raw, dt, out));
    }

    /// Writes the gradients of the raw rates and of Δ. Panics when lengths differ.
    pub fn backward<T: Real>(&self, raw: &[T], dt: &[T], dout: &[T], draw: &mut [T], ddt: &mut [T]) {
        let len = dout.len();
        assert!([raw.len(), dt.len(), draw.len(), ddt.len()].iter().all(|n| *n == len), "decays: one per raw rate and step size");
        dispatch(DecayBackward { decay: *self, raw, dt, dout, draw, ddt });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{cast, close, differences, numbers, wide};

    fn softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    #[test]
    fn step_sizes_are_softplus_inside_the_range_with_their_gradients() {
        let (rows, heads) = (700, 5);
        let (raw, bias, g) = (numbers(1, rows * heads), numbers(2, heads), numbers(3, rows * heads));
        let raw: Vec<f64> = raw.iter().map(|x| 6.0 * x).collect();
        let exact: Vec<f64> = raw.iter().enumerate().map(|(i, x)| softplus(x + bias[i % heads]).clamp(0.1, 4.0)).collect();
        fn run<T: Real>(raw: &[f64], bias: &[f64], g: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
            let (raw, bias, g) = (cast::<T>(raw), cast::<T>(bias), cast::<T>(g));
            let sizes = StepSizes { bias: &bias, range: [0.1, 4.0] };
            let nan = T::from_f64(f64::NAN);
            let (mut y, mut draw, mut sums) = (vec![nan; raw.len()], vec![nan; raw.len()], vec![T::ZERO; bias.len()]);
            sizes.forward(&raw, &mut y);
            sizes.backward(&raw, &g, &mut draw);
            sizes.bias_gradient(&draw, &mut sums);
            (wide(&y), wide(&draw), wide(&sums))
        }
        let (y, draw, dbias) = run::<f64>(&raw, &bias, &g);
        close(&y, &exact, 1e-14, "sizes");
        let loss = |raw: &[f64], bias: &[f64]| -> f64 { run::<f64>(raw, bias, &g).0.iter().zip(&g).map(|(y, g)| y * g).sum() };
        differences(&raw[..20], &draw[..20], 1, 1e-8, "raw", |first| {
            let mut all = raw.clone();
            all[..20].copy_from_slice(first);
            loss(&all, &bias)
        });
        // A sum of 700 terms, each differentiated to 1e-10.
        differences(&bias, &dbias, 1, 1e-7, "bias", |bias| loss(&raw, bias));
        let single = run::<f32>(&raw, &bias, &g);
        close(&single.0, &exact, 1e-6, "sizes in f32");
        close(&single.1, &draw, 1e-5, "gradients in f32");
    }

    #[test]
    fn decays_follow_their_rate_down_to_the_floor() {
        let len = 101;
        let raw: Vec<f64> = numbers(1, len).iter().map(|x| 5.0 * x).collect();
        let dt: Vec<f64> = numbers(2, len).iter().map(|x| x + 1.5).collect();
        let g = numbers(3, len);
        for rate in [Rate::HeavyTail, Rate::Softplus] {
            let decay = Decay { rate, floor: 0.22 };
            let f = |x: f64| match rate {
                Rate::Softplus => softplus(x),
                Rate::HeavyTail if x >= 0.0 => 1.0 + x,
                Rate::HeavyTail => 1.0 / (1.0 - x),
            };
            let exact: Vec<f64> = raw.iter().zip(&dt).map(|(&x, dt)| -f(x).max(0.22) * dt).collect();
            let forward = |raw: &[f64], dt: &[f64]| {
                let mut y = vec![f64::NAN; len];
                decay.forward(raw, dt, &mut y);
                y
            };
            close(&forward(&raw, &dt), &exact, 1e-14, "decays");
            let (mut draw, mut ddt) = (vec![f64::NAN; len], vec![f64::NAN; len]);
            decay.backward(&raw, &dt, &g, &mut draw, &mut ddt);
            assert!(draw.contains(&0.0) && draw.iter().any(|d| *d != 0.0));
            let loss = |raw: &[f64], dt: &[f64]| -> f64 { forward(raw, dt).iter().zip(&g).map(|(y, g)| y * g).sum() };
            differences(&raw, &draw, 1, 1e-8, "raw", |raw| loss(raw, &dt));
            differences(&dt, &ddt, 1, 1e-8, "dt", |dt| loss(&raw, dt));
        }
    }
}
