//! Reading a history event by event: what each may be, after those before it.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::Calls;
use super::{Incarnation, Outcome, Timeline, Transaction};
use crate::check::savepoints::Savepoints;
use crate::check::scan::Writes;
use crate::{
    Call, ClientId, Denial, Durability, Event, FaultClass, History, Key, MarkLabel, Mode, Refusal,
    SavepointLabel, TxnId, TxnLabel,
};

/// Takes one event after the other and keeps what the next ones are held to.
pub(super) struct Reader<'h> {
    pub(super) timeline: Timeline<'h>,
    by_label: BTreeMap<TxnLabel, usize>,
    /// The transactions that may still go on.
    open: BTreeSet<usize>,
    written: BTreeSet<&'h [u8]>,
    is_open: bool,
    is_lied_to: bool,
    /// Whether commits reveal their TxnIds, once one has shown it.
    reveals: Option<bool>,
    calls: Calls,
    /// The step at which that was asked for which the event under way answers, if in an event of its own.
    pub(super) asked: Option<usize>,
    /// The step at which somebody was told first, since the store was opened, that it is poisoned.
    poisoned: Option<usize>,
}

impl<'h> Reader<'h> {
    pub(super) fn new(history: &'h History) -> Reader<'h> {
        let first = Incarnation::new(0);
        Reader {
            timeline: Timeline {
                history,
                transactions: Vec::new(),
                incarnations: vec![first],
                marks: BTreeMap::new(),
                transaction_of: Vec::with_capacity(history.events.len()),
                asked_at: Vec::with_capacity(history.events.len()),
            },
            by_label: BTreeMap::new(),
            open: BTreeSet::new(),
            written: BTreeSet::new(),
            is_open: true,
            is_lied_to: false,
            reveals: None,
            calls: Calls::default(),
            asked: None,
            poisoned: None,
        }
    }

    /// Takes one event and returns the index of its transaction.
    pub(super) fn read(&mut self, step: usize, event: &'h Event) -> Result<Option<usize>, String> {
        match event {
            Event::Asked { client, call } => self.ask(step, *client, *call).map(|()| None),
            Event::Begin { client, txn, mode, .. } => self.begin(step, *client, *txn, *mode).map(Some),
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
            Event::Aborted { txn } => {
                let index = self.running(*txn)?;
                self.asked = self.timeline.transactions[index].ending;
                self.end(step, index, Outcome::Aborted);
                Ok(Some(index))
            }
            Event::Denied { txn, reason } => self.denied(step, *txn, reason).map(Some),
            Event::Refused { client, mode, reason, .. } => {
                self.require_open()?;
                self.asked = Some(self.calls.begun(step, *client, *mode)?);
                if *reason == Refusal::Poisoned {
                    self.poisoned.get_or_insert(step);
                }
                Ok(None)
            }
            Event::Durable | Event::Changes { .. } | Event::ChangesRefused { .. } | Event::Backup { .. } => {
                self.require_open()?;
                self.asked = Some(match event {
                    Event::Durable => self.calls.flushed(step),
                    Event::Backup { .. } => self.calls.copied(step),
                    _ => self.calls.streamed(step),
                });
                Ok(None)
            }
            Event::Crash { is_power_loss } => {
                self.shut(step);
                let incarnation = self.incarnation();
                incarnation.crash.get_or_insert(step);
                incarnation.lost_power |= is_power_loss;
                Ok(None)
            }
            Event::Opening => {
                self.shut(step);
                Ok(None)
            }
            Event::Opened { latest, state, .. } => self.reopen(step, *latest, state).map(|()| None),
            Event::Closed => {
                self.require_open()?;
                self.shut(step);
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
            Event::Poisoned { what, .. } => {
                self.poisoned.get_or_insert(step);
                self.calls.failed(what);
                Ok(None)
            }
            Event::Failed { what, .. }
            | Event::OutOfSpace { what, .. }
            | Event::GaveUp { what, .. }
            | Event::Corrupt { what, .. } => {
                self.calls.failed(what);
                Ok(None)
            }
            Event::Space { .. } | Event::Healed | Event::Stuck { .. } => Ok(None),
        }
    }

    pub(super) fn finish(mut self) -> Timeline<'h> {
        self.close(self.timeline.history.events.len());
        self.timeline
    }

    fn ask(&mut self, step: usize, client: ClientId, call: Call) -> Result<(), String> {
        self.require_open()?;
        self.calls.ask(step, client, call)?;
        self.incarnation().is_concurrent = true;
        if call == Call::End {
            let transactions = &mut self.timeline.transactions;
            let is_meant =
                |index: &usize| transactions[*index].client == client && transactions[*index].is_at_work();
            let Some(index) = self.open.iter().copied().rfind(is_meant) else {
                return Err(format!("{client} has no transaction that it could end"));
            };
            transactions[index].ending = Some(step);
        }
        Ok(())
    }

    fn begin(&mut self, step: usize, client: ClientId, label: TxnLabel, mode: Mode) -> Result<usize, String> {
        self.require_open()?;
        let asked = self.calls.begun(step, client, mode)?;
        self.asked = Some(asked);
        let index = self.timeline.transactions.len();
        if self.by_label.insert(label, index).is_some() {
            return Err(format!("the label {label} was used before"));
        }
        self.open.insert(index);
        if mode == Mode::Write {
            self.incarnation().writers.push(index);
        }
        self.timeline.transactions.push(Transaction {
            label,
            client,
            mode,
            asked,
            begin: step,
            ending: None,
            ended: None,
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
        if !transaction.is_at_work() {
            return Err(format!("{label} has already asked for its commit, or its end"));
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
        if transaction.mode != Mode::Write || !transaction.is_at_work() {
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
        if !transaction.is_at_work() {
            return Err(format!("{label} has already asked for its commit, or its end"));
        }
        transaction.submit = Some((step, durability));
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
        self.end(step, index, Outcome::Committed { step, id });
        Ok(index)
    }

    /// Takes in that a commit was declined: there is no trace of it. But where clients run at the same time, one who hears
    /// that the store is poisoned may have shared the very sync that failed, and then nobody knows.
    fn denied(&mut self, step: usize, label: TxnLabel, reason: &Denial) -> Result<usize, String> {
        let index = self.running(label)?;
        let submit = self.timeline.transactions[index].submit.map(|(step, _)| step);
        let is_poisoned = *reason == Denial::Poisoned;
        let was_poisoned =
            submit.is_some_and(|submit| self.poisoned.is_some_and(|poisoned| poisoned < submit));
        let is_in_doubt = is_poisoned && self.incarnation().is_concurrent && !was_poisoned;
        self.end(step, index, if is_in_doubt { Outcome::Unknown } else { Outcome::Aborted });
        if is_poisoned {
            self.poisoned.get_or_insert(step);
        }
        Ok(index)
    }

    fn end(&mut self, step: usize, index: usize, outcome: Outcome) {
        let transaction = &mut self.timeline.transactions[index];
        (transaction.outcome, transaction.ended) = (outcome, Some(step));
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
        self.poisoned = None;
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
        self.shut(step);
        self.is_open = true;
        let unheard = std::mem::take(&mut self.calls.unheard);
        let incarnation = self.incarnation();
        incarnation.end = step;
        incarnation.unheard_writers = unheard;
    }

    /// Whatever is under way ends, since the store is not open any more.
    fn shut(&mut self, step: usize) {
        self.is_open = false;
        self.open.clear();
        self.calls.end_all(step);
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
