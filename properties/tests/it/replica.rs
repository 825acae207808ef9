//! A follower takes in a commit stream over a network: it is always what its leader was, and faults planted in the stream, or
//! in how it is taken in, are found.

use std::sync::Arc;

use proofmark_model::{Commit, Durability, Key, KeyRange, TxnId, Value};
use proofmark_properties::planted::{FAULTS, Fault, Site};
use proofmark_sim::plan::Config;
use proofmark_sim::replica::{Apply, PLACE, Portion, apply, run, run_here};
use proofmark_sim::store::{Engine, Promises, Store, StoreError, StoreFactory, Transaction};
use proofmark_vfs::Vfs;

/// How many worlds a small run has.
const SEEDS: u64 = 100;
/// Within how many worlds a planted fault has to be found.
const SEEDS_MAX: u64 = 200;

fn engine() -> Arc<dyn StoreFactory> {
    Arc::new(Engine)
}

fn found(factory: &Arc<dyn StoreFactory>, apply: Apply) -> Option<&'static str> {
    (0..SEEDS_MAX).find_map(|seed| run(seed, factory, apply).verdict.err()).map(|violation| violation.kind)
}

/// Whether one of the worlds ends with a violation of this kind.
fn finds(kind: &str, factory: &Arc<dyn StoreFactory>, apply: Apply) -> bool {
    (0..SEEDS_MAX)
        .any(|seed| run(seed, factory, apply).verdict.is_err_and(|violation| violation.kind == kind))
}

#[test]
fn a_follower_is_always_what_its_leader_was() {
    for seed in 0..SEEDS {
        let world = run(seed, &engine(), apply);
        assert_eq!(world.verdict, Ok(()), "seed {seed}\n{}", world.lines.join("\n"));
    }
}

#[test]
fn faults_of_the_stream_are_found() {
    for name in ["gap in the stream", "stream of puts", "silent gap"] {
        let fault = FAULTS.iter().find(|fault: &&Fault| fault.name == name).expect("there is such a fault");
        let Site::Store(bug) = &fault.site else { panic!("{name} is no fault of a store") };
        assert_eq!(found(&bug.store(), apply), Some("follower-holds-no-prefix"), "{name}");
    }
}

/// The place is saved in a transaction of its own, before what comes before it.
fn place_first(
    store: &mut dyn Store,
    portion: &Portion<'_>,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut transaction = store.begin_write()?;
    transaction.put(PLACE, &portion.next().0.to_be_bytes())?;
    transaction.commit(durability)?;
    apply(store, portion, durability)
}

/// The place is that of the last commit, not of the one after it.
fn off_by_one(
    store: &mut dyn Store,
    portion: &Portion<'_>,
    durability: Durability,
) -> Result<(), StoreError> {
    apply(store, portion, durability)?;
    let mut transaction = store.begin_write()?;
    transaction.put(PLACE, &(portion.next().0 - 1).to_be_bytes())?;
    transaction.commit(durability).map(drop)
}

/// What there was before is left where it was.
fn nothing_removed(
    store: &mut dyn Store,
    portion: &Portion<'_>,
    durability: Durability,
) -> Result<(), StoreError> {
    let Portion::Everything { pairs, .. } = portion else { return apply(store, portion, durability) };
    let mut transaction = store.begin_write()?;
    for (key, value) in *pairs {
        transaction.put(key, value)?;
    }
    transaction.put(PLACE, &portion.next().0.to_be_bytes())?;
    transaction.commit(durability).map(drop)
}

#[test]
fn faults_of_a_follower_are_found() {
    for apply in [place_first as Apply, off_by_one, nothing_removed] {
        assert_eq!(found(&engine(), apply), Some("follower-holds-no-prefix"));
    }
}

/// The place is after a commit that is yet to come.
fn too_far(store: &mut dyn Store, portion: &Portion<'_>, durability: Durability) -> Result<(), StoreError> {
    apply(store, portion, durability)?;
    let mut transaction = store.begin_write()?;
    transaction.put(PLACE, &portion.next().next().0.to_be_bytes())?;
    transaction.commit(durability).map(drop)
}

