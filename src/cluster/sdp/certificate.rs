//! A lower bound on every k-clustering from one partition, without an n × n matrix.
//!
//! For the partition G_1..G_k the dual of the Peng–Wei programme has one solution of a simple form that is complementary to it (Iguchi,
//! Mixon, Peterson & Villar 2017, "Probably certifiably correct k-means clustering"; derived again here for half squared distances).
//! With d_i the distance of row i to its own mean, Δ_il = ‖x_i − c_l‖² − d_i² and any b such that all r below are ≥ 0:
//!
//! - a_i = d_i²/2 − b/(2 n_k) for i in G_k, so that 2Σa + kb is the inertia;
//! - r_i^(l) = n_l/2 · (Δ_il + b (1/n_k + 1/n_l)), and N is 0 within groups and r^(l) r^(k)ᵀ / Σ_{i∈G_k} r_i^(l) between G_k and G_l;
//! - S = D − a1ᵀ − 1aᵀ − bI − N vanishes on the indicator of every group.
//!
//! We take the least such b: b = −min_il Δ_il n_k n_l / (n_k + n_l). On the complement of the indicators S = −bI − P(XXᵀ + N)P, where
//! XXᵀ + N has rank d + k(k−1) at most. As 0 ⪯ Z ⪯ I on the complement of 1, ⟨S, Z⟩ is at least the sum of the k − 1 smallest
//! eigenvalues of S there, of which k − 1 are zero; so inertia + Σ min(those below zero) is a bound. Well-separated groups give exactly the
//! inertia. Overlapping groups give a weak bound, often none: then the ADMM's bound is the one to look at.

use super::dense;
use crate::cluster::ClusterError;
use crate::kernels::gemm::{MatMut, MatRef, matmul};

/// Order of the small eigenproblem at most.
const LARGEST: usize = 1500;

/// The bound, or `None` when d + k(k − 1) is above 1500. Rows (n, d), labels in 0..k with no group empty, and the means of the groups.
///
/// Cost: O(n (d + k)²) and eigenproblems of order d + k(k − 1).
pub(super) fn bound(rows: &[f64], labels: &[i32], centroids: &[f64], k: usize, d: usize) -> Result<Option<f64>, ClusterError> {
    let n = labels.len();
    let order = d + k * (k - 1);
    if order > LARGEST {
        return Ok(None);
    }
    let mut sizes = vec![0.0; k];
    labels.iter().for_each(|&l| sizes[l as usize] += 1.0);
    if sizes.contains(&0.0) {
        return Ok(None);
    }
    // Δ, (n, k), with the own distance at the own place.
    let mut delta = vec![0.0; n * k];
    let mut inertia = 0.0;
    let mut b = f64::INFINITY;
    for ((row, &label), delta) in rows.chunks_exact(d).zip(labels).zip(delta.chunks_exact_mut(k)) {
        let own = label as usize;
        delta.iter_mut().zip(centroids.chunks_exact(d)).for_each(|(v, c)| *v = super::polish::far(row, c));
        let there = delta[own];
        inertia += there;
        for l in (0..k).filter(|&l| l != own) {
            delta[l] -= there;
            b = b.min(delta[l] * sizes[own] * sizes[l] / (sizes[own] + sizes[l]));
        }
    }
    let b = -b;
    // Σ over G_k of r^(l), (k, k), and its mean.
    let mut totals = vec![0.0; k * k];
    for (&label, delta) in labels.iter().zip(delta.chunks_exact_mut(k)) {
        let own = label as usize;
        for l in (0..k).filter(|&l| l != own) {
            let r = 0.5 * sizes[l] * (delta[l] + b * (1.0 / sizes[own] + 1.0 / sizes[l]));
            delta[l] = r.max(0.0);
            totals[own * k + l] += delta[l];
        }
    }
    // Gram matrix of [X, r^(l)/√Σ of each ordered pair], columns centred within groups. Pairs of different groups do not meet.
    let width = d + k;
    let mut gram = vec![0.0; order * order];
    let pair = |own: usize, l: usize| d + own * (k - 1) + if l < own { l } else { l - 1 };
    for (own, &size) in sizes.iter().enumerate() {
        let members: Vec<usize> = (0..n).filter(|&i| labels[i] as usize == own).collect();
        let mut part = vec![0.0; members.len() * width];
        for (&i, part) in members.iter().zip(part.chunks_exact_mut(width)) {
            part[..d].iter_mut().zip(&rows[i * d..][..d]).zip(&centroids[own * d..][..d]).for_each(|((p, x), c)| *p = x - c);
            for l in (0..k).filter(|&l| l != own) {
                let total = totals[own * k + l];
                let root = (total * totals[l * k + own]).sqrt().sqrt();
                part[d + l] = if root > 0.0 { (delta[i * k + l] - total / size) / root } else { 0.0 };
            }
        }
        let mut small = vec![0.0; width * width];
        let view = MatRef::new(&part, members.len(), width);
        matmul(view.t(), view, MatMut::new(&mut small, width, width), false);
        let place = |c: usize| match c {
            c if c < d => Some(c),
            c if c - d == own => None,
            c => Some(pair(own, c - d)),
        };
        for (i, row) in small.chunks_exact(width).enumerate() {
            for (j, v) in row.iter().enumerate() {
                if let (Some(i), Some(j)) = (place(i), place(j)) {
                    gram[i * order + j] += v;
                }
            }
        }
    }
    let mut eigenvalues = with_swaps(&gram, order, |c| if c < d { c } else { swapped(c - d, k, d) })?;
    // All eigenvalues of S on the complement: −b − those, and −b itself on what is left of it.
    eigenvalues.iter_mut().for_each(|v| *v = -b - *v);
    eigenvalues.extend(std::iter::repeat_n(-b, k - 1));
    eigenvalues.sort_by(f64::total_cmp);
    let below: f64 = eigenvalues.iter().take(k - 1).map(|v| v.min(0.0)).sum();
    let size: f64 = (0..order).map(|i| gram[i * order + i]).sum::<f64>() + b.abs() + inertia;
    Ok(Some(inertia + below - k as f64 * dense::eigenvalue_error(n + order, size)))
}

/// The place of the pair (l, own) for the place of the pair (own, l).
fn swapped(pair: usize, k: usize, d: usize) -> usize {
    let (own, other) = (pair / (k - 1), pair % (k - 1));
    let l = if other < own { other } else { other + 1 };
    d + l * (k - 1) + if own < l { own } else { own - 1 }
}

/// Eigenvalues of F W Fᵀ that are not zero by rank, from G = FᵀF and the permutation W: those of √G W √G.
fn with_swaps(gram: &[f64], order: usize, swap: impl Fn(usize) -> usize) -> Result<Vec<f64>, ClusterError> {
    let eigen = dense::eigen(gram, order)?;
    // Rows of `half`: √λ · eigenvector, so G = halfᵀ half.
    let mut half = eigen.vectors;
    for (vector, value) in half.chunks_exact_mut(order).zip(&eigen.values) {
        let root = value.max(0.0).sqrt();
        vector.iter_mut().for_each(|v| *v *= root);
    }
    let turned: Vec<f64> = half.chunks_exact(order).flat_map(|row| (0..order).map(|c| row[swap(c)])).collect();
    let mut small = vec![0.0; order * order];
    matmul(
        MatRef::new(&half, order, order),
        MatRef::new(&turned, order, order).t(),
        MatMut::new(&mut small, order, order),
        false,
    );
    dense::eigenvalues(&small, order)
}
