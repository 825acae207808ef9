//! What has to hold of engine, model and simulator together.
//!
//! A property that fails prints the smallest case that it could find. A plan is printed in its text form: put it into
//! `corpora/regressions/`, with a comment that says what was wrong.

#![expect(clippy::unwrap_used, reason = "allowed in tests, and the helpers of tests are no different")]

mod backup;
mod batch_equivalence;
mod bwtree;
mod commit_stream;
mod commutativity;
mod compaction;
mod configuration;
mod corpus;
mod crash_prefix;
mod determinism;
mod engine_threads;
mod exploration;
mod golden;
mod optimistic;
mod pages;
mod planted;
mod real_files;
mod replica;
mod shrunk;
mod snapshot_immutability;
mod snapshot_isolation;
mod tasks;
mod text_form;
mod tidy;
mod time_travel;
mod torture;

use proofmark_model::{Event, History, Violation};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::run_plan;
use proptest::test_runner::{TestCaseError, TestCaseResult};

/// A verdict as the outcome of a test case.
fn pass(verdict: Result<(), Violation>) -> TestCaseResult {
    verdict.map_err(|violation| TestCaseError::fail(violation.to_string()))
}

/// Runs a plan on the store that it names, and lets the checkers judge.
fn judge(plan: &Plan) -> TestCaseResult {
    pass(run_plan(plan, plan.store.factory()).verdict)
}

/// What a history says of the data: without what it says of durability and of the history that is kept, which differ
/// from one configuration to another.
fn data_events(history: &History) -> Vec<Event> {
    let mut events = history.events.clone();
    events.retain(|event| *event != Event::Durable);
    for event in &mut events {
        if let Event::Opened { oldest, retention, .. } = event {
            (*oldest, *retention) = (None, None);
        }
    }
    events
}
