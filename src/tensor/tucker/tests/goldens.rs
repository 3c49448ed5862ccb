//! The amino acid table of the specification (section 1.10).

use super::*;
use crate::run::observer::Silent;
use hooi::{HooiConfig, hooi};
use hosvd::hosvd;
use sthosvd::sthosvd;

/// Eight decimals are printed.
const PRINTED: f64 = 1e-8;

fn in_order() -> ModeOrder {
    ModeOrder::Given(vec![0, 1, 2])
}

#[test]
fn relative_errors_of_the_amino_acid_tensor() {
    let Some(x) = amino_acids() else { return };
    for (ranks, by_hosvd, by_sthosvd, by_hooi) in [
        ([2, 2, 2], 0.37354792, 0.36372998, 0.36368258),
        ([3, 3, 3], 0.02446655, 0.02446376, 0.02446289),
        ([4, 4, 4], 0.01836259, 0.01833249, 0.01829906),
        ([5, 10, 10], 0.00995291, 0.00990294, 0.00988613),
    ] {
        let size = Size::Ranks(ranks.to_vec());
        for precision in [Precision::Gram, Precision::Lq] {
            let fit = hosvd(&x, &size, precision).unwrap();
            close(fit.rel_error, by_hosvd, PRINTED);
            assert_sound(&x, &fit);
            let fit = sthosvd(&x, &size, &in_order(), precision).unwrap();
            close(fit.rel_error, by_sthosvd, PRINTED);
            assert_sound(&x, &fit);
            // Linear convergence: changes below 1e-11 leave less than 1e-8 to go.
            let config =
                HooiConfig { mode_order: in_order(), precision, tol: 1e-11, max_iter: 500, ..HooiConfig::new(size.clone()) };
            let fit = hooi(&x, &config, &Silent).unwrap();
            println!(
                "{ranks:?} {precision:?}: hooi {:.10} after {} sweeps",
                fit.rel_error,
                fit.iterations.as_ref().unwrap().count()
            );
            close(fit.rel_error, by_hooi, PRINTED);
            assert!(fit.iterations.as_ref().unwrap().converged());
            assert_sound(&x, &fit);
        }
    }
}

#[test]
fn norm_and_singular_values_of_the_amino_acid_tensor() {
    let Some(x) = amino_acids() else { return };
    for precision in [Precision::Gram, Precision::Lq] {
        let fit = hosvd(&x, &Size::Ranks(vec![3, 3, 3]), precision).unwrap();
        // Printed to 11 decimals: 16 digits of a sum of 61305 squares, rounding about 1e-13 of it.
        close(fit.norm, 47991.95013208926, 1e-8);
        for (mode, expected) in [
            (0, &[39272.27726, 22595.83529, 15802.67730, 637.83010, 460.76745][..]),
            (1, &[39292.52937, 24467.90474, 12644.50230, 555.71448]),
            // The specification prints 45049.87779 and 5259.39131 for the first and third. Three LAPACK routines (gesdd, gesvd, syev of
            // the Gram matrix) give what stands here, and only with these do the squares add up to ‖X‖²: see below.
            (2, &[45049.88780, 15663.32175, 5259.39101, 523.06494]),
        ] {
            assert_eq!(fit.singular_values[mode].len(), x.shape()[mode]);
            // Five decimals are printed.
            expected.iter().zip(&fit.singular_values[mode]).for_each(|(&e, &s)| close(s, e, 1e-5));
        }
        for values in &fit.singular_values {
            let sum: f64 = values.iter().map(|s| s * s).sum();
            close(sum.sqrt(), fit.norm, 1e-8);
        }
    }
}

#[test]
fn ranks_by_tolerance_of_the_amino_acid_tensor() {
    let Some(x) = amino_acids() else { return };
    for (eps, ranks, error, compression) in [
        (1e-1, [3, 3, 3], 0.02446376, 74.04),
        (3e-2, [3, 3, 3], 0.02446376, 74.04),
        (1e-2, [5, 48, 18], 0.00813727, 4.06),
        (1e-3, [5, 163, 59], 0.00078008, 0.73),
    ] {
        for precision in [Precision::Auto, Precision::Lq] {
            let fit = sthosvd(&x, &Size::Eps(eps), &in_order(), precision).unwrap();
            assert_eq!(fit.ranks(), ranks, "{eps}");
            close(fit.rel_error, error, PRINTED);
            close(fit.compression, compression, 0.005);
            assert_sound(&x, &fit);
        }
    }
}

/// 2 x 2 x 2 with one number: everything is known by hand.
#[test]
fn a_single_cell_by_hand() {
    let mut x = Dense::zeros(&[2, 2, 2]);
    x.values_mut()[0b011] = -3.0;
    let fit = sthosvd(&x, &Size::Eps(0.1), &ModeOrder::Auto, Precision::Auto).unwrap();
    assert_eq!(fit.ranks(), [1, 1, 1]);
    assert_eq!((fit.norm, fit.rel_error), (3.0, 0.0));
    close(fit.model.core.values()[0], -3.0, 1e-15);
    let expected = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]];
    fit.model.factors.iter().zip(expected).for_each(|(u, e)| assert!(distance(&u.values, &e) <= 1e-15));
    assert_eq!(fit.compression, 8.0 / 7.0);
    assert_eq!(fit.singular_values[0], [3.0, 0.0]);
}
