//! Our own engine as a store under test, in each of its builds.
//!
//! `adapter` is one source that is compiled over every build. The build without more is for one thread, and [`EngineThreads`]
//! for threads that shuttle schedules.

mod adapter;
mod threads;

use std::path::Path;
use std::sync::Arc;

use proofmark_engine as engine;
use proofmark_vfs::Vfs;

use super::{Promises, Store, StoreError, StoreFactory};
use crate::plan::Config;

pub use self::threads::EngineThreads;

/// The engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine;

impl StoreFactory for Engine {
    fn name(&self) -> &str {
        "engine"
    }

    fn promises(&self) -> Promises {
        Promises {
            transaction_ids: true,
            time_travel: true,
            buffered_commits: true,
            durable_close: true,
            survives_loss_during_creation: true,
            optimistic_writers: true,
            savepoints: true,
            tickets: true,
            commit_stream: true,
            compaction: true,
            backups: true,
            marks: false,
            keeps_on_drop: false,
            survives_full_disk: true,
            survives_io_errors: true,
            goes_on_after_io_errors: true,
            detects_damage: true,
            survives_lies: true,
        }
    }

    fn may_hold_log(&self, path: &Path) -> bool {
        !matches!(path.file_name().and_then(|name| name.to_str()), Some("data" | "data.new"))
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        adapter::open(vfs, config)
    }

    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        Some(&EngineThreads)
    }
}

#[cfg(test)]
mod tests {
    use proofmark_model::{Durability, KeyRange, TxnId, unique_value};

    use super::*;
    use crate::disk::{Keep, SimDisk};

    fn open(disk: &SimDisk) -> Box<dyn Store> {
        Engine.open(disk.vfs(), &Config::default()).unwrap()
    }

    fn commit(store: &mut Box<dyn Store>, key: &[u8], id: u64, durability: Durability) -> Option<TxnId> {
        let mut writer = store.begin_write().unwrap();
        writer.put(key, &unique_value(id, 20)).unwrap();
        writer.commit(durability).unwrap()
    }

    #[test]
    fn it_keeps_what_it_promises() {
        let mut store = open(&SimDisk::default());
        assert_eq!(commit(&mut store, b"a", 1, Durability::Sync), Some(TxnId(1)));
        assert_eq!(commit(&mut store, b"b", 2, Durability::Sync), Some(TxnId(2)));
        assert_eq!((store.oldest(), store.latest()), (Some(TxnId(0)), Some(TxnId(2))));
        let mut past = store.begin_read_at(TxnId(1)).unwrap();
        assert_eq!(past.snapshot(), Some(TxnId(1)));
        assert_eq!(past.scan(&KeyRange::all(), 9, true).unwrap(), [(b"a".to_vec(), unique_value(1, 20))]);
        assert_eq!(store.begin_read_at(TxnId(3)).err(), Some(StoreError::SnapshotNotFound));
        let _writer = store.begin_write().unwrap();
        assert_eq!(store.begin_write().err(), Some(StoreError::Busy));
    }

    #[test]
    fn closing_makes_buffered_commits_durable() {
        for is_closed in [true, false] {
            let disk = SimDisk::default();
            let mut store = open(&disk);
            commit(&mut store, b"a", 1, Durability::Buffered);
            if is_closed {
                store.close().unwrap();
            } else {
                disk.power_off();
                drop(store);
            }
            disk.crash(&Keep::None);
            let latest = open(&disk).latest();
            assert_eq!(latest, Some(TxnId(u64::from(is_closed))));
        }
    }
}
