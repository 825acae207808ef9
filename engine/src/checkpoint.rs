//! Checkpoints: the write tier goes into the base tree, and the log starts anew.
//!
//! 1. *Freeze*, under the commit lock: make the log durable, go on in a new segment, and let commits go into a new write
//!    tier. The frozen tier holds exactly what the segments before the new one hold.
//! 2. *Merge* the frozen tier into new pages, write the free list, sync.
//! 3. *Flip*: write the meta page of the next generation into the place of the older one, sync. From here on the new
//!    tree counts, and the log from the new segment on.
//! 4. *Publish* the new base, without the frozen tier, to new snapshots.
//! 5. *Retire* the segments that the new meta page doesn't need, and make durable that the older one's log is gone.
//!
//! A power loss before the flip is durable leaves the old meta page, the old tree and all segments since. A failure
//! leaves the same on disk. If the merge failed, for want of space or because a page can't be read, the page accounting is
//! taken back, the frozen tier stays where it is, and the next checkpoint begins by finishing this one. If a sync or the
//! meta page failed, nobody knows which state is on disk, and the database is poisoned.

use crate::btree::{Change, Target, merge};
use crate::db::{Published, Shared};
use crate::error::{Error, Result};
use crate::format::{Meta, SegmentHeader, VersionKey};
use crate::ids::{Generation, PageId, SegmentId, TxnId};
use crate::log::{Log, retire};
use crate::mvcc::{BaseVersion, View};
use crate::pager::{Allocator, Pager};
use crate::sync::{Arc, Weak};
use crate::write_tier::WriteTier;

/// What only checkpoints change.
#[derive(Debug)]
pub(crate) struct CheckpointState {
    pub(crate) pager: Arc<Pager>,
    /// The meta page that counts.
    pub(crate) meta: Meta,
    /// The segment with which the log of the meta page before that starts.
    pub(crate) fallback_log_start: SegmentId,
    pub(crate) allocator: Allocator,
    /// Base versions that a reader may still hold, oldest first.
    pub(crate) versions: Vec<(Generation, Weak<BaseVersion>)>,
    /// A tier that was frozen and is not in the base tree yet.
    pub(crate) frozen: Option<Frozen>,
}

/// A write tier that gets no more commits.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) tier: Arc<WriteTier>,
    pub(crate) through: TxnId,
    /// The segment in which the commits after it begin.
    pub(crate) log_start: SegmentId,
}

/// When a checkpoint writes a new meta page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    IfChanged,
    Always,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The base tree now holds everything up to this transaction.
    pub through: TxnId,
    /// Versions that were merged into it; 0 if there was nothing to do.
    pub merged_version_count: u64,
}

impl CheckpointState {
    /// The oldest generation whose pages a reader may need.
    fn oldest_held(&mut self) -> Generation {
        self.versions.retain(|(_, version)| version.strong_count() > 0);
        self.versions.first().map_or(self.meta.generation, |(generation, _)| *generation)
    }
}

impl Shared {
    pub(crate) fn checkpoint_now(&self) -> Result<CheckpointReport> {
        self.checkpoint_locked(&mut self.checkpoint.lock())
    }

    /// Runs a checkpoint if the write tier has outgrown its limit, unless one is under way. The commit before this has
    /// succeeded, whatever happens here: a failure poisons the database, or is met again in [`Shared::make_room`].
    pub(crate) fn checkpoint_if_full(&self) {
        if self.active_bytes() <= self.options.write_tier_bytes as u64 {
            return;
        }
        let Some(mut state) = self.checkpoint.try_lock() else { return };
        // Whoever had the lock before may have done it.
        if self.active_bytes() > self.options.write_tier_bytes as u64 && self.check_writable().is_ok() {
            let outcome = self.checkpoint_locked(&mut state);
            // Whatever failed is met again: by the next checkpoint, or by all writers if the database is poisoned.
            drop(outcome);
        }
    }

