//! The whole engine under shuttle: a world so small that every answer is known beforehand.
//!
//! Writers count: each commit reads a number, writes the next one, and writes it to one of a row of large values, too. So the
//! number that a snapshot finds is the TxnId of the snapshot, and of each large value it is known which commit wrote it last.
//! Beside them readers scan, while checkpoints merge and free pages. In the end the power goes, and what was acknowledged
//! has to be there. The engine passes every schedule; each mistake that was planted in it fails some.
//!
//! A schedule that fails is printed as one line that runs it again. `PROOFMARK_SCHEDULES` sets how many are tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_engine_shuttle::{Failure, Strategy, explore, replay, thread};
use proofmark_model::{Durability, KeyRange, TxnId};
use proofmark_planted::ENGINES;
use proofmark_sim::disk::{Keep, SimDisk};
use proofmark_sim::plan::{Config, Retention};
use proofmark_sim::store::{EngineThreads, StoreError, StoreFactory, Transaction};

/// Large values, of which each commit writes one, in turn.
const ROW: u64 = 12;
/// A few of them fill a page.
const LARGE: usize = 900;
const COUNT: &[u8] = b"count";

/// What a commit writes: its own TxnId, if all is well.
fn value(txn: u64, length: usize) -> Vec<u8> {
    let mut bytes = txn.to_be_bytes().to_vec();
    bytes.resize(length, 0);
    bytes
}

fn txn(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

fn key(place: u64) -> Vec<u8> {
    vec![b'a', place as u8]
}

/// Few pages, of which the cache holds fewer, and no history.
fn config() -> Config {
    Config { cache_bytes: 0, retention: Retention::Latest, ..Config::default() }
}

/// Commits the next number. None if somebody else was first.
fn count(mut writer: Box<dyn Transaction>, durability: Durability) -> Option<u64> {
    let next = writer.get(COUNT).unwrap().map_or(0, |value| txn(&value)) + 1;
    writer.put(COUNT, &value(next, 8)).unwrap();
    writer.put(&key(next % ROW), &value(next, LARGE)).unwrap();
    match writer.commit(durability) {
        Ok(id) => {
            assert_eq!(id, Some(TxnId(next)), "a commit counts on from its snapshot");
            Some(next)
        }
        Err(StoreError::Conflict { .. } | StoreError::Busy) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What a snapshot shows is what its commits wrote, however long it takes to look.
fn look(reader: &mut dyn Transaction) {
    let snapshot = reader.snapshot().unwrap().0;
    let pairs = reader.scan(&KeyRange::all(), usize::MAX, false).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<_> = pairs.iter().map(|(key, value)| (key.clone(), txn(value))).collect();
    let last_of = |place: u64| (1..=snapshot).rev().find(|txn| txn % ROW == place);
    let row = (0..ROW).filter_map(|place| Some((key(place), last_of(place)?)));
    let expected: Vec<_> = row.chain([(COUNT.to_vec(), snapshot)]).collect();
    assert_eq!(found, expected, "what snapshot {snapshot} shows");
}

/// The same in short, for a snapshot that is new.
fn glance(reader: &mut dyn Transaction) {
    let found = reader.get(COUNT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.map(|value| txn(&value)), reader.snapshot().map(|id| id.0), "what a new snapshot shows");
}

/// The world: what happens in it, and that it was right.
fn world(factory: &dyn StoreFactory) {
    let disk = SimDisk::default();
    let mut store = factory.open(disk.vfs(), &config()).unwrap();
    for _ in 0..ROW {
        count(store.begin_write().unwrap(), Durability::Buffered).unwrap();
    }
    store.checkpoint().unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for durability in [Durability::Sync, Durability::Sync, Durability::Buffered] {
        let (mut store, acknowledged) = (store.handle().unwrap(), Arc::clone(&acknowledged));
        threads.push(thread::spawn(move || {
            for _ in 0..4 {
                let counted = count(store.begin_optimistic().unwrap(), durability);
                if let (Some(txn), Durability::Sync) = (counted, durability) {
                    acknowledged.fetch_max(txn, Ordering::Relaxed);
                }
            }
        }));
    }
    for _ in 0..2 {
        let mut store = store.handle().unwrap();
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                let mut reader = store.begin_read().unwrap();
                look(&mut *reader);
                look(&mut *reader);
            }
        }));
    }
    let mut handle = store.handle().unwrap();
    threads.push(thread::spawn(move || {
        for _ in 0..16 {
            glance(&mut *handle.begin_read().unwrap());
        }
    }));
    let mut handle = store.handle().unwrap();
    threads.push(thread::spawn(move || {
        for _ in 0..4 {
            handle.checkpoint().unwrap();
        }
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    store.verify().unwrap();
    disk.power_off();
    drop(store);
    disk.crash(&Keep::None);
    let mut store = factory.open(disk.vfs(), &config()).unwrap();
    let (latest, acknowledged) = (store.latest().unwrap().0, acknowledged.load(Ordering::Relaxed));
    assert!(
        latest >= acknowledged,
        "commit {acknowledged} was acknowledged, and the last one there is {latest}"
    );
    look(&mut *store.begin_read().unwrap());
}

fn search(factory: &'static dyn StoreFactory, strategy: Strategy, schedules: usize) -> Result<(), Failure> {
    explore(strategy, 1, schedules, move || world(factory))
}

const STRATEGIES: [Strategy; 3] = [Strategy::Priorities(3), Strategy::Random, Strategy::Uniform];

/// Within how many schedules a scheduler has to find a mistake.
const SCHEDULES_MAX: usize = 4_000;

/// Set to a schedule that a failure printed, to run it again.
const REPLAY: &str = "PROOFMARK_REPLAY";

#[test]
fn the_engine_passes() {
    for strategy in STRATEGIES {
        let schedules = super::bwtree::setting("PROOFMARK_SCHEDULES", 100);
        if let Err(Failure { executions, schedule, message }) = search(&EngineThreads, strategy, schedules) {
            panic!(
                "{strategy}, schedule {executions}: {message}\nagain: {REPLAY}={schedule} cargo test -p proofmark-properties \
                 engine_threads"
            );
        }
    }
}

#[test]
fn every_mistake_fails() {
    for engine in ENGINES {
        let found = STRATEGIES.iter().find_map(|strategy| search(engine, *strategy, SCHEDULES_MAX).err());
        assert!(found.is_some(), "nothing finds `{}`", engine.name());
    }
}

/// What a failure printed is run again; without it there is nothing to run.
#[test]
fn the_schedule_of_a_failure() {
    let Ok(schedule) = std::env::var(REPLAY) else { return };
    if let Err(failure) = replay(&schedule, || world(&EngineThreads)) {
        panic!("{}", failure.message);
    }
}
