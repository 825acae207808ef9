//! `proofmark shrink` and `proofmark plan`: of what fails, of what does not, and of what is no plan at all.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use tempfile::TempDir;

use crate::command::{Answer, command, contents, interrupt, proofmark, spawn};

/// The plan of a seed whose disk ignores every fourth sync, in `lies.plan`.
fn with_lies() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let plan = proofmark(directory.path(), ["plan", "0"]);
    plan.assert_sound();
    let lies = plan.out.replacen("\n\n", "\nsabotage ignore-sync every=4\n\n", 1);
    fs::write(directory.path().join("lies.plan"), lies).unwrap();
    directory
}

fn names(directory: &Path) -> Vec<String> {
    contents(directory).keys().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// What a replay says of the violation: who, and what kind.
#[track_caller]
fn violation(answer: &Answer) -> &str {
    assert_eq!(answer.code, 1, "{answer:?}");
    let (_, rest) = answer.out.split_once("violation: ").expect("a violation is reported");
    rest.lines().next().unwrap()
}

#[test]
fn a_shrunk_plan_is_small_and_fails_for_the_same_reason() {
    let directory = with_lies();
    let replay = proofmark(directory.path(), ["replay", "lies.plan"]);
    let shrink = proofmark(directory.path(), ["shrink", "lies.plan"]);
    assert_eq!(violation(&shrink), violation(&replay));
    assert!(shrink.out.ends_with("\nsaved as lies.shrunk.plan\n"), "{}", shrink.out);
    assert!(shrink.err.starts_with("shrinking lies.plan: 2"), "{}", shrink.err);
    assert_eq!(names(directory.path()), ["lies.plan", "lies.shrunk.plan"]);
    let text = fs::read_to_string(directory.path().join("lies.shrunk.plan")).unwrap();
    assert!(shrink.out.starts_with(&text), "{}", shrink.out);
    let (story, plan) = text.split_once("\n\nproofmark plan 1\n").expect("the story stands above the plan");
    assert!(story.starts_with(&format!("# {}: ", violation(&replay))), "{story}");
    assert!(story.replace("\n# ", " ").contains("Shrunk from lies.plan in "), "{story}");
    let (_, steps) = plan.split_once("\n\n").unwrap();
    assert!(steps.lines().count() <= 11, "{steps}");
    let again = proofmark(directory.path(), ["replay", "lies.shrunk.plan"]);
    assert_eq!(violation(&again), violation(&replay));
    assert!(again.out.contains(" 0 steps skipped"), "{}", again.out);
}

#[test]
fn files_are_named_as_asked_and_replaced_only_if_asked() {
    let directory = with_lies();
    fs::write(directory.path().join("kept"), "precious").unwrap();
    fs::write(directory.path().join("lies.shrunk.plan"), "precious").unwrap();
    let before = contents(directory.path());
    let shrink =
        |arguments: &[&str]| proofmark(directory.path(), [&["shrink", "lies.plan"], arguments].concat());
    shrink(&[]).assert_refused(&["lies.shrunk.plan exists already", "--force"]);
    shrink(&["--out", "kept"]).assert_refused(&["kept exists already"]);
    shrink(&["--out", "new", "--test", "kept"]).assert_refused(&["kept exists already"]);
    shrink(&["--out", "new", "--test", "new"]).assert_refused(&["both"]);
    assert_eq!(contents(directory.path()), before);
    shrink(&["--out", "new", "--test", "./new"]).assert_refused(&["both"]);
    for files in [["absent/new", "new"], ["new", "absent/new"]] {
        shrink(&["--out", files[0], "--test", files[1]]).assert_refused(&["there is no directory absent"]);
    }
    shrink(&["--out", "kept/new"]).assert_refused(&["there is no directory kept"]);
    let too_long = "n".repeat(300);
    let lost = shrink(&["--out", &too_long]);
    assert_eq!(lost.code, 2, "{lost:?}");
    assert!(lost.err.contains("could not be saved: cannot write nnn"), "{lost:?}");
    assert!(lost.out.contains("proofmark plan 1\n"), "what was found is printed at least: {lost:?}");
    assert_eq!(contents(directory.path()), before);

    let forced = shrink(&["--out", "kept", "--test", "a test.rs", "--force"]);
    assert_eq!(forced.code, 1, "{forced:?}");
    assert!(forced.out.ends_with("saved as kept\nsaved as a test in a test.rs\n"), "{}", forced.out);
    assert_eq!(names(directory.path()), ["a test.rs", "kept", "lies.plan", "lies.shrunk.plan"]);
    let plan = fs::read_to_string(directory.path().join("kept")).unwrap();
    let (_, plan) = plan.split_once("\n\n").unwrap();
    let test = fs::read_to_string(directory.path().join("a test.rs")).unwrap();
    assert!(test.contains("#[test]\nfn ") && test.contains(plan), "{test}");
}

#[test]
fn what_is_shrunk_is_never_replaced() {
    let directory = with_lies();
    let before = contents(directory.path());
    for arguments in [["--out", "./lies.plan"], ["--test", "lies.plan"]] {
        let [option, path] = arguments;
        let refused = proofmark(directory.path(), ["shrink", "lies.plan", option, path, "--force"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("lies.plan is the plan that is to be shrunk"), "{refused:?}");
    }
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn there_is_nothing_to_shrink_where_nothing_fails() {
    let directory = with_lies();
    fs::write(directory.path().join("good.plan"), "proofmark plan 1\nverify\n").unwrap();
    fs::write(directory.path().join("bad.plan"), "proofmark plan 1\nverify now\n").unwrap();
    let before = contents(directory.path());
    let refused = |target: &[&str], reasons: &[&str]| {
        let answer = proofmark(directory.path(), [&["shrink"], target].concat());
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{answer:?}");
        for reason in reasons {
            assert!(answer.err.contains(reason), "no {reason:?} in {}", answer.err);
        }
    };
    refused(&["3"], &["error: nothing to shrink: seed 3 of engine keeps every promise"]);
    refused(&["3", "--store", "redb"], &["error: nothing to shrink: seed 3 of redb keeps"]);
    refused(&["good.plan"], &["error: nothing to shrink: good.plan keeps every promise"]);
    refused(&["bad.plan"], &["error: ", "--> bad.plan:2:8\n"]);
    refused(&["absent.plan"], &["error: there is no file absent.plan"]);
    refused(&["18446744073709551616"], &["error: 18446744073709551616 is too large for a seed"]);
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn whatever_ends_it_leaves_the_best_plan_so_far() {
    let directory = with_lies();
    let short = proofmark(directory.path(), ["shrink", "lies.plan", "--time", "1ns"]);
    assert_eq!(short.code, 1, "{short:?}");
    assert!(short.out.contains("\nstopped: with more --time it may become smaller\n"), "{}", short.out);
    let replay = proofmark(directory.path(), ["replay", "lies.shrunk.plan"]);
    assert_eq!(violation(&replay), violation(&short));

    let mut command = command(directory.path());
    let mut child = spawn(command.args(["shrink", "lies.plan", "--out", "stopped.plan"]));
    // It listens by the time that it says what it does.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    interrupt(child.id());
    let answer = Answer::of(child.wait_with_output().unwrap());
    // It may have been done before the signal came.
    assert!([1, 130].contains(&answer.code), "{answer:?}");
    let replay = proofmark(directory.path(), ["replay", "stopped.plan"]);
    assert_eq!(violation(&replay), violation(&short));
}

#[test]
fn a_plan_is_printed_as_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["plan", "7"] as &[&str], &["plan", "7", "--store", "redb"]] {
        let plan = proofmark(directory.path(), arguments);
        plan.assert_sound();
        assert!(plan.out.starts_with("proofmark plan 1\nseed 7\nstore "), "{}", plan.out);
        fs::write(directory.path().join("a.plan"), format!("# a comment\n{}", plan.out)).unwrap();
        assert_eq!(proofmark(directory.path(), ["plan", "a.plan"]), plan);
    }
    let other = proofmark(directory.path(), ["plan", "a.plan", "--store", "engine"]);
    assert_eq!(other.out, proofmark(directory.path(), ["plan", "7"]).out);
    proofmark(directory.path(), ["plan", "absent.plan"]).assert_refused(&["there is no file absent.plan"]);
}
