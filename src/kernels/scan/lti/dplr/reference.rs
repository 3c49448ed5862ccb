//! The definition: the dense system, discretised by solving with all of it, and its recurrence.

use super::Dplr;
use crate::kernels::scan::lti::complex::Complex;
use crate::kernels::scan::lti::dense::{diagonal, multiply, power};
use crate::kernels::scan::lti::hippo::{System, dense_kernel, discretise};
use crate::kernels::scan::lti::modes::Rule;

/// A channel's Ā and B̄ over the real and then the imaginary parts of its pairs, and C as a row over them.
pub fn dense(dplr: &Dplr<'_, f64>, channel: usize) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
    let n = dplr.pairs;
    let of = dplr.channel(channel);
    let mut a = vec![0.0; 4 * n * n];
    for i in 0..2 * n {
        let mut x = vec![Complex::ZERO; n];
        x[i % n] = if i < n { Complex::ONE } else { Complex::new(0.0, 1.0) };
        for k in 0..n {
            let mut y = of.lambda[k] * x[k];
            for p in of.p.chunks(n) {
                let low: f64 = 2.0 * p.iter().zip(&x).map(|(p, x)| (p.conj() * *x).re).sum::<f64>();
                y = y - p[k].scale(low);
            }
            a[k * 2 * n + i] = y.re;
            a[(n + k) * 2 * n + i] = y.im;
        }
    }
    let (a, b) = discretise(&System { states: 2 * n, a, b: Complex::split(&of.b).concat() }, Rule::Bilinear, of.dt)?;
    let c = of.c.iter().map(|c| 2.0 * c.re).chain(of.c.iter().map(|c| -2.0 * c.im)).collect();
    Some((a, b, c))
}

/// K (channels, `len`), C being C itself.
pub fn kernel(dplr: &Dplr<'_, f64>, len: usize) -> Option<Vec<f64>> {
    let mut k = Vec::with_capacity(dplr.channels * len);
    for channel in 0..dplr.channels {
        let (a, b, c) = dense(dplr, channel)?;
        k.extend(dense_kernel((&a, &b), &c, len));
    }
    Some(k)
}

/// C·(1 − Ā^`len`), (channels, pairs).
pub fn tilde(dplr: &Dplr<'_, f64>, len: usize) -> Option<Vec<Complex>> {
    let n = dplr.pairs;
    let mut to = Vec::with_capacity(dplr.channels * n);
    for channel in 0..dplr.channels {
        let (a, _, c) = dense(dplr, channel)?;
        let mut m = power(&a, 2 * n, len);
        m.iter_mut().zip(diagonal(2 * n, 1.0)).for_each(|(m, one)| *m = one - *m);
        let row = multiply(&c, &m, (1, 2 * n, 2 * n));
        to.extend((0..n).map(|k| Complex::new(0.5 * row[k], -0.5 * row[n + k])));
    }
    Some(to)
}
