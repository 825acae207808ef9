//! The entry at or after a place: a look-up for those who don't know the key that they will find.
//!
//! It takes one way down, and another one only if its page holds nothing from the place on. Within a page nothing is sorted
//! or copied: a delta knows where its key lies among those of the page, so that most of them are passed over by an index.

use std::cmp::Ordering;

use arrayvec::ArrayVec;

use super::delta::Delta;
use super::key::{Key, Probe};
use super::view::{Piece, View};
use super::word::MAX_DELTAS;
use super::{BwTree, Value};

impl<K: Key, V: Value> BwTree<K, V> {
    /// What a function makes of the entry with the lowest key at or after a probe, without clones of it.
    ///
    /// An entry that is there throughout is found, unless a lower one at or after the probe was there meanwhile.
    ///
    /// ```
    /// # use proofmark_engine::bwtree::BwTree;
    /// let tree = BwTree::new();
    /// tree.upsert(3_u64, "three");
    /// tree.upsert(5, "five");
    /// let from = |probe: u64| tree.first_from_with(&probe, |key, value| (*key, *value));
    /// assert_eq!([from(3), from(4), from(6)], [Some((3, "three")), Some((5, "five")), None]);
    /// ```
    #[inline]
    pub fn first_from_with<Q: Probe<K> + ?Sized, R>(
        &self,
        probe: &Q,
        read: impl FnOnce(&K, &V) -> R,
    ) -> Option<R> {
        let visit = self.visit();
        let mut view = visit.leaf(visit.find_leaf(probe).word);
        let mut found = view.ceiling(probe);
        while found.is_none() {
            // The next page is the one that holds the fence then.
            let fence = view.page.high()?;
            view = visit.leaf(visit.find_leaf(fence).word);
            found = view.ceiling(fence);
        }
        found.map(|piece| view.with_entry_of(piece, 0, read))
    }
}

impl<'g, K: Key, T: 'static> View<'g, K, T> {
    /// The first entry of this page at or after a probe that lies between its fences.
    fn ceiling<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<Piece> {
        let start = self.page.rank(probe).index;
        let delta = self.lowest_delta(probe, start);
        let index = self.first_left(start);
        match delta {
            // A delta lies before the entry of the page that its index names.
            Some((slot, before, _)) if before <= index => Some(Piece::Delta { slot }),
            _ => ((index as usize) < self.page.count()).then(|| Piece::Run { start: index, end: index + 1 }),
        }
    }

    /// The lowest entry that a delta put at or after a probe, which lies before the entry `start` of the page: its slot, the
    /// entry of the page before which it lies, and its key.
    fn lowest_delta<Q: Probe<K> + ?Sized>(&self, probe: &Q, start: u32) -> Option<(u8, u32, &'g K)> {
        let mut lowest: Option<(u8, u32, &K)> = None;
        let mut deleted = ArrayVec::<&K, MAX_DELTAS>::new();
        for (slot, delta) in self.chain() {
            let Some(key) = delta.key() else { continue };
            let index = self.position(slot as u8).index;
            if index < start || (index == start && probe.compare(key) == Ordering::Greater) {
                continue;
            }
            if lowest.is_some_and(|(_, other, other_key)| {
                other.cmp(&index).then_with(|| other_key.cmp(key)) != Ordering::Greater
            }) {
                continue;
            }
            match delta {
                // Newer deltas come first, and what they deleted is not put back by older ones.
                Delta::Delete { .. } => deleted.push(key),
                _ if deleted.iter().any(|other| (*other).cmp(key) == Ordering::Equal) => {}
                _ => lowest = Some((slot as u8, index, key)),
            }
        }
        lowest
    }

    /// The first entry of the page from an index on that no delta overwrote or deleted.
    fn first_left(&self, mut index: u32) -> u32 {
        let is_superseded = |index: u32| {
            self.chain().any(|(slot, _)| {
                let position = self.position(slot as u8);
                position.is_exact && position.index == index
            })
        };
        while (index as usize) < self.page.count() && is_superseded(index) {
            index += 1;
        }
        index
    }

    /// What a function makes of the entry at an index of a piece.
    #[inline]
    pub(super) fn with_entry_of<R>(
        &self,
        piece: Piece,
        index: usize,
        read: impl FnOnce(&K, &'g T) -> R,
    ) -> R {
        match piece {
            Piece::Run { start, .. } => {
                let index = start as usize + index;
                let value = self.page.value(index);
                if K::IS_HEAD {
                    read(&self.page.key(index), value)
                } else {
                    read(self.page.key_in_place(index), value)
                }
            }
            Piece::Delta { slot } => {
                let (key, value) = self.delta(slot).entry().expect("a piece is an entry");
                read(key, value)
            }
        }
    }
}
