//! Rotations of space and what they do to features of any l.

use super::blocks::block;
use crate::run::seed::Rng;
use rand_distr::{Distribution, StandardNormal};

/// A rotation matrix acting on vectors (x, y, z), `rows[i][j]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    rows: [[f64; 3]; 3],
}

impl Rotation {
    /// Leaves everything where it is.
    pub fn identity() -> Self {
        Self { rows: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] }
    }

    /// R_y(α) R_x(β) R_y(γ), angles in radians: e3nn's convention.
    pub fn euler(alpha: f64, beta: f64, gamma: f64) -> Self {
        Self::about_y(alpha).after(&Self::about_x(beta)).after(&Self::about_y(gamma))
    }

    fn about_y(t: f64) -> Self {
        let (s, c) = t.sin_cos();
        Self { rows: [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]] }
    }

    fn about_x(t: f64) -> Self {
        let (s, c) = t.sin_cos();
        Self { rows: [[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]] }
    }

    /// By the unit quaternion along (w, x, y, z), of any length but 0; the identity when it has no direction.
    pub fn quaternion(q: [f64; 4]) -> Self {
        let largest = q.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if !(largest > 0.0 && largest.is_finite()) {
            return Self::identity();
        }
        let q = q.map(|v| v / largest);
        let norm = q.iter().map(|v| v * v).sum::<f64>().sqrt();
        let [w, x, y, z] = q.map(|v| v / norm);
        Self {
            rows: [
                [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
                [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
                [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
            ],
        }
    }

    /// Uniform over all rotations (Haar measure): four normal numbers as a quaternion.
    pub fn random(rng: &mut Rng) -> Self {
        let mut draw = || StandardNormal.sample(rng);
        Self::quaternion([draw(), draw(), draw(), draw()])
    }

    /// `self` after `first`: the product of the matrices.
    pub fn after(&self, first: &Self) -> Self {
        let mut rows = [[0.0; 3]; 3];
        for (i, row) in rows.iter_mut().enumerate() {
            for (j, to) in row.iter_mut().enumerate() {
                *to = (0..3).map(|k| self.rows[i][k] * first.rows[k][j]).sum();
            }
        }
        Self { rows }
    }

    /// The rotated vector.
    pub fn apply(&self, v: [f64; 3]) -> [f64; 3] {
        self.rows.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
    }

    /// The matrix.
    pub fn rows(&self) -> &[[f64; 3]; 3] {
        &self.rows
    }
}

/// The matrices D⁰, …, D^L of a rotation: what it does to features of l = 0, …, L in the real basis. D¹ is the rotation matrix itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WignerD {
    /// (2l + 1, 2l + 1) in rows.
    blocks: Vec<Vec<f64>>,
}

impl WignerD {
    /// All matrices up to `lmax`.
    ///
    /// D^{l+1} = (2l + 3) Cᵀ (D^l ⊗ D¹) C with the block C of l ⊗ 1 → l + 1: the basis is that of the blocks by construction, and any
    /// rotation matrix will do, without angles and their poles. Errors grow linearly with l, about 2 l units in the last place.
    ///
    /// Cost: O(L⁴), C having O(l) numbers that are not zero.
    pub fn new(rotation: &Rotation, lmax: usize) -> Self {
        let one: Vec<f64> = rotation.rows.iter().flatten().copied().collect();
        let mut blocks = vec![vec![1.0]];
        if lmax > 0 {
            blocks.push(one.clone());
        }
        for l in 1..lmax {
            let (small, large) = (2 * l + 1, 2 * l + 3);
            let c = block(l, 1, l + 1);
            let entries: Vec<(usize, usize, usize, f64)> = (0..c.len())
                .filter(|p| c[*p] != 0.0)
                .map(|p| (p / (3 * large), p / large % 3, p % large, c[p] * (large as f64).sqrt()))
                .collect();
            let last = &blocks[l];
            let mut next = vec![0.0; large * large];
            for &(i, j, k, a) in &entries {
                for &(p, q, r, b) in &entries {
                    next[k * large + r] += a * b * last[i * small + p] * one[j * 3 + q];
                }
            }
            blocks.push(next);
        }
        Self { blocks }
    }

    /// D^l as rows. Panics above the L it was made for.
    pub fn block(&self, l: usize) -> &[f64] {
        &self.blocks[l]
    }

    /// The highest l.
    pub fn lmax(&self) -> usize {
        self.blocks.len() - 1
    }

    /// Rotates features ((L + 1)², channels) in rows; what lies behind the last l is not touched. Panics when x holds fewer rows.
    pub fn apply(&self, x: &[f64], channels: usize) -> Vec<f64> {
        let mut out = x.to_vec();
        for (l, d) in self.blocks.iter().enumerate() {
            let (n, start) = (2 * l + 1, l * l);
            for i in 0..n {
                let row = &mut out[(start + i) * channels..][..channels];
                row.fill(0.0);
                for j in 0..n {
                    let from = &x[(start + j) * channels..][..channels];
                    row.iter_mut().zip(from).for_each(|(to, v)| *to += d[i * n + j] * v);
                }
            }
        }
        out
    }
}
