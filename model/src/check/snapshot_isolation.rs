//! Snapshot isolation: what transactions read, and which of them may commit.
//!
//! It verifies, for one incarnation of the store:
//! - every get and scan equals the model at the transaction's snapshot, overlaid with the transaction's own earlier
//!   writes; scans are complete, in order, within their range and their limit;
//! - snapshots follow real time: a transaction reads at least every commit that was acknowledged before it began, and
//!   nothing that was not asked for by then; one that reads as of a commit reads exactly that one;
//! - of two transactions that wrote one key and both committed, the later read the earlier's commit (`lost-update`);
//! - a refusal has its reason: `write-busy` only while an exclusive write transaction is open, `snapshot-not-found` never for the
//!   present nor for a commit that the store retains or promised to retain (see [`Retained`]), and never no refusal for
//!   the future;
//! - write transactions exclude each other: none begins while another has neither ended nor asked for its commit, and no
//!   optimistic one commits meanwhile;
//! - an optimistic commit is declined for a conflict only if a key that it wrote was committed since its snapshot;
//! - after a transaction took the store back to a mark, it reads the state that was marked;
//! - a range is removed as the transaction sees it, and going back to a savepoint undoes what came after it;
//! - a commit that was only taken in (`ticket`) is read by nobody but writers, until something later is acknowledged, or,
//!   where clients run at the same time, somebody may be waiting for it;
//! - TxnIds increase: a commit's is greater than every one that was acknowledged before it was asked for, and there is no
//!   gap before it that no commit in doubt fills. A transaction
//!   that wrote nothing takes none; what it reports lies between its snapshot and the latest.
//!
//! Where clients run at the same time, a call takes place at some moment between its question and its answer, and nothing
//! is wrong that is right at one of these moments: the commits that a transaction has to read are those that were
//! acknowledged before it was asked for, and those that it may read were asked for before it was answered; a writer keeps
//! others out from its answer to the question for its commit or its end, and may keep them out from its own question to
//! the answer to that. What anybody could read by then is read by everybody who asks later.
//!
//! A store that does not reveal its snapshots may have any that real time permits. Each read rules out those that do
//! not explain it, and when none is left, that read is the violation.
//!
//! It does NOT object to a write transaction that begins while the commit of another is outstanding. It accepts every refusal to read an old commit if the store neither says nor promises what it
//! retains. It does not look for lost updates by commits in doubt, and it does not look for write skew, which snapshot isolation permits.

mod endings;
mod openings;

use std::collections::BTreeMap;

use super::backup::Backup;
use super::commit_stream::Stream;
use super::replay::{Provenance, Replay};
use super::retained::{Retained, Statement};
use super::rising::Rising;
use super::savepoints::Savepoints;
use super::scan::{Scan, Writes, value_in};
use super::timeline::Incarnation;
use super::{Checker, Violation};
use crate::text::{BytesText, ValueText};
use crate::{Event, FaultClass, Key, KeyRange, MarkLabel, Mode, SavepointLabel, TxnId, Value};

/// Judges the reads and commits of one incarnation, and returns what the store has said of its past by the end of it.
pub(super) fn check(replay: &Replay<'_, '_>, incarnation: &Incarnation) -> Result<Retained, Violation> {
    let mut judge = Judge::new(replay, incarnation);
    for step in incarnation.first..incarnation.end.min(replay.horizon) {
        judge.judge(step, &replay.timeline.history.events[step])?;
    }
    Ok(judge.retained)
}

/// Whether an operation syncs the log before it reads what may be damaged.
fn flushes_the_log(what: &str) -> bool {
    matches!(what, "changes" | "backup" | "checkpoint" | "compact")
}

struct Judge<'a, 't, 'h> {
    replay: &'a Replay<'t, 'h>,
    incarnation: &'a Incarnation,
    open: BTreeMap<usize, Open<'h>>,
    /// Where a transaction stands among the commits of this incarnation.
    places: BTreeMap<usize, usize>,
    /// Which of these commits have been asked for.
    asked: Vec<bool>,
    /// How many of them, from the first on, have all been asked for.
    visible: usize,
    /// The latest commit that was acknowledged.
    acknowledged: Rising,
    /// The latest commit that anybody could read, where clients run at the same time.
    seen: Rising,
    /// What the store has said to be the oldest commit that can be read.
    oldest: Rising,
    /// The place of a commit that was taken in and that nothing can have made visible yet.
    hidden: Option<usize>,
    retained: Retained,
}

