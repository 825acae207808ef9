//! How transactions begin, or why they don't.

use super::{Judge, Open, violation};
use crate::check::savepoints::Savepoints;
use crate::check::scan::Writes;
use crate::check::{Checker, Violation};
use crate::{Mode, Refusal, TxnId};

impl Judge<'_, '_, '_> {
    pub(super) fn refused(
        &mut self,
        step: usize,
        mode: Mode,
        reason: Refusal,
        oldest: Option<TxnId>,
    ) -> Result<(), Violation> {
        let (asked, latest) = (self.replay.timeline.asked(step), self.latest());
        self.stated(Checker::SnapshotIsolation, step, oldest, latest)?;
        let readable = oldest.or(self.retained.kept(latest)).unwrap_or(latest)..=self.visible_since(asked);
        let no_writer = !self.replay.timeline.may_have_writer(self.incarnation, asked, step);
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

    pub(super) fn begin(
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
        let asked = self.replay.timeline.asked(step);
        let low = self.visible_since(asked);
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
                let since = if low > self.acknowledged.before(asked) { "read" } else { "acknowledged" };
                let message =
                    format!("{label} reads as of commit {shown}, but {committed} was {since} before");
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
        if let [seen] = snapshots[..]
            && mode != Mode::Write
        {
            self.see(step, seen);
        }
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
            other.mode == Mode::Write && step < other.excludes_until()
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
}
