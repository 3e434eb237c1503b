//! Which lines of `/etc/subuid` and `/etc/subgid` are ours, noted before they are written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::store::subid::{Entry, SubidError};

/// The lines that are ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    #[serde(default)]
    line: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    file: PathBuf,
    /// Notes of versions whose lines were root's do not say so.
    #[serde(default = "root")]
    user: String,
    first: u64,
    count: u64,
}

fn root() -> String {
    "root".to_owned()
}

impl Note {
    fn entry(&self) -> Entry {
        Entry { user: self.user.clone(), first: self.first, count: self.count }
    }
}

impl Notes {
    /// What was noted; nothing where there is no such file.
    pub(crate) fn load(path: &Path) -> Result<Self, SubidError> {
        let failed = FileError::at("read", path);
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(toml::from_str(&text).map_err(|error| failed(std::io::Error::other(error)))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(failed(source).into()),
        }
    }

    /// Writes them to the disk, or removes the file where there are none.
    pub(crate) fn save(&self, path: &Path) -> Result<(), SubidError> {
        let failed = |action, source: std::io::Error| FileError::new(action, path, source);
        if self.line.is_empty() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed("remove", error).into())
                }
                _ => Ok(()),
            };
        }
        let text = toml::to_string(self).map_err(|error| failed("write", std::io::Error::other(error)))?;
        Ok(atomic::write(path, text.as_bytes(), 0o600, Durability::Synced)?)
    }

    /// The lines of one file.
    pub(crate) fn of(&self, file: &Path) -> Vec<Entry> {
        self.line.iter().filter(|note| note.file == file).map(Note::entry).collect()
    }

    /// The files that have lines of ours.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.line.iter().map(|note| note.file.clone()).collect();
        files.dedup();
        files
    }

    /// With these lines of a file in place of those that were noted.
    pub(crate) fn with(&self, file: &Path, lines: &[Entry]) -> Self {
        let others = self.line.iter().filter(|note| note.file != file).cloned();
        let new = lines.iter().map(|Entry { user, first, count }| Note {
            file: file.to_owned(),
            user: user.clone(),
            first: *first,
            count: *count,
        });
        Self { line: others.chain(new).collect() }
    }
}
