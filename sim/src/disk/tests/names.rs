//! The rules on names and directories.

use super::*;

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
fn a_directory_sync_persists_the_way_to_the_directory_where_the_options_say_so() {
    for (text, survives) in [("directory-sync", false), ("file-sync", true)] {
        let directory_persistence = text.parse().unwrap();
        let disk = SimDisk::new(DiskOptions { directory_persistence, ..DiskOptions::default() });
        disk.vfs().create_directory(Path::new("d/e")).unwrap();
        disk.vfs().sync_directory(Path::new("d/e")).unwrap();
        disk.crash(&Keep::None);
        assert_eq!(disk.vfs().list(Path::new("d/e")).is_ok(), survives);
    }
}

#[test]
fn a_removal_may_not_have_happened_and_one_that_has_is_no_loss() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"bytes");
    disk.vfs().remove(Path::new("a")).unwrap();
    drop(file);
    let removed = disk.fork();
    assert_eq!(removed.crash(&Keep::All).files_lost, 0);
    assert_eq!(content(&removed, "a"), None);
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"bytes");
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"bytes");
}

#[test]
fn a_rename_onto_itself_does_nothing() {
    let disk = disk(512);
    durable(&disk, "a", b"bytes");
    disk.vfs().rename(Path::new("a"), Path::new("a")).unwrap();
    assert_eq!(disk.pending_effects(), 0);
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), b"bytes");
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
fn clearing_leaves_an_empty_disk_that_old_handles_do_not_reach() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"abc");
    disk.clear();
    assert!(names(&disk).is_empty());
    assert!(file.write_all_at(b"x", 0).is_err());
    drop(file);
    durable(&disk, "b", b"new");
    assert_eq!(content(&disk.image(&Keep::None), "b").unwrap(), b"new");
    assert_eq!(disk.pending_effects(), 0);
}
