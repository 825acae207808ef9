//! A batch is worth its mutations, one by one.

use proofmark_properties::pairs::{Serial, examine_batchings};
use proofmark_properties::strategies::{cases, config, transactions};
use proofmark_sim::plan::Plan;
use proofmark_sim::store::StoreKind;
use proptest::proptest;

use crate::pass;

proptest! {
    #![proptest_config(cases("batch_equivalence", 200))]

    #[test]
    fn a_batch_is_worth_its_mutations(transactions in transactions(12), config in config()) {
        let serial = Serial { setting: Plan { config, ..Plan::new(StoreKind::Engine) }, transactions };
        pass(serial.check_batches(StoreKind::Engine.factory()))?;
    }
}

/// The same for the longer transactions of seeds, on every store.
#[test]
fn the_batches_of_seeds_are_worth_their_mutations() {
    for (store, seeds) in [(StoreKind::Engine, 100), (StoreKind::Redb, 30)] {
        for seed in 0..seeds {
            assert_eq!(examine_batchings(store.factory(), seed), Ok(()), "{store}, seed {seed}");
        }
    }
}
