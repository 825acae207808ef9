//! What no compiler checks: the shape of the sources, and who may know whom.

use std::fs;
use std::path::{Path, PathBuf};

use proofmark_properties::corpus::workspace;

/// The most lines of a file.
const LINES_MAX: usize = 600;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Words that mark what is not finished. They are put together here, or this file would be found itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("to", "do!("),
    concat!("#[ig", "nore"),
];

/// Doors that the engine has only one of each for: what is behind them, and the file that may open them.
const ENGINE_DOORS: &[(&str, &str)] = &[
    ("std::fs", ""),
    ("std::thread", "sync/"),
    ("std::time", ""),
    ("std::env", ""),
    ("std::process", ""),
    ("std::sync", "sync/"),
    ("use std::{", ""),
    ("use std;", ""),
    ("rand::", ""),
    ("libc::", ""),
];

/// Packages, and those of ours that they must not depend on.
const STRANGERS: &[(&str, &[&str])] = &[
    ("engine/vfs", &["proofmark-engine", "proofmark-model", "proofmark-sim", "proofmark-properties"]),
    ("engine", &["proofmark-model", "proofmark-sim", "proofmark-properties"]),
    ("engine/shuttle", &["proofmark-model", "proofmark-sim", "proofmark-properties"]),
    ("model", &["proofmark-engine", "proofmark-vfs", "proofmark-sim", "proofmark-properties"]),
    ("sim", &["proofmark-properties"]),
];

#[test]
fn every_file_says_what_it_is_about() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not open with `//!`");
    }
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let is_excused = LONG_FILES.iter().any(|(long, _)| *long == path);
        assert!(
            lines <= LINES_MAX || is_excused,
            "{path} has {lines} lines: split it, or list it with a reason"
        );
        assert!(lines > LINES_MAX || !is_excused, "{path} is short enough now: take it off the list");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for word in UNFINISHED {
                assert!(!line.contains(word), "{path}:{} has `{word}`", number + 1);
            }
        }
    }
}

#[test]
fn the_engine_opens_no_doors_of_its_own() {
    // Tests may start threads: those at the end of a file, and those in a file of their own.
    let is_engine = |path: &str| path.starts_with("engine/src/") && !path.ends_with("/tests.rs");
    for (path, text) in sources().into_iter().filter(|(path, _)| is_engine(path)) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (door, keeper) in ENGINE_DOORS {
            let is_kept = !keeper.is_empty() && path.starts_with(&format!("engine/src/{keeper}"));
            let opens = |line: &&str| !line.trim_start().starts_with("//") && line.contains(door);
            if let Some(line) = code.lines().find(opens).filter(|_| !is_kept) {
                panic!("{path} opens `{door}`: {line}");
            }
        }
    }
}

#[test]
fn packages_depend_downwards() {
    for (package, strangers) in STRANGERS {
        let manifest = fs::read_to_string(workspace().join(package).join("Cargo.toml")).unwrap();
        for stranger in *strangers {
            let depends = |line: &str| line.trim_start().starts_with(stranger);
            assert!(!manifest.lines().any(depends), "{package} depends on {stranger}");
        }
    }
    let model = fs::read_to_string(workspace().join("model/Cargo.toml")).unwrap();
    assert!(!model.contains("dependencies]"), "the model has dependencies");
}

/// The README's code map names what exists, and every folder with sources is on it.
#[test]
fn the_code_map_is_true() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("there is a README.md");
    let map = section(&readme, "Code map").expect("README.md has a section called Code map");
    let paths: Vec<&str> = map.split('`').skip(1).step_by(2).filter(|word| word.contains('/')).collect();
    assert!(!paths.is_empty(), "the code map names no path");
    for path in &paths {
        assert!(workspace().join(path).exists(), "the code map names `{path}`, which does not exist");
    }
    for folder in folders_of_sources() {
        let is_named = |path: &&str| path.trim_end_matches('/') == folder;
        assert!(paths.iter().any(is_named), "the code map does not name `{folder}/`");
    }
}

/// What is below a heading with this word in it, up to the next heading.
fn section<'a>(markdown: &'a str, heading: &str) -> Option<&'a str> {
    let start = markdown.lines().find(|line| line.starts_with("## ") && line.contains(heading))?;
    let below = markdown.split_once(start)?.1;
    Some(below.split("\n## ").next().unwrap_or(below))
}

/// The packages, the folders in their sources, and the corpora.
fn folders_of_sources() -> Vec<String> {
    let mut folders = vec!["corpora".to_owned()];
    for package in ["engine", "engine/vfs", "model", "sim", "properties"] {
        folders.push(package.to_owned());
        for entry in fs::read_dir(workspace().join(package).join("src")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(format!("{package}/src/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    folders
}

/// Every Rust file of the workspace, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let root = workspace();
    let mut files = Vec::new();
    for folder in ["engine", "model", "sim", "properties"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 50, "these are not all sources");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
