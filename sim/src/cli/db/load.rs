//! `db load`: pairs from a file into a database, in batches of bounded size.
//!
//! A file is read twice: once to see that all of it is right, with nothing changed if it isn't, and once to load it.
//! What can be read only once is loaded as it comes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::Path;

use anyhow::Context;
use proofmark_engine::{Database, Error, Options, TxnId};

use super::lines::{KEY_BYTES_MAX, LineError, LineReader};
use super::progress::Progress;
use super::{LoadArguments, check_directory, damage, is_standard_stream, keeping_history, open};
use crate::cli::Ending;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{STYLE_NOTABLE, counted};

/// The bytes of keys and values after which a batch is committed.
const BATCH_BYTES: usize = 8 << 20;
/// The pairs after which it is, however small they are.
const BATCH_PAIRS: u64 = 100_000;

/// How often progress is shown while a file is checked, in pairs.
const PAIRS_SHOWN: u64 = 1000;

/// What has been loaded: durably, and not to be taken back.
#[derive(Debug, Clone, Copy)]
struct Loaded {
    pairs: u64,
    last: TxnId,
}

/// Loads pairs from a file or standard input.
pub(super) fn load(arguments: &LoadArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let LoadArguments { path, file, create, page_size } = arguments;
    let Some(key_bytes_max) = key_bytes_max(path, *create, *page_size, out)? else {
        return Ok(Ending::Unsound);
    };
    let options = keeping_history().create(*create).page_size(*page_size);
    let interrupt = Interrupt::listen()?;
    let lines: LineReader<Box<dyn BufRead>>;
    let mut size = None;
    if is_standard_stream(file) {
        lines = start(io::stdin().lock(), key_bytes_max, file)?;
    } else {
        let mut source = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        let metadata = source.metadata().with_context(|| format!("cannot look at {}", file.display()))?;
        if metadata.is_file() {
            size = Some(metadata.len());
            if !check(&source, metadata.len(), key_bytes_max, &interrupt, file)? {
                writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#} before anything was changed")?;
                return Ok(Ending::Interrupted);
            }
            source.rewind().with_context(|| format!("cannot read {} again", file.display()))?;
        }
        lines = start(buffered(source), key_bytes_max, file)?;
    }
    let Some(database) = open(path, &options, out)? else { return Ok(Ending::Unsound) };
    fill(&database, lines, size, &interrupt, out).with_context(|| format!("cannot load {}", name(file)))
}

/// How long keys may be in the database, or in the one that would be created; none if it is damaged, which has then been
/// printed.
fn key_bytes_max(
    path: &Path,
    create: bool,
    page_size: u32,
    out: &mut impl Write,
) -> anyhow::Result<Option<usize>> {
    let page_size = match Database::open(path, &Options::new().read_only(true)) {
        Ok(database) => database.stats().page_size,
        Err(Error::NotFound { .. }) if create => page_size,
        Err(error) => {
            check_directory(path)?;
            return damage(error, out).map(|_| None);
        }
    };
    Ok(Some(KEY_BYTES_MAX.min(page_size as usize / 4)))
}

/// Reads all of a file, so that nothing is changed if something is wrong with it; false if it was interrupted.
fn check(
    source: &File,
    size: u64,
    key_bytes_max: usize,
    interrupt: &Interrupt,
    file: &Path,
) -> anyhow::Result<bool> {
    let progress = Progress::start("checking", Some(size));
    let mut lines = start(buffered(source.try_clone()?), key_bytes_max, file)?;
    let mut pairs = 0u64;
    while lines.next_pair().map_err(|error| in_file(error, file))?.is_some() {
        pairs += 1;
        if pairs.is_multiple_of(PAIRS_SHOWN) {
            progress.show(lines.bytes_read(), pairs);
            if interrupt.is_requested() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Loads what is there, batch by batch.
fn fill(
    database: &Database,
    mut lines: LineReader<Box<dyn BufRead>>,
    size: Option<u64>,
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> anyhow::Result<Ending> {
    let progress = Progress::start("loading", size);
    let mut loaded = Loaded { pairs: 0, last: database.latest() };
    let outcome = loop {
        match batch(database, &mut lines, &mut loaded) {
            Ok(true) => progress.show(lines.bytes_read(), loaded.pairs),
            Ok(false) => break Ok(Ending::Sound),
            Err(error) => break Err(error),
        }
        if interrupt.is_requested() {
            break Ok(Ending::Interrupted);
        }
    };
    drop(progress);
    let Loaded { pairs, last } = loaded;
    let what = format!("{}, durable as of transaction {last}", counted(pairs, "pair", "pairs"));
    match outcome {
        Ok(Ending::Interrupted) => {
            writeln!(out, "{STYLE_NOTABLE}interrupted{STYLE_NOTABLE:#} after {what}")?;
            Ok(Ending::Interrupted)
        }
        Ok(ending) => {
            // The log is no place to stay: whoever opens the database next would have to go through it.
            writeln!(out, "loaded {what}")?;
            database.checkpoint().map_or_else(|error| damage(error, out), |_| Ok(ending))
        }
        Err(error) if matches!(error.downcast_ref(), Some(Error::Corruption { .. })) => {
            writeln!(out, "ended after {what}")?;
            damage(error.downcast().expect("it was looked at"), out)
        }
        Err(error) if pairs == 0 => Err(error.context("nothing was changed")),
        Err(error) => Err(error.context(format!("it ended after {what}"))),
    }
}

/// Commits the next batch; false if that was the last.
fn batch(
    database: &Database,
    lines: &mut LineReader<impl BufRead>,
    loaded: &mut Loaded,
) -> anyhow::Result<bool> {
    let mut write = database.begin_write()?;
    let (mut bytes, mut pairs) = (0, 0);
    let mut is_last = false;
    while !is_last && bytes < BATCH_BYTES && pairs < BATCH_PAIRS {
        match lines.next_pair()? {
            Some((key, value)) => {
                write.put(key, value)?;
                bytes += key.len() + value.len();
                pairs += 1;
            }
            None => is_last = true,
        }
    }
    loaded.last = write.commit()?;
    loaded.pairs += pairs;
    Ok(!is_last)
}

fn start<R: BufRead + 'static>(
    input: R,
    key_bytes_max: usize,
    file: &Path,
) -> anyhow::Result<LineReader<Box<dyn BufRead>>> {
    LineReader::start(Box::new(input) as Box<dyn BufRead>, key_bytes_max)
        .map_err(|error| in_file(error, file))
}

fn name(file: &Path) -> String {
    if is_standard_stream(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn buffered(file: File) -> BufReader<File> {
    BufReader::with_capacity(1 << 20, file)
}

fn in_file(error: LineError, file: &Path) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot load {}: nothing was changed", name(file)))
}
