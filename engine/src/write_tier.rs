//! The write tier: what was committed since the last checkpoint, in memory.
//!
//! An ordered multi-version map. Versions are installed in the order of their TxnIds, before that TxnId is published as
//! the latest snapshot, so that a reader never sees half a transaction. A tier is *active* while commits go into it,
//! then *frozen* while a checkpoint merges it into the base tree, and dropped when its last reader is gone.
//!
//! The interface is narrow on purpose: install, look up, step, iterate. Nothing else of the engine knows how the map
//! is made.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::format::Mutations;
use crate::ids::TxnId;
use crate::sync::{Arc, AtomicU64, Ordering, RwLock};

/// What a version costs beyond its key and its value, in memory and in the log, roughly.
const VERSION_BYTES: usize = 152;

/// A value, or none where the key was deleted.
pub(crate) type TierValue = Option<Arc<[u8]>>;

/// What a step finds: the next key, and its version that the snapshot sees.
pub(crate) type TierEntry = (Arc<[u8]>, TierValue);

#[derive(Debug, Default)]
pub(crate) struct WriteTier {
    contents: RwLock<Contents>,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Contents {
    by_key: BTreeMap<Arc<[u8]>, Vec<Version>>,
    /// The keys that each transaction wrote, in the order of the transactions, which has no gaps.
    by_txn: VecDeque<Written>,
}

impl Contents {
    /// Adds versions, and returns their keys, each once.
    fn add(
        &mut self,
        txn: TxnId,
        mutations: impl Iterator<Item = (Arc<[u8]>, TierValue)>,
    ) -> Box<[Arc<[u8]>]> {
        if self.by_key.is_empty() {
            // Mutations come in the order of their keys, of which a map is built faster than one by one.
            self.by_key = mutations.map(|(key, value)| (key, vec![Version { txn, value }])).collect();
            return self.by_key.keys().cloned().collect();
        }
        let mut keys = Vec::new();
        for (key, value) in mutations {
            let entry = self.by_key.entry(key);
            let key = Arc::clone(entry.key());
            let versions = entry.or_insert_with(|| Vec::with_capacity(1));
            match versions.last_mut() {
                Some(last) if last.txn == txn => last.value = value,
                last => {
                    assert!(
                        last.is_none_or(|last| last.txn < txn),
                        "transactions are installed in their order"
                    );
                    versions.push(Version { txn, value });
                    keys.push(key);
                }
            }
        }
        keys.into()
    }
}

/// The keys that one transaction wrote.
#[derive(Debug)]
struct Written {
    txn: TxnId,
    keys: Box<[Arc<[u8]>]>,
}

#[derive(Debug, Clone)]
struct Version {
    txn: TxnId,
    value: TierValue,
}

impl WriteTier {
    /// Adds the versions of one transaction. `txn` is later than all that were installed before.
    pub(crate) fn install(&self, txn: TxnId, mutations: impl IntoIterator<Item = (Arc<[u8]>, TierValue)>) {
        let mut bytes = 0;
        let mutations = mutations.into_iter().inspect(|(key, value)| {
            bytes += VERSION_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
        });
        let mut contents = self.contents.write();
        let keys = contents.add(txn, mutations);
        contents.by_txn.push_back(Written { txn, keys });
        // Relaxed: the sum only decides when to run a checkpoint.
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Installs what a log record holds.
    pub(crate) fn replay(&self, txn: TxnId, mutations: Mutations<'_>) {
        let owned = mutations.map(|mutation| {
            let (key, value) = mutation.expect("the record was checked when it was parsed");
            (key.into(), value.map(Into::into))
        });
        self.install(txn, owned);
    }

    /// The version of `key` that `snapshot` sees, if the tier has one.
    pub(crate) fn get(&self, key: &[u8], snapshot: TxnId) -> Option<TierValue> {
        if !self.has_versions() {
            return None;
        }
        visible(self.contents.read().by_key.get(key)?, snapshot)
    }

    /// The last transaction that wrote `key`, if any in this tier did.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<TxnId> {
        Some(self.contents.read().by_key.get(key)?.last()?.txn)
    }

