//! What a store has to do after each recovery: damage to its accounts shows only when it allocates, frees and reads again.

use std::collections::BTreeSet;

use proofmark_model::{ClientId, Durability, Key, Operation, Value, unique_value};

use crate::disk::{Keep, Moment};
use crate::plan::{Action, Begin, CrashSpec, Plan, Step, Strike};

/// The first number that is tried for a value.
const VALUES_FROM: u64 = 1 << 40;
/// The key that is written besides those of the plan.
const NEW_KEY: &[u8] = b"recovered";

/// The steps after a recovery, for any power loss in one plan.
#[derive(Debug)]
pub(super) struct FollowUp {
    /// Writes, overwrites and deletes, commits, and runs a checkpoint; then the end of every run, which closes, loses the
    /// power once more with nothing kept, and looks again.
    pub(super) after_power_loss: Vec<Step>,
    /// Loses the power before all that: whatever was only known to the page cache is gone then.
    pub(super) after_process_death: Vec<Step>,
}

impl FollowUp {
    pub(super) fn new(plan: &Plan) -> FollowUp {
        let mut writer = Writer::new(plan);
        let after_power_loss = writer.write();
        let strike = Strike { call: 1, moment: Moment::Before, keep: Keep::None };
        let mut after_process_death = vec![Step::Crash(CrashSpec { strikes: vec![strike] })];
        after_process_death.extend(writer.write());
        after_process_death.extend(writer.write());
        FollowUp { after_power_loss, after_process_death }
    }
}

/// Writes what the plan has not written.
struct Writer {
    client: ClientId,
    keys: Vec<Key>,
    values: BTreeSet<Value>,
    page_size: usize,
    numbers_used: u64,
}

impl Writer {
    fn new(plan: &Plan) -> Writer {
        let mut writer = Writer {
            client: ClientId(0),
            keys: Vec::new(),
            values: BTreeSet::new(),
            page_size: plan.config.page_size as usize,
            numbers_used: VALUES_FROM,
        };
        for step in &plan.steps {
            let Step::Client(client, action) = step else { continue };
            writer.client = writer.client.max(ClientId(client.0.saturating_add(1)));
            if let Action::Operation(Operation::Put { key, value }) = action {
                writer.keys.push(key.clone());
                writer.values.insert(value.clone());
            }
        }
        writer.keys.sort_unstable();
        writer.keys.dedup();
        writer
    }

    fn write(&mut self) -> Vec<Step> {
        let existing = |share: usize| self.keys.get(self.keys.len() * share / 4).cloned();
        let [overwritten, deleted] = [1, 3].map(existing);
        let mut actions = vec![Action::Begin(Begin::Write)];
        actions.extend(overwritten.map(|key| self.put(key, 40)));
        // Longer than a page, so that pages are taken that hold nothing else.
        actions.push(self.put(NEW_KEY.to_vec(), self.page_size + 100));
        actions.extend(deleted.map(|key| Action::Operation(Operation::Delete { key })));
        actions.push(Action::Commit(Durability::Sync));
        let act = |action| Step::Client(self.client, action);
        actions.into_iter().map(act).chain([Step::Checkpoint]).collect()
    }

    fn put(&mut self, key: Key, length: usize) -> Action {
        let value = loop {
            let value = unique_value(self.numbers_used, length);
            self.numbers_used += 1;
            if self.values.insert(value.clone()) {
                break value;
            }
        };
        Action::Operation(Operation::Put { key, value })
    }
}
