//! Real Clebsch–Gordan blocks and the tensor made of them.
//!
//! Block (l1, l2, l3) is the one tensor (up to a factor) that no rotation changes:
//! `C[i, j, k] = Σ C[i', j', k'] D¹[i, i'] D²[j, j'] D³[k, k']`.
//! It has norm 1. The basis of every l is that of e3nn: index l + m, for l = 1 the order (x, y, z), y the polar axis. In M the rows of
//! l = 0, …, L follow each other, d = (L + 1)² in all.

use super::CgError;
use super::coupling::su2;
use crate::kernels::coupled::Entry;
use crate::tensor::data::{Dense, Sparse};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Largest L of a whole tensor M: 0.7 million numbers that are not zero at 14, 4 million at 20.
pub const LARGEST: usize = 20;

/// A basis function of the real basis in terms of those of the complex one: rows `l − a` and `l + a` with coefficients i^power, both times
/// 1/√2 unless a = 0. Without the common factor (−i)^l.
fn column(l: usize, index: usize) -> [(usize, Option<u32>); 2] {
    let a = index.abs_diff(l);
    // (−1)^a as a power of i.
    let sign = 2 * (a as u32 % 2);
    match index.cmp(&l) {
        std::cmp::Ordering::Equal => [(l, Some(0)), (l, None)],
        std::cmp::Ordering::Greater => [(l - a, Some(0)), (l + a, Some(sign))],
        std::cmp::Ordering::Less => [(l - a, Some(3)), (l + a, Some(1 + sign))],
    }
}

/// The block (l1, l2, l3), (2·l1 + 1, 2·l2 + 1, 2·l3 + 1) in C order, of norm 1; all zero unless |l1 − l2| ≤ l3 ≤ l1 + l2.
///
/// Entries are within a few units in the last place; those that are zero are exactly zero, for they cancel between equal numbers.
/// Kept for the next call. Source: e3nn, `o3/_wigner.py` (basis and sign); coefficients by [`su2`].
pub fn block(l1: usize, l2: usize, l3: usize) -> Arc<[f64]> {
    type Blocks = BTreeMap<[usize; 3], Arc<[f64]>>;
    static KEPT: LazyLock<Mutex<Blocks>> = LazyLock::new(Mutex::default);
    let key = [l1, l2, l3];
    if let Some(found) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return found.clone();
    }
    // Not under the lock: two threads may compute the same block, and get the same numbers.
    let made: Arc<[f64]> = compute(l1, l2, l3).into();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(made).clone()
}

fn compute(l1: usize, l2: usize, l3: usize) -> Vec<f64> {
    let complex = su2(l1, l2, l3);
    let [d1, d2, d3] = [l1, l2, l3].map(|l| 2 * l + 1);
    // (−i)^l1 (−i)^l2 conj((−i)^l3), and conj of the third column's coefficients.
    let phase = 3 * l1 as u32 + 3 * l2 as u32 + l3 as u32;
    // Σ C² = 2·l3 + 1, and a change of basis keeps it.
    let norm = (d3 as f64).sqrt();
    let mut out = Vec::with_capacity(d1 * d2 * d3);
    for j in 0..d1 {
        for l in 0..d2 {
            for m in 0..d3 {
                let mut sum = 0.0;
                for (i, p) in column(l1, j) {
                    for (k, q) in column(l2, l) {
                        for (n, r) in column(l3, m) {
                            let (Some(p), Some(q), Some(r)) = (p, q, r) else { continue };
                            match (phase + p + q + 3 * r) % 4 {
                                0 => sum += complex[(i * d2 + k) * d3 + n],
                                2 => sum -= complex[(i * d2 + k) * d3 + n],
                                // Imaginary parts cancel.
                                _ => {}
                            }
                        }
                    }
                }
                let turned = usize::from(j != l1) + usize::from(l != l2) + usize::from(m != l3);
                let scale = [1.0, std::f64::consts::FRAC_1_SQRT_2, 0.5, 0.5 * std::f64::consts::FRAC_1_SQRT_2][turned];
                out.push(sum * scale / norm);
            }
        }
    }
    out
}