    /// What `txn` wrote, by key; none if it isn't of this tier.
    pub(crate) fn transaction(&self, txn: TxnId) -> Option<Vec<TierEntry>> {
        let contents = self.contents.read();
        let first = contents.by_txn.front()?.txn;
        let index = usize::try_from(txn.0.checked_sub(first.0)?).ok()?;
        let keys = &contents.by_txn.get(index)?.keys;
        let entry = |key: &Arc<[u8]>| {
            let value = visible(&contents.by_key[key], txn).expect("the transaction wrote this key");
            (Arc::clone(key), value)
        };
        Some(keys.iter().map(entry).collect())
    }

    /// The first key within the bounds of which `snapshot` sees a version.
    pub(crate) fn first(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), snapshot: TxnId) -> Option<TierEntry> {
        let contents = self.contents.read();
        contents.by_key.range::<[u8], _>(bounds).find_map(|entry| visible_entry(entry, snapshot))
    }

    /// The last key within the bounds of which `snapshot` sees a version.
    pub(crate) fn last(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), snapshot: TxnId) -> Option<TierEntry> {
        let contents = self.contents.read();
        contents.by_key.range::<[u8], _>(bounds).rev().find_map(|entry| visible_entry(entry, snapshot))
    }

    /// Every version, by key and then from the newest to the oldest: the order of the base tree.
    pub(crate) fn versions(&self) -> Vec<(Arc<[u8]>, TxnId, TierValue)> {
        let contents = self.contents.read();
        let flatten = |(key, versions): (&Arc<[u8]>, &Vec<Version>)| {
            let key = Arc::clone(key);
            let versions = versions.iter().rev().cloned().collect::<Vec<_>>();
            versions.into_iter().map(move |version| (Arc::clone(&key), version.txn, version.value))
        };
        contents.by_key.iter().flat_map(flatten).collect()
    }

    /// Whether anything was installed that a snapshot which was published by now can see. Takes no lock: what is
    /// installed is counted before it is published.
    pub(crate) fn has_versions(&self) -> bool {
        self.bytes() > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.contents.read().by_key.is_empty()
    }

    /// Bytes of everything that was installed, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn visible(versions: &[Version], snapshot: TxnId) -> Option<TierValue> {
    let count = versions.partition_point(|version| version.txn <= snapshot);
    Some(versions[..count].last()?.value.clone())
}

fn visible_entry((key, versions): (&Arc<[u8]>, &Vec<Version>), snapshot: TxnId) -> Option<TierEntry> {
    Some((Arc::clone(key), visible(versions, snapshot)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> (Arc<[u8]>, TierValue) {
        (key.as_bytes().into(), Some(value.as_bytes().into()))
    }

    fn sample() -> WriteTier {
        let tier = WriteTier::default();
        tier.install(TxnId(3), [put("a", "a3"), put("c", "c3")]);
        tier.install(TxnId(5), [put("b", "b5"), ("c".as_bytes().into(), None)]);
        tier
    }

    #[test]
    fn a_snapshot_sees_the_newest_version_up_to_it() {
        let tier = sample();
        let get = |key: &str, txn| tier.get(key.as_bytes(), TxnId(txn));
        assert_eq!(get("c", 2), None);
        assert_eq!(get("c", 4), Some(Some(b"c3".as_slice().into())));
        assert_eq!(get("c", 5), Some(None), "deleted is not the same as never written");
        assert_eq!(get("x", 5), None);
    }

    #[test]
    fn steps_skip_what_the_snapshot_does_not_see() {
        let tier = sample();
        let after_a = (Bound::Excluded(b"a".as_slice()), Bound::Unbounded);
        assert_eq!(tier.first(after_a, TxnId(4)).expect("c is visible").0[..], *b"c");
        assert_eq!(tier.first(after_a, TxnId(5)).expect("b is visible").0[..], *b"b");
        let before_c = (Bound::Unbounded, Bound::Excluded(b"c".as_slice()));
        assert_eq!(tier.last(before_c, TxnId(4)).expect("a is visible").0[..], *b"a");
    }

    #[test]
    fn versions_come_in_the_order_of_the_base_tree() {
        let order: Vec<_> = sample().versions().into_iter().map(|(key, txn, _)| (key[0], txn.0)).collect();
        assert_eq!(order, [(b'a', 3), (b'b', 5), (b'c', 5), (b'c', 3)]);
    }
}
