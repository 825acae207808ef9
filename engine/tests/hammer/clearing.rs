//! The variant in which the tree is cleared while everybody changes it.
//!
//! One thread clears, and counts how often it began to, and how often it was done. Each key has one writer. That one
//! can tell from the counts, read around its operations, whether a clearing must lie between a write and a later look, may
//! lie there, or can't: so it knows that its write must be gone, may be, or must be there.

use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_engine::bwtree::BwTree;

use super::allocator;
use super::deadline::Deadline;
use super::entries::{HammerKey, HammerValue};
use super::rounds::{LOOK, Memory, Report, check_ids, check_values, contents};
use super::stage::{Control, Course, Numbers, Ownership, Role, Stage, StopOnPanic};
use super::watch::{Beat, Step};
use super::worker::{DIRECTOR, write_of};

/// How often the tree was cleared.
#[derive(Default)]
struct Clears {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Clears {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}

/// What a key's only writer knows of it.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The last write; 0 if the key was deleted, or was seen to be gone.
    write: u64,
    /// Clearings that were done before the write began.
    done_before: u64,
    /// Clearings that had begun when the write had returned.
    begun_after: u64,
}

impl Known {
    /// Whether `found` can be there, in a look that began when so many clearings were done, and ended when so many had
    /// begun.
    fn allows(&self, found: u64, done: u64, begun: u64) -> bool {
        let must_be_there = begun == self.done_before;
        let must_be_gone = done > self.begun_after;
        if found == 0 { self.write == 0 || !must_be_there } else { found == self.write && !must_be_gone }
    }
}

/// Hammers and clears a tree for a time.
pub(crate) fn hammer<K: HammerKey, V: HammerValue>(course: Course, deadline: &Deadline) -> Report {
    // What a thread keeps from its first tree is there before anything is measured.
    assert!(BwTree::<K, V>::new().is_empty(), "a new tree");
    let before = allocator::live_bytes();
    let mut beat = Beat::new(DIRECTOR);
    let stage: Stage<K, V> =
        Stage { course, tree: BwTree::with_limits(course.limits), control: Control::default() };
    let mut memory = Memory::of(&stage.tree);
    let mut report = Report::default();
    while !deadline.is_over() {
        hammer_once(&stage, &deadline.part(), &mut beat, &mut report);
        beat.at(Step::Clear, 0);
        stage.tree.clear();
        memory.check::<K, V>(&stage.tree);
    }
    check_ids(&stage.tree, course.limits, &mut beat);
    memory.check(&stage.tree);
    beat.at(Step::Drop, 0);
    drop(stage);
    assert_eq!(V::live(), 0, "a tree that is dropped drops its values");
    assert_eq!(allocator::live_bytes(), before, "a tree that is dropped leaves no byte behind");
    report
}

fn hammer_once<K: HammerKey, V: HammerValue>(
    stage: &Stage<K, V>,
    round_ends: &Deadline,
    beat: &mut Beat,
    report: &mut Report,
) {
    let clears = Clears::default();
    let clears = &clears;
    let round = report.rounds;
    stage.control.start();
    let models: Vec<Vec<Known>> = std::thread::scope(|scope| {
        let _stop = StopOnPanic(&stage.control);
        let threads: Vec<_> = (0..stage.course.threads)
            .map(|me| {
                scope.spawn(move || {
                    let _stop = StopOnPanic(&stage.control);
                    Writer::new(stage, clears, me, round).run()
                })
            })
            .collect();
        let mut numbers = Numbers::new(stage.course.seed, round << 8 | 0xff);
        while !round_ends.is_over() && !stage.control.is_stopped() {
            // Sometimes one clearing follows another at once.
            if numbers.below(8) > 0 {
                std::thread::park_timeout(LOOK * numbers.below(6) as u32);
            }
            beat.at(Step::Stats, 0);
            report.survey.look(&stage.tree.stats());
            clears.begun.fetch_add(1, Ordering::SeqCst);
            beat.at(Step::Clear, 0);
            stage.tree.clear();
            clears.done.fetch_add(1, Ordering::SeqCst);
        }
        // What is left after the last clearing is for the check.
        std::thread::park_timeout(LOOK * 4);
        stage.control.stop();
        let join = |thread: std::thread::ScopedJoinHandle<'_, (Vec<Known>, u64)>| {
            let (model, steps) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            report.operations += steps;
            model
        };
        threads.into_iter().map(join).collect()
    });
    report.rounds += 1;
    report.clears += clears.done();
    let found = contents(&stage.tree, beat);
    let mut left = found.iter().copied().peekable();
    for number in 0..stage.course.keys {
        let write = left.next_if(|(other, _)| *other == number).map_or(0, |(_, write)| write);
        if let Role::Own(owner) = stage.course.role(number) {
            let known = models[owner][number as usize];
            assert!(
                known.allows(write, clears.done(), clears.begun()),
                "key {number} is at {write}: {known:?}"
            );
        }
    }
    check_values::<K, V>(&stage.tree, found.len(), beat);
}

/// A thread that knows of clearings.
struct Writer<'a, K: HammerKey, V: HammerValue> {
    stage: &'a Stage<K, V>,
    clears: &'a Clears,
    me: usize,
    beat: Beat,
    numbers: Numbers,
    known: Vec<Known>,
    writes: u64,
}

