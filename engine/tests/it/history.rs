//! What was: the commit stream, and copies of the database that know its past.

use std::ops::Bound;

use proofmark_engine::{Database, Durability, Error, Options, Retention, TxnId};

use crate::scratch::{Scratch, State, state};

fn state_at(database: &Database, txn: TxnId) -> State {
    state(&database.begin_read_at(txn).expect("the snapshot is retained"))
}

/// Commits transactions that overwrite and delete each other's keys, with values from none to several pages.
fn fill(database: &Database, count: u32, checkpoint_every: u32) {
    for round in 0..count {
        let mut write = database.begin_write().expect("nobody else writes");
        for step in 0..3 {
            let key = [(round * 7 + step * 5) as u8 % 13];
            if (round + step) % 4 == 0 {
                write.delete(&key).expect("legal");
            } else {
                let length = [0, 10, 100, 9000][(round as usize + step as usize) % 4];
                write.put(&key, &vec![round as u8; length]).expect("legal");
            }
        }
        write.commit_with(Durability::Buffered).expect("the disk is fine");
        if round % checkpoint_every == checkpoint_every - 1 {
            database.checkpoint().expect("the disk is fine");
        }
    }
}

/// Replays the stream from `from` onto `state`, which is of the transaction before, and compares at every step.
fn follow(database: &Database, from: TxnId, mut state: State) -> TxnId {
    let mut last = TxnId(from.0 - 1);
    for change in database.changes(from).expect("it is retained") {
        let change = change.expect("readable");
        assert_eq!(change.txn, last.next(), "without gaps");
        assert!(change.operations.is_sorted_by(|(a, _), (b, _)| **a < **b), "each key once, in order");
        for (key, value) in change.operations {
            match value {
                Some(value) => state.insert(key.to_vec(), value.to_vec()),
                None => state.remove(&*key),
            };
        }
        assert_eq!(state, state_at(database, change.txn), "at {}", change.txn);
        last = change.txn;
    }
    last
}

#[test]
fn replaying_the_stream_gives_every_state() {
    for stream_bytes in [1, 2000, 1 << 20] {
        let scratch = Scratch::new();
        let options = Options::new().page_size(4096).retention(Retention::All).stream_bytes(stream_bytes);
        let database = scratch.open(&options);
        fill(&database, 60, 25);
        assert_eq!(follow(&database, TxnId(1), State::new()), TxnId(60));
        assert_eq!(follow(&database, TxnId(31), state_at(&database, TxnId(30))), TxnId(60));
        database.sync().expect("the disk is fine");
        drop(database);
        let database = scratch.open(&options);
        assert_eq!(follow(&database, TxnId(1), State::new()), TxnId(60), "history survives reopening");
        assert_eq!(database.changes(TxnId(61)).expect("nothing yet").count(), 0);
        assert!(matches!(database.changes(TxnId(62)), Err(Error::SnapshotNotFound { .. })));
    }
}

#[test]
fn a_consumer_that_fell_behind_is_told() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new().retention(Retention::Txns(10)));
    fill(&database, 40, 20);
    assert_eq!(database.oldest_retained(), TxnId(30));
    assert_eq!(follow(&database, TxnId(31), state_at(&database, TxnId(30))), TxnId(40));
    let error = database.changes(TxnId(30)).expect_err("the state at 29 is gone");
    assert!(matches!(error, Error::ChangesNotRetained { requested: TxnId(30), oldest: TxnId(31) }));
}

#[test]
fn a_stream_is_of_one_moment() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    fill(&database, 5, 100);
    let stream = database.changes(TxnId(1)).expect("nothing was checkpointed");
    fill(&database, 5, 1);
    assert!(database.changes(TxnId(1)).is_err(), "the latest state is all that checkpoints kept");
    assert_eq!(stream.map(|change| change.expect("it holds what it needs").txn.0).sum::<u64>(), 15);
}

