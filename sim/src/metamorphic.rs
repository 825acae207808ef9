//! Metamorphic comparisons: runs that should come to the same, although they do not ask for the same.
//!
//! A checker of one run needs to know what is right. A comparison needs not: independent transactions commute, a batch
//! is worth its mutations, and no page size or checkpoint changes an answer. Each comparison makes two runs without
//! crashes of one seed's transactions and hands both histories to the model's checker of pairs.
//!
//! Each of the runs is judged for itself, too.

use std::collections::BTreeMap;

use proofmark_model::{ClientId, Event, History, TxnLabel, Violation, check_batches, check_commutes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::plan::Plan;
use crate::run::{Run, RunStats, run_gently};
use crate::store::{StoreFactory, StoreKind};
use crate::workload::Serial;

/// The most mutations of a batch that is compared with single mutations.
const BATCH_MAX: u64 = 40;

/// What came of all comparisons of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The first difference, or the first violation in one of the runs.
    pub verdict: Result<(), Violation>,
    /// The sums over all runs.
    pub stats: RunStats,
    /// Hash of the traces of all runs.
    pub trace_hash: u64,
    /// The plan of the run that is wrong by itself, compared with nothing, if it is one.
    pub failing: Option<Plan>,
}

/// Makes every comparison of `seed`, up to the first that fails.
pub fn compare_seed(seed: u64, store: StoreKind, factory: &dyn StoreFactory) -> Comparison {
    let mut comparer = Comparer::new(store, factory);
    let verdict = comparer.compare_all(&Serial::draw(seed));
    let Comparer { stats, trace_hash, failing, .. } = comparer;
    Comparison { verdict, stats, trace_hash, failing }
}

struct Comparer<'a> {
    store: StoreKind,
    factory: &'a dyn StoreFactory,
    stats: RunStats,
    trace_hash: u64,
    failing: Option<Plan>,
}

impl<'a> Comparer<'a> {
    fn new(store: StoreKind, factory: &'a dyn StoreFactory) -> Comparer<'a> {
        Comparer { store, factory, stats: RunStats::default(), trace_hash: 0, failing: None }
    }

    fn compare_all(&mut self, serial: &Serial) -> Result<(), Violation> {
        let original = self.run(serial, "original")?;
        let swapped = self.run(&serial.swapped(), "swapped")?;
        self.compare("swapped", check_commutes(&original, &relabelled(swapped, &original)))?;
        let reconfigured = self.run(&serial.reconfigured(), "reconfigured")?;
        self.compare("reconfigured", check_commutes(&original, &reconfigured))?;
        let singles = self.run(&serial.rebatched(1), "singles")?;
        let batches = self.run(&serial.rebatched(BATCH_MAX), "batches")?;
        self.compare("batches", check_batches(&singles, &batches))
    }

    fn run(&mut self, serial: &Serial, name: &str) -> Result<History, Violation> {
        self.run_plan(serial.plan(self.store), name)
    }

    fn run_plan(&mut self, plan: Plan, name: &str) -> Result<History, Violation> {
        let Run { history, verdict, stats, trace_hash, .. } = run_gently(&plan, self.factory);
        self.stats += &stats;
        self.trace_hash = xxh3_64_with_seed(&trace_hash.to_le_bytes(), self.trace_hash);
        if let Err(violation) = verdict {
            self.failing = Some(plan);
            return Err(in_run(name, violation));
        }
        Ok(history)
    }

    fn compare(&mut self, name: &str, verdict: Result<(), Violation>) -> Result<(), Violation> {
        self.stats.comparisons += 1;
        verdict.map_err(|violation| in_run(name, violation))
    }
}

/// The violation, with the name of the run that it is about.
fn in_run(name: &str, mut violation: Violation) -> Violation {
    violation.message.insert_str(0, &format!("in the comparison run `{name}`: "));
    violation
}

/// The same history, in which each client's n-th transaction has the label that it has in `model`.
fn relabelled(mut history: History, model: &History) -> History {
    let names = nth_transactions(model);
    let labels: BTreeMap<TxnLabel, TxnLabel> = nth_transactions(&history)
        .into_iter()
        .filter_map(|(nth, label)| names.get(&nth).map(|name| (label, *name)))
        .collect();
    for event in &mut history.events {
        if let Some(txn) = event.txn_mut()
            && let Some(label) = labels.get(txn)
        {
            *txn = *label;
        }
    }
    history
}

fn nth_transactions(history: &History) -> BTreeMap<(ClientId, usize), TxnLabel> {
    let mut counts: BTreeMap<ClientId, usize> = BTreeMap::new();
    let mut transactions = BTreeMap::new();
    for event in &history.events {
        if let Event::Begin { client, txn, .. } = event {
            let count = counts.entry(*client).or_default();
            transactions.insert((*client, *count), *txn);
            *count += 1;
        }
    }
    transactions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{CrashCounts, run_plan};

    #[test]
    fn both_stores_pass_the_comparisons() {
        for store in StoreKind::ALL {
            for seed in 0..12 {
                let comparison = compare_seed(seed, store, store.factory());
                assert_eq!(comparison.verdict, Ok(()), "{store}, seed {seed}");
                assert_eq!(comparison.stats.comparisons, 3);
                assert_eq!(comparison.stats.crashes, CrashCounts::default());
                assert_eq!(comparison, compare_seed(seed, store, store.factory()));
            }
        }
    }

    #[test]
    fn a_difference_between_two_runs_is_found_and_named() {
        let mut comparer = Comparer::new(StoreKind::Engine, StoreKind::Engine.factory());
        let serial = Serial::draw(3);
        let history = comparer.run(&serial, "original").unwrap();
        let mut other = history.clone();
        let Some(Event::Opened { state, .. }) = other.events.last_mut() else { panic!("no final state") };
        assert!(state.pop().is_some(), "the seed leaves nothing behind");
        let verdict = comparer.compare("other", check_commutes(&history, &other));
        assert!(verdict.unwrap_err().message.starts_with("in the comparison run `other`: "));
        assert_eq!(comparer.stats.comparisons, 1);
        assert_eq!(comparer.failing, None, "neither is wrong by itself");
    }

    #[test]
    fn a_run_that_is_wrong_by_itself_has_a_plan_that_shows_it() {
        let factory = StoreKind::Engine.factory();
        let mut comparer = Comparer::new(StoreKind::Engine, factory);
        let mut plan = Serial::draw(3).plan(StoreKind::Engine);
        plan.sabotage.push("garbage-byte file=data nth=1 sticky".parse().unwrap());
        let violation = comparer.run_plan(plan, "original").unwrap_err();
        let plan = comparer.failing.expect("its plan is kept");
        let alone = run_plan(&plan, factory).verdict.unwrap_err();
        assert_eq!((alone.checker, alone.kind), (violation.checker, violation.kind));
    }

    #[test]
    fn labels_follow_the_clients_order() {
        let parse = |text: &str| text.parse::<History>().unwrap();
        let model = parse("begin t1 c0 read\naborted t1\nbegin t2 c1 read\naborted t2");
        let history = parse("begin t1 c1 read\naborted t1\nbegin t2 c0 read\naborted t2");
        let expected = parse("begin t2 c1 read\naborted t2\nbegin t1 c0 read\naborted t1");
        assert_eq!(relabelled(history, &model), expected);
    }
}
