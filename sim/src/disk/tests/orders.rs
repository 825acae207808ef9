//! The rules on what survives only with something else, profile by profile.

use std::collections::BTreeSet;

use super::*;

fn disk_like(profile: Profile) -> SimDisk {
    let mut options = DiskOptions::default();
    profile.apply(&mut options);
    SimDisk::new(options)
}

/// What a file holds after each of many power losses, or that it is not there.
fn outcomes<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    let random = (0..400).map(|seed| Keep::Random { permille: 500, seed });
    let keeps = random.chain([Keep::All, Keep::None]);
    keeps.map(|keep| look(&disk.image(&keep))).collect()
}

#[test]
fn profiles_are_told_apart_by_their_knobs() {
    for profile in Profile::ALL {
        let mut options = DiskOptions::default();
        profile.apply(&mut options);
        assert_eq!(Profile::of(&options), Some(profile));
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
    let odd = DiskOptions { sizes: Sizes::SizeFirst, ..DiskOptions::default() };
    assert_eq!(Profile::of(&odd), None);
    assert!("ext3".parse::<Profile>().is_err());
}

#[test]
fn a_growth_shows_zeros_only_where_sizes_are_independent() {
    let shows_zeros = |profile| {
        let disk = disk_like(profile);
        durable(&disk, "a", b"old.").write_all_at(b"new.", 4).unwrap();
        let found = outcomes(&disk, |image| content(image, "a").unwrap());
        assert!(found.contains(&b"old."[..]) && found.contains(&b"old.new."[..]));
        assert!(found.len() <= 3);
        found.contains(&b"old.\0\0\0\0"[..])
    };
    assert_eq!(Profile::ALL.map(shows_zeros), [false, false, false, false, true]);
}

#[test]
fn size_first_keeps_no_bytes_beyond_the_size() {
    let disk = SimDisk::new(DiskOptions { sizes: Sizes::SizeFirst, ..DiskOptions::default() });
    durable(&disk, "a", b"old.").write_all_at(b"new.", 4).unwrap();
    assert_eq!(disk.pending()[1].after, [0]);
    let found = outcomes(&disk, |image| content(image, "a").unwrap());
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn overwrites_of_two_files_are_ordered_by_the_strict_profile_only() {
    let is_ordered = |profile| {
        let disk = disk_like(profile);
        let (first, second) = (durable(&disk, "a", b"0"), durable(&disk, "b", b"0"));
        first.write_all_at(b"1", 0).unwrap();
        second.write_all_at(b"1", 0).unwrap();
        let found = outcomes(&disk, |image| (content(image, "a").unwrap(), content(image, "b").unwrap()));
        !found.contains(&(b"0".to_vec(), b"1".to_vec()))
    };
    assert_eq!(Profile::ALL.map(is_ordered), [true, false, false, false, false]);
}

#[test]
fn names_and_sizes_are_ordered_by_a_journal() {
    let is_ordered = |profile| {
        let disk = disk_like(profile);
        let file = durable(&disk, "a", b"abc");
        file.set_size(1).unwrap();
        open(&disk, "b");
        let found =
            outcomes(&disk, |image| (content(image, "a").unwrap().len(), content(image, "b").is_some()));
        !found.contains(&(3, true))
    };
    assert_eq!(Profile::ALL.map(is_ordered), [true, true, true, true, false]);
}

#[test]
fn a_rename_publishes_bytes_only_where_it_waits_for_them() {
    let shows_nothing = |profile| {
        let disk = disk_like(profile);
        durable(&disk, "a", b"old");
        let temporary = durable(&disk, "b", b"...");
        temporary.write_all_at(b"new", 0).unwrap();
        disk.vfs().rename(Path::new("b"), Path::new("a")).unwrap();
        let found = outcomes(&disk, |image| content(image, "a").unwrap());
        assert!(found.contains(&b"old"[..]) && found.contains(&b"new"[..]));
        found.contains(&b"..."[..])
    };
    assert_eq!(Profile::ALL.map(shows_nothing), [false, false, false, true, true]);
}

#[test]
fn the_strict_profile_cuts_and_never_tears() {
    let disk = SimDisk::new(DiskOptions {
        order: Order::Prefix,
        granule: Granule::ALL[0],
        ..DiskOptions::default()
    });
    let file = durable(&disk, "a", b"....");
    file.write_all_at(b"new!", 0).unwrap();
    let found = outcomes(&disk, |image| content(image, "a").unwrap());
    let expected = [&b"...."[..], b"n...", b"ne..", b"new.", b"new!"].map(<[u8]>::to_vec);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_sync_takes_along_what_its_order_demands() {
    let survives = |profile| {
        let disk = disk_like(profile);
        let (other, synced) = (durable(&disk, "a", b"x"), durable(&disk, "b", b"x"));
        other.write_all_at(b"yy", 0).unwrap();
        synced.write_all_at(b"yy", 0).unwrap();
        synced.sync_data().unwrap();
        let image = disk.image(&Keep::None);
        assert_eq!(content(&image, "b").unwrap(), b"yy");
        content(&image, "a").unwrap() == b"yy"
    };
    assert_eq!(Profile::ALL.map(survives), [true, true, true, true, false]);
}

#[test]
fn names_that_a_sync_vouches_for_wait_for_what_they_need() {
    let disk = disk_like(Profile::Xfs);
    let (cut, renamed) = (durable(&disk, "c", b"abcd"), durable(&disk, "a", b"x"));
    cut.set_size(1).unwrap();
    disk.vfs().rename(Path::new("a"), Path::new("b")).unwrap();
    renamed.sync_data().unwrap();
    let image = disk.image(&Keep::None);
    assert_eq!(content(&image, "b").unwrap(), b"x");
    assert_eq!(content(&image, "c").unwrap(), b"a", "the cut stands before the rename in the journal");
}

#[test]
fn a_replacement_made_durable_along_with_another_name_has_its_bytes() {
    let disk = disk_like(Profile::Ext4Ordered);
    durable(&disk, "a", b"old");
    let (temporary, other) = (durable(&disk, "t", b"..."), durable(&disk, "o", b"o"));
    temporary.write_all_at(b"new", 0).unwrap();
    disk.vfs().rename(Path::new("t"), Path::new("a")).unwrap();
    disk.vfs().rename(Path::new("o"), Path::new("p")).unwrap();
    other.sync_data().unwrap();
    assert_eq!(content(&disk.image(&Keep::None), "a").unwrap(), b"new");
}

#[test]
fn the_names_above_a_directory_wait_for_what_they_need() {
    let disk = disk_like(Profile::Strict);
    let file = durable(&disk, "c", b"0");
    file.write_all_at(b"1", 0).unwrap();
    disk.vfs().create_directory(Path::new("/d")).unwrap();
    disk.vfs().sync_directory(Path::new("/d")).unwrap();
    let image = disk.image(&Keep::None);
    assert_eq!((names(&image).len(), content(&image, "c").unwrap()), (2, b"1".to_vec()));
}

#[test]
fn only_the_write_that_made_a_file_grow_fills_the_growth() {
    let after = |grow_first: bool| {
        let disk = disk_like(Profile::Xfs);
        let file = durable(&disk, "a", b"old.");
        if grow_first {
            file.set_size(4096).unwrap();
        }
        file.write_all_at(&[1; 96], 4000).unwrap();
        disk.pending().into_iter().map(|pending| pending.after).collect::<Vec<_>>()
    };
    assert_eq!(after(false), [vec![1], vec![]]);
    assert_eq!(after(true), [vec![], Vec::<usize>::new()], "a growth by itself waits for no bytes");
}

#[test]
fn what_was_synced_is_never_ahead_of_what_it_needs() {
    for profile in Profile::ALL {
        let disk = disk_like(profile);
        let vfs = disk.vfs();
        let root = Path::new("/");
        vfs.create_directory(Path::new("d0")).unwrap();
        let files = ["a", "b", "d0/c"].map(|name| durable(&disk, name, b"."));
        let clean = durable(&disk, "clean0", b"clean");
        let (mut syncs_that_took_along, mut moves) = (0, 0);
        for round in 0..400_u64 {
            let file = &files[(round * 7 / 3 % 3) as usize];
            match round * 5 % 11 {
                0 => file.set_size(round % 5 + 1).unwrap(),
                1 => drop(open(&disk, &format!("n{}", round % 4))),
                2 => drop(open(&disk, &format!("d0/n{}", round % 4))),
                3 if content(&disk, "n1").is_some() => {
                    vfs.rename(Path::new("n1"), Path::new("t")).unwrap();
                }
                4 => {
                    let names = [moves, moves + 1].map(|number| format!("clean{number}"));
                    vfs.rename(Path::new(&names[0]), Path::new(&names[1])).unwrap();
                    moves += 1;
                }
                5 => vfs.create_directory(Path::new(&format!("d{}", round % 40))).unwrap(),
                _ => file.write_all_at(&[round as u8; 3], round % 23).unwrap(),
            }
            let before = disk.pending();
            for pending in &before {
                assert_eq!(pending.changed.len() as u64, pending.part_count);
            }
            let covered = match round * 3 % 29 {
                0 => file.sync_data(),
                1 => clean.sync_all(),
                2 => vfs.sync_directory(root),
                3 => vfs.sync_directory(Path::new("d0")),
                _ => continue,
            };
            covered.unwrap();
            let left: BTreeSet<u64> = disk.pending().iter().map(|pending| pending.sequence).collect();
            let is_durable = |index: usize| !left.contains(&before[index].sequence);
            for (index, effect) in before.iter().enumerate().filter(|(index, _)| is_durable(*index)) {
                for needed in &effect.after {
                    assert!(is_durable(*needed), "{profile} {round}: {index} without {needed} of {before:?}");
                }
            }
            syncs_that_took_along += u64::from((0..before.len()).any(is_durable));
        }
        assert!(syncs_that_took_along > 20, "{profile}: {syncs_that_took_along}");
        files.iter().for_each(|file| file.sync_all().unwrap());
        for directory in ["/", "d0"] {
            vfs.sync_directory(Path::new(directory)).unwrap();
        }
        let contents = |disk: &SimDisk| ["a", "b", "d0/c", "t"].map(|name| content(disk, name));
        assert_eq!(contents(&disk.image(&Keep::None)), contents(&disk));
    }
}

#[test]
fn a_choice_repeats_what_was_decided() {
    for profile in Profile::ALL {
        for seed in 0..40 {
            let disk = disk_like(profile);
            let file = durable(&disk, "a", &[1; 3000]);
            file.write_all_at(&[2; 2000], 100).unwrap();
            file.write_all_at(&[3; 900], 2800).unwrap();
            open(&disk, "b").write_all_at(&[4; 10], 0).unwrap();
            let random = disk.fork();
            let report = random.crash(&Keep::Random { permille: 500, seed });
            let chosen = disk.fork();
            let again = chosen.crash(&Keep::Chosen(report.choice.clone()));
            assert_eq!(again, report);
            assert_eq!(chosen.image_hash(), random.image_hash());
        }
    }
}

#[test]
fn pending_effects_are_described_in_order() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 1024]);
    file.write_all_at(&[1; 600], 0).unwrap();
    file.write_all_at(&[[1; 512], [2; 512]].concat(), 512).unwrap();
    disk.vfs().rename(Path::new("a"), Path::new("b")).unwrap();
    let pending = disk.pending();
    let kinds: Vec<_> = pending.iter().map(|pending| pending.kind.to_string()).collect();
    let expected =
        ["data /b at 0, 600 bytes", "size /b to 1536", "data /b at 512, 1024 bytes", "rename /a to /b"];
    assert_eq!(kinds, expected);
    let changed: Vec<_> = pending.into_iter().map(|pending| pending.changed).collect();
    assert_eq!(changed, [vec![false, false], vec![true], vec![false, true], vec![true]]);
}
