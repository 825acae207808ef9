//! Consolidation: a new page in place of a page and its chain, or two if it got too large.

use std::cmp::Ordering;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};

use super::Value;
use super::builder::{Builder, Shape, carry};
use super::delta::{Delta, Position};
use super::key::Key;
use super::mapping::PageId;
use super::page::Page;
use super::view::{Pieces, View, total};
use super::visit::{Spot, Visit};
use super::word::Word;

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Posts a delta to a leaf that is in this state. `position` is where its key lies there. If the leaf isn't in that state
    /// any more, or was split to make room, the delta is the caller's again. Otherwise: whether the leaf holds so little now
    /// that the caller has to [tend](Self::tend) it, when it has done what belongs to its change.
    #[inline]
    pub(super) fn post_to_leaf(
        &self,
        spot: &Spot<K>,
        delta: Delta<K, V>,
        position: Position,
    ) -> Result<bool, Delta<K, V>> {
        self.post_to(spot.id, self.leaf(spot.word), delta, position, |_| None)
    }

    /// The same for an inner page. While a merge is pending, it isn't split.
    pub(super) fn post_to_inner(
        &self,
        spot: &Spot<K>,
        delta: Delta<K, PageId>,
        position: Position,
    ) -> Result<bool, Delta<K, PageId>> {
        self.post_to(spot.id, self.inner(spot.word), delta, position, |child| Some(*child))
    }

    /// That a thread whose delta finds no room consolidates, and brings it along, is what makes this latch-free: what makes
    /// the exchange of another one fail is then a change of the map, or a step of a split or a merge, of which there are only
    /// so many for each change. (Or it is a part of somebody's call of `maintain`.)
    #[inline]
    fn post_to<T: 'static>(
        &self,
        id: PageId,
        view: View<'_, K, T>,
        delta: Delta<K, T>,
        position: Position,
        child: fn(&T) -> Option<PageId>,
    ) -> Result<bool, Delta<K, T>> {
        match view.page.claim() {
            Some(slot) => self.post(id, view, delta, position, slot).map(|()| false),
            None => {
                let outcome = self.consolidate(id, view, Some(delta), child);
                outcome.map_err(|delta| delta.expect("it was given one"))
            }
        }
    }

    /// Consolidates a page that is in this state, for nobody's change. If it isn't any more, others do this.
    pub(super) fn tidy(&self, spot: &Spot<K>) {
        let is_small = match self.level(spot.word) {
            0 => {
                self.consolidate(spot.id, self.leaf(spot.word), None, |_| None).is_ok_and(|is_small| is_small)
            }
            _ => {
                let outcome = self.consolidate(spot.id, self.inner(spot.word), None, |child| Some(*child));
                outcome.is_ok_and(|is_small| is_small)
            }
        };
        if is_small {
            self.tend(spot);
        }
    }

    /// Begins to merge a page that was found to hold little when it was in this state.
    pub(super) fn tend(&self, spot: &Spot<K>) {
        let page = self.fences(spot.word).page;
        self.start_merge(spot.id, page.low(), page.level());
    }

    /// Whether a page has more entries than it should, and can't be split before its pending merge is done.
    pub(super) fn is_overdue(&self, view: View<'_, K, PageId>) -> bool {
        view.pending_slot().is_some() && total(&view.pieces()) > self.most(view)
    }

    fn most<T: 'static>(&self, view: View<'_, K, T>) -> usize {
        self.tree.limits.most(view.page.level())
    }

    /// A delta, if there is one, becomes the first of the new page; it comes back if the page no longer is in this state, or
    /// was split. Otherwise: whether the page holds little. `child` is the child that an entry names, above the leaves.
    fn consolidate<T: 'static>(
        &self,
        id: PageId,
        view: View<'_, K, T>,
        delta: Option<Delta<K, T>>,
        child: fn(&T) -> Option<PageId>,
    ) -> Result<bool, Option<Delta<K, T>>> {
        let pieces = view.pieces();
        let count = total(&pieces);
        let pending = view.pending_slot();
        if count > self.most(view) && pending.is_none() {
            let split = Split::new(view, pieces, child);
            if id == self.generation().root {
                self.grow(&split);
            } else {
                self.split(id, &split);
            }
            return Err(delta);
        }
        let mut builder = Builder::new(self.shape(view), count);
        view.copy(&pieces, 0, count, &mut builder);
        self.install(id, view, builder, pending, delta)?;
        Ok(count <= self.tree.limits.few(view.page.level()))
    }

    /// The shape of a page that takes this one's place.
    pub(super) fn shape<T: 'static>(&self, view: View<'_, K, T>) -> Shape<K> {
        let page = view.page;
        Shape {
            level: page.level(),
            slots: self.tree.limits.slots(page.level()),
            right: page.right(),
            first: page.first(),
            low: page.low().cloned(),
            high: page.high().cloned(),
        }
    }

    /// Installs a new page in place of one that is in this state, which is retired. `pending` is the slot of a merge that
    /// the new page announces in turn, `delta` is its first change. If the page no longer is in this state, the delta comes back.
    pub(super) fn install<T: 'static>(
        &self,
        id: PageId,
        from: View<'_, K, T>,
        builder: Builder<K, T>,
        pending: Option<usize>,
        delta: Option<Delta<K, T>>,
    ) -> Result<(), Option<Delta<K, T>>> {
        let mut word = builder.finish();
        if let Some(slot) = pending {
            word = carry(word, from.page, slot);
        }
        // SAFETY: the page was made right here, and nobody frees it before it is published.
        let page = unsafe { Page::<K, T>::of(word) };
        let mut own = None;
        if let Some(delta) = delta {
            let position = delta.key().map_or(Position::NONE, |key| page.rank(key));
            let slot = page.claim().expect("a new page has a slot for a merge and one for a change");
            // SAFETY: the slot was claimed right here.
            unsafe { page.write(slot, delta, position, word.newest()) };
            word = word.with_newest(slot);
            own = Some(slot);
        }
        if self.replace(id, from.word, word) {
            self.retire(from);
            return Ok(());
        }
        // SAFETY: the delta was written right here, and nobody saw the page.
        let delta = own.map(|slot| unsafe { page.take_back(slot) });
        self.discard::<T>(word);
        Err(delta)
    }

    /// Frees a page that was never published. Its entries belong to the pages that they were copied from.
    pub(super) fn discard<T: 'static>(&self, word: Word<K>) {
        // SAFETY: nobody saw the page.
        unsafe { Page::<K, T>::of(word).free() };
    }

    /// The right half of a page.
    fn right_half<T: 'static>(&self, split: &Split<'_, K, T>) -> Word<K> {
        let view = split.view;
        let mut shape = Shape { low: Some(split.fence.clone()), ..self.shape(view) };
        // The separator at which an inner page is split moves up; its child is the first of the right half.
        let start = split.at + usize::from(split.child.is_some());
        shape.first = split.child;
        let mut builder = Builder::new(shape, split.count - start);
        view.copy(&split.pieces, start, split.count, &mut builder);
        builder.finish()
    }

    /// The left half.
    fn left_half<T: 'static>(&self, split: &Split<'_, K, T>, right: PageId) -> Word<K> {
        let shape = Shape { high: Some(split.fence.clone()), right: Some(right), ..self.shape(split.view) };
        let mut builder = Builder::new(shape, split.at);
        split.view.copy(&split.pieces, 0, split.at, &mut builder);
        builder.finish()
    }

    /// Splits a page: publishes the right half under an id of its own, which nobody knows, and installs the left half,
    /// which knows it, by one exchange. From then on the right half is reached through the left one. The separator
    /// follows.
    fn split<T: 'static>(&self, id: PageId, split: &Split<'_, K, T>) {
        let right_word = self.right_half(split);
        let right = self.tree.mapping.publish(right_word);
        let left = self.left_half(split, right);
        if self.replace(id, split.view.word, left) {
            self.retire_split(split);
            self.post_separator(left, right);
            return;
        }
        self.discard::<T>(left);
        self.discard::<T>(right_word);
        // Nobody ever saw the id.
        self.tree.mapping.give_up(right);
    }

    /// Splits the root: its halves become the children of a new root, which is installed under the same id.
    fn grow<T: 'static>(&self, split: &Split<'_, K, T>) {
        let right_word = self.right_half(split);
        let right = self.tree.mapping.publish(right_word);
        let left_word = self.left_half(split, right);
        let left = self.tree.mapping.publish(left_word);
        let level = split.view.page.level() + 1;
        let slots = self.tree.limits.slots(level);
        let shape = Shape { level, slots, right: None, first: Some(left), low: None, high: None };
        let mut builder = Builder::new(shape, 1);
        // The new root owns the separator if it is installed.
        let fence = ManuallyDrop::new(split.fence.clone());
        builder.push(&*fence, &right);
        let root = builder.finish();
        if self.replace(self.generation().root, split.view.word, root) {
            self.retire_split(split);
            return;
        }
        drop(ManuallyDrop::into_inner(fence));
        self.discard::<PageId>(root);
        self.discard::<T>(left_word);
        self.discard::<T>(right_word);
        self.tree.mapping.give_up(left);
        self.tree.mapping.give_up(right);
    }

    /// Retires a page that was split. Above the leaves one separator is in neither half.
    fn retire_split<T: 'static>(&self, split: &Split<'_, K, T>) {
        if split.child.is_some() && needs_drop::<K>() {
            let separator = std::ptr::from_ref(split.view.key_in_place(&split.pieces, split.at));
            // SAFETY: the page was unlinked by this thread, its halves own its other entries, and the bits of this one
            // are read here only. They are a key again when nobody can read the page any more.
            let mut separator = unsafe { separator.cast::<MaybeUninit<K>>().read() };
            // SAFETY: as above.
            self.guard.defer(move || unsafe { separator.assume_init_drop() });
        }
        self.retire(split.view);
    }

    /// Tells the parent of a page that was split about the right half. Whoever comes across the half that the parent
    /// doesn't know does this.
    ///
    /// The right half may have been merged away meanwhile, and the news be old. So the order matters: the state of the
    /// parent first, then whether the right half is still there, then the exchange from that state. A merge of the
    /// right half needs its separator in the parent, so if the exchange succeeds, no merge can have begun.
    pub(super) fn post_separator(&self, left: Word<K>, right: PageId) {
        let left = self.fences(left).page;
        let at = left.high().expect("a page that was split has an upper fence");
        loop {
            let Some(parent) = self.find(at, left.level() + 1) else { return };
            let view = self.inner(parent.word);
            let (child, position) = view.locate(at);
            // A parent that begins at the separator was split there: it has the right half as its first child.
            let is_first = view.page.low().is_some_and(|low| low.cmp(at) == Ordering::Equal);
            if is_first || child.is_some() || self.load(right).is_removed() {
                return;
            }
            if self.is_overdue(view) {
                self.finish_merge(parent.id);
                continue;
            }
            let separator = Delta::Separator { at: at.clone(), child: right };
            if let Ok(is_small) = self.post_to_inner(&parent, separator, position) {
                if is_small {
                    self.tend(&parent);
                }
                return;
            }
        }
    }
}

/// Where and how a page is split.
struct Split<'g, K, T> {
    view: View<'g, K, T>,
    pieces: Pieces,
    count: usize,
    /// How many entries stay in the left half.
    at: usize,
    /// The key between the halves.
    fence: K,
    /// Above the leaves: the child that begins at the fence.
    child: Option<PageId>,
}

impl<'g, K: Key, T: 'static> Split<'g, K, T> {
    fn new(view: View<'g, K, T>, pieces: Pieces, child: fn(&T) -> Option<PageId>) -> Split<'g, K, T> {
        let count = total(&pieces);
        // Keys that come in ascending order would leave every page half empty behind them.
        let is_appended =
            view.page.high().is_none() && pieces[0].len() == view.page.count() && pieces.len() > 1;
        let at = if is_appended { count - count / 8 } else { count / 2 };
        let at = at.clamp(1, count - 1);
        let (fence, value) = view.entry(&pieces, at);
        Split { view, pieces, count, at, fence, child: child(value) }
    }
}
