//! The trace: what was asked of the disk and what it answered.
//!
//! Two forms of it. The rolling hash takes in every I/O call and every power loss; two runs of one plan must end with
//! the same hash. The record keeps the events themselves, for people, and only on request; neither form ever changes
//! what the disk does. The trace of a crash image is silent: images are made by the thousand, and nobody asks for it.
//! Whoever does ask fails, and is not told a hash that says nothing.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_vfs::{LockMode, OpenMode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::choice::Survival;
use super::crash::{CrashReport, Keep, Moment};
use super::errno;
use super::faults::Fired;
use super::pending::{EffectKind, PendingEffect};

/// The record keeps so many of the latest events.
const EVENT_COUNT_MAX: usize = 1 << 20;

/// What an I/O call asks for. Each is one method of [`Vfs`](proofmark_vfs::Vfs) or
/// [`VfsFile`](proofmark_vfs::VfsFile).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoOperation {
    /// Open a file.
    Open(OpenMode),
    /// Create a directory.
    CreateDirectory,
    /// List a directory.
    List,
    /// Remove a file.
    Remove,
    /// Rename a file.
    Rename,
    /// Make a directory's entries durable.
    SyncDirectory,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Ask for a file's size.
    Size,
    /// Cut off or extend a file.
    SetSize,
    /// Make a file's contents durable.
    SyncData,
    /// Make a file's contents and metadata durable.
    SyncAll,
    /// Try to lock a file.
    Lock(LockMode),
}

impl IoOperation {
    /// Whether a file system that is mounted for reading only refuses it.
    pub(super) fn changes_something(self) -> bool {
        match self {
            Self::Open(OpenMode::Read) | Self::List | Self::Read | Self::Size | Self::Lock(_) => false,
            Self::Open(_)
            | Self::CreateDirectory
            | Self::Remove
            | Self::Rename
            | Self::SyncDirectory
            | Self::Write
            | Self::SetSize
            | Self::SyncData
            | Self::SyncAll => true,
        }
    }

    fn code(self) -> u64 {
        match self {
            Self::Open(OpenMode::Read) => 1,
            Self::Open(OpenMode::ReadWrite) => 2,
            Self::Open(OpenMode::Create) => 3,
            Self::Open(OpenMode::CreateTruncate) => 4,
            Self::CreateDirectory => 5,
            Self::List => 6,
            Self::Remove => 7,
            Self::Rename => 8,
            Self::SyncDirectory => 9,
            Self::Read => 10,
            Self::Write => 11,
            Self::Size => 12,
            Self::SetSize => 13,
            Self::SyncData => 14,
            Self::SyncAll => 15,
            Self::Lock(LockMode::Shared) => 16,
            Self::Lock(LockMode::Exclusive) => 17,
        }
    }
}

impl fmt::Display for IoOperation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open(OpenMode::Read) => "open (read)",
            Self::Open(OpenMode::ReadWrite) => "open (read-write)",
            Self::Open(OpenMode::Create) => "open (create)",
            Self::Open(OpenMode::CreateTruncate) => "open (create, truncate)",
            Self::CreateDirectory => "create directory",
            Self::List => "list",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::SyncDirectory => "sync directory",
            Self::Read => "read",
            Self::Write => "write",
            Self::Size => "size",
            Self::SetSize => "set size",
            Self::SyncData => "sync data",
            Self::SyncAll => "sync all",
            Self::Lock(LockMode::Shared) => "lock (shared)",
            Self::Lock(LockMode::Exclusive) => "lock (exclusive)",
        })
    }
}

/// How an I/O call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoOutcome {
    /// It was done; the number is what it returned, as far as that is a number (bytes, a size, a flag).
    Done(u64),
    /// It failed with this operating-system code.
    Failed(i32),
    /// The power was lost.
    PowerLost(Moment),
}

