//! What happened in runs, in numbers.

use std::ops::AddAssign;

use proofmark_model::Denial;

use crate::disk::{CrashReport, DiskStats, Fired};

/// Sums over one run, or over many. Nothing in it depends on time, or on which thread ran what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunStats {
    /// Transactions that were opened.
    pub transactions: u64,
    /// Store operations: begins, reads, writes, commits and aborts, as far as they were carried out.
    pub operations: u64,
    /// Write transactions whose commit was acknowledged.
    pub commits: u64,
    /// Transactions that were refused: a second writer, or a snapshot that is not there.
    pub refusals: u64,
    /// Of these, those because an I/O call had failed before.
    pub refusals_poisoned: u64,
    /// Commits that were declined, by reason.
    pub denials: DenialCounts,
    /// Commits that were handed in, to be waited for later or never.
    pub tickets: u64,
    /// Plan steps that made no sense where they stood.
    pub steps_skipped: u64,
    /// Plan steps that the store does not promise to take.
    pub steps_left_out: u64,
    /// Checkpoints that were carried out.
    pub checkpoints: u64,
    /// Checkpoints that the store declined, or could not promise anything about.
    pub checkpoints_declined: u64,
    /// Compactions that were carried out.
    pub compactions: u64,
    /// Compactions that the store declined, because something was open.
    pub compactions_declined: u64,
    /// Backups that were made and read.
    pub backups: u64,
    /// Readings of the commit stream, refused ones included.
    pub streams: u64,
    /// Faults that steps of the plan brought.
    pub faults_planted: u64,
    /// I/O calls that such a fault struck.
    pub faults: u64,
    /// Calls of the store that failed over a full disk or such an I/O call, other than declined commits.
    pub given_up: u64,
    /// Calls of the store that reported corruption.
    pub corruptions: u64,
    /// Commits that had to be there when the store was opened again, but for the faults that took them.
    pub commits_lost: u64,
    /// Runs that ended early, because what faults took from the store for good keeps it from being opened, as they may.
    pub beyond_repair: u64,
    /// Runs in which faults fired, and in which the store lived on after all were over.
    pub lived_on: u64,
    /// Self-checks of the store that were carried out, and passed.
    pub verifications: u64,
    /// Power losses and deaths of the process, and what they struck.
    pub crashes: CrashCounts,
    /// Times that the store was opened and checked after a power loss or the death of its process.
    pub recoveries: u64,
    /// I/O calls.
    pub io_calls: u64,
    /// What the disk did, and what power losses did to it.
    pub disk: DiskStats,
    /// I/O calls that a fault struck which nobody was told of.
    pub sabotages: u64,
    /// Further runs that were made to compare this one with.
    pub comparisons: u64,
    /// How much virtual time has passed, in microseconds.
    pub virtual_us: u64,
    /// How often a task was given the processor.
    pub task_polls: u64,
    /// Places that threads came to at which another one might have gone on.
    pub switch_points: u64,
    /// Of these, those at which another one did.
    pub context_switches: u64,
}

impl RunStats {
    pub(super) fn count_fault(&mut self, fired: &Fired) {
        if fired.is_aftermath {
            return;
        }
        if fired.is_announced {
            self.faults += 1;
        } else {
            self.sabotages += 1;
        }
    }
}

/// Commits that were declined, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DenialCounts {
    /// Another transaction had committed one of the keys.
    pub conflict: u64,
    /// An exclusive writer was open.
    pub write_busy: u64,
    /// The disk was full.
    pub out_of_space: u64,
    /// An I/O call had failed before.
    pub poisoned: u64,
}

/// Power losses by what they struck, and what is not to be taken for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrashCounts {
    /// The first opening of the store.
    pub creation: u64,
    /// A commit.
    pub commit: u64,
    /// A checkpoint.
    pub checkpoint: u64,
    /// An opening after a power loss, with the check after it.
    pub recovery: u64,
    /// Any other call of the store.
    pub other: u64,
    /// No call at all: the power failed between two.
    pub idle: u64,
    /// Of all these, those that found something unsynced, so that there was something to lose.
    pub unsynced: u64,
    /// Deaths of the process alone, which lose nothing that was written.
    pub process_deaths: u64,
    /// Power losses at the end of a run, after the store was closed. Every run that gets there has one.
    pub end: u64,
}

/// What the runner is doing, as far as power losses are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Creation,
    Commit,
    Checkpoint,
    Recovery,
    Other,
    Idle,
    End,
}

impl DenialCounts {
    pub(super) fn count(&mut self, reason: &Denial) {
        *match reason {
            Denial::Conflict { .. } => &mut self.conflict,
            Denial::WriteBusy => &mut self.write_busy,
            Denial::OutOfSpace => &mut self.out_of_space,
            Denial::Poisoned => &mut self.poisoned,
        } += 1;
    }
}

