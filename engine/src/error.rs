//! What can go wrong, and whose fault it is.
//!
//! The environment's failures are [`Error::Io`] and its kin; bytes on disk that can't be right are
//! [`Error::Corruption`], never a panic and never wrong data; a broken invariant of the engine itself is a panic.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::Damage;
use crate::ids::TxnId;

/// A `Result` with the engine's [`Error`], unless it says otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `read`, `write`, `sync`, ...
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds bytes that the engine can't have written there.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corruption {
        /// The damaged file.
        path: PathBuf,
        /// Where the damaged unit (page, record, header) starts, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system is full, or a quota is used up. Nothing was lost and nothing changed: what was asked for did not
    /// happen, and can be asked for again once there is space.
    #[error("there is no space left to {operation} {}", path.display())]
    OutOfSpace {
        /// What was tried, as a verb: `append to`, `write`, `create`, ...
        operation: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// An exclusive write transaction is open.
    #[error("another write transaction is open")]
    WriteBusy,
    /// An optimistic transaction wrote a key that another transaction has committed since the snapshot of the first.
    /// Nothing of it was committed; begin again from a new snapshot.
    #[error("key \"{}\" was changed by another transaction that committed first", key.escape_ascii())]
    Conflict {
        /// The first such key.
        key: Vec<u8>,
    },
    /// The snapshot is no longer retained, or lies in the future.
    #[error("no snapshot of transaction {requested}: {oldest} to {latest} can be read")]
    SnapshotNotFound {
        /// What was asked for.
        requested: TxnId,
        /// The oldest snapshot that can be read.
        oldest: TxnId,
        /// The latest snapshot.
        latest: TxnId,
    },
    /// The stream of changes was asked for from a transaction that is no longer retained one by one. A consumer that
    /// fell behind this far has to start anew from a snapshot.
    #[error(
        "the changes of transaction {requested} are no longer retained: the oldest are those of {oldest}"
    )]
    ChangesNotRetained {
        /// What was asked for.
        requested: TxnId,
        /// The oldest transaction whose changes can be had.
        oldest: TxnId,
    },
    /// An earlier write or sync failed, so what is on disk is unknown: open the database again to go on. Reads work.
    #[error(
        "the database accepts no more changes until it is opened again, because of an earlier failure: {cause}"
    )]
    Poisoned {
        /// The error of that failure, as text.
        cause: String,
    },
    /// The database was opened for reading only.
    #[error("the database was opened for reading only")]
    ReadOnly,
    /// Another process, or another handle in this one, has the database open.
    #[error("{} is in use by another process or handle", path.display())]
    Locked {
        /// The database directory.
        path: PathBuf,
    },
    /// There is something already where something new was to be made.
    #[error("{} exists already, and is not empty", path.display())]
    AlreadyExists {
        /// The directory.
        path: PathBuf,
    },
    /// There is no database in the directory, and none was to be created.
    #[error("there is no database in {}", path.display())]
    NotFound {
        /// The database directory.
        path: PathBuf,
    },
    /// The files are of a format that this version doesn't read.
    #[error("{} has format version {found}; this program reads version {supported}", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The version that is supported.
        supported: u32,
    },
    /// An argument is out of its range.
    #[error("{what} is {found}, but must be {expected}")]
    InvalidArgument {
        /// Which argument.
        what: &'static str,
        /// What it was.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::OutOfSpace { operation, path }
            }
            _ => Error::Io { operation, path, source },
        }
    }

    /// A failed sync. Whatever the reason, even a full disk, what is on disk is unknown.
    pub(crate) fn sync(path: &Path, source: io::Error) -> Error {
        Error::Io { operation: "sync", path: path.to_owned(), source }
    }

    pub(crate) fn corruption(path: &Path, offset: u64, damage: Damage) -> Error {
        Error::Corruption { path: path.to_owned(), offset, reason: damage.0 }
    }
}
