//! S4: a linear system for every channel whose matrix is diagonal plus low rank, A = Λ − P·P*, by the bilinear rule.
//!
//! For channel h with pairs n, Δ = rate·exp(log Δ\[h\]): Ā = (1 − ΔA/2)⁻¹(1 + ΔA/2), B̄ = (1 − ΔA/2)⁻¹·ΔB, and
//! K_l = 2·Re(C·Ā^l·B̄).
//!
//! # How
//! What is trained is C̃ = C·(1 − Ā^L) for a length L: then the generating function of the first L numbers of K at ω, Σ_l K_l·ω^l =
//! C̃·(1 − ωĀ)⁻¹·B̄, needs no power of Ā. At the roots of unity it gives K by an inverse Fourier transform. With ω = e^(−iθ), c = cos(θ/2) and
//! s = sin(θ/2),
//!
//! * r(v, w) = Δ·Σ_n v_n·w_n/(2is − cΔΛ_n), over the pairs and their conjugates (Cauchy sums),
//! * K̂ = e^(iθ/2)·(r(C̃, B) − c·r(C̃, P)·(1 + c·r(P*, P))⁻¹·r(P*, B)) (Woodbury).
//!
//! In this form, unlike with z = 2(1 − ω)/(1 + ω), ω = −1 is a point as any other. A frequency of exactly 0 makes ω = 1 a quotient of zeros,
//! for which the system is solved as it stands. The transform of any length is a convolution of a power of two (Bluestein).
//!
//! Everything is computed in f64. Frequencies lie in the lanes of the sums, channels in those of the transforms.
//!
//! # Cost
//! For each channel 4·(1 + r)² + 12 operations for each pair and frequency (L/2 + 1 of them), and three times as many on the way
//! back, which recomputes the sums; two transforms of at least 1.5·L points for 8 channels.
//!
//! # Source
//! Gu, Goel & Ré, Efficiently Modeling Long Sequences with Structured State Spaces, 2022 (arXiv 2111.00396). Different: exact values also where
//! published code raises real parts and frequencies to 1e-4 and trusts rounding at ω = −1.

mod bins;
mod fourier;
mod recurrence;
pub mod reference;
mod step;
mod zero;

pub use step::Stepper;

use super::complex::{Complex, ComplexMut, ComplexRef};
use crate::kernels::bf16::Stored;
use crate::kernels::rows::for_each;
use crate::kernels::simd::Real;
use recurrence::Channel;

/// Rows of P at most.
pub const MOST_RANK: usize = 2;

const OP: &str = "s4";

/// Sizes and parameters. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Dplr<'a, T> {
    pub channels: usize,
    /// Complex states of a channel: half of N, the number of real ones.
    pub pairs: usize,
    /// Rows of P: 1 or 2.
    pub rank: usize,
    /// Multiplies Δ. 1 unless data are sampled otherwise than those trained on.
    pub rate: f64,
    /// log Δ, (channels).
    pub log_dt: &'a [T],
    /// Λ, (channels, pairs), real parts at or below 0.
    pub lambda: ComplexRef<'a, T>,
    /// P, (channels, rank, pairs).
    pub p: ComplexRef<'a, T>,
    /// (channels, pairs).
    pub b: ComplexRef<'a, T>,
    /// (channels, pairs): C̃ of the length asked for in [`kernel`](Self::kernel), C itself for [`tilde`](Self::tilde) and
    /// [`Stepper`].
    pub c: ComplexRef<'a, T>,
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    pub log_dt: Option<&'a mut [T]>,
    pub lambda: Option<ComplexMut<'a, T>>,
    pub p: Option<ComplexMut<'a, T>>,
    pub b: Option<ComplexMut<'a, T>>,
    pub c: Option<ComplexMut<'a, T>>,
}

impl<T> Default for Gradients<'_, T> {
    fn default() -> Self {
        Self { log_dt: None, lambda: None, p: None, b: None, c: None }
    }
}

/// Gradients of a channel's parameters.
#[derive(Debug, Clone)]
struct Slopes {
    log_dt: f64,
    lambda: Vec<Complex>,
    p: Vec<Complex>,
    b: Vec<Complex>,
    c: Vec<Complex>,
}

