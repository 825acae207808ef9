//! Cutting entries, however many, into groups that fit into a page each.
//!
//! Pages are filled from the left, and what is left for the last two is shared evenly between them: an ordinary split gives
//! two halves, and a bulk load full pages. Sizes are exact. What a page saves by storing only once what all its keys begin
//! with depends on its first and its last key alone, because keys are in order; fewer entries never need more room.

use std::ops::Range;

use super::capacity;
use super::draft::{Child, Draft, Entry};
use crate::format::{BRANCH_CELL_HEADER, Key, LEAF_CELL_HEADER, LeafCell, SLOT_BYTES};

/// What takes a cell in a page.
pub(super) trait Item {
    /// How many items at the beginning of a page have no key there.
    const KEYLESS: usize;

    fn key(&self) -> Key<'_>;

    /// The bytes it takes apart from its key.
    fn bytes_beside_key(&self) -> usize;

    /// The bytes it takes with its whole key.
    fn bytes(&self) -> usize {
        self.bytes_beside_key() + self.key().len()
    }
}

impl Item for Entry<'_> {
    const KEYLESS: usize = 0;

    fn key(&self) -> Key<'_> {
        self.version().key
    }

    fn bytes_beside_key(&self) -> usize {
        leaf_bytes_beside_key(&self.cell())
    }

    fn bytes(&self) -> usize {
        let cell = self.cell();
        leaf_bytes_beside_key(&cell) + cell.version.key.len()
    }
}

impl Item for Child {
    const KEYLESS: usize = 1;

    fn key(&self) -> Key<'_> {
        self.lower.as_key().key
    }

    fn bytes_beside_key(&self) -> usize {
        BRANCH_CELL_HEADER + SLOT_BYTES
    }
}

impl Item for Draft<'_> {
    const KEYLESS: usize = 1;

    fn key(&self) -> Key<'_> {
        self.lower.as_key().key
    }

    fn bytes_beside_key(&self) -> usize {
        BRANCH_CELL_HEADER + SLOT_BYTES
    }
}

pub(super) fn leaf_bytes_beside_key(cell: &LeafCell<'_>) -> usize {
    LEAF_CELL_HEADER + SLOT_BYTES + cell.value.size()
}

/// The bytes of a page that these items take.
pub(super) fn size<T: Item>(items: &[T]) -> usize {
    Sizes::new(items).of(0..items.len())
}

/// What the keys of these items begin with, if they are to share a page.
pub(super) fn shared<'a>(first: Key<'_>, last: Key<'a>) -> Vec<u8> {
    let mut shared = last.to_vec();
    shared.truncate(first.common(last));
    shared
}

/// Cuts items into as few groups as hold them.
pub(super) fn pack<T: Item>(page_size: usize, items: Vec<T>) -> Vec<Vec<T>> {
    let ends = ends(capacity(page_size), &items);
    if let [_] = ends[..] {
        return vec![items];
    }
    let mut groups = Vec::with_capacity(ends.len());
    let mut start = 0;
    let mut items = items.into_iter();
    for end in ends {
        groups.push(items.by_ref().take(end - start).collect());
        start = end;
    }
    groups
}

/// Where the groups end.
fn ends<T: Item>(capacity: usize, items: &[T]) -> Vec<usize> {
    let sizes = Sizes::new(items);
    if !items.is_empty() && sizes.of(0..items.len()) <= capacity {
        return vec![items.len()];
    }
    let mut ends = Vec::new();
    let mut start = 0;
    for end in 1..=items.len() {
        if sizes.of(start..end) > capacity {
            start = end - 1;
            ends.push(start);
            assert!(sizes.of(start..end) <= capacity, "no item is larger than a page");
        }
    }
    if let Some(greedy) = ends.pop() {
        let start = ends.last().copied().unwrap_or(0);
        ends.push(sizes.middle(capacity, start, greedy));
    }
    if !items.is_empty() {
        ends.push(items.len());
    }
    ends
}

/// The sizes of all runs of some items.
struct Sizes<'a, T> {
    items: &'a [T],
    /// The bytes of all items before each, and of all of them, with whole keys.
    sums: Vec<usize>,
}

