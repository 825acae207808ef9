//! Files that can't be read, written, removed or renamed, and what others left behind or do meanwhile: nothing that was
//! acknowledged is lost, and what is not in doubt goes on.

use std::path::Path;
use std::sync::Arc;

use proofmark_engine::{Database, Durability, Error, Options, Result, Retention, TxnId};

use crate::bad_disk::{BadDisk, Call};
use crate::scratch::Scratch;

const EIO: i32 = 5;
const EBUSY: i32 = 16;
const ENOSPC: i32 = 28;

fn open(disk: &BadDisk, path: &Path, options: &Options) -> Result<Database> {
    Database::open_on(Arc::new(disk.clone()), path, options)
}

fn put(database: &Database, key: &str, value: &str) -> Result<TxnId> {
    let mut write = database.begin_write()?;
    write.put(key.as_bytes(), value.as_bytes())?;
    write.commit()
}

fn get(database: &Database, key: &str) -> Option<String> {
    let read = database.begin_read().expect("a snapshot");
    let value = read.get(key.as_bytes()).expect("readable");
    value.map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

/// A database with a base tree, a spare and something in its log.
fn with_past(disk: &BadDisk, scratch: &Scratch, options: &Options) -> Database {
    let database = open(disk, scratch.path(), options).expect("a database is created");
    put(&database, "a", "1").expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    put(&database, "a", "2").expect("the disk is fine");
    database
}

#[test]
fn a_checkpoint_that_finds_no_room_for_its_meta_page_can_be_tried_again() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    let mut data_writes = 0;
    disk.watch(move |call, path| {
        data_writes += u64::from(call == Call::Write && path.ends_with("data"));
        // The leaf, the free list, and then the meta page.
        if data_writes == 3 { Err(std::io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
    });
    assert!(matches!(database.checkpoint(), Err(Error::OutOfSpace { .. })));
    disk.unwatch();
    put(&database, "b", "1").expect("nothing is in doubt");
    assert_eq!(database.checkpoint().expect("there is room").merged_version_count, 2);
    database.verify().expect("everything is in order");
}

#[test]
fn a_checkpoint_that_cannot_read_a_page_can_be_tried_again() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    database.checkpoint().expect("the disk is fine");
    drop(database);
    // Nothing is replayed, so that no page is in the cache.
    let database = open(&disk, scratch.path(), &Options::new()).expect("it opens");
    put(&database, "a", "3").expect("the disk is fine");
    disk.refuse(Call::Read, "data", EIO);
    assert!(matches!(database.checkpoint(), Err(Error::Io { operation: "read", .. })));
    disk.unwatch();
    put(&database, "b", "2").expect("nothing is in doubt");
    database.checkpoint().expect("the page can be read");
    database.verify().expect("everything is in order");
}

#[test]
fn a_segment_that_cannot_be_removed_is_removed_later() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new().spare_segments(0));
    disk.refuse(Call::Remove, "log-", EBUSY);
    assert!(matches!(database.checkpoint(), Err(Error::Io { .. })));
    disk.unwatch();
    put(&database, "b", "1").expect("nothing is in doubt");
    database.checkpoint().expect("the disk is fine");
    let names = std::fs::read_dir(scratch.path()).expect("it is there");
    assert_eq!(names.count(), 2, "the data file and one segment");
}

#[test]
fn spares_are_never_needed() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    for call in [Call::Open, Call::Read, Call::Rename] {
        disk.refuse(call, "spare-", EIO);
        put(&database, "b", "1").expect("the log is fine");
        database.checkpoint().expect("the log is fine");
        disk.unwatch();
    }
    drop(database);
    disk.refuse(Call::Read, "spare-", EIO);
    let database = open(&disk, scratch.path(), &Options::new()).expect("spares are no part of the state");
    assert_eq!(get(&database, "a").as_deref(), Some("2"));
}

#[test]
fn a_buffered_commit_that_cannot_be_written_is_seen_by_nobody() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    disk.refuse(Call::Write, "log-", EIO);
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(b"a", b"3").expect("legal");
    assert!(matches!(write.commit_with(Durability::Buffered), Err(Error::Io { .. })));
    disk.unwatch();
    assert_eq!(get(&database, "a").as_deref(), Some("2"));
    assert!(matches!(put(&database, "a", "4"), Err(Error::Poisoned { .. })));
}

