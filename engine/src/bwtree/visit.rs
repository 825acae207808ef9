//! One visit of a thread to the tree: the way down to a page, and a change of it.
//!
//! A visit is pinned, so that every page it comes across stays in memory, and no page id that it comes across gets
//! another meaning, until it ends.

use std::cmp::Ordering;
use std::ptr::NonNull;

use super::delta::{Delta, Position};
use super::generation::Generation;
use super::key::{Key, Place, Probe};
use super::mapping::PageId;
use super::page::{level, prefetch};
use super::retire::Retired;
use super::view::View;
use super::word::Word;
use super::{BwTree, Value};
use crate::sync::epoch::Guard;

pub(super) struct Visit<'t, K: Key, V: Value> {
    pub(super) tree: &'t BwTree<K, V>,
    pub(super) guard: Guard,
    pub(super) generation: NonNull<Generation>,
}

/// A page in one of its states.
pub(super) struct Spot<K> {
    pub(super) id: PageId,
    pub(super) word: Word<K>,
}

impl<K: Key, V: Value> Visit<'_, K, V> {
    #[inline]
    pub(super) fn generation(&self) -> &Generation {
        // SAFETY: it was the tree's when this visit had begun, so it isn't freed before the visit ends.
        unsafe { self.generation.as_ref() }
    }

    /// Lets go of all that was come across, as if this visit ended and another one began.
    pub(super) fn renew(&mut self) {
        self.guard.repin();
        self.generation = self.tree.generation();
    }

    #[inline]
    pub(super) fn load(&self, id: PageId) -> Word<K> {
        self.tree.mapping.load(id)
    }

    #[inline]
    pub(super) fn replace(&self, id: PageId, from: Word<K>, to: Word<K>) -> bool {
        self.tree.mapping.replace(id, from, to).is_ok()
    }

    #[inline]
    pub(super) fn level(&self, word: Word<K>) -> u8 {
        // SAFETY: states are read from the mapping table during this visit, which keeps their pages in memory.
        unsafe { level(word) }
    }

    /// A leaf.
    #[inline]
    pub(super) fn leaf(&self, word: Word<K>) -> View<'_, K, V> {
        debug_assert_eq!(self.level(word), 0, "leaves are at level 0");
        // SAFETY: as in `level`, for as long as the visit is borrowed; at level 0 there are values.
        unsafe { View::of(word) }
    }

    /// An inner page.
    #[inline]
    pub(super) fn inner(&self, word: Word<K>) -> View<'_, K, PageId> {
        debug_assert!(self.level(word) > 0, "inner pages are above level 0");
        // SAFETY: as in `level`, for as long as the visit is borrowed; above level 0 there are children.
        unsafe { View::of(word) }
    }

    /// A page of any level, for its fences and its siblings only.
    #[inline]
    pub(super) fn fences(&self, word: Word<K>) -> View<'_, K, PageId> {
        // SAFETY: as in `level`. Fences and siblings are in the header, which is the same for all pages.
        unsafe { View::of(word) }
    }

    /// The leaf in which a probe lies.
    #[inline]
    pub(super) fn find_leaf<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Spot<K> {
        self.find(probe, 0).expect("there are leaves")
    }

    /// The page of a level in which a probe lies; none if the tree isn't that high.
    #[inline]
    pub(super) fn find<Q: Probe<K> + ?Sized>(&self, probe: &Q, at_level: u8) -> Option<Spot<K>> {
        let root = self.generation().root;
        let mut spot = Spot { id: root, word: self.load(root) };
        let mut level = self.level(spot.word);
        loop {
            if level < at_level {
                return None;
            }
            let page = self.fences(spot.word).page;
            if spot.word.is_removed() {
                self.help_removal(spot.word);
                spot = Spot { id: root, word: self.load(root) };
                level = self.level(spot.word);
                continue;
            }
            if page.high().is_some_and(|high| probe.compare(high) != Ordering::Less) {
                let right = self.right_of(spot.word);
                self.post_separator(spot.word, right);
                spot = Spot { id: right, word: self.load(right) };
                continue;
            }
            if level == at_level {
                return Some(spot);
            }
            let child = self.inner(spot.word).child(probe);
            spot = Spot { id: child, word: self.load(child) };
            level -= 1;
            if level == 0 {
                self.prefetch_leaf(spot.word);
            }
        }
    }

    #[inline]
    pub(super) fn prefetch_leaf(&self, word: Word<K>) {
        let limits = self.tree.limits;
        prefetch::<K, V>(word, limits.leaf_deltas, limits.leaf);
    }

    /// The sibling of a page that isn't the last of its level.
    pub(super) fn right_of(&self, word: Word<K>) -> PageId {
        self.fences(word).page.right().expect("a page with an upper fence has a right sibling")
    }

    /// The page of a level that begins at a fence, or the first one.
    pub(super) fn find_fence(&self, fence: Option<&K>, at_level: u8) -> Option<Spot<K>> {
        match fence {
            Some(fence) => self.find(fence, at_level),
            None => self.find(&Place::<K>::Lowest, at_level),
        }
    }

    /// Posts a delta by means of a slot that was claimed for it.
    #[inline]
    pub(super) fn post<T: 'static>(
        &self,
        id: PageId,
        view: View<'_, K, T>,
        delta: Delta<K, T>,
        position: Position,
        slot: usize,
    ) -> Result<(), Delta<K, T>> {
        // SAFETY: the caller claimed the slot.
        unsafe { view.page.write(slot, delta, position, view.word.newest()) };
        if self.replace(id, view.word, view.word.with_newest(slot)) {
            return Ok(());
        }
        // SAFETY: it was written right here, and the exchange that would have made it part of the chain failed.
        Err(unsafe { view.page.take_back(slot) })
    }

    /// Frees a page when nobody can read it any more. Another page has taken over what it holds.
    pub(super) fn retire<T: 'static>(&self, view: View<'_, K, T>) {
        let retired = Retired::new(view);
        self.guard.defer(move || {
            // SAFETY: the page was unlinked before this was deferred, by the one thread whose exchange did so, so that
            // now nobody uses it, and it is freed once.
            unsafe { retired.free::<T>() };
        });
    }
}