/// A transaction that is open.
struct Open<'h> {
    mode: Mode,
    /// The snapshots that explain everything it read: at least one, oldest first.
    snapshots: Vec<TxnId>,
    own: Writes<'h>,
    savepoints: Savepoints<'h>,
    /// Whether it took the store back to a mark, and so means to undo what others committed.
    is_restored: bool,
    /// Whether it has asked for its commit, and whether an exclusive writer was open then.
    asked: Option<bool>,
}

impl Open<'_> {
    /// Whether it keeps other writers out.
    fn excludes(&self) -> bool {
        self.mode == Mode::Write && self.asked.is_none()
    }
}

impl<'a, 't, 'h> Judge<'a, 't, 'h> {
    fn new(replay: &'a Replay<'t, 'h>, incarnation: &'a Incarnation) -> Judge<'a, 't, 'h> {
        let placed = replay.placed();
        Judge {
            replay,
            incarnation,
            open: BTreeMap::new(),
            places: placed.iter().enumerate().map(|(place, placed)| (placed.transaction, place)).collect(),
            asked: vec![false; placed.len()],
            visible: 0,
            acknowledged: Rising::new(replay.start()),
            seen: Rising::new(replay.start()),
            oldest: Rising::new(replay.retained.oldest()),
            hidden: None,
            retained: replay.retained,
        }
    }

    fn judge(&mut self, step: usize, event: &'h Event) -> Result<(), Violation> {
        match event {
            Event::Refused { mode, reason, oldest, .. } => {
                return self.refused(step, *mode, *reason, *oldest);
            }
            Event::Changes { from, limit, oldest, commits } => {
                self.stream(step, *from, *oldest)?.read(self.replay, *limit, commits)?;
                if let Some(last) = commits.last() {
                    self.see(step, last.id);
                }
                return Ok(());
            }
            Event::ChangesRefused { from, reason, oldest } => {
                return self.stream(step, *from, *oldest)?.refused(*reason);
            }
            Event::Backup { at, latest, oldest, state } => {
                self.hidden = None;
                let backup = Backup { step, at: *at, latest: *latest, oldest: *oldest, state };
                let asked = self.replay.timeline.asked(step);
                backup.check(self.replay, &self.retained, self.visible_since(asked), self.latest())?;
                self.see(step, *latest);
                return Ok(());
            }
            // What writes or syncs the log may make visible what was taken in before.
            Event::Durable | Event::OutOfSpace { .. } | Event::GaveUp { .. } => self.hidden = None,
            Event::Corrupt { what, .. } if flushes_the_log(what) => self.hidden = None,
            Event::Fault { class: FaultClass::Lie, .. } => self.retained.lied(),
            Event::MadeGood => self.retained.made_good(),
            Event::Crash { is_power_loss: true } => self.retained.lost_power(),
            _ => {}
        }
        let Some(index) = self.replay.timeline.transaction_of(step) else { return Ok(()) };
        match event {
            Event::Begin { mode, snapshot, .. } => self.begin(step, index, *mode, *snapshot)?,
            Event::Get { key, value, .. } => self.get(step, index, key, value.as_deref())?,
            Event::Scan { range, limit, reverse, pairs, .. } => {
                let scan = Scan { range, limit: *limit, reverse: *reverse };
                self.scan(step, index, &scan, pairs)?;
            }
            Event::Put { key, value, .. } => {
                self.transaction(index).own.insert(key, Some(value));
            }
            Event::Delete { key, .. } => {
                self.transaction(index).own.insert(key, None);
            }
            Event::DeleteRange { range, count, keys, .. } => {
                self.delete_range(step, index, range, *count, keys)?;
            }
            Event::Savepoint { savepoint, .. } => {
                let open = self.transaction(index);
                open.savepoints.take(*savepoint, &open.own);
            }
            Event::Rollback { savepoint, is_refused, .. } => {
                self.roll_back(step, index, *savepoint, *is_refused)?;
            }
            Event::Restore { mark, is_refused: false, .. } => self.restore(index, *mark),
            Event::Submit { .. } => self.submit(index),
            // Where clients run at the same time, somebody may be waiting for it already.
            Event::Ticket { .. } if self.incarnation.is_concurrent => {}
            Event::Ticket { .. } => self.hidden = self.places.get(&index).copied(),
            Event::Committed { id, .. } => self.commit(step, index, *id)?,
            Event::Denied { reason, .. } => self.denied(step, index, reason)?,
            Event::Aborted { .. } => {
                self.open.remove(&index);
            }
            _ => {}
        }
        Ok(())
    }

    /// What the commit stream is judged by.
    fn stream(&mut self, step: usize, from: TxnId, oldest: Option<TxnId>) -> Result<Stream, Violation> {
        let (asked, latest) = (self.replay.timeline.asked(step), self.visible_latest());
        let gone = self.oldest.before(asked);
        self.stated(Checker::CommitStream, step, oldest, latest)?;
        let oldest = oldest.or(self.retained.kept(latest));
        let gone = if self.incarnation.is_concurrent { Some(gone) } else { oldest };
        Ok(Stream { step, from, oldest, gone, acknowledged: self.visible_since(asked), latest })
    }

    /// Takes in what the store says to be the oldest commit that can be read.
    fn stated(
        &mut self,
        checker: Checker,
        step: usize,
        oldest: Option<TxnId>,
        latest: TxnId,
    ) -> Result<(), Violation> {
        let since = self.oldest.before(self.replay.timeline.asked(step));
        self.retained.stated(Statement { checker, step, oldest, latest, since })?;
        self.oldest.rise(step, self.retained.oldest());
        Ok(())
    }

    /// Takes in that somebody could read a commit.
    fn see(&mut self, step: usize, id: TxnId) {
        if self.incarnation.is_concurrent {
            self.seen.rise(step, id);
        }
    }

    /// The latest commit that everybody could read who asked for it at `step` or later.
    fn visible_since(&self, step: usize) -> TxnId {
        self.acknowledged.before(step).max(self.seen.before(step))
    }

    fn get(&mut self, step: usize, index: usize, key: &[u8], found: Option<&[u8]>) -> Result<(), Violation> {
        let model = &self.replay.model;
        let open = self.open.get_mut(&index).expect("the timeline has only open transactions read");
        let explains = |at: &TxnId| *at < model.base() || found == value_in(model, &open.own, key, *at);
        if open.snapshots.iter().any(explains) {
            let own = &open.own;
            open.snapshots.retain(|at| *at < model.base() || found == value_in(model, own, key, *at));
            return Ok(());
        }
        Err(self.mismatch(step, index, "get", key, found))
    }

    fn scan(
        &mut self,
        step: usize,
        index: usize,
        scan: &Scan<'_>,
        found: &[(Key, Value)],
    ) -> Result<(), Violation> {
        let label = self.replay.timeline.transactions[index].label;
        if let Some((kind, message)) = scan.malformed(found) {
            return Err(violation(kind, step, format!("the scan of {label} {message}")));
        }
        let model = &self.replay.model;
        let open = self.open.get_mut(&index).expect("the timeline has only open transactions read");
        let explained = |own: &Writes<'h>, at: TxnId| {
            let found = found.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
            at < model.base() || scan.pairs(model, own, at).eq(found)
        };
        let explaining: Vec<TxnId> =
            open.snapshots.iter().copied().filter(|at| explained(&open.own, *at)).collect();
        if !explaining.is_empty() {
            open.snapshots = explaining;
            return Ok(());
        }
        let at = open.snapshots.last().copied().unwrap_or_default();
        let (key, value) = scan.first_difference(scan.pairs(model, &open.own, at), found);
        Err(self.mismatch(step, index, "scan", &key, value.as_deref()))
    }

    fn delete_range(
        &mut self,
        step: usize,
        index: usize,
        range: &KeyRange,
        count: u64,
        keys: &'h [Key],
    ) -> Result<(), Violation> {
        let label = self.replay.timeline.transactions[index].label;
        let model = &self.replay.model;
        let open = self.open.get_mut(&index).expect("the timeline has only open transactions write");
        let scan = Scan { range, limit: usize::MAX, reverse: false };
        let explained = |at: TxnId| {
            let seen = scan.pairs(model, &open.own, at).map(|(key, _)| key);
            at < model.base() || seen.eq(keys.iter().map(Vec::as_slice))
        };
        let explaining: Vec<TxnId> = open.snapshots.iter().copied().filter(|at| explained(*at)).collect();
        if explaining.is_empty() {
            let at = open.snapshots.last().copied().unwrap_or_default();
            let seen: Vec<&[u8]> = scan.pairs(model, &open.own, at).map(|(key, _)| key).collect();
            let found = |key: &[u8]| keys.iter().any(|found| found == key);
            let missing = seen.iter().find(|key| !found(key)).map(|key| BytesText(key));
            let message = match missing {
                Some(key) => format!("{label} removes {range} and does not find {key} there"),
                None => format!("{label} removes {range} and finds a key there that it can not see"),
            };
            return Err(violation("wrong-range", step, message));
        }
        open.snapshots = explaining;
        if count != keys.len() as u64 {
            let message =
                format!("{label} removed {count} pairs from {range}, but sees {} there", keys.len());
            return Err(violation("wrong-count", step, message));
        }
        open.own.extend(keys.iter().map(|key| (key.as_slice(), None)));
        Ok(())
    }

    fn roll_back(
        &mut self,
        step: usize,
        index: usize,
        savepoint: SavepointLabel,
        is_refused: bool,
    ) -> Result<(), Violation> {
        let label = self.replay.timeline.transactions[index].label;
        let open = self.transaction(index);
        if is_refused {
            if !open.savepoints.is_valid(savepoint) {
                return Ok(());
            }
            let message = format!("{label} was told that its savepoint {savepoint} is gone, but it is not");
            return Err(violation("false-no-savepoint", step, message));
        }
        match open.savepoints.roll_back(savepoint) {
            Some(writes) => {
                open.own = writes;
                Ok(())
            }
            None => {
                let message =
                    format!("{label} went back to {savepoint}, which ended with an earlier rollback");
                Err(violation("stale-savepoint", step, message))
            }
        }
    }

    /// From here on the transaction sees the state that was marked, and what it writes from here on.
    fn restore(&mut self, index: usize, mark: MarkLabel) {
        let marked = self.replay.marked(mark);
        let open = self.transaction(index);
        open.snapshots = vec![marked];
        open.own.clear();
        open.savepoints.end();
        open.is_restored = true;
    }

    /// The latest commit that a transaction which begins now may read.
    fn latest(&self) -> TxnId {
        let last = self.replay.placed()[..self.visible].last();
        last.map_or(self.acknowledged.now(), |placed| placed.id.max(self.acknowledged.now()))
    }

    /// The latest commit that a reader which begins now may read.
    fn visible_latest(&self) -> TxnId {
        match self.hidden {
            Some(0) => self.replay.start(),
            Some(hidden) if hidden < self.visible => {
                self.replay.placed()[hidden - 1].id.max(self.acknowledged.now())
            }
            _ => self.latest(),
        }
    }

    fn was_acknowledged(&self, id: TxnId) -> bool {
        self.replay.committer(id).is_some_and(|transaction| transaction.committed_at().is_some())
    }

    fn transaction(&mut self, index: usize) -> &mut Open<'h> {
        self.open.get_mut(&index).expect("the timeline has only open transactions write")
    }

    /// Says what is wrong with a read.
    fn mismatch(&self, step: usize, index: usize, what: &str, key: &[u8], found: Option<&[u8]>) -> Violation {
        let (open, label) = (&self.open[&index], self.replay.timeline.transactions[index].label);
        let at = open.snapshots.last().copied().unwrap_or_default();
        let expected = match open.own.get(key) {
            Some(Some(value)) => format!("{}, its own write", ValueText(value)),
            Some(None) => "none, since it removed the key itself".to_owned(),
            None => self.replay.expected(key, at),
        };
        let snapshots = match open.snapshots.as_slice() {
            [] | [_] => format!("at snapshot {at}"),
            [first, ..] => format!("at any snapshot from {first} to {at}"),
        };
        let key_text = BytesText(key);
        let found_text = self.replay.found(key, found);
        let message = format!(
            "{what} of {key_text} by {label} {snapshots} should find {expected}, but found {found_text}"
        );
        violation(self.kind(open, key, found, at), step, message)
    }

    fn kind(&self, open: &Open<'_>, key: &[u8], found: Option<&[u8]>, at: TxnId) -> &'static str {
        if open.own.contains_key(key) {
            return "own-write-missed";
        }
        let Some(found) = found else { return "missing-value" };
        match self.replay.provenance(found) {
            Provenance::Nobody => "invented-value",
            Provenance::Uncommitted { .. } => "dirty-read",
            Provenance::Start { key: home } | Provenance::Commit { key: home, .. } if home != key => {
                "misplaced-value"
            }
            Provenance::Commit { id, .. } if id > at => "future-read",
            Provenance::Start { .. } | Provenance::Commit { .. } => "stale-read",
        }
    }
}

fn violation(kind: &'static str, step: usize, message: String) -> Violation {
    Violation { checker: Checker::SnapshotIsolation, kind, step, message }
}

#[cfg(test)]
mod tests;
