//! How often to difference: the strength of the season decides D, repeated KPSS tests decide d.

use super::stl;

/// Seasonal strength above which a seasonal difference is taken (Wang, Smith & Hyndman 2006; the threshold of Hyndman's `nsdiffs`).
pub const SEASONAL_THRESHOLD: f64 = 0.64;

/// Strength of the season of period `m` in `y` (n > 2m, m >= 2): max(0, 1 - Var(remainder)/Var(remainder + seasonal)) of an STL
/// decomposition with a locally constant seasonal span of 11, in [0, 1]. 0 for series too short.
pub fn seasonal_strength(y: &[f64], m: usize) -> f64 {
    if m < 2 || y.len() <= 2 * m {
        return 0.0;
    }
    let parts = stl::decompose(y, m, 11);
    let both: Vec<f64> = parts.remainder.iter().zip(&parts.seasonal).map(|(r, s)| r + s).collect();
    let total = variance(&both);
    if total > 0.0 { (1.0 - variance(&parts.remainder) / total).clamp(0.0, 1.0) } else { 0.0 }
}

fn variance(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (x.len() as f64 - 1.0)
}

/// Critical value of the KPSS test of level stationarity at 5 %.
pub const KPSS_CRITICAL: f64 = 0.463;

/// The KPSS statistic for level stationarity of `y` (n >= 1), with a Bartlett window of floor(3 sqrt(n) / 13) lags.
///
/// `None` for a constant series. Source: Kwiatkowski, Phillips, Schmidt & Shin (1992), equations 10 and 11; lags as in
/// Hyndman's `ndiffs`. Cost O(n lags).
pub fn kpss(y: &[f64]) -> Option<f64> {
    let n = y.len();
    let lags = (3.0 * (n as f64).sqrt() / 13.0).floor() as usize;
    let mean = y.iter().sum::<f64>() / n as f64;
    let e: Vec<f64> = y.iter().map(|v| v - mean).collect();
    let mut sum = 0.0;
    let eta: f64 = e
        .iter()
        .map(|v| {
            sum += v;
            sum * sum
        })
        .sum::<f64>()
        / (n * n) as f64;
    let product = |k: usize| -> f64 { e[k.min(n)..].iter().zip(&e).map(|(a, b)| a * b).sum() };
    let window = |k: usize| 1.0 - k as f64 / (lags as f64 + 1.0);
    let long_run = (product(0) + 2.0 * (1..=lags).map(|k| window(k) * product(k)).sum::<f64>()) / n as f64;
    (long_run > 0.0).then(|| eta / long_run)
}

/// Ordinary differences needed until the KPSS test no longer rejects at 5 %, at most `max_d`.
///
/// `flat` is the size below which variation is rounding: a series flatter than that is constant and needs no (more) difference.
pub(super) fn ordinary_differences(y: &[f64], max_d: usize, flat: f64) -> usize {
    let mut x = y.to_vec();
    for d in 0..max_d {
        if x.len() < 2 || is_flat(&x, flat) || kpss(&x).is_none_or(|statistic| statistic <= KPSS_CRITICAL) {
            return d;
        }
        x = x.windows(2).map(|pair| pair[1] - pair[0]).collect();
    }
    max_d
}

/// Whether all values are within `flat` of their mean.
pub(super) fn is_flat(x: &[f64], flat: f64) -> bool {
    let mean = x.iter().sum::<f64>() / x.len().max(1) as f64;
    x.iter().all(|v| (v - mean).abs() <= flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kpss_by_hand() {
        // n = 4: no lags. e = -1.5, -0.5, 0.5, 1.5; partial sums -1.5, -2, -1.5, 0: η = (2.25 + 4 + 2.25)/16; s² = 5/4.
        let statistic = kpss(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((statistic - 8.5 / 16.0 / 1.25).abs() < 1e-15);
        assert!(kpss(&[2.0; 9]).is_none());
    }

    #[test]
    fn differences_of_known_processes() {
        let mut s = 7u64;
        let noise: Vec<f64> = (0..300)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
            })
            .collect();
        let walk = |x: &[f64]| {
            let mut sum = 0.0;
            x.iter()
                .map(|v| {
                    sum += v;
                    sum
                })
                .collect::<Vec<f64>>()
        };
        assert_eq!(ordinary_differences(&noise, 2, 0.0), 0);
        assert_eq!(ordinary_differences(&walk(&noise), 2, 0.0), 1);
        assert_eq!(ordinary_differences(&walk(&walk(&noise)), 2, 0.0), 2);
        assert_eq!(ordinary_differences(&walk(&walk(&noise)), 1, 0.0), 1);
        // A line is constant after one difference, up to rounding.
        let line: Vec<f64> = (0..50).map(|t| 0.1 * f64::from(t)).collect();
        assert_eq!(ordinary_differences(&line, 2, 1e-13), 1);
        assert_eq!(ordinary_differences(&[5.0; 20], 2, 0.0), 0);
    }

    #[test]
    fn seasonal_strength_tells_seasons_from_noise() {
        let mut s = 3u64;
        let mut noise = move || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let seasonal: Vec<f64> = (0..96).map(|t| f64::from(t % 12) + noise()).collect();
        let plain: Vec<f64> = (0..96).map(|_| noise()).collect();
        assert!(seasonal_strength(&seasonal, 12) > 0.9);
        assert!(seasonal_strength(&plain, 12) < SEASONAL_THRESHOLD);
        assert_eq!(seasonal_strength(&seasonal[..24], 12), 0.0);
    }
}
