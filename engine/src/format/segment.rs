//! The header of a log segment.

use super::{Damage, FORMAT_VERSION, HeaderError, checksum, get_u32, get_u64, put};
use crate::ids::{SegmentId, TxnId};

/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER: usize = 64;

const MAGIC: u64 = u64::from_le_bytes(*b"PrfmWLog");
const SEED: u64 = 0x7365_676d;

/// What a segment says about itself. It is durable before the first record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: SegmentId,
    /// The transaction that the first record will hold.
    pub(crate) first: TxnId,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        put(&mut bytes, 0, MAGIC.to_le_bytes());
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, self.segment.0.to_le_bytes());
        put(&mut bytes, 24, self.first.0.to_le_bytes());
        let sum = checksum(&bytes[..56], SEED);
        put(&mut bytes, 56, sum.to_le_bytes());
        bytes
    }

    /// The header's checksum: the link of the first record.
    pub(crate) fn link(self) -> u64 {
        get_u64(&self.encode(), 56)
    }

    pub(crate) fn decode(bytes: &[u8], segment: SegmentId) -> Result<SegmentHeader, HeaderError> {
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
        let header =
            SegmentHeader { segment: SegmentId(get_u64(bytes, 16)), first: TxnId(get_u64(bytes, 24)) };
        if header.segment != segment {
            return Err(damaged("the segment bears another segment's number"));
        }
        Ok(header)
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
        let header = SegmentHeader { segment: SegmentId(7), first: TxnId(90) };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, SegmentId(7)), Ok(header));
        assert!(SegmentHeader::decode(&bytes, SegmentId(8)).is_err());
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged, SegmentId(7)).is_err(), "bit {bit}");
        }
    }
}
