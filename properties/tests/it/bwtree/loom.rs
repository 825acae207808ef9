//! Small programs under loom: every schedule with few preemptions, and every value that weak memory lets a load see.
//!
//! Each program is two clients in a tree of a few keys that is about to change its shape. All operations of the two count
//! as concurrent: where memory is weak, one that is over on one thread need not be seen by one that begins on another. What
//! was there before both, and what is there after both, is in order.

use proofmark_engine_loom::{Exploration, explore, subjects, thread};
use proofmark_engine_variants::{PageLimits, Subject};
use proofmark_model::linearizable::Call;

use super::client::{Order, RunAll, leaves_before_and_after, run_and_judge};
use super::setting;
use super::workload::{Step, Workload};

/// How many preemptions an execution has at most.
pub(super) const PREEMPTIONS: usize = 2;

/// A program takes no more executions than this, or it is too large.
const EXECUTIONS_MAX: usize = 200_000;

/// The last client on the main thread, the others on threads of loom's.
const RUN_ALL: RunAll = |mut clients| {
    let last = clients.pop();
    let threads: Vec<_> = clients.into_iter().map(thread::spawn).collect();
    let mut all: Vec<_> = last.map(|client| client()).into_iter().collect();
    all.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    all
};

/// What some clients do at the same time.
pub(super) struct Program {
    pub(super) name: &'static str,
    tree: Start,
    scripts: &'static [&'static [Op]],
}

/// What they find.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Entries of a leaf and of an inner page, and deltas.
    limits: [usize; 3],
    /// Upserted first, and deleted again.
    there: &'static [u64],
    gone: &'static [u64],
}

/// One leaf, which has no room for deltas left.
const FULL_CHAIN: Start = Start { limits: [4, 4, 1], there: &[0, 1], gone: &[] };

/// One leaf with room for another key.
const ROOM: Start = Start { limits: [4, 4, 2], there: &[0], gone: &[] };

/// A root that the next key splits.
const FULL_ROOT: Start = Start { limits: [2, 2, 1], there: &[0, 1, 2], gone: &[] };

/// A last leaf that the next key splits.
const FULL_LEAF: Start = Start { limits: [2, 2, 1], there: &[0, 1, 2, 3, 4], gone: &[] };

/// The same with larger leaves.
const LARGE_LEAF: Start = Start { limits: [4, 4, 1], there: &[0, 1, 2, 3, 4, 5, 6, 7, 8], gone: &[] };

/// Two leaves that belong together.
const SMALL_LEAVES: Start = Start { limits: [4, 4, 1], there: &[0, 1, 2, 3, 4, 5], gone: &[1, 2, 3, 5] };

/// Four leaves of eight, in each of which two keys are left. If each of two neighbours loses one, they are merged.
const FOUR_LEAVES: Start = Start {
    limits: [8, 4, 1],
    there: &[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 31,
    ],
    gone: &[2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 26, 27, 28, 29, 30, 31],
};

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(u64),
    Upsert(u64),
    Delete(u64),
    Get(u64),
    Scan,
    ScanReverse,
    Clear,
    Maintain,
}

use Op::{Clear, Delete, Get, Insert, Maintain, Scan, ScanReverse, Upsert};

