//! A read as of any commit that is retained equals the model at that commit, before and after a checkpoint, and after a
//! reopening; and a checkpoint retains what the configuration says.

use proofmark_model::{Durability, KeyRange, Mutation, Mvcc, Operation, TxnId};
use proofmark_properties::strategies::{cases, config, transactions};
use proofmark_sim::disk::SimDisk;
use proofmark_sim::plan::Config;
use proofmark_sim::store::{Store, StoreError, StoreKind};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert, prop_assert_eq, proptest};

proptest! {
    #![proptest_config(cases("time_travel", 150))]

    #[test]
    fn every_retained_commit_can_be_read(
        transactions in transactions(30),
        checkpoints in vec(any::<bool>(), 30),
        config in config(),
    ) {
        let disk = SimDisk::default();
        let open = || StoreKind::Engine.factory().open(disk.vfs(), &config).unwrap();
        let mut store = open();
        let mut model = Mvcc::new();
        for (operations, checkpoint) in transactions.iter().zip(&checkpoints) {
            commit(&mut *store, &mut model, operations)?;
            if *checkpoint {
                store.checkpoint().unwrap();
            }
        }
        compare(&mut *store, &model)?;
        store.checkpoint().unwrap();
        check_retention(&*store, &config)?;
        compare(&mut *store, &model)?;
        store.close().unwrap();
        let mut reopened = open();
        check_retention(&*reopened, &config)?;
        compare(&mut *reopened, &model)?;
    }
}

fn commit(store: &mut dyn Store, model: &mut Mvcc, operations: &[Operation]) -> TestCaseResult {
    let mut writer = store.begin_write().unwrap();
    let mut mutations = Vec::new();
    for operation in operations {
        match operation.clone() {
            Operation::Put { key, value } => {
                writer.put(&key, &value).unwrap();
                mutations.push(Mutation { key, value: Some(value) });
            }
            Operation::Delete { key } => {
                writer.delete(&key).unwrap();
                mutations.push(Mutation { key, value: None });
            }
            _ => {}
        }
    }
    let id = model.latest().next();
    prop_assert_eq!(writer.commit(Durability::Sync).unwrap(), Some(id));
    model.apply(id, mutations);
    Ok(())
}

/// Reads the store as of every commit, and as of one that is yet to come.
fn compare(store: &mut dyn Store, model: &Mvcc) -> TestCaseResult {
    let oldest = store.oldest().unwrap();
    prop_assert!(oldest <= model.latest());
    for at in 0..=model.latest().0 + 1 {
        let at = TxnId(at);
        if at < oldest || at > model.latest() {
            prop_assert_eq!(
                store.begin_read_at(at).err(),
                Some(StoreError::SnapshotNotFound),
                "as of {}",
                at
            );
            continue;
        }
        let mut reader = store.begin_read_at(at).unwrap();
        let state = reader.scan(&KeyRange::all(), usize::MAX, false).unwrap();
        prop_assert_eq!(state, model.scan(&KeyRange::all(), usize::MAX, false, at), "as of {}", at);
        for key in model.range(&KeyRange::all(), model.latest()).map(|(key, _)| key) {
            let value = reader.get(key).unwrap();
            prop_assert_eq!(value.as_ref(), model.get(key, at), "as of {}", at);
        }
    }
    Ok(())
}

/// After a checkpoint exactly what the retention says can be read: no less was kept, and what it leaves out was dropped.
fn check_retention(store: &dyn Store, config: &Config) -> TestCaseResult {
    let (oldest, latest) = (store.oldest().unwrap(), store.latest().unwrap());
    prop_assert_eq!(oldest, config.retention.oldest(latest));
    Ok(())
}