#[test]
fn compaction_keeps_history_and_gives_back_room() {
    let scratch = Scratch::new();
    let options = Options::new().page_size(4096).retention(Retention::Txns(40));
    let database = scratch.open(&options);
    fill(&database, 100, 10);
    let before: Vec<State> = (60..=100).map(|txn| state_at(&database, TxnId(txn))).collect();
    let held = database.begin_read_at(TxnId(70)).expect("retained");
    let report = database.compact().expect("there is room");
    assert!(report.bytes_after < report.bytes_before, "{report:?}");
    let size = std::fs::metadata(scratch.path().join("data")).expect("it is there").len();
    assert_eq!(size, report.bytes_after);
    database.verify().expect("everything is in order");
    assert_eq!(database.stats().free_page_count, 0);
    let after: Vec<State> = (60..=100).map(|txn| state_at(&database, TxnId(txn))).collect();
    assert!(before == after);
    let count = held.range((Bound::Unbounded, Bound::Unbounded)).expect("readable").count();
    assert_eq!(count, before[10].len(), "a reader keeps the old file");
    assert_eq!(follow(&database, TxnId(61), before[0].clone()), TxnId(100));
    fill(&database, 30, 7);
    database.verify().expect("everything is in order");
    database.compact().expect("twice is fine");
    drop((held, database));
    let database = scratch.open(&options);
    database.verify().expect("everything is in order");
    assert_eq!(database.latest(), TxnId(130));
}

#[test]
fn a_backup_is_the_snapshot_with_its_history() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new().page_size(4096).retention(Retention::Txns(30)));
    fill(&database, 50, 20);
    let target = scratch.path().with_file_name("backup");
    let write = database.begin_write().expect("nobody else writes");
    let report = database.backup(&target).expect("there is room");
    write.abort();
    assert_eq!((report.oldest, report.through), (TxnId(10), TxnId(50)));
    assert!(matches!(database.backup(&target), Err(Error::AlreadyExists { .. })));
    let copy = Database::open(&target, &Options::new().create(false)).expect("it is a database");
    copy.verify().expect("everything is in order");
    assert_eq!((copy.oldest_retained(), copy.latest()), (TxnId(10), TxnId(50)));
    for txn in 10..=50 {
        assert_eq!(state_at(&copy, TxnId(txn)), state_at(&database, TxnId(txn)));
    }
    assert_eq!(follow(&copy, TxnId(11), state_at(&database, TxnId(10))), TxnId(50));
    fill(&copy, 5, 2);
    assert_eq!(copy.latest(), TxnId(55), "it goes on with numbers of its own");
    assert_eq!(database.latest(), TxnId(50));
}

#[test]
fn a_second_handle_is_refused_before_and_after_a_compaction() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new());
    fill(&database, 3, 2);
    for _ in 0..2 {
        let second = Database::open(scratch.path(), &Options::new());
        assert!(matches!(second, Err(Error::Locked { .. })));
        database.compact().expect("there is room");
    }
}

#[test]
fn the_largest_values_and_large_batches_go_all_the_way() {
    let scratch = Scratch::new();
    let options = Options::new().segment_bytes(65_536).retention(Retention::All).stream_bytes(1 << 20);
    let database = scratch.open(&options);
    let value = |round: u8| vec![round; 16 << 20];
    for round in 1..=2 {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(b"large", &value(round)).expect("as large as can be");
        write.put(b"beside", &[round]).expect("legal");
        write.commit().expect("the disk is fine");
    }
    let mut write = database.begin_write().expect("nobody else writes");
    for number in 0..100_000u32 {
        write.put(&number.to_be_bytes(), &number.to_le_bytes()).expect("legal");
    }
    write.commit().expect("the disk is fine");
    drop(database);
    let database = scratch.open(&options);
    for round in 0..2 {
        let stream = database.changes(TxnId(1)).expect("everything is retained");
        let sizes: Vec<usize> = stream
            .map(|change| {
                change
                    .expect("readable")
                    .operations
                    .iter()
                    .flat_map(|pair| pair.1.as_deref())
                    .map(<[u8]>::len)
                    .sum()
            })
            .collect();
        assert_eq!(sizes, [(16 << 20) + 1, (16 << 20) + 1, 400_000]);
        let past = database.begin_read_at(TxnId(1)).expect("everything is retained");
        assert!(past.get(b"large").expect("readable").as_deref() == Some(&value(1)));
        assert_eq!(past.get(&7u32.to_be_bytes()).expect("readable"), None);
        database.verify().expect("everything is in order");
        if round == 0 {
            database.compact().expect("there is room");
        }
    }
}
