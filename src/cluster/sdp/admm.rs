//! Two-block ADMM (over-relaxed) for clustering SDPs of one or more blocks.
//!
//! min Σ_b ⟨C_b, Z_b⟩ subject to Z_b ⪰ 0, Z_b ≥ 0 entry by entry, tr Z_b = τ for each of the B blocks, and (Σ_b Z_b) 1 = 1.
//! One block with τ = k is the Peng–Wei relaxation of k-means; k blocks with τ = 1 are LA-SDP.
//!
//! Each Z_b has two copies, Y₁ ⪰ 0 and Y₂ ≥ 0, with scaled multipliers U₁, U₂. What is kept are W₁ = Y₁ + U₁ and W₂ = Y₂ + U₂: Y₂ and
//! U₂ are the positive and the negative part of W₂, and the step to Z needs ½(2Y₁ − W₁ + |W₂|) − C/(2ρ). So a block has five (n, n)
//! arrays. A step makes three passes over them, on the threads of the pool, in pieces of rows that depend on n alone; sums are added row
//! after row, so that the bits do not depend on the threads.

use rayon::prelude::*;

use super::psd::{Part, PositivePart};
use super::{dense, rounding};
use crate::cluster::ClusterError;
use crate::kernels::gemm::{MatMut, MatRef, Start, matmul_from};
use crate::run::observer::Observer;

/// Over-relaxation.
const RELAX: f64 = 1.6;
/// Iterations between changes of ρ, and how unequal the residuals must be for one.
const ADAPT: usize = 50;
const UNEQUAL: f64 = 5.0;
/// Numbers of a piece of rows.
const PIECE: usize = 1 << 14;
/// Iterations between looks at where the objective stands, for the observer.
const NOTE: usize = 100;

/// The programme: costs of unit norm (all blocks together), and the trace of each block.
pub(in crate::cluster) struct Problem<'a> {
    pub n: usize,
    /// One (n, n) matrix per block.
    pub costs: &'a [Vec<f64>],
    pub trace: f64,
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) struct Limits {
    pub iterations: usize,
    pub tolerance: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cluster) struct Outcome {
    pub iterations: usize,
    pub converged: bool,
    pub primal: f64,
    pub dual: f64,
}

pub(in crate::cluster) struct Block {
    /// V, then Z.
    pub z: Vec<f64>,
    y: Vec<f64>,
    w1: Vec<f64>,
    w2: Vec<f64>,
    part: PositivePart,
}

/// Iterates; kept by the caller between runs for a warm start.
pub(in crate::cluster) struct Admm {
    n: usize,
    pub blocks: Vec<Block>,
    pub rho: f64,
}

/// Sums of squares over an iteration.
#[derive(Debug, Clone, Copy, Default)]
struct Squares {
    z: f64,
    apart: [f64; 2],
    moved: [f64; 2],
}

impl Admm {
    /// Starts from zero with ρ = 1.
    pub fn new(n: usize, blocks: usize) -> Self {
        let zeros = || vec![0.0; n * n];
        let block = |_| Block { z: zeros(), y: zeros(), w1: zeros(), w2: zeros(), part: PositivePart::new(n) };
        Self { n, blocks: (0..blocks).map(block).collect(), rho: 1.0 }
    }

    /// Multiplies both scaled multipliers by `factor`: ρ is to be divided by it, or costs have been rescaled.
    pub fn scale_multipliers(&mut self, factor: f64) {
        for block in &mut self.blocks {
            block.w1.iter_mut().zip(&block.y).for_each(|(w, y)| *w = y + factor * (*w - y));
            block.w2.iter_mut().filter(|w| **w < 0.0).for_each(|w| *w *= factor);
            block.part.refresh();
        }
    }

    /// The multiplier N = max(−ρ U₂, 0) of Z ≥ 0 of a block at place `e`.
    pub fn multiplier(&self, block: usize, e: usize) -> f64 {
        (-self.rho * self.blocks[block].w2[e]).max(0.0)
    }

    /// The multiplier S = −ρ U₁ of Z ⪰ 0.
    pub fn slack(&self, block: usize, e: usize) -> f64 {
        -self.rho * (self.blocks[block].w1[e] - self.blocks[block].y[e])
    }

    /// ⟨C, Z⟩ at the last affine iterate.
    pub fn objective(&self, problem: &Problem) -> f64 {
        let dot = |c: &[f64], z: &[f64]| c.iter().zip(z).map(|(c, z)| c * z).sum::<f64>();
        let rows = |(cost, block): (&Vec<f64>, &Block)| {
            cost.chunks(self.n).zip(block.z.chunks(self.n)).map(|(c, z)| dot(c, z)).sum::<f64>()
        };
        problem.costs.iter().zip(&self.blocks).map(rows).sum()
    }

