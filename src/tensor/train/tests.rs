use proptest::prelude::*;

use super::*;
use crate::tensor::tucker::tests::{amino_acids, close, distance, falling, normal, on_threads};

fn eps(eps: f64) -> TrainSize {
    TrainSize::Eps(eps)
}

fn explicit_error(x: &Dense<f64>, train: &Train) -> f64 {
    distance(x.values(), whole(train).values()) / squares(x.values()).sqrt()
}

/// A train of normal cores, scaled so that cells are near 1.
fn random_train(shape: &[usize], ranks: &[usize], seed: u64) -> Train {
    let all: Vec<usize> = std::iter::once(1).chain(ranks.iter().copied()).chain([1]).collect();
    let cores = shape.iter().enumerate().map(|(n, &i)| {
        let mut core = normal(&[all[n], i, all[n + 1]], seed + n as u64);
        let scale = (all[n] as f64).sqrt();
        core.values_mut().iter_mut().for_each(|x| *x /= scale);
        core
    });
    Train { cores: cores.collect() }
}

#[track_caller]
fn assert_sound(x: &Dense<f64>, fit: &TrainFit) {
    let order = x.order();
    let ranks: Vec<usize> = std::iter::once(1).chain(fit.ranks.iter().copied()).chain([1]).collect();
    for (n, core) in fit.model.cores.iter().enumerate() {
        assert_eq!(core.shape(), [ranks[n], x.shape()[n], ranks[n + 1]]);
        let (rows, cols) = (ranks[n] * x.shape()[n], ranks[n + 1]);
        for a in 0..cols * usize::from(n + 1 < order) {
            let column = |c: usize| (0..rows).map(move |i| core.values()[i * cols + c]);
            for b in 0..cols {
                let dot: f64 = column(a).zip(column(b)).map(|(x, y)| x * y).sum();
                close(dot, if a == b { 1.0 } else { 0.0 }, 16.0 * f64::EPSILON * rows.max(4) as f64);
            }
            assert!(column(a).fold(0.0f64, |l, x| if x.abs() > l.abs() { x } else { l }) > 0.0);
        }
    }
    if fit.norm > 0.0 {
        let explicit = explicit_error(x, &fit.model);
        close(fit.rel_error, explicit, 1e-7 * explicit + 1e-14);
    } else {
        assert_eq!(fit.rel_error, 0.0);
    }
}

