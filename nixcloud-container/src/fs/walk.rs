//! Walking through a directory tree that a hostile guest has filled, without leaving it.
//!
//! A walk holds two file descriptors and a list of names, whatever the depth: it enters a directory by `openat2`
//! (no symbolic link, no mount) and leaves it by `..`, which must then be the very directory it came from. Names
//! are only ever resolved in an open directory, so that neither the length of a path nor a rename behind our back
//! matters.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, RawDir, ResolveFlags};
use rustix::io::Errno;

use super::beneath::{self, DIRECTORY};
use super::error::FileError;

/// Bytes of directory entries that are read at once (some 800 names).
const BATCH: usize = 32 * 1024;
/// The longest path that an error shows whole, in bytes.
const LONGEST_SHOWN: usize = 4096;

/// Why a tree was not, or not wholly, walked through. Every path is that of the entry that was in the way; one of
/// more than 4,096 bytes is shown with its middle left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is mounted at or below the directory. Nothing was done, unless the mount came while we did.
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
    #[error("{path} was moved while we were in it")]
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
    #[error(transparent)]
    Io(#[from] FileError),
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
}

/// A directory that the walk is in.
pub(super) struct Frame {
    /// Its name in the one above.
    pub(super) name: CString,
    /// Device and inode of the one above, to know it again.
    above: (u64, u64),
    /// Directories in it, still to be entered.
    pub(super) pending: Vec<CString>,
    /// Where reading it goes on, once those are done.
    pub(super) position: u64,
}

/// The way from the tree's root to where the walk is.
pub(super) struct Way<'a> {
    shown: &'a Path,
    pub(super) stack: Vec<Frame>,
    buffer: Vec<u8>,
}

impl<'a> Way<'a> {
    /// `shown` is what errors call the tree's root.
    pub(super) fn new(shown: &'a Path) -> Self {
        Self { shown, stack: Vec::new(), buffer: Vec::with_capacity(BATCH) }
    }

    /// Begins in an open directory, which is never left.
    pub(super) fn begin(&mut self) {
        self.stack.push(Frame { name: CString::default(), above: (0, 0), pending: Vec::new(), position: 0 });
    }

    /// Opens the directory `name` of `dir` and pushes its frame. `None` if there is no such directory any more.
    pub(super) fn enter(&mut self, dir: BorrowedFd<'_>, name: CString) -> Result<Option<OwnedFd>, Error> {
        let above = self.identity(dir, Some(&name))?;
        match beneath::open_at(dir, Path::new(OsStr::from_bytes(name.to_bytes())), DIRECTORY) {
            Ok(opened) => {
                self.stack.push(Frame { name, above, pending: Vec::new(), position: 0 });
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
    pub(super) fn leave(&self, dir: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
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

    /// The next entries of `dir` from where it was last read; none at its end.
    pub(super) fn read_batch(&mut self, dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Error> {
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

    pub(super) fn identity(&self, dir: BorrowedFd<'_>, name: Option<&CStr>) -> Result<(u64, u64), Error> {
        match rustix::fs::fstat(dir) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino)),
            Err(errno) => Err(self.failed("inspect", name, errno)),
        }
    }

    pub(super) fn failed(&self, action: &'static str, name: Option<&CStr>, errno: Errno) -> Error {
        let path = self.path_of(name);
        match errno {
            // EXDEV is openat2's answer, EBUSY that of unlinkat, to a mount that came after we looked.
            Errno::XDEV | Errno::BUSY => Error::Mounted { mount_point: path },
            other => FileError::new(action, &path, other).into(),
        }
    }

    /// The path of the directory the walk is in, or of `name` in it.
    pub(super) fn path_of(&self, name: Option<&CStr>) -> PathBuf {
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
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_shown_with_its_middle_left_out() {
        let frame = |name: &str| Frame {
            name: CString::new(name).unwrap(),
            above: (0, 0),
            pending: vec![],
            position: 0,
        };
        let mut way = Way { shown: Path::new("/top"), stack: vec![frame("top")], buffer: vec![] };
        assert_eq!(way.path_of(Some(c"x")), Path::new("/top/x"));
        way.stack.extend((0..3000).map(|at| frame(&at.to_string())));
        assert_eq!(way.path_of(Some(c"x")), Path::new("/top/0/1/2/3/.../2997/2998/2999/x"));
    }
}
