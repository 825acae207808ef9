//! The word that is the state of a page: what the mapping table holds.

use std::ptr;

use super::page::Header;

/// The state of a page: a pointer to it, the index of its newest delta, and whether the page was removed.
///
/// The three share one word, because a compare-and-swap has to see them all. Removing is the `remove-node` delta of the
/// paper: it says nothing but that it is there, so that one bit holds it, and a page can always be removed, whether it
/// has room for a delta or not. A removed page never changes again.
pub(super) struct Word<K>(*mut Header<K>);

/// Pages are aligned so that their addresses leave these bits free.
pub(super) const ALIGNMENT: usize = 64;
const REMOVED: usize = 32;
/// The index of the newest delta, counted from 1; 0 if there is none.
const NEWEST: usize = 31;
/// How many delta slots a page can have.
pub(super) const MAX_DELTAS: usize = NEWEST;

impl<K> Clone for Word<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Word<K> {}

impl<K> PartialEq for Word<K> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl<K> Word<K> {
    #[inline]
    pub(super) fn from_raw(raw: *mut Header<K>) -> Word<K> {
        Word(raw)
    }

    #[inline]
    pub(super) fn into_raw(self) -> *mut Header<K> {
        self.0
    }

    #[inline]
    pub(super) fn is_removed(self) -> bool {
        self.0.addr() & REMOVED != 0
    }

    #[inline]
    pub(super) fn newest(self) -> usize {
        self.0.addr() & NEWEST
    }

    pub(super) fn with_newest(self, slot: usize) -> Word<K> {
        assert!(!self.is_removed(), "a removed page doesn't change");
        Word(self.0.map_addr(|address| address & !NEWEST | slot))
    }

    pub(super) fn removed(self) -> Word<K> {
        Word(self.0.map_addr(|address| address | REMOVED))
    }

    #[inline]
    pub(super) fn header(self) -> *mut Header<K> {
        self.0.map_addr(|address| address & !(ALIGNMENT - 1))
    }
}
