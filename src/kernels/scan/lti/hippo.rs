//! HiPPO: matrices A and B with which the state of x' = A·x + B·u holds the past of u as coefficients of orthogonal functions.
//!
//! [`Measure`] names a family of functions. A normal part plus low rank, A = V·Λ·V* − P·Pᵀ, makes it usable in a kernel: [`nplr`].
//! [`Diagonal`] are the diagonal approximations, [`discretise`] turns any dense system into one of steps.
//!
//! Sources: Gu, Dao, Ermon, Rudra & Ré, HiPPO, 2020 (arXiv 2008.07669); Gu, Goel & Ré, S4, 2022 (arXiv 2111.00396); Gu, Johnson, Timalsina,
//! Rudra & Ré, How to Train Your HiPPO, 2022 (arXiv 2206.12037); Gu, Gupta, Goel & Ré, S4D, 2022 (arXiv 2206.11893); Voelker, Kajić &
//! Eliasmith, Legendre Memory Units, 2019 (LMU); the variants of the published program of S4. Different: eigenvalues are exact, real parts and frequencies of 0 included (published
//! code raises both to 1e-4).

use super::complex::Complex;
use super::dense::{diagonal, exponential, multiply, solve};
use super::modes::Rule;
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// A family of orthogonal functions, and with it a measure over the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Legendre polynomials in e⁻ᵗ: all of the past, more of it the farther away: "scaled Legendre". The states answer an
    /// impulse with e⁻ᵗ·√(2n+1)·P_n(2e⁻ᵗ − 1).
    LegS,
    /// Legendre polynomials over a window of length 2.
    LegT,
    /// Sines and cosines over a window of length 2.
    FouT,
    /// Laguerre functions e^(−t/2)·L_n(t).
    LagT,
    /// Laguerre functions that decay a little faster, √β·e^(−(1+β)t/2)·L_n(t) with β = 0.01.
    GLagT,
    /// [`LegS`](Self::LegS) without its low rank and with half of B: only the normal part.
    LegSD,
    /// Sines and cosines of period 1 that decay, e^(−t/2)·(1, 0, √2·cos 2πt, √2·sin 2πt, …).
    FouD,
    /// [`FouT`](Self::FouT) with half of its low rank and of B: the window does not end, what is older comes back weaker.
    FouDecay,
    /// [`FouT`](Self::FouT) over a window of length 1.
    Fou2,
    /// Legendre polynomials over a window of length 1, scaled as in the Legendre memory unit. Not normal plus low rank in this scale.
    Lmu,
}

/// A continuous system: A (n, n) and B (n).
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    pub states: usize,
    pub a: Vec<f64>,
    pub b: Vec<f64>,
}

/// β of [`Measure::GLagT`], as published.
const TILT: f64 = 0.01;

fn odd_root(n: usize) -> f64 {
    ((2 * n + 1) as f64).sqrt()
}

/// Entry `n` of (1, 0, √2, 0, √2, 0, …): what the Fourier families read of the newest value.
fn wave(n: usize) -> f64 {
    match n {
        0 => 1.0,
        n if n.is_multiple_of(2) => SQRT_2,
        _ => 0.0,
    }
}

/// (−1)ⁿ.
fn sign(n: usize) -> f64 {
    if n.is_multiple_of(2) { 1.0 } else { -1.0 }
}

impl Measure {
    pub const ALL: [Self; 10] = [
        Self::LegS,
        Self::LegT,
        Self::FouT,
        Self::LagT,
        Self::GLagT,
        Self::LegSD,
        Self::FouD,
        Self::FouDecay,
        Self::Fou2,
        Self::Lmu,
    ];

