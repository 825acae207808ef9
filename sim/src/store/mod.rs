//! The system under test: what a store must be able to do, and what it promises.
//!
//! To test a store of your own, implement three traits. [`Transaction`] reads and writes, [`Store`] opens
//! transactions, [`StoreFactory`] opens the store on a simulated disk and says what it promises. Everything beyond
//! the core (`get`, `scan`, `put`, `delete`, `commit`) has a default that claims nothing.
//!
//! **The bargain.** The runner asks a store for nothing that its [`Promises`] leave out, and excuses nothing that
//! they include. Whatever a store does not promise it is not asked for: the plan's step is replaced by the next best
//! (a durable commit instead of a buffered one, the latest state instead of an older one, an exclusive writer instead
//! of an optimistic one), or left out.
//!
//! **What an adapter must keep to**, or the verdict means nothing:
//!
//! - Every byte goes through the [`Vfs`]: what lives elsewhere survives a power loss that it should not survive.
//! - No threads, clocks or random numbers of its own: a seed must mean the same run every time.
//! - Nothing blocks. One thread runs all clients, so a writer that waits for another waits forever. A store that was built
//!   [for threads](StoreFactory::for_threads) may block, where shuttle knows of it.
//! - Dropping a store or a transaction never panics, not even after its disk failed.

mod batch;
mod engine;
mod redb;

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use proofmark_model::text::BytesText;
use proofmark_model::{
    Commit, Durability, FaultClass, Key, KeyRange, MarkLabel, SavepointLabel, TxnId, Value,
};
use proofmark_vfs::Vfs;

pub use self::batch::{BatchStore, Batches};
pub use self::engine::{Engine, EngineThreads};
pub use self::redb::Redb;
use crate::disk::FaultKind;
use crate::plan::Config;

/// A store as a product: its name, its promises, and how it is opened.
pub trait StoreFactory: Debug + Send + Sync {
    /// The name a person knows it by.
    fn name(&self) -> &str;

    /// What it is held to.
    fn promises(&self) -> Promises;

    /// Whether plans that are drawn from a seed leave out this kind of fault, because it is known to break a promise of the
    /// store that is opened like this, and would hide whatever else there is to find. What is known has to be kept as a
    /// plan. A plan that somebody wrote is carried out as it is.
    fn is_spared(&self, _kind: FaultKind, _config: &Config) -> bool {
        false
    }

    /// Whether the file with this path may hold a part of the log, at whose end damage can take what was acknowledged.
    fn may_hold_log(&self, _path: &Path) -> bool {
        true
    }

    /// Opens the store, creating it if it is absent. The store lives anywhere below `/` of `vfs`, and has it alone.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if there is a store that cannot be opened. The runner forgives that only if the power
    /// failed in the middle of this very call. A store without [`Promises::survives_loss_during_creation`] is spared
    /// that in its first opening; one with it must open after a loss there as after any other. If the first opening fails
    /// because a directory could not be synced, the runner removes what it has made before it opens again.
    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError>;

    /// The same store, built so that shuttle schedules its threads; none if there is no such build. It is opened, used and
    /// dropped within an execution of shuttle's. Other threads may go on at every lock and every atomic in it, and before and
    /// after every call of the disk, which it sees to itself. Each thread has a [handle](Store::handle) of its own.
    fn for_threads(&self) -> Option<&'static dyn StoreFactory> {
        None
    }
}

/// What came of the wish to compact a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// Something that is open stands in its way, and nothing was done.
    Declined,
    /// It was done.
    Done {
        /// Whether every commit so far is durable now.
        is_durable: bool,
    },
}

/// What a client's own panic says, by which it is told from a panic of the store.
pub const CLIENT_PANIC: &str = "a client panicked";

