//! An embedded, ordered, transactional key-value store: snapshot isolation, one durable log, and history that can be
//! read.
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
//! # A guided tour
//!
//! **Keys and values** are bytes: keys up to 4096 bytes (and a quarter of a page), ordered byte by byte, values up to
//! 16 MiB. A [`Database`] is one directory, open in one process; clones of the handle go to every thread.
//!
//! **Reading.** [`Database::begin_read`] pins the latest state without a lock. A [`ReadTransaction`] sees that state for
//! as long as it lives; [`ReadTransaction::get`] and the [`Scan`]s return [`Bytes`], which point into a cached page
//! wherever they can. Readers and writers never wait for each other.
//!
//! **Writing.** Every committed transaction has a [`TxnId`], its place in the one order of commits. There are two kinds of
//! [`WriteTransaction`]: the exclusive one of [`Database::begin_write`], which never conflicts, and optimistic ones, which
//! run side by side. Both read their own writes, can delete ranges, and go back to a [`Savepoint`].
//!
//! ```
//! use proofmark_engine::{Database, Error, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let database = Database::open(directory.path().join("db"), &Options::new())?;
//! let mut first = database.begin_optimistic()?;
//! let mut second = database.begin_optimistic()?;
//! first.put(b"seat 14", b"Ada")?;
//! second.put(b"seat 14", b"Grace")?;
//! first.commit()?;
//! assert!(matches!(second.commit(), Err(Error::Conflict { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! **Durability.** A commit appends one record to the log. With [`Durability::Sync`] it returns when that is on the disk;
//! commits of several threads share one write and one `fdatasync`, and a single thread gets the same with
//! [`WriteTransaction::submit`] and [`Ticket::wait`]. With [`Durability::Buffered`] it returns at once, and a power loss
//! may take it, but never without everything that was committed after it.
//!
//! **History.** [`Retention`] says how many past states are kept. Each of them can be read with
//! [`Database::begin_read_at`], and [`Database::changes`] says what each transaction changed, one after the other, for
//! replicas, indexes and caches that follow the database and come back with the last [`TxnId`] they have seen. What is
//! newer than the last checkpoint is there whatever the retention, unless [`Options::prune`] trades it for memory.
//!
//! **Maintenance** happens when it is asked for, or when the write tier is full, on the thread of the commit that filled
//! it. [`Database::checkpoint`] moves commits from log and memory into the data file, [`Database::compact`] gives back free
//! space, [`Database::backup`] copies a snapshot, [`Database::verify`] checks every byte.
//!
//! **When things fail.** A full disk is [`Error::OutOfSpace`]: nothing happened, and everything goes on once there is space.
//! A write or sync that fails leaves unknown what is on disk: the handle is [`Error::Poisoned`] and only reads, until
//! the database is opened again, which finds every acknowledged commit. Bytes on disk that can't be right are
//! [`Error::Corruption`], with the file, the offset and the reason; they are never returned as data. A panic is a bug of
//! the engine.
//!
//! # Inside
//!
//! A commit is ordered, logged and published in `commit`; its versions go into the `write_tier`, a Bw-tree (`bwtree`) in
//! memory, which readers and commits share without waiting for each other. A `checkpoint` merges the write tier into the
//! base tree (`btree`), a copy-on-write B+tree in pages of the data file (`pager`), flips the meta page, and retires the
//! `log`. `recovery` is the way back: the newest valid meta page, and the
//! log on top of it. A snapshot (`mvcc`) reads the write tier first and the base tree second, at one TxnId. How
//! everything looks on disk is `format`'s alone, and `FORMAT.md`'s.
//!
//! The engine reads no clock, spawns no thread, draws no random number and opens no file except through its seams:
//! `sync`, the `proofmark-vfs` package and [`Options`].

#![deny(missing_docs)]

mod backup;
mod btree;
pub mod bwtree;
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
