//! The definition: the recurrence and its gradient in `f64`, one head and step after the other.

use super::{Inputs, Ssd};

/// Everything the forward pass gives: y, and the states after the last steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    pub y: Vec<f64>,
    pub last: Vec<f64>,
}

/// All gradients, each as long as what it is the gradient of; that of D is empty without D.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AllGradients {
    pub x: Vec<f64>,
    pub dt: Vec<f64>,
    pub b: Vec<f64>,
    pub c: Vec<f64>,
    pub a: Vec<f64>,
    pub skip: Vec<f64>,
    pub initial: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// S ← α·S + Δ·x·Bᵀ.
fn advance(state: &mut [f64], alpha: f64, dt: f64, x: &[f64], b: &[f64]) {
    for (line, x) in state.chunks_exact_mut(b.len()).zip(x) {
        line.iter_mut().zip(b).for_each(|(s, b)| *s = alpha * *s + dt * x * b);
    }
}

/// The scan.
pub fn forward(ssd: &Ssd<'_, f64>, x: &Inputs<'_, f64>, initial: Option<&[f64]>) -> Outputs {
    let Ssd { heads: h, width: p, groups: g, states: n, .. } = *ssd;
    let mut y = vec![0.0; x.x.len()];
    let mut last = initial.map_or_else(|| vec![0.0; ssd.state_len()], <[f64]>::to_vec);
    for (sequence, rows) in ssd.sequences.iter().enumerate() {
        for head in 0..h {
            let state = &mut last[(sequence * h + head) * p * n..][..p * n];
            for row in rows.clone() {
                let (place, shared) = (row * h + head, (row * g + ssd.group_of(head)) * n);
                let (b, c) = (&x.b[shared..shared + n], &x.c[shared..shared + n]);
                let (dt, line) = (x.dt[place], &x.x[place * p..(place + 1) * p]);
                advance(state, (dt * ssd.a[head]).exp(), dt, line, b);
                for (channel, s) in state.chunks_exact(n).enumerate() {
                    y[place * p + channel] = dot(s, c) + ssd.skip_at(head, channel) * line[channel];
                }
            }
        }
    }
    Outputs { y, last }
}

/// All gradients, from those of y and of the last states.
pub fn backward(
    ssd: &Ssd<'_, f64>,
    x: &Inputs<'_, f64>,
    initial: Option<&[f64]>,
    dy: &[f64],
    dlast: Option<&[f64]>,
) -> AllGradients {
    let Ssd { heads: h, width: p, groups: g, states: n, .. } = *ssd;
    let (skips, each) = ssd.skip_len().unwrap_or((0, 0));
    let mut to = AllGradients {
        x: vec![0.0; x.x.len()],
        dt: vec![0.0; x.dt.len()],
        b: vec![0.0; x.b.len()],
        c: vec![0.0; x.c.len()],
        a: vec![0.0; h],
        skip: vec![0.0; skips],
        initial: dlast.map_or_else(|| vec![0.0; ssd.state_len()], <[f64]>::to_vec),
    };
    for (sequence, rows) in ssd.sequences.iter().enumerate() {
        for head in 0..h {
            let own = (sequence * h + head) * p * n..(sequence * h + head + 1) * p * n;
            let at = |row: usize| (row * h + head, (row * g + ssd.group_of(head)) * n);
            // The states before each step and after the last.
            let mut states = vec![initial.map_or_else(|| vec![0.0; p * n], |s| s[own.clone()].to_vec())];
            for row in rows.clone() {
                let (place, shared) = at(row);
                let mut state = states[states.len() - 1].clone();
                let alpha = (x.dt[place] * ssd.a[head]).exp();
                advance(&mut state, alpha, x.dt[place], &x.x[place * p..(place + 1) * p], &x.b[shared..shared + n]);
                states.push(state);
            }
            let dstate = &mut to.initial[own];
            for row in rows.clone().rev() {
                let (place, shared) = at(row);
                let (before, after) = (&states[row - rows.start], &states[row - rows.start + 1]);
                let dt = x.dt[place];
                let alpha = (dt * ssd.a[head]).exp();
                let (b, c) = (&x.b[shared..shared + n], &x.c[shared..shared + n]);
                let mut through_input = 0.0;
                for channel in 0..p {
                    let (v, g) = (x.x[place * p + channel], dy[place * p + channel]);
                    let line = channel * n..(channel + 1) * n;
                    for (k, d) in line.clone().zip(&mut dstate[line.clone()]) {
                        *d += g * c[k % n];
                        to.c[shared + k % n] += g * after[k];
                        to.b[shared + k % n] += dt * *d * v;
                    }
                    let db = dot(&dstate[line], b);
                    to.x[place * p + channel] = ssd.skip_at(head, channel) * g + dt * db;
                    through_input += db * v;
                    if each > 0 {
                        to.skip[if each == 1 { head } else { head * p + channel }] += g * v;
                    }
                }
                let dalpha = dot(dstate, before);
                to.dt[place] = through_input + ssd.a[head] * alpha * dalpha;
                to.a[head] += dt * alpha * dalpha;
                dstate.iter_mut().for_each(|d| *d *= alpha);
            }
        }
    }
    to
}
