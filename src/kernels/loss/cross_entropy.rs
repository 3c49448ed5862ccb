//! Cross entropy of classes, with the softmax inside.

use super::pointwise::{RUN, first_lanes};
use crate::kernels::elementwise::{chunks, edge};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// What [`cross_entropy`] may be told besides logits and classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropy<'a, T> {
    /// Rows of this class are left out.
    pub ignore: Option<u32>,
    /// Share ε of the target that is spread evenly over all classes, in [0, 1).
    pub smoothing: f64,
    /// One weight per class.
    pub weights: Option<&'a [T]>,
}

impl<T> Default for CrossEntropy<'_, T> {
    fn default() -> Self {
        Self { ignore: None, smoothing: 0.0, weights: None }
    }
}

/// A class that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cross entropy: row {row} names class {class}, there are {classes}")]
pub struct ClassOutOfRange {
    pub row: usize,
    pub class: u32,
    pub classes: usize,
}

/// Weighted mean over rows of −Σ_c q_c w_c log softmax(z)_c, where q is 1 − ε + ε/C on the row's class and ε/C elsewhere; the mean
/// is over the weights w of the rows' classes. Gradient: ((Σ q w) softmax(z) − q w) · share · `upstream`.
///
/// `logits`, `gradient`: (rows, classes), row-major; `targets`: rows. Fails when a class that is not ignored is not below
/// `classes`. Cost: one exponential an element; a row is read twice while it is in cache.
///
/// Source: label smoothing after Szegedy et al. (2016), weights and mean as in PyTorch's `cross_entropy`; a mean over no rows is 0
/// here, NaN there.
pub fn cross_entropy<T: Real>(
    options: CrossEntropy<'_, T>,
    logits: &[T],
    targets: &[u32],
    classes: usize,
    upstream: f64,
    gradient: Option<&mut [T]>,
) -> Result<f64, ClassOutOfRange> {
    let CrossEntropy { ignore, smoothing, weights } = options;
    assert_eq!(logits.len(), targets.len() * classes, "cross entropy: one row of logits per target");
    assert!((0.0..1.0).contains(&smoothing), "cross entropy: smoothing must be in [0, 1), got {smoothing}");
    if let Some(w) = weights {
        assert_eq!(w.len(), classes, "cross entropy: one weight per class");
    }
    let mut divisor = 0.0;
    for (row, &class) in targets.iter().enumerate().filter(|(_, c)| Some(**c) != ignore) {
        if class as usize >= classes {
            return Err(ClassOutOfRange { row, class, classes });
        }
        divisor += weights.map_or(1.0, |w| w[class as usize].to_f64());
    }
    let share = if divisor == 0.0 { 0.0 } else { 1.0 / divisor };
    let factor = upstream * share;
    let spread = smoothing / classes.max(1) as f64;
    let weight = |c: usize| weights.map_or(1.0, |w| w[c].to_f64());
    // ε/C · w_c, empty without smoothing.
    let even: Vec<T> = if smoothing > 0.0 { (0..classes).map(|c| T::from_f64(spread * weight(c))).collect() } else { Vec::new() };
    let even_sum: f64 = if smoothing > 0.0 { (0..classes).map(|c| spread * weight(c)).sum() } else { 0.0 };
    let rows = chunks::rows_per_task(classes);
    let part = |first: usize, gradient: Option<&mut [T]>| {
        let last = targets.len().min(first + rows);
        let logits = &logits[first * classes..last * classes];
        let targets = &targets[first..last];
        dispatch(Pass {
            logits,
            targets,
            classes,
            ignore,
            weights,
            keep: 1.0 - smoothing,
            even: &even,
            even_sum,
            factor,
            gradient,
        })
    };
    let shared = chunks::worth_sharing(logits.len());
    let total = match gradient {
        Some(gradient) => {
            assert_eq!(logits.len(), gradient.len(), "cross entropy: one gradient per logit");
            chunks::sum_tasks(gradient, (rows * classes).max(1), shared, |i, g| part(i * rows, Some(g)))
        }
        None => chunks::sum_over(targets.len().div_ceil(rows), shared, |i| part(i * rows, None)),
    };
    Ok(total * share)
}

