//! The standard library's B-tree behind the standard library's lock: what a map has to beat to be worth its name.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct RwLockBTreeMap<K>(Arc<RwLock<BTreeMap<K, u64>>>);

impl<K: Key> OrderedMap<K> for RwLockBTreeMap<K> {
    fn new() -> Self {
        RwLockBTreeMap(Arc::default())
    }
    fn insert(&self, key: K, value: u64) {
        self.0.write().unwrap().insert(key, value);
    }
    fn update(&self, key: K, value: u64) {
        self.0.write().unwrap().insert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.read().unwrap().get(key).copied()
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        for (key, value) in self.0.read().unwrap().range(start..).take(limit) {
            visit(key, *value);
        }
    }
}
