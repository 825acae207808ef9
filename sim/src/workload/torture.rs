//! Plans for threads: many clients at work on few keys, and upkeep beside them.
//!
//! Each plan is of one kind. Many readers with long scans stand against one writer, or a few optimistic writers against each
//! other, or short snapshots against what lets go of the past, or everybody does everything. Between two phases the power
//! fails, or the store is closed, copied or compacted.
//! There are no faults but power losses: what clients do to each other is enough to look for here.

use proofmark_model::{ClientId, Durability, Key, KeyRange, Operation, unique_value};
use rand_chacha::ChaCha8Rng;

use super::crashes::Crashes;
use super::mix::Mix;
use crate::plan::{
    Action, Begin, Config, Cursor, Draws, Plan, Retention, Schedule, Scheduler, Step, Threads,
};
use crate::random::{Draw, Streams};
use crate::store::StoreKind;

/// What a plan for threads is to be like. What is not set is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Torture {
    /// How many clients there are.
    pub clients: Option<u32>,
    /// Who decides which thread goes on.
    pub scheduler: Option<Scheduler>,
    /// At how many of a thousand points it is asked; at all if that is a thousand.
    pub forced_yields: Option<u16>,
}

/// What a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One writer, and readers with long scans.
    Readers,
    /// Optimistic writers on few keys.
    Conflicts,
    /// One writer, checkpoints, no past to speak of, and readers that look once and begin anew.
    Snapshots,
    /// Everybody does everything.
    Everything,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Reader,
    Writer,
    Optimist,
}

/// Of the plans, those about short snapshots, in thousandths.
const SNAPSHOTS_SHARE: u64 = 150;
/// Of the plans, those whose store prunes with every commit, in thousandths.
const PRUNE_SHARE: u64 = 300;

/// The plan for threads that `seed` stands for.
pub fn torture(seed: u64, store: StoreKind, knobs: &Torture) -> Plan {
    let streams = Streams::new(seed);
    let mut rng = streams.stream("torture");
    let kind = [Kind::Readers, Kind::Conflicts, Kind::Everything][rng.weighted(&[1, 2, 3])];
    // What came later has streams of its own, so that a seed keeps what it had before.
    let kind =
        if streams.stream("torture snapshots").chance(SNAPSHOTS_SHARE) { Kind::Snapshots } else { kind };
    let clients = match kind {
        Kind::Readers => 33,
        Kind::Conflicts => 4,
        Kind::Snapshots => rng.between(3..=6) as u32,
        Kind::Everything => rng.between(2..=6) as u32,
    };
    let key_count = match kind {
        Kind::Readers => rng.between(8..=60),
        Kind::Conflicts | Kind::Snapshots => rng.between(1..=4),
        Kind::Everything => rng.between(2..=24),
    };
    let mut config = config(&mut rng);
    config.prune = streams.stream("torture prune").chance(PRUNE_SHARE);
    if kind == Kind::Snapshots {
        config.retention = *rng.pick(&[Retention::Latest, Retention::Latest, Retention::Txns(1)]);
    }
    let mix = Mix::draw(&streams);
    let mut plan = Plan { seed: Some(seed), config, disk: mix.disk, ..Plan::new(store) };
    plan.schedule =
        Schedule::Threads(Threads::Drawn(draws(seed, &mut streams.stream("torture schedule"), knobs)));
    let mut script = Script {
        kind,
        clients: knobs.clients.unwrap_or(clients),
        keys: (0..key_count).map(|number| format!("k{number:02}").into_bytes()).collect(),
        crashes: Crashes::new(&mix, streams.stream("torture crashes")),
        rng,
        values_used: 0,
        steps: Vec::new(),
    };
    script.write();
    plan.steps = script.steps;
    plan
}

/// How threads are interleaved, as far as it is not set.
pub(super) fn draws(seed: u64, rng: &mut ChaCha8Rng, knobs: &Torture) -> Draws {
    let depth = 1 + rng.below(6) as u32;
    let drawn = match rng.weighted(&[3, 4, 2, 1]) {
        0 => Scheduler::Random,
        1 => Scheduler::Priorities { depth },
        2 => Scheduler::Uniform,
        _ => Scheduler::RoundRobin,
    };
    let rate = *rng.pick(&[1000, 1000, 300, 100, 30]);
    let scheduler = knobs.scheduler.unwrap_or(drawn);
    // Who goes by priorities changes its mind seldom enough.
    let is_calm = matches!(scheduler, Scheduler::Priorities { .. });
    let rate = knobs.forced_yields.unwrap_or(if is_calm { 1000 } else { rate });
    Draws { seed, scheduler, forced_yields: (rate < 1000).then_some(rate) }
}

