//! The checkers against a store that is right, and against the same store with one defect at a time.
//!
//! The store keeps a whole copy of its state for every commit and shares no code with the model. It runs several
//! readers beside one writer, acknowledges commits late and in any order, and loses any tail of them that it may when it
//! crashes. What it does is random, and the same for the same seed. No history of it may be rejected; each defect has to
//! be found by the checker whose business it is. (Not only by that one: what an opening hides, later reads may show.)

use std::collections::BTreeMap;

use super::{Checker, check};
use crate::{
    ClientId, Digest, Durability, Event, History, Key, KeyRange, Mode, Refusal, Retention, TxnId, TxnLabel,
    Value, digest_pairs, unique_value,
};

type State = BTreeMap<Key, Value>;

const DEFECTS: [(Defect, Checker); 13] = [
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
}

impl Defect {
    /// Whether it shows only in what a store says of its commits.
    fn is_in_what_is_revealed(self) -> bool {
        use Defect::{ForgetsThePast, RefusesThePast, SaysTooMuch, SkipsIds};
        matches!(self, SkipsIds | RefusesThePast | ForgetsThePast | SaysTooMuch)
    }
}

struct Transaction {
    label: TxnLabel,
    mode: Mode,
    snapshot: usize,
    writes: BTreeMap<Key, Option<Value>>,
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
    open: Vec<Transaction>,
    abandoned: Option<(Key, Value)>,
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
            open: Vec::new(),
            abandoned: None,
            labels: 0,
            values: 0,
        };
        for _ in 0..300 {
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
        match self.below(40) {
            0 => self.crash(),
            1 => self.reopen(),
            2 => {
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
        let latest = self.latest();
        let visible = match self.defect {
            Defect::NoConflicts => self.acknowledged,
            _ => self.acknowledged + self.below(latest - self.acknowledged + 1),
        };
        let is_writing = self.open.iter().any(|open| open.mode == Mode::Write);
        let (mode, mut snapshot) = match self.below(4) {
            0 => (Mode::Read, visible),
            1 if self.reveals => {
                let at = self.below(latest + 1);
                (Mode::ReadAt(TxnId(at as u64)), at)
            }
            _ if is_writing && self.defect != Defect::SecondWriter => (Mode::Read, visible),
            _ => (Mode::Write, visible),
        };
        if self.reveals && self.below(10) == 0 {
            let at = if self.defect == Defect::RefusesThePast { 0 } else { latest as u64 + 1 };
            let (mode, reason) = (Mode::ReadAt(TxnId(at)), Refusal::SnapshotNotFound);
            self.events.push(Event::Refused { client, mode, reason, oldest: self.shown(0) });
        }
        let txn = TxnLabel(self.labels);
        self.labels += 1;
        self.events.push(Event::Begin { client, txn, mode, snapshot: self.shown(snapshot) });
        if self.defect == Defect::StaleSnapshot && self.below(4) == 0 {
            snapshot = snapshot.saturating_sub(1);
        }
        self.open.push(Transaction { label: txn, mode, snapshot, writes: BTreeMap::new() });
    }

    fn write(&mut self) {
        let (chosen, key) = (self.below(self.open.len()), self.key());
        if self.open[chosen].mode != Mode::Write {
            return;
        }
        let txn = self.open[chosen].label;
        if self.below(4) == 0 {
            self.open[chosen].writes.insert(key.clone(), None);
            self.events.push(Event::Delete { txn, key });
        } else {
            self.values += 1;
            let value = unique_value(self.values, 16);
            self.open[chosen].writes.insert(key.clone(), Some(value.clone()));
            self.events.push(Event::Put { txn, key, value });
        }
    }

    fn read(&mut self) {
        let chosen = self.below(self.open.len());
        let (txn, mut state) = (self.open[chosen].label, self.states[self.open[chosen].snapshot].0.clone());
        if self.defect == Defect::DirtyRead {
            apply(&mut state, &self.open[0].writes);
        }
        apply(&mut state, &self.open[chosen].writes);
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
        let conflict = overwritten.clone().any(|key| transaction.writes.contains_key(key));
        let aborts = self.below(5) == 0 || (conflict && self.defect != Defect::NoConflicts);
        if aborts {
            let mut values = transaction.writes.into_iter().filter_map(|(key, value)| Some((key, value?)));
            self.abandoned = values.next().or(self.abandoned.take());
            self.events.push(Event::Aborted { txn });
            return;
        }
        let durability = if self.below(2) == 0 { Durability::Sync } else { Durability::Buffered };
        self.events.push(Event::Submit { txn, durability });
        if transaction.writes.is_empty() {
            if durability == Durability::Sync
                && transaction.mode == Mode::Write
                && self.defect != Defect::EmptySyncDoesNothing
            {
                self.durable = self.durable.max(self.acknowledged);
            }
            self.events.push(Event::Committed { txn, id: None });
            return;
        }
        let mut state = self.states[self.latest()].0.clone();
        apply(&mut state, &transaction.writes);
        self.states.push((state, transaction.writes.into_keys().collect()));
        self.pending.push(Pending { label: txn, place: self.latest(), durability });
    }

    fn acknowledge(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let chosen = self.below(self.pending.len());
        let Pending { label, place, durability } = self.pending.remove(chosen);
        self.acknowledged = self.acknowledged.max(place);
        if durability == Durability::Sync {
            self.durable = self.durable.max(place);
        }
        self.events.push(Event::Committed { txn: label, id: self.shown(place) });
    }

    fn crash(&mut self) {
        self.events.push(Event::Crash);
        let mut survived = self.durable + self.below(self.latest() - self.durable + 1);
        if self.defect == Defect::LosesDurable {
            survived = self.durable.saturating_sub(1);
        }
        self.states.truncate(survived + 1);
        let mut state = self.states[survived].0.clone();
        match self.defect {
            Defect::RecoversHalf if survived > 0 => {
                let key = self.states[survived].1[0].clone();
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
        self.acknowledged = self.latest();
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
