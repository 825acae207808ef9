//! Many entries at once, behind all others: what fills a tree in the order of its keys.
//!
//! The last leaf and what follows is built as pages that are full but for an eighth, from right to left, each under an id
//! that nobody knows. One exchange, of the last leaf for the first of these pages, shows them all. It is a split into more
//! than two, and the separators follow in the same way.

use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::slice;

use super::builder::{Builder, Shape};
use super::key::Key;
use super::view::total;
use super::visit::{Spot, Visit};
use super::{BwTree, Value};

/// As many entries are appended by one exchange, at most.
const RUN: usize = 4096;

/// After so many entries that were put one by one it is tried again whether the rest can be appended.
const PATIENCE: usize = 32;

/// Entries on their way into a tree, which takes them one after the other. Those that are left are dropped with this.
struct Entries<K, V> {
    all: Vec<MaybeUninit<(K, V)>>,
    /// How many belong to the tree.
    taken: usize,
}

impl<K, V> Entries<K, V> {
    fn left(&self) -> &[(K, V)] {
        let left = &self.all[self.taken..];
        // SAFETY: those that aren't taken are as they were given, and have the layout that they have without `MaybeUninit`.
        unsafe { slice::from_raw_parts(left.as_ptr().cast(), left.len()) }
    }

    fn take_next(&mut self) -> Option<(K, V)> {
        let next = self.all.get(self.taken)?;
        self.taken += 1;
        // SAFETY: it wasn't taken, and is from now on.
        Some(unsafe { next.assume_init_read() })
    }
}

impl<K, V> Drop for Entries<K, V> {
    fn drop(&mut self) {
        while let Some(entry) = self.take_next() {
            drop(entry);
        }
    }
}

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
        let mut entries = Entries { all: entries.into_iter().map(MaybeUninit::new).collect(), taken: 0 };
        while !entries.left().is_empty() {
            if !self.append_some(&mut entries) {
                for _ in 0..PATIENCE {
                    let Some((key, value)) = entries.take_next() else { return };
                    self.upsert(key, value);
                }
            }
        }
    }

    /// Appends the first of these entries, if it is worth its while and they lie behind all that the tree has.
    fn append_some(&self, entries: &mut Entries<K, V>) -> bool {
        let left = entries.left();
        let few = self.limits.leaf / 2;
        if left.len() <= few {
            return false;
        }
        let visit = self.visit();
        let spot = visit.find_leaf(&left[0].0);
        if !visit.is_behind_all(&spot, &left[0].0) {
            return false;
        }
        let ascend = |pair: &&[(K, V)]| pair[0].0.cmp(&pair[1].0) == Ordering::Less;
        let count = left.windows(2).take(RUN - 1).take_while(ascend).count() + 1;
        if count <= few {
            return false;
        }
        let Some(pages) = visit.append(&spot, &left[..count]) else { return false };
        // Before anything else: what follows looks at keys, whose own code may panic.
        entries.taken += count;
        visit.generation().count(spot.id, count as isize);
        for (pair, right) in pages.windows(2).map(|pair| (pair[0].word, pair[1].id)) {
            visit.post_separator(pair, right);
        }
        true
    }
}

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Whether a key lies behind all keys, which is known only of a state of the last leaf; never if that is the root, which
    /// can't have a sibling, and is split as soon as it has more than a leaf holds.
    fn is_behind_all(&self, spot: &Spot<K>, key: &K) -> bool {
        let view = self.leaf(spot.word);
        if view.page.high().is_some() || spot.id == self.generation().root {
            return false;
        }
        let pieces = view.pieces();
        let count = total(&pieces);
        count == 0 || view.entry(&pieces, count - 1).0.cmp(key) == Ordering::Less
    }

    /// Appends ascending entries, which lie behind all others, to the last leaf, unless it no longer is in this state. Returns
    /// the leaf and the pages that follow it now, none of which but the first has a separator.
    fn append(&self, spot: &Spot<K>, entries: &[(K, V)]) -> Option<Vec<Spot<K>>> {
        let view = self.leaf(spot.word);
        let pieces = view.pieces();
        let before = total(&pieces);
        let most = self.tree.limits.leaf;
        let full = most - most / 8;
        let (here, behind) = entries.split_at(full.saturating_sub(before).min(entries.len()));
        // From right to left, as far as the separators are concerned.
        let mut pages = self.pages_behind(behind.chunks(full));
        let (right, high) = match (pages.last(), behind.first()) {
            (Some(page), Some(entry)) => (Some(page.id), Some(entry.0.clone())),
            _ => (None, None),
        };
        let mut builder = Builder::new(Shape { right, high, ..self.shape(view) }, before + here.len());
        view.copy(&pieces, 0, before, &mut builder);
        here.iter().for_each(|entry| builder.push(&entry.0, &entry.1));
        let first = builder.finish();
        if !self.replace(spot.id, spot.word, first) {
            self.discard::<V>(first);
            for page in pages {
                self.discard::<V>(page.word);
                // Nobody ever saw the id.
                self.tree.mapping.give_up(page.id);
            }
            return None;
        }
        self.retire(view);
        pages.push(Spot { id: spot.id, word: first });
        pages.reverse();
        Some(pages)
    }

    /// Publishes pages with these entries, that follow the last leaf, the last one first.
    fn pages_behind<'e>(&self, chunks: impl DoubleEndedIterator<Item = &'e [(K, V)]>) -> Vec<Spot<K>> {
        let slots = self.tree.limits.slots(0);
        let mut pages: Vec<Spot<K>> = Vec::new();
        let mut high: Option<&K> = None;
        for chunk in chunks.rev() {
            let low = &chunk[0].0;
            let (right, low_fence) = (pages.last().map(|page| page.id), Some(low.clone()));
            let shape = Shape { level: 0, slots, right, first: None, low: low_fence, high: high.cloned() };
            let mut builder = Builder::new(shape, chunk.len());
            chunk.iter().for_each(|entry| builder.push(&entry.0, &entry.1));
            let word = builder.finish();
            pages.push(Spot { id: self.tree.mapping.publish(word), word });
            high = Some(low);
        }
        pages
    }
}
