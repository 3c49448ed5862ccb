use super::super::testing::{Data, blobs, on_threads};
use super::*;
use crate::run::observer::Silent;

/// The definition, from coordinates.
fn reference(points: Points, labels: &[i32]) -> Vec<f64> {
    let n = points.n();
    let mut distinct = labels.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let distance =
        |i: usize, j: usize| points.row(i).iter().zip(points.row(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let mean = |i: usize, label: i32| {
        let of: Vec<f64> = (0..n).filter(|&j| j != i && labels[j] == label).map(|j| distance(i, j)).collect();
        if of.is_empty() { None } else { Some(of.iter().sum::<f64>() / of.len() as f64) }
    };
    (0..n)
        .map(|i| {
            let Some(a) = mean(i, labels[i]) else { return 0.0 };
            let others = distinct.iter().filter(|&&l| l != labels[i]).filter_map(|&l| mean(i, l));
            let b = others.fold(f64::INFINITY, f64::min);
            if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
        })
        .collect()
}

fn all_ways(points: Points, labels: &[i32]) -> [Vec<f64>; 2] {
    let groups = Groups::new(labels, Noise::Group);
    let sorted = Sorted::new(points, &groups);
    let back = |values: Vec<f64>| {
        let mut out = vec![0.0; values.len()];
        groups.order().iter().zip(values).for_each(|(&i, s)| out[i] = s);
        out
    };
    [back(symmetric(&sorted, &groups, &Silent).unwrap()), back(by_rows(&sorted, &groups, &sorted.all(), &Silent).unwrap())]
}

#[test]
fn both_ways_are_the_definition() {
    // Around the block of 256 and its double, odd dimensions, few and many clusters, more coordinates than one product takes.
    for (n, d, k) in [(3, 1, 2), (255, 3, 2), (256, 8, 5), (257, 5, 100), (513, 4, 3), (600, 2, 50), (300, 300, 4), (770, 7, 11)]
    {
        let (values, labels) = blobs(n, d, k, 4.0);
        let points = Points::new(&values, n, d).unwrap();
        let expected = reference(points, &labels);
        for found in all_ways(points, &labels) {
            for (f, e) in found.iter().zip(&expected) {
                // Squares are good to 2⁻³² / d of themselves at worst, 1e-13 d for distances that are not tiny.
                assert!((f - e).abs() <= 1e-11, "{n} {d} {k}: {f} is not {e}");
            }
        }
    }
}

#[test]
fn threads_and_instruction_sets_do_not_matter() {
    let (values, labels) = blobs(1500, 10, 7, 5.0);
    let points = Points::new(&values, 1500, 10).unwrap();
    let [one, two] = on_threads(|| all_ways(points, &labels));
    assert_eq!(one, two);
    for isa in crate::kernels::simd::available() {
        // The pool keeps its own choice, so on this thread alone.
        let groups = Groups::new(&labels, Noise::Group);
        let sorted = Sorted::new(points, &groups);
        let mut sums = vec![0.0; 256 * 7];
        let mut best = sums.clone();
        crate::kernels::simd::with_isa(isa, || sorted.meet(&sorted.all(), 0..256, 1, &mut sums, None));
        sorted.meet(&sorted.all(), 0..256, 1, &mut best, None);
        assert_eq!(sums, best, "{}", isa.name());
    }
}

#[test]
fn points_that_coincide_or_are_far_off() {
    // Pairs a unit apart, a thousand million units off the origin, and copies of them: squares of coordinates have no digit left for that.
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for i in 0..300 {
        let away = if i % 2 == 0 { 1e9 } else { 2e9 };
        values.extend([away + (i % 6 / 2) as f64, -away]);
        labels.push(i % 2);
    }
    let points = Points::new(&values, 300, 2).unwrap();
    let expected = reference(points, &labels);
    for found in all_ways(points, &labels) {
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() <= 1e-14, "{f} is not {e}");
        }
    }
    // The largest numbers there are, and the smallest.
    for scale in [1.5e308, 1e-300, 5e-324] {
        let values: Vec<f64> = [-1.0, -1.0, 1.0, 1.0, 0.0, 0.0].iter().map(|v| v * scale).collect();
        let found = silhouette(Points::new(&values, 6, 1).unwrap(), &[0, 0, 1, 1, 2, 2], Noise::Group, &Silent).unwrap();
        assert_eq!(found.samples, [1.0; 6], "{scale}");
    }
}

#[test]
fn nothing_apart_scores_nothing() {
    let values = [4.0; 12];
    let found = silhouette(Points::new(&values, 6, 2).unwrap(), &[0, 1, 0, 1, 0, 1], Noise::Group, &Silent).unwrap();
    assert_eq!((found.samples, found.mean), (vec![0.0; 6], 0.0));
}

