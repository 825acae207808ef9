//! The same transactions, asked for in two ways.
//!
//! The simulator's own comparisons judge each of their runs first, so that a defect is reported by whoever sees it most
//! plainly. Here only the pair is judged: what these suites and the bugs planted for them are about is whether two
//! histories are told apart, not whether either is right.

use std::collections::BTreeMap;

use proofmark_model::{
    ClientId, Durability, Event, History, Key, Operation, TxnLabel, Violation, check_batches, check_commutes,
};
use proofmark_sim::plan::{Action, Begin, Plan, Step};
use proofmark_sim::random::{Draw, Streams};
use proofmark_sim::run::run_plan;
use proofmark_sim::store::{StoreFactory, StoreKind};
use proofmark_sim::workload::generate;

/// Transactions that follow one another, on a store that is opened in a certain way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    /// How it is opened. Has no steps.
    pub setting: Plan,
    /// What the transactions do. All of them commit.
    pub transactions: Vec<Vec<Operation>>,
}

impl Serial {
    /// The write transactions of a seed's plan, in the order in which they ask for their commits, without its crashes.
    pub fn draw(seed: u64) -> Serial {
        let mut setting = generate(seed, StoreKind::Engine);
        let mut open: BTreeMap<ClientId, Vec<Operation>> = BTreeMap::new();
        let mut transactions = Vec::new();
        for step in std::mem::take(&mut setting.steps) {
            match step {
                Step::Client(client, Action::Begin(Begin::Write | Begin::Optimistic)) => {
                    open.entry(client).or_default();
                }
                // What is written and undone again is no part of a comparison.
                Step::Client(
                    _,
                    Action::Operation(Operation::Savepoint { .. } | Operation::Rollback { .. }),
                ) => {}
                Step::Client(client, Action::Operation(operation)) => {
                    if let Some(operations) = open.get_mut(&client) {
                        operations.push(operation);
                    }
                }
                Step::Client(client, Action::Commit(_) | Action::Submit) => {
                    transactions.extend(open.remove(&client));
                }
                _ => {}
            }
        }
        Serial { setting, transactions }
    }

    /// An order of the transactions in which independent neighbours have changed places, where `swaps` says so.
    pub fn reorder(&self, swaps: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.transactions.len()).collect();
        if order.len() < 2 {
            return order;
        }
        for swap in swaps {
            let index = swap % (order.len() - 1);
            let [one, other] = [order[index], order[index + 1]].map(|index| &self.transactions[index]);
            if !disturbs(one, other) && !disturbs(other, one) {
                order.swap(index, index + 1);
            }
        }
        order
    }

    /// The same mutations, each in a transaction of its own.
    pub fn singles(&self) -> Serial {
        let writes = |operation: &&Operation| operation.writes();
        let mutations = self.transactions.iter().flatten().filter(writes);
        Serial {
            setting: self.setting.clone(),
            transactions: mutations.map(|mutation| vec![mutation.clone()]).collect(),
        }
    }

    /// The plan of the transactions in `order`, with a reopening at the end.
    pub fn plan(&self, order: &[usize]) -> Plan {
        let mut plan = self.setting.clone();
        let mut act = |action| plan.steps.push(Step::Client(ClientId(0), action));
        for &index in order {
            act(Action::Begin(Begin::Write));
            self.transactions[index].iter().cloned().map(Action::Operation).for_each(&mut act);
            act(Action::Commit(Durability::Sync));
        }
        plan.steps.push(Step::Reopen);
        plan
    }

    /// What the transactions come to in `order`, up to the reopening.
    pub fn run(&self, order: &[usize], store: &dyn StoreFactory) -> History {
        let mut history = run_plan(&self.plan(order), store).history;
        let is_crash = |event: &Event| matches!(event, Event::Crash { .. });
        let calm = history.events.iter().position(is_crash).unwrap_or(history.events.len());
        let opened = history.events[..calm].iter().rposition(|event| matches!(event, Event::Opened { .. }));
        // A store that failed on the way has no such opening, and the checker is to see that.
        if calm < history.events.len() {
            history.events.truncate(opened.map_or(0, |index| index + 1));
        }
        history
    }

    /// Compares two orders, of which the first is the given one.
    ///
    /// # Errors
    /// What differs.
    pub fn check_order(&self, order: &[usize], store: &dyn StoreFactory) -> Result<(), Violation> {
        let first = self.run(&self.in_order(), store);
        let mut second = self.run(order, store);
        // Labels count the transactions of a run from 1.
        let labels: Vec<u32> = (1..).take(order.len()).collect();
        for event in &mut second.events {
            if let Some(label) = event.txn_mut() {
                let nth = labels.binary_search(&label.0).expect("every transaction of the plan is a label");
                *label = TxnLabel(labels[order[nth]]);
            }
        }
        check_commutes(&first, &second)
    }

    /// Compares the transactions with their mutations one by one.
    ///
    /// # Errors
    /// What differs.
    pub fn check_batches(&self, store: &dyn StoreFactory) -> Result<(), Violation> {
        let singles = self.singles();
        check_batches(&singles.run(&singles.in_order(), store), &self.run(&self.in_order(), store))
    }

    fn in_order(&self) -> Vec<usize> {
        (0..self.transactions.len()).collect()
    }
}

