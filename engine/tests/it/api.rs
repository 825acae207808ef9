//! What each call promises, one test a promise.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Durability, Error, Options, Retention, TxnId};

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    (directory, path)
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(path).expect("the directory can be read");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("the file can be read");
            (path, bytes)
        })
        .collect();
    files.sort();
    files
}

fn put(database: &Database, key: &str, value: &str) -> TxnId {
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(key.as_bytes(), value.as_bytes()).expect("key and value are legal");
    write.commit().expect("the disk is fine")
}

#[test]
fn one_writer_at_a_time() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    let write = database.begin_write().expect("nobody else writes");
    assert!(matches!(database.begin_write(), Err(Error::WriteBusy)));
    write.abort();
    drop(database.begin_write().expect("the first writer has gone"));
    database.begin_write().expect("a dropped writer has gone too").commit().expect("nothing to write");
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    let mut write = database.begin_write().expect("nobody else writes");
    write.put(b"a", b"1").expect("legal");
    assert_eq!(write.get(b"a").expect("readable").as_deref(), Some(b"1".as_slice()));
    drop(write);
    assert_eq!(database.begin_read().expect("a snapshot").get(b"a").expect("readable"), None);
    assert_eq!(database.latest(), TxnId(0));
}

#[test]
fn snapshots_outside_the_retained_range_are_refused() {
    let (_directory, path) = fresh();
    let options = Options::new().retention(Retention::Txns(1));
    let database = Database::open(&path, &options).expect("a database is created");
    for number in 0..5 {
        put(&database, "a", &number.to_string());
    }
    database.checkpoint().expect("the disk is fine");
    let range = |requested: u64| match database.begin_read_at(TxnId(requested)) {
        Err(Error::SnapshotNotFound { oldest, latest, .. }) => Some((oldest.0, latest.0)),
        _ => None,
    };
    assert_eq!((range(3), range(6)), (Some((4, 5)), Some((4, 5))));
    assert_eq!((range(4), range(5)), (None, None));
}

#[test]
fn a_second_handle_is_locked_out_and_changes_nothing() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    let before = files(&path);
    assert!(matches!(Database::open(&path, &Options::new()), Err(Error::Locked { .. })));
    assert!(matches!(Database::open(&path, &Options::new().read_only(true)), Err(Error::Locked { .. })));
    assert_eq!(files(&path), before);
}

#[test]
fn reading_only_replays_the_log_and_changes_nothing() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    drop(database);
    let before = files(&path);
    let first = Database::open(&path, &Options::new().read_only(true)).expect("it opens");
    let second = Database::open(&path, &Options::new().read_only(true)).expect("and again");
    let report = first.verify().expect("the database is whole");
    assert_eq!(report.log_record_count, 1);
    let read = second.begin_read().expect("a snapshot");
    assert_eq!(read.get(b"a").expect("readable").as_deref(), Some(b"1".as_slice()));
    assert!(matches!(first.begin_write(), Err(Error::ReadOnly)));
    assert!(matches!(first.checkpoint(), Err(Error::ReadOnly)));
    assert_eq!(files(&path), before);
}

#[test]
fn what_is_no_database_is_refused() {
    let (_directory, path) = fresh();
    let absent = Database::open(&path, &Options::new().create(false));
    assert!(matches!(absent, Err(Error::NotFound { .. })));
    assert!(!path.exists());
    let page_size = Database::open(&path, &Options::new().page_size(5000));
    assert!(matches!(page_size, Err(Error::InvalidArgument { .. })));
    std::fs::create_dir(&path).expect("a directory");
    std::fs::write(path.join("data"), b"something else").expect("a file");
    assert!(matches!(Database::open(&path, &Options::new()), Err(Error::Corruption { .. })));
    assert_eq!(files(&path), [(path.join("data"), b"something else".to_vec())]);
}

