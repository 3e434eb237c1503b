//! The files of records and of notes about running guests: read, written whole, removed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SCHEMA;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::model::name::ContainerName;

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record cannot be read.
    #[error(transparent)]
    Read(FileError),
    /// The record cannot be removed.
    #[error(transparent)]
    Remove(FileError),
    /// It is not one of ours.
    #[error("{} is damaged", .path.display())]
    #[non_exhaustive]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with the TOML.
        source: toml::de::Error,
    },
    /// A newer version wrote it.
    #[error("{} has schema {found}; this version reads up to {SCHEMA}", .path.display())]
    #[non_exhaustive]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the record.
        found: u32,
    },
    /// The record names another container than its file does.
    #[error("{} is the record of `{found}`", .path.display())]
    #[non_exhaustive]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The name in it.
        found: ContainerName,
    },
    /// It cannot be put into TOML.
    #[error("cannot write {} as TOML", .path.display())]
    #[non_exhaustive]
    Encode {
        /// The file.
        path: PathBuf,
        /// What TOML cannot hold.
        source: toml::ser::Error,
    },
    /// The record cannot be written.
    #[error("cannot write the record")]
    Write(#[from] atomic::Error),
}

/// The bit of a file's mode that says of a record that its container is being destroyed: to set it takes no space.
pub(super) const CONDEMNED: u32 = 0o1000;

/// What is in a file.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) condemned: bool,
}

/// A file, or `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Text>, RecordError> {
    let read = || {
        let mut file = File::open(path)?;
        let condemned = file.metadata()?.mode() & CONDEMNED != 0;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok::<_, io::Error>(Text { text, condemned })
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Read(FileError::new("read", path, source))),
    }
}

pub(super) fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<(), RecordError> {
    let text =
        toml::to_string(value).map_err(|source| RecordError::Encode { path: path.to_owned(), source })?;
    atomic::write(path, text.as_bytes(), 0o600, durability)?;
    Ok(())
}

pub(super) fn remove(path: &Path) -> Result<(), RecordError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Remove(FileError::new("remove", path, source)))
        }
        _ => Ok(()),
    }
}
