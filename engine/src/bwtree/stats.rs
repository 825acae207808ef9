//! What a tree consists of, counted by a walk over all its pages.

use super::key::Key;
use super::range::PAGES_PINNED;
use super::view::total;
use super::visit::{Spot, Visit};
use super::{BwTree, Value};

/// What a tree consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Levels of pages; 1 if the root is a leaf.
    pub levels: usize,
    /// Leaves.
    pub leaves: usize,
    /// Pages above the leaves.
    pub inner_pages: usize,
    /// Keys in leaves.
    pub keys: usize,
    /// Deltas that wait for consolidation.
    pub deltas: usize,
    /// Bytes of pages and of the mapping table. What was replaced and isn't freed yet is not counted, nor is what keys
    /// and values own elsewhere, nor what it costs to align a page: 64 bytes each.
    pub bytes: usize,
}

impl<K: Key, V: Value> BwTree<K, V> {
    /// Bytes of memory, as [`Stats::bytes`] counts them. Takes time in proportion to the number of pages.
    #[must_use]
    pub fn memory_use(&self) -> usize {
        self.stats().bytes
    }

    /// Counts what the tree consists of, while others may change it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut visit = self.visit();
        let mut stats = Stats { bytes: self.mapping.bytes(), ..Stats::default() };
        while visit.count_level(&mut stats).is_some() {
            stats.levels += 1;
        }
        stats
    }
}

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Adds the next level above those that are counted.
    fn count_level(&mut self, stats: &mut Stats) -> Option<usize> {
        let level = u8::try_from(stats.levels).expect("a tree has far less than 256 levels");
        self.each_page(level, |visit, spot| {
            if level == 0 {
                let leaf = visit.leaf(spot.word);
                stats.deltas += leaf.chain().count();
                stats.leaves += 1;
                stats.keys += total(&leaf.pieces());
                stats.bytes += leaf.page.bytes();
            } else {
                let inner = visit.inner(spot.word);
                stats.inner_pages += 1;
                stats.deltas += inner.chain().count();
                stats.bytes += inner.page.bytes();
            }
        })
    }

    /// Consolidates the pages of a level that have deltas, and merges those that hold little. Returns how many pages
    /// there were.
    pub(super) fn maintain_level(&mut self, level: u8) -> Option<usize> {
        self.each_page(level, |visit, spot| {
            if spot.word.newest() > 0 {
                if level > 0 && visit.is_overdue(visit.inner(spot.word)) {
                    visit.finish_merge(spot.id);
                } else {
                    visit.tidy(spot);
                }
            } else if visit.fences(spot.word).page.count() <= visit.tree.limits.few(level) {
                visit.tend(spot);
            }
        })
    }

    /// Visits the pages of a level from left to right, and returns how many; `None` if the tree isn't that high. Lets go of
    /// what it held now and then, so that what is replaced meanwhile can be freed.
    fn each_page(&mut self, level: u8, mut visit: impl FnMut(&Self, &Spot<K>)) -> Option<usize> {
        let mut pages = 0_usize;
        let mut next: Option<Option<K>> = Some(None);
        while let Some(fence) = next.take() {
            if pages.is_multiple_of(PAGES_PINNED) {
                self.renew();
            }
            let Some(spot) = self.find_fence(fence.as_ref(), level) else { break };
            pages += 1;
            next = self.fences(spot.word).page.high().cloned().map(Some);
            visit(self, &spot);
        }
        (pages > 0).then_some(pages)
    }
}

#[cfg(test)]
impl<K: Key + std::fmt::Debug, V: Value> BwTree<K, V> {
    /// Asserts the invariants of the structure. Nobody changes the tree meanwhile.
    pub(crate) fn check(&self) {
        let mut visit = self.visit();
        let mut level = 0;
        loop {
            let mut fence: Option<Option<K>> = Some(None);
            let is_there = visit.each_page(level, |visit, spot| {
                let page = visit.fences(spot.word).page;
                assert_eq!(page.low(), fence.take().flatten().as_ref(), "pages adjoin");
                assert_eq!(page.high().is_none(), page.right().is_none(), "the last page has no upper fence");
                if let Some(right) = page.right() {
                    assert!(!visit.load(right).is_removed(), "no merge is half done");
                }
                fence = Some(page.high().cloned());
            });
            if is_there.is_none() {
                return;
            }
            assert_eq!(fence, Some(None), "pages cover all keys");
            level += 1;
        }
    }
}
