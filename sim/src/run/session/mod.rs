//! One store on one disk, and everything that is asked of it.
//!
//! Every call of the store goes through [`Session::heard`], which sorts its outcome: an answer, a failure, or nothing,
//! because the power failed during the call. What a call answers after the power failed was never heard by anyone, so it
//! is neither recorded nor held against the store; a panic is. A failure is recorded, and ends the run unless it is
//! excused: by a full disk, or by the faults that fired (`faults`).

mod aftermath;
mod book;
mod clients;
mod faults;
mod marks;
mod memory;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use proofmark_model::{
    Call, ClientId, Event, KeyRange, Mode, Refusal, SavepointLabel, Stuck, TxnId, TxnLabel,
};

pub(crate) use self::book::{Book, Shared};
use self::clients::UPKEEP;
pub(crate) use self::memory::Memory;
use super::panics::catch;
use super::recorder::Recorder;
use super::stats::{Activity, RunStats};
use crate::disk::{CrashReport, Keep, SimDisk};
use crate::plan::{Config, Step, Thread};
use crate::store::{Promises, Store, StoreError, StoreFactory, Ticket, Transaction};

/// Why a step did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The power failed, in the middle of this.
    PowerLost(Activity),
    /// The store failed. It is on record, and the run is over.
    Failed,
}

/// A store under test, with its clients.
pub(crate) struct Session<'a> {
    factory: &'a dyn StoreFactory,
    promises: Promises,
    config: &'a Config,
    pub(super) disk: SimDisk,
    /// For whom all is asked, if other sessions may be in the middle of something, so that it matters when a call began and
    /// who is answered.
    speaks_for: Option<ClientId>,
    /// Above the store, because transactions are dropped first.
    transactions: BTreeMap<ClientId, Open>,
    /// In the order in which they were given out. Above the store, too.
    tickets: Vec<OpenTicket>,
    store: Option<Box<dyn Store>>,
    /// The plan's step under way.
    step: Option<usize>,
    book: Shared,
    pub(super) stats: RunStats,
}

struct Open {
    client: ClientId,
    label: TxnLabel,
    mode: Mode,
    transaction: Box<dyn Transaction>,
    /// Those that were taken, whether they are still valid or not.
    savepoints: Vec<SavepointLabel>,
    /// Whether it has done nothing but set marks.
    is_fresh: bool,
}

/// A commit that was handed in and has not been waited for.
struct OpenTicket {
    client: ClientId,
    label: TxnLabel,
    ticket: Box<dyn Ticket>,
}

/// So often a store may fail to open before the disk's faults are switched off.
const OPENING_COUNT_MAX: u32 = 5;
/// And so often after that: what was lost before may be reported still, but only once, and it is not corruption.
const HEALED_OPENING_COUNT_MAX: u32 = 3;

/// So many I/O calls a step may make, or an opening: more than any store needs for the largest plan. Whoever makes more is
/// taken for one that would go on for ever.
const CALLS_PER_STEP_MAX: u64 = 1 << 22;

/// What [`catch`] returns for a call of the store.
type Caught<T> = Result<Result<T, StoreError>, String>;

