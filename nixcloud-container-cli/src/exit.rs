//! What the program's exit code says.

use std::process::ExitCode;

use nixcloud_container::{Error, ErrorKind, Exit};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// 0: done, or yes.
    Done,
    /// 1: refused, failed, or no.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 130: the user pressed Ctrl-C, and what had been begun was undone.
    Cancelled,
    /// The code of a command in a guest.
    Guest(u8),
}

impl ExitStatus {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cancelled => 130,
            Self::Guest(code) => code,
        }
    }
}

impl From<Exit> for ExitStatus {
    fn from(exit: Exit) -> Self {
        Self::Guest(exit.shell_code())
    }
}

impl From<&Error> for ExitStatus {
    fn from(error: &Error) -> Self {
        if error.kind() == ErrorKind::Cancelled { Self::Cancelled } else { Self::Failed }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
