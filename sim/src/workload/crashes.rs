//! Where the power fails.
//!
//! Each crash has a target: right before a commit, right before a checkpoint, or anywhere. The first strike is drawn
//! so that it mostly falls into what follows; later strikes fall into the recovery from the one before. Call numbers
//! are drawn over several magnitudes, because one plan cannot know how many I/O calls a store needs for a commit.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;

use super::mix::Mix;
use crate::disk::{Keep, Moment};
use crate::plan::{CrashSpec, Strike};
use crate::random::Draw;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Commit,
    Checkpoint,
    Anywhere,
}

/// The crashes that are still to be written, in order.
#[derive(Debug)]
pub(super) struct Crashes {
    rng: ChaCha8Rng,
    in_creation: bool,
    /// From which client step on, and at what.
    due: VecDeque<(u64, Target)>,
}

impl Crashes {
    pub(super) fn new(mix: &Mix, mut rng: ChaCha8Rng) -> Crashes {
        let later = mix.crashes - u64::from(mix.crash_in_creation);
        let mut due: Vec<(u64, Target)> = (0..later)
            .map(|_| {
                let target = [Target::Commit, Target::Checkpoint, Target::Anywhere][rng.weighted(&[5, 3, 3])];
                (rng.below(mix.client_steps), target)
            })
            .collect();
        due.sort_by_key(|(step, _)| *step);
        Crashes { rng, in_creation: mix.crash_in_creation, due: due.into() }
    }

    /// The crash that falls into the creation of the store, if there is one.
    pub(super) fn at_creation(&mut self) -> Option<CrashSpec> {
        self.in_creation.then(|| self.spec(&[6, 3, 1, 0]))
    }

    /// The crash to be written before the commit at client step `step`, if one is due.
    pub(super) fn before_commit(&mut self, step: u64) -> Option<CrashSpec> {
        self.take(step, Target::Commit).then(|| self.spec(&[7, 5, 1, 0]))
    }

    /// The crash to be written before a checkpoint at client step `step`, if one is due.
    pub(super) fn before_checkpoint(&mut self, step: u64) -> Option<CrashSpec> {
        self.take(step, Target::Checkpoint).then(|| self.spec(&[4, 6, 3, 0]))
    }

    /// The crash to be written at client step `step`, wherever that is, if one is due.
    pub(super) fn anywhere(&mut self, step: u64) -> Option<CrashSpec> {
        self.take(step, Target::Anywhere).then(|| self.spec(&[4, 4, 5, 1]))
    }

    /// A crash that is due for a reason of its own.
    pub(super) fn now(&mut self) -> CrashSpec {
        self.spec(&[6, 3, 2, 0])
    }

    fn take(&mut self, step: u64, wanted: Target) -> bool {
        let is_due = self.due.front().is_some_and(|(from, target)| *from <= step && *target == wanted);
        if is_due {
            self.due.pop_front();
        }
        is_due
    }

    /// A crash whose first call number is of one of four magnitudes, by weight.
    fn spec(&mut self, magnitudes: &[u64; 4]) -> CrashSpec {
        let recoveries = [0, 1, 2][self.rng.weighted(&[5, 3, 2])];
        let mut strikes = vec![self.strike(magnitudes)];
        for _ in 0..recoveries {
            strikes.push(self.strike(&[5, 6, 2, 0]));
        }
        CrashSpec { strikes }
    }

    fn strike(&mut self, magnitudes: &[u64; 4]) -> Strike {
        let largest = [4, 16, 64, 256][self.rng.weighted(magnitudes)];
        Strike {
            call: self.rng.between(1..=largest),
            moment: [Moment::Before, Moment::During, Moment::After][self.rng.weighted(&[5, 1, 4])],
            keep: self.keep(),
        }
    }

    fn keep(&mut self) -> Keep {
        let seed = self.rng.below(1_000_000);
        let permille = *self.rng.pick(&[125, 500, 500, 875]);
        match self.rng.weighted(&[4, 2, 4, 8, 2, 2, 3]) {
            0 => Keep::None,
            1 => Keep::All,
            2 => Keep::Prefix { permille: u16::try_from(seed % 1001).expect("at most a thousand") },
            3 => Keep::Random { permille, seed },
            4 => Keep::AllButOne { seed },
            5 => Keep::OnlyOne { seed },
            _ => Keep::PageCache,
        }
    }
}
