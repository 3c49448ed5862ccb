//! The normalised adjacency matrix D^(−1/2) A D^(−1/2) of a connected graph.

use rayon::prelude::*;

use crate::kernels::simd::{Kernel, Lanes, dispatch};

/// A symmetric matrix without diagonal, of non-negative numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    /// Entries of row i are `targets[offsets[i]..offsets[i + 1]]`.
    Sparse { offsets: Vec<usize>, targets: Vec<u32>, values: Vec<f64> },
    /// (n, n).
    Dense { values: Vec<f64>, n: usize },
}

impl Matrix {
    pub fn n(&self) -> usize {
        match self {
            Self::Sparse { offsets, .. } => offsets.len() - 1,
            Self::Dense { n, .. } => *n,
        }
    }

    /// Calls `each` with the columns and values of row `i` that are not 0.
    pub fn row(&self, i: usize, mut each: impl FnMut(usize, f64)) {
        match self {
            Self::Sparse { offsets, targets, values } => {
                (offsets[i]..offsets[i + 1]).for_each(|e| each(targets[e] as usize, values[e]));
            }
            Self::Dense { values, n } => {
                values[i * n..(i + 1) * n].iter().enumerate().filter(|(_, v)| **v != 0.0).for_each(|(j, &v)| each(j, v));
            }
        }
    }

    /// Sums of the rows: degrees.
    pub fn degrees(&self) -> Vec<f64> {
        (0..self.n())
            .into_par_iter()
            .map(|i| {
                let mut sum = 0.0;
                self.row(i, |_, v| sum += v);
                sum
            })
            .collect()
    }

    /// Each entry times `scale[i] · scale[j]`.
    pub fn scaled(mut self, scale: &[f64]) -> Self {
        match &mut self {
            Self::Sparse { offsets, targets, values } => {
                for i in 0..scale.len() {
                    (offsets[i]..offsets[i + 1]).for_each(|e| values[e] = values[e] * scale[i] * scale[targets[e] as usize]);
                }
            }
            Self::Dense { values, n } => values.par_chunks_mut(*n).enumerate().for_each(|(i, row)| {
                row.iter_mut().zip(scale).for_each(|(v, s)| *v = *v * scale[i] * s);
            }),
        }
        self
    }

    /// The rows and columns `nodes`, which no other rows have entries in; `place` (n) says where each node is in `nodes`.
    pub fn part(&self, nodes: &[u32], place: &[u32]) -> Self {
        let m = nodes.len();
        match self {
            Self::Sparse { offsets, .. } => {
                let mut part = (vec![0; m + 1], Vec::new(), Vec::new());
                for (i, &node) in nodes.iter().enumerate() {
                    part.1.reserve(offsets[node as usize + 1] - offsets[node as usize]);
                    self.row(node as usize, |j, v| {
                        part.1.push(place[j]);
                        part.2.push(v);
                    });
                    part.0[i + 1] = part.1.len();
                }
                Self::Sparse { offsets: part.0, targets: part.1, values: part.2 }
            }
            Self::Dense { .. } => {
                let mut values = vec![0.0; m * m];
                values.par_chunks_mut(m).zip(nodes).for_each(|(row, &node)| {
                    self.row(node as usize, |j, v| row[place[j] as usize] = v);
                });
                Self::Dense { values, n: m }
            }
        }
    }

    /// `y` = this · `x`. Rows are summed in order, on all threads of the pool.
    pub fn apply(&self, x: &[f64], y: &mut [f64]) {
        match self {
            Self::Sparse { offsets, targets, values } => {
                y.par_chunks_mut(1024).enumerate().for_each(|(chunk, y)| {
                    for (i, y) in y.iter_mut().enumerate() {
                        let range = offsets[chunk * 1024 + i]..offsets[chunk * 1024 + i + 1];
                        *y = targets[range.clone()].iter().zip(&values[range]).map(|(&j, v)| v * x[j as usize]).sum();
                    }
                });
            }
            Self::Dense { values, n } => {
                y.par_chunks_mut(16).enumerate().for_each(|(chunk, y)| {
                    for (i, y) in y.iter_mut().enumerate() {
                        let row = (chunk * 16 + i) * n;
                        *y = dispatch(Dot(&values[row..row + n], x));
                    }
                });
            }
        }
    }
}

/// Σ a_i b_i in a fixed order.
pub struct Dot<'a>(pub &'a [f64], pub &'a [f64]);

impl Kernel<f64> for Dot<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> f64 {
        let n = self.0.len().min(self.1.len());
        let mut sums = [V::splat(0.0); 4];
        let step = 4 * V::N;
        let mut i = 0;
        while i + step <= n {
            for (s, sum) in sums.iter_mut().enumerate() {
                let at = i + s * V::N;
                *sum = V::load(&self.0[at..]).fma(V::load(&self.1[at..]), *sum);
            }
            i += step;
        }
        while i < n {
            let end = n.min(i + V::N);
            sums[0] = V::load_partial(&self.0[i..end]).fma(V::load_partial(&self.1[i..end]), sums[0]);
            i = end;
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
    }
}

/// `y` += `factor` · `x`.
pub struct Axpy<'a> {
    pub factor: f64,
    pub x: &'a [f64],
    pub y: &'a mut [f64],
}

impl Kernel<f64> for Axpy<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let n = self.y.len();
        let factor = V::splat(self.factor);
        let mut i = 0;
        while i < n {
            let end = n.min(i + V::N);
            let y = V::load_partial(&self.y[i..end]);
            factor.fma(V::load_partial(&self.x[i..end]), y).store_partial(&mut self.y[i..end]);
            i = end;
        }
    }
}
