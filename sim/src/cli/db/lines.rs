//! Pairs as lines of text: what `db export` writes and `db load` reads.
//!
//! ```text
//! proofmark pairs 1
//! apple<TAB>red
//! \x00\xff<TAB>two bytes as a key, and a backslash: \\
//! end<TAB>2<TAB>7d1f0c2ab8e9a346
//! ```
//!
//! - The first line names the format and its version.
//! - A pair is a line: the key, a tab, the value. Printable ASCII characters and blanks stand for themselves, but for
//!   the backslash, which is `\\`; every other byte is `\x` and two hexadecimal digits in lower case, as any byte may be.
//!   The text is ASCII, whatever the bytes are. Keys and values may be empty.
//! - The last line is the trailer: `end`, the number of pairs, and the checksum of all bytes before it, in 16
//!   hexadecimal digits. The checksum is XXH3-64 with seed 0, as `head -n -1 FILE | xxhsum -H3` prints it. Nothing
//!   follows. A file that was cut off or changed is noticed, at the latest here.
//! - Lines end with a line feed, the last one too. No line is longer than a pair of the largest key and value can be.
//!
//! Nothing is said of order, and a key that comes twice is legal: whoever reads decides what that means.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use xxhash_rust::xxh3::Xxh3;

/// The first line.
const HEADER: &str = "proofmark pairs 1";
/// What the trailer starts with. Three fields tell it from a pair with this key.
const TRAILER: &[u8] = b"end";
/// The longest key in bytes, for any page size.
pub(super) const KEY_BYTES_MAX: usize = 4096;
/// The longest value in bytes.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// The longest line: every byte takes four characters, with a tab between and a line feed at the end.
const LINE_BYTES_MAX: usize = 4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 2;

/// A key and its value.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Why lines could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// They did not arrive.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// They are not what they should be.
    #[error("line {line}: {reason}")]
    Bad {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Writes pairs.
pub(super) struct LineWriter<W> {
    out: W,
    line: String,
    checksum: Xxh3,
    count: u64,
}

impl<W: Write> LineWriter<W> {
    /// Writes the first line.
    pub(super) fn start(out: W) -> io::Result<LineWriter<W>> {
        let mut writer = LineWriter { out, line: format!("{HEADER}\n"), checksum: Xxh3::new(), count: 0 };
        writer.flush_line()?;
        Ok(writer)
    }

    /// Writes a pair.
    pub(super) fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        escape(key, &mut self.line);
        self.line.push('\t');
        escape(value, &mut self.line);
        self.line.push('\n');
        self.count += 1;
        self.flush_line()
    }

    /// The number of pairs so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Writes the last line. Without it nobody takes the rest for complete.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&trailer(self.count, &self.checksum))?;
        self.out.write_all(b"\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_line(&mut self) -> io::Result<()> {
        self.checksum.update(self.line.as_bytes());
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

/// Reads pairs.
pub(super) struct LineReader<R> {
    input: R,
    key_bytes_max: usize,
    line: Vec<u8>,
    line_number: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    checksum: Xxh3,
    count: u64,
    bytes_read: u64,
}

impl<R: BufRead> LineReader<R> {
    /// Reads the first line. Keys may have up to `key_bytes_max` bytes.
    pub(super) fn start(input: R, key_bytes_max: usize) -> Result<LineReader<R>, LineError> {
        let mut reader = LineReader {
            input,
            key_bytes_max,
            line: Vec::new(),
            line_number: 0,
            key: Vec::new(),
            value: Vec::new(),
            checksum: Xxh3::new(),
            count: 0,
            bytes_read: 0,
        };
        reader.next_line(HEADER.len() + 1)?;
        if reader.line != HEADER.as_bytes() {
            return Err(reader.bad(format!("this is not `{HEADER}`, with which an exported file begins")));
        }
        reader.take_in_line();
        Ok(reader)
    }

    /// The next pair; none after the trailer.
    pub(super) fn next_pair(&mut self) -> Result<Option<Pair<'_>>, LineError> {
        self.next_line(LINE_BYTES_MAX)?;
        let fields: Vec<&[u8]> = self.line.split(|byte| *byte == b'\t').take(4).collect();
        match *fields.as_slice() {
            [key, value] => {
                let parsed = unescape(key, &mut self.key)
                    .map_err(|reason| format!("in the key: {reason}"))
                    .and_then(|()| {
                        unescape(value, &mut self.value).map_err(|reason| format!("in the value: {reason}"))
                    });
                parsed.map_err(|reason| self.bad(reason))?;
            }
            [TRAILER, _, _] => return self.end().map(|()| None),
            _ => return Err(self.bad("this is no key, tab and value")),
        }
        self.check_length("key", self.key.len(), self.key_bytes_max)?;
        self.check_length("value", self.value.len(), VALUE_BYTES_MAX)?;
        self.take_in_line();
        self.count += 1;
        Ok(Some((&self.key, &self.value)))
    }

    /// The bytes that were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The line is the trailer: it has to be right, and the last one.
    fn end(&mut self) -> Result<(), LineError> {
        if self.line != trailer(self.count, &self.checksum) {
            let count = self.count;
            return Err(self.bad(format!(
                "it was not written for the {count} pairs before it: something was changed or lost"
            )));
        }
        if !self.input.fill_buf()?.is_empty() {
            self.line_number += 1;
            return Err(self.bad("something follows the last line"));
        }
        Ok(())
    }

    fn check_length(&self, what: &str, length: usize, length_max: usize) -> Result<(), LineError> {
        if length > length_max {
            return Err(self.bad(format!("the {what} has {length} bytes, but may have {length_max}")));
        }
        Ok(())
    }

    /// Reads a line of at most `bytes_max` bytes, without its line feed.
    fn next_line(&mut self, bytes_max: usize) -> Result<(), LineError> {
        self.line.clear();
        self.line_number += 1;
        let read = (&mut self.input).take(bytes_max as u64).read_until(b'\n', &mut self.line)?;
        self.bytes_read += read as u64;
        match self.line.pop() {
            Some(b'\n') => Ok(()),
            Some(_) if read == bytes_max => Err(self.bad("the line is longer than any can be")),
            _ => Err(self.bad("the text ends here, before its last line: it was cut off")),
        }
    }

    fn take_in_line(&mut self) {
        self.checksum.update(&self.line);
        self.checksum.update(b"\n");
    }

    fn bad(&self, reason: impl Into<String>) -> LineError {
        LineError::Bad { line: self.line_number, reason: reason.into() }
    }
}

fn trailer(count: u64, checksum: &Xxh3) -> Vec<u8> {
    [TRAILER, format!("\t{count}\t{:016x}", checksum.digest()).as_bytes()].concat()
}

/// Appends the text of some bytes.
pub(super) fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes everything"),
        }
    }
}

