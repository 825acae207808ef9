//! The same plan is the same run, whoever decides; and a run that comes to no end says so.

use std::sync::{Arc, PoisonError};

use proofmark_model::{Checker, Durability, Key, KeyRange, TxnId, Value};
use proofmark_vfs::Vfs;
use shuttle::sync::{Mutex, MutexGuard};

use super::*;
use crate::plan::{Config, Schedule, Step, Threads};
use crate::run::{Run, run_plan};
use crate::store::{Engine, Promises, Redb, Store, StoreError, StoreKind, Transaction};
use crate::workload::{Torture, torture};

fn plan(seed: u64) -> Plan {
    torture(seed, StoreKind::Engine, &Torture::default())
}

#[test]
fn a_drawn_schedule_is_the_same_every_time_and_when_it_is_written_down() {
    let mut context_switches = 0;
    for seed in 0..8 {
        let plan = plan(seed);
        let run = run_plan(&plan, &Engine);
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        assert_eq!(run, run_plan(&plan, &Engine), "seed {seed}");
        let recorded: Plan = plan.recorded(&run.switches).to_string().parse().unwrap();
        let again = run_plan(&recorded, &Engine);
        assert_eq!((again.trace_hash, again.stats), (run.trace_hash, run.stats.clone()), "seed {seed}");
        assert_eq!((run.switches_unapplied, again.switches_unapplied), (0, 0), "seed {seed}");
        context_switches += run.stats.context_switches;
    }
    assert!(context_switches > 1000, "{context_switches}");
}

#[test]
fn any_switch_may_go() {
    let plan = plan(3);
    let recorded = plan.recorded(&run_plan(&plan, &Engine).switches);
    for keep_every in [2, 3, 50] {
        let mut fewer = recorded.clone();
        let mut number = 0;
        fewer.steps.retain(|step| {
            number += usize::from(matches!(step, Step::Switch(_)));
            !matches!(step, Step::Switch(_)) || number % keep_every == 0
        });
        let run = run_plan(&fewer, &Engine);
        assert_eq!(run.verdict, Ok(()));
        assert_eq!(run, run_plan(&fewer, &Engine));
    }
}

/// A switch that asks for what can't be is counted: the plan no longer is what was recorded.
#[test]
fn switches_that_do_not_come_are_counted() {
    let run = |switches: &str| {
        let steps = format!("c0 begin read\n{switches}c0 abort\nc1 begin read\nc1 abort\n");
        let plan: Plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}").parse().unwrap();
        run_plan(&plan, &Engine)
    };
    let unapplied = |switches: &str| run(switches).switches_unapplied;
    assert_eq!(unapplied("switch point=1 to=c1\n"), 0);
    assert_eq!(unapplied("switch point=1 to=c0\n"), 0, "who goes on anyway may be named");
    assert_eq!(unapplied("switch point=9999 to=c1\n"), 1, "there is no such point");
    assert_eq!(unapplied("switch point=1 to=c2\n"), 1, "there is no such thread");
    assert_eq!(unapplied("switch point=1 to=c1\nswitch point=1 to=c0\nswitch point=2 to=upkeep\n"), 2);
    assert_eq!(run("switch point=1 to=c1\n").verdict, Ok(()));
}

#[test]
fn a_store_that_is_not_built_for_threads_is_an_error() {
    let plan = plan(0);
    assert_eq!(crate::schedule::check(&plan, &Engine), Ok(()));
    let refused = crate::schedule::check(&plan, &Redb).unwrap_err().to_string();
    assert!(refused.starts_with("redb can't be run with the schedule `threads seed=0"), "{refused}");
    assert_eq!(crate::schedule::check(&plan.in_order(), &Redb), Ok(()));
}

/// A store that holds nothing. Readers and writers lock two locks, but not in the same order; who looks for a key never
/// finds it.
#[derive(Debug)]
struct Clumsy;

