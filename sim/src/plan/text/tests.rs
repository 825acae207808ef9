//! Plans that print as they were written, and errors that say where they are.

use super::*;
use crate::plan::Scheduler;
use crate::workload::generate;

fn assert_error(text: &str, line: usize, column: usize, message: &str) {
    let error = text.parse::<Plan>().unwrap_err();
    assert_eq!((error.line, error.column), (line, column), "{error}");
    assert!(error.message.contains(message), "{error}");
}

#[test]
fn generated_plans_round_trip() {
    for seed in 0..100 {
        let plan = generate(seed, StoreKind::Redb);
        let text = plan.to_string();
        let parsed: Plan = text.parse().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(parsed == plan, "seed {seed} does not round-trip");
        assert_eq!(parsed.to_string(), text);
    }
}

const EXAMPLE: &str = r#"proofmark plan 1
seed 42
store redb
page-size 8192
cache-bytes 65536
segment-bytes 4096
spare-segments 0
log-chunk-bytes 512
stream-bytes 1000
write-tier-bytes 16384
retention txns:8
prune yes
two-phase-commit yes
quick-repair yes
profile ext4-ordered
granule 512
directories file-sync
dirty-bytes-max 1048576
sabotage ignore-sync nth=3
sabotage lost-write file=log-* every=2

c0 begin write
c0 put "k01" #17*64
c1 begin read back=3
c1 get "k01"
c1 scan ["a" .. +inf) limit=10 reverse
c1 abort
c0 delete "k\x00"
c0 commit sync
c1 begin read back=-1
checkpoint
verify
reopen
crash call=13 before keep=random:500:77, call=4 after keep=none
c2 begin optimistic
c2 savepoint s1
c2 delete-range ["a" .. +inf)
c2 rollback s1
c2 submit
c2 wait
c2 begin write
c2 mark m1
c2 mark m2 persistent
c2 tend
c2 restore m1
c2 forget m2
c2 panic
abandon
changes
changes limit=3
changes back=-2 limit=3
compact
backup
space 8192
space free
fault io-error on=write error=ENOSPC nth=1
fault sync-lost nth=2 count=3
fault sync-late rate=20:7
heal
crash call=13 during keep=page-cache
crash call=13 after keep=chosen:0..3+7[0..2+9], call=1 before keep=chosen:
"#;

#[test]
fn a_plan_prints_as_it_was_written() {
    let plan: Plan = EXAMPLE.parse().unwrap();
    assert_eq!(plan.to_string(), EXAMPLE);
    assert_eq!(plan.steps.len(), 40);
    assert_eq!(plan.sabotage.len(), 2);
}

#[test]
fn schedules_print_as_they_were_written() {
    let with_schedule = |schedule: &str| format!("proofmark plan 1\nschedule {schedule}\n");
    let schedules = [
        "threads recorded",
        "threads seed=7 scheduler=random",
        "threads seed=0 scheduler=pct:3 forced-yields=20",
        "threads seed=0 scheduler=pct:1000",
        "threads seed=18446744073709551615 scheduler=urw",
        "threads seed=1 scheduler=round-robin forced-yields=1000",
    ];
    for schedule in schedules {
        let plan: Plan = with_schedule(schedule).parse().unwrap();
        assert_eq!(plan.schedule.to_string(), schedule);
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    }
    let plan: Plan = with_schedule("sequential").parse().unwrap();
    assert_eq!(plan, Plan::new(StoreKind::default()), "the plan's own order is the default");
    let steps = "verify\nswitch point=1 to=c7\nc0 begin read\nswitch point=4294967295 to=upkeep\n";
    let plan: Plan = format!("proofmark plan 1\n{steps}").parse().unwrap();
    assert!(plan.to_string().ends_with(steps), "{plan}");
    for scheduler in Scheduler::ALL {
        assert_eq!(scheduler.to_string().parse(), Ok(scheduler));
    }
    assert_error(&with_schedule("alone"), 2, 10, "threads");
    assert_error(&with_schedule("threads"), 2, 17, "seed=");
    assert_error(&with_schedule("threads seed=1 scheduler=pct"), 2, 35, "pct:DEPTH");
    for depth in ["0", "1001", "4000000000", "5000000000", "x", ""] {
        assert_error(
            &with_schedule(&format!("threads seed=1 scheduler=pct:{depth}")),
            2,
            35,
            "from 1 to 1000",
        );
    }
    assert_error(&with_schedule("threads seed=1 scheduler=urw forced-yields=1001"), 2, 53, "1000");
    assert_error("proofmark plan 1\nverify\nswitch point=0 to=c1", 3, 14, "from 1");
    assert_error("proofmark plan 1\nverify\nswitch point=1 to=d1", 3, 19, "upkeep");
}

