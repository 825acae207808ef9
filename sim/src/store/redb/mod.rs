//! redb as a store under test: the proof that [`super::Store`] is shaped by more than our own engine.
//!
//! redb writes through its `StorageBackend`, which is a file of the simulated disk here. Its pairs are spread over a
//! handful of tables, so that what redb does per table happens all the time: creating, renaming and deleting them, and
//! several of them in one transaction.
//!
//! - redb names no commits, so nothing here has a `TxnId`, and it does not travel in time.
//! - `begin_write` of redb waits for the open writer. One thread runs all clients, so the adapter keeps count and
//!   says [`StoreError::Busy`] instead.
//! - A checkpoint, and a close, is an empty durable commit: redb makes every earlier commit durable with it. A
//!   checkpoint beside an open writer is not possible, and then promises nothing.
//! - redb's savepoints, ephemeral and persistent, are the marks of the model.
//! - Its integrity check and its compaction want the database for themselves. Beside whatever stands in their way
//!   they have to refuse, and nowhere else. That a compaction makes anything durable redb does not say.
//! - A panic that is caught leaks the pages of its transaction until the database is opened again or has checked
//!   itself, and redb says so: the first check after it may find something to repair.
//! - Dropping a database closes it, and keeps every commit; while a writer is open, that happens when the writer ends.
//! - A power loss while redb creates its file may leave one that it refuses to open: see [`Redb`].
//! - After an I/O error redb wants to be opened again before it does anything, reads included. That repairs what the
//!   error left, it says, and so it promises [`Promises::survives_io_errors`] and not
//!   [`Promises::goes_on_after_io_errors`]. Of a full disk it says nothing else, and so it does not promise to go on.
//! - redb fixes its page size; of the configuration the cache size, the commit's phases and the quick repair apply.

mod backend;
mod errors;
mod tables;
mod transaction;

use std::sync::Arc;

use proofmark_model::{Key, KeyRange, Value};
use proofmark_vfs::Vfs;
use redb::{CompactionError, Database, DatabaseError, ReadableDatabase, WriteTransaction};

use self::backend::{Backend, Tally};
use self::errors::from_redb;
use self::transaction::{Common, RedbRead, RedbWrite};
use super::{Compaction, Promises, Store, StoreError, StoreFactory, Transaction};
use crate::disk::FaultKind;
use crate::plan::Config;

/// redb.
///
/// Seen with redb 4.4.0: it creates a database by setting the file's size, writing a header without its magic number,
/// syncing, and writing the header again with it. If the power fails in between, or one of these calls, the next open
/// finds a file that is not empty and not a database, and returns `Not a redb database: magic number mismatch`. Nothing
/// is lost, because nothing was stored; but somebody has to remove the file by hand. So redb does not promise
/// [`Promises::survives_loss_during_creation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redb;

impl StoreFactory for Redb {
    fn name(&self) -> &str {
        "redb"
    }

    fn promises(&self) -> Promises {
        Promises {
            buffered_commits: true,
            survives_loss_during_creation: false,
            compaction: true,
            marks: true,
            keeps_on_drop: true,
            survives_io_errors: true,
            goes_on_after_io_errors: false,
            ..Promises::minimal()
        }
    }

    /// After a sync that failed, and that dropped what it should have written, redb 4.4.0 may lose everything if its commits
    /// have one phase: `corpora/findings/redb/failed-sync.plan` shows it.
    fn is_spared(&self, kind: FaultKind, config: &Config) -> bool {
        let drops_pages =
            matches!(kind, FaultKind::SyncLost | FaultKind::SyncReadOnly | FaultKind::WriteBackLost);
        drops_pages && !config.two_phase_commit && !config.quick_repair
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let common = Common::default();
        let backend = Backend::open(&*vfs, common.failures.clone()).map_err(from_redb)?;
        let database = Database::builder()
            .set_cache_size(config.cache_bytes)
            .create_with_backend(backend)
            .map_err(from_redb)?;
        Ok(Box::new(RedbStore {
            database,
            config: config.clone(),
            transactions: Tally::default(),
            writers: Tally::default(),
            common,
        }))
    }
}

struct RedbStore {
    database: Database,
    config: Config,
    transactions: Tally,
    writers: Tally,
    common: Common,
}

impl RedbStore {
    fn writer(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(from_redb)?;
        transaction.set_two_phase_commit(self.config.two_phase_commit);
        transaction.set_quick_repair(self.config.quick_repair);
        Ok(transaction)
    }

    fn commit_nothing_durably(&self) -> Result<(), StoreError> {
        self.writer()?.commit().map_err(from_redb)
    }

    /// Whether something is open that wants the database to stay as it is.
    fn is_in_use(&self) -> bool {
        !self.transactions.is_zero() || !self.common.savepoints.borrow().is_empty()
    }

    /// All pairs.
    fn pairs(&self) -> Result<Vec<(Key, Value)>, StoreError> {
        let transaction = self.database.begin_read().map_err(from_redb)?;
        RedbRead::new(transaction, self.transactions.take()).scan(&KeyRange::all(), usize::MAX, false)
    }

    fn has_persistent_savepoints(&self) -> Result<bool, StoreError> {
        let transaction = self.writer()?;
        let has_one = transaction.list_persistent_savepoints().map_err(from_redb)?.next().is_some();
        transaction.abort().map_err(from_redb)?;
        Ok(has_one)
    }
}

impl Store for RedbStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let transaction = self.database.begin_read().map_err(from_redb)?;
        Ok(Box::new(RedbRead::new(transaction, self.transactions.take())))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        if !self.writers.is_zero() {
            return Err(StoreError::Busy);
        }
        let tickets = [self.transactions.take(), self.writers.take()];
        Ok(Box::new(RedbWrite::new(self.writer()?, self.common.clone(), tickets)))
    }

    fn compact(&mut self) -> Result<Compaction, StoreError> {
        // Some releases wait forever for a writer of the same thread.
        if !self.writers.is_zero() {
            return Ok(Compaction::Declined);
        }
        match (self.database.compact(), self.is_in_use()) {
            (Ok(_), false) => Ok(Compaction::Done { is_durable: false }),
            (Ok(_), true) => Err(StoreError::failed("compacted beside a transaction or a savepoint")),
            (Err(CompactionError::Storage(error)), _) => Err(from_redb(error)),
            (Err(_), true) => Ok(Compaction::Declined),
            (Err(_), false) if self.has_persistent_savepoints()? => Ok(Compaction::Declined),
            (Err(error), false) => Err(from_redb(error)),
        }
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        if !self.writers.is_zero() {
            return Ok(false);
        }
        self.commit_nothing_durably()?;
        Ok(true)
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        if self.is_in_use() {
            return match self.database.check_integrity() {
                Err(DatabaseError::TransactionInProgress) => Ok(false),
                Ok(_) => Err(StoreError::failed("checked itself beside a transaction or a savepoint")),
                Err(error) => Err(from_redb(error)),
            };
        }
        let before = if self.common.has_leaked.take() { Some(self.pairs()?) } else { None };
        if self.database.check_integrity().map_err(from_redb)? {
            return Ok(true);
        }
        // What a panic leaves allocated is taken back, and nothing that a reader sees may change with it. Damage that redb mends
        // in the same go without losing anything can't be told from it.
        if let Some(before) = before
            && self.pairs()? == before
            && self.database.check_integrity().map_err(from_redb)?
        {
            return Ok(true);
        }
        Err(StoreError::failed("the integrity check found damage and repaired it"))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.commit_nothing_durably()
    }
}

#[cfg(test)]
mod tests;
