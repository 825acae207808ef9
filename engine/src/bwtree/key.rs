//! What keys are, and what they can be looked up by.
//!
//! A page keeps the *heads* of its keys side by side: eight bytes each that order like the keys do, so that a search
//! compares integers in consecutive memory and looks at whole keys only where heads are the same. For keys of up to
//! eight bytes the head is the key, and nothing else is kept.

use std::cmp::Ordering;

use super::Frozen;
use crate::sync::Arc;

/// A key of the tree.
///
/// The defaults are right for every ordered type, and slow: all heads are the same.
///
/// # Safety
/// Pages are divided, merged and freed by the order of keys, so a wrong order is not only a wrong answer:
/// - `Ord` is a total order, the same at every call, on every thread.
/// - [`Key::head`], [`Key::from_head`] and [`Key::shared`] do what they say here.
pub unsafe trait Key: Ord + Clone + Frozen + Send + Sync + 'static {
    /// Whether the head is the whole key, so that [`Key::from_head`] gives it back.
    const IS_HEAD: bool = false;

    /// Eight bytes that order like the keys do, among keys that share their first `skip` units: if `a < b`, then the
    /// head of `a` is not above that of `b`.
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        let _ = skip;
        0
    }

    /// The key of a head that was made with a `skip` of 0.
    ///
    /// # Panics
    /// Unless the head is the whole key.
    #[must_use]
    fn from_head(head: u64) -> Self {
        panic!("{head} is the head of a key that has more than a head");
    }

    /// How many first units every key between the two, both included, shares with them.
    #[must_use]
    fn shared(&self, other: &Self) -> usize {
        let _ = other;
        0
    }
}

/// What a key of type `K` can be looked up by: the key itself, or a borrowed form of it.
///
/// It has a place in the order of the keys. That need not be the place of a key. A probe that says now this and now that
/// finds anything or nothing, or ends in a panic.
pub trait Probe<K> {
    /// As [`Key::head`].
    fn head(&self, skip: usize) -> u64;

    /// How this compares to `key`.
    fn compare(&self, key: &K) -> Ordering;
}

impl<K: Key> Probe<K> for K {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        Key::head(self, skip)
    }

    #[inline]
    fn compare(&self, key: &K) -> Ordering {
        self.cmp(key)
    }
}

/// Keys that are their heads, by a mapping that keeps the order and can be undone.
macro_rules! integer_keys {
    ($($integer:ty, $unsigned:ty, $flip:expr;)*) => {$(
        // SAFETY: the order of numbers; flipping the sign bit, if there is one, and widening keep it.
        unsafe impl Key for $integer {
            const IS_HEAD: bool = true;

            #[inline]
            fn head(&self, _skip: usize) -> u64 {
                u64::from((*self as $unsigned) ^ $flip)
            }

            #[inline]
            fn from_head(head: u64) -> Self {
                ((head as $unsigned) ^ $flip) as $integer
            }
        }
    )*};
}

integer_keys! {
    u8, u8, 0;
    u16, u16, 0;
    u32, u32, 0;
    u64, u64, 0;
    i8, u8, 1 << 7;
    i16, u16, 1 << 15;
    i32, u32, 1 << 31;
    i64, u64, 1 << 63;
}

/// The eight bytes from `skip` on, padded with zeros.
#[inline]
pub(crate) fn head_of_bytes(bytes: &[u8], skip: usize) -> u64 {
    let rest = bytes.get(skip..).unwrap_or(&[]);
    match rest.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(padded)
        }
    }
}

/// How many first bytes the two have in common.
pub(crate) fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

// SAFETY: bytes are ordered byte by byte, and heads are bytes in the same order.
unsafe impl<const N: usize> Key for [u8; N] {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        head_of_bytes(self, skip)
    }

    fn shared(&self, other: &Self) -> usize {
        shared_bytes(self, other)
    }
}

