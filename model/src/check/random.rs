//! The checkers against a store that is right, and against the same store with one defect at a time.
//!
//! The store keeps a whole copy of its state for every commit and shares no code with the model. It runs several
//! readers beside one exclusive writer and some optimistic ones, acknowledges commits late and in any order, and loses any tail of them that it may when it
//! crashes. What it does is random, and the same for the same seed. No history of it may be rejected; each defect has to
//! be found by the checker whose business it is. (Not only by that one: what an opening hides, later reads may show.)

mod concurrent;
mod marks;

use std::collections::{BTreeMap, BTreeSet};

use self::marks::{Mark, Restored};
use super::{Checker, check};
use crate::{
    ClientId, Commit, Denial, Digest, Durability, Event, History, Key, KeyRange, Mode, Mutation, Refusal,
    Retention, SavepointLabel, TxnId, TxnLabel, Value, digest_pairs, unique_value,
};

type State = BTreeMap<Key, Value>;

const DEFECTS: [(Defect, Checker); 26] = [
    (Defect::StaleSnapshot, Checker::SnapshotIsolation),
    (Defect::DirtyRead, Checker::SnapshotIsolation),
    (Defect::ShortScan, Checker::SnapshotIsolation),
    (Defect::NoConflicts, Checker::SnapshotIsolation),
    (Defect::SecondWriter, Checker::SnapshotIsolation),
    (Defect::SkipsIds, Checker::SnapshotIsolation),
    (Defect::RefusesThePast, Checker::SnapshotIsolation),
    (Defect::ForgetsThePast, Checker::CrashPrefix),
    (Defect::EmptySyncDoesNothing, Checker::CrashPrefix),
    (Defect::LosesDurable, Checker::CrashPrefix),
    (Defect::RecoversHalf, Checker::CrashPrefix),
    (Defect::RecoversAborted, Checker::CrashPrefix),
    (Defect::SaysTooMuch, Checker::CrashPrefix),
    (Defect::SpuriousConflict, Checker::SnapshotIsolation),
    (Defect::CommitsBesideWriter, Checker::SnapshotIsolation),
    (Defect::RollbackKeepsAKey, Checker::SnapshotIsolation),
    (Defect::RangeMissesTheLast, Checker::SnapshotIsolation),
    (Defect::VisibleTooEarly, Checker::SnapshotIsolation),
    (Defect::SkipsInStream, Checker::CommitStream),
    (Defect::StreamsTooLittle, Checker::CommitStream),
    (Defect::CopiesTooLittle, Checker::Backup),
    (Defect::RestoresTooLittle, Checker::SnapshotIsolation),
    (Defect::RestoresForItselfOnly, Checker::SnapshotIsolation),
    (Defect::RestoresForItselfOnly, Checker::CrashPrefix),
    (Defect::ForgetsMarks, Checker::Marks),
    (Defect::KeepsMarks, Checker::Marks),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Begins at an earlier commit than the latest, and says nothing.
    StaleSnapshot,
    /// Reads what another transaction has not committed.
    DirtyRead,
    /// Leaves the first pair of a scan out.
    ShortScan,
    /// Lets concurrent transactions write one key.
    NoConflicts,
    /// Opens a writer beside another one.
    SecondWriter,
    /// Names its commits two apart.
    SkipsIds,
    /// Declines to read an old commit that it says it retains.
    RefusesThePast,
    /// Says that it retains the latest commit only, although it promised all.
    ForgetsThePast,
    /// Makes nothing durable with an empty `sync` commit.
    EmptySyncDoesNothing,
    /// Forgets the last durable commit in a crash.
    LosesDurable,
    /// Recovers one key of the last commit and not the others.
    RecoversHalf,
    /// Recovers a value that was never committed.
    RecoversAborted,
    /// Says that a later commit survived.
    SaysTooMuch,
    /// Declines an optimistic commit although nobody wrote its keys.
    SpuriousConflict,
    /// Carries out an optimistic commit while an exclusive writer is open.
    CommitsBesideWriter,
    /// Forgets to undo one write.
    RollbackKeepsAKey,
    /// Leaves the last key of a range.
    RangeMissesTheLast,
    /// Lets readers see what it only took in.
    VisibleTooEarly,
    /// Leaves a commit out of the stream.
    SkipsInStream,
    /// Leaves an operation out of the stream.
    StreamsTooLittle,
    /// Leaves a pair out of a backup.
    CopiesTooLittle,
    /// Leaves the keys that there are as they are when it goes back to a mark.
    RestoresTooLittle,
    /// Shows a transaction the state that it goes back to, and commits only what it wrote.
    RestoresForItselfOnly,
    /// Knows no mark after it was opened again.
    ForgetsMarks,
    /// Goes back to marks that ended.
    KeepsMarks,
}

