//! The scan of Mamba-3: a state with exponential-trapezoidal steps whose keys and queries are rotated by accumulated angles, with
//! one (SISO) or several (MIMO) keys and queries a step.
//!
//! For head h of group g, rank r, with Δ_t, λ_t = sigmoid(trap_t), α_t = exp((AΔ)_t), and step by step:
//!
//! * θ_t = θ_{t−1} + π·tanh(φ_t)·Δ_t modulo 2π, one angle for each rotated pair of states;
//! * q_{t,r} = R(θ_t)·(Q_{t,r,g} + qb_{h,r}), k_{t,r} = R(θ_t)·(K_{t,r,g} + kb_{h,r}), v_{t,r} = mx_{h,r}∘x_t;
//! * S_t = α_t·(S_{t−1} + Δ_t(1 − λ_t)·M_{t−1}) + λ_tΔ_t·M_t with M_t = Σ_r v_{t,r}·k_{t,r}ᵀ, (width, states);
//! * o_{t,r} = S_t·q_{t,r} + D·v_{t,r};
//! * out_t = Σ_r mo_{h,r} ∘ norm(o_{t,r}) ∘ silu(mz_{h,r}∘z_t), where mx, mo, z with mz, and the norm over the width of a head
//!   may be missing.
//!
//! R turns a pair (a, b) into (a·cos − b·sin, a·sin + b·cos). What a sequence carries on is θ, S, k and x of its last step.
//!
//! # How
//! With ν_t = Δ_t(1 − λ_t), γ_t = λ_tΔ_t, w_t = γ_t + ν_{t+1} (ν is 0 behind the end) the state U_t = S_t + ν_{t+1}·M_t has one
//! term a step, U_t = α_t·U_{t−1} + w_t·M_t. So a chunk of Q steps is that of state-space duality: with the rows (t, r) of a
//! chunk below each other, L_ij = exp(Σ_{j<k<=i} a_k), e_i = exp(Σ_{k<=i} a_k), r_j = exp(Σ_{k>j} a_k),
//!
//! * O = ((Q·Kᵀ)∘E)·V + e∘(Q·Uᵀ) with E_ij = L_ij·w_j for steps j < i, γ_i inside a step and 0 after it,
//! * U' = e_last·U + Vᵀ·(w∘r∘K).
//!
//! (The paper's correction of the diagonal, subtracting ν_{t+1}(q·k)v from what w_t has too much, is the γ_i in E: nothing is
//! subtracted.) All exponents are sums of steps. The halves of the matrices that are 0 are left out by strips of about 16 rows.
//! Pairs are laid as halves, (a, …, b, …), inside: the order of the states does not matter to the products.
//!
//! Angles are summed in f64, whatever `T` is, and kept in [−π, π]: a million steps in f32 turn as far as they should. The angles
//! that are given and returned are of type `T`.
//!
//! The backward pass saves nothing: per head it runs the states forward, keeps those at the starts of the chunks of a segment of
//! 64 chunks (all segments but the last are run twice), and walks the chunks back. The gradient of a decay, Σ over the
//! pairs i >= t > j that it lies between, is taken as such; the usual form, row sums less column sums summed up from the end,
//! cancels.
//!
//! # Cost
//! For each step, rank r, and head with n states and width p, rows of a chunk m = Q·r: forward r·(0.63·2·m·(n + p) + 4·n·p)
//! operations, backward r·(0.63·2·m·(3n + 3p) + 12·n·p), so with m fixed a rank of r costs r times SISO. Beside it 3 elementary
//! functions for each of the angles and m/(2r) exponentials. Memory: the inputs are read and the outputs written once for each
//! head (Q, K: from the caches), backward reads inputs twice; the gradients of Q and K are summed over the heads of a task, and
//! the sums of tasks added at the end. A step of decoding: 4·n·p·r + n·p operations, the state read and written once.
//!
//! # Source
//! Mamba-3 (arXiv 2603.15569), sections 3 and 4, and state-spaces/mamba: SISO pairs neighbours, MIMO halves. Different: any
//! number of groups also in decoding, gradients of the states before the first and after the last step, packed sequences, no
//! approximate functions.

mod backward;
mod chunk;
mod cut;
mod decay;
mod forward;
mod gate;
mod gather;
mod pairs;
pub mod reference;
mod rotate;
mod step;
#[cfg(test)]
pub(crate) mod tests;

use super::Sequences;
use crate::kernels::simd::Real;
use pairs::Pairs;

/// Chunks whose states the backward pass holds at a time.
const SEGMENT: usize = 64;
/// Height of the strips in which products with half a matrix are done, about.
const STRIP: usize = 16;

const OP: &str = "mamba3";

/// Which states are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// (2i, 2i + 1): SISO.
    Pairwise,
    /// (i, i + n/2): MIMO.
    Halves,
}

/// An RMS norm over the width of each head and rank, before the gate.
#[derive(Clone, Copy, Debug)]
pub struct HeadNorm<'a, T> {
    /// (heads, width).
    pub weight: &'a [T],
    /// Added to the mean square; 1e-5 in the original.
    pub eps: f64,
}

