//! The definition: the recurrence and its gradient in `f64`, one step after the other.

use super::LowRank;

/// The gradients of b, U, V and the first states.
#[derive(Debug, Clone, PartialEq)]
pub struct AllGradients {
    pub b: Vec<f64>,
    pub u: Vec<f64>,
    pub v: Vec<f64>,
    pub initial: Vec<f64>,
}

/// Σ_i m\[i, k\]·x\[i\] for each k.
fn project(of: &LowRank<'_, f64>, m: &[f64], x: &[f64]) -> Vec<f64> {
    (0..of.rank).map(|k| (0..of.states).map(|i| m[i * of.rank + k] * x[i]).sum()).collect()
}

/// Σ_k m\[i, k\]·g\[k\] for each i.
fn expand(of: &LowRank<'_, f64>, m: &[f64], g: &[f64]) -> Vec<f64> {
    (0..of.states).map(|i| (0..of.rank).map(|k| m[i * of.rank + k] * g[k]).sum()).collect()
}

/// The state of a line before a row: that of the row before it, or the initial one.
fn before(of: &LowRank<'_, f64>, h: &[f64], initial: Option<&[f64]>, [sequence, row, line]: [usize; 3]) -> Vec<f64> {
    let (m, n) = (of.lines, of.states);
    match (row == of.sequences.range(sequence).start, initial) {
        (false, _) => h[((row - 1) * m + line) * n..][..n].to_vec(),
        (true, Some(initial)) => initial[(sequence * m + line) * n..][..n].to_vec(),
        (true, None) => vec![0.0; n],
    }
}

/// The states after each step, and after the last ones.
pub fn forward(of: &LowRank<'_, f64>, b: &[f64], initial: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
    let (m, n) = (of.lines, of.states);
    let mut h = vec![0.0; b.len()];
    let mut last = initial.map_or_else(|| vec![0.0; of.state_len()], <[f64]>::to_vec);
    for (s, rows) in of.sequences.iter().enumerate() {
        for row in rows {
            for line in 0..m {
                let g = project(of, of.v, &before(of, &h, initial, [s, row, line]));
                for (i, x) in expand(of, of.u, &g).into_iter().enumerate() {
                    h[(row * m + line) * n + i] = x + b[(row * m + line) * n + i];
                }
            }
            last[s * m * n..(s + 1) * m * n].copy_from_slice(&h[row * m * n..(row + 1) * m * n]);
        }
    }
    (h, last)
}

/// From the result `h` and the gradients of h and of the last states (zeros without).
pub fn backward(of: &LowRank<'_, f64>, h: &[f64], initial: Option<&[f64]>, dh: &[f64], dlast: Option<&[f64]>) -> AllGradients {
    let (m, n, r) = (of.lines, of.states, of.rank);
    let mut to = AllGradients {
        b: vec![0.0; h.len()],
        u: vec![0.0; n * r],
        v: vec![0.0; n * r],
        initial: dlast.map_or_else(|| vec![0.0; of.state_len()], <[f64]>::to_vec),
    };
    for (s, rows) in of.sequences.iter().enumerate() {
        for line in 0..m {
            let state = (s * m + line) * n..(s * m + line + 1) * n;
            for row in rows.clone().rev() {
                let place = (row * m + line) * n;
                let total: Vec<f64> = (0..n).map(|i| to.initial[state.start + i] + dh[place + i]).collect();
                to.b[place..place + n].copy_from_slice(&total);
                let earlier = before(of, h, initial, [s, row, line]);
                let (g, dg) = (project(of, of.v, &earlier), project(of, of.u, &total));
                for i in 0..n {
                    for k in 0..r {
                        to.u[i * r + k] += total[i] * g[k];
                        to.v[i * r + k] += earlier[i] * dg[k];
                    }
                }
                to.initial[state.clone()].copy_from_slice(&expand(of, of.v, &dg));
            }
        }
    }
    to
}
