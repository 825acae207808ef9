//! What clients do, from a seed.
//!
//! Every workload is small: a few keys, a few operations, pages of a few entries, so that in most of them something
//! is split, merged or consolidated while somebody else is in the middle of it. Each has a leaning of its own, because a
//! mix that is the same everywhere hardly ever empties a tree, or fills it.
//!
//! In one workload of four merges meet merges: it starts on a tree of many leaves that hold little, and every client deletes
//! neighbouring keys in a part of its own. In another one of four splits meet splits: it starts on a tree that was filled
//! and emptied again, so that the ids of its pages lie there to be used, and clients put neighbouring keys, and may delete
//! them again.

use std::fmt;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use proofmark_engine_variants::PageLimits;
use proofmark_model::linearizable::Call;

/// What some clients do with one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) limits: PageLimits,
    /// Inserted first, in this order.
    pub(super) start: Vec<(u64, u64)>,
    /// Deleted again, before the clients begin.
    pub(super) gone: Vec<u64>,
    /// Whether the tree is maintained then.
    pub(super) is_maintained: bool,
    /// What each client does.
    pub(super) scripts: Vec<Vec<Step>>,
}

/// One thing that a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Ask(Call<u64, u64>),
    Maintain,
    Collect,
}

/// What a workload leans towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaning {
    Mixed,
    Growing,
    Shrinking,
    OneKey,
    Scanning,
    Churning,
    Merging,
    Splitting,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        self.below(limit as u64) as usize
    }
}

/// The smallest pages.
pub(super) const SMALL: PageLimits = PageLimits { leaf: 2, inner: 2, deltas: 1 };

/// The most clients.
const CLIENTS_MAX: usize = 5;

impl Workload {
    /// The workload of a seed, short enough to be explored.
    pub(super) fn new(seed: u64) -> Workload {
        let mut random = Random(seed);
        let clients = 2 + random.index(CLIENTS_MAX - 1);
        let steps = 20 / clients + random.index(3);
        Workload::of(seed, &mut random, clients, steps)
    }

    /// The workload of a seed, for threads that nobody schedules.
    pub(super) fn long(seed: u64, steps: usize) -> Workload {
        let mut random = Random(seed);
        let clients = 2 + random.index(CLIENTS_MAX - 1);
        Workload::of(seed, &mut random, clients, steps)
    }

    fn of(seed: u64, random: &mut Random, clients: usize, steps: usize) -> Workload {
        match seed % 4 {
            1 => Workload::merging(random, clients, steps),
            3 => Workload::splitting(random, clients, steps),
            _ => Workload::of_any_keys(random, clients, steps),
        }
    }

    /// Many leaves, each with room for what is in the next one, or almost: merges meet merges.
    fn merging(random: &mut Random, clients: usize, steps: usize) -> Workload {
        // With fewer entries two leaves that have a key each are never merged.
        let leaf = 6 + 2 * random.index(2);
        let limits =
            PageLimits { leaf, inner: 3 + random.index(3), deltas: if random.index(4) == 0 { 2 } else { 1 } };
        // Keys that ascend fill their leaves. One in which so many are left isn't merged yet, but soon will be.
        let left = leaf / 4 + random.index(2);
        let start = ascending(leaf * (4 + random.index(3)));
        let (ground, gone): (Vec<u64>, Vec<u64>) =
            start.iter().map(|(key, _)| *key).partition(|key| (*key as usize % leaf) < left);
        let scripts = walks(random, Leaning::Merging, &ground, clients, steps);
        Workload { limits, start, gone, is_maintained: false, scripts }
    }

    /// An empty leaf, and many page ids that were given back: splits meet splits.
    fn splitting(random: &mut Random, clients: usize, steps: usize) -> Workload {
        let limits = PageLimits { leaf: 2 + random.index(2), ..SMALL };
        let start = ascending(16 + random.index(9));
        let ground: Vec<u64> = start.iter().map(|(key, _)| *key).collect();
        let scripts = walks(random, Leaning::Splitting, &ground, clients, steps);
        Workload { limits, start, gone: ground, is_maintained: true, scripts }
    }

    fn of_any_keys(random: &mut Random, clients: usize, steps: usize) -> Workload {
        let leaning = [
            Leaning::Mixed,
            Leaning::Growing,
            Leaning::Shrinking,
            Leaning::OneKey,
            Leaning::Scanning,
            Leaning::Churning,
            Leaning::Churning,
        ][random.index(7)];
        let limits = match leaning {
            Leaning::Churning => SMALL,
            _ => PageLimits {
                leaf: 2 + random.index(3),
                inner: 2 + random.index(3),
                deltas: 1 + random.index(3),
            },
        };
        let keys = match leaning {
            Leaning::OneKey => 1 + random.below(2),
            Leaning::Churning => 8 + random.below(10),
            _ => 4 + random.below(10),
        };
        let mut value = 1000;
        let filled = match leaning {
            Leaning::Growing => 0,
            Leaning::Shrinking => keys,
            _ => random.below(keys + 1),
        };
        let mut start = Vec::new();
        for key in 0..filled {
            value += 1;
            start.push((key * keys.div_ceil(filled) % keys, value));
        }
        let gone = start.iter().map(|(key, _)| *key).filter(|_| random.below(6) == 0).collect();
        let mut scripts = vec![Vec::new(); clients];
        for script in &mut scripts {
            for _ in 0..steps {
                value += 1;
                script.push(step(random, leaning, keys, value));
            }
        }
        Workload { limits, start, gone, is_maintained: false, scripts }
    }
}

