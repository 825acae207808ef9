//! Snapshot isolation: what transactions read, and which of them may commit.
//!
//! It verifies, for one incarnation of the store:
//! - every get and scan equals the model at the transaction's snapshot, overlaid with the transaction's own earlier
//!   writes; scans are complete, in order, within their range and their limit;
//! - snapshots follow real time: a transaction reads at least every commit that was acknowledged before it began, and
//!   nothing that was not asked for by then; one that reads as of a commit reads exactly that one;
//! - of two transactions that wrote one key and both committed, the later read the earlier's commit (`lost-update`);
//! - a refusal has its reason: `write-busy` only while a write transaction is open, `snapshot-not-found` never for the
//!   present nor for a commit that the store retains or promised to retain (see [`Retained`]), and never no refusal for
//!   the future;
//! - write transactions exclude each other: none begins while another has neither ended nor asked for its commit;
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

use super::replay::{Provenance, Replay};
use super::retained::{Retained, Statement};
use super::scan::{Scan, Writes};
use super::timeline::Incarnation;
use super::{Checker, Violation};
use crate::text::{BytesText, ValueText};
use crate::{Event, Key, Mode, Mvcc, Refusal, TxnId, Value};

/// Judges the reads and commits of one incarnation, and returns what the store has said of its past by the end of it.
pub(super) fn check(replay: &Replay<'_, '_>, incarnation: &Incarnation) -> Result<Retained, Violation> {
    let mut judge = Judge::new(replay);
    for step in incarnation.first..incarnation.end.min(replay.horizon) {
        judge.judge(step, &replay.timeline.history.events[step])?;
    }
    Ok(judge.retained)
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
    retained: Retained,
}

/// A transaction that is open.
struct Open<'h> {
    mode: Mode,
    /// The snapshots that explain everything it read: at least one, oldest first.
    snapshots: Vec<TxnId>,
    own: Writes<'h>,
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
            retained: replay.retained,
        }
    }

    fn judge(&mut self, step: usize, event: &'h Event) -> Result<(), Violation> {
        if let Event::Refused { mode, reason, oldest, .. } = event {
            return self.refused(step, *mode, *reason, *oldest);
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
            Event::Submit { .. } => self.submit(index),
            Event::Committed { id, .. } => self.commit(step, index, *id)?,
            Event::Aborted { .. } => {
                self.open.remove(&index);
            }
            Event::Refused { .. }
            | Event::Durable
            | Event::Crash
            | Event::Opened { .. }
            | Event::Failed { .. } => {}
        }
        Ok(())
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
        let no_writer = self.open.values().all(|open| open.mode != Mode::Write);
        match (reason, mode) {
            (Refusal::WriteBusy, Mode::Write) if no_writer => {
                Err(violation("false-busy", step, "no write transaction is open".to_owned()))
            }
            (Refusal::WriteBusy, Mode::Read | Mode::ReadAt(_)) => {
                Err(violation("false-busy", step, "a read excludes nobody and waits for nobody".to_owned()))
            }
            (Refusal::SnapshotNotFound, Mode::Read | Mode::Write) => {
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
        let (low, high) = (self.acknowledged, self.latest());
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
            (Mode::Read | Mode::Write, Some(shown)) if shown < low => {
                let committed = self.replay.commit_name(low);
                let message =
                    format!("{label} reads as of commit {shown}, but {committed} was acknowledged before");
                return Err(violation("stale-snapshot", step, message));
            }
            (Mode::Read | Mode::Write, Some(shown)) if shown > high => {
                let message = format!("{label} reads as of commit {shown}, but the latest is {high}");
                return Err(violation("future-snapshot", step, message));
            }
            (Mode::Read | Mode::Write, Some(shown)) => vec![shown],
            (Mode::Read | Mode::Write, None) => {
                let visible = self.replay.placed()[..self.visible].iter().map(|placed| placed.id);
                std::iter::once(low).chain(visible.filter(|id| *id > low)).collect()
            }
        };
        self.open.insert(index, Open { mode, snapshots, own: Writes::new() });
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

    fn submit(&mut self, index: usize) {
        let Some(place) = self.places.get(&index) else { return };
        self.asked[*place] = true;
        self.visible += self.asked[self.visible..].iter().take_while(|asked| **asked).count();
    }

    fn commit(&mut self, step: usize, index: usize, shown: Option<TxnId>) -> Result<(), Violation> {
        let transaction = &self.replay.timeline.transactions[index];
        let open = self.open.remove(&index).expect("the timeline has only open transactions commit");
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
        let id = self.replay.placed()[*place].id;
        let newest = open.snapshots.last().copied().unwrap_or_default();
        for key in transaction.writes.keys() {
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
