//! Lag polynomials of a multiplicative seasonal ARMA model: products, the transform that keeps them stationary or
//! invertible, and the derivatives of both.
//!
//! Coefficients of a model are one vector in the order `ar (p), ma (q), sar (P), sma (Q)` with the signs
//! `(1 - Σ ar_i B^i)(1 - Σ sar_i B^{mi}) w_t = (1 + Σ ma_i B^i)(1 + Σ sma_i B^{mi}) ε_t`.

use super::order::Order;

/// Where the coefficients of one order go in the expanded polynomials.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) p: usize,
    pub(super) q: usize,
    pub(super) sp: usize,
    pub(super) sq: usize,
    pub(super) m: usize,
    /// Lags with a coefficient in the expanded AR polynomial, ascending, from 1.
    pub(super) phi_lags: Vec<usize>,
    /// The same for the MA polynomial.
    pub(super) theta_lags: Vec<usize>,
}

impl Layout {
    pub(super) fn new(order: &Order) -> Self {
        let (p, q, sp, sq, m) = (order.p, order.q, order.seasonal_p, order.seasonal_q, order.season.max(1));
        Self { p, q, sp, sq, m, phi_lags: product_lags(p, sp, m), theta_lags: product_lags(q, sq, m) }
    }

    /// Number of coefficients.
    pub(super) fn count(&self) -> usize {
        self.p + self.q + self.sp + self.sq
    }

    /// Degree of the expanded AR polynomial.
    pub(super) fn phi_degree(&self) -> usize {
        self.p + self.m * self.sp
    }

    /// Degree of the expanded MA polynomial.
    pub(super) fn theta_degree(&self) -> usize {
        self.q + self.m * self.sq
    }

    /// The longer of both degrees: the length of the filter's state.
    pub(super) fn state(&self) -> usize {
        self.phi_degree().max(self.theta_degree())
    }

    /// Expands coefficients (count) into dense `phi` and `theta`, index i holding lag i + 1; both at least `state` long.
    pub(super) fn expand(&self, coef: &[f64], phi: &mut [f64], theta: &mut [f64]) {
        let (ar, ma, sar, sma) = self.split(coef);
        // (1 - a)(1 - s) = 1 - (a + s - a s); (1 + a)(1 + s) = 1 + (a + s + a s).
        multiply(ar, sar, self.m, -1.0, phi);
        multiply(ma, sma, self.m, 1.0, theta);
    }

    /// The adjoint of [`Layout::expand`]: derivatives by lag (dense) to derivatives by coefficient.
    pub(super) fn pull_back(&self, coef: &[f64], phi_bar: &[f64], theta_bar: &[f64], coef_bar: &mut [f64]) {
        let (ar, ma, sar, sma) = self.split(coef);
        let (ar_bar, rest) = coef_bar.split_at_mut(self.p);
        let (ma_bar, rest) = rest.split_at_mut(self.q);
        let (sar_bar, sma_bar) = rest.split_at_mut(self.sp);
        multiply_adjoint(ar, sar, self.m, -1.0, phi_bar, ar_bar, sar_bar);
        multiply_adjoint(ma, sma, self.m, 1.0, theta_bar, ma_bar, sma_bar);
    }

    fn split<'a>(&self, coef: &'a [f64]) -> (&'a [f64], &'a [f64], &'a [f64], &'a [f64]) {
        let (ar, rest) = coef.split_at(self.p);
        let (ma, rest) = rest.split_at(self.q);
        let (sar, sma) = rest.split_at(self.sp);
        (ar, ma, sar, sma)
    }

    /// The four blocks as (start, length, step in lags, sign to the AR convention).
    pub(super) fn blocks(&self) -> [(usize, usize, usize, f64); 4] {
        let (p, q, sp, sq, m) = (self.p, self.q, self.sp, self.sq, self.m);
        [(0, p, 1, 1.0), (p, q, 1, -1.0), (p + q, sp, m, 1.0), (p + q + sp, sq, m, -1.0)]
    }
}

fn product_lags(p: usize, sp: usize, m: usize) -> Vec<usize> {
    let mut lags: Vec<usize> = (0..=sp).flat_map(|j| (0..=p).map(move |i| i + j * m)).filter(|&lag| lag > 0).collect();
    lags.sort_unstable();
    lags.dedup();
    lags
}