impl<T: Real> Dplr<'_, T> {
    fn check(&self) {
        let (h, n, r) = (self.channels, self.pairs, self.rank);
        assert!(
            h > 0 && n > 0 && (1..=MOST_RANK).contains(&r),
            "{OP}: {h} channels of {n} pairs and rank {r}, expected rank 1 or 2"
        );
        assert!(self.rate.is_finite() && self.rate > 0.0, "{OP}: the rate is {}", self.rate);
        assert_eq!(self.log_dt.len(), h, "{OP}: one step size per channel");
        assert!(self.lambda.has(h * n) && self.b.has(h * n) && self.c.has(h * n), "{OP}: the eigenvalues, B and C are {h} x {n}");
        assert!(self.p.has(h * r * n), "{OP}: P is {h} x {r} x {n}");
    }

    fn channel(&self, h: usize) -> Channel {
        let (n, r) = (self.pairs, self.rank);
        let of = |x: &ComplexRef<'_, T>, len: usize| (h * len..(h + 1) * len).map(|i| x.at(i)).collect::<Vec<_>>();
        Channel {
            dt: self.rate * self.log_dt[h].to_f64().exp(),
            lambda: of(&self.lambda, n),
            p: of(&self.p, r * n),
            b: of(&self.b, n),
            c: of(&self.c, n),
        }
    }

    /// Groups of channels that share a transform.
    fn groups(&self) -> Vec<std::ops::Range<usize>> {
        (0..self.channels).step_by(fourier::LANES).map(|at| at..self.channels.min(at + fourier::LANES)).collect()
    }

    /// K (channels, `len`), C being C̃ for `len`. Panics when sizes do not fit.
    pub fn kernel(&self, len: usize, k: &mut [T]) {
        self.kernel_stored(len, k);
    }

    fn kernel_stored<S: Stored<T>>(&self, len: usize, k: &mut [S]) {
        self.check();
        assert_eq!(k.len(), self.channels * len, "{OP}: the kernel is {} x {len}", self.channels);
        if len == 0 {
            return;
        }
        let (points, to_time) = (bins::Bins::new(len), fourier::Chirp::to_time(len));
        let mut rest = k;
        let tasks: Vec<_> = (self.groups().into_iter())
            .map(|channels| {
                let to = rest.split_off_mut(..channels.len() * len).unwrap_or_default();
                (channels, to)
            })
            .collect();
        for_each(tasks, |(channels, to)| {
            let spectra: Vec<[Vec<f64>; 2]> = channels.map(|h| spectrum(&self.channel(h), &points)).collect();
            to_time.run(&spectra, |lane, l, z| to[lane * len + l] = S::nearest(T::from_f64(z.re / len as f64)));
        });
    }

    /// From the gradient of K: those that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, len: usize, dk: &[T], to: Gradients<'_, T>) {
        self.backward_stored(len, dk, to);
    }

    fn backward_stored<S: Stored<T>>(&self, len: usize, dk: &[S], mut to: Gradients<'_, T>) {
        self.check();
        assert_eq!(dk.len(), self.channels * len, "{OP}: the kernel is {} x {len}", self.channels);
        let (h, n, r) = (self.channels, self.pairs, self.rank);
        assert!(to.log_dt.as_ref().is_none_or(|g| g.len() == h), "{OP}: the gradient of the step sizes has {h} numbers");
        for (name, place, len) in [("Λ", &to.lambda, h * n), ("P", &to.p, h * r * n), ("B", &to.b, h * n), ("C", &to.c, h * n)] {
            assert!(place.as_ref().is_none_or(|g| g.has(len)), "{OP}: the gradient of {name} has {len} numbers");
        }
        let (points, to_frequency) = (bins::Bins::new(len.max(1)), fourier::Chirp::to_frequency(len.max(1)));
        let groups = self.groups();
        let mut slopes: Vec<Vec<Slopes>> = vec![Vec::new(); groups.len()];
        let tasks: Vec<_> = groups.into_iter().zip(&mut slopes).collect();
        for_each(tasks, |(channels, slopes)| {
            let count = points.count();
            let mut weights = vec![[vec![0.0; points.room()], vec![0.0; points.room()]]; channels.len()];
            let wide: Vec<[Vec<f64>; 2]> = (channels.clone())
                .map(|h| [dk[h * len..(h + 1) * len].iter().map(|x| x.number().to_f64()).collect(), Vec::new()])
                .collect();
            to_frequency.run(&wide, |lane, k, z| {
                if k < count {
                    // conj(γ)·e^(iθ/2), with γ the share of K̂ in the loss.
                    let z = z.conj().scale(points.multiplicity(k) / len.max(1) as f64) * points.turn(k);
                    (weights[lane][0][k], weights[lane][1][k]) = (z.re, z.im);
                }
            });
            *slopes = channels.zip(&weights).map(|(h, w)| gradients(&self.channel(h), &points, w)).collect();
        });
        for (h, slopes) in slopes.iter().flatten().enumerate() {
            if let Some(log_dt) = &mut to.log_dt {
                log_dt[h] = T::from_f64(slopes.log_dt);
            }
            for (place, from) in
                [(&mut to.lambda, &slopes.lambda), (&mut to.p, &slopes.p), (&mut to.b, &slopes.b), (&mut to.c, &slopes.c)]
            {
                if let Some(place) = place {
                    from.iter().enumerate().for_each(|(i, z)| place.set(h * from.len() + i, *z));
                }
            }
        }
    }

    /// C̃ = C·(1 − Ā^`len`). Cost: `len` steps.
    pub fn tilde(&self, len: usize, to: ComplexMut<'_, T>) {
        self.rows(to, |channel| {
            let moved = channel.row_after(len);
            channel.c.iter().zip(moved).map(|(c, m)| *c - m).collect()
        });
    }

    /// C̃ for twice the length from that for `len`: C̃·(1 + Ā^`len`). Cost: `len` steps.
    pub fn double(&self, len: usize, to: ComplexMut<'_, T>) {
        self.rows(to, |channel| {
            let moved = channel.row_after(len);
            channel.c.iter().zip(moved).map(|(c, m)| *c + m).collect()
        });
    }

    /// C from C̃. Directions that 1 − Ā^`len` takes to 0, those of an undamped state that returns after `len` steps, cannot be had back: the
    /// row stays C̃ then. Cost: O(pairs³·log `len`).
    pub fn untilde(&self, len: usize, to: ComplexMut<'_, T>) {
        self.rows(to, |channel| channel.row_before(len).unwrap_or_else(|| channel.c.clone()));
    }

    fn rows(&self, mut to: ComplexMut<'_, T>, work: impl Fn(&Channel) -> Vec<Complex> + Sync + Send) {
        self.check();
        assert!(to.has(self.channels * self.pairs), "{OP}: C is {} x {}", self.channels, self.pairs);
        let mut rows = vec![Vec::new(); self.channels];
        let tasks: Vec<_> = rows.iter_mut().enumerate().collect();
        for_each(tasks, |(h, row)| *row = work(&self.channel(h)));
        for (h, row) in rows.iter().enumerate() {
            row.iter().enumerate().for_each(|(i, z)| to.set(h * self.pairs + i, *z));
        }
    }
}

