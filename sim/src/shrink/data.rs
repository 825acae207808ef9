//! Smaller keys and values, and names that a person can read.
//!
//! Values stay unique: each keeps its number until all of them are numbered anew. Keys keep their order as long as that
//! is possible, because much depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proofmark_model::{
    Key, KeyRange, MIN_VALUE_LENGTH, MarkLabel, Operation, SavepointLabel, recognize, unique_value,
};

use super::search::{Search, Stopped};
use super::simplify::{halves, keys};
use crate::plan::{Action, Plan, Step};

/// The letters of short names.
const LETTERS: u8 = 26;

/// Of more keys than this no two are made one: there are too many pairs.
const KEYS_MERGED_MAX: usize = 12;

/// Makes keys and values smaller: all of them at once, or one at a time.
pub(super) fn shorten(search: &mut Search<'_>) -> Result<(), Stopped> {
    search.attempt_with(|plan| each_value(plan, |_, id| unique_value(id, MIN_VALUE_LENGTH)))?;
    for index in 0..search.best().steps.len() {
        let Some(length) = value_length(&search.best().steps[index]) else { continue };
        let halves = halves(length as u64).into_iter().filter(|length| *length > MIN_VALUE_LENGTH as u64);
        for shorter in [MIN_VALUE_LENGTH as u64].into_iter().chain(halves) {
            let change = |plan: &mut Plan| {
                each_value(plan, |(step, old), id| {
                    let length = if step == index { shorter as usize } else { old };
                    unique_value(id, length)
                });
            };
            if search.attempt_with(change)? {
                break;
            }
        }
    }
    merge_keys(search)?;
    shorten_keys(search)
}

/// Lets one key do for two.
fn merge_keys(search: &mut Search<'_>) -> Result<(), Stopped> {
    let all = keys(search.best());
    if all.len() > KEYS_MERGED_MAX {
        return Ok(());
    }
    for from in all.iter().rev() {
        for to in all.iter().take_while(|to| *to < from) {
            let name = BTreeMap::from([(from.clone(), to.clone())]);
            if search.attempt_with(|plan| rename_keys(plan, &name))? {
                break;
            }
        }
    }
    Ok(())
}

/// Gives keys the names a, b, c in their order, or shorter ones at least.
fn shorten_keys(search: &mut Search<'_>) -> Result<(), Stopped> {
    let names = in_order(&keys(search.best()), |_, index, count| short_name(index, count));
    if search.attempt_with(|plan| rename_keys(plan, &names))? {
        return Ok(());
    }
    // The same letter over and over can be cut off anywhere and is still another name than that of any other key.
    let names = in_order(&keys(search.best()), |key, index, count| repeated_name(key.len(), index, count));
    search.attempt_with(|plan| rename_keys(plan, &names))?;
    for key in keys(search.best()) {
        for length in [1].into_iter().chain(halves(key.len() as u64)).filter(|length| *length > 0) {
            let name = key[..key.len().min(length as usize)].to_vec();
            if !keys(search.best()).contains(&name)
                && search.attempt_with(|plan| rename_keys(plan, &BTreeMap::from([(key.clone(), name)])))?
            {
                break;
            }
        }
    }
    Ok(())
}

/// Numbers values, savepoints and marks from 1, and forgets the seed.
pub(super) fn rename(search: &mut Search<'_>) -> Result<(), Stopped> {
    search.attempt_with(|plan| {
        let mut next = 0;
        each_value(plan, |(_, length), _| {
            next += 1;
            unique_value(next, length)
        });
    })?;
    search.attempt_with(rename_savepoints)?;
    search.attempt_with(rename_marks)?;
    search.attempt_with(|plan| plan.seed = None)?;
    Ok(())
}

/// Makes each value anew, from where it stands, how long it is, and its number. What is too short to hold a number was
/// written by hand, and is as small as it gets.
fn each_value(plan: &mut Plan, mut make: impl FnMut((usize, usize), u64) -> Vec<u8>) {
    // A value that nobody made gets a number that nobody has.
    let mut unused = 1 + numbers(plan).last().copied().unwrap_or_default();
    for (index, step) in plan.steps.iter_mut().enumerate() {
        if let Step::Client(_, Action::Operation(Operation::Put { value, .. })) = step
            && value.len() >= MIN_VALUE_LENGTH
        {
            let id = recognize(value).map_or_else(
                || {
                    unused += 1;
                    unused
                },
                |(id, _)| id,
            );
            *value = make((index, value.len()), id);
        }
    }
}

/// The numbers of all values.
fn numbers(plan: &Plan) -> BTreeSet<u64> {
    let value = |step: &Step| match step {
        Step::Client(_, Action::Operation(Operation::Put { value, .. })) => {
            recognize(value).map(|(id, _)| id)
        }
        _ => None,
    };
    plan.steps.iter().filter_map(value).filter(|id| *id < u64::MAX / 2).collect()
}

fn value_length(step: &Step) -> Option<usize> {
    match step {
        Step::Client(_, Action::Operation(Operation::Put { value, .. })) => Some(value.len()),
        _ => None,
    }
}

