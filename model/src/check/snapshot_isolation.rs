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
//! - a commit that was only taken in (`ticket`) is read by nobody but writers, until something later is acknowledged;
//! - TxnIds increase: a commit's is greater than every one that was acknowledged before it was asked for, and there is no
//!   gap before it that no commit in doubt fills. A transaction
//!   that wrote nothing takes none; what it reports lies between its snapshot and the latest.
//!
//! A store that does not reveal its snapshots may have any that real time permits. Each read rules out those that do
//! not explain it, and when none is left, that read is the violation.
//!
//! It does NOT object to a write transaction that begins while the commit of another is outstanding. It accepts every refusal to read an old commit if the store neither says nor promises what it
//! retains. It does not look for lost updates by commits in doubt, and it does not look for write skew, which snapshot isolation permits.

use std::collections::BTreeMap;

use super::backup::Backup;
use super::commit_stream::Stream;
use super::replay::{Provenance, Replay};
use super::retained::{Retained, Statement};
use super::savepoints::Savepoints;
use super::scan::{Scan, Writes};
use super::timeline::Incarnation;
use super::{Checker, Violation};
use crate::text::{BytesText, ValueText};
use crate::{
    Denial, Event, FaultClass, Key, KeyRange, MarkLabel, Mode, Mvcc, Refusal, SavepointLabel, TxnId, Value,
};

