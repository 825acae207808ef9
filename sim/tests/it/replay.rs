//! `proofmark replay`: of seeds, of plan files, and of what is neither.

use std::fs;
use std::path::Path;

use crate::command::{Answer, contents, proofmark};

/// A plan whose only commit is acknowledged and then lost, because the disk lies about every sync.
const LOST_COMMIT: &str = "\
proofmark plan 1
store engine
sabotage ignore-sync every=1

c0 begin write
c0 put \"k\" #1*8
c0 commit sync
c0 get \"k\"
";

fn trace_hash(answer: &Answer) -> &str {
    answer
        .out
        .lines()
        .find(|line| line.starts_with("trace hash "))
        .expect("a replay ends with its trace hash")
}

/// Replays a file of these bytes, and asserts that nothing changes on disk.
#[track_caller]
fn replay_bytes(bytes: &[u8]) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.plan"), bytes).unwrap();
    let answer = proofmark(directory.path(), ["replay", "a.plan"]);
    assert_eq!(fs::read(directory.path().join("a.plan")).unwrap(), bytes);
    assert_eq!(contents(directory.path()).len(), 1);
    answer
}

#[test]
fn a_seed_is_told_the_same_way_every_time() {
    let directory = tempfile::tempdir().unwrap();
    for store in ["engine", "redb"] {
        for trace in [&[] as &[&str], &["--trace"]] {
            let arguments = [&["replay", "7", "--store", store], trace].concat();
            let first = proofmark(directory.path(), &arguments);
            first.assert_sound();
            assert!(first.out.starts_with(&format!("seed 7, store {store}, ")), "{}", first.out);
            assert!(first.out.ends_with("\nno violation\n"), "{}", first.out);
            assert_eq!(proofmark(directory.path(), &arguments), first);
        }
    }
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn a_narrative_has_every_step_and_every_power_loss() {
    let directory = tempfile::tempdir().unwrap();
    let plan = proofmark(directory.path(), ["plan", "7"]);
    plan.assert_sound();
    let (_, steps) = plan.out.split_once("\n\n").unwrap();
    let brief = proofmark(directory.path(), ["replay", "7"]);
    let full = proofmark(directory.path(), ["replay", "7", "--trace"]);
    for (step, number) in steps.lines().zip(1..) {
        assert!(full.out.contains(&format!("\n{number:>5}  {step}")), "no step {number}: {step}");
        assert!(brief.out.contains(&format!("\n{number:>5}  ")), "no step {number}");
    }
    let (before, _) = brief.out.split_once(" I/O calls").unwrap();
    let calls: usize = before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!(calls > 0 && full.out.lines().count() >= brief.out.lines().count() + calls);
    for answer in [&brief, &full] {
        // One of them is that at the end.
        let power_losses = answer.out.matches("after the power loss: ").count() - 1;
        assert!(answer.out.contains(&format!("\n{power_losses} power losses, ")), "{}", answer.out);
        assert!(answer.out.contains(", 1 power loss at the end, "), "{}", answer.out);
        assert!(power_losses > 1, "{}", answer.out);
    }
    assert_eq!(trace_hash(&brief), trace_hash(&full));
}

#[test]
fn a_saved_plan_is_the_same_run_as_its_seed() {
    let directory = tempfile::tempdir().unwrap();
    let seed = proofmark(directory.path(), ["replay", "11", "--save", "saved.plan"]);
    seed.assert_sound();
    let file = proofmark(directory.path(), ["replay", "saved.plan"]);
    file.assert_sound();
    // A plan in a file is one run. Only a seed has a hash over all of its runs.
    let seed_hash = seed.out.lines().find(|line| line.starts_with("seed hash ")).unwrap();
    assert_eq!(file.out, seed.out.replace(&format!("{seed_hash}\n"), ""));
    assert!(trace_hash(&file).len() == "trace hash ".len() + 16);
    let printed = proofmark(directory.path(), ["plan", "saved.plan"]);
    assert_eq!(printed.out, fs::read_to_string(directory.path().join("saved.plan")).unwrap());

    let elsewhere = proofmark(directory.path(), ["replay", "saved.plan", "--store", "redb"]);
    elsewhere.assert_sound();
    let redb = proofmark(directory.path(), ["replay", "11", "--store", "redb"]);
    assert_eq!(trace_hash(&elsewhere), trace_hash(&redb));
    assert_ne!(trace_hash(&elsewhere), trace_hash(&seed));
}

#[test]
fn a_saved_run_of_tasks_is_the_same_run_without_time() {
    let directory = tempfile::tempdir().unwrap();
    let seed = proofmark(directory.path(), ["replay", "7", "--schedule", "tasks", "--save", "saved.plan"]);
    seed.assert_sound();
    let saved = fs::read_to_string(directory.path().join("saved.plan")).unwrap();
    assert!(!saved.contains("\nschedule "), "{saved}");
    let file = proofmark(directory.path(), ["replay", "saved.plan"]);
    file.assert_sound();
    assert_eq!(trace_hash(&file), trace_hash(&seed));
}

#[test]
fn saving_never_overwrites() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("kept"), "precious").unwrap();
    let before = contents(directory.path());
    let save = |path: &str| proofmark(directory.path(), ["replay", "11", "--save", path]);
    save("kept").assert_refused(&["kept exists already"]);
    save(".").assert_refused(&["error: . exists already"]);
    save("absent/file").assert_refused(&["absent/file", "No such file or directory"]);
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn a_violation_says_who_where_what_and_how_to_see_it_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("it's lost.plan"), LOST_COMMIT).unwrap();
    let answer = proofmark(directory.path(), ["replay", "it's lost.plan"]);
    assert_eq!((answer.code, answer.err.as_str()), (1, ""), "{answer:?}");
    let (_, report) = answer.out.split_once("violation: ").expect("a violation is reported");
    for part in [
        "\n  step ",
        "\n  event ",
        "\n  says ",
        "\n  reproduce cargo run --release -- replay 'it'\\''s lost.plan' --store engine\n",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert_eq!(proofmark(directory.path(), ["replay", "it's lost.plan"]), answer);
}

