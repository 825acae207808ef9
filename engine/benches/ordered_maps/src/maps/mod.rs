//! The maps, each behind the same few operations, by its most natural means.
//!
//! An adapter does what the documentation of its map tells a user to do, with the map's own defaults, and nothing
//! that only a benchmark would do. Where a map wants keys or values in a form of its own, turning them into it is part
//! of its time.

mod bf_tree;
mod bplustree;
mod bwtree;
mod concurrent_map;
mod congee;
mod nothing;
mod rwlock;
mod scc;
mod skiplist;

use clap::ValueEnum;

use crate::workload::{Key, KeyKind};

pub(crate) use self::bf_tree::BfTree;
pub(crate) use self::bplustree::BPlusTree;
pub(crate) use self::bwtree::BwTree;
pub(crate) use self::concurrent_map::ConcurrentMap;
pub(crate) use self::congee::Congee;
pub(crate) use self::nothing::Nothing;
pub(crate) use self::rwlock::RwLockBTreeMap;
pub(crate) use self::scc::SccTreeIndex;
pub(crate) use self::skiplist::SkipList;

/// A map of keys to numbers: a handle to it, of which each thread has one of its own.
pub(crate) trait OrderedMap<K: Key>: Clone + Send {
    /// An empty map.
    fn new() -> Self;
    /// A key that is not there.
    fn insert(&self, key: K, value: u64);
    /// A key that is there, or so it was a moment ago.
    fn update(&self, key: K, value: u64);
    fn get(&self, key: &K) -> Option<u64>;
    /// The first `limit` pairs whose keys are not below `start`, in their order.
    fn scan(&self, start: &K, limit: usize, visit: impl FnMut(&K, u64));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapKind {
    Bwtree,
    Skiplist,
    Scc,
    ConcurrentMap,
    BfTree,
    Congee,
    Bplustree,
    RwlockBtreemap,
    /// Does nothing: what it takes is what the benchmark itself costs.
    #[value(hide = true)]
    Nothing,
}

impl MapKind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            MapKind::Bwtree => "BwTree",
            MapKind::Skiplist => "crossbeam-skiplist",
            MapKind::Scc => "scc TreeIndex",
            MapKind::ConcurrentMap => "concurrent-map",
            MapKind::BfTree => "bf-tree",
            MapKind::Congee => "congee",
            MapKind::Bplustree => "bplustree",
            MapKind::RwlockBtreemap => "RwLock<BTreeMap>",
            MapKind::Nothing => "nothing",
        }
    }

    /// Why it can't have such keys.
    pub(crate) fn refusal(self, keys: KeyKind) -> Option<&'static str> {
        match (self, keys) {
            (MapKind::Congee, KeyKind::Bytes24) => Some("congee has keys of 8 bytes only"),
            _ => None,
        }
    }
}
