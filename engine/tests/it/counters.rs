//! What a commit and a checkpoint cost, in writes, syncs and bytes: counted, so that it is the same on every machine.

use std::path::PathBuf;
use std::sync::Arc;

use proofmark_engine::{Database, Durability, Options};

use crate::counting::{Call, Calls, CountingVfs, FileKind, Operation};

/// The header and the padding of a record, and what each mutation adds to key and value.
const RECORD_OVERHEAD: u64 = 56 + 8 + 7;

/// A meta page.
const META_BYTES: u64 = 128;

struct Counted {
    _directory: tempfile::TempDir,
    path: PathBuf,
    calls: Calls,
    database: Database,
}

fn open(options: &Options) -> Counted {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let vfs = CountingVfs::default();
    let calls = vfs.calls();
    let database = Database::open_on(Arc::new(vfs), &path, options).expect("a database is created");
    calls.take();
    Counted { _directory: directory, path, calls, database }
}

fn commit(database: &Database, number: u64, durability: Durability) {
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(&number.to_be_bytes(), &[1; 100]).expect("legal");
    write.commit_with(durability).expect("the disk is fine");
}

/// Each call by its name, without how many bytes it wrote.
fn names(calls: &[Call]) -> Vec<(FileKind, Operation)> {
    calls.iter().map(|call| (call.kind, call.operation)).collect()
}

fn is(call: &Call, kind: FileKind, operation: Operation) -> bool {
    call.kind == kind && call.operation == operation
}

fn syncs(calls: &[Call]) -> Vec<FileKind> {
    calls.iter().filter(|call| call.operation == Operation::Sync).map(|call| call.kind).collect()
}

#[test]
fn a_durable_commit_is_one_write_and_one_sync_of_the_log() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    // The first commit makes room for those that follow.
    commit(&database, 0, Durability::Sync);
    assert_eq!(syncs(&calls.take()), [FileKind::Log]);
    for number in 1..100 {
        commit(&database, number, Durability::Sync);
        let made = calls.take();
        assert_eq!(names(&made), [(FileKind::Log, Operation::Write), (FileKind::Log, Operation::Sync)]);
        assert!(made[0].bytes <= 8 + 100 + RECORD_OVERHEAD, "{} bytes for one pair", made[0].bytes);
    }
}

#[test]
fn one_sync_makes_all_buffered_commits_durable() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    for number in 0..100 {
        commit(&database, number, Durability::Buffered);
    }
    assert_eq!(syncs(&calls.take()), []);
    database.sync().expect("the disk is fine");
    assert_eq!(syncs(&calls.take()), [FileKind::Log]);
    database.sync().expect("the disk is fine");
    assert_eq!(calls.take(), [], "everything is durable already");
}

#[test]
fn all_who_wait_for_one_group_share_one_write_and_one_sync() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    commit(&database, 0, Durability::Sync);
    calls.take();
    for group in 0..10 {
        let submit = |number: u64| {
            let mut write = database.begin_write().expect("nobody else writes");
            write.put(&number.to_be_bytes(), &[1; 100]).expect("legal");
            write.submit().expect("the disk is fine")
        };
        let tickets: Vec<_> = (0..50).map(|number| submit(50 * group + number)).collect();
        assert_eq!(calls.take(), [], "nothing is written before somebody waits");
        for ticket in tickets {
            ticket.wait().expect("the disk is fine");
        }
        let made = calls.take();
        assert_eq!(names(&made), [(FileKind::Log, Operation::Write), (FileKind::Log, Operation::Sync)]);
        assert!(made[0].bytes <= 50 * (8 + 100 + RECORD_OVERHEAD), "{} bytes for 50 pairs", made[0].bytes);
    }
}

#[test]
fn concurrent_commits_need_no_more_than_one_sync_each_and_touch_no_page() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let database = &database;
            scope.spawn(move || {
                for number in 0..25 {
                    let mut write = database.begin_optimistic().expect("writable");
                    write.put(&(25 * thread + number).to_be_bytes(), &[1; 100]).expect("legal");
                    write.commit().expect("every thread has keys of its own");
                }
            });
        }
    });
    let made = calls.take();
    assert!(made.iter().all(|call| call.kind == FileKind::Log), "{made:?}");
    assert!(syncs(&made).len() <= 200, "{} syncs for 200 commits", syncs(&made).len());
}

