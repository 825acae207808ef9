//! Writes down what happens: the history, the hash over it, and on request lines for a person.

use std::ops::Bound;

use proofmark_model::{Call, Commit, Durability, Event, History, Key, KeyRange, Mode, Retention, TxnId};
use xxhash_rust::xxh3::Xxh3;

use crate::determinism::Ladder;
use crate::disk::SimDisk;

/// So many events there are, about, after a power loss that is explored.
const EVENTS_AFTER_CRASH: usize = 32;

/// Everything that is known of a run.
pub(crate) struct Recorder {
    history: History,
    /// For each event, the plan's step that caused it.
    steps: Vec<Option<usize>>,
    /// For each event, how many I/O calls had been made.
    calls: Vec<u64>,
    sabotaged_calls: Vec<u64>,
    step: Option<usize>,
    /// None where nothing is hashed.
    hash: Option<Xxh3>,
    lines: Option<Vec<String>>,
    ladder: Option<Ladder>,
}

/// What is left of a recorder.
pub(crate) struct Recording {
    pub(super) history: History,
    pub(super) steps: Vec<Option<usize>>,
    pub(super) calls: Vec<u64>,
    /// The I/O calls that a fault struck which nobody was told of.
    pub(super) sabotaged_calls: Vec<u64>,
    /// None from a recorder that does not hash.
    pub(super) trace_hash: Option<u64>,
    pub(super) lines: Option<Vec<String>>,
    pub(super) ladder: Option<Ladder>,
}

impl Recorder {
    /// A recorder that also keeps lines, if `with_lines`.
    pub(super) fn new(with_lines: bool) -> Recorder {
        Recorder {
            history: History::default(),
            steps: Vec::new(),
            calls: Vec::new(),
            sabotaged_calls: Vec::new(),
            step: None,
            hash: Some(Xxh3::new()),
            lines: with_lines.then(Vec::new),
            ladder: None,
        }
    }

    /// A recorder for what follows on an image of a disk, whose trace is silent: it does not hash.
    pub(super) fn silent() -> Recorder {
        let history = History { events: Vec::with_capacity(EVENTS_AFTER_CRASH) };
        let (steps, calls) = (Vec::with_capacity(EVENTS_AFTER_CRASH), Vec::with_capacity(EVENTS_AFTER_CRASH));
        Recorder { hash: None, history, steps, calls, ..Recorder::new(false) }
    }

    /// A recorder that also takes every event and every I/O call up a ladder.
    pub(super) fn climbing(ladder: Ladder) -> Recorder {
        Recorder { ladder: Some(ladder), ..Recorder::new(false) }
    }

    /// Whether nothing has happened yet.
    pub(super) fn is_empty(&self) -> bool {
        self.history.events.is_empty()
    }

    /// What has happened, from the latest event on backwards.
    pub(super) fn backwards(&self) -> impl Iterator<Item = &Event> {
        self.history.events.iter().rev()
    }

    /// What follows is caused by the plan's step number `step`, or by none.
    pub(super) fn enter(&mut self, step: Option<usize>, describe: impl FnOnce() -> String) {
        self.step = step;
        self.note(describe);
    }

