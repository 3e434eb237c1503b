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

use rustix::fs::{FileType, Mode, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::beneath::{self, DIRECTORY};
use super::error::FileError;

/// Bytes of directory entries that are read at once (some 800 names).
const BATCH: usize = 32 * 1024;
/// How often a directory may turn out to have been filled again while it is gone through.
const MOST_REFILLS: u32 = 1_000;
/// After how many entries more than a directory can have had at first it counts as filled once more.
const REFILL: u64 = 128;
/// How many directories may be newer than the walk. (A clock that was set back makes all of them look so: whoever is
/// stopped by that has got on by as many of them.)
const MOST_NEWER: u32 = 100_000;
/// The longest path that an error shows whole, in bytes.
const LONGEST_SHOWN: usize = 4096;

/// Why a tree was not, or not wholly, walked through. Every path is that of the entry that was in the way; one of
/// more than 4,096 bytes is shown with its middle left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is mounted at or below the directory. Nothing was done, unless the mount came while we did.
    #[error("{mount_point} is a mount point, unmount it first")]
    #[non_exhaustive]
    Mounted {
        /// The mount point.
        mount_point: PathBuf,
    },
    /// The path names a file, a symbolic link or the like, or has no last component. It was left alone.
    #[error("{path} is not a directory")]
    #[non_exhaustive]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// Another process moved a directory while we were in it.
    #[error("{path} was moved while we were in it")]
    #[non_exhaustive]
    Moved {
        /// The path that the directory had.
        path: PathBuf,
    },
    /// Another process fills the directory as fast as we go through it.
    #[error("{path} is being filled while it is being gone through")]
    #[non_exhaustive]
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
    /// Its device and inode, to know it again.
    own: (u64, u64),
    /// How many entries more may be met before it counts as filled again. No entry takes less than a byte of its
    /// directory's size, on any file system.
    expected: u64,
    /// When it had last been changed, in seconds and nanoseconds.
    changed: (i64, i64),
    /// Directories in it, still to be entered.
    pub(super) pending: Vec<CString>,
    /// Where reading it goes on, once those are done.
    pub(super) position: u64,
}

impl Frame {
    fn of(name: CString, stat: &Stat) -> Self {
        Self {
            name,
            own: (stat.st_dev, stat.st_ino),
            expected: u64::try_from(stat.st_size).unwrap_or(0).max(REFILL),
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            pending: Vec::new(),
            position: 0,
        }
    }
}

/// The way from the tree's root to where the walk is.
///
/// It ends, whatever another process adds meanwhile: what a directory can have had is known when it is entered, and
/// directories made since are counted.
pub(super) struct Way<'a> {
    shown: &'a Path,
    pub(super) stack: Vec<Frame>,
    buffer: Vec<u8>,
    /// When the walk began, in seconds and nanoseconds as the kernel stamps files.
    began: (i64, i64),
    refills_left: u32,
    newer_left: u32,
}

impl<'a> Way<'a> {
    /// `shown` is what errors call the tree's root.
    pub(super) fn new(shown: &'a Path) -> Self {
        let began = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Self {
            shown,
            stack: Vec::new(),
            buffer: Vec::with_capacity(BATCH),
            began: (began.tv_sec, began.tv_nsec),
            refills_left: MOST_REFILLS,
            newer_left: MOST_NEWER,
        }
    }

    /// Begins in an open directory, which is never left.
    pub(super) fn begin(&mut self, top: BorrowedFd<'_>) -> Result<(), Error> {
        let stat = self.inspect(top, None)?;
        self.stack.push(Frame::of(CString::default(), &stat));
        Ok(())
    }

    /// Opens the directory `name` of `dir` and pushes its frame. `None` if there is no such directory any more.
    pub(super) fn enter(&mut self, dir: BorrowedFd<'_>, name: CString) -> Result<Option<OwnedFd>, Error> {
        match beneath::open_at(dir, Path::new(OsStr::from_bytes(name.to_bytes())), DIRECTORY) {
            Ok(opened) => {
                let stat = self.inspect(opened.as_fd(), Some(&name))?;
                self.stack.push(Frame::of(name, &stat));
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
        let came_from = self.stack.iter().nth_back(1).map(|frame| frame.own);
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
        self.inspect(dir, name).map(|stat| (stat.st_dev, stat.st_ino))
    }

    fn inspect(&self, dir: BorrowedFd<'_>, name: Option<&CStr>) -> Result<Stat, Error> {
        rustix::fs::fstat(dir).map_err(|errno| self.failed("inspect", name, errno))
    }

    /// An entry of the directory that the walk is in was met for the first time.
    pub(super) fn met(&mut self) -> Result<(), Error> {
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        if let Some(left) = frame.expected.checked_sub(1) {
            frame.expected = left;
            return Ok(());
        }
        frame.expected = REFILL;
        self.refilled(None)
    }

    /// The directory that the walk is in, or `name` in it, has something in it again.
    pub(super) fn refilled(&mut self, name: Option<&CStr>) -> Result<(), Error> {
        match self.refills_left.checked_sub(1) {
            Some(left) => self.refills_left = left,
            None => return Err(Error::Refilled { path: self.path_of(name) }),
        }
        Ok(())
    }

    /// Counts the directory just entered if it was changed after the walk began, since somebody who makes one in the
    /// other would lead it on for ever. For walks that do not themselves change a directory before they enter it.
    pub(super) fn count_newer(&mut self) -> Result<(), Error> {
        if self.stack.last().is_none_or(|frame| frame.changed < self.began) {
            return Ok(());
        }
        match self.newer_left.checked_sub(1) {
            Some(left) => self.newer_left = left,
            None => return Err(Error::Refilled { path: self.path_of(None) }),
        }
        Ok(())
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
impl Way<'_> {
    /// As [`Way::new`], but with room for so many refills and directories newer than the walk.
    pub(super) fn allowing(mut self, refills: u32, newer: u32) -> Self {
        (self.refills_left, self.newer_left) = (refills, newer);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_shown_with_its_middle_left_out() {
        let stat = rustix::fs::stat("/").unwrap();
        let frame = |name: &str| Frame::of(CString::new(name).unwrap(), &stat);
        let mut way = Way::new(Path::new("/top"));
        way.stack.push(frame("top"));
        assert_eq!(way.path_of(Some(c"x")), Path::new("/top/x"));
        way.stack.extend((0..3000).map(|at| frame(&at.to_string())));
        assert_eq!(way.path_of(Some(c"x")), Path::new("/top/0/1/2/3/.../2997/2998/2999/x"));
    }
}
