//! Runs on redb, which others have tested well: what goes wrong here is wrong with the runner.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use proofmark_model::{Checker, FaultClass, Key, KeyRange, TxnId, Value};
use proofmark_vfs::{OpenMode, Vfs};

use super::*;
use crate::matrix::{self, kind_of};
use crate::plan::Config;
use crate::store::{Promises, Redb, Store, StoreError, Transaction};

fn plan(steps: &str) -> Plan {
    format!("proofmark plan 1\nstore redb\n{steps}")
        .parse()
        .unwrap_or_else(|error| panic!("{error} in\n{steps}"))
}

fn run_steps(steps: &str) -> Run {
    let run = run_plan(&plan(steps), StoreKind::Redb.factory());
    assert_eq!(run.verdict, Ok(()), "{}", run.history);
    run
}

#[test]
fn redb_survives_a_dozen_seeds() {
    let mut sum = RunStats::default();
    for seed in 0..12 {
        let run = run_seed(seed, StoreKind::Redb);
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        sum += &run.stats;
    }
    assert!(sum.crashes.commit > 0, "{sum:?}");
    assert!(sum.crashes.recovery > 0, "{sum:?}");
    assert!(sum.crashes.power_losses() > sum.crashes.idle, "{sum:?}");
    assert_eq!(sum.crashes.end, 12);
    assert!(sum.operations > 12 * 100, "{sum:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hashes: Vec<u64> = (0..6).map(|seed| run_seed(seed, StoreKind::Redb).trace_hash).collect();
    let again: Vec<u64> = (0..6).map(|seed| run_seed(seed, StoreKind::Redb).trace_hash).collect();
    assert_eq!(hashes, again);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_strike_that_never_comes_is_carried_out_at_the_end() {
    let run = run_steps("crash call=9999 before keep=all, call=9999 before keep=none");
    assert_eq!((run.stats.crashes.idle, run.stats.crashes.end, run.stats.recoveries), (2, 1, 3));
    let run = run_steps("verify\ncrash call=9999 before keep=all\nverify\ncrash call=9999 before keep=none");
    assert_eq!((run.stats.crashes.idle, run.stats.crashes.end, run.stats.recoveries), (2, 1, 3));
}

#[test]
fn strikes_follow_one_another_into_recoveries() {
    let strikes = "crash call=1 before keep=none, call=2 after keep=all, call=9 before keep=none";
    let run = run_steps(&format!(
        "verify\n{strikes}\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\nc0 begin read\nc0 get \"k\"\n"
    ));
    assert_eq!((run.stats.crashes.commit, run.stats.crashes.recovery), (1, 2));
    assert_eq!((run.stats.crashes.idle, run.stats.crashes.end), (0, 1));
    assert_eq!(run.stats.transactions, 2);
}

/// Whoever shrinks a plan moves a strike to the step that it falls into, with these numbers.
#[test]
fn a_strike_says_where_it_fell() {
    let steps = |crash: &str| {
        format!(
            "verify\n{}c0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\nc0 begin read\n{}",
            crash, "crash call=9999 before keep=all, call=2 after keep=none\n"
        )
    };
    let run = run_steps(&steps("crash call=3 after keep=none\n"));
    let [first, idle, in_recovery] = &run.strikes[..] else { panic!("{:?}", run.strikes) };
    assert_eq!((first.step, idle.step, in_recovery.step), (Some(4), None, None));
    assert_eq!((&idle.site, idle.calls, in_recovery.calls), (&None, 0, 2));
    assert!(first.site.is_some() && in_recovery.site.is_some());
    let moved =
        steps("").replace("c0 commit", &format!("crash call={} after keep=none\nc0 commit", first.calls));
    let moved = run_steps(&moved);
    assert_eq!(moved.strikes[0].site, first.site);
    assert_eq!(moved.strikes[0].report, first.report);
}

#[test]
fn the_first_step_strikes_the_creation_of_stores_that_survive_it() {
    let plan = plan("crash call=1 before keep=none\nverify");
    let engine = run_plan(&plan, StoreKind::Engine.factory());
    assert_eq!(engine.verdict, Ok(()));
    assert_eq!((engine.stats.crashes.creation, engine.event_steps[0]), (1, Some(0)));
    let redb = run_plan(&plan, StoreKind::Redb.factory());
    assert_eq!(redb.verdict, Ok(()));
    assert_eq!((redb.stats.crashes.creation, redb.stats.crashes.other), (0, 1));
}

#[test]
fn steps_without_sense_are_skipped() {
    let run = run_steps(
        "c0 get \"k\"\nc0 commit sync\nc0 abort\nc0 begin read\nc0 begin write\nc0 put \"k\" #1*8\nc0 delete \"k\"",
    );
    assert_eq!(run.stats.steps_skipped, 6);
    assert_eq!(run.stats.transactions, 1);
}

#[test]
fn a_second_writer_is_refused_and_readers_keep_their_state() {
    let run = run_steps(
        "c0 begin write\nc1 begin write\nc0 put \"k\" #1*8\nc2 begin read\nc0 commit buffered\nc2 get \"k\"\nreopen",
    );
    assert_eq!(run.stats.refusals, 1);
    assert_eq!(run.stats.commits, 1);
    assert!(run.history.to_string().contains("get t2 \"k\" -> none"), "{}", run.history);
}

#[test]
fn only_what_was_carried_out_is_counted() {
    let steps = "checkpoint\nverify\nc0 begin write\ncheckpoint\nverify\nc0 abort";
    let redb = run_steps(steps).stats;
    assert_eq!((redb.checkpoints, redb.checkpoints_declined), (1, 1));
    assert_eq!(
        redb.verifications, 2,
        "one at the step without a transaction, one after the power loss at the end"
    );
    let engine = run_plan(&plan(steps), StoreKind::Engine.factory()).stats;
    assert_eq!((engine.checkpoints, engine.checkpoints_declined, engine.verifications), (2, 0, 3));
    let unable = run_plan(&plan("checkpoint\nverify"), &Jumpy).stats;
    assert_eq!((unable.checkpoints, unable.checkpoints_declined, unable.verifications), (0, 1, 0));
}

#[test]
fn the_death_of_a_process_is_no_power_loss() {
    let steps = "c0 begin write\nc0 put \"k\" #1*8\ncrash call=2 before keep=page-cache\nc0 commit sync\n\
        crash call=9999 before keep=none\n";
    let traced = trace_plan(&plan(steps), StoreKind::Redb.factory());
    let CrashCounts { process_deaths, end, idle, .. } = traced.stats.crashes;
    assert_eq!((process_deaths, traced.stats.crashes.power_losses(), idle, end), (1, 1, 1, 1));
    let lines = traced.trace.unwrap().join("\n");
    assert_eq!(lines.matches("the process died; ").count(), 1, "{lines}");
    assert_eq!(lines.matches("power loss: ").count(), 2, "{lines}");
}

#[test]
fn power_losses_with_something_unsynced_are_told_from_those_without() {
    let unsynced = |durability: &str, keep: &str| {
        let steps = format!(
            "verify\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit {durability}\ncrash call=9999 before keep={keep}"
        );
        let crashes = run_plan(&plan(&steps), StoreKind::Engine.factory()).stats.crashes;
        (crashes.power_losses(), crashes.unsynced)
    };
    assert_eq!(unsynced("buffered", "all"), (1, 1));
    assert_eq!(unsynced("sync", "all"), (1, 0));
    assert_eq!(unsynced("buffered", "page-cache"), (0, 0));
}

#[test]
fn a_trace_changes_nothing_and_names_every_step() {
    let plan = plan("c0 begin write\nc0 put \"k\" #1*8\ncrash call=1 after keep=none\nc0 commit sync\n");
    let factory = StoreKind::Redb.factory();
    let traced = trace_plan(&plan, factory);
    let lines = traced.trace.clone().unwrap();
    assert_eq!(Run { trace: None, ..traced }, run_plan(&plan, factory));
    for step in &plan.steps {
        assert!(lines.contains(&step.to_string()), "no line for {step}");
    }
    assert!(lines.iter().any(|line| line.contains("power loss")), "{lines:#?}");
}

/// redb, with promises of somebody else.
#[derive(Debug)]
struct Boastful(Promises);

impl StoreFactory for Boastful {
    fn name(&self) -> &str {
        "boastful"
    }

    fn promises(&self) -> Promises {
        self.0
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        Redb.open(vfs, config)
    }
}

#[test]
fn a_promise_that_is_not_kept_is_a_failure() {
    let boastful = Boastful(Promises { transaction_ids: true, ..Redb.promises() });
    let violation = run_plan(&plan("verify"), &boastful).verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Availability, "failed-open"));
    assert!(violation.message.contains("promised"), "{violation}");
}

