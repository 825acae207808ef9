//! One segment, open for appending: where its records are and where its room ends.
//!
//! From its start, the file holds written records, then room (zeros, whose blocks are allocated, or soon will be), and
//! behind its end nothing. Gathered records are in memory only, but their room is in the file already. Writing into
//! room can't fail for want of space, and needs no change of the file's size, which makes the sync cheaper.

use std::path::{Path, PathBuf};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::{LogOptions, in_doubt};
use crate::error::{Error, Result};
use crate::format::{RECORD_HEADER, SEGMENT_HEADER, SegmentHeader};
use crate::ids::SegmentId;
use crate::sync::Arc;

/// Room is written in pieces of this size at most.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Room ends at a multiple of this many bytes where it can, so that no block is allocated in part.
const BLOCK_BYTES: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Segment {
    id: SegmentId,
    path: Arc<Path>,
    file: Arc<dyn VfsFile>,
    /// Records that are not written yet. They end at `tail`.
    pending: Vec<u8>,
    /// Where the next record goes.
    tail: u64,
    /// Where the room ends.
    reserved: u64,
    /// What the next record repeats of the one before it.
    link: u64,
}

impl Segment {
    /// A segment of which only the header is written.
    pub(super) fn empty(header: SegmentHeader, path: PathBuf, file: Box<dyn VfsFile>) -> Segment {
        Segment {
            id: header.segment,
            path: path.into(),
            file: file.into(),
            pending: Vec::new(),
            tail: SEGMENT_HEADER as u64,
            reserved: SEGMENT_HEADER as u64,
            link: header.link(),
        }
    }

    pub(super) fn id(&self) -> SegmentId {
        self.id
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    pub(super) fn link(&self) -> u64 {
        self.link
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail == SEGMENT_HEADER as u64
    }

    pub(super) fn shared(&self) -> (Arc<dyn VfsFile>, Arc<Path>) {
        (Arc::clone(&self.file), Arc::clone(&self.path))
    }

    /// Takes a record, sealed for `tail`, in memory, once there is room for it in the file.
    pub(super) fn gather(&mut self, record: &[u8], link: u64, options: LogOptions) -> Result<()> {
        self.reserve(self.tail + record.len() as u64, options)?;
        if (self.pending.len() + record.len()) as u64 > options.chunk_bytes {
            self.flush()?;
        }
        self.pending.extend_from_slice(record);
        self.advance(record, link);
        Ok(())
    }

    /// Writes a record that is too large to have its room written twice. Its header is written last: without it, none
    /// of the record can be read, and there is nothing left then that could fail for want of space.
    pub(super) fn write_large(&mut self, record: &[u8], link: u64) -> Result<()> {
        self.flush()?;
        let (header, body) = record.split_at(RECORD_HEADER);
        let body_at = self.tail + RECORD_HEADER as u64;
        self.extend(body_at)?;
        if let Err(source) = self.file.write_all_at(body, body_at) {
            let error = Error::io("append to", &self.path, source);
            // What fitted is given back.
            self.file.set_size(self.tail).map_err(|source| in_doubt("cut", &self.path, source))?;
            self.reserved = self.tail;
            return Err(error);
        }
        self.file
            .write_all_at(header, self.tail)
            .map_err(|source| in_doubt("append to", &self.path, source))?;
        self.reserved = self.reserved.max(self.tail + record.len() as u64);
        self.advance(record, link);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.file
                .write_all_at(&self.pending, self.tail - self.pending.len() as u64)
                .map_err(|source| in_doubt("append to", &self.path, source))?;
            self.pending.clear();
        }
        Ok(())
    }

    fn advance(&mut self, record: &[u8], link: u64) {
        self.tail += record.len() as u64;
        self.link = link;
    }

    /// Makes room up to `end`, and a chunk more if it can be had within the segment's size.
    fn reserve(&mut self, end: u64, options: LogOptions) -> Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let limit = options.segment_bytes.next_multiple_of(BLOCK_BYTES);
        let ahead = end.next_multiple_of(options.chunk_bytes).min(limit).max(end);
        match self.extend(ahead) {
            Err(Error::OutOfSpace { .. }) => self.extend(end),
            outcome => outcome,
        }
    }

    /// Writes zeros from where the room ends up to `end`.
    fn extend(&mut self, end: u64) -> Result<()> {
        while self.reserved < end {
            let count = (end - self.reserved).min(ZEROS.len() as u64);
            self.file
                .write_all_at(&ZEROS[..count as usize], self.reserved)
                .map_err(|source| Error::io("extend", &self.path, source))?;
            self.reserved += count;
        }
        Ok(())
    }
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
    file.sync_data().map_err(|source| in_doubt("sync", &path, source))?;
    vfs.sync_directory(directory).map_err(|source| in_doubt("sync", directory, source))?;
    Ok(Segment::empty(header, path, file))
}
