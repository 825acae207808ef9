//! What a page holds in one of its states: its entries, as its chain of deltas changed them.

use std::cmp::Ordering;

use arrayvec::ArrayVec;

use super::builder::Builder;
use super::delta::{Delta, Position};
use super::key::{Key, Place, Probe};
use super::mapping::PageId;
use super::page::Page;
use super::retire::Superseded;
use super::word::{MAX_DELTAS, Word};

/// One state of a page. It never changes, whatever happens to the page.
pub(super) struct View<'g, K, T> {
    pub(super) page: Page<'g, K, T>,
    pub(super) word: Word<K>,
}

impl<K, T> Clone for View<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for View<'_, K, T> {}

/// The newest delta of each key, by key.
pub(super) type Overlay = ArrayVec<u8, MAX_DELTAS>;

/// A part of the entries of a view: some of the page itself, or the one of a delta.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece {
    Run { start: u32, end: u32 },
    Delta { slot: u8 },
}

/// The entries of a view in their order: runs of the page, and deltas before, between and after them.
pub(super) type Pieces = ArrayVec<Piece, { 2 * MAX_DELTAS + 1 }>;

/// A merge that was announced and isn't done.
pub(super) enum Pending<'g, K> {
    /// Of the child at a separator into its left sibling.
    Sibling(&'g K),
    /// Of the root's only child into the root.
    Root,
}

/// How many entries the pieces are.
pub(super) fn total(pieces: &Pieces) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

impl Piece {
    pub(super) fn len(self) -> usize {
        match self {
            Piece::Run { start, end } => (end - start) as usize,
            Piece::Delta { .. } => 1,
        }
    }
}

