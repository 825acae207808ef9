//! How transactions end: what is committed, and what is not.

use super::{Judge, Open, violation};
use crate::check::Violation;
use crate::check::timeline::Transaction;
use crate::text::BytesText;
use crate::{Denial, Mode, TxnId};

impl Judge<'_, '_, '_> {
    pub(super) fn denied(&mut self, step: usize, index: usize, reason: &Denial) -> Result<(), Violation> {
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
                let asked = transaction.submit.map_or(step, |(asked, _)| asked);
                let was_busy = match self.incarnation.is_concurrent {
                    true => self.replay.timeline.may_have_writer(self.incarnation, asked, step),
                    false => open.asked == Some(true) || self.open.values().any(Open::excludes),
                };
                if open.mode == Mode::Write || !was_busy {
                    let message = format!("{label} was told of an exclusive writer, and there is none");
                    return Err(violation("false-busy", step, message));
                }
            }
            Denial::OutOfSpace | Denial::Poisoned => {}
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, index: usize) {
        self.hidden = None;
        let is_busy = self.open.iter().any(|(other, open)| *other != index && open.excludes());
        self.transaction(index).asked = Some(is_busy);
        let Some(place) = self.places.get(&index) else { return };
        self.asked[*place] = true;
        self.visible += self.asked[self.visible..].iter().take_while(|asked| **asked).count();
    }

    pub(super) fn commit(
        &mut self,
        step: usize,
        index: usize,
        shown: Option<TxnId>,
    ) -> Result<(), Violation> {
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
        if open.mode == Mode::Optimistic && self.was_excluded(step, transaction, open.asked) {
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
        self.acknowledged.rise(step, id);
        Ok(())
    }

    /// Whether an exclusive writer was open when this commit got its place, whenever that was.
    fn was_excluded(&self, step: usize, transaction: &Transaction<'_>, asked: Option<bool>) -> bool {
        if !self.incarnation.is_concurrent {
            return asked == Some(true);
        }
        let Some((submitted, _)) = transaction.submit else { return false };
        let answered = transaction.ticket.map_or(step, |(taken_in, _)| taken_in);
        self.replay.timeline.writer_throughout(self.incarnation, submitted, answered).is_some()
    }
}
