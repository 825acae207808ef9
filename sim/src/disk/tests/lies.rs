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

#[test]
fn a_lie_lasts_until_it_is_made_good() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::IgnoreSync, 1));
    file.write_all_at(b"new", 0).unwrap();
    assert!(!disk.has_lied(), "nobody has been told anything yet");
    file.sync_data().unwrap();
    assert!(disk.has_lied());
    disk.crash(&Keep::PageCache);
    assert!(disk.has_lied(), "a process that dies makes nothing durable");
    let lost = disk.fork();
    let file = open(&disk, "a");
    file.write_all_at(b"later", 100).unwrap();
    file.sync_data().unwrap();
    assert!(!disk.has_lied());
    file.write_all_at(b"later", 200).unwrap();
    assert!(!disk.has_lied(), "what came afterwards was not acknowledged");
    lost.power_off();
    assert!(lost.has_lied(), "at the moment of the loss it is still told");
    lost.crash(&Keep::None);
    assert!(!lost.has_lied());
}

#[test]
fn a_torn_sync_and_one_of_a_directory_lie_as_well() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 4096]);
    disk.plant(Fault::once(FaultKind::TornSync, 1));
    disk.plant(Fault::once(FaultKind::IgnoreDirectorySync, 1));
    file.write_all_at(&[2; 4096], 0).unwrap();
    file.sync_data().unwrap();
    assert!(disk.has_lied());
    file.sync_data().unwrap();
    assert!(!disk.has_lied());
    open(&disk, "b");
    let root = Path::new("/");
    disk.vfs().sync_directory(root).unwrap();
    assert!(disk.has_lied());
    disk.vfs().sync_directory(root).unwrap();
    assert!(!disk.has_lied());
}

#[test]
fn what_the_system_wrote_back_is_no_lie_any_more_and_what_it_lost_is_one_for_good() {
    let options = DiskOptions { dirty_bytes_max: 10_000, ..DiskOptions::default() };
    let disk = SimDisk::new(options);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::IgnoreSync, 1));
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    let lost = disk.fork();
    file.write_all_at(&[1; 20_000], 0).unwrap();
    assert_eq!((disk.stats().write_backs, disk.has_lied()), (1, false));
    lost.plant(Fault::once(FaultKind::SyncLost, 1));
    let file = open(&lost, "a");
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert!(lost.has_lied(), "no later sync covers what was lost");
    lost.crash(&Keep::None);
    assert!(!lost.has_lied());
}

#[test]
fn a_sync_that_vouches_for_names_lies_about_them_too() {
    let options =
        DiskOptions { directory_persistence: DirectoryPersistence::WithFileSync, ..DiskOptions::default() };
    let disk = SimDisk::new(options);
    disk.plant(Fault::once(FaultKind::IgnoreSync, 1));
    disk.vfs().create_directory(Path::new("d")).unwrap();
    let file = open(&disk, "d/a");
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    let fork = disk.fork();
    assert!(disk.has_lied());
    file.sync_data().unwrap();
    assert!(!disk.has_lied());
    fork.crash(&Keep::None);
    assert!(names(&fork).is_empty());
}

#[test]
fn a_sync_with_a_failure_to_report_tells_no_lie() {
    for lie in [FaultKind::IgnoreSync, FaultKind::TornSync] {
        let disk = disk(512);
        let file = durable(&disk, "a", b"....");
        disk.plant(Fault::once(FaultKind::WriteBackLost, 1));
        disk.plant(Fault::once(lie, 1));
        file.write_all_at(b"X", 0).unwrap();
        file.write_all_at(b"Y", 2).unwrap();
        assert!(file.sync_all().is_err(), "the loss is reported");
        assert_eq!((fired(&disk), disk.has_lied()), (vec![1, 0], false));
        file.write_all_at(b"Z", 3).unwrap();
        file.sync_all().unwrap();
        assert!(disk.has_lied());
        file.sync_all().unwrap();
        assert!(!disk.has_lied());
        disk.crash(&Keep::None);
        assert_eq!(content(&disk, "a").unwrap(), b"..YZ", "what is made good is there");
    }
}

#[test]
fn a_lie_about_a_file_lasts_while_a_power_loss_may_bring_it_back() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::IgnoreSync, 1));
    file.write_all_at(b"new", 0).unwrap();
    file.sync_all().unwrap();
    disk.vfs().remove(Path::new("a")).unwrap();
    assert!(disk.has_lied(), "the file may be back, without its bytes");
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert!(!disk.has_lied(), "nobody will ever see it again");
    drop(file);
}
