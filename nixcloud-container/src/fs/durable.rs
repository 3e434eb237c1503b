//! Bringing to the disk what others have written: the entries of a folder, or all of a file system.
//!
//! What [`atomic`](super::atomic) writes is synced there. This is for what other programs make (Nix its links and store
//! paths), for folders, and for names that were removed.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Lets the names that a folder has by now, and what was removed from it, survive a power cut. A folder that is not there
/// has none.
///
/// # Errors
///
/// What the kernel said. A file system that keeps nothing on a disk, or is not written to, is no error.
pub fn entries(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let synced = match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
        Ok(folder) => rustix::fs::fsync(folder),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => Err(errno),
    };
    passed_over(synced)
}

/// Lets all that was written to the file system of `place` survive a power cut.
///
/// # Errors
///
/// What the kernel said, also where something could not be written since it was last asked.
pub fn file_system(place: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    passed_over(rustix::fs::openat(CWD, place, flags, Mode::empty()).and_then(rustix::fs::syncfs))
}

fn passed_over(synced: Result<(), Errno>) -> io::Result<()> {
    match synced {
        Ok(()) | Err(Errno::INVAL | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_synced_and_what_is_none_is_told() {
        let temp = tempfile::tempdir().unwrap();
        entries(temp.path()).unwrap();
        entries(&temp.path().join("gone")).unwrap();
        file_system(temp.path()).unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(entries(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        // No folder behind a link is meant: a guest may have planted it.
        std::os::unix::fs::symlink(temp.path(), temp.path().join("link")).unwrap();
        entries(&temp.path().join("link")).unwrap_err();
    }
}