/// Puts the bytes that `text` stands for into `bytes`.
fn unescape(mut text: &[u8], bytes: &mut Vec<u8>) -> Result<(), String> {
    bytes.clear();
    while let [first, rest @ ..] = text {
        let (byte, rest) = match (first, rest) {
            (b'\\', [b'\\', rest @ ..]) => (b'\\', rest),
            (b'\\', [b'x', high, low, rest @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (16 * high + low, rest),
                _ => return Err("after `\\x` come two hexadecimal digits, in lower case".to_owned()),
            },
            (b'\\', _) => {
                return Err("a backslash is followed by another one, or by `x` and two digits".to_owned());
            }
            (b' '..=b'~', rest) => (*first, rest),
            _ => return Err(format!("byte {first:#04x} may stand here only as `\\x{first:02x}`")),
        };
        bytes.push(byte);
        text = rest;
    }
    Ok(())
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Owned = (Vec<u8>, Vec<u8>);

    fn write(pairs: &[Owned]) -> String {
        let mut writer = LineWriter::start(Vec::new()).unwrap();
        for (key, value) in pairs {
            writer.pair(key, value).unwrap();
        }
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<Owned>, String> {
        let mut reader = LineReader::start(text.as_ref(), 10).map_err(|error| error.to_string())?;
        let mut pairs = Vec::new();
        while let Some((key, value)) = reader.next_pair().map_err(|error| error.to_string())? {
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    fn pair(key: &[u8], value: &[u8]) -> Owned {
        (key.to_vec(), value.to_vec())
    }

    fn sample() -> Vec<Owned> {
        vec![pair(b"apple", b"red"), pair(b"\0\xff\t", b"a \\ and\n"), pair(b"", b""), pair(b"end", b"1")]
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let pairs = [sample(), vec![pair(b"all", &all)]].concat();
        let text = write(&pairs);
        assert!(text.is_ascii());
        assert_eq!(read(&text), Ok(pairs));
        assert_eq!(read(write(&[])), Ok(vec![]));
    }

    #[test]
    fn the_text_is_what_the_documentation_says() {
        let text = write(&sample());
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        assert_eq!(lines[..3], ["proofmark pairs 1", "apple\tred", "\\x00\\xff\\x09\ta \\\\ and\\x0a"]);
        let before = &text[..text.len() - lines[5].len() - 1];
        let checksum = xxhash_rust::xxh3::xxh3_64(before.as_bytes());
        assert_eq!(lines[5], format!("end\t4\t{checksum:016x}"));
    }

    #[test]
    fn whatever_is_cut_off_is_noticed() {
        let text = write(&sample());
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err(), "the first {length} bytes");
        }
        for line in 1..5 {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            lines.remove(line);
            assert!(read(lines.concat()).is_err(), "without line {line}");
        }
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let text = write(&sample());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(read(bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("", "line 1: the text ends here"),
            ("proofmark pairs 2\n", "line 1: this is not `proofmark pairs 1`"),
            ("a whole other file that has a long line\n", "line 1: the line is longer"),
            ("proofmark pairs 1\nkey\n", "line 2: this is no key, tab and value"),
            ("proofmark pairs 1\na\tb\nc\td\te\tf\n", "line 3: this is no key, tab and value"),
            ("proofmark pairs 1\na\\\tb\n", "line 2: in the key: a backslash"),
            ("proofmark pairs 1\na\t\\xFF\n", "line 2: in the value: after `\\x`"),
            ("proofmark pairs 1\na\tb\r\n", "line 2: in the value: byte 0x0d may stand here only as `\\x0d`"),
            ("proofmark pairs 1\nelevenbytes\tb\n", "line 2: the key has 11 bytes, but may have 10"),
            ("proofmark pairs 1\na\tb\nend\t2\t0\n", "line 3: it was not written for the 1 pairs before it"),
        ];
        for (text, reason) in cases {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(reason), "{error}\n{reason}");
        }
        let followed = write(&sample()) + "x";
        assert_eq!(read(followed), Err("line 7: something follows the last line".to_owned()));
    }
}
