//! The knobs of a disk, what it counts, and how their names are refused.
//!
//! Everything here is a plain value: no rule of the fault model is carried out in this module.

use std::fmt;
use std::str::FromStr;

use super::crash::CrashReport;
use super::order::{Order, Sizes};

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// Which effects survive only with earlier ones.
    pub order: Order,
    /// How the growth of a file and its new bytes survive.
    pub sizes: Sizes,
    /// What makes a name durable.
    pub directory_persistence: DirectoryPersistence,
    /// The unit in which writes tear.
    pub granule: Granule,
    /// A file with more pending bytes than this is written back, as operating systems do. It bounds the memory of a
    /// store that never syncs.
    pub dirty_bytes_max: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            order: Order::default(),
            sizes: Sizes::default(),
            directory_persistence: DirectoryPersistence::default(),
            granule: Granule::default(),
            dirty_bytes_max: 64 << 20,
        }
    }
}

/// What makes a created, renamed or removed name durable.
///
/// The text form, for plans: `directory-sync`, `file-sync`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DirectoryPersistence {
    /// A sync of its directory, and nothing else: all that POSIX promises.
    #[default]
    WithDirectorySync,
    /// A sync of the file as well, together with everything that was done in the directory before that, and the names
    /// of the directories above: a journalling file system like ext4.
    WithFileSync,
}

impl fmt::Display for DirectoryPersistence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::WithDirectorySync => "directory-sync",
            Self::WithFileSync => "file-sync",
        })
    }
}

impl FromStr for DirectoryPersistence {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "directory-sync" => Ok(Self::WithDirectorySync),
            "file-sync" => Ok(Self::WithFileSync),
            _ => Err(ParseError::new("directory persistence", text)),
        }
    }
}

/// The unit in which writes tear, in bytes: 1, 8, 64, 512 or 4096.
///
/// Processors and drives promise little: what a sector makes atomic, a cache line or a word need not. The text form is
/// the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granule(u16);

impl Granule {
    /// Every size there is, in ascending order.
    pub const ALL: [Self; 5] = [Self(1), Self(8), Self(64), Self(512), Self(4096)];

    /// The granule of so many bytes, if there is one.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|granule| granule.bytes() == bytes)
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }
}

impl Default for Granule {
    /// A sector of 512 bytes.
    fn default() -> Self {
        Self(512)
    }
}

impl fmt::Display for Granule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Granule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().ok().and_then(Self::new).ok_or_else(|| ParseError::new("granule", text))
    }
}

/// What a disk has done, in calls, bytes and effects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Reads that succeeded.
    pub reads: u64,
    /// Writes that succeeded, of at least one byte.
    pub writes: u64,
    /// File syncs, those that lied included.
    pub syncs: u64,
    /// Directory syncs, those that lied included.
    pub directory_syncs: u64,
    /// Bytes that reads returned.
    pub bytes_read: u64,
    /// Bytes that writes took.
    pub bytes_written: u64,
    /// Writes that failed because the disk was full.
    pub writes_without_room: u64,
    /// Files that were written back because too many of their bytes were pending.
    pub write_backs: u64,
    /// Power losses.
    pub crashes: u64,
    /// Effects that survived a power loss whole.
    pub effects_kept: u64,
    /// Effects of which a power loss left nothing.
    pub effects_dropped: u64,
    /// Writes of which a power loss left some granules.
    pub effects_torn: u64,
    /// Of the dropped effects, those that set a file's size.
    pub sizes_dropped: u64,
    /// Of the dropped effects, those that created, renamed or removed a name.
    pub entries_dropped: u64,
    /// Files that a power loss left without a name.
    pub files_lost: u64,
}

impl DiskStats {
    pub(super) fn count_crash(&mut self, report: &CrashReport) {
        self.crashes += 1;
        self.effects_kept += report.effects_kept;
        self.effects_dropped += report.effects_dropped;
        self.effects_torn += report.effects_torn;
        self.sizes_dropped += report.sizes_dropped;
        self.entries_dropped += report.entries_dropped;
        self.files_lost += report.files_lost;
    }
}

/// A text that names no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}")]
pub struct ParseError {
    what: &'static str,
    text: String,
}

impl ParseError {
    pub(super) fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.to_owned() }
    }
}
