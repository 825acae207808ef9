//! Histories of clients that run at the same time, written by hand: what an answer may be depends on when it was asked
//! for, and on when it was given.

use super::testing::{assert_accepted, assert_violation, history};
use crate::Checker::{
    Availability, Backup, CommitStream, CrashPrefix, SnapshotIsolation, Structure, Timeline,
};

/// A commit of one key of its own by client `client`, up to the moment at which it is asked for.
fn submit(id: u64, client: u32, mode: &str, durability: &str) -> String {
    format!(
        "asked c{client} begin {mode}\nbegin t{id} c{client} {mode}\nput t{id} \"k{id}\" #{id}*8\n\
         submit t{id} {durability}\n"
    )
}

fn committed(id: u64) -> String {
    format!("committed t{id} id={id}\n")
}

/// A durable commit that is the only one under way.
fn commit(id: u64) -> String {
    submit(id, 0, "optimistic", "sync") + &committed(id)
}

/// What an opening finds of these commits.
fn opened(ids: &[u64]) -> String {
    let pairs: String = ids.iter().map(|id| format!(" \"k{id}\"=#{id}*8")).collect();
    let latest = ids.len();
    format!("opened latest={latest} oldest=0 ->{}\n", if pairs.is_empty() { " none" } else { &pairs })
}

const START: &str = "opened latest=0 oldest=0 retention=all -> none\n";

fn accept(parts: &[&str]) {
    assert_accepted(&[&[START], parts].concat().concat());
}

/// Asserts that the last event is the first that is wrong.
fn refuse(checker: crate::Checker, parts: &[&str], kind: &str) -> String {
    let text = [&[START], parts].concat().concat();
    let last = history(&text).events.len() - 1;
    assert_violation(&text, checker, kind, last)
}

#[test]
fn a_snapshot_is_of_a_moment_between_question_and_answer() {
    let reader = |shown: u64| format!("begin t9 c1 read snapshot={shown}\n");
    let during = [&commit(1), "asked c1 begin read\n", &commit(2)].concat();
    accept(&[&during, &reader(1), "get t9 \"k2\" -> none\n"]);
    accept(&[&during, &reader(2), "get t9 \"k2\" -> #2*8\n"]);
    refuse(SnapshotIsolation, &[&during, &reader(0)], "stale-snapshot");
    refuse(SnapshotIsolation, &[&during, &reader(3)], "future-snapshot");
    refuse(SnapshotIsolation, &[&during, &reader(1), "get t9 \"k2\" -> #2*8\n"], "future-read");
    // Who does not ask in an event of its own asks in the moment of the answer.
    refuse(SnapshotIsolation, &[&commit(1), &commit(2), &reader(1)], "stale-snapshot");
    // One who says nothing of its snapshot has any of these.
    let silent = [&during, "begin t9 c1 read\n"].concat();
    accept(&[&silent, "get t9 \"k2\" -> none\n"]);
    accept(&[&silent, "get t9 \"k2\" -> #2*8\n"]);
    refuse(SnapshotIsolation, &[&silent, "get t9 \"k1\" -> none\n"], "missing-value");
}

#[test]
fn what_anybody_has_read_everybody_reads_from_then_on() {
    let seen = [
        &submit(1, 0, "optimistic", "sync"),
        "asked c2 begin read\nasked c1 begin read\nbegin t8 c1 read snapshot=1\n",
    ]
    .concat();
    // This one had asked before.
    accept(&[&seen, "begin t9 c2 read snapshot=0\n"]);
    let later = |shown: u64| format!("asked c3 begin read\nbegin t9 c3 read snapshot={shown}\n");
    accept(&[&seen, &later(1)]);
    let message = refuse(SnapshotIsolation, &[&seen, &later(0)], "stale-snapshot");
    assert_eq!(message, "t9 reads as of commit 0, but commit 1 (t1) was read before");
    // An exclusive writer builds upon what readers may not see yet.
    let writer = submit(1, 0, "write", "sync") + "asked c1 begin write\nbegin t8 c1 write snapshot=1\n";
    accept(&[&writer, &later(0)]);
}

