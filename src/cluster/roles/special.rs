//! Functions of statistics.

/// Hurwitz zeta ζ(s, q) = Σ_{k≥0} (k + q)^−s and its derivative by s, for s > 1 and q > 0.
///
/// Terms are added up to q + N ≥ 12 and the rest is taken from the Euler-Maclaurin formula with eight corrections: for s up to 40 the
/// error is a few roundings. Cost: at most twelve powers, one for q ≥ 12. Source: Abramowitz & Stegun 23.1.30 (DLMF 25.11.5).
pub fn hurwitz_zeta(s: f64, q: f64) -> (f64, f64) {
    // B_2j / (2j)!
    const BERNOULLI: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 720.0,
        1.0 / 30240.0,
        -1.0 / 1209600.0,
        1.0 / 47900160.0,
        -691.0 / 1307674368000.0,
        1.0 / 74724249600.0,
        -3617.0 / 10670622842880000.0,
    ];
    // The asymptotic part wants the base to be well above s.
    let least = 12.0 + 0.5 * s;
    let (mut sum, mut slope, mut base) = (0.0, 0.0, q);
    while base < least {
        let term = base.powf(-s);
        sum += term;
        slope -= term * base.ln();
        base += 1.0;
    }
    let (ln, power) = (base.ln(), base.powf(-s));
    // ∫ and half of the first term.
    let integral = power * base / (s - 1.0);
    sum += integral + 0.5 * power;
    slope -= integral * (ln + 1.0 / (s - 1.0)) + 0.5 * power * ln;
    // s (s + 1) … (s + 2j − 2) base^(−s − 2j + 1), and the logarithmic derivative of the product.
    let (mut rising, mut rising_slope) = (s * power / base, 1.0 / s);
    for (j, b) in BERNOULLI.iter().enumerate() {
        sum += b * rising;
        slope += b * rising * (rising_slope - ln);
        let (x, y) = (s + (2 * j + 1) as f64, s + (2 * j + 2) as f64);
        rising *= x * y / (base * base);
        rising_slope += 1.0 / x + 1.0 / y;
    }
    (sum, slope)
}

/// P(|Z| > |z|) of a standard normal Z.
pub fn two_sided_p(z: f64) -> f64 {
    statrs::function::erf::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// P(X > x) of a χ² variable with `freedom` degrees of freedom.
pub fn chi_squared_p(x: f64, freedom: f64) -> f64 {
    if x > 0.0 { statrs::function::gamma::gamma_ur(0.5 * freedom, 0.5 * x) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeta_at_known_places() {
        let pi = std::f64::consts::PI;
        // ζ(2) = π²/6, ζ(4) = π⁴/90, ζ(2, 1/2) = π²/2; ζ(3/2), ζ'(2), ζ(3, 10) from mpmath 1.3 (25 digits).
        let cases =
            [(2.0, 1.0, pi * pi / 6.0), (4.0, 1.0, pi.powi(4) / 90.0), (2.0, 0.5, pi * pi / 2.0), (1.5, 1.0, 2.612375348685488)];
        for (s, q, expected) in cases {
            assert!((hurwitz_zeta(s, q).0 / expected - 1.0).abs() < 4e-15, "{s} {q}");
        }
        assert!((hurwitz_zeta(2.0, 1.0).1 + 0.9375482543158438).abs() < 4e-15);
    }

    #[test]
    fn zeta_steps_and_slopes() {
        for s in [1.001, 1.7, 2.5, 6.0, 30.0] {
            for q in [0.3, 1.0, 5.0, 11.9, 12.0, 400.0, 1e6] {
                let (value, slope) = hurwitz_zeta(s, q);
                // ζ(s, q) = q^−s + ζ(s, q + 1).
                let stepped = q.powf(-s) + hurwitz_zeta(s, q + 1.0).0;
                assert!((value / stepped - 1.0).abs() < 2e-14, "{s} {q}: {value} {stepped}");
                let h = 1e-5 * (s - 1.0).min(1.0);
                let difference = (hurwitz_zeta(s + h, q).0 - hurwitz_zeta(s - h, q).0) / (2.0 * h);
                // Central differences: h² f''' / 6, and roundings over h.
                let allowed = 1e-5 * slope.abs() + 8.0 * f64::EPSILON * value / h;
                assert!((slope - difference).abs() <= allowed, "{s} {q}: {slope} {difference}");
            }
        }
    }

    #[test]
    fn tails() {
        // Tables of the normal and χ² distributions; the error function of statrs has ten digits.
        assert!((two_sided_p(-1.959963984540054) - 0.05).abs() < 1e-10);
        assert!((chi_squared_p(3.841458820694124, 1.0) - 0.05).abs() < 1e-10);
        assert_eq!(chi_squared_p(0.0, 3.0), 1.0);
    }
}
