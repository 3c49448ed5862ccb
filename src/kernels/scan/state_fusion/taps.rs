//! The taps of the merged kernel, and which cells they join.

use super::DILATIONS;
use std::ops::Range;

/// How far a tap reaches.
pub(super) const REACH: usize = 5;

/// Rows of taps: how far down they look, and the columns to the right that they look at.
pub(super) const LINES: [(isize, &[isize]); 7] = [
    (-5, &[-5, 0, 5]),
    (-3, &[-3, 0, 3]),
    (-1, &[-1, 0, 1]),
    (0, &[-5, -3, -1, 0, 1, 3, 5]),
    (1, &[-1, 0, 1]),
    (3, &[-3, 0, 3]),
    (5, &[-5, 0, 5]),
];

/// All taps as (row, column) offsets, in the order of [`LINES`].
pub(super) const TAPS: [(isize, isize); 25] = {
    let (mut taps, mut at, mut line) = ([(0, 0); 25], 0, 0);
    while line < LINES.len() {
        let mut k = 0;
        while k < LINES[line].1.len() {
            taps[at] = (LINES[line].0, LINES[line].1[k]);
            at += 1;
            k += 1;
        }
        line += 1;
    }
    taps
};

/// The number of the first tap of each line.
pub(super) const FIRST: [usize; 7] = [0, 3, 6, 9, 16, 19, 22];

/// The taps of the nine places of a kernel.
pub(super) fn of_kernel(kernel: usize) -> [usize; 9] {
    let dilation = DILATIONS[kernel] as isize;
    std::array::from_fn(|place| {
        let offset = (dilation * (place as isize / 3 - 1), dilation * (place as isize % 3 - 1));
        TAPS.iter().position(|tap| *tap == offset).unwrap_or_default()
    })
}

/// Along one axis of `len` places: the place that a tap reads for place `at`.
#[inline(always)]
pub(super) fn read(at: usize, offset: isize, len: usize) -> usize {
    at.saturating_add_signed(offset).min(len - 1)
}

/// Along one axis: the places for which a tap reads place `at`. At either end those that would read outside are among them.
#[inline(always)]
pub(super) fn readers(at: usize, offset: isize, len: usize) -> Range<usize> {
    let first = if at == 0 { 0 } else { (at as isize - offset).clamp(0, len as isize) as usize };
    let end = if at + 1 == len { len } else { (at as isize - offset + 1).clamp(0, len as isize) as usize };
    first..end
}

/// [`read`], or [`readers`] on the way back.
#[inline(always)]
pub(super) fn joined<const BACK: bool>(at: usize, offset: isize, len: usize) -> Range<usize> {
    if BACK {
        readers(at, offset, len)
    } else {
        let place = read(at, offset, len);
        place..place + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_those_that_read() {
        for len in [1, 2, 5, 6, 13] {
            for offset in -5..=5 {
                for at in 0..len {
                    let found: Vec<usize> = readers(at, offset, len).collect();
                    let expected: Vec<usize> = (0..len).filter(|p| read(*p, offset, len) == at).collect();
                    assert_eq!(found, expected, "place {at} of {len}, offset {offset}");
                }
            }
        }
    }

    #[test]
    fn every_tap_belongs_to_a_kernel() {
        let mut all: Vec<usize> = (0..3).flat_map(of_kernel).collect();
        all.sort_unstable();
        assert_eq!(all.iter().filter(|tap| TAPS[**tap] == (0, 0)).count(), 3);
        all.dedup();
        assert!(all.into_iter().eq(0..25));
        assert!((0..7).all(|line| TAPS[FIRST[line]] == (LINES[line].0, LINES[line].1[0])));
    }
}
