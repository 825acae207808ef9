//! What a tree is from one clearing to the next: a root, and a count of keys.

use super::mapping::PageId;
use crate::sync::{AtomicIsize, CachePadded, Ordering};

/// Counting is spread over so many cache lines.
const STRIPES: usize = 8;

/// A root, whose page id never changes, and the number of keys below it.
pub(super) struct Generation {
    pub(super) root: PageId,
    lens: [CachePadded<AtomicIsize>; STRIPES],
}

impl Generation {
    pub(super) fn new(root: PageId) -> Generation {
        Generation { root, lens: std::array::from_fn(|_| CachePadded::new(AtomicIsize::new(0))) }
    }

    /// Counts keys that were added to a leaf, or removed from it.
    #[inline]
    pub(super) fn count(&self, leaf: PageId, added: isize) {
        // Relaxed: sums are exact for whoever learned otherwise that the changes were made.
        self.lens[leaf.index() % STRIPES].fetch_add(added, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        // A key may be counted as removed, at one stripe, before it is seen to be added, at another.
        let sum: isize = self.lens.iter().map(|len| len.load(Ordering::Relaxed)).sum();
        sum.max(0).unsigned_abs()
    }
}
