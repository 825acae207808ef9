//! Calls that fail as they do on a machine in trouble.

use super::super::errno::Errno;
use super::*;

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_call_fails_once_when_its_turn_comes() {
    let disk = disk(512);
    let file = open(&disk, "a");
    disk.plant(Fault::once(FaultKind::IoError, 2).on(IoKind::Write));
    file.write_all_at(b"one", 0).unwrap();
    assert_eq!(fired(&disk), [0]);
    assert_eq!(code(file.write_at(b"two", 0)), Some(errno::EIO));
    assert_eq!(fired(&disk), [1]);
    assert_eq!(content(&disk, "a").unwrap(), b"one", "a write that failed changed nothing");
    file.write_all_at(b"three", 0).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"three");
}

#[test]
fn the_first_call_of_a_disk_may_be_interrupted_and_not_the_second_as_well() {
    let disk = disk(512);
    disk.plant("io-error error=EINTR nth=1 sticky".parse().unwrap());
    let create = || disk.vfs().open(Path::new("a"), OpenMode::Create);
    assert_eq!(code(create()), Some(errno::EINTR));
    create().unwrap();
}

#[test]
fn every_kind_of_call_may_fail_with_every_error_and_changes_nothing() {
    for kind in IoKind::ALL {
        for errno in Errno::ALL {
            let disk = disk(512);
            let file = durable(&disk, "a", b"one");
            file.write_all_at(b"two", 0).unwrap();
            let before = (disk.image_hash(), disk.pending_effects());
            let error = Some(errno);
            disk.plant(Fault { error, ..Fault::once(FaultKind::IoError, 1).on(kind) });
            let vfs = disk.vfs();
            let [root, a, b] = ["/", "a", "b"].map(Path::new);
            let outcome = match kind {
                IoKind::Open => vfs.open(b, OpenMode::Create).map(|_| ()),
                IoKind::Read => file.read_at(&mut [0; 3], 0).map(|_| ()),
                IoKind::Write => file.write_at(b"three", 0).map(|_| ()),
                IoKind::SetSize => file.set_size(1),
                IoKind::Sync => file.sync_all(),
                IoKind::SyncDirectory => vfs.sync_directory(root),
                IoKind::Rename => vfs.rename(a, b),
                IoKind::Remove => vfs.remove(a),
                IoKind::List => vfs.list(root).map(|_| ()),
                IoKind::CreateDirectory => vfs.create_directory(b),
                IoKind::Lock => file.try_lock(LockMode::Exclusive).map(|_| ()),
                IoKind::Size => file.size().map(|_| ()),
            };
            assert_eq!(code(outcome), Some(errno.code()), "{kind} {errno}");
            assert_eq!((disk.image_hash(), disk.pending_effects()), before, "{kind}");
            assert_eq!(fired(&disk), [1], "{kind}");
            assert_eq!(content(&disk, "a").unwrap(), b"two");
            assert_eq!(names(&disk), [a], "{kind}");
        }
    }
}

#[test]
fn what_a_failed_sync_dropped_reads_back_until_the_power_fails() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"durable");
    file.write_all_at(b"dropped and longer", 0).unwrap();
    disk.plant(Fault::once(FaultKind::SyncLost, 1));
    assert_eq!(code(file.sync_data()), Some(errno::EIO));
    assert_eq!(content(&disk, "a").unwrap(), b"dropped and longer");
    file.write_all_at(b"new", 15).unwrap();
    file.sync_data().unwrap();
    disk.crash(&Keep::PageCache);
    assert_eq!(content(&disk, "a").unwrap(), b"dropped and lonnew");
    disk.crash(&Keep::All);
    assert_eq!(content(&disk, "a").unwrap(), b"durable\0\0\0\0\0\0\0\0new");
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_late_failure_has_made_everything_durable() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    file.write_all_at(b"durable", 0).unwrap();
    disk.plant(Fault::once(FaultKind::SyncLate, 1));
    assert_eq!(code(file.sync_data()), Some(errno::EIO));
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"durable");
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_failed_sync_may_show_at_once_what_is_left() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"durable");
    file.write_all_at(b"dropped and longer", 0).unwrap();
    disk.plant("sync-reverted error=ENOSPC nth=1".parse().unwrap());
    assert_eq!(code(file.sync_data()), Some(errno::ENOSPC));
    assert_eq!(content(&disk, "a").unwrap(), b"durable");
    file.write_all_at(b"D", 0).unwrap();
    file.sync_data().unwrap();
    disk.crash(&Keep::All);
    assert_eq!(content(&disk, "a").unwrap(), b"Durable");
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_write_back_that_failed_is_reported_once_by_the_next_sync() {
    let disk = disk(512);
    let (file, other) = (durable(&disk, "a", b"durable"), durable(&disk, "b", b"other"));
    disk.plant(Fault::once(FaultKind::WriteBackLost, 2));
    file.write_all_at(b"x", 0).unwrap();
    file.write_all_at(b"y", 1).unwrap();
    file.write_all_at(b"z", 6).unwrap();
    other.sync_data().unwrap();
    assert_eq!(fired(&disk), [1]);
    disk.heal();
    assert_eq!(code(file.sync_data()), Some(errno::EIO), "a loss is reported, healed or not");
    assert_eq!(fired(&disk), [1], "it has struck once");
    let told: Vec<_> = disk.take_fired().iter().map(|fired| fired.is_aftermath).collect();
    assert_eq!(told, [false, true], "and both its failure and the report are told");
    file.sync_data().unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"xyrablz");
    disk.crash(&Keep::All);
    assert_eq!(content(&disk, "a").unwrap(), b"durablz", "what was written since is durable");
}

