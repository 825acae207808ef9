//! Transactions that do not touch each other's keys come to the same in either order.

use proofmark_properties::pairs::{Serial, examine_orders};
use proofmark_properties::strategies::{cases, config, transactions};
use proofmark_sim::plan::Plan;
use proofmark_sim::store::StoreKind;
use proptest::collection::vec;
use proptest::proptest;

use crate::pass;

proptest! {
    #![proptest_config(cases("commutativity", 200))]

    #[test]
    fn independent_transactions_commute(
        transactions in transactions(12),
        config in config(),
        swaps in vec(0usize..64, 1..40),
    ) {
        let serial = Serial { setting: Plan { config, ..Plan::new(StoreKind::Engine) }, transactions };
        pass(serial.check_order(&serial.reorder(swaps), StoreKind::Engine.factory()))?;
    }
}

/// The same for the longer transactions of seeds, on every store.
#[test]
fn independent_transactions_of_seeds_commute() {
    for (store, seeds) in [(StoreKind::Engine, 100), (StoreKind::Redb, 30)] {
        for seed in 0..seeds {
            assert_eq!(examine_orders(store.factory(), seed), Ok(()), "{store}, seed {seed}");
        }
    }
}