/// Sizes and parameters that do not depend on the step. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Mamba3<'a, T> {
    pub sequences: Sequences<'a>,
    pub heads: usize,
    /// Channels of a head, p.
    pub width: usize,
    /// Head j uses Q and K of group j / (heads / groups).
    pub groups: usize,
    /// n.
    pub states: usize,
    /// Keys and queries of a step, r; 1 is SISO.
    pub rank: usize,
    /// Angles of a head, s: pairs that are rotated, at most n/2.
    pub angles: usize,
    /// The raw angles are (rows, s) for all heads instead of (rows, heads, s).
    pub shared_angles: bool,
    pub rotation: Rotation,
    /// Steps of a chunk, Q; see [`chunk_for`]. Changes results by rounding alone.
    pub chunk: usize,
    /// (heads, r, n), added to Q before the rotation.
    pub q_bias: &'a [T],
    /// (heads, r, n), added to K before the rotation.
    pub k_bias: &'a [T],
    /// D, (heads).
    pub skip: Option<&'a [T]>,
    /// mx, (heads, r, p). Without it v_{t,r} = x_t.
    pub mix_x: Option<&'a [T]>,
    /// mz, (heads, r, p). Without it all ranks have the gate of z.
    pub mix_z: Option<&'a [T]>,
    /// mo, (heads, r, p). Without it the ranks are added.
    pub mix_out: Option<&'a [T]>,
    pub norm: Option<HeadNorm<'a, T>>,
}

/// What changes with the step.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// (rows, r, groups, n), after its norm.
    pub q: &'a [T],
    /// (rows, r, groups, n), after its norm.
    pub k: &'a [T],
    /// V, (rows, heads, p).
    pub x: &'a [T],
    /// The gate, (rows, heads, p); none without.
    pub z: Option<&'a [T]>,
    /// A·Δ <= 0, (rows, heads).
    pub log_decay: &'a [T],
    /// Δ, (rows, heads).
    pub dt: &'a [T],
    /// λ before its sigmoid, (rows, heads).
    pub trap: &'a [T],
    /// φ, (rows, heads, s), or (rows, s) if shared.
    pub angles: &'a [T],
}

/// What sequences carry on: of the step before the first, or of the last. Also the gradients of such.
#[derive(Clone, Copy, Debug)]
pub struct States<'a, T> {
    /// θ, (sequences, heads, s). Results are in [0, 2π).
    pub angle: &'a [T],
    /// S, (sequences, heads, p, n).
    pub state: &'a [T],
    /// k, (sequences, r, heads, n), rotated.
    pub key: &'a [T],
    /// x, before mx, (sequences, heads, p).
    pub value: &'a [T],
}

/// [`States`] to write.
#[derive(Debug)]
pub struct StatesMut<'a, T> {
    pub angle: &'a mut [T],
    pub state: &'a mut [T],
    pub key: &'a mut [T],
    pub value: &'a mut [T],
}

impl<T> StatesMut<'_, T> {
    pub(super) fn as_ref(&self) -> States<'_, T> {
        States { angle: self.angle, state: self.state, key: self.key, value: self.value }
    }
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// What belongs to the rows may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub q: Option<&'a mut [S]>,
    pub k: Option<&'a mut [S]>,
    pub x: Option<&'a mut [S]>,
    pub z: Option<&'a mut [S]>,
    pub log_decay: Option<&'a mut [S]>,
    pub dt: Option<&'a mut [S]>,
    pub trap: Option<&'a mut [S]>,
    pub angles: Option<&'a mut [S]>,
    pub q_bias: Option<&'a mut [T]>,
    pub k_bias: Option<&'a mut [T]>,
    pub skip: Option<&'a mut [T]>,
    pub mix_x: Option<&'a mut [T]>,
    pub mix_z: Option<&'a mut [T]>,
    pub mix_out: Option<&'a mut [T]>,
    /// Of the norm's weight.
    pub norm: Option<&'a mut [T]>,
    /// Of the states before the first steps.
    pub initial: Option<StatesMut<'a, T>>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self {
            q: None,
            k: None,
            x: None,
            z: None,
            log_decay: None,
            dt: None,
            trap: None,
            angles: None,
            q_bias: None,
            k_bias: None,
            skip: None,
            mix_x: None,
            mix_z: None,
            mix_out: None,
            norm: None,
            initial: None,
        }
    }
}

/// Steps of a chunk that suit most sizes: 64 rows.
pub fn chunk_for(rank: usize) -> usize {
    (64 / rank.max(1)).max(1)
}

