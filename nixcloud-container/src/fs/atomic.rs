//! Replacing a file or a symbolic link in one step: a reader sees the old one or the new one, whole.
//!
//! The new contents are written to a temporary file of the same directory, which is then renamed. A symbolic link
//! at the target is replaced, never followed. The temporary file is locked while it is in use, so that
//! [`sweep`] can tell one that a killed process left behind.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::FileError;

/// What a temporary file's name begins and ends with.
const PREFIX: &str = ".nixcloud-";
const SUFFIX: &str = ".tmp";
/// A symbolic link cannot be locked: one of ours that is older than this was left behind.
const LINK_AGE: Duration = Duration::from_secs(60);

/// Whether a replaced file must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Contents and name are on the disk when the call returns (records, leases).
    Synced,
    /// The kernel writes when it likes (files that are rendered anew, anything below `/run`).
    Volatile,
}

/// What could not be done to a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path has no last component that could be a file.
    #[error("{path} does not name a file")]
    #[non_exhaustive]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Error {
    fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        FileError::new(action, path, source).into()
    }
}

/// What is to be written.
pub(super) struct Content<'a> {
    pub(super) bytes: &'a [u8],
    /// Exact permission bits, whatever the umask.
    pub(super) mode: u32,
    pub(super) durability: Durability,
}

/// Replaces `path` by a file with these bytes and exactly this mode (0o7777 at most), owned by the caller.
///
/// # Errors
///
/// [`Error`]; then `path` is as it was and nothing is left beside it.
pub fn write(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), Error> {
    tracing::trace!(path = %path.display(), bytes = bytes.len(), ?durability, "writing");
    let (dir, name) = split(path)?;
    write_at(dir.as_fd(), name, path, &Content { bytes, mode, durability })
}

/// As [`write()`], but leaves a regular file alone that has these bytes and this mode already. Says whether it
/// wrote.
///
/// # Errors
///
/// As [`write()`].
pub fn write_if_changed(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<bool, Error> {
    if is_already(path, bytes, mode).map_err(|source| Error::io("read", path, source))? {
        return Ok(false);
    }
    write(path, bytes, mode, durability).map(|()| true)
}

/// Replaces the regular file at `path`, which keeps its mode and its owner. Durable.
///
/// # Errors
///
/// [`Error`], also when there is no regular file; then `path` is as it was and nothing is left beside it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let (dir, name) = split(path)?;
    let stat = std::fs::symlink_metadata(path).map_err(|source| Error::io("inspect", path, source))?;
    if !stat.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let request = Content { bytes, mode: stat.mode() & 0o7777, durability: Durability::Synced };
    let (temporary, file) = fill(dir.as_fd(), path, &request)?;
    std::os::unix::fs::fchown(&file, Some(stat.uid()), Some(stat.gid()))
        .map_err(|source| Error::io("change the owner of", path, source))?;
    temporary.rename(name).map_err(|errno| Error::io("replace", path, errno))?;
    rustix::fs::fsync(&dir).map_err(|errno| Error::io("sync the directory of", path, errno))
}

/// Removes temporary files of this module that a killed process left in `dir`, and says how many. Those in use are
/// left alone.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn sweep(dir: &Path) -> Result<usize, Error> {
    let failed = |source: io::Error| Error::io("sweep", dir, source);
    let fd = open_dir(dir).map_err(|errno| failed(errno.into()))?;
    let mut removed = 0;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if is_temporary(&name) && is_left_behind(fd.as_fd(), &name) {
            removed += usize::from(rustix::fs::unlinkat(&fd, &name, AtFlags::empty()).is_ok());
        }
    }
    Ok(removed)
}

/// Whether a file name is one of this module's temporary ones, which a listing should pass over.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX.as_bytes()) && name.as_bytes().ends_with(SUFFIX.as_bytes())
}

/// Replaces `name` in the directory `dir`; `shown` is what errors call it.
pub(super) fn write_at(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    shown: &Path,
    request: &Content<'_>,
) -> Result<(), Error> {
    let (temporary, _file) = fill(dir, shown, request)?;
    temporary.rename(name).map_err(|errno| Error::io("replace", shown, errno))?;
    if request.durability == Durability::Synced {
        rustix::fs::fsync(dir).map_err(|errno| Error::io("sync the directory of", shown, errno))?;
    }
    Ok(())
}

/// A temporary file in `dir` with all that is asked for. The returned file keeps it locked.
pub(super) fn fill<'a>(
    dir: BorrowedFd<'a>,
    shown: &Path,
    request: &Content<'_>,
) -> Result<(Temporary<'a>, File), Error> {
    let (temporary, mut file) = create(dir).map_err(|errno| Error::io("create", shown, errno))?;
    file.write_all(request.bytes).map_err(|source| Error::io("write", shown, source))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(request.mode))
        .map_err(|errno| Error::io("change the mode of", shown, errno))?;
    if request.durability == Durability::Synced {
        rustix::fs::fsync(&file).map_err(|errno| Error::io("sync", shown, errno))?;
    }
    Ok((temporary, file))
}

/// A name in a directory that is removed on drop unless it was renamed.
pub(super) struct Temporary<'a> {
    dir: BorrowedFd<'a>,
    name: OsString,
    armed: bool,
}