fn multiply(a: &[f64], s: &[f64], m: usize, sign: f64, out: &mut [f64]) {
    out.fill(0.0);
    out[..a.len()].copy_from_slice(a);
    for (j, &sj) in s.iter().enumerate() {
        let lag = (j + 1) * m;
        out[lag - 1] += sj;
        for (i, &ai) in a.iter().enumerate() {
            out[lag + i] += sign * ai * sj;
        }
    }
}

fn multiply_adjoint(a: &[f64], s: &[f64], m: usize, sign: f64, bar: &[f64], a_bar: &mut [f64], s_bar: &mut [f64]) {
    a_bar.copy_from_slice(&bar[..a.len()]);
    for (j, &sj) in s.iter().enumerate() {
        let lag = (j + 1) * m;
        s_bar[j] = bar[lag - 1];
        for (i, &ai) in a.iter().enumerate() {
            a_bar[i] += sign * sj * bar[lag + i];
            s_bar[j] += sign * ai * bar[lag + i];
        }
    }
}

/// Maps partial autocorrelations in a box to coefficients whose polynomials have all roots at a modulus of at least `1 / shrink`.
///
/// A polynomial `1 - Σ a_i z^i` has its roots outside the unit circle exactly when the partial autocorrelations of the AR
/// process it defines are inside (-1, 1) (Barndorff-Nielsen & Schou 1973; Monahan 1984); `a_i * shrink^i` moves the roots out
/// by `1 / shrink`. For the seasonal factors z stands for the season's lag B^m: a bound on the roots of the *expanded*
/// polynomial would be a bound of `shrink^m` on a seasonal coefficient (0.89 for m = 12), which ordinary series exceed.
/// Plain bounds on the partial autocorrelations, not a tanh, so that the unit circle itself can be reached.
#[derive(Debug, Clone)]
pub(super) struct Region {
    /// Largest partial autocorrelation by block: ar, ma, sar, sma.
    limit: [f64; 4],
    /// Factor `shrink` by block, per lag.
    shrink: [f64; 4],
}

/// How far from 1 an AR partial autocorrelation stays when no margin is asked for: at 1 the process has no variance.
const AR_MARGIN: f64 = 1e-5;

impl Region {
    /// Everything up to the unit circle: closed for MA, a hair open for AR.
    pub(super) fn full() -> Self {
        Self { limit: [1.0 - AR_MARGIN, 1.0, 1.0 - AR_MARGIN, 1.0], shrink: [1.0; 4] }
    }

    /// Roots of modulus at least `min_root` (> 1), except for a polynomial of degree one, whose single real root may come
    /// up to the circle: with nothing to cancel against, a root near 1 there is a property of the data.
    pub(super) fn with_min_root(layout: &Layout, min_root: f64) -> Self {
        let mut region = Self { limit: [1.0; 4], shrink: [1.0 / min_root; 4] };
        let full = Self::full();
        for (block, degree) in [(0, layout.phi_degree()), (1, layout.theta_degree())] {
            if degree == 1 {
                region.limit[block] = full.limit[block];
                region.shrink[block] = 1.0;
            }
        }
        region
    }

    /// The box: `lo = -hi`.
    pub(super) fn bounds(&self, layout: &Layout) -> Vec<f64> {
        let mut hi = Vec::with_capacity(layout.count());
        for (block, (_, len, _, _)) in layout.blocks().into_iter().enumerate() {
            hi.extend(std::iter::repeat_n(self.limit[block], len));
        }
        hi
    }

    /// Box point `x` (count) to coefficients (count).
    pub(super) fn coefficients(&self, layout: &Layout, x: &[f64], coef: &mut [f64]) {
        for (block, (start, len, _, sign)) in layout.blocks().into_iter().enumerate().filter(|(_, b)| b.1 > 0) {
            let out = &mut coef[start..start + len];
            step_up(&x[start..start + len], out);
            let unit = self.shrink[block];
            let mut factor = sign;
            for c in out {
                factor *= unit;
                *c *= factor;
            }
        }
    }

