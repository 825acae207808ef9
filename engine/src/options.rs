//! How a database is opened.

use crate::error::{Error, Result};
use crate::ids::TxnId;
use crate::log::LogOptions;

/// How much a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The commit, and every commit before it, survives power loss. Costs one `fdatasync`.
    #[default]
    Sync,
    /// The commit is visible when it returns, and durable with the next `Sync` commit, [`crate::Database::sync`] or
    /// checkpoint. It waits for a sync only if a commit before it does, because commits become visible in their order.
    Buffered,
}

/// How much history a checkpoint keeps. What is newer than the last checkpoint is always there, unless
/// [`Options::prune`] says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// The latest state only.
    #[default]
    Latest,
    /// The states of the last `n` transactions before the checkpoint, too. The checkpoint drops every version that none of
    /// them needs.
    Txns(u64),
    /// Every state since the database was created.
    All,
}

impl Retention {
    /// The oldest snapshot that a checkpoint at `checkpoint` keeps readable.
    pub(crate) fn oldest(self, checkpoint: TxnId) -> TxnId {
        match self {
            Retention::Latest => checkpoint,
            Retention::Txns(count) => TxnId(checkpoint.0.saturating_sub(count)),
            Retention::All => TxnId(0),
        }
    }
}

/// How [`crate::Database::open`] opens a database. All limits can be made tiny, for tests.
///
/// ```
/// use proofmark_engine::{Options, Retention};
/// let options = Options::new().page_size(8192).retention(Retention::Txns(1000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub(crate) page_size: u32,
    pub(crate) cache_bytes: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) log_chunk_bytes: u64,
    pub(crate) spare_segments: usize,
    pub(crate) write_tier_bytes: usize,
    pub(crate) stream_bytes: usize,
    pub(crate) retention: Retention,
    pub(crate) prune: bool,
    pub(crate) create: bool,
    pub(crate) read_only: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_size: 16 << 10,
            cache_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            log_chunk_bytes: 1 << 20,
            spare_segments: 2,
            write_tier_bytes: 64 << 20,
            stream_bytes: 16 << 20,
            retention: Retention::Latest,
            prune: false,
            create: true,
            read_only: false,
        }
    }
}

impl Options {
    /// The defaults: 16 KiB pages, 64 MiB each of cache, log segment and write tier, no history, created if absent.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// The page size of a database that is created: a power of two from 4096 to 65536 bytes. An existing database
    /// keeps its own.
    #[must_use]
    pub fn page_size(mut self, bytes: u32) -> Options {
        self.page_size = bytes;
        self
    }

    /// The most bytes of pages that the cache holds, but at least eight pages. Pages in use by a reader live on for as
    /// long as they are.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Options {
        self.cache_bytes = bytes;
        self
    }

    /// The size in bytes after which the log goes on in a new segment. A single larger transaction still fits.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// How many bytes of room the log gets at a time, by writing zeros ahead of its records: a commit then overwrites
    /// what the file has already, which makes its sync cheaper. Also the most that gathers in memory before it is
    /// written. A larger transaction is written at once, without room made for it first.
    #[must_use]
    pub fn log_chunk_bytes(mut self, bytes: u64) -> Options {
        self.log_chunk_bytes = bytes;
        self
    }

    /// How many segments that are no longer needed are kept, so that the log can go on in them without allocating
    /// anything. Each takes up to the size of a segment.
    #[must_use]
    pub fn spare_segments(mut self, count: usize) -> Options {
        self.spare_segments = count;
        self
    }

    /// The size of the write tier, in bytes of keys, values and about a hundred for each version, beyond which a commit
    /// runs a checkpoint.
    #[must_use]
    pub fn write_tier_bytes(mut self, bytes: usize) -> Options {
        self.write_tier_bytes = bytes;
        self
    }

    /// The most bytes that a stream of [`changes`](crate::Database::changes) gathers from the base tree at a time. A single
    /// larger transaction still fits. A smaller buffer means more walks over the tree.
    #[must_use]
    pub fn stream_bytes(mut self, bytes: usize) -> Options {
        self.stream_bytes = bytes;
        self
    }

    /// How much history checkpoints keep.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Options {
        self.retention = retention;
        self
    }

    /// Whether the retention holds at every moment, and not only from one checkpoint to the next. Then a version that it
    /// doesn't keep, and that no open transaction, stream or backup can read, is gone from memory a commit later: a million
    /// updates of one key between two checkpoints take the room of one. The price is that
    /// [`Database::oldest_retained`](crate::Database::oldest_retained) advances with each commit: with
    /// [`Retention::Latest`] there is nothing but the latest state, and no commit stream, also between checkpoints. With
    /// [`Retention::All`] there is nothing to prune.
    ///
    /// Without it, which is the default, every state since the last checkpoint can be read as of its transaction, and the
    /// stream goes back to there, so that every version since then has to be kept. When a checkpoint is due is decided by what was
    /// committed, either way.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Options, Retention};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let options = Options::new().retention(Retention::Txns(2)).prune(true);
    /// let database = Database::open(directory.path().join("db"), &options)?;
    /// for number in 0..10u8 {
    ///     let mut write = database.begin_write()?;
    ///     write.put(b"count", &[number])?;
    ///     write.commit()?;
    /// }
    /// assert_eq!(database.latest().0 - database.oldest_retained().0, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prune(mut self, prune: bool) -> Options {
        self.prune = prune;
        self
    }

    /// Whether a database that doesn't exist is created.
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// Opens for reading only: nothing on disk changes, a log that needs replay is replayed in memory, and any
    /// number of such handles may be open at once, but not beside a writable one.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// The oldest snapshot that can be read while `latest` is the latest, if the last checkpoint left those from `base` on.
    pub(crate) fn oldest(&self, base: TxnId, latest: TxnId) -> TxnId {
        // A log that was replayed for reading only is shown whole.
        let prunes = self.prune && !self.read_only;
        if prunes { self.retention.oldest(latest).max(base) } else { base }
    }

    pub(crate) fn log(&self) -> LogOptions {
        LogOptions {
            segment_bytes: self.segment_bytes,
            chunk_bytes: self.log_chunk_bytes,
            spare_count: self.spare_segments,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let page_size_valid = self.page_size.is_power_of_two() && (4096..=65536).contains(&self.page_size);
        if !page_size_valid {
            return Err(Error::InvalidArgument {
                what: "the page size",
                found: u64::from(self.page_size),
                expected: "a power of two from 4096 to 65536",
            });
        }
        if !(4096..=1 << 40).contains(&self.segment_bytes) {
            return Err(Error::InvalidArgument {
                what: "the segment size",
                found: self.segment_bytes,
                expected: "from 4096 bytes to 1 TiB",
            });
        }
        if self.cache_bytes as u64 > 1 << 38 {
            return Err(Error::InvalidArgument {
                what: "the size of the cache",
                found: self.cache_bytes as u64,
                expected: "at most 256 GiB",
            });
        }
        if !(64..=1 << 30).contains(&self.log_chunk_bytes) {
            return Err(Error::InvalidArgument {
                what: "the log's chunk size",
                found: self.log_chunk_bytes,
                expected: "from 64 bytes to 1 GiB",
            });
        }
        Ok(())
    }
}
