//! The life of a database, step by step. Each step measures one thing and leaves the database to the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::counting::{Calls, CountingVfs, Operation};
use crate::store::{Change, Snapshot, Store};
use crate::workload::{key, mix, small_pair, value};

/// The pairs of a hot database.
const HOT_KEYS: u64 = 100_000;
/// How often a step is repeated that changes nothing; the median counts.
const ROUNDS: usize = 3;
/// How long is measured what takes nanoseconds, in repetitions.
const SNAPSHOTS: u64 = 200_000;
/// The pairs after a seek.
const SEEK_PAIRS: usize = 10;
/// The pairs of a batch.
const BATCH: u64 = 1000;

/// What a step found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) figure: Figure,
    /// What it wrote, if that is of interest.
    pub(crate) writes: Option<Writes>,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// So many things in so much time: the more a second, the better.
    Rate { count: u64, elapsed: Duration },
    /// The shorter, the better.
    Time(Duration),
    /// The fewer, the better.
    Bytes(u64),
}

/// What a step wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writes {
    pub(crate) commits: u64,
    pub(crate) syncs: u64,
    /// Bytes of the keys and values that were committed.
    pub(crate) user_bytes: u64,
    /// Bytes that went to files.
    pub(crate) written_bytes: u64,
}

/// A step: its name, and how to take it.
pub(crate) type Step<S> = (&'static str, fn(&mut Life<S>) -> Measurement);

/// The steps that need the loaded database find it in place; the first one makes it.
pub(crate) const fn steps<S: Store>() -> [Step<S>; 19] {
    [
        ("bulk load, one transaction", Life::load_at_once),
        ("bytes on disk after the load", Life::bytes_on_disk),
        ("load in durable batches of 1,000", Life::load_in_batches),
        ("verify", Life::verify),
        ("reopen", Life::reopen),
        ("open a snapshot", Life::snapshot),
        ("random gets, 1 thread", |life| life.gets(1)),
        ("random gets, 2 threads", |life| life.gets(2)),
        ("seek + 10 pairs", Life::seek),
        ("full scan", Life::scan),
        ("hot gets, 1 thread", |life| life.hot_gets(1)),
        ("hot gets, 2 threads", |life| life.hot_gets(2)),
        ("durable commits of one pair, 1 thread", |life| life.commits(1)),
        ("durable commits of one pair, 8 threads", |life| life.commits(8)),
        ("buffered commits of one pair", Life::buffered_commits),
        ("reopen after a crash with a full log", Life::reopen_after_crash),
        ("delete of half, durable batches of 1,000", Life::delete_half),
        ("compact", Life::compact),
        ("bytes on disk after deleting half", Life::bytes_on_disk),
    ]
}

/// A database and what belongs to it.
pub(crate) struct Life<S> {
    keys: u64,
    directory: PathBuf,
    store: Option<S>,
    hot: Option<S>,
    calls: Calls,
    vfs: Arc<CountingVfs>,
}

impl<S: Store> Life<S> {
    /// A life that has not begun, of so many keys.
    pub(crate) fn new(keys: u64, directory: &Path) -> Life<S> {
        let vfs = CountingVfs::default();
        let directory = directory.join(S::NAME);
        Life { keys, directory, store: None, hot: None, calls: vfs.calls(), vfs: Arc::new(vfs) }
    }

    fn open(&self, name: &str) -> S {
        S::open(self.vfs.clone(), &self.directory.join(name))
    }

    /// The loaded database.
    fn store(&self) -> &S {
        self.store.as_ref().expect("the first step opens it")
    }

    fn load_at_once(&mut self) -> Measurement {
        let keys = self.keys;
        let store = self.open("main");
        let measurement = self.writing(keys, 1, || {
            store.commit(&mut (0..keys).map(pair), true);
            store.settle();
        });
        self.store = Some(store);
        measurement
    }

    fn load_in_batches(&mut self) -> Measurement {
        let keys = self.keys;
        let store = self.open("batches");
        let measurement = self.writing(keys, keys.div_ceil(BATCH), || {
            for first in (0..keys).step_by(BATCH as usize) {
                store.commit(&mut (first..keys.min(first + BATCH)).map(pair), true);
            }
            store.settle();
        });
        drop(store);
        fs::remove_dir_all(self.directory.join("batches")).unwrap();
        measurement
    }

    fn bytes_on_disk(&mut self) -> Measurement {
        let entries = fs::read_dir(self.directory.join("main")).unwrap();
        let bytes = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        Measurement { figure: Figure::Bytes(bytes), writes: None }
    }

    fn verify(&mut self) -> Measurement {
        let store = self.store.as_mut().expect("the first step opens it");
        time(|| store.verify())
    }

    fn reopen(&mut self) -> Measurement {
        self.store = None;
        let mut opened = None;
        let measurement = time(|| {
            let store = self.open("main");
            assert!(store.snapshot().get(&key(0)).is_some());
            opened = Some(store);
        });
        self.store = opened;
        measurement
    }

    fn snapshot(&mut self) -> Measurement {
        let store = self.store();
        median(|| {
            for _ in 0..SNAPSHOTS {
                store.touch();
            }
            SNAPSHOTS
        })
    }

    fn gets(&mut self, threads: u64) -> Measurement {
        let keys = self.keys;
        let get = |snapshot: &S::Snapshot, draw: u64| snapshot.get(&key(draw % keys)).expect("it was loaded");
        reads(self.store(), threads, keys, get)
    }

    fn hot_gets(&mut self, threads: u64) -> Measurement {
        let keys = HOT_KEYS.min(self.keys);
        if self.hot.is_none() {
            let store = self.open("hot");
            store.commit(&mut (0..keys).map(small_pair).map(|(key, value)| (key, Some(value))), true);
            store.settle();
            self.hot = Some(store);
        }
        let store = self.hot.as_ref().expect("it was just opened");
        let get = |snapshot: &S::Snapshot, draw: u64| {
            snapshot.get(&mix(draw % keys).to_be_bytes()).expect("it was loaded")
        };
        reads(store, threads, self.keys, get)
    }

    fn seek(&mut self) -> Measurement {
        let keys = self.keys;
        let seek = |snapshot: &S::Snapshot, draw: u64| snapshot.scan(&key(draw % keys), SEEK_PAIRS).1;
        reads(self.store(), 1, keys.div_ceil(2), seek)
    }

    fn scan(&mut self) -> Measurement {
        let (store, keys) = (self.store(), self.keys);
        median(|| {
            let (pairs, _) = store.snapshot().scan(b"", usize::MAX);
            assert_eq!(pairs as u64, keys);
            keys
        })
    }

    fn commits(&mut self, threads: u64) -> Measurement {
        let (store, each) = (self.store(), (self.keys / 50 / threads).max(1));
        let keys = self.keys;
        self.writing(threads * each, threads * each, || {
            thread::scope(|scope| {
                for number in 0..threads {
                    scope.spawn(move || {
                        for index in number * each..(number + 1) * each {
                            store.commit_concurrently(&mut std::iter::once(pair(mix(index) % keys)));
                        }
                    });
                }
            });
        })
    }

    fn buffered_commits(&mut self) -> Measurement {
        let (store, keys, count) = (self.store(), self.keys, self.keys.div_ceil(5));
        self.writing(count, count, || {
            for index in 0..count {
                store.commit(&mut std::iter::once(pair(mix(!index) % keys)), false);
            }
            store.settle();
        })
    }

    /// Copies the files of an open database, as the death of its process would leave them, and opens the copy. The log
    /// holds what fits into it before a checkpoint shortens it.
    fn reopen_after_crash(&mut self) -> Measurement {
        let (store, keys, count) = (self.store(), self.keys, self.keys.div_ceil(5));
        store.settle();
        for first in (0..count).step_by(BATCH as usize) {
            let last = count.min(first + BATCH);
            store.commit(&mut (first..last).map(|index| pair(mix(index) % keys)), true);
        }
        let crashed = self.directory.join("crashed");
        fs::create_dir(&crashed).unwrap();
        for entry in fs::read_dir(self.directory.join("main")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, crashed.join(path.file_name().expect("a file has a name"))).unwrap();
        }
        let measurement = time(|| {
            let store = self.open("crashed");
            assert!(store.snapshot().get(&key(0)).is_some());
        });
        fs::remove_dir_all(crashed).unwrap();
        measurement
    }

    fn delete_half(&mut self) -> Measurement {
        let (store, keys) = (self.store(), self.keys);
        self.changing(keys / 2, key(0).len() as u64, (keys / 2).div_ceil(BATCH), || {
            for first in (0..keys / 2).step_by(BATCH as usize) {
                let last = (keys / 2).min(first + BATCH);
                store.commit(&mut (first..last).map(|index| (key(2 * index), None)), true);
            }
            store.settle();
        })
    }

    fn compact(&mut self) -> Measurement {
        let store = self.store.as_mut().expect("the first step opens it");
        time(|| store.compact())
    }

    /// Measures `work`, which commits `count` pairs of the usual size in so many transactions.
    fn writing(&self, count: u64, commits: u64, work: impl FnOnce()) -> Measurement {
        self.changing(count, pair_bytes(), commits, work)
    }

    /// Measures `work`, which commits `count` changes of `bytes_each` in so many transactions.
    fn changing(&self, count: u64, bytes_each: u64, commits: u64, work: impl FnOnce()) -> Measurement {
        // What other steps and other processes left unwritten is not this one's to wait for.
        Command::new("sync").status().unwrap();
        self.calls.take();
        let started = Instant::now();
        work();
        let elapsed = started.elapsed();
        let calls = self.calls.take();
        let writes = Writes {
            commits,
            syncs: calls.iter().filter(|call| call.operation == Operation::Sync).count() as u64,
            user_bytes: count * bytes_each,
            written_bytes: calls.iter().map(|call| call.bytes).sum(),
        };
        Measurement { figure: Figure::Rate { count, elapsed }, writes: Some(writes) }
    }
}

