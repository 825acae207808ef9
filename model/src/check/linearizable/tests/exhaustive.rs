//! The checker beside a search through every order of the operations, on small random histories.
//!
//! The histories come from a map that is right; half of them then get a wrong answer somewhere. The search knows
//! neither keys nor configurations: it applies whole operations to a whole map. For histories with scans it looks at
//! one key after the other, as the condition on scans does.

use std::collections::BTreeMap;
use std::ops::Bound::Unbounded;

use super::super::{Answer, Call, History, Operation, check};

type Map = BTreeMap<u8, u32>;
type Ask = Call<u8, u32>;

const KEYS: u8 = 3;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn key(&mut self) -> u8 {
        self.below(u64::from(KEYS)) as u8
    }

    fn call(&mut self, value: u32, with_scans: bool) -> Ask {
        match self.below(if with_scans { 10 } else { 7 }) {
            0 => Call::Insert(self.key(), value),
            1 => Call::Upsert(self.key(), value),
            2 => {
                let expected = (self.below(2) == 0).then(|| self.below(6) as u32);
                Call::CompareAndInsert(self.key(), expected, value)
            }
            3 => Call::Delete(self.key()),
            4 | 5 => Call::Get(self.key()),
            6 => Call::Contains(self.key()),
            7 => Call::Scan(Unbounded, Unbounded),
            8 => Call::First,
            _ => Call::ScanReverse(Unbounded, Unbounded),
        }
    }
}

/// What a map answers. Scans are asked key by key, and never here.
fn apply(map: &mut Map, call: &Ask) -> Answer<u8, u32> {
    match call {
        Call::Insert(key, _) if map.contains_key(key) => Answer::Refused,
        Call::Insert(key, value) => {
            map.insert(*key, *value);
            Answer::Done
        }
        Call::Upsert(key, value) => Answer::Value(map.insert(*key, *value)),
        Call::CompareAndInsert(key, expected, value) => match map.get(key).copied() {
            held if held == *expected => {
                map.insert(*key, *value);
                Answer::Done
            }
            held => Answer::Found(held),
        },
        Call::Delete(key) => Answer::Value(map.remove(key)),
        Call::Get(key) => Answer::Value(map.get(key).copied()),
        Call::Contains(key) if map.contains_key(key) => Answer::Done,
        Call::Contains(_) => Answer::Refused,
        _ => panic!("not an operation on one key"),
    }
}

/// A client in the middle of an operation: which, and what it got so far.
struct Client {
    operation: usize,
    rest: Vec<u8>,
    pairs: Vec<(u8, u32)>,
    answer: Option<Answer<u8, u32>>,
}

/// Some clients on a map, interleaved at random. Scans look at one key at a time.
fn run(random: &mut Random, count: usize, with_scans: bool) -> History<u8, u32> {
    let (mut map, mut stamp) = (Map::new(), 0);
    let mut history = History::default();
    let mut clients: Vec<Option<Client>> = (0..3).map(|_| None).collect();
    for _ in 0..count * 8 {
        let index = random.below(3) as usize;
        let Some(client) = &mut clients[index] else {
            if history.operations.len() < count {
                let call = random.call(history.operations.len() as u32, with_scans);
                stamp += 1;
                let operation = history.operations.len();
                history.operations.push(Operation { client: index, call, invoked: stamp, answered: None });
                clients[index] =
                    Some(Client { operation, rest: (0..KEYS).collect(), pairs: Vec::new(), answer: None });
            }
            continue;
        };
        let operation = &mut history.operations[client.operation];
        if let Some(answer) = client.answer.take() {
            stamp += 1;
            operation.answered = Some((stamp, answer));
            clients[index] = None;
            continue;
        }
        client.answer = match &operation.call {
            Call::Scan(..) | Call::ScanReverse(..) | Call::First => look(client, &operation.call, &map),
            call => Some(apply(&mut map, call)),
        };
    }
    history
}

/// One step of a scan.
fn look(client: &mut Client, call: &Ask, map: &Map) -> Option<Answer<u8, u32>> {
    let key = match call {
        Call::ScanReverse(..) => client.rest.pop(),
        _ => (!client.rest.is_empty()).then(|| client.rest.remove(0)),
    };
    let pair = key.and_then(|key| map.get_key_value(&key));
    client.pairs.extend(pair.map(|(key, value)| (*key, *value)));
    let is_enough = *call == Call::First && !client.pairs.is_empty();
    (is_enough || key.is_none()).then(|| Answer::Pairs(client.pairs.clone()))
}

