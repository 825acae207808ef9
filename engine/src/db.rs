//! The database: what its handles share, and where its transactions begin.
//!
//! Locks, in the order in which they are taken: `checkpoint` (one checkpoint at a time), `commits` (one at a time into the
//! log and the write tier). Below them, each for the length of one look-up, lie those of the page cache and of the write tier's
//! record of who wrote what, which only the commit stream asks. What a snapshot sees is published through one atomic
//! pointer, and the write tier is latch-free: neither beginning to read nor reading what was committed since the last
//! checkpoint takes a lock.

use std::path::{Path, PathBuf};

use proofmark_vfs::{RealVfs, Vfs};

use crate::checkpoint::{CheckpointReport, CheckpointState};
use crate::commit::CommitState;
use crate::error::{Error, Result};
use crate::ids::{Generation, TxnId};
use crate::log::{Log, LogCounters};
use crate::mvcc::{Era, ReadTransaction, View, WriteTransaction, WriterKind};
use crate::options::Options;
use crate::pager::CacheCounts;
use crate::recovery;
use crate::sync::{Arc, ArcSwap, AtomicBool, Condvar, Mutex, OnceLock, Ordering};

/// An open database. Clones share one handle; the database is closed when the last of them and of their transactions
/// is gone. Closing writes nothing: what was committed with [`Durability::Sync`](crate::Durability::Sync) is durable
/// already, and [`Database::sync`] makes the rest so.
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
    pub(crate) checkpoint: Mutex<CheckpointState>,
    pub(crate) commits: Mutex<CommitState>,
    /// Notified when a sync of the log has ended.
    pub(crate) progressed: Condvar,
    /// Replaced under the commit lock only.
    pub(crate) published: ArcSwap<Published>,
    /// An exclusive writer is open. Set under the commit lock.
    pub(crate) writer_open: AtomicBool,
    /// Set once, with the cause.
    poisoned: OnceLock<String>,
}

/// What a new snapshot sees.
#[derive(Debug)]
pub(crate) struct Published {
    /// The oldest snapshot that can be taken.
    pub(crate) oldest: TxnId,
    pub(crate) latest: TxnId,
    pub(crate) view: Arc<View>,
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
    /// Bytes of what was committed to the write tier, roughly: keys, values, and what it takes to keep them. What was pruned
    /// counts, too, because it is still in the log.
    pub write_tier_bytes: u64,
    /// How often the page cache had a page that was to be kept, since the data file was opened. A page that was only
    /// looked at in passing, as in a look-up, counts if it was not there.
    pub cache_hits: u64,
    /// How often the page cache did not have what was asked for.
    pub cache_misses: u64,
    /// Syncs of records in the log since the database was opened.
    pub log_sync_count: u64,
    /// Bytes of records in the log since the database was opened, headers and padding included.
    pub log_appended_bytes: u64,
    /// Segments of the log that began as new files since the database was opened.
    pub log_created_segment_count: u64,
    /// Segments of the log that began in the file of a retired one since the database was opened.
    pub log_recycled_segment_count: u64,
}

