//! How numbers are held in memory, beside the type that is computed with.

use super::bits::{from_bf16, to_bf16};
use crate::kernels::rows;
use crate::kernels::simd::{Lanes, Real};

/// A number in memory: `T` itself, or bits of bf16 for f32.
pub(in crate::kernels::scan) trait Stored<T: Real>: Copy + Send + Sync {
    /// `count` numbers from place `at` on; zeros in the other lanes.
    fn get<V: Lanes<T>>(from: &[Self], at: usize, count: usize) -> V;
    /// Writes `count` lanes from place `at` on, rounded to nearest.
    fn put<V: Lanes<T>>(v: V, to: &mut [Self], at: usize, count: usize);
}

impl<T: Real> Stored<T> for T {
    #[inline(always)]
    fn get<V: Lanes<T>>(from: &[T], at: usize, count: usize) -> V {
        rows::get(from, at, count)
    }

    #[inline(always)]
    fn put<V: Lanes<T>>(v: V, to: &mut [T], at: usize, count: usize) {
        rows::put(v, to, at, count);
    }
}

const LANES: usize = <f32 as Real>::LANES;

impl Stored<f32> for u16 {
    #[inline(always)]
    fn get<V: Lanes<f32>>(from: &[u16], at: usize, count: usize) -> V {
        let mut wide = [0.0; LANES];
        if count == LANES {
            let from: &[u16] = &from[at..at + LANES];
            for i in 0..LANES {
                wide[i] = from_bf16(from[i]);
            }
        } else {
            for (wide, &bits) in wide.iter_mut().zip(&from[at..at + count]) {
                *wide = from_bf16(bits);
            }
        }
        V::load(&wide)
    }

    #[inline(always)]
    fn put<V: Lanes<f32>>(v: V, to: &mut [u16], at: usize, count: usize) {
        let mut wide = [0.0; LANES];
        v.store(&mut wide);
        if count == LANES {
            let to: &mut [u16] = &mut to[at..at + LANES];
            for i in 0..LANES {
                to[i] = to_bf16(wide[i]);
            }
        } else {
            for (to, &wide) in to[at..at + count].iter_mut().zip(&wide) {
                *to = to_bf16(wide);
            }
        }
    }
}
