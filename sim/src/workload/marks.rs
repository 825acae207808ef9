//! What is drawn apart from the rest of a script and put between its steps: marks and going back to them, tending,
//! panics, and stores that are abandoned.
//!
//! It has random streams of its own, so that it leaves every other step of a seed as it is. Most seeds have some of it and
//! few have all: a store that keeps marks keeps old pages, too, and may refuse to be compacted.

use proofmark_model::MarkLabel;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Action, Begin};
use crate::random::{Draw, Streams};

/// How many of the latest marks are gone back to.
const RECENT: usize = 5;

/// Writes these steps.
#[derive(Debug)]
pub(super) struct Marks {
    rng: ChaCha8Rng,
    shares: Shares,
    marks_set: u32,
    /// Those that may still be there, as far as the generator knows.
    there: Vec<MarkLabel>,
}

/// What one seed has of it, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Shares {
    /// Of the begins of writers, those after which a mark is set.
    mark: u64,
    /// Of the marks, those that are persistent.
    persistent: u64,
    /// Of a writer's operations, those before which it goes back to a mark or forgets one.
    mark_use: u64,
    /// Of a writer's operations, those before which it tends the store.
    tend: u64,
    /// Of the ends of transactions, those that are panics.
    panic: u64,
    /// Before how many of the client steps the store is abandoned.
    abandon: u64,
}

impl Marks {
    pub(super) fn new(streams: &Streams) -> Marks {
        let mix = &mut streams.stream("marks mix");
        let shares = Shares {
            mark: *mix.pick(&[0, 0, 100, 300, 600]),
            persistent: *mix.pick(&[0, 300, 700, 1000]),
            mark_use: *mix.pick(&[10, 40, 120]),
            tend: *mix.pick(&[0, 0, 20, 80]),
            panic: *mix.pick(&[0, 0, 0, 20, 80]),
            abandon: *mix.pick(&[0, 0, 0, 3, 8]),
        };
        Marks { rng: streams.stream("marks"), shares, marks_set: 0, there: Vec::new() }
    }

    /// Whether the store is abandoned before this client step.
    pub(super) fn abandons(&mut self) -> bool {
        self.rng.chance(self.shares.abandon)
    }

    /// What the client does before this action, while it has a writer open.
    pub(super) fn before(&mut self, action: &Action) -> Vec<Action> {
        let mut actions = Vec::new();
        if !matches!(action, Action::Operation(_)) {
            return actions;
        }
        if self.rng.chance(self.shares.tend) {
            actions.push(Action::Tend);
        }
        if !self.there.is_empty() && self.rng.chance(self.shares.mark_use) {
            match self.rng.weighted(&[6, 2, 1]) {
                0 => actions.push(self.restore()),
                1 => actions.push(self.forget()),
                // Only without any mark can a store be compacted.
                _ => actions.extend(self.there.drain(..).map(Action::Forget)),
            }
        }
        actions
    }

    /// What the client does in place of this action.
    pub(super) fn in_place_of(&mut self, action: Action) -> Action {
        let is_end = matches!(action, Action::Commit(_) | Action::Submit | Action::Abort);
        if is_end && self.rng.chance(self.shares.panic) { Action::Panic } else { action }
    }

    /// What the client does after this action.
    pub(super) fn after(&mut self, action: &Action) -> Option<Action> {
        let begins = matches!(action, Action::Begin(Begin::Write | Begin::Optimistic));
        if !begins || !self.rng.chance(self.shares.mark) {
            return None;
        }
        self.marks_set += 1;
        let mark = MarkLabel(self.marks_set);
        self.there.push(mark);
        Some(Action::Mark { mark, is_persistent: self.rng.chance(self.shares.persistent) })
    }

    /// Goes back to one of the latest marks, which mostly ends those after it.
    fn restore(&mut self) -> Action {
        let recent = self.there.len().min(RECENT);
        let at = self.there.len() - 1 - self.rng.index(recent);
        let mark = self.there[at];
        if self.rng.chance(800) {
            self.there.truncate(at + 1);
        }
        Action::Restore(mark)
    }

    fn forget(&mut self) -> Action {
        let at = self.rng.index(self.there.len());
        let mark = self.there[at];
        if self.rng.chance(800) {
            self.there.remove(at);
        }
        Action::Forget(mark)
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Action, Step};
    use crate::store::StoreKind;
    use crate::workload::generate;

    /// A generator that silently stops generating something is a check that can no longer fail.
    #[test]
    fn every_kind_of_step_occurs() {
        let mut seen = [0; 7];
        for seed in 0..200 {
            for step in generate(seed, StoreKind::Redb).steps {
                let kind = match step {
                    Step::Client(_, Action::Mark { is_persistent: false, .. }) => 0,
                    Step::Client(_, Action::Mark { is_persistent: true, .. }) => 1,
                    Step::Client(_, Action::Restore(_)) => 2,
                    Step::Client(_, Action::Forget(_)) => 3,
                    Step::Client(_, Action::Tend) => 4,
                    Step::Client(_, Action::Panic) => 5,
                    Step::Abandon => 6,
                    _ => continue,
                };
                seen[kind] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 50), "something hardly ever occurs: {seen:?}");
    }
}