/// Compares two orders of the transactions of `seed`.
///
/// # Errors
/// What differs.
pub fn examine_orders(store: &dyn StoreFactory, seed: u64) -> Result<(), Violation> {
    let serial = Serial::draw(seed);
    let mut rng = Streams::new(seed).stream("orders");
    let count = serial.transactions.len();
    let swaps: Vec<usize> = (0..4 * count).map(|_| rng.index(count)).collect();
    serial.check_order(&serial.reorder(swaps), store)
}

/// Compares the transactions of `seed` with their mutations one by one.
///
/// # Errors
/// What differs.
pub fn examine_batchings(store: &dyn StoreFactory, seed: u64) -> Result<(), Violation> {
    Serial::draw(seed).check_batches(store)
}

/// Whether `one` writes what `other` reads or writes.
fn disturbs(one: &[Operation], other: &[Operation]) -> bool {
    let touches = |key: &Key| other.iter().any(|operation| accesses(operation, key));
    // What a range holds depends on too much: it keeps its place.
    if one.iter().any(|operation| matches!(operation, Operation::DeleteRange { .. })) {
        return true;
    }
    one.iter().filter_map(written_key).any(touches)
}

fn written_key(operation: &Operation) -> Option<&Key> {
    match operation {
        Operation::Put { key, .. } | Operation::Delete { key } => Some(key),
        _ => None,
    }
}

fn accesses(operation: &Operation, wanted: &Key) -> bool {
    match operation {
        Operation::Get { key } | Operation::Put { key, .. } | Operation::Delete { key } => key == wanted,
        Operation::Scan { range, .. } | Operation::DeleteRange { range } => range.contains(wanted),
        Operation::Savepoint { .. } | Operation::Rollback { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comparisons of what is the same prove nothing, so there must be something to compare.
    #[test]
    fn many_seeds_change_places_and_form_batches() {
        let mut swapped = 0;
        let mut batched = 0;
        for seed in 0..100 {
            let serial = Serial::draw(seed);
            let order = serial.reorder(0..serial.transactions.len());
            swapped += usize::from(!order.is_sorted());
            batched += usize::from(serial.singles().transactions.len() > 2 * serial.transactions.len());
        }
        assert!(swapped > 50, "{swapped} of 100 seeds have another order");
        assert!(batched > 30, "{batched} of 100 seeds have batches");
    }

    #[test]
    fn what_depends_on_another_does_not_pass_it() {
        let operations = |text: &str| -> Vec<Operation> {
            text.split(';').map(|operation| operation.trim().parse().unwrap()).collect()
        };
        let serial = Serial {
            setting: Plan::new(StoreKind::Engine),
            transactions: vec![
                operations("put \"a\" #1*8; get \"x\""),
                operations("get \"a\""),
                operations("put \"x\" #2*8"),
                operations("scan [\"w\" .. \"y\")"),
                operations("delete \"b\""),
            ],
        };
        assert_eq!(serial.reorder([0]), [0, 1, 2, 3, 4], "a read stays behind the write");
        assert_eq!(serial.reorder([1, 0]), [0, 2, 1, 3, 4], "a write stays behind the read");
        assert_eq!(serial.reorder([2]), [0, 1, 2, 3, 4], "so does a scan");
        assert_eq!(serial.reorder([3, 2, 1, 0]), [4, 0, 1, 2, 3]);
    }
}
