//! MTTKRP and Grams of complex tensors, planar: the real and the imaginary parts in slices of their own.

use std::ops::Range;

use super::around;
use super::gram::cross_into;
use super::khatri_rao::Rows;
use super::left::left;
use super::right::right;
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::transpose::transpose;

/// Numbers that intermediates may take beside one eighth of X.
const SMALL: usize = 1 << 16;

/// MTTKRP of a complex tensor: `out = X_(mode) · conj(KR)`, as [`mttkrp`](super::mttkrp) otherwise.
///
/// `x`, each factor and `out` are [re, im]. The conjugate makes it the right-hand side of the normal equations of CP:
/// `U_n · Gᵀ = out` with G the elementwise product of the [`gram_complex`] of the other factors.
///
/// A real contraction of width 2·R for the real and for the imaginary part of X: 8·R·ΠI operations, X read once. Intermediates take at
/// most an eighth of X, 2^16 numbers, or four times the result, whichever is largest. Panics when a slice has not the size that `shape`
/// and `rank` ask for.
pub fn mttkrp_complex<T: Real>(
    x: [&[T]; 2],
    shape: &[usize],
    factors: &[[&[T]; 2]],
    rank: usize,
    mode: usize,
    out: [&mut [T]; 2],
) {
    let [l, i, t] = around(shape, mode);
    assert!(x.iter().all(|x| x.len() == l * i * t) && factors.len() == shape.len(), "mttkrp: a tensor of shape {shape:?}");
    for (m, (factor, &size)) in factors.iter().zip(shape).enumerate() {
        assert!(m == mode || factor.iter().all(|f| f.len() == size * rank), "mttkrp: factor {m} is {size} x {rank}");
    }
    let [re, im] = out;
    assert!(re.len() == i * rank && im.len() == i * rank, "mttkrp: a result of {i} x {rank}");
    re.fill(T::ZERO);
    im.fill(T::ZERO);
    if x[0].is_empty() || rank == 0 {
        return;
    }
    let before = ComplexRows { factors: &factors[..mode], sizes: &shape[..mode], rank };
    let after = ComplexRows { factors: &factors[mode + 1..], sizes: &shape[mode + 1..], rank };
    let limit = (x[0].len() / 8).max(SMALL);
    if l > t && 4 * rank * i * t <= limit {
        with_scratch(4 * rank * i * t, |both: &mut [T]| {
            let (p, q) = both.split_at_mut(2 * rank * i * t);
            left(x[0], [l, i * t, 1], &before, None, p);
            left(x[1], [l, i * t, 1], &before, None, q);
            fold(rank, [p, q], (i, t), &after, 0..t, [re, im]);
        });
    } else {
        let block = (limit / (4 * rank * i)).clamp(1, l);
        with_scratch(4 * rank * block * i, |both: &mut [T]| {
            for first in (0..l).step_by(block) {
                let n = block.min(l - first);
                let (p, q) = both[..4 * rank * n * i].split_at_mut(2 * rank * n * i);
                let own = first * i * t..(first + n) * i * t;
                right(&x[0][own.clone()], [1, n * i, t], None, &after, p);
                right(&x[1][own], [1, n * i, t], None, &after, q);
                // (width, l, i), so that l runs before i.
                fold_before(rank, [p, q], (n, i), &before, first..first + n, [re, im]);
            }
        });
    }
}

/// (p + iq) with p, q (2R, n) holding X·re K and X·im K: element of column r of X·conj(K), X = p's part + i·q's part.
#[inline(always)]
fn conjugated<T: Real>(rank: usize, [p, q]: [&[T]; 2], n: usize, r: usize, at: usize) -> (T, T) {
    let (re, im) = (r * n + at, (rank + r) * n + at);
    (p[re] + q[im], q[re] - p[im])
}

/// out[i, r] += Σ_t Y[(i, t), r] · conj(by[t, r])
fn fold<T: Real>(
    rank: usize,
    y: [&[T]; 2],
    (i, t): (usize, usize),
    by: &ComplexRows<'_, T>,
    ts: Range<usize>,
    [re, im]: [&mut [T]; 2],
) {
    with_scratch(2 * rank * t, |columns: &mut [T]| {
        by.fill_columns(ts, columns, t);
        for r in 0..rank {
            let (kr, ki) = (&columns[r * t..][..t], &columns[(rank + r) * t..][..t]);
            for i_at in 0..i {
                let (mut a, mut b) = (T::ZERO, T::ZERO);
                for s in 0..t {
                    let (u, v) = conjugated(rank, y, i * t, r, i_at * t + s);
                    a = u.fma(kr[s], v.fma(ki[s], a));
                    b = v.fma(kr[s], (-u).fma(ki[s], b));
                }
                re[i_at * rank + r] += a;
                im[i_at * rank + r] += b;
            }
        }
    });
}