impl Temporary<'_> {
    fn rename(mut self, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(self.dir, &self.name, self.dir, to)?;
        self.armed = false;
        Ok(())
    }

    /// Gives the file a second name, unless that is taken: then [`Errno::EXIST`].
    pub(super) fn link(&self, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(self.dir, &self.name, self.dir, to, AtFlags::empty())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.armed {
            // Nobody is left to tell; `sweep` gets it later.
            let _ = rustix::fs::unlinkat(self.dir, &self.name, AtFlags::empty());
        }
    }
}

fn create(dir: BorrowedFd<'_>) -> Result<(Temporary<'_>, File), Errno> {
    loop {
        let name = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            // Left behind by a process that had our number.
            Err(Errno::EXIST) => continue,
            Err(errno) => return Err(errno),
        };
        let temporary = Temporary { dir, name, armed: true };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // A sweep may have come between creation and lock: then the file has no name any more.
            Ok(()) if rustix::fs::fstat(&file)?.st_nlink > 0 => return Ok((temporary, File::from(file))),
            Ok(()) | Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn temporary_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{PREFIX}{}-{}{SUFFIX}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

fn is_left_behind(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::empty())
                .is_ok_and(|file| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok())
        }
        FileType::Symlink => {
            let made = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_mtime.try_into().unwrap_or(0));
            SystemTime::now().duration_since(made).is_ok_and(|age| age > LINK_AGE)
        }
        _ => false,
    }
}

fn is_already(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    // NONBLOCK: a fifo of that name must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        // A link, a socket or nothing there: not the file that is wanted.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        || stat.st_mode & 0o7777 != mode
        || usize::try_from(stat.st_size) != Ok(bytes.len())
    {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(bytes.len());
    // One byte more than expected, so that a file that grows meanwhile is seen to differ.
    File::from(file).take(bytes.len() as u64 + 1).read_to_end(&mut found)?;
    Ok(found == bytes)
}

pub(super) fn open_dir(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dir, flags, Mode::empty())
}

/// The opened directory of a path, and the name in it.
pub(super) fn split(path: &Path) -> Result<(OwnedFd, &OsStr), Error> {
    let name = path.file_name().ok_or_else(|| Error::NotAFile { path: path.to_owned() })?;
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fd = open_dir(dir).map_err(|errno| Error::io("open the directory of", path, errno))?;
    Ok((fd, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn names(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_at_the_target_is_replaced_and_its_file_untouched() {
        let temp = tempfile::tempdir().unwrap();
        let (link, victim) = (temp.path().join("link"), temp.path().join("victim"));
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, &link).unwrap();
        write(&link, b"new", 0o666, Durability::Synced).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"old");
        assert_eq!(std::fs::read(&link).unwrap(), b"new");
        let written = link.symlink_metadata().unwrap();
        assert!(written.file_type().is_file());
        assert_eq!(written.permissions().mode() & 0o7777, 0o666, "the umask has no say");
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let error = write(&target, b"x", 0o600, Durability::Volatile).unwrap_err();
        assert!(error.to_string().starts_with("cannot replace "), "{error}");
        assert_eq!(names(temp.path()), ["target"]);
        assert!(matches!(write(Path::new("/"), b"", 0, Durability::Volatile), Err(Error::NotAFile { .. })));
        let missing = write(&temp.path().join("no/file"), b"", 0o600, Durability::Volatile);
        assert!(matches!(missing, Err(Error::Io(FileError { action: "open the directory of", .. }))));
    }

    #[test]
    fn write_if_changed_writes_on_a_change_of_bytes_mode_or_kind() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        let put = |bytes: &[u8], mode| write_if_changed(&path, bytes, mode, Durability::Volatile).unwrap();
        assert!(put(b"one", 0o644));
        let inode = path.metadata().unwrap().ino();
        assert!(!put(b"one", 0o644));
        assert_eq!(path.metadata().unwrap().ino(), inode);
        assert!(put(b"two", 0o644));
        assert!(put(b"two", 0o600));
        assert!(put(b"tw", 0o600));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(temp.path().join("elsewhere"), "tw").unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(put(b"tw", 0o600));
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(put(b"tw", 0o600), "a fifo does not block");
    }

    #[test]
    fn sweep_takes_what_was_left_and_spares_what_is_in_use() {
        let temp = tempfile::tempdir().unwrap();
        let dir = open_dir(temp.path()).unwrap();
        let (in_use, file) = create(dir.as_fd()).unwrap();
        let (mut left, _) = create(dir.as_fd()).unwrap();
        left.armed = false;
        symlink("x", temp.path().join(temporary_name())).unwrap();
        std::fs::write(temp.path().join("other.tmp"), "").unwrap();
        assert_eq!(sweep(temp.path()).unwrap(), 1);
        assert_eq!(names(temp.path()).len(), 3);
        drop((in_use, file));
        assert_eq!(names(temp.path()).len(), 2);
    }

    #[test]
    fn readers_see_one_version_or_the_other() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        let (a, b) = (vec![b'a'; 100_000], vec![b'b'; 50_000]);
        write(&path, &a, 0o600, Durability::Volatile).unwrap();
        std::thread::scope(|scope| {
            for bytes in [&a, &b] {
                let path = &path;
                scope.spawn(move || {
                    (0..100).for_each(|_| write(path, bytes, 0o600, Durability::Volatile).unwrap());
                });
            }
            for _ in 0..200 {
                let seen = std::fs::read(&path).unwrap();
                assert!(seen == a || seen == b);
            }
        });
        assert_eq!(names(temp.path()), ["file"]);
    }
}
