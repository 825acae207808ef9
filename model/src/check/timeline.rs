//! The shape of a history: its transactions, and the incarnations of the store that they ran in.
//!
//! It verifies that the history can be judged at all, and reports `malformed-history` if it can't: a label that is used
//! twice, an event of a transaction that is not open (never begun, already over, or from before the store was opened
//! again), an operation after the commit or the end was asked for, an answer to something else than what was asked for,
//! a write in a read transaction, an event on a store that is not open, a value that was written twice, a lie that is made
//! good and was never told, TxnIds that are revealed by some commits and not by others. Such a history is a defect of its
//! recorder.
//!
//! It does NOT look at what the store answered; that is for the checkers. It says when each answer was asked for: in the
//! moment of the answer, or where clients run at the same time, at the step that says so.
//!
//! An *incarnation* lasts from one opening to the next, and its transactions do not outlive it. A history that does not
//! start with an opening starts on an empty, open store.

mod calls;
mod reader;

use std::collections::BTreeMap;

use self::reader::Reader;
use super::savepoints::Savepoints;
use super::scan::Writes;
use super::{Checker, Violation};
use crate::{ClientId, Durability, Event, History, MarkLabel, Mode, Mutation, TxnId, TxnLabel};

/// A history that makes sense, with what the checkers want to know of it.
#[derive(Debug)]
pub(super) struct Timeline<'h> {
    pub(super) history: &'h History,
    /// In the order in which they began.
    pub(super) transactions: Vec<Transaction<'h>>,
    /// At least one.
    pub(super) incarnations: Vec<Incarnation>,
    /// Which transaction set each mark.
    pub(super) marks: BTreeMap<MarkLabel, usize>,
    /// For each event, the index of its transaction.
    transaction_of: Vec<Option<usize>>,
    /// For each event, the step at which what it answers was asked for.
    asked_at: Vec<usize>,
}

/// One transaction, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Transaction<'h> {
    pub(super) label: TxnLabel,
    client: ClientId,
    pub(super) mode: Mode,
    /// The step at which it was asked for.
    asked: usize,
    /// The step at which it began.
    pub(super) begin: usize,
    /// The step at which its end without a commit was asked for, if in an event of its own.
    ending: Option<usize>,
    /// The step at which it was known to be over.
    ended: Option<usize>,
    pub(super) submit: Option<(usize, Durability)>,
    /// The step at which the store took the commit in without acknowledging it, and the TxnId that it revealed.
    pub(super) ticket: Option<(usize, Option<TxnId>)>,
    pub(super) outcome: Outcome,
    /// The steps of its reads and writes, in order.
    pub(super) operations: Vec<usize>,
    /// What it leaves behind for each key that it wrote.
    pub(super) writes: Writes<'h>,
    /// The mark that it took the store back to, before it wrote these.
    pub(super) restored: Option<MarkLabel>,
    savepoints: Savepoints<'h>,
}

/// How a transaction ended, and at which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not at all. If its commit had been asked for, nobody knows whether it happened.
    Unknown,
    Committed {
        step: usize,
        id: Option<TxnId>,
    },
    Aborted,
}

/// The steps from one opening of the store to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incarnation {
    /// The step of its opening, or 0.
    pub(super) first: usize,
    /// The step of the next opening, or the end of the history.
    pub(super) end: usize,
    /// The step at which its process ended without closing it.
    pub(super) crash: Option<usize>,
    /// Whether the power failed, then or before the next opening.
    pub(super) lost_power: bool,
    /// The transactions that wrote and may have committed, in the order in which they asked for it.
    pub(super) submitted: Vec<usize>,
    /// Whether clients ran at the same time: whether anything was asked for in an event of its own.
    pub(super) is_concurrent: bool,
    /// The exclusive writers.
    writers: Vec<usize>,
    /// From when to when there may have been one besides, that was asked for and never heard of.
    unheard_writers: Vec<(usize, usize)>,
}

