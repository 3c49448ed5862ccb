//! Two CP models of one shape, component by component: the factor match score.

use crate::tensor::cp::permute;
use crate::tensor::model::Kruskal;

/// Why models cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    #[error("the models have shapes {0:?} and {1:?}; they must agree")]
    Shape(Vec<usize>, Vec<usize>),
    #[error("a model has no components; compare models with 1 or more")]
    Empty,
    #[error("a model holds {0}; models need finite numbers")]
    NonFinite(f64),
}

/// How two models meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// The factor match score: in [0, 1], 1 when the models agree up to the order and signs of components.
    pub fms: f64,
    /// For every component of the first model, its partner in the second (`None` where the second has fewer).
    pub partner: Vec<Option<usize>>,
    /// For every mode and component of the first model, the cosine of the two columns, with its sign (0 without a partner).
    pub congruence: Vec<Vec<f64>>,
    /// For every component of the first model, |λ − λ'| / max(λ, λ'), 1 without a partner.
    pub weight_gap: Vec<f64>,
}

/// Weights, and columns by mode and component.
type Columns = (Vec<f64>, Vec<Vec<Vec<f64>>>);

/// Columns of norm 1, and weights that hold the norms.
fn unit_columns(model: &Kruskal, modes: &[usize]) -> Result<Columns, AlignError> {
    let r = model.weights.len();
    let mut weights: Vec<f64> = model.weights.iter().map(|w| w.abs()).collect();
    let mut columns = Vec::with_capacity(modes.len());
    for &m in modes {
        let f = &model.factors[m];
        let mut of_mode = Vec::with_capacity(r);
        for (c, weight) in weights.iter_mut().enumerate() {
            let column: Vec<f64> = (0..f.rows).map(|i| f.at(i, c)).collect();
            let peak = column.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let norm = if peak > 0.0 { peak * column.iter().map(|x| (x / peak) * (x / peak)).sum::<f64>().sqrt() } else { 0.0 };
            *weight *= norm;
            of_mode.push(if norm > 0.0 { column.iter().map(|x| x / norm).collect() } else { column });
        }
        columns.push(of_mode);
    }
    let all = weights.iter().chain(model.factors.iter().flat_map(|f| &f.values));
    match all.copied().find(|x| !x.is_finite()) {
        Some(x) => Err(AlignError::NonFinite(x)),
        None => Ok((weights, columns)),
    }
}

/// Compares two models over all modes.
///
/// `FMS = max over assignments σ of (1/R) Σ_r (1 − |λ_r − λ'_σ(r)| / max(λ_r, λ'_σ(r))) Π_n |u_r · v_σ(r)|`, columns of norm 1 and weights that hold
/// their norms; without `weights` the first factor is left out. R is the larger of the two ranks: a component without a partner counts 0.
/// Two components of weight 0 agree in weight.
///
/// Errors: [`AlignError`]. Cost: R² ΣI + R³.
pub fn align(a: &Kruskal, b: &Kruskal, weights: bool) -> Result<Alignment, AlignError> {
    align_modes(a, b, weights, &(0..a.factors.len()).collect::<Vec<_>>())
}

