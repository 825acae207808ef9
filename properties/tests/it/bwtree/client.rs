//! Does what a workload says, and writes down what was asked and answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_engine_variants::{Shared, Subject, Tree, subject, tracked};
use proofmark_model::linearizable::{Answer, Call, End, History, Operation, check};

use super::workload::{Step, Workload};

type Operations = Vec<Operation<u64, u64>>;

subject!(ENGINE, "engine", proofmark_engine::bwtree, u64, std::convert::identity, u64::clone);

/// Runs the scripts of clients, each on a thread of its own, and waits for all of them.
pub(super) type RunAll = fn(Vec<Box<dyn FnOnce() -> Operations + Send>>) -> Vec<Operations>;

/// How much a recorder knows of what came before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// One operation is over before the other begins: then all that the one did is seen by the other.
    Time,
    /// Only what clients do before and after all others is in order. Where memory is weak, an operation that is over may
    /// not be seen by one that begins later on another thread, unless something tells that thread.
    None,
}

/// A clock for all clients.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Runs a workload on a new tree, and has the history judged.
///
/// # Panics
/// If it isn't linearizable, and if the tree lost or leaked something.
pub(super) fn run_and_judge(subject: Subject, workload: &Workload, order: Order, run_all: RunAll) {
    tracked::begin();
    let tree = (subject.new)(workload.limits);
    let history = run(&tree, workload, order, run_all);
    if let Err(violation) = check(&history) {
        panic!("{}: {}\n{workload}", violation.kind, violation.message);
    }
    drop(tree);
    tracked::end();
}

/// Brings a tree to where clients find it, and returns what is there.
fn prepare(tree: &Shared, workload: &Workload) -> BTreeMap<u64, u64> {
    let mut start = BTreeMap::new();
    for (key, value) in &workload.start {
        assert_eq!(tree.upsert(*key, *value), start.insert(*key, *value), "at the start, upsert of {key}");
    }
    for key in &workload.gone {
        assert_eq!(tree.delete(*key), start.remove(key), "at the start, delete of {key}");
    }
    if workload.is_maintained {
        tree.maintain();
    }
    start
}

fn run(tree: &Shared, workload: &Workload, order: Order, run_all: RunAll) -> History<u64, u64> {
    let start = prepare(tree, workload);
    let clock = Arc::new(Clock::default());
    let client = |(client, script): (usize, &Vec<Step>)| {
        let (tree, clock, script) = (tree.clone(), Arc::clone(&clock), script.clone());
        let run: Box<dyn FnOnce() -> Operations + Send> =
            Box::new(move || run_script(&tree, client, &script, &clock));
        run
    };
    let clients = workload.scripts.iter().enumerate().map(client).collect();
    let mut operations = run_all(clients).concat();
    if order == Order::None {
        let end = clock.tick();
        for operation in &mut operations {
            operation.invoked = 0;
            operation.answered.as_mut().expect("all clients are done").0 = end;
        }
    }
    let pairs = all_pairs(&**tree);
    tree.maintain();
    assert_eq!(all_pairs(&**tree), pairs, "maintenance changes nothing");
    History { start, operations, end: Some(End { pairs, length: tree.len() }) }
}

/// How many leaves a tree of the engine's own has before and after the clients, one after the other.
pub(super) fn leaves_before_and_after(workload: &Workload) -> (usize, usize) {
    let tree = (ENGINE.new)(workload.limits);
    prepare(&tree, workload);
    let before = tree.leaves();
    for (client, script) in workload.scripts.iter().enumerate() {
        run_script(&tree, client, script, &Clock::default());
    }
    (before, tree.leaves())
}

fn all_pairs(tree: &dyn Tree) -> Vec<(u64, u64)> {
    let mut pairs = Vec::new();
    tree.scan(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, &mut |seen| pairs.extend(seen));
    pairs
}

fn run_script(tree: &Shared, client: usize, script: &[Step], clock: &Clock) -> Operations {
    let mut operations = Vec::new();
    for step in script {
        match step {
            Step::Ask(call) => {
                let invoked = clock.tick();
                let answer = ask(&**tree, call);
                let answered = Some((clock.tick(), answer));
                operations.push(Operation { client, call: call.clone(), invoked, answered });
            }
            Step::Maintain => tree.maintain(),
            Step::Collect => tree.collect(),
        }
    }
    operations
}

/// Asks a tree, and returns what it answers.
pub(super) fn ask(tree: &dyn Tree, call: &Call<u64, u64>) -> Answer<u64, u64> {
    let said = |yes: bool| if yes { Answer::Done } else { Answer::Refused };
    let mut pairs = Vec::new();
    let mut see = |seen: Box<dyn Iterator<Item = (u64, u64)> + '_>| pairs.extend(seen);
    match call {
        Call::Insert(key, value) => said(tree.insert(*key, *value)),
        Call::Upsert(key, value) => Answer::Value(tree.upsert(*key, *value)),
        Call::CompareAndInsert(key, expected, value) => {
            match tree.compare_and_insert(*key, *expected, *value) {
                Ok(()) => Answer::Done,
                Err(found) => Answer::Found(found),
            }
        }
        Call::Delete(key) => Answer::Value(tree.delete(*key)),
        Call::Get(key) => Answer::Value(tree.get(*key)),
        Call::Contains(key) => said(tree.contains(*key)),
        Call::Scan(from, to) => {
            tree.scan(*from, *to, &mut see);
            Answer::Pairs(pairs)
        }
        Call::ScanReverse(from, to) => {
            tree.scan_reverse(*from, *to, &mut see);
            Answer::Pairs(pairs)
        }
        Call::First => Answer::Pairs(tree.first().into_iter().collect()),
        Call::Last => Answer::Pairs(tree.last().into_iter().collect()),
        Call::Clear => {
            tree.clear();
            Answer::Done
        }
    }
}

/// The engine's own tree, one client after the other: no scheduler is needed to see that it is a map.
#[test]
fn one_client_after_the_other() {
    for seed in 0..2_000 {
        let workload = Workload::new(seed);
        run_and_judge(ENGINE, &workload, Order::Time, |clients| {
            clients.into_iter().map(|client| client()).collect()
        });
    }
}

/// Where merges are to meet merges there are merges, and splits where splits are to meet splits, even if nobody meets anybody.
#[test]
fn workloads_of_neighbours_change_the_structure() {
    let mut shares = [0; 4];
    for seed in 0..400 {
        let (before, after) = leaves_before_and_after(&Workload::new(seed));
        shares[seed as usize % 4] += usize::from(if seed % 4 == 1 { after < before } else { after > before });
    }
    println!("{shares:?}");
    let [_, merging, _, splitting] = shares;
    assert!(merging >= 90 && splitting >= 90, "{shares:?}");
}
