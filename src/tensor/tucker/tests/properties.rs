//! What holds of HOSVD, ST-HOSVD and the randomised method for every tensor.

use proptest::prelude::*;

use super::*;
use hosvd::hosvd;
use randomised::{RandomisedConfig, randomised};
use reconstruct::{blocks, cells};
use sthosvd::sthosvd;

fn auto() -> ModeOrder {
    ModeOrder::Auto
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// ‖X − X̂‖ <= eps ‖X‖, and a rank less anywhere would be out of the mode's share (checked by the discarded squares).
    #[test]
    fn tolerances_are_kept(
        shape in prop::collection::vec(1usize..8, 1..6),
        exponent in -11.0f64..-0.05,
        noise in -13.0f64..0.0,
        seed in 0u64..1000,
    ) {
        let eps = 10f64.powf(exponent);
        let x = falling(&shape, 10f64.powf(noise), seed);
        let order = shape.len();
        let reversed = ModeOrder::Given((0..order).rev().collect());
        let size = Size::Eps(eps);
        let fits = [
            hosvd(&x, &size, Precision::Auto).unwrap(),
            sthosvd(&x, &size, &auto(), Precision::Auto).unwrap(),
            sthosvd(&x, &size, &reversed, Precision::Auto).unwrap(),
            sthosvd(&x, &size, &reversed, Precision::Lq).unwrap(),
        ];
        for fit in &fits {
            let error = explicit_error(&x, &fit.model);
            // Rounding of the cells themselves: some eps of the machine.
            prop_assert!(error <= eps * (1.0 + 1e-9) + 1e-14, "{error:e} for {eps:e}, {:?}", fit.ranks());
            assert_sound(&x, fit);
            let allowed = eps * eps * fit.norm * fit.norm / order as f64;
            for (mode, values) in fit.singular_values.iter().enumerate() {
                let rank = fit.ranks()[mode];
                let tail: f64 = values[rank.min(values.len())..].iter().map(|s| s * s).sum();
                prop_assert!(tail <= allowed);
                prop_assert!(rank == 1 || tail + values[rank - 1].powi(2) > allowed);
            }
        }
        if eps >= 1e-6 {
            let fit = randomised(&x, &RandomisedConfig { seed, oversample: 2, ..RandomisedConfig::new(size) }).unwrap();
            let error = explicit_error(&x, &fit.model);
            prop_assert!(error <= eps * (1.0 + 1e-9) + 1e-14, "randomised: {error:e} for {eps:e}");
            assert_sound(&x, &fit);
        }
    }

    /// Any ranks within the shape, whatever they are to one another.
    #[test]
    fn ranks_are_given(shape in prop::collection::vec(1usize..7, 1..6), picks in prop::collection::vec(0usize..100, 5), seed in 0u64..1000) {
        let x = normal(&shape, seed);
        let ranks: Vec<usize> = shape.iter().zip(&picks).map(|(&i, &p)| 1 + p % i).collect();
        let size = Size::Ranks(ranks.clone());
        for precision in [Precision::Gram, Precision::Lq] {
            for fit in [hosvd(&x, &size, precision).unwrap(), sthosvd(&x, &size, &auto(), precision).unwrap()] {
                prop_assert_eq!(fit.ranks(), &ranks[..]);
                assert_sound(&x, &fit);
            }
        }
        let fit = randomised(&x, &RandomisedConfig { oversample: 1, seed, ..RandomisedConfig::new(size) }).unwrap();
        prop_assert_eq!(fit.ranks(), &ranks[..]);
        assert_sound(&x, &fit);
    }

    /// Asked cells and blocks are cells of the whole.
    #[test]
    fn cells_and_blocks_are_the_whole(shape in prop::collection::vec(1usize..6, 1..6), most in 1usize..200, seed in 0u64..1000) {
        let ranks: Vec<usize> = shape.iter().map(|&i| 1 + i / 2).collect();
        let model = sthosvd(&normal(&shape, seed), &Size::Ranks(ranks), &auto(), Precision::Auto).unwrap().model;
        let whole = whole(&model);
        // Sums of a few hundred products near 1.
        let tol = 1e-13 * squares(whole.values()).sqrt();
        let mut next = 0;
        blocks(&model, most, |at, cells| {
            assert_eq!(at, next);
            assert!(cells.len() <= most);
            assert!(distance(cells, &whole.values()[at..at + cells.len()]) <= tol);
            next += cells.len();
        });
        prop_assert_eq!(next, whole.values().len());
        let mut indices = vec![Vec::new(); shape.len()];
        for at in (0..next).rev() {
            indices.iter_mut().zip(operand::unravel(&shape, at)).for_each(|(to, i)| to.push(i as u32));
        }
        let mut found = cells(&model, &indices).unwrap();
        found.reverse();
        prop_assert!(distance(&found, whole.values()) <= tol);
    }
}