impl Defect {
    /// Whether it shows only in what a store says of its commits.
    fn is_in_what_is_revealed(self) -> bool {
        use Defect::{
            CopiesTooLittle, ForgetsThePast, RefusesThePast, SaysTooMuch, SkipsIds, SkipsInStream,
            StreamsTooLittle, VisibleTooEarly,
        };
        let is_in_names = matches!(self, SkipsIds | RefusesThePast | ForgetsThePast | SaysTooMuch);
        let is_in_copies = matches!(self, SkipsInStream | StreamsTooLittle | CopiesTooLittle);
        // Without a name, a snapshot that is too new is as good as one that is not, until something is read.
        is_in_names || is_in_copies || self == VisibleTooEarly
    }
}

struct Transaction {
    label: TxnLabel,
    mode: Mode,
    snapshot: usize,
    writes: BTreeMap<Key, Option<Value>>,
    savepoints: Vec<(SavepointLabel, BTreeMap<Key, Option<Value>>)>,
    savepoints_taken: u32,
    restored: Option<Restored>,
    /// Whether it did nothing but set marks.
    is_fresh: bool,
    /// Whether it set, ended or forgot marks that outlive the store.
    has_persistent_marks: bool,
}

/// A commit that happened and was not acknowledged.
struct Pending {
    label: TxnLabel,
    place: usize,
    durability: Durability,
}

struct Store {
    random: u64,
    defect: Defect,
    reveals: bool,
    events: Vec<Event>,
    /// The state after each commit, the empty one first, and the keys that the commit wrote.
    states: Vec<(State, Vec<Key>)>,
    durable: usize,
    acknowledged: usize,
    pending: Vec<Pending>,
    /// A commit that was only taken in, and that nothing made visible.
    hidden: Option<usize>,
    open: Vec<Transaction>,
    abandoned: Option<(Key, Value)>,
    /// In the order in which they were set, those that ended included.
    marks: Vec<Mark>,
    marks_set: u32,
    labels: u32,
    values: u64,
}

impl Store {
    fn run(seed: u64, reveals: bool, defect: Defect) -> History {
        let mut store = Store {
            random: seed,
            defect,
            reveals,
            events: Vec::new(),
            states: vec![(State::new(), Vec::new())],
            durable: 0,
            acknowledged: 0,
            pending: Vec::new(),
            hidden: None,
            open: Vec::new(),
            abandoned: None,
            marks: Vec::new(),
            marks_set: 0,
            labels: 0,
            values: 0,
        };
        for _ in 0..330 {
            store.step();
        }
        store.crash();
        History { events: store.events }
    }

    /// A number below `limit`, from SplitMix64.
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn key(&mut self) -> Key {
        vec![b'a' + self.below(6) as u8]
    }

    fn shown(&self, place: usize) -> Option<TxnId> {
        let step = if self.defect == Defect::SkipsIds { 2 } else { 1 };
        self.reveals.then_some(TxnId((place * step) as u64))
    }

    fn latest(&self) -> usize {
        self.states.len() - 1
    }

    fn step(&mut self) {
        match self.below(48) {
            0 => self.crash(),
            1 => self.reopen(),
            40 | 41 if self.reveals => self.stream(),
            42 if self.reveals => self.back_up(),
            43 => self.nest(),
            44..=47 => self.mark(),
            2 => {
                self.hidden = None;
                self.durable = self.acknowledged;
                self.events.push(Event::Durable);
            }
            3..=8 => self.acknowledge(),
            9..=15 if self.open.len() < 4 => self.begin(),
            _ if self.open.is_empty() => self.begin(),
            16..=20 => self.end(),
            21..=28 => self.write(),
            _ => self.read(),
        }
    }

