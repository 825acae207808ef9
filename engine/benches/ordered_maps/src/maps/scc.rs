//! scc's `TreeIndex`: entries never change, so that `upsert_sync` puts a new one in the place of the old one.
//!
//! A range that starts below the first key walks all leaves backwards, for each child of each level on its way: with
//! a million keys it was not through after half a minute. So a scan from the least key of all is asked for without a
//! start.

use std::ops::Bound;
use std::sync::Arc;

use scc::{Guard, TreeIndex};

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct SccTreeIndex<K>(Arc<TreeIndex<K, u64>>);

impl<K: Key> OrderedMap<K> for SccTreeIndex<K> {
    fn new() -> Self {
        SccTreeIndex(Arc::default())
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert_sync(key, value).expect("the key is new");
    }
    fn update(&self, key: K, value: u64) {
        self.0.upsert_sync(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.peek_with(key, |_, value| *value)
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        let guard = Guard::new();
        let start = if *start == K::LEAST { Bound::Unbounded } else { Bound::Included(*start) };
        for (key, value) in self.0.range((start, Bound::Included(K::GREATEST)), &guard).take(limit) {
            visit(key, *value);
        }
    }
}
