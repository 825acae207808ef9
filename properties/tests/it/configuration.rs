//! No page size, cache, segment size or checkpoint changes an answer.

use proofmark_model::{Event, digest_pairs};
use proofmark_properties::strategies::{Shape, cases, config, plan};
use proofmark_sim::plan::{Config, Plan, Step};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;
use proptest::collection::vec;
use proptest::{prop_assert_eq, proptest};

use crate::data_events;

proptest! {
    #![proptest_config(cases("configuration", 150))]

    #[test]
    fn a_configuration_changes_no_answer(
        plan in plan(Shape { travels: false, ..Shape::calm(StoreKind::Engine) }),
        other in config(),
        checkpoints in vec(0usize..200, 0..6),
    ) {
        let original = run_plan(&plan.0, StoreKind::Engine.factory());
        let moved = run_plan(&reconfigured(plan.0, other, &checkpoints), StoreKind::Engine.factory());
        prop_assert_eq!(&original.verdict, &Ok(()));
        prop_assert_eq!(&moved.verdict, &Ok(()));
        let ends = [&original, &moved].map(|run| match run.history.events.last() {
            Some(Event::Opened { state, .. }) => Some(digest_pairs(state.iter().map(|(key, value)| (key, value)))),
            _ => None,
        });
        prop_assert_eq!(ends[0], ends[1]);
        prop_assert_eq!(data_events(&original.history), data_events(&moved.history));
    }
}

/// The same clients' steps on another configuration, with checkpoints elsewhere.
fn reconfigured(mut plan: Plan, config: Config, checkpoints: &[usize]) -> Plan {
    plan.config = config;
    plan.steps.retain(|step| *step != Step::Checkpoint);
    for position in checkpoints {
        plan.steps.insert(position % (plan.steps.len() + 1), Step::Checkpoint);
    }
    plan
}
