//! Small stores, each with a habit of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_model::{Key, Mutation, Value, text};
use proofmark_vfs::{OpenMode, Vfs};

use crate::plan::Config;
use crate::store::{BatchStore, Engine, Promises, Store, StoreError, StoreFactory};

type State = BTreeMap<Key, Value>;

fn read(vfs: &dyn Vfs, name: &str) -> io::Result<State> {
    let Ok(file) = vfs.open(Path::new(name), OpenMode::Read) else { return Ok(State::new()) };
    let mut bytes = vec![0; file.size()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let lines = String::from_utf8_lossy(&bytes);
    let pair = |mut line: text::Cursor<'_>| Ok((line.bytes()?, line.value()?));
    Ok(text::lines(&lines).map(pair).collect::<Result<_, text::ParseError>>().unwrap_or_default())
}

/// Writes a file anew, and leaves it to the caller to sync it.
fn write(vfs: &dyn Vfs, name: &str, state: &State) -> io::Result<Box<dyn proofmark_vfs::VfsFile>> {
    let line =
        |(key, value): (&Key, &Value)| format!("{} {}\n", text::BytesText(key), text::ValueText(value));
    let file = vfs.open(Path::new(name), OpenMode::CreateTruncate)?;
    file.write_all_at(state.iter().map(line).collect::<String>().as_bytes(), 0)?;
    Ok(file)
}

fn apply_to(state: &mut State, batch: &[Mutation]) {
    for Mutation { key, value } in batch {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

/// Writes its state anew, and next to it a note that nobody reads.
pub(in crate::explore) struct Noting {
    vfs: Arc<dyn Vfs>,
    state: State,
}

impl BatchStore for Noting {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Noting> {
        let state = read(&*vfs, "/state")?;
        // What a process that died had not made durable is made so now.
        vfs.sync_directory(Path::new("/"))?;
        Ok(Noting { vfs, state })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        apply_to(&mut self.state, batch);
        write(&*self.vfs, "/new", &self.state)?.sync_data()?;
        self.vfs.rename(Path::new("/new"), Path::new("/state"))?;
        self.vfs.sync_directory(Path::new("/"))?;
        write(&*self.vfs, "/note", &State::new())?.write_all_at(b"noted", 0)?;
        self.vfs.open(Path::new("/note"), OpenMode::ReadWrite)?.sync_data()
    }

    fn state(&self) -> io::Result<State> {
        Ok(self.state.clone())
    }
}

/// As [`Noting`], and it syncs the bytes of its state last of all.
pub(in crate::explore) struct Hasty(Noting);

impl BatchStore for Hasty {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Hasty> {
        Noting::open(vfs).map(Hasty)
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        let Noting { vfs, state } = &mut self.0;
        apply_to(state, batch);
        let file = write(&**vfs, "/new", state)?;
        vfs.rename(Path::new("/new"), Path::new("/state"))?;
        vfs.sync_directory(Path::new("/"))?;
        file.sync_data()
    }

    fn state(&self) -> io::Result<State> {
        self.0.state()
    }
}

/// Puts its state into a journal, and folds that into another file when it is opened again; where that file holds the same
/// already, it takes it for durable.
pub(in crate::explore) struct Folding {
    vfs: Arc<dyn Vfs>,
    state: State,
}

impl BatchStore for Folding {
    fn open(vfs: Arc<dyn Vfs>) -> io::Result<Folding> {
        vfs.sync_directory(Path::new("/"))?;
        let mut state = read(&*vfs, "/state")?;
        if vfs.open(Path::new("/journal"), OpenMode::Read).is_ok() {
            let journal = read(&*vfs, "/journal")?;
            if journal != state {
                write(&*vfs, "/state", &journal)?.sync_data()?;
                vfs.sync_directory(Path::new("/"))?;
            }
            vfs.remove(Path::new("/journal"))?;
            vfs.sync_directory(Path::new("/"))?;
            state = journal;
        }
        Ok(Folding { vfs, state })
    }

    fn apply(&mut self, batch: &[Mutation]) -> io::Result<()> {
        apply_to(&mut self.state, batch);
        write(&*self.vfs, "/new", &self.state)?.sync_data()?;
        self.vfs.rename(Path::new("/new"), Path::new("/journal"))?;
        self.vfs.sync_directory(Path::new("/"))
    }

    fn state(&self) -> io::Result<State> {
        Ok(self.state.clone())
    }
}

/// The engine, of which one opening fails among all that there ever are: it does not repeat itself.
#[derive(Debug)]
pub(in crate::explore) struct Forgetful {
    openings: AtomicU64,
    failing: u64,
}

impl Forgetful {
    pub(in crate::explore) fn after(openings: u64) -> Forgetful {
        Forgetful { openings: AtomicU64::new(0), failing: openings + 1 }
    }

    pub(in crate::explore) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }
}

impl StoreFactory for Forgetful {
    fn name(&self) -> &str {
        "forgetful"
    }

    fn promises(&self) -> Promises {
        Engine.promises()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        // Relaxed: it is counted, and nothing else hangs on it.
        if self.openings.fetch_add(1, Ordering::Relaxed) + 1 == self.failing {
            return Err(StoreError::failed("forgotten"));
        }
        Engine.open(vfs, config)
    }
}