#[test]
fn keys_and_values_have_limits() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new().page_size(8192)).expect("a database is created");
    let mut write = database.begin_write().expect("nobody else writes");
    assert!(matches!(write.put(&[0; 2049], b""), Err(Error::InvalidArgument { .. })));
    assert!(matches!(write.put(b"a", &vec![0; (16 << 20) + 1]), Err(Error::InvalidArgument { .. })));
    let value: Vec<u8> = (0..16u32 << 20).map(|at| (at ^ (at >> 11)) as u8).collect();
    write.put(&[7; 2048], &value).expect("the longest key and value are legal");
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    drop(database);
    let database = Database::open(&path, &Options::new()).expect("the database opens again");
    let read = database.begin_read().expect("a snapshot");
    assert!(read.get(&[7; 2048]).expect("readable").as_deref() == Some(value.as_slice()));
    assert_eq!(database.verify().expect("the database is whole").extent_count, 1);
}

#[test]
fn a_log_without_its_data_file_is_damage() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    drop(database);
    std::fs::remove_file(path.join("data")).expect("the data file is there");
    assert!(matches!(Database::open(&path, &Options::new()), Err(Error::Corruption { .. })));
}

#[test]
fn a_missing_segment_is_damage() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    drop(database);
    std::fs::remove_file(path.join("log-0000000000000001")).expect("the segment is there");
    assert!(matches!(Database::open(&path, &Options::new()), Err(Error::Corruption { .. })));
}

#[test]
fn dump_shows_tree_and_log() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "in the tree", "1");
    database.checkpoint().expect("the disk is fine");
    put(&database, "in the log", "22");
    let mut text = Vec::new();
    database.dump(&mut text).expect("everything can be read");
    let text = String::from_utf8(text).expect("the dump is text");
    assert!(text.contains("\"in the tree\"@1 1 bytes"), "{text}");
    assert!(text.contains("log transaction=2\n  put \"in the log\" 2 bytes"), "{text}");
}

