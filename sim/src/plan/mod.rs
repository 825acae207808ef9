//! A plan: everything that happens in one run, written down beforehand.
//!
//! A plan holds no randomness. The generator spends a seed once, to write the plan; running a plan draws nothing, so
//! the same plan is the same run, and a plan that found something keeps finding it when generators change. Seeds are
//! for finding, plans are for keeping.
//!
//! **Any line may go.** A step that makes no sense where it stands (an operation without an open transaction, a
//! second `begin`) is skipped without a word. Deleting steps therefore always leaves a plan, which is what shrinking
//! and editing by hand need.
//!
//! **A plan asks for nothing impossible.** Its text form knows what every store must take, and refuses more: otherwise
//! a store's honest refusal would look like a broken promise.
//!
//! The text form is one step a line, and reads as what clients do:
//!
//! ```text
//! proofmark plan 1
//! seed 42
//! store engine
//! page-size 4096
//!
//! c0 begin write
//! c0 put "k01" #17*64
//! c1 begin read back=3
//! c1 scan ["a" .. +inf) limit=10 reverse
//! c0 commit sync
//! checkpoint
//! crash call=13 before keep=none
//! ```

mod config;
mod limits;
mod schedule;
mod text;
mod timing;

use std::collections::BTreeSet;

use proofmark_model::{ClientId, Durability, MarkLabel, Operation};

pub use self::config::{Config, Retention};
pub use self::schedule::{DEPTH_MAX, Draws, Schedule, Scheduler, Switch, Thread, Threads};
pub use self::timing::Tasks;
use crate::disk::{DiskOptions, Fault, FaultKind, Keep, Moment};
use crate::store::{StoreFactory, StoreKind};

/// One run, written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed that the generator spent on this plan. Says where it comes from, and decides nothing.
    pub seed: Option<u64>,
    /// The store it was written for.
    pub store: StoreKind,
    /// How the store is opened.
    pub config: Config,
    /// How the disk behaves.
    pub disk: DiskOptions,
    /// How clients are interleaved.
    pub schedule: Schedule,
    /// Faults that the checkers are not told of, planted to prove that they see them. Empty in every honest run.
    pub sabotage: Vec<Fault>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The kinds of its faults that campaigns [spare](StoreFactory::is_spared) a store that is opened like this.
    pub fn spared(&self, store: &dyn StoreFactory) -> BTreeSet<FaultKind> {
        let announced = self.steps.iter().filter_map(|step| match step {
            Step::Fault(fault) => Some(fault),
            _ => None,
        });
        let kinds = self.sabotage.iter().chain(announced).map(|fault| fault.kind);
        kinds.filter(|kind| store.is_spared(*kind, &self.config)).collect()
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A client acts.
    Client(ClientId, Action),
    /// The store is asked to write back what it can.
    Checkpoint,
    /// The store is asked to give unused space back. A store that cannot runs a checkpoint.
    Compact,
    /// The store is copied, and the copy read.
    Backup,
    /// The commit stream is read.
    Changes {
        /// From where on.
        cursor: Cursor,
        /// The most commits that are taken.
        limit: usize,
    },
    /// From here on there is room for so many bytes more on the disk, or without a limit.
    Space(Option<u64>),
    /// From here on the disk has this fault, for everybody to know. Those before the first other step stand from before
    /// the creation.
    Fault(Fault),
    /// Every fault that a step brought is switched off.
    Heal,
    /// The store is asked to check itself.
    Verify,
    /// The store is closed in good order and opened again. Open transactions are aborted first.
    Reopen,
    /// The store is dropped without being closed, with whatever is open beside it, and opened again.
    Abandon,
    /// The power fails at the strikes to come.
    Crash(CrashSpec),
    /// In the step before, another thread goes on, if the schedule is one of threads that was recorded.
    Switch(Switch),
}

/// A step that was taken in a run of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The plan's, with this index.
    Planned(usize),
    /// One that time has brought about.
    Added(Step),
}

