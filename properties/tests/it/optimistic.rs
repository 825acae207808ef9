//! Writers side by side: of those that write one key the first to commit wins, and nobody else is turned away.

use std::collections::BTreeMap;

use proofmark_model::{Durability, KeyRange, Mvcc, Operation, TxnId};
use proofmark_properties::store_level::Written;
use proofmark_properties::strategies::{cases, config, number_values, writer_operation};
use proofmark_sim::disk::SimDisk;
use proofmark_sim::store::{Store, StoreError, StoreKind, Transaction};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy};
use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert_eq, prop_oneof, proptest};

/// What one of the writers does next. It begins if it has not.
#[derive(Debug, Clone)]
enum Turn {
    BeginExclusive,
    Operate(Operation),
    Commit(Durability),
    Submit,
    Abort,
    Checkpoint,
    Compact,
}

proptest! {
    #![proptest_config(cases("optimistic", 200))]

    #[test]
    fn the_first_committer_wins(
        turns in vec((0usize..4, turn()), 1..150).prop_map(numbered),
        config in config(),
    ) {
        let disk = SimDisk::default();
        let store = StoreKind::Engine.factory().open(disk.vfs(), &config).unwrap();
        let mut writers = Writers { store, model: Mvcc::new(), open: BTreeMap::new(), exclusive: None };
        for (writer, turn) in &turns {
            writers.take(*writer, turn)?;
        }
        let Writers { mut store, model, open, .. } = writers;
        drop(open);
        store.close().unwrap();
        store = StoreKind::Engine.factory().open(disk.vfs(), &config).unwrap();
        prop_assert_eq!(store.latest(), Some(model.latest()));
        let state = store.begin_read().unwrap().scan(&KeyRange::all(), usize::MAX, false).unwrap();
        prop_assert_eq!(state, model.scan(&KeyRange::all(), usize::MAX, false, model.latest()));
    }
}

fn turn() -> BoxedStrategy<Turn> {
    prop_oneof![
        12 => writer_operation().prop_map(Turn::Operate),
        4 => Just(Turn::Commit(Durability::Sync)),
        1 => Just(Turn::Commit(Durability::Buffered)),
        1 => Just(Turn::Submit),
        1 => Just(Turn::BeginExclusive),
        1 => Just(Turn::Abort),
        1 => Just(Turn::Checkpoint),
        1 => Just(Turn::Compact),
    ]
    .boxed()
}

fn numbered(mut turns: Vec<(usize, Turn)>) -> Vec<(usize, Turn)> {
    number_values(turns.iter_mut().filter_map(|(_, turn)| match turn {
        Turn::Operate(operation) => Some(operation),
        _ => None,
    }));
    turns
}

struct Writers {
    store: Box<dyn Store>,
    model: Mvcc,
    open: BTreeMap<usize, (Box<dyn Transaction>, Written)>,
    exclusive: Option<usize>,
}

impl Writers {
    fn take(&mut self, writer: usize, turn: &Turn) -> TestCaseResult {
        match turn {
            Turn::BeginExclusive if self.open.contains_key(&writer) => {}
            Turn::BeginExclusive if self.exclusive.is_some() => {
                prop_assert_eq!(self.store.begin_write().err(), Some(StoreError::Busy));
            }
            Turn::BeginExclusive => {
                let transaction = self.store.begin_write().unwrap();
                self.exclusive = Some(writer);
                self.begun(writer, transaction)?;
            }
            Turn::Operate(operation) => {
                if !self.open.contains_key(&writer) {
                    let transaction = self.store.begin_optimistic().unwrap();
                    self.begun(writer, transaction)?;
                }
                let (transaction, written) = self.open.get_mut(&writer).unwrap();
                written.operate(&self.model, &mut **transaction, operation)?;
            }
            Turn::Commit(durability) => {
                self.end(writer, |transaction| transaction.commit(*durability))?;
            }
            Turn::Submit => self.end(writer, |transaction| transaction.submit()?.wait())?,
            Turn::Abort => {
                self.open.remove(&writer);
                self.exclusive = self.exclusive.filter(|exclusive| *exclusive != writer);
            }
            Turn::Checkpoint => {
                self.store.checkpoint().unwrap();
            }
            Turn::Compact => {
                self.store.compact().unwrap();
            }
        }
        Ok(())
    }

    fn begun(&mut self, writer: usize, transaction: Box<dyn Transaction>) -> TestCaseResult {
        let snapshot = self.model.latest();
        prop_assert_eq!(transaction.snapshot(), Some(snapshot));
        self.open.insert(writer, (transaction, Written::new(snapshot)));
        Ok(())
    }

    /// Commits, with the outcome that the model expects and no other.
    fn end(
        &mut self,
        writer: usize,
        commit: impl FnOnce(Box<dyn Transaction>) -> Result<Option<TxnId>, StoreError>,
    ) -> TestCaseResult {
        let Some((transaction, written)) = self.open.remove(&writer) else { return Ok(()) };
        let is_exclusive = self.exclusive == Some(writer);
        let is_empty = written.writes.is_empty();
        let outcome = commit(transaction);
        let conflict = match &outcome {
            // Any key that conflicts will do.
            Err(StoreError::Conflict { key }) if written.writes.contains_key(key) => {
                self.model.conflict([key], written.snapshot)
            }
            _ => self.model.conflict(written.writes.keys(), written.snapshot),
        };
        let expected = match conflict {
            _ if is_empty => Ok(Some(written.snapshot)),
            _ if self.exclusive.is_some() && !is_exclusive => Err(StoreError::Busy),
            Some(key) => Err(StoreError::Conflict { key: key.clone() }),
            None => Ok(Some(self.model.latest().next())),
        };
        prop_assert_eq!(&outcome, &expected);
        if is_exclusive {
            self.exclusive = None;
        }
        if let (Ok(Some(id)), false) = (expected, is_empty) {
            self.model.apply(id, written.mutations());
        }
        Ok(())
    }
}
