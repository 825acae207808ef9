//! The text form of operations and of what they are made of.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use crate::text::{BytesText, Cursor, ParseError, ValueText, parse_whole};
use crate::{
    ClientId, Durability, Key, KeyRange, MarkLabel, Mode, Operation, SavepointLabel, TxnId, TxnLabel,
};

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Get { key } => write!(f, "get {}", BytesText(key)),
            Operation::Scan { range, limit, reverse } => {
                f.write_str("scan ")?;
                write_scan(f, range, *limit, *reverse)
            }
            Operation::Put { key, value } => write!(f, "put {} {}", BytesText(key), ValueText(value)),
            Operation::Delete { key } => write!(f, "delete {}", BytesText(key)),
            Operation::DeleteRange { range } => write!(f, "delete-range {range}"),
            Operation::Savepoint { savepoint } => write!(f, "savepoint {savepoint}"),
            Operation::Rollback { savepoint } => write!(f, "rollback {savepoint}"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Read => f.write_str("read"),
            Mode::ReadAt(at) => write!(f, "read@{at}"),
            Mode::Write => f.write_str("write"),
            Mode::Optimistic => f.write_str("optimistic"),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Sync => "sync",
            Durability::Buffered => "buffered",
        })
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Bound::Included(key) => write!(f, "[{}", BytesText(key))?,
            Bound::Excluded(key) => write!(f, "({}", BytesText(key))?,
            Bound::Unbounded => f.write_str("(-inf")?,
        }
        f.write_str(" .. ")?;
        match &self.end {
            Bound::Included(key) => write!(f, "{}]", BytesText(key)),
            Bound::Excluded(key) => write!(f, "{})", BytesText(key)),
            Bound::Unbounded => f.write_str("+inf)"),
        }
    }
}

/// Writes what a scan asks for: the range, `limit=` unless there is none, and `reverse` if it is.
pub(super) fn write_scan(
    f: &mut fmt::Formatter<'_>,
    range: &KeyRange,
    limit: usize,
    reverse: bool,
) -> fmt::Result {
    write!(f, "{range}")?;
    if limit != usize::MAX {
        write!(f, " limit={limit}")?;
    }
    if reverse {
        f.write_str(" reverse")?;
    }
    Ok(())
}

impl Cursor<'_> {
    /// Takes an operation, such as `get "k"`.
    pub fn operation(&mut self) -> Result<Operation, ParseError> {
        match self.word()? {
            "get" => Ok(Operation::Get { key: self.bytes()? }),
            "scan" => {
                let (range, limit, reverse) = self.scan()?;
                Ok(Operation::Scan { range, limit, reverse })
            }
            "put" => Ok(Operation::Put { key: self.bytes()?, value: self.value()? }),
            "delete" => Ok(Operation::Delete { key: self.bytes()? }),
            "delete-range" => Ok(Operation::DeleteRange { range: self.range()? }),
            "savepoint" => Ok(Operation::Savepoint { savepoint: self.savepoint()? }),
            "rollback" => Ok(Operation::Rollback { savepoint: self.savepoint()? }),
            other => {
                let expected = "expected get, scan, put, delete, delete-range, savepoint or rollback";
                Err(self.error(format!("unknown operation `{other}`: {expected}")))
            }
        }
    }

    /// Takes a mode: `read`, `read@7`, `write` or `optimistic`.
    pub fn mode(&mut self) -> Result<Mode, ParseError> {
        match self.word()? {
            "read" if self.rest().starts_with('@') => {
                self.expect("@")?;
                Ok(Mode::ReadAt(self.txn_id()?))
            }
            "read" => Ok(Mode::Read),
            "write" => Ok(Mode::Write),
            "optimistic" => Ok(Mode::Optimistic),
            other => {
                let expected = "expected read, read@7, write or optimistic";
                Err(self.error(format!("unknown mode `{other}`: {expected}")))
            }
        }
    }

    /// Takes a durability: `sync` or `buffered`.
    pub fn durability(&mut self) -> Result<Durability, ParseError> {
        match self.word()? {
            "sync" => Ok(Durability::Sync),
            "buffered" => Ok(Durability::Buffered),
            other => Err(self.error(format!("unknown durability `{other}`: expected sync or buffered"))),
        }
    }

    /// Takes a range, such as `["a" .. "b")` or `(-inf .. +inf)`.
    pub fn range(&mut self) -> Result<KeyRange, ParseError> {
        let start = if self.accept("[") {
            Bound::Included(self.bytes()?)
        } else {
            self.expect("(")?;
            if self.accept("-inf") { Bound::Unbounded } else { Bound::Excluded(self.bytes()?) }
        };
        self.expect("..")?;
        let end = if self.accept("+inf") {
            self.expect(")")?;
            Bound::Unbounded
        } else {
            let key: Key = self.bytes()?;
            if self.accept("]") {
                Bound::Included(key)
            } else {
                self.expect(")")?;
                Bound::Excluded(key)
            }
        };
        Ok(KeyRange { start, end })
    }

    /// Takes what a scan asks for: range, limit, and whether it runs in reverse.
    pub fn scan(&mut self) -> Result<(KeyRange, usize, bool), ParseError> {
        let range = self.range()?;
        let limit = if self.accept("limit=") { self.number()? } else { usize::MAX };
        Ok((range, limit, self.accept("reverse")))
    }
}

