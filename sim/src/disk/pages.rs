//! The bytes of a file: a size and a sparse, copy-on-write array of pages.
//!
//! Pages are grouped into chunks, and both are shared by reference: cloning a [`Contents`] costs one pointer per chunk
//! (64 KiB of file), and a write copies only the chunk's table and the page it changes, and only while somebody
//! shares them. A page that was never written is absent and reads as zeros.
//!
//! **Invariants.** Every byte at or beyond `extent` is zero. Outside of a crash that is being worked out `extent` is
//! at most the size, so that a file which grows again shows zeros and never what it once held there. During a crash
//! bytes may lie beyond the size ("in limbo") until a later size reaches them or [`Contents::cut`] discards them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes in a page.
pub(super) const PAGE_SIZE: usize = 4096;
const PAGE: u64 = PAGE_SIZE as u64;
const CHUNK_PAGES: u64 = 16;

type Chunk = [Option<Arc<Page>>; CHUNK_PAGES as usize];

static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
static HASH_OF_ZEROS: LazyLock<u64> = LazyLock::new(|| xxh3_64(&ZEROS));
static PAGE_OF_ZEROS: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new(Page::new(ZEROS)));

/// One page of bytes. It remembers its hash, because most pages of a crash image are those of the image before.
#[derive(Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE_SIZE],
    hash: OnceLock<u64>,
}

impl Page {
    fn new(bytes: [u8; PAGE_SIZE]) -> Self {
        Self { bytes, hash: OnceLock::new() }
    }

    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| xxh3_64(&self.bytes))
    }

    fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE] {
        self.hash.take();
        &mut self.bytes
    }
}

impl Clone for Page {
    /// Without the hash: a page is only cloned to be changed.
    fn clone(&self) -> Self {
        Self::new(self.bytes)
    }
}

