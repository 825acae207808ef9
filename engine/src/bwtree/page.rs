//! A page in memory: one allocation that holds a header, room for deltas, and sorted entries.
//!
//! ```text
//! header | claims | delta slots | heads | keys (unless the heads are the keys) | values, or child ids
//! ```
//!
//! Header and entries never change after the page is published. The delta slots are the chain of the paper, next to the
//! page that it changes ("OpenBw-Tree", section 4.1: Wang, Pavlo, Lim, Leis, Zhang, Kaminsky, Andersen, "Building a
//! Bw-Tree Takes More Than Just Buzz Words", SIGMOD 2018): a thread claims a slot, writes its delta and the index of
//! the newest delta before it, and makes it the newest by a compare-and-swap of the page's [`Word`]. A claimed slot
//! that never became part of the chain is empty again, and lost until the page is consolidated.
//!
//! Who owns what: a page owns its fences, `low` and `high`. Keys and values of entries and deltas move, as bits, into
//! the page that replaces this one; what is superseded is dropped, and the memory freed, when nobody can read the old
//! page any more ([`Page::free`]). So no key or value is cloned by consolidation.

use std::alloc::Layout;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::delta::{Delta, Position};
use super::key::{Key, Probe};
use super::mapping::PageId;
use super::search::lower_bound;
use super::word::{ALIGNMENT, Word};
use crate::sync::cell::UnsafeCell;
use crate::sync::{AtomicU32, Ordering as MemoryOrdering, memory};

/// What a page is, whether it has values or children.
#[repr(C, align(64))]
pub(super) struct Header<K> {
    pub(super) life: u32,
    /// Entries, without those in deltas.
    pub(super) count: u32,
    /// How many first units of a key all keys between the fences share.
    pub(super) skip: u32,
    /// 0 for leaves.
    pub(super) level: u8,
    /// Delta slots.
    pub(super) slots: u8,
    /// The next page of this level, which begins at `high`.
    pub(super) right: Option<PageId>,
    /// In inner pages the child below the first separator.
    pub(super) first: Option<PageId>,
    /// The page holds keys from here on; from the lowest, if none.
    pub(super) low: Option<K>,
    /// The page holds keys below this.
    pub(super) high: Option<K>,
    /// Tells a checker of memory models who writes and reads the part that never changes.
    pub(super) content: UnsafeCell<()>,
}

/// What comes right behind the header, in memory that writers share.
#[repr(C)]
pub(super) struct Claims {
    /// How many slots were claimed; more than there are, when threads found none left.
    pub(super) claimed: AtomicU32,
}

/// A page in memory that is in use says so: a freed one that is read is found out before what it points to is followed.
pub(super) const ALIVE: u32 = 0x6c69_7665;
const FREED: u32 = 0x6672_6565;

/// A delta's place in its chain and in its page.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// The parts of its [`Position`], side by side with what follows.
    pub(super) index: u32,
    pub(super) is_exact: bool,
    /// The slot of the delta before this one, counted from 1; 0 if there is none.
    pub(super) next: u8,
    pub(super) replaces: u8,
}

#[repr(C)]
pub(super) struct Slot<K, T> {
    pub(super) link: UnsafeCell<Link>,
    pub(super) delta: UnsafeCell<MaybeUninit<Delta<K, T>>>,
}

/// Where the parts of a page lie, in bytes from its start.
pub(super) struct Parts {
    pub(super) slots: usize,
    pub(super) heads: usize,
    pub(super) keys: usize,
    pub(super) values: usize,
    pub(super) layout: Layout,
}

impl Parts {
    #[inline]
    pub(super) fn of<K: Key, T>(slots: usize, count: usize) -> Parts {
        let behind = |at: usize, size: usize, align: usize| (at + size).next_multiple_of(align);
        let claims = size_of::<Header<K>>();
        let first = behind(claims, size_of::<Claims>(), align_of::<Slot<K, T>>());
        let heads = behind(first, slots * size_of::<Slot<K, T>>(), align_of::<u64>());
        let keys = behind(heads, count * size_of::<u64>(), align_of::<K>());
        let keys_size = if K::IS_HEAD { 0 } else { count * size_of::<K>() };
        let values = behind(keys, keys_size, align_of::<T>());
        let size = values + count * size_of::<T>();
        let layout = Layout::from_size_align(size, ALIGNMENT).expect("a page is far smaller than memory");
        Parts { slots: first, heads, keys, values, layout }
    }
}

