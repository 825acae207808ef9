//! Whether what concurrent clients of one ordered map were answered could have been answered one after the other.
//!
//! A [`History`] says what each client asked of the map, what it was answered, and when it asked and was answered, by
//! one clock for all. [`check`] judges it. Operations that were never answered may have happened or not.
//!
//! **Operations on one key** (insert, upsert, compare-and-insert, delete, get, contains) have to be *linearizable* (Herlihy
//! and Wing 1990): each of them takes effect at one moment between its invocation and its response, and all answers are
//! those of a sequential map to which the operations are applied in the order of these moments. The keys are judged
//! one by one. That loses nothing: a map without operations on several keys is the product of its keys, and a history
//! of independent objects is linearizable if and only if the history of each is (locality, ibid., theorem 1).
//!
//! **A scan** promises less than a snapshot, in either direction:
//! 1. its pairs are in order, ascending or descending, each key at most once, all of them within its bounds;
//! 2. a pair that it shows was in the map at some moment between the scan's start and its end;
//! 3. a key within its bounds that it does not show was absent at some moment between its start and its end. A key that
//!    was there all the time is therefore shown, even if its value changed meanwhile.
//!
//! The moments may differ from key to key. For each key alone a scan is thus a get that answers what the scan showed of
//! that key, and it is judged as one, together with the other operations on that key: so two scans in a row never see
//! a key go back in time. What was absent throughout can't be shown, by 2.
//!
//! **`first`** shows the least pair, or none. It promises what a scan up to that pair promises: the pair was there at some
//! moment, and each smaller key was absent at some moment. **`last`** is its mirror image.
//!
//! **`clear`** is judged key by key too, as a delete that tells nothing. That all keys vanished at one moment is NOT judged.
//!
//! **At the end**, when nothing runs any more, the map is scanned once more, and its length has to be the number of
//! pairs that this scan shows. What `len` answers while others write is NOT judged.

mod search;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

use search::{Effect, Entry};

/// What clients asked of one map, and what they were answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<K, V> {
    /// What was in the map before anything else.
    pub start: BTreeMap<K, V>,
    /// In any order.
    pub operations: Vec<Operation<K, V>>,
    /// What was in the map after everything else.
    pub end: Option<End<K, V>>,
}

/// What a map says of itself when nobody uses it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End<K, V> {
    /// What a scan of everything shows.
    pub pairs: Vec<(K, V)>,
    /// What its `len` says.
    pub length: usize,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<K, V> {
    /// Who asked.
    pub client: usize,
    /// What was asked.
    pub call: Call<K, V>,
    /// When it was asked.
    pub invoked: u64,
    /// When it was answered, and how. An operation without an answer never came back.
    pub answered: Option<(u64, Answer<K, V>)>,
}

/// What a map can be asked. Every value that is written should be written once: then each read names the write it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call<K, V> {
    /// Adds a key that is absent: [`Answer::Done`] or [`Answer::Refused`].
    Insert(K, V),
    /// Adds a key or replaces its value: [`Answer::Value`], the one before.
    Upsert(K, V),
    /// Writes the value if the key holds what is expected: [`Answer::Done`], or [`Answer::Found`] with what it holds.
    CompareAndInsert(K, Option<V>, V),
    /// Removes the key: [`Answer::Value`], the one before.
    Delete(K),
    /// [`Answer::Value`], the present one.
    Get(K),
    /// [`Answer::Done`] if the key is there, or else [`Answer::Refused`].
    Contains(K),
    /// [`Answer::Pairs`] within the bounds, ascending.
    Scan(Bound<K>, Bound<K>),
    /// [`Answer::Pairs`] within the bounds, descending.
    ScanReverse(Bound<K>, Bound<K>),
    /// [`Answer::Pairs`]: the least pair or none.
    First,
    /// [`Answer::Pairs`]: the greatest pair or none.
    Last,
    /// Removes everything: [`Answer::Done`].
    Clear,
}

