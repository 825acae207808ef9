//! `db log`: the files of the log, as they are on disk, even where no database can be opened.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use clap::Subcommand;
use proofmark_engine::{Database, Error, LogItem, Options, TxnId, scan_log};
use proofmark_vfs::RealVfs;

use super::{DbArguments, check_directory, damage, open_to_look};
use crate::cli::Ending;
use crate::cli::output::{Figures, STYLE_GOOD};

/// What is asked of a log.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LogCommand {
    /// Print every segment and every record with its operations.
    Dump(DbArguments),
    /// Go through the log as a recovery would, and say what it holds or what is damaged.
    Verify(DbArguments),
    /// Print where every record lies, and what looks like one beyond the end.
    Scan(DbArguments),
}

/// Does what is asked.
pub(super) fn carry_out(command: &LogCommand, out: &mut impl Write) -> anyhow::Result<Ending> {
    match command {
        LogCommand::Dump(DbArguments { path }) => print_all(path, true, out),
        LogCommand::Scan(DbArguments { path }) => print_all(path, false, out),
        LogCommand::Verify(DbArguments { path }) => verify(path, out),
    }
}

/// What the log holds, all segments together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogFigures {
    pub(super) segments: u64,
    pub(super) file_bytes: u64,
    /// Files that wait for being segments again.
    pub(super) spares: u64,
    pub(super) records: u64,
    pub(super) record_bytes: u64,
    /// The first and the last transaction.
    pub(super) transactions: Option<(TxnId, TxnId)>,
}

impl LogFigures {
    /// Counts what is in a database directory.
    pub(super) fn count(path: &Path) -> Result<LogFigures, Error> {
        let mut figures = LogFigures { spares: count_files(path, "spare-"), ..LogFigures::default() };
        scan_log(&RealVfs, path, &mut |item| {
            match item {
                LogItem::Segment { bytes, .. } => {
                    figures.segments += 1;
                    figures.file_bytes += bytes;
                }
                LogItem::Record { bytes, txn, .. } => {
                    figures.records += 1;
                    figures.record_bytes += bytes;
                    let first = figures.transactions.map_or(txn, |(first, _)| first);
                    figures.transactions = Some((first, txn));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(figures)
    }

    /// Adds rows to a table.
    pub(super) fn add_to(&self, figures: &mut Figures) {
        figures
            .count("log segments", self.segments)
            .count("  bytes of their files", self.file_bytes)
            .count("  records", self.records)
            .count("  bytes of records", self.record_bytes)
            .count("  spare files", self.spares);
        if let Some((first, last)) = self.transactions {
            figures.text("  transactions", &format!("{first} to {last}"));
        }
    }
}

fn verify(path: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    // Opening replays the log by all its rules.
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    let mut figures = Figures::new();
    LogFigures::count(path)?.add_to(&mut figures);
    figures.count("transaction of the last checkpoint", database.stats().checkpoint.0);
    figures.count("latest transaction", database.latest().0);
    writeln!(out, "{}", figures.render())?;
    writeln!(out, "{STYLE_GOOD}no damage{STYLE_GOOD:#} found in the log of {}", path.display())?;
    Ok(Ending::Sound)
}

/// Prints what is in the files, in whatever state they are.
fn print_all(path: &Path, with_operations: bool, out: &mut impl Write) -> anyhow::Result<Ending> {
    check_directory(path)?;
    match Database::open(path, &Options::new().read_only(true)) {
        // What is damaged is what somebody wants to look at.
        Ok(_) | Err(Error::Corruption { .. } | Error::UnsupportedFormat { .. }) => {}
        Err(Error::NotFound { .. }) if count_files(path, "log-") > 0 => {}
        Err(error) => return damage(error, out),
    }
    let mut printed = Ok(());
    scan_log(&RealVfs, path, &mut |item| {
        printed = print(&item, with_operations, out);
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    printed?;
    Ok(Ending::Sound)
}

/// The files in a directory whose names start like this.
fn count_files(path: &Path, prefix: &str) -> u64 {
    let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count() as u64
}

fn print(item: &LogItem<'_>, with_operations: bool, out: &mut impl Write) -> io::Result<()> {
    match item {
        LogItem::Segment { segment, bytes, header } => {
            let header = match header {
                Ok((database, first)) => format!("database={database} first={first}"),
                Err(reason) => format!("broken: {reason}"),
            };
            writeln!(out, "segment log-{:016x} bytes={bytes} {header}", segment.0)
        }
        LogItem::Record { offset, bytes, txn, durable_through, operations } => {
            let count = operations.len();
            writeln!(
                out,
                "  record at={offset} bytes={bytes} transaction={txn} durable-through={durable_through} operations={count}"
            )?;
            let shown = if with_operations { operations.as_slice() } else { &[] };
            shown.iter().try_for_each(|(key, value)| match value {
                Some(value) => writeln!(out, "    put \"{}\" {} bytes", key.escape_ascii(), value.len()),
                None => writeln!(out, "    delete \"{}\"", key.escape_ascii()),
            })
        }
        LogItem::End { offset, reason } => writeln!(out, "  end at={offset}: {reason}"),
        LogItem::Stray { offset, txn, durable_through } => {
            writeln!(out, "  stray header at={offset} transaction={txn} durable-through={durable_through}")
        }
        _ => Ok(()),
    }
}
