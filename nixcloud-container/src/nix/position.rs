//! Places in Nix files, as Nix names them in what it prints.

use std::fmt;
use std::path::PathBuf;

use crate::model::setters::setters;

/// Where in a Nix file something is. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The file, absolute.
    pub file: PathBuf,
    /// The line.
    pub line: u64,
    /// The column, where Nix gives one.
    pub column: Option<u64>,
}

setters!(Position: "A line." (file: PathBuf, line: u64) {
    with_column => column: Option<u64>,
});

impl Position {
    /// `None` when `file` is no file, such as Nix's `(string)`.
    pub(super) fn at(file: &str, line: u64, column: Option<u64>) -> Option<Self> {
        file.starts_with('/').then(|| Self { file: file.into(), line, column })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}
