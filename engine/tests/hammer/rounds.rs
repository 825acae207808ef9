//! A variant: rounds of threads on one tree, and what must be true when they have ended.
//!
//! The threads of a round end with it, so that what they had put off passes to others. Then the tree is compared to what
//! the threads know, emptied, and memory must be as it was before the first round.

use std::ops::Bound;
use std::time::Duration;

use proofmark_engine::bwtree::{BwTree, Limits, Stats};

use super::allocator;
use super::deadline::Deadline;
use super::entries::{HammerKey, HammerValue};
use super::stage::{Control, Course, Role, SPECIALS, Stage, StopOnPanic, mix};
use super::watch::{Beat, Step};
use super::worker::{DIRECTOR, Outcome, Tally, Worker, write_of};

/// What a variant did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) rounds: u64,
    pub(crate) operations: u64,
    pub(crate) clears: u64,
    pub(crate) survey: Survey,
}

/// What was seen of the structure: a lower bound of what happened, as most happens between two looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survey {
    pub(crate) levels_min: usize,
    pub(crate) levels_max: usize,
    pub(crate) pages_max: usize,
    /// By how many pages the tree grew, over all looks, and shrank.
    pub(crate) pages_more: usize,
    pub(crate) pages_less: usize,
    pages: usize,
}

impl Survey {
    pub(crate) fn look(&mut self, stats: &Stats) {
        let pages = stats.leaves + stats.inner_pages;
        self.pages_more += pages.saturating_sub(self.pages);
        self.pages_less += self.pages.saturating_sub(pages);
        self.pages = pages;
        self.pages_max = self.pages_max.max(pages);
        self.levels_max = self.levels_max.max(stats.levels);
        self.levels_min = if self.levels_min == 0 { stats.levels } else { self.levels_min.min(stats.levels) };
    }
}

/// How often the director looks.
pub(crate) const LOOK: Duration = Duration::from_millis(1);

/// A phase that doesn't come to its end is cut short after so many looks.
const LOOKS_TO_PHASE: u32 = 100;

/// What a collector keeps going round for its own use, at most: the node of a bag of deferred functions is itself freed by
/// one. It ends with the collector.
const CIRCULATING_BYTES: usize = 24 << 10;

/// Hammers a tree of these keys and values for a time.
pub(crate) fn hammer<K: HammerKey, V: HammerValue>(course: Course, deadline: &Deadline) -> Report {
    // What a thread keeps from its first tree is there before anything is measured.
    assert!(BwTree::<K, V>::new().is_empty(), "a new tree");
    let before = allocator::live_bytes();
    let mut beat = Beat::new(DIRECTOR);
    let mut stage: Stage<K, V> =
        Stage { course, tree: BwTree::with_limits(course.limits), control: Control::default() };
    let mut memory = Memory::of(&stage.tree);
    let mut report = Report::default();
    loop {
        let is_last = hammer_once(&stage, deadline, &mut beat, &mut report);
        if is_last {
            break;
        }
        empty(&mut stage, report.rounds, &mut beat);
        memory.check::<K, V>(&stage.tree);
    }
    check_ids(&stage.tree, course.limits, &mut beat);
    memory.check(&stage.tree);
    // The last contents go with the tree.
    stage.tree.upsert_all((0..course.keys).map(|number| (K::of(number), V::new(number, 1))).collect());
    beat.at(Step::Drop, 0);
    drop(stage);
    assert_eq!(V::live(), 0, "a tree that is dropped drops its values");
    assert_eq!(allocator::live_bytes(), before, "a tree that is dropped leaves no byte behind");
    report
}

/// One round. Returns whether time is up.
fn hammer_once<K: HammerKey, V: HammerValue>(
    stage: &Stage<K, V>,
    deadline: &Deadline,
    beat: &mut Beat,
    report: &mut Report,
) -> bool {
    let round = report.rounds;
    let mut total = Tally::default();
    for special in 0..SPECIALS {
        let number = stage.course.special(special);
        if let Role::Pillar(_) = stage.course.role(number) {
            beat.at(Step::Insert, number);
            assert!(
                stage.tree.insert(K::of(number), V::new(number, u64::MAX - number)).is_ok(),
                "an empty tree"
            );
            total.put = total.put.wrapping_add(mix(u64::MAX - number));
        }
    }
    stage.control.start();
    let round_ends = deadline.part();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let _stop = StopOnPanic(&stage.control);
        let threads: Vec<_> = (0..stage.course.threads)
            .map(|me| {
                scope.spawn(move || {
                    let _stop = StopOnPanic(&stage.control);
                    Worker::new(stage, me, round).run()
                })
            })
            .collect();
        direct(stage, &round_ends, beat, &mut report.survey);
        stage.control.stop();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    outcomes.iter().for_each(|outcome| total.add(&outcome.tally));
    report.rounds += 1;
    report.operations += total.operations;
    check_contents(stage, &outcomes, &total, beat);
    deadline.is_over()
}

