use super::*;
use crate::kernels::simd::{available, with_isa};
use std::collections::HashSet;

#[test]
fn the_generator_is_philox() {
    // Known answers published with the generator, 10 rounds.
    let ten = |c, k| reference::philox(c, k, 10);
    assert_eq!(ten([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(ten([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    assert_eq!(
        ten([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

#[test]
fn groups_are_the_sequence() {
    for key in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
        for index in [0u64, 1, 7, 1 << 28, (1 << 33) + 5] {
            let numbers = group(key, index);
            for (place, number) in numbers.iter().enumerate() {
                assert_eq!(*number, reference::number(key, index * 64 + place as u64));
            }
        }
    }
}

/// Share of kept elements and of pairs, against binomial spread; 5 standard deviations, fixed keys.
#[test]
fn masks_have_the_rate_and_are_independent() {
    let n = 1 << 17;
    for (key, rate) in [(1u64, 0.1), (2, 0.5), (3, 0.9), (1 << 40, 0.01)] {
        let mask = |key: u64| -> Vec<f64> {
            let mut y = vec![0.0f32; n];
            dropout(key, rate, &vec![1.0; n], &mut y);
            // Centred: +rate for kept, −(1 − rate) for dropped, so that products of independent ones have mean 0.
            y.iter().map(|&y| if y > 0.0 { rate } else { rate - 1.0 }).collect()
        };
        let m = mask(key);
        let variance = rate * (1.0 - rate);
        let spread = 5.0 * (variance / n as f64).sqrt();
        let mean = m.iter().sum::<f64>() / n as f64;
        assert!(mean.abs() < spread, "rate {rate}: mean {mean}");
        let spread = 5.0 * variance / (n as f64).sqrt();
        for lag in [1, 2, 3, 4, 16, 31, 32, 33, 63, 64, 96, 1024] {
            let c = m.iter().zip(&m[lag..]).map(|(a, b)| a * b).sum::<f64>() / n as f64;
            assert!(c.abs() < spread, "rate {rate}, lag {lag}: {c}");
        }
        for other in [key + 1, key + 2, key ^ (1 << 32), key ^ (1 << 63), !key] {
            let other = mask(other);
            for lag in [0, 1, 4, 32, 64] {
                let c = m[lag..].iter().zip(&other).map(|(a, b)| a * b).sum::<f64>() / n as f64;
                assert!(c.abs() < spread, "rate {rate}, keys, lag {lag}: {c}");
            }
        }
    }
}

#[test]
fn numbers_are_uniform() {
    // χ² over 256 cells of the top and of the low byte: 255 degrees of freedom, standard deviation 22.6; 6 of them.
    let n = 1 << 16;
    for shift in [24, 0] {
        let mut cells = [0u32; 256];
        for i in 0..n / 64 {
            for number in group(99, i) {
                cells[(number >> shift & 255) as usize] += 1;
            }
        }
        let expected = n as f64 / 256.0;
        let chi2: f64 = cells.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert!((chi2 - 255.0).abs() < 136.0, "{chi2}");
    }
    // 4096 numbers of 32 bits: 4096² / 2³³ = 0.002 collisions expected.
    let distinct: HashSet<u32> = (0..64).flat_map(|i| group(5, i)).collect();
    assert!(distinct.len() >= 4095);
}

#[test]
fn kept_elements_are_scaled_and_the_mask_is_the_same_every_time() {
    for len in [0, 1, 5, 63, 64, 65, 200, 70_001] {
        let x: Vec<f32> = (0..len).map(|i| (i as f32).sin() + 2.0).collect();
        let mut y = vec![f32::NAN; len];
        dropout(42, 0.3, &x, &mut y);
        let exact = reference::dropout(42, 0.3, &x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for i in 0..len {
            // Scale and product are rounded once each.
            assert!((f64::from(y[i]) - exact[i]).abs() <= f64::from(f32::EPSILON) * exact[i].abs());
            assert_eq!(y[i] != 0.0, keeps(42, 0.3, i));
        }
        let mut in_place = x.clone();
        dropout_in_place(42, 0.3, &mut in_place);
        assert_eq!(in_place, y);
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let mut z = vec![f64::NAN; len];
        dropout(42, 0.3, &wide, &mut z);
        assert!(z.iter().zip(&y).all(|(z, y)| (*z == 0.0) == (*y == 0.0)));
    }
}

#[test]
fn edge_rates() {
    let x = [1.0f32, f32::NAN, f32::INFINITY, -2.0];
    let mut y = [9.0f32; 4];
    dropout(1, 1.0, &x, &mut y);
    assert_eq!(y, [0.0; 4]);
    dropout(1, 0.0, &x, &mut y);
    assert!(y.iter().zip(&x).all(|(a, b)| a.to_bits() == b.to_bits()));
    // Just below 1 is not 1, just above 0 is not 0.
    assert_eq!(Rate::of(1.0 - 1e-16), Rate::Below(u32::MAX));
    assert_eq!(Rate::of(0.5), Rate::Below(1 << 31));
    assert_eq!(Rate::of(1e-12), Rate::Keep);
    assert!(keeps(1, 0.0, 7) && !keeps(1, 1.0, 7));
    // What is dropped is 0 whatever it was.
    let x = vec![f32::NAN; 256];
    let mut y = vec![1.0; 256];
    dropout(3, 0.5, &x, &mut y);
    assert!((0..256).all(|i| if keeps(3, 0.5, i) { y[i].is_nan() } else { y[i] == 0.0 }));
}

#[test]
fn threads_and_instruction_sets_do_not_matter() {
    let x: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut y = vec![0.0; x.len()];
            dropout(17, 0.1, &x, &mut y);
            y
        })
    };
    let expected = on(1);
    assert_eq!(on(4), expected);
    for isa in available() {
        let mut y = vec![0.0; 1000];
        with_isa(isa, || dropout(17, 0.1, &x[..1000], &mut y));
        assert_eq!(y, expected[..1000], "{isa:?}");
    }
}