fn config(rng: &mut ChaCha8Rng) -> Config {
    Config {
        cache_bytes: *rng.pick(&[0, 32 << 10, 1 << 20]),
        segment_bytes: *rng.pick(&[4096, 16 << 10]),
        spare_segments: *rng.pick(&[0, 1, 2]),
        log_chunk_bytes: *rng.pick(&[512, 4096]),
        write_tier_bytes: *rng.pick(&[1 << 10, 4 << 10, 1 << 20]),
        retention: *rng.pick(&[Retention::Latest, Retention::Txns(4), Retention::All]),
        ..Config::default()
    }
}

struct Script {
    kind: Kind,
    clients: u32,
    keys: Vec<Key>,
    crashes: Crashes,
    rng: ChaCha8Rng,
    values_used: u64,
    steps: Vec<Step>,
}

impl Script {
    fn write(&mut self) {
        self.fill();
        let phases = 1 + self.rng.below(3);
        for phase in 0..phases {
            if phase > 0 {
                self.divide();
            }
            self.phase();
        }
    }

    /// Something to read, for the first phase.
    fn fill(&mut self) {
        let puts: Vec<Operation> = (0..self.keys.len()).map(|key| self.put(key)).collect();
        let operations = puts.into_iter().map(Action::Operation);
        let actions = [Action::Begin(Begin::Write)].into_iter().chain(operations);
        let actions = actions.chain([Action::Commit(Durability::Sync)]);
        self.steps.extend(actions.map(|action| Step::Client(ClientId(0), action)));
    }

    /// Something that is not done beside clients.
    fn divide(&mut self) {
        let step = match self.rng.weighted(&[6, 2, 1, 1, 1]) {
            0 => Step::Crash(self.crashes.now()),
            1 => Step::Reopen,
            2 => Step::Abandon,
            3 => Step::Backup,
            _ => Step::Compact,
        };
        self.steps.push(step);
    }

    /// Transactions of clients, and upkeep among them.
    fn phase(&mut self) {
        let per_client = match self.kind {
            Kind::Readers => 1 + self.rng.below(2),
            Kind::Conflicts => 2 + self.rng.below(4),
            Kind::Snapshots => 4 + self.rng.below(4),
            Kind::Everything => 1 + self.rng.below(4),
        };
        let upkeep_shares = if self.kind == Kind::Snapshots { [100, 200, 400] } else { [0, 50, 200] };
        let upkeep_per_mille = *self.rng.pick(&upkeep_shares);
        for _ in 0..per_client {
            for client in 0..self.clients {
                let transactions = match self.kind {
                    Kind::Readers if client == 0 => 6,
                    Kind::Snapshots => 2,
                    _ => 1,
                };
                for _ in 0..transactions {
                    let role = self.role(client);
                    self.transaction(ClientId(client), role);
                }
                if self.rng.chance(upkeep_per_mille) {
                    self.upkeep();
                }
            }
        }
        if self.rng.chance(500) {
            self.upkeep();
        }
    }

    fn role(&mut self, client: u32) -> Role {
        match self.kind {
            Kind::Readers | Kind::Snapshots if client == 0 => Role::Writer,
            Kind::Readers | Kind::Snapshots => Role::Reader,
            Kind::Conflicts if self.rng.chance(850) => Role::Optimist,
            Kind::Conflicts => Role::Reader,
            Kind::Everything => [Role::Reader, Role::Writer, Role::Optimist][self.rng.weighted(&[3, 3, 4])],
        }
    }

    fn upkeep(&mut self) {
        let step = match self.rng.weighted(&[6, 2, 2]) {
            0 => Step::Checkpoint,
            1 => Step::Changes { cursor: Cursor::Saved, limit: *self.rng.pick(&[2, usize::MAX]) },
            _ => Step::Verify,
        };
        self.steps.push(step);
    }

    fn transaction(&mut self, client: ClientId, role: Role) {
        let mut actions = Vec::new();
        if role == Role::Reader {
            let back = i64::try_from(self.rng.below(4)).expect("it is small");
            let begin = if self.rng.chance(150) { Begin::ReadBack(back) } else { Begin::Read };
            actions.push(Action::Begin(begin));
            let reads = if self.kind == Kind::Snapshots { 1 } else { 1 + self.rng.below(3) };
            for _ in 0..reads {
                actions.push(Action::Operation(self.read()));
            }
            actions.push(Action::Abort);
        } else {
            actions.push(Action::Begin(if role == Role::Writer { Begin::Write } else { Begin::Optimistic }));
            for _ in 0..1 + self.rng.below(3) {
                let operation = if self.rng.chance(300) { self.read() } else { self.change() };
                actions.push(Action::Operation(operation));
            }
            match self.rng.weighted(&[5, 3, 3, 1]) {
                0 => actions.push(Action::Commit(Durability::Sync)),
                1 => actions.push(Action::Commit(Durability::Buffered)),
                2 => actions.extend([Action::Submit, Action::Wait]),
                _ => actions.push(Action::Abort),
            }
        }
        self.steps.extend(actions.into_iter().map(|action| Step::Client(client, action)));
    }

