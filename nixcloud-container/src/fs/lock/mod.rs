//! Waiting for a lock, with a time limit, in the order of arrival. The kernel frees the lock of a process that was killed.
//!
//! A lock never stands in the way of giving something back: on a full or read-only disk the lock file that is missing
//! cannot be made, and the pid cannot be written. The pid is best effort; and where the file cannot be made, a folder
//! that is there already is locked instead ([`Place::folder`]), which takes no space.

mod queue;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::FileError;
use super::room;
use queue::Queue;

/// The first pause between two attempts, and the longest ones of who is next and of those behind.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(8);
const PAUSE_BEHIND: Duration = Duration::from_millis(20);

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another held it all the time.
    #[error("{path} is still held after {} s{}", .waited.as_secs_f32().round(), holder_text(*.pid))]
    #[non_exhaustive]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote itself into it; `None` when that cannot be read.
        pid: Option<u32>,
        /// How long we waited.
        waited: Duration,
    },
    /// The caller gave up.
    #[error("waiting for {path} was cancelled")]
    #[non_exhaustive]
    Cancelled {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

fn holder_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// What is locked.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The lock file. Its directory must exist; the file is made with mode 0600 and holds the holder's pid.
    pub file: &'a Path,
    /// A folder of what the lock is for, where there may be one. It is locked, too, by everybody: so who could not make
    /// the file and who made it a moment later, when there was room again, still exclude each other.
    pub folder: Option<&'a Path>,
}

impl<'a> From<&'a Path> for Place<'a> {
    fn from(file: &'a Path) -> Self {
        Self { file, folder: None }
    }
}

/// A lock that is held until this is dropped. The lock file is then removed unless somebody waits for it, so that nothing
/// of a destroyed container is left.
///
/// A child that was forked without exec shares the lock: dropping it here frees it for all, but a killed holder's
/// lock lives on in such a child.
#[derive(Debug)]
#[must_use = "the lock is freed when this is dropped"]
pub struct Lock {
    path: PathBuf,
    /// The lock file; `None` where it could not be made.
    file: Option<File>,
    folder: Option<File>,
}

/// What an attempt came to.
enum Attempt {
    Got(Lock),
    /// Another holds it, or waits for it since before us.
    Held,
}

impl Lock {
    /// Waits for `place`, at most for `timeout`, and until `cancelled` says so (asked at least every 20 ms). Who came first
    /// gets it first.
    ///
    /// # Errors
    ///
    /// [`Error::Held`] when the time is over, [`Error::Cancelled`], [`Error::Io`].
    pub fn acquire<'a>(
        place: impl Into<Place<'a>>,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let place = place.into();
        let path = place.file;
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut queue: Option<Queue> = None;
        loop {
            if cancelled() {
                return Err(Error::Cancelled { path: path.to_owned() });
            }
            if queue.as_ref().is_none_or(Queue::is_next)
                && let Attempt::Got(lock) = Self::attempt(place, queue.is_some())?
            {
                if queue.is_some() {
                    tracing::debug!(path = %path.display(), waited = ?begin.elapsed(), "lock got after a wait");
                }
                return Ok(lock);
            }
            let waited = begin.elapsed();
            let queue = queue.get_or_insert_with(|| {
                tracing::debug!(path = %path.display(), holder = ?holder(path), "lock is held: waiting");
                Queue::join(path)
            });
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Error::Held { path: path.to_owned(), pid: holder(path), waited });
            };
            queue.stay();
            std::thread::sleep(pause.min(left));
            pause = if queue.is_next() { (pause * 2).min(LONGEST_PAUSE) } else { PAUSE_BEHIND };
        }
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn try_acquire<'a>(place: impl Into<Place<'a>>) -> Result<Option<Self>, Error> {
        Ok(match Self::attempt(place.into(), false)? {
            Attempt::Got(lock) => Some(lock),
            Attempt::Held => None,
        })
    }

    fn attempt(place: Place<'_>, queued: bool) -> Result<Attempt, Error> {
        let path = place.file;
        let failed = |action, source: io::Error| FileError::new(action, path, source);
        loop {
            let file = match open(path) {
                Ok(file) => Ok(file),
                Err(errno) if place.folder.is_some() && room::lacks(errno) => Err(errno),
                Err(errno) => return Err(failed("open", errno.into()).into()),
            };
            let mut lock = Self { path: path.to_owned(), file: None, folder: None };
            if let Ok(file) = &file {
                if !queued && queue::somebody_waits(file) {
                    return Ok(Attempt::Held);
                }
                match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => {}
                    Err(Errno::WOULDBLOCK) => return Ok(Attempt::Held),
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(failed("lock", errno.into()).into()),
                }
                // The holder removes the file before it lets go: what we locked may have lost its name, and another
                // may hold the file that has the name now.
                if !is_named(file, path).map_err(|source| failed("inspect", source))? {
                    continue;
                }
            }
            let refused = file.as_ref().err().copied();
            lock.file = file.ok();
            if let Some(folder) = place.folder {
                match lock_folder(folder).map_err(|source| failed("lock the folder of", source))? {
                    FolderLock::Locked(locked) => lock.folder = Some(locked),
                    FolderLock::Held => return Ok(Attempt::Held),
                    FolderLock::Missing => {}
                }
            }
            if let (Some(errno), None) = (refused, &lock.folder) {
                return Err(failed("open", errno.into()).into());
            }
            if let Some(file) = &lock.file
                && let Err(error) = sign(file)
            {
                // Who waits for it is told of no process: no reason not to go on.
                tracing::debug!(path = %path.display(), %error, "the pid is not written into the lock");
            }
            tracing::trace!(path = %path.display(), file = lock.file.is_some(), "locked");
            return Ok(Attempt::Got(lock));
        }
    }
}