/// Who has fallen behind stays there.
fn no_fresh_start(
    store: &mut dyn Store,
    portion: &Portion<'_>,
    durability: Durability,
) -> Result<(), StoreError> {
    match portion {
        Portion::Commits(_) => apply(store, portion, durability),
        Portion::Everything { .. } => Ok(()),
    }
}

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// A durable commit is not written back.
    HastyCommit,
    /// A checkpoint says that all is durable, and does nothing.
    IdleCheckpoint,
    /// A commit has the name of the one after it.
    WrongName,
    /// A store that was opened again commits something of its own.
    OwnCommit,
    /// A scan of the leader's leaves out the last pair.
    ShortScan,
    /// The commit stream can't be read.
    NoStream,
}

/// The engine, with a mistake in it.
#[derive(Debug)]
struct Mistaken(Mistake);

struct MistakenStore {
    mistake: Mistake,
    inner: Box<dyn Store>,
}

struct MistakenTransaction {
    mistake: Mistake,
    inner: Box<dyn Transaction>,
}

impl StoreFactory for Mistaken {
    fn name(&self) -> &str {
        "engine with a mistake"
    }

    fn promises(&self) -> Promises {
        Engine.promises()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let mut inner = Engine.open(vfs, config)?;
        if self.0 == Mistake::OwnCommit && inner.latest() > Some(TxnId(0)) {
            let mut transaction = inner.begin_write()?;
            transaction.put(b"own", b"value")?;
            transaction.commit(Durability::Buffered)?;
        }
        Ok(Box::new(MistakenStore { mistake: self.0, inner }))
    }
}

impl MistakenStore {
    fn wrap(&self, inner: Box<dyn Transaction>) -> Box<dyn Transaction> {
        Box::new(MistakenTransaction { mistake: self.mistake, inner })
    }
}

impl Store for MistakenStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let inner = self.inner.begin_read()?;
        Ok(self.wrap(inner))
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        let inner = self.inner.begin_write()?;
        Ok(self.wrap(inner))
    }

    fn changes(&mut self, from: TxnId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        match self.mistake {
            Mistake::NoStream => Err(StoreError::Failed("the stream ran dry".to_owned())),
            _ => self.inner.changes(from, limit),
        }
    }

    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        if self.mistake == Mistake::IdleCheckpoint { Ok(true) } else { self.inner.checkpoint() }
    }

    fn verify(&mut self) -> Result<bool, StoreError> {
        self.inner.verify()
    }

    fn latest(&self) -> Option<TxnId> {
        self.inner.latest()
    }

    fn oldest(&self) -> Option<TxnId> {
        self.inner.oldest()
    }
}

impl Transaction for MistakenTransaction {
    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Key, Value)>, StoreError> {
        let mut pairs = self.inner.scan(range, limit, reverse)?;
        if self.mistake == Mistake::ShortScan && pairs.iter().all(|(key, _)| key != PLACE) {
            pairs.pop();
        }
        Ok(pairs)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.inner.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.inner.delete(key)
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<TxnId>, StoreError> {
        match self.mistake {
            Mistake::HastyCommit => self.inner.commit(Durability::Buffered),
            Mistake::WrongName => Ok(self.inner.commit(durability)?.map(TxnId::next)),
            _ => self.inner.commit(durability),
        }
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort()
    }
}

/// Every kind of violation is there for a mistake that somebody could make.
#[test]
fn each_kind_of_violation_is_found() {
    let mistakes = [
        (Mistake::HastyCommit, "leader-lost-a-commit"),
        (Mistake::IdleCheckpoint, "leader-lost-a-commit"),
        (Mistake::WrongName, "commit-out-of-order"),
        (Mistake::OwnCommit, "leader-made-up-a-commit"),
        (Mistake::ShortScan, "leader-holds-something-else"),
        (Mistake::NoStream, "store-failed"),
    ];
    for (mistake, kind) in mistakes {
        let store: Arc<dyn StoreFactory> = Arc::new(Mistaken(mistake));
        assert!(finds(kind, &store, apply), "{mistake:?} is not found as {kind}");
    }
    for (apply, kind) in
        [(too_far as Apply, "follower-is-ahead"), (no_fresh_start, "follower-does-not-catch-up")]
    {
        assert!(finds(kind, &engine(), apply), "{kind} is not found");
    }
}

/// Madsim repeats the world and compares the clock, and the state of its generator, at each draw.
#[test]
fn madsim_finds_a_world_deterministic() {
    let here = madsim::runtime::Runtime::check_determinism(11, madsim::Config::default(), || async {
        run_here(11, engine(), apply).await
    });
    assert_eq!(here, run(11, &engine(), apply));
}
