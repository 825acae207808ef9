//! A database in a directory that is gone when the test is.

use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Options};

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
