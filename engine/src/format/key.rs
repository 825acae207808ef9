//! Keys as they lie in pages: the beginning that all keys of a page share, once, and the rest of each.

use std::cmp::Ordering;
use std::fmt;

/// A key in two parts, which belong together and mean nothing on their own.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    start: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Key<'a> {
    pub(crate) fn new(start: &'a [u8], rest: &'a [u8]) -> Key<'a> {
        Key { start, rest }
    }

    pub(crate) fn len(self) -> usize {
        self.start.len() + self.rest.len()
    }

    pub(crate) fn parts(self) -> [&'a [u8]; 2] {
        [self.start, self.rest]
    }

    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> {
        self.start.iter().chain(self.rest).copied()
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.parts().concat()
    }

    /// The key without its first `count` bytes.
    pub(crate) fn skip(self, count: usize) -> Key<'a> {
        match count.checked_sub(self.start.len()) {
            None => Key { start: &self.start[count..], rest: self.rest },
            Some(count) => Key { start: &self.rest[count..], rest: &[] },
        }
    }

    /// The number of bytes that both keys begin with.
    pub(crate) fn common(self, other: Key<'_>) -> usize {
        if self.start.len() == other.start.len() {
            let count = common(self.start, other.start);
            return if count < self.start.len() { count } else { count + common(self.rest, other.rest) };
        }
        self.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
    }

    /// The first four bytes as a number, as if zeros followed the key: where two keys differ in it they are in its order.
    pub(crate) fn head(self) -> u32 {
        if let Some(first) = self.start.first_chunk() {
            return u32::from_be_bytes(*first);
        }
        let mut head = [0; 4];
        let (start, rest) = head.split_at_mut(self.start.len());
        start.iter_mut().zip(self.start).for_each(|(to, from)| *to = *from);
        rest.iter_mut().zip(self.rest).for_each(|(to, from)| *to = *from);
        u32::from_be_bytes(head)
    }
}

/// Compares eight bytes at a time as long as there are as many.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words).take_while(|(a, b)| a == b).count();
    let same = words * 8;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(key: &'a [u8]) -> Key<'a> {
        Key { start: key, rest: &[] }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self, other);
        if a.rest.is_empty() && b.rest.is_empty() {
            return a.start.cmp(b.start);
        }
        // The part that starts earlier is compared with both parts of the other key.
        let split = a.start.len().min(b.start.len());
        let (a_start, a_more) = a.start.split_at(split);
        let (b_start, b_more) = b.start.split_at(split);
        a_start.cmp(b_start).then_with(|| {
            let middle = a_more.len().max(b_more.len());
            let (a_middle, a_rest) = if a_more.is_empty() { cut(a.rest, middle) } else { (a_more, a.rest) };
            let (b_middle, b_rest) = if b_more.is_empty() { cut(b.rest, middle) } else { (b_more, b.rest) };
            a_middle.cmp(b_middle).then_with(|| a_rest.cmp(b_rest))
        })
    }
}

/// The first `count` bytes, or as many as there are, and the others.
fn cut(bytes: &[u8], count: usize) -> (&[u8], &[u8]) {
    bytes.split_at(count.min(bytes.len()))
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        if self.start.len() == other.start.len() {
            return self.start == other.start && self.rest == other.rest;
        }
        self.len() == other.len() && self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

impl PartialEq<[u8]> for Key<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        let split = other.split_at_checked(self.start.len());
        split.is_some_and(|(start, rest)| self.start == start && self.rest == rest)
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.to_vec().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_key_is_cut_makes_no_difference() {
        let keys: [&[u8]; 11] = [
            b"",
            b"a",
            b"a\0",
            b"a\0\0\0\0",
            b"ab",
            b"abc",
            b"abcdef",
            b"abcdefghijklmnopq",
            b"abcdefghijklmnoxq",
            b"abd",
            b"\xff\xff\xff\xff\xff",
        ];
        for a in keys {
            for b in keys {
                let together = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                for (a_cut, b_cut) in (0..=a.len()).flat_map(|a| (0..=b.len()).map(move |b| (a, b))) {
                    let (left, right) = (a.split_at(a_cut), b.split_at(b_cut));
                    let (left, right) = (Key::new(left.0, left.1), Key::new(right.0, right.1));
                    assert_eq!(left.cmp(&right), a.cmp(b));
                    assert_eq!((left == right, left == *b), (a == b, a == b));
                    assert_eq!(left.common(right), together);
                    assert_eq!((left.len(), left.to_vec()), (a.len(), a.to_vec()));
                    assert!(left.head() == right.head() || left.head().cmp(&right.head()) == a.cmp(b));
                }
                for count in 0..=a.len() {
                    assert_eq!(
                        Key::new(&a[..a.len() / 2], &a[a.len() / 2..]).skip(count).to_vec(),
                        a[count..]
                    );
                }
            }
        }
    }
}
