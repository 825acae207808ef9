//! What happened in runs, in numbers.

use std::ops::AddAssign;

use crate::disk::DiskStats;

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
    /// Plan steps that made no sense where they stood.
    pub steps_skipped: u64,
    /// Checkpoints that were carried out.
    pub checkpoints: u64,
    /// Self-checks of the store that passed.
    pub verifications: u64,
    /// Power losses, and what they struck.
    pub crashes: CrashCounts,
    /// Times that the store was opened after a power loss.
    pub recoveries: u64,
    /// I/O calls.
    pub io_calls: u64,
    /// What the disk did, and what power losses did to it.
    pub disk: DiskStats,
    /// Planted faults that fired.
    pub sabotages: u64,
    /// Further runs that were made to compare this one with.
    pub comparisons: u64,
}

/// Power losses, by what they struck.
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
}

/// What the runner is doing, as far as a power loss is counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Creation,
    Commit,
    Checkpoint,
    Recovery,
    Other,
    Idle,
}

impl CrashCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.creation + self.commit + self.checkpoint + self.recovery + self.other + self.idle
    }

    pub(super) fn count(&mut self, activity: Activity) {
        *match activity {
            Activity::Creation => &mut self.creation,
            Activity::Commit => &mut self.commit,
            Activity::Checkpoint => &mut self.checkpoint,
            Activity::Recovery => &mut self.recovery,
            Activity::Other => &mut self.other,
            Activity::Idle => &mut self.idle,
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
    steps_skipped,
    checkpoints,
    verifications,
    crashes,
    recoveries,
    io_calls,
    disk,
    sabotages,
    comparisons,
});
add_fields!(CrashCounts { creation, commit, checkpoint, recovery, other, idle });
add_fields!(DiskStats {
    reads,
    writes,
    syncs,
    directory_syncs,
    bytes_read,
    bytes_written,
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
    use super::*;

    #[test]
    fn sums_are_taken_field_by_field() {
        let mut one = RunStats { commits: 2, ..RunStats::default() };
        one.crashes.count(Activity::Commit);
        let mut two = RunStats { commits: 3, operations: 5, ..RunStats::default() };
        two.crashes.count(Activity::Commit);
        two.crashes.count(Activity::Idle);
        one += &two;
        assert_eq!((one.commits, one.operations), (5, 5));
        assert_eq!((one.crashes.commit, one.crashes.idle, one.crashes.total()), (2, 1, 3));
    }
}
