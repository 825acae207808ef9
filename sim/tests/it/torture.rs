//! `torture`, and what is done with what it finds.

use tempfile::tempdir;

use crate::command::proofmark;

#[test]
fn threads_are_tortured_and_replayed() {
    let directory = tempdir().unwrap();
    let answer =
        proofmark(directory.path(), ["torture", "--seeds", "4", "--jobs", "2", "--check-determinism"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    for line in ["places where threads may switch", "context switches", "4 seeds run twice", "no violation"] {
        assert!(answer.out.contains(line), "no {line} in {}", answer.out);
    }
    let knobs = ["--threads", "3", "--scheduler", "pct", "--depth", "2", "--forced-yields", "0.5"];
    let one = [&["torture", "--seed", "2"], &knobs[..]].concat();
    let answer = proofmark(directory.path(), &one);
    assert_eq!(answer.code, 0, "{answer:?}");
    let hash = |out: &str| {
        let line = out.lines().find(|line| line.contains("seed hash"));
        let is_hash = |word: &&str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        line.unwrap().split_whitespace().find(is_hash).unwrap().to_owned()
    };
    let replay = [&["replay", "2", "--torture", "--save", "two.plan"], &knobs[..]].concat();
    let replayed = proofmark(directory.path(), &replay);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(hash(&replayed.out), hash(&answer.out));
    let saved = std::fs::read_to_string(directory.path().join("two.plan")).unwrap();
    assert!(saved.contains("schedule threads recorded\n"), "{saved}");
    let from_file = proofmark(directory.path(), ["replay", "two.plan"]);
    assert!(from_file.out.contains(&format!("trace hash {}", hash(&answer.out))), "{}", from_file.out);
    let shrink = proofmark(directory.path(), ["shrink", "two.plan"]);
    assert!(shrink.code == 2 && shrink.err.contains("error: nothing to shrink"), "{shrink:?}");
}

#[test]
fn plans_of_every_schedule_run() {
    let directory = tempdir().unwrap();
    let answer = proofmark(directory.path(), ["run", "--schedule", "threads", "--seeds", "3"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let answer = proofmark(directory.path(), ["plan", "1", "--schedule", "threads"]);
    assert!(answer.out.contains("\nschedule threads seed=1 scheduler="), "{}", answer.out);
}

#[test]
fn switches_that_do_not_come_are_told() {
    let directory = tempdir().unwrap();
    let plan = |switches: &str| {
        let text = format!(
            "proofmark plan 1\nschedule threads recorded\n\nc0 begin read\n{switches}c0 abort\nc1 begin read\nc1 abort\n"
        );
        std::fs::write(directory.path().join("a.plan"), text).unwrap();
        proofmark(directory.path(), ["replay", "a.plan"])
    };
    let answer = plan("switch point=1 to=c1\n");
    answer.assert_sound();
    assert!(!answer.out.contains("did not come"), "{}", answer.out);
    let answer = plan("switch point=1 to=c7\n");
    answer.assert_sound();
    assert!(
        answer.out.contains("\n1 switch of the plan did not come: this is another run than"),
        "{}",
        answer.out
    );
    let answer = plan("switch point=1 to=c1\nswitch point=9999 to=c1\nswitch point=1 to=c1\n");
    answer.assert_sound();
    assert!(answer.out.contains("\n2 switches of the plan did not come: "), "{}", answer.out);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let directory = tempdir().unwrap();
    let refused = |arguments: &[&str], reason: &str| {
        proofmark(directory.path(), arguments).assert_refused(&[reason]);
    };
    refused(&["torture", "--store", "redb"], "not built for threads");
    refused(&["run", "--schedule", "threads", "--store", "redb"], "not built for threads");
    refused(&["replay", "1", "--threads", "3"], "--torture is missing");
    let plan = "proofmark plan 1\nschedule threads recorded\nc0 begin read\n";
    std::fs::write(directory.path().join("a.plan"), plan).unwrap();
    refused(&["explore", "a.plan"], "the plan's own order");
    refused(&["replay", "a.plan", "--torture"], "says itself");
    for command in ["replay", "shrink", "plan"] {
        for schedule in ["sequential", "tasks", "threads"] {
            refused(&[command, "a.plan", "--schedule", schedule], "says itself");
        }
    }
}
