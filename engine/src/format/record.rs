//! Log records: one per transaction, chained.
//!
//! A record is a header and the transaction's mutations. The header holds the checksum of the mutations, so that it
//! says all there is to say about the record, and a header can't be completed by another transaction's mutations. Each
//! of the two checksums is seeded with the segment and the offset at which the record belongs, so that nothing left
//! over from another segment, or moved within this one, can be read as a record. Each header repeats the checksum of
//! the header before it: a record is only ever read after the very record it was written after. That is what keeps an
//! abandoned tail from coming back.

use super::{Damage, checksum, get_u16, get_u32, get_u64, put};
use crate::ids::{SegmentId, TxnId};

/// The longest key, in bytes, whatever the page size.
pub(crate) const MAX_KEY_BYTES: usize = 4096;
/// The longest value, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 16 << 20;
/// Bytes before a record's mutations.
pub(crate) const RECORD_HEADER: usize = 56;
/// Records start at multiples of this many bytes.
const RECORD_ALIGNMENT: usize = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"PRec");
const OPERATION_PUT: u8 = 1;
const OPERATION_DELETE: u8 = 2;

/// Lays out one record.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    bytes: Vec<u8>,
    operation_count: u32,
}

impl RecordWriter {
    /// Starts a record in `buffer`, whose contents are of no interest.
    pub(crate) fn new(mut buffer: Vec<u8>) -> RecordWriter {
        buffer.clear();
        buffer.resize(RECORD_HEADER, 0);
        RecordWriter { bytes: buffer, operation_count: 0 }
    }

    /// Adds a mutation; no value removes the key.
    pub(crate) fn mutation(&mut self, key: &[u8], value: Option<&[u8]>) {
        assert!(key.len() <= MAX_KEY_BYTES);
        let key_bytes = u16::try_from(key.len()).expect("keys are at most 4096 bytes");
        self.bytes.push(if value.is_some() { OPERATION_PUT } else { OPERATION_DELETE });
        self.bytes.extend_from_slice(&key_bytes.to_le_bytes());
        self.bytes.extend_from_slice(key);
        if let Some(value) = value {
            assert!(value.len() <= MAX_VALUE_BYTES);
            let value_bytes = u32::try_from(value.len()).expect("values are at most 16 MiB");
            self.bytes.extend_from_slice(&value_bytes.to_le_bytes());
            self.bytes.extend_from_slice(value);
        }
        self.operation_count += 1;
    }

    /// The bytes the record will take.
    pub(crate) fn size(&self) -> u64 {
        self.bytes.len().next_multiple_of(RECORD_ALIGNMENT) as u64
    }

    /// Seals the record for its place, and returns its bytes (padded to the alignment) and its link.
    pub(crate) fn finish(
        mut self,
        txn: TxnId,
        durable_through: TxnId,
        segment: SegmentId,
        offset: u64,
        previous: u64,
    ) -> (Vec<u8>, u64) {
        let (header, payload) = self.bytes.split_at_mut(RECORD_HEADER);
        let seed = place(segment, offset);
        put(header, 0, MAGIC.to_le_bytes());
        put(header, 4, self.operation_count.to_le_bytes());
        put(header, 8, (payload.len() as u64).to_le_bytes());
        put(header, 16, txn.0.to_le_bytes());
        put(header, 24, durable_through.0.to_le_bytes());
        put(header, 32, previous.to_le_bytes());
        put(header, 40, checksum(payload, seed).to_le_bytes());
        let link = checksum(&header[..48], seed);
        put(header, 48, link.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(RECORD_ALIGNMENT), 0);
        (self.bytes, link)
    }
}

/// What is found where a record should be.
#[derive(Debug)]
pub(crate) enum Parsed<'a> {
    Record {
        txn: TxnId,
        mutations: Mutations<'a>,
        /// Where the next record starts.
        end: usize,
        link: u64,
    },
    /// Nothing, up to the end of the file.
    End,
    /// Bytes that are no whole record.
    Broken(Damage),
}

