//! A dense linear recurrence whose transition has low rank: h_t = U·(Vᵀ·h_{t−1}) + b_t.
//!
//! U and V are (states, rank); every step has `lines` states side by side, such as one for each channel, which share U and V.
//!
//! # How
//! With g_t = Vᵀ·h_t the recurrence has `rank` numbers: g_t = W·g_{t−1} + Vᵀ·b_t with W = Vᵀ·U, and h_t = U·g_{t−1} + b_t. So there are
//! two products over all steps at once, and a small recurrence between them. With few lines that one is cut into chunks of time, which
//! start from zero side by side; what each would have started from is carried from chunk to chunk by W^Q and added by powers of W.
//! Backward is the same recurrence in reverse for γ_t = Uᵀ·λ_t, λ_t being the gradient of h_t with all that follows from it.
//!
//! # Cost
//! 4·states·rank operations for each line and step, and 2·rank² (4·rank² in chunks) for the recurrence, against 2·states² of a dense
//! transition. Backward 10·states·rank and as much for the recurrence. A read of b and a write of h. The two products run on all threads,
//! the recurrence on one for each sequence and 64 lines.
//!
//! The recurrence is stable if the spectral norm of U·Vᵀ is below 1; nothing here looks after that.
//!
//! # Source
//! DLRMamba, 2026 (arXiv 2603.06920), equation 5.

mod recurrence;
pub mod reference;
#[cfg(test)]
mod tests;

use super::Sequences;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use recurrence::Recurrence;

const OP: &str = "low-rank transition";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a, T> {
    pub sequences: Sequences<'a>,
    /// States side by side at a step.
    pub lines: usize,
    /// Numbers of a state.
    pub states: usize,
    pub rank: usize,
    /// (states, rank).
    pub u: &'a [T],
    /// (states, rank).
    pub v: &'a [T],
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    pub b: Option<&'a mut [T]>,
    pub u: Option<&'a mut [T]>,
    pub v: Option<&'a mut [T]>,
    /// Of the states before the first steps.
    pub initial: Option<&'a mut [T]>,
}

impl<T> Default for Gradients<'_, T> {
    fn default() -> Self {
        Self { b: None, u: None, v: None, initial: None }
    }
}

