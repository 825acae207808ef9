//! One test for each rule of the fault model: here those on bytes, crash points and dead incarnations, in
//! `granules` those on granules that writes share, in `names` those on directories, in `process` those on a
//! process that dies alone, in `orders` those on what survives together, in `space` those on full disks, in `lives` what
//! holds for whole runs; and one for each kind of fault, in `transparent`, `environment`, `damage` and `lies`, in `faults`
//! what holds for all of them.

mod damage;
mod environment;
mod faults;
mod granules;
mod lies;
mod lives;
mod names;
mod orders;
mod process;
mod space;
mod transparent;

use std::path::PathBuf;

use proofmark_vfs::{LockMode, OpenMode, VfsFile};

use super::*;

pub(super) fn disk(granule: u64) -> SimDisk {
    let granule = Granule::new(granule).unwrap();
    SimDisk::new(DiskOptions { granule, ..DiskOptions::default() })
}

pub(super) fn open(disk: &SimDisk, path: &str) -> Box<dyn VfsFile> {
    disk.vfs().open(Path::new(path), OpenMode::Create).unwrap()
}

/// A file with these bytes, all of it durable.
pub(super) fn durable(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn VfsFile> {
    let file = open(disk, path);
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    file
}

pub(super) fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.vfs().open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

pub(super) fn names(disk: &SimDisk) -> Vec<PathBuf> {
    disk.vfs().list(Path::new("/")).unwrap()
}

/// How often each of the planted faults has struck.
fn fired(disk: &SimDisk) -> Vec<u64> {
    disk.firings().into_iter().map(|(_, fired)| fired).collect()
}

fn random(seed: u64) -> Keep {
    Keep::Random { permille: 500, seed }
}

#[test]
fn what_was_not_synced_may_be_dropped_and_what_was_synced_may_not() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"synced");
    file.write_all_at(b"later!", 0).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"later!");
    let report = disk.crash(&Keep::None);
    assert_eq!((report.effects_dropped, report.effects_pending()), (1, 1));
    assert_eq!(content(&disk, "a").unwrap(), b"synced");
    assert_eq!(disk.pending_effects(), 0);
}

#[test]
fn keeping_all_is_as_if_everything_had_been_synced() {
    let disk = disk(512);
    let file = open(&disk, "a");
    file.write_all_at(&[7; 10_000], 50).unwrap();
    file.set_size(5000).unwrap();
    let before = content(&disk, "a");
    assert_eq!(disk.crash(&Keep::All).effects_kept, 4);
    assert_eq!(content(&disk, "a"), before);
}

#[test]
fn any_subset_of_writes_survives_and_order_is_not_kept() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(1);
        let file = durable(&disk, "a", b"...");
        for (offset, byte) in (0..3).zip([b"x", b"y", b"z"]) {
            file.write_all_at(byte, offset).unwrap();
        }
        disk.crash(&random(seed));
        seen.insert(content(&disk, "a").unwrap());
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn a_write_tears_at_granules_of_the_file_and_nowhere_else() {
    for granule in Granule::ALL.map(Granule::bytes) {
        let (mut torn, size) = (0, 3 * granule as usize + 4000);
        for seed in 0..60 {
            let disk = disk(granule);
            let file = durable(&disk, "a", &vec![1; size]);
            file.write_all_at(&vec![2; size - 9], 5).unwrap();
            let report = disk.crash(&random(seed));
            let bytes = content(&disk, "a").unwrap();
            let (written, kept) = (&bytes[5..size - 4], bytes[..5].iter().chain(&bytes[size - 4..]));
            assert!(kept.clone().all(|byte| *byte == 1));
            for (before, pair) in (6..).zip(written.windows(2)) {
                assert!(pair[0] == pair[1] || before % granule == 0, "torn at {before} of {granule}");
            }
            let partly = written.contains(&1) && written.contains(&2);
            assert_eq!(report.effects_torn, u64::from(partly));
            torn += report.effects_torn;
        }
        assert!(torn > 10, "{granule}: {torn}");
    }
}

#[test]
fn a_growth_without_its_data_reads_zeros() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"head");
    file.write_all_at(b"tail", 4).unwrap();
    assert_eq!(disk.crash(&Keep::Prefix { permille: 500 }).effects_kept, 1);
    assert_eq!(content(&disk, "a").unwrap(), b"head\0\0\0\0");
}

#[test]
fn data_without_its_growth_is_invisible_and_gone() {
    let seed =
        (0..100).find(|seed| Keep::OnlyOne { seed: *seed }.decide(&[1, 1])[1] == Survival::Kept).unwrap();
    let disk = disk(512);
    let file = durable(&disk, "a", b"head");
    file.write_all_at(b"tail", 4).unwrap();
    let report = disk.crash(&Keep::OnlyOne { seed });
    assert_eq!((report.effects_kept, report.sizes_dropped), (1, 1));
    assert_eq!(content(&disk, "a").unwrap(), b"head");
    open(&disk, "a").set_size(8).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"head\0\0\0\0");
}

#[test]
fn a_truncation_may_not_have_happened() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"12345678");
    file.set_size(2).unwrap();
    file.set_size(4).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"12\0\0");
    let kept = disk.fork();
    kept.crash(&Keep::All);
    assert_eq!(content(&kept, "a").unwrap(), b"12\0\0");
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"12345678");
    drop(disk.vfs().open(Path::new("a"), OpenMode::CreateTruncate).unwrap());
    assert_eq!(content(&disk, "a").unwrap(), b"");
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"12345678");
}