/// Has the tree grow and shrink until the time has come, and looks at it meanwhile.
fn direct<K: HammerKey, V: HammerValue>(
    stage: &Stage<K, V>,
    round_ends: &Deadline,
    beat: &mut Beat,
    survey: &mut Survey,
) {
    let (most, few) = (stage.course.keys * 9 / 10, SPECIALS as u64 + stage.course.keys / 200);
    let mut looks = 0;
    while !round_ends.is_over() && !stage.control.is_stopped() {
        std::thread::park_timeout(LOOK);
        beat.at(Step::Stats, 0);
        survey.look(&stage.tree.stats());
        beat.at(Step::Len, 0);
        let len = stage.tree.len() as u64;
        looks += 1;
        let grows = stage.control.phase().is_multiple_of(2);
        if looks > LOOKS_TO_PHASE || if grows { len >= most } else { len <= few } {
            stage.control.next_phase();
            looks = 0;
        }
    }
}

/// The tree holds what the threads know, and says so in every way.
fn check_contents<K: HammerKey, V: HammerValue>(
    stage: &Stage<K, V>,
    outcomes: &[Outcome],
    total: &Tally,
    beat: &mut Beat,
) {
    let found = contents(&stage.tree, beat);
    let mut writes = vec![0; stage.course.keys as usize];
    let (keys, tail) = found.split_at(found.partition_point(|entry| entry.0 < stage.course.keys));
    for (number, write) in keys {
        writes[*number as usize] = *write;
    }
    let mut tails: Vec<(u64, u64)> = outcomes.iter().flat_map(|outcome| outcome.tail.clone()).collect();
    tails.sort_unstable();
    assert_eq!(tail, tails, "the tail is what threads have brought");
    let mut taken = total.taken;
    for (number, &write) in (0_u64..).zip(&writes) {
        beat.at(Step::Get, number);
        let read = stage.tree.get(&K::of(number));
        assert_eq!(write_of(number, read.as_ref()), write, "a look-up of key {number} and a scan agree");
        match stage.course.role(number) {
            Role::Own(owner) => {
                assert_eq!(
                    write, outcomes[owner].model[number as usize],
                    "key {number} has its only writer's last write"
                );
            }
            Role::Counter(counter) => {
                assert_eq!(write, total.increments[counter], "no increment of counter {number} is lost");
            }
            Role::Pillar(_) => assert_ne!(write, 0, "a pillar is always there"),
            Role::Contended(contended) => {
                let is_there = i64::from(write != 0);
                assert_eq!(
                    is_there, total.added[contended],
                    "key {number} was added as often as it went, and is there"
                );
            }
            Role::Tail => unreachable!("the tail lies behind"),
        }
        if let Role::Pillar(_) | Role::Contended(_) = stage.course.role(number)
            && write != 0
        {
            taken = taken.wrapping_add(mix(write));
        }
    }
    assert_eq!(taken, total.put, "every value came out once, or is still there");
    check_values::<K, V>(&stage.tree, found.len(), beat);
}

/// All entries, by number and write. Both directions and all counts agree.
pub(crate) fn contents<K: HammerKey, V: HammerValue>(
    tree: &BwTree<K, V>,
    beat: &mut Beat,
) -> Vec<(u64, u64)> {
    let entry = |(key, value): (K, V)| (key.number(), write_of(key.number(), Some(&value)));
    beat.at(Step::Scan, 0);
    let found: Vec<_> = tree.range::<K>(Bound::Unbounded, Bound::Unbounded).map(entry).collect();
    beat.at(Step::ScanDescending, 0);
    let mut descending: Vec<_> =
        tree.range_reverse::<K>(Bound::Unbounded, Bound::Unbounded).map(entry).collect();
    descending.reverse();
    assert_eq!(found, descending, "both directions show the same");
    assert!(found.is_sorted_by(|one, next| one.0 < next.0), "keys are in order, each once");
    assert_eq!(tree.len(), found.len(), "len is exact");
    assert_eq!(tree.stats().keys, found.len(), "pages hold what scans show");
    assert_eq!(tree.first().map(entry), found.first().copied());
    assert_eq!(tree.last().map(entry), found.last().copied());
    found
}