impl Dplr<'_, f32> {
    /// [`kernel`](Self::kernel) with K as bits of bf16. Panics when sizes do not fit.
    pub fn kernel_bf16(&self, len: usize, k: &mut [u16]) {
        self.kernel_stored(len, k);
    }

    /// [`backward`](Self::backward) from the gradient of K as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(&self, len: usize, dk: &[u16], to: Gradients<'_, f32>) {
        self.backward_stored(len, dk, to);
    }
}

/// K̂ at the first half of the roots of unity, times how often each stands for a pair.
fn spectrum(channel: &Channel, points: &bins::Bins) -> [Vec<f64>; 2] {
    let at_one = zero::Solution::of(channel);
    let mut k = bins::spectrum(channel, points, at_one.is_some());
    for i in 0..points.room() {
        // Behind the last frequency there is none.
        let z = if i < points.count() { points.turn(i).scale(points.multiplicity(i)) } else { Complex::ZERO };
        let z = z * Complex::new(k[0][i], k[1][i]);
        (k[0][i], k[1][i]) = (z.re, z.im);
    }
    if let Some(at_one) = at_one {
        (k[0][0], k[1][0]) = (at_one.value(channel), 0.0);
    }
    k
}

fn gradients(channel: &Channel, points: &bins::Bins, weights: &[Vec<f64>; 2]) -> Slopes {
    let at_one = zero::Solution::of(channel);
    let mut slopes = bins::gradients(channel, points, weights, at_one.is_some());
    if let Some(at_one) = at_one {
        at_one.add_gradients(weights[0][0], &mut slopes);
    }
    slopes
}
