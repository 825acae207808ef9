//! crossbeam-skiplist: `insert` replaces the entry of a key by a new one, and a reader between may see neither.

use std::sync::Arc;

use crossbeam_skiplist::SkipMap;

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct SkipList<K>(Arc<SkipMap<K, u64>>);

impl<K: Key> OrderedMap<K> for SkipList<K> {
    fn new() -> Self {
        SkipList(Arc::new(SkipMap::new()))
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn update(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key).map(|entry| *entry.value())
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        for entry in self.0.range(start..).take(limit) {
            visit(entry.key(), *entry.value());
        }
    }
}
