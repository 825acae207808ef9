//! The text form of events and histories: one event a line.

use std::fmt;
use std::str::FromStr;

use crate::text::operation::write_scan;
use crate::text::{BytesText, Cursor, ParseError, ValueText, lines, parse_whole};
use crate::{ClientId, Commit, Denial, Event, History, Key, Mutation, Refusal, Retention, TxnId, Value};

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl FromStr for History {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<History, ParseError> {
        let mut events = Vec::new();
        for mut line in lines(text) {
            events.push(line.event()?);
            line.end()?;
        }
        Ok(History { events })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Asked { client, call } => write!(f, "asked {client} {call}"),
            Event::Begin { client, txn, mode, snapshot } => {
                write!(f, "begin {txn} {client} {mode}")?;
                write_id(f, "snapshot", *snapshot)
            }
            Event::Refused { client, mode, reason, oldest } => {
                write!(f, "refused {client} {mode} {reason}")?;
                write_id(f, "oldest", *oldest)
            }
            Event::Get { txn, key, value } => {
                write!(f, "get {txn} {} -> ", BytesText(key))?;
                match value {
                    Some(value) => write!(f, "{}", ValueText(value)),
                    None => f.write_str("none"),
                }
            }
            Event::Scan { txn, range, limit, reverse, pairs } => {
                write!(f, "scan {txn} ")?;
                write_scan(f, range, *limit, *reverse)?;
                write_pairs(f, pairs)
            }
            Event::Put { txn, key, value } => write!(f, "put {txn} {} {}", BytesText(key), ValueText(value)),
            Event::Delete { txn, key } => write!(f, "delete {txn} {}", BytesText(key)),
            Event::DeleteRange { txn, range, count, keys } => {
                write!(f, "delete-range {txn} {range} count={count} ->")?;
                write_keys(f, keys)
            }
            Event::Savepoint { txn, savepoint } => write!(f, "savepoint {txn} {savepoint}"),
            Event::Rollback { txn, savepoint, is_refused } => {
                write!(f, "rollback {txn} {savepoint}{}", if *is_refused { " refused" } else { "" })
            }
            Event::Mark { txn, mark, is_persistent } => {
                write!(f, "mark {txn} {mark}{}", if *is_persistent { " persistent" } else { "" })
            }
            Event::Restore { txn, mark, is_refused } => {
                write!(f, "restore {txn} {mark}{}", if *is_refused { " refused" } else { "" })
            }
            Event::Forget { txn, mark, is_refused } => {
                write!(f, "forget {txn} {mark}{}", if *is_refused { " refused" } else { "" })
            }
            Event::Submit { txn, durability } => write!(f, "submit {txn} {durability}"),
            Event::Ticket { txn, id } => {
                write!(f, "ticket {txn}")?;
                write_id(f, "id", *id)
            }
            Event::Committed { txn, id } => {
                write!(f, "committed {txn}")?;
                write_id(f, "id", *id)
            }
            Event::Aborted { txn } => write!(f, "aborted {txn}"),
            Event::Denied { txn, reason } => write!(f, "denied {txn} {reason}"),
            Event::Changes { from, limit, oldest, commits } => {
                write!(f, "changes {from}")?;
                if *limit != usize::MAX {
                    write!(f, " limit={limit}")?;
                }
                write_id(f, "oldest", *oldest)?;
                write_commits(f, commits)
            }
            Event::ChangesRefused { from, reason, oldest } => {
                write!(f, "changes {from} refused {reason}")?;
                write_id(f, "oldest", *oldest)
            }
            Event::Backup { at, latest, oldest, state } => {
                write!(f, "backup at={at} latest={latest} oldest={oldest}")?;
                write_pairs(f, state)
            }
            Event::Space { bytes: Some(bytes) } => write!(f, "space {bytes}"),
            Event::Space { bytes: None } => f.write_str("space free"),
            Event::OutOfSpace { client, what } => {
                write_told(f, "out-of-space", *client)?;
                write!(f, " {}", BytesText(what.as_bytes()))
            }
            Event::Fault { class, failure, is_passing, groups, call } => {
                write!(f, "fault {class}")?;
                failure.map_or(Ok(()), |failure| write!(f, " failed={failure}"))?;
                f.write_str(if *is_passing { " passing" } else { "" })?;
                groups.map_or(Ok(()), |groups| write!(f, " groups={groups}"))?;
                write!(f, " {}", BytesText(call.as_bytes()))
            }
            Event::MadeGood => f.write_str("made-good"),
            Event::Healed => f.write_str("healed"),
            Event::GaveUp { client, what, error } => {
                write_told(f, "gave-up", *client)?;
                write_failure(f, what, error)
            }
            Event::Poisoned { client, what } => {
                write_told(f, "poisoned", *client)?;
                write!(f, " {}", BytesText(what.as_bytes()))
            }
            Event::Corrupt { client, what, error } => {
                write_told(f, "corrupt", *client)?;
                write_failure(f, what, error)
            }
            Event::Durable => f.write_str("durable"),
            Event::Closed => f.write_str("closed"),
            Event::Crash { is_power_loss: true } => f.write_str("crash"),
            Event::Crash { is_power_loss: false } => f.write_str("crash process"),
            Event::Opening => f.write_str("opening"),
            Event::Opened { latest, oldest, retention, state } => {
                f.write_str("opened")?;
                write_id(f, "latest", *latest)?;
                write_id(f, "oldest", *oldest)?;
                retention.map_or(Ok(()), |retention| write!(f, " retention={retention}"))?;
                write_pairs(f, state)
            }
            Event::Failed { what, error } => {
                f.write_str("failed")?;
                write_failure(f, what, error)
            }
            Event::Stuck { kind, what } => write!(f, "stuck {kind} {}", BytesText(what.as_bytes())),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::WriteBusy => "write-busy",
            Refusal::SnapshotNotFound => "snapshot-not-found",
            Refusal::ChangesNotRetained => "changes-not-retained",
            Refusal::Poisoned => "poisoned",
        })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Conflict { key } => write!(f, "conflict {}", BytesText(key)),
            Denial::WriteBusy => f.write_str("write-busy"),
            Denial::OutOfSpace => f.write_str("out-of-space"),
            Denial::Poisoned => f.write_str("poisoned"),
        }
    }
}

