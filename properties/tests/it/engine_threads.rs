//! The whole engine under shuttle, in worlds so small that every answer is known beforehand.
//!
//! In one of them writers count: each commit reads a number, writes the next one, and writes it to one of a row of large
//! values, too. So the number that a snapshot finds is the TxnId of the snapshot, and of each large value it is known which
//! commit wrote it last. Beside them readers scan, while checkpoints merge and free pages. In the other one writers keep
//! out of each other's way, and share syncs. In the end, or in the middle, the power goes, and what was acknowledged has to
//! be there. The engine passes every schedule; each mistake that was planted in it fails some.
//!
//! A schedule that fails is printed as one line that runs it again. `PROOFMARK_SCHEDULES` sets how many are tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_engine_shuttle::{Failure, Strategy, explore, point, replay, thread};
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
fn config(prune: bool) -> Config {
    Config { cache_bytes: 0, retention: Retention::Latest, prune, ..Config::default() }
}

/// Commits the next number. None if somebody else was first, or the power is gone.
fn count(mut writer: Box<dyn Transaction>, durability: Durability) -> Option<u64> {
    let next = match writer.get(COUNT) {
        Ok(value) => value.map_or(0, |value| txn(&value)) + 1,
        Err(StoreError::Io(_)) => return None,
        Err(error) => panic!("{error}"),
    };
    writer.put(COUNT, &value(next, 8)).unwrap();
    writer.put(&key(next % ROW), &value(next, LARGE)).unwrap();
    match writer.commit(durability) {
        Ok(id) => {
            assert_eq!(id, Some(TxnId(next)), "a commit counts on from its snapshot");
            Some(next)
        }
        Err(StoreError::Conflict { .. } | StoreError::Busy | StoreError::Io(_) | StoreError::Poisoned(_)) => {
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a snapshot shows is what its commits wrote, however long it takes to look.
fn look(reader: &mut dyn Transaction) {
    let snapshot = reader.snapshot().unwrap().0;
    let pairs = match reader.scan(&KeyRange::all(), usize::MAX, false) {
        Ok(pairs) => pairs,
        Err(StoreError::Io(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let found: Vec<_> = pairs.iter().map(|(key, value)| (key.clone(), txn(value))).collect();
    let last_of = |place: u64| (1..=snapshot).rev().find(|txn| txn % ROW == place);
    let row = (0..ROW).filter_map(|place| Some((key(place), last_of(place)?)));
    let expected: Vec<_> = row.chain([(COUNT.to_vec(), snapshot)]).collect();
    assert_eq!(found, expected, "what snapshot {snapshot} shows");
}

/// The same in short, for a snapshot that is new.
fn glance(reader: &mut dyn Transaction) {
    match reader.get(COUNT) {
        Ok(found) => {
            let shown = found.map(|value| txn(&value));
            assert_eq!(shown, reader.snapshot().map(|id| id.0), "what a new snapshot shows");
        }
        Err(StoreError::Io(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// When the power goes.
#[derive(Debug, Clone, Copy)]
enum PowerLoss {
    /// When all is done.
    AtTheEnd,
    /// When a thread has had so many turns that does nothing else. Nothing but power loss makes a call of the disk fail.
    AfterTurns(usize),
}

impl PowerLoss {
    /// The thread that cuts the power, if one does.
    fn thread(self, disk: &SimDisk) -> Option<thread::JoinHandle<()>> {
        let PowerLoss::AfterTurns(turns) = self else { return None };
        let disk = disk.clone();
        Some(thread::spawn(move || {
            (0..turns).for_each(|_| point());
            disk.power_off();
        }))
    }
}

/// Everybody counts, and looks.
fn counting(factory: &dyn StoreFactory, power_loss: PowerLoss, prune: bool) {
    let disk = SimDisk::default();
    let mut store = factory.open(disk.vfs(), &config(prune)).unwrap();
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
                let writer = match store.begin_optimistic() {
                    Ok(writer) => writer,
                    Err(StoreError::Poisoned(_)) => return,
                    Err(error) => panic!("{error}"),
                };
                let counted = count(writer, durability);
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
            match handle.checkpoint() {
                Ok(_) | Err(StoreError::Io(_) | StoreError::Poisoned(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }));
    threads.extend(power_loss.thread(&disk));
    for thread in threads {
        thread.join().unwrap();
    }
    if !disk.has_crashed() {
        store.verify().unwrap();
        disk.power_off();
    }
    drop(store);
    disk.crash(&Keep::None);
    let mut store = factory.open(disk.vfs(), &config(prune)).unwrap();
    let (latest, acknowledged) = (store.latest().unwrap().0, acknowledged.load(Ordering::Relaxed));
    assert!(
        latest >= acknowledged,
        "commit {acknowledged} was acknowledged, and the last one there is {latest}"
    );
    look(&mut *store.begin_read().unwrap());
}

/// Nobody is in another's way, so that commits share syncs.
fn groups(factory: &dyn StoreFactory, power_loss: PowerLoss, prune: bool) {
    let disk = SimDisk::default();
    let store = factory.open(disk.vfs(), &config(prune)).unwrap();
    let acknowledged: Arc<[AtomicU64; 4]> = Arc::default();
    let mut threads: Vec<_> = power_loss.thread(&disk).into_iter().collect();
    for place in 0..acknowledged.len() {
        let (mut store, acknowledged) = (store.handle().unwrap(), Arc::clone(&acknowledged));
        threads.push(thread::spawn(move || {
            for round in 1..=2 {
                let Ok(mut writer) = store.begin_optimistic() else { return };
                writer.put(&key(place as u64), &value(round, 8)).unwrap();
                let Ok(_) = writer.commit(Durability::Sync) else { return };
                acknowledged[place].store(round, Ordering::Relaxed);
            }
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    disk.power_off();
    drop(store);
    disk.crash(&Keep::None);
    let mut store = factory.open(disk.vfs(), &config(prune)).unwrap();
    let mut reader = store.begin_read().unwrap();
    for (place, acknowledged) in (0..).zip(&*acknowledged) {
        let found = reader.get(&key(place)).unwrap().map_or(0, |value| txn(&value));
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        assert!(
            found >= acknowledged,
            "writer {place}: round {acknowledged} was acknowledged, {found} is there"
        );
    }
}

type World = fn(&dyn StoreFactory, PowerLoss, bool);

/// Every world, with every power loss, and whether the store prunes with every commit.
const WORLDS: [(World, PowerLoss, bool); 6] = [
    (counting, PowerLoss::AtTheEnd, false),
    (counting, PowerLoss::AfterTurns(100), false),
    (counting, PowerLoss::AfterTurns(300), false),
    (counting, PowerLoss::AtTheEnd, true),
    (groups, PowerLoss::AtTheEnd, false),
    (groups, PowerLoss::AfterTurns(50), true),
];

/// Looks for a schedule that fails. With the failure comes in which world that was.
fn search(
    factory: &'static dyn StoreFactory,
    strategy: Strategy,
    schedules: usize,
) -> Result<(), (usize, Failure)> {
    for (index, (world, power_loss, prune)) in WORLDS.into_iter().enumerate() {
        explore(strategy, 1, schedules, move || world(factory, power_loss, prune))
            .map_err(|failure| (index, failure))?;
    }
    Ok(())
}

const STRATEGIES: [Strategy; 3] = [Strategy::Priorities(3), Strategy::Random, Strategy::Uniform];

/// Within how many schedules a scheduler has to find a mistake.
const SCHEDULES_MAX: usize = 1_500;

/// Set to a line that a failure printed, to run that schedule again.
const REPLAY: &str = "PROOFMARK_ENGINE_REPLAY";

#[test]
fn the_engine_passes() {
    for strategy in STRATEGIES {
        let schedules = super::bwtree::setting("PROOFMARK_SCHEDULES", 100);
        if let Err((index, failure)) = search(&EngineThreads, strategy, schedules) {
            let Failure { executions, schedule, message } = failure;
            panic!(
                "{strategy}, schedule {executions}: {message}\nagain: {REPLAY}='{index} {schedule}' cargo test -p \
                 proofmark-properties engine_threads"
            );
        }
    }
}

#[test]
fn every_mistake_fails() {
    for engine in ENGINES {
        let found = STRATEGIES.iter().any(|strategy| search(engine, *strategy, SCHEDULES_MAX).is_err());
        assert!(found, "nothing finds `{}`", engine.name());
    }
}

/// What a failure printed is run again; without it there is nothing to run.
#[test]
fn the_schedule_of_a_failure() {
    let Ok(line) = std::env::var(REPLAY) else { return };
    let (index, schedule) = line.split_once(' ').expect("the number of a world, and a schedule");
    let (world, power_loss, prune) = WORLDS[index.parse::<usize>().expect("a number")];
    if let Err(failure) = replay(schedule, move || world(&EngineThreads, power_loss, prune)) {
        panic!("{}", failure.message);
    }
}
