//! How a commit goes through the database.
//!
//! 1. Under the commit lock: check for conflicts, take the next TxnId, append the record to the log, install the versions
//!    in the write tier. From here on the order of this commit is fixed, but nobody sees it.
//! 2. Sync. The first who needs one leads: it writes and syncs the log, without the lock, for all who were appended by
//!    then. The others wait, and whoever was appended meanwhile is in the next group. One write and one sync a group.
//! 3. Publish the TxnId as the latest snapshot: everything up to the first commit that has to be durable and isn't yet.
//!    Commits become visible in their order, so that a buffered commit after one that is being synced waits with it.
//!
//! **When it fails.** A record for which there is no room leaves no trace, and the commit did not happen. After a failed
//! write or sync it is unknown what is on disk: the database is poisoned, what was installed stays invisible, and the
//! next recovery decides.

use std::collections::VecDeque;

use crate::db::{Published, Shared};
use crate::error::{Error, Result};
use crate::ids::TxnId;
use crate::log::Log;
use crate::mvcc::{Commit, Era, Mutations, View, WriterKind};
use crate::options::Durability;
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::write_tier::prune::{Pruner, Snapshots};

/// What commits change, under one lock.
#[derive(Debug)]
pub(crate) struct CommitState {
    /// None if the database was opened for reading only, and until a recovery has started it.
    pub(crate) log: Option<Log>,
    /// The last transaction in the log and in the write tier.
    pub(crate) installed: TxnId,
    /// Transactions that are to be visible only when they are durable, and are not durable yet, in order.
    unsynced: VecDeque<TxnId>,
    /// Somebody is syncing the log, without the lock.
    is_syncing: bool,
    /// So many wait for that to end.
    waiting_count: usize,
    pub(crate) era: Arc<Era>,
    /// What was superseded in the active tier, if it is to be pruned.
    pub(crate) pruner: Option<Pruner<Published>>,
}

impl CommitState {
    pub(crate) fn new(log: Option<Log>, latest: TxnId, era: Arc<Era>, prune: bool) -> CommitState {
        CommitState {
            log,
            installed: latest,
            unsynced: VecDeque::new(),
            is_syncing: false,
            waiting_count: 0,
            era,
            pruner: prune.then(Pruner::default),
        }
    }

    pub(crate) fn log_mut(&mut self) -> Result<&mut Log> {
        self.log.as_mut().ok_or(Error::ReadOnly)
    }
}

