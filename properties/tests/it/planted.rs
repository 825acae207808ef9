//! Every planted fault is found, by the checkers that are there for it, within a few seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proofmark_model::{Checker, FaultClass, Violation};
use proofmark_properties::planted::{Examination, FAULTS, Fault, honest, honest_peer};
use proofmark_sim::store::{Engine, StoreFactory};

use crate::pages::{BLESS, compare};

/// Within how many seeds a fault has to be found.
const SEEDS_MAX: u64 = 200;
const TABLE: &str = "properties/PLANTED.md";

#[test]
fn every_planted_fault_is_caught() {
    let mut rows = String::new();
    let mut catches: BTreeMap<Checker, Vec<&str>> = BTreeMap::new();
    for fault in FAULTS {
        let (seeds, violation) = find(fault);
        assert!(
            fault.caught_by.contains(&violation.checker),
            "{} was caught by another checker than meant: {violation}",
            fault.name
        );
        assert!(
            !["not-comparable", "malformed-history"].contains(&violation.kind),
            "{} confuses the testbed instead of failing it: {violation}",
            fault.name
        );
        catches.entry(violation.checker).or_default().push(fault.name);
        let Fault { name, what, .. } = fault;
        writeln!(rows, "| {name} | {what} | {} | {} | {seeds} |", violation.checker, violation.kind).unwrap();
    }
    for checker in Checker::ALL {
        let promises = Engine.promises();
        let has_something_to_judge = match checker {
            // The timeline judges no store: what it finds is a defect of the recorder.
            Checker::Timeline => false,
            Checker::CommitStream => promises.commit_stream,
            Checker::Backup => promises.backups,
            // Only threads can wait for one another.
            Checker::Liveness => false,
            _ => true,
        };
        if has_something_to_judge {
            let count = catches.get(&checker).map_or(0, Vec::len);
            assert!(count >= 2, "{checker} catches {count} faults, which proves little");
        }
    }
    compare(TABLE, "planted", &table(&rows), str::to_owned);
}

/// Without its bug, the wrapper that every buggy store is made of passes, and so does the engine itself.
#[test]
fn without_a_fault_the_same_seeds_pass() {
    for seed in 0..SEEDS_MAX {
        for examination in [Examination::Run, Examination::Orders, Examination::Batchings] {
            let stores: [&dyn StoreFactory; 3] = [&Engine, &honest(), &honest_peer()];
            for store in stores {
                let verdict = examination.examine(store, seed, None);
                assert_eq!(verdict, Ok(()), "{examination:?} of {}, seed {seed}", store.name());
            }
        }
    }
}

/// Each class of faults has a bug that only they bring to light: without it the store passes every seed that the bug took.
#[test]
fn without_a_bug_the_same_faults_pass() {
    let mut classes = BTreeSet::new();
    for fault in FAULTS {
        let Examination::Faults(kind) = fault.examination else { continue };
        classes.insert(kind.class());
        let (seeds, _) = find(fault);
        for seed in 0..seeds {
            let verdict = fault.examination.examine(&honest(), seed, None);
            assert_eq!(verdict, Ok(()), "{kind}, seed {seed}");
        }
    }
    assert_eq!(classes, FaultClass::ALL.into());
}

/// How many seeds it takes to find a fault, and what is found.
fn find(fault: &Fault) -> (u64, Violation) {
    for seed in 0..SEEDS_MAX {
        if let Err(violation) = fault.examine(seed) {
            return (seed + 1, violation);
        }
    }
    panic!("{} is not caught within {SEEDS_MAX} seeds", fault.name);
}

fn table(rows: &str) -> String {
    format!(
        "# Planted faults\n\n\
         A checker that cannot fail is no checker. Each row is a bug that is planted on purpose, in a wrapper around the \
         engine\nor in the disk, the checker that was the first to report it, and how many seeds it took, counted from \
         seed 0.\n\n\
         This file is written by the suite that measures it: `{BLESS}=1 cargo test -p proofmark-properties planted`.\n\n\
         | fault | what it does | caught by | as | seeds |\n|---|---|---|---|---|\n{rows}"
    )
}
