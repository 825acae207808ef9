//! The keys of one plan.

use std::collections::BTreeSet;
use std::ops::Bound;

use proofmark_model::{Key, KeyRange};
use rand_chacha::ChaCha8Rng;

use super::mix::KeyMix;
use crate::random::Draw;

/// No key is longer, in bytes: a quarter of the smallest page, which every store takes.
const KEY_LENGTH_MAX: usize = 1024;
/// How many letters are drawn at the most. More than that repeat.
const LETTERS_MAX: u64 = 8;
/// How many keys are hot.
const HOT_COUNT: usize = 3;

/// Every key that a plan uses, in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySpace {
    keys: Vec<Key>,
    /// Where the hot ones are.
    hot: Vec<usize>,
}

impl KeySpace {
    /// `mix.count` different keys.
    pub(super) fn draw(rng: &mut ChaCha8Rng, mix: &KeyMix) -> KeySpace {
        assert!(mix.count > 0, "a plan needs a key");
        let prefix_lengths = [0, rng.between(0..=mix.prefix_max), mix.prefix_max];
        let prefixes = prefix_lengths.map(|length| letters(rng, length, mix.binary));
        let mut keys = BTreeSet::new();
        if mix.with_empty {
            keys.insert(Key::new());
        }
        // The number makes the key unique where its other parts are not. Long common prefixes make long separators, and
        // so deep trees of few keys.
        for number in 0.. {
            if keys.len() >= mix.count {
                break;
            }
            let mut key = rng.pick(&prefixes).clone();
            key.extend_from_slice(format!("{number:02}").as_bytes());
            if rng.chance(mix.long_share) {
                let length = rng.between(1..=mix.long_max);
                key.extend(letters(rng, length, mix.binary));
                key.truncate(KEY_LENGTH_MAX);
            }
            keys.insert(key);
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let hot = (0..HOT_COUNT).map(|_| rng.index(keys.len())).collect();
        KeySpace { keys, hot }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, index: usize) -> &Key {
        &self.keys[index % self.keys.len()]
    }

    /// Some key: a hot one in `hot_share` of a thousand draws.
    pub(super) fn pick(&self, rng: &mut ChaCha8Rng, hot_share: u64) -> usize {
        if rng.chance(hot_share) { *rng.pick(&self.hot) } else { rng.index(self.keys.len()) }
    }

    /// Some range: bounded on both sides, on one or on none, by keys or by a prefix, rarely the wrong way round.
    pub(super) fn range(&self, rng: &mut ChaCha8Rng) -> KeyRange {
        let one = rng.index(self.keys.len());
        let other = rng.index(self.keys.len());
        match rng.weighted(&[3, 6, 2, 1, 2, 2]) {
            0 => KeyRange::all(),
            1 => KeyRange { start: self.bound(rng, one.min(other)), end: self.bound(rng, one.max(other)) },
            2 => {
                let key = self.key(one);
                KeyRange::prefix(&key[..rng.index(key.len() + 1)])
            }
            3 => KeyRange { start: self.bound(rng, one.max(other)), end: self.bound(rng, one.min(other)) },
            4 => KeyRange { start: self.bound(rng, one), end: Bound::Unbounded },
            _ => KeyRange { start: Bound::Unbounded, end: self.bound(rng, one) },
        }
    }

    /// A range of some keys in a row.
    pub(super) fn short_range(&self, rng: &mut ChaCha8Rng) -> KeyRange {
        let first = rng.index(self.keys.len());
        let last = (first + rng.index(12)).min(self.keys.len() - 1);
        KeyRange { start: self.bound(rng, first), end: self.bound(rng, last) }
    }

    fn bound(&self, rng: &mut ChaCha8Rng, index: usize) -> Bound<Key> {
        let key = self.key(index).clone();
        if rng.chance(500) { Bound::Included(key) } else { Bound::Excluded(key) }
    }
}

/// Random letters; many of them repeat a few, so that a person can still read a plan.
fn letters(rng: &mut ChaCha8Rng, length: u64, binary: bool) -> Vec<u8> {
    let alphabet: &[u8] = if binary { b"\x00\x01\x7f\xfe\xff" } else { b"abcde/" };
    let unit: Vec<u8> = (0..length.min(LETTERS_MAX)).map(|_| *rng.pick(alphabet)).collect();
    unit.iter().copied().cycle().take(usize::try_from(length).expect("keys are short")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;

    fn mix() -> KeyMix {
        KeyMix { count: 50, prefix_max: 9, long_share: 200, long_max: 90, binary: true, with_empty: true }
    }

    #[test]
    fn there_are_as_many_keys_as_asked_for_and_they_are_sorted() {
        for seed in 0..50 {
            let keys = KeySpace::draw(&mut Streams::new(seed).stream("keys"), &mix());
            assert_eq!(keys.len(), 50);
            assert!(keys.keys.is_sorted_by(|left, right| left < right));
            assert!(keys.key(0).is_empty());
        }
    }

    #[test]
    fn no_key_is_longer_than_every_store_takes() {
        let longest = KeyMix { count: 400, prefix_max: 900, long_share: 1000, long_max: 900, ..mix() };
        let keys = KeySpace::draw(&mut Streams::new(1).stream("keys"), &longest);
        let lengths = keys.keys.iter().map(Vec::len);
        assert_eq!(lengths.max(), Some(KEY_LENGTH_MAX));
    }

    #[test]
    fn ranges_of_every_shape_occur() {
        let mut rng = Streams::new(3).stream("keys");
        let keys = KeySpace::draw(&mut rng, &mix());
        let ranges: Vec<KeyRange> = (0..300).map(|_| keys.range(&mut rng)).collect();
        assert!(ranges.iter().any(KeyRange::is_inverted));
        assert!(ranges.contains(&KeyRange::all()));
        assert!(ranges.iter().any(|range| matches!(range.start, Bound::Excluded(_))));
        assert!(ranges.iter().any(|range| matches!(range.end, Bound::Included(_))));
    }
}
