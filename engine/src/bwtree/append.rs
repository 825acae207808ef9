//! Many entries at once, behind all others: what fills a tree in the order of its keys.
//!
//! The last leaf and what follows is built as pages that are full but for an eighth, from right to left, each under an id
//! that nobody knows. One exchange, of the last leaf for the first of these pages, shows them all. It is a split into more
//! than two, and the separators follow in the same way.

use std::mem::ManuallyDrop;

use super::builder::{Builder, Shape};
use super::key::Key;
use super::mapping::PageId;
use super::view::{View, total};
use super::visit::{Spot, Visit};
use super::word::Word;
use super::{BwTree, Value};

/// As many entries are appended by one exchange, at most.
const RUN: usize = 4096;

/// After so many entries that were put one by one it is tried again whether the rest can be appended.
const PATIENCE: usize = 32;

/// A key and its value, which may be the tree's already.
type Entry<K, V> = ManuallyDrop<(K, V)>;

impl<K: Key, V: Value> BwTree<K, V> {
    /// Puts values at keys, one after the other, as [`BwTree::upsert`] does. Where the keys ascend, and lie behind all that
    /// the tree has, it is much faster, and whoever looks meanwhile sees many at once.
    ///
    /// ```
    /// # use proofmark_engine::bwtree::BwTree;
    /// let tree = BwTree::new();
    /// tree.upsert_all((0..10_000_u64).map(|number| (number, "even or odd")).collect());
    /// tree.upsert_all((0..10_000).step_by(2).map(|number| (number, "even")).collect());
    /// assert_eq!((tree.len(), tree.get(&4), tree.get(&5)), (10_000, Some("even"), Some("even or odd")));
    /// ```
    pub fn upsert_all(&self, entries: Vec<(K, V)>) {
        // An entry moves into the tree by its bits. Should anything panic then, it isn't dropped here as well.
        let entries: Vec<_> = entries.into_iter().map(ManuallyDrop::new).collect();
        let mut entries = entries.into_iter();
        while !entries.as_slice().is_empty() {
            let count = self.append(entries.as_slice());
            entries.by_ref().take(count).for_each(drop::<ManuallyDrop<_>>);
            if count == 0 {
                for entry in entries.by_ref().take(PATIENCE) {
                    let (key, value) = ManuallyDrop::into_inner(entry);
                    self.upsert(key, value);
                }
            }
        }
    }

    /// Appends the first of these entries, and returns how many. They belong to the tree then.
    fn append(&self, entries: &[Entry<K, V>]) -> usize {
        let few = self.limits.leaf / 2;
        let ascending = |pair: &&[Entry<K, V>]| pair[0].0 < pair[1].0;
        let count = entries.windows(2).take(RUN - 1).take_while(ascending).count() + 1;
        if count <= few {
            return 0;
        }
        let visit = self.visit();
        let spot = visit.find_leaf(&entries[0].0);
        // The root can't have a sibling. It is split as soon as it has more than a leaf holds.
        let is_last = visit.leaf(spot.word).page.high().is_none() && spot.id != visit.generation().root;
        if is_last && visit.append(&spot, &entries[..count]) { count } else { 0 }
    }
}

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Appends ascending entries to the last leaf, in this state, unless it no longer is or has keys that are not below them.
    fn append(&self, spot: &Spot<K>, entries: &[Entry<K, V>]) -> bool {
        let view = self.leaf(spot.word);
        let pieces = view.pieces();
        let before = total(&pieces);
        if before > 0 && view.entry(&pieces, before - 1).0 >= entries[0].0 {
            return false;
        }
        let most = self.tree.limits.leaf;
        let full = most - most / 8;
        let (here, behind) = entries.split_at(full.saturating_sub(before).min(entries.len()));
        // From right to left, as far as the separators are concerned.
        let pages = self.pages_behind(view, behind.chunks(full));
        let (right, high) = match (pages.last(), behind.first()) {
            (Some((id, _)), Some(entry)) => (Some(*id), Some(entry.0.clone())),
            _ => (None, None),
        };
        let mut builder = Builder::new(Shape { right, high, ..self.shape(view) }, before + here.len());
        view.copy(&pieces, 0, before, &mut builder);
        here.iter().for_each(|entry| builder.push(&entry.0, &entry.1));
        let first = builder.finish();
        if !self.replace(spot.id, spot.word, first) {
            self.discard::<V>(first);
            for (id, word) in pages {
                self.discard::<V>(word);
                // Nobody ever saw the id.
                self.tree.mapping.give_up(id);
            }
            return false;
        }
        self.retire(view);
        self.generation().count(spot.id, entries.len() as isize);
        let mut left = first;
        for (id, word) in pages.into_iter().rev() {
            self.post_separator(left, id);
            left = word;
        }
        true
    }

    /// Publishes pages with these entries, that follow the last leaf, the last one first.
    fn pages_behind<'e>(
        &self,
        last: View<'_, K, V>,
        chunks: impl DoubleEndedIterator<Item = &'e [Entry<K, V>]>,
    ) -> Vec<(PageId, Word<K>)> {
        let mut pages: Vec<(PageId, Word<K>)> = Vec::new();
        let mut high: Option<&K> = None;
        for chunk in chunks.rev() {
            let low = &chunk[0].0;
            let right = pages.last().map(|(id, _)| *id);
            let shape = Shape { right, low: Some(low.clone()), high: high.cloned(), ..self.shape(last) };
            let mut builder = Builder::new(shape, chunk.len());
            chunk.iter().for_each(|entry| builder.push(&entry.0, &entry.1));
            let word = builder.finish();
            pages.push((self.tree.mapping.publish(word), word));
            high = Some(low);
        }
        pages
    }
}
