//! concurrent-map: a handle is no `Sync`, each thread has a clone. As long as there is only one handle, the map
//! changes its leaves in place; what is measured here is a map that is shared, so a second one is always kept.

use super::OrderedMap;
use crate::workload::Key;

pub(crate) struct ConcurrentMap<K: Key> {
    map: concurrent_map::ConcurrentMap<K, u64>,
    _other: concurrent_map::ConcurrentMap<K, u64>,
}

impl<K: Key> Clone for ConcurrentMap<K> {
    fn clone(&self) -> Self {
        ConcurrentMap { map: self.map.clone(), _other: self._other.clone() }
    }
}

impl<K: Key> OrderedMap<K> for ConcurrentMap<K> {
    fn new() -> Self {
        let map = concurrent_map::ConcurrentMap::new();
        ConcurrentMap { _other: map.clone(), map }
    }
    fn insert(&self, key: K, value: u64) {
        self.map.insert(key, value);
    }
    fn update(&self, key: K, value: u64) {
        self.map.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.map.get(key)
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        for (key, value) in self.map.range(*start..).take(limit) {
            visit(&key, value);
        }
    }
}
