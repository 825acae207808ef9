//! Writes the steps of a plan, client by client and step by step.

use std::collections::VecDeque;

use proofmark_model::{ClientId, Durability, Key, Operation, SavepointLabel, unique_value};
use rand_chacha::ChaCha8Rng;

use super::crashes::Crashes;
use super::faults::FaultMix;
use super::keys::KeySpace;
use super::marks::Marks;
use super::mix::Mix;
use super::trouble::{Due, Trouble};
use crate::plan::{Action, Begin, Cursor, Step};
use crate::random::{Draw, Streams};

/// How many client steps a phase lasts.
const PHASE_STEPS_MIN: u64 = 30;
const PHASE_STEPS_MAX: u64 = 120;
/// How many keys one transaction of the preload writes.
const PRELOAD_BATCH: usize = 64;
/// How many deleted keys are remembered, to be brought back.
const DELETED_MAX: usize = 16;
/// How many commits a client leaves outstanding.
const TICKETS_MAX: u64 = 4;

/// What a stretch of a script is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Mostly puts, in key order or all over: pages split.
    Grow,
    /// Puts and deletes in balance.
    Churn,
    /// Deletes of neighbouring keys: pages merge.
    Prune,
}

/// What a client has open, as far as the generator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Reader { steps_left: u64 },
    Writer { steps_left: u64, is_exclusive: bool, savepoints: u32 },
}

/// A script in the making.
#[derive(Debug)]
pub(super) struct Script<'a> {
    mix: &'a Mix,
    keys: &'a KeySpace,
    rng: ChaCha8Rng,
    crashes: Crashes,
    trouble: Trouble,
    marks: Marks,
    steps: Vec<Step>,
    clients: Vec<Open>,
    /// How many commits each client has outstanding.
    tickets: Vec<u64>,
    phase: Phase,
    phase_steps_left: u64,
    /// Where growing in key order has arrived.
    growth_at: usize,
    /// Neighbouring keys that are still to be deleted.
    prune_run: VecDeque<usize>,
    deleted: VecDeque<usize>,
    /// The number of the next value.
    next_value: u64,
}

