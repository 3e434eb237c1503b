//! Waiting for a lock file, with a time limit. The kernel frees the lock of a process that was killed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// The first and the longest pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another held it all the time.
    #[error("{path} is still held after {} s{}", .waited.as_secs_f32().round(), holder_text(*.pid))]
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
    Cancelled {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn holder_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// A lock that is held until this is dropped. The lock file is then removed, so that nothing of a destroyed
/// container is left.
///
/// A child that was forked without exec shares the lock: dropping it here frees it for all, but a killed holder's
/// lock lives on in such a child.
#[derive(Debug)]
#[must_use = "the lock is freed when this is dropped"]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for `path`, at most for `timeout`, and until `cancelled` says so (asked at least every 50 ms). The
    /// directory must exist; the file is made with mode 0600 and holds the holder's pid.
    ///
    /// # Errors
    ///
    /// [`Error::Held`] when the time is over, [`Error::Cancelled`], [`Error::Io`].
    pub fn acquire(path: &Path, timeout: Duration, cancelled: &dyn Fn() -> bool) -> Result<Self, Error> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if cancelled() {
                return Err(Error::Cancelled { path: path.to_owned() });
            }
            if let Some(lock) = Self::try_acquire(path)? {
                if pause > FIRST_PAUSE {
                    tracing::debug!(path = %path.display(), waited = ?begin.elapsed(), "lock got after a wait");
                }
                return Ok(lock);
            }
            let waited = begin.elapsed();
            if pause == FIRST_PAUSE {
                tracing::debug!(path = %path.display(), holder = ?holder(path), "lock is held: waiting");
            }
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Error::Held { path: path.to_owned(), pid: holder(path), waited });
            };
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |action, source| Error::Io { action, path: path.to_owned(), source };
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)
                .map(File::from)
                .map_err(|errno| failed("open", errno.into()))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed("lock", errno.into())),
            }
            // The holder removes the file before it lets go: what we locked may have lost its name, and another
            // may hold the file that has the name now.
            let lock = Self { file, path: path.to_owned() };
            if lock.is_named().map_err(|source| failed("inspect", source))? {
                lock.sign().map_err(|source| failed("write", source))?;
                tracing::trace!(path = %path.display(), "locked");
                return Ok(Some(lock));
            }
        }
    }

    /// Whether the path still leads to the file that we hold.
    fn is_named(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match self.path.symlink_metadata() {
            Ok(now) => Ok((now.dev(), now.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sign(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).write_all(format!("{}\n", std::process::id()).as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name goes while we hold the lock; whoever waits sees that it is gone and starts over.
        if self.is_named().unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
        // Closing would leave it locked if a forked child has it open still.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        tracing::trace!(path = %self.path.display(), "unlocked");
    }
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
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NEVER: &dyn Fn() -> bool = &|| false;
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_time_out_names_the_holder_and_release_leaves_no_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO, NEVER).unwrap();
        let error = Lock::acquire(&path, Duration::from_millis(30), NEVER).unwrap_err();
        assert!(matches!(&error, Error::Held { pid: Some(pid), waited, .. }
            if *pid == std::process::id() && *waited >= Duration::from_millis(30)));
        assert!(error.to_string().ends_with(&format!(" by process {}", std::process::id())), "{error}");
        std::fs::write(&path, "gibberish").unwrap();
        assert!(matches!(Lock::acquire(&path, Duration::ZERO, NEVER), Err(Error::Held { pid: None, .. })));
        drop(held);
        assert!(!path.exists());
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn waiting_can_be_cancelled() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let _held = Lock::acquire(&path, Duration::ZERO, NEVER).unwrap();
        let asked = Cell::new(0);
        let cancelled = || asked.replace(asked.get() + 1) == 3;
        assert!(matches!(Lock::acquire(&path, LONG, &cancelled), Err(Error::Cancelled { .. })));
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn one_at_a_time_although_the_file_comes_and_goes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = Lock::acquire(&path, LONG, NEVER).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(rounds.into_inner(), 400);
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_holder_frees_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        std::fs::write(&path, "").unwrap();
        // flock(1) runs the command as a child that shares the lock: -F makes it one process.
        let mut other =
            std::process::Command::new("flock").arg("-F").arg(&path).args(["sleep", "60"]).spawn().unwrap();
        let begin = Instant::now();
        while Lock::try_acquire(&path).unwrap().is_some() {
            // The lock file went with our attempt: the child may hold a nameless one. Make it anew.
            assert!(begin.elapsed() < LONG, "flock never got the lock");
            let _ = other.kill();
            other.wait().unwrap();
            std::fs::write(&path, "").unwrap();
            other = std::process::Command::new("flock")
                .arg("-F")
                .arg(&path)
                .args(["sleep", "60"])
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        other.kill().unwrap();
        other.wait().unwrap();
        drop(Lock::acquire(&path, LONG, NEVER).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(matches!(Lock::try_acquire(&path), Err(Error::Io { action: "open", .. })));
        assert!(!temp.path().join("elsewhere").exists());
    }
}
