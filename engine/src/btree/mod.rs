//! The base tree: a copy-on-write B+tree of every retained version of every key.
//!
//! Entries are ordered by key and, within a key, from the newest version to the oldest. Pages are immutable: a
//! [`merge`] writes new pages for what changed and for the path above it, and leaves the old tree as it was for those
//! who read it. There are no sibling pointers, which copy-on-write could not keep; a [`Cursor`] keeps its path instead.
//!
//! A child pointer carries the child's checksum, and a child must be exactly one level below its parent, so that no
//! damage on disk can send a reader in a circle. And a walk over many pages makes sure that it only goes one way.

mod ascent;
mod build;
mod changes;
mod cursor;
mod draft;
mod merge;
mod pack;
mod retain;
mod scan;
mod verify;

#[cfg(test)]
mod forged;
#[cfg(test)]
mod tests;

use crate::bytes::Bytes;
use crate::error::Result;
use crate::format::{
    Damage, EXTENT_BYTES, Key, LEAF_CELL_HEADER, LeafValue, PAGE_HEADER, Page, PageKind, PageReference,
    SLOT_BYTES, Subtree, VersionKey,
};
use crate::ids::TxnId;
use crate::pager::Pager;
use crate::sync::Arc;

pub(crate) use ascent::for_each_page;
pub(crate) use build::{Builder, for_each_version};
pub(crate) use changes::{StoredValue, StoredVersion, changed_since};
pub(crate) use cursor::Cursor;
pub(crate) use merge::{Change, Target, merge};
pub(crate) use scan::{BaseEntry, BaseScan, Values};
pub(crate) use verify::{TreeReport, verify, verify_earlier};

/// The most bytes of a page that slots and cells can take.
fn capacity(page_size: usize) -> usize {
    page_size - PAGE_HEADER
}

/// Whether a value lies in the leaf with its key, and not in pages of its own.
fn is_inline(page_size: usize, key_bytes: usize, value: &[u8]) -> bool {
    let cell = LEAF_CELL_HEADER + key_bytes + value.len() + SLOT_BYTES;
    cell <= capacity(page_size) / 4 || value.len() <= EXTENT_BYTES
}

/// The version of `key` that `snapshot` sees, if the tree has one. The inner `None` is a deletion.
pub(crate) fn get(
    pager: &Pager,
    root: Option<Subtree>,
    key: &[u8],
    snapshot: TxnId,
) -> Result<Option<Option<Bytes>>> {
    let Some(root) = root else { return Ok(None) };
    let target = VersionKey::new(key, snapshot);
    let page = leaf_for(pager, root, target)?;
    let index = page.lower_bound(target);
    if index == page.count() {
        // A key with many versions may go on in the next leaf.
        let mut cursor = Cursor::seek(pager, Some(root), target)?;
        return match cursor.forward(pager)? {
            Some((page, index)) if page.version(index).key == *key => {
                Ok(Some(value_at(pager, &page, index, Values::Read)?))
            }
            _ => Ok(None),
        };
    }
    if page.version(index).key == *key {
        Ok(Some(value_at(pager, &page, index, Values::Read)?))
    } else {
        Ok(None)
    }
}

/// The leaf that holds `target`, if any does. The branches above it are only passed.
fn leaf_for(pager: &Pager, root: Subtree, target: VersionKey<'_>) -> Result<Arc<Page>> {
    let mut page = pager.peek(root.page)?;
    check(pager, &page, None)?;
    while page.level() > 1 {
        let below = pager.peek(page.child(page.child_for(target)).page)?;
        check(pager, &below, Some(page.level()))?;
        page = below;
    }
    if page.level() == 0 { Ok(page.into_page()) } else { child(pager, &page, page.child_for(target)) }
}

/// The value of a leaf's cell; none if it is a deletion.
fn value_at(pager: &Pager, page: &Arc<Page>, index: usize, values: Values) -> Result<Option<Bytes>> {
    read_value(pager, page, index, page.leaf(index).value, values)
}

/// The same, of a cell that was looked at already.
fn read_value(
    pager: &Pager,
    page: &Arc<Page>,
    index: usize,
    value: LeafValue<'_>,
    values: Values,
) -> Result<Option<Bytes>> {
    match value {
        LeafValue::Inline(_) => Ok(Some(Bytes::in_page(Arc::clone(page), page.inline_range(index)))),
        LeafValue::Tombstone => Ok(None),
        LeafValue::Extent(_) if values == Values::LeaveLarge => Ok(Some(Bytes::shared(Arc::default()))),
        LeafValue::Extent(extent) => Ok(Some(Bytes::shared(pager.read_extent(extent)?))),
    }
}

/// The key of a leaf's cell at `index`.
fn read_key(page: &Arc<Page>, index: usize, key: Key<'_>) -> Bytes {
    if let Some(short) = Bytes::short(key.parts()) {
        return short;
    }
    match page.key_range(index) {
        Some(range) => Bytes::in_page(Arc::clone(page), range),
        None => Bytes::shared(key.to_vec().into()),
    }
}

/// The child at `index` of a branch.
fn child(pager: &Pager, parent: &Page, index: usize) -> Result<Arc<Page>> {
    load(pager, parent.child(index).page, Some(parent.level()))
}

/// A page of the tree: a root, or a child of a branch of level `parent_level`.
fn load(pager: &Pager, reference: PageReference, parent_level: Option<u8>) -> Result<Arc<Page>> {
    let page = pager.read(reference)?;
    check(pager, &page, parent_level)?;
    Ok(page)
}

fn check(pager: &Pager, page: &Page, parent_level: Option<u8>) -> Result<()> {
    let corruption = |reason| Err(pager.corruption(page.reference().page, Damage(reason)));
    if page.kind() == PageKind::FreeList {
        return corruption("a page of the free list stands in the tree");
    }
    if parent_level.is_some_and(|parent| parent.checked_sub(1) != Some(page.level())) {
        return corruption("a child is not one level below its parent");
    }
    Ok(())
}
