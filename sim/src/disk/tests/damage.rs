//! Bytes that are not what was written.

use std::collections::BTreeSet;

use proofmark_model::FaultClass;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

/// Once, at the first occasion, in a way that the seed decides.
fn once(kind: FaultKind, seed: u64) -> Fault {
    Fault { count: Some(1), ..Fault::at_rate(kind, 1000, seed) }
}

/// Where two byte strings of one length differ.
fn differences(left: &[u8], right: &[u8]) -> Vec<usize> {
    assert_eq!(left.len(), right.len());
    (0..left.len()).filter(|index| left[*index] != right[*index]).collect()
}

/// Two thousand bytes, of which no two neighbours and no two sectors are equal.
fn pattern() -> Vec<u8> {
    (0..2000_u32).map(|index| (index % 251 + 1) as u8).collect()
}

/// Lets a medium rot once; the places that differ then, by the read that it struck.
fn rot(kind: FaultKind, seed: u64) -> Vec<usize> {
    let disk = disk(512);
    durable(&disk, "a", &pattern());
    let image = disk.image_hash();
    disk.plant(once(kind, seed));
    let seen = content(&disk, "a").unwrap();
    assert_eq!(fired(&disk), [1]);
    assert_ne!(disk.image_hash(), image, "it lies on the medium");
    assert_eq!(content(&disk, "a").unwrap(), seen, "every read sees it");
    let fork = disk.fork();
    fork.crash(&Keep::None);
    assert_eq!(content(&fork, "a").unwrap(), seen, "it outlives a power loss");
    let places = differences(&seen, &pattern());
    let (from, to) = (places[0], places[places.len() - 1] + 1);
    let file = open(&fork, "a");
    file.write_all_at(&pattern()[from..to], from as u64).unwrap();
    assert_eq!(content(&fork, "a").unwrap(), pattern(), "a write over it ends it");
    fork.crash(&Keep::None);
    assert_eq!(content(&fork, "a").unwrap(), seen, "but for a power loss before it is durable");
    disk.heal();
    assert_eq!(content(&disk, "a").unwrap(), pattern());
    assert_eq!(disk.image_hash(), image, "the bytes underneath are as they were");
    places
}

#[test]
fn a_flipped_bit_is_one_bit_and_it_lies_anywhere() {
    let places: BTreeSet<_> = (0..30).map(|seed| rot(FaultKind::FlippedBit, seed)).collect();
    assert!(places.iter().all(|places| places.len() == 1) && places.len() > 20, "{places:?}");
    let disk = disk(512);
    durable(&disk, "a", &pattern());
    disk.plant(once(FaultKind::FlippedBit, 1));
    let seen = content(&disk, "a").unwrap();
    let place = differences(&seen, &pattern())[0];
    assert_eq!((seen[place] ^ pattern()[place]).count_ones(), 1);
}

#[test]
fn a_garbage_byte_is_one_byte_and_never_the_right_one() {
    let places: BTreeSet<_> = (0..30).map(|seed| rot(FaultKind::GarbageByte, seed)).collect();
    assert!(places.iter().all(|places| places.len() == 1) && places.len() > 20, "{places:?}");
}

#[test]
fn a_zeroed_sector_is_a_whole_one_within_the_file() {
    let places: BTreeSet<_> = (0..30).map(|seed| rot(FaultKind::ZeroedSector, seed)).collect();
    let sectors = [0..512, 512..1024, 1024..1536, 1536..2000].map(|sector| sector.collect::<Vec<_>>());
    assert_eq!(places, sectors.into_iter().collect());
}

#[test]
fn a_garbage_sector_is_noise() {
    for seed in 0..10 {
        let places = rot(FaultKind::GarbageSector, seed);
        assert!(places.len() > 400 && places[places.len() - 1] - places[0] < 512, "{}", places.len());
    }
}