    /// Iterates until both residuals are below the tolerance:
    /// primal max‖Z − Yᵢ‖ / (1 + ‖Z‖), dual ρ max‖ΔYᵢ‖ / (1 + ‖C‖), norms over all blocks.
    /// Positive parts that were followed and not decomposed completely are checked before the run ends.
    ///
    /// Cost of an iteration: 17 n² numbers moved and an eigenproblem for each block; O(n² r) when the rank r of the positive part is low.
    pub fn solve(&mut self, problem: &Problem, limits: Limits, observer: &dyn Observer) -> Result<Outcome, ClusterError> {
        let mut outcome = Outcome { iterations: 0, converged: false, primal: f64::INFINITY, dual: f64::INFINITY };
        while outcome.iterations < limits.iterations {
            if observer.cancelled() {
                return Err(ClusterError::Cancelled);
            }
            outcome.iterations += 1;
            let squares = self.step(problem)?;
            let largest = |of: [f64; 2]| of[0].max(of[1]).sqrt();
            outcome.primal = largest(squares.apart) / (1.0 + squares.z.sqrt());
            outcome.dual = self.rho * largest(squares.moved) / 2.0;
            if !(outcome.primal.is_finite() && outcome.dual.is_finite()) {
                return Err(ClusterError::Numbers("the SDP iteration diverged; look for extreme values among the points".into()));
            }
            observer.advance(1);
            if outcome.iterations.is_multiple_of(NOTE) {
                let Outcome { iterations, primal, dual, .. } = outcome;
                let (objective, rank) = (self.objective(problem), self.blocks.iter().map(|b| b.part.rank).sum::<usize>());
                observer.note(&format!(
                    "iteration {iterations}: scaled objective {objective:.9}, residuals {primal:.1e} {dual:.1e}, rank {rank}"
                ));
            }
            if outcome.primal.max(outcome.dual) < limits.tolerance {
                if self.blocks.iter().all(|b| b.part.complete) {
                    outcome.converged = true;
                    break;
                }
                self.blocks.iter_mut().for_each(|b| b.part.refresh());
            }
            if outcome.iterations.is_multiple_of(ADAPT) {
                let factor = match (outcome.primal, outcome.dual) {
                    (p, d) if p > UNEQUAL * d => 2.0,
                    (p, d) if d > UNEQUAL * p => 0.5,
                    _ => continue,
                };
                self.rho *= factor;
                self.scale_multipliers(1.0 / factor);
            }
        }
        Ok(outcome)
    }

    fn step(&mut self, problem: &Problem) -> Result<Squares, ClusterError> {
        let (n, rho) = (self.n, self.rho);
        let rows = (PIECE / n).max(1);
        // V, its row sums and traces.
        let sums: Vec<Vec<f64>> =
            self.blocks.iter_mut().zip(problem.costs).map(|(block, cost)| block.mean(cost, n, rows, rho)).collect();
        let traces: Vec<f64> = self.blocks.iter().map(|b| (0..n).map(|i| b.z[i * n + i]).sum()).collect();
        let affine = Affine::new(&sums, &traces, problem.trace);
        let mut squares = Squares::default();
        for (block, &diagonal) in self.blocks.iter_mut().zip(&affine.diagonal) {
            squares.add(block.relax(&affine.shift, diagonal, n, rows));
        }
        if let [block] = &mut self.blocks[..] {
            block.part.find(&block.w1)?;
        } else {
            self.blocks.par_iter_mut().try_for_each(|block| block.part.find(&block.w1))?;
        }
        for block in &mut self.blocks {
            squares.add(block.project(n, rows));
        }
        Ok(squares)
    }
}

impl Squares {
    fn add(&mut self, other: Self) {
        self.z += other.z;
        (0..2).for_each(|i| self.apart[i] += other.apart[i]);
        (0..2).for_each(|i| self.moved[i] += other.moved[i]);
    }

    fn sum(pieces: Vec<Self>) -> Self {
        let mut sum = Self::default();
        pieces.into_iter().for_each(|s| sum.add(s));
        sum
    }
}

/// Runs over pieces of rows, on several threads when there is more than one.
fn pieces<I: IndexedParallelIterator, T: Send>(pieces: I, work: impl Fn(I::Item) -> T + Sync + Send) -> Vec<T> {
    pieces.map(work).collect()
}