impl IoOutcome {
    pub(super) fn of<T: Answer>(result: &io::Result<T>) -> Self {
        match result {
            Ok(answer) => Self::Done(answer.number()),
            Err(error) => Self::Failed(error.raw_os_error().unwrap_or(errno::EIO)),
        }
    }

    fn code(self) -> [u64; 2] {
        match self {
            Self::Done(number) => [0, number],
            Self::Failed(code) => [1, u64::from(code.unsigned_abs())],
            Self::PowerLost(Moment::Before) => [2, 0],
            Self::PowerLost(Moment::After) => [3, 0],
            Self::PowerLost(Moment::During) => [4, 0],
        }
    }
}

/// An answer to an I/O call that has a number to be traced by.
pub(super) trait Answer {
    fn number(&self) -> u64;
}

impl Answer for () {
    fn number(&self) -> u64 {
        0
    }
}

impl Answer for bool {
    fn number(&self) -> u64 {
        u64::from(*self)
    }
}

impl Answer for u64 {
    fn number(&self) -> u64 {
        *self
    }
}

impl Answer for usize {
    fn number(&self) -> u64 {
        *self as u64
    }
}

impl Answer for Vec<PathBuf> {
    fn number(&self) -> u64 {
        self.len() as u64
    }
}

/// One I/O call, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoCall {
    /// Its number since the disk was made; 1 is the first.
    pub number: u64,
    /// What it asked for.
    pub operation: IoOperation,
    /// The file or directory; for a file, the path it was opened under.
    pub path: PathBuf,
    /// The new path, of a rename.
    pub target: Option<PathBuf>,
    /// Offset of a read or a write in bytes; else 0.
    pub offset: u64,
    /// Bytes asked for by a read, given to a write, or the size that is to be set; else 0.
    pub length: u64,
    /// How it ended.
    pub outcome: IoOutcome,
}

impl fmt::Display for IoCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{} {} {}", self.number, self.operation, self.path.display())?;
        if let Some(target) = &self.target {
            write!(formatter, " to {}", target.display())?;
        }
        match self.operation {
            IoOperation::Read | IoOperation::Write => {
                write!(formatter, " @{}+{}", self.offset, self.length)?;
            }
            IoOperation::SetSize => write!(formatter, " {}", self.length)?,
            _ => {}
        }
        match (self.operation, self.outcome) {
            (IoOperation::Read | IoOperation::Write, IoOutcome::Done(count)) if count != self.length => {
                write!(formatter, " = {count}")
            }
            (IoOperation::Size, IoOutcome::Done(size)) => write!(formatter, " = {size}"),
            (IoOperation::Lock(_), IoOutcome::Done(0)) => formatter.write_str(" = refused"),
            (_, IoOutcome::Done(_)) => Ok(()),
            (_, IoOutcome::Failed(code)) => write!(formatter, " = {} ({code})", errno::name(code)),
            (_, IoOutcome::PowerLost(moment)) => write!(formatter, " = power lost {moment} it"),
        }
    }
}

/// An entry of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceEvent {
    /// An I/O call of the store.
    Call(IoCall),
    /// A fault has struck the call that comes next.
    Fault(Fired),
    /// A power loss has been materialised.
    PowerLoss(CrashReport),
    /// What became of one of the effects that were pending at that power loss.
    Effect {
        /// Its number in a [`Choice`](super::Choice).
        index: usize,
        /// What it is.
        kind: EffectKind,
        /// What became of it.
        survival: Survival,
    },
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => call.fmt(formatter),
            Self::Fault(fired) => write!(formatter, "fault: {fired}"),
            Self::PowerLoss(report) => report.fmt(formatter),
            Self::Effect { index, kind, survival } => write!(formatter, "effect {index} {survival}: {kind}"),
        }
    }
}

