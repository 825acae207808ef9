//! `proofmark db`: looking into databases of the engine, and moving what is in them.
//!
//! What only looks opens the database for reading only, so that nothing on disk changes: a log that was not replayed
//! stays as it is, and a directory without a database stays without one. What changes something checks first whatever
//! it was given, and then says what it changed.

mod changes;
mod export;
mod lines;
mod load;
mod log;
mod look;
mod progress;
mod space;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use proofmark_engine::{Database, Error, Options, Retention, TxnId};

use super::Ending;
use super::output::STYLE_BAD;

pub(super) const EXAMPLES: &str = "\
Exit code: 0 if nothing is wrong, 1 if the database is damaged, 2 if there is none or it cannot be read,
130 after Ctrl-C.

Examples:
  proofmark db verify /var/lib/app/db
  proofmark db dump /var/lib/app/db | head
  proofmark db backup /var/lib/app/db /mnt/backup/db
  proofmark db export /var/lib/app/db pairs.txt
  proofmark db load --create /var/lib/app/copy pairs.txt";

/// What is asked of a database.
#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Check everything that can be checked: checksums, order, page accounting, the log.
    Verify(DbArguments),
    /// Print sizes and positions.
    Stats(DbArguments),
    /// Print the meta page, every page with its keys, and every record of the log.
    Dump(DbArguments),
    /// Look at the files of the log, even where no database can be opened.
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Print what each transaction changed: its number, `put` or `delete`, the key and the value, with tabs between.
    Changes(ChangesArguments),
    /// Write the data file anew without free pages.
    Compact(UseArguments),
    /// Write the latest snapshot, with all the history that is retained, to a new database.
    Backup(BackupArguments),
    /// Write every pair of a snapshot to a file, a line each.
    #[command(after_long_help = LINES)]
    Export(ExportArguments),
    /// Put every pair of an exported file into a database.
    #[command(after_long_help = LINES)]
    Load(LoadArguments),
}

/// A database to look at.
#[derive(Debug, Args)]
pub(super) struct DbArguments {
    /// The database directory. It must not be in use for writing.
    path: PathBuf,
}

/// A database to change.
#[derive(Debug, Args)]
pub(super) struct UseArguments {
    /// The database directory. It must not be in use.
    path: PathBuf,
}

/// Where in the history to begin.
#[derive(Debug, Args)]
pub(super) struct ChangesArguments {
    /// The database directory. It must not be in use for writing.
    path: PathBuf,
    /// The transaction to begin with [default: the first one whose changes are retained].
    #[arg(long, value_name = "TXN", value_parser = parse_txn)]
    from: Option<TxnId>,
}

/// A database, and where its copy goes.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The database directory. It must not be in use for writing.
    path: PathBuf,
    /// The directory of the copy, which must be empty or not exist yet.
    target: PathBuf,
}

/// A snapshot, and where it goes.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The database directory. It must not be in use for writing.
    path: PathBuf,
    /// The file to write, which must not exist yet, or `-` for standard output.
    file: PathBuf,
    /// The transaction as of which to read [default: the latest].
    #[arg(long, value_name = "TXN", value_parser = parse_txn)]
    at: Option<TxnId>,
}

/// Pairs, and where they go.
#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// The database directory. It must not be in use.
    path: PathBuf,
    /// The file to read, or `-` for standard input.
    ///
    /// A file is checked as a whole before anything is changed. What cannot be read twice, such as standard input, is
    /// checked as it comes: if it turns out to be broken, the batches before stay loaded, and it is said how many pairs
    /// they held.
    file: PathBuf,
    /// Create the database if there is none.
    #[arg(long)]
    create: bool,
    /// The bytes of a page, if the database is created.
    #[arg(long, value_name = "BYTES", default_value = "16384", requires = "create", value_parser = page_size_parser())]
    page_size: u32,
}

/// What the help says of the line format.
const LINES: &str = "\
The format:
  proofmark pairs 1                   the first line: the format and its version
  apple<TAB>red                       a pair a line: key, tab, value
  \\x00\\xff<TAB>a backslash: \\\\        whatever is not printable ASCII, as \\x and two digits
  end<TAB>2<TAB>7d1f0c2ab8e9a346      the last line: the number of pairs, and the XXH3-64 of
                                      all before, as `head -n -1 FILE | xxhsum -H3` prints it

Pairs may come in any order; of two with one key the later counts. A key of the database that
does not come keeps its value. Pairs are committed in batches, each durable before the next
begins, so that Ctrl-C leaves what was loaded.";

/// Does what is asked.
pub(super) fn carry_out(command: &DbCommand, out: &mut impl Write) -> anyhow::Result<Ending> {
    match command {
        DbCommand::Verify(arguments) => look::verify(&arguments.path, out),
        DbCommand::Stats(arguments) => look::stats(&arguments.path, out),
        DbCommand::Dump(arguments) => look::dump(&arguments.path, out),
        DbCommand::Log(command) => log::carry_out(command, out),
        DbCommand::Changes(arguments) => changes::changes(arguments, out),
        DbCommand::Compact(arguments) => space::compact(&arguments.path, out),
        DbCommand::Backup(arguments) => space::backup(&arguments.path, &arguments.target, out),
        DbCommand::Export(arguments) => export::export(arguments, out),
        DbCommand::Load(arguments) => load::load(arguments, out),
    }
}

/// Options that leave it to the owner of a database to say how much of its history is kept.
fn keeping_history() -> Options {
    Options::new().retention(Retention::All)
}

/// Opens a database for reading only; none if it is damaged, which has then been printed.
fn open_to_look(path: &Path, out: &mut impl Write) -> anyhow::Result<Option<Database>> {
    check_directory(path)?;
    open(path, &Options::new().read_only(true).create(false), out)
}

/// Opens a database; none if it is damaged, which has then been printed.
fn open(path: &Path, options: &Options, out: &mut impl Write) -> anyhow::Result<Option<Database>> {
    match Database::open(path, options) {
        Ok(database) => Ok(Some(database)),
        Err(error) => damage(error, out).map(|_| None),
    }
}

fn check_directory(path: &Path) -> anyhow::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => bail!("{} is not a directory, so it is no database", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no directory {}", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Prints what is damaged. Anything else that is wrong is an error of this command.
fn damage(error: Error, out: &mut impl Write) -> anyhow::Result<Ending> {
    match error {
        Error::Corruption { .. } => {
            writeln!(out, "{STYLE_BAD}damage:{STYLE_BAD:#} {error}")?;
            Ok(Ending::Unsound)
        }
        Error::Locked { path } => {
            Err(anyhow!("{} is in use: another process has it open. Close it there first", path.display()))
        }
        error => Err(error.into()),
    }
}

/// Whether `-` was given in place of a file.
fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn page_size_parser() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["4096", "8192", "16384", "32768", "65536"]).try_map(|text| text.parse::<u32>())
}

fn parse_txn(text: &str) -> Result<TxnId, String> {
    text.parse().map(TxnId).map_err(|_| "it must be the number of a transaction".to_owned())
}
