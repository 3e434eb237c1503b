//! Paths inside an untrusted tree: opened one by one by the kernel, never through a symbolic link, a magic link
//! or a mount, and never above the tree's root.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::atomic;

/// Why something inside a tree could not be reached or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is absolute, empty, or has `..`: it cannot name something inside a tree.
    #[error("{path} does not name something inside a tree")]
    NotInside {
        /// The path as given.
        path: PathBuf,
    },
    /// A component is a symbolic link: a guest may have planted it.
    #[error("a symbolic link is in the way of {path}")]
    Symlink {
        /// The whole path, from the tree's root on.
        path: PathBuf,
    },
    /// Something is mounted on a component.
    #[error("a mount is in the way of {path}")]
    Mount {
        /// The whole path, from the tree's root on.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The whole path, from the tree's root on.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file could not be replaced.
    #[error(transparent)]
    Write(#[from] atomic::Error),
}

impl Error {
    pub(super) fn new(action: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::LOOP => Self::Symlink { path },
            Errno::XDEV => Self::Mount { path },
            other => Self::Io { action, path, source: other.into() },
        }
    }
}

/// How paths inside an untrusted tree are resolved.
pub(super) const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// openat2 below `dir`, repeated where the kernel asks for it (a rename elsewhere in the system).
pub(super) fn open_at(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // With O_NOFOLLOW a link in the last place would be "not a directory" instead of "a link".
    let flags = flags.difference(OFlags::NOFOLLOW);
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), RESOLVE) {
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

/// Opens the directory `relative` inside the tree `root`.
///
/// # Errors
///
/// [`Error::Symlink`] and [`Error::Mount`] name what a guest may have planted, [`Error::NotInside`] a path that is
/// not relative and plain, [`Error::Io`] everything else.
pub fn open_dir(root: &Path, relative: &Path) -> Result<OwnedFd, Error> {
    let top = open_root(root)?;
    if plain(relative)?.is_empty() {
        return Ok(top);
    }
    open_at(top.as_fd(), relative, DIRECTORY).map_err(|errno| Error::new("open", &root.join(relative), errno))
}

/// Replaces the file `relative` inside the tree `root` in one step, with this mode and owner. Its directory must
/// exist. A link, a device or a fifo of that name is replaced, not followed.
///
/// # Errors
///
/// Those of [`open_dir`], and [`Error::Write`] when the file cannot be replaced.
pub fn write(root: &Path, relative: &Path, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> Result<(), Error> {
    let not_inside = || Error::NotInside { path: relative.to_owned() };
    let name = plain(relative)?.pop().ok_or_else(not_inside)?.to_owned();
    let parent = relative.parent().ok_or_else(not_inside)?;
    let dir = open_dir(root, parent)?;
    let request =
        atomic::Request { bytes, mode, owner: Some((uid, gid)), durability: atomic::Durability::Volatile };
    Ok(atomic::write_at(dir.as_fd(), &name, &root.join(relative), &request)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn links_are_not_followed_and_paths_stay_inside() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir(temp.path().join("host")).unwrap();
        symlink("../host", root.join("planted")).unwrap();
        symlink("../../host/target", root.join("etc/name")).unwrap();
        symlink("root", temp.path().join("alias")).unwrap();
        let own = std::fs::metadata(&root).unwrap();
        let write =
            |root: &Path, to: &str| super::write(root, Path::new(to), b"x", 0o640, own.uid(), own.gid());

        assert!(matches!(write(&root, "planted/a"), Err(Error::Symlink { .. })));
        assert!(matches!(write(&temp.path().join("alias"), "a"), Err(Error::Symlink { .. })));
        for outside in ["/etc/a", "../host/a", "etc/../../host/a", "", ".", "a\0b"] {
            assert!(matches!(write(&root, outside), Err(Error::NotInside { .. })), "{outside:?}");
        }
        write(&root, "etc/name").unwrap();
        let written = root.join("etc/name").symlink_metadata().unwrap();
        assert!(written.file_type().is_file());
        assert_eq!(written.mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(temp.path().join("host")).unwrap().count(), 0);
    }
}