impl FromStr for Event {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Event, ParseError> {
        parse_whole(text, |cursor| cursor.event())
    }
}

impl FromStr for Refusal {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Refusal, ParseError> {
        parse_whole(text, |cursor| cursor.refusal())
    }
}

impl Cursor<'_> {
    /// Takes an event, such as `committed t1 id=5`.
    pub fn event(&mut self) -> Result<Event, ParseError> {
        Ok(match self.word()? {
            "asked" => Event::Asked { client: self.client()?, call: self.call()? },
            "begin" => {
                let (txn, client, mode) = (self.label()?, self.client()?, self.mode()?);
                Event::Begin { client, txn, mode, snapshot: self.named_id("snapshot=")? }
            }
            "refused" => {
                let (client, mode, reason) = (self.client()?, self.mode()?, self.refusal()?);
                Event::Refused { client, mode, reason, oldest: self.named_id("oldest=")? }
            }
            "get" => {
                let (txn, key) = (self.label()?, self.bytes()?);
                self.expect("->")?;
                let value = if self.accept("none") { None } else { Some(self.value()?) };
                Event::Get { txn, key, value }
            }
            "scan" => {
                let txn = self.label()?;
                let (range, limit, reverse) = self.scan()?;
                Event::Scan { txn, range, limit, reverse, pairs: self.pairs()? }
            }
            "put" => Event::Put { txn: self.label()?, key: self.bytes()?, value: self.value()? },
            "delete" => Event::Delete { txn: self.label()?, key: self.bytes()? },
            "delete-range" => {
                let (txn, range) = (self.label()?, self.range()?);
                self.expect("count=")?;
                Event::DeleteRange { txn, range, count: self.number()?, keys: self.keys()? }
            }
            "savepoint" => Event::Savepoint { txn: self.label()?, savepoint: self.savepoint()? },
            "rollback" => {
                let (txn, savepoint) = (self.label()?, self.savepoint()?);
                Event::Rollback { txn, savepoint, is_refused: self.accept("refused") }
            }
            "mark" => {
                let (txn, mark) = (self.label()?, self.mark()?);
                Event::Mark { txn, mark, is_persistent: self.accept("persistent") }
            }
            "restore" => {
                let (txn, mark) = (self.label()?, self.mark()?);
                Event::Restore { txn, mark, is_refused: self.accept("refused") }
            }
            "forget" => {
                let (txn, mark) = (self.label()?, self.mark()?);
                Event::Forget { txn, mark, is_refused: self.accept("refused") }
            }
            "submit" => Event::Submit { txn: self.label()?, durability: self.durability()? },
            "ticket" => Event::Ticket { txn: self.label()?, id: self.named_id("id=")? },
            "committed" => Event::Committed { txn: self.label()?, id: self.named_id("id=")? },
            "aborted" => Event::Aborted { txn: self.label()? },
            "denied" => Event::Denied { txn: self.label()?, reason: self.denial()? },
            "changes" => self.changes()?,
            "backup" => {
                let mut part = |name| self.expect(name).and_then(|()| self.txn_id());
                let (at, latest, oldest) = (part("at=")?, part("latest=")?, part("oldest=")?);
                Event::Backup { at, latest, oldest, state: self.pairs()? }
            }
            "space" if self.accept("free") => Event::Space { bytes: None },
            "space" => Event::Space { bytes: Some(self.number()?) },
            "out-of-space" => Event::OutOfSpace { client: self.told()?, what: self.string()? },
            "fault" => {
                let class = self.fault_class()?;
                let failure = if self.accept("failed=") { Some(self.failure()?) } else { None };
                let is_passing = self.accept("passing");
                let groups = if self.accept("groups=") { Some(self.number()?) } else { None };
                Event::Fault { class, failure, is_passing, groups, call: self.string()? }
            }
            "made-good" => Event::MadeGood,
            "healed" => Event::Healed,
            "gave-up" => {
                let client = self.told()?;
                Event::GaveUp { client, what: self.string()?, error: self.string()? }
            }
            "poisoned" => Event::Poisoned { client: self.told()?, what: self.string()? },
            "corrupt" => {
                let client = self.told()?;
                Event::Corrupt { client, what: self.string()?, error: self.string()? }
            }
            "durable" => Event::Durable,
            "closed" => Event::Closed,
            "crash" => Event::Crash { is_power_loss: !self.accept("process") },
            "opening" => Event::Opening,
            "opened" => {
                let (latest, oldest) = (self.named_id("latest=")?, self.named_id("oldest=")?);
                let retention = self.retention()?;
                Event::Opened { latest, oldest, retention, state: self.pairs()? }
            }
            "failed" => Event::Failed { what: self.string()?, error: self.string()? },
            "stuck" => Event::Stuck { kind: self.stuck()?, what: self.string()? },
            other => return Err(self.error(format!("unknown event `{other}`"))),
        })
    }

    /// Who was told, if that is said.
    fn told(&mut self) -> Result<Option<ClientId>, ParseError> {
        if self.accept("to=") { self.client().map(Some) } else { Ok(None) }
    }

    fn refusal(&mut self) -> Result<Refusal, ParseError> {
        match self.word()? {
            "write-busy" => Ok(Refusal::WriteBusy),
            "snapshot-not-found" => Ok(Refusal::SnapshotNotFound),
            "changes-not-retained" => Ok(Refusal::ChangesNotRetained),
            "poisoned" => Ok(Refusal::Poisoned),
            other => {
                let expected = "expected write-busy, snapshot-not-found, changes-not-retained or poisoned";
                Err(self.error(format!("unknown refusal `{other}`: {expected}")))
            }
        }
    }

    fn denial(&mut self) -> Result<Denial, ParseError> {
        match self.word()? {
            "conflict" => Ok(Denial::Conflict { key: self.bytes()? }),
            "write-busy" => Ok(Denial::WriteBusy),
            "out-of-space" => Ok(Denial::OutOfSpace),
            "poisoned" => Ok(Denial::Poisoned),
            other => {
                let expected = "expected conflict, write-busy, out-of-space or poisoned";
                Err(self.error(format!("unknown denial `{other}`: {expected}")))
            }
        }
    }

    fn changes(&mut self) -> Result<Event, ParseError> {
        let from = self.txn_id()?;
        if self.accept("refused") {
            let reason = self.refusal()?;
            return Ok(Event::ChangesRefused { from, reason, oldest: self.named_id("oldest=")? });
        }
        let limit = if self.accept("limit=") { self.number()? } else { usize::MAX };
        let oldest = self.named_id("oldest=")?;
        self.expect("->")?;
        let mut commits = Vec::new();
        if self.accept("none") {
            return Ok(Event::Changes { from, limit, oldest, commits });
        }
        loop {
            let id = self.txn_id()?;
            self.expect(":")?;
            let mut mutations = Vec::new();
            while !self.at_end() && !self.rest().starts_with(',') {
                let key = self.bytes()?;
                self.expect("=")?;
                let value = if self.accept("none") { None } else { Some(self.value()?) };
                mutations.push(Mutation { key, value });
            }
            commits.push(Commit { id, mutations });
            if !self.accept(",") {
                return Ok(Event::Changes { from, limit, oldest, commits });
            }
        }
    }

    fn keys(&mut self) -> Result<Vec<Key>, ParseError> {
        self.expect("->")?;
        let mut keys = Vec::new();
        if self.accept("none") {
            return Ok(keys);
        }
        loop {
            keys.push(self.bytes()?);
            if self.at_end() {
                return Ok(keys);
            }
        }
    }

    fn retention(&mut self) -> Result<Option<Retention>, ParseError> {
        if !self.accept("retention=") {
            return Ok(None);
        }
        self.token()?.parse().map(Some).map_err(|error: String| self.error(error))
    }

    fn named_id(&mut self, name: &str) -> Result<Option<TxnId>, ParseError> {
        if self.accept(name) { self.txn_id().map(Some) } else { Ok(None) }
    }

    fn pairs(&mut self) -> Result<Vec<(Key, Value)>, ParseError> {
        self.expect("->")?;
        let mut pairs = Vec::new();
        if self.accept("none") {
            return Ok(pairs);
        }
        loop {
            let key = self.bytes()?;
            self.expect("=")?;
            pairs.push((key, self.value()?));
            if self.at_end() {
                return Ok(pairs);
            }
        }
    }
}

