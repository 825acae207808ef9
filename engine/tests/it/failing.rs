//! A disk whose syncs fail: what was acknowledged stays, and nothing more is accepted.

use std::sync::Arc;

use proofmark_engine::{Database, Error, Options};

use crate::bad_disk::BadDisk;

fn put(database: &Database, key: &[u8]) -> Result<(), Error> {
    let mut write = database.begin_write()?;
    write.put(key, b"value")?;
    write.commit().map(drop)
}

/// Fails a sync during `work`, and checks that the database refuses changes and keeps what it acknowledged.
fn poisons(work: impl Fn(&Database) -> Result<(), Error>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("db");
    let disk = BadDisk::default();
    let open = || Database::open_on(Arc::new(disk.clone()), &path, &Options::new());
    let database = open().expect("a database is created");
    put(&database, b"before").expect("the disk is fine");
    disk.fail_syncs(true);
    let error = work(&database).expect_err("the sync fails");
    assert!(matches!(error, Error::Io { operation: "sync", .. }), "{error}");
    // A later sync that succeeds decides nothing any more.
    disk.fail_syncs(false);
    assert!(matches!(put(&database, b"after"), Err(Error::Poisoned { .. })));
    assert!(matches!(database.checkpoint(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.verify(), Err(Error::Poisoned { .. })));
    let read = database.begin_read().expect("reads go on");
    assert!(read.get(b"before").expect("readable").is_some());
    drop((read, database));
    let database = open().expect("the database opens again");
    database.verify().expect("the database is whole");
    let read = database.begin_read().expect("a snapshot");
    assert!(read.get(b"before").expect("readable").is_some());
    assert!(read.get(b"after").expect("readable").is_none());
    put(&database, b"again").expect("a database that was opened again accepts changes");
}

#[test]
fn a_commit_whose_sync_fails_poisons() {
    poisons(|database| put(database, b"in doubt"));
}

#[test]
fn a_checkpoint_whose_sync_fails_poisons() {
    poisons(|database| database.checkpoint().map(drop));
}

#[test]
fn a_sync_that_fails_poisons() {
    poisons(|database| {
        let mut write = database.begin_write()?;
        write.put(b"buffered", b"value")?;
        write.commit_with(proofmark_engine::Durability::Buffered)?;
        database.sync()
    });
}