impl<T: Real> Mamba3<'_, T> {
    /// Numbers of θ, S, k and x of all sequences; see [`States`].
    pub fn state_sizes(&self) -> [usize; 4] {
        let Self { heads: h, width: p, states: n, rank: r, angles: s, .. } = *self;
        [h * s, h * p * n, r * h * n, h * p].map(|len| len * self.sequences.count())
    }

    /// Numbers of the raw angles of a row.
    pub(super) fn angle_width(&self) -> usize {
        if self.shared_angles { self.angles } else { self.heads * self.angles }
    }

    /// Where the raw angles of a head start in a row.
    fn angles_of(&self, head: usize) -> usize {
        if self.shared_angles { 0 } else { head * self.angles }
    }

    fn group_of(&self, head: usize) -> usize {
        head / (self.heads / self.groups)
    }

    /// The part of a (heads, …) parameter that belongs to a head.
    fn of_head<'b>(&self, parameter: Option<&'b [T]>, head: usize) -> Option<&'b [T]> {
        parameter.map(|m| &m[m.len() / self.heads * head..m.len() / self.heads * (head + 1)])
    }

    fn pairs(&self) -> Pairs {
        Pairs::new(self.rotation, self.states, self.angles)
    }

    /// Panics when the parameters, the inputs of `rows` rows or the result do not fit.
    pub(super) fn check<S>(&self, rows: usize, x: &Inputs<'_, S>, out: usize) {
        self.sequences.check(OP);
        let Self { heads: h, width: p, groups: g, states: n, rank: r, angles: s, .. } = *self;
        assert!(h > 0 && p > 0 && n > 0 && r > 0, "{OP}: {h} heads of {p} x {n} states with rank {r}");
        assert!(g > 0 && h.is_multiple_of(g), "{OP}: {h} heads do not make {g} groups");
        assert!(2 * s <= n, "{OP}: {s} pairs of {n} states");
        assert!(self.rotation == Rotation::Pairwise || n.is_multiple_of(2), "{OP}: {n} states have no halves");
        assert!(self.chunk > 0, "{OP}: chunks of no steps");
        let biases = [self.q_bias, self.k_bias];
        assert!(biases.iter().all(|b| b.len() == h * r * n), "{OP}: biases are {h} x {r} x {n}");
        assert!(self.skip.is_none_or(|d| d.len() == h), "{OP}: D has one number per head");
        let mixes = [self.mix_x, self.mix_z, self.mix_out];
        assert!(mixes.iter().flatten().all(|m| m.len() == h * r * p), "{OP}: mixes of ranks are {h} x {r} x {p}");
        assert!(self.norm.is_none_or(|m| m.weight.len() == h * p), "{OP}: the weight of the norm is {h} x {p}");
        assert!(self.mix_z.is_none() || x.z.is_some(), "{OP}: a mix of a gate that is not there");
        assert!([x.q, x.k].iter().all(|v| v.len() == rows * r * g * n), "{OP}: Q and K are {rows} x {r} x {g} x {n}");
        assert!(
            [x.x.len(), x.z.map_or(out, <[S]>::len), out].iter().all(|&v| v == rows * h * p),
            "{OP}: x, z and the result are {rows} x {h} x {p}"
        );
        assert!([x.log_decay, x.dt, x.trap].iter().all(|v| v.len() == rows * h), "{OP}: decays, dt and trap are {rows} x {h}");
        assert_eq!(x.angles.len(), rows * self.angle_width(), "{OP}: angles are {rows} x {}", self.angle_width());
    }

    pub(super) fn check_states(&self, states: Option<States<'_, T>>) {
        let fit = |s: States<'_, T>| [s.angle.len(), s.state.len(), s.key.len(), s.value.len()] == self.state_sizes();
        assert!(states.is_none_or(fit), "{OP}: angles, states, keys and values carried on are {:?} numbers", self.state_sizes());
    }

    pub(super) fn check_gradients<S>(&self, x: &Inputs<'_, S>, d: &Gradients<'_, T, S>) {
        let of = |m: Option<&[T]>| m.map_or(0, <[T]>::len);
        let of_rows = [
            (&d.q, x.q.len()),
            (&d.k, x.k.len()),
            (&d.x, x.x.len()),
            (&d.z, x.z.map_or(0, <[S]>::len)),
            (&d.log_decay, x.dt.len()),
            (&d.dt, x.dt.len()),
            (&d.trap, x.dt.len()),
            (&d.angles, x.angles.len()),
        ];
        let of_parameters = [
            (&d.q_bias, self.q_bias.len()),
            (&d.k_bias, self.k_bias.len()),
            (&d.skip, of(self.skip)),
            (&d.mix_x, of(self.mix_x)),
            (&d.mix_z, of(self.mix_z)),
            (&d.mix_out, of(self.mix_out)),
            (&d.norm, of(self.norm.map(|n| n.weight))),
        ];
        let fit = of_rows.iter().all(|(d, len)| d.as_ref().is_none_or(|d| d.len() == *len))
            && of_parameters.iter().all(|(d, len)| d.as_ref().is_none_or(|d| d.len() == *len));
        assert!(fit, "{OP}: a gradient is as long as what it is the gradient of");
        self.check_states(d.initial.as_ref().map(StatesMut::as_ref));
    }
}
