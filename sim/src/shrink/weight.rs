//! Which of two plans is lighter: one total order, so that shrinking can't go in circles.
//!
//! What makes a plan hard to understand comes first: every power loss, then every step. What is only a matter of taste,
//! such as names, comes last.

use std::collections::BTreeSet;
use std::ops::Bound;

use proofmark_model::text::BytesText;
use proofmark_model::{Durability, KeyRange, Operation, recognize};

use crate::disk::{Choice, DiskOptions, Fault, Granule, Keep, Moment, Occasion, Profile};
use crate::plan::{Action, Begin, Config, Cursor, Plan, Schedule, Step, Threads};

/// The weight of a plan. Compared field by field, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Weight {
    /// How many ways there are to interleave the clients.
    schedule: u64,
    strikes: usize,
    steps: usize,
    /// How often a thread loses its turn.
    switches: u64,
    faults: u64,
    /// How much the disk may forget.
    disk: u64,
    survivors: u64,
    /// How far operations are from the plainest of their kind.
    operations: u64,
    settings: u64,
    clients: usize,
    /// At which calls, and at which moments of them, the power fails.
    calls: u64,
    /// The keys and values.
    bytes: u64,
    /// How many steps lie between each crash step and the end: it is to stand where it strikes.
    places: u64,
    /// How long keys are when they are written down, and then numbers of clients and values.
    names: u64,
}

impl Weight {
    pub(super) fn of(plan: &Plan) -> Weight {
        let mut weight = Weight {
            schedule: schedule(plan.schedule),
            disk: disk(&plan.disk),
            settings: settings(&plan.config),
            // A small plan is no longer the one that the seed stands for.
            names: u64::from(plan.seed.is_some()),
            ..Weight::default()
        };
        weight.faults += plan.sabotage.iter().map(fault).sum::<u64>();
        let mut clients = BTreeSet::new();
        for (index, step) in plan.steps.iter().enumerate() {
            weight.steps += 1;
            match step {
                Step::Switch(switch) => {
                    weight.steps -= 1;
                    weight.switches += 1;
                    weight.calls += u64::from(switch.point);
                }
                Step::Client(client, action) => {
                    clients.insert(*client);
                    weight.names += u64::from(client.0) + label(action);
                    weight.action(action);
                }
                Step::Crash(spec) => {
                    weight.places += (plan.steps.len() - index) as u64;
                    for strike in &spec.strikes {
                        weight.strikes += 1;
                        weight.survivors += survivors(&strike.keep);
                        weight.calls += 4 * strike.call.min(NUMBER_MAX) + moment(strike.moment);
                    }
                }
                Step::Fault(planted) => weight.faults += fault(planted),
                Step::Heal => weight.faults += FAULT,
                Step::Space(bytes) => {
                    weight.faults += FAULT + bytes.map_or(0, |bytes| 1 + bytes.min(NUMBER_MAX));
                }
                Step::Changes { cursor, limit } => {
                    weight.operations += u64::from(*limit != usize::MAX);
                    if let Cursor::Back(back) = cursor {
                        weight.operations += 1 + back.unsigned_abs().min(NUMBER_MAX);
                    }
                }
                Step::Compact | Step::Reopen => weight.operations += 1,
                Step::Abandon => weight.operations += 2,
                Step::Checkpoint | Step::Backup | Step::Verify => {}
            }
        }
        weight.clients = clients.len();
        weight
    }

    fn action(&mut self, action: &Action) {
        self.operations += match action {
            Action::Begin(Begin::ReadBack(back)) => 1 + back.unsigned_abs().min(NUMBER_MAX),
            Action::Begin(Begin::Optimistic) | Action::Submit | Action::Commit(Durability::Buffered) => 1,
            Action::Begin(Begin::Read | Begin::Write) | Action::Commit(_) | Action::Wait | Action::Abort => 0,
            Action::Mark { is_persistent, .. } => u64::from(*is_persistent),
            Action::Restore(_) | Action::Forget(_) => 0,
            Action::Tend | Action::Panic => 1,
            Action::Operation(operation) => {
                self.data(operation);
                complexity(operation)
            }
        };
    }

    fn data(&mut self, operation: &Operation) {
        let key = |weight: &mut Weight, key: &[u8]| {
            // An empty key is a special case, and has to be needed.
            weight.bytes += if key.is_empty() { 2 } else { key.len() as u64 };
            let length = BytesText(key).to_string().len().min(1 << 12) as u64;
            weight.names += (length << 32) + key.first().copied().map_or(0, u64::from);
        };
        match operation {
            Operation::Get { key: one } | Operation::Delete { key: one } => key(self, one),
            Operation::Put { key: one, value } => {
                key(self, one);
                self.bytes += value.len() as u64;
                // A value that nobody made looks worse than any number.
                self.names += recognize(value).map_or(NUMBER_MAX, |(id, _)| id.min(NUMBER_MAX));
            }
            Operation::Scan { range, .. } | Operation::DeleteRange { range } => {
                bounds(range).for_each(|one| key(self, one));
            }
            Operation::Savepoint { savepoint } | Operation::Rollback { savepoint } => {
                self.names += u64::from(savepoint.0);
            }
        }
    }
}

