//! The engine, compiled against [shuttle](https://docs.rs/shuttle): every lock, every atomic and every look into the page
//! cache is a step that threads can be switched at, on a schedule that somebody else decides.
//!
//! The sources are the engine's, module by module, and so is the interface. What they take from `crate::sync` comes from
//! [`sync`] here: shuttle-aware locks, atomics, counted pointers, cells that find overlapping accesses, and an
//! [`epoch`](sync::epoch::Collector) that frees as early as the rules allow. Pages lie in [`memory`] that stays readable
//! until an execution is over, with what was freed marked. Shuttle knows no weak memory: that is for the loom build.
//!
//! Everything here has to happen within an execution of shuttle's. [`explore`] runs a program on many schedules, and
//! [`replay`] on one of them again; whoever brings a scheduler of their own uses shuttle itself. [`StepVfs`] makes steps of
//! I/O calls, too, and [`waits`](sync::waits) says what each thread waited for when all of them were stuck.
//!
//! [`subjects`] makes this build's tree look like those of the other builds.

#[path = "../../src/backup.rs"]
mod backup;
#[path = "../../src/btree/mod.rs"]
mod btree;
#[path = "../../src/bwtree/mod.rs"]
pub mod bwtree;
#[path = "../../src/bytes.rs"]
mod bytes;
#[path = "../../src/changes.rs"]
mod changes;
#[path = "../../src/checkpoint.rs"]
mod checkpoint;
#[path = "../../src/commit.rs"]
mod commit;
#[path = "../../src/compact.rs"]
mod compact;
#[path = "../../src/create.rs"]
mod create;
#[path = "../../src/db.rs"]
mod db;
#[path = "../../src/error.rs"]
mod error;
mod explore;
#[path = "../../src/format/mod.rs"]
mod format;
#[path = "../../src/ids.rs"]
mod ids;
#[path = "../../src/inspect/mod.rs"]
mod inspect;
#[path = "../../src/log/mod.rs"]
mod log;
#[path = "../../loom/src/memory.rs"]
pub mod memory;
#[path = "../../src/mvcc/mod.rs"]
mod mvcc;
#[path = "../../src/options.rs"]
mod options;
#[path = "../../src/pager/mod.rs"]
mod pager;
#[path = "../../src/recovery.rs"]
mod recovery;
#[path = "../../loom/src/subjects.rs"]
pub mod subjects;
pub mod sync;
mod vfs;
#[path = "../../src/write_tier/mod.rs"]
mod write_tier;

pub use backup::BackupReport;
pub use bytes::Bytes;
pub use changes::{Change, Changes};
pub use checkpoint::CheckpointReport;
pub use compact::CompactReport;
pub use db::{Database, Stats};
pub use error::{Error, Result};
pub use explore::{Failure, Strategy, explore, replay};
pub use ids::{DatabaseId, Generation, PageId, SegmentId, TxnId};
pub use inspect::{LogItem, LogOperation, PageUsage, Survey, VerifyReport, scan_log};
pub use mvcc::{ReadTransaction, Savepoint, Scan, Ticket, WriteTransaction};
pub use options::{Durability, Options, Retention};
pub use shuttle::thread;
pub use sync::cell::UnsafeCell;
pub use sync::{atomic, epoch, point};
pub use vfs::StepVfs;
