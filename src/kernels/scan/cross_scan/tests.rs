//! Against the definition and the golden, and the identities.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, flat, golden, in_pool, numbers, wide};

const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];

fn of(batch: usize, channels: usize, (height, width): (usize, usize), layout: Layout) -> CrossScan<'static> {
    CrossScan { batch, channels, grid: Grid { height, width }, directions: &Direction::ALL, layout }
}

fn cases() -> Vec<CrossScan<'static>> {
    let shapes =
        [(1, 1, (2, 3)), (2, 3, (4, 5)), (1, 17, (1, 9)), (2, 20, (9, 1)), (3, 1, (35, 67)), (1, 5, (70, 33)), (1, 300, (8, 40))];
    let single =
        [&Direction::ALL[0..1], &Direction::ALL[1..2], &Direction::ALL[2..3], &Direction::ALL[3..4], &Direction::ALL[1..4]];
    let mut all = Vec::new();
    for (batch, channels, shape) in shapes {
        for layout in LAYOUTS {
            let whole = of(batch, channels, shape, layout);
            all.push(whole);
            all.extend(single.map(|directions| CrossScan { directions, ..whole }));
        }
    }
    all
}

/// xs of made-up maps, and the merge of made-up sequences.
fn run<T: Real>(scan: &CrossScan<'_>) -> [Vec<T>; 2] {
    let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
    let (mut xs, mut y) = (nan(scan.sequences_len()), nan(scan.map_len()));
    scan.scan(&cast::<T>(&numbers(1, y.len())), &mut xs);
    scan.merge(&cast::<T>(&numbers(2, xs.len())), &mut y);
    [xs, y]
}

#[test]
fn golden_values() {
    let g = golden("cross_scan");
    let (x, xs, merged) = (flat(&g["x"]), flat(&g["xs_dirs0to3"]), flat(&g["merge_of_xs"]));
    for layout in LAYOUTS {
        // One channel: the same in both layouts.
        let scan = of(1, 1, (2, 3), layout);
        assert_eq!((reference::scan(&scan, &x), reference::merge(&scan, &xs)), (xs.clone(), merged.clone()));
        let (mut found, mut sum) = (vec![0f32; 24], vec![0f32; 6]);
        scan.scan(&cast(&x), &mut found);
        scan.merge(&found, &mut sum);
        assert_eq!((wide(&found), wide(&sum)), (xs.clone(), merged.clone()));
    }
}

#[test]
fn fast_is_the_definition() {
    for scan in cases() {
        let (x, ys) = (numbers(1, scan.map_len()), numbers(2, scan.sequences_len()));
        let (xs, y) = (reference::scan(&scan, &x), reference::merge(&scan, &ys));
        let [found, sum] = run::<f64>(&scan);
        // Added in the same order: the same bits.
        assert!(found == xs && sum == y, "{scan:?}");
        let [found, sum] = run::<f32>(&scan);
        assert!(wide(&found) == xs, "{scan:?}");
        close(&wide(&sum), &y, 1e-6, "merge");
    }
}

#[test]
fn each_is_the_adjoint_of_the_other() {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for scan in cases() {
        let (x, ys) = (numbers(1, scan.map_len()), numbers(2, scan.sequences_len()));
        let [xs, y] = run::<f64>(&scan);
        let (a, b) = (dot(&xs, &ys), dot(&x, &y));
        assert!((a - b).abs() <= 1e-12 * xs.len() as f64, "{scan:?}: {a} and {b}");
    }
}

#[test]
fn merging_a_scan_multiplies_by_the_directions() {
    for scan in cases() {
        let x = cast::<f32>(&numbers(1, scan.map_len()));
        let (mut xs, mut y) = (vec![f32::NAN; scan.sequences_len()], vec![f32::NAN; x.len()]);
        scan.scan(&x, &mut xs);
        scan.merge(&xs, &mut y);
        // Numbers of 20 bits: exact.
        let times = scan.directions.len() as f32;
        assert!(x.iter().zip(&y).all(|(x, y)| times * x == *y), "{scan:?}");
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for scan in cases() {
        let run = || run::<f32>(&scan).map(|v| bits(&v));
        let one = in_pool(1, run);
        assert!(one == in_pool(2, run) && one == in_pool(8, run), "{scan:?}");
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, run)), "{scan:?} {isa:?}");
        }
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for layout in LAYOUTS {
        for (batch, channels, shape) in [(0, 2, (3, 4)), (1, 0, (3, 4)), (1, 2, (0, 4)), (1, 2, (3, 0))] {
            assert!(run::<f32>(&of(batch, channels, shape, layout))[0].is_empty());
        }
    }
    let refused = |map: usize, sequences: usize, directions: &'static [Direction]| {
        let scan = CrossScan { directions, ..of(1, 2, (3, 4), Layout::ChannelsLast) };
        std::panic::catch_unwind(|| scan.scan(&vec![0f32; map], &mut vec![0f32; sequences])).is_err()
    };
    assert!(!refused(24, 96, &Direction::ALL) && !refused(24, 24, &Direction::ALL[..1]));
    assert!(refused(23, 96, &Direction::ALL) && refused(24, 95, &Direction::ALL) && refused(24, 0, &[]));
}
