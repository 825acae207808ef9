//! What a store has to be able to do to be measured.

use std::path::Path;
use std::sync::Arc;

use proofmark_vfs::Vfs;

/// A change: a key, and its new value or none if it is deleted.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// A store under measurement. It panics when anything fails: there is nothing better to do for a benchmark.
pub(crate) trait Store: Sized + Send + Sync {
    /// The name of the column.
    const NAME: &'static str;

    /// A snapshot.
    type Snapshot: Snapshot;

    /// Opens the store in `directory`, and creates it if it is absent.
    fn open(vfs: Arc<dyn Vfs>, directory: &Path) -> Self;

    /// Commits changes as one transaction.
    fn commit(&self, changes: &mut dyn Iterator<Item = Change>, is_durable: bool);

    /// Commits changes durably, beside others that do the same.
    fn commit_concurrently(&self, changes: &mut dyn Iterator<Item = Change>) {
        self.commit(changes, true);
    }

    /// Brings everything that was committed to the place where it stays.
    fn settle(&self);

    /// Opens a snapshot and drops it, and does nothing else.
    fn touch(&self);

    /// Opens a snapshot that is ready to be read from.
    fn snapshot(&self) -> Self::Snapshot;

    /// Reads everything and checks it.
    fn verify(&mut self);

    /// Gives back the space that nothing needs.
    fn compact(&mut self);
}

/// A snapshot of a store. What is read is given back as a number that depends on it, so that no read is optimised away.
pub(crate) trait Snapshot: Send + Sync {
    /// The length of the value of a key.
    fn get(&self, key: &[u8]) -> Option<usize>;

    /// Up to `count` pairs from the first key that is not before `from`: how many there are, and the sum of the lengths.
    fn scan(&self, from: &[u8], count: usize) -> (usize, usize);
}

/// How many bytes of pages a store may cache.
pub(crate) const CACHE_BYTES: usize = 512 << 20;
