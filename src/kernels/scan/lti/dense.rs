//! Small dense matrices in f64, row after row.

/// C = A·B for A (m, k), B (k, n).
pub(crate) fn multiply(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize)) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..k {
            let factor = a[i * k + j];
            for (c, b) in c[i * n..(i + 1) * n].iter_mut().zip(&b[j * n..(j + 1) * n]) {
                *c += factor * b;
            }
        }
    }
    c
}

/// The identity times a number.
pub(crate) fn diagonal(n: usize, x: f64) -> Vec<f64> {
    (0..n * n).map(|i| if i / n == i % n { x } else { 0.0 }).collect()
}

/// X of A·X = B for A (n, n), B (n, m), by elimination with row exchanges. `None` when A is singular to working precision.
pub(crate) fn solve(a: &[f64], b: &[f64], n: usize, m: usize) -> Option<Vec<f64>> {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    let size = a.iter().fold(0.0f64, |s, x| s.max(x.abs()));
    for k in 0..n {
        let best = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs()))?;
        if a[best * n + k].abs() <= size * f64::EPSILON * 1e-2 {
            return None;
        }
        for j in 0..n {
            a.swap(k * n + j, best * n + j);
        }
        for j in 0..m {
            b.swap(k * m + j, best * m + j);
        }
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            for j in k..n {
                a[i * n + j] -= factor * a[k * n + j];
            }
            for j in 0..m {
                b[i * m + j] -= factor * b[k * m + j];
            }
        }
    }
    for k in (0..n).rev() {
        for j in 0..m {
            let mut x = b[k * m + j];
            for i in k + 1..n {
                x -= a[k * n + i] * b[i * m + j];
            }
            b[k * m + j] = x / a[k * n + k];
        }
    }
    Some(b)
}

/// A to the power of `exponent`.
pub(crate) fn power(a: &[f64], n: usize, mut exponent: usize) -> Vec<f64> {
    let (mut result, mut square) = (diagonal(n, 1.0), a.to_vec());
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(&result, &square, (n, n, n));
        }
        exponent >>= 1;
        if exponent > 0 {
            square = multiply(&square, &square, (n, n, n));
        }
    }
    result
}

/// e^A: the series at A/2^s, whose largest sum of a row is at most 1/4, squared s times.
pub(crate) fn exponential(a: &[f64], n: usize) -> Vec<f64> {
    /// The next term, (1/4)^15 / 15!, is below 1e-21.
    const TERMS: usize = 14;
    let norm = a.chunks(n.max(1)).map(|row| row.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let squarings = if norm > 0.25 { (norm / 0.25).log2().ceil() as i32 } else { 0 };
    let small: Vec<f64> = a.iter().map(|x| x * 0.5f64.powi(squarings)).collect();
    let mut sum = diagonal(n, 1.0);
    for k in (1..=TERMS).rev() {
        sum = multiply(&small, &sum, (n, n, n));
        sum.iter_mut().for_each(|x| *x /= k as f64);
        (0..n).for_each(|i| sum[i * n + i] += 1.0);
    }
    for _ in 0..squarings {
        sum = multiply(&sum, &sum, (n, n, n));
    }
    sum
}
