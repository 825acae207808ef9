//! Whatever the power takes, what is recovered is a prefix of what was committed, and no shorter than what was promised.

use proofmark_properties::strategies::{Shape, cases, plan};
use proofmark_sim::run::{CrashCounts, DenialCounts, RunStats, run_plan};
use proofmark_sim::store::StoreKind;
use proofmark_sim::workload::generate;
use proptest::proptest;

use crate::judge;

proptest! {
    #![proptest_config(cases("crash_prefix", 400))]

    #[test]
    fn the_engine_recovers_a_prefix(plan in plan(Shape::crashing(StoreKind::Engine))) {
        judge(&plan.0)?;
    }

    /// Few keys, many commits: what was overwritten must not come back.
    #[test]
    fn the_engine_recovers_a_prefix_of_busy_writers(
        plan in plan(Shape { write_percent: 90, clients: 2, turns_max: 250, ..Shape::crashing(StoreKind::Engine) })
    ) {
        judge(&plan.0)?;
    }
}

proptest! {
    #![proptest_config(cases("crash_prefix_redb", 60))]

    #[test]
    fn redb_recovers_a_prefix(plan in plan(Shape::crashing(StoreKind::Redb))) {
        judge(&plan.0)?;
    }
}

/// The plans of seeds, which are longer than those above; and a look at what they strike, because a crash that never
/// comes proves nothing.
#[test]
fn power_fails_in_every_kind_of_call() {
    let mut crashes = CrashCounts::default();
    let mut sum = RunStats::default();
    for seed in 0..330 {
        let run = run_plan(&generate(seed, StoreKind::Engine), StoreKind::Engine.factory());
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        crashes.creation += run.stats.crashes.creation;
        crashes.commit += run.stats.crashes.commit;
        crashes.checkpoint += run.stats.crashes.checkpoint;
        crashes.recovery += run.stats.crashes.recovery;
        crashes.process_deaths += run.stats.crashes.process_deaths;
        // Every run comes to its last power loss, but for those in which faults left nothing that can be opened before.
        assert!(run.stats.crashes.end + run.stats.beyond_repair >= 1, "seed {seed}");
        assert!(run.stats.crashes.end <= 1 && run.stats.beyond_repair <= 1, "seed {seed}");
        sum += &run.stats;
    }
    let DenialCounts { conflict, write_busy, out_of_space, poisoned } = sum.denials;
    assert!(conflict >= 150 && write_busy >= 100 && out_of_space >= 12 && poisoned >= 5, "{sum:?}");
    assert!(sum.tickets >= 800 && sum.streams >= 1000 && sum.faults >= 6500, "{sum:?}");
    assert!(sum.faults_planted >= 300 && sum.beyond_repair <= 6, "{sum:?}");
    assert!(sum.backups >= 20 && sum.compactions >= 60, "{sum:?}");
    let CrashCounts { creation, commit, checkpoint, recovery, process_deaths, .. } = crashes;
    // Each a little less than what these seeds hold. A death of the process counts as that only, wherever it strikes.
    assert!(creation >= 38 && commit >= 190 && checkpoint >= 150 && recovery >= 500, "{crashes:?}");
    assert!(process_deaths >= 170, "{crashes:?}");
}
