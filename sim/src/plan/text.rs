//! The text form of plans: one setting or one step a line, for people to read, edit and compare.
//!
//! Printing and parsing are exact inverses. A plan that a person writes may leave out any setting, which then has its
//! default; a setting stands before the first step and at most once (`sabotage` any number of times), and a `profile`
//! before the single knobs that it sets. Blank lines, and lines that start with `#`, mean nothing; neither does a byte
//! order mark, with which some editors begin a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use proofmark_model::text::{self, lines};
use proofmark_model::{ClientId, Operation, ParseError};
use xxhash_rust::xxh3::xxh3_128;

use super::limits::{
    Budget, Excess, check_cache_bytes, check_log_chunk_bytes, check_operation, check_page_size,
    check_segment_bytes,
};
use super::{Action, Begin, Config, CrashSpec, Cursor, Plan, Schedule, Step, Strike, Switch};
use crate::disk::{DiskOptions, Fault, Moment, Profile};
use crate::store::StoreKind;

/// The version of the text form that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// The settings that a profile sets as well.
const KNOBS: [&str; 4] = ["order", "sizes", "granule", "directories"];

const BYTE_ORDER_MARK: char = '\u{feff}';

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "proofmark plan {VERSION}")?;
        if let Some(seed) = self.seed {
            writeln!(f, "seed {seed}")?;
        }
        writeln!(f, "store {}", self.store)?;
        writeln!(f, "page-size {}", self.config.page_size)?;
        writeln!(f, "cache-bytes {}", self.config.cache_bytes)?;
        writeln!(f, "segment-bytes {}", self.config.segment_bytes)?;
        // What came later is written only where it is not the default, so that older plans print as they were written.
        let default = Config::default();
        if self.config.spare_segments != default.spare_segments {
            writeln!(f, "spare-segments {}", self.config.spare_segments)?;
        }
        if self.config.log_chunk_bytes != default.log_chunk_bytes {
            writeln!(f, "log-chunk-bytes {}", self.config.log_chunk_bytes)?;
        }
        if self.config.stream_bytes != default.stream_bytes {
            writeln!(f, "stream-bytes {}", self.config.stream_bytes)?;
        }
        writeln!(f, "write-tier-bytes {}", self.config.write_tier_bytes)?;
        writeln!(f, "retention {}", self.config.retention)?;
        if self.config.prune {
            writeln!(f, "prune yes")?;
        }
        writeln!(f, "two-phase-commit {}", yes_or_no(self.config.two_phase_commit))?;
        if self.config.quick_repair {
            writeln!(f, "quick-repair yes")?;
        }
        match Profile::of(&self.disk) {
            Some(profile) if profile != Profile::PosixWorst => writeln!(f, "profile {profile}")?,
            _ => {
                let default = DiskOptions::default();
                if self.disk.order != default.order {
                    writeln!(f, "order {}", self.disk.order)?;
                }
                if self.disk.sizes != default.sizes {
                    writeln!(f, "sizes {}", self.disk.sizes)?;
                }
            }
        }
        writeln!(f, "granule {}", self.disk.granule)?;
        writeln!(f, "directories {}", self.disk.directory_persistence)?;
        writeln!(f, "dirty-bytes-max {}", self.disk.dirty_bytes_max)?;
        if self.schedule != Schedule::default() {
            writeln!(f, "schedule {}", self.schedule)?;
        }
        for sabotage in &self.sabotage {
            writeln!(f, "sabotage {sabotage}")?;
        }
        writeln!(f)?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Client(client, action) => write!(f, "{client} {action}"),
            Step::Checkpoint => f.write_str("checkpoint"),
            Step::Compact => f.write_str("compact"),
            Step::Backup => f.write_str("backup"),
            Step::Changes { cursor, limit } => {
                f.write_str("changes")?;
                if let Cursor::Back(back) = cursor {
                    write!(f, " back={back}")?;
                }
                if *limit == usize::MAX { Ok(()) } else { write!(f, " limit={limit}") }
            }
            Step::Space(Some(bytes)) => write!(f, "space {bytes}"),
            Step::Space(None) => f.write_str("space free"),
            Step::Fault(fault) => write!(f, "fault {fault}"),
            Step::Heal => f.write_str("heal"),
            Step::Verify => f.write_str("verify"),
            Step::Reopen => f.write_str("reopen"),
            Step::Abandon => f.write_str("abandon"),
            Step::Crash(spec) => {
                for (index, strike) in spec.strikes.iter().enumerate() {
                    write!(f, "{} {strike}", if index == 0 { "crash" } else { "," })?;
                }
                Ok(())
            }
            Step::Switch(switch) => write!(f, "switch {switch}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Begin(Begin::Read) => f.write_str("begin read"),
            Action::Begin(Begin::ReadBack(back)) => write!(f, "begin read back={back}"),
            Action::Begin(Begin::Write) => f.write_str("begin write"),
            Action::Begin(Begin::Optimistic) => f.write_str("begin optimistic"),
            Action::Operation(operation) => operation.fmt(f),
            Action::Commit(durability) => write!(f, "commit {durability}"),
            Action::Submit => f.write_str("submit"),
            Action::Wait => f.write_str("wait"),
            Action::Abort => f.write_str("abort"),
            Action::Mark { mark, is_persistent } => {
                write!(f, "mark {mark}{}", if *is_persistent { " persistent" } else { "" })
            }
            Action::Restore(mark) => write!(f, "restore {mark}"),
            Action::Forget(mark) => write!(f, "forget {mark}"),
            Action::Tend => f.write_str("tend"),
            Action::Panic => f.write_str("panic"),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call={} {} keep={}", self.call, self.moment, self.keep)
    }
}

