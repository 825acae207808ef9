//! Single operations on a small database that is all in the cache, with their distribution:
//! `cargo bench -p proofmark-engine --bench micro`. What a large one does is in `life`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing better to do than to say so")]

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