#[test]
fn singletons_and_noise() {
    let values = [0.0, 1.0, 10.0, 50.0];
    let points = Points::new(&values, 4, 1).unwrap();
    let found = silhouette(points, &[5, 5, 7, -1], Noise::LeaveOut, &Silent).unwrap();
    // Point 0: a = 1, b = 10; point 1: a = 1, b = 9; 2 alone, 3 left out.
    for (f, e) in found.samples.iter().zip([0.9, 8.0 / 9.0, 0.0, 0.0]) {
        assert!((f - e).abs() < 1e-15);
    }
    assert!((found.mean - (0.9 + 8.0 / 9.0) / 3.0).abs() < 1e-15);
    assert_eq!(found.mean_without_largest, 0.0);
    assert_eq!(found.clusters.iter().map(|c| (c.label, c.size)).collect::<Vec<_>>(), [(5, 2), (7, 1)]);
    let with = silhouette(points, &[5, 5, 7, -1], Noise::Group, &Silent).unwrap();
    assert_eq!(with.clusters.len(), 3);
    for labels in [[0; 4], [0, 1, 2, 3]] {
        let text = silhouette(points, &labels, Noise::Group, &Silent).unwrap_err().to_string();
        assert!(text.starts_with("the number of clusters for the silhouette is ") && text.contains("of 4 points"), "{text}");
    }
    let text = silhouette_sample(points, &[0, 0, 1, 1], Noise::Group, 1, 0, &Silent).unwrap_err().to_string();
    assert!(text.contains("at least 2"), "{text}");
}

#[test]
fn permuted_rows_have_permuted_silhouettes() {
    let (values, labels) = blobs(400, 5, 6, 4.0);
    let found = silhouette(Points::new(&values, 400, 5).unwrap(), &labels, Noise::Group, &Silent).unwrap();
    let order: Vec<usize> = (0..400).map(|i| i * 171 % 400).collect();
    let moved: Vec<f64> = order.iter().flat_map(|&i| &values[i * 5..i * 5 + 5]).copied().collect();
    let names: Vec<i32> = order.iter().map(|&i| 9 - labels[i]).collect();
    let again = silhouette(Points::new(&moved, 400, 5).unwrap(), &names, Noise::Group, &Silent).unwrap();
    for (&i, s) in order.iter().zip(&again.samples) {
        assert!((s - found.samples[i]).abs() < 1e-12);
    }
}

#[test]
fn a_sample_estimates_the_whole() {
    let Some(data) = Data::load("digits") else { return };
    let whole = silhouette(data.points(), &data.classes, Noise::Group, &Silent).unwrap();
    let mut hits = 0;
    for seed in 0..40 {
        let sample = silhouette_sample(data.points(), &data.classes, Noise::Group, 300, seed, &Silent).unwrap();
        assert_eq!(sample.size, 300);
        assert!(sample.se > 0.0 && sample.se < 0.02);
        hits += usize::from((sample.mean - whole.mean).abs() <= 2.0 * sample.se);
    }
    // Two standard errors hold 95 %: fewer than 32 of 40 has a chance below 1e-3.
    assert!(hits >= 32, "{hits} of 40");
    let all = silhouette_sample(data.points(), &data.classes, Noise::Group, 5000, 0, &Silent).unwrap();
    assert_eq!((all.mean, all.se, all.size), (whole.mean, 0.0, 1797));
    let [one, two] = on_threads(|| silhouette_sample(data.points(), &data.classes, Noise::Group, 300, 0, &Silent).unwrap());
    assert_eq!(one, two);
}

#[test]
fn single_precision_points_are_taken() {
    let (values, labels) = blobs(100, 3, 4, 4.0);
    let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    let wide: Vec<f64> = narrow.iter().map(|&v| f64::from(v)).collect();
    let a = silhouette(Points::new(&narrow, 100, 3).unwrap(), &labels, Noise::Group, &Silent).unwrap();
    let b = silhouette(Points::new(&wide, 100, 3).unwrap(), &labels, Noise::Group, &Silent).unwrap();
    assert_eq!(a, b);
}

struct Stopped;
impl Observer for Stopped {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn it_stops_when_asked() {
    let (values, labels) = blobs(100, 3, 4, 4.0);
    let points = Points::new(&values, 100, 3).unwrap();
    assert_eq!(silhouette(points, &labels, Noise::Group, &Stopped), Err(ClusterError::Cancelled));
    assert_eq!(silhouette_sample(points, &labels, Noise::Group, 10, 0, &Stopped), Err(ClusterError::Cancelled));
}
