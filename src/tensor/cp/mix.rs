//! Mixing a tensor along every mode: random signs, then an orthonormal cosine transform. Afterwards no few cells carry the tensor, so cells
//! drawn at random stand for all of them.
//!
//! The transform is the DCT-II with weights that make it orthogonal, `y_k = s_k Σ_j x_j cos(π (2j+1) k / 2n)`, `s_0 = √(1/n)`, else `√(2/n)`,
//! by a complex Fourier transform of the same length (Makhoul 1980), two rows at a time. Fourier transforms of any length: mixed radix, and
//! Bluestein's convolution where a prime factor is large.

use std::f64::consts::PI;

use rand::RngExt as _;
use rayon::prelude::*;

use crate::kernels::simd::Real;
use crate::run::seed::Streams;
use crate::tensor::data::Dense;

type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// Largest prime factor that is transformed by its definition.
const PRIME: usize = 31;

/// A Fourier transform of one length: `y_k = Σ_j x_j exp(-2πi jk/n)`.
struct Fourier {
    n: usize,
    /// Prime factors, ascending.
    primes: Vec<usize>,
    /// exp(-2πi k/n).
    turns: Vec<Complex>,
    chirp: Option<Box<Chirp>>,
}

/// Bluestein: a convolution with a chirp, at a length without large factors.
struct Chirp {
    inner: Fourier,
    /// exp(-πi j²/n).
    factors: Vec<Complex>,
    /// The transformed conjugate chirp.
    spectrum: Vec<Complex>,
}

fn primes(mut n: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut p = 2;
    while p * p <= n {
        while n.is_multiple_of(p) {
            found.push(p);
            n /= p;
        }
        p += 1;
    }
    if n > 1 {
        found.push(n);
    }
    found
}

impl Fourier {
    fn new(n: usize) -> Self {
        let turn = |k: usize, n: usize| (-2.0 * PI * k as f64 / n as f64).sin_cos();
        let turns = (0..n).map(|k| turn(k, n)).map(|(s, c)| (c, s)).collect();
        let primes = primes(n);
        let chirp = (primes.last().copied().unwrap_or(1) > PRIME).then(|| {
            let size = (2 * n - 1).next_power_of_two();
            // j² modulo 2n, so that large j lose no digits.
            let factors: Vec<Complex> = (0..n).map(|j| turn((j * j) % (2 * n), 2 * n)).map(|(s, c)| (c, s)).collect();
            let mut wave = vec![(0.0, 0.0); size];
            for (j, &(c, s)) in factors.iter().enumerate() {
                wave[j] = (c, -s);
                wave[(size - j) % size] = (c, -s);
            }
            let inner = Fourier::new(size);
            let mut spectrum = vec![(0.0, 0.0); size];
            inner.run(&wave, &mut spectrum);
            Box::new(Chirp { inner, factors, spectrum })
        });
        Self { n, primes, turns, chirp }
    }

    fn run(&self, x: &[Complex], y: &mut [Complex]) {
        let Some(chirp) = &self.chirp else { return self.radix(&self.primes, 1, x, y) };
        let size = chirp.inner.n;
        let (mut a, mut b) = (vec![(0.0, 0.0); size], vec![(0.0, 0.0); size]);
        for ((a, &x), &f) in a.iter_mut().zip(x).zip(&chirp.factors) {
            *a = times(x, f);
        }
        chirp.inner.run(&a, &mut b);
        // The inverse transform is the conjugate of the transform of the conjugate.
        for (b, &s) in b.iter_mut().zip(&chirp.spectrum) {
            let p = times(*b, s);
            *b = (p.0, -p.1);
        }
        chirp.inner.run(&b, &mut a);
        for ((y, &a), &f) in y.iter_mut().zip(&a).zip(&chirp.factors) {
            *y = times((a.0 / size as f64, -a.1 / size as f64), f);
        }
    }

