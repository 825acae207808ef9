//! bplustree: optimistic lock coupling, and latches held by iterators.

use std::sync::Arc;

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct BPlusTree<K: Key>(Arc<bplustree::BPlusTree<K, u64>>);

impl<K: Key> OrderedMap<K> for BPlusTree<K> {
    fn new() -> Self {
        BPlusTree(Arc::new(bplustree::BPlusTree::new()))
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn update(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.lookup(key, |value| *value)
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        let mut pairs = self.0.raw_iter();
        pairs.seek(start);
        for _ in 0..limit {
            let Some((key, value)) = pairs.next() else { return };
            visit(key, *value);
        }
    }
}
