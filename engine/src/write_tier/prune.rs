//! Which versions of the active tier nobody can read any more.
//!
//! A version that another one of its key has superseded is needed by the snapshots between the two: from its own
//! transaction to the one before the other's. Who may read them? Whoever takes a snapshot from now on, from the oldest one
//! that is published; and whoever holds what was published at some earlier time, from the oldest to the latest snapshot of
//! that time. So a version goes as soon as none of these has a snapshot between it and its successor.
//!
//! What was published earlier is watched from outside: it is held by counted references, and one that nobody but this
//! module holds at the moment when it is replaced is never held again, because from then on nobody can come across it. It
//! costs readers nothing, and each commit a few steps: a version that somebody needs waits with one of those who do, and is
//! looked at again when that one is gone.
//!
//! It must never remove the newest version of a key: the base tree may hold an older one, which would show through, and
//! optimistic writers find their conflicts by it.

use std::collections::VecDeque;

use super::WriteTier;
use crate::ids::TxnId;
use crate::sync::{Arc, Weak};

/// A version that a later one of its key has superseded.
#[derive(Debug)]
pub(crate) struct Superseded {
    pub(crate) key: Arc<[u8]>,
    pub(crate) txn: TxnId,
    /// The transaction that wrote the later one.
    pub(crate) by: TxnId,
}

/// The snapshots that can be taken of something that was published: both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshots {
    pub(crate) oldest: TxnId,
    pub(crate) latest: TxnId,
}

impl Snapshots {
    fn need(self, version: &Superseded) -> bool {
        self.oldest < version.by && version.txn <= self.latest
    }
}

/// What is superseded in the active tier and still there. `P` is what is published.
#[derive(Debug)]
pub(crate) struct Pruner<P> {
    /// In the order of the transactions that superseded them.
    waiting: VecDeque<Superseded>,
    /// Those who hold what isn't published any more, in the order in which it was.
    holders: VecDeque<Holder<P>>,
    /// With so many holders those that are gone are swept out.
    sweep_at: usize,
    /// The holder that is looked at next, if there are so many.
    looked_at: usize,
}

#[derive(Debug)]
struct Holder<P> {
    snapshots: Snapshots,
    held: Weak<P>,
    /// Versions that it needs, and maybe others.
    kept: Vec<Superseded>,
}

impl<P> Holder<P> {
    fn is_there(&self) -> bool {
        self.held.strong_count() > 0
    }
}

/// Below so many holders sweeping isn't worth its while.
const FEW_HOLDERS: usize = 8;

impl<P> Default for Pruner<P> {
    fn default() -> Self {
        Pruner { waiting: VecDeque::new(), holders: VecDeque::new(), sweep_at: FEW_HOLDERS, looked_at: 0 }
    }
}

impl<P> Pruner<P> {
    /// Takes note of what a transaction superseded.
    pub(crate) fn note(&mut self, superseded: Superseded) {
        self.waiting.push_back(superseded);
    }

    /// What was published, with these snapshots, is replaced by something else of the same tier, whose oldest snapshot is
    /// `oldest`. Removes from the tier what nobody needs now.
    pub(crate) fn replaced(&mut self, tier: &WriteTier, old: Arc<P>, snapshots: Snapshots, oldest: TxnId) {
        if Arc::strong_count(&old) > 1 {
            self.holders.push_back(Holder { snapshots, held: Arc::downgrade(&old), kept: Vec::new() });
        }
        drop(old);
        self.sweep(tier);
        while self.waiting.front().is_some_and(|first| first.by <= oldest) {
            let first = self.waiting.pop_front().expect("it was just looked at");
            self.settle(tier, first);
        }
        let oldest_held = self.holders.front().map_or(oldest, |first| first.snapshots.oldest.min(oldest));
        tier.forget_transactions(oldest_held);
    }

    /// Another tier becomes the active one. Who holds what was published until now doesn't read it, and the tier that it
    /// does read stays as it is.
    pub(crate) fn begin_tier(&mut self) {
        *self = Pruner::default();
    }

    /// Whether somebody who was noticed may read this version.
    pub(crate) fn is_needed(&self, version: &Superseded) -> bool {
        self.holders.iter().any(|holder| holder.snapshots.need(version) && holder.is_there())
    }