impl Block {
    /// The k leading eigenvectors of the positive semidefinite copy as rows (n, k).
    pub fn leading(&self, n: usize, k: usize) -> Result<Vec<f64>, ClusterError> {
        if matches!(self.part.part, Part::Positive) && self.part.rank >= k {
            return rounding::leading(&self.part.factor, n, self.part.rank, k);
        }
        let eigen = dense::eigen(&self.y, n)?;
        Ok((0..n * k).map(|e| eigen.vectors[(n - 1 - e % k) * n + e / k]).collect())
    }

    /// V = ½(2Y₁ − W₁ + |W₂|) − C/(2ρ) into `z`; its row sums.
    fn mean(&mut self, cost: &[f64], n: usize, rows: usize, rho: f64) -> Vec<f64> {
        let by = 0.5 / rho;
        let len = rows * n;
        let Self { z, y, w1, w2, .. } = self;
        let parts = z
            .par_chunks_mut(len)
            .zip(y.par_chunks(len))
            .zip(w1.par_chunks(len))
            .zip(w2.par_chunks(len))
            .zip(cost.par_chunks(len));
        let sums = pieces(parts, |((((z, y), w1), w2), c)| {
            let mut sums = Vec::with_capacity(rows);
            for ((((z, y), w1), w2), c) in z.chunks_mut(n).zip(y.chunks(n)).zip(w1.chunks(n)).zip(w2.chunks(n)).zip(c.chunks(n)) {
                for ((((z, y), w1), w2), c) in z.iter_mut().zip(y).zip(w1).zip(w2).zip(c) {
                    *z = y - 0.5 * w1 + 0.5 * w2.abs() - by * c;
                }
                sums.push(sum(z));
            }
            sums
        });
        sums.concat()
    }

    /// Z = V + a1ᵀ + 1aᵀ + bI; W₂ and W₁ of the over-relaxed Z.
    fn relax(&mut self, shift: &[f64], diagonal: f64, n: usize, rows: usize) -> Squares {
        let len = rows * n;
        let Self { z, y, w1, w2, .. } = self;
        let parts =
            z.par_chunks_mut(len).zip(y.par_chunks(len)).zip(w1.par_chunks_mut(len)).zip(w2.par_chunks_mut(len)).enumerate();
        Squares::sum(pieces(parts, |(piece, (((z, y), w1), w2))| {
            let mut total = Squares::default();
            for (r, (((z, y), w1), w2)) in
                z.chunks_mut(n).zip(y.chunks(n)).zip(w1.chunks_mut(n)).zip(w2.chunks_mut(n)).enumerate()
            {
                let i = piece * rows + r;
                let own = shift[i];
                z[i] += diagonal;
                // Four partial sums each, so that the additions do not wait for one another.
                let (mut norm, mut apart, mut moved) = ([0.0; 4], [0.0; 4], [0.0; 4]);
                for ((((z, y), w1), w2), a) in
                    z.chunks_mut(4).zip(y.chunks(4)).zip(w1.chunks_mut(4)).zip(w2.chunks_mut(4)).zip(shift.chunks(4))
                {
                    for lane in 0..z.len() {
                        let value = z[lane] + (own + a[lane]);
                        z[lane] = value;
                        w1[lane] = RELAX * value + (w1[lane] - RELAX * y[lane]);
                        let (before, under) = (w2[lane].max(0.0), w2[lane].min(0.0));
                        let new = RELAX * value - (RELAX - 1.0) * before + under;
                        w2[lane] = new;
                        let after = new.max(0.0);
                        norm[lane] += value * value;
                        apart[lane] += (value - after) * (value - after);
                        moved[lane] += (after - before) * (after - before);
                    }
                }
                total.add(Squares { z: fold(norm), apart: [0.0, fold(apart)], moved: [0.0, fold(moved)] });
            }
            total
        }))
    }

    /// Y₁ = positive part of W₁.
    fn project(&mut self, n: usize, rows: usize) -> Squares {
        let len = rows * n;
        let Self { z, y, w1, part, .. } = self;
        let (factor, rank) = (&part.factor, part.rank);
        let all = MatRef::new(factor, n, rank);
        let add = matches!(part.part, Part::Negative);
        let parts = z.par_chunks(len).zip(y.par_chunks_mut(len)).zip(w1.par_chunks(len)).enumerate();
        Squares::sum(pieces(parts, |(piece, ((z, y), w1))| {
            let count = z.len() / n;
            let own = MatRef::new(&factor[piece * rows * rank..], count, rank);
            let mut new = if add { w1.to_vec() } else { vec![0.0; z.len()] };
            let start = if add { Start::Current } else { Start::Zero };
            matmul_from(start, own, all.t(), MatMut::new(&mut new, count, n));
            let mut total = Squares::default();
            for ((z, y), new) in z.chunks(n).zip(y.chunks_mut(n)).zip(new.chunks(n)) {
                let (mut apart, mut moved) = ([0.0; 4], [0.0; 4]);
                for ((z, y), new) in z.chunks(4).zip(y.chunks_mut(4)).zip(new.chunks(4)) {
                    for lane in 0..z.len() {
                        apart[lane] += (z[lane] - new[lane]) * (z[lane] - new[lane]);
                        moved[lane] += (new[lane] - y[lane]) * (new[lane] - y[lane]);
                    }
                    y[..z.len()].copy_from_slice(&new[..z.len()]);
                }
                total.add(Squares { z: 0.0, apart: [fold(apart), 0.0], moved: [fold(moved), 0.0] });
            }
            total
        }))
    }
}