    /// Short name, such as `legs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LegS => "legs",
            Self::LegT => "legt",
            Self::FouT => "fout",
            Self::LagT => "lagt",
            Self::GLagT => "glagt",
            Self::LegSD => "legsd",
            Self::FouD => "foud",
            Self::FouDecay => "fourier-decay",
            Self::Fou2 => "fourier2",
            Self::Lmu => "lmu",
        }
    }

    /// The measure of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// A and B with `n` states (an even number for the Fourier families, whose states are pairs; panics otherwise).
    pub fn system(self, n: usize) -> System {
        let matrix = |f: &dyn Fn(usize, usize) -> f64| (0..n * n).map(|i| f(i / n, i % n)).collect::<Vec<f64>>();
        let vector = |f: &dyn Fn(usize) -> f64| (0..n).map(f).collect::<Vec<f64>>();
        // Pairs that turn at multiples of π·`turn`, less `low`·w·wᵀ; B is `gain`·w, w = (1, 0, √2, 0, √2, 0, …).
        let waves = |turn: f64, low: f64, gain: f64| {
            assert!(n.is_multiple_of(2), "hippo: the states of {} are pairs, so {n} of them cannot be", self.name());
            let frequency = |i: usize, k: usize| match (i / 2 == k / 2, i.is_multiple_of(2), k.is_multiple_of(2)) {
                (true, true, false) => -((i / 2) as f64) * PI * turn,
                (true, false, true) => (i / 2) as f64 * PI * turn,
                _ => 0.0,
            };
            (matrix(&|i, k| frequency(i, k) - low * wave(i) * wave(k)), vector(&|i| gain * wave(i)))
        };
        let (a, b) = match self {
            Self::LegS => (
                matrix(&|i, k| match i.cmp(&k) {
                    std::cmp::Ordering::Greater => -odd_root(i) * odd_root(k),
                    std::cmp::Ordering::Equal => -((i + 1) as f64),
                    std::cmp::Ordering::Less => 0.0,
                }),
                vector(&odd_root),
            ),
            Self::LegT => (
                matrix(&|i, k| -0.5 * odd_root(i) * odd_root(k) * if k <= i { 1.0 } else { sign(k - i) }),
                vector(&|i| 0.5 * odd_root(i)),
            ),
            Self::FouT => waves(1.0, 1.0, 1.0),
            Self::FouDecay => waves(1.0, 0.5, 0.5),
            Self::Fou2 => waves(2.0, 2.0, 2.0),
            Self::FouD => {
                let (mut a, b) = waves(2.0, 0.0, 1.0);
                (0..n).for_each(|i| a[i * n + i] -= 0.5);
                (a, b)
            }
            Self::LegSD => {
                let System { mut a, b, .. } = Self::LegS.system(n);
                a.iter_mut().enumerate().for_each(|(i, a)| *a += 0.5 * b[i / n] * b[i % n]);
                (a, b.iter().map(|b| 0.5 * b).collect())
            }
            Self::GLagT => {
                let System { mut a, b, .. } = Self::LagT.system(n);
                (0..n).for_each(|i| a[i * n + i] -= 0.5 * TILT);
                (a, b.iter().map(|b| TILT.sqrt() * b).collect())
            }
            Self::LagT => (
                matrix(&|i, k| match i.cmp(&k) {
                    std::cmp::Ordering::Greater => -1.0,
                    std::cmp::Ordering::Equal => -0.5,
                    std::cmp::Ordering::Less => 0.0,
                }),
                vector(&|_| 1.0),
            ),
            Self::Lmu => {
                let odd = |i: usize| (2 * i + 1) as f64;
                (matrix(&|i, k| odd(i) * if i < k { -1.0 } else { -sign(i - k) }), vector(&|i| sign(i) * odd(i)))
            }
        };
        System { states: n, a, b }
    }

    /// P (rank, n) with A + Pᵀ·P normal (a multiple of the identity plus a skew matrix), where there is one.
    pub fn low_rank(self, n: usize) -> Option<Vec<f64>> {
        match self {
            Self::LegS => Some((0..n).map(|i| FRAC_1_SQRT_2 * odd_root(i)).collect()),
            Self::LegT => {
                let of = |parity: usize| (0..n).map(move |i| if i % 2 == parity { FRAC_1_SQRT_2 * odd_root(i) } else { 0.0 });
                Some(of(1).chain(of(0)).collect())
            }
            Self::FouT => Some((0..n).map(wave).collect()),
            Self::FouDecay => Some((0..n).map(|i| FRAC_1_SQRT_2 * wave(i)).collect()),
            Self::Fou2 => Some((0..n).map(|i| SQRT_2 * wave(i)).collect()),
            Self::LagT | Self::GLagT => Some(vec![FRAC_1_SQRT_2; n]),
            Self::LegSD | Self::FouD => Some(vec![0.0; n]),
            Self::Lmu => None,
        }
    }
}

/// A = V·Λ·V* − P·P*, over pairs of complex conjugates of which the one with the negative frequency is kept: a real vector x is
/// V·z + conj(V·z) with z = V*·x.
#[derive(Clone, Debug, PartialEq)]
pub struct Nplr {
    /// N, even.
    pub states: usize,
    /// Λ, (N/2), the largest frequencies first.
    pub lambda: Vec<Complex>,
    /// V*·P, (rank, N/2).
    pub p: Vec<Complex>,
    /// V*·B, (N/2).
    pub b: Vec<Complex>,
    /// V, (N, N/2).
    pub v: Vec<Complex>,
}

