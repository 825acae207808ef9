//! What a client asks of a store: keys, values, ranges, and the operations on them.

use std::ops::Bound;

use crate::SavepointLabel;

/// A key: any bytes.
pub type Key = Vec<u8>;

/// A value: any bytes. Every value written in a run is unique, so that a read names the write it saw.
pub type Value = Vec<u8>;

/// A contiguous range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// Where the range starts.
    pub start: Bound<Key>,
    /// Where the range ends.
    pub end: Bound<Key>,
}

/// How much a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The commit, and every commit before it, survives any power loss after this.
    Sync,
    /// The commit is visible, and durable only once a later `Sync` commit or a checkpoint returned.
    Buffered,
}

/// How a transaction is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reads the latest committed state.
    Read,
    /// Reads the state as of a commit.
    ReadAt(crate::TxnId),
    /// Reads the latest committed state and may change it; excludes every other writer.
    Write,
    /// Reads the latest committed state and may change it, beside others that do the same: of two that change one key,
    /// the first to commit wins.
    Optimistic,
}

/// One operation of an open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reads one key.
    Get {
        /// The key.
        key: Key,
    },
    /// Reads the first `limit` pairs of a range, in key order, or in the reverse of it.
    Scan {
        /// The range.
        range: KeyRange,
        /// The most pairs to return.
        limit: usize,
        /// From the range's end backwards.
        reverse: bool,
    },
    /// Writes a value.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
    },
    /// Removes a key, present or not.
    Delete {
        /// The key.
        key: Key,
    },
    /// Removes every key of a range that the transaction sees there.
    DeleteRange {
        /// The range.
        range: KeyRange,
    },
    /// Remembers the transaction's writes so far.
    Savepoint {
        /// The name to come back to it by.
        savepoint: SavepointLabel,
    },
    /// Undoes every write since a savepoint, which stays; those after it are gone.
    Rollback {
        /// Which one.
        savepoint: SavepointLabel,
    },
}

/// One change of one key: `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The key.
    pub key: Key,
    /// Its new value, or none.
    pub value: Option<Value>,
}

impl Mode {
    /// Whether a transaction of this mode may change anything.
    pub fn writes(self) -> bool {
        matches!(self, Mode::Write | Mode::Optimistic)
    }
}

impl Operation {
    /// Whether only a transaction that may change something can do this.
    pub fn writes(&self) -> bool {
        !matches!(self, Operation::Get { .. } | Operation::Scan { .. })
    }
}

impl KeyRange {
    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return KeyRange { start: Bound::Included(prefix.to_vec()), end: Bound::Excluded(end) };
            }
        }
        KeyRange { start: Bound::Included(prefix.to_vec()), end: Bound::Unbounded }
    }

    /// The bounds, as the ordered maps of the standard library take them.
    pub fn as_slices(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(Vec::as_slice), self.end.as_ref().map(Vec::as_slice))
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Included(start) => key >= start.as_slice(),
            Bound::Excluded(start) => key > start.as_slice(),
            Bound::Unbounded => true,
        };
        let before_end = match &self.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        };
        after_start && before_end
    }

    /// Whether no key can lie in the range, by its bounds alone (`BTreeMap::range` panics on such bounds).
    pub fn is_inverted(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start), Bound::Excluded(end))
            | (Bound::Excluded(start), Bound::Included(end))
            | (Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_starts_with_it_and_nothing_else() {
        let keys: [&[u8]; 8] =
            [b"", b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"];
        for prefix in keys {
            for key in keys {
                let inside = KeyRange::prefix(prefix).contains(key);
                assert_eq!(inside, key.starts_with(prefix), "prefix {prefix:?}, key {key:?}");
            }
        }
    }

    #[test]
    fn inverted_ranges_are_those_that_ordered_maps_refuse_and_those_that_hold_nothing() {
        let bounds = |key: &str| [Bound::Included(key.into()), Bound::Excluded(key.into()), Bound::Unbounded];
        for (start, end) in [("a", "b"), ("b", "b"), ("c", "b")] {
            for start in bounds(start) {
                for end in bounds(end) {
                    let range = KeyRange { start: start.clone(), end };
                    let holds_some =
                        ["a", "aa", "b", "bb", "c", "d"].iter().any(|key| range.contains(key.as_bytes()));
                    assert_eq!(range.is_inverted(), !holds_some, "{range}");
                }
            }
        }
    }
}