/// A page with entries from `K` to `T`, which can be read for as long as `'g`: values in leaves, children in inner
/// pages.
pub(super) struct Page<'g, K, T> {
    pub(super) header: NonNull<Header<K>>,
    pub(super) _guard: PhantomData<(&'g (), *const T)>,
}

impl<K, T> Clone for Page<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Page<'_, K, T> {}

/// Asks for what a look-up in a page of so many slots and so many entries reads, so that it arrives together, and not
/// one cache line after the other: the header, the used slots, and the heads.
#[inline]
pub(super) fn prefetch<K: Key, T>(word: Word<K>, slots: usize, entries: usize) {
    let parts = Parts::of::<K, T>(slots, entries.min(PREFETCHED));
    let line = |offset: usize| memory::prefetch(word.header().wrapping_byte_add(offset));
    line(0);
    if word.newest() > 0 {
        let end = parts.slots + word.newest() * size_of::<Slot<K, T>>();
        (parts.slots..end).step_by(CACHE_LINE).for_each(line);
    }
    (parts.heads..parts.keys).step_by(CACHE_LINE).for_each(line);
}

const CACHE_LINE: usize = 64;

/// Of so many entries at most the heads are asked for: more than arrive together anyway.
const PREFETCHED: usize = 256;

/// The level of the page that a state points to.
///
/// # Safety
/// The page is not freed meanwhile.
#[inline]
pub(super) unsafe fn level<K>(word: Word<K>) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { (*word.header()).level }
}