/// Nobody uses the tree: when what was superseded is cleared away, there are as many values as keys.
pub(crate) fn check_values<K: HammerKey, V: HammerValue>(tree: &BwTree<K, V>, keys: usize, beat: &mut Beat) {
    beat.at(Step::Maintain, 0);
    tree.maintain();
    beat.at(Step::Collect, 0);
    tree.collect();
    assert!(V::live() == 0 || V::live() == keys as i64, "{} values in memory, of {keys} keys", V::live());
    beat.at(Step::Stats, 0);
    let stats = tree.stats();
    assert_eq!(stats.keys, keys, "maintenance changes no key: {stats:?}");
    assert_eq!(tree.len(), keys, "maintenance changes no key: {stats:?}");
}

/// Empties the tree, by one way or another.
fn empty<K: HammerKey, V: HammerValue>(stage: &mut Stage<K, V>, round: u64, beat: &mut Beat) {
    let tree = &stage.tree;
    match round % 4 {
        1 => {
            beat.at(Step::Clear, 0);
            tree.clear();
        }
        0 => {
            beat.at(Step::Drop, 0);
            stage.tree = tree.successor();
        }
        way => {
            let mut found = contents(tree, beat);
            if way == 2 {
                found.reverse();
            }
            for (number, write) in found {
                beat.at(Step::Delete, number);
                assert_eq!(
                    write_of(number, tree.delete(&K::of(number)).as_ref()),
                    write,
                    "nobody else is here"
                );
            }
            beat.at(Step::Maintain, 0);
            tree.maintain();
        }
    }
    let tree = &stage.tree;
    let stats = tree.stats();
    assert_eq!((stats.levels, stats.leaves, stats.inner_pages, stats.keys, stats.deltas), (1, 1, 0, 0, 0));
    assert!(tree.is_empty() && tree.first().is_none() && tree.last().is_none(), "an empty tree");
}

/// What a tree costs beside its pages and its mapping table.
pub(crate) struct Memory {
    beside: usize,
}

impl Memory {
    /// Of an empty tree, by the only thread that uses it.
    pub(crate) fn of<K: HammerKey, V: HammerValue>(tree: &BwTree<K, V>) -> Memory {
        tree.collect();
        Memory { beside: allocator::live_bytes() - tree.memory_use() }
    }

    /// The tree is empty again, and so is memory.
    pub(crate) fn check<K: HammerKey, V: HammerValue>(&mut self, tree: &BwTree<K, V>) {
        tree.collect();
        assert_eq!(V::live(), 0, "an empty tree has no values");
        let beside = allocator::live_bytes() - tree.memory_use();
        assert!(
            beside <= self.beside + CIRCULATING_BYTES,
            "an empty tree needs as much memory as a new one: {beside} and {} bytes beside its pages",
            self.beside
        );
    }
}

/// Empties the tree, and fills it with as many pages as its mapping table has room for. If the table had to grow for that,
/// page ids were lost. The only argument besides the tree is what a new one is made with.
pub(crate) fn check_ids<K: HammerKey, V: HammerValue>(tree: &BwTree<K, V>, limits: Limits, beat: &mut Beat) {
    let root_bytes =
        BwTree::<K, V>::with_limits(limits).memory_use() - (size_of::<usize>() << limits.table_bits);
    let mut count_ids = || {
        beat.at(Step::Clear, 0);
        tree.clear();
        tree.collect();
        (tree.memory_use() - root_bytes) / size_of::<usize>()
    };
    let ids = count_ids();
    let mut next = 0;
    loop {
        let stats = tree.stats();
        // A batch of entries comes with fewer pages, above the leaves too, if no page is split for it that was full.
        let left = ids.saturating_sub(stats.leaves + stats.inner_pages + IDS_SPARE);
        if left == 0 {
            break;
        }
        let batch = next..next + left.div_ceil(4) as u64;
        next = batch.end;
        tree.upsert_all(batch.map(|number| (K::of(number), V::new(number, 1))).collect());
    }
    assert_eq!(count_ids(), ids, "ids of pages that are gone are used again");
}

/// So many ids are left when a table counts as full.
const IDS_SPARE: usize = 16;
