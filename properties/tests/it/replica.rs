//! A follower takes in a commit stream over a network: it is always what its leader was, and faults planted in the stream, or
//! in how it is taken in, are found.

use std::sync::Arc;

use proofmark_model::Durability;
use proofmark_properties::planted::{FAULTS, Fault, Site};
use proofmark_sim::replica::{Apply, PLACE, Portion, apply, run, run_here};
use proofmark_sim::store::{Engine, Store, StoreError, StoreFactory};

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

/// Madsim repeats the world and compares the clock, and the state of its generator, at each draw.
#[test]
fn madsim_finds_a_world_deterministic() {
    let here = madsim::runtime::Runtime::check_determinism(11, madsim::Config::default(), || async {
        run_here(11, engine(), apply).await
    });
    assert_eq!(here, run(11, &engine(), apply));
}
