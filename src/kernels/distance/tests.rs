//! The fast forms against the definitions.

use super::reference;
use super::*;
use crate::kernels::simd::{Real, available, with_isa};
use crate::run::seed::Streams;
use rand::RngExt;

/// Numbers around zero from a stream; multiples of 2^-10 when `coarse`, so that equal distances are common.
fn numbers<T: Real>(purpose: &str, count: usize, coarse: bool) -> Vec<T> {
    let mut rng = Streams::new(1).stream(purpose, count as u64);
    let one = |_| {
        let x = rng.random::<f64>() * 2.0 - 1.0;
        T::from_f64(if coarse { (x * 4.0).round() / 4.0 } else { x })
    };
    (0..count).map(one).collect()
}

fn epsilon<T: Real>() -> f64 {
    if T::LANES == 16 { f32::EPSILON as f64 } else { f64::EPSILON }
}

/// Sizes that meet every height of a group, partial panels, partial blocks and several pieces.
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (3, 2, 2), (17, 3, 5), (128, 8, 12), (129, 5, 13), (300, 1, 7), (700, 17, 30), (1300, 33, 25), (40, 70, 101)];

/// The nearest centroid by [`squared_distance`], the definition of the labels.
fn defined<T: Real>(points: &[T], centroids: &[T], d: usize) -> Vec<u32> {
    let one = |x: &[T]| {
        let mut best = (0, f64::INFINITY);
        for (c, row) in centroids.chunks_exact(d).enumerate() {
            let there = squared_distance(x, row);
            best = if there < best.1 { (c as u32, there) } else { best };
        }
        best.0
    };
    points.chunks_exact(d).map(one).collect()
}

