use super::*;
use crate::kernels::elementwise::chunks::CHUNK;
use crate::kernels::simd::{Real, available, with_isa};

fn numbers<T: Real>(len: usize, seed: f64) -> Vec<T> {
    (0..len).map(|i| T::from_f64((1.7 * i as f64 + seed).sin())).collect()
}

/// Five steps against the reference, each fed the numbers of the fast one, so that errors do not pile up.
fn check_adam<T: Real>(rule: Adam, len: usize, tol: f64) {
    let mut p = numbers::<T>(len, 0.2);
    let (mut m, mut v) = (vec![T::ZERO; len], vec![T::ZERO; len]);
    for step in 1..=5 {
        // β₁ changes from step to step, as under a one-cycle schedule.
        let rule = Adam { beta1: rule.beta1 - 0.01 * step as f64, ..rule };
        let g = numbers::<T>(len, step as f64);
        let exact: Vec<_> = (0..len)
            .map(|i| reference::adam(&rule, step, p[i].to_f64(), 0.5 * g[i].to_f64(), m[i].to_f64(), v[i].to_f64()))
            .collect();
        adam(&rule, step, 0.5, &mut p, &g, &mut m, &mut v);
        for i in 0..len {
            for (fast, exact) in [(p[i], exact[i].0), (m[i], exact[i].1), (v[i], exact[i].2)] {
                assert!((fast.to_f64() - exact).abs() <= tol, "{rule:?}, step {step}, {i}: {fast} and {exact}");
            }
        }
    }
}

#[test]
fn adam_is_its_definition() {
    let plain = Adam { lr: 0.01, ..Adam::default() };
    let rules = [
        plain,
        Adam { weight_decay: 0.1, ..plain },
        Adam { weight_decay: 0.1, decoupled: true, ..plain },
        Adam { beta1: 0.4, beta2: 0.5, eps: 0.1, ..plain },
    ];
    for rule in rules {
        for len in [0, 1, 7, 16, 17, 100] {
            // Numbers near 1, rounded a few times.
            check_adam::<f32>(rule, len, 4.0 * f64::from(f32::EPSILON));
            check_adam::<f64>(rule, len, 4.0 * f64::EPSILON);
        }
    }
    check_adam::<f32>(rules[2], 5 * CHUNK + 3, 4.0 * f64::from(f32::EPSILON));
}

#[test]
fn first_step_of_adam_has_the_length_of_the_rate() {
    let (mut p, mut m, mut v) = ([1.0f64, -2.0, 0.5], [0.0; 3], [0.0; 3]);
    adam(&Adam { lr: 0.1, ..Adam::default() }, 1, 1.0, &mut p, &[3.0, -0.01, 0.0], &mut m, &mut v);
    for (p, expected) in p.iter().zip([0.9, -1.9, 0.5]) {
        // eps / |g| of the rate is lost: 1e-6 of 0.1.
        assert!((p - expected).abs() < 2e-7, "{p}");
    }
}

#[test]
fn sgd_is_its_definition() {
    fn check<T: Real>(rule: Sgd, len: usize, tol: f64) {
        let mut p = numbers::<T>(len, 0.2);
        let mut b = vec![T::ZERO; if rule.momentum == 0.0 { 0 } else { len }];
        for step in 1..=4 {
            let g = numbers::<T>(len, f64::from(step));
            let state = |b: &[T], i: usize| b.get(i).map_or(0.0, |b| b.to_f64());
            let exact: Vec<_> =
                (0..len).map(|i| reference::sgd(&rule, p[i].to_f64(), 2.0 * g[i].to_f64(), state(&b, i))).collect();
            sgd(&rule, 2.0, &mut p, &g, &mut b);
            for i in 0..len {
                assert!((p[i].to_f64() - exact[i].0).abs() <= tol, "{rule:?}, {i}");
                assert!(b.is_empty() || (b[i].to_f64() - exact[i].1).abs() <= tol, "{rule:?}, {i}");
            }
        }
    }
    let plain = Sgd { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let heavy = Sgd { momentum: 0.9, ..plain };
    for rule in [plain, Sgd { weight_decay: 0.3, ..plain }, heavy, Sgd { nesterov: true, weight_decay: 0.3, ..heavy }] {
        for len in [0, 1, 16, 17, 5 * CHUNK + 1] {
            // Velocities reach 8, rounded three times.
            check::<f32>(rule, len, 16.0 * f64::from(f32::EPSILON));
            check::<f64>(rule, len, 16.0 * f64::EPSILON);
        }
    }
}

#[test]
fn adam_equals_pytorch_bit_for_bit() {
    // torch 2.15, float32, Adam(lr=0.01, betas=(0.9, 0.999), weight_decay=0.1), then AdamW; three steps with gradients
    // g_i = sin(1.7 i + step) of parameters p_i = sin(1.7 i + 0.2), i < 8.
    for (decoupled, expected) in [(false, COUPLED), (true, DECOUPLED)] {
        let rule = Adam { lr: 0.01, weight_decay: 0.1, decoupled, ..Adam::default() };
        let mut p = numbers::<f32>(8, 0.2);
        let (mut m, mut v) = (vec![0.0; 8], vec![0.0; 8]);
        for step in 1..=3 {
            adam(&rule, step, 1.0, &mut p, &numbers(8, step as f64), &mut m, &mut v);
        }
        assert_eq!(p.iter().map(|p| p.to_bits()).collect::<Vec<_>>(), expected, "decoupled: {decoupled}");
    }
}

#[test]
fn norms_and_clipping() {
    assert_eq!(global_norm(&[&[3.0f32], &[], &[0.0, -4.0]]), 5.0);
    assert_eq!(global_norm::<f32>(&[]), 0.0);
    // Squares beyond f32.
    assert!((global_norm(&[&[3e30f32, 4e30]]) / 5e30 - 1.0).abs() < 1e-6);
    let x = numbers::<f32>(200_001, 0.4);
    let exact = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    assert!((global_norm(&[&x]) / exact - 1.0).abs() < 1e-12);
    assert_eq!(clip_factor(0.5, 1.0), 1.0);
    assert_eq!(clip_factor(0.0, 1.0), 1.0);
    assert_eq!(clip_factor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
    assert!(clip_factor(f64::NAN, 1.0).is_nan());
    assert_eq!(clip_factor(f64::INFINITY, 1.0), 0.0);
}

#[test]
fn threads_and_instruction_sets_do_not_matter() {
    let step = |len: usize| {
        let mut p = numbers::<f32>(len, 0.2);
        let (mut m, mut v) = (numbers::<f32>(len, 0.3), vec![0.5; len]);
        let g = numbers::<f32>(len, 4.0);
        let norm = global_norm(&[&g, &p]);
        adam(&Adam::default(), 3, clip_factor(norm, 1.0), &mut p, &g, &mut m, &mut v);
        sgd(&Sgd { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.1 }, 1.0, &mut p, &g, &mut m);
        (p, m, v, norm.to_bits())
    };
    let expected = step(999);
    for isa in available() {
        assert_eq!(with_isa(isa, || step(999)), expected, "{isa:?}");
    }
    let on = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| step(100_003));
    assert_eq!(on(1), on(3));
}

const COUPLED: [u32; 8] = [0x3e2e43f7, 0x3f70dd04, 0xbed4a8ae, 0xbf556db1, 0x3f21b667, 0x3f306942, 0xbf4e148d, 0xbef4cd0c];
const DECOUPLED: [u32; 8] = [0x3e2dbffe, 0x3f70e822, 0xbed42237, 0xbf5544e9, 0x3f2161fe, 0x3f3014f0, 0xbf4dc178, 0xbef432a1];
