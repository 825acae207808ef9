//! Every planted mistake is found, and what finds it finds nothing in the tree itself.

use std::fmt::Write;

use proofmark_engine_shuttle::Strategy;
use proofmark_engine_variants::{MISTAKES, Mistake, Subject};

use super::loom::{PREEMPTIONS, PROGRAMS};
use super::shuttle::{Found, STRATEGIES, search, search_again};
use crate::pages::{BLESS, compare};

/// Within how many schedules one of shuttle's schedulers has to find a mistake. The tree itself passes them all.
pub(super) const SCHEDULES_MAX: usize = 1_000;

/// What loom doesn't find within so many executions of a program, it leaves to the next one, and to shuttle.
const EXECUTIONS_MAX: usize = 1_000;

const TABLE: &str = "properties/BWTREE.md";

/// The copy that has a mistake, if it is planted in this build.
fn subject(all: &[Subject], mistake: &Mistake) -> Option<Subject> {
    all.iter().find(|subject| subject.name == mistake.name).copied()
}

fn by_shuttle(mistake: &Mistake, strategy: Strategy, schedules_max: usize) -> Option<Found> {
    let subject = subject(proofmark_planted::planted_subjects::PLANTED, mistake)?;
    search(subject, strategy, schedules_max).err()
}

/// The program that fails, and how many executions of programs it took.
fn by_loom(mistake: &Mistake) -> Option<(&'static str, usize)> {
    let subject = subject(proofmark_engine_loom::planted_subjects::PLANTED, mistake)?;
    let mut executions = 0;
    for program in PROGRAMS {
        let explored = program.explore(subject, PREEMPTIONS, EXECUTIONS_MAX);
        executions += explored.executions;
        if explored.failure.is_some() {
            return Some((program.name, executions));
        }
    }
    None
}

#[test]
fn every_mistake_is_found() {
    let mut rows = String::new();
    for mistake in MISTAKES {
        let counts = STRATEGIES
            .map(|strategy| by_shuttle(mistake, strategy, SCHEDULES_MAX).map(|found| found.schedules));
        let loom = by_loom(mistake);
        assert!(
            counts.iter().any(Option::is_some) || loom.is_some(),
            "nothing finds `{}`\n{rows}",
            mistake.name
        );
        write!(rows, "| `{}` | {} |", mistake.name, mistake.what).unwrap();
        for count in counts {
            write!(rows, " {} |", count.map_or("-".to_owned(), |count| count.to_string())).unwrap();
        }
        match loom {
            Some((program, executions)) => writeln!(rows, " {executions}, {program} |").unwrap(),
            None => writeln!(rows, " - |").unwrap(),
        }
    }
    compare(TABLE, "bwtree::planted", &table(&rows), without_counts);
}

fn table(rows: &str) -> String {
    let [random, priorities, uniform] = STRATEGIES.map(|strategy| strategy.to_string());
    format!(
        "# Mistakes planted in the Bw-tree\n\n\
         Each row is a copy of `engine/src/bwtree` with one mistake, and how many schedules it took to find it: by each of \
         shuttle's\nschedulers on whole-tree runs, {SCHEDULES_MAX} at most, and by loom on small programs, one after the other, \
         with the program that\nfailed; loom gets {PREEMPTIONS} preemptions, and {EXECUTIONS_MAX} executions of each program. A \
         dash: not found, or not planted there. The tree itself\npasses the same workloads and programs, and these to the end.\n\n\
         The schedules change with the tree, and so do the counts: they are those of the last time this file was written, by\n\
         `{BLESS}=1 cargo test -p proofmark-properties bwtree::planted`. That every mistake is found is tested each time.\n\n\
         | mistake | what it does | {random} | {priorities} | {uniform} | loom |\n|---|---|---|---|---|---|\n{rows}"
    )
}

/// All that a page says but the counts, which change with every schedule.
fn without_counts(page: &str) -> Vec<String> {
    let of_line = |line: &str| match line.starts_with("| `") {
        true => line.split('|').take(3).collect(),
        false => line.to_owned(),
    };
    page.lines().map(of_line).collect()
}

/// The line that a failure prints is enough to see it again.
#[test]
fn a_schedule_that_failed_fails_again() {
    let mistake = MISTAKES.iter().find(|mistake| mistake.name == "append_lost").unwrap();
    let found = by_shuttle(mistake, Strategy::Random, SCHEDULES_MAX).unwrap();
    let again = search_again(&found.line);
    assert_eq!(again, Err(found.message));
}
