//! Two dimensions of many: the first two principal components.

use crate::plot::PlotError;
use faer::{Mat, MatRef, Side};

/// Points in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// (n), in units of the data; not finite where the point is not.
    pub points: Vec<(f64, f64)>,
    /// The two directions, d numbers each; of a single column the second is zero.
    pub axes: [Vec<f64>; 2],
    /// Mean of each column over the finite rows.
    pub center: Vec<f64>,
    /// Share of the variance along each direction, 0 to 1.
    pub shares: [f64; 2],
}

/// Up to this size of the smaller side the eigenvectors are exact; beyond, they come from an iteration on a block of ten vectors.
const EXACT: usize = 1024;
const BLOCK: usize = 10;
const ITERATIONS: usize = 60;
/// Relative change of the two variances at which it ends: far below what a picture shows.
const SETTLED: f64 = 1e-10;
/// Rows of data that are in use as a matrix at a time.
const ROWS: usize = 4096;

/// Principal components of rows (n, d); rows with a number that is not finite do not count. The entry of largest size of each direction is
/// positive.
///
/// Errors: no finite row. Cost O(n d min(n, d)) up to 1024 columns or rows, else O(n d) times 40 a step, 60 steps at most.
pub fn plane(values: &[f64], n: usize, d: usize) -> Result<Plane, PlotError> {
    let finite: Vec<usize> = (0..n).filter(|i| values[i * d..(i + 1) * d].iter().all(|v| v.is_finite())).collect();
    if finite.is_empty() || d == 0 {
        return Err(PlotError::Empty("there is no point with finite coordinates".into()));
    }
    // Squares of the numbers must neither overflow nor vanish.
    let largest = finite.iter().flat_map(|i| &values[i * d..(i + 1) * d]).fold(0.0, |m: f64, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let mut center = vec![0.0; d];
    for i in &finite {
        for (c, v) in center.iter_mut().zip(&values[i * d..(i + 1) * d]) {
            *c += v / scale;
        }
    }
    center.iter_mut().for_each(|c| *c /= finite.len() as f64);
    let data = Data { values, rows: &finite, center: &center, scale, d };
    let total: f64 = data.blocks().map(|b| b.squared_norm_l2()).sum();
    let failed = |_| PlotError::Backend("the principal components do not converge".into());
    let (axes, squares) = if total == 0.0 {
        // All points are one: any directions will do.
        let unit = |j: usize| (0..d).map(|i| if i == j { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
        ([unit(0), unit(1)], [0.0, 0.0])
    } else if d <= EXACT && d <= finite.len().max(64) {
        let mut gram = Mat::<f64>::zeros(d, d);
        for block in data.blocks() {
            gram += block.transpose() * &block;
        }
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(failed)?;
        top(eigen.U(), |k| eigen.S().column_vector()[k])
    } else if finite.len() <= EXACT {
        let all = data.all();
        let eigen = (&all * all.transpose()).self_adjoint_eigen(Side::Lower).map_err(failed)?;
        let (left, squares) = top(eigen.U(), |k| eigen.S().column_vector()[k]);
        // Right vectors are Xᵀu over their own length.
        let right = |u: &Vec<f64>| {
            let v = all.transpose() * Mat::from_fn(u.len(), 1, |i, _| u[i]);
            let length = v.norm_l2();
            (0..d).map(|j| if length > 0.0 { v[(j, 0)] / length } else { 0.0 }).collect::<Vec<f64>>()
        };
        ([right(&left[0]), right(&left[1])], squares)
    } else {
        iterate(&data).map_err(failed)?
    };
    let axes = axes.map(pointed);
    let mut points = vec![(f64::NAN, f64::NAN); n];
    for i in &finite {
        let along = |axis: &[f64]| {
            let row = &values[i * d..(i + 1) * d];
            row.iter().zip(&center).zip(axis).map(|((v, c), a)| (v / scale - c) * a).sum::<f64>() * scale
        };
        points[*i] = (along(&axes[0]), along(&axes[1]));
    }
    center.iter_mut().for_each(|c| *c *= scale);
    let shares = squares.map(|s| if total > 0.0 { (s / total).clamp(0.0, 1.0) } else { 0.0 });
    Ok(Plane { points, axes, center, shares })
}

/// Centred and scaled rows, as blocks.
struct Data<'a> {
    values: &'a [f64],
    rows: &'a [usize],
    center: &'a [f64],
    scale: f64,
    d: usize,
}

impl Data<'_> {
    fn block(&self, rows: &[usize]) -> Mat<f64> {
        Mat::from_fn(rows.len(), self.d, |i, j| self.values[rows[i] * self.d + j] / self.scale - self.center[j])
    }

    fn blocks(&self) -> impl Iterator<Item = Mat<f64>> + '_ {
        self.rows.chunks(ROWS).map(|rows| self.block(rows))
    }

    fn all(&self) -> Mat<f64> {
        self.block(self.rows)
    }
}

/// The two vectors of the largest eigenvalues (they come in ascending order), and these; of a single one the second is zero.
fn top(u: MatRef<'_, f64>, value: impl Fn(usize) -> f64) -> ([Vec<f64>; 2], [f64; 2]) {
    let n = u.ncols();
    let column = |k: usize| (0..u.nrows()).map(|i| u[(i, k)]).collect::<Vec<f64>>();
    if n == 1 {
        ([column(0), vec![0.0; u.nrows()]], [value(0), 0.0])
    } else {
        ([column(n - 1), column(n - 2)], [value(n - 1), value(n - 2)])
    }
}

