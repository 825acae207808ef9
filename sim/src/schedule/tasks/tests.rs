//! Runs in virtual time: what time adds to a plan, what it doesn't change, and what a store can't do in it.

mod endless;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proofmark_model::{Checker, Durability, Event, Key, Mutation, Value};
use proofmark_vfs::{OpenMode, Vfs};

use super::*;
use crate::plan::{Action, Schedule};
use crate::run::{Run, RunStats, run_plan, trace_plan};
use crate::store::{BatchStore, Batches, StoreFactory, StoreKind};
use crate::workload::Source;

fn plan(schedule: &str, steps: &str) -> Plan {
    format!("proofmark plan 1\nschedule tasks {schedule}\n{steps}")
        .parse()
        .unwrap_or_else(|error| panic!("{error} in\n{steps}"))
}

fn run_on(plan: &Plan, factory: &dyn StoreFactory) -> Run {
    let run = run_plan(plan, factory);
    assert_eq!(run.verdict, Ok(()), "{plan}\n{}", run.history);
    run
}

fn in_order(plan: &Plan, run: &Run) -> Plan {
    plan.of_taken(run.taken.as_ref().expect("it is up to time what is taken when"))
}

#[test]
fn a_run_is_that_of_its_steps_in_the_order_in_which_they_were_taken() {
    let mut sum = RunStats::default();
    for store in StoreKind::ALL {
        for seed in 0..40 {
            let plan = Source::Tasks.plan(seed, store);
            let run = run_on(&plan, store.factory());
            let in_order = in_order(&plan, &run);
            let same = run_on(&in_order.to_string().parse().unwrap(), store.factory());
            for (step, (one, other)) in run.history.events.iter().zip(&same.history.events).enumerate() {
                assert_eq!(one, other, "{store}, seed {seed}, event {step}");
            }
            assert_eq!(run.trace_hash, same.trace_hash, "{store}, seed {seed}");
            assert_eq!(run.strikes.len(), same.strikes.len(), "{store}, seed {seed}");
            let untimed = RunStats { virtual_us: 0, task_polls: 0, ..run.stats.clone() };
            assert_eq!(untimed, same.stats, "{store}, seed {seed}");
            sum += &run.stats;
        }
    }
    assert!(sum.crashes.commit > 0 && sum.crashes.recovery > 0 && sum.crashes.creation > 0, "{sum:?}");
    assert!(sum.task_polls > 0, "{sum:?}");
    assert!(sum.virtual_us > 80 * 1_000_000, "{sum:?}");
}

#[test]
fn the_same_plan_is_the_same_run_and_another_seed_another_one() {
    let mut hashes = BTreeSet::new();
    let mut plan = Source::Tasks.plan(3, StoreKind::Engine);
    let run = run_on(&plan, StoreKind::Engine.factory());
    for _ in 0..5 {
        assert_eq!(run_on(&plan, StoreKind::Engine.factory()), run);
    }
    for other in 0..5 {
        let Schedule::Tasks(tasks) = &mut plan.schedule else { panic!("{}", plan.schedule) };
        tasks.seed = other;
        hashes.insert(run_on(&plan, StoreKind::Engine.factory()).trace_hash);
    }
    assert_eq!(hashes.len(), 5);
}

#[test]
fn tracing_tells_the_time_and_changes_nothing() {
    let plan = plan("seed=1 think=10s", "c0 begin read\nc1 begin read\nc0 abort\nc1 abort");
    let run = run_on(&plan, StoreKind::Engine.factory());
    let traced = trace_plan(&plan, StoreKind::Engine.factory());
    assert_eq!(traced.trace_hash, run.trace_hash);
    assert!(run.stats.virtual_us > 100_000, "{:?}", run.stats);
    let lines = traced.trace.unwrap();
    assert!(lines.iter().any(|line| line.ends_with(" s  c0 begin read")), "{lines:#?}");
}

#[test]
fn clients_are_interleaved_in_more_than_one_way() {
    let steps = "c0 begin read\nc0 abort\nc1 begin read\nc1 abort\nc2 begin read\nc2 abort";
    let orders: BTreeSet<String> = (0..60)
        .map(|seed| {
            let plan = plan(&format!("seed={seed} think=1ms"), steps);
            in_order(&plan, &run_on(&plan, StoreKind::Engine.factory())).to_string()
        })
        .collect();
    assert!(orders.len() > 30, "only {} orders", orders.len());
}

#[test]
fn who_is_refused_beside_a_writer_tries_again() {
    let client = |client| {
        format!("c{client} begin write\nc{client} put \"k{client}\" #{client}*8\nc{client} commit sync\n")
    };
    let steps: String = (1..=4).map(client).collect();
    let mut refusals = 0;
    for seed in 0..20 {
        let run = run_on(&plan(&format!("seed={seed} think=5ms"), &steps), StoreKind::Engine.factory());
        assert_eq!(run.stats.commits, 4, "{}", run.history);
        refusals += run.stats.refusals;
    }
    assert!(refusals > 10, "{refusals} refusals");
}

