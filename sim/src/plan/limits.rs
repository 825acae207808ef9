//! What a plan may ask for: what every store must be able to take, and what a run can hold in memory.
//!
//! A store that refuses more than this keeps its promises, so that a plan that asks for more proves nothing.

use std::fmt;
use std::ops::{Bound, RangeInclusive};

use proofmark_model::{KeyRange, Operation};

/// Pages are powers of two, from this size on.
const PAGE_SIZE_MIN: u32 = 4096;
/// Pages are no larger than this.
const PAGE_SIZE_MAX: u32 = 65536;
/// The sizes of a segment of the log.
const SEGMENT_BYTES: RangeInclusive<u64> = 4096..=1 << 40;
/// The largest cache.
const CACHE_BYTES_MAX: u64 = 256 << 30;
/// The sizes of a chunk of the log.
const LOG_CHUNK_BYTES: RangeInclusive<u64> = 64..=1 << 30;
/// The longest key, if a page is large enough for it.
const KEY_BYTES_MAX: usize = 4096;
/// So many of the longest keys fit a page.
const KEYS_PER_PAGE: usize = 4;
/// The longest value.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// What all keys and values of a plan come to, at most: a run holds each of them several times.
const PLAN_BYTES_MAX: usize = 256 << 20;
/// What all reads of a plan may return, at most, if each found what is largest, or all there is: a run holds that, too.
const READ_BYTES_MAX: usize = 4 << 30;

/// Something that no plan may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    PageSize,
    SegmentBytes,
    CacheBytes,
    LogChunkBytes,
    /// The key of a put or a delete, with the most that it may have.
    Key(usize),
    Value,
    /// All keys and values together.
    Plan,
    /// All that reads may return.
    Reads,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::PageSize => {
                write!(f, "a page size is a power of two from {PAGE_SIZE_MIN} to {PAGE_SIZE_MAX}")
            }
            Excess::SegmentBytes => {
                let (min, max) = (SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
                write!(f, "a segment has {min} to {max} bytes")
            }
            Excess::CacheBytes => write!(f, "a cache has at most {CACHE_BYTES_MAX} bytes"),
            Excess::LogChunkBytes => {
                let (min, max) = (LOG_CHUNK_BYTES.start(), LOG_CHUNK_BYTES.end());
                write!(f, "a chunk of the log has {min} to {max} bytes")
            }
            Excess::Key(max) => write!(f, "with this page size a key has at most {max} bytes"),
            Excess::Value => write!(f, "a value has at most {VALUE_BYTES_MAX} bytes"),
            Excess::Plan => {
                write!(f, "the keys and values of a plan come to at most {PLAN_BYTES_MAX} bytes")
            }
            Excess::Reads => {
                write!(f, "so many reads of so large values may return more than {READ_BYTES_MAX} bytes")
            }
        }
    }
}

pub(super) fn check_page_size(bytes: u32) -> Result<(), Excess> {
    let is_possible = bytes.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&bytes);
    if is_possible { Ok(()) } else { Err(Excess::PageSize) }
}

pub(super) fn check_segment_bytes(bytes: u64) -> Result<(), Excess> {
    if SEGMENT_BYTES.contains(&bytes) { Ok(()) } else { Err(Excess::SegmentBytes) }
}

pub(super) fn check_cache_bytes(bytes: usize) -> Result<(), Excess> {
    if bytes as u64 <= CACHE_BYTES_MAX { Ok(()) } else { Err(Excess::CacheBytes) }
}

pub(super) fn check_log_chunk_bytes(bytes: u64) -> Result<(), Excess> {
    if LOG_CHUNK_BYTES.contains(&bytes) { Ok(()) } else { Err(Excess::LogChunkBytes) }
}

/// Looks at what is to be stored. What is only asked for may be of any size.
pub(super) fn check_operation(operation: &Operation, page_size: u32) -> Result<(), Excess> {
    let key_bytes_max = KEY_BYTES_MAX.min(page_size as usize / KEYS_PER_PAGE);
    match operation {
        Operation::Put { key, .. } | Operation::Delete { key } if key.len() > key_bytes_max => {
            Err(Excess::Key(key_bytes_max))
        }
        Operation::Put { value, .. } if value.len() > VALUE_BYTES_MAX => Err(Excess::Value),
        _ => Ok(()),
    }
}

/// Counts the keys and values of one plan, and what its reads may return of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Budget {
    bytes_used: usize,
    bytes_written: usize,
    largest_value: usize,
    bytes_read: usize,
}

impl Budget {
    pub(super) fn take(&mut self, operation: &Operation) -> Result<(), Excess> {
        let bytes = bytes(operation);
        self.bytes_used = self.bytes_used.saturating_add(bytes);
        match operation {
            Operation::Put { value, .. } => {
                self.bytes_written += bytes;
                self.largest_value = self.largest_value.max(value.len());
            }
            Operation::Get { .. } => self.bytes_read = self.bytes_read.saturating_add(self.largest_value),
            Operation::Scan { .. } => self.bytes_read = self.bytes_read.saturating_add(self.bytes_written),
            _ => {}
        }
        if self.bytes_used > PLAN_BYTES_MAX {
            return Err(Excess::Plan);
        }
        if self.bytes_read > READ_BYTES_MAX { Err(Excess::Reads) } else { Ok(()) }
    }
}

