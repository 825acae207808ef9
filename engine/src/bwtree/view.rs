//! What a page holds in one of its states: its entries, as its chain of deltas changed them.

use std::cmp::Ordering;

use arrayvec::ArrayVec;

use super::builder::Builder;
use super::delta::{Delta, Position};
use super::key::{Key, Place, Probe};
use super::mapping::PageId;
use super::page::Page;
use super::retire::Leftovers;
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
        self.locate(probe).0
    }

    /// The value at a key, and where the key lies in the page itself.
    #[inline]
    pub(super) fn locate<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> (Option<&'g T>, Position) {
        for (slot, delta) in self.chain() {
            if delta.key().is_some_and(|key| probe.compare(key) == Ordering::Equal) {
                let position = Position { replaces: slot as u8, ..self.position(slot as u8) };
                return (delta.entry().map(|(_, value)| value), position);
            }
        }
        let position = self.page.rank(probe);
        (position.is_exact.then(|| self.page.value(position.index as usize)), position)
    }

    /// The key that is at a probe, if it has a value.
    pub(super) fn find_key<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<K> {
        let (value, position) = self.locate(probe);
        value?;
        Some(match position.replaces {
            0 => self.page.key(position.index as usize),
            slot => self.delta(slot).key().expect("a delta that is about a key has it").clone(),
        })
    }

    #[inline]
    pub(super) fn position(&self, slot: u8) -> Position {
        // SAFETY: overlays and pieces name slots of the chain only.
        unsafe { self.page.position(usize::from(slot)) }
    }

    /// The chain without deltas whose key has a newer one.
    fn newest_deltas(&self) -> impl Iterator<Item = (u8, &'g Delta<K, T>)> {
        let mut replaced = 0_u32;
        self.chain().filter_map(move |(slot, delta)| {
            let is_replaced = replaced & 1 << slot != 0;
            // Bit 0 stands for none.
            replaced |= 1 << self.position(slot as u8).replaces;
            (!is_replaced).then_some((slot as u8, delta))
        })
    }

    /// The newest delta of each key, in the order of the keys.
    fn overlay(&self) -> Overlay {
        let mut overlay = Overlay::new();
        for (slot, delta) in self.newest_deltas() {
            let Some(key) = delta.key() else { continue };
            let of = |slot: u8| (self.position(slot).index, self.position(slot).is_exact);
            let is_before = |other: &u8| {
                // Keys at different positions need not be looked at.
                let by_key = || self.delta(*other).key().map_or(Ordering::Less, |other| other.cmp(key));
                of(*other).cmp(&of(slot)).then_with(by_key) == Ordering::Less
            };
            overlay.insert(overlay.partition_point(is_before), slot);
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
            let Position { index, is_exact, .. } = self.position(slot);
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

    /// Which deltas of the chain no newer page takes over when this state is consolidated, and which entries of the page.
    /// No key is looked at.
    pub(super) fn leftovers(&self) -> Leftovers {
        let pending = self.pending_slot();
        let mut deltas = self.chain_slots();
        let mut entries = Vec::new();
        for (slot, delta) in self.newest_deltas() {
            if delta.entry().is_some() || Some(usize::from(slot)) == pending {
                deltas.retain(|other| *other != usize::from(slot));
            }
            let Position { index, is_exact, .. } = self.position(slot);
            if is_exact {
                entries.push(index as usize);
            }
        }
        Leftovers { deltas, entries }
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

    /// The slot of that merge. Separators are deleted by merges only, and merges come one after the other: so the one that
    /// was announced is done if a separator was deleted since.
    pub(super) fn pending_slot(&self) -> Option<usize> {
        self.chain()
            .find(|(_, delta)| matches!(delta, Delta::Delete { .. } | Delta::Merge { .. }))
            .and_then(|(slot, delta)| matches!(delta, Delta::Merge { .. }).then_some(slot))
    }
}

impl<'g, K: Key> View<'g, K, PageId> {
    /// The child in which a probe lies: the one at the highest separator that is not above it.
    #[inline]
    pub(super) fn child<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> PageId {
        let mut nearest: Option<(&K, PageId)> = None;
        let mut gone: ArrayVec<&K, MAX_DELTAS> = ArrayVec::new();
        let is_gone = |gone: &[&K], at: &K| gone.iter().any(|key| (*key).cmp(at) == Ordering::Equal);
        for (_, delta) in self.chain() {
            match delta {
                Delta::Separator { at, child } => {
                    let is_nearer = nearest.is_none_or(|(other, _)| other.cmp(at) == Ordering::Less);
                    if is_nearer && probe.compare(at) != Ordering::Less && !is_gone(&gone, at) {
                        nearest = Some((at, *child));
                    }
                }
                Delta::Delete { key } => gone.push(key),
                Delta::Merge { .. } => {}
                Delta::Put { .. } => panic!("values are put into leaves only"),
            }
        }
        let Position { index, is_exact, .. } = self.page.rank(probe);
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

    /// The children, in their order.
    pub(super) fn children(&self) -> Vec<PageId> {
        let mut children = vec![self.first()];
        for piece in self.pieces() {
            match piece {
                Piece::Run { start, end } => {
                    children.extend((start..end).map(|index| *self.page.value(index as usize)));
                }
                Piece::Delta { slot } => children.extend(self.delta(slot).entry().map(|(_, child)| *child)),
            }
        }
        children
    }

    /// The child below the first separator.
    pub(super) fn first(&self) -> PageId {
        self.page.first().expect("inner pages have a first child")
    }
}
