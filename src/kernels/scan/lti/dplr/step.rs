//! One step at a time: constant memory, O(pairs·rank) operations for each channel, in f64 between states of any type.

use super::recurrence::{Advance, inner};
use super::{Dplr, OP};
use crate::kernels::bf16::Stored;
use crate::kernels::scan::lti::complex::{Complex, ComplexMut};
use crate::kernels::simd::Real;

/// The coefficients of one step, prepared once. C is C itself, not C̃.
#[derive(Debug, Clone)]
pub struct Stepper {
    channels: usize,
    pairs: usize,
    advance: Vec<Advance>,
    c: Vec<Vec<Complex>>,
}

impl Stepper {
    /// Panics when the sizes of the parameters do not fit.
    pub fn new<T: Real>(dplr: &Dplr<'_, T>) -> Self {
        dplr.check();
        let of: Vec<_> = (0..dplr.channels).map(|h| dplr.channel(h)).collect();
        let advance = of.iter().map(|c| Advance::new(c, false)).collect();
        Self { channels: dplr.channels, pairs: dplr.pairs, advance, c: of.into_iter().map(|c| c.c).collect() }
    }

    /// One row of u and y, (sequences, channels), for each sequence; takes the states (sequences, channels, pairs) on. Panics when sizes do
    /// not fit.
    pub fn step<T: Real>(&self, u: &[T], states: ComplexMut<'_, T>, y: &mut [T]) {
        self.step_stored(u, states, y);
    }

    /// [`step`](Self::step) with u and y as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, u: &[u16], states: ComplexMut<'_, f32>, y: &mut [u16]) {
        self.step_stored(u, states, y);
    }

    fn step_stored<T: Real, S: Stored<T>>(&self, u: &[S], mut states: ComplexMut<'_, T>, y: &mut [S]) {
        let (h, n) = (self.channels, self.pairs);
        assert!(u.len() == y.len() && u.len().is_multiple_of(h), "{OP}: u and y are rows of {h} channels");
        assert!(states.has(u.len() * n), "{OP}: states are {} x {h} x {n}", u.len() / h);
        let mut x = vec![Complex::ZERO; n];
        for (i, (u, y)) in u.iter().zip(y).enumerate() {
            x.iter_mut().enumerate().for_each(|(k, x)| *x = states.as_ref().at(i * n + k));
            self.advance[i % h].step(&mut x, u.number().to_f64());
            *y = S::nearest(T::from_f64(inner(self.c[i % h].iter().copied(), &x)));
            x.iter().enumerate().for_each(|(k, x)| states.set(i * n + k, *x));
        }
    }
}