#[derive(Debug, Clone, Default)]
struct Locks(Arc<(Mutex<()>, Mutex<()>)>);

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoreFactory for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    fn promises(&self) -> Promises {
        Promises { transaction_ids: false, time_travel: false, ..Engine.promises() }
    }

    fn open(&self, _: Arc<dyn Vfs>, _: &Config) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Locks::default()))
    }

    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        Some(&Clumsy)
    }
}

impl Store for Locks {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let _first = lock(&self.0.0);
        let _second = lock(&self.0.1);
        Ok(Box::new(Nothing))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let _second = lock(&self.0.1);
        let _first = lock(&self.0.0);
        Ok(Box::new(Nothing))
    }

    fn handle(&self) -> Option<Box<dyn Store + Send>> {
        Some(Box::new(self.clone()))
    }
}

struct Nothing;

impl Transaction for Nothing {
    fn get(&mut self, _: &[u8]) -> Result<Option<Value>, StoreError> {
        loop {
            shuttle::thread::yield_now();
        }
    }

    fn scan(&mut self, _: &KeyRange, _: usize, _: bool) -> Result<Vec<(Key, Value)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(self: Box<Self>, _: Durability) -> Result<Option<TxnId>, StoreError> {
        Ok(None)
    }
}

fn run_clumsily(steps: &str) -> Run {
    let plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}");
    run_plan(&plan.parse().unwrap(), &Clumsy)
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
    assert_stuck(&run, "deadlock", &["c0 in step 1 (c0 begin read)", "c1 in step 3 (c1 begin write)"]);
}

#[test]
fn threads_that_come_to_nothing_are_found() {
    let run = run_clumsily("c0 begin read\nc0 get \"k\"\nc1 begin read\nc1 abort\n");
    assert_stuck(&run, "livelock", &["c0 in step 2 (c0 get \"k\")"]);
}

/// The step that is struck is over; what comes after it in its phase is taken when the store is open again, by all threads,
/// and the store has to write after that.
#[test]
fn what_a_power_loss_leaves_of_a_phase_is_taken_after_the_recovery() {
    let steps = "crash call=1 before keep=none\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n\
        c0 begin write\nc0 put \"k\" #2*8\nc0 commit sync\nc1 begin read\nc1 get \"k\"\n";
    let plan: Plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}").parse().unwrap();
    let run = run_plan(&plan, &Engine);
    assert_eq!(run.verdict, Ok(()));
    let history = run.history.to_string();
    let (before, after) = history.split_once("crash").expect("the power fails");
    assert!(before.contains("submit") && !before.contains("begin read"), "{history}");
    assert!(after.contains("#2*8") && after.contains("c1"), "{history}");
    assert_eq!((run.stats.commits, run.stats.steps_skipped), (1 + 3, 0), "{history}");
}

#[test]
fn no_step_is_begun_after_the_power_is_gone() {
    let (mut losses, mut retaken) = (0, 0);
    for seed in 0..60 {
        let plan = plan(seed);
        let run = run_plan(&plan, &Engine);
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        for strike in run.strikes.iter().filter(|strike| strike.site.is_some()) {
            losses += 1;
            let later = run.event_steps.iter().rev().flatten().next();
            retaken += u64::from(later > strike.step.as_ref());
        }
        let recorded: Plan = plan.recorded(&run.switches).to_string().parse().unwrap();
        assert_eq!(run_plan(&recorded, &Engine).trace_hash, run.trace_hash, "seed {seed}");
    }
    assert!(losses > 10 && retaken > 5, "{losses} power losses, {retaken} with steps after them");
}

#[test]
fn what_a_plan_says_of_threads_is_what_the_run_was() {
    let plan = plan(5);
    let run = run_plan(&plan, &Engine);
    let Schedule::Threads(Threads::Drawn(_)) = plan.schedule else { panic!("it is drawn") };
    assert!(run.stats.switch_points > run.stats.context_switches);
    assert_eq!(run.event_steps.len(), run.history.events.len());
    assert!(run.switches.iter().all(|(step, _)| step.is_none_or(|step| step < plan.steps.len())));
}