fn pair(index: u64) -> Change {
    (key(index), Some(value(index)))
}

fn pair_bytes() -> u64 {
    (key(0).len() + value(0).len()) as u64
}

fn time(work: impl FnOnce()) -> Measurement {
    let started = Instant::now();
    work();
    Measurement { figure: Figure::Time(started.elapsed()), writes: None }
}

/// Lets each thread read `count` times from a snapshot of its own.
fn reads<S: Store>(
    store: &S,
    threads: u64,
    count: u64,
    read: impl Fn(&S::Snapshot, u64) -> usize + Sync,
) -> Measurement {
    let read = &read;
    median(|| {
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || {
                    let snapshot = store.snapshot();
                    let draws = number * count..(number + 1) * count;
                    std::hint::black_box(draws.map(|draw| read(&snapshot, mix(draw))).sum::<usize>());
                });
            }
        });
        threads * count
    })
}

/// Measures what changes nothing several times.
fn median(mut work: impl FnMut() -> u64) -> Measurement {
    let mut rounds: Vec<(Duration, u64)> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            let count = work();
            (started.elapsed(), count)
        })
        .collect();
    rounds.sort_unstable();
    let (elapsed, count) = rounds[ROUNDS / 2];
    Measurement { figure: Figure::Rate { count, elapsed }, writes: None }
}
