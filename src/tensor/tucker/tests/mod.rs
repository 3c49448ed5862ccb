//! Worked numbers, identities and properties of the Tucker methods.

mod goldens;
mod iterative;
mod operands;
mod properties;

pub use crate::testing::shared;

use rand::RngExt as _;
use rand_distr::{Distribution, StandardNormal};

use super::operand::Operand;
use super::reconstruct::whole;
use super::vectors::orthonormal;
use super::*;
use crate::kernels::gemm::MatRef;
use crate::run::seed::Streams;
use crate::tensor::data::Sparse;

/// The amino acid tensor of the specification, 5 x 201 x 61.
pub fn amino_acids() -> Option<Dense<f64>> {
    let text = std::fs::read_to_string(shared("aminoacid/aminoacid.tns")?).expect("a readable file");
    let shape = vec![5, 201, 61];
    let mut x = Dense::zeros(&shape);
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let mut fields = line.split_whitespace();
        let at = shape.iter().fold(0, |at, size| at * size + fields.next().unwrap().parse::<usize>().unwrap() - 1);
        x.values_mut()[at] = fields.next().unwrap().parse().unwrap();
    }
    Some(x)
}

/// Standard normal numbers.
pub fn normal(shape: &[usize], seed: u64) -> Dense<f64> {
    let mut rng = Streams::new(seed).stream("test-normal", 0);
    let values = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut rng)).collect();
    Dense::new(shape.to_vec(), values)
}

/// A tensor of exact multilinear rank: a normal core and orthonormal factors.
pub fn of_ranks(shape: &[usize], ranks: &[usize], seed: u64) -> Dense<f64> {
    let factors = shape.iter().zip(ranks).enumerate().map(|(m, (&i, &r))| {
        let u = normal(&[i, r], seed + 1 + m as u64);
        orthonormal(&Matrix::new(i, r, u.into_values()))
    });
    whole(&Tucker { core: normal(ranks, seed), factors: factors.collect() })
}

/// Numbers that fall off along every mode, and noise.
pub fn falling(shape: &[usize], noise: f64, seed: u64) -> Dense<f64> {
    let mut x = of_ranks(shape, shape, seed);
    let model = sthosvd::sthosvd(&x, &Size::Ranks(shape.to_vec()), &ModeOrder::Auto, Precision::Gram).unwrap().model;
    let mut core = model.core;
    let sizes = core.shape().to_vec();
    for (at, g) in core.values_mut().iter_mut().enumerate() {
        let depth: usize = operand::unravel(&sizes, at).into_iter().sum();
        *g *= 0.5f64.powi(depth as i32);
    }
    x = whole(&Tucker { core, factors: model.factors });
    let extra = normal(shape, seed + 99);
    let scale = noise * squares(x.values()).sqrt() / squares(extra.values()).sqrt();
    x.values_mut().iter_mut().zip(extra.values()).for_each(|(x, e)| *x += scale * e);
    x
}

/// ‖x − y‖.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

/// ‖x − model‖ / ‖x‖ from the cells.
pub fn explicit_error(x: &Dense<f64>, model: &Tucker) -> f64 {
    distance(x.values(), whole(model).values()) / squares(x.values()).sqrt()
}

/// Fails unless |found − expected| <= tol.
#[track_caller]
pub fn close(found: f64, expected: f64, tol: f64) {
    assert!((found - expected).abs() <= tol, "{found} is not {expected} within {tol:e}");
}

/// UᵀU = 1. A basis by n reflections or rotations is off by about n eps.
#[track_caller]
pub fn assert_orthonormal(u: &Matrix) {
    let tol = 16.0 * f64::EPSILON * (u.rows.max(4)) as f64;
    for a in 0..u.cols {
        for b in 0..u.cols {
            let dot: f64 = (0..u.rows).map(|i| u.at(i, a) * u.at(i, b)).sum();
            close(dot, if a == b { 1.0 } else { 0.0 }, tol);
        }
    }
}

