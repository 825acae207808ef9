//! The table at the end of a campaign.

use std::time::Duration;

use proofmark_sim::campaign::{Campaign, Summary};
use proofmark_sim::disk::DiskStats;
use proofmark_sim::run::{CrashCounts, DenialCounts, RunStats};

use super::output::Figures;

/// The table of a campaign.
pub(super) fn figures(campaign: &Campaign<'_>, summary: &Summary, elapsed: Duration) -> Figures {
    let Summary { seeds, stats, violations, trace_hash } = summary;
    let mut figures = Figures::new();
    figures.text("store", campaign.store.name()).count("seeds", *seeds);
    if let Some(further) = seeds.checked_sub(1) {
        let first_seed = campaign.first_seed;
        figures.text("  from", &first_seed.to_string()).text("  to", &(first_seed + further).to_string());
    }
    add_work(stats, elapsed, &mut figures);
    add_exceptions(stats, &mut figures);
    add_power_losses(&stats.crashes, &mut figures);
    figures.count("recoveries", stats.recoveries);
    add_disk(&stats.disk, stats.io_calls, &mut figures);
    add_schedule(stats, busy_seconds(campaign.jobs, *seeds, elapsed), &mut figures);
    // The hash of one seed is what `replay` prints under the same name.
    let hash_name = if *seeds == 1 { "seed hash" } else { "trace hash of all seeds" };
    figures
        .count("metamorphic pairs", stats.comparisons)
        .text("elapsed", &format!("{:.1} s", elapsed.as_secs_f64()))
        .text(hash_name, &format!("{trace_hash:016x}"))
        .count("violations", violations.len() as u64);
    figures
}

/// How long jobs were at work, all together.
fn busy_seconds(jobs: usize, seeds: u64, elapsed: Duration) -> f64 {
    // Those for which there was no seed had nothing to do.
    let jobs = u64::try_from(jobs).unwrap_or(u64::MAX).min(seeds).max(1);
    elapsed.as_secs_f64().max(0.001) * jobs as f64
}

fn add_schedule(stats: &RunStats, busy_seconds: f64, figures: &mut Figures) {
    if stats.task_polls > 0 {
        let simulated = stats.virtual_us as f64 / 1e6;
        figures
            .count("turns of tasks", stats.task_polls)
            .count("  a second, in each job", (stats.task_polls as f64 / busy_seconds) as u64)
            .text("virtual time", &format!("{simulated:.1} s"))
            .count("  times as fast as real time, in each job", (simulated / busy_seconds) as u64);
    }
    if stats.switch_points > 0 {
        figures
            .count("places where threads may switch", stats.switch_points)
            .count("  a second, in each job", (stats.switch_points as f64 / busy_seconds) as u64)
            .count("context switches", stats.context_switches);
    }
}

fn add_work(stats: &RunStats, elapsed: Duration, figures: &mut Figures) {
    let per_second = stats.operations as f64 / elapsed.as_secs_f64().max(0.001);
    figures
        .count("transactions", stats.transactions)
        .count("  committed", stats.commits)
        .count("  handed in, to be waited for", stats.tickets)
        .count("  refused", stats.refusals)
        .count("operations", stats.operations)
        .count("  a second", per_second as u64)
        .count("checkpoints", stats.checkpoints)
        .count("checkpoints declined", stats.checkpoints_declined)
        .count("compactions", stats.compactions)
        .count("compactions declined", stats.compactions_declined)
        .count("backups", stats.backups)
        .count("readings of the commit stream", stats.streams)
        .count("self-checks of the store", stats.verifications);
}

/// What was asked for in vain, and what was done to the disk on purpose: rows only where there is something to show.
fn add_exceptions(stats: &RunStats, figures: &mut Figures) {
    let DenialCounts { conflict, write_busy, out_of_space, poisoned } = stats.denials;
    for (name, count) in [
        ("commits denied for a conflict", conflict),
        ("commits denied for an exclusive writer", write_busy),
        ("commits denied for want of space", out_of_space),
        ("commits denied by a poisoned store", poisoned),
        ("I/O calls that were made to fail", stats.faults),
        ("other calls of the store that gave up", stats.given_up),
        ("stores that faults left beyond repair", stats.beyond_repair),
        ("stores that lived on after faults", stats.lived_on),
        ("steps skipped", stats.steps_skipped),
        ("steps left out, as they were not promised", stats.steps_left_out),
        ("planted faults that fired", stats.sabotages),
    ] {
        if count > 0 {
            figures.count(name, count);
        }
    }
}

fn add_power_losses(crashes: &CrashCounts, figures: &mut Figures) {
    let CrashCounts { creation, commit, checkpoint, recovery, other, idle, unsynced, process_deaths, end } =
        *crashes;
    figures
        .count("power losses", crashes.power_losses())
        .count("  in a commit", commit)
        .count("  in a checkpoint", checkpoint)
        .count("  in a recovery", recovery)
        .count("  in the creation", creation)
        .count("  in anything else", other)
        .count("  between two calls", idle)
        .count("power losses with something unsynced", unsynced)
        .count("process deaths", process_deaths)
        .count("losses at the end of a run", end);
}

fn add_disk(disk: &DiskStats, io_calls: u64, figures: &mut Figures) {
    let lost_writes = disk.effects_dropped - disk.sizes_dropped - disk.entries_dropped;
    figures
        .count(
            "unsynced effects at a power loss",
            disk.effects_kept + disk.effects_dropped + disk.effects_torn,
        )
        .count("  kept", disk.effects_kept)
        .count("  torn writes", disk.effects_torn)
        .count("  lost writes", lost_writes)
        .count("  lost sizes", disk.sizes_dropped)
        .count("  lost directory entries", disk.entries_dropped)
        .count("files lost with their names", disk.files_lost)
        .count("I/O calls", io_calls)
        .count("  reads", disk.reads)
        .count("  writes", disk.writes)
        .count("  file syncs", disk.syncs)
        .count("  directory syncs", disk.directory_syncs)
        .count("unasked write-backs", disk.write_backs)
        .count("bytes read", disk.bytes_read)
        .count("bytes written", disk.bytes_written);
}

#[cfg(test)]
mod tests {
    use proofmark_sim::store::StoreKind;

    use super::*;

    #[test]
    fn how_fast_time_passes_is_told_of_each_job() {
        let stats = RunStats {
            task_polls: 8000,
            virtual_us: 400_000_000,
            switch_points: 80_000,
            operations: 800,
            ..RunStats::default()
        };
        let summary = |seeds| Summary { seeds, stats: stats.clone(), ..Summary::default() };
        let rates = |jobs, seeds| {
            let campaign = Campaign { jobs, ..Campaign::new(StoreKind::Engine, seeds) };
            let table = figures(&campaign, &summary(seeds), Duration::from_secs(2)).render();
            let rows = table.lines().filter(|row| row.contains("a second") || row.contains("times as fast"));
            let rate = |row: &str| {
                row.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok()).next_back()
            };
            rows.map(|row| rate(row).unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(rates(1, 100), [400, 4000, 200, 40_000]);
        assert_eq!(rates(4, 100), [400, 1000, 50, 10_000]);
        assert_eq!(rates(4, 1), rates(1, 100), "one seed is one job");
    }
}
