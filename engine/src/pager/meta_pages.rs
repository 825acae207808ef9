//! Finding the meta page that counts.

use std::io;
use std::path::Path;

use proofmark_vfs::VfsFile;

use crate::error::{Error, Result};
use crate::format::{FORMAT_VERSION, HeaderError, META_BYTES, Meta};

const SMALLEST_PAGE: u64 = 4096;
const LARGEST_PAGE: u64 = 65536;

/// The two meta pages of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaPages {
    /// The one that counts: the valid one of the later generation.
    pub(crate) newest: Meta,
    /// The other one, if it is valid.
    pub(crate) fallback: Option<Meta>,
}

impl MetaPages {
    /// Whether both describe the same state, as after a compaction and before the first checkpoint after it.
    pub(crate) fn are_of_a_compaction(&self) -> bool {
        let differs_in_generation =
            |older: Meta| Meta { generation: self.newest.generation, ..older } == self.newest;
        self.fallback.is_some_and(differs_in_generation)
    }
}

/// Reads both meta pages.
pub(crate) fn read_meta_pages(file: &dyn VfsFile, path: &Path) -> Result<MetaPages> {
    let first = read_at(file, path, 0)?;
    let second = match &first {
        Ok(meta) => read_at(file, path, u64::from(meta.page_size))?,
        Err(_) => find_second(file, path)?,
    };
    let decoded = match (first, second) {
        (Err(HeaderError::Version(found)), _) | (_, Err(HeaderError::Version(found))) => {
            Err(HeaderError::Version(found))
        }
        (Ok(a), Ok(b)) if a.generation > b.generation => Ok(MetaPages { newest: a, fallback: Some(b) }),
        (Ok(a), Ok(b)) => Ok(MetaPages { newest: b, fallback: Some(a) }),
        (Ok(newest), Err(_)) | (Err(_), Ok(newest)) => Ok(MetaPages { newest, fallback: None }),
        (Err(damage), Err(_)) => Err(damage),
    };
    decoded.map_err(|error| match error {
        HeaderError::Damaged(damage) => Error::corruption(path, 0, damage),
        HeaderError::Version(found) => {
            Error::UnsupportedFormat { path: path.to_owned(), found, supported: FORMAT_VERSION }
        }
    })
}

/// Looks for the second meta page where the first one, which would tell the page size, is damaged.
///
/// Up to the end of page 0 there are only zeros; what comes first after them is page 1. Nothing beyond is looked at:
/// there a value may lie, and a value may be anything, a meta page of another database included.
fn find_second(file: &dyn VfsFile, path: &Path) -> Result<Result<Meta, HeaderError>> {
    let mut offset = SMALLEST_PAGE;
    loop {
        let mut bytes = [0; META_BYTES];
        let is_there = read(file, path, offset, &mut bytes)?;
        if offset == LARGEST_PAGE || (is_there && bytes != [0; META_BYTES]) {
            return Ok(Meta::decode(&bytes, offset));
        }
        offset *= 2;
    }
}

/// A damaged page is read once more before it is believed: whoever falls back writes over what it leads to. One of zeros is
/// no exception: it may never have been written, or have been read from another place.
fn read_at(file: &dyn VfsFile, path: &Path, offset: u64) -> Result<Result<Meta, HeaderError>> {
    let read_once = || {
        let mut bytes = [0; META_BYTES];
        let is_there = read(file, path, offset, &mut bytes)?;
        Ok((is_there, Meta::decode(if is_there { &bytes } else { &[] }, offset)))
    };
    match read_once()? {
        (true, Err(HeaderError::Damaged(_))) => Ok(read_once()?.1),
        (_, decoded) => Ok(decoded),
    }
}

/// Fills `bytes`; `false` if the file ends before it is full.
fn read(file: &dyn VfsFile, path: &Path, offset: u64, bytes: &mut [u8]) -> Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(Error::io("read", path, source)),
    }
}
