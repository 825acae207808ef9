//! Plans on disk: reading one, with an error that shows the place, and writing one, over nothing that was not asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str;

use anyhow::{Context, anyhow, bail};
use proofmark_model::ParseError;
use proofmark_sim::plan::Plan;

/// The most characters of a line that an error shows, on either side of the place.
const SHOWN_MAX: usize = 60;

/// The most bytes of a plan file: well beyond what the keys and values of a plan may come to.
const PLAN_FILE_BYTES_MAX: u64 = 2 << 30;

/// So many names are tried for a file beside another one.
const ASIDE_COUNT_MAX: u32 = 1000;

/// Reads a plan file.
pub(super) fn read(path: &Path) -> anyhow::Result<Plan> {
    let bytes = match fs::metadata(path).map(|metadata| (metadata.is_file(), metadata.len())) {
        Ok((false, _)) => bail!("{} is no regular file, so it is no plan", path.display()),
        Ok((true, bytes)) if bytes > PLAN_FILE_BYTES_MAX => {
            bail!("{} has {bytes} bytes; a plan has at most {PLAN_FILE_BYTES_MAX}", path.display())
        }
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no file {}", path.display()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let text = str::from_utf8(&bytes).map_err(|error| {
        let valid = str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid up to there");
        let line = valid.matches('\n').count() + 1;
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        anyhow!("{}:{line}:{column}: this is no UTF-8 text, so it is no plan", path.display())
    })?;
    text.parse().map_err(|error| anyhow!("{}", show(path, text, &error)))
}

/// Refuses a name that is taken, before there is anything to write: what is found in hours is not to end there.
pub(super) fn check_new(path: &Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(refusal(path, io::ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// Writes a plan to a file that does not exist yet, as a whole or not at all: half a plan would be another plan.
pub(super) fn write_new(path: &Path, plan: &Plan) -> anyhow::Result<()> {
    replace(path, &plan.to_string(), false)
}

/// Writes a file as a whole or not at all: whoever looks finds what was there before, or all of `text`, even after a power
/// loss. What is there is replaced only if it `may_replace` it.
pub(super) fn replace(path: &Path, text: &str, may_replace: bool) -> anyhow::Result<()> {
    let (aside, mut file) = create_aside(path).map_err(|error| refusal(path, error))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    drop(file);
    let placed =
        written.and_then(|()| if may_replace { fs::rename(&aside, path) } else { link(&aside, path) });
    if placed.is_err() || !may_replace {
        // It was never asked for. If it cannot be removed, what was asked for is done, or not, all the same.
        let _ = fs::remove_file(&aside);
    }
    placed.map_err(|error| refusal(path, error))?;
    sync_directory(path).with_context(|| format!("{} was written, but may not be durable", path.display()))
}

/// Makes the name of a file durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    match File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()) {
        // Not every file system has syncs of directories.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

/// A new file beside `path`, under a name that nobody has.
fn create_aside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 0_u32;
    loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(if number == 0 { ".partial".to_owned() } else { format!(".{number}.partial") });
        match open_new(Path::new(&aside)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < ASIDE_COUNT_MAX => {
                number += 1;
            }
            opened => return opened.map(|file| (PathBuf::from(aside), file)),
        }
    }
}

/// Gives a file the name `path` as well, which nobody must have.
fn link(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Not every file system has links. Without them the name is taken first, and leads to an empty file for a
            // moment.
            open_new(path)?;
            fs::rename(aside, path).inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
        linked => linked,
    }
}

fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn refusal(path: &Path, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return anyhow!("{} exists already, and is left as it is", path.display());
    }
    anyhow::Error::new(error).context(format!("cannot write {}", path.display()))
}

/// The error with its place, as compilers print it.
fn show(path: &Path, text: &str, error: &ParseError) -> String {
    let ParseError { line, column, message } = error;
    let before = column - 1;
    let skipped = before.saturating_sub(SHOWN_MAX);
    let shown: String = text
        .lines()
        .nth(line - 1)
        .unwrap_or_default()
        .trim_start_matches('\u{feff}')
        .chars()
        .skip(skipped)
        .take(2 * SHOWN_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let margin = " ".repeat(line.to_string().len());
    let indent = " ".repeat(before - skipped);
    format!(
        "{message}\n{margin}--> {}:{line}:{column}\n{margin} |\n{line} | {shown}\n{margin} | {indent}^",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_its_place() {
        let text = "proofmark plan 1\nc0 commit slowly\n";
        let error = text.parse::<Plan>().unwrap_err();
        let shown = show(Path::new("a.plan"), text, &error);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("slowly"), "{shown}");
        assert_eq!(lines[1..], [" --> a.plan:2:11", "  |", "2 | c0 commit slowly", "  |           ^"]);
    }

    #[test]
    fn a_byte_order_mark_moves_nothing() {
        let text = "\u{feff}proofmark plan 2\n";
        let shown = show(Path::new("a.plan"), text, &text.parse::<Plan>().unwrap_err());
        assert!(shown.ends_with("\n1 | proofmark plan 2\n  |                ^"), "{shown}");
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let text = format!("{}x{}", "é".repeat(100), "-".repeat(100));
        let error = ParseError { line: 1, column: 101, message: "no".to_owned() };
        let shown = show(Path::new("a.plan"), &text, &error);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3], format!("1 | {}x{}", "é".repeat(60), "-".repeat(59)));
        assert_eq!(lines[4], format!("  | {}^", " ".repeat(60)));
    }

    #[test]
    fn a_file_is_written_whole_beside_those_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let [path, others] = ["a.plan", "a.plan.partial"].map(|name| directory.path().join(name));
        fs::write(&others, "precious").unwrap();
        replace(&path, "first", false).unwrap();
        let refused = replace(&path, "second", false).unwrap_err();
        assert!(refused.to_string().contains("exists already"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        replace(&path, "third", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(fs::read_to_string(&others).unwrap(), "precious");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        let nowhere = replace(&directory.path().join("absent/a.plan"), "text", true).unwrap_err();
        assert!(nowhere.to_string().starts_with("cannot write "), "{nowhere}");
    }
}
