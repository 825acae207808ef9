//! Bugs that show as errors: of the store's own check, and of operations that have no reason to fail.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_model::{Durability, TxnId};
use proofmark_sim::store::{Store, StoreError};
use proofmark_vfs::{OpenMode, Vfs};

use super::wrap::{Bug, Counter, Open};

/// Every fifth check of the store finds damage where there is none.
#[derive(Debug, Default)]
pub(super) struct FalseAlarm(Counter);

impl Bug for FalseAlarm {
    fn verify(&self, store: &mut dyn Store, _vfs: &dyn Vfs) -> Result<bool, StoreError> {
        if self.0.is_every(5) {
            return Err(StoreError::Failed("a page is used for two things".to_owned()));
        }
        store.verify()
    }
}

/// One byte of the data file is wrong, a page further each time: real damage, which the engine's own check has to find.
#[derive(Debug, Default)]
pub(super) struct RottenByte {
    checks: AtomicU64,
}

impl RottenByte {
    /// The smallest page.
    const STRIDE: u64 = 4096;

    fn rot(&self, vfs: &dyn Vfs) -> io::Result<()> {
        let file = vfs.open(Path::new("/db/data"), OpenMode::ReadWrite)?;
        let pages = file.size()? / Self::STRIDE;
        let page = self.checks.fetch_add(1, Ordering::Relaxed) % pages;
        let offset = (page + 1) * Self::STRIDE - 1;
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset)?;
        file.write_all_at(&[!byte[0]], offset)
    }
}

impl Bug for RottenByte {
    fn verify(&self, store: &mut dyn Store, vfs: &dyn Vfs) -> Result<bool, StoreError> {
        self.rot(vfs).map_err(StoreError::failed)?;
        store.verify()
    }
}

/// Every second recovery fails.
#[derive(Debug, Default)]
pub(super) struct LostStore(Counter);

impl Bug for LostStore {
    fn opened(&self, _store: &mut dyn Store, after_crash: bool) -> Result<(), StoreError> {
        if after_crash && self.0.is_every(2) {
            return Err(StoreError::Failed("there is no database here".to_owned()));
        }
        Ok(())
    }
}

/// Every twentieth commit finds the disk full, and is not carried out.
#[derive(Debug, Default)]
pub(super) struct FullDisk(Counter);

impl Bug for FullDisk {
    fn commit(&self, transaction: Open, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        if self.0.is_every(20) {
            return Err(StoreError::Failed("no space left on the device".to_owned()));
        }
        transaction.inner.commit(durability)
    }
}
