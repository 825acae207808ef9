//! Consolidation: a new page in place of a page and its chain, or two if it got too large.

use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};

use super::Value;
use super::builder::{Builder, Shape};
use super::delta::Delta;
use super::key::Key;
use super::mapping::PageId;
use super::page::Page;
use super::view::{Pieces, View, total};
use super::visit::{Refusal, Spot, Visit};
use super::word::Word;

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Consolidates a leaf that is in this state. Does nothing if it no longer is.
    pub(super) fn consolidate_leaf(&self, spot: &Spot<K>) {
        self.consolidate(spot.id, self.leaf(spot.word), |_| None);
    }

    /// Makes room for a delta in an inner page that is in this state. Does nothing if it no longer is.
    pub(super) fn make_room(&self, spot: &Spot<K>) {
        let view = self.inner(spot.word);
        if view.pending_merge().is_some() && total(&view.pieces()) > self.most(view) {
            // A page isn't split between the two children of a merge: let it be done first, or the page grows on.
            self.finish_merge(spot.id);
        } else {
            self.consolidate_inner(spot);
        }
    }

    /// Consolidates an inner page that is in this state. Does nothing if it no longer is.
    pub(super) fn consolidate_inner(&self, spot: &Spot<K>) {
        let view = self.inner(spot.word);
        self.consolidate(spot.id, view, |child| Some(*child));
    }

    fn most<T: 'static>(&self, view: View<'_, K, T>) -> usize {
        self.tree.limits.most(view.page.level())
    }

    /// `child` is the child that an entry names, above the leaves. While a merge is pending, the page isn't split.
    fn consolidate<T: 'static>(&self, id: PageId, view: View<'_, K, T>, child: fn(&T) -> Option<PageId>) {
        let pieces = view.pieces();
        let count = total(&pieces);
        let level = view.page.level();
        if count > self.most(view) && view.pending_slot().is_none() {
            let split = Split::new(view, pieces, child);
            if id == self.generation().root {
                self.grow(&split);
            } else {
                self.split(id, &split);
            }
            return;
        }
        let mut builder = Builder::new(self.shape(view), count);
        view.copy(&pieces, 0, count, &mut builder);
        if self.install(id, view, builder, view.pending_slot()) && count <= self.tree.limits.few(level) {
            self.start_merge(id, view.page.low(), level);
        }
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

    /// Installs a new page in place of one that is in this state, which is retired. `pending` is the slot of a merge
    /// that the new page announces in turn.
    pub(super) fn install<T: 'static>(
        &self,
        id: PageId,
        from: View<'_, K, T>,
        builder: Builder<K, T>,
        pending: Option<usize>,
    ) -> bool {
        let word = builder.finish(pending.map(|slot| (from.page, slot)));
        if self.replace(id, from.word, word) {
            self.retire(from);
            return true;
        }
        self.discard::<T>(word);
        false
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
        builder.finish(None)
    }

    /// The left half.
    fn left_half<T: 'static>(&self, split: &Split<'_, K, T>, right: PageId) -> Word<K> {
        let shape = Shape { high: Some(split.fence.clone()), right: Some(right), ..self.shape(split.view) };
        let mut builder = Builder::new(shape, split.at);
        split.view.copy(&split.pieces, 0, split.at, &mut builder);
        builder.finish(None)
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
        let root = builder.finish(None);
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
            // A parent that begins at the separator was split there: it has the right half as its first child.
            let (child, position) = view.locate(at);
            if view.page.low() == Some(at) || child.is_some() || self.load(right).is_removed() {
                return;
            }
            let separator = Delta::Separator { at: at.clone(), child: right };
            match self.post(parent.id, view, separator, position) {
                Ok(()) => return,
                Err(Refusal::Full(_)) => self.make_room(&parent),
                Err(Refusal::Changed(_)) => {}
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
