//! The only door to files.
//!
//! Everything the engine reads or writes goes through [`Vfs`] and [`VfsFile`]. The traits are as narrow as the
//! engine's needs: positional reads and writes, explicit sizes, explicit syncs, a few directory operations. There is
//! no cursor, no buffering and no implicit durability, so that a simulated disk can decide at each call what would
//! survive a power loss.
//!
//! **What durability means here**, for every implementation:
//!
//! - Bytes and sizes of a file are durable only after [`VfsFile::sync_data`] or [`VfsFile::sync_all`] returned `Ok`.
//!   Until then any part of them may survive a power loss, in any order.
//! - A created, renamed or removed name is durable only after [`Vfs::sync_directory`] of its directory returned `Ok`.
//! - A sync that returned an error has decided nothing: the caller must assume that the data is lost, and must not
//!   retry in the hope that a second sync tells the truth.
//!
//! Errors are [`std::io::Error`]s with true operating-system codes where there is one.
//!
//! This package is separate from the engine so that the simulated disk, and every build of the engine, share one set
//! of traits.

#![deny(missing_docs)]

mod real;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub use real::RealVfs;

/// How [`Vfs::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only. `NotFound` if it is absent.
    Read,
    /// An existing file, for reading and writing. `NotFound` if it is absent.
    ReadWrite,
    /// A file for reading and writing, created empty if it is absent, left as it is if it exists.
    Create,
    /// A file for reading and writing, created if it is absent, emptied if it exists.
    CreateTruncate,
}

/// Which lock [`VfsFile::try_lock`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Any number of holders, none of them exclusive.
    Shared,
    /// One holder.
    Exclusive,
}

/// Tells a file from every other, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The file system on which it lies.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// A file system, as far as a storage engine needs one.
pub trait Vfs: Debug + Send + Sync {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// `NotFound` as the mode says, and if the directory is absent.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>>;

    /// Creates the directory at `path`, and those above it that are missing. Succeeds if it exists.
    ///
    /// # Errors
    /// `NotADirectory` or `AlreadyExists` if a file is in the way.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Names in the directory at `path`, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory, `NotADirectory` if it is a file.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes the file at `path`. Who has it open keeps its bytes until they close it.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, atomically replacing `to` if it exists. Both names lie in one directory.
    ///
    /// # Errors
    /// `NotFound` if there is no file `from`; then `to` is what it was.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Which file has the name `path`.
    ///
    /// # Errors
    /// `NotFound` if none has.
    fn file_id(&self, path: &Path) -> io::Result<FileId>;

    /// A number that nothing else was ever given: 64 random bits, or what a deterministic file system draws in their place.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    fn unique_id(&self) -> io::Result<u64>;

    /// Makes every earlier creation, rename and removal in the directory at `path` durable.
    ///
    /// # Errors
    /// Whatever kept the system from it. It is unknown then which names are durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// An open file. All methods take `&self`: positional I/O needs no cursor, and so no lock.
pub trait VfsFile: Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file. May return fewer than asked for.
    ///
    /// # Errors
    /// `Interrupted` if nothing was read and it may be tried again; whatever else kept the system from it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes up to `bytes.len()` bytes at `offset`, growing the file as needed; a gap reads as zeros. Returns how many.
    ///
    /// # Errors
    /// `Interrupted` if nothing was written and it may be tried again; `StorageFull` or `QuotaExceeded` if there is no
    /// room; whatever else kept the system from it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// The file's size in bytes.
    ///
    /// # Errors
    /// Whatever kept the system from it.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file off at `size` bytes, or extends it with zeros up to there.
    ///
    /// # Errors
    /// `StorageFull` if there is no room; whatever else kept the system from it.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes bytes and size durable; other metadata (times, permissions) need not be.
    ///
    /// # Errors
    /// Whatever kept the system from it. What was written since the last sync may be lost then, even if a later sync
    /// succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes, size and all other metadata durable.
    ///
    /// # Errors
    /// As for [`VfsFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// Which file this is.
    ///
    /// # Errors
    /// Whatever kept the system from it.
    fn file_id(&self) -> io::Result<FileId>;

    /// Takes an advisory lock on the whole file without waiting; `false` if another open file holds it.
    /// The lock ends when this file is dropped.
    ///
    /// # Errors
    /// If the file system has no locks.
    fn try_lock(&self, mode: LockMode) -> io::Result<bool>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before the buffer is full.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// `WriteZero` if the file accepts no more bytes without saying why.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
