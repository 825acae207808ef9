//! An embedded, ordered, transactional key-value store: many readers, one writer, snapshot isolation, one durable log.
//!
//! ```
//! use proofmark_engine::{Database, Options, Retention};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let database = Database::open(directory.path().join("db"), &Options::new().retention(Retention::All))?;
//!
//! let mut write = database.begin_write()?;
//! write.put(b"apple", b"red")?;
//! write.put(b"plum", b"blue")?;
//! let first = write.commit()?; // One fdatasync; durable from here on.
//!
//! let mut write = database.begin_write()?;
//! write.delete(b"plum")?;
//! write.commit()?;
//!
//! let read = database.begin_read()?;
//! assert_eq!(read.get(b"apple")?.as_deref(), Some(b"red".as_slice()));
//! assert_eq!(read.prefix(b"p")?.count(), 0);
//! let past = database.begin_read_at(first)?;
//! assert_eq!(past.get(b"plum")?.as_deref(), Some(b"blue".as_slice()));
//! # Ok(())
//! # }
//! ```
//!
//! # Tour
//!
//! A commit appends one record to the `log`, syncs it, and installs its versions in the `write_tier`, an ordered map
//! in memory. A `checkpoint` merges the write tier into the base tree (`btree`), a copy-on-write B+tree in pages of
//! the data file (`pager`), flips the meta page, and retires the log. `recovery` is the way back: the newest valid
//! meta page, and the log on top of it. A snapshot (`mvcc`) reads the write tier first and the base tree second, at
//! one TxnId. How everything looks on disk is `format`'s alone, and `FORMAT.md`'s.
//!
//! The engine reads no clock, spawns no thread, draws no random number and opens no file except through its seams:
//! `sync`, the `proofmark-vfs` package and [`Options`].

#![deny(missing_docs)]

mod backup;
mod btree;
mod bytes;
mod changes;
mod checkpoint;
mod commit;
mod compact;
mod create;
mod db;
mod error;
mod format;
mod ids;
mod inspect;
mod log;
mod mvcc;
mod options;
mod pager;
mod recovery;
mod sync;
mod write_tier;

pub use backup::BackupReport;
pub use bytes::Bytes;
pub use changes::{Change, Changes};
pub use checkpoint::CheckpointReport;
pub use compact::CompactReport;
pub use db::{Database, Stats};
pub use error::{Error, Result};
pub use ids::{DatabaseId, Generation, PageId, SegmentId, TxnId};
pub use inspect::{LogItem, LogOperation, PageUsage, Survey, VerifyReport, scan_log};
pub use mvcc::{ReadTransaction, Savepoint, Scan, Ticket, WriteTransaction};
pub use options::{Durability, Options, Retention};
