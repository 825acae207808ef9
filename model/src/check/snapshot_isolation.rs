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
mod tests {
    use crate::Checker::SnapshotIsolation;
    use crate::check::testing::{assert_accepted, assert_violation};

    /// Two commits, and a transaction that began between them and is still open.
    const START: &str = r#"
        begin t1 c0 write snapshot=0
        put t1 "a" #1*8
        put t1 "b" #2*8
        submit t1 sync
        committed t1 id=1
        begin t2 c1 read snapshot=1
        begin t3 c0 write snapshot=1
        put t3 "a" #3*8
        delete t3 "b"
        put t3 "c" #4*8
        submit t3 buffered
        committed t3 id=2
    "#;
    const NEXT: usize = 12;

    fn good(text: &str) {
        assert_accepted(&format!("{START}{text}"));
    }

    fn bad(text: &str, kind: &str, step: usize) -> String {
        assert_violation(&format!("{START}{text}"), SnapshotIsolation, kind, NEXT + step)
    }

    /// A store that reveals nothing, with one commit acknowledged and one outstanding when `t3` begins.
    fn hidden(text: &str) -> String {
        let start = r#"
            begin t1 c0 write
            put t1 "a" #1*8
            put t1 "b" #2*8
            submit t1 sync
            committed t1
            begin t2 c0 write
            put t2 "a" #3*8
            put t2 "b" #4*8
            submit t2 sync
            begin t3 c1 read
        "#;
        format!("{start}{text}")
    }

