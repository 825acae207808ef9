//! Merges of pages that hold little, and the collapse of a root with one child.
//!
//! A merge takes four steps, each one exchange, and any thread may do the next one:
//!
//! 1. The parent *announces* that the child at a separator goes into its left sibling ([`Delta::Merge`]). Until that is
//!    done, the parent is neither split nor removed, and announces nothing else.
//! 2. The child is *removed*: its state gets the bit that says so, and never changes again.
//! 3. The left sibling, which is the page whose right sibling the child is, *takes it in*.
//! 4. The parent *drops* the separator ([`Delta::Delete`]). Whoever succeeds in this retires the child and its id.
//!
//! A thread that comes across a removed page finishes its merge and starts over. The announcement is what makes that
//! possible: it keeps the separator and both children under one parent, and serializes the merges there. (The paper
//! leaves the merge of inner pages open; "Building a Bw-Tree" blocks the parent meanwhile, section 2.4. The
//! announcement does what that lock does, and nobody waits for it.)
//!
//! The root collapses in the same way: it announces that its only child goes into it, the child is removed, and the
//! root is replaced by a copy of the child. A child that has been split meanwhile takes the announcement back.

use std::cmp::Ordering;
use std::mem::ManuallyDrop;

use super::Value;
use super::builder::{Builder, Shape};
use super::delta::{Delta, Position};
use super::key::{Key, Place};
use super::mapping::PageId;
use super::view::{Pending, View, total};
use super::visit::{Spot, Visit};
use super::word::Word;
use crate::sync::Arc;

