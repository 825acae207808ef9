//! The log by itself: what it accepts, what it refuses, and what is there afterwards.

mod disk;
mod recycled;

use std::path::Path;

use disk::Disk;

use super::files::{retire, segment_path};
use super::replay::Replay;
use super::{Log, LogOptions, replay};
use crate::error::{Error, Result};
use crate::format::{Meta, SegmentHeader};
use crate::ids::{DatabaseId, Generation, SegmentId, TxnId};
use crate::sync::Arc;

const TINY: LogOptions = LogOptions { segment_bytes: 4096, chunk_bytes: 512, spare_count: 2 };

const FIRST: SegmentHeader =
    SegmentHeader { database: DatabaseId(1), segment: SegmentId(1), first: TxnId(1), previous: 0 };

fn create(disk: &Disk, directory: &Path, options: LogOptions) -> Log {
    Log::create(Arc::new(disk.clone()), directory, options, FIRST).unwrap()
}

/// Appends one pair whose value has `bytes` bytes.
fn append(log: &mut Log, txn: u64, bytes: usize) -> Result<()> {
    let (key, value) = (txn.to_le_bytes(), vec![txn as u8; bytes]);
    log.append(TxnId(txn), [(key.as_slice(), Some(value.as_slice()))])
}

fn replay_from(
    directory: &Path,
    (log_start, checkpoint): (u64, u64),
    mut apply: impl FnMut(u64, usize),
) -> Result<Replay> {
    let meta = Meta {
        database: DatabaseId(1),
        page_size: 4096,
        generation: Generation(0),
        page_count: 2,
        root: None,
        free_list: None,
        log_start: SegmentId(log_start),
        checkpoint: TxnId(checkpoint),
        oldest: TxnId(0),
    };
    replay(&Disk::new(), directory, &meta, |txn, mutations| {
        let [(key, value)] = mutations.map(|mutation| mutation.unwrap()).collect::<Vec<_>>()[..] else {
            panic!("every transaction makes one change");
        };
        assert_eq!(key, txn.0.to_le_bytes());
        let value = value.unwrap();
        assert!(value.iter().all(|byte| *byte == txn.0 as u8));
        apply(txn.0, value.len());
    })
}

/// The transactions that are there, with the sizes of their values.
fn replayed(directory: &Path) -> Vec<(u64, usize)> {
    let mut found = vec![];
    replay_from(directory, (1, 0), |txn, bytes| found.push((txn, bytes))).unwrap();
    found
}

#[test]
fn records_gather_until_one_write_and_one_sync_for_all() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    let mut log = create(
        &disk,
        directory.path(),
        LogOptions { segment_bytes: 1 << 16, chunk_bytes: 4096, spare_count: 2 },
    );
    let syncs_before = disk.sync_count();
    for txn in 1..=5 {
        append(&mut log, txn, 100).unwrap();
    }
    assert_eq!(replayed(directory.path()), [], "nothing is written yet");
    let request = log.begin_sync().unwrap().unwrap();
    assert_eq!(replayed(directory.path()).len(), 5, "written, and not durable");
    append(&mut log, 6, 100).unwrap();
    request.run().unwrap();
    log.finish_sync(request.through);
    assert_eq!((log.durable_through(), log.written_through()), (TxnId(5), TxnId(6)));
    log.sync().unwrap();
    log.sync().unwrap();
    assert_eq!(log.durable_through(), TxnId(6));
    assert!(log.begin_sync().unwrap().is_none());
    assert_eq!((log.counters().sync_count, disk.sync_count() - syncs_before), (2, 2));
}

#[test]
fn a_segment_outgrows_its_size_only_while_a_sync_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = create(&Disk::new(), directory.path(), TINY);
    append(&mut log, 1, 3000).unwrap();
    let request = log.begin_sync().unwrap().unwrap();
    for txn in 2..10 {
        append(&mut log, txn, 3000).unwrap();
    }
    assert_eq!(log.counters().created_segment_count, 1);
    request.run().unwrap();
    log.finish_sync(request.through);
    assert!(log.begin_sync().unwrap().is_none(), "the rotation made everything durable");
    assert_eq!((log.durable_through(), log.counters().created_segment_count), (TxnId(9), 2));
    append(&mut log, 10, 3000).unwrap();
    append(&mut log, 11, 3000).unwrap();
    assert_eq!(log.counters().created_segment_count, 3);
    log.flush().unwrap();
    assert_eq!(replayed(directory.path()).len(), 11);
}

#[test]
fn room_is_made_ahead_and_within_the_segment() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = create(
        &Disk::new(),
        directory.path(),
        LogOptions { segment_bytes: 10_000, chunk_bytes: 4096, spare_count: 2 },
    );
    let file = directory.path().join("log-0000000000000001");
    let size = || file.metadata().unwrap().len();
    let sizes: Vec<u64> = (1..=3)
        .map(|txn| {
            append(&mut log, txn, 3200).unwrap();
            size()
        })
        .collect();
    assert_eq!(sizes, [4096, 8192, 12288]);
    log.flush().unwrap();
    assert_eq!(replayed(directory.path()).len(), 3);
}

#[test]
fn a_full_disk_refuses_what_has_no_room_and_goes_on_later() {
    let sizes = [10, 300, 700, 20, 2000, 40, 1500, 9000, 400, 400, 10];
    for writes in 0..40 {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let mut log = create(&disk, directory.path(), TINY);
        disk.full_after(writes);
        let (mut accepted, mut refused, mut lost) = (vec![], 0, false);
        for bytes in sizes {
            let txn = accepted.len() as u64 + 1;
            match append(&mut log, txn, bytes).and_then(|()| log.flush()) {
                Ok(()) => accepted.push((txn, bytes)),
                Err(Error::OutOfSpace { .. }) => {
                    assert_eq!(replayed(directory.path()), accepted, "no trace of what was refused");
                    refused += 1;
                    if refused % 2 == 0 {
                        disk.has_space_again();
                    }
                }
                // This disk runs full when it writes into a room that it has given, so that all is in doubt.
                Err(error) => {
                    assert!(disk.is_full() && matches!(error, Error::Io { .. }), "{error}");
                    lost = true;
                    break;
                }
            }
        }
        let found = replayed(directory.path());
        assert!(found.starts_with(&accepted) || lost && accepted.starts_with(&found));
        assert!(refused > 0 || lost || !disk.is_full());
    }
}

#[test]
fn large_batches_and_large_values() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = create(&Disk::new(), directory.path(), TINY);
    append(&mut log, 1, 16 << 20).unwrap();
    append(&mut log, 2, 1).unwrap();
    append(&mut log, 3, 16 << 20).unwrap();
    log.sync().unwrap();
    assert_eq!(replayed(directory.path()), [(1, 16 << 20), (2, 1), (3, 16 << 20)]);
    let key = |number: u32| number.to_be_bytes();
    let keys: Vec<[u8; 4]> = (0..1_000_000).map(key).collect();
    log.append(TxnId(4), keys.iter().map(|key| (key.as_slice(), Some(b"v".as_slice())))).unwrap();
    assert!(log.scratch.capacity() <= 512, "memory is given back");
}
