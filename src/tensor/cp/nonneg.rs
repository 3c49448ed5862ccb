//! Non-negative least squares from normal equations: `min ‖·‖` over u ≥ 0 with the matrix G and the right side w of every row.

use rayon::prelude::*;

use super::solve::Factored;

/// Inner sweeps of HALS at most.
const SWEEPS: usize = 100;
/// Inner sweeps end when they change less than this share of what the first one changed (squared).
const ENOUGH: f64 = 1e-2;
/// Rows of a task.
const ROWS: usize = 512;

/// One pass over the components of one row; Σ of squared changes.
#[inline]
fn pass(u: &mut [f64], w: &[f64], g: &[f64], r: usize) -> f64 {
    let mut change = 0.0;
    for c in 0..r {
        let own = g[c * r + c];
        if own == 0.0 {
            continue;
        }
        let dot: f64 = u.iter().zip(&g[c * r..][..r]).map(|(a, b)| a * b).sum();
        let new = (u[c] + (w[c] - dot) / own).max(0.0);
        change += (new - u[c]) * (new - u[c]);
        u[c] = new;
    }
    change
}

/// Hierarchical ALS on all rows of `u` (I, R): `u_c ← max(0, u_c + (w_c − (u G)_c) / G_cc)`, component by component, until the inner sweeps
/// change little. All rows stop together.
pub fn hals(u: &mut [f64], w: &[f64], g: &[f64], r: usize) {
    let mut first = 0.0;
    for sweep in 0..SWEEPS {
        let parts: Vec<f64> = u
            .par_chunks_mut(ROWS * r)
            .zip(w.par_chunks(ROWS * r))
            .map(|(u, w)| u.chunks_exact_mut(r).zip(w.chunks_exact(r)).map(|(u, w)| pass(u, w, g, r)).sum())
            .collect();
        let change: f64 = parts.iter().sum();
        if sweep == 0 {
            first = change;
        }
        if !(change >= ENOUGH * first && change > 0.0) {
            break;
        }
    }
}

/// [`hals`] for a row with a matrix of its own.
pub fn hals_row(u: &mut [f64], w: &[f64], g: &[f64], r: usize) {
    let first = pass(u, w, g, r);
    for _ in 1..SWEEPS {
        let change = pass(u, w, g, r);
        if !(change >= ENOUGH * first && change > 0.0) {
            break;
        }
    }
}

/// The exact solution of one row by an active set (Lawson & Hanson 1974, on normal equations as Bro & De Jong 1997).
pub fn active_set_row(u: &mut [f64], w: &[f64], g: &[f64], r: usize) {
    u.fill(0.0);
    let mut free = vec![false; r];
    let peak = w.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    // Gradients below this are rounding.
    let tol = 10.0 * r as f64 * f64::EPSILON * peak;
    let solve = |free: &[bool]| -> Vec<f64> {
        let at: Vec<usize> = (0..r).filter(|&c| free[c]).collect();
        let sub: Vec<f64> = at.iter().flat_map(|&i| at.iter().map(move |&j| g[i * r + j])).collect();
        let mut x: Vec<f64> = at.iter().map(|&c| w[c]).collect();
        Factored::new(&sub, at.len()).row(at.len(), &mut x);
        let mut all = vec![0.0; r];
        at.iter().zip(x).for_each(|(&c, x)| all[c] = x);
        all
    };
    // Every round frees one component; 3 R rounds are far more than needed, and end cycles that rounding could make.
    for _ in 0..3 * r {
        let gradient = |c: usize| w[c] - u.iter().zip(&g[c * r..][..r]).map(|(a, b)| a * b).sum::<f64>();
        let entering =
            (0..r).filter(|&c| !free[c] && g[c * r + c] > 0.0).map(|c| (c, gradient(c))).max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((c, _)) = entering.filter(|&(_, d)| d > tol) else { break };
        free[c] = true;
        loop {
            let s = solve(&free);
            // How far towards s before a component becomes negative, and which one.
            let ratio = |c: usize| if u[c] > 0.0 { u[c] / (u[c] - s[c]) } else { 0.0 };
            let first = (0..r).filter(|&c| free[c] && s[c] <= 0.0).map(|c| (c, ratio(c))).min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((leaving, step)) = first else {
                u.copy_from_slice(&s);
                break;
            };
            for c in (0..r).filter(|&c| free[c]) {
                u[c] = (u[c] + step * (s[c] - u[c])).max(0.0);
            }
            (u[leaving], free[leaving]) = (0.0, false);
        }
    }
}

/// [`active_set_row`] for all rows of one matrix.
pub fn active_set(u: &mut [f64], w: &[f64], g: &[f64], r: usize) {
    u.par_chunks_mut(ROWS * r)
        .zip(w.par_chunks(ROWS * r))
        .for_each(|(u, w)| u.chunks_exact_mut(r).zip(w.chunks_exact(r)).for_each(|(u, w)| active_set_row(u, w, g, r)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G = AᵀA and w = Aᵀb of a fixed problem without structure.
    fn problem(r: usize, seed: usize) -> (Vec<f64>, Vec<f64>) {
        let rows = r + 3;
        let at = |k: usize| ((k * 7919 + seed * 104_729) % 1009) as f64 / 504.5 - 1.0;
        let a: Vec<f64> = (0..rows * r).map(at).collect();
        let b: Vec<f64> = (0..rows).map(|k| at(k + 5000)).collect();
        let g = (0..r * r).map(|k| (0..rows).map(|i| a[i * r + k / r] * a[i * r + k % r]).sum()).collect();
        let w = (0..r).map(|c| (0..rows).map(|i| a[i * r + c] * b[i]).sum()).collect();
        (g, w)
    }

    #[test]
    fn active_set_meets_the_optimality_conditions_and_hals_goes_there() {
        for r in 1..=7 {
            for seed in 0..20 {
                let (g, w) = problem(r, seed);
                let mut u = vec![0.0; r];
                active_set_row(&mut u, &w, &g, r);
                let gradient: Vec<f64> = (0..r).map(|c| w[c] - (0..r).map(|d| g[c * r + d] * u[d]).sum::<f64>()).collect();
                for c in 0..r {
                    // Rounding of a solve with condition numbers up to 1e4 and entries of order 10.
                    assert!(u[c] >= 0.0 && gradient[c] <= 1e-10, "r {r} seed {seed}: {u:?} {gradient:?}");
                    assert!(u[c] == 0.0 || gradient[c].abs() <= 1e-10, "r {r} seed {seed}: {u:?} {gradient:?}");
                }
                let mut v = vec![0.5; r];
                for _ in 0..20_000 {
                    pass(&mut v, &w, &g, r);
                }
                // By the value and not the place: some of the problems are singular.
                let value = |u: &[f64]| -> f64 {
                    (0..r).map(|c| u[c] * (0.5 * (0..r).map(|d| g[c * r + d] * u[d]).sum::<f64>() - w[c])).sum()
                };
                assert!((value(&u) - value(&v)).abs() < 1e-8, "r {r} seed {seed}: {u:?} {v:?}");
            }
        }
    }

    #[test]
    fn a_component_without_support_is_left_alone() {
        let g = [1.0, 0.0, 0.0, 0.0];
        let mut u = [3.0, 7.0];
        hals(&mut u, &[2.0, 5.0], &g, 2);
        assert_eq!(u, [2.0, 7.0]);
        active_set(&mut u, &[2.0, 5.0], &g, 2);
        assert_eq!(u, [2.0, 0.0]);
    }
}