    /// Decimation in time over the remaining prime factors: `x` at steps of `step`.
    fn radix(&self, primes: &[usize], step: usize, x: &[Complex], y: &mut [Complex]) {
        let Some((&p, rest)) = primes.split_first() else {
            y[0] = x[0];
            return;
        };
        let m = y.len() / p;
        for (q, part) in y.chunks_exact_mut(m).enumerate() {
            self.radix(rest, step * p, &x[q * step..], part);
        }
        let mut terms = [(0.0, 0.0); PRIME];
        for k in 0..m {
            for q in 0..p {
                terms[q] = times(y[q * m + k], self.turns[(q * k * step) % self.n]);
            }
            if p == 2 {
                let (a, b) = (terms[0], terms[1]);
                y[k] = (a.0 + b.0, a.1 + b.1);
                y[m + k] = (a.0 - b.0, a.1 - b.1);
                continue;
            }
            for j in 0..p {
                let mut sum = terms[0];
                for (q, &t) in terms[..p].iter().enumerate().skip(1) {
                    let t = times(t, self.turns[(q * j * m * step) % self.n]);
                    sum = (sum.0 + t.0, sum.1 + t.1);
                }
                y[j * m + k] = sum;
            }
        }
    }
}

/// Signs and cosine transform of one mode.
pub struct Mixer {
    n: usize,
    signs: Vec<f64>,
    fourier: Fourier,
    /// exp(-πi k/2n).
    quarter: Vec<Complex>,
}

impl Mixer {
    /// For a mode of `n` places; signs from the streams.
    pub fn new(n: usize, streams: Streams, mode: usize) -> Self {
        let mut rng = streams.stream("cp-mix", mode as u64);
        let signs = (0..n).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let quarter = (0..n).map(|k| (-PI * k as f64 / (2.0 * n as f64)).sin_cos()).map(|(s, c)| (c, s)).collect();
        Self { n, signs, fourier: Fourier::new(n), quarter }
    }

    fn scale(&self, k: usize) -> f64 {
        if k == 0 { (1.0 / self.n as f64).sqrt() } else { (2.0 / self.n as f64).sqrt() }
    }

    /// Place j of the reordered input: even places first, then odd ones backwards.
    fn place(&self, j: usize) -> usize {
        if j < self.n.div_ceil(2) { 2 * j } else { 2 * (self.n - j) - 1 }
    }

    /// F D x for two rows at once, in place.
    fn forward(&self, a: &mut [f64], b: &mut [f64], own: &mut (Vec<Complex>, Vec<Complex>)) {
        let n = self.n;
        own.0.clear();
        own.0.extend((0..n).map(|j| self.place(j)).map(|i| (a[i] * self.signs[i], b[i] * self.signs[i])));
        own.1.resize(n, (0.0, 0.0));
        self.fourier.run(&own.0, &mut own.1);
        for k in 0..n {
            // The spectra of the real and the imaginary row, apart by symmetry.
            let (v, w) = (own.1[k], own.1[(n - k) % n]);
            let first = ((v.0 + w.0) / 2.0, (v.1 - w.1) / 2.0);
            let second = ((v.1 + w.1) / 2.0, (w.0 - v.0) / 2.0);
            a[k] = self.scale(k) * times(first, self.quarter[k]).0;
            b[k] = self.scale(k) * times(second, self.quarter[k]).0;
        }
    }

    /// The inverse, D Fᵀ y, in place.
    pub fn inverse(&self, y: &mut [f64]) {
        let n = self.n;
        let plain: Vec<f64> = (0..n).map(|k| y[k] / self.scale(k) / n as f64).collect();
        // The spectrum of the reordered input is exp(πi k/2n) (c_k - i c_{n-k}), with c_n = 0.
        let spectrum: Vec<Complex> = (0..n)
            .map(|k| {
                let (c, d) = if k == 0 { (plain[0], 0.0) } else { (plain[k], plain[n - k]) };
                times((c, -d), (self.quarter[k].0, -self.quarter[k].1))
            })
            // Conjugated: the inverse transform by a forward one.
            .map(|(re, im)| (re, -im))
            .collect();
        let mut out = vec![(0.0, 0.0); n];
        self.fourier.run(&spectrum, &mut out);
        for (j, v) in out.iter().enumerate() {
            let i = self.place(j);
            y[i] = v.0 * self.signs[i];
        }
    }
}

