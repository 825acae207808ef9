//! Damage on disk: reported, or harmless; never wrong data, never a panic.

mod shapes;
mod sweep;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Error, Options, Result};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database with a tree of two levels, a free list, a large value and four transactions in the log. Returns the
/// states after each of the last transactions, oldest first.
fn build(path: &Path) -> Vec<State> {
    let options = Options::new().page_size(4096).log_chunk_bytes(256);
    let database = Database::open(path, &options).expect("a database is created");
    let mut state = State::new();
    let mut states = Vec::new();
    for round in 0..7u8 {
        let mut write = database.begin_write().expect("nobody else writes");
        for number in 0..60u8 {
            if (number ^ round).is_multiple_of(3) {
                let key = format!("key {number:02}").into_bytes();
                let value = vec![round; if number == 30 { 5000 } else { 90 }];
                write.put(&key, &value).expect("key and value are legal");
                state.insert(key, value);
            }
        }
        write.commit().expect("the disk is fine");
        if round < 3 {
            database.checkpoint().expect("the disk is fine");
        }
        states.push(state.clone());
    }
    assert!(database.verify().expect("the database is whole").height == 2);
    states
}

fn read_all(path: &Path) -> Result<State> {
    let database = Database::open(path, &Options::new().read_only(true))?;
    let read = database.begin_read()?;
    let pairs = read.range((Bound::Unbounded, Bound::Unbounded))?;
    pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// Makes the file hold `bytes`, in place: emptying it first would make the file system write it back every time.
fn overwrite(file: &Path, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(file).expect("the file can be opened");
    file.set_len(bytes.len() as u64).expect("the file can be cut");
    file.write_all_at(bytes, 0).expect("the file can be written");
}

fn assert_reported(error: &Error, file: &Path, at: usize) {
    let is_reported = matches!(error, Error::Corruption { .. });
    assert!(is_reported, "byte {at} of {} gives {error}", file.display());
}

/// The database's files, and where the record of the last transaction starts in its segment.
fn files(path: &Path) -> (PathBuf, PathBuf, usize) {
    let data = path.join("data");
    let mut segments: Vec<PathBuf> = fs::read_dir(path)
        .expect("the directory can be read")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"log-")))
        .collect();
    assert_eq!(segments.len(), 1);
    let segment = segments.remove(0);
    let bytes = fs::read(&segment).expect("the segment can be read");
    let last = bytes.windows(4).rposition(|window| window == b"PRec").expect("there are records");
    (data, segment, last)
}

/// The data file up to the last page that counts; what room there is beyond is not read.
fn counted_pages(data: &Path) -> Vec<u8> {
    let mut bytes = fs::read(data).expect("the file can be read");
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
    let newest = if field(16) > field(4096 + 16) { 0 } else { 4096 };
    let page_count = field(newest + 24);
    assert!(page_count * 4096 < bytes.len(), "the file has grown ahead");
    bytes.truncate(page_count * 4096);
    bytes
}

#[test]
fn every_byte_of_the_data_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let states = build(&path);
    let expected = states.last().expect("there are states");
    let (data, _, _) = files(&path);
    let bytes = counted_pages(&data);
    let mut reported = 0;
    for at in 0..bytes.len() {
        // Every byte of a header and of some slots; of the rest, which is alike, enough to meet every kind of cell.
        if at % 4096 > 160 && at % 7 != 0 {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        overwrite(&data, &damaged);
        match read_all(&path) {
            Ok(state) => assert!(&state == expected, "byte {at} gives wrong data"),
            Err(error) => {
                assert_reported(&error, &data, at);
                reported += 1;
            }
        }
    }
    assert!(reported > bytes.len() / 14, "most pages are in use, but only {reported} changes were noticed");
}

#[test]
fn every_byte_of_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let states = build(&path);
    let (_, segment, last_record) = files(&path);
    let bytes = fs::read(&segment).expect("the file can be read");
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x01;
        overwrite(&segment, &damaged);
        match read_all(&path) {
            // Nothing after the last record says that it was durable, so that it counts as cut short.
            Ok(state) if at >= last_record => {
                assert!(states[5..].contains(&state), "byte {at} gives wrong data");
            }
            Ok(state) => {
                let padding = bytes[at] == 0 && state == states[6];
                assert!(padding, "byte {at} went unnoticed");
            }
            Err(error) => assert_reported(&error, &segment, at),
        }
    }
}

