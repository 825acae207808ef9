//! Checkpoints: the write tier goes into the base tree, and the log starts anew.
//!
//! 1. *Freeze*, under the log's lock: make the log durable, go on in a new segment, and let commits go into a new write
//!    tier. The frozen tier holds exactly what the segments before the new one hold.
//! 2. *Merge* the frozen tier into new pages, write the free list, sync.
//! 3. *Flip*: write the meta page of the next generation into the place of the older one, sync. From here on the new
//!    tree counts, and the log from the new segment on.
//! 4. *Publish* the new base, without the frozen tier, to new snapshots.
//! 5. *Retire* the segments that the new meta page doesn't need.
//!
//! A power loss before the flip is durable leaves the old meta page, the old tree and all segments since. A failure
//! leaves the same on disk, but what was allocated in memory is not taken back: the database is poisoned instead.

use crate::btree::{Change, Target, merge};
use crate::db::Shared;
use crate::error::Result;
use crate::format::{Meta, SegmentHeader, VersionKey};
use crate::ids::{Generation, PageId, SegmentId, TxnId};
use crate::log::{Log, retire};
use crate::mvcc::{BaseVersion, View};
use crate::pager::Allocator;
use crate::sync::{Arc, Weak};
use crate::write_tier::WriteTier;

/// What only checkpoints change.
#[derive(Debug)]
pub(crate) struct CheckpointState {
    /// The meta page that counts.
    pub(crate) meta: Meta,
    pub(crate) allocator: Allocator,
    /// Base versions that a reader may still hold, oldest first.
    pub(crate) versions: Vec<(Generation, Weak<BaseVersion>)>,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The base tree now holds everything up to this transaction.
    pub through: TxnId,
    /// Versions that were merged into it; 0 if there was nothing to do.
    pub merged_version_count: u64,
}

/// What is left of the log's lock after a freeze.
struct Frozen {
    tier: Arc<WriteTier>,
    through: TxnId,
    log_start: SegmentId,
}

impl Shared {
    /// Merges whatever was committed since the last checkpoint.
    pub(crate) fn checkpoint_now(&self) -> Result<CheckpointReport> {
        let mut state = self.checkpoint.lock();
        let Some(frozen) = self.freeze()? else {
            return Ok(CheckpointReport { through: state.meta.checkpoint, merged_version_count: 0 });
        };
        self.complete(&mut state, &frozen).inspect_err(|error| self.poison(error))
    }

    /// The checkpoint that ends a recovery: makes durable what was replayed into the frozen tier, and starts a log with
    /// `next`, so that nothing is ever appended to what the power loss left behind.
    pub(crate) fn checkpoint_recovered(&self, next: SegmentHeader) -> Result<()> {
        let mut state = self.checkpoint.lock();
        let published = self.snapshot();
        let tier = published.view.frozen.expect("recovery replays into the frozen tier");
        let (through, log_start) = (published.latest, next.segment);
        let log = Log::create(Arc::clone(&self.vfs), &self.directory, self.options.log(), next)?;
        *self.log.lock() = Some(log);
        self.complete(&mut state, &Frozen { tier, through, log_start })?;
        Ok(())
    }

    /// Swaps the write tiers; none if there is nothing to merge, and then everything is durable too.
    fn freeze(&self) -> Result<Option<Frozen>> {
        self.with_log(|log| {
            if self.published.read().view.active.is_empty() {
                log.sync()?;
                return Ok(None);
            }
            let log_start = log.rotate()?;
            let mut published = self.published.write();
            assert!(published.view.frozen.is_none(), "one checkpoint at a time");
            let tier = std::mem::take(&mut published.view.active);
            published.view.frozen = Some(Arc::clone(&tier));
            Ok(Some(Frozen { tier, through: published.latest, log_start }))
        })
    }

    fn complete(&self, state: &mut CheckpointState, frozen: &Frozen) -> Result<CheckpointReport> {
        let versions = frozen.tier.versions();
        let changes: Vec<Change<'_>> = versions
            .iter()
            .map(|(key, txn, value)| Change {
                version: VersionKey { key, txn: *txn },
                value: value.as_deref(),
            })
            .collect();
        let current = state.meta;
        let generation = current.generation.next();
        let oldest = self.options.retention.oldest(frozen.through).max(current.oldest);
        state
            .allocator
            .begin(current.generation, &mut state.versions)
            .map_err(|damage| self.pager.corruption(PageId(0), damage))?;
        let target =
            Target { pager: &self.pager, allocator: &mut state.allocator, generation, horizon: oldest };
        let root = merge(target, current.root, &changes)?;
        let free_list = state.allocator.finish(&self.pager, generation)?;
        let meta = Meta {
            database: current.database,
            page_size: current.page_size,
            generation,
            page_count: state.allocator.page_count(),
            root,
            free_list,
            log_start: frozen.log_start,
            checkpoint: frozen.through,
            oldest,
        };
        self.pager.reserve(meta.page_count)?;
        self.pager.sync()?;
        self.pager.write_meta(&meta)?;
        self.pager.sync()?;
        state.meta = meta;
        self.publish(state, Arc::new(BaseVersion { generation, root, oldest }));
        retire(&*self.vfs, &self.directory, self.options.log(), frozen.log_start)?;
        Ok(CheckpointReport { through: frozen.through, merged_version_count: changes.len() as u64 })
    }

    fn publish(&self, state: &mut CheckpointState, base: Arc<BaseVersion>) {
        state.versions.push((base.generation, Arc::downgrade(&base)));
        let mut published = self.published.write();
        let active = Arc::clone(&published.view.active);
        published.view = View { active, frozen: None, base };
    }
}
