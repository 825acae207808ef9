//! Bytes that are not what was written.

use super::*;

#[test]
fn a_lost_write_changes_no_byte() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::every(FaultKind::LostWrite, 2));
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
    disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
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
fn a_change_of_size_ends_the_holding_back() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"....");
    disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
    file.write_all_at(b"old", 0).unwrap();
    file.set_size(2).unwrap();
    file.write_all_at(b"new", 1).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"onew");
}

#[test]
fn a_stale_read_shows_the_bytes_before_the_last_write() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old.");
    disk.plant(Fault::once(FaultKind::StaleRead, 1));
    assert_eq!(content(&disk, "a").unwrap(), b"old.");
    assert_eq!(fired(&disk), [0]);
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"old.");
    assert_eq!(content(&disk, "a").unwrap(), b"new.");
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_power_loss_forgets_what_stale_reads_could_show() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::StaleRead, 1));
    file.write_all_at(b"mid", 0).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"old");
}
