//! What history costs: which versions have to be kept, and when the next of them can go.
//!
//! A snapshot at the horizon or later needs of each key every version after the horizon, and the newest one up to it,
//! unless that is a deletion: then there is nothing to see, and everything older goes with it.
//!
//! Both questions are answered leaf by leaf. A leaf whose first key began in the leaf before learns from its lower bound
//! which version was the last one there: it supersedes the first one here. So whatever a horizon makes droppable, the
//! [`Summary`] of its leaf has named that horizon before, and what a [`Sieve`] has let through names only later ones.
//! Otherwise history would leak, or every checkpoint would rewrite the same leaves for ever. And since one merge goes
//! through all leaves that name its horizon, a deletion never goes without the older versions that it hides.

use crate::format::{Key, LeafCell, LeafValue, NO_GARBAGE, PageReference, Separator, Subtree, VersionKey};
use crate::ids::TxnId;

/// Takes versions in the order of the tree, and tells which are needed.
#[derive(Debug)]
pub(super) struct Sieve {
    horizon: TxnId,
    /// The key of the version before.
    key: Vec<u8>,
    /// Whether the horizon sees a version of `key` that went by.
    is_covered: bool,
}

impl Sieve {
    /// A sieve for what follows after the lower bound of a leaf.
    pub(super) fn new(horizon: TxnId, lower: &Separator) -> Sieve {
        let is_covered = lower.superseding().is_some_and(|superseding| superseding <= horizon);
        Sieve { horizon, key: lower.key.clone(), is_covered }
    }

    /// Whether a snapshot at the horizon or later needs the version.
    pub(super) fn keeps(&mut self, version: VersionKey<'_>, is_deletion: bool) -> bool {
        if version.key != self.key[..] {
            self.key.clear();
            for part in version.key.parts() {
                self.key.extend_from_slice(part);
            }
            self.is_covered = false;
        }
        if version.txn > self.horizon {
            return true;
        }
        let is_visible = !std::mem::replace(&mut self.is_covered, true);
        is_visible && !is_deletion
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

    /// The summary of a leaf with this lower bound. A version can be dropped once the one that supersedes it is as old as
    /// the horizon; a deletion once it is so old itself.
    pub(super) fn of_cells<'a>(cells: impl Iterator<Item = LeafCell<'a>>, lower: &'a Separator) -> Summary {
        let mut summing = Summing::new(lower);
        cells.for_each(|cell| summing.take(cell));
        summing.summary
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

/// The summary of the cells of a leaf so far.
#[derive(Debug)]
pub(super) struct Summing<'a> {
    pub(super) summary: Summary,
    /// Of the cell before.
    key: Key<'a>,
    /// The version that supersedes the next one, if that is of the same key.
    superseding: Option<TxnId>,
}

impl<'a> Summing<'a> {
    /// The summary of no cell of a leaf with this lower bound.
    pub(super) fn new(lower: &'a Separator) -> Summing<'a> {
        let summary = Summary::NOTHING;
        Summing { summary, key: lower.as_key().key, superseding: lower.superseding() }
    }

    pub(super) fn take(&mut self, LeafCell { version, value }: LeafCell<'a>) {
        if version.key != self.key {
            (self.key, self.superseding) = (version.key, None);
        }
        let summary = &mut self.summary;
        let deletion = (value == LeafValue::Tombstone).then_some(version.txn);
        for horizon in [self.superseding, deletion].into_iter().flatten() {
            summary.oldest_garbage = summary.oldest_garbage.min(horizon);
        }
        summary.newest = summary.newest.max(version.txn);
        self.superseding = Some(version.txn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cells<'a> = &'a [(&'a str, u64, Option<&'a str>)];

    fn cells<'a>(cells: Cells<'a>) -> impl Iterator<Item = LeafCell<'a>> {
        cells.iter().map(|(key, txn, value)| {
            let version = VersionKey::new(key.as_bytes(), TxnId(*txn));
            let value = value.map_or(LeafValue::Tombstone, |value| LeafValue::Inline(value.as_bytes()));
            LeafCell { version, value }
        })
    }

    fn retained<'a>(horizon: u64, lower: &Separator, all: Cells<'a>) -> Vec<(&'a str, u64)> {
        let mut sieve = Sieve::new(TxnId(horizon), lower);
        let mut keeps = |cell: LeafCell<'_>| sieve.keeps(cell.version, cell.value == LeafValue::Tombstone);
        let kept = all.iter().zip(cells(all)).filter(|(_, cell)| keeps(*cell));
        kept.map(|((key, txn, _), _)| (*key, *txn)).collect()
    }

    /// The bound of a leaf if the one before ends with this version.
    fn after(key: &str, txn: u64) -> Separator {
        Separator { key: key.as_bytes().to_vec(), txn: TxnId(txn - 1) }
    }

    #[test]
    fn keeps_what_the_horizon_and_later_snapshots_see() {
        let all: Cells<'_> =
            &[("a", 9, Some("x")), ("a", 5, Some("x")), ("a", 2, Some("x")), ("b", 1, Some("x"))];
        assert_eq!(retained(0, &Separator::lowest(), all), [("a", 9), ("a", 5), ("a", 2), ("b", 1)]);
        assert_eq!(retained(6, &Separator::lowest(), all), [("a", 9), ("a", 5), ("b", 1)]);
        assert_eq!(retained(9, &Separator::lowest(), all), [("a", 9), ("b", 1)]);
    }

    #[test]
    fn deletions_go_with_what_they_hide() {
        let all: Cells<'_> = &[("a", 4, None), ("a", 2, Some("x")), ("b", 5, None)];
        assert_eq!(retained(3, &Separator::lowest(), all), [("a", 4), ("a", 2), ("b", 5)]);
        assert_eq!(retained(4, &Separator::lowest(), all), [("b", 5)]);
        assert_eq!(retained(5, &Separator::lowest(), all), []);
    }

    #[test]
    fn a_bound_within_a_key_supersedes_what_follows() {
        let all: Cells<'_> = &[("a", 4, Some("x")), ("a", 2, Some("x")), ("b", 1, Some("x"))];
        assert_eq!(retained(6, &after("a", 7), all), [("a", 4), ("b", 1)]);
        assert_eq!(retained(7, &after("a", 7), all), [("b", 1)]);
        assert_eq!(retained(7, &after("Z", 7), all), [("a", 4), ("b", 1)]);
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
            for lower in [Separator::lowest(), after("a", 10), after("A", 10)] {
                let summary = Summary::of_cells(cells(all), &lower);
                assert_eq!(Some(summary.newest.0), all.iter().map(|(_, txn, _)| *txn).max());
                for horizon in 0..12 {
                    let kept = retained(horizon, &lower, all);
                    let is_named = summary.oldest_garbage <= TxnId(horizon);
                    assert_eq!(is_named, kept.len() < all.len(), "{all:?} at {horizon}");
                    let left: Vec<_> =
                        all.iter().filter(|(key, txn, _)| kept.contains(&(*key, *txn))).copied().collect();
                    let after = Summary::of_cells(cells(&left), &lower);
                    assert!(after.oldest_garbage > TxnId(horizon), "{all:?} at {horizon}");
                }
            }
        }
    }
}
