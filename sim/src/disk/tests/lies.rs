//! Syncs that are acknowledged and do less than they say.

use super::*;

#[test]
fn an_ignored_sync_makes_nothing_durable_and_the_next_one_does() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::IgnoreSync, 1));
    file.sync_data().unwrap();
    assert_eq!(fired(&disk), [0], "a sync that has nothing to do can't lie");
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    let honest = disk.fork();
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"old");
    open(&honest, "a").sync_data().unwrap();
    honest.crash(&Keep::None);
    assert_eq!(content(&honest, "a").unwrap(), b"new");
    assert_eq!(fired(&honest), [1]);
}

#[test]
fn a_torn_sync_makes_half_of_the_granules_durable() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 4096]);
    disk.plant(Fault::once(FaultKind::TornSync, 1));
    file.write_all_at(&[2; 4096], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&disk, "a").unwrap(), [2; 4096]);
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), [[2; 2048], [1; 2048]].concat());
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn an_ignored_directory_sync_makes_no_name_durable() {
    let disk = disk(512);
    disk.plant(Fault::once(FaultKind::IgnoreDirectorySync, 1));
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(fired(&disk), [0]);
    durable(&disk, "a", b"x");
    disk.crash(&Keep::None);
    assert!(names(&disk).is_empty());
    durable(&disk, "a", b"x");
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"x");
    assert_eq!(fired(&disk), [1]);
}