    /// Keeps a line for a person, if lines are kept.
    pub(super) fn note(&mut self, describe: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(describe());
        }
    }

    /// Takes in an event, which this step of the plan caused, after the I/O calls that led to it.
    pub(crate) fn event(&mut self, event: Event, step: Option<usize>, disk: &SimDisk) {
        self.step = step;
        self.disk_lines(disk);
        self.note(|| format!("    {event}"));
        if let Some(hash) = &mut self.hash {
            hash.update(&disk.trace_hash().to_le_bytes());
            hash_event(hash, &event);
            if let Some(ladder) = &mut self.ladder {
                ladder.climb(hash.digest(), self.step, || event.to_string());
            }
        }
        self.history.events.push(event);
        self.steps.push(self.step);
        self.calls.push(disk.io_calls());
    }

    /// Remembers the I/O call with this number as one that a fault struck which nobody was told of.
    pub(super) fn sabotaged(&mut self, call: u64) {
        self.sabotaged_calls.push(call);
    }

    /// Takes in what the disk did since the last event.
    pub(super) fn disk_lines(&mut self, disk: &SimDisk) {
        if let Some(lines) = &mut self.lines {
            lines.extend(disk.take_trace().iter().map(|event| format!("        {event}")));
        }
        if let Some(ladder) = &mut self.ladder {
            for (hash, event) in disk.take_hashed_trace() {
                ladder.climb(hash, self.step, || event.to_string());
            }
        }
    }

    pub(super) fn finish(mut self, disk: &SimDisk) -> Recording {
        self.disk_lines(disk);
        let trace_hash = self.hash.take().map(|mut hash| {
            hash.update(&disk.trace_hash().to_le_bytes());
            hash.digest()
        });
        Recording {
            history: self.history,
            steps: self.steps,
            calls: self.calls,
            sabotaged_calls: self.sabotaged_calls,
            trace_hash,
            lines: self.lines,
            ladder: self.ladder,
        }
    }
}

/// Feeds an event to a hash: a number for its kind, then its fields, each of a fixed size or after its length.
fn hash_event(hash: &mut Xxh3, event: &Event) {
    match event {
        Event::Begin { client, txn, mode, snapshot } => {
            numbers(hash, [1, u64::from(client.0), u64::from(txn.0)]);
            hash_mode(hash, *mode);
            hash_id(hash, *snapshot);
        }
        Event::Refused { client, mode, reason, oldest } => {
            numbers(hash, [2, u64::from(client.0), *reason as u64]);
            hash_mode(hash, *mode);
            hash_id(hash, *oldest);
        }
        Event::Get { txn, key, value } => {
            numbers(hash, [3, u64::from(txn.0), u64::from(value.is_some())]);
            bytes(hash, key);
            bytes(hash, value.as_deref().unwrap_or_default());
        }
        Event::Scan { txn, range, limit, reverse, pairs } => {
            numbers(hash, [4, u64::from(txn.0), *limit as u64, u64::from(*reverse)]);
            hash_range(hash, range);
            hash_pairs(hash, pairs);
        }
        Event::Put { txn, key, value } => {
            numbers(hash, [5, u64::from(txn.0)]);
            bytes(hash, key);
            bytes(hash, value);
        }
        Event::Delete { txn, key } => {
            numbers(hash, [6, u64::from(txn.0)]);
            bytes(hash, key);
        }
        Event::Submit { txn, durability } => {
            numbers(hash, [7, u64::from(txn.0), u64::from(*durability == Durability::Sync)]);
        }
        Event::Committed { txn, id } => {
            numbers(hash, [8, u64::from(txn.0)]);
            hash_id(hash, *id);
        }
        Event::Aborted { txn } => numbers(hash, [9, u64::from(txn.0)]),
        Event::Durable => numbers(hash, [10]),
        Event::Crash { is_power_loss } => numbers(hash, [11, u64::from(*is_power_loss)]),
        Event::Opening => numbers(hash, [25]),
        Event::Opened { latest, oldest, retention, state } => {
            numbers(hash, [12]);
            hash_id(hash, *latest);
            hash_id(hash, *oldest);
            hash_retention(hash, *retention);
            hash_pairs(hash, state);
        }
        Event::Failed { what, error } => {
            numbers(hash, [13]);
            bytes(hash, what.as_bytes());
            bytes(hash, error.as_bytes());
        }
        Event::DeleteRange { txn, range, count, keys } => {
            numbers(hash, [14, u64::from(txn.0), *count, keys.len() as u64]);
            hash_range(hash, range);
            keys.iter().for_each(|key| bytes(hash, key));
        }
        Event::Savepoint { txn, savepoint } => {
            numbers(hash, [15, u64::from(txn.0), u64::from(savepoint.0)]);
        }
        Event::Rollback { txn, savepoint, is_refused } => {
            numbers(hash, [16, u64::from(txn.0), u64::from(savepoint.0), u64::from(*is_refused)]);
        }
        Event::Ticket { txn, id } => {
            numbers(hash, [17, u64::from(txn.0)]);
            hash_id(hash, *id);
        }
        Event::Changes { from, limit, oldest, commits } => {
            numbers(hash, [18, from.0, *limit as u64, commits.len() as u64]);
            hash_id(hash, *oldest);
            for commit in commits {
                hash_commit(hash, commit);
            }
        }
        Event::Backup { at, latest, oldest, state } => {
            numbers(hash, [19, at.0, latest.0, oldest.0]);
            hash_pairs(hash, state);
        }
        Event::Space { bytes } => {
            numbers(hash, [20, u64::from(bytes.is_some()), bytes.unwrap_or_default()]);
        }
        Event::Mark { txn, mark, is_persistent } => {
            numbers(hash, [22, u64::from(txn.0), u64::from(mark.0), u64::from(*is_persistent)]);
        }
        Event::Restore { txn, mark, is_refused } => {
            numbers(hash, [23, u64::from(txn.0), u64::from(mark.0), u64::from(*is_refused)]);
        }
        Event::Forget { txn, mark, is_refused } => {
            numbers(hash, [24, u64::from(txn.0), u64::from(mark.0), u64::from(*is_refused)]);
        }
        Event::Asked { client, call } => {
            numbers(hash, [26, u64::from(client.0)]);
            hash_call(hash, *call);
        }
        // These are rare, and their text form is exact.
        Event::Denied { .. }
        | Event::ChangesRefused { .. }
        | Event::OutOfSpace { .. }
        | Event::Fault { .. }
        | Event::MadeGood
        | Event::Healed
        | Event::GaveUp { .. }
        | Event::Poisoned { .. }
        | Event::Corrupt { .. }
        | Event::Closed
        | Event::Stuck { .. } => {
            numbers(hash, [21]);
            bytes(hash, event.to_string().as_bytes());
        }
    }
}

