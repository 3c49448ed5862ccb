//! Vectors at the end of a slice.

use crate::kernels::simd::{Lanes, Real};

/// The first `N` numbers of `from`, zeros where there are fewer. A masked load costs several times a whole one, so that the length is
/// asked first.
#[inline(always)]
pub fn get<T: Real, V: Lanes<T>>(from: &[T]) -> V {
    if from.len() >= V::N { V::load(from) } else { V::load_partial(from) }
}

/// Writes the first `N` places of `to`, or all when there are fewer.
#[inline(always)]
pub fn put<T: Real, V: Lanes<T>>(v: V, to: &mut [T]) {
    if to.len() >= V::N {
        v.store(to);
    } else {
        v.store_partial(to);
    }
}
