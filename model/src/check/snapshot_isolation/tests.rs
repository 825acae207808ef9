//! Hand-written histories, each right or wrong in one respect.

use crate::Checker::SnapshotIsolation;
use crate::check::testing::{assert_accepted, assert_violation};

/// Two commits, and a transaction that began between them and is still open.
const START: &str = r#"
    begin t1 c0 write snapshot=0
    put t1 "a" #1*8
    put t1 "b" #2*8
    submit t1 sync
    committed t1 id=1
    begin t2 c1 read snapshot=1
    begin t3 c0 write snapshot=1
    put t3 "a" #3*8
    delete t3 "b"
    put t3 "c" #4*8
    submit t3 buffered
    committed t3 id=2
"#;
const NEXT: usize = 12;

fn good(text: &str) {
    assert_accepted(&format!("{START}{text}"));
}

fn bad(text: &str, kind: &str, step: usize) -> String {
    assert_violation(&format!("{START}{text}"), SnapshotIsolation, kind, NEXT + step)
}

/// A store that reveals nothing, with one commit acknowledged and one outstanding when `t3` begins.
fn hidden(text: &str) -> String {
    let start = r#"
        begin t1 c0 write
        put t1 "a" #1*8
        put t1 "b" #2*8
        submit t1 sync
        committed t1
        begin t2 c0 write
        put t2 "a" #3*8
        put t2 "b" #4*8
        submit t2 sync
        begin t3 c1 read
    "#;
    format!("{start}{text}")
}

