//! Histories that are and that are not linearizable, and random ones beside a search through all orders.

mod exhaustive;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{Answer, Call, End, History, NotLinearizable, Operation, check};

type Asked = (usize, Call<u8, u32>, u64, Option<(u64, Answer<u8, u32>)>);

fn history(operations: impl IntoIterator<Item = Asked>) -> History<u8, u32> {
    let operation = |(client, call, invoked, answered)| Operation { client, call, invoked, answered };
    History { operations: operations.into_iter().map(operation).collect(), ..History::default() }
}

fn verdict(operations: impl IntoIterator<Item = Asked>) -> Result<(), NotLinearizable> {
    check(&history(operations))
}

fn kind(operations: impl IntoIterator<Item = Asked>) -> &'static str {
    verdict(operations).map_or_else(|violation| violation.kind, |()| "fine")
}

fn upsert(client: usize, key: u8, value: u32, from: u64, to: u64, old: Option<u32>) -> Asked {
    (client, Call::Upsert(key, value), from, Some((to, Answer::Value(old))))
}

fn get(client: usize, key: u8, from: u64, to: u64, value: Option<u32>) -> Asked {
    (client, Call::Get(key), from, Some((to, Answer::Value(value))))
}

fn delete(client: usize, key: u8, from: u64, to: u64, old: Option<u32>) -> Asked {
    (client, Call::Delete(key), from, Some((to, Answer::Value(old))))
}

fn scan(client: usize, from: u64, to: u64, pairs: &[(u8, u32)]) -> Asked {
    (client, Call::Scan(Unbounded, Unbounded), from, Some((to, Answer::Pairs(pairs.to_vec()))))
}

#[test]
fn operations_one_after_the_other_answer_as_a_map_does() {
    let fine = [
        get(0, 1, 1, 2, None),
        (0, Call::Insert(1, 10), 3, Some((4, Answer::Done))),
        (0, Call::Insert(1, 11), 5, Some((6, Answer::Refused))),
        (0, Call::Contains(1), 7, Some((8, Answer::Done))),
        (0, Call::CompareAndInsert(1, Some(10), 12), 9, Some((10, Answer::Done))),
        (0, Call::CompareAndInsert(1, None, 13), 11, Some((12, Answer::Found(Some(12))))),
        upsert(0, 1, 14, 13, 14, Some(12)),
        delete(0, 1, 15, 16, Some(14)),
        (0, Call::Contains(1), 17, Some((18, Answer::Refused))),
        (0, Call::CompareAndInsert(1, None, 15), 19, Some((20, Answer::Done))),
        (0, Call::Clear, 21, Some((22, Answer::Done))),
        delete(0, 1, 23, 24, None),
    ];
    assert_eq!(verdict(fine.clone()), Ok(()));
    let wrong_answers = [
        Answer::Value(Some(9)),
        Answer::Refused,
        Answer::Done,
        Answer::Refused,
        Answer::Found(Some(10)),
        Answer::Found(None),
        Answer::Value(None),
        Answer::Value(Some(12)),
        Answer::Done,
        Answer::Found(None),
    ];
    for (index, wrong) in wrong_answers.into_iter().enumerate() {
        let mut operations = fine.clone();
        operations[index].3.as_mut().unwrap().1 = wrong;
        assert_eq!(kind(operations), "not-linearizable", "with a wrong answer to operation {index}");
    }
}

#[test]
fn concurrent_operations_may_take_effect_in_any_order() {
    let write = upsert(0, 1, 10, 1, 10, None);
    assert_eq!(kind([write.clone(), get(1, 1, 2, 3, None)]), "fine");
    assert_eq!(kind([write.clone(), get(1, 1, 2, 3, Some(10))]), "fine");
    let seen_twice = [write.clone(), get(1, 1, 2, 3, None), get(1, 1, 4, 5, Some(10))];
    assert_eq!(kind(seen_twice), "fine");
    let back_in_time = [write.clone(), get(1, 1, 2, 3, Some(10)), get(2, 1, 4, 5, None)];
    assert_eq!(kind(back_in_time), "not-linearizable");
    assert_eq!(kind([write, get(1, 1, 11, 12, None)]), "not-linearizable");
}

