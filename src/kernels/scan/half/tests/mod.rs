//! Against the plain scans on the same rounded numbers, and against the definitions.
//!
//! Where a kernel loads and stores bf16 itself, order and form are those of the plain one: then every bit is, also of gradients, and that
//! the plain one is the definition is shown in its own folder.

mod conv;
mod lti;
mod mamba3;
mod maps;
mod selective;
mod softsort;
mod ssd;
mod step;

use crate::kernels::bf16::{from_bf16, to_bf16};
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{close, in_pool, numbers};

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

fn singles(x: &[u16]) -> Vec<f32> {
    x.iter().map(|&v| from_bf16(v)).collect()
}

/// Numbers in [-1, 1) that bf16 has, times `size`.
fn made_up(seed: u64, len: usize, size: f64) -> Vec<u16> {
    halves(&numbers(seed, len).iter().map(|v| v * size).collect::<Vec<_>>())
}

/// Any bit patterns: sizes of all powers, infinities, NaN.
fn wild(seed: u64, len: usize) -> Vec<u16> {
    let mut bits: Vec<u16> = numbers(seed, len).iter().map(|v| ((v + 1.0) * 32768.0) as u16).collect();
    for (to, special) in bits.iter_mut().step_by(5).zip([0x7F80, 0xFF80, 0x7FC1, 0xFF81, 0x0001, 0x8000]) {
        *to = special;
    }
    bits
}

/// The same numbers, rounded; NaN is NaN whatever its bits.
fn same(found: &[u16], plain: &[f32], what: &str) {
    assert_eq!(found.len(), plain.len(), "{what}");
    for (i, (&f, &p)) in found.iter().zip(plain).enumerate() {
        let as_good = if p.is_nan() { from_bf16(f).is_nan() } else { f == to_bf16(p) };
        assert!(as_good, "{what}: element {i} is {:e}, not {p:e} rounded", from_bf16(f));
    }
}

fn same_singles(found: &[f32], plain: &[f32], what: &str) {
    assert_eq!(found.len(), plain.len(), "{what}");
    let equal = |(f, p): (&f32, &f32)| f.to_bits() == p.to_bits() || (f.is_nan() && p.is_nan());
    assert!(found.iter().zip(plain).all(equal), "{what}");
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
