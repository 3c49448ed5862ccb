//! The model while it is worked on: factors, their Gram matrices, weights.

use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::tensor::model::{Kruskal, Matrix};

/// A CP model in the middle of a fit. `weights` multiply the product of the columns; they may be of any sign here.
#[derive(Debug, Clone)]
pub struct State {
    /// (R)
    pub weights: Vec<f64>,
    /// One of (I_n, R) for every mode.
    pub factors: Vec<Matrix>,
    /// One of (R, R) for every mode: UᵀU.
    pub grams: Vec<Vec<f64>>,
}

/// How columns are normalised after a solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnNorm {
    /// By the 2-norm: the first sweep.
    Two,
    /// By `max(1, max |u|)`: later sweeps. Nothing is blown up, so a column that loses its meaning stays small.
    Max,
}

/// UᵀU.
pub fn gram(u: &Matrix) -> Vec<f64> {
    let r = u.cols;
    let mut out = vec![0.0; r * r];
    let view = MatRef::new(&u.values, u.rows, r);
    matmul(view.t(), view, MatMut::new(&mut out, r, r), false);
    out
}

/// AᵀB for two factors of one mode: (R_a, R_b).
pub fn cross_gram(a: &Matrix, b: &Matrix) -> Vec<f64> {
    let mut out = vec![0.0; a.cols * b.cols];
    let (left, right) = (MatRef::new(&a.values, a.rows, a.cols), MatRef::new(&b.values, b.rows, b.cols));
    matmul(left.t(), right, MatMut::new(&mut out, a.cols, b.cols), false);
    out
}

impl State {
    /// Weights of 1.
    pub fn new(factors: Vec<Matrix>) -> Self {
        let weights = vec![1.0; factors[0].cols];
        Self::with_weights(weights, factors)
    }

    pub fn with_weights(weights: Vec<f64>, factors: Vec<Matrix>) -> Self {
        let grams = factors.iter().map(gram).collect();
        Self { weights, factors, grams }
    }

    pub fn rank(&self) -> usize {
        self.weights.len()
    }

    /// The elementwise product of the Gram matrices of all modes but `skip`.
    pub fn hadamard(&self, skip: Option<usize>) -> Vec<f64> {
        let r = self.rank();
        let mut out = vec![1.0; r * r];
        for (mode, g) in self.grams.iter().enumerate() {
            if Some(mode) != skip {
                out.iter_mut().zip(g).for_each(|(o, x)| *o *= x);
            }
        }
        out
    }

    /// ‖X̂‖² = λᵀ(⊙_n UᵀU)λ.
    pub fn norm_sq(&self) -> f64 {
        let (r, all) = (self.rank(), self.hadamard(None));
        (0..r).map(|i| self.weights[i] * (0..r).map(|j| all[i * r + j] * self.weights[j]).sum::<f64>()).sum()
    }

    /// The factor of `mode` with the weights in it.
    pub fn weighted(&self, mode: usize) -> Vec<f64> {
        let r = self.rank();
        let mut u = self.factors[mode].values.clone();
        for row in u.chunks_exact_mut(r) {
            row.iter_mut().zip(&self.weights).for_each(|(x, w)| *x *= w);
        }
        u
    }

    /// Takes a solved factor, which holds the weights, and normalises its columns; a column of zeros gets the weight 0 and stays.
    pub fn set(&mut self, mode: usize, u: Vec<f64>, norm: ColumnNorm) {
        let r = self.rank();
        let mut size = vec![0.0f64; r];
        for row in u.chunks_exact(r) {
            for (s, &x) in size.iter_mut().zip(row) {
                match norm {
                    ColumnNorm::Two => *s += x * x,
                    ColumnNorm::Max => *s = s.max(x.abs()),
                }
            }
        }
        for s in &mut size {
            *s = match norm {
                ColumnNorm::Two => s.sqrt(),
                ColumnNorm::Max => s.max(1.0),
            };
        }
        let factor = &mut self.factors[mode];
        factor.values = u;
        for row in factor.values.chunks_exact_mut(r) {
            for (x, &s) in row.iter_mut().zip(&size) {
                if s > 0.0 {
                    *x /= s;
                }
            }
        }
        self.grams[mode] = gram(factor);
        self.weights = size;
    }

    /// The model as it is given back: values multiplied by `scale`, columns of norm 1, weights not negative and descending, signs fixed.
    pub fn into_kruskal(self, scale: f64) -> Kruskal {
        canonical(Kruskal { weights: self.weights.iter().map(|w| w * scale).collect(), factors: self.factors })
    }
}

/// A Kruskal tensor in its canonical form: columns of norm 1 (columns of zeros stay), weights not negative and descending (equal ones
/// keep their order), and signs by [`fix_signs`].
pub fn canonical(mut model: Kruskal) -> Kruskal {
    let r = model.weights.len();
    for f in &mut model.factors {
        // The largest entry first, so that squares neither overflow nor vanish.
        let mut peak = vec![0.0f64; r];
        f.values.chunks_exact(r.max(1)).for_each(|row| peak.iter_mut().zip(row).for_each(|(p, x)| *p = p.max(x.abs())));
        let mut sum = vec![0.0f64; r];
        for row in f.values.chunks_exact(r.max(1)) {
            for c in 0..r {
                if peak[c] > 0.0 {
                    sum[c] += (row[c] / peak[c]) * (row[c] / peak[c]);
                }
            }
        }
        for row in f.values.chunks_exact_mut(r.max(1)) {
            for c in 0..r {
                if peak[c] > 0.0 {
                    row[c] = row[c] / peak[c] / sum[c].sqrt();
                }
            }
        }
        for c in 0..r {
            model.weights[c] *= peak[c] * sum[c].sqrt();
        }
    }
    if let Some(last) = model.factors.last_mut() {
        for c in 0..r {
            if model.weights[c] < 0.0 {
                model.weights[c] = -model.weights[c];
                last.values.chunks_exact_mut(r).for_each(|row| row[c] = -row[c]);
            }
        }
    }
    let mut order: Vec<usize> = (0..r).collect();
    order.sort_by(|&a, &b| model.weights[b].total_cmp(&model.weights[a]));
    permute(&mut model, &order);
    fix_signs(&mut model);
    model
}

/// Component `order[k]` becomes component k.
pub fn permute(model: &mut Kruskal, order: &[usize]) {
    model.weights = order.iter().map(|&c| model.weights[c]).collect();
    for f in &mut model.factors {
        let values =
            (0..f.rows).flat_map(|i| order.iter().map(move |&c| (i, c))).map(|(i, c)| f.values[i * f.cols + c]).collect();
        *f = Matrix::new(f.rows, order.len(), values);
    }
}

/// Makes the entry of largest magnitude of every column positive in all modes but the last (the first such entry where several are
/// equally large); the last mode takes the product of the flips, so the model stays what it was.
pub fn fix_signs(model: &mut Kruskal) {
    let r = model.weights.len();
    let Some((last, others)) = model.factors.split_last_mut() else { return };
    for c in 0..r {
        let mut flips = false;
        for f in others.iter_mut() {
            let peak = f.values.iter().skip(c).step_by(r).fold(0.0f64, |best, &x| if x.abs() > best.abs() { x } else { best });
            if peak < 0.0 {
                f.values.iter_mut().skip(c).step_by(r).for_each(|x| *x = -*x);
                flips = !flips;
            }
        }
        if flips {
            last.values.iter_mut().skip(c).step_by(r).for_each(|x| *x = -*x);
        }
    }
}
