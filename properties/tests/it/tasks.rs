//! Clients as tasks in virtual time: stores that keep their promises, faults that are found, and one run a seed.

use std::ops::ControlFlow;

use proofmark_model::Checker;
use proofmark_properties::planted::{Examination, FAULTS, Fault, Site};
use proofmark_sim::campaign::Campaign;
use proofmark_sim::plan::{Plan, Schedule};
use proofmark_sim::run::{run_plan, run_plan_here};
use proofmark_sim::shrink::{Executor, shrink};
use proofmark_sim::store::{Engine, StoreKind};
use proofmark_sim::workload::Source;

/// How many seeds a small run has.
const SEEDS: u64 = 100;
/// Within how many seeds a planted fault has to be found.
const SEEDS_MAX: u64 = 200;

fn plan(seed: u64) -> Plan {
    Source::Tasks.plan(seed, StoreKind::Engine)
}

#[test]
fn stores_keep_their_promises_in_virtual_time() {
    for store in StoreKind::ALL {
        let campaign = Campaign { source: Source::Tasks, jobs: 2, ..Campaign::new(store, SEEDS) };
        let summary = campaign.run(|| false, |_| ()).unwrap();
        assert_eq!((summary.seeds, &summary.violations[..]), (SEEDS, &[][..]), "{store}");
        assert!(summary.stats.crashes.recovery > 0 && summary.stats.refusals > 0, "{:?}", summary.stats);
        assert!(summary.stats.virtual_us > SEEDS * 100_000, "{:?}", summary.stats);
        let alone = Campaign { jobs: 1, ..campaign }.run(|| false, |_| ()).unwrap();
        assert_eq!(alone, summary, "{store}");
    }
}

#[test]
fn planted_faults_are_found_in_virtual_time() {
    let mut count = 0;
    let of_stores = FAULTS
        .iter()
        .filter(|fault| fault.examination == Examination::Run && matches!(fault.site, Site::Store(_)));
    for fault in of_stores {
        // Which checker is the first to see it depends on the order, which is another one here.
        let is_found = (0..SEEDS_MAX).any(|seed| fault.run(&plan(seed)).verdict.is_err());
        assert!(is_found, "{} is not found within {SEEDS_MAX} seeds", fault.name);
        count += 1;
    }
    assert!(count >= 20, "only {count} faults");
}

#[test]
fn what_is_found_is_shrunk_in_its_own_order() {
    let is_hasty = |fault: &&Fault| fault.name == "hasty commit";
    let fault = FAULTS.iter().find(is_hasty).expect("there is such a fault");
    let plan = (0..SEEDS_MAX).map(plan).find(|plan| fault.run(plan).verdict.is_err()).unwrap();
    let shrunk = shrink(&plan, Executor::new(&|plan| fault.run(plan)), &mut |attempt| {
        if attempt.best.runs < 2000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let shrunk = shrunk.unwrap();
    assert_eq!(
        (shrunk.plan.schedule, shrunk.violation.checker),
        (Schedule::Sequential, Checker::CrashPrefix)
    );
    assert!(shrunk.plan.steps.len() <= 15, "{}", shrunk.plan);
}

/// Madsim repeats the run and compares the clock, and the state of its generator, at each draw.
#[test]
fn madsim_finds_a_run_deterministic() {
    let here = madsim::runtime::Runtime::check_determinism(7, madsim::Config::default(), || async {
        run_plan_here(&plan(7), &Engine).await
    });
    let run = run_plan(&plan(7), &Engine);
    assert_eq!((here.trace_hash, here.history), (run.trace_hash, run.history));
}
