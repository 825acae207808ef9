//! redb: one table, and its file reached through the same counting file system.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proofmark_vfs::{OpenMode, Vfs, VfsFile};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};

use crate::store::{CACHE_BYTES, Change, Snapshot, Store};

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("pairs");

/// redb, with its default options but for the cache.
pub(crate) struct Redb(Database);

/// A table of a snapshot. It keeps the snapshot alive.
pub(crate) struct Table(ReadOnlyTable<&'static [u8], &'static [u8]>);

#[derive(Debug)]
struct Backend(Box<dyn VfsFile>);

impl Store for Redb {
    const NAME: &'static str = "redb";

    type Snapshot = Table;

    fn open(vfs: Arc<dyn Vfs>, directory: &Path) -> Redb {
        vfs.create_directory(directory).unwrap();
        let file = vfs.open(&directory.join("data"), OpenMode::Create).unwrap();
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file)).unwrap();
        Redb(database)
    }

    fn commit(&self, changes: &mut dyn Iterator<Item = Change>, is_durable: bool) {
        let mut write = self.0.begin_write().unwrap();
        write.set_durability(if is_durable { Durability::Immediate } else { Durability::None }).unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for (key, value) in changes {
                match value {
                    Some(value) => table.insert(&*key, &*value).unwrap(),
                    None => table.remove(&*key).unwrap(),
                };
            }
        }
        write.commit().unwrap();
    }

    fn settle(&self) {
        // An empty durable commit makes those before it durable, and lets the next one reuse their pages.
        self.commit(&mut std::iter::empty(), true);
    }

    fn touch(&self) {
        std::hint::black_box(self.0.begin_read().unwrap());
    }

    fn snapshot(&self) -> Table {
        Table(self.0.begin_read().unwrap().open_table(TABLE).unwrap())
    }

    fn verify(&mut self) {
        assert!(self.0.check_integrity().unwrap());
    }

    fn compact(&mut self) {
        self.0.compact().unwrap();
    }
}

impl Snapshot for Table {
    fn get(&self, key: &[u8]) -> Option<usize> {
        self.0.get(key).unwrap().map(|value| value.value().len())
    }

    fn scan(&self, from: &[u8], count: usize) -> (usize, usize) {
        let scan = self.0.range(from..).unwrap();
        scan.take(count).fold((0, 0), |(pairs, bytes), pair| {
            let (key, value) = pair.unwrap();
            (pairs + 1, bytes + key.value().len() + value.value().len())
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
