//! `proofmark db` on directories that hold a database, a damaged one, or none.

use std::fs;
use std::io;
use std::path::Path;

use proofmark_engine::{Database, Durability, Options};
use tempfile::TempDir;

use crate::command::{Answer, command, contents, proofmark, spawn};

/// The segment that the log goes on in after one checkpoint.
const LOG_FILE: &str = "log-0000000000000002";
/// What the checksum of a meta page is seeded with, by the format.
const META_SEED: u64 = 0x6d65_7461;

/// A directory with a database in `db`: 300 keys in the base tree, 20 more in the log, and its writer gone.
fn with_database() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory.path().join("db"));
    for range in [0..100u32, 100..200, 200..300] {
        let mut write = database.begin_write().unwrap();
        for number in range {
            write.put(format!("key {number:04}").as_bytes(), &[number as u8; 100]).unwrap();
        }
        write.commit().unwrap();
    }
    database.checkpoint().unwrap();
    let mut write = database.begin_write().unwrap();
    for number in 300..320u32 {
        write.put(format!("key {number:04}").as_bytes(), b"in the log").unwrap();
    }
    write.commit().unwrap();
    directory
}

fn open(path: &Path) -> Database {
    Database::open(path, &Options::new().page_size(4096)).unwrap()
}

/// Runs a `db` command on `path`, and asserts that nothing changes on disk.
#[track_caller]
fn look(directory: &TempDir, what: &str, path: &str) -> Answer {
    let before = contents(directory.path());
    let answer = proofmark(directory.path(), ["db", what, path]);
    assert!(contents(directory.path()) == before, "`db {what}` changed something");
    answer
}

#[test]
fn a_sound_database_is_described_and_left_alone() {
    let directory = with_database();
    let verify = look(&directory, "verify", "db");
    verify.assert_sound();
    assert!(verify.out.ends_with("no damage found in db\n"), "{}", verify.out);
    assert_eq!((verify.count("versions in them"), verify.count("transactions in the log")), (300, 1));

    let stats = look(&directory, "stats", "db");
    stats.assert_sound();
    assert_eq!(
        (stats.count("latest transaction"), stats.count("transaction of the last checkpoint")),
        (4, 3)
    );
    assert_eq!(stats.count("bytes of a page"), 4096);
    assert_eq!((stats.count("keys in it"), stats.count("versions of them")), (300, 300));
    assert_eq!(stats.count("levels of the base tree"), verify.count("levels of the base tree"));
    let kinds =
        ["leaves", "branches", "large values", "free list", "free", "free as soon as nobody needs them"];
    let pages: u64 = kinds.iter().map(|kind| stats.count(kind)).sum();
    assert_eq!(stats.count("pages"), 2 + pages, "{}", stats.out);

    let dump = look(&directory, "dump", "db");
    dump.assert_sound();
    for line in
        ["meta generation=1 ", "\"key 0299\"@3 100 bytes", "log transaction=4", "put \"key 0319\" 10 bytes"]
    {
        assert!(dump.out.contains(line), "no {line:?} in {}", dump.out);
    }
}

#[test]
fn several_may_look_at_once() {
    let directory = with_database();
    let _reader = Database::open(directory.path().join("db"), &Options::new().read_only(true)).unwrap();
    look(&directory, "verify", "db").assert_sound();
}

#[test]
fn a_database_in_use_is_refused() {
    let directory = with_database();
    let database = open(&directory.path().join("db"));
    let mut write = database.begin_write().unwrap();
    write.put(b"under", b"way").unwrap();
    write.commit_with(Durability::Buffered).unwrap();
    for what in ["verify", "stats", "dump"] {
        look(&directory, what, "db").assert_refused(&["db is in use"]);
    }
    drop(database);
    look(&directory, "verify", "db").assert_sound();
}

#[test]
fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("empty")).unwrap();
    fs::create_dir(directory.path().join("other")).unwrap();
    fs::write(directory.path().join("other/notes.txt"), "nothing of ours").unwrap();
    for what in ["verify", "stats", "dump"] {
        look(&directory, what, "absent").assert_refused(&["there is no directory absent"]);
        look(&directory, what, "empty").assert_refused(&["there is no database in empty"]);
        look(&directory, what, "other").assert_refused(&["there is no database in other"]);
        look(&directory, what, "other/notes.txt").assert_refused(&["other/notes.txt is not a directory"]);
        look(&directory, what, "other/notes.txt/db")
            .assert_refused(&["other/notes.txt/db", "Not a directory"]);
    }
}

