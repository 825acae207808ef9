//! One test for each rule of the fault model.

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
        let disk = disk(4096);
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
    let seed = (0..100)
        .find(|seed| Keep::OnlyOne { seed: *seed }.decide(&[1, 1])[1] == crash::Survival::Kept)
        .unwrap();
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
fn a_name_is_durable_with_its_directory_and_not_with_its_file() {
    let disk = disk(512);
    let file = open(&disk, "a");
    file.write_all_at(b"x", 0).unwrap();
    file.sync_all().unwrap();
    let synced = disk.fork();
    let report = disk.crash(&Keep::None);
    assert_eq!((report.entries_dropped, report.files_lost), (1, 1));
    assert_eq!(content(&disk, "a"), None);
    synced.vfs().sync_directory(Path::new("")).unwrap();
    assert_eq!(synced.crash(&Keep::None).files_lost, 0);
    assert_eq!(content(&synced, "a").unwrap(), b"x");
    synced.vfs().remove(Path::new("a")).unwrap();
    assert!(names(&synced).is_empty());
    synced.crash(&Keep::None);
    assert_eq!(content(&synced, "a").unwrap(), b"x");
}

#[test]
fn a_file_sync_persists_the_way_to_the_file_where_the_options_say_so() {
    let directory_persistence = DirectoryPersistence::WithFileSync;
    let disk = SimDisk::new(DiskOptions { directory_persistence, ..DiskOptions::default() });
    disk.vfs().create_directory(Path::new("d/e")).unwrap();
    let file = open(&disk, "d/e/a.new");
    file.write_all_at(b"x", 0).unwrap();
    disk.vfs().rename(Path::new("d/e/a.new"), Path::new("d/e/a")).unwrap();
    drop(open(&disk, "d/e/later"));
    file.sync_data().unwrap();
    disk.crash(&Keep::None);
    assert_eq!(disk.vfs().list(Path::new("d/e")).unwrap(), [PathBuf::from("a")]);
    assert_eq!(content(&disk, "d/e/a").unwrap(), b"x");
}

#[test]
fn a_lost_directory_takes_its_files_with_it() {
    let disk = disk(512);
    disk.vfs().create_directory(Path::new("d")).unwrap();
    open(&disk, "d/a").sync_all().unwrap();
    disk.vfs().sync_directory(Path::new("d")).unwrap();
    let prepared = disk.fork();
    disk.crash(&Keep::None);
    assert!(names(&disk).is_empty());
    prepared.prepare_directory(Path::new("d/e")).unwrap();
    prepared.crash(&Keep::None);
    let listed = prepared.vfs().list(Path::new("d")).unwrap();
    assert_eq!(listed, [PathBuf::from("a"), PathBuf::from("e")]);
}

#[test]
fn a_rename_is_atomic_and_a_replaced_name_is_never_gone() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let disk = disk(512);
        durable(&disk, "current", b"old");
        open(&disk, "next").write_all_at(b"new", 0).unwrap();
        disk.vfs().rename(Path::new("next"), Path::new("current")).unwrap();
        assert_eq!(names(&disk), [PathBuf::from("current")]);
        disk.crash(&random(seed));
        let found = content(&disk, "current").expect("a replaced name never leads to nothing");
        assert!([&b"old"[..], b"new", b"\0\0\0", b""].contains(&&*found));
        if names(&disk).len() == 2 {
            assert_eq!(found, b"old");
        }
        seen.insert(found);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
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
fn errors_are_those_of_an_operating_system() {
    let disk = disk(512);
    let vfs = disk.vfs();
    vfs.create_directory(Path::new("d")).unwrap();
    let file = open(&disk, "a");
    let code = |result: io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    let path = Path::new;
    assert_eq!(code(vfs.open(path("x"), OpenMode::ReadWrite).map(drop)), errno::ENOENT);
    assert_eq!(code(vfs.open(path("d"), OpenMode::Read).map(drop)), errno::EISDIR);
    assert_eq!(code(vfs.open(path("a/b"), OpenMode::Create).map(drop)), errno::ENOTDIR);
    assert_eq!(code(vfs.open(path("x/b"), OpenMode::Create).map(drop)), errno::ENOENT);
    assert_eq!(code(vfs.list(path("x")).map(drop)), errno::ENOENT);
    assert_eq!(code(vfs.remove(path("x"))), errno::ENOENT);
    assert_eq!(code(vfs.remove(path("d"))), errno::EISDIR);
    assert_eq!(code(vfs.rename(path("a"), path("d"))), errno::EISDIR);
    assert_eq!(code(vfs.rename(path("a"), path("d/a"))), errno::EXDEV);
    assert_eq!(code(vfs.rename(path("x"), path("a"))), errno::ENOENT);
    assert_eq!(code(vfs.create_directory(path("a"))), errno::ENOTDIR);
    assert_eq!(code(file.write_at(b"x", i64::MAX as u64).map(drop)), errno::EFBIG);
    assert_eq!(code(file.set_size(u64::MAX)), errno::EFBIG);
    let read_only = vfs.open(path("a"), OpenMode::Read).unwrap();
    assert_eq!(code(read_only.write_at(b"x", 0).map(drop)), errno::EBADF);
    assert_eq!(code(read_only.set_size(0)), errno::EBADF);
}

