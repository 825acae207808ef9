//! Writers beside each other: conflicts, savepoints, range deletions, tickets, and what threads see of each other.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proofmark_engine::{Database, Durability, Error, Options, Retention, TxnId, WriteTransaction};

use crate::scratch::Scratch;

fn number(bytes: Option<impl AsRef<[u8]>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.as_ref().try_into().expect("eight bytes")))
}

fn put(write: &mut WriteTransaction, key: &str, value: &str) {
    write.put(key.as_bytes(), value.as_bytes()).expect("legal");
}

fn get(database: &Database, key: &str) -> Option<Vec<u8>> {
    let read = database.begin_read().expect("a snapshot");
    read.get(key.as_bytes()).expect("readable").map(|value| value.to_vec())
}

#[test]
fn of_two_that_write_one_key_the_first_to_commit_wins() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    for checkpoint_between in [false, true] {
        let mut first = database.begin_optimistic().expect("writable");
        let mut second = database.begin_optimistic().expect("writable");
        let mut apart = database.begin_optimistic().expect("writable");
        put(&mut first, "a", "1");
        put(&mut second, "a", "2");
        put(&mut second, "b", "2");
        put(&mut apart, "c", "3");
        second.commit().expect("nobody was faster");
        if checkpoint_between {
            // The base tree forgets the versions in between; the conflict is found all the same.
            database.checkpoint().expect("the disk is fine");
        }
        assert!(matches!(first.commit(), Err(Error::Conflict { key }) if key == b"a"));
        apart.commit().expect("nobody else wrote c");
        assert_eq!(get(&database, "a").as_deref(), Some(b"2".as_slice()));
    }
}

#[test]
fn a_deletion_that_a_checkpoint_has_forgotten_still_conflicts() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let mut write = database.begin_write().expect("nobody else writes");
    put(&mut write, "k", "v");
    write.commit().expect("the disk is fine");
    let mut late = database.begin_optimistic().expect("writable");
    put(&mut late, "k", "late");
    let mut delete = database.begin_optimistic().expect("writable");
    delete.delete(b"k").expect("legal");
    delete.commit().expect("nobody was faster");
    for _ in 0..3 {
        let mut other = database.begin_write().expect("nobody else writes");
        put(&mut other, "other", "x");
        other.commit().expect("the disk is fine");
        database.checkpoint().expect("the disk is fine");
    }
    assert!(matches!(late.commit(), Err(Error::Conflict { .. })));
}

#[test]
fn an_exclusive_writer_never_conflicts() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let mut optimistic = database.begin_optimistic().expect("writable");
    put(&mut optimistic, "a", "1");
    let mut exclusive = database.begin_write().expect("nobody else writes exclusively");
    put(&mut exclusive, "a", "2");
    assert!(matches!(optimistic.commit(), Err(Error::WriteBusy)));
    exclusive.commit().expect("it is alone");
}

#[test]
fn savepoints_go_back_and_nothing_else_does() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let mut write = database.begin_write().expect("nobody else writes");
    put(&mut write, "a", "1");
    let first = write.savepoint();
    put(&mut write, "a", "2");
    put(&mut write, "b", "2");
    let second = write.savepoint();
    assert_eq!(write.delete_range((Bound::Unbounded, Bound::Unbounded)).expect("readable"), 2);
    write.rollback_to(&second).expect("it is valid");
    assert_eq!(write.range((Bound::Unbounded, Bound::Unbounded)).expect("readable").count(), 2);
    write.rollback_to(&first).expect("it is valid");
    assert!(matches!(write.rollback_to(&second), Err(Error::InvalidArgument { .. })));
    let mut other = database.begin_optimistic().expect("writable");
    let foreign = other.savepoint();
    assert!(matches!(write.rollback_to(&foreign), Err(Error::InvalidArgument { .. })));
    write.commit().expect("the disk is fine");
    assert_eq!((get(&database, "a"), get(&database, "b")), (Some(b"1".to_vec()), None));
}

#[test]
fn a_range_deletion_removes_what_it_sees() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let mut write = database.begin_write().expect("nobody else writes");
    for key in ["a", "b", "c", "d"] {
        put(&mut write, key, "1");
    }
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    let mut write = database.begin_optimistic().expect("writable");
    put(&mut write, "bb", "own");
    write.delete(b"c").expect("legal");
    let mut beside = database.begin_optimistic().expect("writable");
    put(&mut beside, "bc", "beside");
    beside.commit().expect("nobody was faster");
    let bounds = (Bound::Included(b"b".as_slice()), Bound::Excluded(b"d".as_slice()));
    assert_eq!(write.delete_range(bounds).expect("readable"), 2, "b and bb; c is gone already");
    write.commit().expect("bc is none of its keys");
    let read = database.begin_read().expect("a snapshot");
    let keys: Vec<u8> = read
        .range((Bound::Unbounded, Bound::Unbounded))
        .expect("readable")
        .map(|pair| *pair.expect("readable").0.last().expect("not empty"))
        .collect();
    assert_eq!(keys, b"acd".to_vec(), "a, bc and d");
}

