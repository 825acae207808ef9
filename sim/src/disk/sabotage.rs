//! Sabotage: a disk that breaks the promises of a disk, to prove that the oracles notice.
//!
//! Each planted [`Sabotage`] waits for its n-th occasion and then makes the disk lie once, or every n-th time. None of
//! this is a fault that a store could survive: whoever runs with a sabotage expects a verdict against the disk. While
//! nothing is planted, the disk pays one comparison per call.

use std::fmt;
use std::str::FromStr;

use super::ParseError;

/// How the disk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SabotageKind {
    /// The n-th file sync is acknowledged and makes nothing durable.
    IgnoreSync,
    /// The n-th file sync makes only the first half of the pending granules durable; the rest stays pending.
    TornSync,
    /// The n-th directory sync is acknowledged and makes nothing durable.
    IgnoreDirectorySync,
    /// The n-th write is acknowledged and changes no byte, neither volatile nor durable. A file that it would have
    /// extended is extended all the same, with zeros.
    DropWrite,
    /// The n-th write reads back at once, but it is held back: no sync covers it until the next write to the same
    /// file, and then it takes effect again, after that write. Where the two overlap, the older bytes win. A change
    /// of the file's size ends the holding back without a swap.
    SwapWrites,
    /// The n-th read that could return something older does: the bytes as they were before the last write that
    /// touched its range. Only reads count whose answer differs, and only writes made since the planting.
    StaleRead,
}

impl SabotageKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::IgnoreSync, "ignore-sync"),
        (Self::TornSync, "torn-sync"),
        (Self::IgnoreDirectorySync, "ignore-directory-sync"),
        (Self::DropWrite, "drop-write"),
        (Self::SwapWrites, "swap-writes"),
        (Self::StaleRead, "stale-read"),
    ];
}

impl fmt::Display for SabotageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::ALL.iter().find(|(kind, _)| kind == self).expect("ALL names every kind");
        formatter.write_str(name)
    }
}

/// A planted fault. The text form, for plans: `ignore-sync:3`, and `ignore-sync:every:3` for each third sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sabotage {
    /// How the disk lies.
    pub kind: SabotageKind,
    /// At which occasion, counted from the planting; 1 is the next one.
    pub nth: u64,
    /// Whether it lies at each `nth`-th occasion, and not only once.
    pub every: bool,
}

impl Sabotage {
    /// A disk that lies once, at the `nth` occasion from the planting.
    #[must_use]
    pub fn once(kind: SabotageKind, nth: u64) -> Self {
        Self { kind, nth, every: false }
    }

    /// A disk that lies at each `nth` occasion.
    #[must_use]
    pub fn every(kind: SabotageKind, nth: u64) -> Self {
        Self { kind, nth, every: true }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = if self.every { "every:" } else { "" };
        write!(formatter, "{}:{every}{}", self.kind, self.nth)
    }
}

impl FromStr for Sabotage {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("sabotage", text);
        let (name, occasion) = text.split_once(':').ok_or_else(error)?;
        let (kind, _) = SabotageKind::ALL.iter().find(|(_, known)| *known == name).ok_or_else(error)?;
        let (every, nth) = match occasion.strip_prefix("every:") {
            Some(nth) => (true, nth),
            None => (false, occasion),
        };
        let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(error)?;
        Ok(Self { kind: *kind, nth, every })
    }
}

/// Everything that is planted on one disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    planted: Vec<Planted>,
}

#[derive(Debug, Clone)]
struct Planted {
    sabotage: Sabotage,
    occasions: u64,
    fired: u64,
}

impl Overlay {
    pub(super) fn plant(&mut self, sabotage: Sabotage) {
        self.planted.push(Planted { sabotage, occasions: 0, fired: 0 });
    }

    /// Counts an occasion for `kind`; whether the disk lies this time.
    pub(super) fn strikes(&mut self, kind: SabotageKind) -> bool {
        let mut strikes = false;
        for planted in self.planted.iter_mut().filter(|planted| planted.sabotage.kind == kind) {
            let Sabotage { nth, every, .. } = planted.sabotage;
            planted.occasions += 1;
            if planted.occasions == nth || every && planted.occasions.is_multiple_of(nth) {
                planted.fired += 1;
                strikes = true;
            }
        }
        strikes
    }

    /// Whether older versions of what is overwritten have to be kept.
    pub(super) fn wants_history(&self) -> bool {
        self.planted.iter().any(|planted| planted.sabotage.kind == SabotageKind::StaleRead)
    }