/// An open store.
pub trait Store {
    /// Opens a transaction that reads the latest committed state, and keeps reading it whatever is committed later.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Opens a transaction that reads the state as of the commit `at`. Asked for under [`Promises::time_travel`].
    ///
    /// # Errors
    /// [`StoreError::SnapshotNotFound`] if `at` is not retained or lies in the future.
    fn begin_read_at(&mut self, at: TxnId) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::Failed(format!("no snapshot {at}: this store does not travel in time")))
    }

    /// Opens the one write transaction.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if one is open.
    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Opens a write transaction beside others. Asked for under [`Promises::optimistic_writers`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot. It waits for nobody.
    fn begin_optimistic(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Err(StoreError::unpromised("optimistic writers"))
    }

    /// Reads what the commits from `from` on changed, `limit` of them at most: each key once, in key order. What has been
    /// read is durable. Asked for under [`Promises::commit_stream`].
    ///
    /// # Errors
    /// [`StoreError::ChangesNotRetained`] if `from` is not newer than [`Store::oldest`], and
    /// [`StoreError::SnapshotNotFound`] if it lies beyond the commit after the latest.
    fn changes(&mut self, _from: TxnId, _limit: usize) -> Result<Vec<Commit>, StoreError> {
        Err(StoreError::unpromised("the commit stream"))
    }

    /// Gives unused space back to the disk, if nothing that is open stands in its way. Asked for under
    /// [`Promises::compaction`].
    ///
    /// # Errors
    /// [`StoreError::OutOfSpace`] if there is no room for it, [`StoreError::Failed`] if the store cannot.
    fn compact(&mut self) -> Result<Compaction, StoreError> {
        Err(StoreError::unpromised("compaction"))
    }

    /// Copies the store, and opens the copy, which is removed when it is closed. Asked for under
    /// [`Promises::backups`].
    ///
    /// # Errors
    /// [`StoreError::OutOfSpace`] if there is no room for it, [`StoreError::Failed`] if the store cannot.
    fn backup(&mut self) -> Result<Box<dyn Store>, StoreError> {
        Err(StoreError::unpromised("backups"))
    }

    /// Writes back what can be written back, and says whether every commit so far is durable now.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Checks the store's own invariants, and says whether it could: a check that was left out proves nothing.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with what is broken.
    fn verify(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The latest commit. `Some` under [`Promises::transaction_ids`].
    fn latest(&self) -> Option<TxnId> {
        None
    }

    /// The oldest commit that [`Store::begin_read_at`] can still reach. `Some` under [`Promises::time_travel`].
    fn oldest(&self) -> Option<TxnId> {
        None
    }

    /// Another handle on this open store, for another thread. The store is open for as long as there is one of them. `Some` of
    /// stores that were built [for threads](StoreFactory::for_threads).
    fn handle(&self) -> Option<Box<dyn Store + Send>> {
        None
    }

    /// Closes the store in good order, with no transaction and no other handle open. Under [`Promises::durable_close`] every
    /// commit is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An open transaction. Dropping it ends it without effect.
pub trait Transaction {
    /// The commit whose state this transaction reads. `Some` under [`Promises::transaction_ids`].
    fn snapshot(&self) -> Option<TxnId> {
        None
    }

    /// Reads one key, with the transaction's own writes.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError>;

    /// Reads the first `limit` pairs of `range` in key order, or in the reverse of it, with the transaction's own
    /// writes.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError>;

    /// Writes a value. Asked of write transactions only.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn put(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::read_only())
    }

    /// Removes a key, present or not. Asked of write transactions only.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn delete(&mut self, _key: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::read_only())
    }

    /// Removes every key of a range that the transaction sees there; how many those are. Asked of write transactions
    /// only.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn delete_range(&mut self, range: &KeyRange) -> Result<u64, StoreError> {
        let pairs = self.scan(range, usize::MAX, false)?;
        pairs.iter().try_for_each(|(key, _)| self.delete(key))?;
        Ok(pairs.len() as u64)
    }

    /// Remembers the writes so far under a name that is new in this transaction. Asked of write transactions under
    /// [`Promises::savepoints`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn savepoint(&mut self, _savepoint: SavepointLabel) -> Result<(), StoreError> {
        Err(StoreError::unpromised("savepoints"))
    }

    /// Undoes every write since a savepoint that was taken, which stays; those after it are gone. Asked of write
    /// transactions under [`Promises::savepoints`].
    ///
    /// # Errors
    /// [`StoreError::SavepointNotFound`] if it is gone.
    fn roll_back(&mut self, _savepoint: SavepointLabel) -> Result<(), StoreError> {
        Err(StoreError::unpromised("savepoints"))
    }

    /// Marks the state that this transaction found, so that a later one can take the store back to it. A persistent mark
    /// is part of what is committed, and is found by the number that is returned, however often the store was closed in
    /// between; any other is found by its label, whatever becomes of this transaction, until the store is closed. Asked of
    /// exclusive writers that have done nothing else yet, under [`Promises::marks`].
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn mark(&mut self, _mark: MarkLabel, _is_persistent: bool) -> Result<Option<u64>, StoreError> {
        Err(StoreError::unpromised("marks"))
    }

    /// Takes the store back to a mark, when this transaction commits; until then it is only what the transaction sees. Its
    /// own writes so far are undone, too. Marks that were set after this one end with the commit. Asked of exclusive
    /// writers under [`Promises::marks`].
    ///
    /// # Errors
    /// [`StoreError::MarkNotFound`] if it is gone.
    fn restore(&mut self, _mark: Mark) -> Result<(), StoreError> {
        Err(StoreError::unpromised("marks"))
    }

    /// Ends a mark: a persistent one when this transaction commits, any other at once. Asked of exclusive writers under
    /// [`Promises::marks`].
    ///
    /// # Errors
    /// [`StoreError::MarkNotFound`] if it is gone.
    fn forget(&mut self, _mark: Mark) -> Result<(), StoreError> {
        Err(StoreError::unpromised("marks"))
    }

    /// Rearranges how the store keeps its pairs, without changing what it holds. Asked of write transactions.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn tend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Panics, as a client's own code may while it holds the transaction, which is dropped on the way.
    ///
    /// # Errors
    /// If the store fails before that.
    ///
    /// # Panics
    /// With [`CLIENT_PANIC`].
    fn panic(self: Box<Self>) -> Result<Infallible, StoreError> {
        let _held = self;
        panic!("{CLIENT_PANIC}");
    }

    /// Hands the commit in: it has its place then, is neither durable nor visible, and becomes both when its ticket was
    /// waited for, or a later commit was acknowledged as durable. Asked of write transactions under
    /// [`Promises::tickets`].
    ///
    /// # Errors
    /// As for [`Transaction::commit`].
    fn submit(self: Box<Self>) -> Result<Box<dyn Ticket>, StoreError> {
        Err(StoreError::unpromised("tickets"))
    }

    /// Commits, and names the commit under [`Promises::transaction_ids`]. Asked of write transactions only.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] and [`StoreError::Busy`] for an optimistic transaction, [`StoreError::OutOfSpace`],
    /// [`StoreError::Poisoned`]: nothing is committed then, ever. [`StoreError::Failed`] if the store cannot.
    fn commit(self: Box<Self>, _durability: Durability) -> Result<Option<TxnId>, StoreError> {
        Err(StoreError::read_only())
    }

    /// Ends the transaction without effect.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store cannot.
    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A commit that was handed in. Dropping it leaves the commit where it is.
