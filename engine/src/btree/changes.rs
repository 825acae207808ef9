//! All versions of the tree that are later than a transaction.

use super::ascent::Ascent;
use super::{load, read_key};
use crate::bytes::Bytes;
use crate::error::Result;
use crate::format::{Extent, LeafValue, Page, Subtree};
use crate::ids::TxnId;
use crate::pager::Pager;
use crate::sync::Arc;

/// A version as the tree stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredVersion {
    pub(crate) key: Bytes,
    pub(crate) txn: TxnId,
    pub(crate) value: StoredValue,
}

/// A value as the tree stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredValue {
    Inline(Bytes),
    /// Where it lies: whoever wants its bytes reads them.
    Extent(Extent),
    Deletion,
}

/// A lazy walk over the later versions, in the order of the tree, which passes over subtrees that hold none.
#[derive(Debug)]
pub(crate) struct ChangedSince {
    after: TxnId,
    /// What was not gone into yet; only at the start.
    root: Option<Subtree>,
    /// The pages from the root down, each with the index at which to go on.
    path: Vec<(Arc<Page>, usize)>,
    ascent: Ascent,
}

/// The versions in the tree at `root` that are later than `after`.
pub(crate) fn changed_since(root: Option<Subtree>, after: TxnId) -> ChangedSince {
    ChangedSince { after, root, path: Vec::new(), ascent: Ascent::new() }
}

impl ChangedSince {
    /// The next version. After an error the walk is at its end.
    pub(crate) fn next(&mut self, pager: &Pager) -> Result<Option<StoredVersion>> {
        self.step(pager).inspect_err(|_| self.path.clear())
    }

    fn step(&mut self, pager: &Pager) -> Result<Option<StoredVersion>> {
        if let Some(root) = self.root.take() {
            self.enter(pager, root, None)?;
        }
        while let Some((page, index)) = self.path.last_mut() {
            if *index == page.count() {
                self.path.pop();
                continue;
            }
            let here = *index;
            *index += 1;
            if page.level() > 0 {
                let (tree, level) = (page.child(here), page.level());
                if tree.newest > self.after {
                    self.ascent.descend(pager, page, here)?;
                }
                self.enter(pager, tree, Some(level))?;
            } else if page.version(here).txn > self.after {
                return Ok(Some(stored_version(page, here)));
            }
        }
        Ok(None)
    }

    fn enter(&mut self, pager: &Pager, tree: Subtree, parent_level: Option<u8>) -> Result<()> {
        if tree.newest > self.after {
            let page = load(pager, tree.page, parent_level)?;
            if page.level() == 0 {
                self.ascent.pass(pager, &page)?;
            }
            self.path.push((page, 0));
        }
        Ok(())
    }
}

fn stored_version(page: &Arc<Page>, index: usize) -> StoredVersion {
    let cell = page.leaf(index);
    let value = match cell.value {
        LeafValue::Inline(_) => {
            StoredValue::Inline(Bytes::in_page(Arc::clone(page), page.inline_range(index)))
        }
        LeafValue::Tombstone => StoredValue::Deletion,
        LeafValue::Extent(extent) => StoredValue::Extent(extent),
    };
    StoredVersion { key: read_key(page, index, cell.version.key), txn: cell.version.txn, value }
}
