//! Many seeds, on several threads.
//!
//! Workers take seeds in order and judge them; results are merged in order, so that everything in the [`Summary`]
//! depends on the seeds alone, and not on how many workers there were or which of them was faster. A campaign that is
//! stopped early has judged every seed before the last one that it counts.
//!
//! Time is not known here: whoever has a clock, or a signal handler, says so through `should_stop`.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use proofmark_model::Violation;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::metamorphic::compare_seed;
use crate::run::{RunStats, run_plan};
use crate::store::{StoreFactory, StoreKind};
use crate::workers::share_out;
use crate::workload::Source;

/// Every so many seeds are also compared with other runs of themselves.
const COMPARISON_INTERVAL: u64 = 8;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Campaign<'a> {
    /// The store that plans are written for.
    pub store: StoreKind,
    /// The store that plans are run on: that one, or a wrapper around it.
    pub factory: &'a dyn StoreFactory,
    /// Where the plans come from.
    pub source: Source,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds; without it, until it is stopped.
    pub seed_count: Option<u64>,
    /// The most threads that work. There are never more of them than seeds.
    pub jobs: usize,
    /// After how many violations the campaign ends.
    pub violations_max: usize,
}

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedReport {
    /// The seed.
    pub seed: u64,
    /// The verdict on its plan and on its comparisons.
    pub verdict: Result<(), Violation>,
    /// The sums over all of its runs.
    pub stats: RunStats,
    /// Hash of the traces of all of its runs.
    pub trace_hash: u64,
}

/// What came of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many seeds were judged: all from the first on.
    pub seeds: u64,
    /// The sums over all of them.
    pub stats: RunStats,
    /// What was found, by seed.
    pub violations: Vec<(u64, Violation)>,
    /// Hash of the traces of all runs, in the order of their seeds. That of a single seed is its report's.
    pub trace_hash: u64,
}

/// Whether comparisons belong to `seed`: to every eighth.
pub fn is_compared(seed: u64) -> bool {
    seed.is_multiple_of(COMPARISON_INTERVAL)
}

/// Runs the plan of `seed`, and the comparisons that belong to it.
pub fn judge_seed(seed: u64, store: StoreKind, factory: &dyn StoreFactory) -> SeedReport {
    judge_seed_of(Source::Sequential, seed, store, factory)
}

/// Runs the plan of `seed` that comes from `source`, and the comparisons that belong to it.
pub fn judge_seed_of(source: Source, seed: u64, store: StoreKind, factory: &dyn StoreFactory) -> SeedReport {
    let run = run_plan(&source.plan(seed, store), factory);
    let mut report = SeedReport { seed, verdict: run.verdict, stats: run.stats, trace_hash: run.trace_hash };
    // What is compared takes the plan's own order.
    if source == Source::Sequential && is_compared(seed) && report.verdict.is_ok() {
        let comparison = compare_seed(seed, store, factory);
        report.verdict = comparison.verdict;
        report.stats += &comparison.stats;
        report.trace_hash = xxh3_64_with_seed(&comparison.trace_hash.to_le_bytes(), report.trace_hash);
    }
    report
}

