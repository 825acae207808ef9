//! Scans: entries in the order of their keys, in either direction, while others change the tree.
//!
//! A scan takes a page at a time, in one state, and goes on where the fences of that page end. So each key is shown at
//! most once and in order, and each value was there at some moment after the page was entered. Between pages everything
//! may have changed: the next page is the one that holds the next key *then*. A key that is there throughout is in the
//! page that holds its place whenever that page is entered, so it isn't missed.

use std::cmp::Ordering;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;

use super::key::{Key, Place, Probe};
use super::view::Pieces;
use super::visit::Visit;
use super::word::Word;
use super::{BwTree, Value};

/// After so many pages a scan lets go of what it held in memory.
pub(super) const PAGES_PINNED: usize = 32;

/// An iterator over the entries within bounds. See [`BwTree::range`] and [`BwTree::range_reverse`].
pub struct Range<'t, K: Key, V: Value, Q: Probe<K> + ?Sized, const DESCENDING: bool> {
    visit: Visit<'t, K, V>,
    /// Where the scan ends.
    end: Place<'t, Q>,
    /// The state of the page that the scan is in; none when it has ended.
    word: Option<Word<K>>,
    /// The entries of the page that lie within the bounds.
    pieces: Pieces,
    /// How many of these pieces are done and, of the next one, how many entries.
    pieces_done: usize,
    entries_done: usize,
    /// Pages since the thread was pinned.
    pages: usize,
}

impl<'t, K: Key, V: Value, Q: Probe<K> + ?Sized, const DESCENDING: bool> Range<'t, K, V, Q, DESCENDING> {
    pub(super) fn new<P>(tree: &'t BwTree<K, V>, start: Bound<&P>, end: Bound<&'t Q>) -> Self
    where
        P: Probe<K> + ?Sized,
    {
        let mut range = Range {
            visit: tree.visit(),
            end: if DESCENDING { lower(end) } else { upper(end) },
            word: None,
            pieces: Pieces::new(),
            pieces_done: 0,
            entries_done: 0,
            pages: 0,
        };
        let spot = match start {
            Bound::Included(start) => range.visit.find_leaf(start),
            Bound::Excluded(_) | Bound::Unbounded if DESCENDING => range.visit.find_leaf(&upper(start)),
            Bound::Excluded(_) | Bound::Unbounded => range.visit.find_leaf(&lower(start)),
        };
        let start = if DESCENDING { upper(start) } else { lower(start) };
        let page = range.visit.leaf(spot.word).page;
        // Bounds the wrong way round select nothing. Within a page that shows by itself.
        let is_in_order = if DESCENDING {
            page.high().is_none_or(|high| range.end.compare(high) == Ordering::Less)
        } else {
            page.low().is_none_or(|low| range.end.compare(low) == Ordering::Greater)
        };
        if is_in_order {
            range.enter(spot.word, start);
        }
        range
    }

    /// Enters a page, at a place between its fences.
    fn enter<P: Probe<K> + ?Sized>(&mut self, word: Word<K>, start: Place<'_, P>) {
        let view = self.visit.leaf(word);
        // The end is searched for only in the page in which it lies.
        if DESCENDING {
            let is_last = view.page.low().is_none_or(|low| self.end.compare(low) != Ordering::Less);
            view.pieces_between(if is_last { self.end } else { Place::Lowest }, start, &mut self.pieces);
        } else {
            let is_last = view.page.high().is_none_or(|high| self.end.compare(high) == Ordering::Less);
            view.pieces_between(start, if is_last { self.end } else { Place::Highest }, &mut self.pieces);
        }
        if !DESCENDING && let Some(right) = view.page.right() {
            self.visit.prefetch_leaf(self.visit.load(right));
        }
        self.word = Some(word);
        self.pieces_done = 0;
        self.entries_done = 0;
    }

    /// Goes on to the page behind the one that is done; `None` if that was the last one.
    fn leave(&mut self, word: Word<K>) -> Option<()> {
        self.word = None;
        let page = self.visit.leaf(word).page;
        let fence = if DESCENDING { page.low()? } else { page.high()? };
        let is_before_end = match self.end.compare(fence) {
            Ordering::Less => DESCENDING,
            Ordering::Greater => !DESCENDING,
            Ordering::Equal => panic!("a place is never at a key"),
        };
        if !is_before_end {
            return None;
        }
        self.pages += 1;
        if !DESCENDING && !self.pages.is_multiple_of(PAGES_PINNED) {
            // The right sibling begins here, unless it was removed. Its id has no other meaning while this visit lasts.
            let right = self.visit.load(self.visit.right_of(word));
            if !right.is_removed() {
                self.enter(right, Place::<K>::Lowest);
                return Some(());
            }
        }
        let fence = fence.clone();
        if self.pages.is_multiple_of(PAGES_PINNED) {
            self.visit.renew();
        }
        // By descending keys what follows ends right before the fence. By ascending keys it begins there: the page that
        // is looked for is the one that holds the fence, and not the one that ends there.
        let start = Place::Before(&fence);
        let spot = if DESCENDING { self.visit.find_leaf(&start) } else { self.visit.find_leaf(&fence) };
        self.enter(spot.word, start);
        Some(())
    }

    /// What a function makes of the next entry, without clones of it.
    #[inline]
    pub fn next_with<R>(&mut self, read: impl FnOnce(&K, &V) -> R) -> Option<R> {
        loop {
            let word = self.word?;
            if self.pieces_done == self.pieces.len() {
                self.leave(word)?;
                continue;
            }
            let last = self.pieces.len() - 1;
            let piece = self.pieces[if DESCENDING { last - self.pieces_done } else { self.pieces_done }];
            let index = if DESCENDING { piece.len() - 1 - self.entries_done } else { self.entries_done };
            self.entries_done += 1;
            if self.entries_done == piece.len() {
                self.entries_done = 0;
                self.pieces_done += 1;
            }
            return Some(self.visit.leaf(word).with_entry_of(piece, index, read));
        }
    }
}

impl<K: Key, V: Value, Q: Probe<K> + ?Sized, const DESCENDING: bool> Iterator
    for Range<'_, K, V, Q, DESCENDING>
{
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        self.next_with(|key, value| (key.clone(), value.clone()))
    }
}

impl<K: Key, V: Value, Q: Probe<K> + ?Sized, const DESCENDING: bool> FusedIterator
    for Range<'_, K, V, Q, DESCENDING>
{
}

impl<K: Key, V: Value, Q: Probe<K> + ?Sized, const DESCENDING: bool> fmt::Debug
    for Range<'_, K, V, Q, DESCENDING>
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Range").field("is_descending", &DESCENDING).finish_non_exhaustive()
    }
}

fn lower<Q: ?Sized>(bound: Bound<&Q>) -> Place<'_, Q> {
    match bound {
        Bound::Unbounded => Place::Lowest,
        Bound::Included(probe) => Place::Before(probe),
        Bound::Excluded(probe) => Place::After(probe),
    }
}

fn upper<Q: ?Sized>(bound: Bound<&Q>) -> Place<'_, Q> {
    match bound {
        Bound::Unbounded => Place::Highest,
        Bound::Included(probe) => Place::After(probe),
        Bound::Excluded(probe) => Place::Before(probe),
    }
}
