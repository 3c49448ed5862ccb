//! The definition: the recurrence and its gradient in `f64`, one channel, pair and step after the other.

use super::S4d;
use crate::kernels::scan::lti::complex::Complex;
use crate::kernels::scan::lti::modes::Rule;

/// Everything the forward pass gives: y, and the states after the last steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    pub y: Vec<f64>,
    pub last: Vec<Complex>,
}

/// All gradients, each as long as what it is the gradient of (dL/dRe + i·dL/dIm); empty for D when it is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AllGradients {
    pub u: Vec<f64>,
    pub log_dt: Vec<f64>,
    pub log_decay: Vec<f64>,
    pub frequency: Vec<f64>,
    pub b: Vec<Complex>,
    pub c: Vec<Complex>,
    pub skip: Vec<f64>,
    pub initial: Vec<Complex>,
}

/// Ā and B̄ of a pair of a channel.
pub fn mode(s4d: &S4d<'_, f64>, channel: usize, pair: usize) -> (Complex, Complex) {
    let i = channel * s4d.pairs + pair;
    let dt = s4d.rate * s4d.log_dt[channel].exp();
    let a = Complex::new(-s4d.log_decay[i].exp(), s4d.frequency[i]);
    let b = s4d.b.map_or(Complex::ONE, |b| b.at(i));
    let z = a.scale(dt);
    match s4d.rule {
        Rule::Zoh => (z.exp(), if z == Complex::ZERO { b.scale(dt) } else { z.exp_m1() / a * b }),
        Rule::Bilinear => {
            let near = Complex::ONE - z.scale(0.5);
            ((Complex::ONE + z.scale(0.5)) / near, b.scale(dt) / near)
        }
    }
}

/// K (channels, `len`), without D.
pub fn kernel(s4d: &S4d<'_, f64>, len: usize) -> Vec<f64> {
    let mut k = vec![0.0; s4d.channels * len];
    for channel in 0..s4d.channels {
        for pair in 0..s4d.pairs {
            let (a, b) = mode(s4d, channel, pair);
            let mut x = s4d.c.at(channel * s4d.pairs + pair) * b;
            for k in &mut k[channel * len..(channel + 1) * len] {
                *k += 2.0 * x.re;
                x = x * a;
            }
        }
    }
    k
}

/// `initial`: the states before the first steps, zeros without.
pub fn forward(s4d: &S4d<'_, f64>, u: &[f64], initial: Option<&[Complex]>) -> Outputs {
    let (h, n) = (s4d.channels, s4d.pairs);
    let mut y = vec![0.0; u.len()];
    let mut last = initial.map_or_else(|| vec![Complex::ZERO; s4d.state_len()], <[Complex]>::to_vec);
    for (s, rows) in s4d.sequences.iter().enumerate() {
        for channel in 0..h {
            for row in rows.clone() {
                y[row * h + channel] = s4d.skip.map_or(0.0, |d| d[channel]) * u[row * h + channel];
            }
            for pair in 0..n {
                let (a, b) = mode(s4d, channel, pair);
                let c = s4d.c.at(channel * n + pair);
                let x = &mut last[(s * h + channel) * n + pair];
                for row in rows.clone() {
                    *x = a * *x + b.scale(u[row * h + channel]);
                    y[row * h + channel] += 2.0 * (c * *x).re;
                }
            }
        }
    }
    Outputs { y, last }
}

/// From the gradients of y and of the last states (zeros without). The derivatives of Ā and B̄ in Δ and A are taken in closed form.
pub fn backward(
    s4d: &S4d<'_, f64>,
    u: &[f64],
    initial: Option<&[Complex]>,
    dy: &[f64],
    dlast: Option<&[Complex]>,
) -> AllGradients {
    let (h, n) = (s4d.channels, s4d.pairs);
    let mut to = AllGradients {
        u: vec![0.0; u.len()],
        log_dt: vec![0.0; h],
        log_decay: vec![0.0; h * n],
        frequency: vec![0.0; h * n],
        b: vec![Complex::ZERO; h * n],
        c: vec![Complex::ZERO; h * n],
        skip: vec![0.0; s4d.skip.map_or(0, <[f64]>::len)],
        initial: dlast.map_or_else(|| vec![Complex::ZERO; s4d.state_len()], <[Complex]>::to_vec),
    };
    for (s, rows) in s4d.sequences.iter().enumerate() {
        for channel in 0..h {
            if let Some(d) = s4d.skip {
                for row in rows.clone() {
                    to.u[row * h + channel] += d[channel] * dy[row * h + channel];
                    to.skip[channel] += u[row * h + channel] * dy[row * h + channel];
                }
            }
            for pair in 0..n {
                let i = channel * n + pair;
                let (a, b) = mode(s4d, channel, pair);
                let c = s4d.c.at(i);
                let mut x = initial.map_or(Complex::ZERO, |x| x[(s * h + channel) * n + pair]);
                let mut states = vec![x];
                for row in rows.clone() {
                    x = a * x + b.scale(u[row * h + channel]);
                    states.push(x);
                }
                let g = &mut to.initial[(s * h + channel) * n + pair];
                let (mut da, mut db) = (Complex::ZERO, Complex::ZERO);
                for (t, row) in rows.clone().enumerate().rev() {
                    let at = row * h + channel;
                    *g += c.conj().scale(2.0 * dy[at]);
                    to.c[i] += states[t + 1].conj().scale(2.0 * dy[at]);
                    to.u[at] += (g.conj() * b).re;
                    db += g.scale(u[at]);
                    da += *g * states[t].conj();
                    *g = *g * a.conj();
                }
                let [log_dt, log_decay, frequency] = into_rates(s4d, channel, pair, da, db);
                to.log_dt[channel] += log_dt;
                to.log_decay[i] += log_decay;
                to.frequency[i] += frequency;
                let factor = s4d.b.map_or(b, |_| mode(&S4d { b: None, ..*s4d }, channel, pair).1);
                to.b[i] += factor.conj() * db;
            }
        }
    }
    to
}

/// From the gradients of Ā and B̄ to those of log Δ, of the logarithm of the decay and of the frequency.
fn into_rates(s4d: &S4d<'_, f64>, channel: usize, pair: usize, da: Complex, db: Complex) -> [f64; 3] {
    let i = channel * s4d.pairs + pair;
    let dt = s4d.rate * s4d.log_dt[channel].exp();
    let rate = Complex::new(-s4d.log_decay[i].exp(), s4d.frequency[i]);
    let b = s4d.b.map_or(Complex::ONE, |b| b.at(i));
    let (a, input) = mode(s4d, channel, pair);
    let one = Complex::ONE;
    // Derivatives of Ā and B̄ in A and in Δ.
    let [a_rate, a_step, b_rate, b_step] = match s4d.rule {
        Rule::Zoh => [a.scale(dt), rate * a, (a.scale(dt) - (a - one) / rate) / rate * b, a * b],
        Rule::Bilinear => {
            let near = one / (one - rate.scale(0.5 * dt));
            let square = near * near;
            [
                square.scale(dt),
                rate * square,
                square.scale(0.5 * dt * dt) * b,
                input.scale(1.0 / dt) + (square * rate * b).scale(0.5 * dt),
            ]
        }
    };
    let of_rate = a_rate.conj() * da + b_rate.conj() * db;
    let of_step = (a_step.conj() * da + b_step.conj() * db).re;
    [dt * of_step, of_rate.re * rate.re, of_rate.im]
}
