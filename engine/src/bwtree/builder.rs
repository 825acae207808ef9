//! New pages.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use super::key::Key;
use super::mapping::PageId;
use super::page::{ALIVE, Claims, Header, Link, Page, Parts, Slot};
use super::word::{MAX_DELTAS, Word};
use crate::sync::cell::UnsafeCell;
use crate::sync::{AtomicU32, memory};

/// What a new page is made of, but for its entries.
pub(super) struct Shape<K> {
    pub(super) level: u8,
    pub(super) slots: usize,
    pub(super) right: Option<PageId>,
    pub(super) first: Option<PageId>,
    pub(super) low: Option<K>,
    pub(super) high: Option<K>,
}

/// A page under construction. It isn't published, so its entries belong to it only when it is
/// [finished](Builder::finish): one that is dropped before frees its memory and its fences.
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
            (Some(low), Some(high)) if !K::IS_HEAD => low.shared(high),
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
                let link = UnsafeCell::new(Link { index: 0, is_exact: false, next: 0, replaces: 0 });
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

    /// The state of the finished page, for the mapping table.
    ///
    /// From now on the page is the caller's: to publish, or to free by [`Page::free`].
    pub(super) fn finish(self) -> Word<K> {
        assert_eq!(self.written, self.page.count(), "a finished page has its entries");
        let page = self.page;
        std::mem::forget(self);
        page.header().content.with_mut(|_| ());
        Word::from_raw(page.header.as_ptr())
    }
}

/// Has a delta of another page, given by its slot, move along to a page that isn't published, by its bits.
pub(super) fn carry<K: Key, T: 'static>(word: Word<K>, from: Page<'_, K, T>, slot: usize) -> Word<K> {
    // SAFETY: the page was just made, with entries of this type, and nobody frees it meanwhile.
    let page = unsafe { Page::<K, T>::of(word) };
    let to = page.claim().expect("a new page has a delta slot");
    // SAFETY: both are slots, and this one was claimed right here. Bits are copied: who owns them is for the caller.
    from.slot(slot).delta.with(|from| page.slot(to).delta.with_mut(|to| unsafe { ptr::copy(from, to, 1) }));
    word.with_newest(to)
}

impl<K: Key, T: 'static> Drop for Builder<K, T> {
    fn drop(&mut self) {
        // SAFETY: nobody saw the page. What was written into it belongs to the pages that it came from.
        unsafe { self.page.free() };
    }
}
