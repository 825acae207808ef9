//! `db compact` and `db backup`: the same data in less room, or in another place.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use proofmark_engine::{BackupReport, CompactReport};

use super::{check_directory, damage, keeping_history, open, open_to_look};
use crate::cli::Ending;
use crate::cli::output::Figures;

/// Writes the data file anew without free pages, and prints what that saved.
pub(super) fn compact(path: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    check_directory(path)?;
    let Some(database) = open(path, &keeping_history().create(false), out)? else {
        return Ok(Ending::Unsound);
    };
    let CompactReport { bytes_before, bytes_after } = match database.compact() {
        Ok(report) => report,
        Err(error) => return damage(error, out),
    };
    let mut figures = Figures::new();
    figures
        .count("bytes of the data file before", bytes_before)
        .count("bytes of the data file after", bytes_after);
    writeln!(out, "{}", figures.render())?;
    Ok(Ending::Sound)
}

/// Writes the latest snapshot and its history to a new database.
pub(super) fn backup(path: &Path, target: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    match database.backup(target) {
        Ok(BackupReport { through, oldest, bytes }) => {
            let mut figures = Figures::new();
            figures
                .count("latest transaction", through.0)
                .count("oldest transaction that can be read", oldest.0)
                .count("bytes of the data file", bytes);
            writeln!(out, "{}", figures.render())?;
            Ok(Ending::Sound)
        }
        Err(error) => damage(error, out).with_context(|| format!("cannot back up to {}", target.display())),
    }
}