#[test]
fn commits_within_a_window_share_a_sync() {
    let client = |client| {
        format!(
            "c{client} begin optimistic\nc{client} put \"k{client}\" #{client}*8\nc{client} commit sync\n"
        )
    };
    let steps: String = (1..=8).map(client).collect();
    let syncs = |schedule| {
        let runs = (0..10).map(|seed| {
            let run = run_on(&plan(&format!("seed={seed} {schedule}"), &steps), StoreKind::Engine.factory());
            assert_eq!(run.stats.commits, 8, "{}", run.history);
            run.stats.disk.syncs
        });
        runs.sum::<u64>()
    };
    let (alone, in_groups) = (syncs("think=2ms"), syncs("think=2ms group-window=100ms"));
    assert!(in_groups + 50 < alone, "{in_groups} syncs in groups, {alone} alone");
    // One that has nothing to share is a commit all the same.
    let plan = plan("seed=1 think=1ms group-window=1s", "c0 begin read\nc0 commit sync\nc0 commit sync");
    let taken = run_on(&plan, StoreKind::Engine.factory()).taken.unwrap();
    assert_eq!(taken, [Taken::Planned(0), Taken::Planned(1), Taken::Planned(2)]);
}

#[test]
fn the_timer_asks_for_checkpoints() {
    let steps = "c0 begin read\nc0 get \"k\"\nc0 get \"k\"\nc0 get \"k\"\nc0 abort\n";
    let checkpoints = |schedule: &str| {
        let plan = plan(&format!("seed=5 think=1s{schedule}"), steps);
        let run = run_on(&plan, StoreKind::Engine.factory());
        let is_added = |taken: &&Taken| **taken == Taken::Added(Step::Checkpoint);
        run.taken.iter().flatten().filter(is_added).count()
    };
    assert_eq!(checkpoints(""), 0);
    assert!((5..200).contains(&checkpoints(" checkpoint-every=100ms")));
}

#[test]
fn a_disk_that_is_too_slow_for_its_checkpoints_holds_nobody_up() {
    let mut steps = String::new();
    for number in 0..30 {
        let client = number % 3;
        writeln!(steps, "c{client} begin write\nc{client} put \"k\" #{number}*8\nc{client} commit buffered")
            .unwrap();
    }
    for seed in 0..10 {
        let plan = plan(&format!("seed={seed} think=1ms checkpoint-every=1ms"), &steps);
        for store in StoreKind::ALL {
            let run = run_on(&plan, store.factory());
            assert!(run.stats.virtual_us < 600_000_000, "{:?}", run.stats);
        }
    }
}

#[test]
fn what_befalls_a_run_is_not_taken_for_what_befalls_its_creation() {
    for first in ["crash call=1 before keep=none", "fault io-error on=sync error=EIO nth=1"] {
        let steps = format!("heal\n{first}\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n");
        for seed in 0..10 {
            let plan = plan(&format!("seed={seed} think=1ms"), &steps);
            let run = run_on(&plan, StoreKind::Engine.factory());
            let same = run_on(&in_order(&plan, &run), StoreKind::Engine.factory());
            assert_eq!(run.trace_hash, same.trace_hash, "{}", run.history);
            assert_eq!(run.stats.crashes.creation, 0);
        }
    }
}

#[test]
fn nobody_switches_between_tasks() {
    let fault = "fault io-error on=sync error=EIO nth=99999";
    let steps = format!("{fault}\nswitch point=1 to=c0\nc0 begin read\nswitch point=2 to=c1\nc0 abort\n");
    let plan = plan("seed=1 think=1ms", &steps);
    let run = run_on(&plan, StoreKind::Engine.factory());
    assert_eq!(in_order(&plan, &run), plan.in_order());
}

/// A store that can't be created.
struct Stillborn;

impl BatchStore for Stillborn {
    fn open(_vfs: Arc<dyn Vfs>) -> io::Result<Self> {
        Err(io::Error::other("no store is made here"))
    }

    fn apply(&mut self, _batch: &[Mutation]) -> io::Result<()> {
        unreachable!("it was never opened")
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        unreachable!("it was never opened")
    }
}

