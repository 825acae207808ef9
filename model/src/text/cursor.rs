//! The parser of one line: takes tokens from the left and knows the column of each.
//!
//! Blanks before a token are skipped. Every method that fails leaves an error that points at the token it looked at,
//! and [`Cursor::error`] points at the token that was last taken, so that a caller who dislikes a word says so there.

use crate::text::ParseError;
use crate::value::{MAX_VALUE_LENGTH, MIN_VALUE_LENGTH, unique_value};
use crate::{ClientId, MarkLabel, SavepointLabel, TxnId, TxnLabel, Value};

/// The most characters of the message of an error.
const MESSAGE_LENGTH_MAX: usize = 300;

/// One line of text and the place in it up to which it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<'a> {
    text: &'a str,
    line: usize,
    /// The byte offset of what has not been read.
    at: usize,
    /// The byte offset of the token that was looked at last.
    token: usize,
}

/// A cursor for each line that is neither blank nor a comment.
pub fn lines(text: &str) -> impl Iterator<Item = Cursor<'_>> {
    let cursors = text.lines().zip(1..).map(|(text, line)| Cursor::new(text, line));
    cursors.filter(|cursor| !matches!(cursor.rest().trim_start().chars().next(), None | Some('#')))
}

impl<'a> Cursor<'a> {
    /// The start of `text`, which is line number `line`, counted from 1.
    pub fn new(text: &'a str, line: usize) -> Cursor<'a> {
        Cursor { text, line, at: 0, token: 0 }
    }

    /// The line number, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// An error at the token that was looked at last. What it quotes of the text is made printable, and cut short.
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        let column = self.text[..self.token].chars().count() + 1;
        ParseError { line: self.line, column, message: printable(&message.into()) }
    }

