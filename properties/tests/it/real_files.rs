//! The same plan on the real file system has the same history as on the simulated one, event by event.

use proofmark_properties::real_files::OnRealFiles;
use proofmark_properties::strategies::{Shape, cases, plan};
use proofmark_sim::plan::{Plan, Step};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::generate;
use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert_eq, proptest};

proptest! {
    #![proptest_config(cases("real_files", 40))]

    #[test]
    fn the_engine_does_the_same_on_real_files(plan in plan(Shape::calm(StoreKind::Engine))) {
        compare(&plan.0)?;
    }
}

/// Longer plans, on every store.
#[test]
fn the_plans_of_seeds_do_the_same_on_real_files() {
    for (store, seeds) in [(StoreKind::Engine, 20), (StoreKind::Redb, 5)] {
        for seed in 0..seeds {
            let mut plan = generate(seed, store);
            let is_real =
                |step: &Step| !matches!(step, Step::Crash(_) | Step::Space(_) | Step::Fault(_) | Step::Heal);
            plan.steps.retain(is_real);
            compare(&plan).unwrap_or_else(|error| panic!("{store}, seed {seed}: {error}"));
        }
    }
}

fn compare(plan: &Plan) -> TestCaseResult {
    let directory = tempfile::tempdir().unwrap();
    let store = plan.store.factory();
    let simulated = run_plan(plan, store);
    let real = run_plan(plan, &OnRealFiles::new(store, directory.path()));
    prop_assert_eq!(&real.verdict, &Ok(()));
    let pairs = real.history.events.iter().zip(&simulated.history.events);
    for (step, (real, simulated)) in pairs.enumerate() {
        prop_assert_eq!(real, simulated, "event {} on real files, and on simulated ones", step);
    }
    prop_assert_eq!(real.history.events.len(), simulated.history.events.len());
    prop_assert_eq!(real.stats.io_calls, 0, "the simulated disk was not asked");
    Ok(())
}