#[test]
fn a_log_cut_off_anywhere_is_a_prefix() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let states = build(&path);
    let (_, segment, _) = files(&path);
    let bytes = fs::read(&segment).expect("the file can be read");
    let mut shortest = 6;
    for length in (0..bytes.len()).rev() {
        overwrite(&segment, &bytes[..length]);
        match read_all(&path) {
            Ok(state) => {
                let index =
                    states.iter().position(|known| *known == state).expect("the state after some commit");
                assert!(index <= shortest && index >= 2);
                shortest = index;
            }
            Err(error) => {
                assert!(length < 64, "only a header that is cut off is damage: {error}");
                assert_reported(&error, &segment, length);
            }
        }
    }
    assert_eq!(shortest, 2, "without any record the checkpoint is left");
}

#[test]
fn a_value_is_never_taken_for_a_meta_page() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let other = directory.path().join("other");
    let large_pages = Database::open(&other, &Options::new().page_size(8192)).expect("a database is created");
    for round in 0..9u8 {
        let mut write = large_pages.begin_write().expect("nobody else writes");
        write.put(b"key", &[round]).expect("key and value are legal");
        write.commit().expect("the disk is fine");
        large_pages.checkpoint().expect("the disk is fine");
    }
    let foreign = fs::read(other.join("data")).expect("the file can be read");
    let path = directory.path().join("db");
    let database = Database::open(&path, &Options::new().page_size(4096)).expect("a database is created");
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(b"a meta page of larger pages", &foreign[8192..16384]).expect("key and value are legal");
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    drop(database);
    let data = path.join("data");
    let mut bytes = fs::read(&data).expect("the file can be read");
    assert!(bytes[8192..].windows(8).any(|window| window == b"PrfmData"));
    for damaged in [vec![100], vec![100, 4196]] {
        for at in &damaged {
            bytes[*at] ^= 1;
        }
        overwrite(&data, &bytes);
        match read_all(&path) {
            Ok(state) => assert!(damaged.len() == 1 && state.len() == 1),
            Err(error) => assert_reported(&error, &data, damaged[0]),
        }
        for at in &damaged {
            bytes[*at] ^= 1;
        }
    }
}

#[test]
fn a_data_file_cut_off_anywhere_is_reported() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    build(&path);
    let (data, _, _) = files(&path);
    let bytes = counted_pages(&data);
    overwrite(&data, &bytes);
    read_all(&path).expect("no page is missing");
    for length in (0..bytes.len()).step_by(211) {
        overwrite(&data, &bytes[..length]);
        assert_reported(&read_all(&path).expect_err("pages are missing"), &data, length);
    }
}

#[test]
fn an_older_page_in_place_of_a_newer_one_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, &Options::new().page_size(4096)).expect("a database is created");
    let mut versions = Vec::new();
    for round in 0..12u8 {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(b"key", &[round; 50]).expect("key and value are legal");
        write.commit().expect("the disk is fine");
        database.checkpoint().expect("the disk is fine");
        versions.push(fs::read(path.join("data")).expect("the file can be read"));
    }
    drop(database);
    let newest = versions.pop().expect("there are versions");
    let mut found = 0;
    for older in &versions {
        for page in 2..older.len() / 4096 {
            let range = page * 4096..(page + 1) * 4096;
            if older[range.clone()] == newest[range.clone()]
                || older[range.clone()].iter().all(|byte| *byte == 0)
            {
                continue;
            }
            let mut stale = newest.clone();
            stale[range.clone()].copy_from_slice(&older[range]);
            overwrite(&path.join("data"), &stale);
            match read_all(&path) {
                Ok(state) => assert_eq!(state[b"key".as_slice()], [11; 50], "an unused page"),
                Err(error) => {
                    assert_reported(&error, &path, page * 4096);
                    found += 1;
                }
            }
        }
    }
    assert!(found > 0, "some stale page was in use");
}
