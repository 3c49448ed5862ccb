//! What decompositions give.

use super::data::Dense;

/// A matrix in rows, `values[i * cols + j]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f64>,
}

impl Matrix {
    /// Panics when the sizes and the number of values disagree.
    pub fn new(rows: usize, cols: usize, values: Vec<f64>) -> Self {
        assert_eq!(rows * cols, values.len(), "a matrix of {rows} x {cols}");
        Self { rows, cols, values }
    }

    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, values: vec![0.0; rows * cols] }
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.cols..(i + 1) * self.cols]
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.cols + j]
    }
}

/// A CP model: `x[i, j, …] ≈ Σ_r weights[r] factors[0][i, r] factors[1][j, r] …`.
///
/// As methods return it: columns have norm 1, weights are not negative and descend, signs are fixed (the largest entry of a column is
/// positive in all modes but the last).
#[derive(Debug, Clone, PartialEq)]
pub struct Kruskal {
    /// (R)
    pub weights: Vec<f64>,
    /// One of (I_n, R) for every mode.
    pub factors: Vec<Matrix>,
}

/// A Tucker model: the core multiplied by a factor along every mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Tucker {
    /// (r_1, …, r_N)
    pub core: Dense<f64>,
    /// One of (I_n, r_n) for every mode, columns orthonormal unless the method is non-negative.
    pub factors: Vec<Matrix>,
}

/// A tensor train: `x[i, j, …] ≈ cores[0][0, i, :] · cores[1][:, j, :] · …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Train {
    /// One of (r_{n-1}, I_n, r_n) for every mode, r_0 = r_N = 1.
    pub cores: Vec<Dense<f64>>,
}
