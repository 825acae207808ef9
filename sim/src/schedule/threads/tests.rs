//! The same plan is the same run, whoever decides; and a run that comes to no end says so.

mod clumsy;

use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;
use crate::disk::{IoCall, IoOperation};
use crate::plan::{Action, Schedule, Step, Threads};
use crate::run::{Run, run_plan, trace_plan};
use crate::store::{Engine, Redb, StoreKind};
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

/// The step that is struck is over; what comes after it in its phase is taken when the store is open again, by all threads,
/// and the store has to write after that.
#[test]
fn what_a_power_loss_leaves_of_a_phase_is_taken_after_the_recovery() {
    let steps = "c2 begin read\ncrash call=1 before keep=none\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n\
        c0 begin write\nc0 put \"k\" #2*8\nc0 commit sync\nc1 begin read\nc1 get \"k\"\n";
    let plan: Plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}").parse().unwrap();
    let run = run_plan(&plan, &Engine);
    assert_eq!(run.verdict, Ok(()));
    let history = run.history.to_string();
    let (before, after) = history.split_once("crash").expect("the power fails");
    assert!(before.contains("submit") && !before.contains("c1"), "{history}");
    assert!(after.contains("#2*8") && after.contains("c1"), "{history}");
    // Three more there are at the end, because the store has to write after its last power loss.
    assert_eq!((run.stats.commits, run.stats.steps_skipped), (1 + 3, 0), "{history}");
}

/// Whatever the power strikes: each step of a thread is begun once, and written down it is the same run.
#[test]
fn every_step_is_begun_once_whatever_the_power_strikes() {
    let mut retaken = 0;
    for seed in 0..60 {
        let plan = plan(seed);
        let run = trace_plan(&plan, &Engine);
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        let of_threads = plan.steps.iter().filter(|step| step.thread().is_some()).map(Step::to_string);
        let mut planned: Vec<String> = of_threads.collect();
        let is_planned: BTreeSet<String> = planned.iter().cloned().collect();
        let lines = run.trace.as_deref().unwrap_or_default();
        let begun = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| is_planned.contains(*line)).cloned().collect()
        };
        let mut taken = begun(lines);
        planned.sort_unstable();
        taken.sort_unstable();
        assert_eq!(taken, planned, "seed {seed}");
        for (place, ..) in struck_steps(&plan, &run) {
            let rest = plan.steps[place + 1..].iter().take_while(|step| step.thread().is_some());
            retaken += rest.count();
        }
        let recorded: Plan = plan.recorded(&run.switches).to_string().parse().unwrap();
        let again = run_plan(&recorded, &Engine);
        assert_eq!((again.trace_hash, again.switches_unapplied), (run.trace_hash, 0), "seed {seed}");
    }
    assert!(retaken > 100, "{retaken} steps after a power loss in their phase");
}

/// The first strikes of crash steps that came while threads took a step: the step's index, the step, and the call.
fn struck_steps<'p>(plan: &'p Plan, run: &Run) -> Vec<(usize, &'p Step, IoCall)> {
    let is_first = plan.steps.iter().flat_map(|step| match step {
        Step::Crash(spec) => (0..spec.strikes.len()).map(|number| number == 0).collect(),
        _ => Vec::new(),
    });
    let struck = run.strikes.iter().zip(is_first).filter(|(_, is_first)| *is_first);
    let struck = struck.filter_map(|(strike, _)| {
        let step = strike.step?;
        Some((step, &plan.steps[step], strike.site.clone()?))
    });
    struck.filter(|(_, step, _)| step.thread().is_some()).collect()
}

/// All hear of a power loss, but it struck one: whoever made the call.
#[test]
fn a_power_loss_is_told_of_the_step_that_it_struck() {
    let (mut commits, mut others) = (0, 0);
    for seed in 0..100 {
        let plan = plan(seed);
        let run = run_plan(&plan, &Engine);
        let struck = struck_steps(&plan, &run);
        for (_, step, call) in &struck {
            let changes = matches!(call.operation, IoOperation::Write | IoOperation::SyncData);
            let reads = matches!(step, Step::Client(_, Action::Operation(operation)) if !operation.writes());
            assert!(!changes || !reads, "seed {seed}: {call} in {step}");
            let commit = matches!(step, Step::Client(_, Action::Commit(_) | Action::Submit | Action::Wait));
            commits += u64::from(commit);
            others += u64::from(!commit);
            if run.strikes.len() == 1 && run.stats.crashes.process_deaths == 0 {
                assert_eq!(run.stats.crashes.commit, u64::from(commit), "seed {seed}: {call} in {step}");
            }
        }
    }
    assert!(commits > 10 && others > 2, "{commits} in commits, {others} in others");
}

/// A store of some megabytes makes many calls, and passes many points; nothing of that is a livelock.
#[test]
fn much_work_is_no_livelock() {
    let mut steps = "c0 begin write\n".to_owned();
    for number in 1..=1500 {
        writeln!(steps, "c0 put \"k{number:04}\" #{number}*3000").unwrap();
    }
    steps += "c0 commit sync\ncheckpoint\n";
    steps += &"compact\nbackup\nreopen\n".repeat(6);
    let plan = format!("proofmark plan 1\nschedule threads recorded\n{steps}");
    let run = run_plan(&plan.parse().unwrap(), &Engine);
    assert_eq!(run.verdict, Ok(()));
    // One bound for all that the driver does in a row would have been too low.
    assert!(run.stats.switch_points > 220_000, "{}", run.stats.switch_points);
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