/// Reads the record at `offset` of a segment whose bytes are `bytes`. `previous` is the link of the record before.
pub(crate) fn parse_record(bytes: &[u8], offset: usize, segment: SegmentId, previous: u64) -> Parsed<'_> {
    assert!(offset <= bytes.len());
    if bytes[offset..].iter().all(|byte| *byte == 0) {
        return Parsed::End;
    }
    match parse_whole(bytes, offset, segment, previous) {
        Ok(record) => record,
        Err(damage) => Parsed::Broken(damage),
    }
}

/// Whether any record header after `offset` says that `txn` was durable when it was written. If one does, a broken
/// record of `txn` is damage; if none does, it may be a write that the power loss cut short.
pub(crate) fn durable_header_after(bytes: &[u8], offset: usize, segment: SegmentId, txn: TxnId) -> bool {
    (offset.next_multiple_of(RECORD_ALIGNMENT)..bytes.len())
        .step_by(RECORD_ALIGNMENT)
        .any(|at| header_at(bytes, at, segment).is_ok_and(|header| get_u64(header, 24) >= txn.0))
}

/// Whether any whole record header lies in a segment.
pub(crate) fn holds_record(bytes: &[u8], segment: SegmentId) -> bool {
    durable_header_after(bytes, 0, segment, TxnId(0))
}

/// A record's mutations, in the order in which they were made.
#[derive(Debug, Clone)]
pub(crate) struct Mutations<'a> {
    payload: &'a [u8],
}

impl<'a> Iterator for Mutations<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.payload.is_empty() {
            return None;
        }
        let item = self.parse().ok_or(Damage("a record's mutations are malformed"));
        if item.is_err() {
            self.payload = &[];
        }
        Some(item)
    }
}

impl<'a> Mutations<'a> {
    fn parse(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let (kind, rest) = self.payload.split_first()?;
        let (key_bytes, rest) = rest.split_at_checked(2)?;
        let key_bytes = usize::from(get_u16(key_bytes, 0));
        let (key, rest) = rest.split_at_checked(key_bytes)?;
        if key_bytes > MAX_KEY_BYTES {
            return None;
        }
        if *kind == OPERATION_DELETE {
            self.payload = rest;
            return Some((key, None));
        }
        let (value_bytes, rest) = rest.split_at_checked(4)?;
        let value_bytes = get_u32(value_bytes, 0) as usize;
        let (value, rest) = rest.split_at_checked(value_bytes)?;
        if *kind != OPERATION_PUT || value_bytes > MAX_VALUE_BYTES {
            return None;
        }
        self.payload = rest;
        Some((key, Some(value)))
    }
}

fn place(segment: SegmentId, offset: u64) -> u64 {
    segment.0.rotate_left(32) ^ offset
}

fn header_at(bytes: &[u8], at: usize, segment: SegmentId) -> Result<&[u8], Damage> {
    let header = bytes.get(at..at + RECORD_HEADER).ok_or(Damage("a record's header is cut off"))?;
    if get_u32(header, 0) != MAGIC {
        return Err(Damage("a record doesn't start with the magic number"));
    }
    if get_u64(header, 48) != checksum(&header[..48], place(segment, at as u64)) {
        return Err(Damage("a record header's checksum doesn't match"));
    }
    Ok(header)
}

