//! Transactions one after another, without crashes: the material of comparisons.
//!
//! Two clients take turns. Each mostly keeps to keys of its own, so that many neighbouring transactions are
//! independent of each other and may change places.

use std::collections::BTreeSet;

use proofmark_model::{ClientId, Durability, Key, Operation, unique_value};
use rand_chacha::ChaCha8Rng;

use super::keys::KeySpace;
use super::mix::Mix;
use crate::disk::DiskOptions;
use crate::plan::{Action, Begin, Config, Plan, Step};
use crate::random::{Draw, Streams};
use crate::store::StoreKind;

/// How many operations there are, about.
const OPERATIONS_MIN: usize = 120;
/// The most operations of one transaction.
const BATCH_MAX: u64 = 12;
/// Of the accesses, those that leave the client's own keys, in thousandths.
const FOREIGN_SHARE: u64 = 150;

/// A plan in which no two transactions overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serial {
    seed: u64,
    config: Config,
    disk: DiskOptions,
    pub(crate) transactions: Vec<SerialTransaction>,
    /// Before which transactions there is a checkpoint, by index.
    checkpoints: BTreeSet<usize>,
}

/// A transaction that nothing comes between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SerialTransaction {
    pub(crate) client: ClientId,
    begin: Begin,
    pub(crate) operations: Vec<Operation>,
    end: Action,
}

impl Serial {
    /// The transactions that `seed` stands for, with the configuration of its plan.
    pub(crate) fn draw(seed: u64) -> Serial {
        let streams = Streams::new(seed);
        let mix = Mix::draw(&streams);
        let keys = KeySpace::draw(&mut streams.stream("keys"), &mix.keys);
        let mut writer = Writer { mix: &mix, keys: &keys, rng: streams.stream("serial"), next_value: 1 };
        let mut transactions = Vec::new();
        let mut operation_count = 0;
        while operation_count < OPERATIONS_MIN {
            let transaction = writer.transaction();
            operation_count += transaction.operations.len();
            transactions.push(transaction);
        }
        let checkpoints = draw_checkpoints(&mut writer.rng, transactions.len());
        Serial { seed, config: mix.config, disk: mix.disk, transactions, checkpoints }
    }

    /// The same transactions on another configuration, another disk, and with other checkpoints.
    pub(crate) fn reconfigured(&self) -> Serial {
        let streams = Streams::new(self.seed);
        let mix = Mix::draw_other(&streams);
        let checkpoints = draw_checkpoints(&mut streams.stream("other checkpoints"), self.transactions.len());
        Serial { config: mix.config, disk: mix.disk, checkpoints, ..self.clone() }
    }

    /// The same transactions, with independent neighbours swapped here and there.
    pub(crate) fn swapped(&self) -> Serial {
        let mut rng = Streams::new(self.seed).stream("swaps");
        let mut swapped = self.clone();
        // Several passes, so that a transaction can travel past more than one other.
        for _ in 0..4 {
            for index in 1..swapped.transactions.len() {
                if rng.chance(600) && swapped.transactions[index - 1].may_swap(&swapped.transactions[index]) {
                    swapped.transactions.swap(index - 1, index);
                }
            }
        }
        swapped
    }

    /// The mutations of the committed transactions, in order, in transactions of 1 to `batch_max` each.
    pub(crate) fn rebatched(&self, batch_max: u64) -> Serial {
        let mut rng = Streams::new(self.seed).stream("batches");
        let committed = self.transactions.iter().filter(|transaction| transaction.end != Action::Abort);
        let mut mutations = committed
            .flat_map(|transaction| &transaction.operations)
            .filter(|operation| operation.writes())
            .cloned()
            .peekable();
        let mut transactions = Vec::new();
        while mutations.peek().is_some() {
            let size = usize::try_from(rng.between(1..=batch_max)).expect("a batch is small");
            transactions.push(SerialTransaction {
                client: ClientId(0),
                begin: Begin::Write,
                operations: mutations.by_ref().take(size).collect(),
                end: Action::Commit(Durability::Sync),
            });
        }
        let checkpoints = draw_checkpoints(&mut rng, transactions.len());
        Serial { transactions, checkpoints, ..self.clone() }
    }

    /// As a plan.
    pub(crate) fn plan(&self, store: StoreKind) -> Plan {
        let mut steps = Vec::new();
        for (index, transaction) in self.transactions.iter().enumerate() {
            if self.checkpoints.contains(&index) {
                steps.push(Step::Checkpoint);
            }
            let operations = transaction.operations.iter().cloned().map(Action::Operation);
            let actions = [Action::Begin(transaction.begin)]
                .into_iter()
                .chain(operations)
                .chain([transaction.end.clone()]);
            steps.extend(actions.map(|action| Step::Client(transaction.client, action)));
        }
        Plan {
            seed: Some(self.seed),
            config: self.config.clone(),
            disk: self.disk,
            steps,
            ..Plan::new(store)
        }
    }
}

