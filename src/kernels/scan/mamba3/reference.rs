//! The recurrence and its gradient in f64, one number after the other: the definition.

use super::{Inputs, Mamba3, Rotation, States};
use std::f64::consts::{PI, TAU};

/// [`States`] that are owned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    pub angle: Vec<f64>,
    pub state: Vec<f64>,
    pub key: Vec<f64>,
    pub value: Vec<f64>,
}

impl Carried {
    fn zeros(scan: &Mamba3<'_, f64>) -> Self {
        let [angle, state, key, value] = scan.state_sizes().map(|n| vec![0.0; n]);
        Self { angle, state, key, value }
    }

    /// As arguments.
    pub fn states(&self) -> States<'_, f64> {
        States { angle: &self.angle, state: &self.state, key: &self.key, value: &self.value }
    }
}

/// Gradients of all inputs and parameters; empty where the scan has no such parameter.
#[derive(Clone, Debug, Default)]
pub struct All {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub x: Vec<f64>,
    pub z: Vec<f64>,
    pub log_decay: Vec<f64>,
    pub dt: Vec<f64>,
    pub trap: Vec<f64>,
    pub angles: Vec<f64>,
    pub q_bias: Vec<f64>,
    pub k_bias: Vec<f64>,
    pub skip: Vec<f64>,
    pub mix_x: Vec<f64>,
    pub mix_z: Vec<f64>,
    pub mix_out: Vec<f64>,
    pub norm: Vec<f64>,
    pub initial: Carried,
}

