//! Time in blocks: as many rows as are held in f32 at a time.

use crate::kernels::scan::Sequences;
use std::ops::Range;

/// Groups of chains at most: enough for a few dozen threads, few enough that their sums are quickly added.
const GROUPS: usize = 64;

/// Rows that are worked through one block after the other: a sequence of several blocks, or some short ones in a single block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub sequences: Range<usize>,
    pub rows: Range<usize>,
    /// Rows of a block at most.
    pub most: usize,
}

impl Chain {
    /// Its blocks in order, at least one: also sequences without rows hand on their states.
    pub(super) fn blocks(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + use<> {
        let (rows, most) = (self.rows.clone(), self.most);
        let count = rows.len().div_ceil(most).max(1);
        (0..count).map(move |i| rows.start + i * most..rows.end.min(rows.start + (i + 1) * most))
    }

    /// Where the sequences start in a block, and where the last ends.
    pub(super) fn bounds(&self, of: &Sequences<'_>, block: &Range<usize>, to: &mut Vec<usize>) {
        to.clear();
        to.push(0);
        if self.sequences.len() == 1 {
            to.push(block.len());
        } else {
            to.extend(self.sequences.clone().map(|i| of.range(i).end - block.start));
        }
    }
}

/// Cuts sequences into chains of blocks of at most `most` rows. Depends on the lengths alone.
pub(super) fn chains(sequences: &Sequences<'_>, most: usize) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    for (i, rows) in sequences.iter().enumerate() {
        match chains.last_mut() {
            // States cost too, so sequences are counted like rows.
            Some(last) if last.rows.len() + rows.len() + last.sequences.len() < most => {
                (last.sequences.end, last.rows.end) = (i + 1, rows.end);
            }
            _ => chains.push(Chain { sequences: i..i + 1, rows, most }),
        }
    }
    chains
}

/// Chains in at most [`GROUPS`] groups.
pub(super) fn groups(chains: &[Chain]) -> Vec<&[Chain]> {
    chains.chunks(chains.len().div_ceil(GROUPS).max(1)).collect()
}

/// The sequences of consecutive chains.
pub(super) fn sequences_of(chains: &[Chain]) -> Range<usize> {
    chains.first().map_or(0, |c| c.sequences.start)..chains.last().map_or(0, |c| c.sequences.end)
}

/// The rows of consecutive chains.
pub(super) fn rows_of(chains: &[Chain]) -> Range<usize> {
    chains.first().map_or(0, |c| c.rows.start)..chains.last().map_or(0, |c| c.rows.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sequences_share_a_block_and_long_ones_have_several() {
        let bounds = [0, 3, 3, 5, 20, 21, 29];
        let chains = chains(&Sequences::Packed(&bounds), 8);
        let found: Vec<_> = chains.iter().map(|c| (c.sequences.clone(), c.rows.clone())).collect();
        assert_eq!(found, [(0..3, 0..5), (3..4, 5..20), (4..5, 20..21), (5..6, 21..29)]);
        let blocks: Vec<_> = chains[1].blocks().collect();
        assert_eq!(blocks, [5..13, 13..20]);
        assert!(chains[0].blocks().eq(std::iter::once(0..5)));
        let mut to = Vec::new();
        chains[0].bounds(&Sequences::Packed(&bounds), &(0..5), &mut to);
        assert_eq!(to, [0, 3, 3, 5]);
        chains[1].bounds(&Sequences::Packed(&bounds), &(13..20), &mut to);
        assert_eq!(to, [0, 7]);
    }

    #[test]
    fn empty_sequences_have_a_block_too() {
        let chains = chains(&Sequences::Packed(&[0, 0, 0]), 8);
        assert_eq!(chains.len(), 1);
        assert!(chains[0].blocks().eq(std::iter::once(0..0)));
        assert!(super::chains(&Sequences::Packed(&[0]), 8).is_empty());
    }
}
