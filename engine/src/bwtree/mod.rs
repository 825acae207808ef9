//! A latch-free ordered map: the Bw-tree.
//!
//! # The idea
//! Pages know each other by id, and a *mapping table* says what an id stands for. Every change of a page is one
//! compare-and-swap of its entry there: it puts a *delta* before the page's chain of deltas, or a new page in the place
//! of page and chain, which is *consolidation*. A page is never changed where it lies, so readers need no lock and no
//! retry. A page that gets too large is split: its right half gets an id, the left half takes the page's place and
//! knows the right one as its sibling, as in a B-link tree, and the parent learns of it afterwards. A page that holds
//! little is merged into its left sibling (see `merge`). Whoever comes across a change of structure that is half done
//! completes it, so nobody waits for anybody. What was replaced is freed when no thread can be reading it.
//!
//! # Invariants
//! - The pages of a level that are not removed divide all keys among them: page by page, `high` is the `low` of the
//!   right sibling. A page that was removed is the exception until its left sibling has taken it in; nothing changes
//!   there meanwhile.
//! - A page is at the level it was made for, and begins at the key it was made for, as long as its id is in use. The
//!   root is the exception: its id stays, its level changes.
//! - A state that was replaced never comes back while a thread may hold it: pages are not freed before, and a slot for
//!   a delta is used once.
//! - A thread never waits: a failed exchange means that another one succeeded.
//!
//! # Sources
//! Levandoski, Lomet, Sengupta, "The Bw-Tree: A B-tree for New Hardware Platforms", ICDE 2013: mapping table, deltas,
//! structure modifications. Wang, Pavlo, Lim, Leis, Zhang, Kaminsky, Andersen, "Building a Bw-Tree Takes More Than Just
//! Buzz Words", SIGMOD 2018: deltas preallocated beside their page, what is hard about merges. Lehman, Yao, "Efficient
//! locking for concurrent operations on B-trees", TODS 1981: right siblings.

mod append;
mod builder;
mod consolidate;
mod delta;
mod frozen;
mod generation;
mod key;
mod limits;
mod mapping;
mod merge;
mod neighbour;
mod page;
#[cfg(test)]
mod panics;
mod range;
mod retire;
pub mod search;
mod stats;
#[cfg(test)]
mod tests;
mod view;
mod visit;
mod word;

use std::fmt;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::ops::Bound;
use std::ptr::NonNull;

pub use frozen::Frozen;
pub use key::{Key, Probe};
pub use limits::Limits;
pub use range::Range;
pub use stats::Stats;

use self::builder::{Builder, Shape};
use self::delta::Delta;
use self::generation::Generation;
use self::mapping::Mapping;
use self::retire::free_all;
use self::visit::Visit;
use self::word::{ALIGNMENT, Word};
use crate::sync::epoch::Collector;
use crate::sync::{Arc, AtomicPtr, Backoff, Ordering};

/// A value of the tree: any [`Frozen`] type that can be cloned, shared and sent.
pub trait Value: Clone + Frozen + Send + Sync + 'static {}

impl<V: Clone + Frozen + Send + Sync + 'static> Value for V {}

/// A concurrent ordered map from `K` to `V`. No operation waits for another one.
///
/// Operations on one key are linearizable: each takes effect at one moment between its call and its return. A scan
/// shows each key at most once, in order, and misses none that is there from its beginning to its end; values are those
/// of some moment meanwhile.
///
/// ```
/// use std::ops::Bound::{Excluded, Unbounded};
///
/// use proofmark_engine::bwtree::BwTree;
///
/// let tree = BwTree::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| tree.upsert(1_u64, "one"));
///     scope.spawn(|| tree.upsert(2_u64, "two"));
/// });
/// assert_eq!(tree.get(&1), Some("one"));
/// assert_eq!(tree.insert(2, "deux"), Err("deux"), "inserting never overwrites");
/// assert_eq!(tree.range(Excluded(&1), Unbounded).collect::<Vec<_>>(), [(2, "two")]);
/// assert_eq!(tree.delete(&1), Some("one"));
/// assert_eq!(tree.len(), 1);
/// ```
pub struct BwTree<K: Key, V: Value> {
    mapping: Arc<Mapping<K>>,
    generation: AtomicPtr<Generation>,
    collector: Collector,
    limits: Limits,
    /// The tree owns values, and what can be put into it can't be of another type than what is read from it.
    _values: PhantomData<fn(V) -> V>,
}

