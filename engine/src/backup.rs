//! Backups: a snapshot, with the history it retains, as a database of its own.

use std::path::{Path, PathBuf};

use proofmark_vfs::Vfs;

use crate::btree::{Builder, for_each_version};
use crate::create::{Contents, NEW_DATA_FILE, NewDataFile, create_database, make_names_durable};
use crate::db::{Database, Published};
use crate::error::{Error, Result};
use crate::format::VersionKey;
use crate::ids::{Generation, SegmentId, TxnId};
use crate::log::{clear_unused, segment_path};
use crate::pager::Pager;
use crate::write_tier::TierVersion;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The snapshot: the last transaction in the backup.
    pub through: TxnId,
    /// The oldest snapshot that can be read from it.
    pub oldest: TxnId,
    /// Bytes of its data file.
    pub bytes: u64,
}

impl Database {
    /// Writes the latest snapshot, with all the history that is retained, to a new database in the directory `target`.
    /// It is durable when this returns. Readers and writers go on meanwhile. The backup numbers its transactions on from
    /// those of this database, but it is another database: neither reads the files of the other.
    ///
    /// # Errors
    /// `AlreadyExists` if there is something in `target`, other than what an attempt left that failed. `Locked` if another
    /// attempt is under way. `OutOfSpace` or `Io` if it can't be written, `Io` or `Corruption` if a page can't be read:
    /// then there is no database in `target`, or one whose name may not survive a power loss.
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        let shared = &self.shared;
        let (vfs, target) = (&*shared.vfs, target.as_ref());
        // Held for as long as it is copied, so that nothing of it is pruned meanwhile.
        let published = shared.published.load_full();
        let Published { latest, oldest, .. } = *published;
        vfs.create_directory(target).map_err(|source| Error::io("create", target, source))?;
        refuse_foreign_files(vfs, target)?;
        let new = NewDataFile::create(vfs, target)?;
        let new_path = new.path().to_owned();
        let mut bytes = 0;
        let page_size =
            u32::try_from(published.view.base.pager.page_size()).expect("a page has at most 65536 bytes");
        let create = || {
            // Once more under the lock: somebody may have made a database of the directory meanwhile.
            refuse_foreign_files(vfs, target)?;
            clear_unused(vfs, target)?;
            create_database(vfs, target, new, &shared.options, page_size, |pager| {
                let contents = copy(&published, pager)?;
                bytes = contents.page_count * u64::from(page_size);
                Ok(contents)
            })
        };
        if let Err(error) = create() {
            // There is no database without a data file; what is left of this one only takes room.
            let _ = vfs.remove(&new_path);
            return Err(error);
        }
        make_names_durable(vfs, target)?;
        Ok(BackupReport { through: latest, oldest, bytes })
    }
}

/// Makes sure that there is nothing in `target` but what an earlier attempt may have left.
fn refuse_foreign_files(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    let names = vfs.list(target).map_err(|source| Error::io("list", target, source))?;
    let first_segment = segment_path(Path::new(""), SegmentId(1));
    let is_foreign = |name: &PathBuf| *name != Path::new(NEW_DATA_FILE) && *name != first_segment;
    if names.iter().any(is_foreign) {
        return Err(Error::AlreadyExists { path: target.to_owned() });
    }
    Ok(())
}

/// Copies every version that snapshots of what was published need.
fn copy(published: &Published, target: &Pager) -> Result<Contents> {
    let Published { oldest, latest, ref view } = *published;
    let mut recent: Vec<TierVersion> = view.tiers().flat_map(|tier| tier.versions()).collect();
    recent.retain(|(_, txn, _)| *txn <= latest);
    recent.sort_by(|a, b| version_key(a).cmp(&version_key(b)));
    let mut recent = recent.into_iter().peekable();
    let mut builder = Builder::new(target, oldest, Generation(0));
    for_each_version(&view.base.pager, view.base.root, |version, value| {
        while let Some(newer) = recent.next_if(|newer| version_key(newer) < version) {
            builder.push(version_key(&newer), newer.2.as_deref())?;
        }
        builder.push(version, value)
    })?;
    for newer in recent {
        builder.push(version_key(&newer), newer.2.as_deref())?;
    }
    let (root, page_count) = builder.finish()?;
    Ok(Contents { root, page_count, checkpoint: latest, oldest })
}

fn version_key((key, txn, _): &TierVersion) -> VersionKey<'_> {
    VersionKey::new(key, *txn)
}