/// Size and bytes of one file.
#[derive(Clone, Default)]
pub(super) struct Contents {
    size: u64,
    /// No byte at or beyond this offset is other than zero.
    extent: u64,
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

impl Contents {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `offset`; what was never written reads as zeros. The size plays no part.
    pub(super) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let within = (offset % PAGE) as usize;
            let count = buffer.len().min(PAGE_SIZE - within);
            let (head, tail) = buffer.split_at_mut(count);
            match self.page(offset / PAGE) {
                Some(page) => head.copy_from_slice(&page.bytes[within..within + count]),
                None => head.fill(0),
            }
            buffer = tail;
            offset += count as u64;
        }
    }

    /// Stores `bytes` at `offset`. The size stays as it is.
    pub(super) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        self.extent = self.extent.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let within = (offset % PAGE) as usize;
            let count = bytes.len().min(PAGE_SIZE - within);
            let (head, tail) = bytes.split_at(count);
            let slot = self.slot(offset / PAGE);
            let page = slot.get_or_insert_with(|| Arc::new(Page::new(ZEROS)));
            Arc::make_mut(page).bytes_mut()[within..within + count].copy_from_slice(head);
            bytes = tail;
            offset += count as u64;
        }
    }

    /// Stores whole pages, shared and not copied, from the page with index `first`. The size stays as it is.
    pub(super) fn write_pages(&mut self, first: u64, pages: &[Arc<Page>]) {
        self.extent = self.extent.max((first + pages.len() as u64) * PAGE);
        for (index, page) in (first..).zip(pages) {
            *self.slot(index) = Some(Arc::clone(page));
        }
    }

    /// Sets the size and discards every byte beyond it.
    pub(super) fn set_size(&mut self, size: u64) {
        self.size = size;
        if self.extent > size {
            self.discard_from(size);
            self.extent = size;
        }
    }

    /// Makes a range zeros. The size stays as it is.
    pub(super) fn clear(&mut self, range: Range<u64>) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / PAGE + 1) * PAGE);
            if self.page(start / PAGE).is_some() {
                self.write(start, &ZEROS[..(end - start) as usize]);
            }
            start = end;
        }
    }

    /// Discards the bytes in limbo, beyond the size.
    pub(super) fn cut(&mut self) {
        self.set_size(self.size);
    }

    /// Has a page wherever `other` has one, within the size: zeros where there was none.
    pub(super) fn allocate_like(&mut self, other: &Contents) {
        let pages = self.size.div_ceil(PAGE);
        for (chunk_index, chunk) in &other.chunks {
            for (index, page) in (chunk_index * CHUNK_PAGES..).zip(chunk.iter()) {
                if page.is_some() && index < pages && self.page(index).is_none() {
                    *self.slot(index) = Some(Arc::clone(&PAGE_OF_ZEROS));
                }
            }
        }
    }

    /// How many pages are there.
    pub(super) fn page_count(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.iter().flatten().count() as u64).sum()
    }

    /// Whether there is a page with this index.
    pub(super) fn has_page(&self, index: u64) -> bool {
        self.page(index).is_some()
    }

    /// Hash of the size and of every byte within it; equal contents hash equally, however they came about.
    pub(super) fn hash(&self, seed: u64) -> u64 {
        let mut hash = xxh3_64_with_seed(&self.size.to_le_bytes(), seed);
        for (chunk_index, chunk) in &self.chunks {
            for (index, page) in (chunk_index * CHUNK_PAGES..).zip(chunk.iter()) {
                if let Some(page) = page.as_ref().filter(|page| page.hash() != *HASH_OF_ZEROS) {
                    let words = [index, page.hash()].map(u64::to_le_bytes);
                    hash = xxh3_64_with_seed(words.as_flattened(), hash);
                }
            }
        }
        hash
    }

    fn page(&self, index: u64) -> Option<&Page> {
        self.chunks.get(&(index / CHUNK_PAGES))?[(index % CHUNK_PAGES) as usize].as_deref()
    }

    fn slot(&mut self, index: u64) -> &mut Option<Arc<Page>> {
        let chunk = self.chunks.entry(index / CHUNK_PAGES).or_insert_with(|| Arc::new([const { None }; _]));
        &mut Arc::make_mut(chunk)[(index % CHUNK_PAGES) as usize]
    }

    fn discard_from(&mut self, offset: u64) {
        let first_whole = offset.div_ceil(PAGE);
        let boundary_chunk = first_whole / CHUNK_PAGES;
        let mut beyond = self.chunks.split_off(&boundary_chunk);
        if let Some(mut chunk) = beyond.remove(&boundary_chunk) {
            Arc::make_mut(&mut chunk)[(first_whole % CHUNK_PAGES) as usize..].fill(None);
            self.chunks.insert(boundary_chunk, chunk);
        }
        let within = (offset % PAGE) as usize;
        if within > 0 && self.page(offset / PAGE).is_some() {
            self.write(offset, &ZEROS[within..]);
        }
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages: usize = self.chunks.values().map(|chunk| chunk.iter().flatten().count()).sum();
        write!(formatter, "Contents {{ size: {}, pages: {pages} }}", self.size)
    }
}

/// The bytes of one write, kept until they are durable.
///
/// A write of whole pages keeps the pages themselves, so that neither it nor its sync copies them a second time.
#[derive(Debug, Clone)]
pub(super) enum WrittenBytes {
    /// Any bytes.
    Plain(Arc<[u8]>),
    /// Whole pages, for an offset on a page boundary.
    Pages(Arc<[Arc<Page>]>),
}

impl WrittenBytes {
    pub(super) fn new(offset: u64, bytes: &[u8]) -> Self {
        let (pages, rest) = bytes.as_chunks::<PAGE_SIZE>();
        if offset.is_multiple_of(PAGE) && rest.is_empty() {
            Self::Pages(pages.iter().map(|page| Arc::new(Page::new(*page))).collect())
        } else {
            Self::Plain(Arc::from(bytes))
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.len() as u64,
            Self::Pages(pages) => pages.len() as u64 * PAGE,
        }
    }

    /// Stores all of it at `offset`, which is the one it was made for.
    pub(super) fn apply(&self, contents: &mut Contents, offset: u64) {
        match self {
            Self::Plain(bytes) => contents.write(offset, bytes),
            Self::Pages(pages) => contents.write_pages(offset / PAGE, pages),
        }
    }

    /// Stores only the bytes that belong to `range` of the file.
    pub(super) fn apply_range(&self, contents: &mut Contents, offset: u64, range: &Range<u64>) {
        let mut store = |start: u64, bytes: &[u8]| {
            let from = range.start.max(start);
            let to = range.end.min(start + bytes.len() as u64);
            if from < to {
                contents.write(from, &bytes[(from - start) as usize..(to - start) as usize]);
            }
        };
        match self {
            Self::Plain(bytes) => store(offset, bytes),
            Self::Pages(pages) => {
                for (index, page) in (0..).zip(pages.iter()) {
                    store(offset + index * PAGE, &page.bytes);
                }
            }
        }
    }

