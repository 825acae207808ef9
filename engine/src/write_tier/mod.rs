//! The write tier: what was committed since the last checkpoint, in memory.
//!
//! An ordered map of versions, in the order of the base tree: by key, and of one key the newest first. The map is a
//! [`BwTree`], so that nobody who reads waits for a commit, nor a commit for a reader. Versions are installed in the order of
//! their TxnIds, before that TxnId is published as the latest snapshot, so that a reader never sees half a transaction. What
//! a snapshot sees of a key is the first version at or after the place of (key, snapshot): one way down the tree.
//!
//! A tier is *active* while commits go into it, then *frozen* while a checkpoint merges it into the base tree, and dropped
//! when its last reader is gone. The tiers of one database share their epochs, so that what one of them leaves behind is
//! freed by the commits into those that follow.
//!
//! Versions that nobody can read any more may be removed from the active tier (see [`prune`]). Whoever reads at a snapshot
//! sees nothing of it: the version that a snapshot sees is never removed while somebody has that snapshot.
//!
//! The interface is narrow on purpose: install, look up, scan, iterate. Nothing else of the engine knows how the map
//! is made.

mod key;
pub(crate) mod prune;
#[cfg(test)]
mod reference;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Bound;

use self::key::{At, TierKey};
use self::prune::Superseded;
use crate::bwtree::BwTree;
use crate::format::Mutations;
use crate::ids::TxnId;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

pub(crate) use self::scan::TierScan;

/// What a version costs beyond its key and its value, in memory and in the log, roughly.
const VERSION_BYTES: usize = 152;

/// A value, or none where the key was deleted.
pub(crate) type TierValue = Option<Arc<[u8]>>;

/// One version of a key.
pub(crate) type TierVersion = (Arc<[u8]>, TxnId, TierValue);

/// A key, and its version that a snapshot sees.
pub(crate) type TierEntry = (Arc<[u8]>, TierValue);

#[derive(Debug, Default)]
pub(crate) struct WriteTier {
    versions: BwTree<TierKey, TierValue>,
    /// The keys that each transaction wrote, in the order of the transactions, which has no gaps. For the commit stream
    /// only: nobody who reads a snapshot takes this lock.
    written: Mutex<VecDeque<Written>>,
    bytes: AtomicU64,
}

/// The keys that one transaction wrote.
#[derive(Debug)]
struct Written {
    txn: TxnId,
    keys: Arc<[Arc<[u8]>]>,
}

impl WriteTier {
    /// An empty tier, for the commits that this one doesn't take any more.
    pub(crate) fn successor(&self) -> WriteTier {
        WriteTier {
            versions: self.versions.successor(),
            written: Mutex::default(),
            bytes: AtomicU64::default(),
        }
    }

    /// Adds the versions of one transaction. `txn` is later than all that were installed before.
    pub(crate) fn install(&self, txn: TxnId, mutations: impl IntoIterator<Item = (Arc<[u8]>, TierValue)>) {
        self.install_each(txn, mutations, |_| {});
    }

    /// Adds the versions of one transaction, and notes which versions they supersede.
    pub(crate) fn install_noting(
        &self,
        txn: TxnId,
        mutations: impl IntoIterator<Item = (Arc<[u8]>, TierValue)>,
        mut note: impl FnMut(Superseded),
    ) {
        self.install_each(txn, mutations, |key| {
            if let Some(before) = self.newest(key) {
                note(Superseded { key: Arc::clone(key), txn: before, by: txn });
            }
        });
    }

    fn install_each(
        &self,
        txn: TxnId,
        mutations: impl IntoIterator<Item = (Arc<[u8]>, TierValue)>,
        mut look: impl FnMut(&Arc<[u8]>),
    ) {
        let mut bytes = 0;
        let mut versions = Vec::new();
        for (key, value) in mutations {
            bytes += VERSION_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
            look(&key);
            versions.push((TierKey { key, txn }, value));
        }
        // A key that comes twice has the value that comes last.
        let mut keys: Vec<Arc<[u8]>> =
            versions.iter().map(|(TierKey { key, .. }, _)| Arc::clone(key)).collect();
        if !keys.is_sorted_by(|one, other| one < other) {
            keys.sort();
            keys.dedup();
        }
        self.versions.upsert_all(versions);
        let mut written = self.written.lock();
        let is_next = written.back().is_none_or(|last| last.txn < txn);
        assert!(is_next, "transactions are installed in their order");
        written.push_back(Written { txn, keys: keys.into() });
        // Relaxed: the sum decides when to run a checkpoint. That it is above zero is seen by whoever sees a snapshot that
        // was published after this.
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
        let of_key = |found: &TierKey, value: &TierValue| (*found.key == *key).then(|| value.clone());
        self.versions.first_from_with(&At { key, txn: snapshot }, of_key).flatten()
    }

    /// The last transaction that wrote `key`, if any in this tier did.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<TxnId> {
        let of_key = |found: &TierKey, _: &TierValue| (*found.key == *key).then_some(found.txn);
        self.versions.first_from_with(&At::newest(key), of_key).flatten()
    }

    /// What `txn` wrote, by key; none if it isn't of this tier.
    pub(crate) fn transaction(&self, txn: TxnId) -> Option<Vec<TierEntry>> {
        let keys = {
            let written = self.written.lock();
            let first = written.front()?.txn;
            let index = usize::try_from(txn.0.checked_sub(first.0)?).ok()?;
            Arc::clone(&written.get(index)?.keys)
        };
        let entry = |key: &Arc<[u8]>| {
            let value = self.versions.get(&At { key, txn }).expect("the transaction wrote this key");
            (Arc::clone(key), value)
        };
        Some(keys.iter().map(entry).collect())
    }

    /// Every version, by key and then from the newest to the oldest: the order of the base tree.
    pub(crate) fn versions(&self) -> Vec<TierVersion> {
        let mut all = Vec::with_capacity(self.versions.len());
        let mut range = self.versions.range_from::<TierKey>(Bound::Unbounded);
        while let Some(version) =
            range.next_with(|TierKey { key, txn }, value| (Arc::clone(key), *txn, value.clone()))
        {
            all.push(version);
        }
        all
    }

    /// Removes a version that was superseded and that nobody can read any more.
    pub(crate) fn remove(&self, superseded: &Superseded) {
        let removed = self.versions.delete(&At { key: &superseded.key, txn: superseded.txn });
        assert!(removed.is_some(), "a version is removed once");
    }

    /// Forgets what transactions up to this one wrote: no stream goes back to them.
    pub(crate) fn forget_transactions(&self, through: TxnId) {
        let mut written = self.written.lock();
        while written.front().is_some_and(|first| first.txn <= through) {
            written.pop_front();
        }
    }

    /// Whether anything was installed that a snapshot which was published by now can see: what is installed is counted
    /// before it is published.
    pub(crate) fn has_versions(&self) -> bool {
        self.bytes() > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_versions()
    }

    /// Bytes of everything that was installed, roughly, whether it is still there or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many versions there are.
    #[cfg(test)]
    pub(crate) fn version_count(&self) -> usize {
        self.versions.len()
    }
}

impl Drop for WriteTier {
    /// Frees what the tier replaced in its time, together with what it still holds: the last commits into it may have left
    /// that to operations that never come.
    fn drop(&mut self) {
        if self.has_versions() {
            self.versions.collect();
        }
    }
}
