//! The search for an order of the operations on one key that explains their answers.
//!
//! It is that of Wing and Gong (1993) in the just-in-time form of Lowe (2017). The history is read in the order of time.
//! A *configuration* is one way to explain what was read so far: the value that the key holds, and which of the
//! operations under way have taken effect already. When an operation returns, it has to have taken effect: each
//! configuration is replaced by all those in which some operations under way took effect and this one is among them.
//! Equal configurations are kept once; that is the memoisation, and it bounds the work for each event by the number
//! of operations under way, whatever the length of the history. If no configuration is left, no order exists.

use std::collections::BTreeSet;

use super::{Answer, Call, Operation};

/// The most operations under way at which a smaller window than the whole history is looked for.
const OPEN_MAX: usize = 10;

/// The most events that such a window is sought in.
const WINDOW_MAX: usize = 1000;

/// The part that one key has in an operation.
#[derive(Debug)]
pub(super) struct Entry<'h, K, V> {
    /// None for the scan at the end.
    pub(super) operation: Option<&'h Operation<K, V>>,
    pub(super) effect: Effect<'h, V>,
    pub(super) invoked: u64,
    pub(super) returned: Option<u64>,
}

/// What an operation does to a key. Where there is an inner option, an operation without an answer has none.
#[derive(Debug)]
pub(super) enum Effect<'h, V> {
    Insert(&'h V, Option<bool>),
    Upsert(&'h V, Option<Option<&'h V>>),
    /// What is expected, what is written, and, if it was refused, what was there instead.
    Compare(Option<&'h V>, &'h V, Option<Result<(), Option<&'h V>>>),
    Delete(Option<Option<&'h V>>),
    Read(Option<&'h V>),
    Presence(bool),
    Clear,
    /// A read that was not answered: it says nothing.
    Nothing,
}

/// Where no order explains the answers.
#[derive(Debug)]
pub(super) struct Window {
    /// The entry whose answer is the first that can't be explained.
    pub(super) culprit: usize,
    /// The entries that suffice to show it, by their invocation.
    pub(super) entries: Vec<usize>,
    /// Whether the window shows it whatever the key held when it began.
    pub(super) is_free: bool,
}

/// What a key holds.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State<'h, V> {
    Known(Option<&'h V>),
    /// Anything: so a window in the middle of a history begins.
    Unknown,
}

/// The state, and the operations under way that have taken effect, in order.
type Configuration<'h, V> = (State<'h, V>, Vec<usize>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Invoked,
    Returned,
}

type Event = (u64, Step, usize);

/// The part that the key of an operation on one key has in it.
pub(super) fn effect_of<'h, K, V>(
    call: &'h Call<K, V>,
    answer: Option<&'h Answer<K, V>>,
) -> Option<Effect<'h, V>> {
    let is_done = answer.map(|answer| matches!(answer, Answer::Done));
    let value = answer.map(|answer| match answer {
        Answer::Value(value) | Answer::Found(value) => value.as_ref(),
        _ => None,
    });
    let effect = match call {
        Call::Insert(_, new) => Effect::Insert(new, is_done),
        Call::Upsert(_, new) => Effect::Upsert(new, value),
        Call::CompareAndInsert(_, expected, new) => {
            let outcome = is_done.zip(value).map(|(done, value)| if done { Ok(()) } else { Err(value) });
            Effect::Compare(expected.as_ref(), new, outcome)
        }
        Call::Delete(_) => Effect::Delete(value),
        Call::Get(_) => value.map_or(Effect::Nothing, Effect::Read),
        Call::Contains(_) => is_done.map_or(Effect::Nothing, Effect::Presence),
        Call::Clear => Effect::Clear,
        Call::Scan(..) | Call::ScanReverse(..) | Call::First | Call::Last => return None,
    };
    Some(effect)
}

