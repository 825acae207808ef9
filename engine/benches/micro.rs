//! Single operations on a small database that is all in the cache, with their distribution:
//! `cargo bench -p proofmark-engine --bench micro`. What a large one does is in `life`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing better to do than to say so")]

use std::cell::Cell;
use std::ops::Bound;

use divan::{Bencher, black_box};
use proofmark_engine::{Database, Durability, Options};

/// Pairs in the database; a power of two, so that drawing one is cheap.
const KEYS: u64 = 1 << 16;

fn main() {
    divan::main();
}

/// A database of [`KEYS`] pairs of 8 + 8 bytes, all of them in the base tree.
struct Small {
    _directory: tempfile::TempDir,
    database: Database,
}

impl Small {
    fn new() -> Small {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path().join("db"), &Options::new()).unwrap();
        let mut write = database.begin_write().unwrap();
        for number in 0..KEYS {
            write.put(&key(number), &number.to_le_bytes()).unwrap();
        }
        write.commit().unwrap();
        database.checkpoint().unwrap();
        Small { _directory: directory, database }
    }
}

/// A database of as many pairs of 8 + 8 bytes with two versions each, all of them in the write tier.
struct Recent {
    _directory: tempfile::TempDir,
    database: Database,
}

impl Recent {
    fn new() -> Recent {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new().write_tier_bytes(1 << 30);
        let database = Database::open(directory.path().join("db"), &options).unwrap();
        for round in 0..2 {
            for first in (0..KEYS).step_by(64) {
                let mut write = database.begin_write().unwrap();
                for number in first..first + 64 {
                    write.put(&key(number), &(number + round).to_le_bytes()).unwrap();
                }
                write.commit_with(Durability::Buffered).unwrap();
            }
        }
        Recent { _directory: directory, database }
    }
}

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(1) };
}

/// A number as of [`draws`], for any thread.
fn draw() -> u64 {
    let state = STATE.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    STATE.set(state);
    state >> 32
}

fn key(number: u64) -> [u8; 8] {
    (number % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// Numbers without an order that could be guessed, from a fixed start.
fn draws() -> impl FnMut() -> u64 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    }
}

#[divan::bench]
fn snapshot(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    bencher.bench_local(|| small.database.begin_read().unwrap());
}

#[divan::bench(sample_size = 1000)]
fn get(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    let read = small.database.begin_read().unwrap();
    let mut draw = draws();
    bencher.bench_local(|| black_box(read.get(&key(draw())).unwrap()));
}

#[divan::bench(sample_size = 1000)]
fn get_of_an_absent_key(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    let read = small.database.begin_read().unwrap();
    let mut draw = draws();
    bencher.bench_local(|| black_box(read.get(&draw().to_le_bytes()).unwrap()));
}

#[divan::bench(sample_size = 1000)]
fn seek_and_ten_pairs(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    let read = small.database.begin_read().unwrap();
    let mut draw = draws();
    bencher.bench_local(|| {
        let from = key(draw());
        let scan = read.range((Bound::Included(&from[..]), Bound::Unbounded)).unwrap();
        scan.take(10).map(|pair| pair.unwrap().1.len()).sum::<usize>()
    });
}

#[divan::bench(sample_size = 1000)]
fn buffered_commit(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    let mut draw = draws();
    bencher.bench_local(|| {
        let mut write = small.database.begin_write().unwrap();
        write.put(&key(draw()), b"changed!").unwrap();
        write.commit_with(Durability::Buffered).unwrap()
    });
}

#[divan::bench]
fn durable_commit(bencher: Bencher<'_, '_>) {
    let small = Small::new();
    let mut draw = draws();
    bencher.bench_local(|| {
        let mut write = small.database.begin_write().unwrap();
        write.put(&key(draw()), b"changed!").unwrap();
        write.commit().unwrap()
    });
}

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn write_tier_get(bencher: Bencher<'_, '_>) {
    let recent = Recent::new();
    let read = recent.database.begin_read().unwrap();
    bencher.bench(|| black_box(read.get(&key(draw())).unwrap()));
}

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn write_tier_seek_and_ten_pairs(bencher: Bencher<'_, '_>) {
    let recent = Recent::new();
    let read = recent.database.begin_read().unwrap();
    bencher.bench(|| {
        let from = key(draw());
        let scan = read.range((Bound::Included(&from[..]), Bound::Unbounded)).unwrap();
        scan.take(10).map(|pair| u64::from(pair.unwrap().1[0])).sum::<u64>()
    });
}

#[divan::bench(sample_size = 1, sample_count = 20)]
fn write_tier_full_scan(bencher: Bencher<'_, '_>) {
    let recent = Recent::new();
    let read = recent.database.begin_read().unwrap();
    bencher.bench_local(|| {
        let scan = read.range((Bound::Unbounded, Bound::Unbounded)).unwrap();
        scan.map(|pair| u64::from(pair.unwrap().1[0])).sum::<u64>()
    });
}

#[divan::bench(sample_size = 1, sample_count = 20)]
fn write_tier_full_scan_in_reverse(bencher: Bencher<'_, '_>) {
    let recent = Recent::new();
    let read = recent.database.begin_read().unwrap();
    bencher.bench_local(|| {
        let scan = read.range_reverse((Bound::Unbounded, Bound::Unbounded)).unwrap();
        scan.map(|pair| u64::from(pair.unwrap().1[0])).sum::<u64>()
    });
}

/// One transaction of ascending keys, from the first change to the commit, into an empty write tier and into a full one.
#[divan::bench(sample_size = 1, sample_count = 20, args = [0, KEYS])]
fn write_tier_install_in_order(bencher: Bencher<'_, '_>, before: u64) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new().write_tier_bytes(1 << 30);
    let database = Database::open(directory.path().join("db"), &options).unwrap();
    let mut from = 0;
    let mut fill = |count: u64| {
        let mut write = database.begin_write().unwrap();
        for number in from..from + count {
            write.put(&number.to_be_bytes(), &number.to_le_bytes()).unwrap();
        }
        write.commit_with(Durability::Buffered).unwrap();
        from += count;
    };
    fill(before);
    bencher.bench_local(|| fill(KEYS));
}