#[test]
fn exact_ranks_are_recovered() {
    for (shape, ranks) in
        [(&[12, 9, 15][..], &[3, 2, 4][..]), (&[8, 8], &[3, 3]), (&[5, 6, 7, 4], &[2, 3, 2, 2]), (&[30, 2, 2], &[4, 2, 2])]
    {
        let x = of_ranks(shape, ranks, 5);
        let size = Size::Ranks(ranks.to_vec());
        for precision in [Precision::Gram, Precision::Lq] {
            for fit in [hosvd(&x, &size, precision).unwrap(), sthosvd(&x, &size, &auto(), precision).unwrap()] {
                // The Gram matrix tilts a direction of singular value σ by eps ‖X‖ / σ relative to ‖X‖: far below this here.
                assert!(explicit_error(&x, &fit.model) <= 1e-12);
                assert!(fit.rel_error <= 1e-12 && fit.error_from == ErrorFrom::Cells);
                assert_sound(&x, &fit);
            }
        }
        let fit = randomised(&x, &RandomisedConfig { oversample: 3, ..RandomisedConfig::new(size) }).unwrap();
        assert!(explicit_error(&x, &fit.model) <= 1e-12);
        // The ranks are found, too.
        assert_eq!(sthosvd(&x, &Size::Eps(1e-10), &auto(), Precision::Auto).unwrap().ranks(), ranks);
        assert_eq!(
            randomised(&x, &RandomisedConfig { oversample: 3, ..RandomisedConfig::new(Size::Eps(1e-5)) }).unwrap().ranks(),
            ranks
        );
    }
}

/// Singular values 1, 1e-3, 1e-6, 1e-9, 1e-12 along every mode: a Gram matrix sees the first three.
#[test]
fn the_triangle_sees_what_the_gram_matrix_loses() {
    let factors: Vec<Matrix> = (0..3).map(|m| orthonormal(&Matrix::new(20, 5, normal(&[20, 5], m).into_values()))).collect();
    let mut core = Dense::zeros(&[5, 5, 5]);
    (0..5).for_each(|k| core.values_mut()[k * 31] = 10f64.powi(-3 * k as i32));
    let x = whole(&Tucker { core, factors });
    let values = |precision| hosvd(&x, &Size::Ranks(vec![5; 3]), precision).unwrap().singular_values[1].clone();
    for (k, s) in values(Precision::Lq).iter().take(5).enumerate() {
        close(*s, 10f64.powi(-3 * k as i32), 1e-14);
    }
    assert!(
        (values(Precision::Gram)[3] - 1e-9).abs() > 1e-10,
        "the Gram matrix has learnt to see: {:?}",
        values(Precision::Gram)
    );
    for (eps, rank) in [(1e-2, 1), (1e-5, 2), (1e-8, 3), (1e-11, 4)] {
        let fit = sthosvd(&x, &Size::Eps(eps), &auto(), Precision::Auto).unwrap();
        assert_eq!(fit.ranks(), [rank; 3]);
        // What is dropped is the next number of the diagonal.
        close(fit.rel_error, 10f64.powi(-3 * rank as i32), 1e-4 * 10f64.powi(-3 * rank as i32) + 1e-15);
        assert_eq!(fit.error_from, if rank == 1 { ErrorFrom::Norms } else { ErrorFrom::Cells }, "{eps}");
    }
}

