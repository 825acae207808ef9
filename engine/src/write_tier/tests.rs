//! The tier against the plain map, by one thread and by several, and what is left of it in memory.

use std::ops::Bound;
use std::thread;

use super::prune::{Pruner, Snapshots};
use super::reference::Reference;
use super::*;
use crate::sync::{ArcSwap, AtomicBool, Weak};

fn put(key: &str, value: &str) -> (Arc<[u8]>, TierValue) {
    (key.as_bytes().into(), Some(value.as_bytes().into()))
}

fn sample() -> WriteTier {
    let tier = WriteTier::default();
    tier.install(TxnId(3), [put("a", "a3"), put("c", "c3")]);
    tier.install(TxnId(5), [put("b", "b5"), ("c".as_bytes().into(), None)]);
    tier
}

/// A sequence of numbers that looks random and is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn key(&mut self, keys: u64) -> Arc<[u8]> {
        format!("key-{:b}", self.below(keys)).as_bytes().into()
    }

    fn bound(&mut self, keys: u64) -> Bound<Arc<[u8]>> {
        match self.below(4) {
            0 => Bound::Unbounded,
            1 => Bound::Excluded(self.key(keys)),
            _ => Bound::Included(self.key(keys)),
        }
    }

    fn mutations(&mut self, txn: TxnId, keys: u64, most: u64) -> Vec<(Arc<[u8]>, TierValue)> {
        let mut mutations: Vec<_> = (0..=self.below(most))
            .map(|_| {
                let value = (self.below(4) > 0).then(|| txn.0.to_string().as_bytes().into());
                (self.key(keys), value)
            })
            .collect();
        mutations.sort();
        mutations.dedup_by(|one, other| one.0 == other.0);
        mutations
    }
}

fn borrowed(bound: &Bound<Arc<[u8]>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &**key)
}

/// What a scan up shows, and that a scan down shows the same.
fn scan(tier: &WriteTier, bounds: (Bound<&[u8]>, Bound<&[u8]>), snapshot: TxnId) -> Vec<TierEntry> {
    let (start, end) = bounds;
    let is_before = |key: &[u8]| match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    let is_after = |key: &[u8]| match start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    let mut up: Vec<TierEntry> = Vec::new();
    let mut scan = TierScan::new(tier, snapshot);
    loop {
        let from = up.last().map_or(start, |(key, _)| Bound::Excluded(&**key));
        let Some(entry) = scan.next(from, is_before) else { break };
        up.push(entry);
    }
    let mut down: Vec<TierEntry> = Vec::new();
    let mut scan = TierScan::new(tier, snapshot);
    loop {
        let from = down.last().map_or(end, |(key, _)| Bound::Excluded(&**key));
        let Some(entry) = scan.next_down(from, is_after) else { break };
        down.push(entry);
    }
    down.reverse();
    assert_eq!(up, down);
    up
}

fn is_in_order(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start <= end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start < end
        }
        _ => true,
    }
}

#[test]
fn a_snapshot_sees_the_newest_version_up_to_it() {
    let tier = sample();
    let get = |key: &str, txn| tier.get(key.as_bytes(), TxnId(txn));
    assert_eq!(get("c", 2), None);
    assert_eq!(get("c", 4), Some(Some(b"c3".as_slice().into())));
    assert_eq!(get("c", 5), Some(None), "deleted is not the same as never written");
    assert_eq!(get("x", 5), None);
}

#[test]
fn versions_come_in_the_order_of_the_base_tree() {
    let order: Vec<_> = sample().versions().into_iter().map(|(key, txn, _)| (key[0], txn.0)).collect();
    assert_eq!(order, [(b'a', 3), (b'b', 5), (b'c', 5), (b'c', 3)]);
}

#[test]
fn what_a_transaction_wrote_can_be_asked_for_until_it_is_forgotten() {
    let tier = WriteTier::default();
    for txn in 3..10 {
        tier.install(TxnId(txn), [put("a", &txn.to_string())]);
    }
    assert_eq!(tier.transaction(TxnId(2)), None);
    assert_eq!(tier.transaction(TxnId(4)), Some(vec![put("a", "4")]));
    tier.forget_transactions(TxnId(4));
    assert_eq!([4, 5, 10].map(|txn| tier.transaction(TxnId(txn)).is_some()), [false, true, false]);
}

/// Random installs, prunes, look-ups and scans, at every snapshot that may be needed.
fn compare(seed: u64, keys: u64, txns: u64) {
    let (tier, reference) = (WriteTier::default(), Reference::default());
    let mut numbers = Numbers(seed);
    let mut superseded = Vec::new();
    let mut oldest = 0;
    for txn in 1..=txns {
        let mutations = numbers.mutations(TxnId(txn), keys, 12);
        tier.install_noting(TxnId(txn), mutations.clone(), |version| superseded.push(version));
        reference.install(TxnId(txn), mutations);
        if numbers.below(4) == 0 {
            oldest += numbers.below(txn - oldest + 1);
            superseded.retain(|version| {
                let is_needed = version.by.0 > oldest;
                if !is_needed {
                    tier.remove(version);
                    reference.remove(&version.key, version.txn);
                }
                is_needed
            });
        }
        let snapshot = TxnId(oldest + numbers.below(txn - oldest + 1));
        let key = numbers.key(keys);
        assert_eq!(tier.get(&key, snapshot), reference.get(&key, snapshot));
        assert_eq!(tier.newest(&key), reference.newest(&key));
        if snapshot.0 > oldest {
            assert_eq!(tier.transaction(snapshot), Some(reference.transaction(snapshot)));
        }
        let bounds = (numbers.bound(keys), numbers.bound(keys));
        let bounds = (borrowed(&bounds.0), borrowed(&bounds.1));
        if is_in_order(bounds) {
            assert_eq!(scan(&tier, bounds, snapshot), reference.scan(bounds, snapshot));
        }
    }
    assert_eq!(tier.versions(), reference.versions());
    assert_eq!(tier.version_count(), reference.versions().len());
}