/// [`align`] over chosen modes; weights hold the norms of these alone. The sizes of the other modes may differ.
pub fn align_modes(a: &Kruskal, b: &Kruskal, weights: bool, modes: &[usize]) -> Result<Alignment, AlignError> {
    let sizes = |k: &Kruskal| modes.iter().map(|&m| k.factors.get(m).map_or(0, |f| f.rows)).collect::<Vec<_>>();
    if sizes(a) != sizes(b) || a.factors.len() != b.factors.len() {
        return Err(AlignError::Shape(sizes(a), sizes(b)));
    }
    let (ra, rb) = (a.weights.len(), b.weights.len());
    if ra == 0 || rb == 0 {
        return Err(AlignError::Empty);
    }
    let ((wa, ca), (wb, cb)) = (unit_columns(a, modes)?, unit_columns(b, modes)?);
    let cosine = |m: usize, i: usize, j: usize| ca[m][i].iter().zip(&cb[m][j]).map(|(x, y)| x * y).sum::<f64>().clamp(-1.0, 1.0);
    let gap = |i: usize, j: usize| {
        let most = wa[i].max(wb[j]);
        if most > 0.0 { (wa[i] - wb[j]).abs() / most } else { 0.0 }
    };
    let n = ra.max(rb);
    let mut score = vec![0.0; n * n];
    for i in 0..ra {
        for j in 0..rb {
            let product: f64 = (0..modes.len()).map(|m| cosine(m, i, j).abs()).product();
            score[i * n + j] = product * if weights { 1.0 - gap(i, j) } else { 1.0 };
        }
    }
    let cost: Vec<f64> = score.iter().map(|s| -s).collect();
    let assigned = assign(&cost, n);
    let partner: Vec<Option<usize>> = assigned[..ra].iter().map(|&j| (j < rb).then_some(j)).collect();
    Ok(Alignment {
        fms: assigned.iter().enumerate().map(|(i, &j)| score[i * n + j]).sum::<f64>() / n as f64,
        congruence: (0..modes.len())
            .map(|m| partner.iter().enumerate().map(|(i, j)| j.map_or(0.0, |j| cosine(m, i, j))).collect())
            .collect(),
        weight_gap: partner.iter().enumerate().map(|(i, j)| j.map_or(1.0, |j| gap(i, j))).collect(),
        partner,
    })
}

/// The second model in the order and with the signs of the first: component k is the partner of component k (components without a
/// partner follow in their order). In every mode but the last a column is flipped when its cosine is negative; the last takes the product.
pub fn aligned(b: &Kruskal, alignment: &Alignment) -> Kruskal {
    let mut out = b.clone();
    let taken: Vec<usize> = alignment.partner.iter().flatten().copied().collect();
    let mut order = taken.clone();
    order.extend((0..b.weights.len()).filter(|c| !taken.contains(c)));
    permute(&mut out, &order);
    let matched: Vec<usize> = (0..alignment.partner.len()).filter(|&i| alignment.partner[i].is_some()).collect();
    let Some((last, others)) = out.factors.split_last_mut() else { return out };
    let r = order.len();
    for (k, &i) in matched.iter().enumerate() {
        for (f, cosines) in others.iter_mut().zip(&alignment.congruence) {
            if cosines[i] < 0.0 {
                f.values.iter_mut().skip(k).step_by(r).for_each(|x| *x = -*x);
                last.values.iter_mut().skip(k).step_by(r).for_each(|x| *x = -*x);
            }
        }
    }
    out
}

