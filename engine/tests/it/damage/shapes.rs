//! Small databases of every shape, and what may become of them when they are damaged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Error, Options, Retention, TxnId};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database that is closed, and the state after each of its transactions.
pub(super) struct Shape {
    _directory: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) states: Vec<State>,
}

/// What a damaged database shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything, as it should be.
    Whole,
    /// Everything up to an earlier transaction, as it should be.
    EndsWith(u64),
    /// That it is damaged. What it showed before was as it should be.
    Reported,
}

/// Every shape.
pub(super) fn shapes() -> [Shape; 3] {
    [several_segments(), recycled_segments(), deep_tree()]
}

/// Nothing but a log, of five segments.
pub(super) fn several_segments() -> Shape {
    let options = Options::new().segment_bytes(4096).log_chunk_bytes(1024);
    let shape = build(&options, 14, |_| false, &|round, pairs| {
        for number in 0..4 {
            pairs.push((vec![round, number], Some(vec![round ^ number; 250])));
        }
    });
    assert_eq!(shape.segments().len(), 5);
    shape
}

/// A log of two segments, in files that were segments before, a spare, and a tree of one leaf.
pub(super) fn recycled_segments() -> Shape {
    let options = Options::new().segment_bytes(4096).log_chunk_bytes(1024).retention(Retention::Txns(3));
    let shape = build(&options, 27, |round| round % 7 == 0, &recycling);
    assert_eq!((shape.segments().len(), shape.files("spare-").len()), (2, 1));
    shape
}

fn recycling(round: u8, pairs: &mut Mutations) {
    pairs.push((vec![round % 5], Some(vec![round; 700])));
    pairs.push((vec![(round + 1) % 5], None));
}

/// A tree of two levels with history, large values and a free list, and a short log.
pub(super) fn deep_tree() -> Shape {
    let options = Options::new().retention(Retention::All).log_chunk_bytes(1024);
    let shape = build(&options, 8, |round| round < 6, &|round, pairs| {
        for number in 0..18 {
            let bytes = if number == 5 && round.is_multiple_of(3) { 5000 } else { 90 };
            pairs.push((vec![number, round % 2], Some(vec![round ^ number; bytes])));
        }
        pairs.push((vec![round], None));
    });
    let database = Database::open(&shape.path, &Options::new().read_only(true)).expect("it opens");
    let report = database.verify().expect("the database is whole");
    assert!(report.height == 2 && report.extent_count == 1 && report.free_page_count > 0, "{report:?}");
    assert!(report.version_count > 60 && report.log_record_count == 3, "{report:?}");
    shape
}

type Mutations = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A database that is shown to `watch` after each of its transactions and checkpoints.
pub(super) fn build_watched(watch: &mut dyn FnMut(&Path)) -> Shape {
    let options = Options::new().segment_bytes(4096).log_chunk_bytes(1024);
    build_with(&options, 20, |round| round % 6 == 0, &recycling, watch)
}

fn build(
    options: &Options,
    rounds: u8,
    checkpoints: impl Fn(u8) -> bool,
    mutate: &dyn Fn(u8, &mut Mutations),
) -> Shape {
    build_with(options, rounds, checkpoints, mutate, &mut |_| ())
}

fn build_with(
    options: &Options,
    rounds: u8,
    checkpoints: impl Fn(u8) -> bool,
    mutate: &dyn Fn(u8, &mut Mutations),
    watch: &mut dyn FnMut(&Path),
) -> Shape {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, &options.clone().page_size(4096)).expect("a database is created");
    let mut states = vec![State::new()];
    for round in 1..=rounds {
        let mut state = states.last().expect("there is a first state").clone();
        let mut write = database.begin_write().expect("nobody else writes");
        let mut mutations = Mutations::new();
        mutate(round, &mut mutations);
        for (key, value) in mutations {
            match value {
                Some(value) => {
                    write.put(&key, &value).expect("legal");
                    state.insert(key, value);
                }
                None => {
                    write.delete(&key).expect("legal");
                    state.remove(&key);
                }
            }
        }
        write.commit().expect("the disk is fine");
        states.push(state);
        watch(&path);
        if checkpoints(round) {
            database.checkpoint().expect("the disk is fine");
            watch(&path);
        }
    }
    database.verify().expect("the database is whole");
    Shape { _directory: directory, path, states }
}

