//! A digest of a whole state, equal for equal states and computed alike by everyone.
//!
//! It is the 128-bit FNV-1a hash (Fowler, Noll, Vo) of every key and value in key order, each preceded by its length
//! as 8 little-endian bytes, so that no two different lists of pairs are the same bytes. It finds differences; it is
//! no defence against someone who wants two states to collide.

use std::fmt;

/// The digest of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

/// The digest of `pairs`, which come in key order.
pub fn digest_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Digest
where
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let mut hash = OFFSET_BASIS;
    for (key, value) in pairs {
        hash = fold_field(hash, key.as_ref());
        hash = fold_field(hash, value.as_ref());
    }
    Digest(hash)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn fold_field(hash: u128, field: &[u8]) -> u128 {
    fold(fold(hash, &(field.len() as u64).to_le_bytes()), field)
}

fn fold(hash: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv for the 128-bit variant.
        assert_eq!(fold(OFFSET_BASIS, b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fold(OFFSET_BASIS, b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fold(OFFSET_BASIS, b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn lengths_keep_neighbours_apart() {
        let none: [(&str, &str); 0] = [];
        let digests = [
            digest_pairs(none),
            digest_pairs([("", "")]),
            digest_pairs([("a", "b")]),
            digest_pairs([("ab", "")]),
            digest_pairs([("", "ab")]),
            digest_pairs([("a", "b"), ("", "")]),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "digest {index} is the same as an earlier one");
        }
    }

    #[test]
    fn it_prints_all_32_digits() {
        assert_eq!(Digest(0xab).to_string(), "000000000000000000000000000000ab");
    }
}