/// An I/O call as it arrives: borrowed, so that nothing is allocated unless somebody records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) operation: IoOperation,
    pub(super) path: &'a Path,
    pub(super) target: Option<&'a Path>,
    /// What tells this file from others in the hash: the inode, or 0 for a call that goes by the path.
    pub(super) inode: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// The bytes to be written; else empty.
    pub(super) bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// A call that goes by the path.
    pub(super) fn path(operation: IoOperation, path: &'a Path) -> Self {
        Self { operation, path, target: None, inode: 0, offset: 0, length: 0, bytes: &[] }
    }

    /// A call on an open file.
    pub(super) fn file(operation: IoOperation, path: &'a Path, inode: u64) -> Self {
        Self { inode, ..Self::path(operation, path) }
    }

    pub(super) fn call(&self, number: u64, outcome: IoOutcome) -> IoCall {
        IoCall {
            number,
            operation: self.operation,
            path: self.path.to_path_buf(),
            target: self.target.map(Path::to_path_buf),
            offset: self.offset,
            length: self.length,
            outcome,
        }
    }

    fn content_hash(&self, seed: u64) -> u64 {
        if !self.bytes.is_empty() {
            xxh3_64_with_seed(self.bytes, seed)
        } else if self.inode == 0 {
            let hash = xxh3_64_with_seed(self.path.as_os_str().as_encoded_bytes(), seed);
            self.target.map_or(hash, |target| xxh3_64_with_seed(target.as_os_str().as_encoded_bytes(), hash))
        } else {
            0
        }
    }
}

/// The rolling hash and, if wanted, the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    /// Whether nothing is taken in any more.
    is_silent: bool,
    hash: u64,
    recording: bool,
    /// Each with the hash after it.
    events: VecDeque<(u64, TraceEvent)>,
}

impl Trace {
    pub(super) fn hash(&self) -> u64 {
        assert!(!self.is_silent, "the trace of an image has no hash");
        self.hash
    }

    /// Takes nothing in from now on.
    pub(super) fn silence(&mut self) {
        *self = Self { is_silent: true, ..Self::default() };
    }

    pub(super) fn record(&mut self, recording: bool) {
        assert!(!self.is_silent, "the trace of an image keeps no record");
        self.recording = recording;
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording
    }

    pub(super) fn take(&mut self) -> Vec<TraceEvent> {
        self.take_hashed().into_iter().map(|(_, event)| event).collect()
    }

    pub(super) fn take_hashed(&mut self) -> Vec<(u64, TraceEvent)> {
        std::mem::take(&mut self.events).into()
    }

    /// The same hash, with an empty record.
    pub(super) fn fork(&self) -> Self {
        Self {
            is_silent: self.is_silent,
            hash: self.hash,
            recording: self.recording,
            events: VecDeque::new(),
        }
    }

    pub(super) fn call(&mut self, request: &Request<'_>, number: u64, outcome: IoOutcome) {
        if self.is_silent {
            return;
        }
        let [kind, value] = outcome.code();
        self.roll(&[
            request.operation.code(),
            request.inode,
            request.offset,
            request.length,
            request.content_hash(self.hash),
            kind,
            value,
        ]);
        if self.recording {
            self.push(TraceEvent::Call(request.call(number, outcome)));
        }
    }

    /// Takes in a power loss. What survives follows from the calls before it and from `keep`. The `pending` effects are
    /// for the record alone.
    pub(super) fn power_loss(&mut self, keep: &Keep, report: &CrashReport, pending: Vec<PendingEffect>) {
        if self.is_silent {
            return;
        }
        self.roll(&[
            xxh3_64_with_seed(keep.to_string().as_bytes(), self.hash),
            report.effects_kept,
            report.effects_dropped,
            report.effects_torn,
            report.sizes_dropped,
            report.entries_dropped,
            report.files_lost,
        ]);
        if self.recording {
            self.push(TraceEvent::PowerLoss(report.clone()));
        }
        let part_counts: Vec<u64> = pending.iter().map(|effect| effect.part_count).collect();
        let survivals = report.choice.survivals(&part_counts);
        for (index, (PendingEffect { kind, .. }, survival)) in pending.into_iter().zip(survivals).enumerate()
        {
            self.push(TraceEvent::Effect { index, kind, survival });
        }
    }