/// What one head of one sequence is made of.
struct Head<'a> {
    scan: &'a Mamba3<'a, f64>,
    x: &'a Inputs<'a, f64>,
    head: usize,
    sequence: usize,
    first: usize,
    len: usize,
    /// θ for each step.
    theta: Vec<Vec<f64>>,
    /// Rotated, for each step (rank, n). `k` starts with that before the first step.
    q: Vec<Vec<f64>>,
    k: Vec<Vec<f64>>,
    /// mx∘x, (rank, p), starting with that before the first step.
    v: Vec<Vec<f64>>,
    /// S, starting with that before the first step.
    state: Vec<Vec<f64>>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl<'a> Head<'a> {
    fn pair(&self, i: usize) -> (usize, usize) {
        match self.scan.rotation {
            Rotation::Pairwise => (2 * i, 2 * i + 1),
            Rotation::Halves => (i, i + self.scan.states / 2),
        }
    }

    /// Turns (rank, n) by the angles times `sign`.
    fn turn(&self, x: &mut [f64], theta: &[f64], sign: f64) {
        for row in x.chunks_mut(self.scan.states) {
            for (i, theta) in theta.iter().enumerate() {
                let ((a, b), (sin, cos)) = (self.pair(i), (sign * theta).sin_cos());
                (row[a], row[b]) = (row[a] * cos - row[b] * sin, row[a] * sin + row[b] * cos);
            }
        }
    }

    fn row(&self, t: usize) -> usize {
        (self.first + t) * self.scan.heads + self.head
    }

    /// α, β, γ, λ, Δ of a step.
    fn numbers(&self, t: usize) -> [f64; 5] {
        let (dt, lambda) = (self.x.dt[self.row(t)], sigmoid(self.x.trap[self.row(t)]));
        let alpha = self.x.log_decay[self.row(t)].exp();
        [alpha, (1.0 - lambda) * dt * alpha, lambda * dt, lambda, dt]
    }

    fn raw_angle(&self, t: usize, i: usize) -> usize {
        let s = self.scan.angles;
        if self.scan.shared_angles { (self.first + t) * s + i } else { self.row(t) * s + i }
    }

    /// The place in Q and K of a step, rank and state.
    fn shared(&self, t: usize, r: usize, i: usize) -> usize {
        let Mamba3 { heads, groups, states: n, rank, .. } = *self.scan;
        (((self.first + t) * rank + r) * groups + self.head / (heads / groups)) * n + i
    }

    fn mixed(&self, x: &[f64]) -> Vec<f64> {
        let (p, rank) = (self.scan.width, self.scan.rank);
        let mix = |i: usize| self.scan.mix_x.map_or(1.0, |m| m[self.head * rank * p + i]);
        (0..rank * p).map(|i| mix(i) * x[i % p]).collect()
    }

    fn new(scan: &'a Mamba3<'a, f64>, x: &'a Inputs<'a, f64>, initial: &Carried, sequence: usize, head: usize) -> Self {
        let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *scan;
        let rows = scan.sequences.range(sequence);
        let mut this = Self {
            scan,
            x,
            head,
            sequence,
            first: rows.start,
            len: rows.len(),
            theta: Vec::new(),
            q: Vec::new(),
            k: Vec::new(),
            v: Vec::new(),
            state: Vec::new(),
        };
        let at = sequence * heads + head;
        let mut theta = initial.angle[at * s..(at + 1) * s].to_vec();
        let key = |r: usize| &initial.key[((sequence * rank + r) * heads + head) * n..][..n];
        this.k.push((0..rank).flat_map(key).copied().collect());
        this.v.push(this.mixed(&initial.value[at * p..]));
        this.state.push(initial.state[at * p * n..(at + 1) * p * n].to_vec());
        for t in 0..this.len {
            let [alpha, beta, gamma, _, dt] = this.numbers(t);
            for (i, theta) in theta.iter_mut().enumerate() {
                *theta = (*theta + PI * x.angles[this.raw_angle(t, i)].tanh() * dt).rem_euclid(TAU);
            }
            let with_bias = |data: &[f64], bias: &[f64]| -> Vec<f64> {
                (0..rank * n).map(|i| data[this.shared(t, i / n, i % n)] + bias[head * rank * n + i]).collect()
            };
            let (mut q, mut k) = (with_bias(x.q, scan.q_bias), with_bias(x.k, scan.k_bias));
            this.turn(&mut q, &theta, 1.0);
            this.turn(&mut k, &theta, 1.0);
            let v = this.mixed(&x.x[this.row(t) * p..]);
            let term = |v: &[f64], k: &[f64], c: usize, i: usize| (0..rank).map(|r| v[r * p + c] * k[r * n + i]).sum::<f64>();
            let state = (0..p * n).map(|at| {
                let (c, i) = (at / n, at % n);
                alpha * this.state[t][at] + beta * term(&this.v[t], &this.k[t], c, i) + gamma * term(&v, &k, c, i)
            });
            let state = state.collect();
            this.theta.push(theta.clone());
            this.q.push(q);
            this.k.push(k);
            this.v.push(v);
            this.state.push(state);
        }
        if this.len == 0 {
            this.theta.push(theta);
        }
        this
    }

    /// o of a step, (rank, p).
    fn output(&self, t: usize) -> Vec<f64> {
        let Mamba3 { width: p, states: n, rank, .. } = *self.scan;
        let skip = self.scan.skip.map_or(0.0, |d| d[self.head]);
        let one = |r: usize, c: usize| {
            let sum: f64 = (0..n).map(|i| self.state[t + 1][c * n + i] * self.q[t][r * n + i]).sum();
            sum + skip * self.v[t + 1][r * p + c]
        };
        (0..rank * p).map(|i| one(i / p, i % p)).collect()
    }

    /// 1 / √(mean of squares + eps) of a row, if there is a norm.
    fn inverse(&self, o: &[f64]) -> f64 {
        self.scan.norm.map_or(1.0, |m| 1.0 / (o.iter().map(|x| x * x).sum::<f64>() / o.len() as f64 + m.eps).sqrt())
    }

    fn result(&self, t: usize) -> Vec<f64> {
        let Mamba3 { width: p, rank, .. } = *self.scan;
        let mut out = vec![0.0; p];
        for (r, o) in self.output(t).chunks(p).enumerate() {
            let inverse = self.inverse(o);
            for (c, o) in o.iter().enumerate() {
                let at = (self.head * rank + r) * p + c;
                let weight = self.scan.norm.map_or(1.0, |m| m.weight[self.head * p + c]);
                let z = self.x.z.map(|z| z[self.row(t) * p + c] * self.scan.mix_z.map_or(1.0, |m| m[at]));
                out[c] += self.scan.mix_out.map_or(1.0, |m| m[at]) * o * inverse * weight * z.map_or(1.0, |z| z * sigmoid(z));
            }
        }
        out
    }
}

/// The result and the states after the last steps.
pub fn forward(scan: &Mamba3<'_, f64>, x: &Inputs<'_, f64>, initial: Option<&Carried>) -> (Vec<f64>, Carried) {
    let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *scan;
    let zeros = Carried::zeros(scan);
    let initial = initial.unwrap_or(&zeros);
    let (mut out, mut last) = (vec![0.0; x.x.len()], initial.clone());
    for sequence in 0..scan.sequences.count() {
        for head in 0..heads {
            let h = Head::new(scan, x, initial, sequence, head);
            for t in 0..h.len {
                out[h.row(t) * p..][..p].copy_from_slice(&h.result(t));
            }
            if h.len > 0 {
                let at = sequence * heads + head;
                last.angle[at * s..][..s].copy_from_slice(&h.theta[h.len - 1]);
                last.state[at * p * n..][..p * n].copy_from_slice(&h.state[h.len]);
                last.value[at * p..][..p].copy_from_slice(&x.x[h.row(h.len - 1) * p..][..p]);
                for r in 0..rank {
                    let key = &h.k[h.len][r * n..(r + 1) * n];
                    last.key[((sequence * rank + r) * heads + head) * n..][..n].copy_from_slice(key);
                }
            }
        }
    }
    (out, last)
}