#[test]
fn whoever_conflicts_sees_with_whom_the_next_time() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(b"count", b"1").expect("legal");
    let ticket = write.submit().expect("there is room");
    let retry = || {
        let mut write = database.begin_optimistic().expect("writable");
        write.put(b"count", b"2").expect("legal");
        write.commit()
    };
    assert!(matches!(retry(), Err(Error::Conflict { .. })));
    assert_eq!(retry().expect("it has seen the first"), TxnId(2));
    assert_eq!(ticket.wait().expect("durable already"), TxnId(1));
}

#[test]
fn a_stream_shows_what_is_durable() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(b"b", b"1").expect("legal");
    write.commit_with(Durability::Buffered).expect("the disk is fine");
    disk.fail_syncs(true);
    assert!(matches!(database.changes(TxnId(2)), Err(Error::Io { operation: "sync", .. })));
}

#[test]
fn a_data_file_that_is_missing_is_missed() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    database.checkpoint().expect("the disk is fine");
    drop(database);
    std::fs::remove_file(scratch.path().join("data")).expect("it is there");
    let outcome = open(&disk, scratch.path(), &Options::new());
    assert!(matches!(outcome, Err(Error::Corruption { .. })), "no empty database in its place");
}

#[test]
fn what_a_compaction_left_is_removed() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    drop(with_past(&disk, &scratch, &Options::new()));
    let left = scratch.path().join("data.new");
    std::fs::write(&left, [1; 5000]).expect("there is room");
    drop(open(&disk, scratch.path(), &Options::new().read_only(true)).expect("it opens"));
    assert!(left.exists(), "reading only changes nothing");
    drop(open(&disk, scratch.path(), &Options::new()).expect("it opens"));
    assert!(!left.exists());
}

#[test]
fn openings_that_fail_leave_nothing_behind() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    drop(with_past(&disk, &scratch, &Options::new()));
    let count = || std::fs::read_dir(scratch.path()).expect("it is there").count();
    let before = count();
    disk.refuse(Call::Write, "data", ENOSPC);
    for _ in 0..5 {
        let outcome = open(&disk, scratch.path(), &Options::new());
        assert!(matches!(outcome, Err(Error::OutOfSpace { .. })));
    }
    assert_eq!(count(), before);
    disk.unwatch();
    let database = open(&disk, scratch.path(), &Options::new()).expect("it opens");
    assert_eq!(get(&database, "a").as_deref(), Some("2"));
}

#[test]
fn less_history_can_be_asked_for() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let all = Options::new().retention(Retention::All);
    drop(with_past(&disk, &scratch, &all));
    let database = open(&disk, scratch.path(), &all).expect("it opens");
    assert_eq!(database.oldest_retained(), TxnId(0));
    drop(database);
    let database = open(&disk, scratch.path(), &Options::new()).expect("it opens");
    database.checkpoint().expect("the disk is fine");
    assert_eq!(database.oldest_retained(), TxnId(2));
    assert_eq!(database.verify().expect("everything is in order").version_count, 1);
}

#[test]
fn a_backup_never_replaces_what_was_made_meanwhile() {
    let (disk, scratch) = (BadDisk::default(), Scratch::new());
    let database = with_past(&disk, &scratch, &Options::new());
    let target = scratch.path().with_file_name("backup");
    let theirs = target.clone();
    disk.watch(move |call, path| {
        if call == Call::CreateDirectory && path == theirs {
            let database = Database::open(path, &Options::new()).expect("it is created");
            put(&database, "theirs", "precious").expect("the disk is fine");
        }
        Ok(())
    });
    assert!(matches!(database.backup(&target), Err(Error::AlreadyExists { .. })));
    let database = Database::open(&target, &Options::new()).expect("it is theirs");
    assert_eq!(get(&database, "theirs").as_deref(), Some("precious"));
}

#[test]
fn a_backup_that_failed_can_be_made_again() {
    for (call, name) in [(Call::Rename, "data.new"), (Call::Write, "log-"), (Call::Write, "data")] {
        let (disk, scratch) = (BadDisk::default(), Scratch::new());
        let database = with_past(&disk, &scratch, &Options::new());
        let target = scratch.path().with_file_name("backup");
        disk.refuse(call, name, EIO);
        assert!(matches!(database.backup(&target), Err(Error::Io { .. })));
        disk.unwatch();
        database.backup(&target).expect("what is there is of an attempt");
        let copy = Database::open(&target, &Options::new()).expect("it is a database");
        assert_eq!(get(&copy, "a").as_deref(), Some("2"));
    }
}
