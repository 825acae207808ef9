//! One store on one disk, and everything that is asked of it.
//!
//! Every call of the store goes through [`Session::judge`], which sorts its outcome: an answer, a failure (recorded,
//! and the end of the run), or nothing, because the power failed during the call. What a call answers after the power
//! failed was never heard by anyone, so it is neither recorded nor held against the store; a panic is.

use std::collections::BTreeMap;

use proofmark_model::{ClientId, Durability, Event, KeyRange, Mode, Operation, Refusal, TxnId, TxnLabel};

use super::panics::catch;
use super::recorder::{Recorder, Recording};
use super::stats::{Activity, RunStats};
use crate::disk::{Keep, SimDisk};
use crate::plan::{Action, Begin, Config};
use crate::store::{Promises, Store, StoreError, StoreFactory, Transaction};

/// Why a step did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The power failed, in the middle of this.
    PowerLost(Activity),
    /// The store failed. It is on record, and the run is over.
    Failed,
}

/// A store under test, with its clients.
pub(super) struct Session<'a> {
    factory: &'a dyn StoreFactory,
    promises: Promises,
    config: &'a Config,
    pub(super) disk: SimDisk,
    /// Above the store, because transactions are dropped first.
    transactions: BTreeMap<ClientId, Open>,
    store: Option<Box<dyn Store>>,
    labels_used: u32,
    pub(super) recorder: Recorder,
    pub(super) stats: RunStats,
}

struct Open {
    label: TxnLabel,
    is_writer: bool,
    transaction: Box<dyn Transaction>,
}

/// What [`catch`] returns for a call of the store.
type Caught<T> = Result<Result<T, StoreError>, String>;

