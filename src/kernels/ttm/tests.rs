//! Against the definitions, identities, and the edges of every shape.

use proptest::prelude::*;

use super::*;
use crate::kernels::gemm::MatRef;
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, differences, in_pool, numbers};

/// A sum of `terms` products of two numbers.
fn close<T: Real>(got: &[T], want: &[(f64, f64)], terms: usize, what: &str) {
    crate::kernels::mttkrp::tests::close(got, want, terms, 1, what);
}

fn case<T: Real>(shape: &[usize], rows: usize, seed: u64) {
    let total: usize = shape.iter().product();
    let x: Vec<T> = cast(&numbers(seed, total));
    for mode in 0..shape.len() {
        let what = format!("{shape:?} x {rows} mode {mode}");
        let m: Vec<T> = cast(&numbers(seed + 1, rows * shape[mode]));
        let want = reference::ttm(&x, shape, &m, rows, mode);
        let mut got = vec![T::from_f64(f64::NAN); want.len()];
        ttm(&x, shape, MatRef::new(&m, rows, shape[mode]), mode, &mut got);
        close(&got, &want, shape[mode], &what);
        // A transposed view of the transposed matrix.
        let flipped: Vec<T> = (0..m.len()).map(|k| m[k % rows * shape[mode] + k / rows]).collect();
        let mut again = vec![T::from_f64(f64::NAN); want.len()];
        ttm(&x, shape, MatRef::new(&flipped, shape[mode], rows).t(), mode, &mut again);
        close(&again, &want, shape[mode], &what);

        let dy: Vec<T> = cast(&numbers(seed + 2, got.len()));
        let [want_x, want_m] = reference::ttm_backward(&x, shape, &m, rows, mode, &dy);
        let (mut dx, mut dm) = (vec![T::from_f64(f64::NAN); total], vec![T::from_f64(f64::NAN); m.len()]);
        ttm_backward(&x, shape, MatRef::new(&m, rows, shape[mode]), mode, &dy, Some(&mut dx), Some(&mut dm));
        close(&dx, &want_x, rows, &format!("dX {what}"));
        close(&dm, &want_m, total / shape[mode], &format!("dM {what}"));

        let want = reference::mode_gram(&x, &x, shape, mode);
        let mut got = vec![T::from_f64(f64::NAN); want.len()];
        mode_gram(&x, shape, mode, &mut got);
        close(&got, &want, total / shape[mode], &format!("gram {what}"));
        let n = shape[mode];
        assert!((0..n * n).all(|k| got[k] == got[k % n * n + k / n]), "{what}: symmetric");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_small_shape(shape in prop::collection::vec(1usize..8, 1..=5), rows in 1usize..20, seed in 0u64..1000) {
        case::<f64>(&shape, rows, seed);
        case::<f32>(&shape, rows, seed);
    }
}

const SHAPES: [(&[usize], usize); 9] = [
    (&[5, 201, 61], 5),
    (&[40, 150, 30], 17),
    (&[3, 1300, 2], 6),
    (&[700, 3, 3], 40),
    (&[300, 200], 9),
    (&[1, 300, 1], 3),
    (&[9, 8, 7, 6], 30),
    (&[2, 3, 2, 900], 2),
    // A matrix of more numbers than a task sums by itself.
    (&[4, 400, 3], 60),
];

#[test]
fn shapes_that_reach_every_block() {
    for (seed, (shape, rows)) in SHAPES.into_iter().enumerate() {
        case::<f64>(shape, rows, seed as u64);
        case::<f32>(shape, rows, seed as u64);
    }
}

#[test]
fn bytes_depend_neither_on_threads_nor_on_the_instruction_set() {
    for (shape, rows) in SHAPES {
        let x = numbers(1, shape.iter().product());
        let all = || {
            let one = |mode: usize| {
                let m = numbers(2, rows * shape[mode]);
                let mut out = vec![0.0; x.len() / shape[mode] * rows];
                ttm(&x, shape, MatRef::new(&m, rows, shape[mode]), mode, &mut out);
                let mut gram = vec![0.0; shape[mode] * shape[mode]];
                mode_gram(&x, shape, mode, &mut gram);
                let mut dm = vec![0.0; m.len()];
                ttm_backward(&x, shape, MatRef::new(&m, rows, shape[mode]), mode, &out, None, Some(&mut dm));
                [bits(&out), bits(&gram), bits(&dm)].concat()
            };
            (0..shape.len()).flat_map(one).collect::<Vec<_>>()
        };
        let want = in_pool(1, all);
        assert_eq!(in_pool(2, all), want, "{shape:?}");
        if x.len() < 1 << 16 {
            for isa in available() {
                assert_eq!(in_pool(1, || with_isa(isa, all)), want, "{shape:?} {isa:?}");
            }
        }
    }
}

#[test]
fn empty_modes() {
    let mut out = [f64::NAN; 4];
    ttm(&[], &[2, 0], MatRef::new(&[], 2, 0), 1, &mut out);
    assert_eq!(out, [0.0; 4]);
    ttm::<f64>(&[], &[0, 3], MatRef::new(&[1.0; 6], 2, 3), 1, &mut []);
    let mut gram = [f64::NAN; 9];
    mode_gram::<f64>(&[], &[0, 3], 1, &mut gram);
    assert_eq!(gram, [0.0; 9]);
    mode_gram::<f64>(&[], &[0, 3], 0, &mut []);
    let mut dm = [f64::NAN; 6];
    ttm_backward(&[], &[0, 3], MatRef::new(&[1.0; 6], 2, 3), 1, &[], Some(&mut []), Some(&mut dm));
    assert_eq!(dm, [0.0; 6]);
}

/// The definition of the gradients itself, by central differences of a function that is linear in each number: exact but for roundings of
/// numbers of size 100 over a step of 1e-5.
#[test]
fn gradients_are_differences() {
    let (shape, rows) = ([4usize, 5, 3], 2);
    for mode in 0..3 {
        let (x, m) = (numbers(1, 60), numbers(2, rows * shape[mode]));
        let dy = numbers(3, 60 / shape[mode] * rows);
        let loss = |x: &[f64], m: &[f64]| -> f64 {
            reference::ttm(x, &shape, m, rows, mode).iter().zip(&dy).map(|(y, d)| y.0 * d).sum()
        };
        let (mut dx, mut dm) = (vec![f64::NAN; 60], vec![f64::NAN; m.len()]);
        ttm_backward(&x, &shape, MatRef::new(&m, rows, shape[mode]), mode, &dy, Some(&mut dx), Some(&mut dm));
        differences(&x, &dx, 1, 1e-7, "dX", |x| loss(x, &m));
        differences(&m, &dm, 1, 1e-7, "dM", |m| loss(&x, m));
    }
}

#[test]
fn a_chain_is_its_products_in_any_order() {
    let (shape, rows) = ([6usize, 5, 9, 4], [2usize, 7, 3, 4]);
    let x = numbers(1, 1080);
    let m: Vec<Vec<f64>> = (0..4).map(|k| numbers(2 + k as u64, rows[k] * shape[k])).collect();
    let views: Vec<MatRef<'_, f64>> = (0..4).map(|k| MatRef::new(&m[k], rows[k], shape[k])).collect();
    for skip in [None, Some(0), Some(2), Some(3)] {
        // The chain, and beside it that of the magnitudes, which its rounding is in proportion to.
        let size = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
        let (mut want, mut sizes, mut magnitude, mut terms) = (x.clone(), shape.to_vec(), size(&x), 0);
        for mode in (0..4).filter(|&k| Some(k) != skip) {
            let step = |x: &[f64], m: &[f64]| -> Vec<f64> {
                reference::ttm(x, &sizes, m, rows[mode], mode).into_iter().map(|v| v.0).collect()
            };
            (want, magnitude) = (step(&want, &m[mode]), step(&magnitude, &size(&m[mode])));
            terms += sizes[mode];
            sizes[mode] = rows[mode];
        }
        let got = skip.map_or_else(|| ttm_all(&x, &shape, &views), |skip| ttmc(&x, &shape, &views, skip));
        let want: Vec<(f64, f64)> = want.into_iter().zip(magnitude).collect();
        crate::kernels::mttkrp::tests::close(&got, &want, terms, 4, &format!("{skip:?}"));
    }
}

#[test]
fn the_order_of_a_chain_is_the_cheapest() {
    let cost = |order: &[usize], shape: &[usize], rows: &[usize]| {
        let mut sizes: Vec<f64> = shape.iter().map(|&v| v as f64).collect();
        let mut sum = 0.0;
        for &m in order {
            sum += sizes.iter().product::<f64>() * rows[m] as f64;
            sizes[m] = rows[m] as f64;
        }
        sum
    };
    fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
        if of.is_empty() {
            return vec![Vec::new()];
        }
        let with = |k: usize| {
            let rest: Vec<usize> = of.iter().copied().filter(|&m| m != of[k]).collect();
            permutations(&rest).into_iter().map(move |p| [vec![of[k]], p].concat())
        };
        (0..of.len()).flat_map(with).collect()
    }
    for seed in 0..60 {
        let draw = |s: u64| -> Vec<usize> { numbers(s, 4).iter().map(|v| (1.5 + 30.0 * v.abs()) as usize).collect() };
        let (shape, rows) = (draw(seed), draw(seed + 1000));
        let found = chain::order(&shape, &rows, Some(1));
        let best = permutations(&[0, 2, 3]).iter().map(|p| cost(p, &shape, &rows)).fold(f64::INFINITY, f64::min);
        assert!(cost(&found, &shape, &rows) <= best * (1.0 + 1e-12), "{shape:?} {rows:?}");
    }
}