pub trait Ticket {
    /// The commit's name. `Some` under [`Promises::transaction_ids`].
    fn id(&self) -> Option<TxnId>;

    /// Waits until the commit is durable and visible.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Poisoned`] if the store cannot say that it ever will be.
    fn wait(self: Box<Self>) -> Result<Option<TxnId>, StoreError>;
}

/// A mark that was set, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its name in the plan.
    pub label: MarkLabel,
    /// What the store said it is found by, if it is persistent.
    pub id: Option<u64>,
}

/// What a store is held to. Snapshot isolation, the atomicity of commits and their order are not optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own")]
pub struct Promises {
    /// Transactions name their snapshot, commits their [`TxnId`], and the store its latest one. Ids are dense.
    pub transaction_ids: bool,
    /// Any retained commit can be read, until a checkpoint retires it as the plan's retention says.
    pub time_travel: bool,
    /// A buffered commit is visible at once and durable later. Without it every commit is durable when it returns.
    pub buffered_commits: bool,
    /// A store that was closed in good order has lost nothing after a power loss.
    pub durable_close: bool,
    /// Power may fail while the store is created, or a call of the disk, and the next open starts from nothing. Without
    /// it no power loss is set before the first open returned, and no fault but transparent ones is planted.
    pub survives_loss_during_creation: bool,
    /// Writers may be open beside each other; of two that write one key, the first to commit wins.
    pub optimistic_writers: bool,
    /// A write transaction can go back to an earlier point in itself.
    pub savepoints: bool,
    /// A commit can be handed in and waited for later.
    pub tickets: bool,
    /// What each retained commit changed can be read.
    pub commit_stream: bool,
    /// Unused space can be given back.
    pub compaction: bool,
    /// A copy can be made that is a store of its own.
    pub backups: bool,
    /// A transaction can take the store back to a state that an earlier one marked.
    pub marks: bool,
    /// A store that is dropped, instead of being closed in good order, has every commit when it is opened again, as long
    /// as its process lives. Without it only what was durable has to be there.
    pub keeps_on_drop: bool,
    /// A full disk loses nothing, and the store goes on when there is space again.
    pub survives_full_disk: bool,
    /// When an I/O call fails, nothing is lost that was acknowledged. The call of the store that met it says
    /// [`StoreError::Io`] or [`StoreError::OutOfSpace`]; later ones may say [`StoreError::Poisoned`], if they would change
    /// something, until the store was opened again.
    pub survives_io_errors: bool,
    /// Reads go on after an I/O error, and giving up a transaction does not fail. Without it both may say
    /// [`StoreError::Poisoned`] as well, from the first failed I/O call on and until the store was opened again, or
    /// [`StoreError::Io`] if they met the failed call themselves, and at no other time.
    pub goes_on_after_io_errors: bool,
    /// Whatever bytes the disk returns instead of those that were written, the store never answers wrongly: it says
    /// [`StoreError::Corruption`], or loses the last group of commits when it is opened, for which nothing vouches
    /// (`proofmark_model`'s checkers say what that is). Once the bytes are right again, so is the store.
    pub detects_damage: bool,
    /// When a sync was acknowledged and not done, and the power fails, the store comes back with an earlier state that it
    /// once had, or says [`StoreError::Corruption`].
    pub survives_lies: bool,
}

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another write transaction is open.
    #[error("another write transaction is open")]
    Busy,
    /// The snapshot is not retained, or lies in the future.
    #[error("the snapshot is not retained")]
    SnapshotNotFound,
    /// Another transaction has committed this key since the snapshot.
    #[error("another transaction committed {} first", BytesText(key))]
    Conflict {
        /// The key.
        key: Key,
    },
    /// The savepoint ended when the transaction went back to an earlier one.
    #[error("the savepoint is gone")]
    SavepointNotFound,
    /// The mark ended, or was never set.
    #[error("the mark is gone")]
    MarkNotFound,
    /// The commit asked for is not retained one by one any more.
    #[error("these changes are not retained")]
    ChangesNotRetained,
    /// The disk is full. Nothing was changed.
    #[error("no space: {0}")]
    OutOfSpace(String),
    /// An I/O call failed before, and the store changes nothing more. Nothing was changed now.
    #[error("poisoned: {0}")]
    Poisoned(String),
    /// The disk would not: an I/O call failed in this very call of the store.
    #[error("i/o: {0}")]
    Io(String),
    /// Bytes on the disk are not what the store wrote there.
    #[error("corruption: {0}")]
    Corruption(String),
    /// Anything else, in the store's words.
    #[error("{0}")]
    Failed(String),
}

