//! A store whose clients run at the same time, and the checkers against it, right and with one defect at a time.
//!
//! Each client takes small steps: it asks, something is done for it, it is answered; and whose step comes next is random.
//! So what is done for one lies anywhere between its question and its answer, while others ask and are answered. Syncs
//! are shared, what waits for one is not visible, a failed one poisons the store, and a crash takes any tail of the
//! commits that nobody promised, with whatever was under way.

mod steps;

use std::collections::BTreeMap;

use super::State;
use crate::check::{Checker, check};
use crate::{Denial, Durability, Event, History, Key, Mode, Refusal, Retention, TxnId, TxnLabel, Value};

const DEFECTS: [(Defect, Checker); 18] = [
    (Defect::StaleSnapshot, Checker::SnapshotIsolation),
    (Defect::SnapshotsGoBack, Checker::SnapshotIsolation),
    (Defect::PublishedTooEarly, Checker::SnapshotIsolation),
    (Defect::NotPinned, Checker::SnapshotIsolation),
    (Defect::NoConflicts, Checker::SnapshotIsolation),
    (Defect::SpuriousConflict, Checker::SnapshotIsolation),
    (Defect::FalseBusy, Checker::SnapshotIsolation),
    (Defect::SecondWriter, Checker::SnapshotIsolation),
    (Defect::CommitsBesideWriter, Checker::SnapshotIsolation),
    (Defect::AcknowledgedTooEarly, Checker::CrashPrefix),
    (Defect::FlushDoesNothing, Checker::CrashPrefix),
    (Defect::RecoversHole, Checker::CrashPrefix),
    (Defect::RecoversHalf, Checker::CrashPrefix),
    (Defect::RecoversDenied, Checker::CrashPrefix),
    (Defect::OldestGoesBack, Checker::SnapshotIsolation),
    (Defect::StreamTooShort, Checker::CommitStream),
    (Defect::SkipsInStream, Checker::CommitStream),
    (Defect::BackupTooOld, Checker::Backup),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Begins at an earlier commit than the latest.
    StaleSnapshot,
    /// Begins at the latest commit that was acknowledged, although somebody has seen a later one.
    SnapshotsGoBack,
    /// Shows a commit before its writes are there.
    PublishedTooEarly,
    /// Lets what a reader needs be overwritten.
    NotPinned,
    /// Lets concurrent transactions write one key.
    NoConflicts,
    /// Declines an optimistic commit although nobody wrote its keys.
    SpuriousConflict,
    /// Declines a writer although there is no other.
    FalseBusy,
    /// Opens a writer beside another one.
    SecondWriter,
    /// Carries out an optimistic commit while an exclusive writer is open.
    CommitsBesideWriter,
    /// Acknowledges a commit before the sync that it waits for has ended.
    AcknowledgedTooEarly,
    /// Makes nothing durable with a checkpoint.
    FlushDoesNothing,
    /// Recovers everything but one commit in the middle.
    RecoversHole,
    /// Recovers one key of the last commit and not the others.
    RecoversHalf,
    /// Recovers what was declined.
    RecoversDenied,
    /// Says that something is retained which it said was gone.
    OldestGoesBack,
    /// Leaves the last commit out of the stream.
    StreamTooShort,
    /// Leaves a commit in the middle out of the stream.
    SkipsInStream,
    /// Copies the state before the latest.
    BackupTooOld,
}

/// So many clients there are, besides the one that looks after the store.
const CLIENT_COUNT: usize = 4;
/// The commits before the latest that a checkpoint keeps.
const RETAINED: usize = 4;

/// A transaction that is open.
#[derive(Debug, Clone)]
struct Transaction {
    label: TxnLabel,
    mode: Mode,
    snapshot: usize,
    writes: BTreeMap<Key, Option<Value>>,
}

