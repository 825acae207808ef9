//! Who calls: the store's functions on the stack, for people who want to know which of its syncs one is.
//!
//! It reads the stack and nothing else, and what it finds reaches a report only: no decision, no trace.

use std::fmt;
use std::path::Path;

/// How many frames of the store are told.
const FRAMES: usize = 2;

/// Where the sources of functions lie that are between the store and here.
const OTHERS: [&str; 7] = ["sim/src/", "vfs/src/", "library/", "/rustc/", "/backtrace-", "sysdeps/", "csu/"];

/// A function of a store, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// The last parts of its name.
    pub function: String,
    /// The file and the line, if the program knows them.
    pub place: Option<String>,
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.function)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(formatter, " ({place})"))
    }
}

/// The functions of the store that lead to this I/O call, the innermost first; none if none can be told.
pub(super) fn callers() -> Vec<Caller> {
    let trace = backtrace::Backtrace::new();
    let symbols = trace.frames().iter().flat_map(backtrace::BacktraceFrame::symbols);
    symbols.filter_map(caller).take(FRAMES).collect()
}

fn caller(symbol: &backtrace::BacktraceSymbol) -> Option<Caller> {
    let name = format!("{:#}", symbol.name()?);
    let path = symbol.filename().map(|path| path.display().to_string());
    let is_other = match &path {
        Some(path) => OTHERS.iter().any(|other| path.contains(other)),
        // Without a place, its name has to do.
        None => !name.trim_start_matches('<').contains("::") || is_of_the_simulator(&name),
    };
    if is_other {
        return None;
    }
    let file = symbol.filename().and_then(Path::file_name);
    let place = file.zip(symbol.lineno()).map(|(file, line)| format!("{}:{line}", file.display()));
    Some(Caller { function: short(&name), place })
}

fn is_of_the_simulator(name: &str) -> bool {
    let owner = name.trim_start_matches(['<', '&']).trim_start_matches("dyn ");
    ["proofmark_sim::", "proofmark_vfs::", "core::", "std::", "alloc::", "backtrace::"]
        .iter()
        .any(|other| owner.starts_with(other))
}

/// The function, with its type if that is told, and without modules, closures and the types that it is generic over.
fn short(name: &str) -> String {
    let name = name.split("::{{closure}}").next().unwrap_or(name);
    let (owner, function) = match name.strip_prefix('<').and_then(|rest| rest.split_once(">::")) {
        Some((owner, function)) => (owner.split(" as ").next().unwrap_or(owner), Some(function)),
        None => (name, None),
    };
    let parts: Vec<&str> = match function {
        Some(function) => owner.split("::").chain([function]).collect(),
        None if owner.contains("::<impl") => return impl_short(owner),
        None => owner.split('<').next().unwrap_or(owner).split("::").collect(),
    };
    let last = &parts[parts.len().saturating_sub(2)..];
    last.iter().map(|part| part.split('<').next().unwrap_or(part)).collect::<Vec<_>>().join("::")
}

/// The same for `module::<impl Type>::function`.
fn impl_short(name: &str) -> String {
    let (_, rest) = name.split_once("<impl").unwrap_or(("", name));
    let (owner, function) = rest.split_once(">::").unwrap_or((rest, ""));
    format!("{}::{function}", owner.rsplit("::").next().unwrap_or(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short() {
        for (name, expected) in [
            ("engine::pager::Pager::sync", "Pager::sync"),
            ("engine::checkpoint::<impl engine::db::Shared>::flip", "Shared::flip"),
            ("<redb::file::File as redb::Backend>::sync", "File::sync"),
            ("engine::log::replay::{{closure}}", "log::replay"),
            ("engine::open", "engine::open"),
            ("sync_data<(), disk::vfs::{closure}>", "sync_data"),
        ] {
            assert_eq!(short(name), expected, "{name}");
        }
    }
}
