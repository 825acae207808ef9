//! What exploration finds, what it leaves alone, and that its plans repeat it.

mod stores;

use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark_model::History;

use self::stores::Folding;
pub(super) use self::stores::{Forgetful, Hasty, Noting};
use super::finding::Loss;
use super::*;
use crate::disk::{Fault, FaultKind, Granule, IoKind, Keep, Kept, Profile};
use crate::plan::Step;
use crate::run::{Memory, resume, run_plan};
use crate::store::{Batches, Engine, Redb, StoreKind};

/// The built-in workload, up to its first checkpoint and a commit after it, under a profile.
pub(super) fn short(store: StoreKind, profile: Profile) -> Plan {
    let mut plan = built_in(store);
    let checkpoint = plan.steps.iter().position(|step| *step == Step::Checkpoint).unwrap();
    plan.steps.truncate(checkpoint + 6);
    profile.apply(&mut plan.disk);
    plan
}

fn exploration<'a>(plan: &'a Plan, bound: usize) -> Exploration<'a> {
    Exploration { plan, factory: plan.store.factory(), depth: 1, bound, jobs: 1 }
}

fn explore(exploration: Exploration<'_>) -> Coverage {
    exploration.run(|| false, |_| {}).unwrap()
}

/// Runs in which faults strike that everybody is told of: failing syncs, lies, and damage.
fn announced() -> Vec<Plan> {
    let mut failures = short(StoreKind::Engine, Profile::Btrfs);
    failures.steps.insert(0, Step::Fault(Fault::once(FaultKind::SyncLost, 9)));
    failures.steps.insert(30, Step::Fault(Fault::every(FaultKind::SyncLate, 4)));
    let mut lies = short(StoreKind::Engine, Profile::PosixWorst);
    for kind in [FaultKind::IgnoreSync, FaultKind::IgnoreDirectorySync, FaultKind::TornSync] {
        lies.steps.insert(0, Step::Fault(Fault::every(kind, 3)));
    }
    let mut damage = short(StoreKind::Engine, Profile::PosixWorst);
    for kind in [FaultKind::FlippedBit, FaultKind::GarbageSector, FaultKind::StaleRead] {
        damage.steps.insert(8, Step::Fault(Fault::every(kind, 9)));
    }
    vec![failures, lies, damage]
}

#[test]
fn only_what_is_in_order_is_explored() {
    for schedule in ["threads recorded", "tasks seed=1 think=1s"] {
        let plan: Plan = format!("proofmark plan 1\nschedule {schedule}\nverify\n").parse().unwrap();
        let message =
            format!("only the plan's own order is explored, and this plan's schedule is `{schedule}`");
        let refused = exploration(&plan, 10).run(|| false, |_| {}).unwrap_err();
        assert_eq!(refused.to_string(), message);
        let plans = [plan];
        let audit = Audit { plans: &plans, factory: &Engine, bound: 6, boundaries_max: 12, jobs: 1 };
        assert_eq!(audit.run(|| false, |_, _| {}).unwrap_err().to_string(), message);
    }
}

/// The heart of it: what is judged is a run that a plan can repeat.
#[test]
fn what_follows_a_power_loss_is_what_follows_it_in_a_whole_run() {
    let engine = short(StoreKind::Engine, Profile::PosixWorst);
    let redb = short(StoreKind::Redb, Profile::Xfs);
    for plan in [vec![engine, redb], announced()].concat() {
        let factory = plan.store.factory();
        let follow_up = FollowUp::new(&plan);
        let everything = Kept { calls: 1..=u64::MAX, count_max: usize::MAX, with_callers: false };
        let recording = Recording::new(&plan, factory, everything);
        let moments = recording.moments();
        assert!(moments.len() > 20);
        let (last, others) = moments.split_last().unwrap();
        for (index, moment) in others.iter().enumerate() {
            let call = moment.boundary.call.number;
            let keep = [Keep::None, Keep::All, Keep::Random { permille: 500, seed: call }][index % 3].clone();
            let disk = moment.boundary.disk.image(&keep);
            let past = &recording.events()[..moment.event_count];
            let steps = &follow_up.after_power_loss;
            let resumed = resume(factory, &plan.config, &disk, &Memory::of(past), true, steps, None);
            let loss = Loss { call, keep };
            let whole = run_plan(&recording.cut(&plan, call, vec![loss.strike()], steps), factory);
            let events = [past, &resumed.events].concat();
            assert_eq!(whole.history, History { events }, "at {}", moment.boundary.call);
        }
        let loss = Loss { call: last.boundary.call.number, keep: Keep::None };
        let whole = recording.cut(&plan, loss.call, vec![loss.strike()], &follow_up.after_power_loss);
        assert_eq!(run_plan(&whole, factory).stats.crashes.power_losses(), 1);
    }
}

