//! What history costs: which versions have to be kept, and when the next of them can go.
//!
//! A snapshot at the horizon or later needs of each key every version after the horizon, and the newest one up to it.
//! If that one is a deletion it is not needed either, unless older versions of the key lie in the next leaf, where they
//! would come to light again.
//!
//! Both questions are answered leaf by leaf: whatever a horizon makes droppable by [`Sieve`], [`Summary`] has named
//! that horizon before, and what a sieve has let through names only later ones. Otherwise history would leak, or every
//! checkpoint would rewrite the same leaves for ever.

use crate::format::{LeafCell, LeafValue, NO_GARBAGE, PageReference, Separator, Subtree, VersionKey};
use crate::ids::TxnId;

/// Takes versions in the order of the tree, and tells which are needed.
#[derive(Debug)]
pub(super) struct Sieve {
    horizon: TxnId,
    /// The key of the version before; none before the first.
    key: Option<Vec<u8>>,
    /// Whether the horizon sees a version of `key` that went by.
    is_covered: bool,
}

impl Sieve {
    pub(super) fn new(horizon: TxnId) -> Sieve {
        Sieve { horizon, key: None, is_covered: false }
    }

    /// Whether a snapshot at the horizon or later needs the version. `is_whole` says that all older versions of its key
    /// go through this sieve, too.
    pub(super) fn keeps(&mut self, version: VersionKey<'_>, is_deletion: bool, is_whole: bool) -> bool {
        if self.key.as_deref() != Some(version.key) {
            let key = self.key.get_or_insert_default();
            key.clear();
            key.extend_from_slice(version.key);
            self.is_covered = false;
        }
        if version.txn > self.horizon {
            return true;
        }
        let is_visible = !std::mem::replace(&mut self.is_covered, true);
        is_visible && !(is_deletion && is_whole)
    }
}

/// What a pointer says of the subtree below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    newest: TxnId,
    oldest_garbage: TxnId,
}

impl Summary {
    const NOTHING: Summary = Summary { newest: TxnId(0), oldest_garbage: NO_GARBAGE };

    /// The summary of a leaf. `upper` is the bound of its entries; none for the last leaf of the tree.
    ///
    /// A version can be dropped once the one that supersedes it is as old as the horizon, if that lies in the same
    /// leaf; a deletion once it is so old itself, if no older version of its key can lie in the next leaf.
    pub(super) fn of_cells<'a>(
        cells: impl Iterator<Item = LeafCell<'a>>,
        upper: Option<&Separator>,
    ) -> Summary {
        let mut summary = Summary::NOTHING;
        let mut previous: Option<VersionKey<'_>> = None;
        for LeafCell { version, value } in cells {
            summary.newest = summary.newest.max(version.txn);
            if let Some(superseding) = previous.filter(|previous| previous.key == version.key) {
                summary.oldest_garbage = summary.oldest_garbage.min(superseding.txn);
            }
            if value == LeafValue::Tombstone && is_whole(version.key, upper) {
                summary.oldest_garbage = summary.oldest_garbage.min(version.txn);
            }
            previous = Some(version);
        }
        summary
    }

    /// The summary of a branch.
    pub(super) fn of_children(children: impl Iterator<Item = Subtree>) -> Summary {
        children.fold(Summary::NOTHING, |summary, child| Summary {
            newest: summary.newest.max(child.newest),
            oldest_garbage: summary.oldest_garbage.min(child.oldest_garbage),
        })
    }

    pub(super) fn at(self, page: PageReference) -> Subtree {
        Subtree { page, newest: self.newest, oldest_garbage: self.oldest_garbage }
    }
}