/// Owned strings of bytes, looked up by borrowed ones.
macro_rules! byte_keys {
    ($($owned:ty, $borrowed:ty, $bytes:ident;)*) => {$(
        // SAFETY: as for arrays of bytes; padding with zeros keeps the order, though not strictly.
        unsafe impl Key for $owned {
            #[inline]
            fn head(&self, skip: usize) -> u64 {
                head_of_bytes(self.$bytes(), skip)
            }

            fn shared(&self, other: &Self) -> usize {
                shared_bytes(self.$bytes(), other.$bytes())
            }
        }

        impl Probe<$owned> for $borrowed {
            #[inline]
            fn head(&self, skip: usize) -> u64 {
                head_of_bytes(self.$bytes(), skip)
            }

            #[inline]
            fn compare(&self, key: &$owned) -> Ordering {
                self.$bytes().cmp(key.$bytes())
            }
        }
    )*};
}

trait AsBytes {
    fn as_byte_slice(&self) -> &[u8];
}

impl AsBytes for [u8] {
    fn as_byte_slice(&self) -> &[u8] {
        self
    }
}

impl AsBytes for str {
    fn as_byte_slice(&self) -> &[u8] {
        self.as_bytes()
    }
}

byte_keys! {
    Vec<u8>, [u8], as_byte_slice;
    Box<[u8]>, [u8], as_byte_slice;
    Arc<[u8]>, [u8], as_byte_slice;
    String, str, as_byte_slice;
}

/// A place right before or right after another one, or at either end of all keys.
#[derive(Debug)]
pub(super) enum Place<'q, Q: ?Sized> {
    Lowest,
    Before(&'q Q),
    After(&'q Q),
    Highest,
}

impl<Q: ?Sized> Clone for Place<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q: ?Sized> Copy for Place<'_, Q> {}

impl<K, Q: Probe<K> + ?Sized> Probe<K> for Place<'_, Q> {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        match self {
            Place::Lowest => 0,
            Place::Before(probe) | Place::After(probe) => probe.head(skip),
            Place::Highest => u64::MAX,
        }
    }

    #[inline]
    fn compare(&self, key: &K) -> Ordering {
        match self {
            Place::Lowest => Ordering::Less,
            Place::Before(probe) => probe.compare(key).then(Ordering::Less),
            Place::After(probe) => probe.compare(key).then(Ordering::Greater),
            Place::Highest => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads order as the keys do, and give back what they are the whole of.
    fn check<K: Key + std::fmt::Debug>(keys: &[K]) {
        for one in keys {
            if K::IS_HEAD {
                assert_eq!(K::from_head(Key::head(one, 0)), *one);
            }
            for other in keys.iter().filter(|other| one < other) {
                for skip in 0..=one.shared(other) {
                    assert!(Key::head(one, skip) <= Key::head(other, skip), "{one:?} {other:?} {skip}");
                }
                assert!(!K::IS_HEAD || Key::head(one, 0) < Key::head(other, 0));
            }
        }
    }

    #[test]
    fn heads_order_like_keys() {
        check(&[0_u64, 1, 255, 256, u64::MAX]);
        check(&[i64::MIN, -1, 0, 1, i64::MAX]);
        check(&[i8::MIN, -1, 0, 1, i8::MAX]);
        check(&[[0_u8; 12], [1; 12], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2], [255; 12]]);
        let texts = ["", "\0", "a", "a\0", "aaaaaaaa", "aaaaaaaab", "b", "\u{ffff}"];
        check(&texts.map(str::to_owned));
        check(&texts.map(|text| text.as_bytes().to_vec()));
    }

    #[test]
    fn a_skip_beyond_the_end_is_a_head_of_zeros() {
        assert_eq!(head_of_bytes(b"abc", 3), 0);
        assert_eq!(head_of_bytes(b"abc", 4), 0);
        assert_eq!(head_of_bytes(b"abc", 2), u64::from(b'c') << 56);
    }
}