#[test]
fn a_report_of_an_earlier_strike_takes_nothing_off_the_count() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"....");
    disk.plant("write-back-lost nth=1 count=2".parse().unwrap());
    for (round, byte) in (1..).zip([b"1", b"2"]) {
        file.write_all_at(byte, 0).unwrap();
        assert_eq!(fired(&disk), [round]);
        assert_eq!(code(file.sync_all()), Some(errno::EIO));
    }
    file.write_all_at(b"3", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fired(&disk), [2]);
}

#[test]
fn a_file_system_stays_read_only_until_the_power_fails() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"durable");
    file.write_all_at(b"dropped", 0).unwrap();
    disk.plant(Fault::once(FaultKind::SyncReadOnly, 1));
    assert_eq!(code(file.sync_data()), Some(errno::EIO));
    let vfs = disk.vfs();
    let [root, a, b] = ["/", "a", "b"].map(Path::new);
    for refused in [
        file.write_at(b"x", 0).map(|_| ()),
        file.set_size(0),
        file.sync_data(),
        vfs.sync_directory(root),
        vfs.rename(a, b),
        vfs.remove(a),
        vfs.create_directory(b),
        vfs.open(a, OpenMode::ReadWrite).map(|_| ()),
    ] {
        assert_eq!(code(refused), Some(errno::EROFS));
    }
    assert_eq!(content(&disk, "a").unwrap(), b"dropped");
    assert_eq!(fired(&disk), [1], "it has struck once");
    let told = disk.take_fired();
    assert_eq!(told.len(), 9, "every refusal is told");
    assert!(!told[0].is_aftermath && told[1..].iter().all(|fired| fired.is_aftermath));
    assert_eq!(told[1].to_string(), "sync-read-only, felt at #7 write a @0+1 = EROFS (30)");
    let healed = disk.fork();
    healed.heal();
    open(&healed, "a").write_all_at(b"x", 0).unwrap();
    disk.crash(&Keep::PageCache);
    assert_eq!(code(disk.vfs().remove(a)), Some(errno::EROFS), "a process that dies mounts nothing");
    disk.crash(&Keep::All);
    assert_eq!(content(&disk, "a").unwrap(), b"durable");
    open(&disk, "a").write_all_at(b"x", 0).unwrap();
}

#[test]
fn what_a_failed_directory_sync_dropped_shows_until_the_power_fails() {
    let disk = disk(512);
    for name in ["kept", "moved", "replaced", "removed"] {
        durable(&disk, name, name.as_bytes());
    }
    let vfs = disk.vfs();
    let [root, removed, moved, replaced] = ["/", "removed", "moved", "replaced"].map(Path::new);
    open(&disk, "created").write_all_at(b"new", 0).unwrap();
    vfs.remove(removed).unwrap();
    vfs.rename(moved, replaced).unwrap();
    disk.plant(Fault::once(FaultKind::DirectorySyncLost, 1));
    assert_eq!(code(vfs.sync_directory(root)), Some(errno::EIO));
    let shown = ["created", "kept", "replaced"].map(PathBuf::from);
    assert_eq!(names(&disk), shown);
    vfs.sync_directory(root).unwrap();
    open(&disk, "later");
    vfs.sync_directory(root).unwrap();
    disk.crash(&Keep::PageCache);
    assert_eq!(content(&disk, "replaced").unwrap(), b"moved");
    disk.crash(&Keep::All);
    assert_eq!(names(&disk), ["kept", "later", "moved", "removed", "replaced"].map(PathBuf::from));
    assert_eq!(content(&disk, "removed").unwrap(), b"removed");
    assert_eq!(content(&disk, "replaced").unwrap(), b"replaced");
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_write_may_fail_after_a_part() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let disk = disk(512);
        let file = durable(&disk, "a", &[1; 2000]);
        disk.plant(Fault { count: Some(1), ..Fault::at_rate(FaultKind::PartialWrite, 1000, seed) });
        assert_eq!(code(file.write_at(&[2; 1500], 100)), Some(errno::EIO));
        let left = content(&disk, "a").unwrap();
        let written = left[100..].iter().take_while(|byte| **byte == 2).count();
        assert!(left[100 + written..].iter().all(|byte| *byte == 1) && written < 1500);
        assert_eq!(fired(&disk), [1]);
        lengths.insert(written);
    }
    assert!(lengths.len() > 10, "{lengths:?}");
}