    /// Takes in that a fault has struck a call, which the call itself may not show.
    pub(super) fn fault(&mut self, fired: &Fired) {
        if self.is_silent {
            return;
        }
        self.roll(&[fired.index as u64, xxh3_64_with_seed(fired.kind.name().as_bytes(), self.hash)]);
        if self.recording {
            self.push(TraceEvent::Fault(fired.clone()));
        }
    }

    /// Takes in that damage was undone, which no call shows.
    pub(super) fn heal(&mut self) {
        self.roll(&[xxh3_64_with_seed(b"heal", self.hash)]);
    }

    fn roll<const N: usize>(&mut self, words: &[u64; N]) {
        let bytes = words.map(u64::to_le_bytes);
        self.hash = xxh3_64_with_seed(bytes.as_flattened(), self.hash);
    }

    fn push(&mut self, event: TraceEvent) {
        if self.events.len() == EVENT_COUNT_MAX {
            self.events.pop_front();
        }
        self.events.push_back((self.hash, event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write<'a>(bytes: &'a [u8], offset: u64) -> Request<'a> {
        let length = bytes.len() as u64;
        Request { offset, length, bytes, ..Request::file(IoOperation::Write, Path::new("wal"), 3) }
    }

    #[test]
    fn calls_read_as_a_person_would_say_them() {
        let done = |request: Request<'_>, number| request.call(7, IoOutcome::Done(number)).to_string();
        assert_eq!(done(write(b"abc", 4096), 3), "#7 write wal @4096+3");
        let read = Request { offset: 1, length: 9, ..Request::file(IoOperation::Read, Path::new("wal"), 3) };
        assert_eq!(done(read, 4), "#7 read wal @1+9 = 4");
        let rename = Request {
            target: Some(Path::new("d/b")),
            ..Request::path(IoOperation::Rename, Path::new("d/a"))
        };
        assert_eq!(done(rename, 0), "#7 rename d/a to d/b");
        let open = Request::path(IoOperation::Open(OpenMode::Read), Path::new("x"));
        assert_eq!(
            open.call(1, IoOutcome::Failed(errno::ENOENT)).to_string(),
            "#1 open (read) x = ENOENT (2)"
        );
        let sync = Request::file(IoOperation::SyncData, Path::new("wal"), 3);
        let lost = sync.call(2, IoOutcome::PowerLost(Moment::After));
        assert_eq!(lost.to_string(), "#2 sync data wal = power lost after it");
    }

    #[test]
    #[should_panic(expected = "the trace of an image has no hash")]
    fn a_silent_trace_and_its_forks_tell_no_hash() {
        let mut trace = Trace::default();
        trace.silence();
        trace.call(&write(b"abc", 0), 1, IoOutcome::Done(3));
        let _ = trace.fork().hash();
    }

    #[test]
    fn the_hash_tells_every_part_of_a_call_apart() {
        let hash = |request: Request<'_>, outcome| {
            let mut trace = Trace::default();
            trace.call(&request, 1, outcome);
            trace.hash()
        };
        let base = write(b"abc", 0);
        let done = IoOutcome::Done(3);
        let mut hashes = vec![
            hash(base, done),
            hash(write(b"abd", 0), done),
            hash(write(b"abc", 1), done),
            hash(Request { inode: 4, ..base }, done),
            hash(Request { operation: IoOperation::Read, ..base }, done),
            hash(base, IoOutcome::Done(2)),
            hash(base, IoOutcome::Failed(3)),
            hash(base, IoOutcome::PowerLost(Moment::Before)),
            hash(base, IoOutcome::PowerLost(Moment::After)),
            hash(Request::path(IoOperation::Remove, Path::new("a")), IoOutcome::Done(0)),
            hash(Request::path(IoOperation::Remove, Path::new("b")), IoOutcome::Done(0)),
        ];
        assert_eq!(hash(base, done), hashes[0]);
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
