//! Where a pair lives: one of a handful of tables, by a hash of its key.
//!
//! The tables of a transaction are found by their names, since a transaction that goes back to a savepoint brings names
//! back, too. A name says which tables it stands for and how often it was renamed. There is no table for what holds
//! nothing: it is created by the first pair and may be deleted with the last. One of them is a multimap, in which a value
//! is cut into numbered pieces.

use std::iter;

use proofmark_model::{Key, KeyRange, Value};
use redb::{
    MultimapTableDefinition, MultimapTableHandle, ReadableMultimapTable, ReadableTable, TableDefinition,
    TableHandle,
};
use xxhash_rust::xxh3::xxh3_64;

use super::errors::from_redb;
use crate::store::StoreError;

/// How many tables there are at the most.
pub(super) const COUNT: usize = 4;
/// The one that is a multimap.
pub(super) const MULTIMAP: usize = COUNT - 1;
/// The most pieces of a value in the multimap: a number of one byte stands before each.
const PIECES_MAX: usize = 40;
/// The smallest piece, unless it is the last.
const PIECE_BYTES_MIN: usize = 64;

pub(super) type Bounds<'r> = (std::ops::Bound<&'r [u8]>, std::ops::Bound<&'r [u8]>);

/// Which tables there are, and how often each was renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub(super) generations: [Option<u64>; COUNT],
}

/// The table that holds a key.
pub(super) fn table_of(key: &[u8]) -> usize {
    usize::try_from(xxh3_64(key) % COUNT as u64).expect("it is smaller than a handful")
}

/// A table's name.
pub(super) fn name(table: usize, generation: u64) -> String {
    format!("{table}.{generation}")
}

/// The definition of a table that is not the multimap.
pub(super) fn plain(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// The definition of the multimap.
pub(super) fn multimap(name: &str) -> MultimapTableDefinition<'_, &'static [u8], &'static [u8]> {
    MultimapTableDefinition::new(name)
}

impl Layout {
    /// What these names say, which have to make sense together.
    pub(super) fn read(
        plain: impl Iterator<Item = impl TableHandle>,
        multimaps: impl Iterator<Item = impl MultimapTableHandle>,
    ) -> Result<Layout, StoreError> {
        let mut layout = Layout::default();
        for table in plain {
            layout.add(table.name(), false)?;
        }
        for table in multimaps {
            layout.add(table.name(), true)?;
        }
        Ok(layout)
    }

    fn add(&mut self, name: &str, is_multimap: bool) -> Result<(), StoreError> {
        let parts = name.split_once('.');
        let parsed = parts.and_then(|(table, generation)| {
            Some((table.parse::<usize>().ok()?, generation.parse::<u64>().ok()?))
        });
        match parsed {
            Some((table, generation))
                if table < COUNT
                    && (table == MULTIMAP) == is_multimap
                    && self.generations[table].is_none() =>
            {
                self.generations[table] = Some(generation);
                Ok(())
            }
            _ => Err(StoreError::Failed(format!("the table {name:?} should not be there"))),
        }
    }
}

/// The bounds of a range, as redb takes them.
pub(super) fn bounds(range: &KeyRange) -> Bounds<'_> {
    (range.start.as_ref().map(Vec::as_slice), range.end.as_ref().map(Vec::as_slice))
}

pub(super) fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Value>, StoreError> {
    let found = table.get(key).map_err(from_redb)?;
    Ok(found.map(|guard| guard.value().to_vec()))
}

/// The first pairs of a range, none of which is inverted.
pub(super) fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
    limit: usize,
    reverse: bool,
) -> Result<Vec<(Key, Value)>, StoreError> {
    let pairs = table.range::<&[u8]>(bounds(range)).map_err(from_redb)?;
    first(pairs, limit, reverse, |(key, value)| Ok((key.value().to_vec(), value.value().to_vec())))
}

pub(super) fn get_pieces(
    table: &impl ReadableMultimapTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Value>, StoreError> {
    join(table.get(key).map_err(from_redb)?)
}

/// The first pairs of a range, none of which is inverted.
pub(super) fn scan_pieces(
    table: &impl ReadableMultimapTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
    limit: usize,
    reverse: bool,
) -> Result<Vec<(Key, Value)>, StoreError> {
    let pairs = table.range::<&[u8]>(bounds(range)).map_err(from_redb)?;
    first(pairs, limit, reverse, |(key, pieces)| {
        let value = join(pieces)?.ok_or_else(|| StoreError::failed("a key of the multimap has no value"))?;
        Ok((key.value().to_vec(), value))
    })
}

/// The first pairs from either end, owned.
fn first<T>(
    mut pairs: impl DoubleEndedIterator<Item = Result<T, redb::StorageError>>,
    limit: usize,
    reverse: bool,
    own: impl Fn(T) -> Result<(Key, Value), StoreError>,
) -> Result<Vec<(Key, Value)>, StoreError> {
    let next = iter::from_fn(|| if reverse { pairs.next_back() } else { pairs.next() });
    next.take(limit).map(|pair| own(pair.map_err(from_redb)?)).collect()
}

/// A value, in pieces that start with their number.
pub(super) fn cut(value: &[u8]) -> Vec<Vec<u8>> {
    let piece_bytes = value.len().div_ceil(PIECES_MAX).max(PIECE_BYTES_MIN);
    let mut pieces: Vec<&[u8]> = value.chunks(piece_bytes).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    (0u8..).zip(pieces).map(|(number, piece)| [&[number], piece].concat()).collect()
}

fn join(pieces: redb::MultimapValue<'_, &'static [u8]>) -> Result<Option<Value>, StoreError> {
    let mut value: Option<Value> = None;
    for (number, piece) in (0u8..).zip(pieces) {
        let piece = piece.map_err(from_redb)?;
        match piece.value().split_first() {
            Some((found, rest)) if *found == number => value.get_or_insert_default().extend_from_slice(rest),
            _ => return Err(StoreError::Failed(format!("piece {number} of a value is missing"))),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pieces_hold_any_value() {
        for length in [0, 1, 64, 65, 2560, 2561, 1 << 20] {
            let value: Value = (0..length).map(|at: usize| at.to_le_bytes()[0]).collect();
            let pieces = cut(&value);
            assert!((1..=PIECES_MAX).contains(&pieces.len()), "{length}");
            assert!(pieces.is_sorted());
            assert_eq!(pieces.iter().flat_map(|piece| &piece[1..]).copied().collect::<Value>(), value);
        }
    }

    #[test]
    fn names_make_sense_together() {
        let read = |names: &[&str]| {
            let mut layout = Layout::default();
            names.iter().try_for_each(|name| layout.add(name, name.starts_with('3'))).map(|()| layout)
        };
        let layout = read(&["0.0", "2.17", "3.1"]).unwrap();
        assert_eq!(layout.generations, [Some(0), None, Some(17), Some(1)]);
        for names in [["0.0", "0.1"], ["4.0", "1.0"], ["1", "2.0"], ["1.x", "2.0"]] {
            assert!(read(&names).is_err(), "{names:?}");
        }
    }
}
