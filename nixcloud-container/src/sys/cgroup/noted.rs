//! The limits of a guest as they are noted on the disk, for the program that LXC runs at each boot.

use std::fs;
use std::io;
use std::path::Path;

use crate::fs::atomic::{self, Durability};
use crate::model::resources::Limit;

/// Reads a note. There are none where there is no note.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn load(path: &Path) -> io::Result<Vec<Limit>> {
    match fs::read(path) {
        Ok(json) => Ok(serde_json::from_slice(&json)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes a note where it differs.
///
/// # Errors
/// The file system's.
pub fn save(path: &Path, limits: &[Limit]) -> Result<(), atomic::Error> {
    if limits.is_empty() && !path.exists() {
        return Ok(());
    }
    let json = serde_json::to_vec(limits).unwrap_or_default();
    atomic::write_if_changed(path, &json, 0o640, Durability::Synced).map(drop)
}
