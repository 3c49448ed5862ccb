//! Which rows belong together.

use std::ops::Range;

/// Sequences laid end to end in the rows of a matrix. A scan starts anew with each, and a convolution does not look across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequences<'a> {
    /// `count` sequences of `len` rows: a batch.
    Equal { count: usize, len: usize },
    /// Sequence i is rows `bounds[i]..bounds[i + 1]`: `cu_seqlens`. Starts with 0, never falls, ends with the number of rows.
    Packed(&'a [usize]),
}

impl Sequences<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Equal { count, .. } => *count,
            Self::Packed(bounds) => bounds.len().saturating_sub(1),
        }
    }

    /// Rows of all of them.
    pub fn rows(&self) -> usize {
        match self {
            Self::Equal { count, len } => count * len,
            Self::Packed(bounds) => bounds.last().copied().unwrap_or(0),
        }
    }

    /// The rows of sequence `i`.
    pub fn range(&self, i: usize) -> Range<usize> {
        match self {
            Self::Equal { len, .. } => i * len..(i + 1) * len,
            Self::Packed(bounds) => bounds[i]..bounds[i + 1],
        }
    }

    /// All ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + use<'_> {
        (0..self.count()).map(|i| self.range(i))
    }

    /// Panics when the bounds of packed sequences are not bounds.
    pub(super) fn check(&self, op: &str) {
        if let Self::Packed(bounds) = self {
            let first = bounds.first();
            assert!(first == Some(&0), "{op}: the bounds of packed sequences start with {first:?}, expected 0");
            assert!(bounds.is_sorted(), "{op}: the bounds of packed sequences must not fall");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_and_packed_agree() {
        let bounds = [0, 5, 10, 15];
        let (equal, packed) = (Sequences::Equal { count: 3, len: 5 }, Sequences::Packed(&bounds));
        assert_eq!((equal.count(), equal.rows()), (packed.count(), packed.rows()));
        assert!(equal.iter().eq(packed.iter()));
        packed.check("test");
    }

    #[test]
    fn bounds_that_fall_or_start_late_are_refused() {
        for bad in [&[1, 2][..], &[0, 3, 2], &[]] {
            assert!(std::panic::catch_unwind(|| Sequences::Packed(bad).check("test")).is_err(), "{bad:?}");
        }
        Sequences::Packed(&[0, 0, 4, 4]).check("test");
    }
}
