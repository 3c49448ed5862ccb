//! Centroids arranged for the search.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Rows of centroids that one register tile holds, largest first; every k is a sum of them.
const HEIGHTS: [usize; 5] = [12, 6, 4, 2, 1];

/// `k` centroids of `d` coordinates: as they are, and in groups whose coordinates lie side by side, with ‖c‖²/2 of each.
#[derive(Debug, Clone)]
pub struct Centroids<T> {
    k: usize,
    d: usize,
    /// (k, d).
    rows: Vec<T>,
    /// Groups one after another: coordinate j of row r of a group of `h` rows is at `start·d + j·h + r`.
    grouped: Vec<T>,
    half_norms: Vec<T>,
    /// First row and height of each group.
    groups: Vec<(usize, usize)>,
    /// max ‖c‖².
    largest: f64,
}

struct Tallest;

impl<T: Real> Kernel<T> for Tallest {
    type Output = usize;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> usize {
        // Sums of two vectors of points (or one), the points themselves and what is best so far must fit the register file.
        if V::REGISTERS * 27 <= V::REGISTER_FILE {
            12
        } else if V::REGISTERS * 8 <= V::REGISTER_FILE {
            6
        } else {
            2
        }
    }
}

impl<T: Real> Centroids<T> {
    /// From `k` rows of `d` coordinates. Panics on another number of coordinates. O(k·d).
    pub fn new(rows: &[T], d: usize) -> Self {
        assert!(d > 0 && rows.len().is_multiple_of(d), "centroids: rows of {d} coordinates");
        let k = rows.len() / d;
        let tallest = dispatch::<T, _>(Tallest);
        let mut groups = Vec::new();
        let mut first = 0;
        while first < k {
            let height = HEIGHTS.into_iter().find(|&h| h <= tallest && h <= k - first).unwrap_or(1);
            groups.push((first, height));
            first += height;
        }
        let mut grouped = vec![T::ZERO; k * d];
        for &(first, height) in &groups {
            for r in 0..height {
                for j in 0..d {
                    grouped[first * d + j * height + r] = rows[(first + r) * d + j];
                }
            }
        }
        let norm = |row: &[T]| row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let norms: Vec<f64> = rows.chunks_exact(d).map(norm).collect();
        let half_norms = norms.iter().map(|n| T::from_f64(n / 2.0)).collect();
        let largest = norms.iter().fold(0.0f64, |a, &b| if b > a || b.is_nan() { b } else { a });
        Self { k, d, rows: rows.to_vec(), grouped, half_norms, groups, largest }
    }

    pub fn k(&self) -> usize {
        self.k
    }

    pub fn d(&self) -> usize {
        self.d
    }

    /// (k, d), as given.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    pub fn row(&self, c: usize) -> &[T] {
        &self.rows[c * self.d..(c + 1) * self.d]
    }

    /// max ‖c‖².
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// First row, height, coordinates side by side, and half squared norms of each group.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, usize, &[T], &[T])> {
        self.groups.iter().map(|&(first, height)| {
            (first, height, &self.grouped[first * self.d..(first + height) * self.d], &self.half_norms[first..first + height])
        })
    }
}