    fn begin(&mut self) {
        let client = ClientId(self.open.len() as u32);
        let latest = match self.hidden {
            Some(hidden) if self.defect != Defect::VisibleTooEarly => hidden - 1,
            _ => self.latest(),
        };
        let latest = latest.max(self.acknowledged);
        let visible = match self.defect {
            Defect::NoConflicts => self.acknowledged,
            _ => self.acknowledged + self.below(latest - self.acknowledged + 1),
        };
        let is_writing = self.open.iter().any(|open| open.mode == Mode::Write);
        let (mode, mut snapshot) = match self.below(6) {
            0 => (Mode::Read, visible),
            1 if self.reveals => {
                let at = self.below(latest + 1);
                (Mode::ReadAt(TxnId(at as u64)), at)
            }
            2 | 3 => (Mode::Optimistic, visible),
            _ if is_writing && self.defect != Defect::SecondWriter => (Mode::Read, visible),
            _ => (Mode::Write, visible),
        };
        if self.reveals && self.below(10) == 0 {
            let at = if self.defect == Defect::RefusesThePast { 0 } else { self.latest() as u64 + 1 };
            let (mode, reason) = (Mode::ReadAt(TxnId(at)), Refusal::SnapshotNotFound);
            self.events.push(Event::Refused { client, mode, reason, oldest: self.shown(0) });
        }
        let txn = TxnLabel(self.labels);
        self.labels += 1;
        self.events.push(Event::Begin { client, txn, mode, snapshot: self.shown(snapshot) });
        if self.defect == Defect::StaleSnapshot && self.below(4) == 0 {
            snapshot = snapshot.saturating_sub(1);
        }
        self.open.push(Transaction {
            label: txn,
            mode,
            snapshot,
            writes: BTreeMap::new(),
            savepoints: Vec::new(),
            savepoints_taken: 0,
            restored: None,
            is_fresh: true,
            has_persistent_marks: false,
        });
        if mode == Mode::Write && self.below(2) == 0 {
            self.mark();
        }
    }

    fn write(&mut self) {
        let (chosen, key) = (self.below(self.open.len()), self.key());
        if !self.open[chosen].mode.writes() {
            return;
        }
        let txn = self.open[chosen].label;
        self.open[chosen].is_fresh = false;
        if self.below(8) == 0 {
            self.delete_range(chosen, KeyRange::prefix(&key));
        } else if self.below(8) == 0 {
            self.delete_range(chosen, format!("[\"b\" .. \"{}\"]", char::from(key[0])).parse().unwrap());
        } else if self.below(4) == 0 {
            self.open[chosen].writes.insert(key.clone(), None);
            self.events.push(Event::Delete { txn, key });
        } else {
            self.values += 1;
            let value = unique_value(self.values, 16);
            self.open[chosen].writes.insert(key.clone(), Some(value.clone()));
            self.events.push(Event::Put { txn, key, value });
        }
    }

    fn delete_range(&mut self, chosen: usize, range: KeyRange) {
        let state = self.seen(chosen);
        let keys: Vec<Key> = state.into_keys().filter(|key| range.contains(key)).collect();
        let mut removed = keys.as_slice();
        if self.defect == Defect::RangeMissesTheLast {
            removed = removed.split_last().map_or(removed, |(_, rest)| rest);
        }
        self.open[chosen].writes.extend(removed.iter().map(|key| (key.clone(), None)));
        let (txn, count) = (self.open[chosen].label, keys.len() as u64);
        self.events.push(Event::DeleteRange { txn, range, count, keys });
    }

    /// Takes a savepoint, or goes back to one.
    fn nest(&mut self) {
        let writers: Vec<usize> =
            (0..self.open.len()).filter(|index| self.open[*index].mode.writes()).collect();
        for index in writers {
            self.open[index].is_fresh = false;
            let savepoint = SavepointLabel(self.open[index].savepoints_taken);
            let chosen = SavepointLabel(self.below(savepoint.0 as usize + 1) as u32);
            let keeps_a_key = self.defect == Defect::RollbackKeepsAKey;
            let open = &mut self.open[index];
            if chosen == savepoint {
                open.savepoints_taken += 1;
                open.savepoints.push((savepoint, open.writes.clone()));
                self.events.push(Event::Savepoint { txn: open.label, savepoint });
                continue;
            }
            let found = open.savepoints.iter().position(|(valid, _)| *valid == chosen);
            if let Some(found) = found {
                open.savepoints.truncate(found + 1);
                let kept = open.writes.pop_last().filter(|_| keeps_a_key);
                open.writes = open.savepoints[found].1.clone();
                open.writes.extend(kept);
            }
            let is_refused = found.is_none();
            self.events.push(Event::Rollback { txn: open.label, savepoint: chosen, is_refused });
        }
    }

    fn stream(&mut self) {
        let visible = self.hidden.map_or(self.latest(), |hidden| hidden - 1).max(self.acknowledged);
        let from = self.below(visible + 3);
        let (oldest, limit) = (Some(TxnId(0)), if self.below(3) == 0 { 2 } else { usize::MAX });
        let shown = TxnId(from as u64);
        if from == 0 || from > visible + 1 {
            let gone = from == 0;
            let reason = if gone { Refusal::ChangesNotRetained } else { Refusal::SnapshotNotFound };
            self.events.push(Event::ChangesRefused { from: shown, reason, oldest });
            return;
        }
        let mut commits: Vec<Commit> = (from..=visible).map(|place| self.commit_at(place)).collect();
        commits.truncate(limit);
        match self.defect {
            Defect::SkipsInStream if commits.len() > 1 => drop(commits.remove(0)),
            Defect::StreamsTooLittle => {
                commits.last_mut().and_then(|commit| commit.mutations.pop());
            }
            _ => {}
        }
        self.events.push(Event::Changes { from: shown, limit, oldest, commits });
    }