#[test]
fn reads_see_their_snapshot() {
    good(r#"get t2 "a" -> #1*8"#);
    good(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "b"=#2*8"#);
    good(
        "begin t4 c0 read snapshot=2\nget t4 \"b\" -> none\nscan t4 (-inf .. +inf) reverse -> \"c\"=#4*8 \"a\"=#3*8",
    );
    good("begin t4 c0 read@1\nget t4 \"a\" -> #1*8\nscan t4 [\"b\" .. +inf) limit=1 -> \"b\"=#2*8");
    good("begin t4 c0 read@0 snapshot=0\nscan t4 (-inf .. +inf) -> none");
}

#[test]
fn transactions_see_their_own_writes() {
    good(
        r#"begin t4 c0 write snapshot=2
           put t4 "b" #5*8
           delete t4 "a"
           get t4 "a" -> none
           get t4 "b" -> #5*8
           scan t4 (-inf .. +inf) limit=2 -> "b"=#5*8 "c"=#4*8
           put t4 "b" #6*8
           get t4 "b" -> #6*8
           aborted t4
           begin t5 c0 read snapshot=2
           get t5 "b" -> none"#,
    );
    let own = "begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\n";
    let message = bad(&format!("{own} get t4 \"a\" -> #3*8"), "own-write-missed", 2);
    assert!(message.contains("should find #5*8, its own write, but found #3*8"), "{message}");
    bad(&format!("{own} delete t4 \"a\"\n get t4 \"a\" -> #5*8"), "own-write-missed", 3);
    bad(&format!("{own} scan t4 (-inf .. +inf) -> \"c\"=#4*8"), "own-write-missed", 2);
}

#[test]
fn wrong_reads_are_told_apart() {
    let message = bad(r#"get t2 "a" -> #3*8"#, "future-read", 0);
    assert_eq!(
        message,
        "get of \"a\" by t2 at snapshot 1 should find #1*8, the value of commit 1 (t1), \
         but found #3*8, the value of commit 2 (t3)"
    );
    bad("get t2 \"a\" -> none", "missing-value", 0);
    bad("get t2 \"a\" -> #9*8", "invented-value", 0);
    bad("begin t4 c0 read snapshot=2\nget t4 \"a\" -> #1*8", "stale-read", 1);
    bad("begin t4 c0 read snapshot=2\nget t4 \"b\" -> #2*8", "stale-read", 1);
    let message = bad("get t2 \"a\" -> #2*8", "misplaced-value", 0);
    assert!(message.contains("#2*8, the value that commit 1 (t1) gave to \"b\""), "{message}");
    bad("begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\nget t2 \"a\" -> #5*8", "dirty-read", 2);
    bad("begin t4 c0 write\nput t4 \"a\" #5*8\naborted t4\nget t2 \"a\" -> #5*8", "dirty-read", 3);
}

#[test]
fn scans_are_complete_ordered_and_bounded() {
    bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8"#, "missing-value", 0);
    bad(r#"scan t2 (-inf .. +inf) -> "b"=#2*8"#, "missing-value", 0);
    bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "b"=#2*8 "c"=#4*8"#, "future-read", 0);
    bad(r#"scan t2 (-inf .. +inf) reverse -> "a"=#1*8 "b"=#2*8"#, "scan-out-of-order", 0);
    bad(r#"scan t2 (-inf .. +inf) -> "b"=#2*8 "a"=#1*8"#, "scan-out-of-order", 0);
    bad(r#"scan t2 (-inf .. +inf) -> "a"=#1*8 "a"=#1*8"#, "scan-out-of-order", 0);
    bad(r#"scan t2 (-inf .. +inf) limit=1 -> "a"=#1*8 "b"=#2*8"#, "scan-over-limit", 0);
    bad(r#"scan t2 (-inf .. +inf) limit=1 reverse -> "a"=#1*8"#, "missing-value", 0);
    bad(r#"scan t2 ["a" .. "b") -> "a"=#1*8 "b"=#2*8"#, "scan-out-of-range", 0);
}

#[test]
fn snapshots_follow_real_time() {
    let message = bad("begin t4 c0 read snapshot=1", "stale-snapshot", 0);
    assert_eq!(message, "t4 reads as of commit 1, but commit 2 (t3) was acknowledged before");
    bad("begin t4 c0 write snapshot=1", "stale-snapshot", 0);
    bad("begin t4 c0 read snapshot=3", "future-snapshot", 0);
    bad("begin t4 c0 read@3", "future-snapshot", 0);
    bad("begin t4 c0 read@1 snapshot=2", "wrong-snapshot", 0);
    let outstanding = "begin t4 c0 write snapshot=2\nput t4 \"a\" #5*8\nsubmit t4 sync\n";
    good(&format!("{outstanding} begin t5 c1 read snapshot=2\n get t5 \"a\" -> #3*8"));
    good(&format!("{outstanding} begin t5 c1 read snapshot=3\n get t5 \"a\" -> #5*8"));
    good(&format!("{outstanding} begin t5 c1 read@3\n get t5 \"a\" -> #5*8"));
    bad(&format!("{outstanding} begin t5 c1 read snapshot=4"), "future-snapshot", 3);
    bad(&format!("{outstanding} committed t4 id=3\n begin t5 c1 read snapshot=2"), "stale-snapshot", 4);
}

#[test]
fn hidden_snapshots_are_narrowed_by_reads() {
    assert_accepted(&hidden("get t3 \"a\" -> #1*8\nget t3 \"b\" -> #2*8"));
    assert_accepted(&hidden(
        "get t3 \"a\" -> #3*8\nscan t3 (-inf .. +inf) -> \"a\"=#3*8 \"b\"=#4*8\ncommitted t2",
    ));
    assert_accepted(&hidden("get t3 \"c\" -> none\nget t3 \"b\" -> #2*8"));
    let torn = hidden("get t3 \"a\" -> #1*8\nget t3 \"b\" -> #4*8");
    let message = assert_violation(&torn, SnapshotIsolation, "future-read", 11);
    assert!(message.contains("at snapshot 1 should find #2*8"), "{message}");
    let torn = hidden("get t3 \"a\" -> #3*8\nscan t3 [\"b\" .. +inf) -> \"b\"=#2*8");
    assert_violation(&torn, SnapshotIsolation, "stale-read", 11);
    let neither = hidden("get t3 \"a\" -> none");
    let message = assert_violation(&neither, SnapshotIsolation, "missing-value", 10);
    assert!(message.contains("at any snapshot from 1 to 2"), "{message}");
}

#[test]
fn a_hidden_commit_that_was_acknowledged_must_be_seen() {
    let after = |read: &str| hidden(&format!("committed t2\nbegin t4 c1 read\nget t4 \"a\" -> {read}"));
    assert_accepted(&after("#3*8"));
    assert_violation(&after("#1*8"), SnapshotIsolation, "stale-read", 12);
}

#[test]
fn the_later_writer_of_a_key_has_read_the_earlier() {
    let concurrent = |key: &str| {
        format!(
            r#"begin t4 c0 write snapshot=2
               put t4 "a" #5*8
               submit t4 sync
               begin t5 c1 write snapshot=2
               get t5 "a" -> #3*8
               put t5 {key} #6*8
               committed t4 id=3
               submit t5 sync
               committed t5 id=4"#
        )
    };
    good(&concurrent("\"z\""));
    let message = bad(&concurrent("\"a\""), "lost-update", 8);
    assert!(message.contains("t5 (commit 4) and commit 3 (t4)") && message.contains("\"a\""), "{message}");
    good(&concurrent("\"a\"").replace("committed t5 id=4", "aborted t5"));
    let hidden = format!("{START}{}", concurrent("\"a\""));
    let hidden: String = hidden
        .split_inclusive('\n')
        .map(|line| {
            let kept = line.split(" id=").next().and_then(|line| line.split(" snapshot=").next());
            kept.unwrap_or_default().trim_end().to_owned() + "\n"
        })
        .collect();
    assert_violation(&hidden, SnapshotIsolation, "lost-update", NEXT + 8);
}

#[test]
fn refusals_have_reasons() {
    good("begin t4 c0 write\nrefused c1 write write-busy");
    good("begin t4 c0 write\nsubmit t4 sync\nrefused c1 write write-busy");
    good("refused c1 read@0 snapshot-not-found\nrefused c1 read@3 snapshot-not-found");
    bad("refused c1 write write-busy", "false-busy", 0);
    bad("begin t4 c0 write\naborted t4\nrefused c1 write write-busy", "false-busy", 2);
    bad("begin t4 c0 write\nrefused c1 read write-busy", "false-busy", 1);
    bad("refused c1 read@2 snapshot-not-found", "false-snapshot-not-found", 0);
    bad("refused c1 read snapshot-not-found", "false-snapshot-not-found", 0);
    let outstanding = "begin t4 c0 write\nput t4 \"a\" #5*8\nsubmit t4 sync\n";
    good(&format!("{outstanding} refused c1 read@3 snapshot-not-found"));
    good(&format!("{outstanding} refused c1 read@3 snapshot-not-found oldest=0"));
    let crashed =
        "begin t4 c0 write\ncrash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\nrefused c1 write write-busy";
    bad(crashed, "false-busy", 3);
}

#[test]
fn what_is_retained_is_not_refused() {
    good("refused c1 read@0 snapshot-not-found oldest=1\nrefused c1 read@3 snapshot-not-found oldest=1");
    let message = bad("refused c1 read@1 snapshot-not-found oldest=1", "false-snapshot-not-found", 0);
    assert_eq!(message, "commit 1 (t1) is retained, as is every commit from 1 on");
    bad("refused c1 read@0 snapshot-not-found oldest=0", "false-snapshot-not-found", 0);
    bad("refused c1 read@2 snapshot-not-found oldest=1", "false-snapshot-not-found", 0);
    let promised = |at: u64| {
        format!("opened latest=7 retention=txns:1 -> none\nrefused c1 read@{at} snapshot-not-found")
    };
    assert_accepted(&promised(5));
    assert_accepted(&promised(8));
    assert_violation(&promised(6), SnapshotIsolation, "false-snapshot-not-found", 1);
}

#[test]
fn txn_ids_increase() {
    let commit =
        |id: u64| format!("begin t4 c0 write\nput t4 \"z\" #5*8\nsubmit t4 sync\ncommitted t4 id={id}\n");
    good(&commit(3));
    let message = bad(&commit(2), "commit-out-of-order", 3);
    assert_eq!(message, "t4 was committed as 2, but commit 2 was there before");
    bad(&commit(1), "commit-out-of-order", 3);
    bad(&("get t2 \"a\" -> none\n".to_owned() + &commit(2)), "missing-value", 0);
    good("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=2");
    good("submit t2 sync\ncommitted t2 id=1");
    bad("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=3", "wrong-commit-id", 2);
    bad("begin t4 c0 write\nsubmit t4 sync\ncommitted t4 id=1", "wrong-commit-id", 2);
}

#[test]
fn txn_ids_leave_no_gaps() {
    let commit = |label: u32, id: &str| {
        format!("begin t{label} c0 write\ndelete t{label} \"z\"\nsubmit t{label} sync\n{id}\n")
    };
    let message = bad(&commit(4, "committed t4 id=4"), "id-gap", 3);
    assert_eq!(message, "t4 was committed as 4, but the commit before it is 2");
    bad(&(commit(4, "committed t4 id=3") + &commit(5, "committed t5 id=9")), "id-gap", 7);
    good(&(commit(4, "") + &commit(5, "committed t5 id=4")));
    good(&(commit(4, "") + &commit(5, "") + &commit(6, "committed t6 id=3\ncommitted t5 id=5")));
    bad(&(commit(4, "") + &commit(5, "committed t5 id=5")), "id-gap", 6);
    bad(&(commit(4, "aborted t4") + &commit(5, "committed t5 id=4")), "id-gap", 7);
    bad(&(commit(5, "committed t5 id=4") + &commit(4, "")), "id-gap", 3);
    bad(&(commit(5, "committed t5 id=4") + &commit(4, "committed t4 id=3")), "id-gap", 3);
    let lost = "crash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\n";
    good(&(commit(4, "") + lost + &commit(5, "committed t5 id=3")));
    bad(&(commit(4, "") + lost + &commit(5, "committed t5 id=4")), "id-gap", 8);
}

#[test]
fn there_is_one_writer_at_a_time() {
    good("begin t4 c0 write\naborted t4\nbegin t5 c1 write");
    good("begin t4 c0 write\nsubmit t4 sync\nbegin t5 c1 write");
    good("begin t4 c0 write\nbegin t5 c1 read\nbegin t6 c2 read@1");
    good("begin t4 c0 write\ncrash\nopened latest=2 -> \"a\"=#3*8 \"c\"=#4*8\nbegin t5 c1 write");
    let message = bad("begin t4 c0 write\nbegin t5 c1 write\nsubmit t4 sync", "second-writer", 1);
    assert_eq!(message, "t5 was opened to write, but the writer t4 is open");
}

#[test]
fn overlapping_commits_may_be_acknowledged_in_any_order() {
    let pipelined = |first: &str, second: &str| {
        format!(
            r#"begin t4 c0 write
               put t4 "x" #5*8
               submit t4 sync
               begin t5 c1 write
               put t5 "y" #6*8
               submit t5 sync
               {first}
               begin t6 c2 read
               get t6 "x" -> #5*8
               {second}"#
        )
    };
    good(&pipelined("committed t5 id=4", "committed t4 id=3"));
    good(&pipelined("committed t4 id=3", "committed t5 id=4"));
    good(&pipelined("committed t5 id=4", ""));
    bad(&pipelined("committed t5 id=3", "committed t4 id=3"), "commit-out-of-order", 9);
}

/// Commit 1 gives "a" a value while t2 and t3 are open.
const CONCURRENT: &str = r#"
    opened latest=0 oldest=0 -> none
    begin t2 c1 optimistic snapshot=0
    begin t3 c2 optimistic snapshot=0
    begin t1 c0 optimistic snapshot=0
    put t1 "a" #1*8
    submit t1 sync
    committed t1 id=1
    put t2 "a" #2*8
    put t3 "b" #3*8
    submit t2 sync
"#;

#[test]
fn the_first_committer_wins() {
    let after = |text: &str| format!("{CONCURRENT}{text}");
    assert_accepted(&after("denied t2 conflict \"a\"\n submit t3 sync\n committed t3 id=2"));
    assert_violation(&after("committed t2 id=2"), SnapshotIsolation, "lost-update", 10);
    assert_violation(&after("denied t2 conflict \"b\""), SnapshotIsolation, "wrong-conflict", 10);
    let spurious = after("denied t2 conflict \"a\"\n submit t3 sync\n denied t3 conflict \"b\"");
    assert_violation(&spurious, SnapshotIsolation, "spurious-conflict", 12);
    assert_violation(&after("denied t2 write-busy"), SnapshotIsolation, "false-busy", 10);
}

#[test]
fn a_range_that_was_removed_conflicts_by_the_keys_that_were_there() {
    let history = |range: &str, outcome: &str| {
        format!(
            r#"opened latest=1 oldest=1 -> "a"=#1*8 "b"=#2*8
               begin t1 c0 optimistic snapshot=1
               delete-range t1 {range}
               begin t2 c1 write snapshot=1
               put t2 "a" #3*8
               put t2 "aa" #4*8
               submit t2 sync
               committed t2 id=2
               submit t1 sync
               {outcome}"#
        )
    };
    assert_accepted(&history("(-inf .. \"b\") count=1 -> \"a\"", "denied t1 conflict \"a\""));
    assert_accepted(&history("[\"aa\" .. \"b\"] count=1 -> \"b\"", "committed t1 id=3"));
    let missed = history("(-inf .. \"b\") count=1 -> \"a\"", "committed t1 id=3");
    assert_violation(&missed, SnapshotIsolation, "lost-update", 9);
    let unseen = history("(-inf .. \"b\") count=1 -> \"a\"", "denied t1 conflict \"aa\"");
    assert_violation(&unseen, SnapshotIsolation, "wrong-conflict", 9);
    let short = history("(-inf .. +inf) count=1 -> \"a\"", "committed t1 id=3");
    assert_violation(&short, SnapshotIsolation, "wrong-range", 2);
    let miscounted = history("(-inf .. +inf) count=3 -> \"a\" \"b\"", "committed t1 id=3");
    assert_violation(&miscounted, SnapshotIsolation, "wrong-count", 2);
}

#[test]
fn an_exclusive_writer_keeps_optimistic_commits_out() {
    let history = |before: &str, outcome: &str| {
        format!(
            r#"begin t1 c0 optimistic snapshot=0
               put t1 "a" #1*8
               begin t2 c1 write snapshot=0
               {before}
               submit t1 sync
               {outcome}"#
        )
    };
    let nothing = "get t2 \"a\" -> none";
    assert_accepted(&history(nothing, "denied t1 write-busy"));
    assert_accepted(&history("aborted t2", "committed t1 id=1"));
    assert_violation(&history("aborted t2", "denied t1 write-busy"), SnapshotIsolation, "false-busy", 5);
    assert_violation(&history(nothing, "committed t1 id=1"), SnapshotIsolation, "second-writer", 5);
    let refused = "begin t1 c0 write\n refused c1 optimistic write-busy";
    assert_violation(refused, SnapshotIsolation, "false-busy", 1);
}

#[test]
fn what_was_only_taken_in_is_not_read() {
    let history = |text: &str| {
        format!(
            r#"opened latest=0 oldest=0 -> none
               begin t1 c0 write snapshot=0
               put t1 "a" #1*8
               submit t1 sync
               ticket t1 id=1
               {text}"#
        )
    };
    assert_accepted(&history("begin t2 c1 read snapshot=0\n get t2 \"a\" -> none\n committed t1 id=1"));
    assert_accepted(&history("committed t1 id=1\n begin t2 c1 read snapshot=1"));
    assert_accepted(&history("durable\n begin t2 c1 read snapshot=1"));
    let corrupt = |what: &str| {
        let damage = "fault damage groups=1 \"rot\"";
        history(&format!("{damage}\n corrupt \"{what}\" \"page 7\"\n begin t2 c1 read snapshot=1"))
    };
    assert_accepted(&corrupt("changes"));
    assert_accepted(&corrupt("checkpoint"));
    assert_violation(&corrupt("get"), SnapshotIsolation, "future-snapshot", 7);
    assert_violation(&corrupt("verify"), SnapshotIsolation, "future-snapshot", 7);
    let early = history("begin t2 c1 read snapshot=1");
    assert_violation(&early, SnapshotIsolation, "future-snapshot", 5);
    let past = history("begin t2 c1 read@1");
    assert_violation(&past, SnapshotIsolation, "future-snapshot", 5);
    assert_violation(&history("committed t1 id=2"), SnapshotIsolation, "wrong-commit-id", 5);
    let late = history("committed t1 id=1\n begin t2 c1 read snapshot=0");
    assert_violation(&late, SnapshotIsolation, "stale-snapshot", 6);
    let busy = history("refused c1 write write-busy");
    assert_violation(&busy, SnapshotIsolation, "false-busy", 5);
    let streamed = history("changes 1 oldest=0 -> 1: \"a\"=#1*8");
    assert_violation(&streamed, super::Checker::CommitStream, "future-stream", 5);

    let next = |text: &str| {
        history(&format!(
            "begin t2 c1 write snapshot=1\n put t2 \"b\" #2*8\n submit t2 sync\n committed t2 id=2\n {text}"
        ))
    };
    assert_accepted(&next("begin t3 c1 read snapshot=2\n get t3 \"a\" -> #1*8"));
    let lost = next("crash\n opened latest=0 oldest=0 -> none");
    assert_violation(&lost, super::Checker::CrashPrefix, "lost-acknowledged-commit", 10);
    assert_accepted(&history("crash\n opened latest=0 oldest=0 -> none"));
    assert_accepted(&history("crash\n opened latest=1 oldest=0 -> \"a\"=#1*8"));
}

#[test]
fn a_commit_without_space_never_comes_back() {
    let history = |opened: &str| {
        format!(
            "opened latest=0 oldest=0 -> none\n space 10\n begin t1 c0 write\n put t1 \"a\" #1*8\n submit t1 sync\n \
             denied t1 out-of-space\n crash\n opened {opened}"
        )
    };
    assert_accepted(&history("latest=0 oldest=0 -> none"));
    let back = history("latest=1 oldest=0 -> \"a\"=#1*8");
    assert_violation(&back, super::Checker::CrashPrefix, "resurrected-value", 7);
}