/// Whether there is an order; if there is none, where that shows.
pub(super) fn explain<K, V: Ord>(start: Option<&V>, entries: &[Entry<'_, K, V>]) -> Result<(), Window> {
    let mut events: Vec<Event> = Vec::with_capacity(2 * entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if !matches!(entry.effect, Effect::Nothing) {
            events.push((entry.invoked, Step::Invoked, index));
            events.extend(entry.returned.map(|stamp| (stamp, Step::Returned, index)));
        }
    }
    events.sort_unstable();
    let first = BTreeSet::from([(State::Known(start), Vec::new())]);
    match run(entries, &events, first, Vec::new()) {
        None => Ok(()),
        Some(end) => Err(smallest_window(entries, &events, end)),
    }
}

/// Reads events; the index of the one at which no configuration is left, if there is one.
fn run<'h, K, V: Ord>(
    entries: &[Entry<'h, K, V>],
    events: &[Event],
    mut configurations: BTreeSet<Configuration<'h, V>>,
    mut open: Vec<usize>,
) -> Option<usize> {
    for (position, (_, step, index)) in events.iter().enumerate() {
        match step {
            Step::Invoked => open.push(*index),
            Step::Returned => {
                configurations = take_effect(entries, configurations, &open, *index);
                open.retain(|other| other != index);
                if configurations.is_empty() {
                    return Some(position);
                }
            }
        }
    }
    None
}

/// All ways in which operations under way take effect until the one that returns has.
fn take_effect<'h, K, V: Ord>(
    entries: &[Entry<'h, K, V>],
    configurations: BTreeSet<Configuration<'h, V>>,
    open: &[usize],
    returning: usize,
) -> BTreeSet<Configuration<'h, V>> {
    let mut after = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut rest: Vec<Configuration<'h, V>> = configurations.into_iter().collect();
    while let Some((state, mut done)) = rest.pop() {
        if let Ok(place) = done.binary_search(&returning) {
            done.remove(place);
            after.insert((state, done));
            continue;
        }
        for index in open {
            let Err(place) = done.binary_search(index) else { continue };
            let Some(next) = entries[*index].effect.apply(&state) else { continue };
            let mut with = done.clone();
            with.insert(place, *index);
            if seen.insert((next, with.clone())) {
                rest.push((next, with));
            }
        }
    }
    after
}

/// The latest beginning from which the events up to `end` can't be explained, whatever went before.
fn smallest_window<K, V: Ord>(entries: &[Entry<'_, K, V>], events: &[Event], end: usize) -> Window {
    let culprit = events[end].2;
    let window = |begin: usize, is_free: bool| {
        let open = open_at(events, begin);
        let invoked = events[begin..end].iter().filter(|event| event.1 == Step::Invoked).map(|event| event.2);
        Window { culprit, entries: open.into_iter().chain(invoked).collect(), is_free }
    };
    for begin in (end.saturating_sub(WINDOW_MAX)..end).rev() {
        let open = open_at(events, begin);
        if open.len() > OPEN_MAX {
            break;
        }
        let subsets = 0..1usize << open.len();
        let any = subsets.map(|subset| (State::Unknown, members(&open, subset))).collect();
        if run(entries, &events[begin..=end], any, open).is_some() {
            return window(begin, true);
        }
    }
    window(0, false)
}

/// The operations that are under way before an event.
fn open_at(events: &[Event], position: usize) -> Vec<usize> {
    let mut open = BTreeSet::new();
    for (_, step, index) in &events[..position] {
        match step {
            Step::Invoked => open.insert(*index),
            Step::Returned => open.remove(index),
        };
    }
    open.into_iter().collect()
}

fn members(of: &[usize], subset: usize) -> Vec<usize> {
    let chosen = of.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1);
    chosen.map(|(_, index)| *index).collect()
}

impl<V> Clone for State<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for State<'_, V> {}

impl<'h, V: PartialEq> State<'h, V> {
    /// Whether the key may hold this.
    fn may_be(&self, value: Option<&V>) -> bool {
        match self {
            State::Known(held) => *held == value,
            State::Unknown => true,
        }
    }

    fn may_be_present(&self, is_present: bool) -> bool {
        match self {
            State::Known(held) => held.is_some() == is_present,
            State::Unknown => true,
        }
    }
}

impl<'h, V: PartialEq> Effect<'h, V> {
    /// The state after it, unless its answer is not what a map in this state gives.
    fn apply(&self, state: &State<'h, V>) -> Option<State<'h, V>> {
        let read = |value: Option<&'h V>| state.may_be(value).then_some(State::Known(value));
        match self {
            Effect::Read(value) => read(*value),
            Effect::Presence(true) => state.may_be_present(true).then_some(*state),
            Effect::Presence(false) => read(None),
            Effect::Insert(new, Some(true)) => state.may_be(None).then_some(State::Known(Some(new))),
            Effect::Insert(_, Some(false)) => state.may_be_present(true).then_some(*state),
            Effect::Insert(new, None) => Some(match state {
                State::Known(None) => State::Known(Some(new)),
                state => *state,
            }),
            Effect::Upsert(new, old) => {
                old.is_none_or(|old| state.may_be(old)).then_some(State::Known(Some(new)))
            }
            Effect::Compare(expected, new, Some(Ok(()))) => {
                state.may_be(*expected).then_some(State::Known(Some(new)))
            }
            Effect::Compare(expected, _, Some(Err(found))) => {
                (expected != found).then(|| read(*found)).flatten()
            }
            Effect::Compare(expected, new, None) => Some(match state {
                State::Known(held) if held == expected => State::Known(Some(new)),
                state => *state,
            }),
            Effect::Delete(old) => old.is_none_or(|old| state.may_be(old)).then_some(State::Known(None)),
            Effect::Clear => Some(State::Known(None)),
            Effect::Nothing => Some(*state),
        }
    }
}
