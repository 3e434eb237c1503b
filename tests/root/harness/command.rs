//! The command itself, as a person or a script runs it in a lab.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Lab, lab};

/// What a command said, and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// Its exit code.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Told {
    /// Stdout of a command that must have succeeded.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout.trim_end().to_owned()
    }
}

/// The program, from the folder that this one was built into.
pub fn program() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let program = here.ancestors().nth(2).unwrap().join("nixcloud-container");
    assert!(program.is_file(), "{} is not built: `cargo build -p nixcloud-container-cli`", program.display());
    program
}

impl Lab {
    /// The lab's host configuration as a file.
    pub fn config_file(&self) -> PathBuf {
        let path = self.root().join("config.toml");
        if !path.exists() {
            fs::write(&path, toml::to_string(&lab::config(self.root())).unwrap()).unwrap();
        }
        path
    }

    /// The program, told about this lab, not yet run. Nothing of the caller's terminal gets in.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program());
        command.args(words).env("NIXCLOUD_CONTAINER_CONFIG", self.config_file()).stdin(Stdio::null());
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "NIXCLOUD_CONTAINER_LOG", "COLUMNS"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the program in this lab.
    pub fn cli<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Told {
        Self::told(&mut self.command(words))
    }

    /// Runs a line of words, split at blanks; `@web` stands for the lab's own name of `web`.
    pub fn line(&self, line: &str) -> Told {
        let words = line.split_whitespace();
        self.cli(words.map(|word| match word.strip_prefix('@') {
            Some(name) => self.name(name).to_string(),
            None => word.to_owned(),
        }))
    }

    pub fn told(command: &mut Command) -> Told {
        let output = command.output().unwrap();
        Told {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A text without what is this lab's own: its folder and the mark in names.
    pub fn plain(&self, text: &str) -> String {
        text.replace(self.root().to_str().unwrap(), "/lab").replace(self.mark(), "")
    }
}
