//! The definition: the recurrence and its gradient in `f64`, one direction, channel and cell after the other.

use super::{Inputs, Ss2d};

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// All gradients, each as long as what it is the gradient of; empty for inputs that are not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AllGradients {
    pub u: Vec<f64>,
    pub delta: Vec<f64>,
    pub b: Vec<f64>,
    pub c: Vec<f64>,
    pub a: Vec<f64>,
    pub skip: Vec<f64>,
    pub delta_bias: Vec<f64>,
}

/// Direction k of channel c of element e: gives `visit` the cell of each step among all cells, Δ with its slope, and the states before
/// and after the step.
fn walk(
    scan: &Ss2d<'_, f64>,
    x: &Inputs<'_, f64>,
    [e, k, c]: [usize; 3],
    mut visit: impl FnMut(usize, (f64, f64), &[f64], &[f64]),
) {
    let (d, n, directions) = (scan.channels, scan.states, scan.directions.len());
    let mut h = vec![0.0; n];
    for step in 0..scan.grid.cells() {
        let cell = e * scan.grid.cells() + scan.grid.cell(scan.directions[k], step);
        let line = cell * directions + k;
        let raw = x.delta[line * d + c] + scan.delta_bias.map_or(0.0, |b| b[k * d + c]);
        let (delta, slope) = if scan.softplus { (softplus(raw), sigmoid(raw)) } else { (raw, 1.0) };
        let before = h.clone();
        for s in 0..n {
            h[s] = (delta * scan.a[(k * d + c) * n + s]).exp() * h[s] + delta * x.b[line * n + s] * x.u[cell * d + c];
        }
        visit(cell, (delta, slope), &before, &h);
    }
}

/// Every (element, direction, channel).
fn each(scan: &Ss2d<'_, f64>) -> impl Iterator<Item = [usize; 3]> + use<> {
    let (d, directions) = (scan.channels, scan.directions.len());
    (0..scan.batch * directions * d).map(move |i| [i / d / directions, i / d % directions, i % d])
}

/// y.
pub fn forward(scan: &Ss2d<'_, f64>, x: &Inputs<'_, f64>) -> Vec<f64> {
    let (d, n, directions) = (scan.channels, scan.states, scan.directions.len());
    let mut y = vec![0.0; x.u.len()];
    for [e, k, c] in each(scan) {
        walk(scan, x, [e, k, c], |cell, _, _, h| {
            let couplings = &x.c[(cell * directions + k) * n..][..n];
            y[cell * d + c] += scan.skip.map_or(0.0, |skip| skip[k * d + c] * x.u[cell * d + c]);
            y[cell * d + c] += h.iter().zip(couplings).map(|(h, c)| h * c).sum::<f64>();
        });
    }
    y
}

/// From the gradient of y.
pub fn backward(scan: &Ss2d<'_, f64>, x: &Inputs<'_, f64>, dy: &[f64]) -> AllGradients {
    let (d, n, directions) = (scan.channels, scan.states, scan.directions.len());
    let zeros = |len: usize| vec![0.0; len];
    let mut to = AllGradients {
        u: zeros(x.u.len()),
        delta: zeros(x.delta.len()),
        b: zeros(x.b.len()),
        c: zeros(x.c.len()),
        a: zeros(scan.a.len()),
        skip: zeros(scan.skip.map_or(0, <[f64]>::len)),
        delta_bias: zeros(scan.delta_bias.map_or(0, <[f64]>::len)),
    };
    for [e, k, c] in each(scan) {
        let mut steps = Vec::new();
        walk(scan, x, [e, k, c], |cell, delta, before, after| steps.push((cell, delta, before.to_vec(), after.to_vec())));
        let (channel, mut dh) = (k * d + c, vec![0.0; n]);
        for (cell, (delta, slope), before, after) in steps.into_iter().rev() {
            let (u, dy, line) = (x.u[cell * d + c], dy[cell * d + c], cell * directions + k);
            if let Some(skip) = scan.skip {
                to.skip[channel] += dy * u;
                to.u[cell * d + c] += dy * skip[channel];
            }
            let mut ddelta = 0.0;
            for s in 0..n {
                let (a, b) = (scan.a[channel * n + s], x.b[line * n + s]);
                dh[s] += dy * x.c[line * n + s];
                to.c[line * n + s] += dy * after[s];
                to.b[line * n + s] += dh[s] * delta * u;
                to.u[cell * d + c] += dh[s] * delta * b;
                let decay = (delta * a).exp();
                let dexponent = dh[s] * before[s] * decay;
                to.a[channel * n + s] += delta * dexponent;
                ddelta += a * dexponent + dh[s] * b * u;
                dh[s] *= decay;
            }
            to.delta[line * d + c] = ddelta * slope;
            if let Some(dbias) = to.delta_bias.get_mut(channel) {
                *dbias += ddelta * slope;
            }
        }
    }
    to
}
