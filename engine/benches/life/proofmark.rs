//! The engine of this package.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use proofmark_engine::{Database, Durability, Error, Options, ReadTransaction, WriteTransaction};
use proofmark_vfs::Vfs;

use crate::store::{CACHE_BYTES, Change, Snapshot, Store};

/// The engine, with its default options but for the cache.
pub(crate) struct Proofmark {
    database: Database,
}

impl Store for Proofmark {
    const NAME: &'static str = "proofmark";

    type Snapshot = ReadTransaction;

    fn open(vfs: Arc<dyn Vfs>, directory: &Path) -> Proofmark {
        let options = Options::new().cache_bytes(CACHE_BYTES);
        let database = Database::open_on(vfs, directory, &options).unwrap();
        Proofmark { database }
    }

    fn commit(&self, changes: &mut dyn Iterator<Item = Change>, is_durable: bool) {
        let mut write = self.database.begin_write().unwrap();
        for (key, value) in changes {
            write_all(&mut write, std::iter::once((key.as_slice(), value.as_deref())));
        }
        write.commit_with(if is_durable { Durability::Sync } else { Durability::Buffered }).unwrap();
    }

    fn commit_concurrently(&self, changes: &mut dyn Iterator<Item = Change>) {
        let changes: Vec<Change> = changes.collect();
        loop {
            let mut write = self.database.begin_optimistic().unwrap();
            write_all(&mut write, changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())));
            match write.commit() {
                Ok(_) => return,
                // Another one committed the same key first.
                Err(Error::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn settle(&self) {
        self.database.checkpoint().unwrap();
    }

    fn touch(&self) {
        std::hint::black_box(self.database.begin_read().unwrap());
    }

    fn snapshot(&self) -> ReadTransaction {
        self.database.begin_read().unwrap()
    }

    fn verify(&mut self) {
        self.database.verify().unwrap();
    }

    fn compact(&mut self) {
        self.database.compact().unwrap();
    }
}

fn write_all<'a>(write: &mut WriteTransaction, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => write.put(key, value).unwrap(),
            None => write.delete(key).unwrap(),
        }
    }
}

impl Snapshot for ReadTransaction {
    fn get(&self, key: &[u8]) -> Option<usize> {
        self.get(key).unwrap().map(|value| value.len())
    }

    fn scan(&self, from: &[u8], count: usize) -> (usize, usize) {
        let scan = self.range((Bound::Included(from), Bound::Unbounded)).unwrap();
        scan.take(count).fold((0, 0), |(pairs, bytes), pair| {
            let (key, value) = pair.unwrap();
            (pairs + 1, bytes + key.len() + value.len())
        })
    }
}
