//! What this machine can do at most: the yardsticks of a benchmark.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Numbers that each thread copies: 32 MiB of `f32`, beyond the caches.
const COPIED: usize = 8 << 20;
/// Rounds of independent multiply-adds.
const ROUNDS: usize = 1 << 18;
/// Chains at most.
const CHAINS: usize = 12;

/// Independent chains: enough registers to hide the latency of two units, few enough for all to stay in registers.
const fn chains(registers: usize) -> usize {
    if registers == 1 { CHAINS } else { CHAINS / 2 }
}

fn best(mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..5).map(time).fold(f64::INFINITY, f64::min)
}

/// Bytes read and written by a plain copy on all threads, in GB/s; the best of five.
pub fn copy_bandwidth() -> f64 {
    let threads = rayon::current_num_threads();
    let from = vec![1f32; threads * COPIED];
    let mut to = vec![0f32; threads * COPIED];
    let seconds = best(|| {
        to.par_chunks_mut(COPIED).zip(from.par_chunks(COPIED)).for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut to);
    });
    2.0 * (size_of::<f32>() * from.len()) as f64 / seconds / 1e9
}

struct Multiply;

impl<T: Real> Kernel<T> for Multiply {
    type Output = (T, usize);
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> (T, usize) {
        let (a, b) = (V::splat(black_box(T::from_f64(0.999))), V::splat(black_box(T::from_f64(1e-3))));
        let mut chains = [b; CHAINS];
        for _ in 0..ROUNDS {
            // Each step must follow the one before.
            for chain in chains.iter_mut().take(const { self::chains(V::REGISTERS) }) {
                *chain = chain.fma(a, b);
            }
        }
        (chains.into_iter().fold(b, V::add).sum(), self::chains(V::REGISTERS))
    }
}

/// Independent fused multiply-adds in `f32` on all threads, in GFLOP/s; the best of five.
pub fn multiply_peak() -> f64 {
    let threads = rayon::current_num_threads();
    let seconds = best(|| {
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            black_box(dispatch::<f32, _>(Multiply));
        });
    });
    let (_, chains) = dispatch::<f32, _>(Multiply);
    (2 * chains * ROUNDS * f32::LANES * threads) as f64 / seconds / 1e9
}
