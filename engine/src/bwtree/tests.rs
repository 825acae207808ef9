//! One thread against the standard library's map, and what is owned. What many threads do is for the suites that steer
//! them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use super::*;

/// Small pages, so that every structure change happens all the time.
const TINY: Limits = Limits { leaf: 3, inner: 2, leaf_deltas: 2, inner_deltas: 2, table_bits: 1 };

/// A sequence of numbers that looks random and is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn bound<K>(numbers: &mut Numbers, key: K) -> Bound<K> {
    match numbers.below(3) {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    }
}

/// Whether the standard library's map takes these bounds, and what they select.
fn expected<K: Ord + Clone, V: Clone>(map: &BTreeMap<K, V>, start: Bound<&K>, end: Bound<&K>) -> Vec<(K, V)> {
    let is_within = |key: &K| {
        (match start {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        }) && (match end {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        })
    };
    map.iter().filter(|(key, _)| is_within(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The same operations on both maps have the same results.
fn check<K: Key + Debug>(limits: Limits, steps: usize, seed: u64, key: impl Fn(u64) -> K) {
    let tree = BwTree::with_limits(limits);
    let mut map = BTreeMap::new();
    let mut numbers = Numbers(seed);
    for step in 0..steps {
        // Now the map grows, then it shrinks.
        let puts = if step / 1000 % 2 == 0 { 6 } else { 2 };
        let at = key(numbers.below(300));
        let value = format!("{step}");
        match numbers.below(12) {
            0..6 if numbers.below(8) < puts => {
                assert_eq!(tree.upsert(at.clone(), value.clone()), map.insert(at, value));
            }
            0..6 => assert_eq!(tree.delete(&at), map.remove(&at)),
            6 => {
                let present = map.get(&at).cloned();
                assert_eq!(tree.insert(at.clone(), value.clone()).is_ok(), present.is_none());
                map.entry(at).or_insert(value);
            }
            7 => {
                let present = map.get(&at).cloned();
                let expected = if numbers.below(3) == 0 { None } else { present.clone() };
                let outcome = tree.compare_and_insert(at.clone(), expected.as_ref(), value.clone());
                if expected == present {
                    assert_eq!(outcome, Ok(()));
                    map.insert(at, value);
                } else {
                    assert_eq!(outcome, Err(present));
                }
            }
            8 => assert_eq!(tree.get(&at), map.get(&at).cloned()),
            9 => {
                let other = key(numbers.below(300));
                let (start, end) = (bound(&mut numbers, at), bound(&mut numbers, other));
                let (start, end) = (start.as_ref(), end.as_ref());
                let mut entries = expected(&map, start, end);
                assert_eq!(tree.range(start, end).collect::<Vec<_>>(), entries);
                entries.reverse();
                assert_eq!(tree.range_reverse(end, start).collect::<Vec<_>>(), entries);
            }
            10 => {
                let owned = |(key, value): (&K, &String)| (key.clone(), value.clone());
                assert_eq!(tree.first(), map.first_key_value().map(owned));
                assert_eq!(tree.last(), map.last_key_value().map(owned));
                let clones = |key: &K, value: &String| (key.clone(), value.clone());
                assert_eq!(tree.first_from_with(&at, clones), map.range(&at..).next().map(owned));
            }
            _ if numbers.below(100) == 0 => {
                tree.clear();
                map.clear();
            }
            _ if numbers.below(20) == 0 => tree.maintain(),
            _ => assert_eq!(tree.len(), map.len()),
        }
    }
    assert_eq!(tree.range::<K>(Bound::Unbounded, Bound::Unbounded).collect::<Vec<_>>(), Vec::from_iter(map));
    tree.check();
}

#[test]
fn one_thread_sees_a_sorted_map_of_integers() {
    for seed in 0..10 {
        check(TINY, 5000, seed, |number| number * 3);
        check(TINY, 5000, seed, |number| i32::try_from(number).expect("small") - 150);
    }
    check(Limits::default(), 20_000, 1, |number| number);
}

#[test]
fn one_thread_sees_a_sorted_map_of_bytes() {
    for seed in 0..10 {
        // Keys with long common beginnings, keys that are beginnings of others, and keys that all have the same head.
        check(TINY, 5000, seed, |number| format!("a/rather/long/prefix/{number}").into_bytes());
        check(TINY, 5000, seed, |number| vec![b'x'; number as usize]);
        check(TINY, 5000, seed, |number| Arc::<[u8]>::from(format!("{:b}", number % 40).as_bytes()));
    }
    check(Limits::default(), 20_000, 1, |number| format!("{number:024}"));
}

#[test]
fn keys_without_heads_work_too() {
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Pair(u64, String);
    // SAFETY: a number and a string.
    unsafe impl Frozen for Pair {}
    // SAFETY: the derived order is total, and the defaults are right for every order.
    unsafe impl Key for Pair {}
    check(TINY, 5000, 3, |number| Pair(number % 7, number.to_string()));
}

#[test]
fn every_key_and_value_is_dropped_once() {
    let value = Arc::new(());
    let tree = BwTree::with_limits(TINY);
    let mut numbers = Numbers(7);
    for round in 0..20_000 {
        let key = Arc::<[u8]>::from(numbers.below(500).to_string().as_bytes());
        if (round / 4000) % 2 == 0 || numbers.below(4) == 0 {
            tree.upsert(key, Arc::clone(&value));
        } else {
            tree.delete(&key);
        }
    }
    // What was overwritten is dropped by consolidation.
    tree.maintain();
    tree.collect();
    assert_eq!(Arc::strong_count(&value), tree.len() + 1);
    tree.clear();
    tree.collect();
    assert_eq!((tree.len(), Arc::strong_count(&value)), (0, 1));
    tree.upsert(b"last".as_slice().into(), Arc::clone(&value));
    drop(tree);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_tree_that_is_emptied_shrinks_to_a_leaf() {
    let tree = BwTree::with_limits(Limits { leaf: 4, inner: 4, ..Limits::default() });
    for key in 0_u64..10_000 {
        tree.upsert(key, ());
    }
    let full = tree.stats();
    assert!(full.levels > 4, "{full:?}");
    for key in 0_u64..10_000 {
        tree.delete(&key);
    }
    tree.maintain();
    let empty = tree.stats();
    assert_eq!((empty.levels, empty.leaves, empty.keys), (1, 1, 0), "{empty:?}");
    tree.check();
}

#[test]
fn page_ids_are_used_again() {
    let tree = BwTree::with_limits(TINY);
    for round in 0..50_u64 {
        for key in 0..200 {
            tree.upsert(key, round);
        }
        for key in 0..200 {
            tree.delete(&key);
        }
        tree.maintain();
        tree.collect();
    }
    assert!(
        tree.stats().bytes < 16 << 10,
        "the mapping table doesn't grow by what comes and goes: {:?}",
        tree.stats()
    );
}

#[test]
fn threads_count_exactly() {
    let tree = BwTree::with_limits(TINY);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tree = &tree;
            scope.spawn(move || {
                for key in 0..2000_u64 {
                    assert_eq!(tree.upsert(key * 4 + thread, key), None);
                }
                for key in (0..2000_u64).filter(|key| key % 3 != 0) {
                    assert_eq!(tree.delete(&(key * 4 + thread)), Some(key));
                }
            });
        }
    });
    assert_eq!(tree.len(), 4 * 667);
    assert_eq!(tree.range::<u64>(Bound::Unbounded, Bound::Unbounded).count(), 4 * 667);
    tree.check();
}

#[test]
fn entries_that_are_appended_are_those_that_were_put() {
    for (limits, seed) in [(TINY, 1), (TINY, 2), (Limits::default(), 3), (Limits::default(), 4)] {
        let tree = BwTree::with_limits(limits);
        let mut map = BTreeMap::new();
        let mut numbers = Numbers(seed);
        let mut values = Vec::new();
        for _ in 0..40 {
            // Behind everything, among the others, or in no order at all.
            let (start, step) = match numbers.below(3) {
                0 => (map.last_key_value().map_or(0, |(key, _)| key + 1), 1),
                1 => (numbers.below(5000), 3),
                _ => (numbers.below(5000), 977),
            };
            let entries: Vec<(u64, Arc<u64>)> = (0..numbers.below(12_000).min(numbers.below(12_000)))
                .map(|number| (start + number * step % 20_011, Arc::new(number)))
                .collect();
            values.extend(entries.iter().map(|(_, value)| Arc::downgrade(value)));
            map.extend(entries.clone());
            tree.upsert_all(entries);
            for _ in 0..numbers.below(2000) {
                let key = numbers.below(20_000);
                assert_eq!(tree.delete(&key), map.remove(&key));
            }
            assert_eq!(tree.len(), map.len());
        }
        tree.check();
        let all: Vec<_> = tree.range::<u64>(Bound::Unbounded, Bound::Unbounded).collect();
        assert_eq!(all, Vec::from_iter(map));
        drop((all, tree));
        assert!(values.iter().all(|value| value.strong_count() == 0), "every value is dropped once");
    }
}

#[test]
fn threads_append_beside_each_other() {
    let tree = BwTree::with_limits(TINY);
    let map: BTreeMap<u64, u64> = std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let tree = &tree;
            scope.spawn(move || {
                for batch in 0..60 {
                    let start = batch * 300;
                    tree.upsert_all(
                        (start..start + 300).map(|number| (number * 3 + thread, number)).collect(),
                    );
                }
            });
        }
        (0..18_000).flat_map(|number| (0..3).map(move |thread| (number * 3 + thread, number))).collect()
    });
    assert_eq!(
        tree.range::<u64>(Bound::Unbounded, Bound::Unbounded).collect::<Vec<_>>(),
        Vec::from_iter(map)
    );
    assert_eq!(tree.len(), 54_000);
    tree.check();
}
