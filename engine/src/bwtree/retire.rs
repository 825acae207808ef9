//! The end of pages: what is dropped with them, and when.

use std::collections::BTreeSet;
use std::mem::needs_drop;

use super::key::{Key, Place};
use super::mapping::{Mapping, PageId};
use super::page::{Page, level};
use super::view::View;
use super::word::Word;

/// A page that was unlinked, on its way to the thread that frees it.
///
/// Its entries moved to another page, whose owner may drop them before this page is freed. So what is dropped with this
/// one is found out when it is unlinked: later its keys may no longer be looked at.
pub(super) struct Retired<K> {
    word: Word<K>,
    leftovers: Option<Box<Leftovers>>,
}

/// What no other page took over.
pub(super) struct Leftovers {
    /// Slots of deltas.
    pub(super) deltas: Vec<usize>,
    /// Indices of entries.
    pub(super) entries: Vec<usize>,
}

// SAFETY: what is reached through the word is only freed by whoever gets it, once. Keys and values are `Send`.
unsafe impl<K: Send> Send for Retired<K> {}

impl<K: Key> Retired<K> {
    /// A page whose last state this is, and whose entries other pages took over.
    pub(super) fn new<T: 'static>(view: View<'_, K, T>) -> Retired<K> {
        let owns = needs_drop::<K>() || needs_drop::<T>();
        Retired { word: view.word, leftovers: owns.then(|| Box::new(view.leftovers())) }
    }

    /// Frees the page.
    ///
    /// # Safety
    /// It has entries of type `T`, and nobody uses it from now on.
    pub(super) unsafe fn free<T: 'static>(self) {
        // SAFETY: the caller's promise; the page is freed at the end of this function.
        let page = unsafe { Page::<K, T>::of(self.word) };
        if let Some(leftovers) = self.leftovers {
            // SAFETY: by the promise, and because what is left over is this page's own and comes once in the lists.
            unsafe { drop_content(page, &leftovers) };
        }
        // SAFETY: what had to be dropped was, and nobody uses the page.
        unsafe { page.free() };
    }
}

/// Drops entries and deltas of a page.
///
/// # Safety
/// They are the page's own, nobody reads them from now on, and they are dropped once.
unsafe fn drop_content<K: Key, T: 'static>(page: Page<'_, K, T>, content: &Leftovers) {
    for &index in &content.entries {
        // SAFETY: the caller's promise.
        unsafe { page.drop_entry(index) };
    }
    for &slot in &content.deltas {
        // SAFETY: the caller's promise.
        unsafe { page.drop_delta(slot) };
    }
}

/// Frees a page with all that it holds.
///
/// # Safety
/// It has entries of type `T`, which are its own, and nobody uses it from now on.
unsafe fn free_whole<K: Key, T: 'static>(word: Word<K>) {
    // SAFETY: the caller's promise; the page is freed at the end of this function.
    let view = unsafe { View::<K, T>::of(word) };
    if needs_drop::<K>() || needs_drop::<T>() {
        let content = Leftovers { deltas: view.chain_slots(), entries: (0..view.page.count()).collect() };
        // SAFETY: by the promise.
        unsafe { drop_content(view.page, &content) };
    }
    // SAFETY: as above.
    unsafe { view.page.free() };
}

/// Frees every page that is reachable from a root, with all entries, and takes their ids back.
///
/// # Safety
/// The pages were made by a tree of `K` and `V`, nobody uses them from now on, and nobody else frees them.
pub(super) unsafe fn free_all<K: Key, V: 'static>(mapping: &Mapping<K>, root: PageId) {
    let mut leftmost = Some(root);
    // Children that no page of their level leads to any more: a sibling took them in, and only the separator is left.
    let mut children = BTreeSet::new();
    while let Some(first) = leftmost {
        let mut siblings = Vec::new();
        let mut next = Some(first);
        while let Some(id) = next {
            let word = mapping.load(id);
            // SAFETY: nobody frees pages but this function, and fences are the same for all levels.
            next = unsafe { View::<K, PageId>::of(word) }.page.right();
            siblings.push(id);
            children.remove(&id);
        }
        for id in std::mem::take(&mut children) {
            let word: Word<K> = mapping.load(id);
            assert!(word.is_removed(), "a live page is in the chain of its level");
            // SAFETY: the page was removed, and its left sibling took its entries over, or it would be in the chain.
            unsafe {
                if level(word) == 0 {
                    Retired::new(View::<K, V>::of(word)).free::<V>();
                } else {
                    Retired::new(View::<K, PageId>::of(word)).free::<PageId>();
                }
            }
            mapping.give_up(id);
        }
        // SAFETY: as above.
        let is_inner = unsafe { level(mapping.load(first)) } > 0;
        leftmost = is_inner.then(|| {
            for &id in &siblings {
                // SAFETY: as above; all pages of this chain have the level of the first.
                let view = unsafe { View::<K, PageId>::of(mapping.load(id)) };
                children
                    .extend(view.children().into_iter().filter(|child| mapping.load(*child).is_removed()));
            }
            // SAFETY: as above.
            unsafe { View::<K, PageId>::of(mapping.load(first)) }.child(&Place::<K>::Lowest)
        });
        for id in siblings {
            // SAFETY: nobody needs the page any more: its children and its right sibling are known.
            unsafe {
                if is_inner {
                    free_whole::<K, PageId>(mapping.load(id));
                } else {
                    free_whole::<K, V>(mapping.load(id));
                }
            }
            mapping.give_up(id);
        }
    }
}
