//! A position in the tree: the gap between two entries.

use super::ascent::check_neighbours;
use super::{child, load};
use crate::error::Result;
use crate::format::{Page, Subtree, VersionKey};
use crate::pager::Pager;
use crate::sync::Arc;

/// The path from the root to a gap between two entries. It holds its pages, and stays valid as long as the base version
/// it was opened on is held. From leaf to leaf it makes sure that it goes the right way. After an error it has no path any
/// more, and finds no entries.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// For branches the child that was taken; for the leaf, last, the index of the entry after the gap.
    path: Vec<(Arc<Page>, usize)>,
}

impl Cursor {
    /// The gap before the first entry that is at or after `target`.
    pub(crate) fn seek(pager: &Pager, root: Option<Subtree>, target: VersionKey<'_>) -> Result<Cursor> {
        Cursor::descend(pager, root, |branch| branch.child_for(target), |leaf| leaf.lower_bound(target))
    }

    /// The gap after the last entry.
    pub(crate) fn last(pager: &Pager, root: Option<Subtree>) -> Result<Cursor> {
        Cursor::descend(pager, root, |branch| branch.count() - 1, Page::count)
    }

    /// Steps over the entry after the gap and returns it.
    pub(crate) fn forward(&mut self, pager: &Pager) -> Result<Option<(Arc<Page>, usize)>> {
        let entry = self.ahead(pager)?.map(|(leaf, index)| (Arc::clone(leaf), index));
        if entry.is_some() {
            self.step();
        }
        Ok(entry)
    }

    /// The entry after the gap.
    pub(crate) fn ahead(&mut self, pager: &Pager) -> Result<Option<(&Arc<Page>, usize)>> {
        if self.path.last().is_some_and(|(leaf, index)| *index == leaf.count()) {
            // The gap lies at the end of a leaf, so that the turn is in a branch.
            let Some(turn) = self.path.iter().rposition(|(page, index)| index + 1 < page.count()) else {
                return Ok(None);
            };
            let left = self.leave_for(turn);
            self.path[turn].1 += 1;
            self.complete(pager, |_| 0, |_| 0)?;
            self.check(|right| check_neighbours(pager, &left, right))?;
        }
        Ok(self.path.last().map(|(leaf, index)| (leaf, *index)))
    }

    /// Steps over the entry that was seen ahead.
    pub(crate) fn step(&mut self) {
        let (leaf, index) = self.path.last_mut().expect("there is an entry ahead");
        assert!(*index < leaf.count(), "there is an entry ahead");
        *index += 1;
    }

    /// Steps back over the entry before the gap and returns it.
    pub(crate) fn backward(&mut self, pager: &Pager) -> Result<Option<(Arc<Page>, usize)>> {
        loop {
            let Some((leaf, index)) = self.path.last_mut() else { return Ok(None) };
            if *index > 0 {
                *index -= 1;
                return Ok(Some((Arc::clone(leaf), *index)));
            }
            let Some(turn) = self.path.iter().rposition(|(_, index)| *index > 0) else { return Ok(None) };
            let right = self.leave_for(turn);
            self.path[turn].1 -= 1;
            self.complete(pager, |branch| branch.count() - 1, Page::count)?;
            self.check(|left| check_neighbours(pager, left, &right))?;
        }
    }

    /// Cuts the path off after the branch at `turn`, and returns the leaf that it led to.
    fn leave_for(&mut self, turn: usize) -> Arc<Page> {
        let (leaf, _) = self.path.pop().expect("the path leads to a leaf");
        self.path.truncate(turn + 1);
        leaf
    }

    fn check(&mut self, check: impl FnOnce(&Page) -> Result<()>) -> Result<()> {
        let (leaf, _) = self.path.last().expect("the path leads to a leaf");
        check(leaf).inspect_err(|_| self.path.clear())
    }

    fn descend(
        pager: &Pager,
        root: Option<Subtree>,
        in_branch: impl Fn(&Page) -> usize,
        in_leaf: impl Fn(&Page) -> usize,
    ) -> Result<Cursor> {
        let mut cursor = Cursor { path: Vec::new() };
        let Some(root) = root else { return Ok(cursor) };
        let page = load(pager, root.page, None)?;
        let index = if page.level() > 0 { in_branch(&page) } else { in_leaf(&page) };
        cursor.path.push((page, index));
        cursor.complete(pager, in_branch, in_leaf)?;
        Ok(cursor)
    }

    /// Follows the last step of the path down to a leaf.
    fn complete(
        &mut self,
        pager: &Pager,
        in_branch: impl Fn(&Page) -> usize,
        in_leaf: impl Fn(&Page) -> usize,
    ) -> Result<()> {
        loop {
            let (parent, index) = self.path.last().expect("the path has a root");
            if parent.level() == 0 {
                return Ok(());
            }
            let page = match child(pager, parent, *index) {
                Ok(page) => page,
                Err(error) => {
                    // Nobody may take the branch that is last for a leaf.
                    self.path.clear();
                    return Err(error);
                }
            };
            let index = if page.level() > 0 { in_branch(&page) } else { in_leaf(&page) };
            self.path.push((page, index));
        }
    }
}