    /// Forgets holders that are gone, and looks again at what was kept for them: the first ones each time, because
    /// snapshots end in their order, by and large, and one of the others, each in its turn; all of them whenever their number
    /// has doubled.
    fn sweep(&mut self, tier: &WriteTier) {
        let mut released = Vec::new();
        while self.holders.front().is_some_and(|first| !first.is_there()) {
            released.extend(self.holders.pop_front().expect("it was just looked at").kept);
        }
        self.looked_at = if self.looked_at < self.holders.len() { self.looked_at + 1 } else { 0 };
        if let Some(holder) = self.holders.get_mut(self.looked_at)
            && !holder.is_there()
        {
            released.append(&mut holder.kept);
        }
        if self.holders.len() >= self.sweep_at {
            self.holders.retain_mut(|holder| {
                let is_there = holder.is_there();
                if !is_there {
                    released.append(&mut holder.kept);
                }
                is_there
            });
            self.sweep_at = (2 * self.holders.len()).max(FEW_HOLDERS);
        }
        for version in released {
            self.settle(tier, version);
        }
    }

    /// Removes a version that no new snapshot needs, or leaves it with the newest one who does.
    fn settle(&mut self, tier: &WriteTier, version: Superseded) {
        // Both ends of what they need grow from holder to holder.
        let end = self.holders.partition_point(|holder| holder.snapshots.oldest < version.by);
        let needing =
            self.holders.range_mut(..end).rev().take_while(|holder| holder.snapshots.need(&version));
        match needing.into_iter().find(|holder| holder.is_there()) {
            Some(holder) => holder.kept.push(version),
            None => tier.remove(&version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: u64) -> (Arc<[u8]>, Option<Arc<[u8]>>) {
        (key.as_bytes().into(), Some(value.to_string().as_bytes().into()))
    }

    /// A tier of which only the latest snapshot can be taken, and what is published of it.
    struct Latest {
        tier: WriteTier,
        pruner: Pruner<u64>,
        published: Arc<u64>,
    }

    impl Latest {
        fn new() -> Latest {
            Latest { tier: WriteTier::default(), pruner: Pruner::default(), published: Arc::new(0) }
        }

        fn commit(&mut self, key: &str) {
            let txn = *self.published + 1;
            self.tier.install_noting(TxnId(txn), [put(key, txn)], |superseded| self.pruner.note(superseded));
            let old = std::mem::replace(&mut self.published, Arc::new(txn));
            let snapshots = Snapshots { oldest: TxnId(*old), latest: TxnId(*old) };
            self.pruner.replaced(&self.tier, old, snapshots, TxnId(txn));
        }

        fn value(&self, key: &str, snapshot: u64) -> Option<u64> {
            let value = self.tier.get(key.as_bytes(), TxnId(snapshot))??;
            std::str::from_utf8(&value).ok()?.parse().ok()
        }
    }

    #[test]
    fn any_number_of_updates_leaves_one_version() {
        let mut latest = Latest::new();
        for _ in 0..200_000 {
            latest.commit("hot");
            assert!(latest.tier.version_count() <= 1);
        }
        assert_eq!(latest.value("hot", 200_000), Some(200_000));
        assert!(latest.tier.transaction(TxnId(199_999)).is_none(), "nobody can ask for it");
    }

    #[test]
    fn readers_keep_what_they_see_and_nothing_else() {
        let mut latest = Latest::new();
        let mut readers = Vec::new();
        for txn in 1..=10_000_u64 {
            latest.commit(if txn % 3 == 0 { "a" } else { "b" });
            if txn % 100 == 0 {
                readers.push(Arc::clone(&latest.published));
            }
            if txn % 700 == 0 {
                // They end in another order than that in which they began.
                readers.remove(readers.len() / 2);
            }
            for reader in &readers {
                let last_of = |is_it: fn(u64) -> bool| (1..=**reader).rev().find(|txn| is_it(*txn));
                assert_eq!(latest.value("a", **reader), last_of(|txn| txn % 3 == 0));
                assert_eq!(latest.value("b", **reader), last_of(|txn| txn % 3 != 0));
            }
            // Those that are gone are noticed by the time there are as many as those that are there.
            assert!(latest.tier.version_count() <= 4 * readers.len() + 2 * FEW_HOLDERS + 2);
        }
        readers.clear();
        for _ in 0..100 {
            latest.commit("c");
        }
        assert_eq!(latest.tier.version_count(), 3);
    }
}