impl<K: Key, V: Value> Visit<'_, K, V> {
    /// Begins to merge a page that holds little with a sibling, if they have the same parent and there is room.
    pub(super) fn start_merge(&self, id: PageId, low: Option<&K>, level: u8) {
        loop {
            let Some(parent) = self.find_fence(low, level + 1) else { return };
            let view = self.inner(parent.word);
            if view.pending_merge().is_some() {
                // One at a time. If this page stays small, its next consolidation tries again.
                return self.finish_merge(parent.id);
            }
            let Some(at) = self.victim(&parent, view, id, low) else { return };
            // Whoever drops the separator in the end looks whether the parent holds little.
            if self.post_to_inner(&parent, Delta::Merge { at }, Position::NONE).is_ok() {
                return self.finish_merge(parent.id);
            }
        }
    }

    /// Which child goes into its left sibling so that a page gets company: the page itself or, if it is the first child
    /// of its parent, the next one. `Some(None)` is an only child that goes into the root.
    #[expect(clippy::option_option, reason = "the inner one is the delta's own")]
    fn victim(
        &self,
        parent: &Spot<K>,
        view: View<'_, K, PageId>,
        id: PageId,
        low: Option<&K>,
    ) -> Option<Option<K>> {
        let is_here = |at: &&K| view.find(*at) == Some(&id);
        let (left, at, right) = if let Some(at) = low.filter(is_here) {
            (view.child(&Place::Before(at)), at.clone(), id)
        } else if view.first() == id {
            let pieces = view.pieces();
            if pieces.is_empty() {
                return (parent.id == self.generation().root).then_some(None);
            }
            let (at, right) = view.entry(&pieces, 0);
            (id, at, *right)
        } else {
            return None;
        };
        assert_ne!(left, right, "a page is its parent's child once");
        let level = view.page.level() - 1;
        (self.size(left) + self.size(right) <= self.tree.limits.merged(level)).then_some(Some(at))
    }

    /// How many entries a page has at most.
    fn size(&self, id: PageId) -> usize {
        let word = self.load(id);
        self.fences(word).page.count() + word.newest()
    }

    /// Finishes the merge below a page that was removed, if it isn't finished.
    #[cold]
    pub(super) fn help_removal(&self, removed: Word<K>) {
        let page = self.fences(removed).page;
        if let Some(parent) = self.find_fence(page.low(), page.level() + 1) {
            self.finish_merge(parent.id);
        }
    }

    /// Takes the merge that a page has announced, if any, to its end.
    pub(super) fn finish_merge(&self, parent: PageId) {
        loop {
            let spot = Spot { id: parent, word: self.load(parent) };
            if spot.word.is_removed() || self.level(spot.word) == 0 {
                return;
            }
            let view = self.inner(spot.word);
            match view.pending_merge() {
                None => return,
                Some(Pending::Root) => self.collapse(&spot),
                Some(Pending::Sibling(at)) => {
                    let (victim, position) = view.locate(at);
                    let victim = *victim.expect("a separator stays while its merge is pending");
                    let dropped = Delta::Delete { key: at.clone() };
                    let last = self.remove(victim);
                    self.take_in(view, at, victim, last);
                    if self.post_to_inner(&spot, dropped, position).is_ok() {
                        self.retire_removed(victim, last);
                        return self.shrunk(parent);
                    }
                }
            }
        }
    }

    /// Removes a child whose merge was announced, and returns its last state.
    ///
    /// The announcement may be out of date. Then the child has been removed already, and its id is not in use again
    /// before this visit ends.
    fn remove(&self, victim: PageId) -> Word<K> {
        loop {
            let word = self.load(victim);
            if word.is_removed() {
                return word;
            }
            if self.level(word) > 0 && self.inner(word).pending_merge().is_some() {
                self.finish_merge(victim);
            } else if self.replace(victim, word, word.removed()) {
                return word.removed();
            }
        }
    }

    /// Has the left sibling of a removed page take it in, unless it has.
    fn take_in(&self, parent: View<'_, K, PageId>, at: &K, victim: PageId, last: Word<K>) {
        let mut left = parent.child(&Place::Before(at));
        loop {
            let word = self.load(left);
            let page = self.fences(word).page;
            let Some(high) = page.high() else { return };
            match high.cmp(at) {
                // The left sibling has been split.
                Ordering::Less => left = self.right_of(word),
                Ordering::Equal if page.right() == Some(victim) && !word.is_removed() => {
                    let is_done = if page.level() == 0 {
                        self.join::<V>(left, self.leaf(word), at, self.leaf(last), None)
                    } else {
                        let right = self.inner(last);
                        self.join::<PageId>(left, self.inner(word), at, right, Some(right.first()))
                    };
                    if is_done {
                        return;
                    }
                }
                // It has taken the page in, and may have been split or removed since.
                Ordering::Equal | Ordering::Greater => return,
            }
        }
    }

    /// Installs the entries of two siblings in place of the left one. Above the leaves the first child of the right one
    /// gets the separator between them.
    fn join<T: 'static>(
        &self,
        id: PageId,
        left: View<'_, K, T>,
        at: &K,
        right: View<'_, K, T>,
        first_of_right: Option<T>,
    ) -> bool {
        let (pieces, right_pieces) = (left.pieces(), right.pieces());
        let (left_count, right_count) = (total(&pieces), total(&right_pieces));
        let count = left_count + usize::from(first_of_right.is_some()) + right_count;
        let shape = Shape { right: right.page.right(), high: right.page.high().cloned(), ..self.shape(left) };
        let mut builder = Builder::new(shape, count);
        left.copy(&pieces, 0, left_count, &mut builder);
        // The new page owns the separator if it is installed.
        let middle = first_of_right.map(|first| ManuallyDrop::new((at.clone(), first)));
        if let Some(middle) = &middle {
            builder.push(&middle.0, &middle.1);
        }
        right.copy(&right_pieces, 0, right_count, &mut builder);
        let is_done = self.install(id, left, builder, left.pending_slot(), None).is_ok();
        if let Some(middle) = middle.filter(|_| !is_done) {
            drop(ManuallyDrop::into_inner(middle));
        }
        is_done
    }

    /// Frees a removed page and its id when nobody can come across them any more: neither a sibling nor a parent leads
    /// to it since its separator was dropped, which this thread did. Its left sibling, or the root, owns its entries.
    fn retire_removed(&self, id: PageId, last: Word<K>) {
        if self.level(last) == 0 {
            self.retire(self.leaf(last));
        } else {
            self.retire(self.inner(last));
        }
        let mapping = Arc::clone(&self.tree.mapping);
        self.guard.defer(move || mapping.give_up(id));
    }

    /// An inner page has lost a separator: if it holds little now, it is merged in turn, or collapses if it is the
    /// root.
    fn shrunk(&self, id: PageId) {
        let word = self.load(id);
        if word.is_removed() || self.level(word) == 0 {
            return;
        }
        let view = self.inner(word);
        let level = view.page.level();
        let count = total(&view.pieces());
        if id == self.generation().root {
            if count == 0 {
                self.start_merge(view.first(), None, level - 1);
            }
        } else if count <= self.tree.limits.few(level) {
            self.start_merge(id, view.page.low(), level);
        }
    }

    /// The next step of the root's collapse.
    ///
    /// Either the child is removed, or the announcement is taken back; never both. It is taken back only after the
    /// child was seen to have a right sibling. It is removed only from a state without one that was read before the
    /// announcement was seen to stand: so if it was taken back since, the child has left that state, and the exchange
    /// fails.
    fn collapse(&self, root: &Spot<K>) {
        let view = self.inner(root.word);
        let child = view.first();
        let word = self.load(child);
        if word.is_removed() {
            let is_done = if self.level(word) == 0 {
                self.lift::<V>(root, self.leaf(word))
            } else {
                self.lift::<PageId>(root, self.inner(word))
            };
            if is_done {
                self.retire_removed(child, word);
                self.shrunk(root.id);
            }
        } else if !view.pieces().is_empty() || self.fences(word).page.right().is_some() {
            self.withdraw(root);
        } else if self.level(word) > 0 && self.inner(word).pending_merge().is_some() {
            self.finish_merge(child);
        } else if self.load(root.id) == root.word {
            self.replace(child, word, word.removed());
        }
    }

    /// Installs the only child of the root in its place.
    fn lift<T: 'static>(&self, root: &Spot<K>, child: View<'_, K, T>) -> bool {
        let pieces = child.pieces();
        let count = total(&pieces);
        let mut builder = Builder::new(self.shape(child), count);
        child.copy(&pieces, 0, count, &mut builder);
        let lifted = builder.finish();
        if !self.replace(root.id, root.word, lifted) {
            self.discard::<T>(lifted);
            return false;
        }
        self.retire(self.inner(root.word));
        true
    }

    /// Takes the announcement of the root's collapse back.
    fn withdraw(&self, root: &Spot<K>) {
        let view = self.inner(root.word);
        let pieces = view.pieces();
        let count = total(&pieces);
        let mut builder = Builder::new(self.shape(view), count);
        view.copy(&pieces, 0, count, &mut builder);
        // If the root is in another state by now, somebody else did this.
        let _ = self.install(root.id, view, builder, None, None);
    }
}
