//! congee, an adaptive radix tree: keys of 8 bytes, values of one word, and a scan that fills a slice.
//!
//! The caller pins the epoch. Each operation does so for itself, as the other maps do inside of theirs.

use std::sync::Arc;

use congee::{U64Congee, epoch};

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct Congee(Arc<U64Congee<usize>>);

/// How many pairs a scan takes at once.
const PAIRS: usize = 100;

impl OrderedMap<u64> for Congee {
    fn new() -> Congee {
        Congee(Arc::default())
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value as usize, &epoch::pin()).expect("there is memory");
    }
    fn update(&self, key: u64, value: u64) {
        self.0.insert(key, value as usize, &epoch::pin()).expect("there is memory");
    }
    fn get(&self, key: &u64) -> Option<u64> {
        self.0.get(*key, &epoch::pin()).map(|value| value as u64)
    }
    fn scan(&self, start: &u64, mut limit: usize, mut visit: impl FnMut(&u64, u64)) {
        let mut pairs = [([0; 8], 0); PAIRS];
        let mut start = *start;
        while limit > 0 {
            let wanted = limit.min(PAIRS);
            let found = self.0.range(start, u64::GREATEST, &mut pairs[..wanted], &epoch::pin());
            for (key, value) in &pairs[..found] {
                start = u64::from_be_bytes(*key);
                visit(&start, *value as u64);
            }
            if found < wanted {
                return;
            }
            start += 1;
            limit -= found;
        }
    }
}
