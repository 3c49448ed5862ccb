use proptest::prelude::*;

use super::super::*;
use super::{close, factors, slices};
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, in_pool, numbers};

/// MTTKRP of every mode, alone and in a sweep with factors that change, against the definition.
fn case<T: Real>(shape: &[usize], rank: usize, seed: u64) {
    let total: usize = shape.iter().product();
    let x: Vec<T> = cast(&numbers(seed, total));
    let mut u = factors::<T>(seed + 1, shape, rank);
    let mut sweep = Sweep::new(shape, rank);
    for round in 0..2 {
        for mode in 0..shape.len() {
            let what = format!("{shape:?} rank {rank} mode {mode} round {round}");
            let want = reference::mttkrp(&x, shape, &slices(&u), rank, mode);
            let terms = total / shape[mode].max(1);
            let mut got = vec![T::from_f64(f64::NAN); shape[mode] * rank];
            mttkrp(&x, shape, &slices(&u), rank, mode, &mut got);
            close(&got, &want, terms, shape.len(), &what);
            got.fill(T::from_f64(f64::NAN));
            sweep.mode(&x, &slices(&u), mode, &mut got);
            close(&got, &want, terms, shape.len(), &format!("sweep {what}"));
            u[mode] = cast(&numbers(seed + 10 * (mode as u64 + 7 * round), shape[mode] * rank));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_small_shape(shape in prop::collection::vec(1usize..8, 2..=5), rank in 1usize..14, seed in 0u64..1000) {
        case::<f64>(&shape, rank, seed);
        case::<f32>(&shape, rank, seed);
    }

    #[test]
    fn any_shape_of_uneven_sizes(
        long in 1usize..300, place in 0usize..3, a in 1usize..5, b in 1usize..20, rank in 1usize..20, seed in 0u64..1000,
    ) {
        let mut shape = vec![a, b];
        shape.insert(place, long);
        case::<f64>(&shape, rank, seed);
        case::<f32>(&shape, rank, seed);
    }
}

/// Shapes that reach every cut, block and tail: long rows, long columns, thin sides, sizes of 1, a rank above the sizes.
const SHAPES: [(&[usize], usize); 14] = [
    (&[5, 201, 61], 3),
    (&[70, 130, 40], 17),
    (&[64, 64, 64], 16),
    (&[3, 5000, 4], 5),
    (&[4100, 5], 9),
    (&[5, 4100], 9),
    (&[1, 700, 1], 33),
    (&[700, 1, 1], 2),
    (&[1, 1, 700], 1),
    (&[20, 21, 22, 9], 10),
    (&[6, 5, 7, 4, 9], 7),
    (&[2, 3, 2, 2500], 12),
    (&[9, 11, 13], 200),
    (&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2], 3),
];

#[test]
fn shapes_that_reach_every_block() {
    for (seed, (shape, rank)) in SHAPES.into_iter().enumerate() {
        case::<f64>(shape, rank, seed as u64);
        case::<f32>(shape, rank, seed as u64);
    }
}

/// All results of a sweep, tree and direct, in one list.
fn all<T: Real>(shape: &[usize], rank: usize) -> Vec<u64> {
    let x: Vec<T> = cast(&numbers(3, shape.iter().product()));
    let u = factors::<T>(4, shape, rank);
    let mut sweep = Sweep::new(shape, rank);
    let mut found = Vec::new();
    for mode in 0..shape.len() {
        let mut out = vec![T::ZERO; shape[mode] * rank];
        mttkrp(&x, shape, &slices(&u), rank, mode, &mut out);
        found.extend(bits(&out));
        sweep.mode(&x, &slices(&u), mode, &mut out);
        found.extend(bits(&out));
    }
    let mut dense = vec![T::ZERO; x.len()];
    kruskal_to_dense(shape, None, &slices(&u), rank, &mut dense);
    found.extend(bits(&dense));
    found.extend(bits(&gram(&u[0], rank)));
    found
}

#[test]
fn bytes_depend_neither_on_threads_nor_on_the_instruction_set() {
    for (shape, rank) in SHAPES {
        let want = in_pool(1, || all::<f64>(shape, rank));
        assert_eq!(in_pool(2, || all::<f64>(shape, rank)), want, "{shape:?} f64");
        let narrow = in_pool(1, || all::<f32>(shape, rank));
        assert_eq!(in_pool(3, || all::<f32>(shape, rank)), narrow, "{shape:?} f32");
    }
    for (shape, rank) in [(&[5usize, 81, 61][..], 7), (&[33, 30, 4], 16), (&[6, 5, 7, 4, 9], 7)] {
        let want = in_pool(1, || all::<f64>(shape, rank));
        for isa in available() {
            assert_eq!(in_pool(1, || with_isa(isa, || all::<f64>(shape, rank))), want, "{shape:?} {isa:?}");
        }
        let want = in_pool(1, || all::<f32>(shape, rank));
        for isa in available() {
            assert_eq!(in_pool(1, || with_isa(isa, || all::<f32>(shape, rank))), want, "{shape:?} {isa:?} f32");
        }
    }
}

#[test]
fn a_size_of_zero_gives_zeros() {
    for shape in [[0usize, 3, 2], [3, 0, 2], [3, 2, 0]] {
        let u = factors::<f64>(1, &shape, 4);
        let mut sweep = Sweep::<f64>::new(&shape, 4);
        for mode in 0..3 {
            let mut out = vec![f64::NAN; shape[mode] * 4];
            mttkrp(&[], &shape, &slices(&u), 4, mode, &mut out);
            assert!(out.iter().all(|&v| v == 0.0));
            out.fill(f64::NAN);
            sweep.mode(&[], &slices(&u), mode, &mut out);
            assert!(out.iter().all(|&v| v == 0.0));
        }
    }
    let u = factors::<f64>(1, &[2, 3], 0);
    mttkrp(&[1.0; 6], &[2, 3], &slices(&u), 0, 1, &mut []);
}

#[test]
fn the_factor_of_the_mode_is_not_read() {
    let shape = [4, 5, 6];
    let (x, mut u) = (numbers(1, 120), factors::<f64>(2, &shape, 3));
    for mode in 0..3 {
        let own = std::mem::replace(&mut u[mode], vec![f64::NAN; shape[mode] * 3]);
        let mut out = vec![0.0; shape[mode] * 3];
        mttkrp(&x, &shape, &slices(&u), 3, mode, &mut out);
        assert!(out.iter().all(|v| v.is_finite()));
        u[mode] = Vec::new();
        mttkrp(&x, &shape, &slices(&u), 3, mode, &mut out);
        u[mode] = own;
    }
}

#[test]
fn trees_read_x_twice_and_keep_to_their_memory() {
    // (shape, rank, passes over X)
    let cases: [(&[usize], usize, usize); 9] = [
        (&[300, 300, 300], 16, 2),
        (&[60, 60, 60, 60], 10, 2),
        (&[30, 30, 30, 30, 30], 10, 2),
        (&[300, 300, 300], 74, 2),
        // The intermediate would take more than a quarter of X: every mode for itself.
        (&[300, 300, 300], 75, 3),
        (&[60, 60, 60, 60], 1000, 4),
        // One side has room: modes 0 and 1 by a tree over the last mode, or the last two over the first.
        (&[2000, 30, 30], 100, 2),
        (&[30, 2000, 1000], 20, 2),
        (&[500, 400], 10, 2),
    ];
    for (shape, rank, passes) in cases {
        let sweep = Sweep::<f64>::new(shape, rank);
        assert_eq!(sweep.passes(), passes, "{shape:?} {rank}");
        assert!(sweep.numbers() <= shape.iter().product::<usize>() / 4, "{shape:?} {rank}: {}", sweep.numbers());
    }
    for seed in 0..200 {
        let shape: Vec<usize> = numbers(seed, 2 + seed as usize % 5).iter().map(|v| (3.0 + 40.0 * v * v) as usize).collect();
        let sweep = Sweep::<f64>::new(&shape, 1 + seed as usize % 37);
        assert!(sweep.numbers() <= (shape.iter().product::<usize>() / 4).max(1 << 16), "{shape:?}");
    }
}

#[test]
#[should_panic(expected = "mode 2 was asked for where mode 1 is next")]
fn a_sweep_keeps_the_order() {
    let u = factors::<f64>(1, &[2, 2, 2], 1);
    let mut sweep = Sweep::new(&[2, 2, 2], 1);
    let mut out = [0.0; 2];
    sweep.mode(&[1.0; 8], &slices(&u), 0, &mut out);
    sweep.mode(&[1.0; 8], &slices(&u), 2, &mut out);
}

#[test]
#[should_panic(expected = "factor 1 is 3 x 4, not 11 numbers")]
fn a_short_factor_is_refused() {
    let u = [vec![0.0; 8], vec![0.0; 11], vec![0.0; 8]];
    mttkrp(&[0.0; 12], &[2, 3, 2], &slices(&u), 4, 0, &mut [0.0; 8]);
}

#[test]
fn the_model_at_every_place() {
    for (seed, (shape, rank)) in SHAPES.into_iter().enumerate() {
        let u = factors::<f64>(seed as u64, shape, rank);
        let weights = numbers(seed as u64 + 50, rank);
        let want = reference::kruskal(shape, Some(&weights), &slices(&u), rank);
        let mut got = vec![f64::NAN; want.len()];
        kruskal_to_dense(shape, Some(&weights), &slices(&u), rank, &mut got);
        close(&got, &want, rank, shape.len(), &format!("{shape:?}"));
        // The same at a few places.
        let places: Vec<usize> = (0..5000).map(|k| k * 7919 % want.len()).collect();
        let mut indices = vec![Vec::new(); shape.len()];
        for &place in &places {
            let mut rest = place;
            for m in (0..shape.len()).rev() {
                indices[m].push((rest % shape[m]) as u32);
                rest /= shape[m];
            }
        }
        let mut got = vec![f64::NAN; places.len()];
        kruskal_values(shape, &slices(&indices), Some(&weights), &slices(&u), rank, &mut got);
        let want: Vec<_> = places.iter().map(|&p| want[p]).collect();
        close(&got, &want, rank, shape.len(), &format!("{shape:?} at places"));
    }
}

#[test]
fn the_inner_product_with_a_model_is_that_of_any_mttkrp() {
    // <X, [[U]]> = Σ W_n ∘ U_n for every mode n: no oracle needed. Both sides are sums of ΠI·R terms.
    let (shape, rank) = ([7usize, 12, 9], 5);
    let (x, u) = (numbers(1, 756), factors::<f64>(2, &shape, rank));
    let mut model = vec![0.0; 756];
    kruskal_to_dense(&shape, None, &slices(&u), rank, &mut model);
    let inner: f64 = x.iter().zip(&model).map(|(a, b)| a * b).sum();
    for mode in 0..3 {
        let mut w = vec![0.0; shape[mode] * rank];
        mttkrp(&x, &shape, &slices(&u), rank, mode, &mut w);
        let found: f64 = w.iter().zip(&u[mode]).map(|(a, b)| a * b).sum();
        assert!((found - inner).abs() <= 2.0 * 756.0 * 5.0 * f64::EPSILON * 756.0, "{found} {inner}");
    }
}

#[test]
fn grams_are_symmetric_and_added_up_in_f64() {
    for (rows, rank) in [(0, 3), (1, 1), (5, 7), (300, 16), (9001, 5), (5000, 33)] {
        let u: Vec<f32> = cast(&numbers(7, rows * rank));
        let got = gram(&u, rank);
        for r in 0..rank {
            for s in 0..rank {
                let terms = (0..rows).map(|i| f64::from(u[i * rank + r]) * f64::from(u[i * rank + s]));
                let (want, size) = terms.fold((0.0, 0.0), |(a, b), t: f64| (a + t, b + t.abs()));
                assert!((got[r * rank + s] - want).abs() <= 2.0 * rows as f64 * f64::EPSILON * size, "{rows} x {rank}");
                assert_eq!(got[r * rank + s].to_bits(), got[s * rank + r].to_bits());
            }
        }
    }
    let grams = [vec![1.0, 2.0, 2.0, 5.0], vec![3.0, 1.0, 1.0, 1.0], vec![2.0, 0.0, 0.0, 2.0]];
    assert_eq!(hadamard_except(&grams, 1, 4), [2.0, 0.0, 0.0, 10.0]);
    assert_eq!(hadamard(grams.iter().map(|g| &g[..]), 4), [6.0, 0.0, 0.0, 10.0]);
    assert_eq!(hadamard(std::iter::empty(), 4), [1.0; 4]);
}
