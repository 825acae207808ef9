//! Threads, interleaved in every way that chance comes to: the engine passes, and every mistake planted in how its threads
//! work together is found.
//!
//! `PROOFMARK_TORTURE_SEEDS` sets how many seeds the engine has to pass.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread;

use proofmark_model::{Checker, Event, Violation};
use proofmark_planted::{ENGINES, PlantedEngine};
use proofmark_sim::plan::{Plan, Schedule, Step, Threads};
use proofmark_sim::run::{Run, run_plan};
use proofmark_sim::shrink::{Attempt, Executor, Shrunk, Size, commented_plan, shrink};
use proofmark_sim::store::{Engine, StoreFactory, StoreKind};
use proofmark_sim::workload::{Source, Torture, torture};

use crate::pages::{BLESS, compare};

/// How many seeds the engine has to pass, if nothing else is said.
const SEEDS: u64 = 40;
/// Within how many seeds a mistake has to be found.
const SEEDS_MAX: u64 = 2000;
/// Shrinking ends after so many runs, done or not.
const RUNS_MAX: u64 = 1500;
/// So often a plan is run to see that it is one run.
const REPETITIONS: usize = 100;
const TABLE: &str = "properties/TORTURE.md";
const SUITE: &str = "torture";

fn plan(seed: u64) -> Plan {
    torture(seed, StoreKind::Engine, &Torture::default())
}

fn seeds() -> u64 {
    let seeds = std::env::var("PROOFMARK_TORTURE_SEEDS");
    seeds.map_or(SEEDS, |seeds| seeds.parse().expect("PROOFMARK_TORTURE_SEEDS is a number"))
}

#[test]
fn the_engine_passes() {
    let (mut crowds, mut conflicts, mut power_losses) = (0, 0, 0);
    for seed in 0..seeds() {
        let plan = plan(seed);
        let run = run_plan(&plan, &Engine);
        assert_eq!(run.verdict, Ok(()), "seed {seed}: replay {seed} --torture");
        let threads: BTreeSet<_> = plan.steps.iter().filter_map(Step::thread).collect();
        crowds += u64::from(threads.len() > 32);
        conflicts += run.stats.denials.conflict;
        power_losses += run.stats.crashes.power_losses();
    }
    assert!(crowds > 2 && conflicts > 20 && power_losses > 10, "{crowds}, {conflicts}, {power_losses}");
}

/// What happens to one thread alone, with all its faults, happens beside others, too.
#[test]
fn the_engine_passes_with_faults() {
    for seed in 0..seeds() / 2 {
        let run = run_plan(&Source::Threads.plan(seed, StoreKind::Engine), &Engine);
        assert_eq!(run.verdict, Ok(()), "seed {seed}: replay {seed} --schedule threads");
    }
}

/// Each mistake is found; what found it is the same run a hundred times, once the switches are written down; and what is left
/// of it when it is shrunk is what matters: a few steps, and a few turns that a thread loses.
#[test]
fn every_mistake_is_found_and_repeated_and_shrunk() {
    let rows: Vec<String> = thread::scope(|scope| {
        let searches: Vec<_> = ENGINES.iter().map(|engine| scope.spawn(|| row(engine))).collect();
        searches
            .into_iter()
            .map(|search| search.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    compare(TABLE, SUITE, &table(&rows.concat()), str::to_owned);
}

/// What is to be said of a mistake.
fn row(engine: &PlantedEngine) -> String {
    let (seed, found) = find(engine);
    let (name, violation) = (engine.name(), violation(&found));
    assert_ne!(violation.checker, Checker::Timeline, "{name} confuses the testbed: {violation}");
    let recorded = repeat(engine, &plan(seed), &found);
    let shrunk = shrink_it(engine, &recorded);
    let (before, after) = (Size::of(&recorded), Size::of(&shrunk.plan));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        name.replace('_', " "),
        engine.mistake().what,
        violation.checker,
        violation.kind,
        seed + 1,
        before.operations,
        after.operations,
        before.switches,
        after.switches
    )
}

/// Writes down the switches of a run, and sees to it that it is the same run from then on.
fn repeat(engine: &PlantedEngine, plan: &Plan, found: &Run) -> Plan {
    let recorded: Plan = plan.recorded(&found.switches).to_string().parse().unwrap();
    assert_eq!(recorded.schedule, Schedule::Threads(Threads::Recorded));
    for _ in 0..REPETITIONS {
        let run = run_plan(&recorded, engine);
        assert_eq!((run.trace_hash, &run.verdict), (found.trace_hash, &found.verdict), "{}", engine.name());
        assert_eq!(run.switches_unapplied, 0, "{}", engine.name());
    }
    recorded
}

/// Makes what was found small, for the same reason.
fn shrink_it(engine: &PlantedEngine, recorded: &Plan) -> Shrunk {
    let mut bounded = |attempt: Attempt<'_>| {
        if attempt.best.runs < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let shrunk = shrink(recorded, Executor::new(&|plan| run_plan(plan, engine)), &mut bounded).unwrap();
    let (before, after) = (Size::of(recorded), Size::of(&shrunk.plan));
    let text = commented_plan(&shrunk, engine.name());
    assert!((1..before.switches).contains(&after.switches), "{before}: {after}\n{text}");
    assert!(after.operations < before.operations, "{before}: {after}\n{text}");
    let again = run_plan(&text.parse().unwrap(), engine);
    assert_eq!(again.verdict.as_ref(), Err(&shrunk.violation), "{text}");
    assert_eq!(again.switches_unapplied, 0, "{text}");
    shrunk
}

/// The first seed that finds a mistake, and its run.
fn find(engine: &PlantedEngine) -> (u64, Run) {
    let runs = (0..SEEDS_MAX).map(|seed| (seed, run_plan(&plan(seed), engine)));
    let found = runs.into_iter().find(|(_, run)| run.verdict.is_err());
    found.unwrap_or_else(|| panic!("{} is not found within {SEEDS_MAX} seeds", engine.name()))
}

fn violation(run: &Run) -> &Violation {
    let is_stuck = matches!(run.history.events.last(), Some(Event::Stuck { .. }));
    let violation = run.verdict.as_ref().expect_err("it was found");
    assert!(!is_stuck || violation.checker != Checker::Availability, "{violation}");
    violation
}

fn table(rows: &str) -> String {
    format!(
        "# Mistakes between threads\n\n\
         Each row is a mistake that is planted in a copy of the engine built for simulated threads, the checker that was the \
         first to\nreport it, and how many seeds of `proofmark torture` it took, counted from seed 0. The plan of that seed, \
         with its switches written\ndown, was the same run {REPETITIONS} times. It was then shrunk for the same reason, in at \
         most {RUNS_MAX} runs: from so many operations and\nturns that a thread loses to so many.\n\n\
         This file is written by the suite that measures it: `{BLESS}=1 cargo test -p proofmark-properties {SUITE}`.\n\n\
         | mistake | what it does | caught by | as | seeds | operations | shrunk | switches | shrunk |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}"
    )
}