    /// What a commit changed, by what it left.
    fn commit_at(&self, place: usize) -> Commit {
        let (state, keys) = &self.states[place];
        let mutation = |key: &Key| Mutation { key: key.clone(), value: state.get(key).cloned() };
        Commit { id: TxnId(place as u64), mutations: keys.iter().map(mutation).collect() }
    }

    fn back_up(&mut self) {
        self.hidden = None;
        let latest = self.acknowledged + self.below(self.latest() - self.acknowledged + 1);
        let at = self.below(latest + 1);
        let mut state: Vec<(Key, Value)> = self.states[at].0.clone().into_iter().collect();
        if self.defect == Defect::CopiesTooLittle {
            state.pop();
        }
        let (at, latest) = (TxnId(at as u64), TxnId(latest as u64));
        self.events.push(Event::Backup { at, latest, oldest: TxnId(0), state });
    }

    fn read(&mut self) {
        let chosen = self.below(self.open.len());
        let (txn, state) = (self.open[chosen].label, self.seen(chosen));
        self.open[chosen].is_fresh = false;
        let key = self.key();
        if self.below(2) == 0 {
            let value = state.get(&key).cloned();
            self.events.push(Event::Get { txn, key, value });
            return;
        }
        let range: KeyRange = match self.below(3) {
            0 => KeyRange::all(),
            1 => KeyRange::prefix(&key),
            _ => format!("(\"b\" .. \"{}\"]", char::from(key[0])).parse().expect("it is a range"),
        };
        let (limit, reverse) = (self.below(7), self.below(2) == 0);
        let mut pairs: Vec<_> = state.into_iter().filter(|(key, _)| range.contains(key)).collect();
        if reverse {
            pairs.reverse();
        }
        if self.defect == Defect::ShortScan && !pairs.is_empty() {
            pairs.remove(0);
        }
        pairs.truncate(limit);
        self.events.push(Event::Scan { txn, range, limit, reverse, pairs });
    }

    fn end(&mut self) {
        let chosen = self.below(self.open.len());
        let transaction = self.open.remove(chosen);
        let txn = transaction.label;
        let overwritten = self.states[transaction.snapshot + 1..].iter().flat_map(|(_, keys)| keys);
        let conflict = overwritten.clone().find(|key| transaction.writes.contains_key(*key)).cloned();
        let is_optimistic = transaction.mode == Mode::Optimistic;
        let conflict = conflict.filter(|_| self.defect != Defect::NoConflicts);
        if is_optimistic && self.below(5) > 0 && self.denied(&transaction, conflict.as_ref()) {
            return;
        }
        let is_busy = is_optimistic && self.is_busy() && !transaction.writes.is_empty();
        let aborts = self.below(5) == 0 || conflict.is_some() || is_busy;
        if aborts && !(self.defect == Defect::CommitsBesideWriter && is_busy) {
            let mut values = transaction.writes.into_iter().filter_map(|(key, value)| Some((key, value?)));
            self.abandoned = values.next().or(self.abandoned.take());
            self.marks_aborted(txn);
            self.events.push(Event::Aborted { txn });
            return;
        }
        let is_sync = self.below(2) == 0 || transaction.has_persistent_marks;
        let durability = if is_sync { Durability::Sync } else { Durability::Buffered };
        self.hidden = None;
        self.events.push(Event::Submit { txn, durability });
        if transaction.writes.is_empty() && transaction.restored.is_none() {
            self.marks_committed(txn, self.acknowledged);
            if durability == Durability::Sync
                && transaction.mode.writes()
                && self.defect != Defect::EmptySyncDoesNothing
            {
                self.durable = self.durable.max(self.acknowledged);
            }
            self.events.push(Event::Committed { txn, id: None });
            return;
        }
        let (mut state, undone) = match &transaction.restored {
            Some(restored) => self.gone_back(restored),
            None => (self.states[self.latest()].0.clone(), Vec::new()),
        };
        apply(&mut state, &transaction.writes);
        let keys: BTreeSet<Key> = transaction.writes.into_keys().chain(undone).collect();
        self.states.push((state, keys.into_iter().collect()));
        self.marks_committed(txn, self.latest());
        self.pending.push(Pending { label: txn, place: self.latest(), durability });
        if self.below(3) == 0 {
            self.events.push(Event::Ticket { txn, id: self.shown(self.latest()) });
            self.hidden = Some(self.latest());
        }
    }

