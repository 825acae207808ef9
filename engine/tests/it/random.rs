//! Long sequences of random operations against an ordered map per transaction.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use proofmark_engine::{Database, Durability, Options, ReadTransaction, Retention, TxnId};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Numbers that are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn all(read: &ReadTransaction) -> State {
    let pairs = read.range((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
    pairs
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("the scan goes on"))
        .collect()
}

fn check_scans(read: &ReadTransaction, state: &State, numbers: &mut Numbers) {
    assert_eq!(&all(read), state);
    let reverse = read.range_reverse((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
    let reverse: Vec<Vec<u8>> = reverse.map(|pair| pair.expect("the scan goes on").0.to_vec()).collect();
    assert!(reverse.iter().eq(state.keys().rev()));
    for _ in 0..10 {
        let (a, b) = (key(numbers, 300), key(numbers, 300));
        let bounds = (Bound::Excluded(a.as_slice()), Bound::Included(b.as_slice()));
        let expected: Vec<&Vec<u8>> =
            if a < b { state.range::<[u8], _>(bounds).map(|(key, _)| key).collect() } else { vec![] };
        let found = read.range(bounds).expect("the scan starts");
        let found: Vec<Vec<u8>> = found.map(|pair| pair.expect("the scan goes on").0.to_vec()).collect();
        assert!(found.iter().eq(expected.iter().copied()));
        let found = read.range_reverse(bounds).expect("the scan starts");
        let found: Vec<Vec<u8>> = found.map(|pair| pair.expect("the scan goes on").0.to_vec()).collect();
        assert!(found.iter().eq(expected.iter().rev().copied()));
        assert_eq!(read.get(&a).expect("the key can be read").as_deref(), state.get(&a).map(Vec::as_slice));
    }
}

fn key(numbers: &mut Numbers, space: u64) -> Vec<u8> {
    let number = numbers.below(space);
    let mut key = format!("{}/{number:04}", number % 7).into_bytes();
    if number.is_multiple_of(23) {
        // As long as a key can be where pages are small.
        key.resize(1024, b'x');
    }
    key
}

/// Runs `steps` random steps and checks after each commit, checkpoint and reopening.
fn run(directory: &Path, seed: u64, options: &Options, history: bool, steps: u32) {
    let mut numbers = Numbers(seed);
    let mut states: Vec<State> = vec![State::new()];
    let mut database = Database::open(directory, options).expect("a database is created");
    let mut held: Option<(ReadTransaction, State)> = None;
    for step in 0..steps {
        let mut state = states.last().expect("there is a first state").clone();
        let mut write = database.begin_write().expect("nobody else writes");
        let deletes_mostly = step % 40 > 25;
        for _ in 0..numbers.below(30) {
            let key = key(&mut numbers, 300);
            if numbers.below(10) < if deletes_mostly { 8 } else { 2 } {
                write.delete(&key).expect("the key is legal");
                state.remove(&key);
            } else {
                let length = if numbers.below(20) == 0 { 12_000 } else { numbers.below(200) };
                let value = vec![step as u8; length as usize];
                write.put(&key, &value).expect("key and value are legal");
                state.insert(key, value);
            }
        }
        let own = write.range((Bound::Unbounded, Bound::Unbounded)).expect("the scan starts");
        assert!(own.map(|pair| pair.expect("the scan goes on").0.to_vec()).eq(state.keys().cloned()));
        let durability = if numbers.below(3) == 0 { Durability::Sync } else { Durability::Buffered };
        let before = database.latest();
        let txn = write.commit_with(durability).expect("the disk is fine");
        if txn > before {
            states.push(state);
        }
        assert_eq!(txn.0 as usize, states.len() - 1);
        if let Some((read, state)) = &held {
            assert_eq!(&all(read), state, "a snapshot doesn't change");
        }
        match numbers.below(8) {
            0 | 1 => {
                database.checkpoint().expect("the disk is fine");
                database.verify().expect("the database is whole");
            }
            2 => {
                held = None;
                drop(database);
                database = Database::open(directory, options).expect("the database opens again");
                database.verify().expect("the database is whole");
            }
            3 => {
                held = Some((
                    database.begin_read().expect("a snapshot"),
                    states.last().expect("there is a state").clone(),
                ));
            }
            _ => {}
        }
        let latest = states.last().expect("there is a state");
        check_scans(&database.begin_read().expect("a snapshot"), latest, &mut numbers);
        let oldest = database.oldest_retained();
        let past = TxnId(oldest.0 + numbers.below(txn.0 - oldest.0 + 1));
        check_scans(&database.begin_read_at(past).expect("retained"), &states[past.0 as usize], &mut numbers);
        if history {
            assert_eq!(oldest, TxnId(0));
        }
    }
}

#[test]
fn latest_state_only() {
    for seed in 0..2 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options::new().page_size(4096).cache_bytes(16 * 4096).segment_bytes(4096);
        run(&directory.path().join("db"), seed, &options, false, 120);
    }
}

#[test]
fn whole_history() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new().page_size(4096).retention(Retention::All);
    run(&directory.path().join("db"), 77, &options, true, 120);
}

#[test]
fn some_history_and_checkpoints_by_size() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new().page_size(8192).retention(Retention::Txns(9)).write_tier_bytes(20_000);
    run(&directory.path().join("db"), 78, &options, false, 120);
}
