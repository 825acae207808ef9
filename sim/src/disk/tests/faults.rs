//! What holds for faults of every kind: who strikes, how it is counted and told, and what ends it.

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
        assert_eq!(fired(&disk), [taken.len() as u64]);
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
    disk.plant(Fault::once(FaultKind::LostWrite, 1));
    disk.limit_space(Some(0));
    file.write_at(b"new", 1 << 20).unwrap_err();
    assert_eq!(fired(&disk), [0]);
    disk.limit_space(None);
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(fired(&disk), [1]);
    assert_eq!(content(&disk, "a").unwrap(), b"old");
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
}
