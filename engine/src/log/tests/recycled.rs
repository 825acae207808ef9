//! Segments in files that were segments before, and what ends a log then.

use proofmark_vfs::{OpenMode, RealVfs, Vfs, VfsFile};

use super::*;

/// What a record of one pair with a value of 1000 bytes takes.
const RECORD: u64 = 1072;

/// A log of five segments, of which the first three were retired and two of those used again: 4 and 5 hold
/// transactions 10 to 12 and 13 to 15. Returns the log.
fn recycled(directory: &Path) -> Log {
    let disk = Disk::new();
    let mut log = create(&disk, directory, TINY);
    for segment in 1..=5 {
        for txn in 3 * segment - 2..=3 * segment {
            append(&mut log, txn, 1000).unwrap();
            log.sync().unwrap();
        }
        if segment < 5 {
            log.rotate().unwrap();
        }
        if segment == 2 {
            retire(&disk, directory, TINY, SegmentId(0)..SegmentId(3)).unwrap();
        }
    }
    log
}

fn txns(directory: &Path, from: (u64, u64)) -> Result<Vec<u64>> {
    let mut found = vec![];
    replay_from(directory, from, |txn, _| found.push(txn)).map(|_| found)
}

fn open(path: &Path) -> Box<dyn VfsFile> {
    RealVfs.open(path, OpenMode::Create).unwrap()
}

fn rename(from: &Path, to: &Path) {
    RealVfs.rename(from, to).unwrap();
}

/// Changes a byte in place, and returns what undoes it.
fn flip(path: &Path, at: u64) -> impl FnOnce() + use<> {
    let file = open(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    move || file.write_all_at(&byte, at).unwrap()
}

#[test]
fn what_is_left_over_is_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut log = recycled(directory);
    let counters = log.counters();
    assert_eq!((counters.created_segment_count, counters.recycled_segment_count), (3, 2));
    assert_eq!(txns(directory, (3, 6)).unwrap(), (7..=15).collect::<Vec<u64>>());
    retire(&Disk::new(), directory, TINY, SegmentId(0)..SegmentId(5)).unwrap();
    log.rotate().unwrap();
    append(&mut log, 16, 1).unwrap();
    log.sync().unwrap();
    assert_eq!(
        txns(directory, (5, 12)).unwrap(),
        [13, 14, 15, 16],
        "one record, and three of an earlier life"
    );
    let names = RealVfs.list(directory).unwrap();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_empty_segment_full_of_leftovers_is_used_further() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut log = recycled(directory);
    retire(&Disk::new(), directory, TINY, SegmentId(0)..SegmentId(5)).unwrap();
    log.rotate().unwrap();
    drop(log);
    retire(&Disk::new(), directory, TINY, SegmentId(0)..SegmentId(6)).unwrap();
    let path = segment_path(directory, SegmentId(6));
    assert!(open(&path).size().unwrap() >= 3 * RECORD, "it was another segment");
    let header = replay_from(directory, (6, 15), |_, _| ()).unwrap().empty.unwrap();
    // Neither with a trace of a first record, nor with the record that came after it.
    let undo = flip(&path, 64 + 40);
    assert_eq!(replay_from(directory, (6, 15), |_, _| ()).unwrap().empty, None);
    undo();
    let mut log = Log::resume(Arc::new(Disk::new()), directory, TINY, header).unwrap();
    append(&mut log, 16, 10).unwrap();
    append(&mut log, 17, 10).unwrap();
    log.flush().unwrap();
    open(&path).write_all_at(&[0; 56], 64).unwrap();
    let replay = replay_from(directory, (6, 15), |_, _| panic!("the first record is gone")).unwrap();
    assert_eq!((replay.empty, replay.latest), (None, TxnId(15)));
}

#[test]
fn a_break_before_something_durable_is_damage_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    drop(recycled(directory));
    for segment in 3..=5 {
        let path = segment_path(directory, SegmentId(segment));
        for at in (0..64 + 3 * RECORD).step_by(3) {
            let undo = flip(&path, at);
            let is_last = segment == 5 && at >= 64 + 2 * RECORD;
            match txns(directory, (3, 6)) {
                Ok(found) if is_last => assert!(found == [7, 8, 9, 10, 11, 12, 13, 14] || found.len() == 9),
                Ok(found) => assert!(found.len() == 9, "byte {at} of segment {segment} lost {found:?}"),
                Err(error) => {
                    assert!(!is_last && matches!(error, Error::Corruption { .. }), "byte {at}: {error}");
                }
            }
            undo();
        }
    }
    assert_eq!(txns(directory, (3, 6)).unwrap().len(), 9);
}