/// What a map can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<K, V> {
    /// It was done; the key is there.
    Done,
    /// It was not done; the key is not there.
    Refused,
    /// It was not done, because the key holds this.
    Found(Option<V>),
    /// The value that the key holds or held.
    Value(Option<V>),
    /// What is there.
    Pairs(Vec<(K, V)>),
}

/// Why a history can't be that of a correct map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLinearizable {
    /// What kind of violation it is: a stable word.
    pub kind: &'static str,
    /// What is wrong, for a person to read: several lines.
    pub message: String,
}

impl<K, V> Default for History<K, V> {
    fn default() -> History<K, V> {
        History { start: BTreeMap::new(), operations: Vec::new(), end: None }
    }
}

/// Judges a history.
///
/// # Errors
/// The first violation: `malformed-history` if an answer is none to what was asked or comes before it, `scan-order` and
/// `scan-bounds` for what a scan does wrong by itself, `length` if the length at the end is not the number of pairs, and
/// `not-linearizable` if no order of the operations on a key explains their answers.
pub fn check<K, V>(history: &History<K, V>) -> Result<(), NotLinearizable>
where
    K: Ord + Debug,
    V: Ord + Debug,
{
    for operation in &history.operations {
        check_form(operation)?;
    }
    if let Some(end) = &history.end {
        check_end(end)?;
    }
    for (key, entries) in partition(history) {
        if let Err(window) = search::explain(history.start.get(key), &entries) {
            return Err(violation("not-linearizable", text::of_window(key, &entries, &window)));
        }
    }
    Ok(())
}

fn violation(kind: &'static str, message: String) -> NotLinearizable {
    NotLinearizable { kind, message }
}

/// What can be said of an operation without looking at any other.
fn check_form<K: Ord + Debug, V: Debug>(operation: &Operation<K, V>) -> Result<(), NotLinearizable> {
    let Some((returned, answer)) = &operation.answered else { return Ok(()) };
    let is_in_time = operation.invoked < *returned;
    let is_answer = match (&operation.call, answer) {
        (Call::Insert(..) | Call::Contains(_), Answer::Done | Answer::Refused)
        | (Call::Upsert(..) | Call::Delete(_) | Call::Get(_), Answer::Value(_))
        | (Call::CompareAndInsert(..), Answer::Done | Answer::Found(_))
        | (Call::Scan(..) | Call::ScanReverse(..), Answer::Pairs(_))
        | (Call::Clear, Answer::Done) => true,
        (Call::First | Call::Last, Answer::Pairs(pairs)) => pairs.len() <= 1,
        _ => false,
    };
    if !is_in_time || !is_answer {
        return Err(violation("malformed-history", text::of_operation(operation)));
    }
    match (&operation.call, answer) {
        (Call::Scan(from, to), Answer::Pairs(pairs)) => {
            check_scan(pairs, (from.as_ref(), to.as_ref()), |one, two| one < two)
        }
        (Call::ScanReverse(from, to), Answer::Pairs(pairs)) => {
            check_scan(pairs, (from.as_ref(), to.as_ref()), |one, two| one > two)
        }
        _ => Ok(()),
    }
    .map_err(|(kind, pair)| violation(kind, format!("{} {pair}", text::of_operation(operation))))
}

/// The first condition of scans.
fn check_scan<K: Ord + Debug, V: Debug>(
    pairs: &[(K, V)],
    bounds: impl RangeBounds<K>,
    is_in_order: impl Fn(&K, &K) -> bool,
) -> Result<(), (&'static str, String)> {
    if let Some(pair) = pairs.iter().find(|(key, _)| !bounds.contains(key)) {
        return Err(("scan-bounds", format!("shows {pair:?}, which is out of bounds")));
    }
    match pairs.windows(2).find(|two| !is_in_order(&two[0].0, &two[1].0)) {
        Some(two) => Err(("scan-order", format!("shows {:?} and then {:?}", two[0], two[1]))),
        None => Ok(()),
    }
}