#[test]
fn giving_up_a_transaction_may_fail_after_an_io_error_if_the_store_says_so() {
    let steps = "c0 begin write\nc0 put \"k\" #1*8\nfault io-error on=set-size nth=1\nc0 put \"l\" #2*9000000\nreopen";
    let run = run_steps(steps);
    assert!(run.history.to_string().contains("poisoned \"abort\"\naborted t1"), "{}", run.history);
    let boastful = Boastful(Promises { goes_on_after_io_errors: true, ..Redb.promises() });
    let violation = run_plan(&plan(steps), &boastful).verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Availability, "failed-abort"));
}

/// redb, which lets nobody read but the one who opens it, as if an I/O error had come before.
#[derive(Debug)]
struct Sulky {
    goes_on: bool,
}

struct SulkyStore {
    inner: Box<dyn Store>,
    has_been_read: bool,
}

impl StoreFactory for Sulky {
    fn name(&self) -> &str {
        "sulky"
    }

    fn promises(&self) -> Promises {
        Promises { goes_on_after_io_errors: self.goes_on, ..Redb.promises() }
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SulkyStore { inner: Redb.open(vfs, config)?, has_been_read: false }))
    }
}

impl Store for SulkyStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        match std::mem::replace(&mut self.has_been_read, true) {
            true => Err(StoreError::Poisoned("not now".to_owned())),
            false => self.inner.begin_read(),
        }
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_write()
    }
}