impl SerialTransaction {
    /// Whether this one and the next may change places: they belong to different clients, and neither reads or writes
    /// what the other writes.
    fn may_swap(&self, next: &SerialTransaction) -> bool {
        self.client != next.client && !self.disturbs(next) && !next.disturbs(self)
    }

    /// Whether the other accesses a key that this one writes.
    fn disturbs(&self, other: &SerialTransaction) -> bool {
        self.operations.iter().any(|operation| other.operations.iter().any(|o| disturbs(operation, o)))
    }
}

/// Whether one operation writes what the other accesses.
fn disturbs(operation: &Operation, other: &Operation) -> bool {
    match operation {
        Operation::Put { key, .. } | Operation::Delete { key } => match other {
            Operation::Get { key: wanted }
            | Operation::Put { key: wanted, .. }
            | Operation::Delete { key: wanted } => key == wanted,
            Operation::Scan { range, .. } | Operation::DeleteRange { range } => range.contains(key),
            Operation::Savepoint { .. } | Operation::Rollback { .. } => false,
        },
        // What is in a range depends on too much; these keep their places.
        Operation::DeleteRange { .. } => true,
        _ => false,
    }
}

fn draw_checkpoints(rng: &mut ChaCha8Rng, count: usize) -> BTreeSet<usize> {
    let share = *rng.pick(&[0, 50, 200]);
    (0..count).filter(|_| rng.chance(share)).collect()
}

/// Writes transactions.
struct Writer<'a> {
    mix: &'a Mix,
    keys: &'a KeySpace,
    rng: ChaCha8Rng,
    next_value: u64,
}

impl Writer<'_> {
    fn transaction(&mut self) -> SerialTransaction {
        let client = self.rng.index(2);
        let is_writer = self.rng.chance(800);
        let size = self.rng.between(1..=self.mix.batch_max.min(BATCH_MAX));
        let operations = (0..size).map(|_| self.operation(client, is_writer)).collect();
        let end = match (is_writer, self.rng.chance(self.mix.buffered_share)) {
            (false, _) => Action::Abort,
            (true, _) if self.rng.chance(self.mix.abort_share) => Action::Abort,
            (true, true) => Action::Commit(Durability::Buffered),
            (true, false) => Action::Commit(Durability::Sync),
        };
        SerialTransaction {
            client: ClientId(u32::try_from(client).expect("there are two")),
            begin: if is_writer { Begin::Write } else { Begin::Read },
            operations,
            end,
        }
    }

    fn operation(&mut self, client: usize, is_writer: bool) -> Operation {
        if is_writer && self.rng.chance(850) {
            let key = self.key(client);
            if self.rng.chance(300) {
                return Operation::Delete { key };
            }
            if self.rng.chance(self.mix.delete_range_share) {
                return Operation::DeleteRange { range: self.keys.short_range(&mut self.rng) };
            }
            self.next_value += 1;
            let size = self.mix.values.draw(&mut self.rng);
            return Operation::Put { key, value: unique_value(self.next_value, size) };
        }
        if self.rng.chance(150) {
            let range = self.keys.range(&mut self.rng);
            return Operation::Scan { range, limit: 20, reverse: self.rng.chance(500) };
        }
        Operation::Get { key: self.key(client) }
    }

    /// A key of the client's own, mostly: those at even places, or at odd ones.
    fn key(&mut self, client: usize) -> Key {
        let index = self.keys.pick(&mut self.rng, 0);
        let own = index - index % 2 + client;
        self.keys.key(if self.rng.chance(FOREIGN_SHARE) { index } else { own }).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_change_what_they_should() {
        let mut moved = 0;
        for seed in 0..50 {
            let serial = Serial::draw(seed);
            let swapped = serial.swapped();
            moved += serial.transactions.iter().zip(&swapped.transactions).filter(|(a, b)| a != b).count();
            assert_ne!(serial.reconfigured().config, serial.config);
            assert_eq!(serial.reconfigured().transactions, serial.transactions);
            for client in [ClientId(0), ClientId(1)] {
                let own = |serial: &Serial| -> Vec<SerialTransaction> {
                    serial.transactions.iter().filter(|t| t.client == client).cloned().collect()
                };
                assert_eq!(own(&serial), own(&swapped), "a client's own order stays");
            }
        }
        assert!(moved > 500, "hardly anything is swapped: {moved}");
    }

    #[test]
    fn batches_hold_the_same_mutations() {
        let flat = |serial: &Serial| -> Vec<Operation> {
            serial.transactions.iter().flat_map(|transaction| transaction.operations.clone()).collect()
        };
        let serial = Serial::draw(8);
        let (singles, batches) = (serial.rebatched(1), serial.rebatched(40));
        assert_eq!(flat(&singles), flat(&batches));
        assert_eq!(singles.transactions.len(), flat(&singles).len());
        assert!(batches.transactions.len() < singles.transactions.len() / 4);
    }
}
