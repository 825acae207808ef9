//! A page in memory: one allocation that holds a header, room for deltas, and sorted entries.
//!
//! ```text
//! header | delta slots | heads | keys (unless the heads are the keys) | values, or child ids
//! ```
//!
//! Header and entries never change after the page is published. The delta slots are the chain of the paper, next to the
//! page that it changes ("OpenBw-Tree", section 4.1: Wang, Pavlo, Lim, Leis, Zhang, Kaminsky, Andersen, "Building a
//! Bw-Tree Takes More Than Just Buzz Words", SIGMOD 2018): a thread claims a slot, writes its delta and the index of the
//! newest delta before it, and makes it the newest by a compare-and-swap of the page's [`Word`]. A claimed slot that never
//! became part of the chain is empty again, and lost until the page is consolidated.
//!
//! Who owns what: a page owns its fences, `low` and `high`. Keys and values of entries and deltas move, as bits, into the
//! page that replaces this one; what is superseded is dropped, and the memory freed, when nobody can read the old page
//! any more ([`Page::free`]). So no key or value is cloned by consolidation.

use std::alloc::Layout;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::key::{Key, Probe};
use super::mapping::PageId;
use super::search::lower_bound;
use crate::sync::cell::UnsafeCell;
use crate::sync::{AtomicU32, Ordering as MemoryOrdering, memory};

/// The state of a page: a pointer to it, the index of its newest delta, and whether the page was removed.
///
/// The three share one word, because a compare-and-swap has to see them all. Removing is the `remove-node` delta of the
/// paper: it says nothing but that it is there, so that one bit holds it, and a page can always be removed, whether it
/// has room for a delta or not. A removed page never changes again.
pub(super) struct Word<K>(*mut Header<K>);

/// Pages are aligned so that their addresses leave these bits free.
const ALIGNMENT: usize = 64;
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
    fn header(self) -> *mut Header<K> {
        self.0.map_addr(|address| address & !(ALIGNMENT - 1))
    }
}

/// What a page is, whether it has values or children.
#[repr(C, align(64))]
pub(super) struct Header<K> {
    life: u32,
    /// Entries, without those in deltas.
    count: u32,
    /// How many first units of a key all keys between the fences share.
    skip: u32,
    /// 0 for leaves.
    level: u8,
    /// Delta slots.
    slots: u8,
    /// The next page of this level, which begins at `high`.
    right: Option<PageId>,
    /// In inner pages the child below the first separator.
    first: Option<PageId>,
    /// The page holds keys from here on; from the lowest, if none.
    low: Option<K>,
    /// The page holds keys below this.
    high: Option<K>,
    /// Tells a checker of memory models who writes and reads the part that never changes.
    content: UnsafeCell<()>,
}

/// What comes right behind the header, in memory that writers share.
#[repr(C)]
struct Claims {
    /// How many slots were claimed; more than there are, when threads found none left.
    claimed: AtomicU32,
}

/// A page in memory that is in use says so: a freed one that is read is found out before what it points to is followed.
const ALIVE: u32 = 0x6c69_7665;
const FREED: u32 = 0x6672_6565;

/// A change of a page.
///
/// The paper's split delta is missing: a page is split when it is consolidated, because that is when it is known to be too
/// large, so that one compare-and-swap installs the left half as the new page. So is the delta of a merge on the page that
/// takes the other in: that page is consolidated with it. Removing a page is a bit of its [`Word`].
#[derive(Debug)]
pub(super) enum Delta<K, T> {
    /// In leaves: the key has this value now.
    Put { key: K, value: T },
    /// In leaves: the key is gone. In inner pages: the separator is gone, and so is the child that began there.
    Delete { key: K },
    /// In inner pages: the child begins at the separator.
    Separator { at: K, child: T },
    /// In inner pages: the child that begins here goes into its left sibling; the only child into the page itself, if there
    /// is no separator. Done when there is a newer [`Delta::Delete`] of that separator.
    Merge { at: Option<K> },
}

impl<K, T> Delta<K, T> {
    /// The key that this is about.
    #[inline]
    pub(super) fn key(&self) -> Option<&K> {
        match self {
            Delta::Put { key, .. } | Delta::Delete { key } | Delta::Separator { at: key, .. } => Some(key),
            Delta::Merge { .. } => None,
        }
    }

    /// The entry that this adds or overwrites.
    #[inline]
    pub(super) fn entry(&self) -> Option<(&K, &T)> {
        match self {
            Delta::Put { key, value } | Delta::Separator { at: key, child: value } => Some((key, value)),
            Delta::Delete { .. } | Delta::Merge { .. } => None,
        }
    }
}