impl CrashCounts {
    /// The power losses that a plan asked for.
    pub fn power_losses(&self) -> u64 {
        self.creation + self.commit + self.checkpoint + self.recovery + self.other + self.idle
    }

    pub(super) fn count(&mut self, activity: Activity, report: &CrashReport) {
        if report.effects_still_pending.is_some() {
            self.process_deaths += 1;
            return;
        }
        self.unsynced += u64::from(activity != Activity::End && report.effects_pending() > 0);
        *match activity {
            Activity::Creation => &mut self.creation,
            Activity::Commit => &mut self.commit,
            Activity::Checkpoint => &mut self.checkpoint,
            Activity::Recovery => &mut self.recovery,
            Activity::Other => &mut self.other,
            Activity::Idle => &mut self.idle,
            Activity::End => &mut self.end,
        } += 1;
    }
}

/// Adds field by field; the destructuring makes a forgotten field an error.
macro_rules! add_fields {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl AddAssign<&$type> for $type {
            fn add_assign(&mut self, other: &$type) {
                let $type { $($field),* } = other;
                $( self.$field += $field; )*
            }
        }
    };
}

add_fields!(RunStats {
    transactions,
    operations,
    commits,
    refusals,
    refusals_poisoned,
    denials,
    tickets,
    steps_skipped,
    steps_left_out,
    checkpoints,
    checkpoints_declined,
    compactions,
    compactions_declined,
    backups,
    streams,
    faults_planted,
    faults,
    given_up,
    corruptions,
    commits_lost,
    beyond_repair,
    lived_on,
    verifications,
    crashes,
    recoveries,
    io_calls,
    disk,
    sabotages,
    comparisons,
    virtual_us,
    task_polls,
    switch_points,
    context_switches,
});
add_fields!(DenialCounts { conflict, write_busy, out_of_space, poisoned });
add_fields!(CrashCounts {
    creation,
    commit,
    checkpoint,
    recovery,
    other,
    idle,
    unsynced,
    process_deaths,
    end,
});
add_fields!(DiskStats {
    reads,
    writes,
    syncs,
    directory_syncs,
    bytes_read,
    bytes_written,
    writes_without_room,
    write_backs,
    crashes,
    effects_kept,
    effects_dropped,
    effects_torn,
    sizes_dropped,
    entries_dropped,
    files_lost,
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proofmark_vfs::OpenMode;

    use super::*;
    use crate::disk::{Fault, FaultKind, Keep, SimDisk};

    #[test]
    fn sums_are_taken_field_by_field() {
        let mut one = RunStats { commits: 2, ..RunStats::default() };
        let nothing = CrashReport::default();
        one.crashes.count(Activity::Commit, &nothing);
        let mut two = RunStats { commits: 3, operations: 5, ..RunStats::default() };
        two.crashes.count(Activity::Commit, &nothing);
        two.crashes.count(Activity::Idle, &nothing);
        one += &two;
        assert_eq!((one.commits, one.operations), (5, 5));
        assert_eq!((one.crashes.commit, one.crashes.idle, one.crashes.power_losses()), (2, 1, 3));
    }

    #[test]
    fn what_is_felt_of_an_earlier_strike_is_no_strike() {
        let disk = SimDisk::default();
        let file = disk.vfs().open(Path::new("a"), OpenMode::Create).unwrap();
        disk.plant(Fault::once(FaultKind::SyncReadOnly, 1));
        disk.sabotage(Fault::once(FaultKind::WriteBackLost, 1));
        file.write_all_at(b"lost", 0).unwrap();
        file.sync_data().unwrap_err();
        file.write_at(b"refused", 0).unwrap_err();
        disk.crash(&Keep::All);
        let mut stats = RunStats::default();
        let told = disk.take_fired();
        told.iter().for_each(|fired| stats.count_fault(fired));
        assert_eq!((told.len(), stats.faults, stats.sabotages), (3, 1, 1));
    }

    #[test]
    fn deaths_and_ends_are_no_power_losses() {
        let mut counts = CrashCounts::default();
        let lost = CrashReport { effects_dropped: 2, ..CrashReport::default() };
        counts.count(Activity::Commit, &lost);
        counts.count(Activity::Commit, &CrashReport::default());
        counts.count(Activity::End, &lost);
        for pending in [0, 3] {
            let death = CrashReport { effects_still_pending: Some(pending), ..CrashReport::default() };
            counts.count(Activity::Commit, &death);
        }
        assert_eq!((counts.commit, counts.power_losses(), counts.unsynced), (2, 2, 1));
        assert_eq!((counts.end, counts.process_deaths), (1, 2));
    }
}
