//! A history: what clients asked of one store and what it answered, in the order in which it happened.
//!
//! A history is the whole input of a checker. It holds nothing that the store kept to itself, and everything that it
//! revealed: a store that reports TxnIds is held to them, a store that reports none is judged by its values.
//!
//! Where clients run at the same time, what a client asks for begins with an [`Event::Asked`] of its own, and may have
//! been done at any moment between that and the answer. Events stand in the order in which they were written down, which
//! is one that real time allows: a call that was answered before another one was asked for stands before it.
//!
//! Crashes end every open transaction without an event of their own. After a [`Event::Crash`] no label of before may
//! appear again.

use crate::{
    Call, ClientId, Commit, Durability, Failure, FaultClass, Key, KeyRange, MarkLabel, Mode, Retention,
    SavepointLabel, Stuck, TxnId, TxnLabel, Value,
};

/// What happened in one run, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client asked for something while others were at work, and waits for the answer. A history leaves it out where
    /// only one client acts at a time.
    Asked {
        /// Who.
        client: ClientId,
        /// For what.
        call: Call,
    },
    /// A transaction was opened.
    Begin {
        /// Who opened it.
        client: ClientId,
        /// Its name in this history.
        txn: TxnLabel,
        /// How.
        mode: Mode,
        /// The snapshot the store said it reads, if it says.
        snapshot: Option<TxnId>,
    },
    /// The store declined to open a transaction.
    Refused {
        /// Who asked.
        client: ClientId,
        /// For what.
        mode: Mode,
        /// Why not.
        reason: Refusal,
        /// The oldest TxnId that can be read at this moment, if the snapshot asked for was not found and the store says.
        oldest: Option<TxnId>,
    },
    /// A key was read.
    Get {
        /// By which transaction.
        txn: TxnLabel,
        /// The key.
        key: Key,
        /// What the store returned.
        value: Option<Value>,
    },
    /// A range was read.
    Scan {
        /// By which transaction.
        txn: TxnLabel,
        /// The range.
        range: KeyRange,
        /// The most pairs that were asked for.
        limit: usize,
        /// From the range's end backwards.
        reverse: bool,
        /// What the store returned, in its order.
        pairs: Vec<(Key, Value)>,
    },
    /// A value was written inside a transaction.
    Put {
        /// By which transaction.
        txn: TxnLabel,
        /// The key.
        key: Key,
        /// The value: unique in the history.
        value: Value,
    },
    /// A key was removed inside a transaction.
    Delete {
        /// By which transaction.
        txn: TxnLabel,
        /// The key.
        key: Key,
    },
    /// A range was removed inside a transaction.
    DeleteRange {
        /// By which transaction.
        txn: TxnLabel,
        /// The range.
        range: KeyRange,
        /// How many pairs the store said it removed.
        count: u64,
        /// The keys that a scan by the same transaction found there just before, in order.
        keys: Vec<Key>,
    },
    /// A transaction's writes so far were remembered.
    Savepoint {
        /// By which transaction.
        txn: TxnLabel,
        /// Its name: unique in the transaction.
        savepoint: SavepointLabel,
    },
    /// A transaction went back to a savepoint, or was told that there is no such savepoint any more.
    Rollback {
        /// Which transaction.
        txn: TxnLabel,
        /// To which of its savepoints.
        savepoint: SavepointLabel,
        /// Whether the store declined, and nothing was undone.
        is_refused: bool,
    },
    /// The state as it was before this transaction was marked, so that a later one can take the store back to it.
    Mark {
        /// By which transaction, which had done nothing else until then.
        txn: TxnLabel,
        /// Its name: unique in the history.
        mark: MarkLabel,
        /// Whether it is part of what the transaction commits and lasts until it is forgotten. Otherwise it is there at
        /// once, whatever becomes of the transaction, and lasts until the store is closed.
        is_persistent: bool,
    },
    /// A transaction took the store back to a mark, undoing what it had written itself, too; or was told that there is no
    /// such mark any more. Marks that were set after this one end when the transaction commits.
    Restore {
        /// Which transaction.
        txn: TxnLabel,
        /// To which mark.
        mark: MarkLabel,
        /// Whether the store declined, and nothing was changed.
        is_refused: bool,
    },
    /// A mark was given up: a persistent one when the transaction commits, any other at once.
    Forget {
        /// By which transaction.
        txn: TxnLabel,
        /// Which mark.
        mark: MarkLabel,
        /// Whether the store said that there is no such mark.
        is_refused: bool,
    },
    /// A commit was asked for. Until its outcome is known, it may or may not have happened.
    Submit {
        /// Which transaction.
        txn: TxnLabel,
        /// What the commit is to promise.
        durability: Durability,
    },
    /// The store took the commit in: it has its place from now on, but it is neither durable nor visible to readers
    /// before `committed`, or before the store acknowledged another commit or more.
    Ticket {
        /// Which transaction.
        txn: TxnLabel,
        /// The TxnId that the store assigned, if it says.
        id: Option<TxnId>,
    },
    /// The store acknowledged the commit. A transaction without mutations takes no TxnId: `id` is then the latest.
    Committed {
        /// Which transaction.
        txn: TxnLabel,
        /// The TxnId that the store assigned, if it says.
        id: Option<TxnId>,
    },
    /// The transaction ended without effect, by its client's choice or the store's.
    Aborted {
        /// Which transaction.
        txn: TxnLabel,
    },
    /// The store declined to commit: the transaction ended without effect. Where clients run at the same time, one that
    /// hears for the first time that the store is poisoned may have shared the sync that failed, and is in doubt.
    Denied {
        /// Which transaction.
        txn: TxnLabel,
        /// Why.
        reason: Denial,
    },
    /// The commit stream was read.
    Changes {
        /// From which commit on.
        from: TxnId,
        /// The most commits that were asked for.
        limit: usize,
        /// The oldest TxnId that can be read at this moment, if the store says.
        oldest: Option<TxnId>,
        /// What the store returned, in its order.
        commits: Vec<Commit>,
    },
    /// The store declined to read the commit stream.
    ChangesRefused {
        /// From which commit on.
        from: TxnId,
        /// Why not.
        reason: Refusal,
        /// The oldest TxnId that can be read at this moment, if the store says.
        oldest: Option<TxnId>,
    },
    /// A backup was made and opened, and this is what it holds as of one commit.
    Backup {
        /// As of which commit it was read.
        at: TxnId,
        /// Its latest TxnId by its own account.
        latest: TxnId,
        /// The oldest TxnId that can be read from it.
        oldest: TxnId,
        /// Every pair, in key order.
        state: Vec<(Key, Value)>,
    },
    /// From now on there is room on the disk for so many bytes more, or without a limit.
    Space {
        /// How many.
        bytes: Option<u64>,
    },
    /// The store could not do something because the disk is full. Nothing was changed.
    OutOfSpace {
        /// Who was told, where clients run at the same time and it is known.
        client: Option<ClientId>,
        /// What was tried, in words that start with the operation.
        what: String,
    },
    /// A fault fired during the call whose outcome follows: the disk was told to let it, and the store is not to blame
    /// for what its class makes possible.
    Fault {
        /// What it suspends.
        class: FaultClass,
        /// Which I/O call failed over it, if it is one of the environment and any did: what one of them has left behind
        /// unasked is heard of later.
        failure: Option<Failure>,
        /// Whether only the call that it met has seen wrong bytes, if it is damage, and the bytes themselves are right.
        is_passing: bool,
        /// How many groups of commits it may take from the end of the log, if it is damage; see the crash prefix
        /// checker. None if there is no telling.
        groups: Option<u64>,
        /// Which fault, and which call it met.
        call: String,
    },
    /// Everything that a lying sync acknowledged is durable by now.
    MadeGood,
    /// From now on no fault fires, and the bytes that faults hid are back.
    Healed,
    /// A call of the store failed over a [`Event::Fault`] of the environment in this very call.
    GaveUp {
        /// Who was told, where clients run at the same time and it is known.
        client: Option<ClientId>,
        /// What was tried, in words that start with the operation.
        what: String,
        /// What the store said.
        error: String,
    },
    /// The store declined to change anything, because a call failed before. Nothing was changed.
    Poisoned {
        /// Who was told, where clients run at the same time and it is known.
        client: Option<ClientId>,
        /// What was tried, in words that start with the operation.
        what: String,
    },
    /// The store found bytes that it cannot have written, and gave no answer.
    Corrupt {
        /// Who was told, where clients run at the same time and it is known.
        client: Option<ClientId>,
        /// What was tried, in words that start with the operation.
        what: String,
        /// What the store said.
        error: String,
    },
    /// The store acknowledged, other than by a commit, that every commit so far is durable (a checkpoint, a close).
    Durable,
    /// The store was closed in good order.
    Closed,
    /// The store's process ended without closing it. Everything volatile is gone.
    Crash {
        /// Whether the power failed, and took with it what had been written and not synced. Otherwise the system lives
        /// on, and whoever opens the store again reads everything that was written.
        is_power_loss: bool,
    },
    /// The store is about to be opened (again): what happens from here to the next [`Event::Opened`], or to whatever ends
    /// the attempt, happens to the one who opens it. A history leaves it out where it starts with an opening.
    Opening,
    /// The store was opened (again), and this is all it holds.
    Opened {
        /// The latest TxnId by the store's own account, if it gives one.
        latest: Option<TxnId>,
        /// The oldest TxnId that can still be read, if the store gives one.
        oldest: Option<TxnId>,
        /// How much of the past the store promises to keep from now on, if it promises to travel in time.
        retention: Option<Retention>,
        /// Every pair, in key order.
        state: Vec<(Key, Value)>,
    },
    /// The store failed where it had promised not to.
    Failed {
        /// What was tried, in words that start with the operation: `open`, `get`, `commit`, `checkpoint`, `verify`.
        what: String,
        /// What the store said.
        error: String,
    },
    /// The run came to no end. It is the last event.
    Stuck {
        /// How.
        kind: Stuck,
        /// What everybody waits for.
        what: String,
    },
}

