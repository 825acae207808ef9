//! The commit stream: what each transaction changed, one after the other.
//!
//! Transactions up to the last checkpoint are gathered from the base tree, where every version says which transaction
//! wrote it; those after it come from the write tiers, which is what the log holds. The stream is of one view: it neither
//! holds anybody up nor changes while it is read, and a consumer that comes back with the TxnId after the last one it
//! has seen goes on where it stopped.
//!
//! The tree is in the order of keys, the stream in that of transactions. One walk over what is new enough gathers as many
//! transactions as fit into a limited buffer, the earliest ones, and at least one; when they have been handed out the
//! next walk begins after them.

use std::collections::BTreeMap;

use crate::btree::{StoredValue, StoredVersion, changed_since};
use crate::bytes::Bytes;
use crate::db::{Database, Published, Shared};
use crate::error::{Error, Result};
use crate::format::Damage;
use crate::ids::{PageId, TxnId};
use crate::sync::Arc;

/// What an operation of the stream costs in the buffer beyond its key and value, roughly.
const OPERATION_BYTES: usize = 64;

/// What one transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The transaction.
    pub txn: TxnId,
    /// Each key that it wrote, once, in ascending order, with the value that it left there; none if it removed the key.
    pub operations: Vec<(Bytes, Option<Bytes>)>,
}

/// An iterator over the changes of one transaction after the other, without gaps. Ends after its first error.
#[derive(Debug)]
pub struct Changes {
    /// Keeps the database open.
    shared: Arc<Shared>,
    published: Arc<Published>,
    /// The transaction that comes next.
    next: TxnId,
    /// Transactions from the base tree that were gathered and not handed out yet.
    gathered: BTreeMap<TxnId, Vec<Gathered>>,
    has_failed: bool,
}

/// An operation as it waits in the buffer. Large values are read when they are handed out.
#[derive(Debug)]
struct Gathered {
    key: Arc<[u8]>,
    value: StoredValue,
    bytes: usize,
}

impl Database {
    /// The changes of transaction `from` and of every one after it up to the latest. To follow a database, come back with
    /// the TxnId after the last one that was handed out: the stream may be empty, but it never skips anything.
    ///
    /// What was committed with [`Durability::Buffered`](crate::Durability::Buffered) is made durable first: a power loss
    /// must not take what a consumer has seen, and give its TxnId to something else.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Options, TxnId};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Database::open(directory.path().join("db"), &Options::new())?;
    /// # let mut write = database.begin_write()?;
    /// # write.put(b"apple", b"red")?;
    /// # write.commit()?;
    /// let mut cursor = TxnId(0); // The last transaction that was consumed; 0 is the empty database.
    /// for change in database.changes(cursor.next())? {
    ///     let change = change?;
    ///     for (key, value) in &change.operations {
    ///         println!("{} {key:?} = {value:?}", change.txn);
    ///     }
    ///     cursor = change.txn;
    /// }
    /// # assert_eq!(cursor, TxnId(1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ChangesNotRetained` if `from` is not after [`Database::oldest_retained`]: then single transactions can't be told
    /// apart any more, and the consumer has to start from a snapshot. `SnapshotNotFound` if `from` lies beyond the
    /// transaction after the latest. `Io` or `Poisoned` if the log can't be synced. Each step: `Io` or `Corruption` if a
    /// page can't be read.
    pub fn changes(&self, from: TxnId) -> Result<Changes> {
        self.check_retained(from)?;
        if !self.shared.options.read_only {
            self.shared.sync_all()?;
        }
        let published = self.check_retained(from)?;
        Ok(Changes {
            shared: Arc::clone(&self.shared),
            published,
            next: from,
            gathered: BTreeMap::new(),
            has_failed: false,
        })
    }

    /// What there is to be read now, if the changes of `from` are part of it, or the next to come.
    fn check_retained(&self, from: TxnId) -> Result<Arc<Published>> {
        let published = self.shared.published.load_full();
        let Published { oldest, latest, .. } = *published;
        if from <= oldest {
            return Err(Error::ChangesNotRetained { requested: from, oldest: oldest.next() });
        }
        if from > latest.next() {
            return Err(Error::SnapshotNotFound { requested: from, oldest, latest });
        }
        Ok(published)
    }
}

impl Changes {
    fn step(&mut self) -> Result<Option<Change>> {
        let txn = self.next;
        if txn > self.published.latest {
            return Ok(None);
        }
        let operations =
            if txn <= self.published.view.base.checkpoint { self.in_base(txn)? } else { self.in_tiers(txn) };
        self.next = txn.next();
        Ok(Some(Change { txn, operations }))
    }

    fn in_tiers(&self, txn: TxnId) -> Vec<(Bytes, Option<Bytes>)> {
        let entries = self.published.view.tiers().find_map(|tier| tier.transaction(txn));
        let entries = entries.expect("what was committed since the checkpoint is in a tier");
        entries.into_iter().map(|(key, value)| (Bytes::shared(key), value.map(Bytes::shared))).collect()
    }

    fn in_base(&mut self, txn: TxnId) -> Result<Vec<(Bytes, Option<Bytes>)>> {
        if self.gathered.is_empty() {
            self.gather()?;
        }
        let pager = &self.published.view.base.pager;
        let operations = self.gathered.remove(&txn);
        let damage = Damage("the tree holds no version of a transaction that is retained");
        let operations = operations.ok_or_else(|| pager.corruption(PageId(0), damage))?;
        let read = |Gathered { key, value, .. }: Gathered| {
            let value = match value {
                StoredValue::Inline(bytes) => Some(bytes),
                StoredValue::Extent(extent) => Some(Bytes::shared(pager.read_extent(extent)?)),
                StoredValue::Deletion => None,
            };
            Ok((Bytes::shared(key), value))
        };
        operations.into_iter().map(read).collect()
    }

    /// Gathers the next transactions from the base tree: as many as fit into the buffer, and at least one.
    fn gather(&mut self) -> Result<()> {
        let base = &self.published.view.base;
        let mut walk = changed_since(base.root, TxnId(self.next.0 - 1));
        let mut last = base.checkpoint.min(self.published.latest);
        let mut bytes = 0;
        while let Some(StoredVersion { key, txn, value }) = walk.next(&base.pager)? {
            if txn > last {
                continue;
            }
            let operation = Gathered::copy(&key, value);
            bytes += operation.bytes;
            self.gathered.entry(txn).or_default().push(operation);
            while bytes > self.shared.options.stream_bytes && self.gathered.len() > 1 {
                let (dropped, operations) = self.gathered.pop_last().expect("there are several");
                bytes -= operations.iter().map(|operation| operation.bytes).sum::<usize>();
                last = TxnId(dropped.0 - 1);
            }
        }
        Ok(())
    }
}

impl Gathered {
    /// Copies what would otherwise hold a whole page in memory.
    fn copy(key: &Bytes, value: StoredValue) -> Gathered {
        let value = match value {
            StoredValue::Inline(bytes) => StoredValue::Inline(Bytes::shared(Arc::from(&*bytes))),
            other => other,
        };
        let value_bytes = if let StoredValue::Inline(bytes) = &value { bytes.len() } else { 0 };
        let bytes = OPERATION_BYTES + key.len() + value_bytes;
        Gathered { key: Arc::from(&**key), value, bytes }
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let item = self.step().transpose();
        self.has_failed = matches!(item, Some(Err(_)));
        item
    }
}
