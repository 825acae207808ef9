//! The names of the log's files, and how a segment begins and ends its life.
//!
//! A segment that no meta page needs any more is kept as a *spare*: under a name that says that it is none, until it is
//! taken as the next segment. Its blocks are allocated already, so that the records of its next life overwrite what the
//! file has, instead of making it grow. What is left over in it can't be read as a record of its next life, because the
//! checksums of its records are seeded with the segment they were written in.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::{LogOptions, in_doubt};
use crate::error::{Error, Result};
use crate::format::{Damage, SEGMENT_HEADER, SEGMENT_START, SegmentHeader};
use crate::ids::{DatabaseId, SegmentId};

const SEGMENT_PREFIX: &str = "log-";
const SPARE_PREFIX: &str = "spare-";
/// Digits of a segment's number in its name.
const DIGITS: usize = 16;

/// A segment that has begun: its header and its name are durable.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(super) header: SegmentHeader,
    pub(super) file: Box<dyn VfsFile>,
    pub(super) path: PathBuf,
    /// The bytes that the file has already.
    pub(super) size: u64,
    pub(super) is_recycled: bool,
}

pub(crate) fn segment_path(directory: &Path, segment: SegmentId) -> PathBuf {
    path(directory, SEGMENT_PREFIX, segment)
}

pub(super) fn spare_path(directory: &Path, segment: SegmentId) -> PathBuf {
    path(directory, SPARE_PREFIX, segment)
}

/// Sixteen digits follow the prefix, so that names are in the order of their numbers.
fn path(directory: &Path, prefix: &str, segment: SegmentId) -> PathBuf {
    let mut name = String::with_capacity(prefix.len() + DIGITS);
    name.push_str(prefix);
    let digit = |index: usize| (segment.0 >> (4 * index)) as u32 & 15;
    name.extend((0..DIGITS).rev().map(|index| char::from_digit(digit(index), 16).expect("it is below 16")));
    let mut path = PathBuf::with_capacity(directory.as_os_str().len() + 1 + name.len());
    path.push(directory);
    path.push(name);
    path
}

/// The segments in the directory, in order.
pub(crate) fn list_segments(vfs: &dyn Vfs, directory: &Path) -> Result<Vec<SegmentId>> {
    Ok(list(vfs, directory)?.0)
}

/// The segments and the spares in the directory, each in order.
pub(super) fn list(vfs: &dyn Vfs, directory: &Path) -> Result<(Vec<SegmentId>, Vec<SegmentId>)> {
    let names = vfs.list(directory).map_err(|source| Error::io("list", directory, source))?;
    let named = |prefix: &str| {
        let parse = |name: &Path| {
            let digits = name.to_str()?.strip_prefix(prefix)?;
            // Nothing but what the paths above have: a name in any other form is not one of the log's.
            let is_lower_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let is_ours = digits.len() == DIGITS && digits.bytes().all(is_lower_hex);
            is_ours.then(|| u64::from_str_radix(digits, 16).ok().map(SegmentId)).flatten()
        };
        let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| parse(name)).collect();
        ids.sort_unstable();
        ids
    };
    Ok((named(SEGMENT_PREFIX), named(SPARE_PREFIX)))
}

/// Begins a segment, in a spare if there is one: when this returns, its header and its name are durable.
pub(crate) fn begin_segment(
    vfs: &dyn Vfs,
    directory: &Path,
    options: LogOptions,
    header: SegmentHeader,
) -> Result<Begun> {
    let path = segment_path(directory, header.segment);
    let spare = take_spare(vfs, directory, header)?;
    let is_recycled = spare.is_some();
    let (file, mut size) = match spare {
        Some(spare) => spare,
        // The name may be taken by an earlier attempt that found no space.
        None => (vfs.open(&path, OpenMode::CreateTruncate).map_err(|e| Error::io("create", &path, e))?, 0),
    };
    let mut start = [0; SEGMENT_START];
    start[..SEGMENT_HEADER].copy_from_slice(&header.encode());
    if let Err(source) = file.write_all_at(&start, 0) {
        // If it can't even begin, it need not take a place in the directory.
        let _ = vfs.remove(&path);
        return Err(Error::io("write", &path, source));
    }
    file.sync_data().map_err(|source| in_doubt("sync", &path, source))?;
    vfs.sync_directory(directory).map_err(|source| in_doubt("sync", directory, source))?;
    // Only now: were the header not durable, or the name, a power loss might bring back the old segment without its end.
    if size > options.segment_limit() && file.set_size(options.segment_limit()).is_ok() {
        size = options.segment_limit();
    }
    Ok(Begun { header, file, path, size: size.max(SEGMENT_START as u64), is_recycled })
}