    /// The adjoint of [`Region::coefficients`]: derivatives by coefficient to derivatives by `x`.
    pub(super) fn pull_back(&self, layout: &Layout, x: &[f64], coef_bar: &[f64], x_bar: &mut [f64]) {
        let mut scaled = Vec::new();
        for (block, (start, len, _, sign)) in layout.blocks().into_iter().enumerate().filter(|(_, b)| b.1 > 0) {
            let unit = self.shrink[block];
            let mut factor = sign;
            scaled.clear();
            scaled.extend(coef_bar[start..start + len].iter().map(|b| {
                factor *= unit;
                b * factor
            }));
            step_up_adjoint(&x[start..start + len], &mut scaled, &mut x_bar[start..start + len]);
        }
    }

    /// Coefficients back to the box; a block outside the region is pulled in towards zero until it fits.
    pub(super) fn point(&self, layout: &Layout, coef: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; layout.count()];
        for (block, (start, len, _, sign)) in layout.blocks().into_iter().enumerate() {
            let unit = self.shrink[block];
            let limit = self.limit[block].min(0.99);
            let mut pull = 1.0;
            for _ in 0..200 {
                let mut factor = sign;
                let a: Vec<f64> = coef[start..start + len]
                    .iter()
                    .map(|c| {
                        factor *= pull / unit;
                        c * factor
                    })
                    .collect();
                if let Some(pacf) = step_down(&a)
                    && pacf.iter().all(|v| v.abs() <= limit)
                {
                    x[start..start + len].copy_from_slice(&pacf);
                    break;
                }
                pull *= 0.97;
            }
        }
        x
    }
}

/// Durbin–Levinson step-up: partial autocorrelations (k) to the coefficients (k) of `1 - Σ a_i z^i`.
fn step_up(pacf: &[f64], a: &mut [f64]) {
    for (k, &r) in pacf.iter().enumerate() {
        enter(a, k, r);
    }
}

/// Takes the coefficients of order k to order k + 1 by the partial autocorrelation `r`.
fn enter(a: &mut [f64], k: usize, r: f64) {
    a[k] = r;
    for j in 0..k.div_ceil(2) {
        let (low, high) = (a[j], a[k - 1 - j]);
        a[j] = low - r * high;
        a[k - 1 - j] = high - r * low;
    }
}

/// The inverse of [`step_up`], or `None` where a partial autocorrelation would reach 1.
pub(super) fn step_down(a: &[f64]) -> Option<Vec<f64>> {
    let mut a = a.to_vec();
    let mut pacf = vec![0.0; a.len()];
    for k in (0..a.len()).rev() {
        let r = a[k];
        if r.is_nan() || r.abs() >= 1.0 {
            return None;
        }
        pacf[k] = r;
        let c = 1.0 / (1.0 - r * r);
        for j in 0..k.div_ceil(2) {
            let (low, high) = (a[j], a[k - 1 - j]);
            a[j] = c * (low + r * high);
            a[k - 1 - j] = c * (high + r * low);
        }
    }
    Some(pacf)
}