/// Judges the reads and commits of one incarnation, and returns what the store has said of its past by the end of it.
pub(super) fn check(replay: &Replay<'_, '_>, incarnation: &Incarnation) -> Result<Retained, Violation> {
    let mut judge = Judge::new(replay);
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
    open: BTreeMap<usize, Open<'h>>,
    /// Where a transaction stands among the commits of this incarnation.
    places: BTreeMap<usize, usize>,
    /// Which of these commits have been asked for.
    asked: Vec<bool>,
    /// How many of them, from the first on, have all been asked for.
    visible: usize,
    /// The latest commit that was acknowledged.
    acknowledged: TxnId,
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
    fn new(replay: &'a Replay<'t, 'h>) -> Judge<'a, 't, 'h> {
        let placed = replay.placed();
        Judge {
            replay,
            open: BTreeMap::new(),
            places: placed.iter().enumerate().map(|(place, placed)| (placed.transaction, place)).collect(),
            asked: vec![false; placed.len()],
            visible: 0,
            acknowledged: replay.start(),
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
                return self.stream(step, *from, *oldest)?.read(self.replay, *limit, commits);
            }
            Event::ChangesRefused { from, reason, oldest } => {
                return self.stream(step, *from, *oldest)?.refused(*reason);
            }
            Event::Backup { at, latest, oldest, state } => {
                self.hidden = None;
                let backup = Backup { step, at: *at, latest: *latest, oldest: *oldest, state };
                return backup.check(self.replay, &self.retained, self.acknowledged, self.latest());
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
        let latest = self.visible_latest();
        let checker = Checker::CommitStream;
        self.retained.stated(Statement { checker, step, oldest, latest })?;
        let oldest = oldest.or(self.retained.kept(latest));
        Ok(Stream { step, from, oldest, acknowledged: self.acknowledged, latest })
    }

    fn refused(
        &mut self,
        step: usize,
        mode: Mode,
        reason: Refusal,
        oldest: Option<TxnId>,
    ) -> Result<(), Violation> {
        let latest = self.latest();
        self.retained.stated(Statement { checker: Checker::SnapshotIsolation, step, oldest, latest })?;
        let readable = oldest.or(self.retained.kept(latest)).unwrap_or(latest)..=self.acknowledged;
        // A commit that is under way may exclude others, one that was taken in may not.
        let has_ticket =
            |index: &usize| self.replay.timeline.transactions[*index].ticket.is_some_and(|(at, _)| at < step);
        let excludes = |(index, open): (&usize, &Open<'_>)| open.mode == Mode::Write && !has_ticket(index);
        let no_writer = !self.open.iter().any(excludes);
        match (reason, mode) {
            (Refusal::WriteBusy, Mode::Write) if no_writer => {
                Err(violation("false-busy", step, "no write transaction is open".to_owned()))
            }
            (Refusal::WriteBusy, Mode::Read | Mode::ReadAt(_) | Mode::Optimistic) => {
                let message = "only an exclusive writer waits for another".to_owned();
                Err(violation("false-busy", step, message))
            }
            (Refusal::Poisoned, Mode::Read | Mode::ReadAt(_)) => {
                let message = "reads go on, whatever failed before".to_owned();
                Err(violation("read-refused", step, message))
            }
            (Refusal::SnapshotNotFound, Mode::Read | Mode::Write | Mode::Optimistic) => {
                let message = "the latest state always exists".to_owned();
                Err(violation("false-snapshot-not-found", step, message))
            }
            (Refusal::SnapshotNotFound, Mode::ReadAt(at)) if readable.contains(&at) => {
                let (name, oldest) = (self.replay.commit_name(at), readable.start());
                let message = match at == latest {
                    true => format!("{name} is the latest"),
                    false => format!("{name} is retained, as is every commit from {oldest} on"),
                };
                Err(violation("false-snapshot-not-found", step, message))
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        step: usize,
        index: usize,
        mode: Mode,
        shown: Option<TxnId>,
    ) -> Result<(), Violation> {
        let label = self.replay.timeline.transactions[index].label;
        self.exclusive(step, index, mode)?;
        // A writer may build upon what was taken in, since it can only come after it.
        let high = if mode.writes() { self.latest() } else { self.visible_latest() };
        let low = self.acknowledged;
        let snapshots = match (mode, shown) {
            (Mode::ReadAt(at), _) if at > high => {
                let message = format!("{label} reads as of commit {at}, but the latest is {high}");
                return Err(violation("future-snapshot", step, message));
            }
            (Mode::ReadAt(at), Some(shown)) if at != shown => {
                let message = format!("{label} asked to read as of commit {at}, but reads as of {shown}");
                return Err(violation("wrong-snapshot", step, message));
            }
            (Mode::ReadAt(at), _) => vec![at],
            (_, Some(shown)) if shown < low => {
                let committed = self.replay.commit_name(low);
                let message =
                    format!("{label} reads as of commit {shown}, but {committed} was acknowledged before");
                return Err(violation("stale-snapshot", step, message));
            }
            (_, Some(shown)) if shown > high => {
                let message = format!("{label} reads as of commit {shown}, but the latest is {high}");
                return Err(violation("future-snapshot", step, message));
            }
            (_, Some(shown)) => vec![shown],
            (_, None) => {
                let visible = self.replay.placed()[..self.visible].iter().map(|placed| placed.id);
                std::iter::once(low).chain(visible.filter(|id| *id > low && *id <= high)).collect()
            }
        };
        let (own, savepoints) = (Writes::new(), Savepoints::default());
        let open = Open { mode, snapshots, own, savepoints, is_restored: false, asked: None };
        self.open.insert(index, open);
        Ok(())
    }

    /// Objects to a second writer.
    fn exclusive(&self, step: usize, index: usize, mode: Mode) -> Result<(), Violation> {
        let transactions = &self.replay.timeline.transactions;
        let is_writing = |other: &usize| {
            let other = &transactions[*other];
            other.mode == Mode::Write && other.submit.is_none_or(|(asked, _)| asked > step)
        };
        match self.open.keys().find(|other| is_writing(other)).filter(|_| mode == Mode::Write) {
            Some(other) => {
                let (label, other) = (transactions[index].label, transactions[*other].label);
                let message = format!("{label} was opened to write, but the writer {other} is open");
                Err(violation("second-writer", step, message))
            }
            None => Ok(()),
        }
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

    fn denied(&mut self, step: usize, index: usize, reason: &Denial) -> Result<(), Violation> {
        self.hidden = None;
        let transaction = &self.replay.timeline.transactions[index];
        let open = self.open.remove(&index).expect("the timeline has only open transactions commit");
        let (label, latest) = (transaction.label, self.latest());
        match reason {
            Denial::Conflict { key } => {
                let first = open.snapshots.first().copied().unwrap_or_default();
                let is_newer = |by: TxnId| by > first;
                if !transaction.writes.contains_key(key.as_slice()) {
                    let message = format!("{label} conflicts at {}, which it did not write", BytesText(key));
                    return Err(violation("wrong-conflict", step, message));
                }
                if !self.replay.model.last_writer(key, latest).is_some_and(is_newer) {
                    let key = BytesText(key);
                    let message = format!(
                        "{label} conflicts at {key}, which nobody committed since its snapshot {first}"
                    );
                    return Err(violation("spurious-conflict", step, message));
                }
            }
            Denial::WriteBusy => {
                let was_busy = open.asked == Some(true) || self.open.values().any(Open::excludes);
                if open.mode == Mode::Write || !was_busy {
                    let message = format!("{label} was told of an exclusive writer, and there is none");
                    return Err(violation("false-busy", step, message));
                }
            }
            Denial::OutOfSpace | Denial::Poisoned => {}
        }
        Ok(())
    }

    fn submit(&mut self, index: usize) {
        self.hidden = None;
        let is_busy = self.open.iter().any(|(other, open)| *other != index && open.excludes());
        self.transaction(index).asked = Some(is_busy);
        let Some(place) = self.places.get(&index) else { return };
        self.asked[*place] = true;
        self.visible += self.asked[self.visible..].iter().take_while(|asked| **asked).count();
    }

    fn commit(&mut self, step: usize, index: usize, shown: Option<TxnId>) -> Result<(), Violation> {
        let transaction = &self.replay.timeline.transactions[index];
        let open = self.open.remove(&index).expect("the timeline has only open transactions commit");
        self.hidden = None;
        if let Some((_, Some(promised))) = transaction.ticket
            && shown.is_some_and(|shown| shown != promised)
        {
            let message = format!("{} was committed under another TxnId than {promised}", transaction.label);
            return Err(violation("wrong-commit-id", step, message));
        }
        let Some(place) = self.places.get(&index) else {
            let (low, high) = (open.snapshots[0], self.latest());
            return match shown {
                Some(shown) if shown < low || shown > high => {
                    let label = transaction.label;
                    let range = if low == high { format!("{low}") } else { format!("{low} to {high}") };
                    let message =
                        format!("{label} wrote nothing, but was committed as {shown} instead of {range}");
                    Err(violation("wrong-commit-id", step, message))
                }
                _ => Ok(()),
            };
        };
        if open.mode == Mode::Optimistic && open.asked == Some(true) {
            let message = format!("{} was committed while an exclusive writer was open", transaction.label);
            return Err(violation("second-writer", step, message));
        }
        let id = self.replay.placed()[*place].id;
        let newest = open.snapshots.last().copied().unwrap_or_default();
        let overwrites = !open.is_restored;
        for key in transaction.writes.keys().filter(|_| overwrites) {
            let before = TxnId(id.0.saturating_sub(1));
            let overwritten = self.replay.model.last_writer(key, before).filter(|by| *by > newest);
            let Some(overwritten) = overwritten.filter(|by| self.was_acknowledged(*by)) else { continue };
            let (label, other) = (transaction.label, self.replay.commit_name(overwritten));
            let message = format!(
                "{label} (commit {id}) and {other} were concurrent and both wrote {}: {label} reads as of {newest}",
                BytesText(key)
            );
            return Err(violation("lost-update", step, message));
        }
        self.acknowledged = self.acknowledged.max(id);
        Ok(())
    }

    /// The latest commit that a transaction which begins now may read.
    fn latest(&self) -> TxnId {
        let last = self.replay.placed()[..self.visible].last();
        last.map_or(self.acknowledged, |placed| placed.id.max(self.acknowledged))
    }

    /// The latest commit that a reader which begins now may read.
    fn visible_latest(&self) -> TxnId {
        match self.hidden {
            Some(0) => self.replay.start(),
            Some(hidden) if hidden < self.visible => {
                self.replay.placed()[hidden - 1].id.max(self.acknowledged)
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

/// What a transaction with these writes reads at `key`.
fn value_in<'m>(model: &'m Mvcc, own: &Writes<'m>, key: &[u8], at: TxnId) -> Option<&'m [u8]> {
    match own.get(key) {
        Some(written) => *written,
        None => model.get(key, at).map(Vec::as_slice),
    }
}

fn violation(kind: &'static str, step: usize, message: String) -> Violation {
    Violation { checker: Checker::SnapshotIsolation, kind, step, message }
}

#[cfg(test)]
mod tests;
