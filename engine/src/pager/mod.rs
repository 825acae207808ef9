//! Pages by id: checked when read, shared through a bounded cache.
//!
//! A page is only ever read through a [`PageReference`], which carries the checksum the page must have. A lost write, a
//! misdirected write or a page of an older generation is therefore found at the first read, although each of them is
//! whole. Pages are immutable once written: what changes is written to another page.
//!
//! The file grows by extents, ahead of what is written, so that its size changes seldom. How many of its pages count is
//! in the meta page, and nowhere else.
//!
//! The pager doesn't decide which pages are free; that is the [`Allocator`]'s work, and only a checkpoint allocates.

mod allocator;
mod cache;
mod meta_pages;

use std::path::PathBuf;

use proofmark_vfs::VfsFile;

use crate::error::{Error, Result};
use crate::format::{Damage, Extent, META_BYTES, Meta, Page, PageReference, checksum, page_seed};
use crate::ids::{DatabaseId, PageId};
use crate::sync::{Arc, Mutex};

pub(crate) use allocator::Allocator;
use cache::Cache;
pub(crate) use cache::CacheCounts;
pub(crate) use cache::PageGuard;
pub(crate) use meta_pages::{MetaPages, read_meta_pages};

/// The file grows by an eighth, but at least by so many pages ...
const GROWTH_PAGES_MIN: u64 = 16;
/// ... and at most by so many bytes.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// The data file.
#[derive(Debug)]
pub(crate) struct Pager {
    file: Box<dyn VfsFile>,
    path: PathBuf,
    database: DatabaseId,
    page_size: usize,
    cache: Cache,
    /// How many pages the file has room for, once it was measured.
    room: Mutex<Option<u64>>,
}

impl Pager {
    pub(crate) fn new(
        file: Box<dyn VfsFile>,
        path: PathBuf,
        database: DatabaseId,
        page_size: usize,
        cache_bytes: usize,
    ) -> Pager {
        Pager {
            file,
            path,
            database,
            page_size,
            cache: Cache::new(cache_bytes / page_size),
            room: Mutex::default(),
        }
    }

    pub(crate) fn database(&self) -> DatabaseId {
        self.database
    }

    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// What the cache was asked for.
    pub(crate) fn cache_counts(&self) -> CacheCounts {
        self.cache.counts()
    }

    /// The page that `reference` points to, to be looked at in passing: if it is in the cache, nothing is counted.
    pub(crate) fn peek(&self, reference: PageReference) -> Result<PageGuard> {
        if let Some(page) = self.cache.peek(reference) {
            return Ok(page);
        }
        let page = Arc::new(self.read_from_disk(reference)?);
        self.cache.insert(Arc::clone(&page));
        Ok(PageGuard::of(page))
    }

    /// The page that `reference` points to, from the cache if it is there.
    pub(crate) fn read(&self, reference: PageReference) -> Result<Arc<Page>> {
        if let Some(page) = self.cache.get(reference) {
            return Ok(page);
        }
        let page = Arc::new(self.read_from_disk(reference)?);
        self.cache.insert(Arc::clone(&page));
        Ok(page)
    }

    /// The page that `reference` points to, as it is on disk.
    pub(crate) fn read_from_disk(&self, reference: PageReference) -> Result<Page> {
        let mut bytes = vec![0; self.page_size].into_boxed_slice();
        self.read_bytes(&mut bytes, reference.page)?;
        let page = Page::decode(bytes, self.database, reference.page)
            .map_err(|damage| self.corruption(reference.page, damage))?;
        if page.reference() != reference {
            let damage = Damage("the page is whole, but not the one that was written here last");
            return Err(self.corruption(reference.page, damage));
        }
        Ok(page)
    }

    /// The bytes of a value that lies in pages of its own. They are not cached.
    pub(crate) fn read_extent(&self, extent: Extent) -> Result<Arc<[u8]>> {
        Ok(self.extent_bytes(extent)?.into())
    }

    /// Checks that a value which lies in pages of its own is whole.
    pub(crate) fn check_extent(&self, extent: Extent) -> Result<()> {
        self.extent_bytes(extent).map(drop)
    }

    fn extent_bytes(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut bytes = vec![0; extent.bytes as usize];
        self.read_bytes(&mut bytes, extent.start)?;
        if checksum(&bytes, page_seed(self.database, extent.start)) != extent.checksum {
            return Err(self.corruption(extent.start, Damage("a large value's checksum doesn't match")));
        }
        Ok(bytes)
    }

    pub(crate) fn write(&self, page: Page) -> Result<PageReference> {
        let reference = page.reference();
        self.write_bytes(page.bytes(), reference.page)?;
        self.cache.insert(Arc::new(page));
        Ok(reference)
    }