    fn is_busy(&self) -> bool {
        self.open.iter().any(|open| open.mode == Mode::Write)
    }

    /// Declines an optimistic commit, if there is a reason to.
    fn denied(&mut self, transaction: &Transaction, conflict: Option<&Key>) -> bool {
        let spurious = transaction.writes.keys().next().filter(|_| self.defect == Defect::SpuriousConflict);
        let reason = match conflict.or(spurious) {
            Some(key) => Denial::Conflict { key: key.clone() },
            None if self.is_busy() && self.defect != Defect::CommitsBesideWriter => Denial::WriteBusy,
            None => return false,
        };
        let txn = transaction.label;
        self.hidden = None;
        self.events.push(Event::Submit { txn, durability: Durability::Sync });
        self.events.push(Event::Denied { txn, reason });
        true
    }

    fn acknowledge(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let chosen = self.below(self.pending.len());
        let Pending { label, place, durability } = self.pending.remove(chosen);
        self.hidden = None;
        self.acknowledged = self.acknowledged.max(place);
        if durability == Durability::Sync {
            self.durable = self.durable.max(place);
        }
        self.events.push(Event::Committed { txn: label, id: self.shown(place) });
    }

    fn crash(&mut self) {
        self.events.push(Event::Crash { is_power_loss: true });
        let mut survived = self.durable + self.below(self.latest() - self.durable + 1);
        if self.defect == Defect::LosesDurable {
            survived = self.durable.saturating_sub(1);
        }
        self.states.truncate(survived + 1);
        let mut state = self.states[survived].0.clone();
        match self.defect {
            Defect::RecoversHalf if survived > 0 => {
                let key = self.states[survived].1.first().cloned().unwrap_or_default();
                match self.states[survived - 1].0.get(&key) {
                    Some(value) => state.insert(key, value.clone()),
                    None => state.remove(&key),
                };
            }
            Defect::RecoversAborted => state.extend(self.abandoned.clone()),
            _ => {}
        }
        self.durable = survived;
        self.opened(state);
    }

    fn reopen(&mut self) {
        let state = self.states[self.latest()].0.clone();
        self.opened(state);
    }

    fn opened(&mut self, state: State) {
        self.open.clear();
        self.pending.clear();
        self.hidden = None;
        self.acknowledged = self.latest();
        self.marks_opened(self.latest());
        let claimed = self.latest() + usize::from(self.defect == Defect::SaysTooMuch);
        let kept = if self.defect == Defect::ForgetsThePast { self.latest() } else { 0 };
        let (latest, oldest) = (self.shown(claimed), self.shown(kept));
        let retention = self.reveals.then_some(Retention::All);
        self.events.push(Event::Opened { latest, oldest, retention, state: state.into_iter().collect() });
    }
}

fn apply(state: &mut State, writes: &BTreeMap<Key, Option<Value>>) {
    for (key, value) in writes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

fn digest(histories: impl Iterator<Item = History>) -> Digest {
    digest_pairs(histories.map(|history| (history.to_string(), "")))
}

#[test]
fn no_history_of_a_right_store_is_rejected() {
    for seed in 0..2_000 {
        for reveals in [true, false] {
            let history = Store::run(seed, reveals, Defect::None);
            if let Err(violation) = check(&history) {
                panic!("seed {seed}, reveals {reveals}: {violation}\n{history}");
            }
        }
    }
}

#[test]
fn every_defect_is_found_by_the_checker_whose_business_it_is() {
    for (defect, checker) in DEFECTS {
        for reveals in [true, false] {
            if defect.is_in_what_is_revealed() && !reveals {
                continue;
            }
            let verdicts = (0..400).map(|seed| check(&Store::run(seed, reveals, defect)));
            let found =
                verdicts.filter_map(Result::err).filter(|violation| violation.checker == checker).count();
            assert!(found >= 15, "{defect:?}, reveals {reveals}: found in only {found} of 400 histories");
        }
    }
}

#[test]
fn random_histories_survive_their_text_form() {
    for seed in 0..50 {
        let history = Store::run(seed, seed % 2 == 0, Defect::None);
        assert_eq!(history.to_string().parse(), Ok(history));
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let histories = || digest((0..20).map(|seed| Store::run(seed, true, Defect::None)));
    assert_eq!(histories(), histories());
}
