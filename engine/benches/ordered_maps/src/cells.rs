//! One cell of the table, measured in a process of its own: load, check, warm up, measure, check again.
//!
//! A process of its own starts with a fresh heap, and with no thread and no garbage of another map. What it found
//! goes to its standard output as one line of text, which the parent reads. A map that answers wrongly ends the process
//! with a panic: there is no figure for wrong answers.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error};

use crate::clock::Clock;
use crate::maps::{self, MapKind, OrderedMap};
use crate::memory::bytes_of;
use crate::workload::{Action, Distribution, Key, KeyKind, STEPS, Step, Workload, mix};

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) keys: KeyKind,
    pub(crate) workload: Workload,
    pub(crate) distribution: Distribution,
    pub(crate) threads: usize,
}

/// What is the same for all cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// How many keys are loaded.
    pub(crate) keys: u64,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) clock: Clock,
    /// Steps are drawn anew for each.
    pub(crate) round: u64,
}

/// What came out of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Found {
    /// Million operations a second, or bytes a key.
    pub(crate) figure: f64,
    pub(crate) reads: u64,
    /// Reads that found no value for a key that was never removed.
    pub(crate) misses: u64,
}

/// Keys from this number on are never inserted.
const ABSENT: u64 = 1 << 40;
/// How many keys are looked up, and how many scans are compared, before and after.
const SAMPLES: u64 = 1000;
const SCANS: u64 = 50;
/// How many steps are taken between two looks at the clock's flag.
const STRIDE: usize = 16;

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const DONE: u8 = 2;

/// Measures the cell of this map in this row.
pub(crate) fn run(map: MapKind, row: &Row, scale: &Scale) -> Found {
    match row.keys {
        KeyKind::U64 if map == MapKind::Congee => measure::<u64, maps::Congee>(row, scale),
        KeyKind::U64 => run_any::<u64>(map, row, scale),
        KeyKind::Bytes24 => run_any::<[u8; 24]>(map, row, scale),
    }
}

fn run_any<K: Key>(map: MapKind, row: &Row, scale: &Scale) -> Found {
    match map {
        MapKind::Bwtree => measure::<K, maps::BwTree<K>>(row, scale),
        MapKind::Skiplist => measure::<K, maps::SkipList<K>>(row, scale),
        MapKind::Scc => measure::<K, maps::SccTreeIndex<K>>(row, scale),
        MapKind::ConcurrentMap => measure::<K, maps::ConcurrentMap<K>>(row, scale),
        MapKind::BfTree => measure::<K, maps::BfTree>(row, scale),
        MapKind::Congee => unreachable!("{}", map.refusal(row.keys).expect("it was refused")),
        MapKind::Bplustree => measure::<K, maps::BPlusTree<K>>(row, scale),
        MapKind::RwlockBtreemap => measure::<K, maps::RwLockBTreeMap<K>>(row, scale),
        MapKind::Nothing => overhead::<K>(row, scale),
    }
}

fn measure<K: Key, M: OrderedMap<K>>(row: &Row, scale: &Scale) -> Found {
    let (pairs, sorted) = numbered_pairs::<K>(scale.keys);
    let in_order = if row.workload.is_ascending() { &sorted } else { &pairs };
    if row.workload.is_bytes() {
        let (map, bytes) = bytes_of(|| {
            let map = M::new();
            in_order.iter().for_each(|(key, value)| map.insert(*key, *value));
            // Epochs advance as the map is used, and what they hold back goes.
            in_order.iter().take(10_000).for_each(|(key, _)| assert!(map.get(key).is_some()));
            map
        });
        check_all(&map, &sorted);
        return Found { figure: bytes as f64 / scale.keys as f64, ..Found::default() };
    }
    let map = M::new();
    if row.workload.is_load() {
        let elapsed = load(&map, in_order, row.threads, scale.clock);
        check_all(&map, &sorted);
        return Found { figure: scale.keys as f64 / elapsed.as_secs_f64() / 1e6, ..Found::default() };
    }
    in_order.iter().for_each(|(key, value)| map.insert(*key, *value));
    check(&map, &sorted);
    let found = drive::<K, M>(&map, row, scale);
    check_presence(&map, &sorted);
    found
}