impl<'a, T: Item> Sizes<'a, T> {
    fn new(items: &'a [T]) -> Sizes<'a, T> {
        let mut sums = Vec::with_capacity(items.len() + 1);
        sums.push(0);
        for item in items {
            sums.push(sums[sums.len() - 1] + item.bytes());
        }
        Sizes { items, sums }
    }

    /// The bytes of a page that a run takes.
    fn of(&self, run: Range<usize>) -> usize {
        let mut bytes = self.sums[run.end] - self.sums[run.start];
        let keyed = &self.items[run.start..run.end];
        let (keyless, keyed) = keyed.split_at(T::KEYLESS.min(keyed.len()));
        bytes -= keyless.iter().map(|item| item.key().len()).sum::<usize>();
        if let [first, .., last] = keyed {
            bytes -= first.key().common(last.key()) * (keyed.len() - 1);
        }
        bytes
    }

    /// Where to cut what lies after `start` into two of about one size, each of which fits. They fit if they are cut at
    /// `greedy`, where the first one is as full as can be.
    fn middle(&self, capacity: usize, start: usize, greedy: usize) -> usize {
        let end = self.items.len();
        let half = self.sums[start].midpoint(self.sums[end]);
        // A branch with a single child would be of no use.
        let fewest = T::KEYLESS + 1;
        let middle = self.sums.partition_point(|sum| *sum < half).min(end - fewest).max(start + fewest);
        let fits = |middle: &usize| self.of(*middle..end) <= capacity;
        (middle..greedy).find(fits).unwrap_or(greedy)
    }
}

/// How much of a page is taken while items come one by one.
#[derive(Debug, Default)]
pub(super) struct Room {
    keyed: usize,
    bytes: usize,
}

impl Room {
    /// The bytes of the page with one more item. `first` is the first key of the page; none if this is it.
    pub(super) fn with(&self, first: Option<Key<'_>>, key: Key<'_>, bytes_beside_key: usize) -> usize {
        let shared = first.map_or(0, |first| first.common(key));
        self.bytes + bytes_beside_key + key.len() - shared * self.keyed
    }

    pub(super) fn add(&mut self, key: Key<'_>, bytes_beside_key: usize) {
        self.keyed += 1;
        self.bytes += bytes_beside_key + key.len();
    }

    /// Adds the item that has no key there.
    pub(super) fn add_keyless(&mut self, bytes_beside_key: usize) {
        self.bytes += bytes_beside_key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Sized<const KEYLESS: usize>(String, usize);

    impl<const KEYLESS: usize> Item for Sized<KEYLESS> {
        const KEYLESS: usize = KEYLESS;

        fn key(&self) -> Key<'_> {
            self.0.as_bytes().into()
        }

        fn bytes_beside_key(&self) -> usize {
            self.1
        }
    }

    fn packed(sizes: &[usize]) -> Vec<usize> {
        let items: Vec<Sized<0>> = sizes.iter().map(|size| Sized(String::new(), *size)).collect();
        pack(4096, items).iter().map(|group| size(group)).collect()
    }

    #[test]
    fn the_last_two_groups_are_even_and_all_others_full() {
        assert_eq!(packed(&[]), [] as [usize; 0]);
        assert_eq!(packed(&[100; 40]), [4000]);
        assert_eq!(packed(&[100; 41]), [2100, 2000]);
        assert_eq!(packed(&[1000; 5]), [3000, 2000]);
        assert_eq!(packed(&[100; 121]), [4000, 4000, 2100, 2000]);
    }

    #[test]
    fn a_shared_beginning_counts_once() {
        let item = |number: usize| Sized::<0>(format!("{}{number:04}", "x".repeat(96)), 100);
        let items: Vec<_> = (0..100).map(item).collect();
        let groups = pack(4096, items.clone());
        assert_eq!(groups.concat(), items);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [38, 31, 31]);
        assert_eq!(size(&items[0..2]), 99 + 2 * (1 + 100), "the first two share all but the last byte");
    }

    #[test]
    fn nothing_is_lost_whatever_the_sizes() {
        check_random::<0>();
        check_random::<1>();
    }

    fn check_random<const KEYLESS: usize>() {
        let mut number = 7usize;
        for count in 1..200 {
            let mut items: Vec<Sized<KEYLESS>> = (0..count)
                .map(|_| {
                    number = (number * 75 + 74) % 65537;
                    let key = format!("{}{number}", "y".repeat(number % 3 * 300));
                    Sized(key, 20 + if KEYLESS == 0 { number % 1000 } else { 28 })
                })
                .collect();
            items.sort_by(|a, b| a.0.cmp(&b.0));
            let groups = pack(4096, items.clone());
            assert_eq!(groups.concat(), items);
            assert!(groups.iter().all(|group| size(group) <= capacity(4096)));
            assert!(count == 1 || groups.iter().all(|group| group.len() > KEYLESS));
            let mut room = Room::default();
            let group = groups.last().expect("there are items");
            for (index, item) in group.iter().enumerate() {
                if index < KEYLESS {
                    room.add_keyless(item.bytes_beside_key());
                    continue;
                }
                let first = (index > KEYLESS).then(|| group[KEYLESS].key());
                let with = room.with(first, item.key(), item.bytes_beside_key());
                assert_eq!(with, size(&group[..=index]));
                room.add(item.key(), item.bytes_beside_key());
            }
        }
    }
}
