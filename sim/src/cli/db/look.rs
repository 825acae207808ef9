//! Questions: is it whole, how large is it, what is in it. Nothing on disk changes.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use proofmark_engine::{PageUsage, Stats, Survey, VerifyReport};

use super::log::LogFigures;
use super::{damage, open_to_look};
use crate::cli::Ending;
use crate::cli::output::{Figures, STYLE_GOOD};

/// Checks a database, and prints what was checked or what is damaged.
pub(super) fn verify(path: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    match database.verify() {
        Ok(report) => {
            writeln!(out, "{}", figures_of_verify(&report).render())?;
            writeln!(out, "{STYLE_GOOD}no damage{STYLE_GOOD:#} found in {}", path.display())?;
            Ok(Ending::Sound)
        }
        Err(error) => damage(error, out),
    }
}

/// Prints sizes and positions. Reads every page of the tree.
pub(super) fn stats(path: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    let bytes = bytes_on_disk(path).with_context(|| format!("cannot list {}", path.display()))?;
    match database.survey() {
        Ok(survey) => {
            let mut figures = figures_of_stats(&database.stats(), &survey, bytes);
            LogFigures::count(path)?.add_to(&mut figures);
            writeln!(out, "{}", figures.render())?;
            Ok(Ending::Sound)
        }
        Err(error) => damage(error, out),
    }
}

/// Prints everything there is.
pub(super) fn dump(path: &Path, out: &mut impl Write) -> anyhow::Result<Ending> {
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    match database.dump(out) {
        Ok(()) => Ok(Ending::Sound),
        Err(error) => damage(error, out),
    }
}

fn figures_of_verify(report: &VerifyReport) -> Figures {
    let VerifyReport {
        page_count,
        leaf_count,
        branch_count,
        height,
        version_count,
        extent_count,
        free_page_count,
        waiting_page_count,
        log_record_count,
    } = *report;
    let mut figures = Figures::new();
    figures
        .count("pages, each used exactly once", page_count)
        .count("  free", free_page_count)
        .count("  free as soon as nobody needs them", waiting_page_count)
        .count("levels of the base tree", u64::from(height))
        .count("  branches", branch_count)
        .count("  leaves", leaf_count)
        .count("  versions in them", version_count)
        .count("  values in pages of their own", extent_count)
        .count("transactions in the log", log_record_count);
    figures
}

fn figures_of_stats(stats: &Stats, survey: &Survey, bytes_on_disk: u64) -> Figures {
    let Stats { generation, checkpoint, latest, oldest, write_tier_bytes, cache_hits, cache_misses, .. } =
        *stats;
    let Survey {
        page_size,
        page_count,
        height,
        branches,
        leaves,
        large_values,
        large_value_count,
        free_list_page_count,
        free_page_count,
        waiting_page_count,
        key_count,
        version_count,
        deletion_count,
    } = *survey;
    let percent = |usage: PageUsage| format!("{:.0} %", 100.0 * usage.fill(page_size));
    let mut figures = Figures::new();
    figures
        .count("latest transaction", latest.0)
        .count("oldest transaction that can be read", oldest.0)
        .count("transaction of the last checkpoint", checkpoint.0)
        .count("checkpoints", generation.0)
        .count("bytes of keys and values since the last checkpoint", write_tier_bytes)
        .count("bytes on disk", bytes_on_disk)
        .count("bytes of a page", u64::from(page_size))
        .count("pages", page_count)
        .count("  leaves", leaves.page_count)
        .text("    in use", &percent(leaves))
        .count("  branches", branches.page_count)
        .text("    in use", &percent(branches))
        .count("  large values", large_values.page_count)
        .text("    in use", &percent(large_values))
        .count("  free list", free_list_page_count)
        .count("  free", free_page_count)
        .count("  free as soon as nobody needs them", waiting_page_count)
        .count("levels of the base tree", u64::from(height))
        .count("keys in it", key_count)
        .count("versions of them", version_count)
        .count("  deletions", deletion_count)
        .count("  values in pages of their own", large_value_count)
        .count("pages that were read for this from the disk", cache_misses)
        .count("pages that were in the cache", cache_hits);
    figures
}

fn bytes_on_disk(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
