//! Runs on redb, which others have tested well: what goes wrong here is wrong with the runner.

use super::*;

fn plan(steps: &str) -> Plan {
    format!("proofmark plan 1\nstore redb\n{steps}")
        .parse()
        .unwrap_or_else(|error| panic!("{error} in\n{steps}"))
}

fn run_steps(steps: &str) -> Run {
    let run = run_plan(&plan(steps), StoreKind::Redb.factory());
    assert_eq!(run.verdict, Ok(()), "{}", run.history);
    run
}

#[test]
fn redb_survives_a_dozen_seeds() {
    let mut sum = RunStats::default();
    for seed in 0..12 {
        let run = run_seed(seed, StoreKind::Redb);
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        sum += &run.stats;
    }
    assert!(sum.crashes.commit > 0, "{sum:?}");
    assert!(sum.crashes.recovery > 0, "{sum:?}");
    assert!(sum.crashes.total() > sum.crashes.idle, "{sum:?}");
    assert!(sum.operations > 12 * 100, "{sum:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hashes: Vec<u64> = (0..6).map(|seed| run_seed(seed, StoreKind::Redb).trace_hash).collect();
    let again: Vec<u64> = (0..6).map(|seed| run_seed(seed, StoreKind::Redb).trace_hash).collect();
    assert_eq!(hashes, again);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_strike_that_never_comes_is_carried_out_at_the_end() {
    let run = run_steps("crash call=9999 before keep=all, call=9999 before keep=none");
    assert_eq!((run.stats.crashes.idle, run.stats.recoveries), (3, 3));
    let run = run_steps("verify\ncrash call=9999 before keep=all\nverify\ncrash call=9999 before keep=none");
    assert_eq!((run.stats.crashes.idle, run.stats.recoveries), (3, 3));
}

#[test]
fn strikes_follow_one_another_into_recoveries() {
    let strikes = "crash call=1 before keep=none, call=2 after keep=all, call=9 before keep=none";
    let run = run_steps(&format!(
        "verify\n{strikes}\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\nc0 begin read\nc0 get \"k\"\n"
    ));
    assert_eq!((run.stats.crashes.commit, run.stats.crashes.recovery), (1, 2));
    assert_eq!(run.stats.crashes.idle, 1, "the end");
    assert_eq!(run.stats.transactions, 2);
}

#[test]
fn the_first_step_strikes_the_creation_of_stores_that_survive_it() {
    let plan = plan("crash call=1 before keep=none\nverify");
    let engine = run_plan(&plan, StoreKind::Engine.factory());
    assert_eq!(engine.verdict, Ok(()));
    assert_eq!((engine.stats.crashes.creation, engine.event_steps[0]), (1, Some(0)));
    let redb = run_plan(&plan, StoreKind::Redb.factory());
    assert_eq!(redb.verdict, Ok(()));
    assert_eq!((redb.stats.crashes.creation, redb.stats.crashes.other), (0, 1));
}

#[test]
fn steps_without_sense_are_skipped() {
    let run = run_steps(
        "c0 get \"k\"\nc0 commit sync\nc0 abort\nc0 begin read\nc0 begin write\nc0 put \"k\" #1*8\nc0 delete \"k\"",
    );
    assert_eq!(run.stats.steps_skipped, 6);
    assert_eq!(run.stats.transactions, 1);
}

#[test]
fn a_second_writer_is_refused_and_readers_keep_their_state() {
    let run = run_steps(
        "c0 begin write\nc1 begin write\nc0 put \"k\" #1*8\nc2 begin read\nc0 commit buffered\nc2 get \"k\"\nreopen",
    );
    assert_eq!(run.stats.refusals, 1);
    assert_eq!(run.stats.commits, 1);
    assert!(run.history.to_string().contains("get t2 \"k\" -> none"), "{}", run.history);
}

#[test]
fn a_trace_changes_nothing_and_names_every_step() {
    let plan = plan("c0 begin write\nc0 put \"k\" #1*8\ncrash call=1 after keep=none\nc0 commit sync\n");
    let factory = StoreKind::Redb.factory();
    let traced = trace_plan(&plan, factory);
    let lines = traced.trace.clone().unwrap();
    assert_eq!(Run { trace: None, ..traced }, run_plan(&plan, factory));
    for step in &plan.steps {
        assert!(lines.contains(&step.to_string()), "no line for {step}");
    }
    assert!(lines.iter().any(|line| line.contains("power loss")), "{lines:#?}");
}
