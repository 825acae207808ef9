//! What the threads of a variant share: the tree, what its keys are for, and when to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proofmark_engine::bwtree::{BwTree, Limits};

/// Keys that all threads change: so many, evenly among the others.
pub(crate) const SPECIALS: usize = 16;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One thread changes it, so that thread knows what is there.
    Own(usize),
    /// Everybody counts it up by compare-and-insert. It is never deleted.
    Counter(usize),
    /// Everybody changes it. It is there all the time.
    Pillar(usize),
    /// Everybody changes and deletes it.
    Contended(usize),
    /// It lies behind all the others, and came there with many at once. One thread drew it, and deletes it later.
    Tail,
}

/// Which thread a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Neighbours belong to different threads, which so meet in every page.
    Interleaved,
    /// Each thread has a range of its own, and meets others at its ends.
    Ranges,
}

/// What a variant is: keys are the numbers below `keys`, and the tail behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) limits: Limits,
    pub(crate) keys: u64,
    pub(crate) ownership: Ownership,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
}

impl Course {
    /// The number of a special key.
    pub(crate) fn special(&self, special: usize) -> u64 {
        let distance = self.keys / SPECIALS as u64;
        special as u64 * distance + distance / 2
    }

    pub(crate) fn role(&self, number: u64) -> Role {
        if number >= self.keys {
            return Role::Tail;
        }
        let special = (number * SPECIALS as u64 / self.keys) as usize;
        if number == self.special(special) {
            return match special % 4 {
                0 => Role::Counter(special),
                1 => Role::Pillar(special),
                _ => Role::Contended(special),
            };
        }
        let threads = self.threads as u64;
        let owner = match self.ownership {
            Ownership::Interleaved => number % threads,
            Ownership::Ranges => number * threads / self.keys,
        };
        Role::Own(owner as usize)
    }

    /// Some special key of a role.
    pub(crate) fn some_special(&self, numbers: &mut Numbers, is_it: impl Fn(Role) -> bool) -> (usize, u64) {
        loop {
            let special = numbers.below(SPECIALS as u64) as usize;
            let number = self.special(special);
            if is_it(self.role(number)) {
                return (special, number);
            }
        }
    }
}

/// A tree under the hammer.
pub(crate) struct Stage<K: proofmark_engine::bwtree::Key, V: proofmark_engine::bwtree::Value> {
    pub(crate) course: Course,
    pub(crate) tree: BwTree<K, V>,
    pub(crate) control: Control,
}

/// What tells the threads what to do.
#[derive(Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    phase: AtomicU64,
    /// How many numbers of the tail were drawn.
    drawn: AtomicU64,
}

impl Control {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn start(&self) {
        self.drawn.store(0, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
    }

    /// So many numbers of the tail that nobody else gets, as the first of them.
    pub(crate) fn draw(&self, count: u64) -> u64 {
        self.drawn.fetch_add(count, Ordering::Relaxed)
    }

    /// Phases in which the tree grows have even numbers, those in which it shrinks odd ones.
    pub(crate) fn phase(&self) -> u64 {
        self.phase.load(Ordering::Relaxed)
    }

    pub(crate) fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells everybody to stop when a thread panics: there is no point in going on.
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a Control);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Numbers that look random, and are the same for the same seed (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64, stream: u64) -> Numbers {
        Numbers(mix(seed) ^ mix(!stream))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % limit
    }

    /// Whether something happens that does so once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Scatters numbers, so that sums of such tell whether two sets are the same.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
