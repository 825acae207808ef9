//! Who does what, and when: a plan's steps as scripts, one for each party.
//!
//! A client has its own steps, in their order, and takes them in its own time, so that all clients are done after about as
//! long. What happens to the store as a whole is due at a moment: the one at which, as things go, as many client steps have
//! been taken as stand before it in the plan.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proofmark_model::{ClientId, Durability};

use super::process::Party;
use crate::plan::{Action, Begin, Plan, Step, Taken, Tasks};

/// So often a client tries to write beside an exclusive writer, before it gives up.
const TRIES_MAX: u32 = 20;
/// Upkeep comes so much after what befalls the process at the same place of the plan.
const UPKEEP_DELAY: Duration = Duration::from_micros(1);

/// What is left to be done.
#[derive(Debug)]
pub(super) struct Scripts<'p> {
    plan: &'p Plan,
    clients: BTreeMap<ClientId, Script>,
    upkeep: VecDeque<Due>,
    fate: VecDeque<Due>,
}

/// What is left for one client to do.
#[derive(Debug, Default)]
struct Script {
    /// Indices of the plan's steps.
    steps: VecDeque<usize>,
    /// How long it thinks before a step, on average.
    think: Duration,
    /// How often it was refused what it will try again.
    refusals: u32,
    /// The commit that it has handed in, to wait for it when the group is complete.
    handed_in: Option<usize>,
}

/// A step of the plan, and how long after the beginning it is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Duration,
    pub(super) index: usize,
}

impl<'p> Scripts<'p> {
    /// The plan's steps with these indices, as scripts.
    pub(super) fn new(plan: &'p Plan, tasks: &Tasks, steps: impl IntoIterator<Item = usize>) -> Scripts<'p> {
        let mut scripts =
            Scripts { plan, clients: BTreeMap::new(), upkeep: VecDeque::new(), fate: VecDeque::new() };
        let mut before = Vec::new();
        let mut client_steps = 0;
        for index in steps {
            match &plan.steps[index] {
                Step::Client(client, _) => {
                    scripts.clients.entry(*client).or_default().steps.push_back(index);
                    client_steps += 1;
                }
                _ => before.push((index, client_steps)),
            }
        }
        let clients = u32::try_from(scripts.clients.len()).expect("there are a handful of clients");
        // How long a client takes for all of its steps.
        let length = tasks.think * client_steps / clients.max(1);
        for script in scripts.clients.values_mut() {
            script.think = length / u32::try_from(script.steps.len()).expect("it is one of so many steps");
        }
        for (index, steps) in before {
            let at = length * steps / client_steps.max(1);
            match &plan.steps[index] {
                Step::Space(_) | Step::Fault(_) | Step::Heal | Step::Crash(_) => {
                    scripts.fate.push_back(Due { at, index });
                }
                _ => scripts.upkeep.push_back(Due { at: at + UPKEEP_DELAY, index }),
            }
        }
        scripts
    }

    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.clients.keys().copied().collect()
    }

    /// Whether nothing is left.
    pub(super) fn are_over(&self) -> bool {
        self.clients_are_done() && self.upkeep.is_empty() && self.fate.is_empty()
    }

    pub(super) fn clients_are_done(&self) -> bool {
        self.clients.values().all(|script| script.steps.is_empty() && script.handed_in.is_none())
    }

    /// Whether nothing is left but what befalls the process.
    pub(super) fn only_fate_is_left(&self) -> bool {
        self.clients_are_done() && self.upkeep.is_empty()
    }

    /// What a client does next, and by which step of the plan. `shares_syncs` if a durable commit of it is handed in, to be
    /// waited for later.
    pub(super) fn next_of_client(
        &mut self,
        client: ClientId,
        shares_syncs: impl FnOnce() -> bool,
    ) -> Option<(usize, Taken)> {
        let script = self.clients.get_mut(&client).expect("only clients of the plan ask");
        if let Some(index) = script.handed_in.take() {
            return Some((index, Taken::Added(Step::Client(client, Action::Wait))));
        }
        let index = script.steps.pop_front()?;
        let is_durable_commit =
            matches!(self.plan.steps[index], Step::Client(_, Action::Commit(Durability::Sync)));
        if is_durable_commit && shares_syncs() {
            script.handed_in = Some(index);
            return Some((index, Taken::Added(Step::Client(client, Action::Submit))));
        }
        Some((index, Taken::Planned(index)))
    }

    /// Whether a client waits for others to share its sync.
    pub(super) fn has_handed_in(&self, client: ClientId) -> bool {
        self.clients[&client].handed_in.is_some()
    }

    /// How long a client thinks before a step, on average.
    pub(super) fn think(&self, client: ClientId) -> Duration {
        self.clients[&client].think
    }

    /// The longest that a client thinks before a step, on average.
    pub(super) fn longest_think(&self) -> Duration {
        self.clients.values().map(|script| script.think).max().unwrap_or_default()
    }

    /// The step of the plan that somebody takes next, if there is one: the commit that a client has handed in, while it waits
    /// for that.
    pub(super) fn wanted_by(&self, party: Party) -> Option<(usize, &'p Step)> {
        let index = match party {
            Party::Client(client) => {
                let script = &self.clients[&client];
                script.handed_in.or(script.steps.front().copied())
            }
            Party::Upkeep => self.upkeep.front().map(|due| due.index),
            Party::Fate => self.fate.front().map(|due| due.index),
            Party::Start | Party::Timer => None,
        };
        index.map(|index| (index, &self.plan.steps[index]))
    }

    /// A client was refused this step, because somebody else is writing: it tries again later, but not for ever.
    pub(super) fn try_again(&mut self, client: ClientId, index: usize) {
        let script = self.clients.get_mut(&client).expect("only clients of the plan ask");
        let writes = matches!(
            self.plan.steps[index],
            Step::Client(_, Action::Begin(Begin::Write | Begin::Optimistic))
        );
        script.refusals += 1;
        if writes && script.refusals < TRIES_MAX {
            script.steps.push_front(index);
        } else {
            script.refusals = 0;
        }
    }

    /// The process has died: nobody waits for anything any more.
    pub(super) fn forget(&mut self) {
        for script in self.clients.values_mut() {
            script.handed_in = None;
            script.refusals = 0;
        }
    }

    pub(super) fn upkeep(&mut self) -> &mut VecDeque<Due> {
        &mut self.upkeep
    }

    pub(super) fn fate(&mut self) -> &mut VecDeque<Due> {
        &mut self.fate
    }
}