/// One path l1 ⊗ l2 → l3 and its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub l: [usize; 3],
    /// Which of [`CgTensor::entries`] are its own.
    pub entries: std::ops::Range<usize>,
}

/// The tensor M of all paths up to L.
#[derive(Debug, Clone, PartialEq)]
pub struct CgTensor {
    lmax: usize,
    entries: Vec<Entry>,
    paths: Vec<Path>,
}

impl CgTensor {
    /// M for l = 0, …, `lmax`, kept for the next call.
    ///
    /// Cost: the number of entries, about 0.4 L⁵·⁵; 10 ms at L = 6.
    ///
    /// # Errors
    /// [`CgError::TooLarge`] above [`LARGEST`].
    pub fn new(lmax: usize) -> Result<Arc<Self>, CgError> {
        static KEPT: LazyLock<Mutex<BTreeMap<usize, Arc<CgTensor>>>> = LazyLock::new(Mutex::default);
        if lmax > LARGEST {
            return Err(CgError::TooLarge { lmax, largest: LARGEST });
        }
        if let Some(found) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(&lmax) {
            return Ok(found.clone());
        }
        let mut made = Self { lmax, entries: Vec::new(), paths: Vec::new() };
        for l1 in 0..=lmax {
            for l2 in 0..=lmax {
                for l3 in l1.abs_diff(l2)..=lmax.min(l1 + l2) {
                    made.push([l1, l2, l3], [l1 * l1, l2 * l2, l3 * l3]);
                }
            }
        }
        let made = Arc::new(made);
        Ok(KEPT.lock().unwrap_or_else(PoisonError::into_inner).entry(lmax).or_insert(made).clone())
    }

    fn push(&mut self, l: [usize; 3], at: [usize; 3]) {
        let start = self.entries.len();
        let [_, d2, d3] = l.map(|l| 2 * l + 1);
        for (p, &value) in block(l[0], l[1], l[2]).iter().enumerate() {
            if value != 0.0 {
                let (i, j, k) = (at[0] + p / (d2 * d3), at[1] + p / d3 % d2, at[2] + p % d3);
                self.entries.push(Entry { i: i as u32, j: j as u32, k: k as u32, value });
            }
        }
        self.paths.push(Path { l, entries: start..self.entries.len() });
    }

    /// L.
    pub fn lmax(&self) -> usize {
        self.lmax
    }

    /// (L + 1)².
    pub fn dim(&self) -> usize {
        (self.lmax + 1).pow(2)
    }

    /// Paths in the order of (l1, l2, l3). Their number is n (n² + 1)/2 with n = L + 1, and ‖M‖² as well.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// What is not zero, path after path, in C order within each.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// M as (d, d, d) numbers.
    pub fn dense(&self) -> Dense<f64> {
        let d = self.dim();
        let mut out = Dense::zeros(&[d, d, d]);
        for e in &self.entries {
            out.values_mut()[(e.i as usize * d + e.j as usize) * d + e.k as usize] = e.value;
        }
        out
    }

    /// M as coordinates.
    pub fn sparse(&self) -> Sparse<f64> {
        let d = self.dim();
        let of = |get: fn(&Entry) -> u32| self.entries.iter().map(get).collect();
        let indices = vec![of(|e| e.i), of(|e| e.j), of(|e| e.k)];
        Sparse::new(vec![d, d, d], indices, self.entries.iter().map(|e| e.value).collect())
    }

    /// The squared singular values of the unfolding along any mode, descending: N_l/(2l + 1), 2l + 1 times each, N_l the number of paths
    /// with that l in that mode. All modes have the same, and the unfolding's Gram matrix is diagonal: the paths' blocks are orthogonal.
    pub fn squared_singular_values(&self) -> Vec<f64> {
        let mut all: Vec<f64> = (0..=self.lmax)
            .flat_map(|l| {
                let count = self.paths.iter().filter(|p| p.l[0] == l).count();
                std::iter::repeat_n(count as f64 / (2 * l + 1) as f64, 2 * l + 1)
            })
            .collect();
        all.sort_by(|a, b| b.total_cmp(a));
        all
    }
}