/// Fibres transformed by one task.
const FIBRES: usize = 64;

/// X, times `inverse`, with every mode mixed. Holds two copies of X while it works, one afterwards. Cost: O(log) operations a cell.
pub fn mix<T: Real>(x: &Dense<T>, inverse: f64, mixers: &[Mixer]) -> Vec<f64> {
    let total = x.values().len();
    let mut from: Vec<f64> = x.values().iter().map(|v| v.to_f64() * inverse).collect();
    let mut to = vec![0.0; total];
    // The first mode is transformed and becomes the last: after N steps the modes are where they were.
    for mixer in mixers {
        let (n, rest) = (mixer.n, total / mixer.n);
        to.par_chunks_mut(FIBRES * n).enumerate().for_each(|(task, out)| {
            let mut own = (Vec::new(), Vec::new());
            let (first, count) = (task * FIBRES, out.len() / n);
            for i in 0..n {
                for (f, &v) in from[i * rest + first..][..count].iter().enumerate() {
                    out[f * n + i] = v;
                }
            }
            let mut spare = vec![0.0; n];
            for pair in out.chunks_mut(2 * n) {
                let (a, b) = pair.split_at_mut(n);
                mixer.forward(a, if b.is_empty() { &mut spare } else { b }, &mut own);
            }
        });
        std::mem::swap(&mut from, &mut to);
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_its_definition_and_orthogonal() {
        // Powers, mixed radices, primes by definition (31) and by Bluestein (37, 2·41).
        for n in [1usize, 2, 3, 4, 5, 8, 12, 15, 30, 31, 37, 61, 64, 82, 201, 300] {
            let mixer = Mixer::new(n, Streams::new(3), 1);
            let x: Vec<f64> = (0..n).map(|j| ((j * 37) % 11) as f64 - 5.0).collect();
            let y: Vec<f64> = (0..n).map(|j| ((j * 17) % 7) as f64).collect();
            let (mut a, mut b) = (x.clone(), y.clone());
            mixer.forward(&mut a, &mut b, &mut Default::default());
            for (from, got) in [(&x, &a), (&y, &b)] {
                for (k, got) in got.iter().enumerate() {
                    let angle = |j: usize| PI * ((2 * j + 1) * k) as f64 / (2 * n) as f64;
                    let want: f64 = mixer.scale(k) * (0..n).map(|j| mixer.signs[j] * from[j] * angle(j).cos()).sum::<f64>();
                    // Sums of n numbers up to 6, rounding grows with log n: 1e-12 is a hundred times that.
                    assert!((got - want).abs() < 1e-12 * n as f64, "n {n} k {k}: {got} {want}");
                }
            }
            let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((norm(&a) - norm(&x)).abs() < 1e-12 * n as f64);
            mixer.inverse(&mut a);
            for (got, want) in a.iter().zip(&x) {
                assert!((got - want).abs() < 1e-12 * n as f64, "n {n}");
            }
        }
    }

    #[test]
    fn mixing_a_rank_one_tensor_mixes_its_factors() {
        let shape = [3usize, 5, 4];
        let mixers: Vec<Mixer> = shape.iter().enumerate().map(|(m, &n)| Mixer::new(n, Streams::new(1), m)).collect();
        let f: Vec<Vec<f64>> = shape.iter().map(|&n| (0..n).map(|i| (i * i + 1) as f64).collect()).collect();
        let cell = |f: &[Vec<f64>], k: usize| f[0][k / 20] * f[1][k / 4 % 5] * f[2][k % 4];
        let x = Dense::new(shape.to_vec(), (0..60).map(|k| cell(&f, k)).collect());
        let mixed = mix(&x, 1.0, &mixers);
        let mut g = f.clone();
        for (g, mixer) in g.iter_mut().zip(&mixers) {
            mixer.forward(g, &mut vec![0.0; mixer.n], &mut Default::default());
        }
        for (k, got) in mixed.iter().enumerate() {
            // Values up to 1700, a handful of operations each.
            assert!((got - cell(&g, k)).abs() < 1e-10, "cell {k}");
        }
    }
}
