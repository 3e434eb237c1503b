//! Whether a file system has no room for anything new: what gives something back goes on without.

use std::io;

use rustix::io::Errno;

/// Whether the file system is full, out of inodes, over a quota or read-only.
#[must_use]
pub fn lacks(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::ROFS)
}

/// As [`lacks`], for the error of a call of the standard library.
#[must_use]
pub fn lacked(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| lacks(Errno::from_raw_os_error(number)))
}
