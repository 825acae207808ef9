//! The databases of `corpora/golden/`: a few kibibytes each, made on the simulated disk by steps that never change, and
//! kept byte for byte.
//!
//! They answer two questions that no other suite asks. Does the engine still read what an earlier one has written? And
//! does it still write the same bytes, or has the format changed without its version?

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Durability, Error, Options, Retention, TxnId};
use proofmark_model::digest_pairs;
use proofmark_sim::disk::SimDisk;
use proofmark_vfs::{OpenMode, Vfs};

use crate::corpus::folder;

/// The file with the digests, beside those of the database.
pub const DIGESTS: &str = "digests.txt";

/// The files of a database by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A database that is kept.
#[derive(Debug, Clone, Copy)]
pub struct Golden {
    /// The name of its directory.
    pub name: &'static str,
    options: fn(Options) -> Options,
    steps: fn(&Script) -> Result<(), Error>,
    /// What is done to the files afterwards.
    finish: fn(&mut Files),
}

/// All that are kept.
pub const ALL: [Golden; 7] = [
    Golden { name: "empty", options: |options| options, steps: |_| Ok(()), finish: |_| {} },
    Golden {
        name: "compacted",
        options: |options| options.retention(Retention::Txns(5)),
        steps: compacted,
        finish: |_| {},
    },
    Golden { name: "torn-tail", options: |options| options, steps: torn_tail, finish: tear_the_last_record },
    Golden { name: "large-values", options: |options| options, steps: large_values, finish: |_| {} },
    Golden {
        name: "history",
        options: |options| options.retention(Retention::All),
        steps: history,
        finish: |_| {},
    },
    Golden {
        name: "free-list",
        options: |options| options.retention(Retention::Txns(5)),
        steps: free_list,
        finish: |_| {},
    },
    Golden {
        name: "recycled-segments",
        options: |options| options,
        steps: recycled_segments,
        finish: |_| {},
    },
];

impl Golden {
    /// Makes its files anew.
    ///
    /// # Errors
    /// If the engine or the simulated disk fails, which neither has a reason to.
    pub fn make(&self) -> Result<Files, Error> {
        let disk = SimDisk::default();
        let options = Options::new().page_size(4096).segment_bytes(4096).log_chunk_bytes(1024);
        let path = Path::new("/db");
        let database = Database::open_on(disk.vfs(), path, &(self.options)(options))?;
        (self.steps)(&Script { database })?;
        let mut files = read_all(&*disk.vfs(), path).expect("the simulated disk can be read");
        (self.finish)(&mut files);
        Ok(files)
    }

    /// Where the files of a version of the format are kept.
    pub fn folder(&self, version: u32) -> PathBuf {
        folder("golden").join(format!("v{version}")).join(self.name)
    }
}

/// The version of the format in which files are.
pub fn format_version(files: &Files) -> u32 {
    let bytes = files.get("data").and_then(|data| data.get(8..12)).expect("there is a meta page");
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// The digest of every state that a database retains, a line each.
///
/// # Errors
/// If a state can't be read.
pub fn digests(database: &Database) -> Result<String, Error> {
    let mut lines = String::new();
    for txn in database.oldest_retained().0..=database.latest().0 {
        let read = database.begin_read_at(TxnId(txn))?;
        let pairs = read.range((Bound::Unbounded, Bound::Unbounded))?.collect::<Result<Vec<_>, Error>>()?;
        lines += &format!("{txn} {} pairs, digest {}\n", pairs.len(), digest_pairs(pairs));
    }
    Ok(lines)
}

/// Writes files into a directory that doesn't exist yet.
///
/// # Errors
/// If it exists, or can't be written.
pub fn write_all(directory: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(directory.parent().expect("the directory lies in another one"))?;
    fs::create_dir(directory)?;
    files.iter().try_for_each(|(name, bytes)| fs::write(directory.join(name), bytes))
}

fn read_all(vfs: &dyn Vfs, directory: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for name in vfs.list(directory)? {
        let file = vfs.open(&directory.join(&name), OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.size()?).expect("the file is small")];
        file.read_exact_at(&mut bytes, 0)?;
        files.insert(name.to_string_lossy().into_owned(), bytes);
    }
    Ok(files)
}

