//! The header of a log segment.

use super::{Damage, FORMAT_VERSION, HeaderError, RECORD_HEADER, checksum, get_u32, get_u64, put};
use crate::ids::{DatabaseId, SegmentId, TxnId};

/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// What is durable before the first record is written: the header, and zeros where the first record's header goes.
pub(crate) const SEGMENT_START: usize = SEGMENT_HEADER + RECORD_HEADER;

const MAGIC: u64 = u64::from_le_bytes(*b"PrfmWLog");
const SEED: u64 = 0x7365_676d;

/// What a segment says about itself. It is durable before the first record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) database: DatabaseId,
    pub(crate) segment: SegmentId,
    /// The transaction that the first record will hold.
    pub(crate) first: TxnId,
    /// The link of the last record before this segment.
    pub(crate) previous: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        put(&mut bytes, 0, MAGIC.to_le_bytes());
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, self.segment.0.to_le_bytes());
        put(&mut bytes, 24, self.first.0.to_le_bytes());
        put(&mut bytes, 32, self.previous.to_le_bytes());
        put(&mut bytes, 40, self.database.0.to_le_bytes());
        let sum = checksum(&bytes[..56], SEED);
        put(&mut bytes, 56, sum.to_le_bytes());
        bytes
    }

    /// The header's checksum: the link of the first record.
    pub(crate) fn link(self) -> u64 {
        get_u64(&self.encode(), 56)
    }

    /// Reads the header that a segment's bytes start with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
        if bytes.len() < SEGMENT_HEADER {
            return Err(damaged("the segment is shorter than its header"));
        }
        if get_u64(bytes, 0) != MAGIC {
            return Err(damaged("the segment doesn't start with the magic number"));
        }
        if get_u64(bytes, 56) != checksum(&bytes[..56], SEED) {
            return Err(damaged("the segment header's checksum doesn't match"));
        }
        let version = get_u32(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        Ok(SegmentHeader {
            segment: SegmentId(get_u64(bytes, 16)),
            first: TxnId(get_u64(bytes, 24)),
            previous: get_u64(bytes, 32),
            database: DatabaseId(get_u64(bytes, 40)),
        })
    }
}

fn damaged(reason: &'static str) -> HeaderError {
    HeaderError::Damaged(Damage(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_every_changed_bit_is_damage() {
        let header = SegmentHeader {
            database: DatabaseId(0xdb),
            segment: SegmentId(7),
            first: TxnId(90),
            previous: 0xfeed,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..SEGMENT_HEADER {
            assert!(SegmentHeader::decode(&bytes[..length]).is_err());
        }
    }
}
