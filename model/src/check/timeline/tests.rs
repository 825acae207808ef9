//! Histories that make sense, and those that don't.

use crate::Checker::Timeline;
use crate::check::testing::{assert_accepted, assert_violation};

const MALFORMED: &str = "malformed-history";

#[test]
fn histories_that_make_sense() {
    assert_accepted("");
    assert_accepted("crash\n crash\n opened latest=0 -> none");
    assert_accepted(
        r#"begin t1 c0 write
           put t1 "k" #1*8
           aborted t1
           begin t2 c0 write
           put t2 "k" #2*8
           submit t2 sync
           aborted t2
           begin t3 c1 read
           begin t4 c1 read
           submit t4 sync
           committed t4"#,
    );
}

#[test]
fn a_label_is_used_once() {
    assert_violation("begin t1 c0 read\n aborted t1\n begin t1 c0 read", Timeline, MALFORMED, 2);
    assert_violation("begin t1 c0 read\n crash\n opened -> none\n begin t1 c0 read", Timeline, MALFORMED, 3);
}

#[test]
fn events_belong_to_open_transactions() {
    assert_violation(r#"get t1 "k" -> none"#, Timeline, MALFORMED, 0);
    assert_violation("begin t1 c0 read\n aborted t1\n get t1 \"k\" -> none", Timeline, MALFORMED, 2);
    assert_violation("begin t1 c0 read\n crash\n opened -> none\n aborted t1", Timeline, MALFORMED, 3);
    assert_violation("begin t1 c0 read\n opened -> none\n aborted t1", Timeline, MALFORMED, 2);
    assert_violation("begin t1 c0 write\n committed t1", Timeline, MALFORMED, 1);
    assert_violation("begin t1 c0 write\n submit t1 sync\n submit t1 sync", Timeline, MALFORMED, 2);
    assert_violation("begin t1 c0 write\n submit t1 sync\n put t1 \"k\" #1*8", Timeline, MALFORMED, 2);
    assert_violation("begin t1 c0 read\n delete t1 \"k\"", Timeline, MALFORMED, 1);
}

#[test]
fn a_store_that_is_not_open_does_nothing() {
    assert_violation("closed\n begin t1 c0 read", Timeline, MALFORMED, 1);
    assert_violation("closed\n durable", Timeline, MALFORMED, 1);
    assert_violation("closed\n closed", Timeline, MALFORMED, 1);
    assert_violation("begin t1 c0 read\n closed\n aborted t1", Timeline, MALFORMED, 2);
    assert_accepted("begin t1 c0 read\n closed\n crash\n opened -> none\n closed\n opened -> none");
    assert_violation("crash\n begin t1 c0 read", Timeline, MALFORMED, 1);
    assert_violation("crash process\n begin t1 c0 read", Timeline, MALFORMED, 1);
    assert_violation("opening\n begin t1 c0 read", Timeline, MALFORMED, 1);
    assert_accepted("closed\n opening\n crash\n opening\n opening\n opened -> none");
    assert_violation("crash\n refused c0 write write-busy", Timeline, MALFORMED, 1);
    assert_violation("crash\n durable", Timeline, MALFORMED, 1);
}

#[test]
fn lies_are_told_before_they_are_made_good() {
    assert_accepted("fault lie \"\"\n fault lie \"\"\n crash\n opened -> none\n made-good");
    assert_violation("made-good", Timeline, MALFORMED, 0);
    assert_violation("fault lie \"\"\n made-good\n made-good", Timeline, MALFORMED, 2);
    assert_violation("fault lie groups=1 \"\"", Timeline, MALFORMED, 0);
    assert_violation("fault lie passing \"\"", Timeline, MALFORMED, 0);
    assert_violation("fault damage failed=look \"\"", Timeline, MALFORMED, 0);
}

#[test]
fn a_value_is_written_once() {
    assert_violation("begin t1 c0 write\n put t1 \"a\" #1*8\n put t1 \"b\" #1*8", Timeline, MALFORMED, 2);
    assert_violation("opened -> \"a\"=#1*8\n begin t1 c0 write\n put t1 \"b\" #1*8", Timeline, MALFORMED, 2);
}

#[test]
fn txn_ids_are_revealed_always_or_never() {
    let commit = |label: u32, id: &str| {
        format!(
            "begin t{label} c0 write\n delete t{label} \"k\"\n submit t{label} sync\n committed t{label}{id}\n"
        )
    };
    assert_violation(&(commit(1, " id=1") + &commit(2, "")), Timeline, MALFORMED, 7);
    assert_violation(&(commit(1, "") + &commit(2, " id=2")), Timeline, MALFORMED, 7);
    assert_violation(&(commit(1, " id=1") + "crash\n opened -> none"), Timeline, MALFORMED, 5);
    assert_accepted(&(commit(1, "") + "crash\n opened latest=1 -> none"));
}

#[test]
fn a_malformed_history_is_never_judged() {
    assert_violation("failed \"get\" \"oops\"\n aborted t1", Timeline, MALFORMED, 1);
}
