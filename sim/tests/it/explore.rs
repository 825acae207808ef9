//! `proofmark explore` and `proofmark audit`: what they cover, what they find, and that a saved plan shows it.

use std::fs;

use crate::command::{Answer, contents, proofmark};

/// A few commits and a checkpoint, and a disk on which a sync lies of which nobody is told.
fn plan(lie: &str) -> String {
    let commit =
        |number: u32| format!("c0 begin write\nc0 put \"k{number}\" #{number}*100\nc0 commit sync\n");
    let commits: Vec<String> = (1..6).map(commit).collect();
    format!(
        "proofmark plan 1\nprofile posix-worst\n{lie}\n{}checkpoint\n{}",
        commits[..3].concat(),
        commits[3..].concat()
    )
}

fn run(arguments: &[&str], plan: &str) -> (Answer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.plan"), plan).unwrap();
    (proofmark(directory.path(), arguments), directory)
}

#[test]
fn a_sound_store_is_explored_to_the_end() {
    for store in ["engine", "redb"] {
        let arguments = ["explore", "a.plan", "--store", store, "--bound", "8", "--boundaries"];
        let (answer, directory) = run(&arguments, &plan(""));
        answer.assert_sound();
        assert!(answer.out.contains(&format!("a.plan on {store}, profile posix-worst, granule 8\n")));
        let before = answer.out.lines().filter(|line| line.starts_with("before #")).count();
        assert_eq!(answer.figure("boundaries"), format!("{before} of {before}"), "{}", answer.out);
        assert!(answer.count("states recovered") > 20 && before > 10, "{}", answer.out);
        assert!(answer.count("recoveries") >= 2 * answer.count("states recovered"));
        assert_eq!(contents(directory.path()).len(), 1);
    }
}

#[test]
fn the_result_does_not_depend_on_the_jobs_and_depth_adds_to_it() {
    let states = |arguments: &[&str]| {
        let (answer, _directory) =
            run(&[&["explore", "a.plan", "--bound", "16"], arguments].concat(), &plan(""));
        answer.assert_sound();
        answer.count("states recovered")
    };
    let one = states(&["--jobs", "1"]);
    assert_eq!(states(&["--jobs", "3"]), one);
    assert!(states(&["--depth", "2"]) > 2 * one);
    assert!(states(&["--profile", "strict", "--granule", "4096"]) < one);
}

#[test]
fn a_violation_is_a_plan_that_shows_it() {
    let (answer, directory) = run(
        &["explore", "a.plan", "--bound", "16", "--save", "found.plan"],
        &plan("sabotage ignore-sync nth=3"),
    );
    assert_eq!(answer.code, 1, "{}{}", answer.out, answer.err);
    assert!(
        answer.out.contains("violation:") && answer.out.contains("  needs     profile "),
        "{}",
        answer.out
    );
    assert!(answer.out.contains("replay 'found.plan'"), "{}", answer.out);
    let replay = proofmark(directory.path(), ["replay", "found.plan"]);
    assert_eq!(replay.code, 1, "{}{}", replay.out, replay.err);
    let violation =
        |answer: &Answer| answer.out.lines().find(|line| line.starts_with("violation:")).map(str::to_owned);
    assert_eq!(violation(&replay), violation(&answer));
    // A file is never replaced, and nothing is explored in vain.
    let again = proofmark(directory.path(), ["explore", "a.plan", "--save", "found.plan"]);
    again.assert_refused(&["found.plan exists already"]);
}

#[test]
fn a_plan_that_cannot_be_saved_is_printed() {
    let (answer, _directory) = run(
        &["explore", "a.plan", "--bound", "16", "--save", "absent/found.plan"],
        &plan("sabotage ignore-sync nth=3"),
    );
    assert_eq!(answer.code, 1, "{}{}", answer.out, answer.err);
    assert!(answer.err.contains("error: cannot write absent/found.plan"), "{}", answer.err);
    assert!(answer.out.contains("replay 'found.plan'"), "{}", answer.out);
    let (_, printed) = answer.out.split_once("\n# found.plan\n").expect("the plan is printed");
    let (replay, _directory) = run(&["replay", "a.plan"], printed);
    assert_eq!(replay.code, 1, "{}{}", replay.out, replay.err);
}

/// Time is up long before a boundary is through, and before a minute has passed all the more.
#[test]
fn the_largest_bound_does_not_outlive_its_time() {
    let arguments = ["explore", "a.plan", "--bound", "10000000", "--time", "500ms"];
    for depth in ["1", "2"] {
        let (answer, _directory) = run(&[&arguments[..], &["--depth", depth]].concat(), &plan(""));
        answer.assert_sound();
        assert!(answer.out.contains("stopped with "), "{}", answer.out);
        let seconds: f64 = answer.figure("elapsed").trim_end_matches(" s").parse().unwrap();
        assert!(seconds < 60.0, "{}", answer.out);
    }
}

#[test]
fn questions_that_make_no_sense() {
    for arguments in [
        &["explore", "missing.plan"][..],
        &["explore", "a.plan", "--depth", "3"],
        &["explore", "a.plan", "--bound", "0"],
        &["explore", "a.plan", "--bound", "10000001"],
        &["explore", "a.plan", "--bound", "18446744073709551615"],
        &["explore", "a.plan", "--granule", "7"],
        &["explore", "a.plan", "--profile", "fat"],
        &["audit", "missing.plan"],
        &["audit", "a.plan", "--bound", "10000001"],
    ] {
        assert_eq!(run(arguments, &plan("")).0.code, 2, "{arguments:?}");
    }
    // The run itself fails, before anything is explored.
    let unsound =
        plan("sabotage ignore-sync nth=1 sticky").replace("checkpoint", "crash call=1 before keep=none");
    let (answer, _directory) = run(&["explore", "a.plan"], &unsound);
    assert_eq!(answer.code, 2, "{}", answer.out);
    assert!(answer.err.contains("the run itself violates"), "{}", answer.err);
}

#[test]
fn an_audit_prints_a_row_for_each_site() {
    let (answer, directory) = run(&["audit", "a.plan", "--bound", "8", "--plans", "."], &plan(""));
    assert!(answer.code < 2, "{}{}", answer.out, answer.err);
    for part in [
        "creation: sync data /db/data.new",
        "commit: sync data /db/log-*",
        "crash-prefix: lost-acknowledged-commit",
    ] {
        assert!(answer.out.contains(part), "no {part} in {}", answer.out);
    }
    let plans: Vec<_> =
        contents(directory.path()).into_keys().filter(|path| path.ends_with("site-1.plan")).collect();
    let replay = proofmark(directory.path(), ["replay".as_ref(), plans[0].as_os_str()]);
    assert_eq!(replay.code, 1, "{}{}", replay.out, replay.err);
    // Where plans cannot be written, everything else was said before.
    let again = proofmark(directory.path(), ["audit", "a.plan", "--bound", "8", "--plans", "."]);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("site-1.plan exists already"), "{}", again.err);
    let untimed = |answer: &Answer| answer.out.rsplit_once(" in ").expect("a time comes last").0.to_owned();
    assert_eq!(untimed(&again), untimed(&answer));
    let nowhere = proofmark(directory.path(), ["audit", "a.plan", "--plans", "absent"]);
    nowhere.assert_refused(&["there is no directory absent"]);
}