const FAILED_COMMIT: &str = "c0 begin write\nc0 put \"k\" #1*8\nfault sync-late nth=1\nc0 commit sync\n";

#[test]
fn reads_may_stop_after_an_io_error_if_the_store_says_so() {
    let plan = plan(&format!("{FAILED_COMMIT}c0 begin read"));
    let run = run_plan(&plan, &Sulky { goes_on: false });
    assert_eq!(run.verdict, Ok(()), "{}", run.history);
    assert!(run.history.to_string().contains("poisoned \"begin\""), "{}", run.history);
    let violation = run_plan(&plan, &Sulky { goes_on: true }).verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::SnapshotIsolation, "read-refused"));
}

#[test]
fn reads_may_not_stop_without_an_io_error_or_after_the_next_opening() {
    for before in [String::new(), format!("{FAILED_COMMIT}reopen\n")] {
        let run = run_plan(&plan(&format!("{before}c0 begin read")), &Sulky { goes_on: false });
        let violation = run.verdict.unwrap_err();
        assert_eq!((violation.checker, violation.kind), (Checker::Availability, "false-poisoned"));
        assert_eq!(run.stats.faults, u64::from(!before.is_empty()));
    }
}

#[test]
fn faults_wait_for_a_creation_that_does_not_survive_them() {
    let steps = "fault sync-late nth=1\nverify\nc0 begin write\nc0 put \"k\" #1*8\nc0 commit sync\n";
    let fired = |run: &Run| run.history.to_string().find("fault environment").unwrap();
    let redb = run_steps(steps);
    assert!(fired(&redb) > redb.history.to_string().find("opened").unwrap(), "{}", redb.history);
    let engine = run_plan(&plan(steps), StoreKind::Engine.factory());
    assert_eq!(engine.verdict, Ok(()));
    assert!(fired(&engine) < engine.history.to_string().find("opened").unwrap(), "{}", engine.history);
}

/// redb beside files of its own, which are written when they are made and synced at every opening, after a look around.
#[derive(Debug)]
struct Cautious {
    file_count: usize,
}

impl StoreFactory for Cautious {
    fn name(&self) -> &str {
        "cautious"
    }

    fn promises(&self) -> Promises {
        Promises { survives_loss_during_creation: true, ..Redb.promises() }
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let sync_all = || {
            let mut files = Vec::new();
            for name in ["a", "b", "c"].into_iter().take(self.file_count) {
                let file = vfs.open(name.as_ref(), OpenMode::Create)?;
                if file.size()? == 0 {
                    file.write_at(b"new", 0)?;
                }
                files.push(file);
            }
            vfs.list("/".as_ref())?;
            files.iter().try_for_each(|file| file.sync_data())
        };
        sync_all().map_err(|error: io::Error| StoreError::Io(error.to_string()))?;
        Redb.open(vfs, config)
    }
}

/// The failures that are found after the healing are those of writes before it, and each is reported once.
#[test]
fn what_fails_to_open_after_healing_is_beyond_repair_only_if_it_is_corrupt() {
    let run = |file_count: usize| {
        let faults =
            format!("fault write-back-lost nth=1 count={file_count}\nfault io-error on=list nth=1 count=5\n");
        run_plan(&plan(&faults), &Cautious { file_count })
    };
    for file_count in 1..=2 {
        let late = run(file_count);
        assert_eq!(late.verdict, Ok(()), "{}", late.history);
        assert_eq!(late.stats.given_up, 5 + file_count as u64, "{}", late.history);
        assert_eq!((late.stats.beyond_repair, late.stats.lived_on), (0, 1));
    }
    let stuck = run(3);
    let violation = stuck.verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Availability, "failed-open"));
    assert_eq!(stuck.stats.beyond_repair, 0);
}