#[test]
fn sound_stores_keep_their_promises_at_every_boundary() {
    for (store, profile) in
        [(StoreKind::Engine, Profile::PosixWorst), (StoreKind::Redb, Profile::Ext4Ordered)]
    {
        let plan = short(store, profile);
        let coverage = explore(exploration(&plan, 16));
        assert_eq!(coverage.finding, None);
        assert_eq!(coverage.boundaries.len(), coverage.boundary_count);
        assert!(coverage.exhausted() > 0 && coverage.exhausted() < coverage.boundary_count);
        assert!(coverage.states() > 300, "{}", coverage.states());
        assert!(coverage.recoveries() >= 2 * coverage.states());
    }
}

#[test]
fn the_outcome_does_not_depend_on_the_number_of_jobs() {
    let plan = short(StoreKind::Engine, Profile::PosixWorst);
    let one = explore(exploration(&plan, 12));
    let three = explore(Exploration { jobs: 3, ..exploration(&plan, 12) });
    assert_eq!(one, three);
}

#[test]
fn a_sync_that_lies_is_found_and_its_plan_shows_it() {
    for nth in [4, 6] {
        let mut plan = short(StoreKind::Engine, Profile::PosixWorst);
        plan.sabotage = vec![Fault::once(FaultKind::IgnoreSync, nth)];
        let coverage = explore(exploration(&plan, 16));
        let finding = coverage.finding.expect("a commit is lost");
        assert!(finding.is_reproduced(), "{:?}", finding.replayed);
        let reread: Plan = finding.plan.to_string().parse().unwrap();
        assert_eq!(run_plan(&reread, &Engine).verdict, finding.replayed);
    }
}

#[test]
fn the_second_power_loss_strikes_recoveries() {
    let plan = short(StoreKind::Engine, Profile::PosixWorst);
    let coverage = explore(Exploration { depth: 2, ..exploration(&plan, 16) });
    assert_eq!(coverage.finding, None);
    assert!(coverage.boundaries.iter().any(|boundary| boundary.states_in_recovery > 20));
    let redb = short(StoreKind::Redb, Profile::Btrfs);
    assert_eq!(explore(Exploration { depth: 2, factory: &Redb, ..exploration(&redb, 8) }).finding, None);
}

#[test]
fn a_stopped_exploration_says_what_it_covered() {
    let plan = short(StoreKind::Engine, Profile::PosixWorst);
    for depth in [1, 2] {
        // More images than anybody has time for.
        let endless = Exploration { depth, ..exploration(&plan, 1_000_000) };
        let asked = AtomicUsize::new(0);
        let coverage = endless.run(|| asked.fetch_add(1, Ordering::Relaxed) >= 300, |_| {}).unwrap();
        assert!(coverage.was_stopped && coverage.finding.is_none());
        assert_eq!(asked.into_inner(), 301, "the first time that it is told to stop is the last");
        assert!(coverage.boundaries.len() < coverage.boundary_count);
        assert!((20..=300).contains(&coverage.states()), "{} states", coverage.states());
        assert_ne!(
            coverage.boundaries.last().unwrap().legal,
            Legal::Every,
            "it was stopped between two images"
        );
    }
    assert!(exploration(&plan, 4).run(|| true, |_| {}).unwrap().boundaries.is_empty());
}

/// Groups are explored at once: one may have found something when an earlier one is told to stop.
#[test]
fn what_was_found_behind_a_group_that_was_stopped_is_not_lost() {
    let mut plan = short(StoreKind::Engine, Profile::PosixWorst);
    plan.sabotage = vec![Fault::once(FaultKind::IgnoreSync, 4)];
    let finding = explore(exploration(&plan, 16)).finding.unwrap();
    let found =
        |call| GroupReport { finding: Some(Finding { call, ..finding.clone() }), ..GroupReport::default() };
    let stopped = || GroupReport { was_stopped: true, ..GroupReport::default() };
    let merged = |reports: Vec<(usize, GroupReport)>| {
        let mut merger = Merger {
            coverage: Coverage::default(),
            seen: Seen::default(),
            next: 0,
            waiting: BTreeMap::new(),
        };
        for (index, report) in reports {
            let _ = merger.take(index, report, |_| {});
        }
        merger.finish().0
    };
    // Others may still report when it is over.
    let coverage = merged(vec![(3, found(30)), (0, stopped()), (1, stopped()), (2, found(20))]);
    assert!(coverage.was_stopped);
    assert_eq!(coverage.finding.unwrap().call, 20);
    let coverage = merged(vec![(1, stopped()), (0, stopped())]);
    assert!(coverage.was_stopped && coverage.finding.is_none());
    // One that ends the exploration by itself is the first.
    assert_eq!(merged(vec![(1, found(10)), (0, found(5))]).finding.unwrap().call, 5);
}

