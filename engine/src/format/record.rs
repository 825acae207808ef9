//! Log records: one per transaction, chained.
//!
//! A record is a header and the transaction's mutations. The header holds the checksum of the mutations, so that it
//! says all there is to say about the record, and a header can't be completed by another transaction's mutations. Each
//! of the two checksums is seeded with the database, the segment and the offset at which the record belongs, so that
//! nothing left over from another segment, or moved within this one, can be read as a record. Each header repeats the checksum of
//! the header before it: a record is only ever read after the very record it was written after. That is what keeps an
//! abandoned tail from coming back.

use super::{Damage, checksum, get_u16, get_u32, get_u64, put};
use crate::ids::{DatabaseId, SegmentId, TxnId};

/// The longest key, in bytes, whatever the page size.
pub(crate) const MAX_KEY_BYTES: usize = 4096;
/// The longest value, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 16 << 20;
/// Bytes before a record's mutations.
pub(crate) const RECORD_HEADER: usize = 56;
/// Records start at multiples of this many bytes.
pub(crate) const RECORD_ALIGNMENT: usize = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"PRec");
const OPERATION_PUT: u8 = 1;
const OPERATION_DELETE: u8 = 2;

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    pub(crate) database: DatabaseId,
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
}

impl RecordPlace {
    fn seed(self) -> u64 {
        self.database.0 ^ self.segment.0.rotate_left(32) ^ self.offset
    }
}

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
        place: RecordPlace,
        previous: u64,
    ) -> (Vec<u8>, u64) {
        let (header, payload) = self.bytes.split_at_mut(RECORD_HEADER);
        let seed = place.seed();
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

/// The header of a record, whole and in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    place: RecordPlace,
    pub(crate) operation_count: u32,
    pub(crate) payload_bytes: u64,
    pub(crate) txn: TxnId,
    /// The log was known to be durable up to here when the record was written.
    pub(crate) durable_through: TxnId,
    /// The link of the record before.
    pub(crate) previous: u64,
    payload_sum: u64,
    /// What the next record's header repeats.
    pub(crate) link: u64,
}

impl RecordHeader {
    /// Reads the header that `bytes` start with.
    pub(crate) fn decode(bytes: &[u8], place: RecordPlace) -> Result<RecordHeader, Damage> {
        let header = bytes.get(..RECORD_HEADER).ok_or(Damage("a record's header is cut off"))?;
        if !starts_header(header) {
            return Err(Damage("a record doesn't start with the magic number"));
        }
        if get_u64(header, 48) != checksum(&header[..48], place.seed()) {
            return Err(Damage("a record header's checksum doesn't match"));
        }
        Ok(RecordHeader {
            place,
            operation_count: get_u32(header, 4),
            payload_bytes: get_u64(header, 8),
            txn: TxnId(get_u64(header, 16)),
            durable_through: TxnId(get_u64(header, 24)),
            previous: get_u64(header, 32),
            payload_sum: get_u64(header, 40),
            link: get_u64(header, 48),
        })
    }

    /// The mutations that `payload` holds, all of them checked.
    pub(crate) fn mutations<'a>(&self, payload: &'a [u8]) -> Result<Mutations<'a>, Damage> {
        assert_eq!(payload.len() as u64, self.payload_bytes);
        if self.payload_sum != checksum(payload, self.place.seed()) {
            return Err(Damage("the checksum of a record's mutations doesn't match"));
        }
        let mutations = Mutations { payload };
        let mut operation_count = 0;
        for mutation in mutations.clone() {
            mutation?;
            operation_count += 1;
        }
        if operation_count != self.operation_count {
            return Err(Damage("a record holds more or fewer mutations than it says"));
        }
        Ok(mutations)
    }
}

/// Whether a record header may start here: a glance, for scans.
pub(crate) fn starts_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: RecordPlace = RecordPlace { database: DatabaseId(0xdb), segment: SegmentId(4), offset: 64 };

    fn record() -> Vec<u8> {
        let mut writer = RecordWriter::new(vec![7; 3]);
        writer.mutation(b"key", Some(b"value"));
        writer.mutation(b"gone", None);
        writer.finish(TxnId(9), TxnId(8), PLACE, 99).0
    }

    fn parse(bytes: &[u8], place: RecordPlace) -> Result<RecordHeader, Damage> {
        let header = RecordHeader::decode(bytes, place)?;
        let payload = bytes[RECORD_HEADER..].get(..header.payload_bytes as usize);
        header.mutations(payload.ok_or(Damage("cut off"))?).map(|_| header)
    }

    #[test]
    fn round_trips() {
        let bytes = record();
        let header = parse(&bytes, PLACE).unwrap();
        assert_eq!((header.txn, header.durable_through, header.previous), (TxnId(9), TxnId(8), 99));
        let payload = &bytes[RECORD_HEADER..][..header.payload_bytes as usize];
        let mutations: Result<Vec<_>, _> = header.mutations(payload).unwrap().collect();
        assert_eq!(mutations, Ok(vec![(b"key".as_slice(), Some(b"value".as_slice())), (b"gone", None)]));
    }

    #[test]
    fn a_record_counts_in_its_own_place_only() {
        let bytes = record();
        for place in [
            RecordPlace { offset: 72, ..PLACE },
            RecordPlace { segment: SegmentId(5), ..PLACE },
            RecordPlace { database: DatabaseId(0), ..PLACE },
        ] {
            assert!(parse(&bytes, place).is_err(), "{place:?}");
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_breaks_the_record() {
        let bytes = record();
        let whole = RECORD_HEADER + (1 + 2 + 3 + 4 + 5) + (1 + 2 + 4);
        for bit in 0..whole * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged, PLACE).is_err(), "bit {bit}");
        }
        for length in 0..whole {
            assert!(bytes[..length].len() < RECORD_HEADER || parse(&bytes[..length], PLACE).is_err());
            assert!(length >= RECORD_HEADER || RecordHeader::decode(&bytes[..length], PLACE).is_err());
        }
    }

    #[test]
    fn a_header_is_not_completed_by_other_mutations() {
        let mut writer = RecordWriter::new(vec![]);
        writer.mutation(b"key", Some(b"other"));
        writer.mutation(b"gone", None);
        let (other, _) = writer.finish(TxnId(9), TxnId(8), PLACE, 99);
        let mixed = [&record()[..RECORD_HEADER], &other[RECORD_HEADER..]].concat();
        assert_eq!(mixed.len(), other.len());
        assert!(RecordHeader::decode(&mixed, PLACE).is_ok() && parse(&mixed, PLACE).is_err());
    }
}
