//! redb with one bug in its savepoints, seen from outside: our own engine has no marks that could be wrong.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_model::{Durability, Key, KeyRange, MarkLabel, TxnId, Value};
use proofmark_sim::plan::Config;
use proofmark_sim::store::{Compaction, Mark, Promises, Redb, Store, StoreError, StoreFactory, Transaction};
use proofmark_vfs::Vfs;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkBug {
    None,
    /// A mark that ended is gone back to, which does nothing.
    Tolerant,
    /// Every fourth mark is said to be gone.
    Forgetful,
    /// The first key of all stays as it is.
    Half,
}

/// redb with it.
#[derive(Debug)]
pub(super) struct Marked {
    bug: MarkBug,
    restores: Arc<AtomicU64>,
}

impl Marked {
    pub(super) fn new(bug: MarkBug) -> Marked {
        Marked { bug, restores: Arc::default() }
    }
}

impl StoreFactory for Marked {
    fn name(&self) -> &str {
        "redb with a bug"
    }

    fn promises(&self) -> Promises {
        // The plans are drawn for the engine, and so they spare redb nothing that it is known to fail at.
        Promises { survives_io_errors: false, ..Redb.promises() }
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let inner = Redb.open(vfs, config)?;
        Ok(Box::new(MarkedStore { inner, bug: self.bug, restores: Arc::clone(&self.restores) }))
    }
}

struct MarkedStore {
    inner: Box<dyn Store>,
    bug: MarkBug,
    restores: Arc<AtomicU64>,
}

impl Store for MarkedStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_read()
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let inner = self.inner.begin_write()?;
        Ok(Box::new(Writer { inner, bug: self.bug, restores: Arc::clone(&self.restores) }))
    }

    fn compact(&mut self) -> Result<Compaction, StoreError> {
        self.inner.compact()
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        self.inner.checkpoint()
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        self.inner.verify()
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.close()
    }
}

struct Writer {
    inner: Box<dyn Transaction>,
    bug: MarkBug,
    restores: Arc<AtomicU64>,
}

impl Transaction for Writer {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        self.inner.scan(range, limit, reverse)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.inner.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.inner.delete(key)
    }

    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        self.inner.delete_range(range)
    }

    fn mark(&mut self, mark: MarkLabel, is_persistent: bool) -> Result<Option<u64>, StoreError> {
        self.inner.mark(mark, is_persistent)
    }

    fn restore(&mut self, mark: Mark) -> Result<(), StoreError> {
        let count = self.restores.fetch_add(1, Ordering::Relaxed) + 1;
        match self.bug {
            MarkBug::Forgetful if count.is_multiple_of(4) => Err(StoreError::MarkNotFound),
            MarkBug::Tolerant => match self.inner.restore(mark) {
                Err(StoreError::MarkNotFound) => Ok(()),
                outcome => outcome,
            },
            MarkBug::Half => {
                let first = self.inner.scan(&KeyRange::all(), 1, false)?;
                self.inner.restore(mark)?;
                first.iter().try_for_each(|(key, value)| self.inner.put(key, value))
            }
            MarkBug::None | MarkBug::Forgetful => self.inner.restore(mark),
        }
    }

    fn forget(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.inner.forget(mark)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        self.inner.tend()
    }

    fn panic(self: Box<Self>) -> Result<Infallible, StoreError> {
        self.inner.panic()
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        self.inner.commit(durability)
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort()
    }
}
