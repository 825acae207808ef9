//! Bugs, planted one at a time, to prove that each checker finds what it is there for.
//!
//! A [`Fault`] is a bug in a wrapper around the engine or a peer, or a disk that lies, together with the examination that has to
//! find it and the checkers that may report it. [`FAULTS`] is all of them. The engine itself is never touched: without
//! the fault, the same seeds have to pass, and the wrapper without a bug is [`honest`].

mod calls;
mod commits;
mod failures;
mod history;
mod marks;
mod reads;
mod recovery;
mod streams;
mod troubles;
mod wrap;
mod writes;

use std::sync::Arc;

use proofmark_model::{Checker, Violation};
use proofmark_sim::disk::{self, FaultKind};
use proofmark_sim::plan::Plan;
use proofmark_sim::run::{Run, run_plan};
use proofmark_sim::store::{Engine, StoreFactory, StoreKind};
use proofmark_sim::workload::{generate, generate_with};

use self::marks::{MarkBug, Marked};
use self::wrap::{Bug, Buggy, Honest};
use crate::pairs;

/// One planted fault.
#[derive(Debug)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub what: &'static str,
    /// Where it sits.
    pub site: Site,
    /// What is done to find it.
    pub examination: Examination,
    /// The checkers that may be the first to report it.
    pub caught_by: &'static [Checker],
}

/// Where a fault sits.
#[derive(Debug)]
pub enum Site {
    /// In the store.
    Store(StoreBug),
    /// In a store that is not ours.
    Peer(fn() -> Arc<dyn StoreFactory>),
    /// In the disk: the text form of a [`disk::Fault`].
    Disk(&'static str),
}

/// Makes the buggy store of one run.
pub struct StoreBug(fn() -> Arc<dyn Bug>);

/// How a seed examines a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examination {
    /// The plan of the seed, judged by all checkers of one history.
    Run,
    /// The plan of the seed with announced faults of this kind, which suspend some promises, and power losses.
    Faults(FaultKind),
    /// Transactions in two orders.
    Orders,
    /// Transactions in two batchings.
    Batchings,
}

impl std::fmt::Debug for StoreBug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (self.0)().fmt(f)
    }
}

impl StoreBug {
    /// A store with this bug.
    pub fn store(&self) -> Arc<dyn StoreFactory> {
        Arc::new(Buggy::new((self.0)()))
    }
}

impl Fault {
    /// The plan by which `seed` examines the store with this fault; none if it compares runs of several.
    pub fn plan(&self, seed: u64) -> Option<Plan> {
        let mut plan = self.examination.plan(seed)?;
        if let Site::Disk(text) = &self.site {
            plan.sabotage.push(text.parse().expect("the table's sabotages are spelled right"));
        }
        Some(plan)
    }

    /// Runs a plan on the store with this fault. A fault of the disk is the plan's own.
    pub fn run(&self, plan: &Plan) -> Run {
        match &self.site {
            Site::Store(bug) => run_plan(plan, &Buggy::new((bug.0)())),
            Site::Peer(make) => run_plan(plan, &*make()),
            Site::Disk(_) => run_plan(plan, &Engine),
        }
    }

    /// Lets `seed` examine the store with this fault.
    ///
    /// # Errors
    /// The violation it finds.
    pub fn examine(&self, seed: u64) -> Result<(), Violation> {
        match &self.site {
            Site::Store(bug) => self.examination.examine(&Buggy::new((bug.0)()), seed, None),
            Site::Peer(make) => self.examination.examine(&*make(), seed, None),
            Site::Disk(text) => {
                let sabotage = text.parse().expect("the table's sabotages are spelled right");
                self.examination.examine(&Engine, seed, Some(sabotage))
            }
        }
    }
}

impl Examination {
    /// The plan that `seed` stands for; none if it compares runs of several.
    fn plan(self, seed: u64) -> Option<Plan> {
        match self {
            Examination::Run => Some(generate(seed, StoreKind::Engine)),
            Examination::Faults(kind) => Some(generate_with(kind, seed, StoreKind::Engine)),
            Examination::Orders | Examination::Batchings => None,
        }
    }