#[test]
fn rot_stays_within_its_scope_and_away_from_pending_bytes() {
    for seed in 0..20 {
        let disk = disk(512);
        let file = durable(&disk, "a", &pattern());
        let fault = format!("garbage-sector file=a range=600..900 rate=1000:{seed} count=1");
        disk.plant(fault.parse().unwrap());
        file.write_all_at(&[0; 100], 700).unwrap();
        file.read_at(&mut [0; 100], 650).unwrap();
        let mut expected = pattern();
        expected[700..800].fill(0);
        let places = differences(&content(&disk, "a").unwrap(), &expected);
        assert_eq!(fired(&disk), [1]);
        assert!(places.iter().all(|place| (600..700).contains(place) || (800..900).contains(place)));
        assert!(!places.is_empty());
        file.sync_data().unwrap();
        disk.crash(&Keep::None);
        assert_eq!(differences(&content(&disk, "a").unwrap(), &expected), places);
    }
    let disk = disk(512);
    let file = durable(&disk, "a", &pattern());
    disk.plant(once(FaultKind::FlippedBit, 1));
    file.write_all_at(&[0; 100], 700).unwrap();
    file.read_at(&mut [0; 100], 700).unwrap();
    file.set_size(100).unwrap();
    file.set_size(2000).unwrap();
    file.read_at(&mut [0; 1900], 100).unwrap();
    assert_eq!(fired(&disk), [0], "what is pending can't rot, nor what is cut off");
}

#[test]
fn a_misdirected_write_goes_over_another_place_of_the_same_file_or_another() {
    let mut targets = BTreeSet::new();
    for seed in 0..60 {
        let disk = disk(512);
        let (old, other) = (vec![1; 2048], vec![7; 1024]);
        let file = durable(&disk, "a", &old);
        durable(&disk, "b", &other);
        drop(durable(&disk, "small", &[9; 100]));
        disk.plant(once(FaultKind::MisdirectedWrite, seed));
        file.write_all_at(&[2; 512], 512).unwrap();
        assert_eq!(fired(&disk), [1]);
        file.sync_data().unwrap();
        let fork = disk.fork();
        fork.crash(&Keep::None);
        for disk in [&disk, &fork] {
            let a = differences(&content(disk, "a").unwrap(), &old);
            let b = differences(&content(disk, "b").unwrap(), &other);
            assert_eq!(a.len() + b.len(), 512);
            let start = a.first().or(b.first()).unwrap();
            assert!(start.is_multiple_of(512) && !(a.is_empty() && *start > 512), "{start}");
            assert!(!a.contains(&600), "the right place keeps the old bytes");
            targets.insert((b.is_empty(), *start));
        }
        fork.heal();
        let mut expected = old;
        expected[512..1024].fill(2);
        assert_eq!(content(&fork, "a").unwrap(), expected);
        assert_eq!(content(&fork, "b").unwrap(), other);
    }
    assert_eq!(targets, BTreeSet::from([(true, 0), (true, 1024), (true, 1536), (false, 0), (false, 512)]));
}

#[test]
fn a_write_without_another_place_is_not_misdirected() {
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 1000]);
    disk.plant(once(FaultKind::MisdirectedWrite, 1));
    file.write_all_at(&[2; 600], 200).unwrap();
    assert_eq!(fired(&disk), [0]);
    file.write_all_at(&[2; 100], 200).unwrap();
    assert_eq!(fired(&disk), [1]);
}

