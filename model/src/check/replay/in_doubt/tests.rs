//! Every order of three commits in doubt, against everything that could be read of them.

use std::collections::BTreeMap;

use crate::Checker::CrashPrefix;
use crate::check::check;
use crate::check::testing::{assert_accepted, assert_violation, history};

/// For each of three commits the keys that it writes, each with its own number as the value.
const WRITES: [[&str; 3]; 6] = [
    ["a", "a", "a"],
    ["a", "b", "c"],
    ["ab", "bc", "ac"],
    ["a", "ab", "b"],
    ["abc", "abc", "abc"],
    ["ab", "ab", "c"],
];

const ORDERS: [[u64; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];

type State = BTreeMap<char, u64>;

/// What these commits, one after the other, leave.
fn state(writes: [&str; 3], commits: &[u64]) -> State {
    let written =
        commits.iter().flat_map(|commit| writes[*commit as usize - 1].chars().map(move |key| (key, *commit)));
    written.collect()
}

/// Every state that the three keys could be in.
fn states() -> impl Iterator<Item = State> {
    (0..4u64.pow(3)).map(|number| {
        let held = [('a', number % 4), ('b', number / 4 % 4), ('c', number / 16)];
        held.into_iter().filter(|(_, value)| *value > 0).collect()
    })
}

/// The pairs of a state. Each value says which commit wrote it, and at which key.
fn pairs(state: &State) -> String {
    let pair = |(key, commit): (&char, &u64)| format!(" \"{key}\"={}", value(*key, *commit));
    let pairs: String = state.iter().map(pair).collect();
    if pairs.is_empty() { " none".to_owned() } else { pairs }
}

fn value(key: char, commit: u64) -> String {
    format!("#{}*8", commit * 1000 + u64::from(key))
}

/// Three clients, each of which has asked for its commit.
fn submitted(writes: [&str; 3]) -> String {
    let client = |commit: u64| {
        let puts = writes[commit as usize - 1].chars();
        let puts: String =
            puts.map(|key| format!("put t{commit} \"{key}\" {}\n", value(key, commit))).collect();
        format!(
            "asked c{commit} begin optimistic\nbegin t{commit} c{commit} optimistic snapshot=0\n{puts}\
             submit t{commit} sync\n"
        )
    };
    format!("opened latest=0 oldest=0 -> none\n{}{}{}", client(1), client(2), client(3))
}

fn read(client: u32, mode: &str, snapshot: usize, state: &State) -> String {
    format!(
        "asked c{client} begin {mode}\nbegin t9{client} c{client} {mode} snapshot={snapshot}\n\
         scan t9{client} (-inf .. +inf) ->{}\n",
        pairs(state)
    )
}

/// Asserts that a history is accepted if, and only if, an order explains it.
fn assert_explained(text: &str, is_explained: bool) {
    let verdict = check(&history(text));
    assert_eq!(verdict.is_ok(), is_explained, "{verdict:?}\n{text}");
}

#[test]
fn an_opening_is_explained_by_some_order() {
    for writes in WRITES {
        for latest in 0..=3 {
            for found in states() {
                let text = format!(
                    "{}crash\nopened latest={latest} oldest=0 ->{}\n",
                    submitted(writes),
                    pairs(&found)
                );
                let explains = |order: &[u64; 3]| state(writes, &order[..latest]) == found;
                assert_explained(&text, ORDERS.iter().any(explains));
            }
        }
    }
}

#[test]
fn one_order_explains_an_opening_and_what_was_read_before_and_after_it() {
    for writes in WRITES {
        let openings: Vec<State> = ORDERS.iter().map(|order| state(writes, order)).collect();
        for (opened, snapshot) in openings.iter().flat_map(|opened| [(opened, 1), (opened, 2)]) {
            for found in states() {
                let explains = |order: &[u64; 3]| {
                    state(writes, &order[..snapshot]) == found && state(writes, order) == *opened
                };
                let is_explained = ORDERS.iter().any(explains);
                let opening = format!("crash\nopened latest=3 oldest=0 ->{}\n", pairs(opened));
                let start = submitted(writes);
                assert_explained(
                    &[start.as_str(), &read(4, "read", snapshot, &found), &opening].concat(),
                    is_explained,
                );
                let later = read(4, &format!("read@{snapshot}"), snapshot, &found);
                assert_explained(&[start.as_str(), &opening, &later].concat(), is_explained);
                let reopened =
                    [&start, &opening, "closed\n", &opening.replace("crash\n", ""), &later].concat();
                assert_explained(&reopened, is_explained);
            }
        }
    }
}

#[test]
fn a_stream_and_a_backup_tell_the_order() {
    let writes = ["a", "ab", "b"];
    let opening =
        |order: &[u64; 3]| format!("crash\nopened latest=3 oldest=0 ->{}\n", pairs(&state(writes, order)));
    for order in ORDERS {
        for told in ORDERS {
            let changed = |place: usize| {
                let changed = pairs(&state(writes, &told[place..=place]));
                format!(" {}:{changed}", place + 1)
            };
            let stream = format!("changes 1 oldest=0 ->{},{},{}\n", changed(0), changed(1), changed(2));
            let is_explained = state(writes, &told) == state(writes, &order);
            let text = [submitted(writes), opening(&order), stream].concat();
            assert_explained(&text, is_explained);
            let copied = state(writes, &told[..2]);
            let backup = format!("backup at=2 latest=3 oldest=0 ->{}\n", pairs(&copied));
            let explains = |other: &[u64; 3]| {
                state(writes, other) == state(writes, &order) && state(writes, &other[..2]) == copied
            };
            let text = [submitted(writes), opening(&order), backup].concat();
            assert_explained(&text, ORDERS.iter().any(explains));
        }
    }
}

#[test]
fn a_known_commit_stays_in_its_place() {
    for writes in WRITES {
        for (known, place) in (1..=3).flat_map(|known| (0..3).map(move |place| (known, place))) {
            for latest in place + 1..=3 {
                for found in states() {
                    let text = format!(
                        "{}committed t{known} id={}\ncrash\nopened latest={latest} oldest=0 ->{}\n",
                        submitted(writes),
                        place + 1,
                        pairs(&found)
                    );
                    let explains =
                        |order: &[u64; 3]| order[place] == known && state(writes, &order[..latest]) == found;
                    let is_explained = ORDERS.iter().any(explains);
                    // Nobody who was acknowledged may have overwritten what it did not see, but these are in doubt.
                    assert_explained(&text, is_explained);
                }
            }
        }
    }
}

/// Three clients of which the second asks for its commit only after somebody has read the first's.
#[test]
fn a_commit_has_no_place_that_was_taken_when_it_was_asked_for() {
    let commit = |id: u64| {
        format!(
            "asked c{id} begin optimistic\nbegin t{id} c{id} optimistic\nput t{id} \"k{id}\" #{id}*8\nsubmit t{id} sync\n"
        )
    };
    let reader = "asked c9 begin read\nbegin t9 c9 read snapshot=1\n";
    let opened = |latest: u64, ids: &[u64]| {
        let pairs: String = ids.iter().map(|id| format!(" \"k{id}\"=#{id}*8")).collect();
        format!("crash\nopened latest={latest} oldest=0 ->{pairs}\n")
    };
    let text = |ids: &[u64]| [&commit(1), reader, &commit(2), &opened(ids.len() as u64, ids)].concat();
    assert_accepted(&text(&[1]));
    assert_accepted(&text(&[1, 2]));
    assert_violation(&text(&[2]), CrashPrefix, "no-prefix-matches", 11);
    let both =
        |ids: &[u64]| [&commit(1), &commit(3), reader, &commit(2), &opened(ids.len() as u64, ids)].concat();
    for ids in [&[1][..], &[3], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]] {
        assert_accepted(&both(ids));
    }
    assert_explained(&both(&[2]), false);
}

