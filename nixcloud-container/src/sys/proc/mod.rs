//! What the kernel tells of processes, by `/proc`: who still is who, and where it lives.
//!
//! A pid alone names nobody: it is given out again. A pid with its start time, within one boot, is one process.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::fs::error::FileError;

mod ids;
pub use ids::{ids_in_use, with_ids};

/// The error of what is asked of the kernel by `/proc`, or of a process that is found there.
pub(crate) fn unreadable(source: io::Error) -> FileError {
    FileError::new("read", "/proc", source)
}

/// In how many parts a second is told in `/proc/PID/stat`: the kernel's constant on all machines that we run on.
const TICKS: u64 = 100;

/// One process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid in the host's pid namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// A file by device and inode, which say "the same" through any mount and any namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl FileId {
    /// The file at `path`, symlinks followed.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self { dev: meta.dev(), ino: meta.ino() })
    }
}

/// What `/proc/PID/stat` tells of a process.
struct Stat {
    state: char,
    parent: i32,
    start: u64,
    /// Where its program's code begins; 0 while there is none.
    code: u64,
    /// What its parent is told of its end, field 52.
    exit: Option<i32>,
    /// It is on its way out, or a SIGKILL that it has not taken yet will send it there.
    ending: bool,
}

/// The kernel's flag of a process that is exiting, in field 9.
const PF_EXITING: u64 = 0x4;

/// SIGKILL among the pending signals, field 31.
const SIGKILL_PENDING: u64 = 1 << 8;

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2, the command, may itself hold blanks and brackets; field 3 is the first one here.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: number(22)?,
        code: number(26)?,
        exit: fields.get(52 - 3).and_then(|field| field.trim_end().parse().ok()),
        ending: number(9)? & PF_EXITING != 0 || number(31)? & SIGKILL_PENDING != 0,
    })
}

impl Process {
    /// The process that has this pid now.
    #[must_use]
    pub fn now(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// The parent that it has now.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let Stat { parent, start, .. } = stat(self.pid)?;
        if start == self.start && parent > 0 { Self::now(parent) } else { None }
    }

    /// Whether it still runs. A zombie does not: it holds no file and no mount any more.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether a signal has stopped it, or a debugger: it does nothing, though it is there.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && matches!(stat.state, 'T' | 't'))
    }

    /// Whether it still runs and will go on. One that was killed a moment ago is alive until it has taken the signal,
    /// and the init of a pid namespace until it has seen all others out.
    #[must_use]
    pub fn is_staying(self) -> bool {
        self.is_alive() && stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.ending)
    }

    /// What `wait` will write of it, of one that has ended and whose parent has not taken note of that yet.
    #[must_use]
    pub fn zombie_status(self) -> Option<i32> {
        stat(self.pid).filter(|stat| stat.start == self.start && stat.state == 'Z').and_then(|stat| stat.exit)
    }

    /// Takes note of its end where nobody else would: the parent of what began in the background is whoever takes orphans, as this
    /// process does where it is a subreaper. Of another's child, or of one that runs, nothing is done.
    pub fn reap(self) {
        let ours = stat(self.pid).is_some_and(|stat| {
            stat.start == self.start && stat.state == 'Z' && stat.parent.unsigned_abs() == std::process::id()
        });
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid).filter(|_| ours) {
            // As a zombie it keeps its number until this.
            let _others = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
    }

    /// How long ago it started.
    #[must_use]
    pub fn age(self) -> Duration {
        let now = Duration::from_secs(uptime().as_secs());
        now.saturating_sub(Duration::from_secs(self.start / TICKS))
    }

    /// What it calls itself.
    #[must_use]
    pub fn command(self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default().trim_end().to_owned()
    }

    /// The user whose rights it has, in the host's ids.
    #[must_use]
    pub fn user(self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        // Real, effective, saved, file system.
        status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
    }

    /// The profile of AppArmor that confines it, with its mode; `None` where the kernel has no AppArmor.
    #[must_use]
    pub fn apparmor(self) -> Option<String> {
        // `attr/current` may be another module's.
        let label = fs::read_to_string(format!("/proc/{}/attr/apparmor/current", self.pid)).ok()?;
        Some(label.trim_end_matches(['\n', '\0']).to_owned())
    }

    /// Whether the kernel has laid out a program for it: while it executes one, and where it cannot, it has none.
    #[must_use]
    pub fn has_code(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && stat.code != 0)
    }

    /// The file of the program that it runs; none of a process that has ended.
    #[must_use]
    pub fn program(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/exe", self.pid))).ok()
    }

    /// The root directory that it sees.
    #[must_use]
    pub fn root(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/root/.", self.pid))).ok()
    }

    /// The words that it was started with, its own name first; none of a process that has ended.
    #[must_use]
    pub fn arguments(self) -> Vec<OsString> {
        let text = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words = text.strip_suffix(b"\0").unwrap_or(&text).split(|byte| *byte == 0);
        words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
    }

    /// Its network namespace.
    #[must_use]
    pub fn network_namespace(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/ns/net", self.pid))).ok()
    }
}

/// All processes that this mount of `/proc` shows.
pub fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::now(entry.file_name().to_str()?.parse().ok()?))
}

/// The network namespace of this thread: `/proc/self` would be that of the thread group's leader.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn own_network_namespace() -> io::Result<FileId> {
    FileId::of(Path::new("/proc/thread-self/ns/net"))
}

/// CAP_SYS_RESOURCE among the capabilities of a process.
const SYS_RESOURCE: u64 = 1 << 24;

/// Whether this process may raise limits of processes that are another's.
#[must_use]
pub fn may_raise_limits() -> bool {
    mask("thread-self", "CapEff:").is_none_or(|mask| mask & SYS_RESOURCE != 0)
}

/// A mask of signals (the lowest bit is signal 1) or capabilities, by its key in the status of a process, which is named as
/// `/proc` names it.
#[must_use]
pub fn mask(process: &str, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix(key))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// How long this boot has lasted.
#[must_use]
pub fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is ever negative, and there are fewer nanoseconds than a second has.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The random id of this boot.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me }.is_alive());
        assert!(me.parent().is_some());
        assert_eq!(me.root(), Some(FileId::of(Path::new("/")).unwrap()));
        assert!(Process::now(-1).is_none());
    }

    #[test]
    fn a_process_that_was_killed_does_not_stay() {
        for _ in 0..20 {
            let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
            let process = Process::now(child.id().cast_signed()).unwrap();
            assert!(process.is_staying());
            child.kill().unwrap();
            assert!(!process.is_staying());
            child.wait().unwrap();
            assert!(!process.is_staying());
        }
    }

    #[test]
    fn root_a_thread_that_left_is_in_another_network() {
        let here = own_network_namespace().unwrap();
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert_eq!(me.network_namespace(), Some(here));
        std::thread::spawn(move || {
            ::nix::sched::unshare(::nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            assert_ne!(own_network_namespace().unwrap(), here);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::now(child.id().cast_signed()).unwrap();
        for _ in 0..1000 {
            if !process.is_alive() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!process.is_alive());
        assert_eq!(process.zombie_status(), Some(0));
        child.wait().unwrap();
        assert_eq!(process.zombie_status(), None);
    }
}