    /// The bytes from `start`, counted from the first.
    pub(super) fn suffix(&self, start: u64) -> Self {
        let mut bytes = Vec::with_capacity((self.len() - start) as usize);
        match self {
            Self::Plain(all) => bytes.extend_from_slice(&all[start as usize..]),
            Self::Pages(pages) => {
                let skipped = (start / PAGE) as usize;
                pages[skipped..].iter().for_each(|page| bytes.extend_from_slice(&page.bytes));
                bytes.drain(..(start % PAGE) as usize);
            }
        }
        Self::Plain(Arc::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(contents: &Contents, range: Range<u64>) -> Vec<u8> {
        let mut buffer = vec![0xEE; (range.end - range.start) as usize];
        contents.read(range.start, &mut buffer);
        buffer
    }

    #[test]
    fn what_is_written_across_pages_and_chunks_reads_back() {
        let mut contents = Contents::default();
        let start = CHUNK_PAGES * PAGE - 5;
        let written: Vec<u8> = (0..9000).map(|index| (index % 251 + 1) as u8).collect();
        contents.write(start, &written);
        assert_eq!(bytes(&contents, start..start + 9000), written);
        assert_eq!(bytes(&contents, start - 3..start), [0, 0, 0]);
    }

    #[test]
    fn a_cut_discards_and_growth_shows_zeros() {
        let mut contents = Contents::default();
        contents.write(0, &[7; 3 * PAGE_SIZE]);
        contents.set_size(3 * PAGE);
        contents.set_size(PAGE + 10);
        contents.set_size(3 * PAGE);
        assert_eq!(bytes(&contents, PAGE..PAGE + 10), [7; 10]);
        assert_eq!(bytes(&contents, PAGE + 10..3 * PAGE), vec![0; 2 * PAGE_SIZE - 10]);
    }

    #[test]
    fn a_file_with_large_holes_holds_only_what_was_written() {
        let mut contents = Contents::default();
        contents.set_size(1 << 50);
        contents.write((1 << 49) + 1, b"far");
        assert_eq!(contents.chunks.len(), 1);
        assert_eq!(bytes(&contents, 1 << 49..(1 << 49) + 5), *b"\0far\0");
        contents.set_size(10);
        assert!(contents.chunks.is_empty());
    }

    #[test]
    fn a_clone_shares_pages_and_never_sees_later_writes() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 2 * PAGE_SIZE]);
        let snapshot = contents.clone();
        contents.write(0, b"x");
        assert_eq!(bytes(&snapshot, 0..1), [1]);
        assert!(std::ptr::eq(snapshot.page(1).unwrap(), contents.page(1).unwrap()));
    }

    #[test]
    fn equal_bytes_hash_equally_whatever_their_history() {
        let mut written = Contents::default();
        written.write(0, &[0; 2 * PAGE_SIZE]);
        written.set_size(2 * PAGE);
        let mut grown = Contents::default();
        grown.set_size(2 * PAGE);
        assert_eq!(written.hash(1), grown.hash(1));
        assert_ne!(written.hash(1), written.hash(2));
        grown.write(PAGE, b"x");
        assert_ne!(written.hash(1), grown.hash(1));
        grown.write(PAGE, b"\0");
        assert_eq!(written.hash(1), grown.hash(1));
    }

    #[test]
    fn a_range_or_a_suffix_of_written_bytes_is_exactly_that() {
        let source: Vec<u8> = (0..2 * PAGE_SIZE).map(|index| (index % 250 + 1) as u8).collect();
        for offset in [0, 100] {
            let written = WrittenBytes::new(offset, &source);
            assert_eq!(matches!(written, WrittenBytes::Pages(_)), offset == 0);
            let mut partly = Contents::default();
            let range = offset + 4000..offset + 5000;
            written.apply_range(&mut partly, offset, &range);
            assert_eq!(bytes(&partly, range.clone()), source[4000..5000]);
            assert_eq!(bytes(&partly, range.start - 10..range.start), [0; 10]);
            assert_eq!(bytes(&partly, range.end..range.end + 10), [0; 10]);
            assert!(matches!(written.suffix(4500), WrittenBytes::Plain(rest) if *rest == source[4500..]));
        }
    }
}
