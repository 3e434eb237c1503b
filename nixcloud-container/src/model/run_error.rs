//! What is wrong with a command that was to be run: the caller's fault, and none of LXC's.

use std::io;
use std::path::PathBuf;

/// Why a command cannot be run as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No program is named.
    #[error("no program is named")]
    NoProgram,
    /// A variable's name is empty, or has `=` in it.
    #[error("{name:?} cannot name an environment variable")]
    #[non_exhaustive]
    Variable {
        /// The name.
        name: String,
    },
    /// A text has a NUL byte in it, which ends texts for the kernel.
    #[error("{what} has a NUL byte in it")]
    #[non_exhaustive]
    Nul {
        /// Which text.
        what: &'static str,
    },
    /// The guest has no such folder, or the command's user may not enter it.
    #[error("the command cannot start in {}", .folder.display())]
    #[non_exhaustive]
    Folder {
        /// The folder, as a path of the guest.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}
