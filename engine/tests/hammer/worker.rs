//! A thread under the hammer: every operation of the interface, in all orders, and what is known of each result.
//!
//! What is known:
//! - of its own keys, a thread knows exactly what is there, in look-ups and scans;
//! - a counter is never lower than it was seen, and each successful increment adds one;
//! - of what all change, each value goes into the tree once and comes out of it once;
//! - a pillar is there whenever it is looked for;
//! - every value belongs to its key, and is one that is alive.

use std::collections::BTreeMap;

use super::entries::{HammerKey, HammerValue};
use super::stage::{Numbers, Role, SPECIALS, Stage, mix};
use super::watch::{Beat, Step};

/// The director has the first place on the board of `watch`.
pub(crate) const DIRECTOR: usize = 0;

pub(crate) struct Worker<'a, K: HammerKey, V: HammerValue> {
    pub(super) stage: &'a Stage<K, V>,
    me: usize,
    pub(super) beat: Beat,
    pub(super) numbers: Numbers,
    /// The numbers of this thread's keys.
    own: Vec<u64>,
    /// By number, the write whose value is at a key of this thread; 0 for none.
    model: Vec<u64>,
    /// The same of the keys that this thread drew from the tail.
    pub(super) tail: BTreeMap<u64, u64>,
    /// How high counters were seen.
    pub(super) seen: [u64; SPECIALS],
    writes: u64,
    phase: u64,
    pattern: Pattern,
    /// Where the pattern is, as an index into `own`.
    cursor: usize,
    tally: Tally,
}

/// In which order a thread changes its keys.
#[derive(Debug, Clone, Copy)]
enum Pattern {
    Random,
    Ascending,
    Descending,
}

/// A thread brings so many keys of the tail, before some of them go again.
const TAIL_MAX: usize = 100;

/// What a thread leaves behind.
pub(crate) struct Outcome {
    /// By number, the write whose value is at a key of this thread; 0 for none.
    pub(crate) model: Vec<u64>,
    /// The same of the keys that it drew from the tail.
    pub(crate) tail: BTreeMap<u64, u64>,
    pub(crate) tally: Tally,
}

/// What a thread did, as far as the end of a round must agree with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) operations: u64,
    /// Successful ones, by counter.
    pub(crate) increments: [u64; SPECIALS],
    /// By contended key: how often it was there afterwards and not before, less the opposite.
    pub(crate) added: [i64; SPECIALS],
    /// The sum of all writes of values that went into keys that all change, and of those that came out.
    pub(crate) put: u64,
    pub(crate) taken: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.put = self.put.wrapping_add(other.put);
        self.taken = self.taken.wrapping_add(other.taken);
        for special in 0..SPECIALS {
            self.increments[special] += other.increments[special];
            self.added[special] += other.added[special];
        }
    }

    fn went_in(&mut self, write: u64) {
        self.put = self.put.wrapping_add(mix(write));
    }

    fn came_out(&mut self, write: u64) {
        self.taken = self.taken.wrapping_add(mix(write));
    }
}

/// What a value says, if it is one of this key.
pub(crate) fn write_of<V: HammerValue>(number: u64, value: Option<&V>) -> u64 {
    value.map_or(0, |value| {
        assert_eq!(value.key(), number, "a value belongs to the key that it is at");
        value.write()
    })
}

