//! The databases of `corpora/golden/`: whatever was written once stays readable, and the same steps leave the same bytes
//! for as long as the format has the same version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proofmark_engine::{Database, Error, Options, Retention};
use proofmark_properties::corpus::folder;
use proofmark_properties::golden::{ALL, DIGESTS, Files, Golden, digests, format_version, write_all};

use crate::pages::BLESS;

/// Every directory `golden/v<version>/<name>`, with its version.
fn kept() -> Vec<(u32, PathBuf)> {
    let mut kept = Vec::new();
    for version in fs::read_dir(folder("golden")).unwrap() {
        let version = version.unwrap().path();
        let number =
            version.file_name().unwrap().to_string_lossy().strip_prefix('v').unwrap().parse().unwrap();
        let databases = fs::read_dir(version).unwrap();
        kept.extend(databases.map(|database| (number, database.unwrap().path())));
    }
    kept.sort();
    kept
}

fn read_only() -> Options {
    Options::new().read_only(true)
}

#[test]
fn what_was_written_stays_readable_or_is_refused_by_its_version() {
    let current = format_version(&ALL[0].make().unwrap());
    let kept = kept();
    assert!(!kept.is_empty());
    for (version, path) in kept {
        let name = path.display();
        match Database::open(&path, &read_only()) {
            Err(Error::UnsupportedFormat { found, .. }) if version != current => assert_eq!(found, version),
            Err(error) => panic!("{name}: {error}"),
            Ok(database) => {
                check(&database, &path);
                drop(database);
                check_recovered(&path);
            }
        }
    }
}

/// Compares what a database holds with what was written down when it was made.
fn check(database: &Database, path: &Path) {
    let name = path.display();
    database.verify().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(digests(database).unwrap(), fs::read_to_string(path.join(DIGESTS)).unwrap(), "{name}");
}

/// Opens a copy for writing, which recovers it, and compares that, and then the same after another commit.
fn check_recovered(path: &Path) {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, directory.path().join(file.file_name().unwrap())).unwrap();
    }
    let options = Options::new().create(false).retention(Retention::All);
    let database = Database::open(directory.path(), &options).unwrap();
    check(&database, directory.path());
    let mut write = database.begin_write().unwrap();
    write.put(b"written later", b"1").unwrap();
    write.commit().unwrap();
    database.checkpoint().unwrap();
    database.verify().unwrap();
    let before = fs::read_to_string(path.join(DIGESTS)).unwrap();
    assert!(digests(&database).unwrap().starts_with(&before), "{}", path.display());
}

#[test]
fn the_same_steps_leave_the_same_bytes() {
    for golden in ALL {
        let made = golden.make().unwrap();
        assert_eq!(made, golden.make().unwrap(), "{} is not made the same every time", golden.name);
        let path = golden.folder(format_version(&made));
        if !path.exists() && std::env::var_os(BLESS).is_some() {
            keep(&path, &made);
        }
        compare(golden, &path, &made);
    }
}

/// Adds a database to those that are kept.
fn keep(path: &Path, made: &Files) {
    write_all(path, made).unwrap();
    let database = Database::open(path, &read_only()).unwrap();
    fs::write(path.join(DIGESTS), digests(&database).unwrap()).unwrap();
}

fn compare(golden: Golden, path: &Path, made: &Files) {
    let name = golden.name;
    assert!(
        path.exists(),
        "{} is missing; make it with\n{BLESS}=1 cargo test -p proofmark-properties golden",
        path.display()
    );
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: BTreeSet<String> = names.filter(|name| name != DIGESTS).collect();
    let difference = if kept != made.keys().cloned().collect() {
        Some(format!("other files: {:?} instead of {kept:?}", made.keys()))
    } else {
        made.iter().find_map(|(file, bytes)| {
            let kept = fs::read(path.join(file)).unwrap();
            let at = kept.iter().zip(bytes).position(|(kept, made)| kept != made);
            let at = at.or((kept.len() != bytes.len()).then(|| kept.len().min(bytes.len())))?;
            Some(format!("other bytes in `{file}`, from byte {at} on"))
        })
    };
    if let Some(difference) = difference {
        panic!(
            "The steps of the golden database `{name}` leave {difference}.\n\
             If the format has changed, raise FORMAT_VERSION, leave the files of the old version where they are, and\n\
             make those of the new one with `{BLESS}=1 cargo test -p proofmark-properties golden`.\n\
             If it has not, and only where the engine puts things has changed, see that the files as they are can still\n\
             be read (the other test of this suite says so), remove {} and make it anew in the same way.",
            path.display()
        );
    }
}

#[test]
fn the_index_names_every_golden_database() {
    let index = fs::read_to_string(folder("README.md")).unwrap();
    let named: BTreeSet<&str> =
        index.split('`').filter(|word| word.starts_with("golden/v") && !word.contains('<')).collect();
    let kept: BTreeSet<String> = kept()
        .iter()
        .map(|(_, path)| path.strip_prefix(folder("")).unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, kept.iter().map(String::as_str).collect());
}