/// What holds of every fit with orthonormal factors.
#[track_caller]
pub fn assert_sound(x: &Dense<f64>, fit: &TuckerFit) {
    for (mode, u) in fit.model.factors.iter().enumerate() {
        assert_eq!((u.rows, u.cols), (x.shape()[mode], fit.ranks()[mode]));
        assert_orthonormal(u);
        for j in 0..u.cols {
            let largest = (0..u.rows).map(|i| u.at(i, j)).fold(0.0f64, |l, x| if x.abs() > l.abs() { x } else { l });
            assert!(largest > 0.0, "mode {mode}, column {j}: {largest}");
        }
        let shares: f64 = fit.core_shares[mode].iter().sum();
        if fit.norm > 0.0 {
            // Both sides are sums of squares over ‖X‖²; rounding of some thousand terms.
            close(shares, 1.0 - fit.rel_error.powi(2), 1e-12);
        }
    }
    // The core is X ×_n U_nᵀ.
    let modes: Vec<usize> = (0..x.order()).collect();
    let core = tree::multiply(x, &modes, &fit.model.factors);
    assert!(distance(core.values(), fit.model.core.values()) <= 1e-13 * fit.norm * x.order() as f64);
    if fit.norm > 0.0 {
        let explicit = explicit_error(x, &fit.model);
        // From norms the squared error is known to about 1e-15, beyond 1e-8 of it: at most 1e-7 of the error, and mostly far less.
        close(fit.rel_error, explicit, 1e-7 * explicit + 1e-14);
        let numbers = fit.model.core.values().len() + fit.model.factors.iter().map(|f| f.values.len()).sum::<usize>();
        close(fit.compression, x.values().len() as f64 / numbers as f64, 0.0);
    } else {
        assert_eq!(fit.rel_error, 0.0);
    }
}

/// Some cells of a dense tensor as a sparse one, and the dense one with zeros elsewhere.
pub fn sparse(shape: &[usize], share: f64, seed: u64) -> (Sparse<f64>, Dense<f64>) {
    let mut rng = Streams::new(seed).stream("test-sparse", 0);
    let mut dense = normal(shape, seed);
    let (mut indices, mut values) = (vec![Vec::new(); shape.len()], Vec::new());
    for at in 0..dense.values().len() {
        if rng.random::<f64>() < share {
            values.push(dense.values()[at]);
            indices.iter_mut().zip(operand::unravel(shape, at)).for_each(|(to, i)| to.push(i as u32));
        } else {
            dense.values_mut()[at] = 0.0;
        }
    }
    (Sparse::new(shape.to_vec(), indices, values), dense)
}

/// X_(n) row by row.
pub fn unfold(x: &Dense<f64>, mode: usize) -> Vec<Vec<f64>> {
    let mut rows = vec![Vec::new(); x.shape()[mode]];
    for (at, &v) in x.values().iter().enumerate() {
        rows[operand::unravel(x.shape(), at)[mode]].push(v);
    }
    rows
}

/// The tensor with its modes in another order: mode `to[k]` becomes mode k.
pub fn permuted(x: &Dense<f64>, to: &[usize]) -> Dense<f64> {
    let shape: Vec<usize> = to.iter().map(|&m| x.shape()[m]).collect();
    let mut out = Dense::zeros(&shape);
    for (at, &v) in x.values().iter().enumerate() {
        let index = operand::unravel(x.shape(), at);
        let place = to.iter().zip(&shape).fold(0, |place, (&m, &size)| place * size + index[m]);
        out.values_mut()[place] = v;
    }
    out
}

/// Runs on pools of one and of two threads; both results.
pub fn on_threads<R: Send>(work: impl Fn() -> R + Sync) -> (R, R) {
    let run = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(&work);
    (run(1), run(2))
}

pub fn matrix_view(m: &Matrix) -> MatRef<'_, f64> {
    MatRef::new(&m.values, m.rows, m.cols)
}