fn parse_whole(bytes: &[u8], offset: usize, segment: SegmentId, previous: u64) -> Result<Parsed<'_>, Damage> {
    let header = header_at(bytes, offset, segment)?;
    if get_u64(header, 32) != previous {
        return Err(Damage("a record doesn't follow the record before it"));
    }
    let payload_bytes =
        usize::try_from(get_u64(header, 8)).map_err(|_| Damage("a record is larger than memory"))?;
    let start = offset + RECORD_HEADER;
    let payload = bytes[start..].get(..payload_bytes).ok_or(Damage("a record is cut off"))?;
    if get_u64(header, 40) != checksum(payload, place(segment, offset as u64)) {
        return Err(Damage("the checksum of a record's mutations doesn't match"));
    }
    let mutations = Mutations { payload };
    let mut operation_count = 0;
    for mutation in mutations.clone() {
        mutation?;
        operation_count += 1;
    }
    if operation_count != get_u32(header, 4) {
        return Err(Damage("a record holds more or fewer mutations than it says"));
    }
    Ok(Parsed::Record {
        txn: TxnId(get_u64(header, 16)),
        mutations,
        end: (start + payload_bytes).next_multiple_of(RECORD_ALIGNMENT).min(bytes.len()),
        link: get_u64(header, 48),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentId = SegmentId(4);

    fn append(bytes: &mut Vec<u8>, txn: u64, durable_through: u64, previous: u64) -> u64 {
        let mut writer = RecordWriter::new(vec![]);
        writer.mutation(format!("key{txn}").as_bytes(), Some(b"value"));
        writer.mutation(b"gone", None);
        let offset = bytes.len() as u64;
        let (record, link) = writer.finish(TxnId(txn), TxnId(durable_through), SEGMENT, offset, previous);
        bytes.extend_from_slice(&record);
        link
    }

    fn is_record(parsed: &Parsed<'_>, expected: u64) -> bool {
        matches!(parsed, Parsed::Record { txn, .. } if txn.0 == expected)
    }

    #[test]
    fn records_chain() {
        let mut bytes = vec![];
        let first = append(&mut bytes, 1, 0, 99);
        let second_at = bytes.len();
        append(&mut bytes, 2, 1, first);
        let Parsed::Record { end, link, mutations, .. } = parse_record(&bytes, 0, SEGMENT, 99) else {
            panic!("the first record is whole");
        };
        assert_eq!((end, link), (second_at, first));
        let mutations: Result<Vec<_>, _> = mutations.collect();
        assert_eq!(mutations, Ok(vec![(b"key1".as_slice(), Some(b"value".as_slice())), (b"gone", None)]));
        assert!(is_record(&parse_record(&bytes, second_at, SEGMENT, first), 2));
        assert!(matches!(parse_record(&bytes, bytes.len(), SEGMENT, 0), Parsed::End));
        assert!(matches!(parse_record(&bytes, second_at, SEGMENT, 5), Parsed::Broken(_)), "another chain");
        assert!(matches!(parse_record(&bytes, second_at, SegmentId(5), first), Parsed::Broken(_)));
        assert!(
            matches!(parse_record(&bytes[8..], second_at - 8, SEGMENT, first), Parsed::Broken(_)),
            "moved"
        );
    }

    #[test]
    fn every_changed_bit_and_every_cut_breaks_the_record() {
        let mut bytes = vec![];
        append(&mut bytes, 1, 0, 99);
        let whole = RECORD_HEADER + (1 + 2 + 4 + 4 + 5) + (1 + 2 + 4);
        for bit in 0..whole * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(parse_record(&damaged, 0, SEGMENT, 99), Parsed::Broken(_)), "bit {bit}");
        }
        for length in 1..whole {
            assert!(matches!(parse_record(&bytes[..length], 0, SEGMENT, 99), Parsed::Broken(_)));
        }
    }

    #[test]
    fn a_later_record_tells_damage_from_a_torn_tail() {
        let mut bytes = vec![];
        let first = append(&mut bytes, 1, 0, 99);
        let second_at = bytes.len();
        let second = append(&mut bytes, 2, 0, first);
        assert!(!durable_header_after(&bytes, 8, SEGMENT, TxnId(1)), "nothing says that 1 was durable");
        append(&mut bytes, 3, 2, second);
        assert!(durable_header_after(&bytes, 8, SEGMENT, TxnId(1)));
        assert!(durable_header_after(&bytes, second_at + 8, SEGMENT, TxnId(2)));
        assert!(!durable_header_after(&bytes, second_at + 8, SEGMENT, TxnId(3)));
    }
}