fn hash_commit(hash: &mut Xxh3, commit: &Commit) {
    numbers(hash, [commit.id.0, commit.mutations.len() as u64]);
    for mutation in &commit.mutations {
        numbers(hash, [u64::from(mutation.value.is_some())]);
        bytes(hash, &mutation.key);
        bytes(hash, mutation.value.as_deref().unwrap_or_default());
    }
}

fn hash_call(hash: &mut Xxh3, call: Call) {
    match call {
        Call::Begin(mode) => {
            numbers(hash, [1]);
            hash_mode(hash, mode);
        }
        Call::End => numbers(hash, [2]),
        Call::Flush => numbers(hash, [3]),
        Call::Changes => numbers(hash, [4]),
        Call::Backup => numbers(hash, [5]),
        Call::Verify => numbers(hash, [6]),
    }
}

fn hash_mode(hash: &mut Xxh3, mode: Mode) {
    match mode {
        Mode::Read => numbers(hash, [1, 0]),
        Mode::ReadAt(at) => numbers(hash, [2, at.0]),
        Mode::Write => numbers(hash, [3, 0]),
        Mode::Optimistic => numbers(hash, [4, 0]),
    }
}

fn hash_id(hash: &mut Xxh3, id: Option<TxnId>) {
    numbers(hash, id.map_or([0, 0], |id| [1, id.0]));
}

fn hash_retention(hash: &mut Xxh3, retention: Option<Retention>) {
    match retention {
        None => numbers(hash, [0, 0]),
        Some(Retention::Latest) => numbers(hash, [1, 0]),
        Some(Retention::Txns(count)) => numbers(hash, [2, count]),
        Some(Retention::All) => numbers(hash, [3, 0]),
    }
}

fn hash_range(hash: &mut Xxh3, range: &KeyRange) {
    for bound in [&range.start, &range.end] {
        let (kind, key) = match bound {
            Bound::Included(key) => (1, key.as_slice()),
            Bound::Excluded(key) => (2, key.as_slice()),
            Bound::Unbounded => (3, [].as_slice()),
        };
        numbers(hash, [kind]);
        bytes(hash, key);
    }
}

fn hash_pairs(hash: &mut Xxh3, pairs: &[(Key, Vec<u8>)]) {
    numbers(hash, [pairs.len() as u64]);
    for (key, value) in pairs {
        bytes(hash, key);
        bytes(hash, value);
    }
}