/// The stores that come with the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum StoreKind {
    /// Our own engine.
    #[default]
    Engine,
    /// redb.
    Redb,
}

impl Promises {
    /// The least that can be promised: every commit is durable when it returns, and nothing has a name.
    pub fn minimal() -> Promises {
        Promises {
            transaction_ids: false,
            time_travel: false,
            buffered_commits: false,
            durable_close: true,
            survives_loss_during_creation: true,
            optimistic_writers: false,
            savepoints: false,
            tickets: false,
            commit_stream: false,
            compaction: false,
            backups: false,
            marks: false,
            keeps_on_drop: false,
            survives_full_disk: false,
            survives_io_errors: false,
            goes_on_after_io_errors: true,
            detects_damage: false,
            survives_lies: false,
        }
    }
}

impl Promises {
    /// Whether a store with these promises can be asked to live with faults of this class.
    pub fn covers(&self, class: FaultClass) -> bool {
        match class {
            FaultClass::Transparent => true,
            FaultClass::Environment => self.survives_io_errors,
            FaultClass::Damage => self.detects_damage,
            FaultClass::Lie => self.survives_lies,
        }
    }
}

impl StoreError {
    /// The failure that `error` describes.
    pub fn failed(error: impl fmt::Display) -> StoreError {
        StoreError::Failed(error.to_string())
    }

    fn unpromised(what: &str) -> StoreError {
        StoreError::Failed(format!("this store does not promise {what}"))
    }

    fn read_only() -> StoreError {
        StoreError::Failed("this transaction reads only".to_owned())
    }
}

impl StoreKind {
    /// Every store, in the order in which the command line names them.
    pub const ALL: [StoreKind; 2] = [StoreKind::Engine, StoreKind::Redb];

    /// The store itself.
    pub fn factory(self) -> &'static dyn StoreFactory {
        match self {
            StoreKind::Engine => &Engine,
            StoreKind::Redb => &Redb,
        }
    }

    /// Its name in plans and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Engine => "engine",
            StoreKind::Redb => "redb",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<StoreKind, String> {
        StoreKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = StoreKind::ALL.iter().map(|kind| kind.name()).collect();
            format!("no store is called {text:?}: there is {}", names.join(", "))
        })
    }
}
