//! Tests of the methods on published data, on exact models, on odd shapes and on bad input.

mod bad;
mod exact;
mod golden;
mod random;
mod shapes;

use crate::testing::shared;

use rand::RngExt as _;

use super::*;
use crate::run::seed::Streams;
use crate::tensor::data::{Dense, Sparse};
use crate::tensor::model::{Kruskal, Matrix};

/// Lines of a .tns file: 1-based indices, a value, `#` comments.
fn tns(name: &str) -> Option<Sparse<f64>> {
    let text = std::fs::read_to_string(shared(name)?).expect("a readable file");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
        .map(|l| l.split_whitespace().map(|x| x.parse().expect("a number")).collect())
        .collect();
    let order = rows[0].len() - 1;
    let indices: Vec<Vec<u32>> = (0..order).map(|m| rows.iter().map(|r| r[m] as u32 - 1).collect()).collect();
    let shape = indices.iter().map(|i| *i.iter().max().expect("rows") as usize + 1).collect();
    Some(Sparse::new(shape, indices, rows.iter().map(|r| r[order]).collect()))
}

fn dense_of(x: &Sparse<f64>) -> Dense<f64> {
    let mut out = Dense::zeros(x.shape());
    for (k, &v) in x.values().iter().enumerate() {
        let cell = (0..x.order()).fold(0, |c, m| c * x.shape()[m] + x.indices(m)[k] as usize);
        out.values_mut()[cell] = v;
    }
    out
}

/// All cells as coordinates, or those that `keep` names.
fn coordinates(x: &Dense<f64>, keep: impl Fn(usize, f64) -> bool) -> Sparse<f64> {
    let cells: Vec<usize> = (0..x.values().len()).filter(|&c| keep(c, x.values()[c])).collect();
    let indices = (0..x.order())
        .map(|m| {
            let right: usize = x.shape()[m + 1..].iter().product();
            cells.iter().map(|&c| (c / right % x.shape()[m]) as u32).collect()
        })
        .collect();
    Sparse::new(x.shape().to_vec(), indices, cells.iter().map(|&c| x.values()[c]).collect())
}

fn amino_acid() -> Option<Dense<f64>> {
    tns("aminoacid/aminoacid.tns").map(|x| dense_of(&x))
}

/// The array of the .npy file: f64, C order.
fn il2() -> Option<Dense<f64>> {
    let bytes = std::fs::read(shared("il2/il2_response.npy")?).expect("a readable file");
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let values = bytes[header..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
    Some(Dense::new(vec![13, 4, 12, 8], values))
}

/// A model with factors uniform in [-1, 1), weights from 1 up.
fn random_model(shape: &[usize], rank: usize, seed: u64) -> Kruskal {
    let factors = shape
        .iter()
        .enumerate()
        .map(|(m, &n)| {
            let mut rng = Streams::new(seed).stream("test", m as u64);
            Matrix::new(n, rank, (0..n * rank).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect())
        })
        .collect();
    Kruskal { weights: (0..rank).map(|r| 1.0 + r as f64 / 2.0).collect(), factors }
}

/// Flags, each true with the given chance.
fn random_mask(cells: usize, share: f64, seed: u64) -> Vec<bool> {
    let mut rng = Streams::new(seed).stream("mask", 0);
    (0..cells).map(|_| rng.random::<f64>() < share).collect()
}

fn to_f32(x: &Dense<f64>) -> Dense<f32> {
    Dense::new(x.shape().to_vec(), x.values().iter().map(|&v| v as f32).collect())
}

fn close(got: f64, want: f64, tol: f64, what: &str) {
    assert!((got - want).abs() <= tol, "{what}: {got} instead of {want}");
}

fn run_on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(work)
}
