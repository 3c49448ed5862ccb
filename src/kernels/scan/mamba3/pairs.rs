//! Pairs of states laid as halves.

use super::Rotation;
use crate::kernels::simd::Real;

/// Where the states lie inside the kernels: pair i is (i, second + i).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs {
    pub count: usize,
    pub second: usize,
    pub states: usize,
    rotation: Rotation,
}

impl Pairs {
    pub(super) fn new(rotation: Rotation, states: usize, count: usize) -> Self {
        let second = if rotation == Rotation::Halves { states / 2 } else { count };
        Self { count, second, states, rotation }
    }

    /// Whether places inside are those outside.
    pub(super) fn straight(&self) -> bool {
        self.rotation == Rotation::Halves || self.count <= 1
    }

    /// Ranges of states that are not rotated, as starts and ends.
    #[inline(always)]
    pub(super) fn plain(&self) -> [(usize, usize); 2] {
        [(self.count, self.second), (self.second + self.count, self.states)]
    }

    /// The place outside of the state at place `i` inside.
    #[inline(always)]
    pub(super) fn outside(&self, i: usize) -> usize {
        match self.rotation {
            Rotation::Halves => i,
            Rotation::Pairwise if i < self.count => 2 * i,
            Rotation::Pairwise if i < 2 * self.count => 2 * (i - self.count) + 1,
            Rotation::Pairwise => i,
        }
    }

    /// Rows of states from the order outside to that inside.
    pub(super) fn enter<T: Real>(&self, from: &[T], to: &mut [T]) {
        if self.straight() {
            to.copy_from_slice(from);
            return;
        }
        let pairs = 2 * self.count;
        for (from, to) in from.chunks_exact(self.states).zip(to.chunks_exact_mut(self.states)) {
            let (first, rest) = to.split_at_mut(self.count);
            let (second, rest) = rest.split_at_mut(self.count);
            for ((pair, a), b) in from[..pairs].chunks_exact(2).zip(first).zip(second) {
                (*a, *b) = (pair[0], pair[1]);
            }
            rest.copy_from_slice(&from[pairs..]);
        }
    }

    /// The way back.
    pub(super) fn leave<T: Real>(&self, from: &[T], to: &mut [T]) {
        if self.straight() {
            to.copy_from_slice(from);
            return;
        }
        let pairs = 2 * self.count;
        for (from, to) in from.chunks_exact(self.states).zip(to.chunks_exact_mut(self.states)) {
            for (i, pair) in to[..pairs].chunks_exact_mut(2).enumerate() {
                (pair[0], pair[1]) = (from[i], from[self.count + i]);
            }
            to[pairs..].copy_from_slice(&from[pairs..]);
        }
    }

    /// A state (width, states) in the order outside as (states, width) inside.
    pub(super) fn enter_state<T: Real>(&self, from: &[T], width: usize, to: &mut [T]) {
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let at = self.outside(i);
            to.iter_mut().enumerate().for_each(|(c, to)| *to = from[c * self.states + at]);
        }
    }

    /// The way back.
    pub(super) fn leave_state<T: Real>(&self, from: &[T], width: usize, to: &mut [T]) {
        for (i, from) in from.chunks_exact(width).enumerate() {
            let at = self.outside(i);
            from.iter().enumerate().for_each(|(c, &from)| to[c * self.states + at] = from);
        }
    }
}