#[test]
fn a_writer_excludes_others_from_its_beginning_to_its_end() {
    let open = "asked c0 begin write\nbegin t1 c0 write snapshot=0\n";
    let other = "begin t2 c1 write snapshot=0\n";
    let asked = "asked c1 begin write\n";
    let busy = "refused c1 write write-busy\n";
    refuse(SnapshotIsolation, &[open, asked, other], "second-writer");
    refuse(SnapshotIsolation, &[asked, open, other], "second-writer");
    accept(&[open, asked, "asked c0 end\n", other, "aborted t1\n"]);
    accept(&[open, asked, "asked c0 end\n", busy, "aborted t1\n"]);
    accept(&[open, asked, "asked c0 end\naborted t1\n", busy]);
    accept(&[open, asked, "asked c0 end\naborted t1\n", other]);
    refuse(SnapshotIsolation, &[open, "asked c0 end\naborted t1\n", asked, busy], "false-busy");
    // It may have been let in before anybody hears of it.
    accept(&["asked c0 begin write\n", asked, busy, "begin t1 c0 write snapshot=0\n"]);
    accept(&["asked c0 begin write\n", asked, busy, "crash\n", &opened(&[])]);
    refuse(SnapshotIsolation, &["asked c0 begin read\n", asked, busy], "false-busy");
    refuse(SnapshotIsolation, &[asked, busy], "false-busy");
    // A commit that is under way may still exclude others, one that was answered doesn't.
    let written = [open, "put t1 \"k1\" #1*8\nsubmit t1 sync\n"].concat();
    accept(&[&written, asked, busy]);
    accept(&[&written, asked, "committed t1 id=1\n", busy]);
    refuse(SnapshotIsolation, &[&written, "committed t1 id=1\n", asked, busy], "false-busy");
    refuse(SnapshotIsolation, &[&written, "ticket t1 id=1\n", asked, busy], "false-busy");
}

#[test]
fn an_optimistic_commit_is_excluded_by_a_writer_at_some_moment() {
    let writing = "asked c1 begin optimistic\nbegin t1 c1 optimistic snapshot=0\nput t1 \"k1\" #1*8\n";
    let open = "asked c0 begin write\nbegin t2 c0 write snapshot=0\n";
    let ended = "asked c0 end\naborted t2\n";
    let (submit, busy, done) = ("submit t1 sync\n", "denied t1 write-busy\n", "committed t1 id=1\n");
    accept(&[writing, open, submit, busy]);
    accept(&[writing, open, submit, ended, busy]);
    accept(&[writing, submit, open, ended, busy]);
    accept(&[writing, submit, "asked c0 begin write\n", busy, "begin t2 c0 write snapshot=0\n"]);
    refuse(SnapshotIsolation, &[writing, open, ended, submit, busy], "false-busy");
    refuse(SnapshotIsolation, &[writing, submit, busy], "false-busy");
    refuse(SnapshotIsolation, &[writing, open, submit, done], "second-writer");
    accept(&[writing, submit, open, done]);
    accept(&[writing, open, submit, "asked c0 end\n", done, "aborted t2\n"]);
    // It has its place when it is taken in, whatever happens until it is acknowledged.
    accept(&[
        writing,
        submit,
        "ticket t1 id=1\n",
        "asked c0 begin write\nbegin t2 c0 write snapshot=1\n",
        done,
    ]);
    refuse(SnapshotIsolation, &[writing, open, submit, "ticket t1 id=1\n", ended, done], "second-writer");
}

#[test]
fn a_conflict_is_with_a_commit_that_was_asked_for_by_then() {
    let begun =
        "asked c1 begin optimistic\nbegin t9 c1 optimistic snapshot=0\nput t9 \"k1\" #9*8\nsubmit t9 sync\n";
    let denied = "denied t9 conflict \"k1\"\n";
    accept(&[begun, &submit(1, 0, "optimistic", "sync"), denied, &committed(1)]);
    accept(&[begun, &submit(1, 0, "optimistic", "sync"), denied, "crash\n", &opened(&[])]);
    refuse(SnapshotIsolation, &[begun, denied], "spurious-conflict");
    refuse(SnapshotIsolation, &[begun, &submit(2, 0, "optimistic", "sync"), denied], "spurious-conflict");
}

