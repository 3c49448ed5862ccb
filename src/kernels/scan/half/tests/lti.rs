//! Time-invariant systems: s4d by the scan and by convolution, the kernels of s4d and s4, long convolution, the steps.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::lti::dplr::{self, Dplr};
use crate::kernels::scan::lti::long_conv::{self, LongConv};
use crate::kernels::scan::lti::s4d::{self, S4d};
use crate::kernels::scan::lti::{ComplexMut, ComplexRef, Rule};
use crate::kernels::testing::cast;
use proptest::prelude::*;

fn nan(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// y and du of a convolution with these rows, and the gradient of the kernel.
fn conv_bf16(conv: &LongConv<'_, f32>, u: &[u16], dy: &[u16]) -> Found {
    let (mut y, mut du, mut dk) = (vec![NAN; u.len()], vec![NAN; u.len()], nan(conv.kernel.len()));
    conv.forward_bf16(u, &mut y);
    conv.backward_bf16(u, dy, long_conv::Gradients { u: Some(&mut du[..]), kernel: Some(&mut dk) });
    Found { halves: vec![y, du], singles: vec![dk] }
}

fn conv_is_the_plain_one(bounds: &[usize], channels: usize, taps: usize, [u, dy]: [&[u16]; 2]) {
    let kernel = cast::<f32>(&numbers(1, channels * taps));
    let conv = LongConv { sequences: Sequences::Packed(bounds), channels, taps, kernel: &kernel };
    let found = conv_bf16(&conv, u, dy);
    let (mut y, mut du, mut dk) = (nan(u.len()), nan(u.len()), nan(kernel.len()));
    conv.forward(&singles(u), &mut y);
    conv.backward(&singles(u), &singles(dy), long_conv::Gradients { u: Some(&mut du), kernel: Some(&mut dk) });
    let what = |name: &str| format!("{name} of {bounds:?} x {channels}, {taps} taps");
    same(&found.halves[0], &y, &what("y"));
    same(&found.halves[1], &du, &what("du"));
    same_singles(&found.singles[0], &dk, &what("dK"));
}

/// Directly and by transforms, channels that fill no vector, sequences of all lengths.
fn conv_cases() -> Vec<(Vec<usize>, usize, usize)> {
    vec![
        (vec![0, 7, 7, 8, 150], 5, 150),
        (vec![0, 1], 1, 1),
        (vec![0, 65], 19, 65),
        (vec![0, 300, 600, 900], 17, 300),
        (vec![0, 600, 601, 1700], 3, 2000),
        (vec![0, 1000], 16, 40),
        (vec![0, 513, 1026, 1539], 33, 513),
        (vec![0, 5], 3, 0),
        (vec![0], 2, 3),
    ]
}

#[test]
fn long_convolutions_are_the_plain_ones_rounded() {
    for (bounds, channels, taps) in conv_cases() {
        let len = bounds[bounds.len() - 1] * channels;
        conv_is_the_plain_one(&bounds, channels, taps, [&made_up(2, len, 1.0), &made_up(3, len, 1.0)]);
        conv_is_the_plain_one(&bounds, channels, taps, [&wild(2, len), &wild(3, len)]);
    }
}

#[test]
fn long_convolutions_change_no_bit() {
    for (bounds, channels, taps) in conv_cases() {
        let (len, kernel) = (bounds[bounds.len() - 1] * channels, cast::<f32>(&numbers(1, channels * taps)));
        let conv = LongConv { sequences: Sequences::Packed(&bounds), channels, taps, kernel: &kernel };
        let (u, dy) = (made_up(2, len, 1.0), made_up(3, len, 1.0));
        changes_no_bit(|| conv_bf16(&conv, &u, &dy));
    }
}

/// A diagonal system and what belongs to its rows.
struct Case {
    bounds: Vec<usize>,
    channels: usize,
    pairs: usize,
    /// Whether states are given, which makes it a scan.
    states: bool,
    /// Δ, decays, frequencies, B, C and D, first states.
    parameters: [Vec<f32>; 10],
    u: Vec<u16>,
    dy: Vec<u16>,
}

impl Case {
    fn new(bounds: &[usize], channels: usize, pairs: usize, states: bool) -> Self {
        let (rows, count, hn) = (bounds[bounds.len() - 1], bounds.len() - 1, channels * pairs);
        let sizes = [channels, hn, hn, hn, hn, hn, hn, channels, count * hn, count * hn];
        let mut i = 0;
        let parameters = sizes.map(|len| {
            i += 1;
            // Steps of 0.01 to 0.1, decays of 0.2 to 1, frequencies up to 40.
            let of = |x: f64| match i {
                1 => x * 1.125 - 3.5,
                2 => x * 0.75 - 0.75,
                3 => x * 40.0,
                _ => x,
            };
            cast(&numbers(i, len).into_iter().map(of).collect::<Vec<_>>())
        });
        let [u, dy] = [20, 21].map(|seed| made_up(seed, rows * channels, 1.0));
        Self { bounds: bounds.to_vec(), channels, pairs, states, parameters, u, dy }
    }

    fn s4d(&self) -> S4d<'_, f32> {
        let [log_dt, log_decay, frequency, b_re, b_im, c_re, c_im, skip, ..] = &self.parameters;
        S4d {
            sequences: Sequences::Packed(&self.bounds),
            channels: self.channels,
            pairs: self.pairs,
            rule: if self.pairs.is_multiple_of(2) { Rule::Zoh } else { Rule::Bilinear },
            rate: 1.0,
            log_dt,
            log_decay,
            frequency,
            b: Some(ComplexRef { re: b_re, im: b_im }),
            c: ComplexRef { re: c_re, im: c_im },
            skip: Some(skip),
        }
    }

    fn first(&self) -> Option<ComplexRef<'_, f32>> {
        self.states.then_some(ComplexRef { re: &self.parameters[8], im: &self.parameters[9] })
    }

    /// Last states, then the gradients of the parameters.
    fn room(&self) -> [Vec<f32>; 12] {
        std::array::from_fn(|i| nan(if i < 2 { self.parameters[8].len() } else { self.parameters[i - 2].len() }))
    }

    /// Gives `forward` the last states if wanted, and `backward` the gradients of the last states and all places but that of u.
    fn run<S>(
        &self,
        u: &mut [S],
        forward: impl FnOnce(&S4d<'_, f32>, Option<ComplexMut<'_, f32>>),
        backward: impl FnOnce(&S4d<'_, f32>, Option<ComplexRef<'_, f32>>, s4d::Gradients<'_, f32, S>),
    ) -> Vec<Vec<f32>> {
        let mut to = self.room();
        let [last_re, last_im, log_dt, log_decay, frequency, b_re, b_im, c_re, c_im, skip, x_re, x_im] = &mut to;
        let (dre, dim) = (cast::<f32>(&numbers(30, x_re.len())), cast::<f32>(&numbers(31, x_re.len())));
        forward(&self.s4d(), self.states.then_some(ComplexMut { re: last_re, im: last_im }));
        let gradients = s4d::Gradients {
            u: Some(u),
            log_dt: Some(log_dt),
            log_decay: Some(log_decay),
            frequency: Some(frequency),
            b: Some(ComplexMut { re: b_re, im: b_im }),
            c: Some(ComplexMut { re: c_re, im: c_im }),
            skip: Some(skip),
            initial: self.states.then_some(ComplexMut { re: x_re, im: x_im }),
        };
        backward(&self.s4d(), self.states.then_some(ComplexRef { re: &dre, im: &dim }), gradients);
        to.into()
    }

    /// y and du, then last states and the gradients of the parameters.
    fn half(&self) -> Found {
        let (mut y, mut du) = (vec![NAN; self.u.len()], vec![NAN; self.u.len()]);
        let singles = self.run(
            &mut du,
            |s4d, last| s4d.forward_bf16(&self.u, self.first(), &mut y, last),
            |s4d, dlast, to| s4d.backward_bf16(&self.u, self.first(), &self.dy, dlast, to),
        );
        Found { halves: vec![y, du], singles }
    }

    fn is_the_plain_one(&self) {
        let found = self.half();
        let (u, dy, mut y, mut du) = (singles(&self.u), singles(&self.dy), nan(self.u.len()), nan(self.u.len()));
        let all = self.run(
            &mut du,
            |s4d, last| s4d.forward(&u, self.first(), &mut y, last),
            |s4d, dlast, to| s4d.backward(&u, self.first(), &dy, dlast, to),
        );
        let what = format!("{:?} x {} x {}", self.bounds, self.channels, self.pairs);
        same(&found.halves[0], &y, &what);
        same(&found.halves[1], &du, &what);
        for (i, (found, plain)) in found.singles.iter().zip(&all).enumerate() {
            same_singles(found, plain, &format!("{i} of {what}"));
        }
    }
}