    /// Whether nothing but blanks is left.
    pub fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest().is_empty()
    }

    /// Fails if anything but blanks is left.
    pub fn end(&mut self) -> Result<(), ParseError> {
        if self.at_end() {
            return Ok(());
        }
        Err(self.error(format!("expected the end of the line, found `{}`", self.rest())))
    }

    /// Takes `symbol` if it comes next. A symbol that ends in a letter or digit must end the word it stands in.
    pub fn accept(&mut self, symbol: &str) -> bool {
        self.skip_blanks();
        let Some(after) = self.rest().strip_prefix(symbol) else { return false };
        if symbol.ends_with(is_word_character) && after.starts_with(is_word_character) {
            return false;
        }
        self.at += symbol.len();
        true
    }

    /// Takes `symbol`, or fails.
    pub fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    /// Takes a word: a letter, then letters, digits, `-` and `_`.
    pub fn word(&mut self) -> Result<&'a str, ParseError> {
        self.skip_blanks();
        if !self.rest().starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(self.unexpected("a word"));
        }
        Ok(self.take_while(is_word_character))
    }

    /// Takes everything up to the next blank.
    pub fn token(&mut self) -> Result<&'a str, ParseError> {
        if self.at_end() {
            return Err(self.unexpected("something more"));
        }
        Ok(self.take_while(|c| !is_blank(c)))
    }

    /// Takes a decimal number that fits `T`.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Result<T, ParseError> {
        self.skip_blanks();
        if !self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected("a number"));
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let number = digits.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.error(format!("the number {digits} is too large here")))
    }

    /// Takes a byte string: parts in double quotes, with a count where they repeat, and without blanks in between.
    pub fn bytes(&mut self) -> Result<Vec<u8>, ParseError> {
        self.skip_blanks();
        let opened_at = self.at;
        let mut bytes = Vec::new();
        loop {
            let part = self.quoted()?;
            let part_at = self.token;
            let count: usize = if self.rest().starts_with('*') { self.count()? } else { 1 };
            if part.len().saturating_mul(count).saturating_add(bytes.len()) > MAX_VALUE_LENGTH {
                self.token = part_at;
                return Err(self.error(format!("a byte string is at most {MAX_VALUE_LENGTH} bytes long")));
            }
            bytes.extend_from_slice(&part.repeat(count));
            if !self.rest().starts_with('"') {
                self.token = opened_at;
                return Ok(bytes);
            }
        }
    }

    fn count(&mut self) -> Result<usize, ParseError> {
        self.at += 1;
        self.number()
    }

    /// Takes one quoted part of a byte string.
    fn quoted(&mut self) -> Result<Vec<u8>, ParseError> {
        if !self.accept("\"") {
            return Err(self.unexpected("a byte string in double quotes"));
        }
        let opened_at = self.token;
        let mut bytes = Vec::new();
        loop {
            self.token = self.at;
            let Some(next) = self.rest().chars().next() else {
                self.token = opened_at;
                return Err(self.error("this byte string has no closing quote"));
            };
            self.at += next.len_utf8();
            match next {
                '"' => break,
                '\\' => bytes.push(self.escaped_byte()?),
                ' '..='~' => bytes.push(next as u8),
                _ => {
                    return Err(
                        self.error("only printable ASCII stands for itself; write other bytes as \\xNN")
                    );
                }
            }
        }
        self.token = opened_at;
        Ok(bytes)
    }

    /// Takes a byte string that is UTF-8.
    pub fn string(&mut self) -> Result<String, ParseError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|_| self.error("this string is not UTF-8"))
    }

    /// Takes a value: `#number*length`, or a byte string.
    pub fn value(&mut self) -> Result<Value, ParseError> {
        self.skip_blanks();
        if !self.rest().starts_with(['#', '"']) {
            return Err(self.unexpected("a value: #number*length, or a byte string in double quotes"));
        }
        if !self.accept("#") {
            return self.bytes();
        }
        let id = self.number()?;
        self.expect("*")?;
        let length: usize = self.number()?;
        if !(MIN_VALUE_LENGTH..=MAX_VALUE_LENGTH).contains(&length) {
            let range = format!("{MIN_VALUE_LENGTH} to {MAX_VALUE_LENGTH}");
            return Err(self.error(format!("a numbered value is {range} bytes long")));
        }
        Ok(unique_value(id, length))
    }

    /// Takes a transaction's label, such as `t1`.
    pub fn label(&mut self) -> Result<TxnLabel, ParseError> {
        Ok(TxnLabel(self.named_number("t", "a transaction such as t1")?))
    }

    /// Takes a client's name, such as `c0`.
    pub fn client(&mut self) -> Result<ClientId, ParseError> {
        Ok(ClientId(self.named_number("c", "a client such as c0")?))
    }

    /// Takes a savepoint's name, such as `s1`.
    pub fn savepoint(&mut self) -> Result<SavepointLabel, ParseError> {
        Ok(SavepointLabel(self.named_number("s", "a savepoint such as s1")?))
    }

    /// Takes a mark's name, such as `m1`.
    pub fn mark(&mut self) -> Result<MarkLabel, ParseError> {
        Ok(MarkLabel(self.named_number("m", "a mark such as m1")?))
    }

    /// Takes a TxnId.
    pub fn txn_id(&mut self) -> Result<TxnId, ParseError> {
        Ok(TxnId(self.number()?))
    }

    fn named_number(&mut self, prefix: &str, what: &str) -> Result<u32, ParseError> {
        self.skip_blanks();
        let digits =
            self.rest().strip_prefix(prefix).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if digits.is_none() {
            return Err(self.unexpected(what));
        }
        self.at += prefix.len();
        self.number()
    }

    /// The byte of an escape whose backslash has been read.
    fn escaped_byte(&mut self) -> Result<u8, ParseError> {
        let rest = self.rest();
        let (length, byte) = match rest.as_bytes() {
            [b'"', ..] => (1, b'"'),
            [b'\\', ..] => (1, b'\\'),
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (3, u8::from_str_radix(&rest[1..3], 16).expect("both are hexadecimal digits"))
            }
            _ => return Err(self.error("unknown escape: \\\", \\\\ and \\xNN are the ones there are")),
        };
        self.at += length;
        Ok(byte)
    }

    fn unexpected(&mut self, expected: &str) -> ParseError {
        if self.at_end() {
            return self.error(format!("expected {expected}, but the line ends"));
        }
        let found = self.rest().split(is_blank).next().unwrap_or_default();
        self.error(format!("expected {expected}, found `{found}`"))
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
        self.token = self.at;
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// The text on one line, without control characters, and no longer than a few lines of a terminal.
fn printable(text: &str) -> String {
    let is_odd =
        |character: char| character.is_control() || !character.is_ascii() && !character.is_alphanumeric();
    let mut printable = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == MESSAGE_LENGTH_MAX {
            printable.push_str("...");
            break;
        }
        if is_odd(character) {
            printable.extend(character.escape_unicode());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{BytesText, ValueText};

    #[test]
    fn tokens_are_taken_from_the_left() {
        let mut cursor = Cursor::new("  open-file c7 t12 cache=64 @0.5 \"a b\" #3*8 done ", 4);
        assert!(!cursor.accept("open"), "a symbol does not end inside a word");
        assert_eq!(cursor.word(), Ok("open-file"));
        assert_eq!(cursor.client(), Ok(ClientId(7)));
        assert_eq!(cursor.label(), Ok(TxnLabel(12)));
        assert!(cursor.accept("cache="));
        assert_eq!(cursor.number(), Ok(64u32));
        assert_eq!(cursor.token(), Ok("@0.5"));
        assert_eq!(cursor.bytes(), Ok(b"a b".to_vec()));
        assert_eq!(cursor.value(), Ok(unique_value(3, 8)));
        assert_eq!(
            cursor.end().unwrap_err().to_string(),
            "line 4, column 45: expected the end of the line, found `done `"
        );
        assert_eq!(cursor.expect("done"), Ok(()));
        assert!(cursor.at_end());
        assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        let text = BytesText(&all).to_string();
        assert!(text.is_ascii() && !text.contains(|c: char| c.is_ascii_control()));
        assert_eq!(Cursor::new(&text, 1).bytes(), Ok(all));
    }

    #[test]
    fn repetitions_are_counted() {
        let long = [b"ab".repeat(300), b"07".to_vec()].concat();
        for (bytes, text) in [
            (long, "\"ab\"*300\"07\""),
            (vec![0; 30], "\"\\x00\"*30"),
            (
                vec![0; 20],
                "\"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"",
            ),
            ([b"x".to_vec(), b"abc".repeat(9), b"aaa".to_vec()].concat(), "\"x\"\"abc\"*9\"aaa\""),
        ] {
            assert_eq!(BytesText(&bytes).to_string(), text);
            assert_eq!(Cursor::new(text, 1).bytes(), Ok(bytes));
        }
        let mut cursor = Cursor::new("\"a\"*2 \"b\"", 1);
        assert_eq!((cursor.bytes(), cursor.bytes()), (Ok(b"aa".to_vec()), Ok(b"b".to_vec())));
        let error = Cursor::new("\"a\"\"bc\"*99999999999", 1).bytes().unwrap_err();
        assert_eq!((error.column, error.message), (4, "a byte string is at most 67108864 bytes long".into()));
    }

    #[test]
    fn values_print_as_numbers_only_if_they_are_theirs() {
        for value in
            [unique_value(u64::MAX, 8), unique_value(9, 100), b"seven b".to_vec(), vec![], vec![0xff; 20]]
        {
            let text = ValueText(&value).to_string();
            assert_eq!(Cursor::new(&text, 1).value(), Ok(value));
        }
        assert_eq!(ValueText(&unique_value(17, 64)).to_string(), "#17*64");
        assert_eq!(ValueText(b"short").to_string(), "\"short\"");
    }

    #[test]
    fn errors_point_at_the_offending_token() {
        let error = |text: &'static str, parse: fn(&mut Cursor<'static>) -> Option<ParseError>| {
            let error = parse(&mut Cursor::new(text, 1)).expect("it must not parse");
            (error.column, error.message)
        };
        let bytes = |cursor: &mut Cursor<'static>| cursor.bytes().err();
        let value = |cursor: &mut Cursor<'static>| cursor.value().err();
        assert_eq!(error(" \"ab", bytes), (2, "this byte string has no closing quote".into()));
        assert_eq!(error("\"a\\n\"", bytes).0, 3);
        assert_eq!(error("\"a\\xg0\"", bytes).0, 3);
        assert_eq!(error("\"\u{e9}\u{e9}\"", bytes).0, 2);
        assert_eq!(error("\"\\x0\u{e9}\"", bytes).0, 2, "an escape cut by a longer character");
        assert_eq!(error("#1*7", value), (4, "a numbered value is 8 to 67108864 bytes long".into()));
        assert_eq!(error("#1*99999999999999", value).0, 4);
        assert_eq!(error("#x", value), (2, "expected a number, found `x`".into()));
        assert_eq!(error("  k", value).0, 3);
        assert_eq!(error("", |cursor| cursor.word().err()), (1, "expected a word, but the line ends".into()));
        assert_eq!(
            error("x1", |cursor| cursor.label().err()).1,
            "expected a transaction such as t1, found `x1`"
        );
        assert_eq!(
            error("99999999999", |cursor| cursor.number::<u32>().err()),
            (1, "the number 99999999999 is too large here".into())
        );
        assert_eq!(error("99999999999999999999", |cursor| cursor.number::<u64>().err()).0, 1);
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_and_counted() {
        let found: Vec<_> =
            lines("a\n\n  # not this\r\n\tb # 1\n#").map(|line| (line.line(), line.rest())).collect();
        assert_eq!(found, [(1, "a"), (4, "\tb # 1")]);
    }
}
