//! Printing and parsing are exact inverses, for operations, histories and plans.

use proofmark_model::{Event, History, Operation};
use proofmark_properties::strategies::{Shape, cases, event, history, operation, plan};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;
use proptest::{prop_assert_eq, proptest};

proptest! {
    #![proptest_config(cases("text_form", 500))]

    #[test]
    fn operations_round_trip(operation in operation()) {
        prop_assert_eq!(operation.to_string().parse::<Operation>(), Ok(operation));
    }

    #[test]
    fn events_round_trip(event in event()) {
        prop_assert_eq!(event.to_string().parse::<Event>(), Ok(event));
    }

    #[test]
    fn histories_round_trip(history in history()) {
        prop_assert_eq!(history.0.to_string().parse::<History>(), Ok(history.0));
    }

    #[test]
    fn plans_round_trip(plan in plan(Shape::crashing(StoreKind::Redb))) {
        prop_assert_eq!(plan.0.to_string().parse::<Plan>(), Ok(plan.0));
    }
}

proptest! {
    #![proptest_config(cases("text_form_of_runs", 50))]

    /// A history that was read back is judged alike.
    #[test]
    fn histories_of_runs_round_trip(plan in plan(Shape::crashing(StoreKind::Engine))) {
        let history = run_plan(&plan.0, StoreKind::Engine.factory()).history;
        let parsed: Result<History, _> = history.to_string().parse();
        prop_assert_eq!(parsed.as_ref(), Ok(&history));
        prop_assert_eq!(proofmark_model::check(&parsed.unwrap()), Ok(()));
    }
}
