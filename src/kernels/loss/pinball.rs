//! Pinball loss: regression on quantiles.

use super::pointwise::{Weights, first_lanes};
use crate::kernels::elementwise::{chunks, edge};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Mean over rows and quantiles of max(q (y − f), (q − 1)(y − f)); gradient −q below the target, 1 − q above it, 0 on it, times
/// share and `upstream`.
///
/// `prediction`, `gradient`: (n, quantiles), row-major; `target`: n; weights: one per row, and a row counts as one term for each
/// quantile. One pass over memory.
///
/// Source: Koenker & Bassett (1978), "Regression quantiles".
pub fn pinball<T: Real>(
    quantiles: &[f64],
    prediction: &[T],
    target: &[T],
    weights: Weights<'_, T>,
    upstream: f64,
    gradient: Option<&mut [T]>,
) -> f64 {
    let width = quantiles.len();
    assert_eq!(prediction.len(), target.len() * width, "pinball: one prediction per target and quantile");
    let (weights, share) = weights.resolve(target.len());
    if width == 0 {
        return 0.0;
    }
    let share = share / width as f64;
    // N rows are `width` whole vectors: the quantiles of their elements, once for all rows.
    let levels: Vec<T> = (0..T::LANES * width).map(|i| T::from_f64(quantiles[i % width])).collect();
    // Tasks are whole groups of N rows, so that every task starts at the first quantile.
    let rows = (chunks::rows_per_task(width) / T::LANES).max(1) * T::LANES;
    let part = |first: usize, gradient: Option<&mut [T]>| {
        let last = target.len().min(first + rows);
        dispatch(Pass {
            levels: &levels,
            prediction: &prediction[first * width..last * width],
            target: &target[first..last],
            weights: weights.map(|w| &w[first..last]),
            factor: T::from_f64(upstream * share),
            gradient,
        })
    };
    let shared = chunks::worth_sharing(prediction.len());
    let total: f64 = match gradient {
        Some(gradient) => {
            assert_eq!(prediction.len(), gradient.len(), "pinball: one gradient per prediction");
            chunks::sum_tasks(gradient, rows * width, shared, |i, g| part(i * rows, Some(g)))
        }
        None => chunks::sum_over(target.len().div_ceil(rows), shared, |i| part(i * rows, None)),
    };
    total * share
}

struct Pass<'a, T> {
    levels: &'a [T],
    prediction: &'a [T],
    target: &'a [T],
    weights: Option<&'a [T]>,
    factor: T,
    gradient: Option<&'a mut [T]>,
}

impl<T: Real> Kernel<T> for Pass<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> f64 {
        let Self { levels, prediction, target, weights, factor, mut gradient } = self;
        let width = levels.len() / V::N;
        let (zero, one, factor) = (V::splat(T::ZERO), V::splat(T::ONE), V::splat(factor));
        // Targets and weights of one group of rows, repeated for each quantile.
        let mut y = vec![T::ZERO; levels.len()];
        let mut w = vec![T::ONE; levels.len()];
        let mut total = 0.0;
        for first in (0..target.len()).step_by(V::N) {
            let last = target.len().min(first + V::N);
            for (row, places) in y.chunks_exact_mut(width).zip(first..last) {
                row.fill(target[places]);
            }
            if let Some(weights) = weights {
                for (row, places) in w.chunks_exact_mut(width).zip(first..last) {
                    row.fill(weights[places]);
                }
            }
            let (start, end) = (first * width, last * width);
            let mut run = zero;
            for offset in (0..end - start).step_by(V::N) {
                let here = start + offset..end.min(start + offset + V::N);
                let (f, q) = (edge::get::<T, V>(&prediction[here.clone()]), V::load(&levels[offset..]));
                // Lanes past the end hold a prediction of 0 and some row's target: taken out of the sum by their zero weight.
                let weight = V::load(&w[offset..]);
                let d = V::load(&y[offset..]).sub(f);
                let (below, above) = (q.mul(d), q.sub(one).mul(d));
                let loss = V::select(below.lt(above), above, below);
                let slope = V::select(d.lt(zero), one.sub(q), V::select(zero.lt(d), q.neg(), d));
                let out = weight.abs().le(zero);
                let mut loss = V::select(out, zero, weight.mul(loss));
                if here.len() < V::N {
                    loss = first_lanes(loss, here.len());
                }
                run = run.add(loss);
                if let Some(gradient) = gradient.as_deref_mut() {
                    edge::put(V::select(out, zero, weight.mul(slope)).mul(factor), &mut gradient[here]);
                }
            }
            total += run.sum().to_f64();
        }
        total
    }
}