/// Makes it durable that a segment, which the directory does not show, is not there, even if a sync that failed has dropped
/// its removal as if it were clean: its name is taken and given up anew.
pub(crate) fn renew_absence(vfs: &dyn Vfs, directory: &Path, segment: SegmentId) -> Result<()> {
    let path = segment_path(directory, segment);
    drop(vfs.open(&path, OpenMode::Create).map_err(|source| Error::io("create", &path, source))?);
    vfs.remove(&path).map_err(|source| Error::io("remove", &path, source))?;
    vfs.sync_directory(directory).map_err(|source| Error::sync(directory, source))
}

/// Renames a spare to what `header` says, and returns the file and its size.
fn take_spare(
    vfs: &dyn Vfs,
    directory: &Path,
    header: SegmentHeader,
) -> Result<Option<(Box<dyn VfsFile>, u64)>> {
    let path = segment_path(directory, header.segment);
    // Spares that can't be listed are of no use, either.
    let spares = list(vfs, directory).map_or_else(|_| Vec::new(), |(_, spares)| spares);
    for id in spares {
        let spare = spare_path(directory, id);
        // A spare that can't be opened, read, measured or renamed is of no use; a new file will do. It may also have been removed
        // meanwhile, by a checkpoint that found too many.
        let Ok(file) = vfs.open(&spare, OpenMode::ReadWrite) else { continue };
        match is_what_it_was(&*file, header.database, id) {
            Ok(true) => {}
            Ok(false) => {
                remove(vfs, &spare)?;
                continue;
            }
            Err(_) => continue,
        }
        let Ok(size) = file.size() else { continue };
        if vfs.rename(&spare, &path).is_ok() {
            return Ok(Some((file, size)));
        }
    }
    Ok(None)
}

/// Whether a segment is to be kept for its blocks: one that a large transaction has made much longer than others is not. It
/// is left as it is until it is taken, because a power loss may yet make it a part of the log again.
fn is_worth_its_room(vfs: &dyn Vfs, path: &Path, options: LogOptions) -> Result<bool> {
    let file = vfs.open(path, OpenMode::Read).map_err(|source| Error::io("open", path, source))?;
    let size = file.size().map_err(|source| Error::io("measure", path, source))?;
    Ok(size <= options.segment_limit().saturating_mul(2))
}

/// Whether a spare holds the segment whose name it bears, so that it is certainly not in use under another name.
fn is_what_it_was(file: &dyn VfsFile, database: DatabaseId, segment: SegmentId) -> io::Result<bool> {
    if file.size()? < SEGMENT_START as u64 {
        return Ok(false);
    }
    let mut bytes = [0; SEGMENT_HEADER];
    file.read_exact_at(&mut bytes, 0)?;
    let header = SegmentHeader::decode(&bytes);
    Ok(header.is_ok_and(|header| header.database == database && header.segment == segment))
}

/// Makes spares of these segments, as far as they are there, and removes those that are too many. Returns how many there
/// were. None of this is durable.
pub(crate) fn retire(
    vfs: &dyn Vfs,
    directory: &Path,
    options: LogOptions,
    retired: Range<SegmentId>,
) -> Result<usize> {
    let (mut segments, spares) = list(vfs, directory)?;
    segments.retain(|segment| retired.contains(segment));
    let count = segments.len();
    // First, so that no failure comes between a segment that is given up and what its caller does about it.
    for spare in spares.iter().take(spares.len().saturating_sub(options.spare_count)) {
        remove(vfs, &spare_path(directory, *spare))?;
    }
    let mut spare_count = spares.len().min(options.spare_count);
    for segment in segments {
        let path = segment_path(directory, segment);
        if spare_count < options.spare_count && is_worth_its_room(vfs, &path, options)? {
            let spare = spare_path(directory, segment);
            vfs.rename(&path, &spare).map_err(|source| Error::io("rename", &path, source))?;
            spare_count += 1;
        } else {
            remove(vfs, &path)?;
        }
    }
    Ok(count)
}

fn remove(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    match vfs.remove(path) {
        // A spare may be taken as a segment meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(|source| Error::io("remove", path, source)),
    }
}

/// Removes what an attempt at a database left of its log.
///
/// # Errors
/// `Corruption` if a segment may hold records: then there was a database, whose data file is missing.
pub(crate) fn clear_unused(vfs: &dyn Vfs, directory: &Path) -> Result<()> {
    let (segments, spares) = list(vfs, directory)?;
    // An attempt makes the first segment, and nothing else.
    let later =
        segments.iter().find(|segment| **segment != SegmentId(1)).map(|id| segment_path(directory, *id));
    if let Some(path) = later.or_else(|| spares.first().map(|id| spare_path(directory, *id))) {
        let damage = Damage("this file is part of a database, but the data file is missing");
        return Err(Error::corruption(&path, 0, damage));
    }
    for segment in segments {
        super::reader::SegmentReader::open(vfs, directory, segment)?.refuse_records()?;
        remove(vfs, &segment_path(directory, segment))?;
    }
    Ok(())
}
