//! A backup is durable when it returns, and each of its syncs is needed for that.
//!
//! The simulator's runs look at a backup at once and remove it. Here the power fails right after it was made.

use std::path::Path;

use proofmark_engine::{Database, Options};
use proofmark_sim::disk::{Fault, FaultKind, Keep, SimDisk};

const ORIGINAL: &str = "/db";
const COPY: &str = "/copy";
const COMMITS: u64 = 30;

#[test]
fn a_backup_survives_a_power_loss() {
    let disk = backed_up(None);
    let random = (0..100).map(|seed| Keep::Random { permille: 500, seed });
    for keep in random.chain([Keep::None, Keep::All]) {
        let image = disk.image(&keep);
        assert_eq!(read(&image, COPY), Ok(COMMITS), "{keep}");
        assert_eq!(read(&image, ORIGINAL), Ok(COMMITS), "{keep}");
    }
}

/// The first directory sync keeps a power loss in the middle from leaving a data file without its log, as it does where a
/// database is created, and the others cover what it did.
#[test]
fn no_other_sync_of_a_backup_is_spared() {
    for (kind, first) in [(FaultKind::IgnoreSync, 1), (FaultKind::IgnoreDirectorySync, 2)] {
        let mut sync_count = 0;
        for nth in first.. {
            let disk = backed_up(Some(Fault::once(kind, nth)));
            if disk.firings()[0].1 == 0 {
                break;
            }
            sync_count += 1;
            assert_ne!(read(&disk.image(&Keep::None), COPY), Ok(COMMITS), "{kind} {nth}");
        }
        assert_eq!(sync_count, 2, "{kind}");
    }
}

/// A disk on which a database was just backed up, by way of this lie.
fn backed_up(lie: Option<Fault>) -> SimDisk {
    let disk = SimDisk::default();
    let options = Options::new().page_size(4096).segment_bytes(4096).log_chunk_bytes(512);
    let database = Database::open_on(disk.vfs(), Path::new(ORIGINAL), &options).unwrap();
    for id in 0..COMMITS {
        let mut write = database.begin_write().unwrap();
        write.put(&id.to_be_bytes(), &[7; 100]).unwrap();
        write.commit().unwrap();
        if id == COMMITS / 2 {
            database.checkpoint().unwrap();
        }
    }
    lie.into_iter().for_each(|lie| {
        disk.sabotage(lie);
    });
    database.backup(COPY).unwrap();
    disk
}

/// How many pairs a database holds.
fn read(disk: &SimDisk, path: &str) -> Result<u64, String> {
    let options = Options::new().create(false);
    let read = || {
        let read = Database::open_on(disk.vfs(), Path::new(path), &options)?.begin_read()?;
        read.prefix(b"")?.try_fold(0, |count, pair| pair.map(|_| count + 1))
    };
    read().map_err(|error| error.to_string())
}