    /// Waits until the write tier takes one more commit, or fails. It doesn't take one while it is full and the one before
    /// it is still being merged, or found no room on the disk; and never beyond twice its limit.
    pub(crate) fn make_room(&self) -> Result<()> {
        let limit = self.options.write_tier_bytes as u64;
        let must_wait = || {
            let view = &self.published.load().view;
            let bytes = view.active.bytes();
            bytes > limit.saturating_mul(2) || (bytes > limit && view.frozen.is_some())
        };
        if must_wait() {
            self.check_writable()?;
            let mut state = self.checkpoint.lock();
            if must_wait() {
                self.checkpoint_locked(&mut state)?;
            }
        }
        Ok(())
    }

    /// Merges what an earlier checkpoint had to leave, and then whatever was committed since.
    pub(crate) fn checkpoint_locked(&self, state: &mut CheckpointState) -> Result<CheckpointReport> {
        let mut merged_version_count = 0;
        if state.frozen.is_some() {
            merged_version_count += self.complete(state)?;
        }
        if self.freeze(state, Due::IfChanged)? {
            merged_version_count += self.complete(state)?;
        }
        Ok(CheckpointReport { through: state.meta.checkpoint, merged_version_count })
    }

    /// The checkpoint that ends a recovery: makes durable what was replayed into the frozen tier, and starts a log with
    /// `next`, so that nothing is ever appended to what the power loss left behind.
    pub(crate) fn checkpoint_recovered(&self, next: SegmentHeader) -> Result<()> {
        let mut state = self.checkpoint.lock();
        let tier = self.published.load().view.frozen.clone().expect("recovery replays into the frozen tier");
        let through = self.commits.lock().installed;
        let frozen = Frozen { tier, through, log_start: next.segment };
        // First what takes most room: an attempt that finds none leaves no segment behind.
        let (meta, _) = self.merge_frozen(&mut state, &frozen)?;
        let log = Log::create(Arc::clone(&self.vfs), &self.directory, self.options.log(), next)?;
        self.commits.lock().log = Some(log);
        self.flip(&mut state, meta)?;
        self.retire_log(&state)
    }

    /// The checkpoint that ends a compaction: whatever was committed, the meta pages are those of a compaction no more.
    pub(crate) fn checkpoint_compacted(&self, state: &mut CheckpointState) -> Result<()> {
        if self.freeze(state, Due::Always)? {
            self.complete(state)?;
        }
        Ok(())
    }

    /// Swaps the write tiers; `false` if nothing is due to be merged, and then everything is durable too.
    fn freeze(&self, state: &mut CheckpointState, due: Due) -> Result<bool> {
        assert!(state.frozen.is_none(), "one checkpoint at a time");
        let mut commits = self.lock_commits_unsynced()?;
        // An empty tier is merged, too, where history can be dropped because less of it is to be kept from now on.
        let horizon = self.options.retention.oldest(state.meta.checkpoint);
        let has_changes = !self.published.load().view.active.is_empty() || horizon > state.meta.oldest;
        let log = commits.log_mut()?;
        let is_due = has_changes || due == Due::Always;
        let outcome = if is_due { log.rotate().map(Some) } else { log.sync().map(|()| None) };
        // Even where the next segment could not be had, this one may have been synced.
        self.note_durable(&mut commits);
        let Some(log_start) = outcome.inspect_err(|error| self.poison_unless_out_of_space(error))? else {
            return Ok(false);
        };
        let Published { latest, ref view, .. } = *self.published.load_full();
        let through = commits.installed;
        assert_eq!(latest, through, "everything is durable, and so visible");
        let tier = Arc::clone(&view.active);
        let active = Arc::new(tier.successor());
        commits.era = commits.era.begin_next(Arc::clone(&active));
        let view = View { active, frozen: Some(Arc::clone(&tier)), base: Arc::clone(&view.base) };
        self.show(&mut commits, latest, Arc::new(view));
        state.frozen = Some(Frozen { tier, through, log_start });
        Ok(true)
    }

