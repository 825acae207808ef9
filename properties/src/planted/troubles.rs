//! Bugs in how a store takes the faults of its disk: each is harmless as long as there are none.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proofmark_model::{Durability, Key, KeyRange, Mutation, TxnId, Value};
use proofmark_sim::plan::Config;
use proofmark_sim::store::{Engine, Store, StoreError, StoreFactory};
use proofmark_vfs::{OpenMode, Vfs};

use super::wrap::{Bug, Open, apply};

/// What can't be read is said not to be there.
#[derive(Debug)]
pub(super) struct DamageIsAbsence;

impl Bug for DamageIsAbsence {
    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        match transaction.inner.get(key) {
            Err(StoreError::Corruption(_)) => Ok(None),
            found => found,
        }
    }

    fn scan(
        &self,
        transaction: &mut Open,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        match transaction.inner.scan(range, limit, reverse) {
            Err(StoreError::Corruption(_)) => Ok(Vec::new()),
            found => found,
        }
    }
}

/// A log ends where it is damaged, whatever comes after that.
#[derive(Debug)]
pub(super) struct DamageIsTheEnd;

impl DamageIsTheEnd {
    /// So many places are cut off at most.
    const CUTS_MAX: usize = 8;

    /// Cuts off the file that these words name, at the byte that they name; whether it is one of the log.
    fn cut(words: &str, vfs: &dyn Vfs) -> bool {
        let Some((path, place)) = words.split_once(" is damaged at byte ") else { return false };
        let offset = place.split(':').next().and_then(|offset| offset.parse().ok());
        // What stands first in a file is no record.
        let is_record = |offset: &u64| *offset > 0 && path.contains("/log-");
        let Some(offset) = offset.filter(is_record) else { return false };
        let cut =
            |file: Box<dyn proofmark_vfs::VfsFile>| file.set_size(offset).and_then(|()| file.sync_all());
        vfs.open(Path::new(path), OpenMode::ReadWrite).and_then(cut).is_ok()
    }
}

impl Bug for DamageIsTheEnd {
    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        for _ in 0..Self::CUTS_MAX {
            match Engine.open(Arc::clone(&vfs), config) {
                Err(StoreError::Corruption(words)) if Self::cut(&words, &*vfs) => {}
                opened => return opened,
            }
        }
        Engine.open(vfs, config)
    }
}

/// Who once found corruption when it was opened finds it for ever.
#[derive(Debug, Default)]
pub(super) struct Grudge(AtomicBool);

impl Bug for Grudge {
    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(StoreError::Corruption("it was damaged before".to_owned()));
        }
        let opened = Engine.open(vfs, config);
        self.0.fetch_or(matches!(opened, Err(StoreError::Corruption(_))), Ordering::Relaxed);
        opened
    }
}

/// Who once found corruption when it was opened forgets the last write of every commit from then on.
#[derive(Debug, Default)]
pub(super) struct Scar {
    is_hurt: AtomicBool,
}

impl Bug for Scar {
    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let opened = Engine.open(vfs, config);
        self.is_hurt.fetch_or(matches!(opened, Err(StoreError::Corruption(_))), Ordering::Relaxed);
        opened
    }

    fn commit(&self, mut transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        if self.is_hurt.load(Ordering::Relaxed) && transaction.mutations.len() > 1 {
            let mutations = std::mem::take(&mut transaction.mutations);
            transaction.begin_again()?;
            let kept = &mutations[..mutations.len() - 1];
            kept.iter().try_for_each(|mutation| apply(&mut *transaction.inner, mutation))?;
        }
        transaction.inner.commit(durability)
    }
}

/// Whatever fails fails for want of space.
#[derive(Debug)]
pub(super) struct BlamesTheSpace;

impl Bug for BlamesTheSpace {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        match transaction.inner.commit(durability) {
            Err(StoreError::Io(words)) => Err(StoreError::OutOfSpace(words)),
            committed => committed,
        }
    }
}

/// After a read that failed nothing is written any more.
#[derive(Debug, Default)]
pub(super) struct SulksAfterReads(AtomicBool);

impl SulksAfterReads {
    fn heed<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.fetch_or(matches!(read, Err(StoreError::Io(_))), Ordering::Relaxed);
        read
    }
}

impl Bug for SulksAfterReads {
    fn opened(&self, _store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        self.0.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn begun(&self, _store: &mut dyn Store, transaction: &mut Open) -> Result<(), StoreError> {
        match transaction.is_writer() && self.0.load(Ordering::Relaxed) {
            true => Err(StoreError::Poisoned("a read failed".to_owned())),
            false => Ok(()),
        }
    }

    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.heed(transaction.inner.get(key))
    }

    fn scan(
        &self,
        transaction: &mut Open,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        self.heed(transaction.inner.scan(range, limit, reverse))
    }
}

/// After a commit that failed nothing is read any more.
#[derive(Debug, Default)]
pub(super) struct MuteAfterCommits(AtomicBool);

impl Bug for MuteAfterCommits {
    fn opened(&self, _store: &mut dyn Store, _after_crash: bool) -> Result<(), StoreError> {
        self.0.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn get(&self, transaction: &mut Open, key: &[u8]) -> Result<Option<Value>, StoreError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(StoreError::Poisoned("a commit failed".to_owned())),
            false => transaction.inner.get(key),
        }
    }

    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let committed = transaction.inner.commit(durability);
        self.0.fetch_or(matches!(committed, Err(StoreError::Io(_))), Ordering::Relaxed);
        committed
    }
}

/// A recovery that finds less than was acknowledged carries out the last commit that was, without those before it.
#[derive(Debug, Default)]
pub(super) struct Hole {
    last: Mutex<Option<(TxnId, Vec<Mutation>)>>,
}

impl Bug for Hole {
    fn opened(&self, store: &mut dyn Store, after_crash: bool) -> Result<(), StoreError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((id, mutations)) = last.filter(|_| after_crash) else { return Ok(()) };
        if store.latest().is_none_or(|latest| latest.next() >= id) {
            return Ok(());
        }
        let mut writer = store.begin_write()?;
        mutations.iter().try_for_each(|mutation| apply(&mut *writer, mutation))?;
        writer.commit(Durability::Sync).map(drop)
    }

    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        let mutations = transaction.mutations;
        let committed = transaction.inner.commit(durability)?;
        if let Some(id) = committed.filter(|_| durability == Durability::Sync && !mutations.is_empty()) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, mutations));
        }
        Ok(committed)
    }
}