    /// Writes a value to pages of its own, and zeros to the end of the last of them: a page that counts has been written,
    /// so that the sync that lets it count makes it part of the file. The size of a file that was found is no proof of
    /// that: it may be known to the page cache only.
    pub(crate) fn write_extent(&self, start: PageId, bytes: &[u8]) -> Result<Extent> {
        self.write_bytes(bytes, start)?;
        let padding = vec![0; bytes.len().next_multiple_of(self.page_size) - bytes.len()];
        let end = start.0 * self.page_size as u64 + bytes.len() as u64;
        self.file.write_all_at(&padding, end).map_err(|source| Error::io("write", &self.path, source))?;
        let length = u32::try_from(bytes.len()).expect("values are at most 16 MiB");
        let checksum = checksum(bytes, page_seed(self.database, start));
        Ok(Extent { start, bytes: length, checksum })
    }

    pub(crate) fn write_meta(&self, meta: &Meta) -> Result<()> {
        let bytes: [u8; META_BYTES] = meta.encode();
        self.write_bytes(&bytes, PageId(meta.offset() / self.page_size as u64))
    }

    /// Gives the second meta page its place on the disk, so that no checkpoint fails for want of it at its last step.
    pub(crate) fn make_room_for_second_meta(&self) -> Result<()> {
        self.write_bytes(&[0; META_BYTES], PageId(1))
    }

    /// The meta pages as they are on disk.
    pub(crate) fn read_meta_pages(&self) -> Result<MetaPages> {
        read_meta_pages(&*self.file, &self.path)
    }

    /// The size of the file in bytes.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.file.size().map_err(|source| Error::io("measure", &self.path, source))
    }

    /// Gives the file the size of exactly `page_count` pages.
    pub(crate) fn fit(&self, page_count: u64) -> Result<()> {
        let mut room = self.room.lock();
        let size = page_count * self.page_size as u64;
        self.file.set_size(size).map_err(|source| Error::io("extend", &self.path, source))?;
        *room = Some(page_count);
        Ok(())
    }

    /// Extends the file, if need be, to hold at least `page_count` pages, so that every page of it can be read.
    pub(crate) fn reserve(&self, page_count: u64) -> Result<()> {
        let page_size = self.page_size as u64;
        let mut room = self.room.lock();
        let mut pages = match *room {
            Some(pages) => pages,
            None => self.file_bytes()? / page_size,
        };
        if pages < page_count {
            pages = grown(page_count, page_size);
            let size = pages * page_size;
            self.file.set_size(size).map_err(|source| Error::io("extend", &self.path, source))?;
        }
        *room = Some(pages);
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| Error::sync(&self.path, source))
    }

    pub(crate) fn corruption(&self, page: PageId, damage: Damage) -> Error {
        Error::corruption(&self.path, page.0.saturating_mul(self.page_size as u64), damage)
    }

    fn read_bytes(&self, buffer: &mut [u8], page: PageId) -> Result<()> {
        let offset = page.0.checked_mul(self.page_size as u64).filter(|offset| *offset <= i64::MAX as u64);
        let offset =
            offset.ok_or_else(|| self.corruption(page, Damage("a page number is impossibly large")))?;
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                self.corruption(page, Damage("the page lies beyond the end of the file"))
            }
            _ => Error::io("read", &self.path, source),
        })
    }

    fn write_bytes(&self, bytes: &[u8], page: PageId) -> Result<()> {
        self.reserve(page.0 + (bytes.len() as u64).div_ceil(self.page_size as u64))?;
        let offset = page.0 * self.page_size as u64;
        self.file.write_all_at(bytes, offset).map_err(|source| Error::io("write", &self.path, source))
    }
}

/// The size in pages that a file is given which has to hold `page_count`.
fn grown(page_count: u64, page_size: u64) -> u64 {
    let most = (GROWTH_BYTES_MAX / page_size).max(GROWTH_PAGES_MIN);
    page_count.next_multiple_of((page_count / 8).clamp(GROWTH_PAGES_MIN, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_grow_by_extents() {
        assert_eq!([1, 2, 16, 17, 128].map(|pages| grown(pages, 4096)), [16, 16, 16, 32, 128]);
        assert_eq!(grown(1000, 4096), 1000);
        assert_eq!(grown(1001, 4096), 1125);
        assert_eq!(grown(1_000_001, 4096), 1_003_520, "16 MiB are 4096 pages");
        assert_eq!(grown(1_000_001, 65536), 1_000_192);
        let mut size = 0;
        let mut growths = 0;
        for page_count in 1..100_000 {
            if size < page_count {
                size = grown(page_count, 4096);
                growths += 1;
            }
        }
        assert!(growths < 100, "{growths}");
    }
}
