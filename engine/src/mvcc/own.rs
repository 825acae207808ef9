//! What a write transaction has changed so far, and how far it can go back.
//!
//! Once a savepoint exists, every change leaves behind what was there before it; going back undoes them from the last
//! to the first.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::sync::Arc;
use crate::write_tier::TierValue;

/// A transaction's own mutations, by key.
pub(crate) type Mutations = BTreeMap<Arc<[u8]>, TierValue>;

/// A point in a write transaction to which it can be rolled back, with
/// [`WriteTransaction::rollback_to`](crate::WriteTransaction::rollback_to).
#[derive(Debug, Clone)]
pub struct Savepoint {
    /// Of the transaction, and of no other.
    owner: Arc<()>,
    number: u64,
}

/// The changes of one transaction.
#[derive(Debug, Default)]
pub(crate) struct OwnWrites {
    mutations: Mutations,
    /// What each change since the first savepoint found in its place.
    undo: Vec<(Arc<[u8]>, Option<TierValue>)>,
    /// Savepoints that are valid, and the length of `undo` when each was made. Oldest first.
    savepoints: Vec<(u64, usize)>,
    next_savepoint: u64,
    owner: Arc<()>,
}

impl OwnWrites {
    pub(crate) fn mutations(&self) -> &Mutations {
        &self.mutations
    }

    pub(crate) fn into_mutations(self) -> Mutations {
        self.mutations
    }

    pub(crate) fn set(&mut self, key: Arc<[u8]>, value: TierValue) {
        if self.savepoints.is_empty() {
            self.mutations.insert(key, value);
            return;
        }
        let before = self.mutations.insert(Arc::clone(&key), value);
        self.undo.push((key, before));
    }

    pub(crate) fn savepoint(&mut self) -> Savepoint {
        let number = self.next_savepoint;
        self.next_savepoint += 1;
        self.savepoints.push((number, self.undo.len()));
        Savepoint { owner: Arc::clone(&self.owner), number }
    }

    /// Undoes everything since `savepoint`, which stays valid, unlike those after it.
    pub(crate) fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        let is_ours = Arc::ptr_eq(&self.owner, &savepoint.owner);
        let is_it = |(number, _): &(u64, usize)| is_ours && *number == savepoint.number;
        let index = self.savepoints.iter().position(is_it).ok_or(Error::InvalidArgument {
            what: "the savepoint",
            found: savepoint.number,
            expected: "one of this transaction that was not rolled back beyond",
        })?;
        let undo_count = self.savepoints[index].1;
        self.savepoints.truncate(index + 1);
        for (key, before) in self.undo.drain(undo_count..).rev() {
            match before {
                Some(value) => self.mutations.insert(key, value),
                None => self.mutations.remove(&key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(writes: &mut OwnWrites, key: &str, value: Option<&str>) {
        writes.set(key.as_bytes().into(), value.map(|value| value.as_bytes().into()));
    }

    #[test]
    fn going_back_restores_what_was_there() {
        let mut writes = OwnWrites::default();
        set(&mut writes, "a", Some("1"));
        let start = writes.mutations().clone();
        let first = writes.savepoint();
        set(&mut writes, "a", Some("2"));
        set(&mut writes, "b", Some("2"));
        let middle = writes.mutations().clone();
        let second = writes.savepoint();
        set(&mut writes, "a", None);
        set(&mut writes, "a", Some("3"));
        set(&mut writes, "c", Some("3"));
        writes.rollback_to(&second).expect("it is valid");
        assert_eq!(*writes.mutations(), middle);
        set(&mut writes, "b", None);
        writes.rollback_to(&second).expect("it can be used again");
        assert_eq!(*writes.mutations(), middle);
        writes.rollback_to(&first).expect("it is valid");
        assert_eq!(*writes.mutations(), start);
        assert!(matches!(writes.rollback_to(&second), Err(Error::InvalidArgument { .. })));
        let foreign = OwnWrites::default().savepoint();
        assert!(matches!(writes.rollback_to(&foreign), Err(Error::InvalidArgument { .. })));
    }
}
