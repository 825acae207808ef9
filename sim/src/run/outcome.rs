//! What is left when a run is over, and what the checkers say of it.

use proofmark_model::judge;

use super::place::Place;
use super::recorder::Recording;
use super::session::Shared;
use super::stats::RunStats;
use super::{Run, StrikeReport};
use crate::disk::SimDisk;
use crate::plan::{Switch, Taken};
use crate::schedule::tasks::Passage;
use crate::schedule::threads::Decided;

/// What a driver leaves behind.
pub(crate) struct Outcome {
    pub(super) recording: Recording,
    strikes: Vec<StrikeReport>,
    pub(super) places: Vec<Place>,
    stats: RunStats,
    has_ended_early: bool,
    switches: Vec<(Option<usize>, Switch)>,
    switches_unapplied: usize,
    taken: Option<Vec<Taken>>,
}

impl Outcome {
    /// What is in a book when all who wrote in it have left.
    pub(super) fn of(book: &Shared, disk: &SimDisk, places: Vec<Place>) -> Outcome {
        let has_ended_early = book.lock().has_ended_early;
        let (recording, strikes, stats) = book.finish(disk);
        Outcome {
            recording,
            strikes,
            places,
            stats,
            has_ended_early,
            switches: Vec::new(),
            switches_unapplied: 0,
            taken: None,
        }
    }

    /// The same, after a run of threads.
    pub(crate) fn of_threads(book: &Shared, disk: &SimDisk, decided: Decided) -> Outcome {
        let mut outcome = Outcome::of(book, disk, Vec::new());
        outcome.stats.switch_points = decided.points;
        outcome.stats.context_switches = decided.context_switches;
        let Decided { switches, switches_unapplied, .. } = decided;
        Outcome { switches, switches_unapplied, ..outcome }
    }

    /// The same, after a run of tasks.
    pub(super) fn in_time(mut self, passage: Passage) -> Outcome {
        self.stats.virtual_us = u64::try_from(passage.elapsed.as_micros()).unwrap_or(u64::MAX);
        self.stats.task_polls = passage.polls;
        Outcome { taken: Some(passage.taken), ..self }
    }

    /// # Panics
    /// If the run has ended early, and the checkers find nothing wrong with it.
    pub(super) fn judge(self) -> Run {
        let Outcome { recording, strikes, mut stats, switches, switches_unapplied, taken, .. } = self;
        let verdict = judge(&recording.history).map(|allowed| stats.commits_lost = allowed.lost_commits);
        assert!(
            !self.has_ended_early || verdict.is_err() || stats.beyond_repair > 0,
            "a run ends early only if the store failed, and then the checkers say so:\n{}",
            recording.history
        );
        Run {
            verdict,
            history: recording.history,
            event_steps: recording.steps,
            trace_hash: recording.trace_hash.expect("whoever carries out a plan hashes what happens"),
            strikes,
            switches,
            switches_unapplied,
            taken,
            stats,
            trace: recording.lines,
        }
    }
}
