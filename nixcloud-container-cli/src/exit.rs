//! What the program's exit code says.

use std::process::ExitCode;

use nixcloud_container::{Error, ErrorKind, Exit, PlanVerdict, Readiness};

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
    /// 4: the guest is ready, but units of it have failed.
    Degraded,
    /// 124: the guest runs, but was not ready in time.
    NotReady,
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
            Self::Degraded => 4,
            Self::NotReady => 124,
            Self::Guest(code) => code,
        }
    }
}

impl From<Exit> for ExitStatus {
    fn from(exit: Exit) -> Self {
        Self::Guest(exit.shell_code())
    }
}

/// How a start ends, by what was found of its guest, where that was waited for.
impl From<Option<&Readiness>> for ExitStatus {
    fn from(readiness: Option<&Readiness>) -> Self {
        if readiness.is_none_or(Readiness::is_good) { Self::Done } else { Self::Degraded }
    }
}

impl From<&Error> for ExitStatus {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::Timeout if matches!(error, Error::NotReady { .. }) => Self::NotReady,
            _ => Self::Failed,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
