//! The definition, central differences, what must not change a bit, and the edges.

mod goldens;

use super::reference::{self, All, Carried};
use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, in_pool, numbers, wide};

/// Which optional parts a scan has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parts {
    Bare,
    /// D and the gate: SISO.
    Gate,
    /// Mixes too: MIMO.
    Mixed,
    /// And the norm.
    Norm,
}

/// A scan in f64 with everything that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) bounds: Vec<usize>,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) groups: usize,
    pub(crate) states: usize,
    pub(crate) rank: usize,
    pub(crate) angles: usize,
    pub(crate) shared: bool,
    pub(crate) rotation: Rotation,
    pub(crate) chunk: usize,
    pub(crate) parts: Parts,
    pub(crate) eps: f64,
    pub(crate) initial: bool,
    /// q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, then angle, state, key, value
    /// before.
    pub(crate) data: [Vec<f64>; 19],
    pub(crate) dout: Vec<f64>,
    pub(crate) dlast: Carried,
}

const NAMES: [&str; 19] = [
    "q",
    "k",
    "x",
    "z",
    "log_decay",
    "dt",
    "trap",
    "angles",
    "q_bias",
    "k_bias",
    "skip",
    "mix_x",
    "mix_z",
    "mix_out",
    "norm",
    "angle",
    "state",
    "key",
    "value",
];

