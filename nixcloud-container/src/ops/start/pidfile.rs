//! The file with the pid of a guest's init, for whoever asked for one.

use std::path::Path;

use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::host::Host;
use crate::model::observe::Cancel;
use crate::ops::power::terminate_locked;
use crate::store::record::Record;

/// Writes it. A guest whose file cannot be written is not left running.
pub(super) fn write(host: &Host, record: &Record, path: &Path, init: i32) -> Result<(), Error> {
    let written = atomic::write(path, format!("{init}\n").as_bytes(), 0o644, Durability::Volatile);
    written.map_err(|error| {
        let undo = terminate_locked(host, record, &Cancel::new()).map(drop);
        Error::from(error).undone(undo)
    })
}

/// Removes it if it is still that of this guest.
pub(super) fn remove(path: &Path, init: i32) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == init.to_string())
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::debug!(path = %path.display(), %error, "the pidfile stays behind");
    }
}
