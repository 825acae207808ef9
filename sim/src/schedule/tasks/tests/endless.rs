//! Stores that do not come back: their runs end all the same, and say who was waiting for what.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proofmark_vfs::VfsFile;

use super::*;

/// A store of one pair in one file, for which something is without end.
struct Endless<const WHAT: u8> {
    file: Box<dyn VfsFile>,
    state: BTreeMap<Key, Value>,
}

const COMMIT: u8 = 0;
/// As a commit, and nobody is to hear of the panic in it.
const HUSHED_COMMIT: u8 = 1;
const RECOVERY: u8 = 2;
const DROP: u8 = 3;
/// A commit that takes very long.
const NEARLY: u8 = 4;
/// A commit that takes no error for an answer.
const STUBBORN_COMMIT: u8 = 5;
/// And who ends like that.
const STUBBORN_DROP: u8 = 6;

/// So many syncs take minutes, on a disk that turns.
const SYNCS: u32 = 100_000;

fn never_end(file: &dyn VfsFile) -> ! {
    loop {
        // Whatever it answers.
        let _ = file.size();
    }
}

fn insist(file: &dyn VfsFile) {
    while file.sync_data().is_err() {}
}

impl<const WHAT: u8> BatchStore for Endless<WHAT> {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Self> {
        let file = vfs.open("/store".as_ref(), OpenMode::Create)?;
        vfs.sync_directory("/".as_ref())?;
        let mut bytes = vec![0; file.size()? as usize];
        if WHAT == RECOVERY && !bytes.is_empty() {
            never_end(&*file);
        }
        file.read_exact_at(&mut bytes, 0)?;
        let pair = bytes.split_first().map(|(key, value)| (vec![*key], value.to_vec()));
        Ok(Endless { file, state: pair.into_iter().collect() })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        match WHAT {
            COMMIT => never_end(&*self.file),
            HUSHED_COMMIT => {
                let _ = catch_unwind(AssertUnwindSafe(|| never_end(&*self.file)));
            }
            STUBBORN_COMMIT => insist(&*self.file),
            NEARLY => (0..SYNCS).try_for_each(|_| self.file.sync_data())?,
            _ => {}
        }
        for Mutation { key, value } in batch {
            let value = value.as_ref().expect("nothing is deleted here");
            self.file.write_all_at(&[&key[..], &value[..]].concat(), 0)?;
            self.state.insert(key.clone(), value.clone());
        }
        self.file.sync_data()
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        Ok(self.state.clone())
    }
}

impl<const WHAT: u8> Drop for Endless<WHAT> {
    fn drop(&mut self) {
        if WHAT == DROP && !self.state.is_empty() {
            never_end(&*self.file);
        }
        if WHAT == STUBBORN_DROP {
            insist(&*self.file);
        }
    }
}

/// One client commits once, and another one looks now and then.
fn steps() -> String {
    let look = "c1 begin read\nc1 get \"k\"\nc1 abort\n".repeat(20);
    let last = "c0 begin read\nc0 abort\nverify\n";
    format!("c0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n{look}{last}")
}

/// What the liveness checker says of the last event.
fn said(run: &Run) -> &str {
    let violation = run.verdict.as_ref().unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Liveness, "livelock"), "{violation}");
    assert!(matches!(run.history.events.last(), Some(Event::Stuck { .. })), "{}", run.history);
    &violation.message
}

#[test]
fn whoever_makes_calls_without_end_is_found_out_in_every_schedule() {
    let endless: [(&dyn StoreFactory, &str); 4] = [
        (&Batches::<Endless<COMMIT>>::new(), "`commit` in step 3 has made 4194304 I/O calls"),
        (&Batches::<Endless<HUSHED_COMMIT>>::new(), "`commit` in step 3 has made 4194304 I/O calls"),
        (&Batches::<Endless<RECOVERY>>::new(), "`open` has made 4194304 I/O calls"),
        (&Batches::<Endless<DROP>>::new(), " has made 4194304 I/O calls"),
    ];
    for (factory, expected) in endless {
        let in_time = plan("seed=1 think=1ms", &steps());
        let run = run_plan(&in_time, factory);
        assert!(said(&run).contains(expected), "{}", said(&run));
        let same = run_plan(&in_order(&in_time, &run), factory);
        assert!(said(&same).contains(" has made 4194304 I/O calls"), "{}", said(&same));
        let run = run_plan(&in_time.in_order(), factory);
        assert!(said(&run).contains(expected), "{}", said(&run));
    }
}

#[test]
fn whoever_insists_on_a_call_after_the_power_is_gone_is_found_out() {
    let stubborn: [(&dyn StoreFactory, &str); 2] = [
        (&Batches::<Endless<STUBBORN_COMMIT>>::new(), "`commit` in step 4 has made 4194304 I/O calls"),
        (&Batches::<Endless<STUBBORN_DROP>>::new(), " has made 4194304 I/O calls"),
    ];
    let steps = steps().replace("c0 commit", "crash call=1 before keep=none\nc0 commit");
    let plan = plan("seed=1 think=1ms", &steps);
    for (factory, expected) in stubborn {
        let run = run_plan(&plan.in_order(), factory);
        assert!(said(&run).contains(expected), "{}", said(&run));
        // Where time goes by, the power may fail while nobody asks for anything, but then the store is dropped, too.
        let found = (0..20).find_map(|seed| {
            let plan = plan.to_string().replace("seed=1", &format!("seed={seed}")).parse().unwrap();
            run_plan(&plan, factory).verdict.err()
        });
        assert_eq!(found.unwrap().checker, Checker::Liveness);
    }
}

#[test]
fn what_the_others_wait_for_is_said() {
    let factory = Batches::<Endless<COMMIT>>::new();
    let said =
        |seed| said(&run_plan(&plan(&format!("seed={seed} think=1ms"), &steps()), &factory)).to_owned();
    let parts =
        ["nobody comes to an end: ", "; it is 0.0", "; c1 waits until 0.0", "; upkeep waits until 0.0"];
    let is_all_said = |message: &String| {
        let says = |part: &&str| message.contains(*part);
        parts.iter().all(says) && message.contains(" s for step 66 (verify)")
    };
    // In some runs the other one has come to its end by then.
    let said: Vec<String> = (0..6).map(said).collect();
    assert!(said.iter().any(is_all_said), "{said:#?}");
}

/// A step that takes as long as a hundred thousand checkpoints take to be asked for is taken for one that does not end.
#[test]
fn the_timer_does_not_go_on_alone_for_ever() {
    let (mut stuck, mut patient) = (0, 0);
    for seed in 0..8 {
        let plan = plan(&format!("seed={seed} think=1ms checkpoint-every=1ms"), &steps());
        let run = run_plan(&plan, &Batches::<Endless<NEARLY>>::new());
        if run.verdict == Ok(()) {
            patient += 1;
            continue;
        }
        stuck += 1;
        let message = said(&run);
        assert!(
            message.contains("no step was taken in 200") && message.contains("c0 waits until "),
            "{message}"
        );
        // Without a timer there is nothing to be done meanwhile.
        let plan: Plan = plan.to_string().replace(" checkpoint-every=1ms", "").parse().unwrap();
        let run = run_on(&plan, &Batches::<Endless<NEARLY>>::new());
        assert!(run.stats.virtual_us > 100_000_000, "{:?}", run.stats);
    }
    assert!(stuck > 0 && patient > 0, "{stuck} got stuck, {patient} did not");
}
