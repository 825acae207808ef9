//! Keys and values that notice what is done to them.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering as MemoryOrdering};

use proofmark_engine::bwtree::{Frozen, Key, Value};

/// A key that stands for a number, in the same order.
pub(crate) trait HammerKey: Key + Debug {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl HammerKey for u64 {
    fn of(number: u64) -> u64 {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

/// Bytes with a common beginning, the number, and ends of many lengths.
fn bytes_of(number: u64) -> Vec<u8> {
    let mut bytes = b"hammer/".to_vec();
    bytes.extend(u32::try_from(number).expect("numbers are small").to_be_bytes());
    bytes.extend(std::iter::repeat_n(b'x', (number % 23) as usize));
    bytes
}

fn number_of(bytes: &[u8]) -> u64 {
    let (start, rest) = bytes.split_at(7);
    assert_eq!(start, b"hammer/", "a key is not what it was made as: {bytes:?}");
    let (number, end) = rest.split_first_chunk().expect("a key has a number");
    let number = u64::from(u32::from_be_bytes(*number));
    assert_eq!(end.len() as u64, number % 23, "a key is not what it was made as: {bytes:?}");
    number
}

impl HammerKey for Vec<u8> {
    fn of(number: u64) -> Vec<u8> {
        bytes_of(number)
    }

    fn number(&self) -> u64 {
        number_of(self)
    }
}

impl HammerKey for Arc<[u8]> {
    fn of(number: u64) -> Arc<[u8]> {
        bytes_of(number).into()
    }

    fn number(&self) -> u64 {
        number_of(self)
    }
}

/// A key in whose comparisons the thread sometimes gives up its processor: so another one gets between any two steps of an
/// operation, which on few processors happens rarely otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restless(Arc<[u8]>);

/// A prime number, so that it isn't always the same comparison of an operation.
const COMPARISONS_TO_YIELD: u32 = 1009;

impl Ord for Restless {
    fn cmp(&self, other: &Restless) -> Ordering {
        thread_local! {
            static COMPARISONS: Cell<u32> = const { Cell::new(0) };
        }
        let comparisons = COMPARISONS.get() + 1;
        COMPARISONS.set(comparisons % COMPARISONS_TO_YIELD);
        if comparisons == COMPARISONS_TO_YIELD {
            std::thread::yield_now();
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Restless {
    fn partial_cmp(&self, other: &Restless) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// SAFETY: a pointer, whose bits don't change.
unsafe impl Frozen for Restless {}

// SAFETY: order, heads and what is shared are those of the bytes; that a thread gives up its processor changes nothing.
unsafe impl Key for Restless {
    fn head(&self, skip: usize) -> u64 {
        Key::head(&self.0, skip)
    }

    fn shared(&self, other: &Restless) -> usize {
        self.0.shared(&other.0)
    }
}

impl HammerKey for Restless {
    fn of(number: u64) -> Restless {
        Restless(bytes_of(number).into())
    }

    fn number(&self) -> u64 {
        number_of(&self.0)
    }
}

/// A value that knows which key it belongs to, and which write it is of.
pub(crate) trait HammerValue: Value + PartialEq + Debug {
    fn new(key: u64, write: u64) -> Self;

    /// The key that it was made for.
    ///
    /// # Panics
    /// If this is no value, or no longer.
    fn key(&self) -> u64;

    /// The write that it was made for.
    fn write(&self) -> u64;

    /// How many there are in memory.
    fn live() -> i64;
}

/// Values in memory of their own that were made and not dropped.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// A value in memory of its own. A clone has memory of its own, too; the tree moves values without cloning them, so every
/// one is dropped once.
#[derive(Debug)]
pub(crate) struct Owned(Box<Content>);

#[derive(Debug)]
struct Content {
    life: AtomicU64,
    key: u64,
    write: u64,
}

const ALIVE: u64 = 0x0a11_7e0a_11fe_0a11;
const DROPPED: u64 = 0x0dea_d0de_ad0d_ead0;

impl Owned {
    fn content(&self) -> &Content {
        let life = self.0.life.load(MemoryOrdering::Relaxed);
        assert_eq!(life, ALIVE, "a value is read that was dropped, or never was one");
        &self.0
    }
}

// SAFETY: a pointer, whose bits don't change.
unsafe impl Frozen for Owned {}

impl HammerValue for Owned {
    fn new(key: u64, write: u64) -> Owned {
        LIVE.fetch_add(1, MemoryOrdering::Relaxed);
        Owned(Box::new(Content { life: AtomicU64::new(ALIVE), key, write }))
    }

    fn key(&self) -> u64 {
        self.content().key
    }

    fn write(&self) -> u64 {
        self.content().write
    }

    fn live() -> i64 {
        LIVE.load(MemoryOrdering::SeqCst)
    }
}

impl Clone for Owned {
    fn clone(&self) -> Owned {
        let Content { key, write, .. } = *self.content();
        Owned::new(key, write)
    }
}

impl PartialEq for Owned {
    fn eq(&self, other: &Owned) -> bool {
        self.key() == other.key() && self.write() == other.write()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let life = self.0.life.swap(DROPPED, MemoryOrdering::Relaxed);
        assert_eq!(life, ALIVE, "a value is dropped twice, or never was one");
        LIVE.fetch_sub(1, MemoryOrdering::Relaxed);
    }
}

/// A value that owns nothing, for the tree's short cut for such.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plain {
    key: u64,
    write: u64,
    sum: u64,
}

// SAFETY: three numbers, without cells.
unsafe impl Frozen for Plain {}

impl HammerValue for Plain {
    fn new(key: u64, write: u64) -> Plain {
        Plain { key, write, sum: key.wrapping_add(write) ^ ALIVE }
    }

    fn key(&self) -> u64 {
        assert_eq!(self.sum, self.key.wrapping_add(self.write) ^ ALIVE, "a value is read that never was one");
        self.key
    }

    fn write(&self) -> u64 {
        self.write
    }

    fn live() -> i64 {
        0
    }
}
