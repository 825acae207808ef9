//! `proofmark db export` and `proofmark db load`: pairs as lines of text.

use std::fs;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::process::Stdio;

use proofmark_engine::{Database, Options};
use tempfile::TempDir;

use crate::command::{Answer, command, contents, interrupt, proofmark, spawn};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A directory with a database in `db` that holds every byte, a large value and two versions of `apple`.
fn with_database() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path().join("db"), &Options::new().page_size(4096)).unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let large = vec![7; 100_000];
    for pairs in [
        [(&b"apple"[..], &b"green"[..]), (&bytes, &bytes), (b"large", &large)],
        [(b"apple", b"red"), (b"plum\n", b""), (b"", b"nothing")],
    ] {
        let mut write = database.begin_write().unwrap();
        for (key, value) in pairs {
            write.put(key, value).unwrap();
        }
        write.commit().unwrap();
    }
    directory
}

fn pairs(path: &Path) -> Pairs {
    let database = Database::open(path, &Options::new().read_only(true)).unwrap();
    let read = database.begin_read().unwrap();
    let scan = read.range((Bound::Unbounded, Bound::Unbounded)).unwrap();
    scan.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Runs a `db` command, and asserts that it refuses, for these reasons, and changes nothing.
#[track_caller]
fn refused(directory: &TempDir, arguments: &[&str], reasons: &[&str]) {
    let before = contents(directory.path());
    proofmark(directory.path(), [&["db"], arguments].concat()).assert_refused(reasons);
    assert!(contents(directory.path()) == before, "{arguments:?} changed something");
}

fn with_input(directory: &TempDir, arguments: &[&str], input: &[u8]) -> Answer {
    let mut command = command(directory.path());
    let mut child = spawn(command.args(arguments).stdin(Stdio::piped()));
    // It may have seen enough before the end.
    let _ = child.stdin.take().unwrap().write_all(input);
    Answer::of(child.wait_with_output().unwrap())
}

#[test]
fn what_was_exported_can_be_loaded() {
    let directory = with_database();
    let before = contents(&directory.path().join("db"));
    let export = proofmark(directory.path(), ["db", "export", "db", "pairs.txt"]);
    export.assert_sound();
    assert_eq!((export.out.as_str(), export.err.as_str()), ("exported 5 pairs as of transaction 2\n", ""));
    assert!(contents(&directory.path().join("db")) == before, "an export changed the database");

    let load =
        proofmark(directory.path(), ["db", "load", "--create", "--page-size", "8192", "copy", "pairs.txt"]);
    load.assert_sound();
    assert_eq!((load.out.as_str(), load.err.as_str()), ("loaded 5 pairs, durable as of transaction 1\n", ""));
    assert_eq!(pairs(&directory.path().join("copy")), pairs(&directory.path().join("db")));
    let stats = proofmark(directory.path(), ["db", "stats", "copy"]);
    assert_eq!(
        (stats.count("bytes of a page"), stats.count("transaction of the last checkpoint")),
        (8192, 1)
    );

    let piped = proofmark(directory.path(), ["db", "export", "copy", "-"]);
    piped.assert_sound();
    assert_eq!(piped.out, fs::read_to_string(directory.path().join("pairs.txt")).unwrap());
    let load = with_input(&directory, &["db", "load", "copy", "-"], piped.out.as_bytes());
    assert_eq!(load.out, "loaded 5 pairs, durable as of transaction 2\n", "{load:?}");
    assert_eq!(pairs(&directory.path().join("copy")), pairs(&directory.path().join("db")));
}

#[test]
fn a_load_keeps_what_it_does_not_name() {
    let directory = with_database();
    proofmark(directory.path(), ["db", "export", "db", "pairs.txt"]).assert_sound();
    {
        let database = Database::open(directory.path().join("db"), &Options::new()).unwrap();
        let mut write = database.begin_write().unwrap();
        write.put(b"apple", b"brown").unwrap();
        write.put(b"pear", b"yellow").unwrap();
        write.commit().unwrap();
    }
    proofmark(directory.path(), ["db", "load", "db", "pairs.txt"]).assert_sound();
    let found = pairs(&directory.path().join("db"));
    assert!(found.contains(&(b"pear".to_vec(), b"yellow".to_vec())));
    assert!(found.contains(&(b"apple".to_vec(), b"red".to_vec())));
    let past = proofmark(directory.path(), ["db", "export", "--at", "3", "db", "-"]);
    past.assert_sound();
    assert!(past.out.contains("\napple\tbrown\n"), "the history is not the command's to drop: {}", past.out);
}

#[test]
fn a_past_state_can_be_exported_if_it_is_retained() {
    let directory = with_database();
    let export = proofmark(directory.path(), ["db", "export", "--at", "1", "db", "-"]);
    export.assert_sound();
    assert!(export.out.contains("\napple\tgreen\n") && !export.out.contains("plum"), "{}", export.out);
    refused(&directory, &["export", "--at", "3", "db", "-"], &["no snapshot of transaction 3"]);
    refused(&directory, &["export", "--at", "x", "db", "-"], &["the number of a transaction"]);
}

#[test]
fn an_export_overwrites_nothing() {
    let directory = with_database();
    fs::write(directory.path().join("precious.txt"), "mine").unwrap();
    refused(&directory, &["export", "db", "precious.txt"], &["cannot create precious.txt", "exists"]);
    refused(&directory, &["export", "db", "absent/pairs.txt"], &["cannot create absent/pairs.txt"]);
    refused(&directory, &["export", "absent", "pairs.txt"], &["there is no directory absent"]);
}

#[test]
fn an_export_that_cannot_be_written_is_an_error() {
    let directory = with_database();
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let mut command = command(directory.path());
    let child = spawn(command.args(["db", "export", "db", "-"]).stdout(full));
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.err.contains("No space left on device"), "{answer:?}");

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = self::command(directory.path());
    let output = spawn(command.args(["db", "export", "db", "-"]).stdout(writer)).wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn a_broken_file_is_refused_as_a_whole() {
    let directory = with_database();
    proofmark(directory.path(), ["db", "export", "db", "pairs.txt"]).assert_sound();
    let text = fs::read_to_string(directory.path().join("pairs.txt")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let broken = [
        ("changed.txt", text.replace("apple\tred", "apple\tred\\"), "line 4: in the value: a backslash"),
        ("cut.txt", lines[..5].concat(), "line 6: the text ends here"),
        ("lost.txt", [&lines[..2], &lines[3..]].concat().concat(), "line 6: it was not written for"),
        ("long.txt", text.replace("apple", &"a".repeat(1025)), "line 4: the key has 1025 bytes"),
        ("empty.txt", String::new(), "line 1: the text ends here"),
    ];
    for (name, text, reason) in &broken {
        fs::write(directory.path().join(name), text).unwrap();
        let reasons = &[&format!("cannot load {name}: nothing was changed"), *reason];
        refused(&directory, &["load", "db", name], reasons);
        refused(&directory, &["load", "--create", "--page-size", "4096", "new", name], reasons);
    }
}

#[test]
fn what_cannot_be_checked_beforehand_says_how_far_it_came() {
    let directory = with_database();
    let text = proofmark(directory.path(), ["db", "export", "db", "-"]).out;
    let before = pairs(&directory.path().join("db"));
    let cut = with_input(&directory, &["db", "load", "db", "-"], &text.as_bytes()[..text.len() - 1]);
    cut.assert_refused(&["cannot load standard input: nothing was changed", "line 7: the text ends here"]);
    assert_eq!(pairs(&directory.path().join("db")), before);

    let mut many = "proofmark pairs 1\n".to_owned();
    many.extend((0..100_001).map(|number| format!("{number}\tvalue\n")));
    let cut = with_input(&directory, &["db", "load", "--create", "new", "-"], many.as_bytes());
    let reasons =
        ["it ended after 100,000 pairs, durable as of transaction 1", "line 100003: the text ends here"];
    cut.assert_refused(&reasons);
    assert_eq!(pairs(&directory.path().join("new")).len(), 100_000);
}

#[test]
fn a_target_that_is_none_is_refused() {
    let directory = with_database();
    proofmark(directory.path(), ["db", "export", "db", "pairs.txt"]).assert_sound();
    fs::create_dir(directory.path().join("empty")).unwrap();
    refused(&directory, &["load", "absent", "pairs.txt"], &["there is no directory absent"]);
    refused(&directory, &["load", "empty", "pairs.txt"], &["there is no database in empty"]);
    refused(&directory, &["load", "pairs.txt", "pairs.txt"], &["pairs.txt is not a directory"]);
    refused(&directory, &["load", "db", "absent.txt"], &["cannot open absent.txt"]);
    refused(&directory, &["load", "db", "empty"], &["empty"]);
    refused(&directory, &["load", "--page-size", "5000", "--create", "new", "pairs.txt"], &["5000"]);
    refused(&directory, &["load", "--page-size", "4096", "db", "pairs.txt"], &["--create"]);
    let _reader = Database::open(directory.path().join("db"), &Options::new().read_only(true)).unwrap();
    refused(&directory, &["load", "db", "pairs.txt"], &["db is in use"]);
}

#[test]
fn an_interrupted_load_leaves_what_it_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(directory.path());
    let mut child = spawn(command.args(["db", "load", "--create", "db", "-"]).stdin(Stdio::piped()));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"proofmark pairs 1\n").unwrap();
    let mut numbers = 0u64..;
    let mut feed = |count: usize| {
        let lines: String =
            numbers.by_ref().take(count).map(|number| format!("{number:09}\tvalue\n")).collect();
        input.write_all(lines.as_bytes())
    };
    // More than a pipe holds, so that it reads by then, and listens.
    feed(50_000).unwrap();
    interrupt(child.id());
    // It ends after the batch that it is in.
    while feed(1000).is_ok() {}
    drop(input);
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(answer.code, 130, "{answer:?}");
    let count = pairs(&directory.path().join("db")).len();
    assert!(count > 0 && count.is_multiple_of(100_000), "{count} pairs");
    let thousands = count / 1000;
    assert!(
        answer.out.starts_with(&format!("interrupted after {thousands},000 pairs, durable")),
        "{answer:?}"
    );
}
