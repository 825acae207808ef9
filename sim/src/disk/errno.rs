//! The operating system's error codes that the simulated disk answers with: the only place that names their numbers.
//!
//! The numbers are Linux's, because that is what [`std::io::Error::kind`] decodes on the machines this runs on.

use std::io;

/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Input/output error; also the answer to everything after a power loss.
pub const EIO: i32 = 5;
/// The file was not opened for writing.
pub const EBADF: i32 = 9;
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
/// An offset or a size that no file can have.
pub const EFBIG: i32 = 27;

/// No space left on the device.
pub const ENOSPC: i32 = 28;

/// The symbolic name of one of the codes above, for traces.
#[must_use]
pub fn name(code: i32) -> &'static str {
    match code {
        ENOENT => "ENOENT",
        EIO => "EIO",
        EBADF => "EBADF",
        EEXIST => "EEXIST",
        EXDEV => "EXDEV",
        ENOTDIR => "ENOTDIR",
        EISDIR => "EISDIR",
        EINVAL => "EINVAL",
        EFBIG => "EFBIG",
        ENOSPC => "ENOSPC",
        _ => "error",
    }
}

/// `Err` of the error that the operating system would report under `code`.
pub(super) fn fail<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn codes_mean_to_the_standard_library_what_they_mean_here() {
        let kind = |code| fail::<()>(code).unwrap_err().kind();
        assert_eq!(kind(ENOENT), ErrorKind::NotFound);
        assert_eq!(kind(EEXIST), ErrorKind::AlreadyExists);
        assert_eq!(kind(EXDEV), ErrorKind::CrossesDevices);
        assert_eq!(kind(ENOTDIR), ErrorKind::NotADirectory);
        assert_eq!(kind(EISDIR), ErrorKind::IsADirectory);
        assert_eq!(kind(EINVAL), ErrorKind::InvalidInput);
        assert_eq!(kind(ENOSPC), ErrorKind::StorageFull);
        assert_eq!(kind(EFBIG), ErrorKind::FileTooLarge);
        assert_eq!(fail::<()>(EIO).unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(name(EIO), "EIO");
    }
}
