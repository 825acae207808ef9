//! redb's errors in the words of the store under test.

use redb::Error;

use crate::store::StoreError;

/// What redb's error means. An I/O error that it reports may have taken effect; what it refuses because of an earlier one
/// has none.
pub(super) fn from_redb(error: impl Into<Error>) -> StoreError {
    let error = error.into();
    let words = error.to_string();
    match error {
        Error::Io(_) => StoreError::Io(words),
        Error::PreviousIo => StoreError::Poisoned(words),
        Error::Corrupted(_) => StoreError::Corruption(words),
        _ => StoreError::Failed(words),
    }
}

/// What redb's error means for a commit in which so many I/O calls have failed. It may refuse the rest of a commit because
/// of its own beginning: only if it refused all of it nothing is in doubt.
pub(super) fn of_commit(error: impl Into<Error>, failed_calls: u64) -> StoreError {
    match from_redb(error) {
        StoreError::Poisoned(words) if failed_calls > 0 => StoreError::Io(words),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redb::StorageError;

    use super::*;

    #[test]
    fn each_error_has_its_meaning() {
        let io = || StorageError::Io(io::Error::other("no"));
        assert!(matches!(from_redb(io()), StoreError::Io(_)));
        assert!(matches!(from_redb(StorageError::PreviousIo), StoreError::Poisoned(_)));
        assert!(matches!(from_redb(StorageError::Corrupted("x".to_owned())), StoreError::Corruption(_)));
        assert!(matches!(from_redb(StorageError::DatabaseClosed), StoreError::Failed(_)));
    }

    #[test]
    fn a_commit_is_denied_only_as_a_whole() {
        assert!(matches!(of_commit(StorageError::PreviousIo, 0), StoreError::Poisoned(_)));
        assert!(matches!(of_commit(StorageError::PreviousIo, 1), StoreError::Io(_)));
        assert!(matches!(of_commit(StorageError::Corrupted(String::new()), 1), StoreError::Corruption(_)));
    }
}
