//! Write transactions, exclusive and optimistic.

use std::ops::Bound;

use super::own::{OwnWrites, Savepoint};
use super::scan::{Direction, Scan, prefix_bounds};
use super::{Era, Mutations};
use crate::bytes::Bytes;
use crate::db::{Published, Shared, WriterSlot};
use crate::error::{Error, Result};
use crate::format::{MAX_VALUE_BYTES, max_key_bytes};
use crate::ids::TxnId;
use crate::options::Durability;
use crate::sync::Arc;
use crate::write_tier::TierValue;

/// A transaction that can change the database. It sees its own changes, and nobody else does until it commits. Dropping
/// it aborts it.
///
/// An *exclusive* one ([`Database::begin_write`](crate::Database::begin_write)) is alone for as long as it lives and never
/// conflicts. *Optimistic* ones ([`Database::begin_optimistic`](crate::Database::begin_optimistic)) run side by side; of two
/// that write one key, the first to commit wins. Reads are not checked: two transactions may each read what the other
/// writes and both commit (write skew), as is usual under snapshot isolation.
#[derive(Debug)]
pub struct WriteTransaction {
    shared: Arc<Shared>,
    /// Keeps what the snapshot sees, in memory and on disk.
    published: Arc<Published>,
    snapshot: TxnId,
    own: OwnWrites,
    kind: WriterKind,
}

/// What keeps a writer apart from others.
#[derive(Debug)]
pub(crate) enum WriterKind {
    /// Keeps other writers out for as long as it lives.
    Exclusive(#[expect(dead_code, reason = "held for its drop")] WriterSlot),
    /// The era of the snapshot, from which all later commits can be reached.
    Optimistic(Arc<Era>),
}

/// What a transaction hands over when it commits.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) snapshot: TxnId,
    pub(crate) mutations: Mutations,
    pub(crate) kind: WriterKind,
}

/// A transaction that was handed to the log with [`WriteTransaction::submit`] and is on its way to the disk.
///
/// Dropping a ticket takes nothing back: the transaction becomes durable and visible with the next commit or
/// [`Database::sync`](crate::Database::sync). If the database is closed before that, it is lost.
#[derive(Debug)]
#[must_use = "a submitted transaction is durable and visible only once somebody waited for it"]
pub struct Ticket {
    shared: Arc<Shared>,
    txn: TxnId,
}

impl WriteTransaction {
    pub(crate) fn new(
        shared: Arc<Shared>,
        published: Arc<Published>,
        snapshot: TxnId,
        kind: WriterKind,
    ) -> WriteTransaction {
        WriteTransaction { shared, published, snapshot, own: OwnWrites::default(), kind }
    }

    /// The last transaction that this one sees. For an exclusive writer that may be one that was submitted and is not
    /// durable yet; what builds on it is durable only after it.
    #[must_use]
    pub fn snapshot(&self) -> TxnId {
        self.snapshot
    }

