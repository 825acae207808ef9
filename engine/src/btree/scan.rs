//! What one snapshot sees of the tree, key by key, in either direction.

use std::ops::Bound;

use super::{Cursor, read_key, read_value};
use crate::bytes::Bytes;
use crate::error::Result;
use crate::format::{LeafCell, Page, Subtree, VersionKey};
use crate::ids::TxnId;
use crate::pager::Pager;
use crate::sync::Arc;

/// A key and its version that the snapshot sees; no value if that is a deletion.
pub(crate) type BaseEntry = (Bytes, Option<Bytes>);

/// What a scan does about values that lie in pages of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Read,
    /// Only keys are wanted: a large value is handed out as an empty one.
    LeaveLarge,
}

/// A lazy walk over the keys within some bounds.
#[derive(Debug)]
pub(crate) struct BaseScan {
    cursor: Cursor,
    snapshot: TxnId,
    reverse: bool,
    values: Values,
}

impl BaseScan {
    /// Starts at `start`, and goes up from there, or down if `reverse`. Where to stop is the caller's to decide.
    pub(crate) fn new(
        pager: &Pager,
        root: Option<Subtree>,
        snapshot: TxnId,
        start: Bound<&[u8]>,
        reverse: bool,
        values: Values,
    ) -> Result<BaseScan> {
        // TxnIds are at least 1, so that no version comes after (key, 0) and none before (key, MAX).
        let before = |key| VersionKey::new(key, TxnId(u64::MAX));
        let after = |key| VersionKey::new(key, TxnId(0));
        let cursor = match (start, reverse) {
            (Bound::Included(key), false) | (Bound::Excluded(key), true) => {
                Cursor::seek(pager, root, before(key))?
            }
            (Bound::Excluded(key), false) | (Bound::Included(key), true) => {
                Cursor::seek(pager, root, after(key))?
            }
            (Bound::Unbounded, false) => Cursor::seek(pager, root, before(b""))?,
            (Bound::Unbounded, true) => Cursor::last(pager, root)?,
        };
        Ok(BaseScan { cursor, snapshot, reverse, values })
    }

    pub(crate) fn next(&mut self, pager: &Pager) -> Result<Option<BaseEntry>> {
        if self.reverse { self.next_down(pager) } else { self.next_up(pager) }
    }

    /// Upwards the first version that is old enough is the one.
    fn next_up(&mut self, pager: &Pager) -> Result<Option<BaseEntry>> {
        while let Some((page, index)) = self.cursor.ahead(pager)? {
            let LeafCell { version, value } = page.leaf(index);
            if version.txn > self.snapshot {
                self.cursor.step();
                continue;
            }
            let key = read_key(page, index, version.key);
            let value = read_value(pager, page, index, value, self.values)?;
            self.cursor.step();
            while let Some((page, index)) = self.cursor.ahead(pager)?
                && page.version(index).key == *key
            {
                self.cursor.step();
            }
            return Ok(Some((key, value)));
        }
        Ok(None)
    }

    /// Downwards it is the last one that is old enough.
    fn next_down(&mut self, pager: &Pager) -> Result<Option<BaseEntry>> {
        let mut found: Option<(Arc<Page>, usize)> = None;
        while let Some((page, index)) = self.cursor.backward(pager)? {
            let version = page.version(index);
            if let Some((found_page, found_index)) = &found
                && found_page.version(*found_index).key != version.key
            {
                self.cursor.forward(pager)?;
                break;
            }
            if version.txn <= self.snapshot {
                found = Some((page, index));
            }
        }
        let Some((page, index)) = found else { return Ok(None) };
        let LeafCell { version, value } = page.leaf(index);
        let key = read_key(&page, index, version.key);
        Ok(Some((key, read_value(pager, &page, index, value, self.values)?)))
    }
}