impl<'a, K: HammerKey, V: HammerValue> Writer<'a, K, V> {
    fn new(stage: &'a Stage<K, V>, clears: &'a Clears, me: usize, round: u64) -> Self {
        assert_eq!(
            stage.course.ownership,
            Ownership::Interleaved,
            "own keys are told by their remainder here"
        );
        Writer {
            stage,
            clears,
            me,
            beat: Beat::new(DIRECTOR + 1 + me),
            numbers: Numbers::new(stage.course.seed, round << 8 | me as u64),
            known: vec![Known::default(); stage.course.keys as usize],
            writes: (round << 8 | (me + 1) as u64) << 32,
        }
    }

    fn run(mut self) -> (Vec<Known>, u64) {
        while !self.stage.control.is_stopped() {
            match self.numbers.below(100) {
                0..60 => self.change(),
                60..80 => self.read(),
                80..98 => self.scan(),
                _ => self.care(),
            }
        }
        (self.known, self.beat.steps)
    }

    fn some_own(&mut self) -> u64 {
        loop {
            let some = self.numbers.below(self.stage.course.keys);
            let number = some - some % self.stage.course.threads as u64 + self.me as u64;
            if number < self.stage.course.keys && self.stage.course.role(number) == Role::Own(self.me) {
                return number;
            }
        }
    }

    /// Takes in what was found at a key, in a look that began when so many clearings were done.
    fn learn(&mut self, number: u64, found: u64, done: u64) {
        let begun = self.clears.begun();
        let known = &mut self.known[number as usize];
        assert!(
            known.allows(found, done, begun),
            "thread {}: key {number} is at {found} between clearings {done} and {begun}: {known:?}",
            self.me
        );
        if found == 0 {
            *known = Known::default();
        }
    }

    fn change(&mut self) {
        let number = self.some_own();
        self.writes += 1;
        let (key, write) = (K::of(number), self.writes);
        let value = V::new(number, write);
        let (tree, done) = (&self.stage.tree, self.clears.done());
        let mut is_written = true;
        let before = match self.numbers.below(6) {
            0 => {
                self.beat.at(Step::Delete, number);
                is_written = false;
                write_of(number, tree.delete(&key).as_ref())
            }
            1 => {
                self.beat.at(Step::Insert, number);
                match tree.insert(key, value) {
                    Ok(()) => 0,
                    Err(back) => {
                        assert_eq!(write_of(number, Some(&back)), write, "the value itself comes back");
                        return;
                    }
                }
            }
            2 => {
                let expected = self.known[number as usize].write;
                let present = (expected != 0).then(|| V::new(number, expected));
                self.beat.at(Step::CompareAndInsert, number);
                match tree.compare_and_insert(key, present.as_ref(), value) {
                    Ok(()) => expected,
                    Err(other) => {
                        let found = write_of(number, other.as_ref());
                        assert_ne!(found, expected, "only what is unexpected is refused");
                        return self.learn(number, found, done);
                    }
                }
            }
            _ => {
                self.beat.at(Step::Upsert, number);
                write_of(number, tree.upsert(key, value).as_ref())
            }
        };
        self.learn(number, before, done);
        self.known[number as usize] = if is_written {
            Known { write, done_before: done, begun_after: self.clears.begun() }
        } else {
            Known::default()
        };
    }

    fn read(&mut self) {
        let number = self.some_own();
        let done = self.clears.done();
        self.beat.at(Step::Get, number);
        let found = write_of(number, self.stage.tree.get(&K::of(number)).as_ref());
        self.learn(number, found, done);
    }

    /// Keys in order and within bounds; values of this thread's keys that were its last ones.
    fn scan(&mut self) {
        let low = self.numbers.below(self.stage.course.keys);
        let high = low + self.numbers.below(400);
        let (low_key, high_key) = (K::of(low), K::of(high));
        let done = self.clears.done();
        let mut rest = self.numbers.below(300);
        let check = |(key, value): (K, V)| {
            if rest == 0 {
                // Here the tree can be cleared more than once.
                std::thread::yield_now();
            }
            rest = rest.wrapping_sub(1);
            let number = key.number();
            let write = write_of(number, Some(&value));
            if self.stage.course.role(number) == Role::Own(self.me) {
                let known = self.known[number as usize];
                assert!(
                    known.allows(write, done, self.clears.begun()),
                    "key {number} shows {write}: {known:?}"
                );
            }
            number
        };
        let tree = &self.stage.tree;
        let numbers: Vec<u64> = if self.numbers.once_in(2) {
            self.beat.at(Step::Scan, low);
            tree.range(std::ops::Bound::Included(&low_key), std::ops::Bound::Excluded(&high_key))
                .map(check)
                .collect()
        } else {
            self.beat.at(Step::ScanDescending, high);
            let range =
                tree.range_reverse(std::ops::Bound::Excluded(&high_key), std::ops::Bound::Included(&low_key));
            let mut numbers: Vec<u64> = range.map(check).collect();
            numbers.reverse();
            numbers
        };
        assert!(numbers.is_sorted_by(|one, next| one < next), "keys are in order, each once");
        assert!(numbers.iter().all(|number| (low..high).contains(number)), "keys lie within the bounds");
    }

    fn care(&mut self) {
        let tree = &self.stage.tree;
        match self.numbers.below(4) {
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
                assert!(tree.len() as u64 <= self.stage.course.keys, "there are no other keys");
            }
        }
    }
}