    /// Lets `seed` examine `store`, on a disk that lies if it is told to.
    ///
    /// # Errors
    /// The violation it finds.
    pub fn examine(
        self,
        store: &dyn StoreFactory,
        seed: u64,
        sabotage: Option<disk::Fault>,
    ) -> Result<(), Violation> {
        if let Some(mut plan) = self.plan(seed) {
            plan.sabotage.extend(sabotage);
            return run_plan(&plan, store).verdict;
        }
        match self {
            Examination::Run | Examination::Faults(_) => unreachable!("these have a plan"),
            Examination::Orders => pairs::examine_orders(store, seed),
            Examination::Batchings => pairs::examine_batchings(store, seed),
        }
    }
}

/// The engine in the same wrapper as every buggy store, without a bug.
pub fn honest() -> impl StoreFactory {
    Buggy::new(Arc::new(Honest))
}

const fn store(
    name: &'static str,
    what: &'static str,
    examination: Examination,
    caught_by: &'static [Checker],
    bug: fn() -> Arc<dyn Bug>,
) -> Fault {
    Fault { name, what, site: Site::Store(StoreBug(bug)), examination, caught_by }
}

/// The store that is not ours in the same wrapper as the buggy ones, without a bug.
pub fn honest_peer() -> impl StoreFactory {
    Marked::new(MarkBug::None)
}

const fn marks(
    name: &'static str,
    what: &'static str,
    caught_by: &'static [Checker],
    make: fn() -> Arc<dyn StoreFactory>,
) -> Fault {
    Fault { name, what, site: Site::Peer(make), examination: Examination::Run, caught_by }
}

const fn disk(sabotage: &'static str, what: &'static str) -> Fault {
    use Checker::{Availability, CrashPrefix, Structure};
    Fault {
        name: sabotage,
        what,
        site: Site::Disk(sabotage),
        examination: Examination::Run,
        caught_by: &[CrashPrefix, Availability, Structure],
    }
}

