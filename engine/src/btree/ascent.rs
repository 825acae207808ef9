//! Walks that only ever go up.
//!
//! Each page is checked in itself, and so is the level of a child. That doesn't keep two pointers from leading to one page:
//! a forged tree of a dozen pages can be gone through for ever, and each time it is larger than any memory. In a sound tree
//! every step from left to right is a step up, so whoever walks over many pages makes sure of that.

use super::{child, load};
use crate::error::{Error, Result};
use crate::format::{Damage, Page, Separator, Subtree};
use crate::pager::Pager;

/// How far a walk from left to right has come: the bound or the entry that it met last.
#[derive(Debug)]
pub(super) struct Ascent {
    position: Separator,
}

impl Ascent {
    pub(super) fn new() -> Ascent {
        Ascent { position: Separator::lowest() }
    }

    /// Goes from a branch into its child at `index`.
    pub(super) fn descend(&mut self, pager: &Pager, branch: &Page, index: usize) -> Result<()> {
        if index == 0 {
            // The bound of the first child is the branch's own.
            return Ok(());
        }
        let (bound, _) = branch.branch(index);
        if bound.as_key() <= self.position.as_key() {
            let damage = Damage("a separator lies outside the bounds of its branch");
            return Err(pager.corruption(branch.reference().page, damage));
        }
        self.position = bound;
        Ok(())
    }

    /// Goes over all entries of a leaf.
    pub(super) fn pass(&mut self, pager: &Pager, leaf: &Page) -> Result<()> {
        if leaf.version(0) < self.position.as_key() {
            return Err(overlap(pager, leaf));
        }
        let last = leaf.version(leaf.count() - 1);
        self.position = Separator { key: last.key.to_vec(), txn: last.txn };
        Ok(())
    }
}

/// Checks that two leaves that follow each other are in order.
pub(super) fn check_neighbours(pager: &Pager, left: &Page, right: &Page) -> Result<()> {
    if left.version(left.count() - 1) < right.version(0) { Ok(()) } else { Err(overlap(pager, right)) }
}

fn overlap(pager: &Pager, leaf: &Page) -> Error {
    pager.corruption(leaf.reference().page, Damage("a leaf's entries overlap its neighbour's"))
}

/// Calls `each` for every page of the tree at `root`, a branch before its children, with its depth below the root.
pub(crate) fn for_each_page(
    pager: &Pager,
    root: Option<Subtree>,
    each: &mut dyn FnMut(&Page, usize) -> Result<()>,
) -> Result<()> {
    let Some(root) = root else { return Ok(()) };
    let page = load(pager, root.page, None)?;
    Walk { pager, ascent: Ascent::new(), each }.page(&page, 0)
}

struct Walk<'a> {
    pager: &'a Pager,
    ascent: Ascent,
    each: &'a mut dyn FnMut(&Page, usize) -> Result<()>,
}

impl Walk<'_> {
    fn page(&mut self, page: &Page, depth: usize) -> Result<()> {
        if page.level() == 0 {
            self.ascent.pass(self.pager, page)?;
            return (self.each)(page, depth);
        }
        (self.each)(page, depth)?;
        for index in 0..page.count() {
            self.ascent.descend(self.pager, page, index)?;
            self.page(&*child(self.pager, page, index)?, depth + 1)?;
        }
        Ok(())
    }
}
