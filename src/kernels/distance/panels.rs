//! Points rearranged so that a vector holds one coordinate of neighbouring points.

use crate::kernels::simd::Real;

/// Numbers that `count` points of `d` coordinates take in panels: whole pairs of panels.
pub(super) fn room<T: Real>(count: usize, d: usize) -> usize {
    count.div_ceil(2 * T::LANES) * 2 * T::LANES * d
}

/// Writes the points at the rows `rows` of `points` (rows of `d`) into panels of `T::LANES` points: coordinate j of point i is at
/// `(i / LANES)·d·LANES + j·LANES + i % LANES`. Zeros fill up the last pair of panels.
pub(super) fn pack<T: Real>(points: &[T], d: usize, rows: &[u32], to: &mut [T]) {
    let lanes = T::LANES;
    assert!(to.len() >= room::<T>(rows.len(), d), "panels: too little room");
    let whole = rows.len() / lanes;
    for (p, rows) in rows.chunks_exact(lanes).enumerate() {
        let panel = &mut to[p * d * lanes..(p + 1) * d * lanes];
        for (q, four) in rows.chunks_exact(4).enumerate() {
            let [a, b, c, e] = [0, 1, 2, 3].map(|i| &points[four[i] as usize * d..][..d]);
            four_rows(a, b, c, e, panel, 4 * q, lanes);
        }
    }
    let rest = &rows[whole * lanes..];
    let to = &mut to[whole * d * lanes..room::<T>(rows.len(), d)];
    if to.is_empty() {
        return;
    }
    to.fill(T::ZERO);
    for (i, &row) in rest.iter().enumerate() {
        for (j, &x) in points[row as usize * d..][..d].iter().enumerate() {
            to[j * lanes + i] = x;
        }
    }
}

/// Four rows to four neighbouring lanes. Squares of four by four, which the compiler turns into shuffles.
#[inline(always)]
fn four_rows<T: Real>(a: &[T], b: &[T], c: &[T], e: &[T], panel: &mut [T], lane: usize, lanes: usize) {
    let d = a.len();
    let whole = d / 4 * 4;
    for j in (0..whole).step_by(4) {
        let square: [[T; 4]; 4] = [a, b, c, e].map(|row| [row[j], row[j + 1], row[j + 2], row[j + 3]]);
        for q in 0..4 {
            let to = &mut panel[(j + q) * lanes + lane..][..4];
            to.copy_from_slice(&[square[0][q], square[1][q], square[2][q], square[3][q]]);
        }
    }
    for j in whole..d {
        panel[j * lanes + lane..][..4].copy_from_slice(&[a[j], b[j], c[j], e[j]]);
    }
}