/// Healing in the middle of a plan, or of the last recovery, spares no store that.
#[test]
fn whatever_faults_have_struck_lives_on_after_them() {
    let damaging = |seed: &u64| kind_of(*seed).class() == FaultClass::Damage;
    let mut sum = RunStats::default();
    let (mut struck, mut healed_before) = (0, 0);
    for seed in (0..200).filter(damaging) {
        let run = run_plan(&matrix::plan(seed, StoreKind::Engine), StoreKind::Engine.factory());
        assert_eq!(run.verdict, Ok(()), "seed {seed}");
        struck += u64::from(run.stats.faults > 0);
        let healings = run.history.to_string().matches("healed").count() as u64;
        healed_before += u64::from(healings > run.stats.lived_on);
        sum += &run.stats;
    }
    assert!(struck >= 40 && healed_before >= 10, "{struck} struck, {healed_before} healed before the end");
    assert!(sum.beyond_repair <= 1, "{sum:?}");
    assert_eq!(sum.lived_on + sum.beyond_repair, struck);
}

/// A store that panics when its writer commits or is dropped, and is otherwise empty.
#[derive(Debug)]
struct Jumpy;

struct JumpyTransaction;

impl StoreFactory for Jumpy {
    fn name(&self) -> &str {
        "jumpy"
    }

    fn promises(&self) -> Promises {
        Promises::minimal()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, _: &Config) -> Result<Box<dyn Store>, StoreError> {
        vfs.list("/".as_ref()).map_err(StoreError::failed)?;
        Ok(Box::new(Jumpy))
    }
}

impl Store for Jumpy {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Redb.open(SimDisk::default().vfs(), &Config::default())?.begin_read()
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(JumpyTransaction))
    }
}

impl Transaction for JumpyTransaction {
    fn get(&mut self, _: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }

    fn scan(&mut self, _: &KeyRange, _: usize, _: bool) -> Result<Vec<(Key, Value)>, StoreError> {
        Ok(Vec::new())
    }
}

impl Drop for JumpyTransaction {
    fn drop(&mut self) {
        panic!("jumped");
    }
}

#[test]
fn panics_are_failures_even_when_the_power_is_gone() {
    let kind = |steps: &str| {
        let run = run_plan(&plan(steps), &Jumpy);
        let violation = run.verdict.unwrap_err();
        assert!(violation.message.contains("jumped"), "{violation}");
        violation.kind
    };
    assert_eq!(kind("c0 begin write\nc0 commit sync"), "failed-commit");
    assert_eq!(kind("c0 begin write\nc0 abort"), "failed-abort");
    assert_eq!(kind("verify\nc0 begin write\ncrash call=9 before keep=none"), "failed-other");
}

/// The engine, which panics when it is asked for its latest commit once it was opened.
#[derive(Debug)]
struct Secretive;

struct SecretiveStore {
    inner: Box<dyn Store>,
    has_been_asked: Cell<bool>,
}

impl StoreFactory for Secretive {
    fn name(&self) -> &str {
        "secretive"
    }

    fn promises(&self) -> Promises {
        StoreKind::Engine.factory().promises()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        let inner = StoreKind::Engine.factory().open(vfs, config)?;
        Ok(Box::new(SecretiveStore { inner, has_been_asked: Cell::new(false) }))
    }
}

impl Store for SecretiveStore {
    fn begin_read(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_read()
    }

    fn begin_write(&mut self) -> Result<Box<dyn Transaction>, StoreError> {
        self.inner.begin_write()
    }

    fn latest(&self) -> Option<TxnId> {
        assert!(!self.has_been_asked.replace(true), "it is a secret");
        self.inner.latest()
    }

    fn oldest(&self) -> Option<TxnId> {
        self.inner.oldest()
    }
}

#[test]
fn a_panic_over_a_name_is_a_failure() {
    let violation = run_plan(&plan("c0 begin read back=0"), &Secretive).verdict.unwrap_err();
    assert_eq!((violation.checker, violation.kind), (Checker::Availability, "failed-begin"));
    assert!(violation.message.contains("it is a secret"), "{violation}");
}