/// The assignment of n rows to n columns with the least sum of costs (n, n): for every row its column. Among equals the one that the
/// method meets first, always the same.
///
/// The Hungarian method with potentials, a row at a time by shortest augmenting paths: O(n³). Source: Kuhn 1955; Jonker & Volgenant 1987.
///
/// Panics when `cost` is not n by n. Costs must be finite.
pub fn assign(cost: &[f64], n: usize) -> Vec<usize> {
    assert_eq!(cost.len(), n * n, "a cost for every row and column");
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; n]);
    let mut row_of: Vec<Option<usize>> = vec![None; n];
    for start in 0..n {
        // Shortest paths from `start` over reduced costs, to the first free column.
        let (mut distance, mut before, mut done) = (vec![f64::INFINITY; n], vec![None; n], vec![false; n]);
        let (mut row, mut column_before, mut so_far) = (start, None, 0.0);
        let last = loop {
            for j in (0..n).filter(|&j| !done[j]) {
                let through = so_far + cost[row * n + j] - row_price[row] - column_price[j];
                if through < distance[j] {
                    (distance[j], before[j]) = (through, column_before);
                }
            }
            let nearest = (0..n).filter(|&j| !done[j]).min_by(|&a, &b| distance[a].total_cmp(&distance[b]));
            let j = nearest.expect("a free column is left");
            done[j] = true;
            so_far = distance[j];
            column_before = Some(j);
            match row_of[j] {
                Some(next) => row = next,
                None => break j,
            }
        };
        row_price[start] += so_far;
        for j in (0..n).filter(|&j| done[j]) {
            if let Some(i) = row_of[j] {
                row_price[i] += so_far - distance[j];
            }
            column_price[j] -= so_far - distance[j];
        }
        // Along the path every column takes the row of the one before.
        let mut j = last;
        while let Some(previous) = before[j] {
            row_of[j] = row_of[previous];
            j = previous;
        }
        row_of[j] = Some(start);
    }
    let mut out = vec![0; n];
    row_of.iter().enumerate().for_each(|(j, i)| out[i.expect("all rows are assigned")] = j);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::model::Matrix;

    fn least(cost: &[f64], n: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for j in 0..n {
            if !used[j] {
                used[j] = true;
                best = best.min(cost[row * n + j] + least(cost, n, row + 1, used));
                used[j] = false;
            }
        }
        best
    }

    #[test]
    fn assignments_are_the_best_of_all() {
        for n in 1..=6 {
            for seed in 0..40usize {
                // Small integers: many ties, exact sums.
                let cost: Vec<f64> = (0..n * n).map(|k| ((k * 7919 + seed * 271 + k * k * 31) % 11) as f64 - 5.0).collect();
                let got = assign(&cost, n);
                let mut seen = got.clone();
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>());
                let sum: f64 = got.iter().enumerate().map(|(i, &j)| cost[i * n + j]).sum();
                assert_eq!(sum, least(&cost, n, 0, &mut vec![false; n]), "n {n} seed {seed}");
            }
        }
    }

    fn model() -> Kruskal {
        let f = |n: usize, m: usize| Matrix::new(n, 3, (0..n * 3).map(|k| ((k * 7 + m * 5) % 13) as f64 - 6.0).collect());
        Kruskal { weights: vec![3.0, 2.0, 1.0], factors: vec![f(4, 0), f(5, 1), f(6, 2)] }
    }

    #[test]
    fn order_and_signs_do_not_matter_and_are_undone() {
        let a = model();
        let mut b = a.clone();
        permute(&mut b, &[2, 0, 1]);
        for m in [0, 2] {
            b.factors[m].values.iter_mut().skip(1).step_by(3).for_each(|x| *x = -*x);
        }
        for weights in [true, false] {
            let found = align(&a, &b, weights).unwrap();
            // Products of three cosines of 1, each to a few eps.
            assert!((found.fms - 1.0).abs() < 1e-14, "{}", found.fms);
            assert_eq!(found.partner, [Some(1), Some(2), Some(0)]);
            assert_eq!(aligned(&b, &found), a);
        }
    }

    #[test]
    fn weights_and_missing_components_count() {
        let a = model();
        let mut b = a.clone();
        b.weights.iter_mut().for_each(|w| *w *= 2.0);
        // |λ − 2λ| / 2λ = ½ for all.
        assert!((align(&a, &b, true).unwrap().fms - 0.5).abs() < 1e-14);
        assert!((align(&a, &b, false).unwrap().fms - 1.0).abs() < 1e-14);
        permute(&mut b, &[0, 2]);
        let found = align(&a, &b, false).unwrap();
        assert!((found.fms - 2.0 / 3.0).abs() < 1e-14);
        assert_eq!(found.partner, [Some(0), None, Some(1)]);
        assert_eq!(found.congruence[0][1], 0.0);
        let back = align(&b, &a, false).unwrap();
        assert!((back.fms - 2.0 / 3.0).abs() < 1e-14);
        assert_eq!(aligned(&a, &back).weights, [3.0, 1.0, 2.0]);
    }

    #[test]
    fn what_cannot_be_compared() {
        let a = model();
        let mut b = model();
        b.factors.pop();
        assert!(matches!(align(&a, &b, true), Err(AlignError::Shape(..))));
        let mut b = model();
        b.weights[0] = f64::NAN;
        assert!(matches!(align(&a, &b, true), Err(AlignError::NonFinite(_))));
        permute(&mut b, &[]);
        assert_eq!(align(&a, &b, true), Err(AlignError::Empty));
    }
}
