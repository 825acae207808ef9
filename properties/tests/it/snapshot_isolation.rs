//! While nothing fails, every read is explained by its transaction's snapshot and its own writes, however the clients'
//! steps interleave.

use proofmark_model::Event;
use proofmark_properties::strategies::{Shape, cases, plan};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::StoreKind;
use proptest::proptest;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::judge;

/// Many clients, most of which read.
fn readers(store: StoreKind) -> Shape {
    Shape { clients: 10, turns_max: 200, write_percent: 40, ..Shape::calm(store) }
}

proptest! {
    #![proptest_config(cases("snapshot_isolation", 300))]

    #[test]
    fn the_engine_isolates_snapshots(plan in plan(readers(StoreKind::Engine))) {
        judge(&plan.0)?;
    }
}

proptest! {
    #![proptest_config(cases("snapshot_isolation_redb", 60))]

    #[test]
    fn redb_isolates_snapshots(plan in plan(readers(StoreKind::Redb))) {
        judge(&plan.0)?;
    }
}

/// The plans above are worth something only if snapshots are held while others commit.
#[test]
fn readers_outlive_commits() {
    let mut runner = TestRunner::new(cases("snapshot_isolation", 1));
    let mut outlived = 0;
    for _ in 0..50 {
        let plan = plan(readers(StoreKind::Engine)).new_tree(&mut runner).unwrap().current().0;
        let run = run_plan(&plan, StoreKind::Engine.factory());
        let mut open = Vec::new();
        for event in &run.history.events {
            match event {
                Event::Begin { txn, .. } => open.push((*txn, false)),
                Event::Committed { .. } => open.iter_mut().for_each(|(_, is_old)| *is_old = true),
                Event::Opened { .. } => open.clear(),
                Event::Get { txn, .. } | Event::Scan { txn, .. } => {
                    outlived += u32::from(open.contains(&(*txn, true)));
                }
                _ => {}
            }
        }
    }
    assert!(outlived > 150, "{outlived} reads of 50 plans see an old snapshot");
}
