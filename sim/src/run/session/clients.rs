//! What clients ask for: transactions, their operations, and how they end.

use proofmark_model::{
    Call, ClientId, Denial, Durability, Event, KeyRange, Mode, Operation, Refusal, TxnId, TxnLabel,
};

use super::super::panics::catch;
use super::super::stats::Activity;
use super::{Caught, Interrupt, Open, OpenTicket, Session};
use crate::plan::{Action, Begin};
use crate::store::{CLIENT_PANIC, Store, StoreError};

/// Who reads what the runner itself wants to know.
pub(super) const AUDITOR: ClientId = ClientId(u32::MAX);
/// Who asks for checkpoints, and reads the commit stream.
pub(super) const UPKEEP: ClientId = ClientId(u32::MAX - 1);

impl Session<'_> {
    /// Lets a client act.
    pub(crate) fn act(&mut self, client: ClientId, action: &Action) -> Result<(), Interrupt> {
        match (action, self.transactions.get(&client).map(|open| open.mode)) {
            (Action::Begin(begin), None) => {
                let mode = self.mode(*begin)?;
                self.begin(client, mode)
            }
            (Action::Operation(operation), Some(mode)) if mode.writes() || !operation.writes() => {
                self.operate(client, operation)
            }
            (Action::Commit(durability), Some(mode)) if mode.writes() => self.commit(client, *durability),
            (Action::Submit, Some(mode)) if mode.writes() && self.promises.tickets => self.submit(client),
            (Action::Submit, Some(mode)) if mode.writes() => self.commit(client, Durability::Sync),
            (Action::Wait, _) if !self.promises.tickets => self.leave_out(),
            (Action::Wait, _) if self.tickets.iter().any(|open| open.client == client) => self.wait(client),
            (Action::Mark { .. } | Action::Restore(_) | Action::Forget(_), Some(Mode::Write)) => {
                self.about_marks(client, action)
            }
            (Action::Tend, Some(mode)) if mode.writes() => self.tend(client),
            (Action::Panic, Some(_)) => self.panic(client),
            (Action::Commit(_) | Action::Submit | Action::Abort, Some(_)) => {
                let open = self.transactions.remove(&client).expect("it was just there");
                self.stats.operations += 1;
                self.abort(open)
            }
            _ => self.skip(),
        }
    }

    /// Reads everything as of some commits, as any client could.
    pub(super) fn audit(&mut self, commits: impl IntoIterator<Item = TxnId>) -> Result<(), Interrupt> {
        commits.into_iter().try_for_each(|at| self.read_all(Mode::ReadAt(at)))
    }

    /// Reads everything, as any client could.
    pub(super) fn read_all(&mut self, mode: Mode) -> Result<(), Interrupt> {
        self.begin(AUDITOR, mode)?;
        let scan = Operation::Scan { range: KeyRange::all(), limit: usize::MAX, reverse: false };
        if self.transactions.contains_key(&AUDITOR) {
            self.operate(AUDITOR, &scan)?;
        }
        match self.transactions.remove(&AUDITOR) {
            Some(open) => self.abort(open),
            None => Ok(()),
        }
    }

    pub(super) fn skip(&mut self) -> Result<(), Interrupt> {
        self.stats.steps_skipped += 1;
        self.book().recorder.note(|| "    skipped".to_owned());
        Ok(())
    }

    /// Leaves out what the store does not promise.
    pub(super) fn leave_out(&mut self) -> Result<(), Interrupt> {
        self.stats.steps_left_out += 1;
        Ok(())
    }

    fn begin(&mut self, client: ClientId, mode: Mode) -> Result<(), Interrupt> {
        self.ask(client, Call::Begin(mode));
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let caught = catch(|| {
            let transaction = match mode {
                Mode::Read => store.begin_read()?,
                Mode::ReadAt(at) => store.begin_read_at(at)?,
                Mode::Write => store.begin_write()?,
                Mode::Optimistic => store.begin_optimistic()?,
            };
            Ok((transaction.snapshot(), transaction))
        });
        self.stats.operations += 1;
        let reason = match (&caught, mode) {
            (Ok(Err(StoreError::Busy)), _) => Some(Refusal::WriteBusy),
            (Ok(Err(StoreError::SnapshotNotFound)), Mode::ReadAt(_)) => Some(Refusal::SnapshotNotFound),
            // No reader may be refused, unless the store says so: then it is a failure like others, and excused as such.
            (Ok(Err(StoreError::Poisoned(_))), mode)
                if mode.writes() || self.promises.goes_on_after_io_errors =>
            {
                Some(Refusal::Poisoned)
            }
            _ => None,
        };
        if let Some(reason) = reason
            && !self.disk.has_crashed()
        {
            self.note_faults();
            let oldest = match reason {
                Refusal::SnapshotNotFound => self.named("begin", |store| store.oldest())?,
                _ => None,
            };
            self.stats.refusals += 1;
            self.stats.refusals_poisoned += u64::from(reason == Refusal::Poisoned);
            self.record(Event::Refused { client, mode, reason, oldest });
            return Ok(());
        }
        let Some((snapshot, transaction)) = self.attempt(Activity::Other, "begin", caught)? else {
            return Ok(());
        };
        let snapshot = self.promised(self.promises.transaction_ids, "begin", snapshot)?;
        let label = self.book().next_label();
        let open = Open { client, label, mode, transaction, savepoints: Vec::new(), is_fresh: true };
        self.transactions.insert(client, open);
        self.stats.transactions += 1;
        self.record(Event::Begin { client, txn: label, mode, snapshot });
        Ok(())
    }

    /// How the store is asked to open a transaction: as it was planned, or the next best that it promises.
    fn mode(&mut self, begin: Begin) -> Result<Mode, Interrupt> {
        Ok(match begin {
            Begin::Optimistic if self.promises.optimistic_writers => Mode::Optimistic,
            Begin::Write | Begin::Optimistic => Mode::Write,
            Begin::ReadBack(back) if self.promises.time_travel => {
                let latest = self.named("begin", |store| store.latest())?;
                Mode::ReadAt(stepped_back(latest.unwrap_or_default(), back))
            }
            Begin::Read | Begin::ReadBack(_) => Mode::Read,
        })
    }

    /// A commit that the store has to name, since it promises to travel in time.
    pub(super) fn named(
        &mut self,
        what: &str,
        ask: impl FnOnce(&dyn Store) -> Option<TxnId>,
    ) -> Result<Option<TxnId>, Interrupt> {
        let store = self.store.as_deref().expect("steps are taken while the store is open");
        let caught = catch(|| Ok(ask(store)));
        let id = self.judge(Activity::Other, what, caught)?;
        self.promised(self.promises.time_travel, what, id)
    }

    fn operate(&mut self, client: ClientId, operation: &Operation) -> Result<(), Interrupt> {
        let open = self.transactions.get_mut(&client).expect("the caller found it open");
        let (txn, transaction) = (open.label, &mut open.transaction);
        open.is_fresh = false;
        self.stats.operations += 1;
        let event = match operation.clone() {
            Operation::Get { key } => {
                let caught = catch(|| transaction.get(&key));
                self.attempt(Activity::Other, "get", caught)?.map(|value| Event::Get { txn, key, value })
            }
            Operation::Scan { range, limit, reverse } => {
                let caught = catch(|| transaction.scan(&range, limit, reverse));
                self.attempt(Activity::Other, "scan", caught)?.map(|pairs| Event::Scan {
                    txn,
                    range,
                    limit,
                    reverse,
                    pairs,
                })
            }
            Operation::Put { key, value } => {
                let caught = catch(|| transaction.put(&key, &value));
                self.attempt(Activity::Other, "put", caught)?.map(|()| Event::Put { txn, key, value })
            }
            Operation::Delete { key } => {
                let caught = catch(|| transaction.delete(&key));
                self.attempt(Activity::Other, "delete", caught)?.map(|()| Event::Delete { txn, key })
            }
            Operation::DeleteRange { range } => {
                let caught = catch(|| {
                    let pairs = transaction.scan(&range, usize::MAX, false)?;
                    Ok((pairs, transaction.delete_range(&range)?))
                });
                self.attempt(Activity::Other, "delete-range", caught)?.map(|(pairs, count)| {
                    let keys = pairs.into_iter().map(|(key, _)| key).collect();
                    Event::DeleteRange { txn, range, count, keys }
                })
            }
            Operation::Savepoint { .. } | Operation::Rollback { .. } if !self.promises.savepoints => {
                return self.leave_out();
            }
            Operation::Savepoint { savepoint } => {
                if open.savepoints.contains(&savepoint) {
                    return self.skip();
                }
                open.savepoints.push(savepoint);
                let caught = catch(|| transaction.savepoint(savepoint));
                self.attempt(Activity::Other, "savepoint", caught)?
                    .map(|()| Event::Savepoint { txn, savepoint })
            }
            Operation::Rollback { savepoint } => {
                if !open.savepoints.contains(&savepoint) {
                    return self.skip();
                }
                let caught = catch(|| transaction.roll_back(savepoint));
                let is_refused = matches!(caught, Ok(Err(StoreError::SavepointNotFound)));
                let caught = if is_refused { Ok(Ok(())) } else { caught };
                self.attempt(Activity::Other, "rollback", caught)?.map(|()| Event::Rollback {
                    txn,
                    savepoint,
                    is_refused,
                })
            }
        };
        match event {
            Some(event) => self.record(event),
            // Who can't make a change gives up the others, too.
            None if operation.writes() => self.unless_failed(client, None)?,
            None => {}
        }
        Ok(())
    }

    fn commit(&mut self, client: ClientId, durability: Durability) -> Result<(), Interrupt> {
        let open = self.transactions.remove(&client).expect("the caller found it open");
        let durability = if self.promises.buffered_commits { durability } else { Durability::Sync };
        self.record(Event::Submit { txn: open.label, durability });
        let caught = catch(|| open.transaction.commit(durability));
        self.stats.operations += 1;
        let Some(id) = self.unless_denied(open.label, "commit", caught)? else { return Ok(()) };
        self.committed(open.label, "commit", id)
    }

    /// Hands a transaction in, and keeps its ticket.
    fn submit(&mut self, client: ClientId) -> Result<(), Interrupt> {
        let Open { label, transaction, .. } =
            self.transactions.remove(&client).expect("the caller found it open");
        self.record(Event::Submit { txn: label, durability: Durability::Sync });
        let caught = catch(|| {
            let ticket = transaction.submit()?;
            Ok((ticket.id(), ticket))
        });
        self.stats.operations += 1;
        let Some((id, ticket)) = self.unless_denied(label, "submit", caught)? else { return Ok(()) };
        let id = self.promised(self.promises.transaction_ids, "submit", id)?;
        self.tickets.push(OpenTicket { client, label, ticket });
        self.stats.tickets += 1;
        self.record(Event::Ticket { txn: label, id });
        Ok(())
    }

    /// Waits for the client's oldest ticket.
    fn wait(&mut self, client: ClientId) -> Result<(), Interrupt> {
        let oldest = self.tickets.iter().position(|open| open.client == client);
        let OpenTicket { label, ticket, .. } = self.tickets.remove(oldest.expect("the caller found one"));
        let caught = catch(|| ticket.wait());
        self.stats.operations += 1;
        let Some(id) = self.attempt(Activity::Commit, "wait", caught)? else { return Ok(()) };
        self.committed(label, "wait", id)
    }

    fn committed(&mut self, txn: TxnLabel, what: &str, id: Option<TxnId>) -> Result<(), Interrupt> {
        let id = self.promised(self.promises.transaction_ids, what, id)?;
        self.stats.commits += 1;
        self.settle_marks(txn);
        self.record(Event::Committed { txn, id });
        Ok(())
    }

    /// What a commit came to; none if the store declined it, or gave up over a fault.
    fn unless_denied<T>(
        &mut self,
        txn: TxnLabel,
        what: &str,
        caught: Caught<T>,
    ) -> Result<Option<T>, Interrupt> {
        let reason = match &caught {
            Ok(Err(StoreError::Conflict { key })) => Some(Denial::Conflict { key: key.clone() }),
            Ok(Err(StoreError::Busy)) => Some(Denial::WriteBusy),
            Ok(Err(StoreError::OutOfSpace(_))) => Some(Denial::OutOfSpace),
            Ok(Err(StoreError::Poisoned(_))) => Some(Denial::Poisoned),
            _ => None,
        };
        match reason.filter(|_| !self.disk.has_crashed()) {
            Some(reason) => {
                self.note_faults();
                self.stats.denials.count(&reason);
                self.record(Event::Denied { txn, reason });
                Ok(None)
            }
            None => self.attempt(Activity::Commit, what, caught),
        }
    }

    fn tend(&mut self, client: ClientId) -> Result<(), Interrupt> {
        let open = self.transactions.get_mut(&client).expect("the caller found it open");
        open.is_fresh = false;
        self.stats.operations += 1;
        let caught = catch(|| open.transaction.tend());
        let tended = self.attempt(Activity::Other, "tend", caught)?;
        self.unless_failed(client, tended)
    }

    /// Gives up a transaction in which a change failed.
    pub(super) fn unless_failed(&mut self, client: ClientId, done: Option<()>) -> Result<(), Interrupt> {
        match done {
            Some(()) => Ok(()),
            None => {
                let open = self.transactions.remove(&client).expect("it is open until it is given up");
                self.abort(open)
            }
        }
    }

    /// Lets a client's own code panic, and catches that.
    fn panic(&mut self, client: ClientId) -> Result<(), Interrupt> {
        let open = self.transactions.remove(&client).expect("the caller found it open");
        self.stats.operations += 1;
        self.ask(client, Call::End);
        let caught = catch(|| open.transaction.panic());
        self.note_faults();
        if self.disk.has_crashed() {
            return Err(self.cut_short(Activity::Other, "panic"));
        }
        match caught {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => {
                self.attempt::<()>(Activity::Other, "panic", Ok(Err(error)))?;
            }
            Err(message) if message.contains(CLIENT_PANIC) => {}
            Err(message) => return Err(self.fail("panic", message)),
        }
        self.record(Event::Aborted { txn: open.label });
        Ok(())
    }

    pub(super) fn abort(&mut self, open: Open) -> Result<(), Interrupt> {
        self.ask(open.client, Call::End);
        let caught = catch(|| open.transaction.abort());
        if self.promises.goes_on_after_io_errors {
            self.judge(Activity::Other, "abort", caught)?;
        } else {
            // It is over all the same.
            self.attempt(Activity::Other, "abort", caught)?;
        }
        self.record(Event::Aborted { txn: open.label });
        Ok(())
    }
}

pub(super) fn stepped_back(latest: TxnId, back: i64) -> TxnId {
    TxnId(if back >= 0 {
        latest.0.saturating_sub(back.unsigned_abs())
    } else {
        latest.0.saturating_add(back.unsigned_abs())
    })
}
