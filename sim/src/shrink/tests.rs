//! Shrinking with made-up verdicts, which say exactly what a plan needs to fail; and once with a real store.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_model::{ClientId, History, Key, Mutation, Value};
use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::*;
use crate::disk::{Choice, CrashReport, IoCall, IoOperation, IoOutcome, Keep};
use crate::plan::{Action, Schedule, Thread, Threads};
use crate::run::{RunStats, StrikeReport, run_plan};
use crate::store::{BatchStore, Batches, StoreKind};

const REASON: (Checker, &str) = (Checker::CrashPrefix, "made-up");

fn plan(text: &str) -> Plan {
    format!("proofmark plan 1\n{text}").parse().unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// A run that ends like this.
fn verdict(reason: Option<(Checker, &'static str)>) -> Run {
    let violation =
        reason.map(|(checker, kind)| Violation { checker, kind, step: 0, message: kind.to_owned() });
    Run {
        history: History::default(),
        event_steps: Vec::new(),
        trace_hash: 0,
        verdict: violation.map_or(Ok(()), Err),
        switches: Vec::new(),
        switches_unapplied: 0,
        taken: None,
        strikes: Vec::new(),
        stats: RunStats::default(),
        trace: None,
    }
}

fn go_on(_: Attempt<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Shrinks a plan that fails if, and only if, it `needs` to.
#[track_caller]
fn check(before: &str, after: &str, needs: impl Fn(&str) -> bool) {
    let run = |plan: &Plan| verdict(needs(&plan.to_string()).then_some(REASON));
    let shrunk = shrink(&plan(before), Executor::new(&run), &mut go_on).unwrap();
    assert!(shrunk.is_complete);
    assert_eq!(shrunk.plan.to_string(), plan(after).to_string());
}

/// What every shrunk plan has, if nothing else is needed.
const MILDEST: &str = "profile strict\n";

const WORK: &str = "seed 3\npage-size 8192\nretention all\ngranule 8\nsabotage ignore-sync nth=3\nsabotage lost-write nth=9\n\n\
    c0 begin write\nc0 put \"k07\" #71*300\nc1 begin read back=2\nc0 put \"k01\" #72*40\nc1 get \"k07\"\nc0 commit buffered\n\
    c1 abort\ncheckpoint\ncrash call=7 after keep=random:500:3, call=2 before keep=all\nc2 begin optimistic\n\
    c2 delete-range [\"k01\" .. \"k05\")\nc2 scan (-inf .. \"k07\"] limit=3 reverse\nc2 submit\nc2 wait\nverify\n";

#[test]
fn what_keeps_its_promises_is_not_shrunk() {
    assert_eq!(shrink(&plan(WORK), Executor::new(&|_| verdict(None)), &mut go_on), Err(NothingToShrink));
}

#[test]
fn what_fails_whatever_it_holds_ends_empty() {
    check(WORK, MILDEST, |_| true);
}

#[test]
fn exactly_what_is_needed_stays() {
    let needs = |text: &str| text.contains(" commit ") && text.contains("checkpoint");
    check(WORK, &format!("{MILDEST}c0 commit sync\ncheckpoint"), needs);
    check(WORK, &format!("retention all\n{MILDEST}"), |text| text.contains("retention all"));
    check(WORK, &format!("{MILDEST}sabotage lost-write nth=1"), |text| text.contains("lost-write"));
    check(WORK, &format!("{MILDEST}granule 64"), |text| {
        text.contains("granule 64\n") || text.contains("granule 8\n")
    });
    let needs = |text: &str| text.contains("profile xfs") || !text.contains("profile");
    check(WORK, "profile xfs\ngranule 4096", needs);
}

#[test]
fn operations_become_plainer_and_data_smaller() {
    let needs = |text: &str| ["begin", "put", "delete", "*"].iter().all(|part| text.contains(part));
    check(WORK, &format!("{MILDEST}c0 put \"a\" #1*8\nc0 begin write\nc0 delete \"a\""), |text| {
        needs(text) && text.find("put") < text.find("begin")
            || text.contains("page-size 8192") && text.contains("put") && needs(text)
    });
}

#[test]
fn two_steps_that_need_each_other_go_together() {
    // Neither goes alone, and they belong to no transaction.
    check(WORK, &format!("{MILDEST}c0 wait"), |text| {
        text.contains(" wait") && text.contains("checkpoint") == text.contains("verify")
    });
}

#[test]
fn strikes_go_one_by_one_and_what_is_left_is_plain() {
    let needs = |text: &str| text.contains("call=2");
    check(WORK, &format!("{MILDEST}crash call=2 before keep=none"), needs);
    let needs = |text: &str| text.contains("crash") && text.contains(", call=");
    check(WORK, &format!("{MILDEST}crash call=1 before keep=none, call=1 before keep=none"), needs);
}

#[test]
fn another_violation_is_another_defect() {
    let run = |plan: &Plan| {
        let text = plan.to_string();
        let kind = if text.contains("verify") { "made-up" } else { "another" };
        verdict(Some((Checker::CrashPrefix, kind)))
    };
    let shrunk = shrink(&plan(WORK), Executor::new(&run), &mut go_on).unwrap();
    assert_eq!(shrunk.plan, plan(&format!("{MILDEST}verify")));
    assert_eq!(shrunk.reason.to_string(), "crash-prefix: made-up");
    assert_eq!(shrunk.before, Size { operations: 14, strikes: 2, faults: 2, switches: 0 });
}

#[test]
fn what_goes_wrong_in_the_creation_is_another_defect() {
    let run = |plan: &Plan| {
        let mut run = verdict(Some(REASON));
        if plan.to_string().contains("verify") {
            run.history = "opened latest=0 oldest=0 retention=all -> none".parse().unwrap();
            run.verdict.as_mut().unwrap_err().step = 1;
        }
        run
    };
    let shrunk = shrink(&plan(WORK), Executor::new(&run), &mut go_on).unwrap();
    assert_eq!(shrunk.plan, plan(&format!("{MILDEST}verify")));
}

#[test]
fn what_may_not_be_run_is_not() {
    let run = |plan: &Plan| {
        assert!(plan.to_string().contains("checkpoint"), "{plan}");
        verdict(Some(REASON))
    };
    let executor = Executor { run: &run, admits: &|plan| plan.to_string().contains("checkpoint") };
    let shrunk = shrink(&plan(WORK), executor, &mut go_on).unwrap();
    assert_eq!(shrunk.plan, plan(&format!("{MILDEST}checkpoint")));
}

#[test]
fn whoever_watches_sees_every_run_and_ends_the_search() {
    let runs = Cell::new(0);
    let run = |plan: &Plan| {
        runs.set(runs.get() + 1);
        verdict(plan.to_string().contains("verify").then_some(REASON))
    };
    let mut seen = 0;
    let mut watch = |attempt: Attempt<'_>| {
        seen += 1;
        assert_eq!(attempt.best.runs, seen);
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let shrunk = shrink(&plan(WORK), Executor::new(&run), &mut watch).unwrap();
    assert_eq!((shrunk.is_complete, shrunk.runs, runs.get()), (false, 3, 3));
    assert!(shrunk.plan.to_string().contains("verify"));
}

#[test]
fn no_candidate_is_run_twice_and_all_can_be_written_down() {
    let mut seen = std::collections::BTreeSet::new();
    let run = |plan: &Plan| verdict((plan.steps.len() > 5).then_some(REASON));
    let tried = std::cell::RefCell::new(Vec::new());
    let noting = |plan: &Plan| {
        tried.borrow_mut().push(plan.to_string());
        run(plan)
    };
    shrink(&plan(WORK), Executor::new(&noting), &mut go_on).unwrap();
    for text in tried.into_inner() {
        assert!(text.parse::<Plan>().is_ok(), "{text}");
        assert!(seen.insert(text));
    }
}

/// A run in which the strike falls on a sync only if its call number is one more than the number of puts.
fn run_with_calls(plan: &Plan) -> Run {
    let puts = plan.to_string().matches(" put ").count() as u64;
    let Some(strike) = search::strikes(plan).next() else { return verdict(None) };
    let is_sync = strike.call == puts + 1;
    let call = IoCall {
        number: strike.call,
        operation: if is_sync { IoOperation::SyncData } else { IoOperation::Write },
        path: PathBuf::from("/log"),
        target: None,
        offset: 0,
        length: 0,
        outcome: IoOutcome::Done(0),
    };
    let report =
        StrikeReport { step: None, calls: strike.call, site: Some(call), report: CrashReport::default() };
    Run { strikes: vec![report], ..verdict((is_sync && puts > 1).then_some(REASON)) }
}

#[test]
fn a_strike_stays_on_its_kind_of_call_when_steps_before_it_go() {
    let puts: String = (1..=9).map(|id| format!("c0 put \"k{id}\" #{id}*8\n")).collect();
    let before = plan(&format!("verify\n{puts}crash call=10 before keep=none\n"));
    let shrunk = shrink(&before, Executor::new(&run_with_calls), &mut go_on).unwrap();
    let after = format!("{MILDEST}c0 put \"a\" #1*8\nc0 put \"a\" #2*8\ncrash call=3 before keep=none");
    assert_eq!(shrunk.plan, plan(&after));
}

#[test]
fn survivors_are_named_and_then_fewer() {
    let choose = |keep: &Keep| match keep {
        Keep::Chosen(choice) => choice.clone(),
        Keep::All => "chosen:0..8".parse().unwrap(),
        Keep::Random { .. } => "chosen:0+2[0+3..6]+3+6..8".parse().unwrap(),
        _ => Choice::default(),
    };
    let run = |plan: &Plan| {
        let Some(strike) = search::strikes(plan).next() else { return verdict(None) };
        let choice = choose(&strike.keep);
        let survivals = choice.survivals(&[1, 1, 9, 1, 1, 1, 1, 1]);
        let fails = survivals[2].keeps(4) && !survivals[2].keeps(8) && !survivals[5].keeps(0);
        let report = CrashReport { choice, effects_kept: 8, ..CrashReport::default() };
        let report = StrikeReport { step: Some(0), calls: strike.call, site: None, report };
        Run { strikes: vec![report], ..verdict(fails.then_some(REASON)) }
    };
    let shrunk =
        shrink(&plan("crash call=1 before keep=random:500:7"), Executor::new(&run), &mut go_on).unwrap();
    assert_eq!(shrunk.plan, plan(&format!("{MILDEST}crash call=1 before keep=chosen:2[4]")));
}

#[test]
fn what_comes_to_no_end_stays_in_its_schedule() {
    let stuck = (Checker::Liveness, "livelock");
    // Tasks that get stuck do not in order, and have no threads.
    let tasks = |plan: &Plan| match plan.schedule {
        Schedule::Tasks(_) => Run { taken: Some(Vec::new()), ..verdict(Some(stuck)) },
        Schedule::Sequential => verdict(None),
        Schedule::Threads(_) => panic!("nobody has asked for threads: {plan}"),
    };
    let before = plan("schedule tasks seed=1 think=1ms\nverify\n");
    let shrunk = shrink(&before, Executor::new(&tasks), &mut go_on).unwrap();
    assert!(matches!(shrunk.plan.schedule, Schedule::Tasks(_)), "{}", shrunk.plan);
    // Threads that get stuck might in order, too, where nobody could stop them.
    let threads = |plan: &Plan| match plan.schedule {
        Schedule::Threads(_) => verdict(Some(stuck)),
        _ => panic!("nobody would come back from {plan}"),
    };
    let before = plan("schedule threads seed=1 scheduler=random\nc0 begin read\nverify\n");
    let shrunk = shrink(&before, Executor::new(&threads), &mut go_on).unwrap();
    assert_eq!(shrunk.plan.schedule, Schedule::Threads(Threads::Recorded));
}

/// A plan whose switches to one client come, and whose others do not, as far as its run is concerned.
fn run_with_switches(plan: &Plan, needs: &str) -> Run {
    let mut run = verdict(plan.to_string().contains(needs).then_some(REASON));
    let mut latest = None;
    for (index, step) in plan.steps.iter().enumerate() {
        match step {
            Step::Switch(switch) if switch.to == Thread::Client(ClientId(0)) => {
                run.switches.push((latest, *switch));
            }
            Step::Switch(_) => run.switches_unapplied += 1,
            _ => latest = Some(index),
        }
    }
    run
}

#[test]
fn switches_that_do_not_come_are_tolerated_and_taken_away() {
    let before = plan(
        "schedule threads recorded\nswitch point=1 to=c1\nc0 begin read\nswitch point=2 to=c0\nswitch point=4 to=upkeep\n\
         verify\nswitch point=9 to=c0\n",
    );
    let run = |plan: &Plan| run_with_switches(plan, "threads recorded\n");
    let shrunk = shrink(&before, Executor::new(&run), &mut go_on).unwrap();
    assert_eq!(
        (run(&shrunk.plan).switches_unapplied, Size::of(&shrunk.plan).switches),
        (0, 0),
        "{}",
        shrunk.plan
    );
    // Also if there is time for nothing else.
    let run = |plan: &Plan| run_with_switches(plan, "schedule");
    let shrunk = shrink(&before, Executor::new(&run), &mut |_| ControlFlow::Break(())).unwrap();
    assert!(!shrunk.is_complete);
    let left: Vec<String> = shrunk.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["c0 begin read", "switch point=2 to=c0", "verify", "switch point=9 to=c0"]);
}

/// A disk that drops a sync now and then, under a workload that a person could not read.
#[test]
fn a_lost_commit_is_shrunk_to_a_few_lines_that_lose_it_again() {
    let mut before = crate::workload::generate(0, StoreKind::Engine);
    before.sabotage.push("ignore-sync every=4".parse().unwrap());
    let run = |plan: &Plan| run_plan(plan, StoreKind::Engine.factory());
    let shrunk = shrink(&before, Executor::new(&run), &mut go_on).unwrap();
    assert_eq!(
        shrink(&before, Executor::new(&run), &mut go_on).as_ref(),
        Ok(&shrunk),
        "it is the same every time"
    );
    let after = Size::of(&shrunk.plan);
    assert!(
        shrunk.before.operations > 100 && after.operations <= 10 && after.strikes <= 1,
        "{}",
        shrunk.plan
    );
    let printed: Plan = commented_plan(&shrunk, "seed 0").parse().unwrap();
    assert_eq!(run(&printed).verdict, Err(shrunk.violation));
    let is_client = |step: &Step| matches!(step, Step::Client(_, Action::Begin(_)));
    assert!(printed.steps.iter().filter(|step| is_client(step)).count() <= 3);
    assert_eq!(run(&printed).stats.steps_skipped, 0);
}

/// A log of slots that end with a mark, as if a slot were written from its beginning to its end.
struct Marked {
    file: Box<dyn VfsFile>,
    state: BTreeMap<Key, Value>,
}

const SLOT: usize = 64;

impl BatchStore for Marked {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Marked> {
        let file = vfs.open(Path::new("/slots"), OpenMode::Create)?;
        vfs.sync_directory(Path::new("/"))?;
        let mut bytes = vec![0; file.size()? as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let slots = bytes.chunks_exact(SLOT).filter(|slot| slot[SLOT - 1] == 1);
        let key = |slot: &[u8]| slot[..8].iter().copied().take_while(|byte| *byte != 0).collect();
        let state = slots.map(|slot| (key(slot), slot[24..32].to_vec())).collect();
        Ok(Marked { file, state })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        for Mutation { key, value } in batch {
            let value = value.as_ref().expect("nothing is removed here");
            let mut slot = [0; SLOT];
            slot[SLOT - 1] = 1;
            slot[..key.len()].copy_from_slice(key);
            slot[24..32].copy_from_slice(value);
            self.file.write_all_at(&slot, self.file.size()?)?;
            self.state.insert(key.clone(), value.clone());
        }
        self.file.sync_data()
    }

    fn state(&self) -> io::Result<BTreeMap<Key, Value>> {
        Ok(self.state.clone())
    }
}

/// What survives matters to the granule here: the mark, and not the value before it.
#[test]
fn a_torn_write_is_shrunk_to_the_granules_that_tear_it() {
    let transactions: String = (1..=8)
        .map(|id| {
            format!("c0 begin write\nc0 put \"k{id}\" #{id}*8\nc1 begin read\nc0 commit sync\nc1 abort\n")
        })
        .collect();
    let (before, after) = transactions.split_at(transactions.len() / 8 * 5);
    let run = |plan: &Plan| run_plan(plan, &Batches::<Marked>::new());
    let torn = |seed: u64| {
        let crash = format!("crash call=6 before keep=random:500:{seed}, call=1 before keep=all\n");
        plan(&format!("granule 8\n\n{before}{crash}{after}"))
    };
    let failing = (0..1000).map(torn).find(|plan| run(plan).verdict.is_err()).expect("some tear is found");
    let shrunk = shrink(&failing, Executor::new(&run), &mut go_on).unwrap();
    let steps: Vec<String> = shrunk.plan.steps.iter().map(ToString::to_string).collect();
    let expected =
        ["c0 begin write", "c0 put \"a\" #1*8", "crash call=3 before keep=chosen:0+1[7]", "c0 commit sync"];
    assert_eq!(steps, expected, "{}", shrunk.plan);
    assert!(shrunk.plan.to_string().contains("\ngranule 8\n"), "{}", shrunk.plan);
}
