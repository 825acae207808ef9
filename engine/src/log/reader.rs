//! Reading one segment, through a buffer of bounded size.
//!
//! No length is trusted before it was compared with the size of the file, and nothing larger than the buffer is in
//! memory at once but a record that is.

use std::path::{Path, PathBuf};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::files::segment_path;
use crate::error::{Error, Result};
use crate::format::{
    Damage, HeaderError, Mutations, RECORD_ALIGNMENT, RECORD_HEADER, RecordHeader, RecordPlace,
    SEGMENT_HEADER, SEGMENT_START, SegmentHeader, starts_header,
};
use crate::ids::{DatabaseId, SegmentId, TxnId};

/// So many bytes are read at a time.
const BUFFER_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct SegmentReader {
    /// By its name.
    segment: SegmentId,
    path: PathBuf,
    bytes: Window,
    header: Result<SegmentHeader, HeaderError>,
    /// Where the next record must start.
    offset: u64,
    /// What it must repeat of the one before it.
    link: u64,
}

/// What is found where a record should be.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Record {
        offset: u64,
        header: RecordHeader,
        mutations: Mutations<'a>,
    },
    /// No whole record that follows the one before it.
    Break(Damage),
}

/// The part of a file that is in memory.
#[derive(Debug)]
struct Window {
    file: Box<dyn VfsFile>,
    size: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl SegmentReader {
    pub(crate) fn open(vfs: &dyn Vfs, directory: &Path, segment: SegmentId) -> Result<SegmentReader> {
        SegmentReader::open_file(vfs, segment_path(directory, segment), segment)
    }

    /// Opens a file that may hold `segment`, whatever its name.
    pub(crate) fn open_file(vfs: &dyn Vfs, path: PathBuf, segment: SegmentId) -> Result<SegmentReader> {
        let file = vfs.open(&path, OpenMode::Read).map_err(|source| Error::io("open", &path, source))?;
        let size = file.size().map_err(|source| Error::io("measure", &path, source))?;
        let mut bytes = Window { file, size, start: 0, buffer: Vec::new() };
        let start = bytes.get(&path, 0, size.min(SEGMENT_HEADER as u64))?;
        let header = SegmentHeader::decode(start);
        let link = header.map_or(0, SegmentHeader::link);
        Ok(SegmentReader { segment, path, bytes, header, offset: SEGMENT_HEADER as u64, link })
    }

    pub(crate) fn header(&self) -> Result<SegmentHeader, HeaderError> {
        self.header
    }

    /// The size of the file.
    pub(crate) fn size(&self) -> u64 {
        self.bytes.size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next record must start: at the break, once there was one.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The link of the last record, or of the header.
    pub(crate) fn link(&self) -> u64 {
        self.link
    }

    /// The next record of the chain.
    pub(crate) fn step(&mut self) -> Result<Step<'_>> {
        let SegmentReader { path, bytes, header: Ok(segment), .. } = self else {
            return Ok(Step::Break(Damage("the segment has no header")));
        };
        let offset = self.offset;
        let place = RecordPlace { database: segment.database, segment: segment.segment, offset };
        let Some(room) = bytes.size.checked_sub(offset + RECORD_HEADER as u64) else {
            return Ok(Step::Break(Damage("a record's header is cut off")));
        };
        let header = match RecordHeader::decode(bytes.get(path, offset, RECORD_HEADER as u64)?, place) {
            Ok(header) => header,
            Err(damage) => return Ok(Step::Break(damage)),
        };
        if header.previous != self.link {
            return Ok(Step::Break(Damage("a record doesn't follow the record before it")));
        }
        if header.payload_bytes > room {
            return Ok(Step::Break(Damage("a record is cut off")));
        }
        let payload = bytes.get(path, offset + RECORD_HEADER as u64, header.payload_bytes)?;
        match header.mutations(payload) {
            Err(damage) => Ok(Step::Break(damage)),
            Ok(mutations) => {
                let end = offset + RECORD_HEADER as u64 + header.payload_bytes;
                self.offset = end.next_multiple_of(RECORD_ALIGNMENT as u64);
                self.link = header.link;
                Ok(Step::Record { offset, header, mutations })
            }
        }
    }

    /// Whether a whole record header of this segment, of which `counts` is true, lies at or after `from`.
    pub(crate) fn holds_header(
        &mut self,
        database: DatabaseId,
        from: u64,
        mut counts: impl FnMut(&RecordHeader) -> bool,
    ) -> Result<bool> {
        let segment = self.segment;
        self.scan(from, |bytes, offset| {
            RecordHeader::decode(bytes, RecordPlace { database, segment, offset })
                .is_ok_and(|header| counts(&header))
        })
    }

    /// Calls `found` with the bytes from each place on at which a record header may start, until it returns true.
    pub(crate) fn scan(&mut self, from: u64, mut found: impl FnMut(&[u8], u64) -> bool) -> Result<bool> {
        let mut offset = from.next_multiple_of(RECORD_ALIGNMENT as u64);
        while offset + RECORD_HEADER as u64 <= self.bytes.size {
            let count = (self.bytes.size - offset).min(BUFFER_BYTES as u64);
            let bytes = self.bytes.get(&self.path, offset, count)?;
            let places = (bytes.len() - RECORD_HEADER) / RECORD_ALIGNMENT + 1;
            let (starts, _) = bytes.as_chunks::<RECORD_ALIGNMENT>();
            for (place, start) in starts.iter().take(places).enumerate() {
                let at = place * RECORD_ALIGNMENT;
                if starts_header(start) && found(&bytes[at..], offset + at as u64) {
                    return Ok(true);
                }
            }
            offset += (places * RECORD_ALIGNMENT) as u64;
        }
        Ok(false)
    }

    /// Whether the place of the first record's header holds what it held before any record was written.
    pub(crate) fn is_unused(&mut self) -> Result<bool> {
        if self.bytes.size < SEGMENT_START as u64 {
            return Ok(false);
        }
        let place = self.bytes.get(&self.path, SEGMENT_HEADER as u64, RECORD_HEADER as u64)?;
        Ok(place.iter().all(|byte| *byte == 0))
    }

    /// Reports damage if records may be there, although nobody says to which database they belong.
    pub(crate) fn refuse_records(&mut self) -> Result<()> {
        let holds_records = match self.header {
            Ok(header) => self.holds_header(header.database, 0, |_| true)?,
            Err(_) => self.scan(SEGMENT_HEADER as u64, |_, _| true)?,
        };
        if holds_records {
            let damage = Damage("the log holds transactions, but the data file is missing");
            return Err(self.corruption(0, damage));
        }
        Ok(())
    }

    pub(crate) fn corruption(&self, offset: u64, damage: Damage) -> Error {
        Error::corruption(&self.path, offset, damage)
    }

    /// Whether a record at or after the break says that `txn` was durable when it was written.
    pub(crate) fn proves_durable(&mut self, database: DatabaseId, txn: TxnId) -> Result<bool> {
        self.holds_header(database, self.offset, |header| header.durable_through >= txn)
    }
}

impl Window {
    /// The bytes at `offset`, which lie inside the file.
    fn get(&mut self, path: &Path, offset: u64, count: u64) -> Result<&[u8]> {
        assert!(offset + count <= self.size);
        let too_large = |_| Error::corruption(path, offset, Damage("a record is larger than memory"));
        let wanted = usize::try_from(count).map_err(|_| too_large(()))?;
        let is_there = offset >= self.start && offset + count <= self.start + self.buffer.len() as u64;
        if !is_there {
            let ahead = (self.size - offset).min(BUFFER_BYTES as u64) as usize;
            let length = wanted.max(ahead);
            if self.buffer.capacity() > length.max(BUFFER_BYTES) {
                self.buffer = Vec::new();
            }
            self.buffer.clear();
            self.buffer.try_reserve_exact(length).map_err(|_| too_large(()))?;
            self.buffer.resize(length, 0);
            self.start = offset;
            self.file
                .read_exact_at(&mut self.buffer, offset)
                .map_err(|source| Error::io("read", path, source))?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..from + wanted])
    }
}
