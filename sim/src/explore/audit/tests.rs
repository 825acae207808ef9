//! What the audit says of stores whose syncs are known.

use super::*;
use crate::disk::Profile;
use crate::explore::built_in;
use crate::explore::tests::{Forgetful, Hasty, Noting, short};
use crate::store::{Batches, StoreKind};

fn plan() -> Plan {
    let mut plan = Plan::new(StoreKind::Engine);
    plan.steps = built_in(StoreKind::Engine).steps;
    plan.steps.truncate(20);
    Profile::PosixWorst.apply(&mut plan.disk);
    plan
}

fn audit<'a>(plans: &'a [Plan], factory: &'a dyn StoreFactory) -> Audit<'a> {
    Audit { plans, factory, bound: 6, boundaries_max: 12, jobs: 2 }
}

/// Some finding.
pub(super) fn necessity() -> Necessity {
    let (plans, factory) = ([plan()], Batches::<Hasty>::new());
    let Err(ExplorationError::Baseline(finding)) = audit(&plans, &factory).run(|| false, |_, _| {}) else {
        panic!("it is not sound");
    };
    Necessity { occurrence: Some(1), finding: *finding }
}

#[test]
fn a_sync_that_is_missed_is_told_from_one_that_is_not_and_from_one_that_may_be_late() {
    let (plans, factory) = ([plan()], Batches::<Noting>::new());
    let audit = audit(&plans, &factory);
    let report = audit.run(|| false, |_, _| {}).unwrap();
    assert_eq!(report.baseline.len(), 1);
    assert!(report.baseline[0].states() > 50);
    let of_site = |operation: &str, file: &str| {
        let is_meant = |site: &&SiteReport| site.site.operation == operation && site.site.file == file;
        let mut sites = report.sites.iter().filter(is_meant).filter(|site| site.removed > 0);
        let site = sites.next().expect("it syncs that");
        assert!(sites.next().is_none(), "it has one place for that");
        assert!(site.necessity.iter().all(|necessity| necessity.finding.is_reproduced()));
        assert_eq!(site.unreproduced, None);
        let orderings: Vec<_> = (site.orderings.iter())
            .map(|ordering| (ordering.before.as_deref(), ordering.weakened, ordering.missed))
            .collect();
        (site.removed, site.missed, orderings)
    };
    let (removed, missed, orderings) = of_site("sync data", "/new");
    assert!(removed > 2);
    assert_eq!(missed, removed);
    assert_eq!(orderings, [(Some("rename /state"), removed, removed)], "the bytes come before the name");
    // The name need only be durable before the next acknowledgement, and the note comes before that.
    let (removed, missed, orderings) = of_site("sync directory", "/");
    assert_eq!(missed, removed);
    assert_eq!(orderings.iter().map(|(_, weakened, _)| weakened).sum::<usize>(), removed);
    assert!(orderings.iter().all(|(before, _, missed)| before.unwrap().contains("/note") && *missed == 0));
    assert_eq!(of_site("sync data", "/note").1, 0);
    assert_eq!(Audit { jobs: 1, ..audit }.run(|| false, |_, _| {}).unwrap(), report);
}

#[test]
fn a_removal_that_was_cut_short_says_nothing() {
    let (plans, factory) = ([plan()], Batches::<Noting>::new());
    let audit = Audit { bound: 30, jobs: 1, ..audit(&plans, &factory) };
    let asked = AtomicUsize::new(0);
    let ask = || asked.fetch_add(1, Ordering::Relaxed);
    audit.baseline(&plans[0], &|| ask() == usize::MAX).unwrap();
    // It may go on for some images of the first removal.
    let last = asked.swap(0, Ordering::Relaxed) + 8;
    let report = audit.run(|| ask() >= last, |_, _| {}).unwrap();
    assert!(!report.baseline[0].was_stopped && !report.sites.is_empty());
    assert!(report.sites.iter().all(|site| site.removed == 0 && site.necessity.is_none()));
    assert!(asked.into_inner() <= last + 2, "it went on");
}

#[test]
fn a_store_that_fails_with_every_sync_in_place_is_not_audited() {
    let (plans, factory) = ([plan()], Batches::<Hasty>::new());
    let error = audit(&plans, &factory).run(|| false, |_, _| {}).unwrap_err();
    assert!(matches!(error, ExplorationError::Baseline(finding) if finding.is_reproduced()));
}

#[test]
fn what_its_own_plan_does_not_show_makes_no_sync_necessary() {
    let mut plan = short(StoreKind::Engine, Profile::PosixWorst);
    plan.steps.truncate(12);
    let plans = [plan];
    let run = |factory: &Forgetful| {
        let audit = Audit { bound: 2, jobs: 1, ..audit(&plans, factory) };
        audit.run(|| false, |_, _| {}).unwrap()
    };
    let sound = Forgetful::after(u64::MAX - 1);
    let audited = Audit { bound: 2, jobs: 1, ..audit(&plans, &sound) };
    audited.baseline(&plans[0], &|| false).unwrap();
    let of_baseline = sound.openings();
    let expected = run(&Forgetful::after(u64::MAX - 1));
    let is_unreproduced = |openings: u64| {
        let report = run(&Forgetful::after(of_baseline + openings));
        let missed = |report: &AuditReport| report.sites.iter().map(|site| site.missed).sum::<usize>();
        assert!(missed(&report) <= missed(&expected));
        report.sites.iter().any(|site| site.unreproduced.is_some())
    };
    assert!((20..60).any(is_unreproduced), "no opening of a trial was struck");
}
