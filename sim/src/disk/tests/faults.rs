//! What holds for faults of every kind: who strikes, how it is counted and told, and what ends it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

#[test]
fn the_trace_tells_of_every_fault() {
    let once = |kind: FaultKind| {
        let fault = Fault::once(kind, 1);
        if kind == FaultKind::IoError { fault.on(IoKind::Read) } else { fault }
    };
    let run = |fault: Option<Fault>| {
        let disk = disk(512);
        durable(&disk, "b", &[1; 8000]);
        disk.record_trace(true);
        fault.into_iter().for_each(|fault| {
            disk.plant(fault);
        });
        let file = open(&disk, "a");
        for byte in 0..3 {
            let _ = file.write_at(&[byte; 3000], u64::from(byte) * 1000);
            let _ = file.sync_data();
            let _ = disk.vfs().sync_directory(Path::new("/"));
            let _ = file.read_at(&mut [0; 5000], 0);
        }
        let told = disk.take_trace().into_iter().filter(|event| matches!(event, TraceEvent::Fault(_)));
        (disk.trace_hash(), told.count(), disk)
    };
    for kind in FaultKind::all() {
        let (hash, told, disk) = run(Some(once(kind)));
        assert_ne!(run(None).0, hash, "{kind}");
        assert_eq!(run(Some(once(kind))).0, hash, "{kind}");
        let taken = disk.take_fired();
        assert!(told > 0 && told == taken.len(), "{kind}");
        assert!(taken.iter().all(|fired| (fired.index, fired.kind) == (0, kind)), "{kind}");
        assert_eq!(taken[0].class(), kind.class());
        assert!(kind.calls().contains(&IoKind::of(taken[0].call.operation)), "{}", taken[0]);
        assert!(disk.take_fired().is_empty());
        assert_eq!(fired(&disk), [1], "{kind}");
    }
}

#[test]
fn what_struck_is_told_with_its_call() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant("io-error on=write error=ENOSPC file=a range=4096..8192 nth=1".parse().unwrap());
    file.write_all_at(b"elsewhere", 0).unwrap();
    file.write_at(b"here", 5000).unwrap_err();
    let told: Vec<_> = disk.take_fired().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["io-error at #6 write a @5000+4 = ENOSPC (28)"]);
}

#[test]
fn one_fault_strikes_a_call_and_those_behind_it_do_not_see_it() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::once(FaultKind::IoError, 2).on(IoKind::Write));
    disk.plant(Fault::every(FaultKind::LostWrite, 2));
    for _ in 0..5 {
        let _ = file.write_at(b"new", 0);
    }
    assert_eq!(fired(&disk), [1, 2]);
}

#[test]
fn a_fault_waits_where_the_call_fails_by_itself() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    for kind in [FaultKind::LostWrite, FaultKind::PartialWrite, FaultKind::ShortWrite] {
        disk.limit_space(Some(0));
        disk.plant(Fault::once(kind, 1));
        file.write_at(b"new", 1 << 20).unwrap_err();
        assert_eq!(fired(&disk).last(), Some(&0), "{kind}");
        disk.limit_space(None);
        let _ = file.write_at(b"new", 0);
        assert_eq!(fired(&disk).last(), Some(&1), "{kind}");
    }
}

#[test]
fn power_losses_end_no_fault_and_healing_ends_those_that_were_announced() {
    let disk = disk(512);
    let syncs = |count| {
        for byte in 0..count {
            let file = open(&disk, "a");
            file.write_all_at(&[byte], 0).unwrap();
            let _ = file.sync_data();
        }
        fired(&disk)
    };
    assert_eq!(disk.plant(Fault::every(FaultKind::SyncLate, 3)), 0);
    assert_eq!(disk.sabotage(Fault::every(FaultKind::IgnoreSync, 4)), 1);
    assert_eq!(syncs(2), [0, 0]);
    disk.crash(&Keep::None);
    assert_eq!(syncs(1), [1, 0]);
    assert_eq!(syncs(3), [2, 1], "the sabotage counts the syncs that the first fault leaves alone");
    let fork = disk.fork();
    disk.heal();
    assert_eq!(syncs(8), [2, 3]);
    assert_eq!(fired(&fork), [2, 1]);
    assert_eq!(fork.take_fired().len(), 3, "a fork tells what has struck, as the original does");
}

/// A busy life on a disk with every fault there is, which ends healed; what was told of it.
fn live_in_trouble(disk: &SimDisk, seed: u64) -> Vec<Fired> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = move |bound: u32| u64::from(random.next_u32() % bound);
    let mut told = Vec::new();
    for step in 0..400 {
        let [one, other] = [below(4), below(4)].map(|name| PathBuf::from(format!("f{name}")));
        let (offset, bytes) = (below(9) * 512, vec![step as u8; below(2000) as usize]);
        let vfs = disk.vfs();
        let file = vfs.open(&one, OpenMode::Create);
        match (below(24), &file) {
            (0..9, Ok(file)) => drop(file.write_at(&bytes, offset)),
            (9..14, Ok(file)) => drop(file.read_at(&mut [0; 3000], offset)),
            (14..18, Ok(file)) => drop(file.sync_data()),
            (18, Ok(file)) => drop(file.set_size(offset)),
            (19, _) => drop(vfs.rename(&one, &other)),
            (20, _) => drop(vfs.remove(&one)),
            (21, _) => drop(vfs.sync_directory(Path::new("/"))),
            (22, _) => drop(disk.crash(&random_keep(below(5), step))),
            _ => {}
        }
        told.extend(disk.take_fired());
    }
    disk.heal();
    told
}

fn random_keep(choice: u64, seed: u64) -> Keep {
    match choice {
        0 => Keep::All,
        1 => Keep::None,
        2 => Keep::PageCache,
        _ => random(seed),
    }
}

#[test]
fn the_same_trouble_comes_again_on_every_file_system() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut options = DiskOptions::default();
        Profile::ALL[seed as usize % 5].apply(&mut options);
        let run = |seed| {
            let disk = SimDisk::new(options);
            for kind in FaultKind::all().filter(|kind| *kind != FaultKind::SyncReadOnly) {
                disk.plant(Fault::at_rate(kind, 40, seed));
            }
            let told = live_in_trouble(&disk, seed);
            let fork = disk.fork();
            assert!(fork.take_fired().is_empty());
            let [left, right] = [&disk, &fork].map(|disk| {
                let told = live_in_trouble(disk, seed);
                (told, disk.trace_hash(), disk.image_hash(), disk.firings())
            });
            assert!(left == right, "a fork goes on as the original does");
            (told, left)
        };
        let (told, left) = run(seed);
        assert!((told.clone(), left.clone()) == run(seed), "seed {seed}");
        kinds.extend(told.iter().map(|fired| fired.kind));
        let is_overdue = |fired: &Fired| fired.kind == FaultKind::WriteBackLost;
        assert!(left.0.iter().all(is_overdue), "a healed disk has no faults, and reports what it owes");
    }
    let planted: Vec<_> = FaultKind::all().filter(|kind| *kind != FaultKind::SyncReadOnly).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), planted);
}
