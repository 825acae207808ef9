//! The commit log: the only durability point.
//!
//! A log is a sequence of segments, each a file of its own. A commit appends one record and, unless it is buffered,
//! syncs once. Invariants:
//!
//! - A segment's header, and its name in the directory, are durable before its first record is written.
//! - All records of a segment are durable before the first record of the next one is written. A whole record in a later
//!   segment therefore proves that nothing may be missing before it.
//! - Nothing is ever appended after bytes that [`replay`] did not accept. Recovery starts a new segment instead, so that
//!   an abandoned tail can't come back.
//! - A segment is removed only after a meta page that doesn't need it is durable.

mod replay;

use std::path::{Path, PathBuf};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use crate::error::{Error, Result};
use crate::format::{RecordWriter, SEGMENT_HEADER, SegmentHeader};
use crate::ids::{SegmentId, TxnId};
use crate::sync::Arc;

pub(crate) use replay::{list_segments, read_segment, replay};

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    segment_bytes: u64,
    current: Segment,
    written_through: TxnId,
    durable_through: TxnId,
}

#[derive(Debug)]
pub(crate) struct Segment {
    id: SegmentId,
    path: PathBuf,
    file: Box<dyn VfsFile>,
    /// Where the next record goes.
    offset: u64,
    /// What the next record repeats of the one before it.
    link: u64,
}

impl Log {
    /// Starts a log with a new segment, in which `first` will be the first transaction. Everything before it is
    /// durable elsewhere.
    pub(crate) fn create(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        segment_bytes: u64,
        segment: SegmentId,
        first: TxnId,
    ) -> Result<Log> {
        let current = create_segment(&*vfs, directory, SegmentHeader { segment, first })?;
        Ok(Log::starting_with(vfs, directory, segment_bytes, current, first))
    }

    /// Goes on in a segment that holds a durable header and nothing else.
    pub(crate) fn resume(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        segment_bytes: u64,
        header: SegmentHeader,
    ) -> Result<Log> {
        let path = segment_path(directory, header.segment);
        let file = vfs.open(&path, OpenMode::ReadWrite).map_err(|source| Error::io("open", &path, source))?;
        let current = Segment::empty(header, path, file);
        Ok(Log::starting_with(vfs, directory, segment_bytes, current, header.first))
    }

    /// Appends the record of the next transaction. It is durable once [`Log::sync`] returned.
    pub(crate) fn append<'a>(
        &mut self,
        txn: TxnId,
        mutations: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<()> {
        assert_eq!(txn, self.written_through.next(), "the log holds every transaction once, in order");
        let mut writer = RecordWriter::new();
        for (key, value) in mutations {
            writer.mutation(key, value);
        }
        let is_full = self.current.offset + writer.size() > self.segment_bytes;
        if is_full && self.current.offset > SEGMENT_HEADER as u64 {
            self.rotate()?;
        }
        let segment = &mut self.current;
        let (record, link) =
            writer.finish(txn, self.durable_through, segment.id, segment.offset, segment.link);
        segment
            .file
            .write_all_at(&record, segment.offset)
            .map_err(|source| Error::io("append to", &segment.path, source))?;
        segment.offset += record.len() as u64;
        segment.link = link;
        self.written_through = txn;
        Ok(())
    }

    /// Makes every appended record durable. Does nothing if they all are.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.durable_through == self.written_through {
            return Ok(());
        }
        self.current.file.sync_data().map_err(|source| Error::io("sync", &self.current.path, source))?;
        self.durable_through = self.written_through;
        Ok(())
    }

    /// Makes everything durable and goes on in a new segment. Returns that segment's id.
    pub(crate) fn rotate(&mut self) -> Result<SegmentId> {
        self.sync()?;
        let header = SegmentHeader { segment: self.current.id.next(), first: self.written_through.next() };
        self.current = create_segment(&*self.vfs, &self.directory, header)?;
        Ok(header.segment)
    }

    fn starting_with(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        segment_bytes: u64,
        current: Segment,
        first: TxnId,
    ) -> Log {
        let before = TxnId(first.0 - 1);
        Log {
            vfs,
            directory: directory.to_owned(),
            segment_bytes,
            current,
            written_through: before,
            durable_through: before,
        }
    }
}

impl Segment {
    fn empty(header: SegmentHeader, path: PathBuf, file: Box<dyn VfsFile>) -> Segment {
        Segment { id: header.segment, path, file, offset: SEGMENT_HEADER as u64, link: header.link() }
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

pub(crate) fn segment_path(directory: &Path, segment: SegmentId) -> PathBuf {
    directory.join(format!("log-{:016x}", segment.0))
}

/// Creates a segment: when this returns, its header and its name are durable.
pub(crate) fn create_segment(vfs: &dyn Vfs, directory: &Path, header: SegmentHeader) -> Result<Segment> {
    let path = segment_path(directory, header.segment);
    let file =
        vfs.open(&path, OpenMode::CreateTruncate).map_err(|source| Error::io("create", &path, source))?;
    file.write_all_at(&header.encode(), 0).map_err(|source| Error::io("write", &path, source))?;
    file.sync_data().map_err(|source| Error::io("sync", &path, source))?;
    vfs.sync_directory(directory).map_err(|source| Error::io("sync", directory, source))?;
    Ok(Segment::empty(header, path, file))
}