fn write_id(f: &mut fmt::Formatter<'_>, name: &str, id: Option<TxnId>) -> fmt::Result {
    id.map_or(Ok(()), |id| write!(f, " {name}={id}"))
}

/// The name of an event, and who was told.
fn write_told(f: &mut fmt::Formatter<'_>, name: &str, client: Option<ClientId>) -> fmt::Result {
    f.write_str(name)?;
    client.map_or(Ok(()), |client| write!(f, " to={client}"))
}

fn write_failure(f: &mut fmt::Formatter<'_>, what: &str, error: &str) -> fmt::Result {
    write!(f, " {} {}", BytesText(what.as_bytes()), BytesText(error.as_bytes()))
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[Key]) -> fmt::Result {
    if keys.is_empty() {
        return f.write_str(" none");
    }
    keys.iter().try_for_each(|key| write!(f, " {}", BytesText(key)))
}

fn write_commits(f: &mut fmt::Formatter<'_>, commits: &[Commit]) -> fmt::Result {
    f.write_str(" ->")?;
    if commits.is_empty() {
        return f.write_str(" none");
    }
    for (index, Commit { id, mutations }) in commits.iter().enumerate() {
        write!(f, "{} {id}:", if index == 0 { "" } else { "," })?;
        for Mutation { key, value } in mutations {
            match value {
                Some(value) => write!(f, " {}={}", BytesText(key), ValueText(value))?,
                None => write!(f, " {}=none", BytesText(key))?,
            }
        }
    }
    Ok(())
}