/// The normal form of a measure with `n` states. An error for an odd number, for [`Measure::Lmu`], and should the eigenvalues not be found.
///
/// Cost: O(n³).
pub fn nplr(measure: Measure, n: usize) -> Result<Nplr, String> {
    if !n.is_multiple_of(2) {
        return Err(format!("states of a normal form are pairs, so {n} of them cannot be"));
    }
    let System { a, b, .. } = measure.system(n);
    let p = measure.low_rank(n).ok_or_else(|| format!("{} is not a normal matrix plus one of low rank", measure.name()))?;
    let normal = |i: usize, k: usize| a[i * n + k] + p.chunks(n.max(1)).map(|p| p[i] * p[k]).sum::<f64>();
    let real = (0..n).map(|i| normal(i, i)).sum::<f64>() / n.max(1) as f64;
    // −i·(skew part) is Hermitian; halves of both triangles take out what rounding left.
    let skew = faer::Mat::<faer::c64>::from_fn(n, n, |i, k| faer::c64::new(0.0, -0.5 * (normal(i, k) - normal(k, i))));
    let eigen = skew.self_adjoint_eigen(faer::Side::Lower).map_err(|e| format!("no eigenvalues of {}: {e:?}", measure.name()))?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let half = n / 2;
    let largest = (0..n).fold(0.0f64, |s, i| s.max(values[i].re.abs()));
    let mut lambda: Vec<Complex> = (0..half).map(|i| Complex::new(real, values[i].re)).collect();
    let column = |i: usize| (0..n).map(|r| Complex::new(vectors[(r, i)].re, vectors[(r, i)].im)).collect::<Vec<_>>();
    let mut columns: Vec<Vec<Complex>> = (0..half).map(column).collect();
    // A frequency of 0 belongs to two real directions, which any mixture spans; one vector and its conjugate must.
    if let (Some(last), Some(vector)) = (lambda.last_mut(), columns.last_mut())
        && last.im.abs() <= 1e-12 * largest
    {
        last.im = 0.0;
        *vector = real_plane(&[column(half - 1), column(half)]);
    }
    if real.abs() <= 1e-14 * largest {
        lambda.iter_mut().for_each(|z| z.re = 0.0);
    }
    let v: Vec<Complex> = (0..n * half).map(|i| columns[i % half][i / half]).collect();
    let into = |x: &[f64]| {
        (0..half).map(|k| (0..n).fold(Complex::ZERO, |s, i| s + v[i * half + k].conj().scale(x[i]))).collect::<Vec<_>>()
    };
    Ok(Nplr { states: n, lambda, p: p.chunks(n.max(1)).flat_map(into).collect(), b: into(&b), v })
}

/// (r + i·s)/√2 for an orthonormal basis r, s of the real plane in which the vectors lie.
fn real_plane(vectors: &[Vec<Complex>]) -> Vec<Complex> {
    let mut spanning: Vec<Vec<f64>> = vectors.iter().flat_map(|v| Complex::split(v)).collect();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for _ in 0..2 {
        // The longest that is left, so that nothing is divided by a rounding error.
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let Some(longest) = spanning.iter().max_by(|a, b| norm(a).total_cmp(&norm(b))) else { continue };
        let size = norm(longest);
        let unit: Vec<f64> = longest.iter().map(|x| x / size).collect();
        for v in &mut spanning {
            let along: f64 = v.iter().zip(&unit).map(|(a, b)| a * b).sum();
            v.iter_mut().zip(&unit).for_each(|(v, u)| *v -= along * u);
        }
        basis.push(unit);
    }
    match &basis[..] {
        [r, s] => r.iter().zip(s).map(|(&r, &s)| Complex::new(r, s).scale(FRAC_1_SQRT_2)).collect(),
        _ => Vec::new(),
    }
}

impl Nplr {
    /// How many rows P has.
    pub fn rank(&self) -> usize {
        self.p.len().checked_div(self.lambda.len()).unwrap_or(0)
    }

    /// A row C of the real system as one over the pairs, C·V: then y = C·x = 2·Re Σ (C·V)_n·z_n.
    pub fn row(&self, c: &[f64]) -> Vec<Complex> {
        let half = self.lambda.len();
        (0..half).map(|k| (0..self.states).fold(Complex::ZERO, |s, i| s + self.v[i * half + k].scale(c[i]))).collect()
    }

    /// The imaginary parts of V*·B limited to ±`most`, as published code does with 2. Changes the kernel when a part is larger.
    pub fn clip_b(&mut self, most: f64) {
        self.b.iter_mut().for_each(|b| b.im = b.im.clamp(-most, most));
    }
}

