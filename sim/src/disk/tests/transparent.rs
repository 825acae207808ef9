//! What every program has to expect of every call.

use super::*;

#[test]
fn a_short_read_returns_some_of_the_bytes() {
    let disk = disk(512);
    let bytes: Vec<u8> = (0..2000_u32).map(|index| index as u8).collect();
    let file = durable(&disk, "a", &bytes);
    disk.plant(Fault::every(FaultKind::ShortRead, 1));
    let mut counts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut buffer = [0xEE; 3000];
        let count = file.read_at(&mut buffer, 100).unwrap();
        assert!((1..1900).contains(&count));
        assert_eq!(buffer[..count], bytes[100..100 + count]);
        counts.insert(count);
    }
    assert!(counts.len() > 10, "{counts:?}");
    assert_eq!(fired(&disk), [20]);
    assert_eq!(content(&disk, "a").unwrap(), bytes, "who goes on reading comes to the end");
    let before = fired(&disk);
    assert_eq!(file.read_at(&mut [0; 10], 1999).unwrap(), 1);
    assert_eq!(file.read_at(&mut [0; 10], 2000).unwrap(), 0);
    assert_eq!(fired(&disk), before, "one byte can't be cut");
}

#[test]
fn a_short_write_takes_some_of_the_bytes() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"");
    disk.plant(Fault::every(FaultKind::ShortWrite, 1));
    let (mut at_granules, mut elsewhere) = (0, 0);
    for _ in 0..40 {
        file.set_size(0).unwrap();
        let count = file.write_at(&[2; 3000], 100).unwrap();
        assert!((1..3000).contains(&count));
        assert_eq!(file.size().unwrap(), 100 + count as u64);
        if (100 + count).is_multiple_of(512) { at_granules += 1 } else { elsewhere += 1 }
    }
    assert!(at_granules > 5 && elsewhere > 5, "{at_granules} {elsewhere}");
    assert_eq!(fired(&disk), [40]);
    file.write_all_at(&[3; 3000], 0).unwrap();
    assert_eq!(content(&disk, "a").unwrap()[..3000], [3; 3000]);
}

#[test]
fn an_interrupted_call_has_no_effect_and_succeeds_when_it_is_made_again() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::every(FaultKind::Interrupted, 1));
    let kind = |error: io::Error| error.kind();
    assert_eq!(file.read_at(&mut [0; 3], 0).map_err(kind), Err(io::ErrorKind::Interrupted));
    assert_eq!(file.read_at(&mut [0; 3], 0).map_err(kind), Ok(3));
    assert_eq!(file.write_at(b"new", 0).map_err(kind), Err(io::ErrorKind::Interrupted));
    assert_eq!(disk.pending_effects(), 0);
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(fired(&disk), [2]);
    assert_eq!(content(&disk, "a").unwrap(), b"new");
    assert_eq!(fired(&disk), [3]);
}

#[test]
fn two_faults_that_interrupt_do_not_take_turns_for_ever() {
    let disk = disk(512);
    let file = durable(&disk, "a", b"old");
    disk.plant(Fault::every(FaultKind::Interrupted, 1));
    disk.plant("io-error on=read error=EINTR every=1".parse().unwrap());
    assert!(file.read_at(&mut [0; 3], 0).is_err());
    assert_eq!(file.read_at(&mut [0; 3], 0).unwrap(), 3);
    assert!(file.read_at(&mut [0; 3], 0).is_err());
}
