//! Spread of points within and between clusters.

use rayon::prelude::*;

use super::Groups;
use crate::cluster::score::Noise;
use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::Real;

/// Points in a piece of work.
const PIECE: usize = 4096;

/// Centres of clusters and the spread around them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispersion {
    /// Points that are in clusters, and coordinates.
    pub n: usize,
    pub d: usize,
    /// (k), by increasing label.
    pub sizes: Vec<usize>,
    /// (k, d): means.
    pub centroids: Vec<f64>,
    /// (k): Σ‖x − centroid‖².
    pub within: Vec<f64>,
    /// (k): mean ‖x − centroid‖.
    pub radius: Vec<f64>,
    /// Σ size · ‖centroid − mean of all‖².
    pub between: f64,
}

impl Dispersion {
    /// Two passes over the points, O(n d); same bits at any number of threads.
    ///
    /// Errors: no points in clusters; coordinates so large that squares overflow. Panics when there is not a label for every point.
    pub fn of<T: Real>(points: Points<T>, labels: &[i32], noise: Noise) -> Result<Self, ClusterError> {
        assert_eq!(labels.len(), points.n(), "a label for every point");
        Self::of_groups(points, &Groups::new(labels, noise))
    }

    pub(crate) fn of_groups<T: Real>(points: Points<T>, groups: &Groups) -> Result<Self, ClusterError> {
        let (n, d, k) = (groups.n(), points.d(), groups.count());
        if n == 0 {
            return Err(ClusterError::Empty);
        }
        let pieces: Vec<(usize, &[usize])> =
            (0..k).flat_map(|g| groups.members(g).chunks(PIECE).map(move |members| (g, members))).collect();
        let per_piece = |work: &(dyn Fn(usize, &[usize]) -> Vec<f64> + Sync)| -> Vec<Vec<f64>> {
            pieces.par_iter().with_min_len(1).map(|&(g, members)| work(g, members)).collect()
        };
        let mut centroids = vec![0.0; k * d];
        let sums = per_piece(&|_, members| {
            let mut sum = vec![0.0; d];
            for &i in members {
                sum.iter_mut().zip(points.row(i)).for_each(|(s, v)| *s += v.to_f64());
            }
            sum
        });
        for (&(g, _), sum) in pieces.iter().zip(&sums) {
            centroids[g * d..(g + 1) * d].iter_mut().zip(sum).for_each(|(c, s)| *c += s);
        }
        let mut mean = vec![0.0; d];
        centroids.chunks_exact(d).for_each(|c| mean.iter_mut().zip(c).for_each(|(m, c)| *m += c / n as f64));
        (0..k).for_each(|g| centroids[g * d..(g + 1) * d].iter_mut().for_each(|c| *c /= groups.size(g) as f64));
        let spreads = per_piece(&|g, members| {
            let (mut squares, mut distances) = (0.0, 0.0);
            for &i in members {
                let square = square(points.row(i).iter().map(|v| v.to_f64()), &centroids[g * d..(g + 1) * d]);
                squares += square;
                distances += square.sqrt();
            }
            vec![squares, distances]
        });
        let (mut within, mut radius) = (vec![0.0; k], vec![0.0; k]);
        for (&(g, _), spread) in pieces.iter().zip(&spreads) {
            within[g] += spread[0];
            radius[g] += spread[1];
        }
        radius.iter_mut().enumerate().for_each(|(g, r)| *r /= groups.size(g) as f64);
        let sizes: Vec<usize> = (0..k).map(|g| groups.size(g)).collect();
        let between =
            centroids.chunks_exact(d).zip(&sizes).map(|(c, &s)| s as f64 * square(c.iter().copied(), &mean)).sum::<f64>();
        let out = Self { n, d, sizes, centroids, within, radius, between };
        if !(out.between + out.inertia()).is_finite() {
            return Err(ClusterError::Numbers(
                "squares of the coordinates overflow; divide the columns by their largest value".into(),
            ));
        }
        Ok(out)
    }

    /// Σ‖x − centroid of its cluster‖².
    pub fn inertia(&self) -> f64 {
        self.within.iter().sum()
    }

    /// Calinski-Harabasz index: (between / (k − 1)) / (within / (n − k)); larger is better. 1 when all clusters are single points (as
    /// scikit-learn). Errors: fewer than 2 clusters, or as many as points. Source: Caliński & Harabasz 1974.
    pub fn calinski_harabasz(&self) -> Result<f64, ClusterError> {
        let (n, k) = self.check("the number of clusters for the Calinski-Harabasz index")?;
        let within = self.inertia();
        Ok(if within > 0.0 { self.between * (n - k) as f64 / (within * (k - 1) as f64) } else { 1.0 })
    }

    /// Davies-Bouldin index: the mean over clusters of the largest (radius + radius) / distance of centroids; smaller is better. Clusters
    /// with equal centroids are not compared (as scikit-learn). O(k² d). Errors: as above. Source: Davies & Bouldin 1979.
    pub fn davies_bouldin(&self) -> Result<f64, ClusterError> {
        let (_, k) = self.check("the number of clusters for the Davies-Bouldin index")?;
        let centroid = |g: usize| &self.centroids[g * self.d..(g + 1) * self.d];
        let worst = |g: usize| {
            (0..k).filter(|&h| h != g).fold(0.0f64, |most, h| {
                let apart = square(centroid(g).iter().copied(), centroid(h)).sqrt();
                if apart > 0.0 { most.max((self.radius[g] + self.radius[h]) / apart) } else { most }
            })
        };
        let worst: Vec<f64> = (0..k).into_par_iter().map(worst).collect();
        Ok(worst.iter().sum::<f64>() / k as f64)
    }

    /// n and k, when there are clusters to compare.
    fn check(&self, what: &'static str) -> Result<(usize, usize), ClusterError> {
        let (n, k) = (self.n, self.sizes.len());
        if k < 2 || k >= n {
            let expected = "at least 2, and fewer than there are points".into();
            return Err(ClusterError::Setting { what, value: format!("{k} (of {n} points)"), expected });
        }
        Ok((n, k))
    }
}

fn square(x: impl Iterator<Item = f64>, y: &[f64]) -> f64 {
    x.zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// [`Dispersion::inertia`] of labels.
pub fn inertia<T: Real>(points: Points<T>, labels: &[i32], noise: Noise) -> Result<f64, ClusterError> {
    Ok(Dispersion::of(points, labels, noise)?.inertia())
}

/// [`Dispersion::calinski_harabasz`] of labels.
pub fn calinski_harabasz<T: Real>(points: Points<T>, labels: &[i32], noise: Noise) -> Result<f64, ClusterError> {
    Dispersion::of(points, labels, noise)?.calinski_harabasz()
}

/// [`Dispersion::davies_bouldin`] of labels.
pub fn davies_bouldin<T: Real>(points: Points<T>, labels: &[i32], noise: Noise) -> Result<f64, ClusterError> {
    Dispersion::of(points, labels, noise)?.davies_bouldin()
}
