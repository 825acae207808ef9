//! An exploration finds what no random seed has found: a store that counts on a file size which only the page cache knows.
//!
//! The engine fills the last page of a large value with zeros, so that every page that counts was written in the run that
//! lets it count. Here that is taken back: the zeros never reach the disk where the file seems to be long enough. It takes a
//! growth of the file that a failing sync loses, the death of the process, and a power loss, in this order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_model::{ClientId, Durability, Operation, unique_value};
use proofmark_sim::disk::{Fault, FaultKind, Granule};
use proofmark_sim::explore::{Exploration, built_in};
use proofmark_sim::plan::{Action, Begin, Config, Plan, Step};
use proofmark_sim::store::{Engine, Promises, Store, StoreError, StoreFactory, StoreKind};
use proofmark_vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};

/// The bound of `proofmark explore` when nobody names another.
const BOUND: usize = 1000;
/// That of the built-in workload.
const PAGE_SIZE: u64 = 4096;

#[test]
fn a_size_that_only_the_page_cache_knows_is_found() {
    let plan = plan();
    let explore = |factory: &dyn StoreFactory| {
        let exploration = Exploration { plan: &plan, factory, depth: 1, bound: BOUND, jobs: 2 };
        exploration.run(|| false, |_| {}).unwrap()
    };
    let finding = explore(&Trusting).finding.expect("the last page is cut off");
    assert!(finding.is_reproduced(), "{:?}", finding.replayed);
    let text = finding.plan.to_string();
    assert!(text.contains("keep=page-cache"), "{text}");
    assert_eq!(explore(&Engine).finding, None);
}

/// A run in which a checkpoint with a large value fails to sync what it has written.
fn plan() -> Plan {
    let mut plan = built_in(StoreKind::Engine);
    plan.steps.clear();
    plan.config.write_tier_bytes = 1 << 22;
    // No write has to tear for it, so there is less to try.
    plan.disk.granule = Granule::new(PAGE_SIZE).unwrap();
    let put = |number: u64, length: usize| {
        let value = unique_value(number, length);
        let put = Operation::Put { key: format!("key {number}").into_bytes(), value };
        [Action::Begin(Begin::Write), Action::Operation(put), Action::Commit(Durability::Sync)]
    };
    let commit = |number, length| put(number, length).map(|action| Step::Client(ClientId(0), action));
    // By then pages are free for what a checkpoint writes beside the value, which alone goes to the end of the file.
    for number in 1..=5 {
        plan.steps.extend(commit(number, 40));
        plan.steps.push(Step::Checkpoint);
    }
    // More than the file has room for as it is.
    plan.steps.extend(commit(6, 70_000));
    let mut fault = Fault::once(FaultKind::SyncLost, 1);
    fault.scope.file = Some("data*".parse().unwrap());
    plan.steps.extend([Step::Fault(fault), Step::Checkpoint]);
    plan
}

/// The engine on a file system that takes the size of a file for durable.
#[derive(Debug)]
struct Trusting;

impl StoreFactory for Trusting {
    fn name(&self) -> &str {
        "trusting"
    }

    fn promises(&self) -> Promises {
        Engine.promises()
    }

    fn open(&self, vfs: Arc<dyn Vfs>, config: &Config) -> Result<Box<dyn Store>, StoreError> {
        Engine.open(Arc::new(TrustingVfs(vfs)), config)
    }
}

#[derive(Debug)]
struct TrustingVfs(Arc<dyn Vfs>);

impl Vfs for TrustingVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let file = self.0.open(path, mode)?;
        Ok(Box::new(TrustingFile(file)))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.0.create_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        self.0.file_id(path)
    }

    fn unique_id(&self) -> io::Result<u64> {
        self.0.unique_id()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.sync_directory(path)
    }
}

#[derive(Debug)]
struct TrustingFile(Box<dyn VfsFile>);

impl VfsFile for TrustingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let end = offset + bytes.len() as u64;
        let ends_a_page = !offset.is_multiple_of(PAGE_SIZE) && end.is_multiple_of(PAGE_SIZE);
        let is_padding =
            ends_a_page && (bytes.len() as u64) < PAGE_SIZE && bytes.iter().all(|byte| *byte == 0);
        if is_padding && end <= self.0.size()? {
            return Ok(bytes.len());
        }
        self.0.write_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn file_id(&self) -> io::Result<FileId> {
        self.0.file_id()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
}
