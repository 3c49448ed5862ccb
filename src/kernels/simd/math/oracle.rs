//! The functions in twice the precision of `f64`, by their series: slow, short and independent of the fast forms.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// An unevaluated sum `high + low` with |low| <= half a unit of `high`: about 106 bits.
#[derive(Clone, Copy, Debug)]
pub struct Double {
    pub high: f64,
    pub low: f64,
}

impl Double {
    pub const fn new(high: f64, low: f64) -> Self {
        Double { high, low }
    }
    /// The exact sum of two numbers.
    fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let part = high - a;
        Double { high, low: (a - (high - part)) + (b - part) }
    }
    /// The exact product of two numbers.
    fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        Double { high, low: a.mul_add(b, -high) }
    }
    fn powi2(self, n: i32) -> Self {
        // Two steps: 2ⁿ alone may leave the range.
        let (a, b) = (2f64.powi(n / 2), 2f64.powi(n - n / 2));
        Double { high: self.high * a * b, low: self.low * a * b }
    }
    fn abs(self) -> Self {
        if self.high < 0.0 { -self } else { self }
    }
}

impl From<f64> for Double {
    fn from(x: f64) -> Self {
        Double { high: x, low: 0.0 }
    }
}

impl Add for Double {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        let (s, t) = (Self::sum(self.high, b.high), Self::sum(self.low, b.low));
        let s = Self::sum(s.high, s.low + t.high);
        Self::sum(s.high, s.low + t.low)
    }
}

impl Neg for Double {
    type Output = Self;
    fn neg(self) -> Self {
        Double { high: -self.high, low: -self.low }
    }
}

impl Sub for Double {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        self + -b
    }
}

impl Mul for Double {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        let p = Self::product(self.high, b.high);
        Self::sum(p.high, p.low + (self.high * b.low + self.low * b.high))
    }
}

impl Div for Double {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let q = self.high / b.high;
        let rest = self - b * q.into();
        let q2 = rest.high / b.high;
        let rest = rest - b * q2.into();
        Self::sum(q, q2) + (rest.high / b.high).into()
    }
}

const ONE: Double = Double::new(1.0, 0.0);
const LN_2: Double = Double::new(std::f64::consts::LN_2, 2.3190468138462996e-17);
const PI: Double = Double::new(std::f64::consts::PI, 1.2246467991473532e-16);

fn sqrt(x: Double) -> Double {
    let y = Double::from(x.high.sqrt());
    let y = (y + x / y) * 0.5.into();
    (y + x / y) * 0.5.into()
}

/// `eˣ` as a number near 1 and a power of two.
pub fn exp_parts(x: Double) -> (Double, i32) {
    let n = (x.high * std::f64::consts::LOG2_E).round();
    let r = (x - LN_2 * n.into()).powi2(-9);
    let (mut sum, mut term) = (ONE, ONE);
    for k in 1..14 {
        term = term * r / (k as f64).into();
        sum = sum + term;
    }
    for _ in 0..9 {
        sum = sum * sum;
    }
    (sum, n as i32)
}

pub fn exp(x: Double) -> Double {
    let (m, n) = exp_parts(x);
    m.powi2(n)
}

pub fn log(x: Double) -> Double {
    // One step of a cubic Newton method from the standard library's value.
    let start = Double::from(x.high.ln());
    let e = x * exp(-start) - ONE;
    start + e - e * e * 0.5.into() + e * e * e / 3.0.into()
}

fn log1p(t: Double) -> Double {
    if t.high.abs() < 1e-9 { t - t * t * 0.5.into() + t * t * t / 3.0.into() - t * t * t * t * 0.25.into() } else { log(ONE + t) }
}

pub fn tanh(x: Double) -> Double {
    if x.high.abs() < 1e-6 {
        let z = x * x;
        return x - x * z / 3.0.into() + x * z * z * 2.0.into() / 15.0.into();
    }
    let e = exp(x + x);
    (e - ONE) / (e + ONE)
}

pub fn sigmoid(x: Double) -> Double {
    let t = exp(-x.abs());
    if x.high < 0.0 { t / (ONE + t) } else { ONE / (ONE + t) }
}

pub fn silu(x: Double) -> Double {
    x * sigmoid(x)
}

pub fn silu_slope(x: Double) -> Double {
    sigmoid(x) + x * sigmoid(x) * sigmoid(-x)
}

pub fn softplus(x: Double) -> Double {
    let ramp = if x.high > 0.0 { x } else { 0.0.into() };
    ramp + log1p(exp(-x.abs()))
}

/// The series of positive terms `2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!`.
pub fn erf(x: Double) -> Double {
    if x.high.abs() > 6.0 {
        return x.high.signum().into();
    }
    let square = x * x;
    let (mut sum, mut term) = (x, x);
    let mut k = 1.0;
    while term.high.abs() > sum.high.abs() * 1e-34 {
        term = term * square * 2.0.into() / (2.0 * k + 1.0).into();
        sum = sum + term;
        k += 1.0;
    }
    sum * exp(-square) * 2.0.into() / sqrt(PI)
}

/// For large x the continued fraction `e^(−x²)/√π · 1/(x + ½/(x + 1/(x + 3/2/(x + …))))`, backwards.
pub fn erfc(x: Double) -> Double {
    if x.high < 2.0 {
        return ONE - erf(x);
    }
    let mut tail = x;
    let depth = if x.high < 4.0 { 400 } else { 120 };
    for k in (1..depth).rev() {
        tail = x + Double::from(k as f64 * 0.5) / tail;
    }
    exp(-(x * x)) / sqrt(PI) / tail
}

fn upper_tail(a: Double) -> Double {
    erfc(a / sqrt(2.0.into())) * 0.5.into()
}

pub fn gelu(x: Double) -> Double {
    x * upper_tail(-x)
}

pub fn gelu_slope(x: Double) -> Double {
    upper_tail(-x) + x * exp(-(x * x) * 0.5.into()) / sqrt(PI + PI)
}

/// Known values to 32 digits.
#[test]
fn the_oracle_knows_the_tables() {
    for (got, want) in [
        (exp(1.0.into()), Double::new(std::f64::consts::E, 1.4456468917292502e-16)),
        (log(10.0.into()), Double::new(std::f64::consts::LN_10, -2.1707562233822494e-16)),
        (erf(1.0.into()), Double::new(0.8427007929497149, -2.4801011789118602e-17)),
        (erfc(3.0.into()), Double::new(2.209049699858544e-05, 1.5563377960343457e-22)),
    ] {
        let error = (got - want).high / want.high;
        // Nine squarings in exp make 2⁹ of its first error, 2^-104.
        assert!(error.abs() < 1e-28, "{got:?}, not {want:?}");
    }
}