/// With states, by the scan; without, by the form that is cheaper: the scan for few pairs, the convolution for many and many sequences,
/// directly or by transforms.
fn cases() -> Vec<Case> {
    let batch = |count: usize, len: usize| (0..=count).map(|i| i * len).collect::<Vec<_>>();
    vec![
        Case::new(&[0, 7, 7, 8, 150], 5, 3, true),
        Case::new(&[0, 131], 40, 4, false),
        Case::new(&[0, 1], 1, 1, false),
        Case::new(&batch(20, 64), 17, 24, false),
        Case::new(&batch(6, 400), 3, 32, false),
        Case::new(&[0, 70 * 64 + 3], 2, 1, true),
        Case::new(&[0, 0], 3, 2, true),
    ]
}

#[test]
fn diagonal_systems_are_the_plain_ones_rounded() {
    for mut case in cases() {
        case.is_the_plain_one();
        (case.u, case.dy) = (wild(5, case.u.len()), wild(6, case.dy.len()));
        case.is_the_plain_one();
    }
}

#[test]
fn diagonal_systems_change_no_bit() {
    cases().iter().for_each(|case| changes_no_bit(|| case.half()));
}

#[test]
fn kernels_are_the_plain_ones_rounded() {
    for (channels, pairs, len) in [(1, 1, 1), (5, 3, 64), (17, 8, 130), (16, 2, 200), (3, 4, 0)] {
        let case = Case::new(&[0], channels, pairs, false);
        let (mut bits, mut plain) = (vec![NAN; channels * len], nan(channels * len));
        case.s4d().kernel_bf16(len, &mut bits);
        case.s4d().kernel(len, &mut plain);
        same(&bits, &plain, "K");
        for dk in [made_up(9, bits.len(), 1.0), wild(9, bits.len())] {
            let mut found = [nan(channels), nan(channels * pairs)];
            let mut all = found.clone();
            let places = |[log_dt, log_decay]: &mut [Vec<f32>; 2], work: &dyn Fn(s4d::Gradients<'_, f32>)| {
                work(s4d::Gradients { log_dt: Some(log_dt), log_decay: Some(log_decay), ..Default::default() });
            };
            places(&mut found, &|to| case.s4d().kernel_backward_bf16(len, &dk, to));
            places(&mut all, &|to| case.s4d().kernel_backward(len, &singles(&dk), to));
            (0..2).for_each(|i| same_singles(&found[i], &all[i], "from dK"));
        }
    }
}

