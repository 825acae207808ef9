//! The workload that is explored when nobody names another: short, and of everything that a store writes.
//!
//! Pages and segments are of the smallest size, so that trees split and the log changes its segments within a few
//! commits. There are overwrites, deletes, a value of several pages, commits that are durable, buffered and handed in,
//! checkpoints with and without something before them, a compaction, and a reopening.

use std::ops::Bound;

use proofmark_model::{ClientId, Durability, KeyRange, Operation, unique_value};

use crate::disk::{Fault, FaultKind, IoKind, Keep, Moment};
use crate::plan::{Action, Begin, Config, CrashSpec, Plan, Retention, Step, Strike};
use crate::store::StoreKind;

/// How many rounds of commits there are.
const ROUNDS: u64 = 9;
/// How many keys there are, about.
const KEYS: u64 = 40;
/// A meta page lies in the first sector of a page.
const SECTOR_BYTES: u64 = 512;

/// The plan for a store.
pub fn built_in(store: StoreKind) -> Plan {
    let mut plan = Plan::new(store);
    plan.config = Config {
        cache_bytes: 1 << 16,
        segment_bytes: 4096,
        spare_segments: 1,
        log_chunk_bytes: 1024,
        write_tier_bytes: 1 << 20,
        retention: Retention::Txns(3),
        ..Config::default()
    };
    let mut writer = Writer { steps: Vec::new(), values_used: 0 };
    for round in 0..ROUNDS {
        writer.round(round);
    }
    plan.steps = writer.steps;
    plan
}

/// The runs that are audited when nobody names another: the workload with a backup and with checkpoints that fail; two that
/// recover from whatever there is to recover from, deaths of the process and power losses that lose nothing; and, for
/// each meta page of the engine, one in which that page is damaged by the time a power loss is recovered from.
pub fn built_in_for_audit(store: StoreKind) -> Vec<Plan> {
    let mut plain = built_in(store);
    plain.steps.push(Step::Backup);
    let mut writer = Writer { steps: plain.steps, values_used: 1000 };
    for end in [Step::Checkpoint, Step::Compact] {
        writer.write(0, Action::Commit(Durability::Buffered), |writer| writer.put(0, 3, 300));
        // It fails after the log went on in a new segment, in which the next commit is then acknowledged.
        writer.steps.extend([Step::Fault(failing_write("data*")), end]);
        writer.write(0, Action::Commit(Durability::Sync), |writer| writer.put(0, 4, 300));
        // What it left has to be done first, or the next one fails before its log goes on.
        writer.steps.push(Step::Checkpoint);
    }
    plain.steps = writer.steps;
    let with = |keep| Plan { steps: crashes(&keep), ..built_in(store) };
    let mut plans = vec![plain, with(Keep::PageCache), with(Keep::All)];
    if store == StoreKind::Engine {
        let page_size = u64::from(plans[0].config.page_size);
        plans.extend([0, page_size].map(|page| Plan { steps: damage(page), ..built_in(store) }));
    }
    plans
}

/// Steps that retire several segments at once, in a checkpoint, while the store is opened again, and in a recovery: whoever
/// falls back to the older meta page after that needs all of them, or none. The one at `page` is damaged when it is read
/// next.
fn damage(page: u64) -> Vec<Step> {
    let mut writer = Writer { steps: Vec::new(), values_used: 0 };
    let fill = |writer: &mut Writer| {
        for number in 0..12 {
            writer.write(0, Action::Commit(Durability::Sync), |writer| writer.put(0, number, 900));
        }
    };
    // The fault waits for this reading of the page: the first is that of the opening under way, if there is one.
    let on_reading = |nth| {
        let mut fault = Fault::once(FaultKind::ZeroedSector, nth);
        fault.scope.file = Some("data".parse().expect("a name is a pattern"));
        fault.scope.range = Some(page..page + SECTOR_BYTES);
        Step::Fault(fault)
    };
    for (nth, ends) in
        [(1, vec![Step::Checkpoint]), (2, vec![Step::Reopen]), (2, vec![crash(1, Keep::All), Step::Verify])]
    {
        // The faults of the ones before end, and with them their damage.
        writer.steps.extend([Step::Heal, Step::Checkpoint]);
        fill(&mut writer);
        writer.steps.push(on_reading(nth));
        writer.steps.extend(ends);
        // Its first write is the first boundary at which all of the log is retired.
        writer.write(0, Action::Commit(Durability::Sync), |writer| writer.put(0, 1, 60));
    }
    writer.steps.push(Step::Heal);
    writer.steps
}

