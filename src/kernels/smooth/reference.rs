//! The definitions on one series of `f64`, time contiguous.

/// Mean over t − h … t + h with the ends repeated.
pub fn moving_average(x: &[f64], k: usize) -> Vec<f64> {
    let (half, last) = ((k / 2) as isize, x.len() as isize - 1);
    let at = |t: isize| x[t.clamp(0, last) as usize];
    (0..=last).map(|t| (t - half..=t + half).map(at).sum::<f64>() / k as f64).collect()
}

/// The transpose of [`moving_average`]: every output sends its gradient to what it was the mean of.
pub fn moving_average_backward(g: &[f64], k: usize) -> Vec<f64> {
    let (half, last) = ((k / 2) as isize, g.len() as isize - 1);
    let mut out = vec![0.0; g.len()];
    for t in 0..=last {
        for s in t - half..=t + half {
            out[s.clamp(0, last) as usize] += g[t as usize] / k as f64;
        }
    }
    out
}

/// Cosine and sine sums of bin `f`.
pub fn bin(x: &[f64], f: usize) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (t, v) in x.iter().enumerate() {
        let (sin, cos) = angle(f * t, x.len()).sin_cos();
        sums.0 += v * cos;
        sums.1 += v * sin;
    }
    sums
}

/// 2π i / n with the turns taken off first.
fn angle(i: usize, n: usize) -> f64 {
    std::f64::consts::TAU * (i % n) as f64 / n as f64
}

/// The part of `x` in the given bins, none of them 0.
pub fn project(x: &[f64], bins: &[usize]) -> Vec<f64> {
    let n = x.len();
    let mut out = vec![0.0; n];
    for &f in bins {
        let (re, im) = bin(x, f);
        let scale = if 2 * f == n { 1.0 } else { 2.0 } / n as f64;
        for (t, out) in out.iter_mut().enumerate() {
            let (sin, cos) = angle(f * t, n).sin_cos();
            *out += scale * (re * cos + im * sin);
        }
    }
    out
}