#[test]
fn a_transaction_that_changes_nothing_costs_nothing() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    commit(&database, 1, Durability::Sync);
    calls.take();
    database.begin_write().expect("nobody else writes").commit().expect("the disk is fine");
    database.begin_read().expect("a snapshot").get(b"x").expect("readable");
    assert_eq!(calls.take(), []);
}

#[test]
fn a_checkpoint_syncs_the_new_segment_its_name_the_pages_the_meta_page_and_the_end_of_the_older_log() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    for round in 0..4 {
        for number in 0..50 {
            commit(&database, 50 * round + number, Durability::Sync);
        }
        calls.take();
        database.checkpoint().expect("the disk is fine");
        let made = calls.take();
        let [log, directory, data] = [FileKind::Log, FileKind::Directory, FileKind::Data];
        assert_eq!(syncs(&made), [log, directory, data, data, directory], "{made:?}");
        let pages_synced = made.iter().position(|call| is(call, FileKind::Data, Operation::Sync));
        let after_pages: Vec<Call> = made[pages_synced.expect("a checkpoint writes pages") + 1..].to_vec();
        let to_data = after_pages.into_iter().filter(|call| call.kind == FileKind::Data);
        let meta = Call { kind: FileKind::Data, operation: Operation::Write, bytes: META_BYTES };
        let sync = Call { operation: Operation::Sync, bytes: 0, ..meta };
        assert_eq!(
            to_data.collect::<Vec<_>>(),
            [meta, sync],
            "the meta page, and nothing else, comes after the pages"
        );
        // The retired segment becomes a spare, and the one of the checkpoint before becomes the new segment.
        let renamed = made.iter().filter(|call| call.operation == Operation::Rename).count();
        assert_eq!(renamed, if round == 0 { 1 } else { 2 });
    }
    database.checkpoint().expect("there is nothing to do");
    assert_eq!(calls.take(), [], "a checkpoint of nothing costs nothing");
}

#[test]
fn opening_and_closing_a_sound_database_writes_no_pages() {
    let Counted { path, database, _directory, .. } = open(&Options::new());
    commit(&database, 1, Durability::Sync);
    database.checkpoint().expect("the disk is fine");
    drop(database);
    let vfs = CountingVfs::default();
    let calls = vfs.calls();
    drop(Database::open_on(Arc::new(vfs), &path, &Options::new()).expect("it is there"));
    // The segment with which the older log starts is gone, and has to be gone for good.
    let call = |kind, operation| Call { kind, operation, bytes: 0 };
    let absence = [
        call(FileKind::Log, Operation::Create),
        call(FileKind::Log, Operation::Remove),
        call(FileKind::Directory, Operation::Sync),
    ];
    assert_eq!(calls.take(), absence);
}

#[test]
fn the_figures_of_the_database_are_those_of_the_file_system() {
    let Counted { calls, database, _directory, .. } = open(&Options::new());
    commit(&database, 0, Durability::Sync);
    calls.take();
    let before = database.stats();
    for number in 1..20 {
        commit(&database, number, Durability::Sync);
    }
    let (made, after) = (calls.take(), database.stats());
    assert_eq!(after.log_sync_count - before.log_sync_count, syncs(&made).len() as u64);
    let written: u64 = made.iter().map(|call| call.bytes).sum();
    assert_eq!(after.log_appended_bytes - before.log_appended_bytes, written);
    assert_eq!((after.log_created_segment_count, after.log_recycled_segment_count), (0, 0));
    for expected in [(1, 0), (1, 1)] {
        commit(&database, 20, Durability::Sync);
        database.checkpoint().expect("the disk is fine");
        let stats = database.stats();
        assert_eq!((stats.log_created_segment_count, stats.log_recycled_segment_count), expected);
    }
    let before = database.stats();
    database.begin_read().expect("a snapshot").prefix(b"").expect("readable").for_each(drop);
    let after = database.stats();
    assert_eq!(after.cache_misses, before.cache_misses, "what was just written is in the cache");
    assert!(after.cache_hits > before.cache_hits);
}
