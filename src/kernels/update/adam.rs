//! Adam and AdamW.

use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// The numbers of one step. `lr` and `beta1` are those of the current step; a schedule may change them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// Added to the root, outside of it.
    pub eps: f64,
    pub weight_decay: f64,
    /// Whether the decay shrinks the parameter itself (AdamW) or is added to the gradient (Adam).
    pub decoupled: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: false }
    }
}

/// Step `step` (from 1) of Adam:
///
/// g = gradient · `gradient_scale`, plus weight_decay · p when coupled (else p ← p (1 − lr · weight_decay));
/// m ← m + (1 − β₁)(g − m); v ← β₂ v + (1 − β₂) g²; p ← p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps).
///
/// The corrections take the β₁ of this step to the power t, not the product of past ones. `first` (m) and `second` (v) start at
/// zero. All slices have equal lengths. `gradient_scale` is there so that clipping needs no pass of its own; 1 changes no bit.
///
/// Source: Kingma & Ba (2015), algorithm 1; decoupled decay after Loshchilov & Hutter (2019), algorithm 2.
pub fn adam<T: Real>(
    rule: &Adam,
    step: u64,
    gradient_scale: f64,
    param: &mut [T],
    gradient: &[T],
    first: &mut [T],
    second: &mut [T],
) {
    let n = param.len();
    assert!(gradient.len() == n && first.len() == n && second.len() == n, "adam: lengths differ");
    assert!(step >= 1, "adam: steps count from 1");
    let Adam { lr, beta1, beta2, eps, weight_decay, decoupled } = *rule;
    let (correction1, correction2) = (1.0 - beta1.powf(step as f64), 1.0 - beta2.powf(step as f64));
    let t = T::from_f64;
    let numbers = Numbers {
        gradient_scale: t(gradient_scale),
        shrink: t(if decoupled { 1.0 - lr * weight_decay } else { 1.0 }),
        decay: t(if decoupled { 0.0 } else { weight_decay }),
        toward: t(1.0 - beta1),
        back: t(beta1),
        // Above one half the mean is taken from the other side, where it is exact at the end.
        near: 1.0 - beta1 < 0.5,
        beta2: t(beta2),
        rest2: t(1.0 - beta2),
        root: t(correction2.sqrt()),
        eps: t(eps),
        rate: t(-(lr / correction1)),
    };
    if chunks::worth_sharing(n) {
        let state = first.par_chunks_mut(chunks::CHUNK).zip(second.par_chunks_mut(chunks::CHUNK));
        let both = param.par_chunks_mut(chunks::CHUNK).zip(gradient.par_chunks(chunks::CHUNK)).zip(state);
        both.for_each(|((param, gradient), (first, second))| dispatch(Step { numbers, param, gradient, first, second }));
    } else {
        dispatch(Step { numbers, param, gradient, first, second });
    }
}

#[derive(Clone, Copy)]
struct Numbers<T> {
    gradient_scale: T,
    shrink: T,
    decay: T,
    toward: T,
    back: T,
    near: bool,
    beta2: T,
    rest2: T,
    root: T,
    eps: T,
    rate: T,
}

struct Step<'a, T> {
    numbers: Numbers<T>,
    param: &'a mut [T],
    gradient: &'a [T],
    first: &'a mut [T],
    second: &'a mut [T],
}

impl<T: Real> Kernel<T> for Step<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { numbers, param, gradient, first, second } = self;
        let mut p = param.chunks_exact_mut(V::N);
        let mut g = gradient.chunks_exact(V::N);
        let mut m = first.chunks_exact_mut(V::N);
        let mut v = second.chunks_exact_mut(V::N);
        for (((p, g), m), v) in (&mut p).zip(&mut g).zip(&mut m).zip(&mut v) {
            let (new_p, new_m, new_v) = numbers.at::<V>(V::load(p), V::load(g), V::load(m), V::load(v));
            new_p.store(p);
            new_m.store(m);
            new_v.store(v);
        }
        let (p, g, m, v) = (p.into_remainder(), g.remainder(), m.into_remainder(), v.into_remainder());
        let (new_p, new_m, new_v) =
            numbers.at::<V>(V::load_partial(p), V::load_partial(g), V::load_partial(m), V::load_partial(v));
        new_p.store_partial(p);
        new_m.store_partial(m);
        new_v.store_partial(v);
    }
}

impl<T: Real> Numbers<T> {
    /// New parameter, first and second moment.
    #[inline(always)]
    fn at<V: Lanes<T>>(self, p: V, g: V, m: V, v: V) -> (V, V, V) {
        let p = p.mul(V::splat(self.shrink));
        let g = g.mul(V::splat(self.gradient_scale));
        // Without decay, p · 0 would turn an infinite parameter's gradient into NaN.
        let g = if self.decay == T::ZERO { g } else { g.add(p.mul(V::splat(self.decay))) };
        let d = g.sub(m);
        let m = if self.near { m.add(d.mul(V::splat(self.toward))) } else { g.sub(d.mul(V::splat(self.back))) };
        let v = v.mul(V::splat(self.beta2)).add(g.mul(V::splat(self.rest2)).mul(g));
        let denominator = v.sqrt().div(V::splat(self.root)).add(V::splat(self.eps));
        (p.add(m.mul(V::splat(self.rate)).div(denominator)), m, v)
    }
}