/// Whether no version of `key` can lie beyond a leaf with this upper bound.
pub(super) fn is_whole(key: &[u8], upper: Option<&Separator>) -> bool {
    upper.is_none_or(|upper| !upper.splits(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cells<'a> = &'a [(&'a str, u64, Option<&'a str>)];

    fn cells<'a>(cells: Cells<'a>) -> impl Iterator<Item = LeafCell<'a>> {
        cells.iter().map(|(key, txn, value)| {
            let version = VersionKey { key: key.as_bytes(), txn: TxnId(*txn) };
            let value = value.map_or(LeafValue::Tombstone, |value| LeafValue::Inline(value.as_bytes()));
            LeafCell { version, value }
        })
    }

    fn retained<'a>(horizon: u64, upper: Option<&Separator>, all: Cells<'a>) -> Vec<(&'a str, u64)> {
        let mut sieve = Sieve::new(TxnId(horizon));
        let mut keeps = |cell: LeafCell<'_>| {
            let is_deletion = cell.value == LeafValue::Tombstone;
            sieve.keeps(cell.version, is_deletion, is_whole(cell.version.key, upper))
        };
        let kept = all.iter().zip(cells(all)).filter(|(_, cell)| keeps(*cell));
        kept.map(|((key, txn, _), _)| (*key, *txn)).collect()
    }

    fn splitting(key: &str) -> Separator {
        Separator { key: key.as_bytes().to_vec(), txn: TxnId(1) }
    }

    #[test]
    fn keeps_what_the_horizon_and_later_snapshots_see() {
        let all: Cells<'_> =
            &[("a", 9, Some("x")), ("a", 5, Some("x")), ("a", 2, Some("x")), ("b", 1, Some("x"))];
        assert_eq!(retained(0, None, all), [("a", 9), ("a", 5), ("a", 2), ("b", 1)]);
        assert_eq!(retained(6, None, all), [("a", 9), ("a", 5), ("b", 1)]);
        assert_eq!(retained(9, None, all), [("a", 9), ("b", 1)]);
    }

    #[test]
    fn deletions_go_when_nothing_is_left_to_hide() {
        let all: Cells<'_> = &[("a", 4, None), ("a", 2, Some("x")), ("b", 5, None)];
        assert_eq!(retained(3, None, all), [("a", 4), ("a", 2), ("b", 5)]);
        assert_eq!(retained(4, None, all), [("b", 5)]);
        assert_eq!(retained(5, None, all), []);
        let upper = splitting("b");
        assert_eq!(retained(5, Some(&upper), all), [("b", 5)], "the next leaf may hold an older b");
        let upper = splitting("bb");
        assert_eq!(retained(5, Some(&upper), all), [], "it may hold an older bb, but no b");
    }

    #[test]
    fn garbage_is_named_exactly_when_the_sieve_would_find_it() {
        let leaves: [Cells<'_>; 5] = [
            &[("a", 9, Some("x")), ("a", 5, Some("x")), ("a", 2, None), ("b", 1, Some("x"))],
            &[("a", 9, None), ("a", 5, Some("x")), ("b", 7, Some("x")), ("b", 3, Some("x"))],
            &[("a", 4, Some("x")), ("b", 6, None)],
            &[("a", 4, Some("x")), ("b", 6, Some("x"))],
            &[("b", 8, None), ("b", 6, None), ("b", 3, None)],
        ];
        for all in leaves {
            for upper in [None, Some(splitting("b")), Some(splitting("c"))] {
                let summary = Summary::of_cells(cells(all), upper.as_ref());
                assert_eq!(Some(summary.newest.0), all.iter().map(|(_, txn, _)| *txn).max());
                for horizon in 0..12 {
                    let kept = retained(horizon, upper.as_ref(), all);
                    let is_named = summary.oldest_garbage <= TxnId(horizon);
                    assert_eq!(is_named, kept.len() < all.len(), "{all:?} at {horizon}");
                    let left: Vec<_> =
                        all.iter().filter(|(key, txn, _)| kept.contains(&(*key, *txn))).copied().collect();
                    let after = Summary::of_cells(cells(&left), upper.as_ref());
                    assert!(after.oldest_garbage > TxnId(horizon), "{all:?} at {horizon}");
                }
            }
        }
    }
}
