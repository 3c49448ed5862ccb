//! The definitions in plain f64 loops.

use crate::kernels::simd::Real;

/// ‖x − c‖², added in order.
pub fn squared_distance<T: Real>(x: &[T], c: &[T]) -> f64 {
    x.iter().zip(c).map(|(x, c)| (x.to_f64() - c.to_f64()).powi(2)).sum()
}

/// All distances between rows of a (n × d) and b (m × d).
pub fn squared_distances<T: Real>(a: &[T], b: &[T], d: usize) -> Vec<f64> {
    a.chunks_exact(d).flat_map(|a| b.chunks_exact(d).map(move |b| squared_distance(a, b))).collect()
}

/// For every point the nearest centroid (the lowest index among equals), its distance and the second smallest one.
pub fn nearest<T: Real>(points: &[T], centroids: &[T], d: usize) -> Vec<(u32, f64, f64)> {
    let one = |x: &[T]| {
        let mut found = (0, f64::INFINITY, f64::INFINITY);
        for (c, row) in centroids.chunks_exact(d).enumerate() {
            let there = squared_distance(x, row);
            if there < found.1 {
                found = (c as u32, there, found.1);
            } else if there < found.2 {
                found.2 = there;
            }
        }
        found
    };
    points.chunks_exact(d).map(one).collect()
}

/// Sums and sizes of `k` clusters.
pub fn sums<T: Real>(points: &[T], d: usize, labels: &[u32], k: usize) -> (Vec<f64>, Vec<usize>) {
    let (mut sums, mut sizes) = (vec![0.0; k * d], vec![0; k]);
    for (row, &label) in points.chunks_exact(d).zip(labels) {
        sizes[label as usize] += 1;
        sums[label as usize * d..][..d].iter_mut().zip(row).for_each(|(s, x)| *s += x.to_f64());
    }
    (sums, sizes)
}

/// For every candidate (rows of `candidates`): Σ over the points of min(near, distance to the candidate).
pub fn potentials<T: Real>(points: &[T], d: usize, near: &[f64], candidates: &[T]) -> Vec<f64> {
    let one = |c: &[T]| points.chunks_exact(d).zip(near).map(|(x, &near)| near.min(squared_distance(x, c))).sum();
    candidates.chunks_exact(d).map(one).collect()
}
