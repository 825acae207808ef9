//! From a seed to a plan.
//!
//! Each seed first draws its own mix (`Mix`): which operations it uses and how often, which keys and value sizes,
//! how many clients, how the store is opened and how the disk crashes. Most mixes leave something out, and that is
//! the point (swarm testing: Groce et al., ISSTA 2012): a bug that needs two hundred inserts in a row hides from a
//! mix that always deletes as often as it inserts.
//!
//! The scripts are then written client by client and step by step, with a rough idea of what is open where, so that
//! most steps make sense. What the generator cannot know (when a crash strikes, whether a begin is refused) it
//! ignores: the runner skips steps that make no sense.
//!
//! Every value is unique within its plan.

mod crashes;
mod faults;
mod keys;
mod marks;
mod mix;
mod script;
mod serial;
mod timing;
mod torture;
mod trouble;

use crate::disk::FaultKind;
use crate::plan::{Plan, Schedule, Step, Threads};
use crate::random::Streams;
use crate::store::StoreKind;

use self::faults::FaultMix;
use self::keys::KeySpace;
use self::mix::Mix;
use self::script::Script;
pub(crate) use self::serial::Serial;
pub use self::torture::{Torture, torture};

/// The plan that `seed` stands for. Equal arguments give equal plans, in every build of one version.
///
/// The workload does not depend on the store, so that stores can be compared on one seed; only faults that a store is
/// [spared](crate::store::StoreFactory::is_spared) are not in its plans.
pub fn generate(seed: u64, store: StoreKind) -> Plan {
    let streams = Streams::new(seed);
    let mix = Mix::draw(&streams);
    let faults = FaultMix::draw(&mut streams.stream("fault mix"));
    write(seed, store, &mix, &faults, &streams)
}

/// Where the plans of seeds come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Everything that can happen to a store, in the plan's own order.
    #[default]
    Sequential,
    /// The same, with clients that are tasks in virtual time.
    Tasks,
    /// The same, with clients that are threads.
    Threads,
    /// Threads that are after each other.
    Torture(Torture),
}

impl Source {
    /// The plan that `seed` stands for.
    pub fn plan(&self, seed: u64, store: StoreKind) -> Plan {
        match self {
            Source::Sequential => generate(seed, store),
            Source::Tasks => {
                let tasks = timing::draw(seed, &mut Streams::new(seed).stream("tasks"));
                Plan { schedule: Schedule::Tasks(tasks), ..generate(seed, store) }
            }
            Source::Threads => {
                let mut rng = Streams::new(seed).stream("threads");
                let draws = torture::draws(seed, &mut rng, &Torture::default());
                Plan { schedule: Schedule::Threads(Threads::Drawn(draws)), ..generate(seed, store) }
            }
            Source::Torture(knobs) => torture(seed, store, knobs),
        }
    }
}

/// The plan that `seed` stands for, with faults of this kind in it, and without any other trouble but power losses.
pub fn generate_with(kind: FaultKind, seed: u64, store: StoreKind) -> Plan {
    let streams = Streams::new(seed);
    let mix = Mix { full_disks: 0, failing_calls: 0, ..Mix::draw(&streams) };
    let faults = FaultMix::only(kind, &mut streams.stream("fault mix"));
    write(seed, store, &mix, &faults, &streams)
}

