//! `proofmark run`: the table, its independence of --jobs, and interruptions.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::command::{Answer, command, contents, interrupt, proofmark, spawn};

/// Runs a campaign in a directory that has to stay empty.
fn run(arguments: &[&str]) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    let answer = proofmark(directory.path(), [&["run"], arguments].concat());
    assert!(contents(directory.path()).is_empty());
    answer
}

/// The summary without the lines that depend on the time it took.
fn timeless(answer: &Answer) -> String {
    let lines = answer.out.lines().filter(|line| !line.contains("elapsed") && !line.contains("a second"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_store_passes_and_has_its_table() {
    for store in ["engine", "redb"] {
        let answer = run(&["--store", store, "--seeds", "8"]);
        answer.assert_sound();
        assert_eq!(answer.figure("store"), store);
        assert_eq!(answer.count("seeds"), 8);
        assert_eq!(answer.count("violations"), 0);
        for name in ["transactions", "committed", "operations", "power losses", "recoveries", "I/O calls"] {
            assert!(answer.count(name) > 0, "no {name} in {}", answer.out);
        }
        let struck =
            ["in a commit", "in a checkpoint", "in a recovery", "in the creation", "in anything else"];
        let between = answer.count("between two calls");
        let sum: u64 = struck.iter().map(|name| answer.count(name)).sum();
        assert_eq!(sum + between, answer.count("power losses"), "{}", answer.out);
        assert!(answer.count("power losses with something unsynced") <= answer.count("power losses"));
        assert_eq!(answer.count("losses at the end of a run"), 8, "{}", answer.out);
        assert!(answer.out.contains("checkpoints declined") && answer.out.contains("process deaths"));
        assert!(answer.out.ends_with("no violation\n"), "{}", answer.out);
    }
}

#[test]
fn a_seed_has_one_hash_in_run_and_replay() {
    let directory = tempfile::tempdir().unwrap();
    // The first is one of those that are compared with other runs.
    for seed in ["8", "9"] {
        for store in ["engine", "redb"] {
            let hash = run(&["--seed", seed, "--store", store]).figure("seed hash").to_owned();
            let replay = proofmark(directory.path(), ["replay", seed, "--store", store]);
            assert!(replay.out.contains(&format!("\nseed hash {hash}\n")), "no {hash} in {}", replay.out);
        }
    }
}

#[test]
fn seeds_are_the_same_twice() {
    for store in ["engine", "redb"] {
        let answer = run(&["--seeds", "9", "--store", store, "--check-determinism", "--jobs", "2"]);
        assert!(
            answer.out.ends_with("9 seeds run twice, and the same both times\nno violation\n"),
            "{}",
            answer.out
        );
    }
}

#[test]
fn many_jobs_for_few_seeds_are_as_good_as_few() {
    let many = run(&["--seeds", "3", "--jobs", "1024"]);
    many.assert_sound();
    assert_eq!(timeless(&many), timeless(&run(&["--seeds", "3", "--jobs", "1"])));
}

#[test]
fn results_do_not_depend_on_jobs() {
    let one = run(&["--seeds", "9", "--start", "100", "--jobs", "1"]);
    let two = run(&["--seeds", "9", "--start", "100", "--jobs", "2"]);
    one.assert_sound();
    assert_eq!(timeless(&one), timeless(&two));
    let other = run(&["--seeds", "9", "--start", "101", "--jobs", "2"]);
    assert_ne!(one.figure("trace hash of all seeds"), other.figure("trace hash of all seeds"));
}

#[test]
fn one_seed_is_a_campaign_of_one() {
    let one = run(&["--seed", "42"]);
    one.assert_sound();
    assert_eq!(one.count("seeds"), 1);
    assert_eq!(timeless(&one), timeless(&run(&["--seeds", "1", "--start", "42"])));
    let last = run(&["--seed", "18446744073709551615"]);
    last.assert_sound();
    assert_eq!(last.count("seeds"), 1);
}

#[test]
fn time_ends_a_campaign() {
    let answer = run(&["--time", "200ms"]);
    answer.assert_sound();
    assert!(answer.count("seeds") > 0);
    assert!(!answer.out.contains("interrupted"), "{}", answer.out);
    let seeds_end_it_too = run(&["--time", "1h", "--seeds", "3"]);
    assert_eq!(seeds_end_it_too.count("seeds"), 3);
}

#[test]
fn an_interrupt_ends_with_what_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(directory.path());
    let mut child = spawn(command.args(["run", "--time", "1h", "--jobs", "2"]));
    // The first line says that it has started, and that it listens.
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    err.read_line(&mut first).unwrap();
    assert!(first.starts_with("running "), "{first}");
    interrupt(child.id());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let answer = Answer { code: child.wait().unwrap().code().unwrap(), out, err: first };
    assert_eq!(answer.code, 130, "{answer:?}");
    let seeds = answer.figure("seeds");
    assert!(answer.out.contains(&format!("interrupted after {seeds} seeds\n")), "{}", answer.out);
    assert_eq!(answer.count("violations"), 0);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = std::fs::OpenOptions::new().write(true).open(full).unwrap();
    let mut command = command(directory.path());
    let child = spawn(command.args(["run", "--seeds", "1"]).stdout(out));
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.err.contains("No space left on device"), "{answer:?}");
}
