//! What comes of each kind of fault: the fault x outcome matrix.
//!
//! Each seed has faults of one kind, in turn, and no other trouble but power losses, so that what came of it came of that
//! kind. The sums depend on the seeds alone, and not on how many threads took part.

use std::collections::BTreeMap;
use std::io;
use std::ops::{AddAssign, ControlFlow};
use std::sync::{Mutex, PoisonError};

use proofmark_model::Violation;

use crate::disk::FaultKind;
use crate::plan::Plan;
use crate::run::{Run, run_plan};
use crate::store::StoreKind;
use crate::workers::share_out;
use crate::workload::generate_with;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// The store.
    pub store: StoreKind,
    /// The first seed; the others follow it.
    pub first_seed: u64,
    /// How many seeds.
    pub seed_count: u64,
    /// How many threads work.
    pub jobs: usize,
}

/// What came of all seeds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matrix {
    /// How many seeds were run.
    pub seeds: u64,
    /// What came of each kind of fault that had its turn.
    pub rows: BTreeMap<FaultKind, Row>,
    /// What was found, by seed.
    pub violations: BTreeMap<u64, Violation>,
}

/// What came of one kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Seeds at which it was its turn, unless the store does not promise to live with it.
    pub turns: u64,
    /// Of these, runs in which it was planted.
    pub runs: u64,
    /// Of these, those in which it fired.
    pub runs_fired: u64,
    /// How often it fired.
    pub fired: u64,
    /// Runs in which it fired and the store did all that it was asked for, and kept all that it had to keep.
    pub survived: u64,
    /// Runs in which commits were lost that had to be kept, but for the faults that took them.
    pub lost: u64,
    /// Runs in which the store reported an error, or refused something because of one.
    pub errors: u64,
    /// Runs in which the store reported corruption.
    pub corruption: u64,
    /// Commits that the store declined for want of space or because it was poisoned.
    pub denied: u64,
    /// Runs in which a promise was broken.
    pub violations: u64,
}

impl AddAssign for Row {
    fn add_assign(&mut self, other: Row) {
        let Row { turns, runs, runs_fired, fired, survived, lost, errors, corruption, denied, violations } =
            other;
        self.turns += turns;
        self.runs += runs;
        self.runs_fired += runs_fired;
        self.fired += fired;
        self.survived += survived;
        self.lost += lost;
        self.errors += errors;
        self.corruption += corruption;
        self.denied += denied;
        self.violations += violations;
    }
}

/// After so many turns a kind that the store promises to live with has been planted, and has fired. Of fewer nobody
/// expects that: a run may end before a fault finds a call that it can strike.
const TURNS_MIN: u64 = 10;

/// The kind of fault whose turn it is at `seed`.
pub fn kind_of(seed: u64) -> FaultKind {
    let kinds: Vec<FaultKind> = FaultKind::all().collect();
    kinds[usize::try_from(seed % kinds.len() as u64).expect("it is one of them")]
}

/// The plan of `seed`.
pub fn plan(seed: u64, store: StoreKind) -> Plan {
    generate_with(kind_of(seed), seed, store)
}

impl Row {
    fn of(run: &Run, is_covered: bool) -> Row {
        let stats = &run.stats;
        let has_fired = stats.faults > 0;
        let denied = stats.denials.out_of_space + stats.denials.poisoned;
        let has_corruption = stats.corruptions > 0;
        let has_error = denied > 0 || stats.refusals_poisoned > 0 || stats.given_up > stats.corruptions;
        let has_lost = stats.commits_lost > 0;
        let is_broken = run.verdict.is_err();
        let is_unharmed = !has_lost && !has_corruption && !has_error && !is_broken;
        Row {
            turns: u64::from(is_covered),
            runs: u64::from(stats.faults_planted > 0),
            runs_fired: u64::from(has_fired),
            fired: stats.faults,
            survived: u64::from(has_fired && is_unharmed),
            lost: u64::from(has_lost),
            errors: u64::from(has_error),
            corruption: u64::from(has_corruption),
            denied,
            violations: u64::from(is_broken),
        }
    }
}

