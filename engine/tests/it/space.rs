//! A disk that is full for a while: nothing is lost, nothing that was refused comes back, and work goes on afterwards.

use std::path::Path;
use std::sync::Arc;

use proofmark_engine::{Database, Durability, Error, Options, Result, Retention};

use crate::bad_disk::BadDisk;
use crate::scratch::{self, State};

const STEPS: u32 = 60;

fn options() -> Options {
    Options::new()
        .page_size(4096)
        .segment_bytes(8192)
        .log_chunk_bytes(512)
        .write_tier_bytes(30_000)
        .retention(Retention::Txns(5))
}

/// Does step `number`, and tells `state` what it changed. An error must leave no trace.
fn step(database: &Database, number: u32, state: &mut State) -> Result<()> {
    match number % 12 {
        5 => return database.checkpoint().map(drop),
        11 => return database.compact().map(drop),
        _ => {}
    }
    let mut after = state.clone();
    let mut write =
        if number.is_multiple_of(2) { database.begin_write()? } else { database.begin_optimistic()? };
    for step in 0..4 {
        let key = vec![b'k', ((number * 5 + step * 3) % 23) as u8];
        if (number + step).is_multiple_of(5) {
            write.delete(&key)?;
            after.remove(&key);
        } else {
            let length = [0, 30, 700, 6000][((number + step) % 4) as usize];
            write.put(&key, &vec![number as u8; length])?;
            after.insert(key, vec![number as u8; length]);
        }
    }
    let durability = if number.is_multiple_of(3) { Durability::Buffered } else { Durability::Sync };
    if number.is_multiple_of(7) {
        write.submit()?.wait()?
    } else {
        write.commit_with(durability)?
    };
    *state = after;
    Ok(())
}

fn read(database: &Database) -> State {
    scratch::state(&database.begin_read().expect("a snapshot"))
}

/// Runs all steps with `bytes` of room from the step `from` on, and space again twenty steps later. Returns how many steps
/// were refused.
fn run(path: &Path, from: u32, bytes: u64) -> u32 {
    let disk = BadDisk::default();
    let open = || Database::open_on(Arc::new(disk.clone()), path, &options()).expect("it opens");
    let mut state = State::new();
    let mut refused = 0;
    let database = open();
    for number in 0..STEPS {
        if number == from {
            disk.leave_bytes(bytes);
        }
        if number == from + 20 {
            disk.leave_bytes(u64::MAX);
        }
        match step(&database, number, &mut state) {
            Ok(()) => {}
            Err(Error::OutOfSpace { .. }) if (from..from + 20).contains(&number) => refused += 1,
            Err(error) => panic!("step {number}, {bytes} bytes from {from}: {error}"),
        }
        assert_eq!(read(&database), state, "step {number}, {bytes} bytes from {from}");
    }
    database.verify().expect("everything is in order");
    database.sync().expect("there is room");
    drop(database);
    let database = open();
    database.verify().expect("everything is in order");
    assert_eq!(read(&database), state, "after reopening, {bytes} bytes from {from}");
    refused
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let mut refused = 0;
    for (round, bytes) in (0..40_000u64).step_by(997).enumerate() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        refused += run(&directory.path().join("db"), round as u32 % 25, bytes);
    }
    assert!(refused > 300, "{refused} steps were refused");
}

/// The process dies while the disk is full, and recovers on a full disk, again and again, until there is space.
#[test]
fn a_database_that_was_full_opens_again() {
    for bytes in (0..30_000u64).step_by(1499) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        let disk = BadDisk::default();
        let open = || Database::open_on(Arc::new(disk.clone()), &path, &options());
        let mut state = State::new();
        let database = open().expect("there is room");
        disk.leave_bytes(bytes);
        for number in 0..STEPS {
            let _ = step(&database, number, &mut state);
        }
        drop(database);
        for _ in 0..3 {
            match open() {
                Ok(database) => assert_eq!(read(&database), state),
                Err(Error::OutOfSpace { .. }) => {}
                Err(error) => panic!("{bytes} bytes: {error}"),
            }
        }
        disk.leave_bytes(u64::MAX);
        let database = open().expect("there is room");
        assert_eq!(read(&database), state, "{bytes} bytes");
        database.verify().expect("everything is in order");
    }
}
