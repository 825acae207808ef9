//! A map from numbers to numbers, whatever build of the tree it is made of.

use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::Arc;

/// A key and its value.
pub type Pair = (u64, u64);

/// What a scan shows, one after the other.
pub type Pairs<'t> = Box<dyn Iterator<Item = Pair> + 't>;

/// The tree, as far as clients use it. The operations are those of `bwtree::BwTree`.
#[expect(missing_docs, reason = "they are documented there")]
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait Tree: Send + Sync {
    fn insert(&self, key: u64, value: u64) -> bool;
    fn upsert(&self, key: u64, value: u64) -> Option<u64>;
    fn compare_and_insert(&self, key: u64, expected: Option<u64>, value: u64) -> Result<(), Option<u64>>;
    fn delete(&self, key: u64) -> Option<u64>;
    fn get(&self, key: u64) -> Option<u64>;
    fn contains(&self, key: u64) -> bool;
    fn scan(&self, from: Bound<u64>, to: Bound<u64>, see: &mut dyn FnMut(Pairs<'_>));
    fn scan_reverse(&self, from: Bound<u64>, to: Bound<u64>, see: &mut dyn FnMut(Pairs<'_>));
    fn first(&self) -> Option<Pair>;
    fn last(&self) -> Option<Pair>;
    fn len(&self) -> usize;
    fn clear(&self);
    fn maintain(&self);
    fn collect(&self);
    /// How many leaves it has.
    fn leaves(&self) -> usize;
}

/// How large pages get, in entries and in deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what their names say")]
pub struct PageLimits {
    pub leaf: usize,
    pub inner: usize,
    pub deltas: usize,
}

/// One build of the tree, with one kind of keys and values.
#[derive(Clone, Copy)]
pub struct Subject {
    /// What it is called in reports.
    pub name: &'static str,
    /// Makes an empty one.
    pub new: fn(PageLimits) -> Shared,
}

/// A tree that threads share. If one of them panics, it is never dropped: it may be in any state.
#[derive(Clone)]
pub struct Shared(Option<Arc<dyn Tree>>);

impl Shared {
    /// Shares a tree.
    pub fn new(tree: impl Tree + 'static) -> Shared {
        Shared(Some(Arc::new(tree)))
    }
}

impl Deref for Shared {
    type Target = dyn Tree;

    fn deref(&self) -> &(dyn Tree + 'static) {
        self.0.as_deref().expect("a tree is there until it is dropped")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// Makes a [`Subject`] of the tree in a module: `subject!(CONSTANT, "name", path::to::bwtree, Number, make, number)`, where
/// `make` turns a number into a key or a value, and `number` turns it back.
#[macro_export]
macro_rules! subject {
    ($constant:ident, $name:expr, $bwtree:path, $number:ty, $make:expr, $back:expr) => {
        #[doc = concat!("The subject `", $name, "`.")]
        pub const $constant: $crate::Subject = {
            use std::ops::Bound;

            use $bwtree::{BwTree, Limits};
            use $crate::{PageLimits, Pair, Pairs, Shared, Subject, Tree};

            struct Subjected(BwTree<$number, $number>);

            fn pair((key, value): ($number, $number)) -> Pair {
                ($back(&key), $back(&value))
            }

            impl Tree for Subjected {
                fn insert(&self, key: u64, value: u64) -> bool {
                    let refused = self.0.insert($make(key), $make(value)).err();
                    assert!(refused.iter().all(|back| $back(back) == value), "the value comes back");
                    refused.is_none()
                }

                fn upsert(&self, key: u64, value: u64) -> Option<u64> {
                    self.0.upsert($make(key), $make(value)).map(|old| $back(&old))
                }

                fn compare_and_insert(
                    &self,
                    key: u64,
                    expected: Option<u64>,
                    value: u64,
                ) -> Result<(), Option<u64>> {
                    let expected = expected.map($make);
                    let outcome = self.0.compare_and_insert($make(key), expected.as_ref(), $make(value));
                    outcome.map_err(|found| found.map(|found| $back(&found)))
                }

                fn delete(&self, key: u64) -> Option<u64> {
                    self.0.delete(&$make(key)).map(|old| $back(&old))
                }

                fn get(&self, key: u64) -> Option<u64> {
                    self.0.get(&$make(key)).map(|value| $back(&value))
                }

                fn contains(&self, key: u64) -> bool {
                    self.0.contains(&$make(key))
                }

                fn scan(&self, from: Bound<u64>, to: Bound<u64>, see: &mut dyn FnMut(Pairs<'_>)) {
                    let (from, to) = (from.map($make), to.map($make));
                    see(Box::new(self.0.range::<$number>(from.as_ref(), to.as_ref()).map(pair)));
                }

                fn scan_reverse(&self, from: Bound<u64>, to: Bound<u64>, see: &mut dyn FnMut(Pairs<'_>)) {
                    let (from, to) = (from.map($make), to.map($make));
                    see(Box::new(self.0.range_reverse::<$number>(to.as_ref(), from.as_ref()).map(pair)));
                }

                fn first(&self) -> Option<Pair> {
                    self.0.first().map(pair)
                }

                fn last(&self) -> Option<Pair> {
                    self.0.last().map(pair)
                }

                fn len(&self) -> usize {
                    self.0.len()
                }

                fn clear(&self) {
                    self.0.clear();
                }

                fn maintain(&self) {
                    self.0.maintain();
                }

                fn collect(&self) {
                    self.0.collect();
                }

                fn leaves(&self) -> usize {
                    self.0.stats().leaves
                }
            }

            Subject {
                name: $name,
                new: |PageLimits { leaf, inner, deltas }| {
                    // An inner page needs room for the end of a merge beside its announcement.
                    let inner_deltas = deltas.max(2);
                    let limits = Limits { leaf, inner, leaf_deltas: deltas, inner_deltas, table_bits: 1 };
                    Shared::new(Subjected(BwTree::with_limits(limits)))
                },
            }
        };
    };
}