/// Where a key lies among the entries of a page itself, whatever its deltas say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// How many keys are below it.
    pub(super) index: u32,
    /// Whether the next key is this one.
    pub(super) is_exact: bool,
}

impl Position {
    /// For deltas that are about no key.
    pub(super) const NONE: Position = Position { index: 0, is_exact: false };
}

/// A delta's place in its chain and in its page.
#[derive(Clone, Copy)]
struct Link {
    /// The parts of its [`Position`], side by side with what follows.
    index: u32,
    is_exact: bool,
    /// The slot of the delta before this one, counted from 1; 0 if there is none.
    next: u8,
}

#[repr(C)]
struct Slot<K, T> {
    link: UnsafeCell<Link>,
    delta: UnsafeCell<MaybeUninit<Delta<K, T>>>,
}

/// Where the parts of a page lie, in bytes from its start.
struct Parts {
    slots: usize,
    heads: usize,
    keys: usize,
    values: usize,
    layout: Layout,
}

impl Parts {
    #[inline]
    fn of<K: Key, T>(slots: usize, count: usize) -> Parts {
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

/// A page with entries from `K` to `T`, which can be read for as long as `'g`: values in leaves, children in inner pages.
pub(super) struct Page<'g, K, T> {
    header: NonNull<Header<K>>,
    _guard: PhantomData<(&'g (), *const T)>,
}

impl<K, T> Clone for Page<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Page<'_, K, T> {}

/// What a new page is made of, but for its entries.
pub(super) struct Shape<K> {
    pub(super) level: u8,
    pub(super) slots: usize,
    pub(super) right: Option<PageId>,
    pub(super) first: Option<PageId>,
    pub(super) low: Option<K>,
    pub(super) high: Option<K>,
}

/// Asks for what a look-up in a page of so many slots and so many entries reads, so that it arrives together, and not one
/// cache line after the other: the header, the used slots, and the heads.
#[inline]
pub(super) fn prefetch<K: Key, T>(word: Word<K>, slots: usize, entries: usize) {
    let parts = Parts::of::<K, T>(slots, entries);
    let line = |offset: usize| memory::prefetch(word.header().wrapping_byte_add(offset));
    line(0);
    if word.newest() > 0 {
        let end = parts.slots + word.newest() * size_of::<Slot<K, T>>();
        (parts.slots..end).step_by(CACHE_LINE).for_each(line);
    }
    (parts.heads..parts.keys).step_by(CACHE_LINE).for_each(line);
}

const CACHE_LINE: usize = 64;

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
    fn header(&self) -> &'g Header<K> {
        // SAFETY: the page isn't freed within `'g`, and a header doesn't change once there is a `Page` to read it by.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    fn at<U>(&self, offset: usize) -> *mut U {
        // SAFETY: the offset is of `Parts`, which the allocation was made for.
        unsafe { self.header.as_ptr().byte_add(offset).cast() }
    }

