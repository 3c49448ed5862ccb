//! Small symmetric systems.

/// The inverse of a symmetric positive definite matrix (p, p) by Cholesky; `None` when a pivot has lost all of its digits, with the column
/// that is a combination of those before it.
pub(super) fn inverse(a: &[f64], p: usize) -> Result<Vec<f64>, usize> {
    assert_eq!(a.len(), p * p);
    let mut l = vec![0.0; p * p];
    for j in 0..p {
        let pivot = a[j * p + j] - (0..j).map(|k| l[j * p + k] * l[j * p + k]).sum::<f64>();
        if pivot.is_nan() || pivot <= 1e-13 * a[j * p + j] {
            return Err(j);
        }
        l[j * p + j] = pivot.sqrt();
        for i in j + 1..p {
            let dot: f64 = (0..j).map(|k| l[i * p + k] * l[j * p + k]).sum();
            l[i * p + j] = (a[i * p + j] - dot) / l[j * p + j];
        }
    }
    let mut out = vec![0.0; p * p];
    for c in 0..p {
        let mut x = vec![0.0; p];
        for i in c..p {
            let dot: f64 = (c..i).map(|k| l[i * p + k] * x[k]).sum();
            x[i] = (f64::from(u8::from(i == c)) - dot) / l[i * p + i];
        }
        for i in (0..p).rev() {
            let dot: f64 = (i + 1..p).map(|k| l[k * p + i] * x[k]).sum();
            x[i] = (x[i] - dot) / l[i * p + i];
        }
        (0..p).for_each(|i| out[i * p + c] = x[i]);
    }
    Ok(out)
}

/// a · x for a (p, p).
pub(super) fn apply(a: &[f64], x: &[f64]) -> Vec<f64> {
    a.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect()
}

/// Eigenvalues, decreasing, and eigenvectors (one a row) of a symmetric matrix (p, p), by Jacobi rotations: for the few columns of a table.
/// The largest entry of each vector is positive. Source: Golub & Van Loan 2013, section 8.5.
pub(super) fn eigen(a: &[f64], p: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = a.to_vec();
    let mut v: Vec<f64> = (0..p * p).map(|k| f64::from(u8::from(k / p == k % p))).collect();
    let size: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..p * p).filter(|k| k / p != k % p).map(|k| a[k] * a[k]).sum();
        if off <= 1e-32 * size {
            break;
        }
        for i in 0..p {
            for j in i + 1..p {
                if a[i * p + j] == 0.0 {
                    continue;
                }
                let tau = (a[j * p + j] - a[i * p + i]) / (2.0 * a[i * p + j]);
                let t = if tau >= 0.0 { 1.0 } else { -1.0 } / (tau.abs() + (1.0 + tau * tau).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = t * c;
                for k in 0..p {
                    let (x, y) = (a[k * p + i], a[k * p + j]);
                    (a[k * p + i], a[k * p + j]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..p {
                    let (x, y) = (a[i * p + k], a[j * p + k]);
                    (a[i * p + k], a[j * p + k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (v[i * p + k], v[j * p + k]);
                    (v[i * p + k], v[j * p + k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..p).collect();
    order.sort_by(|&i, &j| a[j * p + j].total_cmp(&a[i * p + i]).then(i.cmp(&j)));
    let mut vectors = Vec::with_capacity(p * p);
    for &i in &order {
        let row = &v[i * p..(i + 1) * p];
        let largest = row.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        vectors.extend(row.iter().map(|x| sign * x));
    }
    (order.iter().map(|&i| a[i * p + i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_and_spectra() {
        let a = [4.0, 1.0, 0.5, 1.0, 3.0, -1.0, 0.5, -1.0, 2.0];
        let inverse = inverse(&a, 3).unwrap();
        for c in 0..3 {
            let column: Vec<f64> = (0..3).map(|i| inverse[i * 3 + c]).collect();
            for (i, x) in apply(&a, &column).into_iter().enumerate() {
                assert!((x - f64::from(u8::from(i == c))).abs() < 1e-14);
            }
        }
        let (values, vectors) = eigen(&a, 3);
        assert!(values[0] > values[1] && values[1] > values[2]);
        assert!((values.iter().sum::<f64>() - 9.0).abs() < 1e-13);
        for (value, vector) in values.iter().zip(vectors.chunks(3)) {
            for (x, y) in apply(&a, vector).iter().zip(vector) {
                assert!((x - value * y).abs() < 1e-13);
            }
        }
        assert_eq!(super::inverse(&[1.0, 2.0, 2.0, 4.0], 2), Err(1));
    }
}
