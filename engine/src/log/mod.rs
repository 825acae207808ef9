//! The commit log: the only durability point.
//!
//! A log is a sequence of segments, each a file of its own. A commit appends one record; records gather in memory, are
//! written with one write, and made durable with one sync for all who wait for it. Invariants:
//!
//! - A segment's header, and its name in the directory, are durable before its first record is written.
//! - All records of a segment are durable before the first record of the next one is written. A whole record in a later
//!   segment therefore proves that nothing may be missing before it.
//! - A record has its room in the file before it is accepted, so that a full disk refuses a transaction that has left
//!   no trace, and not one that others already build on.
//! - Nothing is ever appended after bytes that [`replay`] did not accept. Recovery starts a new segment instead, so that
//!   an abandoned tail can't come back.
//! - One sync at a time: the operating system reports a failed write-back to one of those who ask, so that a second
//!   sync beside a failing one could succeed.
//! - A segment is removed only after a meta page that doesn't need it is durable.
//!
//! An error other than [`Error::OutOfSpace`] leaves unknown what is in the file. The log must not be used again then.

mod files;
mod reader;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use proofmark_vfs::{Vfs, VfsFile};

use crate::error::{Error, Result};
use crate::format::{RecordPlace, RecordWriter, SegmentHeader};
use crate::ids::{SegmentId, TxnId};
use crate::sync::Arc;

use files::Begun;
pub(crate) use files::{begin_segment, clear_unused, list_segments, renew_absence, retire, segment_path};
pub(crate) use reader::{SegmentReader, Step};
pub(crate) use replay::replay;
use segment::Segment;

/// The sizes by which a log goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    /// The size of a segment after which the log goes on in the next one.
    pub(crate) segment_bytes: u64,
    /// How much room a segment gets at a time, and how many bytes of records gather before they are written.
    pub(crate) chunk_bytes: u64,
    /// How many retired segments are kept to be used again.
    pub(crate) spare_count: usize,
}

impl LogOptions {
    /// Room is not made beyond this, and longer files are cut when they are used again.
    fn segment_limit(self) -> u64 {
        self.segment_bytes.next_multiple_of(segment::BLOCK_BYTES)
    }
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    options: LogOptions,
    current: Segment,
    written_through: TxnId,
    durable_through: TxnId,
    /// A [`SyncRequest`] is out.
    sync_under_way: bool,
    /// The segment has outgrown its size, because a sync was under way.
    overfull: bool,
    /// Where the next record is laid out; kept for its capacity.
    scratch: Vec<u8>,
    counters: LogCounters,
}

/// What a log has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogCounters {
    /// Syncs of records.
    pub(crate) sync_count: u64,
    /// Bytes of records, their headers and padding included.
    pub(crate) appended_bytes: u64,
    /// Segments that began as new files.
    pub(crate) created_segment_count: u64,
    /// Segments that began in the file of a retired one.
    pub(crate) recycled_segment_count: u64,
}

/// A sync that needs no lock: everything up to `through` is written, and durable once [`SyncRequest::run`] returns.
#[derive(Debug)]
pub(crate) struct SyncRequest {
    file: Arc<dyn VfsFile>,
    path: Arc<Path>,
    pub(crate) through: TxnId,
}

impl SyncRequest {
    pub(crate) fn run(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| in_doubt("sync", &self.path, source))
    }
}

impl Log {
    /// Starts a log with a new segment. Everything before its first transaction is durable elsewhere.
    pub(crate) fn create(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: LogOptions,
        header: SegmentHeader,
    ) -> Result<Log> {
        let begun = begin_segment(&*vfs, directory, options, header)?;
        let mut counters = LogCounters::default();
        counters.count(&begun);
        Ok(Log::starting_with(vfs, directory, options, Segment::new(begun), counters))
    }

    /// Goes on in a segment that holds a durable header and no record.
    pub(crate) fn resume(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: LogOptions,
        header: SegmentHeader,
    ) -> Result<Log> {
        let current = Segment::open(&*vfs, directory, header)?;
        Ok(Log::starting_with(vfs, directory, options, current, LogCounters::default()))
    }