/// What a client waits for, or is about to hear.
#[derive(Debug, Clone)]
enum Doing {
    Nothing,
    /// It has asked for a transaction.
    Asked(Mode),
    Begun(Mode, Result<usize, Refusal>),
    /// It has asked for its commit, or to have it taken in.
    Submitted(Transaction, Durability, bool),
    Denied(TxnLabel, Denial),
    /// Its commit has this place, and waits for being visible, or durable.
    Waiting(TxnLabel, usize, Durability),
    TakenIn(TxnLabel, usize),
    /// It syncs everything up to this place, for the wait that comes after it.
    Syncing(usize, Box<Doing>),
    Committed(TxnLabel, usize),
    GaveUp(&'static str),
    Poisoned(&'static str),
    Ending(Transaction),
    Ended(TxnLabel),
    Flush,
    Flushed,
    Changes(usize),
    ChangesRead(usize, Result<usize, Refusal>),
    Backup,
    BackedUp(Vec<(usize, State)>, usize, usize),
}

#[derive(Debug)]
struct Client {
    doing: Doing,
    open: Option<Transaction>,
    tickets: Vec<(TxnLabel, usize)>,
}

#[derive(Debug)]
struct Store {
    random: u64,
    defect: Defect,
    events: Vec<Event>,
    clients: Vec<Client>,
    /// The state after each commit, the empty one first, and the keys that the commit wrote.
    states: Vec<(State, Vec<Key>)>,
    /// The places that may be visible only when they are durable, and are not yet.
    unsynced: Vec<usize>,
    published: usize,
    durable: usize,
    oldest: usize,
    acknowledged: usize,
    /// Which client has the exclusive writer.
    writer: Option<usize>,
    is_syncing: bool,
    is_poisoned: bool,
    /// What struck, and nobody has noticed yet.
    struck: Vec<Event>,
    denied: Option<(Key, Value)>,
    labels: u32,
    values: u64,
}

impl Store {
    fn run(seed: u64, defect: Defect) -> History {
        let client = || Client { doing: Doing::Nothing, open: None, tickets: Vec::new() };
        let mut store = Store {
            random: seed,
            defect,
            events: Vec::new(),
            clients: (0..=CLIENT_COUNT).map(|_| client()).collect(),
            states: vec![(State::new(), Vec::new())],
            unsynced: Vec::new(),
            published: 0,
            durable: 0,
            oldest: 0,
            acknowledged: 0,
            writer: None,
            is_syncing: false,
            is_poisoned: false,
            struck: Vec::new(),
            denied: None,
            labels: 0,
            values: 0,
        };
        store.opened();
        for _ in 0..700 {
            let client = store.below(CLIENT_COUNT + 1);
            store.step(client);
            if store.below(160) == 0 {
                store.crash();
            }
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

    fn installed(&self) -> usize {
        self.states.len() - 1
    }

    fn crash(&mut self) {
        self.events.push(Event::Crash { is_power_loss: true });
        let survived = self.durable + self.below(self.installed() - self.durable + 1);
        self.states.truncate(survived + 1);
        match self.defect {
            Defect::RecoversHole if survived > 1 => {
                let (state, keys) = self.states[survived].clone();
                let mut hole = self.states[survived - 2].0.clone();
                for key in keys {
                    match state.get(&key) {
                        Some(value) => hole.insert(key, value.clone()),
                        None => hole.remove(&key),
                    };
                }
                self.states[survived].0 = hole;
            }
            Defect::RecoversHalf if survived > 0 => {
                let before = self.states[survived - 1].0.clone();
                let (state, keys) = &mut self.states[survived];
                if let Some(key) = keys.first() {
                    match before.get(key) {
                        Some(value) => state.insert(key.clone(), value.clone()),
                        None => state.remove(key),
                    };
                }
            }
            Defect::RecoversDenied => self.states[survived].0.extend(self.denied.clone()),
            _ => {}
        }
        self.opened();
    }

    fn opened(&mut self) {
        for client in &mut self.clients {
            *client = Client { doing: Doing::Nothing, open: None, tickets: Vec::new() };
        }
        let latest = self.installed();
        (self.published, self.durable, self.acknowledged) = (latest, latest, latest);
        (self.writer, self.is_syncing, self.is_poisoned) = (None, false, false);
        self.unsynced.clear();
        self.struck.clear();
        self.oldest = self.oldest.min(latest);
        let state = self.states[latest].0.clone().into_iter().collect();
        let (latest, oldest) = (Some(TxnId(latest as u64)), Some(TxnId(self.oldest as u64)));
        let retention = Some(Retention::Txns(RETAINED as u64));
        self.events.push(Event::Opened { latest, oldest, retention, state });
    }
}

#[test]
fn no_history_of_a_right_store_is_rejected() {
    for seed in 0..3_000 {
        let history = Store::run(seed, Defect::None);
        if let Err(violation) = check(&history) {
            panic!("seed {seed}: {violation}\n{history}");
        }
    }
}

#[test]
fn every_defect_is_found_by_the_checker_whose_business_it_is() {
    for (defect, checker) in DEFECTS {
        let verdicts = (0..300).map(|seed| check(&Store::run(seed, defect)));
        let found = verdicts.filter_map(Result::err).filter(|violation| violation.checker == checker).count();
        assert!(found >= 15, "{defect:?}: found in only {found} of 300 histories");
    }
}

/// The same event with one thing in it that can't be, if there is such a thing.
fn falsified(event: &Event) -> Option<Event> {
    let mut event = event.clone();
    match &mut event {
        Event::Get { value, .. } => *value = Some(b"from nowhere".to_vec()),
        Event::Scan { pairs, .. }
        | Event::Opened { state: pairs, .. }
        | Event::Backup { state: pairs, .. } => {
            pairs.last_mut()?.1 = b"from nowhere".to_vec();
        }
        Event::Begin {
            mode: Mode::Read | Mode::Write | Mode::Optimistic, snapshot: Some(snapshot), ..
        } => {
            *snapshot = TxnId(snapshot.0 + 100);
        }
        Event::Refused { mode: Mode::ReadAt(at), oldest: Some(oldest), .. } => *oldest = TxnId(at.0 + 100),
        Event::Committed { id: Some(id), .. } | Event::Ticket { id: Some(id), .. } => *id = TxnId(id.0 + 100),
        Event::Denied { reason: Denial::Conflict { key }, .. } => key.push(b'!'),
        Event::Changes { commits, .. } => {
            commits.last_mut()?.mutations.last_mut()?.value = Some(b"from nowhere".to_vec());
        }
        Event::ChangesRefused { reason, .. } => *reason = Refusal::WriteBusy,
        _ => return None,
    }
    Some(event)
}

#[test]
fn every_falsified_event_is_found() {
    let mut count = 0;
    for seed in 0..40 {
        let history = Store::run(seed, Defect::None);
        for step in (seed as usize % 5..history.events.len()).step_by(5) {
            let Some(event) = falsified(&history.events[step]) else { continue };
            let mut falsified = history.clone();
            falsified.events[step] = event;
            let violation = check(&falsified).expect_err("it can't be");
            // It is found where it stands, or before it, where it leaves something else unexplained.
            assert!(violation.step <= step, "seed {seed}, step {step}: {violation}");
            count += 1;
        }
    }
    assert!(count > 1_500, "{count}");
}

#[test]
fn random_histories_survive_their_text_form() {
    for seed in 0..50 {
        let history = Store::run(seed, Defect::None);
        assert_eq!(history.to_string().parse(), Ok(history));
    }
}
