//! The order of the base tree: by key, and within a key from the newest version to the oldest.
//!
//! With that order the version that a snapshot sees is the first one at or after `(key, snapshot)`.

use std::cmp::Ordering;

use super::Key;
use crate::ids::TxnId;

/// One version of one key, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionKey<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) txn: TxnId,
}

impl<'a> VersionKey<'a> {
    pub(crate) fn new(key: &'a [u8], txn: TxnId) -> VersionKey<'a> {
        VersionKey { key: key.into(), txn }
    }
}

impl Ord for VersionKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(other.txn.cmp(&self.txn))
    }
}

impl PartialOrd for VersionKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The lower bound of a subtree: every entry in it is at or after the separator, every entry to its left before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Separator {
    pub(crate) key: Vec<u8>,
    pub(crate) txn: TxnId,
}

impl Separator {
    /// Before every entry.
    pub(crate) fn lowest() -> Separator {
        Separator { key: Vec::new(), txn: TxnId(u64::MAX) }
    }

    /// The separator between two neighbours. Between different keys it is the shortest prefix of the right one that will
    /// do, before all its versions; between two versions of one key it comes right after the left one.
    pub(crate) fn between(left: VersionKey<'_>, right: VersionKey<'_>) -> Separator {
        assert!(left < right, "neighbours are in order");
        if left.key == right.key {
            return Separator { key: left.key.to_vec(), txn: TxnId(left.txn.0 - 1) };
        }
        let mut key = right.key.to_vec();
        key.truncate(left.key.common(right.key) + 1);
        Separator { key, txn: TxnId(u64::MAX) }
    }

    pub(crate) fn as_key(&self) -> VersionKey<'_> {
        VersionKey::new(&self.key, self.txn)
    }

    /// If this separates versions of one key, the last one to its left, which supersedes all to its right.
    pub(crate) fn superseding(&self) -> Option<TxnId> {
        (self.txn != TxnId(u64::MAX)).then(|| self.txn.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, txn: u64) -> VersionKey<'_> {
        VersionKey::new(key.as_bytes(), TxnId(txn))
    }

    #[test]
    fn newer_versions_come_first() {
        assert!(version("a", 7) < version("a", 3));
        assert!(version("a", 1) < version("aa", 9));
    }

    #[test]
    fn separators_are_short_and_separate() {
        for (left, right, expected) in [
            (version("apple", 4), version("banana", 2), "b"),
            (version("ab", 4), version("abc", 2), "abc"),
            (version("", 4), version("a", 2), "a"),
            (version("abcd", 1), version("abx", 9), "abx"),
        ] {
            let separator = Separator::between(left, right);
            assert_eq!(separator.key, expected.as_bytes());
            assert!(left < separator.as_key() && separator.as_key() <= right);
            assert_eq!(separator.superseding(), None);
        }
        let inside = Separator::between(version("k", 9), version("k", 5));
        assert_eq!((inside.as_key(), inside.superseding()), (version("k", 8), Some(TxnId(9))));
    }
}
