//! The text form of operations, events and histories: made for people to read, write and compare line by line.
//!
//! One event a line, words separated by blanks. Printing and parsing are exact inverses: `parse(print(x)) == x` for
//! every value of every type here. A line that starts with `#` is a comment.
//!
//! ```text
//! opened latest=0 oldest=0 -> none
//! begin t1 c0 write snapshot=0
//! put t1 "k01" #17*64
//! scan t1 ["a" .. "l") limit=10 reverse -> "k01"=#17*64
//! submit t1 sync
//! committed t1 id=1
//! crash
//! ```
//!
//! Byte strings stand in double quotes: printable ASCII as it is, `\"`, `\\`, and `\xNN` for every other byte. What
//! repeats is written once, with a count, and what follows without a blank belongs to it: `"ab"*300"07"`. A value
//! made by [`unique_value`](crate::unique_value) is written as `#number*length`.
//!
//! [`Cursor`] is the parser of one line. It knows where it is, so that every error names line and column, and it is
//! public because plans embed operations in lines of their own.

mod cursor;
mod event;
mod operation;

use std::fmt;

pub use cursor::{Cursor, lines};

use crate::value::recognize;

/// Why a text could not be parsed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// The longest unit of a repetition that is written with a count, in bytes.
const LONGEST_UNIT: usize = 8;

/// The shortest repetition that is, in bytes.
const SHORTEST_REPETITION: usize = 24;

/// Displays bytes as a quoted string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesText<'a>(pub &'a [u8]);

/// Displays a value: a unique value by number and length, any other as a quoted string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueText<'a>(pub &'a [u8]);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for BytesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut plain = 0;
        while plain < rest.len() {
            let Some((unit, count)) = repetition(&rest[plain..]) else {
                plain += 1;
                continue;
            };
            if plain > 0 {
                quote(f, &rest[..plain])?;
            }
            rest = &rest[plain..];
            quote(f, &rest[..unit])?;
            write!(f, "*{count}")?;
            rest = &rest[unit * count..];
            plain = 0;
        }
        if rest.is_empty() && !self.0.is_empty() { Ok(()) } else { quote(f, rest) }
    }
}

/// The shortest unit, in bytes, with which `bytes` begin so many times in a row that a count is easier to read.
fn repetition(bytes: &[u8]) -> Option<(usize, usize)> {
    (1..=LONGEST_UNIT.min(bytes.len())).find_map(|unit| {
        let count = bytes.chunks_exact(unit).take_while(|chunk| *chunk == &bytes[..unit]).count();
        (count * unit >= SHORTEST_REPETITION && count >= 4).then_some((unit, count))
    })
}

fn quote(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for &byte in bytes {
        match byte {
            b'"' => f.write_str("\\\"")?,
            b'\\' => f.write_str("\\\\")?,
            b' '..=b'~' => write!(f, "{}", char::from(byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for ValueText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match recognize(self.0) {
            Some((id, length)) => write!(f, "#{id}*{length}"),
            None => BytesText(self.0).fmt(f),
        }
    }
}

/// Parses the whole of `text` as one line.
pub(crate) fn parse_whole<'a, T>(
    text: &'a str,
    parse: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut cursor = Cursor::new(text, 1);
    let parsed = parse(&mut cursor)?;
    cursor.end()?;
    Ok(parsed)
}
