//! The order of the write tier, which is that of the base tree: by key, and within a key from the newest version to the
//! oldest.

use std::cmp::Ordering;

use crate::bwtree::{Frozen, Key, Probe};
use crate::ids::TxnId;
use crate::sync::Arc;

/// One version of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TierKey {
    pub(super) key: Arc<[u8]>,
    pub(super) txn: TxnId,
}

/// The place of a version, whether there is one or not. Looking one up allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'k> {
    pub(super) key: &'k [u8],
    pub(super) txn: TxnId,
}

impl<'k> At<'k> {
    /// Where the newest version of a key would be, before all others.
    pub(super) fn newest(key: &'k [u8]) -> At<'k> {
        At { key, txn: TxnId(u64::MAX) }
    }

    /// Where the oldest version of a key would be, after all others.
    pub(super) fn oldest(key: &'k [u8]) -> At<'k> {
        At { key, txn: TxnId(0) }
    }
}

impl Ord for TierKey {
    fn cmp(&self, other: &Self) -> Ordering {
        Probe::compare(&At { key: &self.key, txn: self.txn }, other)
    }
}

impl PartialOrd for TierKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// SAFETY: a pointer and a number, without cells.
unsafe impl Frozen for TierKey {}

// SAFETY: the order is that of byte strings and then that of numbers. Pages search the heads of keys, which order like the
// keys do; which version it is matters only between versions of one key.
unsafe impl Key for TierKey {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        Key::head(&self.key, skip)
    }

    fn shared(&self, other: &Self) -> usize {
        self.key.shared(&other.key)
    }
}

impl Probe<TierKey> for At<'_> {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        Probe::<Arc<[u8]>>::head(self.key, skip)
    }

    #[inline]
    fn compare(&self, key: &TierKey) -> Ordering {
        self.key.cmp(&key.key).then_with(|| key.txn.cmp(&self.txn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_the_base_tree() {
        let key = |key: &str, txn| TierKey { key: key.as_bytes().into(), txn: TxnId(txn) };
        let keys = [key("", 3), key("a", 9), key("a", 2), key("a\0", 5), key("ab", 7), key("b", 1)];
        assert!(keys.is_sorted_by(|one, other| one < other));
        for one in &keys {
            for other in &keys {
                let at = At { key: &one.key, txn: one.txn };
                assert_eq!(at.compare(other), one.cmp(other));
                for skip in 0..=one.shared(other) {
                    assert_eq!(Key::head(one, skip), Probe::<TierKey>::head(&at, skip));
                    assert!(one > other || Key::head(one, skip) <= Key::head(other, skip));
                }
            }
            assert_ne!(At::newest(&one.key).compare(one), Ordering::Greater);
            assert_ne!(At::oldest(&one.key).compare(one), Ordering::Less);
        }
    }
}
