//! How chance decides who goes on. Everything is drawn from one stream of the schedule's seed.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Action, Draws, Plan, Scheduler, Step};
use crate::random::{Draw, Streams};

/// A thread that can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) seat: usize,
    /// About how many switch points it has before it.
    pub(super) points_left: u64,
}

/// The state of a scheduler.
#[derive(Debug)]
pub(super) struct Policy {
    rng: ChaCha8Rng,
    scheduler: Scheduler,
    forced_yields: Option<u16>,
    /// The priority of each seat, for who has been seen; all differ.
    priorities: Vec<u64>,
    /// Below all priorities that were ever drawn, and the ones given to those that dropped.
    lowest: u64,
    /// The decisions at which the running thread's priority drops, the next one last.
    drops: Vec<u64>,
    decisions: u64,
}

/// Priorities are drawn above this; those that drop go below.
const DRAWN_FROM: u64 = 1 << 63;

impl Policy {
    pub(super) fn new(draws: Draws, plan: &Plan) -> Policy {
        let Draws { seed, scheduler, forced_yields } = draws;
        let mut rng = Streams::new(seed).stream("schedule");
        let mut drops = Vec::new();
        if let Scheduler::Priorities { depth } = scheduler {
            let expected: u64 = plan.steps.iter().map(points).sum();
            // Nobody knows how long the run will be: the drops fall into all of what is expected, or into its start.
            let length = (expected / [1, 4, 16][rng.index(3)]).max(1);
            drops = (1..depth).map(|_| rng.between(1..=length)).collect();
            drops.sort_unstable_by(|one, other| other.cmp(one));
        }
        Policy {
            rng,
            scheduler,
            forced_yields,
            priorities: Vec::new(),
            lowest: DRAWN_FROM,
            drops,
            decisions: 0,
        }
    }

    /// Which of `candidates` goes on; there are at least two, in the order of their seats. `running` is among them, if it can
    /// go on; it asks for a break if it `yields`.
    pub(super) fn choose(&mut self, candidates: &[Candidate], running: Option<usize>, yields: bool) -> usize {
        self.decisions += 1;
        if let (Some(rate), Some(running), false) = (self.forced_yields, running, yields)
            && !self.rng.chance(u64::from(rate))
        {
            return running;
        }
        match self.scheduler {
            Scheduler::Random => self.any(candidates, running.filter(|_| yields)),
            Scheduler::Priorities { .. } => self.highest(candidates, running, yields),
            Scheduler::Uniform => {
                let weight = |candidate: &Candidate| {
                    if yields && Some(candidate.seat) == running { 0 } else { candidate.points_left.max(1) }
                };
                let weights: Vec<u64> = candidates.iter().map(weight).collect();
                candidates[self.rng.weighted(&weights)].seat
            }
            Scheduler::RoundRobin => next_after(candidates, running),
        }
    }

    /// Any candidate but one.
    fn any(&mut self, candidates: &[Candidate], but: Option<usize>) -> usize {
        let index = candidates.iter().position(|candidate| Some(candidate.seat) == but);
        let drawn = self.rng.index(candidates.len() - usize::from(index.is_some()));
        let skips = index.is_some_and(|index| drawn >= index);
        candidates[drawn + usize::from(skips)].seat
    }

    fn highest(&mut self, candidates: &[Candidate], running: Option<usize>, yields: bool) -> usize {
        for candidate in candidates {
            while self.priorities.len() <= candidate.seat {
                self.priorities.push(DRAWN_FROM | self.rng.next_u64());
            }
        }
        let drops = self.drops.pop_if(|drop| *drop <= self.decisions).is_some();
        if let Some(running) = running
            && (drops || yields)
        {
            self.lowest -= 1;
            self.priorities[running] = self.lowest;
        }
        let highest = candidates.iter().max_by_key(|candidate| self.priorities[candidate.seat]);
        highest.expect("there are candidates").seat
    }
}

/// The candidate after `running`, round and round.
pub(super) fn next_after(candidates: &[Candidate], running: Option<usize>) -> usize {
    let after = candidates.iter().find(|candidate| Some(candidate.seat) > running);
    after.unwrap_or(&candidates[0]).seat
}

/// About how many switch points a step has.
pub(super) fn points(step: &Step) -> u64 {
    match step {
        Step::Client(_, Action::Begin(_) | Action::Abort | Action::Panic) => 20,
        Step::Client(_, Action::Operation(operation)) if operation.writes() => 2,
        Step::Client(_, Action::Operation(_)) => 30,
        Step::Client(_, Action::Commit(_) | Action::Submit | Action::Wait) => 100,
        Step::Checkpoint | Step::Changes { .. } | Step::Verify => 400,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::StoreKind;

    fn policy(scheduler: Scheduler, forced_yields: Option<u16>) -> Policy {
        let mut plan = Plan::new(StoreKind::Engine);
        plan.steps = vec![Step::Checkpoint; 10];
        Policy::new(Draws { seed: 1, scheduler, forced_yields }, &plan)
    }

    fn candidates(seats: &[usize]) -> Vec<Candidate> {
        seats.iter().map(|seat| Candidate { seat: *seat, points_left: *seat as u64 }).collect()
    }

    #[test]
    fn every_scheduler_reaches_everybody_and_nobody_else() {
        for scheduler in Scheduler::ALL {
            let mut reached = BTreeSet::new();
            let mut policy = policy(scheduler, None);
            let candidates = candidates(&[2, 3, 7]);
            let mut running = None;
            for _ in 0..200 {
                let chosen = policy.choose(&candidates, running, true);
                assert_ne!(Some(chosen), running, "{scheduler}: who yields does not go on");
                reached.insert(chosen);
                running = Some(chosen);
            }
            assert_eq!(reached, BTreeSet::from([2, 3, 7]), "{scheduler}");
        }
    }

    #[test]
    fn forced_yields_leave_the_running_thread_alone_otherwise() {
        let mut policy = policy(Scheduler::RoundRobin, Some(100));
        let candidates = candidates(&[2, 3]);
        let switches = (0..1000).filter(|_| policy.choose(&candidates, Some(2), false) == 3).count();
        assert!((50..200).contains(&switches), "{switches} of a thousand");
    }

    #[test]
    fn priorities_change_only_where_they_drop() {
        let mut policy = policy(Scheduler::Priorities { depth: 4 }, None);
        let candidates = candidates(&[2, 3, 4, 5]);
        let mut running = policy.choose(&candidates, None, false);
        let mut changes = 0;
        for _ in 0..10_000 {
            let chosen = policy.choose(&candidates, Some(running), false);
            changes += usize::from(chosen != running);
            running = chosen;
        }
        assert_eq!(changes, 3);
    }
}