/// Every program.
pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "upsert against upsert that consolidates",
        tree: FULL_CHAIN,
        scripts: &[&[Upsert(0)], &[Upsert(1)]],
    },
    Program { name: "get against consolidation", tree: FULL_CHAIN, scripts: &[&[Upsert(0)], &[Get(1)]] },
    Program { name: "insert against insert of one key", tree: ROOM, scripts: &[&[Insert(1)], &[Insert(1)]] },
    Program {
        name: "delete against upsert of one key",
        tree: FULL_CHAIN,
        scripts: &[&[Delete(1)], &[Upsert(1)]],
    },
    Program {
        name: "split of the root against insert",
        tree: FULL_ROOT,
        scripts: &[&[Insert(3)], &[Insert(4)]],
    },
    Program { name: "split of the root against scan", tree: FULL_ROOT, scripts: &[&[Insert(3)], &[Scan]] },
    Program { name: "split against insert", tree: FULL_LEAF, scripts: &[&[Insert(5)], &[Insert(6)]] },
    Program { name: "split against get", tree: FULL_LEAF, scripts: &[&[Insert(5)], &[Get(4)]] },
    Program {
        name: "split against scan backwards",
        tree: FULL_LEAF,
        scripts: &[&[Insert(5)], &[ScanReverse]],
    },
    Program { name: "merge against insert", tree: SMALL_LEAVES, scripts: &[&[Maintain], &[Insert(6)]] },
    Program { name: "merge against get", tree: SMALL_LEAVES, scripts: &[&[Maintain], &[Get(4)]] },
    Program { name: "merge against scan", tree: SMALL_LEAVES, scripts: &[&[Maintain], &[Scan]] },
    Program {
        name: "merge against scan backwards",
        tree: SMALL_LEAVES,
        scripts: &[&[Maintain], &[ScanReverse]],
    },
    Program { name: "merge against delete", tree: SMALL_LEAVES, scripts: &[&[Maintain], &[Delete(4)]] },
    Program {
        name: "merge against merge",
        tree: FOUR_LEAVES,
        scripts: &[&[Delete(0), Delete(8)], &[Delete(16), Delete(24)]],
    },
    Program {
        name: "split against merge of its right half",
        tree: LARGE_LEAF,
        scripts: &[&[Insert(9)], &[Delete(5), Delete(6), Delete(7), Maintain]],
    },
    Program {
        name: "page id used again against get",
        tree: SMALL_LEAVES,
        scripts: &[&[Maintain, Insert(1), Insert(2), Insert(3), Insert(5)], &[Get(4)]],
    },
    Program { name: "clear against upsert", tree: FULL_CHAIN, scripts: &[&[Clear], &[Upsert(0)]] },
];

impl Program {
    fn workload(&self) -> Workload {
        let Start { limits: [leaf, inner, deltas], there, gone } = self.tree;
        let mut value = 100;
        let mut fresh = || {
            value += 1;
            value
        };
        let start = there.iter().map(|key| (*key, fresh())).collect();
        let mut script = |ops: &[Op]| ops.iter().map(|op| op.step(fresh())).collect();
        Workload {
            limits: PageLimits { leaf, inner, deltas },
            start,
            gone: gone.to_vec(),
            is_maintained: false,
            scripts: self.scripts.iter().map(|ops| script(ops)).collect(),
        }
    }

    /// Every schedule with so many preemptions.
    pub(super) fn explore(&self, subject: Subject, preemptions: usize, executions_max: usize) -> Exploration {
        let workload = self.workload();
        explore(preemptions, executions_max, move || run_and_judge(subject, &workload, Order::None, RUN_ALL))
    }
}

impl Op {
    fn step(self, value: u64) -> Step {
        use std::ops::Bound::Unbounded;
        Step::Ask(match self {
            Insert(key) => Call::Insert(key, value),
            Upsert(key) => Call::Upsert(key, value),
            Delete(key) => Call::Delete(key),
            Get(key) => Call::Get(key),
            Scan => Call::Scan(Unbounded, Unbounded),
            ScanReverse => Call::ScanReverse(Unbounded, Unbounded),
            Clear => Call::Clear,
            Maintain => return Step::Maintain,
        })
    }
}

#[test]
fn every_program() {
    let preemptions = setting("PROOFMARK_PREEMPTIONS", PREEMPTIONS);
    for program in PROGRAMS {
        let explored = program.explore(subjects::TRACKED, preemptions, EXECUTIONS_MAX);
        println!("{}: {} executions", program.name, explored.executions);
        assert_eq!(explored.failure, None, "{}", program.name);
        assert!(explored.is_complete, "{} has more than {EXECUTIONS_MAX} executions", program.name);
    }
}

/// A program that is called a split or a merge is one, whatever the scheduler does.
#[test]
fn programs_are_what_they_are_called() {
    for program in PROGRAMS {
        let (before, after) = leaves_before_and_after(&program.workload());
        println!("{}: {before} leaves, then {after}", program.name);
        let is_right = match program.name.split(' ').next() {
            Some("split") => after > before || program.name.contains("against merge"),
            Some("merge") => after < before,
            _ => true,
        };
        assert!(is_right, "{} leaves {before} leaves as {after}", program.name);
    }
}
