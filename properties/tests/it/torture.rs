//! Threads, interleaved in every way that chance comes to: the engine passes, and every mistake planted in how its threads
//! work together is found.
//!
//! `PROOFMARK_TORTURE_SEEDS` sets how many seeds the engine has to pass.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::ControlFlow;

use proofmark_model::{Checker, Event, Violation};
use proofmark_planted::{ENGINES, PlantedEngine};
use proofmark_sim::plan::{Plan, Schedule, Step, Threads};
use proofmark_sim::run::{Run, run_plan};
use proofmark_sim::shrink::{Attempt, Executor, Size, commented_plan, shrink};
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

#[test]
fn every_mistake_is_found() {
    let mut rows = String::new();
    for engine in ENGINES {
        let (seed, run) = find(engine);
        let violation = violation(&run);
        let seeds = seed + 1;
        let mistake = engine.mistake();
        writeln!(
            rows,
            "| {} | {} | {} | {} | {seeds} |",
            mistake.name.replace('_', " "),
            mistake.what,
            violation.checker,
            violation.kind
        )
        .unwrap();
        assert_ne!(
            violation.checker,
            Checker::Timeline,
            "{} confuses the testbed: {violation}",
            mistake.name
        );
    }
    compare(TABLE, "torture", &table(&rows), str::to_owned);
}

/// What was found stays found: with the switches written down, it is the same run a hundred times.
#[test]
fn what_was_found_is_the_same_run_a_hundred_times() {
    let engine = &ENGINES[0];
    let (seed, found) = find(engine);
    let recorded: Plan = plan(seed).recorded(&found.switches).to_string().parse().unwrap();
    assert_eq!(recorded.schedule, Schedule::Threads(Threads::Recorded));
    for _ in 0..REPETITIONS {
        let run = run_plan(&recorded, engine);
        assert_eq!((run.trace_hash, &run.verdict), (found.trace_hash, &found.verdict));
    }
}

/// What is left of a plan is what matters: a few steps, and a few turns that a thread loses.
#[test]
fn what_was_found_is_shrunk_to_a_few_switches() {
    let engine = &ENGINES[0];
    let (seed, _) = find(engine);
    let mut bounded = |attempt: Attempt<'_>| {
        if attempt.best.runs < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let shrunk = shrink(&plan(seed), Executor::new(&|plan| run_plan(plan, engine)), &mut bounded).unwrap();
    let size = Size::of(&shrunk.plan);
    let text = commented_plan(&shrunk, engine.name());
    assert!(size.operations <= 16 && (1..=6).contains(&size.switches), "{size}\n{text}");
    let printed: Plan = text.parse().unwrap();
    assert_eq!(run_plan(&printed, engine).verdict.as_ref(), Err(&shrunk.violation), "{text}");
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
         first to\nreport it, and how many seeds of `proofmark torture` it took, counted from seed 0.\n\n\
         This file is written by the suite that measures it: `{BLESS}=1 cargo test -p proofmark-properties torture`.\n\n\
         | mistake | what it does | caught by | as | seeds |\n|---|---|---|---|---|\n{rows}"
    )
}