fn fold(lanes: [f64; 4]) -> f64 {
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// Sum in four lanes.
fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    for part in values.chunks(4) {
        part.iter().zip(&mut lanes).for_each(|(v, lane)| *lane += v);
    }
    fold(lanes)
}

/// The projection onto {(Σ_b Z_b) 1 = 1, tr Z_b = τ}: Z_b = V_b + a1ᵀ + 1aᵀ + β_b I.
///
/// With B blocks, v = Σ_b V_b 1, t_b = tr V_b: s = Σa = (n − Σv − Bτ + Σt) / (2B(n−1)), β_b = (τ − t_b − 2s)/n,
/// a = (1 − v − (Bs + Σβ)1) / (Bn). For one block this is the projection of the Peng–Wei programme.
struct Affine {
    shift: Vec<f64>,
    diagonal: Vec<f64>,
}

impl Affine {
    /// From the row sums (n) and the trace of each block. Needs n ≥ 2.
    fn new(sums: &[Vec<f64>], traces: &[f64], trace: f64) -> Self {
        let (count, n) = (sums.len() as f64, sums[0].len());
        let mut v = vec![0.0; n];
        for sums in sums {
            v.iter_mut().zip(sums).for_each(|(v, s)| *v += s);
        }
        let size = n as f64;
        let s = (size - sum(&v) - count * trace + sum(traces)) / (2.0 * count * (size - 1.0));
        let diagonal: Vec<f64> = traces.iter().map(|t| (trace - t - 2.0 * s) / size).collect();
        let common = count * s + sum(&diagonal);
        let shift = v.iter().map(|v| (1.0 - v - common) / (count * size)).collect();
        Self { shift, diagonal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::seed::Streams;
    use rand::RngExt;

    #[test]
    fn the_affine_projection_meets_its_constraints_at_a_right_angle() {
        let (n, blocks, trace) = (7, 3, 1.5);
        let mut rng = Streams::new(4).stream("test", 0);
        let symmetric = |rng: &mut crate::run::seed::Rng| {
            let mut m = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..=i {
                    let v: f64 = rng.random::<f64>() - 0.3;
                    (m[i * n + j], m[j * n + i]) = (v, v);
                }
            }
            m
        };
        let given: Vec<Vec<f64>> = (0..blocks).map(|_| symmetric(&mut rng)).collect();
        let project = |v: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let sums: Vec<Vec<f64>> = v.iter().map(|m| m.chunks(n).map(sum).collect()).collect();
            let traces: Vec<f64> = v.iter().map(|m| (0..n).map(|i| m[i * n + i]).sum()).collect();
            let affine = Affine::new(&sums, &traces, trace);
            v.iter()
                .zip(&affine.diagonal)
                .map(|(m, b)| {
                    let at = |e: usize| m[e] + affine.shift[e / n] + affine.shift[e % n] + if e / n == e % n { *b } else { 0.0 };
                    (0..n * n).map(at).collect()
                })
                .collect()
        };
        let z = project(&given);
        for i in 0..n {
            let row: f64 = z.iter().map(|m| sum(&m[i * n..][..n])).sum();
            assert!((row - 1.0).abs() < 1e-13, "{row}");
        }
        for m in &z {
            let t: f64 = (0..n).map(|i| m[i * n + i]).sum();
            assert!((t - trace).abs() < 1e-13, "{t}");
        }
        // (V − Z) is at a right angle to every direction within the constraints: the difference of two projections.
        let other: Vec<Vec<f64>> = (0..blocks).map(|_| symmetric(&mut rng)).collect();
        let other = project(&other);
        let mut dot = 0.0;
        for b in 0..blocks {
            dot += (0..n * n).map(|e| (given[b][e] - z[b][e]) * (other[b][e] - z[b][e])).sum::<f64>();
        }
        assert!(dot.abs() < 1e-12, "{dot:e}");
    }
}