impl<'a> Script<'a> {
    pub(super) fn new(mix: &'a Mix, keys: &'a KeySpace, faults: &FaultMix, streams: &Streams) -> Script<'a> {
        let faults = faults.write(mix.client_steps, &mut streams.stream("faults"));
        Script {
            mix,
            keys,
            rng: streams.stream("workload"),
            crashes: Crashes::new(mix, streams.stream("crashes")),
            trouble: Trouble::new(mix, streams.stream("trouble"), faults),
            marks: Marks::new(streams),
            steps: Vec::new(),
            clients: vec![Open::Nothing; mix.clients as usize],
            tickets: vec![0; mix.clients as usize],
            phase: Phase::Grow,
            phase_steps_left: 0,
            growth_at: 0,
            prune_run: VecDeque::new(),
            deleted: VecDeque::new(),
            next_value: 1,
        }
    }

    /// Writes all of it.
    pub(super) fn write(mut self) -> Vec<Step> {
        self.steps.extend(self.trouble.at_creation());
        self.steps.extend(self.crashes.at_creation().map(Step::Crash));
        self.preload();
        let mut client = 0;
        for done in 0..self.mix.client_steps {
            self.turn_phase();
            self.maintain(done);
            if self.rng.chance(self.mix.switch_share) {
                client = self.rng.index(self.clients.len());
            }
            let is_writing = matches!(self.clients[client], Open::Writer { .. });
            let action = self.next_action(client);
            let action = self.marks.in_place_of(action);
            let crash = match action {
                Action::Commit(_) | Action::Submit | Action::Wait => self.crashes.before_commit(done),
                _ => None,
            };
            let id = ClientId(u32::try_from(client).expect("there are a handful of clients"));
            let is_struck = crash.is_some();
            self.steps.extend(crash.map(Step::Crash));
            let before = if is_writing { self.marks.before(&action) } else { Vec::new() };
            let after = self.marks.after(&action);
            let actions = before.into_iter().chain([action]).chain(after);
            self.steps.extend(actions.map(|action| Step::Client(id, action)));
            if is_struck {
                self.forget_clients();
            }
        }
        self.steps
    }

    /// Lets every client begin anew: most likely the power has failed.
    fn forget_clients(&mut self) {
        self.clients.fill(Open::Nothing);
        self.tickets.fill(0);
    }

    /// Writes a good part of the keys, in key order, so that there are pages to be split and merged.
    fn preload(&mut self) {
        let mut indices = (0..self.mix.preload.min(self.keys.len())).peekable();
        while indices.peek().is_some() {
            let mut actions = vec![Action::Begin(Begin::Write)];
            for index in indices.by_ref().take(PRELOAD_BATCH) {
                actions.push(Action::Operation(self.put(index)));
            }
            actions.push(Action::Commit(Durability::Buffered));
            self.steps.extend(actions.into_iter().map(|action| Step::Client(ClientId(0), action)));
        }
        if self.mix.preload > 0 && self.rng.chance(700) {
            self.steps.push(Step::Checkpoint);
        }
    }

    /// Enters the next phase when the current one is over.
    fn turn_phase(&mut self) {
        if self.phase_steps_left > 0 {
            self.phase_steps_left -= 1;
            return;
        }
        self.phase_steps_left = self.rng.between(PHASE_STEPS_MIN..=PHASE_STEPS_MAX);
        self.phase = [Phase::Grow, Phase::Churn, Phase::Prune][self.rng.weighted(&self.mix.phase_weights)];
        self.prune_run.clear();
    }

    /// Writes what happens to the store as a whole before the client step number `done`.
    fn maintain(&mut self, done: u64) {
        self.steps.extend(self.crashes.anywhere(done).map(Step::Crash));
        while let Some(due) = self.trouble.take(done) {
            match due {
                Due::Step(step) => self.steps.push(step),
                Due::Crash => {
                    let crash = self.crashes.now();
                    self.steps.push(Step::Crash(crash));
                }
            }
        }
        if let Some(crash) = self.crashes.before_checkpoint(done) {
            let compacts = self.mix.compact_share > 0 && self.rng.chance(300);
            self.steps.extend([Step::Crash(crash), if compacts { Step::Compact } else { Step::Checkpoint }]);
            self.forget_clients();
        } else if self.rng.chance(self.mix.checkpoint_share) {
            self.steps.push(Step::Checkpoint);
        }
        if self.rng.chance(self.mix.compact_share) {
            self.steps.push(Step::Compact);
        }
        if self.rng.chance(self.mix.backup_share) {
            self.steps.push(Step::Backup);
        }
        if self.rng.chance(self.mix.changes_share) {
            let changes = self.changes();
            self.steps.push(changes);
        }
        if self.rng.chance(self.mix.verify_share) {
            self.steps.push(Step::Verify);
        }
        if self.rng.chance(self.mix.reopen_share) {
            self.forget_clients();
            self.steps.push(Step::Reopen);
        }
        if self.marks.abandons() {
            self.forget_clients();
            self.steps.push(Step::Abandon);
        }
    }

    /// A reading of the commit stream: mostly from where the last one ended.
    fn changes(&mut self) -> Step {
        let cursor = match self.rng.weighted(&[6, 2, 1, 1]) {
            0 => Cursor::Saved,
            1 => Cursor::Back(i64::try_from(self.rng.between(0..=20)).expect("at most twenty")),
            2 => Cursor::Back(-i64::try_from(self.rng.between(0..=3)).expect("at most three")),
            _ => Cursor::Back(1_000_000),
        };
        let limit = *self.rng.pick(&[1, 3, 10, usize::MAX, usize::MAX]);
        Step::Changes { cursor, limit }
    }

    fn next_action(&mut self, client: usize) -> Action {
        let open = self.clients[client];
        match open {
            Open::Nothing if self.waits(client) => Action::Wait,
            Open::Nothing => Action::Begin(self.begin(client)),
            Open::Reader { steps_left: 0 } => {
                self.clients[client] = Open::Nothing;
                Action::Abort
            }
            Open::Writer { steps_left: 0, .. } => {
                self.clients[client] = Open::Nothing;
                self.end_of_writer(client)
            }
            Open::Reader { steps_left } => {
                self.clients[client] = Open::Reader { steps_left: steps_left - 1 };
                Action::Operation(self.read())
            }
            Open::Writer { steps_left, is_exclusive, mut savepoints } => {
                let operation = if self.rng.chance(self.mix.savepoint_share) {
                    self.nest(&mut savepoints)
                } else if self.rng.chance(self.mix.read_own_share) {
                    self.read()
                } else {
                    self.mutation()
                };
                self.clients[client] = Open::Writer { steps_left: steps_left - 1, is_exclusive, savepoints };
                Action::Operation(operation)
            }
        }
    }

    /// Whether a client waits for a commit that it handed in.
    fn waits(&mut self, client: usize) -> bool {
        let outstanding = self.tickets[client];
        let waits = outstanding > 0 && (outstanding >= TICKETS_MAX || self.rng.chance(300));
        self.tickets[client] -= u64::from(waits);
        waits
    }

    /// Takes a savepoint, or goes back to any that was taken.
    fn nest(&mut self, savepoints: &mut u32) -> Operation {
        if *savepoints > 0 && self.rng.chance(500) {
            let chosen = self.rng.between(1..=u64::from(*savepoints));
            let savepoint = SavepointLabel(u32::try_from(chosen).expect("it is one of those"));
            return Operation::Rollback { savepoint };
        }
        *savepoints += 1;
        Operation::Savepoint { savepoint: SavepointLabel(*savepoints) }
    }

    fn begin(&mut self, client: usize) -> Begin {
        let is_busy = self.clients.iter().any(|open| matches!(open, Open::Writer { is_exclusive: true, .. }));
        if is_busy && self.rng.chance(self.mix.collision_share) {
            return Begin::Write;
        }
        let is_optimistic = self.rng.chance(self.mix.optimistic_share);
        // Beside an exclusive writer most optimistic ones come to nothing.
        let is_hopeless = is_busy && !(is_optimistic && self.rng.chance(300));
        if !is_hopeless && self.rng.chance(self.mix.write_share) {
            // Some change nothing: their commit still promises that everything before is durable.
            let is_empty = self.rng.chance(if self.mix.buffered_share > 0 { 120 } else { 40 });
            let steps_left = if is_empty { 0 } else { self.rng.between(1..=self.mix.batch_max) };
            let is_exclusive = !is_optimistic;
            self.clients[client] = Open::Writer { steps_left, is_exclusive, savepoints: 0 };
            return if is_optimistic { Begin::Optimistic } else { Begin::Write };
        }
        self.clients[client] = Open::Reader { steps_left: self.rng.between(1..=self.mix.reader_steps_max) };
        if !self.rng.chance(self.mix.read_back_share) {
            return Begin::Read;
        }
        let back = match self.rng.weighted(&[6, 6, 2, 1, 1]) {
            0 => self.rng.between(0..=3),
            1 => self.rng.between(0..=30),
            2 => self.rng.between(0..=300),
            3 => return Begin::ReadBack(-1),
            _ => 1_000_000,
        };
        Begin::ReadBack(i64::try_from(back).expect("at most a million"))
    }

    fn end_of_writer(&mut self, client: usize) -> Action {
        if self.rng.chance(self.mix.abort_share) {
            return Action::Abort;
        }
        if self.rng.chance(self.mix.ticket_share) {
            self.tickets[client] += 1;
            return Action::Submit;
        }
        let is_buffered = self.rng.chance(self.mix.buffered_share);
        Action::Commit(if is_buffered { Durability::Buffered } else { Durability::Sync })
    }

    fn read(&mut self) -> Operation {
        if !self.rng.chance(self.mix.scan_share) {
            return Operation::Get { key: self.some_key() };
        }
        let limit = match self.rng.weighted(&[1, 8, 3, 1]) {
            0 => self.rng.between(0..=1),
            1 => self.rng.between(2..=20),
            2 => self.rng.between(20..=100),
            _ => 1000,
        };
        Operation::Scan {
            range: self.keys.range(&mut self.rng),
            limit: usize::try_from(limit).expect("at most a thousand"),
            reverse: self.rng.chance(400),
        }
    }

    fn some_key(&mut self) -> Key {
        let index = self.keys.pick(&mut self.rng, self.mix.hot_share);
        self.keys.key(index).clone()
    }

    fn mutation(&mut self) -> Operation {
        let put_share = match self.phase {
            Phase::Grow => 950,
            Phase::Churn => 550,
            Phase::Prune => 100,
        };
        if !self.rng.chance(put_share) {
            return self.delete();
        }
        let index = self.index_to_put();
        self.put(index)
    }

    /// A put with the next value.
    fn put(&mut self, index: usize) -> Operation {
        let value = unique_value(self.next_value, self.mix.values.draw(&mut self.rng));
        self.next_value += 1;
        Operation::Put { key: self.keys.key(index).clone(), value }
    }

    fn index_to_put(&mut self) -> usize {
        if self.rng.chance(self.mix.reinsert_share)
            && let Some(index) = self.deleted.pop_back()
        {
            return index;
        }
        if self.phase == Phase::Grow && self.rng.chance(500) {
            self.growth_at += 1;
            return self.growth_at % self.keys.len();
        }
        self.keys.pick(&mut self.rng, self.mix.hot_share)
    }

    fn delete(&mut self) -> Operation {
        if self.rng.chance(self.mix.delete_range_share) {
            return Operation::DeleteRange { range: self.keys.short_range(&mut self.rng) };
        }
        let index = if self.phase == Phase::Prune {
            self.next_of_prune_run()
        } else {
            self.keys.pick(&mut self.rng, self.mix.hot_share)
        };
        if self.deleted.len() == DELETED_MAX {
            self.deleted.pop_front();
        }
        self.deleted.push_back(index);
        Operation::Delete { key: self.keys.key(index).clone() }
    }

    fn next_of_prune_run(&mut self) -> usize {
        if let Some(index) = self.prune_run.pop_front() {
            return index;
        }
        let start = self.rng.index(self.keys.len());
        let length =
            usize::try_from(self.rng.between(1..=self.mix.prune_run_max)).expect("at most a few dozen");
        self.prune_run.extend((start..start + length).map(|index| index % self.keys.len()));
        self.prune_run.pop_front().expect("a run has at least one key")
    }
}
