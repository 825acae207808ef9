//! Where a fault may strike: kinds of calls, names of files, bytes of a file.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use super::super::ParseError;
use super::super::trace::{IoOperation, Request};

/// The kinds of I/O calls, as far as faults tell them apart.
///
/// The text form, for plans: `open`, `read`, `write`, `set-size`, `sync`, `sync-directory`, `rename`, `remove`, `list`,
/// `create-directory`, `lock`, `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoKind {
    /// Opening a file, in whatever mode.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Cutting off or extending a file.
    SetSize,
    /// Making a file durable, with its metadata or without.
    Sync,
    /// Making a directory's entries durable.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing a directory.
    List,
    /// Creating a directory.
    CreateDirectory,
    /// Trying to lock a file, in whatever mode.
    Lock,
    /// Asking for a file's size.
    Size,
}

impl IoKind {
    /// Every kind there is.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Read,
        Self::Write,
        Self::SetSize,
        Self::Sync,
        Self::SyncDirectory,
        Self::Rename,
        Self::Remove,
        Self::List,
        Self::CreateDirectory,
        Self::Lock,
        Self::Size,
    ];

    /// The kind of an operation.
    #[must_use]
    pub fn of(operation: IoOperation) -> Self {
        match operation {
            IoOperation::Open(_) => Self::Open,
            IoOperation::CreateDirectory => Self::CreateDirectory,
            IoOperation::List => Self::List,
            IoOperation::Remove => Self::Remove,
            IoOperation::Rename => Self::Rename,
            IoOperation::SyncDirectory => Self::SyncDirectory,
            IoOperation::Read => Self::Read,
            IoOperation::Write => Self::Write,
            IoOperation::Size => Self::Size,
            IoOperation::SetSize => Self::SetSize,
            IoOperation::SyncData | IoOperation::SyncAll => Self::Sync,
            IoOperation::Lock(_) => Self::Lock,
        }
    }

    /// Its text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetSize => "set-size",
            Self::Sync => "sync",
            Self::SyncDirectory => "sync-directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::CreateDirectory => "create-directory",
            Self::Lock => "lock",
            Self::Size => "size",
        }
    }
}

impl fmt::Display for IoKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for IoKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| ParseError::new("kind of I/O call", text))
    }
}

/// A pattern of file names, in which each `*` stands for any text. It matches a file if it matches its name or the whole
/// path that it was opened under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob(String);

impl Glob {
    fn matches(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_encoded_bytes();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let pattern = self.0.as_bytes();
        is_match(pattern, name) || is_match(pattern, path)
    }
}

/// Greedy from the left: each piece between two stars at the first place it fits, the last one at the end.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let mut pieces = pattern.split(|byte| *byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let found = (0..=rest.len()).find(|start| rest[*start..].starts_with(piece));
        let Some(start) = found else { return false };
        rest = &rest[start + piece.len()..];
    }
    true
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Glob {
    type Err = ParseError;

    /// Any text that is not empty and has no blanks, for it stands in a line of words.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(ParseError::new("pattern of file names", text));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where a fault may strike: everywhere, or where all that is set here holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Calls of this kind only, of those that the fault strikes at all.
    pub call: Option<IoKind>,
    /// Calls only on files or directories whose name or path this matches; of a rename, the old or the new one.
    pub file: Option<Glob>,
    /// Only reads and writes that touch these bytes of the file. Rot stays within them; whatever else strikes a call may
    /// strike all of it.
    pub range: Option<Range<u64>>,
}

impl Scope {
    /// Whether a call of a kind that the fault strikes falls into it.
    pub(super) fn covers(&self, request: &Request<'_>) -> bool {
        let kind = IoKind::of(request.operation);
        let is_kind = self.call.is_none_or(|call| call == kind);
        let is_named = |glob: &Glob| {
            glob.matches(request.path) || request.target.is_some_and(|target| glob.matches(target))
        };
        is_kind && self.file.as_ref().is_none_or(is_named) && self.touches(kind, request)
    }

    fn touches(&self, kind: IoKind, request: &Request<'_>) -> bool {
        match (&self.range, kind) {
            (Some(range), IoKind::Read | IoKind::Write) => {
                range.start < request.offset.saturating_add(request.length) && request.offset < range.end
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_name_or_the_path() {
        let check = |pattern: &str, path: &str| pattern.parse::<Glob>().unwrap().matches(Path::new(path));
        for (pattern, path) in [
            ("data", "/db/data"),
            ("/db/data", "/db/data"),
            ("log-*", "db/log-0001"),
            ("*-1*1", "log-1231"),
            ("*", "x"),
            ("*.tmp", "a.tmp"),
            ("a*b*c", "abbc"),
            ("/db/*", "/db/log-1"),
        ] {
            assert!(check(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("data", "/db/data2"), ("log-*", "/db/data"), ("a*b*c", "acb"), ("*a*a", "ba"), ("ab*ba", "aba")]
        {
            assert!(!check(pattern, path), "{pattern} {path}");
        }
        assert!("".parse::<Glob>().is_err() && "a b".parse::<Glob>().is_err());
    }

    #[test]
    fn a_scope_covers_what_all_of_its_parts_cover() {
        let request = |offset| Request {
            offset,
            length: 10,
            ..Request::file(IoOperation::Write, Path::new("/db/data"), 1)
        };
        let scope =
            Scope { call: Some(IoKind::Write), file: Some("data".parse().unwrap()), range: Some(100..200) };
        let covered: Vec<_> =
            [90, 91, 199, 200].map(|offset| scope.covers(&request(offset))).into_iter().collect();
        assert_eq!(covered, [false, true, true, false]);
        assert!(Scope::default().covers(&request(0)));
        let other = Scope { call: Some(IoKind::Read), ..Scope::default() };
        assert!(!other.covers(&request(100)));
        let rename = Request {
            target: Some(Path::new("/db/data")),
            ..Request::path(IoOperation::Rename, Path::new("/db/new"))
        };
        assert!(Scope { call: None, ..scope }.covers(&rename), "a range restricts reads and writes only");
    }
}
