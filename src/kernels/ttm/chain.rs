//! Products along several modes.

use super::product::ttm;
use crate::kernels::gemm::MatRef;
use crate::kernels::simd::Real;

/// X times `matrices[m]` along every mode m but `skip`: `Y = X ×_{m≠skip} M_m`, the tensor whose unfolding HOOI takes the singular
/// vectors of.
///
/// `matrices[m]` is (J_m, I_m) with any strides; that of `skip` is not looked at. Gives Y in C order; its shape has J_m in the place of
/// I_m.
///
/// The products are done in the order of least arithmetic: by falling 1/J_m − 1/I_m, so that no search is needed, and modes that grow
/// (J > I) come last. Two intermediates are alive at a time.
pub fn ttmc<T: Real>(x: &[T], shape: &[usize], matrices: &[MatRef<'_, T>], skip: usize) -> Vec<T> {
    assert!(skip < shape.len(), "ttmc: mode {skip} of a tensor of {} modes", shape.len());
    chain(x, shape, matrices, Some(skip))
}

/// X times `matrices[m]` along every mode: `X ×_0 M_0 ×_1 M_1 …`, as [`ttmc`].
pub fn ttm_all<T: Real>(x: &[T], shape: &[usize], matrices: &[MatRef<'_, T>]) -> Vec<T> {
    chain(x, shape, matrices, None)
}

/// Modes in the order of least arithmetic. With n numbers left, mode m costs n·J and leaves n·J/I. Of two neighbours, a first is better
/// when J_a + J_a/I_a · J_b < J_b + J_b/I_b · J_a, that is (divide by J_a J_b) when 1/J_b − 1/I_b < 1/J_a − 1/I_a: descending key.
pub(in crate::kernels) fn order(shape: &[usize], rows: &[usize], skip: Option<usize>) -> Vec<usize> {
    let mut modes: Vec<usize> = (0..shape.len()).filter(|&m| Some(m) != skip).collect();
    let key = |m: usize| 1.0 / (rows[m].max(1) as f64) - 1.0 / (shape[m].max(1) as f64);
    modes.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    modes
}

fn chain<T: Real>(x: &[T], shape: &[usize], matrices: &[MatRef<'_, T>], skip: Option<usize>) -> Vec<T> {
    assert_eq!(matrices.len(), shape.len(), "ttmc: one matrix per mode");
    let rows: Vec<usize> = matrices.iter().map(MatRef::rows).collect();
    let mut sizes = shape.to_vec();
    let mut held: Option<Vec<T>> = None;
    for mode in order(shape, &rows, skip) {
        let mut next = sizes.clone();
        next[mode] = rows[mode];
        let mut out = vec![T::ZERO; next.iter().product()];
        ttm(held.as_deref().unwrap_or(x), &sizes, matrices[mode], mode, &mut out);
        (held, sizes) = (Some(out), next);
    }
    held.unwrap_or_else(|| x.to_vec())
}