#[test]
fn a_past_that_may_have_gone_meanwhile_is_refused() {
    let asked = [&commit(1), &commit(2), "asked c1 begin read@1\n"].concat();
    let refused = |oldest: u64| format!("refused c1 read@1 snapshot-not-found oldest={oldest}\n");
    let latest_only = |parts: &[&str]| [START.replace("all", "latest"), parts.concat()].concat();
    assert_accepted(&latest_only(&[&asked, &refused(2)]));
    refuse(SnapshotIsolation, &[&asked, &refused(0)], "false-snapshot-not-found");
    let future =
        |at: u64| format!("asked c1 begin read@{at}\n{}refused c1 read@{at} snapshot-not-found\n", commit(1));
    accept(&[&future(1)]);
    accept(&[&future(2)]);
    refuse(
        SnapshotIsolation,
        &[&commit(1), "asked c1 begin read@1\nrefused c1 read@1 snapshot-not-found\n"],
        "false-snapshot-not-found",
    );
    // Two who are told at the same time may be heard in either order; who asks later may not.
    let told =
        |client: u32, oldest: u64| format!("refused c{client} read@0 snapshot-not-found oldest={oldest}\n");
    let both =
        [&commit(1), &commit(2), "asked c1 begin read@0\nasked c2 begin read@0\n", &told(1, 2)].concat();
    assert_accepted(&latest_only(&[&both, &told(2, 1)]));
    let later = latest_only(&[&both, "asked c3 begin read@0\n", &told(3, 1)]);
    assert_violation(&later, SnapshotIsolation, "oldest-went-back", history(&later).events.len() - 1);
}

#[test]
fn a_flush_covers_what_was_acknowledged_before_it() {
    let buffered = |id: u64| submit(id, 0, "optimistic", "buffered");
    let before = [&buffered(1), &committed(1), "asked c9 flush\n"].concat();
    let during = [&before, &buffered(2), &committed(2), "durable\ncrash\n"].concat();
    accept(&[&during, &opened(&[1])]);
    accept(&[&during, &opened(&[1, 2])]);
    refuse(CrashPrefix, &[&during, &opened(&[])], "lost-acknowledged-commit");
    // One that nobody answered covers nothing, and one that nobody asked for covers all.
    accept(&[&before, "crash\n", &opened(&[])]);
    let failed =
        [&before, "fault environment failed=look \"read\"\n", "gave-up \"checkpoint\" \"x\"\n"].concat();
    let then = |text: &str| [&buffered(2), &committed(2), text, "durable\ncrash\n"].concat();
    refuse(CrashPrefix, &[&failed, &then(""), &opened(&[1])], "lost-acknowledged-commit");
    accept(&[&failed, "asked c9 flush\n", &then(""), &opened(&[1])]);
    // Who reads the stream syncs first.
    let streamed = "asked c9 changes\n";
    let read = ["durable\nchanges 1 oldest=0 -> 1: \"k1\"=#1*8\ncrash\n"].concat();
    let during = [&buffered(1), &committed(1), streamed, &buffered(2), &committed(2), &read].concat();
    accept(&[&during, &opened(&[1])]);
    refuse(CrashPrefix, &[&during, &opened(&[])], "lost-acknowledged-commit");
}

