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

/// The kept plans that have to pass, with their texts, by their paths in their folder.
///
/// # Errors
/// If they can't be read.
pub fn plans() -> io::Result<Vec<(String, String)>> {
    plans_of("regressions")
}

/// The plans that show what is wrong with stores that are not ours, with their texts, by their paths in their folder.
///
/// # Errors
/// If they can't be read.
pub fn findings() -> io::Result<Vec<(String, String)>> {
    plans_of("findings")
}

fn plans_of(name: &str) -> io::Result<Vec<(String, String)>> {
    let root = folder(name);
    let mut plans = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "plan") {
                let name =
                    path.strip_prefix(&root).expect("it is in that folder").to_string_lossy().into_owned();
                plans.push((name, std::fs::read_to_string(&path)?));
            }
        }
    }
    plans.sort();
    Ok(plans)
}