#[test]
fn a_prefix_is_one_of_the_order_in_which_everything_was_done() {
    let disk = disk(512);
    let files = [durable(&disk, "a", b"...."), durable(&disk, "b", b"....")];
    for (file, offset) in [(1, 0), (0, 0), (1, 1), (0, 1)] {
        files[file].write_all_at(b"x", offset).unwrap();
    }
    disk.crash(&Keep::Prefix { permille: 750 });
    assert_eq!(content(&disk, "a").unwrap(), b"x...");
    assert_eq!(content(&disk, "b").unwrap(), b"xx..");
}

#[test]
fn a_sync_covers_its_own_file_and_no_other() {
    let disk = disk(512);
    let first = durable(&disk, "a", b"old");
    let second = durable(&disk, "b", b"old");
    first.write_all_at(b"new", 0).unwrap();
    second.write_all_at(b"new", 0).unwrap();
    first.sync_data().unwrap();
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"new");
    assert_eq!(content(&disk, "b").unwrap(), b"old");
}

#[test]
fn a_dead_incarnation_changes_nothing() {
    let disk = disk(512);
    let vfs = disk.vfs();
    let file = durable(&disk, "a", b"synced");
    disk.power_off();
    assert!(disk.has_crashed());
    let calls = disk.io_calls();
    let attack = || {
        let path = Path::new("a");
        let mut buffer = [0; 4];
        let outcomes = [
            file.write_at(b"x", 0).map(drop),
            file.read_at(&mut buffer, 0).map(drop),
            file.set_size(0),
            file.size().map(drop),
            file.sync_all(),
            file.sync_data(),
            file.try_lock(LockMode::Exclusive).map(drop),
            vfs.open(path, OpenMode::CreateTruncate).map(drop),
            vfs.create_directory(Path::new("d")),
            vfs.list(Path::new("/")).map(drop),
            vfs.rename(path, Path::new("b")),
            vfs.sync_directory(Path::new("/")),
            vfs.remove(path),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(errno::EIO));
        }
    };
    attack();
    disk.crash(&Keep::All);
    assert!(!disk.has_crashed());
    let reopened = open(&disk, "a");
    assert!(reopened.try_lock(LockMode::Exclusive).unwrap());
    attack();
    drop(file);
    assert!(!open(&disk, "a").try_lock(LockMode::Shared).unwrap());
    assert_eq!(content(&disk, "a").unwrap(), b"synced");
    assert_eq!(disk.io_calls(), calls + 7);
}

#[test]
fn the_power_is_lost_before_or_after_the_very_call_that_was_chosen() {
    for (moment, survives) in [(Moment::Before, &b"old"[..]), (Moment::After, b"new")] {
        let disk = disk(512);
        let file = durable(&disk, "a", b"old");
        disk.arm(CrashPoint { call: 2, moment });
        file.write_all_at(b"new", 0).unwrap();
        assert!(!disk.has_crashed());
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(errno::EIO));
        assert!(disk.has_crashed());
        let site = disk.crash_site().unwrap();
        assert_eq!((site.operation, site.path.as_path()), (IoOperation::SyncData, Path::new("a")));
        assert_eq!((site.number, site.outcome), (disk.io_calls(), IoOutcome::PowerLost(moment)));
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), survives);
    }
}

#[test]
fn a_write_at_the_crash_is_pending_after_it_and_nothing_before_it() {
    for (moment, pending) in [(Moment::Before, 0), (Moment::After, 2)] {
        let disk = disk(512);
        let file = durable(&disk, "a", b"");
        disk.arm(CrashPoint { call: 1, moment });
        assert!(file.write_at(b"x", 0).is_err());
        assert_eq!(disk.pending_effects(), pending);
    }
}

#[test]
fn a_crash_point_can_be_called_off_and_a_power_loss_clears_it() {
    let disk = disk(512);
    let point = CrashPoint { call: 1, moment: Moment::Before };
    disk.arm(point);
    disk.disarm();
    drop(open(&disk, "a"));
    disk.arm(point);
    disk.crash(&Keep::All);
    drop(open(&disk, "a"));
    assert!(!disk.has_crashed());
    assert_eq!(disk.crash_site(), None);
}

#[test]
fn locks_exclude_until_the_handle_is_dropped_or_the_power_lost() {
    let disk = disk(512);
    let (first, second) = (open(&disk, "a"), open(&disk, "a"));
    assert!(first.try_lock(LockMode::Exclusive).unwrap());
    assert!(!second.try_lock(LockMode::Shared).unwrap());
    drop(first);
    assert!(second.try_lock(LockMode::Exclusive).unwrap());
    disk.crash(&Keep::All);
    assert!(open(&disk, "a").try_lock(LockMode::Exclusive).unwrap());
}

#[test]
fn a_store_that_never_syncs_is_written_back() {
    let disk = SimDisk::new(DiskOptions { dirty_bytes_max: 10_000, ..DiskOptions::default() });
    let file = durable(&disk, "a", b"");
    for index in 0..5 {
        file.write_all_at(&[1; 4096], index * 4096).unwrap();
    }
    assert_eq!((disk.stats().write_backs, disk.pending_effects()), (1, 4));
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), [1; 3 * 4096]);
}

#[test]
fn a_dead_process_leaves_the_page_cache_and_everything_in_it_pending() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    file.write_all_at(b"new", 0).unwrap();
    drop(open(&disk, "b"));
    assert!(file.try_lock(LockMode::Exclusive).unwrap());
    let pending = disk.pending_effects();
    assert!(pending >= 2);
    disk.crash(&Keep::PageCache);
    assert_eq!(disk.pending_effects(), pending);
    assert!(file.read_at(&mut [0], 0).is_err(), "the handle is of another incarnation");
    drop(file);
    assert_eq!(content(&disk, "a").unwrap(), b"new");
    assert!(open(&disk, "a").try_lock(LockMode::Exclusive).unwrap());
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"old");
    assert!(content(&disk, "b").is_none());
}