#[test]
fn odd_shapes_and_zeros() {
    for shape in [&[1][..], &[6], &[1, 1], &[1, 9], &[9, 1], &[1, 1, 1], &[4, 1, 5], &[2, 3, 1, 4, 2], &[1, 1, 1, 1, 7]] {
        let x = normal(shape, 3);
        let full = Size::Ranks(shape.to_vec());
        for size in [full.clone(), Size::Ranks(vec![1; shape.len()]), Size::Eps(0.0), Size::Eps(0.3)] {
            for fit in [
                hosvd(&x, &size, Precision::Auto).unwrap(),
                sthosvd(&x, &size, &auto(), Precision::Auto).unwrap(),
                sthosvd(&x, &size, &auto(), Precision::Gram).unwrap(),
            ] {
                assert_sound(&x, &fit);
            }
        }
        let fit = sthosvd(&x, &full, &auto(), Precision::Auto).unwrap();
        assert!(fit.rel_error <= 1e-14);
        let zero = Dense::zeros(shape);
        for size in [full, Size::Eps(1e-3), Size::Eps(0.0)] {
            for precision in [Precision::Gram, Precision::Lq] {
                let fit = sthosvd(&zero, &size, &auto(), precision).unwrap();
                assert_sound(&zero, &fit);
                assert!(matches!(size, Size::Ranks(_)) || fit.ranks().iter().all(|&r| r == 1));
                assert_sound(&zero, &hosvd(&zero, &size, precision).unwrap());
            }
        }
        let size = Size::Ranks(vec![1; shape.len()]);
        assert_sound(&zero, &randomised(&zero, &RandomisedConfig { oversample: 0, ..RandomisedConfig::new(size) }).unwrap());
    }
}

#[test]
fn modes_in_another_order_give_the_same() {
    let x = falling(&[6, 9, 4], 1e-3, 8);
    let to = [2, 0, 1];
    let y = permuted(&x, &to);
    let ranks = [3, 4, 2];
    let moved: Vec<usize> = to.iter().map(|&m| ranks[m]).collect();
    let order = [1, 0, 2];
    let moved_order: Vec<usize> = order.iter().map(|&m| to.iter().position(|&t| t == m).unwrap()).collect();
    let a = sthosvd(&x, &Size::Ranks(ranks.to_vec()), &ModeOrder::Given(order.to_vec()), Precision::Auto).unwrap();
    let b = sthosvd(&y, &Size::Ranks(moved), &ModeOrder::Given(moved_order), Precision::Auto).unwrap();
    close(a.rel_error, b.rel_error, 1e-12);
    for (k, &m) in to.iter().enumerate() {
        // Vectors are known to eps ‖X‖ over the gap of their singular values, 1e-12 here.
        assert!(distance(&a.model.factors[m].values, &b.model.factors[k].values) <= 1e-11);
        assert!(distance(&a.singular_values[m], &b.singular_values[k]) <= 1e-12 * a.norm);
    }
    assert!(distance(permuted(&a.model.core, &to).values(), b.model.core.values()) <= 1e-11 * a.norm);
}

#[test]
fn scale_goes_to_the_core() {
    let x = falling(&[6, 9, 4], 1e-3, 8);
    // A power of two: every product and sum scales without rounding, so the bits are the same; eigenvalue routines may look at the scale.
    let scale = 2f64.powi(300);
    let y = Dense::new(x.shape().to_vec(), x.values().iter().map(|v| v * scale).collect());
    for size in [Size::Ranks(vec![3, 4, 2]), Size::Eps(1e-2)] {
        let (a, b) =
            (sthosvd(&x, &size, &auto(), Precision::Auto).unwrap(), sthosvd(&y, &size, &auto(), Precision::Auto).unwrap());
        assert_eq!(a.ranks(), b.ranks());
        close(a.rel_error, b.rel_error, 1e-12);
        a.model.factors.iter().zip(&b.model.factors).for_each(|(a, b)| assert!(distance(&a.values, &b.values) <= 1e-11));
        let core: Vec<f64> = b.model.core.values().iter().map(|g| g / scale).collect();
        assert!(distance(a.model.core.values(), &core) <= 1e-11 * a.norm);
    }
}