#[test]
fn a_dead_process_is_not_told_as_a_power_loss() {
    let plan = "proofmark plan 1\nc0 begin write\nc0 put \"k\" #1*8\ncrash call=1 before keep=page-cache\n\
        c0 commit buffered\ncrash call=99 before keep=page-cache\n";
    let answer = replay_bytes(plan.as_bytes());
    answer.assert_sound();
    assert_eq!(answer.out.matches("the process died; ").count(), 2, "{}", answer.out);
    assert_eq!(answer.out.matches("after the power loss: ").count(), 1, "{}", answer.out);
    assert!(answer.out.contains("struck before #"), "{}", answer.out);
    let figures = "\n0 power losses, 2 process deaths, 1 power loss at the end, 3 recoveries\n";
    assert!(answer.out.contains(figures), "{}", answer.out);
}

#[test]
fn skipped_steps_and_planted_faults_are_shown() {
    let plan = "proofmark plan 1\nsabotage ignore-sync nth=99999\n\nc0 abort\nc0 get \"k\"\n";
    let answer = replay_bytes(plan.as_bytes());
    answer.assert_sound();
    assert!(answer.out.contains(", 2 steps skipped, "), "{}", answer.out);
    assert!(answer.out.contains("\n1 fault planted, fired 0 times\n"), "{}", answer.out);
    let answer = replay_bytes(LOST_COMMIT.as_bytes());
    assert!(
        answer.out.contains("\n1 fault planted, fired ") && !answer.out.contains("fired 0"),
        "{}",
        answer.out
    );
}

#[test]
fn a_violation_in_a_file_with_a_leading_hyphen_can_be_reproduced() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("-lost.plan"), LOST_COMMIT).unwrap();
    let answer = proofmark(directory.path(), ["replay", "--", "-lost.plan"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.out.contains(" replay './-lost.plan' --store engine\n"), "{}", answer.out);
    let again = proofmark(directory.path(), ["replay", "./-lost.plan", "--store", "engine"]);
    assert_eq!((again.code, trace_hash(&again)), (1, trace_hash(&answer)));
}

#[test]
fn a_plan_that_does_not_parse_is_shown_with_the_place() {
    let header = "proofmark plan 1\n";
    let answer = replay_bytes(format!("{header}# fine\n\nc0 commit slowly\n").as_bytes());
    answer.assert_refused(&[
        "slowly",
        "--> a.plan:4:11\n",
        "\n4 | c0 commit slowly\n",
        "\n  |           ^\n",
    ]);
    replay_bytes(b"").assert_refused(&["--> a.plan:1:1\n"]);
    replay_bytes(b"\x7fELF\x00\x01").assert_refused(&["--> a.plan:1:1\n"]);
    replay_bytes(b"proofmark plan 2\n").assert_refused(&["version 1", "--> a.plan:1:16\n"]);
    let impossible = |text: &str, place: &str| {
        replay_bytes(format!("{header}{text}\n").as_bytes()).assert_refused(&["at most", place]);
    };
    replay_bytes(format!("{header}page-size 5\n").as_bytes())
        .assert_refused(&["a power of two", "a.plan:2:11\n"]);
    replay_bytes(format!("{header}segment-bytes 0\n").as_bytes())
        .assert_refused(&["a segment has 4096 to ", "a.plan:2:15\n"]);
    impossible("c0 begin write\nc0 put \"k\"*1025 #1*8", "--> a.plan:3:8\n");
    impossible("c0 put \"k\" #1*16777217", "--> a.plan:2:15\n");
    let mut many = String::new();
    (1..=17).for_each(|id| many.push_str(&format!("c0 put \"k\" #{id}*16777216\n")));
    impossible(&many, "--> a.plan:17:");
    replay_bytes(format!("\u{feff}{header}verify\n").as_bytes()).assert_sound();
    let not_text = [header.as_bytes(), b"c0 begin read\nc0 get \"\xff\"\n"].concat();
    replay_bytes(&not_text).assert_refused(&["a.plan:3:9: this is no UTF-8 text"]);
}

#[test]
fn what_is_neither_seed_nor_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("7")).unwrap();
    let before = contents(directory.path());
    let replay = |target: &str| proofmark(directory.path(), ["replay", target]);
    replay("absent.plan").assert_refused(&["there is no file absent.plan"]);
    replay("").assert_refused(&["there is no file "]);
    replay("0x10").assert_refused(&["there is no file 0x10"]);
    replay("./7").assert_refused(&["error: ./7 is no regular file, so it is no plan"]);
    replay("18446744073709551616").assert_refused(&["too large for a seed", "18446744073709551615"]);
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn a_file_may_be_named_by_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let directory = tempfile::tempdir().unwrap();
    let name = OsStr::from_bytes(b"\xff.plan");
    fs::write(directory.path().join(Path::new(name)), "proofmark plan 1\nverify\n").unwrap();
    proofmark(directory.path(), [OsStr::new("replay"), name]).assert_sound();
}