impl<'g, K: Key, T: 'static> View<'g, K, T> {
    /// A view of a state of a page.
    ///
    /// # Safety
    /// - As for [`Page::of`].
    /// - The state was read from the mapping table, so that its chain is complete.
    #[inline]
    pub(super) unsafe fn of(word: Word<K>) -> View<'g, K, T> {
        // SAFETY: the caller's promise.
        View { page: unsafe { Page::of(word) }, word }
    }

    #[inline]
    pub(super) fn chain(&self) -> impl Iterator<Item = (usize, &'g Delta<K, T>)> {
        // SAFETY: the word is of a state that was read from the mapping table, by the promise of `View::of`.
        unsafe { self.page.chain(self.word.newest()) }
    }

    #[inline]
    pub(super) fn delta(&self, slot: u8) -> &'g Delta<K, T> {
        // SAFETY: overlays and pieces name slots of the chain only.
        unsafe { self.page.delta(usize::from(slot)) }
    }

    /// The value at a key.
    #[inline]
    pub(super) fn find<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<&'g T> {
        for (_, delta) in self.chain() {
            if delta.key().is_some_and(|key| probe.compare(key) == Ordering::Equal) {
                return delta.entry().map(|(_, value)| value);
            }
        }
        let position = self.page.rank(probe);
        position.is_exact.then(|| self.page.value(position.index as usize))
    }

    /// The value at a key, and where the key lies in the page itself.
    #[inline]
    pub(super) fn locate<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> (Option<&'g T>, Position) {
        for (slot, delta) in self.chain() {
            if delta.key().is_some_and(|key| probe.compare(key) == Ordering::Equal) {
                return (delta.entry().map(|(_, value)| value), self.position(slot as u8));
            }
        }
        let position = self.page.rank(probe);
        (position.is_exact.then(|| self.page.value(position.index as usize)), position)
    }

    #[inline]
    pub(super) fn position(&self, slot: u8) -> Position {
        // SAFETY: overlays and pieces name slots of the chain only.
        unsafe { self.page.position(usize::from(slot)) }
    }

    /// The key that is at a probe, if it has a value.
    pub(super) fn find_key<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<K> {
        for (_, delta) in self.chain() {
            if let Some(key) = delta.key().filter(|key| probe.compare(key) == Ordering::Equal) {
                return delta.entry().is_some().then(|| key.clone());
            }
        }
        let position = self.page.rank(probe);
        position.is_exact.then(|| self.page.key(position.index as usize))
    }

    /// The newest delta of each key, in the order of the keys.
    pub(super) fn overlay(&self) -> Overlay {
        let mut overlay = Overlay::new();
        for (slot, delta) in self.chain() {
            let Some(key) = delta.key() else { continue };
            let compare =
                |other: &u8| self.delta(*other).key().map_or(Ordering::Less, |other| other.cmp(key));
            if let Err(place) = overlay.binary_search_by(compare) {
                overlay.insert(place, slot as u8);
            }
        }
        overlay
    }

    /// The entries, in their order.
    pub(super) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::new();
        self.pieces_between(Place::<K>::Lowest, Place::<K>::Highest, &mut pieces);
        pieces
    }

    /// The entries between two places, in their order. A place that isn't an end of all keys lies between the fences.
    pub(super) fn pieces_between<P, Q>(&self, lower: Place<'_, P>, upper: Place<'_, Q>, pieces: &mut Pieces)
    where
        P: Probe<K> + ?Sized,
        Q: Probe<K> + ?Sized,
    {
        let end = match upper {
            Place::Highest => self.page.count(),
            upper => self.page.rank(&upper).index as usize,
        };
        let mut start = match lower {
            Place::Lowest => 0,
            lower => (self.page.rank(&lower).index as usize).min(end),
        };
        let run = |start: usize, end: usize| Piece::Run { start: start as u32, end: end as u32 };
        pieces.clear();
        for slot in self.overlay() {
            let delta = self.delta(slot);
            let key = delta.key().expect("an overlay is of deltas with keys");
            if lower.compare(key) == Ordering::Greater || upper.compare(key) == Ordering::Less {
                continue;
            }
            let Position { index, is_exact } = self.position(slot);
            // The order of keys is the word of the type; a false one makes a strange map, but no entry comes twice.
            let index = (index as usize).clamp(start, end);
            if start < index {
                pieces.push(run(start, index));
            }
            if delta.entry().is_some() {
                pieces.push(Piece::Delta { slot });
            }
            start = if is_exact { (index + 1).min(end) } else { index };
        }
        if start < end {
            pieces.push(run(start, end));
        }
    }

    /// The entry at an index of the pieces.
    pub(super) fn entry(&self, pieces: &Pieces, index: usize) -> (K, &'g T) {
        let mut before = 0;
        for piece in pieces {
            if index < before + piece.len() {
                return self.entry_of(*piece, index - before);
            }
            before += piece.len();
        }
        panic!("the index is below the number of entries");
    }

    /// The key at an index of the pieces, where the page keeps it.
    pub(super) fn key_in_place(&self, pieces: &Pieces, index: usize) -> &'g K {
        let mut before = 0;
        for piece in pieces {
            if index < before + piece.len() {
                return match *piece {
                    Piece::Run { start, .. } => self.page.key_in_place(start as usize + index - before),
                    Piece::Delta { slot } => self.delta(slot).key().expect("a piece is an entry"),
                };
            }
            before += piece.len();
        }
        panic!("the index is below the number of entries");
    }

    /// The entry at an index of a piece.
    #[inline]
    pub(super) fn entry_of(&self, piece: Piece, index: usize) -> (K, &'g T) {
        match piece {
            Piece::Run { start, .. } => {
                let index = start as usize + index;
                (self.page.key(index), self.page.value(index))
            }
            Piece::Delta { slot } => {
                let (key, value) = self.delta(slot).entry().expect("a piece is an entry");
                (key.clone(), value)
            }
        }
    }

    /// Copies the entries from index `start` to before `end` of the pieces into a new page, as bits.
    pub(super) fn copy(&self, pieces: &Pieces, start: usize, end: usize, into: &mut Builder<K, T>) {
        let mut before = 0;
        for piece in pieces {
            let (from, to) = (start.max(before), end.min(before + piece.len()));
            if from < to {
                match *piece {
                    Piece::Run { start, .. } => {
                        let start = start as usize;
                        into.push_run(self.page, start + from - before, start + to - before);
                    }
                    Piece::Delta { slot } => {
                        let (key, value) = self.delta(slot).entry().expect("a piece is an entry");
                        into.push(key, value);
                    }
                }
            }
            before += piece.len();
        }
    }

    /// Which deltas of the chain no newer page takes over when this state is consolidated, and which entries of the
    /// page.
    pub(super) fn superseded(&self) -> Superseded {
        let overlay = self.overlay();
        let pending = self.pending_slot();
        let is_superseded = |&(slot, delta): &(usize, &Delta<K, T>)| {
            let is_newest = overlay.iter().any(|&newest| usize::from(newest) == slot);
            !(is_newest && delta.entry().is_some()) && Some(slot) != pending
        };
        let deltas = self.chain().filter(is_superseded).map(|(slot, _)| slot).collect();
        let overwritten = |slot: &u8| {
            let Position { index, is_exact } = self.position(*slot);
            is_exact.then_some(index as usize)
        };
        Superseded { deltas, entries: overlay.iter().filter_map(overwritten).collect() }
    }

    /// The slots of the chain.
    pub(super) fn chain_slots(&self) -> Vec<usize> {
        self.chain().map(|(slot, _)| slot).collect()
    }

    /// The merge that was announced here and isn't done.
    pub(super) fn pending_merge(&self) -> Option<Pending<'g, K>> {
        match self.delta(self.pending_slot()? as u8) {
            Delta::Merge { at: Some(at) } => Some(Pending::Sibling(at)),
            Delta::Merge { at: None } => Some(Pending::Root),
            _ => panic!("a pending merge is a merge"),
        }
    }

    /// The slot of that merge.
    pub(super) fn pending_slot(&self) -> Option<usize> {
        let mut gone: Option<&K> = None;
        for (slot, delta) in self.chain() {
            match delta {
                // Separators go only by merges, one after the other.
                Delta::Delete { key } if gone.is_none() => gone = Some(key),
                Delta::Merge { at } => return (gone.is_none() || at.as_ref() != gone).then_some(slot),
                _ => {}
            }
        }
        None
    }
}

