//! The steps of the random store's clients.

use std::collections::BTreeMap;

use super::{CLIENT_COUNT, Defect, Doing, RETAINED, State, Store, Transaction};
use crate::{
    Call, ClientId, Commit, Denial, Durability, Event, FailedCall, Failure, FaultClass, Key, KeyRange, Mode,
    Mutation, Refusal, TxnId, TxnLabel, Value, unique_value,
};

impl Store {
    /// Lets a client take its next step.
    pub(super) fn step(&mut self, index: usize) {
        let doing = std::mem::replace(&mut self.clients[index].doing, Doing::Nothing);
        let next = match doing {
            Doing::Nothing if index == CLIENT_COUNT => self.look_after(),
            Doing::Nothing => self.act(index),
            Doing::Asked(mode) => Doing::Begun(mode, self.begin(index, mode)),
            Doing::Begun(mode, outcome) => self.begun(index, mode, outcome),
            Doing::Submitted(transaction, durability, is_ticket) => {
                self.place(transaction, durability, is_ticket)
            }
            Doing::Denied(txn, reason) => self.answer(Event::Denied { txn, reason }),
            Doing::Waiting(txn, place, durability) => self.wait(txn, place, durability),
            Doing::TakenIn(txn, place) => {
                self.clients[index].tickets.push((txn, place));
                self.answer(Event::Ticket { txn, id: Some(TxnId(place as u64)) })
            }
            Doing::Syncing(through, then) => self.synced(through, *then),
            Doing::Committed(txn, place) => {
                self.acknowledged = self.acknowledged.max(place);
                self.answer(Event::Committed { txn, id: Some(TxnId(place as u64)) })
            }
            Doing::GaveUp(what) => {
                let client = Some(ClientId(index as u32));
                let (what, error) = (what.to_owned(), "the disk failed".to_owned());
                self.answer(Event::GaveUp { client, what, error })
            }
            Doing::Poisoned(what) => {
                let client = Some(ClientId(index as u32));
                self.answer(Event::Poisoned { client, what: what.to_owned() })
            }
            Doing::Ending(transaction) => {
                if transaction.mode == Mode::Write {
                    self.writer = None;
                }
                Doing::Ended(transaction.label)
            }
            Doing::Ended(txn) => self.answer(Event::Aborted { txn }),
            Doing::Flush => self.flush(Doing::Flush, Doing::Flushed),
            Doing::Flushed => {
                self.oldest = self.oldest.max(self.durable.saturating_sub(RETAINED));
                self.answer(Event::Durable)
            }
            Doing::Changes(from) => self.changes(from),
            Doing::ChangesRead(from, outcome) => self.changes_read(from, outcome),
            Doing::Backup => self.back_up(),
            Doing::BackedUp(states, latest, oldest) => self.backed_up(states, latest, oldest),
        };
        self.clients[index].doing = next;
    }

    /// Records what a client hears, after what struck until then.
    fn answer(&mut self, event: Event) -> Doing {
        self.events.append(&mut self.struck);
        self.events.push(event);
        Doing::Nothing
    }

    fn ask(&mut self, index: usize, call: Call) {
        self.events.push(Event::Asked { client: ClientId(index as u32), call });
    }

    fn act(&mut self, index: usize) -> Doing {
        let has_ticket = !self.clients[index].tickets.is_empty();
        let Some(mut open) = self.clients[index].open.take() else {
            if has_ticket && self.below(2) == 0 {
                let (txn, place) = self.clients[index].tickets.remove(0);
                return Doing::Waiting(txn, place, Durability::Sync);
            }
            let mode = match self.below(6) {
                0 | 1 => Mode::Read,
                2 => Mode::ReadAt(TxnId(self.below(self.installed() + 2) as u64)),
                3 => Mode::Write,
                _ => Mode::Optimistic,
            };
            self.ask(index, Call::Begin(mode));
            return Doing::Asked(mode);
        };
        match self.below(8) {
            0 => {
                self.ask(index, Call::End);
                return Doing::Ending(open);
            }
            1 | 2 if open.mode.writes() => {
                let durability = if self.below(3) == 0 { Durability::Buffered } else { Durability::Sync };
                let is_ticket =
                    self.below(4) == 0 && durability == Durability::Sync && !open.writes.is_empty();
                self.events.push(Event::Submit { txn: open.label, durability });
                return Doing::Submitted(open, durability, is_ticket);
            }
            3..=5 if open.mode.writes() => self.write(&mut open),
            _ => self.read(&open),
        }
        self.clients[index].open = Some(open);
        Doing::Nothing
    }

    fn key(&mut self) -> Key {
        vec![b'a' + self.below(6) as u8]
    }

    fn write(&mut self, open: &mut Transaction) {
        let (txn, key) = (open.label, self.key());
        if self.below(4) == 0 {
            open.writes.insert(key.clone(), None);
            self.events.push(Event::Delete { txn, key });
        } else {
            self.values += 1;
            let value = unique_value(self.values, 16);
            open.writes.insert(key.clone(), Some(value.clone()));
            self.events.push(Event::Put { txn, key, value });
        }
    }

