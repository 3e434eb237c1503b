//! The order of those who wait for a lock: each locks one byte of the lock file, the one at the place of its arrival. Such
//! locks are the kernel's alone: they take no space, and go with who holds them. Who finds none before its own is next.

use std::fs::File;
use std::path::{Path, PathBuf};

use ::nix::fcntl::{FcntlArg, fcntl};
use ::nix::libc;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use super::is_named;

/// A place in the queue of a lock file.
pub(super) struct Queue {
    path: PathBuf,
    /// The time of arrival: nanoseconds since the host was booted, the same clock for all its processes.
    ticket: i64,
    /// The lock file with our byte locked; `None` while there is no file.
    file: Option<File>,
}

impl Queue {
    pub(super) fn join(path: &Path) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let ticket = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        let mut queue = Self { path: path.to_owned(), ticket, file: None };
        queue.stay();
        queue
    }

    /// Takes the same place in the file that has the name now, if that is another one.
    pub(super) fn stay(&mut self) {
        if self.file.as_ref().is_some_and(|file| is_named(file, &self.path).unwrap_or(true)) {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.file = rustix::fs::openat(CWD, &self.path, flags, Mode::empty()).map(File::from).ok();
        if let Some(file) = &self.file {
            // Shared, which a file that is open for reading can have. Without it we are not before others, that is all.
            let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_RDLCK, self.ticket, 1)));
        }
    }

    /// Whether nobody came before us.
    pub(super) fn is_next(&self) -> bool {
        self.file.as_ref().is_none_or(|file| !is_locked(file, 0, self.ticket))
    }
}

/// Whether anybody is in the queue of this lock file.
pub(super) fn somebody_waits(file: &File) -> bool {
    // Up to the end of any file.
    is_locked(file, 0, 0)
}

/// Whether another has locked a byte among the `length` from `start` on.
fn is_locked(file: &File, start: i64, length: i64) -> bool {
    let mut found = range(libc::F_WRLCK, start, length);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && i32::from(found.l_type) != libc::F_UNLCK
}

fn range(kind: i32, start: i64, length: i64) -> libc::flock {
    let narrow = |number: i32| i16::try_from(number).unwrap_or_default();
    libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: start,
        l_len: length,
        // Locks of an open file, not of a process.
        l_pid: 0,
    }
}