/// What the benchmark itself costs in this row.
fn overhead<K: Key>(row: &Row, scale: &Scale) -> Found {
    drive::<K, maps::Nothing>(&maps::Nothing, row, scale)
}

type Pairs<K> = Vec<(K, u64)>;

/// All keys with their numbers: in the order of the numbers, and in that of the keys.
fn numbered_pairs<K: Key>(keys: u64) -> (Pairs<K>, Pairs<K>) {
    let pairs: Pairs<K> = (0..keys).map(|number| (K::nth(number), number)).collect();
    let mut sorted = pairs.clone();
    sorted.sort_unstable();
    (pairs, sorted)
}

/// Inserts the pairs, thread by thread in turns, and says how long the slowest took.
fn load<K: Key, M: OrderedMap<K>>(map: &M, pairs: &[(K, u64)], threads: usize, clock: Clock) -> Duration {
    let barrier = Barrier::new(threads);
    let insert_share = |map: M, first: usize| {
        barrier.wait();
        let start = clock.start();
        pairs[first..].iter().step_by(threads).for_each(|(key, value)| map.insert(*key, *value));
        start.elapsed()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let (map, insert_share) = (map.clone(), &insert_share);
                scope.spawn(move || insert_share(map, first))
            })
            .collect();
        let took = workers.into_iter().map(|worker| worker.join().expect("no insert panics"));
        took.max().expect("there is a thread")
    })
}

/// Lets all threads take their steps, first to warm up, then against the clock.
fn drive<K: Key, M: OrderedMap<K>>(map: &M, row: &Row, scale: &Scale) -> Found {
    let phase = AtomicU8::new(WARMING_UP);
    let newest = AtomicU64::new(scale.keys);
    let barrier = Barrier::new(row.threads + 1);
    let work = |map: M, thread: u64| {
        let seed = scale.round << 32 | thread;
        let steps = row.workload.steps::<K>(row.distribution, scale.keys, seed);
        let mut worker = Worker { map, steps, next: 0, newest: &newest, reads: 0, misses: 0 };
        barrier.wait();
        worker.run_while(&phase, WARMING_UP);
        barrier.wait();
        (worker.reads, worker.misses) = (0, 0);
        let start = scale.clock.start();
        let taken = worker.run_while(&phase, MEASURING);
        let figure = taken as f64 / start.elapsed().as_secs_f64() / 1e6;
        Found { figure, reads: worker.reads, misses: worker.misses }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..row.threads as u64)
            .map(|thread| {
                let (map, work) = (map.clone(), &work);
                scope.spawn(move || work(map, thread))
            })
            .collect();
        barrier.wait();
        thread::sleep(scale.warm_up);
        phase.store(MEASURING, Ordering::Relaxed);
        barrier.wait();
        thread::sleep(scale.measured);
        phase.store(DONE, Ordering::Relaxed);
        let found = workers.into_iter().map(|worker| worker.join().expect("no step panics"));
        found.reduce(Found::sum).expect("there is a thread")
    })
}

/// A thread with its steps.
struct Worker<'a, K, M> {
    map: M,
    steps: Vec<Step<K>>,
    next: usize,
    /// The number of the next key to be inserted.
    newest: &'a AtomicU64,
    reads: u64,
    misses: u64,
}