#[test]
fn a_removed_file_lives_as_long_as_it_is_open_and_then_frees_its_memory() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"bytes");
    disk.vfs().remove(Path::new("a")).unwrap();
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    let mut buffer = [0; 5];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(buffer, *b"bytes");
    assert_eq!(disk.lock().inodes.len(), 1);
    drop(file);
    assert!(disk.lock().inodes.is_empty());
    durable(&disk, "b", b"1");
    durable(&disk, "c", b"2");
    disk.vfs().rename(Path::new("b"), Path::new("c")).unwrap();
    assert_eq!(disk.lock().inodes.len(), 2);
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(disk.lock().inodes.len(), 1);
    assert_eq!(content(&disk, "c").unwrap(), b"1");
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

/// A busy life, with crashes, that depends on nothing but the seed.
fn live(disk: &SimDisk, seed: u64) {
    for round in 0..20_u64 {
        let name = format!("f{}", (seed + round) % 4);
        let file = open(disk, &name);
        for index in 0..8 {
            let offset = (seed * 31 + round * 977 + index * 4096) % 20_000;
            file.write_all_at(&vec![(seed + round + index) as u8; 700 + 100 * index as usize], offset)
                .unwrap();
        }
        match round % 5 {
            0 => file.sync_data().unwrap(),
            1 => disk.vfs().sync_directory(Path::new("/")).unwrap(),
            2 => disk.vfs().rename(Path::new(&name), Path::new("f9")).unwrap(),
            3 => file.set_size(round * 500).unwrap(),
            _ => {
                disk.crash(&random(seed + round));
            }
        }
    }
}

#[test]
fn the_same_life_gives_the_same_trace_and_the_same_image() {
    let run = |seed| {
        let disk = disk(64);
        live(&disk, seed);
        (disk.trace_hash(), disk.image_hash(), disk.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn the_hash_tells_choices_of_survivors_apart() {
    let hash = |seed| {
        let disk = disk(512);
        disk.crash(&random(seed));
        disk.trace_hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn recording_changes_nothing_but_the_record() {
    let (silent, recorded) = (disk(64), disk(64));
    recorded.record_trace(true);
    live(&silent, 5);
    live(&recorded, 5);
    assert_eq!(silent.trace_hash(), recorded.trace_hash());
    assert_eq!(silent.image_hash(), recorded.image_hash());
    assert!(silent.take_trace().is_empty());
    let events = recorded.take_trace();
    let crashes = events.iter().filter(|event| matches!(event, TraceEvent::PowerLoss(_))).count();
    assert_eq!(events.len() as u64, recorded.io_calls() + crashes as u64);
    assert_eq!(events[0].to_string(), "#1 open (create) f1");
    assert!(recorded.take_trace().is_empty());
}

#[test]
fn planted_but_not_yet_due_sabotage_leaves_the_disk_alone() {
    let (plain, planted) = (disk(64), disk(64));
    for kind in
        ["ignore-sync", "torn-sync", "ignore-directory-sync", "drop-write", "swap-writes", "stale-read"]
    {
        planted.plant(format!("{kind}:1000000").parse().unwrap());
    }
    live(&plain, 8);
    live(&planted, 8);
    assert_eq!(plain.trace_hash(), planted.trace_hash());
    assert_eq!(plain.image_hash(), planted.image_hash());
    assert!(planted.sabotage_fired().iter().all(|(_, fired)| *fired == 0));
}

#[test]
fn a_fork_goes_its_own_way() {
    let original = disk(512);
    let file = durable(&original, "a", b"shared");
    assert!(file.try_lock(LockMode::Exclusive).unwrap());
    file.write_all_at(b"S", 0).unwrap();
    let fork = original.fork();
    assert!(open(&fork, "a").try_lock(LockMode::Exclusive).unwrap());
    assert_eq!(content(&fork, "a").unwrap(), b"Shared");
    fork.crash(&Keep::None);
    assert_eq!(content(&fork, "a").unwrap(), b"shared");
    file.write_all_at(b"SHARED", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&fork, "a").unwrap(), b"shared");
    assert_ne!(original.image_hash(), fork.image_hash());
    fork.crash(&Keep::All);
    original.crash(&Keep::None);
    assert_eq!(content(&original, "a").unwrap(), b"SHARED");
}

#[test]
fn counters_count() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 2048]);
    file.read_exact_at(&mut [0; 100], 0).unwrap();
    file.write_all_at(&[2; 2048], 0).unwrap();
    file.write_all_at(&[3; 10], 2048).unwrap();
    drop(open(&disk, "b"));
    disk.crash(&Keep::Prefix { permille: 300 });
    let expected = DiskStats {
        reads: 1,
        writes: 3,
        syncs: 1,
        directory_syncs: 1,
        bytes_read: 100,
        bytes_written: 4106,
        crashes: 1,
        effects_dropped: 3,
        effects_torn: 1,
        sizes_dropped: 1,
        entries_dropped: 1,
        files_lost: 1,
        ..DiskStats::default()
    };
    assert_eq!(disk.stats(), expected);
}

#[test]
fn option_texts_survive_a_round_trip() {
    for text in ["1", "8", "64", "512", "4096"] {
        assert_eq!(text.parse::<Granule>().unwrap().to_string(), text);
    }
    for text in ["directory-sync", "file-sync"] {
        assert_eq!(text.parse::<DirectoryPersistence>().unwrap().to_string(), text);
    }
    assert_eq!("2".parse::<Granule>().unwrap_err().to_string(), "\"2\" is not a granule");
    assert!("fsync".parse::<DirectoryPersistence>().is_err());
}