impl<'a, K: HammerKey, V: HammerValue> Worker<'a, K, V> {
    pub(crate) fn new(stage: &'a Stage<K, V>, me: usize, round: u64) -> Worker<'a, K, V> {
        let course = &stage.course;
        let own = (0..course.keys).filter(|number| course.role(*number) == Role::Own(me)).collect();
        Worker {
            stage,
            me,
            beat: Beat::new(DIRECTOR + 1 + me),
            numbers: Numbers::new(course.seed, round << 8 | me as u64),
            own,
            model: vec![0; course.keys as usize],
            tail: BTreeMap::new(),
            seen: [0; SPECIALS],
            // No two writes of a variant have the same number.
            writes: (round << 8 | (me + 1) as u64) << 32,
            phase: u64::MAX,
            pattern: Pattern::Random,
            cursor: 0,
            tally: Tally::default(),
        }
    }

    /// Works until everybody is stopped.
    pub(crate) fn run(mut self) -> Outcome {
        while !self.stage.control.is_stopped() {
            self.step();
        }
        self.tally.operations = self.beat.steps;
        Outcome { model: self.model, tail: self.tail, tally: self.tally }
    }

    pub(super) fn step(&mut self) {
        match self.numbers.below(1000) {
            0..600 => self.change_own(),
            600..620 => self.change_tail(),
            620..680 => self.change_own_in_vain(),
            680..750 => self.read_own(),
            750..760 => self.look_from(),
            760..800 => self.read_any(),
            800..860 => self.increment(),
            860..930 => self.change_contended(),
            930..960 => self.change_pillar(),
            960..994 => self.scan_some(),
            994..998 => self.look_at_ends(),
            _ => self.care(),
        }
    }

    pub(super) fn is_own(&self, number: u64) -> bool {
        self.stage.course.role(number) == Role::Own(self.me)
    }

    /// Whether this thread made a write, in this round.
    pub(super) fn is_own_write(&self, write: u64) -> bool {
        write >> 32 == self.writes >> 32
    }

    /// What is at a key of this thread.
    pub(super) fn known(&self, number: u64) -> u64 {
        self.model[number as usize]
    }

    fn value(&mut self, number: u64) -> (u64, V) {
        self.writes += 1;
        (self.writes, V::new(number, self.writes))
    }

    fn expect(&self, what: &str, number: u64, found: Option<&V>) {
        assert_eq!(
            write_of(number, found),
            self.known(number),
            "thread {}: {what} of key {number} finds the last write of its only writer",
            self.me
        );
    }

    /// Puts or deletes keys as the phase has it, so that the tree grows and shrinks.
    fn change_own(&mut self) {
        let phase = self.stage.control.phase();
        if phase != self.phase {
            self.phase = phase;
            self.pattern =
                [Pattern::Random, Pattern::Ascending, Pattern::Descending][self.numbers.below(3) as usize];
            self.cursor = self.numbers.below(self.own.len() as u64) as usize;
        }
        let puts = if phase.is_multiple_of(2) { 85 } else { 8 };
        if self.numbers.below(100) < puts { self.put_own() } else { self.delete_own() }
    }

    /// A key of this thread by the pattern, if possible one that is or isn't there, as asked for.
    fn pick_own(&mut self, is_there: bool) -> u64 {
        let len = self.own.len();
        let step = match self.pattern {
            Pattern::Random => {
                self.cursor = self.numbers.below(len as u64) as usize;
                1
            }
            Pattern::Ascending => 1,
            Pattern::Descending => len - 1,
        };
        for _ in 0..len.min(64) {
            self.cursor = (self.cursor + step) % len;
            if (self.known(self.own[self.cursor]) != 0) == is_there {
                break;
            }
        }
        self.own[self.cursor]
    }

    fn put_own(&mut self) {
        let is_there = self.numbers.once_in(4);
        let number = self.pick_own(is_there);
        let (key, (write, value)) = (K::of(number), self.value(number));
        let (tree, known) = (&self.stage.tree, self.known(number));
        match self.numbers.below(4) {
            0 if known == 0 => {
                self.beat.at(Step::Insert, number);
                let refused = tree.insert(key, value).err();
                assert!(refused.is_none(), "a key that isn't there can be inserted: {number}");
            }
            1 => {
                let expected = (known != 0).then(|| V::new(number, known));
                self.beat.at(Step::CompareAndInsert, number);
                let refused = tree.compare_and_insert(key, expected.as_ref(), value).err();
                assert!(refused.is_none(), "what is expected at key {number} is there: {refused:?}");
            }
            _ => {
                self.beat.at(Step::Upsert, number);
                let before = tree.upsert(key, value);
                self.expect("upsert", number, before.as_ref());
            }
        }
        self.model[number as usize] = write;
    }

    fn delete_own(&mut self) {
        let number = self.pick_own(true);
        self.beat.at(Step::Delete, number);
        let before = self.stage.tree.delete(&K::of(number));
        self.expect("delete", number, before.as_ref());
        self.model[number as usize] = 0;
    }

    /// Changes that are refused, and must leave all as it is.
    fn change_own_in_vain(&mut self) {
        let is_there = self.numbers.once_in(2);
        let number = self.pick_own(is_there);
        let (key, (write, value)) = (K::of(number), self.value(number));
        let (tree, known) = (&self.stage.tree, self.known(number));
        let expected = match self.numbers.below(3) {
            0 if known == 0 => {
                self.beat.at(Step::Delete, number);
                let before = tree.delete(&key);
                return self.expect("delete", number, before.as_ref());
            }
            0 => {
                self.beat.at(Step::Insert, number);
                let back = tree.insert(key, value).expect_err("a key that is there isn't inserted");
                return assert_eq!(write_of(number, Some(&back)), write, "the value itself comes back");
            }
            1 if known != 0 => None,
            _ => Some(V::new(number, write)),
        };
        self.beat.at(Step::CompareAndInsert, number);
        let present =
            tree.compare_and_insert(key, expected.as_ref(), value).expect_err("the wrong is expected");
        self.expect("compare_and_insert", number, present.as_ref());
    }

    pub(super) fn read_own(&mut self) {
        let index = self.numbers.below(self.own.len() as u64) as usize;
        let number = self.own[index];
        let (key, tree) = (K::of(number), &self.stage.tree);
        self.beat.at(Step::Get, number);
        match self.numbers.below(3) {
            0 => self.expect("get", number, tree.get(&key).as_ref()),
            1 => {
                let write = tree.get_with(&key, |value| write_of(number, Some(value))).unwrap_or(0);
                assert_eq!(write, self.known(number), "get_with of key {number} finds the last write");
            }
            _ => assert_eq!(tree.contains(&key), self.known(number) != 0, "contains of key {number}"),
        }
    }

    fn read_any(&mut self) {
        let number = self.numbers.below(self.stage.course.keys);
        self.beat.at(Step::Get, number);
        let found = self.stage.tree.get(&K::of(number));
        let write = write_of(number, found.as_ref());
        match self.stage.course.role(number) {
            Role::Own(owner) if owner == self.me => self.expect("get", number, found.as_ref()),
            Role::Pillar(_) => assert_ne!(write, 0, "a pillar is always there"),
            Role::Counter(counter) => {
                assert!(write >= self.seen[counter], "a counter never goes back");
                self.seen[counter] = write;
            }
            Role::Own(_) | Role::Contended(_) | Role::Tail => {}
        }
    }

    /// Many keys at once, behind all others but what other threads bring there just now; later they go, one by one.
    fn change_tail(&mut self) {
        let grows = self.stage.control.phase().is_multiple_of(2);
        if grows && self.tail.len() < TAIL_MAX {
            let count = 1 + self.numbers.below(TAIL_MAX as u64);
            let first = self.stage.course.keys + self.stage.control.draw(count);
            let mut entries = Vec::new();
            for number in first..first + count {
                let (write, value) = self.value(number);
                self.tail.insert(number, write);
                entries.push((K::of(number), value));
            }
            if self.numbers.once_in(8) {
                entries.reverse();
            }
            self.beat.at(Step::UpsertAll, first);
            self.stage.tree.upsert_all(entries);
        } else {
            let count = self.numbers.below(TAIL_MAX as u64);
            for _ in 0..count {
                let is_first = self.numbers.once_in(2);
                let entry = if is_first { self.tail.pop_first() } else { self.tail.pop_last() };
                let Some((number, write)) = entry else { return };
                self.beat.at(Step::Delete, number);
                let before = self.stage.tree.delete(&K::of(number));
                assert_eq!(
                    write_of(number, before.as_ref()),
                    write,
                    "what was brought is there until it goes"
                );
            }
        }
    }

    /// The first key from one on.
    fn look_from(&mut self) {
        let course = &self.stage.course;
        let from = self.numbers.below(course.keys);
        self.beat.at(Step::FirstFrom, from);
        let read = |key: &K, value: &V| {
            write_of(key.number(), Some(value));
            key.number()
        };
        let found = self.stage.tree.first_from_with(&K::of(from), read);
        assert!(found.is_none_or(|number| number >= from), "{found:?} is not from {from} on");
        self.expect_gap(from, found.unwrap_or(u64::MAX), &self.seen);
    }

    pub(super) fn increment(&mut self) {
        let (counter, number) =
            self.stage.course.some_special(&mut self.numbers, |role| matches!(role, Role::Counter(_)));
        self.beat.at(Step::Get, number);
        let mut present = self.stage.tree.get(&K::of(number));
        loop {
            let count = write_of(number, present.as_ref());
            assert!(count >= self.seen[counter], "a counter never goes back");
            self.seen[counter] = count;
            let next = V::new(number, count + 1);
            self.beat.at(Step::CompareAndInsert, number);
            match self.stage.tree.compare_and_insert(K::of(number), present.as_ref(), next) {
                Ok(()) => {
                    self.tally.increments[counter] += 1;
                    self.seen[counter] = count + 1;
                    return;
                }
                Err(other) => {
                    assert_ne!(write_of(number, other.as_ref()), count, "only what is unexpected is refused");
                    present = other;
                }
            }
        }
    }

    pub(super) fn change_contended(&mut self) {
        let (contended, number) =
            self.stage.course.some_special(&mut self.numbers, |role| matches!(role, Role::Contended(_)));
        let (key, (write, value), tree) = (K::of(number), self.value(number), &self.stage.tree);
        match self.numbers.below(4) {
            0 => {
                self.beat.at(Step::Insert, number);
                match tree.insert(key, value) {
                    Ok(()) => {
                        self.tally.went_in(write);
                        self.tally.added[contended] += 1;
                    }
                    Err(back) => {
                        assert_eq!(write_of(number, Some(&back)), write, "the value itself comes back");
                    }
                }
            }
            1 => {
                self.beat.at(Step::Upsert, number);
                let before = tree.upsert(key, value);
                self.tally.went_in(write);
                match before {
                    Some(before) => self.tally.came_out(write_of(number, Some(&before))),
                    None => self.tally.added[contended] += 1,
                }
            }
            2 => {
                self.beat.at(Step::Delete, number);
                if let Some(before) = tree.delete(&key) {
                    self.tally.came_out(write_of(number, Some(&before)));
                    self.tally.added[contended] -= 1;
                }
            }
            _ => {
                self.beat.at(Step::Get, number);
                let present = tree.get(&key);
                self.beat.at(Step::CompareAndInsert, number);
                if tree.compare_and_insert(key, present.as_ref(), value).is_ok() {
                    self.tally.went_in(write);
                    match present {
                        Some(before) => self.tally.came_out(write_of(number, Some(&before))),
                        None => self.tally.added[contended] += 1,
                    }
                }
            }
        }
    }

    fn change_pillar(&mut self) {
        let (_, number) =
            self.stage.course.some_special(&mut self.numbers, |role| matches!(role, Role::Pillar(_)));
        let (key, (write, value), tree) = (K::of(number), self.value(number), &self.stage.tree);
        if self.numbers.once_in(2) {
            self.beat.at(Step::Upsert, number);
            let before = tree.upsert(key, value).expect("a pillar is always there");
            self.tally.went_in(write);
            self.tally.came_out(write_of(number, Some(&before)));
        } else {
            self.beat.at(Step::Insert, number);
            let back = tree.insert(key, value).expect_err("a pillar is always there");
            assert_eq!(write_of(number, Some(&back)), write, "the value itself comes back");
        }
    }

    fn look_at_ends(&mut self) {
        let course = &self.stage.course;
        let pillars: Vec<u64> = (0..SPECIALS)
            .map(|special| course.special(special))
            .filter(|number| matches!(course.role(*number), Role::Pillar(_)))
            .collect();
        self.beat.at(Step::FirstAndLast, 0);
        let (first, value) = self.stage.tree.first().expect("pillars are always there");
        write_of(first.number(), Some(&value));
        assert!(Some(&first.number()) <= pillars.first(), "nothing is below the first key");
        let (last, value) = self.stage.tree.last().expect("pillars are always there");
        write_of(last.number(), Some(&value));
        assert!(Some(&last.number()) >= pillars.last(), "nothing is above the last key");
    }

    /// What is for the good of the tree as a whole.
    pub(super) fn care(&mut self) {
        let tree = &self.stage.tree;
        match self.numbers.below(8) {
            0 => {
                self.beat.at(Step::Maintain, 0);
                tree.maintain();
            }
            1 => {
                self.beat.at(Step::Collect, 0);
                tree.collect();
            }
            2 => {
                self.beat.at(Step::Stats, 0);
                assert!(tree.memory_use() > 0, "a tree has a root");
            }
            _ => {
                self.beat.at(Step::Len, 0);
                assert!(!tree.is_empty(), "pillars are always there");
            }
        }
    }
}