impl<'g, K: Key> View<'g, K, PageId> {
    /// The child in which a probe lies: the one at the highest separator that is not above it.
    #[inline]
    pub(super) fn child<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> PageId {
        let mut nearest: Option<(&K, PageId)> = None;
        let mut gone: ArrayVec<&K, MAX_DELTAS> = ArrayVec::new();
        for (_, delta) in self.chain() {
            match delta {
                Delta::Separator { at, child } => {
                    let is_nearer = nearest.is_none_or(|(other, _)| other < at);
                    if is_nearer && probe.compare(at) != Ordering::Less && !gone.contains(&at) {
                        nearest = Some((at, *child));
                    }
                }
                Delta::Delete { key } => gone.push(key),
                Delta::Merge { .. } => {}
                Delta::Put { .. } => panic!("values are put into leaves only"),
            }
        }
        let Position { index, is_exact } = self.page.rank(probe);
        let mut in_page = index as usize + usize::from(is_exact);
        while in_page > 0 && gone.iter().any(|key| self.page.compare(*key, in_page - 1) == Ordering::Equal) {
            in_page -= 1;
        }
        match nearest {
            Some((at, child)) if in_page == 0 || self.page.compare(at, in_page - 1) == Ordering::Greater => {
                child
            }
            _ if in_page > 0 => *self.page.value(in_page - 1),
            _ => self.first(),
        }
    }

    /// The child below the first separator.
    pub(super) fn first(&self) -> PageId {
        self.page.first().expect("inner pages have a first child")
    }
}