impl<'h> Timeline<'h> {
    /// Reads `history`, or says why it can't be judged.
    pub(super) fn new(history: &'h History) -> Result<Timeline<'h>, Violation> {
        let mut reader = Reader::new(history);
        for (step, event) in history.events.iter().enumerate() {
            let transaction = reader.read(step, event).map_err(|message| malformed(step, event, &message))?;
            reader.timeline.transaction_of.push(transaction);
            let asked = reader.asked.take().unwrap_or(step);
            reader.timeline.asked_at.push(asked);
        }
        Ok(reader.finish())
    }

    /// The index of the transaction to which the event at `step` belongs.
    pub(super) fn transaction_of(&self, step: usize) -> Option<usize> {
        self.transaction_of[step]
    }

    /// The step at which that was asked for which the event at `step` answers.
    pub(super) fn asked(&self, step: usize) -> usize {
        self.asked_at[step]
    }

    /// Whether there may have been an exclusive writer at any moment from one step to another.
    pub(super) fn may_have_writer(&self, incarnation: &Incarnation, from: usize, until: usize) -> bool {
        let possible = incarnation.writers.iter().map(|writer| self.transactions[*writer].may_exclude());
        let mut possible = possible.chain(incarnation.unheard_writers.iter().copied());
        possible.any(|(first, last)| first < until && from < last)
    }

    /// An exclusive writer that was open all the time from one step to another.
    pub(super) fn writer_throughout(
        &self,
        incarnation: &Incarnation,
        from: usize,
        until: usize,
    ) -> Option<&Transaction<'h>> {
        let mut writers = incarnation.writers.iter().map(|writer| &self.transactions[*writer]);
        writers.find(|writer| writer.begin < from && until < writer.excludes_until())
    }

    /// What a transaction changes, for the model.
    pub(super) fn mutations(&self, transaction: usize) -> Vec<Mutation> {
        let writes = &self.transactions[transaction].writes;
        let mutation = |(key, value): (&&[u8], &Option<&[u8]>)| Mutation {
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        writes.iter().map(mutation).collect()
    }
}

impl Transaction<'_> {
    /// Whether it changes anything, as far as it got.
    pub(super) fn has_changes(&self) -> bool {
        !self.writes.is_empty() || self.restored.is_some()
    }

    /// The step up to which an exclusive writer that has begun keeps others out, whatever was answered later.
    pub(super) fn excludes_until(&self) -> usize {
        let submit = self.submit.map(|(step, _)| step);
        [submit, self.ending, self.ended].into_iter().flatten().min().unwrap_or(usize::MAX)
    }

    /// The steps between which an exclusive writer may keep others out. One that was taken in doesn't any more.
    fn may_exclude(&self) -> (usize, usize) {
        let ticket = self.ticket.map(|(step, _)| step);
        let released = [ticket, self.ended].into_iter().flatten().min();
        (self.asked, released.unwrap_or(usize::MAX))
    }

    /// Whether its client may still read and write in it, while it is open.
    fn is_at_work(&self) -> bool {
        self.submit.is_none() && self.ending.is_none()
    }

    /// The step at which it was acknowledged as committed.
    pub(super) fn committed_at(&self) -> Option<usize> {
        match self.outcome {
            Outcome::Committed { step, .. } => Some(step),
            Outcome::Unknown | Outcome::Aborted => None,
        }
    }

    /// The TxnId that the store revealed for its commit, and at which step it did so first.
    pub(super) fn revealed(&self) -> Option<(usize, TxnId)> {
        match (self.ticket, self.outcome) {
            (_, Outcome::Aborted) => None,
            (Some((step, Some(id))), _) | (_, Outcome::Committed { step, id: Some(id) }) => Some((step, id)),
            _ => None,
        }
    }
}

impl Incarnation {
    fn new(first: usize) -> Incarnation {
        Incarnation {
            first,
            end: first,
            crash: None,
            lost_power: false,
            submitted: Vec::new(),
            is_concurrent: false,
            writers: Vec::new(),
            unheard_writers: Vec::new(),
        }
    }
}

fn malformed(step: usize, event: &Event, message: &str) -> Violation {
    Violation {
        checker: Checker::Timeline,
        kind: "malformed-history",
        step,
        message: format!("{message} (event: {event})"),
    }
}

#[cfg(test)]
mod tests;