fn bytes(hash: &mut Xxh3, bytes: &[u8]) {
    numbers(hash, [bytes.len() as u64]);
    hash.update(bytes);
}

fn numbers<const N: usize>(hash: &mut Xxh3, numbers: [u64; N]) {
    hash.update(numbers.map(u64::to_le_bytes).as_flattened());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every history here differs from every other; so must the hashes.
    #[test]
    fn the_hash_tells_events_apart() {
        let histories = [
            "",
            "durable",
            "crash",
            "crash process",
            "opening",
            "begin t1 c0 read",
            "begin t1 c1 read",
            "begin t1 c0 read snapshot=0",
            "begin t1 c0 read@0",
            "begin t1 c0 write",
            "refused c0 write write-busy",
            "refused c0 read@1 snapshot-not-found",
            "refused c0 read@1 snapshot-not-found oldest=0",
            "get t1 \"k\" -> none",
            "get t1 \"k\" -> \"\"",
            "delete t1 \"k\"",
            "put t1 \"k\" \"\"",
            "put t1 \"\" \"k\"",
            "scan t1 [\"a\" .. +inf) -> none",
            "scan t1 (\"a\" .. +inf) -> none",
            "scan t1 (\"a\" .. +inf) reverse -> none",
            "scan t1 (\"a\" .. +inf) limit=7 -> none",
            "submit t1 sync",
            "submit t1 buffered",
            "committed t1",
            "committed t1 id=1",
            "aborted t1",
            "opened -> none",
            "opened latest=0 -> none",
            "opened retention=latest -> none",
            "opened retention=txns:0 -> none",
            "opened retention=txns:1 -> none",
            "opened retention=all -> none",
            "opened -> \"a\"=\"b\"",
            "opened -> \"ab\"=\"\"",
            "begin t1 c0 optimistic",
            "refused c0 read poisoned",
            "delete-range t1 [\"a\" .. +inf) count=0 -> none",
            "delete-range t1 [\"a\" .. +inf) count=1 -> none",
            "delete-range t1 [\"a\" .. +inf) count=1 -> \"a\"",
            "savepoint t1 s1",
            "rollback t1 s1",
            "rollback t1 s1 refused",
            "ticket t1",
            "ticket t1 id=0",
            "changes 1 -> none",
            "changes 1 limit=1 -> none",
            "changes 1 oldest=0 -> none",
            "changes 1 -> 1:",
            "changes 1 -> 1: \"a\"=none",
            "changes 1 -> 1: \"a\"=\"\"",
            "changes 1 refused snapshot-not-found",
            "denied t1 write-busy",
            "denied t1 conflict \"k\"",
            "backup at=1 latest=1 oldest=0 -> none",
            "space 0",
            "space free",
            "out-of-space \"a\"",
            "fault lie \"a\"",
            "fault environment \"a\"",
            "fault environment failed=sync \"a\"",
            "fault environment failed=sync no-space \"a\"",
            "fault environment failed=sync fatal \"a\"",
            "fault environment failed=change \"a\"",
            "fault damage \"a\"",
            "fault damage groups=1 \"a\"",
            "made-good",
            "healed",
            "poisoned \"a\"",
            "corrupt \"a\" \"bc\"",
            "closed",
            "gave-up \"a\" \"bc\"",
            "failed \"a\" \"bc\"",
            "asked c0 begin read",
            "asked c0 begin read@0",
            "asked c1 begin read",
            "asked c0 end",
            "asked c0 flush",
            "asked c0 changes",
            "asked c0 backup",
            "stuck deadlock \"a\"",
            "stuck livelock \"a\"",
            "failed \"ab\" \"c\"",
        ];
        let mut hashes = BTreeSet::new();
        for text in histories {
            let disk = SimDisk::default();
            let mut recorder = Recorder::new(false);
            let history: History = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            for event in history.events {
                recorder.event(event, None, &disk);
            }
            assert!(hashes.insert(recorder.finish(&disk).trace_hash), "{text} hashes as another one does");
        }
    }
}
