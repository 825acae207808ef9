//! `scan_log`: what the files of the log hold, whether or not a database could be opened with them.
//!
//! Nothing is judged here. Which end of a log is a torn write and which is damage is for
//! [`replay`](crate::log::replay) to say.

use std::ops::ControlFlow;
use std::path::Path;

use proofmark_vfs::Vfs;

use crate::error::Result;
use crate::format::{HeaderError, RECORD_HEADER, RecordHeader, RecordPlace};
use crate::ids::{DatabaseId, SegmentId, TxnId};
use crate::log::{SegmentReader, Step, list_segments};

/// A change in a record of the log: a key, and its new value or none if it was deleted.
pub type LogOperation<'a> = (&'a [u8], Option<&'a [u8]>);

/// A thing that [`scan_log`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogItem<'a> {
    /// A segment. What is found until the next one lies in it.
    Segment {
        /// Which one, by the name of its file.
        segment: SegmentId,
        /// The size of its file.
        bytes: u64,
        /// What its header says: the database, and the transaction of the first record; or what is wrong with it.
        header: Result<(DatabaseId, TxnId), &'static str>,
    },
    /// A whole record, which follows the one before it.
    Record {
        /// Where it starts in its segment.
        offset: u64,
        /// Its bytes, without the padding after it.
        bytes: u64,
        /// The transaction.
        txn: TxnId,
        /// The log was known to be durable up to here when the record was written.
        durable_through: TxnId,
        /// What the transaction changed, by key.
        operations: Vec<LogOperation<'a>>,
    },
    /// The end of a segment's records.
    End {
        /// Where the next record would start.
        offset: u64,
        /// Why there is none.
        reason: &'static str,
    },
    /// A whole header of a record of this segment, beyond its end: something is missing or damaged between them, or its
    /// operations are.
    Stray {
        /// Where it starts in its segment.
        offset: u64,
        /// The transaction.
        txn: TxnId,
        /// The log was known to be durable up to here when the record was written.
        durable_through: TxnId,
    },
}

/// Goes through the log in a database directory, segment by segment, and shows everything in it to `visit`, until that
/// breaks. Neither the database's lock nor its other files are looked at, so that this works where nothing else does.
///
/// ```
/// # use proofmark_engine::{Database, LogItem, Options, scan_log};
/// # use std::ops::ControlFlow;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let database = Database::open(directory.path(), &Options::new())?;
/// # let mut write = database.begin_write()?;
/// # write.put(b"apple", b"red")?;
/// # write.commit()?;
/// let mut transactions = Vec::new();
/// scan_log(&proofmark_vfs::RealVfs, directory.path(), &mut |item| {
///     if let LogItem::Record { txn, .. } = item {
///         transactions.push(txn.0);
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(transactions, [1]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Io` if the directory can't be listed or a file not be read.
pub fn scan_log(
    vfs: &dyn Vfs,
    directory: &Path,
    visit: &mut dyn FnMut(LogItem<'_>) -> ControlFlow<()>,
) -> Result<()> {
    for segment in list_segments(vfs, directory)? {
        let mut reader = SegmentReader::open(vfs, directory, segment)?;
        if scan_segment(&mut reader, segment, visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn scan_segment(
    reader: &mut SegmentReader,
    segment: SegmentId,
    visit: &mut dyn FnMut(LogItem<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let (header, database) = match reader.header() {
        Ok(header) if header.segment == segment => {
            (Ok((header.database, header.first)), Some(header.database))
        }
        Ok(_) => (Err("the header bears another segment's number"), None),
        Err(HeaderError::Damaged(damage)) => (Err(damage.0), None),
        Err(HeaderError::Version(_)) => (Err("the segment has another format version"), None),
    };
    let mut flow = visit(LogItem::Segment { segment, bytes: reader.size(), header });
    let Some(database) = database else { return Ok(flow) };
    while flow.is_continue() {
        flow = match reader.step()? {
            Step::Record { offset, header, mutations } => visit(LogItem::Record {
                offset,
                bytes: RECORD_HEADER as u64 + header.payload_bytes,
                txn: header.txn,
                durable_through: header.durable_through,
                operations: mutations
                    .map(|mutation| mutation.expect("the record was checked when it was parsed"))
                    .collect(),
            }),
            Step::Break(damage) => {
                let end = LogItem::End { offset: reader.offset(), reason: damage.0 };
                return match visit(end) {
                    ControlFlow::Continue(()) => strays(reader, segment, database, visit),
                    broken => Ok(broken),
                };
            }
        };
    }
    Ok(flow)
}

/// Shows whole record headers after the end.
fn strays(
    reader: &mut SegmentReader,
    segment: SegmentId,
    database: DatabaseId,
    visit: &mut dyn FnMut(LogItem<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let mut flow = ControlFlow::Continue(());
    let from = reader.offset();
    reader.scan(from, |bytes, offset| {
        if let Ok(header) = RecordHeader::decode(bytes, RecordPlace { database, segment, offset }) {
            let RecordHeader { txn, durable_through, .. } = header;
            flow = visit(LogItem::Stray { offset, txn, durable_through });
        }
        flow.is_break()
    })?;
    Ok(flow)
}