impl Step {
    /// Which thread takes this step, where clients are threads. None for what is done while no thread is under way.
    pub fn thread(&self) -> Option<Thread> {
        match self {
            Step::Client(client, _) => Some(Thread::Client(*client)),
            Step::Checkpoint | Step::Changes { .. } | Step::Verify => Some(Thread::Upkeep),
            _ => None,
        }
    }
}

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Opens a transaction.
    Begin(Begin),
    /// Reads or writes in its transaction.
    Operation(Operation),
    /// Commits its transaction; a read transaction ends.
    Commit(Durability),
    /// Hands its transaction in for a durable commit, and goes on without waiting. A read transaction ends.
    Submit,
    /// Waits for the oldest commit that it handed in and has not waited for.
    Wait,
    /// Ends its transaction without effect.
    Abort,
    /// Marks the state that its transaction found, if it has done nothing else yet.
    Mark {
        /// The name to come back to it by: unique in the plan.
        mark: MarkLabel,
        /// Whether it outlives the store's being closed.
        is_persistent: bool,
    },
    /// Takes the store back to a mark, as part of its transaction.
    Restore(MarkLabel),
    /// Ends a mark.
    Forget(MarkLabel),
    /// Rearranges how the store keeps what it holds, as part of its transaction.
    Tend,
    /// Panics in the middle of its transaction, which ends without effect; the panic is caught.
    Panic,
}

/// From where on the commit stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Where the last reading ended, as a consumer does that has saved its place.
    Saved,
    /// The latest commit minus this many; below zero it lies in the future.
    Back(i64),
}

/// How a client opens its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Reads the latest state.
    Read,
    /// Reads the state as of the latest commit minus this many; below zero it asks for the future, which must be
    /// refused. A store without time travel reads the latest state.
    ReadBack(i64),
    /// Reads and writes, alone.
    Write,
    /// Reads and writes beside others that do. A store without optimistic writers is asked for an exclusive one.
    Optimistic,
}

/// A power loss, and those in the recoveries from it.
///
/// The first strike is armed when the step is reached; each one after it is armed for the recovery from the one
/// before. A strike that has not come by the next crash step, or by the plan's end, is carried out there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashSpec {
    /// The strikes, in order. At least one.
    pub strikes: Vec<Strike>,
}

/// One power loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// At which I/O call from here; 1 is the next one.
    pub call: u64,
    /// Before that call takes effect, in the middle of it, or after.
    pub moment: Moment,
    /// What survives of that which was not synced.
    pub keep: Keep,
}

impl Plan {
    /// The same plan with these switches in the place of its own, each with the index of the step that it belongs to.
    #[must_use]
    pub fn recorded(&self, switches: &[(Option<usize>, Switch)]) -> Plan {
        let belongs = |step: Option<usize>| {
            let own = switches.iter().filter(move |(owner, _)| *owner == step);
            own.map(|(_, switch)| Step::Switch(*switch))
        };
        let mut steps: Vec<Step> = belongs(None).collect();
        for (index, step) in self.steps.iter().enumerate() {
            if !matches!(step, Step::Switch(_)) {
                steps.push(step.clone());
                steps.extend(belongs(Some(index)));
            }
        }
        Plan { schedule: Schedule::Threads(Threads::Recorded), steps, ..self.clone() }
    }

    /// A plan of these steps, in their order.
    #[must_use]
    pub fn of_taken(&self, taken: &[Taken]) -> Plan {
        let steps = taken.iter().map(|taken| match taken {
            Taken::Planned(index) => self.steps[*index].clone(),
            Taken::Added(step) => step.clone(),
        });
        Plan { schedule: Schedule::Sequential, steps: steps.collect(), ..self.clone() }
    }

    /// The same plan, in its own order.
    #[must_use]
    pub fn in_order(&self) -> Plan {
        let steps = self.steps.iter().filter(|step| !matches!(step, Step::Switch(_))).cloned().collect();
        Plan { schedule: Schedule::Sequential, steps, ..self.clone() }
    }

    /// An empty plan for `store`, with the default configuration.
    pub fn new(store: StoreKind) -> Plan {
        Plan {
            seed: None,
            store,
            config: Config::default(),
            disk: DiskOptions::default(),
            schedule: Schedule::default(),
            sabotage: Vec::new(),
            steps: Vec::new(),
        }
    }
}
