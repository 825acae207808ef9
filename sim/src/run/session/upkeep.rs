//! What is done to a store as a whole, and what is asked of it as a whole.

use proofmark_model::{Call, Event, KeyRange, Mode, Refusal, TxnId};

use super::super::panics::catch;
use super::super::stats::Activity;
use super::clients::{UPKEEP, stepped_back};
use super::{Interrupt, Session};
use crate::plan::Cursor;
use crate::store::{Compaction, StoreError};

impl Session<'_> {
    pub(crate) fn checkpoint(&mut self) -> Result<(), Interrupt> {
        self.ask(UPKEEP, Call::Flush);
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| store.checkpoint());
        match self.attempt(Activity::Checkpoint, "checkpoint", outcome)? {
            Some(true) => {
                self.stats.checkpoints += 1;
                self.record(Event::Durable);
            }
            _ => self.stats.checkpoints_declined += 1,
        }
        Ok(())
    }

    /// Compacts, and reads the oldest state, the latest, and one between them.
    pub(in crate::run) fn compact(&mut self) -> Result<(), Interrupt> {
        if !self.promises.compaction {
            return self.checkpoint();
        }
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| store.compact());
        match self.attempt(Activity::Checkpoint, "compact", outcome)? {
            None => return Ok(()),
            Some(Compaction::Declined) => self.stats.compactions_declined += 1,
            Some(Compaction::Done { is_durable }) => {
                self.stats.compactions += 1;
                if is_durable {
                    self.record(Event::Durable);
                }
            }
        }
        if !self.promises.time_travel {
            return self.read_all(Mode::Read);
        }
        let oldest = self.named("compact", |store| store.oldest())?.unwrap_or_default();
        let latest = self.named("compact", |store| store.latest())?.unwrap_or_default();
        let mut commits = vec![oldest, TxnId(oldest.0.midpoint(latest.0)), latest];
        commits.dedup();
        self.audit(commits)
    }

    /// Makes a backup, and reads the latest state and the oldest from it.
    pub(in crate::run) fn back_up(&mut self) -> Result<(), Interrupt> {
        if !self.promises.backups {
            return self.leave_out();
        }
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| {
            let mut backup = store.backup()?;
            let (latest, oldest) = (backup.latest().unwrap_or_default(), backup.oldest().unwrap_or_default());
            let mut commits = vec![latest, oldest];
            commits.dedup();
            let mut states = Vec::new();
            for at in commits {
                let mut reader = backup.begin_read_at(at)?;
                states.push((at, reader.scan(&KeyRange::all(), usize::MAX, false)?));
            }
            backup.close()?;
            Ok((latest, oldest, states))
        });
        let Some((latest, oldest, states)) = self.attempt(Activity::Other, "backup", outcome)? else {
            return Ok(());
        };
        self.stats.backups += 1;
        for (at, state) in states {
            self.record(Event::Backup { at, latest, oldest, state });
        }
        Ok(())
    }

    pub(crate) fn verify(&mut self, activity: Activity) -> Result<(), Interrupt> {
        self.ask(UPKEEP, Call::Verify);
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| store.verify());
        let has_checked = self.attempt(activity, "verify", outcome)?;
        self.stats.verifications += u64::from(has_checked == Some(true));
        Ok(())
    }

    /// Reads the commit stream, from where the last reading ended or from somewhere else.
    pub(crate) fn changes(&mut self, cursor: Cursor, limit: usize) -> Result<(), Interrupt> {
        if !self.promises.commit_stream {
            return self.leave_out();
        }
        let latest = self.named("changes", |store| store.latest())?.unwrap_or_default();
        let from = match cursor {
            Cursor::Saved => self.book().cursor,
            Cursor::Back(back) => stepped_back(latest, back),
        };
        self.ask(UPKEEP, Call::Changes);
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let caught = catch(|| store.changes(from, limit));
        self.stats.streams += 1;
        let reason = match &caught {
            Ok(Err(StoreError::ChangesNotRetained)) => Some(Refusal::ChangesNotRetained),
            Ok(Err(StoreError::SnapshotNotFound)) => Some(Refusal::SnapshotNotFound),
            _ => None,
        };
        let oldest = self.named("changes", |store| store.oldest())?;
        if let Some(reason) = reason {
            self.stats.refusals += 1;
            if cursor == Cursor::Saved {
                // Who fell behind starts anew from a snapshot, as does who has seen what a power loss took.
                self.book().cursor = latest.next();
            }
            self.record(Event::ChangesRefused { from, reason, oldest });
            return Ok(());
        }
        // A consumer must never be ahead of what survives: a stream vouches for what it shows, and syncs for that.
        let commits = self.attempt(Activity::Other, "changes", caught)?;
        let Some(commits) = commits else { return Ok(()) };
        self.record(Event::Durable);
        if let (Cursor::Saved, Some(last)) = (cursor, commits.last()) {
            self.book().cursor = last.id.next();
        }
        self.record(Event::Changes { from, limit, oldest, commits });
        Ok(())
    }

    /// Leaves room for so many bytes more on the disk, or takes the limit away.
    pub(in crate::run) fn limit_space(&mut self, bytes: Option<u64>) -> Result<(), Interrupt> {
        if !self.promises.survives_full_disk {
            return self.leave_out();
        }
        self.free_space(bytes);
        Ok(())
    }

    pub(super) fn free_space(&mut self, bytes: Option<u64>) {
        self.disk.limit_space(bytes);
        self.book().is_limited = bytes.is_some();
        self.record(Event::Space { bytes });
    }

    /// Takes the limit away at the end: what found no room before has to find it now.
    pub(in crate::run) fn recover_space(&mut self) -> Result<(), Interrupt> {
        let is_limited = self.book().is_limited;
        if !is_limited {
            return Ok(());
        }
        self.free_space(None);
        self.checkpoint()
    }
}