    /// The value of `key`, as this transaction left it.
    ///
    /// # Errors
    /// `Io` if a page can't be read, `Corruption` if it isn't what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.own.mutations().get(key) {
            Some(value) => Ok(value.clone().map(Bytes::shared)),
            None => self.published.view.get(key, self.snapshot),
        }
    }

    /// The pairs within `bounds`, by ascending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn range(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        self.scan(bounds, Direction::Ascending)
    }

    /// The pairs within `bounds`, by descending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn range_reverse(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        self.scan(bounds, Direction::Descending)
    }

    /// The pairs whose keys start with `prefix`, by ascending keys, this transaction's own included.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`], here and at each step.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Scan<'_>> {
        let end = prefix_bounds(prefix);
        self.range((Bound::Included(prefix), end.as_ref().map(Vec::as_slice)))
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// `InvalidArgument` if the key is longer than 4096 bytes or a quarter of a page, or the value than 16 MiB.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::InvalidArgument {
                what: "the value's length",
                found: value.len() as u64,
                expected: "at most 16777216 bytes",
            });
        }
        self.set(key, Some(value.into()))
    }

    /// Removes `key`; no error if it is absent.
    ///
    /// # Errors
    /// `InvalidArgument` if the key is longer than 4096 bytes or a quarter of a page.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.set(key, None)
    }

    /// Removes the pairs within `bounds` that this transaction sees, and returns how many they were. A key that another
    /// transaction puts there meanwhile is none of them: it is neither removed nor a conflict.
    ///
    /// Takes memory for each of these keys, as that many calls of [`WriteTransaction::delete`] would.
    ///
    /// # Errors
    /// As for [`WriteTransaction::get`]; nothing was removed then.
    pub fn delete_range(&mut self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<u64> {
        let scan = Scan::keys(&self.published.view, self.snapshot, Some(self.own.mutations()), bounds)?;
        let keys = scan.map(|pair| Ok(Arc::from(&*pair?.0))).collect::<Result<Vec<Arc<[u8]>>>>()?;
        let count = keys.len() as u64;
        for key in keys {
            self.own.set(key, None);
        }
        Ok(count)
    }

    /// Marks this point, so that everything after it can be undone. From the first savepoint on, each change keeps what
    /// it replaced until the transaction ends.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Options};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Database::open(directory.path().join("db"), &Options::new())?;
    /// let mut write = database.begin_write()?;
    /// write.put(b"kept", b"1")?;
    /// let savepoint = write.savepoint();
    /// write.put(b"undone", b"2")?;
    /// write.rollback_to(&savepoint)?;
    /// assert_eq!(write.get(b"undone")?, None);
    /// write.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn savepoint(&mut self) -> Savepoint {
        self.own.savepoint()
    }

    /// Undoes every change since `savepoint`. It can be used again; those made after it can't.
    ///
    /// # Errors
    /// `InvalidArgument` if the savepoint is of another transaction, or was made after one that was rolled back to.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.own.rollback_to(savepoint)
    }

    /// Commits durably: when this returns, the transaction and all before it survive power loss. Returns its TxnId, or
    /// that of the snapshot if nothing was changed. Commits of several threads share a sync.
    ///
    /// # Errors
    /// Nothing was committed: `Conflict` if the transaction is optimistic and a key that it wrote was committed by
    /// another one since its snapshot; `WriteBusy` if it is optimistic and an exclusive writer is open; `OutOfSpace`;
    /// `ReadOnly`; `Poisoned` if an earlier commit failed for good; `Corruption`, or an `Io` of reading or writing the data
    /// file, if the write tier is full and can't be merged.
    ///
    /// Unknown whether it is durable: `Io` if the log can't be written or synced, or `Poisoned` if the sync that this
    /// commit shared with others failed. The database is [`Error::Poisoned`] until it is opened again; then it is there
    /// or it isn't.
    pub fn commit(self) -> Result<TxnId> {
        self.commit_with(Durability::Sync)
    }

    /// Commits with the given durability.
    ///
    /// # Errors
    /// As for [`WriteTransaction::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<TxnId> {
        let (shared, commit) = self.into_commit();
        let txn = shared.commit(commit, durability)?;
        shared.checkpoint_if_full();
        Ok(txn)
    }

    /// Hands the transaction to the log and returns at once: it is neither durable nor visible to readers until
    /// [`Ticket::wait`] returned, or a later commit with [`Durability::Sync`]. The next exclusive writer can begin
    /// meanwhile and sees it. One thread can so have many transactions share one sync.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Options};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Database::open(directory.path().join("db"), &Options::new())?;
    /// let mut tickets = Vec::new();
    /// for number in 0..100u8 {
    ///     let mut write = database.begin_write()?;
    ///     write.put(&[number], b"value")?;
    ///     tickets.push(write.submit()?);
    /// }
    /// for ticket in tickets {
    ///     ticket.wait()?; // The first one syncs for all.
    /// }
    /// # assert_eq!(database.stats().log_sync_count, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`WriteTransaction::commit`].
    pub fn submit(self) -> Result<Ticket> {
        let (shared, commit) = self.into_commit();
        let txn = shared.submit(commit)?;
        Ok(Ticket { shared, txn })
    }

    /// Ends the transaction without effect, as dropping it does.
    pub fn abort(self) {}

    /// Lets go of the view, so that a checkpoint after the commit can use the pages it held.
    fn into_commit(self) -> (Arc<Shared>, Commit) {
        let WriteTransaction { shared, snapshot, own, kind, published: _ } = self;
        (shared, Commit { snapshot, mutations: own.into_mutations(), kind })
    }

    fn scan(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), direction: Direction) -> Result<Scan<'_>> {
        Scan::new(&self.published.view, self.snapshot, Some(self.own.mutations()), bounds, direction)
    }

    fn set(&mut self, key: &[u8], value: TierValue) -> Result<()> {
        if key.len() > max_key_bytes(self.published.view.base.pager.page_size()) {
            return Err(Error::InvalidArgument {
                what: "the key's length",
                found: key.len() as u64,
                expected: "at most 4096 bytes and a quarter of a page",
            });
        }
        self.own.set(key.into(), value);
        Ok(())
    }
}

impl Ticket {
    /// The transaction's place in the order of all commits.
    #[must_use]
    pub fn txn(&self) -> TxnId {
        self.txn
    }

    /// Waits until the transaction is durable and visible, and returns its TxnId. Whoever comes first syncs for all who
    /// wait.
    ///
    /// # Errors
    /// `Io` or `Poisoned` if the log can't be written or synced: it is unknown whether the transaction is durable.
    pub fn wait(self) -> Result<TxnId> {
        self.shared.wait_durable(self.txn)?;
        self.shared.checkpoint_if_full();
        Ok(self.txn)
    }
}
