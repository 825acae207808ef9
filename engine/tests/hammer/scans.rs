//! Scans while everybody changes the tree: in order, within bounds, no key twice, and none missed that is there all the time.

use std::ops::Bound;

use super::entries::{HammerKey, HammerValue};
use super::stage::{Role, SPECIALS};
use super::watch::Step;
use super::worker::{Worker, write_of};

impl<K: HammerKey, V: HammerValue> Worker<'_, K, V> {
    /// A scan between two bounds, most often a short one.
    pub(super) fn scan_some(&mut self) {
        let keys = self.stage.course.keys;
        let most = match self.numbers.below(200) {
            0 => u64::MAX,
            1..20 => 500,
            _ => 20,
        };
        let one = self.numbers.below(keys);
        let other = if self.numbers.once_in(4) { self.numbers.below(keys) } else { (one + 40).min(keys) };
        // Once in a while the wrong way round.
        let (low, high) = if self.numbers.once_in(50) {
            (one.max(other), one.min(other))
        } else {
            (one.min(other), one.max(other))
        };
        let (low, high) = (self.bound(low), self.bound(high));
        if self.numbers.once_in(2) {
            self.scan(low, high, most);
        } else {
            self.scan_descending(low, high, most);
        }
    }

    fn bound(&mut self, number: u64) -> Bound<u64> {
        match self.numbers.below(8) {
            0 => Bound::Unbounded,
            1..4 => Bound::Excluded(number),
            _ => Bound::Included(number),
        }
    }

    fn scan(&mut self, low: Bound<u64>, high: Bound<u64>, most: u64) {
        let (low_key, high_key) = (low.map(K::of), high.map(K::of));
        let (start, end) = self.interval(low, high);
        let seen = self.seen;
        let mut next = start;
        let mut entries = 0;
        self.beat.at(Step::Scan, start);
        let tree = &self.stage.tree;
        let range = match high {
            Bound::Unbounded => tree.range_from(low_key.as_ref()),
            _ => tree.range(low_key.as_ref(), high_key.as_ref()),
        };
        for (key, value) in range {
            let number = key.number();
            assert!((next..end).contains(&number), "a scan from {next} to {end} shows key {number}");
            self.expect_gap(next, number, &seen);
            self.expect_entry(number, &value, &seen);
            next = number + 1;
            entries += 1;
            if entries == most {
                return;
            }
            self.disturb(Step::Scan, number);
        }
        self.expect_gap(next, end, &seen);
    }

    fn scan_descending(&mut self, low: Bound<u64>, high: Bound<u64>, most: u64) {
        let (low_key, high_key) = (low.map(K::of), high.map(K::of));
        let (start, end) = self.interval(low, high);
        let seen = self.seen;
        let mut next = end;
        let mut entries = 0;
        self.beat.at(Step::ScanDescending, end);
        let tree = &self.stage.tree;
        let range = match low {
            Bound::Unbounded => tree.range_down_from(high_key.as_ref()),
            _ => tree.range_reverse(high_key.as_ref(), low_key.as_ref()),
        };
        for (key, value) in range {
            let number = key.number();
            assert!((start..next).contains(&number), "a scan from {next} down to {start} shows key {number}");
            self.expect_gap(number + 1, next, &seen);
            self.expect_entry(number, &value, &seen);
            next = number;
            entries += 1;
            if entries == most {
                return;
            }
            self.disturb(Step::ScanDescending, number);
        }
        self.expect_gap(start, next, &seen);
    }

    /// The numbers within bounds: from the first one to before the second one.
    fn interval(&self, low: Bound<u64>, high: Bound<u64>) -> (u64, u64) {
        let start = match low {
            Bound::Unbounded => 0,
            Bound::Included(low) => low,
            Bound::Excluded(low) => low + 1,
        };
        let end = match high {
            Bound::Unbounded => u64::MAX,
            Bound::Included(high) => high + 1,
            Bound::Excluded(high) => high,
        };
        (start, end.max(start))
    }

    /// A look that showed nothing from one number to before another one has missed nothing.
    pub(super) fn expect_gap(&self, start: u64, end: u64, seen: &[u64; SPECIALS]) {
        let keys = self.stage.course.keys;
        (start..end.min(keys)).for_each(|gap| self.expect_absent(gap, seen));
        let missed = self.tail.range(start.max(keys)..end.max(start).max(keys)).next();
        assert_eq!(missed, None, "a scan misses a key of the tail that this thread brought");
    }

    fn expect_absent(&self, number: u64, seen: &[u64; SPECIALS]) {
        let may_be_absent = match self.stage.course.role(number) {
            Role::Own(_) if self.is_own(number) => self.known(number) == 0,
            Role::Pillar(_) => false,
            Role::Counter(counter) => seen[counter] == 0,
            Role::Own(_) | Role::Contended(_) | Role::Tail => true,
        };
        assert!(may_be_absent, "a scan misses key {number}, which is there all the time");
    }

    fn expect_entry(&self, number: u64, value: &V, seen: &[u64; SPECIALS]) {
        let write = write_of(number, Some(value));
        match self.stage.course.role(number) {
            Role::Own(_) if self.is_own(number) => {
                assert_eq!(write, self.known(number), "a scan shows the last write of key {number}");
            }
            Role::Counter(counter) => assert!(write >= seen[counter], "a counter never goes back"),
            Role::Tail if self.is_own_write(write) => {
                assert_eq!(self.tail.get(&number), Some(&write), "a scan shows what is there of the tail");
            }
            Role::Own(_) | Role::Pillar(_) | Role::Contended(_) | Role::Tail => {}
        }
    }

    /// Now and then the thread does something else in the middle of its scan: none of it changes keys of its own.
    fn disturb(&mut self, step: Step, number: u64) {
        if self.numbers.once_in(100) {
            match self.numbers.below(8) {
                0 => self.care(),
                1..3 => self.read_own(),
                3..6 => self.increment(),
                _ => self.change_contended(),
            }
            self.beat.at(step, number);
        }
    }
}