fn check_end<K: Ord + Debug, V: Debug>(end: &End<K, V>) -> Result<(), NotLinearizable> {
    check_scan(&end.pairs, .., |one, two| one < two)
        .map_err(|(kind, pair)| violation(kind, format!("the scan at the end {pair}")))?;
    if end.length != end.pairs.len() {
        let message =
            format!("the length at the end is {}, and there are {} keys", end.length, end.pairs.len());
        return Err(violation("length", message));
    }
    Ok(())
}

/// Everything that each key was part of.
fn partition<K: Ord, V>(history: &History<K, V>) -> BTreeMap<&K, Vec<Entry<'_, K, V>>> {
    let mut keys: BTreeMap<&K, Vec<Entry<'_, K, V>>> = BTreeMap::new();
    for key in history.start.keys() {
        keys.entry(key).or_default();
    }
    for operation in &history.operations {
        for key in named(operation) {
            keys.entry(key).or_default();
        }
    }
    for (key, _) in history.end.iter().flat_map(|end| &end.pairs) {
        keys.entry(key).or_default();
    }
    for operation in &history.operations {
        distribute(operation, &mut keys);
    }
    if let Some(end) = &history.end {
        for (key, effect) in seen(&end.pairs, &keys, ..) {
            let entry = Entry { operation: None, effect, invoked: u64::MAX, returned: Some(u64::MAX) };
            keys.entry(key).or_default().push(entry);
        }
    }
    keys
}

/// The keys that an operation or its answer names.
fn named<K, V>(operation: &Operation<K, V>) -> impl Iterator<Item = &K> {
    let asked = match &operation.call {
        Call::Insert(key, _) | Call::Upsert(key, _) | Call::CompareAndInsert(key, ..) => Some(key),
        Call::Delete(key) | Call::Get(key) | Call::Contains(key) => Some(key),
        Call::Scan(..) | Call::ScanReverse(..) | Call::First | Call::Last | Call::Clear => None,
    };
    let shown = match &operation.answered {
        Some((_, Answer::Pairs(pairs))) => pairs.as_slice(),
        _ => &[],
    };
    asked.into_iter().chain(shown.iter().map(|(key, _)| key))
}

/// Gives each key its part of an operation.
fn distribute<'h, K: Ord, V>(
    operation: &'h Operation<K, V>,
    keys: &mut BTreeMap<&'h K, Vec<Entry<'h, K, V>>>,
) {
    let answer = operation.answered.as_ref().map(|(_, answer)| answer);
    let parts: Vec<(&K, Effect<'h, V>)> = match (&operation.call, answer) {
        (Call::Scan(from, to) | Call::ScanReverse(from, to), Some(Answer::Pairs(pairs))) => {
            seen(pairs, keys, (from.as_ref(), to.as_ref()))
        }
        (Call::First, Some(Answer::Pairs(pairs))) => {
            let to = pairs.first().map_or(Bound::Unbounded, |(key, _)| Bound::Included(key));
            seen(pairs, keys, (Bound::Unbounded, to))
        }
        (Call::Last, Some(Answer::Pairs(pairs))) => {
            let from = pairs.first().map_or(Bound::Unbounded, |(key, _)| Bound::Included(key));
            seen(pairs, keys, (from, Bound::Unbounded))
        }
        (Call::Clear, _) => keys.keys().map(|key| (*key, Effect::Clear)).collect(),
        _ => named(operation).zip(search::effect_of(&operation.call, answer)).collect(),
    };
    for (key, effect) in parts {
        let returned = operation.answered.as_ref().map(|(stamp, _)| *stamp);
        let entry = Entry { operation: Some(operation), effect, invoked: operation.invoked, returned };
        keys.entry(key).or_default().push(entry);
    }
}

/// What a scan says of each key within its bounds.
fn seen<'h, K: Ord, V, T>(
    pairs: &'h [(K, V)],
    keys: &BTreeMap<&'h K, T>,
    bounds: impl RangeBounds<K>,
) -> Vec<(&'h K, Effect<'h, V>)> {
    let shown: BTreeMap<&K, &V> = pairs.iter().map(|(key, value)| (key, value)).collect();
    let within = keys.keys().copied().filter(|key| bounds.contains(*key));
    within.map(|key| (key, Effect::Read(shown.get(key).copied()))).collect()
}