#[test]
fn a_finding_says_what_it_needs() {
    let mut plan = short(StoreKind::Engine, Profile::PosixWorst);
    plan.sabotage = vec![Fault::once(FaultKind::IgnoreDirectorySync, 2)];
    let exploration = exploration(&plan, 12);
    let finding = explore(exploration).finding.unwrap();
    // Where the sync of a file makes its name durable, the directory need not be synced. No write has to tear.
    let need = Need { profile: Profile::PosixWorst, granule: Granule::new(4096).unwrap() };
    assert_eq!(exploration.needs(&finding), Some(need));
}

#[test]
fn what_was_announced_is_excused_wherever_the_power_is_lost() {
    let [failures, lies, damage] = announced().try_into().expect("there are three");
    for plan in [failures, lies] {
        let finding = explore(exploration(&plan, 8)).finding;
        assert!(finding.is_none(), "{}\n{plan}", finding.unwrap().violation);
    }
    // Whatever the checkers make of damage, they make the same of it in a whole run.
    let finding = explore(exploration(&damage, 8)).finding;
    assert!(finding.is_none_or(|finding| finding.is_reproduced()));
}

#[test]
fn what_its_own_plan_does_not_show_is_not_held_against_a_store() {
    let plan = short(StoreKind::Engine, Profile::PosixWorst);
    let factory = Forgetful::after(300);
    let coverage = explore(Exploration { factory: &factory, ..exploration(&plan, 16) });
    let finding = coverage.finding.expect("an opening fails");
    assert_eq!(finding.replayed, Ok(()));
    assert!(!finding.is_reproduced());
}

#[test]
fn windows_change_nothing_but_memory() {
    let plan = short(StoreKind::Engine, Profile::PosixWorst);
    let explored = |window, depth| {
        let exploration = Exploration { depth, jobs: 2, ..exploration(&plan, 10) };
        exploration.run_in_windows(window, &|| false, &|_: &Coverage| {}).unwrap()
    };
    for depth in [1, 2] {
        let whole = explored(WINDOW_BOUNDARIES, depth);
        assert!(whole.boundary_count > 60 && whole.boundary_count < WINDOW_BOUNDARIES);
        // Some of these edges lie between two events.
        for window in [1, 7, 60] {
            assert_eq!(explored(window, depth), whole, "{window} boundaries, depth {depth}");
        }
    }
}

#[test]
fn a_window_holds_no_more_than_it_may() {
    let plan = built_in(StoreKind::Engine);
    let steps = plan.steps.iter().cycle().take(3 * plan.steps.len()).cloned().collect();
    let plan = Plan { steps, ..plan };
    let recording = Recording::window(&plan, &Engine, 1..=u64::MAX);
    assert!(recording.boundary_calls().len() > WINDOW_BOUNDARIES);
    assert_eq!(recording.moments().len(), WINDOW_BOUNDARIES);
    assert_eq!(Recording::survey(&plan, &Engine).boundary_calls(), recording.boundary_calls());
}

/// An image is known by what follows it, and a fault that is still to come is a part of that.
#[test]
fn equal_bytes_are_not_the_same_image_before_and_after_a_fault_came_nearer() {
    let plain = short(StoreKind::Engine, Profile::PosixWorst);
    let mut with_fault = plain.clone();
    let far_away = Fault::once(FaultKind::IoError, 1 << 40).on(IoKind::Write);
    with_fault.steps.insert(0, Step::Fault(far_away));
    let [plain, with_fault] = [plain, with_fault].map(|plan| explore(exploration(&plan, 8)));
    assert_eq!(plain.boundary_count, with_fault.boundary_count);
    assert!(with_fault.states() > plain.states(), "{} > {}", with_fault.states(), plain.states());
}

/// What was written in a recovery that died may be known to the page cache only.
#[test]
fn the_process_may_die_inside_of_a_recovery() {
    let plan = Plan { store: StoreKind::Engine, ..short(StoreKind::Engine, Profile::PosixWorst) };
    let factory = Batches::<Folding>::new();
    let exploration = Exploration { factory: &factory, ..exploration(&plan, 16) };
    assert_eq!(explore(exploration).finding, None);
    let finding = explore(Exploration { depth: 2, ..exploration }).finding.expect("it trusts the page cache");
    assert!(finding.is_reproduced());
    assert!(finding.plan.to_string().contains("keep=page-cache"), "{}", finding.plan);
}
