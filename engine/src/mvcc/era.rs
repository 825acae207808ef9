//! What was committed since a transaction's snapshot, for the writers who have to know.
//!
//! An era is the time between two checkpoints: its commits lie in one write tier. Each era knows the next one, so that
//! whoever holds an era can reach every commit since, even those that a checkpoint has merged into the base tree, and
//! forgotten, meanwhile. Only optimistic writers hold eras; what they keep in memory is gone when they are. Readers hold
//! tiers and never an era, so that a reader that stays open for long keeps nothing but what it reads.

use super::Mutations;
use crate::ids::TxnId;
use crate::sync::{Arc, OnceLock};
use crate::write_tier::WriteTier;

/// One write tier, and the way to those after it.
#[derive(Debug)]
pub(crate) struct Era {
    tier: Arc<WriteTier>,
    next: OnceLock<Arc<Era>>,
}

impl Era {
    pub(crate) fn new(tier: Arc<WriteTier>) -> Arc<Era> {
        Arc::new(Era { tier, next: OnceLock::new() })
    }

    /// Ends this era: the one that follows it has `tier`.
    pub(crate) fn begin_next(&self, tier: Arc<WriteTier>) -> Arc<Era> {
        let next = Era::new(tier);
        let outcome = self.next.set(Arc::clone(&next));
        assert!(outcome.is_ok(), "an era has one successor");
        next
    }

    /// The first key of `writes` that was committed after `snapshot`, in this era or a later one. The snapshot was taken in
    /// this era.
    pub(crate) fn first_conflict<'k>(&self, writes: &'k Mutations, snapshot: TxnId) -> Option<&'k [u8]> {
        let mut era = self;
        loop {
            let is_newer = |key: &&Arc<[u8]>| era.tier.newest(key).is_some_and(|txn| txn > snapshot);
            if let Some(key) = writes.keys().find(is_newer) {
                return Some(key);
            }
            era = era.next.get()?;
        }
    }
}

impl Drop for Era {
    /// Drops the eras that nobody else holds one by one, because there may be more of them than the stack is deep.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut era) = next.and_then(Arc::into_inner) {
            next = era.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_tier::TierValue;

    fn put(key: &str) -> (Arc<[u8]>, TierValue) {
        (key.as_bytes().into(), None)
    }

    #[test]
    fn conflicts_are_found_in_every_era_since_the_snapshot() {
        let tiers: Vec<Arc<WriteTier>> = (0..3).map(|_| Arc::default()).collect();
        let first = Era::new(Arc::clone(&tiers[0]));
        let second = first.begin_next(Arc::clone(&tiers[1]));
        let _third = second.begin_next(Arc::clone(&tiers[2]));
        tiers[0].install(TxnId(4), [put("a")]);
        tiers[1].install(TxnId(5), [put("b")]);
        tiers[2].install(TxnId(6), [put("c")]);
        let conflict = |snapshot, keys: &[&str]| {
            let writes = keys.iter().map(|key| put(key)).collect();
            first.first_conflict(&writes, TxnId(snapshot)).map(<[u8]>::to_vec)
        };
        assert_eq!(conflict(3, &["x", "a"]), Some(b"a".to_vec()));
        assert_eq!(conflict(4, &["x", "a"]), None);
        assert_eq!(conflict(4, &["x", "c"]), Some(b"c".to_vec()));
        assert_eq!(conflict(6, &["a", "b", "c"]), None);
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let first = Era::new(Arc::default());
        let mut last = Arc::clone(&first);
        for _ in 0..100_000 {
            last = last.begin_next(Arc::default());
        }
        drop(last);
        drop(first);
    }
}