/// Changes the answer of one operation.
fn spoil(random: &mut Random, history: &mut History<u8, u32>) {
    let index = random.below(history.operations.len() as u64) as usize;
    let Operation { call, answered: Some((_, answer)), .. } = &mut history.operations[index] else { return };
    let value = (random.below(3) > 0).then(|| random.below(6) as u32);
    *answer = match (call, &*answer) {
        (Call::Insert(..) | Call::Contains(_), Answer::Done) => Answer::Refused,
        (Call::Insert(..) | Call::Contains(_), _) => Answer::Done,
        (Call::CompareAndInsert(..), Answer::Found(_)) if value.is_none() => Answer::Done,
        (Call::CompareAndInsert(..), _) => Answer::Found(value),
        (_, Answer::Pairs(pairs)) => {
            let mut pairs = pairs.clone();
            match (pairs.is_empty(), value) {
                (true, _) => pairs.push((random.key(), 1)),
                (false, None) => drop(pairs.remove(0)),
                (false, Some(value)) => pairs[0].1 = value,
            }
            Answer::Pairs(pairs)
        }
        _ => Answer::Value(value),
    };
}

/// Whether some order of some of the operations, among them all that were answered, gives all answers.
fn has_order(operations: &[Operation<u8, u32>], done: u32, map: &Map) -> bool {
    let is_left = |index: &usize| done >> index & 1 == 0;
    let left = || (0..operations.len()).filter(is_left);
    let deadline =
        left().filter_map(|index| operations[index].answered.as_ref()).map(|(stamp, _)| *stamp).min();
    let Some(deadline) = deadline else { return true };
    left().filter(|index| operations[*index].invoked < deadline).any(|index| {
        let mut after = map.clone();
        let answer = apply(&mut after, &operations[index].call);
        let is_right = operations[index].answered.as_ref().is_none_or(|(_, given)| *given == answer);
        is_right && has_order(operations, done | 1 << index, &after)
    })
}

/// The history as one key sees it: scans are gets of it.
fn projection(history: &History<u8, u32>, key: u8) -> Vec<Operation<u8, u32>> {
    let mut seen = Vec::new();
    for operation in &history.operations {
        let mut operation = operation.clone();
        match &operation.call {
            Call::Insert(other, _) | Call::Upsert(other, _) | Call::CompareAndInsert(other, ..)
                if *other != key =>
            {
                continue;
            }
            Call::Delete(other) | Call::Get(other) | Call::Contains(other) if *other != key => continue,
            Call::Scan(..) | Call::ScanReverse(..) | Call::First => {
                let Some((stamp, Answer::Pairs(pairs))) = operation.answered else { continue };
                if operation.call == Call::First && pairs.first().is_some_and(|(first, _)| *first < key) {
                    continue;
                }
                let value = pairs.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
                operation.call = Call::Get(key);
                operation.answered = Some((stamp, Answer::Value(value)));
            }
            _ => {}
        }
        seen.push(operation);
    }
    seen
}

#[test]
fn operations_on_one_key_are_judged_as_by_a_search_through_all_orders() {
    let mut count = [0; 2];
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let operations = 2 + random.below(6) as usize;
        let mut history = run(&mut random, operations, false);
        let is_spoilt = random.below(2) == 0;
        if is_spoilt {
            spoil(&mut random, &mut history);
        }
        let expected = has_order(&history.operations, 0, &Map::new());
        assert!(is_spoilt || expected, "seed {seed}: the map of this test is wrong");
        let verdict = check(&history);
        assert_eq!(verdict.is_ok(), expected, "seed {seed}: {verdict:?} of {history:#?}");
        count[usize::from(expected)] += 1;
    }
    assert!(count.iter().all(|count| *count > 3_000), "{count:?} is lopsided");
}

#[test]
fn scans_are_judged_as_by_a_search_for_each_key() {
    let mut count = [0; 2];
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let operations = 3 + random.below(5) as usize;
        let mut history = run(&mut random, operations, true);
        let is_spoilt = random.below(2) == 0;
        if is_spoilt {
            spoil(&mut random, &mut history);
        }
        let expected = (0..KEYS).all(|key| has_order(&projection(&history, key), 0, &Map::new()));
        assert!(is_spoilt || expected, "seed {seed}: the map of this test is wrong");
        let verdict = check(&history);
        assert_eq!(verdict.is_ok(), expected, "seed {seed}: {verdict:?} of {history:#?}");
        count[usize::from(expected)] += 1;
    }
    assert!(count.iter().all(|count| *count > 3_000), "{count:?} is lopsided");
}