// SAFETY: the tree owns keys and values, shares them between threads, and drops them on any of them.
unsafe impl<K: Key, V: Value> Send for BwTree<K, V> {}
// SAFETY: as above.
unsafe impl<K: Key, V: Value> Sync for BwTree<K, V> {}

impl<K: Key, V: Value> Default for BwTree<K, V> {
    fn default() -> Self {
        BwTree::new()
    }
}

impl<K: Key, V: Value> fmt::Debug for BwTree<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BwTree").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> BwTree<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> BwTree<K, V> {
        BwTree::with_limits(Limits::default())
    }

    /// An empty map with pages of other sizes.
    ///
    /// # Panics
    /// If a limit is out of its range.
    #[must_use]
    pub fn with_limits(limits: Limits) -> BwTree<K, V> {
        BwTree::with_collector(limits, Collector::new())
    }

    /// An empty map with the same limits that shares its epochs with this one: what the one replaced is freed by the
    /// operations of the other, too. For maps that follow each other.
    #[must_use]
    pub fn successor(&self) -> BwTree<K, V> {
        BwTree::with_collector(self.limits, self.collector.clone())
    }

    fn with_collector(limits: Limits, collector: Collector) -> BwTree<K, V> {
        const {
            assert!(!K::IS_HEAD || !needs_drop::<K>(), "a key that is its head owns nothing");
            let is_aligned = align_of::<K>() <= ALIGNMENT && align_of::<V>() <= ALIGNMENT;
            assert!(is_aligned, "keys and values are aligned to 64 bytes at most");
        }
        let limits = limits.check();
        let mapping = Arc::new(Mapping::new(limits.table_bits));
        let generation = new_generation::<K, V>(&mapping, limits);
        BwTree { mapping, generation: AtomicPtr::new(generation), collector, limits, _values: PhantomData }
    }

    /// Puts a value at a key that has none.
    ///
    /// # Errors
    /// The value, if the key has one already.
    pub fn insert(&self, key: K, value: V) -> Result<(), V> {
        match self.change(Delta::Put { key, value }, |present| present.is_none(), |_| ()) {
            Ok(()) => Ok(()),
            Err(Declined { delta: Delta::Put { value, .. }, .. }) => Err(value),
            Err(_) => unreachable!("the delta comes back as it was"),
        }
    }

    /// Puts a value at a key, whatever is there, and returns what was.
    pub fn upsert(&self, key: K, value: V) -> Option<V> {
        self.change(Delta::Put { key, value }, |_| true, |present| present.cloned()).ok().flatten()
    }

    /// Puts a value at a key if what is there is what is expected: a certain value, or none.
    ///
    /// # Errors
    /// What is there, if it is something else.
    pub fn compare_and_insert(&self, key: K, expected: Option<&V>, value: V) -> Result<(), Option<V>>
    where
        V: PartialEq,
    {
        match self.change(
            Delta::Put { key, value },
            |present| present == expected,
            |present| present.cloned(),
        ) {
            Ok(_) => Ok(()),
            Err(declined) => Err(declined.present),
        }
    }

    /// Deletes a key, and returns the value that it had.
    pub fn delete<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<V> {
        let key = {
            let visit = self.visit();
            let spot = visit.find_leaf(probe);
            visit.leaf(spot.word).find_key(probe)?
        };
        self.change(Delta::Delete { key }, |present| present.is_some(), |present| present.cloned())
            .ok()
            .flatten()
    }

    /// The value at a key.
    #[inline]
    pub fn get<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> Option<V> {
        self.get_with(probe, V::clone)
    }

    /// What a function makes of the value at a key, without a clone of it.
    #[inline]
    pub fn get_with<Q: Probe<K> + ?Sized, R>(&self, probe: &Q, read: impl FnOnce(&V) -> R) -> Option<R> {
        let visit = self.visit();
        let spot = visit.find_leaf(probe);
        visit.leaf(spot.word).find(probe).map(read)
    }

    /// Whether a key has a value.
    #[inline]
    pub fn contains<Q: Probe<K> + ?Sized>(&self, probe: &Q) -> bool {
        self.get_with(probe, |_| ()).is_some()
    }

    /// The entry with the lowest key. While others change the tree this is the first entry that a scan comes to: none, if
    /// keys appear only where it has been and disappear before it is there.
    pub fn first(&self) -> Option<(K, V)> {
        self.range::<K>(Bound::Unbounded, Bound::Unbounded).next()
    }

    /// The entry with the highest key. While others change the tree: as [`BwTree::first`], from the other side.
    pub fn last(&self) -> Option<(K, V)> {
        self.range_reverse::<K>(Bound::Unbounded, Bound::Unbounded).next()
    }

    /// The entries from `start` to `end`, by ascending keys.
    ///
    /// The tree may change meanwhile: no key comes twice, none is missed that is there all the time, and a value is one
    /// that the key had at some moment since the scan began. A scan that rests keeps in memory what others replace
    /// meanwhile; one that goes on lets go of it every few pages.
    pub fn range<'t, Q>(&'t self, start: Bound<&Q>, end: Bound<&'t Q>) -> Range<'t, K, V, Q, false>
    where
        Q: Probe<K> + ?Sized,
    {
        Range::new(self, start, end)
    }

    /// The entries from `start` down to `end`, by descending keys: `start` is the upper bound. Otherwise as
    /// [`BwTree::range`].
    pub fn range_reverse<'t, Q>(&'t self, start: Bound<&Q>, end: Bound<&'t Q>) -> Range<'t, K, V, Q, true>
    where
        Q: Probe<K> + ?Sized,
    {
        Range::new(self, start, end)
    }

    /// The entries from `start` on, by ascending keys. Otherwise as [`BwTree::range`].
    pub fn range_from<P>(&self, start: Bound<&P>) -> Range<'_, K, V, K, false>
    where
        P: Probe<K> + ?Sized,
    {
        Range::new(self, start, Bound::Unbounded)
    }

    /// The entries from `start` down, by descending keys. Otherwise as [`BwTree::range`].
    pub fn range_down_from<P>(&self, start: Bound<&P>) -> Range<'_, K, V, K, true>
    where
        P: Probe<K> + ?Sized,
    {
        Range::new(self, start, Bound::Unbounded)
    }

    /// The number of keys. It is exact: whatever returned before this was called is counted, and whatever is under way may
    /// or may not be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.visit().generation().len()
    }

    /// Whether [`BwTree::len`] is zero. While an operation is under way that isn't counted yet, that may be so although a key
    /// is there: look for one with [`BwTree::first`] where that matters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all keys at once. Operations that are under way take effect before or after.
    pub fn clear(&self) {
        let visit = self.visit();
        let empty = new_generation::<K, V>(&self.mapping, self.limits);
        // Release: publishes the new root. Acquire: the old one is freed here.
        let old = Cleared(self.generation.swap(empty, Ordering::AcqRel));
        let mapping = Arc::clone(&self.mapping);
        visit.guard.defer(move || {
            let Cleared(old) = { old };
            // SAFETY: the generation was unlinked by this exchange alone, and whoever had come across it has ended its
            // visit.
            unsafe { free_generation::<K, V>(&mapping, old) };
        });
        drop(visit);
        self.collector.collect();
    }

    /// Consolidates the pages that have deltas, and merges those that hold little, until that makes them no fewer. Concurrent
    /// operations do that by themselves where they change much; this is for what is left behind where they changed little.
    /// What others change meanwhile may be left as it is.
    pub fn maintain(&self) {
        let mut visit = self.visit();
        let mut before = usize::MAX;
        loop {
            // A merge of pages can give their children siblings to merge with.
            let pages = (0..=u8::MAX).map_while(|level| visit.maintain_level(level)).sum();
            if pages >= before {
                return;
            }
            before = pages;
        }
    }

    /// Frees what no thread can reach any more, as far as threads that are reading allow. A thread that has changed much
    /// and lives on without coming back may keep the last few dozen pages that it replaced to itself.
    pub fn collect(&self) {
        self.collector.collect();
    }

    #[inline]
    fn visit(&self) -> Visit<'_, K, V> {
        let guard = self.collector.pin();
        Visit { tree: self, guard, generation: self.generation() }
    }

    #[inline]
    fn generation(&self) -> NonNull<Generation> {
        // Acquire: pairs with the release of `clear`.
        NonNull::new(self.generation.load(Ordering::Acquire)).expect("a tree has a generation")
    }

    /// Posts a delta to its leaf if what is at its key is as it has to be. Returns what `read` makes of what was there, or
    /// gives the delta back with that.
    fn change<R>(
        &self,
        mut delta: Delta<K, V>,
        is_due: impl Fn(Option<&V>) -> bool,
        read: impl Fn(Option<&V>) -> R,
    ) -> Result<R, Declined<K, V, R>> {
        let visit = self.visit();
        let backoff = Backoff::new();
        loop {
            let key = delta.key().expect("changes of leaves have a key");
            let spot = visit.find_leaf(key);
            let (present, position) = visit.leaf(spot.word).locate(key);
            if !is_due(present) {
                return Err(Declined { delta, present: read(present) });
            }
            let added = isize::from(delta.entry().is_some()) - isize::from(present.is_some());
            match visit.post_to_leaf(&spot, delta, position) {
                Ok(is_small) => {
                    // First of all: whatever follows looks at keys and values, whose own code may panic.
                    if added != 0 {
                        visit.generation().count(spot.id, added);
                    }
                    if is_small {
                        visit.tend(&spot);
                    }
                    return Ok(read(present));
                }
                Err(back) => {
                    backoff.spin();
                    delta = back;
                }
            }
        }
    }
}