fn write_pairs(f: &mut fmt::Formatter<'_>, pairs: &[(Key, Value)]) -> fmt::Result {
    f.write_str(" ->")?;
    if pairs.is_empty() {
        return f.write_str(" none");
    }
    pairs.iter().try_for_each(|(key, value)| write!(f, " {}={}", BytesText(key), ValueText(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_FORM: &str = r#"opened -> none
opened latest=4 oldest=0 retention=txns:8 -> none
opened retention=all -> none
opened latest=4 oldest=0 -> "a"=#1*8 "b\x00"="other"
begin t1 c0 write snapshot=4
begin t2 c1 read@17
begin t3 c1 read
refused c0 write write-busy
refused c0 read@9 snapshot-not-found
refused c0 read@9 snapshot-not-found oldest=2
get t1 "k01" -> none
get t1 "k01" -> #17*64
get t1 "" -> ""
scan t1 ["a" .. "b") limit=10 reverse -> "a1"=#9*20 "a"=#3*8
scan t1 (-inf .. +inf) -> none
put t1 "k" #18*64
delete t1 "k"
submit t1 sync
submit t2 buffered
committed t1 id=5
committed t2
aborted t3
begin t4 c1 optimistic
delete-range t4 ["a" .. "c") count=2 -> "a" "b\x00"
delete-range t4 (-inf .. +inf) count=0 -> none
savepoint t4 s1
rollback t4 s1
rollback t4 s2 refused
mark t6 m1
mark t6 m2 persistent
restore t6 m1
restore t6 m2 refused
forget t6 m1
forget t6 m2 refused
ticket t4 id=7
ticket t5
denied t4 conflict "k\x01"
denied t4 write-busy
denied t4 out-of-space
denied t4 poisoned
refused c0 write poisoned
changes 3 -> none
changes 3 limit=2 oldest=1 -> 3: "a"=#1*8 "b"=none, 4:
changes 4 -> 4: ""=""
changes 1 refused changes-not-retained oldest=4
changes 99 refused snapshot-not-found
backup at=3 latest=4 oldest=3 -> "a"=#1*8
backup at=4 latest=4 oldest=3 -> none
space 8192
space free
out-of-space "checkpoint"
fault environment "write-back-lost"
fault environment failed=sync "sync data /db/log"
fault environment failed=change no-space "write"
fault environment failed=look "read"
fault environment failed=look fatal "read"
fault environment failed=sync no-space fatal "sync"
fault damage groups=1 "bit-rot"
fault damage "misdirected-write"
fault damage passing "misdirected-read"
fault damage passing groups=1 "stale-read"
fault lie ""
fault transparent "short-read"
made-good
healed
gave-up "commit" "an error"
poisoned "checkpoint"
corrupt "get" "page 7"
durable
closed
crash
crash process
opening
asked c0 begin read
asked c3 begin read@17
asked c3 begin optimistic
asked c3 end
asked c9 flush
asked c9 changes
asked c9 backup
stuck deadlock "c3: commit, c9: flush"
stuck livelock ""
failed "commit" "no \"space\" left\x0a\xc3\xa9"
"#;

    #[test]
    fn every_form_round_trips() {
        let history: History = EVERY_FORM.parse().unwrap();
        assert_eq!(history.events.len(), EVERY_FORM.lines().count());
        assert_eq!(history.to_string(), EVERY_FORM);
        for event in &history.events {
            assert_eq!(event.to_string().parse::<Event>().as_ref(), Ok(event));
        }
        let Some(Event::Failed { error, .. }) = history.events.last() else {
            panic!("the last event is a failure")
        };
        assert_eq!(error, "no \"space\" left\n\u{e9}");
    }

    #[test]
    fn comments_and_blank_lines_are_no_events() {
        let history: History = "# what follows\n\n  crash\n\t# and\ndurable\n".parse().unwrap();
        assert_eq!(history.events, [Event::Crash { is_power_loss: true }, Event::Durable]);
        assert_eq!("".parse(), Ok(History::default()));
    }

    #[test]
    fn errors_name_line_and_column() {
        let error = |text: &str| text.parse::<History>().unwrap_err().to_string();
        assert_eq!(error("crash\n\ncrush"), "line 3, column 1: unknown event `crush`");
        assert_eq!(error("crash\nget t1 \"k\" => none"), "line 2, column 12: expected `->`, found `=>`");
        assert_eq!(error("crash now"), "line 1, column 7: expected the end of the line, found `now`");
        assert_eq!(
            error("crash process only"),
            "line 1, column 15: expected the end of the line, found `only`"
        );
        assert_eq!(
            error("fault environment failed=write \"\""),
            "line 1, column 26: no call that fails is called `write`; there are look, change, sync"
        );
        assert_eq!(
            error("begin c0 t1 read"),
            "line 1, column 7: expected a transaction such as t1, found `c0`"
        );
        assert_eq!(
            error("opened ->"),
            "line 1, column 10: expected a byte string in double quotes, but the line ends"
        );
        assert_eq!(error("failed \"x\" \"\\xff\""), "line 1, column 12: this string is not UTF-8");
        assert_eq!(
            error("opened retention=some -> none"),
            "line 1, column 18: retention is latest, all, or txns:N"
        );
        assert_eq!(
            error("refused c0 write busy"),
            "line 1, column 18: unknown refusal `busy`: \
             expected write-busy, snapshot-not-found, changes-not-retained or poisoned"
        );
    }

    #[test]
    fn mangled_text_never_panics() {
        let bytes = EVERY_FORM.as_bytes();
        for at in 0..bytes.len() {
            for replacement in [b' ', b'"', b'\\', b'#', b'9', b'x'] {
                let mut mangled = bytes.to_vec();
                mangled[at] = replacement;
                let text = String::from_utf8(mangled).unwrap();
                if let Ok(history) = text.parse::<History>() {
                    assert_eq!(
                        history.to_string().parse(),
                        Ok(history),
                        "byte {at} as {}",
                        replacement as char
                    );
                }
            }
            let _ = EVERY_FORM[..at].parse::<History>();
        }
    }
}