#[test]
fn kernels_of_low_rank_systems_are_the_plain_ones_rounded() {
    for (channels, pairs, rank, len) in [(1, 1, 1, 1), (9, 3, 1, 33), (3, 4, 2, 50)] {
        let n = channels * pairs;
        let of = |seed: u64, len: usize| [0, 1].map(|i| cast::<f32>(&numbers(seed + i, len)));
        let [mut lambda, p, b, c] = [of(1, n), of(3, rank * n), of(5, n), of(7, n)];
        lambda[0].iter_mut().for_each(|x| *x -= 1.5);
        let log_dt = vec![-2.0f32; channels];
        let [lambda, p, b, c] = [&lambda, &p, &b, &c].map(|[re, im]| ComplexRef { re, im });
        let system = Dplr { channels, pairs, rank, rate: 1.0, log_dt: &log_dt, lambda, p, b, c };
        let (mut bits, mut plain) = (vec![NAN; channels * len], nan(channels * len));
        system.kernel_bf16(len, &mut bits);
        system.kernel(len, &mut plain);
        same(&bits, &plain, "K");
        for dk in [made_up(9, bits.len(), 1.0), wild(9, bits.len())] {
            let [mut found, mut all] = [(); 2].map(|()| [nan(channels), nan(n), nan(n)]);
            let [log_dt, re, im] = &mut found;
            let to = dplr::Gradients { log_dt: Some(log_dt), c: Some(ComplexMut { re, im }), ..Default::default() };
            system.backward_bf16(len, &dk, to);
            let [log_dt, re, im] = &mut all;
            let to = dplr::Gradients { log_dt: Some(log_dt), c: Some(ComplexMut { re, im }), ..Default::default() };
            system.backward(len, &singles(&dk), to);
            (0..3).for_each(|i| same_singles(&found[i], &all[i], "from dK"));
        }
        // The steps, C̃ taken for C.
        let stepper = dplr::Stepper::new(&system);
        let mut state = [vec![0.5f32; n], vec![0.25f32; n]];
        let mut other = state.clone();
        for t in 0..5 {
            let (u, mut y, mut plain) = (made_up(40 + t, channels, 1.0), vec![NAN; channels], nan(channels));
            let [re, im] = &mut state;
            stepper.step_bf16(&u, ComplexMut { re, im }, &mut y);
            let [re, im] = &mut other;
            stepper.step(&singles(&u), ComplexMut { re, im }, &mut plain);
            same(&y, &plain, "a step");
        }
        (0..2).for_each(|i| same_singles(&state[i], &other[i], "states of steps"));
    }
}

