//! Keys and values: the same in every run, in no order, and not to be compressed.

/// The bytes of a key.
const KEY_BYTES: usize = 24;
/// The bytes of a value.
const VALUE_BYTES: usize = 150;

/// A number that looks random and is given to no other index (splitmix64).
pub(crate) fn mix(index: u64) -> u64 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The key with this index.
pub(crate) fn key(index: u64) -> Vec<u8> {
    bytes(mix(index), KEY_BYTES)
}

/// The value that belongs to it.
pub(crate) fn value(index: u64) -> Vec<u8> {
    bytes(!mix(index), VALUE_BYTES)
}

/// A pair of 8 bytes each.
pub(crate) fn small_pair(index: u64) -> (Vec<u8>, Vec<u8>) {
    (bytes(mix(index), 8), bytes(index, 8))
}

/// Bytes that start with `first`, and are different for each.
fn bytes(first: u64, count: usize) -> Vec<u8> {
    let words = (0..).map(|word| if word == 0 { first } else { mix(first ^ word) });
    let mut bytes: Vec<u8> = words.take(count.div_ceil(8)).flat_map(u64::to_be_bytes).collect();
    bytes.truncate(count);
    bytes
}