#[test]
fn a_stream_has_what_was_acknowledged_before_it() {
    let during = [&commit(1), "asked c9 changes\n", &commit(2)].concat();
    let one = "changes 1 oldest=0 -> 1: \"k1\"=#1*8\n";
    let two = "changes 1 oldest=0 -> 1: \"k1\"=#1*8, 2: \"k2\"=#2*8\n";
    accept(&[&during, "durable\n", one]);
    accept(&[&during, "durable\n", two]);
    refuse(CommitStream, &[&during, "changes 1 oldest=0 -> none\n"], "stream-too-short");
    refuse(CommitStream, &[&commit(1), &commit(2), "asked c9 changes\n", one], "stream-too-short");
    accept(&[&during, "changes 3 refused snapshot-not-found oldest=0\n"]);
    refuse(
        CommitStream,
        &[&during, "changes 2 refused snapshot-not-found oldest=0\n"],
        "false-stream-refusal",
    );
    // Whoever asks after it has it, too, though nobody has acknowledged it.
    let unheard = [&submit(1, 0, "optimistic", "sync"), "asked c9 changes\n", one].concat();
    refuse(
        SnapshotIsolation,
        &[&unheard, "asked c1 begin read\nbegin t9 c1 read snapshot=0\n"],
        "stale-snapshot",
    );
    // What was in reach when it was asked for may have gone by the time it is answered.
    let text = |stated: &str| {
        let stated = format!("refused c1 read@0 snapshot-not-found oldest={stated}\n");
        let start = START.replace("all", "latest");
        [&start, &commit(1), &commit(2), "asked c1 begin read@0\n", "asked c9 changes\n", &stated].concat()
    };
    assert_accepted(&[&text("2"), "changes 2 oldest=2 -> 2: \"k2\"=#2*8\n"].concat());
    let gone = [&text("2"), "changes 2 refused changes-not-retained oldest=2\nasked c9 changes\n"].concat();
    let silently = [&gone, "changes 2 oldest=2 -> 2: \"k2\"=#2*8\n"].concat();
    assert_violation(&silently, CommitStream, "fell-behind-silently", history(&silently).events.len() - 1);
}

#[test]
fn a_backup_has_what_was_acknowledged_before_it() {
    let during = [&commit(1), "asked c9 backup\n", &commit(2)].concat();
    let old = "backup at=1 latest=1 oldest=0 -> \"k1\"=#1*8\n";
    accept(&[&during, old, "backup at=0 latest=1 oldest=0 -> none\n"]);
    accept(&[&during, "backup at=2 latest=2 oldest=0 -> \"k1\"=#1*8 \"k2\"=#2*8\n"]);
    refuse(Backup, &[&during, "backup at=0 latest=0 oldest=0 -> none\n"], "wrong-latest");
    refuse(Backup, &[&commit(1), &commit(2), "asked c9 backup\n", old], "wrong-latest");
    refuse(Backup, &[&during, old, "asked c9 flush\ndurable\n", old], "wrong-latest");
}

#[test]
fn a_ticket_may_be_made_visible_by_whoever_waits() {
    let handed_in = submit(1, 0, "optimistic", "sync") + "ticket t1 id=1\n";
    let reader = |shown: u64| format!("asked c1 begin read\nbegin t9 c1 read snapshot={shown}\n");
    accept(&[&handed_in, &reader(0)]);
    accept(&[&handed_in, &reader(1), &committed(1)]);
    refuse(SnapshotIsolation, &[&handed_in, &committed(1), &reader(0)], "stale-snapshot");
}

#[test]
fn whoever_shared_a_failed_sync_is_in_doubt() {
    let both = [&submit(1, 0, "optimistic", "sync"), &submit(2, 1, "optimistic", "sync")]
        .map(String::as_str)
        .concat();
    let failed = "fault environment failed=sync \"sync\"\ngave-up \"commit\" \"x\"\ndenied t2 poisoned\n";
    for ids in [&[][..], &[1], &[2], &[1, 2]] {
        accept(&[&both, failed, "crash\n", &opened(ids)]);
    }
    // Who asked for its commit after somebody had heard of it has left no trace.
    let late = [
        &submit(1, 0, "optimistic", "sync"),
        "asked c1 begin optimistic\nbegin t2 c1 optimistic\nput t2 \"k2\" #2*8\n",
    ]
    .concat();
    let failed = "fault environment failed=sync \"sync\"\ngave-up \"commit\" \"x\"\n";
    let told = "asked c2 begin write\nrefused c2 write poisoned\n";
    let denied = "submit t2 sync\ndenied t2 poisoned\ncrash\n";
    accept(&[&late, failed, told, denied, &opened(&[1])]);
    accept(&[&late, failed, denied, &opened(&[2])]);
    refuse(CrashPrefix, &[&late, failed, told, denied, &opened(&[2])], "resurrected-value");
}

