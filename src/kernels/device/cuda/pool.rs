//! Memory that is kept for the next plan.

use std::collections::BTreeMap;

/// Blocks that are free, by their bytes. Generic for tests; see [`super::driver::Memory`].
pub(super) struct Pool<M> {
    free: BTreeMap<usize, Vec<M>>,
}

/// Bytes of a block for `bytes`: whole lines, and at least one, as no memory has no address.
fn rounded(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(256)
}

impl<M> Default for Pool<M> {
    fn default() -> Self {
        Self { free: BTreeMap::new() }
    }
}

impl<M> Pool<M> {
    /// A block of at least `bytes`: the smallest free one that is not more than twice as large, or a new one. Where there is no more
    /// memory, all free blocks are given back first. `None`: there is none even so.
    pub(super) fn take<E>(&mut self, bytes: usize, new: impl Fn(usize) -> Result<Option<M>, E>) -> Result<Option<M>, E> {
        let wanted = rounded(bytes);
        let fit = self.free.range(wanted..=wanted.saturating_mul(2)).next().map(|(size, _)| *size);
        if let Some(size) = fit
            && let Some(of) = self.free.get_mut(&size)
        {
            let block = of.pop();
            if of.is_empty() {
                self.free.remove(&size);
            }
            if block.is_some() {
                return Ok(block);
            }
        }
        match new(wanted)? {
            None if !self.free.is_empty() => {
                self.free.clear();
                new(wanted)
            }
            block => Ok(block),
        }
    }

    /// `size`: that of the block itself, not what it was taken for.
    pub(super) fn give(&mut self, block: M, size: usize) {
        self.free.entry(size).or_default().push(block);
    }

    pub(super) fn clear(&mut self) {
        self.free.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn blocks_are_used_again() {
        let made = RefCell::new(Vec::new());
        let new = |bytes| -> Result<Option<usize>, ()> {
            made.borrow_mut().push(bytes);
            Ok((bytes <= 4096).then_some(bytes))
        };
        let mut pool = Pool::default();
        for _ in 0..3 {
            let blocks: Vec<usize> = [0, 1, 256, 257, 1000].map(|b| pool.take(b, new).unwrap().unwrap()).to_vec();
            let mut sorted = blocks.clone();
            sorted.sort();
            assert_eq!(sorted, [256, 256, 256, 512, 1024]);
            for b in blocks {
                pool.give(b, b);
            }
        }
        assert_eq!(made.borrow().len(), 5);
        // One of 512 serves 300, but one of 1024 does not serve 257 when 512 is taken: it is twice as large, so it does; 256 is too small.
        assert_eq!([300, 300].map(|b| pool.take(b, new).unwrap().unwrap()), [512, 1024]);
        assert_eq!(pool.take(300, new), Ok(Some(512)));
        assert_eq!(made.borrow().last(), Some(&512));
        // Without memory: what is free is given back, and it is tried once more.
        let before = made.borrow().len();
        assert_eq!(pool.take(5000, new), Ok(None));
        assert_eq!(made.borrow().len(), before + 2);
        assert_eq!(pool.take(10, new), Ok(Some(256)));
        assert_eq!(made.borrow().len(), before + 3);
    }
}
