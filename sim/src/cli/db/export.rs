//! `db export`: every pair of one snapshot, in the order of the keys.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Bound;
use std::path::Path;

use anyhow::Context;
use proofmark_engine::{Error, ReadTransaction};

use super::lines::LineWriter;
use super::progress::Progress;
use super::{ExportArguments, damage, is_standard_stream, open_to_look};
use crate::cli::Ending;
use crate::cli::output::counted;

/// How often progress is shown, in pairs.
const PAIRS_SHOWN: u64 = 1000;

/// Why an export ended early.
enum Failure {
    Engine(Error),
    Output(io::Error),
}

/// Writes the pairs to a new file or to standard output. A file that could not be written whole is removed again.
pub(super) fn export(arguments: &ExportArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let ExportArguments { path, file, at } = arguments;
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    let snapshot = match at {
        Some(txn) => database.begin_read_at(*txn)?,
        None => database.begin_read()?,
    };
    if is_standard_stream(file) {
        // Not through `out`, which would look for colours in every byte.
        return match write_pairs(&snapshot, io::stdout().lock()) {
            Ok(_) => Ok(Ending::Sound),
            Err(failure) => report(failure, file, out),
        };
    }
    let target = File::create_new(file).with_context(|| format!("cannot create {}", file.display()))?;
    let written = write_pairs(&snapshot, &target)
        .and_then(|count| target.sync_all().map(|()| count).map_err(Failure::Output));
    match written {
        Ok(count) => {
            let pairs = counted(count, "pair", "pairs");
            writeln!(out, "exported {pairs} as of transaction {}", snapshot.snapshot())?;
            Ok(Ending::Sound)
        }
        Err(failure) => {
            let _ = fs::remove_file(file);
            report(failure, file, out)
        }
    }
}

fn write_pairs(snapshot: &ReadTransaction, target: impl Write) -> Result<u64, Failure> {
    let mut lines = LineWriter::start(BufWriter::with_capacity(1 << 20, target)).map_err(Failure::Output)?;
    let progress = Progress::start("exporting", None);
    let mut bytes = 0;
    for pair in snapshot.range((Bound::Unbounded, Bound::Unbounded)).map_err(Failure::Engine)? {
        let (key, value) = pair.map_err(Failure::Engine)?;
        lines.pair(&key, &value).map_err(Failure::Output)?;
        bytes += (key.len() + value.len()) as u64;
        if lines.count().is_multiple_of(PAIRS_SHOWN) {
            progress.show(bytes, lines.count());
        }
    }
    let count = lines.count();
    lines.finish().map_err(Failure::Output)?;
    Ok(count)
}

fn report(failure: Failure, file: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    match failure {
        Failure::Engine(error) => damage(error, out),
        Failure::Output(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
}
