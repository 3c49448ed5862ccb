//! Stochastic gradient descent with momentum.

use crate::kernels::elementwise::{chunks, edge};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    pub lr: f64,
    /// 0 needs no state.
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
}

/// g = gradient · `gradient_scale` + weight_decay · p; b ← momentum · b + g; p ← p − lr · (g + momentum · b with Nesterov, else b).
///
/// `velocity` (b) starts at zero and has the parameter's length; without momentum it is empty and p ← p − lr · g.
///
/// Source: Sutskever et al. (2013), "On the importance of initialization and momentum", in PyTorch's form, where the rate is
/// applied to the velocity.
pub fn sgd<T: Real>(rule: &Sgd, gradient_scale: f64, param: &mut [T], gradient: &[T], velocity: &mut [T]) {
    let Sgd { lr, momentum, nesterov, weight_decay } = *rule;
    let n = param.len();
    let with_state = momentum != 0.0;
    assert!(gradient.len() == n && velocity.len() == if with_state { n } else { 0 }, "sgd: lengths differ");
    let t = T::from_f64;
    let numbers =
        Numbers { gradient_scale: t(gradient_scale), decay: t(weight_decay), momentum: t(momentum), nesterov, rate: t(-lr) };
    let step = |param: &mut [T], gradient: &[T], velocity: &mut [T]| dispatch(Step { numbers, param, gradient, velocity });
    if !chunks::worth_sharing(n) {
        step(param, gradient, velocity);
        return;
    }
    let both = param.par_chunks_mut(chunks::CHUNK).zip(gradient.par_chunks(chunks::CHUNK));
    if with_state {
        both.zip(velocity.par_chunks_mut(chunks::CHUNK))
            .for_each(|((param, gradient), velocity)| step(param, gradient, velocity));
    } else {
        both.for_each(|(param, gradient)| step(param, gradient, &mut []));
    }
}

#[derive(Clone, Copy)]
struct Numbers<T> {
    gradient_scale: T,
    decay: T,
    momentum: T,
    nesterov: bool,
    rate: T,
}

struct Step<'a, T> {
    numbers: Numbers<T>,
    param: &'a mut [T],
    gradient: &'a [T],
    velocity: &'a mut [T],
}

impl<T: Real> Kernel<T> for Step<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { numbers: Numbers { gradient_scale, decay, momentum, nesterov, rate }, param, gradient, velocity } = self;
        for i in (0..param.len()).step_by(V::N) {
            let end = param.len().min(i + V::N);
            let p = edge::get::<T, V>(&param[i..end]);
            let mut g = edge::get::<T, V>(&gradient[i..end]).mul(V::splat(gradient_scale));
            if decay != T::ZERO {
                g = g.add(p.mul(V::splat(decay)));
            }
            if !velocity.is_empty() {
                let b = edge::get::<T, V>(&velocity[i..end]).mul(V::splat(momentum)).add(g);
                edge::put(b, &mut velocity[i..end]);
                g = if nesterov { g.add(b.mul(V::splat(momentum))) } else { b };
            }
            edge::put(p.add(g.mul(V::splat(rate))), &mut param[i..end]);
        }
    }
}