/// Every fault.
pub const FAULTS: &[Fault] = {
    use Checker::{
        Availability, Backup, BatchEquivalence, CommitStream, Commutativity, CrashPrefix, Marks,
        SnapshotIsolation, Structure,
    };
    use Examination::{Batchings, Faults, Orders, Run};
    &[
        store(
            "hasty commit",
            "acknowledges every third durable commit before it is durable",
            Run,
            &[CrashPrefix],
            || Arc::new(recovery::HastyCommit::default()),
        ),
        store(
            "idle sync",
            "a durable commit that changes nothing makes nothing before it durable",
            Run,
            &[CrashPrefix],
            || Arc::new(recovery::IdleSync),
        ),
        store("undone commit", "a recovery undoes the last commit", Run, &[CrashPrefix], || {
            Arc::new(recovery::UndoneCommit { only_half: false })
        }),
        store("half recovered", "a recovery undoes half of the last commit", Run, &[CrashPrefix], || {
            Arc::new(recovery::UndoneCommit { only_half: true })
        }),
        store(
            "resurrected version",
            "a recovery brings back a value that was overwritten or removed",
            Run,
            &[CrashPrefix],
            || Arc::new(recovery::ResurrectedVersion),
        ),
        store(
            "resurrected abort",
            "a recovery carries out the last transaction that was aborted",
            Run,
            &[CrashPrefix],
            || Arc::new(recovery::ResurrectedAbort::default()),
        ),
        store("stale snapshot", "readers get the state before the latest", Run, &[SnapshotIsolation], || {
            Arc::new(reads::StaleSnapshot::default())
        }),
        store(
            "AS OF off by one",
            "a read as of a commit sees the one before",
            Run,
            &[SnapshotIsolation],
            || Arc::new(reads::AsOfOffByOne),
        ),
        store("no past", "every commit but the latest is said to be gone", Run, &[SnapshotIsolation], || {
            Arc::new(history::NoPast)
        }),
        store(
            "short memory",
            "a checkpoint keeps the latest state only, whatever it is told to keep",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(history::ShortMemory),
        ),
        store(
            "oldest is latest",
            "the oldest commit that can be read is said to be the latest",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(history::OldestIsLatest),
        ),
        store(
            "dirty read",
            "readers see what the open writer has written",
            Run,
            &[SnapshotIsolation],
            || Arc::new(reads::DirtyRead::default()),
        ),
        store(
            "moving snapshot",
            "a reader that is open during a checkpoint goes on with the state after it",
            Run,
            &[SnapshotIsolation],
            || Arc::new(reads::MovingSnapshot::default()),
        ),
        store("forgetful writer", "a writer does not see its own writes", Run, &[SnapshotIsolation], || {
            Arc::new(reads::ForgetfulWriter)
        }),
        store("short scan", "a scan backwards stops one pair early", Run, &[SnapshotIsolation], || {
            Arc::new(reads::ShortScan)
        }),
        store(
            "busy lie",
            "every tenth writer is told that there is another",
            Run,
            &[SnapshotIsolation],
            || Arc::new(reads::BusyLie::default()),
        ),
        store("second writer", "a writer is let in while another is open", Run, &[SnapshotIsolation], || {
            Arc::new(reads::SecondWriter)
        }),
        store(
            "half batch, by reads",
            "a commit carries out the first half of its mutations",
            Run,
            &[SnapshotIsolation, CrashPrefix, CommitStream],
            || Arc::new(writes::HalfBatch),
        ),
        store(
            "order-sensitive put",
            "a put is lost if the transaction before wrote a larger key",
            Orders,
            &[Commutativity],
            || Arc::new(writes::OrderSensitivePut::default()),
        ),
        store("greedy delete", "a delete takes the next key with it", Orders, &[Commutativity], || {
            Arc::new(writes::GreedyDelete)
        }),
        store(
            "half batch",
            "a commit carries out the first half of its mutations",
            Batchings,
            &[BatchEquivalence],
            || Arc::new(writes::HalfBatch),
        ),
        store(
            "delete wins",
            "a put is lost if the same transaction removed its key before",
            Batchings,
            &[BatchEquivalence],
            || Arc::new(writes::DeleteWins),
        ),
        store("false alarm", "every fifth check finds damage where there is none", Run, &[Structure], || {
            Arc::new(failures::FalseAlarm::default())
        }),
        store("rotten byte", "one byte of the data file is wrong", Run, &[Structure], || {
            Arc::new(failures::RottenByte::default())
        }),
        store("lost store", "every second recovery fails", Run, &[Availability], || {
            Arc::new(failures::LostStore::default())
        }),
        store("full disk", "every twentieth commit fails", Run, &[Availability], || {
            Arc::new(failures::FullDisk::default())
        }),
        store(
            "missed conflict",
            "of two transactions that wrote one key both commit",
            Run,
            &[SnapshotIsolation],
            || Arc::new(commits::MissedConflict),
        ),
        store(
            "spurious conflict",
            "every fifth optimistic commit is said to conflict",
            Run,
            &[SnapshotIsolation],
            || Arc::new(commits::SpuriousConflict::default()),
        ),
        store(
            "half rollback",
            "going back to a savepoint leaves the last write as it is",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(commits::HalfRollback),
        ),
        store(
            "tolerant rollback",
            "a savepoint that is gone is gone back to without a word",
            Run,
            &[SnapshotIsolation],
            || Arc::new(commits::TolerantRollback),
        ),
        store(
            "short range",
            "a range that is removed keeps its last key",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(commits::ShortRange),
        ),
        store(
            "visible too early",
            "what is handed in is visible at once",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(commits::VisibleTooEarly),
        ),
        store(
            "idle wait",
            "waiting for a commit that was handed in waits for nothing",
            Run,
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(commits::IdleWait),
        ),
        store(
            "late commit",
            "a commit that found no space is carried out by the next recovery",
            Run,
            &[CrashPrefix],
            || Arc::new(commits::LateCommit::default()),
        ),
        store(
            "no space lie",
            "every twentieth commit is said to find no space",
            Run,
            &[Availability],
            || Arc::new(commits::NoSpaceLie::default()),
        ),
        store("gap in the stream", "the stream leaves out a transaction", Run, &[CommitStream], || {
            Arc::new(streams::StreamGap)
        }),
        store("stream of puts", "the stream leaves out what was removed", Run, &[CommitStream], || {
            Arc::new(streams::StreamOfPuts)
        }),
        store("silent gap", "who fell behind in the stream is not told", Run, &[CommitStream], || {
            Arc::new(streams::SilentGap)
        }),
        store(
            "forgetful compaction",
            "a compaction keeps the latest state only",
            Run,
            &[SnapshotIsolation, CommitStream],
            || Arc::new(streams::ForgetfulCompaction::default()),
        ),
        store(
            "late backup",
            "a backup holds the states before those that it should hold",
            Run,
            &[Backup],
            || Arc::new(streams::LateBackup),
        ),
        store("backup without history", "a backup holds the latest state only", Run, &[Backup], || {
            Arc::new(streams::BackupWithoutHistory)
        }),
        store(
            "half a write",
            "a write that took some of the bytes counts as done",
            Faults(FaultKind::ShortWrite),
            &[CrashPrefix, Availability, Structure],
            || Arc::new(calls::Careless::ShortWrite),
        ),
        store(
            "no write",
            "a call that was interrupted counts as done",
            Faults(FaultKind::Interrupted),
            &[CrashPrefix, Availability, Structure],
            || Arc::new(calls::Careless::Interrupted),
        ),
        store(
            "second sync",
            "a sync that fails is made again, and believed",
            Faults(FaultKind::SyncLost),
            &[CrashPrefix, Availability],
            || Arc::new(calls::Careless::FailedSync),
        ),
        store(
            "blames the space",
            "a commit that fails is said to find no space",
            Faults(FaultKind::SyncLate),
            &[Availability],
            || Arc::new(troubles::BlamesTheSpace),
        ),
        store(
            "sulks after reads",
            "after a read that failed nothing is written any more",
            Faults(FaultKind::IoError),
            &[Availability],
            || Arc::new(troubles::SulksAfterReads::default()),
        ),
        store(
            "mute after commits",
            "after a commit that failed nothing is read any more",
            Faults(FaultKind::SyncReverted),
            &[Availability],
            || Arc::new(troubles::MuteAfterCommits::default()),
        ),
        store(
            "damage is absence",
            "what can't be read is said not to be there",
            Faults(FaultKind::GarbageByte),
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(troubles::DamageIsAbsence),
        ),
        store(
            "damage is the end",
            "a damaged record ends the log, whatever comes after it",
            Faults(FaultKind::SwappedWrites),
            &[CrashPrefix],
            || Arc::new(troubles::DamageIsTheEnd),
        ),
        store(
            "grudge",
            "who once found corruption can't be opened any more",
            Faults(FaultKind::LostWrite),
            &[Availability],
            || Arc::new(troubles::Grudge::default()),
        ),
        store(
            "scar",
            "who once found corruption forgets the last write of each later commit",
            Faults(FaultKind::MisdirectedWrite),
            &[SnapshotIsolation, CrashPrefix, CommitStream],
            || Arc::new(troubles::Scar::default()),
        ),
        store(
            "hole",
            "a recovery that misses commits carries out the last of them",
            Faults(FaultKind::IgnoreSync),
            &[CrashPrefix],
            || Arc::new(troubles::Hole::default()),
        ),
        marks("tolerant marks", "a mark that ended is gone back to without a word", &[Marks], || {
            Arc::new(Marked::new(MarkBug::Tolerant))
        }),
        marks("forgetful marks", "every fourth mark is said to be gone", &[Marks], || {
            Arc::new(Marked::new(MarkBug::Forgetful))
        }),
        marks(
            "half restore",
            "going back to a mark leaves one key as it is",
            &[SnapshotIsolation, CrashPrefix],
            || Arc::new(Marked::new(MarkBug::Half)),
        ),
        disk("ignore-sync every=4", "every fourth file sync makes nothing durable"),
        disk("ignore-sync nth=20", "one file sync makes nothing durable"),
        disk("torn-sync every=4", "every fourth file sync makes half of it durable"),
        disk("ignore-directory-sync every=2", "every second directory sync makes no name durable"),
        disk("ignore-directory-sync every=3", "every third directory sync makes no name durable"),
        disk("lost-write nth=20", "one write changes nothing"),
        disk("swapped-writes nth=20", "one write takes effect after the next one"),
        disk("stale-read file=log-* nth=1", "one read of the log returns older bytes"),
    ]
};