/// The one who was declined has met the commit that stands before the one that was asked for later.
#[test]
fn a_conflict_tells_the_order() {
    let begin = |id: u64, key: &str| {
        format!(
            "asked c{id} begin optimistic\nbegin t{id} c{id} optimistic snapshot=0\nput t{id} \"{key}\" #{id}*8\n"
        )
    };
    let text = [
        begin(1, "x").as_str(),
        &begin(2, "y"),
        &begin(3, "y"),
        &begin(4, "z"),
        "submit t1 sync\nsubmit t2 sync\nsubmit t3 sync\ndenied t3 conflict \"y\"\nsubmit t4 sync\ncommitted t4 id=2\n",
        "crash\nopened latest=2 oldest=0 -> ",
    ]
    .concat();
    assert_accepted(&format!("{text}\"y\"=#2*8 \"z\"=#4*8\n"));
    assert_explained(&format!("{text}\"x\"=#1*8 \"z\"=#4*8\n"), false);
}

/// Of many, every second survives, and nothing else tells in which order.
#[test]
fn many_in_doubt_are_sorted_out_in_time() {
    let commit = |id: u64| {
        format!(
            "asked c{id} begin optimistic\nbegin t{id} c{id} optimistic snapshot=0\nput t{id} \"k{id:02}\" #{id}*8\n\
             submit t{id} sync\n"
        )
    };
    for count in [8, 40] {
        let text: String = (1..=count).map(commit).collect();
        let survivors = (1..=count / 2).map(|id| format!(" \"k{:02}\"=#{}*8", id * 2, id * 2));
        let opened =
            format!("crash\nopened latest={} oldest=0 ->{}", count / 2, survivors.collect::<String>());
        assert_accepted(&[&text, opened.as_str(), "\n"].concat());
        assert_explained(&[&text, opened.as_str(), " \"k99\"=#99*8\n"].concat(), false);
    }
}