impl Event {
    /// The transaction that it is about, if it is about one.
    pub fn txn_mut(&mut self) -> Option<&mut TxnLabel> {
        match self {
            Event::Begin { txn, .. }
            | Event::Get { txn, .. }
            | Event::Scan { txn, .. }
            | Event::Put { txn, .. }
            | Event::Delete { txn, .. }
            | Event::DeleteRange { txn, .. }
            | Event::Savepoint { txn, .. }
            | Event::Rollback { txn, .. }
            | Event::Mark { txn, .. }
            | Event::Restore { txn, .. }
            | Event::Forget { txn, .. }
            | Event::Submit { txn, .. }
            | Event::Ticket { txn, .. }
            | Event::Committed { txn, .. }
            | Event::Aborted { txn }
            | Event::Denied { txn, .. } => Some(txn),
            Event::Asked { .. }
            | Event::Refused { .. }
            | Event::Changes { .. }
            | Event::ChangesRefused { .. }
            | Event::Backup { .. }
            | Event::Space { .. }
            | Event::OutOfSpace { .. }
            | Event::Fault { .. }
            | Event::MadeGood
            | Event::Healed
            | Event::GaveUp { .. }
            | Event::Poisoned { .. }
            | Event::Corrupt { .. }
            | Event::Durable
            | Event::Closed
            | Event::Crash { .. }
            | Event::Opening
            | Event::Opened { .. }
            | Event::Failed { .. }
            | Event::Stuck { .. } => None,
        }
    }
}

/// Why a store declined to open a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another write transaction is open.
    WriteBusy,
    /// The snapshot asked for is not retained, or lies in the future.
    SnapshotNotFound,
    /// The commits asked for are not retained any more.
    ChangesNotRetained,
    /// An I/O call failed before, and the store changes nothing more until it is opened again.
    Poisoned,
}

/// Why a store declined to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Another transaction has committed this key since the snapshot.
    Conflict {
        /// The key.
        key: Key,
    },
    /// An exclusive write transaction is open.
    WriteBusy,
    /// There is no room on the disk.
    OutOfSpace,
    /// An I/O call failed before, and the store changes nothing more until it is opened again.
    Poisoned,
}