    /// Merges the frozen tier, and returns how many versions it held.
    fn complete(&self, state: &mut CheckpointState) -> Result<u64> {
        let frozen = state.frozen.clone().expect("the caller has frozen a tier");
        let accounts = state.allocator.clone();
        let mut merge = || {
            let (meta, count) = self.merge_frozen(state, &frozen)?;
            self.flip(state, meta)?;
            Ok(count)
        };
        match merge() {
            Ok(count) => {
                self.retire_log(state)?;
                Ok(count)
            }
            Err(error) => {
                // Nothing reaches what was written so far, and the pages are free again.
                state.allocator = accounts;
                Err(error)
            }
        }
    }

    /// Makes what was merged durable, and lets it count.
    fn flip(&self, state: &mut CheckpointState, meta: Meta) -> Result<()> {
        let poisoning = |error: &Error| self.poison(error);
        state.pager.sync().inspect_err(poisoning)?;
        // A meta page for which there is no room is at most written in part, in the place of the older one.
        state.pager.write_meta(&meta).inspect_err(|error| self.poison_unless_out_of_space(error))?;
        state.pager.sync().inspect_err(poisoning)?;
        state.fallback_log_start = state.meta.log_start;
        state.meta = meta;
        state.frozen = None;
        let base = BaseVersion::new(Arc::clone(&state.pager), &meta);
        self.publish_base(state, Arc::new(base));
        Ok(())
    }

    /// Gives up the segments that are not needed any more. What can't be removed is left to the next checkpoint or
    /// opening.
    ///
    /// Who falls back to the meta page before needs its whole log, or has to see that it is gone. So the segment with which
    /// that log starts goes first, durably, and a power loss never brings it back without its middle, or without the end that
    /// a recovery found in the page cache, or beside damage to what nobody looks after any more. Else none of this need be
    /// durable: segments before the log's start are ignored if they come back.
    fn retire_log(&self, state: &CheckpointState) -> Result<()> {
        let CheckpointState { fallback_log_start: first, meta, .. } = *state;
        let retire = |retired| retire(&*self.vfs, &self.directory, self.options.log(), retired);
        assert!(first < meta.log_start, "every checkpoint begins a segment");
        if retire(first..first.next())? > 0 {
            let synced = self.vfs.sync_directory(&self.directory);
            synced
                .map_err(|source| Error::sync(&self.directory, source))
                .inspect_err(|error| self.poison(error))?;
        }
        retire(SegmentId(0)..meta.log_start)?;
        Ok(())
    }

    /// Writes the pages of the next generation, and returns the meta page with which they will count.
    fn merge_frozen(&self, state: &mut CheckpointState, frozen: &Frozen) -> Result<(Meta, u64)> {
        let versions = frozen.tier.versions();
        let changes: Vec<Change<'_>> = versions
            .iter()
            .map(|(key, txn, value)| Change { version: VersionKey::new(key, *txn), value: value.as_deref() })
            .collect();
        let current = state.meta;
        let generation = current.generation.next();
        let oldest = self.options.retention.oldest(frozen.through).max(current.oldest);
        let oldest_held = state.oldest_held();
        let pager = &*state.pager;
        state
            .allocator
            .begin(current.generation, oldest_held)
            .map_err(|damage| pager.corruption(PageId(0), damage))?;
        let target = Target { pager, allocator: &mut state.allocator, generation, horizon: oldest };
        let root = merge(target, current.root, &changes)?;
        let free_list = state.allocator.finish(pager, generation)?;
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
        pager.reserve(meta.page_count)?;
        Ok((meta, changes.len() as u64))
    }

    /// Shows new snapshots the new base, in place of the old one and the frozen tier.
    pub(crate) fn publish_base(&self, state: &mut CheckpointState, base: Arc<BaseVersion>) {
        state.versions.push((base.generation, Arc::downgrade(&base)));
        let mut commits = self.commits.lock();
        let latest = self.published.load().latest;
        let active = Arc::clone(&self.published.load().view.active);
        self.show(&mut commits, latest, Arc::new(View { active, frozen: None, base }));
    }

    /// A full disk leaves everything as it was; after any other failure nobody knows.
    pub(crate) fn poison_unless_out_of_space(&self, error: &Error) {
        if !matches!(error, Error::OutOfSpace { .. }) {
            self.poison(error);
        }
    }

    fn active_bytes(&self) -> u64 {
        self.published.load().view.active.bytes()
    }
}
