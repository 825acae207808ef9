//! `dump`: everything a database holds, as text.

use std::io;
use std::path::PathBuf;

use crate::btree::for_each_page;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::format::{LeafValue, Mutations, Page, PageReference};
use crate::log::replay;

impl Database {
    /// Writes the meta page, every page of the base tree with its entries, and every record of the log to `out`, a line
    /// each. Keys are escaped; of values only the length is shown. Commits and checkpoints wait meanwhile, so `out` must
    /// not call back into the database.
    ///
    /// # Errors
    /// `Io` if a file can't be read or `out` not be written, `Corruption` at the first damage; what comes before it is
    /// written.
    pub fn dump(&self, out: &mut dyn io::Write) -> Result<()> {
        let shared = &self.shared;
        let state = shared.checkpoint.lock();
        let meta = state.meta;
        let mut printer = Printer { out };
        printer.line(format_args!(
            "meta generation={} page-size={} pages={} checkpoint={} oldest={} log-start={}",
            meta.generation, meta.page_size, meta.page_count, meta.checkpoint, meta.oldest, meta.log_start
        ))?;
        for_each_page(&state.pager, meta.root, &mut |page, depth| printer.page(page, depth))?;
        let _no_commits = shared.lock_log_file()?;
        let mut outcome = Ok(());
        replay(&*shared.vfs, &shared.directory, &meta, |txn, mutations| {
            if outcome.is_ok() {
                outcome = printer
                    .line(format_args!("log transaction={txn}"))
                    .and_then(|()| printer.mutations(mutations));
            }
        })?;
        outcome
    }
}

struct Printer<'a> {
    out: &'a mut dyn io::Write,
}

impl Printer<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        writeln!(self.out, "{line}").map_err(|source| Error::Io {
            operation: "write",
            path: PathBuf::from("the output"),
            source,
        })
    }

    fn page(&mut self, page: &Page, depth: usize) -> Result<()> {
        let indent = "  ".repeat(depth);
        let PageReference { page: id, checksum } = page.reference();
        let kind = if page.level() == 0 { "leaf" } else { "branch" };
        self.line(format_args!(
            "{indent}{kind} page={id} level={} generation={} entries={} used={} checksum={checksum:016x}",
            page.level(),
            page.generation(),
            page.count(),
            page.used()
        ))?;
        if page.level() > 0 {
            return Ok(());
        }
        for index in 0..page.count() {
            let cell = page.leaf(index);
            let key = cell.version.key.to_vec();
            let key = key.escape_ascii();
            let txn = cell.version.txn;
            match cell.value {
                LeafValue::Inline(bytes) => {
                    self.line(format_args!("{indent}  \"{key}\"@{txn} {} bytes", bytes.len()))?;
                }
                LeafValue::Tombstone => self.line(format_args!("{indent}  \"{key}\"@{txn} deleted"))?,
                LeafValue::Extent(extent) => self.line(format_args!(
                    "{indent}  \"{key}\"@{txn} {} bytes at page {}",
                    extent.bytes, extent.start
                ))?,
            }
        }
        Ok(())
    }

    fn mutations(&mut self, mutations: Mutations<'_>) -> Result<()> {
        for mutation in mutations {
            let (key, value) = mutation.expect("the record was checked when it was parsed");
            let key = key.escape_ascii();
            match value {
                Some(value) => self.line(format_args!("  put \"{key}\" {} bytes", value.len()))?,
                None => self.line(format_args!("  delete \"{key}\""))?,
            }
        }
        Ok(())
    }
}