/// Each fault weighs more than anything about it.
const FAULT: u64 = 1 << 40;
/// Numbers beyond this weigh the same: no run gets that far, and sums stay small.
const NUMBER_MAX: u64 = 1 << 32;
/// Survivors that are named, before any is.
const CHOSEN: u64 = 4;
/// Survivors that only a random number knows.
const UNREADABLE: u64 = 1 << 40;

/// The keys at which a range begins and ends.
pub(super) fn bounds(range: &KeyRange) -> impl Iterator<Item = &[u8]> {
    [&range.start, &range.end].into_iter().filter_map(|bound| match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key.as_slice()),
        Bound::Unbounded => None,
    })
}

fn complexity(operation: &Operation) -> u64 {
    let open = |range: &KeyRange| bounds(range).count() as u64;
    match operation {
        Operation::Get { .. } | Operation::Put { .. } | Operation::Delete { .. } => 0,
        Operation::Scan { range, limit, reverse } => {
            1 + open(range) + u64::from(*limit != usize::MAX) + u64::from(*reverse)
        }
        Operation::DeleteRange { range } => 1 + open(range),
        Operation::Savepoint { .. } | Operation::Rollback { .. } => 1,
    }
}

/// The number of the mark that an action is about.
fn label(action: &Action) -> u64 {
    match action {
        Action::Mark { mark, .. } | Action::Restore(mark) | Action::Forget(mark) => u64::from(mark.0),
        _ => 0,
    }
}

/// A fault is plain that strikes once, anywhere, and soon.
fn fault(fault: &Fault) -> u64 {
    let Fault { kind: _, error, scope, when, count } = fault;
    let occasion = match when {
        Occasion::Nth(nth) => nth.min(&NUMBER_MAX) * 8,
        Occasion::Every(every) => 8 * NUMBER_MAX + every.min(&NUMBER_MAX),
        Occasion::Rate { .. } => 16 * NUMBER_MAX,
    };
    let often = match count {
        Some(count) => count.min(&NUMBER_MAX).saturating_sub(1) * 8,
        None => 8 * NUMBER_MAX,
    };
    let words = [error.is_some(), scope.file.is_some(), scope.range.is_some()];
    FAULT + occasion + often + words.into_iter().map(u64::from).sum::<u64>()
}

fn schedule(schedule: Schedule) -> u64 {
    match schedule {
        Schedule::Sequential => 0,
        Schedule::Threads(Threads::Recorded) => 1,
        Schedule::Threads(Threads::Drawn(_)) => 2,
        Schedule::Tasks(_) => 3,
    }
}

fn disk(options: &DiskOptions) -> u64 {
    // The largest granule tears least.
    let granule = Granule::ALL.iter().rev().position(|granule| *granule == options.granule);
    let dirty = options.dirty_bytes_max != DiskOptions::default().dirty_bytes_max;
    100 * profile(options) + 10 * granule.unwrap_or_default() as u64 + u64::from(dirty)
}

/// How much more than the strictest file system it forgets, whatever its granule. What no profile does comes last.
fn profile(options: &DiskOptions) -> u64 {
    match Profile::of(options) {
        Some(Profile::Strict) => 0,
        Some(Profile::Btrfs | Profile::Ext4Ordered) => 1,
        Some(Profile::Xfs) => 2,
        Some(Profile::PosixWorst) => 3,
        None => 4,
    }
}

fn settings(config: &Config) -> u64 {
    let default = Config::default();
    let changed = [
        config.page_size != default.page_size,
        config.cache_bytes != default.cache_bytes,
        config.segment_bytes != default.segment_bytes,
        config.spare_segments != default.spare_segments,
        config.log_chunk_bytes != default.log_chunk_bytes,
        config.stream_bytes != default.stream_bytes,
        config.write_tier_bytes != default.write_tier_bytes,
        config.retention != default.retention,
        config.prune != default.prune,
        config.two_phase_commit != default.two_phase_commit,
        config.quick_repair != default.quick_repair,
    ];
    changed.into_iter().map(u64::from).sum()
}

fn survivors(keep: &Keep) -> u64 {
    match keep {
        Keep::None => 0,
        Keep::All => 1,
        Keep::PageCache => 2,
        Keep::Prefix { .. } => 3,
        Keep::Chosen(choice) => chosen(choice),
        Keep::Random { .. } | Keep::AllButOne { .. } | Keep::OnlyOne { .. } => UNREADABLE,
    }
}

/// By how many runs of effects and granules it takes to name the survivors, and then by how many those are.
fn chosen(choice: &Choice) -> u64 {
    let text = choice.to_string();
    let runs = text.trim_start_matches("chosen:").split(['+', '[', ']']).filter(|run| !run.is_empty());
    let length = |run: &str| {
        let (start, end) = run.split_once("..")?;
        end.parse::<u64>().ok()?.checked_sub(start.parse().ok()?)
    };
    runs.fold(CHOSEN, |weight, run| weight + (1 << 20) + length(run).unwrap_or(1).min(1 << 12))
}

fn moment(moment: Moment) -> u64 {
    match moment {
        Moment::Before => 0,
        Moment::After => 1,
        Moment::During => 2,
    }
}
