//! One segment, open for appending: where its records are and where its room ends.
//!
//! From its start, the file holds written records, then room: zeros, or what an earlier life of the file has left
//! over. The room's blocks are allocated, or soon will be. Gathered records are in memory only, but their room is in the
//! file already. Writing into room can't fail for want of space, and needs no change of the file's size, which makes the
//! sync cheaper.

use std::path::Path;

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::files::{Begun, segment_path};
use super::{LogOptions, in_doubt};
use crate::error::{Error, Result};
use crate::format::{RECORD_HEADER, SEGMENT_HEADER, SegmentHeader};
use crate::sync::Arc;

/// Room is written in pieces of this size at most.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Room ends at a multiple of this many bytes where it can, so that no block is allocated in part.
pub(super) const BLOCK_BYTES: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Segment {
    header: SegmentHeader,
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
    pub(super) fn new(begun: Begun) -> Segment {
        let Begun { header, file, path, size, .. } = begun;
        Segment {
            header,
            path: path.into(),
            file: file.into(),
            pending: Vec::new(),
            tail: SEGMENT_HEADER as u64,
            reserved: size,
            link: header.link(),
        }
    }

    /// Opens a segment without records.
    pub(super) fn open(vfs: &dyn Vfs, directory: &Path, header: SegmentHeader) -> Result<Segment> {
        let path = segment_path(directory, header.segment);
        let file = vfs.open(&path, OpenMode::ReadWrite).map_err(|source| Error::io("open", &path, source))?;
        let size = file.size().map_err(|source| Error::io("measure", &path, source))?;
        Ok(Segment::new(Begun { header, file, path, size, is_recycled: true }))
    }

    pub(super) fn header(&self) -> SegmentHeader {
        self.header
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

    /// Writes a record that is too large to have its room written twice. Its header is written last, into room: without
    /// it none of the record can be read, not even after another record's header took its place, because a header says
    /// the checksum of what follows. Then there is nothing left that could fail for want of space.
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
        let ahead = end.next_multiple_of(options.chunk_bytes).min(options.segment_limit()).max(end);
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
