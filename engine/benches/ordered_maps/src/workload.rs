//! What is done to a map: the keys, and the steps of each thread, the same for every map.
//!
//! Keys are numbered. Number `i` has the same key in every run, and consecutive numbers have keys that are far apart.
//! The workloads are those of YCSB (Cooper et al., SoCC 2010, table 2) for single values: `zipfian` draws ranks with
//! the exponent 0.99 and scatters them over the numbers, so that what is hot was not loaded first; D reads by recency
//! and lets the exponent rank from the newest key on. Steps are drawn before the clock starts, because a draw costs
//! as much as a lookup, and are taken again from the start once all were taken.

use std::fmt::Debug;

use clap::ValueEnum;
use concurrent_map::Minimum;
use proofmark_engine::bwtree;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution as _, Zipf};

/// How many steps are drawn for a thread.
pub(crate) const STEPS: usize = 1 << 20;
/// How many pairs the longest scan takes.
const SCAN_PAIRS: u32 = 100;
/// The exponent that YCSB calls its zipfian constant.
const ZIPF_EXPONENT: f64 = 0.99;

/// What a row of the table measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Bytes of the heap for each key, loaded in no order.
    Bytes,
    /// Bytes of the heap for each key, loaded in ascending order.
    BytesAscending,
    /// Inserts of new keys in no order.
    Load,
    /// Inserts of new keys in ascending order; several threads take turns.
    LoadAscending,
    /// 50 % reads, 50 % updates.
    A,
    /// 95 % reads, 5 % updates.
    B,
    /// Reads.
    C,
    /// 95 % reads of what was inserted last, 5 % inserts.
    D,
    /// 95 % scans of 1 to 100 keys, 5 % inserts.
    E,
    /// 50 % reads, 50 % reads with an update of what was read.
    F,
    /// Scans of 100 keys.
    Scan,
}

/// Which keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    Uniform,
    Zipfian,
    /// Zipfian, by recency: what workload D is made of.
    #[value(skip)]
    Latest,
    /// Every key once: loads.
    #[value(skip)]
    Once,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// Numbers of 64 bits.
    U64,
    /// 24 printable bytes, the first four of which are the same.
    Bytes24,
}

/// A key that every map takes.
pub(crate) trait Key: Minimum + bwtree::Key + Copy + Debug {
    /// For maps that know keys as bytes, which sort as the keys do.
    type Bytes: AsRef<[u8]>;
    /// Less than every key that has a number, and greater than every one.
    const LEAST: Self;
    const GREATEST: Self;

    /// The key with this number.
    fn nth(number: u64) -> Self;
    fn to_bytes(self) -> Self::Bytes;
    fn from_bytes(bytes: &[u8]) -> Self;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Update,
    /// Of the next number, whatever the key.
    Insert,
    /// Of the key that was inserted `argument` keys before the newest, whatever the key.
    ReadRecent,
    ReadAndUpdate,
    /// Of `argument` pairs.
    Scan,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<K> {
    pub(crate) key: K,
    pub(crate) argument: u32,
    pub(crate) action: Action,
}

impl Workload {
    pub(crate) fn is_bytes(self) -> bool {
        matches!(self, Workload::Bytes | Workload::BytesAscending)
    }

    pub(crate) fn is_load(self) -> bool {
        matches!(self, Workload::Load | Workload::LoadAscending)
    }

    pub(crate) fn is_ascending(self) -> bool {
        matches!(self, Workload::BytesAscending | Workload::LoadAscending)
    }

    /// The distributions it is measured with, among those asked for.
    pub(crate) fn distributions(self, asked_for: &[Distribution]) -> Vec<Distribution> {
        match self {
            Workload::D => vec![Distribution::Latest],
            _ if self.is_bytes() || self.is_load() => vec![Distribution::Once],
            _ => asked_for.to_vec(),
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Workload::Bytes => "bytes a key, random load",
            Workload::BytesAscending => "bytes a key, ascending load",
            Workload::Load => "load, random",
            Workload::LoadAscending => "load, ascending",
            Workload::A => "A: half updates",
            Workload::B => "B: 5 % updates",
            Workload::C => "C: reads",
            Workload::D => "D: reads of the latest, 5 % inserts",
            Workload::E => "E: scans of 1 to 100, 5 % inserts",
            Workload::F => "F: half read-modify-write",
            Workload::Scan => "scans of 100",
        }
    }

    /// What a draw of 0 to 99 means.
    fn action(self, percent: u32) -> Action {
        match self {
            Workload::A if percent < 50 => Action::Update,
            Workload::B if percent < 5 => Action::Update,
            Workload::D | Workload::E if percent < 5 => Action::Insert,
            Workload::D => Action::ReadRecent,
            Workload::E | Workload::Scan => Action::Scan,
            Workload::F if percent < 50 => Action::ReadAndUpdate,
            _ => Action::Read,
        }
    }

    /// The steps of a thread among the keys numbered below `keys`.
    pub(crate) fn steps<K: Key>(self, distribution: Distribution, keys: u64, seed: u64) -> Vec<Step<K>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let ranks =
            Zipf::new(keys as f64, ZIPF_EXPONENT).expect("there are keys, and the exponent is no NaN");
        let mut step = || {
            let action = self.action(below(&mut random, 100) as u32);
            let rank = match distribution {
                Distribution::Uniform | Distribution::Once => below(&mut random, keys),
                Distribution::Zipfian | Distribution::Latest => ranks.sample(&mut random) as u64 - 1,
            };
            let number = if distribution == Distribution::Zipfian { mix(!rank) % keys } else { rank };
            let argument = match (action, self) {
                (Action::Scan, Workload::Scan) => SCAN_PAIRS,
                (Action::Scan, _) => 1 + below(&mut random, u64::from(SCAN_PAIRS)) as u32,
                _ => u32::try_from(rank).expect("a number fits 32 bits"),
            };
            Step { key: K::nth(number), argument, action }
        };
        (0..STEPS).map(|_| step()).collect()
    }
}

impl Distribution {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Distribution::Uniform => "uniform",
            Distribution::Zipfian => "zipfian",
            Distribution::Latest => "latest",
            Distribution::Once => "",
        }
    }
}

impl KeyKind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            KeyKind::U64 => "u64",
            KeyKind::Bytes24 => "24 bytes",
        }
    }
}

impl Key for u64 {
    type Bytes = [u8; 8];
    const LEAST: u64 = 0;
    const GREATEST: u64 = u64::MAX;

    fn nth(number: u64) -> u64 {
        mix(number)
    }
    fn to_bytes(self) -> [u8; 8] {
        self.to_be_bytes()
    }
    fn from_bytes(bytes: &[u8]) -> u64 {
        u64::from_be_bytes(bytes.try_into().expect("a key has 8 bytes"))
    }
}

impl Key for [u8; 24] {
    type Bytes = [u8; 24];
    const LEAST: [u8; 24] = [0; 24];
    const GREATEST: [u8; 24] = [0xff; 24];

    fn nth(number: u64) -> [u8; 24] {
        let mut key = *b"user00000000000000000000";
        let mut rest = mix(number);
        for digit in key[4..].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        key
    }
    fn to_bytes(self) -> [u8; 24] {
        self
    }
    fn from_bytes(bytes: &[u8]) -> [u8; 24] {
        bytes.try_into().expect("a key has 24 bytes")
    }
}

/// A number that looks random and is given to no other number (splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number below `bound` (Lemire's multiplication; the bias of small bounds is far below what can be measured).
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}
