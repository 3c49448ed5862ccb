use proptest::prelude::*;

use super::super::sparse::{SparsePlan, gather, places};
use super::super::*;
use super::{close, factors, shared, slices};
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, in_pool, numbers};

/// Coordinates: mode m has indices of the power law `size · x^skew`, so that a few rows hold most nonzeros.
fn coordinates(seed: u64, shape: &[usize], count: usize, skew: i32) -> Vec<Vec<u32>> {
    shape
        .iter()
        .enumerate()
        .map(|(m, &size)| {
            let draw = |x: f64| (((x.abs()).powi(skew) * size as f64) as usize).min(size - 1) as u32;
            numbers(seed * 31 + m as u64, count).into_iter().map(draw).collect()
        })
        .collect()
}

fn case<T: Real>(shape: &[usize], indices: &[Vec<u32>], rank: usize, seed: u64) -> SparsePlan<'static, T> {
    let count = indices[0].len();
    let values: Vec<T> = cast(&numbers(seed + 5, count));
    let u = factors::<T>(seed + 6, shape, rank);
    let plan = SparsePlan::new(shape, indices.to_vec(), values.clone());
    for mode in 0..shape.len() {
        let want = reference::sparse((shape, indices, &values), &slices(&u), rank, mode);
        let mut got = vec![T::from_f64(f64::NAN); shape[mode] * rank];
        plan.mttkrp(&slices(&u), rank, mode, &mut got);
        close(&got, &want, count, shape.len(), &format!("{shape:?} {count} nonzeros, rank {rank}, mode {mode}"));
    }
    assert_eq!(plan.len(), count);
    plan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_coordinates(
        shape in prop::collection::vec(1usize..9, 1..=5), count in 0usize..150, skew in 1i32..4, rank in 1usize..40, seed in 0u64..1000,
    ) {
        // Few cells: many of them come several times.
        let indices = coordinates(seed, &shape, count, skew);
        case::<f64>(&shape, &indices, rank, seed);
        case::<f32>(&shape, &indices, rank, seed);
    }
}

#[test]
fn many_nonzeros_in_stretches_that_cut_rows_and_fibers() {
    for (shape, skew) in
        [(&[50usize, 4000, 90][..], 3), (&[3, 2, 70_000], 1), (&[9, 8, 7, 300], 2), (&[1, 100_000], 1), (&[70_000], 4)]
    {
        let indices = coordinates(1, shape, 50_000, skew);
        case::<f64>(shape, &indices, 5, 1);
        case::<f32>(shape, &indices, 16, 1);
    }
}

#[test]
fn the_dense_and_the_sparse_form_agree() {
    let (shape, rank) = ([5usize, 4, 3, 2], 6);
    let x = numbers(1, 120);
    let mut indices = vec![Vec::new(); 4];
    reference::each_entry(&shape, |_, index| index.iter().zip(&mut indices).for_each(|(&i, to)| to.push(i as u32)));
    let u = factors::<f64>(2, &shape, rank);
    let plan = SparsePlan::new(&shape, indices, x.clone());
    for mode in 0..4 {
        let want = reference::mttkrp(&x, &shape, &slices(&u), rank, mode);
        let mut got = vec![0.0; shape[mode] * rank];
        plan.mttkrp(&slices(&u), rank, mode, &mut got);
        close(&got, &want, 120, 4, "a full tensor");
    }
}

#[test]
fn bytes_depend_neither_on_threads_nor_on_the_instruction_set() {
    for shape in [&[40usize, 3000, 80][..], &[30, 40, 50, 60, 70]] {
        let indices = coordinates(3, shape, 60_000, 3);
        let (values, rank) = (numbers(1, 60_000), 11);
        let all = || {
            let u = factors::<f64>(2, shape, rank);
            let plan = SparsePlan::new(shape, indices.clone(), values.clone());
            let one = |mode: usize| {
                let mut out = vec![0.0; shape[mode] * rank];
                plan.mttkrp(&slices(&u), rank, mode, &mut out);
                bits(&out)
            };
            (0..shape.len()).flat_map(one).collect::<Vec<_>>()
        };
        let want = in_pool(1, all);
        assert_eq!(in_pool(2, all), want);
        for isa in available() {
            assert_eq!(in_pool(1, || with_isa(isa, all)), want, "{isa:?}");
        }
    }
}

#[test]
fn a_plan_keeps_to_three_times_the_coordinates() {
    // Random coordinates share no prefixes: the worst case. Skewed ones share many.
    for (shape, count) in
        [(&[3000usize, 4000, 5000][..], 60_000), (&[200, 300, 400, 500], 60_000), (&[90; 5], 50_000), (&[40; 8], 40_000)]
    {
        for skew in [1, 6] {
            let indices = coordinates(7, shape, count, skew);
            let own = |value: usize| count * (4 * shape.len() + value);
            let plan = case::<f64>(shape, &indices, 3, 1);
            assert!(plan.bytes() <= 3 * own(8), "{shape:?}: {} of {}", plan.bytes(), own(8));
            if shape.len() == 3 {
                assert!(plan.listed().is_empty(), "{shape:?}: a tree for each of three modes");
            }
            let plan = case::<f32>(shape, &indices, 17, 1);
            assert!(plan.bytes() <= 3 * own(4), "{shape:?}: {} of {}", plan.bytes(), own(4));
        }
    }
    // Five modes without shared prefixes do not fit as trees.
    let indices = coordinates(7, &[900; 5], 50_000, 1);
    assert!(!case::<f64>(&[900; 5], &indices, 3, 1).listed().is_empty());
}