    /// Appends the record of the next transaction. It is in the file once [`Log::flush`] returned, and durable after a
    /// sync.
    ///
    /// # Errors
    /// `OutOfSpace` if there is no room for it; then it has left no trace, and a later or smaller one may fit.
    pub(crate) fn append<'a>(
        &mut self,
        txn: TxnId,
        mutations: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<()> {
        assert_eq!(txn, self.written_through.next(), "the log holds every transaction once, in order");
        let mut writer = RecordWriter::new(std::mem::take(&mut self.scratch));
        for (key, value) in mutations {
            writer.mutation(key, value);
        }
        let size = writer.size();
        let is_full = self.current.tail() + size > self.options.segment_bytes;
        // A sync that is under way can't be waited for here. The segment outgrows its size until that is over.
        if is_full && !self.current.is_empty() {
            if self.sync_under_way {
                self.overfull = true;
            } else {
                self.rotate()?;
            }
        }
        let segment = &mut self.current;
        let place = RecordPlace {
            database: segment.header().database,
            segment: segment.header().segment,
            offset: segment.tail(),
        };
        let (record, link) = writer.finish(txn, self.durable_through, place, segment.link());
        if size > self.options.chunk_bytes {
            segment.write_large(&record, link)?;
        } else {
            segment.gather(&record, link, self.options)?;
            self.scratch = record;
        }
        self.written_through = txn;
        self.counters.appended_bytes += size;
        Ok(())
    }

    /// Writes what has gathered, so that it is there to be read, and no longer lost if the process dies.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.current.flush()
    }

    /// Begins to make everything durable. None if it is already. [`Log::finish_sync`] must follow before any other sync
    /// and before [`Log::rotate`]; appending goes on meanwhile.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<SyncRequest>> {
        if self.overfull {
            // Even if there is no room for another segment, this one is durable now.
            return match self.rotate() {
                Ok(_) | Err(Error::OutOfSpace { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        self.request_sync()
    }

    /// Takes note that a sync succeeded, so that everything up to `through` is durable.
    pub(crate) fn finish_sync(&mut self, through: TxnId) {
        assert!(self.sync_under_way, "a sync ends that began");
        assert!(through <= self.written_through, "only what was written is durable");
        self.sync_under_way = false;
        self.durable_through = self.durable_through.max(through);
        self.counters.sync_count += 1;
    }

    /// Makes every appended record durable. Does nothing if they all are.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let request = self.begin_sync()?;
        self.complete(request)
    }

    /// Makes everything durable and goes on in a new segment. Returns that segment's id.
    ///
    /// # Errors
    /// `OutOfSpace` if there is no room for another segment; then the log goes on in the current one.
    pub(crate) fn rotate(&mut self) -> Result<SegmentId> {
        let request = self.request_sync()?;
        self.complete(request)?;
        let current = self.current.header();
        let header = SegmentHeader {
            database: current.database,
            segment: current.segment.next(),
            first: self.written_through.next(),
            previous: self.current.link(),
        };
        let begun = begin_segment(&*self.vfs, &self.directory, self.options, header)?;
        self.counters.count(&begun);
        self.current = Segment::new(begun);
        self.overfull = false;
        Ok(header.segment)
    }

    /// The last transaction that was appended.
    pub(crate) fn written_through(&self) -> TxnId {
        self.written_through
    }

    /// The last transaction that is known to be durable.
    pub(crate) fn durable_through(&self) -> TxnId {
        self.durable_through
    }

    pub(crate) fn counters(&self) -> LogCounters {
        self.counters
    }

    fn request_sync(&mut self) -> Result<Option<SyncRequest>> {
        assert!(!self.sync_under_way, "one sync at a time");
        self.flush()?;
        if self.durable_through == self.written_through {
            return Ok(None);
        }
        self.sync_under_way = true;
        let (file, path) = self.current.shared();
        Ok(Some(SyncRequest { file, path, through: self.written_through }))
    }

    fn complete(&mut self, request: Option<SyncRequest>) -> Result<()> {
        if let Some(request) = request {
            request.run()?;
            self.finish_sync(request.through);
        }
        Ok(())
    }

    fn starting_with(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: LogOptions,
        current: Segment,
        counters: LogCounters,
    ) -> Log {
        let before = TxnId(current.header().first.0 - 1);
        Log {
            vfs,
            directory: directory.to_owned(),
            options,
            current,
            written_through: before,
            durable_through: before,
            sync_under_way: false,
            overfull: false,
            scratch: Vec::new(),
            counters,
        }
    }
}

impl LogCounters {
    fn count(&mut self, begun: &Begun) {
        if begun.is_recycled {
            self.recycled_segment_count += 1;
        } else {
            self.created_segment_count += 1;
        }
    }
}

/// A failure after which it is unknown what the file holds, whatever its cause: never [`Error::OutOfSpace`], which
/// promises that nothing has changed.
fn in_doubt(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation, path: path.to_owned(), source }
}