impl<'a> Session<'a> {
    /// A session on `disk`, with the store not open yet.
    pub(super) fn new(
        factory: &'a dyn StoreFactory,
        config: &'a Config,
        disk: SimDisk,
        recorder: Recorder,
    ) -> Session<'a> {
        Session {
            factory,
            promises: factory.promises(),
            config,
            disk,
            transactions: BTreeMap::new(),
            store: None,
            labels_used: 0,
            recorder,
            stats: RunStats::default(),
        }
    }

    pub(super) fn promises(&self) -> Promises {
        self.promises
    }

    /// Opens the store, and records all that it holds.
    pub(super) fn open(&mut self, activity: Activity) -> Result<(), Interrupt> {
        let vfs = self.disk.vfs();
        let opened = catch(|| self.factory.open(vfs, self.config));
        let mut store = self.judge(activity, "open", opened)?;
        let read = catch(|| {
            let mut transaction = store.begin_read()?;
            let pairs = transaction.scan(&KeyRange::all(), usize::MAX, false)?;
            transaction.abort()?;
            Ok((store.latest(), store.oldest(), pairs))
        });
        self.store = Some(store);
        let (latest, oldest, state) = self.judge(activity, "scan after open", read)?;
        let latest = self.promised(self.promises.transaction_ids, "open", latest)?;
        let oldest = self.promised(self.promises.time_travel, "open", oldest)?;
        let retention = self.promises.time_travel.then_some(self.config.retention);
        self.record(Event::Opened { latest, oldest, retention, state });
        Ok(())
    }

    /// Aborts what is open and closes the store.
    pub(super) fn close(&mut self) -> Result<(), Interrupt> {
        while let Some((_, open)) = self.transactions.pop_first() {
            self.abort(open)?;
        }
        let store = self.store.take().expect("a store is closed only when it is open");
        let closed = catch(|| store.close());
        self.judge(Activity::Other, "close", closed)?;
        if self.promises.durable_close {
            self.record(Event::Durable);
        }
        Ok(())
    }

    /// Takes the power away from whatever is open, in the middle of this, and lets `keep` survive.
    pub(super) fn crash(&mut self, activity: Activity, keep: &Keep) -> Result<(), Interrupt> {
        self.disk.power_off();
        self.drop_all()?;
        let report = self.disk.crash(keep);
        self.stats.crashes.count(activity, &report);
        self.record(Event::Crash);
        Ok(())
    }

    /// Drops what is open, where a panic cannot escape.
    pub(super) fn drop_all(&mut self) -> Result<(), Interrupt> {
        let mut dropped = Ok(());
        while let Some((_, open)) = self.transactions.pop_first() {
            dropped = dropped.and(catch(|| drop(open)));
        }
        let store = self.store.take();
        dropped = dropped.and(catch(|| drop(store)));
        dropped.map_err(|panic| self.fail("drop", panic))
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), Interrupt> {
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| store.checkpoint());
        if self.judge(Activity::Checkpoint, "checkpoint", outcome)? {
            self.stats.checkpoints += 1;
            self.record(Event::Durable);
        } else {
            self.stats.checkpoints_declined += 1;
        }
        Ok(())
    }

    pub(super) fn verify(&mut self, activity: Activity) -> Result<(), Interrupt> {
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let outcome = catch(|| store.verify());
        let has_checked = self.judge(activity, "verify", outcome)?;
        self.stats.verifications += u64::from(has_checked);
        Ok(())
    }

    /// Lets a client act.
    pub(super) fn act(&mut self, client: ClientId, action: &Action) -> Result<(), Interrupt> {
        match (action, self.transactions.get(&client).map(|open| open.is_writer)) {
            (Action::Begin(begin), None) => self.begin(client, *begin),
            (Action::Operation(operation), Some(is_writer)) => match operation {
                Operation::Put { .. } | Operation::Delete { .. } if !is_writer => self.skip(),
                _ => self.operate(client, operation),
            },
            (Action::Commit(durability), Some(true)) => self.commit(client, *durability),
            (Action::Commit(_) | Action::Abort, Some(_)) => {
                let open = self.transactions.remove(&client).expect("it was just there");
                self.stats.operations += 1;
                self.abort(open)
            }
            (Action::Begin(_), Some(_)) | (_, None) => self.skip(),
        }
    }

    fn skip(&mut self) -> Result<(), Interrupt> {
        self.stats.steps_skipped += 1;
        self.recorder.note(|| "    skipped".to_owned());
        Ok(())
    }

    fn begin(&mut self, client: ClientId, begin: Begin) -> Result<(), Interrupt> {
        let mode = self.mode(begin)?;
        let store = self.store.as_mut().expect("steps are taken while the store is open");
        let caught = catch(|| {
            let transaction = match mode {
                Mode::Read => store.begin_read()?,
                Mode::ReadAt(at) => store.begin_read_at(at)?,
                Mode::Write => store.begin_write()?,
            };
            Ok((transaction.snapshot(), transaction))
        });
        self.stats.operations += 1;
        let reason = match (&caught, mode) {
            (Ok(Err(StoreError::Busy)), Mode::Write) => Some(Refusal::WriteBusy),
            (Ok(Err(StoreError::SnapshotNotFound)), Mode::ReadAt(_)) => Some(Refusal::SnapshotNotFound),
            _ => None,
        };
        if let Some(reason) = reason
            && !self.disk.has_crashed()
        {
            let oldest = match reason {
                Refusal::WriteBusy => None,
                Refusal::SnapshotNotFound => self.named("begin", |store| store.oldest())?,
            };
            self.stats.refusals += 1;
            self.record(Event::Refused { client, mode, reason, oldest });
            return Ok(());
        }
        let (snapshot, transaction) = self.judge(Activity::Other, "begin", caught)?;
        let snapshot = self.promised(self.promises.transaction_ids, "begin", snapshot)?;
        self.labels_used += 1;
        let label = TxnLabel(self.labels_used);
        self.transactions.insert(client, Open { label, is_writer: mode == Mode::Write, transaction });
        self.stats.transactions += 1;
        self.record(Event::Begin { client, txn: label, mode, snapshot });
        Ok(())
    }

    /// How the store is asked to open a transaction: as it was planned, or the next best that it promises.
    fn mode(&mut self, begin: Begin) -> Result<Mode, Interrupt> {
        Ok(match begin {
            Begin::Write => Mode::Write,
            Begin::ReadBack(back) if self.promises.time_travel => {
                let latest = self.named("begin", |store| store.latest())?;
                Mode::ReadAt(stepped_back(latest.unwrap_or_default(), back))
            }
            Begin::Read | Begin::ReadBack(_) => Mode::Read,
        })
    }

    /// A commit that the store has to name, since it promises to travel in time.
    fn named(
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
        self.stats.operations += 1;
        let event = match operation.clone() {
            Operation::Get { key } => {
                let caught = catch(|| transaction.get(&key));
                let value = self.judge(Activity::Other, "get", caught)?;
                Event::Get { txn, key, value }
            }
            Operation::Scan { range, limit, reverse } => {
                let caught = catch(|| transaction.scan(&range, limit, reverse));
                let pairs = self.judge(Activity::Other, "scan", caught)?;
                Event::Scan { txn, range, limit, reverse, pairs }
            }
            Operation::Put { key, value } => {
                let caught = catch(|| transaction.put(&key, &value));
                self.judge(Activity::Other, "put", caught)?;
                Event::Put { txn, key, value }
            }
            Operation::Delete { key } => {
                let caught = catch(|| transaction.delete(&key));
                self.judge(Activity::Other, "delete", caught)?;
                Event::Delete { txn, key }
            }
        };
        self.record(event);
        Ok(())
    }

    fn commit(&mut self, client: ClientId, durability: Durability) -> Result<(), Interrupt> {
        let open = self.transactions.remove(&client).expect("the caller found it open");
        let durability = if self.promises.buffered_commits { durability } else { Durability::Sync };
        self.record(Event::Submit { txn: open.label, durability });
        let caught = catch(|| open.transaction.commit(durability));
        self.stats.operations += 1;
        let id = self.judge(Activity::Commit, "commit", caught)?;
        let id = self.promised(self.promises.transaction_ids, "commit", id)?;
        self.stats.commits += 1;
        self.record(Event::Committed { txn: open.label, id });
        Ok(())
    }

    fn abort(&mut self, open: Open) -> Result<(), Interrupt> {
        let caught = catch(|| open.transaction.abort());
        self.judge(Activity::Other, "abort", caught)?;
        self.record(Event::Aborted { txn: open.label });
        Ok(())
    }

    /// Sorts the outcome of a call.
    fn judge<T>(&mut self, activity: Activity, what: &str, caught: Caught<T>) -> Result<T, Interrupt> {
        let outcome = caught.map_err(|panic| self.fail(what, panic))?;
        if self.disk.has_crashed() {
            catch(|| drop(outcome)).map_err(|panic| self.fail(what, panic))?;
            return Err(Interrupt::PowerLost(activity));
        }
        outcome.map_err(|error| self.fail(what, error.to_string()))
    }

    /// What a store says of its commits, if it promised to say it.
    fn promised(
        &mut self,
        is_promised: bool,
        what: &str,
        id: Option<TxnId>,
    ) -> Result<Option<TxnId>, Interrupt> {
        match (is_promised, id) {
            (false, _) => Ok(None),
            (true, Some(id)) => Ok(Some(id)),
            (true, None) => Err(self.fail(what, "no TxnId, although they are promised".to_owned())),
        }
    }

    fn fail(&mut self, what: &str, error: String) -> Interrupt {
        self.record(Event::Failed { what: what.to_owned(), error });
        Interrupt::Failed
    }

    fn record(&mut self, event: Event) {
        self.recorder.event(event, &self.disk);
    }

    /// The end: what was recorded, and the sums.
    pub(super) fn finish(mut self) -> (Recording, RunStats) {
        self.stats.io_calls = self.disk.io_calls();
        self.stats.disk = self.disk.stats();
        self.stats.sabotages = self.disk.sabotage_fired().iter().map(|(_, count)| count).sum();
        (self.recorder.finish(&self.disk), self.stats)
    }
}

fn stepped_back(latest: TxnId, back: i64) -> TxnId {
    TxnId(if back >= 0 {
        latest.0.saturating_sub(back.unsigned_abs())
    } else {
        latest.0.saturating_add(back.unsigned_abs())
    })
}
