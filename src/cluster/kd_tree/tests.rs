//! Against sorting all distances, and the two paths against each other. Also points for the tests of the methods built on this.

use super::*;
use crate::testing::shared;

/// SplitMix64, as numbers in [0, 1): the same draws are two lines in any language.
pub(crate) struct Mix(pub u64);

impl Mix {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// (n, d) uniform in the unit cube.
pub(crate) fn uniform(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut mix = Mix(seed);
    (0..n * d).map(|_| mix.next()).collect()
}

/// (n, d) on a grid of few values: many equal distances, and duplicates.
pub(crate) fn grid(n: usize, d: usize, seed: u64) -> Vec<f64> {
    uniform(n, d, seed).iter().map(|x| (x * 4.0).floor()).collect()
}

/// (n, d): `k` round groups in a cube of side 10, and every tenth point anywhere in it.
pub(crate) fn blobs(n: usize, d: usize, k: usize, seed: u64) -> Vec<f64> {
    let mut mix = Mix(seed);
    let centres: Vec<f64> = (0..k * d).map(|_| 10.0 * mix.next()).collect();
    let mut values = Vec::with_capacity(n * d);
    for i in 0..n {
        for j in 0..d {
            let x = if i % 10 == 9 {
                10.0 * mix.next()
            } else {
                centres[i % k * d + j] + (mix.next() + mix.next() + mix.next() - 1.5)
            };
            values.push(x);
        }
    }
    values
}

/// FNV-1a over numbers, to compare with what other programs gave.
pub(crate) fn hash(numbers: impl IntoIterator<Item = i64>) -> u64 {
    numbers.into_iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, x| (h ^ (x as u64 & 0xffff_ffff)).wrapping_mul(0x0100_0000_01b3))
}

/// Numbers of a file of uci-small, and the labels in its last column.
pub(crate) fn table(name: &str) -> Option<(Vec<f64>, usize, Vec<i32>)> {
    let text = std::fs::read_to_string(shared(&format!("uci-small/{name}.csv"))?).unwrap();
    let (mut values, mut labels, mut d) = (Vec::new(), Vec::new(), 0);
    for line in text.lines().skip(1).filter(|l| !l.is_empty()) {
        let mut row: Vec<f64> = line.split(',').map(|x| x.parse().unwrap()).collect();
        labels.push(row.pop().unwrap() as i32);
        d = row.len();
        values.extend(row);
    }
    Some((values, d, labels))
}

/// The result of `work` on so many threads.
pub(crate) fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Rows in an order drawn from `seed`: new row i is the old `order[i]`.
pub(crate) fn shuffled(values: &[f64], d: usize, seed: u64) -> (Vec<f64>, Vec<usize>) {
    let mut order: Vec<usize> = (0..values.len() / d).collect();
    let mut mix = Mix(seed);
    for i in (1..order.len()).rev() {
        order.swap(i, (mix.next() * (i + 1) as f64) as usize);
    }
    (order.iter().flat_map(|&i| &values[i * d..(i + 1) * d]).copied().collect(), order)
}