#[test]
fn scans_are_lazy_and_inverted_bounds_are_empty() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    put(&database, "b", "2");
    let read = database.begin_read().expect("a snapshot");
    let inverted = (Bound::Included(b"b".as_slice()), Bound::Excluded(b"a".as_slice()));
    assert_eq!(read.range(inverted).expect("the scan starts").count(), 0);
    let point = (Bound::Excluded(b"a".as_slice()), Bound::Excluded(b"a".as_slice()));
    assert_eq!(read.range_reverse(point).expect("the scan starts").count(), 0);
    let mut scan = read.range((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
    assert_eq!(&*scan.next().expect("a pair").expect("readable").0, b"a");
    put(&database, "aa", "3");
    database.checkpoint().expect("the disk is fine");
    assert_eq!(&*scan.next().expect("a pair").expect("readable").0, b"b");
    assert!(scan.next().is_none());
}

#[test]
fn the_longest_keys_take_values_of_any_size() {
    for (page_size, key_bytes) in [(4096, 1024), (16384, 4096)] {
        let (_directory, path) = fresh();
        let options = Options::new().page_size(page_size);
        let database = Database::open(&path, &options).expect("a database is created");
        let mut write = database.begin_write().expect("nobody else writes");
        for value_bytes in 0..40u8 {
            let mut key = vec![b'k'; key_bytes];
            key[key_bytes - 1] = value_bytes;
            write.put(&key, &vec![value_bytes; usize::from(value_bytes)]).expect("key and value are legal");
        }
        write.commit().expect("the disk is fine");
        database.checkpoint().expect("the disk is fine");
        drop(database);
        let database = Database::open(&path, &options).expect("the database opens again");
        database.verify().expect("the database is whole");
        let read = database.begin_read().expect("a snapshot");
        let pairs = read.range((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
        let sizes: Vec<usize> = pairs.map(|pair| pair.expect("the scan goes on").1.len()).collect();
        assert!(sizes.into_iter().eq(0..40));
    }
}

#[test]
fn history_that_was_dropped_does_not_come_back() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new()).expect("a database is created");
    put(&database, "a", "1");
    put(&database, "a", "2");
    database.checkpoint().expect("the disk is fine");
    drop(database);
    let database = Database::open(&path, &Options::new().retention(Retention::All)).expect("it opens again");
    put(&database, "a", "3");
    database.checkpoint().expect("the disk is fine");
    assert_eq!(database.oldest_retained(), TxnId(2));
    assert!(matches!(database.begin_read_at(TxnId(1)), Err(Error::SnapshotNotFound { .. })));
    database.begin_read_at(TxnId(2)).expect("what was retained then is still there");
}

#[test]
fn a_tree_shrinks_with_what_it_holds() {
    let (_directory, path) = fresh();
    let database = Database::open(&path, &Options::new().page_size(4096)).expect("a database is created");
    let mut write = database.begin_write().expect("nobody else writes");
    for number in 0..6000 {
        write.put(format!("{number:06}").as_bytes(), &[7; 100]).expect("key and value are legal");
    }
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    let full = database.verify().expect("the database is whole");
    assert!(full.height == 3 && full.leaf_count > 90, "{full:?}");
    // Every tenth key stays: each leaf becomes underfull, and none becomes empty.
    let mut write = database.begin_write().expect("nobody else writes");
    for number in (0..6000).filter(|number| number % 10 != 0) {
        write.delete(format!("{number:06}").as_bytes()).expect("the key is legal");
    }
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    let thin = database.verify().expect("the database is whole");
    assert!(thin.version_count == 600 && thin.leaf_count <= 80, "{thin:?}");
    let mut write = database.begin_write().expect("nobody else writes");
    for number in (0..6000).skip(10) {
        write.delete(format!("{number:06}").as_bytes()).expect("the key is legal");
    }
    write.commit().expect("the disk is fine");
    database.checkpoint().expect("the disk is fine");
    let last = database.verify().expect("the database is whole");
    assert_eq!((last.height, last.leaf_count, last.version_count), (1, 1, 1));
    put(&database, "000000", "");
    database.checkpoint().expect("the disk is fine");
    let pages = database.stats();
    assert!(pages.free_page_count > full.page_count / 2, "{pages:?}");
}

#[test]
fn the_write_tier_is_bounded_whatever_is_written() {
    let (_directory, path) = fresh();
    let options = Options::new().write_tier_bytes(4096);
    let database = Database::open(&path, &options).expect("a database is created");
    for _ in 0..200 {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(b"", b"").expect("key and value are legal");
        write.commit_with(Durability::Buffered).expect("the disk is fine");
        assert!(database.stats().write_tier_bytes <= 4096);
    }
    assert!(database.stats().generation.0 > 2);
}

#[test]
fn history_does_not_leak_where_nobody_writes_any_more() {
    let (_directory, path) = fresh();
    let options = Options::new().page_size(4096).retention(Retention::Txns(100));
    let database = Database::open(&path, &options).expect("a database is created");
    let put = |key: &[u8], number: u32| {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(key, &number.to_le_bytes()).expect("key and value are legal");
        write.commit_with(Durability::Buffered).expect("the disk is fine");
    };
    // The counter's versions fill many leaves, and later ones go to the first of them only.
    for number in 0..5000 {
        put(b"counter", number);
        if number % 500 == 499 {
            database.checkpoint().expect("the disk is fine");
            let report = database.verify().expect("the database is whole");
            assert_eq!(report.version_count, u64::from(number).min(100) + 1);
        }
    }
    for number in 0..200 {
        put(b"elsewhere", number);
    }
    database.checkpoint().expect("the disk is fine");
    let report = database.verify().expect("the database is whole");
    assert_eq!(report.version_count, 1 + 101, "{report:?}");
    let read = database.begin_read_at(database.oldest_retained()).expect("retained");
    assert_eq!(read.get(b"counter").expect("readable").as_deref(), Some(4999u32.to_le_bytes().as_slice()));
}
