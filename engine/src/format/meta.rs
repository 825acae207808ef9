//! The meta page: where everything else begins. There are two, in pages 0 and 1, written alternately.

use super::{Damage, FORMAT_VERSION, HeaderError, checksum, get_u32, get_u64, put};
use crate::ids::{DatabaseId, Generation, PageId, SegmentId, TxnId};

/// The bytes of a meta page that carry information; the rest of the page is zero.
pub(crate) const META_BYTES: usize = 128;

const MAGIC: u64 = u64::from_le_bytes(*b"PrfmData");
const SEED: u64 = 0x6d65_7461;

/// A pointer to a page, with the checksum the page must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageReference {
    pub(crate) page: PageId,
    pub(crate) checksum: u64,
}

/// What a pointer to a subtree says of it, so that whole subtrees can be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subtree {
    pub(crate) page: PageReference,
    /// The latest transaction in it.
    pub(crate) newest: TxnId,
    /// The lowest horizon at which something in it can be dropped; [`NO_GARBAGE`] if nothing ever can.
    pub(crate) oldest_garbage: TxnId,
}

/// No horizon is this high.
pub(crate) const NO_GARBAGE: TxnId = TxnId(u64::MAX);

/// One state of the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) database: DatabaseId,
    pub(crate) page_size: u32,
    /// The checkpoint that wrote this. Even generations live in page 0, odd ones in page 1.
    pub(crate) generation: Generation,
    /// Pages of the file that are accounted for, the two meta pages included.
    pub(crate) page_count: u64,
    /// The root of the base tree; none if it is empty.
    pub(crate) root: Option<Subtree>,
    /// The first page of the free list; none if nothing is free.
    pub(crate) free_list: Option<PageReference>,
    /// The log goes on here: the base tree holds all that earlier segments say.
    pub(crate) log_start: SegmentId,
    /// The latest transaction in the base tree.
    pub(crate) checkpoint: TxnId,
    /// The oldest snapshot that can be read.
    pub(crate) oldest: TxnId,
}

impl Meta {
    pub(crate) fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        put(&mut bytes, 0, MAGIC.to_le_bytes());
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, self.page_size.to_le_bytes());
        put(&mut bytes, 16, self.generation.0.to_le_bytes());
        put(&mut bytes, 24, self.page_count.to_le_bytes());
        put_reference(&mut bytes, 32, self.root.map(|root| root.page));
        put_reference(&mut bytes, 48, self.free_list);
        put(&mut bytes, 64, self.log_start.0.to_le_bytes());
        put(&mut bytes, 72, self.checkpoint.0.to_le_bytes());
        put(&mut bytes, 80, self.oldest.0.to_le_bytes());
        put(&mut bytes, 88, self.database.0.to_le_bytes());
        if let Some(root) = self.root {
            put(&mut bytes, 96, root.newest.0.to_le_bytes());
            put(&mut bytes, 104, root.oldest_garbage.0.to_le_bytes());
        }
        let sum = checksum(&bytes[..120], SEED);
        put(&mut bytes, 120, sum.to_le_bytes());
        bytes
    }

    /// Decodes the meta page that lies at `offset` of the data file.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Result<Meta, HeaderError> {
        if bytes.len() < META_BYTES {
            return Err(damaged("the meta page is cut off"));
        }
        if get_u64(bytes, 0) != MAGIC {
            return Err(damaged("the meta page doesn't start with the magic number"));
        }
        // Every version keeps its checksum here, so that a damaged version number isn't taken for a newer format.
        if get_u64(bytes, 120) != checksum(&bytes[..120], SEED) {
            return Err(damaged("the meta page's checksum doesn't match"));
        }
        let version = get_u32(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let meta = Meta {
            page_size: get_u32(bytes, 12),
            generation: Generation(get_u64(bytes, 16)),
            page_count: get_u64(bytes, 24),
            root: get_reference(bytes, 32).map(|page| Subtree {
                page,
                newest: TxnId(get_u64(bytes, 96)),
                oldest_garbage: TxnId(get_u64(bytes, 104)),
            }),
            free_list: get_reference(bytes, 48),
            log_start: SegmentId(get_u64(bytes, 64)),
            checkpoint: TxnId(get_u64(bytes, 72)),
            oldest: TxnId(get_u64(bytes, 80)),
            database: DatabaseId(get_u64(bytes, 88)),
        };
        meta.check(offset)?;
        Ok(meta)
    }

    /// Where in the data file this meta page belongs, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        (self.generation.0 % 2) * u64::from(self.page_size)
    }

    fn check(&self, offset: u64) -> Result<(), HeaderError> {
        if !self.page_size.is_power_of_two() || !(4096..=65536).contains(&self.page_size) {
            return Err(damaged("the meta page names an impossible page size"));
        }
        if self.offset() != offset {
            return Err(damaged("the meta page lies in the other one's place"));
        }
        let outside = |reference: Option<PageReference>| {
            reference.is_some_and(|reference| !(2..self.page_count).contains(&reference.page.0))
        };
        if self.page_count < 2
            || self.page_count > u64::MAX / u64::from(self.page_size)
            || outside(self.root.map(|root| root.page))
            || outside(self.free_list)
        {
            return Err(damaged("the meta page points outside the file"));
        }
        if self.generation.0.max(self.checkpoint.0).max(self.log_start.0) >= u64::MAX / 2 {
            return Err(damaged("the meta page counts impossibly far"));
        }
        if self.root.is_some_and(|root| root.newest > self.checkpoint) {
            return Err(damaged("the tree is newer than the checkpoint that wrote it"));
        }
        if self.oldest > self.checkpoint {
            return Err(damaged("the meta page retains snapshots of the future only"));
        }
        Ok(())
    }
}

