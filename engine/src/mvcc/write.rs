//! The exclusive write transaction.

use std::ops::Bound;

use super::View;
use super::scan::{Direction, Mutations, Scan, prefix_bounds};
use crate::bytes::Bytes;
use crate::db::{Shared, WriterSlot};
use crate::error::{Error, Result};
use crate::format::{MAX_VALUE_BYTES, max_key_bytes};
use crate::ids::TxnId;
use crate::options::Durability;
use crate::sync::Arc;

/// A transaction that can change the database. There is one at a time; it sees its own changes, and nobody else does
/// until it commits. Dropping it aborts it.
#[derive(Debug)]
pub struct WriteTransaction {
    shared: Arc<Shared>,
    view: View,
    snapshot: TxnId,
    mutations: Mutations,
    /// Keeps other writers out for as long as it lives.
    slot: WriterSlot,
}

impl WriteTransaction {
    pub(crate) fn new(
        shared: Arc<Shared>,
        view: View,
        snapshot: TxnId,
        slot: WriterSlot,
    ) -> WriteTransaction {
        WriteTransaction { shared, view, snapshot, mutations: Mutations::new(), slot }
    }

    /// The last committed transaction that this one sees.
    #[must_use]
    pub fn snapshot(&self) -> TxnId {
        self.snapshot
    }

    /// The value of `key`, as this transaction left it.
    ///
    /// # Errors
    /// `Io` if a page can't be read, `Corruption` if it isn't what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.mutations.get(key) {
            Some(value) => Ok(value.clone().map(Bytes::shared)),
            None => self.view.get(&self.shared.pager, key, self.snapshot),
        }
    }

    /// The pairs within `bounds`, by ascending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn range(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        self.scan(bounds, Direction::Ascending)
    }

    /// The pairs within `bounds`, by descending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn range_reverse(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        self.scan(bounds, Direction::Descending)
    }

    /// The pairs whose keys start with `prefix`, by ascending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Scan<'_>> {
        let end = prefix_bounds(prefix);
        self.range((Bound::Included(prefix), end.as_ref().map(Vec::as_slice)))
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// `InvalidArgument` if the key is longer than 4096 bytes or a quarter of a page, or the value than 16 MiB.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::InvalidArgument {
                what: "the value's length",
                found: value.len() as u64,
                expected: "at most 16777216 bytes",
            });
        }
        self.mutate(key, Some(value.into()))
    }

    /// Removes `key`; no error if it is absent.
    ///
    /// # Errors
    /// `InvalidArgument` if the key is longer than 4096 bytes or a quarter of a page.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.mutate(key, None)
    }

    /// Commits durably: when this returns, the transaction and all before it survive power loss. Returns its TxnId, or
    /// that of the snapshot if nothing was changed.
    ///
    /// # Errors
    /// `Io` if the log can't be written or synced. Whether the transaction is durable is unknown then, and the database
    /// is [`Error::Poisoned`] until it is opened again. `Poisoned` if that has happened before; nothing is committed then.
    pub fn commit(self) -> Result<TxnId> {
        self.commit_with(Durability::Sync)
    }

    /// Commits with the given durability.
    ///
    /// # Errors
    /// As for [`WriteTransaction::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<TxnId> {
        let WriteTransaction { shared, snapshot, mutations, slot, view } = self;
        // The view goes first, so that a checkpoint after this commit can use the pages it held.
        drop(view);
        let txn = shared.commit(snapshot, mutations, durability)?;
        drop(slot);
        shared.checkpoint_if_full();
        Ok(txn)
    }

    /// Ends the transaction without effect, as dropping it does.
    pub fn abort(self) {}

    fn scan(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), direction: Direction) -> Result<Scan<'_>> {
        Scan::new(&self.shared.pager, &self.view, self.snapshot, Some(&self.mutations), bounds, direction)
    }

    fn mutate(&mut self, key: &[u8], value: Option<Arc<[u8]>>) -> Result<()> {
        if key.len() > max_key_bytes(self.shared.pager.page_size()) {
            return Err(Error::InvalidArgument {
                what: "the key's length",
                found: key.len() as u64,
                expected: "at most 4096 bytes and a quarter of a page",
            });
        }
        self.mutations.insert(key.into(), value);
        Ok(())
    }
}