#[test]
fn comments_and_defaults() {
    let plan: Plan = "# why\n\nproofmark plan 1\n  # indented\ncheckpoint\n".parse().unwrap();
    let expected = Plan { steps: vec![Step::Checkpoint], ..Plan::new(StoreKind::default()) };
    assert_eq!(plan, expected);
}

#[test]
fn errors_say_where() {
    assert_error("", 1, 1, "proofmark");
    assert_error("proofmark history 1", 1, 11, "plan");
    assert_error("proofmark plan 2\n", 1, 16, "version 1");
    let with_header = |text: &str| format!("proofmark plan 1\n{text}");
    assert_error(&with_header("c0 commit slowly"), 2, 11, "slowly");
    assert_error(&with_header("# fine\nc0 put \"k\" 17"), 3, 12, "value");
    assert_error(&with_header("verify now"), 2, 8, "end of the line");
    assert_error(&with_header("granules 8"), 2, 1, "neither a setting nor a step");
    assert_error(&with_header("granule x"), 2, 9, "x");
    assert_error(&with_header("store mysql"), 2, 7, "engine, redb");
    assert_error(&with_header("retention forever"), 2, 11, "txns:N");
    assert_error(&with_header("seed 1\nseed 2"), 3, 1, "set before");
    assert_error(&with_header("verify\nseed 2"), 3, 1, "before the steps");
    assert_error(&with_header("c0 begin read back=x"), 2, 20, "distance");
    assert_error(&with_header("crash"), 2, 6, "call=");
    assert_error(&with_header("fail sync 2"), 2, 1, "neither a setting nor a step");
    assert_error(&with_header("fault burn nth=1"), 2, 7, "no fault `burn`");
    assert_error(&with_header("fault sync-lost nth=0"), 2, 21, "from 1");
    assert_error(&with_header("fault sync-lost nth=1 now"), 2, 23, "end of the line");
    assert_error(&with_header("sabotage ignore-sync:3"), 2, 10, "no fault `ignore-sync:3`");
    assert_error(&with_header("space some"), 2, 7, "number");
    assert_error(&with_header("changes back=x"), 2, 14, "distance");
    assert_error(&with_header("crash call=0 before keep=all"), 2, 12, "from 1");
    assert_error(&with_header("crash call=1 amid keep=all"), 2, 14, "before");
    assert_error(&with_header("crash call=1 before keep=some"), 2, 26, "some");
    assert_error(&with_header("crash call=1 before keep=all, call=2"), 2, 37, "before");
    assert_error(&with_header("crash call=1 before keep=chosen:3+2"), 2, 26, "chosen:3+2");
    assert_error(&with_header("profile ext5"), 2, 9, "ext5");
    for knob in ["order any", "sizes data-first", "granule 8", "directories file-sync"] {
        assert_error(&with_header(&format!("{knob}\nprofile strict")), 3, 1, "before those that differ");
    }
    assert_error(&with_header("order none"), 2, 7, "none");
    assert_error(&with_header("sizes last"), 2, 7, "last");
    assert_error(&with_header("c0 verify"), 2, 4, "verify");
    assert_error(&with_header("c0 put \"k\" #1*8\nc0 put \"k\" #1*8"), 3, 15, "line 2");
}