#[test]
fn a_misdirected_read_returns_bytes_of_another_place() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let disk = disk(512);
        let file = durable(&disk, "a", &[vec![1; 512], vec![2; 512], vec![3; 512]].concat());
        durable(&disk, "b", &[4; 512]);
        disk.plant(once(FaultKind::MisdirectedRead, seed));
        let mut buffer = [0; 512];
        assert_eq!(file.read_at(&mut buffer, 512).unwrap(), 512);
        assert_eq!(fired(&disk), [1]);
        assert_eq!(buffer, [buffer[0]; 512]);
        seen.insert(buffer[0]);
        file.read_at(&mut buffer, 512).unwrap();
        assert_eq!(buffer, [2; 512], "the medium is as it was");
    }
    assert_eq!(seen, BTreeSet::from([1, 3, 4]));
    let disk = disk(512);
    let file = durable(&disk, "a", &[1; 1024]);
    disk.plant(Fault::every(FaultKind::MisdirectedRead, 1));
    file.read_at(&mut [0; 512], 0).unwrap();
    assert_eq!(fired(&disk), [0], "equal bytes are no damage");
}

/// However much was damaged: underneath lies what a perfect disk would have.
#[test]
fn the_bytes_underneath_are_those_of_a_perfect_disk() {
    let mut struck = 0;
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut options = DiskOptions::default();
        Profile::ALL[seed as usize % 5].apply(&mut options);
        let disks = [SimDisk::new(options), SimDisk::new(options)];
        for kind in FaultKind::all().filter(|kind| kind.class() == FaultClass::Damage) {
            disks[1].plant(Fault::at_rate(kind, 60, seed));
        }
        for step in 0..200_u64 {
            let mut below = |bound: u32| u64::from(random.next_u32() % bound);
            let (choice, name) = (below(20), format!("f{}", below(3)));
            let (offset, length) = (below(40) * 64, below(30) as usize * 64);
            let bytes = vec![step as u8 + 1; length];
            let keep = if below(2) == 0 { Keep::All } else { Keep::None };
            for disk in &disks {
                let file = open(disk, &name);
                match choice {
                    0..8 => file.write_all_at(&bytes, offset).unwrap(),
                    8..13 => drop(file.read_at(&mut vec![0; length], offset).unwrap()),
                    13 => file.set_size(offset).unwrap(),
                    14..17 => file.sync_data().unwrap(),
                    17 => disk.vfs().sync_directory(Path::new("/")).unwrap(),
                    18 => disk.vfs().rename(Path::new(&name), Path::new("f0")).unwrap(),
                    _ => drop(disk.crash(&keep)),
                }
            }
        }
        struck += fired(&disks[1]).iter().sum::<u64>();
        let [perfect, healed] = &disks;
        healed.heal();
        assert_eq!(names(perfect), names(healed));
        for name in names(perfect) {
            let name = name.to_str().unwrap();
            assert!(content(perfect, name) == content(healed, name), "seed {seed}, {name}");
        }
        assert_eq!(perfect.image_hash(), healed.image_hash(), "seed {seed}");
        perfect.crash(&Keep::All);
        healed.crash(&Keep::All);
        assert_eq!(perfect.image_hash(), healed.image_hash(), "seed {seed}");
    }
    assert!(struck > 400, "{struck}");
}

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
    assert_eq!(fired(&disk), [1]);
    disk.heal();
    assert_eq!(content(&disk, "a").unwrap(), b"nelost");
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
    assert_eq!(fired(&disk), [1]);
    disk.heal();
    assert_eq!(content(&disk, "a").unwrap(), b"onew");
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

/// What was told since the last time: whether it is felt of an earlier strike, and at which call.
fn told(disk: &SimDisk) -> Vec<(bool, u64)> {
    disk.take_fired().into_iter().map(|fired| (fired.is_aftermath, fired.call.number)).collect()
}

#[test]
fn a_held_write_is_felt_when_it_lands_on_newer_bytes() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"....");
    disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
    file.write_all_at(b"old", 0).unwrap();
    let held_at = disk.io_calls();
    file.sync_data().unwrap();
    assert_eq!(told(&disk), [(false, held_at)]);
    disk.crash(&Keep::PageCache);
    assert_eq!(told(&disk), [], "nothing is missing");
    let file = open(&disk, "a");
    file.write_all_at(b"new", 1).unwrap();
    assert_eq!(told(&disk), [(true, disk.io_calls())], "in the next incarnation");
    file.sync_data().unwrap();
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"oldw");
    assert_eq!(told(&disk), []);
    assert_eq!(fired(&disk), [1], "it has struck once");
}