/// Keys from zero on, each with a value of its own.
fn ascending(count: usize) -> Vec<(u64, u64)> {
    (0..count as u64).map(|key| (key, 1001 + key)).collect()
}

/// Clients that delete neighbouring keys, or put values there if they lean towards splits, each in a part of the ground of its
/// own. In between they do whatever they lean towards.
fn walks(
    random: &mut Random,
    leaning: Leaning,
    ground: &[u64],
    clients: usize,
    steps: usize,
) -> Vec<Vec<Step>> {
    let keys = ground.iter().max().expect("there is ground") + 1;
    let is_merging = leaning == Leaning::Merging;
    let mut value = 2000;
    let mut script = |client: usize| {
        let begin = ground.len() * client / clients;
        let is_descending = random.below(2) == 0;
        // Who splits may merge again soon: after so many keys a client takes back what it did there, and goes on.
        let stretch = if is_merging || random.below(3) == 0 { ground.len() } else { 2 + random.index(3) };
        let mut walked = 0;
        let mut next = |_| {
            value += 1;
            if random.below(4) == 0 {
                return step(random, leaning, keys, value);
            }
            let (round, taken) = (walked / stretch, walked % stretch);
            walked += 1;
            let offset = (round / 2 * stretch + taken) % ground.len();
            let offset = if is_descending { ground.len() - offset } else { offset };
            let key = ground[(begin + offset) % ground.len()];
            let deletes = is_merging == round.is_multiple_of(2);
            Step::Ask(if deletes { Call::Delete(key) } else { Call::Upsert(key, value) })
        };
        (0..steps).map(&mut next).collect()
    };
    (0..clients).map(&mut script).collect()
}

fn step(random: &mut Random, leaning: Leaning, keys: u64, value: u64) -> Step {
    let key = random.below(keys);
    // Inserts, upserts, compare-and-inserts, deletes, gets, contains, scans, first and last, clear, maintenance, collection.
    let weights: [u64; 11] = match leaning {
        Leaning::Mixed => [15, 15, 10, 20, 15, 5, 10, 4, 1, 3, 2],
        Leaning::Growing => [35, 25, 5, 5, 10, 2, 10, 4, 0, 3, 1],
        Leaning::Shrinking => [5, 5, 3, 50, 10, 2, 15, 4, 0, 4, 2],
        Leaning::OneKey => [20, 15, 20, 25, 10, 5, 2, 2, 1, 0, 0],
        Leaning::Scanning => [15, 5, 0, 25, 0, 0, 45, 5, 0, 5, 0],
        Leaning::Churning => [20, 20, 0, 45, 5, 0, 5, 0, 0, 5, 0],
        Leaning::Merging => [5, 15, 0, 30, 5, 0, 15, 5, 0, 20, 5],
        Leaning::Splitting => [30, 20, 0, 10, 5, 0, 20, 5, 0, 5, 5],
    };
    let mut left = random.below(weights.iter().sum());
    let chosen = weights.iter().position(|weight| {
        let is_it = left < *weight;
        left = left.saturating_sub(*weight);
        is_it
    });
    Step::Ask(match chosen.expect("the weights are not all zero") {
        0 => Call::Insert(key, value),
        1 => Call::Upsert(key, value),
        2 => Call::CompareAndInsert(key, (random.below(2) == 0).then(|| value - 1 - random.below(20)), value),
        3 => Call::Delete(key),
        4 => Call::Get(key),
        5 => Call::Contains(key),
        6 => {
            let (from, to) = bounds(random, keys);
            if random.below(2) == 0 { Call::Scan(from, to) } else { Call::ScanReverse(from, to) }
        }
        7 if random.below(2) == 0 => Call::First,
        7 => Call::Last,
        8 => Call::Clear,
        9 => return Step::Maintain,
        _ => return Step::Collect,
    })
}

fn bounds(random: &mut Random, keys: u64) -> (Bound<u64>, Bound<u64>) {
    let (one, two) = (random.below(keys), random.below(keys));
    let mut side = |key| match random.below(6) {
        0 => Included(key),
        1 => Excluded(key),
        _ => Unbounded,
    };
    let (from, to) = (side(one.min(two)), side(one.max(two)));
    match (from, to) {
        (Excluded(one), Excluded(two)) if one == two => (Included(one), Excluded(two)),
        bounds => bounds,
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload { limits, start, gone, is_maintained, scripts } = self;
        let maintained = if *is_maintained { ", maintained" } else { "" };
        writeln!(formatter, "{limits:?}, start {start:?} without {gone:?}{maintained}")?;
        for (client, script) in scripts.iter().enumerate() {
            writeln!(formatter, "  c{client}: {script:?}")?;
        }
        Ok(())
    }
}

#[test]
fn workloads_have_all_that_clients_can_do() {
    let workloads: Vec<Workload> = (0..200).map(Workload::new).collect();
    let text: String = workloads.iter().map(Workload::to_string).collect();
    for word in "Insert Upsert CompareAndInsert Delete Get Contains Scan ScanReverse First Last Clear Maintain Collect"
        .split(' ')
    {
        assert!(text.contains(word), "no workload has {word}");
    }
    for clients in 2..=CLIENTS_MAX {
        assert!(
            workloads.iter().any(|workload| workload.scripts.len() == clients),
            "none has {clients} clients"
        );
    }
    assert_eq!(Workload::new(7), Workload::new(7));
}
