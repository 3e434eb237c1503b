//! How a command in a guest ended.

use serde::{Deserialize, Serialize};

/// What a shell exits with where it finds no such program.
pub(crate) const NOT_FOUND: i32 = 127;

/// What it exits with where the program cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;

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
}

impl Exit {
    /// The code as a shell gives it: 128 and the signal for a signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::NotFound => NOT_FOUND,
            Self::NotExecutable => NOT_EXECUTABLE,
        }
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
