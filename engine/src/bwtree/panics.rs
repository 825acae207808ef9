//! What is left of a tree when a key's own code panics in the middle of an operation: everything that was, or what the
//! operation was to make of it, and an exact count of either.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;

const TINY: Limits = Limits { leaf: 3, inner: 2, leaf_deltas: 2, inner_deltas: 2, table_bits: 1 };

thread_local! {
    /// After so many calls of a key's code by this thread the next one panics; none does if there is no number.
    static PATIENCE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A key that can't be cloned or compared for ever.
#[derive(Debug, PartialEq, Eq)]
struct Touchy(u64);

/// Counts a call, and panics if it was one too many. Not by the hook, which would print it.
fn touch() {
    match PATIENCE.get() {
        None => {}
        Some(0) => resume_unwind(Box::new("one too many")),
        Some(left) => PATIENCE.set(Some(left - 1)),
    }
}

impl Clone for Touchy {
    fn clone(&self) -> Touchy {
        touch();
        Touchy(self.0)
    }
}

impl PartialOrd for Touchy {
    fn partial_cmp(&self, other: &Touchy) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Touchy {
    fn cmp(&self, other: &Touchy) -> Ordering {
        touch();
        self.0.cmp(&other.0)
    }
}

// SAFETY: a number.
unsafe impl Frozen for Touchy {}
// SAFETY: the order of numbers, unless a panic keeps it from saying so; the defaults are right for every order.
unsafe impl Key for Touchy {}

/// A tree of the even numbers below 60, of which those in the middle half were deleted again, and its keys.
fn tree(value: &Arc<u64>) -> (BwTree<Touchy, Arc<u64>>, Vec<u64>) {
    let tree = BwTree::with_limits(TINY);
    (0..30).for_each(|number| drop(tree.upsert(Touchy(number * 2), Arc::clone(value))));
    (8..22).for_each(|number| drop(tree.delete(&Touchy(number * 2))));
    let keys = (0..30).filter(|number| !(8..22).contains(number)).map(|number| number * 2).collect();
    (tree, keys)
}

/// Lets `operation` panic at each of its calls of a key's code in turn. What it leaves has to be one of the sets of keys that
/// `outcomes` makes of those before.
fn check(
    operation: impl Fn(&BwTree<Touchy, Arc<u64>>, &Arc<u64>),
    outcomes: impl Fn(&[u64]) -> Vec<Vec<u64>>,
) {
    for patience in 0.. {
        let value = Arc::new(0);
        let (tree, before) = tree(&value);
        PATIENCE.set(Some(patience));
        let is_done = catch_unwind(AssertUnwindSafe(|| operation(&tree, &value))).is_ok();
        PATIENCE.set(None);
        let keys: Vec<u64> =
            tree.range::<Touchy>(Bound::Unbounded, Bound::Unbounded).map(|(key, _)| key.0).collect();
        assert!(outcomes(&before).contains(&keys), "after {patience} calls: {keys:?}");
        assert_eq!(tree.len(), keys.len(), "after {patience} calls");
        tree.maintain();
        tree.check();
        assert_eq!(tree.len(), keys.len(), "after {patience} calls, and maintenance");
        drop(tree);
        assert_eq!(Arc::strong_count(&value), 1, "after {patience} calls: every value is dropped");
        if is_done {
            assert!(patience > 0, "the operation calls a key's code");
            return;
        }
    }
}

/// Keys with others beside them.
fn with(keys: &[u64], others: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut keys: Vec<u64> = keys.iter().copied().chain(others).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_put_counts_or_never_was() {
    for key in (1..60).step_by(2) {
        let put = |tree: &BwTree<_, _>, value: &Arc<u64>| drop(tree.upsert(Touchy(key), Arc::clone(value)));
        check(put, |keys| vec![keys.to_vec(), with(keys, [key])]);
    }
}

#[test]
fn a_deletion_counts_or_never_was() {
    for key in (0..16).step_by(2) {
        let without = |keys: &[u64]| keys.iter().copied().filter(|other| *other != key).collect();
        check(|tree, _| drop(tree.delete(&Touchy(key))), |keys| vec![keys.to_vec(), without(keys)]);
    }
}

#[test]
fn of_what_is_appended_every_key_counts_that_is_there() {
    let append = |tree: &BwTree<_, _>, value: &Arc<u64>| {
        tree.upsert_all((100..130).map(|key| (Touchy(key), Arc::clone(value))).collect());
    };
    check(append, |keys| (100..=130).map(|end| with(keys, 100..end)).collect());
}

#[test]
fn maintenance_changes_nothing() {
    check(|tree, _| tree.maintain(), |keys| vec![keys.to_vec()]);
}