    fn read(&mut self, open: &Transaction) {
        let is_new = open.snapshot == self.installed() && open.snapshot > self.acknowledged;
        let from = match self.defect {
            Defect::PublishedTooEarly if is_new => open.snapshot - 1,
            Defect::NotPinned if open.snapshot < self.oldest => self.published,
            _ => open.snapshot,
        };
        let mut state = self.states[from].0.clone();
        apply(&mut state, &open.writes);
        let (txn, key) = (open.label, self.key());
        if self.below(2) == 0 {
            let value = state.get(&key).cloned();
            self.events.push(Event::Get { txn, key, value });
        } else {
            let (range, pairs) = (KeyRange::all(), state.into_iter().collect());
            self.events.push(Event::Scan { txn, range, limit: usize::MAX, reverse: false, pairs });
        }
    }

    fn begin(&mut self, index: usize, mode: Mode) -> Result<usize, Refusal> {
        let falls_back = self.below(2) == 0;
        match mode {
            Mode::Read => Ok(match self.defect {
                Defect::StaleSnapshot if falls_back => self.published.saturating_sub(1),
                Defect::SnapshotsGoBack if falls_back => self.acknowledged.min(self.published),
                _ => self.published,
            }),
            Mode::ReadAt(TxnId(at)) => {
                let at = at as usize;
                let is_there = (self.oldest..=self.published).contains(&at);
                if is_there { Ok(at) } else { Err(Refusal::SnapshotNotFound) }
            }
            Mode::Write | Mode::Optimistic if self.is_poisoned => Err(Refusal::Poisoned),
            Mode::Write => {
                let is_busy = match self.defect {
                    Defect::SecondWriter => false,
                    Defect::FalseBusy => falls_back || self.writer.is_some(),
                    _ => self.writer.is_some(),
                };
                if is_busy {
                    return Err(Refusal::WriteBusy);
                }
                self.writer = Some(index);
                Ok(self.installed())
            }
            Mode::Optimistic => Ok(self.published),
        }
    }

    fn begun(&mut self, index: usize, mode: Mode, outcome: Result<usize, Refusal>) -> Doing {
        let client = ClientId(index as u32);
        match outcome {
            Ok(snapshot) => {
                let label = TxnLabel(self.labels);
                self.labels += 1;
                self.clients[index].open =
                    Some(Transaction { label, mode, snapshot, writes: BTreeMap::new() });
                let snapshot = Some(TxnId(snapshot as u64));
                self.answer(Event::Begin { client, txn: label, mode, snapshot })
            }
            Err(reason) => {
                let oldest = (reason == Refusal::SnapshotNotFound).then(|| self.stated_oldest());
                self.answer(Event::Refused { client, mode, reason, oldest })
            }
        }
    }

    fn stated_oldest(&mut self) -> TxnId {
        let goes_back = self.defect == Defect::OldestGoesBack && self.below(2) == 0;
        TxnId(self.oldest.saturating_sub(usize::from(goes_back)) as u64)
    }

    /// Gives a commit its place.
    fn place(&mut self, transaction: Transaction, durability: Durability, is_ticket: bool) -> Doing {
        let Transaction { label, mode, snapshot, writes } = transaction;
        if mode == Mode::Write {
            self.writer = None;
        }
        if self.is_poisoned {
            return Doing::Denied(label, Denial::Poisoned);
        }
        if writes.is_empty() {
            return Doing::Waiting(label, snapshot, durability);
        }
        if mode == Mode::Optimistic {
            let newer = self.states[snapshot + 1..].iter().flat_map(|(_, keys)| keys);
            let conflict = newer.clone().find(|key| writes.contains_key(*key));
            let spurious = writes.keys().next().filter(|_| self.defect == Defect::SpuriousConflict);
            let conflict = conflict.filter(|_| self.defect != Defect::NoConflicts).or(spurious);
            let reason = match conflict.cloned() {
                _ if self.writer.is_some() && self.defect != Defect::CommitsBesideWriter => {
                    Some(Denial::WriteBusy)
                }
                Some(key) => Some(Denial::Conflict { key }),
                None => None,
            };
            if let Some(reason) = reason {
                let mut values = writes.into_iter().filter_map(|(key, value)| Some((key, value?)));
                self.denied = values.next().or(self.denied.take());
                return Doing::Denied(label, reason);
            }
        }
        let mut state = self.states[self.installed()].0.clone();
        apply(&mut state, &writes);
        self.states.push((state, writes.into_keys().collect()));
        let place = self.installed();
        if durability == Durability::Sync {
            self.unsynced.push(place);
        }
        self.publish();
        if is_ticket { Doing::TakenIn(label, place) } else { Doing::Waiting(label, place, durability) }
    }

