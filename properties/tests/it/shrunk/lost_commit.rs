//! crash-prefix: lost-acknowledged-commit: the state is that of commit 0, but commit 1 (t1) was acknowledged as
//! durable: "a" should be #1*8, the value of commit 1 (t1), but is none
//!
//! Shrunk from a plan of this suite in 76 runs, from 17 operations, 1 power loss and 1 fault to 3 operations and 1
//! fault.
//!
//! It needs no more than a disk of profile posix-worst with granules of 4096 bytes; on milder ones it was not seen
//! to fail.

use proofmark_model::Checker;
use proofmark_sim::plan::Plan;
use proofmark_sim::run::run_plan;

const PLAN: &str = r#"proofmark plan 1
store engine
page-size 4096
cache-bytes 1048576
segment-bytes 65536
write-tier-bytes 1048576
retention txns:16
two-phase-commit no
granule 4096
directories directory-sync
dirty-bytes-max 67108864
sabotage ignore-directory-sync nth=3

c0 begin write
c0 put "a" #1*8
c0 commit sync
"#;

#[test]
fn crash_prefix_lost_acknowledged_commit() {
    let plan: Plan = PLAN.parse().expect("it was printed by the program that reads it");
    let run = run_plan(&plan, plan.store.factory());
    let found = run.verdict.map_err(|violation| (violation.checker, violation.kind));
    assert_eq!(found, Err((Checker::CrashPrefix, "lost-acknowledged-commit")), "{}", run.history);
}
