//! A consumer that replays the commit stream into an empty store has, at every commit, what the store had.

use proofmark_model::{Durability, KeyRange, Mvcc, Operation, TxnId};
use proofmark_properties::store_level::Written;
use proofmark_properties::strategies::{cases, config, number_values, writer_operation};
use proofmark_sim::disk::SimDisk;
use proofmark_sim::plan::{Config, Retention};
use proofmark_sim::store::{Store, StoreError, StoreFactory, StoreKind};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy};
use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

/// What happens to the store next.
#[derive(Debug, Clone)]
enum Turn {
    Commit(Vec<Operation>, Durability),
    Checkpoint,
    Compact,
    Reopen,
    /// The consumer reads so many commits.
    Consume(usize),
}

proptest! {
    #![proptest_config(cases("commit_stream", 200))]

    #[test]
    fn a_replayed_stream_is_the_store_at_every_commit(
        turns in vec(turn(), 1..60).prop_map(numbered),
        config in config(),
    ) {
        follow(&turns, &config)?;
    }

    /// Everything is kept, so that nobody falls behind.
    #[test]
    fn the_whole_stream_is_there_for_who_keeps_all(
        turns in vec(turn(), 1..60).prop_map(numbered),
        config in config(),
    ) {
        let (mut store, model) = follow(&turns, &Config { retention: Retention::All, ..config })?;
        let mut newcomer = Consumer::default();
        newcomer.consume(&mut *store, &model, usize::MAX)?;
        prop_assert_eq!(newcomer.replica.latest(), model.latest());
        prop_assert_eq!(newcomer.restarts, 0);
    }
}

fn turn() -> BoxedStrategy<Turn> {
    let durability = prop_oneof![3 => Just(Durability::Sync), 1 => Just(Durability::Buffered)];
    let limit = prop_oneof![0usize..5, Just(usize::MAX)];
    prop_oneof![
        8 => (vec(writer_operation(), 1..8), durability)
            .prop_map(|(operations, durability)| Turn::Commit(operations, durability)),
        2 => Just(Turn::Checkpoint),
        1 => Just(Turn::Compact),
        1 => Just(Turn::Reopen),
        4 => limit.prop_map(Turn::Consume),
    ]
    .boxed()
}

fn numbered(mut turns: Vec<Turn>) -> Vec<Turn> {
    number_values(turns.iter_mut().flat_map(|turn| match turn {
        Turn::Commit(operations, _) => operations.iter_mut(),
        _ => [].iter_mut(),
    }));
    turns
}

/// Takes the turns; returns the store as it is then.
fn follow(
    turns: &[Turn],
    config: &Config,
) -> Result<(Box<dyn Store>, Mvcc), proptest::test_runner::TestCaseError> {
    let disk = SimDisk::default();
    let factory = StoreKind::Engine.factory();
    let mut store = factory.open(disk.vfs(), config).unwrap();
    let mut model = Mvcc::new();
    let mut consumer = Consumer::default();
    for turn in turns {
        match turn {
            Turn::Commit(operations, durability) => {
                commit(&mut *store, &mut model, operations, *durability)?;
            }
            Turn::Checkpoint => {
                store.checkpoint().unwrap();
            }
            Turn::Compact => {
                store.compact().unwrap();
            }
            Turn::Reopen => store = reopen(store, factory, &disk, config),
            Turn::Consume(limit) => consumer.consume(&mut *store, &model, *limit)?,
        }
    }
    consumer.consume(&mut *store, &model, usize::MAX)?;
    prop_assert_eq!(consumer.cursor, model.latest());
    prop_assert_eq!(consumer.replica.digest(model.latest()), model.digest(model.latest()));
    Ok((store, model))
}

fn reopen(
    store: Box<dyn Store>,
    factory: &dyn StoreFactory,
    disk: &SimDisk,
    config: &Config,
) -> Box<dyn Store> {
    store.close().unwrap();
    factory.open(disk.vfs(), config).unwrap()
}

fn commit(
    store: &mut dyn Store,
    model: &mut Mvcc,
    operations: &[Operation],
    durability: Durability,
) -> TestCaseResult {
    let mut writer = store.begin_write().unwrap();
    let mut written = Written::new(model.latest());
    for operation in operations {
        written.operate(model, &mut *writer, operation)?;
    }
    let mutations = written.mutations();
    let id = writer.commit(durability).unwrap();
    if mutations.is_empty() {
        prop_assert_eq!(id, Some(model.latest()));
    } else {
        model.apply(model.latest().next(), mutations);
        prop_assert_eq!(id, Some(model.latest()));
    }
    Ok(())
}

/// Somebody who follows a store.
#[derive(Default)]
struct Consumer {
    replica: Mvcc,
    /// The last commit that it has seen.
    cursor: TxnId,
    /// How often it fell behind.
    restarts: u32,
}

impl Consumer {
    fn consume(&mut self, store: &mut dyn Store, model: &Mvcc, limit: usize) -> TestCaseResult {
        let oldest = store.oldest().unwrap();
        match store.changes(self.cursor.next(), limit) {
            Ok(commits) => {
                prop_assert!(self.cursor >= oldest, "who fell behind is told");
                let expected = model.changes(self.cursor.next()).take(limit);
                prop_assert_eq!(&commits, &expected.collect::<Vec<_>>());
                for commit in commits {
                    self.cursor = commit.id;
                    self.replica.apply(commit.id, commit.mutations);
                    prop_assert_eq!(self.replica.digest(self.cursor), model.digest(self.cursor));
                }
            }
            Err(StoreError::ChangesNotRetained) => {
                prop_assert!(self.cursor < oldest, "who did not fall behind goes on");
                let mut reader = store.begin_read().unwrap();
                self.cursor = reader.snapshot().unwrap();
                let state = reader.scan(&KeyRange::all(), usize::MAX, false).unwrap();
                self.replica = Mvcc::starting_at(self.cursor, state);
                self.restarts += 1;
                drop(reader);
                return self.consume(store, model, limit);
            }
            Err(error) => panic!("nothing keeps the stream from being read: {error}"),
        }
        Ok(())
    }
}
