//! `proofmark db compact`, `backup` and `changes`.

use std::fs;

use proofmark_engine::{Database, Options, Retention};
use tempfile::TempDir;

use crate::command::{contents, proofmark};

/// A directory with a database in `db`: 1000 keys, all but 100 of them deleted, with the last two states retained, and
/// one more transaction in the log.
fn with_database() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new().page_size(4096).retention(Retention::Txns(1));
    let database = Database::open(directory.path().join("db"), &options).unwrap();
    let commit = |work: &dyn Fn(u32) -> Option<Option<&'static [u8]>>| {
        let mut write = database.begin_write().unwrap();
        for number in 0..1000 {
            let key = format!("key {number:04}");
            match work(number) {
                Some(Some(value)) => write.put(key.as_bytes(), value).unwrap(),
                Some(None) => write.delete(key.as_bytes()).unwrap(),
                None => {}
            }
        }
        write.commit().unwrap();
        database.checkpoint().unwrap();
    };
    commit(&|_| Some(Some(&[1; 100])));
    commit(&|number| (number >= 100).then_some(None));
    commit(&|number| (number == 0).then_some(Some(b"tab\t")));
    commit(&|number| (number == 1).then_some(None));
    let mut write = database.begin_write().unwrap();
    write.put(b"in the log", b"1").unwrap();
    write.commit().unwrap();
    directory
}

fn export(directory: &TempDir, arguments: &[&str]) -> String {
    let export = proofmark(directory.path(), [&["db", "export"], arguments, &["-"]].concat());
    export.assert_sound();
    export.out
}

#[test]
fn a_compaction_keeps_everything_but_the_room() {
    let directory = with_database();
    let size = || fs::metadata(directory.path().join("db/data")).unwrap().len();
    let (before, size_before) = (export(&directory, &["db"]), size());
    let past = export(&directory, &["--at", "3", "db"]);
    let compact = proofmark(directory.path(), ["db", "compact", "db"]);
    compact.assert_sound();
    assert!(size() < size_before / 2, "{} and then {}", size_before, size());
    assert_eq!(compact.count("bytes of the data file after"), size());
    assert_eq!(export(&directory, &["db"]), before);
    assert_eq!(export(&directory, &["--at", "3", "db"]), past);
    let verify = proofmark(directory.path(), ["db", "verify", "db"]);
    verify.assert_sound();
    assert_eq!(verify.count("free"), 0);
}

#[test]
fn a_backup_is_a_database_of_its_own() {
    let directory = with_database();
    let before = contents(&directory.path().join("db"));
    let backup = proofmark(directory.path(), ["db", "backup", "db", "copies/monday"]);
    backup.assert_sound();
    assert_eq!(backup.count("latest transaction"), 5);
    assert!(contents(&directory.path().join("db")) == before, "a backup changed the database");
    for state in [&["copies/monday"][..], &["--at", "3", "copies/monday"], &["--at", "4", "copies/monday"]] {
        let original = [&state[..state.len() - 1], &["db"]].concat();
        assert_eq!(export(&directory, state), export(&directory, &original));
    }
    proofmark(directory.path(), ["db", "verify", "copies/monday"]).assert_sound();
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let directory = with_database();
    fs::create_dir(directory.path().join("full")).unwrap();
    fs::write(directory.path().join("full/notes.txt"), "mine").unwrap();
    let before = contents(directory.path());
    for (target, reason) in
        [("full", "full exists already"), ("db", "db exists already"), ("full/notes.txt", "full/notes.txt")]
    {
        proofmark(directory.path(), ["db", "backup", "db", target]).assert_refused(&[reason]);
        assert!(contents(directory.path()) == before, "a backup to {target} changed something");
    }
}

#[test]
fn changes_come_one_transaction_after_the_other() {
    let directory = with_database();
    let before = contents(directory.path());
    let changes = proofmark(directory.path(), ["db", "changes", "db"]);
    changes.assert_sound();
    assert_eq!(changes.out, "4\tdelete\tkey 0001\n5\tput\tin the log\t1\n");
    let later = proofmark(directory.path(), ["db", "changes", "db", "--from", "5"]);
    assert_eq!(later.out, "5\tput\tin the log\t1\n", "{later:?}");
    assert_eq!(proofmark(directory.path(), ["db", "changes", "db", "--from", "6"]).out, "");
    let fell_behind = proofmark(directory.path(), ["db", "changes", "db", "--from", "3"]);
    fell_behind.assert_refused(&["the changes of transaction 3 are no longer retained", "those of 4"]);
    proofmark(directory.path(), ["db", "changes", "db", "--from", "7"]).assert_refused(&["transaction 7"]);
    assert!(contents(directory.path()) == before, "`db changes` changed something");
}

#[test]
fn what_is_no_database_is_refused() {
    let directory = with_database();
    fs::create_dir(directory.path().join("empty")).unwrap();
    let _reader = Database::open(directory.path().join("db"), &Options::new().read_only(true)).unwrap();
    let before = contents(directory.path());
    let refused = |arguments: &[&str], reason: &str| {
        proofmark(directory.path(), [&["db"], arguments].concat()).assert_refused(&[reason]);
        assert!(contents(directory.path()) == before, "{arguments:?} changed something");
    };
    refused(&["compact", "db"], "db is in use");
    for (path, reason) in
        [("absent", "there is no directory absent"), ("empty", "there is no database in empty")]
    {
        refused(&["compact", path], reason);
        refused(&["backup", path, "copy"], reason);
        refused(&["changes", path], reason);
        for what in ["dump", "verify", "scan"] {
            refused(&["log", what, path], reason);
        }
    }
}

#[test]
fn what_is_damaged_is_neither_copied_nor_compacted() {
    let directory = with_database();
    let data = directory.path().join("db/data");
    let mut bytes = fs::read(&data).unwrap();
    // The last state of some key that was never deleted, in whatever leaf it lies.
    for at in bytes
        .windows(50)
        .enumerate()
        .filter(|(_, window)| window == &[1; 50])
        .map(|(at, _)| at)
        .collect::<Vec<_>>()
    {
        bytes[at] ^= 2;
    }
    fs::write(&data, bytes).unwrap();
    let before = contents(&directory.path().join("db"));
    for arguments in
        [&["backup", "db", "copy"][..], &["export", "db", "pairs.txt"], &["changes", "db", "--from", "4"]]
    {
        let answer = proofmark(directory.path(), [&["db"], arguments].concat());
        assert_eq!((answer.code, answer.err.as_str()), (1, ""), "{arguments:?}: {answer:?}");
        assert!(answer.out.contains("damage: db/data is damaged at byte "), "{answer:?}");
        assert!(contents(&directory.path().join("db")) == before, "{arguments:?} changed something");
    }
    assert!(!directory.path().join("copy/data").exists() && !directory.path().join("pairs.txt").exists());
    // This one gets as far as the checkpoint.
    let keys: String = (0..1000).map(|number| format!("key {number:04}\tnew\n")).collect();
    let lines = format!("proofmark pairs 1\n{keys}");
    let checksum = xxhash_rust::xxh3::xxh3_64(lines.as_bytes());
    fs::write(directory.path().join("pairs.txt"), format!("{lines}end\t1000\t{checksum:016x}\n")).unwrap();
    for arguments in [["load", "db", "pairs.txt"].as_slice(), &["compact", "db"]] {
        let answer = proofmark(directory.path(), [&["db"], arguments].concat());
        assert_eq!((answer.code, answer.err.as_str()), (1, ""), "{answer:?}");
        assert!(answer.out.contains("damage: db/data is damaged at byte "), "{answer:?}");
    }
}
