//! Threads hammer a Bw-tree for as long as they are told to.
//!
//! Every operation of the tree is called at once by many threads, while pages are split and merged all the time and the root
//! grows and collapses, and every result is compared to what the thread can know. When the threads have ended, the tree has to
//! hold what they know, every value has to have been dropped once, and memory to be as it was before.
//!
//! ```sh
//! cargo test -p proofmark-engine --test hammer                                   # some seconds
//! PROOFMARK_HAMMER_SECONDS=60 cargo test -p proofmark-engine --test hammer       # a minute
//! cargo test -p proofmark-engine --test hammer -- tiny-arc                       # variants whose names hold a word
//! ```
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PROOFMARK_HAMMER_SECONDS` | how long threads hammer, in all variants together | 3 |
//! | `PROOFMARK_HAMMER_THREADS` | how many threads hammer at once, 1 to 200 | 8 |
//! | `PROOFMARK_HAMMER_SEED` | which operations they choose; which one comes first is up to the machine | 0 |
//! | `PROOFMARK_HAMMER_PATIENCE` | after how many seconds in one step a thread stands still | 30 |
//! | `PROOFMARK_HAMMER_ALLOCATOR` | `plain` leaves detecting misuse of memory to a sanitizer | |
//!
//! This is a process of its own, because its allocator counts every byte, and has no test harness, because that one
//! allocates on threads of its own whenever it likes: here one variant runs at a time, on threads that end with it, so that
//! every byte can be accounted for. The main thread only watches whether they get ahead.

mod allocator;
mod clearing;
mod deadline;
mod entries;
mod rounds;
mod scans;
mod stage;
mod watch;
mod worker;

use std::env;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proofmark_engine::bwtree::Limits;

use self::deadline::Deadline;
use self::entries::{Owned, Plain, Restless};
use self::rounds::Report;
use self::stage::{Course, Ownership};
use self::watch::Watch;

/// Pages so small that every operation meets changes of structure.
const TINY: Limits = Limits { leaf: 3, inner: 2, leaf_deltas: 2, inner_deltas: 2, table_bits: 1 };
const SMALL: Limits = Limits { leaf: 8, inner: 5, leaf_deltas: 4, inner_deltas: 3, table_bits: 4 };

const ROUND_MAX: Duration = Duration::from_secs(1);

/// Runs a course until a moment.
type Run = fn(Course, &Deadline) -> Report;

struct Variant {
    name: &'static str,
    limits: Limits,
    keys: u64,
    ownership: Ownership,
    run: Run,
}

fn variants() -> Vec<Variant> {
    use Ownership::{Interleaved, Ranges};
    let usual = Limits::default();
    let variant = |name, limits, keys, ownership, run| Variant { name, limits, keys, ownership, run };
    vec![
        variant("tiny-u64", TINY, 600, Interleaved, rounds::hammer::<u64, Owned>),
        variant("tiny-arc-ranges", TINY, 600, Ranges, rounds::hammer::<Arc<[u8]>, Owned>),
        variant("tiny-restless", TINY, 300, Interleaved, rounds::hammer::<Restless, Owned>),
        variant("small-vec", SMALL, 2000, Interleaved, rounds::hammer::<Vec<u8>, Owned>),
        variant("small-u64-plain", SMALL, 2000, Interleaved, rounds::hammer::<u64, Plain>),
        variant("usual-u64-ranges", usual, 40_000, Ranges, rounds::hammer::<u64, Owned>),
        variant("usual-arc", usual, 40_000, Interleaved, rounds::hammer::<Arc<[u8]>, Owned>),
        variant("clear-tiny-vec", TINY, 600, Interleaved, clearing::hammer::<Vec<u8>, Owned>),
        variant("clear-small-restless", SMALL, 600, Interleaved, clearing::hammer::<Restless, Owned>),
        variant("clear-usual-u64", usual, 4000, Interleaved, clearing::hammer::<u64, Owned>),
    ]
}

/// A variable of the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let name = format!("PROOFMARK_HAMMER_{name}");
    match env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} can't be `{text}`")),
        Err(_) => default,
    }
}

fn main() -> ExitCode {
    let seconds = Duration::from_secs_f64(setting("SECONDS", 3.0));
    let threads = setting("THREADS", 8_usize).clamp(1, 200);
    let patience = setting("PATIENCE", 30);
    if setting("ALLOCATOR", String::new()) != "plain" {
        allocator::keep_freed_memory();
    }
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_meant =
        |variant: &Variant| words.is_empty() || words.iter().any(|word| variant.name.contains(word));
    let variants: Vec<Variant> = variants().into_iter().filter(is_meant).collect();
    let each = seconds / variants.len().max(1) as u32;
    // What threads, panics and printing need once is there before anything is measured.
    let greeting = std::thread::scope(|scope| scope.spawn(|| println!("hammer: {threads} threads")).join());
    greeting.expect("printing works");
    for variant in &variants {
        let seed = setting("SEED", 0_u64);
        let Variant { name, limits, keys, ownership, run } = *variant;
        let course = Course { limits, keys, ownership, threads, seed };
        let before = allocator::live_bytes();
        allocator::take_peak_bytes();
        let again = || {
            eprintln!("hammer: {name} failed. The same choices again, if not the same course of events:");
            eprintln!("PROOFMARK_HAMMER_SEED={seed} cargo test -p proofmark-engine --test hammer -- {name}");
        };
        let stuck = |report: &str| {
            eprintln!("hammer: {name}: {report}");
            again();
        };
        let part = (each / 3).min(ROUND_MAX);
        let director = watch_over(patience, stuck, || run(course, &Deadline::after(each, part)));
        let Ok(report) = director else {
            again();
            return ExitCode::FAILURE;
        };
        let (peak, after) = (allocator::take_peak_bytes() - before, allocator::live_bytes());
        print(name, &report, peak, after as i64 - before as i64);
        assert_eq!(after, before, "what a variant took it has given back");
    }
    ExitCode::SUCCESS
}

/// Runs a variant on a thread of its own, and sees to it that it gets ahead. If it is stuck, says so and ends the process:
/// who goes round in circles can't be interrupted.
fn watch_over(
    patience: u32,
    stuck: impl Fn(&str),
    run: impl FnOnce() -> Report + Send,
) -> std::thread::Result<Report> {
    let is_watched = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let director = scope.spawn(|| {
            // Until then the main thread is still busy with having started this one.
            while !is_watched.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            run()
        });
        is_watched.store(true, Ordering::Release);
        let mut watch = Watch::new(patience);
        let mut looks = 0;
        while !director.is_finished() {
            std::thread::park_timeout(Duration::from_millis(10));
            looks += 1;
            if looks % 100 == 0
                && let Err(report) = watch.look()
            {
                stuck(&report);
                std::process::abort();
            }
        }
        director.join()
    })
}

fn print(name: &str, report: &Report, peak: usize, left: i64) {
    let Report { rounds, operations, clears, survey } = report;
    println!(
        "{name:>20}: {operations:>9} operations, {rounds} rounds, {clears} clears; {} to {} levels, at most {} pages, at \
         least {} splits and {} merges; {peak} bytes at the peak, {left} left",
        survey.levels_min, survey.levels_max, survey.pages_max, survey.pages_more, survey.pages_less
    );
}
