//! Runs that part at known events, and a store that is not the same twice.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proofmark_model::{Key, Mutation, Value};
use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::*;
use crate::store::{BatchStore, Batches, StoreKind};
use crate::workload::generate;

/// A run of so many events, of which those from `parts` on differ from what they usually are.
fn climb(ladder: &Ladder, events: u64, parts: u64) -> Ladder {
    let mut ladder = ladder.clone();
    for event in 1..=events {
        let hash = if event >= parts { event + 1_000_000 } else { event };
        ladder.climb(hash, Some(0), || format!("event {event}, {hash}"));
    }
    ladder
}

/// Looks for the event at which runs of such lengths part, as `check_determinism` does. How many pairs it took.
fn search(events: [u64; 2], parts: impl Fn(u32) -> u64) -> (u32, Option<Divergence>) {
    let plan: Plan = "proofmark plan 1\nverify\n".parse().unwrap();
    let mut pairs = 0;
    let found = locate(&plan, |ladder| {
        pairs += 1;
        let runs = [climb(ladder, events[0], u64::MAX), climb(ladder, events[1], parts(pairs))];
        let is_short =
            |run: &Ladder| run.rungs.len() <= RUNGS_MAX && run.kept.len() as u64 <= WINDOW_MAX + CONTEXT;
        assert!(runs.iter().all(is_short), "this is too much to keep of a run");
        runs
    });
    (pairs, found.err().map(|divergence| *divergence))
}

#[test]
fn the_event_is_found_wherever_it_is() {
    for events in [1, 2, 63, 64, 65, 200, 1000, 100_000] {
        let places = [1, 2, events / 3, events / 2, events - 1, events];
        for parts in places.into_iter().filter(|parts| (1..=events).contains(parts)) {
            let (pairs, found) = search([events; 2], |_| parts);
            let found = found.unwrap_or_else(|| panic!("{parts} of {events} is not found"));
            assert_eq!(found.number, parts, "of {events}");
            let texts = [parts, parts + 1_000_000].map(|hash| Some(format!("event {parts}, {hash}")));
            assert_eq!(found.events, texts);
            let before = (1..parts).rev().take(CONTEXT as usize).last().unwrap_or(parts);
            assert!(found.context.len() as u64 >= parts - before, "{parts} of {events}: {found}");
            assert!(pairs <= 4, "{pairs} pairs for {parts} of {events}");
        }
        assert_eq!(search([events; 2], |_| u64::MAX), (1, None));
    }
}

#[test]
fn a_run_that_ends_before_the_other_parts_from_it_there() {
    for (one, other) in [(0, 1), (10, 11), (64, 65), (1000, 1003), (5000, 9999)] {
        let (_, found) = search([one, other], |_| u64::MAX);
        let found = found.unwrap_or_else(|| panic!("{one} and {other}"));
        assert_eq!((found.number, &found.events[0]), (one + 1, &None));
        assert!(found.to_string().contains("nothing: the run is over"), "{found}");
    }
}

#[test]
fn runs_that_part_elsewhere_each_time_part_where_a_pair_shows_it() {
    // Now earlier, now later, and now and then not at all.
    let (_, found) = search([10_000; 2], |pair| [7000, 300, u64::MAX, 9000, 301][pair as usize % 5]);
    let number = found.unwrap().number;
    assert!([300, 301, 7000, 9000].contains(&number), "{number}");
}

#[test]
fn runs_that_part_once_and_never_again_are_told_as_such() {
    let (pairs, found) = search([1000; 2], |pair| if pair == 1 { 500 } else { u64::MAX });
    let found = found.unwrap();
    assert_eq!((pairs, &found.events), (PAIRS_MAX, &[None, None]));
    assert!((450..=500).contains(&found.number), "{found}");
    assert!(found.to_string().contains("too rarely"), "{found}");
}

/// A file to which each batch is appended, in an order that depends on who knows what.
struct Scattered {
    file: Box<dyn VfsFile>,
    state: BTreeMap<Key, Value>,
}

/// The planted fault: the order of a hash map, which is another one in each run.
#[expect(clippy::disallowed_types, reason = "this is what the check is there to find")]
fn scatter(batch: &[Mutation]) -> Vec<u8> {
    let keys: std::collections::HashMap<&Key, u64> =
        batch.iter().zip(0..).map(|(mutation, place)| (&mutation.key, place)).collect();
    keys.keys().flat_map(|key| key.iter().copied()).collect()
}

impl BatchStore for Scattered {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Scattered> {
        let file = vfs.open(Path::new("/scattered"), OpenMode::CreateTruncate)?;
        Ok(Scattered { file, state: BTreeMap::new() })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        for Mutation { key, value } in batch {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        let end = self.file.size()?;
        self.file.write_all_at(&scatter(batch), end)
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        Ok(self.state.clone())
    }
}

#[test]
fn a_hash_map_in_a_store_is_found_where_it_is_written() {
    let first = (0..40).map(|key| format!("c0 put \"{key:02}\" #{}*8\n", key + 1)).collect::<String>();
    let plan = format!(
        "proofmark plan 1\nc1 begin read\nc1 scan (-inf .. +inf)\nc1 abort\nc0 begin write\nc0 put \"a\" #99*8\n\
         c0 commit sync\nc0 begin write\n{first}c0 commit sync\nverify\n"
    );
    let plan: Plan = plan.parse().unwrap();
    let store = Batches::<Scattered>::new();
    let found = check_determinism(&plan, &store).unwrap_err();
    assert_eq!(found.step, Some((48, "c0 commit sync".to_owned())), "{found}");
    let text = found.events[0].as_deref().unwrap();
    assert!(text.contains("write /scattered @1+80") && found.events[0] == found.events[1], "{found}");
    assert!(found.context.last().unwrap().contains(" size /scattered"), "{found}");
    assert!(found.to_string().contains("with other bytes"), "{found}");
}

#[test]
fn what_is_the_same_every_time_is_not_suspected() {
    for store in StoreKind::ALL {
        assert_eq!(check_determinism(&generate(11, store), store.factory()), Ok(()), "{store}");
    }
}
