//! A reader sees the same state from its first scan to its last, whatever is committed and checkpointed meanwhile.

use proofmark_model::{Durability, Key, KeyRange, Operation, Value};
use proofmark_properties::strategies::{cases, config, transactions};
use proofmark_sim::disk::SimDisk;
use proofmark_sim::store::{Store, StoreKind, Transaction};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert, prop_assert_eq, proptest};

/// A reader, and what it saw first.
struct Held {
    reader: Box<dyn Transaction>,
    first: Vec<(Key, Value)>,
}

proptest! {
    #![proptest_config(cases("snapshot_immutability", 100))]

    #[test]
    fn snapshots_of_the_engine_never_change(
        transactions in transactions(25),
        checkpoints in vec(any::<bool>(), 25),
        config in config(),
    ) {
        let mut store = StoreKind::Engine.factory().open(SimDisk::default().vfs(), &config).unwrap();
        hold(&mut *store, &transactions, &checkpoints, true)?;
    }

    #[test]
    fn snapshots_of_redb_never_change(
        transactions in transactions(10),
        checkpoints in vec(any::<bool>(), 10),
        config in config(),
    ) {
        let mut store = StoreKind::Redb.factory().open(SimDisk::default().vfs(), &config).unwrap();
        hold(&mut *store, &transactions, &checkpoints, false)?;
    }
}

/// Takes a snapshot after each commit, and looks again at all of them after each commit and checkpoint. A store of which
/// checks are expected has to carry them out beside its readers.
fn hold(
    store: &mut dyn Store,
    transactions: &[Vec<Operation>],
    checkpoints: &[bool],
    expects_checks: bool,
) -> TestCaseResult {
    let mut held: Vec<Held> = Vec::new();
    for (index, operations) in transactions.iter().enumerate() {
        let mut reader = store.begin_read().unwrap();
        let first = everything(&mut *reader);
        held.push(Held { reader, first });
        // Every third reader ends early, so that pages are given back between those that are still read.
        if index % 3 == 2 {
            held.remove(index / 3);
        }
        commit(store, operations);
        if checkpoints[index] {
            store.checkpoint().unwrap();
        }
        for Held { reader, first } in &mut held {
            prop_assert_eq!(&everything(&mut **reader), &*first);
            let mut backwards = reader.scan(&KeyRange::all(), usize::MAX, true).unwrap();
            backwards.reverse();
            prop_assert_eq!(&backwards, &*first);
        }
        let checks_itself = store.verify().unwrap();
        prop_assert!(checks_itself || !expects_checks, "the engine checks itself beside its readers");
    }
    Ok(())
}

fn everything(reader: &mut dyn Transaction) -> Vec<(Key, Value)> {
    reader.scan(&KeyRange::all(), usize::MAX, false).unwrap()
}

fn commit(store: &mut dyn Store, operations: &[Operation]) {
    let mut writer = store.begin_write().unwrap();
    for operation in operations {
        match operation {
            Operation::Put { key, value } => writer.put(key, value).unwrap(),
            Operation::Delete { key } => writer.delete(key).unwrap(),
            _ => {}
        }
    }
    writer.commit(Durability::Sync).unwrap();
}