impl Case {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        bounds: &[usize],
        [heads, groups]: [usize; 2],
        [width, states]: [usize; 2],
        [rank, angles]: [usize; 2],
        rotation: Rotation,
        shared: bool,
        parts: Parts,
        initial: bool,
    ) -> Self {
        let (rows, count) = (bounds.last().copied().unwrap_or(0), bounds.len() - 1);
        let mut seed = 7;
        let mut some = |len: usize, scale: f64| -> Vec<f64> {
            seed += 1;
            numbers(seed, len).into_iter().map(|v| scale * v).collect()
        };
        let mixes = if parts == Parts::Mixed || parts == Parts::Norm { heads * rank * width } else { 0 };
        let kept = if initial { count } else { 0 };
        let data = [
            some(rows * rank * groups * states, 1.0),
            some(rows * rank * groups * states, 1.0),
            some(rows * heads * width, 1.0),
            some(if parts == Parts::Bare { 0 } else { rows * heads * width }, 2.0),
            some(rows * heads, 0.5).into_iter().map(|v| v - 0.5).collect(),
            some(rows * heads, 0.25).into_iter().map(|v| v + 0.375).collect(),
            some(rows * heads, 2.0),
            some(rows * if shared { angles } else { heads * angles }, 2.0),
            some(heads * rank * states, 0.5),
            some(heads * rank * states, 0.5),
            some(if parts == Parts::Bare { 0 } else { heads }, 1.0),
            some(mixes, 1.0),
            some(mixes, 1.0),
            some(mixes, 1.0),
            some(if parts == Parts::Norm { heads * width } else { 0 }, 1.0),
            some(kept * heads * angles, 3.0).into_iter().map(|v| v + 3.0).collect(),
            some(kept * heads * width * states, 1.0),
            some(kept * rank * heads * states, 1.0),
            some(kept * heads * width, 1.0),
        ];
        let dlast = Carried {
            angle: some(count * heads * angles, 1.0),
            state: some(count * heads * width * states, 0.5),
            key: some(count * rank * heads * states, 1.0),
            value: some(count * heads * width, 1.0),
        };
        let dout = some(rows * heads * width, 1.0);
        let bounds = bounds.to_vec();
        Self {
            bounds,
            heads,
            width,
            groups,
            states,
            rank,
            angles,
            shared,
            rotation,
            chunk: 4,
            parts,
            eps: 1e-2,
            initial,
            data,
            dout,
            dlast,
        }
    }

    pub(crate) fn chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk;
        self
    }

    pub(crate) fn scan<'a, T: Real>(&'a self, d: &'a [Vec<T>; 19]) -> (Mamba3<'a, T>, Inputs<'a, T>, Option<States<'a, T>>) {
        let some = |i: usize| (!d[i].is_empty()).then_some(&d[i][..]);
        let scan = Mamba3 {
            sequences: Sequences::Packed(&self.bounds),
            heads: self.heads,
            width: self.width,
            groups: self.groups,
            states: self.states,
            rank: self.rank,
            angles: self.angles,
            shared_angles: self.shared,
            rotation: self.rotation,
            chunk: self.chunk,
            q_bias: &d[8],
            k_bias: &d[9],
            skip: some(10),
            mix_x: some(11),
            mix_z: some(12),
            mix_out: some(13),
            norm: some(14).map(|weight| HeadNorm { weight, eps: self.eps }),
        };
        let z = (self.parts != Parts::Bare).then_some(&d[3][..]);
        let x = Inputs { q: &d[0], k: &d[1], x: &d[2], z, log_decay: &d[4], dt: &d[5], trap: &d[6], angles: &d[7] };
        let before = States { angle: &d[15], state: &d[16], key: &d[17], value: &d[18] };
        (scan, x, self.initial.then_some(before))
    }

    fn cast<T: Real>(&self) -> [Vec<T>; 19] {
        self.data.clone().map(|v| cast(&v))
    }

    /// The result and the states after it: angle, state, key, value.
    fn forward<T: Real>(&self) -> [Vec<T>; 5] {
        let data = self.cast::<T>();
        let (scan, x, before) = self.scan(&data);
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let mut out = nan(x.x.len());
        let [mut angle, mut state, mut key, mut value] = scan.state_sizes().map(nan);
        let last = StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value };
        scan.forward(&x, before, &mut out, Some(last));
        [out, angle, state, key, value]
    }

    /// All gradients in the order of `data`.
    fn backward<T: Real>(&self) -> [Vec<T>; 19] {
        let data = self.cast::<T>();
        let (scan, x, before) = self.scan(&data);
        let mut d: [Vec<T>; 19] = std::array::from_fn(|i| vec![T::from_f64(f64::NAN); data[i].len()]);
        let dout = cast::<T>(&self.dout);
        let [a, s, k, v] = [&self.dlast.angle, &self.dlast.state, &self.dlast.key, &self.dlast.value].map(|v| cast::<T>(v));
        let dlast = States { angle: &a, state: &s, key: &k, value: &v };
        let [
            q,
            kk,
            dx,
            z,
            log_decay,
            dt,
            trap,
            angles,
            q_bias,
            k_bias,
            skip,
            mix_x,
            mix_z,
            mix_out,
            norm,
            angle,
            state,
            key,
            value,
        ] = &mut d;
        let initial = self.initial.then_some(StatesMut { angle, state, key, value });
        let has = |v| Some(v).filter(|v: &&mut Vec<T>| !v.is_empty()).map(|v| &mut v[..]);
        let gradients = Gradients {
            q: Some(q),
            k: Some(kk),
            x: Some(dx),
            z: has(z),
            log_decay: Some(log_decay),
            dt: Some(dt),
            trap: Some(trap),
            angles: Some(angles),
            q_bias: Some(q_bias),
            k_bias: Some(k_bias),
            skip: has(skip),
            mix_x: has(mix_x),
            mix_z: has(mix_z),
            mix_out: has(mix_out),
            norm: has(norm),
            initial,
        };
        scan.backward(&x, before, &dout, Some(dlast), gradients);
        d
    }

    fn before(&self) -> Option<Carried> {
        let [angle, state, key, value] = [15, 16, 17, 18].map(|i| self.data[i].clone());
        self.initial.then_some(Carried { angle, state, key, value })
    }

    pub(crate) fn exact(&self) -> [Vec<f64>; 5] {
        let (scan, x, _) = self.scan(&self.data);
        let (out, last) = reference::forward(&scan, &x, self.before().as_ref());
        [out, last.angle, last.state, last.key, last.value]
    }

    fn exact_gradients(&self) -> [Vec<f64>; 19] {
        let (scan, x, _) = self.scan(&self.data);
        let d = reference::backward(&scan, &x, self.before().as_ref(), &self.dout, Some(&self.dlast));
        let All { q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, initial } = d;
        let Carried { angle, state, key, value } = if self.initial { initial } else { Carried::default() };
        [q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, angle, state, key, value]
    }

    /// The number whose gradients `backward` gives, from the definition.
    fn loss(&self) -> f64 {
        let [out, angle, state, key, value] = self.exact();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let d = &self.dlast;
        dot(&out, &self.dout) + dot(&angle, &d.angle) + dot(&state, &d.state) + dot(&key, &d.key) + dot(&value, &d.value)
    }
}

