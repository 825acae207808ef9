//! The mapping table: from page ids to the states of pages.
//!
//! Pages refer to each other by id, and a change of a page is one compare-and-swap on its slot here, whatever refers to
//! it (Levandoski, Lomet, Sengupta, "The Bw-Tree", ICDE 2013, section II.A). The table grows by segments, each twice as
//! large as the one before; a segment never moves, so growth stops nobody.
//!
//! Ids that are given up lie on a stack that is threaded through their slots. An id may be given up only when no thread
//! can come across it any more: that is for the caller to wait for. The head of the stack counts its changes, so that
//! an id that came back meanwhile isn't mistaken for one that never left.

use std::num::NonZeroU32;

use super::page::Header;
use super::word::Word;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A page of the tree, whatever its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageId(NonZeroU32);

impl PageId {
    pub(super) fn index(self) -> usize {
        self.0.get() as usize
    }

    fn from_raw(raw: u32) -> Option<PageId> {
        NonZeroU32::new(raw).map(PageId)
    }
}

/// So many segments hold every id, even if the first holds one slot.
const SEGMENTS: usize = 32;

pub(super) struct Mapping<K> {
    segments: [AtomicPtr<Slot<K>>; SEGMENTS],
    /// The first segment has two to the power of this many slots.
    first_bits: u32,
    /// The next id that never was in use.
    fresh: AtomicU32,
    /// The stack of ids to use again: a count of changes in the high half, the id on top in the low half, or 0.
    free: AtomicU64,
}

type Slot<K> = AtomicPtr<Header<K>>;

impl<K> Mapping<K> {
    pub(super) fn new(first_bits: u32) -> Mapping<K> {
        assert!((1..=16).contains(&first_bits), "the first segment has 2 to 65,536 slots");
        Mapping {
            segments: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            first_bits,
            fresh: AtomicU32::new(1),
            free: AtomicU64::new(0),
        }
    }

    /// The state of a page.
    #[inline]
    pub(super) fn load(&self, id: PageId) -> Word<K> {
        // Acquire: pairs with the release of `replace` and `publish`, so that what the state points to is seen whole.
        Word::from_raw(self.slot(id).load(Ordering::Acquire))
    }

    /// Makes `to` the state of a page, if that still is `from`; the state that it is, otherwise.
    #[inline]
    pub(super) fn replace(&self, id: PageId, from: Word<K>, to: Word<K>) -> Result<(), Word<K>> {
        // Release: publishes the page or the delta that `to` points to. Acquire on failure: as in `load`.
        self.slot(id)
            .compare_exchange(from.into_raw(), to.into_raw(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Word::from_raw)
    }

    /// Takes an id into use, for a page that nobody knows yet.
    pub(super) fn publish(&self, word: Word<K>) -> PageId {
        let id = self.pop().unwrap_or_else(|| self.fresh_id());
        // Release: as in `replace`. Whoever learns of the id does so from a page that is published later.
        self.slot(id).store(word.into_raw(), Ordering::Release);
        id
    }

    /// Takes an id back. No thread holds it or can come across it.
    pub(super) fn give_up(&self, id: PageId) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            let top = (head & u64::from(u32::MAX)) as usize;
            self.slot(id).store(std::ptr::without_provenance_mut(top), Ordering::Relaxed);
            let next = changed(head, id.0.get());
            // Release: whoever pops the id sees what its slot says comes next.
            match self.free.compare_exchange_weak(head, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => head = current,
            }
        }
    }

    fn pop(&self) -> Option<PageId> {
        // Acquire: pairs with the release of `give_up`.
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let top = PageId::from_raw((head & u64::from(u32::MAX)) as u32)?;
            // If somebody else takes the id first, this is the state of a page, which the failed exchange throws away.
            let below = self.slot(top).load(Ordering::Relaxed).addr() as u64 & u64::from(u32::MAX);
            let next = changed(head, below as u32);
            match self.free.compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(top),
                Err(current) => head = current,
            }
        }
    }

    fn fresh_id(&self) -> PageId {
        let raw = self.fresh.fetch_add(1, Ordering::Relaxed);
        assert!(raw < u32::MAX, "a tree has at most 2^32 - 2 pages");
        let id = PageId::from_raw(raw).expect("ids start at 1 and never wrap");
        self.ensure_segment(id);
        id
    }

    fn ensure_segment(&self, id: PageId) {
        let (segment, _) = self.locate(id);
        if !self.segments[segment].load(Ordering::Acquire).is_null() {
            return;
        }
        let slots: Box<[Slot<K>]> =
            (0..self.segment_len(segment)).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect();
        let slots = Box::into_raw(slots);
        // Release: publishes the empty slots.
        let outcome = self.segments[segment].compare_exchange(
            std::ptr::null_mut(),
            slots.cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if outcome.is_err() {
            // SAFETY: it came from a box, and nobody saw it.
            drop(unsafe { Box::from_raw(slots) });
        }
    }

    #[inline]
    fn slot(&self, id: PageId) -> &Slot<K> {
        let (segment, offset) = self.locate(id);
        // Acquire: pairs with the release of `ensure_segment`.
        let slots = self.segments[segment].load(Ordering::Acquire);
        // SAFETY: an id comes from `fresh_id`, which makes its segment before anybody learns of it; `locate` stays
        // within it, and segments live as long as the table.
        unsafe { &*slots.add(offset) }
    }

    /// The segment of an id, and the slot's place in it.
    #[inline]
    fn locate(&self, id: PageId) -> (usize, usize) {
        let shifted = id.index() + (1 << self.first_bits);
        let bits = shifted.ilog2();
        ((bits - self.first_bits) as usize, shifted - (1 << bits))
    }

    fn segment_len(&self, segment: usize) -> usize {
        1 << (segment + self.first_bits as usize)
    }

    /// Bytes of the segments.
    pub(super) fn bytes(&self) -> usize {
        let is_there = |segment: &usize| !self.segments[*segment].load(Ordering::Acquire).is_null();
        let slots: usize = (0..SEGMENTS).filter(is_there).map(|segment| self.segment_len(segment)).sum();
        slots * size_of::<Slot<K>>()
    }
}

/// The head of the free stack with another id on top.
fn changed(head: u64, top: u32) -> u64 {
    let changes = (head >> 32).wrapping_add(1) & u64::from(u32::MAX);
    changes << 32 | u64::from(top)
}

impl<K> Drop for Mapping<K> {
    fn drop(&mut self) {
        for segment in 0..SEGMENTS {
            let slots = self.segments[segment].load(Ordering::Acquire);
            if !slots.is_null() {
                let slots = std::ptr::slice_from_raw_parts_mut(slots, self.segment_len(segment));
                // SAFETY: it came from a box of this length, and nobody has the table any more.
                drop(unsafe { Box::from_raw(slots) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word() -> Word<u64> {
        Word::from_raw(std::ptr::null_mut())
    }

    #[test]
    fn ids_are_distinct_across_segments_and_come_back() {
        let mapping = Mapping::<u64>::new(1);
        let ids: Vec<PageId> = (0..1000).map(|_| mapping.publish(word())).collect();
        let mut places: Vec<_> = ids.iter().map(|id| mapping.locate(*id)).collect();
        places.dedup();
        assert_eq!(places.len(), ids.len());
        mapping.give_up(ids[3]);
        mapping.give_up(ids[700]);
        assert_eq!([(); 3].map(|()| mapping.publish(word()).index()), [701, 4, 1001]);
    }
}
