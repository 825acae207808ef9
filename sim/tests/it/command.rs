//! Running the command, and looking at what it left on disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// How the command ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The command, in a directory of its own.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
    command.current_dir(directory).env_remove("CLICOLOR_FORCE").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the command in `directory`.
pub(crate) fn proofmark<S: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> Answer {
    Answer::of(spawn(command(directory).args(arguments)).wait_with_output().unwrap())
}

/// Starts a process.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap()
}

/// What Ctrl-C does.
pub(crate) fn interrupt(process: u32) {
    let mut kill = Command::new("sh");
    let status = spawn(kill.args(["-c", "kill -INT \"$0\"", &process.to_string()])).wait().unwrap();
    assert!(status.success());
}

/// Everything below a directory, byte for byte.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), b"a directory".to_vec());
            found.append(&mut contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

impl Answer {
    pub(crate) fn of(output: Output) -> Answer {
        Answer {
            code: output.status.code().expect("it was not killed by a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts that the command refused, said why on standard error, and said nothing else.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reasons: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{self:?}");
        assert!(self.err.starts_with("error: "), "{}", self.err);
        for reason in reasons {
            assert!(self.err.contains(reason), "no {reason:?} in {}", self.err);
        }
    }

    /// Asserts that nothing was wrong.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        assert_eq!(self.code, 0, "{self:?}");
        assert!(
            !self.out.contains('\x1b') && !self.err.contains('\x1b'),
            "colours without a terminal: {self:?}"
        );
    }

    /// The figure that a table gives for `name`.
    #[track_caller]
    pub(crate) fn figure(&self, name: &str) -> &str {
        let rows = self.out.lines().filter_map(|line| line.strip_prefix('│')?.strip_suffix('│'));
        let mut figures =
            rows.filter_map(|row| row.trim().strip_prefix(name)).filter(|rest| rest.starts_with("  "));
        figures.next().unwrap_or_else(|| panic!("no {name:?} in {}", self.out)).trim()
    }

    /// The number that a table gives for `name`.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let figure = self.figure(name);
        figure.replace(',', "").parse().unwrap_or_else(|_| panic!("{name} is {figure}"))
    }
}