impl Campaign {
    /// Runs the seeds. `should_stop` is asked before each, by every thread; `progress` is told how many are done, and how
    /// many of these broke a promise.
    ///
    /// # Errors
    /// If the operating system has no room for so many threads.
    ///
    /// # Panics
    /// If there is no job to do the work.
    pub fn run(
        &self,
        should_stop: impl Fn() -> bool + Sync,
        progress: impl Fn(u64, usize) + Sync,
    ) -> io::Result<Matrix> {
        let matrix = Mutex::new(Matrix::default());
        share_out(self.jobs, |index| {
            if should_stop() || index >= self.seed_count {
                return ControlFlow::Break(());
            }
            let seed = self.first_seed + index;
            let run = run_plan(&plan(seed, self.store), self.store.factory());
            let mut matrix = matrix.lock().unwrap_or_else(PoisonError::into_inner);
            matrix.take(seed, &run, self.store);
            progress(matrix.seeds, matrix.violations.len());
            ControlFlow::Continue(())
        })?;
        Ok(matrix.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Matrix {
    fn take(&mut self, seed: u64, run: &Run, store: StoreKind) {
        self.seeds += 1;
        let kind = kind_of(seed);
        let is_covered = store.factory().promises().covers(kind.class());
        *self.rows.entry(kind).or_default() += Row::of(run, is_covered);
        if let Err(violation) = &run.verdict {
            self.violations.insert(seed, violation.clone());
        }
    }

    /// The sum over all kinds.
    pub fn total(&self) -> Row {
        self.rows.values().fold(Row::default(), |mut sum, row| {
            sum += *row;
            sum
        })
    }

    /// The kinds that never fired, though they had turns enough, be it that they were never planted: of these it proves
    /// nothing.
    pub fn silent(&self) -> Vec<FaultKind> {
        let is_silent = |row: &Row| row.fired == 0 && row.turns >= TURNS_MIN;
        self.rows.iter().filter(|(_, row)| is_silent(row)).map(|(kind, _)| *kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunStats;

    fn matrix(store: StoreKind, seed_count: u64, jobs: usize) -> Matrix {
        let campaign = Campaign { store, first_seed: 0, seed_count, jobs };
        campaign.run(|| false, |_, _| {}).unwrap()
    }

    #[test]
    fn the_sums_do_not_depend_on_the_threads() {
        let kinds = FaultKind::all().count() as u64;
        let one = matrix(StoreKind::Engine, 2 * kinds, 1);
        assert_eq!(one, matrix(StoreKind::Engine, 2 * kinds, 3));
        assert_eq!((one.seeds, one.rows.len() as u64), (2 * kinds, kinds));
        assert_eq!(one.violations, BTreeMap::new());
        assert_eq!(one.total().runs, 2 * kinds);
        assert!(one.total().errors > 0 && one.total().survived > 0, "{one:?}");
    }

    #[test]
    fn what_a_store_does_not_promise_is_not_planted() {
        let redb = matrix(StoreKind::Redb, FaultKind::all().count() as u64, 1);
        assert!(redb.rows[&FaultKind::ShortRead].runs > 0);
        assert_eq!(redb.rows[&FaultKind::LostWrite], Row::default());
        assert!(!redb.silent().contains(&FaultKind::LostWrite));
    }

    #[test]
    fn a_kind_that_never_fires_is_silent_once_it_had_turns_enough() {
        let kind = FaultKind::LostWrite;
        let silent = |row: Row| Matrix { rows: BTreeMap::from([(kind, row)]), ..Matrix::default() }.silent();
        assert_eq!(silent(Row { turns: TURNS_MIN, ..Row::default() }), [kind]);
        assert_eq!(silent(Row { turns: TURNS_MIN - 1, ..Row::default() }), []);
        assert_eq!(silent(Row { turns: TURNS_MIN, runs: TURNS_MIN, ..Row::default() }), [kind]);
        assert_eq!(silent(Row { turns: TURNS_MIN - 1, runs: TURNS_MIN - 1, ..Row::default() }), []);
        assert_eq!(silent(Row { turns: 99, runs: 99, fired: 1, ..Row::default() }), []);
        assert_eq!(silent(Row::default()), [], "the store does not promise to live with it");
    }

    #[test]
    fn a_few_seeds_silence_nothing() {
        let few = matrix(StoreKind::Engine, 10, 2);
        assert!(few.rows.values().any(|row| row.runs > 0 && row.fired == 0), "nothing to be silent: {few:?}");
        assert_eq!(few.silent(), []);
    }

    #[test]
    fn what_was_excused_is_told_from_what_was_survived() {
        let row = |stats| {
            let run = Run { stats, ..run_plan(&Plan::new(StoreKind::Engine), StoreKind::Engine.factory()) };
            let Row { survived, lost, errors, corruption, .. } = Row::of(&run, true);
            (survived, lost, errors, corruption)
        };
        let fired = || RunStats { faults: 1, ..RunStats::default() };
        assert_eq!(row(RunStats::default()), (0, 0, 0, 0));
        assert_eq!(row(fired()), (1, 0, 0, 0));
        assert_eq!(row(RunStats { commits_lost: 2, ..fired() }), (0, 1, 0, 0));
        assert_eq!(row(RunStats { corruptions: 1, given_up: 1, ..fired() }), (0, 0, 0, 1));
        assert_eq!(row(RunStats { given_up: 1, ..fired() }), (0, 0, 1, 0));
        assert_eq!(row(RunStats { refusals_poisoned: 1, refusals: 1, ..fired() }), (0, 0, 1, 0));
    }

    #[test]
    fn stopping_stops() {
        let campaign = Campaign { store: StoreKind::Engine, first_seed: 7, seed_count: 1000, jobs: 2 };
        assert_eq!(campaign.run(|| true, |_, _| {}).unwrap(), Matrix::default());
    }
}
