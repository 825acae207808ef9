//! Full disks.

use std::io::ErrorKind;

use proofmark_vfs::{OpenMode, Vfs, VfsFile};

use super::super::{Keep, SimDisk};

fn content(file: &dyn VfsFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn open(vfs: &dyn Vfs, path: &str) -> Box<dyn VfsFile> {
    let file = vfs.open(path.as_ref(), OpenMode::Create).unwrap();
    vfs.sync_directory("/".as_ref()).unwrap();
    file
}

#[test]
fn a_full_disk_takes_what_finds_room_and_goes_on_when_there_is_more() {
    let disk = SimDisk::default();
    let vfs = disk.vfs();
    let file = open(&*vfs, "/file");
    file.write_all_at(&[1; 5000], 0).unwrap();
    disk.limit_space(Some(8191));
    assert_eq!(file.write_at(&[2; 8192], 0).unwrap(), 8192, "the pages are there");
    assert_eq!(file.write_at(&[3; 9000], 8192).unwrap(), 4096, "there is room for one more");
    assert_eq!(file.write_at(&[4; 9000], 12288).unwrap_err().kind(), ErrorKind::StorageFull);
    file.set_size(1 << 20).unwrap();
    assert_eq!(
        file.write_at(&[4], 500_000).unwrap_err().kind(),
        ErrorKind::StorageFull,
        "a hole has no page"
    );
    assert_eq!(file.write_at(&[5; 10], 8192).unwrap(), 10);
    let other = open(&*vfs, "/other");
    assert!(other.write_at(&[6], 0).is_err(), "all files share the room");
    file.set_size(4096).unwrap();
    assert_eq!(other.write_at(&[6; 9000], 0).unwrap(), 8192, "what was cut off is free");
    drop(other);
    vfs.remove("/other".as_ref()).unwrap();
    file.write_all_at(&[7; 8192], 4096).unwrap();
    disk.limit_space(None);
    file.write_all_at(&[8; 100_000], 0).unwrap();
}

#[test]
fn a_limit_outlives_a_power_loss() {
    let disk = SimDisk::default();
    let file = open(&*disk.vfs(), "/file");
    disk.limit_space(Some(4096));
    file.write_all_at(&[1; 4096], 0).unwrap();
    disk.crash(&Keep::None);
    let file = open(&*disk.vfs(), "/file");
    assert_eq!(file.write_at(&[1; 8192], 0).unwrap(), 4096);
    assert!(file.write_at(&[1], 4096).is_err());
}

#[test]
fn a_place_outlives_the_bytes_that_were_to_be_there() {
    let disk = SimDisk::default();
    let file = open(&*disk.vfs(), "/file");
    file.write_all_at(&[1; 10_000], 0).unwrap();
    // The sizes survive, which come first, and not the bytes.
    disk.crash(&Keep::Prefix { permille: 50 });
    let file = open(&*disk.vfs(), "/file");
    assert_eq!(content(&*file), [0; 10_000]);
    disk.limit_space(Some(0));
    file.write_all_at(&[2; 12_288], 0).unwrap();
    assert!(file.write_at(&[2], 12_288).is_err());
}
