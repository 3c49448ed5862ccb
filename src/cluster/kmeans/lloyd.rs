//! All distances in every iteration.

use super::data::Data;
use super::iterate::{Assign, Drift};
use crate::kernels::distance::{BLOCK, Centroids, ClusterSums, Found, Order, Search};
use crate::kernels::simd::Real;

/// Lloyd 1982. 2·n·k·d operations an iteration; points are added to their clusters while they are in the cache.
pub(super) struct Lloyd;

impl<T: Real> Assign<T> for Lloyd {
    fn assign(
        &mut self,
        data: &Data<T>,
        centroids: &Centroids<T>,
        _drift: Option<&Drift>,
        labels: &mut [u32],
        sums: &mut ClusterSums,
    ) -> usize {
        let (d, values) = (data.d, &data.values);
        let states = vec![(Search::new(), [Found::default(); BLOCK]); sums.pieces().count()];
        sums.assign(values, labels, states, Order::Block, |range, labels, (search, found)| {
            let found = &mut found[..labels.len()];
            search.block(&values[range.start * d..range.end * d], centroids, found);
            let mut changed = 0;
            for (label, found) in labels.iter_mut().zip(found) {
                changed += (*label != found.label) as usize;
                *label = found.label;
            }
            changed
        })
    }

    fn forget(&mut self, _i: usize) {}
}
