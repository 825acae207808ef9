//! Reading the log back.
//!
//! What ends a log is either a write that the power loss cut short, which is legal and is abandoned, or damage to
//! something that was durable, which is [`Error::Corruption`]. The rule that tells them apart: a break is damage if any
//! whole record after it proves that the broken one was durable. A later record in the same segment proves it by the
//! transaction through which it says the log was durable; a later segment proves it by holding any record at all.

use std::path::Path;

use proofmark_vfs::{OpenMode, Vfs};

use super::segment_path;
use crate::error::{Error, Result};
use crate::format::{
    Damage, FORMAT_VERSION, HeaderError, Meta, Mutations, Parsed, SEGMENT_HEADER, SegmentHeader,
    durable_header_after, holds_record, max_key_bytes, parse_record,
};
use crate::ids::{SegmentId, TxnId};

/// What replaying a log found.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The last transaction that is there; the checkpoint's if the log is empty.
    pub(crate) latest: TxnId,
    /// Transactions that were replayed.
    pub(crate) replayed: u64,
    /// The last segment in the directory, used or not.
    pub(crate) last_segment: SegmentId,
    /// Segments from before the log's start are still there.
    pub(crate) has_stale_segments: bool,
    /// The log consists of nothing but this header, and can be appended to.
    pub(crate) empty: Option<SegmentHeader>,
}

/// How a segment ends.
enum End {
    /// With its last record.
    Clean,
    /// With bytes that are no record, or without a valid header.
    Broken,
}

/// Replays the log that goes with `meta`. Calls `apply` with each transaction in order.
pub(crate) fn replay(
    vfs: &dyn Vfs,
    directory: &Path,
    meta: &Meta,
    mut apply: impl FnMut(TxnId, Mutations<'_>),
) -> Result<Replay> {
    let log_start = meta.log_start;
    let all = list_segments(vfs, directory)?;
    let segments: Vec<SegmentId> = all.iter().copied().filter(|segment| *segment >= log_start).collect();
    let (Some(last_segment), true) = (segments.last().copied(), segments.first() == Some(&log_start)) else {
        let reason = "the segment with which the log starts is missing";
        return Err(Error::corruption(&segment_path(directory, log_start), 0, Damage(reason)));
    };
    if last_segment.0 >= u64::MAX / 2 {
        let reason = "a segment's number is impossibly large";
        return Err(Error::corruption(&segment_path(directory, last_segment), 0, Damage(reason)));
    }
    let mut state = Reader { directory, meta, latest: meta.checkpoint, replayed: 0, empty: None };
    let mut has_ended = false;
    for (index, segment) in segments.iter().enumerate() {
        let bytes = read_segment(vfs, directory, *segment)?;
        let is_next = segment.0 == log_start.0 + index as u64;
        if has_ended || !is_next {
            has_ended = true;
            if holds_record(&bytes, *segment) {
                let reason = "records before this segment are missing, although they were durable";
                return Err(Error::corruption(&segment_path(directory, *segment), 0, Damage(reason)));
            }
            continue;
        }
        has_ended = matches!(state.segment(*segment, &bytes, index == 0, &mut apply)?, End::Broken);
    }
    Ok(Replay {
        latest: state.latest,
        replayed: state.replayed,
        last_segment,
        has_stale_segments: all.len() > segments.len(),
        empty: if segments.len() == 1 && !has_ended { state.empty } else { None },
    })
}

/// The segments in the directory, in order.
pub(crate) fn list_segments(vfs: &dyn Vfs, directory: &Path) -> Result<Vec<SegmentId>> {
    let names = vfs.list(directory).map_err(|source| Error::io("list", directory, source))?;
    let parse = |name: &Path| {
        let digits = name.to_str()?.strip_prefix("log-")?;
        let id = SegmentId(u64::from_str_radix(digits, 16).ok()?);
        (segment_path(Path::new(""), id) == name).then_some(id)
    };
    let mut segments: Vec<SegmentId> = names.iter().filter_map(|name| parse(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

struct Reader<'a> {
    directory: &'a Path,
    meta: &'a Meta,
    latest: TxnId,
    replayed: u64,
    empty: Option<SegmentHeader>,
}

impl Reader<'_> {
    fn segment(
        &mut self,
        segment: SegmentId,
        bytes: &[u8],
        is_first: bool,
        apply: &mut impl FnMut(TxnId, Mutations<'_>),
    ) -> Result<End> {
        let header = match SegmentHeader::decode(bytes, segment) {
            Ok(header) if header.first == self.latest.next() => header,
            Ok(_) => {
                return self.unusable(
                    segment,
                    bytes,
                    is_first,
                    Damage("the segment starts with another transaction"),
                );
            }
            Err(HeaderError::Damaged(damage)) => return self.unusable(segment, bytes, is_first, damage),
            Err(HeaderError::Version(found)) => {
                let path = segment_path(self.directory, segment);
                return Err(Error::UnsupportedFormat { path, found, supported: FORMAT_VERSION });
            }
        };
        let mut offset = SEGMENT_HEADER;
        let mut link = header.link();
        loop {
            match parse_record(bytes, offset, segment, link) {
                Parsed::End => {
                    self.empty = (self.replayed == 0).then_some(header);
                    return Ok(End::Clean);
                }
                Parsed::Broken(damage) => {
                    if durable_header_after(bytes, offset + 1, segment, self.latest.next()) {
                        return Err(self.corruption(segment, offset, damage));
                    }
                    return Ok(End::Broken);
                }
                Parsed::Record { txn, mutations, end, link: next_link } => {
                    if txn != self.latest.next() {
                        let damage = Damage("a record's transaction doesn't follow the one before it");
                        return Err(self.corruption(segment, offset, damage));
                    }
                    let longest = max_key_bytes(self.meta.page_size as usize);
                    if mutations.clone().flatten().any(|(key, _)| key.len() > longest) {
                        let damage = Damage("a record holds a key that is longer than any can be");
                        return Err(self.corruption(segment, offset, damage));
                    }
                    apply(txn, mutations);
                    self.latest = txn;
                    self.replayed += 1;
                    offset = end;
                    link = next_link;
                }
            }
        }
    }

    /// A segment without a proper header was never used, unless it is the first (a meta page names it, so its header
    /// was durable) or holds records.
    fn unusable(&self, segment: SegmentId, bytes: &[u8], is_first: bool, damage: Damage) -> Result<End> {
        if is_first || holds_record(bytes, segment) {
            return Err(self.corruption(segment, 0, damage));
        }
        Ok(End::Broken)
    }

    fn corruption(&self, segment: SegmentId, offset: usize, damage: Damage) -> Error {
        Error::corruption(&segment_path(self.directory, segment), offset as u64, damage)
    }
}

/// All bytes of a segment.
pub(crate) fn read_segment(vfs: &dyn Vfs, directory: &Path, segment: SegmentId) -> Result<Vec<u8>> {
    let path = segment_path(directory, segment);
    let file = vfs.open(&path, OpenMode::Read).map_err(|source| Error::io("open", &path, source))?;
    let size = file.size().map_err(|source| Error::io("measure", &path, source))?;
    let damage = || Error::corruption(&path, 0, Damage("the segment is larger than memory"));
    let size = usize::try_from(size).map_err(|_| damage())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| damage())?;
    bytes.resize(size, 0);
    file.read_exact_at(&mut bytes, 0).map_err(|source| Error::io("read", &path, source))?;
    Ok(bytes)
}