    pub(super) fn fired(&self) -> Vec<(Sabotage, u64)> {
        self.planted.iter().map(|planted| (planted.sabotage, planted.fired)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Keep;
    use super::super::tests::{content, disk, durable, names, open};
    use super::*;

    #[test]
    fn text_forms_survive_a_round_trip() {
        for (kind, name) in SabotageKind::ALL {
            for sabotage in [Sabotage::once(kind, 3), Sabotage::every(kind, 2)] {
                assert_eq!(sabotage.to_string().parse(), Ok(sabotage));
            }
            assert_eq!(format!("{name}:3").parse(), Ok(Sabotage::once(kind, 3)));
            assert_eq!(format!("{name}:every:2").parse(), Ok(Sabotage::every(kind, 2)));
        }
        for text in ["", "ignore-sync", "ignore-sync:0", "ignore-sync:each:2", "burn:1", "drop-write:every:0"]
        {
            assert!(text.parse::<Sabotage>().is_err(), "{text}");
        }
    }

    #[test]
    fn once_fires_once_and_every_fires_again() {
        let mut overlay = Overlay::default();
        overlay.plant(Sabotage::once(SabotageKind::DropWrite, 2));
        overlay.plant(Sabotage::every(SabotageKind::IgnoreSync, 2));
        let writes: Vec<_> = (0..6).map(|_| overlay.strikes(SabotageKind::DropWrite)).collect();
        let syncs: Vec<_> = (0..6).map(|_| overlay.strikes(SabotageKind::IgnoreSync)).collect();
        assert_eq!(writes, [false, true, false, false, false, false]);
        assert_eq!(syncs, [false, true, false, true, false, true]);
        assert_eq!(overlay.fired().iter().map(|(_, fired)| *fired).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn an_ignored_sync_makes_nothing_durable_and_the_next_one_does() {
        let disk = disk(512);
        let file = durable(&disk, "a", b"old");
        disk.plant(Sabotage::once(SabotageKind::IgnoreSync, 1));
        file.write_all_at(b"new", 0).unwrap();
        file.sync_data().unwrap();
        let honest = disk.fork();
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), b"old");
        open(&honest, "a").sync_data().unwrap();
        honest.crash(&Keep::None);
        assert_eq!(content(&honest, "a").unwrap(), b"new");
        assert_eq!(honest.sabotage_fired(), [(Sabotage::once(SabotageKind::IgnoreSync, 1), 1)]);
    }

    #[test]
    fn a_torn_sync_makes_half_of_the_granules_durable() {
        let disk = disk(512);
        let file = durable(&disk, "a", &[1; 4096]);
        disk.plant(Sabotage::once(SabotageKind::TornSync, 1));
        file.write_all_at(&[2; 4096], 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(content(&disk, "a").unwrap(), [2; 4096]);
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), [[2; 2048], [1; 2048]].concat());
    }

    #[test]
    fn an_ignored_directory_sync_makes_no_name_durable() {
        let disk = disk(512);
        disk.plant(Sabotage::once(SabotageKind::IgnoreDirectorySync, 1));
        durable(&disk, "a", b"x");
        disk.crash(&Keep::None);
        assert!(names(&disk).is_empty());
        durable(&disk, "a", b"x");
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), b"x");
    }

    #[test]
    fn a_dropped_write_changes_no_byte() {
        let disk = disk(512);
        let file = durable(&disk, "a", b"old");
        disk.plant(Sabotage::every(SabotageKind::DropWrite, 2));
        file.write_all_at(b"new", 0).unwrap();
        file.write_all_at(b"lost", 2).unwrap();
        file.sync_data().unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"new\0\0\0");
        disk.crash(&Keep::All);
        assert_eq!(content(&disk, "a").unwrap(), b"new\0\0\0");
    }

    #[test]
    fn swapped_writes_end_with_the_older_bytes() {
        let disk = disk(512);
        let file = durable(&disk, "a", b"....");
        disk.plant(Sabotage::once(SabotageKind::SwapWrites, 1));
        file.write_all_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        let held = disk.fork();
        held.crash(&Keep::None);
        assert_eq!(content(&held, "a").unwrap(), b"....");
        file.write_all_at(b"new", 1).unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"oldw");
        file.sync_data().unwrap();
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), b"oldw");
    }

    #[test]
    fn a_stale_read_shows_the_bytes_before_the_last_write() {
        let disk = disk(512);
        let stale = Sabotage::once(SabotageKind::StaleRead, 1);
        let file = durable(&disk, "a", b"old.");
        disk.plant(stale);
        assert_eq!(content(&disk, "a").unwrap(), b"old.");
        assert_eq!(disk.sabotage_fired(), [(stale, 0)]);
        file.write_all_at(b"new", 0).unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"old.");
        assert_eq!(content(&disk, "a").unwrap(), b"new.");
        assert_eq!(disk.sabotage_fired(), [(stale, 1)]);
    }

    #[test]
    fn a_change_of_size_ends_the_holding_back() {
        let disk = disk(512);
        let file = durable(&disk, "a", b"....");
        disk.plant(Sabotage::once(SabotageKind::SwapWrites, 1));
        file.write_all_at(b"old", 0).unwrap();
        file.set_size(2).unwrap();
        file.write_all_at(b"new", 1).unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"onew");
    }

    #[test]
    fn a_power_loss_forgets_what_stale_reads_could_show() {
        let disk = disk(512);
        let file = durable(&disk, "a", b"old");
        disk.plant(Sabotage::once(SabotageKind::StaleRead, 1));
        file.write_all_at(b"mid", 0).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), b"old");
    }

    #[test]
    fn the_trace_hash_knows_of_every_lie() {
        let hash = |lie: Option<Sabotage>| {
            let disk = disk(512);
            lie.into_iter().for_each(|lie| disk.plant(lie));
            durable(&disk, "a", b"old").write_all_at(b"new", 0).unwrap();
            content(&disk, "a").unwrap();
            disk.trace_hash()
        };
        for (kind, name) in SabotageKind::ALL {
            assert_ne!(hash(None), hash(Some(Sabotage::once(kind, 1))), "{name}");
        }
    }
}
