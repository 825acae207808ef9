//! The plans of `corpora/regressions/`: each once found something, or guards something that is easy to break. And those of
//! `corpora/findings/`: each fails, because a store that is not ours is wrong.

use std::collections::BTreeSet;

use proofmark_properties::corpus::{findings, folder, plans};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::{Run, run_plan};

#[test]
fn every_kept_plan_passes() {
    let plans = plans().unwrap();
    assert!(!plans.is_empty());
    for (name, text) in plans {
        let plan = parse(&name, &text);
        let run = run_plan(&plan, plan.store.factory());
        assert_eq!(run.verdict, Ok(()), "{name}\n{}", run.history);
        assert_nothing_is_idle(&name, &run);
    }
}

#[test]
fn every_finding_is_still_there() {
    let findings = findings().unwrap();
    assert!(!findings.is_empty());
    for (name, text) in findings {
        let expected = text.lines().find_map(|line| line.strip_prefix("# Expected: "));
        let expected = expected.unwrap_or_else(|| panic!("{name} does not say how it fails"));
        let plan = parse(&name, &text);
        let run = run_plan(&plan, plan.store.factory());
        let Err(found) = &run.verdict else {
            panic!(
                "{} does better than when {name} was found. Good: move the plan to corpora/regressions/, tell so in \
                 corpora/findings/, and spare it nothing any more (`StoreFactory::is_spared`).",
                plan.store
            )
        };
        assert_eq!(format!("{}: {}", found.checker, found.kind), expected, "{name}\n{}", run.history);
        assert_nothing_is_idle(&name, &run);
    }
}

/// Every line of a kept plan does something.
fn assert_nothing_is_idle(name: &str, run: &Run) {
    let left = (run.stats.steps_skipped, run.stats.steps_left_out);
    assert_eq!(left, (0, 0), "{name} has steps that make no sense where they stand, or to that store");
    assert_eq!(run.switches_unapplied, 0, "{name} has switches that do not come any more");
}

#[test]
fn every_kept_plan_tells_its_story_and_is_written_as_it_is_printed() {
    for (name, text) in plans().unwrap().into_iter().chain(findings().unwrap()) {
        let comments = text.lines().take_while(|line| line.starts_with("# ")).count();
        assert!(comments > 0, "{name} does not begin with a comment that says what it guards");
        let printed = parse(&name, &text).to_string();
        let is_plan = |line: &&str| !line.trim_start().starts_with('#');
        let without_comments: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("proofmark")).filter(is_plan).collect();
        assert_eq!(without_comments, printed.lines().collect::<Vec<_>>(), "{name}, and as it is printed");
    }
}

#[test]
fn the_index_names_every_kept_plan() {
    let index = std::fs::read_to_string(folder("README.md")).unwrap();
    let named: BTreeSet<&str> =
        index.split('`').filter(|word| word.ends_with(".plan") && !word.contains('<')).collect();
    let (plans, findings) = (plans().unwrap(), findings().unwrap());
    let findings: Vec<String> = findings.iter().map(|(name, _)| format!("findings/{name}")).collect();
    let kept = plans.iter().map(|(name, _)| name).chain(&findings);
    let kept: BTreeSet<&str> = kept.map(String::as_str).collect();
    assert_eq!(named, kept);
}

fn parse(name: &str, text: &str) -> Plan {
    text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}
