//! Whole numbers of any size, as far as Racah's sum needs them.

use std::cmp::Ordering;

/// A whole number: digits of 32 bits, least first, none of them zero at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole(Vec<u32>);

impl From<u32> for Whole {
    fn from(n: u32) -> Self {
        Self(if n == 0 { Vec::new() } else { vec![n] })
    }
}

impl Whole {
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// `self *= n`.
    pub fn times(&mut self, n: u32) {
        let mut carry = 0u64;
        for digit in &mut self.0 {
            let t = u64::from(*digit) * u64::from(n) + carry;
            *digit = t as u32;
            carry = t >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
        self.trim();
    }

    /// `self /= n`, rounded down. Panics for `n` = 0.
    pub fn divide(&mut self, n: u32) {
        let mut rest = 0u64;
        for digit in self.0.iter_mut().rev() {
            let t = (rest << 32) | u64::from(*digit);
            *digit = (t / u64::from(n)) as u32;
            rest = t % u64::from(n);
        }
        self.trim();
    }

    /// `self += other`.
    pub fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut carry = 0u64;
        for (i, digit) in self.0.iter_mut().enumerate() {
            let t = u64::from(*digit) + u64::from(other.0.get(i).copied().unwrap_or(0)) + carry;
            *digit = t as u32;
            carry = t >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// `self · other`.
    pub fn product(&self, other: &Self) -> Self {
        let mut out = vec![0u32; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.0.iter().enumerate() {
                // (2³² − 1)² + 2 (2³² − 1) < 2⁶⁴.
                let t = u64::from(a) * u64::from(b) + u64::from(out[i + j]) + carry;
                out[i + j] = t as u32;
                carry = t >> 32;
            }
            out[i + other.0.len()] = carry as u32;
        }
        let mut out = Self(out);
        out.trim();
        out
    }

    /// |self − other|, and whether self < other.
    pub fn difference(&self, other: &Self) -> (Self, bool) {
        let negative = self.compare(other) == Ordering::Less;
        let (large, small) = if negative { (other, self) } else { (self, other) };
        let mut out = large.clone();
        let mut borrow = 0i64;
        for (i, digit) in out.0.iter_mut().enumerate() {
            let t = i64::from(*digit) - i64::from(small.0.get(i).copied().unwrap_or(0)) - borrow;
            borrow = i64::from(t < 0);
            *digit = t as u32;
        }
        out.trim();
        (out, negative)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// (m, e) with the number ≈ m · 2ᵉ, m its upper 65 to 96 bits: half a unit of rounding.
    fn scaled(&self) -> (f64, i32) {
        let n = self.0.len();
        let upper = self.0.iter().rev().take(3).fold(0u128, |sum, &d| (sum << 32) | u128::from(d));
        (upper as f64, 32 * (n as i32 - 3).max(0))
    }

    /// `self / other`. The quotient may be out of range though both are far larger or smaller; three roundings. Panics on zero.
    pub fn over(&self, other: &Self) -> f64 {
        assert!(!other.is_zero(), "a quotient by zero");
        let ((a, e), (b, f)) = (self.scaled(), other.scaled());
        (a / b) * 2f64.powi(e - f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factorial(n: u32) -> Whole {
        (1..=n).fold(Whole::from(1), |mut f, k| {
            f.times(k);
            f
        })
    }

    #[test]
    fn arithmetic_agrees_with_itself() {
        let (a, b) = (factorial(60), factorial(55));
        // 60!/55! = 60·59·58·57·56.
        assert_eq!(a.over(&b), 60.0 * 59.0 * 58.0 * 57.0 * 56.0);
        let mut c = a.clone();
        (56..=60).for_each(|k| c.divide(k));
        assert_eq!(c, b);
        // (a + b)(a − b) = a² − b².
        let mut sum = a.clone();
        sum.add(&b);
        let (difference, negative) = a.difference(&b);
        assert!(!negative);
        assert_eq!(sum.product(&difference), a.product(&a).difference(&b.product(&b)).0);
        assert!(b.difference(&a).1 && a.difference(&a).0.is_zero());
        // Far beyond the range of f64: 400!/399!, three roundings.
        assert!((factorial(400).over(&factorial(399)) / 400.0 - 1.0).abs() <= 1.5 * f64::EPSILON);
    }
}
