//! Differencing and its inverse.

use super::order::Order;

/// Applies (1 - B)^d (1 - B^m)^D: shape (n) -> (n - d - mD), empty where the series is too short.
pub(super) fn difference(y: &[f64], order: &Order) -> Vec<f64> {
    let mut w = y.to_vec();
    let lags = std::iter::repeat_n(order.season, order.seasonal_d).chain(std::iter::repeat_n(1, order.d));
    for lag in lags {
        if w.len() <= lag {
            return Vec::new();
        }
        w = (lag..w.len()).map(|t| w[t] - w[t - lag]).collect();
    }
    w
}

/// The coefficients δ of `y_t = w_t + Σ δ_i y_{t-i}` as (lag, δ), lags ascending from 1.
pub(super) fn recursion(order: &Order) -> Vec<(usize, f64)> {
    let mut poly = vec![0.0; order.lost() + 1];
    poly[0] = 1.0;
    let lags = std::iter::repeat_n(order.season, order.seasonal_d).chain(std::iter::repeat_n(1, order.d));
    for lag in lags {
        for i in (lag..poly.len()).rev() {
            poly[i] -= poly[i - lag];
        }
    }
    (1..poly.len()).filter(|&i| poly[i] != 0.0).map(|i| (i, -poly[i])).collect()
}

/// Continues `y` from forecasts of its differenced version: shape (h) -> (h). `y` must be at least d + mD long.
pub(super) fn integrate(y: &[f64], w: &[f64], order: &Order) -> Vec<f64> {
    let delta = recursion(order);
    let start = y.len() - order.lost();
    let mut path = y[start..].to_vec();
    for &step in w {
        let n = path.len();
        path.push(step + delta.iter().map(|&(lag, c)| c * path[n - lag]).sum::<f64>());
    }
    path.split_off(order.lost())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrating_the_differences_gives_the_series_back() {
        let y: Vec<f64> = (0..60).map(|t| (t as f64 * 0.7).sin() * 10.0 + (t * t % 17) as f64).collect();
        for text in ["0,0,0", "0,1,0", "0,2,0", "0,0,0,0,1,0,12", "0,1,0,0,1,0,12", "0,2,0,0,2,0,7"] {
            let order: Order = text.parse().unwrap();
            let w = difference(&y, &order);
            assert_eq!(w.len(), 60 - order.lost());
            let cut = 40;
            let back = integrate(&y[..cut], &w[cut - order.lost()..], &order);
            // Twenty steps of a recursion with integer weights on values near 30.
            assert!(back.iter().zip(&y[cut..]).all(|(b, y)| (b - y).abs() < 1e-8), "{text}");
        }
    }

    #[test]
    fn too_short_gives_nothing() {
        assert!(difference(&[1.0, 2.0], &"0,1,0,0,1,0,4".parse().unwrap()).is_empty());
        assert!(difference(&[], &Order::default()).is_empty());
    }
}