impl<'a> Session<'a> {
    /// A session on `disk`, with the store not open yet.
    pub(crate) fn new(
        factory: &'a dyn StoreFactory,
        config: &'a Config,
        disk: SimDisk,
        book: Shared,
    ) -> Session<'a> {
        disk.bound_calls(CALLS_PER_STEP_MAX);
        Session {
            factory,
            promises: factory.promises(),
            config,
            disk,
            speaks_for: None,
            transactions: BTreeMap::new(),
            tickets: Vec::new(),
            store: None,
            step: None,
            book,
            stats: RunStats::default(),
        }
    }

    /// The session of a thread beside others that share `book`, with a handle on the store that they have open.
    pub(crate) fn beside_others(
        factory: &'a dyn StoreFactory,
        config: &'a Config,
        disk: SimDisk,
        book: Shared,
        store: Box<dyn Store>,
        thread: Thread,
    ) -> Session<'a> {
        let client = match thread {
            Thread::Client(client) => client,
            Thread::Upkeep => UPKEEP,
        };
        let session = Session::new(factory, config, disk, book);
        Session { store: Some(store), speaks_for: Some(client), ..session }
    }

    /// A session on what a power loss has left, which is the next event after those that are remembered.
    pub(super) fn resuming(
        factory: &'a dyn StoreFactory,
        config: &'a Config,
        disk: SimDisk,
        recorder: Recorder,
        memory: &Memory,
        is_power_loss: bool,
    ) -> Session<'a> {
        let mut session = Session::new(factory, config, disk, Shared::new(recorder));
        session.book().remember(memory);
        // What struck the call that the power loss cut short was heard of before it.
        session.note_faults();
        session.record(Event::Crash { is_power_loss });
        session
    }

    pub(crate) fn promises(&self) -> Promises {
        self.promises
    }

    /// Whether this client has a transaction open that writes.
    pub(crate) fn is_writing(&self, client: ClientId) -> bool {
        self.transactions.get(&client).is_some_and(|open| open.mode.writes())
    }

    /// Whether the last that happened was that this client was refused, because somebody else is writing.
    pub(crate) fn was_refused_as_busy(&self, client: ClientId) -> bool {
        let book = self.book();
        let last = book.recorder.backwards().next();
        matches!(last, Some(Event::Refused { client: refused, reason: Refusal::WriteBusy, .. }) if *refused == client)
    }

    /// The book that this session writes in. Not to be held during a call of the store.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// The same, for another session.
    pub(crate) fn share(&self) -> Shared {
        self.book.clone()
    }

    /// Another handle on the store that is open, for another thread. None if the store is not open, or has no such thing.
    pub(crate) fn handle(&mut self) -> Option<Box<dyn Store + Send>> {
        self.store.as_ref().and_then(|store| store.handle())
    }

    /// What follows belongs to this step of the plan.
    pub(crate) fn enter(&mut self, step: Option<usize>, describe: impl FnOnce() -> String) {
        self.step = step;
        self.disk.bound_calls(CALLS_PER_STEP_MAX);
        self.book().recorder.enter(step, describe);
    }

    /// The plan's step under way.
    pub(crate) fn step(&self) -> Option<usize> {
        self.step
    }

    /// What happened was caused by this step, be it that another session took it.
    pub(crate) fn blame(&mut self, step: Option<usize>) {
        self.step = step;
    }

    /// Takes a step of the plan that leaves the store open.
    ///
    /// # Panics
    /// If it is one that the driver has to take.
    pub(crate) fn take(&mut self, step: &Step) -> Result<(), Interrupt> {
        match step {
            Step::Client(client, action) => self.act(*client, action),
            Step::Checkpoint => self.checkpoint(),
            Step::Compact => self.compact(),
            Step::Backup => self.back_up(),
            Step::Changes { cursor, limit } => self.changes(*cursor, *limit),
            Step::Space(bytes) => self.limit_space(*bytes),
            Step::Fault(fault) => {
                self.plant(fault);
                Ok(())
            }
            Step::Heal => {
                self.heal();
                Ok(())
            }
            Step::Verify => self.verify(Activity::Other),
            Step::Reopen | Step::Abandon | Step::Crash(_) | Step::Switch(_) => {
                unreachable!("the driver takes this step: {step}")
            }
        }
    }

    /// Opens the store, and records all that it holds. What keeps it from that is taken away, if it is on record.
    pub(super) fn open(&mut self, activity: Activity) -> Result<(), Interrupt> {
        self.disk.bound_calls(CALLS_PER_STEP_MAX);
        let mut healed_at = None;
        for attempts in 1.. {
            let corruptions = self.stats.corruptions;
            if self.try_open(activity)? {
                break;
            }
            if self.book().forget_lost_names() {
                // Nothing is in it, and its names may never be durable: see the factory's `open`.
                self.disk.clear();
            }
            let is_corrupt = self.stats.corruptions > corruptions;
            let is_limited = self.book().is_limited;
            if is_limited {
                self.free_space(None);
            } else if healed_at.is_some() && is_corrupt {
                // What is left is what a lying sync has made of it: excused, and beyond repair.
                self.stats.beyond_repair += 1;
                return Err(Interrupt::Failed);
            } else if let Some(healed_at) = healed_at {
                if attempts - healed_at >= HEALED_OPENING_COUNT_MAX {
                    let error = format!("still failing, {HEALED_OPENING_COUNT_MAX} times after healing");
                    return Err(self.fail("open", error));
                }
            } else if is_corrupt || attempts >= OPENING_COUNT_MAX {
                self.heal();
                healed_at = Some(attempts);
            }
        }
        Ok(())
    }

    /// Opens the store and records all that it holds, unless it fails as it may.
    fn try_open(&mut self, activity: Activity) -> Result<bool, Interrupt> {
        let is_first = self.book().recorder.is_empty();
        if !is_first {
            self.record(Event::Opening);
        }
        let vfs = self.disk.vfs();
        let opened = catch(|| self.factory.open(vfs, self.config));
        let Some(mut store) = self.attempt(activity, "open", opened)? else { return Ok(false) };
        let read = catch(|| {
            let mut transaction = store.begin_read()?;
            let pairs = transaction.scan(&KeyRange::all(), usize::MAX, false)?;
            transaction.abort()?;
            Ok((store.latest(), store.oldest(), pairs))
        });
        self.store = Some(store);
        let Some((latest, oldest, state)) = self.attempt(activity, "scan after open", read)? else {
            self.drop_all()?;
            return Ok(false);
        };
        let latest = self.promised(self.promises.transaction_ids, "open", latest)?;
        let oldest = self.promised(self.promises.time_travel, "open", oldest)?;
        let retention = self.promises.time_travel.then_some(self.config.retention);
        self.lose_unsettled_marks();
        self.record(Event::Opened { latest, oldest, retention, state });
        self.book().is_open_again();
        self.note_lies();
        Ok(true)
    }

    /// Aborts what is open, and waits for nothing that was handed in.
    pub(crate) fn give_up(&mut self) -> Result<(), Interrupt> {
        while let Some((_, open)) = self.transactions.pop_first() {
            self.abort(open)?;
        }
        let tickets = std::mem::take(&mut self.tickets);
        catch(|| drop(tickets)).map_err(|panic| self.fail("drop", panic))
    }

    /// Aborts what is open and closes the store, whose process dies instead if a fault keeps it from that.
    pub(super) fn close(&mut self) -> Result<(), Interrupt> {
        self.give_up()?;
        let store = self.store.take().expect("a store is closed only when it is open");
        self.book().is_open = false;
        let closed = catch(|| store.close());
        match self.attempt(Activity::Other, "close", closed)? {
            None => self.crash(Activity::Other, &Keep::PageCache).map(|_| ()),
            Some(()) => {
                if self.promises.durable_close {
                    self.record(Event::Durable);
                }
                self.record(Event::Closed);
                Ok(())
            }
        }
    }

    /// Drops the store, before what is open beside it.
    pub(super) fn drop_store(&mut self) -> Result<(), Interrupt> {
        let store = self.store.take();
        catch(|| drop(store)).map_err(|panic| self.fail("drop", panic))
    }

    /// Drops the store, and then what is open beside it, as a process does that just goes on.
    pub(crate) fn leave_behind(&mut self) -> Result<(), Interrupt> {
        self.drop_store()?;
        let (tickets, transactions) =
            (std::mem::take(&mut self.tickets), std::mem::take(&mut self.transactions));
        catch(|| drop((transactions, tickets))).map_err(|panic| self.fail("drop", panic))
    }

    /// Records what has become of a store when all that was open is left behind.
    pub(super) fn is_abandoned(&mut self) -> Result<(), Interrupt> {
        self.note_faults();
        if self.disk.has_crashed() {
            return Err(self.cut_short(Activity::Other, "drop"));
        }
        let is_kept = self.promises.keeps_on_drop && !self.book().excuses.poisoned();
        self.record(if is_kept { Event::Closed } else { Event::Crash { is_power_loss: false } });
        Ok(())
    }

    /// Takes the power away from whatever is open, in the middle of this, and lets `keep` survive.
    pub(super) fn crash(&mut self, activity: Activity, keep: &Keep) -> Result<CrashReport, Interrupt> {
        self.disk.power_off();
        self.book().is_open = false;
        self.drop_all()?;
        let report = self.disk.crash(keep);
        self.stats.crashes.count(activity, &report);
        self.record(Event::Crash { is_power_loss: *keep != Keep::PageCache });
        Ok(report)
    }

    /// Drops what is open, where a panic cannot escape.
    pub(crate) fn drop_all(&mut self) -> Result<(), Interrupt> {
        let tickets = std::mem::take(&mut self.tickets);
        let mut dropped = catch(|| drop(tickets));
        while let Some((_, open)) = self.transactions.pop_first() {
            dropped = dropped.and(catch(|| drop(open)));
        }
        let store = self.store.take();
        dropped = dropped.and(catch(|| drop(store)));
        dropped.map_err(|panic| self.fail("drop", panic))
    }

    /// Sorts the outcome of a call that nothing excuses.
    fn judge<T>(&mut self, activity: Activity, what: &str, caught: Caught<T>) -> Result<T, Interrupt> {
        self.heard(activity, what, caught)?.map_err(|error| self.fail(what, error.to_string()))
    }

    /// Sorts the outcome of a call: none if it failed as it may, which is on record then.
    fn attempt<T>(
        &mut self,
        activity: Activity,
        what: &str,
        caught: Caught<T>,
    ) -> Result<Option<T>, Interrupt> {
        match self.heard(activity, what, caught)? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => self.fail_as(what, &error).map(|()| None),
        }
    }

    /// What a call has answered, unless it panicked or the power failed.
    fn heard<T>(
        &mut self,
        activity: Activity,
        what: &str,
        caught: Caught<T>,
    ) -> Result<Result<T, StoreError>, Interrupt> {
        let outcome = caught.map_err(|panic| self.fail(what, panic))?;
        self.note_faults();
        if self.disk.has_crashed() {
            catch(|| drop(outcome)).map_err(|panic| self.fail(what, panic))?;
            return Err(self.cut_short(activity, what));
        }
        Ok(outcome)
    }

    /// The power failed during a call.
    pub(super) fn cut_short(&mut self, activity: Activity, what: &str) -> Interrupt {
        if self.disk.has_strayed() {
            // Nobody has cut the power: the store has gone on and on, and has not even panicked over it.
            return self.fail(what, String::new());
        }
        Interrupt::PowerLost(activity)
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
        if self.disk.has_strayed() {
            let step = self.step.map_or_else(String::new, |step| format!(" in step {}", step + 1));
            self.note_endless(format!("`{what}`{step} has made {CALLS_PER_STEP_MAX} I/O calls, and goes on"));
        } else {
            self.record(Event::Failed { what: what.to_owned(), error });
        }
        Interrupt::Failed
    }

    /// Puts on record that somebody comes to no end, if that is so and not on record yet, and what the others do meanwhile.
    pub(crate) fn tell_endless(&mut self, others: &str) {
        let endless = self.book().endless.take();
        if let Some(what) = endless {
            self.record(Event::Stuck { kind: Stuck::Livelock, what: format!("{what}{others}") });
        }
    }

    /// Somebody comes to no end: who, and with what. It is on record when the run is over.
    pub(crate) fn note_endless(&mut self, what: String) {
        self.book().endless.get_or_insert(what);
    }

    fn record(&self, event: Event) {
        let mut book = self.book();
        book.excuses.take(&event);
        book.recorder.event(event, self.step, &self.disk);
    }

    /// Puts on record that a client asks for something whose answer others may overtake.
    fn ask(&self, client: ClientId, call: Call) {
        if self.speaks_for.is_some() {
            self.record(Event::Asked { client, call });
        }
    }

    /// Ends this session, and leaves its sums in the book.
    pub(crate) fn leave(mut self) {
        // Whoever leaves has dropped what was open, or drops it now: a panic is on record then.
        let _ = self.drop_all();
        self.book().stats += &self.stats;
    }
}