/// All gradients, from those of the result and of the states after the last steps.
pub fn backward(
    scan: &Mamba3<'_, f64>,
    x: &Inputs<'_, f64>,
    initial: Option<&Carried>,
    dout: &[f64],
    dlast: Option<&Carried>,
) -> All {
    let zeros = Carried::zeros(scan);
    let (initial, dlast) = (initial.unwrap_or(&zeros), dlast.unwrap_or(&zeros));
    let like = |x: &[f64]| vec![0.0; x.len()];
    let some = |x: Option<&[f64]>| x.map_or(Vec::new(), like);
    let mut d = All {
        q: like(x.q),
        k: like(x.k),
        x: like(x.x),
        z: some(x.z),
        log_decay: like(x.dt),
        dt: like(x.dt),
        trap: like(x.dt),
        angles: like(x.angles),
        q_bias: like(scan.q_bias),
        k_bias: like(scan.k_bias),
        skip: some(scan.skip),
        mix_x: some(scan.mix_x),
        mix_z: some(scan.mix_z),
        mix_out: some(scan.mix_out),
        norm: some(scan.norm.map(|m| m.weight)),
        initial: dlast.clone(),
    };
    for sequence in 0..scan.sequences.count() {
        for head in 0..scan.heads {
            back(&Head::new(scan, x, initial, sequence, head), initial, dout, dlast, &mut d);
        }
    }
    d
}

/// From the gradient of the result of a step to that of o; adds to those of z and of the parameters of the gate.
fn gate(h: &Head<'_>, t: usize, dout: &[f64], d: &mut All) -> Vec<f64> {
    let Mamba3 { width: p, rank, .. } = *h.scan;
    let mut d_o = vec![0.0; rank * p];
    for (r, o) in h.output(t).chunks(p).enumerate() {
        let inverse = h.inverse(o);
        let weight = |c: usize| h.scan.norm.map_or(1.0, |m| m.weight[h.head * p + c]);
        let mut dy = vec![0.0; p];
        for c in 0..p {
            let (g, at, place) = (dout[h.row(t) * p + c], (h.head * rank + r) * p + c, h.row(t) * p + c);
            let mix = h.scan.mix_out.map_or(1.0, |m| m[at]);
            let y = o[c] * inverse * weight(c);
            let mut silu = 1.0;
            if let Some(raw) = h.x.z {
                let mix_z = h.scan.mix_z.map_or(1.0, |m| m[at]);
                let z = raw[place] * mix_z;
                let sigma = sigmoid(z);
                silu = z * sigma;
                let dz = g * mix * y * sigma * (1.0 + z * (1.0 - sigma));
                d.z[place] += dz * mix_z;
                if h.scan.mix_z.is_some() {
                    d.mix_z[at] += dz * raw[place];
                }
            }
            if h.scan.mix_out.is_some() {
                d.mix_out[at] += g * y * silu;
            }
            dy[c] = g * mix * silu;
        }
        if h.scan.norm.is_some() {
            let mean = (0..p).map(|c| dy[c] * weight(c) * o[c] * inverse).sum::<f64>() / p as f64;
            for c in 0..p {
                d.norm[h.head * p + c] += dy[c] * o[c] * inverse;
                d_o[r * p + c] = inverse * (dy[c] * weight(c) - o[c] * inverse * mean);
            }
        } else {
            d_o[r * p..(r + 1) * p].copy_from_slice(&dy);
        }
    }
    d_o
}