/// HOSVD's core is all-orthogonal, its slices as long as the singular values.
#[test]
fn slices_of_a_full_core_are_orthogonal() {
    let x = normal(&[4, 5, 6], 2);
    let fit = hosvd(&x, &Size::Ranks(vec![4, 5, 6]), Precision::Lq).unwrap();
    for mode in 0..3 {
        let gram = fit.model.core.gram(mode);
        for a in 0..gram.rows {
            for b in 0..gram.rows {
                close(gram.at(a, b), if a == b { fit.singular_values[mode][a].powi(2) } else { 0.0 }, 1e-12 * fit.norm.powi(2));
            }
            close(fit.core_shares[mode][a], (fit.singular_values[mode][a] / fit.norm).powi(2), 1e-13);
        }
    }
}

#[test]
fn st_hosvd_drops_the_squares_it_says() {
    let x = falling(&[7, 8, 9], 0.1, 4);
    let fit = sthosvd(&x, &Size::Ranks(vec![3, 2, 4]), &auto(), Precision::Lq).unwrap();
    let tails = fit.singular_values.iter().zip(fit.ranks());
    let dropped: f64 = tails.map(|(s, &r)| s[r..].iter().map(|s| s * s).sum::<f64>()).sum();
    close(fit.rel_error, dropped.sqrt() / fit.norm, 1e-12);
}

/// Theorem 10.5 of Halko, Martinsson & Tropp bounds the expected error of a mode without power iterations by √(1 + r / (p − 1)) times the
/// best. The projections of N modes add up in squares as those of ST-HOSVD do, within √N of the best; here: 1.25 for r = 5, p = 10.
#[test]
fn the_randomised_method_is_close_to_the_exact_one() {
    for seed in 0..5 {
        let x = falling(&[30, 24, 28], 0.05, seed);
        let size = Size::Ranks(vec![5, 5, 5]);
        let exact = sthosvd(&x, &size, &auto(), Precision::Auto).unwrap();
        for (power, factor) in [(0, (1.0f64 + 5.0 / 9.0).sqrt()), (1, 1.02), (2, 1.005)] {
            let config = RandomisedConfig { power, seed, ..RandomisedConfig::new(size.clone()) };
            let fit = randomised(&x, &config).unwrap();
            assert_sound(&x, &fit);
            assert!(fit.rel_error <= factor * exact.rel_error, "power {power}: {} and {}", fit.rel_error, exact.rel_error);
        }
    }
    // Another seed, another Ω.
    let x = normal(&[30, 24, 28], 1);
    let by = |seed| randomised(&x, &RandomisedConfig { seed, ..RandomisedConfig::new(Size::Ranks(vec![3; 3])) }).unwrap();
    assert_ne!(by(0), by(1));
    assert_eq!(by(1), by(1));
}

