//! x · act(gate): gated units, forward and backward.
//!
//! Cost: one pass over memory each way. Source: Dauphin et al. 2017 (GLU), Shazeer 2020 (arXiv 2002.05202, SwiGLU).

use super::chunks;
use super::edge::{get, put};
use super::map::{Map2, map2};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// What the gate goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// g σ(g).
    Silu,
    /// σ(g).
    Sigmoid,
}

#[derive(Clone, Copy)]
struct Value(Gate);

impl<T: Real> Map2<T> for Value {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, x: V, gate: V) -> V {
        match self.0 {
            Gate::Silu => x.mul(math::silu::<T, V>(gate)),
            Gate::Sigmoid => x.mul(math::sigmoid::<T, V>(gate)),
        }
    }
}

struct Backward<'a, T> {
    kind: Gate,
    x: &'a [T],
    gate: &'a [T],
    g: &'a [T],
    dx: &'a mut [T],
    dgate: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { kind, x, gate, g, dx, dgate } = self;
        let mut at = 0;
        while at < x.len() {
            let end = (at + V::N).min(x.len());
            let (g, gate) = (get::<T, V>(&g[at..end]), get::<T, V>(&gate[at..end]));
            let (value, slope) = match kind {
                Gate::Silu => math::silu_and_derivative::<T, V>(gate),
                Gate::Sigmoid => {
                    let s = math::sigmoid::<T, V>(gate);
                    (s, s.mul(V::splat(T::ONE).sub(s)))
                }
            };
            put(g.mul(value), &mut dx[at..end]);
            put(g.mul(get::<T, V>(&x[at..end])).mul(slope), &mut dgate[at..end]);
            at = end;
        }
    }
}

impl Gate {
    /// `out = x · act(gate)`. Equal lengths.
    pub fn forward<T: Real>(self, x: &[T], gate: &[T], out: &mut [T]) {
        map2(Value(self), x, gate, out);
    }

    /// The gradients of `x` and of `gate`, from `g`, that of the result. Equal lengths.
    pub fn backward<T: Real>(self, x: &[T], gate: &[T], g: &[T], dx: &mut [T], dgate: &mut [T]) {
        let len = x.len();
        assert!([gate.len(), g.len(), dx.len(), dgate.len()].iter().all(|n| *n == len), "gate: lengths differ");
        let mut tasks: Vec<_> = Vec::new();
        for (i, (dx, dgate)) in dx.chunks_mut(chunks::CHUNK).zip(dgate.chunks_mut(chunks::CHUNK)).enumerate() {
            let range = i * chunks::CHUNK..i * chunks::CHUNK + dx.len();
            tasks.push(Backward { kind: self, x: &x[range.clone()], gate: &gate[range.clone()], g: &g[range], dx, dgate });
        }
        if chunks::worth_sharing(len) {
            crate::kernels::rows::for_each(tasks, dispatch);
        } else {
            tasks.into_iter().for_each(dispatch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{cast, close, differences, numbers, wide};

    #[test]
    fn gates_and_their_gradients() {
        for kind in [Gate::Silu, Gate::Sigmoid] {
            for len in [0, 1, 17, 100] {
                let (x, gate, g) = (numbers(1, len), numbers(2, len), numbers(3, len));
                let act = |v: f64| match kind {
                    Gate::Silu => v / (1.0 + (-v).exp()),
                    Gate::Sigmoid => 1.0 / (1.0 + (-v).exp()),
                };
                let forward = |x: &[f64], gate: &[f64]| {
                    let mut y = vec![f64::NAN; len];
                    kind.forward(x, gate, &mut y);
                    y
                };
                let exact: Vec<f64> = x.iter().zip(&gate).map(|(x, v)| x * act(*v)).collect();
                close(&forward(&x, &gate), &exact, 1e-14, "values");
                let (mut dx, mut dgate) = (vec![f64::NAN; len], vec![f64::NAN; len]);
                kind.backward(&x, &gate, &g, &mut dx, &mut dgate);
                let loss = |x: &[f64], gate: &[f64]| -> f64 { forward(x, gate).iter().zip(&g).map(|(y, g)| y * g).sum() };
                differences(&x, &dx, 1, 1e-8, "x", |x| loss(x, &gate));
                differences(&gate, &dgate, 1, 1e-8, "gate", |gate| loss(&x, gate));
                let mut y = vec![f32::NAN; len];
                kind.forward(&cast::<f32>(&x), &cast::<f32>(&gate), &mut y);
                close(&wide(&y), &exact, 1e-6, "f32");
            }
        }
    }
}