impl FromStr for Plan {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Plan, ParseError> {
        let mut lines = lines(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text));
        let mut header = lines.next().unwrap_or_else(|| text::Cursor::new("", 1));
        parse_header(&mut header)?;
        let mut parser = Parser {
            plan: Plan::new(StoreKind::default()),
            settings: BTreeSet::new(),
            values: BTreeMap::new(),
            budget: Budget::default(),
        };
        for mut line in lines {
            parser.line(&mut line)?;
            line.end()?;
        }
        Ok(parser.plan)
    }
}

fn parse_header(line: &mut text::Cursor<'_>) -> Result<(), ParseError> {
    line.expect("proofmark")?;
    line.expect("plan")?;
    let version: u32 = line.number()?;
    if version != VERSION {
        return Err(line.error(format!("this program reads version {VERSION} of plans, not {version}")));
    }
    line.end()
}

struct Parser<'a> {
    plan: Plan,
    /// Those that were read.
    settings: BTreeSet<&'a str>,
    /// On which line each value is written, by its hash: values may be large.
    values: BTreeMap<u128, usize>,
    budget: Budget,
}

impl<'a> Parser<'a> {
    fn line(&mut self, line: &mut text::Cursor<'a>) -> Result<(), ParseError> {
        let word = line.word()?;
        let step = match word {
            "checkpoint" => Step::Checkpoint,
            "compact" => Step::Compact,
            "backup" => Step::Backup,
            "changes" => parse_changes(line)?,
            "space" if line.accept("free") => Step::Space(None),
            "space" => Step::Space(Some(line.number()?)),
            "fault" => Step::Fault(Fault::parse(line)?),
            "heal" => Step::Heal,
            "verify" => Step::Verify,
            "reopen" => Step::Reopen,
            "abandon" => Step::Abandon,
            "crash" => Step::Crash(parse_crash(line)?),
            "switch" => Step::Switch(Switch::parse(line)?),
            _ => match word.parse::<ClientId>() {
                Ok(client) => Step::Client(client, self.action(line)?),
                Err(_) => return self.setting(word, line),
            },
        };
        self.plan.steps.push(step);
        Ok(())
    }

    fn setting(&mut self, name: &'a str, line: &mut text::Cursor<'a>) -> Result<(), ParseError> {
        let first = self.settings.insert(name);
        let (config, disk) = (&mut self.plan.config, &mut self.plan.disk);
        if !self.plan.steps.is_empty() {
            return Err(
                line.error(format!("expected a step, found `{name}`: settings stand before the steps"))
            );
        }
        if !first && name != "sabotage" {
            return Err(line.error(format!("`{name}` was set before")));
        }
        if name == "profile" && KNOBS.iter().any(|knob| self.settings.contains(knob)) {
            return Err(line
                .error("a profile sets every knob of the disk: it stands before those that differ from it"));
        }
        match name {
            "seed" => self.plan.seed = Some(line.number()?),
            "store" => self.plan.store = parse_word(line)?,
            "page-size" => {
                config.page_size = line.number()?;
                possible(check_page_size(config.page_size), line)?;
            }
            "cache-bytes" => {
                config.cache_bytes = line.number()?;
                possible(check_cache_bytes(config.cache_bytes), line)?;
            }
            "segment-bytes" => {
                config.segment_bytes = line.number()?;
                possible(check_segment_bytes(config.segment_bytes), line)?;
            }
            "log-chunk-bytes" => {
                config.log_chunk_bytes = line.number()?;
                possible(check_log_chunk_bytes(config.log_chunk_bytes), line)?;
            }
            "spare-segments" => config.spare_segments = line.number()?,
            "stream-bytes" => config.stream_bytes = line.number()?,
            "write-tier-bytes" => config.write_tier_bytes = line.number()?,
            "retention" => config.retention = parse_word(line)?,
            "prune" => config.prune = parse_yes_or_no(line)?,
            "two-phase-commit" => config.two_phase_commit = parse_yes_or_no(line)?,
            "profile" => parse_word::<Profile>(line)?.apply(disk),
            "order" => disk.order = parse_word(line)?,
            "sizes" => disk.sizes = parse_word(line)?,
            "quick-repair" => config.quick_repair = parse_yes_or_no(line)?,
            "granule" => disk.granule = parse_word(line)?,
            "directories" => disk.directory_persistence = parse_word(line)?,
            "dirty-bytes-max" => disk.dirty_bytes_max = line.number()?,
            "schedule" => self.plan.schedule = Schedule::parse(line)?,
            "sabotage" => self.plan.sabotage.push(Fault::parse(line)?),
            _ => return Err(line.error(format!("`{name}` is neither a setting nor a step"))),
        }
        Ok(())
    }