#[test]
fn ranks_of_the_amino_acid_tensor() {
    let Some(x) = amino_acids() else { return };
    for precision in [Precision::Auto, Precision::Lq] {
        for (tolerance, ranks) in [(0.1, [3, 3]), (0.01, [5, 21])] {
            let fit = tt_svd(&x, &eps(tolerance), precision).unwrap();
            println!("tt {tolerance}: {:?} {:.10} {:.2}x", fit.ranks, fit.rel_error, fit.compression);
            assert_eq!(fit.ranks, ranks);
            assert!(fit.rel_error <= tolerance);
            assert_sound(&x, &fit);
            let again = tt_svd(&x, &TrainSize::Ranks(ranks.to_vec()), precision).unwrap();
            assert_eq!(again.model, fit.model);
        }
        // The first unfolding of a train is that of HOSVD: the specification's values of mode 0, five decimals printed.
        let fit = tt_svd(&x, &eps(0.01), precision).unwrap();
        let expected = [39272.27726, 22595.83529, 15802.67730, 637.83010, 460.76745];
        expected.iter().zip(&fit.singular_values[0]).for_each(|(&e, &s)| close(s, e, 1e-5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tolerances_are_kept(
        shape in prop::collection::vec(1usize..8, 1..6),
        exponent in -11.0f64..-0.05,
        noise in -13.0f64..0.0,
        seed in 0u64..1000,
    ) {
        let tolerance = 10f64.powf(exponent);
        let x = falling(&shape, 10f64.powf(noise), seed);
        for precision in [Precision::Auto, Precision::Lq] {
            let fit = tt_svd(&x, &eps(tolerance), precision).unwrap();
            assert_sound(&x, &fit);
            let error = explicit_error(&x, &fit.model);
            // Rounding of the cells themselves: some eps of the machine.
            prop_assert!(error <= tolerance * (1.0 + 1e-9) + 1e-14, "{error:e} for {tolerance:e}");
            // A rank less would drop more than a step may.
            let allowed = (tolerance * fit.norm).powi(2) / (shape.len().max(2) - 1) as f64;
            for (values, &rank) in fit.singular_values.iter().zip(&fit.ranks) {
                let tail: f64 = values[rank - 1..].iter().map(|s| s * s).sum();
                prop_assert!(rank == 1 || tail > allowed);
            }
            let rounded = round(&fit.model, &eps(tolerance)).unwrap();
            prop_assert!(distance(whole(&rounded).values(), whole(&fit.model).values()) <= tolerance * fit.norm * (1.0 + 1e-9) + 1e-14 * fit.norm);
            prop_assert!(rounded.cores.iter().zip(&fit.model.cores).all(|(a, b)| a.shape()[2] <= b.shape()[2]));
        }
    }

    #[test]
    fn trains_agree_with_what_they_stand_for(
        shape in prop::collection::vec(1usize..6, 1..6),
        ranks in prop::collection::vec(1usize..5, 10),
        most in 1usize..200,
        seed in 0u64..1000,
    ) {
        let train = random_train(&shape, &ranks[..shape.len() - 1], seed);
        let other = random_train(&shape, &ranks[5..5 + shape.len() - 1], seed + 50);
        let (x, y) = (whole(&train), whole(&other));
        let (nx, ny) = (squares(x.values()).sqrt(), squares(y.values()).sqrt());
        // Sums of some thousand products in another order. Inner products are sums of terms that may be larger than the result; those
        // are bounded by the product of the norms of the cores.
        let bound = |t: &Train| t.cores.iter().map(|c| squares(c.values()).sqrt()).product::<f64>();
        let dot: f64 = x.values().iter().zip(y.values()).map(|(x, y)| x * y).sum();
        close(inner(&train, &other).unwrap(), dot, 1e-14 * bound(&train) * bound(&other));
        close(norm(&train), nx, 1e-14 * bound(&train));
        close(norm(&other), ny, 1e-14 * bound(&other));
        let mut next = 0;
        blocks(&train, most, |at, cells| {
            assert_eq!(at, next);
            assert!(cells.len() <= most);
            assert!(distance(cells, &x.values()[at..at + cells.len()]) <= 1e-14 * bound(&train));
            next += cells.len();
        });
        prop_assert_eq!(next, x.values().len());
        let mut indices = vec![Vec::new(); shape.len()];
        for at in 0..next {
            indices.iter_mut().zip(crate::tensor::tucker::operand::unravel(&shape, at)).for_each(|(to, i)| to.push(i as u32));
        }
        prop_assert!(distance(&cells(&train, &indices).unwrap(), x.values()) <= 1e-14 * bound(&train));
        // Rounding to a tolerance far below the numbers takes out ranks that are not needed, and nothing else.
        let tight = round(&train, &eps(1e-12)).unwrap();
        prop_assert!(distance(whole(&tight).values(), x.values()) <= 1e-11 * nx + 1e-14 * bound(&train));
        let mut before = 1;
        for (n, core) in tight.cores[..shape.len() - 1].iter().enumerate() {
            let most = (before * shape[n]).min(shape[n + 1..].iter().product());
            prop_assert!(core.shape()[2] <= most.min(ranks[n]));
            before = core.shape()[2];
        }
    }
}

#[test]
fn exact_ranks_are_recovered() {
    for (shape, ranks) in
        [(&[8, 9, 10][..], &[3, 4][..]), (&[4, 5, 6, 5], &[2, 4, 3]), (&[12, 7], &[5]), (&[3, 3, 3, 3, 3], &[2, 3, 3, 2])]
    {
        let x = whole(&random_train(shape, ranks, 3));
        for precision in [Precision::Gram, Precision::Lq] {
            let fit = tt_svd(&x, &TrainSize::Ranks(ranks.to_vec()), precision).unwrap();
            assert!(explicit_error(&x, &fit.model) <= 1e-12);
            assert_eq!(fit.error_from, ErrorFrom::Cells);
            assert_sound(&x, &fit);
        }
        assert_eq!(tt_svd(&x, &eps(1e-10), Precision::Auto).unwrap().ranks, ranks);
        // Ranks that the sum of a train with itself has twice are rounded away.
        let fit = tt_svd(&x, &eps(1e-12), Precision::Auto).unwrap();
        let rounded = round(&doubled(&fit.model), &eps(1e-10)).unwrap();
        assert_eq!(rounded.cores.iter().map(|c| c.shape()[2]).collect::<Vec<_>>()[..ranks.len()], *ranks);
        let twice: Vec<f64> = x.values().iter().map(|x| 2.0 * x).collect();
        assert!(distance(whole(&rounded).values(), &twice) <= 1e-9 * fit.norm);
    }
}

/// X + X as a train of twice the ranks: the cores on a block diagonal.
fn doubled(train: &Train) -> Train {
    let last = train.cores.len() - 1;
    let cores = train.cores.iter().enumerate().map(|(n, core)| {
        let (a, i, b) = sizes(core);
        let (rows, cols) = (if n == 0 { 1 } else { 2 * a }, if n == last { 1 } else { 2 * b });
        let mut out = Dense::zeros(&[rows, i, cols]);
        for copy in 0..2 {
            for (at, &x) in core.values().iter().enumerate() {
                let (r, rest) = (at / (i * b), at % (i * b));
                let (row, col) = (if n == 0 { 0 } else { copy * a + r }, if n == last { 0 } else { copy * b + rest % b });
                out.values_mut()[(row * i + rest / b) * cols + col] = x;
            }
        }
        out
    });
    Train { cores: cores.collect() }
}

#[test]
fn odd_shapes_and_zeros() {
    for shape in [&[1][..], &[6], &[1, 1], &[1, 9], &[9, 1], &[4, 1, 5], &[2, 3, 1, 4, 2], &[1, 1, 1, 1, 7]] {
        let x = normal(shape, 3);
        for size in [eps(0.0), eps(0.3), TrainSize::Ranks(vec![1; shape.len() - 1])] {
            for precision in [Precision::Gram, Precision::Lq] {
                let fit = tt_svd(&x, &size, precision).unwrap();
                assert_sound(&x, &fit);
                assert!(size != eps(0.0) || fit.rel_error <= 1e-13);
                let zero = Dense::zeros(shape);
                let fit = tt_svd(&zero, &size, precision).unwrap();
                assert_sound(&zero, &fit);
                assert!(fit.ranks.iter().all(|&r| r == 1));
                assert_eq!(norm(&fit.model), 0.0);
                assert!(whole(&round(&fit.model, &size).unwrap()).values().iter().all(|&x| x == 0.0));
            }
        }
    }
    // One mode: the core is the tensor.
    let x = normal(&[6], 1);
    let fit = tt_svd(&x, &eps(0.5), Precision::Auto).unwrap();
    assert_eq!((fit.model.cores[0].values(), fit.rel_error, fit.compression), (x.values(), 0.0, 1.0));
}

#[test]
fn narrow_numbers_scale_and_threads() {
    let x = falling(&[20, 30, 25], 0.01, 2);
    let fit = tt_svd(&x, &eps(0.05), Precision::Auto).unwrap();
    let narrow = Dense::new(x.shape().to_vec(), x.values().iter().map(|&v| v as f32).collect());
    let by_narrow = tt_svd(&narrow, &eps(0.05), Precision::Auto).unwrap();
    assert_eq!(by_narrow.ranks, fit.ranks);
    close(by_narrow.rel_error, fit.rel_error, 1e-7);
    let scaled = Dense::new(x.shape().to_vec(), x.values().iter().map(|v| v * 2f64.powi(-200)).collect());
    let by_scaled = tt_svd(&scaled, &eps(0.05), Precision::Auto).unwrap();
    assert_eq!(by_scaled.ranks, fit.ranks);
    close(by_scaled.rel_error, fit.rel_error, 1e-12);
    for precision in [Precision::Gram, Precision::Lq] {
        let (one, two) = on_threads(|| tt_svd(&x, &eps(0.02), precision).unwrap());
        assert_eq!(one, two);
    }
    let (one, two) =
        on_threads(|| (whole(&fit.model), norm(&fit.model), inner(&fit.model, &fit.model), round(&fit.model, &eps(0.1))));
    assert_eq!(one, two);
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    let x = normal(&[3, 4, 2], 1);
    let run = |size: &TrainSize| tt_svd(&x, size, Precision::Auto).unwrap_err();
    assert_eq!(run(&TrainSize::Ranks(vec![2, 2, 2])), TrainError::RankCount { given: 3, order: 3 });
    assert_eq!(
        run(&TrainSize::Ranks(vec![2])).to_string(),
        "1 ranks for a train over 3 modes; give one for every pair of neighbours, 2 in all"
    );
    assert_eq!(run(&TrainSize::Ranks(vec![4, 2])), TrainError::RankRange { mode: 0, rank: 4, most: 3 });
    assert_eq!(run(&TrainSize::Ranks(vec![2, 3])), TrainError::RankRange { mode: 1, rank: 3, most: 2 });
    assert_eq!(run(&TrainSize::Ranks(vec![0, 2])), TrainError::RankRange { mode: 0, rank: 0, most: 3 });
    for bad in [-1.0, 1.0, f64::NAN] {
        assert!(matches!(run(&eps(bad)), TrainError::Input(TuckerError::Eps { .. })));
    }
    let mut holed = x.clone();
    holed.values_mut()[5] = f64::NAN;
    assert!(
        matches!(tt_svd(&holed, &eps(0.1), Precision::Auto), Err(TrainError::Input(TuckerError::NotFinite { place, .. })) if place == [0, 2, 1])
    );
    let fit = tt_svd(&x, &eps(0.1), Precision::Auto).unwrap();
    assert!(matches!(cells(&fit.model, &[vec![3], vec![0], vec![0]]), Err(TrainError::Input(TuckerError::Cell { mode: 0, .. }))));
    let other = tt_svd(&normal(&[3, 4], 1), &eps(0.1), Precision::Auto).unwrap();
    assert_eq!(inner(&fit.model, &other.model), Err(TrainError::Shapes { first: vec![3, 4, 2], second: vec![3, 4] }));
}
