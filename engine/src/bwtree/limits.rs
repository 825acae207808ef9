//! How large pages get.

use super::word::MAX_DELTAS;

/// How large the pages of a tree get, in entries. The defaults are for speed; small ones make splits and merges common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A leaf with more entries than this is split.
    pub leaf: usize,
    /// An inner page with more separators than this is split.
    pub inner: usize,
    /// A leaf gets this many changes before it is consolidated, from 1 to 31.
    pub leaf_deltas: usize,
    /// An inner page gets this many changes before it is consolidated, from 2 to 31.
    pub inner_deltas: usize,
    /// The first segment of the mapping table has two to the power of this many slots, from 1 to 16; each that follows
    /// is twice as large.
    pub table_bits: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { leaf: 128, inner: 256, leaf_deltas: 8, inner_deltas: 8, table_bits: 10 }
    }
}

impl Limits {
    pub(super) fn check(self) -> Limits {
        assert!((2..=1 << 16).contains(&self.leaf), "a leaf has 2 to 65,536 entries");
        assert!((2..=1 << 16).contains(&self.inner), "an inner page has 2 to 65,536 separators");
        assert!((1..=MAX_DELTAS).contains(&self.leaf_deltas), "a leaf has 1 to 31 deltas");
        // One for the merge that was announced, and one for what ends it.
        assert!((2..=MAX_DELTAS).contains(&self.inner_deltas), "an inner page has 2 to 31 deltas");
        self
    }

    /// A page of this level with more entries is split.
    pub(super) fn most(self, level: u8) -> usize {
        if level == 0 { self.leaf } else { self.inner }
    }

    /// A page of this level with at most so many entries is merged with a sibling, if there is room.
    pub(super) fn few(self, level: u8) -> usize {
        self.most(level) / 4
    }

    /// Two siblings of this level are merged if they have at most so many entries together: far from what is split, so
    /// that pages don't go back and forth.
    pub(super) fn merged(self, level: u8) -> usize {
        self.most(level) * 3 / 4
    }

    pub(super) fn slots(self, level: u8) -> usize {
        if level == 0 { self.leaf_deltas } else { self.inner_deltas }
    }
}