/// A diagonal system to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagonal {
    /// Frequencies π·n.
    Lin,
    /// Frequencies (N/π)·(N/(2n + 1) − 1).
    Inv,
    /// The normal part of [`Measure::LegS`].
    LegS,
    /// Frequencies (1 + 2n)²/π.
    Quad,
    /// Decays n + 1 without frequencies.
    Real,
}

/// Rates A = Λ and inputs B of a diagonal system, over N/2 pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalSystem {
    /// With frequencies at or above 0.
    pub a: Vec<Complex>,
    pub b: Vec<Complex>,
}

impl Diagonal {
    pub const ALL: [Self; 5] = [Self::Lin, Self::Inv, Self::LegS, Self::Quad, Self::Real];

    /// Short name: `s4d-lin`, `s4d-inv`, `s4d-legs`, `s4d-quad` or `s4d-real`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lin => "s4d-lin",
            Self::Inv => "s4d-inv",
            Self::LegS => "s4d-legs",
            Self::Quad => "s4d-quad",
            Self::Real => "s4d-real",
        }
    }

    /// The system of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// N = `n` real states, an even number. Real parts are −1/2 but for [`Real`](Self::Real). Errors as [`nplr`].
    pub fn system(self, n: usize) -> Result<DiagonalSystem, String> {
        if !n.is_multiple_of(2) {
            return Err(format!("states of a diagonal system are pairs, so {n} of them cannot be"));
        }
        let frequencies = |f: &dyn Fn(f64) -> f64| (0..n / 2).map(|k| Complex::new(-0.5, f(k as f64))).collect::<Vec<_>>();
        let size = n as f64;
        let a = match self {
            Self::Lin => frequencies(&|k| PI * k),
            Self::Inv => frequencies(&|k| size / PI * (size / (2.0 * k + 1.0) - 1.0)),
            Self::Quad => frequencies(&|k| (1.0 + 2.0 * k).powi(2) / PI),
            Self::Real => (0..n / 2).map(|k| Complex::real(-(k as f64 + 1.0))).collect(),
            Self::LegS => {
                // The other of each pair, so that all frequencies here are at or above 0.
                let Nplr { lambda, b, .. } = nplr(Measure::LegS, n)?;
                let conj = |x: Vec<Complex>| x.into_iter().map(Complex::conj).collect();
                return Ok(DiagonalSystem { a: conj(lambda), b: conj(b) });
            }
        };
        Ok(DiagonalSystem { b: vec![Complex::ONE; a.len()], a })
    }
}

/// Ā (n, n) and B̄ (n) of x_t = Ā·x_{t−1} + B̄·u_t for steps of length `step`. `None` when 1 − (step/2)·A is singular (bilinear rule only).
pub fn discretise(system: &System, rule: Rule, step: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    let System { states: n, a, b } = system;
    let n = *n;
    match rule {
        Rule::Bilinear => {
            let side = |sign: f64| {
                let mut m = diagonal(n, 1.0);
                m.iter_mut().zip(a).for_each(|(m, a)| *m += sign * 0.5 * step * a);
                m
            };
            let scaled: Vec<f64> = b.iter().map(|b| step * b).collect();
            let left = side(-1.0);
            Some((solve(&left, &side(1.0), n, n)?, solve(&left, &scaled, n, 1)?))
        }
        Rule::Zoh => {
            // exp of [[A, B], [0, 0]]·step holds Ā and B̄ side by side, also for a singular A.
            let wide = n + 1;
            let mut m = vec![0.0; wide * wide];
            for i in 0..n {
                (0..n).for_each(|k| m[i * wide + k] = step * a[i * n + k]);
                m[i * wide + n] = step * b[i];
            }
            let e = exponential(&m, wide);
            Some(((0..n * n).map(|i| e[i / n * wide + i % n]).collect(), (0..n).map(|i| e[i * wide + n]).collect()))
        }
    }
}

/// C·Ā^l·B̄ for l = 0..`len`: the kernel of a dense system by its recurrence.
pub fn dense_kernel((a, b): (&[f64], &[f64]), c: &[f64], len: usize) -> Vec<f64> {
    let n = b.len();
    let mut x = b.to_vec();
    let mut kernel = Vec::with_capacity(len);
    for _ in 0..len {
        kernel.push(c.iter().zip(&x).map(|(c, x)| c * x).sum());
        x = multiply(a, &x, (n, n, 1));
    }
    kernel
}
