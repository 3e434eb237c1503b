//! Recursive removal that stays inside its directory, whatever a hostile guest has put there.
//!
//! The walk holds two file descriptors and a list of names, whatever the depth: it enters a directory by `openat2`
//! (no symbolic link, no mount) and leaves it by `..`, which must then be the very directory it came from. Names
//! are only ever resolved in an open directory, so that neither the length of a path nor a rename behind our back
//! matters.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use super::beneath::{self, DIRECTORY};
use super::{atomic, mounts};

/// Bytes of directory entries that are read at once (some 800 names).
const BATCH: usize = 32 * 1024;
/// Names of directories that are remembered over the whole walk. Beyond that, directories are read again.
const MOST_PENDING: usize = 100_000;
/// How often directories may turn out to be filled again while they are being emptied.
const MOST_REFILLS: usize = 1_000;
/// The longest path that an error shows whole, in bytes.
const LONGEST_SHOWN: usize = 4096;

/// Why a directory was not, or not wholly, removed. Every path is that of the entry that was in the way; one of
/// more than 4,096 bytes is shown with its middle left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is mounted at or below the directory. Nothing was removed, unless the mount came while we did.
    #[error("{mount_point} is a mount point, unmount it first")]
    Mounted {
        /// The mount point.
        mount_point: PathBuf,
    },
    /// The path names a file, a symbolic link or the like, or has no last component. It was left alone.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// Another process moved a directory while we were in it.
    #[error("{path} was moved while it was being removed")]
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// Another process fills the directory as fast as we empty it.
    #[error("{path} is being filled while it is being removed")]
    Refilled {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refused (an immutable flag is `EPERM`).
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The entry.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Removes the directory `path` and all that is in it. What symbolic links lead to is not touched; a path that
/// does not exist is fine. Stops at the first failure; a second call goes on from there.
///
/// The parents of `path` are trusted, its contents are not.
///
/// # Errors
///
/// [`Error`]. With [`Error::Mounted`] from a mount that was there at the beginning, nothing was removed.
pub fn tree(path: &Path) -> Result<(), Error> {
    let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
    let not_a_directory = || Error::NotADirectory { path: path.to_owned() };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(not_a_directory()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(not_a_directory()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("inspect")(error)),
    }
    let canonical = parent.canonicalize().map_err(io("resolve"))?.join(name);
    tracing::debug!(path = %canonical.display(), "removing");
    let mounted = mounts::at_or_below(&canonical).map_err(io("look for mounts below"))?;
    if let Some(mount_point) = mounted.into_iter().next() {
        return Err(Error::Mounted { mount_point });
    }
    let parent = atomic::open_dir(parent).map_err(|errno| io("open the directory of")(errno.into()))?;
    let name = CString::new(name.as_bytes()).map_err(|_| not_a_directory())?;
    Walk { shown: path, stack: Vec::new(), pending: 0, refills: 0, buffer: Vec::with_capacity(BATCH) }
        .run(&parent, name)
}

/// A directory that the walk is in.
struct Frame {
    /// Its name in the one above.
    name: CString,
    /// Device and inode of the one above, to know it again.
    above: (u64, u64),
    /// Directories in it that are not empty, still to be entered.
    pending: Vec<CString>,
}

struct Walk<'a> {
    shown: &'a Path,
    stack: Vec<Frame>,
    /// Names in all frames together.
    pending: usize,
    refills: usize,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn run(mut self, parent: &OwnedFd, name: CString) -> Result<(), Error> {
        let mut here = match self.enter(parent.as_fd(), name)? {
            Some(top) => top,
            None => return Ok(()),
        };
        loop {
            if let Some(name) = self.next_directory(here.as_fd())? {
                if let Some(below) = self.enter(here.as_fd(), name)? {
                    here = below;
                }
                continue;
            }
            // Empty: out of it, and away with it.
            let above = if self.stack.len() == 1 { None } else { Some(self.leave(here.as_fd())?) };
            let Some(frame) = self.stack.pop() else { return Ok(()) };
            let dir = above.as_ref().unwrap_or(parent);
            match rustix::fs::unlinkat(dir, &frame.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    self.refilled(Some(&frame.name))?;
                    // Once more into it; `next_directory` of the one above would find it too, the top has none.
                    if above.is_none() {
                        match self.enter(parent.as_fd(), frame.name)? {
                            Some(top) => here = top,
                            None => return Ok(()),
                        }
                        continue;
                    }
                }
                Err(errno) => return Err(self.failed("remove", Some(&frame.name), errno)),
            }
            match above {
                Some(above) => here = above,
                None => return Ok(()),
            }
        }
    }

    /// Opens the directory `name` of `dir` and pushes its frame. `None` if there is no such directory any more.
    fn enter(&mut self, dir: BorrowedFd<'_>, name: CString) -> Result<Option<OwnedFd>, Error> {
        let above = self.identity(dir, Some(&name))?;
        match beneath::open_at(dir, Path::new(OsStr::from_bytes(name.to_bytes())), DIRECTORY) {
            Ok(opened) => {
                self.stack.push(Frame { name, above, pending: Vec::new() });
                Ok(Some(opened))
            }
            // Gone, or another kind of file since: the next reading of `dir` sees what is there.
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) if !self.stack.is_empty() => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::NotADirectory { path: self.path_of(Some(&name)) }),
            Err(errno) => Err(self.failed("open", Some(&name), errno)),
        }
    }

    /// Opens the directory above `dir`, which must be the one we came from.
    fn leave(&self, dir: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
        let flags = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let above = loop {
            match rustix::fs::openat2(dir, c"..", DIRECTORY, Mode::empty(), flags) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => break other.map_err(|errno| self.failed("leave", None, errno))?,
            }
        };
        let came_from = self.stack.last().map(|frame| frame.above);
        if came_from != Some(self.identity(above.as_fd(), None)?) {
            return Err(Error::Moved { path: self.path_of(None) });
        }
        Ok(above)
    }

    /// Removes what can be removed from `dir` without entering anything, and names a directory to be entered;
    /// `None` once `dir` is empty.
    fn next_directory(&mut self, dir: BorrowedFd<'_>) -> Result<Option<CString>, Error> {
        let mut emptied = false;
        loop {
            if let Some(name) = self.stack.last_mut().and_then(|frame| frame.pending.pop()) {
                self.pending -= 1;
                return Ok(Some(name));
            }
            rustix::fs::seek(dir, SeekFrom::Start(0)).map_err(|errno| self.failed("read", None, errno))?;
            let mut seen = false;
            loop {
                let batch = self.read_batch(dir)?;
                if batch.is_empty() {
                    break;
                }
                seen = true;
                let mut enough = false;
                for (name, kind) in batch {
                    if !self.remove_entry(dir, &name, kind)? {
                        enough |= !self.remember(name);
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
                self.refilled(None)?;
            }
            emptied = true;
        }
    }

    /// Keeps a directory's name in the frame; says whether there is room for more. The first always has room.
    fn remember(&mut self, name: CString) -> bool {
        let room = self.pending < MOST_PENDING;
        if let Some(frame) = self.stack.last_mut()
            && (room || frame.pending.is_empty())
        {
            frame.pending.push(name);
            self.pending += 1;
        }
        room
    }

    /// The next entries of `dir` from where it was last read; none at its end.
    fn read_batch(&mut self, dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Error> {
        let mut batch = Vec::new();
        let buffer: &mut [MaybeUninit<u8>] = self.buffer.spare_capacity_mut();
        let mut entries = RawDir::new(dir, buffer);
        let mut failure = None;
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        batch.push((name.to_owned(), entry.file_type()));
                    }
                }
                Err(errno) => {
                    failure = Some(errno);
                    break;
                }
            }
            // A buffer that held only the two dots must not look like the end.
            if entries.is_buffer_empty() && !batch.is_empty() {
                break;
            }
        }
        match failure {
            // An entry that was removed under us: what was read is read.
            None | Some(Errno::NOENT) => Ok(batch),
            Some(errno) => Err(self.failed("read", None, errno)),
        }
    }

    /// Removes an entry unless it is a directory with something in it; says whether it is gone.
    fn remove_entry(&self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<bool, Error> {
        let unlink = |flags| rustix::fs::unlinkat(dir, name, flags);
        if kind != FileType::Directory {
            match unlink(AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(true),
                // A directory since, or a file system that does not say what its entries are.
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(self.failed("remove", Some(name), errno)),
            }
        }
        match unlink(AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(Errno::NOTDIR) => match unlink(AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(errno) => Err(self.failed("remove", Some(name), errno)),
            },
            Err(errno) => Err(self.failed("remove", Some(name), errno)),
        }
    }

    fn refilled(&mut self, name: Option<&CStr>) -> Result<(), Error> {
        self.refills += 1;
        if self.refills > MOST_REFILLS {
            return Err(Error::Refilled { path: self.path_of(name) });
        }
        Ok(())
    }

    fn identity(&self, dir: BorrowedFd<'_>, name: Option<&CStr>) -> Result<(u64, u64), Error> {
        match rustix::fs::fstat(dir) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino)),
            Err(errno) => Err(self.failed("inspect", name, errno)),
        }
    }

    fn failed(&self, action: &'static str, name: Option<&CStr>, errno: Errno) -> Error {
        let path = self.path_of(name);
        match errno {
            // EXDEV is openat2's answer, EBUSY that of unlinkat, to a mount that came after we looked.
            Errno::XDEV | Errno::BUSY => Error::Mounted { mount_point: path },
            other => Error::Io { action, path, source: other.into() },
        }
    }

    /// The path of the directory the walk is in, or of `name` in it.
    fn path_of(&self, name: Option<&CStr>) -> PathBuf {
        // The first frame is the directory that was given, and so is a `name` without any frame.
        let inner: Vec<&CStr> =
            self.stack.iter().map(|frame| frame.name.as_c_str()).chain(name).skip(1).collect();
        let length: usize = inner.iter().map(|part| part.count_bytes() + 1).sum();
        let mut path = self.shown.to_owned();
        let (head, tail) = if length <= LONGEST_SHOWN { (inner.len(), 0) } else { (4, 4) };
        let os = |part: &&CStr| OsStr::from_bytes(part.to_bytes()).to_owned();
        path.extend(inner.iter().take(head).map(os));
        if tail > 0 {
            path.push("...");
            path.extend(inner.iter().skip(inner.len().saturating_sub(tail)).map(os));
        }
        path
    }
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