impl<K: Key, M: OrderedMap<K>> Worker<'_, K, M> {
    /// Returns how many steps were taken.
    fn run_while(&mut self, phase: &AtomicU8, running: u8) -> u64 {
        let mut taken = 0;
        while phase.load(Ordering::Relaxed) == running {
            for _ in 0..STRIDE {
                let step = self.steps[self.next];
                self.take(&step);
                self.next = (self.next + 1) % STEPS;
            }
            taken += STRIDE as u64;
        }
        taken
    }

    #[inline]
    fn take(&mut self, step: &Step<K>) {
        match step.action {
            Action::Read => {
                self.read(&step.key);
            }
            Action::Update => self.map.update(step.key, self.next as u64),
            Action::ReadAndUpdate => {
                let value = self.read(&step.key);
                self.map.update(step.key, value.map_or(0, |value| value ^ 1));
            }
            Action::Insert => {
                let number = self.newest.fetch_add(1, Ordering::Relaxed);
                self.map.insert(K::nth(number), number);
            }
            Action::ReadRecent => {
                // It may not be there yet, if another thread is about to insert it.
                let number = self.newest.load(Ordering::Relaxed) - 1 - u64::from(step.argument);
                black_box(self.map.get(&K::nth(number)));
            }
            Action::Scan => {
                let (mut sum, mut last) = (0_u64, step.key);
                self.map.scan(&step.key, step.argument as usize, |key, value| {
                    sum = sum.wrapping_add(value);
                    last = *key;
                });
                black_box((sum, last));
            }
        }
    }

    #[inline]
    fn read(&mut self, key: &K) -> Option<u64> {
        let value = black_box(self.map.get(key));
        self.reads += 1;
        self.misses += u64::from(value.is_none());
        value
    }
}

/// Keys that are there, keys that are not, an update, and scans, on a sample.
fn check<K: Key, M: OrderedMap<K>>(map: &M, sorted: &[(K, u64)]) {
    let count = sorted.len() as u64;
    for sample in 0..SAMPLES {
        let (key, value) = sorted[(mix(sample) % count) as usize];
        assert_eq!(map.get(&key), Some(value), "{key:?} was loaded");
        let key = K::nth(ABSENT + sample);
        assert_eq!(map.get(&key), None, "{key:?} was not loaded");
    }
    let (key, value) = sorted[(mix(SAMPLES) % count) as usize];
    map.update(key, value + 1);
    assert_eq!(map.get(&key), Some(value + 1), "{key:?} was updated");
    map.update(key, value);
    for scan in 0..SCANS {
        check_scan(map, &sorted[(mix(scan) % count) as usize].0, 100, sorted);
        check_scan(map, &K::nth(ABSENT + scan), 1 + scan as usize, sorted);
    }
    check_scan(map, &K::LEAST, 100, sorted);
    check_scan(map, &K::GREATEST, 100, sorted);
    check_scan(map, &sorted[sorted.len() - 1].0, 100, sorted);
}

/// The same, and that the map holds what was loaded and nothing else.
fn check_all<K: Key, M: OrderedMap<K>>(map: &M, sorted: &[(K, u64)]) {
    check(map, sorted);
    check_scan(map, &K::LEAST, sorted.len() + 100, sorted);
}

fn check_scan<K: Key, M: OrderedMap<K>>(map: &M, start: &K, limit: usize, sorted: &[(K, u64)]) {
    let first = sorted.partition_point(|(key, _)| key < start);
    let mut expected = sorted[first..].iter().take(limit);
    map.scan(start, limit, |key, value| {
        assert_eq!(Some(&(*key, value)), expected.next(), "a scan of {limit} from {start:?}");
    });
    assert_eq!(expected.next(), None, "a scan of {limit} from {start:?} ended early");
}

/// Whatever was measured, it removed nothing.
fn check_presence<K: Key, M: OrderedMap<K>>(map: &M, sorted: &[(K, u64)]) {
    for sample in 0..SAMPLES {
        let (key, _) = sorted[(mix(sample) % sorted.len() as u64) as usize];
        assert!(map.get(&key).is_some(), "{key:?} is gone");
        let key = K::nth(ABSENT + sample);
        assert_eq!(map.get(&key), None, "{key:?} was never inserted");
    }
}

impl Found {
    fn sum(self, other: Found) -> Found {
        Found {
            figure: self.figure + other.figure,
            reads: self.reads + other.reads,
            misses: self.misses + other.misses,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.figure, self.reads, self.misses)
    }
}

impl FromStr for Found {
    type Err = Error;

    fn from_str(text: &str) -> Result<Found, Error> {
        let mut words = text.split_whitespace();
        let mut word = || words.next().context("three numbers");
        Ok(Found { figure: word()?.parse()?, reads: word()?.parse()?, misses: word()?.parse()? })
    }
}
