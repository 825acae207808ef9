//! The shape of a history: its transactions, and the incarnations of the store that they ran in.
//!
//! It verifies that the history can be judged at all, and reports `malformed-history` if it can't: a label that is used
//! twice, an event of a transaction that is not open (never begun, already over, or from before the store was opened
//! again), an operation after the commit was asked for, a write in a read transaction, an event on a store that is not
//! open, a value that was written twice, a lie that is made good and was never told, TxnIds that are revealed by some commits and not by others. Such a history is a
//! defect of its recorder.
//!
//! It does NOT look at what the store answered; that is for the checkers.
//!
//! An *incarnation* lasts from one opening to the next, and its transactions do not outlive it. A history that does not
//! start with an opening starts on an empty, open store.

use std::collections::{BTreeMap, BTreeSet};

use super::savepoints::Savepoints;
use super::scan::Writes;
use super::{Checker, Violation};
use crate::{
    Durability, Event, FaultClass, History, Key, MarkLabel, Mode, Mutation, SavepointLabel, TxnId, TxnLabel,
};

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
}

/// One transaction, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Transaction<'h> {
    pub(super) label: TxnLabel,
    pub(super) mode: Mode,
    /// The step at which it began.
    pub(super) begin: usize,
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
}

impl<'h> Timeline<'h> {
    /// Reads `history`, or says why it can't be judged.
    pub(super) fn new(history: &'h History) -> Result<Timeline<'h>, Violation> {
        let mut reader = Reader::new(history);
        for (step, event) in history.events.iter().enumerate() {
            let transaction = reader.read(step, event).map_err(|message| malformed(step, event, &message))?;
            reader.timeline.transaction_of.push(transaction);
        }
        Ok(reader.finish())
    }

    /// The index of the transaction to which the event at `step` belongs.
    pub(super) fn transaction_of(&self, step: usize) -> Option<usize> {
        self.transaction_of[step]
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
        Incarnation { first, end: first, crash: None, lost_power: false, submitted: Vec::new() }
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

/// Takes one event after the other and keeps what the next ones are held to.
struct Reader<'h> {
    timeline: Timeline<'h>,
    by_label: BTreeMap<TxnLabel, usize>,
    /// The transactions that may still go on.
    open: BTreeSet<usize>,
    written: BTreeSet<&'h [u8]>,
    is_open: bool,
    is_lied_to: bool,
    /// Whether commits reveal their TxnIds, once one has shown it.
    reveals: Option<bool>,
}

impl<'h> Reader<'h> {
    fn new(history: &'h History) -> Reader<'h> {
        let first = Incarnation::new(0);
        Reader {
            timeline: Timeline {
                history,
                transactions: Vec::new(),
                incarnations: vec![first],
                marks: BTreeMap::new(),
                transaction_of: Vec::with_capacity(history.events.len()),
            },
            by_label: BTreeMap::new(),
            open: BTreeSet::new(),
            written: BTreeSet::new(),
            is_open: true,
            is_lied_to: false,
            reveals: None,
        }
    }

    /// Takes one event and returns the index of its transaction.
    fn read(&mut self, step: usize, event: &'h Event) -> Result<Option<usize>, String> {
        match event {
            Event::Begin { txn, mode, .. } => self.begin(step, *txn, *mode).map(Some),
            Event::Get { txn, .. } | Event::Scan { txn, .. } => self.operate(step, *txn).map(Some),
            Event::Put { txn, key, value } => self.write(step, *txn, key, Some(value)).map(Some),
            Event::Delete { txn, key } => self.write(step, *txn, key, None).map(Some),
            Event::DeleteRange { txn, keys, .. } => self.delete_range(step, *txn, keys).map(Some),
            Event::Savepoint { txn, savepoint } => self.savepoint(step, *txn, *savepoint).map(Some),
            Event::Rollback { txn, savepoint, is_refused } => {
                self.roll_back(step, *txn, *savepoint, *is_refused).map(Some)
            }
            Event::Mark { txn, mark, .. } => self.mark(*txn, *mark).map(Some),
            Event::Restore { txn, mark, is_refused } => {
                self.restore(step, *txn, *mark, *is_refused).map(Some)
            }
            Event::Forget { txn, mark, .. } => self.about_mark(*txn, *mark).map(Some),
            Event::Ticket { txn, id } => self.ticket(step, *txn, *id).map(Some),
            Event::Submit { txn, durability } => self.submit(step, *txn, *durability).map(Some),
            Event::Committed { txn, id } => self.commit(step, *txn, *id).map(Some),
            Event::Aborted { txn } | Event::Denied { txn, .. } => {
                let index = self.running(*txn)?;
                self.end(index, Outcome::Aborted);
                Ok(Some(index))
            }
            Event::Asked { .. }
            | Event::Refused { .. }
            | Event::Durable
            | Event::Changes { .. }
            | Event::ChangesRefused { .. }
            | Event::Backup { .. } => self.require_open().map(|()| None),
            Event::Crash { is_power_loss } => {
                self.is_open = false;
                self.open.clear();
                let incarnation = self.incarnation();
                incarnation.crash.get_or_insert(step);
                incarnation.lost_power |= is_power_loss;
                Ok(None)
            }
            Event::Opening => {
                self.is_open = false;
                self.open.clear();
                Ok(None)
            }
            Event::Opened { latest, state, .. } => self.reopen(step, *latest, state).map(|()| None),
            Event::Closed => {
                self.require_open()?;
                self.is_open = false;
                self.open.clear();
                Ok(None)
            }
            Event::Fault { class, failure, is_passing, groups, .. } => {
                self.is_lied_to |= *class == FaultClass::Lie;
                if (groups.is_some() || *is_passing) && *class != FaultClass::Damage {
                    return Err("only damage takes groups of commits, or passes".to_owned());
                }
                if failure.is_some() && *class != FaultClass::Environment {
                    return Err("only a fault of the environment makes a call fail".to_owned());
                }
                Ok(None)
            }
            Event::MadeGood if !self.is_lied_to => Err("there is no lie to be made good".to_owned()),
            Event::MadeGood => {
                self.is_lied_to = false;
                Ok(None)
            }
            Event::Failed { .. }
            | Event::Space { .. }
            | Event::OutOfSpace { .. }
            | Event::Healed
            | Event::GaveUp { .. }
            | Event::Poisoned { .. }
            | Event::Corrupt { .. }
            | Event::Stuck { .. } => Ok(None),
        }
    }

    fn finish(mut self) -> Timeline<'h> {
        self.close(self.timeline.history.events.len());
        self.timeline
    }

    fn begin(&mut self, step: usize, label: TxnLabel, mode: Mode) -> Result<usize, String> {
        self.require_open()?;
        let index = self.timeline.transactions.len();
        if self.by_label.insert(label, index).is_some() {
            return Err(format!("the label {label} was used before"));
        }
        self.open.insert(index);
        self.timeline.transactions.push(Transaction {
            label,
            mode,
            begin: step,
            submit: None,
            ticket: None,
            outcome: Outcome::Unknown,
            operations: Vec::new(),
            writes: Writes::new(),
            restored: None,
            savepoints: Savepoints::default(),
        });
        Ok(index)
    }

    fn operate(&mut self, step: usize, label: TxnLabel) -> Result<usize, String> {
        let index = self.running(label)?;
        let transaction = &mut self.timeline.transactions[index];
        if transaction.submit.is_some() {
            return Err(format!("{label} has already asked for its commit"));
        }
        transaction.operations.push(step);
        Ok(index)
    }

    fn write(
        &mut self,
        step: usize,
        label: TxnLabel,
        key: &'h [u8],
        value: Option<&'h Vec<u8>>,
    ) -> Result<usize, String> {
        let index = self.change(step, label)?;
        if let Some(value) = value
            && !self.written.insert(value)
        {
            return Err("this value was written before".to_owned());
        }
        self.timeline.transactions[index].writes.insert(key, value.map(Vec::as_slice));
        Ok(index)
    }

    /// Takes an operation that only writers may ask for.
    fn change(&mut self, step: usize, label: TxnLabel) -> Result<usize, String> {
        let index = self.operate(step, label)?;
        if self.timeline.transactions[index].mode.writes() {
            return Ok(index);
        }
        Err(format!("{label} is no write transaction"))
    }

    fn delete_range(&mut self, step: usize, label: TxnLabel, keys: &'h [Key]) -> Result<usize, String> {
        let index = self.change(step, label)?;
        let removed = keys.iter().map(|key| (key.as_slice(), None));
        self.timeline.transactions[index].writes.extend(removed);
        Ok(index)
    }

    fn savepoint(
        &mut self,
        step: usize,
        label: TxnLabel,
        savepoint: SavepointLabel,
    ) -> Result<usize, String> {
        let index = self.change(step, label)?;
        let transaction = &mut self.timeline.transactions[index];
        if !transaction.savepoints.take(savepoint, &transaction.writes) {
            return Err(format!("the savepoint {savepoint} of {label} was taken before"));
        }
        Ok(index)
    }

    fn roll_back(
        &mut self,
        step: usize,
        label: TxnLabel,
        savepoint: SavepointLabel,
        is_refused: bool,
    ) -> Result<usize, String> {
        let index = self.change(step, label)?;
        let transaction = &mut self.timeline.transactions[index];
        if !transaction.savepoints.is_known(savepoint) {
            return Err(format!("{label} has no savepoint {savepoint}"));
        }
        // Going back to one that is gone is for a checker to object to.
        if !is_refused && let Some(writes) = transaction.savepoints.roll_back(savepoint) {
            transaction.writes = writes;
        }
        Ok(index)
    }

    fn mark(&mut self, label: TxnLabel, mark: MarkLabel) -> Result<usize, String> {
        let index = self.exclusive(label)?;
        let transaction = &self.timeline.transactions[index];
        if !transaction.operations.is_empty() {
            return Err(format!("{label} had done something before it set {mark}"));
        }
        if self.timeline.marks.insert(mark, index).is_some() {
            return Err(format!("the mark {mark} was set before"));
        }
        Ok(index)
    }

    fn restore(
        &mut self,
        step: usize,
        label: TxnLabel,
        mark: MarkLabel,
        is_refused: bool,
    ) -> Result<usize, String> {
        let index = self.about_mark(label, mark)?;
        let transaction = &mut self.timeline.transactions[index];
        transaction.operations.push(step);
        if !is_refused {
            transaction.writes.clear();
            transaction.savepoints.end();
            transaction.restored = Some(mark);
        }
        Ok(index)
    }

    /// Takes an event of an exclusive writer that is about a mark which was set.
    fn about_mark(&self, label: TxnLabel, mark: MarkLabel) -> Result<usize, String> {
        let index = self.exclusive(label)?;
        if self.timeline.marks.contains_key(&mark) { Ok(index) } else { Err(format!("{mark} was never set")) }
    }

    /// Takes an event that only an exclusive writer may cause, before it asks for its commit.
    fn exclusive(&self, label: TxnLabel) -> Result<usize, String> {
        let index = self.running(label)?;
        let transaction = &self.timeline.transactions[index];
        if transaction.mode != Mode::Write || transaction.submit.is_some() {
            return Err(format!("{label} is no exclusive writer, or has already asked for its commit"));
        }
        Ok(index)
    }

    fn ticket(&mut self, step: usize, label: TxnLabel, id: Option<TxnId>) -> Result<usize, String> {
        let index = self.running(label)?;
        let transaction = &mut self.timeline.transactions[index];
        if transaction.submit.is_none() || transaction.ticket.is_some() {
            return Err(format!("{label} has not asked for its commit, or has a ticket"));
        }
        transaction.ticket = Some((step, id));
        let has_changes = transaction.has_changes();
        if has_changes && *self.reveals.get_or_insert(id.is_some()) != id.is_some() {
            return Err("some commits reveal their TxnId and some do not".to_owned());
        }
        Ok(index)
    }

    fn submit(&mut self, step: usize, label: TxnLabel, durability: Durability) -> Result<usize, String> {
        let index = self.running(label)?;
        let transaction = &mut self.timeline.transactions[index];
        if transaction.submit.replace((step, durability)).is_some() {
            return Err(format!("{label} has already asked for its commit"));
        }
        if transaction.has_changes() {
            self.incarnation().submitted.push(index);
        }
        Ok(index)
    }

    fn commit(&mut self, step: usize, label: TxnLabel, id: Option<TxnId>) -> Result<usize, String> {
        let index = self.running(label)?;
        let transaction = &self.timeline.transactions[index];
        if transaction.submit.is_none() {
            return Err(format!("{label} never asked for its commit"));
        }
        if transaction.has_changes() && *self.reveals.get_or_insert(id.is_some()) != id.is_some() {
            return Err("some commits reveal their TxnId and some do not".to_owned());
        }
        self.end(index, Outcome::Committed { step, id });
        Ok(index)
    }

    fn end(&mut self, index: usize, outcome: Outcome) {
        self.timeline.transactions[index].outcome = outcome;
        self.open.remove(&index);
        if outcome == Outcome::Aborted {
            self.incarnation().submitted.retain(|submitted| *submitted != index);
        }
    }

    fn reopen(
        &mut self,
        step: usize,
        latest: Option<TxnId>,
        state: &'h [(Vec<u8>, Vec<u8>)],
    ) -> Result<(), String> {
        if self.reveals == Some(true) && latest.is_none() {
            return Err(
                "commits reveal their TxnIds, but this opening does not say which is the latest".to_owned()
            );
        }
        self.is_open = true;
        if step == 0 {
            self.written.extend(state.iter().map(|(_, value)| value.as_slice()));
            return Ok(());
        }
        self.close(step);
        self.timeline.incarnations.push(Incarnation::new(step));
        Ok(())
    }

    /// Ends the current incarnation before `step`.
    fn close(&mut self, step: usize) {
        self.open.clear();
        self.incarnation().end = step;
    }

    fn incarnation(&mut self) -> &mut Incarnation {
        self.timeline.incarnations.last_mut().expect("there is one from the start")
    }

    fn require_open(&self) -> Result<(), String> {
        if self.is_open { Ok(()) } else { Err("the store is not open".to_owned()) }
    }

    /// The transaction of that label, if it may go on.
    fn running(&self, label: TxnLabel) -> Result<usize, String> {
        let Some(index) = self.by_label.get(&label) else { return Err(format!("{label} never began")) };
        if self.open.contains(index) { Ok(*index) } else { Err(format!("{label} is over")) }
    }
}

#[cfg(test)]
mod tests;