fn cases() -> Vec<Case> {
    use Parts::{Bare, Gate, Mixed, Norm};
    use Rotation::{Halves, Pairwise};
    vec![
        // Several sequences, an empty one first, last and between; groups.
        Case::new(&[0, 0, 5, 5, 18, 19, 19], [6, 2], [5, 7], [1, 2], Pairwise, false, Gate, true),
        Case::new(&[0, 11, 12], [4, 1], [3, 6], [3, 3], Halves, false, Norm, true).chunk(3),
        Case::new(&[0, 13], [2, 2], [18, 20], [2, 5], Halves, true, Mixed, true).chunk(1),
        Case::new(&[0, 1], [1, 1], [1, 1], [1, 0], Pairwise, true, Bare, false).chunk(64),
        Case::new(&[0, 9, 40], [3, 1], [16, 16], [1, 8], Pairwise, true, Gate, false).chunk(7),
        Case::new(&[0, 37], [3, 3], [4, 18], [5, 9], Pairwise, false, Norm, true).chunk(2),
        Case::new(&[0, 6, 9], [5, 5], [2, 4], [4, 0], Halves, false, Mixed, true).chunk(64),
        Case::new(&[0, 4, 8], [2, 1], [3, 5], [2, 1], Pairwise, false, Bare, true).chunk(3),
    ]
}

#[test]
fn values_are_those_of_the_definition() {
    for case in cases() {
        let exact = case.exact();
        // States are some tens of steps of products of size 1 that decay by e^-0.5 on average; each is summed from at most
        // (n or p or chunk · r) terms: below 64 roundings of the largest number. Angles in f32 are rounded to 2^-23, and enter all.
        let (wide_run, short_run) = (case.forward::<f64>(), case.forward::<f32>().map(|v| wide(&v)));
        for (i, name) in ["out", "angle", "state", "key", "value"].iter().enumerate() {
            let what = format!("{name} of {case:.0?}");
            // The norm divides by the root of a mean square as small as its eps: a tenth.
            let worse = if case.parts == Parts::Norm { 10.0 } else { 1.0 };
            close(&wide_run[i], &exact[i], worse * 64.0 * f64::EPSILON, &what);
            close(&short_run[i], &exact[i], worse * 64.0 * f64::from(f32::EPSILON), &what);
        }
    }
}

