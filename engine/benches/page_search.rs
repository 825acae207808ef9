//! Search among the heads of a page, three ways: `cargo bench -p proofmark-engine --bench page_search`.
//!
//! *counting* is what the tree does, *binary* the textbook's loop, *partition_point* the standard library's. Pages of
//! 64, 96 and 256 heads: one page, which stays in the nearest cache, and 64 MiB of pages, each of which has to come
//! from memory. A figure is the time of one search. The address of a search depends on what the one before it found, so
//! that searches don't overlap.

use divan::{Bencher, black_box};
use proofmark_engine::bwtree::search::{lower_bound, lower_bound_scalar};

fn main() {
    divan::main();
}

const SEARCHES: usize = 1000;
const LENGTHS: [usize; 3] = [64, 96, 256];

#[derive(Debug, Clone, Copy)]
enum Pages {
    One,
    FarMoreThanCaches,
}

fn search(
    bencher: Bencher<'_, '_>,
    pages: Pages,
    length: usize,
    search: impl Fn(&[u64], u64) -> usize + Sync,
) {
    let count = match pages {
        Pages::One => 1,
        Pages::FarMoreThanCaches => (64 << 20) / 8 / length,
    };
    let step = u64::MAX / length as u64;
    let heads: Vec<u64> = (0..count * length).map(|index| (index % length) as u64 * step).collect();
    let mut state = 1_u64;
    bencher.counter(divan::counter::ItemsCount::new(SEARCHES)).bench_local(|| {
        for _ in 0..SEARCHES {
            let head = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let page = (head >> 7) as usize % count * length;
            let found = search(black_box(&heads[page..page + length]), head);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(found as u64 | 1);
        }
    });
}

#[divan::bench(args = LENGTHS)]
fn cached_counting(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::One, length, lower_bound);
}

#[divan::bench(args = LENGTHS)]
fn cached_binary(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::One, length, lower_bound_scalar);
}

#[divan::bench(args = LENGTHS)]
fn cached_partition_point(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::One, length, |heads, head| heads.partition_point(|&other| other < head));
}

#[divan::bench(args = LENGTHS)]
fn memory_counting(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::FarMoreThanCaches, length, lower_bound);
}

#[divan::bench(args = LENGTHS)]
fn memory_binary(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::FarMoreThanCaches, length, lower_bound_scalar);
}

#[divan::bench(args = LENGTHS)]
fn memory_partition_point(bencher: Bencher<'_, '_>, length: usize) {
    search(bencher, Pages::FarMoreThanCaches, length, |heads, head| {
        heads.partition_point(|&other| other < head)
    });
}
