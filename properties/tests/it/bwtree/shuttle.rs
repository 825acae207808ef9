//! Whole-tree runs under shuttle: random schedules, priorities, and uniform walks, every history judged.

use proofmark_engine_shuttle::{Strategy, explore, replay, subjects, thread};
use proofmark_engine_variants::Subject;
use proofmark_planted::planted_subjects::PLANTED;

use super::client::{Order, RunAll, run_and_judge};
use super::planted::SCHEDULES_MAX;
use super::setting;
use super::workload::Workload;

/// Every scheduler.
pub(super) const STRATEGIES: [Strategy; 3] = [Strategy::Random, Strategy::Priorities(3), Strategy::Uniform];

/// Schedules of one workload before the next one.
const SCHEDULES_PER_WORKLOAD: usize = 12;

/// Set to a line that a failure printed, to run that schedule again.
const REPLAY: &str = "PROOFMARK_REPLAY";

/// Each client on a thread of shuttle's.
const RUN_ALL: RunAll = |clients| {
    let threads: Vec<_> = clients.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
};

/// A schedule that failed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) schedules: usize,
    pub(super) line: String,
    pub(super) message: String,
}

/// Looks for a schedule that fails, on one workload after the other.
pub(super) fn search(subject: Subject, strategy: Strategy, schedules_max: usize) -> Result<(), Found> {
    let mut schedules = 0;
    for seed in 0.. {
        let left = schedules_max - schedules;
        if left == 0 {
            break;
        }
        let workload = Workload::new(seed);
        let count = left.min(SCHEDULES_PER_WORKLOAD);
        explore(strategy, seed, count, move || run_and_judge(subject, &workload, Order::Time, RUN_ALL))
            .map_err(|failure| Found {
                schedules: schedules + failure.executions,
                line: format!("{} {seed} {}", subject.name, failure.schedule),
                message: failure.message,
            })?;
        schedules += count;
    }
    Ok(())
}

/// Runs a schedule again, from the line that was printed.
pub(super) fn search_again(line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, seed, schedule] = words[..] else {
        panic!("a line is a subject, a seed and a schedule: {line}")
    };
    let subjects = [subjects::PLAIN, subjects::TRACKED].iter().chain(PLANTED);
    let subject = *{ subjects }.find(|subject| subject.name == name).expect("the line names a subject");
    let workload = Workload::new(seed.parse().expect("the line has a seed"));
    replay(schedule, move || run_and_judge(subject, &workload, Order::Time, RUN_ALL))
        .map_err(|failure| failure.message)
}

fn find_nothing(strategy: Strategy) {
    let schedules = setting("PROOFMARK_SCHEDULES", SCHEDULES_MAX);
    for subject in [subjects::PLAIN, subjects::TRACKED] {
        if let Err(found) = search(subject, strategy, schedules) {
            panic!(
                "{strategy}, schedule {}: {}\nagain: {REPLAY}='{}' cargo test -p proofmark-properties bwtree::shuttle",
                found.schedules, found.message, found.line
            );
        }
    }
}

#[test]
fn random_schedules() {
    find_nothing(Strategy::Random);
}

#[test]
fn priorities() {
    find_nothing(Strategy::Priorities(3));
}

#[test]
fn uniform_walks() {
    find_nothing(Strategy::Uniform);
}

/// What a failure printed is run again; without such a line there is nothing to run.
#[test]
fn the_schedule_of_a_failure() {
    let Ok(line) = std::env::var(REPLAY) else { return };
    if let Err(message) = search_again(&line) {
        panic!("{message}");
    }
}
