//! The forms of a product against each other, on the same random features.

use super::CgError;
use super::blocks::CgTensor;
use super::product::cp_product;
use crate::kernels::coupled::{Channels, Form, Gradients, Operands};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use crate::tensor::model::Matrix;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Numbers of a batch at most; they are held in f64 and f32.
const LARGEST: f64 = 5e8;

/// What to time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchConfig {
    pub channels: Channels,
    /// Items of the batch.
    pub edges: usize,
    /// Runs of each; the fastest counts.
    pub repeats: usize,
    pub seed: u64,
}

/// One form as it went, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    pub form: Form,
    /// Floating-point operations of an edge, forward.
    pub operations: u64,
    /// Seconds of the fastest run over all edges.
    pub forward_s: f64,
    /// Gradients of x, y and w.
    pub backward_s: f64,
    /// Forward operations per nanosecond.
    pub gflops: f64,
    /// ‖out − exact‖/‖exact‖ over the whole batch, `exact` computed in f64.
    pub rel_error: f64,
    /// Whether the form commutes with rotations, apart from rounding.
    pub equivariant: bool,
}

/// All forms, and what they are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    pub rows: Vec<BenchRow>,
    /// Operations of an edge in e3nn's fully connected product of the same channels, a weight for every path: what the paper's speed-ups
    /// refer to. Not timed here.
    pub fully_connected_operations: u64,
    /// The form with the fewest operations, and the one that was fastest forward.
    pub fewest_operations: Form,
    pub fastest: Form,
}

/// Times the exact form, the matrix per edge and the CP form. `clock` gives seconds from any start: the library has none of its own.
///
/// # Errors
/// Edges or repeats of 0, factors that do not fit M, [`CgError::Interrupted`].
pub fn bench(
    m: &CgTensor,
    factors: &[Matrix; 3],
    config: &BenchConfig,
    clock: &dyn Fn() -> f64,
    observer: &dyn Observer,
) -> Result<BenchReport, CgError> {
    for (what, n) in [("the number of edges", config.edges), ("the number of repeats", config.repeats)] {
        if n == 0 {
            return Err(CgError::Setting { what, found: "0".into(), expected: "at least 1".into() });
        }
    }
    if factors[0].rows != m.dim() {
        let (found, expected) = (factors[0].rows.to_string(), m.dim().to_string());
        return Err(CgError::Setting { what: "the number of rows of a factor", found, expected });
    }
    let (c, d, n) = (&config.channels, m.dim(), config.edges);
    let numbers = n as f64 * ((d * (c.u + c.v + 2 * c.out)) as f64 + c.weights() as f64);
    if numbers > LARGEST {
        let found = format!("{numbers:.1e} numbers");
        return Err(CgError::Setting {
            what: "the size of the batch",
            found,
            expected: format!("at most {LARGEST:.0e}: fewer edges or channels"),
        });
    }
    let mut rng = Streams::new(config.seed).stream("cg-bench", 0);
    let mut draw = |len: usize| -> Vec<f64> { (0..len).map(|_| StandardNormal.sample(&mut rng)).collect() };
    let (x, y, w, g) = (draw(n * d * c.u), draw(n * d * c.v), draw(n * c.weights()), draw(n * d * c.out));
    let mut exact = vec![0.0; n * d * c.out];
    m.exact_product().forward(c, Operands { x: &x, y: &y, w: &w }, &mut exact);
    let scale: f64 = exact.iter().map(|v| v * v).sum();
    let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
    let (x, y, w, g) = (single(&x), single(&y), single(&w), single(&g));
    let from = Operands { x: &x, y: &y, w: &w };
    let mut rows = Vec::new();
    observer.start("forms", 3);
    for product in [m.exact_product::<f32>(), m.per_edge_product(), cp_product(factors)?] {
        let mut out = vec![0f32; exact.len()];
        let (mut dx, mut dy, mut dw) = (vec![0f32; x.len()], vec![0f32; y.len()], vec![0f32; w.len()]);
        let (mut forward_s, mut backward_s) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..config.repeats {
            if observer.cancelled() {
                return Err(CgError::Interrupted);
            }
            let start = clock();
            product.forward(c, from, &mut out);
            let middle = clock();
            let to = Gradients { x: Some(&mut dx), y: Some(&mut dy), w: Some(&mut dw), factors: [None, None, None] };
            product.backward(c, from, &g, to);
            let end = clock();
            (forward_s, backward_s) = (forward_s.min(middle - start), backward_s.min(end - middle));
        }
        let lost: f64 = out.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
        let (form, operations) = (product.form(), product.operations(c));
        let gflops = if forward_s > 0.0 { operations as f64 * n as f64 / forward_s / 1e9 } else { 0.0 };
        let rel_error = if scale > 0.0 { (lost / scale).sqrt() } else { 0.0 };
        rows.push(BenchRow { form, operations, forward_s, backward_s, gflops, rel_error, equivariant: form != Form::Cp });
        observer.advance(1);
    }
    observer.finish();
    let least =
        |key: &dyn Fn(&BenchRow) -> f64| rows.iter().min_by(|a, b| key(a).total_cmp(&key(b))).map_or(Form::Exact, |r| r.form);
    Ok(BenchReport {
        fewest_operations: least(&|r| r.operations as f64),
        fastest: least(&|r| r.forward_s),
        fully_connected_operations: fully_connected(c, m.lmax()),
        rows,
    })
}

/// Forward, of e3nn's fully connected product (mode uvw) with a weight for every path: what the paper compares with. A weighted outer
/// product per path, then the path's block.
pub fn fully_connected(c: &Channels, lmax: usize) -> u64 {
    let mut sum = 0u64;
    for l1 in 0..=lmax {
        for l2 in 0..=lmax {
            for l3 in l1.abs_diff(l2)..=lmax.min(l1 + l2) {
                let block = super::blocks::block(l1, l2, l3);
                let entries = block.iter().filter(|v| **v != 0.0).count() as u64;
                let (u, v, w) = (c.u as u64, c.v as u64, c.out as u64);
                sum += 3 * entries * u * v + 2 * (2 * l3 as u64 + 1) * u * v * w;
            }
        }
    }
    sum
}
