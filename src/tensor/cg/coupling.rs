//! Clebsch–Gordan coefficients of SU(2), the sum in whole numbers.
//!
//! Racah's formula is a square root of a rational number times an alternating sum. In its binomial form every term of the sum is a whole
//! number, so it is taken exactly and nothing cancels; the number under the root is kept as exponents of primes, its square part is taken
//! out, and only the last step rounds. The result is within a few units in the last place for any l.
//!
//! Source: Racah, Phys. Rev. 62, 438 (1942), eq. 16; the binomial form follows by multiplying the sum by the three triangle factorials.

use super::whole::Whole;

/// Exponents of the primes up to some number, of a positive rational.
struct Primes {
    /// (prime, exponent)
    powers: Vec<(u32, i64)>,
}

impl Primes {
    /// One, with room for factorials up to `largest`!.
    fn one(largest: usize) -> Self {
        let is_prime = |n: &usize| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
        Self { powers: (2..=largest.max(2)).filter(is_prime).map(|p| (p as u32, 0)).collect() }
    }

    /// Multiplies by `n!` to the power `sign` (1 or −1). Legendre: the exponent of p in n! is Σ ⌊n/pᵏ⌋.
    fn factorial(&mut self, n: usize, sign: i64) {
        for (p, e) in &mut self.powers {
            let mut rest = n / *p as usize;
            while rest > 0 {
                *e += sign * rest as i64;
                rest /= *p as usize;
            }
        }
    }

    /// Multiplies by `n`, whose prime factors must be listed.
    fn number(&mut self, mut n: usize) {
        for (p, e) in &mut self.powers {
            while n.is_multiple_of(*p as usize) {
                n /= *p as usize;
                *e += 1;
            }
        }
        debug_assert_eq!(n, 1);
    }

    /// (a, b, c, d) with the number = (a/b)² c/d, all whole, c and d without squares.
    fn split(&self) -> [Whole; 4] {
        let mut parts = [1, 1, 1, 1].map(Whole::from);
        for &(p, e) in &self.powers {
            // Rounded towards zero, so that the remainder has the sign of e.
            let (half, rest) = (e / 2, e % 2);
            let place = if half >= 0 { 0 } else { 1 };
            (0..half.unsigned_abs()).for_each(|_| parts[place].times(p));
            match rest {
                1 => parts[2].times(p),
                -1 => parts[3].times(p),
                _ => {}
            }
        }
        parts
    }
}

/// Binomial coefficients C(n, 0), …, C(n, n).
fn binomials(n: usize) -> Vec<Whole> {
    let mut row = vec![Whole::from(1)];
    for k in 0..n {
        let mut next = row[k].clone();
        next.times((n - k) as u32);
        next.divide((k + 1) as u32);
        row.push(next);
    }
    row
}

