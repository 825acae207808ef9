//! Copies of a module, or of a package as a module, each with one mistake.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Build, Change, ENGINE_MISTAKES, MISTAKES, Mistake};

/// The file that declares the copies, in the output folder.
const DECLARATIONS: &str = "planted.rs";

/// Where a mistake in the tree would end in a crash of the process, it ends in a panic.
const TREE_GUARDS: &[Change] = &[
    Change {
        file: "page.rs",
        old: "unsafe { (*word.header()).level }",
        new: "unsafe { word.header().as_ref().expect(\"a page in use has a state\").level }",
    },
    Change {
        file: "mapping.rs",
        old: "unsafe { &*slots.add(offset) }",
        new: "unsafe { slots.as_ref().map(|_| &*slots.add(offset)).expect(\"an id in use has a slot\") }",
    },
];

/// The engine's doors are the package's, for all copies.
const ENGINE_GUARDS: &[Change] = &[Change { file: "lib.rs", old: "mod sync;", new: "use crate::sync;" }];

/// What the copies are made of.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// The folder of its sources.
    pub source: &'a Path,
    /// The file there that declares the others.
    pub root: &'a str,
    /// How its sources call itself, up to and with the last `::`.
    pub path: &'a str,
    /// The module in which the copies will be.
    pub home: &'a str,
    /// What is different in every copy.
    pub guards: &'a [Change],
}

/// Writes a copy of the tree for each of the [`MISTAKES`] of a build, and the file `planted.rs` that declares them; to be called by a
/// build script. The package includes the file in its module `planted`, and has a `sync`.
///
/// # Panics
/// If a mistake can't be planted, and if a file can't be read or written.
pub fn write_trees(build: Build) {
    let mistakes: Vec<Mistake> =
        MISTAKES.iter().filter(|mistake| mistake.builds.contains(&build)).copied().collect();
    let source = sources().join("bwtree");
    let original = Original {
        source: &source,
        root: "mod.rs",
        path: "crate::bwtree::",
        home: "crate::planted",
        guards: TREE_GUARDS,
    };
    write_here(original, &mistakes, &out());
}

/// Writes a copy of the whole engine for each of the [`ENGINE_MISTAKES`], and the file `engines/planted.rs` that declares them;
/// to be called by a build script. The package includes the file in its module `engines`, and has a `sync`.
///
/// # Panics
/// If a mistake can't be planted, and if a file can't be read or written.
pub fn write_engines() {
    let source = sources();
    let original = Original {
        source: &source,
        root: "lib.rs",
        path: "crate::",
        home: "crate::engines",
        guards: ENGINE_GUARDS,
    };
    write_here(original, ENGINE_MISTAKES, &out().join("engines"));
}

/// The engine's sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")
}

/// Where the package that is being built may write.
fn out() -> PathBuf {
    std::env::var_os("OUT_DIR").expect("cargo tells build scripts where to write").into()
}

fn write_here(original: Original<'_>, mistakes: &[Mistake], out: &Path) {
    println!("cargo::rerun-if-changed={}", original.source.display());
    if let Err(why) = write_copies(original, mistakes, out) {
        panic!("{why}");
    }
}

/// Writes a copy for each mistake, and the file that declares them.
///
/// # Errors
/// The name of a mistake that can't be planted, with the reason, or the path that can't be read or written.
pub fn write_copies(original: Original<'_>, mistakes: &[Mistake], out: &Path) -> Result<(), String> {
    let mut declarations = String::new();
    for mistake in mistakes {
        let folder = out.join(mistake.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(at(&folder))?;
        }
        copy(original.source, &folder)?;
        plant(mistake, original, &folder)?;
        let (what, root) = (mistake.what, folder.join(original.root));
        writeln!(declarations, "#[doc = {what:?}]\n#[path = {root:?}]\npub mod {};", mistake.name)
            .expect("a string takes everything");
    }
    let names: Vec<&str> = mistakes.iter().map(|mistake| mistake.name).collect();
    declarations.push_str(&with_each(&names));
    let file = out.join(DECLARATIONS);
    fs::write(&file, declarations).map_err(at(&file))
}

/// Has the copy call itself where it called the original, and makes the changes in it.
fn plant(mistake: &Mistake, original: Original<'_>, copy: &Path) -> Result<(), String> {
    let path = format!("{}::{}::", original.home, mistake.name);
    for file in files(copy)? {
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        // The original's own tests are not the copies'.
        let text = text.replace(original.path, &path).replace("#[cfg(test)]", "#[cfg(any())]");
        fs::write(&file, text).map_err(at(&file))?;
    }
    for change in original.guards.iter().chain(mistake.changes) {
        let file = copy.join(change.file);
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let count = text.matches(change.old).count();
        if count != 1 {
            return Err(format!(
                "the mistake `{}` can't be planted: its text occurs {count} times in {}: {}",
                mistake.name, change.file, change.old
            ));
        }
        fs::write(&file, text.replace(change.old, change.new)).map_err(at(&file))?;
    }
    Ok(())
}

/// Says where an error occurred.
fn at(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

/// A macro that calls another one with the names of all copies.
fn with_each(names: &[&str]) -> String {
    format!(
        "/// Calls a macro with the names of all modules here.\n\
         macro_rules! with_each {{\n    ($called:ident) => {{ $called! {{ {} }} }};\n}}\npub(crate) use with_each;\n",
        names.join(" ")
    )
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(at(&source))?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: &str =
        "//! A toy.\npub fn answer() -> u32 { crate::toy::right() }\npub fn right() -> u32 { 42 }\n";

    fn plant(old: &'static str) -> (Result<(), String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("toy");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("mod.rs"), TOY).unwrap();
        let changes: &'static [Change] = Box::leak(Box::new([Change { file: "mod.rs", old, new: "43" }]));
        let mistakes = [Mistake { name: "off_by_one", what: "answers too much", builds: &[], changes }];
        let original = Original {
            source: &source,
            root: "mod.rs",
            path: "crate::toy::",
            home: "crate::planted",
            guards: &[],
        };
        (write_copies(original, &mistakes, &folder.path().join("out")), folder)
    }

    #[test]
    fn a_copy_has_the_mistake_and_calls_itself() {
        let (outcome, folder) = plant("42");
        outcome.unwrap();
        let text = fs::read_to_string(folder.path().join("out/off_by_one/mod.rs")).unwrap();
        let expected = TOY.replace("42", "43").replace("crate::toy::", "crate::planted::off_by_one::");
        assert_eq!(text, expected);
        assert_eq!(
            fs::read_to_string(folder.path().join("toy/mod.rs")).unwrap(),
            TOY,
            "the original is as it was"
        );
        let declarations = fs::read_to_string(folder.path().join("out/planted.rs")).unwrap();
        assert!(declarations.contains("pub mod off_by_one;"), "{declarations}");
        assert!(declarations.contains("$called! { off_by_one }"), "{declarations}");
    }

    #[test]
    fn text_that_is_not_there_once_is_refused_by_name() {
        for old in ["41", "u32"] {
            let (outcome, _folder) = plant(old);
            let why = outcome.unwrap_err();
            assert!(why.contains("`off_by_one`") && why.contains("occurs"), "{why}");
        }
    }
}
