//! What the program's exit code says.

use std::process::ExitCode;

use nixcloud_container::{Error, ErrorKind, Exit, PlanVerdict};

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
    /// From 10 on: what a plan comes to.
    Verdict(PlanVerdict),
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
            Self::Verdict(verdict) => match verdict {
                PlanVerdict::Nothing => 0,
                PlanVerdict::Live => 10,
                PlanVerdict::Restart => 11,
                PlanVerdict::NextStart => 12,
                PlanVerdict::Create | PlanVerdict::Recreate => 13,
                // And what a later version of the library may say.
                _ => 14,
            },
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