fn damaged(reason: &'static str) -> HeaderError {
    HeaderError::Damaged(Damage(reason))
}

fn put_reference(bytes: &mut [u8], at: usize, reference: Option<PageReference>) {
    if let Some(reference) = reference {
        put(bytes, at, reference.page.0.to_le_bytes());
        put(bytes, at + 8, reference.checksum.to_le_bytes());
    }
}

fn get_reference(bytes: &[u8], at: usize) -> Option<PageReference> {
    match get_u64(bytes, at) {
        0 => None,
        page => Some(PageReference { page: PageId(page), checksum: get_u64(bytes, at + 8) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Meta {
        Meta {
            database: DatabaseId(0x00da_7aba_5e1d),
            page_size: 4096,
            generation: Generation(7),
            page_count: 90,
            root: Some(Subtree {
                page: PageReference { page: PageId(12), checksum: 0xfeed },
                newest: TxnId(54),
                oldest_garbage: TxnId(52),
            }),
            free_list: None,
            log_start: SegmentId(3),
            checkpoint: TxnId(55),
            oldest: TxnId(50),
        }
    }

    #[test]
    fn round_trips() {
        let meta = sample();
        assert_eq!(Meta::decode(&meta.encode(), 4096), Ok(meta));
        let empty = Meta { root: None, generation: Generation(0), ..meta };
        assert_eq!(Meta::decode(&empty.encode(), 0), Ok(empty));
    }

    #[test]
    fn every_changed_bit_is_damage() {
        let bytes = sample().encode();
        for bit in 0..META_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Meta::decode(&damaged, 4096), Err(HeaderError::Damaged(_))), "bit {bit}");
        }
        assert!(Meta::decode(&bytes, 0).is_err(), "it belongs into the second place");
        assert!(Meta::decode(&bytes[..100], 4096).is_err());
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = sample().encode();
        put(&mut bytes, 8, 9u32.to_le_bytes());
        let sum = checksum(&bytes[..120], SEED);
        put(&mut bytes, 120, sum.to_le_bytes());
        assert_eq!(Meta::decode(&bytes, 4096), Err(HeaderError::Version(9)));
    }
}
