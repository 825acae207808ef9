//! A store that does everything wrong that keeps a run from its end.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use proofmark_model::{Checker, Durability, Key, KeyRange, TxnId, Value};
use proofmark_vfs::Vfs;
use shuttle::sync::{Mutex, MutexGuard};

use crate::plan::Config;
use crate::run::{Run, run_plan};
use crate::store::{Engine, Promises, Store, StoreError, StoreFactory, Transaction};

/// A store that holds nothing, and says what is dropped. Readers and writers lock two locks, but not in the same order. Who
/// looks for a key never finds it, and who looks for `disk` looks for it there.
#[derive(Debug, Clone, Default)]
struct Clumsy {
    /// Whether every scan takes very long.
    dawdles: bool,
    drops: Arc<std::sync::Mutex<Drops>>,
}

/// So many points a scan passes that takes long.
const DAWDLING_POINTS: usize = 60_000;

/// What was dropped, in order. All handles and transactions have numbers, in the order in which they were made.
#[derive(Debug, Default)]
struct Drops {
    made: usize,
    dropped: Vec<String>,
}

/// Says when it is dropped.
struct Witness {
    what: &'static str,
    number: usize,
    clumsy: Clumsy,
}

impl Clumsy {
    fn witness(&self, what: &'static str) -> Witness {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        drops.made += 1;
        Witness { what, number: drops.made, clumsy: self.clone() }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let mut drops = self.clumsy.drops.lock().unwrap_or_else(PoisonError::into_inner);
        drops.dropped.push(format!("{} {}", self.what, self.number));
    }
}

impl StoreFactory for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    fn promises(&self) -> Promises {
        Promises { transaction_ids: false, time_travel: false, ..Engine.promises() }
    }

    fn open(&self, vfs: Arc<dyn Vfs>, _: &Config) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Locks { both: Arc::default(), vfs, handle: self.witness("handle") }))
    }

    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        Some(Box::leak(Box::new(self.clone())))
    }
}

struct Locks {
    both: Arc<(Mutex<()>, Mutex<()>)>,
    vfs: Arc<dyn Vfs>,
    handle: Witness,
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    fn transaction(&self) -> Box<dyn Transaction> {
        let witness = self.handle.clumsy.witness("transaction");
        Box::new(Nothing { vfs: Arc::clone(&self.vfs), witness })
    }
}

impl Store for Locks {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let _first = lock(&self.both.0);
        let _second = lock(&self.both.1);
        Ok(self.transaction())
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let _second = lock(&self.both.1);
        let _first = lock(&self.both.0);
        Ok(self.transaction())
    }

    fn handle(&self) -> Option<Box<dyn Store + Send>> {
        let handle = self.handle.clumsy.witness("handle");
        Some(Box::new(Locks { both: Arc::clone(&self.both), vfs: Arc::clone(&self.vfs), handle }))
    }
}

struct Nothing {
    vfs: Arc<dyn Vfs>,
    witness: Witness,
}

impl Transaction for Nothing {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        loop {
            shuttle::thread::yield_now();
            if key == b"disk" {
                let _ = self.vfs.list(Path::new("/"));
            }
        }
    }

    fn scan(&mut self, _: &KeyRange, _: usize, is_reverse: bool) -> Result<Vec<(Key, Value)>, StoreError> {
        let dawdles = self.witness.clumsy.dawdles;
        for point in 0..if dawdles { DAWDLING_POINTS } else { 0 } {
            shuttle::thread::yield_now();
            // Whoever scans backwards looks at the disk now and then, and takes six times as long.
            for _ in 0..if is_reverse { 5 } else { 0 } {
                shuttle::thread::yield_now();
            }
            if is_reverse && point % 100 == 0 {
                let _ = self.vfs.list(Path::new("/"));
            }
        }
        Ok(Vec::new())
    }

    fn commit(self: Box<Self>, _: Durability) -> Result<Option<TxnId>, StoreError> {
        Ok(None)
    }
}

fn run_clumsily(steps: &str) -> Run {
    run_on(&Clumsy::default(), steps)
}

fn run_on(clumsy: &Clumsy, steps: &str) -> Run {
    let plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}");
    run_plan(&plan.parse().unwrap(), clumsy)
}

fn assert_stuck(run: &Run, kind: &str, threads: &[&str]) {
    let violation = run.verdict.as_ref().unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Liveness, kind), "{violation}");
    for thread in threads {
        assert!(violation.message.contains(thread), "{violation}");
    }
}

#[test]
fn threads_that_wait_for_each_other_are_found() {
    assert_eq!(run_clumsily("c0 begin read\nc1 begin write\n").verdict, Ok(()), "one after the other");
    // The readers's second lock is one point after its first.
    let found = (1..6)
        .map(|point| run_clumsily(&format!("c0 begin read\nswitch point={point} to=c1\nc1 begin write\n")));
    let run =
        found.into_iter().find(|run| run.verdict.is_err()).expect("one of these points is between the locks");
    assert_stuck(
        &run,
        "deadlock",
        &["c0 in step 1 of its own (c0 begin read)", "c1 in step 1 of its own (c1 begin write)"],
    );
}

#[test]
fn threads_that_come_to_nothing_are_found() {
    let run = run_clumsily("c0 begin read\nc0 get \"k\"\nc1 begin read\nc1 abort\n");
    assert_stuck(&run, "livelock", &["c0 in step 2 of its own (c0 get \"k\")"]);
}

/// I/O calls alone are no sign that anything will come of them.
#[test]
fn threads_that_look_at_the_disk_for_ever_are_found() {
    let run = run_clumsily("c0 begin read\nc0 get \"disk\"\nc1 begin read\nc1 abort\n");
    assert_stuck(&run, "livelock", &["c0 in step 2 of its own (c0 get \"disk\")"]);
    assert!(run.stats.io_calls > 100_000, "{}", run.stats.io_calls);
}

/// Whoever begins something new, or looks at the disk now and then, has its time.
#[test]
fn what_takes_long_is_no_livelock() {
    let dawdling = Clumsy { dawdles: true, ..Clumsy::default() };
    let steps = "reopen\n".repeat(6) + "c0 begin read\nc0 scan (-inf .. +inf) reverse\n";
    let run = run_on(&dawdling, &steps);
    assert_eq!(run.verdict, Ok(()));
    assert!(run.stats.switch_points > 800_000, "{}", run.stats.switch_points);
}

/// The store goes first, and what is open on it outlives it, thread by thread.
#[test]
fn an_abandoned_store_goes_before_what_is_open_on_it() {
    let clumsy = Clumsy::default();
    let run = run_on(&clumsy, "c0 begin read\nc1 begin read\nabandon\n");
    assert_eq!(run.verdict, Ok(()));
    let drops = clumsy.drops.lock().unwrap_or_else(PoisonError::into_inner);
    // The driver has opened the store and read it. Then there are the handles of both threads, and what they open.
    let expected = ["transaction 2", "handle 1", "handle 3", "transaction 5", "handle 4", "transaction 6"];
    assert_eq!(drops.dropped[..6], expected);
}