#[test]
fn complex_forms_are_their_four_real_products() {
    let shape = [5usize, 6, 7];
    let x = [numbers(1, 210), numbers(2, 210)];
    for mode in 0..3 {
        let n = shape[mode];
        let m = [numbers(3, 4 * n), numbers(4, 4 * n)];
        let part = |a: usize, b: usize| reference::ttm(&x[a], &shape, &m[b], 4, mode);
        let (rr, ii, ri, ir) = (part(0, 0), part(1, 1), part(0, 1), part(1, 0));
        let (mut re, mut im) = (vec![f64::NAN; rr.len()], vec![f64::NAN; rr.len()]);
        ttm_complex([&x[0], &x[1]], &shape, [MatRef::new(&m[0], 4, n), MatRef::new(&m[1], 4, n)], mode, [&mut re, &mut im]);
        let join = |a: &[(f64, f64)], b: &[(f64, f64)], sign: f64| -> Vec<(f64, f64)> {
            a.iter().zip(b).map(|(a, b)| (a.0 + sign * b.0, a.1 + b.1)).collect()
        };
        close(&re, &join(&rr, &ii, -1.0), 2 * n, "re");
        close(&im, &join(&ri, &ir, 1.0), 2 * n, "im");

        let part = |a: usize, b: usize| reference::mode_gram(&x[a], &x[b], &shape, mode);
        let (mut re, mut im) = (vec![f64::NAN; n * n], vec![f64::NAN; n * n]);
        mode_gram_complex([&x[0], &x[1]], &shape, mode, [&mut re, &mut im]);
        close(&re, &join(&part(0, 0), &part(1, 1), 1.0), 420 / n, "gram re");
        close(&im, &join(&part(1, 0), &part(0, 1), -1.0), 420 / n, "gram im");
        assert!((0..n * n).all(|k| im[k] == -im[k % n * n + k / n] && re[k] == re[k % n * n + k / n]), "Hermitian");
    }
}
