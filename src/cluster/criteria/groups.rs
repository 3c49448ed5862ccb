//! Points in the order of their clusters.

use crate::cluster::score::Noise;
use crate::cluster::score::contingency::indexed;
use crate::cluster::{ClusterError, NOISE};

/// Which points each group of a labelling holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    labels: Vec<i32>,
    /// Points, group after group, inside a group in their order.
    order: Vec<usize>,
    /// Where each group starts in `order`, and the end.
    offsets: Vec<usize>,
}

impl Groups {
    /// O(n) for labels close together.
    pub fn new(labels: &[i32], noise: Noise) -> Self {
        let kept: Vec<usize> = (0..labels.len()).filter(|&i| noise == Noise::Group || labels[i] != NOISE).collect();
        let (distinct, places) = indexed(kept.iter().map(|&i| labels[i]));
        let mut offsets = vec![0; distinct.len() + 1];
        places.iter().for_each(|&g| offsets[g as usize + 1] += 1);
        (0..distinct.len()).for_each(|g| offsets[g + 1] += offsets[g]);
        let mut at = offsets.clone();
        let mut order = vec![0; kept.len()];
        for (&i, &g) in kept.iter().zip(&places) {
            order[at[g as usize]] = i;
            at[g as usize] += 1;
        }
        Self { labels: distinct, order, offsets }
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Points in groups.
    pub fn n(&self) -> usize {
        self.order.len()
    }

    /// Labels of the groups, increasing.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// All points, group after group.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Points of group `g`, increasing.
    pub fn members(&self, g: usize) -> &[usize] {
        &self.order[self.offsets[g]..self.offsets[g + 1]]
    }

    /// Where the groups start in [`order`](Self::order), and the end: one number more than groups.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    pub fn size(&self, g: usize) -> usize {
        self.offsets[g + 1] - self.offsets[g]
    }

    /// The group with most points, the first of several.
    pub fn largest(&self) -> Option<usize> {
        (0..self.count()).min_by_key(|&g| std::cmp::Reverse(self.size(g)))
    }

    /// For every place of [`order`](Self::order) its group.
    pub(super) fn of_places(&self) -> Vec<u32> {
        (0..self.count()).flat_map(|g| std::iter::repeat_n(g as u32, self.size(g))).collect()
    }

    /// For scores that need at least two groups and at least one group of two points.
    pub(super) fn check(&self, what: &'static str) -> Result<(), ClusterError> {
        if self.n() == 0 {
            return Err(ClusterError::Empty);
        }
        if self.count() < 2 || self.count() >= self.n() {
            return Err(ClusterError::Setting {
                what,
                value: format!("{} (of {} points)", self.count(), self.n()),
                expected: "at least 2, and fewer than there are points".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_in_order() {
        let groups = Groups::new(&[5, -1, 2, 5, 2, 2], Noise::Group);
        assert_eq!(groups.labels(), [-1, 2, 5]);
        assert_eq!((groups.members(0), groups.members(1), groups.members(2)), (&[1][..], &[2, 4, 5][..], &[0, 3][..]));
        assert_eq!((groups.largest(), groups.n()), (Some(1), 6));
        let groups = Groups::new(&[5, -1, 2, 5, 2, 2], Noise::LeaveOut);
        assert_eq!((groups.count(), groups.n(), groups.order()), (2, 5, &[2, 4, 5, 0, 3][..]));
        assert_eq!(Groups::new(&[], Noise::Group).largest(), None);
        assert_eq!(Groups::new(&[1, 0, 1, 0], Noise::Group).largest(), Some(0));
    }
}
