//! Reading the log back.
//!
//! What ends a log is either a write that the power loss cut short, which is legal and is abandoned, or damage to
//! something that was durable, which is [`Error::Corruption`]. Leftovers of a segment's earlier life look like either,
//! so that a segment ends at its first *break*: the first place where no whole record is that follows the one before
//! it. Then, in this order:
//!
//! 1. A later record header of the same segment that says that the missing transaction was durable: damage.
//! 2. The next segment's header says that it goes on exactly here: so does the log.
//! 3. Any later segment that holds a record header of its own: damage, because a segment is written to only when all
//!    before it is durable.
//! 4. Otherwise the log ends.

use std::path::Path;

use proofmark_vfs::Vfs;

use super::files::{list_segments, segment_path};
use super::reader::{SegmentReader, Step};
use crate::error::{Error, Result};
use crate::format::{Damage, FORMAT_VERSION, HeaderError, Meta, Mutations, SegmentHeader, max_key_bytes};
use crate::ids::{SegmentId, TxnId};

/// What replaying a log found.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The last transaction that is there; the checkpoint's if the log is empty.
    pub(crate) latest: TxnId,
    /// Transactions that were replayed.
    pub(crate) replayed: u64,
    /// The header of a new segment that goes on here. Its id is higher than that of any segment in the directory.
    pub(crate) next: SegmentHeader,
    /// Segments from before the log's start that are still there, in order.
    pub(crate) stale: Vec<SegmentId>,
    /// The log consists of nothing but this header, and can be appended to.
    pub(crate) empty: Option<SegmentHeader>,
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
    let mut chain = Chain { meta, latest: meta.checkpoint, replayed: 0, next: Some(log_start), link: None };
    let mut empty = None;
    for segment in &segments {
        let mut reader = SegmentReader::open(vfs, directory, *segment)?;
        match chain.continues_in(&reader, *segment)? {
            Ok(header) => {
                chain.segment(&mut reader, &mut apply)?;
                let is_alone = segments.len() == 1 && chain.replayed == 0;
                let is_unused =
                    is_alone && reader.is_unused()? && !reader.holds_header(meta.database, 0, |_| true)?;
                empty = is_unused.then_some(header);
            }
            Err(damage) => {
                chain.next = None;
                if *segment == log_start || reader.holds_header(meta.database, 0, |_| true)? {
                    return Err(reader.corruption(0, damage));
                }
            }
        }
    }
    let next = SegmentHeader {
        database: meta.database,
        segment: last_segment.next(),
        first: chain.latest.next(),
        previous: chain.link.unwrap_or_default(),
    };
    let stale = all.into_iter().filter(|segment| *segment < log_start).collect();
    Ok(Replay { latest: chain.latest, replayed: chain.replayed, next, stale, empty })
}

/// How far the log was followed.
struct Chain<'a> {
    meta: &'a Meta,
    latest: TxnId,
    replayed: u64,
    /// The segment in which the log may go on; none once it has ended.
    next: Option<SegmentId>,
    /// The link of the last record or segment header; none before the first.
    link: Option<u64>,
}

impl Chain<'_> {
    /// Whether the log goes on in this segment, and if not, what is wrong with it.
    ///
    /// # Errors
    /// `Corruption` or `UnsupportedFormat` if its header is one that no crash can leave.
    fn continues_in(
        &self,
        reader: &SegmentReader,
        segment: SegmentId,
    ) -> Result<Result<SegmentHeader, Damage>> {
        let header = match reader.header() {
            Ok(header) => header,
            Err(HeaderError::Damaged(damage)) => return Ok(Err(damage)),
            Err(HeaderError::Version(found)) => {
                let path = reader.path().to_owned();
                return Err(Error::UnsupportedFormat { path, found, supported: FORMAT_VERSION });
            }
        };
        if header.database != self.meta.database {
            return Err(reader.corruption(0, Damage("the segment belongs to another database")));
        }
        if header.segment != segment {
            // A spare that was taken keeps its old header until the new one is durable. It was retired by then.
            let damage = Damage("the segment bears another segment's number");
            return if header.segment < self.meta.log_start {
                Ok(Err(damage))
            } else {
                Err(reader.corruption(0, damage))
            };
        }
        Ok(if self.next != Some(segment) {
            Err(Damage("records before this segment are missing, although they were durable"))
        } else if header.first != self.latest.next() {
            Err(Damage("the segment starts with another transaction"))
        } else if self.link.is_some_and(|link| header.previous != link) {
            Err(Damage("the segment doesn't follow the record before it"))
        } else {
            Ok(header)
        })
    }

    /// Replays a segment up to its break.
    fn segment(
        &mut self,
        reader: &mut SegmentReader,
        apply: &mut impl FnMut(TxnId, Mutations<'_>),
    ) -> Result<()> {
        let longest_key = max_key_bytes(self.meta.page_size as usize);
        loop {
            let (offset, wrong) = match reader.step()? {
                Step::Record { offset, header, mutations } => {
                    if header.txn != self.latest.next() {
                        (offset, "a record's transaction doesn't follow the one before it")
                    } else if header.operation_count == 0 {
                        (offset, "a record holds no mutations")
                    } else if mutations.clone().flatten().any(|(key, _)| key.len() > longest_key) {
                        (offset, "a record holds a key that is longer than any can be")
                    } else {
                        apply(header.txn, mutations);
                        self.latest = header.txn;
                        self.replayed += 1;
                        continue;
                    }
                }
                Step::Break(damage) => {
                    if reader.proves_durable(self.meta.database, self.latest.next())? {
                        return Err(reader.corruption(reader.offset(), damage));
                    }
                    self.next = self.next.map(SegmentId::next);
                    self.link = Some(reader.link());
                    return Ok(());
                }
            };
            return Err(reader.corruption(offset, Damage(wrong)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proofmark_vfs::RealVfs;

    use super::*;
    use crate::format::{RecordPlace, RecordWriter, SEGMENT_START};
    use crate::ids::{DatabaseId, Generation};

    /// Replays a log of one record, and returns how many transactions that is.
    fn replay_record(keys: &[&[u8]]) -> Result<u64> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (database, segment) = (DatabaseId(7), SegmentId(1));
        let header = SegmentHeader { database, segment, first: TxnId(1), previous: 0 };
        let mut writer = RecordWriter::new(Vec::new());
        keys.iter().for_each(|key| writer.mutation(key, None));
        let mut bytes = header.encode().to_vec();
        let place = RecordPlace { database, segment, offset: bytes.len() as u64 };
        bytes.extend(writer.finish(TxnId(1), TxnId(0), place, header.link()).0);
        bytes.resize(bytes.len().max(SEGMENT_START), 0);
        std::fs::write(segment_path(directory.path(), segment), bytes).expect("the file is written");
        let meta = Meta {
            database,
            page_size: 4096,
            generation: Generation(0),
            page_count: 2,
            root: None,
            free_list: None,
            log_start: segment,
            checkpoint: TxnId(0),
            oldest: TxnId(0),
        };
        replay(&RealVfs, directory.path(), &meta, |_, _| {}).map(|replay| replay.replayed)
    }

    #[test]
    fn records_that_no_commit_writes() {
        assert_eq!(replay_record(&[b"key"]).expect("the log is whole"), 1);
        for keys in [&[] as &[&[u8]], &[&[b'k'; 1025]]] {
            assert!(matches!(replay_record(keys), Err(Error::Corruption { .. })), "{keys:?}");
        }
    }
}