    /// Makes visible what waits for no sync.
    fn publish(&mut self) {
        self.unsynced.retain(|place| *place > self.durable);
        let visible = self.unsynced.first().map_or(self.installed(), |first| first - 1);
        self.published = self.published.max(visible);
    }

    /// Waits until a commit is visible, and durable if it has to be, or syncs for all who wait.
    fn wait(&mut self, txn: TxnLabel, place: usize, durability: Durability) -> Doing {
        let reached = if durability == Durability::Sync { self.durable } else { self.published };
        let is_early = self.defect == Defect::AcknowledgedTooEarly && self.below(2) == 0;
        let waiting = Doing::Waiting(txn, place, durability);
        if is_early {
            self.unsynced.retain(|unsynced| *unsynced != place);
            self.publish();
        }
        if reached >= place || is_early {
            return Doing::Committed(txn, place);
        }
        if self.is_poisoned { Doing::Denied(txn, Denial::Poisoned) } else { self.sync(waiting) }
    }

    /// Begins to sync for whoever waits, unless somebody does already.
    fn sync(&mut self, waiting: Doing) -> Doing {
        if self.is_syncing {
            return waiting;
        }
        self.is_syncing = true;
        Doing::Syncing(self.installed(), Box::new(waiting))
    }

    fn synced(&mut self, through: usize, then: Doing) -> Doing {
        self.is_syncing = false;
        if self.below(40) == 0 {
            self.is_poisoned = true;
            let failure = Some(Failure { call: FailedCall::Sync, is_no_space: false, is_fatal: false });
            let (class, call) = (FaultClass::Environment, "sync".to_owned());
            self.struck.push(Event::Fault { class, failure, is_passing: false, groups: None, call });
            return Doing::GaveUp(match then {
                Doing::Flush => "checkpoint",
                Doing::Changes(_) => "changes",
                _ => "commit",
            });
        }
        self.durable = self.durable.max(through);
        self.publish();
        then
    }

    fn look_after(&mut self) -> Doing {
        match self.below(8) {
            0 => {
                self.ask(CLIENT_COUNT, Call::Flush);
                Doing::Flush
            }
            1 => {
                self.ask(CLIENT_COUNT, Call::Changes);
                Doing::Changes(self.below(self.published + 3))
            }
            2 => {
                self.ask(CLIENT_COUNT, Call::Backup);
                Doing::Backup
            }
            _ => Doing::Nothing,
        }
    }

    /// Makes everything durable that was there when it was asked for, on the way to `then`.
    fn flush(&mut self, waiting: Doing, then: Doing) -> Doing {
        if self.durable == self.installed() || self.defect == Defect::FlushDoesNothing {
            return then;
        }
        if !self.is_poisoned {
            return self.sync(waiting);
        }
        Doing::Poisoned(if matches!(then, Doing::Flushed) { "checkpoint" } else { "changes" })
    }

    fn changes(&mut self, from: usize) -> Doing {
        if from <= self.oldest {
            return Doing::ChangesRead(from, Err(Refusal::ChangesNotRetained));
        }
        if from > self.published + 1 {
            return Doing::ChangesRead(from, Err(Refusal::SnapshotNotFound));
        }
        let read = Doing::ChangesRead(from, Ok(self.published));
        self.flush(Doing::Changes(from), read)
    }

    fn changes_read(&mut self, from: usize, outcome: Result<usize, Refusal>) -> Doing {
        let (oldest, shown) = (Some(TxnId(self.oldest as u64)), TxnId(from as u64));
        let latest = match outcome {
            Ok(latest) => latest,
            Err(reason) => return self.answer(Event::ChangesRefused { from: shown, reason, oldest }),
        };
        let commit = |place: usize| {
            let (state, keys) = &self.states[place];
            let mutation = |key: &Key| Mutation { key: key.clone(), value: state.get(key).cloned() };
            Commit { id: TxnId(place as u64), mutations: keys.iter().map(mutation).collect() }
        };
        let mut commits: Vec<Commit> = (from..=latest).map(commit).collect();
        match self.defect {
            Defect::StreamTooShort => drop(commits.pop()),
            Defect::SkipsInStream if commits.len() > 1 => drop(commits.remove(0)),
            _ => {}
        }
        self.answer(Event::Durable);
        self.answer(Event::Changes { from: shown, limit: usize::MAX, oldest, commits })
    }

    fn back_up(&mut self) -> Doing {
        let is_old = self.defect == Defect::BackupTooOld && self.published > self.oldest;
        let (latest, oldest) = (self.published - usize::from(is_old), self.oldest);
        let states = [latest, oldest].map(|at| (at, self.states[at].0.clone()));
        Doing::BackedUp(states.to_vec(), latest, oldest)
    }

    fn backed_up(&mut self, states: Vec<(usize, State)>, latest: usize, oldest: usize) -> Doing {
        for (at, state) in states {
            let [at, latest, oldest] = [at, latest, oldest].map(|place| TxnId(place as u64));
            self.answer(Event::Backup { at, latest, oldest, state: state.into_iter().collect() });
        }
        Doing::Nothing
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
