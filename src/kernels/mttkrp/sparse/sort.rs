//! The order of nonzeros by several indices: a radix sort of pairs of index and place.

use rayon::prelude::*;

/// Bits of a digit: as many open streams as two levels of address translation hold, and counts in the first-level cache.
const BITS: u32 = 10;

/// Places sorted by `indices[path[0]]`, then `indices[path[1]]`, … Stable, so that nonzeros in the order of some modes need to be sorted by
/// the modes before them alone.
///
/// For each mode, from the last, one gather of its indices and ⌈bits of the size / 10⌉ passes over two lists of 8 bytes a nonzero.
pub(super) fn sorted(indices: &[&[u32]], shape: &[usize], path: &[usize]) -> Vec<u32> {
    let count = indices[0].len();
    let mut pairs: Vec<u64> = (0..count as u64).collect();
    let mut other = vec![0u64; count];
    for &mode in path.iter().rev() {
        let bits = usize::BITS - shape[mode].saturating_sub(1).leading_zeros();
        let digits = bits.div_ceil(BITS);
        let key = indices[mode];
        pairs.par_iter_mut().for_each(|pair| {
            let place = *pair & u64::from(u32::MAX);
            *pair = u64::from(key[place as usize]) << 32 | place;
        });
        for digit in 0..digits {
            let shift = bits * digit / digits;
            let mask = (1u64 << (bits * (digit + 1) / digits - shift)) - 1;
            let of = |pair: u64| (pair >> (32 + shift) & mask) as usize;
            let mut starts = vec![0usize; mask as usize + 2];
            pairs.iter().for_each(|&pair| starts[of(pair) + 1] += 1);
            for k in 1..starts.len() {
                starts[k] += starts[k - 1];
            }
            for &pair in &pairs {
                let start = &mut starts[of(pair)];
                other[*start] = pair;
                *start += 1;
            }
            std::mem::swap(&mut pairs, &mut other);
        }
    }
    drop(other);
    pairs.into_par_iter().map(|pair| pair as u32).collect()
}