/// out[i, r] += Σ_l Y[(l, i), r] · conj(by[l, r])
fn fold_before<T: Real>(
    rank: usize,
    y: [&[T]; 2],
    (n, i): (usize, usize),
    by: &ComplexRows<'_, T>,
    ls: Range<usize>,
    [re, im]: [&mut [T]; 2],
) {
    with_scratch(2 * rank * n, |rows: &mut [T]| {
        by.fill(ls, rows);
        for r in 0..rank {
            for l in 0..n {
                let (kr, ki) = (rows[l * 2 * rank + r], rows[(l * 2 + 1) * rank + r]);
                for i_at in 0..i {
                    let (u, v) = conjugated(rank, y, n * i, r, l * i + i_at);
                    let (to_re, to_im) = (&mut re[i_at * rank + r], &mut im[i_at * rank + r]);
                    *to_re = u.fma(kr, v.fma(ki, *to_re));
                    *to_im = v.fma(kr, (-u).fma(ki, *to_im));
                }
            }
        }
    });
}

/// The rows of a complex Khatri-Rao product: real parts, then imaginary parts, 2·rank numbers.
struct ComplexRows<'a, T> {
    factors: &'a [[&'a [T]; 2]],
    sizes: &'a [usize],
    rank: usize,
}

impl<T: Real> Rows<T> for ComplexRows<'_, T> {
    fn rows(&self) -> usize {
        self.sizes.iter().product()
    }

    fn width(&self) -> usize {
        2 * self.rank
    }

    fn fill(&self, range: Range<usize>, out: &mut [T]) {
        let rank = self.rank;
        for (row, to) in range.zip(out.chunks_exact_mut(2 * rank)) {
            let (re, im) = to.split_at_mut(rank);
            re.fill(T::ONE);
            im.fill(T::ZERO);
            let mut rest = row;
            for (factor, &size) in self.factors.iter().zip(self.sizes).rev() {
                let at = rest % size * rank;
                rest /= size;
                let (u, v) = (&factor[0][at..][..rank], &factor[1][at..][..rank]);
                for r in 0..rank {
                    let (a, b) = (re[r], im[r]);
                    re[r] = a * u[r] - b * v[r];
                    im[r] = a * v[r] + b * u[r];
                }
            }
        }
    }

    fn fill_columns(&self, range: Range<usize>, out: &mut [T], lead: usize) {
        let (n, width) = (range.len(), self.width());
        with_scratch(n * width, |rows: &mut [T]| {
            self.fill(range, rows);
            transpose((rows, width), (n, width), (out, lead));
        });
    }
}

/// UᴴU of a complex factor (I, rank), `[r, s] = Σ_i conj(u[i, r]) u[i, s]`, as [re, im] of (rank, rank), added up in f64.
pub fn gram_complex<T: Real>(u: [&[T]; 2], rank: usize) -> [Vec<f64>; 2] {
    let cross = |a: &[T], b: &[T]| {
        let mut out = vec![0.0; rank * rank];
        cross_into(a, b, rank, &mut out);
        out
    };
    let (mut re, also, mixed) = (cross(u[0], u[0]), cross(u[1], u[1]), cross(u[0], u[1]));
    re.iter_mut().zip(&also).for_each(|(a, b)| *a += b);
    let im = (0..rank * rank).map(|k| mixed[k] - mixed[k % rank * rank + k / rank]).collect();
    [re, im]
}

/// The elementwise product of complex matrices of one size; all ones where there are none.
pub fn hadamard_complex<'a>(matrices: impl IntoIterator<Item = [&'a [f64]; 2]>, len: usize) -> [Vec<f64>; 2] {
    let (mut re, mut im) = (vec![1.0; len], vec![0.0; len]);
    for [u, v] in matrices {
        assert!(u.len() == len && v.len() == len, "hadamard: matrices of {len} numbers");
        for k in 0..len {
            let (a, b) = (re[k], im[k]);
            re[k] = a * u[k] - b * v[k];
            im[k] = a * v[k] + b * u[k];
        }
    }
    [re, im]
}
