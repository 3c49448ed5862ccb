//! Whether a CP model means something: degeneracy, and Kruskal's condition for uniqueness.

use crate::tensor::model::{Kruskal, Matrix};

/// Components that cancel each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Degeneracy {
    /// The product over modes of the cosines of a pair of components, for the pair where it is most negative (0 for one component).
    /// Near -1: the two are the same up to sign, and cancel.
    pub lowest_cosine: f64,
    /// The product of largest magnitude.
    pub largest_cosine: f64,
    /// The pair of `lowest_cosine`.
    pub pair: Option<(usize, usize)>,
    /// ‖λ‖ / ‖X‖; far above 1 when components cancel.
    pub weight_ratio: f64,
}

/// Below this cosine …
const CANCELS: f64 = -0.95;
/// … and with weights above this times the tensor, a model is called degenerate. Orthogonal components have 1, parallel ones less.
const DIVERGES: f64 = 2.0;

impl Degeneracy {
    /// Of a canonical model of a tensor of norm `norm`.
    pub fn of(model: &Kruskal, norm: f64) -> Self {
        let r = model.weights.len();
        let mut found = Self { lowest_cosine: 0.0, largest_cosine: 0.0, pair: None, weight_ratio: 0.0 };
        for a in 0..r {
            for b in a + 1..r {
                let cosine: f64 =
                    model.factors.iter().map(|f| (0..f.rows).map(|i| f.at(i, a) * f.at(i, b)).sum::<f64>()).product();
                if cosine < found.lowest_cosine {
                    (found.lowest_cosine, found.pair) = (cosine, Some((a, b)));
                }
                if cosine.abs() > found.largest_cosine.abs() {
                    found.largest_cosine = cosine;
                }
            }
        }
        if norm > 0.0 {
            found.weight_ratio = model.weights.iter().map(|w| (w / norm) * (w / norm)).sum::<f64>().sqrt();
        }
        found
    }

    pub fn is_degenerate(&self) -> bool {
        self.lowest_cosine < CANCELS && self.weight_ratio > DIVERGES
    }

    /// The sentence for the user, when there is one.
    pub fn warning(&self) -> Option<String> {
        let (a, b) = self.pair.filter(|_| self.is_degenerate())?;
        Some(format!(
            "Components {a} and {b} cancel each other (cosine {:.4}, weights {:.1} times the tensor): the fit is degenerate. \
             Use a lower rank, non-negative factors, or a proximal term.",
            self.lowest_cosine, self.weight_ratio
        ))
    }
}

/// The k-rank of a factor: the largest k such that every k of its columns are linearly independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KRank {
    /// The k-rank is this …
    pub at_least: usize,
    /// … exactly, or at least this when there were too many subsets to try.
    pub exact: bool,
}

/// What Kruskal's condition says.
#[derive(Debug, Clone, PartialEq)]
pub struct Uniqueness {
    pub k_ranks: Vec<KRank>,
    /// 2 R + N − 1.
    pub needed: usize,
    /// `Some(true)`: Σ k-ranks ≥ 2 R + N − 1, the model is unique up to order and scale. `Some(false)`: the condition fails, which proves
    /// nothing (it is sufficient; necessary only for R ≤ 3). `None`: k-ranks are only bounded, and the bounds do not reach.
    pub holds: Option<bool>,
}

/// Subsets of columns tried for one factor.
const SUBSETS: usize = 1 << 20;
/// A column within this distance of the span of others (all of norm 1) counts as dependent.
const DEPENDENT: f64 = 1e-8;

/// Kruskal's condition (Kruskal 1977; N modes: Sidiropoulos & Bro 2000) for a model. A single component is unique when it is not zero.
///
/// Cost: subsets of columns by size until a dependent one is found, at most 2²⁰ of them a factor.
pub fn kruskal_condition(model: &Kruskal) -> Uniqueness {
    let (r, n) = (model.weights.len(), model.factors.len());
    let k_ranks: Vec<KRank> = model.factors.iter().map(k_rank).collect();
    let needed = 2 * r + n.saturating_sub(1);
    let sum: usize = k_ranks.iter().map(|k| k.at_least).sum();
    // For R = 1 the sum of k-ranks is N at most, and the condition N ≥ 2 + N − 1 fails, though any rank-one tensor is unique.
    let holds = if r == 1 {
        Some(sum == n)
    } else if sum >= needed {
        Some(true)
    } else if k_ranks.iter().all(|k| k.exact) {
        Some(false)
    } else {
        None
    };
    Uniqueness { k_ranks, needed, holds }
}

