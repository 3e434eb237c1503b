//! run and login.

use nixcloud_container::{ContainerName, Exit};
use serde::Serialize;

use super::View;
use crate::screen::printer::Printer;

/// How a command in a guest ended, and what it said.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RunView {
    /// The container.
    name: String,
    /// The exit code as a shell has it: 127 not found, 126 not executable, 124 too slow, 128 and the signal's number.
    exit_code: u8,
    /// The signal that ended it.
    signal: Option<i32>,
    /// Whether it was ended since it took too long.
    timed_out: bool,
    /// What it wrote to stdout; null for `login`.
    stdout: Option<Captured>,
    /// What it wrote to stderr; null for `login`.
    stderr: Option<Captured>,
}

/// What a command wrote.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Captured {
    /// As text; bytes that are no UTF-8 are replaced.
    text: String,
    /// Whether bytes were replaced.
    lossy: bool,
    /// Whether more was written than is kept: 16 MiB.
    truncated: bool,
}

impl Captured {
    pub(crate) fn new(bytes: Vec<u8>, truncated: bool) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, lossy: false, truncated },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Self { text, lossy: true, truncated }
            }
        }
    }
}

impl From<nixcloud_container::Captured> for Captured {
    fn from(said: nixcloud_container::Captured) -> Self {
        Self::new(said.bytes, said.truncated)
    }
}

impl RunView {
    pub(crate) fn new(name: &ContainerName, exit: Exit, said: Option<(Captured, Captured)>) -> Self {
        let (signal, timed_out) = (exit.signal(), exit == Exit::TimedOut);
        let (stdout, stderr) = said.unzip();
        Self { name: name.to_string(), exit_code: exit.shell_code(), signal, timed_out, stdout, stderr }
    }
}

impl View for RunView {
    /// The command has said it all itself.
    fn tell(&self, _printer: &Printer) {}
}
