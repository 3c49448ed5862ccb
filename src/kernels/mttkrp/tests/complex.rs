use super::super::reference::times;
use super::super::*;
use crate::kernels::testing::{bits, cast, in_pool, numbers};

type Factor = [Vec<f64>; 2];

fn factors(seed: u64, shape: &[usize], rank: usize) -> Vec<Factor> {
    let part = |m: usize, k: u64| numbers(seed + 2 * m as u64 + k, shape[m] * rank);
    (0..shape.len()).map(|m| [part(m, 0), part(m, 1)]).collect()
}

fn views(f: &[Factor]) -> Vec<[&[f64]; 2]> {
    f.iter().map(|[a, b]| [&a[..], &b[..]]).collect()
}

#[test]
fn every_mode_against_the_definition() {
    for (shape, rank) in [
        (&[3usize, 4, 5][..], 3),
        (&[1, 7, 1], 5),
        (&[40, 3, 5], 4),
        (&[5, 90, 61], 9),
        (&[4, 3, 2, 5], 2),
        (&[300, 40, 2], 11),
        (&[6, 9], 20),
    ] {
        let total: usize = shape.iter().product();
        let x = [numbers(1, total), numbers(2, total)];
        let u = factors(3, shape, rank);
        for mode in 0..shape.len() {
            let want = reference::mttkrp_complex([&x[0], &x[1]], shape, &views(&u), rank, mode);
            let (mut re, mut im) = (vec![f64::NAN; want.len()], vec![f64::NAN; want.len()]);
            mttkrp_complex([&x[0], &x[1]], shape, &views(&u), rank, mode, [&mut re, &mut im]);
            // Terms are below 2^{N/2}·√2 in size, and each part adds two real products a term.
            let terms = (2 * total / shape[mode]) as f64;
            let size = terms * 2f64.powi(shape.len() as i32);
            for (k, want) in want.iter().enumerate() {
                let error = (re[k] - want.0).abs().max((im[k] - want.1).abs());
                assert!(error <= 2.0 * (terms + 12.0) * f64::EPSILON * size, "{shape:?} mode {mode} element {k}: {error:e}");
            }
            let narrow = |x: &[f64]| cast::<f32>(x);
            let x32 = [narrow(&x[0]), narrow(&x[1])];
            let u32s: Vec<[Vec<f32>; 2]> = u.iter().map(|[a, b]| [narrow(a), narrow(b)]).collect();
            let u32s: Vec<[&[f32]; 2]> = u32s.iter().map(|[a, b]| [&a[..], &b[..]]).collect();
            let (mut re, mut im) = (vec![f32::NAN; want.len()], vec![f32::NAN; want.len()]);
            mttkrp_complex([&x32[0], &x32[1]], shape, &u32s, rank, mode, [&mut re, &mut im]);
            for (k, want) in want.iter().enumerate() {
                let error = (f64::from(re[k]) - want.0).abs().max((f64::from(im[k]) - want.1).abs());
                assert!(
                    error <= 2.0 * (terms + 12.0) * f64::from(f32::EPSILON) * size,
                    "f32 {shape:?} mode {mode} element {k}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn the_normal_equations_hold_for_an_exact_model() {
    // X = [[U]]: then U_n Gᵀ = X_(n) conj(KR) with G = ⊙ U_mᴴU_m, for every mode.
    let (shape, rank) = ([4usize, 5, 3], 2);
    let u = factors(5, &shape, rank);
    let mut x = [vec![0.0; 60], vec![0.0; 60]];
    reference::each_entry(&shape, |place, index| {
        for r in 0..rank {
            let entry = |m: usize| (u[m][0][index[m] * rank + r], u[m][1][index[m] * rank + r]);
            let term = (1..3).fold(entry(0), |a, m| times(a, entry(m)));
            x[0][place] += term.0;
            x[1][place] += term.1;
        }
    });
    for mode in 0..3 {
        let (mut re, mut im) = (vec![0.0; shape[mode] * rank], vec![0.0; shape[mode] * rank]);
        mttkrp_complex([&x[0], &x[1]], &shape, &views(&u), rank, mode, [&mut re, &mut im]);
        let grams: Vec<[Vec<f64>; 2]> = (0..3).filter(|&m| m != mode).map(|m| gram_complex([&u[m][0], &u[m][1]], rank)).collect();
        let g = hadamard_complex(grams.iter().map(|[a, b]| [&a[..], &b[..]]), rank * rank);
        for i in 0..shape[mode] {
            for r in 0..rank {
                let term = |s: usize| {
                    let at = i * rank + s;
                    times((u[mode][0][at], u[mode][1][at]), (g[0][r * rank + s], g[1][r * rank + s]))
                };
                let want = (0..rank).map(term).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                let at = i * rank + r;
                // Both sides are sums of products of the same numbers, up to 2·ΠI·R of them: (terms + modes) roundings of their magnitudes,
                // twice as the sides differ.
                let terms = 2 * x[0].len() * rank;
                let size: f64 = (0..rank).map(term).map(|(a, b)| a.abs() + b.abs()).sum();
                let allowed = 2.0 * (terms + 6) as f64 * f64::EPSILON * size.max(1.0);
                assert!((re[at] - want.0).abs() <= allowed && (im[at] - want.1).abs() <= allowed, "mode {mode}");
            }
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let (shape, rank) = ([30usize, 40, 50], 8);
    let x = [numbers(1, 60_000), numbers(2, 60_000)];
    let u = factors(3, &shape, rank);
    let all = || {
        let one = |mode: usize| {
            let (mut re, mut im) = (vec![0.0; shape[mode] * rank], vec![0.0; shape[mode] * rank]);
            mttkrp_complex([&x[0], &x[1]], &shape, &views(&u), rank, mode, [&mut re, &mut im]);
            [bits(&re), bits(&im)].concat()
        };
        (0..3).flat_map(one).collect::<Vec<_>>()
    };
    assert_eq!(in_pool(1, all), in_pool(2, all));
}