/// A new name for each key: the n-th gets the n-th of so many.
fn in_order(keys: &BTreeSet<Key>, name: impl Fn(&Key, usize, usize) -> Key) -> BTreeMap<Key, Key> {
    keys.iter().enumerate().map(|(index, key)| (key.clone(), name(key, index, keys.len()))).collect()
}

/// The name number `index` of `count`: as many letters as it takes, all names of one length, in their order.
fn short_name(index: usize, count: usize) -> Key {
    let mut letters = 1;
    while usize::from(LETTERS).pow(letters) < count {
        letters += 1;
    }
    let letter = |place: u32| b'a' + (index / usize::from(LETTERS).pow(place) % usize::from(LETTERS)) as u8;
    (0..letters).rev().map(letter).collect()
}

/// The short name, whose last letter is repeated up to `length`.
fn repeated_name(length: usize, index: usize, count: usize) -> Key {
    let mut name = short_name(index, count);
    let last = name.last().copied().unwrap_or(b'a');
    name.resize(length.max(name.len()), last);
    name
}

fn rename_keys(plan: &mut Plan, names: &BTreeMap<Key, Key>) {
    let rename = |key: &mut Key| {
        if let Some(name) = names.get(key) {
            key.clone_from(name);
        }
    };
    let rename_range = |range: &mut KeyRange| {
        for bound in [&mut range.start, &mut range.end] {
            if let Bound::Included(key) | Bound::Excluded(key) = bound {
                rename(key);
            }
        }
    };
    for step in &mut plan.steps {
        let Step::Client(_, Action::Operation(operation)) = step else { continue };
        match operation {
            Operation::Get { key } | Operation::Put { key, .. } | Operation::Delete { key } => rename(key),
            Operation::Scan { range, .. } | Operation::DeleteRange { range } => rename_range(range),
            Operation::Savepoint { .. } | Operation::Rollback { .. } => {}
        }
    }
}

fn rename_savepoints(plan: &mut Plan) {
    let mut names: BTreeMap<SavepointLabel, SavepointLabel> = BTreeMap::new();
    for step in &mut plan.steps {
        if let Step::Client(
            _,
            Action::Operation(Operation::Savepoint { savepoint } | Operation::Rollback { savepoint }),
        ) = step
        {
            let next = SavepointLabel(names.len() as u32 + 1);
            *savepoint = *names.entry(*savepoint).or_insert(next);
        }
    }
}

fn rename_marks(plan: &mut Plan) {
    let mut names: BTreeMap<MarkLabel, MarkLabel> = BTreeMap::new();
    for step in &mut plan.steps {
        if let Step::Client(_, Action::Mark { mark, .. } | Action::Restore(mark) | Action::Forget(mark)) =
            step
        {
            let next = MarkLabel(names.len() as u32 + 1);
            *mark = *names.entry(*mark).or_insert(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &str) -> Plan {
        format!("proofmark plan 1\n{steps}").parse().unwrap()
    }

    #[test]
    fn short_names_keep_the_order() {
        assert_eq!((short_name(0, 3), short_name(2, 3)), (b"a".to_vec(), b"c".to_vec()));
        let names: Vec<Key> = (0..30).map(|index| short_name(index, 30)).collect();
        assert_eq!((names[0].as_slice(), names[29].as_slice()), (b"aa".as_slice(), b"bd".as_slice()));
        assert!(names.is_sorted());
        let long: Vec<Key> = (0..30).map(|index| repeated_name(5, index, 30)).collect();
        assert_eq!((long[0].as_slice(), long[29].as_slice()), (b"aaaaa".as_slice(), b"bdddd".as_slice()));
        assert!(long.is_sorted());
        assert_eq!(repeated_name(0, 2, 3), b"c");
    }

    #[test]
    fn keys_are_renamed_wherever_they_stand() {
        let mut renamed = plan(
            "c0 put \"k7\" #1*8\nc0 get \"k9\"\nc0 scan (\"k7\" .. \"m\"]\nc0 delete-range [\"m\" .. +inf)",
        );
        let names = in_order(&keys(&renamed), |_, index, count| short_name(index, count));
        rename_keys(&mut renamed, &names);
        assert_eq!(
            renamed,
            plan(
                "c0 put \"a\" #1*8\nc0 get \"b\"\nc0 scan (\"a\" .. \"c\"]\nc0 delete-range [\"c\" .. +inf)"
            )
        );
    }

    #[test]
    fn values_stay_unique_whatever_they_were() {
        let mut values = plan(
            "c0 put \"a\" #7*64\nc0 put \"a\" \"\"\nc0 put \"a\" \"written by hand\"\nc0 put \"a\" #8*9",
        );
        each_value(&mut values, |_, id| unique_value(id, 8));
        assert_eq!(
            values,
            plan("c0 put \"a\" #7*8\nc0 put \"a\" \"\"\nc0 put \"a\" #10*8\nc0 put \"a\" #8*8")
        );
    }
}
