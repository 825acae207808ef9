//! Planted violations, shrunk: each to a plan that a person can read, that fails for the same reason, and again when it
//! is read back.

mod lost_commit;

use std::fmt::Write;
use std::ops::ControlFlow;

use proofmark_properties::planted::{FAULTS, Fault};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::run_plan;
use proofmark_sim::shrink::{Attempt, Executor, Shrunk, Size, commented_plan, regression_test, shrink};

use crate::pages::{BLESS, compare};

/// Within how many seeds a fault has to be found.
const SEEDS_MAX: u64 = 200;
/// Shrinking ends after so many runs, done or not. Time would not be the same on every machine.
const RUNS_MAX: u64 = 2000;
const TABLE: &str = "properties/SHRUNK.md";
const EXAMPLE: &str = "properties/tests/it/shrunk/lost_commit.rs";

#[test]
fn planted_violations_are_shrunk_to_a_few_lines() {
    let mut rows = String::new();
    let mut sizes = Vec::new();
    for fault in FAULTS {
        let Some((seed, plan)) = failing_plan(fault) else { continue };
        let shrunk = shrink(&plan, Executor::new(&|plan| fault.run(plan)), &mut bounded).unwrap();
        let Shrunk { plan, violation, reason, before, runs, is_complete } = &shrunk;
        let after = Size::of(plan);
        assert!(after.operations <= before.operations && after.strikes <= before.strikes, "{}", fault.name);
        assert!(is_complete, "{} is not shrunk after {RUNS_MAX} runs", fault.name);
        let printed: Plan = commented_plan(&shrunk, fault.name).parse().unwrap();
        let again = fault.run(&printed);
        assert_eq!(again.verdict.as_ref(), Err(violation), "{}\n{printed}", fault.name);
        assert_eq!(again.switches_unapplied, 0, "{}\n{printed}", fault.name);
        let name = fault.name;
        writeln!(
            rows,
            "| {name} | {seed} | {} | {} | {} | {} | {} | {} | {runs} |",
            reason, before.operations, after.operations, before.strikes, after.strikes, after.faults,
        )
        .unwrap();
        sizes.push((before.operations, after));
    }
    assert!(sizes.len() >= 20, "only {} violations were shrunk", sizes.len());
    let before = median(sizes.iter().map(|(before, _)| *before));
    let operations = median(sizes.iter().map(|(_, after)| after.operations));
    let strikes = median(sizes.iter().map(|(_, after)| after.strikes));
    assert!(
        operations <= 10 && strikes <= 1,
        "{operations} operations and {strikes} power losses in the median"
    );
    let medians = format!(
        "In the median {before} operations become {operations}, with {strikes} power losses. There are {} rows.",
        sizes.len()
    );
    compare(TABLE, "planted", &table(&medians, &rows), str::to_owned);
}

/// A transaction that needs most of what it does, and a disk that loses it.
const WORK: &str = "proofmark plan 1\nseed 8571\npage-size 8192\nretention latest\nsabotage ignore-directory-sync nth=3\n\n\
    c0 begin write\nc0 put \"apple\" #10*300\nc1 begin read\nc0 put \"plum\" #11*20\nc0 commit sync\nc1 get \"plum\"\n\
    c1 abort\ncheckpoint\nc0 begin optimistic\nc0 delete \"apple\"\nc0 put \"cherry\" #12*40\nc0 commit sync\nverify\n\
    c1 begin write\nc1 put \"plum\" #13*8\nc1 commit sync\ncrash call=1 before keep=random:500:3\nverify\n";

/// What `--test` writes is compiled with this suite, and is what it would write today.
#[test]
fn a_plan_with_a_planted_fault_becomes_a_test_that_compiles() {
    let plan: Plan = WORK.parse().unwrap();
    let shrunk =
        shrink(&plan, Executor::new(&|plan| run_plan(plan, plan.store.factory())), &mut bounded).unwrap();
    compare(EXAMPLE, "planted", &regression_test(&shrunk, "a plan of this suite"), str::to_owned);
}

/// The first seed that finds a fault by a plan, and that plan.
fn failing_plan(fault: &Fault) -> Option<(u64, Plan)> {
    (0..SEEDS_MAX).find_map(|seed| {
        let plan = fault.plan(seed)?;
        fault.run(&plan).verdict.is_err().then_some((seed, plan))
    })
}

fn bounded(attempt: Attempt<'_>) -> ControlFlow<()> {
    if attempt.best.runs < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn median(numbers: impl Iterator<Item = usize>) -> usize {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

fn table(medians: &str, rows: &str) -> String {
    format!(
        "# Planted violations, shrunk\n\n\
         Each row is a planted fault of [`PLANTED.md`](PLANTED.md) that a plan shows, the first seed that finds it, and what \
         shrinking\nmakes of that seed's plan: as small as any pass can make it, failing for the same reason, and failing \
         again when its text\nis read back. Everything counts as an operation that is neither a power loss nor a fault; the \
         power loss that ends\nevery run is not counted. Some bugs need their number: one that strikes every twentieth commit \
         needs twenty.\n\n{medians}\n\n\
         This file is written by the suite that measures it: `{BLESS}=1 cargo test -p proofmark-properties planted`.\n\n\
         | fault | seed | reason | operations | shrunk | power losses | shrunk | faults | runs |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}"
    )
}
