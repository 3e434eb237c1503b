//! Recursive removal that stays inside its directory, whatever a hostile guest has put there.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, SeekFrom};
use rustix::io::Errno;

use super::error::FileError;
use super::walk::Way;
use super::{atomic, mounts};

/// Names of directories that are remembered over the whole walk. Beyond that, directories are read again.
const MOST_PENDING: usize = 100_000;

pub use super::walk::Error;

/// Removes the directory `path` and all that is in it. What symbolic links lead to is not touched; a path that
/// does not exist is fine. Stops at the first failure; a second call goes on from there.
///
/// The parents of `path` are trusted, its contents are not.
///
/// # Errors
///
/// [`Error`]. With [`Error::Mounted`] from a mount that was there at the beginning, nothing was removed.
pub fn tree(path: &Path) -> Result<(), Error> {
    let io = |action| FileError::at::<io::Error>(action, path);
    let not_a_directory = || Error::NotADirectory { path: path.to_owned() };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(not_a_directory()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(not_a_directory()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("inspect")(error).into()),
    }
    let canonical = parent.canonicalize().map_err(io("resolve"))?.join(name);
    tracing::debug!(path = %canonical.display(), "removing");
    let mounted = mounts::at_or_below(&canonical).map_err(io("look for mounts below"))?;
    if let Some(mount_point) = mounted.into_iter().next() {
        return Err(Error::Mounted { mount_point });
    }
    let parent = atomic::open_dir(parent).map_err(|errno| io("open the directory of")(errno.into()))?;
    let name = CString::new(name.as_bytes()).map_err(|_| not_a_directory())?;
    Walk { way: Way::new(path), pending: 0 }.run(&parent, name)
}

struct Walk<'a> {
    way: Way<'a>,
    /// Names in all frames together.
    pending: usize,
}

impl Walk<'_> {
    fn run(mut self, parent: &OwnedFd, name: CString) -> Result<(), Error> {
        let mut here = match self.way.enter(parent.as_fd(), name)? {
            Some(top) => top,
            None => return Ok(()),
        };
        loop {
            if let Some(name) = self.next_directory(here.as_fd())? {
                if let Some(below) = self.way.enter(here.as_fd(), name)? {
                    self.way.count_newer()?;
                    here = below;
                }
                continue;
            }
            // Empty: out of it, and away with it.
            let above = if self.way.stack.len() == 1 { None } else { Some(self.way.leave(here.as_fd())?) };
            let Some(frame) = self.way.stack.pop() else { return Ok(()) };
            let dir = above.as_ref().unwrap_or(parent);
            match rustix::fs::unlinkat(dir, &frame.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    self.way.refilled(Some(&frame.name))?;
                    // Once more into it; `next_directory` of the one above would find it too, the top has none.
                    if above.is_none() {
                        match self.way.enter(parent.as_fd(), frame.name)? {
                            Some(top) => here = top,
                            None => return Ok(()),
                        }
                        continue;
                    }
                }
                Err(errno) => return Err(self.way.failed("remove", Some(&frame.name), errno)),
            }
            match above {
                Some(above) => here = above,
                None => return Ok(()),
            }
        }
    }

    /// Removes what can be removed from `dir` without entering anything, and names a directory to be entered;
    /// `None` once `dir` is empty.
    fn next_directory(&mut self, dir: BorrowedFd<'_>) -> Result<Option<CString>, Error> {
        let mut emptied = false;
        loop {
            if let Some(name) = self.way.stack.last_mut().and_then(|frame| frame.pending.pop()) {
                self.pending -= 1;
                return Ok(Some(name));
            }
            rustix::fs::seek(dir, SeekFrom::Start(0))
                .map_err(|errno| self.way.failed("read", None, errno))?;
            let mut seen = false;
            loop {
                let batch = self.way.read_batch(dir)?;
                if batch.is_empty() {
                    break;
                }
                seen = true;
                let mut enough = false;
                for (name, kind) in batch {
                    if self.remove_entry(dir, &name, kind)? || self.remember(name) {
                        self.way.met()?;
                    } else {
                        enough = true;
                    }
                }
                // Reading on is quicker than reading again, but what is remembered has a limit.
                if enough {
                    break;
                }
            }
            if !seen {
                return Ok(None);
            }
            // What a second reading finds is new.
            if emptied {
                self.way.refilled(None)?;
            }
            emptied = true;
        }
    }

    /// Keeps a directory's name in the frame, unless that has enough of them. The first always has room.
    fn remember(&mut self, name: CString) -> bool {
        let room = self.pending < MOST_PENDING;
        match self.way.stack.last_mut() {
            Some(frame) if room || frame.pending.is_empty() => frame.pending.push(name),
            _ => return false,
        }
        self.pending += 1;
        true
    }

    /// Removes an entry unless it is a directory with something in it; says whether it is gone.
    fn remove_entry(&self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<bool, Error> {
        let unlink = |flags| rustix::fs::unlinkat(dir, name, flags);
        if kind != FileType::Directory {
            match unlink(AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(true),
                // A directory since, or a file system that does not say what its entries are.
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(self.way.failed("remove", Some(name), errno)),
            }
        }
        match unlink(AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(Errno::NOTDIR) => match unlink(AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(errno) => Err(self.way.failed("remove", Some(name), errno)),
            },
            Err(errno) => Err(self.way.failed("remove", Some(name), errno)),
        }
    }
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