#[test]
fn a_held_write_that_lands_beside_all_others_is_not_felt() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"........");
    disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
    file.write_all_at(b"old", 0).unwrap();
    file.write_all_at(b"new", 4).unwrap();
    file.sync_data().unwrap();
    disk.crash(&Keep::None);
    assert_eq!(content(&disk, "a").unwrap(), b"old.new.");
    assert!(disk.take_fired().iter().all(|fired| !fired.is_aftermath));
}

#[test]
fn a_held_write_is_felt_when_a_power_loss_takes_it_past_a_sync() {
    let is_felt = |is_synced: bool, is_released: bool, keep: &Keep| {
        let disk = disk(512);
        let file = durable(&disk, "a", b"........");
        disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
        file.write_all_at(b"old", 0).unwrap();
        let held_at = disk.io_calls();
        if is_synced {
            file.sync_data().unwrap();
        }
        disk.crash(&Keep::PageCache);
        if is_released {
            open(&disk, "a").write_all_at(b"new", 4).unwrap();
        }
        assert_eq!(told(&disk), [(false, held_at)]);
        disk.crash(keep);
        let felt = told(&disk);
        assert!(felt.is_empty() || felt == [(true, held_at)], "{felt:?}");
        assert_eq!(!content(&disk, "a").unwrap().starts_with(b"old"), keep == &Keep::None);
        !felt.is_empty()
    };
    for is_released in [false, true] {
        assert!(is_felt(true, is_released, &Keep::None));
        assert!(!is_felt(true, is_released, &Keep::All));
        assert!(!is_felt(false, is_released, &Keep::None), "nobody was told that it is durable");
    }
}

#[test]
fn a_held_write_is_felt_when_a_failing_sync_drops_it_past_another() {
    for (kind, is_felt_at_once) in [(FaultKind::SyncReverted, true), (FaultKind::SyncLost, false)] {
        let disk = disk(512);
        let file = durable(&disk, "a", b"........");
        disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
        file.write_all_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        disk.plant(Fault::once(kind, 1));
        file.sync_data().unwrap_err();
        let felt = |disk: &SimDisk| told(disk).iter().filter(|(is_aftermath, _)| *is_aftermath).count();
        assert_eq!(felt(&disk), usize::from(is_felt_at_once));
        disk.crash(&Keep::All);
        assert_eq!(felt(&disk), usize::from(!is_felt_at_once));
        assert_eq!(content(&disk, "a").unwrap(), b"........");
    }
}

#[test]
fn a_held_write_that_became_durable_or_was_healed_is_not_felt() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"........");
    disk.plant("swapped-writes nth=1 count=2".parse().unwrap());
    file.write_all_at(b"old", 0).unwrap();
    file.sync_data().unwrap();
    file.set_size(9).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"older", 0).unwrap();
    file.sync_data().unwrap();
    told(&disk);
    disk.heal();
    disk.crash(&Keep::None);
    assert_eq!(told(&disk), []);
    assert_eq!(content(&disk, "a").unwrap(), b"older...\0");
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

#[test]
fn a_held_write_escapes_the_sync_of_another_file_too() {
    let mut options = DiskOptions::default();
    Profile::Strict.apply(&mut options);
    let disk = SimDisk::new(options);
    let (held, other) = (durable(&disk, "a", b"old"), durable(&disk, "b", b"old"));
    disk.plant(Fault::once(FaultKind::SwappedWrites, 1));
    held.write_all_at(b"new", 0).unwrap();
    other.write_all_at(b"new", 0).unwrap();
    other.sync_all().unwrap();
    let image = disk.image(&Keep::None);
    assert_eq!(content(&image, "b").unwrap(), b"new");
    assert_eq!(content(&image, "a").unwrap(), b"old");
}