/// Who takes the steps.
#[derive(Debug)]
pub struct Script {
    database: Database,
}

impl Script {
    /// Commits changes: a value of so many bytes for a key, or none.
    fn commit(&self, changes: impl IntoIterator<Item = (String, Option<usize>)>) -> Result<(), Error> {
        let mut write = self.database.begin_write()?;
        for (key, value) in changes {
            match value {
                Some(bytes) => write.put(key.as_bytes(), &value_for(&key, bytes))?,
                None => write.delete(key.as_bytes())?,
            }
        }
        write.commit_with(Durability::Sync)?;
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.database.checkpoint().map(|_| ())
    }
}

/// Bytes that depend on the key and on their number.
fn value_for(key: &str, bytes: usize) -> Vec<u8> {
    let seed = key.bytes().fold(bytes as u32 | 1, |seed, byte| seed.rotate_left(5) ^ u32::from(byte));
    let mut state = seed | 1;
    let next = || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn torn_tail(script: &Script) -> Result<(), Error> {
    script.commit((0..60).map(|number| (format!("kept {number}"), Some(40))))?;
    script.checkpoint()?;
    for number in 0..6 {
        script.commit([(format!("logged {number}"), Some(100)), (format!("kept {number}"), None)])?;
    }
    Ok(())
}

/// Cuts off the second half of the last record: the write that a power loss interrupted.
fn tear_the_last_record(files: &mut Files) {
    let (_, log) = files.iter_mut().rfind(|(name, _)| name.starts_with("log-")).expect("there is a log");
    let end = log.iter().rposition(|byte| *byte != 0).expect("the log is not empty") + 1;
    log[end - 60..end].fill(0);
}

fn large_values(script: &Script) -> Result<(), Error> {
    let sizes = [0, 1, 16, 17, 900, 1000, 1016, 1100, 4095, 4096, 4097, 12_288, 20_000];
    script.commit(sizes.map(|bytes| (format!("{bytes} bytes"), Some(bytes))))?;
    script.checkpoint()?;
    script.commit([("4097 bytes".to_owned(), None), ("20000 bytes".to_owned(), Some(5000))])?;
    script.checkpoint()?;
    script.commit([("in the log".to_owned(), Some(3000))])
}

fn history(script: &Script) -> Result<(), Error> {
    script.commit((0..120).map(|number| (format!("common prefix {number:04}"), Some(30))))?;
    for round in 0..24 {
        let changed = (0..6).map(|number| (round * 17 + number * 11) % 130);
        script.commit(changed.map(|number| {
            let value = if (round + number) % 5 == 0 { None } else { Some(round + number % 40) };
            (format!("common prefix {number:04}"), value)
        }))?;
        // One key with more versions than a page holds.
        script.commit([("often changed".to_owned(), Some(150 + round))])?;
        if round % 6 == 5 {
            script.checkpoint()?;
        }
    }
    script.commit([("often changed".to_owned(), None), ("the last".to_owned(), Some(1))])
}

fn free_list(script: &Script) -> Result<(), Error> {
    script.commit((0..400).map(|number| (format!("{:04}", number * 37 % 400), Some(60))))?;
    script.checkpoint()?;
    for round in 0..8 {
        script.commit((0..45).map(|number| (format!("{:04}", round * 45 + number), None)))?;
        script.commit([(format!("new {round}"), Some(200))])?;
        script.checkpoint()?;
    }
    Ok(())
}

fn compacted(script: &Script) -> Result<(), Error> {
    free_list(script)?;
    script.database.compact()?;
    script.commit([("after it".to_owned(), Some(10))])
}

fn recycled_segments(script: &Script) -> Result<(), Error> {
    for round in 0..5 {
        for number in 0..20 {
            script.commit([(format!("{} {number}", round % 2), Some(300 + 10 * round))])?;
        }
        if round < 4 {
            script.checkpoint()?;
        }
    }
    Ok(())
}
