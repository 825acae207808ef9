//! A plain map under a lock that does what the write tier does: what the tier is tested against.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{TierEntry, TierValue};
use crate::ids::TxnId;
use crate::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(super) struct Reference {
    by_key: Mutex<BTreeMap<Arc<[u8]>, Versions>>,
}

/// Of one key, oldest first.
type Versions = BTreeMap<TxnId, TierValue>;

impl Reference {
    pub(super) fn install(&self, txn: TxnId, mutations: impl IntoIterator<Item = (Arc<[u8]>, TierValue)>) {
        let mut by_key = self.by_key.lock();
        for (key, value) in mutations {
            by_key.entry(key).or_default().insert(txn, value);
        }
    }

    pub(super) fn get(&self, key: &[u8], snapshot: TxnId) -> Option<TierValue> {
        visible(self.by_key.lock().get(key)?, snapshot)
    }

    pub(super) fn newest(&self, key: &[u8]) -> Option<TxnId> {
        Some(*self.by_key.lock().get(key)?.last_key_value()?.0)
    }

    pub(super) fn transaction(&self, txn: TxnId) -> Vec<TierEntry> {
        let by_key = self.by_key.lock();
        let of_txn = |(key, versions): (&Arc<[u8]>, &BTreeMap<TxnId, TierValue>)| {
            Some((Arc::clone(key), versions.get(&txn)?.clone()))
        };
        by_key.iter().filter_map(of_txn).collect()
    }

    /// What a snapshot sees within bounds, which are in order.
    pub(super) fn scan(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), snapshot: TxnId) -> Vec<TierEntry> {
        let by_key = self.by_key.lock();
        let entries = by_key.range::<[u8], _>(bounds);
        entries.filter_map(|(key, versions)| Some((Arc::clone(key), visible(versions, snapshot)?))).collect()
    }

    pub(super) fn versions(&self) -> Vec<(Arc<[u8]>, TxnId, TierValue)> {
        let by_key = self.by_key.lock();
        let mut all = Vec::new();
        for (key, versions) in &*by_key {
            all.extend(versions.iter().rev().map(|(txn, value)| (Arc::clone(key), *txn, value.clone())));
        }
        all
    }

    pub(super) fn remove(&self, key: &[u8], txn: TxnId) {
        self.by_key.lock().get_mut(key).expect("it is there").remove(&txn).expect("it is there");
    }
}

fn visible(versions: &Versions, snapshot: TxnId) -> Option<TierValue> {
    Some(versions.range(..=snapshot).next_back()?.1.clone())
}
