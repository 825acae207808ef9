//! Values that say who wrote them.
//!
//! Every value of a run is made from a number that is used once: the first 8 bytes are the number, the rest is filler
//! that follows from it. A read therefore names the write it saw, and a value that was put together from pieces of
//! two others belongs to neither and is recognised as foreign.

use crate::Value;

/// The fewest bytes of a unique value: those of its number.
pub const MIN_VALUE_LENGTH: usize = 8;

/// The most bytes of a unique value. It bounds what a parser allocates for a few characters of text.
pub const MAX_VALUE_LENGTH: usize = 64 << 20;

/// The value number `id`, `length` bytes long; at least [`MIN_VALUE_LENGTH`].
///
/// # Panics
/// If `length` exceeds [`MAX_VALUE_LENGTH`].
pub fn unique_value(id: u64, length: usize) -> Value {
    assert!(length <= MAX_VALUE_LENGTH, "a value of {length} bytes exceeds MAX_VALUE_LENGTH");
    let length = length.max(MIN_VALUE_LENGTH);
    let mut value = Vec::with_capacity(length + 7);
    value.extend_from_slice(&id.to_be_bytes());
    for index in 1.. {
        if value.len() >= length {
            break;
        }
        value.extend_from_slice(&filler(id, index).to_le_bytes());
    }
    value.truncate(length);
    value
}

/// The number and the length from which [`unique_value`] makes exactly `bytes`, if it does.
pub fn recognize(bytes: &[u8]) -> Option<(u64, usize)> {
    if bytes.len() > MAX_VALUE_LENGTH {
        return None;
    }
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let id = u64::from_be_bytes(*number);
    let genuine = rest
        .chunks(8)
        .zip(1..)
        .all(|(chunk, index)| filler(id, index).to_le_bytes()[..chunk.len()] == *chunk);
    genuine.then_some((id, bytes.len()))
}

/// The filler of the 8 bytes at `8 * index`: the output mix of SplitMix64 (Steele, Lea, Flood 2014).
fn filler(id: u64, index: u64) -> u64 {
    let mut mixed =
        id.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_length_and_is_recognised() {
        for length in [8, 9, 15, 16, 17, 64, 4096] {
            let value = unique_value(17, length);
            assert_eq!(value.len(), length);
            assert_eq!(recognize(&value), Some((17, length)));
        }
        assert_eq!(unique_value(17, 0), 17u64.to_be_bytes(), "shorter lengths are raised");
    }

    #[test]
    fn a_swapped_piece_a_flipped_bit_and_a_short_value_are_foreign() {
        let (one, two) = (unique_value(1, 64), unique_value(2, 64));
        let mut torn = one.clone();
        torn[32..].copy_from_slice(&two[32..]);
        assert_eq!(recognize(&torn), None);

        let mut shifted = one.clone();
        shifted[16..24].copy_from_slice(&one[24..32]);
        assert_eq!(recognize(&shifted), None, "the same value's filler at another place is foreign too");

        let mut flipped = one;
        flipped[63] ^= 1;
        assert_eq!(recognize(&flipped), None);
        assert_eq!(recognize(b"seven b"), None);
    }
}
