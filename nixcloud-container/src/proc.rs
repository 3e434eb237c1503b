//! What the kernel tells of processes, by `/proc`: who still is who, and where it lives.
//!
//! A pid alone names nobody: it is given out again. A pid with its start time, within one boot, is one process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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

/// The fields of `/proc/PID/stat` after the command, which may itself hold blanks and brackets.
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // State is field 3, the parent 4, the start time 22.
    let start = fields.nth(17)?.parse().ok()?;
    Some((state, parent, start))
}

impl Process {
    /// The process that has this pid now.
    #[must_use]
    pub fn now(pid: i32) -> Option<Self> {
        stat(pid).map(|(_, _, start)| Self { pid, start })
    }

    /// The parent that it has now.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let (_, parent, start) = stat(self.pid)?;
        if start == self.start && parent > 0 { Self::now(parent) } else { None }
    }

    /// Whether it still runs. A zombie does not: it holds no file and no mount any more.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, _, start)| start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// The root directory that it sees.
    #[must_use]
    pub fn root(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/root/.", self.pid))).ok()
    }

    /// Its network namespace.
    #[must_use]
    pub fn network_namespace(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/ns/net", self.pid))).ok()
    }
}

/// The network namespace of this thread: `/proc/self` would be that of the thread group's leader.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn own_network_namespace() -> io::Result<FileId> {
    FileId::of(Path::new("/proc/thread-self/ns/net"))
}

/// The random id of this boot.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// The cgroup folders that LXC may have given to the payload of `name`, on any hierarchy. Names of other
/// LXC paths are among them: LXC appends `-1`, `-2` ... where a name is taken.
#[must_use]
pub fn payload_cgroups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut hierarchies = vec![top.to_owned()];
    if !top.join("cgroup.procs").exists() {
        hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    }
    let payload = format!("lxc.payload.{name}");
    let mut found = Vec::new();
    for hierarchy in hierarchies {
        let first = hierarchy.join(&payload);
        if first.is_dir() {
            found.push(first);
        }
        for n in 1.. {
            let next = hierarchy.join(format!("{payload}-{n}"));
            if !next.is_dir() {
                break;
            }
            found.push(next);
        }
    }
    found
}

/// A live process in one of `cgroups` whose root directory is `root`, wherever its namespaces are.
#[must_use]
pub fn lives_in(cgroups: &[PathBuf], root: FileId) -> Option<Process> {
    let mut pending: Vec<PathBuf> = cgroups.to_vec();
    while let Some(cgroup) = pending.pop() {
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for process in pids.lines().filter_map(|pid| Process::now(pid.parse().ok()?)) {
            if process.is_alive() && process.root() == Some(root) {
                return Some(process);
            }
        }
        let below = fs::read_dir(&cgroup).into_iter().flatten().flatten();
        pending.extend(
            below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
    }
    None
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
        child.wait().unwrap();
    }
}
