//! Ours.

use std::ops::Bound;
use std::sync::Arc;

use proofmark_engine::bwtree;

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct BwTree<K: Key>(Arc<bwtree::BwTree<K, u64>>);

impl<K: Key> OrderedMap<K> for BwTree<K> {
    fn new() -> Self {
        BwTree(Arc::new(bwtree::BwTree::new()))
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value).expect("the key is new");
    }
    fn update(&self, key: K, value: u64) {
        self.0.upsert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        for (key, value) in self.0.range(Bound::Included(start), Bound::Unbounded).take(limit) {
            visit(&key, value);
        }
    }
}