#[test]
fn coordinates_in_order_are_borrowed_and_give_the_same_bits() {
    for (shape, count) in [(&[60usize, 300, 80][..], 20_000), (&[9, 1, 7], 40), (&[40; 8], 10_000), (&[7, 5], 20), (&[50], 30)] {
        let given = coordinates(7, shape, count, 3);
        let values = numbers(1, given[0].len());
        let order = places(shape, &slices(&given));
        let indices: Vec<Vec<u32>> = given.iter().map(|i| gather(i, &order)).collect();
        let arranged = gather(&values, &order);
        let rank = 5;
        let u = factors::<f64>(2, shape, rank);
        let owned = SparsePlan::new(shape, given.clone(), values.clone());
        let slow = SparsePlan::of(shape, &slices(&given), &values);
        let plan = SparsePlan::of(shape, &slices(&indices), &arranged);
        let own = values.len() * (4 * shape.len() + 8);
        assert!(plan.bytes() + own <= 3 * own, "{shape:?}: {} and {own}", plan.bytes());
        for mode in 0..shape.len() {
            let all = [&owned, &slow, &plan].map(|plan| {
                let mut out = vec![0.0; shape[mode] * rank];
                plan.mttkrp(&slices(&u), rank, mode, &mut out);
                out
            });
            assert_eq!(bits(&all[0]), bits(&all[1]), "{shape:?}, mode {mode}");
            // A plan that may hold less lists more modes, and multiplies there in another order.
            if plan.listed() == owned.listed() {
                assert_eq!(bits(&all[0]), bits(&all[2]), "{shape:?}, mode {mode}");
            }
            let want = reference::sparse((shape, &given, &values), &slices(&u), rank, mode);
            close(&all[2], &want, count, shape.len(), "borrowed");
        }
    }
}

#[test]
fn an_empty_tensor_gives_zeros() {
    let plan = SparsePlan::<f64>::new(&[3, 4, 5], vec![Vec::new(); 3], Vec::new());
    let u = factors::<f64>(1, &[3, 4, 5], 2);
    for mode in 0..3 {
        let mut out = vec![f64::NAN; [3, 4, 5][mode] * 2];
        plan.mttkrp(&slices(&u), 2, mode, &mut out);
        assert!(out.iter().all(|&v| v == 0.0));
    }
    assert!(plan.is_empty());
}

#[test]
#[should_panic(expected = "an index of mode 1 is not below 4")]
fn an_index_outside_is_refused() {
    SparsePlan::new(&[3, 4], vec![vec![0, 1], vec![3, 4]], vec![1.0, 2.0]);
}

#[test]
fn the_table_of_the_small_tensor() {
    // specs/tensor.md, 1.3: U_n[i, r] = (2 i + r + 1) / 10, R = 2. The numbers are exact decimals; a dozen roundings at most.
    let Some(path) = shared("splatt/small4.tns") else {
        eprintln!("skipped: ../shared/data/splatt is not there");
        return;
    };
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let rows: Vec<Vec<f64>> = lines.map(|l| l.split_whitespace().map(|v| v.parse().expect("a number")).collect()).collect();
    let shape = [2usize, 2, 3, 3];
    let indices: Vec<Vec<u32>> = (0..4).map(|m| rows.iter().map(|r| r[m] as u32 - 1).collect()).collect();
    let values: Vec<f64> = rows.iter().map(|r| r[4]).collect();
    assert_eq!(values.iter().map(|v| v * v).sum::<f64>(), 97.0);
    let u: Vec<Vec<f64>> = shape.iter().map(|&n| (0..n * 2).map(|k| (2 * (k / 2) + k % 2 + 1) as f64 / 10.0).collect()).collect();
    let want: [&[f64]; 4] = [
        &[0.067, 0.24, 0.256, 0.656],
        &[0.115, 0.448, 0.24, 0.552],
        &[0.093, 0.336, 0.019, 0.104, 0.137, 0.336],
        &[0.07, 0.288, 0.24, 0.56, 0.009, 0.048],
    ];
    let plan = SparsePlan::new(&shape, indices.clone(), values.clone());
    let mut dense = vec![0.0; 36];
    for (k, &value) in values.iter().enumerate() {
        dense[shape.iter().enumerate().fold(0, |at, (m, &size)| at * size + indices[m][k] as usize)] = value;
    }
    let mut sweep = Sweep::new(&shape, 2);
    for mode in 0..4 {
        let mut found = [vec![0.0; shape[mode] * 2], vec![0.0; shape[mode] * 2], vec![0.0; shape[mode] * 2]];
        plan.mttkrp(&slices(&u), 2, mode, &mut found[0]);
        mttkrp(&dense, &shape, &slices(&u), 2, mode, &mut found[1]);
        sweep.mode(&dense, &slices(&u), mode, &mut found[2]);
        for found in &found {
            for (a, b) in found.iter().zip(want[mode]) {
                assert!((a - b).abs() <= 1e-15, "W_{mode}: {found:?}");
            }
        }
    }
}
