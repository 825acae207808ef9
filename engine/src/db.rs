//! The database: what its handles share, and how a commit goes through it.
//!
//! Locks, in the order in which they are taken: `checkpoint` (one checkpoint at a time), `log` (one commit at a time),
//! `published` (for as long as it takes to copy or replace a few pointers). Below them, each for the length of one
//! look-up, lie the locks of the write tier and of the page cache. A reader takes `published` once, and those as it reads.

use std::path::{Path, PathBuf};

use proofmark_vfs::{RealVfs, Vfs};

use crate::checkpoint::{CheckpointReport, CheckpointState};
use crate::error::{Error, Result};
use crate::ids::{Generation, TxnId};
use crate::log::Log;
use crate::mvcc::{Mutations, ReadTransaction, View, WriteTransaction};
use crate::options::{Durability, Options};
use crate::pager::Pager;
use crate::recovery;
use crate::sync::{Arc, AtomicBool, Mutex, OnceLock, Ordering, RwLock};

/// An open database. Clones share one handle; the database is closed when the last of them and of their transactions
/// is gone. Closing writes nothing: what was committed with [`Durability::Sync`] is durable already, and
/// [`Database::sync`] makes the rest so.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

/// What an open database is made of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) directory: PathBuf,
    pub(crate) pager: Pager,
    pub(crate) checkpoint: Mutex<CheckpointState>,
    /// None if the database was opened for reading only.
    pub(crate) log: Mutex<Option<Log>>,
    pub(crate) published: RwLock<Published>,
    writer_open: AtomicBool,
    /// Set once, with the cause.
    poisoned: OnceLock<String>,
}

/// What a new snapshot sees.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) latest: TxnId,
    pub(crate) view: View,
}

/// The right to be the only writer. Given back on drop.
#[derive(Debug)]
pub(crate) struct WriterSlot {
    shared: Arc<Shared>,
}

/// Some figures of an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the data file that are accounted for.
    pub page_count: u64,
    /// Pages that the next checkpoint can use.
    pub free_page_count: u64,
    /// Pages that become free once neither the fallback meta page nor a reader needs them.
    pub waiting_page_count: u64,
    /// The last checkpoint.
    pub generation: Generation,
    /// The transaction up to which the base tree goes.
    pub checkpoint: TxnId,
    /// The latest transaction.
    pub latest: TxnId,
    /// The oldest snapshot that can be read.
    pub oldest: TxnId,
    /// Bytes in the write tier, roughly: keys, values, and what it takes to keep them.
    pub write_tier_bytes: u64,
}

impl Database {
    /// Opens the database in the directory `path` of the real file system, and creates it if there is none and the
    /// options say so.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `UnsupportedFormat`, `InvalidArgument`, `Io`; `Corruption` if what is there can't be made
    /// sense of without losing something that was durable. Nothing that was durable is changed then.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Database> {
        Database::open_on(Arc::new(RealVfs), path.as_ref(), options)
    }

    /// Opens a database on the given file system.
    ///
    /// # Errors
    /// As for [`Database::open`].
    pub fn open_on(vfs: Arc<dyn Vfs>, path: &Path, options: &Options) -> Result<Database> {
        options.validate()?;
        let opened = recovery::open(vfs, path, options)?;
        let shared = Shared {
            options: options.clone(),
            vfs: opened.vfs,
            directory: path.to_owned(),
            pager: opened.pager,
            checkpoint: Mutex::new(opened.checkpoint),
            log: Mutex::new(opened.log),
            published: RwLock::new(opened.published),
            writer_open: AtomicBool::new(false),
            poisoned: OnceLock::new(),
        };
        let database = Database { shared: Arc::new(shared) };
        if opened.needs_checkpoint {
            database.shared.checkpoint_recovered(opened.next_segment)?;
        }
        Ok(database)
    }

    /// A snapshot of the latest committed state.
    ///
    /// # Errors
    /// None at present; the signature leaves room for a limit on readers.
    pub fn begin_read(&self) -> Result<ReadTransaction> {
        let Published { latest, view } = self.shared.snapshot();
        Ok(ReadTransaction::new(Arc::clone(&self.shared), view, latest))
    }

    /// A snapshot of the state right after transaction `txn`.
    ///
    /// # Errors
    /// `SnapshotNotFound` if `txn` is no longer retained or lies in the future.
    pub fn begin_read_at(&self, txn: TxnId) -> Result<ReadTransaction> {
        let Published { latest, view } = self.shared.snapshot();
        let oldest = view.base.oldest;
        if txn < oldest || txn > latest {
            return Err(Error::SnapshotNotFound { requested: txn, oldest, latest });
        }
        Ok(ReadTransaction::new(Arc::clone(&self.shared), view, txn))
    }

    /// The exclusive writer.
    ///
    /// # Errors
    /// `WriteBusy` if there is one already, `Poisoned`, `ReadOnly`.
    pub fn begin_write(&self) -> Result<WriteTransaction> {
        self.shared.check_writable()?;
        let slot = WriterSlot::take(&self.shared)?;
        let Published { latest, view } = self.shared.snapshot();
        Ok(WriteTransaction::new(Arc::clone(&self.shared), view, latest, slot))
    }

    /// Makes every commit so far durable.
    ///
    /// # Errors
    /// `Io` if the log can't be synced; the database is poisoned then. `Poisoned`, `ReadOnly`.
    pub fn sync(&self) -> Result<()> {
        self.shared.check_writable()?;
        self.shared.with_log(Log::sync)
    }

    /// Merges what was committed since the last checkpoint into the base tree, which shortens the log and frees memory.
    /// Every commit before it is durable when it returns. Does nothing if there is nothing to merge. Readers and
    /// writers go on meanwhile.
    ///
    /// # Errors
    /// `Io` if something can't be written, or `Corruption` if a page can't be read; the database is poisoned then, and
    /// whole on disk. `Poisoned`, `ReadOnly`.
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        self.shared.check_writable()?;
        self.shared.checkpoint_now()
    }

    /// The latest committed transaction.
    #[must_use]
    pub fn latest(&self) -> TxnId {
        self.shared.published.read().latest
    }

    /// The oldest transaction as of which can be read.
    #[must_use]
    pub fn oldest_retained(&self) -> TxnId {
        self.shared.published.read().view.base.oldest
    }

    /// Some figures. Waits for a checkpoint that is under way.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let checkpoint = self.shared.checkpoint.lock();
        let census = checkpoint.allocator.census();
        let Published { latest, view } = self.shared.snapshot();
        Stats {
            page_size: checkpoint.meta.page_size,
            page_count: census.page_count,
            free_page_count: census.free,
            waiting_page_count: census.waiting,
            generation: checkpoint.meta.generation,
            checkpoint: checkpoint.meta.checkpoint,
            latest,
            oldest: view.base.oldest,
            write_tier_bytes: view.tiers().map(|tier| tier.bytes()).sum(),
        }
    }
}