#[test]
fn gradients_are_those_of_the_definition() {
    for case in cases() {
        let exact = case.exact_gradients();
        let (wide_run, short_run) = (case.backward::<f64>(), case.backward::<f32>().map(|v| wide(&v)));
        for (i, name) in NAMES.iter().enumerate() {
            // As the values, with one more sum, over the steps (up to 37, and angles sum up what all later steps give) or heads.
            let worse = if case.parts == Parts::Norm { 10.0 } else { 1.0 };
            let what = format!("gradient of {name} of {:?} {:?}", case.bounds, case.parts);
            close(&wide_run[i], &exact[i], worse * 128.0 * f64::EPSILON, &what);
            close(&short_run[i], &exact[i], worse * 128.0 * f64::from(f32::EPSILON), &what);
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for case in cases() {
        let gradients = case.backward::<f64>();
        for i in 0..19 {
            let loss = |x: &[f64]| {
                let mut case = case.clone();
                case.data[i] = x.to_vec();
                case.loss()
            };
            // Truncation: 1e-10 / 6 times third derivatives, of some hundreds (angles turn π·Δ·φ for all later steps). Rounding: a
            // sum of some hundred terms, 1e-14 · 100, over a step of 1e-5. The norm makes derivatives of order three larger
            // by 1/eps.
            let error = if case.parts == Parts::Norm { 5e-6 } else { 1e-7 };
            let every = gradients[i].len() / 24 + 1;
            differences(
                &case.data[i],
                &gradients[i],
                every,
                error,
                &format!("{} of {:?} {:?}", NAMES[i], case.bounds, case.parts),
                loss,
            );
        }
    }
}

#[test]
fn the_length_of_chunks_changes_nothing_beyond_rounding() {
    for case in cases() {
        let (values, gradients) = (case.forward::<f64>(), case.backward::<f64>());
        for chunk in [1, 2, 3, 7, 64, 1000] {
            let other = case.clone().chunk(chunk);
            for (a, b) in other.forward::<f64>().iter().zip(&values) {
                close(a, b, 1e-12, &format!("chunks of {chunk}"));
            }
            for (a, b) in other.backward::<f64>().iter().zip(&gradients) {
                close(a, b, 1e-12, &format!("gradients with chunks of {chunk}"));
            }
        }
    }
}

/// Rows `rows` of a case of one sequence, with what was carried there and what comes back from behind.
fn piece(case: &Case, rows: std::ops::Range<usize>, before: Option<Carried>, dlast: Carried) -> Case {
    let all = case.bounds[case.bounds.len() - 1];
    let mut piece = case.clone();
    for i in 0..8 {
        let width = case.data[i].len() / all;
        piece.data[i] = case.data[i][rows.start * width..rows.end * width].to_vec();
    }
    let width = case.dout.len() / all;
    piece.dout = case.dout[rows.start * width..rows.end * width].to_vec();
    piece.bounds = vec![0, rows.len()];
    piece.initial = before.is_some();
    let Carried { angle, state, key, value } = before.unwrap_or_default();
    [piece.data[15], piece.data[16], piece.data[17], piece.data[18]] = [angle, state, key, value];
    piece.dlast = dlast;
    piece
}

fn carried([angle, state, key, value]: [Vec<f64>; 4]) -> Carried {
    Carried { angle, state, key, value }
}

#[test]
fn a_sequence_may_be_split_anywhere() {
    for case in cases().into_iter().filter(|c| c.bounds.len() == 2) {
        let all = case.bounds[1];
        let (whole, gradients) = (case.forward::<f64>(), case.backward::<f64>());
        for cut in 0..=all {
            let first = piece(&case, 0..cut, case.before(), case.dlast.clone());
            let [out, a, s, k, v] = first.forward::<f64>();
            let second = piece(&case, cut..all, Some(carried([a, s, k, v])), case.dlast.clone());
            let [more, a, s, k, v] = second.forward::<f64>();
            close(&[out, more].concat(), &whole[0], 1e-12, "the result");
            for (a, b) in [a, s, k, v].iter().zip(&whole[1..]) {
                close(a, b, 1e-12, "what is carried on");
            }
            let late = second.backward::<f64>();
            let back = carried([15, 16, 17, 18].map(|i| late[i].clone()));
            let early = Case { dlast: back, ..first }.backward::<f64>();
            for i in 0..19 {
                let found = match i {
                    0..8 => [&early[i][..], &late[i]].concat(),
                    8..15 => early[i].iter().zip(&late[i]).map(|(a, b)| a + b).collect(),
                    _ => early[i].clone(),
                };
                close(&found, &gradients[i], 1e-12, &format!("the gradient of {} split at {cut}", NAMES[i]));
            }
        }
    }
}

#[test]
fn steps_are_the_scan() {
    fn run<T: Real>(case: &Case, error: f64) {
        let all = case.bounds[1];
        let whole = case.forward::<T>().map(|v| wide(&v));
        let data = case.cast::<T>();
        let (scan, x, before) = case.scan(&data);
        let zeros = scan.state_sizes().map(|n| vec![T::ZERO; n]);
        let [mut angle, mut state, mut key, mut value] =
            before.map_or(zeros, |b| [b.angle.to_vec(), b.state.to_vec(), b.key.to_vec(), b.value.to_vec()]);
        let mut out = vec![T::ZERO; x.x.len()];
        let width = out.len() / all;
        for (t, out) in out.chunks_mut(width).enumerate() {
            let row = |v: &'_ [T]| -> Vec<T> { v[t * (v.len() / all)..(t + 1) * (v.len() / all)].to_vec() };
            let parts = [x.q, x.k, x.x, x.z.unwrap_or_default(), x.log_decay, x.dt, x.trap, x.angles].map(row);
            let [q, k, v, z, log_decay, dt, trap, angles] = &parts;
            let x = Inputs { q, k, x: v, z: x.z.map(|_| &z[..]), log_decay, dt, trap, angles };
            let states = StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value };
            scan.step(&x, states, out);
        }
        close(&wide(&out), &whole[0], error, "steps");
        for (a, b) in [angle, state, key, value].iter().zip(&whole[1..]) {
            close(&wide(a), b, error, "what steps carry on");
        }
    }
    for case in cases().into_iter().filter(|c| c.bounds.len() == 2) {
        run::<f64>(&case, 1e-12);
        // Carried angles are rounded at each of up to 37 steps, by 2^-22 at most.
        run::<f32>(&case, 2e-5);
    }
    // Ranks that are done together, in two passes, and one by one.
    for rank in [4, 8, 7] {
        run::<f64>(&Case::new(&[0, 5], [4, 2], [3, 18], [rank, 4], Rotation::Halves, true, Parts::Mixed, true), 1e-12);
    }
}

#[test]
fn several_sequences_step_together() {
    let case = Case::new(&[0, 1, 2, 3], [6, 3], [5, 8], [2, 3], Rotation::Pairwise, false, Parts::Gate, true);
    let whole = case.forward::<f64>();
    let (scan, x, before) = case.scan(&case.data);
    let b = before.unwrap();
    let [mut angle, mut state, mut key, mut value] = [b.angle.to_vec(), b.state.to_vec(), b.key.to_vec(), b.value.to_vec()];
    let mut out = vec![0.0; x.x.len()];
    scan.step(&x, StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value }, &mut out);
    for (a, b) in [out, angle, state, key, value].iter().zip(&whole) {
        close(a, b, 1e-13, "a step of three sequences");
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let case = Case::new(&[0, 70, 71, 200], [6, 2], [16, 24], [2, 6], Rotation::Pairwise, true, Parts::Norm, true).chunk(32);
    let all =
        |case: &Case| -> Vec<Vec<u64>> { case.forward::<f32>().iter().chain(&case.backward::<f32>()).map(|v| bits(v)).collect() };
    let one = in_pool(1, || all(&case));
    for threads in [2, 3] {
        assert!(in_pool(threads, || all(&case)) == one, "{threads} threads");
    }
    let small = Case::new(&[0, 20, 37], [2, 1], [17, 19], [3, 7], Rotation::Pairwise, false, Parts::Norm, true).chunk(9);
    let sets: Vec<_> = available().into_iter().map(|isa| in_pool(1, || with_isa(isa, || all(&small)))).collect();
    assert!(sets.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn what_is_not_wanted_changes_nothing() {
    let case = &cases()[1];
    let all = case.backward::<f64>();
    let (scan, x, before) = case.scan(&case.data);
    let dlast = case.dlast.states();
    let (mut q, mut dt) = (vec![0.0; x.q.len()], vec![0.0; x.dt.len()]);
    scan.backward(&x, before, &case.dout, Some(dlast), Gradients { q: Some(&mut q), ..Gradients::default() });
    scan.backward(&x, before, &case.dout, Some(dlast), Gradients { dt: Some(&mut dt), ..Gradients::default() });
    assert_eq!((bits(&q), bits(&dt)), (bits(&all[0]), bits(&all[5])));
}

#[test]
fn long_sequences_are_run_in_segments() {
    let case = Case::new(&[0, 2 * SEGMENT + 9], [2, 1], [2, 4], [1, 2], Rotation::Pairwise, false, Parts::Gate, true).chunk(1);
    for (i, (a, b)) in case.backward::<f64>().iter().zip(&case.exact_gradients()).enumerate() {
        close(a, b, 1e-12, NAMES[i]);
    }
}

#[test]
fn without_angles_and_trapezoids_it_is_the_scan_of_mamba_2() {
    let mut case = Case::new(&[0, 9], [2, 1], [3, 4], [1, 2], Rotation::Pairwise, false, Parts::Bare, false);
    case.data[6].fill(40.0);
    for i in [7, 8, 9] {
        case.data[i].fill(0.0);
    }
    let [q, k, x, _, a, dt, ..] = &case.data;
    let mut y = vec![0.0; x.len()];
    for head in 0..2 {
        let mut state = [0.0; 12];
        for t in 0..9 {
            let at = t * 2 + head;
            for c in 0..3 {
                for i in 0..4 {
                    let s = &mut state[c * 4 + i];
                    *s = a[at].exp() * *s + dt[at] * x[at * 3 + c] * k[t * 4 + i];
                    y[at * 3 + c] += *s * q[t * 4 + i];
                }
            }
        }
    }
    // 1 − sigmoid(40) is 4e-18.
    close(&case.forward::<f64>()[0], &y, 1e-14, "Mamba-2");
}

#[test]
fn sines_and_cosines_are_right() {
    let angles: Vec<f64> = (-6283..=6283).map(|i| f64::from(i) * 1e-3 + 1e-4).collect();
    let n = angles.len();
    let (mut s, mut c) = (vec![0.0; n], vec![0.0; n]);
    rotate::sines_and_cosines::<f64>(&angles, &mut s, &mut c);
    let (mut s32, mut c32) = (vec![0.0f32; n], vec![0.0f32; n]);
    rotate::sines_and_cosines::<f32>(&angles, &mut s32, &mut c32);
    for (i, x) in angles.iter().enumerate() {
        let (sin, cos) = x.sin_cos();
        assert!((s[i] - sin).abs() < f64::EPSILON && (c[i] - cos).abs() < f64::EPSILON, "{x}: {} {}", s[i], c[i]);
        let (sin, cos) = f64::from(*x as f32).sin_cos();
        let eps = f64::from(f32::EPSILON);
        assert!((f64::from(s32[i]) - sin).abs() < eps && (f64::from(c32[i]) - cos).abs() < eps, "{x}: {} {}", s32[i], c32[i]);
    }
}

#[test]
fn no_rows_and_no_sequences() {
    for bounds in [&[0, 0, 0][..], &[0]] {
        let case = Case::new(bounds, [2, 1], [3, 4], [2, 1], Rotation::Halves, true, Parts::Norm, true);
        let [out, a, s, k, v] = case.forward::<f64>();
        assert!(out.is_empty());
        assert_eq!([&a, &s, &k, &v], [&case.data[15], &case.data[16], &case.data[17], &case.data[18]]);
        let d = case.backward::<f64>();
        assert!(d[8..15].iter().flatten().all(|&v| v == 0.0));
        assert_eq!([&d[15], &d[16], &d[17], &d[18]], [&case.dlast.angle, &case.dlast.state, &case.dlast.key, &case.dlast.value]);
    }
}

#[test]
fn misfits_are_refused() {
    let case = cases().remove(1);
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        std::panic::catch_unwind(|| case.forward::<f32>()).is_err()
    };
    assert!(!refused(&|_| ()));
    for i in [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18] {
        assert!(refused(&|c| c.data[i].push(0.0)), "{} one too long", NAMES[i]);
    }
    assert!(
        refused(&|c| c.chunk = 0) && refused(&|c| c.groups = 3) && refused(&|c| c.angles = 4) && refused(&|c| c.bounds[1] = 20)
    );
    let backward = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        std::panic::catch_unwind(|| case.backward::<f32>()).is_err()
    };
    assert!(!backward(&|_| ()) && backward(&|c| c.dout.push(0.0)) && backward(&|c| c.dlast.key.push(0.0)));
}
