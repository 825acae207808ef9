//! Read transactions.

use std::ops::Bound;

use super::scan::{Direction, Scan, prefix_bounds};
use crate::bytes::Bytes;
use crate::db::{Published, Shared};
use crate::error::Result;
use crate::ids::TxnId;
use crate::sync::Arc;

/// A snapshot of the database. Sees exactly the transactions up to [`ReadTransaction::snapshot`], however long it lives
/// and whatever is committed or checkpointed meanwhile.
///
/// It blocks nobody. What it costs is that nothing is used again of the pages that checkpoints give up while it lives, so
/// that the data file grows with what is written meanwhile.
#[derive(Debug)]
pub struct ReadTransaction {
    /// Keeps the database open, and so its lock.
    _shared: Arc<Shared>,
    /// Keeps what the snapshot sees, in memory and on disk.
    published: Arc<Published>,
    snapshot: TxnId,
}

impl ReadTransaction {
    pub(crate) fn new(shared: Arc<Shared>, published: Arc<Published>, snapshot: TxnId) -> ReadTransaction {
        ReadTransaction { _shared: shared, published, snapshot }
    }

    /// The last transaction that this one sees.
    #[must_use]
    pub fn snapshot(&self) -> TxnId {
        self.snapshot
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Io` if a page can't be read, `Corruption` if it isn't what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.published.view.get(key, self.snapshot)
    }

    /// The pairs within `bounds`, by ascending keys.
    ///
    /// ```
    /// # use proofmark_engine::{Database, Options};
    /// # use std::ops::Bound;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = Database::open(directory.path().join("db"), &Options::new())?;
    /// # let mut write = database.begin_write()?;
    /// # write.put(b"apple", b"red")?;
    /// # write.put(b"plum", b"blue")?;
    /// # write.commit()?;
    /// let read = database.begin_read()?;
    /// for pair in read.range((Bound::Included(b"a"), Bound::Excluded(b"b")))? {
    ///     let (key, value) = pair?; // Each step may have to read a page.
    ///     assert_eq!((&*key, &*value), (&b"apple"[..], &b"red"[..]));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`ReadTransaction::get`], here and at each step.
    pub fn range(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        Scan::new(&self.published.view, self.snapshot, None, bounds, Direction::Ascending)
    }

    /// The pairs within `bounds`, by descending keys.
    ///
    /// # Errors
    /// As for [`ReadTransaction::get`], here and at each step.
    pub fn range_reverse(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Scan<'_>> {
        Scan::new(&self.published.view, self.snapshot, None, bounds, Direction::Descending)
    }

    /// The pairs whose keys start with `prefix`, by ascending keys.
    ///
    /// # Errors
    /// As for [`ReadTransaction::get`], here and at each step.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Scan<'_>> {
        let end = prefix_bounds(prefix);
        self.range((Bound::Included(prefix), end.as_ref().map(Vec::as_slice)))
    }
}
