//! Transposition in the cache.

use crate::kernels::simd::{Kernel, Lanes, dispatch};

/// Side of the squares that are transposed in registers: compilers turn four by four into shuffles.
const SIDE: usize = 4;

/// Writes the transpose of `from` (`rows` lines of `cols` numbers, `stride` apart) to `to` (`cols` lines of `rows` numbers, `lead` apart);
/// what lies behind a line of `to` stays. Numbers are moved, whatever they are. For use inside a kernel. Panics when a line lies outside.
#[inline(always)]
pub(super) fn transpose_inside<T: Copy>(
    (from, stride): (&[T], usize),
    (rows, cols): (usize, usize),
    (to, lead): (&mut [T], usize),
) {
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(cols <= stride && from.len() >= (rows - 1) * stride + cols, "{rows} lines of {cols} numbers, {stride} apart");
    assert!(rows <= lead && to.len() >= (cols - 1) * lead + rows, "{cols} lines of {rows} numbers, {lead} apart");
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    let (whole_rows, whole_cols) = (rows / SIDE * SIDE, cols / SIDE * SIDE);
    // SAFETY: rows below `rows` and columns below `cols` lie inside both by the assertions, and the slices are apart.
    unsafe {
        for i in (0..whole_rows).step_by(SIDE) {
            let from = from.add(i * stride);
            for j in (0..whole_cols).step_by(SIDE) {
                let lines: [[T; SIDE]; SIDE] = std::array::from_fn(|k| from.add(k * stride + j).cast::<[T; SIDE]>().read());
                for k in 0..SIDE {
                    let column: [T; SIDE] = std::array::from_fn(|l| lines[l][k]);
                    to.add((j + k) * lead + i).cast::<[T; SIDE]>().write(column);
                }
            }
            for j in whole_cols..cols {
                for k in 0..SIDE {
                    *to.add(j * lead + i + k) = *from.add(k * stride + j);
                }
            }
        }
        for i in whole_rows..rows {
            for j in 0..cols {
                *to.add(j * lead + i) = *from.add(i * stride + j);
            }
        }
    }
}

struct Transpose<'a, T> {
    from: (&'a [T], usize),
    shape: (usize, usize),
    to: (&'a mut [T], usize),
}

impl<T: Copy> Kernel<f32> for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        transpose_inside(self.from, self.shape, self.to);
    }
}

/// [`transpose_inside`] with the active instruction set.
pub(super) fn transpose<T: Copy>(from: (&[T], usize), shape: (usize, usize), to: (&mut [T], usize)) {
    dispatch(Transpose { from, shape, to });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_and_stride_leaves_what_lies_between() {
        for (rows, cols) in [(0, 3), (3, 0), (1, 1), (4, 4), (5, 9), (8, 3), (13, 16)] {
            for more in [0, 3] {
                let (stride, lead) = (cols + more, rows + more);
                let from: Vec<f64> = (0..rows * stride).map(|i| i as f64).collect();
                let mut to = vec![-1.0; cols * lead];
                transpose((&from, stride), (rows, cols), (&mut to, lead));
                for (place, &found) in to.iter().enumerate() {
                    let (j, i) = (place / lead, place % lead);
                    assert_eq!(found, if i < rows { from[i * stride + j] } else { -1.0 }, "{rows}x{cols} + {more}");
                }
            }
        }
    }

    #[test]
    fn lines_outside_are_refused() {
        let refused = |from: usize, stride: usize, to: usize, lead: usize| {
            std::panic::catch_unwind(|| transpose((&vec![0f32; from], stride), (3, 2), (&mut vec![0f32; to], lead))).is_err()
        };
        assert!(!refused(6, 2, 6, 3));
        assert!(refused(5, 2, 6, 3) && refused(6, 2, 5, 3) && refused(6, 1, 6, 3) && refused(6, 2, 6, 2));
    }
}
