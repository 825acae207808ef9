//! One seed, split into named independent streams.
//!
//! Everything that a run leaves to chance is drawn from a stream of its own: the configuration, the workload, the
//! crashes. A new draw in one place then shifts nothing in another, and a seed keeps most of its meaning when a
//! generator grows.
//!
//! A stream depends on the seed and on its name alone, never on which streams were taken before it. The key of its
//! ChaCha8 generator is
//!
//! ```text
//! bytes  0..8    the seed, little endian
//! bytes  8..24   xxh3-128 of the name, little endian
//! bytes 24..32   "proofmrk"
//! ```
//!
//! so that two seeds, and two names, never share a key. This layout, and how [`Draw`] turns words into choices, never
//! change: a seed that once found something must find it again.

use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_128;

/// Marks the keys as ours, so that no other program's seeds repeat our runs.
const DOMAIN: &[u8; 8] = b"proofmrk";

/// A seed, ready to be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

/// Choices drawn from a generator, by arithmetic that is fixed here and so outlives any library's idea of a range.
pub trait Draw: Rng {
    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0: there is no such number.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a product of two words is a word")
    }

    /// A number in `range`, both ends included.
    ///
    /// # Panics
    /// If `range` is empty, or holds every `u64`.
    fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        assert!(range.start() <= range.end(), "the range is empty");
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// An index below `length`.
    ///
    /// # Panics
    /// If `length` is 0.
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index below a usize is a usize")
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, each as likely as the others.
    ///
    /// # Panics
    /// If there is none.
    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// The index of one of `weights`, each as likely as it is heavy.
    ///
    /// # Panics
    /// If no weight is above 0.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return index;
            }
            rest -= weight;
        }
        unreachable!("a number below the sum of all weights falls into one of them")
    }
}

impl<R: Rng + ?Sized> Draw for R {}

impl Streams {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Streams {
        Streams { seed }
    }

    /// The stream called `name`, from its start.
    pub fn stream(&self, name: &str) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..24].copy_from_slice(&xxh3_128(name.as_bytes()).to_le_bytes());
        key[24..].copy_from_slice(DOMAIN);
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rng: &mut ChaCha8Rng) -> Vec<u64> {
        (0..8).map(|_| rng.next_u64()).collect()
    }

    #[test]
    fn a_stream_does_not_depend_on_the_streams_taken_before_it() {
        let streams = Streams::new(7);
        let alone = words(&mut streams.stream("workload"));
        let mut crashes = streams.stream("crashes");
        let mut workload = streams.stream("workload");
        let interleaved: Vec<u64> = (0..8)
            .map(|_| {
                crashes.next_u64();
                workload.next_u64()
            })
            .collect();
        assert_eq!(alone, interleaved);
    }

    #[test]
    fn names_and_seeds_give_different_streams() {
        let one = words(&mut Streams::new(7).stream("workload"));
        assert_ne!(one, words(&mut Streams::new(7).stream("crashes")));
        assert_ne!(one, words(&mut Streams::new(8).stream("workload")));
    }

    /// These numbers are part of what a seed means. If this test fails, every seed ever reported is void.
    #[test]
    fn streams_are_what_they_always_were() {
        assert_eq!(
            words(&mut Streams::new(0).stream("workload"))[..2],
            [7_028_779_522_128_871_876, 8_786_348_586_371_604_420]
        );
        assert_eq!(
            words(&mut Streams::new(u64::MAX).stream("crashes"))[..2],
            [3_193_798_367_964_613_022, 18_242_824_393_441_824_380]
        );
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut rng = Streams::new(1).stream("test");
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            let number = rng.between(3..=7);
            assert!((3..=7).contains(&number));
            seen[usize::try_from(number - 3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "a lopsided draw: {seen:?}");
        assert_eq!(rng.below(1), 0);
        assert!(!rng.chance(0));
        assert!(rng.chance(1000));
    }

    #[test]
    fn weights_decide_how_often_each_choice_is_taken() {
        let mut rng = Streams::new(2).stream("test");
        let mut seen = [0u32; 3];
        for _ in 0..1000 {
            seen[rng.weighted(&[1, 0, 9])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!(seen[0] > 50 && seen[2] > 800, "weights were not obeyed: {seen:?}");
    }
}
