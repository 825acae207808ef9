//! Databases that keep between checkpoints no more than their retention says: what everybody sees is what they would see
//! without.

use std::collections::BTreeMap;
use std::thread;

use proofmark_engine::{Database, Durability, Error, Options, ReadTransaction, Retention, TxnId};

use crate::scratch::{Scratch, State, state};

/// Numbers that are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A database, and every state it has been in.
struct Life {
    database: Database,
    states: Vec<State>,
    numbers: Numbers,
}

impl Life {
    fn commit(&mut self) {
        let mut state = self.states.last().expect("the empty one is there").clone();
        let mut write = self.database.begin_write().expect("nobody else writes");
        assert_eq!(write.snapshot().0 as usize, self.states.len() - 1);
        for _ in 0..=self.numbers.below(3) {
            let key = format!("key {}", self.numbers.below(30)).into_bytes();
            if self.numbers.below(4) == 0 {
                write.delete(&key).expect("legal");
                state.remove(&key);
            } else {
                let value = format!("{} {key:?}", self.states.len()).into_bytes();
                write.put(&key, &value).expect("legal");
                state.insert(key, value);
            }
        }
        let durability = if self.numbers.below(8) == 0 { Durability::Sync } else { Durability::Buffered };
        if self.numbers.below(10) == 0 {
            // Visible with the next commit that waits, which a writer that begins meanwhile doesn't do.
            drop(write.submit().expect("there is room"));
        } else {
            write.commit_with(durability).expect("there is room");
        }
        self.states.push(state);
    }

    fn check(&self, read: &ReadTransaction) {
        assert!(state(read) == self.states[read.snapshot().0 as usize], "as of {:?}", read.snapshot());
    }

    /// The stream from some transaction on, applied to the state before it.
    fn follow(&mut self) {
        // Asking for a stream makes visible what was submitted only.
        self.database.sync().expect("the disk is fine");
        let (oldest, latest) = (self.database.oldest_retained(), self.database.latest());
        let from = oldest.0 + 1 + self.numbers.below(latest.0 - oldest.0 + 1);
        let mut state = self.states[from as usize - 1].clone();
        let mut changes = self.database.changes(TxnId(from)).expect("it is retained");
        // What is pruned meanwhile is nothing of it.
        self.commit();
        for txn in from..=latest.0 {
            let change = changes.next().expect("no gap").expect("readable");
            assert_eq!(change.txn.0, txn);
            for (key, value) in change.operations {
                match value {
                    Some(value) => state.insert(key.to_vec(), value.to_vec()),
                    None => state.remove(&*key),
                };
            }
            assert!(state == self.states[txn as usize]);
        }
    }
}

fn live(seed: u64, retention: Retention, kept: u64) {
    let scratch = Scratch::new();
    let options = Options::new().page_size(4096).write_tier_bytes(60_000).retention(retention).prune(true);
    let mut life =
        Life { database: scratch.open(&options), states: vec![State::new()], numbers: Numbers(seed) };
    let mut readers: Vec<ReadTransaction> = Vec::new();
    for step in 0..1500 {
        life.commit();
        let (oldest, latest) = (life.database.oldest_retained(), life.database.latest());
        assert!(oldest >= TxnId(latest.0.saturating_sub(kept)), "the retention holds at every moment");
        match life.numbers.below(12) {
            0 => {
                let at = TxnId(oldest.0 + life.numbers.below(latest.0 - oldest.0 + 1));
                readers.push(life.database.begin_read_at(at).expect("retained"));
            }
            1 => readers.push(life.database.begin_read().expect("a snapshot")),
            2 | 3 if !readers.is_empty() => {
                let index = life.numbers.below(readers.len() as u64) as usize;
                life.check(&readers.swap_remove(index));
            }
            4 => life.follow(),
            5 if oldest.0 > 0 => {
                let outcome = life.database.begin_read_at(TxnId(oldest.0 - 1));
                assert!(matches!(outcome, Err(Error::SnapshotNotFound { .. })));
                assert!(matches!(life.database.changes(oldest), Err(Error::ChangesNotRetained { .. })));
            }
            6 if step % 7 == 0 => drop(life.database.checkpoint().expect("the disk is fine")),
            _ => {}
        }
        if step % 50 == 0 {
            life.database.verify().expect("log and tier agree");
            readers.iter().for_each(|read| life.check(read));
        }
        if step % 400 == 399 {
            readers.clear();
            life.database.sync().expect("the disk is fine");
            let copy = Scratch::new();
            life.database.backup(copy.path()).expect("there is room");
            let copy = copy.open(&Options::new().read_only(true));
            assert_eq!(copy.oldest_retained(), life.database.oldest_retained());
            for txn in copy.oldest_retained().0..=copy.latest().0 {
                life.check(&copy.begin_read_at(TxnId(txn)).expect("retained"));
            }
            copy.verify().expect("it is a database like any other");
            drop(life.database);
            life.database = scratch.open(&options);
            life.check(&life.database.begin_read().expect("a snapshot"));
        }
    }
}

