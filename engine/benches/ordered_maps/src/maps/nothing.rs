//! A map that holds nothing and agrees to everything: what is left is the cost of the benchmark itself.

use std::hint::black_box;

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct Nothing;

impl<K: Key> OrderedMap<K> for Nothing {
    fn new() -> Nothing {
        Nothing
    }
    fn insert(&self, key: K, value: u64) {
        black_box((&key, value));
    }
    fn update(&self, key: K, value: u64) {
        black_box((&key, value));
    }
    fn get(&self, key: &K) -> Option<u64> {
        Some(black_box(key)).map(|_| 0)
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        (0..limit as u64).for_each(|value| visit(start, value));
    }
}