/// Opens the lock file; it is made only where there is none, since that can fail. One on a file system that has become
/// read-only can be locked all the same.
fn open(path: &Path) -> Result<File, Errno> {
    let base = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match rustix::fs::openat(CWD, path, base | OFlags::RDWR, mode) {
        Err(Errno::NOENT) => rustix::fs::openat(CWD, path, base | OFlags::RDWR | OFlags::CREATE, mode),
        Err(Errno::ROFS) => rustix::fs::openat(CWD, path, base | OFlags::RDONLY, mode),
        other => other,
    };
    file.map(File::from)
}

/// What there is of a folder to lock.
enum FolderLock {
    Locked(File),
    Held,
    Missing,
}

fn lock_folder(folder: &Path) -> io::Result<FolderLock> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let file = match rustix::fs::openat(CWD, folder, flags, Mode::empty()).map(File::from) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(FolderLock::Missing),
            other => other?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_named(&file, folder)? => return Ok(FolderLock::Locked(file)),
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(FolderLock::Held),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether the path still leads to this file.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match path.symlink_metadata() {
        Ok(now) => Ok((now.dev(), now.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sign(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = rustix::fs::flock(folder, FlockOperation::Unlock);
        }
        let Some(file) = &self.file else { return };
        // The name goes while we hold the lock. Where somebody waits it stays: their order is kept in the file.
        if !queue::somebody_waits(file) && is_named(file, &self.path).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
        // Closing would leave it locked if a forked child has it open still.
        let _ = rustix::fs::flock(file, FlockOperation::Unlock);
        tracing::trace!(path = %self.path.display(), "unlocked");
    }
}

/// Whether somebody holds this lock now: another process, or another of this one's. It is asked without taking it.
#[must_use]
pub fn is_held<'a>(place: impl Into<Place<'a>>) -> bool {
    let place = place.into();
    // Shared, so that two who ask are not in each other's way; who wants the lock meanwhile tries again.
    let held = |path: &Path, flags: OFlags| {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return false };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    };
    held(place.file, OFlags::empty()) || place.folder.is_some_and(|folder| held(folder, OFlags::DIRECTORY))
}

/// The process that wrote itself into a lock file. It may have ended since.
#[must_use]
pub fn holder(path: &Path) -> Option<u32> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(file).take(16).read_to_string(&mut text).ok()?;
    // Without its newline it is not yet whole.
    text.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