#[test]
fn steps_of_diagonal_systems_are_the_plain_ones_rounded() {
    let case = Case::new(&[0, 9], 5, 3, true);
    let stepper = s4d::Stepper::new(&case.s4d());
    let mut state = [case.parameters[8].clone(), case.parameters[9].clone()];
    let mut other = state.clone();
    for u in case.u.chunks(5).chain([&wild(3, 5)[..]]) {
        let (mut y, mut plain) = (vec![NAN; 5], nan(5));
        let [re, im] = &mut state;
        stepper.step_bf16(u, ComplexMut { re, im }, &mut y);
        let [re, im] = &mut other;
        stepper.step(&singles(u), ComplexMut { re, im }, &mut plain);
        same(&y, &plain, "a step");
    }
    (0..2).for_each(|i| same_singles(&state[i], &other[i], "states of steps"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_packed_system_is_the_plain_one(
        lengths in prop::collection::vec(0usize..140, 0..5), channels in 1usize..36, pairs in 1usize..9, states: bool,
    ) {
        let mut bounds = vec![0];
        lengths.iter().for_each(|len| bounds.push(bounds[bounds.len() - 1] + len));
        Case::new(&bounds, channels, pairs, states).is_the_plain_one();
    }

    #[test]
    fn any_long_convolution_is_the_plain_one(
        lengths in prop::collection::vec(0usize..300, 0..5), channels in 1usize..20, taps in 0usize..320,
    ) {
        let mut bounds = vec![0];
        lengths.iter().for_each(|len| bounds.push(bounds[bounds.len() - 1] + len));
        let len = bounds[bounds.len() - 1] * channels;
        conv_is_the_plain_one(&bounds, channels, taps, [&made_up(2, len, 1.0), &made_up(3, len, 1.0)]);
    }
}

#[test]
fn misfits_are_refused() {
    let refused = |u: usize, dy: usize, du: usize| {
        std::panic::catch_unwind(|| {
            let case = Case::new(&[0, 4], 2, 3, false);
            let to = s4d::Gradients { u: Some(&mut vec![0; du][..]), ..Default::default() };
            case.s4d().backward_bf16(&vec![0; u], None, &vec![0; dy], None, to);
        })
        .is_err()
    };
    assert!(!refused(8, 8, 8));
    assert!(refused(7, 7, 7) && refused(8, 7, 8) && refused(8, 8, 7));
}