impl<T: Real> LowRank<'_, T> {
    /// Numbers of the states of all sequences, (sequences, lines, states).
    pub fn state_len(&self) -> usize {
        self.sequences.count() * self.lines * self.states
    }

    fn check(&self, b: &[T]) {
        self.sequences.check(OP);
        let (rows, m, n, r) = (self.sequences.rows(), self.lines, self.states, self.rank);
        assert!(m > 0 && n > 0 && r > 0, "{OP}: {m} lines of {n} states, rank {r}");
        assert!(self.u.len() == n * r && self.v.len() == n * r, "{OP}: U and V are {n} x {r}");
        assert_eq!(b.len(), rows * m * n, "{OP}: b is {rows} x {m} x {n}");
    }

    fn check_states(&self, states: Option<&[T]>) {
        let (count, m, n) = (self.sequences.count(), self.lines, self.states);
        assert!(states.is_none_or(|h| h.len() == self.state_len()), "{OP}: states are {count} x {m} x {n}");
    }

    fn u(&self) -> MatRef<'_, T> {
        MatRef::new(self.u, self.states, self.rank)
    }

    fn v(&self) -> MatRef<'_, T> {
        MatRef::new(self.v, self.states, self.rank)
    }

    /// x·M for states x in rows.
    fn project(&self, x: &[T], by: MatRef<'_, T>) -> Vec<T> {
        let rows = x.len() / self.states;
        let mut to = vec![T::ZERO; rows * self.rank];
        matmul(MatRef::new(x, rows, self.states), by, MatMut::new(&mut to, rows, self.rank), false);
        to
    }

    /// states += g·Mᵀ.
    fn expand(&self, g: &[T], by: MatRef<'_, T>, states: &mut [T]) {
        let rows = states.len() / self.states;
        matmul(MatRef::new(g, rows, self.rank), by.t(), MatMut::new(states, rows, self.states), true);
    }

    /// Vᵀ·U transposed: what a row g is multiplied by in each step.
    fn inner(&self) -> Vec<T> {
        let mut inner = vec![T::ZERO; self.rank * self.rank];
        matmul(self.u().t(), self.v(), MatMut::new(&mut inner, self.rank, self.rank), false);
        inner
    }

    fn recurrence<'a>(&'a self, by: MatRef<'a, T>, reverse: bool) -> Recurrence<'a, T> {
        Recurrence { sequences: self.sequences, lines: self.lines, rank: self.rank, by, reverse }
    }

    /// Writes the states after each step, (rows, lines, states) as b, and if wanted those after the last steps. `initial`: the states before
    /// the first steps, zeros without. Panics when sizes do not fit.
    pub fn forward(&self, b: &[T], initial: Option<&[T]>, h: &mut [T], last: Option<&mut [T]>) {
        self.check(b);
        self.check_states(initial);
        self.check_states(last.as_deref());
        assert_eq!(h.len(), b.len(), "{OP}: the result is as long as b");
        let (first, inner) = (initial.map(|h| self.project(h, self.v())), self.inner());
        let by = MatRef::new(&inner, self.rank, self.rank);
        let (before, _) = self.recurrence(by, false).run(&self.project(b, self.v()), first.as_deref());
        h.copy_from_slice(b);
        self.expand(&before, self.u(), h);
        if let Some(last) = last {
            let each = self.lines * self.states;
            for (i, rows) in self.sequences.iter().enumerate() {
                let last = &mut last[i * each..(i + 1) * each];
                match (rows.is_empty(), initial) {
                    (false, _) => last.copy_from_slice(&h[(rows.end - 1) * each..rows.end * each]),
                    (true, Some(initial)) => last.copy_from_slice(&initial[i * each..(i + 1) * each]),
                    (true, None) => last.fill(T::ZERO),
                }
            }
        }
    }

    /// From the result `h` of [`forward`](Self::forward), what it was given before the first steps, and the gradients of h and (zeros
    /// without) of the last states: the gradients that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, h: &[T], initial: Option<&[T]>, dh: &[T], dlast: Option<&[T]>, to: Gradients<'_, T>) {
        self.check(h);
        self.check_states(initial);
        self.check_states(dlast);
        self.check_states(to.initial.as_deref());
        let (m, n, r) = (self.lines, self.states, self.rank);
        assert_eq!(dh.len(), h.len(), "{OP}: the gradient is as long as h");
        assert!(to.b.as_ref().is_none_or(|v| v.len() == h.len()), "{OP}: the gradient of b is as long as h");
        for (name, gradient) in [("U", &to.u), ("V", &to.v)] {
            assert!(gradient.as_ref().is_none_or(|v| v.len() == n * r), "{OP}: the gradient of {name} is {n} x {r}");
        }
        // The gradient of h, then with all that follows from it.
        let mut own = vec![T::ZERO; if to.b.is_some() { 0 } else { h.len() }];
        let total = to.b.unwrap_or(&mut own);
        total.copy_from_slice(dh);
        let each = m * n;
        if let Some(dlast) = dlast {
            for (rows, dlast) in self.sequences.iter().zip(dlast.chunks_exact(each)).filter(|(rows, _)| !rows.is_empty()) {
                let line = &mut total[(rows.end - 1) * each..rows.end * each];
                line.iter_mut().zip(dlast).for_each(|(a, &g)| *a += g);
            }
        }
        let inner = self.inner();
        let by = MatRef::new(&inner, r, r).t();
        let (after, first) = self.recurrence(by, true).run(&self.project(total, self.u()), None);
        self.expand(&after, self.v(), total);
        if let Some(dinitial) = to.initial {
            dinitial.fill(T::ZERO);
            self.expand(&first, self.v(), dinitial);
            for (i, _) in self.sequences.iter().enumerate().filter(|(_, rows)| rows.is_empty()) {
                if let Some(dlast) = dlast {
                    dinitial[i * each..(i + 1) * each].copy_from_slice(&dlast[i * each..(i + 1) * each]);
                }
            }
        }
        let rows = h.len() / n;
        if let Some(du) = to.u {
            // Σ λ_t · g_{t−1}: the states before each step, projected.
            let start = initial.map(|h| self.project(h, self.v()));
            let before = self.shifted(&self.project(h, self.v()), start.as_deref());
            matmul(MatRef::new(total, rows, n).t(), MatRef::new(&before, rows, r), MatMut::new(du, n, r), false);
        }
        if let Some(dv) = to.v {
            // Σ h_{t−1} · γ_t: that of the next step beside each state, and that of the first beside the initial one.
            matmul(MatRef::new(h, rows, n).t(), MatRef::new(&after, rows, r), MatMut::new(dv, n, r), false);
            if let Some(initial) = initial {
                let count = initial.len() / n;
                matmul(MatRef::new(initial, count, n).t(), MatRef::new(&first, count, r), MatMut::new(dv, n, r), true);
            }
        }
    }

    /// Of each row what the one before it has, and of the first of a sequence `start` or zeros.
    fn shifted(&self, g: &[T], start: Option<&[T]>) -> Vec<T> {
        let each = self.lines * self.rank;
        let mut to = vec![T::ZERO; g.len()];
        for (i, rows) in self.sequences.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            if let Some(start) = start {
                to[rows.start * each..][..each].copy_from_slice(&start[i * each..(i + 1) * each]);
            }
            to[(rows.start + 1) * each..rows.end * each].copy_from_slice(&g[rows.start * each..(rows.end - 1) * each]);
        }
        to
    }

    /// One step: b holds one row per sequence, and `state` is taken on. The recurrence's own sequences are not used.
    pub fn step(&self, b: &[T], state: &mut [T]) {
        let (n, r) = (self.states, self.rank);
        assert!(n > 0 && self.u.len() == n * r && self.v.len() == n * r, "{OP}: U and V are {n} x {r}");
        assert!(b.len() == state.len() && b.len().is_multiple_of(n), "{OP}: b and the states are rows of {n} numbers");
        let g = self.project(state, self.v());
        state.copy_from_slice(b);
        self.expand(&g, self.u(), state);
    }
}
