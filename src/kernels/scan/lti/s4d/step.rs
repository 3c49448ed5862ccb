//! One step at a time: constant memory, whatever came before.

use super::{OP, S4d};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::lti::complex::{Complex, ComplexMut};
use crate::kernels::scan::lti::modes::Rule;
use crate::kernels::scan::lti::s4d::coefficients::{Gathered, mode_at};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

/// The coefficients of one step, prepared once.
///
/// Ā is held as a rounded number and what the rounding took away: over many steps the error of a rounded Ā alone would grow with
/// their number.
#[derive(Debug, Clone)]
pub struct Stepper<T> {
    channels: usize,
    pairs: usize,
    /// (channels, pairs): Ā, its rest, B̄ and 2C, real and imaginary parts.
    fields: [Vec<T>; 8],
    skip: Vec<T>,
}

/// Ā, B̄ and C of all pairs of a vector of channels.
struct Modes<'a> {
    rule: Rule,
    x: Gathered<'a>,
    to: &'a mut [f64],
}

impl Kernel<f64> for Modes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let each = self.to.len() / 6;
        let mut at = 0;
        while at < each {
            let [a, b, c] = mode_at::<V>(self.rule, &self.x, at);
            for (k, v) in [a.re, a.im, b.re, b.im, c.re, c.im].into_iter().enumerate() {
                v.store(&mut self.to[k * each + at..]);
            }
            at += V::N;
        }
    }
}

impl<T: Real> Stepper<T> {
    /// Panics when the sizes of the parameters do not fit.
    pub fn new(s4d: &S4d<'_, T>) -> Self {
        s4d.check_parameters();
        let (h, n, lanes) = (s4d.channels, s4d.pairs, T::LANES);
        let mut fields: [Vec<T>; 8] = std::array::from_fn(|_| vec![T::ZERO; h * n]);
        for first in (0..h).step_by(lanes) {
            let channels: Range<usize> = first..h.min(first + lanes);
            let each = n * lanes;
            with_scratch((Gathered::ARRAYS + 6) * each, |buffer: &mut [f64]| {
                let (gathered, modes) = buffer.split_at_mut(Gathered::ARRAYS * each);
                let x = Gathered::new(s4d, channels.clone(), gathered);
                dispatch(Modes { rule: s4d.rule, x, to: modes });
                for (lane, channel) in channels.clone().enumerate() {
                    for pair in 0..n {
                        let at = |k: usize| modes[k * each + pair * lanes + lane];
                        let rounded = [0, 1].map(|k| T::from_f64(at(k)));
                        let rest = [0, 1].map(|k| at(k) - rounded[k].to_f64());
                        let values = [rest[0], rest[1], at(2), at(3), 2.0 * at(4), 2.0 * at(5)].map(T::from_f64);
                        for (field, value) in fields.iter_mut().zip(rounded.into_iter().chain(values)) {
                            field[channel * n + pair] = value;
                        }
                    }
                }
            });
        }
        Self { channels: h, pairs: n, fields, skip: s4d.skip.map_or_else(|| vec![T::ZERO; h], <[T]>::to_vec) }
    }

    /// Ā and B̄ of a pair of a channel, as they are used.
    pub fn mode(&self, channel: usize, pair: usize) -> (Complex, Complex) {
        let at = |k: usize| self.fields[k][channel * self.pairs + pair].to_f64();
        (Complex::new(at(0) + at(2), at(1) + at(3)), Complex::new(at(4), at(5)))
    }

    /// One row of u and y, (sequences, channels), for each sequence; takes the states (sequences, channels, pairs) on. Panics when sizes do
    /// not fit.
    pub fn step(&self, u: &[T], states: ComplexMut<'_, T>, y: &mut [T]) {
        self.step_stored(u, states, y);
    }

    fn step_stored<S: Stored<T>>(&self, u: &[S], states: ComplexMut<'_, T>, y: &mut [S]) {
        let (h, n) = (self.channels, self.pairs);
        assert!(u.len() == y.len() && u.len().is_multiple_of(h), "{OP}: u and y are rows of {h} channels");
        assert!(states.has(u.len() * n), "{OP}: states are {} x {h} x {n}", u.len() / h);
        dispatch(Step { of: self, u, states, y });
    }
}

impl Stepper<f32> {
    /// [`step`](Self::step) with u and y as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, u: &[u16], states: ComplexMut<'_, f32>, y: &mut [u16]) {
        self.step_stored(u, states, y);
    }
}

struct Step<'a, T, S> {
    of: &'a Stepper<T>,
    u: &'a [S],
    states: ComplexMut<'a, T>,
    y: &'a mut [S],
}

impl<T: Real, S: Stored<T>> Kernel<T> for Step<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let (h, n) = (self.of.channels, self.of.pairs);
        for (i, y) in self.y.iter_mut().enumerate() {
            let (input, channel) = (self.u[i].number(), i % h);
            let u = V::splat(input);
            let mut sum = V::splat(T::ZERO);
            let mut at = 0;
            while at < n {
                let (place, count) = (channel * n + at..channel * n + n.min(at + V::N), n.min(at + V::N) - at);
                let state = i * n + at..i * n + at + count;
                let mut f = [sum; 8];
                for (f, field) in f.iter_mut().zip(&self.of.fields) {
                    *f = V::load_partial(&field[place.clone()]);
                }
                let [re, im, rest_re, rest_im, b_re, b_im, c_re, c_im] = f;
                let (x, x_im) =
                    (V::load_partial(&self.states.re[state.clone()]), V::load_partial(&self.states.im[state.clone()]));
                let small = rest_im.neg_fma(x_im, rest_re.fma(x, b_re.mul(u)));
                let small_im = rest_im.fma(x, rest_re.fma(x_im, b_im.mul(u)));
                let new = im.neg_fma(x_im, re.fma(x, small));
                let new_im = im.fma(x, re.fma(x_im, small_im));
                new.store_partial(&mut self.states.re[state.clone()]);
                new_im.store_partial(&mut self.states.im[state]);
                sum = c_im.neg_fma(new_im, c_re.fma(new, sum));
                at += V::N;
            }
            *y = S::nearest(self.of.skip[channel].fma(input, sum.sum()));
        }
    }
}