#[test]
fn sparse_and_narrow_tensors_give_what_dense_ones_give() {
    let (x, dense) = sparse(&[14, 11, 9], 0.2, 6);
    let size = Size::Ranks(vec![4, 3, 5]);
    let pairs = [
        (hosvd(&x, &size, Precision::Gram), hosvd(&dense, &size, Precision::Gram)),
        (hosvd(&x, &size, Precision::Lq), hosvd(&dense, &size, Precision::Lq)),
        (sthosvd(&x, &size, &auto(), Precision::Auto), sthosvd(&dense, &size, &auto(), Precision::Auto)),
        (sthosvd(&x, &Size::Eps(0.2), &auto(), Precision::Auto), sthosvd(&dense, &Size::Eps(0.2), &auto(), Precision::Auto)),
    ];
    for (a, b) in pairs {
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.ranks(), b.ranks());
        close(a.rel_error, b.rel_error, 1e-12);
        assert_sound(&dense, &a);
        a.model.factors.iter().zip(&b.model.factors).for_each(|(a, b)| assert!(distance(&a.values, &b.values) <= 1e-10));
    }
    let config = RandomisedConfig { oversample: 3, power: 2, ..RandomisedConfig::new(size.clone()) };
    let (a, b) = (randomised(&x, &config).unwrap(), randomised(&dense, &config).unwrap());
    assert_sound(&dense, &a);
    // Ω differs where columns are empty; both are near the best.
    close(a.rel_error, b.rel_error, 0.02);
    // A sparse tensor of low rank: its error comes from its cells.
    let mut low = Dense::zeros(&[6, 5, 4]);
    low.values_mut()[7] = 2.0;
    let indices = operand::unravel(&[6, 5, 4], 7).into_iter().map(|i| vec![i as u32]).collect();
    let low_sparse = Sparse::new(vec![6, 5, 4], indices, vec![2.0f32]);
    let fit = sthosvd(&low_sparse, &Size::Eps(1e-3), &auto(), Precision::Auto).unwrap();
    assert_eq!((fit.ranks(), fit.error_from), (&[1, 1, 1][..], ErrorFrom::Cells));
    assert!(fit.rel_error <= 1e-15);
    assert_sound(&low, &fit);
    // Nothing stored.
    let empty = Sparse::<f64>::new(vec![6, 5, 4], vec![Vec::new(); 3], Vec::new());
    for precision in [Precision::Gram, Precision::Lq] {
        assert_sound(&Dense::zeros(&[6, 5, 4]), &sthosvd(&empty, &size_of(2), &auto(), precision).unwrap());
    }
    let narrow = Dense::new(dense.shape().to_vec(), dense.values().iter().map(|&x| x as f32).collect());
    let fit = sthosvd(&narrow, &size, &auto(), Precision::Auto).unwrap();
    // The numbers themselves are off by 6e-8.
    close(fit.rel_error, sthosvd(&dense, &size, &auto(), Precision::Auto).unwrap().rel_error, 1e-7);
}

fn size_of(rank: usize) -> Size {
    Size::Ranks(vec![rank; 3])
}