struct Pass<'a, T> {
    logits: &'a [T],
    targets: &'a [u32],
    classes: usize,
    ignore: Option<u32>,
    weights: Option<&'a [T]>,
    keep: f64,
    even: &'a [T],
    even_sum: f64,
    factor: f64,
    gradient: Option<&'a mut [T]>,
}

impl<T: Real> Kernel<T> for Pass<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) -> f64 {
        let mut total = 0.0;
        for (row, &class) in self.targets.iter().enumerate() {
            let places = row * self.classes..(row + 1) * self.classes;
            let z = &self.logits[places.clone()];
            if Some(class) == self.ignore {
                if let Some(gradient) = self.gradient.as_deref_mut() {
                    gradient[places].fill(T::ZERO);
                }
                continue;
            }
            let class = class as usize;
            let own = self.keep * self.weights.map_or(1.0, |w| w[class].to_f64());
            let mass = own + self.even_sum;
            let top = largest::<T, V>(z);
            let mut gradient = self.gradient.as_deref_mut().map(|g| &mut g[places]);
            let sum = exponentials::<T, V>(z, top, gradient.as_deref_mut());
            total += mass * sum.ln() - own * (z[class] - top).to_f64();
            if !self.even.is_empty() {
                total -= dot_above::<T, V>(self.even, z, top);
            }
            if let Some(gradient) = gradient {
                let own = own * self.factor;
                finish::<T, V>(gradient, self.even, T::from_f64(mass * self.factor / sum), T::from_f64(self.factor));
                gradient[class] = gradient[class] - T::from_f64(own);
            }
        }
        total
    }
}

/// The largest number of `z`.
#[inline(always)]
fn largest<T: Real, V: Lanes<T>>(z: &[T]) -> T {
    let mut top = V::splat(T::from_f64(f64::NEG_INFINITY));
    let mut whole = z.chunks_exact(V::N);
    for z in &mut whole {
        top = V::load(z).max(top);
    }
    let mut top = top.max_lane();
    for &z in whole.remainder() {
        top = if z > top { z } else { top };
    }
    top
}

/// Σ exp(z − top); the exponentials go to `out`.
#[inline(always)]
fn exponentials<T: Real, V: Lanes<T>>(z: &[T], top: T, mut out: Option<&mut [T]>) -> f64 {
    let mut total = 0.0;
    let top = V::splat(top);
    let mut start = 0;
    while start < z.len() {
        let end = z.len().min(start + RUN * V::N);
        let mut run = V::splat(T::ZERO);
        let mut i = start;
        while i + V::N <= end {
            let e = math::exp::<T, V>(V::load(&z[i..]).sub(top));
            run = run.add(e);
            if let Some(out) = out.as_deref_mut() {
                e.store(&mut out[i..]);
            }
            i += V::N;
        }
        if i < end {
            let e = math::exp::<T, V>(V::load_partial(&z[i..end]).sub(top));
            run = run.add(first_lanes(e, end - i));
            if let Some(out) = out.as_deref_mut() {
                e.store_partial(&mut out[i..end]);
            }
        }
        total += run.sum().to_f64();
        start = end;
    }
    total
}

/// Σ w (z − top).
#[inline(always)]
fn dot_above<T: Real, V: Lanes<T>>(w: &[T], z: &[T], top: T) -> f64 {
    let mut total = 0.0;
    for (w, z) in w.chunks(RUN * V::N).zip(z.chunks(RUN * V::N)) {
        let mut run = V::splat(T::ZERO);
        for (w, z) in w.chunks(V::N).zip(z.chunks(V::N)) {
            run = edge::get::<T, V>(w).fma(edge::get::<T, V>(z).sub(V::splat(top)), run);
        }
        total += run.sum().to_f64();
    }
    total
}

/// `gradient = gradient · scale − even · factor`; no `even` counts as zeros.
#[inline(always)]
fn finish<T: Real, V: Lanes<T>>(gradient: &mut [T], even: &[T], scale: T, factor: T) {
    let (scale, factor) = (V::splat(scale), V::splat(factor));
    let mut i = 0;
    while i < gradient.len() {
        let end = gradient.len().min(i + V::N);
        let mut g = edge::get::<T, V>(&gradient[i..end]).mul(scale);
        if !even.is_empty() {
            g = edge::get::<T, V>(&even[i..end]).neg_fma(factor, g);
        }
        edge::put(g, &mut gradient[i..end]);
        i = end;
    }
}