fn back(h: &Head<'_>, initial: &Carried, dout: &[f64], dlast: &Carried, d: &mut All) {
    let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *h.scan;
    if h.len == 0 {
        return;
    }
    let (head, at) = (h.head, h.sequence * heads + h.head);
    let key_at = |r: usize| ((h.sequence * rank + r) * heads + head) * n;
    let mut dstate = dlast.state[at * p * n..][..p * n].to_vec();
    // θ's gradients from the last step down to this one.
    let mut behind = dlast.angle[at * s..][..s].to_vec();
    // Of v and k of a step, from the step after it.
    let (mut dv_next, mut dk_next) = (vec![0.0; rank * p], vec![0.0; rank * n]);
    for r in 0..rank {
        dk_next[r * n..][..n].copy_from_slice(&dlast.key[key_at(r)..][..n]);
    }
    let mut dx_last = dlast.value[at * p..][..p].to_vec();
    let dot = |a: &[f64], v: &[f64], k: &[f64]| -> f64 {
        (0..p * n).map(|i| a[i] * (0..rank).map(|r| v[r * p + i / n] * k[r * n + i % n]).sum::<f64>()).sum()
    };
    // (Σ_i dS[c, i] k_r[i], Σ_c dS[c, i] v_r[c]).
    let pull = |ds: &[f64], v: &[f64], k: &[f64]| -> (Vec<f64>, Vec<f64>) {
        let dv = (0..rank * p).map(|a| (0..n).map(|i| ds[a % p * n + i] * k[a / p * n + i]).sum()).collect();
        let dk = (0..rank * n).map(|a| (0..p).map(|c| ds[c * n + a % n] * v[a / n * p + c]).sum()).collect();
        (dv, dk)
    };
    for t in (0..h.len).rev() {
        let [alpha, beta, gamma, lambda, dt] = h.numbers(t);
        let row = h.row(t);
        let skip = h.scan.skip.map_or(0.0, |d| d[head]);
        let d_o = gate(h, t, dout, d);
        let (v, k, q) = (&h.v[t + 1], &h.k[t + 1], &h.q[t]);
        let mut dq = vec![0.0; rank * n];
        for r in 0..rank {
            for c in 0..p {
                for i in 0..n {
                    dq[r * n + i] += h.state[t + 1][c * n + i] * d_o[r * p + c];
                    dstate[c * n + i] += d_o[r * p + c] * q[r * n + i];
                }
            }
        }
        let dalpha: f64 = dstate.iter().zip(&h.state[t]).map(|(a, b)| a * b).sum();
        let (dgamma, dbeta) = (dot(&dstate, v, k), dot(&dstate, &h.v[t], &h.k[t]));
        let (mut dv, mut dk) = pull(&dstate, v, k);
        dv.iter_mut().enumerate().for_each(|(i, x)| *x = gamma * *x + dv_next[i] + skip * d_o[i]);
        dk.iter_mut().enumerate().for_each(|(i, x)| *x = gamma * *x + dk_next[i]);
        if h.scan.skip.is_some() {
            d.skip[head] += d_o.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
        }
        let (before_v, before_k) = pull(&dstate, &h.v[t], &h.k[t]);
        dv_next = before_v.iter().map(|x| beta * x).collect();
        dk_next = before_k.iter().map(|x| beta * x).collect();
        dstate.iter_mut().for_each(|x| *x *= alpha);

        d.log_decay[row] += alpha * dalpha + beta * dbeta;
        d.trap[row] += lambda * (1.0 - lambda) * dt * (dgamma - alpha * dbeta);
        d.dt[row] += lambda * dgamma + (1.0 - lambda) * alpha * dbeta;
        for (i, behind) in behind.iter_mut().enumerate() {
            let (a, b) = h.pair(i);
            for r in 0..rank {
                let (a, b) = (r * n + a, r * n + b);
                *behind += dq[b] * q[a] - dq[a] * q[b] + dk[b] * k[a] - dk[a] * k[b];
            }
            let tanh = h.x.angles[h.raw_angle(t, i)].tanh();
            d.dt[row] += PI * tanh * *behind;
            d.angles[h.raw_angle(t, i)] += PI * (1.0 - tanh * tanh) * dt * *behind;
        }
        h.turn(&mut dq, &h.theta[t], -1.0);
        h.turn(&mut dk, &h.theta[t], -1.0);
        for i in 0..rank * n {
            d.q[h.shared(t, i / n, i % n)] += dq[i];
            d.k[h.shared(t, i / n, i % n)] += dk[i];
            d.q_bias[head * rank * n + i] += dq[i];
            d.k_bias[head * rank * n + i] += dk[i];
        }
        unmix(h, &dv, &h.x.x[row * p..][..p], &mut d.x[row * p..][..p], &mut d.mix_x);
        d.x[row * p..][..p].iter_mut().zip(&mut dx_last).for_each(|(x, last)| *x += std::mem::take(last));
    }
    d.initial.state[at * p * n..][..p * n].copy_from_slice(&dstate);
    d.initial.angle[at * s..][..s].copy_from_slice(&behind);
    for r in 0..rank {
        d.initial.key[key_at(r)..][..n].copy_from_slice(&dk_next[r * n..][..n]);
    }
    let to = &mut d.initial.value[at * p..][..p];
    to.fill(0.0);
    unmix(h, &dv_next, &initial.value[at * p..][..p], to, &mut d.mix_x);
}

/// From the gradient of v to those of x and mx.
fn unmix(h: &Head<'_>, dv: &[f64], x: &[f64], dx: &mut [f64], dmix: &mut [f64]) {
    let p = h.scan.width;
    for (i, &dv) in dv.iter().enumerate() {
        let at = h.head * h.scan.rank * p + i;
        dx[i % p] += h.scan.mix_x.map_or(dv, |m| m[at] * dv);
        if h.scan.mix_x.is_some() {
            dmix[at] += dv * x[i % p];
        }
    }
}