    #[test]
    fn reads_see_their_snapshot() {
        good(r#"get t2 "a" -> #1*8"#);
        good(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "b"=#2*8"#);
        good(
            "begin t4 c0 read snapshot=2\nget t4 \"b\" -> none\nscan t4 (-inf .. +inf) reverse -> \"c\"=#4*8 \"a\"=#3*8",
        );
        good("begin t4 c0 read@1\nget t4 \"a\" -> #1*8\nscan t4 [\"b\" .. +inf) limit=1 -> \"b\"=#2*8");
        good("begin t4 c0 read@0 snapshot=0\nscan t4 (-inf .. +inf) -> none");
    }

    #[test]
    fn transactions_see_their_own_writes() {
        good(
            r#"begin t4 c0 write snapshot=2
               put t4 "b" #5*8
               delete t4 "a"
               get t4 "a" -> none
               get t4 "b" -> #5*8
               scan t4 (-inf .. +inf) limit=2 -> "b"=#5*8 "c"=#4*8
               put t4 "b" #6*8
               get t4 "b" -> #6*8
               aborted t4
               begin t5 c0 read snapshot=2
               get t5 "b" -> none"#,
        );
        let own = "begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\n";
        let message = bad(&format!("{own} get t4 \"a\" -> #3*8"), "own-write-missed", 2);
        assert!(message.contains("should find #5*8, its own write, but found #3*8"), "{message}");
        bad(&format!("{own} delete t4 \"a\"\n get t4 \"a\" -> #5*8"), "own-write-missed", 3);
        bad(&format!("{own} scan t4 (-inf .. +inf) -> \"c\"=#4*8"), "own-write-missed", 2);
    }

    #[test]
    fn wrong_reads_are_told_apart() {
        let message = bad(r#"get t2 "a" -> #3*8"#, "future-read", 0);
        assert_eq!(
            message,
            "get of \"a\" by t2 at snapshot 1 should find #1*8, the value of commit 1 (t1), \
             but found #3*8, the value of commit 2 (t3)"
        );
        bad("get t2 \"a\" -> none", "missing-value", 0);
        bad("get t2 \"a\" -> #9*8", "invented-value", 0);
        bad("begin t4 c0 read snapshot=2\nget t4 \"a\" -> #1*8", "stale-read", 1);
        bad("begin t4 c0 read snapshot=2\nget t4 \"b\" -> #2*8", "stale-read", 1);
        let message = bad("get t2 \"a\" -> #2*8", "misplaced-value", 0);
        assert!(message.contains("#2*8, the value that commit 1 (t1) gave to \"b\""), "{message}");
        bad("begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\nget t2 \"a\" -> #5*8", "dirty-read", 2);
        bad("begin t4 c0 write\nput t4 \"a\" #5*8\naborted t4\nget t2 \"a\" -> #5*8", "dirty-read", 3);
    }

    #[test]
    fn scans_are_complete_ordered_and_bounded() {
        bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8"#, "missing-value", 0);
        bad(r#"scan t2 (-inf .. +inf) -> "b"=#2*8"#, "missing-value", 0);
        bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "b"=#2*8 "c"=#4*8"#, "future-read", 0);
        bad(r#"scan t2 (-inf .. +inf) reverse -> "a"=#1*8 "b"=#2*8"#, "scan-out-of-order", 0);
        bad(r#"scan t2 (-inf .. +inf) -> "b"=#2*8 "a"=#1*8"#, "scan-out-of-order", 0);
        bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "a"=#1*8"#, "scan-out-of-order", 0);
        bad(r#"scan t2 (-inf .. +inf) limit=1 -> "a"=#1*8 "b"=#2*8"#, "scan-over-limit", 0);
        bad(r#"scan t2 (-inf .. +inf) limit=1 reverse -> "a"=#1*8"#, "missing-value", 0);
        bad(r#"scan t2 ["a" .. "b") -> "a"=#1*8 "b"=#2*8"#, "scan-out-of-range", 0);
    }

    #[test]
    fn snapshots_follow_real_time() {
        let message = bad("begin t4 c0 read snapshot=1", "stale-snapshot", 0);
        assert_eq!(message, "t4 reads as of commit 1, but commit 2 (t3) was acknowledged before");
        bad("begin t4 c0 write snapshot=1", "stale-snapshot", 0);
        bad("begin t4 c0 read snapshot=3", "future-snapshot", 0);
        bad("begin t4 c0 read@3", "future-snapshot", 0);
        bad("begin t4 c0 read@1 snapshot=2", "wrong-snapshot", 0);
        let outstanding = "begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\nsubmit t4 sync\n";
        good(&format!("{outstanding} begin t5 c1 read snapshot=2\n get t5 \"a\" -> #3*8"));
        good(&format!("{outstanding} begin t5 c1 read snapshot=3\n get t5 \"a\" -> #5*8"));
        good(&format!("{outstanding} begin t5 c1 read@3\n get t5 \"a\" -> #5*8"));
        bad(&format!("{outstanding} begin t5 c1 read snapshot=4"), "future-snapshot", 3);
        bad(&format!("{outstanding} committed t4 id=3\n begin t5 c1 read snapshot=2"), "stale-snapshot", 4);
    }

    #[test]
    fn hidden_snapshots_are_narrowed_by_reads() {
        assert_accepted(&hidden("get t3 \"a\" -> #1*8\nget t3 \"b\" -> #2*8"));
        assert_accepted(&hidden(
            "get t3 \"a\" -> #3*8\nscan t3 (-inf .. +inf) -> \"a\"=#3*8 \"b\"=#4*8\ncommitted t2",
        ));
        assert_accepted(&hidden("get t3 \"c\" -> none\nget t3 \"b\" -> #2*8"));
        let torn = hidden("get t3 \"a\" -> #1*8\nget t3 \"b\" -> #4*8");
        let message = assert_violation(&torn, SnapshotIsolation, "future-read", 11);
        assert!(message.contains("at snapshot 1 should find #2*8"), "{message}");
        let torn = hidden("get t3 \"a\" -> #3*8\nscan t3 [\"b\" .. +inf) -> \"b\"=#2*8");
        assert_violation(&torn, SnapshotIsolation, "stale-read", 11);
        let neither = hidden("get t3 \"a\" -> none");
        let message = assert_violation(&neither, SnapshotIsolation, "missing-value", 10);
        assert!(message.contains("at any snapshot from 1 to 2"), "{message}");
    }

    #[test]
    fn a_hidden_commit_that_was_acknowledged_must_be_seen() {
        let after = |read: &str| hidden(&format!("committed t2\nbegin t4 c1 read\nget t4 \"a\" -> {read}"));
        assert_accepted(&after("#3*8"));
        assert_violation(&after("#1*8"), SnapshotIsolation, "stale-read", 12);
    }

    #[test]
    fn the_later_writer_of_a_key_has_read_the_earlier() {
        let concurrent = |key: &str| {
            format!(
                r#"begin t4 c0 write snapshot=2
                   put t4 "a" #5*8
                   submit t4 sync
                   begin t5 c1 write snapshot=2
                   get t5 "a" -> #3*8
                   put t5 {key} #6*8
                   committed t4 id=3
                   submit t5 sync
                   committed t5 id=4"#
            )
        };
        good(&concurrent("\"z\""));
        let message = bad(&concurrent("\"a\""), "lost-update", 8);
        assert!(
            message.contains("t5 (commit 4) and commit 3 (t4)") && message.contains("\"a\""),
            "{message}"
        );
        good(&concurrent("\"a\"").replace("committed t5 id=4", "aborted t5"));
        let hidden = format!("{START}{}", concurrent("\"a\""));
        let hidden: String = hidden
            .split_inclusive('\n')
            .map(|line| {
                let kept = line.split(" id=").next().and_then(|line| line.split(" snapshot=").next());
                kept.unwrap_or_default().trim_end().to_owned() + "\n"
            })
            .collect();
        assert_violation(&hidden, SnapshotIsolation, "lost-update", NEXT + 8);
    }

    #[test]
    fn refusals_have_reasons() {
        good("begin t4 c0 write\nrefused c1 write write-busy");
        good("begin t4 c0 write\nsubmit t4 sync\nrefused c1 write write-busy");
        good("refused c1 read@0 snapshot-not-found\nrefused c1 read@3 snapshot-not-found");
        bad("refused c1 write write-busy", "false-busy", 0);
        bad("begin t4 c0 write\naborted t4\nrefused c1 write write-busy", "false-busy", 2);
        bad("begin t4 c0 write\nrefused c1 read write-busy", "false-busy", 1);
        bad("refused c1 read@2 snapshot-not-found", "false-snapshot-not-found", 0);
        bad("refused c1 read snapshot-not-found", "false-snapshot-not-found", 0);
        let outstanding = "begin t4 c0 write\nput t4 \"a\" #5*8\nsubmit t4 sync\n";
        good(&format!("{outstanding} refused c1 read@3 snapshot-not-found"));
        good(&format!("{outstanding} refused c1 read@3 snapshot-not-found oldest=0"));
        let crashed =
            "begin t4 c0 write\ncrash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\nrefused c1 write write-busy";
        bad(crashed, "false-busy", 3);
    }

    #[test]
    fn what_is_retained_is_not_refused() {
        good("refused c1 read@0 snapshot-not-found oldest=1\nrefused c1 read@3 snapshot-not-found oldest=1");
        let message = bad("refused c1 read@1 snapshot-not-found oldest=1", "false-snapshot-not-found", 0);
        assert_eq!(message, "commit 1 (t1) is retained, as is every commit from 1 on");
        bad("refused c1 read@0 snapshot-not-found oldest=0", "false-snapshot-not-found", 0);
        bad("refused c1 read@2 snapshot-not-found oldest=1", "false-snapshot-not-found", 0);
        let promised = |at: u64| {
            format!("opened latest=7 retention=txns:1 -> none\nrefused c1 read@{at} snapshot-not-found")
        };
        assert_accepted(&promised(5));
        assert_accepted(&promised(8));
        assert_violation(&promised(6), SnapshotIsolation, "false-snapshot-not-found", 1);
    }

    #[test]
    fn txn_ids_increase() {
        let commit =
            |id: u64| format!("begin t4 c0 write\nput t4 \"z\" #5*8\nsubmit t4 sync\ncommitted t4 id={id}\n");
        good(&commit(3));
        let message = bad(&commit(2), "commit-out-of-order", 3);
        assert_eq!(message, "t4 was committed as 2, but commit 2 was there before");
        bad(&commit(1), "commit-out-of-order", 3);
        bad(&("get t2 \"a\" -> none\n".to_owned() + &commit(2)), "missing-value", 0);
        good("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=2");
        good("submit t2 sync\ncommitted t2 id=1");
        bad("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=3", "wrong-commit-id", 2);
        bad("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=1", "wrong-commit-id", 2);
    }

    #[test]
    fn txn_ids_leave_no_gaps() {
        let commit = |label: u32, id: &str| {
            format!("begin t{label} c0 write\ndelete t{label} \"z\"\nsubmit t{label} sync\n{id}\n")
        };
        let message = bad(&commit(4, "committed t4 id=4"), "id-gap", 3);
        assert_eq!(message, "t4 was committed as 4, but the commit before it is 2");
        bad(&(commit(4, "committed t4 id=3") + &commit(5, "committed t5 id=9")), "id-gap", 7);
        good(&(commit(4, "") + &commit(5, "committed t5 id=4")));
        good(&(commit(4, "") + &commit(5, "") + &commit(6, "committed t6 id=3\ncommitted t5 id=5")));
        bad(&(commit(4, "") + &commit(5, "committed t5 id=5")), "id-gap", 6);
        bad(&(commit(4, "aborted t4") + &commit(5, "committed t5 id=4")), "id-gap", 7);
        bad(&(commit(5, "committed t5 id=4") + &commit(4, "")), "id-gap", 3);
        bad(&(commit(5, "committed t5 id=4") + &commit(4, "committed t4 id=3")), "id-gap", 3);
        let lost = "crash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\n";
        good(&(commit(4, "") + lost + &commit(5, "committed t5 id=3")));
        bad(&(commit(4, "") + lost + &commit(5, "committed t5 id=4")), "id-gap", 8);
    }

    #[test]
    fn there_is_one_writer_at_a_time() {
        good("begin t4 c0 write\naborted t4\nbegin t5 c1 write");
        good("begin t4 c0 write\nsubmit t4 sync\nbegin t5 c1 write");
        good("begin t4 c0 write\nbegin t5 c1 read\nbegin t6 c2 read@1");
        good("begin t4 c0 write\ncrash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\nbegin t5 c1 write");
        let message = bad("begin t4 c0 write\nbegin t5 c1 write\nsubmit t4 sync", "second-writer", 1);
        assert_eq!(message, "t5 was opened to write, but the writer t4 is open");
    }

    #[test]
    fn overlapping_commits_may_be_acknowledged_in_any_order() {
        let pipelined = |first: &str, second: &str| {
            format!(
                r#"begin t4 c0 write
                   put t4 "x" #5*8
                   submit t4 sync
                   begin t5 c1 write
                   put t5 "y" #6*8
                   submit t5 sync
                   {first}
                   begin t6 c2 read
                   get t6 "x" -> #5*8
                   {second}"#
            )
        };
        good(&pipelined("committed t5 id=4", "committed t4 id=3"));
        good(&pipelined("committed t4 id=3", "committed t5 id=4"));
        good(&pipelined("committed t5 id=4", ""));
        bad(&pipelined("committed t5 id=3", "committed t4 id=3"), "commit-out-of-order", 9);
    }
}
