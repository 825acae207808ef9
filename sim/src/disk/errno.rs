//! The operating system's error codes that the simulated disk answers with: the only place that names their numbers.
//!
//! The numbers are Linux's, because that is what [`std::io::Error::kind`] decodes on the machines this runs on.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::ParseError;

/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Interrupted by a signal: the call did nothing, and is to be made again.
pub const EINTR: i32 = 4;
/// Input/output error; also the answer to everything after a power loss.
pub const EIO: i32 = 5;
/// The file was not opened for writing.
pub const EBADF: i32 = 9;
/// Out of memory.
pub const ENOMEM: i32 = 12;
/// Permission denied.
pub const EACCES: i32 = 13;
/// The name is taken.
pub const EEXIST: i32 = 17;
/// A rename from one directory to another, which the simulated disk does not offer.
pub const EXDEV: i32 = 18;
/// A component of the path is a file.
pub const ENOTDIR: i32 = 20;
/// The path names a directory.
pub const EISDIR: i32 = 21;
/// The path is empty, or leaves the disk.
pub const EINVAL: i32 = 22;
/// The whole system has too many files open.
pub const ENFILE: i32 = 23;
/// The process has too many files open.
pub const EMFILE: i32 = 24;
/// An offset or a size that no file can have.
pub const EFBIG: i32 = 27;
/// No space left on the device.
pub const ENOSPC: i32 = 28;
/// The file system is mounted for reading only.
pub const EROFS: i32 = 30;
/// The user's share of the device is used up.
pub const EDQUOT: i32 = 122;

const NAMES: [(i32, &str); 17] = [
    (ENOENT, "ENOENT"),
    (EINTR, "EINTR"),
    (EIO, "EIO"),
    (EBADF, "EBADF"),
    (ENOMEM, "ENOMEM"),
    (EACCES, "EACCES"),
    (EEXIST, "EEXIST"),
    (EXDEV, "EXDEV"),
    (ENOTDIR, "ENOTDIR"),
    (EISDIR, "EISDIR"),
    (EINVAL, "EINVAL"),
    (ENFILE, "ENFILE"),
    (EMFILE, "EMFILE"),
    (EFBIG, "EFBIG"),
    (ENOSPC, "ENOSPC"),
    (EROFS, "EROFS"),
    (EDQUOT, "EDQUOT"),
];

/// The symbolic name of one of the codes above, for traces.
#[must_use]
pub fn name(code: i32) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == code).map_or("error", |(_, name)| name)
}

/// `Err` of the error that the operating system would report under `code`.
pub(super) fn fail<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

/// An error that a fault may report. The text form, for plans, is its symbolic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(i32);

impl Errno {
    /// The device failed.
    pub const EIO: Self = Self(EIO);
    /// The device is full.
    pub const ENOSPC: Self = Self(ENOSPC);
    /// The call is to be made again.
    pub const EINTR: Self = Self(EINTR);
    /// Every error there is, the likeliest first.
    pub const ALL: [Self; 9] = [
        Self(EIO),
        Self(ENOSPC),
        Self(EDQUOT),
        Self(EMFILE),
        Self(ENFILE),
        Self(EROFS),
        Self(EACCES),
        Self(ENOMEM),
        Self(EINTR),
    ];

    /// The operating system's number for it.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0
    }
}

impl Default for Errno {
    fn default() -> Self {
        Self::EIO
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(name(self.0))
    }
}

impl FromStr for Errno {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|errno| name(errno.0) == text);
        found.ok_or_else(|| ParseError::new("error that a fault may report", text))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn codes_mean_to_the_standard_library_what_they_mean_here() {
        let kind = |code| fail::<()>(code).unwrap_err().kind();
        assert_eq!(kind(ENOENT), ErrorKind::NotFound);
        assert_eq!(kind(EINTR), ErrorKind::Interrupted);
        assert_eq!(kind(ENOMEM), ErrorKind::OutOfMemory);
        assert_eq!(kind(EACCES), ErrorKind::PermissionDenied);
        assert_eq!(kind(EEXIST), ErrorKind::AlreadyExists);
        assert_eq!(kind(EXDEV), ErrorKind::CrossesDevices);
        assert_eq!(kind(ENOTDIR), ErrorKind::NotADirectory);
        assert_eq!(kind(EISDIR), ErrorKind::IsADirectory);
        assert_eq!(kind(EINVAL), ErrorKind::InvalidInput);
        assert_eq!(kind(ENOSPC), ErrorKind::StorageFull);
        assert_eq!(kind(EFBIG), ErrorKind::FileTooLarge);
        assert_eq!(kind(EROFS), ErrorKind::ReadOnlyFilesystem);
        assert_eq!(kind(EDQUOT), ErrorKind::QuotaExceeded);
        assert_eq!(fail::<()>(EIO).unwrap_err().raw_os_error(), Some(EIO));
        for (code, text) in NAMES {
            assert!(fail::<()>(code).unwrap_err().to_string().contains(&format!("(os error {code})")));
            assert_eq!(name(code), text);
        }
    }

    #[test]
    fn text_forms_survive_a_round_trip() {
        for errno in Errno::ALL {
            assert_eq!(errno.to_string().parse(), Ok(errno));
        }
        assert!("EBADF".parse::<Errno>().is_err(), "no fault of the disk closes a file");
    }
}