#[test]
fn a_submitted_transaction_is_visible_when_it_is_durable() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    let submit = |key: &str| {
        let mut write = database.begin_write().expect("the one before has been submitted");
        put(&mut write, key, "v");
        write.submit().expect("there is room")
    };
    let tickets = [submit("a"), submit("b"), submit("c")];
    assert_eq!(database.latest(), TxnId(0));
    assert_eq!(get(&database, "a"), None);
    let next = database.begin_write().expect("nobody else writes");
    assert_eq!(next.snapshot(), TxnId(3));
    assert!(next.get(b"c").expect("readable").is_some(), "the next writer builds on what was submitted");
    next.abort();
    let [first, second, third] = tickets;
    assert_eq!(second.wait().expect("the disk is fine"), TxnId(2));
    assert_eq!(database.latest(), TxnId(3), "one sync for all");
    assert_eq!(third.wait().expect("durable already"), TxnId(3));
    drop(first);
    let abandoned = submit("d");
    drop(abandoned);
    let mut write = database.begin_write().expect("nobody else writes");
    put(&mut write, "e", "v");
    write.commit_with(Durability::Buffered).expect("the disk is fine");
    assert_eq!(database.latest(), TxnId(5), "visible in their order");
    assert!(get(&database, "d").is_some());
}

#[test]
fn hundreds_of_readers_each_keep_their_state() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new().write_tier_bytes(4000));
    let readers: Vec<_> = (0..256u64)
        .map(|round| {
            let mut write = database.begin_write().expect("nobody else writes");
            write.put(b"round", &round.to_le_bytes()).expect("legal");
            write.put(&[round as u8 % 50], &round.to_le_bytes()).expect("legal");
            write.commit_with(Durability::Buffered).expect("the disk is fine");
            database.begin_read().expect("a snapshot")
        })
        .collect();
    for (round, reader) in readers.iter().enumerate() {
        let read = number(reader.get(b"round").expect("readable"));
        assert_eq!(read, round as u64);
        let count = reader.range((Bound::Unbounded, Bound::Unbounded)).expect("readable").count();
        assert_eq!(count, (round + 2).min(51));
    }
    drop(readers);
    // What only they held is free again two checkpoints later.
    for _ in 0..3 {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(b"round", b"over").expect("legal");
        write.commit().expect("the disk is fine");
        database.checkpoint().expect("the disk is fine");
    }
    let stats = database.stats();
    assert!(stats.waiting_page_count < 10 && stats.free_page_count > 15, "{stats:?}");
    database.verify().expect("everything is in order");
}

/// Transfers between accounts, with readers that add them up and a checkpointer beside them.
#[test]
fn threads_keep_the_sum() {
    const ACCOUNTS: u8 = 6;
    const TOTAL: u64 = 600;
    let scratch = Scratch::new();
    let options = Options::new().write_tier_bytes(20_000).segment_bytes(8192).retention(Retention::Txns(20));
    let database = scratch.open(&options);
    let mut write = database.begin_write().expect("nobody else writes");
    for account in 0..ACCOUNTS {
        write.put(&[account], &(TOTAL / u64::from(ACCOUNTS)).to_le_bytes()).expect("legal");
    }
    write.commit().expect("the disk is fine");
    let is_over = AtomicBool::new(false);
    let committed: u64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..4u8)
            .map(|thread| {
                scope.spawn({
                    let database = database.clone();
                    move || transfers(&database, thread, ACCOUNTS)
                })
            })
            .collect();
        let checker = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(Ordering::Relaxed) {
                let read = database.begin_read().expect("a snapshot");
                let mut sum = 0;
                for pair in read.range((Bound::Unbounded, Bound::Unbounded)).expect("readable") {
                    sum += number(Some(pair.expect("readable").1));
                }
                assert_eq!(sum, TOTAL, "at {}", read.snapshot());
                reads += 1;
            }
            reads
        });
        let joined: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        let committed = joined.into_iter().map(|outcome| outcome.expect("no writer fails")).sum();
        assert!(checker.join().expect("every sum is right") > 0);
        committed
    });
    assert_eq!(database.latest(), TxnId(1 + committed), "each commit has a number of its own");
    drop(database);
    let database = scratch.open(&options);
    assert_eq!(database.latest(), TxnId(1 + committed));
    database.verify().expect("everything is in order");
}

fn transfers(database: &Database, thread: u8, accounts: u8) -> u64 {
    let mut committed = 0;
    for round in 0..80u8 {
        let (from, to) = ((thread + round) % accounts, (thread + 3 * round + 1) % accounts);
        let mut write = database.begin_optimistic().expect("writable");
        let source = number(write.get(&[from]).expect("readable"));
        if from == to || source == 0 {
            continue;
        }
        let target = number(write.get(&[to]).expect("readable"));
        write.put(&[from], &(source - 1).to_le_bytes()).expect("legal");
        write.put(&[to], &(target + 1).to_le_bytes()).expect("legal");
        let durability = if round.is_multiple_of(3) { Durability::Buffered } else { Durability::Sync };
        match write.commit_with(durability) {
            Ok(_) => committed += 1,
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    committed
}