#[test]
fn a_distance_is_its_definition() {
    fn check<T: Real>() {
        for d in 1..70 {
            let (x, c) = (numbers::<T>("x", d, false), numbers::<T>("c", d, false));
            let (found, exact) = (squared_distance(&x, &c), reference::squared_distance(&x, &c));
            // Both sums have a relative error of at most (d + 3)u.
            assert!((found - exact).abs() <= (d + 3) as f64 * f64::EPSILON * exact, "d = {d}");
            assert_eq!(found.to_bits(), squared_distance(&c, &x).to_bits());
            assert_eq!(squared_distance(&x, &x), 0.0);
            let mut out = [0.0; 2];
            squared_distances_from(&x, &[c.clone(), x.clone()].concat(), &mut out);
            assert_eq!(out, [found, 0.0]);
            own_distances(&[x.clone(), c.clone()].concat(), d, &[1, 1], &[x.clone(), c.clone()].concat(), &mut out);
            assert_eq!(out, [found, 0.0]);
            own_distances_of(&[x.clone(), c.clone()].concat(), d, &[1, 0], &[1, 1], &[x.clone(), c].concat(), &mut out);
            assert_eq!(out, [0.0, found]);
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn nearest_is_the_definition_ties_included() {
    fn check<T: Real>() {
        for coarse in [false, true] {
            for (n, d, k) in SHAPES {
                let points = numbers::<T>("points", n * d, coarse);
                let mut centroids = numbers::<T>("centroids", k * d, coarse);
                if k > 3 {
                    // Twice the same centroid: the first of them is the answer.
                    let (a, b) = centroids.split_at_mut((k - 1) * d);
                    b.copy_from_slice(&a[d..2 * d]);
                }
                let mut labels = vec![9; n];
                nearest(&points, &Centroids::new(&centroids, d), &mut labels);
                assert_eq!(labels, defined(&points, &centroids, d), "n, d, k = {n}, {d}, {k}, coarse: {coarse}");
                assert!(k <= 3 || labels.iter().all(|&l| l != k as u32 - 1));
                if coarse {
                    // Coarse numbers are computed without rounding, so the plain definition agrees even where distances are equal.
                    let plain: Vec<u32> = reference::nearest(&points, &centroids, d).iter().map(|f| f.0).collect();
                    assert_eq!(labels, plain);
                }
            }
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn centroids_closer_than_rounding_are_told_apart_far_from_the_origin() {
    // At 1e6 (f64) or 30 (f32) the searched values have errors far above the differences of the distances.
    fn check<T: Real>(place: f64, step: f64) {
        let (d, n, k) = (3, 500, 9);
        let points: Vec<T> =
            numbers::<f64>("points", n * d, false).iter().map(|x| T::from_f64(place + 10.0 * step * x)).collect();
        let centroids: Vec<T> =
            numbers::<f64>("centroids", k * d, false).iter().map(|x| T::from_f64(place + 10.0 * step * x)).collect();
        let mut labels = vec![0; n];
        nearest(&points, &Centroids::new(&centroids, d), &mut labels);
        assert_eq!(labels, defined(&points, &centroids, d));
        assert!((0..k as u32).filter(|c| labels.contains(c)).count() > 3);
    }
    check::<f64>(1e6, 1e-9);
    check::<f32>(30.0, 1e-5);
}

#[test]
fn bounds_of_the_search_hold_and_are_of_use() {
    fn check<T: Real>() {
        for (n, d, k) in SHAPES {
            let (points, centroids) = (numbers::<T>("points", n * d, false), numbers::<T>("centroids", k * d, false));
            let prepared = Centroids::new(&centroids, d);
            let n = n.min(BLOCK);
            let mut found = vec![Found::default(); n];
            Search::new().block(&points, &prepared, &mut found);
            for (i, (found, (label, best, second))) in
                found.iter().zip(reference::nearest(&points[..n * d], &centroids, d)).enumerate()
            {
                assert_eq!(found.label, label, "{i} of {n}, {d}, {k}");
                // The reference has a relative error of its own.
                assert!(found.others <= second * (1.0 + (d + 3) as f64 * f64::EPSILON), "{i}: {} {second}", found.others);
                // Three bounds of the error, 5(d + 4)u of norms below d each, are the most that is given away.
                let loose = 30.0 * (d + 4) as f64 * epsilon::<T>() * (2 * d) as f64;
                assert!(k == 1 || found.others >= second * (1.0 - loose) - loose, "{i}: {} {second} {best}", found.others);
            }
            // The same for some rows.
            let rows: Vec<u32> = (0..n as u32).rev().step_by(3).collect();
            let mut some = vec![Found::default(); rows.len()];
            Search::new().rows_of(&points, &rows, &prepared, &mut some);
            assert!(
                some.iter().zip(&rows).all(|(s, &i)| s.label == found[i as usize].label && s.others == found[i as usize].others)
            );
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn the_same_bits_on_every_instruction_set_and_number_of_threads() {
    fn check<T: Real>() {
        let (n, d, k) = (1500, 19, 31);
        let (points, centroids) = (numbers::<T>("points", n * d, true), numbers::<T>("centroids", k * d, true));
        let run = || {
            let mut labels = vec![0; n];
            nearest(&points, &Centroids::new(&centroids, d), &mut labels);
            let mut sums = ClusterSums::new(n, k, d);
            sums.fill(&points, &labels);
            let mut block = vec![T::ZERO; n * k];
            squared_distances(&points, &centroids, d, &mut block);
            let mut trials = Trials::new(n);
            trials.evaluate(&points, d, &centroids[..d]);
            trials.accept(0);
            let left = trials.evaluate(&points, d, &centroids[d..8 * d]);
            let block: Vec<u64> = block.iter().map(|x| x.to_f64().to_bits()).collect();
            (labels, sums.sums, sums.sizes, block, left, trials.pick(5.0))
        };
        let expected = run();
        for isa in available() {
            assert_eq!(with_isa(isa, run), expected, "{isa:?}");
        }
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(run), expected, "{threads} threads");
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn blocks_of_distances_are_accurate_at_all_sizes_of_distances() {
    fn check<T: Real>() {
        for (n, d, m) in SHAPES {
            let mut a = numbers::<T>("a", n * d, false);
            let b = numbers::<T>("b", m * d, false);
            // A point that is also in b, and one close to another of b.
            a[..d].copy_from_slice(&b[(m - 1) * d..]);
            if n > 1 {
                for j in 0..d {
                    a[d + j] = b[j] + T::from_f64(1e-4);
                }
            }
            let mut out = vec![T::ONE; n * m];
            squared_distances(&a, &b, d, &mut out);
            let mut turned = vec![T::ONE; n * m];
            squared_distances(&b, &a, d, &mut turned);
            let bound = 700.0 * (d + 4) as f64 * epsilon::<T>();
            for (at, (found, exact)) in out.iter().zip(reference::squared_distances(&a, &b, d)).enumerate() {
                assert!((found.to_f64() - exact).abs() <= bound * exact, "{at} of {n} x {m}, d = {d}: {found} {exact}");
                assert_eq!(found.to_f64().to_bits(), turned[at % m * n + at / m].to_f64().to_bits());
            }
            assert_eq!(out[m - 1].to_f64(), 0.0);
        }
        squared_distances::<T>(&[], &[T::ONE], 1, &mut []);
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn sums_of_clusters() {
    fn check<T: Real>() {
        for (n, d, k) in SHAPES {
            let points = numbers::<T>("points", n * d, false);
            let mut labels: Vec<u32> = (0..n).map(|i| (i * 7 % k) as u32).collect();
            let mut sums = ClusterSums::new(n, k, d);
            sums.fill(&points, &labels);
            let (expected, sizes) = reference::sums(&points, d, &labels, k);
            // n terms below 1 in another order.
            assert!(sums.sums.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= n as f64 * n as f64 * f64::EPSILON));
            assert_eq!(sums.sizes, sizes);
            // Either order of work gives these bits, also where pieces without a change keep what they had.
            let change = |range: std::ops::Range<usize>, labels: &mut [u32], _: &mut ()| {
                if range.start > 600 {
                    return 0;
                }
                labels[0] = (labels[0] + 1) % k as u32;
                (k > 1) as usize
            };
            let mut again = sums.clone();
            let mut other = labels.clone();
            let states = vec![(); sums.pieces().count()];
            let a = sums.assign(&points, &mut labels, states.clone(), Order::Block, change);
            let b = again.assign(&points, &mut other, states, Order::Piece, change);
            assert_eq!((a, &labels, &sums.sums, &sums.sizes), (b, &other, &again.sums, &again.sizes));
            let mut fresh = ClusterSums::new(n, k, d);
            fresh.fill(&points, &labels);
            assert_eq!((fresh.sums, fresh.sizes), (sums.sums, sums.sizes));
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn sums_of_very_many_clusters_go_by_cluster() {
    let (n, d, k) = (1200, 2, 1 << 22);
    let points = numbers::<f64>("points", n * d, false);
    let labels: Vec<u32> = (0..n).map(|i| (i / 3 * 5) as u32).collect();
    let mut sums = ClusterSums::new(n, k, d);
    sums.fill(&points, &labels);
    for c in [0, 5, 10] {
        assert_eq!(sums.sizes[c], 3);
        let first = c / 5 * 3;
        let expected = (points[first * d] + points[(first + 1) * d]) + points[(first + 2) * d];
        assert_eq!(sums.sums[c * d], expected);
    }
    assert_eq!((sums.sizes[1], sums.sizes.iter().sum::<usize>()), (0, n));
}

#[test]
fn trials_are_what_candidates_leave() {
    fn check<T: Real>() {
        for (n, d, k) in SHAPES {
            let points = numbers::<T>("points", n * d, false);
            let mut trials = Trials::new(n);
            assert_eq!(trials.total(), f64::INFINITY);
            let first = trials.evaluate(&points, d, &points[..d]);
            trials.accept(0);
            let near: Vec<f64> = points.chunks_exact(d).map(|x| reference::squared_distance(x, &points[..d])).collect();
            // d + 2 roundings in each distance, n of T within a block of sums.
            let bound = (d + 2 + n) as f64 * epsilon::<T>() * (4 * d * n) as f64;
            assert!((first[0] - near.iter().sum::<f64>()).abs() <= bound && trials.near()[0].to_f64() == 0.0);
            let count = k.min(n);
            let left = trials.evaluate(&points, d, &points[..count * d]);
            for (found, exact) in left.iter().zip(reference::potentials(&points, d, &near, &points[..count * d])) {
                assert!((found - exact).abs() <= bound, "{found} {exact}");
            }
            trials.accept(count - 1);
            assert_eq!(trials.near()[count - 1].to_f64(), 0.0);
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn picks_follow_the_running_sum() {
    // Distances to the first point: 0, 1, 4, 0, 9; running sums 0, 1, 5, 5, 14.
    let points = [0.0, 1.0, 2.0, 0.0, 3.0];
    let mut trials = Trials::new(5);
    trials.evaluate(&points, 1, &points[..1]);
    trials.accept(0);
    assert_eq!(trials.total(), 14.0);
    let picks: Vec<_> = [0.0, 0.99, 1.0, 4.99, 5.0, 13.9, 14.0, 20.0].iter().map(|&at| trials.pick(at)).collect();
    assert_eq!(picks, [1, 1, 2, 2, 4, 4, 4, 4].map(Some));
    let mut none = Trials::<f64>::new(2);
    none.evaluate(&[1.0, 1.0], 1, &[1.0]);
    none.accept(0);
    assert_eq!((none.total(), none.pick(0.0)), (0.0, None));
}

#[test]
fn numbers_out_of_range_neither_panic_nor_mislead() {
    let points = [1e200, -1e200, 0.0, 1.0];
    let centroids = [1e200, 0.5, f64::INFINITY];
    let mut labels = [7; 4];
    nearest(&points, &Centroids::new(&centroids, 1), &mut labels);
    assert_eq!(labels, [0, 0, 1, 1]);
    let mut out = [0.0; 4];
    squared_distances(&[1e200, 1.0], &[1e200, 2.0], 1, &mut out);
    assert_eq!(out, [0.0, f64::INFINITY, f64::INFINITY, 1.0]);
}
