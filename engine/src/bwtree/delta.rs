//! Deltas: changes of a page that are not in the page itself yet.

/// A change of a page.
///
/// The paper's split delta is missing: a page is split when it is consolidated, because that is when it is known to be
/// too large, so that one compare-and-swap installs the left half as the new page. So is the delta of a merge on the
/// page that takes the other in: that page is consolidated with it. Removing a page is a bit of its [`Word`].
#[derive(Debug)]
pub(super) enum Delta<K, T> {
    /// In leaves: the key has this value now.
    Put { key: K, value: T },
    /// In leaves: the key is gone. In inner pages: the separator is gone, and so is the child that began there.
    Delete { key: K },
    /// In inner pages: the child begins at the separator.
    Separator { at: K, child: T },
    /// In inner pages: the child that begins here goes into its left sibling; the only child into the page itself, if
    /// there is no separator. Done when there is a newer [`Delta::Delete`] of that separator.
    Merge { at: Option<K> },
}

impl<K, T> Delta<K, T> {
    /// The key that this is about.
    #[inline]
    pub(super) fn key(&self) -> Option<&K> {
        match self {
            Delta::Put { key, .. } | Delta::Delete { key } | Delta::Separator { at: key, .. } => Some(key),
            Delta::Merge { .. } => None,
        }
    }

    /// The entry that this adds or overwrites.
    #[inline]
    pub(super) fn entry(&self) -> Option<(&K, &T)> {
        match self {
            Delta::Put { key, value } | Delta::Separator { at: key, child: value } => Some((key, value)),
            Delta::Delete { .. } | Delta::Merge { .. } => None,
        }
    }
}

/// Where a key lies among the entries of a page itself, and which delta it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// How many keys are below it.
    pub(super) index: u32,
    /// Whether the next key is this one.
    pub(super) is_exact: bool,
    /// The slot of the newest delta of the same key so far; 0 if there is none.
    pub(super) replaces: u8,
}

impl Position {
    /// For deltas that are about no key.
    pub(super) const NONE: Position = Position { index: 0, is_exact: false, replaces: 0 };
}