    #[inline]
    fn parts(&self) -> Parts {
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
    fn keys(&self) -> &'g [K] {
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

    /// How many keys of entries are below the probe, and whether the next one is at it. The probe lies between the fences.
    #[inline]
    pub(super) fn rank<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Position {
        let position = |index: usize, is_exact| Position { index: index as u32, is_exact };
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
    fn slot(&self, slot: usize) -> &'g Slot<K, T> {
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
        let Link { index, is_exact, .. } = self.slot(slot).link.with(|link| unsafe { *link });
        Position { index, is_exact }
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
        let Position { index, is_exact } = position;
        // SAFETY: nobody else uses a slot that the caller claimed and that is no part of a chain.
        slot.link.with_mut(|link| unsafe { *link = Link { index, is_exact, next } });
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
        // SAFETY: the caller's promise; the place lies within the page.
        unsafe {
            if !K::IS_HEAD {
                ptr::drop_in_place(ptr::from_ref(&self.keys()[index]).cast_mut());
            }
            ptr::drop_in_place(ptr::from_ref(&self.values()[index]).cast_mut());
        }
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

/// A page under construction. It isn't published, so its entries belong to it only when it is [finished](Builder::finish):
/// one that is dropped before frees its memory and its fences.
pub(super) struct Builder<K: Key, T: 'static> {
    page: Page<'static, K, T>,
    written: usize,
}

impl<K: Key, T: 'static> Builder<K, T> {
    pub(super) fn new(shape: Shape<K>, count: usize) -> Builder<K, T> {
        assert!(shape.slots <= MAX_DELTAS, "the index of a delta fits its state");
        assert_eq!(
            shape.level > 0,
            shape.first.is_some(),
            "inner pages have a first child, leaves have none"
        );
        let parts = Parts::of::<K, T>(shape.slots, count);
        let header = memory::allocate(parts.layout).cast::<Header<K>>();
        let skip = match (&shape.low, &shape.high) {
            (Some(low), Some(high)) => low.shared(high),
            _ => 0,
        };
        let page = Page { header, _guard: PhantomData };
        // SAFETY: the memory is new and has room for a header, for claims behind it, and for so many slots.
        unsafe {
            header.write(Header {
                life: ALIVE,
                count: u32::try_from(count).expect("a page has far less than 2^32 entries"),
                skip: u32::try_from(skip).expect("keys are far shorter than 2^32"),
                level: shape.level,
                slots: shape.slots as u8,
                right: shape.right,
                first: shape.first,
                low: shape.low,
                high: shape.high,
                content: UnsafeCell::new(()),
            });
            page.at::<Claims>(size_of::<Header<K>>()).write(Claims { claimed: AtomicU32::new(0) });
            let slots = page.at::<Slot<K, T>>(parts.slots);
            for slot in 0..shape.slots {
                let empty = UnsafeCell::new(MaybeUninit::uninit());
                let link = UnsafeCell::new(Link { index: 0, is_exact: false, next: 0 });
                slots.add(slot).write(Slot { link, delta: empty });
            }
        }
        Builder { page, written: 0 }
    }

    /// Appends entries of another page, by their bits.
    pub(super) fn push_run(&mut self, from: Page<'_, K, T>, start: usize, end: usize) {
        let count = end - start;
        let (into, parts) = (self.page.parts(), from.parts());
        assert!(end <= from.count() && self.written + count <= self.page.count(), "runs fit both pages");
        let to = self.written;
        // SAFETY: both ranges lie within their pages, by the assertion; the page under construction is nobody else's.
        unsafe {
            let values: *mut T = self.page.at(into.values);
            ptr::copy_nonoverlapping(from.at::<T>(parts.values).add(start), values.add(to), count);
            if !K::IS_HEAD {
                let keys: *mut K = self.page.at(into.keys);
                ptr::copy_nonoverlapping(from.at::<K>(parts.keys).add(start), keys.add(to), count);
            }
            let heads: *mut u64 = self.page.at(into.heads);
            if K::IS_HEAD || self.page.header().skip == from.header().skip {
                ptr::copy_nonoverlapping(from.at::<u64>(parts.heads).add(start), heads.add(to), count);
            } else {
                for (index, key) in from.keys()[start..end].iter().enumerate() {
                    heads.add(to + index).write(Key::head(key, self.page.header().skip as usize));
                }
            }
        }
        self.written += count;
    }

    /// Appends the entry of a delta, by its bits.
    pub(super) fn push(&mut self, key: &K, value: &T) {
        assert!(self.written < self.page.count(), "the entry fits the page");
        let (into, at) = (self.page.parts(), self.written);
        // SAFETY: the place lies within the page, which is nobody else's.
        unsafe {
            self.page.at::<u64>(into.heads).add(at).write(Key::head(key, self.page.header().skip as usize));
            if !K::IS_HEAD {
                ptr::copy_nonoverlapping(key, self.page.at::<K>(into.keys).add(at), 1);
            }
            ptr::copy_nonoverlapping(value, self.page.at::<T>(into.values).add(at), 1);
        }
        self.written += 1;
    }

    /// The state of the finished page, for the mapping table. A delta of another page, given by its slot, moves along, by
    /// its bits, and is the only one.
    ///
    /// From now on the page is the caller's: to publish, or to free by [`Page::free`].
    pub(super) fn finish(self, delta: Option<(Page<'_, K, T>, usize)>) -> Word<K> {
        assert_eq!(self.written, self.page.count(), "a finished page has its entries");
        let page = self.page;
        std::mem::forget(self);
        page.header().content.with_mut(|_| ());
        let word = Word(page.header.as_ptr());
        let Some((from, slot)) = delta else { return word };
        let to = page.claim().expect("a page has a delta slot");
        // SAFETY: both are slots, and this one was claimed right here. Bits are copied: who owns them is for the caller.
        from.slot(slot)
            .delta
            .with(|from| page.slot(to).delta.with_mut(|to| unsafe { ptr::copy(from, to, 1) }));
        word.with_newest(to)
    }
}

impl<K: Key, T: 'static> Drop for Builder<K, T> {
    fn drop(&mut self) {
        // SAFETY: nobody saw the page. What was written into it belongs to the pages that it came from.
        unsafe { self.page.free() };
    }
}