/// Reverse of [`step_up`]: `bar` holds derivatives by coefficient and is used up.
fn step_up_adjoint(pacf: &[f64], bar: &mut [f64], pacf_bar: &mut [f64]) {
    let n = pacf.len();
    if n <= 1 {
        pacf_bar.copy_from_slice(bar);
        return;
    }
    // levels[k]: the coefficients before partial autocorrelation k entered.
    let mut levels = vec![0.0; n * n];
    let mut a = vec![0.0; n];
    for k in 0..n {
        levels[k * n..k * n + k].copy_from_slice(&a[..k]);
        enter(&mut a, k, pacf[k]);
    }
    let mut old_bar = vec![0.0; n];
    for k in (0..n).rev() {
        let old = &levels[k * n..k * n + k];
        pacf_bar[k] = bar[k];
        for j in 0..k {
            pacf_bar[k] -= bar[j] * old[k - 1 - j];
            old_bar[j] = bar[j] - pacf[k] * bar[k - 1 - j];
        }
        bar[..k].copy_from_slice(&old_bar[..k]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn airline_like() -> Layout {
        Layout::new(&Order { p: 2, q: 3, seasonal_p: 2, seasonal_q: 1, season: 4, ..Order::default() })
    }

    #[test]
    fn expansion_is_polynomial_multiplication() {
        let layout = airline_like();
        let coef = [0.5, -0.3, 0.2, 0.1, -0.4, 0.6, -0.2, 0.7];
        let (mut phi, mut theta) = (vec![0.0; layout.state()], vec![0.0; layout.state()]);
        layout.expand(&coef, &mut phi, &mut theta);
        let value = |c: &[f64], z: f64, step: i32| -> f64 { (1..).zip(c).map(|(i, c)| c * z.powi(i * step)).sum() };
        for z in [0.3, -0.8, 1.1] {
            let ar = (1.0 - value(&coef[..2], z, 1)) * (1.0 - value(&coef[5..7], z, 4));
            let ma = (1.0 + value(&coef[2..5], z, 1)) * (1.0 + value(&coef[7..], z, 4));
            // Sums of about ten terms of size 1.
            assert!((1.0 - value(&phi, z, 1) - ar).abs() < 1e-13);
            assert!((1.0 + value(&theta, z, 1) - ma).abs() < 1e-13);
        }
        let used = |c: &[f64]| -> Vec<usize> { (1..=c.len()).filter(|i| c[i - 1] != 0.0).collect() };
        assert_eq!(used(&phi), layout.phi_lags);
        assert_eq!(used(&theta), layout.theta_lags);
    }

    #[test]
    fn step_down_inverts_step_up() {
        let pacf = [0.9, -0.7, 0.3, 0.99, -0.2];
        let mut a = [0.0; 5];
        step_up(&pacf, &mut a);
        let back = step_down(&a).unwrap();
        // The step down divides by 1 - 0.99^2 = 0.02 and the like: four digits lost at most.
        assert!(back.iter().zip(pacf).all(|(b, p)| (b - p).abs() < 1e-11), "{back:?}");
        // AR(2) with roots inside the unit circle has no partial autocorrelations in (-1, 1).
        assert!(step_down(&[1.9, 0.2]).is_none());
    }

    #[test]
    fn adjoints_match_central_differences() {
        let layout = airline_like();
        let region = Region::with_min_root(&layout, 1.01);
        let x = [0.4, -0.8, 0.9, 0.2, -0.6, 0.3, -0.5, -0.95];
        let n = layout.state();
        // A linear functional of the expanded polynomials with arbitrary weights.
        let weight = |i: usize, c: f64| ((i + 1) as f64 * c).sin();
        let functional = |x: &[f64]| -> f64 {
            let (mut coef, mut phi, mut theta) = (vec![0.0; x.len()], vec![0.0; n], vec![0.0; n]);
            region.coefficients(&layout, x, &mut coef);
            layout.expand(&coef, &mut phi, &mut theta);
            (0..n).map(|i| weight(i, 1.3) * phi[i] + weight(i, 2.1) * theta[i]).sum()
        };
        let mut coef = vec![0.0; x.len()];
        region.coefficients(&layout, &x, &mut coef);
        let (mut coef_bar, mut x_bar) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let phi_bar: Vec<f64> = (0..n).map(|i| weight(i, 1.3)).collect();
        let theta_bar: Vec<f64> = (0..n).map(|i| weight(i, 2.1)).collect();
        layout.pull_back(&coef, &phi_bar, &theta_bar, &mut coef_bar);
        region.pull_back(&layout, &x, &coef_bar, &mut x_bar);
        for i in 0..x.len() {
            let (mut up, mut down) = (x, x);
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let slope = (functional(&up) - functional(&down)) / 2e-6;
            // Central differences: h² truncation and eps/h rounding, both near 1e-10.
            assert!((slope - x_bar[i]).abs() < 1e-8, "{i}: {slope} {}", x_bar[i]);
        }
    }

    #[test]
    fn points_round_trip_and_outsiders_are_pulled_in() {
        let layout = airline_like();
        let region = Region::with_min_root(&layout, 1.01);
        let x = [0.4, -0.8, 0.9, 0.2, -0.6, 0.3, -0.5, -0.95];
        let mut coef = vec![0.0; x.len()];
        region.coefficients(&layout, &x, &mut coef);
        let back = region.point(&layout, &coef);
        assert!(back.iter().zip(x).all(|(b, x)| (b - x).abs() < 1e-11), "{back:?}");
        let outside = region.point(&layout, &[2.0, 1.0, 3.0, 0.0, 0.0, 1.5, 0.0, -4.0]);
        assert!(outside.iter().all(|v| v.abs() < 1.0) && outside.iter().any(|v| v.abs() > 0.5));
    }
}
