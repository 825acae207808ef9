//! Virtual time: what a step's I/O calls cost, how long clients think, and waiting for a moment to come.
//!
//! A step takes effect at one moment, and its client then waits for as long as its I/O calls would have taken. The disk
//! serves one call at a time, so that a checkpoint holds up the commits after it.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::time::Duration;

use madsim::time::TimeHandle;
use rand_chacha::ChaCha8Rng;

use crate::disk::DiskStats;
use crate::random::Draw;

/// Of the syncs, those that take [`STALL_FACTOR`] times as long, in thousandths.
const STALL_SHARE: u64 = 5;
const STALL_FACTOR: u32 = 50;
/// Of the pauses, those that are none, so that much happens at once, in thousandths.
const HASTE_SHARE: u64 = 120;
/// How long a process is gone before it starts again, in milliseconds.
const RESTART_MS: RangeInclusive<u64> = 10..=2000;

/// Tells the time, and draws durations.
pub(crate) struct Clock {
    time: TimeHandle,
    rng: ChaCha8Rng,
    /// What a read, a write and a sync take on this disk, on average.
    costs: [Duration; 3],
    /// From when on the disk has nothing to do.
    disk_is_free: Duration,
}

impl Clock {
    /// The clock of the world that is running, and a disk for it.
    pub(crate) fn new(mut rng: ChaCha8Rng) -> Clock {
        // A fast drive, an ordinary one, and one that turns.
        let microseconds = rng.pick(&[[20, 15, 120], [90, 60, 1000], [4000, 2000, 9000]]);
        let costs = microseconds.map(Duration::from_micros);
        Clock { time: TimeHandle::current(), rng, costs, disk_is_free: Duration::ZERO }
    }

    /// How much time has passed since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.time.elapsed()
    }

    /// When what the disk did between two looks at its sums is done, if it begins now.
    pub(crate) fn done(&mut self, before: &DiskStats, after: &DiskStats) -> Duration {
        let syncs = (after.syncs - before.syncs) + (after.directory_syncs - before.directory_syncs);
        let counts = [after.reads - before.reads, after.writes - before.writes, syncs];
        let mut cost = Duration::ZERO;
        for (count, mean) in counts.into_iter().zip(self.costs) {
            if count > 0 {
                cost += around(&mut self.rng, mean) * u32::try_from(count).unwrap_or(u32::MAX);
            }
        }
        if syncs > 0 && self.rng.chance(STALL_SHARE) {
            cost += self.costs[2] * STALL_FACTOR;
        }
        let now = self.now();
        if cost.is_zero() {
            return now;
        }
        self.disk_is_free = self.disk_is_free.max(now) + cost;
        self.disk_is_free
    }

    /// How long somebody pauses who pauses so long on average.
    pub(crate) fn pause(&mut self, mean: Duration) -> Duration {
        if self.rng.chance(HASTE_SHARE) { Duration::ZERO } else { around(&mut self.rng, mean) }
    }

    /// When a process that is killed now starts again. Its disk has nothing to do then.
    pub(crate) fn restart(&mut self) -> Duration {
        self.disk_is_free = Duration::ZERO;
        self.now() + Duration::from_millis(self.rng.between(RESTART_MS))
    }
}

/// From nothing to twice the mean.
fn around(rng: &mut ChaCha8Rng, mean: Duration) -> Duration {
    let nanoseconds = u64::try_from(mean.as_nanos()).expect("a pause is shorter than centuries");
    Duration::from_nanos(rng.between(0..=2 * nanoseconds))
}

/// Waits until so much time has passed since the world began.
pub(crate) async fn sleep_until(moment: Duration) {
    let time = TimeHandle::current();
    let Some(rest) = moment.checked_sub(time.elapsed()) else { return };
    let deadline = time.now_instant() + rest;
    let mut sleep = pin!(time.sleep(rest));
    // Madsim rounds a new one up to a millisecond, but not one that is set again.
    sleep.as_mut().reset(deadline);
    sleep.await;
}