impl Shared {
    pub(crate) fn snapshot(&self) -> Published {
        self.published.read().clone()
    }

    /// Commits what an exclusive writer gathered on top of `snapshot`.
    pub(crate) fn commit(
        &self,
        snapshot: TxnId,
        mutations: Mutations,
        durability: Durability,
    ) -> Result<TxnId> {
        self.with_log(|log| {
            if mutations.is_empty() {
                // There is nothing to log, but Sync also promises that everything before is durable.
                if durability == Durability::Sync {
                    log.sync()?;
                }
                return Ok(snapshot);
            }
            let txn = snapshot.next();
            log.append(txn, mutations.iter().map(|(key, value)| (&**key, value.as_deref())))?;
            match durability {
                Durability::Sync => log.sync()?,
                Durability::Buffered => log.flush()?,
            }
            // A checkpoint swaps tiers under the log's lock, so that this is the tier the transaction belongs to.
            let active = Arc::clone(&self.published.read().view.active);
            active.install(txn, mutations);
            let mut published = self.published.write();
            assert_eq!(published.latest, snapshot, "an exclusive writer commits onto its snapshot");
            published.latest = txn;
            Ok(txn)
        })
    }

    /// Runs a checkpoint if the write tier has outgrown its limit. The commit that calls this has succeeded, whatever
    /// happens here: a failure poisons the database, which the next write reports.
    pub(crate) fn checkpoint_if_full(&self) {
        let bytes = self.published.read().view.active.bytes();
        if bytes > self.options.write_tier_bytes as u64 && self.check_writable().is_ok() {
            let outcome = self.checkpoint_now();
            debug_assert!(outcome.is_ok() || self.poisoned.get().is_some());
        }
    }

    /// Runs `work` on the log. An error leaves unknown what is on disk, so it poisons the database.
    pub(crate) fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> Result<T>) -> Result<T> {
        let mut log = self.log.lock();
        let log = log.as_mut().ok_or(Error::ReadOnly)?;
        // Whoever held the lock before may have failed.
        self.check_writable()?;
        work(log).inspect_err(|error| self.poison(error))
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        match self.poisoned.get() {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses every change from here on. The first cause is kept.
    pub(crate) fn poison(&self, cause: &Error) {
        let _ = self.poisoned.set(cause.to_string());
    }
}

impl WriterSlot {
    fn take(shared: &Arc<Shared>) -> Result<WriterSlot> {
        // Acquire, with the Release in `drop`: this writer sees all that the one before it did.
        if shared.writer_open.swap(true, Ordering::Acquire) {
            return Err(Error::WriteBusy);
        }
        Ok(WriterSlot { shared: Arc::clone(shared) })
    }
}

impl Drop for WriterSlot {
    fn drop(&mut self) {
        self.shared.writer_open.store(false, Ordering::Release);
    }
}