impl Shape {
    pub(super) fn latest(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// Reads every snapshot, and panics over anything that is neither right nor reported.
    pub(super) fn judge(&self, what: &dyn Fn() -> String) -> Outcome {
        let database = match Database::open(&self.path, &Options::new().read_only(true)) {
            Ok(database) => database,
            Err(Error::Corruption { .. }) => return Outcome::Reported,
            Err(error) => panic!("{} gives {error}", what()),
        };
        let latest = database.latest().0;
        assert!(latest <= self.latest(), "{} gives a transaction that never was", what());
        let mut outcome = if latest == self.latest() { Outcome::Whole } else { Outcome::EndsWith(latest) };
        for txn in database.oldest_retained().0..=latest {
            match read_all(&database, TxnId(txn)) {
                Ok(state) => {
                    assert!(state == self.states[txn as usize], "{} gives wrong data", what());
                }
                Err(Error::Corruption { .. }) => outcome = Outcome::Reported,
                Err(error) => panic!("{} gives {error}", what()),
            }
        }
        let verified = reported(database.verify().map(drop), what);
        assert!(outcome != Outcome::Reported || verified, "{} is not found by verify", what());
        reported(self.follow(&database, what), what);
        reported(database.survey().map(drop), what);
        reported(database.dump(&mut std::io::sink()), what);
        outcome
    }

    /// Replays the commit stream, and panics where it gives another state than there was.
    fn follow(&self, database: &Database, what: &dyn Fn() -> String) -> Result<(), Error> {
        let oldest = database.oldest_retained();
        let mut state = self.states[oldest.0 as usize].clone();
        for change in database.changes(oldest.next())? {
            let change = change?;
            for (key, value) in change.operations {
                match value {
                    Some(value) => state.insert(key.to_vec(), value.to_vec()),
                    None => state.remove(&*key),
                };
            }
            assert!(state == self.states[change.txn.0 as usize], "{} gives a wrong stream", what());
        }
        Ok(())
    }

    /// The segments that are not stale, in order.
    pub(super) fn segments(&self) -> Vec<PathBuf> {
        self.files("log-")
    }

    pub(super) fn files(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).expect("the directory can be read");
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
            .collect();
        files.sort();
        files
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

/// Whether damage was reported. Nothing else may go wrong.
fn reported(outcome: Result<(), Error>, what: &dyn Fn() -> String) -> bool {
    match outcome {
        Ok(()) => false,
        Err(Error::Corruption { .. }) => true,
        Err(error) => panic!("{} gives {error}", what()),
    }
}

fn read_all(database: &Database, txn: TxnId) -> Result<State, Error> {
    let read = database.begin_read_at(txn)?;
    let pairs = read.range((Bound::Unbounded, Bound::Unbounded))?;
    pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// A file whose bytes can be changed in place, and put back.
pub(super) struct Patient {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    file: File,
}

impl Patient {
    pub(super) fn new(path: &Path) -> Patient {
        let file = OpenOptions::new().write(true).open(path).expect("the file can be opened");
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        Patient { name, bytes: fs::read(path).expect("the file can be read"), file }
    }

    /// Runs `work` while the bytes at `at` are `bytes`.
    pub(super) fn with<T>(&self, at: usize, bytes: &[u8], work: impl FnOnce() -> T) -> T {
        self.file.write_all_at(bytes, at as u64).expect("the file can be written");
        let outcome = work();
        let before = &self.bytes[at..at + bytes.len()];
        self.file.write_all_at(before, at as u64).expect("the file can be written");
        outcome
    }

    /// Runs `work` while the file is cut off at `size`.
    pub(super) fn cut<T>(&self, size: usize, work: impl FnOnce() -> T) -> T {
        self.file.set_len(size as u64).expect("the file can be cut");
        let outcome = work();
        self.file.write_all_at(&self.bytes[size..], size as u64).expect("the file can be written");
        outcome
    }
}