fn write(seed: u64, store: StoreKind, mix: &Mix, faults: &FaultMix, streams: &Streams) -> Plan {
    let keys = KeySpace::draw(&mut streams.stream("keys"), &mix.keys);
    let mut steps = Script::new(mix, &keys, faults, streams).write();
    let factory = store.factory();
    steps.retain(|step| match step {
        Step::Fault(fault) => !factory.is_spared(fault.kind, &mix.config),
        _ => true,
    });
    Plan { seed: Some(seed), config: mix.config.clone(), disk: mix.disk, steps, ..Plan::new(store) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proofmark_model::Operation;

    use super::*;
    use crate::plan::{Action, Begin, Cursor};

    #[test]
    fn the_same_seed_is_the_same_plan() {
        for seed in 0..50 {
            assert_eq!(generate(seed, StoreKind::Redb), generate(seed, StoreKind::Redb));
        }
    }

    #[test]
    fn seeds_differ_and_stores_do_not_matter() {
        assert_ne!(generate(1, StoreKind::Redb).steps, generate(2, StoreKind::Redb).steps);
        let (mut kept, mut spared) = (0, 0);
        for seed in 0..100 {
            let mut engine = generate(seed, StoreKind::Engine);
            let is_spared = |step: &Step| match step {
                Step::Fault(fault) => StoreKind::Redb.factory().is_spared(fault.kind, &engine.config),
                _ => false,
            };
            let before = engine.steps.len();
            let steps = std::mem::take(&mut engine.steps);
            engine.steps = steps.into_iter().filter(|step| !is_spared(step)).collect();
            spared += before - engine.steps.len();
            kept += engine.steps.iter().filter(|step| matches!(step, Step::Fault(_))).count();
            assert_eq!(generate(seed, StoreKind::Redb).steps, engine.steps, "seed {seed}");
        }
        assert!(kept > 0 && spared > 0, "{kept} faults, and {spared} that are left out");
    }

    #[test]
    fn every_value_of_a_plan_is_unique() {
        for seed in 0..50 {
            let mut seen = BTreeSet::new();
            for step in generate(seed, StoreKind::Engine).steps {
                if let Step::Client(_, Action::Operation(Operation::Put { value, .. })) = step {
                    assert!(value.len() >= 8, "a value too short to be unique");
                    assert!(seen.insert(value), "seed {seed} writes a value twice");
                }
            }
        }
    }

    /// A generator that silently stops generating something is a check that can no longer fail.
    #[test]
    fn every_kind_of_step_occurs() {
        let mut seen = [0usize; 28];
        let mut faults = BTreeSet::new();
        let mut clients = BTreeSet::new();
        let mut operations = 0;
        for seed in 0..400 {
            for step in generate(seed, StoreKind::Engine).steps {
                if let Step::Client(client, _) = &step {
                    clients.insert(*client);
                    operations += 1;
                }
                let kind = match step {
                    Step::Checkpoint => 0,
                    Step::Verify => 1,
                    Step::Reopen => 2,
                    Step::Crash(spec) if spec.strikes.len() == 1 => 3,
                    Step::Crash(_) => 4,
                    Step::Client(_, Action::Begin(Begin::Read)) => 5,
                    Step::Client(_, Action::Begin(Begin::ReadBack(_))) => 6,
                    Step::Client(_, Action::Begin(Begin::Write)) => 7,
                    Step::Client(_, Action::Commit(_)) => 8,
                    Step::Client(_, Action::Abort) => 9,
                    Step::Client(_, Action::Operation(Operation::Get { .. })) => 10,
                    Step::Client(_, Action::Operation(Operation::Scan { .. })) => 11,
                    Step::Client(_, Action::Operation(Operation::Put { .. })) => 12,
                    Step::Client(_, Action::Operation(Operation::Delete { .. })) => 13,
                    Step::Client(_, Action::Operation(Operation::DeleteRange { .. })) => 14,
                    Step::Client(_, Action::Operation(Operation::Savepoint { .. })) => 15,
                    Step::Client(_, Action::Operation(Operation::Rollback { .. })) => 16,
                    Step::Client(_, Action::Begin(Begin::Optimistic)) => 17,
                    Step::Client(_, Action::Submit) => 18,
                    Step::Client(_, Action::Wait) => 19,
                    Step::Changes { cursor: Cursor::Saved, .. } => 20,
                    Step::Changes { cursor: Cursor::Back(_), .. } => 21,
                    Step::Compact => 22,
                    Step::Backup => 23,
                    Step::Space(Some(_)) => 24,
                    Step::Space(None) => 25,
                    Step::Fault(fault) => {
                        faults.insert(fault.kind);
                        26
                    }
                    Step::Heal => 27,
                    // `marks` counts its own.
                    Step::Abandon
                    | Step::Switch(_)
                    | Step::Client(
                        _,
                        Action::Mark { .. }
                        | Action::Restore(_)
                        | Action::Forget(_)
                        | Action::Tend
                        | Action::Panic,
                    ) => continue,
                };
                seen[kind] += 1;
            }
        }
        let (rare, common) = (&seen[22..], &seen[..22]);
        assert!(common.iter().all(|count| *count > 50), "something hardly ever occurs: {seen:?}");
        assert!(rare.iter().all(|count| *count > 3), "something rare never occurs: {seen:?}");
        assert!(FaultKind::all().all(|kind| faults.contains(&kind)), "only {faults:?}");
        assert_eq!(clients.len(), 6);
        assert!((150..=420).contains(&(operations / 400)), "{operations} client steps in 400 seeds");
    }
}
