//! The engine of this package.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proofmark_engine::{Database, Durability, Options, ReadTransaction};
use proofmark_vfs::Vfs;

use crate::store::{CACHE_BYTES, Change, Snapshot, Store};

/// The engine, with its default options but for the cache.
pub(crate) struct Proofmark {
    database: Database,
    /// Writers that must not meet.
    turn: Mutex<()>,
}

impl Store for Proofmark {
    const NAME: &'static str = "proofmark";

    type Snapshot = ReadTransaction;

    fn open(vfs: Arc<dyn Vfs>, directory: &Path) -> Proofmark {
        let options = Options::new().cache_bytes(CACHE_BYTES);
        let database = Database::open_on(vfs, directory, &options).unwrap();
        Proofmark { database, turn: Mutex::default() }
    }

    fn commit(&self, changes: &mut dyn Iterator<Item = Change>, is_durable: bool) {
        let _turn = self.turn.lock().unwrap();
        let mut write = self.database.begin_write().unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => write.put(&key, &value).unwrap(),
                None => write.delete(&key).unwrap(),
            }
        }
        write.commit_with(if is_durable { Durability::Sync } else { Durability::Buffered }).unwrap();
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

    fn compact(&mut self) -> bool {
        false
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