/// A change that wasn't due.
struct Declined<K, V, R> {
    delta: Delta<K, V>,
    present: R,
}

/// A generation that crosses to the thread that frees it.
struct Cleared(*mut Generation);

// SAFETY: a generation is a page id and counters, and only the one who frees it uses the pointer.
unsafe impl Send for Cleared {}

/// An empty root.
fn new_generation<K: Key, V: Value>(mapping: &Mapping<K>, limits: Limits) -> *mut Generation {
    let shape = Shape { level: 0, slots: limits.slots(0), right: None, first: None, low: None, high: None };
    let root: Word<K> = Builder::<K, V>::new(shape, 0).finish();
    Box::into_raw(Box::new(Generation::new(mapping.publish(root))))
}

/// Frees a generation with all its pages.
///
/// # Safety
/// It came from [`new_generation`], nobody uses it from now on, and it is freed once.
unsafe fn free_generation<K: Key, V: Value>(mapping: &Mapping<K>, generation: *mut Generation) {
    // SAFETY: the caller's promise.
    let generation = unsafe { Box::from_raw(generation) };
    // SAFETY: as above.
    unsafe { free_all::<K, V>(mapping, generation.root) };
}

impl<K: Key, V: Value> Drop for BwTree<K, V> {
    fn drop(&mut self) {
        let generation = self.generation.load(Ordering::Acquire);
        // SAFETY: nobody has the tree any more. What was deferred frees only what no page leads to.
        unsafe { free_generation::<K, V>(&self.mapping, generation) };
    }
}