impl<'a> Campaign<'a> {
    /// A campaign over `seed_count` seeds from 0 on, on one of the stores that come with the simulator.
    pub fn new(store: StoreKind, seed_count: u64) -> Campaign<'a> {
        Campaign {
            store,
            factory: store.factory(),
            source: Source::default(),
            first_seed: 0,
            seed_count: Some(seed_count),
            jobs: 1,
            violations_max: 10,
        }
    }

    /// Judges the seeds. `should_stop` is asked before each seed, by every worker; `progress` sees the sums after each
    /// seed, in order.
    ///
    /// # Errors
    /// If the operating system has no room for so many threads. Nothing that was judged by then is returned.
    ///
    /// # Panics
    /// If there is no job to do the work, or if a worker panics: the runner catches what stores throw, so that is a
    /// defect of the simulator.
    pub fn run(
        &self,
        should_stop: impl Fn() -> bool + Sync,
        progress: impl Fn(&Summary) + Sync,
    ) -> io::Result<Summary> {
        let merger = Mutex::new(Merger::default());
        share_out(self.worker_count(), |index| {
            if should_stop() {
                return ControlFlow::Break(());
            }
            let Some(seed) = self.seed(index) else { return ControlFlow::Break(()) };
            let report = judge_seed_of(self.source, seed, self.store, self.factory);
            let mut merger = merger.lock().unwrap_or_else(PoisonError::into_inner);
            merger.take(index, report, self.violations_max, &progress);
            if merger.is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(merger.into_inner().unwrap_or_else(PoisonError::into_inner).summary)
    }

    fn worker_count(&self) -> usize {
        let seeds = self.seed_count.and_then(|count| usize::try_from(count).ok());
        seeds.map_or(self.jobs, |count| self.jobs.min(count))
    }

    fn seed(&self, index: u64) -> Option<u64> {
        let is_within = self.seed_count.is_none_or(|count| index < count);
        if is_within { self.first_seed.checked_add(index) } else { None }
    }
}

/// Puts results into order.
#[derive(Debug, Default)]
struct Merger {
    summary: Summary,
    /// Results that came before those of earlier seeds. As many as there are workers, about.
    waiting: BTreeMap<u64, SeedReport>,
    is_over: bool,
}

impl Merger {
    fn take(&mut self, index: u64, report: SeedReport, violations_max: usize, progress: impl Fn(&Summary)) {
        self.waiting.insert(index, report);
        while !self.is_over
            && let Some(report) = self.waiting.remove(&self.summary.seeds)
        {
            self.summary.add(report);
            self.is_over = self.summary.violations.len() >= violations_max;
            progress(&self.summary);
        }
    }
}

impl Summary {
    fn add(&mut self, report: SeedReport) {
        self.trace_hash = match self.seeds {
            0 => report.trace_hash,
            _ => xxh3_64_with_seed(&report.trace_hash.to_le_bytes(), self.trace_hash),
        };
        self.seeds += 1;
        self.stats += &report.stats;
        if let Err(violation) = report.verdict {
            self.violations.push((report.seed, violation));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proofmark_vfs::Vfs;

    use super::*;
    use crate::plan::Config;
    use crate::store::{Promises, Redb, Store, StoreError};

    #[test]
    fn the_summary_does_not_depend_on_the_number_of_workers() {
        let campaign = Campaign::new(StoreKind::Redb, 24);
        let one = campaign.run(|| false, |_| {}).unwrap();
        let three = Campaign { jobs: 3, ..campaign }.run(|| false, |_| {}).unwrap();
        assert_eq!(one, three);
        assert_eq!(one.seeds, 24);
        assert_eq!(one.stats.comparisons, 3 * 3);
        assert_eq!(one.violations, []);
    }

    #[test]
    fn progress_comes_in_order_and_stopping_stops() {
        let seen = Mutex::new(Vec::new());
        let seen_count = AtomicU64::new(0);
        let campaign =
            Campaign { seed_count: None, jobs: 2, first_seed: 100, ..Campaign::new(StoreKind::Redb, 0) };
        let summary = campaign
            .run(
                || seen_count.load(Ordering::Relaxed) >= 5,
                |summary| {
                    seen_count.fetch_add(1, Ordering::Relaxed);
                    seen.lock().unwrap().push(summary.seeds);
                },
            )
            .unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(seen.iter().copied().eq(1..=summary.seeds), "{seen:?}");
        assert!(summary.seeds >= 5);
    }

    #[test]
    fn a_campaign_of_one_has_the_hash_of_its_seed() {
        for seed in [8, 9] {
            let campaign = Campaign { first_seed: seed, ..Campaign::new(StoreKind::Redb, 1) };
            let summary = campaign.run(|| false, |_| {}).unwrap();
            let report = judge_seed(seed, StoreKind::Redb, StoreKind::Redb.factory());
            assert_eq!(summary.trace_hash, report.trace_hash);
        }
    }

    #[test]
    fn there_are_no_more_workers_than_seeds() {
        let campaign = Campaign { jobs: usize::MAX, ..Campaign::new(StoreKind::Redb, 2) };
        assert_eq!(campaign.worker_count(), 2);
        assert_eq!(campaign.run(|| false, |_| {}).unwrap().seeds, 2);
        assert_eq!(Campaign { jobs: 3, seed_count: None, ..campaign }.worker_count(), 3);
    }

    /// A store that cannot be opened.
    #[derive(Debug)]
    struct Broken;

    impl StoreFactory for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn promises(&self) -> Promises {
            Redb.promises()
        }

        fn open(&self, _: Arc<dyn Vfs>, _: &Config) -> Result<Box<dyn Store>, StoreError> {
            panic!("out of order");
        }
    }

    #[test]
    fn violations_end_a_campaign_at_the_same_seed_for_any_number_of_workers() {
        for jobs in [1, 3] {
            let campaign =
                Campaign { factory: &Broken, jobs, violations_max: 4, ..Campaign::new(StoreKind::Redb, 50) };
            let summary = campaign.run(|| false, |_| {}).unwrap();
            let seeds: Vec<u64> = summary.violations.iter().map(|(seed, _)| *seed).collect();
            assert_eq!(seeds, [0, 1, 2, 3]);
            assert!(summary.violations[0].1.message.contains("out of order"), "{}", summary.violations[0].1);
        }
    }
}