#[test]
fn a_segment_that_was_begun_and_not_used_ends_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut log = recycled(directory);
    log.rotate().unwrap();
    drop(log);
    let replay = replay_from(directory, (3, 6), |_, _| ()).unwrap();
    assert_eq!((replay.next.segment, replay.next.first), (SegmentId(7), TxnId(16)));
    // The last record before it was not durable after all: what a recovery saw in the page cache only.
    let _stays = flip(&segment_path(directory, SegmentId(5)), 64 + 2 * RECORD);
    let replay = replay_from(directory, (3, 6), |_, _| ()).unwrap();
    assert_eq!((replay.next.segment, replay.next.first, replay.latest), (SegmentId(7), TxnId(15), TxnId(14)));
    let mut log = Log::create(Arc::new(Disk::new()), directory, TINY, replay.next).unwrap();
    assert_eq!(txns(directory, (3, 6)).unwrap().last(), Some(&14), "until the checkpoint it is as before");
    append(&mut log, 15, 10).unwrap();
    log.sync().unwrap();
    assert_eq!(txns(directory, (7, 14)).unwrap(), [15]);
    let damage = txns(directory, (3, 6));
    assert!(matches!(damage, Err(Error::Corruption { .. })), "segment 7 is used, and 6 doesn't lead to it");
}

#[test]
fn segments_that_are_swapped_or_foreign_are_damage() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    drop(recycled(directory));
    let (four, five) = (segment_path(directory, SegmentId(4)), segment_path(directory, SegmentId(5)));
    let saved = directory.join("saved");
    let is_damage = || matches!(txns(directory, (3, 6)), Err(Error::Corruption { .. }));
    rename(&four, &saved);
    assert!(is_damage(), "a segment is missing");
    rename(&five, &four);
    assert!(is_damage(), "a segment under the name of the one before");
    rename(&saved, &five);
    assert!(is_damage(), "two are swapped");
    let foreign = SegmentHeader { database: DatabaseId(2), segment: SegmentId(5), ..FIRST };
    rename(&five, &saved);
    rename(&four, &five);
    rename(&saved, &four);
    assert_eq!(txns(directory, (3, 6)).unwrap().len(), 9);
    open(&five).write_all_at(&foreign.encode(), 0).unwrap();
    assert!(is_damage(), "a segment of another database");
}

#[test]
fn a_segment_that_follows_other_records_is_damage() {
    // Two that have the database's number in common, as a database and its copy have, and then part.
    let directories = [900, 1000].map(|bytes| {
        let directory = tempfile::tempdir().unwrap();
        let mut log = create(&Disk::new(), directory.path(), TINY);
        append(&mut log, 1, bytes).unwrap();
        log.rotate().unwrap();
        append(&mut log, 2, 10).unwrap();
        log.sync().unwrap();
        directory
    });
    let [one, other] = directories.each_ref().map(|directory| segment_path(directory.path(), SegmentId(2)));
    rename(&one, &other);
    let damage = txns(directories[1].path(), (1, 0));
    assert!(matches!(damage, Err(Error::Corruption { .. })), "{damage:?}");
}

#[test]
fn records_and_scans_cross_the_read_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let options = LogOptions { segment_bytes: 1 << 20, chunk_bytes: 1 << 20, spare_count: 0 };
    let mut log = create(&Disk::new(), directory, options);
    let sizes = [10_000, 200_000, 1, 131_000, 130_900, 70, 60_000, 300_000, 9];
    for (index, bytes) in sizes.into_iter().enumerate() {
        append(&mut log, index as u64 + 1, bytes).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(replayed(directory).iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), sizes);
    let path = segment_path(directory, SegmentId(1));
    let mut at = 64;
    for (index, bytes) in sizes.into_iter().enumerate() {
        let undo = flip(&path, at);
        let found = txns(directory, (1, 0));
        assert_eq!(found.is_err(), index + 1 < sizes.len(), "only the last may be a torn write");
        undo();
        at += (56 + 1 + 2 + 8 + 4 + bytes as u64).next_multiple_of(8);
    }
    // A length that goes beyond the file is damage before anything is allocated.
    open(&path).set_size(200_000).unwrap();
    assert_eq!(txns(directory, (1, 0)).unwrap(), [1]);
}
