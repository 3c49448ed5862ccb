//! The definitions: plain loops in f64.

use crate::kernels::simd::Real;

/// Calls `with` for every entry of a tensor in C order: its place and its indices.
pub fn each_entry(shape: &[usize], mut with: impl FnMut(usize, &[usize])) {
    let mut index = vec![0; shape.len()];
    for place in 0..shape.iter().product() {
        let mut rest = place;
        for (i, &size) in index.iter_mut().zip(shape).rev() {
            *i = rest % size;
            rest /= size;
        }
        with(place, &index);
    }
}

/// MTTKRP of a dense tensor, and beside each number the sum of the magnitudes of its terms (what errors scale with).
pub fn mttkrp<T: Real>(x: &[T], shape: &[usize], factors: &[&[T]], rank: usize, mode: usize) -> Vec<(f64, f64)> {
    let mut out = vec![(0.0, 0.0); shape[mode] * rank];
    each_entry(shape, |place, index| add(x[place], index, factors, rank, mode, &mut out));
    out
}

/// MTTKRP of coordinates; as [`mttkrp`].
pub fn sparse<T: Real>(
    (shape, indices, values): (&[usize], &[Vec<u32>], &[T]),
    factors: &[&[T]],
    rank: usize,
    mode: usize,
) -> Vec<(f64, f64)> {
    let mut out = vec![(0.0, 0.0); shape[mode] * rank];
    for (k, &x) in values.iter().enumerate() {
        let index: Vec<usize> = indices.iter().map(|i| i[k] as usize).collect();
        add(x, &index, factors, rank, mode, &mut out);
    }
    out
}

fn add<T: Real>(x: T, index: &[usize], factors: &[&[T]], rank: usize, mode: usize, out: &mut [(f64, f64)]) {
    for r in 0..rank {
        let others = (0..index.len()).filter(|&m| m != mode).map(|m| factors[m][index[m] * rank + r].to_f64());
        let term = x.to_f64() * others.product::<f64>();
        let to = &mut out[index[mode] * rank + r];
        *to = (to.0 + term, to.1 + term.abs());
    }
}

/// `Σ_r weights[r] Π_m factors[m][i_m, r]` at every place of a dense tensor, with the magnitudes of its terms.
pub fn kruskal<T: Real>(shape: &[usize], weights: Option<&[T]>, factors: &[&[T]], rank: usize) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    each_entry(shape, |_, index| {
        let term = |r: usize| {
            let weight = weights.map_or(1.0, |w| w[r].to_f64());
            weight * index.iter().zip(factors).map(|(&i, u)| u[i * rank + r].to_f64()).product::<f64>()
        };
        out.push((0..rank).map(term).fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs())));
    });
    out
}

/// A complex number as (re, im).
pub type Complex = (f64, f64);

pub(in crate::kernels) fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// `X_(mode) · conj(KR)` for planar complex numbers in f64.
pub fn mttkrp_complex(x: [&[f64]; 2], shape: &[usize], factors: &[[&[f64]; 2]], rank: usize, mode: usize) -> Vec<Complex> {
    let mut out = vec![(0.0, 0.0); shape[mode] * rank];
    each_entry(shape, |place, index| {
        for r in 0..rank {
            let mut term = (x[0][place], x[1][place]);
            for m in (0..shape.len()).filter(|&m| m != mode) {
                let at = index[m] * rank + r;
                term = times(term, (factors[m][0][at], -factors[m][1][at]));
            }
            let to = &mut out[index[mode] * rank + r];
            *to = (to.0 + term.0, to.1 + term.1);
        }
    });
    out
}
