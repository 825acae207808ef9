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

mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use crate::error::{Error, Result};
use crate::format::{RecordWriter, SegmentHeader};
use crate::ids::{SegmentId, TxnId};
use crate::sync::Arc;

pub(crate) use replay::{list_segments, read_segment, replay};
use segment::Segment;
pub(crate) use segment::{create_segment, segment_path};

/// The sizes by which a log goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    /// The size of a segment after which the log goes on in the next one.
    pub(crate) segment_bytes: u64,
    /// How much room a segment gets at a time, and how many bytes of records gather before they are written.
    pub(crate) chunk_bytes: u64,
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
    /// Starts a log with a new segment, in which `first` will be the first transaction. Everything before it is
    /// durable elsewhere.
    pub(crate) fn create(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: LogOptions,
        segment: SegmentId,
        first: TxnId,
    ) -> Result<Log> {
        let current = create_segment(&*vfs, directory, SegmentHeader { segment, first })?;
        let mut log = Log::starting_with(vfs, directory, options, current, first);
        log.counters.created_segment_count = 1;
        Ok(log)
    }

    /// Goes on in a segment that holds a durable header and nothing else.
    pub(crate) fn resume(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: LogOptions,
        header: SegmentHeader,
    ) -> Result<Log> {
        let path = segment_path(directory, header.segment);
        let file = vfs.open(&path, OpenMode::ReadWrite).map_err(|source| Error::io("open", &path, source))?;
        let current = Segment::empty(header, path, file);
        Ok(Log::starting_with(vfs, directory, options, current, header.first))
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
        let (record, link) =
            writer.finish(txn, self.durable_through, segment.id(), segment.tail(), segment.link());
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
        let header = SegmentHeader { segment: self.current.id().next(), first: self.written_through.next() };
        self.current = create_segment(&*self.vfs, &self.directory, header)?;
        self.overfull = false;
        self.counters.created_segment_count += 1;
        Ok(header.segment)
    }

    /// The last transaction that was appended.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the commit pipeline"))]
    pub(crate) fn written_through(&self) -> TxnId {
        self.written_through
    }

    /// The last transaction that is known to be durable.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the commit pipeline"))]
    pub(crate) fn durable_through(&self) -> TxnId {
        self.durable_through
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "for the commit pipeline"))]
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
        first: TxnId,
    ) -> Log {
        let before = TxnId(first.0 - 1);
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
            counters: LogCounters::default(),
        }
    }
}

/// Removes every segment before `log_start`. Their removal need not be durable: they are ignored if they come back.
pub(crate) fn retire(vfs: &dyn Vfs, directory: &Path, log_start: SegmentId) -> Result<()> {
    for segment in list_segments(vfs, directory)? {
        if segment < log_start {
            let path = segment_path(directory, segment);
            vfs.remove(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
    }
    Ok(())
}

/// A failure after which it is unknown what the file holds, whatever its cause: never [`Error::OutOfSpace`], which
/// promises that nothing has changed.
fn in_doubt(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation, path: path.to_owned(), source }
}
