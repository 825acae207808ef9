//! The plans and seeds that are kept in `corpora/`, at the root of the workspace.

use std::io;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package is a folder of the workspace").to_owned()
}

/// A folder of the corpora.
pub fn folder(name: &str) -> PathBuf {
    workspace().join("corpora").join(name)
}

/// The kept plans that have to pass, with their texts, by file name.
///
/// # Errors
/// If they can't be read.
pub fn plans() -> io::Result<Vec<(String, String)>> {
    plans_of("regressions")
}

/// The plans that show what is wrong with redb, with their texts, by file name.
///
/// # Errors
/// If they can't be read.
pub fn findings() -> io::Result<Vec<(String, String)>> {
    plans_of("findings/redb")
}

fn plans_of(name: &str) -> io::Result<Vec<(String, String)>> {
    let mut plans = Vec::new();
    for entry in std::fs::read_dir(folder(name))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "plan") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            plans.push((name, std::fs::read_to_string(&path)?));
        }
    }
    plans.sort();
    Ok(plans)
}