#[test]
fn a_fault_excuses_every_call_that_it_may_have_met() {
    let fault = "fault environment failed=look \"read\"\n";
    let gave_up = "gave-up \"get\" \"x\"\n";
    let two = "asked c0 begin read\nasked c1 begin read\nbegin t8 c0 read\nbegin t9 c1 read\n";
    let heard = |txn: u32| format!("get t{txn} \"k\" -> none\n");
    accept(&[two, fault, gave_up]);
    accept(&[two, fault, &heard(8), gave_up]);
    accept(&[two, fault, &heard(8), &heard(8), gave_up]);
    refuse(Availability, &[two, fault, gave_up, gave_up], "failed-get");
    refuse(Availability, &[two, fault, &heard(8), &heard(9), gave_up], "failed-get");
    refuse(Availability, &[two, gave_up], "failed-get");
    // Nobody asks for something else before it is answered.
    refuse(Availability, &[two, fault, &heard(8), "asked c1 end\n", gave_up], "failed-get");
    accept(&[two, fault, "asked c2 begin read\n", gave_up]);
    let misread = "fault damage passing groups=1 \"stale-read\"\n";
    let corrupt = "corrupt \"get\" \"page 7\"\n";
    accept(&[two, misread, &heard(8), corrupt]);
    refuse(Availability, &[two, misread, &heard(8), &heard(9), corrupt], "unexplained-corruption");
    // Who has stopped asking is never heard of again. Nobody is waiting any more when the disk is healed.
    accept(&[two, fault, &heard(8), &heard(8), "asked c0 end\naborted t8\n", gave_up]);
    refuse(Availability, &[two, fault, &heard(8), "healed\n", gave_up], "failed-get");
    refuse(Availability, &[two, misread, &heard(8), "healed\n", corrupt], "unexplained-corruption");
    // Where it is known who was told, others are not excused by that, and nobody twice.
    let told = |client: u32| format!("gave-up to=c{client} \"get\" \"x\"\n");
    accept(&[two, fault, &told(0), &told(1)]);
    accept(&[two, fault, &heard(8), &told(1)]);
    refuse(Availability, &[two, fault, &told(1), &told(1)], "failed-get");
    refuse(Availability, &[two, fault, &heard(8), &told(0)], "failed-get");
    refuse(Availability, &[two, fault, "asked c2 begin read\n", &told(2)], "failed-get");
    let verify = "asked c7 verify\n";
    accept(&[two, verify, misread, &heard(8), &heard(9), "corrupt to=c7 \"verify\" \"page 7\"\n"]);
    let late = [two, misread, &heard(8), verify, "corrupt to=c7 \"verify\" \"page 7\"\n"];
    refuse(Structure, &late, "verify-failed");
    let told_of_damage = |client: u32| format!("corrupt to=c{client} \"get\" \"page 7\"\n");
    accept(&[two, misread, &told_of_damage(1), &told_of_damage(0)]);
    refuse(Availability, &[two, misread, &told_of_damage(1), &told_of_damage(1)], "unexplained-corruption");
    // The next opening starts anew.
    refuse(Availability, &[two, fault, "crash\n", &opened(&[]), gave_up], "failed-get");
}

#[test]
fn clients_wait_for_the_answer_to_what_they_asked_for() {
    let malformed = |parts: &[&str]| refuse(Timeline, parts, "malformed-history");
    malformed(&["asked c0 begin read\nbegin t1 c0 write\n"]);
    malformed(&["asked c0 begin read@1\nrefused c0 read@2 snapshot-not-found\n"]);
    accept(&["asked c0 begin read\nasked c1 begin write\nbegin t1 c1 write\nbegin t2 c0 read\n"]);
    malformed(&["asked c0 end\n"]);
    let open = "asked c0 begin write\nbegin t1 c0 write\n";
    malformed(&[open, "asked c1 end\n"]);
    malformed(&[open, "asked c0 end\nget t1 \"k\" -> none\n"]);
    malformed(&[open, "asked c0 end\nsubmit t1 sync\n"]);
    malformed(&[open, "submit t1 sync\nasked c0 end\n"]);
    malformed(&["asked c0 flush\nasked c1 changes\n"]);
    accept(&["asked c0 flush\ndurable\nasked c1 changes\n"]);
    malformed(&["closed\nasked c0 begin read\n"]);
    malformed(&["crash\nasked c0 flush\n"]);
}