impl Database {
    /// Opens the database in the directory `path` of the real file system, and creates it if there is none and the
    /// options say so.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `UnsupportedFormat`, `InvalidArgument`, `OutOfSpace`, `Io`; `Corruption` if what is there
    /// can't be made sense of without losing something that was durable. Nothing that was durable is changed then.
    ///
    /// `Io` with the operation "sync" on a directory, while a database is created: its names may never become durable
    /// until the system is started anew, whatever later syncs say. Remove the directory before you open it again.
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
        let era = Era::new(Arc::clone(&opened.published.view.active));
        let prunes = options.prune && !options.read_only;
        let shared = Shared {
            options: options.clone(),
            vfs: opened.vfs,
            directory: path.to_owned(),
            checkpoint: Mutex::new(opened.checkpoint),
            commits: Mutex::new(CommitState::new(opened.log, opened.published.latest, era, prunes)),
            progressed: Condvar::default(),
            published: ArcSwap::from_pointee(opened.published),
            writer_open: AtomicBool::new(false),
            poisoned: OnceLock::new(),
        };
        let database = Database { shared: Arc::new(shared) };
        if opened.needs_checkpoint {
            database.shared.checkpoint_recovered(opened.next_segment)?;
        }
        Ok(database)
    }

    /// A snapshot of the latest committed state. Takes no lock, and nobody waits for it.
    ///
    /// # Errors
    /// None at present; the signature leaves room for a limit on readers.
    pub fn begin_read(&self) -> Result<ReadTransaction> {
        let published = self.shared.published.load_full();
        let latest = published.latest;
        Ok(ReadTransaction::new(Arc::clone(&self.shared), published, latest))
    }

    /// A snapshot of the state right after transaction `txn`.
    ///
    /// # Errors
    /// `SnapshotNotFound` if `txn` is no longer retained or lies in the future.
    pub fn begin_read_at(&self, txn: TxnId) -> Result<ReadTransaction> {
        let published = self.shared.published.load_full();
        let Published { oldest, latest, .. } = *published;
        if txn < oldest || txn > latest {
            return Err(Error::SnapshotNotFound { requested: txn, oldest, latest });
        }
        Ok(ReadTransaction::new(Arc::clone(&self.shared), published, txn))
    }

    /// The exclusive writer: it never conflicts. While it is open, optimistic transactions can begin and work, but not
    /// commit.
    ///
    /// # Errors
    /// `WriteBusy` if there is one already, `Poisoned`, `ReadOnly`.
    pub fn begin_write(&self) -> Result<WriteTransaction> {
        // Under the lock, so that no optimistic transaction commits between the look at the slot and the snapshot.
        let state = self.shared.lock_commits()?;
        let slot = WriterSlot::take(&self.shared)?;
        let published = self.shared.published.load_full();
        let kind = WriterKind::Exclusive(slot);
        Ok(WriteTransaction::new(Arc::clone(&self.shared), published, state.installed, kind))
    }

    /// A writer beside others. If a key that it writes is committed by another transaction before it commits itself, its
    /// commit fails with [`Error::Conflict`]: the first committer wins. Every commit since its snapshot is kept in memory
    /// for as long as it is open.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Error, Options};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Database::open(directory.path().join("db"), &Options::new())?;
    /// loop {
    ///     let mut write = database.begin_optimistic()?;
    ///     let count = write.get(b"count")?.map_or(0, |bytes| bytes[0]);
    ///     write.put(b"count", &[count + 1])?;
    ///     match write.commit() {
    ///         Ok(_) => break,
    ///         Err(Error::Conflict { .. }) => {} // Somebody else counted first: once more, from a new snapshot.
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # assert_eq!(database.begin_read()?.get(b"count")?.as_deref(), Some(&[1][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Poisoned`, `ReadOnly`.
    pub fn begin_optimistic(&self) -> Result<WriteTransaction> {
        // Under the lock, so that the era is the one of the snapshot.
        let state = self.shared.lock_commits()?;
        let published = self.shared.published.load_full();
        let kind = WriterKind::Optimistic(Arc::clone(&state.era));
        let latest = published.latest;
        Ok(WriteTransaction::new(Arc::clone(&self.shared), published, latest, kind))
    }

    /// Makes every commit so far durable, and visible if it was only submitted.
    ///
    /// # Errors
    /// `Io` if the log can't be synced; the database is poisoned then. `Poisoned`, `ReadOnly`.
    pub fn sync(&self) -> Result<()> {
        self.shared.sync_all()
    }

    /// Merges what was committed since the last checkpoint into the base tree, which shortens the log and frees memory.
    /// Every commit before it is durable when it returns. Does nothing if there is nothing to merge. Readers and
    /// writers go on meanwhile.
    ///
    /// # Errors
    /// `OutOfSpace` if there is no room for the new pages, `Io` or `Corruption` if a page can't be read or written:
    /// everything is as before, and it can be tried again. `Io` of a sync or of the meta page: the database is poisoned
    /// then, and whole on disk. `Io` of a log file that can't be removed: the checkpoint is done. `Poisoned`, `ReadOnly`.
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        self.shared.check_writable()?;
        self.shared.checkpoint_now()
    }

    /// The latest committed transaction.
    #[must_use]
    pub fn latest(&self) -> TxnId {
        self.shared.published.load().latest
    }

    /// The oldest transaction as of which can be read.
    #[must_use]
    pub fn oldest_retained(&self) -> TxnId {
        self.shared.published.load().oldest
    }

    /// Some figures. Waits for a checkpoint that is under way.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let checkpoint = self.shared.checkpoint.lock();
        let census = checkpoint.allocator.census();
        let CacheCounts { hits, misses } = checkpoint.pager.cache_counts();
        let log = self.shared.commits.lock().log.as_ref().map_or_else(LogCounters::default, Log::counters);
        let published = self.shared.published.load();
        let view = &published.view;
        Stats {
            page_size: checkpoint.meta.page_size,
            page_count: census.page_count,
            free_page_count: census.free,
            waiting_page_count: census.waiting,
            generation: checkpoint.meta.generation,
            checkpoint: checkpoint.meta.checkpoint,
            latest: published.latest,
            oldest: published.oldest,
            write_tier_bytes: view.tiers().map(|tier| tier.bytes()).sum(),
            cache_hits: hits,
            cache_misses: misses,
            log_sync_count: log.sync_count,
            log_appended_bytes: log.appended_bytes,
            log_created_segment_count: log.created_segment_count,
            log_recycled_segment_count: log.recycled_segment_count,
        }
    }
}

impl Shared {
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
