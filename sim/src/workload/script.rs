//! Writes the steps of a plan, client by client and step by step.

use std::collections::VecDeque;

use proofmark_model::{ClientId, Durability, Key, Operation, unique_value};
use rand_chacha::ChaCha8Rng;

use super::crashes::Crashes;
use super::keys::KeySpace;
use super::mix::Mix;
use crate::plan::{Action, Begin, Step};
use crate::random::Draw;

/// How many client steps a phase lasts.
const PHASE_STEPS_MIN: u64 = 30;
const PHASE_STEPS_MAX: u64 = 120;
/// How many keys one transaction of the preload writes.
const PRELOAD_BATCH: usize = 64;
/// How many deleted keys are remembered, to be brought back.
const DELETED_MAX: usize = 16;

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
    Writer { steps_left: u64 },
}

/// A script in the making.
#[derive(Debug)]
pub(super) struct Script<'a> {
    mix: &'a Mix,
    keys: &'a KeySpace,
    rng: ChaCha8Rng,
    crashes: Crashes,
    steps: Vec<Step>,
    clients: Vec<Open>,
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
    pub(super) fn new(
        mix: &'a Mix,
        keys: &'a KeySpace,
        rng: ChaCha8Rng,
        crash_rng: ChaCha8Rng,
    ) -> Script<'a> {
        Script {
            mix,
            keys,
            rng,
            crashes: Crashes::new(mix, crash_rng),
            steps: Vec::new(),
            clients: vec![Open::Nothing; mix.clients as usize],
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
        self.steps.extend(self.crashes.at_creation().map(Step::Crash));
        self.preload();
        let mut client = 0;
        for done in 0..self.mix.client_steps {
            self.turn_phase();
            self.maintain(done);
            if self.rng.chance(self.mix.switch_share) {
                client = self.rng.index(self.clients.len());
            }
            let action = self.next_action(client);
            if matches!(action, Action::Commit(_)) {
                self.steps.extend(self.crashes.before_commit(done).map(Step::Crash));
            }
            let id = ClientId(u32::try_from(client).expect("there are a handful of clients"));
            self.steps.push(Step::Client(id, action));
        }
        self.steps
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
        if let Some(crash) = self.crashes.before_checkpoint(done) {
            self.steps.extend([Step::Crash(crash), Step::Checkpoint]);
        } else if self.rng.chance(self.mix.checkpoint_share) {
            self.steps.push(Step::Checkpoint);
        }
        if self.rng.chance(self.mix.verify_share) {
            self.steps.push(Step::Verify);
        }
        if self.rng.chance(self.mix.reopen_share) {
            self.clients.fill(Open::Nothing);
            self.steps.push(Step::Reopen);
        }
    }

    fn next_action(&mut self, client: usize) -> Action {
        match self.clients[client] {
            Open::Nothing => Action::Begin(self.begin(client)),
            Open::Reader { steps_left: 0 } => {
                self.clients[client] = Open::Nothing;
                Action::Abort
            }
            Open::Writer { steps_left: 0 } => {
                self.clients[client] = Open::Nothing;
                self.end_of_writer()
            }
            Open::Reader { steps_left } => {
                self.clients[client] = Open::Reader { steps_left: steps_left - 1 };
                Action::Operation(self.read())
            }
            Open::Writer { steps_left } => {
                self.clients[client] = Open::Writer { steps_left: steps_left - 1 };
                let reads = self.rng.chance(self.mix.read_own_share);
                Action::Operation(if reads { self.read() } else { self.mutation() })
            }
        }
    }

    fn begin(&mut self, client: usize) -> Begin {
        let is_busy = self.clients.iter().any(|open| matches!(open, Open::Writer { .. }));
        if is_busy && self.rng.chance(self.mix.collision_share) {
            return Begin::Write;
        }
        if !is_busy && self.rng.chance(self.mix.write_share) {
            // Some change nothing: their commit still promises that everything before is durable.
            let is_empty = self.rng.chance(50);
            let steps_left = if is_empty { 0 } else { self.rng.between(1..=self.mix.batch_max) };
            self.clients[client] = Open::Writer { steps_left };
            return Begin::Write;
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

    fn end_of_writer(&mut self) -> Action {
        if self.rng.chance(self.mix.abort_share) {
            return Action::Abort;
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
