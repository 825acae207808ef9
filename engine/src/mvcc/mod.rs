//! Snapshots and transactions.
//!
//! A snapshot is a TxnId and a [`View`]: the tiers in which the versions up to that TxnId lie. A view is immutable in
//! what it shows: the write tier only ever gains versions of later transactions, the base tree is copy-on-write. A
//! reader takes its view once and never waits for a commit or a checkpoint after that.

mod era;
mod own;
mod read;
mod scan;
mod write;

use crate::btree;
use crate::bytes::Bytes;
use crate::error::Result;
use crate::format::{Meta, Subtree};
use crate::ids::{Generation, TxnId};
use crate::pager::Pager;
use crate::sync::Arc;
use crate::write_tier::WriteTier;

pub(crate) use era::Era;
pub(crate) use own::Mutations;
pub use own::Savepoint;
pub use read::ReadTransaction;
pub use scan::Scan;
pub(crate) use write::{Commit, WriterKind};
pub use write::{Ticket, WriteTransaction};

/// The base tree as one checkpoint left it. While anyone holds it, its pages are not used for anything else.
#[derive(Debug)]
pub(crate) struct BaseVersion {
    /// The file it lies in. Compaction goes on in another one.
    pub(crate) pager: Arc<Pager>,
    pub(crate) generation: Generation,
    pub(crate) root: Option<Subtree>,
    /// The last transaction in it.
    pub(crate) checkpoint: TxnId,
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

impl BaseVersion {
    /// The tree that `meta` describes.
    pub(crate) fn new(pager: Arc<Pager>, meta: &Meta) -> BaseVersion {
        BaseVersion {
            pager,
            generation: meta.generation,
            root: meta.root,
            checkpoint: meta.checkpoint,
            oldest: meta.oldest,
        }
    }
}

impl View {
    /// The value of `key` that `snapshot` sees.
    pub(crate) fn get(&self, key: &[u8], snapshot: TxnId) -> Result<Option<Bytes>> {
        for tier in self.tiers() {
            if let Some(value) = tier.get(key, snapshot) {
                return Ok(value.map(Bytes::shared));
            }
        }
        Ok(btree::get(&self.base.pager, self.base.root, key, snapshot)?.flatten())
    }

    /// The write tiers, newest first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<WriteTier>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }
}
