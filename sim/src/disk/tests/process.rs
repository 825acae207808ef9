//! The rules on a process that dies alone.

use super::*;

/// How many files there are, named or not, and how many effects are pending.
fn left(disk: &SimDisk) -> (usize, usize) {
    let files = disk.lock().inodes.len();
    (files, disk.pending_effects())
}

#[test]
fn a_dead_process_releases_the_removed_files_it_had_open() {
    let disk = disk(512);
    let file = open(&disk, "a");
    file.write_all_at(&[1; 100], 0).unwrap();
    disk.vfs().remove(Path::new("a")).unwrap();
    let removed = disk.fork();
    disk.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(left(&disk), (1, 2));
    let fork = disk.fork();
    assert_eq!(left(&fork), (0, 0));
    disk.crash(&Keep::PageCache);
    assert_eq!(left(&disk), (0, 0));
    assert_eq!(disk.crash(&Keep::All).effects_pending(), 0);
    removed.crash(&Keep::PageCache);
    assert_eq!(removed.lock().inodes.len(), 1, "the removal may yet be lost");
    removed.vfs().sync_directory(Path::new("/")).unwrap();
    assert_eq!(left(&removed), (0, 0));
}
