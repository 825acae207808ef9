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