/// Subspace iteration with a Rayleigh-Ritz step each time (Halko, Martinsson & Tropp 2011, algorithm 4.4), from a fixed start.
fn iterate(data: &Data<'_>) -> Result<([Vec<f64>; 2], [f64; 2]), faer::linalg::evd::EvdError> {
    let d = data.d;
    // Any start that is not orthogonal to what is looked for: cosines of incommensurable steps.
    let mut q = Mat::from_fn(d, BLOCK, |i, k| ((i + 1) as f64 * (k as f64 + 1.618)).cos());
    let multiply = |q: &Mat<f64>| {
        let mut y = Mat::<f64>::zeros(d, BLOCK);
        for block in data.blocks() {
            y += block.transpose() * (&block * q);
        }
        y
    };
    let mut found = ([Vec::new(), Vec::new()], [0.0; 2]);
    for _ in 0..ITERATIONS {
        let y = multiply(&q);
        let small = q.transpose() * &y;
        let symmetric = Mat::from_fn(BLOCK, BLOCK, |i, j| (small[(i, j)] + small[(j, i)]) / 2.0);
        let eigen = symmetric.self_adjoint_eigen(Side::Lower)?;
        let last = found.1;
        found = top((&q * eigen.U()).as_ref(), |k| eigen.S().column_vector()[k]);
        if found.1.iter().zip(last).all(|(new, old)| (new - old).abs() <= SETTLED * found.1[0].abs()) {
            break;
        }
        q = y.qr().compute_thin_Q();
    }
    Ok(found)
}

/// The direction whose entry of largest size is positive.
fn pointed(axis: Vec<f64>) -> Vec<f64> {
    let largest = axis.iter().copied().fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
    if largest < 0.0 { axis.into_iter().map(|v| -v).collect() } else { axis }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows on three orthogonal directions with variances 25 : 9 : 1 (four signs each).
    fn box_of(n: usize, d: usize) -> Vec<f64> {
        let mut values = vec![0.0; n * d];
        for i in 0..n {
            // Columns 0 and 1 are turned by the 3-4-5 angle.
            let (a, b, c) = (5.0 * (-1f64).powi(i as i32), 3.0 * (-1f64).powi(i as i32 / 2), (-1f64).powi(i as i32 / 4));
            values[i * d] = 0.8 * a - 0.6 * b + 100.0;
            values[i * d + 1] = 0.6 * a + 0.8 * b;
            values[i * d + 2] = c;
        }
        values
    }

    #[test]
    fn directions_and_shares_are_those_of_a_box() {
        // d <= 1024; d > n; both sides above 1024: each way is taken.
        for (n, d) in [(8, 3), (5000, 3), (72, 80), (1040, 1030)] {
            let plane = plane(&box_of(n, d), n, d).unwrap();
            for (axis, want) in plane.axes.iter().zip([[0.8, 0.6], [-0.6, 0.8]]) {
                assert!((axis[0] - want[0]).abs() < 1e-8 && (axis[1] - want[1]).abs() < 1e-8, "{n} x {d}: {:?}", &axis[..3]);
            }
            assert!(
                (plane.shares[0] - 25.0 / 35.0).abs() < 1e-9 && (plane.shares[1] - 9.0 / 35.0).abs() < 1e-9,
                "{:?}",
                plane.shares
            );
            assert!((plane.points[0].0 - 5.0).abs() < 1e-7 && (plane.points[0].1 - 3.0).abs() < 1e-7);
            assert!((plane.center[0] - 100.0).abs() < 1e-9);
        }
    }

    #[test]
    fn odd_points_have_a_plane_too() {
        let one = plane(&[1.0, 2.0, 3.0], 1, 3).unwrap();
        assert_eq!((one.points, one.shares), (vec![(0.0, 0.0)], [0.0, 0.0]));
        let line = plane(&[1.0, 3.0], 2, 1).unwrap();
        assert_eq!((line.points.clone(), line.shares), (vec![(-1.0, 0.0), (1.0, 0.0)], [1.0, 0.0]));
        let huge = plane(&[1e300, -1e300, 0.0, -1e300, 1e300, 0.0, f64::NAN, 0.0, 0.0], 3, 3).unwrap();
        assert!(huge.points[..2].iter().all(|p| p.0.is_finite() && p.1.is_finite()) && huge.points[2].0.is_nan());
        assert!((huge.shares[0] - 1.0).abs() < 1e-12);
        assert!(plane(&[f64::NAN, 1.0], 1, 2).is_err() && plane(&[], 0, 3).is_err());
        let tiny = plane(&[1e-300, 0.0, 0.0, -1e-300, 0.0, 0.0], 2, 3).unwrap();
        assert!((tiny.shares[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn iris_has_the_known_shares() {
        let Some(path) = crate::testing::shared("uci-small/iris.csv") else { return };
        let text = std::fs::read_to_string(path).unwrap();
        let values: Vec<f64> = text
            .lines()
            .skip(1)
            .flat_map(|l| l.split(',').take(4).map(|v| v.parse::<f64>().unwrap()).collect::<Vec<_>>())
            .collect();
        let plane = plane(&values, 150, 4).unwrap();
        // scikit-learn's PCA(2).explained_variance_ratio_, eight digits.
        assert!((plane.shares[0] - 0.92461872).abs() < 5e-9 && (plane.shares[1] - 0.05306648).abs() < 5e-9, "{:?}", plane.shares);
    }
}