impl<'g, K: Key, T: 'static> Page<'g, K, T> {
    /// The page that a state points to.
    ///
    /// # Safety
    /// - It is a page with entries of this type: at level 0 of values, above of children.
    /// - It is not freed within `'g`.
    #[inline]
    pub(super) unsafe fn of(word: Word<K>) -> Page<'g, K, T> {
        let header = NonNull::new(word.header()).expect("a page in use has a state");
        let page = Page { header, _guard: PhantomData };
        debug_assert_eq!(page.header().life, ALIVE, "a page is read only while it is in memory");
        page.header().content.with(|_| ());
        page
    }

    #[inline]
    pub(super) fn header(&self) -> &'g Header<K> {
        // SAFETY: the page isn't freed within `'g`, and a header doesn't change once there is a `Page` to read it by.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    pub(super) fn at<U>(&self, offset: usize) -> *mut U {
        // SAFETY: the offset is of `Parts`, which the allocation was made for.
        unsafe { self.header.as_ptr().byte_add(offset).cast() }
    }

    #[inline]
    pub(super) fn parts(&self) -> Parts {
        Parts::of::<K, T>(self.slots(), self.count())
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.parts().layout.size()
    }

    #[inline]
    pub(super) fn level(&self) -> u8 {
        self.header().level
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.header().count as usize
    }

    fn slots(&self) -> usize {
        usize::from(self.header().slots)
    }

    #[inline]
    pub(super) fn right(&self) -> Option<PageId> {
        self.header().right
    }

    #[inline]
    pub(super) fn first(&self) -> Option<PageId> {
        self.header().first
    }

    #[inline]
    pub(super) fn low(&self) -> Option<&'g K> {
        self.header().low.as_ref()
    }

    #[inline]
    pub(super) fn high(&self) -> Option<&'g K> {
        self.header().high.as_ref()
    }

    #[inline]
    fn heads(&self) -> &'g [u64] {
        let heads = self.at(self.parts().heads);
        // SAFETY: so many heads were written there, and never change.
        unsafe { std::slice::from_raw_parts(heads, self.count()) }
    }

    /// The keys, unless they are their heads.
    #[inline]
    pub(super) fn keys(&self) -> &'g [K] {
        assert!(!K::IS_HEAD, "keys that are heads are not kept twice");
        let keys = self.at(self.parts().keys);
        // SAFETY: so many keys were written there, and never change.
        unsafe { std::slice::from_raw_parts(keys, self.count()) }
    }

    #[inline]
    fn values(&self) -> &'g [T] {
        let values = self.at(self.parts().values);
        // SAFETY: so many values were written there, and never change.
        unsafe { std::slice::from_raw_parts(values, self.count()) }
    }

    /// A copy of the key at an index.
    #[inline]
    pub(super) fn key(&self, index: usize) -> K {
        if K::IS_HEAD { K::from_head(self.heads()[index]) } else { self.keys()[index].clone() }
    }

    /// The key at an index, which is not its head.
    pub(super) fn key_in_place(&self, index: usize) -> &'g K {
        &self.keys()[index]
    }

    #[inline]
    pub(super) fn value(&self, index: usize) -> &'g T {
        &self.values()[index]
    }

    #[inline]
    pub(super) fn compare<Q: Probe<K> + ?Sized>(&self, probe: &Q, index: usize) -> Ordering {
        if K::IS_HEAD {
            probe.compare(&K::from_head(self.heads()[index]))
        } else {
            probe.compare(&self.keys()[index])
        }
    }

    /// How many keys of entries are below the probe, and whether the next one is at it. The probe lies between the
    /// fences.
    #[inline]
    pub(super) fn rank<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Position {
        let position = |index: usize, is_exact| Position { index: index as u32, is_exact, replaces: 0 };
        let heads = self.heads();
        let head = probe.head(self.header().skip as usize);
        let mut low = lower_bound(heads, head);
        if heads.get(low) != Some(&head) {
            return position(low, false);
        }
        // Keys with the same head are told apart by the whole key. Most often there is one.
        let mut high = low + 1;
        if heads.get(high) == Some(&head) {
            high = head.checked_add(1).map_or(heads.len(), |above| lower_bound(heads, above));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.compare(probe, middle) {
                Ordering::Equal => return position(middle, true),
                Ordering::Greater => low = middle + 1,
                Ordering::Less => high = middle,
            }
        }
        position(low, false)
    }

    #[inline]
    pub(super) fn slot(&self, slot: usize) -> &'g Slot<K, T> {
        assert!((1..=self.slots()).contains(&slot), "a delta lies in a slot of its page");
        let slots: *mut Slot<K, T> = self.at(self.parts().slots);
        // SAFETY: the page has so many slots, which are made with it.
        unsafe { &*slots.add(slot - 1) }
    }

    fn claims(&self) -> &'g Claims {
        // SAFETY: the claims lie behind the header and are made with the page.
        unsafe { &*self.at::<Claims>(size_of::<Header<K>>()) }
    }

    /// The chain that starts with a delta, from the newest to the oldest, with their slots.
    ///
    /// # Safety
    /// `newest` is of a state of this page that was read from the mapping table, or is written by the caller.
    #[inline]
    pub(super) unsafe fn chain(self, newest: usize) -> impl Iterator<Item = (usize, &'g Delta<K, T>)> {
        let mut next = newest;
        std::iter::from_fn(move || {
            (next != 0).then(|| {
                let at = next;
                let slot = self.slot(at);
                // SAFETY: a delta that is part of a chain was written before it became so, and never changes.
                next = slot.link.with(|link| usize::from(unsafe { (*link).next }));
                // SAFETY: as above.
                (at, slot.delta.with(|delta| unsafe { (*delta).assume_init_ref() }))
            })
        })
    }

    /// The delta in a slot.
    ///
    /// # Safety
    /// The slot is part of a chain.
    #[inline]
    pub(super) unsafe fn delta(self, slot: usize) -> &'g Delta<K, T> {
        // SAFETY: the caller's promise: it was written, and never changes.
        self.slot(slot).delta.with(|delta| unsafe { (*delta).assume_init_ref() })
    }

    /// The position of the delta in a slot.
    ///
    /// # Safety
    /// The slot is part of a chain.
    #[inline]
    pub(super) unsafe fn position(self, slot: usize) -> Position {
        // SAFETY: the caller's promise: it was written, and never changes.
        let Link { index, is_exact, replaces, .. } = self.slot(slot).link.with(|link| unsafe { *link });
        Position { index, is_exact, replaces }
    }

    /// A slot of the caller's own, or none if all were claimed.
    pub(super) fn claim(&self) -> Option<usize> {
        let claims = self.claims();
        // Relaxed: the slot is published by the state of the page; here it only has to be nobody else's.
        if claims.claimed.load(MemoryOrdering::Relaxed) as usize >= self.slots() {
            return None;
        }
        let claimed = claims.claimed.fetch_add(1, MemoryOrdering::Relaxed) as usize;
        (claimed < self.slots()).then_some(claimed + 1)
    }

    /// Writes a delta that follows `newest` into a slot.
    ///
    /// # Safety
    /// The caller claimed the slot, which is empty and no part of a chain.
    pub(super) unsafe fn write(&self, slot: usize, delta: Delta<K, T>, position: Position, newest: usize) {
        let slot = self.slot(slot);
        let next = u8::try_from(newest).expect("a page has at most 31 slots");
        let Position { index, is_exact, replaces } = position;
        // SAFETY: nobody else uses a slot that the caller claimed and that is no part of a chain.
        slot.link.with_mut(|link| unsafe { *link = Link { index, is_exact, next, replaces } });
        // SAFETY: as above; nothing is overwritten that had to be dropped.
        slot.delta.with_mut(|place| unsafe { (*place).write(delta) });
    }

    /// Takes back what was written into a slot.
    ///
    /// # Safety
    /// The caller claimed the slot and wrote it, and it never became part of a chain.
    pub(super) unsafe fn take_back(&self, slot: usize) -> Delta<K, T> {
        // SAFETY: the caller's promise; the slot counts as empty from now on.
        self.slot(slot).delta.with_mut(|place| unsafe { (*place).assume_init_read() })
    }

    /// Drops an entry.
    ///
    /// # Safety
    /// The entry is this page's own, nobody reads it from now on, and it is dropped once.
    pub(super) unsafe fn drop_entry(&self, index: usize) {
        assert!(index < self.count(), "the entry is one of the page's");
        let parts = self.parts();
        // SAFETY: the caller's promise; the places lie within the page.
        unsafe {
            if !K::IS_HEAD {
                ptr::drop_in_place(self.at::<K>(parts.keys).add(index));
            }
            ptr::drop_in_place(self.at::<T>(parts.values).add(index));
        }
    }

    /// Drops a delta.
    ///
    /// # Safety
    /// The slot is part of the chain, its delta is this page's own, nobody reads it from now on, and it is dropped once.
    pub(super) unsafe fn drop_delta(&self, slot: usize) {
        // SAFETY: the caller's promise.
        self.slot(slot).delta.with_mut(|delta| unsafe { (*delta).assume_init_drop() });
    }

    /// Drops the fences and frees the memory. Entries and deltas are not dropped.
    ///
    /// # Safety
    /// - Nobody uses the page from now on.
    /// - What of its entries and of its chain nobody else owns was dropped.
    pub(super) unsafe fn free(self) {
        let layout = self.parts().layout;
        self.header().content.with_mut(|_| ());
        for slot in 1..=self.slots() {
            let place = ptr::from_ref(self.slot(slot)).cast_mut();
            // SAFETY: nobody uses the slot. What it holds is `MaybeUninit`, which this doesn't drop.
            unsafe { ptr::drop_in_place(place) };
        }
        let claims = ptr::from_ref(self.claims()).cast_mut();
        // SAFETY: nobody uses the page; its claims and its header are dropped once.
        unsafe {
            ptr::drop_in_place(claims);
            (*self.header.as_ptr()).life = FREED;
            ptr::drop_in_place(self.header.as_ptr());
            memory::release(self.header.cast(), layout);
        }
    }
}
