//! What the file system refuses: one shape for all that work on files.

use std::io;
use std::path::{Path, PathBuf};

/// Something could not be done to a file or a folder. Its text has the verb and the path (`cannot open /etc/subuid`),
/// `source()` what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", .path.display())]
#[non_exhaustive]
pub struct FileError {
    /// What was attempted: a verb, with the words that stand between it and the path (`sync the directory of`).
    pub action: &'static str,
    /// To which file or folder; absolute wherever the caller named it so.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// As [`new`](Self::new), for what `map_err` takes.
    pub(crate) fn at<S: Into<io::Error>>(
        action: &'static str,
        path: impl AsRef<Path> + Copy,
    ) -> impl Fn(S) -> Self + Copy {
        move |source| Self::new(action, path, source)
    }
}