/// See [`KRank`]. Columns are taken at norm 1; a column of zeros makes the k-rank 0.
pub fn k_rank(factor: &Matrix) -> KRank {
    let columns: Vec<Vec<f64>> = (0..factor.cols)
        .map(|c| {
            let column: Vec<f64> = (0..factor.rows).map(|i| factor.at(i, c)).collect();
            let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 0.0 { column.iter().map(|x| x / norm).collect() } else { column }
        })
        .collect();
    let most = factor.rows.min(factor.cols);
    let mut tried = 0;
    for size in 1..=most {
        match independent(&columns, size, 0, &mut Vec::new(), &mut tried) {
            Some(true) => {}
            Some(false) => return KRank { at_least: size - 1, exact: true },
            None => return KRank { at_least: size - 1, exact: false },
        }
    }
    KRank { at_least: most, exact: true }
}

/// Whether all subsets of `size` columns that start with those behind `basis` (orthonormal) and go on from column `from` are independent;
/// `None` when that takes too many.
fn independent(columns: &[Vec<f64>], size: usize, from: usize, basis: &mut Vec<Vec<f64>>, tried: &mut usize) -> Option<bool> {
    if basis.len() == size {
        return Some(true);
    }
    for c in from..columns.len() {
        *tried += 1;
        if *tried > SUBSETS {
            return None;
        }
        let mut rest = columns[c].clone();
        // Twice: once is not orthogonal enough when little is left.
        for _ in 0..2 {
            for b in basis.iter() {
                let dot: f64 = rest.iter().zip(b).map(|(x, y)| x * y).sum();
                rest.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let norm = rest.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm.is_nan() || norm <= DEPENDENT {
            // Dependent with fewer: with any others too, if there are enough columns for `size`.
            return Some(false);
        }
        rest.iter_mut().for_each(|x| *x /= norm);
        basis.push(rest);
        let all = independent(columns, size, c + 1, basis, tried);
        basis.pop();
        if all != Some(true) {
            return all;
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(rows: usize, columns: &[&[f64]]) -> Matrix {
        Matrix::new(rows, columns.len(), (0..rows).flat_map(|i| columns.iter().map(move |c| c[i])).collect())
    }

    #[test]
    fn k_ranks_by_hand() {
        let exact = |at_least| KRank { at_least, exact: true };
        assert_eq!(k_rank(&columns(2, &[&[1.0, 0.0], &[0.0, 1.0], &[1.0, 1.0]])), exact(2));
        // Columns 0 and 2 are parallel.
        assert_eq!(k_rank(&columns(2, &[&[1.0, 0.0], &[0.0, 1.0], &[-3.0, 0.0]])), exact(1));
        assert_eq!(k_rank(&columns(2, &[&[1.0, 0.0], &[0.0, 0.0]])), exact(0));
        // Any two are independent; the three lie in a plane.
        assert_eq!(k_rank(&columns(3, &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[1.0, 1.0, 0.0]])), exact(2));
        assert_eq!(k_rank(&columns(3, &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[1.0, 1.0, 1.0]])), exact(3));
    }

    #[test]
    fn kruskal_condition_of_small_models() {
        let eye = |n: usize| Matrix::new(n, n, (0..n * n).map(|k| if k / n == k % n { 1.0 } else { 0.0 }).collect());
        let model = |f: Matrix| Kruskal { weights: vec![1.0; f.cols], factors: vec![f.clone(), f.clone(), f] };
        // 3 + 3 + 3 ≥ 6 + 2.
        assert_eq!(kruskal_condition(&model(eye(3))).holds, Some(true));
        let parallel = columns(2, &[&[1.0, 0.0], &[1.0, 0.0]]);
        assert_eq!(kruskal_condition(&model(parallel)).holds, Some(false));
        assert_eq!(kruskal_condition(&model(columns(2, &[&[1.0, 0.0]]))).holds, Some(true));
        // A matrix (N = 2) of rank 2 is never unique: 2 + 2 < 4 + 1.
        let matrix = Kruskal { weights: vec![1.0; 2], factors: vec![eye(2), eye(2)] };
        assert_eq!(kruskal_condition(&matrix).holds, Some(false));
    }

    #[test]
    fn cancelling_components_are_found() {
        let (a, b) = ([1.0, 0.0], [0.9999f64, (1.0f64 - 0.9999 * 0.9999).sqrt()]);
        let f = columns(2, &[&a, &b]);
        let minus = columns(2, &[&a, &[-b[0], -b[1]]]);
        let model = Kruskal { weights: vec![100.0, 100.0], factors: vec![f.clone(), f.clone(), minus] };
        let found = Degeneracy::of(&model, 1.0);
        assert!(found.is_degenerate() && found.pair == Some((0, 1)));
        assert!((found.lowest_cosine + 0.9999f64.powi(3)).abs() < 1e-12);
        assert!(found.warning().is_some());
        assert!(!Degeneracy::of(&model, 1000.0).is_degenerate());
    }
}