/// Steps that crash in the creation, with commits in doubt, and at each call of a checkpoint and of a compaction in turn.
fn crashes(keep: &Keep) -> Vec<Step> {
    let mut writer = Writer { steps: vec![crash(24, keep.clone())], values_used: 0 };
    let checkpoints = (1..=18).map(|call| (call, Step::Checkpoint));
    let compactions = (8..=26).map(|call| (call, Step::Compact));
    for (call, step) in checkpoints.chain(compactions) {
        writer.write(0, Action::Commit(Durability::Sync), |writer| writer.put(0, call * 3, 80));
        writer.write(0, Action::Commit(Durability::Buffered), |writer| writer.put(0, call * 5, 700));
        writer.steps.extend([crash(call, keep.clone()), step]);
    }
    writer.steps
}

/// The next write to a file whose name matches fails. After a compaction the data file is known by the name it had before.
fn failing_write(name: &str) -> Fault {
    let mut fault = Fault::once(FaultKind::IoError, 1).on(IoKind::Write);
    fault.scope.file = Some(name.parse().expect("a name is a pattern"));
    fault
}

fn crash(call: u64, keep: Keep) -> Step {
    Step::Crash(CrashSpec { strikes: vec![Strike { call, moment: Moment::Before, keep }] })
}

struct Writer {
    steps: Vec<Step>,
    values_used: u64,
}

impl Writer {
    fn round(&mut self, round: u64) {
        for commit in 0..3 {
            let keys = [round * 7 + commit, round * 3 + commit * 5 + 1];
            self.write(0, Action::Commit(Durability::Sync), |writer| {
                for key in keys {
                    writer.put(0, key, 60 + (round as usize % 3) * 40);
                }
            });
        }
        self.write(0, Action::Commit(Durability::Buffered), |writer| {
            writer.put(0, round * 11 + 2, 200);
            writer.operate(0, Operation::Delete { key: key(round * 7) });
        });
        // Two are on their way at once, and one of them is waited for.
        for client in [1, 2] {
            self.write(client, Action::Submit, |writer| {
                writer.put(client, round * 13 + u64::from(client), 100);
            });
        }
        self.act(1, Action::Wait);
        match round {
            2 | 5 | 7 => self.steps.push(Step::Checkpoint),
            3 => self.write(0, Action::Commit(Durability::Sync), |writer| writer.put(0, 5, 9000)),
            4 => {
                self.write(0, Action::Commit(Durability::Buffered), |writer| {
                    let range = KeyRange { start: Bound::Included(key(10)), end: Bound::Excluded(key(20)) };
                    writer.operate(0, Operation::DeleteRange { range });
                });
                self.steps.push(Step::Reopen);
            }
            6 => self.steps.push(Step::Compact),
            _ => {}
        }
    }

    fn write(&mut self, client: u32, end: Action, body: impl FnOnce(&mut Writer)) {
        self.act(client, Action::Begin(if client == 0 { Begin::Write } else { Begin::Optimistic }));
        body(self);
        self.act(client, end);
    }

    fn put(&mut self, client: u32, number: u64, length: usize) {
        self.values_used += 1;
        let value = unique_value(self.values_used, length);
        self.operate(client, Operation::Put { key: key(number), value });
    }

    fn operate(&mut self, client: u32, operation: Operation) {
        self.act(client, Action::Operation(operation));
    }

    fn act(&mut self, client: u32, action: Action) {
        self.steps.push(Step::Client(ClientId(client), action));
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("k{:02}", number % KEYS).into_bytes()
}
