//! Finding the meta page that counts.

use std::io;
use std::path::Path;

use proofmark_vfs::VfsFile;

use crate::error::{Error, Result};
use crate::format::{FORMAT_VERSION, HeaderError, META_BYTES, Meta};

const SMALLEST_PAGE: u64 = 4096;
const LARGEST_PAGE: u64 = 65536;

/// The meta page that counts: the valid one of the later generation.
pub(crate) fn read_meta(file: &dyn VfsFile, path: &Path) -> Result<Meta> {
    let first = read_meta_at(file, path, 0)?;
    // Where the second one lies is known from the first; if that is damaged, it is looked for.
    let page_sizes = match &first {
        Ok(meta) => u64::from(meta.page_size)..=u64::from(meta.page_size),
        Err(_) => SMALLEST_PAGE..=LARGEST_PAGE,
    };
    let mut newest = first;
    let mut offset = *page_sizes.start();
    while page_sizes.contains(&offset) {
        newest = match (newest, read_meta_at(file, path, offset)?) {
            (Err(HeaderError::Version(found)), _) | (_, Err(HeaderError::Version(found))) => {
                Err(HeaderError::Version(found))
            }
            (Ok(a), Ok(b)) => Ok(if a.generation > b.generation { a } else { b }),
            (Ok(meta), Err(_)) | (Err(_), Ok(meta)) => Ok(meta),
            (Err(damage), Err(_)) => Err(damage),
        };
        offset *= 2;
    }
    newest.map_err(|error| match error {
        HeaderError::Damaged(damage) => Error::corruption(path, 0, damage),
        HeaderError::Version(found) => {
            Error::UnsupportedFormat { path: path.to_owned(), found, supported: FORMAT_VERSION }
        }
    })
}

fn read_meta_at(file: &dyn VfsFile, path: &Path, offset: u64) -> Result<Result<Meta, HeaderError>> {
    let mut bytes = [0; META_BYTES];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Meta::decode(&bytes, offset)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Meta::decode(&[], offset)),
        Err(source) => Err(Error::io("read", path, source)),
    }
}
