//! The definition: the recurrence and its gradient in `f64`, one channel and step after the other.

use super::{Inputs, SelectiveScan};

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Everything the forward pass gives: `out`, and the states after the last steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    pub out: Vec<f64>,
    pub last: Vec<f64>,
}

/// All gradients, each as long as what it is the gradient of; empty for inputs that are not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AllGradients {
    pub u: Vec<f64>,
    pub delta: Vec<f64>,
    pub b: Vec<f64>,
    pub c: Vec<f64>,
    pub z: Vec<f64>,
    pub a: Vec<f64>,
    pub skip: Vec<f64>,
    pub delta_bias: Vec<f64>,
    pub initial: Vec<f64>,
}

/// Δ, and its slope in δ.
fn step_size(scan: &SelectiveScan<'_, f64>, delta: f64, channel: usize) -> (f64, f64) {
    let raw = delta + scan.delta_bias.map_or(0.0, |b| b[channel]);
    if scan.softplus { (softplus(raw), sigmoid(raw)) } else { (raw, 1.0) }
}

/// The scan, and every state after every step for the gradient.
fn run(scan: &SelectiveScan<'_, f64>, x: &Inputs<'_, f64>, initial: Option<&[f64]>) -> (Outputs, Vec<f64>) {
    let (d, n, g) = (scan.channels, scan.states, scan.groups);
    let mut out = vec![0.0; x.u.len()];
    let mut last = initial.map_or_else(|| vec![0.0; scan.state_len()], <[f64]>::to_vec);
    let mut states = vec![0.0; x.u.len() * n];
    for (s, rows) in scan.sequences.iter().enumerate() {
        for c in 0..d {
            let h = &mut last[(s * d + c) * n..][..n];
            let group = c / (d / g);
            for row in rows.clone() {
                let (u, (delta, _)) = (x.u[row * d + c], step_size(scan, x.delta[row * d + c], c));
                let mut y = scan.skip.map_or(0.0, |skip| skip[c] * u);
                for k in 0..n {
                    let coupling = (row * g + group) * n + k;
                    h[k] = (delta * scan.a[c * n + k]).exp() * h[k] + delta * x.b[coupling] * u;
                    y += x.c[coupling] * h[k];
                    states[(row * d + c) * n + k] = h[k];
                }
                out[row * d + c] = y * x.z.map_or(1.0, |z| z[row * d + c] * sigmoid(z[row * d + c]));
            }
        }
    }
    (Outputs { out, last }, states)
}

/// `initial`: the states before the first steps, zeros without.
pub fn forward(scan: &SelectiveScan<'_, f64>, x: &Inputs<'_, f64>, initial: Option<&[f64]>) -> Outputs {
    run(scan, x, initial).0
}

/// From the gradients of `out` and of the last states (zeros without).
pub fn backward(
    scan: &SelectiveScan<'_, f64>,
    x: &Inputs<'_, f64>,
    initial: Option<&[f64]>,
    dout: &[f64],
    dlast: Option<&[f64]>,
) -> AllGradients {
    let (d, n, g) = (scan.channels, scan.states, scan.groups);
    let (_, states) = run(scan, x, initial);
    let zeros = |len: usize| vec![0.0; len];
    let mut to = AllGradients {
        u: zeros(x.u.len()),
        delta: zeros(x.u.len()),
        b: zeros(x.b.len()),
        c: zeros(x.c.len()),
        z: zeros(x.z.map_or(0, <[f64]>::len)),
        a: zeros(scan.a.len()),
        skip: zeros(scan.skip.map_or(0, <[f64]>::len)),
        delta_bias: zeros(scan.delta_bias.map_or(0, <[f64]>::len)),
        initial: dlast.map_or_else(|| zeros(scan.state_len()), <[f64]>::to_vec),
    };
    for (s, rows) in scan.sequences.iter().enumerate() {
        for c in 0..d {
            let group = c / (d / g);
            let dh = &mut to.initial[(s * d + c) * n..][..n];
            for row in rows.clone().rev() {
                let at = row * d + c;
                let (u, (delta, slope)) = (x.u[at], step_size(scan, x.delta[at], c));
                let skip = scan.skip.map_or(0.0, |skip| skip[c]);
                let h = &states[at * n..(at + 1) * n];
                let couplings = (row * g + group) * n..(row * g + group + 1) * n;
                let (b, c_of) = (&x.b[couplings.clone()], &x.c[couplings.clone()]);
                let mut dy = dout[at];
                if let Some(z) = x.z {
                    let y = skip * u + h.iter().zip(c_of).map(|(h, c)| h * c).sum::<f64>();
                    let s = sigmoid(z[at]);
                    to.z[at] = dout[at] * y * s * (1.0 + z[at] * (1.0 - s));
                    dy *= z[at] * s;
                }
                if let Some(dskip) = to.skip.get_mut(c) {
                    *dskip += dy * u;
                }
                to.u[at] = skip * dy;
                let mut ddelta = 0.0;
                for k in 0..n {
                    let before = if row == rows.start {
                        initial.map_or(0.0, |h| h[(s * d + c) * n + k])
                    } else {
                        states[(at - d) * n + k]
                    };
                    dh[k] += dy * c_of[k];
                    to.c[couplings.start + k] += dy * h[k];
                    to.b[couplings.start + k] += dh[k] * delta * u;
                    to.u[at] += delta * dh[k] * b[k];
                    let decay = (delta * scan.a[c * n + k]).exp();
                    let dexponent = dh[k] * before * decay;
                    to.a[c * n + k] += delta * dexponent;
                    ddelta += scan.a[c * n + k] * dexponent + dh[k] * b[k] * u;
                    dh[k] *= decay;
                }
                to.delta[at] = ddelta * slope;
                if let Some(dbias) = to.delta_bias.get_mut(c) {
                    *dbias += ddelta * slope;
                }
            }
        }
    }
    to
}
