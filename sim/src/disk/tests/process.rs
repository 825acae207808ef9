//! The rules on a process that dies alone, and on one that does not come back.

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

#[test]
fn a_process_may_die_in_the_middle_of_a_write() {
    let mut lengths = std::collections::BTreeSet::new();
    for earlier in 0..16 {
        let disk = disk(512);
        let file = durable(&disk, "a", b"");
        file.write_all_at(&[1; 4096], 0).unwrap();
        for _ in 0..earlier {
            file.size().unwrap();
        }
        disk.arm(CrashPoint { call: 1, moment: Moment::During });
        assert!(file.write_at(&[2; 4000], 96).is_err());
        disk.crash(&Keep::PageCache);
        let left = content(&disk, "a").unwrap();
        let written = left[96..].iter().take_while(|byte| **byte == 2).count();
        assert!(
            left[..96].iter().all(|byte| *byte == 1) && left[96 + written..].iter().all(|byte| *byte == 1)
        );
        assert!(
            written == 0 || (96 + written).is_multiple_of(512),
            "it ends with a granule, not at {written}"
        );
        lengths.insert(written);
    }
    assert!(lengths.len() > 4 && lengths.contains(&0) && lengths.last() < Some(&4000), "{lengths:?}");

    let disk = disk(512);
    let file = durable(&disk, "a", b"");
    file.write_all_at(b"lost", 0).unwrap();
    disk.arm(CrashPoint { call: 1, moment: Moment::During });
    assert!(file.sync_data().is_err());
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"", "any other call has no effect");
}

#[test]
fn whoever_makes_more_calls_than_are_allowed_panics_and_again_after_as_many() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let disk = disk(512);
    let file = open(&disk, "a");
    disk.bound_calls(3);
    (0..3).for_each(|_| assert_eq!(file.size().unwrap(), 0));
    let fork = disk.fork();
    disk.bound_calls(1);
    file.size().unwrap();
    assert!(!disk.has_strayed() && disk.io_calls() == 5);
    assert!(catch_unwind(AssertUnwindSafe(|| file.size())).is_err());
    assert!(disk.has_strayed() && disk.has_crashed() && disk.io_calls() == 5);
    file.size().unwrap_err();
    assert!(catch_unwind(AssertUnwindSafe(|| disk.vfs().list(Path::new("/")))).is_err());
    let other = open(&fork, "a");
    (0..9).for_each(|_| assert_eq!(other.size().unwrap(), 0));
    assert!(!fork.has_strayed());
}