#[test]
fn everybody_sees_what_they_would_see_unpruned() {
    live(1, Retention::Latest, 0);
    live(2, Retention::Txns(1), 1);
    live(3, Retention::Txns(40), 40);
    live(4, Retention::All, u64::MAX);
}

#[test]
fn a_reader_sees_its_snapshot_through_any_number_of_updates() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new().prune(true).write_tier_bytes(1 << 30));
    let put = |number: u64| {
        let mut write = database.begin_write().expect("nobody else writes");
        write.put(b"hot", &number.to_le_bytes()).expect("legal");
        write.commit_with(Durability::Buffered).expect("there is room");
    };
    put(0);
    let first = database.begin_read().expect("a snapshot");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 20_000 {
                    let read = database.begin_read().expect("a snapshot");
                    let value = || read.get(b"hot").expect("readable").expect("it is always there");
                    let seen = u64::from_le_bytes((*value()).try_into().expect("eight bytes"));
                    assert_eq!(*value(), seen.to_le_bytes(), "a snapshot is repeatable");
                    assert_eq!(read.snapshot().0, seen + 1);
                    assert!(seen >= last);
                    last = seen;
                }
            });
        }
        (1..=20_000).for_each(put);
    });
    assert_eq!(first.get(b"hot").expect("readable").as_deref(), Some(&0_u64.to_le_bytes()[..]));
    database.verify().expect("log and tier agree");
    // All that the merge finds in the tier: the latest version, and the one of the first reader.
    let merged = database.checkpoint().expect("the disk is fine").merged_version_count;
    assert!(merged <= 10, "{merged} versions of one key");
    assert_eq!(first.get(b"hot").expect("readable").as_deref(), Some(&0_u64.to_le_bytes()[..]));
}

#[test]
fn optimistic_writers_conflict_over_what_was_pruned() {
    let scratch = Scratch::new();
    let database = scratch.open(&Options::new().prune(true));
    let mut late = database.begin_optimistic().expect("a snapshot");
    let mut counts = BTreeMap::new();
    for number in 0..100_u8 {
        let mut write = database.begin_optimistic().expect("a snapshot");
        let key = [number % 3];
        let before = write.get(&key).expect("readable").map_or(0, |value| value[0]);
        assert_eq!(before, counts.get(&key).copied().unwrap_or(0));
        write.put(&key, &[before + 1]).expect("legal");
        counts.insert(key, before + 1);
        write.commit_with(Durability::Buffered).expect("no conflict");
    }
    assert_eq!(late.get(&[1]).expect("readable"), None);
    late.put(&[1], b"late").expect("legal");
    assert!(matches!(late.commit(), Err(Error::Conflict { key }) if key == [1]));
}
