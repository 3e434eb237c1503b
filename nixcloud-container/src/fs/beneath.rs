//! Paths inside an untrusted tree: opened one by one by the kernel, never through a symbolic link, a magic link
//! or a mount, and never above the tree's root.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::FileError;

/// Why something inside a tree could not be reached or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is absolute, empty, or has `..`: it cannot name something inside a tree.
    #[error("{path} does not name something inside a tree")]
    #[non_exhaustive]
    NotInside {
        /// The path as given.
        path: PathBuf,
    },
    /// A component is a symbolic link: a guest may have planted it.
    #[error("a symbolic link is in the way of {path}")]
    #[non_exhaustive]
    Symlink {
        /// The whole path, from the tree's root on.
        path: PathBuf,
    },
    /// Something is mounted on a component.
    #[error("a mount is in the way of {path}")]
    #[non_exhaustive]
    Mount {
        /// The whole path, from the tree's root on.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Error {
    pub(super) fn new(action: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::LOOP => Self::Symlink { path },
            Errno::XDEV => Self::Mount { path },
            other => FileError::new(action, &path, other).into(),
        }
    }
}

/// How paths inside an untrusted tree are resolved where its mounts are known.
pub(crate) const THROUGH_MOUNTS: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// How paths inside an untrusted tree are resolved.
pub(crate) const RESOLVE: ResolveFlags = THROUGH_MOUNTS.union(ResolveFlags::NO_XDEV);

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// openat2 below `dir`, repeated where the kernel asks for it (a rename elsewhere in the system).
pub(super) fn open_at(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // With O_NOFOLLOW a link in the last place would be "not a directory" instead of "a link".
    resolve(dir, path, flags.difference(OFlags::NOFOLLOW), RESOLVE)
}

/// Whatever has the name `name` in `dir`, a symbolic link itself too, without opening it for anything.
pub(super) fn find_at(dir: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    resolve(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, RESOLVE)
}

/// The same with another way to resolve.
pub(crate) fn resolve(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < 1000 => attempts += 1,
            other => return other,
        }
    }
}

/// Opens the root of a tree. Its parents are trusted, its last component must be a directory and no link.
///
/// # Errors
///
/// [`Error::Symlink`] for a link, [`Error::Io`] otherwise.
pub fn open_root(root: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::openat(CWD, root, DIRECTORY, Mode::empty()).map_err(|errno| {
        // O_DIRECTORY answers ENOTDIR for a link before O_NOFOLLOW says ELOOP.
        let link = root.symlink_metadata().is_ok_and(|found| found.file_type().is_symlink());
        Error::new("open", root, if link { Errno::LOOP } else { errno })
    })
}

/// The components of a path that stays inside, none of them special. `.` alone has none.
pub(super) fn plain(relative: &Path) -> Result<Vec<&OsStr>, Error> {
    let refused = || Error::NotInside { path: relative.to_owned() };
    if relative.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(refused());
    }
    relative
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(refused()),
        })
        .collect()
}