#[test]
fn what_was_never_answered_may_have_happened_at_any_later_time() {
    let pending = (0, Call::Upsert(1, 10), 1, None);
    assert_eq!(kind([pending.clone(), get(1, 1, 2, 3, None), get(1, 1, 4, 5, Some(10))]), "fine");
    assert_eq!(kind([pending.clone(), get(1, 1, 2, 3, None), get(1, 1, 4, 5, None)]), "fine");
    assert_eq!(kind([pending.clone(), get(1, 1, 2, 3, Some(10)), get(1, 1, 4, 5, None)]), "not-linearizable");
    let before = [get(1, 1, 0, 1, Some(10)), (0, Call::Upsert(1, 10), 2, None)];
    assert_eq!(kind(before), "not-linearizable");
    let refused = [upsert(1, 1, 9, 1, 2, None), (0, Call::Insert(1, 10), 3, None), get(1, 1, 4, 5, Some(9))];
    assert_eq!(kind(refused), "fine");
}

#[test]
fn a_lost_update_and_a_lost_compare_are_found() {
    let both_first = [upsert(0, 1, 10, 1, 5, None), upsert(1, 1, 11, 2, 6, None)];
    assert_eq!(kind(both_first), "not-linearizable");
    let compare = |client, value, from, to| {
        (client, Call::CompareAndInsert(1, None, value), from, Some((to, Answer::Done)))
    };
    assert_eq!(kind([compare(0, 10, 1, 5), compare(1, 11, 2, 6)]), "not-linearizable");
    let deleted_twice =
        [upsert(0, 1, 10, 1, 2, None), delete(0, 1, 3, 6, Some(10)), delete(1, 1, 4, 5, Some(10))];
    assert_eq!(kind(deleted_twice), "not-linearizable");
}

#[test]
fn a_scan_shows_what_was_there_and_nothing_else() {
    let write = |from, to| upsert(0, 1, 10, from, to, None);
    assert_eq!(kind([write(1, 2), scan(1, 3, 4, &[(1, 10)])]), "fine");
    assert_eq!(kind([write(1, 2), scan(1, 3, 4, &[])]), "not-linearizable", "it was there throughout");
    assert_eq!(kind([write(5, 6), scan(1, 3, 4, &[(1, 10)])]), "not-linearizable", "it was never there");
    assert_eq!(kind([write(2, 5), scan(1, 3, 4, &[])]), "fine");
    assert_eq!(kind([write(2, 5), scan(1, 3, 4, &[(1, 10)])]), "fine");
    let replaced = |pairs: &[(u8, u32)]| {
        kind([write(1, 2), scan(1, 3, 10, pairs), upsert(0, 1, 11, 4, 5, Some(10)), delete(0, 2, 6, 7, None)])
    };
    assert_eq!(replaced(&[(1, 10)]), "fine");
    assert_eq!(replaced(&[(1, 11)]), "fine");
    assert_eq!(replaced(&[]), "not-linearizable", "its value changed, but it was there throughout");
    let not_a_snapshot = [
        write(1, 2),
        scan(1, 3, 10, &[(1, 10), (2, 20)]),
        delete(0, 1, 4, 5, Some(10)),
        upsert(0, 2, 20, 6, 7, None),
    ];
    assert_eq!(kind(not_a_snapshot), "fine");
    let back_in_time = [write(1, 9), scan(1, 2, 3, &[(1, 10)]), scan(1, 4, 5, &[])];
    assert_eq!(kind(back_in_time), "not-linearizable");
}

