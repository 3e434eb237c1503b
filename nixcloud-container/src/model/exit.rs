//! How a command in a guest ended.

use serde::{Deserialize, Serialize};

/// What a shell exits with where it finds no such program.
pub(crate) const NOT_FOUND: i32 = 127;

/// What it exits with where the program cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;

/// What `timeout` exits with where the command took too long.
pub(crate) const TIMED_OUT: i32 = 124;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was never run: the guest has no such program.
    NotFound,
    /// It was never run: the guest has it and cannot execute it.
    NotExecutable,
    /// It took longer than it might, and was ended with all that it had started.
    TimedOut,
    /// It ended after the caller had cancelled it, as it chose: it may even have taken the signal and gone on to its end.
    #[non_exhaustive]
    Cancelled {
        /// The code that it ended with, as a shell gives it.
        code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
}

impl Exit {
    /// The code as a shell gives it: 128 and the signal for a signal, 124 (as `timeout` has it) for one that took too long.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::NotFound => NOT_FOUND,
            Self::NotExecutable => NOT_EXECUTABLE,
            Self::TimedOut => TIMED_OUT,
            Self::Cancelled { code, .. } => code,
        }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        match self {
            Self::Signal(signal) => Some(signal),
            Self::Cancelled { signal, .. } => signal,
            _ => None,
        }
    }

    /// The same, of one that the caller had cancelled.
    pub(crate) const fn cancelled(self) -> Self {
        Self::Cancelled { code: self.code(), signal: self.signal() }
    }

    /// The same as the exit code of a process.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        u8::try_from(self.code() & 0xff).unwrap_or(u8::MAX)
    }

    /// Whether it exited with 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}
