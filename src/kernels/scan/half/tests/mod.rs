//! Against the plain scans and the definitions on the same rounded numbers.

mod conv;
mod mamba3;
mod selective;
mod ssd;

use crate::kernels::bf16::{from_bf16, to_bf16};
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{close, in_pool};

/// What is not written shows.
const NAN: u16 = 0x7FC0;

fn halves(x: &[f64]) -> Vec<u16> {
    x.iter().map(|&v| to_bf16(v as f32)).collect()
}

fn doubles(x: &[u16]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(from_bf16(v))).collect()
}

/// Numbers as bf16 has them.
fn rounded(x: &[f64]) -> Vec<f64> {
    doubles(&halves(x))
}

/// Half the distance of two bf16 next to each other, relative to the smaller: 8 bits of significand.
const HALF: f64 = 1.0 / 256.0;

/// What is exact but for f32 noise of at most `noise` of the largest number, then rounded once.
fn rounded_once(found: &[u16], exact: &[f64], noise: f64, what: &str) {
    assert_eq!(found.len(), exact.len(), "{what}");
    let size = exact.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in doubles(found).iter().zip(exact).enumerate() {
        let noise = noise * size;
        // Numbers below the smallest normal one are a fixed distance apart.
        let bound = noise + HALF * (e.abs() + noise) + f64::from(f32::MIN_POSITIVE) * HALF;
        assert!((f - e).abs() <= bound, "{what}: element {i} is {f}, not {e}: off by {} of {bound}", (f - e).abs());
    }
}

/// The results of a scan: bits of bf16, then f32.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    halves: Vec<Vec<u16>>,
    singles: Vec<Vec<f32>>,
}

impl Found {
    fn bits(&self) -> (Vec<Vec<u16>>, Vec<Vec<u32>>) {
        let of = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
        (self.halves.clone(), self.singles.iter().map(of).collect())
    }

    /// `exact`: the halves, then the singles.
    fn check(&self, exact: &[Vec<f64>], names: &[&str], noise: &[f64], what: &str) {
        assert_eq!(self.halves.len() + self.singles.len(), exact.len());
        for (i, exact) in exact.iter().enumerate() {
            let what = format!("{} of {what}", names[i]);
            match self.halves.get(i) {
                Some(found) => rounded_once(found, exact, noise[i], &what),
                None => {
                    let found: Vec<f64> = self.singles[i - self.halves.len()].iter().map(|&v| f64::from(v)).collect();
                    close(&found, exact, noise[i], &what);
                }
            }
        }
    }
}

/// Runs in pools of several sizes and with every instruction set: always the same bits.
fn changes_no_bit(run: impl Fn() -> Found + Sync) {
    let one = in_pool(1, || run().bits());
    for threads in [2, 8] {
        assert!(one == in_pool(threads, || run().bits()), "{threads} threads");
    }
    for isa in available() {
        assert!(one == in_pool(1, || with_isa(isa, || run().bits())), "{isa:?}");
    }
}