#[test]
fn what_an_error_quotes_is_short_and_printable() {
    let with_header = |text: &str| format!("proofmark plan 1\n{text}");
    let error =
        with_header(&format!("\u{1b}[31m\u{202e}{}", "x".repeat(10_000))).parse::<Plan>().unwrap_err();
    assert!(error.message.contains("\\u{1b}[31m\\u{202e}xxx"), "{error}");
    assert!(error.message.chars().count() < 400 && error.message.ends_with("..."), "{error}");
}

#[test]
fn the_impossible_is_refused_where_it_stands() {
    let with_header = |text: &str| format!("proofmark plan 1\n{text}");
    assert_error(&with_header("page-size 5"), 2, 11, "power of two from 4096 to 65536");
    assert_error(&with_header("page-size 131072"), 2, 11, "65536");
    assert_error(&with_header("segment-bytes 0"), 2, 15, "4096 to ");
    assert_error(&with_header("segment-bytes 2199023255552"), 2, 15, " to 1099511627776 bytes");
    assert_error(&with_header("cache-bytes 1099511627776"), 2, 13, "at most 274877906944 bytes");
    assert_error(&with_header("log-chunk-bytes 63"), 2, 17, "64 to 1073741824");
    assert_error(&with_header("c0 put \"k\"*1025 #1*8"), 2, 8, "at most 1024 bytes");
    assert_error(&with_header("page-size 65536\nc0 delete \"k\"*4097"), 3, 11, "at most 4096 bytes");
    assert_error(&with_header("c0 put \"k\" #1*16777217"), 2, 15, "at most 16777216 bytes");
    let possible = "segment-bytes 4096\nc0 put \"k\"*1024 #1*16777216\nc0 get \"k\"*1025";
    assert_eq!(with_header(possible).parse::<Plan>().unwrap().steps.len(), 2);
}

#[test]
fn what_a_plan_holds_is_limited() {
    let puts = |count: u64| (1..=count).map(|id| format!("c0 put \"\" #{id}*16777216\n")).collect::<String>();
    let with_header = |text: &str| format!("proofmark plan 1\n{text}");
    assert_error(&with_header(&format!("{}c0 delete \"k\"", puts(16))), 18, 11, "at most 268435456 bytes");
    let gets = "c0 get \"k\"*60000000\n".repeat(5);
    assert_error(&with_header(&gets), 6, 8, "at most 268435456 bytes");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(format!("\u{feff}{EXAMPLE}").parse::<Plan>().unwrap().to_string(), EXAMPLE);
    assert_error("\u{feff}proofmark plan 2", 1, 16, "version 1");
    assert_error("\u{feff}\u{feff}proofmark plan 1", 1, 1, "proofmark");
}

#[test]
fn tasks_print_as_they_were_written() {
    let with_schedule = |schedule: &str| format!("proofmark plan 1\nschedule tasks {schedule}\n");
    for schedule in [
        "seed=7 think=20ms",
        "seed=0 think=1us checkpoint-every=1s",
        "seed=1 think=1500ms checkpoint-every=15ms group-window=1ns",
        "seed=18446744073709551615 think=3600s group-window=1001us",
    ] {
        let plan: Plan = with_schedule(schedule).parse().unwrap();
        assert_eq!(plan.schedule.to_string(), format!("tasks {schedule}"));
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    }
    assert_error(&with_schedule("think=1s"), 2, 16, "seed=");
    assert_error(&with_schedule("seed=1 think=1"), 2, 29, "like 20ms");
    assert_error(&with_schedule("seed=1 think=1h"), 2, 29, "like 20ms");
    assert_error(&with_schedule("seed=1 think=0s"), 2, 29, "longer than nothing");
    assert_error(&with_schedule("seed=1 think=3601s"), 2, 29, "an hour");
    assert_error(&with_schedule("seed=1 think=99999999999999999999s"), 2, 29, "like 20ms");
    assert_error(&with_schedule("seed=1 think=1s checkpoint-every=9ms"), 2, 49, "100 checkpoints");
    assert_error(&with_schedule("seed=1 think=1us checkpoint-every=999us"), 2, 50, "at least 1ms");
    let windowed = "seed=1 think=1us checkpoint-every=1s group-window=101s";
    assert_error(&with_schedule(windowed), 2, 66, "100 checkpoints");
}