#[test]
fn a_scan_is_in_order_and_within_its_bounds() {
    let put = || [upsert(0, 1, 10, 1, 2, None), upsert(0, 2, 20, 3, 4, None), upsert(0, 3, 30, 5, 6, None)];
    let with = |call, pairs: &[(u8, u32)]| {
        kind(put().into_iter().chain([(0, call, 7, Some((8, Answer::Pairs(pairs.to_vec()))))]))
    };
    let (one, two, three) = ((1, 10), (2, 20), (3, 30));
    assert_eq!(with(Call::Scan(Unbounded, Unbounded), &[one, two, three]), "fine");
    assert_eq!(with(Call::Scan(Unbounded, Unbounded), &[two, one, three]), "scan-order");
    assert_eq!(with(Call::Scan(Unbounded, Unbounded), &[one, two, two, three]), "scan-order");
    assert_eq!(with(Call::ScanReverse(Unbounded, Unbounded), &[three, two, one]), "fine");
    assert_eq!(with(Call::ScanReverse(Unbounded, Unbounded), &[one, two, three]), "scan-order");
    assert_eq!(with(Call::ScanReverse(Unbounded, Unbounded), &[three, one]), "not-linearizable");
    assert_eq!(with(Call::Scan(Excluded(1), Included(3)), &[two, three]), "fine");
    assert_eq!(with(Call::Scan(Excluded(1), Excluded(3)), &[two, three]), "scan-bounds");
    assert_eq!(with(Call::Scan(Included(2), Excluded(3)), &[]), "not-linearizable");
    assert_eq!(with(Call::First, &[one]), "fine");
    assert_eq!(with(Call::First, &[two]), "not-linearizable");
    assert_eq!(with(Call::First, &[]), "not-linearizable");
    assert_eq!(with(Call::Last, &[three]), "fine");
    assert_eq!(with(Call::Last, &[two]), "not-linearizable");
    assert_eq!(with(Call::Last, &[one, two]), "malformed-history");
}

#[test]
fn the_end_counts_too() {
    let judged = |pairs: Vec<(u8, u32)>, length| {
        let mut history = history([upsert(0, 1, 10, 1, 2, Some(9)), upsert(0, 2, 20, 3, 4, None)]);
        history.start = BTreeMap::from([(1, 9), (5, 50)]);
        history.end = Some(End { pairs, length });
        check(&history).map_or_else(|violation| violation.kind, |()| "fine")
    };
    assert_eq!(judged(vec![(1, 10), (2, 20), (5, 50)], 3), "fine");
    assert_eq!(judged(vec![(1, 10), (2, 20), (5, 50)], 4), "length");
    assert_eq!(judged(vec![(1, 10), (2, 20)], 2), "not-linearizable");
    assert_eq!(judged(vec![(1, 9), (2, 20), (5, 50)], 3), "not-linearizable");
    assert_eq!(judged(vec![(1, 10), (5, 50), (2, 20)], 3), "scan-order");
    assert_eq!(judged(vec![(1, 10), (2, 20), (5, 50), (6, 60)], 4), "not-linearizable");
}

#[test]
fn an_answer_to_something_else_is_a_defect_of_the_recorder() {
    assert_eq!(kind([(0, Call::Get(1), 1, Some((2, Answer::Done)))]), "malformed-history");
    assert_eq!(kind([get(0, 1, 2, 2, None)]), "malformed-history");
    assert_eq!(kind([scan(0, 3, 1, &[])]), "malformed-history");
}

#[test]
fn the_text_shows_the_smallest_window() {
    let mut operations: Vec<Asked> = (0..50u32)
        .map(|at| upsert(0, 1, at, u64::from(4 * at), u64::from(4 * at + 1), at.checked_sub(1)))
        .collect();
    operations.push(get(1, 1, 4 * 20 + 2, 4 * 20 + 3, Some(19)));
    let violation = verdict(operations).unwrap_err();
    let expected = "key 1: no order of these operations explains their answers, whatever it held before
  c0 [80..81] Upsert(1, 20) -> Value(Some(19))
  c1 [82..83] Get(1) -> Value(Some(19))  <- the first that can't be explained";
    assert_eq!(violation.message, expected);
}

/// However many operations it spans.
#[test]
fn the_text_shows_the_one_that_cannot_be_explained() {
    let mut operations: Vec<Asked> = vec![get(1, 1, 0, 1_000, Some(7_000))];
    for at in 0..100u32 {
        let (from, to) = (u64::from(4 * at + 1), u64::from(4 * at + 2));
        operations.push(upsert(0, 1, at, from, to, at.checked_sub(1)));
    }
    let message = verdict(operations).unwrap_err().message;
    assert!(
        message.contains("Get(1) -> Value(Some(7000))  <- the first that can't be explained"),
        "{message}"
    );
    assert!(message.lines().count() < 50, "{message}");
}

#[test]
fn a_long_history_is_judged_in_reasonable_time() {
    let mut operations = Vec::new();
    for at in 0..20_000u32 {
        let (from, to) = (u64::from(2 * at), u64::from(2 * at + 5));
        let old = (at >= 1).then(|| at - 1);
        operations.push(upsert(at as usize % 3, 1, at, from, to, old));
    }
    assert_eq!(verdict(operations), Ok(()));
}