impl Shared {
    /// Holds commits back, with all of them written to the log's file, for those who look at it there.
    pub(crate) fn lock_log_file(&self) -> Result<MutexGuard<'_, CommitState>> {
        let mut state = self.commits.lock();
        if let Some(log) = &mut state.log
            && self.check_writable().is_ok()
        {
            log.flush().inspect_err(|error| self.poison(error))?;
        }
        Ok(state)
    }

    pub(crate) fn commit(&self, commit: Commit, durability: Durability) -> Result<TxnId> {
        let snapshot = commit.snapshot;
        if commit.mutations.is_empty() {
            // There is nothing to log, but what the transaction saw is promised like what it could have written.
            self.wait(self.lock_commits()?, snapshot, durability)?;
            return Ok(snapshot);
        }
        let (state, txn) = self.place(commit, durability)?;
        self.wait(state, txn, durability)?;
        Ok(txn)
    }

    /// Commits without waiting for the sync.
    pub(crate) fn submit(&self, commit: Commit) -> Result<TxnId> {
        if commit.mutations.is_empty() {
            self.check_writable()?;
            return Ok(commit.snapshot);
        }
        let (state, txn) = self.place(commit, Durability::Sync)?;
        drop(state);
        Ok(txn)
    }

    /// Returns when everything up to `txn` is durable.
    pub(crate) fn wait_durable(&self, txn: TxnId) -> Result<()> {
        self.wait(self.commits.lock(), txn, Durability::Sync)
    }

    /// Makes everything that was committed or submitted durable.
    pub(crate) fn sync_all(&self) -> Result<()> {
        let state = self.lock_commits()?;
        let installed = state.installed;
        self.wait(state, installed, Durability::Sync)
    }

    /// The commit lock, if the database accepts changes.
    pub(crate) fn lock_commits(&self) -> Result<MutexGuard<'_, CommitState>> {
        let state = self.commits.lock();
        // Whoever held the lock before may have failed.
        self.check_writable()?;
        Ok(state)
    }

    /// The commit lock, if the database accepts changes, when nobody is syncing the log.
    pub(crate) fn lock_commits_unsynced(&self) -> Result<MutexGuard<'_, CommitState>> {
        let mut state = self.lock_commits()?;
        while state.is_syncing {
            state = self.wait_for_sync(state);
            self.check_writable()?;
        }
        Ok(state)
    }

    /// Takes note of how far the log is durable, and lets everyone see what may be seen now.
    pub(crate) fn note_durable(&self, state: &mut CommitState) {
        let durable = state.log.as_ref().map_or(TxnId(0), Log::durable_through);
        while state.unsynced.front().is_some_and(|txn| *txn <= durable) {
            state.unsynced.pop_front();
        }
        self.publish(state);
    }

    /// Appends a commit when there is room for it. Returns the commit lock with it.
    fn place(&self, commit: Commit, durability: Durability) -> Result<(MutexGuard<'_, CommitState>, TxnId)> {
        self.make_room()?;
        let mut state = self.lock_commits()?;
        match self.append(&mut state, commit, durability) {
            Ok(txn) => Ok((state, txn)),
            Err(error) => {
                if matches!(error, Error::Conflict { .. }) {
                    // It may be with a commit that was submitted only. Who begins again has to see that one, or conflicts
                    // for ever. If the sync fails, the next commit says so.
                    let installed = state.installed;
                    let _ = self.wait(state, installed, Durability::Buffered);
                }
                Err(error)
            }
        }
    }

    /// Gives a commit its place: in the order, in the log's buffer and in the write tier. An error leaves no trace of it.
    fn append(&self, state: &mut CommitState, commit: Commit, durability: Durability) -> Result<TxnId> {
        let Commit { snapshot, mutations, kind } = commit;
        self.check_order(state, snapshot, &mutations, &kind)?;
        let txn = state.installed.next();
        let borrowed = mutations.iter().map(|(key, value)| (&**key, value.as_deref()));
        let log = state.log_mut()?;
        assert_eq!(log.written_through().next(), txn, "log and write tier hold the same transactions");
        if let Err(error) = log.append(txn, borrowed) {
            self.poison_unless_out_of_space(&error);
            // On the way the log may have synced, to go on in a new segment.
            self.note_durable(state);
            return Err(error);
        }
        if durability == Durability::Buffered {
            // It will be visible at once, so that it has to be in the file by then.
            log.flush().inspect_err(|error| self.poison(error))?;
        }
        // A checkpoint swaps tiers under the commit lock, so that this is the tier the transaction belongs to.
        let tier = Arc::clone(&self.published.load().view.active);
        match &mut state.pruner {
            Some(pruner) => tier.install_noting(txn, mutations, |superseded| pruner.note(superseded)),
            None => tier.install(txn, mutations),
        }
        state.installed = txn;
        if durability == Durability::Sync {
            state.unsynced.push_back(txn);
        }
        self.note_durable(state);
        Ok(txn)
    }

    /// Whether the commit may be the next one.
    fn check_order(
        &self,
        state: &CommitState,
        snapshot: TxnId,
        mutations: &Mutations,
        kind: &WriterKind,
    ) -> Result<()> {
        match kind {
            WriterKind::Exclusive(_) => {
                assert_eq!(state.installed, snapshot, "nobody commits while an exclusive writer is open");
                Ok(())
            }
            // Acquire, with the Release of the writer that is gone.
            WriterKind::Optimistic(_) if self.writer_open.load(Ordering::Acquire) => Err(Error::WriteBusy),
            WriterKind::Optimistic(era) => match era.first_conflict(mutations, snapshot) {
                Some(key) => Err(Error::Conflict { key: key.to_vec() }),
                None => Ok(()),
            },
        }
    }

    /// Waits until `txn` is visible, and durable if it has to be, or leads the group that makes it so.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, CommitState>,
        txn: TxnId,
        durability: Durability,
    ) -> Result<()> {
        loop {
            let is_syncing = state.is_syncing;
            let log = state.log_mut()?;
            let reached = match durability {
                Durability::Sync => log.durable_through(),
                Durability::Buffered => self.published.load().latest,
            };
            if reached >= txn {
                return Ok(());
            }
            self.check_writable()?;
            if is_syncing {
                state = self.wait_for_sync(state);
                continue;
            }
            let Some(request) = log.begin_sync().inspect_err(|error| self.poison(error))? else {
                // The log went on in a new segment, and everything in the old one is durable.
                self.note_durable(&mut state);
                continue;
            };
            state.is_syncing = true;
            drop(state);
            let outcome = request.run().inspect_err(|error| self.poison(error));
            state = self.commits.lock();
            state.is_syncing = false;
            if state.waiting_count > 0 {
                self.progressed.notify_all();
            }
            outcome?;
            state.log_mut()?.finish_sync(request.through);
            self.note_durable(&mut state);
        }
    }

    fn wait_for_sync<'a>(&self, mut state: MutexGuard<'a, CommitState>) -> MutexGuard<'a, CommitState> {
        state.waiting_count += 1;
        let mut state = self.progressed.wait(state);
        state.waiting_count -= 1;
        state
    }

    /// Makes the longest run of commits visible of which none is waiting to be durable.
    fn publish(&self, state: &mut CommitState) {
        let through = state.unsynced.front().map_or(state.installed, |first| TxnId(first.0 - 1));
        if through > self.published.load().latest {
            let view = Arc::clone(&self.published.load().view);
            self.show(state, through, view);
        }
    }

    /// Shows new snapshots a view, up to the transaction `latest`. Prunes what nobody can see any more from then on.
    pub(crate) fn show(&self, state: &mut CommitState, latest: TxnId, view: Arc<View>) {
        let oldest = self.options.oldest(view.base.oldest, latest);
        let tier = Arc::clone(&view.active);
        // Nobody can come across the old one from here on: who loaded it before has been counted by now.
        let old = self.published.swap(Arc::new(Published { oldest, latest, view }));
        if let Some(pruner) = &mut state.pruner {
            if Arc::ptr_eq(&old.view.active, &tier) {
                let snapshots = Snapshots { oldest: old.oldest, latest: old.latest };
                pruner.replaced(&tier, old, snapshots, oldest);
            } else {
                pruner.begin_tier();
            }
        }
    }
}
