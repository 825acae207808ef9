//! Snapshots and transactions.
//!
//! A snapshot is a TxnId and a [`View`]: the tiers in which the versions up to that TxnId lie. A view is immutable in
//! what it shows: the write tier only ever gains versions of later transactions, the base tree is copy-on-write. A
//! reader takes its view once and never waits for a commit or a checkpoint after that.

mod read;
mod scan;
mod write;

use crate::btree;
use crate::bytes::Bytes;
use crate::error::Result;
use crate::format::Subtree;
use crate::ids::{Generation, TxnId};
use crate::pager::Pager;
use crate::sync::Arc;
use crate::write_tier::WriteTier;

pub use read::ReadTransaction;
pub(crate) use scan::Mutations;
pub use scan::Scan;
pub use write::WriteTransaction;

/// The base tree as one checkpoint left it. While anyone holds it, its pages are not used for anything else.
#[derive(Debug)]
pub(crate) struct BaseVersion {
    pub(crate) generation: Generation,
    pub(crate) root: Option<Subtree>,
    /// The oldest snapshot that can be read from it.
    pub(crate) oldest: TxnId,
}

/// Where a snapshot's versions lie. Newer tiers hide older ones.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Commits go here.
    pub(crate) active: Arc<WriteTier>,
    /// Being merged into the base tree, if a checkpoint is under way.
    pub(crate) frozen: Option<Arc<WriteTier>>,
    pub(crate) base: Arc<BaseVersion>,
}

impl View {
    /// The value of `key` that `snapshot` sees.
    pub(crate) fn get(&self, pager: &Pager, key: &[u8], snapshot: TxnId) -> Result<Option<Bytes>> {
        for tier in self.tiers() {
            if let Some(value) = tier.get(key, snapshot) {
                return Ok(value.map(Bytes::shared));
            }
        }
        Ok(btree::get(pager, self.base.root, key, snapshot)?.flatten())
    }

    /// The write tiers, newest first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<WriteTier>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }
}