fn bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Get { key } | Operation::Delete { key } => key.len(),
        Operation::Put { key, value } => key.len() + value.len(),
        Operation::Scan { range: KeyRange { start, end }, .. }
        | Operation::DeleteRange { range: KeyRange { start, end } } => bound_bytes(start) + bound_bytes(end),
        Operation::Savepoint { .. } | Operation::Rollback { .. } => 0,
    }
}

fn bound_bytes(bound: &Bound<Vec<u8>>) -> usize {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => key.len(),
        Bound::Unbounded => 0,
    }
}

#[cfg(test)]
mod tests {
    use proofmark_model::{Durability, unique_value};

    use super::*;
    use crate::disk::SimDisk;
    use crate::plan::Config;
    use crate::store::{StoreError, StoreKind};

    fn put(key_bytes: usize, value_bytes: usize) -> Operation {
        Operation::Put { key: vec![b'k'; key_bytes], value: unique_value(1, value_bytes) }
    }

    /// Carries out one operation on a store that was opened like this.
    fn carry_out(store: StoreKind, config: &Config, operation: &Operation) -> Result<(), StoreError> {
        let disk = SimDisk::default();
        let mut store = store.factory().open(disk.vfs(), config)?;
        let mut writer = store.begin_write()?;
        match operation {
            Operation::Put { key, value } => writer.put(key, value)?,
            _ => panic!("no such operation is tried"),
        }
        writer.commit(Durability::Sync)?;
        store.close()
    }

    #[test]
    fn every_store_takes_what_the_limits_allow() {
        for store in StoreKind::ALL {
            for page_size in [4096, 65536] {
                let config = Config { page_size, segment_bytes: *SEGMENT_BYTES.start(), ..Config::default() };
                let key_bytes_max = if page_size == 4096 { 1024 } else { 4096 };
                for operation in [put(key_bytes_max, 8), put(1, VALUE_BYTES_MAX)] {
                    assert_eq!(check_operation(&operation, page_size), Ok(()));
                    assert_eq!(carry_out(store, &config, &operation), Ok(()), "{store}, {page_size}");
                }
                assert_eq!(
                    check_operation(&put(key_bytes_max + 1, 8), page_size),
                    Err(Excess::Key(key_bytes_max))
                );
            }
        }
        assert_eq!(check_operation(&put(1, VALUE_BYTES_MAX + 1), 4096), Err(Excess::Value));
    }

    #[test]
    fn the_engine_refuses_what_the_limits_refuse() {
        let refuses =
            |config: Config, operation: &Operation| carry_out(StoreKind::Engine, &config, operation).is_err();
        for page_size in [0, 5, 2048, 4097, 12288, 131_072] {
            assert_eq!(check_page_size(page_size), Err(Excess::PageSize));
            assert!(refuses(Config { page_size, ..Config::default() }, &put(1, 8)), "{page_size}");
        }
        for cache_bytes in [CACHE_BYTES_MAX as usize + 1, usize::MAX] {
            assert_eq!(check_cache_bytes(cache_bytes), Err(Excess::CacheBytes));
        }
        for segment_bytes in [0, 4095, (1 << 40) + 1] {
            assert_eq!(check_segment_bytes(segment_bytes), Err(Excess::SegmentBytes));
            assert!(refuses(Config { segment_bytes, ..Config::default() }, &put(1, 8)), "{segment_bytes}");
        }
        for log_chunk_bytes in [63, (1 << 30) + 1] {
            assert_eq!(check_log_chunk_bytes(log_chunk_bytes), Err(Excess::LogChunkBytes));
            let config = Config { log_chunk_bytes, ..Config::default() };
            assert!(refuses(config, &put(1, 8)), "{log_chunk_bytes}");
        }
        for operation in [put(1025, 8), put(1, VALUE_BYTES_MAX + 1)] {
            assert!(refuses(Config::default(), &operation));
        }
    }

    #[test]
    fn a_budget_is_spent_by_all_operations() {
        let key = vec![0; PLAN_BYTES_MAX / 4];
        let range = KeyRange { start: Bound::Included(key.clone()), end: Bound::Excluded(key.clone()) };
        let mut budget = Budget::default();
        assert_eq!(budget.take(&Operation::Scan { range, limit: 1, reverse: false }), Ok(()));
        assert_eq!(budget.take(&Operation::Get { key: key.clone() }), Ok(()));
        assert_eq!(budget.take(&Operation::Delete { key }), Ok(()));
        assert_eq!(budget.take(&put(1, 8)), Err(Excess::Plan));
    }

    #[test]
    fn what_reads_may_return_is_bounded() {
        let mut budget = Budget::default();
        let get = Operation::Get { key: b"k".to_vec() };
        let scan = Operation::Scan { range: KeyRange::all(), limit: 1, reverse: false };
        budget.take(&put(1, VALUE_BYTES_MAX)).unwrap();
        budget.take(&put(1, VALUE_BYTES_MAX)).unwrap();
        let mut reads = 0;
        while budget.take(&get).is_ok() && budget.take(&scan).is_ok() {
            reads += 1;
        }
        assert_eq!(reads, READ_BYTES_MAX / (3 * VALUE_BYTES_MAX + 2));
        assert_eq!(budget.take(&scan), Err(Excess::Reads));
    }
}
