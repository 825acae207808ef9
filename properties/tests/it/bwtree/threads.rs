//! Real threads: our tree, and a map that is not ours.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_skiplist::SkipMap;
use proofmark_model::linearizable::{Answer, Call, History, NotLinearizable, Operation, check};

use super::client::{self, Order, RunAll, run_and_judge};
use super::setting;
use super::workload::Workload;

/// Each client on a thread of the operating system; all begin together.
const RUN_ALL: RunAll = |clients| {
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        let begin = |client: Box<dyn FnOnce() -> _ + Send>| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                client()
            })
        };
        let threads: Vec<_> = clients.into_iter().map(begin).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
};

#[test]
fn histories_of_real_threads_are_linearizable() {
    for seed in 0..setting("PROOFMARK_ROUNDS", 300) as u64 {
        run_and_judge(client::ENGINE, &Workload::long(seed, 300), Order::Time, RUN_ALL);
    }
}

/// How often the value of the key is replaced, and how often it is read, in one round.
const OPERATIONS: u64 = 2_000;

/// One thread replaces the value of a key that is always there, and another one reads it.
fn replace_and_read(
    upsert: impl Fn(u64) -> Option<u64> + Sync,
    get: impl Fn() -> Option<u64> + Sync,
) -> History<u64, u64> {
    let (clock, barrier) = (AtomicU64::new(0), Barrier::new(2));
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    upsert(0);
    let operation = |client, call: Call<u64, u64>, act: &dyn Fn() -> Option<u64>| {
        let invoked = tick();
        let value = act();
        Operation { client, call, invoked, answered: Some((tick(), Answer::Value(value))) }
    };
    let operations = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            barrier.wait();
            (0..OPERATIONS).map(|_| operation(1, Call::Get(0), &get)).collect::<Vec<_>>()
        });
        barrier.wait();
        let write = |value| operation(0, Call::Upsert(0, value), &|| upsert(value));
        let mut operations: Vec<_> = (1..=OPERATIONS).map(write).collect();
        operations.extend(reader.join().unwrap());
        operations
    });
    History { start: [(0, 0)].into(), operations, end: None }
}

/// The first round in which the history is not that of a map.
fn first_violation(rounds: usize, round: impl Fn() -> History<u64, u64>) -> Option<(usize, NotLinearizable)> {
    (1..=rounds).find_map(|number| check(&round()).err().map(|violation| (number, violation)))
}

#[test]
fn a_key_that_is_always_there_is_always_found() {
    let found = first_violation(setting("PROOFMARK_ROUNDS", 300), || {
        let tree = (client::ENGINE.new)(super::workload::SMALL);
        replace_and_read(|value| tree.upsert(0, value), || tree.get(0))
    });
    assert_eq!(found, None);
}

/// crossbeam's skip list replaces a value by removing the entry and inserting another one, and in between a reader misses a
/// key that is always there. On two cores that shows within a few rounds, so the bound is generous; on one it may not.
#[test]
fn the_skip_list_loses_a_key_while_its_value_is_replaced() {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        return;
    }
    let found = first_violation(10_000, || {
        let map = SkipMap::new();
        // It doesn't say what it replaced. There is one writer, so this is what it has to be.
        let upsert = |value: u64| {
            map.insert(0_u64, value);
            value.checked_sub(1)
        };
        replace_and_read(upsert, || map.get(&0).map(|entry| *entry.value()))
    });
    let (round, violation) = found.expect("the checker finds what it is known to do");
    println!("in round {round}: {}", violation.message);
    assert_eq!(violation.kind, "not-linearizable");
    assert!(violation.message.contains("Get(0) -> Value(None)"), "{}", violation.message);
}