#[test]
fn same_bytes_at_any_number_of_threads() {
    let x = falling(&[40, 50, 60], 0.01, 1);
    let (sparse, _) = sparse(&[40, 50, 60], 0.1, 1);
    let narrow = Dense::new(x.shape().to_vec(), x.values().iter().map(|&x| x as f32).collect());
    let tall = normal(&[3000, 4, 5], 2);
    let same = |work: &(dyn Fn() -> TuckerFit + Sync)| {
        let (one, two) = on_threads(work);
        assert_eq!(one, two);
    };
    for precision in [Precision::Gram, Precision::Lq] {
        same(&|| hosvd(&x, &size_of(6), precision).unwrap());
        same(&|| sthosvd(&x, &Size::Eps(0.02), &auto(), precision).unwrap());
        same(&|| sthosvd(&narrow, &size_of(6), &auto(), precision).unwrap());
        same(&|| sthosvd(&sparse, &size_of(6), &auto(), precision).unwrap());
        same(&|| sthosvd(&tall, &size_of(3), &auto(), precision).unwrap());
    }
    same(&|| randomised(&x, &RandomisedConfig::new(size_of(6))).unwrap());
    same(&|| randomised(&sparse, &RandomisedConfig::new(size_of(6))).unwrap());
    let model = sthosvd(&x, &size_of(6), &auto(), Precision::Auto).unwrap().model;
    let indices: Vec<Vec<u32>> = [40, 50, 60].iter().map(|&i| (0..5000).map(|k| k * 7 % i).collect()).collect();
    let (one, two) = on_threads(|| cells(&model, &indices).unwrap());
    assert_eq!(one, two);
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    let x = normal(&[3, 4, 2], 1);
    let size = Size::Ranks(vec![2, 2, 2]);
    let run = |x: &Dense<f64>, size: &Size, order: &ModeOrder| sthosvd(x, size, order, Precision::Auto).unwrap_err();
    let ranks = |ranks: &[usize]| run(&x, &Size::Ranks(ranks.to_vec()), &auto());
    assert_eq!(ranks(&[2, 2]), TuckerError::RankCount { given: 2, order: 3 });
    assert_eq!(ranks(&[2, 5, 2]), TuckerError::RankRange { mode: 1, rank: 5, size: 4 });
    assert_eq!(ranks(&[2, 2, 0]), TuckerError::RankRange { mode: 2, rank: 0, size: 2 });
    for eps in [-0.1, 1.0, 2.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(run(&x, &Size::Eps(eps), &auto()), TuckerError::Eps { .. }));
    }
    for order in [vec![0, 1], vec![0, 1, 1], vec![0, 1, 3]] {
        assert_eq!(run(&x, &size, &ModeOrder::Given(order.clone())), TuckerError::ModeOrder { given: order, last: 2 });
    }
    let with = |at: usize, value: f64| {
        let mut x = x.clone();
        x.values_mut()[at] = value;
        run(&x, &size, &auto())
    };
    assert_eq!(with(13, f64::INFINITY), TuckerError::NotFinite { place: vec![1, 2, 1], value: f64::INFINITY });
    assert!(matches!(with(13, f64::NAN), TuckerError::NotFinite { .. }));
    assert_eq!(with(13, 1e200), TuckerError::Scale { largest: 1e200 });
    let tiny = Dense::new(vec![2, 1], vec![1e-170, 0.0]);
    assert_eq!(run(&tiny, &Size::Eps(0.1), &auto()), TuckerError::Scale { largest: 1e-170 });
    assert_eq!(run(&Dense::new(vec![], vec![1.0]), &size, &auto()), TuckerError::NoModes);
    assert_eq!(run(&Dense::new(vec![3, 0], vec![]), &size, &auto()), TuckerError::EmptyMode { mode: 1 });
    assert_eq!(
        hosvd(&x, &Size::Ranks(vec![9; 3]), Precision::Auto).unwrap_err(),
        TuckerError::RankRange { mode: 0, rank: 9, size: 3 }
    );
    let fine = RandomisedConfig::new(Size::Eps(1e-9));
    assert!(matches!(randomised(&x, &fine).unwrap_err(), TuckerError::Precision { .. }));
    let long = Sparse::new(vec![40_000, 3], vec![vec![5, 39_999], vec![0, 1]], vec![1.0, 2.0]);
    let refused = sthosvd(&long, &Size::Ranks(vec![2, 2]), &ModeOrder::Given(vec![0, 1]), Precision::Auto);
    assert_eq!(refused.unwrap_err(), TuckerError::GramSize { mode: 0, size: 40_000, bytes: 12_800_000_000 });
    // The remedy that the text names. Two stored rows of rank 2.
    let fit = randomised(&long, &RandomisedConfig { oversample: 0, ..RandomisedConfig::new(Size::Ranks(vec![2, 2])) });
    assert!(fit.unwrap().rel_error <= 1e-14);
    let model = sthosvd(&x, &size, &auto(), Precision::Auto).unwrap().model;
    assert_eq!(cells(&model, &[vec![0], vec![4], vec![0]]), Err(TuckerError::Cell { cell: 0, mode: 1, index: 4, size: 4 }));
    assert_eq!(cells(&model, &[vec![0], vec![1]]), Err(TuckerError::CellModes { given: 2, order: 3 }));
    assert_eq!(cells(&model, &[vec![0], vec![1], vec![]]), Err(TuckerError::CellModes { given: 3, order: 3 }));
    assert_eq!(cells(&model, &[vec![], vec![], vec![]]), Ok(vec![]));
}