/// All ⟨l1 m1 l2 m2 | l3 m3⟩ of one triple, (2·l1 + 1, 2·l2 + 1, 2·l3 + 1) in C order, index m + l. All zero when the triple breaks the
/// triangle inequality.
///
/// Cost: O(l³) products of whole numbers of about 6 l bits; a triple with l = 6 takes some tens of microseconds.
pub fn su2(l1: usize, l2: usize, l3: usize) -> Vec<f64> {
    let (d1, d2, d3) = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1);
    let mut out = vec![0.0; d1 * d2 * d3];
    if l3 > l1 + l2 || l1 > l2 + l3 || l2 > l1 + l3 {
        return out;
    }
    // The three triangle numbers; they sum to l1 + l2 + l3.
    let (t12, t13, t23) = (l1 + l2 - l3, l1 + l3 - l2, l2 + l3 - l1);
    let (b12, b13, b23) = (binomials(t12), binomials(t13), binomials(t23));
    let total = l1 + l2 + l3;
    for i in 0..d1 {
        for k in 0..d2 {
            // m3 = m1 + m2 must lie in −l3..=l3: n = i + k − l1 − l2 + l3.
            let Some(n) = (i + k).checked_sub(t12).filter(|n| *n < d3) else { continue };
            // l1 − m1 and l2 + m2.
            let (down, up) = (d1 - 1 - i, k);
            let (mut plus, mut minus) = (Whole::from(0), Whole::from(0));
            for (v, first) in b12.iter().enumerate() {
                let (Some(a), Some(b)) = (down.checked_sub(v).filter(|a| *a <= t13), up.checked_sub(v).filter(|b| *b <= t23))
                else {
                    continue;
                };
                let term = first.product(&b13[a]).product(&b23[b]);
                if v.is_multiple_of(2) { plus.add(&term) } else { minus.add(&term) }
            }
            let (sum, negative) = plus.difference(&minus);
            if sum.is_zero() {
                continue;
            }
            let mut root = Primes::one(total + 1);
            root.number(d3);
            for (m, d) in [(i, d1), (k, d2), (n, d3)] {
                root.factorial(m, 1);
                root.factorial(d - 1 - m, 1);
            }
            for f in [total + 1, t12, t13, t23] {
                root.factorial(f, -1);
            }
            let [a, b, c, d] = root.split();
            let value = sum.product(&a).over(&b) * c.over(&d).sqrt();
            out[(i * d2 + k) * d3 + n] = if negative { -value } else { value };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_coefficients_are_there_to_the_last_places() {
        // Tables of any textbook: ⟨1 0 1 0|2 0⟩ = √(2/3), ⟨1 1 1 −1|0 0⟩ = 1/√3, ⟨1 1 1 0|1 1⟩ = 1/√2, ⟨1 0 1 0|1 0⟩ = 0.
        let at = |l: [usize; 3], m: [isize; 3]| {
            let index = |a: usize| (m[a] + l[a] as isize) as usize;
            su2(l[0], l[1], l[2])[(index(0) * (2 * l[1] + 1) + index(1)) * (2 * l[2] + 1) + index(2)]
        };
        let cases = [
            ([1, 1, 2], [0, 0, 0], (2.0f64 / 3.0).sqrt()),
            ([1, 1, 0], [1, -1, 0], (1.0f64 / 3.0).sqrt()),
            ([1, 1, 0], [0, 0, 0], -(1.0f64 / 3.0).sqrt()),
            ([1, 1, 1], [1, 0, 1], 0.5f64.sqrt()),
            ([1, 1, 1], [0, 1, 1], -(0.5f64.sqrt())),
            ([1, 1, 1], [0, 0, 0], 0.0),
            ([2, 2, 2], [0, 0, 0], -(2.0f64 / 7.0).sqrt()),
            ([3, 2, 1], [0, 0, 0], (9.0f64 / 35.0).sqrt()),
        ];
        for (l, m, expected) in cases {
            // Three roundings: quotient, root, product.
            assert!((at(l, m) - expected).abs() <= 3.0 * f64::EPSILON * expected.abs(), "{l:?} {m:?}: {}", at(l, m));
        }
    }

    #[test]
    fn rows_are_orthonormal_also_for_large_l() {
        for (l1, l2) in [(2usize, 3usize), (6, 6), (20, 25), (40, 3)] {
            let low = l1.abs_diff(l2);
            let blocks: Vec<(usize, Vec<f64>)> = (low..=(l1 + l2).min(low + 8)).map(|l3| (l3, su2(l1, l2, l3))).collect();
            for (l3, block) in &blocks {
                for (l4, other) in &blocks {
                    let (d3, d4) = (2 * l3 + 1, 2 * l4 + 1);
                    // m = the smaller l in both: Σ_m1m2 C C' = δ.
                    let m = *l3.min(l4);
                    let dot: f64 =
                        (0..(2 * l1 + 1) * (2 * l2 + 1)).map(|p| block[p * d3 + l3 + m] * other[p * d4 + l4 + m]).sum();
                    let expected = if l3 == l4 { 1.0 } else { 0.0 };
                    // At most 2·25 + 1 terms whose squares sum to 1, each within 4 roundings.
                    assert!((dot - expected).abs() < 16.0 * f64::EPSILON, "({l1}, {l2}): {l3}, {l4}: {dot}");
                }
            }
        }
        assert!(su2(1, 1, 3).iter().all(|v| *v == 0.0));
    }
}
