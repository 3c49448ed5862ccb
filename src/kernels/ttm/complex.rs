//! Planar complex forms: the real and the imaginary parts in slices of their own.

use super::super::mttkrp::around;
use super::mode_gram::cross;
use super::product::ttm;
use crate::kernels::gemm::{MatRef, with_scratch};
use crate::kernels::simd::Real;

/// As [`ttm`] with complex X and M = [re, im]; nothing is conjugated. Four real products: 8·J·ΠI operations, and an intermediate of the
/// size of one part of the result.
pub fn ttm_complex<T: Real>(x: [&[T]; 2], shape: &[usize], m: [MatRef<'_, T>; 2], mode: usize, out: [&mut [T]; 2]) {
    let [re, im] = out;
    assert_eq!(re.len(), im.len(), "ttm: the parts of the result are of one size");
    with_scratch(re.len(), |product: &mut [T]| {
        ttm(x[0], shape, m[0], mode, re);
        ttm(x[1], shape, m[1], mode, product);
        re.iter_mut().zip(&*product).for_each(|(a, &b)| *a = *a - b);
        ttm(x[0], shape, m[1], mode, im);
        ttm(x[1], shape, m[0], mode, product);
        im.iter_mut().zip(&*product).for_each(|(a, &b)| *a += b);
    });
}

/// `X_(mode) · X_(mode)ᴴ` as [re, im] of (I, I): re = A Aᵀ + B Bᵀ, im = B Aᵀ − A Bᵀ for X = A + iB. Hermitian to the bit. 4·I·ΠI
/// operations.
pub fn mode_gram_complex<T: Real>(x: [&[T]; 2], shape: &[usize], mode: usize, out: [&mut [T]; 2]) {
    let [l, i, t] = around(shape, mode);
    let [re, im] = out;
    assert!(x.iter().all(|x| x.len() == l * i * t), "mode_gram: a tensor of shape {shape:?}");
    assert!(re.len() == i * i && im.len() == i * i, "mode_gram: a result of {i} x {i}");
    with_scratch(i * i, |other: &mut [T]| {
        cross(x[0], x[0], [l, i, t], re);
        cross(x[1], x[1], [l, i, t], other);
        for a in 0..i {
            for b in a..i {
                re[a * i + b] += other[a * i + b];
                re[b * i + a] = re[a * i + b];
            }
        }
        // B Aᵀ; its transpose is A Bᵀ.
        cross(x[1], x[0], [l, i, t], other);
        for a in 0..i {
            for b in 0..i {
                im[a * i + b] = other[a * i + b] - other[b * i + a];
            }
        }
    });
}