macro_rules! parsed_by {
    ($($type:ty => $method:ident,)*) => { $(
        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<$type, ParseError> {
                parse_whole(text, |cursor| cursor.$method())
            }
        }
    )* };
}

parsed_by! {
    Operation => operation,
    Mode => mode,
    Durability => durability,
    KeyRange => range,
    TxnId => txn_id,
    TxnLabel => label,
    ClientId => client,
    SavepointLabel => savepoint,
    MarkLabel => mark,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unique_value;

    fn round_trip<T: fmt::Display + fmt::Debug + FromStr<Err = ParseError> + PartialEq>(
        item: &T,
        text: &str,
    ) {
        assert_eq!(item.to_string(), text);
        assert_eq!(text.parse::<T>().as_ref(), Ok(item));
    }

    #[test]
    fn every_form_round_trips() {
        let scan = |range, limit, reverse| Operation::Scan { range, limit, reverse };
        let (low, high) = (b"a".to_vec(), b"\xff\"".to_vec());
        round_trip(&Operation::Get { key: b"k\0".to_vec() }, r#"get "k\x00""#);
        round_trip(&Operation::Put { key: vec![], value: unique_value(17, 64) }, r#"put "" #17*64"#);
        round_trip(&Operation::Put { key: b"\\".to_vec(), value: b"v".to_vec() }, r#"put "\\" "v""#);
        round_trip(&Operation::Delete { key: b"#".to_vec() }, r##"delete "#""##);
        round_trip(&scan(KeyRange::all(), usize::MAX, false), "scan (-inf .. +inf)");
        round_trip(&scan(KeyRange::prefix(b"ab"), 5, true), r#"scan ["ab" .. "ac") limit=5 reverse"#);
        let range = KeyRange { start: Bound::Excluded(low.clone()), end: Bound::Included(high.clone()) };
        round_trip(&scan(range.clone(), 0, false), r#"scan ("a" .. "\xff\""] limit=0"#);
        round_trip(&range, r#"("a" .. "\xff\""]"#);
        round_trip(&KeyRange { start: Bound::Included(low), end: Bound::Unbounded }, r#"["a" .. +inf)"#);
        round_trip(
            &KeyRange { start: Bound::Unbounded, end: Bound::Excluded(high) },
            r#"(-inf .. "\xff\"")"#,
        );
        round_trip(&Mode::Read, "read");
        round_trip(&Mode::ReadAt(TxnId(u64::MAX)), "read@18446744073709551615");
        round_trip(&Mode::Write, "write");
        round_trip(&Mode::Optimistic, "optimistic");
        round_trip(&Operation::DeleteRange { range: KeyRange::prefix(b"a") }, r#"delete-range ["a" .. "b")"#);
        round_trip(&Operation::Savepoint { savepoint: SavepointLabel(3) }, "savepoint s3");
        round_trip(&Operation::Rollback { savepoint: SavepointLabel(0) }, "rollback s0");
        round_trip(&Durability::Sync, "sync");
        round_trip(&Durability::Buffered, "buffered");
        round_trip(&TxnId(3), "3");
        round_trip(&TxnLabel(3), "t3");
        round_trip(&ClientId(0), "c0");
        round_trip(&MarkLabel(7), "m7");
    }

    #[test]
    fn nonsense_is_refused_where_it_stands() {
        let column = |text: &str| text.parse::<Operation>().unwrap_err().column;
        assert_eq!(column("got \"k\""), 1);
        assert_eq!(column("get k"), 5);
        assert_eq!(column("get \"k\" \"l\""), 9);
        assert_eq!(column("scan \"a\" .. \"b\""), 6);
        assert_eq!(column("scan [-inf .. \"b\")"), 7);
        assert_eq!(column("scan [\"a\" .. +inf]"), 18);
        assert_eq!(column("scan [\"a\" .. \"b\""), 17);
        assert_eq!(column("scan [\"a\" .. \"b\") limit=x"), 25);
        assert_eq!(column("scan [\"a\" .. \"b\") reversed"), 19);
        assert!("read@".parse::<Mode>().is_err());
        assert!("read@x".parse::<Mode>().is_err());
        assert!("writer".parse::<Mode>().is_err());
        assert!("t".parse::<TxnLabel>().is_err());
        assert!("t4294967296".parse::<TxnLabel>().is_err());
    }
}
