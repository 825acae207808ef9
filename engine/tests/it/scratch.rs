//! A database in a directory that is gone when the test is, and what it holds.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Options, ReadTransaction};

/// All pairs of a snapshot.
pub(crate) type State = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn state(read: &ReadTransaction) -> State {
    let pairs = read.range((Bound::Unbounded, Bound::Unbounded)).expect("readable");
    pairs
        .map(|pair| {
            let (key, value) = pair.expect("readable");
            (key.to_vec(), value.to_vec())
        })
        .collect()
}

pub(crate) struct Scratch {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        Scratch { _directory: directory, path }
    }

    /// Where the database lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open(&self, options: &Options) -> Database {
        Database::open(&self.path, options).expect("the database can be opened")
    }
}