/// All points by (squared distance, row), summed as documented.
fn sorted(values: &[f64], d: usize, query: &[f64]) -> Vec<(f64, u32)> {
    let distances = values.chunks_exact(d).map(|p| {
        let mut sum = 0.0;
        for j in 0..d {
            sum += (p[j] - query[j]) * (p[j] - query[j]);
        }
        sum
    });
    let mut all: Vec<(f64, u32)> = distances.zip(0..).collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

/// Samples with and without equal distances, of sizes around those of blocks, leaves and pieces.
fn samples() -> Vec<(Vec<f64>, usize)> {
    let mut samples = Vec::new();
    for (n, d) in [(1, 1), (7, 2), (8, 3), (9, 1), (33, 2), (65, 5), (300, 4), (700, 2), (120, 15), (90, 40)] {
        samples.push((uniform(n, d, 11), d));
        samples.push((grid(n, d, 12), d));
    }
    samples.push((vec![2.5; 100 * 3], 3));
    samples
}

#[test]
fn both_paths_find_the_nearest_in_order() {
    for (values, d) in samples() {
        let n = values.len() / d;
        let points = Points::new(&values, n, d).unwrap();
        let others = uniform(50, d, 13);
        let trees = [
            KdTree::build(points, false, LEAF).unwrap(),
            KdTree::flat(points).unwrap(),
            KdTree::build(points, false, 8).unwrap(),
        ];
        for queries in [points, Points::new(&others, 50, d).unwrap()] {
            for k in [1, 2, 5, 20, 64, n].into_iter().filter(|&k| k <= n) {
                let found = trees.each_ref().map(|t| t.nearest(queries, k).unwrap());
                assert_eq!(found[0], found[1], "n {n} d {d} k {k}");
                assert_eq!(found[0], found[2], "n {n} d {d} k {k}");
                for (i, query) in queries.rows().enumerate().step_by(7) {
                    let expected = sorted(&values, d, query);
                    for (at, &(squared, row)) in expected[..k].iter().enumerate() {
                        let place = i * k + at;
                        assert_eq!(
                            (found[0].squared[place], found[0].rows[place]),
                            (squared, row),
                            "n {n} d {d} k {k} query {i}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn both_paths_find_all_within_a_radius() {
    for (values, d) in samples() {
        let n = values.len() / d;
        let points = Points::new(&values, n, d).unwrap();
        let all = sorted(&values, d, points.row(0));
        // Nothing but the point, exactly up to a point (inclusive), everything.
        for limit in [0.0, all[n / 2].0, all[n - 1].0, f64::INFINITY] {
            for tree in [KdTree::build(points, false, LEAF).unwrap(), KdTree::flat(points).unwrap()] {
                let mut found = vec![Vec::new(); n];
                tree.within(&values, limit, |i, places| found[i].extend(places.iter().map(|&p| tree.rows()[p as usize])));
                for (i, found) in found.iter_mut().enumerate() {
                    found.sort_unstable();
                    let expected: Vec<u32> = {
                        let mut rows: Vec<u32> =
                            sorted(&values, d, points.row(i)).into_iter().filter(|s| s.0 <= limit).map(|s| s.1).collect();
                        rows.sort_unstable();
                        rows
                    };
                    assert_eq!(*found, expected, "n {n} d {d} limit {limit} query {i}");
                }
                for enough in [1, 2, 10, n + 1] {
                    let expected: Vec<bool> = found.iter().map(|f| f.len() >= enough).collect();
                    assert_eq!(tree.enough_within(&values, limit, enough), expected, "n {n} d {d} limit {limit} enough {enough}");
                }
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    for d in [3, 20] {
        let values = blobs(20_000 / d, d, 4, 5);
        let points = Points::new(&values, values.len() / d, d).unwrap();
        let run = || (KdTree::new(points).unwrap(), KdTree::new(points).unwrap().nearest(points, 9).unwrap());
        assert_eq!(on_threads(1, run), on_threads(2, run));
    }
}

#[test]
fn large_trees_are_built_in_parallel_and_keep_their_points() {
    let values = uniform(40_000, 2, 3);
    let points = Points::new(&values, 40_000, 2).unwrap();
    let tree = on_threads(2, || KdTree::new(points).unwrap());
    assert_eq!(tree.points(), values);
    assert!(tree.nodes().iter().all(|n| n.right == 0 || (n.right as usize) < tree.nodes().len()));
    assert_eq!(tree.nearest(points, 1).unwrap().rows, (0..40_000).collect::<Vec<u32>>());
}

#[test]
fn bad_questions_are_refused() {
    let values = uniform(10, 2, 1);
    let tree = KdTree::new(Points::new(&values, 10, 2).unwrap()).unwrap();
    let text = |e: Result<Nearest, ClusterError>| e.unwrap_err().to_string();
    let points = Points::new(&values, 10, 2).unwrap();
    assert_eq!(text(tree.nearest(points, 0)), "the number of neighbours is 0; expected 1 to the number of points, 10");
    assert_eq!(text(tree.nearest(points, 11)), "the number of neighbours is 11; expected 1 to the number of points, 10");
    let three = [0.0; 3];
    assert_eq!(text(tree.nearest(Points::new(&three, 1, 3).unwrap(), 1)), "points with 3 columns; the model has 2");
    let far = [0.0, 1e200];
    assert!(text(tree.nearest(Points::new(&far, 1, 2).unwrap(), 1)).contains("column 1 (from 0) reaches from"));
    let wide = [-1e160, 0.0, 1e160, 1.0];
    assert!(KdTree::new(Points::new(&wide, 2, 2).unwrap()).unwrap_err().to_string().contains("scale the columns"));
}

#[test]
fn tiny_distances_do_not_lose_neighbours() {
    // Squares far below the normal numbers: the bound carried from query to query must stay a bound.
    let values: Vec<f64> = uniform(300, 2, 8).iter().map(|x| x * 1e-158).collect();
    let points = Points::new(&values, 300, 2).unwrap();
    let (tree, flat) = (KdTree::new(points).unwrap(), KdTree::flat(points).unwrap());
    assert_eq!(tree.nearest(points, 12).unwrap(), flat.nearest(points, 12).unwrap());
}