    fn read(&mut self) -> Operation {
        if self.rng.chance(400) {
            return Operation::Get { key: self.rng.pick(&self.keys).clone() };
        }
        Operation::Scan { range: KeyRange::all(), limit: usize::MAX, reverse: self.rng.chance(300) }
    }

    fn change(&mut self) -> Operation {
        let key = self.rng.index(self.keys.len());
        match self.rng.weighted(&[7, 2, 1]) {
            0 => self.put(key),
            1 => Operation::Delete { key: self.keys[key].clone() },
            _ => Operation::DeleteRange { range: KeyRange::prefix(&self.keys[key][..2]) },
        }
    }

    fn put(&mut self, key: usize) -> Operation {
        self.values_used += 1;
        let length = *self.rng.pick(&[8, 40, 300]);
        Operation::Put { key: self.keys[key].clone(), value: unique_value(self.values_used, length) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn plans_are_what_their_seed_says_and_print_as_they_are() {
        let mut schedulers = BTreeSet::new();
        for seed in 0..60 {
            let plan = torture(seed, StoreKind::Engine, &Torture::default());
            assert_eq!(plan, torture(seed, StoreKind::Engine, &Torture::default()));
            assert_eq!(plan.to_string().parse::<Plan>().as_ref(), Ok(&plan), "seed {seed}");
            let Schedule::Threads(Threads::Drawn(draws)) = plan.schedule else { panic!("no threads") };
            schedulers.insert(draws.scheduler.to_string());
        }
        assert!(schedulers.len() > 5, "{schedulers:?}");
    }

    #[test]
    fn knobs_are_obeyed() {
        let scheduler = Scheduler::Priorities { depth: 2 };
        let knobs = Torture { clients: Some(3), scheduler: Some(scheduler), forced_yields: Some(7) };
        for seed in 0..20 {
            let plan = torture(seed, StoreKind::Engine, &knobs);
            let expected = Draws { seed, scheduler, forced_yields: Some(7) };
            assert_eq!(plan.schedule, Schedule::Threads(Threads::Drawn(expected)));
            let clients = plan.steps.iter().filter_map(|step| match step {
                Step::Client(client, _) => Some(client.0),
                _ => None,
            });
            assert!(clients.clone().all(|client| client < 3) && clients.max() == Some(2));
        }
    }

    #[test]
    fn what_came_later_is_drawn() {
        let plans: Vec<Plan> =
            (0..200).map(|seed| torture(seed, StoreKind::Engine, &Torture::default())).collect();
        let prunes = plans.iter().filter(|plan| plan.config.prune).count();
        assert!((30..100).contains(&prunes), "{prunes} of 200 prune");
        // One who writes, others who only look, and each of them often.
        let begins = |plan: &Plan, writes: bool| {
            let begins = plan.steps.iter().filter_map(|step| match step {
                Step::Client(client, Action::Begin(begin)) => {
                    let reads = matches!(begin, Begin::Read | Begin::ReadBack(_));
                    (writes != reads).then_some(*client)
                }
                _ => None,
            });
            begins.collect::<Vec<_>>()
        };
        let is_about_snapshots = |plan: &&Plan| {
            let writers: BTreeSet<_> = begins(plan, true).into_iter().collect();
            let readers: BTreeSet<_> = begins(plan, false).into_iter().collect();
            writers.len() == 1 && (2..=5).contains(&readers.len()) && begins(plan, false).len() >= 16
        };
        let snapshots = plans.iter().filter(is_about_snapshots).count();
        assert!((10..60).contains(&snapshots), "{snapshots} of 200 are about snapshots");
    }

    #[test]
    fn many_readers_stand_against_one_writer() {
        let is_crowded = |seed: &u64| {
            let plan = torture(*seed, StoreKind::Engine, &Torture::default());
            plan.steps.iter().filter_map(Step::thread).collect::<BTreeSet<_>>().len() > 32
        };
        assert!((0..60).filter(is_crowded).count() > 4);
    }
}