    fn action(&mut self, line: &mut text::Cursor<'_>) -> Result<Action, ParseError> {
        if line.accept("begin") {
            return Ok(Action::Begin(parse_begin(line)?));
        }
        if line.accept("commit") {
            return Ok(Action::Commit(line.durability()?));
        }
        if line.accept("mark") {
            return Ok(Action::Mark { mark: line.mark()?, is_persistent: line.accept("persistent") });
        }
        for (word, action) in [("restore", Action::Restore as fn(_) -> _), ("forget", Action::Forget)] {
            if line.accept(word) {
                return Ok(action(line.mark()?));
            }
        }
        let words = [
            ("submit", Action::Submit),
            ("wait", Action::Wait),
            ("abort", Action::Abort),
            ("tend", Action::Tend),
            ("panic", Action::Panic),
        ];
        for (word, action) in words {
            if line.accept(word) {
                return Ok(action);
            }
        }
        let mut key = line.clone();
        let operation = line.operation()?;
        if let Err(excess) = check_operation(&operation, self.plan.config.page_size) {
            // The whole operation was taken by now, and an error about its key points back.
            let place = if matches!(excess, Excess::Key(_)) {
                key.word()?;
                key.bytes()?;
                &key
            } else {
                line
            };
            return Err(place.error(excess.to_string()));
        }
        possible(self.budget.take(&operation), line)?;
        if let Operation::Put { value, .. } = &operation
            && let Some(before) = self.values.insert(xxh3_128(value), line.line())
        {
            return Err(line.error(format!("the value on line {before} is written again: values are unique")));
        }
        Ok(Action::Operation(operation))
    }
}

/// Points at what was taken last, if no plan may ask for it.
fn possible(checked: Result<(), Excess>, line: &text::Cursor<'_>) -> Result<(), ParseError> {
    checked.map_err(|excess| line.error(excess.to_string()))
}

fn parse_begin(line: &mut text::Cursor<'_>) -> Result<Begin, ParseError> {
    if line.accept("write") {
        return Ok(Begin::Write);
    }
    if line.accept("optimistic") {
        return Ok(Begin::Optimistic);
    }
    line.expect("read")?;
    Ok(parse_back(line)?.map_or(Begin::Read, Begin::ReadBack))
}

fn parse_back(line: &mut text::Cursor<'_>) -> Result<Option<i64>, ParseError> {
    if !line.accept("back=") {
        return Ok(None);
    }
    let distance = line.token()?;
    let back = distance.parse();
    back.map(Some).map_err(|_| line.error(format!("expected a distance, found `{distance}`")))
}

fn parse_changes(line: &mut text::Cursor<'_>) -> Result<Step, ParseError> {
    let cursor = parse_back(line)?.map_or(Cursor::Saved, Cursor::Back);
    let limit = if line.accept("limit=") { line.number()? } else { usize::MAX };
    Ok(Step::Changes { cursor, limit })
}

fn parse_crash(line: &mut text::Cursor<'_>) -> Result<CrashSpec, ParseError> {
    let mut strikes = Vec::new();
    loop {
        line.expect("call=")?;
        let call = line.number()?;
        if call == 0 {
            return Err(line.error("calls are counted from 1"));
        }
        let moment = if line.accept("after") {
            Moment::After
        } else if line.accept("during") {
            Moment::During
        } else {
            line.expect("before")?;
            Moment::Before
        };
        line.expect("keep=")?;
        let token = line.token()?;
        let keep = token.strip_suffix(',').unwrap_or(token);
        let keep = keep.parse().map_err(|error| line.error(format!("{error}")))?;
        strikes.push(Strike { call, moment, keep });
        if !token.ends_with(',') {
            return Ok(CrashSpec { strikes });
        }
    }
}

fn parse_word<T: FromStr<Err: fmt::Display>>(line: &mut text::Cursor<'_>) -> Result<T, ParseError> {
    let token = line.token()?;
    token.parse().map_err(|error| line.error(format!("{error}")))
}

fn parse_yes_or_no(line: &mut text::Cursor<'_>) -> Result<bool, ParseError> {
    if line.accept("yes") {
        return Ok(true);
    }
    line.expect("no")?;
    Ok(false)
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
mod tests;
