//! bf-tree, without files: keys and values are bytes, a read copies into a buffer of the caller.
//!
//! It was made for data larger than memory. Here its pages are in memory, too, and its circular buffer, which holds
//! what it takes for hot beside them, has its default size: 32 MiB, which are there from the start.

use std::sync::Arc;

use bf_tree::{Config, LeafInsertResult, LeafReadResult, ScanReturnField};

use super::OrderedMap;
use crate::workload::Key;

#[derive(Clone)]
pub(crate) struct BfTree(Arc<bf_tree::BfTree>);

const VALUE_BYTES: usize = 8;

impl<K: Key> OrderedMap<K> for BfTree {
    fn new() -> BfTree {
        let mut config = Config::default();
        config.cb_max_key_len(size_of::<K>()).cb_min_record_size(size_of::<K>() + VALUE_BYTES);
        BfTree(Arc::new(bf_tree::BfTree::with_config(config, None).expect("the configuration is sound")))
    }
    fn insert(&self, key: K, value: u64) {
        let result = self.0.insert(key.to_bytes().as_ref(), &value.to_le_bytes());
        assert!(matches!(result, LeafInsertResult::Success), "{key:?} is refused");
    }
    fn update(&self, key: K, value: u64) {
        self.insert(key, value);
    }
    fn get(&self, key: &K) -> Option<u64> {
        let mut value = [0; VALUE_BYTES];
        match self.0.read(key.to_bytes().as_ref(), &mut value) {
            LeafReadResult::Found(_) => Some(u64::from_le_bytes(value)),
            _ => None,
        }
    }
    fn scan(&self, start: &K, limit: usize, mut visit: impl FnMut(&K, u64)) {
        let mut pair = [0; 64];
        let start = start.to_bytes();
        let mut pairs = self
            .0
            .scan_with_count(start.as_ref(), limit, ScanReturnField::KeyAndValue)
            .expect("the key is sound, and the limit not 0");
        while let Some((key_bytes, value_bytes)) = pairs.next(&mut pair) {
            let value = pair[key_bytes..key_bytes + value_bytes].try_into().expect("a value has 8 bytes");
            visit(&K::from_bytes(&pair[..key_bytes]), u64::from_le_bytes(value));
        }
    }
}
