//! A compaction while commits go on, and then the power fails: the old data file may be back under its name, as nothing
//! has made the rename durable, and it must find the log that it needs.
//!
//! What saves it is that a checkpoint begins a segment, and syncs the directory for that, before it retires any. If that
//! sync fails, no later one need cover the rename: what saves the database then is that who opens it renames anew.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use proofmark_engine::{Database, Error, Options};
use proofmark_sim::disk::{Choice, Fault, FaultKind, Keep, SimDisk, Survival};
use proofmark_vfs::{FileId, OpenMode, Vfs, VfsFile};

const DIRECTORY: &str = "/db";
const DATA: &str = "/db/data";

/// How many commits go on while the compaction renames its file: enough for two segments.
const COMMITS_MEANWHILE: u64 = 60;

#[test]
fn no_log_goes_that_the_old_file_needs_before_the_new_one_has_its_name() {
    let honest = crash_after_compaction(false);
    assert!(honest.images > 1, "there is nothing to lose");
    assert_eq!(honest.losses, Vec::<String>::new());
    let lying = crash_after_compaction(true);
    assert!(!lying.losses.is_empty(), "the directory need not be synced");
}

#[test]
fn a_name_that_a_failed_sync_has_dropped_is_renewed() {
    let disk = SimDisk::default();
    let options = Options::new().page_size(4096).spare_segments(0);
    let open = || Database::open_on(disk.vfs(), Path::new(DIRECTORY), &options);
    let database = open().unwrap();
    commit(&database, 0..20);
    disk.plant(Fault::once(FaultKind::DirectorySyncLost, 2));
    assert!(matches!(database.compact(), Err(Error::Io { operation: "sync", .. })));
    assert!(matches!(database.begin_write(), Err(Error::Poisoned { .. })));
    drop(database);
    let database = open().unwrap();
    commit(&database, 20..20 + COMMITS_MEANWHILE);
    database.checkpoint().unwrap();
    drop(database);
    for keep in [Keep::PageCache, Keep::None, Keep::All] {
        disk.crash(&keep);
        reopen(&disk, &options).unwrap();
    }
}

#[test]
fn a_compacted_file_is_written_anew_only_while_its_name_is_in_doubt() {
    let disk = SimDisk::default();
    let options = Options::new().page_size(4096);
    let open = || Database::open_on(disk.vfs(), Path::new(DIRECTORY), &options);
    let written_by_opening = || {
        let before = disk.stats().bytes_written;
        drop(open().unwrap());
        disk.stats().bytes_written - before
    };
    let database = open().unwrap();
    commit(&database, 0..20);
    database.compact().unwrap();
    drop(database);
    assert_eq!(written_by_opening(), 0, "a compaction that came to its end leaves nothing to do");
    let database = open().unwrap();
    // The first sync of the directory is that of the checkpoint before the compaction, if there is anything to checkpoint.
    disk.plant(Fault::once(FaultKind::DirectorySyncLost, 1));
    database.compact().unwrap_err();
    drop(database);
    assert!(written_by_opening() > 4096, "the file once more");
    assert_eq!(written_by_opening(), 0, "and one is enough");
    disk.crash(&Keep::None);
    assert!(written_by_opening() < 4096, "of the renewed file, too");
}

struct Outcomes {
    /// How many crash images there were.
    images: usize,
    /// Those of them that lost something.
    losses: Vec<String>,
}

/// Crashes after a compaction, and after the checkpoint that follows it, in every way that there is.
fn crash_after_compaction(skips_directory_syncs: bool) -> Outcomes {
    let disk = SimDisk::default();
    let meanwhile = Arc::new(Meanwhile {
        inner: disk.vfs(),
        commits: Mutex::new(None),
        skips_directory_syncs,
        has_renamed: AtomicBool::new(false),
    });
    let options = Options::new().page_size(4096).segment_bytes(4096).log_chunk_bytes(512).spare_segments(0);
    let database = Database::open_on(meanwhile.clone(), Path::new(DIRECTORY), &options).unwrap();
    commit(&database, 0..20);
    let writer = database.clone();
    *meanwhile.commits.lock().unwrap() = Some(Box::new(move || commit(&writer, 20..20 + COMMITS_MEANWHILE)));
    database.compact().unwrap();
    let mut outcomes = Outcomes { images: 0, losses: Vec::new() };
    crash_everywhere(&disk, &options, &mut outcomes);
    database.checkpoint().unwrap();
    crash_everywhere(&disk, &options, &mut outcomes);
    outcomes
}

fn crash_everywhere(disk: &SimDisk, options: &Options, outcomes: &mut Outcomes) {
    let count = disk.pending().len();
    assert!(count < 13, "{count} effects are pending");
    for kept in 0..1_u32 << count {
        let survivals: Vec<_> = (0..count).map(|effect| Survival::whole(kept >> effect & 1 == 1)).collect();
        let choice = Choice::new(&survivals);
        let image = disk.image(&Keep::Chosen(choice.clone()));
        outcomes.images += 1;
        outcomes.losses.extend(reopen(&image, options).err().map(|lost| format!("{choice}: {lost}")));
    }
}

fn commit(database: &Database, ids: Range<u64>) {
    for id in ids {
        let mut write = database.begin_write().unwrap();
        write.put(&id.to_be_bytes(), &[7; 100]).unwrap();
        write.commit().unwrap();
    }
}

/// Opens a database that must hold everything.
fn reopen(disk: &SimDisk, options: &Options) -> Result<(), String> {
    let database =
        Database::open_on(disk.vfs(), Path::new(DIRECTORY), options).map_err(|error| error.to_string())?;
    let found = database.begin_read().and_then(|read| read.prefix(b"")?.collect::<Result<Vec<_>, _>>());
    match found {
        Ok(pairs) if pairs.len() as u64 == 20 + COMMITS_MEANWHILE => Ok(()),
        Ok(pairs) => Err(format!("{} keys are left", pairs.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// A file system on which commits happen right before the data file is renamed over.
struct Meanwhile {
    inner: Arc<dyn Vfs>,
    commits: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    skips_directory_syncs: bool,
    has_renamed: AtomicBool,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Meanwhile").finish_non_exhaustive()
    }
}

impl Vfs for Meanwhile {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        self.inner.open(path, mode)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.inner.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if to == Path::new(DATA)
            && let Some(commits) = self.commits.lock().unwrap().take()
        {
            commits();
            self.has_renamed.store(true, Ordering::Relaxed);
        }
        self.inner.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        self.inner.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        self.inner.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.has_renamed.load(Ordering::Relaxed) && self.skips_directory_syncs {
            return Ok(());
        }
        self.inner.sync_directory(path)
    }
}
