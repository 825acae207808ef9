//! The text form of a fault: one line of words, exact in both directions.
//!
//! ```text
//! KIND [on=CALL] [error=ERROR] [file=PATTERN] [range=A..B] nth=N|every=N|rate=PERMILLE:SEED [count=N|sticky]
//! ```

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use proofmark_model::ParseError;
use proofmark_model::text::Cursor;

use super::{Errno, Fault, FaultKind, Occasion, Scope};

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(formatter)?;
        if let Some(call) = self.scope.call {
            write!(formatter, " on={call}")?;
        }
        if let Some(error) = self.error {
            write!(formatter, " error={error}")?;
        }
        if let Some(file) = &self.scope.file {
            write!(formatter, " file={file}")?;
        }
        if let Some(Range { start, end }) = &self.scope.range {
            write!(formatter, " range={start}..{end}")?;
        }
        write!(formatter, " {}", self.when)?;
        match self.count {
            count if count == self.when.default_count() => Ok(()),
            Some(count) => write!(formatter, " count={count}"),
            None => formatter.write_str(" sticky"),
        }
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(nth) => write!(formatter, "nth={nth}"),
            Self::Every(every) => write!(formatter, "every={every}"),
            Self::Rate { permille, seed } => write!(formatter, "rate={permille}:{seed}"),
        }
    }
}

impl FromStr for Fault {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut line = Cursor::new(text, 1);
        let fault = Self::parse(&mut line)?;
        line.end()?;
        Ok(fault)
    }
}

impl Fault {
    /// Takes a fault from a line.
    ///
    /// # Errors
    /// Where the line says something else, and what was expected there.
    pub fn parse(line: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let word = line.token()?;
        let Some(kind) = FaultKind::named(word) else {
            let names = FaultKind::all().map(FaultKind::name).collect::<Vec<_>>().join(", ");
            return Err(line.error(format!("there is no fault `{word}`; there are {names}")));
        };
        let mut scope = Scope::default();
        if line.accept("on=") {
            scope.call = Some(word_of(line)?);
            let is_one_of_several = |call| kind.calls().len() > 1 && kind.calls().contains(&call);
            if !scope.call.is_some_and(is_one_of_several) {
                return Err(line.error(format!("`{kind}` can't be restricted to these calls")));
            }
        }
        let mut error = None;
        if line.accept("error=") {
            error = Some(word_of(line)?);
            if !kind.reports_error() {
                return Err(line.error(format!("`{kind}` reports no error of choice")));
            }
            if error == Some(Errno::EINTR) && kind != FaultKind::IoError {
                return Err(line.error(format!("`{kind}` has an effect, and an interrupted call has none")));
            }
        }
        if line.accept("file=") {
            scope.file = Some(word_of(line)?);
        }
        if line.accept("range=") {
            scope.range = Some(parse_range(line)?);
        }
        let when = parse_occasion(line)?;
        let count = if line.accept("sticky") {
            None
        } else if line.accept("count=") {
            Some(positive(line, "a fault strikes once at least")?)
        } else {
            when.default_count()
        };
        Ok(Self { kind, error, scope, when, count })
    }
}

fn parse_range(line: &mut Cursor<'_>) -> Result<Range<u64>, ParseError> {
    let start = line.number()?;
    line.expect("..")?;
    let end = line.number()?;
    if start < end { Ok(start..end) } else { Err(line.error(format!("the range {start}..{end} is empty"))) }
}

fn parse_occasion(line: &mut Cursor<'_>) -> Result<Occasion, ParseError> {
    const FROM_1: &str = "occasions are counted from 1";
    if line.accept("every=") {
        return Ok(Occasion::Every(positive(line, FROM_1)?));
    }
    if line.accept("rate=") {
        let permille = line.number()?;
        if !(1..=1000).contains(&permille) {
            return Err(line.error("a rate is given in thousandths, 1 to 1000"));
        }
        line.expect(":")?;
        return Ok(Occasion::Rate { permille, seed: line.number()? });
    }
    if line.accept("nth=") {
        return Ok(Occasion::Nth(positive(line, FROM_1)?));
    }
    let found = line.token().unwrap_or("nothing");
    Err(line.error(format!("expected `nth=`, `every=` or `rate=`, found `{found}`")))
}

fn positive(line: &mut Cursor<'_>, rule: &str) -> Result<u64, ParseError> {
    match line.number()? {
        0 => Err(line.error(rule)),
        number => Ok(number),
    }
}

fn word_of<T: FromStr<Err: fmt::Display>>(line: &mut Cursor<'_>) -> Result<T, ParseError> {
    if line.rest().starts_with(char::is_whitespace) || line.rest().is_empty() {
        return Err(line.error("expected a value behind the `=`"));
    }
    let token = line.token()?;
    token.parse().map_err(|error| line.error(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::super::IoKind;
    use super::*;

    #[test]
    fn text_forms_survive_a_round_trip() {
        for text in [
            "io-error nth=1",
            "io-error on=sync-directory error=ENOSPC file=log-* range=0..4096 nth=3 count=2",
            "io-error on=open nth=3 sticky",
            "sync-lost error=EDQUOT every=2",
            "ignore-sync every=2 count=7",
            "lost-write rate=20:8571",
            "stale-read file=data rate=1000:0 count=1",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for kind in FaultKind::all() {
            for fault in [Fault::once(kind, 3), Fault::every(kind, 2)] {
                assert_eq!(fault.to_string().parse(), Ok(fault));
            }
        }
        let spelled_out = "  sync-lost   nth=2 count=1 ".parse::<Fault>().unwrap();
        assert_eq!(spelled_out, Fault::once(FaultKind::SyncLost, 2));
        let fault = Fault { error: Some(Errno::EIO), ..Fault::once(FaultKind::IoError, 1).on(IoKind::Read) };
        assert_eq!(fault.to_string(), "io-error on=read error=EIO nth=1");
    }

    #[test]
    fn errors_say_where_and_what() {
        let check = |text: &str, column: usize, message: &str| {
            let error = text.parse::<Fault>().unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.message.contains(message), "{error}");
        };
        check("", 1, "something more");
        check("burn nth=1", 1, "there are short-read, ");
        check("ignore-sync:3", 1, "no fault `ignore-sync:3`");
        check("io-error", 9, "`nth=`, `every=` or `rate=`");
        check("io-error soon", 10, "found `soon`");
        check("io-error nth=0", 14, "from 1");
        check("io-error nth=1 count=0", 22, "once at least");
        check("io-error nth=1 often", 16, "end of the line");
        check("io-error every=x", 16, "number");
        check("io-error rate=1001:1", 15, "1 to 1000");
        check("io-error rate=5", 16, "`:`");
        check("io-error on=swim nth=1", 13, "swim");
        check("sync-lost on=sync nth=1", 14, "`sync-lost` can't be restricted");
        check("io-error error=EFUN nth=1", 16, "EFUN");
        check("ignore-sync error=EIO nth=1", 19, "`ignore-sync` reports no error");
        check("partial-write error=EINTR nth=1", 21, "`partial-write` has an effect");
        check("sync-lost error=EINTR nth=1", 17, "an interrupted call has none");
        check("io-error file= nth=1", 10, "behind the `=`");
        check("io-error range=5..5 nth=1", 19, "empty");
        check("io-error range=5-6 nth=1", 17, "`..`");
    }
}