#[test]
fn another_format_is_refused() {
    let directory = with_database();
    let path = directory.path().join("db/data");
    let mut bytes = fs::read(&path).unwrap();
    for meta in bytes.chunks_mut(4096).take(2) {
        meta[8..12].copy_from_slice(&9u32.to_le_bytes());
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&meta[..120], META_SEED);
        meta[120..128].copy_from_slice(&checksum.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    for what in ["verify", "stats", "dump"] {
        look(&directory, what, "db").assert_refused(&["db/data has format version 9", "reads version"]);
    }
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let directory = with_database();
    let data = directory.path().join("db/data");
    let sound = fs::read(&data).unwrap();
    // The value of key 150. Its key may be anywhere, because pages store once what their keys begin with.
    let needle = [150u8; 100];
    let at = sound.windows(needle.len()).position(|window| window == needle).unwrap();
    let mut bytes = sound.clone();
    bytes[at] ^= 1;
    fs::write(&data, bytes).unwrap();
    let place = format!("damage: db/data is damaged at byte {}: ", at / 4096 * 4096);
    for what in ["verify", "dump", "stats"] {
        let answer = look(&directory, what, "db");
        assert_eq!((answer.code, answer.err.as_str()), (1, ""), "{answer:?}");
        assert!(answer.out.contains(&place), "no {place:?} in {}", answer.out);
    }
    fs::write(&data, sound).unwrap();

    let log = directory.path().join("db").join(LOG_FILE);
    let mut bytes = fs::read(&log).unwrap();
    bytes[3] ^= 1;
    fs::write(&log, bytes).unwrap();
    for what in ["verify", "stats", "dump"] {
        let answer = look(&directory, what, "db");
        assert_eq!((answer.code, answer.err.as_str()), (1, ""), "{answer:?}");
        let place = format!("damage: db/{LOG_FILE} is damaged at byte 0: ");
        assert!(answer.out.starts_with(&place), "no {place:?} in {}", answer.out);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = with_database();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = command(directory.path());
    let output = spawn(command.args(["db", "dump", "db"]).stdout(writer)).wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn the_log_is_shown_record_by_record() {
    let directory = with_database();
    let verify = look_at_log(&directory, "verify");
    verify.assert_sound();
    assert!(verify.out.ends_with("no damage found in the log of db\n"), "{}", verify.out);
    assert_eq!((verify.count("records"), verify.figure("transactions")), (1, "4 to 4"));
    let dump = look_at_log(&directory, "dump");
    dump.assert_sound();
    let lines: Vec<&str> = dump.out.lines().collect();
    assert!(
        lines[0].starts_with(&format!("segment {LOG_FILE} ")) && lines[0].ends_with(" first=4"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("  record at=64 ") && lines[1].ends_with(" operations=20"), "{lines:?}");
    assert_eq!(lines[2], "    put \"key 0300\" 10 bytes");
    assert_eq!(lines.len(), 2 + 20 + 1);
    let scan = look_at_log(&directory, "scan");
    assert_eq!(scan.out.lines().collect::<Vec<_>>(), [lines[0], lines[1], lines[22]]);
}

#[test]
fn a_damaged_log_can_be_scanned_but_not_verified() {
    let directory = with_database();
    {
        let database = open(&directory.path().join("db"));
        for key in ["a", "b", "c"] {
            let mut write = database.begin_write().unwrap();
            write.put(key.as_bytes(), b"damaged or not").unwrap();
            write.commit().unwrap();
        }
    }
    let logs = || fs::read_dir(directory.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let log = logs().filter(|path| path.to_string_lossy().contains("/log-")).max().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(14).position(|window| window == b"damaged or not").unwrap();
    bytes[at] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verify = look_at_log(&directory, "verify");
    assert_eq!(verify.code, 1, "{verify:?}");
    assert!(verify.out.starts_with("damage: db/log-"), "{verify:?}");
    let scan = look_at_log(&directory, "scan");
    scan.assert_sound();
    for line in ["  end at=64: ", "  stray header at=64 transaction=5", " transaction=7 durable-through=6"] {
        assert!(scan.out.contains(line), "no {line:?} in {}", scan.out);
    }
}

/// Runs a `db log` command, and asserts that nothing changes on disk.
#[track_caller]
fn look_at_log(directory: &TempDir, what: &str) -> Answer {
    let before = contents(directory.path());
    let answer = proofmark(directory.path(), ["db", "log", what, "db"]);
    assert!(contents(directory.path()) == before, "`db log {what}` changed something");
    answer
}