#[test]
fn the_tier_is_the_plain_map() {
    for seed in 0..6 {
        compare(seed, 1 << seed, 400);
        compare(seed, 3000, 800);
    }
}

/// What the threads share: a tier, its reference, and what is published of both.
struct Stage {
    tier: WriteTier,
    reference: Reference,
    published: ArcSwap<Snapshots>,
    is_done: AtomicBool,
}

impl Stage {
    /// Commits, and prunes what only snapshots need that are older than the last `kept` ones and that nobody holds.
    fn commit(&self, seed: u64, keys: u64, txns: u64, kept: u64) {
        let mut numbers = Numbers(seed);
        let mut pruner = Pruner::default();
        for txn in 1..=txns {
            let mutations = numbers.mutations(TxnId(txn), keys, 3);
            self.reference.install(TxnId(txn), mutations.clone());
            self.tier.install_noting(TxnId(txn), mutations, |superseded| pruner.note(superseded));
            let oldest = TxnId(txn.saturating_sub(kept));
            let new = Arc::new(Snapshots { oldest, latest: TxnId(txn) });
            let old = self.published.swap(new);
            let snapshots = *old;
            pruner.replaced(&self.tier, old, snapshots, oldest);
        }
        self.is_done.store(true, Ordering::Release);
    }

    /// Takes snapshots and reads each of them more than once: every time the reference's answer, which nothing prunes.
    fn read(&self, seed: u64, keys: u64) {
        let mut numbers = Numbers(seed);
        let mut held = Vec::new();
        while !self.is_done.load(Ordering::Acquire) {
            let published = self.published.load_full();
            let Snapshots { oldest, latest } = *published;
            let snapshot = TxnId(oldest.0 + numbers.below(latest.0 - oldest.0 + 1));
            held.push((published, snapshot));
            if held.len() > 20 {
                held.swap_remove(numbers.below(20) as usize);
            }
            for (published, snapshot) in &held {
                let key = numbers.key(keys);
                assert_eq!(self.tier.get(&key, *snapshot), self.reference.get(&key, *snapshot));
                assert!(self.tier.newest(&key) >= self.tier.get(&key, *snapshot).and(Some(TxnId(1))));
                if numbers.below(10) == 0 && *snapshot > published.oldest {
                    let expected = self.reference.transaction(*snapshot);
                    assert_eq!(self.tier.transaction(*snapshot), Some(expected));
                }
            }
            let bounds = (Bound::Unbounded, Bound::Unbounded);
            let snapshot = held[numbers.below(held.len() as u64) as usize].1;
            assert_eq!(scan(&self.tier, bounds, snapshot), self.reference.scan(bounds, snapshot));
        }
    }
}

#[test]
fn snapshots_are_repeatable_while_others_commit_and_prune() {
    for (seed, keys, kept) in [(1, 4, 0), (2, 200, 0), (3, 40, 30)] {
        let nothing = Snapshots { oldest: TxnId(0), latest: TxnId(0) };
        let stage = Stage {
            tier: WriteTier::default(),
            reference: Reference::default(),
            published: ArcSwap::from_pointee(nothing),
            is_done: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            for reader in 0..3 {
                let stage = &stage;
                scope.spawn(move || stage.read(seed + 100 * (reader + 1), keys));
            }
            stage.commit(seed, keys, 3000, kept);
        });
        let unpruned = stage.reference.versions().len();
        let pruned = stage.tier.version_count();
        assert!(pruned <= unpruned && (keys > 4 || pruned < 1000), "{pruned} of {unpruned}");
    }
}

#[test]
fn nothing_is_left_of_tiers_that_were_dropped() {
    let mut tier = WriteTier::default();
    let mut values = Vec::<Weak<[u8]>>::new();
    let mut txn = TxnId(0);
    for _ in 0..5 {
        for number in 0..2000 {
            txn = txn.next();
            let (key, value) = put(&(number % 300).to_string(), &txn.0.to_string());
            values.extend(value.as_ref().map(Arc::downgrade));
            tier.install_noting(txn, [(key, value)], |_| {});
        }
        for version in tier.versions() {
            let (key, txn, _) = version;
            if tier.newest(&key) != Some(txn) {
                tier.remove(&Superseded { key, txn, by: TxnId(txn.0 + 1) });
            }
        }
        assert_eq!(tier.version_count(), 300);
        let held = tier.get(b"7", txn).flatten();
        tier = tier.successor();
        assert!(held.is_some(), "what a reader has stays");
    }
    drop(tier);
    let left = values.iter().filter(|value| value.strong_count() > 0).count();
    assert_eq!(left, 0);
}

/// What lies behind the end of a scan costs it nothing, however much it is and however new.
#[test]
fn a_scan_ends_where_it_ends() {
    let tier = sample();
    for txn in 6..2000 {
        tier.install(TxnId(txn), [put(&format!("later {txn}"), "new")]);
    }
    let asked = AtomicU64::new(0);
    let is_before_end = |key: &[u8]| {
        asked.fetch_add(1, Ordering::Relaxed);
        key < b"d".as_slice()
    };
    let mut up = TierScan::new(&tier, TxnId(5));
    let mut last: Option<TierEntry> = None;
    let mut count = 0;
    loop {
        let from = last.as_ref().map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(&**key));
        let Some(entry) = up.next(from, is_before_end) else { break };
        last = Some(entry);
        count += 1;
    }
    assert_eq!(count, 3);
    assert!(asked.load(Ordering::Relaxed) <= 5, "the first key behind the end ends the scan");
}
