//! What exploration finds, what it leaves alone, and that its plans repeat it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark_model::{History, Key, Mutation, Value, text};
use proofmark_vfs::{OpenMode, Vfs};

use super::finding::Loss;
use super::*;
use crate::disk::{Fault, FaultKind, Granule, Keep, Profile};
use crate::plan::Step;
use crate::run::{resume, run_plan};
use crate::store::{BatchStore, Batches, Engine, Redb, StoreKind};

/// The built-in workload, up to its first checkpoint and a commit after it, under a profile.
fn short(store: StoreKind, profile: Profile) -> Plan {
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

/// The heart of it: what is judged is a run that a plan can repeat.
#[test]
fn what_follows_a_power_loss_is_what_follows_it_in_a_whole_run() {
    let mut with_faults = short(StoreKind::Engine, Profile::Btrfs);
    with_faults.steps.insert(0, Step::Fault(Fault::once(FaultKind::SyncLost, 9)));
    with_faults.steps.insert(30, Step::Fault(Fault::every(FaultKind::SyncLate, 4)));
    let engine = short(StoreKind::Engine, Profile::PosixWorst);
    for plan in [engine, short(StoreKind::Redb, Profile::Xfs), with_faults] {
        let factory = plan.store.factory();
        let follow_up = FollowUp::new(&plan);
        let recording = Recording::new(&plan, factory, ALL_CALLS);
        let moments = recording.moments(factory);
        assert!(moments.len() > 20);
        let (last, others) = moments.split_last().unwrap();
        for (index, moment) in others.iter().enumerate() {
            let call = moment.boundary.call.number;
            let keep = [Keep::None, Keep::All, Keep::Random { permille: 500, seed: call }][index % 3].clone();
            let disk = moment.boundary.disk.image(&keep);
            let past = &recording.events()[..moment.event_count];
            let steps = &follow_up.after_power_loss;
            let resumed = resume(factory, &plan.config, &disk, past, steps, None);
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
    let plan = short(StoreKind::Engine, Profile::Strict);
    let asked = AtomicUsize::new(0);
    let coverage = exploration(&plan, 4).run(|| asked.fetch_add(1, Ordering::Relaxed) >= 10, |_| {}).unwrap();
    assert!(coverage.was_stopped);
    assert_eq!(coverage.boundaries.len(), 10);
}

/// A store that writes its state anew, and next to it a note that nobody reads.
struct Noting {
    vfs: Arc<dyn Vfs>,
    state: BTreeMap<Key, Value>,
}

impl Noting {
    fn write(&self, name: &str, lines: &str) -> io::Result<()> {
        let file = self.vfs.open(Path::new(name), OpenMode::CreateTruncate)?;
        file.write_all_at(lines.as_bytes(), 0)?;
        file.sync_data()
    }
}

impl BatchStore for Noting {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Noting> {
        let mut state = BTreeMap::new();
        if let Ok(file) = vfs.open(Path::new("/state"), OpenMode::Read) {
            let mut bytes = vec![0; file.size()? as usize];
            file.read_exact_at(&mut bytes, 0)?;
            let lines = String::from_utf8(bytes).map_err(io::Error::other)?;
            let pair = |mut line: text::Cursor<'_>| Ok((line.bytes()?, line.value()?));
            let read = text::lines(&lines).map(pair).collect::<Result<_, text::ParseError>>();
            state = read.map_err(io::Error::other)?;
        }
        // What a process that died had not made durable is made so now.
        vfs.sync_directory(Path::new("/"))?;
        Ok(Noting { vfs, state })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        for Mutation { key, value } in batch {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        let line =
            |(key, value): (&Key, &Value)| format!("{} {}\n", text::BytesText(key), text::ValueText(value));
        self.write("/new", &self.state.iter().map(line).collect::<String>())?;
        self.vfs.rename(Path::new("/new"), Path::new("/state"))?;
        self.vfs.sync_directory(Path::new("/"))?;
        self.write("/note", &format!("{} keys", self.state.len()))
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        Ok(self.state.clone())
    }
}

#[test]
fn an_audit_tells_a_sync_that_is_missed_from_one_that_is_not() {
    let mut plan = Plan::new(StoreKind::Engine);
    plan.steps = built_in(StoreKind::Engine).steps;
    plan.steps.truncate(20);
    Profile::PosixWorst.apply(&mut plan.disk);
    let factory = Batches::<Noting>::new();
    let audit = Audit { plans: &[plan], factory: &factory, bound: 6, boundaries_max: 12, jobs: 2 };
    let reports = audit.run(|| false, |_, _| {}).unwrap();
    let verdict = |operation: &str, file: &str| {
        let is_meant = |report: &&AuditReport| report.site.operation == operation && report.site.file == file;
        let reports: Vec<&AuditReport> =
            reports.iter().filter(is_meant).filter(|report| report.removed > 0).collect();
        let necessities = reports.iter().filter_map(|report| report.necessity.as_ref());
        assert!(necessities.clone().all(|necessity| necessity.finding.is_reproduced()));
        (reports.len(), necessities.count())
    };
    assert_eq!(verdict("sync data", "/new"), (1, 1));
    assert_eq!(verdict("sync directory", "/"), (1, 1));
    assert_eq!(verdict("sync data", "/note"), (1, 0));
    let alone = audit.run(|| false, |_, _| {}).unwrap();
    assert_eq!(Audit { jobs: 1, ..audit }.run(|| false, |_, _| {}).unwrap(), alone);
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
