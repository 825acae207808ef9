//! Bugs in what the store says of its commits, and in its copies.

use std::sync::atomic::{AtomicBool, Ordering};

use proofmark_model::{Commit, TxnId};
use proofmark_sim::store::{Compaction, Store, StoreError, Transaction};

use super::wrap::Bug;

/// The stream leaves out a transaction.
#[derive(Debug)]
pub(super) struct StreamGap;

impl Bug for StreamGap {
    fn changes(&self, store: &mut dyn Store, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let mut commits = store.changes(from, limit)?;
        if commits.len() > 2 {
            commits.remove(1);
        }
        Ok(commits)
    }
}

/// The stream leaves out what was removed.
#[derive(Debug)]
pub(super) struct StreamOfPuts;

impl Bug for StreamOfPuts {
    fn changes(&self, store: &mut dyn Store, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let mut commits = store.changes(from, limit)?;
        for commit in &mut commits {
            commit.mutations.retain(|mutation| mutation.value.is_some());
        }
        Ok(commits)
    }
}

/// Who fell behind is not told, and goes on with the oldest transaction that there is.
#[derive(Debug)]
pub(super) struct SilentGap;

impl Bug for SilentGap {
    fn changes(&self, store: &mut dyn Store, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        match store.changes(from, limit) {
            Err(StoreError::ChangesNotRetained) => {
                let oldest = store.oldest().unwrap_or_default();
                store.changes(oldest.next(), limit)
            }
            outcome => outcome,
        }
    }
}

/// After a compaction the latest state is the only one.
#[derive(Debug, Default)]
pub(super) struct ForgetfulCompaction(AtomicBool);

impl Bug for ForgetfulCompaction {
    fn opened(&self, _store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        self.0.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn compact(&self, store: &mut dyn Store) -> Result<Compaction, StoreError> {
        let compaction = store.compact()?;
        self.0.store(true, Ordering::Relaxed);
        Ok(compaction)
    }

    fn oldest(&self, store: &dyn Store) -> Option<TxnId> {
        if self.0.load(Ordering::Relaxed) { store.latest() } else { store.oldest() }
    }
}

/// A backup holds the states before those that it should hold.
#[derive(Debug)]
pub(super) struct LateBackup;

impl Bug for LateBackup {
    fn backup(&self, store: &mut dyn Store) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Copied { inner: store.backup()?, back: 1, has_history: true }))
    }
}

/// A backup holds the latest state and no other.
#[derive(Debug)]
pub(super) struct BackupWithoutHistory;

impl Bug for BackupWithoutHistory {
    fn backup(&self, store: &mut dyn Store) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Copied { inner: store.backup()?, back: 0, has_history: false }))
    }
}

/// A backup with a bug.
struct Copied {
    inner: Box<dyn Store>,
    /// How many commits too early it reads.
    back: u64,
    has_history: bool,
}

impl Store for Copied {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_read()
    }

    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        let oldest = self.inner.oldest().unwrap_or_default();
        self.inner.begin_read_at(TxnId(at.0.saturating_sub(self.back)).max(oldest))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_write()
    }

    fn latest(&self) -> Option<TxnId> {
        self.inner.latest()
    }

    fn oldest(&self) -> Option<TxnId> {
        if self.has_history { self.inner.oldest() } else { self.inner.latest() }
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.close()
    }
}