#[test]
fn what_was_planted_before_a_creation_that_failed_was_taken() {
    let faults = "fault short-read nth=7\nswitch point=1 to=c0\nfault interrupted every=3\n";
    let plan = plan("seed=1 think=1ms", &format!("{faults}c0 begin read\nc0 abort\n"));
    let factory = Batches::<Stillborn>::new();
    let run = run_plan(&plan, &factory);
    assert_eq!(run.taken.as_deref(), Some(&[Taken::Planned(0), Taken::Planned(2)][..]));
    assert_eq!(run.stats.faults_planted, 2);
    let same = run_plan(&in_order(&plan, &run), &factory);
    assert_eq!((same.trace_hash, same.verdict), (run.trace_hash, run.verdict));
}

#[test]
fn a_process_dies_again_while_it_recovers() {
    let crash = "crash call=2 before keep=none, call=3 before keep=all, call=5 after keep=none";
    let steps =
        format!("{crash}\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\nc1 begin read\nc1 abort\n");
    let run = run_on(&plan("seed=9 think=1ms", &steps), StoreKind::Engine.factory());
    assert_eq!((run.stats.crashes.creation, run.stats.crashes.recovery), (1, 2), "{}", run.history);
    assert!(run.history.events.iter().any(|event| matches!(event, Event::Begin { .. })));
}

/// A store in one file, that does something else before it commits.
struct Wilful<const WHAT: u8>(Box<dyn proofmark_vfs::VfsFile>);

const STARTS_A_THREAD: u8 = 0;
const WRITES_THE_TIME: u8 = 1;
const WRITES_A_HASH: u8 = 2;

impl<const WHAT: u8> BatchStore for Wilful<WHAT> {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Self> {
        let file = vfs.open("/store".as_ref(), OpenMode::Create)?;
        vfs.sync_directory("/".as_ref())?;
        Ok(Wilful(file))
    }

    fn apply(&mut self, _batch: &[Mutation]) -> io::Result<()> {
        let written = match WHAT {
            STARTS_A_THREAD => thread::Builder::new().spawn(|| 0)?.join().unwrap_or(1),
            WRITES_THE_TIME => now(),
            _ => hash(),
        };
        self.0.write_all_at(&written.to_le_bytes(), 0)
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        Ok(BTreeMap::new())
    }
}

#[expect(clippy::disallowed_types, reason = "this is what a store must not do, and can't do here")]
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(0)
}

#[expect(clippy::disallowed_types, reason = "this is what a store must not do, and can't do here")]
fn hash() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one("key")
}

#[test]
fn a_store_has_neither_time_nor_chance_of_its_own() {
    let steps = "c0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n";
    let plan = plan("seed=1 think=1ms", steps);
    for factory in [
        &Batches::<Wilful<WRITES_THE_TIME>>::new() as &dyn StoreFactory,
        &Batches::<Wilful<WRITES_A_HASH>>::new(),
    ] {
        let hashes: BTreeSet<u64> = (0..5).map(|_| run_plan(&plan, factory).trace_hash).collect();
        assert_eq!(hashes.len(), 1, "{factory:?}");
        let hashes: BTreeSet<u64> = (0..5)
            .map(|_| run_plan(&in_order(&plan, &run_plan(&plan, factory)), factory).trace_hash)
            .collect();
        assert!(hashes.len() > 1, "it is no store that shows anything: {factory:?}");
    }
}

#[test]
fn a_thread_is_an_error() {
    let plan = plan("seed=1 think=1ms", "c0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n");
    let violation = run_plan(&plan, &Batches::<Wilful<STARTS_A_THREAD>>::new()).verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Availability, "failed-commit"), "{violation}");
    assert!(violation.message.contains("panicked at"), "{violation}");
}

#[test]
fn sleeping_is_exact() {
    let moments = in_a_world(1, async |_| {
        let mut moments = Vec::new();
        for microseconds in [3, 50, 1_000, 3_600_000_000] {
            let moment = Duration::from_micros(microseconds);
            sleep_until(moment).await;
            let late = madsim::time::TimeHandle::current().elapsed() - moment;
            moments.push(late);
        }
        moments
    });
    assert!(moments.iter().all(|late| *late < Duration::from_micros(2)), "{moments:?}");
}

#[test]
fn a_durable_commit_that_is_handed_in_is_waited_for() {
    let steps = "c0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n";
    let plan = plan("seed=1 think=1ms group-window=10ms", steps);
    let run = run_on(&plan, StoreKind::Engine.factory());
    let actions: Vec<Step> = in_order(&plan, &run).steps.split_off(2);
    let client = |action| Step::Client(ClientId(0), action);
    assert_eq!(actions, [client(Action::Submit), client(Action::Wait)]);
    assert_eq!(run.event_steps.iter().flatten().max(), Some(&2));
    // A store that can't be handed anything commits.
    let run = run_on(&plan, StoreKind::Redb.factory());
    assert!(in_order(&plan, &run).steps.contains(&client(Action::Commit(Durability::Sync))));
}
