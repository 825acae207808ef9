//! One seed is one run: in one process, in two, and on any number of threads.

use std::process::Command;

use proofmark_sim::campaign::{Campaign, judge_seed};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::{run_plan, run_seed, trace_plan};
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::generate;

/// Set for the second process, which prints its hashes.
const PRINT_HASHES: &str = "PROOFMARK_PRINT_HASHES";
const SEEDS: u64 = 24;

#[test]
fn a_seed_is_one_run() {
    for store in StoreKind::ALL {
        for seed in 0..SEEDS {
            let (one, other) = (run_seed(seed, store), run_seed(seed, store));
            for (step, (one, other)) in one.history.events.iter().zip(&other.history.events).enumerate() {
                assert_eq!(one, other, "{store}, seed {seed}, event {step}");
            }
            assert_eq!(one, other, "{store}, seed {seed}");
        }
    }
}

#[test]
fn neither_tracing_nor_the_text_form_changes_a_run() {
    for seed in 0..SEEDS {
        let plan = generate(seed, StoreKind::Engine);
        let run = run_plan(&plan, StoreKind::Engine.factory());
        let parsed: Plan = plan.to_string().parse().unwrap();
        let traced = trace_plan(&parsed, StoreKind::Engine.factory());
        assert_eq!(traced.trace_hash, run.trace_hash, "seed {seed}");
        assert!(traced.trace.is_some_and(|lines| lines.len() > plan.steps.len()), "seed {seed}");
    }
}

#[test]
fn seeds_differ() {
    let mut hashes: Vec<u64> = (0..SEEDS).map(|seed| run_seed(seed, StoreKind::Engine).trace_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len() as u64, SEEDS);
}

#[test]
fn the_number_of_jobs_does_not_matter() {
    for store in StoreKind::ALL {
        let run = |jobs| Campaign { jobs, ..Campaign::new(store, SEEDS) }.run(|| false, |_| ()).unwrap();
        let alone = run(1);
        assert_eq!((alone.seeds, alone.violations.len()), (SEEDS, 0));
        for jobs in [2, 5] {
            assert_eq!(run(jobs), alone, "{store} with {jobs} jobs");
        }
    }
}

/// Runs this very test once more in another process, where it prints its hashes, and compares.
#[test]
fn two_processes_agree() {
    if std::env::var_os(PRINT_HASHES).is_some() {
        for line in hashes() {
            println!("{line}");
        }
        return;
    }
    let arguments = ["--exact", "determinism::two_processes_agree", "--nocapture", "--test-threads=1"];
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(arguments).env(PRINT_HASHES, "yes").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // The harness prints the name of the test in front of the first line.
    let lines: Vec<&str> = text.lines().filter_map(|line| line.find("hash ").map(|at| &line[at..])).collect();
    assert_eq!(lines, hashes());
}

fn hashes() -> Vec<String> {
    let mut lines = Vec::new();
    for store in StoreKind::ALL {
        for seed in 0..SEEDS {
            let report = judge_seed(seed, store, store.factory());
            lines.push(format!("hash {store} {seed} {:016x}", report.trace_hash));
        }
    }
    lines
}
